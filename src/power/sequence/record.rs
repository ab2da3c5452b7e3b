//! The readings before anything is sent: the power state (so that a rollback knows where to
//! return), and for a pulse the restart cause and the event log (so that its effect is visible).

use super::clock::Age;
use super::knowledge::{Finding, Knowledge, refused};
use super::phase::{
    Explaining, LastLook, LogMark, Next, Notes, Phase, Pulsing, Question, Recording,
    RecordingEvidence,
};
use super::{Input, level, soft};
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
    Recording {
        until: latest.min(age + longest),
        looks: 0,
        next: Next::At(age),
    }
    .into()
}

impl Recording {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => self.answered(report, knowledge),
            Input::Observed(_) => self.into(),
            Input::Deadline => knowledge.fail(&format!(
                "the power state could not be read{}",
                knowledge.and_trouble()
            )),
        }
    }

    /// The first reading.
    fn answered(self, report: &Report, knowledge: &mut Knowledge) -> Phase {
        match knowledge.take_reading(report) {
            Finding::Read(power) => recorded(power, self.until, knowledge),
            Finding::Nothing => Self {
                looks: self.looks + 1,
                next: knowledge.next_look(self.looks),
                ..self
            }
            .into(),
            Finding::Hopeless(why) => knowledge.fail(&why),
        }
    }
}

impl LastLook {
    /// One look before a pulse, now.
    pub(super) fn begin(until: Age, notes: Notes, age: Age) -> Phase {
        let next = Next::At(age);
        Self {
            until,
            notes,
            looks: 0,
            next,
        }
        .into()
    }

    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => self.answered(report, knowledge),
            Input::Observed(_) => self.into(),
            Input::Deadline => unread(knowledge),
        }
    }

    /// The reading before a pulse leaves.
    fn answered(self, report: &Report, knowledge: &mut Knowledge) -> Phase {
        match knowledge.take_reading(report) {
            Finding::Read(Power::On) => {
                Pulsing::begin(self.until, self.notes, knowledge.clock.age())
            }
            Finding::Read(Power::Off) => refuse_off(knowledge),
            Finding::Nothing => Self {
                looks: self.looks + 1,
                next: knowledge.next_look(self.looks),
                ..self
            }
            .into(),
            Finding::Hopeless(why) => knowledge.fail(&why),
        }
    }
}

impl Explaining {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => self.answered(report, knowledge),
            Input::Observed(_) => self.into(),
            Input::Deadline => knowledge.fail(&refused(&self.refusal)),
        }
    }

    /// The reading that says why a pulse was refused.
    fn answered(self, report: &Report, knowledge: &mut Knowledge) -> Phase {
        match knowledge.take_reading(report) {
            Finding::Read(Power::Off) => refuse_off(knowledge),
            Finding::Read(Power::On) => knowledge.fail(&format!(
                "the node is on, but the BMC will not: {}",
                refused(&self.refusal)
            )),
            Finding::Nothing => Self {
                looks: self.looks + 1,
                next: knowledge.next_look(self.looks),
                ..self
            }
            .into(),
            Finding::Hopeless(why) => knowledge.fail(&why),
        }
    }
}

/// A pulse is not sent where nobody could read what it would change.
fn unread(knowledge: &Knowledge) -> Phase {
    knowledge.fail(&format!(
        "the BMC could not be read any more, so that it was not sent{}",
        knowledge.and_trouble()
    ))
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
        (Operation::InjectNmi | Operation::Reset | Operation::Cycle, _) => RecordingEvidence {
            until,
            notes: Notes {
                unsure: power == Power::Off,
                ..Notes::default()
            },
            asked: Question::Cause,
            tries: 0,
            next: Next::At(knowledge.clock.age()),
        }
        .into(),
    }
}

/// A pulse into a node that is off does nothing, or something else than was meant.
fn refuse_off(knowledge: &Knowledge) -> Phase {
    knowledge.fail(&format!("the node is {}", Power::Off))
}

impl RecordingEvidence {
    pub(super) fn on(mut self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => self.answered(report, knowledge),
            // Before a pulse a node that somebody switched off is looked at once more.
            Input::Observed(power) => {
                self.notes.unsure |= power == Power::Off;
                self.into()
            }
            Input::Deadline => unread(knowledge),
        }
    }

    fn answered(mut self, report: &Report, knowledge: &Knowledge) -> Phase {
        let age = knowledge.clock.age();
        let following = match report {
            Report::Accepted(reading) => noted(self.asked, reading, &mut self.notes),
            Report::Refused(refusal) if refusal.kind == vocabulary::RefusalKind::Updating => {
                return knowledge.fail(&refused(refusal));
            }
            Report::Refused(refusal)
                if refusal.kind == vocabulary::RefusalKind::Busy && self.tries < MOST_TRIES =>
            {
                return self.again(knowledge);
            }
            Report::Unanswered(silence) if knowledge.is_hopeless(silence) => {
                return knowledge.fail(&silence.text);
            }
            Report::Unanswered(_) if self.tries < MOST_TRIES => {
                // A BMC that was silent may have missed a change of the power:
                // look once more before the pulse.
                self.notes.unsure = true;
                return self.again(knowledge);
            }
            Report::Refused(_) | Report::Unanswered(_) => unsaid(self.asked),
        };
        match following {
            Some(asked) => Self {
                asked,
                tries: 0,
                next: Next::At(age),
                ..self
            }
            .into(),
            // A pulse into a machine that is off does nothing, or something else than was meant.
            None if self.notes.unsure => LastLook::begin(self.until, self.notes, age),
            None => Pulsing::begin(self.until, self.notes, age),
        }
    }

    /// The same question once more.
    fn again(self, knowledge: &Knowledge) -> Phase {
        Self {
            tries: self.tries + 1,
            next: knowledge.next_look(self.tries),
            ..self
        }
        .into()
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
