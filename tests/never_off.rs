//! Machines whose BMC goes off with them (`power_off = false`), in virtual time: nothing switches
//! them off.

mod world;

use rackbmcd::model::{BatchNodeState, BatchStart, Control, Operation, PowerOptions, TaskState};
use rackbmcd::rack::call::{Answer, Call, Refused};
use rackbmcd::sim::ChassisOrder;
use std::sync::Arc;
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
