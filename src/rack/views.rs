//! Snapshots of what there is, for those who ask.

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
        let tasks = self.tasks.newest_first().filter(wanted).take(limit);
        Ok(tasks.map(|task| self.view_of(task, &mut rooms)).collect())
    }

    pub(super) fn batch(&self, id: BatchId) -> Option<model::Batch> {
        let batch = self.tasks.batch(id)?;
        Some(batch.view(&self.settings.name, |task| self.tasks.get(task)))
    }

    pub(super) fn batches(&self) -> Vec<model::Batch> {
        let batches = self.tasks.batches();
        let view = |batch: &super::batch::Batch| {
            batch.view(&self.settings.name, |task| self.tasks.get(task))
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
