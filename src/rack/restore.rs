//! Making a rack, anew or from what was remembered; putting down what must be remembered.

use super::batch::{Batch, BatchRecord};
use super::call::{PowerState, TaskId};
use super::events::Events;
use super::history::History;
use super::inventory::{Inventory, NodeId};
use super::journal::Journal;
use super::leaving::Leaving;
use super::node::Memory;
use super::record::Table;
use super::schedule::Gate;
use super::settings::{NodeSettings, RackSettings};
use super::stored::{self, Entry, TaskRecord};
use super::task::{Ids, Task};
use super::waits::Waits;
use super::{Clock, Counters, Pause, Rack};
use crate::entropy::Entropy;
use crate::power::{Saved, Sequence, State};
use crate::time::{Instant, WallTime};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

impl Rack {
    /// The rack that the configuration describes, with what a former life remembered of it.
    ///
    /// # Errors
    /// An entry that cannot be read: then the daemon must not run, lest it repeats what it does not know of.
    pub fn new(
        settings: RackSettings,
        nodes: Vec<NodeSettings>,
        remembered: Vec<Remembered>,
        wall: WallTime,
        now: Instant,
        mut entropy: Box<dyn Entropy + Send>,
    ) -> Result<Rack, RestoreError> {
        // The calendar tells lives of the daemon apart, and the random part two within its resolution.
        let epoch = (wall.unix_micros() << 8) | entropy.below(256);
        let mut rack = Rack {
            settings,
            inventory: Inventory::default(),
            tasks: BTreeMap::new(),
            active: BTreeSet::new(),
            batches: BTreeMap::new(),
            plans: BTreeMap::new(),
            owners: BTreeMap::new(),
            next_order: 1,
            ids: Ids::default(),
            transitions: 0,
            waiting: BTreeSet::new(),
            gate: Gate::default(),
            pause: None,
            history: History::default(),
            leaving: Leaving::default(),
            journal: Journal::new(),
            events: Events::new(epoch),
            waits: Waits::default(),
            next_heartbeat: None,
            transmits: VecDeque::new(),
            answers: VecDeque::new(),
            resolves: VecDeque::new(),
            clock: Clock {
                at: now,
                wall,
                started: wall,
            },
            entropy,
            stopping: false,
            unscheduled: true,
            woken: false,
            counters: Counters::default(),
        };
        let mut memory = Shelf::sort(remembered)?;
        rack.leaving.memories = std::mem::take(&mut memory.nodes);
        for settings in nodes {
            rack.add_node(settings, now);
        }
        for (node, memory) in std::mem::take(&mut rack.leaving.memories) {
            rack.remember_gone(node, memory, now);
        }
        rack.take_up(memory, now);
        Ok(rack)
    }

    /// Takes tasks, batches and the pause up where they were.
    fn take_up(&mut self, memory: Shelf, now: Instant) {
        let alive = memory.alive;
        self.history = memory.history;
        self.pause = memory.pause;
        // A former life may have powered something on in its last instant, long after it had put that down: the whole
        // distance is kept from now on.
        self.gate.close_until(now + self.settings.power_on_stagger);
        for (id, batch) in memory.batches {
            self.batches.insert(id, Batch::restore(batch));
        }
        for record in memory.tasks {
            self.take_up_task(record, alive, now);
        }
        let wall = self.wall(now);
        for batch in self.batches.values_mut() {
            let begun = batch
                .tasks()
                .filter_map(|task| self.tasks.get(&task)?.identity.started_at)
                .max();
            batch.last_start = begun.map(|at| now.before(wall.since(at)));
        }
        // Only now: the end of a batch's task asks for its others.
        for id in self.active.clone() {
            let node = self.tasks[&id].node;
            if node.is_none_or(|node| self.inventory[node].task != Some(id)) {
                self.give_up_task(id, now);
            }
        }
        if self.pause.is_some() {
            // One that was being rolled back may have been put down last before the pause.
            for id in self.active.clone() {
                self.hold_back(id, now);
            }
        }
        // A batch whose tasks are all forgotten says nothing any more.
        let empty = |batch: &Batch| !batch.tasks().any(|task| self.tasks.contains_key(&task));
        let gone: Vec<_> = self
            .batches
            .iter()
            .filter(|(_, batch)| empty(batch))
            .map(|(id, _)| *id)
            .collect();
        gone.into_iter().for_each(|id| self.drop_batch(id));
        for node in self.inventory.ids() {
            self.apply_maintenance(node, now);
            self.settle(node, now);
        }
        self.next_heartbeat = (!self.active.is_empty()).then_some(now);
        self.unscheduled = true;
        self.wind_up(now);
    }

    fn take_up_task(&mut self, record: TaskRecord, alive: Option<WallTime>, now: Instant) {
        let TaskRecord {
            identity,
            sequence,
            written_at,
            resuming,
            returning,
            unsent,
        } = record;
        // Patience ran on while the daemon lived, and stood still while it did not.
        let lived = alive.map_or(std::time::Duration::ZERO, |alive| alive.since(written_at));
        let away = self.wall(now).since(written_at).saturating_sub(lived);
        let node = self.inventory.with_uuid(identity.node_uuid);
        let id = identity.id;
        self.ids.pass(id);
        let saved = Saved::from(sequence).after_absence(away);
        let saved = saved.with_unsent(unsent);
        let mut sequence = Sequence::restore(saved, now.before(lived));
        // The record of what was sent knows orders by their ids: those of this life must be others.
        let used = sequence.sent().iter().map(|sent| sent.id.0).max();
        self.next_order = self.next_order.max(used.unwrap_or(0) + 1);
        sequence.handle_timeout(now);
        let active = !sequence.state().is_end();
        let mut task = Task {
            identity,
            node,
            sequence,
            pending: None,
            admitted: true,
            resuming,
            returning,
            nmi_call: None,
            journaled: None,
            counted: false,
        };
        if !active {
            task.journaled = Some(task.milestone());
        }
        let suspended = task.state() == State::Suspended;
        self.tasks.insert(id, task);
        if !active {
            return;
        }
        self.active.insert(id);
        self.count_task(id);
        if let Some(place) = node.map(|node| &mut self.inventory[node])
            && place.task.is_none()
        {
            place.task = Some(id);
            place.bmc.set_wanted(!suspended, now);
            log::info!("{}: taking up task {id}", place.settings.name);
        }
    }

    /// A task whose node is configured no more, or has another task, ends: nobody can go on with it.
    fn give_up_task(&mut self, id: TaskId, now: Instant) {
        let task = self.tasks.get_mut(&id).expect("an active task is there");
        let why = match task.node.take() {
            None => "rackbmcd: the node is configured no more",
            Some(_) => "rackbmcd: the node has another task",
        };
        let _ = task
            .sequence
            .control(crate::power::Control::Abort, why, now);
        self.note_milestone(id, now);
    }

    pub(super) fn save_task(&mut self, id: TaskId, now: Instant) {
        let wall = self.wall(now);
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let record = stored::task(task.record(now, wall));
        self.journal.put(Table::Tasks, id.to_string(), record);
        if task.is_active() && self.next_heartbeat.is_none() {
            self.next_heartbeat = Some(now + super::schedule::HEARTBEAT);
        }
    }

    /// Puts down every active task as it is, and every node.
    pub(super) fn save_active(&mut self, now: Instant) {
        for id in self.active.clone() {
            self.save_task(id, now);
        }
        for node in self.inventory.ids() {
            self.save_node(node);
        }
    }

    pub(super) fn save_node(&mut self, node: NodeId) {
        let place = &mut self.inventory[node];
        place.memory.knowledge = place.bmc.knowledge().clone();
        let key = place.settings.uuid.to_string();
        let value = stored::node(&place.memory);
        self.journal.put(Table::Nodes, key, value);
    }

    pub(super) fn save_pause(&mut self) {
        match &self.pause {
            Some(pause) => {
                self.journal
                    .put(Table::Rack, stored::PAUSE.to_owned(), stored::pause(pause))
            }
            None => self.journal.delete(Table::Rack, stored::PAUSE.to_owned()),
        }
    }
}

/// What was remembered, sorted.
#[derive(Default)]
struct Shelf {
    tasks: Vec<TaskRecord>,
    batches: BTreeMap<Uuid, BatchRecord>,
    nodes: BTreeMap<Uuid, Memory>,
    history: History,
    pause: Option<Pause>,
    alive: Option<WallTime>,
}

impl Shelf {
    fn sort(remembered: Vec<Remembered>) -> Result<Self, RestoreError> {
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
