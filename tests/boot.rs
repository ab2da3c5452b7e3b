//! Booting simulated machines from a device: set and read back directly before the machine starts,
//! as one task.

mod world;

use rackbmcd::model::{BootDevice, Control, Operation, PowerOptions, Task, TaskState};
use rackbmcd::sim::{BootMood, ChassisOrder, CommandRefusal};
use std::sync::Arc;
use world::{World, millis, secs};

fn world(seed: u64, on: bool) -> World {
    let mut world = World::new(seed, 1);
    if !on {
        let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
        world.run_task(task, secs(60));
    }
    world.run_for(secs(3));
    world
}

fn from_pxe() -> PowerOptions {
    PowerOptions {
        boot_device: Some(BootDevice::Pxe),
        uefi: true,
        on_if_off: true,
        ..PowerOptions::default()
    }
}

/// How often the machine was switched, in whatever way.
fn switched(world: &mut World) -> usize {
    let orders = [
        ChassisOrder::Off,
        ChassisOrder::On,
        ChassisOrder::Soft,
        ChassisOrder::Reset,
        ChassisOrder::Cycle,
    ];
    orders
        .into_iter()
        .map(|order| world.executed("n01", order))
        .sum()
}

/// The flags that the machine's last start found: valid, once, UEFI; then the device (§28.13,
/// parameter 5).
fn used(world: &mut World) -> Option<[u8; 2]> {
    let flags = world.bmc("n01").host().boot.used_at_last_start?;
    Some([flags[0], flags[1]])
}

const PXE_ONCE_UEFI: Option<[u8; 2]> = Some([0xA0, 0x04]);

fn outcome(view: &Task) -> String {
    view.outcome.clone().unwrap_or_default()
}

#[test]
fn the_machine_boots_from_the_device_whatever_state_it_was_in() {
    for operation in [
        Operation::Reboot,
        Operation::SoftReboot,
        Operation::Reset,
        Operation::Cycle,
        Operation::PowerOn,
    ] {
        for on in [true, false] {
            if on && operation == Operation::PowerOn {
                continue;
            }
            let mut world = world(1, on);
            let task = world.start_task("n01", operation, from_pxe());
            let view = world.run_task(task, secs(300));
            assert_eq!(view.state, TaskState::Succeeded, "{operation}: {view:#?}");
            assert_eq!(used(&mut world), PXE_ONCE_UEFI, "{operation}, on: {on}");
            assert!(world.is_on("n01"));
        }
    }
}

#[test]
fn the_device_outlives_the_minute_after_which_bmcs_forget_it() {
    let mut world = world(2, true);
    world.crash();
    // It stays off for longer than that.
    Arc::make_mut(&mut world.nodes[0].power).min_off_time = secs(150);
    world.start();
    let task = world.start_task("n01", Operation::Reboot, from_pxe());
    world.run_for(secs(10));
    assert!(!world.is_on("n01"));
    let view = world.run_task(task, secs(300));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(used(&mut world), PXE_ONCE_UEFI);
}

#[test]
fn a_bmc_that_does_not_keep_the_device_leaves_its_machine_as_it_is() {
    for mood in [BootMood::OtherDevice(5), BootMood::Forgotten] {
        for operation in [Operation::Reboot, Operation::SoftReboot, Operation::Reset] {
            let mut world = world(3, true);
            world.mood("n01").boot = mood;
            let task = world.start_task("n01", operation, from_pxe());
            let view = world.run_task(task, secs(120));
            assert_eq!(view.state, TaskState::Failed, "{operation} {mood:?}");
            let said = outcome(&view);
            assert!(said.contains("asked for pxe"), "{said}");
            assert_eq!(switched(&mut world), 0, "{operation} {mood:?}");
        }
    }
    // One that takes it, and does not let it be read.
    let mut world = world(3, true);
    world.mood("n01").command_refusals.push(CommandRefusal {
        net_fn: 0,
        command: 0x09,
        code: 0xC1,
        after: 0,
        times: 99,
    });
    let task = world.start_task("n01", Operation::Reboot, from_pxe());
    let view = world.run_task(task, secs(120));
    assert_eq!(view.state, TaskState::Failed);
    assert!(outcome(&view).contains("read back"), "{view:#?}");
    assert_eq!(switched(&mut world), 0);
}

#[test]
fn a_device_that_is_lost_while_the_machine_is_off_keeps_it_from_starting() {
    let mut world = world(4, true);
    let task = world.start_task("n01", Operation::Reboot, from_pxe());
    world.run_for(secs(5));
    assert!(!world.is_on("n01"));
    world.mood("n01").boot = BootMood::Forgotten;
    let view = world.run_task(task, secs(200));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    assert!(!world.is_on("n01"));
    assert_eq!(world.executed("n01", ChassisOrder::On), 0);
}

#[test]
fn an_abort_between_the_steps_ends_it_where_it_is() {
    for after in [0, 5, 20, 60, 150, 400, 1_000, 3_000, 8_000] {
        let mut world = world(5, true);
        let task = world.start_task("n01", Operation::Reboot, from_pxe());
        world.run_for(millis(after));
        let view = world.control(task, Control::Abort).expect("it runs");
        let before = switched(&mut world);
        let on = world.is_on("n01");
        world.run_for(secs(120));
        assert_eq!(
            world.state(task),
            TaskState::Aborted,
            "{after} ms: {view:#?}"
        );
        assert_eq!(switched(&mut world), before, "{after} ms");
        assert_eq!(world.is_on("n01"), on, "{after} ms");
    }
}

#[test]
fn a_crash_between_the_steps_loses_nothing_and_switches_nothing_twice() {
    for after in [3, 20, 60, 150, 400, 1_000, 3_000, 8_000, 11_000] {
        let mut world = world(6, true);
        let task = world.start_task("n01", Operation::Reboot, from_pxe());
        world.run_for(millis(after));
        world.crash();
        world.run_for(secs(7));
        world.start();
        let view = world.run_task(task, secs(200));
        assert_eq!(view.state, TaskState::Succeeded, "{after} ms: {view:#?}");
        assert!(world.is_on("n01"));
        assert_eq!(used(&mut world), PXE_ONCE_UEFI, "{after} ms");
    }
    // A reset is one pulse, over a crash, too.
    for after in [3, 20, 60, 150, 400, 1_000, 3_000] {
        let mut world = world(7, true);
        let task = world.start_task("n01", Operation::Reset, from_pxe());
        world.run_for(millis(after));
        world.crash();
        world.run_for(secs(7));
        world.start();
        world.run_task(task, secs(200));
        assert!(
            world.executed("n01", ChassisOrder::Reset) <= 1,
            "{after} ms"
        );
    }
}

#[test]
fn a_machine_that_is_off_is_switched_on_instead_of_reset_where_that_was_asked_for() {
    for (on_if_off, state) in [(true, TaskState::Succeeded), (false, TaskState::Failed)] {
        let mut world = world(8, false);
        let options = PowerOptions {
            on_if_off,
            ..PowerOptions::default()
        };
        let task = world.start_task("n01", Operation::Reset, options);
        assert_eq!(world.run_task(task, secs(100)).state, state);
        assert_eq!(world.is_on("n01"), on_if_off);
    }
}
