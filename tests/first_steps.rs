//! The first quarter of an hour: finding BMCs, and a first configuration, with the built programs
//! and simulated BMCs.

mod daemon;
mod terminal;

use daemon::{Bed, Keys, plan, rackbmc};
use rackbmcd::cli::sim::{NodePlan, Served, serve};
use rackbmcd::sim::Mood;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use terminal::Console;

fn command(words: &[&str]) -> Command {
    rackbmc(Path::new("/nowhere"), words)
}

fn run(words: &[&str]) -> daemon::Said {
    daemon::Said::of(command(words).output().expect("rackbmc runs"))
}

#[test]
fn a_bmc_is_found_and_logged_in_to_once() {
    let bed = Bed::of([plan("n01", Mood::default())], &Keys::default());
    let (_, at) = bed.rack.nodes().next().expect("a node");
    let port = at.port().to_string();
    let found = run(&["discover", "127.0.0.1/32", "--port", &port, "-o", "json"]);
    assert_eq!(found.code, 0, "{}{}", found.out, found.err);
    let bmcs: serde_json::Value = serde_json::from_str(&found.out).expect("JSON");
    assert_eq!(bmcs[0]["ipmi"], "2.0");
    assert_eq!(
        bmcs[0]["power"],
        serde_json::Value::Null,
        "nobody logged in"
    );
    let password = bed.path("bmc.pw");
    let password = password.to_str().expect("text");
    let login = ["--username", "admin", "--password-file", password];
    let words = [
        &["discover", "127.0.0.1", "--port", &port, "-o", "json"][..],
        &login,
    ]
    .concat();
    let found = run(&words);
    assert_eq!(found.code, 0, "{}{}", found.out, found.err);
    let bmcs: serde_json::Value = serde_json::from_str(&found.out).expect("JSON");
    assert_eq!(bmcs[0]["power"], "power on", "{}", found.out);
    assert!(
        bmcs[0]["maker"].is_number() && bmcs[0]["guid"].is_string(),
        "{}",
        found.out
    );
    let seen = || {
        let look =
            |bmc: &mut rackbmcd::sim::Bmc, _| (bmc.open_sessions(), bmc.host().executed().len());
        bed.rack.with_bmc("n01", look).expect("it is there")
    };
    // The last datagram closes the session; the BMC takes it when its turn comes.
    let deadline = Instant::now() + Duration::from_secs(10);
    while seen().0 > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(seen(), (0, 0), "out again, and nothing was switched");
}

#[test]
fn where_nobody_is_nobody_is_found() {
    let found = run(&["discover", "127.0.0.1", "--port", "9", "--rate", "1000"]);
    assert_eq!(found.code, 1, "{}{}", found.out, found.err);
    assert!(found.err.contains("0 of 1 answer as BMCs"), "{}", found.err);
    assert_eq!(run(&["discover", "10.0.0.0/8"]).code, 2);
}

#[test]
fn after_two_refusals_in_a_row_no_further_log_in_is_tried() {
    // Four addresses, one port, and none of them knows the password.
    let first = Bed::of([plan("n01", Mood::default())], &Keys::default());
    let port = first.rack.nodes().next().expect("a node").1.port();
    let plans = (2..=4_u8).map(|place| NodePlan {
        address: ([127, 0, 0, place], port).into(),
        ..plan(&format!("n{place:02}"), Mood::default())
    });
    let others = serve(plans.collect(), 11).expect("loopback has these addresses");
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.pw");
    std::fs::write(&wrong, "another\n").expect("a file");
    let port = port.to_string();
    let said = run(&[
        "discover",
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.3",
        "127.0.0.4",
        "--port",
        &port,
        "--username",
        "admin",
        "--password-file",
        wrong.to_str().expect("text"),
    ]);
    let refused = said.out.matches("log-in refused").count();
    assert_eq!(refused, 2, "{}{}", said.out, said.err);
    assert!(
        said.err.contains("2 log-ins in a row were refused"),
        "{}",
        said.err
    );
    let tries = |rack: &Served, name: &str| {
        let counters = rack.with_bmc(name, |bmc, _| bmc.counters());
        counters.expect("it is there").open_requests
    };
    assert_eq!(tries(&first.rack, "n01"), 1, "one log-in");
    assert_eq!(tries(&others, "n02"), 1, "one log-in");
    assert_eq!(tries(&others, "n03") + tries(&others, "n04"), 0);
}

#[test]
fn what_was_found_is_written_as_a_configuration_that_starts_paused() {
    let bed = Bed::of([plan("n01", Mood::default())], &Keys::default());
    let port = bed
        .rack
        .nodes()
        .next()
        .expect("a node")
        .1
        .port()
        .to_string();
    let (file, password) = (bed.path("found.toml"), bed.path("bmc.pw"));
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let (file, password) = (text(&file), text(&password));
    let words = [
        "discover",
        "127.0.0.1",
        "--port",
        &port,
        "--username",
        "admin",
        "--password-file",
        &password,
        "--write-config",
        &file,
    ];
    let said = run(&words);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let written = std::fs::read_to_string(&file).expect("written");
    assert!(
        written.contains("start_paused = true") && written.contains(&port),
        "{written}"
    );
    check(&file);
    // Never over what is there.
    assert_eq!(run(&words).code, 1);
    assert_eq!(std::fs::read_to_string(&file).expect("there"), written);
}

fn check(file: &str) {
    let mut check = Command::new(env!("CARGO_BIN_EXE_rackbmcd"));
    let said = check.args(["--config", file, "--check-config"]).output();
    let said = daemon::Said::of(said.expect("rackbmcd runs"));
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
}

#[test]
fn a_first_configuration_is_asked_for_and_the_password_is_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().to_str().expect("text");
    let mut console = Console::start(&command(&["init", "--directory", directory]), 100, 40);
    for (question, answer) in [
        ("Name of the rack", "r7"),
        ("Names of the nodes", "r7n[01-03]"),
        ("Addresses of their BMCs", "10.0.7.[1-2]"),
        ("UDP port", ""),
        ("3 names and 2 addresses: once more", "r7n[01-02]"),
    ] {
        console.waits_for(question, |text| text.contains(question));
        console.press(&format!("{answer}\r"));
    }
    console.waits_for("the question again", |text| {
        text.matches("Addresses of their BMCs").count() == 2
    });
    console.press("10.0.7.[1-2]\r");
    console.waits_for("the port again", |text| {
        text.matches("UDP port").count() == 2
    });
    console.press("\r");
    console.waits_for("user", |text| text.contains("User that the BMCs know"));
    console.press("\r");
    for question in ["nothing is shown", "The same again"] {
        console.waits_for(question, |text| text.contains(question));
        while !console.is_raw() {
            std::thread::sleep(Duration::from_millis(5));
        }
        console.press("hunter7\r");
    }
    let text = console.waits_for("the end", |text| text.contains("rackbmc release"));
    assert!(!text.contains("hunter7"), "{text}");
    assert_eq!(console.ends_clean("init"), Some(0));
    let configuration = folder.path().join("rackbmcd.toml");
    let password = folder.path().join("bmc.pw");
    assert_eq!(
        std::fs::read_to_string(&password).expect("text"),
        "hunter7\n"
    );
    for file in [&configuration, &password] {
        let mode = std::fs::metadata(file)
            .expect("written")
            .permissions()
            .mode();
        assert_eq!(mode & 0o027, 0, "{}: {mode:o}", file.display());
    }
    let text = std::fs::read_to_string(&configuration).expect("text");
    assert!(
        text.contains("start_paused = true") && text.contains("10.0.7.[1-2]"),
        "{text}"
    );
    check(configuration.to_str().expect("text"));
    let mut again = Console::start(&command(&["init", "--directory", directory]), 100, 40);
    assert_eq!(again.ends_clean("a second time"), Some(1));
}

/// One answer after the other, each to the question that stands last.
fn answer(console: &mut Console, answers: &[(&str, &str)]) {
    for (question, answer) in answers {
        console.waits_for(question, |text| {
            text.trim_end()
                .lines()
                .last()
                .is_some_and(|line| line.starts_with(question))
        });
        while (question.starts_with("Password") || question.starts_with("The same"))
            && !console.is_raw()
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        console.press(&format!("{answer}\r"));
    }
}

#[test]
fn what_the_daemon_would_refuse_is_asked_for_again_and_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().to_str().expect("text");
    let mut console = Console::start(&command(&["init", "--directory", directory]), 100, 80);
    for (nodes, addresses, user, why) in [
        (
            "n[1-2]",
            "10.0.7.[3,3]",
            "admin",
            "the address 10.0.7.3 port 623 is taken",
        ),
        ("n1", "10.0.7.0/24", "admin", "10.0.7.0/24"),
        ("t:7k3f9", "10.0.7.1", "admin", "t:7k3f9"),
        ("n1", "10.0.7.1", "administrator-of-it", "16"),
    ] {
        answer(
            &mut console,
            &[
                ("Name of the rack", "r7"),
                ("Names of the nodes", nodes),
                ("Addresses of their BMCs", addresses),
                ("UDP port", ""),
                ("User that the BMCs know", user),
                ("Password of", "hunter7"),
                ("The same again", "hunter7"),
            ],
        );
        console.waits_for(why, |text| {
            let again = text.rfind("once more from the beginning");
            again.is_some_and(|again| text[..again].contains(why))
        });
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            0
        );
    }
    drop(console);
}

#[test]
fn every_bmc_of_a_configuration_is_checked_with_the_daemon_and_without() {
    let mut bed = Bed::of(
        [plan("n01", Mood::default()), plan("n02", Mood::default())],
        &Keys::default(),
    );
    let config = bed.path("rackbmcd.toml").to_str().expect("text").to_owned();
    let look = || {
        let mut check = Command::new(env!("CARGO_BIN_EXE_rackbmcd"));
        let said = check.args(["--config", &config, "--check-bmcs"]).output();
        daemon::Said::of(said.expect("rackbmcd runs"))
    };
    let good = |said: &daemon::Said| {
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        for name in ["n01", "n02"] {
            let line = said
                .out
                .lines()
                .find(|line| line.starts_with(&format!("{name}: ")));
            let line = line.unwrap_or_else(|| panic!("{name}: {}", said.out));
            assert!(
                line.contains("power on; admin with privilege level operator, cipher suite 17"),
                "{line}"
            );
        }
    };
    good(&look());
    let full = std::fs::File::options().write(true).open("/dev/full");
    let unread = Command::new(env!("CARGO_BIN_EXE_rackbmcd"))
        .args(["--config", &config, "--check-bmcs"])
        .stdout(full.expect("a device that takes nothing"))
        .output();
    let unread = daemon::Said::of(unread.expect("rackbmcd runs"));
    assert_eq!(unread.code, 1, "{}", unread.err);
    assert!(
        unread.err.contains("could not be written"),
        "{}",
        unread.err
    );
    bed.start();
    good(&look());
    assert_eq!(bed.rackbmc(&["tasks"]).out, "", "nothing was switched");
    bed.terminate();
    // The password is wrong now: each BMC is asked once, and says no.
    std::fs::write(bed.path("bmc.pw"), "another\n").expect("a file");
    let said = look();
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(
        said.out
            .contains("n01: the proof of the password was not taken"),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("write the right password into its password_file"),
        "{}",
        said.out
    );
    let orders = ["n01", "n02"].map(|name| {
        let orders = bed
            .rack
            .with_bmc(name, |bmc, _| bmc.host().executed().len());
        orders.expect("it is there")
    });
    assert_eq!(orders, [0, 0]);
}

fn look(bed: &Bed) -> daemon::Said {
    let mut look = Command::new(env!("CARGO_BIN_EXE_rackbmcd"));
    let config = bed.path("rackbmcd.toml");
    let said = look
        .arg("--config")
        .arg(config)
        .arg("--check-bmcs")
        .output();
    daemon::Said::of(said.expect("rackbmcd runs"))
}

#[test]
fn a_look_without_a_daemon_counts_refused_log_ins_with_those_of_the_daemon() {
    let mut bed = Bed::of([plan("n01", Mood::default())], &Keys::default());
    let password = bed.path("bmc.pw");
    let right = std::fs::read_to_string(&password).expect("the password");
    std::fs::write(&password, "wrong\n").expect("written");
    bed.start();
    bed.wait_for("two refused log-ins", |bed| {
        bed.rackbmc(&["status"]).out.contains("no log-in is tried")
    });
    bed.terminate();
    let log_ins = |bed: &Bed| {
        let counters = bed.rack.with_bmc("n01", |bmc, _| bmc.counters());
        counters.expect("it is there").open_requests
    };
    let before = log_ins(&bed);
    for _ in 0..2 {
        let said = look(&bed);
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        assert!(
            said.out
                .contains("n01: not logged in to: 2 log-ins in a row"),
            "{}",
            said.out
        );
    }
    assert_eq!(log_ins(&bed), before, "the daemon had two already");
    // Other credentials are worth a try, and their refusals are counted over looks, too.
    std::fs::write(&password, "wrong as well\n").expect("written");
    for _ in 0..2 {
        assert!(look(&bed).out.contains("password"), "refused");
    }
    let said = look(&bed);
    assert!(
        said.out.contains("not logged in to"),
        "{}{}",
        said.out,
        said.err
    );
    assert_eq!(log_ins(&bed), before + 2);
    std::fs::write(&password, right).expect("written");
    let said = look(&bed);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("n01: power on"), "{}", said.out);
    // The daemon goes on with the journal.
    bed.start();
    bed.wait_for("a reading", |bed| {
        bed.rackbmc(&["status"]).out.contains("power on")
    });
}

#[test]
fn silent_bmcs_are_looked_at_side_by_side() {
    let silent: Vec<_> = (0..6)
        .map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a port"))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("bmc.pw"), "admin\n").expect("written");
    std::fs::set_permissions(at("bmc.pw"), std::fs::Permissions::from_mode(0o600)).expect("ours");
    let mut text = format!(
        "[daemon]\nstate_dir = {:?}\n[api]\nsocket = {:?}\n[rack]\nname = \"r1\"\n[defaults]\nusername = \"admin\"\n\
         password_file = {:?}\n",
        at("state"),
        at("sock"),
        at("bmc.pw")
    );
    for (number, socket) in silent.iter().enumerate() {
        let port = socket.local_addr().expect("bound").port();
        text +=
            &format!("[[node]]\nname = \"n{number}\"\naddress = \"127.0.0.1\"\nport = {port}\n");
    }
    std::fs::write(at("rackbmcd.toml"), text).expect("written");
    let began = Instant::now();
    let mut look = Command::new(env!("CARGO_BIN_EXE_rackbmcd"));
    let look = look
        .arg("--config")
        .arg(at("rackbmcd.toml"))
        .arg("--check-bmcs");
    let said = daemon::Said::of(look.output().expect("rackbmcd runs"));
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert_eq!(
        said.out.matches("address, port, cable").count(),
        6,
        "{}",
        said.out
    );
    assert!(
        began.elapsed() < Duration::from_secs(50),
        "{:?}",
        began.elapsed()
    );
    assert!(!at("state").exists(), "a look makes nothing");
}
