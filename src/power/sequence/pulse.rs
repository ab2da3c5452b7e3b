//! Pulses: a cycle, a reset or an NMI leaves at most once per task. What became of an unanswered
//! one is found by looking, and where that cannot tell, the outcome says so.

use super::Input;
use super::clock::Age;
use super::evidence::Evidence;
use super::knowledge::{Finding, Knowledge, refused};
use super::phase::{Fate, Next, Notes, Phase, Question, Restart, Signs};
use crate::bmc::vocabulary::{Reading, RefusalKind, Report};
use crate::model::{Delivery, Operation, Power};
use crate::power::Sent;
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
        (Phase::Pulsing { until, notes, .. }, Input::Deadline) => late(until, notes, knowledge),
        (
            Phase::Observing {
                until,
                notes,
                fate,
                signs,
                looks,
                on_since,
                asked,
                ..
            },
            input @ (Input::Report(_) | Input::Deadline),
        ) => {
            let judge = Judge {
                until,
                evidence: Evidence { notes, signs },
                fate,
                looks,
                on_since,
            };
            match input {
                Input::Report(report) => judge.answered(asked, report, knowledge),
                Input::Observed(_) | Input::Deadline => judge.over(knowledge),
            }
        }
        (phase, _) => phase,
    }
}

/// The time for the pulse is over.
fn late(until: Age, notes: Notes, knowledge: &Knowledge) -> Phase {
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
        // These codes do not say whether it was carried out, and a
        // pulse is not sent twice (rule 2).
        Report::Refused(refusal) if is_ambiguous(refusal) => {
            let why = format!("the BMC answered {}", refused(refusal));
            watch(until, notes, Fate::Unknown { why }, knowledge)
        }
        Report::Refused(refusal) => match refusal.kind {
            // The BMC says that it did not do it, so that the next one is not a second pulse.
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
            // It did not leave, so that the one that follows is the first (rule 2).
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
    Phase::Observing {
        until,
        notes,
        fate,
        signs: Signs::default(),
        looks: 1,
        on_since: None,
        asked: Question::Power,
        next: Next::At(age + pause(0, knowledge)),
    }
}

/// One look at what a reset or a cycle did, taken apart so that its rounds read as such.
struct Judge {
    until: Age,
    evidence: Evidence,
    fate: Fate,
    looks: u32,
    on_since: Option<Age>,
}

impl Judge {
    fn ask(self, asked: Question, at: Age) -> Phase {
        Phase::Observing {
            until: self.until,
            notes: self.evidence.notes,
            fate: self.fate,
            signs: self.evidence.signs,
            looks: self.looks,
            on_since: self.on_since,
            asked,
            next: Next::At(at),
        }
    }

    fn answered(mut self, asked: Question, report: &Report, knowledge: &mut Knowledge) -> Phase {
        let age = knowledge.clock.age();
        let before = knowledge.power;
        let earlier = knowledge.against(Power::On).count();
        let known = self.evidence.signs.effects.len();
        let mut more = None;
        if asked == Question::Power {
            match knowledge.take_reading(report) {
                Finding::Read(Power::On) => {
                    let since = self.on_since.unwrap_or(age);
                    let held = age.since(since) >= self.steady(knowledge);
                    if held && self.fate.is_arrived() && self.is_done(knowledge) {
                        return self.done(knowledge);
                    }
                    self.on_since = Some(since);
                }
                Finding::Read(Power::Off) => {
                    // Where an order of an earlier task may have done it, it does not show that the
                    // pulse arrived.
                    let explained = knowledge.against(Power::On).count() < earlier;
                    if self.fate.is_arrived() || !explained {
                        self.evidence.take_power(Power::Off, before, knowledge);
                    }
                    self.on_since = None;
                }
                // A BMC that says nothing about the power says nothing about the rest.
                Finding::Nothing => return self.look_again(knowledge),
                Finding::Hopeless(why) => return knowledge.fail(&why),
            }
            // A cycle may be over in a second: questions beside the power would look away from it.
            let in_turn = !self.is_watchful(knowledge) || self.looks.is_multiple_of(REST_EACH);
            if !is_early(knowledge) && in_turn {
                more = self.evidence.after_power();
            }
        } else {
            more = self.evidence.answered(asked, report, knowledge);
        }
        for effect in &self.evidence.signs.effects[known..] {
            knowledge.remark(effect.clone());
        }
        self.fate = match self.evidence.signs.effects.last() {
            Some(effect) if !self.may_be_anothers(knowledge) => shown(self.fate, effect),
            Some(_) | None => self.fate,
        };
        match more {
            Some(asked) => self.ask(asked, age),
            None => self.look_again(knowledge),
        }
    }

    /// Whether what was seen may come from an order of an earlier task: one that has switched the
    /// machine off since the pulse, or may have done so unseen.
    fn may_be_anothers(&self, knowledge: &Knowledge) -> bool {
        let off = |sent: &Sent| {
            matches!(
                sent.answer,
                Some((_, Report::Accepted(Reading::Power(Power::Off))))
            )
        };
        let unsigned = self.evidence.signs.restart != Restart::Off;
        let went_off = unsigned && knowledge.since_pulse().any(off);
        went_off || knowledge.against(Power::On).next().is_some()
    }

    /// The next look at the power: at the moment at which "on" has held long enough, where that is
    /// still to come.
    fn look_again(mut self, knowledge: &Knowledge) -> Phase {
        let age = knowledge.clock.age();
        let patient = pause(self.looks, knowledge);
        let pause = match self.is_watchful(knowledge) {
            true => patient.min(WATCHFUL_PAUSE),
            false => patient,
        };
        let next = age + pause;
        let steady = self.on_since.map(|since| since + self.steady(knowledge));
        let at = steady.filter(|steady| *steady > age);
        self.looks = self.looks.saturating_add(1);
        self.ask(Question::Power, at.map_or(next, |steady| steady.min(next)))
    }

    /// Whether a cycle has shown nothing yet: it may come late, and be over in a second.
    fn is_watchful(&self, knowledge: &Knowledge) -> bool {
        let cycle = knowledge.operation == Operation::Cycle;
        cycle && self.evidence.signs.restart == Restart::NotSeen
    }

    /// How long "on" must hold: the "on" from before a cycle would not, and some BMCs write down
    /// that they act before they do.
    fn steady(&self, knowledge: &Knowledge) -> Duration {
        let confirm = knowledge.confirmed_after(Power::On);
        match (self.evidence.signs.restart, knowledge.operation) {
            (Restart::Off, _) => confirm,
            (Restart::Cause | Restart::Entry, Operation::Reset) => confirm,
            (Restart::Cause | Restart::Entry | Restart::NotSeen, _) => {
                knowledge.settings.settle.max(confirm)
            }
        }
    }

    /// Whether "on" that has held is the end: a machine that was never seen to go has not been
    /// through a cycle. A reset need not show.
    fn is_done(&self, knowledge: &Knowledge) -> bool {
        self.evidence.signs.restart != Restart::NotSeen || knowledge.operation != Operation::Cycle
    }

    fn done(&self, knowledge: &Knowledge) -> Phase {
        let (name, at) = (knowledge.operation.name(), knowledge.at());
        let seen = self.evidence.signs.restart != Restart::NotSeen;
        let how = match &self.fate {
            // Rule 8: a reset need not show, and the words claim no more than was seen.
            Fate::Accepted if !seen => {
                return knowledge.succeed(&format!(
                    "{name} accepted; nothing shows that the machine restarted, read on at {at}"
                ));
            }
            Fate::Shown { how } => {
                format!(" ({}, but it arrived: {how})", knowledge.without_a_word())
            }
            Fate::Accepted | Fate::Unknown { .. } => String::new(),
        };
        knowledge.succeed(&format!("{name} done{how}, read back on at {at}"))
    }

    /// An "on" that could not be confirmed may be the one from before: no success.
    fn over(&self, knowledge: &Knowledge) -> Phase {
        let trouble = knowledge.and_trouble();
        // Where the last look failed "never seen off" would say too much of the time since.
        let read_on = knowledge.power == Some(Power::On) && knowledge.unread_since().is_none();
        match &self.fate {
            Fate::Accepted if read_on && !self.is_done(knowledge) => {
                let time = seconds(knowledge.settings.change_timeout);
                knowledge.fail(&format!(
                    "it was accepted, but the node was never seen off within {time}{trouble}"
                ))
            }
            Fate::Accepted | Fate::Shown { .. } => knowledge.fail(&format!(
                "it arrived, but the node was not read on for certain in time{trouble}"
            )),
            Fate::Unknown { why } => knowledge.fail(&format!("unknown whether it arrived: {why}")),
        }
    }
}

/// Whether the pulse was answered a moment ago (it may have waited for its turn before it left): a
/// machine may be off for half a second only, so that nothing but the power is read, and often.
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

/// For so long after the pulse every look is early.
const EARLY: Duration = Duration::from_secs(5);
// Half of the half second for which a machine may be off (design, section 6).
const EARLY_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause while a cycle has shown nothing yet.
const WATCHFUL_PAUSE: Duration = Duration::from_millis(500);
/// Meanwhile one look in so many asks for the rest, too.
const REST_EACH: u32 = 4;

fn shown(fate: Fate, how: &str) -> Fate {
    match fate {
        Fate::Unknown { .. } => Fate::Shown {
            how: how.to_owned(),
        },
        fate => fate,
    }
}
