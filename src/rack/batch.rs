//! Batches: tasks started by one request over many nodes.
//!
//! A batch says which of its tasks may begin and how it stands; the tasks themselves are in
//! `tasks`.

use super::call::Refused;
use super::clock::Moment;
use super::inventory::{Inventory, NodeId};
use super::settings::RackSettings;
use super::start;
use super::stored;
use super::tally::is_under_way;
use super::task::Task;
use crate::model::{
    self, BatchId, BatchNodeState, BatchStart, BatchState, OnFailure, Operation, Prospect, TaskId,
    TaskState, Who,
};
use crate::time::{Instant, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Batch {
    record: BatchRecord,
    version: u64,
    /// The rank of each task, for those who ask often.
    ranks: BTreeMap<TaskId, usize>,
    /// What those tasks said that refused the last control of the batch.
    refusals: BTreeMap<TaskId, String>,
    /// When the last of its tasks began that had something to do as far as was known, and which one
    /// that was.
    last_start: Option<Instant>,
    last_begun: Option<TaskId>,
    /// When the last of its tasks had its turn to change something.
    last_turn: Option<Instant>,
    /// So many of its members, from the first on, have ended: they are not looked at again with
    /// each end.
    ended: usize,
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
    /// Busy nodes that were left as they are.
    pub(super) left_out: Vec<LeftOut>,
    pub(super) stopped: bool,
}

/// One node of a batch.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) node: String,
    pub(super) task: TaskId,
    /// The place of its group in the order; members of a rank begin when all of the ranks before
    /// have ended.
    pub(super) rank: usize,
}

/// A busy node that a batch left as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LeftOut {
    pub(super) node: String,
    /// What has the node.
    pub(super) why: String,
}

/// How far a batch has come.
#[derive(PartialEq, Debug, Default)]
pub(super) struct Slots {
    /// The first rank of which a task has not ended.
    open_rank: Option<usize>,
    /// Tasks that have begun and not ended.
    running: u32,
}

/// What a batch says to a task that wants to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allowed {
    /// From this moment on.
    From(Instant),
    /// A group before its own has not ended.
    GroupFirst,
    /// As many as may be under way are.
    NoRoom,
}

impl Batch {
    pub(super) fn restore(record: BatchRecord) -> Self {
        let ranks = record.members.iter();
        Self {
            version: 1,
            refusals: BTreeMap::new(),
            // Known again when its tasks are taken up (`Tasks::take_up_batches`).
            last_start: None,
            last_begun: None,
            last_turn: None,
            ended: 0,
            ranks: ranks.map(|member| (member.task, member.rank)).collect(),
            record,
        }
    }

    /// The batch of a request whose tasks are made.
    pub(super) fn new(
        id: BatchId,
        request: BatchStart,
        requested_by: Who,
        requested_at: WallTime,
        members: Vec<Member>,
        left_out: Vec<LeftOut>,
    ) -> Self {
        Self::restore(BatchRecord {
            id,
            operation: request.operation,
            requested_by,
            requested_at,
            ended_at: None,
            max_parallel: request.max_parallel,
            stagger: request.stagger,
            on_failure: request.on_failure,
            members,
            left_out,
            stopped: false,
        })
    }

    pub(super) fn id(&self) -> BatchId {
        self.record.id
    }

    /// Whether the same request, for these nodes, began it.
    pub(super) fn is_again(
        &self,
        operation: Operation,
        nodes: &BTreeSet<&str>,
        who: &Who,
        at: Moment,
    ) -> bool {
        let record = &self.record;
        let members = record.members.iter().map(|member| member.node.as_str());
        // Busy nodes that were left out were asked for as well.
        let left_out = record.left_out.iter().map(|left| left.node.as_str());
        // A machine may have left the state by itself since: without a key it is led there anew.
        let lasts = who.has_key() || !self.has_ended() || !operation.ends_in_a_state();
        operation == record.operation
            && lasts
            && start::is_again(&record.requested_by, record.requested_at, who, at)
            && members.chain(left_out).collect::<BTreeSet<_>>() == *nodes
    }

    /// What the journal keeps of it.
    pub(super) fn record(&self) -> Arc<[u8]> {
        stored::batch(&self.record)
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.record.members.iter().map(|member| member.task)
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.record.members
    }

    pub(super) fn has_ended(&self) -> bool {
        self.record.ended_at.is_some()
    }

    /// Whether this task may begin, as far as its batch is concerned. The stagger is for what
    /// changes something: whoever has nothing to do waits for nobody, and nobody for him.
    pub(super) fn allows(&self, room: &Slots, task: &Task, places: usize, now: Instant) -> Allowed {
        let record = &self.record;
        let rank = self.ranks.get(&task.identity.id).copied().unwrap_or(0);
        if room.open_rank.is_some_and(|open| open < rank) {
            return Allowed::GroupFirst;
        }
        if room.running as usize >= self.most(places) {
            return Allowed::NoRoom;
        }
        let last = self.last_start.filter(|_| !task.has_nothing_to_do());
        Allowed::From(last.map_or(now, |last| last + record.stagger))
    }

    /// A task of it has begun that has something to do, as far as is known.
    pub(super) fn begun(&mut self, task: TaskId, now: Instant) {
        self.last_start = Some(now);
        self.last_begun = Some(task);
    }

    /// A task of it has ended without its turn: the next one need not wait because of it.
    pub(super) fn needed_no_turn(&mut self, task: TaskId) {
        if self.last_begun == Some(task) {
            self.last_start = self.last_turn;
        }
    }

    /// From when on the next of its tasks may change something; at once where its tasks need not be
    /// apart.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        let last = self.last_turn.filter(|_| !self.record.stagger.is_zero())?;
        Some(last + self.record.stagger)
    }

    /// A task of it changes something now.
    pub(super) fn had_turn(&mut self, now: Instant) {
        self.last_turn = Some(now);
    }

    /// These of its tasks are known: when a former life began the last one, and when one had its
    /// turn last.
    pub(super) fn take_up(&mut self, tasks: &[&Task], at: Moment) {
        let then = |wall: WallTime| at.now.before(at.age(wall));
        let begun = tasks.iter().filter_map(|task| task.identity.started_at);
        let changed = tasks.iter().filter_map(|task| task.had_turn_by(at.wall));
        self.last_start = begun.max().map(then);
        self.last_turn = changed.max().map(then);
    }

    /// How many of its tasks may be under way. Machines that are to come on again need a place
    /// each: without a limit of its own, such a batch has no more of them off at once than there
    /// are `places`.
    fn most(&self, places: usize) -> usize {
        match (self.record.max_parallel, self.record.operation) {
            (0, Operation::Reboot | Operation::SoftReboot | Operation::Cycle) => places,
            (
                0,
                Operation::PowerOn
                | Operation::PowerOff
                | Operation::SoftPowerOff
                | Operation::Reset
                | Operation::InjectNmi,
            ) => usize::MAX,
            (wanted, _) => wanted as usize,
        }
    }

    /// What of its batch a task waits for, in words.
    pub(super) fn reason(
        &self,
        room: &Slots,
        task: &Task,
        places: usize,
        now: Instant,
    ) -> Option<String> {
        match self.allows(room, task, places, now) {
            Allowed::From(at) if at <= now => None,
            Allowed::From(_) => Some(STAGGER.to_owned()),
            Allowed::GroupFirst => Some("the group before it in its batch".to_owned()),
            Allowed::NoRoom => Some(match self.most(places) {
                1 => "the only place of its batch".to_owned(),
                places => format!("a place among the {places} of its batch"),
            }),
        }
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let record = &self.record;
        let refusals: usize = self.refusals.values().map(String::len).sum();
        size_of::<Self>() + bytes_of(record.members.len(), &record.left_out) + refusals
    }

    /// How far it has come; `active` finds a task that has not ended, and of the lost ones nobody
    /// knows it.
    pub(super) fn room<'a>(
        &self,
        active: impl Fn(&TaskId) -> Option<&'a Task>,
        lost: &BTreeSet<TaskId>,
    ) -> Slots {
        let mut room = Slots::default();
        for member in &self.record.members {
            let task = active(&member.task).filter(|task| task.is_active());
            if task.is_none() && !lost.contains(&member.task) {
                continue;
            }
            let open = room.open_rank.unwrap_or(member.rank);
            room.open_rank = Some(open.min(member.rank));
            let Some(task) = task else {
                // Nobody knows how far it came: it counts as under way.
                room.running += 1;
                continue;
            };
            room.running += u32::from(is_under_way(task));
        }
        room
    }

    /// The same, where it is known already how many are under way: members stand in the order of
    /// their ranks.
    pub(super) fn room_with(
        &self,
        under_way: u32,
        is_active: impl Fn(&TaskId) -> bool,
        lost: &BTreeSet<TaskId>,
    ) -> Slots {
        let members = || self.record.members.iter();
        let is_lost = |member: &&Member| lost.contains(&member.task);
        let is_open = |member: &&Member| is_active(&member.task) || is_lost(member);
        let lost = match lost.is_empty() {
            true => 0,
            false => members().filter(is_lost).count(),
        };
        let open = members().skip(self.ended).find(is_open);
        Slots {
            open_rank: open.map(|member| member.rank),
            running: under_way.saturating_add(u32::try_from(lost).unwrap_or(u32::MAX)),
        }
    }

    /// One of its tasks has failed: whether it stops now because of that.
    pub(super) fn stop(&mut self) -> bool {
        let stops = self.record.on_failure == OnFailure::Stop && !self.record.stopped;
        self.record.stopped |= stops;
        stops
    }

    /// One of its tasks has ended: whether that was the last one that is `open`.
    pub(super) fn went_on(&mut self, open: impl Fn(TaskId) -> bool, wall: WallTime) -> bool {
        self.version += 1;
        let rest = self.record.members.iter().skip(self.ended);
        self.ended += rest.take_while(|member| !open(member.task)).count();
        let ends = self.ended == self.record.members.len() && !self.has_ended();
        if ends {
            self.record.ended_at = Some(wall);
        }
        ends
    }

    /// A control was used on its tasks, and these refused it.
    pub(super) fn controlled(&mut self, refusals: BTreeMap<TaskId, String>) {
        self.refusals = refusals;
        self.version += 1;
    }

    /// How it is shown; `task` finds its tasks.
    pub(super) fn view<'a>(
        &self,
        rack: &str,
        task: impl Fn(TaskId) -> Option<&'a Task>,
    ) -> model::Batch {
        let record = &self.record;
        let members = record.members.iter();
        let members = members.map(|member| self.member_in_view(member, task(member.task)));
        let left_out = record.left_out.iter().map(left_out_in_view);
        let nodes: Vec<model::BatchNode> = members.chain(left_out).collect();
        let mut counts = BTreeMap::new();
        for node in &nodes {
            *counts.entry(node.state.to_string()).or_insert(0) += 1;
        }
        let mut active = record.members.iter().filter_map(|member| task(member.task));
        let suspended =
            active.all(|task| !task.is_active() || task.state() == TaskState::Suspended);
        let state = match (record.ended_at, record.stopped) {
            (_, true) => BatchState::Stopped,
            (Some(_), false) => BatchState::Ended,
            (None, false) if suspended => BatchState::Suspended,
            (None, false) => BatchState::Running,
        };
        model::Batch {
            id: record.id,
            version: self.version,
            rack: rack.to_owned(),
            operation: record.operation.into(),
            state: state.into(),
            requested_by: record.requested_by.clone(),
            requested_at: record.requested_at,
            ended_at: record.ended_at,
            max_parallel: record.max_parallel,
            stagger: record.stagger,
            on_failure: record.on_failure.into(),
            nodes,
            nodes_left_out: 0,
            counts,
        }
    }

    /// A node of the batch, whose task may be forgotten by now.
    fn member_in_view(&self, member: &Member, task: Option<&Task>) -> model::BatchNode {
        let state = task.map_or(BatchNodeState::Forgotten, |task| {
            BatchNodeState::Task(task.state())
        });
        let refused = self.refusals.get(&member.task).cloned();
        let outcome = task.and_then(|task| task.sequence.outcome());
        model::BatchNode {
            node: member.node.clone(),
            task: Some(member.task),
            state: state.into(),
            note: outcome
                .map(|outcome| outcome.text.clone())
                .or_else(|| refused.clone()),
            refused,
            ..model::BatchNode::default()
        }
    }
}

/// How much memory so many members of a batch take, and those that it left out: with their names, a
/// task's place, and what the memory for each costs beside it.
pub(super) fn bytes_of(members: usize, left_out: &[LeftOut]) -> usize {
    let member = size_of::<Member>() + size_of::<(TaskId, usize)>() + ALLOCATED;
    let why: usize = left_out.iter().map(|left| left.why.len()).sum();
    members * member + left_out.len() * (size_of::<LeftOut>() + 2 * ALLOCATED) + why
}

/// What waits for the distance between the tasks of a batch.
pub(super) const STAGGER: &str = "the stagger of its batch";

/// About what a short text takes beside its place.
const ALLOCATED: usize = 48;

/// A node that was busy when the batch was asked for.
fn left_out_in_view(left_out: &LeftOut) -> model::BatchNode {
    model::BatchNode {
        node: left_out.node.clone(),
        state: BatchNodeState::Found(Prospect::Busy).into(),
        note: Some(left_out.why.clone()),
        ..model::BatchNode::default()
    }
}

/// The nodes of a request with their ranks, in the order of starting.
pub(super) fn members(
    request: &BatchStart,
    inventory: &Inventory,
    settings: &RackSettings,
) -> Result<Vec<(NodeId, usize)>, Refused> {
    // Rule 7: no target is an error, and never means "all".
    if request.nodes.is_empty() {
        return Err(Refused::Invalid(
            "a batch needs nodes: none were named, and none is never all".to_owned(),
        ));
    }
    let (order, reversed) = order_of(request, settings);
    let spared: BTreeSet<NodeId> = inventory.all_named(&request.exclude)?.into_iter().collect();
    // A request may name as much as fits its body: each name is looked up, and nothing searched
    // for.
    let ranks = order.iter().enumerate().rev();
    let ranks: BTreeMap<&str, usize> = ranks.map(|(rank, group)| (group.as_str(), rank)).collect();
    let (mut members, mut seen) = (Vec::new(), BTreeSet::new());
    for id in inventory.all_named(&request.nodes)? {
        // One node that is named twice is one, and is switched once (rule 2).
        if spared.contains(&id) || !seen.insert(id) {
            continue;
        }
        let groups = inventory.get(id).map(|node| node.settings.groups.iter());
        let rank = groups
            .into_iter()
            .flatten()
            .filter_map(|group| ranks.get(group.as_str()))
            .min();
        // Machines of no group come last when machines are switched on, and first on the way off.
        let rank = rank.copied().unwrap_or(order.len());
        members.push((id, if reversed { order.len() - rank } else { rank }));
    }
    if members.is_empty() {
        return Err(Refused::Invalid(
            "every node of the batch is excluded from it".to_owned(),
        ));
    }
    let nodes = inventory.iter();
    let groups: BTreeSet<&str> = nodes
        .flat_map(|node| node.settings.groups.iter().map(|group| group.as_str()))
        .collect();
    // A misspelt group would quietly let its nodes begin last.
    if let Some(unknown) = request
        .order
        .iter()
        .find(|group| !groups.contains(group.as_str()))
    {
        return Err(Refused::Invalid(format!("no node is in group '{unknown}'")));
    }
    // The sort is stable: within a rank nodes begin in the order in which they were named.
    members.sort_by_key(|(_, rank)| *rank);
    Ok(members)
}

/// The groups in the order in which the request takes them, and whether that is to be read from its
/// end: its own order as it stands, else the rack's, which is meant for switching on.
fn order_of<'a>(request: &'a BatchStart, settings: &'a RackSettings) -> (&'a [String], bool) {
    if !request.order.is_empty() {
        return (&request.order, false);
    }
    match request.operation {
        Operation::PowerOn => (&settings.power_order, false),
        Operation::PowerOff | Operation::SoftPowerOff => (&settings.power_order, true),
        Operation::Reboot
        | Operation::SoftReboot
        | Operation::Cycle
        | Operation::Reset
        | Operation::InjectNmi => (&[], false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, batch_record, id, inventory, secs, task};
    use super::*;
    use crate::model::Power;

    fn batch(max_parallel: u32, on_failure: OnFailure, ranks: &[usize]) -> Batch {
        Batch::restore(batch_record(
            id(9),
            max_parallel,
            secs(0),
            on_failure,
            ranks,
        ))
    }

    fn request(nodes: &[&str], operation: Operation) -> BatchStart {
        let nodes = nodes.iter().map(|node| (*node).to_owned());
        BatchStart::new(nodes.collect(), operation)
    }

    #[test]
    fn a_batch_stops_once_and_only_where_it_was_asked_to() {
        let mut stops = batch(0, OnFailure::Stop, &[0, 0]);
        assert!(stops.stop());
        assert!(!stops.stop());
        assert!(!batch(0, OnFailure::Continue, &[0]).stop());
    }

    #[test]
    fn a_batch_ends_with_its_last_task_and_stays_ended() {
        let mut batch = batch(0, OnFailure::Continue, &[0, 0]);
        let first = batch.record.members[0].task;
        assert!(!batch.went_on(|task| task == first, at(1).wall));
        assert!(batch.went_on(|_| false, at(2).wall));
        assert!(!batch.went_on(|_| false, at(3).wall));
        assert!(batch.has_ended());
    }

    #[test]
    fn a_task_that_was_suspended_before_it_began_has_no_part_in_its_batch() {
        let batch = batch(1, OnFailure::Continue, &[0, 0]);
        let (mut first, second) = (task(1, Operation::PowerOff), task(2, Operation::PowerOff));
        let suspend = model::Control::Suspend;
        first.control(suspend, "alice", at(1)).unwrap();
        let find = |wanted: &TaskId| {
            [&first, &second]
                .into_iter()
                .find(|task| task.identity.id == *wanted)
        };
        let room = batch.room(find, &BTreeSet::new());
        assert_eq!(room.running, 0);
        assert_eq!(
            batch.allows(&room, &second, 16, at(1).now),
            Allowed::From(at(1).now)
        );
    }

    #[test]
    fn whoever_has_nothing_to_do_waits_for_no_stagger_and_leaves_its_place_to_the_next() {
        let record = batch_record(id(9), 0, secs(7), OnFailure::Continue, &[0, 0]);
        let mut batch = Batch::restore(record);
        let (mut idle, busy) = (task(1, Operation::PowerOff), task(2, Operation::PowerOff));
        idle.sequence.observe_power(Power::Off, at(1).now);
        let allowed = |batch: &Batch, task: &Task, second| {
            batch.allows(&Slots::default(), task, 16, at(second).now)
        };
        batch.begun(id(3), at(10).now);
        assert_eq!(
            allowed(&batch, &idle, 12),
            Allowed::From(at(12).now),
            "nothing is to be sent"
        );
        assert_eq!(allowed(&batch, &busy, 12), Allowed::From(at(17).now));
        batch.needed_no_turn(id(1));
        assert_eq!(allowed(&batch, &busy, 12), Allowed::From(at(17).now));
        batch.needed_no_turn(id(3));
        assert_eq!(allowed(&batch, &busy, 12), Allowed::From(at(12).now));
        assert_eq!(batch.next_turn(), None);
        batch.had_turn(at(20).now);
        assert_eq!(batch.next_turn(), Some(at(27).now));
    }

    #[test]
    fn a_batch_over_no_node_is_an_error_and_one_node_named_twice_is_one() {
        let (inventory, settings) = (inventory(3), RackSettings::default());
        let of =
            |nodes: &[&str]| members(&request(nodes, Operation::PowerOn), &inventory, &settings);
        assert!(matches!(of(&[]), Err(Refused::Invalid(_))));
        assert!(matches!(of(&["n09"]), Err(Refused::NoSuchNode(_))));
        assert_eq!(of(&["n02", "n01", "n02"]).unwrap().len(), 2);
    }

    #[test]
    fn nodes_that_a_batch_excludes_are_not_of_it_and_a_mistake_among_them_ends_it() {
        let (inventory, settings) = (inventory(3), RackSettings::default());
        let of = |excluded: &[&str]| {
            let exclude = excluded.iter().map(|node| (*node).to_owned()).collect();
            let request = BatchStart {
                exclude,
                ..request(&["n01", "n02"], Operation::PowerOn)
            };
            members(&request, &inventory, &settings)
        };
        let ids = inventory.ids();
        assert_eq!(of(&["n02", "n03"]).unwrap(), [(ids[0], 0)]);
        assert!(matches!(of(&["n20"]), Err(Refused::NoSuchNode(_))));
        assert!(matches!(of(&["n01", "n02"]), Err(Refused::Invalid(_))));
    }

    #[test]
    fn the_racks_order_is_taken_from_its_end_when_machines_are_switched_off() {
        let mut inventory = inventory(3);
        let ids = inventory.ids();
        let groups = ["compute", "storage", "other"];
        for (id, group) in ids.iter().zip(groups) {
            inventory.get_mut(*id).unwrap().settings.groups = [group.to_owned()].into();
        }
        let settings = RackSettings {
            power_order: vec!["storage".to_owned(), "compute".to_owned()],
            ..RackSettings::default()
        };
        let order = |operation| -> Vec<NodeId> {
            let request = request(&["n01", "n02", "n03"], operation);
            let members = members(&request, &inventory, &settings).unwrap();
            members.into_iter().map(|(node, _)| node).collect()
        };
        assert_eq!(order(Operation::PowerOn), [ids[1], ids[0], ids[2]]);
        assert_eq!(order(Operation::PowerOff), [ids[2], ids[0], ids[1]]);
        assert_eq!(order(Operation::Reboot), ids);
    }
}
