//! The first reading of a new task, asked for while the task's record is being written down: a disk
//! and a BMC take milliseconds each, and neither needs the other.
//!
//! A reading changes nothing, so that it may leave before the record is durable; the task does not
//! begin before that, and takes the reading up when it does.
//!
//! Where the machine is known to be on, what a power off is put down with holds that order already,
//! as one that may have left: if the reading says the same, the order leaves at once, for what must
//! be durable before is durable. If it says something else, or a control comes first, the order is
//! not given, and the next record says so. A crash in between makes the next life look, and switch
//! off, as after each order that may have left. Functions over the parts that they touch.

use super::clock::Moment;
use super::gate::Gate;
use super::inventory::Inventory;
use super::ledger::{Ledger, Owner};
use super::schedule;
use super::stored::TaskRecord;
use super::task::Task;
use super::tasks::Tasks;
use crate::bmc::vocabulary::{Order, OrderId, Reading, Report};
use crate::entropy::Entropy;
use crate::model::{Power, PowerState, TaskId};
use crate::time::Instant;
use std::time::Duration;

/// A reading that was asked for before its task began.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) order: OrderId,
    asked_at: Instant,
    /// What the reading found.
    found: Option<Report>,
}

impl Ahead {
    /// The power state that it found.
    pub(super) fn power(&self) -> Option<Power> {
        match self.found {
            Some(Report::Accepted(Reading::Power(power))) => Some(power),
            Some(Report::Accepted(_) | Report::Refused(_) | Report::Unanswered(_)) | None => None,
        }
    }
}

/// What is known of the machine before that reading is there.
#[derive(Clone, Debug)]
pub(super) struct Foresight {
    power: Power,
    /// The number that the power off has which follows.
    off: OrderId,
    /// That order, where each record of the task so far holds it, as one that may have left.
    put_down: Option<Order>,
}

/// A reading is not taken up that was asked for longer ago: a task that had to wait looks for
/// itself.
const HOLDS: Duration = Duration::from_millis(100);

/// Asks for the reading that the task begins with, where nothing but its record keeps it from
/// beginning.
pub(super) fn ask(
    id: TaskId,
    tasks: &mut Tasks,
    inventory: &mut Inventory,
    ledger: &mut Ledger,
    gate: &Gate,
    now: Instant,
    entropy: &mut dyn Entropy,
) {
    let Some(task) = tasks.get_mut(id) else {
        return;
    };
    let node = task.node;
    let Some((node, found)) = node.and_then(|node| Some((node, inventory.get_mut(node)?))) else {
        return;
    };
    // A held task may begin much later, and its reading would be too old by then.
    if schedule::is_kept_back(found, gate) {
        return;
    }
    let order = ledger.enter(node, Owner::Ahead(id), Order::ReadPower);
    task.ahead = Some(Ahead {
        order,
        asked_at: now,
        found: None,
    });
    ledger.submit(order, &mut found.bmc, now, entropy);
}

/// The reading is on its way, to a machine of which it is known what it does: where that is so
/// still, the order that follows is put down with the task. Not while there is no session, for then
/// it takes longer than a disk; nor where another host would take the task up, nor in a batch, whose
/// orders take their turns.
pub(super) fn foresee(
    id: TaskId,
    tasks: &mut Tasks,
    inventory: &Inventory,
    ledger: &mut Ledger,
    gate: &Gate,
) {
    let Some(task) = tasks.get_mut(id) else {
        return;
    };
    let node = task.node.and_then(|node| inventory.get(node));
    let is_on = node.is_some_and(|node| node.memory.shown == PowerState::On && node.bmc.is_open());
    let alone = task.identity.batch.is_none() && gate.permission.permit().is_none();
    if is_on && alone && task.ahead.is_some() {
        task.foresight = Some(Foresight {
            power: Power::On,
            off: ledger.take_id(),
            put_down: None,
        });
    }
}

/// What is put down of a task while that reading is on its way, where something is foreseen.
pub(super) fn record(task: &mut Task, at: Moment) -> Option<TaskRecord> {
    let foresight = task.foresight.take()?;
    let mut sequence = task.sequence.clone();
    if let Some(ahead) = &task.ahead {
        // It may begin and is kept back all the same, nobody knows for how long.
        if task.admitted {
            return None;
        }
        sequence.begin(at.now);
        if !sequence.begin_with(ahead.order, Duration::ZERO, true) {
            return None;
        }
    }
    let (off, mut sequence) = sequence.foreseen(foresight.power, foresight.off, at.now)?;
    let mut record = task.record_with(sequence.record(at.now), at);
    task.foresight = Some(Foresight {
        put_down: Some(off),
        ..foresight
    });
    record.identity.started_at.get_or_insert(at.wall);
    Some(record)
}

/// What the task was put down with is not given any more: its next record says so.
pub(super) fn foresee_no_more(id: TaskId, tasks: &mut Tasks) {
    if let Some(task) = tasks.get_mut(id) {
        task.foresight = None;
    }
}

/// The number of the order that a task which was admitted is about to give, where it was put down
/// with the task: it may leave.
pub(super) fn put_down(task: &mut Task) -> Option<OrderId> {
    let put_down = task.foresight.as_ref()?.put_down.as_ref();
    if put_down.is_none() || task.sequence.wants().as_ref() != put_down {
        return None;
    }
    task.foresight.take().map(|foresight| foresight.off)
}

/// The reading has its report. One that found nothing is forgotten: the task asks for itself.
pub(super) fn came(id: TaskId, order: OrderId, report: Report, tasks: &mut Tasks) {
    let Some(task) = tasks.get_mut(id) else {
        return;
    };
    let Some(ahead) = task.ahead.as_mut().filter(|ahead| ahead.order == order) else {
        return;
    };
    match report {
        Report::Accepted(Reading::Power(_)) => ahead.found = Some(report),
        Report::Accepted(_) | Report::Refused(_) | Report::Unanswered(_) => task.ahead = None,
    }
}

/// The task has begun, and the reading becomes its own: what it found, where that is known and not
/// too old.
pub(super) fn take_up(
    id: TaskId,
    tasks: &mut Tasks,
    ledger: &mut Ledger,
    now: Instant,
) -> Option<(OrderId, Report)> {
    let task = tasks.get_mut(id)?;
    let ahead = task.ahead.take()?;
    let before = now.since(ahead.asked_at);
    let left = match ahead.found {
        Some(_) => true,
        // The reading is still on its way, or was taken back because its BMC is elsewhere.
        None => ledger.get(ahead.order)?.left > 0,
    };
    // What the machine did while the task waited in a queue is not in that reading.
    if before > HOLDS || !task.sequence.begin_with(ahead.order, before, left) {
        return None;
    }
    match ahead.found {
        Some(report) => Some((ahead.order, report)),
        None => {
            ledger.adopt(ahead.order, id);
            None
        }
    }
}
