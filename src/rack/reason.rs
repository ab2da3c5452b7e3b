//! What a task that stands still waits for, in words: nobody shall have to guess why nothing happens.
//!
//! Driven by `views`; what really keeps a task from beginning is decided in `schedule`, and told here.

use super::Rack;
use super::batch::Rooms;
use super::call::HoldView;
use super::inventory::NodeId;
use super::settings::MaintenancePolicy;
use super::task::{Stage, Task};
use crate::power::{Operation, State};
use crate::time::Instant;

impl Rack {
    /// The maintenance that keeps power orders from a node, by the policy.
    pub(super) fn maintenance_block(&self, node: NodeId) -> Option<&HoldView> {
        let hold = self.inventory[node].memory.maintenance.as_ref();
        hold.filter(|_| self.settings.maintenance_policy == MaintenancePolicy::Block)
    }

    /// What a task waits for that is neither its machine nor its BMC.
    pub(super) fn waits_for(&self, task: &Task, rooms: &mut Rooms, now: Instant) -> Option<String> {
        let identity = &task.identity;
        let gated = |task: &Task| {
            let pending = task.pending.as_ref();
            pending.is_some_and(|pending| pending.stage == Stage::Gated)
        };
        match task.state() {
            State::Queued => {}
            _ if task.wants_place() => {}
            State::Suspended => {
                if let Some(pause) = self
                    .pause
                    .as_ref()
                    .filter(|p| p.tasks.contains(&identity.id))
                {
                    return Some(format!("the end of {}", pause_in_words(&pause.hold)));
                }
                let place = &self.inventory[task.node?];
                let by_maintenance = place.memory.suspended == Some(identity.id);
                let hold = place
                    .memory
                    .maintenance
                    .as_ref()
                    .filter(|_| by_maintenance)?;
                return Some(format!("the end of {}", maintenance_in_words(hold)));
            }
            State::RollingBack if task.sequence.is_held() => {
                let hold = &self.pause.as_ref()?.hold;
                return Some(format!("the end of {}", pause_in_words(hold)));
            }
            _ if gated(task) => {
                return Some("its turn among the rack's power-ons".to_owned());
            }
            _ => return None,
        }
        if let Some(pause) = &self.pause {
            return Some(format!("the end of {}", pause_in_words(&pause.hold)));
        }
        if let Some(hold) = task.node.and_then(|node| self.maintenance_block(node)) {
            return Some(format!("the end of {}", maintenance_in_words(hold)));
        }
        if !task.admitted {
            return Some("the journal".to_owned());
        }
        let batch = identity.batch.filter(|_| !task.wants_place());
        if let Some(reason) =
            batch.and_then(|batch| self.batch_reason(batch, identity.id, rooms, now))
        {
            return Some(reason);
        }
        if self.is_full() && identity.operation != Operation::InjectNmi {
            let places = self.settings.max_transitions;
            return Some(format!("a place among the rack's {places} transitions"));
        }
        let staggered = identity.operation == Operation::PowerOn && !task.wants_place();
        staggered.then(|| "its turn among the rack's power-ons".to_owned())
    }
}

fn pause_in_words(hold: &HoldView) -> String {
    let reason = hold.reason.as_deref().unwrap_or("no reason given");
    format!("the rack's pause by {}: {reason}", hold.by)
}

/// `the maintenance by alice: fan replaced`
pub(super) fn maintenance_in_words(hold: &HoldView) -> String {
    let reason = hold.reason.as_deref().unwrap_or("no reason given");
    format!("the maintenance by {}: {reason}", hold.by)
}
