//! The readings before anything is sent: the power state (so that a rollback knows where to
//! return), and for a pulse the restart cause and the event log (so that its effect is visible).

use super::clock::Age;
use super::knowledge::{Finding, Knowledge, refused};
use super::phase::{LogMark, Next, Notes, Phase, Question};
use super::{Input, level, pulse, soft};
use crate::bmc::vocabulary::{self, Reading, Report};
use crate::model::{Operation, Power};

/// The first phase after `queued`.
pub(super) fn begin(knowledge: &Knowledge) -> Phase {
    let age = knowledge.clock.age();
    let settings = &knowledge.settings;
    let longest = if knowledge.operation.is_soft() {
        settings.patience.min(settings.change_timeout)
    } else {
        settings.change_timeout
    };
    // A time that the request named has been running since then.
    let latest = Age::default() + settings.nameable(knowledge.operation);
    Phase::Recording {
        until: latest.min(age + longest),
        looks: 0,
        next: Next::At(age),
    }
}

pub(super) fn on(phase: Phase, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
    match (phase, input) {
        (Phase::Recording { until, looks, .. }, Input::Report(report)) => {
            recording(until, looks, report, knowledge)
        }
        (Phase::Recording { .. }, Input::Deadline) => knowledge.fail(&format!(
            "the power state could not be read{}",
            knowledge.and_trouble()
        )),
        (
            Phase::RecordingEvidence {
                until,
                notes,
                asked,
                tries,
                ..
            },
            Input::Report(report),
        ) => noting(until, notes, asked, tries, report, knowledge),
        (
            Phase::LastLook {
                until,
                notes,
                looks,
                ..
            },
            Input::Report(report),
        ) => last_look(until, notes, looks, report, knowledge),
        (
            Phase::Explaining {
                until,
                refusal,
                looks,
                ..
            },
            Input::Report(report),
        ) => explaining(until, refusal, looks, report, knowledge),
        (Phase::RecordingEvidence { .. } | Phase::LastLook { .. }, Input::Deadline) => knowledge
            .fail(&format!(
                "the BMC could not be read any more, so that it was not sent{}",
                knowledge.and_trouble()
            )),
        (Phase::Explaining { refusal, .. }, Input::Deadline) => knowledge.fail(&refused(&refusal)),
        // Before a pulse a node that somebody switched off is looked at once more.
        (mut phase, Input::Observed(power)) => {
            if let Phase::RecordingEvidence { notes, .. } = &mut phase {
                notes.unsure |= power == Power::Off;
            }
            phase
        }
        (phase, _) => phase,
    }
}

/// The first reading.
fn recording(until: Age, looks: u32, report: &Report, knowledge: &mut Knowledge) -> Phase {
    match knowledge.take_reading(report) {
        Finding::Read(power) => recorded(power, until, knowledge),
        Finding::Nothing => Phase::Recording {
            until,
            looks: looks + 1,
            next: Next::At(knowledge.clock.age() + knowledge.settings.look_pause(looks)),
        },
        Finding::Hopeless(why) => knowledge.fail(&why),
    }
}

/// The reading before a pulse leaves.
fn last_look(
    until: Age,
    notes: Notes,
    looks: u32,
    report: &Report,
    knowledge: &mut Knowledge,
) -> Phase {
    let age = knowledge.clock.age();
    match knowledge.take_reading(report) {
        Finding::Read(Power::On) => Phase::Pulsing {
            until,
            notes,
            refusals: 0,
            next: Next::At(age),
        },
        Finding::Read(Power::Off) => refuse_off(knowledge),
        Finding::Nothing => Phase::LastLook {
            until,
            notes,
            looks: looks + 1,
            next: Next::At(age + knowledge.settings.look_pause(looks)),
        },
        Finding::Hopeless(why) => knowledge.fail(&why),
    }
}

/// The reading that says why a pulse was refused.
fn explaining(
    until: Age,
    refusal: vocabulary::Refusal,
    looks: u32,
    report: &Report,
    knowledge: &mut Knowledge,
) -> Phase {
    let age = knowledge.clock.age();
    match knowledge.take_reading(report) {
        Finding::Read(Power::Off) => refuse_off(knowledge),
        Finding::Read(Power::On) => knowledge.fail(&format!(
            "the node is on, but the BMC will not: {}",
            refused(&refusal)
        )),
        Finding::Nothing => Phase::Explaining {
            until,
            refusal,
            looks: looks + 1,
            next: Next::At(age + knowledge.settings.look_pause(looks)),
        },
        Finding::Hopeless(why) => knowledge.fail(&why),
    }
}

/// The power state is known: what is to be done?
fn recorded(power: Power, until: Age, knowledge: &mut Knowledge) -> Phase {
    match (knowledge.operation, power) {
        (Operation::PowerOn, _) => level::forward(Power::On, power, knowledge),
        (Operation::PowerOff | Operation::Reboot, _) => {
            level::forward(Power::Off, power, knowledge)
        }
        (Operation::SoftPowerOff | Operation::SoftReboot, _) => soft::begin(power, knowledge),
        // Asked for as a way to boot it: what is off is switched on.
        (Operation::Reset | Operation::Cycle, Power::Off) if knowledge.settings.on_if_off => {
            level::forward(Power::On, power, knowledge)
        }
        // One reading is not believed: the last look decides about a node that was read off.
        (Operation::InjectNmi | Operation::Reset | Operation::Cycle, _) => {
            Phase::RecordingEvidence {
                until,
                notes: Notes {
                    unsure: power == Power::Off,
                    ..Notes::default()
                },
                asked: Question::Cause,
                tries: 0,
                next: Next::At(knowledge.clock.age()),
            }
        }
    }
}

/// A pulse into a node that is off does nothing, or something else than was meant.
fn refuse_off(knowledge: &Knowledge) -> Phase {
    knowledge.fail(&format!("the node is {}", Power::Off))
}

fn noting(
    until: Age,
    mut notes: Notes,
    asked: Question,
    tries: u32,
    report: &Report,
    knowledge: &Knowledge,
) -> Phase {
    let age = knowledge.clock.age();
    let again = |notes: Notes| Phase::RecordingEvidence {
        until,
        notes,
        asked,
        tries: tries + 1,
        next: Next::At(age + knowledge.settings.look_pause(tries)),
    };
    let following = match (asked, report) {
        (_, Report::Accepted(reading)) => noted(asked, reading, &mut notes),
        (_, Report::Refused(refusal)) if refusal.kind == vocabulary::RefusalKind::Updating => {
            return knowledge.fail(&refused(refusal));
        }
        (_, Report::Refused(refusal))
            if refusal.kind == vocabulary::RefusalKind::Busy && tries < MOST_TRIES =>
        {
            return again(notes);
        }
        (_, Report::Unanswered(silence)) if knowledge.is_hopeless(silence) => {
            return knowledge.fail(&silence.text);
        }
        (_, Report::Unanswered(_)) if tries < MOST_TRIES => {
            // A BMC that was silent may have missed a change of the power:
            // look once more before the pulse.
            notes.unsure = true;
            return again(notes);
        }
        (_, Report::Refused(_) | Report::Unanswered(_)) => unsaid(asked),
    };
    match following {
        Some(asked) => Phase::RecordingEvidence {
            until,
            notes,
            asked,
            tries: 0,
            next: Next::At(age),
        },
        // A pulse into a machine that is off does nothing, or something else than was meant.
        None if notes.unsure => Phase::LastLook {
            until,
            notes,
            looks: 0,
            next: Next::At(age),
        },
        None => pulse::send(until, notes, age),
    }
}

/// Takes note of what the BMC said; what to ask next.
fn noted(asked: Question, reading: &Reading, notes: &mut Notes) -> Option<Question> {
    match (asked, reading) {
        (Question::Cause, Reading::RestartCause(cause)) => {
            notes.cause = Some(*cause);
            Some(Question::LogInfo)
        }
        (
            Question::LogInfo,
            Reading::EventLogInfo {
                entries,
                last_added,
            },
        ) => {
            notes.log = Some(LogMark {
                entries: *entries,
                last_added: *last_added,
                last: None,
                complete: true,
            });
            (*entries > 0).then_some(Question::LogEntry {
                id: LAST_ENTRY,
                walked: 0,
            })
        }
        (Question::LogEntry { .. }, Reading::EventLogEntry(entry)) => {
            if let Some(mark) = &mut notes.log {
                mark.last = Some(entry.id);
            }
            None
        }
        (asked, _) => unsaid(asked),
    }
}

/// What to ask after a question that the BMC does not answer: the pulse is sent without that mark.
fn unsaid(asked: Question) -> Option<Question> {
    match asked {
        Question::Cause => Some(Question::LogInfo),
        Question::Power | Question::LogInfo | Question::LogEntry { .. } => None,
    }
}

/// The record id that stands for the last entry of the event log.
const LAST_ENTRY: u16 = 0xFFFF;
/// Repetitions of a question that is only asked for the record.
const MOST_TRIES: u32 = 1;
