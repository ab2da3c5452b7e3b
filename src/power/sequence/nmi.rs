//! What an NMI did. That it was delivered and that the machine crashed are two things: many BMCs
//! write the interrupt down themselves, also where no operating system heeds it. The machine is
//! watched for the whole of its time, because a dump takes a while before it restarts.

use super::Input;
use super::evidence::Evidence;
use super::knowledge::{Finding, Knowledge};
use super::phase::{Fate, Next, NmiWatching, Phase, Question, Restart};
use crate::bmc::vocabulary::Report;
use crate::model::TaskState;
use crate::power::outcome::seconds;

/// The end of a watch that somebody else's request ends.
pub(super) fn over(phase: Phase, knowledge: &mut Knowledge) -> Phase {
    match phase {
        Phase::NmiWatching(watch) => watch.over(knowledge),
        phase => phase,
    }
}

impl NmiWatching {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => self.answered(report, knowledge),
            // A reading of the power alone tells little: the rounds of the
            // watch read cause and log as well.
            Input::Observed(_) => self.into(),
            Input::Deadline => self.over(knowledge),
        }
    }

    fn evidence(&mut self) -> Evidence<'_> {
        Evidence {
            notes: &mut self.notes,
            signs: &mut self.signs,
            other: None,
        }
    }

    fn answered(mut self, report: &Report, knowledge: &mut Knowledge) -> Phase {
        let before = knowledge.power;
        let more = match self.asked {
            Question::Power => match knowledge.take_reading(report) {
                Finding::Read(power) => {
                    self.evidence().take_power(power, before, knowledge);
                    self.evidence().after_power()
                }
                // A BMC that says nothing about the power says nothing about the rest.
                Finding::Nothing | Finding::Hopeless(_) => None,
            },
            asked => self.evidence().answered(asked, report, knowledge),
        };
        if let Some(asked) = more {
            self.asked = asked;
            self.next = Next::At(knowledge.clock.age());
        } else {
            self.asked = Question::Power;
            self.next = knowledge.next_look(self.looks);
            self.looks = self.looks.saturating_add(1);
        }
        self.into()
    }

    fn over(self, knowledge: &Knowledge) -> Phase {
        let events = match self.signs.entries.as_slice() {
            [] => String::new(),
            entries => format!("; new in the event log: {}", entries.join(", ")),
        };
        // A new request may end the watch early, and the outcome says
        // how long it really was (rule 8).
        let left = self.until.since(knowledge.clock.age());
        let watched = seconds(knowledge.settings.nmi_watch.saturating_sub(left));
        let seen = format!("{}{}", self.seen(&watched), knowledge.and_trouble());
        let signs = &self.signs;
        let answer = knowledge.without_a_word();
        let (end, what) = match (&self.fate, &signs.delivered) {
            // The BMC took it; whether a system heeds it shows in `seen`,
            // and is no failure of the order.
            (Fate::Accepted, None) => (TaskState::Succeeded, format!("accepted, {seen}")),
            (Fate::Accepted, Some(how)) => {
                (TaskState::Succeeded, format!("delivered, {seen}; {how}"))
            }
            (_, Some(how)) => (
                TaskState::Succeeded,
                format!("{answer}, but delivered, {seen}; {how}"),
            ),
            // A new crash entry tells of the NMI although its answer was lost.
            (_, None) if signs.crash => (TaskState::Succeeded, format!("{answer}, but {seen}")),
            // A machine that is off, or was restarted, need not have had the NMI for it.
            (Fate::Unknown { why } | Fate::Shown { how: why }, None) => (
                TaskState::Failed,
                format!("{why}, unknown whether it was delivered, {seen}"),
            ),
        };
        knowledge.end(end, false, &format!("inject nmi: {what}{events}"))
    }

    fn is_known_delivered(&self) -> bool {
        self.fate == Fate::Accepted || self.signs.delivered.is_some()
    }

    /// What the machine was seen to do.
    fn seen(&self, watched: &str) -> String {
        let signs = &self.signs;
        let effects = signs.effects.join(", ");
        match (signs.crash, signs.restart != Restart::NotSeen) {
            (true, false) => {
                format!("crash seen: {effects}, and no restart within {watched}")
            }
            (true, true) => format!("crash seen: {effects}"),
            // Whoever had an NMI does not restart for another reason as a rule; without one anybody
            // may have done it.
            (false, true) if self.is_known_delivered() => format!("crash seen: {effects}"),
            (false, true) => format!("restart seen: {effects}"),
            (false, false) => match (self.notes.cause, self.notes.log) {
                (None, None) => format!(
                    "it stayed on for {watched} (its BMC tells neither a restart cause nor of events)"
                ),
                _ => format!("no crash seen within {watched}"),
            },
        }
    }
}
