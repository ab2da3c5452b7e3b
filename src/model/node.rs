//! A node and its BMC as they are shown.

use super::words::{Word, Words, words};
use super::{
    BootDevice, Chassis, Operation, Power, PowerState, Target, TaskId, Trouble, seconds, stamp,
};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// One node. What its configuration says is shared with the rack, not copied: a list of them is
/// asked for every second by somebody.
///
/// In JSON it is Ironic's record with our part of it under `rackbmcd`. A reader finds here the
/// members that mean something in this rack, and keeps the others as they came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    pub uuid: Uuid,
    pub name: Arc<str>,
    /// Since when the daemon knows it.
    #[serde(with = "stamp")]
    pub created_at: WallTime,
    /// When what is shown last changed.
    #[serde(with = "stamp::maybe")]
    pub updated_at: Option<WallTime>,
    /// The power state shown.
    pub power_state: PowerState,
    /// What a running task leads to.
    pub target_power_state: Option<Word<Target>>,
    /// What went wrong last; cleared when the next operation begins.
    pub last_error: Option<String>,
    /// What this daemon knows beyond Ironic's record.
    pub rackbmcd: NodeDetail,
    /// Operations that it does not take, and why.
    #[serde(skip)]
    pub lacks: Vec<Lack>,
    /// The other members of Ironic's record, in a reader.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Node {
    /// Whether it takes that operation.
    pub fn takes(&self, operation: Operation) -> bool {
        self.lacks.iter().all(|lack| lack.operation != operation)
    }
}

/// An operation that a node does not take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lack {
    pub operation: Operation,
    /// Who says so.
    pub because: LackReason,
}

/// Why a node does not take an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LackReason {
    /// The configuration forbids it.
    Configuration,
    /// Its BMC said that it has no such thing.
    Bmc,
}

words! {
    /// What is wrong with a node, in Ironic's word for it.
    pub enum NodeFault ("fault") {
        /// Its BMC cannot be read.
        Unreadable = "power failure",
    }
}

/// What this daemon knows of a node beyond Ironic's record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDetail {
    /// The rack's name.
    pub rack: Arc<str>,
    /// The host that owns the rack, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<str>>,
    /// The groups it is in.
    pub groups: Arc<[String]>,
    /// The task that has the node.
    pub task: Option<TaskId>,
    /// The last reading of the power state.
    pub reading: Option<PowerReading>,
    /// What is wrong with the node itself.
    pub fault: Option<Word<NodeFault>>,
    /// The maintenance hold, with who set it and when.
    pub maintenance: Option<Hold>,
    /// Its BMC.
    pub bmc: BmcSummary,
}

impl NodeDetail {
    /// Who has the node, as Ironic's clients are told it: the host that owns the rack; where it has
    /// one host, the rack.
    pub fn conductor(&self) -> &str {
        self.owner.as_deref().unwrap_or(&self.rack)
    }

    /// The group of those who could have it.
    pub fn conductor_group(&self) -> &str {
        match self.owner {
            Some(_) => &self.rack,
            None => "",
        }
    }
}

/// A reading of the power state and how old it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerReading {
    /// What was read.
    pub power_state: Word<Power>,
    #[serde(with = "stamp")]
    pub at: WallTime,
    /// How long ago.
    #[serde(with = "seconds")]
    pub age: Duration,
}

/// A BMC in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BmcSummary {
    /// Host name or address as configured.
    pub address: Arc<str>,
    /// UDP port.
    pub port: u16,
    /// The user that the daemon logs in as.
    pub username: Arc<str>,
    /// The privilege asked for, in words.
    pub privilege: Cow<'static, str>,
    /// How it is with it.
    pub health: Word<BmcHealth>,
    /// The trouble in one stable word.
    pub trouble: Option<Word<Trouble>>,
    /// The trouble in words.
    pub trouble_text: Option<String>,
    /// The cipher suite in use or last used.
    pub cipher_suite: Option<u8>,
    /// The smoothed round trip.
    #[serde(with = "seconds::maybe")]
    pub round_trip: Option<Duration>,
}

/// How it is with a BMC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BmcHealth {
    /// Nothing is wrong, and nothing is open.
    Ready,
    /// A session is open.
    SessionOpen,
    /// A session is being opened or closed.
    Connecting,
    /// Something stands in the way.
    Trouble(Trouble),
}

impl Words for BmcHealth {
    const WHAT: &'static str = "health of a BMC";

    fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::SessionOpen => "session open",
            Self::Connecting => "connecting",
            Self::Trouble(trouble) => trouble.words(),
        }
    }

    fn all() -> Vec<Self> {
        let well = [Self::Ready, Self::SessionOpen, Self::Connecting];
        let troubles = Trouble::ALL.into_iter().map(BmcHealth::Trouble);
        well.into_iter().chain(troubles).collect()
    }
}

/// A hold (maintenance, pause): why, by whom and since when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hold {
    pub reason: Option<String>,
    /// Who said so.
    pub by: String,
    /// Since when.
    #[serde(with = "stamp")]
    pub since: WallTime,
}

/// `GET /v1/nodes` and `/v1/nodes/detail`, as a reader has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeList {
    /// The nodes of this page.
    pub nodes: Vec<Node>,
    /// The address of the next page, where more remain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// All that is known of a node's BMC and why: `GET /v1/nodes/{ident}/explain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    pub node: Node,
    /// What is known and where it comes from.
    pub facts: Vec<Fact>,
    /// The last failures, newest first.
    pub failures: Vec<Failure>,
    /// The boot device override last read.
    pub boot_device: Option<Word<BootDevice>>,
    /// The GUIDs of the BMC, where it is another one than before.
    pub identity: Option<BmcChange>,
    /// What the BMC said last of the chassis, without what it does not say with each reading of the
    /// power.
    pub chassis: Option<Chassis>,
}

/// The last datagrams of a node's BMC, without names, passwords, codes and keys: `GET
/// /v1/nodes/{ident}/trace`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// The node's name.
    pub node: String,
    /// Where the BMC is, where that is known.
    pub address: Option<String>,
    /// A line for each datagram, or for those that were the same as the ones that follow, the
    /// oldest first.
    pub lines: Vec<String>,
    /// How many there were before them, since the daemon was started.
    pub forgotten: u64,
}

/// A BMC is another one than before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BmcChange {
    /// The GUID that was there, or was accepted.
    pub was: Uuid,
    /// The one that is there now.
    pub is: Uuid,
    /// The maker's enterprise number of the BMC that was there, where it is known.
    pub maker_was: Option<u32>,
    /// And of the one that is there now.
    pub maker_is: Option<u32>,
    /// Where the BMC that was there was found last.
    pub address_was: Option<String>,
    /// Where the one is that is there now.
    pub address_is: Option<String>,
}

/// One line of an explanation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fact {
    /// What it is about.
    pub head: String,
    /// What is known.
    pub text: String,
}

/// One failure of a BMC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    #[serde(with = "stamp")]
    pub at: WallTime,
    pub text: String,
}

/// What happened to a node, newest first: `GET /v1/nodes/{ident}/history`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    pub history: Vec<HistoryEntry>,
}

/// What happened to a node once. The names are Ironic's; a reader keeps its other members as they
/// came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    #[serde(rename = "created_at", with = "stamp")]
    pub at: WallTime,
    /// What it is about.
    #[serde(rename = "event_type")]
    pub kind: Word<HistoryKind>,
    #[serde(rename = "event")]
    pub text: String,
    #[serde(default)]
    pub task: Option<TaskId>,
    #[serde(rename = "user", default)]
    pub by: Option<String>,
    /// Whether it was a failure.
    pub severity: Word<Severity>,
    /// Ironic's other members, in a reader.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

words! {
    /// What an entry of a history is about.
    pub enum HistoryKind ("kind of history entry") {
        /// A task ended.
        Task = "task",
        /// The power state changed without an order of ours.
        Drift = "drift",
        /// The BMC does not answer.
        Fault = "fault",
        /// The BMC answers again.
        Recovered = "recovered",
        /// Maintenance began or ended.
        Maintenance = "maintenance",
        /// An order outside tasks that may change the machine.
        Order = "order",
    }
}

words! {
    /// Whether an entry of a history was a failure, in Ironic's words.
    pub enum Severity ("severity") {
        /// It was one.
        Error = "ERROR",
        /// It was none.
        Info = "INFO",
    }
}

impl Severity {
    /// Of something that was a failure or was none.
    pub fn of(failure: bool) -> Self {
        if failure { Self::Error } else { Self::Info }
    }
}
