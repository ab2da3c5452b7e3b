//! The tables of power_state and target_power_state (design, section 3), row by row. What the API
//! makes of an abort that finds nothing to abort is `rack`'s; the target on which it decides is
//! checked here.

use super::world::{World, secs};
use crate::bmc::vocabulary::{Order, RefusalKind};
use crate::model::{Control, Operation, Power, Target, TaskState};
use crate::power::Settings;
use crate::power::tests::world::Mishap;

/// The targets that were shown, each once in its turn, until the end.
fn targets(world: &mut World) -> Vec<Option<Target>> {
    let mut shown = vec![world.sequence.target()];
    while world.sequence.outcome().is_none() {
        world.run_for(std::time::Duration::from_millis(50));
        let target = world.sequence.target();
        if shown.last() != Some(&target) {
            shown.push(target);
        }
    }
    shown
}

#[test]
fn soft_rebooting_from_on_shows_soft_power_off_then_power_on_and_ends_on() {
    let mut world = World::begun(Operation::SoftReboot, Power::On);
    let shown = targets(&mut world);
    let expected = [Some(Target::SoftPowerOff), Some(Target::PowerOn), None];
    assert_eq!(shown, expected);
    let outcome = world.outcome();
    assert_eq!(
        (outcome.state, outcome.error),
        (TaskState::Succeeded, false)
    );
    assert_eq!(outcome.power, Some(Power::On));
    assert_eq!(world.changing(), [Order::SoftOff, Order::PowerOn]);
}

#[test]
fn soft_rebooting_from_off_shows_power_on_and_ends_on() {
    let mut world = World::new(Operation::SoftReboot, Power::Off, Settings::default());
    world.sequence.observe_power(Power::Off, world.now);
    assert_eq!(world.sequence.target(), Some(Target::PowerOn));
    world.sequence.begin(world.now);
    assert_eq!(targets(&mut world), [Some(Target::PowerOn), None]);
    assert_eq!(world.outcome().power, Some(Power::On));
    assert_eq!(world.changing(), [Order::PowerOn]);
}

#[test]
fn soft_rebooting_from_off_that_was_not_known_shows_power_on_once_it_is_read() {
    let mut world = World::begun(Operation::SoftReboot, Power::Off);
    world.run_for(std::time::Duration::from_millis(100));
    assert_eq!(world.sequence.target(), Some(Target::PowerOn));
}

#[test]
fn soft_power_off_from_on_shows_soft_power_off_and_ends_off() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    assert_eq!(targets(&mut world), [Some(Target::SoftPowerOff), None]);
    let outcome = world.outcome();
    assert_eq!(
        (outcome.state, outcome.error),
        (TaskState::Succeeded, false)
    );
    assert_eq!(outcome.power, Some(Power::Off));
}

#[test]
fn soft_power_off_from_off_shows_nothing_and_sends_nothing() {
    let mut world = World::new(Operation::SoftPowerOff, Power::Off, Settings::default());
    world.sequence.observe_power(Power::Off, world.now);
    world.sequence.begin(world.now);
    assert_eq!(targets(&mut world), [None]);
    let outcome = world.outcome();
    assert_eq!(
        (outcome.state, outcome.error),
        (TaskState::Succeeded, false)
    );
    assert_eq!(outcome.power, Some(Power::Off));
    assert_eq!(world.changing(), []);
    assert!(
        outcome.text.contains("nothing was sent"),
        "{}",
        outcome.text
    );
}

#[test]
fn soft_operations_out_of_time_end_in_error() {
    for operation in [Operation::SoftPowerOff, Operation::SoftReboot] {
        let mut world = World::begun(operation, Power::On);
        world.machine.obeys = None;
        assert_eq!(targets(&mut world), [Some(Target::SoftPowerOff), None]);
        let outcome = world.outcome();
        assert_eq!((outcome.state, outcome.error), (TaskState::Failed, true));
        assert_eq!(outcome.power, Some(Power::On));
    }
}

#[test]
fn soft_operations_that_are_refused_end_in_error_with_the_code() {
    for operation in [Operation::SoftPowerOff, Operation::SoftReboot] {
        let mut world = World::begun(operation, Power::On);
        world.machine.mishaps = [Mishap::Refuse(0xC1, RefusalKind::NotSupported)].into();
        assert_eq!(targets(&mut world), [Some(Target::SoftPowerOff), None]);
        let outcome = world.outcome();
        assert_eq!((outcome.state, outcome.error), (TaskState::Failed, true));
        assert!(outcome.text.contains("C1h"), "{}", outcome.text);
        assert!(outcome.took < secs(1));
    }
}

#[test]
fn inject_nmi_shows_inject_nmi_and_ends_with_what_was_observed() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    assert_eq!(targets(&mut world), [Some(Target::InjectNmi), None]);
    let outcome = world.outcome();
    assert_eq!(
        (outcome.state, outcome.error),
        (TaskState::Succeeded, false)
    );
    assert_eq!(outcome.power, Some(Power::On));
}

#[test]
fn the_hard_operations_show_where_they_lead() {
    for (operation, power, target, end) in [
        (Operation::PowerOn, Power::Off, Target::PowerOn, Power::On),
        (Operation::PowerOff, Power::On, Target::PowerOff, Power::Off),
        (Operation::Reboot, Power::On, Target::PowerOn, Power::On),
        (Operation::Reboot, Power::Off, Target::PowerOn, Power::On),
        (Operation::Reset, Power::On, Target::PowerOn, Power::On),
        (Operation::Cycle, Power::On, Target::PowerOn, Power::On),
    ] {
        let mut world = World::begun(operation, power);
        assert_eq!(targets(&mut world), [Some(target), None], "{operation}");
        let outcome = world.outcome();
        assert_eq!(outcome.state, TaskState::Succeeded, "{operation}");
        assert_eq!(outcome.power, Some(end), "{operation}");
    }
}

#[test]
fn an_abort_while_soft_power_off_is_shown_ends_in_error() {
    for operation in [Operation::SoftPowerOff, Operation::SoftReboot] {
        let mut world = World::begun(operation, Power::On);
        world.run_for(secs(5));
        assert_eq!(world.sequence.target(), Some(Target::SoftPowerOff));
        world.control(Control::Abort).expect("allowed");
        let outcome = world.outcome();
        assert_eq!((outcome.state, outcome.error), (TaskState::Aborted, true));
        assert_eq!(world.sequence.target(), None);
        assert!(
            outcome
                .text
                .starts_with("aborted by alice: soft power off was sent at"),
            "{}",
            outcome.text
        );
    }
}

#[test]
fn a_soft_reboot_that_moved_on_to_power_on_shows_nothing_to_abort_softly() {
    let mut world = World::begun(Operation::SoftReboot, Power::On);
    world.run_for(secs(26));
    assert_eq!(world.sequence.target(), Some(Target::PowerOn));
    // The task itself can still be aborted, and its power state is what was read.
    world.control(Control::Abort).expect("until the end");
    let outcome = world.outcome();
    assert_eq!((outcome.state, outcome.error), (TaskState::Aborted, false));
    assert_eq!(outcome.power, Some(Power::Off));
}

#[test]
fn an_abort_while_inject_nmi_is_shown_ends_in_error() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world.run_for(secs(5));
    assert_eq!(world.sequence.target(), Some(Target::InjectNmi));
    world.control(Control::Abort).expect("allowed");
    let outcome = world.outcome();
    assert_eq!((outcome.state, outcome.error), (TaskState::Aborted, true));
    assert!(
        outcome.text.contains("inject nmi was sent at"),
        "{}",
        outcome.text
    );
}

#[test]
fn after_the_end_there_is_nothing_to_abort() {
    for operation in [
        Operation::SoftPowerOff,
        Operation::SoftReboot,
        Operation::InjectNmi,
    ] {
        let mut world = World::begun(operation, Power::On);
        let before = world.run_to_end();
        assert_eq!(world.sequence.target(), None);
        let refusal = world.control(Control::Abort).expect_err("it is over");
        assert_eq!(refusal.kind, crate::power::RefusalKind::Ended);
        assert_eq!(world.outcome(), before);
    }
}
