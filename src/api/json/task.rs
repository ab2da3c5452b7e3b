//! Tasks, batches and events as bodies.

use super::Seconds;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requester {
    /// The name to show.
    pub name: String,
    /// User id of the peer of a Unix socket.
    pub uid: Option<u32>,
    /// Group id of the same.
    pub gid: Option<u32>,
    /// Process id of the same.
    pub pid: Option<i32>,
    /// The request id that the answer's header carried.
    pub request: String,
}

/// One task: `GET /v1/tasks/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Grows with every change; pass it as `version=` to wait for the next one.
    pub version: u64,
    /// The rack's name.
    pub rack: String,
    /// The node's name.
    pub node: String,
    /// The node's uuid.
    pub node_uuid: String,
    /// The batch it belongs to.
    pub batch: Option<String>,
    /// What it does: `power on`, `power off`, `rebooting`, `soft power off`, `soft rebooting`, `inject nmi`, `reset`,
    /// `cycle`.
    pub operation: String,
    /// `queued`, `running`, `suspended`, `aborting`, `rolling back`, or an end: `succeeded`, `failed`, `aborted`,
    /// `cancelled`, `rolled back`, `stuck`.
    pub state: String,
    /// Whether it has ended.
    pub ended: bool,
    /// What it does at the moment, in words.
    pub phase: String,
    /// The present step, from 1.
    pub step: u32,
    /// All steps.
    pub steps: u32,
    /// What `target_power_state` of the node shows for it.
    pub target_power_state: Option<String>,
    /// Who asked.
    pub requested_by: Requester,
    /// When.
    pub requested_at: String,
    /// When it left the queue.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Seconds since it began, suspensions included; only the patience stands still meanwhile.
    pub elapsed: f64,
    /// Seconds of patience left.
    pub time_left: Option<f64>,
    /// The power state read at the start.
    pub power_at_start: Option<String>,
    /// The power state read last.
    pub power_state: Option<String>,
    /// Every order sent, with its answer.
    pub orders: Vec<OrderUse>,
    /// How it ended, in words.
    pub outcome: Option<String>,
    /// The controls used on it.
    pub controls: Vec<ControlUse>,
    /// May it be aborted now.
    pub may_abort: bool,
    /// May it be cancelled now.
    pub may_cancel: bool,
    /// May it be rolled back now.
    pub may_rollback: bool,
    /// May it be suspended now.
    pub may_suspend: bool,
    /// May it be resumed now.
    pub may_resume: bool,
}

/// An order that a task sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderUse {
    /// What was asked.
    pub order: String,
    /// When.
    pub at: String,
    /// When the answer came.
    pub answered_at: Option<String>,
    /// The answer in words; null while it is awaited.
    pub answer: Option<String>,
    /// The completion code, where the BMC refused.
    pub completion_code: Option<u8>,
    /// Whether it changes the machine's power.
    pub changes_power: bool,
    /// Whether it reached the network, or may have: until then it waits, or never left.
    pub left: bool,
    /// For how many equal readings with equal answers in a row this stands.
    pub times: u32,
}

/// A control that was used on a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlUse {
    /// `abort`, `cancel`, `rollback`, `suspend`, `resume`.
    pub control: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: String,
}

/// `GET /v1/tasks` and `/v1/nodes/{ident}/tasks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskList {
    /// Newest first.
    pub tasks: Vec<Task>,
}

/// Body of `POST /v1/tasks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskStart {
    /// Name or uuid.
    pub node: String,
    /// What to do, in the words of [`Task::operation`].
    pub operation: String,
    /// Patience for the whole operation; the node's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
    /// `fail` or `hard power off`: what to do when the operating system does not go down in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_soft_timeout: Option<String>,
    /// Press the button once more after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_soft_after: Option<Seconds>,
    /// Switch off hard after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_after: Option<Seconds>,
}

/// Body of `POST /v1/batches`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchStart {
    /// Names or uuids; never empty.
    pub nodes: Vec<String>,
    /// What to do, in the words of [`Task::operation`].
    pub operation: String,
    /// Patience for each node's operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
    /// As in [`TaskStart`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_soft_timeout: Option<String>,
    /// As in [`TaskStart`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_soft_after: Option<Seconds>,
    /// As in [`TaskStart`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_after: Option<Seconds>,
    /// How many nodes at once; 0 or absent is as many as the rack allows.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::whole::maybe"
    )]
    pub max_parallel: Option<u32>,
    /// Time between the starts of two nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stagger: Option<Seconds>,
    /// `continue` or `stop`: what a failure means for the nodes that have not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// Groups in the order in which they are taken; nodes of none of them come last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    /// Only look, log in and plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Body of `POST /v1/batches/{id}/{control}`; an empty body is the whole batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchControl {
    /// These nodes alone; the whole batch where absent. An empty list is a mistake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<String>>,
}

/// One batch: `GET /v1/batches/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// Its id.
    pub id: String,
    /// Grows with every change.
    pub version: u64,
    /// The rack's name.
    pub rack: String,
    /// What it does.
    pub operation: String,
    /// `running`, `suspended`, `stopped` (a failure ended it), `ended`, or `planned` for a dry run.
    pub state: String,
    /// Who asked.
    pub requested_by: Requester,
    /// When.
    pub requested_at: String,
    /// When the last task ended.
    pub ended_at: Option<String>,
    /// How many nodes at once.
    pub max_parallel: u32,
    /// Seconds between the starts of two nodes.
    pub stagger: f64,
    /// `continue` or `stop`.
    pub on_failure: String,
    /// Every node, in the order of starting.
    pub nodes: Vec<BatchNode>,
    /// How many tasks there are in each state.
    pub counts: BTreeMap<String, u32>,
}

/// One node of a batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchNode {
    /// Its name.
    pub node: String,
    /// Its task (null in a dry run).
    pub task: Option<String>,
    /// The task's state, or what the look at the node found.
    pub state: String,
    /// What was found or went wrong.
    pub note: Option<String>,
    /// In a dry run: seconds from the start until it would begin.
    pub begins_after: Option<f64>,
    /// In a dry run: how many seconds it would take at most.
    pub takes_at_most: Option<f64>,
    /// In a dry run: the orders it would be sent.
    pub plan: Vec<String>,
}

/// `GET /v1/batches`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchList {
    /// Newest first.
    pub batches: Vec<Batch>,
}

/// A stretch of the stream of events: `GET /v1/events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    /// Oldest first; empty when the wait ran out.
    pub events: Vec<Event>,
    /// Where to go on: pass it as `since=`.
    pub next: String,
    /// Events were missed (another life of the daemon, or too far behind): read everything anew and go on from `next`.
    pub reset: bool,
}

/// One event; also the `data:` of a server-sent one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Its position: `<epoch>-<sequence>`.
    pub id: String,
    /// When.
    pub at: String,
    /// `task`, `node`, `batch`, `rack`; in a stream of server-sent events also `reset`.
    pub kind: String,
    /// The node it is about.
    pub node: Option<String>,
    /// What happened, in words.
    pub text: String,
    /// The task after the event.
    pub task: Option<Box<Task>>,
    /// The power state after the event, where it is about that.
    pub power_state: Option<String>,
}
