//! A batch: tasks over many nodes under one policy, as it is shown and as it is asked for.

use super::words::{Word, Words, words};
use super::{BatchId, Node, OnFailure, Operation, TaskId, TaskState, Who, seconds, stamp};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// One batch: `GET /v1/batches/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// Its id; of a dry run too, though nothing is kept of it.
    pub id: BatchId,
    /// Grows with every change.
    pub version: u64,
    /// The rack's name.
    pub rack: String,
    /// What it does.
    pub operation: Word<Operation>,
    /// How it stands.
    pub state: Word<BatchState>,
    pub requested_by: Who,
    #[serde(with = "stamp")]
    pub requested_at: WallTime,
    /// When the last task ended.
    #[serde(with = "stamp::maybe")]
    pub ended_at: Option<WallTime>,
    /// How many nodes at once.
    pub max_parallel: u32,
    /// Time between the starts of two nodes.
    #[serde(with = "seconds")]
    pub stagger: Duration,
    /// What a failure means.
    pub on_failure: Word<OnFailure>,
    /// Every node, in the order of starting.
    pub nodes: Vec<BatchNode>,
    /// How many nodes are not shown, because the list of batches would be too long: a batch that is
    /// asked for by its id has them all.
    pub nodes_left_out: u32,
    /// How many nodes there are in each state.
    pub counts: BTreeMap<String, u32>,
}

words! {
    /// How a batch stands.
    pub enum BatchState ("state of a batch") {
        /// Tasks of it have not ended.
        Running = "running",
        /// All of its tasks that have not ended stand still.
        Suspended = "suspended",
        /// A failure ended it.
        Stopped = "stopped",
        /// All of its tasks have ended.
        Ended = "ended",
        /// A dry run: nothing was or will be done.
        Planned = "planned",
    }
}

/// One node of a batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchNode {
    pub node: String,
    /// Its task (null in a dry run, and of a busy node that was left as it is).
    pub task: Option<TaskId>,
    /// The task's state, or what the look at the node found.
    pub state: Word<BatchNodeState>,
    /// What was found or went wrong.
    pub note: Option<String>,
    /// Why it refused the control that was used on the batch last.
    pub refused: Option<String>,
    /// In a dry run: when it would begin, from the start.
    #[serde(with = "seconds::maybe")]
    pub begins_after: Option<Duration>,
    /// In a dry run: how long it would take at most.
    #[serde(with = "seconds::maybe")]
    pub takes_at_most: Option<Duration>,
    /// In a dry run: the orders it would be sent.
    pub plan: Vec<String>,
}

impl BatchNode {
    /// How much memory it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.note, &self.refused].into_iter().flatten();
        size_of::<Self>() + self.node.len() + texts.map(String::len).sum::<usize>()
    }
}

/// How one node of a batch stands: as its task does, or as the look at it found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchNodeState {
    /// As its task.
    Task(TaskState),
    /// Its task has ended and is remembered no more.
    Forgotten,
    /// As a dry run found it.
    Found(Prospect),
}

words! {
    /// What would come of a node: the finding of a dry run.
    pub enum Prospect ("finding of a dry run") {
        /// It can be done.
        Ready = "ready",
        /// The node is as it is wanted.
        NothingToDo = "nothing to do",
        /// It would not be begun.
        Refused = "refused",
        /// Another task has it, and it is left as it is.
        Busy = "busy",
        /// The node's power state could not be read.
        Unreachable = "unreachable",
    }
}

impl Words for BatchNodeState {
    const WHAT: &'static str = "state of a node of a batch";

    fn word(self) -> &'static str {
        match self {
            Self::Task(state) => state.name(),
            Self::Forgotten => "forgotten",
            Self::Found(prospect) => prospect.name(),
        }
    }

    fn all() -> Vec<Self> {
        let states = TaskState::ALL.into_iter().map(BatchNodeState::Task);
        let found = Prospect::ALL.into_iter().map(BatchNodeState::Found);
        states.chain([Self::Forgotten]).chain(found).collect()
    }
}

/// `GET /v1/batches`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchList {
    /// Newest first.
    pub batches: Vec<Batch>,
}

/// Body of `POST /v1/readings`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingsRequest {
    /// By name, uuid, set or group. An empty list is a mistake.
    pub nodes: Vec<String>,
    /// Not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// A line of the answer to `POST /v1/readings`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FreshReading {
    /// Whether the power state was read after it was asked for. Else the node shows what is known,
    /// and why.
    pub fresh: bool,
    pub node: Node,
}

/// Body of `POST /v1/batches/{id}/{control}`; an empty body is the whole batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchControl {
    /// These nodes alone, by name, uuid, set or group; the whole batch where absent. An empty list
    /// is a mistake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<String>>,
}
