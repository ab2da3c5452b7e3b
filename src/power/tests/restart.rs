//! A daemon that is killed and started again at any moment: nothing is lost, nothing is sent again.

use super::world::{World, secs};
use crate::bmc::vocabulary::Order;
use crate::model::{Control, Operation, Power, TaskState};
use crate::power::Settings;
use std::time::Duration;

#[test]
fn a_restart_at_any_moment_leads_to_the_same_end() {
    for operation in Operation::ALL {
        let power = if operation == Operation::PowerOn {
            Power::Off
        } else {
            Power::On
        };
        for after in (0..40_000).step_by(70) {
            let mut world = World::begun(operation, power);
            world.run_for(Duration::from_millis(after));
            if world.sequence.outcome().is_some() {
                break;
            }
            world.restart(secs(3));
            let outcome = world.run_to_end();
            let pulse =
                world.times(&Order::Nmi) + world.times(&Order::Reset) + world.times(&Order::Cycle);
            assert!(pulse <= 1, "{operation} after {after} ms");
            assert_eq!(
                world.times(&Order::SoftOff).max(1),
                1,
                "{operation} after {after} ms"
            );
            // An NMI whose answer was lost with the daemon cannot be known to have arrived.
            if operation != Operation::InjectNmi {
                assert_eq!(
                    outcome.state,
                    TaskState::Succeeded,
                    "{operation} {after}: {}",
                    outcome.text
                );
            }
        }
    }
}

#[test]
fn a_wait_goes_on_with_the_time_it_had_left() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.machine.obeys = None;
    world.run_for(secs(200));
    world.restart(secs(1000));
    let progress = world.sequence.progress(world.now);
    assert_eq!(progress.time_left, Some(secs(400)));
    assert_eq!(progress.elapsed, secs(1200), "the absence elapsed");
    let before = world.now;
    assert_eq!(world.run_to_end().state, TaskState::Failed);
    assert_eq!(world.now - before, secs(400));
}

#[test]
fn what_was_suspended_stays_suspended() {
    let mut world = World::begun(Operation::SoftReboot, Power::On);
    world.run_for(secs(27));
    world.control(Control::Suspend).expect("running");
    world.restart(secs(5));
    world.run_for(secs(3600));
    assert_eq!(world.state(), TaskState::Suspended);
    assert_eq!(world.machine.power, Power::Off);
    world.control(Control::Resume).expect("suspended");
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
}

#[test]
fn what_was_queued_or_ended_stays_so() {
    let mut world = World::new(Operation::PowerOff, Power::On, Settings::default());
    world.restart(secs(5));
    assert_eq!(world.state(), TaskState::Queued);
    world.sequence.begin(world.now);
    let outcome = world.run_to_end();
    world.restart(secs(5));
    assert_eq!(world.outcome(), outcome);
}

#[test]
fn an_order_written_ahead_that_never_left_counts_as_perhaps_sent() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world.run_for(Duration::from_millis(100));
    world.queueing = secs(5);
    while world.changing().is_empty() {
        world.run_for(Duration::from_millis(10));
    }
    world.restart(secs(5));
    world.queueing = Duration::ZERO;
    let outcome = world.run_to_end();
    assert_eq!(world.times(&Order::Nmi), 0, "never again");
    assert_eq!(outcome.state, TaskState::Failed);
    assert!(
        outcome.text.contains("unknown whether it was delivered"),
        "{}",
        outcome.text
    );
    assert!(
        outcome.text.contains("the daemon restarted"),
        "{}",
        outcome.text
    );
}

#[test]
fn a_soft_request_without_an_outcome_is_repeated_only_after_a_minute_and_a_look() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.queueing = secs(1);
    world.run_for(Duration::from_millis(1100));
    assert_eq!(world.changing(), [Order::SoftOff]);
    world.restart(secs(2));
    let restarted = world.now;
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    let (again, _) = world
        .polled
        .iter()
        .find(|(at, order)| *at >= restarted && *order == Order::SoftOff)
        .expect("it was still on");
    assert!(*again - restarted >= secs(60));
    assert!(
        world
            .told
            .iter()
            .any(|(at, power)| *power == Power::On && *at >= restarted + secs(60))
    );
}

#[test]
fn a_restart_in_the_middle_of_a_rollback_or_an_abort_goes_through_with_it() {
    let mut world = World::begun(Operation::PowerOff, Power::On);
    world.run_for(secs(1));
    world.control(Control::Rollback).expect("allowed");
    world.restart(secs(5));
    assert_eq!(world.run_to_end().state, TaskState::RolledBack);
    assert_eq!(world.machine.power, Power::On);

    let mut world = World::begun(Operation::PowerOff, Power::On);
    world.run_for(Duration::from_millis(70));
    world
        .sequence
        .control(Control::Abort, "bob", world.now)
        .expect("allowed");
    assert_eq!(world.state(), TaskState::Aborting);
    world.restart(secs(5));
    assert_eq!(world.state(), TaskState::Aborted);
    assert!(world.outcome().text.contains("power off was sent"));
}

#[test]
fn a_state_that_was_read_in_the_last_moment_is_read_again_after_a_restart() {
    let mut met = 0;
    for timeout in (9_000..12_000).step_by(20) {
        let settings = Settings {
            change_timeout: Duration::from_millis(timeout),
            ..Settings::default()
        };
        let mut world = World::new(Operation::Reboot, Power::On, settings);
        world.machine.ignores = 1;
        world.sequence.begin(world.now);
        world.run_for(secs(8));
        world.machine.press(Power::Off, world.now);
        world.run_for(Duration::from_millis(timeout - 7_900));
        let waits =
            world.sequence.power() == Some(Power::Off) && world.state() == TaskState::Running;
        if !waits || world.sequence.step_of().0 != 3 {
            continue;
        }
        met += 1;
        world.restart(secs(3));
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
    }
    assert!(met > 0, "no story came to that moment");
}
