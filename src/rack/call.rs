//! What may be asked of a [`Rack`](crate::rack) and what it answers: the words between `api` and `rack`.
//!
//! Every [`Call`] brings exactly one [`Answer`] or [`Refused`]; some (waits, NMI, fresh readings) bring it later.
//! Views are snapshots: plain data, complete, with ages and calendar times already worked out.

use crate::bmc::vocabulary::{BootDevice, Order, Power, Trouble};
use crate::power::{Control, OnSoftTimeout, Operation, Target};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// What one call is known by, chosen by whoever makes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);
/// A task's id, unique over racks (a version 7 uuid: sorts by time of request).
pub type TaskId = Uuid;
/// A batch's id, of the same kind.
pub type BatchId = Uuid;

/// Who asks: goes into tasks, messages and the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Who {
    /// The name to show: a user of http_basic, a login name, `uid 1000`, or `rackbmcd` itself.
    pub name: String,
    /// User id of the peer of a Unix socket.
    pub uid: Option<u32>,
    /// Group id of the same.
    pub gid: Option<u32>,
    /// Process id of the same.
    pub pid: Option<i32>,
    /// The request id that the answer's header carries.
    pub request: String,
}

/// The nine power targets of Ironic's API as this daemon extends it (design, section 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum PowerTarget {
    /// Switch on.
    #[serde(rename = "power on")]
    PowerOn,
    /// Switch off hard.
    #[serde(rename = "power off")]
    PowerOff,
    /// Off hard, then on.
    #[serde(rename = "rebooting")]
    Rebooting,
    /// Shut the operating system down, then on.
    #[serde(rename = "soft rebooting")]
    SoftRebooting,
    /// Shut the operating system down.
    #[serde(rename = "soft power off")]
    SoftPowerOff,
    /// Diagnostic interrupt.
    #[serde(rename = "inject nmi")]
    InjectNmi,
    /// Take a soft reboot back.
    #[serde(rename = "abort soft rebooting")]
    AbortSoftRebooting,
    /// Take a soft power off back.
    #[serde(rename = "abort soft power off")]
    AbortSoftPowerOff,
    /// Stop following an NMI.
    #[serde(rename = "abort inject nmi")]
    AbortInjectNmi,
}

impl PowerTarget {
    /// All nine, in the order of the specification's examples.
    pub const ALL: [PowerTarget; 9] = [
        PowerTarget::PowerOn,
        PowerTarget::PowerOff,
        PowerTarget::Rebooting,
        PowerTarget::SoftRebooting,
        PowerTarget::SoftPowerOff,
        PowerTarget::InjectNmi,
        PowerTarget::AbortSoftRebooting,
        PowerTarget::AbortSoftPowerOff,
        PowerTarget::AbortInjectNmi,
    ];

    /// The words of the API.
    pub fn words(self) -> &'static str {
        match self {
            PowerTarget::PowerOn => "power on",
            PowerTarget::PowerOff => "power off",
            PowerTarget::Rebooting => "rebooting",
            PowerTarget::SoftRebooting => "soft rebooting",
            PowerTarget::SoftPowerOff => "soft power off",
            PowerTarget::InjectNmi => "inject nmi",
            PowerTarget::AbortSoftRebooting => "abort soft rebooting",
            PowerTarget::AbortSoftPowerOff => "abort soft power off",
            PowerTarget::AbortInjectNmi => "abort inject nmi",
        }
    }

    /// The target that `words` name; case and blanks matter, as in Ironic.
    pub fn from_words(words: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.words() == words)
    }
}

/// What `power_state` shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum PowerState {
    /// Read as on.
    #[serde(rename = "power on")]
    On,
    /// Read as off.
    #[serde(rename = "power off")]
    Off,
    /// A soft operation was aborted or failed; lasts until the next periodic sync.
    #[serde(rename = "error")]
    Error,
    /// Never read, or not readable since: null in JSON.
    #[default]
    #[serde(rename = "unknown")]
    Unknown,
}

impl From<Power> for PowerState {
    fn from(power: Power) -> Self {
        match power {
            Power::On => PowerState::On,
            Power::Off => PowerState::Off,
        }
    }
}

/// What a request may ask beside the operation itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wishes {
    /// Patience of the whole operation; the node's own setting where `None`.
    pub timeout: Option<Duration>,
    /// What to do when the operating system does not go down in time.
    pub on_soft_timeout: Option<OnSoftTimeout>,
    /// Press the button once more after so long.
    pub repeat_soft_after: Option<Duration>,
    /// Switch off hard after so long.
    pub hard_after: Option<Duration>,
}

/// A batch as it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchRequest {
    /// What to do.
    pub operation: Operation,
    /// Names or uuids of nodes; never empty (rule 7).
    pub nodes: Vec<String>,
    /// How.
    pub wishes: Wishes,
    /// How many nodes at once; 0 is as many as the rack allows.
    pub max_parallel: u32,
    /// Time between the starts of two nodes.
    pub stagger: Duration,
    /// What a failure of one node means for those that have not begun.
    pub on_failure: OnFailure,
    /// Groups in the order in which they are taken; nodes of none of them come last.
    pub order: Vec<String>,
    /// Only look, log in and plan.
    pub dry_run: bool,
}

/// What a batch does when a node fails.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Go on with the others.
    #[default]
    Continue,
    /// Begin no further node.
    Stop,
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// All nodes.
    Nodes,
    /// One node, by name or uuid.
    Node(String),
    /// One node, after reading its power state from the BMC (answered within 5 s; the view says what came of it).
    FreshNode(String),
    /// Ironic's `PUT states/power`: start an operation, or abort one.
    SetPower {
        /// Name or uuid.
        node: String,
        /// One of the nine.
        target: PowerTarget,
        /// Patience.
        wishes: Wishes,
        /// Who asks.
        who: Who,
    },
    /// Start an operation as a task (the same, with reset and cycle, and answered with the task).
    Start {
        /// Name or uuid.
        node: String,
        /// What.
        operation: Operation,
        /// How.
        wishes: Wishes,
        /// Who asks.
        who: Who,
    },
    /// Inject an NMI and answer when the BMC has answered it (within 5 s); the watching goes on as a task.
    InjectNmi {
        /// Name or uuid.
        node: String,
        /// Who asks.
        who: Who,
    },
    /// Use a control on a task.
    Control {
        /// Which task.
        task: TaskId,
        /// Which control.
        control: Control,
        /// Who asks.
        who: Who,
    },
    /// All tasks that are remembered, newest first.
    Tasks {
        /// Of this node alone.
        node: Option<String>,
        /// Of this batch alone.
        batch: Option<BatchId>,
        /// Only those that have not ended.
        active: bool,
        /// At most so many.
        limit: usize,
    },
    /// One task.
    Task(TaskId),
    /// One task, answered when its `version` is above the one given or so much time has passed.
    AwaitTask {
        /// Which.
        task: TaskId,
        /// The version that the asker has seen; `None` waits for the end of the task.
        version: Option<u64>,
        /// How long at most.
        wait: Duration,
    },
    /// Start a batch (or plan it).
    StartBatch {
        /// What.
        request: BatchRequest,
        /// Who asks.
        who: Who,
    },
    /// All batches that are remembered, newest first.
    Batches,
    /// One batch.
    Batch(BatchId),
    /// One batch, answered when it has ended or so much time has passed.
    AwaitBatch {
        /// Which.
        batch: BatchId,
        /// How long at most.
        wait: Duration,
    },
    /// Use a control on all tasks of a batch, or on those of some nodes.
    ControlBatch {
        /// Which batch.
        batch: BatchId,
        /// Which control.
        control: Control,
        /// These nodes alone; all where empty.
        nodes: Vec<String>,
        /// Who asks.
        who: Who,
    },
    /// Events after a position, answered at once if there are any, else when one comes or so much time has passed.
    Events {
        /// The last event seen, `None` to begin with the next one.
        since: Option<EventId>,
        /// Of these nodes alone; all where empty.
        nodes: Vec<String>,
        /// How long at most.
        wait: Duration,
        /// At most so many at once.
        limit: usize,
    },
    /// Take a node into maintenance.
    SetMaintenance {
        /// Name or uuid.
        node: String,
        /// Into (`Some`, with or without a reason) or out of it.
        hold: Option<Option<String>>,
        /// Who asks.
        who: Who,
    },
    /// Suspend everything and refuse new tasks until released.
    Pause {
        /// Why.
        reason: String,
        /// Who asks.
        who: Who,
    },
    /// End the pause.
    Release {
        /// Who asks.
        who: Who,
    },
    /// Is the rack paused, and why.
    Pausing,
    /// Carry out one order now, outside any task: identify, boot device, raw command, power use and the like.
    Order {
        /// Name or uuid.
        node: String,
        /// One that does not change power.
        order: Order,
        /// Who asks.
        who: Who,
    },
    /// Forget failed log-ins and an open breaker of a BMC: try again.
    Retry {
        /// Name or uuid.
        node: String,
        /// Who asks.
        who: Who,
    },
    /// What is known of a node's BMC and why, in full.
    Explain(String),
    /// What happened to a node: ended tasks, drifts, faults, newest first.
    History {
        /// Name or uuid.
        node: String,
        /// At most so many.
        limit: usize,
    },
    /// Figures about the daemon itself.
    Health,
}

/// What a call brings.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "answers are made once and moved once"
)]
pub enum Answer {
    /// To `Nodes`.
    Nodes(Vec<NodeView>),
    /// To `Node`, `FreshNode`, `SetMaintenance`, `Retry`.
    Node(NodeView),
    /// To `SetPower`: taken. The task that it started or aborted, `None` where there was nothing to abort.
    Taken(Option<TaskView>),
    /// To `Start`, `Control`, `Task`, `AwaitTask`, `InjectNmi`.
    Task(TaskView),
    /// To `Tasks`.
    Tasks(Vec<TaskView>),
    /// To `StartBatch`, `Batch`, `AwaitBatch`, `ControlBatch`.
    Batch(BatchView),
    /// To `Batches`.
    Batches(Vec<BatchView>),
    /// To `Events`.
    Events(EventsView),
    /// To `Pause`, `Release`, `Pausing`.
    Pausing(Option<HoldView>),
    /// To `Order`.
    Reading(crate::bmc::vocabulary::Reading),
    /// To `Explain`.
    Explanation(Box<Explanation>),
    /// To `History`.
    History(Vec<HistoryEntry>),
    /// To `Health`.
    Health(HealthView),
}

/// Why a call was not done. The HTTP status is chosen in `api`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// No such node. Ironic's words.
    #[error("Node {0} could not be found.")]
    NoSuchNode(String),
    /// No such task.
    #[error("task {0} could not be found: it never was, or its history has run out")]
    NoSuchTask(TaskId),
    /// No such batch.
    #[error("batch {0} could not be found: it never was, or its history has run out")]
    NoSuchBatch(BatchId),
    /// Another task has the node. Ironic's words.
    #[error(
        "Node {node} is locked by host {host}, please retry after the current operation is completed."
    )]
    Locked {
        /// The node's uuid.
        node: String,
        /// This rack's name.
        host: String,
        /// The task that has it.
        task: TaskId,
    },
    /// This node does not have that target.
    #[error("node {node} does not support '{target}': {why}")]
    NotSupported {
        /// The node's name.
        node: String,
        /// The target's words.
        target: String,
        /// Why.
        why: String,
    },
    /// Not in the node's present state. Ironic's words, with the reason.
    #[error(
        "The requested action \"{action}\" can not be performed on node \"{node}\" while it is in state \"{state}\". {why}"
    )]
    WrongState {
        /// What was asked.
        action: String,
        /// The node's name.
        node: String,
        /// Its state.
        state: String,
        /// What to do instead.
        why: String,
    },
    /// The node is held back.
    #[error("node {node} is in maintenance: {reason}")]
    Maintenance {
        /// The node's name.
        node: String,
        /// Why.
        reason: String,
    },
    /// The rack is paused.
    #[error("the rack is paused by {by}: {reason}; release it first")]
    Paused {
        /// Who paused it.
        by: String,
        /// Why.
        reason: String,
    },
    /// A control that the task does not allow now.
    #[error("{why}")]
    Control {
        /// The control's name.
        control: String,
        /// Why, and what is still possible.
        why: String,
        /// The task as it is.
        task: Box<TaskView>,
    },
    /// A value that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The journal cannot be written.
    #[error("no new task is taken: the journal cannot be written: {0}")]
    Store(String),
    /// The daemon is going down.
    #[error("the daemon is shutting down; ask again when it is back")]
    Stopping,
    /// The BMC said no.
    #[error("node {node}: {what} was refused by its BMC: {text} (completion code {code:#04x})")]
    Bmc {
        /// The node's name.
        node: String,
        /// The order.
        what: String,
        /// The completion code in words.
        text: String,
        /// The completion code.
        code: u8,
    },
    /// The BMC did not answer.
    #[error("node {node}: {what}: {text}")]
    Unanswered {
        /// The node's name.
        node: String,
        /// The order.
        what: String,
        /// What stands in the way.
        trouble: Trouble,
        /// It in words.
        text: String,
    },
    /// Too much is waiting already.
    #[error("node {0}: too many requests are waiting for its BMC; try again")]
    Crowded(String),
}

/// One node as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its uuid.
    pub uuid: Uuid,
    /// The rack's name.
    pub rack: String,
    /// The groups it is in.
    pub groups: Vec<String>,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BmcView {
    /// Host name or address as configured.
    pub address: String,
    /// UDP port.
    pub port: u16,
    /// The user we log in as.
    pub username: String,
    /// The privilege asked for, in words.
    pub privilege: String,
    /// How it is with it: `ready`, `idle`, `connecting`, or what the trouble is.
    pub health: String,
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
    /// Time spent, without the time suspended.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
