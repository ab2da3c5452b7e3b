//! What a former life remembered, read from the journal's entries, and the tasks that go on.

use super::batch::BatchRecord;
use super::call::PowerState;
use super::clock::Moment;
use super::gate::Pause;
use super::history::History;
use super::inventory::NodeId;
use super::node::Memory;
use super::record::Table;
use super::stored::{self, Entry, TaskRecord};
use super::task::Task;
use crate::power::{Saved, Sequence};
use crate::time::WallTime;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// One remembered entry: its table, key and value.
pub type Remembered = (Table, String, Vec<u8>);

/// Why what was remembered cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// An entry cannot be read. Nothing was changed.
    #[error("the journal's entry {key} in table {table} cannot be read: {why}")]
    Unreadable {
        /// The table's name.
        table: &'static str,
        /// The entry's key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

impl TaskRecord {
    /// The task as it goes on. Patience ran on while the daemon lived (its last sign of life was at `alive`), and stood
    /// still while it did not.
    pub(super) fn take_up(self, node: Option<NodeId>, alive: Option<WallTime>, at: Moment) -> Task {
        let lived = alive.map_or(Duration::ZERO, |alive| alive.since(self.written_at));
        let away = at.wall.since(self.written_at).saturating_sub(lived);
        let saved = Saved::from(self.sequence).after_absence(away);
        let saved = saved.with_unsent(self.unsent);
        let mut sequence = Sequence::restore(saved, at.now.before(lived));
        sequence.handle_timeout(at.now);
        let mut task = Task {
            identity: self.identity,
            node,
            sequence,
            admitted: true,
            resuming: self.resuming,
            returning: self.returning,
            nmi_call: None,
            journaled: None,
        };
        if !task.is_active() {
            task.journaled = Some(task.milestone());
        }
        task
    }
}

/// What was remembered, sorted.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) batches: BTreeMap<Uuid, BatchRecord>,
    pub(super) nodes: BTreeMap<Uuid, Memory>,
    pub(super) history: History,
    pub(super) pause: Option<Pause>,
    pub(super) alive: Option<WallTime>,
}

impl Shelf {
    pub(super) fn sort(remembered: Vec<Remembered>) -> Result<Self, RestoreError> {
        let mut shelf = Shelf::default();
        for (table, key, value) in remembered {
            let entry = stored::read(table, &key, &value);
            let unreadable = |why: String| RestoreError::Unreadable {
                table: table.name(),
                key,
                why,
            };
            shelf.put(entry.map_err(unreadable)?);
        }
        Ok(shelf)
    }

    fn put(&mut self, entry: Entry) {
        match entry {
            Entry::Task(record) => self.tasks.push(*record),
            Entry::Batch(id, record) => drop(self.batches.insert(id, record)),
            Entry::Node(id, mut memory) => {
                if memory.shown != PowerState::Error {
                    // What was read by a former life is shown as a reading with its age, not as the present.
                    memory.shown = PowerState::Unknown;
                }
                self.nodes.insert(id, *memory);
            }
            Entry::History(number, node, entry) => self.history.restore(number, node, entry),
            Entry::Pause(pause) => self.pause = Some(pause),
            Entry::Alive(at) => self.alive = Some(at),
            Entry::Foreign => {}
        }
    }
}
