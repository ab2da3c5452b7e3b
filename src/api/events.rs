//! The stream of server-sent events of one reader, as a value: which call comes next, and the text that its answer
//! becomes. Driven by `serve`; nothing is buffered here beyond one stretch of events, so a reader that does not read
//! costs the rack nothing and is told so by a reset.

use super::fault::Fault;
use super::ironic::record;
use super::plan::stray;
use crate::rack::call::{Answer, Call, EventId, NodeView, Refused};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// After so long without an event a comment line shows that the stream is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events are taken from the rack at once.
const AT_ONCE: usize = 100;
/// How many running tasks a snapshot shows.
const SNAPSHOT_TASKS: usize = 1000;

/// One reader's stream.
#[derive(Debug)]
pub struct EventStream {
    nodes: Vec<String>,
    base: String,
    phase: Phase,
}

/// Where a stream stands.
#[derive(Debug)]
enum Phase {
    /// Looking where to begin; then a snapshot, if it was asked for.
    Positioning { snapshot: bool },
    /// Reading the nodes for the snapshot. What changes meanwhile comes as events after it.
    ReadingNodes { at: EventId },
    /// Reading the tasks for the snapshot.
    ReadingTasks { at: EventId, nodes: Vec<NodeView> },
    /// Following.
    Following { since: EventId },
}

/// What an answer became.
#[derive(Debug)]
pub struct Step {
    /// What the reader is sent.
    pub text: String,
    /// The stream as it goes on; `None` ends it.
    pub next: Option<EventStream>,
}

impl EventStream {
    /// A stream from `since` on, or from now on.
    pub fn new(since: Option<EventId>, nodes: Vec<String>, snapshot: bool, base: String) -> Self {
        let phase = match since {
            Some(since) if !snapshot => Phase::Following { since },
            _ => Phase::Positioning { snapshot },
        };
        EventStream { nodes, base, phase }
    }

    /// The call that comes next. While `first`, nothing is waited for: the answer decides the status of the response.
    pub fn call(&self, first: bool) -> Call {
        let events = |since, wait, limit| Call::Events {
            since,
            nodes: self.nodes.clone(),
            wait,
            limit,
        };
        match &self.phase {
            Phase::Positioning { .. } => events(None, Duration::ZERO, 1),
            Phase::ReadingNodes { .. } => Call::Nodes,
            Phase::ReadingTasks { .. } => Call::Tasks {
                node: None,
                batch: None,
                active: true,
                limit: SNAPSHOT_TASKS,
            },
            Phase::Following { since } => events(
                Some(*since),
                if first { Duration::ZERO } else { HEARTBEAT },
                AT_ONCE,
            ),
        }
    }

    /// What the answer becomes.
    ///
    /// # Errors
    /// The rack refused: before the first text that is the request's refusal, later the end of the stream.
    pub fn take(self, answer: Result<Answer, Refused>) -> Result<Step, Fault> {
        let EventStream {
            nodes: wanted,
            base,
            phase,
        } = self;
        let go = |text, phase| {
            Ok(Step {
                text,
                next: Some(EventStream {
                    nodes: wanted.clone(),
                    base: base.clone(),
                    phase,
                }),
            })
        };
        match (phase, answer?) {
            (Phase::Positioning { snapshot }, Answer::Events(found)) => {
                let at = found.next;
                // An id without data: the reader knows where to go on before the first event has come.
                let text = format!("retry: 2000\nid: {at}\n\n");
                if snapshot {
                    go(text, Phase::ReadingNodes { at })
                } else {
                    go(text, Phase::Following { since: at })
                }
            }
            (Phase::ReadingNodes { at }, Answer::Nodes(nodes)) => {
                go(String::new(), Phase::ReadingTasks { at, nodes })
            }
            (Phase::ReadingTasks { at, nodes }, Answer::Tasks(tasks)) => {
                let meant = |name: &str, uuid: &str| {
                    wanted.is_empty() || wanted.iter().any(|node| node == name || node == uuid)
                };
                let nodes: Vec<Value> = nodes
                    .iter()
                    .filter(|node| meant(&node.name, &node.uuid.to_string()))
                    .map(|node| json!(record::full(node, &base)))
                    .collect();
                let tasks: Vec<_> = tasks
                    .iter()
                    .filter(|task| meant(&task.node, &task.node_uuid.to_string()))
                    .collect();
                let text = sent("snapshot", at, &json!({ "nodes": nodes, "tasks": tasks }));
                go(text, Phase::Following { since: at })
            }
            (Phase::Following { .. }, Answer::Events(found)) if found.reset => {
                let told = json!({
                    "id": found.next.to_string(),
                    "kind": "reset",
                    "text": "events were missed: read everything anew and go on from here",
                });
                Ok(Step {
                    text: sent("reset", found.next, &told),
                    next: None,
                })
            }
            (Phase::Following { .. }, Answer::Events(found)) => {
                let mut text = String::new();
                for event in &found.events {
                    text.push_str(&sent(event.kind.as_str(), event.id, event));
                }
                if text.is_empty() {
                    text.push_str(": alive\n\n");
                }
                go(text, Phase::Following { since: found.next })
            }
            _ => Err(stray()),
        }
    }
}

/// One event on the wire. JSON holds no line break, so one `data:` line carries it.
fn sent(kind: &str, id: EventId, data: &impl Serialize) -> String {
    let data =
        serde_json::to_string(data).expect("our JSON types have text keys and finite numbers");
    let mut text = String::with_capacity(data.len() + 64);
    write!(text, "id: {id}\nevent: {kind}\ndata: {data}\n\n").expect("text grows");
    text
}
