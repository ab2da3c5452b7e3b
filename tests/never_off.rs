//! Machines whose BMC goes off with them (`power_off = false`), in virtual time: nothing switches
//! them off.

mod world;

use rackbmcd::model::{
    BatchNodeState, BatchStart, Control, Operation, PowerOptions, TaskId, TaskState,
};
use rackbmcd::rack::call::{Answer, Call, Refused};
use rackbmcd::sim::{ChassisOrder, OsMood};
use std::sync::Arc;
use std::time::Duration;
use world::{World, batch_of, millis, secs, who};

fn world(seed: u64, count: usize, on: bool) -> World {
    let mut world = World::new(seed, count);
    if !on {
        let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
        world.run_task(task, secs(60));
    }
    world.crash();
    Arc::make_mut(&mut world.nodes[0].power).never_off = true;
    world.start();
    world.run_for(secs(3));
    world
}

fn start(
    world: &mut World,
    operation: Operation,
    options: PowerOptions,
) -> Result<Answer, Refused> {
    world.call(Call::Start {
        node: "n01".to_owned(),
        operation,
        options,
        who: who(),
    })
}

#[test]
fn whatever_would_leave_it_off_is_refused_with_the_reason() {
    let mut world = world(1, 2, true);
    let soon = PowerOptions {
        hard_after: Some(secs(5)),
        ..PowerOptions::default()
    };
    for (operation, options) in [
        (Operation::PowerOff, PowerOptions::default()),
        (Operation::SoftPowerOff, PowerOptions::default()),
        (Operation::SoftPowerOff, soon.clone()),
        (Operation::SoftReboot, soon),
    ] {
        let refused = start(&mut world, operation, options).expect_err("refused");
        let said = refused.to_string();
        assert!(said.contains("power_off = false"), "{said}");
        let batch = world.call(Call::StartBatch {
            request: batch_of(&["n01", "n02"], operation),
            who: who(),
        });
        assert!(batch.is_err(), "{operation}: {batch:?}");
    }
    let node = world.node("n01");
    assert!(node.takes(Operation::Reboot) && node.takes(Operation::PowerOn));
    assert!(!node.takes(Operation::PowerOff) && !node.takes(Operation::SoftReboot));
    world.run_for(secs(60));
    assert!(world.is_on("n01") && world.is_on("n02"));
}

#[test]
fn a_reboot_is_one_power_cycle_and_switches_on_what_is_off() {
    for on in [true, false] {
        let mut world = world(2, 1, on);
        let off_before = world.executed("n01", ChassisOrder::Off);
        let planned = world.start_batch(BatchStart {
            dry_run: true,
            ..batch_of(&["n01"], Operation::Reboot)
        });
        let orders = if on { ["power cycle"] } else { ["power on"] };
        assert_eq!(planned.nodes[0].plan, orders);
        assert!(!matches!(
            planned.nodes[0].state.known(),
            Some(BatchNodeState::Task(_))
        ));
        let task = world.start_task("n01", Operation::Reboot, PowerOptions::default());
        let view = world.run_task(task, secs(120));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        assert!(world.is_on("n01"));
        let cycles = world.executed("n01", ChassisOrder::Cycle);
        assert_eq!(cycles, usize::from(on), "{view:#?}");
        assert_eq!(world.executed("n01", ChassisOrder::Off), off_before);
    }
}

#[test]
fn its_cycle_is_sent_once_whatever_becomes_of_the_answer() {
    for seed in 0..8 {
        let mut world = world(seed, 1, true);
        let lossy = rackbmcd::sim::Conditions {
            loss: 0.5,
            ..rackbmcd::sim::Conditions::default()
        };
        world.link("n01", lossy);
        let task = world.start_task("n01", Operation::Reboot, PowerOptions::default());
        world.run_task(task, secs(300));
        assert!(world.executed("n01", ChassisOrder::Cycle) <= 1, "{seed}");
    }
}

#[test]
fn a_rollback_that_would_switch_it_off_is_refused() {
    let mut world = world(3, 1, false);
    let task = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    // Before anything left there is nothing to undo.
    let view = world.task(task);
    assert!(view.may_rollback, "{view:#?}");
    let end = world.now + secs(20);
    let on = world.run_until(end, |world| world.executed("n01", ChassisOrder::On) > 0);
    assert!(on);
    world.run_for(millis(5));
    let view = world.task(task);
    if !view.ended {
        assert!(!view.may_rollback, "{view:#?}");
        let refused = world.control(task, Control::Rollback).expect_err("refused");
        assert!(
            refused.to_string().contains("power_off = false"),
            "{refused}"
        );
    }
    world.run_for(secs(60));
    assert!(world.is_on("n01"));
}

/// What the daemon was told to do before it died.
#[derive(Clone, Copy, Debug)]
struct Asked {
    operation: Operation,
    hard_after: Option<u64>,
    os: OsMood,
}

fn asked(operation: Operation, hard_after: Option<u64>, os: OsMood) -> Asked {
    Asked {
        operation,
        hard_after,
        os,
    }
}

const HANGS: OsMood = OsMood::Hangs;
const OBEYS: OsMood = OsMood::ObeysAfter(Duration::from_secs(8));

const ASKED: [(Operation, Option<u64>, OsMood); 8] = [
    (Operation::PowerOff, None, HANGS),
    (Operation::Reboot, None, HANGS),
    (Operation::SoftPowerOff, None, HANGS),
    (Operation::SoftPowerOff, Some(5), HANGS),
    (Operation::SoftPowerOff, Some(20), OBEYS),
    (Operation::SoftReboot, None, OBEYS),
    (Operation::SoftReboot, Some(5), HANGS),
    (Operation::SoftReboot, Some(20), OBEYS),
];

/// A world in which that is begun, of a daemon that has not been told yet what may not be.
fn begun(seed: u64, asked: Asked) -> (World, TaskId) {
    let mut world = World::new(seed, 1);
    world.run_for(secs(3));
    world.mood("n01").os = asked.os;
    let options = PowerOptions {
        timeout: asked.operation.is_soft().then_some(secs(60)),
        hard_after: asked.hard_after.map(secs),
        repeat_soft_after: asked.operation.is_soft().then_some(secs(15)),
        ..PowerOptions::default()
    };
    let task = world.start_task("n01", asked.operation, options);
    (world, task)
}

/// How often its machine was told to go off, hard and soft.
fn offs(world: &mut World) -> (usize, usize) {
    let hard = world.executed("n01", ChassisOrder::Off);
    (hard, world.executed("n01", ChassisOrder::Soft))
}

/// The configuration is changed while the daemon is down.
fn restart_with(world: &mut World, never: bool) {
    world.crash();
    // What had left arrives.
    world.run_for(secs(1));
    Arc::make_mut(&mut world.nodes[0].power).never_off = never;
    world.start();
}

/// The daemon is told it while it runs.
fn reload(world: &mut World) -> Result<(), String> {
    let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
    Arc::make_mut(&mut nodes[0].power).never_off = true;
    world.reload(settings, nodes)
}

/// From here on nothing switches it off, its task ends, and says why where that kept it from its
/// aim.
fn is_kept_on(world: &mut World, task: TaskId, about: &str) {
    let before = offs(world);
    world.run_for(secs(300));
    assert_eq!(offs(world), before, "{about}");
    let view = world.task(task);
    assert!(view.ended, "{about}: {view:#?}");
    let said = view.outcome.clone().unwrap_or_default();
    let state = view.state.known();
    match state {
        Some(TaskState::Succeeded) => assert_ne!(before, (0, 0), "{about}: {view:#?}"),
        Some(TaskState::Failed) => assert!(said.contains("power_off = false"), "{about}: {said}"),
        other => panic!("{about}: {other:?}: {said}"),
    }
    let goes_on = matches!(
        view.operation.known(),
        Some(Operation::Reboot | Operation::SoftReboot)
    );
    if goes_on {
        assert!(world.is_on("n01"), "{about}: {said}");
    }
}

#[test]
fn a_restart_that_forbids_it_lets_no_task_of_before_switch_the_node_off_whenever_it_comes() {
    for (operation, hard_after, os) in ASKED {
        let asked = asked(operation, hard_after, os);
        for after in [
            1, 4, 8, 15, 40, 120, 400, 1200, 4900, 5100, 7900, 14_900, 22_000,
        ] {
            let (mut world, task) = begun(after, asked);
            world.run_for(millis(after));
            if world.task(task).ended {
                continue;
            }
            restart_with(&mut world, true);
            is_kept_on(&mut world, task, &format!("{asked:?} after {after} ms"));
        }
    }
}

#[test]
fn what_was_written_down_as_sent_and_never_left_does_not_leave_then() {
    for (operation, hard_after, os) in ASKED {
        let asked = asked(operation, hard_after, os);
        let mut was_killed = false;
        for later in 1..9 {
            let (mut world, task) = begun(later, asked);
            world.killed_at_commit = Some(world.commits + usize::try_from(later).unwrap());
            world.run_for(secs(30));
            if world.is_running() {
                continue;
            }
            was_killed = true;
            world.killed_at_commit = None;
            restart_with(&mut world, true);
            is_kept_on(&mut world, task, &format!("{asked:?} at commit {later}"));
        }
        assert!(was_killed, "{asked:?}");
    }
}

#[test]
fn one_that_stands_still_over_the_restart_does_not_switch_it_off_when_it_goes_on() {
    for (operation, hard_after, os) in ASKED {
        let asked = asked(operation, hard_after, os);
        for after in [1, 20, 2000] {
            let (mut world, task) = begun(after, asked);
            world.run_for(millis(after));
            if world.control(task, Control::Suspend).is_err() {
                continue;
            }
            restart_with(&mut world, true);
            world.run_for(secs(30));
            let before = offs(&mut world);
            assert_eq!(world.state(task), TaskState::Suspended, "{asked:?}");
            world.control(task, Control::Resume).unwrap();
            is_kept_on(
                &mut world,
                task,
                &format!("{asked:?} suspended at {after} ms"),
            );
            assert_eq!(offs(&mut world), before, "{asked:?}");
        }
    }
}

#[test]
fn a_later_request_does_not_make_it_turn_hard_and_an_abort_and_a_rollback_are_allowed() {
    let hangs = asked(Operation::SoftPowerOff, None, HANGS);
    for control in [None, Some(Control::Abort), Some(Control::Rollback)] {
        let (mut world, task) = begun(5, hangs);
        world.run_for(secs(2));
        restart_with(&mut world, true);
        world.run_for(secs(2));
        let hard = PowerOptions {
            hard_after: Some(secs(1)),
            ..PowerOptions::default()
        };
        let refused = start(&mut world, Operation::SoftPowerOff, hard).expect_err("refused");
        assert!(matches!(refused, Refused::Locked { .. }), "{refused}");
        // What is in force already keeps no other change of the configuration out.
        assert_eq!(reload(&mut world), Ok(()));
        let before = offs(&mut world);
        if let Some(control) = control {
            world.control(task, control).unwrap();
        }
        world.run_for(secs(300));
        assert_eq!(offs(&mut world), before);
        assert!(world.task(task).ended && world.is_on("n01"), "{control:?}");
    }
}

#[test]
fn where_the_configuration_allows_it_again_nobody_is_told_that_it_forbids_it() {
    let hangs = asked(Operation::SoftPowerOff, Some(20), HANGS);
    let (mut world, task) = begun(6, hangs);
    world.run_for(secs(2));
    restart_with(&mut world, true);
    world.run_for(secs(2));
    restart_with(&mut world, false);
    let view = world.run_task(task, secs(300));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    let said = view.outcome.unwrap_or_default();
    assert!(!said.contains("power_off"), "{said}");
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
}

/// A node that was off, and a power-on of it that has left.
fn going_on(seed: u64) -> (World, TaskId) {
    let mut world = World::new(seed, 1);
    let off = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_task(off, secs(60));
    world.run_for(secs(70));
    world.mood("n01").on_delay = secs(5);
    let task = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    let end = world.now + secs(20);
    assert!(world.run_until(end, |world| world.executed("n01", ChassisOrder::On) > 0));
    world.run_for(millis(50));
    assert!(!world.task(task).ended);
    (world, task)
}

#[test]
fn a_way_back_that_would_switch_it_off_ends_after_such_a_restart_and_cannot_be_asked_for() {
    for after in [1, 20, 200, 2000] {
        let (mut world, task) = going_on(7);
        world.mood("n01").off_delay = secs(600);
        world.control(task, Control::Rollback).unwrap();
        world.run_for(millis(after));
        let refused = reload(&mut world).expect_err("a reload waits for the way back");
        assert!(
            refused.contains("wait for its end or abort it"),
            "{refused}"
        );
        world.crash();
        world.run_for(secs(1));
        let before = offs(&mut world);
        Arc::make_mut(&mut world.nodes[0].power).never_off = true;
        world.start();
        world.run_for(secs(300));
        assert_eq!(offs(&mut world), before, "{after}");
        let view = world.task(task);
        let said = view.outcome.unwrap_or_default();
        assert_eq!(view.state, TaskState::Stuck, "{said}");
        assert!(said.contains("power_off = false"), "{said}");
    }
    for running in [true, false] {
        let (mut world, task) = going_on(8);
        match running {
            true => assert_eq!(reload(&mut world), Ok(())),
            false => restart_with(&mut world, true),
        }
        world.run_for(millis(50));
        let refused = world.control(task, Control::Rollback).expect_err("refused");
        assert!(
            refused.to_string().contains("power_off = false"),
            "{refused}"
        );
        let view = world.run_task(task, secs(120));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    }
}

#[test]
fn the_others_of_its_batch_go_off_and_it_does_not() {
    for when in [50, 3000] {
        let mut world = World::new(9, 3);
        world.run_for(secs(3));
        for node in ["n01", "n02", "n03"] {
            world.mood(node).os = HANGS;
        }
        let batch = world.start_batch(BatchStart {
            options: PowerOptions {
                hard_after: Some(secs(10)),
                ..PowerOptions::default()
            },
            ..batch_of(&["n02", "n01", "n03"], Operation::SoftPowerOff)
        });
        world.run_for(millis(when));
        restart_with(&mut world, true);
        let before = offs(&mut world);
        world.run_for(secs(700));
        assert_eq!(offs(&mut world), before, "{when}");
        assert!(world.is_on("n01"), "{when}");
        for node in ["n02", "n03"] {
            assert_eq!(world.executed(node, ChassisOrder::Off), 1, "{node} {when}");
        }
        for node in batch.nodes {
            let view = world.task(node.task.unwrap());
            let failed = view.state == TaskState::Failed;
            assert!(view.ended && failed == (node.node == "n01"), "{view:#?}");
        }
    }
}
