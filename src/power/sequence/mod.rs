//! [`Sequence`]: the value that `rack` drives. Here are its entrances and exits; the phases are in
//! `phase`, what turns one into another in `record`, `level`, `soft`, `pulse`, `nmi` and
//! `controls`, what it knows beside its phase in `knowledge`.

mod boot;
mod clock;
mod controls;
mod evidence;
mod foreseen;
mod kept_on;
mod knowledge;
mod level;
mod nmi;
pub(super) mod phase;
mod pulse;
mod record;
mod soft;
mod target;

pub(super) use clock::{Age, Clock};
pub use controls::{Refusal, RefusalKind};
pub(super) use kept_on::set_never_off;
pub(super) use knowledge::Knowledge;

use super::outcome::leave_out_readings;
use super::{Earlier, Outcome, Sent, Settings};
use crate::bmc::vocabulary::{Order, OrderId, Report};
use crate::model::{Control, Operation, Power, Target, TaskState};
use crate::time::Instant;
use clock::{FirstLook, Pace};
use phase::{Fate, Next, Phase, SlowLook, Suspended, Then, Withdrawing};
use std::collections::VecDeque;
use std::time::Duration;

/// One operation on one node.
///
/// How `rack` drives it: call a `handle_*`, [`begin`](Self::begin), [`control`](Self::control) or
/// [`observe_power`](Self::observe_power); then drain [`withdrawn`](Self::withdrawn), then
/// [`poll_order`](Self::poll_order); then call [`handle_timeout`](Self::handle_timeout) no later
/// than [`poll_timeout`](Self::poll_timeout). An order that changes power
/// ([`Order::changes_power`]) is to be written ahead: [`record`](Self::record) after `poll_order`
/// gave it and before it is handed to the BMC's room.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub(super) phase: Phase,
    pub(super) knowledge: Knowledge,
    /// Orders that were left behind unanswered and must not leave any more.
    withdrawn: VecDeque<OrderId>,
}

/// What a phase is told.
#[derive(Clone, Copy, Debug)]
enum Input<'a> {
    /// The report of its own order.
    Report(&'a Report),
    /// A power reading that somebody else's poll brought.
    Observed(Power),
    /// Its deadline has come.
    Deadline,
}

impl Sequence {
    /// A sequence that has not begun.
    pub fn new(operation: Operation, settings: Settings) -> Self {
        Self {
            phase: Phase::Queued,
            knowledge: Knowledge::new(operation, settings),
            withdrawn: VecDeque::new(),
        }
    }

    /// Tells it of the orders of earlier tasks that may still act on its node.
    pub fn with_earlier(mut self, earlier: Vec<Earlier>) -> Self {
        self.knowledge.earlier = earlier;
        self
    }

    /// The sequence as it goes on at `now` after a restart of the daemon.
    pub(super) fn go_on(
        phase: Phase,
        mut knowledge: Knowledge,
        unsent: Option<OrderId>,
        now: Instant,
    ) -> Self {
        // The stored clock has no last moment (the daemon's clock begins
        // anew): this one takes no patience.
        knowledge.clock.advance(now, Pace::Standing);
        let mut sequence = Self {
            phase: controls::restored(phase, unsent, &mut knowledge),
            knowledge,
            withdrawn: VecDeque::new(),
        };
        sequence.expire();
        sequence
    }

    /// The operation that the task carries out.
    pub fn operation(&self) -> Operation {
        self.knowledge.operation
    }

    /// How patient the task is.
    pub fn settings(&self) -> &Settings {
        &self.knowledge.settings
    }

    /// Leaves `queued`: the patience starts to run. In every other state it does nothing (a task
    /// that was suspended while queued is queued again after its resume).
    pub fn begin(&mut self, now: Instant) {
        self.advance(now);
        if self.phase == Phase::Queued {
            self.knowledge.clock.begin();
            self.phase = record::begin(&self.knowledge);
        }
        self.expire();
    }

    /// Takes a reading as its first, which was asked for under `id` so long before it began, and
    /// has `left` or not: whether it begins with one.
    pub fn begin_with(&mut self, id: OrderId, before: Duration, left: bool) -> bool {
        let reads = self.wants() == Some(Order::ReadPower);
        if reads {
            self.poll_order(id);
            if left {
                self.knowledge.record_handed(id);
            }
            self.knowledge.ahead = Some((id, before));
        }
        reads
    }

    /// The one report of an order. A late one, of an order that was left behind, goes into the
    /// record of what was sent and changes nothing else; an unknown id changes nothing at all.
    /// After a report that a pulse was unanswered another one may say that it was accepted: then it
    /// is known that it arrived.
    pub fn handle_report(&mut self, id: OrderId, report: Report, now: Instant) {
        self.advance(now);
        if self.knowledge.record_late_answer(id, &report) {
            if let Some(fate @ Fate::Unknown { .. }) = self.phase.fate_mut() {
                *fate = Fate::Accepted;
            }
            // The phase goes on with its own looks: a late answer only
            // changes what is known of the pulse.
            return self.expire();
        }
        if !self.knowledge.record_answer(id, &report) {
            return;
        }
        if self.phase.outstanding() == Some(id) {
            // The age stood still until this look was answered; patience
            // runs again from here (rule 6).
            if self.knowledge.clock.look == FirstLook::Now {
                self.knowledge.clock.look = FirstLook::None;
            }
            match self.sets_boot(id) {
                true => self.boot_reported(&report),
                false => self.step(Input::Report(&report)),
            }
        }
        self.knowledge.merge_readings(id);
        if self.knowledge.clock.look == FirstLook::After(id) {
            self.look_first();
        }
        self.expire();
    }

    /// The daemon stood still from `since` until `now` (its process was stopped, the machine slept):
    /// no patience ran out by that, and the machine is looked at before anything is judged.
    pub fn handle_absence(&mut self, since: Instant, now: Instant) {
        self.advance(since);
        self.knowledge.clock.advance(now, Pace::Standing);
        match self.phase.outstanding() {
            // It may have arrived: what the BMC says to it is worth waiting for. What has not left
            // comes after the look.
            Some(id) if self.knowledge.changes_power(id) && self.knowledge.was_handed(id) => {
                self.knowledge.clock.look = FirstLook::After(id);
            }
            Some(_) | None => self.look_first(),
        }
    }

    /// A reading from before counts no more: the next one decides.
    fn look_first(&mut self) {
        self.knowledge.clock.look = FirstLook::None;
        let before = self.phase.outstanding();
        match &mut self.phase {
            // These judge nothing by a reading, so that a standstill cannot mislead them.
            Phase::Queued | Phase::Withdrawing(_) | Phase::Ended(_) => return,
            Phase::Suspended(phase) => {
                phase.look = SlowLook::At(self.knowledge.clock.elapsed());
            }
            phase => {
                let phase = std::mem::replace(phase, Phase::Queued);
                self.phase = controls::refreshed(phase, &self.knowledge);
                if self.phase.next().is_some() {
                    self.knowledge.clock.look = FirstLook::Now;
                }
            }
        }
        // The answer to a look from before the standstill may be minutes old: it is not waited for.
        self.leave_behind(before);
    }

    /// The order's first packet was handed to the network: from here on it cannot be cancelled. To
    /// be told before any control that comes later.
    pub fn handle_sent(&mut self, id: OrderId, now: Instant) {
        self.advance(now);
        self.knowledge.record_handed(id);
        self.expire();
    }

    /// The time is `now`: deadlines that have passed take effect.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.expire();
    }

    /// A power reading that somebody else's poll brought, fresh as of `now`. Before
    /// [`begin`](Self::begin) it decides what [`target`](Self::target) shows; later it makes the
    /// sequence look for itself sooner. It never counts as the reading that a success rests on.
    pub fn observe_power(&mut self, power: Power, now: Instant) {
        self.advance(now);
        if !self.state().is_end() {
            self.knowledge.note_power(power);
            self.step(Input::Observed(power));
            self.expire();
        }
    }

    /// The order that [`poll_order`](Self::poll_order) would give now.
    pub fn wants(&self) -> Option<Order> {
        // A paused rack asks nothing for a rollback, not even for a
        // reading: it looks when it goes on.
        if self.is_held() {
            return None;
        }
        let due = match &self.phase {
            Phase::Suspended(Suspended {
                look: SlowLook::At(at),
                ..
            }) => *at <= self.knowledge.clock.elapsed(),
            phase => {
                matches!(phase.next(), Some(Next::At(at)) if at <= self.knowledge.clock.age())
            }
        };
        if !due {
            return None;
        }
        let order = self.phase.order(self.knowledge.operation)?;
        Some(self.boot_setting(&order).unwrap_or(order))
    }

    /// The next order, to be issued under `id`, as of the last moment that was told; `None` if
    /// there is none now. At most one is outstanding. `id` must be new; it is only used up where an
    /// order is returned.
    pub fn poll_order(&mut self, id: OrderId) -> Option<Order> {
        // Rule "once", held here a last time whatever the phases do: a pulse that may have arrived
        // is not sent again.
        if self.phase.has_pulse_to_send() && self.knowledge.pulse_handed() {
            let phase = std::mem::replace(&mut self.phase, Phase::Queued);
            self.phase = pulse::after_possible_arrival(phase, &self.knowledge);
        }
        // So is the word of the configuration.
        self.keep_on();
        let order = self.wants()?;
        if let Phase::Suspended(phase) = &mut self.phase {
            phase.look = SlowLook::Out(id);
        } else if let Some(next) = self.phase.next_mut() {
            *next = Next::Out(id);
        }
        self.knowledge.record_order(id, order.clone());
        Some(order)
    }

    /// An order that was issued and must not leave any more; `None` when there is no further one.
    /// Its report is still welcome. After an abort or cancel that met an outstanding order the
    /// sequence is `aborting` until that report comes (at most 1 s), so that it can say whether the
    /// order had left.
    pub fn withdrawn(&mut self) -> Option<OrderId> {
        self.withdrawn.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the latest. An order that
    /// is due and not yet polled does not count.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let clock = &self.knowledge.clock;
        let look = match &self.phase {
            Phase::Suspended(Suspended {
                look: SlowLook::At(at),
                ..
            }) => (*at > clock.elapsed()).then(|| clock.when_elapsed(*at)),
            _ => None,
        };
        let waits = matches!(self.pace(), Pace::Waiting { runs: false });
        // The end of the pause, or the task's turn, brings the next step: no time of its own does.
        if self.is_held() || waits {
            return look;
        }
        let order = match self.phase.next() {
            Some(Next::At(at)) if at > clock.age() => Some(at),
            _ => None,
        };
        // While the age stands still no moment of the daemon's clock belongs to a deadline.
        let deadline = self.deadline().filter(|_| self.pace().runs());
        let first = [order, deadline].into_iter().flatten().min();
        let first = first.map(|age| clock.when(age));
        [look, first].into_iter().flatten().min()
    }

    /// Where it stands.
    pub fn state(&self) -> TaskState {
        match &self.phase {
            Phase::Queued => TaskState::Queued,
            Phase::Suspended(_) => TaskState::Suspended,
            Phase::Withdrawing(Withdrawing {
                then: Then::Abort { .. } | Then::Cancel { .. },
                ..
            }) => TaskState::Aborting,
            Phase::Ended(outcome) => outcome.state,
            phase if phase.is_return() => TaskState::RollingBack,
            Phase::Recording(_)
            | Phase::SoftPressing(_)
            | Phase::SoftWaiting(_)
            | Phase::Switching(_)
            | Phase::Watching(_)
            | Phase::MinOffTime(_)
            | Phase::RecordingEvidence(_)
            | Phase::LastLook(_)
            | Phase::Pulsing(_)
            | Phase::Observing(_)
            | Phase::NmiWatching(_)
            | Phase::Explaining(_)
            | Phase::AwaitingShutdown(_)
            | Phase::Withdrawing(_) => TaskState::Running,
        }
    }

    /// Carries out a control, or says why not and what is still possible. `by` names who asked, for
    /// the outcome.
    ///
    /// An abort, cancel or rollback that meets an outstanding order withdraws it (drain
    /// [`withdrawn`](Self::withdrawn) at once) and may end a moment later, with that order's
    /// report: answer the caller when [`state`](Self::state) is an end, or `rolling back`. Nothing
    /// that changes power leaves after an abort, a cancel or a suspend.
    pub fn control(&mut self, control: Control, by: &str, now: Instant) -> Result<(), Refusal> {
        self.advance(now);
        // A deadline that has passed comes first: a control does not
        // save a task whose time was over.
        self.expire();
        self.may(control)?;
        // Design, section 3: such an abort leaves the power state at `error` until the next sync.
        let error = matches!(
            self.target(),
            Some(Target::SoftPowerOff | Target::InjectNmi)
        ) && !self.phase.is_return();
        let before = self.phase.outstanding();
        let withdrawing = matches!(self.phase, Phase::Withdrawing(_));
        let phase = std::mem::replace(&mut self.phase, Phase::Queued);
        self.phase = controls::carry_out(control, phase, by, error, &mut self.knowledge);
        self.leave_behind(before);
        // `leave_behind` leaves this order out, because the withdrawing
        // phase still waits for its report.
        if let (Some(id), false, Phase::Withdrawing(_)) = (before, withdrawing, &self.phase) {
            self.withdrawn.push_back(id);
        }
        self.expire();
        Ok(())
    }

    /// Whether a control is allowed now; `Err` says why not and what is still possible.
    pub fn may(&self, control: Control) -> Result<(), Refusal> {
        controls::may(control, self)
    }

    /// Whether nothing is left to it but to watch, or nothing but one more look at what is there
    /// already: then a new request on the node ends it.
    pub fn only_watches(&self) -> bool {
        let knowledge = &self.knowledge;
        match &self.phase {
            Phase::NmiWatching(_) => true,
            // The state is there and nothing was sent: a new request need
            // not wait for the second reading.
            Phase::Queued | Phase::Recording(_) => self.target().is_none(),
            Phase::Watching(phase) => {
                phase.seen.is_some() && level::only_watches(&phase.leg, knowledge)
            }
            Phase::SoftWaiting(phase) => {
                phase.seen.is_some()
                    && knowledge.operation == Operation::SoftPowerOff
                    && !knowledge.changing_issued()
            }
            Phase::SoftPressing(_)
            | Phase::Switching(_)
            | Phase::MinOffTime(_)
            | Phase::RecordingEvidence(_)
            | Phase::LastLook(_)
            | Phase::Pulsing(_)
            | Phase::Observing(_)
            | Phase::Explaining(_)
            | Phase::AwaitingShutdown(_)
            | Phase::Suspended(_)
            | Phase::Withdrawing(_)
            | Phase::Ended(_) => false,
        }
    }

    /// Ends it where it [only watches](Self::only_watches), because of another request: `bob asked
    /// for power off`.
    pub fn supersede(&mut self, why: &str, now: Instant) {
        self.advance(now);
        self.expire();
        if !self.only_watches() {
            return;
        }
        let before = self.phase.outstanding();
        let phase = std::mem::replace(&mut self.phase, Phase::Queued);
        self.phase = controls::superseded(phase, why, &mut self.knowledge);
        self.leave_behind(before);
    }

    /// A soft power off that was not to turn hard, or later, does so this long from now; whether it
    /// still can: the operating system has yet to go down.
    pub fn harden(&mut self, after: Duration, by: &str, now: Instant) -> bool {
        self.advance(now);
        self.expire();
        let hardens = soft::harden(&mut self.phase, after, by, &mut self.knowledge);
        self.expire();
        hardens
    }

    /// How the task ended, once it did.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// The power state that a rollback would bring back: the last reading before the first order
    /// that changes it.
    pub fn power_at_start(&self) -> Option<Power> {
        self.knowledge.power_at_start
    }

    /// The last power state that was read.
    pub fn power(&self) -> Option<Power> {
        self.knowledge.power
    }

    /// Every order in its turn, with time and answer.
    pub fn sent(&self) -> &[Sent] {
        &self.knowledge.sent
    }

    /// How many orders were sent between the first and the last ones of those.
    pub fn left_out(&self) -> u32 {
        self.knowledge.left_out
    }

    /// Leaves readings out that say nothing, but for so many of the first orders and of the last.
    pub fn leave_out_readings(&mut self, ends: usize) {
        let gone = leave_out_readings(&mut self.knowledge.sent, ends);
        let gone = u32::try_from(gone).unwrap_or(u32::MAX);
        self.knowledge.left_out = self.knowledge.left_out.saturating_add(gone);
    }

    pub(super) fn advance(&mut self, now: Instant) {
        let pace = self.pace();
        self.knowledge.clock.advance(now, pace);
    }

    /// Its clock as it reads at `now`.
    pub(super) fn clock_at(&self, now: Instant) -> Clock {
        let mut clock = self.knowledge.clock.clone();
        clock.advance(now, self.pace());
        clock
    }

    /// Holds a rollback where it is, or lets it go on. It cannot be suspended as a task can, but
    /// where nothing may leave (the rack is paused) its patience does not run out either. Going on
    /// begins with a look at the machine. Nothing but a rollback can be held.
    pub fn hold(&mut self, held: bool, now: Instant) {
        self.advance(now);
        self.expire();
        if held == self.knowledge.clock.held || held && !self.phase.is_return() {
            return;
        }
        self.knowledge.clock.held = held;
        // A pause may last for hours: what was read before it decides nothing any more.
        if !held && self.phase.is_return() && self.phase.outstanding().is_none() {
            let phase = std::mem::replace(&mut self.phase, Phase::Queued);
            self.phase = controls::refreshed(phase, &self.knowledge);
        }
    }

    /// The order that it gave waits for its turn among those of other nodes: no patience runs out
    /// by that, but for a time that the request named, and not even that where the machine [comes
    /// back](Self::comes_back). To be taken back when the turn has come, or with the order.
    pub fn await_turn(&mut self, waits: bool, now: Instant) {
        self.advance(now);
        self.expire();
        self.knowledge.clock.waits = waits;
    }

    /// The task was suspended because the rack or its node takes no orders, and not because
    /// somebody wants it to stand still: a time that the request named runs on until the first
    /// order has left, as in the queue. The next control ends that.
    pub fn keep(&mut self, now: Instant) {
        self.advance(now);
        self.knowledge.clock.kept = true;
        self.expire();
    }

    /// The task is kept no more, and stands still for its own sake.
    pub fn stay(&mut self, now: Instant) {
        self.advance(now);
        self.knowledge.clock.kept = false;
    }

    /// Whether what it switches on is a machine that is off by our doing, or goes down by it.
    pub fn comes_back(&self) -> bool {
        self.knowledge.off_handed() || self.phase.is_return()
    }

    /// Whether an order that changes power may follow as soon as it is known what the present one
    /// brings.
    pub fn leads_to_change(&self) -> bool {
        self.phase.leads_to_change(self.knowledge.operation)
    }

    /// Whether it is a rollback that is held.
    pub fn is_held(&self) -> bool {
        self.knowledge.clock.held && self.phase.is_return()
    }

    fn pace(&self) -> Pace {
        let Knowledge {
            clock, settings, ..
        } = &self.knowledge;
        let runs = settings.from_request;
        match self.state() {
            TaskState::Succeeded
            | TaskState::Failed
            | TaskState::Aborted
            | TaskState::Cancelled
            | TaskState::RolledBack
            | TaskState::Stuck => Pace::Standing,
            // A pause of the rack, or a standstill of the daemon, costs no task its patience.
            TaskState::Queued
            | TaskState::Running
            | TaskState::Suspended
            | TaskState::Aborting
            | TaskState::RollingBack
                if self.is_held() || clock.looks_first() =>
            {
                Pace::Standing
            }
            TaskState::Queued => Pace::Waiting { runs },
            // Rule 6: no machine that we switched off stays off for want of a place.
            TaskState::Running
            | TaskState::Suspended
            | TaskState::Aborting
            | TaskState::RollingBack
                if clock.waits =>
            {
                let runs = runs && !self.comes_back();
                Pace::Waiting { runs }
            }
            // Rule 6: a time that the request named counts from the request,
            // whatever keeps the first order.
            TaskState::Suspended if clock.kept && !self.knowledge.changing_handed() => {
                Pace::Waiting { runs }
            }
            TaskState::Suspended => Pace::Standing,
            TaskState::Running | TaskState::Aborting | TaskState::RollingBack => Pace::Running,
        }
    }

    /// When something ends by itself: the phase, or the wait in the queue where the request named
    /// its time.
    pub(super) fn deadline(&self) -> Option<Age> {
        let Knowledge {
            settings,
            operation,
            ..
        } = &self.knowledge;
        match self.phase {
            // A configured time counts from the task's turn, so that only a
            // named one ends the wait (rule 6).
            Phase::Queued | Phase::Suspended(_) => self
                .pace()
                .runs()
                .then(|| Age::default() + settings.nameable(*operation)),
            _ => self.phase.deadline(),
        }
    }

    fn step(&mut self, input: Input<'_>) {
        let before = self.phase.outstanding();
        let phase = std::mem::replace(&mut self.phase, Phase::Queued);
        self.phase = on(phase, input, &mut self.knowledge);
        self.leave_behind(before);
    }

    /// Ends the phase whose deadline has come, and the next one if its deadline has come too; and
    /// what would switch off a machine that is never to be.
    fn expire(&mut self) {
        while self
            .deadline()
            .is_some_and(|deadline| deadline <= self.knowledge.clock.age())
        {
            let before = self.phase.clone();
            self.step(Input::Deadline);
            // A phase that its deadline does not move on would be stepped for ever.
            if self.phase == before {
                break;
            }
        }
        self.keep_on();
    }

    /// An order that the phase no longer waits for is withdrawn, unless its report has come.
    fn leave_behind(&mut self, before: Option<OrderId>) {
        if let Some(id) = before
            && self.phase.outstanding() != Some(id)
            && self.knowledge.is_unanswered(id)
        {
            self.withdrawn.push_back(id);
        }
    }
}

/// The one function that turns a phase and what it is told into the next phase: each knows itself
/// what follows.
fn on(phase: Phase, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
    match phase {
        Phase::Queued => match input {
            Input::Report(_) | Input::Observed(_) => Phase::Queued,
            Input::Deadline => controls::no_turn(knowledge),
        },
        Phase::Recording(phase) => phase.on(input, knowledge),
        Phase::SoftPressing(phase) => phase.on(input, knowledge),
        Phase::SoftWaiting(phase) => phase.on(input, knowledge),
        Phase::Switching(phase) => phase.on(input, knowledge),
        Phase::Watching(phase) => phase.on(input, knowledge),
        Phase::MinOffTime(phase) => phase.on(input, knowledge),
        Phase::RecordingEvidence(phase) => phase.on(input, knowledge),
        Phase::LastLook(phase) => phase.on(input, knowledge),
        Phase::Pulsing(phase) => phase.on(input, knowledge),
        Phase::Observing(phase) => phase.on(input, knowledge),
        Phase::NmiWatching(phase) => phase.on(input, knowledge),
        Phase::Explaining(phase) => phase.on(input, knowledge),
        Phase::AwaitingShutdown(phase) => phase.on(input, knowledge),
        Phase::Suspended(phase) => phase.on(input, knowledge),
        Phase::Withdrawing(phase) => phase.on(input, knowledge),
        Phase::Ended(_) => phase,
    }
}
