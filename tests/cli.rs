//! `rackbmc` and the real daemon on simulated BMCs: the journeys of an operator, judged by what the
//! machines did.
//!
//! The rack runs inside the test, so that a machine's own record of what it carried out is the
//! witness.

#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/expert.rs"]
mod expert;
#[path = "cli/meanwhile.rs"]
mod meanwhile;

mod daemon;

use daemon::{Bed, Keys, begin, plan};
use rackbmcd::model::{Node, PowerState, Target, Task, TaskState};
use rackbmcd::sim::{Mood, OsMood};
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

impl Bed {
    fn new(nodes: &[(&str, Mood)]) -> Self {
        let plans = nodes.iter().map(|(name, mood)| plan(name, mood.clone()));
        let keys = Keys {
            rack: "sync_interval = \"60s\"",
            defaults: "min_off_time = \"1s\"\nsettle = \"1s\"\norders_per_second = 10.0\nnmi_watch = \"3s\"\n\
                       groups = [\"compute\"]",
            ..Keys::default()
        };
        let mut bed = Self::of(plans, &keys);
        bed.start();
        bed
    }

    fn node(&self, name: &str) -> Node {
        let nodes: Vec<Node> =
            serde_json::from_str(&self.expect(0, &["status", name, "--full", "-o", "json"]))
                .expect("JSON");
        nodes.into_iter().next().expect("one node")
    }

    fn last_task(&self, name: &str) -> Task {
        let tasks: Vec<Task> =
            serde_json::from_str(&self.expect(0, &["tasks", name, "-o", "json"])).expect("JSON");
        tasks.into_iter().next().expect("one task at least")
    }

    /// Every order that has reached the machine so far.
    fn executed(&self, name: &str) -> Vec<String> {
        self.rack
            .with_bmc(name, |bmc, _| {
                let executed = bmc.host().executed().iter();
                executed.map(|done| format!("{:?}", done.order)).collect()
            })
            .expect("the node is there")
    }

    /// Waits until so many orders have reached the machine.
    fn reached(&self, name: &str, orders: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.executed(name).len() < orders {
            assert!(Instant::now() < deadline, "{:?}", self.executed(name));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn obeys(seconds: u64) -> Mood {
    Mood {
        os: OsMood::ObeysAfter(Duration::from_secs(seconds)),
        ..Mood::default()
    }
}

fn hangs() -> Mood {
    Mood {
        os: OsMood::Hangs,
        ..Mood::default()
    }
}

#[test]
fn soft_is_done_when_the_machine_is_off_and_does_nothing_where_it_is() {
    let bed = Bed::new(&[("r1n01", obeys(2))]);
    let began = Instant::now();
    let said = bed.expect(0, &["soft", "r1n01"]);
    assert!(said.starts_with("r1n01: shut down after "), "{said}");
    assert!(began.elapsed() >= Duration::from_secs(2) && !bed.is_on("r1n01"));
    bed.expect(0, &["soft", "r1n01"]);
    assert_eq!(bed.executed("r1n01"), ["Soft"]);
    bed.expect(0, &["on", "r1n01"]);
    assert!(bed.is_on("r1n01"));
    bed.expect(0, &["reboot", "--soft", "r1n01"]);
    assert_eq!(bed.executed("r1n01"), ["Soft", "On", "Soft", "On"]);
    bed.expect(0, &["off", "r1n01"]);
    assert_eq!(
        bed.executed("r1n01").last().map(String::as_str),
        Some("Off")
    );
    assert_eq!(bed.expect(0, &["status", "r1n01"]), "r1n01: power off\n");
}

#[test]
fn an_abort_in_the_middle_leaves_the_machine_and_says_who_and_what() {
    let bed = Bed::new(&[("r1n01", hangs())]);
    let waiting = begin(bed.command(&["soft", "r1n01"]));
    bed.reached("r1n01", 1);
    assert_eq!(
        bed.node("r1n01").target_power_state,
        Some(Target::SoftPowerOff.into())
    );
    assert_eq!(bed.rackbmc(&["on", "r1n01"]).code, 1, "one task at a time");
    bed.expect(0, &["abort", "r1n01"]);
    let waited = waiting.wait_with_output().expect("it ends");
    assert_eq!(waited.status.code(), Some(6), "the one who waited is told");
    let node = bed.node("r1n01");
    assert_eq!(node.power_state, PowerState::Error);
    let why = node.last_error.expect("an abort is said");
    assert!(
        why.contains("abort") && why.contains("soft power off"),
        "{why}"
    );
    assert_eq!(bed.last_task("r1n01").state, TaskState::Aborted);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bed.executed("r1n01"), ["Soft"]);
    assert!(bed.is_on("r1n01"));
    bed.expect(0, &["abort", "r1n01"]);
}

#[test]
fn the_specifications_verbs_start_and_abort_at_once() {
    let bed = Bed::new(&[("r1n01", hangs())]);
    assert_eq!(
        bed.expect(0, &["node-set-power-state", "r1n01", "soft_off"]),
        ""
    );
    let states = bed.expect(0, &["node-show-states", "r1n01"]);
    assert!(
        states.contains("| target_power_state     | soft power off   "),
        "{states}"
    );
    assert!(states.contains("\"abort soft power off\""), "{states}");
    bed.expect(0, &["node-set-power-state", "r1n01", "abort_soft_off"]);
    let states = bed.expect(0, &["node-show-states", "r1n01"]);
    assert!(
        states.contains("| power_state            | error  "),
        "{states}"
    );
    assert!(bed.expect(0, &["node-show", "r1n01"]).contains("| name "));
    for verb in &[
        &["node-show", "r1n09"][..],
        &["node-show-states", "r1n09"],
        &["node-set-power-state", "r1n09", "on"],
        &["node-set-power-state", "r1n09", "abort_soft_off"],
    ] {
        let said = bed.rackbmc(verb);
        assert_eq!(said.code, 2, "{verb:?}: {}", said.err);
    }
}

#[test]
fn an_nmi_is_sent_once_and_never_to_a_machine_that_is_off() {
    let bed = Bed::new(&[("r1n01", obeys(1))]);
    bed.expect(0, &["nmi", "r1n01"]);
    assert_eq!(bed.executed("r1n01"), ["Nmi"]);
    bed.expect(0, &["off", "r1n01"]);
    bed.expect(1, &["nmi", "r1n01"]);
    assert_eq!(bed.executed("r1n01"), ["Nmi", "Off"]);
}

#[test]
fn a_dead_bmc_fails_its_own_node_soon_and_no_other() {
    // Dead from the beginning: it is never read.
    let mut silent = obeys(1);
    silent.dead = true;
    let bed = Bed::new(&[("r1n01", obeys(1)), ("r1n02", silent)]);
    let began = Instant::now();
    let said = bed.rackbmc(&["status", "--fresh"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!((said.out + &said.err).contains("no answer"));
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
    let said = bed.rackbmc(&["off", "r1n[01-02]", "--timeout", "10s"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(
        said.out.contains("r1n01: switched off after "),
        "{}",
        said.out
    );
    assert!(said.out.contains("r1n02: power off failed"), "{}", said.out);
    assert_eq!(bed.rackbmc(&["check"]).code, 2);
}

#[test]
fn a_wait_lives_through_a_daemon_that_is_killed() {
    let mut bed = Bed::new(&[("r1n01", obeys(4))]);
    let mut waiting = begin(bed.command(&["soft", "r1n01"]));
    // Its first line comes when it was told that the task is there.
    let mut stderr = BufReader::new(waiting.stderr.take().expect("it is piped"));
    let mut remarks = String::new();
    stderr.read_line(&mut remarks).expect("UTF-8");
    bed.reached("r1n01", 1);
    bed.kill();
    std::thread::sleep(Duration::from_secs(1));
    bed.start();
    stderr.read_to_string(&mut remarks).expect("UTF-8");
    let waited = waiting.wait_with_output().expect("it ends");
    assert_eq!(waited.status.code(), Some(0), "{remarks}{}", bed.log());
    assert!(remarks.contains("rackbmcd is back"), "{remarks}");
    assert_eq!(bed.executed("r1n01"), ["Soft"]);
}

#[test]
fn a_batch_takes_them_all_and_a_dry_run_none() {
    let nodes = ["r1n01", "r1n02", "r1n03", "r1n04"];
    let bed = Bed::new(&nodes.map(|name| (name, obeys(1))));
    let plan = bed.expect(0, &["soft", "@compute", "--dry-run"]);
    assert_eq!(
        plan.matches("would send: soft power off").count(),
        4,
        "{plan}"
    );
    assert!(nodes.iter().all(|node| bed.executed(node).is_empty()));
    let said = bed.expect(0, &["soft", "@compute", "--max-parallel", "2", "-b"]);
    assert!(said.starts_with("r1n[01-04]: shut down"), "{said}");
    assert_eq!(bed.expect(0, &["status", "-b"]), "r1n[01-04]: power off\n");
    assert!(nodes.iter().all(|node| bed.executed(node) == ["Soft"]));
}

#[test]
fn suspend_resume_rollback_and_a_cancel_that_comes_too_late() {
    let bed = Bed::new(&[("r1n01", obeys(3))]);
    bed.expect(0, &["soft", "r1n01", "--no-wait"]);
    bed.reached("r1n01", 1);
    let late = bed.rackbmc(&["cancel", "r1n01"]);
    assert_eq!(late.code, 1);
    assert!(
        late.err.contains("abort"),
        "what is still possible: {}",
        late.err
    );
    bed.expect(0, &["suspend", "r1n01"]);
    assert_eq!(bed.last_task("r1n01").state, TaskState::Suspended);
    bed.expect(0, &["resume", "r1n01", "--wait"]);
    assert!(!bed.is_on("r1n01"));
    bed.expect(0, &["on", "r1n01"]);
    bed.expect(0, &["soft", "r1n01", "--no-wait"]);
    bed.reached("r1n01", 3);
    bed.expect(0, &["rollback", "r1n01", "--wait"]);
    assert_eq!(bed.last_task("r1n01").state, TaskState::RolledBack);
    assert!(bed.is_on("r1n01"));
    assert_eq!(bed.executed("r1n01"), ["Soft", "On", "Soft", "On"]);
}

#[test]
fn a_paused_rack_refuses_and_a_released_one_goes_on() {
    let bed = Bed::new(&[("r1n01", obeys(1))]);
    bed.expect(0, &["pause", "work", "on", "the", "power", "feed"]);
    let refused = bed.rackbmc(&["off", "r1n01"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("work on the power feed"),
        "{}",
        refused.err
    );
    assert_eq!(bed.rackbmc(&["check"]).code, 1, "a warning");
    bed.expect(0, &["release"]);
    bed.expect(0, &["off", "r1n01"]);
    assert_eq!(bed.executed("r1n01"), ["Off"]);
    let history = bed.expect(0, &["history", "r1n01"]);
    assert!(history.contains("power off"), "{history}");
    assert!(
        bed.expect(0, &["explain", "r1n01"])
            .contains("r1n01: power off")
    );
}
