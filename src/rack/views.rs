//! Snapshots of what there is, for those who ask.

use super::batch::Rooms;
use super::call::{Explanation, HealthView, NodeView, TaskId, TaskView};
use super::inventory::NodeId;
use super::{Rack, Task};
use crate::bmc::PresenceAnswer;
use crate::model::{Fact, Failure, HealthStatus};
use crate::time::Instant;

impl Rack {
    pub(super) fn node_view(&self, node: NodeId, now: Instant) -> NodeView {
        let place = &self.inventory[node];
        let task = place.task.and_then(|id| self.tasks.get(&id));
        let target = task.and_then(|task| task.target());
        place.view(target, now, self.wall(now))
    }

    pub(super) fn task_view(&self, task: TaskId, now: Instant) -> Option<TaskView> {
        let task = self.tasks.get(&task)?;
        Some(self.view_of(task, &mut Rooms::new(), now))
    }

    pub(super) fn view_of(&self, task: &Task, rooms: &mut Rooms, now: Instant) -> TaskView {
        let waits_for = self.waits_for(task, rooms, now);
        task.view(&self.settings.name, waits_for, now)
    }

    pub(super) fn health(&self, now: Instant) -> HealthView {
        let (nodes, active, troubled) = self.summary(now);
        let store_trouble = self.journal.trouble().map(str::to_owned);
        let pause = self.pause.as_ref().map(|pause| pause.hold.clone());
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
            started_at: self.clock.started,
            store_trouble,
            pause,
        }
    }

    /// Everything that is known of a node's BMC, and where it comes from.
    pub(super) fn explanation(&self, node: NodeId, now: Instant) -> Explanation {
        let place = &self.inventory[node];
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
        let wall = self.wall(now);
        let ago = |at: Instant| {
            crate::time::WallTime::from_unix_micros(
                wall.unix_micros()
                    .saturating_sub(u64::try_from((now - at).as_micros()).unwrap_or(u64::MAX)),
            )
        };
        Explanation {
            node: self.node_view(node, now),
            facts,
            failures: place
                .bmc
                .failures()
                .map(|(at, text)| Failure {
                    at: ago(*at),
                    text: text.clone(),
                })
                .collect(),
            boot_device: None,
        }
    }
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
