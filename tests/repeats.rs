//! What the stock clients do when answers to a power cycle are lost: how often the machine is
//! cycled for one command. For our own client the same is shown by `tests/storm.rs` and by
//! `session`'s tests: never twice. The figures are in `docs/protocol.md`.
//!
//! ipmitool and ipmipower must be there: a missing client is a failure, not a skipped test.

use rackbmcd::cli::sim::{NodePlan, Served, serve};
use rackbmcd::sim::{BmcSettings, ChassisOrder, Conditions, Mood, Privilege, User};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const NODE: &str = "n01";

fn cycles(served: &Served) -> usize {
    served
        .with_bmc(NODE, |bmc, _| bmc.host().count(ChassisOrder::Cycle))
        .unwrap()
}

/// A BMC that carries out every request that it gets: a good one would, for each copy has a new
/// session number.
fn bmc(mood: Mood) -> Served {
    let plan = NodePlan {
        address: "127.0.0.1:0".parse().unwrap(),
        settings: BmcSettings {
            name: NODE.to_owned(),
            users: vec![User::new("admin", "secret", Privilege::Administrator)],
            ..BmcSettings::default()
        },
        mood: Mood {
            // Back on before the next copy comes: a machine that is off is not cycled.
            cycle_off_time: Duration::from_millis(10),
            ..mood
        },
        conditions: Conditions::default(),
    };
    serve(vec![plan], 7).unwrap()
}

/// Runs a client; what it said, and whether its exit status was 0.
fn run(line: &str) -> (bool, String) {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    (output.status.success(), said)
}

fn ipmitool(port: u16) -> String {
    format!("ipmitool -I lanplus -C 3 -H 127.0.0.1 -p {port} -U admin -P secret power cycle")
}

fn ipmipower(port: u16) -> String {
    format!("ipmipower -D LAN_2_0 -I 3 -h 127.0.0.1:{port} -u admin -p secret --cycle")
}

/// One command over a way that loses the next `lost` replies once the machine was cycled: how often
/// it was in the end.
fn with_lost_answers(lost: usize, client: fn(u16) -> String) -> (usize, bool, String) {
    let served = bmc(Mood::default());
    let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
    let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
    inside.connect(served.address(0)).unwrap();
    for socket in [&outside, &inside] {
        socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
    }
    let over = AtomicBool::new(false);
    let port = outside.local_addr().unwrap().port();
    let (content, said) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut bytes, mut client, mut still) = ([0; 1500], None, lost);
            while !over.load(Ordering::Relaxed) {
                if let Ok((length, from)) = outside.recv_from(&mut bytes) {
                    client = Some(from);
                    inside.send(&bytes[..length]).unwrap();
                }
                if let Ok(length) = inside.recv(&mut bytes) {
                    if still > 0 && cycles(&served) > 0 {
                        still -= 1;
                    } else if let Some(client) = client {
                        outside.send_to(&bytes[..length], client).unwrap();
                    }
                }
            }
        });
        let outcome = run(&client(port));
        over.store(true, Ordering::Relaxed);
        outcome
    });
    (cycles(&served), content, said)
}

#[test]
fn ipmitool_repeats_a_power_cycle_whose_answer_is_lost() {
    for lost in 0..=2 {
        let (count, content, said) = with_lost_answers(lost, ipmitool);
        eprintln!("ipmitool, {lost} answers lost: {count} cycles, {content}, {said}");
        assert_eq!(count, 1 + lost, "{said}");
        assert!(content && said == "Chassis Power Control: Cycle", "{said}");
    }
}

#[test]
fn ipmipower_repeats_a_power_cycle_whose_answer_is_lost() {
    for lost in 0..=2 {
        let (count, content, said) = with_lost_answers(lost, ipmipower);
        eprintln!("ipmipower, {lost} answers lost: {count} cycles, {content}, {said}");
        assert_eq!(count, 1 + lost, "{said}");
        assert!(content && said.ends_with(": ok"), "{said}");
    }
}

#[test]
fn ipmitool_cycles_twice_with_a_bmc_that_loses_every_first_reply() {
    let served = bmc(Mood {
        loses_first_reply: true,
        ..Mood::default()
    });
    let (content, said) = run(&ipmitool(served.address(0).port()));
    assert_eq!(cycles(&served), 2, "{said}");
    assert!(content, "{said}");
}
