//! Pulses: a cycle, a reset or an NMI leaves at most once per task. What became of an unanswered one is found by
//! looking, and where that cannot tell, the outcome says so.

use super::Input;
use super::clock::Age;
use super::knowledge::{Finding, Knowledge, is_ambiguous, refused};
use super::phase::{Fate, Next, Notes, Phase, Question, Signs};
use crate::bmc::vocabulary::{Delivery, Power, Reading, RefusalKind, Report, RestartCause};
use crate::power::Operation;
use crate::power::settings::backoff;

/// Sends the pulse now.
pub(super) fn send(until: Age, notes: Notes, age: Age) -> Phase {
    Phase::Pulsing {
        until,
        notes,
        refusals: 0,
        next: Next::At(age),
    }
}

/// The pulse of a [`Phase::Pulsing`] may have arrived although no answer is awaited any more.
pub(super) fn after_possible_arrival(phase: Phase, knowledge: &Knowledge) -> Phase {
    match phase {
        Phase::Pulsing { until, notes, .. } => {
            let why = "its answer was not awaited".to_owned();
            watch(until, notes, Fate::Unknown { why }, knowledge)
        }
        phase => phase,
    }
}

pub(super) fn on(phase: Phase, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
    let age = knowledge.clock.age();
    match (phase, input) {
        (
            Phase::Pulsing {
                until,
                notes,
                refusals,
                ..
            },
            Input::Report(report),
        ) => pulsed(until, notes, refusals, report, knowledge),
        (
            Phase::Pulsing {
                until,
                notes,
                next: Next::At(_),
                ..
            },
            Input::Observed(Power::Off),
        ) => Phase::LastLook {
            until,
            notes,
            looks: 0,
            next: Next::At(age),
        },
        (Phase::Pulsing { until, notes, .. }, Input::Deadline) => {
            if !knowledge.pulse_handed() {
                let what = match knowledge.was_refused() {
                    true => "it was refused until its time was over",
                    false => "it could not be sent",
                };
                return knowledge.fail(&format!("{what}{}", knowledge.and_trouble()));
            }
            let why = "no answer in time".to_owned();
            watch(until, notes, Fate::Unknown { why }, knowledge)
        }
        (
            Phase::Judging {
                until,
                notes,
                fate,
                looks,
                on_since,
                asked: Question::Power,
                ..
            },
            Input::Report(report),
        ) => {
            let (fate, on_since) = match knowledge.take_reading(report) {
                Finding::Read(Power::On) => {
                    let since = on_since.unwrap_or(age);
                    if age.since(since) >= steady(knowledge) && fate.is_arrived() {
                        return done(&fate, knowledge);
                    }
                    (fate, Some(since))
                }
                Finding::Read(Power::Off) => {
                    knowledge.remark(format!("at {} it was off", knowledge.at()));
                    (shown(fate, "the node was off for a while"), None)
                }
                // A BMC that says nothing about the power says nothing about the rest.
                Finding::Nothing => {
                    return Phase::Judging {
                        until,
                        notes,
                        fate,
                        looks: looks.saturating_add(1),
                        on_since,
                        asked: Question::Power,
                        next: Next::At(age + knowledge.settings.look_pause(looks)),
                    };
                }
                Finding::Hopeless(why) => return knowledge.fail(&why),
            };
            look_on(until, notes, fate, looks, on_since, knowledge)
        }
        (
            Phase::Judging {
                until,
                notes,
                fate,
                looks,
                on_since,
                ..
            },
            Input::Report(report),
        ) => {
            let change = match report {
                Report::Accepted(Reading::RestartCause(now)) => changed_cause(&notes, *now),
                _ => None,
            };
            let fate = match change {
                Some(change) => {
                    knowledge.remark(change.clone());
                    shown(fate, &change)
                }
                None => fate,
            };
            let pause = knowledge.settings.look_pause(looks);
            // The moment at which "on" has held long enough is looked at, where it is still to come.
            let steady = on_since.map(|since| since + steady(knowledge));
            let at = steady
                .filter(|steady| *steady > age)
                .map_or(age + pause, |steady| steady.min(age + pause));
            Phase::Judging {
                until,
                notes,
                fate,
                looks: looks.saturating_add(1),
                on_since,
                asked: Question::Power,
                next: Next::At(at),
            }
        }
        // An "on" that could not be confirmed may be the one from before: no success.
        (Phase::Judging { fate, .. }, Input::Deadline) => match fate {
            Fate::Accepted | Fate::Shown { .. } => knowledge.fail(&format!(
                "it arrived, but the node was not read on for certain in time{}",
                knowledge.and_trouble()
            )),
            Fate::Unknown { why } => knowledge.fail(&format!("unknown whether it arrived: {why}")),
        },
        (phase, _) => phase,
    }
}

/// The report of the pulse.
fn pulsed(
    until: Age,
    notes: Notes,
    refusals: u32,
    report: &Report,
    knowledge: &Knowledge,
) -> Phase {
    let age = knowledge.clock.age();
    let again = |notes: Notes| Phase::Pulsing {
        until,
        notes,
        refusals: refusals.saturating_add(1),
        next: Next::At(age + backoff(refusals)),
    };
    match report {
        Report::Accepted(_) => watch(until, notes, Fate::Accepted, knowledge),
        Report::Refused(refusal) if is_ambiguous(refusal) => {
            let why = format!("the BMC answered {}", refused(refusal));
            watch(until, notes, Fate::Unknown { why }, knowledge)
        }
        Report::Refused(refusal) => match refusal.kind {
            RefusalKind::Busy | RefusalKind::Doubted => again(notes),
            RefusalKind::NotInPresentState => Phase::Explaining {
                until,
                refusal: refusal.clone(),
                looks: 0,
                next: Next::At(age),
            },
            RefusalKind::Failed
            | RefusalKind::Updating
            | RefusalKind::NotSupported
            | RefusalKind::NotPermitted => {
                knowledge.fail(&format!("it was refused: {}", refused(refusal)))
            }
        },
        Report::Unanswered(silence) if knowledge.is_hopeless(silence) => {
            knowledge.fail(&silence.text)
        }
        Report::Unanswered(silence) => match silence.delivery {
            Delivery::NotSent => again(notes),
            Delivery::Unknown => {
                let why = format!("not answered ({})", silence.text);
                watch(until, notes, Fate::Unknown { why }, knowledge)
            }
        },
    }
}

/// Looks what it did.
fn watch(until: Age, notes: Notes, fate: Fate, knowledge: &Knowledge) -> Phase {
    let age = knowledge.clock.age();
    let next = Next::At(age + knowledge.settings.look_pause(0));
    if knowledge.operation == Operation::InjectNmi {
        return Phase::NmiWatching {
            until: age + knowledge.settings.nmi_watch,
            notes,
            fate,
            signs: Signs::default(),
            looks: 1,
            asked: Question::Power,
            next,
        };
    }
    Phase::Judging {
        until,
        notes,
        fate,
        looks: 1,
        on_since: None,
        asked: Question::Power,
        next,
    }
}

/// After a look at the power that decided nothing: on to the restart cause, or to the next look.
fn look_on(
    until: Age,
    notes: Notes,
    fate: Fate,
    looks: u32,
    on_since: Option<Age>,
    knowledge: &Knowledge,
) -> Phase {
    let age = knowledge.clock.age();
    let (asked, next, looks) = if notes.cause.is_some() {
        (Question::Cause, age, looks)
    } else {
        let pause = knowledge.settings.look_pause(looks);
        (Question::Power, age + pause, looks.saturating_add(1))
    };
    Phase::Judging {
        until,
        notes,
        fate,
        looks,
        on_since,
        asked,
        next: Next::At(next),
    }
}

fn done(fate: &Fate, knowledge: &Knowledge) -> Phase {
    let how = match fate {
        Fate::Shown { how } => format!(" (not answered, but it arrived: {how})"),
        Fate::Accepted | Fate::Unknown { .. } => String::new(),
    };
    knowledge.succeed(&format!(
        "{} done{how}, read back on at {}",
        knowledge.operation.name(),
        knowledge.at()
    ))
}

/// How long "on" must hold: the "on" from before a cycle would not.
fn steady(knowledge: &Knowledge) -> std::time::Duration {
    match knowledge.operation {
        Operation::Cycle => knowledge
            .settings
            .settle
            .max(knowledge.settings.confirm_after),
        _ => knowledge.settings.confirm_after,
    }
}

fn shown(fate: Fate, how: &str) -> Fate {
    match fate {
        Fate::Unknown { .. } => Fate::Shown {
            how: how.to_owned(),
        },
        fate => fate,
    }
}

/// In words, where the restart cause is another one than before the pulse.
pub(super) fn changed_cause(notes: &Notes, now: RestartCause) -> Option<String> {
    let before = notes.cause?;
    (before != now).then(|| {
        format!(
            "the restart cause changed from {} to {}",
            cause_name(before),
            cause_name(now)
        )
    })
}

fn cause_name(cause: RestartCause) -> String {
    match cause {
        RestartCause::Unknown => "unknown".to_owned(),
        RestartCause::ChassisControl => "chassis control".to_owned(),
        RestartCause::ResetButton => "reset button".to_owned(),
        RestartCause::PowerButton => "power button".to_owned(),
        RestartCause::Watchdog => "watchdog".to_owned(),
        RestartCause::AlwaysRestore => "power restored, always on".to_owned(),
        RestartCause::RestorePrevious => "power restored, former state".to_owned(),
        RestartCause::PlatformEventReset => "reset by event filter".to_owned(),
        RestartCause::PlatformEventCycle => "power cycle by event filter".to_owned(),
        RestartCause::SoftReset => "soft reset".to_owned(),
        RestartCause::RealTimeClock => "real-time clock".to_owned(),
        RestartCause::Other(number) => format!("other ({number:02X}h)"),
    }
}
