//! Snapshots of what a rack holds, for those who ask: plain data, complete, with ages and calendar times worked out.
//!
//! Made by `rack`, carried by [`call::Answer`](super::call::Answer), shown by `api`. Nothing here is ever read back.

use super::call::{BatchId, OnFailure, PowerState, PowerTarget, TaskId, Who};
use crate::bmc::vocabulary::{BootDevice, Power, Trouble};
use crate::power::{Control, Operation, Target};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// One node as it is shown. What its configuration says is shared with the rack, not copied: a list of them is asked
/// for every second by somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Its name.
    pub name: Arc<str>,
    /// Its uuid.
    pub uuid: Uuid,
    /// The rack's name.
    pub rack: Arc<str>,
    /// The groups it is in.
    pub groups: Arc<[String]>,
    /// Since when the daemon knows it.
    pub created_at: WallTime,
    /// When what is shown last changed.
    pub updated_at: Option<WallTime>,
    /// The power state shown.
    pub power_state: PowerState,
    /// What a running task leads to.
    pub target_power_state: Option<Target>,
    /// What went wrong last; cleared when the next operation begins.
    pub last_error: Option<String>,
    /// Maintenance.
    pub maintenance: Option<HoldView>,
    /// `power failure` while the BMC does not answer.
    pub fault: Option<String>,
    /// The targets it takes.
    pub supported_power_states: Vec<PowerTarget>,
    /// The last reading of the power state and how old it is.
    pub reading: Option<ReadingView>,
    /// The task that has the node.
    pub task: Option<TaskId>,
    /// Its BMC.
    pub bmc: BmcView,
}

/// A reading and its age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadingView {
    /// What was read.
    pub power: Power,
    /// When.
    pub at: WallTime,
    /// How long ago.
    pub age: Duration,
}

/// A BMC in short.
#[derive(Clone, Debug, PartialEq)]
pub struct BmcView {
    /// Host name or address as configured.
    pub address: Arc<str>,
    /// UDP port.
    pub port: u16,
    /// The user we log in as.
    pub username: Arc<str>,
    /// The privilege asked for, in words.
    pub privilege: Arc<str>,
    /// How it is with it: `ready`, `idle`, `connecting`, or what the trouble is.
    pub health: &'static str,
    /// The trouble, if any.
    pub trouble: Option<Trouble>,
    /// The trouble in words.
    pub trouble_text: Option<String>,
    /// The cipher suite in use or last used.
    pub cipher_suite: Option<u8>,
    /// The smoothed round trip.
    pub round_trip: Option<Duration>,
}

/// A hold and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldView {
    /// Why.
    pub reason: Option<String>,
    /// Who said so.
    pub by: String,
    /// Since when.
    pub since: WallTime,
}

/// A task's state (design, section 4).
pub type TaskState = crate::power::State;

/// One task as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// Grows with every change.
    pub version: u64,
    /// The rack's name.
    pub rack: String,
    /// The node's name.
    pub node: String,
    /// The node's uuid.
    pub node_uuid: Uuid,
    /// The batch it belongs to.
    pub batch: Option<BatchId>,
    /// What it does.
    pub operation: Operation,
    /// How it stands.
    pub state: TaskState,
    /// What it does at the moment, in words.
    pub phase: String,
    /// The present step, from 1.
    pub step: u32,
    /// All steps.
    pub steps: u32,
    /// What `target_power_state` shows for it.
    pub target_power_state: Option<Target>,
    /// Who asked.
    pub requested_by: Who,
    /// When.
    pub requested_at: WallTime,
    /// When it left the queue.
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub ended_at: Option<WallTime>,
    /// Time since it began, suspensions included; only the patience stands still meanwhile.
    pub elapsed: Duration,
    /// Patience left.
    pub time_left: Option<Duration>,
    /// The power state read at the start.
    pub power_at_start: Option<Power>,
    /// The power state read last.
    pub power: Option<Power>,
    /// Every order sent, with its answer.
    pub orders: Vec<OrderView>,
    /// How it ended, in words.
    pub outcome: Option<String>,
    /// The controls used on it.
    pub controls: Vec<ControlView>,
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

/// An order as a task shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderView {
    /// What was asked.
    pub order: String,
    /// When.
    pub at: WallTime,
    /// When the answer came.
    pub answered_at: Option<WallTime>,
    /// The answer in words; `None` while it is awaited.
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

/// A control as a task shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlView {
    /// Which.
    pub control: Control,
    /// Who.
    pub by: String,
    /// When.
    pub at: WallTime,
}

/// One batch as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchView {
    /// Its id; of a dry run too, though nothing is kept of it.
    pub id: BatchId,
    /// Grows with every change.
    pub version: u64,
    /// The rack's name.
    pub rack: String,
    /// What it does.
    pub operation: Operation,
    /// `running`, `suspended`, `stopped` (a failure ended it), `ended`, or `planned` for a dry run.
    pub state: String,
    /// Who asked.
    pub requested_by: Who,
    /// When.
    pub requested_at: WallTime,
    /// When the last task ended.
    pub ended_at: Option<WallTime>,
    /// How many nodes at once.
    pub max_parallel: u32,
    /// Time between starts.
    pub stagger: Duration,
    /// What a failure means.
    pub on_failure: OnFailure,
    /// Every node, in the order of starting.
    pub nodes: Vec<BatchNodeView>,
    /// How many tasks there are in each state.
    pub counts: std::collections::BTreeMap<String, u32>,
}

/// One node of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNodeView {
    /// Its name.
    pub node: String,
    /// Its task (none in a dry run).
    pub task: Option<TaskId>,
    /// The task's state in words, or what the look at the node found.
    pub state: String,
    /// What was found or went wrong.
    pub note: Option<String>,
    /// In a dry run: when it would begin, from the start.
    pub begins_after: Option<Duration>,
    /// In a dry run: how long it would take at most.
    pub takes_at_most: Option<Duration>,
    /// In a dry run: the orders it would be sent.
    pub plan: Vec<String>,
}

/// A position in the stream of events: the life of the daemon, and a number in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId {
    /// Which life of the daemon.
    pub epoch: u64,
    /// The event's number in it, from 1.
    pub sequence: u64,
}

/// `<epoch>-<sequence>` with the epoch in hexadecimal.
impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.sequence)
    }
}

impl std::str::FromStr for EventId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('-').and_then(|(epoch, sequence)| {
            Some(EventId {
                epoch: u64::from_str_radix(epoch, 16).ok()?,
                sequence: sequence.parse().ok()?,
            })
        });
        parts.ok_or_else(|| format!("'{text}' is no event id: it looks like 18c2f-42"))
    }
}

/// A stretch of the stream of events.
#[derive(Clone, Debug, PartialEq)]
pub struct EventsView {
    /// The events, oldest first; empty when the wait ran out.
    pub events: Vec<EventView>,
    /// Where to go on: pass it as `since`.
    pub next: EventId,
    /// The position asked for is gone (another life of the daemon, or too far behind): events were missed, read
    /// everything anew and go on from `next`.
    pub reset: bool,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventView {
    /// Its position.
    pub id: EventId,
    /// When.
    pub at: WallTime,
    /// What kind: `task`, `node`, `batch`, `rack`.
    pub kind: &'static str,
    /// The node it is about.
    pub node: Option<String>,
    /// What happened, in words.
    pub text: String,
    /// The task after the event, for `task` events.
    pub task: Option<Box<TaskView>>,
    /// The power state shown after the event, for `node` events.
    pub power_state: Option<PowerState>,
}

/// What happened to a node once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: WallTime,
    /// `task`, `drift`, `fault`, `recovered`, `maintenance`, ...
    pub kind: String,
    /// What.
    pub text: String,
    /// The task.
    pub task: Option<TaskId>,
    /// Who.
    pub by: Option<String>,
    /// Whether it was a failure.
    pub error: bool,
}

/// All that is known of a node's BMC.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The node.
    pub node: NodeView,
    /// Headed lines: what is known and where it comes from.
    pub facts: Vec<(String, String)>,
    /// The last failures, newest first.
    pub failures: Vec<(WallTime, String)>,
    /// Boot device override last read.
    pub boot_device: Option<BootDevice>,
}

/// Figures about the daemon itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthView {
    /// The rack's name.
    pub rack: String,
    /// Nodes.
    pub nodes: u32,
    /// Tasks that have not ended.
    pub active_tasks: u32,
    /// BMCs in trouble.
    pub troubled: u32,
    /// Since when the daemon runs.
    pub started_at: WallTime,
    /// Why the journal cannot be written, if so.
    pub store_trouble: Option<String>,
    /// The pause, if any.
    pub pause: Option<HoldView>,
}
