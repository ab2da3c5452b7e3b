//! What a former life remembered, read from the journal's entries, and the tasks that go on.

use super::batch::BatchRecord;
use super::call::PowerState;
use super::clock::Moment;
use super::gate::Pause;
use super::history::History;
use super::inventory::NodeId;
use super::ledger::Ledger;
use super::node::Memory;
use super::quarantine::Unreadable;
use super::record::Table;
use super::settings::NodeSettings;
use super::stored::{self, Entry, TaskRecord};
use super::task::Task;
use crate::power::{Saved, Sequence};
use crate::time::WallTime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// One remembered entry: its table, key and value.
pub type Remembered = (Table, String, Vec<u8>);

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
            named_timeout: false,
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
    pub(super) unreadable: Vec<Unreadable>,
}

impl Shelf {
    pub(super) fn sort(remembered: Vec<Remembered>) -> Self {
        let mut shelf = Shelf::default();
        for (table, key, value) in remembered {
            match stored::read(table, &key, &value) {
                Ok(entry) => shelf.put(entry),
                Err(why) => shelf.unreadable.push(Unreadable {
                    table,
                    key,
                    value,
                    why,
                }),
            }
        }
        shelf
    }

    /// What cannot be read is not written over. Gives the nodes that have no entry: where an entry's key cannot be read,
    /// it is that of one of them, which must not get another one then.
    pub(super) fn seal_unreadable(
        &self,
        nodes: &[NodeSettings],
        ledger: &mut Ledger,
    ) -> BTreeSet<Uuid> {
        let mut nobodys = false;
        let mut without: BTreeSet<Uuid> = nodes.iter().map(|node| node.uuid).collect();
        without.retain(|uuid| !self.nodes.contains_key(uuid));
        for Unreadable { table, key, .. } in &self.unreadable {
            if *table == Table::Nodes {
                match key.parse() {
                    Ok(uuid) => drop(without.remove(&uuid)),
                    Err(_) => nobodys = true,
                }
            }
            // The pause is replaced by the next one, and the sign of life by the next.
            if *table != Table::Rack {
                ledger.journal.seal(*table, key.clone());
            }
        }
        for uuid in without.iter().filter(|_| nobodys) {
            ledger.journal.seal(Table::Nodes, uuid.to_string());
        }
        without
    }

    /// When the journal was last written, as far as its entries say.
    pub(super) fn last_sign_of_life(&self) -> Option<WallTime> {
        let tasks = self.tasks.iter().map(|task| task.written_at);
        let nodes = self.nodes.values().flat_map(|memory| {
            let read = memory.reading.map(|(_, at)| at);
            [memory.updated_at, read].into_iter().flatten()
        });
        self.alive.into_iter().chain(tasks).chain(nodes).max()
    }

    /// Why the rack counts as paused, where the entry of its pause cannot be read.
    pub(super) fn lost_pause(&self) -> Option<String> {
        let is_pause =
            |entry: &&Unreadable| entry.table == Table::Rack && entry.key == stored::PAUSE;
        let entry = self.unreadable.iter().find(is_pause)?;
        Some(format!(
            "the rack was paused, and what the journal says of it cannot be read ({}); tasks that the pause had suspended \
             stay so when it is released",
            entry.why
        ))
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
            Entry::History(number, node, entry) => self.history.restore(number, node, entry.at),
            Entry::Pause(pause) => self.pause = Some(pause),
            Entry::Alive(at) => self.alive = Some(at),
            Entry::Foreign => {}
        }
    }
}
