//! Holds: maintenance of a node, and the pause of the whole rack.
//!
//! What a hold keeps from beginning is `schedule`'s.

use super::Rack;
use super::call::{HistoryEntry, HoldView, Refused, TaskId, Who};
use super::clock::Moment;
use super::gate::Pause;
use super::history::entry;
use super::inventory::NodeId;
use super::ledger::Owner;
use super::node::{Effect, Node};
use super::reason::maintenance_in_words;
use super::record::Table;
use crate::bmc::vocabulary::{Delivery, Trouble};
use crate::model::{EventKind, HistoryKind};
use crate::power::{Control, State};
use uuid::Uuid;

impl Node {
    /// It goes into maintenance, or out of it.
    pub(super) fn set_maintenance(
        &mut self,
        hold: Option<Option<String>>,
        who: &Who,
        at: Moment,
    ) -> Vec<Effect> {
        if hold.is_none() && self.memory.maintenance.is_none() {
            return Vec::new();
        }
        let text = match &hold {
            Some(reason) => {
                let reason = reason.as_deref().unwrap_or("no reason given");
                format!("maintenance: {reason}")
            }
            None => "maintenance ended".to_owned(),
        };
        self.memory.maintenance = hold.map(|reason| HoldView {
            reason,
            by: who.name.clone(),
            since: at.wall,
        });
        self.memory.updated_at = Some(at.wall);
        let entry = HistoryEntry {
            by: Some(who.name.clone()),
            ..entry(HistoryKind::Maintenance, text.clone(), false, at)
        };
        vec![Effect::Save, Effect::History(entry), Effect::Event(text)]
    }
}

impl Rack {
    /// What is said of a node is refused where it cannot be remembered, because its own entry cannot be read and is not
    /// written over.
    pub(super) fn check_rememberable(&self, id: NodeId) -> Result<(), Refused> {
        let Some(node) = self.inventory.get(id) else {
            return Ok(());
        };
        let key = node.settings.uuid.to_string();
        if self.ledger.journal.is_sealed(Table::Nodes, &key) {
            return node.check_quarantine();
        }
        Ok(())
    }

    /// Maintenance of a node; its uuid comes back.
    pub(super) fn set_maintenance(
        &mut self,
        id: NodeId,
        hold: Option<Option<String>>,
        who: &Who,
        at: Moment,
    ) -> Option<Uuid> {
        let node = self.inventory.get_mut(id)?;
        let uuid = node.settings.uuid;
        let effects = node.set_maintenance(hold, who, at);
        self.carry_out(id, effects, at);
        self.apply_maintenance(id, at);
        Some(uuid)
    }

    /// Maintenance that blocks suspends the task that has not begun yet, and its end lets that task wait for its place
    /// again. One that runs goes on: to stop it is the business of whoever works on the machine.
    pub(super) fn apply_maintenance(&mut self, id: NodeId, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        let task = node.task;
        if let Some(hold) = node.maintenance_block(&self.gate) {
            let by = maintenance_in_words(hold);
            let queued = |id: &TaskId| {
                let task = self.tasks.get(*id);
                task.is_some_and(|task| task.state() == State::Queued)
            };
            if let Some(task) = task.filter(queued)
                && self.control(task, Control::Suspend, &by, at).is_ok()
            {
                if let Some(node) = self.inventory.get_mut(id) {
                    node.memory.suspended = Some(task);
                }
                self.save_node(id);
                self.announce_task(task, format!("suspended by {by}"), at);
            }
        } else if let Some(suspended) = node.memory.suspended.take() {
            self.save_node(id);
            if task == Some(suspended) {
                // One that was aborted or cancelled in between has nothing to resume.
                let by = "the end of the maintenance";
                let _ = self.control(suspended, Control::Resume, by, at);
            }
        }
    }

    /// The big red button: every task that can stand still does, and nothing new begins.
    pub(super) fn begin_pause(&mut self, reason: String, who: &Who, at: Moment) {
        let text = format!("paused by {}: {reason}", who.name);
        let hold = HoldView {
            reason: Some(reason),
            by: who.name.clone(),
            since: at.wall,
        };
        let before = self.gate.pause.take();
        let mut tasks = before.map(|pause| pause.tasks).unwrap_or_default();
        let by = format!("{} (pause)", who.name);
        for task in self.tasks.active_ids() {
            if self.control(task, Control::Suspend, &by, at).is_ok() {
                tasks.insert(task);
            }
        }
        log::warn!("the rack is {text}");
        self.announce(EventKind::Rack, text, at);
        self.gate.pause = Some(Pause { hold, tasks });
        for task in self.tasks.active_ids() {
            self.hold_back(task, at);
        }
        self.take_experts_back(at);
        self.save_pause();
    }

    /// What may change a machine and has not left by now does not leave.
    fn take_experts_back(&mut self, at: Moment) {
        let Err(paused) = self.gate.check_pause() else {
            return;
        };
        for order in self.ledger.expert_orders() {
            let Some((open, delivery)) = self.withdraw(order, at) else {
                continue;
            };
            let Owner::Call(call) = open.owner else {
                continue;
            };
            let what = open.order.name();
            let node = self.inventory.get(open.node);
            let answer = match delivery {
                Delivery::NotSent => paused.clone(),
                Delivery::Unknown => Refused::Unanswered {
                    node: node.map_or_else(String::new, |node| node.settings.name.clone()),
                    what: what.to_owned(),
                    trouble: Trouble::Withdrawn,
                    delivery: Delivery::Unknown,
                    text: "it had left when the rack was paused; its answer was not awaited".into(),
                },
            };
            self.note_order(open.node, format!("{what}: {answer}"), None, true, at);
            self.outbox.answer(call, Err(answer));
            self.settle(open.node, at);
        }
    }

    pub(super) fn end_pause(&mut self, who: &Who, at: Moment) {
        let Some(pause) = self.gate.pause.take() else {
            return;
        };
        log::warn!("the pause is ended by {}", who.name);
        self.announce(EventKind::Rack, format!("released by {}", who.name), at);
        self.save_pause();
        let by = format!("{} (release)", who.name);
        for task in pause.tasks {
            // One that was aborted or resumed by hand in between has nothing to resume.
            let _ = self.control(task, Control::Resume, &by, at);
        }
        // Rollbacks were not suspended, but held back: nothing else drives them on.
        self.unhold_returns(at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, node};
    use super::*;

    #[test]
    fn maintenance_is_told_when_it_begins_and_when_it_ends_and_not_when_there_was_none() {
        let (mut node, who) = (node(0), Who::default());
        assert_eq!(node.set_maintenance(None, &who, at(1)), []);
        let fan = Some(Some("fan".to_owned()));
        assert_eq!(node.set_maintenance(fan, &who, at(2)).len(), 3);
        let hold = node.memory.maintenance.clone().unwrap();
        assert_eq!(hold.since, at(2).wall);
        let ended = node.set_maintenance(None, &who, at(3));
        assert!(ended.contains(&Effect::Event("maintenance ended".to_owned())));
        assert_eq!(node.memory.maintenance, None);
    }
}
