//! A task: a sequence with its identity, and what the journal keeps of it.

use super::ahead::{Ahead, Foresight};
use super::call::{CallId, Refused};
use super::clock::Moment;
use super::gate::Turn;
use super::inventory::NodeId;
use super::stored::TaskRecord;
use super::sync;
use crate::bmc::vocabulary::{Order, OrderId, Reading, Report};
use crate::model::{
    self, BatchId, Control, Delivery, ENDS_KEPT, Operation, Power, Short, Target, TaskId,
    TaskState, Trouble, Who, after_state, state_and_phase,
};
use crate::power::{Refusal, RefusalKind, Sequence, SequenceRecord};
use crate::time::{Instant, WallTime};
use std::time::Duration;
use uuid::Uuid;

/// One operation on one node.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) identity: Identity,
    /// `None` for an ended task of a node that is configured no more.
    pub(super) node: Option<NodeId>,
    pub(super) sequence: Sequence,
    /// Whether its first record is durable: before that it does not begin.
    pub(super) admitted: bool,
    /// Resume was asked for, and nothing has kept it back or let it go on yet.
    pub(super) resuming: Option<String>,
    /// Rollback was asked for while it stood still, likewise.
    pub(super) returning: Option<String>,
    /// A call that wants to know what the BMC says to the NMI, and until when it waits.
    pub(super) nmi_call: Option<(CallId, Instant)>,
    /// The reading that it begins with, asked for before it began.
    pub(super) ahead: Option<Ahead>,
    /// Whether it had its turn in the stagger of its batch: with its first order that changes
    /// power.
    pub(super) had_turn: bool,
    /// What that reading will bring, as far as is known, and what was put down for that.
    pub(super) foresight: Option<Foresight>,
    /// What was journaled last: compared to see whether there is something new.
    pub(super) journaled: Option<Milestone>,
}

/// What stays the same, or changes at the start and the end only.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) id: TaskId,
    pub(super) node: String,
    pub(super) node_uuid: Uuid,
    pub(super) batch: Option<BatchId>,
    pub(super) operation: Operation,
    pub(super) requested_by: Who,
    pub(super) requested_at: WallTime,
    pub(super) started_at: Option<WallTime>,
    pub(super) ended_at: Option<WallTime>,
    pub(super) version: u64,
    /// The first and the last ones that were used.
    pub(super) controls: Vec<UsedControl>,
    /// How many were used between those.
    pub(super) controls_left_out: u32,
    /// The task that it took its node over from.
    pub(super) took_over: Option<TaskId>,
    /// The task that took its node over.
    pub(super) taken_over_by: Option<TaskId>,
}

impl Identity {
    fn note_control(&mut self, used: UsedControl) {
        self.controls.push(used);
        self.leave_out_controls(ENDS_KEPT);
    }

    /// Keeps so many of the first controls and so many of the last.
    fn leave_out_controls(&mut self, ends: usize) {
        let surplus = self.controls.len().saturating_sub(2 * ends);
        if surplus > 0 {
            self.controls.drain(ends..ends + surplus);
        }
        let surplus = u32::try_from(surplus).unwrap_or(u32::MAX);
        self.controls_left_out = self.controls_left_out.saturating_add(surplus);
    }
}

/// A control that was used.
#[derive(Clone, Debug)]
pub(super) struct UsedControl {
    pub(super) control: Control,
    pub(super) by: String,
    pub(super) at: WallTime,
}

impl From<&UsedControl> for model::ControlUse {
    fn from(used: &UsedControl) -> Self {
        Self {
            control: used.control.into(),
            by: used.by.clone(),
            at: used.at,
        }
    }
}

/// The news that a task has come on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct News {
    /// `running: waiting for the operating system to shut down`
    pub(super) text: String,
    /// Whether it has just ended.
    pub(super) ended: bool,
}

/// The part of a task whose change is worth a record and an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Milestone {
    pub(super) state: TaskState,
    pub(super) phase: String,
    pub(super) step: u32,
    pub(super) target: Option<Target>,
    /// Orders that change power, and how many of them have an answer.
    pub(super) changing: (usize, usize),
    pub(super) resuming: bool,
    pub(super) returning: bool,
}

impl Task {
    /// A task that begins when its first record is durable and its turn has come.
    pub(super) fn new(identity: Identity, node: NodeId, sequence: Sequence) -> Self {
        Self {
            identity,
            node: Some(node),
            sequence,
            admitted: false,
            resuming: None,
            returning: None,
            nmi_call: None,
            ahead: None,
            had_turn: false,
            foresight: None,
            journaled: None,
        }
    }

    pub(super) fn state(&self) -> TaskState {
        self.sequence.state()
    }

    pub(super) fn is_active(&self) -> bool {
        !self.state().is_end()
    }

    /// Whether it has ended and that was noted, with all that follows from it.
    pub(super) fn is_closed(&self) -> bool {
        let journaled = self.journaled.as_ref();
        journaled.is_some_and(|milestone| milestone.state.is_end())
    }

    /// What `target_power_state` shows for it.
    pub(super) fn target(&self) -> Option<Target> {
        self.sequence.target()
    }

    /// Whether the inrush current of an order of it may flow: one that switches on was handed to
    /// the network and not refused, none that switches off followed, and what became of it is not
    /// known yet.
    pub(super) fn draws_inrush(&self) -> bool {
        // What stands still gives its place up, and needs one again to go on.
        let moving = match self.state() {
            TaskState::Running | TaskState::Aborting | TaskState::RollingBack => true,
            TaskState::Queued
            | TaskState::Suspended
            | TaskState::Succeeded
            | TaskState::Failed
            | TaskState::Aborted
            | TaskState::Cancelled
            | TaskState::RolledBack
            | TaskState::Stuck => false,
        };
        moving && self.has_switched_on()
    }

    /// Whether the last order of it that changes power was handed to the network, and switches on.
    pub(super) fn has_switched_on(&self) -> bool {
        let mut sent = self.sequence.sent().iter();
        let last = sent.rfind(|sent| sent.may_have_acted());
        last.is_some_and(|sent| sent.order.draws_inrush())
    }

    /// Whose turn an order of it is that switches on.
    pub(super) fn turn(&self) -> Turn {
        match (self.draws_inrush(), self.sequence.comes_back()) {
            (true, _) => Turn::Again,
            (false, true) => Turn::WayBack,
            (false, false) => Turn::New,
        }
    }

    /// Whether it has not begun, and its node was read as it is to be since it was asked for.
    pub(super) fn has_nothing_to_do(&self) -> bool {
        let found = self.ahead.as_ref().and_then(Ahead::power);
        self.sequence.has_nothing_to_do(found)
    }

    /// Whether the scheduler is to look at it.
    pub(super) fn waits(&self) -> bool {
        self.admitted && (self.state() == TaskState::Queued || self.wants_place())
    }

    /// Whether it stands still and is to go on, forward or back.
    pub(super) fn wants_place(&self) -> bool {
        self.resuming.is_some() || self.returning.is_some()
    }

    pub(super) fn milestone(&self) -> Milestone {
        let changing = self
            .sequence
            .sent()
            .iter()
            .filter(|sent| sent.order.changes_power());
        Milestone {
            state: self.state(),
            phase: self.sequence.phase_in_words(),
            step: self.sequence.step_of().0,
            target: self.target(),
            changing: (
                changing.clone().count(),
                changing.filter(|sent| sent.answer.is_some()).count(),
            ),
            resuming: self.resuming.is_some(),
            returning: self.returning.is_some(),
        }
    }

    /// Where it has come on since this was asked last: what an event says of it.
    pub(super) fn news(&mut self) -> Option<News> {
        let milestone = self.milestone();
        if self.journaled.as_ref() == Some(&milestone) {
            return None;
        }
        let had_ended = self
            .journaled
            .as_ref()
            .is_some_and(|old| old.state.is_end());
        // An end is told once: batches and counters go on with it.
        let ended = milestone.state.is_end() && !had_ended;
        let text = match self.sequence.outcome() {
            Some(outcome) => {
                let (operation, state) = (self.identity.operation.name(), milestone.state.name());
                format!("{state}{}", after_state(operation, state, &outcome.text))
            }
            None => state_and_phase(milestone.state.name(), &milestone.phase),
        };
        self.identity.version += 1;
        self.journaled = Some(milestone);
        let Identity {
            id,
            node,
            operation,
            ..
        } = &self.identity;
        log::debug!("{node}: {operation} {id}: {text}");
        Some(News { text, ended })
    }

    /// Tells the log how it ended.
    pub(super) fn log_end(&self) {
        let Some(outcome) = self.sequence.outcome() else {
            return;
        };
        let level = match outcome.state.has_failed() {
            true => log::Level::Warn,
            false => log::Level::Info,
        };
        let told = sync::told(self.identity.operation, outcome);
        log::log!(level, "{}: {told}", self.identity.node);
    }

    /// Uses a control on it. Whether it may go on from a stand is the scheduler's to say: at once,
    /// as a rule.
    pub(super) fn control(
        &mut self,
        control: Control,
        by: &str,
        at: Moment,
    ) -> Result<(), Refusal> {
        self.may(control)?;
        let suspended = self.state() == TaskState::Suspended;
        match control {
            // The task stands still already: the wish to go on is taken back.
            Control::Suspend if self.wants_place() => {
                (self.resuming, self.returning) = (None, None)
            }
            Control::Resume => (self.resuming, self.returning) = (Some(by.to_owned()), None),
            // The way back may switch a machine on: it waits for a
            // place, as a resume does (rule 11).
            Control::Rollback if suspended => {
                (self.resuming, self.returning) = (None, Some(by.to_owned()));
            }
            Control::Abort | Control::Cancel | Control::Rollback | Control::Suspend => {
                self.sequence.control(control, by, at.now)?;
                (self.resuming, self.returning) = (None, None);
            }
        }
        self.note_control(control, by, at);
        Ok(())
    }

    /// The task was suspended by a hold that would let it go on, and is suspended for its own sake
    /// now.
    pub(super) fn stay(&mut self, by: &str, at: Moment) {
        (self.resuming, self.returning) = (None, None);
        self.sequence.stay(at.now);
        self.note_control(Control::Suspend, by, at);
    }

    fn note_control(&mut self, control: Control, by: &str, at: Moment) {
        self.identity.note_control(UsedControl {
            control,
            by: by.to_owned(),
            at: at.wall,
        });
        let Identity { id, node, .. } = &self.identity;
        log::info!("{node}: {control} of task {id} by {by}");
    }

    /// Nothing keeps it back, and it goes on or begins: whether this is its beginning.
    pub(super) fn go_on(&mut self, at: Moment) -> bool {
        if let Some(by) = self.resuming.take() {
            // The task's state may have changed since: then there is nothing to resume any more.
            let _ = self.sequence.control(Control::Resume, &by, at.now);
            return false;
        }
        if let Some(by) = self.returning.take() {
            let _ = self.sequence.control(Control::Rollback, &by, at.now);
            return false;
        }
        self.sequence.begin(at.now);
        self.identity.started_at = Some(at.wall);
        true
    }

    /// Whether a new request on its node ends it, because it only watches.
    pub(super) fn gives_way(&self) -> bool {
        self.admitted && self.sequence.only_watches()
    }

    /// Whether an order of it that changes power has left, or may have.
    pub(super) fn has_left(&self) -> bool {
        let mut sent = self.sequence.sent().iter();
        sent.any(|sent| sent.order.changes_power() && sent.handed)
    }

    /// When it had its turn to change power, at the latest: the answer to its order tells, or
    /// nobody does. `None` where it had none.
    pub(super) fn had_turn_by(&self, wall: WallTime) -> Option<WallTime> {
        let begun = self.identity.started_at?;
        let mut sent = self.sequence.sent().iter();
        let first = sent.find(|sent| sent.order.changes_power() && sent.handed)?;
        let answered = first.answer.as_ref();
        Some(answered.map_or(wall, |(at, _)| begun + *at))
    }

    /// The power state that it has read last, and when.
    pub(super) fn last_reading(&self) -> Option<(Power, WallTime)> {
        let begun = self.identity.started_at?;
        let mut sent = self.sequence.sent().iter().rev();
        sent.find_map(|sent| match sent.answer {
            Some((at, Report::Accepted(Reading::Power(power)))) => Some((power, begun + at)),
            _ => None,
        })
    }

    /// The answer for the caller of an NMI, where there is one by now: what the BMC said to it, or
    /// that the task ended before.
    pub(super) fn nmi_answer(&self, now: Instant) -> Option<(CallId, Result<(), Refused>)> {
        let (call, until) = self.nmi_call?;
        let mut sent = self.sequence.sent().iter();
        let pulse = sent.rfind(|sent| sent.order == Order::Nmi);
        // An NMI that did not leave, or was refused, may still be given: that is not the end.
        let is_final = |report: &Report| match report {
            Report::Accepted(_) => true,
            Report::Unanswered(silence) if silence.delivery == Delivery::Unknown => true,
            Report::Refused(_) | Report::Unanswered(_) => self.state().is_end() || now >= until,
        };
        let said = pulse.and_then(|sent| sent.answer.as_ref());
        let answer = match said.filter(|(_, report)| is_final(report)) {
            Some((_, report)) => self.nmi_said(report),
            // It ended before the NMI was given: the machine is off, or somebody stopped it.
            None if self.state().is_end() => Err(self.nmi_not_sent()),
            None if now >= until => Err(Refused::Unanswered {
                node: self.identity.node.clone(),
                what: Order::Nmi.name().to_owned(),
                trouble: Trouble::Silent,
                delivery: Delivery::Unknown,
                text: format!(
                    "not answered within 5 s; task {} goes on watching",
                    Short::task(self.identity.id)
                ),
            }),
            None => return None,
        };
        Some((call, answer))
    }

    fn nmi_said(&self, report: &Report) -> Result<(), Refused> {
        let (node, what) = (self.identity.node.clone(), Order::Nmi.name().to_owned());
        match report {
            Report::Accepted(_) => Ok(()),
            Report::Refused(refusal) => Err(Refused::Bmc {
                node,
                what,
                text: refusal.text.clone(),
                code: refusal.code,
            }),
            Report::Unanswered(silence) => Err(Refused::Unanswered {
                node,
                what,
                trouble: silence.trouble,
                delivery: silence.delivery,
                text: silence.text.clone(),
            }),
        }
    }

    fn nmi_not_sent(&self) -> Refused {
        let why = self.sequence.outcome().map(|outcome| outcome.text.clone());
        let power = self.sequence.power();
        Refused::WrongState {
            action: Order::Nmi.name().to_owned(),
            node: self.identity.node.clone(),
            state: power.map_or("unknown".to_owned(), |power| format!("power {power}")),
            why: why.unwrap_or_default(),
        }
    }

    /// What the journal keeps of it. `unsent` is the order that it gave and that certainly has not
    /// left.
    pub(super) fn record(&mut self, unsent: Option<OrderId>, at: Moment) -> TaskRecord {
        let sequence = self.sequence.record(at.now);
        TaskRecord {
            unsent,
            ..self.record_with(sequence, at)
        }
    }

    /// The same with this of its sequence.
    pub(super) fn record_with(&self, sequence: SequenceRecord, at: Moment) -> TaskRecord {
        TaskRecord {
            identity: self.identity.clone(),
            sequence,
            written_at: at.wall,
            // Patience over a crash is counted by the clock of this life, which nobody can set.
            written: Some(at.stamp()),
            resuming: self.resuming.clone(),
            returning: self.returning.clone(),
            unsent: None,
        }
    }

    /// Whether a control is allowed now; the refusal says why not and what is still possible.
    /// Beside what the sequence says, a task may be waiting for its place to go on: asking for that
    /// again changes nothing, and to suspend it takes the wish back.
    pub(super) fn may(&self, control: Control) -> Result<(), Refusal> {
        let decide = |control| match control {
            // A second resume once went past the scheduler, and took a place that was not there.
            Control::Resume if self.resuming.is_some() => Err("resume"),
            Control::Rollback if self.returning.is_some() => Err("roll back"),
            Control::Resume
            | Control::Rollback
            | Control::Abort
            | Control::Cancel
            | Control::Suspend => Ok(()),
        };
        let allowed = |control: &Control| {
            let takes_back = *control == Control::Suspend && self.wants_place();
            decide(*control).is_ok() && (takes_back || self.sequence.may(*control).is_ok())
        };
        let possible = || Control::ALL.into_iter().filter(allowed).collect();
        if let Err(what) = decide(control) {
            return Err(Refusal {
                control,
                kind: RefusalKind::UnderWay,
                reason: format!("the task waits already to {what}"),
                possible: possible(),
            });
        }
        if allowed(&control) {
            return Ok(());
        }
        let said = self.sequence.may(control);
        said.map_err(|refusal| Refusal {
            possible: possible(),
            ..refusal
        })
    }

    /// Keeps no more of its controls than its part where so many tasks are active, and no readings
    /// beyond as many orders that say nothing new: else those of controls that are used on a whole
    /// batch would be a hundred of each of thousands.
    pub(super) fn leave_out(&mut self, active: usize) {
        let ends = CONTROLS_KEPT / 2 / active.max(1);
        let ends = ends.clamp(FEWEST_ENDS, ENDS_KEPT);
        self.identity.leave_out_controls(ends);
        if ends < ENDS_KEPT {
            self.sequence.leave_out_readings(ends);
        }
    }

    /// Whether it may come to switch its node off: what was taken as a reboot goes through off, a
    /// soft power off may turn hard, and a way back may lead there.
    pub(super) fn may_switch_off(&self) -> bool {
        match self.identity.operation {
            Operation::PowerOff
            | Operation::SoftPowerOff
            | Operation::SoftReboot
            | Operation::Reboot => true,
            Operation::PowerOn | Operation::Reset | Operation::Cycle | Operation::InjectNmi => {
                self.state() == TaskState::RollingBack
            }
        }
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let sent = self.sequence.sent().iter();
        let sent: usize = sent.map(|sent| size_of_val(sent) + sent.text_bytes()).sum();
        let controls = self.identity.controls.iter();
        let controls: usize = controls.map(|used| size_of_val(used) + used.by.len()).sum();
        size_of::<Self>() + sent + controls
    }
}

/// Controls that are kept of all active tasks, and orders beside which readings are.
const CONTROLS_KEPT: usize = 24_576;
/// The first ones of a task are kept in any case, and the last ones.
const FEWEST_ENDS: usize = 3;
/// How long a call waits for the BMC's answer to an NMI.
pub(super) const NMI_ANSWER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::super::tests::{at, task};
    use super::*;

    #[test]
    fn a_task_tells_once_that_it_has_come_on() {
        let mut task = task(1, Operation::PowerOff);
        let news = task.news().expect("it is new");
        assert_eq!(news.text, "queued");
        assert!(!news.ended);
        assert_eq!(task.news(), None);
        assert!(task.go_on(at(1)));
        assert!(task.news().is_some());
        task.control(Control::Abort, "alice", at(2)).unwrap();
        assert!(task.news().expect("it was aborted").ended);
        assert_eq!(task.identity.version, 3);
    }

    #[test]
    fn where_thousands_are_active_few_controls_of_each_are_kept() {
        let mut task = task(1, Operation::PowerOff);
        task.go_on(at(1));
        for second in 2..102 {
            let control = [Control::Suspend, Control::Resume][second as usize % 2];
            task.control(control, "alice", at(second)).unwrap();
            let _ = task.go_on(at(second));
        }
        task.leave_out(245);
        assert_eq!(task.identity.controls.len(), 100);
        task.leave_out(4096);
        let kept = task.identity.controls.iter();
        let kept: Vec<_> = kept.map(|used| used.at).collect();
        let seconds = (2..5).chain(99..102);
        let expected: Vec<_> = seconds.map(|second| at(second).wall).collect();
        assert_eq!(kept, expected);
        assert_eq!(task.identity.controls_left_out, 94);
        task.leave_out(4096);
        assert_eq!(task.identity.controls_left_out, 94);
    }

    #[test]
    fn a_resume_waits_for_its_place_and_a_suspension_takes_the_wish_back() {
        let mut task = task(1, Operation::PowerOff);
        task.admitted = true;
        task.go_on(at(1));
        task.control(Control::Suspend, "alice", at(2)).unwrap();
        assert!(!task.waits());
        task.control(Control::Resume, "alice", at(3)).unwrap();
        assert!(task.waits());
        assert!(task.may(Control::Resume).is_err(), "it waits already");
        task.control(Control::Suspend, "alice", at(4)).unwrap();
        assert!(!task.waits());
        task.control(Control::Resume, "alice", at(5)).unwrap();
        assert!(!task.go_on(at(6)), "it has begun before");
        assert_eq!(task.state(), TaskState::Running);
    }

    #[test]
    fn whoever_waits_for_the_answer_to_an_nmi_hears_that_the_task_ended_before() {
        let mut task = task(1, Operation::InjectNmi);
        task.nmi_call = Some((CallId(3), at(5).now));
        assert!(task.nmi_answer(at(4).now).is_none());
        let (_, late) = task.nmi_answer(at(5).now).expect("its time is over");
        assert!(late.unwrap_err().to_string().contains("goes on watching"));
        task.control(Control::Cancel, "alice", at(4)).unwrap();
        let (call, answer) = task.nmi_answer(at(4).now).expect("it has ended");
        assert_eq!(call, CallId(3));
        assert!(matches!(answer, Err(Refused::WrongState { .. })));
    }
}
