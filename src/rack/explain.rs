//! Everything that is known of a node's BMC, and where it comes from: `rackbmc explain`.

use super::clock::Moment;
use super::node::Node;
use super::views::Snapshot;
use crate::bmc::identity::as_written;
use crate::bmc::{Listed, PresenceAnswer};
use crate::model::{Explanation, Fact, Failure, Trace, Trouble};
use crate::time::{Instant, WallTime};
use std::time::Duration;

impl Snapshot<'_> {
    pub(super) fn explanation(&self, node: &Node) -> Explanation {
        let Moment { now, wall, .. } = self.at;
        let mut facts = Vec::new();
        facts.extend(address(node));
        facts.extend(log_in(node));
        facts.extend(suites(node));
        facts.extend(found_out(node, now));
        facts.extend(traffic(node));
        facts.extend(health(node, now));
        facts.extend(self.task_in_words(node));
        let failures = node.bmc.failures().map(|(at, text)| Failure {
            at: before(wall, now - at),
            text: text.to_owned(),
        });
        Explanation {
            node: self.view_of_node(node),
            facts,
            failures: failures.collect(),
            boot_device: None,
            identity: node.bmc.change(),
            chassis: node.bmc.chassis().map(|(_, chassis)| chassis),
        }
    }

    /// What the task that has the node does, or waits for.
    fn task_in_words(&self, node: &Node) -> Option<Fact> {
        let task = self.task(node.task?)?;
        let (by, state) = (&task.requested_by.name, &task.state);
        let mut text = format!("{} by {by} is {state}", task.operation);
        if task.phase != state.as_str() {
            text.push_str(&format!(": {}", task.phase));
        }
        text.push_str(&format!("; asked for {} s ago", task.elapsed.as_secs()));
        if task.waited.as_secs() > 0 {
            let waited = task.waited.as_secs();
            text.push_str(&format!(", {waited} s of them waiting for its turn"));
        }
        if let Some(left) = task.time_left {
            text.push_str(&format!(", {} s left at most", left.as_secs()));
        }
        Some(fact("task", text))
    }
}

impl Snapshot<'_> {
    pub(super) fn trace(&self, node: &Node) -> Trace {
        let (lines, forgotten) = node.bmc.trace(self.at.now, self.at.wall);
        let address = node.bmc.address();
        Trace {
            node: node.settings.name.to_string(),
            address: address.map(|address| address.to_string()),
            lines,
            forgotten,
        }
    }
}

fn fact(head: &str, text: impl Into<String>) -> Fact {
    Fact {
        head: head.to_owned(),
        text: text.into(),
    }
}

/// Where the BMC is.
fn address(node: &Node) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Err(refused) = node.check_quarantine() {
        facts.push(fact("cannot be read", refused.to_string()));
    }
    let found = node.bmc.address();
    let found = found.map_or("not resolved".to_owned(), |address| address.to_string());
    let (host, port) = (&node.settings.address.host, node.settings.address.port);
    facts.push(fact("address", format!("{host} port {port} ({found})")));
    facts.push(fact("lock", node.bmc.lock_in_words()));
    let others = node.bmc.other_addresses();
    facts.extend(others.map(|other| fact("or at", other.ip().to_string())));
    facts
}

/// As whom the BMC is logged in to, and who it is.
fn log_in(node: &Node) -> Vec<Fact> {
    let login = &node.settings.login;
    let mut facts = vec![
        fact(
            "user",
            format!("{}, privilege {}", login.username, login.privilege),
        ),
        fact("privilege level", node.bmc.level_in_words()),
    ];
    if let Some(guid) = node.bmc.knowledge().identity.guid {
        facts.push(fact("GUID", as_written(guid).to_string()));
    }
    if node.bmc.knowledge().identity.unstable {
        let text = "its GUID went back and forth at this address: it does not tell who is there, and is ignored";
        facts.push(fact("identity", text.to_owned()));
    }
    if let Some(maker) = node.bmc.knowledge().identity.traits.maker {
        let text = format!("IANA enterprise number {maker}");
        facts.push(fact("maker", text));
    }
    if let Some(change) = node.bmc.change() {
        facts.push(fact("other GUID now", change.is.to_string()));
    }
    facts
}

fn suites(node: &Node) -> Vec<Fact> {
    let configured = node.settings.login.suites.iter();
    let configured: Vec<String> = configured.map(|suite| suite.0.to_string()).collect();
    let knowledge = node.bmc.knowledge();
    let works = knowledge.suite.map(|suite| suite.to_string());
    let mut facts = vec![
        fact(
            "cipher suites",
            format!("{} configured, in this order", configured.join(", ")),
        ),
        fact(
            "suite that works",
            works.unwrap_or_else(|| "not known yet".to_owned()),
        ),
    ];
    if let Some(listed) = &knowledge.listed {
        facts.push(fact("suites listed", listed_words(listed)));
    }
    facts
}

/// What the answers of the BMC have shown of it.
fn found_out(node: &Node, now: Instant) -> Vec<Fact> {
    let evidence = node.bmc.knowledge().evidence.iter();
    let mut facts: Vec<Fact> = evidence.map(|found| fact("found out", found)).collect();
    if let Some(others) = node.bmc.strangers().filter(|others| *others > 0) {
        let text = format!(
            "{others} beside ours: somebody else is logged in, or one of ours was not closed"
        );
        facts.push(fact("sessions of others", text));
    }
    if let Some((at, chassis)) = node.bmc.chassis() {
        let age = (now - at).as_secs();
        let told = chassis.facts().into_iter();
        facts.extend(told.map(|(head, text)| fact(head, format!("{text} ({age} s ago)"))));
    }
    // An operator who wonders why tasks take longer here finds the reason, and the way back.
    if let Some(longer) = node.memory.holds_longer {
        let text = format!(
            "a state that a task had called done did not last a minute: {} s are waited for the next one; as usual after \
             rackbmc retry",
            longer.as_secs()
        );
        facts.push(fact("has to hold", text));
    }
    if node.settings.power.never_off {
        let text = "refused: its BMC goes off with the machine (power_off = false)";
        facts.push(fact("power off", text));
    }
    facts.extend(node.bmc.lacking(now).map(|order| {
        let text = format!("{order}: the BMC said so again and again");
        fact("not supported", text)
    }));
    facts
}

/// What went back and forth.
fn traffic(node: &Node) -> Vec<Fact> {
    let statistics = node.bmc.session().statistics();
    let mut facts = Vec::new();
    if let Some(spoken) = statistics.spoken {
        facts.push(fact("last session", spoken.to_string()));
    }
    if let Some(round_trip) = statistics.round_trip {
        let millis = round_trip.as_secs_f64() * 1000.0;
        facts.push(fact("round trip", format!("{millis:.1} ms, smoothed")));
    }
    facts.push(fact("pace", node.bmc.pace_in_words()));
    facts.push(fact(
        "sessions",
        format!(
            "{} opened, {} lost, handshakes: {}",
            statistics.opened, statistics.lost, statistics.handshakes
        ),
    ));
    facts.push(fact(
        "datagrams",
        format!(
            "{} sent (copies: {}), {} received",
            statistics.sent, statistics.resends, statistics.received
        ),
    ));
    let dropped = statistics.dropped.iter();
    facts.extend(dropped.map(|(reason, count)| fact("dropped", format!("{count} {reason}"))));
    facts
}

/// How the BMC does now.
fn health(node: &Node, now: Instant) -> Vec<Fact> {
    let mut facts = vec![fact("waiting orders", node.bmc.backlog().to_string())];
    if let Some((trouble, text)) = node.bmc.trouble(now) {
        let words = trouble.words();
        facts.push(fact(
            "trouble",
            match text.contains(words) || trouble == Trouble::Locked {
                true => text.to_owned(),
                false => format!("{words}: {text}"),
            },
        ));
    }
    if let Some((answer, at)) = node.bmc.presence() {
        let words = match answer {
            PresenceAnswer::Pong { ipmi: true } => "answered",
            PresenceAnswer::Pong { ipmi: false } => "answered, without a word of IPMI",
            PresenceAnswer::Nothing => "not answered; some BMCs never do",
        };
        let age = (now - at).as_secs();
        facts.push(fact("presence ping", format!("{words} ({age} s ago)")));
    }
    facts
}

/// The calendar time so long before `wall`.
fn before(wall: WallTime, ago: Duration) -> WallTime {
    let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
    WallTime::from_unix_micros(wall.unix_micros().saturating_sub(ago))
}

/// The BMC's own list of cipher suites, as advice.
fn listed_words(listed: &Listed) -> String {
    let suites: Vec<&str> = listed.iter().collect();
    if suites.is_empty() {
        return "the BMC does not say".into();
    }
    let mut words = format!("{}, says the BMC", suites.join(", "));
    // Suite 0 checks no password: a BMC that takes it lets in whoever knows a name.
    if suites.contains(&"0") {
        words.push_str("; 0 lets in who knows a user's name");
    }
    words
}
