//! What a journal says that is older than the world: after a long absence, and where a copy was put
//! back.

#[path = "daemon/mod.rs"]
mod daemon;
mod world;

use daemon::{Bed, DAEMON};
use rackbmcd::model::{BatchStart, Control, Operation, PowerOptions, TaskState};
use rackbmcd::rack::Copied;
use rackbmcd::rack::call::Call;
use rackbmcd::rack::settings::MaintenancePolicy;
use rackbmcd::sim::{ChassisOrder, OsMood};
use std::fs;
use std::process::Command;
use uuid::Uuid;
use world::{World, batch_of, secs, who};

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
        world.copied = Copied::Behind(7);
        world.start();
        world.run_for(secs(900));
        assert_eq!(count(&mut world), done, "{operation} was done again");
        for node in &view.nodes {
            let task = node.task.expect("no dry run");
            let state = world.state(task);
            assert!(
                matches!(state, TaskState::Suspended | TaskState::Succeeded),
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
    world.copied = Copied::Unknown;
    world.start();
    world.run_for(secs(2));
    assert_eq!(world.state(task), TaskState::Aborted);
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
        assert_eq!(world.state(queued), TaskState::Queued);
        world.crash();
        world.run_for(secs(away));
        world.start();
        world.run_for(secs(400));
        assert_eq!(world.state(waits), TaskState::Running, "a wait goes on");
        assert_eq!(world.state(queued) == TaskState::Suspended, held, "{away}");
        let cycles = world.executed("n03", ChassisOrder::Cycle);
        assert_eq!(cycles, usize::from(!held));
        if held {
            let by = world.task(queued).controls[0].by.clone();
            assert_eq!(by, "rackbmcd (no sign of life for 10 min)");
            world.control(queued, Control::Resume).expect("it may");
            assert_eq!(
                world.run_task(queued, secs(120)).state,
                TaskState::Succeeded
            );
            assert_eq!(world.executed("n03", ChassisOrder::Cycle), 1);
        }
    }
}

/// What a pause, or the maintenance of its node, keeps goes on by itself when that ends.
#[test]
fn what_a_hold_kept_over_a_long_absence_or_in_a_copy_is_not_released_with_it() {
    let stories = [
        (Copied::No, true),
        (Copied::Behind(3), true),
        (Copied::No, false),
    ];
    for (copied, paused) in stories {
        let mut world = World::new(64, 2);
        world.crash();
        world.settings.maintenance_policy = MaintenancePolicy::Block;
        world.start();
        world.run_for(secs(20));
        let batch = world.start_batch(BatchStart {
            stagger: secs(300),
            ..batch_of(&["n01", "n02"], Operation::Cycle)
        });
        world.run_for(secs(60));
        let queued = batch.nodes[1].task.expect("no dry run");
        let hold = |world: &mut World, on: bool| {
            let (node, reason, who) = ("n02".to_owned(), "smoke".to_owned(), who());
            let hold = on.then_some(None);
            let call = match (paused, on) {
                (true, true) => Call::Pause { reason, who },
                (true, false) => Call::Release { who },
                (false, _) => Call::SetMaintenance { node, hold, who },
            };
            world.call(call).expect("it may");
        };
        hold(&mut world, true);
        world.run_for(secs(5));
        world.crash();
        world.run_for(secs(620));
        world.copied = copied;
        world.start();
        world.run_for(secs(5));
        hold(&mut world, false);
        world.run_for(secs(400));
        assert_eq!(
            world.state(queued),
            TaskState::Suspended,
            "{copied:?} {paused}"
        );
        assert_eq!(world.executed("n02", ChassisOrder::Cycle), 0);
        world.control(queued, Control::Resume).expect("it may");
        let view = world.run_task(queued, secs(120));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    }
}

/// A machine that lost its clock with its power: the calendar says that no time has passed, or less
/// than none.
#[test]
fn where_nobody_knows_how_long_the_daemon_was_away_nothing_begins_either() {
    for anew in [false, true] {
        let mut world = World::new(63, 3);
        world.boot = Some(Uuid::from_u128(1));
        world.crash();
        world.start();
        world.run_for(secs(20));
        let batch = world.start_batch(BatchStart {
            stagger: secs(300),
            ..batch_of(&["n02", "n03"], Operation::Cycle)
        });
        world.run_for(secs(60));
        let queued = batch.nodes[1].task.expect("no dry run");
        assert_eq!(world.state(queued), TaskState::Queued);
        world.crash();
        world.set_calendar(-2 * 86_400);
        world.run_for(secs(30));
        if anew {
            world.boot = Some(Uuid::from_u128(2));
        }
        world.start();
        world.run_for(secs(10));
        let held = world.state(queued) == TaskState::Suspended;
        // Within one boot the machine's own clock tells.
        assert_eq!(held, anew);
        if held {
            let by = world.task(queued).controls[0].by.clone();
            assert!(by.contains("nobody knows how old that is"), "{by}");
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
    let id = waiting_task(&bed);
    bed.terminate();
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

#[test]
fn who_was_killed_finds_what_was_in_the_log_alone_and_misses_a_log_that_was_taken_away() {
    let mut bed = Bed::of_hanging_systems();
    bed.start();
    let log = bed.path("state").join("journal.log");
    let id = waiting_task(&bed);
    assert!(log.exists());
    bed.kill();
    bed.start();
    let shown = bed.request("GET", &format!("/v1/tasks/{id}"), "");
    let shown = shown.expect("an answer").1;
    assert!(shown.contains(r#""state":"running""#), "{shown}");
    assert!(!bed.log().contains("copy from before"), "{}", bed.log());
    // Whoever stops it leaves a journal that needs none.
    bed.terminate();
    assert!(!log.exists());
    bed.start();
    let (status, said) = bed
        .request("POST", &format!("/v1/tasks/{id}/suspend"), "{}")
        .expect("an answer");
    assert!(status < 300, "{status} {said}");
    bed.kill();
    fs::remove_file(&log).expect("it is there");
    bed.start();
    assert!(bed.log().contains("is a copy from before"), "{}", bed.log());
    assert_eq!(bed.count("n01", ChassisOrder::Soft), 1);
}

/// Starts a soft power off that waits, and gives its id once the order has left.
fn waiting_task(bed: &Bed) -> String {
    let body = r#"{"node":"n01","operation":"soft power off","timeout":600}"#;
    let (status, said) = bed.request("POST", "/v1/tasks", body).expect("an answer");
    assert_eq!(status, 202, "{said}");
    let task: serde_json::Value = serde_json::from_str(&said).expect("a task");
    bed.wait_for("it leaves", |bed| bed.count("n01", ChassisOrder::Soft) == 1);
    task["id"].as_str().expect("an id").to_owned()
}

fn task_state(bed: &Bed, id: &str) -> String {
    let shown = bed.request("GET", &format!("/v1/tasks/{id}"), "");
    let shown: serde_json::Value =
        serde_json::from_str(&shown.expect("an answer").1).expect("a task");
    shown["state"].as_str().expect("a state").to_owned()
}

/// What tells a copy is the number in the lock: where it cannot be read, or the journal came alone,
/// nothing is believed.
#[test]
fn a_journal_without_the_number_that_would_tell_a_copy_is_taken_for_one() {
    let mut bed = Bed::of_hanging_systems();
    bed.start();
    let id = waiting_task(&bed);
    bed.kill();
    let lock = bed.path("state").join("lock");
    for (how, spoil) in [
        ("gone", None),
        ("no number", Some("0000000000000000000x\n")),
        ("short", Some("7")),
    ] {
        match spoil {
            None => fs::remove_file(&lock).expect("it is there"),
            Some(text) => fs::write(&lock, text).expect("it can be written"),
        }
        bed.start();
        assert_eq!(task_state(&bed, &id), "suspended", "{how}");
        assert!(
            bed.log().contains("may be a copy from before"),
            "{how}: {}",
            bed.log()
        );
        let resume = format!("/v1/tasks/{id}/resume");
        let (status, said) = bed.request("POST", &resume, "{}").expect("an answer");
        assert_eq!(status, 200, "{how}: {said}");
        bed.kill();
        // The number is there again, and tells that nothing is missing.
        bed.start();
        assert_eq!(task_state(&bed, &id), "running", "{how}");
        bed.kill();
    }
    // A newer number than the journal's: that one was put back.
    fs::write(&lock, format!("{:020}\n", 1_000_000)).expect("it can be written");
    bed.start();
    assert_eq!(task_state(&bed, &id), "suspended");
    assert!(
        bed.log().contains("later transactions are not in it"),
        "{}",
        bed.log()
    );
    bed.kill();
    // One that cannot be read at all is said, and nothing begins.
    fs::remove_file(&lock).expect("it is there");
    fs::create_dir(&lock).expect("a folder");
    let (code, said) = refused(&bed);
    assert!(code != 0 && said.contains("lock: Is a directory"), "{said}");
}

/// `cp`, and not `mv`: the file is the same one, with other bytes in it.
#[test]
fn a_copy_that_is_written_into_the_journal_under_the_daemon_is_noticed() {
    let mut bed = Bed::of_hanging_systems();
    bed.start();
    let journal = bed.path("state").join("journal.redb");
    fs::copy(&journal, bed.path("kept")).expect("it is there");
    let id = waiting_task(&bed);
    // Only its time: nothing is wrong.
    let now = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let file = fs::File::options()
        .write(true)
        .open(&journal)
        .expect("it is there");
    file.set_modified(now).expect("a time");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(!health(&bed).contains("failing"), "{}", bed.log());
    // Everything that was remembered since is gone from the file.
    fs::copy(bed.path("kept"), &journal).expect("it is there");
    bed.wait_for("copied", |bed| health(bed).contains("failing"));
    let body = r#"{"node":"n02","operation":"power off"}"#;
    let (status, said) = bed.request("POST", "/v1/tasks", body).expect("an answer");
    assert_eq!(status, 503, "{said}");
    assert_eq!(bed.count("n02", ChassisOrder::Off), 0);
    assert_eq!(task_state(&bed, &id), "running", "it is not forgotten");
    bed.kill();
    // The log may have all that the copy lacks.
    fs::remove_file(bed.path("state").join("journal.log")).expect("it is there");
    bed.start();
    assert!(!bed.log().contains("taking up"), "{}", bed.log());
    // And cut off, while nothing is being written.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let file = fs::File::options()
        .write(true)
        .open(&journal)
        .expect("it is there");
    file.set_len(0).expect("a length");
    bed.wait_for("empty", |bed| health(bed).contains("failing"));
    let (status, said) = bed.request("POST", "/v1/tasks", body).expect("an answer");
    assert_eq!(status, 503, "{said}");
    assert_eq!(bed.count("n02", ChassisOrder::Off), 0);
    bed.kill();
    let (code, said) = refused(&bed);
    assert!(code != 0 && said.contains("the file is empty"), "{said}");
}

#[test]
fn a_state_directory_that_is_a_link_is_followed_and_never_made_where_it_leads_nowhere() {
    let mut bed = Bed::of_hanging_systems();
    bed.start();
    let id = waiting_task(&bed);
    let (state, elsewhere) = (bed.path("state"), bed.path("elsewhere"));
    // Moved, with a link in its place, under the daemon: the journal is where it was.
    fs::rename(&state, &elsewhere).expect("it is there");
    std::os::unix::fs::symlink(&elsewhere, &state).expect("a link");
    std::thread::sleep(std::time::Duration::from_secs(3));
    bed.wait_for("it is well", |bed| !health(bed).contains("failing"));
    bed.kill();
    bed.start();
    assert_eq!(task_state(&bed, &id), "running");
    // The link is turned to a folder with a copy: another file.
    let other = bed.path("other");
    fs::create_dir(&other).expect("a folder");
    fs::copy(elsewhere.join("journal.redb"), other.join("journal.redb")).expect("a copy");
    fs::remove_file(&state).expect("a link");
    std::os::unix::fs::symlink(&other, &state).expect("a link");
    bed.wait_for("replaced", |bed| health(bed).contains("failing"));
    bed.kill();
    // It leads nowhere.
    fs::remove_file(&state).expect("a link");
    std::os::unix::fs::symlink(bed.path("nowhere"), &state).expect("a link");
    let (code, said) = refused(&bed);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("which is not there"), "{said}");
    assert!(!bed.path("nowhere").exists());
}

/// A second name of the same file keeps no second daemon from seeing that it is in use.
#[test]
fn a_journal_by_a_second_name_is_the_same_journal() {
    let mut bed = Bed::of_hanging_systems();
    bed.start();
    let journal = bed.path("state").join("journal.redb");
    let twin = bed.path("twin");
    fs::create_dir(&twin).expect("a folder");
    fs::hard_link(&journal, twin.join("journal.redb")).expect("a second name");
    let configuration = fs::read_to_string(bed.path("rackbmcd.toml")).expect("text");
    let other = configuration
        .replace(&format!("{:?}", bed.path("state")), &format!("{twin:?}"))
        .replace(
            &format!("{:?}", bed.socket()),
            &format!("{:?}", bed.path("s2")),
        );
    fs::write(bed.path("twin.toml"), other).expect("it can be written");
    let output = Command::new(DAEMON)
        .arg("--config")
        .arg(bed.path("twin.toml"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("is in use by another rackbmcd"),
        "{said}"
    );
    // The name that the daemon knows is the one that counts.
    fs::remove_file(&journal).expect("it is there");
    bed.wait_for("deleted", |bed| health(bed).contains("failing"));
    fs::hard_link(twin.join("journal.redb"), &journal).expect("a name");
    bed.wait_for("it is well", |bed| !health(bed).contains("failing"));
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
