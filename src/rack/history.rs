//! What happened to nodes: ended tasks, drifts, faults, maintenance. Kept for a while, and so many per node.

use super::Rack;
use super::call::{HistoryEntry, TaskId};
use super::inventory::NodeId;
use super::record::Table;
use crate::model::{HistoryKind, Severity};
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

/// The history of every node, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    next: u64,
    nodes: BTreeMap<Uuid, VecDeque<(u64, HistoryEntry)>>,
}

impl History {
    /// Takes up what was remembered; entries come in the order of their numbers.
    pub(super) fn restore(&mut self, number: u64, node: Uuid, entry: HistoryEntry) {
        self.pass(number);
        let entries = self.nodes.entry(node).or_default();
        entries.push_back((number, entry));
    }

    /// Entries to come have numbers after this one.
    pub(super) fn pass(&mut self, number: u64) {
        self.next = self.next.max(number.saturating_add(1));
    }

    pub(super) fn of(&self, node: Uuid) -> impl Iterator<Item = &HistoryEntry> {
        self.nodes
            .get(&node)
            .into_iter()
            .flatten()
            .rev()
            .map(|(_, entry)| entry)
    }
}

impl Rack {
    #[allow(clippy::too_many_arguments, reason = "one entry, each part once")]
    pub(super) fn note_history(
        &mut self,
        node: NodeId,
        kind: HistoryKind,
        text: String,
        task: Option<TaskId>,
        by: Option<String>,
        error: bool,
        now: Instant,
    ) {
        let at = self.wall(now);
        let uuid = self.inventory[node].settings.uuid;
        let entry = HistoryEntry {
            at,
            kind: kind.into(),
            text,
            task,
            by,
            severity: Severity::of(error).into(),
            more: Default::default(),
        };
        let number = self.history.next;
        self.history.next += 1;
        self.journal.put(
            Table::History,
            key(number),
            super::stored::history(uuid, &entry),
        );
        let entries = self.history.nodes.entry(uuid).or_default();
        entries.push_back((number, entry));
        let too_old =
            |(_, entry): &(u64, HistoryEntry)| at.since(entry.at) > self.settings.history_keep;
        while entries.len() > self.settings.history_entries as usize
            || entries.front().is_some_and(too_old)
        {
            let (number, _) = entries.pop_front().expect("there is one");
            self.journal.delete(Table::History, key(number));
        }
    }

    /// Entries that are too old are forgotten, of nodes that are gone too.
    pub(super) fn forget_old_history(&mut self, now: Instant) {
        let (wall, keep) = (self.wall(now), self.settings.history_keep);
        self.history.nodes.retain(|_, entries| {
            let old = |(_, entry): &(u64, HistoryEntry)| wall.since(entry.at) > keep;
            while entries.front().is_some_and(old) {
                let (number, _) = entries.pop_front().expect("just seen");
                self.journal.delete(Table::History, key(number));
            }
            !entries.is_empty()
        });
    }

    /// Ended tasks are forgotten when they are too old or too many, and batches with their last task.
    pub(super) fn forget_old_tasks(&mut self, now: Instant) {
        let wall = self.wall(now);
        let ended = self.tasks.len() - self.active.len();
        let mut surplus = ended.saturating_sub(ENDED_TASKS_KEPT);
        let keep = self.settings.history_keep;
        let mut forgotten = Vec::new();
        for (id, task) in &self.tasks {
            let Some(ended_at) = task.identity.ended_at.filter(|_| !task.is_active()) else {
                continue;
            };
            // Tasks of a batch stay as long as it runs: its view counts them.
            let batch = task
                .identity
                .batch
                .and_then(|batch| self.batches.get(&batch));
            if batch.is_some_and(|batch| batch.ended_at.is_none()) {
                continue;
            }
            if surplus == 0 && wall.since(ended_at) <= keep {
                break;
            }
            surplus = surplus.saturating_sub(1);
            forgotten.push((*id, task.identity.batch));
        }
        for (id, batch) in forgotten {
            self.tasks.remove(&id);
            self.journal.delete(Table::Tasks, id.to_string());
            let empty =
                |batch: &super::Batch| !batch.tasks().any(|task| self.tasks.contains_key(&task));
            if let Some(batch) = batch.filter(|batch| self.batches.get(batch).is_some_and(empty)) {
                self.drop_batch(batch);
            }
        }
    }
}

/// Keys sort as their numbers do.
fn key(number: u64) -> String {
    format!("{number:020}")
}

/// Ended tasks that are kept in memory, beside those that are active.
const ENDED_TASKS_KEPT: usize = 2000;
