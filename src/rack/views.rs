//! Snapshots of what there is, for those who ask.

use super::batch::Batch;
use super::call::{Answer, Refused, SweepId, SweepNews, Taken};
use super::clock::Moment;
use super::figures::Figures;
use super::gate::Gate;
use super::inventory::{Inventory, NodeId};
use super::ledger::{Ledger, Reply};
use super::node::Node;
use super::reason;
use super::schedule::BatchSlots;
use super::settings::RackSettings;
use super::sweeps::{Read, Sweeps};
use super::task::Task;
use super::tasks::Tasks;
use crate::model::{self, BatchId, HealthStatus, Short, TaskId};
use crate::time::WallTime;
use std::collections::BTreeSet;
use uuid::Uuid;

/// How long a list has become.
#[derive(Default)]
struct Listed(usize);

impl Listed {
    /// Whether something of so many bytes has its place in the list; the first has in any case.
    fn takes(&mut self, bytes: usize) -> bool {
        let first = self.0 == 0;
        self.0 += bytes;
        first || self.0 <= LISTED_BYTES
    }
}

/// How much memory what a list shows may take, about. As JSON it is up to twice as much, and that has
/// to find its place among the answers that wait to be written.
const LISTED_BYTES: usize = 2 << 20;

/// The rack as it is at one moment: to be read, and nothing else.
#[derive(Clone, Copy)]
pub(super) struct Snapshot<'a> {
    pub(super) settings: &'a RackSettings,
    pub(super) inventory: &'a Inventory,
    pub(super) tasks: &'a Tasks,
    pub(super) sweeps: &'a Sweeps,
    pub(super) gate: &'a Gate,
    pub(super) ledger: &'a Ledger,
    pub(super) started: WallTime,
    pub(super) at: Moment,
}

impl Snapshot<'_> {
    pub(super) fn nodes(&self) -> Vec<model::Node> {
        let nodes = self.inventory.iter();
        nodes.map(|node| self.view_of_node(node)).collect()
    }

    /// The nodes behind the one with that uuid, in the order in which they came to the rack: those
    /// of these names, all where there are none.
    pub(super) fn nodes_after(
        &self,
        after: Option<Uuid>,
        of: &[String],
        limit: usize,
    ) -> Result<Vec<model::Node>, Refused> {
        let known = |uuid| self.inventory.with_uuid(uuid);
        // Where the last one is gone nobody knows what was seen: whoever reads begins anew.
        let gone = |uuid: Uuid| Refused::NoSuchNode(uuid.to_string());
        let after = after.map(|uuid| known(uuid).ok_or_else(|| gone(uuid)));
        let meant = self.meant(of);
        let nodes = self.inventory.after(after.transpose()?);
        let nodes = nodes.filter(|(id, _)| of.is_empty() || meant.contains(id));
        let nodes = nodes.take(limit);
        Ok(nodes.map(|(_, node)| self.view_of_node(node)).collect())
    }

    /// The nodes of these names that are there.
    fn meant(&self, idents: &[String]) -> BTreeSet<NodeId> {
        let known = idents.iter().map(|ident| self.inventory.named(ident));
        known.filter_map(Result::ok).collect()
    }

    pub(super) fn node(&self, id: NodeId) -> Option<model::Node> {
        self.inventory.get(id).map(|node| self.view_of_node(node))
    }

    pub(super) fn view_of_node(&self, node: &Node) -> model::Node {
        let task = node.task.and_then(|id| self.tasks.get(id));
        node.view(self.settings, task.and_then(|task| task.target()), self.at)
    }

    /// What was read of a sweep beyond the first `seen` nodes.
    pub(super) fn sweep(&self, sweep: SweepId, seen: usize) -> Option<SweepNews> {
        let (read, ended) = self.sweeps.look(sweep, seen)?;
        let told = |read: &Read| {
            // A node that a reload has taken away is left out, and counts as seen.
            let (fresh, node) = (read.fresh, self.node(read.node)?);
            Some(model::FreshReading { fresh, node })
        };
        Some(SweepNews {
            sweep,
            nodes: read.iter().filter_map(told).collect(),
            seen: seen + read.len(),
            ended,
        })
    }

    pub(super) fn task(&self, id: TaskId) -> Option<model::Task> {
        let task = self.tasks.get(id)?;
        Some(self.view_of(task, &mut BatchSlots::default()))
    }

    /// What an event says of a task, and its node's name.
    pub(super) fn told(&self, id: TaskId) -> Option<(String, model::TaskNews)> {
        let task = self.tasks.get(id)?;
        let waits_for = reason::waits_for(task, self, &mut BatchSlots::default());
        let node = task.identity.node.clone();
        Some((node, task.told(waits_for, self.at.now)))
    }

    pub(super) fn view_of(&self, task: &Task, rooms: &mut BatchSlots) -> model::Task {
        let waits_for = reason::waits_for(task, self, rooms);
        task.view(&self.settings.name, waits_for, self.at.now)
    }

    /// Tasks, newest first: of a node, of a batch, those that have not ended, at most so many.
    pub(super) fn tasks_where(
        &self,
        node: Option<&str>,
        batch: Option<BatchId>,
        short: Option<Short>,
        active: bool,
        limit: usize,
    ) -> Result<Vec<model::Task>, Refused> {
        let node = node.map(|ident| self.inventory.named(ident)).transpose()?;
        let node = node.and_then(|id| self.inventory.get(id));
        let uuid = node.map(|node| node.settings.uuid);
        let wanted = |task: &&Task| {
            uuid.is_none_or(|node| task.identity.node_uuid == node)
                && (batch.is_none() || task.identity.batch == batch)
                && short.is_none_or(|short| Short::of(task.identity.id) == short)
                && (!active || task.is_active())
        };
        // A batch is counted once for all of its tasks, of which there may be thousands.
        let mut rooms = BatchSlots::default();
        let mut listed = Listed::default();
        let tasks = self.tasks.newest_first().filter(wanted).take(limit);
        let tasks = tasks.take_while(|task| listed.takes(task.bytes()));
        Ok(tasks.map(|task| self.view_of(task, &mut rooms)).collect())
    }

    /// Tasks that have not ended and are older than that one, newest first: of the nodes of these
    /// names, of all where there are none.
    pub(super) fn active_tasks(
        &self,
        before: Option<TaskId>,
        of: &[String],
        limit: usize,
    ) -> Vec<model::Task> {
        let meant = self.meant(of);
        let is_meant = |task: &&Task| {
            let node = task.node;
            of.is_empty() || node.is_some_and(|node| meant.contains(&node))
        };
        let tasks = self.tasks.active_before(before).filter(is_meant);
        let (mut rooms, mut listed) = (BatchSlots::default(), Listed::default());
        let tasks = tasks.take(limit);
        let tasks = tasks.take_while(|task| listed.takes(task.bytes()));
        tasks.map(|task| self.view_of(task, &mut rooms)).collect()
    }

    pub(super) fn batch(&self, id: BatchId) -> Option<model::Batch> {
        let batch = self.tasks.batch(id)?;
        Some(batch.view(&self.settings.name, |task| self.tasks.get(task)))
    }

    /// Batches, newest first, of this short id alone where there is one; the older ones without
    /// their nodes, where that would be a list too long.
    pub(super) fn batches(&self, short: Option<Short>) -> Vec<model::Batch> {
        let wanted = |batch: &&Batch| short.is_none_or(|short| Short::of(batch.id()) == short);
        let batches = self.tasks.batches().filter(wanted);
        let mut listed = Listed::default();
        let view = |batch: &Batch| {
            let mut view = batch.view(&self.settings.name, |task| self.tasks.get(task));
            if !listed.takes(view.nodes.iter().map(model::BatchNode::bytes).sum()) {
                let nodes = std::mem::take(&mut view.nodes);
                view.nodes_left_out = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
            }
            view
        };
        batches.map(view).collect()
    }

    /// An answer that was promised, as it is to be given now. `None` where somebody else gives it.
    pub(super) fn reply(&self, reply: &Reply) -> Option<Result<Answer, Refused>> {
        Some(match reply {
            Reply::Taken(task) => {
                let task = self.tasks.get(*task).map(|task| &task.identity);
                Ok(Answer::Taken(task.map(|task| Taken {
                    task: task.id,
                    batch: task.batch,
                })))
            }
            Reply::Task(task) => self
                .task(*task)
                .map(Answer::Task)
                .ok_or(Refused::NoSuchTask(*task)),
            // Its caller hears what the BMC says: the turn answers when that is known.
            Reply::Nmi => return None,
            // By its uuid: a reload may come between the call and its commit.
            Reply::Node(uuid) => {
                let node = self.inventory.with_uuid(*uuid);
                node.and_then(|id| self.node(id))
                    .map(Answer::Node)
                    .ok_or_else(|| Refused::NoSuchNode(uuid.to_string()))
            }
            Reply::Batch(batch) => self
                .batch(*batch)
                .map(Answer::Batch)
                .ok_or(Refused::NoSuchBatch(*batch)),
            Reply::Pausing => {
                let pause = self.gate.pause.as_ref();
                Ok(Answer::Pausing(pause.map(|pause| pause.hold.clone())))
            }
        })
    }

    /// Nodes, tasks that have not ended, and BMCs in trouble.
    pub(super) fn summary(&self) -> (usize, usize, usize) {
        let now = self.at.now;
        let troubled = self.inventory.iter();
        let troubled = troubled.filter(|node| node.bmc.trouble(now).is_some());
        (
            self.inventory.len(),
            self.tasks.count_active(),
            troubled.count(),
        )
    }

    pub(super) fn health(&self) -> model::Health {
        let (nodes, active, troubled) = self.summary();
        let store_trouble = self.ledger.journal.trouble().map(str::to_owned);
        let pause = self.gate.pause.as_ref().map(|pause| pause.hold.clone());
        let status = match (&store_trouble, &pause) {
            // A pause is somebody's wish; a disk that fails wants somebody to act.
            (Some(_), _) => HealthStatus::Failing,
            (None, Some(_)) => HealthStatus::Paused,
            (None, None) => HealthStatus::Ok,
        };
        model::Health {
            status: status.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rack: self.settings.name.to_string(),
            nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
            active_tasks: u32::try_from(active).unwrap_or(u32::MAX),
            troubled: u32::try_from(troubled).unwrap_or(u32::MAX),
            started_at: self.started,
            store_trouble,
            pause,
            unreadable: self.ledger.quarantine.views(self.inventory),
            configuration_refused: None,
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for task in self.tasks.active() {
            *figures.tasks.entry(task.state().name()).or_default() += 1;
        }
        for node in self.inventory.iter() {
            if let Some(others) = node.bmc.strangers() {
                figures.strangers.push((node.name().to_owned(), others));
            }
            if let Some((_, chassis)) = node.bmc.chassis() {
                figures.chassis.push((node.name().to_owned(), chassis));
            }
            let statistics = node.bmc.session().statistics();
            figures.waiting_orders += node.bmc.backlog() as u64;
            figures.handshakes += statistics.handshakes;
            figures.opened += statistics.opened;
            figures.lost += statistics.lost;
            figures.resends += statistics.resends;
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::UsedControl;
    use super::super::tests::{at, batch_record, id, secs, task};
    use super::*;
    use crate::model::{Control, OnFailure, Operation};

    fn with<T>(tasks: &Tasks, look: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        let settings = RackSettings::default();
        look(&Snapshot {
            settings: &settings,
            inventory: &Inventory::default(),
            tasks,
            sweeps: &Sweeps::default(),
            gate: &Gate::new(&settings, None, at(0).now),
            ledger: &Ledger::new(),
            started: at(0).wall,
            at: at(100),
        })
    }

    #[test]
    fn a_list_of_batches_over_the_largest_rack_has_the_nodes_of_the_newest_and_counts_the_others() {
        let mut tasks = Tasks::default();
        for number in 1..=12 {
            let record = batch_record(id(number), 0, secs(0), OnFailure::Continue, &[0; 4096]);
            tasks.insert_batch(Batch::restore(record));
        }
        let batches = with(&tasks, |rack| rack.batches(None));
        assert_eq!(batches.len(), 12);
        assert_eq!((batches[0].id, batches[0].nodes.len()), (id(12), 4096));
        for batch in &batches {
            let nodes = batch.nodes.len();
            assert_eq!(nodes + batch.nodes_left_out as usize, 4096);
            assert_eq!(batch.counts.values().sum::<u32>(), 4096);
        }
        assert_eq!(batches[11].nodes_left_out, 4096);
        let json = serde_json::to_vec(&batches).expect("JSON");
        assert!(json.len() < 6 << 20, "{} bytes", json.len());
        // Each of them is found by its short id, however old it is, and has its nodes alone.
        let short = Short::of(id(1));
        let found = with(&tasks, |rack| rack.batches(Some(short)));
        assert!(found.iter().any(|batch| batch.id == id(1)));
    }

    #[test]
    fn a_list_of_tasks_with_long_stories_ends_before_it_is_too_long() {
        let mut tasks = Tasks::default();
        for number in 1..=1000 {
            let mut task = task(number, Operation::PowerOff);
            let used = UsedControl {
                control: Control::Suspend,
                by: "x".repeat(200),
                at: at(1).wall,
            };
            task.identity.controls = vec![used; 50];
            tasks.insert(task);
        }
        let listed = with(&tasks, |rack| {
            rack.tasks_where(None, None, None, false, 1000)
        });
        let listed = listed.expect("no node is named");
        assert!((100..1000).contains(&listed.len()), "{}", listed.len());
        assert_eq!(listed[0].id, id(1000));
        let json = serde_json::to_vec(&listed).expect("JSON");
        assert!(json.len() < 7 << 20, "{} bytes", json.len());
    }
}
