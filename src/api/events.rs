//! The stream of server-sent events of one reader: what is asked of the rack next, and the text
//! that its answer becomes.
//!
//! Driven by `serve`; nothing is buffered here beyond one stretch of events, so a reader that does
//! not read costs the rack nothing and is told so by a reset. Each question is asked with the
//! rights of that moment: a reader that has lost them is at its end.

use super::fault::Fault;
use super::handle::{EventFilter, RackHandle};
use super::ironic::record;
use crate::model::{EventId, TaskId, visible_json, write_json, write_visible_json};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// After so long without an event a comment line shows that the stream is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events are taken from the rack at once.
const AT_ONCE: usize = 100;
/// How many running tasks a snapshot shows.
const SNAPSHOT_TASKS: usize = 1000;
/// A snapshot is made in pieces of so many bytes, and what one record is longer: they always find
/// place among the answers that wait to be written, and a reader has one of them.
const PIECE: usize = 10 * 1024;
/// How many nodes or tasks are asked for at once: about as many as there is place for.
const IN_A_PIECE: usize = 6;

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
    /// The position was sent, and the snapshot comes next, or more of it. What changes meanwhile
    /// comes as events after it.
    Snapshot {
        at: EventId,
        part: Part,
    },
    Following {
        since: EventId,
    },
    /// The reader has to begin anew.
    Ended,
}

/// What of a snapshot comes next.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Nodes behind the one with that uuid.
    Nodes(Option<Uuid>),
    /// Tasks older than that one, of which so many were shown.
    Tasks { last: Option<TaskId>, shown: usize },
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
            Phase::Snapshot { at, part } => self.snapshot(at, part).await.map(Some),
            Phase::Following { since } => self.follow(since, HEARTBEAT).await.map(Some),
            Phase::Ended => Ok(None),
        }
    }

    /// An id without data: the reader knows where to go on before the first event has come.
    async fn begin(&mut self, snapshot: bool) -> Result<String, Fault> {
        let at = self.rack.events(self.wanted(None, Duration::ZERO, 1));
        let at = at.await?.next;
        self.phase = if snapshot {
            let part = Part::Nodes(None);
            Phase::Snapshot { at, part }
        } else {
            Phase::Following { since: at }
        };
        Ok(format!("retry: 2000\nid: {at}\n\n"))
    }

    /// The next piece of the nodes that are meant and of their running tasks. It is read when its
    /// reader has taken the piece before: the records of a large rack are megabytes, of which none
    /// may wait for somebody who does not read. So each piece is as new as it can be, and what
    /// changed since the position comes once more, as events.
    async fn snapshot(&mut self, at: EventId, part: Part) -> Result<String, Fault> {
        let mut text = Vec::with_capacity(PIECE + PIECE / 2);
        let tasks = match part {
            Part::Nodes(last) => {
                if last.is_none() {
                    text = format!("id: {at}\nevent: snapshot\ndata: {{\"nodes\":[").into_bytes();
                }
                self.nodes(at, last, &mut text).await?
            }
            Part::Tasks { last, shown } => Some((last, shown)),
        };
        if let Some((last, shown)) = tasks {
            self.tasks(at, last, shown, &mut text).await?;
        }
        Ok(visible_json(String::from_utf8(text).expect("JSON is text")))
    }

    /// Nodes behind `last`; where there are none the tasks come next, from the newest on.
    async fn nodes(
        &mut self,
        at: EventId,
        last: Option<Uuid>,
        text: &mut Vec<u8>,
    ) -> Result<Option<(Option<TaskId>, usize)>, Fault> {
        let nodes = self.rack.nodes_after(last, &self.nodes, IN_A_PIECE).await?;
        if nodes.is_empty() {
            text.extend(b"],\"tasks\":[");
            return Ok(Some((None, 0)));
        }
        let mut seen = last;
        for node in &nodes {
            add(text, seen.is_some(), &record::full(node, &self.base));
            seen = Some(node.uuid);
            if text.len() >= PIECE {
                break;
            }
        }
        let part = Part::Nodes(seen);
        self.phase = Phase::Snapshot { at, part };
        Ok(None)
    }

    /// Running tasks older than `last`, of which `shown` were shown; where there are none more the
    /// snapshot ends.
    async fn tasks(
        &mut self,
        at: EventId,
        mut last: Option<TaskId>,
        mut shown: usize,
        text: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let most = IN_A_PIECE.min(SNAPSHOT_TASKS - shown);
        let tasks = match most {
            0 => Vec::new(),
            _ => self.rack.active_tasks(last, &self.nodes, most).await?,
        };
        if tasks.is_empty() {
            text.extend(b"]}\n\n");
            self.phase = Phase::Following { since: at };
            return Ok(());
        }
        for task in &tasks {
            add(text, shown > 0, task);
            (last, shown) = (Some(task.id), shown + 1);
            if text.len() >= PIECE {
                break;
            }
        }
        let part = Part::Tasks { last, shown };
        self.phase = Phase::Snapshot { at, part };
        Ok(())
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

/// One more member of a list, behind others where there are any.
fn add(text: &mut Vec<u8>, others: bool, member: &impl Serialize) {
    if others {
        text.push(b',');
    }
    *text = write_json(std::mem::take(text), member);
}

/// One event on the wire. JSON holds no line break, so one `data:` line carries it.
fn sent(kind: &str, id: EventId, data: &impl Serialize) -> String {
    let text = format!("id: {id}\nevent: {kind}\ndata: ").into_bytes();
    let mut text = write_visible_json(text, data);
    text.extend(b"\n\n");
    String::from_utf8(text).expect("JSON is text")
}
