//! Verbs that only look, while other things happen: machines that somebody switches, a daemon that
//! is killed and comes back.

use super::obeys;
use crate::daemon::{Bed, begin};
use rackbmcd::sim::ChassisOrder;
use std::time::Duration;

#[test]
fn a_wait_for_nodes_ends_when_all_are_as_wanted_and_does_nothing_about_it() {
    let bed = Bed::new(&[("r1n01", obeys(1)), ("r1n02", obeys(1))]);
    let on = bed.expect(0, &["wait", "r1n[01-02]", "--on", "--timeout", "30s"]);
    assert!(on.contains("r1n02"), "{on}");
    let off = bed.expect(5, &["wait", "r1n01", "--off", "--timeout", "1s"]);
    assert!(off.contains("r1n01"), "{off}");
    let waits = begin(bed.command(&["wait", "r1n[01-02]", "--off", "--timeout", "60s"]));
    for node in ["r1n01", "r1n02"] {
        std::thread::sleep(Duration::from_secs(1));
        let switched = bed.rack.with_bmc(node, |bmc, now| {
            bmc.order_by_somebody(ChassisOrder::Off, now);
        });
        switched.expect("the node is there");
    }
    let said = waits.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(0), "{text}");
    assert!(
        text.contains("r1n01: power off") && text.contains("r1n02: power off"),
        "{text}"
    );
    assert_eq!(bed.expect(0, &["tasks", "-o", "json"]).trim(), "[]");
}

#[test]
fn events_and_watch_go_on_over_a_daemon_that_is_killed_with_one_remark() {
    let mut bed = Bed::new(&[("r1n01", obeys(1))]);
    let events = begin(bed.command(&["events", "--idle", "8s", "-o", "json"]));
    let mut watch = begin(bed.command(&["watch", "r1n01", "--interval", "100ms"]));
    std::thread::sleep(Duration::from_secs(1));
    bed.kill();
    std::thread::sleep(Duration::from_secs(1));
    bed.start();
    bed.expect(0, &["soft", "r1n01", "--wait"]);
    let events = events.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (told, remarks) = (text(&events.stdout), text(&events.stderr));
    assert_eq!(events.status.code(), Some(0), "{remarks}");
    assert!(told.contains("\"succeeded\""), "{told}{remarks}");
    let away = remarks.matches("waiting up to a minute for it to come back");
    assert_eq!(away.count(), 1, "{remarks}");
    assert!(
        watch.try_wait().expect("ours").is_none(),
        "it still watches"
    );
    watch.kill().expect("it still watches");
    let watched = watch.wait_with_output().expect("it ends");
    let (shown, remarks) = (text(&watched.stdout), text(&watched.stderr));
    assert!(shown.contains("power off"), "{shown}{remarks}");
}
