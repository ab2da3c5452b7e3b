//! Time that is not as it should be: a calendar that is set while tasks run, and a daemon that
//! stands still.

mod world;

use rackbmcd::model::{BatchStart, Control, HistoryKind, Operation, PowerOptions, Task, TaskState};
use rackbmcd::rack::call::{Answer, Call};
use rackbmcd::sim::{ChassisOrder, Conditions, OsMood};
use rackbmcd::time::Instant;
use std::time::Duration;
use world::{World, batch_of, millis, secs};

const DAY: i64 = 86_400;

fn options(timeout: u64, hard_after: Option<u64>) -> PowerOptions {
    PowerOptions {
        timeout: Some(secs(timeout)),
        hard_after: hard_after.map(secs),
        ..PowerOptions::default()
    }
}

fn kinds(world: &mut World, node: &str) -> Vec<HistoryKind> {
    let call = Call::History {
        node: node.to_owned(),
        limit: 100,
    };
    let Ok(Answer::History(entries)) = world.call(call) else {
        panic!("no history");
    };
    let kinds = entries.iter().filter_map(|entry| entry.kind.known());
    kinds.collect()
}

#[test]
fn patience_is_not_the_calendars_over_a_crash() {
    for by in [16 * 60, 2 * 3600, 400 * DAY, -16 * 60, -400 * DAY] {
        let mut world = World::new(40, 1);
        world.mood("n01").os = OsMood::Hangs;
        world.run_for(secs(20));
        let asked = world.now;
        let options = options(1800, Some(900));
        let task = world.start_task("n01", Operation::SoftPowerOff, options);
        world.run_for(secs(6));
        world.set_calendar(by);
        world.run_for(secs(6));
        world.crash();
        world.run_for(secs(2));
        world.start();
        world.run_until(asked + secs(895), |_| false);
        assert_eq!(world.executed("n01", ChassisOrder::Off), 0, "set by {by} s");
        let view = world.run_task(task, secs(60));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        let took = world.now - asked;
        assert!(took > secs(898) && took < secs(920), "{by}: {took:?}");
        assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
    }
}

#[test]
fn a_calendar_that_is_set_again_and_again_ends_no_task_and_hurries_none() {
    let mut world = World::new(41, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(20));
    let asked = world.now;
    let task = world.start_task("n01", Operation::SoftPowerOff, options(120, None));
    for by in [3600, -7200, 500 * DAY, -800 * DAY, 61, -61, 300 * DAY] {
        world.set_calendar(by);
        world.run_for(secs(7));
        world.crash();
        world.run_for(secs(1));
        world.set_calendar(-by / 2);
        world.start();
    }
    let view = world.run_task(task, secs(120));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    let took = world.now - asked;
    // Away for seven seconds, and the last sign of life before each crash was up to five seconds
    // old.
    assert!(took >= secs(125) && took < secs(170), "{took:?}");
}

/// An NMI at a node that has one in ten minutes at most: when it was asked for, and its task.
fn nmi_with_an_interval(world: &mut World) -> (Instant, Task) {
    world.crash();
    world.nodes[0].nmi_min_interval = secs(600);
    world.start();
    world.run_for(secs(20));
    let asked = world.now;
    let task = world.start_task("n01", Operation::InjectNmi, PowerOptions::default());
    (asked, world.run_task(task, secs(300)))
}

#[test]
fn the_interval_of_nmis_is_not_the_calendars() {
    let mut world = World::new(42, 1);
    let (asked, view) = nmi_with_an_interval(&mut world);
    assert_eq!(world.executed("n01", ChassisOrder::Nmi), 1, "{view:#?}");
    world.set_calendar(3600);
    assert!(
        world
            .put_power("n01", "inject nmi", PowerOptions::default())
            .is_err(),
        "too soon"
    );
    world.set_calendar(-100 * DAY);
    world.run_until(asked + secs(602), |_| false);
    let again = world.put_power("n01", "inject nmi", PowerOptions::default());
    assert!(again.is_ok(), "ten minutes have passed: {again:?}");
}

/// An NMI, a crash, and the calendar set while the daemon is `away`, after it was set while it was
/// `alive`: the interval of ten minutes holds by the machine's own clock.
fn the_interval_of_nmis_holds(alive: Option<i64>, away: i64) {
    let mut world = World::new(44, 1);
    world.boot = Some(uuid::Uuid::from_u128(1));
    let (asked, _) = nmi_with_an_interval(&mut world);
    if let Some(by) = alive {
        world.set_calendar(by);
        world.run_for(secs(20));
    }
    world.crash();
    world.set_calendar(away);
    world.run_for(secs(5));
    world.start();
    world.run_until(asked + secs(590), |_| false);
    let again = world.put_power("n01", "inject nmi", PowerOptions::default());
    assert!(again.is_err(), "set by {alive:?} and {away} s: too soon");
    world.run_until(asked + secs(602), |_| false);
    let again = world.put_power("n01", "inject nmi", PowerOptions::default());
    assert!(again.is_ok(), "set by {alive:?} and {away} s: {again:?}");
}

#[test]
fn the_interval_of_nmis_is_not_the_calendars_over_a_crash() {
    for by in [100 * DAY, 3600, -100 * DAY] {
        the_interval_of_nmis_holds(None, by);
    }
}

#[test]
fn the_interval_of_nmis_holds_over_a_crash_after_the_calendar_was_set() {
    for (by, away) in [(40 * DAY, -45 * DAY), (3600, -7200), (-40 * DAY, 0)] {
        the_interval_of_nmis_holds(Some(by), away);
    }
}

#[test]
fn nothing_is_forgotten_because_the_calendar_was_set() {
    let mut world = World::new(43, 1);
    world.settings.history_keep = secs(2 * 3600);
    world.crash();
    world.start();
    world.run_for(secs(20));
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    assert_eq!(world.run_task(task, secs(60)).state, TaskState::Succeeded);
    for by in [30 * DAY, -60 * DAY, 4000 * DAY] {
        world.set_calendar(by);
        world.run_for(secs(1500));
        assert!(kinds(&mut world, "n01").contains(&HistoryKind::Task));
        assert_eq!(world.state(task), TaskState::Succeeded, "it is still known");
        let age = world.node("n01").rackbmcd.reading.expect("read").age;
        assert!(age < secs(200), "{age:?}");
    }
    world.run_for(secs(2 * 3600));
    assert!(!kinds(&mut world, "n01").contains(&HistoryKind::Task));
}

/// A soft power off of a node that went off while the daemon stood still.
#[test]
fn who_stood_still_looks_before_it_judges() {
    for left in [39_000, 1_000, 200, 1] {
        let mut world = World::new(44, 1);
        world.mood("n01").os = OsMood::ObeysAfter(secs(41));
        world.run_for(secs(20));
        // The time that a request names runs from there.
        let asked = world.now;
        let task = world.start_task("n01", Operation::SoftPowerOff, options(40, None));
        let just_before = asked + (secs(40) - Duration::from_millis(left));
        world.run_until(just_before, |_| false);
        assert_eq!(world.state(task), TaskState::Running);
        world.stand_still(secs(60));
        let view = world.run_task(task, secs(15));
        assert_eq!(
            view.state,
            TaskState::Succeeded,
            "{left} ms left: {view:#?}"
        );
        assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
    }
}

#[test]
fn the_second_half_of_a_reboot_is_looked_at_before_it_is_judged() {
    for operation in [Operation::Reboot, Operation::PowerOff, Operation::Cycle] {
        for after in [50, 300, 1_200, 3_000] {
            let mut world = World::new(45, 1);
            world.run_for(secs(20));
            let task = world.start_task("n01", operation, PowerOptions::default());
            world.run_for(Duration::from_millis(after));
            world.stand_still(secs(600));
            let view = world.run_task(task, secs(120));
            // A cycle that nobody saw off is not called done.
            let unseen = operation == Operation::Cycle && after == 50;
            let expected = if unseen {
                TaskState::Failed
            } else {
                TaskState::Succeeded
            };
            assert_eq!(view.state, expected, "{operation} {after}: {view:#?}");
            let cycles = world.executed("n01", ChassisOrder::Cycle);
            assert_eq!(cycles, usize::from(operation == Operation::Cycle));
        }
    }
}

#[test]
fn a_hard_order_that_fell_due_meanwhile_waits_for_its_time_and_a_look() {
    let mut world = World::new(46, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(20));
    let task = world.start_task("n01", Operation::SoftPowerOff, options(100, Some(30)));
    world.run_for(secs(10));
    world.stand_still(secs(3600));
    world.run_for(secs(15));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
    let view = world.run_task(task, secs(30));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
}

#[test]
fn where_nothing_can_be_read_after_that_it_is_not_known() {
    let mut world = World::new(47, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(20));
    let task = world.start_task("n01", Operation::SoftPowerOff, options(40, None));
    world.run_for(secs(39));
    world.mood("n01").dead = true;
    world.stand_still(secs(60));
    let view = world.run_task(task, secs(60));
    assert_eq!(view.state, TaskState::Failed);
    let outcome = view.outcome.expect("it ended");
    assert!(outcome.contains("it is not known whether"), "{outcome}");
}

#[test]
fn a_crash_after_it_stood_still_counts_from_there() {
    let mut world = World::new(48, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(20));
    let task = world.start_task("n01", Operation::SoftPowerOff, options(100, None));
    world.run_for(secs(10));
    world.stand_still(secs(3600));
    world.run_for(secs(10));
    world.crash();
    world.start();
    world.run_for(secs(60));
    assert_eq!(world.state(task), TaskState::Running);
    let view = world.run_task(task, secs(40));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
}

#[test]
fn what_is_suspended_stays_so_when_the_daemon_stood_still() {
    let mut world = World::new(49, 1);
    world.run_for(secs(20));
    let task = world.start_task("n01", Operation::SoftReboot, PowerOptions::default());
    world.run_for(secs(1));
    world.control(task, Control::Suspend).expect("it may");
    world.stand_still(secs(600));
    world.run_for(secs(600));
    assert_eq!(world.state(task), TaskState::Suspended);
    world.control(task, Control::Resume).expect("it may");
    assert_eq!(world.run_task(task, secs(600)).state, TaskState::Succeeded);
}

/// It came at once and waited in a socket: ten minutes are no round trip.
#[test]
fn an_answer_that_waited_while_the_daemon_stood_still_makes_no_bmc_slow() {
    for (after, operation) in [
        (5, Operation::PowerOff),
        (15, Operation::PowerOff),
        (25, Operation::PowerOff),
        (25, Operation::InjectNmi),
        (3_015, Operation::SoftPowerOff),
    ] {
        let mut world = World::new(50, 1);
        world.run_for(secs(20));
        let conditions = Conditions {
            delay: millis(5),
            ..Conditions::default()
        };
        world.link("n01", conditions);
        let task = world.start_task("n01", operation, PowerOptions::default());
        world.run_for(millis(after));
        world.stand_still_and_catch_up(secs(600));
        let back = world.now;
        let view = world.run_task(task, secs(100));
        assert_eq!(
            view.state,
            TaskState::Succeeded,
            "{operation} {after}: {view:#?}"
        );
        let watched = match operation {
            Operation::InjectNmi => secs(60),
            _ => secs(0),
        };
        let took = world.now - back;
        assert!(took < watched + secs(8), "{operation} {after}: {took:?}");
    }
}

/// Whatever it was doing when the daemon stood still and the calendar was set.
#[test]
fn a_batch_keeps_its_order_and_its_distance_when_the_daemon_stands_still() {
    let (stagger, gap) = (secs(5), secs(600));
    let nodes = ["n01", "n02", "n03"];
    let pulse = |operation| match operation {
        Operation::Cycle => ChassisOrder::Cycle,
        Operation::Reset => ChassisOrder::Reset,
        _ => ChassisOrder::Nmi,
    };
    for operation in [Operation::Cycle, Operation::Reset, Operation::InjectNmi] {
        let tell = |after: Option<u64>| {
            let mut world = World::new(51, 3);
            world.run_for(secs(20));
            let asked = world.now;
            let batch = world.start_batch(BatchStart {
                max_parallel: 1,
                stagger,
                ..batch_of(&nodes, operation)
            });
            if let Some(after) = after {
                world.run_for(millis(after));
                world.set_calendar(3 * 3600);
                world.stand_still_and_catch_up(gap);
            }
            let mut ended = Vec::new();
            for node in &batch.nodes {
                let task = node.task.expect("it was taken");
                let view = world.run_task(task, secs(400));
                ended.push((view.state, view.outcome.unwrap_or_default()));
            }
            let done = nodes.map(|node| {
                let host = world.bmc(node).host();
                let by_us = host
                    .executed()
                    .iter()
                    .filter(|done| done.order == pulse(operation));
                by_us.map(|done| done.at).collect::<Vec<_>>()
            });
            (world.now - asked, ended, done)
        };
        let (usual, ended, _) = tell(None);
        assert!(
            ended
                .iter()
                .all(|(state, _)| *state == TaskState::Succeeded),
            "{ended:?}"
        );
        for after in [1, 30, 400, 4_900, 5_100, 9_000, 30_000, 64_000] {
            let (took, ended, done) = tell(Some(after));
            let told = format!("{operation} {after} ms: {took:?} {ended:?} {done:?}");
            assert!(done.iter().all(|times| times.len() == 1), "{told}");
            let apart = |pair: &[Vec<Instant>]| pair[1][0] - pair[0][0];
            // From start to start; what was under way looks at its machine first, for as long as a
            // new session takes.
            let looked = secs(4);
            assert!(
                done.windows(2).all(|pair| apart(pair) + looked >= stagger),
                "{told}"
            );
            // A cycle that nobody could see is watched for to the end of its time.
            assert!(took < usual + gap + secs(75), "{told}");
        }
    }
}
