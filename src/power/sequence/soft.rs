//! The soft power off: ask the operating system, wait for it, ask again only where that is safe or
//! asked for, and turn hard only where that was asked for.

use super::Input;
use super::clock::Age;
use super::kept_on::KEPT_ON;
use super::knowledge::{Finding, Knowledge, refused};
use super::level;
use super::phase::{Next, Phase, Soft, SoftPressing, SoftWaiting};
use crate::bmc::vocabulary::{Order, Refusal, RefusalKind, Report};
use crate::model::{Delivery, OnSoftTimeout, Operation, Power};
use crate::power::outcome::{is_ambiguous, seconds};
use crate::power::settings::{SHORTEST_HOLD, SOFT_GAP, backoff};
use std::time::Duration;

/// The node was read as `found`; nothing was sent yet.
pub(super) fn begin(found: Power, knowledge: &mut Knowledge) -> Phase {
    let age = knowledge.clock.age();
    let soft = Soft {
        until: Age::default() + knowledge.settings.patience,
        hard_at: None,
        due: false,
        accepted: 0,
        setbacks: 0,
        failures: 0,
        refused: None,
    };
    match found {
        Power::On => send(soft, age),
        // Off already: a second reading confirms it, a contradiction starts the work.
        Power::Off if off_has_to_hold(knowledge).is_zero() => went_down(age, knowledge),
        Power::Off => SoftWaiting {
            soft,
            looks: 0,
            seen: Some(age),
            press_again: Some(age),
            next: Next::At(age + knowledge.confirmed_after(Power::Off)),
        }
        .into(),
    }
}

impl SoftPressing {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match (input, self.next) {
            (Input::Report(report), _) => pressed(self.soft, report, knowledge),
            // Before the request leaves, a node that somebody switched off is looked at once more.
            (Input::Observed(Power::Off), Next::At(at)) => {
                look_at(knowledge.clock.age(), self.soft, Some(at))
            }
            (Input::Observed(_), _) => self.into(),
            (Input::Deadline, _) => out_of_time(self.soft, knowledge),
        }
    }
}

impl SoftWaiting {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match (input, self.seen) {
            (Input::Report(report), _) => self.answered(report, knowledge),
            (Input::Observed(Power::Off), None) => self.sooner(knowledge.clock.age()),
            (Input::Observed(_), _) => self.into(),
            (Input::Deadline, Some(since)) if knowledge.power == Some(Power::Off) => {
                self.off_at_the_end(since, knowledge)
            }
            (Input::Deadline, _) => out_of_time(self.soft, knowledge),
        }
    }

    /// Somebody else read it off: look ourselves, soon.
    fn sooner(mut self, age: Age) -> Phase {
        if let Next::At(at) = &mut self.next {
            *at = (*at).min(age);
        }
        self.into()
    }

    /// A reading while the operating system is given its time.
    fn answered(self, report: &Report, knowledge: &mut Knowledge) -> Phase {
        match knowledge.take_reading(report) {
            Finding::Read(Power::Off) => self.read_off(knowledge),
            Finding::Read(Power::On) => self.read_on(knowledge),
            Finding::Nothing => self.look_again(knowledge),
            Finding::Hopeless(why) => knowledge.fail(&why),
        }
    }

    fn read_off(self, knowledge: &Knowledge) -> Phase {
        let age = knowledge.clock.age();
        let since = self.seen.unwrap_or(age);
        let confirmed = since + off_has_to_hold(knowledge);
        // Where time is over, any second reading has to do.
        let latest = self.soft.until.max(since + SHORTEST_HOLD);
        if age >= confirmed || age >= latest {
            return went_down(since, knowledge);
        }
        let pause = knowledge.settings.look_pause(self.looks);
        Self {
            looks: self.looks.saturating_add(1),
            seen: Some(since),
            next: Next::At(confirmed.min(age + pause).min(latest)),
            ..self
        }
        .into()
    }

    fn read_on(mut self, knowledge: &mut Knowledge) -> Phase {
        let age = knowledge.clock.age();
        if self.seen.is_some() {
            knowledge.remark(format!("at {} it was on again", knowledge.at()));
        }
        // Rule 5: nothing hard without a reading "on" since the request, and this is one.
        if self.soft.due {
            return escalate(&self.soft, knowledge);
        }
        if self.press_again.is_some_and(|from| age >= from) {
            return send(self.soft, age);
        }
        self.seen = None;
        self.look_again(knowledge)
    }

    fn look_again(self, knowledge: &Knowledge) -> Phase {
        Self {
            looks: self.looks.saturating_add(1),
            next: knowledge.next_look(self.looks),
            ..self
        }
        .into()
    }

    /// The time is over, and it was read off at `since` without the look that confirms it.
    fn off_at_the_end(mut self, since: Age, knowledge: &mut Knowledge) -> Phase {
        let age = knowledge.clock.age();
        // It is off as far as anybody can tell: no hard order for want of the confirming look.
        if age < self.soft.until {
            let grace = HARD_GRACE + knowledge.confirmed_after(Power::Off);
            self.soft.hard_at = Some(age + grace);
            return self.into();
        }
        // A reboot goes on with a look; an end says nothing that may long be otherwise.
        let counts = knowledge.is_fresh() && knowledge.is_read_twice(since);
        if knowledge.operation == Operation::SoftReboot || counts {
            return went_down(since, knowledge);
        }
        match may_turn_hard(knowledge) {
            true => out_of_time(self.soft, knowledge),
            false => knowledge.fail(&knowledge.not_confirmed()),
        }
    }
}

/// See [`super::Sequence::harden`].
pub(super) fn harden(
    phase: &mut Phase,
    after: Duration,
    by: &str,
    knowledge: &mut Knowledge,
) -> bool {
    if !knowledge.operation.is_soft() || knowledge.settings.never_off {
        return false;
    }
    let age = knowledge.clock.age();
    let at = age + after;
    // Its time is over before that.
    if at >= Age::default() + knowledge.settings.patience {
        return false;
    }
    match phase {
        Phase::Queued | Phase::Recording(_) => {
            knowledge.settings.hard_after = Some(after);
        }
        Phase::SoftPressing(SoftPressing { soft, .. })
        | Phase::SoftWaiting(SoftWaiting { soft, .. })
            if !soft.due =>
        {
            // Before a first request has left T2 has no beginning: `start_hard`
            // counts it from there (rule 5).
            soft.hard_at = knowledge.changing_handed().then_some(at);
            knowledge.settings.hard_after = Some(knowledge.since_asked() + after);
        }
        _ => return false,
    }
    knowledge.remark(format!(
        "at {} {by} asked for a hard power off {} later",
        knowledge.at(),
        seconds(after)
    ));
    true
}

/// For how long "off" has to hold: a reboot goes on from there anyway.
fn off_has_to_hold(knowledge: &Knowledge) -> Duration {
    match knowledge.operation {
        Operation::SoftReboot => knowledge.confirmed_after(Power::Off),
        Operation::PowerOn
        | Operation::PowerOff
        | Operation::SoftPowerOff
        | Operation::Reboot
        | Operation::Cycle
        | Operation::Reset
        | Operation::InjectNmi => knowledge.has_to_hold(Power::Off),
    }
}

fn send(soft: Soft, at: Age) -> Phase {
    let next = Next::At(at);
    SoftPressing { soft, next }.into()
}

/// The report of a soft request.
fn pressed(mut soft: Soft, report: &Report, knowledge: &Knowledge) -> Phase {
    let age = knowledge.clock.age();
    let (pause, patient_gap) = pauses(&soft);
    start_hard(&mut soft, knowledge);
    match report {
        Report::Accepted(_) => {
            soft.accepted = soft.accepted.saturating_add(1);
            soft.setbacks = 0;
            let press_again = knowledge
                .settings
                .repeat_soft_after
                .filter(|_| soft.accepted == 1)
                .map(|after| age + after.max(SOFT_GAP));
            look_later(soft, press_again, knowledge)
        }
        Report::Refused(refusal) => soft_refused(soft, refusal, knowledge),
        Report::Unanswered(silence) if knowledge.is_hopeless(silence) => {
            knowledge.fail(&silence.text)
        }
        Report::Unanswered(silence) => {
            soft.setbacks = soft.setbacks.saturating_add(1);
            match silence.delivery {
                // It did not leave, so that asking now is no second press of the button.
                Delivery::NotSent => send(soft, age + pause),
                Delivery::Unknown => look_later(soft, Some(age + patient_gap), knowledge),
            }
        }
    }
}

/// How long to wait before the next request, and where this one may have arrived: each silence or
/// refusal in a row doubles the pause, up to eight times.
fn pauses(soft: &Soft) -> (Duration, Duration) {
    let patient_gap = SOFT_GAP * (1 << soft.setbacks.min(3));
    (backoff(soft.setbacks), patient_gap)
}

/// A soft request was refused: what the reason says of the machine.
fn soft_refused(mut soft: Soft, refusal: &Refusal, knowledge: &Knowledge) -> Phase {
    let age = knowledge.clock.age();
    let (pause, patient_gap) = pauses(&soft);
    soft.setbacks = soft.setbacks.saturating_add(1);
    soft.refused = Some(refused(refusal));
    match refusal.kind {
        RefusalKind::Doubted => look_later(soft, Some(age + pause), knowledge),
        RefusalKind::Busy if !is_ambiguous(refusal) => send(soft, age + pause),
        // It may have been carried out, and a second press may mean
        // "off, now" to the system (rule 2).
        RefusalKind::Busy => look_later(soft, Some(age + patient_gap), knowledge),
        // The machine may be off already: a look tells at once.
        RefusalKind::NotInPresentState => look_at(age, soft, Some(age + patient_gap)),
        // One failure may pass by itself; where a hard power off follows
        // anyway, the task tries until then.
        RefusalKind::Failed if soft.failures == 0 || may_turn_hard(knowledge) => {
            soft.failures = 1;
            look_later(soft, Some(age + patient_gap), knowledge)
        }
        // What was asked for before may be under way: only the deadline ends that.
        RefusalKind::Failed
        | RefusalKind::Updating
        | RefusalKind::NotSupported
        | RefusalKind::NotPermitted
            if knowledge.may_have_acted() =>
        {
            look_later(soft, Some(age + patient_gap), knowledge)
        }
        // The BMC has no soft power off, and is believed: what was asked for in that case comes at
        // once.
        RefusalKind::NotSupported if may_turn_hard(knowledge) => hard_is_due(soft, knowledge),
        RefusalKind::Failed
        | RefusalKind::Updating
        | RefusalKind::NotSupported
        | RefusalKind::NotPermitted => {
            knowledge.fail(&knowledge.refused_in_words(&Order::SoftOff, refusal))
        }
    }
}

/// Whether the request or the node's policy allows a hard power off where the soft one fails.
fn may_turn_hard(knowledge: &Knowledge) -> bool {
    let settings = &knowledge.settings;
    let by_time = settings
        .hard_after
        .is_some_and(|after| after < settings.patience);
    by_time || settings.on_soft_timeout == OnSoftTimeout::HardPowerOff
}

/// How long an operating system has, counted from the first request that left, before it is
/// switched off hard where that may come.
fn given(knowledge: &Knowledge) -> Duration {
    let settings = &knowledge.settings;
    let after = settings.hard_after.unwrap_or(settings.patience);
    after.min(settings.patience)
}

/// T2 counts from the first request that left, whatever became of it and however late its turn
/// came.
fn start_hard(soft: &mut Soft, knowledge: &Knowledge) {
    if soft.hard_at.is_none() && may_turn_hard(knowledge) && knowledge.changing_handed() {
        soft.hard_at = Some(knowledge.clock.age() + given(knowledge));
    }
}

/// Looks at that moment, for the first time since.
pub(super) fn look_at(at: Age, soft: Soft, press_again: Option<Age>) -> Phase {
    SoftWaiting {
        soft,
        looks: 0,
        seen: None,
        press_again,
        next: Next::At(at),
    }
    .into()
}

/// Looks after the first pause.
fn look_later(soft: Soft, press_again: Option<Age>, knowledge: &Knowledge) -> Phase {
    SoftWaiting {
        soft,
        looks: 1,
        seen: None,
        press_again,
        next: knowledge.next_look(0),
    }
    .into()
}

/// Off was read and confirmed.
pub(super) fn went_down(since: Age, knowledge: &Knowledge) -> Phase {
    match (knowledge.operation, knowledge.changing_issued()) {
        (Operation::SoftReboot, true) => level::rest(since, knowledge),
        (Operation::SoftReboot, false) => level::switch_on(knowledge),
        (operation, issued) => knowledge.succeed(&match knowledge.may_still_move(Power::Off) {
            Some(may) => format!("{}: {may}", operation.name()),
            None if issued => format!(
                "{} done, read back off at {}",
                operation.name(),
                knowledge.at()
            ),
            None => format!("{}: the node was off already", operation.name()),
        }),
    }
}

/// T2 or the end of the patience, and the node is not off.
fn out_of_time(mut soft: Soft, knowledge: &mut Knowledge) -> Phase {
    let age = knowledge.clock.age();
    let settings = &knowledge.settings;
    let patience = Age::default() + settings.patience;
    // The time that was added for looking is over as well: the node was never read on.
    let looked = soft.due && soft.until > patience;
    if age >= patience && (looked || !may_turn_hard(knowledge)) {
        return fail(&soft, knowledge);
    }
    if let Some(why) = knowledge.forbids_hard() {
        return knowledge.fail(&format!("nothing hard was sent either: {why}"));
    }
    start_hard(&mut soft, knowledge);
    // Rule 5: half of `power_change_timeout` is for the hard order to
    // come, the rest to see its effect.
    let latest = patience + settings.change_timeout / 2;
    match soft.hard_at {
        _ if soft.due => {}
        Some(at) if at <= age => {}
        // It was asked late: it has its time all the same, and the hard power off has less.
        Some(until) if until <= latest => {
            let soft = Soft { until, ..soft };
            return look_later(soft, None, knowledge);
        }
        Some(_) | None => return fail(&soft, knowledge),
    }
    if knowledge.read_on_since_soft() {
        return escalate(&soft, knowledge);
    }
    if age >= patience {
        // The time of the hard power off goes by with looking.
        soft.until = patience + settings.change_timeout;
    }
    hard_is_due(soft, knowledge)
}

/// Looks, and switches off hard as soon as the node is read on. A node that nobody has read since
/// the request may be off, or somewhere between.
fn hard_is_due(soft: Soft, knowledge: &Knowledge) -> Phase {
    let soft = Soft {
        hard_at: None,
        due: true,
        ..soft
    };
    look_at(knowledge.clock.age(), soft, None)
}

fn escalate(soft: &Soft, knowledge: &mut Knowledge) -> Phase {
    let settings = &knowledge.settings;
    let why = match (&soft.refused, settings.hard_after) {
        (Some(refused), _) if soft.accepted == 0 => {
            format!("soft power off was refused ({refused})")
        }
        (_, Some(after)) if after < settings.patience => {
            format!("it was not off {} after the request", seconds(after))
        }
        _ => {
            let patience = seconds(settings.patience);
            format!("the operating system did not shut down within {patience}")
        }
    };
    level::escalate(knowledge, &why)
}

/// The time is over, and nothing hard may follow.
fn fail(soft: &Soft, knowledge: &Knowledge) -> Phase {
    let patience = seconds(knowledge.settings.patience);
    let refusal = soft
        .refused
        .as_ref()
        .map_or(String::new(), |text| format!(", last refused: {text}"));
    let what = match knowledge.unread_since() {
        None => format!("the node did not go off within {patience}"),
        Some(since) => {
            format!("it is not known whether the node went off within {patience}: {since}")
        }
    };
    let hard = match (soft.due, soft.hard_at) {
        _ if knowledge.settings.never_off => format!(", and nothing hard was sent: {KEPT_ON}"),
        (true, _) => ", and nothing hard was sent: it was not read on since the request".to_owned(),
        (false, Some(at)) => {
            let given = given(knowledge);
            let asked = given.saturating_sub(at.since(knowledge.clock.age()));
            format!(
                ", and nothing hard was sent: the operating system was asked only {} before, and has {}",
                seconds(asked),
                seconds(given)
            )
        }
        (false, None) if may_turn_hard(knowledge) => {
            ", and nothing hard was sent: the operating system was never asked".to_owned()
        }
        (false, None) => String::new(),
    };
    let trouble = knowledge.and_other_trouble(soft.refused.as_deref());
    knowledge.fail(&format!("{what}{hard}{refusal}{trouble}"))
}

/// How long a hard order waits for the look that confirms "off".
const HARD_GRACE: Duration = Duration::from_secs(5);
