//! Progress in words and figures, read off the phase.

use super::Sequence;
use super::sequence::Age;
use super::sequence::phase::{
    Aim, Phase, Question, RecordingEvidence, SoftWaiting, Switching, Then, Watching, Withdrawing,
};
use crate::model::Operation;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How far a sequence is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing, in words, with the trouble that it meets.
    pub phase: String,
    /// Step of [`steps`](Self::steps), from 1; 0 while queued.
    pub step: u32,
    /// How many steps its operation (or its rollback) has.
    pub steps: u32,
    /// Time since the request, waits and suspensions included.
    pub elapsed: Duration,
    /// How much of that it waited for its turn: in the queue, or with a step for a place or the
    /// distance to another one.
    pub waited: Duration,
    /// The longest that it can still take if nothing more is done to it; `None` while it stands
    /// still and when it has ended.
    pub time_left: Option<Duration>,
}

impl Sequence {
    /// How far it is at `now`.
    pub fn progress(&self, now: crate::time::Instant) -> Progress {
        let clock = self.clock_at(now);
        let (step, steps) = self.step_of();
        Progress {
            phase: self.phase_in_words(),
            step,
            steps,
            elapsed: match self.outcome() {
                Some(outcome) => outcome.took,
                None => clock.elapsed(),
            },
            waited: clock.waited(),
            time_left: self.time_left(clock.age()),
        }
    }

    /// What it is doing, in words, with the trouble that it meets: [`Progress::phase`] alone.
    pub fn phase_in_words(&self) -> String {
        let mut phase = words(&self.phase, self.operation());
        if self.is_held() {
            phase = format!("held back while {phase}");
        }
        if let Some(trouble) = &self.knowledge.trouble
            && self.outcome().is_none()
        {
            phase.push_str(&format!(" (last: {trouble})"));
        }
        phase
    }

    /// Step k of n: [`Progress::step`] and [`Progress::steps`] alone.
    pub fn step_of(&self) -> (u32, u32) {
        steps(&self.phase, self.operation())
    }

    fn time_left(&self, age: Age) -> Option<Duration> {
        if self.is_held() {
            return None;
        }
        let settings = self.settings();
        let switch_on = settings
            .min_off_time
            .saturating_add(settings.change_timeout);
        let after = match (&self.phase, self.operation()) {
            // A time that the request named runs on while a hold keeps the task (rule 6).
            (Phase::Suspended(_), operation) if self.deadline().is_some() => {
                return Some(settings.longest(operation).saturating_sub(age.into()));
            }
            (Phase::Ended(_) | Phase::Suspended(_), _) => return None,
            (Phase::MinOffTime(_), _) => settings.change_timeout,
            (
                Phase::Switching(Switching { leg, .. }) | Phase::Watching(Watching { leg, .. }),
                operation,
            ) => match (&leg.aim, operation) {
                (Aim::OffThenOn, _) | (Aim::Escalated, Operation::SoftReboot) => switch_on,
                _ => Duration::ZERO,
            },
            // Before the end of the whole: what the operation may take from its beginning.
            (
                Phase::Queued
                | Phase::Recording(_)
                | Phase::RecordingEvidence(_)
                | Phase::LastLook(_),
                operation,
            )
            | (Phase::SoftPressing(_) | Phase::SoftWaiting(_) | Phase::Pulsing(_), operation) => {
                let run = age.since(Default::default());
                return Some(settings.longest(operation).saturating_sub(run));
            }
            // The machine may go down at the last moment, and is then switched on again.
            (Phase::AwaitingShutdown(_), _) => switch_on.saturating_add(settings.settle),
            (
                Phase::Withdrawing(Withdrawing {
                    then: Then::Rollback { .. },
                    ..
                }),
                _,
            ) => return Some(settings.longest_rollback()),
            (
                Phase::Observing(_)
                | Phase::NmiWatching(_)
                | Phase::Explaining(_)
                | Phase::Withdrawing(_),
                _,
            ) => Duration::ZERO,
        };
        let until = self.phase.until()?;
        Some(until.since(age).saturating_add(after))
    }
}

/// What a phase does, in words.
fn words(phase: &Phase, operation: Operation) -> String {
    match phase {
        Phase::Queued => "queued".to_owned(),
        Phase::Recording(_) => "reading the power state".to_owned(),
        Phase::SoftPressing(_) => "asking the operating system to shut down".to_owned(),
        Phase::SoftWaiting(SoftWaiting { seen: Some(_), .. }) => {
            "confirming that it is off".to_owned()
        }
        Phase::SoftWaiting(_) => "waiting for the operating system to shut down".to_owned(),
        Phase::Switching(Switching { leg, .. }) => match leg.aim {
            Aim::Return { .. } => format!("switching {} again", leg.to),
            Aim::Escalated => "switching off hard".to_owned(),
            Aim::Final | Aim::OffThenOn => format!("switching {}", leg.to),
        },
        Phase::Watching(Watching {
            leg, seen: Some(_), ..
        }) => format!("confirming that it is {}", leg.to),
        Phase::Watching(Watching { leg, .. }) => format!("waiting until it is {}", leg.to),
        Phase::MinOffTime(_) => "waiting for the minimum off time".to_owned(),
        Phase::RecordingEvidence(RecordingEvidence {
            asked: Question::Cause,
            ..
        }) => "reading the restart cause".to_owned(),
        Phase::RecordingEvidence(_) => "reading the event log".to_owned(),
        Phase::LastLook(_) => {
            format!("reading the power state before the {}", noun(operation))
        }
        Phase::Pulsing(_) => format!("sending {}", noun(operation)),
        Phase::Observing(_) => format!("looking what the {} did", noun(operation)),
        Phase::NmiWatching(_) => "watching what the NMI does".to_owned(),
        Phase::Explaining(_) => "refused, reading the power state".to_owned(),
        Phase::AwaitingShutdown(_) => "rolling back: watching whether it goes down".to_owned(),
        Phase::Suspended(phase) => {
            format!("suspended while {}", words(&phase.inner, operation))
        }
        Phase::Withdrawing(_) => "withdrawing the outstanding order".to_owned(),
        Phase::Ended(outcome) => outcome.state.name().to_owned(),
    }
}

/// An operation that is one order, as people speak of that.
fn noun(operation: Operation) -> &'static str {
    match operation {
        Operation::InjectNmi => "NMI",
        operation => operation.name(),
    }
}

/// Step k of n.
fn steps(phase: &Phase, operation: Operation) -> (u32, u32) {
    let steps = match operation {
        Operation::PowerOn | Operation::PowerOff | Operation::SoftPowerOff => 3,
        Operation::Reboot | Operation::SoftReboot => 6,
        Operation::Reset | Operation::Cycle | Operation::InjectNmi => 4,
    };
    let on_again = |forward: u32| {
        if matches!(operation, Operation::Reboot | Operation::SoftReboot) {
            forward + 3
        } else {
            forward
        }
    };
    let step = match phase {
        Phase::Queued => 0,
        Phase::Suspended(phase) => return self::steps(&phase.inner, operation),
        Phase::Switching(phase) => match phase.leg.aim {
            Aim::Return { .. } => return (2, 3),
            Aim::Final => on_again(2),
            Aim::OffThenOn => 2,
            Aim::Escalated => 3,
        },
        Phase::Watching(phase) => match phase.leg.aim {
            Aim::Return { .. } => return (3, 3),
            Aim::Final => on_again(3),
            Aim::OffThenOn | Aim::Escalated => 3,
        },
        Phase::AwaitingShutdown(_)
        | Phase::Withdrawing(Withdrawing {
            then: Then::Rollback { .. },
            ..
        }) => return (1, 3),
        Phase::Recording(_) => 1,
        Phase::SoftPressing(_) | Phase::RecordingEvidence(_) | Phase::LastLook(_) => 2,
        Phase::SoftWaiting(_) | Phase::Pulsing(_) | Phase::Explaining(_) => 3,
        Phase::MinOffTime(_) => 4,
        Phase::Observing(_) | Phase::NmiWatching(_) => 4,
        Phase::Withdrawing(_) | Phase::Ended(_) => steps,
    };
    (step, steps)
}
