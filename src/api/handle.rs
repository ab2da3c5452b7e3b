//! The rack as handlers see it: questions as methods, each with the type of its answer.
//!
//! Behind them is one [`Daemon`]: the real one carries a call to the loop and waits, a test's
//! answers at once. What the asker may do is held by the rack itself against the nodes that it
//! finds a call to mean, in the turn that acts on them.

use super::fault::Fault;
use crate::bmc::vocabulary::{EventLogEntry, Order, Reading};
use crate::model::{
    AuditPage, Batch, BatchId, BatchStart, BootDevice, Control, EventId, Events, Explanation, Ha,
    Health, HistoryEntry, Hold, Node, Operation, PowerOptions, Short, Support, Task, TaskId, Trace,
    Who,
};
use crate::rack::call::{Answer, Call, Look, PowerChange, Refused, SweepId, SweepNews, Taken};
use http::StatusCode;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

/// A future that somebody else wrote.
pub type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// What handlers need of the world.
pub trait Daemon {
    /// Asks the rack, for whoever made the request. The fault says why it was not even asked, or
    /// did not answer.
    fn call(&self, call: Call) -> Later<Result<Result<Answer, Refused>, Fault>>;
    /// Waits for the turn of a request that names many nodes, or says why it has none.
    fn many_names(&self) -> Later<Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// The text of `/metrics`, or why there is none.
    fn metrics(&self) -> Later<Result<String, Fault>>;
    /// The records of the audit trail after a number, at most so many, or why they cannot be read.
    fn trail(&self, after: u64, limit: usize) -> Later<Result<AuditPage, String>>;
    /// What the daemon adds to a report about itself, or why it does not.
    fn support(&self) -> Later<Result<Support, Fault>>;
    /// How it stands with the hosts of the rack.
    fn ha(&self) -> Later<Ha>;
    /// Gives the rack to another host, this one where it is named, or says why not.
    fn hand_over(&self, to: Option<String>) -> Later<Result<(), Refused>>;
}

/// See the head of this file.
#[derive(Clone)]
pub struct RackHandle {
    daemon: Rc<dyn Daemon>,
    who: Who,
}

/// Which tasks are wanted.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Of this node alone.
    pub node: Option<String>,
    /// Of this batch alone.
    pub batch: Option<BatchId>,
    /// Of this short id alone.
    pub short: Option<Short>,
    /// Only those that have not ended.
    pub active: bool,
    /// At most so many.
    pub limit: usize,
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// After this position; from now on where `None`.
    pub since: Option<EventId>,
    /// About these nodes alone; all where empty.
    pub nodes: Vec<String>,
    /// How long to wait for the first one.
    pub wait: Duration,
    /// At most so many.
    pub limit: usize,
}

/// A boot device override as a BMC has it.
#[derive(Clone, Copy, Debug)]
pub struct BootDeviceReading {
    /// The device, `None` where nothing is overridden.
    pub device: Option<BootDevice>,
    /// For every boot, or for the next one only.
    pub persistent: bool,
    /// In UEFI mode.
    pub uefi: bool,
}

/// The newest entries of a BMC's event log.
#[derive(Clone, Debug)]
pub struct EventLogReading {
    /// Oldest first.
    pub entries: Vec<EventLogEntry>,
    /// How many the log has, where the BMC says.
    pub total: Option<u16>,
    /// Where fewer than asked for could be read: how many, and why.
    pub left_out: Option<String>,
}

/// What a question brings: its answer, or the rack's refusal as the client is told it.
type Asked<T> = Result<T, Fault>;

impl RackHandle {
    /// The rack behind `daemon`, for `who`.
    pub fn new(daemon: Rc<dyn Daemon>, who: Who) -> Self {
        Self { daemon, who }
    }

    /// Whether it is a user of this host who asks, over the Unix socket.
    pub fn is_asked_on_this_host(&self) -> bool {
        self.who.uid.is_some()
    }

    /// The name of whoever asks, as tasks and the audit trail show it.
    pub fn asker(&self) -> &str {
        &self.who.name
    }

    pub async fn nodes(&self) -> Asked<Vec<Node>> {
        self.ask(Call::Look(Look::Nodes)).await
    }

    /// Nodes behind the one with the uuid `after`, in pieces; those of `nodes` alone, where there
    /// are any.
    pub async fn nodes_after(
        &self,
        after: Option<Uuid>,
        nodes: &[String],
        limit: usize,
    ) -> Asked<Vec<Node>> {
        let of = nodes.to_owned();
        self.ask(Call::Look(Look::NodesAfter { after, of, limit }))
            .await
    }

    pub async fn node(&self, ident: &str) -> Asked<Node> {
        self.ask(Call::Look(Look::Node(ident.to_owned()))).await
    }

    /// Whether this very request asked for what `who` asked for.
    pub fn asked_for(&self, who: &Who) -> bool {
        self.who.asks_again(who)
    }

    /// One node, its power state read from the BMC now.
    pub async fn fresh(&self, ident: &str) -> Asked<Node> {
        self.ask(Call::FreshNode(ident.to_owned())).await
    }

    /// A reading of each of these nodes, of which more is told by [`RackHandle::await_sweep`].
    pub async fn sweep(&self, nodes: Vec<String>) -> Asked<SweepNews> {
        self.ask(Call::Sweep { nodes }).await
    }

    /// What was read of such a sweep beyond the first `seen` nodes, once there is something or
    /// after `wait`.
    pub async fn await_sweep(
        &self,
        sweep: SweepId,
        seen: usize,
        wait: Duration,
    ) -> Asked<SweepNews> {
        self.ask(Call::AwaitSweep { sweep, seen, wait }).await
    }

    /// The same after forgetting failed log-ins and an open breaker.
    pub async fn retry(&self, ident: &str) -> Asked<Node> {
        let (node, who) = (ident.to_owned(), self.who.clone());
        self.ask(Call::Retry { node, who }).await
    }

    /// The BMC that is there now shall be the node's.
    pub async fn accept_bmc(&self, ident: &str, guid: Uuid) -> Asked<Node> {
        let (node, who) = (ident.to_owned(), self.who.clone());
        self.ask(Call::Accept { node, guid, who }).await
    }

    /// All that is known of a node's BMC and why.
    pub async fn explain(&self, ident: &str) -> Asked<Explanation> {
        let found: Box<Explanation> = self
            .ask(Call::Look(Look::Explain(ident.to_owned())))
            .await?;
        Ok(*found)
    }

    /// The last datagrams of a node's BMC.
    pub async fn trace(&self, ident: &str) -> Asked<Trace> {
        self.ask(Call::Look(Look::Trace(ident.to_owned()))).await
    }

    /// What happened to a node, newest first.
    pub async fn history(&self, ident: &str, limit: usize) -> Asked<Vec<HistoryEntry>> {
        let node = ident.to_owned();
        self.ask(Call::History { node, limit }).await
    }

    /// Takes a node into maintenance (`Some`, with or without a reason), or out of it.
    pub async fn set_maintenance(&self, ident: &str, hold: Option<Option<String>>) -> Asked<Node> {
        let (node, who) = (ident.to_owned(), self.who.clone());
        self.ask(Call::SetMaintenance { node, hold, who }).await
    }

    /// A change of power as Ironic asks for it: the task that was started or aborted, `None` where
    /// there was nothing to abort.
    pub async fn set_power(
        &self,
        ident: &str,
        change: PowerChange,
        options: PowerOptions,
    ) -> Asked<Option<Taken>> {
        self.ask(Call::SetPower {
            node: ident.to_owned(),
            change,
            options,
            who: self.who.clone(),
        })
        .await
    }

    /// Starts a task.
    pub async fn start(
        &self,
        ident: &str,
        operation: Operation,
        options: PowerOptions,
    ) -> Asked<Task> {
        self.ask(Call::Start {
            node: ident.to_owned(),
            operation,
            options,
            who: self.who.clone(),
        })
        .await
    }

    /// Injects an NMI; answered when the BMC has answered it.
    pub async fn inject_nmi(&self, ident: &str) -> Asked<Task> {
        let (node, who) = (ident.to_owned(), self.who.clone());
        self.ask(Call::InjectNmi { node, who }).await
    }

    /// The tasks that are wanted, newest first.
    pub async fn tasks(&self, wanted: TaskFilter) -> Asked<Vec<Task>> {
        self.ask(Call::Look(Look::Tasks {
            node: wanted.node,
            batch: wanted.batch,
            short: wanted.short,
            active: wanted.active,
            limit: wanted.limit,
        }))
        .await
    }

    /// Tasks that have not ended and are older than `before`, in pieces; those of `nodes` alone,
    /// where there are any.
    pub async fn active_tasks(
        &self,
        before: Option<TaskId>,
        nodes: &[String],
        limit: usize,
    ) -> Asked<Vec<Task>> {
        let of = nodes.to_owned();
        self.ask(Call::Look(Look::ActiveTasks { before, of, limit }))
            .await
    }

    pub async fn task(&self, task: TaskId) -> Asked<Task> {
        self.ask(Call::Look(Look::Task(task))).await
    }

    /// One task, once its version is above `version` (once it has ended, where `None`), or after
    /// `wait`.
    pub async fn await_task(
        &self,
        task: TaskId,
        version: Option<u64>,
        wait: Duration,
    ) -> Asked<Task> {
        self.ask(Call::AwaitTask {
            task,
            version,
            wait,
        })
        .await
    }

    /// Uses a control on a task.
    pub async fn control(&self, task: TaskId, control: Control) -> Asked<Task> {
        let who = self.who.clone();
        self.ask(Call::Control { task, control, who }).await
    }

    /// Waits for the turn of a request that names many nodes.
    ///
    /// # Errors
    /// 503 where many others do.
    pub async fn many_names(&self) -> Asked<()> {
        self.daemon.many_names().await
    }

    /// Starts a batch, or plans it.
    pub async fn start_batch(&self, request: BatchStart) -> Asked<Batch> {
        let who = self.who.clone();
        self.ask(Call::StartBatch { request, who }).await
    }

    /// Batches, newest first; of this short id alone where there is one.
    pub async fn batches(&self, short: Option<Short>) -> Asked<Vec<Batch>> {
        self.ask(Call::Look(Look::Batches { short })).await
    }

    pub async fn batch(&self, batch: BatchId) -> Asked<Batch> {
        self.ask(Call::Look(Look::Batch(batch))).await
    }

    /// Waits until a batch has ended, `wait` at most.
    pub async fn await_batch(&self, batch: BatchId, wait: Duration) -> Asked<()> {
        match self.daemon.call(Call::AwaitBatch { batch, wait }).await? {
            Ok(Answer::Waited) => Ok(()),
            Ok(_) => Err(unexpected_answer()),
            Err(refused) => Err(Fault::refused(refused, &self.who.name)),
        }
    }

    /// Uses a control on a batch, or on some of its nodes.
    pub async fn control_batch(
        &self,
        batch: BatchId,
        control: Control,
        nodes: Vec<String>,
    ) -> Asked<Batch> {
        self.ask(Call::ControlBatch {
            batch,
            control,
            nodes,
            who: self.who.clone(),
        })
        .await
    }

    /// The events that are wanted.
    pub async fn events(&self, wanted: EventFilter) -> Asked<Events> {
        self.ask(Call::Events {
            since: wanted.since,
            nodes: wanted.nodes,
            wait: wanted.wait,
            limit: wanted.limit,
        })
        .await
    }

    /// Suspends everything until released.
    pub async fn pause(&self, reason: String) -> Asked<Option<Hold>> {
        let who = self.who.clone();
        self.ask(Call::Pause { reason, who }).await
    }

    /// Ends the pause.
    pub async fn release(&self) -> Asked<Option<Hold>> {
        let who = self.who.clone();
        self.ask(Call::Release { who }).await
    }

    /// The pause that is on.
    pub async fn pausing(&self) -> Asked<Option<Hold>> {
        self.ask(Call::Look(Look::Pausing)).await
    }

    /// Figures about the daemon itself.
    pub async fn health(&self) -> Asked<Health> {
        self.ask(Call::Look(Look::Health)).await
    }

    /// Has a BMC carry out one order outside any task.
    pub async fn order(&self, ident: &str, order: Order) -> Asked<Reading> {
        self.ask(Call::Order {
            node: ident.to_owned(),
            order,
            who: self.who.clone(),
        })
        .await
    }

    /// The boot device override, read from the BMC.
    pub async fn boot_device(&self, ident: &str) -> Asked<BootDeviceReading> {
        match self.order(ident, Order::ReadBootDevice).await? {
            Reading::BootDevice {
                device,
                persistent,
                uefi,
            } => Ok(BootDeviceReading {
                device,
                persistent,
                uefi,
            }),
            _ => Err(unexpected_answer()),
        }
    }

    /// The newest entries of the BMC's event log, read from the BMC.
    pub async fn event_log(&self, ident: &str, entries: u16) -> Asked<EventLogReading> {
        match self.order(ident, Order::ReadEventLog(entries)).await? {
            Reading::EventLog {
                entries,
                total,
                left_out,
            } => Ok(EventLogReading {
                entries,
                total,
                left_out,
            }),
            _ => Err(unexpected_answer()),
        }
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// 503 where too many long answers are asked for, or wait to be written.
    pub async fn metrics(&self) -> Asked<String> {
        self.daemon.metrics().await
    }

    /// The records of the audit trail after a number, at most so many.
    ///
    /// # Errors
    /// 503 where the disk cannot be read.
    pub async fn trail(&self, after: u64, limit: usize) -> Asked<AuditPage> {
        self.daemon.trail(after, limit).await.map_err(|why| {
            Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                crate::model::ErrorKind::Store,
                format!("the audit trail cannot be read: {why}"),
            )
        })
    }

    /// What the daemon adds to a report about itself.
    ///
    /// # Errors
    /// 503 where too many long answers are asked for, or wait to be written.
    pub async fn support(&self) -> Asked<Support> {
        self.daemon.support().await
    }

    /// How it stands with the hosts of the rack.
    pub async fn ha(&self) -> Ha {
        self.daemon.ha().await
    }

    /// Gives the rack to another host.
    ///
    /// # Errors
    /// There is none that could take it.
    pub async fn hand_over(&self, to: Option<String>) -> Asked<()> {
        let done = self.daemon.hand_over(to).await;
        done.map_err(|refused| Fault::refused(refused, &self.who.name))
    }

    /// The one place where a call meets its answer; the methods above say which belong together.
    async fn ask<T: FromAnswer>(&self, call: Call) -> Asked<T> {
        match self.daemon.call(call).await? {
            Ok(answer) => T::from_answer(answer).ok_or_else(unexpected_answer),
            Err(refused) => Err(Fault::refused(refused, &self.who.name)),
        }
    }
}

/// The rack answered with something that was not asked for: a mistake of ours.
pub fn unexpected_answer() -> Fault {
    Fault::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        crate::model::ErrorKind::Internal,
        "the rack's answer does not belong to the question; please report this",
    )
}

/// What an answer holds.
trait FromAnswer: Sized {
    fn from_answer(answer: Answer) -> Option<Self>;
}

macro_rules! answers {
    ($($variant:ident holds $held:ty),+ $(,)?) => {
        $(impl FromAnswer for $held {
            fn from_answer(answer: Answer) -> Option<Self> {
                match answer {
                    Answer::$variant(held) => Some(held),
                    _ => None,
                }
            }
        })+
    };
}

answers! {
    Nodes holds Vec<Node>,
    Node holds Node,
    Sweep holds SweepNews,
    Taken holds Option<Taken>,
    Task holds Task,
    Tasks holds Vec<Task>,
    Batch holds Batch,
    Batches holds Vec<Batch>,
    Events holds Events,
    Pausing holds Option<Hold>,
    Reading holds Reading,
    Explanation holds Box<Explanation>,
    Trace holds Trace,
    History holds Vec<HistoryEntry>,
    Health holds Health,
}
