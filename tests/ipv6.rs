//! BMCs with IPv6 addresses and with names, the real daemon, and everything between them.

mod daemon;

use daemon::{Bed, Keys, plan};
use rackbmcd::cli::sim::NodePlan;
use rackbmcd::sim::{ChassisOrder, Mood};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const KEYS: Keys<'_> = Keys {
    name: "",
    api: "",
    rack: "",
    defaults: "min_off_time = \"0s\"\nsettle = \"1s\"\norders_per_second = 20.0",
};

fn at(address: IpAddr, name: &str) -> NodePlan {
    NodePlan {
        address: SocketAddr::new(address, 0),
        ..plan(name, Mood::default())
    }
}

/// Reads, switches off and on, and looks at the machine after each.
fn journey(bed: &Bed, node: &str, address: SocketAddr) {
    let said = bed.expect(0, &["status", node, "--fresh"]);
    assert!(said.starts_with(&format!("{node}: power on")), "{said}");
    bed.expect(0, &["off", node, "--wait"]);
    assert!(!bed.is_on(node));
    bed.expect(0, &["on", node, "--wait"]);
    assert!(bed.is_on(node));
    assert_eq!(
        [ChassisOrder::Off, ChassisOrder::On].map(|order| bed.count(node, order)),
        [1, 1]
    );
    let said = bed.expect(0, &["explain", node]);
    assert!(said.contains(&format!("({address})")), "{said}");
}

#[test]
fn a_bmc_on_an_ipv6_address_is_read_and_switched_with_and_without_brackets() {
    for form in ["::1", "[::1]", "0:0:0:0:0:0:0:1"] {
        let mut bed = Bed::with_nodes(
            [at(Ipv6Addr::LOCALHOST.into(), "n01")],
            &KEYS,
            |name, address| {
                format!(
                    "[[node]]\nname = \"{name}\"\naddress = \"{form}\"\nport = {}\n",
                    address.port()
                )
            },
        );
        bed.start();
        journey(&bed, "n01", bed.rack.address(0));
        let said = bed.expect(0, &["status", "n01", "-o", "wide"]);
        let host = form.trim_matches(['[', ']']);
        let shown = format!(" [{host}]:{}", bed.rack.address(0).port());
        assert!(said.contains(&shown), "{said}");
    }
}

#[test]
fn racks_of_both_families_are_served_side_by_side() {
    let plans = [
        at(Ipv6Addr::LOCALHOST.into(), "six"),
        at([127, 0, 0, 1].into(), "four"),
    ];
    let mut bed = Bed::of(plans, &KEYS);
    bed.start();
    for (place, node) in ["six", "four"].into_iter().enumerate() {
        journey(&bed, node, bed.rack.address(place));
    }
}

#[test]
fn a_bmc_is_found_by_its_name_at_whichever_of_its_addresses_it_is() {
    let addresses = ("localhost", 0)
        .to_socket_addrs()
        .expect("every host has it");
    // One family, or both: then the first is where nobody listens.
    let last = addresses.last().expect("an address").ip();
    let mut bed = Bed::with_nodes([at(last, "n01")], &KEYS, |name, address| {
        format!(
            "[[node]]\nname = \"{name}\"\naddress = \"localhost\"\nport = {}\n",
            address.port()
        )
    });
    bed.start();
    journey(&bed, "n01", bed.rack.address(0));
}

/// `rackbmc sim`, ended with the test.
struct Simulator(Child);

impl Simulator {
    fn new(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rackbmc"));
        command
            .args(["sim", "--nodes", "2", "--address", "::1", "--write-config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let simulator = Self(command.spawn().expect("rackbmc runs"));
        let deadline = Instant::now() + Duration::from_secs(20);
        let written = || std::fs::read_to_string(config).unwrap_or_default();
        while written().matches("port = ").count() < 2 {
            assert!(Instant::now() < deadline, "it writes no configuration");
            std::thread::sleep(Duration::from_millis(20));
        }
        simulator
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_configuration_that_the_simulator_writes_for_an_ipv6_address_works() {
    let mut bed = Bed::of([], &KEYS);
    let written = bed.path("rackbmcd.toml");
    std::fs::remove_file(&written).expect("the bed's own is there");
    let _simulator = Simulator::new(&written);
    let text = std::fs::read_to_string(&written).expect("it is there");
    assert_eq!(text.matches("address = \"::1\"").count(), 2, "{text}");
    // The bed asks at a socket of its own.
    std::fs::write(&written, text.replace("rackbmcd.sock", "s")).expect("ours");
    bed.start();
    bed.expect(0, &["off", "n[01-02]", "--wait"]);
    assert_eq!(bed.expect(0, &["status", "-b"]), "n[01-02]: power off\n");
}
