//! Holds: maintenance of a node, and the pause of the whole rack.
//!
//! What a hold keeps from beginning is `schedule`'s.

use super::call::Refused;
use super::clock::Moment;
use super::gate::{Gate, Pause};
use super::history::entry;
use super::ledger::{Ledger, Open};
use super::node::{Effect, Node};
use super::reason::maintenance_in_words;
use super::record::Table;
use super::side;
use super::stored;
use super::tasks::Tasks;
use crate::model::{self, Delivery, HistoryEntry, HistoryKind, TaskId, TaskState, Who};

impl Node {
    /// The node goes into maintenance, or out of it.
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
        let hold = hold.map(|reason| model::Hold {
            reason,
            by: who.name.clone(),
            since: at.wall,
        });
        self.memory.maintenance = hold.map(Box::new);
        self.memory.updated_at = Some(at.wall);
        let entry = HistoryEntry {
            by: Some(who.name.clone()),
            ..entry(HistoryKind::Maintenance, text.clone(), false, at)
        };
        vec![Effect::Save, Effect::History(entry), Effect::Event(text)]
    }
}

/// What is said of a node is refused where it cannot be remembered, because its own entry cannot be
/// read and is not written over.
pub(super) fn check_rememberable(node: &Node, ledger: &Ledger) -> Result<(), Refused> {
    let key = node.settings.uuid.to_string();
    match ledger.journal.is_sealed(Table::Nodes, &key) {
        true => node.check_quarantine(),
        false => Ok(()),
    }
}

/// Maintenance that blocks suspends the task that has not begun yet: which one, and by whom. One
/// that runs goes on: to stop it is the business of whoever works on the machine.
pub(super) fn to_suspend(node: &Node, tasks: &Tasks, gate: &Gate) -> Option<(TaskId, String)> {
    let by = maintenance_in_words(node.maintenance_block(gate)?);
    let task = tasks.get(node.task?)?;
    (task.state() == TaskState::Queued).then_some((task.identity.id, by))
}

/// The end of maintenance lets the task that it had suspended wait for its place again.
pub(super) fn to_resume(node: &mut Node, gate: &Gate, ledger: &mut Ledger) -> Option<TaskId> {
    if node.maintenance_block(gate).is_some() {
        return None;
    }
    let suspended = node.memory.suspended.take()?;
    node.save(ledger);
    // The node may have another task by now.
    node.task.filter(|task| *task == suspended)
}

impl Gate {
    /// The pause that takes the place of the one before, which does not hold any more, and what is
    /// said of it. It holds when it is put back.
    pub(super) fn take_pause(&mut self, reason: String, who: &Who, at: Moment) -> (Pause, String) {
        let text = format!("paused by {}: {reason}", who.name);
        log::warn!("the rack is {text}");
        let hold = model::Hold {
            reason: Some(reason),
            by: who.name.clone(),
            since: at.wall,
        };
        // This pause takes over the tasks of the one before: nobody else would resume them.
        let before = self.pause.take();
        let tasks = before.map(|pause| pause.tasks).unwrap_or_default();
        (Pause { hold, tasks }, text)
    }

    /// Puts the pause down as it is, or that there is none.
    pub(super) fn save_pause(&self, ledger: &mut Ledger) {
        // An entry of the pause that cannot be read is replaced here, and holds nothing any more.
        ledger.quarantine.forget(Table::Rack, stored::PAUSE);
        let (journal, key) = (&mut ledger.journal, stored::PAUSE.to_owned());
        match &self.pause {
            Some(pause) => journal.put(Table::Rack, key, stored::pause(pause)),
            None => journal.delete(Table::Rack, key),
        }
    }
}

/// What the caller of an order hears that the pause took back; `paused` where it had not left.
pub(super) fn taken_back(
    open: &Open,
    delivery: Delivery,
    node: Option<&Node>,
    paused: &Refused,
) -> Refused {
    match delivery {
        Delivery::NotSent => paused.clone(),
        Delivery::Unknown => {
            let text = "it had left when the rack was paused; its answer was not awaited";
            side::unanswered(open, delivery, node, text)
        }
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
