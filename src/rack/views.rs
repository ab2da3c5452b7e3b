//! Snapshots of what there is, for those who ask.

use super::call::{
    Answer, BatchId, BatchView, Explanation, HealthView, NodeView, Refused, TaskId, TaskView,
};
use super::clock::Moment;
use super::figures::Figures;
use super::gate::Gate;
use super::inventory::{Inventory, NodeId};
use super::ledger::{Ledger, Reply};
use super::node::Node;
use super::reason;
use super::schedule::Rooms;
use super::settings::RackSettings;
use super::task::Task;
use super::tasks::Tasks;
use crate::bmc::PresenceAnswer;
use crate::model::{Fact, Failure, HealthStatus};
use crate::time::WallTime;
use std::time::Duration;

/// The rack as it is at one moment: to be read, and nothing else.
#[derive(Clone, Copy)]
pub(super) struct Snapshot<'a> {
    pub(super) settings: &'a RackSettings,
    pub(super) inventory: &'a Inventory,
    pub(super) tasks: &'a Tasks,
    pub(super) gate: &'a Gate,
    pub(super) ledger: &'a Ledger,
    pub(super) started: WallTime,
    pub(super) at: Moment,
}

impl Snapshot<'_> {
    pub(super) fn nodes(&self) -> Vec<NodeView> {
        let nodes = self.inventory.iter();
        nodes.map(|node| self.view_of_node(node)).collect()
    }

    pub(super) fn node(&self, id: NodeId) -> Option<NodeView> {
        self.inventory.get(id).map(|node| self.view_of_node(node))
    }

    pub(super) fn view_of_node(&self, node: &Node) -> NodeView {
        let task = node.task.and_then(|id| self.tasks.get(id));
        node.view(task.and_then(|task| task.target()), self.at)
    }

    pub(super) fn task(&self, id: TaskId) -> Option<TaskView> {
        let task = self.tasks.get(id)?;
        Some(self.view_of(task, &mut Rooms::default()))
    }

    pub(super) fn view_of(&self, task: &Task, rooms: &mut Rooms) -> TaskView {
        let waits_for = reason::waits_for(task, self, rooms);
        task.view(&self.settings.name, waits_for, self.at.now)
    }

    /// Tasks, newest first: of a node, of a batch, those that have not ended, at most so many.
    pub(super) fn tasks_where(
        &self,
        node: Option<&str>,
        batch: Option<BatchId>,
        active: bool,
        limit: usize,
    ) -> Result<Vec<TaskView>, Refused> {
        let node = node.map(|ident| self.inventory.named(ident)).transpose()?;
        let node = node.and_then(|id| self.inventory.get(id));
        let uuid = node.map(|node| node.settings.uuid);
        let wanted = |task: &&Task| {
            uuid.is_none_or(|node| task.identity.node_uuid == node)
                && (batch.is_none() || task.identity.batch == batch)
                && (!active || task.is_active())
        };
        let mut rooms = Rooms::default();
        let tasks = self.tasks.newest_first().filter(wanted).take(limit);
        Ok(tasks.map(|task| self.view_of(task, &mut rooms)).collect())
    }

    pub(super) fn batch(&self, id: BatchId) -> Option<BatchView> {
        let batch = self.tasks.batch(id)?;
        Some(batch.view(&self.settings.name, |task| self.tasks.get(task)))
    }

    pub(super) fn batches(&self) -> Vec<BatchView> {
        let batches = self.tasks.batches();
        let view = |batch: &super::batch::Batch| {
            batch.view(&self.settings.name, |task| self.tasks.get(task))
        };
        batches.map(view).collect()
    }

    /// An answer that was promised, as it is to be given now. `None` where somebody else gives it.
    pub(super) fn reply(&self, reply: &Reply) -> Option<Result<Answer, Refused>> {
        Some(match reply {
            Reply::Taken(task) => Ok(Answer::Taken(self.task(*task))),
            Reply::Task(task) => self
                .task(*task)
                .map(Answer::Task)
                .ok_or(Refused::NoSuchTask(*task)),
            Reply::Nmi => return None,
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

    pub(super) fn health(&self) -> HealthView {
        let (nodes, active, troubled) = self.summary();
        let store_trouble = self.ledger.journal.trouble().map(str::to_owned);
        let pause = self.gate.pause.as_ref().map(|pause| pause.hold.clone());
        let status = match (&store_trouble, &pause) {
            (Some(_), _) => HealthStatus::Failing,
            (None, Some(_)) => HealthStatus::Paused,
            (None, None) => HealthStatus::Ok,
        };
        HealthView {
            status: status.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rack: self.settings.name.clone(),
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

    /// Everything that is known of a node's BMC, and where it comes from.
    pub(super) fn explanation(&self, place: &Node) -> Explanation {
        let Moment { now, wall, .. } = self.at;
        let session = place.bmc.session();
        let login = &place.settings.login;
        let knowledge = place.bmc.knowledge();
        let suites: Vec<String> = login
            .suites
            .iter()
            .map(|suite| suite.0.to_string())
            .collect();
        let mut facts: Vec<Fact> = Vec::new();
        let mut fact = |head: &str, text: String| {
            facts.push(Fact {
                head: head.to_owned(),
                text,
            })
        };
        if let Err(refused) = place.check_quarantine() {
            fact("cannot be read", refused.to_string());
        }
        let address = place
            .bmc
            .address()
            .map_or("not resolved".to_owned(), |address| address.to_string());
        fact(
            "address",
            format!(
                "{} port {} ({address})",
                place.settings.address.host, place.settings.address.port
            ),
        );
        for other in place.bmc.other_addresses() {
            fact("or at", other.ip().to_string());
        }
        fact(
            "user",
            format!("{}, privilege {}", login.username, login.privilege),
        );
        fact("privilege level", place.bmc.level_in_words());
        if let Some(guid) = knowledge.identity.guid {
            fact("GUID", guid.to_string());
        }
        if let Some(maker) = knowledge.identity.traits.maker {
            fact("maker", format!("IANA enterprise number {maker}"));
        }
        if let Some(change) = place.bmc.change() {
            fact("other GUID now", change.is.to_string());
        }
        fact(
            "cipher suites",
            format!("{} configured, in this order", suites.join(", ")),
        );
        fact(
            "suite that works",
            knowledge
                .suite
                .map_or("not known yet".to_owned(), |suite| suite.to_string()),
        );
        if let Some(listed) = &knowledge.listed {
            fact("suites listed", listed_words(listed));
        }
        for evidence in &knowledge.evidence {
            fact("found out", evidence.clone());
        }
        if let Some(others) = place.bmc.strangers().filter(|others| *others > 0) {
            let text = format!(
                "{others} beside ours: somebody else is logged in, or one of ours was not closed"
            );
            fact("sessions of others", text);
        }
        if let Some((at, chassis)) = place.bmc.chassis() {
            for (head, text) in chassis.facts() {
                fact(head, format!("{text} ({} s ago)", (now - at).as_secs()));
            }
        }
        if place.settings.power.never_off {
            let text = "refused: its BMC goes off with the machine (power_off = false)";
            fact("power off", text.to_owned());
        }
        for order in place.bmc.lacking(now) {
            fact(
                "not supported",
                format!("{order}: the BMC said so again and again"),
            );
        }
        let statistics = session.statistics();
        if let Some(spoken) = statistics.spoken {
            fact("last session", spoken.to_string());
        }
        if let Some(round_trip) = statistics.round_trip {
            fact(
                "round trip",
                format!("{:.1} ms, smoothed", round_trip.as_secs_f64() * 1000.0),
            );
        }
        fact("pace", place.bmc.pace_in_words());
        fact(
            "sessions",
            format!(
                "{} opened, {} lost, {} handshakes",
                statistics.opened, statistics.lost, statistics.handshakes
            ),
        );
        fact(
            "datagrams",
            format!(
                "{} sent ({} copies), {} received",
                statistics.sent, statistics.resends, statistics.received
            ),
        );
        for (reason, count) in &statistics.dropped {
            fact("dropped", format!("{count}: {reason:?}"));
        }
        fact("waiting orders", place.bmc.backlog().to_string());
        if let Some((trouble, text)) = place.bmc.trouble(now) {
            fact("trouble", format!("{}: {text}", trouble.words()));
        }
        if let Some((answer, at)) = place.bmc.presence() {
            let words = match answer {
                PresenceAnswer::Pong { ipmi: true } => "answered",
                PresenceAnswer::Pong { ipmi: false } => "answered, without a word of IPMI",
                PresenceAnswer::Nothing => "not answered; some BMCs never do",
            };
            let age = (now - at).as_secs();
            fact("presence ping", format!("{words} ({age} s ago)"));
        }
        Explanation {
            node: self.view_of_node(place),
            facts,
            failures: place
                .bmc
                .failures()
                .map(|(at, text)| Failure {
                    at: before(wall, now - *at),
                    text: text.clone(),
                })
                .collect(),
            boot_device: None,
            identity: place.bmc.change(),
            chassis: place.bmc.chassis().map(|(_, chassis)| chassis),
        }
    }
}

/// The calendar time so long before `wall`.
fn before(wall: WallTime, ago: Duration) -> WallTime {
    let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
    WallTime::from_unix_micros(wall.unix_micros().saturating_sub(ago))
}

/// The BMC's own list of cipher suites, as advice.
fn listed_words(listed: &[String]) -> String {
    if listed.is_empty() {
        return "the BMC does not say".into();
    }
    let mut words = format!("{}, says the BMC", listed.join(", "));
    if listed.iter().any(|suite| suite == "0") {
        words.push_str("; 0 lets in who knows a user's name");
    }
    words
}
