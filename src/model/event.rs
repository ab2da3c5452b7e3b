//! What happens: the stream of events.

use super::words::{Word, words};
use super::{BatchId, Operation, Power, PowerState, Target, TaskId, TaskState, stamp};
use crate::time::WallTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A position in the stream of events: the life of the daemon, and a number in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EventId {
    /// Which life of the daemon.
    pub epoch: u64,
    /// The event's number in it, from 1.
    pub sequence: u64,
}

/// `<epoch>-<sequence>` with the epoch in hexadecimal.
impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.sequence)
    }
}

impl FromStr for EventId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('-').and_then(|(epoch, sequence)| {
            Some(Self {
                epoch: u64::from_str_radix(epoch, 16).ok()?,
                sequence: sequence.parse().ok()?,
            })
        });
        parts.ok_or_else(|| format!("'{text}' is no event id: it looks like 18c2f-42"))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A stretch of the stream of events: `GET /v1/events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    /// Oldest first; empty when the wait ran out.
    pub events: Vec<Event>,
    /// Where to go on: pass it as `since=`.
    pub next: EventId,
    /// Events were missed (another life of the daemon, or too far behind): read everything anew and
    /// go on from `next`.
    pub reset: bool,
}

/// One event; also the `data:` of a server-sent one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    pub id: EventId,
    #[serde(with = "stamp")]
    pub at: WallTime,
    /// What it is about.
    pub kind: Word<EventKind>,
    /// The node it is about.
    pub node: Option<String>,
    /// What happened, in words.
    pub text: String,
    /// The task after the event, where it is about one.
    pub task: Option<Box<TaskNews>>,
    /// The power state after the event, where it is about that.
    pub power_state: PowerState,
}

/// What an event says of a task: what it has come to. `GET /v1/tasks/{id}` has the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskNews {
    pub id: TaskId,
    /// Its version after the event.
    pub version: u64,
    /// The node's uuid.
    pub node_uuid: Uuid,
    /// The batch it belongs to.
    pub batch: Option<BatchId>,
    /// What it does.
    pub operation: Word<Operation>,
    /// How it stands.
    pub state: Word<TaskState>,
    /// Whether it has ended.
    pub ended: bool,
    /// What it does, in words.
    pub phase: String,
    /// The present step, from 1.
    pub step: u32,
    /// All steps.
    pub steps: u32,
    /// What `target_power_state` of the node shows for it.
    pub target_power_state: Option<Word<Target>>,
    /// The power state read last.
    pub power_state: Option<Word<Power>>,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

words! {
    /// What an event is about.
    pub enum EventKind ("kind of event") {
        Task = "task",
        Node = "node",
        Batch = "batch",
        /// The rack as a whole.
        Rack = "rack",
        /// In a stream of server-sent events: events were missed.
        Reset = "reset",
    }
}
