//! The hard operations: levels that are read back, repeated only after a look, and made into a
//! reboot.

use super::world::{Mishap, World, secs};
use crate::bmc::vocabulary::{Order, RefusalKind};
use crate::model::{Operation, Power, TaskState};
use crate::power::Settings;
use crate::time::Instant;
use std::time::Duration;

#[test]
fn what_is_there_already_is_a_success_with_nothing_sent() {
    for (operation, power) in [
        (Operation::PowerOn, Power::On),
        (Operation::PowerOff, Power::Off),
    ] {
        let mut world = World::begun(operation, power);
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Succeeded);
        assert_eq!(world.changing(), []);
        assert_eq!(world.told.len(), 2, "a second reading confirms it");
    }
}

#[test]
fn a_stale_reading_at_the_start_does_not_pass_for_the_state_asked_for() {
    // Switched off half a second ago, still shown on.
    let mut world = World::begun(Operation::PowerOn, Power::On);
    world.machine.stale = Duration::from_millis(500);
    world.machine.press(Power::Off, world.now);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert_eq!(world.machine.power, Power::On);
    assert_eq!(world.changing(), [Order::PowerOn]);
    assert_eq!(outcome.power_at_start, Some(Power::Off));
}

/// How long after the first reading that led to the end the last one came, and how many there were.
fn apart(world: &World, power: Power) -> (Duration, usize) {
    let told = world.told.iter().rev();
    let told: Vec<_> = told.take_while(|(_, told)| *told == power).collect();
    (told[0].0 - told[told.len() - 1].0, told.len())
}

#[test]
fn success_needs_two_readings_and_the_second_comes_sooner_after_our_own_level() {
    for (round_trip, least) in [(50, 200), (20, 200), (400, 1200), (1500, 4500)] {
        let mut world = World::begun(Operation::PowerOff, Power::On);
        world.round_trip = Duration::from_millis(round_trip);
        world.run_to_end();
        let (apart, readings) = apart(&world, Power::Off);
        let least = Duration::from_millis(least);
        assert!(apart >= least, "{round_trip} ms: {apart:?}");
        assert!(
            apart <= least + world.round_trip,
            "{round_trip} ms: {apart:?}"
        );
        assert!(readings == 2 || least > secs(2), "{readings} readings");
    }
    // The machine got there by itself, or it is not known by what.
    for (operation, power) in [
        (Operation::SoftPowerOff, Power::Off),
        (Operation::Cycle, Power::On),
        (Operation::Reset, Power::On),
    ] {
        let mut world = World::begun(operation, Power::On);
        world.run_to_end();
        assert!(apart(&world, power).0 >= secs(1), "{operation}");
    }
    let mut world = World::begun(Operation::PowerOff, Power::On);
    world.machine.mishaps = [Mishap::AnswerLost].into();
    world.run_to_end();
    assert!(apart(&world, Power::Off).0 >= secs(1));
}

#[test]
fn where_a_state_did_not_hold_before_it_has_to_hold_longer() {
    for operation in [Operation::PowerOff, Operation::SoftPowerOff] {
        let settings = Settings {
            holds_longer: Some(secs(4)),
            ..Settings::default()
        };
        let mut world = World::new(operation, Power::On, settings);
        world.sequence.begin(world.now);
        world.run_to_end();
        assert!(apart(&world, Power::Off).0 >= secs(4), "{operation}");
    }
}

/// The pauses between the answer to `order` and the looks after it, in milliseconds, up to `count`
/// of them.
fn pauses(world: &World, order: &Order, count: usize) -> Vec<u128> {
    let polled = world.polled.iter();
    let from = polled.clone().position(|(_, polled)| polled == order);
    let polled = &world.polled[from.expect("it was sent")..];
    let apart = |pair: &[(Instant, Order)]| (pair[1].0 - pair[0].0 - world.round_trip).as_millis();
    polled.windows(2).map(apart).take(count).collect()
}

#[test]
fn a_level_is_looked_at_early_and_then_in_growing_pauses_up_to_two_seconds() {
    let mut world = World::begun(Operation::PowerOn, Power::Off);
    world.machine.ignores = 99;
    world.run_for(secs(30));
    let pauses = pauses(&world, &Order::PowerOn, 8);
    assert_eq!(pauses, [150, 225, 337, 506, 759, 1139, 1708, 2000]);
}

#[test]
fn a_soft_off_is_looked_at_every_second_or_two_at_first_and_later_every_five() {
    let mut world = World::begun(Operation::SoftPowerOff, Power::On);
    world.machine.obeys = None;
    world.run_for(secs(60));
    let pauses = pauses(&world, &Order::SoftOff, 14);
    let (early, late) = pauses.split_at(11);
    assert!(early.iter().all(|pause| (1000..=2000).contains(pause)));
    assert_eq!(late, [5000, 5000, 5000]);
}

#[test]
fn what_is_read_once_in_the_last_moment_is_read_again_before_it_counts() {
    // It goes off shortly before the time is over, or is told to be off once, wrongly; or its BMC
    // falls silent then.
    for (off_at, back_after, silent, state) in [
        (59_500, None, false, TaskState::Succeeded),
        (59_500, Some(350), false, TaskState::Failed),
        (59_500, None, true, TaskState::Failed),
    ] {
        let mut world = World::begun(Operation::PowerOff, Power::On);
        world.machine.ignores = 99;
        let begun = world.now;
        world
            .machine
            .changes_at(Power::Off, begun + Duration::from_millis(off_at));
        world.machine.comes_back = back_after.map(Duration::from_millis);
        world.run_until(begun + Duration::from_millis(off_at));
        world.sequence.observe_power(Power::Off, world.now);
        if silent {
            let from = world.now + Duration::from_millis(250);
            world.machine.deaf = vec![(from, from + secs(99))];
        }
        let outcome = world.run_to_end();
        assert_eq!(
            outcome.state, state,
            "{off_at} {back_after:?}: {}",
            outcome.text
        );
        assert!(outcome.took <= secs(61), "{:?}", outcome.took);
    }
}

#[test]
fn a_bmc_whose_state_lags_is_waited_for_and_not_told_again() {
    let mut world = World::begun(Operation::PowerOn, Power::Off);
    world.machine.stale = secs(6);
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    assert_eq!(world.changing(), [Order::PowerOn]);
}

#[test]
fn a_level_that_was_forgotten_is_sent_again_after_the_settle_time() {
    let mut world = World::begun(Operation::PowerOn, Power::Off);
    world.machine.ignores = 1;
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    let sent: Vec<Instant> = world
        .polled
        .iter()
        .filter(|(_, order)| *order == Order::PowerOn)
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(sent.len(), 2);
    assert!(sent[1] - sent[0] >= secs(10));
}

#[test]
fn an_unanswered_level_is_looked_at_before_it_is_repeated() {
    for (mishap, sent) in [(Mishap::Lost, 2), (Mishap::AnswerLost, 1)] {
        let mut world = World::begun(Operation::PowerOff, Power::On);
        world.machine.mishaps = [mishap].into();
        assert_eq!(world.run_to_end().state, TaskState::Succeeded);
        assert_eq!(world.changing().len(), sent);
        let pairs = world.polled.windows(2);
        assert!(
            pairs
                .into_iter()
                .all(|pair| !(pair[0].1.changes_power() && pair[1].1.changes_power())),
            "a look lies between"
        );
    }
}

#[test]
fn busy_is_asked_again_after_one_two_and_four_seconds() {
    let mut world = World::begun(Operation::PowerOff, Power::On);
    world.machine.mishaps = vec![Mishap::Refuse(0xC0, RefusalKind::Busy); 3].into();
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    let sent: Vec<Instant> = world
        .polled
        .iter()
        .filter(|(_, order)| order.changes_power())
        .map(|(at, _)| *at)
        .collect();
    let pauses: Vec<u64> = sent
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs())
        .collect();
    assert_eq!(pauses, [1, 2, 4]);
}

#[test]
fn refused_in_the_present_state_is_done_when_that_is_the_state_asked_for() {
    // Dell's "off" when off: somebody was faster than we.
    let mut world = World::begun(Operation::PowerOff, Power::On);
    world.machine.mishaps = [Mishap::Refuse(0xD5, RefusalKind::NotInPresentState)].into();
    world.queueing = secs(1);
    world.run_for(Duration::from_millis(1500));
    world.machine.press(Power::Off, world.now);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert_eq!(world.machine.carried_out, []);
    assert!(outcome.text.contains("D5h"), "{}", outcome.text);
}

#[test]
fn what_the_bmc_does_not_do_fails_at_once_with_its_reason() {
    for (code, kind) in [
        (0xC1, RefusalKind::NotSupported),
        (0xD4, RefusalKind::NotPermitted),
        (0xD1, RefusalKind::Updating),
    ] {
        let mut world = World::begun(Operation::PowerOff, Power::On);
        world.machine.mishaps = [Mishap::Refuse(code, kind)].into();
        let outcome = world.run_to_end();
        assert_eq!((outcome.state, outcome.error), (TaskState::Failed, false));
        assert!(outcome.took <= secs(1));
        assert!(
            outcome.text.contains(&format!("{code:02X}h")),
            "{}",
            outcome.text
        );
        let updating = kind == RefusalKind::Updating;
        assert_eq!(
            outcome.text.contains("firmware update"),
            updating,
            "{}",
            outcome.text
        );
    }
}

#[test]
fn a_failure_of_the_command_s_own_is_tried_once_more() {
    let refusal = Mishap::Refuse(0x80, RefusalKind::Failed);
    for (times, end) in [(1, TaskState::Succeeded), (2, TaskState::Failed)] {
        let mut world = World::begun(Operation::PowerOff, Power::On);
        world.machine.mishaps = vec![refusal.clone(); times].into();
        assert_eq!(world.run_to_end().state, end);
    }
}

#[test]
fn what_may_pass_is_tried_until_the_deadline() {
    for (code, kind, times) in [
        (0xC1, RefusalKind::Doubted, 5),
        (0xC0, RefusalKind::Busy, 5),
        // "No reason given", as BMCs say it that are not ready: looked at between.
        (0xFF, RefusalKind::Busy, 5),
    ] {
        for operation in Operation::ALL {
            if code == 0xFF
                && matches!(
                    operation,
                    Operation::InjectNmi | Operation::Cycle | Operation::Reset
                )
            {
                // A pulse with such an answer may have been carried out.
                continue;
            }
            let from = if operation == Operation::PowerOn {
                Power::Off
            } else {
                Power::On
            };
            let mut world = World::begun(operation, from);
            world.machine.mishaps = vec![Mishap::Refuse(code, kind); times].into();
            let outcome = world.run_to_end();
            assert_eq!(
                outcome.state,
                TaskState::Succeeded,
                "{operation} {code:02X}h: {}",
                outcome.text
            );
        }
    }
    let mut world = World::begun(Operation::Reset, Power::On);
    world.machine.mishaps = vec![Mishap::Refuse(0xC1, RefusalKind::Doubted); 100].into();
    let outcome = world.run_to_end();
    assert_eq!((outcome.state, outcome.took), (TaskState::Failed, secs(60)));
    assert!(
        outcome
            .text
            .contains("it was refused until its time was over"),
        "{}",
        outcome.text
    );
    assert!(outcome.text.contains("C1h"), "{}", outcome.text);
}

#[test]
fn a_machine_that_was_switched_off_for_a_reboot_is_not_left_off_because_of_a_refusal() {
    for (code, kind) in [
        (0xD4, RefusalKind::NotPermitted),
        (0xC1, RefusalKind::NotSupported),
        (0xD1, RefusalKind::Updating),
    ] {
        let mut world = World::begun(Operation::Reboot, Power::On);
        world.run_for(secs(5));
        assert_eq!(world.times(&Order::PowerOff), 1);
        world.machine.mishaps = vec![Mishap::Refuse(code, kind); 3].into();
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
    }
}

#[test]
fn a_reading_that_is_refused_after_the_order_left_does_not_end_a_task() {
    for operation in Operation::ALL {
        for (code, kind) in [
            (0xC1, RefusalKind::NotSupported),
            (0xC1, RefusalKind::Doubted),
            (0xD4, RefusalKind::NotPermitted),
            (0xD1, RefusalKind::Updating),
        ] {
            let from = if operation == Operation::PowerOn {
                Power::Off
            } else {
                Power::On
            };
            let mut world = World::begun(operation, from);
            world.run_for(Duration::from_millis(500));
            let now = world.now;
            world.machine.refuses = Some((now, now + secs(9), code, kind));
            let outcome = world.run_to_end();
            assert_eq!(
                outcome.state,
                TaskState::Succeeded,
                "{operation} {code:02X}h: {}",
                outcome.text
            );
        }
    }
}

#[test]
fn a_reboot_is_made_of_levels_with_the_minimum_off_time_between_them() {
    let mut world = World::begun(Operation::Reboot, Power::On);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert_eq!(world.changing(), [Order::PowerOff, Order::PowerOn]);
    let on_at = world.machine.carried_out[1].0;
    let off_read_at = world
        .told
        .iter()
        .find(|(_, power)| *power == Power::Off)
        .expect("read")
        .0;
    assert!(on_at - off_read_at >= secs(10));
}

#[test]
fn a_dead_bmc_fails_the_task_within_its_deadline_with_nothing_sent() {
    for operation in Operation::ALL {
        let mut world = World::begun(operation, Power::On);
        world.machine.deaf = vec![(Instant::START, Instant::after_start(secs(100_000)))];
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Failed, "{operation}");
        assert!(outcome.took <= secs(61), "{operation}: {:?}", outcome.took);
        assert!(
            outcome.text.contains("nothing was sent"),
            "{}",
            outcome.text
        );
        assert_eq!(outcome.power, None, "no guess is shown as a reading");
    }
}

#[test]
fn a_bmc_that_dies_after_the_order_fails_the_task_at_its_deadline() {
    let mut world = World::begun(Operation::PowerOff, Power::On);
    world.machine.deaf = vec![(
        world.now + Duration::from_millis(70),
        world.now + secs(1000),
    )];
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Failed);
    assert_eq!(outcome.took, secs(60));
}

#[test]
fn a_time_that_ends_between_two_looks_is_kept_to_the_second() {
    let settings = Settings {
        change_timeout: secs(30),
        ..Settings::default()
    };
    let mut world = World::new(Operation::PowerOn, Power::Off, settings);
    world.machine.ignores = 100;
    world.sequence.begin(world.now);
    assert_eq!(world.run_to_end().took, secs(30));
}

#[test]
fn wrong_credentials_end_a_task_that_has_sent_nothing_at_once() {
    use crate::bmc::vocabulary::OrderId;
    use crate::model::{Delivery, Trouble};
    use crate::power::Sequence;
    use crate::power::tests::world::silent;
    for trouble in [Trouble::WrongPassword, Trouble::Held, Trouble::NoAddress] {
        let mut sequence = Sequence::new(Operation::SoftPowerOff, Settings::default());
        sequence.begin(Instant::START);
        sequence.poll_order(OrderId(1)).expect("the record");
        sequence.handle_report(
            OrderId(1),
            silent(Delivery::NotSent, trouble),
            Instant::START,
        );
        assert_eq!(sequence.state(), TaskState::Failed);
    }
}
