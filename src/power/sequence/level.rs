//! Levels: switching on and off, looking whether it came about, the rest between off and on, and
//! the way back. A level may be repeated, but is only repeated after a look that contradicts it.

use super::Input;
use super::clock::Age;
use super::knowledge::{Finding, Knowledge, refused};
use super::phase::{
    Aim, AwaitingShutdown, Leg, Look, MinOffTime, Next, Phase, Switching, Watching,
};
use crate::bmc::vocabulary::{Order, Refusal, RefusalKind, Report};
use crate::model::{Delivery, Operation, Power, TaskState};
use crate::power::outcome::{is_ambiguous, seconds};
use crate::power::settings::{LONGEST_LEVEL_PAUSE, SHORTEST_HOLD, backoff, level_pause};
use std::time::Duration;

/// The leg of a hard operation towards `to`, from a node just read as `found`.
pub(super) fn forward(to: Power, found: Power, knowledge: &Knowledge) -> Phase {
    let aim = if knowledge.operation == Operation::Reboot && to == Power::Off {
        Aim::OffThenOn
    } else {
        Aim::Final
    };
    // The change has to come about within its timeout, the record included.
    let leg = Leg {
        until: Age::default() + knowledge.settings.change_timeout,
        ..leg(to, aim, Duration::ZERO, knowledge)
    };
    if found == to && !is_guarded(&leg, knowledge) {
        already(leg, knowledge)
    } else if found != to && leg.aim == Aim::Final && knowledge.may_be_reached(found) {
        // An earlier order has led there, if that is true: a second look tells, and then it is not
        // watched for any more.
        let soon = knowledge.clock.age() + SHORTEST_HOLD;
        look_at(soon, leg, soon)
    } else {
        send(leg, knowledge)
    }
}

/// Whether an order of an earlier task may still bring the node out of the state that was asked
/// for. Then the level is sent although the node is in that state, and has to hold for longer.
fn is_guarded(leg: &Leg, knowledge: &Knowledge) -> bool {
    leg.aim == Aim::Final && knowledge.against(leg.to).next().is_some()
}

/// Whether nothing is left but looks at a state that is there: a guarded one whose level was taken,
/// or one for which nothing had to be sent.
pub(super) fn only_watches(leg: &Leg, knowledge: &Knowledge) -> bool {
    let sent_nothing = !knowledge.changing_issued() && knowledge.operation != Operation::SoftReboot;
    let guards = is_guarded(leg, knowledge) && knowledge.level_answered(&level(leg.to));
    leg.aim == Aim::Final && (sent_nothing || guards)
}

/// For how long the state has to hold.
fn steady(leg: &Leg, knowledge: &Knowledge) -> Duration {
    match (leg.is_return(), is_guarded(leg, knowledge)) {
        (true, _) => leg.steady,
        (false, true) => leg.steady.max(knowledge.has_to_hold(leg.to)),
        (false, false) => knowledge.confirmed_after(leg.to),
    }
}

/// The hard power off after a soft one that was in vain.
pub(super) fn escalate(knowledge: &mut Knowledge, why: &str) -> Phase {
    knowledge.remark(format!("{why}, so that it was switched off hard"));
    let time = knowledge.settings.change_timeout;
    let leg = leg(Power::Off, Aim::Escalated, time, knowledge);
    // However late the reading came that allows it, the whole ends in its time.
    let latest = Age::default() + knowledge.settings.patience + time;
    let until = leg.until.min(latest);
    send(Leg { until, ..leg }, knowledge)
}

/// Off was read back and the node is to be on again: keep it off for its minimum time.
pub(super) fn rest(off_since: Age, knowledge: &Knowledge) -> Phase {
    MinOffTime {
        rested: off_since + knowledge.settings.min_off_time,
        look: None,
    }
    .into()
}

/// On again after a rest, or after a soft reboot found the node off.
pub(super) fn switch_on(knowledge: &Knowledge) -> Phase {
    send(on_again(knowledge), knowledge)
}

/// Looks first whether the node is still off, and switches it on from `from` on.
pub(super) fn look_then_on(from: Age, next: Next, knowledge: &Knowledge) -> Phase {
    Watching {
        leg: on_again(knowledge),
        looks: 0,
        seen: None,
        press_again: from,
        next,
    }
    .into()
}

/// The way back to `power_at_start`, once something may have been sent that can be undone.
pub(super) fn go_back(by: String, knowledge: &Knowledge) -> Phase {
    let age = knowledge.clock.age();
    let settings = &knowledge.settings;
    let Some(start) = knowledge.power_at_start else {
        return knowledge.stuck(&by, "the power state of the start was never read");
    };
    // Where only the operating system was asked it may stay up: switching on would be for nothing.
    let asked_only = start == Power::On
        && !knowledge.level_handed(&Order::PowerOff)
        && !knowledge.level_handed(&Order::PowerOn);
    if asked_only {
        return AwaitingShutdown {
            by,
            until: age + settings.rollback_settle + settings.settle,
            settled: age + settings.rollback_settle,
            looks: 0,
            next: Next::At(age),
        }
        .into();
    }
    return_to(start, by, knowledge)
}

fn return_to(start: Power, by: String, knowledge: &Knowledge) -> Phase {
    let settings = &knowledge.settings;
    let longest = settings
        .change_timeout
        .saturating_add(settings.min_off_time)
        .saturating_add(settings.settle);
    let age = knowledge.clock.age();
    let leg = Leg {
        // What was sent may still be on its way to take effect: the state has to hold.
        steady: settings.settle.max(settings.confirm_after),
        ..leg(start, Aim::Return { by }, longest, knowledge)
    };
    // A node that is off now may have gone off just now.
    let press_again = match start {
        Power::On => age + settings.min_off_time,
        Power::Off => age,
    };
    look_at(age, leg, press_again)
}

fn leg(to: Power, aim: Aim, longest: Duration, knowledge: &Knowledge) -> Leg {
    Leg {
        to,
        aim,
        until: knowledge.clock.age() + longest,
        steady: knowledge.settings.confirm_after,
        setbacks: 0,
        failures: 0,
        refused: None,
    }
}

fn on_again(knowledge: &Knowledge) -> Leg {
    leg(
        Power::On,
        Aim::Final,
        knowledge.settings.change_timeout,
        knowledge,
    )
}

/// Sends the level now.
fn send(leg: Leg, knowledge: &Knowledge) -> Phase {
    send_at(knowledge.clock.age(), leg)
}

fn send_at(at: Age, leg: Leg) -> Phase {
    let next = Next::At(at);
    Switching { leg, next }.into()
}

/// Looks at that moment, for the first time since; the level is sent (again) where the state is
/// another one from `press_again` on.
pub(super) fn look_at(at: Age, leg: Leg, press_again: Age) -> Phase {
    Watching {
        leg,
        looks: 0,
        seen: None,
        press_again,
        next: Next::At(at),
    }
    .into()
}

/// The state was read as wanted before anything was sent: a second reading confirms it, and a
/// contradiction starts the work.
fn already(leg: Leg, knowledge: &Knowledge) -> Phase {
    let age = knowledge.clock.age();
    let steady = steady(&leg, knowledge);
    if steady.is_zero() {
        return reached(leg, age, knowledge);
    }
    Watching {
        leg,
        looks: 0,
        seen: Some(age),
        press_again: age,
        next: Next::At(age + steady),
    }
    .into()
}

impl Switching {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => switched(self.leg, report, knowledge),
            Input::Observed(_) => self.into(),
            Input::Deadline => late(&self.leg, None, knowledge),
        }
    }
}

impl MinOffTime {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        let age = knowledge.clock.age();
        match (self.look, input) {
            // Another's reading is not acted on, but the power-on that follows may be needless:
            // look.
            (None, Input::Observed(Power::On)) => {
                look_then_on(self.rested, Next::At(age), knowledge)
            }
            (Some(look), Input::Report(report)) => {
                answered_at_rest(self.rested, &look, report, knowledge)
            }
            (None, Input::Deadline) => switch_on(knowledge),
            // The look comes first, however long it takes.
            (Some(look), Input::Deadline) => look_then_on(self.rested, look.next, knowledge),
            (look, Input::Report(_) | Input::Observed(_)) => Self { look, ..self }.into(),
        }
    }
}

/// A reading while the machine is off by our doing and is to come back on.
fn answered_at_rest(rested: Age, look: &Look, report: &Report, knowledge: &mut Knowledge) -> Phase {
    match knowledge.take_reading(report) {
        Finding::Read(Power::Off) => MinOffTime { rested, look: None }.into(),
        Finding::Read(Power::On) => {
            knowledge.remark(format!(
                "at {} it was found on again without our doing",
                knowledge.at()
            ));
            let age = knowledge.clock.age();
            Watching::found(on_again(knowledge), rested, age).watched(Power::On, knowledge)
        }
        Finding::Nothing => MinOffTime {
            rested,
            look: Some(Look {
                looks: look.looks + 1,
                next: knowledge.next_look(look.looks),
            }),
        }
        .into(),
        Finding::Hopeless(why) => knowledge.fail(&why),
    }
}

impl AwaitingShutdown {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => self.answered(report, knowledge),
            Input::Observed(_) => self.into(),
            Input::Deadline => {
                let trouble = knowledge.and_trouble();
                let why = format!("the power state could not be read in time{trouble}");
                knowledge.stuck(&self.by, &why)
            }
        }
    }

    /// A reading after a soft request that a rollback came too late for.
    fn answered(self, report: &Report, knowledge: &mut Knowledge) -> Phase {
        let age = knowledge.clock.age();
        let Self { by, settled, .. } = &self;
        match knowledge.take_reading(report) {
            Finding::Read(Power::Off) => {
                knowledge.remark(format!("at {} it had gone down", knowledge.at()));
                return_to(Power::On, self.by, knowledge)
            }
            Finding::Read(Power::On) if age >= *settled => {
                let settle = seconds(knowledge.settings.rollback_settle);
                let what =
                    format!("rolled back by {by}: it stayed on for {settle} and was left on");
                knowledge.end(TaskState::RolledBack, false, &what)
            }
            Finding::Read(Power::On) | Finding::Nothing => self.look_again(knowledge),
            Finding::Hopeless(why) => knowledge.stuck(by, &why),
        }
    }

    fn look_again(self, knowledge: &Knowledge) -> Phase {
        let age = knowledge.clock.age();
        let pause = age + knowledge.settings.look_pause(self.looks);
        // The look that decides falls on the moment at which it may; one without an answer is
        // followed by a pause all the same, because a BMC that is known to be dead is answered for
        // at once.
        let at = if age < self.settled {
            pause.min(self.settled)
        } else {
            pause
        };
        Self {
            looks: self.looks.saturating_add(1),
            next: Next::At(at),
            ..self
        }
        .into()
    }
}

/// Takes note of a reading. Where it shows that an order of an earlier task ended a state that was
/// there already, or looks like it: from when on the level is sent once more. A node that is off
/// now may have gone off just now, and one reading may be wrong.
fn take_reading(
    leg: &Leg,
    seen: Option<Age>,
    report: &Report,
    knowledge: &mut Knowledge,
) -> (Finding, Option<Age>) {
    let orders = |knowledge: &Knowledge| knowledge.against(leg.to).count();
    let before = orders(knowledge);
    let finding = knowledge.take_reading(report);
    let moved = seen.is_some() && orders(knowledge) < before;
    let rest = match leg.to {
        Power::On => knowledge.settings.min_off_time,
        Power::Off => SHORTEST_HOLD,
    };
    (finding, moved.then(|| knowledge.clock.age() + rest))
}

/// The report of a level that was sent.
fn switched(mut leg: Leg, report: &Report, knowledge: &mut Knowledge) -> Phase {
    let age = knowledge.clock.age();
    match report {
        Report::Accepted(_) => {
            leg.setbacks = 0;
            Watching {
                leg,
                looks: 1,
                seen: None,
                // A machine may take its time to obey: before the settle time
                // a contradiction proves nothing.
                press_again: age + knowledge.settings.settle,
                next: Next::At(age + level_pause(0, knowledge.round_trip())),
            }
            .into()
        }
        Report::Refused(refusal) => level_refused(leg, refusal, knowledge),
        Report::Unanswered(silence) if knowledge.is_hopeless(silence) => {
            give_up(&leg, &silence.text, knowledge)
        }
        Report::Unanswered(silence) => {
            let pause = backoff(leg.setbacks);
            leg.setbacks = leg.setbacks.saturating_add(1);
            match silence.delivery {
                // It certainly did not leave, so that no look is needed before it goes again.
                Delivery::NotSent => send_at(age + pause, leg),
                // It may have acted: after silence the machine is looked at
                // before anything is sent (rule 2).
                Delivery::Unknown => look_soon(leg, age + pause, knowledge),
            }
        }
    }
}

/// A level was refused: what the reason says of the machine.
fn level_refused(mut leg: Leg, refusal: &Refusal, knowledge: &Knowledge) -> Phase {
    let age = knowledge.clock.age();
    let pause = backoff(leg.setbacks);
    leg.setbacks = leg.setbacks.saturating_add(1);
    leg.refused = Some(refused(refusal));
    match refusal.kind {
        // It may have been carried out all the same.
        RefusalKind::Busy if is_ambiguous(refusal) => look_soon(leg, age + pause, knowledge),
        // A BMC that starts refuses what it carries out a minute later: such a word is not final.
        RefusalKind::Doubted => look_soon(leg, age + pause, knowledge),
        RefusalKind::Busy => send_at(age + pause, leg),
        // Off when off is an error to some: the state decides.
        RefusalKind::NotInPresentState => look_at(age, leg, age + pause),
        // One failure may pass by itself; the second in this leg is believed.
        RefusalKind::Failed if leg.failures == 0 => {
            leg.failures = 1;
            look_soon(leg, age + pause, knowledge)
        }
        // The machine is between two states by our doing: only the deadline ends that.
        RefusalKind::Failed
        | RefusalKind::Updating
        | RefusalKind::NotSupported
        | RefusalKind::NotPermitted
            if knowledge.may_have_acted() =>
        {
            look_soon(leg, age + pause, knowledge)
        }
        RefusalKind::Failed
        | RefusalKind::Updating
        | RefusalKind::NotSupported
        | RefusalKind::NotPermitted => give_up(
            &leg,
            &knowledge.refused_in_words(&level(leg.to), refusal),
            knowledge,
        ),
    }
}

/// Looks after the first pause.
fn look_soon(leg: Leg, press_again: Age, knowledge: &Knowledge) -> Phase {
    Watching {
        leg,
        looks: 1,
        seen: None,
        press_again,
        next: knowledge.next_look(0),
    }
    .into()
}

impl Watching {
    /// As if it had just been looked at for the first time.
    fn found(leg: Leg, press_again: Age, age: Age) -> Self {
        Self {
            leg,
            looks: 0,
            seen: None,
            press_again,
            next: Next::At(age),
        }
    }

    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => self.answered(report, knowledge),
            Input::Observed(power) => self.observed(power, knowledge),
            Input::Deadline => late(&self.leg, self.seen, knowledge),
        }
    }

    /// Somebody else's reading makes us look ourselves, a moment later.
    fn observed(mut self, power: Power, knowledge: &Knowledge) -> Phase {
        if let (Next::At(at), None) = (self.next, self.seen)
            && power == self.leg.to
        {
            let soon = knowledge.clock.age() + steady(&self.leg, knowledge);
            self.next = Next::At(at.min(soon));
        }
        self.into()
    }

    /// A reading that was asked for after a level.
    fn answered(mut self, report: &Report, knowledge: &mut Knowledge) -> Phase {
        let (finding, moved) = take_reading(&self.leg, self.seen, report, knowledge);
        match finding {
            Finding::Read(power) => {
                if let Some(press_again) = moved {
                    (self.looks, self.press_again) = (0, press_again);
                }
                self.watched(power, knowledge)
            }
            Finding::Nothing => Self {
                looks: self.looks.saturating_add(1),
                next: knowledge.next_look(self.looks),
                ..self
            }
            .into(),
            Finding::Hopeless(why) => give_up(&self.leg, &why, knowledge),
        }
    }

    /// The machine was looked at on the way to a level.
    fn watched(self, power: Power, knowledge: &mut Knowledge) -> Phase {
        if power == self.leg.to {
            return self.read_there(knowledge);
        }
        let age = knowledge.clock.age();
        if self.seen.is_some() {
            knowledge.remark(format!(
                "at {} it was read {} after it had been read {}",
                knowledge.at(),
                power.name(),
                self.leg.to.name()
            ));
        }
        if age >= self.press_again {
            return send(self.leg, knowledge);
        }
        let pause = level_pause(self.looks, knowledge.round_trip());
        Self {
            looks: self.looks.saturating_add(1),
            seen: None,
            next: Next::At(age + pause),
            ..self
        }
        .into()
    }

    /// It was read as it is to be.
    fn read_there(self, knowledge: &Knowledge) -> Phase {
        let age = knowledge.clock.age();
        let leg = &self.leg;
        let since = self.seen.unwrap_or(age);
        let (guarded, steady) = (is_guarded(leg, knowledge), steady(leg, knowledge));
        // Rule 12: an earlier order may still end this state, so that
        // the level is sent all the same.
        if guarded && age >= self.press_again && !knowledge.level_answered(&level(leg.to)) {
            return send(self.leg, knowledge);
        }
        if age.since(since) >= steady {
            return reached(self.leg, since, knowledge);
        }
        let over = !leg.is_return() && age >= leg.until;
        if over && age.since(since) >= SHORTEST_HOLD {
            return late(leg, self.seen, knowledge);
        }
        // The last look falls on the moment from which the state has held long enough, or on the
        // last one that there is.
        let mut at = (age + LONGEST_LEVEL_PAUSE).min(since + steady);
        if !leg.is_return() {
            at = at.min(leg.until.max(since + SHORTEST_HOLD));
        }
        Self {
            looks: self.looks.saturating_add(1),
            seen: Some(since),
            next: Next::At(at),
            ..self
        }
        .into()
    }
}

/// The level was read back.
pub(super) fn reached(leg: Leg, since: Age, knowledge: &Knowledge) -> Phase {
    let state = leg.to.name();
    // Rule 12: the outcome names the earlier order that may still change what was read.
    if leg.aim == Aim::Final
        && let Some(may) = knowledge.may_still_move(leg.to)
    {
        return knowledge.succeed(&format!("{}: {may}", knowledge.operation.name()));
    }
    match (leg.aim, knowledge.operation) {
        (Aim::Return { by }, _) => knowledge.end(
            TaskState::RolledBack,
            false,
            &format!("rolled back by {by}: read back {state}, as at the start"),
        ),
        // The machine was off before anything was sent: its rest is not ours to keep.
        (Aim::OffThenOn, _) if !knowledge.changing_issued() => switch_on(knowledge),
        (Aim::OffThenOn, _) | (Aim::Escalated, Operation::SoftReboot) => rest(since, knowledge),
        (Aim::Escalated | Aim::Final, operation) if knowledge.changing_issued() => knowledge
            .succeed(&format!(
                "{} done, read back {state} at {}",
                operation.name(),
                knowledge.at()
            )),
        (_, operation) => knowledge.succeed(&format!(
            "{}: the node was {state} already",
            operation.name()
        )),
    }
}

/// Time is over. A state that was read twice, a moment ago, and never contradicted counts, even
/// where it had to hold for longer.
fn late(leg: &Leg, seen: Option<Age>, knowledge: &Knowledge) -> Phase {
    // Rule 12: "already" is no answer while an earlier order may still end the state.
    if is_guarded(leg, knowledge)
        && knowledge.power == Some(leg.to)
        && !knowledge.level_answered(&level(leg.to))
    {
        let may = knowledge.may_still_move(leg.to).unwrap_or_default();
        return give_up(leg, &format!("the BMC did not take it: {may}"), knowledge);
    }
    if let Some(since) = seen
        && knowledge.power == Some(leg.to)
        && !leg.is_return()
    {
        // What goes on does so with a look; an end says nothing that may long be otherwise.
        let goes_on = match leg.aim {
            Aim::OffThenOn => true,
            Aim::Escalated => knowledge.operation == Operation::SoftReboot,
            Aim::Final | Aim::Return { .. } => false,
        };
        let counts = knowledge.is_fresh() && knowledge.is_read_twice(since);
        if !goes_on && !counts {
            return give_up(leg, &knowledge.not_confirmed(), knowledge);
        }
        return reached(leg.clone(), since, knowledge);
    }
    let refusal = leg
        .refused
        .as_ref()
        .map_or(String::new(), |text| format!(", last refused: {text}"));
    let since = knowledge
        .unread_since()
        .map_or(String::new(), |since| format!(", {since}"));
    give_up(
        leg,
        &format!(
            "it was not read {} in time{since}{refusal}{}",
            leg.to.name(),
            knowledge.and_other_trouble(leg.refused.as_deref())
        ),
        knowledge,
    )
}

pub(super) fn give_up(leg: &Leg, why: &str, knowledge: &Knowledge) -> Phase {
    match &leg.aim {
        Aim::Return { by } => knowledge.stuck(by, why),
        Aim::Final | Aim::OffThenOn | Aim::Escalated => knowledge.fail(why),
    }
}

pub(super) fn level(to: Power) -> Order {
    match to {
        Power::On => Order::PowerOn,
        Power::Off => Order::PowerOff,
    }
}
