//! Batches: tasks started by one request over many nodes, and dry runs that only look and plan.

use super::call::{
    BatchId, BatchNodeView, BatchRequest, BatchView, CallId, OnFailure, Refused, TaskId, Who,
};
use super::events::Happening;
use super::inventory::NodeId;
use super::record::Table;
use super::run::{Parked, Reply};
use super::{Rack, stored};
use crate::model::{BatchNodeState, BatchState, EventKind, Words};
use crate::power::{Control, Operation, State};
use crate::time::{Instant, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One batch.
#[derive(Debug)]
pub(super) struct Batch {
    record: BatchRecord,
    version: u64,
    pub(super) ended_at: Option<WallTime>,
    /// The rank of each task, for those who ask often.
    ranks: BTreeMap<TaskId, usize>,
    /// What the last control of the batch was answered by those of its tasks that refused it.
    refusals: BTreeMap<TaskId, String>,
    /// When its last task began.
    pub(super) last_start: Option<Instant>,
}

/// What the journal keeps of a batch; its tasks are kept by themselves.
#[derive(Clone, Debug)]
pub(super) struct BatchRecord {
    pub(super) id: BatchId,
    pub(super) operation: Operation,
    pub(super) requested_by: Who,
    pub(super) requested_at: WallTime,
    pub(super) ended_at: Option<WallTime>,
    pub(super) max_parallel: u32,
    pub(super) stagger: Duration,
    pub(super) on_failure: OnFailure,
    pub(super) members: Vec<Member>,
    pub(super) stopped: bool,
}

/// How far the batches have come that somebody asked for.
pub(super) type Rooms = BTreeMap<BatchId, Room>;

/// How far a batch has come.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The first rank of which a task has not ended.
    open_rank: Option<usize>,
    /// Tasks that have begun and not ended.
    running: u32,
}

/// One node of a batch.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) node: String,
    pub(super) task: TaskId,
    /// The place of its group in the order; members of a rank begin when all of the ranks before have ended.
    pub(super) rank: usize,
}

impl Batch {
    pub(super) fn restore(record: BatchRecord) -> Self {
        Batch {
            version: 1,
            ended_at: record.ended_at,
            refusals: BTreeMap::new(),
            last_start: None,
            ranks: record
                .members
                .iter()
                .map(|member| (member.task, member.rank))
                .collect(),
            record,
        }
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.record.members.iter().map(|member| member.task)
    }
}

impl Rack {
    /// Starts a batch, all of it or nothing, or begins to plan it.
    pub(super) fn start_batch(
        &mut self,
        call: CallId,
        request: BatchRequest,
        who: Who,
        now: Instant,
    ) {
        let members = match self.members(&request) {
            Ok(members) => members,
            Err(refused) => return self.answer(call, Err(refused)),
        };
        if request.dry_run {
            return self.begin_plan(call, request, who, members, now);
        }
        for (node, _) in &members {
            if let Err(refused) = self.check_start(*node, request.operation, now) {
                return self.answer(call, Err(refused));
            }
        }
        let wall = self.wall(now);
        let id = self.ids.make(wall, &mut *self.entropy);
        let mut made = Vec::new();
        for (node, rank) in members {
            let task = self.make_task(
                node,
                request.operation,
                &request.wishes,
                who.clone(),
                Some(id),
                now,
            );
            made.push(Member {
                node: self.inventory[node].settings.name.clone(),
                task,
                rank,
            });
        }
        let tasks: Vec<TaskId> = made.iter().map(|member| member.task).collect();
        let record = BatchRecord {
            id,
            operation: request.operation,
            requested_by: who,
            requested_at: wall,
            ended_at: None,
            max_parallel: request.max_parallel,
            stagger: request.stagger,
            on_failure: request.on_failure,
            members: made,
            stopped: false,
        };
        self.batches.insert(id, Batch::restore(record));
        self.save_batch(id);
        self.announce_batch(id, "begun".to_owned(), now);
        self.journal
            .park(Parked::Admit(tasks, call, Reply::Batch(id)));
    }

    /// The nodes of a request with their ranks, in the order of starting.
    fn members(&self, request: &BatchRequest) -> Result<Vec<(NodeId, usize)>, Refused> {
        if request.nodes.is_empty() {
            return Err(Refused::Invalid(
                "a batch needs nodes: none were named, and none is never all".to_owned(),
            ));
        }
        let (order, reversed) = self.order_of(request);
        let mut members = Vec::new();
        for ident in &request.nodes {
            let node = self.inventory.named(ident)?;
            let groups = &self.inventory[node].settings.groups;
            let rank = order.iter().position(|group| groups.contains(group));
            let rank = rank.unwrap_or(order.len());
            let member = (node, if reversed { order.len() - rank } else { rank });
            if !members.contains(&member) {
                members.push(member);
            }
        }
        if let Some(unknown) = request.order.iter().find(|group| {
            !self
                .inventory
                .iter()
                .any(|node| node.settings.groups.contains(group))
        }) {
            return Err(Refused::Invalid(format!("no node is in group '{unknown}'")));
        }
        members.sort_by_key(|(_, rank)| *rank);
        Ok(members)
    }

    /// The groups in the order in which the request takes them, and whether that is to be read from its end: its own
    /// order as it stands, else the rack's, which is meant for switching on.
    fn order_of<'a>(&'a self, request: &'a BatchRequest) -> (&'a [String], bool) {
        if !request.order.is_empty() {
            return (&request.order, false);
        }
        match request.operation {
            Operation::PowerOn => (&self.settings.power_order, false),
            Operation::PowerOff | Operation::SoftPowerOff => (&self.settings.power_order, true),
            Operation::Reboot
            | Operation::SoftReboot
            | Operation::Cycle
            | Operation::Reset
            | Operation::InjectNmi => (&[], false),
        }
    }

    /// From when on the batch lets this task begin; `None` while something else must happen first.
    pub(super) fn batch_allows(
        &self,
        batch: BatchId,
        room: &Room,
        task: TaskId,
        now: Instant,
    ) -> Option<Instant> {
        let Some(batch) = self.batches.get(&batch) else {
            return Some(now);
        };
        let record = &batch.record;
        let rank = batch.ranks.get(&task).copied().unwrap_or(0);
        if room.open_rank.is_some_and(|open| open < rank)
            || record.max_parallel > 0 && room.running >= record.max_parallel
        {
            return None;
        }
        Some(batch.last_start.map_or(now, |last| last + record.stagger))
    }

    /// What of its batch a task waits for.
    pub(super) fn batch_reason(
        &self,
        id: BatchId,
        task: TaskId,
        rooms: &mut Rooms,
        now: Instant,
    ) -> Option<String> {
        let batch = self.batches.get(&id)?;
        let room = rooms.entry(id).or_insert_with(|| self.batch_room(id));
        match self.batch_allows(id, room, task, now) {
            Some(at) if at <= now => None,
            Some(_) => Some("the stagger of its batch".to_owned()),
            None if room.open_rank < batch.ranks.get(&task).copied() => {
                Some("the group before it in its batch".to_owned())
            }
            None => {
                let places = batch.record.max_parallel;
                Some(format!("a place among the {places} of its batch"))
            }
        }
    }

    /// How far a batch has come, for all of its tasks that want to know.
    pub(super) fn batch_room(&self, batch: BatchId) -> Room {
        let mut room = Room::default();
        let members = self
            .batches
            .get(&batch)
            .map_or(&[][..], |batch| &batch.record.members);
        for member in members {
            let Some(task) = self.tasks.get(&member.task).filter(|task| task.is_active()) else {
                continue;
            };
            let open = room.open_rank.unwrap_or(member.rank);
            room.open_rank = Some(open.min(member.rank));
            // One that was suspended before it began has no part in it yet.
            let begun = task.identity.started_at.is_some();
            room.running += u32::from(begun && task.state() != State::Queued);
        }
        room
    }

    /// One of the batch's tasks has ended.
    pub(super) fn batch_went_on(&mut self, id: BatchId, failed: bool, now: Instant) {
        let Some(batch) = self.batches.get_mut(&id) else {
            return;
        };
        if failed && batch.record.on_failure == OnFailure::Stop && !batch.record.stopped {
            batch.record.stopped = true;
            let tasks: Vec<TaskId> = batch.tasks().collect();
            for task in tasks
                .into_iter()
                .filter(|task| self.has_not_begun(*task))
                .collect::<Vec<_>>()
            {
                let by = format!("batch {id}, which stops at the first failure");
                let _ = self.control_task(task, Control::Cancel, &by, now);
            }
            self.save_batch(id);
        }
        let wall = self.wall(now);
        let Some(batch) = self.batches.get_mut(&id) else {
            return;
        };
        batch.version += 1;
        let open = batch.tasks().any(|task| self.active.contains(&task));
        if !open && batch.ended_at.is_none() {
            batch.ended_at = Some(wall);
            batch.record.ended_at = Some(wall);
            self.save_batch(id);
            self.announce_batch(id, "ended".to_owned(), now);
        }
    }

    /// Queued, or suspended while it was queued: a resume would let it begin.
    fn has_not_begun(&self, task: TaskId) -> bool {
        let waits = |task: &super::Task| task.is_active() && task.identity.started_at.is_none();
        self.tasks.get(&task).is_some_and(waits)
    }

    fn is_queued(&self, task: TaskId) -> bool {
        self.tasks
            .get(&task)
            .is_some_and(|task| task.state() == State::Queued)
    }

    /// Uses a control on the tasks of a batch, or of some of its nodes. Those that do not allow it are left as
    /// they are, and the view of the batch says why.
    pub(super) fn control_batch(
        &mut self,
        call: CallId,
        id: BatchId,
        control: Control,
        nodes: &[String],
        who: &Who,
        now: Instant,
    ) {
        let mut tasks = match self.members_named(id, nodes) {
            Ok(tasks) => tasks,
            Err(refused) => return self.answer(call, Err(refused)),
        };
        // Those that wait come first: a place that becomes free in between must not let one of them begin.
        tasks.sort_by_key(|task| !self.is_queued(*task));
        let mut refusals = BTreeMap::new();
        for task in tasks {
            if let Err(refusal) = self.control_task(task, control, &who.name, now)
                && self.active.contains(&task)
            {
                refusals.insert(task, refusal.to_string());
            }
        }
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.refusals = refusals;
            batch.version += 1;
        }
        self.reply_when_durable(call, Reply::Batch(id), now);
    }

    /// The tasks of a batch on these nodes, all of its tasks where no node is named.
    pub(super) fn members_named(
        &self,
        id: BatchId,
        nodes: &[String],
    ) -> Result<Vec<TaskId>, Refused> {
        let batch = self.batches.get(&id).ok_or(Refused::NoSuchBatch(id))?;
        if nodes.is_empty() {
            return Ok(batch.tasks().collect());
        }
        let mut named = BTreeSet::new();
        for ident in nodes {
            let node = self.inventory.named(ident).ok();
            let uuid = node.map(|node| self.inventory[node].settings.uuid);
            let meant = |member: &&Member| {
                let of_task = self.tasks.get(&member.task);
                match (uuid, of_task.map(|task| task.identity.node_uuid)) {
                    (Some(uuid), Some(of_task)) => uuid == of_task,
                    // A node that is gone, or a task: both are still in the batch, by the name of then.
                    _ => member.node == *ident,
                }
            };
            let found = batch.record.members.iter().find(meant);
            named.insert(
                found
                    .ok_or_else(|| Refused::NoSuchNode(ident.clone()))?
                    .task,
            );
        }
        Ok(batch.tasks().filter(|task| named.contains(task)).collect())
    }

    pub(super) fn batch_view(&self, id: BatchId, _now: Instant) -> Option<BatchView> {
        let batch = self.batches.get(&id)?;
        let record = &batch.record;
        let mut counts = BTreeMap::new();
        let nodes = record.members.iter().map(|member| {
            let task = self.tasks.get(&member.task);
            let state = task.map_or(BatchNodeState::Forgotten, |task| {
                BatchNodeState::Task(task.state())
            });
            *counts.entry(state.word().to_owned()).or_insert(0) += 1;
            BatchNodeView {
                node: member.node.clone(),
                task: Some(member.task),
                state: state.into(),
                note: match task.and_then(|task| task.sequence.outcome()) {
                    Some(outcome) => Some(outcome.text.clone()),
                    None => batch.refusals.get(&member.task).cloned(),
                },
                begins_after: None,
                takes_at_most: None,
                plan: Vec::new(),
            }
        });
        let nodes: Vec<BatchNodeView> = nodes.collect();
        let suspended = batch
            .tasks()
            .filter(|task| self.active.contains(task))
            .all(|task| {
                self.tasks
                    .get(&task)
                    .is_some_and(|task| task.state() == State::Suspended)
            });
        let state = match (batch.ended_at, record.stopped) {
            (_, true) => BatchState::Stopped,
            (Some(_), false) => BatchState::Ended,
            (None, false) if suspended => BatchState::Suspended,
            (None, false) => BatchState::Running,
        };
        Some(BatchView {
            id,
            version: batch.version,
            rack: self.settings.name.clone(),
            operation: record.operation.into(),
            state: state.into(),
            requested_by: record.requested_by.clone(),
            requested_at: record.requested_at,
            ended_at: batch.ended_at,
            max_parallel: record.max_parallel,
            stagger: record.stagger,
            on_failure: record.on_failure.into(),
            nodes,
            counts,
        })
    }

    pub(super) fn batch_views(&self, now: Instant) -> Vec<BatchView> {
        self.batches
            .keys()
            .rev()
            .filter_map(|id| self.batch_view(*id, now))
            .collect()
    }

    pub(super) fn drop_batch(&mut self, id: BatchId) {
        if self.batches.remove(&id).is_some() {
            self.journal.delete(Table::Batches, id.to_string());
        }
    }

    fn save_batch(&mut self, id: BatchId) {
        if let Some(batch) = self.batches.get(&id) {
            self.journal
                .put(Table::Batches, id.to_string(), stored::batch(&batch.record));
        }
    }

    fn announce_batch(&mut self, id: BatchId, text: String, now: Instant) {
        let text = format!("batch {id} {text}");
        let happening = Happening {
            kind: EventKind::Batch,
            node: None,
            text,
            task: None,
            power_state: None,
        };
        self.events.push(self.wall(now), happening);
        self.woken = true;
    }
}
