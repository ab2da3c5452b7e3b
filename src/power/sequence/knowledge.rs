//! What a sequence knows beside its phase: the clock, the readings, what was sent and answered, and
//! remarks on what it noticed. From here come the words of the outcome.

use super::clock::{Age, Clock};
use super::level::level;
use super::phase::{Next, Phase};
use crate::bmc::vocabulary::{self, Effect, Order, OrderId, Reading, Report, Silence, lasting};
use crate::model::{Delivery, ENDS_KEPT, Operation, Power, TaskState, Trouble, counted};
use crate::power::earlier::{Earlier, take_effect};
use crate::power::outcome::seconds;
use crate::power::settings::{HOLD_ROUND_TRIPS, SHORTEST_HOLD, SOFT_GAP};
use crate::power::{Outcome, Sent, Settings};
use std::time::Duration;

/// See the head of this file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Knowledge {
    pub(crate) operation: Operation,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    /// The last reading.
    pub(crate) power: Option<Power>,
    /// The last own reading before the first order that can change it.
    pub(crate) power_at_start: Option<Power>,
    /// The first and the last orders.
    pub(crate) sent: Vec<Sent>,
    /// How many were sent between those.
    pub(crate) left_out: u32,
    /// The reading that was asked for before it began, and how long before. A later life does not
    /// know it, and takes the BMC for so much quicker.
    pub(crate) ahead: Option<(OrderId, Duration)>,
    /// Orders of earlier tasks that may still act.
    pub(crate) earlier: Vec<Earlier>,
    /// What was noticed on the way and belongs into the outcome.
    pub(crate) remarks: Vec<String>,
    /// The silence or refusal that the last order met, cleared by an answer.
    pub(crate) trouble: Option<String>,
}

/// What a power reading brought.
pub(super) enum Finding {
    Read(Power),
    /// Silence, "busy", or an answer to something else: look again.
    Nothing,
    /// No later reading can be better: the reason.
    Hopeless(String),
}

impl Knowledge {
    pub(super) fn new(operation: Operation, settings: Settings) -> Self {
        Self {
            operation,
            settings,
            clock: Clock::default(),
            power: None,
            power_at_start: None,
            sent: Vec::new(),
            left_out: 0,
            ahead: None,
            earlier: Vec::new(),
            remarks: Vec::new(),
            trouble: None,
        }
    }

    /// An order was issued.
    pub(super) fn record_order(&mut self, id: OrderId, order: Order) {
        self.leave_out();
        // A vector begins with room for four, and thousands of tasks have one order or two.
        if self.sent.len() < 4 {
            self.sent.reserve_exact(1);
        }
        self.sent.push(Sent {
            id,
            order,
            at: self.clock.since_begin(),
            handed: false,
            times: 1,
            answer: None,
        });
    }

    /// Makes place where there are too many orders: between the first and the last ones, readings
    /// go before what changes power, and what is not answered stays.
    fn leave_out(&mut self) {
        // Rule 13: 757 pairs of suspend and resume once made a task take 128 MB.
        if self.sent.len() < 2 * ENDS_KEPT {
            return;
        }
        let last_soft = self
            .sent
            .iter()
            .rposition(|sent| sent.order == Order::SoftOff);
        let goes = |index: usize, changes: bool| {
            let sent = &self.sent[index];
            // Later steps ask for the pulses and for the last soft request.
            let asked_for = sent.order.effect() == Effect::Pulse || Some(index) == last_soft;
            sent.answer.is_some() && sent.order.changes_power() == changes && !asked_for
        };
        let between = ENDS_KEPT..self.sent.len();
        let reading = between.clone().find(|index| goes(*index, false));
        let index = reading.or_else(|| between.clone().find(|index| goes(*index, true)));
        if let Some(index) = index {
            self.sent.remove(index);
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    pub(super) fn record_handed(&mut self, id: OrderId) {
        if let Some(sent) = self.sent.iter_mut().rev().find(|sent| sent.id == id)
            && sent.answer.is_none()
        {
            sent.handed = true;
        }
    }

    /// Notes that an order was accepted which was reported unanswered before; whether it was one.
    pub(super) fn record_late_answer(&mut self, id: OrderId, report: &Report) -> bool {
        let sent = self.sent.iter_mut().rev().find(|sent| sent.id == id);
        let Some(sent) = sent.filter(|sent| sent.order.changes_power()) else {
            return false;
        };
        let unanswered = matches!(sent.answer, Some((_, Report::Unanswered(_))));
        if !unanswered || !report.is_accepted() {
            return false;
        }
        sent.handed = true;
        sent.answer = Some((self.clock.since_begin(), report.clone()));
        true
    }

    /// Notes an answer; false where the order is unknown or was answered before.
    pub(super) fn record_answer(&mut self, id: OrderId, report: &Report) -> bool {
        let at = self.clock.since_begin();
        let Some(sent) = self.sent.iter_mut().rev().find(|sent| sent.id == id) else {
            return false;
        };
        if sent.answer.is_some() {
            return false;
        }
        match report {
            // An answer proves that it left, even where nobody had said so.
            Report::Accepted(_) | Report::Refused(_) => sent.handed = true,
            Report::Unanswered(silence) => sent.handed |= silence.delivery == Delivery::Unknown,
        }
        sent.answer = Some((at, report.clone()));
        self.trouble = match report {
            Report::Accepted(_) => None,
            Report::Refused(refusal) => Some(refused(refusal)),
            // We withdrew it ourselves: that says nothing of the BMC.
            Report::Unanswered(silence) if silence.trouble == Trouble::Withdrawn => {
                return true;
            }
            Report::Unanswered(silence) => Some(silence.text.clone()),
        };
        true
    }

    /// Keeps equal readings with equal answers as one.
    pub(super) fn merge_readings(&mut self, id: OrderId) {
        // A machine that is watched for minutes would fill the record with one and the same line.
        if let [.., before, last] = self.sent.as_mut_slice()
            && last.id == id
            && last.says_the_same(before)
        {
            before.stand_for(last);
            self.sent.pop();
        }
    }

    pub(super) fn is_unanswered(&self, id: OrderId) -> bool {
        self.sent
            .iter()
            .rev()
            .any(|sent| sent.id == id && sent.answer.is_none())
    }

    /// Whether an order that changes power was issued at all.
    pub(super) fn changing_issued(&self) -> bool {
        self.sent.iter().any(|sent| sent.order.changes_power())
    }

    /// Whether an order that changes power reached the network, or may have.
    pub(super) fn changing_handed(&self) -> bool {
        self.sent
            .iter()
            .any(|sent| sent.order.changes_power() && sent.handed)
    }

    /// Whether an order that switches the machine off reached the network, or may have.
    pub(super) fn off_handed(&self) -> bool {
        let mut sent = self.sent.iter();
        sent.any(|sent| sent.handed && sent.order.switches_off())
    }

    /// The first order that changes something and reached the network.
    pub(super) fn first_handed(&self) -> Option<&Sent> {
        self.sent
            .iter()
            .find(|sent| !sent.order.only_reads() && sent.handed)
    }

    /// Whether an order that changes power may have had its effect: handed over and not plainly
    /// refused.
    pub(super) fn may_have_acted(&self) -> bool {
        self.sent.iter().any(Sent::may_have_acted)
    }

    /// Whether it was answered a moment ago: a BMC forgets boot flags 60 s after they were set,
    /// where it does not take the word that it shall keep them.
    pub(super) fn is_recent(&self, sent: &Sent) -> bool {
        let answered = sent.answer.as_ref().map(|(at, _)| *at);
        answered.is_some_and(|at| self.clock.since_begin().saturating_sub(at) <= RECENT)
    }

    /// Whether the way back would switch off a machine that is never to be.
    pub(super) fn return_is_forbidden(&self) -> bool {
        // Some BMCs lose their power with the host: an off takes away
        // the way back on (docs/bmcs.md).
        let was_off = self.power_at_start == Some(Power::Off);
        self.settings.never_off && was_off && self.changing_handed()
    }

    /// Whether the last order that changes power was refused.
    pub(super) fn was_refused(&self) -> bool {
        let mut changing = self
            .sent
            .iter()
            .rev()
            .filter(|sent| sent.order.changes_power());
        let last = changing.next().and_then(|sent| sent.answer.as_ref());
        matches!(last, Some((_, Report::Refused(_))))
    }

    /// Whether this order changes power.
    pub(super) fn changes_power(&self, id: OrderId) -> bool {
        self.sent
            .iter()
            .any(|sent| sent.id == id && sent.order.changes_power())
    }

    /// Whether this order reached the network, or may have.
    pub(super) fn was_handed(&self, id: OrderId) -> bool {
        self.sent.iter().any(|sent| sent.id == id && sent.handed)
    }

    /// How long ago the operating system was asked for the first time, suspensions included.
    pub(super) fn since_asked(&self) -> Duration {
        let mut sent = self.sent.iter();
        let first = sent.find(|sent| sent.order == Order::SoftOff);
        let now = self.clock.since_begin();
        first.map_or(Duration::ZERO, |sent| now.saturating_sub(sent.at))
    }

    /// How long a further soft request has to wait for the last one that may have arrived.
    pub(super) fn soft_gap_left(&self) -> Duration {
        self.sent
            .iter()
            .rev()
            .find(|sent| sent.order == Order::SoftOff && sent.handed)
            .map_or(Duration::ZERO, |sent| {
                // It may have waited before it left: the gap counts from the
                // answer, the latest moment (rule 2).
                let at = sent.answer.as_ref().map_or(sent.at, |(at, _)| *at);
                SOFT_GAP.saturating_sub(self.clock.since_begin().saturating_sub(at))
            })
    }

    /// Whether a pulse that cannot be undone or repeated may have had its effect: handed and not
    /// plainly refused.
    pub(super) fn pulse_handed(&self) -> bool {
        let pulse = |sent: &Sent| sent.order.effect() == Effect::Pulse;
        self.sent
            .iter()
            .any(|sent| pulse(sent) && sent.may_have_acted())
    }

    /// The pulse and all orders after it.
    pub(super) fn since_pulse(&self) -> impl Iterator<Item = &Sent> {
        let pulse = |sent: &Sent| sent.order.effect() == Effect::Pulse;
        let at = self.sent.iter().rposition(pulse);
        self.sent[at.unwrap_or(self.sent.len())..].iter()
    }

    /// What the BMC said to a pulse of which it is not known by its answer whether it was carried
    /// out.
    pub(super) fn without_a_word(&self) -> &'static str {
        let pulse = self.since_pulse().next();
        match pulse.and_then(|sent| sent.answer.as_ref()) {
            Some((_, Report::Refused(_))) => "answered with an error",
            Some((_, Report::Accepted(_) | Report::Unanswered(_))) | None => "not answered",
        }
    }

    /// Whether the node was read on since the operating system was first asked, and not otherwise
    /// since.
    pub(super) fn read_on_since_soft(&self) -> bool {
        let mut sent = self.sent.iter();
        // `any` stops behind the request: an older "on" allows nothing hard (rule 5).
        let asked = sent.any(|sent| sent.order == Order::SoftOff);
        let mut powers = sent.filter_map(|sent| match sent.answer {
            Some((_, Report::Accepted(Reading::Power(power)))) => Some(power),
            _ => None,
        });
        asked && powers.next_back() == Some(Power::On)
    }

    /// Why the last soft request was refused, where that forbids every other order as well.
    pub(super) fn forbids_hard(&self) -> Option<String> {
        let last = self.sent.iter().rev();
        let mut last = last.filter(|sent| sent.order == Order::SoftOff);
        match &last.next()?.answer {
            Some((_, Report::Refused(refusal))) => match refusal.kind {
                // The hard order would meet the same level or the same firmware update.
                vocabulary::RefusalKind::NotPermitted | vocabulary::RefusalKind::Updating => {
                    Some(refused(refusal))
                }
                vocabulary::RefusalKind::NotSupported
                | vocabulary::RefusalKind::Doubted
                | vocabulary::RefusalKind::Busy
                | vocabulary::RefusalKind::NotInPresentState
                | vocabulary::RefusalKind::Failed => None,
            },
            Some((_, Report::Accepted(_) | Report::Unanswered(_))) | None => None,
        }
    }

    /// Whether one of these levels may have arrived.
    pub(super) fn level_handed(&self, order: &Order) -> bool {
        self.sent
            .iter()
            .any(|sent| sent.order == *order && sent.handed)
    }

    /// Whether the BMC has said to one of these levels that it is done, or that the node is in that
    /// state.
    pub(super) fn level_answered(&self, order: &Order) -> bool {
        self.sent.iter().any(|sent| {
            let done = match sent.answer.as_ref().map(|(_, report)| report) {
                Some(Report::Accepted(_)) => true,
                Some(Report::Refused(refusal)) => {
                    refusal.kind == vocabulary::RefusalKind::NotInPresentState
                }
                Some(Report::Unanswered(_)) | None => false,
            };
            done && sent.order == *order
        })
    }

    /// The orders of earlier tasks that may still bring the node out of this state: not those that
    /// have done so, as it looks, where the last reading says so and the next one may say that it
    /// was wrong.
    pub(super) fn against(&self, state: Power) -> impl Iterator<Item = &Earlier> {
        let (elapsed, power) = (self.clock.elapsed(), self.power);
        let against = move |earlier: &&Earlier| {
            let there = power.is_some_and(|power| earlier.to == [power]);
            !there && earlier.ends(state, elapsed)
        };
        self.earlier.iter().filter(against)
    }

    /// Whether an earlier order was to lead to this state, and it is not certain yet that it has.
    pub(super) fn may_be_reached(&self, state: Power) -> bool {
        let elapsed = self.clock.elapsed();
        let mut earlier = self.earlier.iter();
        earlier.any(|earlier| earlier.until > elapsed && earlier.to.first() == Some(&state))
    }

    /// How long the BMC takes for an answer: what waited for a session or the disk took longer.
    pub(super) fn round_trip(&self) -> Duration {
        let took = |sent: &Sent| match &sent.answer {
            // A merged reading spans several looks, so that its time is no round trip.
            Some((at, Report::Accepted(_) | Report::Refused(_))) if sent.times == 1 => {
                let ahead = self.ahead.filter(|(id, _)| *id == sent.id);
                let ahead = ahead.map_or(Duration::ZERO, |(_, by)| by);
                Some(at.saturating_sub(sent.at) + ahead)
            }
            _ => None,
        };
        self.sent.iter().filter_map(took).min().unwrap_or_default()
    }

    /// Whether the last order that changes power is the level that leads to this state, and was
    /// accepted.
    fn brought_about(&self, state: Power) -> bool {
        let mut sent = self.sent.iter();
        let last = sent.rfind(|sent| sent.order.changes_power());
        last.is_some_and(|sent| {
            let accepted = matches!(sent.answer, Some((_, Report::Accepted(_))));
            accepted && sent.order == level(state)
        })
    }

    /// How long this state has to hold before it is believed: less where our own level brought it
    /// about than where the machine got there by itself.
    pub(super) fn confirmed_after(&self, state: Power) -> Duration {
        let patient = self.settings.confirm_after;
        let hold = match self.brought_about(state) && !patient.is_zero() {
            true => SHORTEST_HOLD.max(self.round_trip() * HOLD_ROUND_TRIPS),
            false => patient,
        };
        // On such a node a state changed within a minute after it was
        // called done (`rack/drift.rs`).
        hold.max(self.settings.holds_longer.unwrap_or_default())
    }

    /// Whether a state that was first read at `since` was read again, at least [`SHORTEST_HOLD`]
    /// later.
    pub(super) fn is_read_twice(&self, since: Age) -> bool {
        let now = self.clock.since_begin();
        let unread = self.read_at().map_or(now, |at| now.saturating_sub(at));
        let held = self.clock.age().since(since).saturating_sub(unread);
        held >= SHORTEST_HOLD
    }

    /// For how long this state has to hold: longer where an earlier order may still end it.
    pub(super) fn has_to_hold(&self, state: Power) -> Duration {
        let watch = self.against(state).map(|earlier| match earlier.soft {
            // An operating system that was asked takes its time to go down; a level acts sooner.
            true => self.settings.rollback_settle,
            false => self.settings.settle,
        });
        watch
            .max()
            .unwrap_or_default()
            .max(self.confirmed_after(state))
    }

    /// `on now; the soft power off of 12:03 UTC may still switch it off`, where an earlier order
    /// may.
    pub(super) fn may_still_move(&self, state: Power) -> Option<String> {
        let mut may: Vec<String> = Vec::new();
        for words in self.against(state).map(Earlier::to_string) {
            // Several of one minute sound alike.
            if !may.contains(&words) {
                may.push(words);
            }
        }
        (!may.is_empty()).then(|| format!("{} now; {}", state.name(), may.join(", ")))
    }

    /// The node was read, by whomever: an earlier order that was to lead there has had its effect.
    pub(super) fn note_power(&mut self, power: Power) {
        let twice = self.power.replace(power) == Some(power);
        for acted in take_effect(&mut self.earlier, power, twice, |earlier| &mut earlier.to) {
            let (what, at) = (acted.what, self.at());
            let power = power.name();
            self.remark(format!("at {at} it was {power}, most likely by the {what}"));
        }
    }

    /// Takes note of what an own power reading brought.
    pub(super) fn take_reading(&mut self, report: &Report) -> Finding {
        match report {
            Report::Accepted(Reading::Power(power)) => {
                self.note_power(*power);
                // A reading after the first order shows our own doing: a
                // rollback must not return to that.
                if !self.changing_issued() {
                    self.power_at_start = Some(*power);
                }
                Finding::Read(*power)
            }
            Report::Accepted(_) => Finding::Nothing,
            Report::Refused(refusal) => match refusal.kind {
                // Once something was sent, only the deadline ends a task.
                vocabulary::RefusalKind::Updating
                | vocabulary::RefusalKind::NotSupported
                | vocabulary::RefusalKind::NotPermitted
                    if !self.changing_handed() =>
                {
                    Finding::Hopeless(format!(
                        "reading the power state was refused: {}",
                        refused(refusal)
                    ))
                }
                vocabulary::RefusalKind::Updating
                | vocabulary::RefusalKind::NotSupported
                | vocabulary::RefusalKind::NotPermitted
                | vocabulary::RefusalKind::Doubted
                | vocabulary::RefusalKind::Busy
                | vocabulary::RefusalKind::NotInPresentState
                | vocabulary::RefusalKind::Failed => Finding::Nothing,
            },
            // What can only be mended by an operator ends a task that has not touched the machine;
            // later it may still be a passing thing of a BMC that restarts, and the deadline
            // decides.
            Report::Unanswered(silence) if self.is_hopeless(silence) => {
                Finding::Hopeless(silence.text.clone())
            }
            Report::Unanswered(_) => Finding::Nothing,
        }
    }

    /// Whether it takes an operator to mend this silence and nothing was sent yet.
    pub(super) fn is_hopeless(&self, silence: &Silence) -> bool {
        let lasting = match silence.trouble {
            // Waiting mends none of these, a person has to: the task
            // says so now, not after its time.
            Trouble::NoAddress
            | Trouble::WrongPassword
            | Trouble::UnknownUser
            | Trouble::NoPrivilege
            | Trouble::NoCommonSuite
            | Trouble::NoProtocol
            | Trouble::Held => true,
            Trouble::Unreachable
            | Trouble::Silent
            | Trouble::SessionsFull
            | Trouble::Busy
            | Trouble::BreakerOpen
            | Trouble::Protocol
            | Trouble::WrongBmc
            | Trouble::Locked
            | Trouble::Withdrawn => false,
        };
        lasting && !self.changing_handed()
    }

    pub(super) fn remark(&mut self, remark: String) {
        // Rule 13: a machine that goes to and fro would add a remark with each look.
        if !self.remarks.contains(&remark) && self.remarks.len() < MOST_REMARKS {
            self.remarks.push(remark);
        }
    }

    /// When the power was last read, counted from the beginning.
    fn read_at(&self) -> Option<Duration> {
        self.sent.iter().rev().find_map(|sent| match &sent.answer {
            Some((at, Report::Accepted(Reading::Power(_)))) => Some(*at),
            _ => None,
        })
    }

    /// Whether the last reading is so young that it counts, at the end of time, without another one
    /// that confirms it.
    pub(super) fn is_fresh(&self) -> bool {
        let age = |at| self.clock.since_begin().saturating_sub(at);
        let young = self.settings.confirm_after.saturating_add(YOUNG);
        self.read_at().is_some_and(|at| age(at) <= young)
    }

    /// `it could not be read since 4.2 s`, where the last attempt to read the power state failed.
    pub(super) fn unread_since(&self) -> Option<String> {
        let reads = |sent: &&Sent| sent.order == Order::ReadPower && sent.answer.is_some();
        let last = self.sent.iter().rev().find(reads)?;
        match (&last.answer, self.read_at()) {
            (Some((_, Report::Accepted(_))), _) => None,
            (_, Some(at)) => Some(format!("it could not be read since {}", seconds(at))),
            (_, None) => Some("it was never read".to_owned()),
        }
    }

    /// `it was read off at 4.2 s, and nothing was read since: unknown whether it stayed so`
    pub(super) fn not_confirmed(&self) -> String {
        let power = self.power.map_or("", Power::name);
        let at = self
            .read_at()
            .map_or(String::new(), |at| format!(" at {}", seconds(at)));
        format!(
            "it was read {power}{at}, and nothing was read since: unknown whether it stayed so{}",
            self.and_trouble()
        )
    }

    /// `soft power off was sent at 0.2 s and accepted; ...`, or that nothing was.
    pub(in crate::power) fn what_was_sent(&self) -> String {
        let changing: Vec<String> = self
            .sent
            .iter()
            .filter(|sent| !sent.order.only_reads())
            .map(Sent::to_string)
            .collect();
        if changing.is_empty() {
            return "nothing was sent".to_owned();
        }
        if changing.len() > MOST_TOLD {
            let left_out = changing.len() - MOST_TOLD;
            let more = counted(left_out, "more order");
            return format!("{} (and {more} before)", changing[left_out..].join("; "));
        }
        changing.join("; ")
    }

    /// The next look, after so many.
    pub(super) fn next_look(&self, looks: u32) -> Next {
        Next::At(self.clock.age() + self.settings.look_pause(looks))
    }

    /// The end: `what` in words, followed by what was sent and what was noticed.
    pub(super) fn end(&self, state: TaskState, error: bool, what: &str) -> Phase {
        let mut text = format!("{what}: {}", self.what_was_sent());
        for remark in &self.remarks {
            text.push_str("; ");
            text.push_str(remark);
        }
        Phase::Ended(Outcome {
            state,
            power: self.power,
            power_at_start: self.power_at_start,
            text,
            error,
            took: self.clock.elapsed(),
        })
    }

    /// A success that rests on a reading just made.
    pub(super) fn succeed(&self, what: &str) -> Phase {
        self.end(TaskState::Succeeded, false, what)
    }

    /// A failure on the way forward. `power_state` shows `error` after a soft operation, else what
    /// was read.
    pub(super) fn fail(&self, why: &str) -> Phase {
        self.end(
            TaskState::Failed,
            self.operation.is_soft(),
            &format!("{} failed: {why}", self.operation.name()),
        )
    }

    /// An order of its own was refused: `it` where the order is the operation itself.
    pub(super) fn refused_in_words(&self, order: &Order, refusal: &vocabulary::Refusal) -> String {
        let what = match order.name() == self.operation.name() {
            true => "it",
            false => order.name(),
        };
        format!("{what} was refused: {}", refused(refusal))
    }

    /// A failure on the way back.
    pub(super) fn stuck(&self, by: &str, why: &str) -> Phase {
        let wanted = self.power_at_start.map_or("unknown", Power::name);
        let found = self.power.map_or("unknown", Power::name);
        self.end(
            TaskState::Stuck,
            true,
            &format!("rollback asked for by {by} is stuck: wanted {wanted}, found {found}: {why}"),
        )
    }

    /// `; the last order met: ...`, where it met trouble.
    pub(super) fn and_trouble(&self) -> String {
        self.trouble
            .as_deref()
            .map_or(String::new(), |trouble| format!(" ({})", lasting(trouble)))
    }

    /// The same where it is not what was said already.
    pub(super) fn and_other_trouble(&self, said: Option<&str>) -> String {
        match self.trouble.as_deref() == said {
            true => String::new(),
            false => self.and_trouble(),
        }
    }

    /// The time since the beginning, for messages.
    pub(super) fn at(&self) -> String {
        seconds(self.clock.since_begin())
    }
}

/// A refusal in words with its code.
pub(super) fn refused(refusal: &vocabulary::Refusal) -> String {
    // Completion code 00h means success: a refusal of our own must not be shown with it.
    if refusal.code == 0 {
        return refusal.text.clone();
    }
    if refusal.kind == vocabulary::RefusalKind::Updating {
        return format!(
            "the BMC is in a firmware update: {} ({:02X}h)",
            refusal.text, refusal.code
        );
    }
    format!("{} ({:02X}h)", refusal.text, refusal.code)
}

const MOST_REMARKS: usize = 16;
/// How old a setting of the boot device may be on which the next order relies: half of the 60 s
/// after which a BMC forgets it.
const RECENT: Duration = Duration::from_secs(30);
/// How old a reading may be, beside the time for its confirmation, that counts although it was not
/// confirmed. With the default that is three seconds: later the machine may be on again.
const YOUNG: Duration = Duration::from_secs(2);
/// Changing orders that an outcome tells of.
const MOST_TOLD: usize = 8;
