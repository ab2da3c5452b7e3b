//! Journeys in which the power changes and no task did it, in virtual time: it is said, whoever
//! sees it first.

mod world;

use rackbmcd::model::{
    BatchStart, Control, HistoryEntry, HistoryKind, Operation, PowerOptions, TaskState,
};
use rackbmcd::rack::call::{Answer, Call};
use rackbmcd::sim::{ChassisOrder, OsMood};
use world::{World, batch_of, secs};

fn drifts(world: &mut World) -> Vec<HistoryEntry> {
    let call = Call::History {
        node: "n01".into(),
        limit: 100,
    };
    match world.call(call) {
        Ok(Answer::History(entries)) => {
            let drift = |entry: &HistoryEntry| entry.kind == HistoryKind::Drift;
            entries.into_iter().filter(drift).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// A node that was read as on, and that somebody has switched off since.
fn switched_off(seed: u64) -> World {
    let mut world = World::new(seed, 1);
    world.run_for(secs(3));
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
    world.run_for(secs(2));
    assert_eq!(drifts(&mut world), []);
    world
}

fn assert_said_once(world: &mut World) {
    world.run_for(secs(200));
    let drifts = drifts(world);
    assert_eq!(drifts.len(), 1, "{drifts:?}");
    assert_eq!(drifts[0].task, None);
    assert_eq!(
        drifts[0].text,
        "found off, was on: nobody asked this daemon for it"
    );
}

#[test]
fn a_change_that_the_sync_sees_first_is_said_once() {
    assert_said_once(&mut switched_off(90));
}

#[test]
fn a_change_that_a_callers_look_sees_first_is_said_once() {
    let mut world = switched_off(91);
    world.call(Call::FreshNode("n01".into())).unwrap();
    assert_eq!(drifts(&mut world).len(), 1);
    assert_said_once(&mut world);
}

#[test]
fn a_change_that_a_dry_run_sees_first_is_said_once() {
    let mut world = switched_off(92);
    world.start_batch(BatchStart {
        dry_run: true,
        ..batch_of(&["n01"], Operation::PowerOn)
    });
    assert_said_once(&mut world);
}

#[test]
fn a_change_that_a_task_sees_first_is_said_once_and_its_own_changes_are_none() {
    let mut world = switched_off(93);
    let task = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    assert_eq!(world.run_task(task, secs(60)).state, TaskState::Succeeded);
    assert_said_once(&mut world);
    let task = world.start_task("n01", Operation::Reboot, PowerOptions::default());
    assert_eq!(world.run_task(task, secs(90)).state, TaskState::Succeeded);
    assert_said_once(&mut world);
}

#[test]
fn a_system_that_obeys_after_the_abort_is_put_down_to_the_task_also_over_a_crash() {
    for crash in [false, true] {
        let mut world = World::new(94, 1);
        world.mood("n01").os = OsMood::ObeysAfter(secs(100));
        world.run_for(secs(3));
        let task = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
        world.run_for(secs(20));
        world.control(task, Control::Abort).unwrap();
        if crash {
            world.crash();
            world.start();
        }
        world.run_for(secs(200));
        assert!(!world.is_on("n01"));
        let said = drifts(&mut world);
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said[0].task, Some(task));
        assert!(
            said[0].text.contains("most likely the late effect"),
            "{said:?}"
        );
        // What comes after that is somebody else's doing.
        let now = world.now;
        world.bmc("n01").order_by_somebody(ChassisOrder::On, now);
        world.run_for(secs(100));
        let said = drifts(&mut world);
        assert!(said[0].text.contains("nobody asked"), "{said:?}");
    }
}

#[test]
fn a_change_that_the_aborted_task_does_not_lead_to_is_not_put_down_to_it() {
    let mut world = World::new(95, 1);
    world.mood("n01").os = OsMood::Hangs;
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
    world.run_for(secs(3));
    let task = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    let end = world.now + secs(10);
    assert!(world.run_until(end, |world| world.executed("n01", ChassisOrder::On) == 1));
    world.control(task, Control::Abort).unwrap();
    world.run_for(secs(70));
    let before = drifts(&mut world).len();
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
    world.run_for(secs(70));
    let said = drifts(&mut world);
    assert_eq!(said.len(), before + 1);
    assert!(said[0].text.contains("nobody asked"), "{said:?}");
}

#[test]
fn a_task_that_sends_nothing_leaves_the_late_effect_of_the_one_before_explained() {
    let mut world = switched_off(6);
    // The first reading after the switch is no task's doing.
    world.run_for(secs(70));
    world.mood("n01").on_delay = secs(7);
    let first = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    world.run_for(secs(2));
    world.control(first, Control::Abort).unwrap();
    let second = world.start_task("n01", Operation::Reset, PowerOptions::default());
    let ended = world.run_task(second, secs(4));
    assert!(ended.orders.iter().all(|order| !order.changes_power));
    world.run_for(secs(100));
    assert!(world.is_on("n01"));
    let last = drifts(&mut world).remove(0);
    assert_eq!(last.task, Some(first), "{}", last.text);
}
