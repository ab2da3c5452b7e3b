//! The first reading of a new task, asked for while the task's record is being written down: a disk
//! and a BMC take milliseconds each, and neither needs the other.
//!
//! A reading changes nothing, so that it may leave before the record is durable; the task does not
//! begin before that, and takes the reading up when it does. Functions over the parts that they
//! touch.

use super::gate::Gate;
use super::inventory::Inventory;
use super::ledger::{Ledger, Owner};
use super::schedule;
use super::tasks::Tasks;
use crate::bmc::vocabulary::{Order, OrderId, Reading, Report};
use crate::entropy::Entropy;
use crate::model::{Power, TaskId};
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
