//! The stream of server-sent events of one reader: what is asked of the rack next, and the text
//! that its answer becomes.
//!
//! Driven by `serve`; nothing is buffered here beyond one stretch of events, so a reader that does
//! not read costs the rack nothing and is told so by a reset. Each question is asked with the
//! rights of that moment: a reader that has lost them is at its end.

use super::fault::Fault;
use super::handle::{EventFilter, RackHandle, TaskFilter};
use super::ironic::record;
use crate::model::{EventId, Node, Task, write_visible_json};
use serde::{Serialize, Serializer};
use serde_json::json;
use std::time::Duration;

/// After so long without an event a comment line shows that the stream is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events are taken from the rack at once.
const AT_ONCE: usize = 100;
/// How many running tasks a snapshot shows.
const SNAPSHOT_TASKS: usize = 1000;

/// One reader's stream.
pub struct EventStream {
    rack: RackHandle,
    nodes: Vec<String>,
    base: String,
    phase: Phase,
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing was sent yet.
    Beginning {
        since: Option<EventId>,
        snapshot: bool,
    },
    /// The position was sent, and the snapshot comes next. What changes meanwhile comes as events
    /// after it.
    Snapshot {
        at: EventId,
    },
    Following {
        since: EventId,
    },
    /// The reader has to begin anew.
    Ended,
}

impl EventStream {
    /// A stream from `since` on, or from now on.
    pub fn new(
        rack: RackHandle,
        since: Option<EventId>,
        nodes: Vec<String>,
        snapshot: bool,
        base: String,
    ) -> Self {
        Self {
            rack,
            nodes,
            base,
            phase: Phase::Beginning { since, snapshot },
        }
    }

    /// What the reader is sent next; `None` ends the stream. The first time nothing is waited for:
    /// it decides the status of the response.
    ///
    /// # Errors
    /// The rack refused: before the first text that is the request's refusal, later the end of the
    /// stream.
    pub async fn next(&mut self) -> Result<Option<String>, Fault> {
        match self.phase {
            Phase::Beginning { since, snapshot } => match since.filter(|_| !snapshot) {
                Some(since) => self.follow(since, Duration::ZERO).await.map(Some),
                None => self.begin(snapshot).await.map(Some),
            },
            Phase::Snapshot { at } => self.snapshot(at).await.map(Some),
            Phase::Following { since } => self.follow(since, HEARTBEAT).await.map(Some),
            Phase::Ended => Ok(None),
        }
    }

    /// Whether all nodes are sent next.
    pub fn shows_the_rack_next(&self) -> bool {
        matches!(self.phase, Phase::Snapshot { .. }) && self.nodes.is_empty()
    }

    /// An id without data: the reader knows where to go on before the first event has come.
    async fn begin(&mut self, snapshot: bool) -> Result<String, Fault> {
        let at = self.rack.events(self.wanted(None, Duration::ZERO, 1));
        let at = at.await?.next;
        self.phase = if snapshot {
            Phase::Snapshot { at }
        } else {
            Phase::Following { since: at }
        };
        Ok(format!("retry: 2000\nid: {at}\n\n"))
    }

    /// All nodes that are meant, and their running tasks. The nodes are asked for last and become
    /// text at once: the records of a large rack are megabytes, of which none may wait for
    /// anything.
    async fn snapshot(&mut self, at: EventId) -> Result<String, Fault> {
        let meant = |name: &str, uuid: &str| {
            let mut wanted = self.nodes.iter();
            self.nodes.is_empty() || wanted.any(|node| node == name || node == uuid)
        };
        let tasks = self.rack.tasks(TaskFilter {
            active: true,
            limit: SNAPSHOT_TASKS,
            ..TaskFilter::default()
        });
        let mut tasks = tasks.await?;
        tasks.retain(|task| meant(&task.node, &task.node_uuid.to_string()));
        let mut nodes = self.rack.nodes().await?;
        nodes.retain(|node| meant(&node.name, &node.uuid.to_string()));
        let nodes = Records {
            nodes: &nodes,
            base: &self.base,
        };
        let text = sent("snapshot", at, &Snapshot { nodes, tasks });
        self.phase = Phase::Following { since: at };
        Ok(text)
    }

    /// The next events, or a sign of life.
    async fn follow(&mut self, since: EventId, wait: Duration) -> Result<String, Fault> {
        let found = self.rack.events(self.wanted(Some(since), wait, AT_ONCE));
        let found = found.await?;
        if found.reset {
            self.phase = Phase::Ended;
            let told = json!({
                "id": found.next.to_string(),
                "kind": "reset",
                "text": "events were missed: read everything anew and go on from here",
            });
            return Ok(sent("reset", found.next, &told));
        }
        self.phase = Phase::Following { since: found.next };
        let events = found.events.iter();
        let text: String = events
            .map(|event| sent(event.kind.as_str(), event.id, event))
            .collect();
        Ok(match text.is_empty() {
            true => ": alive\n\n".to_owned(),
            false => text,
        })
    }

    fn wanted(&self, since: Option<EventId>, wait: Duration, limit: usize) -> EventFilter {
        EventFilter {
            since,
            nodes: self.nodes.clone(),
            wait,
            limit,
        }
    }
}

/// How the rack stands.
#[derive(Serialize)]
struct Snapshot<'a> {
    nodes: Records<'a>,
    tasks: Vec<Task>,
}

/// The records of nodes, of which one at a time is made and written.
struct Records<'a> {
    nodes: &'a [Node],
    base: &'a str,
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.nodes.iter().map(|node| record::full(node, self.base)))
    }
}

/// One event on the wire. JSON holds no line break, so one `data:` line carries it.
fn sent(kind: &str, id: EventId, data: &impl Serialize) -> String {
    let text = format!("id: {id}\nevent: {kind}\ndata: ").into_bytes();
    let mut text = write_visible_json(text, data);
    text.extend(b"\n\n");
    String::from_utf8(text).expect("JSON is text")
}
