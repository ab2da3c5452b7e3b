//! Booting from a device that was asked for: set and read back directly before the machine starts.

use super::world::{Mishap, World, secs};
use crate::bmc::vocabulary::{Order, RefusalKind};
use crate::model::{BootDevice, Control, Operation, Power, TaskState};
use crate::power::Settings;
use crate::power::settings::Boot;
use std::time::Duration;

fn world(operation: Operation, power: Power) -> World {
    let settings = Settings {
        boot: Some(Boot {
            device: BootDevice::Pxe,
            uefi: true,
        }),
        on_if_off: true,
        ..Settings::default()
    };
    let mut world = World::new(operation, power, settings);
    world.sequence.begin(world.now);
    world
}

/// The orders that are no readings, by their first words.
fn acts(world: &World) -> Vec<&'static str> {
    let acts = world.polled.iter().filter(|(_, order)| !order.only_reads());
    acts.map(|(_, order)| order.name()).collect()
}

#[test]
fn the_device_is_set_directly_before_the_machine_starts() {
    for (operation, power, expected) in [
        (
            Operation::PowerOn,
            Power::Off,
            &["set boot device", "power on"][..],
        ),
        (
            Operation::Reboot,
            Power::On,
            &[
                "set boot device",
                "power off",
                "set boot device",
                "power on",
            ],
        ),
        (
            Operation::Reboot,
            Power::Off,
            &["set boot device", "power on"],
        ),
        (
            Operation::SoftReboot,
            Power::On,
            &[
                "set boot device",
                "soft power off",
                "set boot device",
                "power on",
            ],
        ),
        (
            Operation::Reset,
            Power::On,
            &["set boot device", "hard reset"],
        ),
        // A machine that is off cannot be reset: it is switched on.
        (
            Operation::Reset,
            Power::Off,
            &["set boot device", "power on"],
        ),
    ] {
        let mut world = world(operation, power);
        let outcome = world.run_to_end();
        assert_eq!(
            outcome.state,
            TaskState::Succeeded,
            "{operation} {power}: {}",
            outcome.text
        );
        assert_eq!(acts(&world), expected, "{operation} from {power}");
        assert!(
            outcome.text.contains("set boot device was sent"),
            "{}",
            outcome.text
        );
    }
}

#[test]
fn what_is_not_read_back_stops_the_task_before_its_power_changes() {
    for operation in [Operation::Reboot, Operation::SoftReboot, Operation::Reset] {
        for (mishap, said) in [
            (
                Mishap::Refuse(0, RefusalKind::Failed),
                "the boot device was not set",
            ),
            (
                Mishap::Refuse(0xC9, RefusalKind::NotSupported),
                "the boot device was not set",
            ),
            (Mishap::NotReadBack, "does not let it be read back"),
        ] {
            let mut world = world(operation, Power::On);
            world.machine.boot_mishaps = [mishap.clone()].into();
            let outcome = world.run_to_end();
            assert_eq!(outcome.state, TaskState::Failed, "{operation}");
            assert!(outcome.text.contains(said), "{}", outcome.text);
            assert_eq!(world.changing(), [], "{operation} {mishap:?}");
        }
    }
}

#[test]
fn what_may_pass_is_tried_again() {
    let mut world = world(Operation::Reboot, Power::On);
    world.machine.boot_mishaps = [
        Mishap::Refuse(0xC0, RefusalKind::Busy),
        Mishap::Lost,
        Mishap::Refuse(0xC1, RefusalKind::Doubted),
    ]
    .into();
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
}

#[test]
fn a_machine_that_is_off_for_it_is_not_left_off_because_of_one_refusal() {
    let mut world = world(Operation::Reboot, Power::On);
    world.run_for(secs(5));
    assert_eq!(world.times(&Order::PowerOff), 1);
    world.machine.boot_mishaps = [Mishap::Refuse(0, RefusalKind::Failed)].into();
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
}

#[test]
fn it_can_be_aborted_between_its_steps_and_not_cancelled_once_something_was_set() {
    let mut world = world(Operation::Reboot, Power::On);
    world.run_for(Duration::from_millis(120));
    assert_eq!(acts(&world)[0], "set boot device");
    let refusal = world
        .control(Control::Cancel)
        .expect_err("something was set");
    assert!(refusal.reason.contains("set boot device"), "{refusal}");
    world.run_for(secs(5));
    world.control(Control::Abort).expect("allowed");
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Aborted);
    let before = world.polled.len();
    world.run_for(secs(60));
    assert_eq!(world.polled.len(), before);
}

#[test]
fn a_rollback_starts_the_machine_as_it_always_starts() {
    let mut world = world(Operation::Reboot, Power::On);
    world.run_for(secs(5));
    world.control(Control::Rollback).expect("allowed");
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::RolledBack, "{}", outcome.text);
    assert_eq!(acts(&world), ["set boot device", "power off", "power on"]);
}

#[test]
fn after_a_restart_the_device_is_set_anew() {
    for seconds in [0, 1, 3, 8, 12] {
        let mut world = world(Operation::Reboot, Power::On);
        world.run_for(secs(seconds) + Duration::from_millis(70));
        world.restart(secs(30));
        let outcome = world.run_to_end();
        assert_eq!(
            outcome.state,
            TaskState::Succeeded,
            "{seconds} s: {}",
            outcome.text
        );
        let acts = acts(&world);
        let last = acts.len() - 1;
        assert_eq!(
            acts[last - 1..],
            ["set boot device", "power on"],
            "{seconds} s: {acts:?}"
        );
    }
}
