//! The words: what is asked, shown and remembered by name. `rack` fills these types, `api` sends them as JSON, `cli`
//! reads them, `config` and the OpenAPI document take their words from them.
//!
//! Plain data with serde as the API writes it; no behaviour, and no other room but `time`.

mod bmc;
mod operation;
mod power;
mod who;
mod words;

pub use bmc::{BootDevice, Delivery, RestartCause, Trouble};
pub use operation::{Control, OnFailure, OnSoftTimeout, Operation, TaskState};
pub use power::{Power, PowerState, Target};
pub use who::Who;
pub use words::{Word, Words};

/// A task's id, unique over racks (a version 7 uuid: sorts by time of request).
pub type TaskId = uuid::Uuid;
/// A batch's id, of the same kind.
pub type BatchId = uuid::Uuid;
