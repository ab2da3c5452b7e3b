//! The JSON of the whole API, as types: what goes over the socket, for the server and for `rackbmc` alike.
//!
//! Times are RFC 3339 text with microseconds, durations are seconds. Bodies of answers may gain members: a reader skips
//! those that it does not know, and takes a missing one for its empty value. Bodies of requests may not: an unknown
//! member is a mistake and refused. Knows no rack, no route and no HTTP.

mod audit;
mod bmc;
mod node;
pub(crate) mod seconds;
mod task;
mod whole;

pub use audit::{AuditHead, AuditPage};
pub use bmc::{
    BmcAnswer, BmcResetRequest, BootOverride, Bridge, EventLog, EventLogEntry, IdentifyRequest,
    OrderAnswer, RawRequest,
};
pub use node::{
    BmcSummary, BootDevice, Extension, Fact, Failure, Hold, Link, Node, NodeList, NodeStates,
    Reading, SupportedBootDevices,
};
pub use seconds::Seconds;
pub use task::{
    Batch, BatchControl, BatchList, BatchNode, BatchStart, ControlUse, Event, Events, OrderUse,
    Requester, Task, TaskList, TaskStart,
};

use serde::{Deserialize, Serialize};

/// The body of every refusal outside Ironic's paths: `{"error": {...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: Error,
}

/// What went wrong, in words that scripts may match (`kind`) and in words for people (`message`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Error {
    /// One stable word: see [`crate::api::json::KINDS`].
    pub kind: String,
    /// One line for people.
    pub message: String,
    /// The node it is about.
    pub node: Option<String>,
    /// The task it is about.
    pub task: Option<String>,
    /// What else is known: the member of the body at fault, the completion code, the task as it is.
    pub detail: Option<serde_json::Value>,
}

/// Every `kind` of error there is.
pub const KINDS: &[&str] = &[
    "bad_request",
    "not_authenticated",
    "not_permitted",
    "not_found",
    "node_not_found",
    "task_not_found",
    "batch_not_found",
    "method_not_allowed",
    "not_acceptable",
    "request_timeout",
    "node_locked",
    "wrong_state",
    "maintenance",
    "paused",
    "control_refused",
    "body_too_large",
    "media_type",
    "not_supported",
    "bmc_refused",
    "bmc_unanswered",
    "crowded",
    "too_many_requests",
    "store",
    "unremembered",
    "stopping",
    "internal",
];

/// Figures about the daemon itself: `GET /healthz`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// `ok`, `paused`, or `failing` (the journal cannot be written).
    pub status: String,
    /// The rack's name.
    pub rack: String,
    /// The daemon's version.
    pub version: String,
    /// Nodes of the rack.
    pub nodes: u32,
    /// Tasks that have not ended.
    pub active_tasks: u32,
    /// BMCs in trouble.
    pub troubled: u32,
    /// Since when the daemon runs.
    pub started_at: String,
    /// Why the journal cannot be written.
    pub store_trouble: Option<String>,
    /// The pause that is on.
    pub pause: Option<Hold>,
}

/// All that is known of a node's BMC and why: `GET /v1/nodes/{ident}/explain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// The node.
    pub node: Node,
    /// What is known and where it comes from.
    pub facts: Vec<Fact>,
    /// The last failures, newest first.
    pub failures: Vec<Failure>,
    /// The boot device override last read: `pxe`, `disk`, `cdrom`, `bios`, `safe`.
    pub boot_device: Option<String>,
}

/// What happened to a node, newest first: `GET /v1/nodes/{ident}/history`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The entries.
    pub history: Vec<HistoryEntry>,
}

/// What happened to a node once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// Ironic's name of the entry: derived from node, time and text, the same on every reading.
    pub uuid: String,
    /// When.
    pub created_at: String,
    /// `ERROR` or `INFO`, as Ironic has it.
    pub severity: String,
    /// What.
    pub event: String,
    /// `task`, `drift`, `fault`, `recovered`, `maintenance`, ...
    pub event_type: String,
    /// Who.
    pub user: Option<String>,
    /// This rack's name.
    pub conductor: String,
    /// The task.
    pub task: Option<String>,
}

/// Whether the rack is paused: `GET /v1/pause`, `POST /v1/pause`, `POST /v1/release`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pausing {
    /// Whether it is.
    pub paused: bool,
    /// Why, by whom and since when.
    pub pause: Option<Hold>,
}

/// Body of `POST /v1/pause`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Why; shown to everyone whose request is refused meanwhile.
    pub reason: String,
}

/// Body of `PUT /v1/nodes/{ident}/states/power`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerRequest {
    /// One of the nine targets.
    pub target: String,
    /// Patience for the whole operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
}

/// Body of `PUT /v1/nodes/{ident}/maintenance`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}
