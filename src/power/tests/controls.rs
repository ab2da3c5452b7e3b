//! Abort, cancel, rollback, suspend and resume, each with its meaning of design, section 4.

use super::world::{Mishap, World, secs};
use crate::bmc::vocabulary::Order;
use crate::model::{Control, Operation, Power, Target, TaskState};
use crate::power::{RefusalKind, Settings};
use std::time::Duration;

#[test]
fn after_an_abort_nothing_leaves_any_more() {
    for operation in Operation::ALL {
        for after in [0, 40, 60, 140, 1500, 5000, 15_000, 26_000] {
            let power = if operation == Operation::PowerOn {
                Power::Off
            } else {
                Power::On
            };
            let mut world = World::begun(operation, power);
            world.run_for(Duration::from_millis(after));
            if world.sequence.outcome().is_some() {
                continue;
            }
            let (polled, carried_out) = (world.polled.len(), world.machine.carried_out.len());
            world
                .control(Control::Abort)
                .expect("allowed until the end");
            world.run_for(secs(100));
            assert_eq!(
                world.state(),
                TaskState::Aborted,
                "{operation} after {after} ms"
            );
            assert_eq!(world.polled.len(), polled);
            assert_eq!(world.machine.carried_out.len(), carried_out);
        }
    }
}

#[test]
fn an_abort_of_an_order_that_had_not_left_says_so() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.run_for(Duration::from_millis(40));
    world.queueing = secs(5);
    world.run_for(secs(1));
    assert_eq!(world.changing(), [Order::SoftOff]);
    world.control(Control::Abort).expect("allowed");
    assert_eq!(world.machine.carried_out, []);
    let outcome = world.outcome();
    assert!(
        outcome.text.contains("soft power off was not sent"),
        "{}",
        outcome.text
    );
}

#[test]
fn an_abort_whose_withdrawal_is_never_confirmed_ends_within_a_second() {
    use crate::bmc::vocabulary::OrderId;
    use crate::power::Sequence;
    let mut world = World::begun(Operation::PowerOff, Power::On);
    world.run_for(Duration::from_millis(70));
    let mut sequence: Sequence = world.sequence.clone();
    sequence
        .control(Control::Abort, "bob", world.now)
        .expect("allowed");
    assert_eq!(sequence.state(), TaskState::Aborting);
    assert!(sequence.withdrawn().is_some());
    assert_eq!(sequence.withdrawn(), None);
    assert_eq!(sequence.poll_order(OrderId(99)), None);
    let refusal = sequence.may(Control::Cancel).expect_err("too late");
    assert_eq!(refusal.kind, RefusalKind::UnderWay);
    let at = sequence.poll_timeout().expect("a guard");
    assert_eq!(at - world.now, secs(1));
    sequence.handle_timeout(at);
    assert_eq!(sequence.state(), TaskState::Aborted);
}

#[test]
fn a_cancel_before_anything_left_is_as_if_never_asked() {
    let mut world = World::new(Operation::SoftPowerOff, Power::On, Settings::default());
    world.control(Control::Cancel).expect("queued");
    assert_eq!(world.state(), TaskState::Cancelled);

    for operation in Operation::ALL {
        let power = if operation == Operation::PowerOn {
            Power::Off
        } else {
            Power::On
        };
        let mut world = World::begun(operation, power);
        world.queueing = secs(5);
        world.run_for(secs(6));
        world
            .control(Control::Cancel)
            .expect("nothing but readings left");
        let outcome = world.outcome();
        assert_eq!(
            (outcome.state, outcome.error),
            (TaskState::Cancelled, false),
            "{operation}"
        );
        assert_eq!(outcome.power, Some(power), "as at the start");
        world.run_for(secs(100));
        assert_eq!(world.machine.carried_out, []);
    }
}

#[test]
fn a_cancel_after_the_order_left_is_refused_with_what_is_still_possible() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.run_for(Duration::from_millis(70));
    let refusal = world.control(Control::Cancel).expect_err("it left");
    assert_eq!(refusal.kind, RefusalKind::TooLate);
    assert_eq!(
        refusal.possible,
        [Control::Abort, Control::Rollback, Control::Suspend]
    );
    assert!(
        refusal
            .to_string()
            .starts_with("cancel refused: soft power off was sent at"),
        "{refusal}"
    );
    assert!(
        refusal
            .to_string()
            .ends_with("still possible: abort, rollback, suspend")
    );
    assert_eq!(world.state(), TaskState::Running);
}

#[test]
fn a_rollback_of_a_soft_off_that_goes_down_switches_it_on_again() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.run_for(secs(5));
    world.control(Control::Rollback).expect("it can be undone");
    assert_eq!(world.state(), TaskState::RollingBack);
    assert_eq!(world.sequence.target(), Some(Target::PowerOn));
    let outcome = world.run_to_end();
    assert_eq!(
        (outcome.state, outcome.error),
        (TaskState::RolledBack, false)
    );
    assert_eq!(world.machine.power, Power::On);
    assert_eq!(world.changing(), [Order::SoftOff, Order::PowerOn]);
    let on_at = world.machine.carried_out[1].0;
    let down_at = world.machine.carried_out[0].0 + secs(20);
    assert!(
        on_at - down_at >= secs(10),
        "not before the minimum off time"
    );
}

#[test]
fn a_rollback_of_a_soft_off_that_stays_up_leaves_it() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.machine.obeys = None;
    world.run_for(secs(5));
    let before = world.now;
    world.control(Control::Rollback).expect("it can be undone");
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::RolledBack);
    assert_eq!(world.changing(), [Order::SoftOff]);
    assert!(outcome.text.contains("was left on"), "{}", outcome.text);
    assert!((60..=61).contains(&(world.now - before).as_secs()));
}

#[test]
fn a_rollback_of_the_levels_brings_back_the_state_of_the_start() {
    for (operation, start, after) in [
        (Operation::PowerOff, Power::On, 500),
        (Operation::PowerOff, Power::On, 1500),
        (Operation::PowerOn, Power::Off, 500),
        (Operation::PowerOn, Power::Off, 2500),
        (Operation::Reboot, Power::On, 500),
        (Operation::Reboot, Power::On, 6000),
        (Operation::Reboot, Power::On, 13_500),
        (Operation::SoftReboot, Power::On, 26_000),
        (Operation::SoftReboot, Power::Off, 1500),
    ] {
        let mut world = World::begun(operation, start);
        world.run_for(Duration::from_millis(after));
        assert_eq!(world.state(), TaskState::Running, "{operation} {after}");
        world.control(Control::Rollback).expect("it can be undone");
        let outcome = world.run_to_end();
        assert_eq!(
            outcome.state,
            TaskState::RolledBack,
            "{operation} {after}: {}",
            outcome.text
        );
        assert_eq!(world.machine.power, start, "{operation} {after}");
        world.run_for(secs(60));
        assert_eq!(world.machine.power, start, "it stays");
    }
}

#[test]
fn a_rollback_of_nothing_is_done_at_once() {
    for operation in Operation::ALL {
        let mut world = World::begun(operation, Power::On);
        world.control(Control::Rollback).expect("nothing was sent");
        let outcome = world.outcome();
        assert_eq!(
            (outcome.state, outcome.error),
            (TaskState::RolledBack, false)
        );
        assert!(
            outcome.text.contains("nothing was sent"),
            "{}",
            outcome.text
        );
    }
}

#[test]
fn a_rollback_of_a_pulse_is_refused_once_it_left() {
    for operation in [Operation::InjectNmi, Operation::Reset, Operation::Cycle] {
        let mut world = World::begun(operation, Power::On);
        world.run_for(secs(2));
        assert_eq!(world.changing().len(), 1);
        let refusal = world
            .control(Control::Rollback)
            .expect_err("it cannot be undone");
        assert_eq!(refusal.kind, RefusalKind::CannotBeUndone);
        assert!(refusal.reason.contains("cannot be undone"));
        assert_eq!(refusal.possible, [Control::Abort, Control::Suspend]);
    }
}

#[test]
fn a_rollback_that_fails_is_stuck_and_says_wanted_and_found() {
    let mut world = World::begun(Operation::PowerOff, Power::On);
    world.run_for(secs(1));
    world.machine.ignores = 100;
    world.control(Control::Rollback).expect("it can be undone");
    let outcome = world.run_to_end();
    assert_eq!((outcome.state, outcome.error), (TaskState::Stuck, true));
    assert!(
        outcome.text.contains("wanted on, found off"),
        "{}",
        outcome.text
    );
}

#[test]
fn a_rollback_of_a_bmc_that_died_is_stuck_within_its_time() {
    for operation in [
        Operation::PowerOff,
        Operation::SoftPowerOff,
        Operation::SoftReboot,
    ] {
        let mut world = World::begun(operation, Power::On);
        world.run_for(Duration::from_millis(300));
        world.machine.deaf = vec![(world.now, world.now + secs(9999))];
        let before = world.now;
        world.control(Control::Rollback).expect("it can be undone");
        assert_eq!(world.run_to_end().state, TaskState::Stuck);
        assert!(world.now - before <= Settings::default().longest_rollback() + secs(1));
    }
}

#[test]
fn a_rollback_whose_bmc_is_answered_for_at_once_does_not_spin() {
    use super::world::silent;
    use crate::bmc::vocabulary::OrderId;
    use crate::model::{Delivery, Trouble};
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.run_for(secs(3));
    assert_eq!(world.times(&Order::SoftOff), 1);
    let mut sequence = world.sequence.clone();
    sequence
        .control(Control::Rollback, "alice", world.now)
        .expect("allowed");
    let (mut now, mut orders) = (world.now, 0);
    while sequence.outcome().is_none() {
        orders += 1;
        assert!(orders < 100, "it asks without end at {now:?}");
        match sequence.poll_order(OrderId(1000 + orders)) {
            Some(_) => {
                let report = silent(Delivery::NotSent, Trouble::Silent);
                sequence.handle_report(OrderId(1000 + orders), report, now);
            }
            None => {
                now = sequence.poll_timeout().expect("it waits for something");
                sequence.handle_timeout(now);
            }
        }
    }
    assert_eq!(sequence.state(), TaskState::Stuck);
}

#[test]
fn a_rollback_can_be_aborted_and_nothing_else() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.run_for(secs(5));
    world.control(Control::Rollback).expect("allowed");
    for control in [Control::Cancel, Control::Rollback, Control::Suspend] {
        let refusal = world.control(control).expect_err("rolling back");
        assert_eq!(refusal.kind, RefusalKind::UnderWay);
        assert_eq!(refusal.possible, [Control::Abort]);
    }
    world.control(Control::Abort).expect("allowed");
    let outcome = world.outcome();
    assert_eq!((outcome.state, outcome.error), (TaskState::Aborted, false));
}

#[test]
fn a_suspended_wait_keeps_the_patience_it_had_left() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.machine.obeys = None;
    world.run_for(secs(100));
    world.control(Control::Suspend).expect("running");
    assert_eq!(world.state(), TaskState::Suspended);
    world.run_for(secs(5000));
    assert_eq!(world.state(), TaskState::Suspended);
    world.control(Control::Resume).expect("suspended");
    let progress = world.sequence.progress(world.now);
    assert_eq!(progress.time_left, Some(secs(500)));
    assert_eq!(progress.elapsed, secs(5100));
    world.run_for(secs(499));
    assert_eq!(world.state(), TaskState::Running);
    world.run_for(secs(1));
    assert_eq!(world.state(), TaskState::Failed);
}

#[test]
fn while_suspended_only_the_power_state_is_read_and_slowly() {
    for operation in Operation::ALL {
        for after in [0, 70, 140, 1500, 11_000, 26_000] {
            let power = if operation == Operation::PowerOn {
                Power::Off
            } else {
                Power::On
            };
            let mut world = World::begun(operation, power);
            world.run_for(Duration::from_millis(after));
            if world.sequence.outcome().is_some() {
                continue;
            }
            world.control(Control::Suspend).expect("running");
            let from = world.polled.len() - 1;
            world.run_for(secs(300));
            let orders = &world.polled[from..];
            assert!(
                orders
                    .iter()
                    .skip(1)
                    .all(|(_, order)| *order == Order::ReadPower),
                "{operation} {after}: {orders:?}"
            );
            assert!(
                (8..=12).contains(&orders.len()),
                "{operation} {after}: {}",
                orders.len()
            );
            world.control(Control::Resume).expect("suspended");
            let next = world.polled.last().expect("a look").1.clone();
            assert!(!next.changes_power(), "resume looks first: {next:?}");
            let outcome = world.run_to_end();
            assert_eq!(
                outcome.state,
                TaskState::Succeeded,
                "{operation} {after}: {}",
                outcome.text
            );
        }
    }
}

#[test]
fn a_soft_reboot_suspended_between_off_and_on_stays_off() {
    let mut world = World::begun(Operation::SoftReboot, Power::On);
    world.run_for(secs(27));
    assert_eq!(world.machine.power, Power::Off);
    world.control(Control::Suspend).expect("running");
    world.run_for(secs(3600));
    assert_eq!(world.machine.power, Power::Off);
    assert_eq!(world.sequence.target(), Some(Target::PowerOn));
    world.control(Control::Resume).expect("suspended");
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    assert_eq!(world.machine.power, Power::On);
}

#[test]
fn a_node_switched_on_by_hand_while_a_soft_reboot_was_suspended_is_noticed() {
    let mut world = World::begun(Operation::SoftReboot, Power::On);
    world.run_for(secs(27));
    world.control(Control::Suspend).expect("running");
    world.machine.press(Power::On, world.now);
    world.run_for(secs(60));
    world.control(Control::Resume).expect("suspended");
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert!(
        outcome.text.contains("found on again without our doing"),
        "{}",
        outcome.text
    );
    assert_eq!(world.changing(), [Order::SoftOff]);
}

#[test]
fn a_soft_off_that_went_down_while_suspended_is_done_after_the_resume() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.run_for(secs(5));
    world.control(Control::Suspend).expect("running");
    world.run_for(secs(60));
    assert_eq!(
        world.state(),
        TaskState::Suspended,
        "nothing is decided while it stands still"
    );
    world.control(Control::Resume).expect("suspended");
    world.run_for(secs(3));
    assert_eq!(world.state(), TaskState::Succeeded);
}

#[test]
fn a_suspended_queued_task_is_queued_again() {
    let mut world = World::new(Operation::PowerOff, Power::On, Settings::default());
    world.control(Control::Suspend).expect("queued");
    world.sequence.begin(world.now);
    assert_eq!(world.state(), TaskState::Suspended, "it does not begin");
    world.run_for(secs(100));
    world.control(Control::Resume).expect("suspended");
    assert_eq!(world.state(), TaskState::Queued);
    world.sequence.begin(world.now);
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
}

#[test]
fn a_suspend_that_meets_a_pulse_on_its_way_does_not_send_it_twice() {
    for (operation, order) in [
        (Operation::InjectNmi, Order::Nmi),
        (Operation::Reset, Order::Reset),
        (Operation::Cycle, Order::Cycle),
    ] {
        let mut world = World::begun(operation, Power::On);
        while world.changing().is_empty() {
            world.run_for(Duration::from_millis(1));
        }
        world.control(Control::Suspend).expect("running");
        world.run_for(secs(100));
        world.control(Control::Resume).expect("suspended");
        world.run_to_end();
        assert_eq!(world.times(&order), 1);
        assert_eq!(world.changing(), [order]);
    }
}

#[test]
fn a_suspended_task_can_be_aborted_cancelled_and_rolled_back() {
    let suspended = |after: u64| {
        let mut world = World::begun(Operation::SoftPowerOff, Power::On);
        world.run_for(Duration::from_millis(after));
        world.control(Control::Suspend).expect("running");
        world
    };
    let mut world = suspended(5000);
    world.control(Control::Abort).expect("allowed");
    assert!(world.outcome().error);
    let mut world = suspended(20);
    world.control(Control::Cancel).expect("nothing was sent");
    assert_eq!(world.state(), TaskState::Cancelled);
    let mut world = suspended(5000);
    world.control(Control::Rollback).expect("allowed");
    assert_eq!(world.run_to_end().state, TaskState::RolledBack);
    assert_eq!(world.machine.power, Power::On);
}

#[test]
fn suspend_and_resume_out_of_turn_are_refused_with_the_reason() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    let refusal = world.control(Control::Resume).expect_err("it runs");
    assert_eq!(refusal.kind, RefusalKind::NotSuspended);
    world.control(Control::Suspend).expect("running");
    let refusal = world.control(Control::Suspend).expect_err("it stands");
    assert_eq!(refusal.kind, RefusalKind::AlreadySuspended);
    assert!(refusal.possible.contains(&Control::Resume));
}

#[test]
fn a_late_report_of_a_withdrawn_order_goes_into_the_record_and_changes_nothing() {
    use crate::bmc::vocabulary::{OrderId, Reading, Report};
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.run_for(secs(3));
    let mut sequence = world.sequence.clone();
    let at = sequence.poll_timeout().expect("a look");
    sequence.handle_timeout(at);
    assert_eq!(sequence.poll_order(OrderId(77)), Some(Order::ReadPower));
    sequence
        .control(Control::Abort, "bob", at)
        .expect("allowed");
    assert_eq!(sequence.withdrawn(), Some(OrderId(77)));
    let before = sequence.outcome().cloned();
    sequence.handle_report(
        OrderId(77),
        Report::Accepted(Reading::Power(Power::Off)),
        at,
    );
    sequence.handle_report(OrderId(4711), Report::Accepted(Reading::Done), at);
    assert_eq!(sequence.outcome().cloned(), before);
    let last = sequence.sent().last().expect("the look");
    assert!(matches!(last.answer, Some((_, Report::Accepted(_)))));
}

#[test]
fn a_rollback_that_meets_a_lost_order_brings_back_the_start_all_the_same() {
    for mishap in [Mishap::Lost, Mishap::AnswerLost] {
        let mut world = World::begun(Operation::PowerOff, Power::On);
        world.machine.mishaps = [mishap].into();
        world.run_for(secs(1));
        world.control(Control::Rollback).expect("allowed");
        assert_eq!(world.run_to_end().state, TaskState::RolledBack);
        assert_eq!(world.machine.power, Power::On);
    }
}
