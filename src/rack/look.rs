//! What single calls mean: those that only look, and what others find when they look for their
//! task.

use super::call::{Answer, Look, Refused};
use super::gate::Gate;
use super::inventory::Inventory;
use super::node::Node;
use super::task::Task;
use super::tasks::Tasks;
use super::views::Snapshot;
use crate::model::{BatchId, Control, Operation, Target, TaskId};
use crate::power;

/// The answer to what only looks.
pub(super) fn answer(look: Look, rack: &Snapshot<'_>) -> Result<Answer, Refused> {
    let named = |ident: &str| rack.inventory.find(ident).map(|(_, node)| node);
    Ok(match look {
        Look::Nodes => Answer::Nodes(rack.nodes()),
        Look::NodesAfter { after, of, limit } => {
            Answer::Nodes(rack.nodes_after(after, &of, limit)?)
        }
        Look::Node(ident) => Answer::Node(rack.view_of_node(named(&ident)?)),
        Look::Tasks {
            node,
            batch,
            short,
            active,
            limit,
        } => Answer::Tasks(rack.tasks_where(node.as_deref(), batch, short, active, limit)?),
        Look::ActiveTasks { before, of, limit } => {
            Answer::Tasks(rack.active_tasks(before, &of, limit))
        }
        Look::Task(id) => Answer::Task(rack.task(id).ok_or(Refused::NoSuchTask(id))?),
        Look::Batches { short } => Answer::Batches(rack.batches(short)),
        Look::Batch(id) => Answer::Batch(rack.batch(id).ok_or(Refused::NoSuchBatch(id))?),
        Look::Pausing => {
            let pause = rack.gate.pause.as_ref();
            Answer::Pausing(pause.map(|pause| pause.hold.clone()))
        }
        Look::Explain(ident) => Answer::Explanation(Box::new(rack.explanation(named(&ident)?))),
        Look::Trace(ident) => Answer::Trace(rack.trace(named(&ident)?)),
        Look::Health => Answer::Health(rack.health()),
    })
}

/// The task that an abort target ends: it acts on what `target_power_state` shows; where that is
/// something else there is nothing to abort, and that is a success (design, section 3).
pub(super) fn to_abort(node: &Node, operation: Operation, tasks: &Tasks) -> Option<TaskId> {
    let task = tasks.get(node.task?)?;
    // A first reading may have moved the target of a task of which nothing has left: its name ends
    // it all the same, or its order would leave after the answer.
    let named = task.identity.operation == operation && !task.has_left();
    let meant = named || task.target() == Some(aim_of(operation));
    meant.then_some(task.identity.id)
}

/// Whether anything holds the task's node back, so that it cannot go on.
pub(super) fn check_resume(task: &Task, inventory: &Inventory, gate: &Gate) -> Result<(), Refused> {
    gate.check_pause()?;
    if let Some(node) = task.node.and_then(|node| inventory.get(node)) {
        node.check_quarantine()?;
        node.check_maintenance(gate)?;
    }
    Ok(())
}

/// What `target_power_state` shows while a task of that operation can be ended by its name.
fn aim_of(operation: Operation) -> Target {
    match operation {
        Operation::SoftPowerOff | Operation::SoftReboot => Target::SoftPowerOff,
        Operation::InjectNmi => Target::InjectNmi,
        Operation::PowerOff => Target::PowerOff,
        Operation::PowerOn | Operation::Reboot | Operation::Reset | Operation::Cycle => {
            Target::PowerOn
        }
    }
}

/// A control on a batch of which nothing is under way any more, or on such members of it.
pub(super) fn batch_has_ended(batch: BatchId, control: Control, whole: bool) -> Refused {
    let what = match whole {
        true => format!("batch {batch} has ended"),
        false => format!("the tasks of these nodes in batch {batch} have ended"),
    };
    Refused::BatchEnded {
        batch,
        why: format!("{control} refused: {what}"),
    }
}

/// A control that the task does not allow, with the task as it is.
pub(super) fn refused(task: TaskId, why: power::Refusal, rack: &Snapshot<'_>) -> Refused {
    match rack.task(task) {
        Some(view) => Refused::Control {
            control: why.control.name().to_owned(),
            why: why.to_string(),
            task: Box::new(view),
        },
        None => Refused::NoSuchTask(task),
    }
}
