//! Journeys over the end of one life of the daemon into the next, in virtual time: what must still
//! hold afterwards.

mod world;

use rackbmcd::model::{BatchStart, Control, Operation, PowerOptions, TaskId, TaskState};
use rackbmcd::rack::call::Refused;
use rackbmcd::sim::{ChassisOrder, OsMood};
use world::{World, batch_of, millis, secs};

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Stop,
    Kill,
}

/// The daemon ends, and starts again after ten seconds.
fn restart(world: &mut World, end: End) {
    if end == End::Stop {
        let now = world.now;
        world.rack().stop(now);
        world.run_for(secs(2));
        assert!(world.rack().is_quiet());
    }
    world.crash();
    world.run_for(secs(10));
    world.start();
}

/// A power cycle of n02 that waits behind a power-on of n01, somewhere on its way.
fn a_cycle_waits(seed: u64, further: std::time::Duration) -> (World, TaskId) {
    let mut world = World::new(seed, 2);
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
    world.crash();
    world.settings.power_on_stagger = secs(15);
    world.start();
    world.run_for(secs(20));
    world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    let end = world.now + secs(10);
    assert!(world.run_until(end, |world| world.executed("n01", ChassisOrder::On) == 1));
    let task = world.start_task("n02", Operation::Cycle, PowerOptions::default());
    world.run_for(further);
    assert_eq!(world.executed("n02", ChassisOrder::Cycle), 0);
    (world, task)
}

#[test]
fn a_cycle_that_waited_for_its_turn_is_known_not_to_have_left_and_goes_on() {
    for end in [End::Stop, End::Kill] {
        for further in [3, 6, 9] {
            let (mut world, task) = a_cycle_waits(80, secs(further));
            let left = |world: &mut World| -> Vec<bool> {
                let orders = world.task(task).orders.into_iter();
                let changing = orders.filter(|order| order.changes_power);
                changing.map(|order| order.left).collect()
            };
            assert_eq!(left(&mut world), [false]);
            restart(&mut world, end);
            let view = world.run_task(task, secs(120));
            assert_eq!(
                view.state,
                TaskState::Succeeded,
                "{end:?} {further}: {view:#?}"
            );
            assert_eq!(world.executed("n02", ChassisOrder::Cycle), 1);
            assert_eq!(left(&mut world), [false, true]);
        }
    }
}

#[test]
fn a_cycle_that_is_stopped_while_it_is_written_down_is_known_not_to_have_left() {
    let mut world = World::new(81, 1);
    world.run_for(secs(3));
    let task = world.start_task("n01", Operation::Cycle, PowerOptions::default());
    world.commit_takes = millis(700);
    let end = world.now + secs(30);
    let issued = |world: &mut World| {
        let orders = world.task(task).orders;
        orders.iter().any(|order| order.changes_power)
    };
    while !issued(&mut world) && world.now < end {
        world.run_for(millis(10));
    }
    let now = world.now;
    world.rack().stop(now);
    world.run_for(secs(3));
    assert_eq!(world.executed("n01", ChassisOrder::Cycle), 0);
    world.crash();
    world.start();
    let view = world.run_task(task, secs(120));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(world.executed("n01", ChassisOrder::Cycle), 1);
}

#[test]
fn the_stagger_of_a_batch_holds_over_a_restart() {
    for end in [End::Stop, End::Kill] {
        let mut world = World::new(82, 2);
        world.run_for(secs(3));
        let batch = world.start_batch(BatchStart {
            stagger: secs(120),
            ..batch_of(&["n01", "n02"], Operation::PowerOff)
        });
        let began = world.now;
        world.run_for(secs(30));
        assert!(!world.is_on("n01") && world.is_on("n02"));
        restart(&mut world, end);
        let second = batch.nodes[1].task.unwrap();
        let phase = world.task(second).phase;
        assert_eq!(phase, "queued, waiting for the stagger of its batch");
        let until = began + secs(118);
        world.run_until(until, |_| false);
        assert_eq!(world.state(second), TaskState::Queued, "{end:?}");
        let view = world.run_task(second, secs(20));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    }
}

/// A soft reboot whose system goes down while the disk is full.
fn a_reboot_meets_a_full_disk(seed: u64) -> (World, TaskId) {
    let mut world = World::new(seed, 2);
    world.mood("n01").os = OsMood::ObeysAfter(secs(20));
    world.run_for(secs(3));
    let task = world.start_task("n01", Operation::SoftReboot, PowerOptions::default());
    world.run_for(secs(5));
    assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
    world.disk_full = Some("No space left on device");
    world.run_for(secs(45));
    assert!(
        !world.is_on("n01"),
        "it went down, and nothing unwritten leaves"
    );
    assert_eq!(world.executed("n01", ChassisOrder::On), 0);
    assert_eq!(world.state(task), TaskState::Running);
    let refused = world
        .put_power("n02", "power off", PowerOptions::default())
        .unwrap_err();
    assert!(refused.to_string().contains("No space left"), "{refused}");
    (world, task)
}

#[test]
fn a_task_that_meets_a_full_disk_on_its_way_goes_on_when_there_is_room_again() {
    let (mut world, task) = a_reboot_meets_a_full_disk(83);
    world.disk_full = None;
    let view = world.run_task(task, secs(90));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert!(world.is_on("n01"));
    assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
    assert!(
        world
            .put_power("n02", "power off", PowerOptions::default())
            .is_ok()
    );
}

#[test]
fn a_task_that_met_a_full_disk_is_taken_up_by_the_next_life_where_it_was_written_last() {
    for full_again in [false, true] {
        let (mut world, task) = a_reboot_meets_a_full_disk(84);
        world.crash();
        world.run_for(secs(10));
        if !full_again {
            world.disk_full = None;
        }
        world.start();
        world.run_for(secs(10));
        assert_eq!(world.state(task), TaskState::Running);
        world.disk_full = None;
        let view = world.run_task(task, secs(90));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        assert!(world.is_on("n01"));
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
    }
}

#[test]
fn what_was_suspended_before_the_disk_was_full_is_suspended_in_the_next_life() {
    let mut world = World::new(85, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(3));
    let task = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(5));
    world.control(task, Control::Suspend).unwrap();
    world.disk_full = Some("Read-only file system");
    world.run_for(secs(60));
    world.crash();
    world.start();
    world.run_for(secs(60));
    assert_eq!(world.state(task), TaskState::Suspended);
    // A control that cannot be written down is carried out all the same, and its caller hears of
    // the rest.
    let said = world.control(task, Control::Abort).unwrap_err();
    assert!(matches!(said, Refused::Unremembered(_)), "{said}");
    assert_eq!(world.state(task), TaskState::Aborted);
}

#[test]
fn a_crash_at_every_step_of_the_journal_loses_no_task_and_repeats_no_pulse() {
    let pulses = [
        (Operation::Cycle, ChassisOrder::Cycle),
        (Operation::Reset, ChassisOrder::Reset),
        (Operation::InjectNmi, ChassisOrder::Nmi),
        (Operation::SoftReboot, ChassisOrder::Soft),
    ];
    for (operation, order) in pulses {
        let mut crashes = 0;
        for step in 1.. {
            let mut world = World::new(90, 1);
            world.run_for(secs(3));
            let wanted = world.commits + step;
            let task = world.start_task("n01", operation, PowerOptions::default());
            let end = world.now + secs(600);
            let ended = |world: &mut World| world.state(task).is_end();
            world.run_until(end, |world| world.commits >= wanted);
            if world.commits < wanted {
                assert!(ended(&mut world), "{operation} after {step} commits");
                break;
            }
            crashes += 1;
            world.crash();
            world.start();
            let view = world.run_task(task, secs(900));
            let told = format!("{operation}, crash after commit {step}: {view:#?}");
            assert!(view.ended, "{told}");
            assert!(world.executed("n01", order) <= 1, "{told}");
            if view.state == TaskState::Succeeded {
                assert_eq!(world.executed("n01", order), 1, "{told}");
                assert!(world.is_on("n01"), "{told}");
            }
        }
        assert!(crashes >= 3, "{operation}: {crashes} commits");
    }
}

#[test]
fn what_was_asked_for_after_a_rest_goes_on_although_the_last_sign_of_life_is_old() {
    for end in [End::Stop, End::Kill] {
        let mut world = World::new(84, 2);
        world.crash();
        world.boot = Some(uuid::Uuid::from_u128(7));
        world.start();
        let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
        world.run_task(task, secs(60));
        // Nothing is under way, so that nothing tells that the daemon lives.
        world.run_for(secs(3600));
        let task = world.start_task("n02", Operation::SoftPowerOff, PowerOptions::default());
        restart(&mut world, end);
        let before = world.task(task);
        assert_ne!(before.state, TaskState::Suspended, "{end:?}: {before:#?}");
        assert!(before.elapsed < secs(20), "{end:?}: {before:#?}");
        let view = world.run_task(task, secs(120));
        assert_eq!(view.state, TaskState::Succeeded, "{end:?}: {view:#?}");
        assert_eq!(world.executed("n02", ChassisOrder::Soft), 1, "{end:?}");
    }
}
