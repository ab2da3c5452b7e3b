//! The words: what is asked, shown and remembered by name. `rack` fills these types, `api` sends
//! them as JSON, `cli` reads them, `config` and the OpenAPI document take their words from them.
//!
//! Plain data with serde as the API writes it; no behaviour, and no other room but `time`.

mod access;
mod audit;
mod batch;
mod bmc;
mod chassis;
mod event;
mod expert;
mod fleet;
mod ha;
mod integer;
mod node;
mod operation;
mod power;
mod rack;
pub(crate) mod seconds;
mod short;
mod stamp;
mod start;
mod task;
mod text;
mod who;
pub(crate) mod words;

pub use access::{Grant, Limits, Policy, Subject, TcpAuth, Token};
pub use audit::{AuditHead, AuditPage};
pub use batch::{
    Batch, BatchControl, BatchList, BatchNode, BatchNodeState, BatchState, FreshReading, Prospect,
    ReadingsRequest,
};
pub use bmc::{BootDevice, Delivery, Identity, RestartCause, Trouble};
pub use chassis::{Chassis, ChassisPart, Light, RestorePolicy};
pub use event::{Event, EventId, EventKind, Events, TaskNews};
pub use expert::{
    BmcAnswer, BmcReset, BmcResetRequest, BootOverride, BootOverrideRequest, Bridge, EventLog,
    EventLogEntry, IdentifyRequest, OrderAnswer, RawRequest, RestorePolicyRequest,
};
pub use fleet::{NodeSummary, RackSummary};
pub use ha::{Ha, HaEtcd, HaHost, HaOwner, HaRole, HandoverRequest, Stale};
pub use node::{
    BmcChange, BmcHealth, BmcSummary, Explanation, Fact, Failure, History, HistoryEntry,
    HistoryKind, Hold, Lack, LackReason, Node, NodeDetail, NodeFault, NodeList, PowerReading,
    Severity, Trace,
};
pub use operation::{Control, OnBusy, OnFailure, OnSoftTimeout, Operation, TakeOver, TaskState};
pub use power::{Power, PowerState, Target};
pub use rack::{
    AcceptRequest, ConfigurationRefused, Error, ErrorBody, ErrorKind, Health, HealthStatus,
    MaintenanceRequest, PauseRequest, Pausing, Support, UnreadableEntry,
};
pub use seconds::Seconds;
pub use short::Short;
pub use start::{BatchStart, PowerOptions, TaskStart};
pub use task::{ControlUse, ENDS_KEPT, OrderUse, Task, TaskList, after_state, state_and_phase};
pub use text::{
    LOGIN_NAME_LIMIT, REASON_LIMIT, beginning, counted, escaped, is_hidden, visible_json,
    write_json, write_visible_json,
};
pub use who::{Asker, KEYED, Role, RoleOnNodes, Who};
pub use words::{Word, Words};

/// A task's id, unique over racks (a version 7 uuid: sorts by time of request).
pub type TaskId = uuid::Uuid;
/// A batch's id, of the same kind.
pub type BatchId = uuid::Uuid;
