//! Pulses: a cycle, a reset or an NMI leaves at most once per task. What became of an unanswered one is found by
//! looking, and where that cannot tell, the outcome says so.

use super::Input;
use super::clock::Age;
use super::knowledge::{Finding, Knowledge, refused};
use super::phase::{Fate, Next, Notes, Phase, Question, Signs};
use crate::bmc::vocabulary::{Delivery, Power, Reading, RefusalKind, Report, RestartCause};
use crate::power::Operation;
use crate::power::outcome::{is_ambiguous, seconds};
use crate::power::settings::backoff;
use std::time::Duration;

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
                    let seen = seen_since(&notes, knowledge);
                    let held = age.since(since) >= steady(seen, knowledge);
                    if held && fate.is_arrived() && is_done(seen, knowledge) {
                        return done(&fate, seen, knowledge);
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
                        next: Next::At(age + pause(looks, knowledge)),
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
            let pause = pause(looks, knowledge);
            // The moment at which "on" has held long enough is looked at, where it is still to come.
            let seen = seen_since(&notes, knowledge);
            let steady = on_since.map(|since| since + steady(seen, knowledge));
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
        (Phase::Judging { fate, notes, .. }, Input::Deadline) => match fate {
            Fate::Accepted
                if knowledge.operation == Operation::Cycle
                    && knowledge.power == Some(Power::On)
                    && knowledge.is_fresh()
                    && seen_since(&notes, knowledge) == Seen::Nothing =>
            {
                let time = seconds(knowledge.settings.change_timeout);
                knowledge.fail(&format!(
                    "it was accepted, but the node was never seen off within {time}{}",
                    knowledge.and_trouble()
                ))
            }
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
    if knowledge.operation == Operation::InjectNmi {
        return Phase::NmiWatching {
            until: age + knowledge.settings.nmi_watch,
            notes,
            fate,
            signs: Signs::default(),
            looks: 1,
            asked: Question::Power,
            next: Next::At(age + knowledge.settings.look_pause(0)),
        };
    }
    let next = Next::At(age + pause(0, knowledge));
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
    let (asked, next, looks) = if notes.cause.is_some() && !is_early(knowledge) {
        (Question::Cause, age, looks)
    } else {
        let next = age + pause(looks, knowledge);
        (Question::Power, next, looks.saturating_add(1))
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

/// What shows that the pulse did something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    Nothing,
    /// Another restart cause, which some BMCs write down before they act.
    Cause,
    /// The node was off.
    Off,
}

/// What was seen since the pulse left.
fn seen_since(notes: &Notes, knowledge: &Knowledge) -> Seen {
    let mut seen = Seen::Nothing;
    for sent in knowledge.since_pulse() {
        match &sent.answer {
            Some((_, Report::Accepted(Reading::Power(Power::Off)))) => return Seen::Off,
            Some((_, Report::Accepted(Reading::RestartCause(now))))
                if changed_cause(notes, *now).is_some() =>
            {
                seen = Seen::Cause;
            }
            _ => {}
        }
    }
    seen
}

/// Whether "on" that has held is the end: a machine that was never seen off has not been through a cycle. A reset need
/// not show.
fn is_done(seen: Seen, knowledge: &Knowledge) -> bool {
    seen != Seen::Nothing || knowledge.operation != Operation::Cycle
}

/// Whether the pulse was answered a moment ago (it may have waited for its turn before it left): a machine may be off
/// for half a second only, so that nothing but the power is read, and often.
fn is_early(knowledge: &Knowledge) -> bool {
    let mut since = knowledge.since_pulse();
    let left = since.next().map(|sent| {
        let answered = sent.answer.as_ref();
        answered.map_or(sent.at, |(answered, _)| *answered)
    });
    left.is_some_and(|at| knowledge.clock.since_begin().saturating_sub(at) < EARLY)
}

/// The pause before the next look.
fn pause(looks: u32, knowledge: &Knowledge) -> Duration {
    let patient = knowledge.settings.look_pause(looks);
    if is_early(knowledge) {
        patient.min(EARLY_PAUSE)
    } else {
        // The many looks at the beginning do not count for its patience.
        let early = u32::try_from(EARLY.as_millis() / EARLY_PAUSE.as_millis()).unwrap_or(0);
        knowledge.settings.look_pause(looks.saturating_sub(early))
    }
}

fn done(fate: &Fate, seen: Seen, knowledge: &Knowledge) -> Phase {
    if (seen, fate) == (Seen::Nothing, &Fate::Accepted) {
        return knowledge.succeed(&format!(
            "{} accepted; nothing shows that the machine restarted, read on at {}",
            knowledge.operation.name(),
            knowledge.at()
        ));
    }
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
fn steady(seen: Seen, knowledge: &Knowledge) -> Duration {
    let confirm = knowledge.settings.confirm_after;
    match (seen, knowledge.operation) {
        (Seen::Off, _) => confirm,
        (Seen::Cause, operation) if operation != Operation::Cycle => confirm,
        (Seen::Cause | Seen::Nothing, _) => knowledge.settings.settle.max(confirm),
    }
}

/// For so long after the pulse every look is early.
const EARLY: Duration = Duration::from_secs(5);
const EARLY_PAUSE: Duration = Duration::from_millis(250);

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
