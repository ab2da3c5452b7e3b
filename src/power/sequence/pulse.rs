//! Pulses: a cycle, a reset or an NMI leaves at most once per task. What became of an unanswered
//! one is found by looking, and where that cannot tell, the outcome says so.

use super::Input;
use super::clock::Age;
use super::evidence::{Evidence, Other};
use super::knowledge::{Finding, Knowledge, refused};
use super::phase::{
    Explaining, Fate, LastLook, Next, NmiWatching, Notes, Observing, Phase, Pulsing, Question,
    Restart, Signs,
};
use crate::bmc::vocabulary::{Reading, Refusal, RefusalKind, Report};
use crate::model::{Delivery, Operation, Power};
use crate::power::Sent;
use crate::power::outcome::{is_ambiguous, seconds};
use crate::power::settings::backoff;
use std::ops::ControlFlow;
use std::time::Duration;

/// The pulse of a [`Pulsing`] may have arrived although no answer is awaited any more.
pub(super) fn after_possible_arrival(phase: Phase, knowledge: &Knowledge) -> Phase {
    match phase {
        Phase::Pulsing(pulsing) => pulsing.unknown("its answer was not awaited", knowledge),
        phase => phase,
    }
}

impl Pulsing {
    /// Sends the pulse now.
    pub(super) fn begin(until: Age, notes: Notes, age: Age) -> Phase {
        let next = Next::At(age);
        Self {
            until,
            notes,
            refusals: 0,
            next,
        }
        .into()
    }

    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => self.answered(report, knowledge),
            // It has not left, and somebody read the machine off: look once more.
            Input::Observed(Power::Off) if matches!(self.next, Next::At(_)) => {
                LastLook::begin(self.until, self.notes, knowledge.clock.age())
            }
            Input::Observed(_) => self.into(),
            Input::Deadline => self.late(knowledge),
        }
    }

    /// The time for the pulse is over.
    fn late(self, knowledge: &Knowledge) -> Phase {
        if knowledge.pulse_handed() {
            return self.unknown("no answer in time", knowledge);
        }
        let what = match knowledge.was_refused() {
            true => "it was refused until its time was over",
            false => "it could not be sent",
        };
        knowledge.fail(&format!("{what}{}", knowledge.and_trouble()))
    }

    /// The report of the pulse.
    fn answered(self, report: &Report, knowledge: &Knowledge) -> Phase {
        match report {
            Report::Accepted(_) => self.watch(Fate::Accepted, knowledge),
            // These codes do not say whether it was carried out, and a
            // pulse is not sent twice (rule 2).
            Report::Refused(refusal) if is_ambiguous(refusal) => {
                self.unknown(&format!("the BMC answered {}", refused(refusal)), knowledge)
            }
            Report::Refused(refusal) => self.refused(refusal, knowledge),
            Report::Unanswered(silence) if knowledge.is_hopeless(silence) => {
                knowledge.fail(&silence.text)
            }
            Report::Unanswered(silence) => match silence.delivery {
                // It did not leave, so that the one that follows is the first (rule 2).
                Delivery::NotSent => self.again(knowledge),
                Delivery::Unknown => {
                    self.unknown(&format!("not answered ({})", silence.text), knowledge)
                }
            },
        }
    }

    /// The BMC says that it did not do it.
    fn refused(self, refusal: &Refusal, knowledge: &Knowledge) -> Phase {
        match refusal.kind {
            // So the next one is not a second pulse.
            RefusalKind::Busy | RefusalKind::Doubted => self.again(knowledge),
            RefusalKind::NotInPresentState => Explaining {
                until: self.until,
                refusal: refusal.clone(),
                looks: 0,
                next: Next::At(knowledge.clock.age()),
            }
            .into(),
            RefusalKind::Failed
            | RefusalKind::Updating
            | RefusalKind::NotSupported
            | RefusalKind::NotPermitted => {
                knowledge.fail(&format!("it was refused: {}", refused(refusal)))
            }
        }
    }

    fn again(self, knowledge: &Knowledge) -> Phase {
        Self {
            refusals: self.refusals.saturating_add(1),
            next: Next::At(knowledge.clock.age() + backoff(self.refusals)),
            ..self
        }
        .into()
    }

    /// Nobody knows whether it arrived.
    fn unknown(self, why: &str, knowledge: &Knowledge) -> Phase {
        let why = why.to_owned();
        self.watch(Fate::Unknown { why }, knowledge)
    }

    /// Looks what it did.
    fn watch(self, fate: Fate, knowledge: &Knowledge) -> Phase {
        let age = knowledge.clock.age();
        let Self { until, notes, .. } = self;
        if knowledge.operation == Operation::InjectNmi {
            return NmiWatching {
                until: age + knowledge.settings.nmi_watch,
                notes,
                fate,
                signs: Signs::default(),
                looks: 1,
                asked: Question::Power,
                next: knowledge.next_look(0),
            }
            .into();
        }
        Observing {
            until,
            notes,
            fate,
            signs: Signs::default(),
            looks: 1,
            on_since: None,
            asked: Question::Power,
            next: Next::At(age + pause(0, knowledge)),
        }
        .into()
    }
}

impl Observing {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => self.answered(report, knowledge),
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

    /// Whether `other` leaves it open what became of the pulse: why, in words.
    fn doubt(&self, other: Other, knowledge: &Knowledge) -> Option<String> {
        let (why, what) = match (&self.fate, other) {
            // Its answer says that it arrived.
            (Fate::Accepted, _) | (Fate::Shown { .. }, Other::Crashed(_)) => return None,
            (Fate::Unknown { why }, Other::Acted(what) | Other::Crashed(what)) => (&**why, what),
            // What was taken for its effect need not be.
            (Fate::Shown { .. }, Other::Acted(what)) => (knowledge.without_a_word(), what),
        };
        Some(format!("unknown whether it arrived: {why}; {what}"))
    }

    /// Whether the BMC can say that something else switched the machine off: it is asked for that
    /// before an "off" is taken for the effect of a pulse that was not answered.
    fn may_be_told_of_others(&self) -> bool {
        let can_tell = self.notes.cause.is_some() || self.notes.log.is_some();
        matches!(self.fate, Fate::Shown { .. }) && can_tell
    }

    fn ask(self, asked: Question, at: Age) -> Phase {
        let next = Next::At(at);
        Self {
            asked,
            next,
            ..self
        }
        .into()
    }

    fn answered(mut self, report: &Report, knowledge: &mut Knowledge) -> Phase {
        let known = self.signs.effects.len();
        let (more, other) = match self.asked {
            Question::Power => match self.take_power(report, knowledge) {
                ControlFlow::Continue(more) => (more, None),
                ControlFlow::Break(end) => return end,
            },
            asked => {
                let mut evidence = self.evidence();
                let more = evidence.answered(asked, report, knowledge);
                (more, evidence.other)
            }
        };
        for effect in &self.signs.effects[known..] {
            knowledge.remark(effect.clone());
        }
        // Whatever is seen from here on may come of that as well.
        if let Some(doubt) = other.and_then(|other| self.doubt(other, knowledge)) {
            return knowledge.fail(&doubt);
        }
        self.fate = match self.signs.effects.last() {
            Some(effect) if !self.may_be_anothers(knowledge) => shown(self.fate, effect),
            Some(_) | None => self.fate,
        };
        match more {
            Some(asked) => self.ask(asked, knowledge.clock.age()),
            None => self.look_again(knowledge),
        }
    }

    /// An answer about the power: what is asked next in this round, `None` where it is over, or how
    /// the task ends.
    fn take_power(
        &mut self,
        report: &Report,
        knowledge: &mut Knowledge,
    ) -> ControlFlow<Phase, Option<Question>> {
        let age = knowledge.clock.age();
        let before = knowledge.power;
        let earlier = knowledge.against(Power::On).count();
        let mut rest_first = false;
        match knowledge.take_reading(report) {
            Finding::Read(Power::On) => {
                rest_first = self.on_since.is_none() && self.may_be_told_of_others();
                let since = self.on_since.unwrap_or(age);
                let held = age.since(since) >= self.steady(knowledge);
                if held && !rest_first && self.fate.is_arrived() && self.is_done(knowledge) {
                    return ControlFlow::Break(self.done(knowledge));
                }
                self.on_since = Some(since);
            }
            Finding::Read(Power::Off) => {
                // Where an order of an earlier task may have done it, it does not show that the
                // pulse arrived.
                let explained = knowledge.against(Power::On).count() < earlier;
                if self.fate.is_arrived() || !explained {
                    self.evidence().take_power(Power::Off, before, knowledge);
                }
                self.on_since = None;
            }
            // A BMC that says nothing about the power says nothing about the rest.
            Finding::Nothing => return ControlFlow::Continue(None),
            Finding::Hopeless(why) => return ControlFlow::Break(knowledge.fail(&why)),
        }
        // A cycle may be over in a second: questions beside the power would look away from it.
        let in_turn = !self.is_watchful(knowledge) || self.looks.is_multiple_of(REST_EACH);
        let rest = rest_first || in_turn && !is_early(knowledge);
        ControlFlow::Continue(self.evidence().after_power().filter(|_| rest))
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
        let unsigned = self.signs.restart != Restart::Off;
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
        cycle && self.signs.restart == Restart::NotSeen
    }

    /// How long "on" must hold: the "on" from before a cycle would not, and some BMCs write down
    /// that they act before they do.
    fn steady(&self, knowledge: &Knowledge) -> Duration {
        let confirm = knowledge.confirmed_after(Power::On);
        match (self.signs.restart, knowledge.operation) {
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
        self.signs.restart != Restart::NotSeen || knowledge.operation != Operation::Cycle
    }

    fn done(&self, knowledge: &Knowledge) -> Phase {
        let (name, at) = (knowledge.operation.name(), knowledge.at());
        let seen = self.signs.restart != Restart::NotSeen;
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
