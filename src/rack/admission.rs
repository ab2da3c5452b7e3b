//! New tasks whose first record is not durable yet: nobody was told yes, and they can be withdrawn
//! without a trace.
//!
//! Functions over the parts that they touch.

use super::call::CallId;
use super::clock::Moment;
use super::inventory::Inventory;
use super::ledger::{Ledger, Parked, Reply};
use super::tasks::Tasks;
use crate::model::TaskId;

/// The first record of the tasks is durable: they may begin when their turn comes.
pub(super) fn admit(ids: Vec<TaskId>, tasks: &mut Tasks, ledger: &mut Ledger, at: Moment) {
    for id in ids {
        let Some(task) = tasks.get_mut(id) else {
            continue;
        };
        task.admitted = true;
        // What was put down with it holds no longer than it begins at once.
        if task.foresight.is_some() {
            tasks.save(id, ledger, at);
        }
    }
}

/// Takes tasks back whose first record is not durable; whether their caller still waits for an
/// answer.
pub(super) fn withdraw(
    ids: Vec<TaskId>,
    reply: &Reply,
    tasks: &mut Tasks,
    inventory: &mut Inventory,
    ledger: &mut Ledger,
) -> bool {
    // The caller of an NMI waits for five seconds only, and may have its answer already.
    let waits = |id: &TaskId| tasks.get(*id).is_some_and(|task| task.nmi_call.is_some());
    let answered = matches!(reply, Reply::Nmi) && !ids.iter().any(waits);
    for id in ids {
        let task = tasks.drop_task(id, ledger);
        let node = task.and_then(|task| task.node);
        if let Some(node) = node.and_then(|node| inventory.get_mut(node)) {
            // A task that was aborted meanwhile may have left the node to another one.
            node.task.take_if(|other| *other == id);
        }
    }
    !answered
}

/// The caller of new tasks has gone before the first record of them was durable: nothing comes of
/// them.
pub(super) fn withdraw_for(
    call: CallId,
    tasks: &mut Tasks,
    inventory: &mut Inventory,
    ledger: &mut Ledger,
) {
    let of_call = |parked: &Parked| matches!(parked, Parked::Admit(_, of, _) if *of == call);
    for parked in ledger.journal.take_parked_if(of_call) {
        if let Parked::Admit(ids, _, reply) = parked {
            log::warn!("a client went away before its task was remembered: the task is withdrawn");
            withdraw(ids, &reply, tasks, inventory, ledger);
        }
    }
}
