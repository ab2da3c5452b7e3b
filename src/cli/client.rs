//! The daemon's API as functions: one for each thing that the verbs need, in the API's own JSON
//! types.
//!
//! Knows paths and queries; how a request travels is `connect`'s affair, what is printed that of
//! the verbs.

use super::connect::{Endpoint, Way, request, text, value};
use super::exit::Failure;
use crate::model;
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Nodes that are read with one request: their names stay below the length of a body.
const AT_ONCE: usize = 4096;
/// How long readings of many nodes may take beyond what an answer may take: a rack of dead BMCs is
/// read half a second each.
const READINGS_PATIENCE: Duration = Duration::from_secs(60);

/// A way to one daemon.
#[derive(Clone, Debug)]
pub(super) struct Client {
    endpoint: Way,
}

impl Client {
    /// A client of the daemon at `endpoint`; nothing is connected yet.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint: Way::to(endpoint),
        }
    }

    /// A client of whichever of these daemons has the rack, where that has several hosts.
    pub(super) fn of_one_of(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoint: Way::to_one_of(endpoints),
        }
    }

    /// A client of each of the rack's hosts alone.
    pub(super) fn each(&self) -> Vec<Self> {
        let ways = self.endpoint.each().into_iter();
        ways.map(|endpoint| Self { endpoint }).collect()
    }

    /// The same with this id for all of its requests.
    pub(super) fn under(&self, request_id: &str) -> Self {
        Self {
            endpoint: self.endpoint.clone().under(request_id.to_owned()),
        }
    }

    /// The same for one request that is carried out once, however often and wherever it is made.
    fn once(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone().once(),
        }
    }

    /// Where the daemon is.
    pub(super) fn endpoint(&self) -> &Endpoint {
        self.endpoint.endpoint()
    }

    /// Where the daemons of all its hosts are.
    pub(super) fn endpoints(&self) -> &[Endpoint] {
        self.endpoint.endpoints()
    }

    /// What the oldest answer that was not of now said of itself.
    pub(super) fn stale(&self) -> Option<model::Stale> {
        self.endpoint.stale()
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        request(&self.endpoint, method, path, body, Duration::ZERO).await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, Failure> {
        let text = text(&self.endpoint, Method::GET, path, None, wait).await?;
        // At once, as lists are long; where that fails the place of the mistake is looked for.
        if let Ok(read) = serde_json::from_str(&text) {
            return Ok(read);
        }
        let value = value(&self.endpoint, &Method::GET, path, &text)?;
        understand(path, value)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let value = self.ask(Method::POST, path, body).await?;
        understand(path, value)
    }

    /// Every node of the rack, in full.
    ///
    /// # Errors
    /// As every function here: [`Failure`].
    pub(super) async fn nodes(&self) -> Result<Vec<model::Node>, Failure> {
        self.pages("/v1/nodes/detail?").await
    }

    /// Every node of the rack by name, uuid and groups: enough to choose by.
    pub(super) async fn nodes_to_choose(&self, groups: bool) -> Result<Vec<model::Node>, Failure> {
        match groups {
            true => self.pages("/v1/nodes?fields=name,uuid,rackbmcd&").await,
            false => self.pages("/v1/nodes?fields=name,uuid&").await,
        }
    }

    /// Every node of the rack, without what only programs of others want.
    pub(super) async fn nodes_to_show(&self) -> Result<Vec<model::Node>, Failure> {
        self.pages("/v1/nodes?fields=name,uuid,power_state,target_power_state,last_error,rackbmcd&")
            .await
    }

    /// Every node of the rack by name and power state: enough to count.
    pub(super) async fn nodes_to_count(&self) -> Result<Vec<model::Node>, Failure> {
        self.pages("/v1/nodes?fields=name,uuid,power_state&").await
    }

    async fn pages(&self, list: &str) -> Result<Vec<model::Node>, Failure> {
        let mut nodes = Vec::new();
        let mut path = list.trim_end_matches(['?', '&']).to_owned();
        loop {
            let page: model::NodeList = self.read(&path, Duration::ZERO).await?;
            let last = page.nodes.last().map(|node| node.uuid);
            nodes.extend(page.nodes);
            match (page.next, last) {
                (Some(_), Some(marker)) => path = format!("{list}marker={marker}"),
                _ => return Ok(nodes),
            }
        }
    }

    /// The name of every node.
    pub(super) async fn names(&self) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        let mut path = "/v1/nodes?fields=uuid,name".to_owned();
        loop {
            let page: model::NodeList = self.read(&path, Duration::ZERO).await?;
            let last = page.nodes.last().map(|node| node.uuid);
            names.extend(page.nodes.iter().map(|node| node.name.to_string()));
            match (page.next, last) {
                (Some(_), Some(marker)) => {
                    path = format!("/v1/nodes?fields=uuid,name&marker={marker}");
                }
                _ => return Ok(names),
            }
        }
    }

    /// The groups that nodes are in, by name.
    pub(super) async fn groups(&self) -> Result<Vec<String>, Failure> {
        let nodes = self.nodes().await?;
        let groups = nodes.iter().flat_map(|node| node.rackbmcd.groups.iter());
        let groups: std::collections::BTreeSet<&String> = groups.collect();
        Ok(groups.into_iter().cloned().collect())
    }

    /// These nodes, in the order of their names, after it was tried to read the power state of each
    /// from its BMC. `None` for one that the configuration names no more.
    pub(super) async fn fresh_all(
        &self,
        names: &[String],
        full: bool,
    ) -> Result<Vec<Option<model::FreshReading>>, Failure> {
        let mut found: HashMap<Arc<str>, model::FreshReading> = HashMap::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            let wanted = json!({ "nodes": [crate::nodeset::fold(names)] });
            let path = match full {
                true => "/v1/readings",
                false => {
                    "/v1/readings?fields=uuid,name,created_at,updated_at,power_state,target_power_state,last_error,rackbmcd"
                }
            };
            let wait = READINGS_PATIENCE;
            let lines = text(&self.endpoint, Method::POST, path, Some(&wanted), wait).await?;
            for line in lines.lines() {
                let read: model::FreshReading =
                    serde_json::from_str(line).map_err(|e| not_understood(path, &e))?;
                found.insert(read.node.name.clone(), read);
            }
        }
        let read = |name: &String| found.remove(name.as_str());
        Ok(names.iter().map(read).collect())
    }

    /// One node's record, as it came.
    pub(super) async fn node_record(&self, ident: &str) -> Result<Value, Failure> {
        self.read(&format!("/v1/nodes/{}", path_word(ident)), Duration::ZERO)
            .await
    }

    /// One node's states, as they came.
    pub(super) async fn node_states(&self, ident: &str) -> Result<Value, Failure> {
        self.read(
            &format!("/v1/nodes/{}/states", path_word(ident)),
            Duration::ZERO,
        )
        .await
    }

    /// Ironic's way to start or abort an operation: answered when it is taken.
    pub(super) async fn set_power(&self, ident: &str, target: &str) -> Result<(), Failure> {
        let path = format!("/v1/nodes/{}/states/power", path_word(ident));
        let body = json!({ "target": target });
        let set = self.once();
        set.ask(Method::PUT, &path, Some(&body)).await.map(drop)
    }

    /// Starts an operation on one node.
    pub(super) async fn start(&self, start: &model::TaskStart) -> Result<model::Task, Failure> {
        self.once().post("/v1/tasks", Some(&body(start))).await
    }

    /// Starts (or plans) an operation on several nodes.
    pub(super) async fn start_batch(
        &self,
        start: &model::BatchStart,
    ) -> Result<model::Batch, Failure> {
        match self.endpoint.has_id() {
            // It is found again by that.
            true => self.post("/v1/batches", Some(&body(start))).await,
            false => self.once().post("/v1/batches", Some(&body(start))).await,
        }
    }

    /// Uses a control on a task.
    pub(super) async fn control(
        &self,
        task: impl Display,
        control: model::Control,
    ) -> Result<model::Task, Failure> {
        self.post(
            &format!("/v1/tasks/{}/{control}", path_word(&task.to_string())),
            None,
        )
        .await
    }

    /// Uses a control on a whole batch.
    pub(super) async fn control_batch(
        &self,
        batch: impl Display,
        control: model::Control,
    ) -> Result<model::Batch, Failure> {
        self.post(
            &format!("/v1/batches/{}/{control}", path_word(&batch.to_string())),
            None,
        )
        .await
    }

    /// One task as it is.
    pub(super) async fn task(&self, id: impl Display) -> Result<model::Task, Failure> {
        self.read(
            &format!("/v1/tasks/{}", path_word(&id.to_string())),
            Duration::ZERO,
        )
        .await
    }

    /// One task when it is no longer as in `version`, or after `wait`.
    pub(super) async fn task_after(
        &self,
        id: impl Display,
        version: u64,
        wait: Duration,
    ) -> Result<model::Task, Failure> {
        let path = format!(
            "/v1/tasks/{}?wait={}s&version={version}",
            path_word(&id.to_string()),
            wait.as_secs().max(1)
        );
        self.read(&path, wait).await
    }

    /// Tasks, newest first: of one node, of one batch, or of all.
    pub(super) async fn tasks(
        &self,
        node: Option<&str>,
        batch: Option<&str>,
        active: bool,
        limit: u32,
    ) -> Result<Vec<model::Task>, Failure> {
        let mut path = format!("/v1/tasks?limit={limit}");
        if active {
            path.push_str("&active=true");
        }
        for (key, value) in [("node", node), ("batch", batch)] {
            if let Some(value) = value {
                path.push_str(&format!("&{key}={}", path_word(value)));
            }
        }
        let list: model::TaskList = self.read(&path, Duration::ZERO).await?;
        Ok(list.tasks)
    }

    /// Batches, newest first, with their nodes.
    pub(super) async fn batches(&self) -> Result<Vec<model::Batch>, Failure> {
        let list: model::BatchList = self.read("/v1/batches", Duration::ZERO).await?;
        let mut batches = list.batches;
        for batch in &mut batches {
            // A list does not have all the nodes of large ones.
            if batch.nodes_left_out == 0 {
                continue;
            }
            match self.batch(batch.id).await {
                Ok(whole) => *batch = whole,
                // Forgotten since.
                Err(Failure::Refused(refusal)) if refusal.status == 404 => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(batches)
    }

    /// One batch as it is.
    pub(super) async fn batch(&self, id: impl Display) -> Result<model::Batch, Failure> {
        self.read(
            &format!("/v1/batches/{}", path_word(&id.to_string())),
            Duration::ZERO,
        )
        .await
    }

    /// What happened after `since`, waiting for the first event at most `wait`; without `since`
    /// only where to begin.
    pub(super) async fn events(
        &self,
        since: Option<&str>,
        nodes: &[String],
        wait: Duration,
    ) -> Result<model::Events, Failure> {
        // Without a position there is nothing to wait for: the answer says where to begin.
        let mut path = match since {
            Some(since) => format!(
                "/v1/events?wait={}s&since={}",
                wait.as_secs().max(1),
                path_word(since)
            ),
            None => "/v1/events?wait=0s".to_owned(),
        };
        if !nodes.is_empty() {
            path.push_str(&format!("&node={}", path_word(&nodes.join(","))));
        }
        self.read(&path, wait).await
    }

    /// All that is known of a node's BMC.
    pub(super) async fn explain(&self, ident: &str) -> Result<model::Explanation, Failure> {
        self.read(
            &format!("/v1/nodes/{}/explain", path_word(ident)),
            Duration::ZERO,
        )
        .await
    }

    /// What the daemon adds to a report about itself.
    pub(super) async fn support(&self) -> Result<model::Support, Failure> {
        self.read("/v1/support", Duration::ZERO).await
    }

    /// An answer as it came, in JSON.
    pub(super) async fn value(&self, path: &str) -> Result<Value, Failure> {
        request(&self.endpoint, Method::GET, path, None, Duration::ZERO).await
    }

    /// An answer as it came.
    pub(super) async fn text(&self, path: &str) -> Result<String, Failure> {
        text(&self.endpoint, Method::GET, path, None, Duration::ZERO).await
    }

    /// The daemon's socket, where it is one of this host.
    pub(super) fn socket(&self) -> Option<&Path> {
        match self.endpoint.endpoint() {
            Endpoint::Unix(socket) => Some(socket),
            Endpoint::Tcp { .. } => None,
        }
    }

    /// The last datagrams of a node's BMC.
    pub(super) async fn trace(&self, ident: &str) -> Result<model::Trace, Failure> {
        let path = format!("/v1/nodes/{}/trace", path_word(ident));
        self.read(&path, Duration::ZERO).await
    }

    /// What happened to a node.
    pub(super) async fn history(
        &self,
        ident: &str,
        limit: usize,
    ) -> Result<Vec<model::HistoryEntry>, Failure> {
        let path = format!("/v1/nodes/{}/history?limit={limit}", path_word(ident));
        let history: model::History = self.read(&path, Duration::ZERO).await?;
        Ok(history.history)
    }

    /// Blinks the identify light; `None` until further notice.
    pub(super) async fn identify(
        &self,
        ident: &str,
        lasting: Option<Duration>,
    ) -> Result<(), Failure> {
        let wish = model::IdentifyRequest {
            lasting: lasting.map(model::Seconds),
        };
        let path = format!("/v1/nodes/{}/identify", path_word(ident));
        self.ask(Method::POST, &path, Some(&body(&wish)))
            .await
            .map(drop)
    }

    /// What a node boots from next.
    pub(super) async fn boot_override(&self, ident: &str) -> Result<model::BootOverride, Failure> {
        self.read(&of_node(ident, "boot_override"), Duration::ZERO)
            .await
    }

    /// Sets what a node boots from next, or clears it.
    pub(super) async fn set_boot_override(
        &self,
        ident: &str,
        boot: &model::BootOverrideRequest,
    ) -> Result<(), Failure> {
        let path = of_node(ident, "boot_override");
        self.ask(Method::PUT, &path, Some(&body(boot)))
            .await
            .map(drop)
    }

    /// Says what a machine does when mains power comes back.
    pub(super) async fn set_restore_policy(
        &self,
        ident: &str,
        policy: model::RestorePolicy,
    ) -> Result<(), Failure> {
        let path = of_node(ident, "restore_policy");
        let wanted = model::RestorePolicyRequest { policy };
        self.ask(Method::PUT, &path, Some(&body(&wanted)))
            .await
            .map(drop)
    }

    /// What a BMC says of itself or of its machine.
    pub(super) async fn bmc_reading(
        &self,
        ident: &str,
        what: &str,
    ) -> Result<model::BmcAnswer, Failure> {
        let path = of_node(ident, &format!("bmc/{what}"));
        self.read(&path, Duration::ZERO).await
    }

    /// The newest entries of a BMC's event log.
    pub(super) async fn event_log(
        &self,
        ident: &str,
        limit: u16,
    ) -> Result<model::EventLog, Failure> {
        let path = of_node(ident, &format!("event_log?limit={limit}"));
        self.read(&path, Duration::ZERO).await
    }

    /// Empties a BMC's event log.
    pub(super) async fn clear_event_log(&self, ident: &str) -> Result<(), Failure> {
        self.ask(Method::DELETE, &of_node(ident, "event_log"), None)
            .await
            .map(drop)
    }

    /// Restarts a BMC.
    pub(super) async fn reset_bmc(
        &self,
        ident: &str,
        kind: model::BmcReset,
    ) -> Result<(), Failure> {
        let wish = model::BmcResetRequest { kind };
        self.ask(
            Method::POST,
            &of_node(ident, "bmc_reset"),
            Some(&body(&wish)),
        )
        .await
        .map(drop)
    }

    /// One command spelled out in bytes; the answer's data.
    pub(super) async fn raw(
        &self,
        ident: &str,
        raw: &model::RawRequest,
    ) -> Result<model::OrderAnswer, Failure> {
        self.post(
            &format!("/v1/nodes/{}/raw", path_word(ident)),
            Some(&body(raw)),
        )
        .await
    }

    /// Takes a node into maintenance, or out of it.
    pub(super) async fn maintenance(
        &self,
        ident: &str,
        on: bool,
        reason: Option<&str>,
    ) -> Result<(), Failure> {
        let path = format!("/v1/nodes/{}/maintenance", path_word(ident));
        if on {
            let body = json!({ "reason": reason });
            self.ask(Method::PUT, &path, Some(&body)).await.map(drop)
        } else {
            self.ask(Method::DELETE, &path, None).await.map(drop)
        }
    }

    /// Forgets failed log-ins of a node's BMC.
    pub(super) async fn retry(&self, ident: &str) -> Result<model::Node, Failure> {
        self.post(&format!("/v1/nodes/{}/retry", path_word(ident)), None)
            .await
    }

    /// The BMC that is there now shall be the node's.
    pub(super) async fn accept_bmc(
        &self,
        ident: &str,
        guid: uuid::Uuid,
    ) -> Result<model::Node, Failure> {
        let wish = model::AcceptRequest { guid };
        self.post(
            &format!("/v1/nodes/{}/bmc_accept", path_word(ident)),
            Some(&json!(wish)),
        )
        .await
    }

    /// Suspends everything.
    pub(super) async fn pause(&self, reason: &str) -> Result<model::Pausing, Failure> {
        self.post("/v1/pause", Some(&json!({ "reason": reason })))
            .await
    }

    /// Ends the pause.
    pub(super) async fn release(&self) -> Result<model::Pausing, Failure> {
        self.post("/v1/release", None).await
    }

    /// Records of the audit trail after a number, oldest first.
    pub(super) async fn audit(&self, after: u64, limit: u64) -> Result<model::AuditPage, Failure> {
        self.read(
            &format!("/v1/audit?after={after}&limit={limit}"),
            Duration::ZERO,
        )
        .await
    }

    /// Who we are to the daemon, and what we may do.
    pub(super) async fn whoami(&self) -> Result<model::Asker, Failure> {
        self.read("/v1/whoami", Duration::ZERO).await
    }

    /// How it stands with the hosts of the rack.
    pub(super) async fn ha(&self) -> Result<model::Ha, Failure> {
        self.read("/v1/ha", Duration::ZERO).await
    }

    /// Gives the rack to another host.
    pub(super) async fn hand_over(&self, to: Option<&str>) -> Result<(), Failure> {
        let wanted = json!({ "to": to });
        self.ask(Method::POST, "/v1/ha/handover", Some(&wanted))
            .await
            .map(drop)
    }

    /// Figures about the daemon.
    pub(super) async fn health(&self) -> Result<model::Health, Failure> {
        self.read("/healthz", Duration::ZERO).await
    }
}

fn of_node(ident: &str, what: &str) -> String {
    format!("/v1/nodes/{}/{what}", path_word(ident))
}

fn body<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("the API's types are JSON")
}

fn understand<T: DeserializeOwned>(path: &str, value: Value) -> Result<T, Failure> {
    serde_path_to_error::deserialize(value).map_err(|e| not_understood(path, &e))
}

fn not_understood(path: &str, error: &dyn Display) -> Failure {
    Failure::Broken {
        at: path.to_owned(),
        why: format!("the answer is not as this rackbmc knows it: {error}"),
    }
}

/// A word as it may stand in a path or a query: everything but letters, digits and `-._~` escaped.
fn path_word(word: &str) -> String {
    word.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(path_word("r1n03"), "r1n03");
        assert_eq!(path_word("../x?y=1 ü"), "..%2Fx%3Fy%3D1%20%C3%BC");
    }
}
