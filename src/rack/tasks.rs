//! All tasks that are remembered, their batches, and the history of nodes.
//!
//! What is counted of them follows from what they are: how many draw inrush current, which ones
//! wait (`tally`). Knows no BMC and no journal's turn; what is to be remembered goes to the ledger
//! that is handed in.

mod forgetting;

use super::ahead;
use super::batch::{Batch, Slots};
use super::call::Refused;
use super::clock::Moment;
use super::history::History;
use super::ids::Ids;
use super::inventory::{Inventory, NodeId};
use super::ledger::Ledger;
use super::record::Table;
use super::stored;
use super::tally::Tally;
use super::task::Task;
use crate::bmc::vocabulary::Report;
use crate::entropy::Entropy;
use crate::model::{BatchId, Control, Operation, Short, TaskId, TaskState, Who};
use crate::time::WallTime;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::time::Duration;
use uuid::Uuid;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Tasks that have not ended, in the order of their requests.
    active: BTreeMap<TaskId, Box<Task>>,
    /// Boxed as those are: a map has room for half as many again as it holds.
    ended: BTreeMap<TaskId, Box<Task>>,
    /// What is counted of the tasks that have not ended.
    tally: Tally,
    batches: BTreeMap<BatchId, Batch>,
    /// Tasks whose records cannot be read: nobody knows whether they have ended.
    pub(super) lost: BTreeSet<TaskId>,
    pub(super) history: History,
    ids: Ids,
    /// Short ids of tasks that are taken.
    shorts: BTreeSet<Short>,
    /// The tasks of requests for one node, by the hash of the request's id and the node.
    asked: BTreeSet<(u64, TaskId)>,
    /// Whether a task has ended since the surplus was looked for.
    has_ended: bool,
    /// How much memory ended tasks take, as of their ends.
    ended_bytes: usize,
}

/// A task that ended longer ago has nothing on its way any more.
const RECENT: Duration = Duration::from_secs(60);
/// How often an id is made anew because its short one is taken.
const SHORT_TRIES: usize = 16;

impl Tasks {
    /// An id that sorts after all before, and whose short one nothing that is remembered has.
    pub(super) fn make_id(&mut self, wall: WallTime, entropy: &mut dyn Entropy) -> TaskId {
        let mut id = self.ids.make(wall, entropy);
        // Five letters make 33 million short ids: a second try is rare.
        for _ in 0..SHORT_TRIES {
            let short = Short::of(id);
            let of_a_batch = |batch: &BatchId| Short::of(*batch) == short;
            if !self.shorts.contains(&short) && !self.batches.keys().any(of_a_batch) {
                break;
            }
            id = self.ids.make(wall, entropy);
        }
        id
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Task> {
        let task = self.active.get(&id).or_else(|| self.ended.get(&id));
        task.map(|task| &**task)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        match self.active.get_mut(&id) {
            Some(task) => {
                // Whoever has a task in hand may change it: it is counted anew before anybody asks.
                self.tally.stir(id);
                Some(task)
            }
            None => self.ended.get_mut(&id).map(|task| &mut **task),
        }
    }

    /// What is counted of the tasks is what they are now.
    pub(super) fn count(&mut self) {
        self.tally.recount(&self.active);
    }

    /// Adds a task, or takes one up from an earlier life.
    pub(super) fn insert(&mut self, task: Task) {
        let id = task.identity.id;
        self.ids.skip_past(id);
        self.shorts.insert(Short::of(id));
        self.asked.extend(Self::asked_as(&task));
        self.tally.stir(id);
        match task.is_closed() {
            true => self.insert_ended(Box::new(task)),
            false => drop(self.active.insert(id, Box::new(task))),
        }
    }

    fn insert_ended(&mut self, task: Box<Task>) {
        self.ended_bytes += task.bytes();
        self.ended.insert(task.identity.id, task);
    }

    /// The task has ended, and what follows from its end is done.
    pub(super) fn close(&mut self, id: TaskId, wall: WallTime) {
        if let Some(mut task) = self.active.remove(&id) {
            self.tally.stir(id);
            task.identity.ended_at = Some(wall);
            // An ended task waits for nothing, and its view must not say that it does.
            (task.resuming, task.returning) = (None, None);
            let batch = task.identity.batch.filter(|_| !task.had_turn);
            if let Some(batch) = batch.and_then(|batch| self.batches.get_mut(&batch)) {
                batch.needed_no_turn(id);
            }
            task.log_end();
            self.insert_ended(task);
            self.has_ended = true;
        }
    }

    /// A task that was never taken on leaves no trace, and neither does its batch.
    pub(super) fn drop_task(&mut self, id: TaskId, ledger: &mut Ledger) -> Option<Task> {
        let active = self.active.remove(&id);
        let task = active.or_else(|| self.ended.remove(&id))?;
        self.tally.stir(id);
        self.forget_names(&task);
        ledger.journal.delete(Table::Tasks, id.to_string());
        if let Some(batch) = task.identity.batch {
            self.drop_batch(batch, ledger);
        }
        Some(*task)
    }

    /// The tasks that have not ended, in the order of their requests.
    pub(super) fn active(&self) -> impl Iterator<Item = &Task> {
        self.active.values().map(|task| &**task)
    }

    /// Those of them that are older than that one, or all, newest first.
    pub(super) fn active_before(&self, task: Option<TaskId>) -> impl Iterator<Item = &Task> {
        let until = task.map_or(Bound::Unbounded, Bound::Excluded);
        let active = self.active.range((Bound::Unbounded, until)).rev();
        active.map(|(_, task)| &**task)
    }

    pub(super) fn active_ids(&self) -> Vec<TaskId> {
        self.active.keys().copied().collect()
    }

    /// Whether an order that changes power and has no answer may be on its way to a machine yet.
    pub(super) fn may_be_on_its_way(&self, at: Moment) -> bool {
        let recent = |task: &&Task| {
            let ended = task.identity.ended_at;
            ended.is_none_or(|ended| at.age(ended) < RECENT)
        };
        let unanswered = |task: &Task| {
            let mut sent = task.sequence.sent().iter();
            sent.any(|sent| {
                let answered = match &sent.answer {
                    Some((_, Report::Accepted(_) | Report::Refused(_))) => true,
                    Some((_, Report::Unanswered(_))) | None => false,
                };
                sent.order.changes_power() && !answered
            })
        };
        let tasks = self.active.values().chain(self.ended.values());
        let tasks = tasks.map(|task| &**task);
        tasks.filter(recent).any(unanswered)
    }

    pub(super) fn count_active(&self) -> usize {
        self.active.len()
    }

    pub(super) fn is_active(&self, id: TaskId) -> bool {
        self.active.contains_key(&id)
    }

    /// All tasks, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Task> {
        let mut active = self.active.values().rev().map(|task| &**task).peekable();
        let mut ended = self.ended.values().rev().map(|task| &**task).peekable();
        std::iter::from_fn(move || {
            let id = |task: Option<&&Task>| task.map(|task| task.identity.id);
            match id(active.peek()) > id(ended.peek()) {
                true => active.next(),
                false => ended.next(),
            }
        })
    }

    /// How many tasks take a place among what draws inrush current: their order is on its way, or
    /// its effect is.
    pub(super) fn inrushes(&mut self, ledger: &Ledger) -> usize {
        self.count();
        let on_its_way = ledger.drawing_inrush();
        // Rule 11: an order counts from its record on, and its task not a second time.
        let more = on_its_way.filter(|task| !self.tally.draws(*task) && self.is_active(*task));
        self.tally.drawing() + more.count()
    }

    /// The tasks that wait for their beginning, or are to go on, in the order of their requests:
    /// all, or those after one. Each batch's are apart from those that no batch keeps back. As of
    /// [`Tasks::count`].
    pub(super) fn queues(
        &self,
        after: Option<TaskId>,
    ) -> impl Iterator<Item = impl Iterator<Item = TaskId>> {
        self.tally.queues(after)
    }

    /// Whether the task is the one that has its node.
    pub(super) fn has_its_node(&self, id: TaskId, inventory: &Inventory) -> bool {
        let node = self.get(id).and_then(|task| task.node);
        let node = node.and_then(|node| inventory.get(node));
        node.is_some_and(|node| node.task == Some(id))
    }

    /// Nobody is at this node any more.
    pub(super) fn forget_node(&mut self, node: NodeId) {
        for task in self.active.values_mut().chain(self.ended.values_mut()) {
            task.node.take_if(|other| *other == node);
        }
    }

    /// Puts the task down, as it will be when that is given to the shell.
    pub(super) fn save(&mut self, id: TaskId, ledger: &mut Ledger, at: Moment) {
        let active = self.is_active(id);
        if !active && !self.ended.contains_key(&id) {
            return;
        }
        ledger.promise(id);
        if active {
            ledger.begin_heartbeat(at.now);
        }
    }

    /// What was promised of tasks is put down.
    pub(super) fn keep_promises(&mut self, ledger: &mut Ledger, at: Moment) {
        let active = self.active.len();
        for id in ledger.take_promises() {
            if let Some(task) = self.get_mut(id) {
                task.leave_out(active);
                let foreseen = ahead::record(task, at);
                let record = foreseen.unwrap_or_else(|| task.record(ledger.unwritten_of(id), at));
                let record = stored::task(record);
                ledger.journal.fill(Table::Tasks, id.to_string(), record);
            }
        }
    }

    pub(super) fn batch(&self, id: BatchId) -> Option<&Batch> {
        self.batches.get(&id)
    }

    pub(super) fn batch_mut(&mut self, id: BatchId) -> Option<&mut Batch> {
        self.batches.get_mut(&id)
    }

    /// All batches, newest first.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.values().rev()
    }

    /// The batches that have not ended, newest first.
    pub(super) fn open_batches(&self) -> Vec<BatchId> {
        let open = self.batches().filter(|batch| !batch.has_ended());
        open.map(Batch::id).collect()
    }

    pub(super) fn insert_batch(&mut self, batch: Batch) {
        self.batches.insert(batch.id(), batch);
    }

    pub(super) fn save_batch(&self, id: BatchId, ledger: &mut Ledger) {
        if let Some(batch) = self.batches.get(&id) {
            let record = batch.record();
            ledger.journal.put(Table::Batches, id.to_string(), record);
        }
    }

    fn drop_batch(&mut self, id: BatchId, ledger: &mut Ledger) {
        if self.batches.remove(&id).is_some() {
            ledger.journal.delete(Table::Batches, id.to_string());
        }
    }

    /// How far a batch has come, for all of its tasks that want to know.
    pub(super) fn room(&self, batch: BatchId) -> Slots {
        let batch = self.batches.get(&batch);
        batch.map_or_else(Slots::default, |batch| {
            batch.room(|id| self.active.get(id).map(|task| &**task), &self.lost)
        })
    }

    /// The same without going through its tasks, as of [`Tasks::count`].
    pub(super) fn room_as_counted(&self, batch: &Batch) -> Slots {
        let is_active = |id: &TaskId| self.active.get(id).is_some_and(|task| task.is_active());
        let room = batch.room_with(self.tally.under_way(batch.id()), is_active, &self.lost);
        debug_assert!(
            batch.members().len() > SMALL || room == self.room(batch.id()),
            "the room of a batch is not what its tasks leave of it"
        );
        room
    }

    /// The tasks of a batch that have not begun, where a failure has just stopped it.
    pub(super) fn stop_batch(&mut self, id: BatchId, failed: bool) -> Option<Vec<TaskId>> {
        let batch = self.batches.get_mut(&id)?;
        if !(failed && batch.stop()) {
            return None;
        }
        // Queued, or suspended while it was queued: a resume would let it begin.
        let waits = |task: &Task| task.is_active() && task.identity.started_at.is_none();
        let waits = |id: &TaskId| self.active.get(id).is_some_and(|task| waits(task));
        Some(batch.tasks().filter(waits).collect())
    }

    /// One task of the batch has ended. Whether it was the last one.
    pub(super) fn batch_went_on(&mut self, id: BatchId, wall: WallTime) -> bool {
        let Some(batch) = self.batches.get_mut(&id) else {
            return false;
        };
        let open = |task| self.active.contains_key(&task) || self.lost.contains(&task);
        batch.went_on(open, wall)
    }

    /// The tasks of a batch on these nodes, all of its tasks where no node is named.
    ///
    /// # Errors
    /// There is no such batch, or a node of that name is not in it.
    pub(super) fn members_named(
        &self,
        id: BatchId,
        nodes: &[String],
        inventory: &Inventory,
    ) -> Result<Vec<TaskId>, Refused> {
        let batch = self.batches.get(&id).ok_or(Refused::NoSuchBatch(id))?;
        if nodes.is_empty() {
            return Ok(batch.tasks().collect());
        }
        // Gone through once: a batch and its control may name thousands.
        let (mut by_uuid, mut by_name) = (BTreeMap::new(), BTreeMap::new());
        for member in batch.members() {
            let uuid = self.get(member.task).map(|task| task.identity.node_uuid);
            if let Some(uuid) = uuid {
                by_uuid.entry(uuid).or_insert(member.task);
            }
            let name = member.node.as_str();
            by_name.entry(name).or_insert((member.task, uuid.is_some()));
        }
        let mut named = BTreeSet::new();
        for ident in nodes {
            let node = inventory.named(ident).ok();
            let node = node.and_then(|id| inventory.get(id));
            let uuid = node.map(|node| node.settings.uuid);
            let found = uuid.and_then(|uuid| by_uuid.get(&uuid).copied());
            // Where the node is gone, or its task is forgotten, the batch
            // still knows it by the name of then.
            let of_then = by_name.get(ident.as_str());
            let of_then = of_then.filter(|(_, known)| uuid.is_none() || !known);
            let found = found.or(of_then.map(|(task, _)| *task));
            named.insert(found.ok_or_else(|| Refused::NoSuchNode(ident.clone()))?);
        }
        Ok(batch.tasks().filter(|task| named.contains(task)).collect())
    }

    /// The batch that the same request began already.
    pub(super) fn batch_again(
        &self,
        operation: Operation,
        nodes: &BTreeSet<&str>,
        who: &Who,
        at: Moment,
    ) -> Option<BatchId> {
        let mut batches = self.batches.values().rev();
        let same = batches.find(|batch| batch.is_again(operation, nodes, who, at));
        same.map(Batch::id)
    }

    /// The tasks of requests for this node alone that were made under this id, newest first.
    pub(super) fn asked_under(&self, request: &str, node: Uuid) -> impl Iterator<Item = &Task> {
        let (first, last) = (TaskId::nil(), TaskId::max());
        let hash = request_hash(request, node);
        let asked = self.asked.range((hash, first)..=(hash, last)).rev();
        // Two ids may have one hash: whoever asks compares the ids.
        asked.filter_map(|(_, id)| self.get(*id))
    }

    /// Whether a task is looked for by the id of its request.
    fn asked_as(task: &Task) -> Option<(u64, TaskId)> {
        let request = &task.identity.requested_by.request;
        // The request of a batch is known again by the batch (`batch_again`).
        let single = task.identity.batch.is_none() && !request.is_empty();
        single.then(|| {
            (
                request_hash(request, task.identity.node_uuid),
                task.identity.id,
            )
        })
    }

    /// The tasks of a batch in the order in which a control reaches them: those that wait come
    /// first, because a place that becomes free in between must not let one of them begin.
    pub(super) fn in_order_of_control(&self, mut tasks: Vec<TaskId>) -> Vec<TaskId> {
        let queued = |id: &TaskId| {
            let task = self.active.get(id);
            task.is_some_and(|task| task.state() == TaskState::Queued)
        };
        tasks.sort_by_key(|task| !queued(task));
        tasks
    }

    /// What each batch has begun in a former life.
    pub(super) fn take_up_batches(&mut self, at: Moment, ledger: &mut Ledger) {
        let mut empty = Vec::new();
        for (id, batch) in &mut self.batches {
            let known = |task| {
                let task = self.active.get(&task).or_else(|| self.ended.get(&task));
                task.map(|task| &**task)
            };
            let tasks: Vec<&Task> = batch.tasks().filter_map(known).collect();
            // One whose tasks are all forgotten says nothing any more.
            if tasks.is_empty() && !batch.tasks().any(|task| self.lost.contains(&task)) {
                empty.push(*id);
            }
            batch.take_up(&tasks, at);
        }
        empty.into_iter().for_each(|id| self.drop_batch(id, ledger));
    }

    /// Ends a task for which there is nothing left to do, because its node is not there for it any
    /// more.
    pub(super) fn give_up(&mut self, id: TaskId, at: Moment) {
        let Some(task) = self.get_mut(id).filter(|task| !task.is_closed()) else {
            return;
        };
        let why = match task.node.take() {
            None => "rackbmcd: the node is configured no more",
            Some(_) => "rackbmcd: the node has another task",
        };
        let _ = task.sequence.control(Control::Abort, why, at.now);
    }
}

/// Short enough to be kept for each task, and the same in each life.
fn request_hash(request: &str, node: Uuid) -> u64 {
    let mut hasher = DefaultHasher::new();
    (request, node).hash(&mut hasher);
    hasher.finish()
}

/// Batches of more tasks are not gone through each time, even where debug assertions are made.
const SMALL: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::record::Write;
    use super::super::tests::{at, id, task};
    use super::*;
    use crate::model::Operation;

    /// Chance that gives the same twice, then something else.
    struct Stutters(u8);

    impl Entropy for Stutters {
        fn fill(&mut self, bytes: &mut [u8]) {
            self.0 += 1;
            bytes.fill(self.0 / 3);
        }
    }

    #[test]
    fn no_two_tasks_that_are_remembered_have_the_same_short_id() {
        let mut tasks = Tasks::default();
        let mut entropy = Stutters(0);
        let first = tasks.make_id(at(1).wall, &mut entropy);
        let mut other = task(1, Operation::PowerOn);
        other.identity.id = first;
        tasks.insert(other);
        let second = tasks.make_id(at(1).wall, &mut entropy);
        assert_ne!(Short::of(first), Short::of(second));
    }

    /// What is put down of tasks 1 and 2, after all that was said of them in one turn.
    fn put_down(turn: impl FnOnce(&mut Tasks, &mut Ledger)) -> Vec<Write> {
        let (mut tasks, mut ledger) = (Tasks::default(), Ledger::new());
        tasks.insert(task(1, Operation::PowerOff));
        tasks.insert(task(2, Operation::PowerOff));
        turn(&mut tasks, &mut ledger);
        assert!(ledger.journal.is_pending());
        tasks.keep_promises(&mut ledger, at(1));
        ledger.journal.poll_writes().expect("something").1
    }

    #[test]
    fn a_task_is_put_down_as_it_is_when_that_is_given_away_and_not_once_it_was_dropped() {
        let written = |ended: bool| {
            put_down(|tasks, ledger| {
                tasks.save(id(1), ledger, at(1));
                if ended {
                    tasks.close(id(1), at(1).wall);
                }
            })
        };
        let twice = put_down(|tasks, ledger| {
            tasks.save(id(1), ledger, at(1));
            tasks.close(id(1), at(1).wall);
            tasks.save(id(1), ledger, at(1));
        });
        assert_eq!(twice, written(true));
        assert_ne!(twice, written(false));
        let dropped = put_down(|tasks, ledger| {
            tasks.save(id(1), ledger, at(1));
            tasks.save(id(2), ledger, at(1));
            tasks.drop_task(id(1), ledger);
        });
        assert!(
            matches!(&dropped[..], [Write::Delete { key, .. }, Write::Put { value, .. }]
                if *key == id(1).to_string() && !value.is_empty()),
            "{dropped:?}"
        );
    }
}
