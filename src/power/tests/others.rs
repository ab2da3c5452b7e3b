//! What something else did to the machine while it is not known whether a pulse arrived: a button, a
//! watchdog, its own operating system, a BMC that was restarted.

use super::world::{Mishap, World, secs};
use crate::bmc::vocabulary::Sign;
use crate::model::{Operation, Power, RestartCause, TaskState};

const RESTARTS: [Operation; 2] = [Operation::Reset, Operation::Cycle];

/// A BMC that was restarted meanwhile has forgotten what started the machine.
#[test]
fn a_restart_cause_that_is_not_known_any_more_shows_nothing() {
    for (operation, lost) in [(Operation::Reset, true), (Operation::Cycle, false)] {
        let mut world = World::begun(operation, Power::On);
        world.machine.cause = Some(RestartCause::ChassisControl);
        world.machine.cycles = None;
        if lost {
            world.machine.mishaps = [Mishap::Lost].into();
        }
        world.run_for(secs(6));
        world.machine.cause = Some(RestartCause::Unknown);
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Failed, "{}", outcome.text);
        assert_eq!(outcome.took, secs(60));
    }
}

/// A machine that crashed before may start again by itself, and somebody may stand before it.
#[test]
fn a_restart_that_something_else_made_does_not_show_that_a_pulse_arrived() {
    let others = [
        RestartCause::SoftReset,
        RestartCause::Watchdog,
        RestartCause::ResetButton,
    ];
    for cause in others {
        for operation in RESTARTS {
            let mut world = World::begun(operation, Power::On);
            world.machine.cause = Some(RestartCause::ChassisControl);
            world.machine.mishaps = [Mishap::Lost].into();
            world.run_for(secs(6));
            world.machine.cause = Some(cause);
            let outcome = world.run_to_end();
            assert_eq!((outcome.state, outcome.error), (TaskState::Failed, false));
            let words = "unknown whether it arrived: ";
            assert!(outcome.text.contains(words), "{}", outcome.text);
            let words = "something else restarted the machine";
            assert!(outcome.text.contains(words), "{}", outcome.text);
            assert!(outcome.text.contains("changed from chassis control to "));
            assert!(outcome.took < secs(30), "{:?}", outcome.took);
        }
    }
}

/// A BMC without a restart cause tells it in its event log, or not at all.
#[test]
fn what_the_event_log_tells_of_something_else_does_not_show_that_a_pulse_arrived() {
    for operation in RESTARTS {
        for (text, sign, by_other) in [
            ("watchdog: hard reset", Sign::Crash, true),
            ("system boot: OS-initiated warm reset", Sign::Restart, true),
            ("button: reset button pressed", Sign::None, true),
            ("OS stop: run-time critical stop", Sign::Crash, false),
        ] {
            let mut world = World::begun(operation, Power::On);
            world.machine.cause = None;
            world.machine.mishaps = [Mishap::Lost].into();
            world.run_for(secs(6));
            world.machine.add_entry_of(1, text, sign, by_other);
            // The start that follows.
            world
                .machine
                .add_entry(2, "system boot: hard reset", Sign::Restart);
            let outcome = world.run_to_end();
            assert_eq!((outcome.state, outcome.error), (TaskState::Failed, false));
            for words in ["unknown whether it arrived: not answered", text] {
                assert!(outcome.text.contains(words), "{}", outcome.text);
            }
            assert!(outcome.took < secs(30), "{:?}", outcome.took);
        }
    }
}

#[test]
fn an_off_that_the_event_log_lays_to_something_else_is_not_the_effect_of_a_pulse() {
    for operation in RESTARTS {
        for (cause, early) in [(true, true), (false, true), (false, false)] {
            let mut world = World::begun(operation, Power::On);
            world.machine.cause = cause.then_some(RestartCause::ChassisControl);
            world.machine.mishaps = [Mishap::Lost].into();
            world.run_for(secs(if early { 5 } else { 12 }));
            let now = world.now;
            world.machine.changes_at(Power::Off, now);
            world.machine.changes_at(Power::On, now + secs(1));
            match cause {
                true => world.machine.cause = Some(RestartCause::PowerButton),
                false => {
                    let text = "button: power button pressed";
                    world.machine.add_entry_of(1, text, Sign::None, true);
                }
            }
            let outcome = world.run_to_end();
            assert_eq!((outcome.state, outcome.error), (TaskState::Failed, false));
            let words = "unknown whether it arrived: not answered";
            assert!(outcome.text.contains(words), "{}", outcome.text);
        }
    }
}

/// It bites machines that hang, whether an interrupt came or not.
#[test]
fn a_watchdog_that_restarts_the_machine_does_not_show_that_an_nmi_was_delivered() {
    for lost in [true, false] {
        let mut world = World::begun(Operation::InjectNmi, Power::On);
        if lost {
            world.machine.mishaps = [Mishap::Lost].into();
        }
        world.run_for(secs(6));
        let text = "watchdog: hard reset";
        world.machine.add_entry_of(1, text, Sign::Crash, true);
        let outcome = world.run_to_end();
        let (state, words) = match lost {
            true => (
                TaskState::Failed,
                "unknown whether it was delivered, restart seen: event log: watchdog: hard reset",
            ),
            false => (
                TaskState::Succeeded,
                "accepted, crash seen: event log: watchdog: hard reset",
            ),
        };
        assert_eq!(outcome.state, state, "{}", outcome.text);
        assert!(outcome.text.contains(words), "{}", outcome.text);
    }
}

/// Machines that start write down what their buses complain about.
#[test]
fn a_crash_after_the_off_of_a_pulse_does_not_take_its_arrival_back() {
    let mut world = World::begun(Operation::Cycle, Power::On);
    world.machine.cause = None;
    world.machine.mishaps = [Mishap::AnswerLost].into();
    world.run_for(secs(6));
    world
        .machine
        .add_entry(1, "critical interrupt: PCI system error", Sign::Crash);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
    assert!(
        outcome.text.contains("it arrived: it was off"),
        "{}",
        outcome.text
    );
}
