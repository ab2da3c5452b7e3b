//! A task: a sequence with its identity, and what the journal keeps of it.

use super::call::{BatchId, CallId, ControlView, OrderView, TaskId, TaskView, Who};
use super::inventory::NodeId;
use super::stored::TaskRecord;
use crate::bmc::vocabulary::{Order, OrderId, Report};
use crate::model::Word;
use crate::power::{Control, Operation, Refusal, RefusalKind, Sequence, State, Target};
use crate::time::{Instant, WallTime};
use std::time::Duration;
use uuid::Uuid;

/// One operation on one node.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) identity: Identity,
    /// The node's place in the inventory; `None` for an ended task of a node that is configured no more.
    pub(super) node: Option<NodeId>,
    pub(super) sequence: Sequence,
    pub(super) pending: Option<Pending>,
    /// Whether its first record is durable: before that it does not begin.
    pub(super) admitted: bool,
    /// Resume was asked for and waits for a place among the transitions.
    pub(super) resuming: Option<String>,
    /// Rollback was asked for while it stood still, and waits for a place likewise.
    pub(super) returning: Option<String>,
    /// A call that wants to know what the BMC says to the NMI, and until when it waits.
    pub(super) nmi_call: Option<(CallId, Instant)>,
    /// What was journaled last: compared to see whether there is something new.
    pub(super) journaled: Option<Milestone>,
    /// Whether the rack counts it among its transitions.
    pub(super) counted: bool,
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
    pub(super) controls: Vec<UsedControl>,
}

/// A control that was used.
#[derive(Clone, Debug)]
pub(super) struct UsedControl {
    pub(super) control: Control,
    pub(super) by: String,
    pub(super) at: WallTime,
}

impl From<&UsedControl> for ControlView {
    fn from(used: &UsedControl) -> Self {
        ControlView {
            control: used.control.into(),
            by: used.by.clone(),
            at: used.at,
        }
    }
}

/// The order that the sequence gave and that has no report yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: OrderId,
    pub(super) order: Order,
    pub(super) stage: Stage,
}

/// How far an order has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It waits for its turn among the power-ons of the rack.
    Gated,
    /// It is being written down.
    Journaled,
    /// The BMC's room has it.
    Submitted,
}

/// The part of a task whose change is worth a record and an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Milestone {
    pub(super) state: State,
    pub(super) phase: String,
    pub(super) step: u32,
    pub(super) target: Option<Target>,
    /// Orders that change power, and how many of them have an answer.
    pub(super) changing: (usize, usize),
    pub(super) resuming: bool,
    pub(super) returning: bool,
}

impl Task {
    pub(super) fn state(&self) -> State {
        self.sequence.state()
    }

    pub(super) fn is_active(&self) -> bool {
        !self.state().is_end()
    }

    /// What `target_power_state` shows for it.
    pub(super) fn target(&self) -> Option<Target> {
        self.sequence.target()
    }

    /// Whether it takes one of the rack's places for power changes.
    pub(super) fn is_transition(&self) -> bool {
        let moving = matches!(
            self.state(),
            State::Running | State::Aborting | State::RollingBack
        );
        moving && self.identity.operation != Operation::InjectNmi
    }

    /// Whether the scheduler is to look at it.
    pub(super) fn waits(&self) -> bool {
        self.admitted && (self.state() == State::Queued || self.wants_place())
    }

    /// Whether it stands still and waits for a place to go on, forward or back.
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

    /// What the journal keeps of it.
    pub(super) fn record(&mut self, now: Instant, wall: WallTime) -> TaskRecord {
        let gated = |pending: &&Pending| pending.stage == Stage::Gated;
        TaskRecord {
            identity: self.identity.clone(),
            sequence: self.sequence.record(now),
            written_at: wall,
            resuming: self.resuming.clone(),
            returning: self.returning.clone(),
            unsent: self.pending.as_ref().filter(gated).map(|order| order.id),
        }
    }

    /// How it is shown; `waits_for` is what of the rack it waits for.
    pub(super) fn view(&self, rack: &str, waits_for: Option<String>, now: Instant) -> TaskView {
        let identity = &self.identity;
        let progress = self.sequence.progress(now);
        let outcome = self.sequence.outcome();
        let may = |control| self.may(control).is_ok();
        TaskView {
            id: identity.id,
            version: identity.version,
            rack: rack.to_owned(),
            node: identity.node.clone(),
            node_uuid: identity.node_uuid,
            batch: identity.batch,
            operation: identity.operation.into(),
            state: self.state().into(),
            ended: self.state().is_end(),
            phase: self.phase_in_words(progress.phase, waits_for),
            step: progress.step,
            steps: progress.steps,
            target_power_state: self.target().map(Word::Known),
            requested_by: identity.requested_by.clone(),
            requested_at: identity.requested_at,
            started_at: identity.started_at,
            ended_at: identity.ended_at,
            elapsed: progress.elapsed,
            time_left: progress.time_left,
            power_at_start: self.sequence.power_at_start().map(Word::Known),
            power_state: self.sequence.power().map(Word::Known),
            orders: self.orders(),
            outcome: outcome.map(|outcome| outcome.text.clone()),
            controls: identity.controls.iter().map(ControlView::from).collect(),
            may_abort: may(Control::Abort),
            may_cancel: may(Control::Cancel),
            may_rollback: may(Control::Rollback),
            may_suspend: may(Control::Suspend),
            may_resume: may(Control::Resume),
        }
    }

    fn phase_in_words(&self, phase: String, waits_for: Option<String>) -> String {
        let aim = match (&self.resuming, &self.returning) {
            (Some(_), _) => " to resume",
            (None, Some(_)) => " to roll back",
            (None, None) => "",
        };
        match waits_for {
            Some(what) if aim.is_empty() => format!("{phase}, waiting for {what}"),
            Some(what) => format!("waiting{aim}, for {what}"),
            None if aim.is_empty() => phase,
            None => format!("waiting{aim}"),
        }
    }

    /// Whether a control is allowed now; the refusal says why not and what is still possible. Beside what the sequence
    /// says, a task may be waiting for its place to go on: asking for that again changes nothing, and to suspend it
    /// takes the wish back.
    pub(super) fn may(&self, control: Control) -> Result<(), Refusal> {
        let decide = |control| match control {
            Control::Resume if self.resuming.is_some() => Err("resume"),
            Control::Rollback if self.returning.is_some() => Err("roll back"),
            _ => Ok(()),
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

    fn orders(&self) -> Vec<OrderView> {
        // The sequence counts from its beginning, suspensions included, so calendar times follow from the start's.
        let begun = self
            .identity
            .started_at
            .unwrap_or(self.identity.requested_at);
        let view = |sent: &crate::power::Sent| OrderView {
            order: sent.order.name().to_owned(),
            at: begun + sent.at,
            answered_at: sent.answer.as_ref().map(|(at, _)| begun + *at),
            answer: sent.answer.as_ref().map(|(_, report)| report.to_string()),
            completion_code: match &sent.answer {
                Some((_, Report::Refused(refusal))) => Some(refusal.code),
                _ => None,
            },
            changes_power: sent.order.changes_power(),
            left: sent.handed,
            times: sent.times,
        };
        self.sequence.sent().iter().map(view).collect()
    }
}

/// Makes ids that sort in the order in which they were made, also within a millisecond and where the calendar was set
/// back: tasks begin in that order.
#[derive(Debug, Default)]
pub(super) struct Ids {
    millis: u64,
    within: u16,
}

impl Ids {
    /// A new id: version 7, from the calendar, a counter and random bytes.
    pub(super) fn make(
        &mut self,
        wall: WallTime,
        entropy: &mut dyn crate::entropy::Entropy,
    ) -> Uuid {
        let millis = wall.unix_micros() / 1000;
        if millis > self.millis {
            (self.millis, self.within) = (millis, 0);
        } else if self.within < COUNTER_END {
            self.within += 1;
        } else {
            (self.millis, self.within) = (self.millis + 1, 0);
        }
        let mut random = [0; 10];
        entropy.fill(&mut random);
        random[..2].copy_from_slice(&self.within.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(self.millis, &random).into_uuid()
    }

    /// Ids to come sort after this one.
    pub(super) fn pass(&mut self, id: Uuid) {
        let (millis, within) = (
            id.as_u128() >> 80,
            (id.as_u128() >> 64) as u16 & COUNTER_END,
        );
        (self.millis, self.within) = (self.millis, self.within).max((millis as u64, within));
    }
}

/// The 12 bits between the time and the random part (RFC 9562, section 6.2, method 1).
const COUNTER_END: u16 = 0xFFF;

/// How long a call waits for the BMC's answer to an NMI.
pub(super) const NMI_ANSWER: Duration = Duration::from_secs(5);
