//! What a journal says that is older than the world: after a long absence, and where a copy was put back.

#[path = "daemon/mod.rs"]
mod daemon;
mod world;

use daemon::{Bed, DAEMON};
use rackbmcd::model::{BatchStart, PowerOptions};
use rackbmcd::power::{Control, Operation, State};
use rackbmcd::sim::{ChassisOrder, OsMood};
use std::fs;
use std::process::Command;
use world::{World, batch_of, secs};

#[test]
fn a_copy_that_was_put_back_does_nothing_again_that_was_done_since() {
    for operation in [
        Operation::Cycle,
        Operation::Reset,
        Operation::InjectNmi,
        Operation::Reboot,
        Operation::SoftPowerOff,
    ] {
        let names = ["n01", "n02", "n03"];
        let mut world = World::new(60, 3);
        world.run_for(secs(20));
        let batch = BatchStart {
            max_parallel: 1,
            ..batch_of(&names, operation)
        };
        let view = world.start_batch(batch);
        world.run_for(secs(1));
        let copy = world.disk();
        world.run_for(secs(900));
        let count = |world: &mut World| -> usize {
            let orders = (0..6).filter_map(ChassisOrder::by_number);
            orders
                .map(|order| {
                    names
                        .iter()
                        .map(|name| world.executed(name, order))
                        .sum::<usize>()
                })
                .sum()
        };
        let done = count(&mut world);
        assert!(done >= 3, "{operation}: {done}");
        world.crash();
        world.put_back(copy);
        world.behind = 7;
        world.start();
        world.run_for(secs(900));
        assert_eq!(count(&mut world), done, "{operation} was done again");
        for node in &view.nodes {
            let task = node.task.expect("no dry run");
            let state = world.state(task);
            assert!(
                matches!(state, State::Suspended | State::Succeeded),
                "{operation}: {state}"
            );
        }
    }
}

#[test]
fn a_way_back_out_of_a_copy_is_left_as_it_is() {
    let mut world = World::new(61, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(20));
    let task = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(5));
    world.control(task, Control::Rollback).expect("it may");
    world.crash();
    world.behind = 1;
    world.start();
    world.run_for(secs(2));
    assert_eq!(world.state(task), State::Aborted);
}

#[test]
fn after_a_long_absence_nothing_begins_that_was_asked_for_before_it() {
    for (away, held) in [(590, false), (620, true)] {
        let mut world = World::new(62, 3);
        world.mood("n01").os = OsMood::Hangs;
        world.run_for(secs(20));
        let options = PowerOptions {
            timeout: Some(secs(1200)),
            ..PowerOptions::default()
        };
        let waits = world.start_task("n01", Operation::SoftPowerOff, options);
        let batch = BatchStart {
            stagger: secs(300),
            ..batch_of(&["n02", "n03"], Operation::Cycle)
        };
        let batch = world.start_batch(batch);
        world.run_for(secs(60));
        let queued = batch.nodes[1].task.expect("no dry run");
        assert_eq!(world.state(queued), State::Queued);
        world.crash();
        world.run_for(secs(away));
        world.start();
        world.run_for(secs(400));
        assert_eq!(world.state(waits), State::Running, "a wait goes on");
        assert_eq!(world.state(queued) == State::Suspended, held, "{away}");
        let cycles = world.executed("n03", ChassisOrder::Cycle);
        assert_eq!(cycles, usize::from(!held));
        if held {
            let by = world.task(queued).controls[0].by.clone();
            assert_eq!(by, "rackbmcd (no sign of life for 10 min)");
            world.control(queued, Control::Resume).expect("it may");
            assert_eq!(world.run_task(queued, secs(120)).state, State::Succeeded);
            assert_eq!(world.executed("n03", ChassisOrder::Cycle), 1);
        }
    }
}

/// Starts the daemon, which is to refuse; its exit code and what it said.
fn refused(bed: &Bed) -> (i32, String) {
    let output = Command::new(DAEMON)
        .arg("--config")
        .arg(bed.path("rackbmcd.toml"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    (output.status.code().expect("a code"), said)
}

fn health(bed: &Bed) -> String {
    bed.request("GET", "/healthz", "").expect("an answer").1
}

#[test]
fn a_journal_that_is_missing_where_there_was_one_is_refused() {
    let mut bed = Bed::of_hanging_systems();
    bed.start();
    bed.terminate();
    let journal = bed.path("state").join("journal.redb");
    fs::rename(&journal, bed.path("kept")).expect("it is there");
    let (code, said) = refused(&bed);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("--new-journal"), "{said}");
    std::os::unix::fs::symlink(bed.path("nowhere"), &journal).expect("a link");
    let (code, said) = refused(&bed);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("which is not there"), "{said}");
    assert!(journal.is_symlink(), "nothing was changed");
    // A link that leads somewhere is followed.
    fs::rename(bed.path("kept"), bed.path("nowhere")).expect("it is there");
    bed.start();
    bed.terminate();
    assert!(journal.is_symlink());
    fs::remove_file(&journal).expect("a link");
    let mut command = Command::new(DAEMON);
    command.arg("--new-journal");
    bed.start_by(command);
    assert!(bed.log().contains("beginning anew"), "{}", bed.log());
}

#[test]
fn a_journal_that_goes_away_under_the_daemon_is_noticed_and_may_come_back() {
    let mut bed = Bed::of_hanging_systems();
    bed.start();
    let journal = bed.path("state").join("journal.redb");
    for how in ["moved", "replaced", "deleted"] {
        match how {
            "moved" => fs::rename(&journal, bed.path("kept")).expect("it is there"),
            "replaced" => {
                fs::rename(&journal, bed.path("kept")).expect("it is there");
                fs::copy(bed.path("kept"), &journal)
                    .map(drop)
                    .expect("a copy");
            }
            _ => fs::remove_file(&journal).expect("it is there"),
        }
        bed.wait_for(how, |bed| health(bed).contains("failing"));
        let body = r#"{"node":"n01","operation":"power off"}"#;
        let (status, said) = bed.request("POST", "/v1/tasks", body).expect("an answer");
        assert_eq!(status, 503, "{said}");
        if how != "deleted" {
            fs::rename(bed.path("kept"), &journal).expect("it is there");
            bed.wait_for(how, |bed| !health(bed).contains("failing"));
        }
    }
    assert_eq!(bed.count("n01", ChassisOrder::Off), 0);
}

#[test]
fn a_journal_that_was_put_back_alone_is_found_out() {
    let mut bed = Bed::of_hanging_systems();
    bed.start();
    let body = r#"{"node":"n01","operation":"soft power off","timeout":600}"#;
    let (status, said) = bed.request("POST", "/v1/tasks", body).expect("an answer");
    assert_eq!(status, 202, "{said}");
    let task: serde_json::Value = serde_json::from_str(&said).expect("a task");
    let id = task["id"].as_str().expect("an id").to_owned();
    bed.wait_for("it leaves", |bed| bed.count("n01", ChassisOrder::Soft) == 1);
    bed.kill();
    let journal = bed.path("state").join("journal.redb");
    fs::copy(&journal, bed.path("kept")).expect("it is there");
    bed.start();
    let (status, said) = bed
        .request("POST", &format!("/v1/tasks/{id}/abort"), "{}")
        .expect("an answer");
    assert_eq!(status, 200, "{said}");
    bed.terminate();
    fs::copy(bed.path("kept"), &journal).expect("it is there");
    bed.start();
    let shown = bed.request("GET", &format!("/v1/tasks/{id}"), "");
    let shown = shown.expect("an answer").1;
    assert!(shown.contains("suspended"), "{shown}");
    assert!(bed.log().contains("is a copy from before"), "{}", bed.log());
}

/// Its whole file is read before it is trusted, which takes its time on a slow disk.
#[test]
fn systemd_is_told_how_long_the_opening_of_a_journal_may_take() {
    let mut bed = Bed::of_hanging_systems();
    let path = bed.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(10)))
        .expect("a socket that waits");
    let mut command = Command::new(DAEMON);
    command.env("NOTIFY_SOCKET", &path);
    bed.start_by(command);
    let mut said = [0; 4096];
    let length = socket.recv(&mut said).expect("a message");
    let said = String::from_utf8_lossy(&said[..length]);
    assert!(said.contains("EXTEND_TIMEOUT_USEC=6"), "{said}");
}
