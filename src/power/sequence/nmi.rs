//! What an NMI did: the machine is watched for its power state, its restart cause and new entries of its event log.

use super::Input;
use super::clock::Age;
use super::knowledge::{Finding, Knowledge};
use super::phase::{Fate, LogMark, Next, Notes, Phase, Question, Signs};
use super::pulse::changed_cause;
use crate::bmc::vocabulary::{EventLogEntry, Power, Reading, Report};
use crate::power::State;
use crate::power::outcome::seconds;

/// One watch, taken apart so that its rounds read as such.
struct Watch {
    until: Age,
    notes: Notes,
    fate: Fate,
    signs: Signs,
    looks: u32,
}

pub(super) fn on(phase: Phase, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
    let Phase::NmiWatching {
        until,
        notes,
        fate,
        signs,
        looks,
        asked,
        next,
    } = phase
    else {
        return phase;
    };
    let watch = Watch {
        until,
        notes,
        fate,
        signs,
        looks,
    };
    match input {
        Input::Report(report) => watch.answered(asked, report, knowledge),
        Input::Observed(_) => watch.ask(asked, next),
        Input::Deadline => watch.over(knowledge),
    }
}

/// The end of a watch that somebody else's request ends.
pub(super) fn over(phase: Phase, knowledge: &mut Knowledge) -> Phase {
    on(phase, Input::Deadline, knowledge)
}

impl Watch {
    fn ask(self, asked: Question, next: Next) -> Phase {
        Phase::NmiWatching {
            until: self.until,
            notes: self.notes,
            fate: self.fate,
            signs: self.signs,
            looks: self.looks,
            asked,
            next,
        }
    }

    fn ask_now(self, asked: Question, knowledge: &Knowledge) -> Phase {
        let age = knowledge.clock.age();
        self.ask(asked, Next::At(age))
    }

    fn answered(mut self, asked: Question, report: &Report, knowledge: &mut Knowledge) -> Phase {
        match asked {
            Question::Power => match knowledge.take_reading(report) {
                Finding::Read(Power::Off) => {
                    self.effect("it was off".to_owned(), knowledge);
                    self.after_power(knowledge)
                }
                Finding::Read(Power::On) => self.after_power(knowledge),
                // A BMC that says nothing about the power says nothing about the rest.
                Finding::Nothing | Finding::Hopeless(_) => self.end_of_round(knowledge),
            },
            Question::Cause => {
                if let Report::Accepted(Reading::RestartCause(now)) = report
                    && let Some(change) = changed_cause(&self.notes, *now)
                {
                    self.effect(change, knowledge);
                    self.notes.cause = Some(*now);
                }
                self.after_cause(knowledge)
            }
            Question::LogInfo => self.log_info(report, knowledge),
            Question::LogEntry { id, walked } => self.log_entry(id, walked, report, knowledge),
        }
    }

    fn after_power(self, knowledge: &Knowledge) -> Phase {
        if self.notes.cause.is_some() {
            return self.ask_now(Question::Cause, knowledge);
        }
        self.after_cause(knowledge)
    }

    fn after_cause(self, knowledge: &Knowledge) -> Phase {
        if self.notes.log.is_some() {
            return self.ask_now(Question::LogInfo, knowledge);
        }
        self.end_of_round(knowledge)
    }

    fn log_info(mut self, report: &Report, knowledge: &Knowledge) -> Phase {
        let (
            Some(mark),
            Report::Accepted(Reading::EventLogInfo {
                entries,
                last_added,
            }),
        ) = (self.notes.log, report)
        else {
            return self.end_of_round(knowledge);
        };
        if mark.complete && (mark.entries, mark.last_added) == (*entries, *last_added) {
            return self.end_of_round(knowledge);
        }
        // A log that was emptied has no entry that we know.
        let last = mark.last.filter(|_| *entries >= mark.entries);
        self.notes.log = Some(LogMark {
            entries: *entries,
            last_added: *last_added,
            last,
            complete: *entries == 0,
        });
        if *entries == 0 {
            return self.end_of_round(knowledge);
        }
        let id = last.unwrap_or(FIRST_ENTRY);
        self.ask_now(Question::LogEntry { id, walked: 0 }, knowledge)
    }

    fn log_entry(
        mut self,
        id: u16,
        walked: u16,
        report: &Report,
        knowledge: &mut Knowledge,
    ) -> Phase {
        let Report::Accepted(Reading::EventLogEntry(entry)) = report else {
            // The entry that we knew is gone: from the first one on.
            if matches!(report, Report::Refused(_)) && id != FIRST_ENTRY && walked == 0 {
                return self.ask_now(
                    Question::LogEntry {
                        id: FIRST_ENTRY,
                        walked: 1,
                    },
                    knowledge,
                );
            }
            return self.end_of_round(knowledge);
        };
        let known = self.notes.log.and_then(|mark| mark.last) == Some(entry.id);
        if !known {
            self.take_entry(entry, knowledge);
        }
        if let Some(mark) = &mut self.notes.log {
            mark.last = Some(entry.id);
            mark.complete = entry.next == NO_ENTRY;
        }
        if entry.next == NO_ENTRY || walked >= MOST_WALKED {
            return self.end_of_round(knowledge);
        }
        self.ask_now(
            Question::LogEntry {
                id: entry.next,
                walked: walked + 1,
            },
            knowledge,
        )
    }

    fn take_entry(&mut self, entry: &EventLogEntry, knowledge: &Knowledge) {
        if entry.crash {
            self.signs.crash = true;
            self.effect(format!("event log: {}", entry.text), knowledge);
        } else if self.signs.entries.len() < MOST_SIGNS {
            self.signs.entries.push(entry.text.clone());
        }
    }

    fn effect(&mut self, what: String, knowledge: &Knowledge) {
        if self.signs.effects.len() < MOST_SIGNS {
            self.signs
                .effects
                .push(format!("{what} (at {})", knowledge.at()));
        }
    }

    /// All was read once: an effect that was seen ends the watch.
    fn end_of_round(self, knowledge: &Knowledge) -> Phase {
        if !self.signs.effects.is_empty() {
            return self.over(knowledge);
        }
        let pause = knowledge.settings.look_pause(self.looks);
        let next = Next::At(knowledge.clock.age() + pause);
        Watch {
            looks: self.looks.saturating_add(1),
            ..self
        }
        .ask(Question::Power, next)
    }

    fn over(self, knowledge: &Knowledge) -> Phase {
        let events = if self.signs.entries.is_empty() {
            String::new()
        } else {
            format!("; new in the event log: {}", self.signs.entries.join(", "))
        };
        let effects = self.signs.effects.join(", ");
        let seen = if self.signs.effects.is_empty() {
            let watched = seconds(knowledge.settings.nmi_watch);
            format!("no visible effect within {watched}")
        } else {
            effects.clone()
        };
        match self.fate {
            Fate::Accepted if !self.signs.effects.is_empty() => {
                knowledge.succeed(&format!("inject nmi: crash seen: {effects}{events}"))
            }
            Fate::Accepted => knowledge.succeed(&format!(
                "inject nmi: accepted, {seen}{}{events}",
                knowledge.and_trouble()
            )),
            Fate::Unknown { .. } | Fate::Shown { .. } if self.signs.crash => knowledge.succeed(
                &format!("inject nmi: not answered, but a crash was seen: {effects}{events}"),
            ),
            // A machine that is off, or was restarted, need not have had the NMI for it.
            Fate::Unknown { why } | Fate::Shown { how: why } => knowledge.end(
                State::Failed,
                false,
                &format!(
                    "inject nmi: not answered: unknown whether it was delivered ({why}), {seen}{events}"
                ),
            ),
        }
    }
}

/// Record ids with a meaning: "the first one", and "there is no next one".
const FIRST_ENTRY: u16 = 0;
const NO_ENTRY: u16 = 0xFFFF;
/// Entries that are read in one round.
const MOST_WALKED: u16 = 16;
const MOST_SIGNS: usize = 8;
