//! NMI, reset and cycle: at most once, followed by looking, and no more said than is known.

use super::world::{Mishap, World, secs};
use crate::bmc::vocabulary::{Order, RefusalKind, Sign};
use crate::model::{Operation, Power, RestartCause, TaskState};
use crate::time::Instant;
use std::time::Duration;

const PULSES: [(Operation, Order); 3] = [
    (Operation::InjectNmi, Order::Nmi),
    (Operation::Reset, Order::Reset),
    (Operation::Cycle, Order::Cycle),
];

#[test]
fn a_pulse_is_refused_for_a_node_that_is_off() {
    for (operation, _) in PULSES {
        let mut world = World::begun(operation, Power::Off);
        let outcome = world.run_to_end();
        assert_eq!((outcome.state, outcome.error), (TaskState::Failed, false));
        assert!(outcome.text.contains("the node is off"), "{}", outcome.text);
        assert_eq!(world.changing(), []);
    }
}

#[test]
fn the_marks_are_read_before_the_pulse() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world
        .machine
        .add_entry(7, "fan: lower critical", Sign::None);
    world.run_for(secs(1));
    let orders: Vec<Order> = world
        .polled
        .iter()
        .map(|(_, order)| order.clone())
        .collect();
    let expected = [
        Order::ReadPower,
        Order::ReadRestartCause,
        Order::ReadEventLogInfo,
        Order::ReadEventLogEntry(0xFFFF),
        Order::Nmi,
    ];
    assert_eq!(orders, expected);
}

#[test]
fn a_pulse_leaves_once_whatever_becomes_of_it() {
    for (operation, order) in PULSES {
        for mishap in [
            Mishap::Lost,
            Mishap::AnswerLost,
            Mishap::Refuse(0xC3, RefusalKind::Busy),
            Mishap::Refuse(0xCE, RefusalKind::Busy),
            Mishap::Refuse(0xFF, RefusalKind::Failed),
            Mishap::Refuse(0xCF, RefusalKind::Failed),
        ] {
            let mut world = World::begun(operation, Power::On);
            world.machine.mishaps = [mishap.clone()].into();
            world.run_to_end();
            assert_eq!(
                world.changing(),
                std::slice::from_ref(&order),
                "{operation} {mishap:?}"
            );
        }
    }
}

#[test]
fn a_pulse_that_was_plainly_not_taken_is_sent_again() {
    for (operation, order) in PULSES {
        let mut world = World::begun(operation, Power::On);
        world.machine.mishaps = [Mishap::Refuse(0xC0, RefusalKind::Busy), Mishap::NotSent].into();
        assert_eq!(
            world.run_to_end().state,
            TaskState::Succeeded,
            "{operation}"
        );
        assert_eq!(world.times(&order), 1);
    }
}

#[test]
fn an_unanswered_reset_that_changed_the_restart_cause_arrived() {
    for (operation, _) in [&PULSES[1], &PULSES[2]] {
        let mut world = World::begun(*operation, Power::On);
        world.machine.mishaps = [Mishap::AnswerLost].into();
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Succeeded);
        let shown = match operation {
            // Its "off" is seen first.
            Operation::Cycle => "it arrived: it was off (at ",
            _ => "changed from power button to chassis control",
        };
        assert!(outcome.text.contains(shown), "{}", outcome.text);
    }
}

#[test]
fn an_unanswered_reset_without_a_trace_is_said_to_be_unknown() {
    for (cause, mishap) in [
        (Some(RestartCause::PowerButton), Mishap::Lost),
        (Some(RestartCause::ChassisControl), Mishap::AnswerLost),
        (None, Mishap::AnswerLost),
    ] {
        let mut world = World::begun(Operation::Reset, Power::On);
        world.machine.cause = cause;
        world.machine.mishaps = [mishap].into();
        let outcome = world.run_to_end();
        assert_eq!((outcome.state, outcome.error), (TaskState::Failed, false));
        assert!(
            outcome.text.contains("unknown whether it arrived"),
            "{}",
            outcome.text
        );
        assert_eq!(outcome.took, secs(60));
        assert_eq!(outcome.power, Some(Power::On));
    }
}

#[test]
fn the_on_from_before_a_cycle_is_not_its_success() {
    let mut world = World::begun(Operation::Cycle, Power::On);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert!(
        outcome.took >= secs(7),
        "it was off from 2 s to 7 s after the order"
    );
    assert!(world.told.iter().any(|(_, power)| *power == Power::Off));
}

#[test]
fn the_on_from_before_a_cycle_is_not_its_success_at_the_deadline_either() {
    let mut world = World::begun(Operation::Cycle, Power::On);
    // One look shows the old "on", then the BMC is deaf.
    let from = world.now + Duration::from_millis(1500);
    world.machine.deaf = vec![(from, from + secs(500))];
    let outcome = world.run_to_end();
    assert_eq!((outcome.state, outcome.took), (TaskState::Failed, secs(60)));
    assert!(
        outcome.text.contains("not read on for certain"),
        "{}",
        outcome.text
    );
}

#[test]
fn a_cycle_is_done_only_when_the_machine_was_seen_off() {
    let millis = Duration::from_millis;
    for (off, on) in [
        (millis(100), millis(600)),
        (millis(3000), millis(3500)),
        (secs(40), secs(45)),
    ] {
        let mut world = World::begun(Operation::Cycle, Power::On);
        // The restart cause tells nothing: it was the same before.
        world.machine.cause = Some(RestartCause::ChassisControl);
        world.machine.cycles = Some((off, on));
        let outcome = world.run_to_end();
        assert_eq!(
            outcome.state,
            TaskState::Succeeded,
            "{off:?}: {}",
            outcome.text
        );
        assert!(outcome.took >= on, "{off:?}: {:?}", outcome.took);
        assert!(outcome.text.contains("it was off"), "{}", outcome.text);
    }
}

#[test]
fn a_cycle_that_never_switches_off_fails_and_says_what_was_seen() {
    let mut world = World::begun(Operation::Cycle, Power::On);
    world.machine.cycles = None;
    let outcome = world.run_to_end();
    assert_eq!((outcome.state, outcome.took), (TaskState::Failed, secs(60)));
    let words = "it was accepted, but the node was never seen off within 60.0 s";
    assert!(outcome.text.contains(words), "{}", outcome.text);
    assert_eq!(outcome.power, Some(Power::On));
    assert_eq!(world.times(&Order::Cycle), 1);
}

#[test]
fn a_reset_that_nothing_shows_is_accepted_and_no_more() {
    let mut world = World::begun(Operation::Reset, Power::On);
    world.machine.cause = Some(RestartCause::ChassisControl);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
    assert!(outcome.took >= secs(10), "{:?}", outcome.took);
    let words = "hard reset accepted; nothing shows that the machine restarted";
    assert!(outcome.text.contains(words), "{}", outcome.text);
    // With another restart cause it is done, and soon.
    let mut world = World::begun(Operation::Reset, Power::On);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
    assert!(
        outcome.text.contains("the restart cause changed"),
        "{}",
        outcome.text
    );
    assert!(outcome.took < secs(9), "{:?}", outcome.took);
}

#[test]
fn a_refusal_in_the_present_state_is_explained_by_looking() {
    for (operation, _) in PULSES {
        let mut world = World::begun(operation, Power::On);
        world.machine.mishaps = [Mishap::Refuse(0xD5, RefusalKind::NotInPresentState)].into();
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Failed);
        assert!(
            outcome.text.contains("the node is on, but"),
            "{}",
            outcome.text
        );
        assert!(outcome.text.contains("D5h"), "{}", outcome.text);
    }
}

#[test]
fn an_nmi_that_crashes_the_machine_is_seen_in_the_event_log() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world
        .machine
        .add_entry(1, "fan: lower critical", Sign::None);
    world.machine.crashes = true;
    let outcome = world.run_to_end();
    assert_eq!(
        (outcome.state, outcome.error),
        (TaskState::Succeeded, false)
    );
    assert!(
        outcome
            .text
            .contains("crash seen: event log: OS stop: run-time critical stop"),
        "{}",
        outcome.text
    );
    assert!(
        !outcome.text.contains("fan"),
        "old entries are not new: {}",
        outcome.text
    );
}

#[test]
fn an_nmi_that_restarts_the_machine_is_seen_in_the_restart_cause() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world.run_for(secs(10));
    world.machine.cause = Some(RestartCause::Watchdog);
    let outcome = world.run_to_end();
    assert!(
        outcome
            .text
            .contains("crash seen: the restart cause changed from power button to watchdog"),
        "{}",
        outcome.text
    );
}

#[test]
fn an_nmi_without_effect_is_said_to_have_none() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world.run_for(secs(10));
    world.machine.add_entry(1, "door: open", Sign::None);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert!(
        outcome
            .text
            .contains("accepted, no crash seen within 60.0 s; new in the event log: door: open"),
        "{}",
        outcome.text
    );
    assert!(outcome.took >= secs(60) && outcome.took <= secs(61));
}

#[test]
fn an_unanswered_nmi_is_followed_and_told_as_far_as_it_is_known() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world.machine.mishaps = [Mishap::AnswerLost].into();
    let outcome = world.run_to_end();
    assert_eq!((outcome.state, outcome.error), (TaskState::Failed, false));
    assert!(
        outcome.text.contains("unknown whether it was delivered"),
        "{}",
        outcome.text
    );

    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world.machine.mishaps = [Mishap::AnswerLost].into();
    world.machine.crashes = true;
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert!(
        outcome.text.contains("not answered, but crash seen"),
        "{}",
        outcome.text
    );

    // Off it may be for another reason.
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world.machine.mishaps = [Mishap::AnswerLost].into();
    world.run_for(secs(2));
    world.machine.press(Power::Off, world.now);
    let outcome = world.run_to_end();
    assert_eq!((outcome.state, outcome.error), (TaskState::Failed, false));
    let told = outcome.text.contains("unknown whether it was delivered")
        && outcome.text.contains("it was off");
    assert!(told, "{}", outcome.text);
}

#[test]
fn a_bmc_that_reads_nothing_but_the_power_still_takes_the_pulse() {
    for (operation, order) in PULSES {
        let mut world = World::begun(operation, Power::On);
        world.machine.cause = None;
        assert_eq!(
            world.run_to_end().state,
            TaskState::Succeeded,
            "{operation}"
        );
        assert_eq!(world.times(&order), 1);
    }
}

#[test]
fn a_pulse_is_not_sent_into_silence() {
    for (operation, _) in PULSES {
        let mut world = World::begun(operation, Power::On);
        // It answers the record, then nothing more.
        world.machine.deaf = vec![(
            world.now + Duration::from_millis(20),
            Instant::after_start(secs(9999)),
        )];
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Failed);
        assert_eq!(world.changing(), []);
        assert!(outcome.took <= secs(61));
    }
}

#[test]
fn an_emptied_event_log_is_read_from_its_first_entry() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world.machine.add_entry(1, "one", Sign::None);
    world.machine.add_entry(2, "two", Sign::None);
    world.run_for(secs(3));
    world.machine.log.clear();
    world
        .machine
        .add_entry(1, "watchdog: hard reset", Sign::Crash);
    let outcome = world.run_to_end();
    assert!(
        outcome.text.contains("crash seen: event log: watchdog"),
        "{}",
        outcome.text
    );
}

#[test]
fn a_long_burst_of_entries_is_read_to_its_end() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    world.run_for(secs(3));
    for id in 1..40 {
        world
            .machine
            .add_entry(id, "corrected memory error", Sign::None);
    }
    world.machine.add_entry(40, "OS stop", Sign::Crash);
    let outcome = world.run_to_end();
    assert!(
        outcome.text.contains("crash seen: event log: OS stop"),
        "{}",
        outcome.text
    );
}

#[test]
fn silence_at_once_and_for_ever_never_makes_anybody_ask_in_a_tight_loop() {
    use crate::bmc::vocabulary::{OrderId, Reading, Report, Silence};
    use crate::model::{Delivery, Operation, Power, Trouble};
    use crate::power::{Sequence, Settings};
    use crate::time::Instant;
    let silent = |delivery| {
        let text = "no answer".to_owned();
        Report::Unanswered(Silence {
            delivery,
            trouble: Trouble::Silent,
            text,
        })
    };
    // Whatever the operation, and from whichever order on nothing is answered any more.
    for operation in Operation::ALL {
        for answered in 0..12 {
            let mut now = Instant::START;
            let mut sequence = Sequence::new(operation, Settings::default());
            sequence.begin(now);
            let (mut id, mut at_once) = (0, 0);
            while sequence.outcome().is_none() {
                let Some(order) = sequence.poll_order(OrderId(id)) else {
                    let next = sequence
                        .poll_timeout()
                        .expect("a sequence that waits says for when");
                    at_once = if next > now { 0 } else { at_once + 1 };
                    now = now.max(next);
                    sequence.handle_timeout(now);
                    assert!(
                        at_once < 10,
                        "{operation}, {answered} answered: waits for what is due"
                    );
                    continue;
                };
                sequence.handle_sent(OrderId(id), now);
                let report = match order {
                    _ if id >= answered && order.changes_power() => silent(Delivery::Unknown),
                    _ if id >= answered => silent(Delivery::NotSent),
                    Order::ReadPower => Report::Accepted(Reading::Power(Power::On)),
                    _ => Report::Accepted(Reading::Done),
                };
                sequence.handle_report(OrderId(id), report, now);
                (id, at_once) = (id + 1, at_once + 1);
                assert!(
                    at_once < 10,
                    "{operation}, {answered} answered: ten orders in one instant"
                );
            }
        }
    }
}

/// An NMI that the machine takes in a way of its own, and its end.
fn nmi(lost: bool, then: impl FnOnce(&mut World)) -> crate::power::Outcome {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    if lost {
        world.machine.mishaps = [Mishap::AnswerLost].into();
    }
    while world.times(&Order::Nmi) == 0 {
        world.run_for(Duration::from_millis(10));
    }
    then(&mut world);
    let outcome = world.run_to_end();
    assert_eq!(world.times(&Order::Nmi), 1);
    assert!(
        outcome.took >= secs(60),
        "the watch lasts: {:?}",
        outcome.took
    );
    outcome
}

const DELIVERED: &str = "critical interrupt: front panel NMI or diagnostic interrupt";

fn written_down(world: &mut World) {
    world.machine.add_entry(1, DELIVERED, Sign::Interrupt);
}

#[test]
fn an_nmi_that_the_bmc_writes_down_and_nobody_heeds_is_delivered_and_no_crash() {
    let outcome = nmi(false, written_down);
    assert_eq!(outcome.state, TaskState::Succeeded);
    let words =
        format!("inject nmi: delivered, no crash seen within 60.0 s; event log: {DELIVERED} (at ");
    assert!(outcome.text.starts_with(&words), "{}", outcome.text);
}

#[test]
fn an_nmi_whose_answer_was_lost_and_that_the_bmc_wrote_down_was_delivered_and_is_no_crash() {
    let outcome = nmi(true, written_down);
    assert_eq!(outcome.state, TaskState::Succeeded);
    let words = "inject nmi: not answered, but delivered, no crash seen within 60.0 s";
    assert!(outcome.text.starts_with(words), "{}", outcome.text);
}

#[test]
fn a_machine_that_dumps_and_restarts_after_the_nmi_is_watched_until_then() {
    let restarts = |world: &mut World| {
        written_down(world);
        world.run_for(secs(6));
        world.machine.cause = Some(RestartCause::SoftReset);
    };
    let outcome = nmi(false, restarts);
    let words = "inject nmi: delivered, crash seen: the restart cause changed from power button to soft reset (at ";
    assert!(outcome.text.starts_with(words), "{}", outcome.text);
    // One that shows it in its event log alone.
    let outcome = nmi(false, |world| {
        world.machine.cause = None;
        written_down(world);
        world.run_for(secs(30));
        world
            .machine
            .add_entry(2, "system boot: hard reset", Sign::Restart);
    });
    let words = "inject nmi: delivered, crash seen: event log: system boot: hard reset (at ";
    assert!(outcome.text.starts_with(words), "{}", outcome.text);
}

#[test]
fn a_machine_that_panics_and_stays_so_is_not_said_to_have_restarted() {
    let outcome = nmi(false, |world| {
        written_down(world);
        world
            .machine
            .add_entry(2, "OS stop: run-time critical stop", Sign::Crash);
    });
    let words =
        "inject nmi: delivered, crash seen: event log: OS stop: run-time critical stop (at ";
    assert!(outcome.text.starts_with(words), "{}", outcome.text);
    let words = ", and no restart within 60.0 s; event log: ";
    assert!(outcome.text.contains(words), "{}", outcome.text);
}

#[test]
fn a_machine_that_goes_off_after_an_nmi_is_told_once_and_a_lost_answer_stays_unknown() {
    let goes_off = |world: &mut World| {
        world.run_for(secs(5));
        let now = world.now;
        world.machine.press(Power::Off, now);
    };
    let outcome = nmi(false, goes_off);
    assert_eq!(outcome.power, Some(Power::Off));
    assert_eq!(
        outcome.text.matches("it was off").count(),
        1,
        "{}",
        outcome.text
    );
    let outcome = nmi(true, goes_off);
    assert_eq!(outcome.state, TaskState::Failed);
    let words = "unknown whether it was delivered";
    assert!(outcome.text.contains(words), "{}", outcome.text);
    assert!(
        outcome.text.contains("restart seen: it was off"),
        "{}",
        outcome.text
    );
}

#[test]
fn a_new_request_ends_the_watch_of_an_nmi_and_what_was_seen_till_then_is_told() {
    let mut world = World::begun(Operation::InjectNmi, Power::On);
    while world.times(&Order::Nmi) == 0 {
        assert!(!world.sequence.only_watches());
        world.run_for(Duration::from_millis(10));
    }
    world.run_for(secs(3));
    assert!(world.sequence.only_watches());
    world
        .sequence
        .supersede("bob asked for power off", world.now);
    let outcome = world.outcome();
    assert_eq!(outcome.state, TaskState::Succeeded);
    for words in [
        "accepted, no crash seen within 3.0 s",
        "not watched any longer, because bob asked for power off",
    ] {
        assert!(outcome.text.contains(words), "{}", outcome.text);
    }
}

#[test]
fn a_reset_or_a_cycle_that_only_the_event_log_shows_is_done() {
    for (operation, _) in [&PULSES[1], &PULSES[2]] {
        for lost in [false, true] {
            let mut world = World::begun(*operation, Power::On);
            world.machine.cause = None;
            world.machine.cycles = None;
            if lost {
                world.machine.mishaps = [Mishap::AnswerLost].into();
            }
            world.run_for(secs(3));
            world
                .machine
                .add_entry(1, "system boot: hard reset", Sign::Restart);
            let outcome = world.run_to_end();
            assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
            let words = "event log: system boot: hard reset";
            assert!(outcome.text.contains(words), "{}", outcome.text);
            assert!(outcome.took < secs(25), "{:?}", outcome.took);
        }
    }
}
