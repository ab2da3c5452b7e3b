//! What a task that stands still waits for, in words: nobody shall have to guess why nothing
//! happens.
//!
//! What really keeps a task from beginning is decided in `schedule`, and told here.

use super::batch::STAGGER;
use super::node::Node;
use super::schedule::BatchSlots;
use super::task::Task;
use super::views::Snapshot;
use crate::model;
use crate::model::TaskState;

/// What a task waits for that is neither its machine nor its BMC.
pub(super) fn waits_for(
    task: &Task,
    rack: &Snapshot<'_>,
    rooms: &mut BatchSlots,
) -> Option<String> {
    let identity = &task.identity;
    let pause = rack.gate.pause.as_ref();
    let node = task.node.and_then(|node| rack.inventory.get(node));
    match task.state() {
        TaskState::Queued => {}
        // The task stands still, but somebody wants it to go on: it is told what keeps it back.
        _ if task.wants_place() => {}
        TaskState::Suspended => return suspended_by(task, rack, node),
        TaskState::RollingBack if task.sequence.is_held() => {
            let quarantine = node.and_then(|node| node.quarantine.as_ref());
            return match (pause, quarantine) {
                (Some(pause), _) => Some(format!("the end of {}", pause_in_words(&pause.hold))),
                (None, Some(hold)) => Some(format!("the discarding of {}", hold.in_words())),
                (None, None) => None,
            };
        }
        _ => {
            return rack.ledger.unwritten_of(identity.id).map(|order| {
                let why = rack.gate.permission.why(rack.at.now);
                why.unwrap_or_else(|| match (rack.gate.is_apart(order), rack.gate.full) {
                    (true, _) => STAGGER.to_owned(),
                    (false, true) => a_place(rack),
                    (false, false) => "its turn among the rack's power-ons".to_owned(),
                })
            });
        }
    }
    // What holds the whole rack is named first: nothing else would let the task go on.
    if let Some(pause) = pause {
        return Some(format!("the end of {}", pause_in_words(&pause.hold)));
    }
    if let Some(hold) = node.and_then(|node| node.quarantine.as_ref()) {
        return Some(format!("the discarding of {}", hold.in_words()));
    }
    if let Some(hold) = node.and_then(|node| node.maintenance_block(rack.gate)) {
        return Some(format!("the end of {}", maintenance_in_words(hold)));
    }
    if !task.admitted {
        return Some("the journal".to_owned());
    }
    if task.wants_place() {
        let waits = rack.gate.full && task.has_switched_on();
        return waits.then(|| a_place(rack));
    }
    let batch = identity.batch;
    if let Some(batch) = batch.and_then(|batch| rack.tasks.batch(batch)) {
        let room = rooms.of(batch.id(), rack.tasks);
        if let Some(reason) = batch.reason(room, task, rack.gate.places, rack.at.now) {
            return Some(reason);
        }
    }
    None
}

/// The hold that has suspended a task; `None` where a person has.
fn suspended_by(task: &Task, rack: &Snapshot<'_>, node: Option<&Node>) -> Option<String> {
    let id = task.identity.id;
    if let Some(pause) = rack.gate.pause.as_ref()
        && pause.tasks.contains(&id)
    {
        return Some(format!("the end of {}", pause_in_words(&pause.hold)));
    }
    let node = node?;
    if let Some(why) = node.bmc.wrong_bmc() {
        return Some(format!("the right BMC: {why}"));
    }
    let hold = node.memory.maintenance.as_ref();
    let hold = hold.filter(|_| node.memory.suspended == Some(id))?;
    Some(format!("the end of {}", maintenance_in_words(hold)))
}

fn a_place(rack: &Snapshot<'_>) -> String {
    match rack.gate.places {
        1 => "the rack's only place for a power-on".to_owned(),
        places => format!("a place among the rack's {places} power-ons"),
    }
}

fn pause_in_words(hold: &model::Hold) -> String {
    let reason = hold.reason.as_deref().unwrap_or("no reason given");
    format!("the rack's pause by {}: {reason}", hold.by)
}

/// `the maintenance by alice: fan replaced`
pub(super) fn maintenance_in_words(hold: &model::Hold) -> String {
    let reason = hold.reason.as_deref().unwrap_or("no reason given");
    format!("the maintenance by {}: {reason}", hold.by)
}
