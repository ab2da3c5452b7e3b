//! The rack as a whole, and what is said when a request is refused.

use super::words::{Word, words};
use super::{Hold, stamp};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Figures about the daemon itself: `GET /healthz`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// How it is.
    pub status: Word<HealthStatus>,
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
    #[serde(with = "stamp")]
    pub started_at: WallTime,
    /// Why the journal cannot be written.
    pub store_trouble: Option<String>,
    /// The pause that is on.
    pub pause: Option<Hold>,
    /// Entries of the journal that cannot be read, and the nodes that take no power order because
    /// of them.
    pub unreadable: Vec<UnreadableEntry>,
    /// The configuration on the disk, where it is wrong: an older one is in force.
    pub configuration_refused: Option<ConfigurationRefused>,
}

/// What the daemon adds to a report about itself: `GET /v1/support`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Support {
    /// The daemon's version.
    pub version: String,
    /// What there is to know of its host and its process, by name.
    pub host: BTreeMap<String, String>,
    /// Where the configuration is.
    pub configuration_file: String,
    /// The file as it is now, as TOML without secrets, names of users and comments.
    pub configuration: Option<String>,
    /// Why it is missing.
    pub configuration_trouble: Option<String>,
    /// The last lines of the log, the oldest first.
    pub log: Vec<String>,
    /// How many there were before them, since the daemon was started.
    pub log_forgotten: u64,
}

/// An entry of the journal that cannot be read: `rackbmcd --discard TABLE KEY` discards it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnreadableEntry {
    /// The table's name.
    pub table: String,
    /// The entry's key.
    pub key: String,
    /// Why it cannot be read.
    pub why: String,
    /// The names of the nodes that take no order that changes power until it is discarded.
    pub nodes: Vec<String>,
}

/// A configuration that was not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigurationRefused {
    /// Since when it is known to be wrong.
    #[serde(with = "stamp")]
    pub since: WallTime,
    /// The first mistake, with file, line and column.
    pub why: String,
}

words! {
    /// How the daemon is.
    pub enum HealthStatus ("health") {
        /// All is well.
        Ok = "ok",
        /// The rack is paused.
        Paused = "paused",
        /// The journal cannot be written.
        Failing = "failing",
    }
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

/// Body of `PUT /v1/nodes/{ident}/maintenance`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    #[serde(default)]
    pub reason: Option<String>,
}

/// Body of `POST /v1/nodes/{ident}/bmc_accept`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// The GUID of the BMC that shall be the node's from now on.
    pub guid: uuid::Uuid,
}

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
    /// One stable word.
    pub kind: Word<ErrorKind>,
    /// One line for people.
    pub message: String,
    /// The node it is about.
    pub node: Option<String>,
    /// The task it is about.
    pub task: Option<String>,
    /// What else is known: the member of the body at fault, the completion code, the task as it is.
    pub detail: Option<serde_json::Value>,
}

words! {
    /// Why a request was refused, in the one stable word that scripts may match.
    pub enum ErrorKind ("kind of error") {
        /// The request makes no sense.
        BadRequest = "bad_request",
        /// Nobody knows who asks.
        NotAuthenticated = "not_authenticated",
        /// Who asks may not.
        NotPermitted = "not_permitted",
        /// There is nothing at that path.
        NotFound = "not_found",
        /// There is no such node.
        NodeNotFound = "node_not_found",
        /// There is no such task.
        TaskNotFound = "task_not_found",
        /// There is no such batch.
        BatchNotFound = "batch_not_found",
        /// The path does not take that method.
        MethodNotAllowed = "method_not_allowed",
        /// The microversion asked for is not there.
        NotAcceptable = "not_acceptable",
        /// The request did not come in time.
        RequestTimeout = "request_timeout",
        /// Another task has the node.
        NodeLocked = "node_locked",
        /// Not in the node's present state.
        WrongState = "wrong_state",
        /// The node is in maintenance.
        Maintenance = "maintenance",
        /// What the journal says of the node cannot be read.
        UnreadableEntry = "unreadable_entry",
        /// The rack is paused.
        Paused = "paused",
        /// The task does not allow that control now.
        ControlRefused = "control_refused",
        /// The body is too large.
        BodyTooLarge = "body_too_large",
        /// The body is no JSON.
        MediaType = "media_type",
        /// The API does not do that.
        NotSupported = "not_supported",
        /// The configuration forbids it for this node.
        ForbiddenByConfiguration = "forbidden_by_configuration",
        /// The BMC refused.
        BmcRefused = "bmc_refused",
        /// The BMC did not answer.
        BmcUnanswered = "bmc_unanswered",
        /// Too much waits for that BMC already.
        Crowded = "crowded",
        /// Too many requests from there.
        TooManyRequests = "too_many_requests",
        /// The journal cannot be written.
        Store = "store",
        /// It was done, and may not outlive the daemon.
        Unremembered = "unremembered",
        /// Another host has the rack.
        Moved = "moved",
        /// Nobody can say whether this host may still change the machines.
        Unconfirmed = "unconfirmed",
        /// The daemon is going down.
        Stopping = "stopping",
        /// The daemon was started with a wrong configuration.
        Configuration = "configuration",
        /// A mistake of the daemon's own.
        Internal = "internal",
    }
}
