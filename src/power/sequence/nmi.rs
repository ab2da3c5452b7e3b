//! What an NMI did. That it was delivered and that the machine crashed are two things: many BMCs
//! write the interrupt down themselves, also where no operating system heeds it. The machine is
//! watched for the whole of its time, because a dump takes a while before it restarts.

use super::Input;
use super::clock::Age;
use super::evidence::Evidence;
use super::knowledge::{Finding, Knowledge};
use super::phase::{Fate, Next, Phase, Question, Restart};
use crate::bmc::vocabulary::Report;
use crate::model::TaskState;
use crate::power::outcome::seconds;

/// One watch, taken apart so that its rounds read as such.
struct Watch {
    until: Age,
    evidence: Evidence,
    fate: Fate,
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
        evidence: Evidence { notes, signs },
        fate,
        looks,
    };
    match input {
        Input::Report(report) => watch.answered(asked, report, knowledge),
        // A reading of the power alone tells little: the rounds of the
        // watch read cause and log as well.
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
            notes: self.evidence.notes,
            fate: self.fate,
            signs: self.evidence.signs,
            looks: self.looks,
            asked,
            next,
        }
    }

    fn answered(mut self, asked: Question, report: &Report, knowledge: &mut Knowledge) -> Phase {
        let before = knowledge.power;
        let more = match asked {
            Question::Power => match knowledge.take_reading(report) {
                Finding::Read(power) => {
                    self.evidence.take_power(power, before, knowledge);
                    self.evidence.after_power()
                }
                // A BMC that says nothing about the power says nothing about the rest.
                Finding::Nothing | Finding::Hopeless(_) => None,
            },
            asked => self.evidence.answered(asked, report, knowledge),
        };
        let age = knowledge.clock.age();
        if let Some(asked) = more {
            return self.ask(asked, Next::At(age));
        }
        let pause = knowledge.settings.look_pause(self.looks);
        self.looks = self.looks.saturating_add(1);
        self.ask(Question::Power, Next::At(age + pause))
    }

    fn over(self, knowledge: &Knowledge) -> Phase {
        let events = match self.evidence.signs.entries.as_slice() {
            [] => String::new(),
            entries => format!("; new in the event log: {}", entries.join(", ")),
        };
        // A new request may end the watch early, and the outcome says
        // how long it really was (rule 8).
        let left = self.until.since(knowledge.clock.age());
        let watched = seconds(knowledge.settings.nmi_watch.saturating_sub(left));
        let seen = format!("{}{}", self.seen(&watched), knowledge.and_trouble());
        let signs = &self.evidence.signs;
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
        self.fate == Fate::Accepted || self.evidence.signs.delivered.is_some()
    }

    /// What the machine was seen to do.
    fn seen(&self, watched: &str) -> String {
        let signs = &self.evidence.signs;
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
            (false, false) => match (self.evidence.notes.cause, self.evidence.notes.log) {
                (None, None) => format!(
                    "it stayed on for {watched} (its BMC tells neither a restart cause nor of events)"
                ),
                _ => format!("no crash seen within {watched}"),
            },
        }
    }
}
