//! What shows that a pulse did something, beside the power: the restart cause and the new entries
//! of the event log, read one after the other in rounds. What follows from it is decided in `pulse`
//! (reset, cycle) and `nmi`.

use super::knowledge::Knowledge;
use super::phase::{LogMark, Notes, Question, Restart, Signs};
use crate::bmc::vocabulary::{EventLogEntry, Reading, Report, Sign};
use crate::model::{Power, RestartCause};

/// What was known before the pulse, and what was seen since.
pub(super) struct Evidence<'a> {
    pub(super) notes: &'a mut Notes,
    pub(super) signs: &'a mut Signs,
    /// What the last answer says of something else that acted on the machine.
    pub(super) other: Option<Other>,
}

/// What happened to the machine, in words, and is no work of a chassis control.
pub(super) enum Other {
    /// Something else restarted it, or switched it off.
    Acted(String),
    /// It crashed. What follows may be the crash's, what was seen before is not.
    Crashed(String),
}

impl Evidence<'_> {
    /// The power was read: what is asked next in this round, `None` where it is over.
    pub(super) fn after_power(&self) -> Option<Question> {
        match self.notes.cause.is_some() {
            true => Some(Question::Cause),
            false => self.after_cause(),
        }
    }

    fn after_cause(&self) -> Option<Question> {
        self.notes.log.is_some().then_some(Question::LogInfo)
    }

    /// The power was read as `power`, and as `before` the time before.
    pub(super) fn take_power(
        &mut self,
        power: Power,
        before: Option<Power>,
        knowledge: &Knowledge,
    ) {
        match (power, before) {
            (Power::Off, Some(Power::Off)) | (Power::On, _) => {}
            (Power::Off, _) => self.restarts(Restart::Off, "it was off", knowledge),
        }
    }

    /// An answer to anything but the power: what is asked next in this round, `None` where it is
    /// over.
    pub(super) fn answered(
        &mut self,
        asked: Question,
        report: &Report,
        knowledge: &Knowledge,
    ) -> Option<Question> {
        match asked {
            Question::Power => self.after_power(),
            Question::Cause => {
                if let Report::Accepted(Reading::RestartCause(now)) = report
                    && let Some(change) = changed_cause(self.notes, *now)
                {
                    self.restarts(Restart::Cause, &change, knowledge);
                    self.notes.cause = Some(*now);
                    if now.is_by_other() {
                        let words = "something else restarted the machine";
                        self.other = Some(Other::Acted(words.to_owned()));
                    }
                }
                self.after_cause()
            }
            Question::LogInfo => self.log_info(report),
            Question::LogEntry { id, walked } => self.log_entry(id, walked, report, knowledge),
        }
    }

    fn log_info(&mut self, report: &Report) -> Option<Question> {
        let (
            Some(mark),
            Report::Accepted(Reading::EventLogInfo {
                entries,
                last_added,
            }),
        ) = (self.notes.log, report)
        else {
            return None;
        };
        // Each entry costs the BMC a command (rule 10): where none is new, none is read.
        if mark.complete && (mark.entries, mark.last_added) == (*entries, *last_added) {
            return None;
        }
        // A log that was emptied has no entry that we know.
        let last = mark.last.filter(|_| *entries >= mark.entries);
        self.notes.log = Some(LogMark {
            entries: *entries,
            last_added: *last_added,
            last,
            complete: *entries == 0,
        });
        let id = last.unwrap_or(FIRST_ENTRY);
        (*entries > 0).then_some(Question::LogEntry { id, walked: 0 })
    }

    fn log_entry(
        &mut self,
        id: u16,
        walked: u16,
        report: &Report,
        knowledge: &Knowledge,
    ) -> Option<Question> {
        let Report::Accepted(Reading::EventLogEntry(entry)) = report else {
            // The entry that we knew is gone: from the first one on.
            let gone = matches!(report, Report::Refused(_)) && id != FIRST_ENTRY && walked == 0;
            return gone.then_some(Question::LogEntry {
                id: FIRST_ENTRY,
                walked: 1,
            });
        };
        let known = self.notes.log.and_then(|mark| mark.last) == Some(entry.id);
        if !known {
            self.take_entry(entry, knowledge);
        }
        if let Some(mark) = &mut self.notes.log {
            mark.last = Some(entry.id);
            mark.complete = entry.next == NO_ENTRY;
        }
        // A long log goes on in the next round, so that the power is looked at in between.
        let more = entry.next != NO_ENTRY && walked < MOST_WALKED;
        more.then_some(Question::LogEntry {
            id: entry.next,
            walked: walked + 1,
        })
    }

    fn take_entry(&mut self, entry: &EventLogEntry, knowledge: &Knowledge) {
        let text = format!("event log: {}", entry.text);
        self.other = match (entry.by_other, entry.sign) {
            (true, _) => Some(Other::Acted(format!(
                "something else acted on the machine ({text})"
            ))),
            (false, Sign::Crash) => Some(Other::Crashed(format!("the machine crashed ({text})"))),
            (false, _) => None,
        };
        match entry.sign {
            // A watchdog need not have bitten for an interrupt.
            Sign::Crash if entry.by_other => self.restarts(Restart::Entry, &text, knowledge),
            Sign::Crash => {
                self.signs.crash = true;
                self.effect(&text, knowledge);
            }
            Sign::Restart => self.restarts(Restart::Entry, &text, knowledge),
            Sign::Interrupt => {
                let delivered = format!("{text} (at {})", knowledge.at());
                self.signs.delivered.get_or_insert(delivered);
            }
            Sign::None if self.signs.entries.len() < MOST_SIGNS => {
                self.signs.entries.push(entry.text.clone());
            }
            Sign::None => {}
        }
    }

    fn restarts(&mut self, how: Restart, what: &str, knowledge: &Knowledge) {
        self.signs.restart = self.signs.restart.max(how);
        self.effect(what, knowledge);
    }

    fn effect(&mut self, what: &str, knowledge: &Knowledge) {
        if self.signs.effects.len() < MOST_SIGNS {
            let at = knowledge.at();
            self.signs.effects.push(format!("{what} (at {at})"));
        }
    }
}

/// How the restart cause changed, in words, where it is another one than before the pulse. A BMC
/// that was itself restarted since does not know any more: that tells nothing of the machine.
fn changed_cause(notes: &Notes, now: RestartCause) -> Option<String> {
    let before = notes.cause?;
    (before != now && now != RestartCause::Unknown).then(|| {
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

/// Record ids with a meaning (§31.5): "the first one", and "there is no next one".
const FIRST_ENTRY: u16 = 0;
const NO_ENTRY: u16 = 0xFFFF;
/// Entries that are read in one round.
const MOST_WALKED: u16 = 16;
const MOST_SIGNS: usize = 8;
