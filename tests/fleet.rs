//! Many racks from one prompt: real daemons, each with a rack of its own, and among them racks that
//! are down, slow, of another version, without permission, or others than they are said to be.

mod daemon;
mod fleet_bed;

use daemon::{Bed, Keys, plan};
use fleet_bed::{Fleet, refusing, silent};
use rackbmcd::sim::Mood;
use std::time::{Duration, Instant};

/// r1 to r3, two nodes each, the second one in group storage.
fn three() -> Fleet {
    let mut fleet = Fleet::of(3, 2, &Mood::default());
    for bed in &mut fleet.beds {
        bed.start();
        bed.expect(0, &["wait", "n[01-02]", "--on", "--timeout", "1m"]);
    }
    fleet
}

#[test]
fn the_racks_of_a_file_are_looked_at_with_one_command() {
    let fleet = three();
    let said = fleet.expect(0, &["status"]);
    let lines: Vec<&str> = said.out.lines().collect();
    let names = ["r1/n01", "r1/n02", "r2/n01", "r2/n02", "r3/n01", "r3/n02"];
    assert_eq!(lines, names.map(|name| format!("{name}: power on")));
    let said = fleet.expect(0, &["status", "@storage", "-x", "r3/@*", "-b"]);
    assert_eq!(said.out, "r[1-2]/n02: power on\n");
    let said = fleet.expect(0, &["status", "r2/n01", "--fresh", "-o", "json"]);
    let facts: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(facts[0]["node"], "r2/n01");
    assert_eq!(facts[0]["rack"], "r2");
    fleet.beds[1].expect(0, &["pause", "smoke in row 4"]);
    let said = fleet.expect(0, &["racks"]);
    let lines: Vec<&str> = said.out.lines().collect();
    let version = format!("rackbmcd {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines[0], format!("r1: 2 nodes: 2 on; {version}"));
    assert!(
        lines[1].starts_with("r2: 2 nodes: 2 on; paused by "),
        "{}",
        lines[1]
    );
    let said = fleet.expect(1, &["check", "--expect", "on"]);
    assert!(
        said.out
            .starts_with("RACKBMC WARNING - r2: the rack is paused by ")
    );
    assert!(said.out.ends_with("racks=3 silent=0\n"), "{}", said.out);
    // The verbs of one rack lead to the one that is named.
    let said = fleet.expect(0, &["--rack", "r3", "status", "n01"]);
    assert_eq!(said.out, "n01: power on\n");
    let said = fleet.expect(2, &["explain", "r1/n01"]);
    assert!(said.err.contains("--rack r7"), "{}", said.err);
}

#[test]
fn racks_that_are_down_slow_foreign_or_closed_hold_up_nobody_and_are_named_with_the_reason() {
    let mut fleet = three();
    fleet.beds[2].kill();
    silent(fleet.path("slow.sock"));
    refusing(fleet.path("foreign.sock"), 200, "{\"nodes\": 7}");
    refusing(
        fleet.path("closed.sock"),
        403,
        "{\"error\":{\"kind\":\"not_permitted\",\"message\":\"anna lacks the role reader\"}}",
    );
    fleet.add("r7", "url", "http://127.0.0.1:1");
    for (name, socket) in [("r4", "slow"), ("r5", "foreign"), ("r6", "closed")] {
        fleet.add(name, "socket", &format!("{socket}.sock"));
    }
    let began = Instant::now();
    let said = fleet.expect(3, &["status"]);
    // The slow one has five seconds; the machine that this runs on may be slow, too.
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(said.out.lines().count(), 4, "{}", said.out);
    for (rack, why) in [
        ("r3: ", "connection refused"),
        ("r4: ", "no answer within 5s"),
        ("r5: ", "the answer is not as this rackbmc knows it"),
        ("r6: ", "anna lacks the role reader"),
        ("r7: ", "127.0.0.1:1"),
    ] {
        let line = said.err.lines().find(|line| line.starts_with(rack));
        assert!(
            line.is_some_and(|line| line.contains(why)),
            "{rack}{}",
            said.err
        );
    }
    let said = fleet.expect(2, &["check"]);
    assert!(said.out.contains("r3: "), "{}", said.out);
    assert!(said.out.ends_with("racks=7 silent=5\n"), "{}", said.out);
    // One that is taken out need not answer, and racks that are not named are not asked.
    fleet.expect(0, &["status", "-x", "r[3-7]/@*"]);
    let began = Instant::now();
    fleet.expect(0, &["status", "r[1-2]/n01"]);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_rack_that_is_another_one_than_it_is_said_to_be_is_told() {
    let fleet = three();
    let wrong = format!(
        "[[rack]]\nname = \"r9\"\nsocket = {:?}\n",
        fleet.beds[0].socket()
    );
    std::fs::write(fleet.path("fleet.toml"), wrong).expect("written");
    let said = fleet.expect(0, &["racks"]);
    assert!(
        said.out.contains("says that its rack is r1"),
        "{}",
        said.out
    );
    let said = fleet.expect(2, &["check"]);
    assert!(said.out.contains("r9: the daemon at "), "{}", said.out);
}

#[test]
fn a_mistake_in_the_file_or_in_a_set_is_told_before_anybody_is_asked() {
    let fleet = Fleet::of(1, 1, &Mood::default());
    let said = fleet.expect(2, &["status", "n01"]);
    assert!(
        said.err
            .contains("'n01' does not say its rack: write r1/n01"),
        "{}",
        said.err
    );
    let said = fleet.expect(2, &["status", "r[1-2]/n01"]);
    assert!(
        said.err.contains("the fleet has no rack r2 (it has r1)"),
        "{}",
        said.err
    );
    std::fs::write(
        fleet.path("fleet.toml"),
        "[[rack]]\nname = \"r1\"\nurl = 7\n",
    )
    .expect("written");
    let said = fleet.expect(2, &["racks"]);
    let place = format!("{}:3:7: ", fleet.path("fleet.toml").display());
    assert!(said.err.contains(&place), "{}", said.err);
    // A single daemon, whatever the environment says of a fleet.
    let mut bed = Bed::of([plan("n01", Mood::default())], &Keys::default());
    bed.start();
    let socket = bed.socket().display().to_string();
    let mut command = bed.command(&["--socket", &socket, "wait", "n01", "--on"]);
    command.env("RACKBMC_FLEET", "1");
    assert_eq!(command.status().expect("rackbmc runs").code(), Some(0));
}
