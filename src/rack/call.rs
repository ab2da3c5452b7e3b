//! What may be asked of a [`Rack`](crate::rack) and what it answers: the words between `api` and
//! `rack`.
//!
//! Every [`Call`] brings exactly one [`Answer`] or [`Refused`]; some (waits, NMI, fresh readings)
//! bring it later. Views are snapshots: plain data, complete, with ages and calendar times already
//! worked out.

use crate::bmc::vocabulary::Order;
use crate::model::{
    self, BatchId, BatchStart, Control, Delivery, EventId, Explanation, HistoryEntry, Operation,
    PowerOptions, Role, Short, TaskId, Trouble, Who,
};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// What one call is known by, chosen by whoever makes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);

/// What a sweep is known by: one reading of each of many nodes, for one asker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SweepId(pub u64);

/// How far a sweep has come.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepNews {
    /// The sweep that this tells of.
    pub sweep: SweepId,
    /// The nodes that were read since the asker looked last, or tried in vain. One that was taken
    /// out of the configuration meanwhile is left out.
    pub nodes: Vec<model::FreshReading>,
    /// How many nodes the asker has seen with these.
    pub seen: usize,
    /// Whether those are all.
    pub ended: bool,
}

/// A change of a node's power as Ironic asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PowerChange {
    /// A new task.
    Start(Operation),
    /// The end of the task that does so; none is fine.
    Abort(Operation),
}

impl fmt::Display for PowerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(operation) => write!(f, "{operation}"),
            Self::Abort(operation) => write!(f, "abort {operation}"),
        }
    }
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Something that is answered at once, from what is known.
    Look(Look),
    /// One node, after reading its power state from the BMC (answered within 5 s; the view says
    /// what came of it).
    FreshNode(String),
    /// Read the power state of each of these nodes. Answered at once, and as the readings come by
    /// [`Call::AwaitSweep`].
    Sweep {
        /// Names or uuids.
        nodes: Vec<String>,
    },
    /// The nodes of a sweep that were read by now: answered when there is one more, or after so
    /// much time.
    AwaitSweep {
        sweep: SweepId,
        /// How many of them the asker has seen.
        seen: usize,
        /// How long at most.
        wait: Duration,
    },
    /// Ironic's `PUT states/power`: start an operation, or abort one.
    SetPower {
        /// Name or uuid.
        node: String,
        /// What is wanted.
        change: PowerChange,
        options: PowerOptions,
        who: Who,
    },
    /// Start an operation as a task (the same, with reset and cycle, and answered with the task).
    Start {
        /// Name or uuid.
        node: String,
        /// The operation that is started.
        operation: Operation,
        /// Patience, and whatever else the request says.
        options: PowerOptions,
        who: Who,
    },
    /// Inject an NMI and answer when the BMC has answered it (within 5 s); the watching goes on as
    /// a task.
    InjectNmi {
        /// Name or uuid.
        node: String,
        who: Who,
    },
    /// Use a control on a task.
    Control {
        task: TaskId,
        control: Control,
        who: Who,
    },
    /// One task, answered when its `version` is above the one given or so much time has passed.
    AwaitTask {
        /// The task that is waited for.
        task: TaskId,
        /// The version that the asker has seen; `None` waits for the end of the task.
        version: Option<u64>,
        /// How long at most.
        wait: Duration,
    },
    /// Start a batch (or plan it).
    StartBatch { request: BatchStart, who: Who },
    /// Answered when a batch has ended or so much time has passed, and not with the batch: hundreds
    /// may wait, and it may have thousands of nodes.
    AwaitBatch {
        batch: BatchId,
        /// How long at most.
        wait: Duration,
    },
    /// Use a control on all tasks of a batch, or on those of some nodes.
    ControlBatch {
        batch: BatchId,
        control: Control,
        /// These nodes alone; all where empty.
        nodes: Vec<String>,
        who: Who,
    },
    /// Events after a position, answered at once if there are any, else when one comes or so much
    /// time has passed.
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
        who: Who,
    },
    /// Suspend everything and refuse new tasks until released.
    Pause { reason: String, who: Who },
    /// End the pause.
    Release { who: Who },
    /// Carry out one order now, outside any task: identify, boot device, raw command, power use and
    /// the like.
    Order {
        /// Name or uuid.
        node: String,
        /// An order that does not change power.
        order: Order,
        who: Who,
    },
    /// Forget failed log-ins and an open breaker of a BMC: try again.
    Retry {
        /// Name or uuid.
        node: String,
        who: Who,
    },
    /// The BMC that is there now shall be the node's, though it is another one than before.
    Accept {
        /// Name or uuid.
        node: String,
        /// The GUID of that BMC.
        guid: Uuid,
        /// Who says so.
        who: Who,
    },
    /// What happened to a node: ended tasks, drifts, faults, newest first.
    History {
        /// Name or uuid.
        node: String,
        /// At most so many.
        limit: usize,
    },
}

impl Call {
    /// How long it may wait for news.
    pub fn wait(&self) -> Duration {
        match self {
            Self::AwaitTask { wait, .. }
            | Self::AwaitBatch { wait, .. }
            | Self::AwaitSweep { wait, .. }
            | Self::Events { wait, .. } => *wait,
            _ => Duration::ZERO,
        }
    }

    /// Whether it changes something, and is answered with all that a batch has.
    pub fn tells_of_many(&self) -> bool {
        matches!(self, Self::StartBatch { .. } | Self::ControlBatch { .. })
    }

    /// Whether it begins tasks. What ends or holds one does not.
    pub fn begins_tasks(&self) -> bool {
        let start = |change: &PowerChange| matches!(change, PowerChange::Start(_));
        match self {
            Self::SetPower { change, .. } => start(change),
            call => matches!(call, Self::Start { .. } | Self::StartBatch { .. }),
        }
    }

    /// The same without the wait, of one that may wait.
    pub fn at_once(&self) -> Option<Self> {
        let mut call = self.clone();
        match &mut call {
            Self::AwaitTask { wait, .. }
            | Self::AwaitBatch { wait, .. }
            | Self::AwaitSweep { wait, .. }
            | Self::Events { wait, .. } => *wait = Duration::ZERO,
            _ => return None,
        }
        Some(call)
    }
}

/// What is answered at once, from what is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    Nodes,
    /// Some of the nodes, in the order in which they came to the rack: for whoever reads all of
    /// them in pieces.
    NodesAfter {
        /// The uuid of the last one that was read.
        after: Option<Uuid>,
        /// Names or uuids; all nodes where empty.
        of: Vec<String>,
        /// At most so many.
        limit: usize,
    },
    /// One node, by name or uuid.
    Node(String),
    /// All tasks that are remembered, newest first.
    Tasks {
        /// Of this node alone.
        node: Option<String>,
        /// Of this batch alone.
        batch: Option<BatchId>,
        /// Of this short id alone.
        short: Option<Short>,
        /// Only those that have not ended.
        active: bool,
        /// At most so many.
        limit: usize,
    },
    /// Some of the tasks that have not ended, newest first, in pieces likewise.
    ActiveTasks {
        /// The last one that was read.
        before: Option<TaskId>,
        /// Names or uuids of their nodes; all where empty.
        of: Vec<String>,
        /// At most so many.
        limit: usize,
    },
    Task(TaskId),
    /// Batches that are remembered, newest first.
    Batches {
        /// Of this short id alone.
        short: Option<Short>,
    },
    Batch(BatchId),
    /// Is the rack paused, and why.
    Pausing,
    /// What is known of a node's BMC and why, in full.
    Explain(String),
    /// The last datagrams of a node's BMC as text.
    Trace(String),
    /// Figures about the daemon itself.
    Health,
}

/// The task that a change of power started or aborted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The id of the task.
    pub task: TaskId,
    /// The id of its batch, where it is of one.
    pub batch: Option<BatchId>,
}

/// What a call brings.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "answers are made once and moved once"
)]
pub enum Answer {
    /// To `Nodes` and `NodesAfter`.
    Nodes(Vec<model::Node>),
    /// To `Node`, `FreshNode`, `SetMaintenance`, `Retry`, `Accept`.
    Node(model::Node),
    /// To `Sweep` and `AwaitSweep`.
    Sweep(SweepNews),
    /// To `SetPower`: taken. The task that it started or aborted, `None` where there was nothing to
    /// abort.
    Taken(Option<Taken>),
    /// To `Start`, `Control`, `Task`, `AwaitTask`, `InjectNmi`.
    Task(model::Task),
    /// To `Tasks` and `ActiveTasks`.
    Tasks(Vec<model::Task>),
    /// To `StartBatch`, `Batch`, `ControlBatch`.
    Batch(model::Batch),
    /// To `AwaitBatch`: the wait is over.
    Waited,
    /// To `Batches`.
    Batches(Vec<model::Batch>),
    /// To `Events`.
    Events(model::Events),
    /// To `Pause`, `Release`, `Pausing`.
    Pausing(Option<model::Hold>),
    /// To `Order`.
    Reading(crate::bmc::vocabulary::Reading),
    /// To `Explain`.
    Explanation(Box<Explanation>),
    /// To `Trace`.
    Trace(model::Trace),
    /// To `History`.
    History(Vec<HistoryEntry>),
    /// To `Health`.
    Health(model::Health),
}

/// Why a call was not done. The HTTP status is chosen in `api`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// No such node.
    #[error("node {0} could not be found")]
    NoSuchNode(String),
    /// Whoever asks has not the role for it.
    #[error("this needs the role {role}")]
    NotPermitted {
        role: Role,
        /// The nodes on which it is missing, where it is held on others.
        nodes: Vec<String>,
    },
    /// Several nodes of one request stand against it, each with its reason.
    #[error(
        "nothing was begun, because of {} of the {of} nodes: {}",
        refused.len() + left_out,
        in_words(refused, *left_out)
    )]
    Members {
        /// What each of them says.
        refused: Vec<Self>,
        /// How many more of them there are than are told.
        left_out: usize,
        /// How many nodes the request named.
        of: usize,
    },
    /// No such task.
    #[error("task {0} could not be found: it never was, or its history has run out")]
    NoSuchTask(TaskId),
    /// No such batch.
    #[error("batch {0} could not be found: it never was, or its history has run out")]
    NoSuchBatch(BatchId),
    /// Another task has the node.
    #[error("node {node} is busy.{detail}{}", left_in_words(*left))]
    Locked {
        /// The node's name.
        node: String,
        /// The node's uuid.
        uuid: Uuid,
        /// Where: the host that owns the rack; the rack's name, where it has one host.
        host: String,
        /// The task that has it.
        task: TaskId,
        /// What it does, for whom, and what to do about it; empty, or begins with a blank.
        detail: String,
        /// How long that lasts at most, as of now.
        left: Option<Duration>,
    },
    /// The configuration forbids it.
    #[error("node {node} takes no {operation}: the configuration says {key} = false for this node")]
    Forbidden {
        /// The node's name.
        node: String,
        /// What was asked.
        operation: Operation,
        /// The key of the configuration.
        key: &'static str,
    },
    /// Not in the node's present state.
    #[error("node {node} is in state {state}: {action} is not possible. {why}")]
    WrongState {
        /// What was asked.
        action: String,
        /// The node's name.
        node: String,
        state: String,
        /// What to do instead.
        why: String,
    },
    /// The node is held back.
    #[error("node {node} is in maintenance: {reason}")]
    Maintenance {
        /// The node's name.
        node: String,
        /// The reason of the maintenance, or who set it.
        reason: String,
    },
    /// What the journal says of the node cannot be read.
    #[error(
        "node {node} takes no order that changes power: the journal's entry {entry} cannot be read ({why}), and nobody \
         knows what is under way there. Look at the machine; then stop rackbmcd, discard the entry with 'rackbmcd \
         --discard {entry}', and start it again"
    )]
    Unreadable {
        /// The node's name.
        node: String,
        /// Table and key of the entry.
        entry: String,
        /// Why it cannot be read.
        why: String,
    },
    /// The rack is paused.
    #[error("the rack is paused by {by}: {reason}; release it first")]
    Paused {
        /// Who paused it.
        by: String,
        /// The reason that was given.
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
        task: Box<model::Task>,
    },
    /// A control on a batch, or on members of it, of which nothing is under way any more.
    #[error("{why}")]
    BatchEnded { batch: BatchId, why: String },
    /// A value that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The journal cannot be written.
    #[error("no new task is taken: the journal cannot be written: {0}")]
    Store(String),
    /// Another host has the rack.
    #[error("{}", moved_in_words(owner.as_deref(), url.as_deref()))]
    Moved {
        /// The host's name, where it is known.
        owner: Option<String>,
        /// Where its API is.
        url: Option<String>,
    },
    /// Nobody can say whether this host may still change the machines.
    #[error("nothing is switched at the moment: it waits for {0}")]
    Unconfirmed(String),
    /// The rack cannot be given to another host.
    #[error("the rack is not handed over: {0}")]
    NotHandedOver(String),
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    NotRead(String),
    /// What was asked for was done, and may not outlive the daemon, because the journal cannot be
    /// written.
    #[error(
        "it was done and holds as long as this daemon runs, but after a restart it may be as before: the journal cannot be written: {0}"
    )]
    Unremembered(String),
    /// The disk hung before the record of what was asked for was durable, and it was withdrawn.
    #[error(
        "withdrawn, nothing was sent: {why}. What was written of it may be on the disk all the same: if the daemon dies \
         before that answers, it may still happen after the next start{}",
        .task.map(|task| format!(" (rackbmc task {})", Short::task(task))).unwrap_or_default()
    )]
    Withdrawn {
        /// The task, where it is one.
        task: Option<TaskId>,
        /// What the disk does.
        why: String,
    },
    /// The daemon is going down.
    #[error("the daemon is shutting down; ask again when it is back")]
    Stopping,
    /// The BMC said no.
    #[error("node {node}: {what} was refused by its BMC: {text} (completion code {code:#04x})")]
    Bmc {
        /// The node's name.
        node: String,
        what: String,
        /// The completion code in words.
        text: String,
        /// The completion code.
        code: u8,
    },
    /// The BMC answered, and what it answered is not what was asked for.
    #[error("node {node}: {what}: {text}")]
    NotAsAsked {
        /// The node's name.
        node: String,
        what: String,
        /// What is wrong with the answer.
        text: String,
    },
    /// The BMC did not answer.
    #[error("node {node}: {what}: {text}")]
    Unanswered {
        /// The node's name.
        node: String,
        what: String,
        /// What stands in the way.
        trouble: Trouble,
        /// The silence in words.
        text: String,
        /// Whether the BMC may have received it.
        delivery: Delivery,
    },
    /// So many sweeps are under way that there is no place for another.
    #[error("so many sets of nodes are being read that there is no place for another; try again")]
    Sweeping,
    /// Batches take as much memory as they may.
    #[error(
        "the batches that run have so many nodes that there is no place for another: let some end, or start single tasks"
    )]
    ManyBatches,
    /// The disk is so far behind that nothing more is taken which adds thousands of records.
    #[error("the disk is behind with what other batches changed; try again")]
    DiskBehind,
    /// No such sweep.
    #[error("these readings are not there any more: nobody asked for them in time")]
    NoSuchSweep,
    /// Too much is waiting already.
    #[error("node {0}: too many requests are waiting for its BMC; try again")]
    Crowded(String),
}

impl Refused {
    /// What the nodes of a request say against it, all of it; one refusal stands for itself.
    pub(super) fn together(mut refused: Vec<Self>, of: usize) -> Option<Self> {
        match refused.len() {
            0 | 1 => refused.pop(),
            all => {
                // Rule 13: a request may name thousands of nodes that there are not.
                refused.truncate(REFUSALS_AT_MOST);
                let left_out = all - refused.len();
                Some(Self::Members {
                    refused,
                    left_out,
                    of,
                })
            }
        }
    }
}

impl Refused {
    /// What of it stays true: in words that are put down nothing counts down.
    pub fn lasting(&self) -> String {
        self.clone().without_countdown().to_string()
    }

    fn without_countdown(mut self) -> Self {
        match &mut self {
            // In a record these seconds would be those of another moment than the reader's.
            Self::Locked { left, .. } => *left = None,
            Self::Members { refused, .. } => {
                let each = std::mem::take(refused).into_iter();
                *refused = each.map(Self::without_countdown).collect();
            }
            _ => {}
        }
        self
    }
}

/// How long what has a node lasts at most, behind what is said of it.
pub fn left_in_words(left: Option<Duration>) -> String {
    left.map_or_else(String::new, |left| {
        format!("; {} s left at most", left.as_secs())
    })
}

fn moved_in_words(owner: Option<&str>, url: Option<&str>) -> String {
    match (owner, url) {
        (Some(owner), Some(url)) => {
            format!("host {owner} owns the rack, and not this one: ask it at {url}")
        }
        (Some(owner), None) => {
            format!("host {owner} owns the rack, and not this one: ask it there")
        }
        (None, _) => "no host owns the rack at the moment: ask again in some seconds".to_owned(),
    }
}

fn in_words(refused: &[Refused], left_out: usize) -> String {
    let mut words: Vec<String> = refused.iter().map(Refused::to_string).collect();
    if left_out > 0 {
        words.push(format!("and {left_out} more"));
    }
    words.join("; ")
}

/// How many of its nodes a refusal tells of: who names many that there are not is told of the first
/// ones.
const REFUSALS_AT_MOST: usize = 1000;
