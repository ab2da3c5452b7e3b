//! Holds: maintenance of a node, and the pause of the whole rack.
//!
//! Driven by `calls`; what a hold keeps from beginning is `schedule`'s.

use super::call::{HoldView, Refused, TaskId, Who};
use super::inventory::NodeId;
use super::{Pause, Rack};
use crate::model::HistoryKind;
use crate::power::{Control, State};
use crate::time::Instant;

impl Rack {
    pub(super) fn set_maintenance(
        &mut self,
        node: NodeId,
        hold: Option<Option<String>>,
        who: &Who,
        now: Instant,
    ) {
        let wall = self.wall(now);
        let memory = &mut self.inventory[node].memory;
        let text = match &hold {
            Some(reason) => format!(
                "maintenance: {}",
                reason.as_deref().unwrap_or("no reason given")
            ),
            None => "maintenance ended".to_owned(),
        };
        if hold.is_none() && memory.maintenance.is_none() {
            return;
        }
        memory.maintenance = hold.map(|reason| HoldView {
            reason,
            by: who.name.clone(),
            since: wall,
        });
        memory.updated_at = Some(wall);
        self.save_node(node);
        self.note_history(
            node,
            HistoryKind::Maintenance,
            text.clone(),
            None,
            Some(who.name.clone()),
            false,
            now,
        );
        self.announce_node(node, text, now);
        self.apply_maintenance(node, now);
        self.unscheduled = true;
    }

    /// Nothing new is begun while the rack is paused.
    pub(super) fn check_pause(&self) -> Result<(), Refused> {
        let Some(pause) = &self.pause else {
            return Ok(());
        };
        Err(Refused::Paused {
            by: pause.hold.by.clone(),
            reason: pause.hold.reason.clone().unwrap_or_default(),
        })
    }

    /// A power order is refused where the node is in maintenance and the policy says so.
    pub(super) fn check_maintenance(&self, node: NodeId) -> Result<(), Refused> {
        let Some(hold) = self.maintenance_block(node) else {
            return Ok(());
        };
        let unnamed = || format!("set by {}", hold.by);
        Err(Refused::Maintenance {
            node: self.inventory[node].settings.name.clone(),
            reason: hold.reason.clone().unwrap_or_else(unnamed),
        })
    }

    /// Maintenance that blocks suspends the task that has not begun yet, and its end lets that task wait for its place
    /// again. One that runs goes on: to stop it is the business of whoever works on the machine.
    pub(super) fn apply_maintenance(&mut self, node: NodeId, now: Instant) {
        let task = self.inventory[node].task;
        if let Some(hold) = self.maintenance_block(node) {
            let by = super::reason::maintenance_in_words(hold);
            let queued = |id: &TaskId| {
                self.tasks
                    .get(id)
                    .is_some_and(|t| t.state() == State::Queued)
            };
            if let Some(id) = task.filter(queued)
                && self.control_task(id, Control::Suspend, &by, now).is_ok()
            {
                self.inventory[node].memory.suspended = Some(id);
                self.save_node(node);
                self.announce_task(id, format!("suspended by {by}"), now);
            }
        } else if let Some(id) = self.inventory[node].memory.suspended.take() {
            self.save_node(node);
            if task == Some(id) {
                // One that was aborted or cancelled in between has nothing to resume.
                let _ = self.control_task(id, Control::Resume, "the end of the maintenance", now);
            }
        }
    }

    /// The big red button: every task that can stand still does, and nothing new begins.
    pub(super) fn begin_pause(&mut self, reason: String, who: &Who, now: Instant) {
        let hold = HoldView {
            reason: Some(reason),
            by: who.name.clone(),
            since: self.wall(now),
        };
        let mut tasks = self
            .pause
            .take()
            .map(|pause| pause.tasks)
            .unwrap_or_default();
        let by = format!("{} (pause)", who.name);
        for task in self.active.clone() {
            if self.control_task(task, Control::Suspend, &by, now).is_ok() {
                tasks.insert(task);
            }
        }
        let text = format!(
            "paused by {}: {}",
            who.name,
            hold.reason.as_deref().unwrap_or_default()
        );
        log::warn!("the rack is {text}");
        self.announce_rack(text, now);
        self.pause = Some(Pause { hold, tasks });
        for task in self.active.clone() {
            self.hold_back(task, now);
        }
        self.take_experts_back(now);
        self.save_pause();
    }

    pub(super) fn end_pause(&mut self, who: &Who, now: Instant) {
        let Some(pause) = self.pause.take() else {
            return;
        };
        log::warn!("the pause is ended by {}", who.name);
        self.announce_rack(format!("released by {}", who.name), now);
        self.save_pause();
        let by = format!("{} (release)", who.name);
        for task in pause.tasks {
            // One that was aborted or resumed by hand in between has nothing to resume.
            let _ = self.control_task(task, Control::Resume, &by, now);
        }
        // Rollbacks were not suspended, but held back: nothing else drives them on.
        for task in self.active.clone() {
            self.hold_task(task, false, now);
        }
        self.unscheduled = true;
    }
}
