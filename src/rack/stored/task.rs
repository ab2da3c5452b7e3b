//! A task as it is stored.

use super::super::clock;
use super::super::task::Identity;
use super::alive::Stamp;
use crate::bmc::vocabulary::OrderId;
use crate::model::{TaskId, Who};
use crate::power::SequenceRecord;
use crate::power::stored::words::{Control, Operation};
use crate::rack::task::UsedControl;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is put down of a task, and taken up again.
pub(in crate::rack) struct TaskRecord {
    pub(in crate::rack) identity: Identity,
    pub(in crate::rack) sequence: SequenceRecord,
    /// When this was written: time away is counted from the last sign of life after it.
    pub(in crate::rack) written_at: WallTime,
    /// The same by our own clock, and in which life. Not put down before format 3.
    pub(in crate::rack) written: Option<clock::Stamp>,
    pub(in crate::rack) resuming: Option<String>,
    pub(in crate::rack) returning: Option<String>,
    /// The outstanding order, while it certainly has not left: it waits for its turn, and is
    /// written down once more before it leaves.
    pub(in crate::rack) unsent: Option<OrderId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    identity: StoredIdentity,
    sequence: SequenceRecord,
    written_at: WallTime,
    resuming: Option<String>,
    returning: Option<String>,
    unsent: Option<u64>,
    // Not there before format 3, which counts patience by the clock of a life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written: Option<Stamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredIdentity {
    id: TaskId,
    node: String,
    node_uuid: Uuid,
    batch: Option<Uuid>,
    operation: Operation,
    requested_by: Requester,
    requested_at: WallTime,
    started_at: Option<WallTime>,
    ended_at: Option<WallTime>,
    version: u64,
    controls: Vec<StoredControl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    controls_left_out: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    took_over: Option<TaskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken_over_by: Option<TaskId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requester {
    name: String,
    uid: Option<u32>,
    gid: Option<u32>,
    pid: Option<i32>,
    request: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredControl {
    control: Control,
    by: String,
    at: WallTime,
}

impl From<TaskRecord> for Task {
    fn from(running: TaskRecord) -> Self {
        let TaskRecord {
            identity,
            sequence,
            written_at,
            resuming,
            returning,
            unsent,
            written,
        } = running;
        Self {
            identity: identity.into(),
            sequence,
            written_at,
            resuming,
            returning,
            unsent: unsent.map(|order| order.0),
            written: written.map(Into::into),
        }
    }
}

impl From<Task> for TaskRecord {
    fn from(stored: Task) -> Self {
        let Task {
            identity,
            sequence,
            written_at,
            resuming,
            returning,
            unsent,
            written,
        } = stored;
        Self {
            identity: identity.into(),
            sequence,
            written_at,
            resuming,
            returning,
            unsent: unsent.map(OrderId),
            written: written.map(Into::into),
        }
    }
}

impl From<Identity> for StoredIdentity {
    fn from(running: Identity) -> Self {
        // Each field is named: a new one does not compile before it is decided how it is stored.
        let Identity {
            id,
            node,
            node_uuid,
            batch,
            operation,
            requested_by,
            requested_at,
            started_at,
            ended_at,
            version,
            controls,
            controls_left_out,
            took_over,
            taken_over_by,
        } = running;
        Self {
            id,
            node,
            node_uuid,
            batch,
            operation: operation.into(),
            requested_by: (&requested_by).into(),
            requested_at,
            started_at,
            ended_at,
            version,
            controls: controls.into_iter().map(Into::into).collect(),
            // Records from before this field have none: zero is written as they are.
            controls_left_out: (controls_left_out > 0).then_some(controls_left_out),
            took_over,
            taken_over_by,
        }
    }
}

impl From<StoredIdentity> for Identity {
    fn from(stored: StoredIdentity) -> Self {
        let StoredIdentity {
            id,
            node,
            node_uuid,
            batch,
            operation,
            requested_by,
            requested_at,
            started_at,
            ended_at,
            version,
            controls,
            controls_left_out,
            took_over,
            taken_over_by,
        } = stored;
        Self {
            id,
            node,
            node_uuid,
            batch,
            operation: operation.into(),
            requested_by: requested_by.into(),
            requested_at,
            started_at,
            ended_at,
            version,
            controls: controls.into_iter().map(Into::into).collect(),
            controls_left_out: controls_left_out.unwrap_or(0),
            took_over,
            taken_over_by,
        }
    }
}

impl From<&Who> for Requester {
    fn from(running: &Who) -> Self {
        let Who {
            name,
            uid,
            gid,
            pid,
            request,
        } = running;
        Self {
            name: name.clone(),
            uid: *uid,
            gid: *gid,
            pid: *pid,
            request: request.clone(),
        }
    }
}

impl From<Requester> for Who {
    fn from(stored: Requester) -> Self {
        let Requester {
            name,
            uid,
            gid,
            pid,
            request,
        } = stored;
        Self {
            name,
            uid,
            gid,
            pid,
            request,
        }
    }
}

impl From<UsedControl> for StoredControl {
    fn from(running: UsedControl) -> Self {
        let UsedControl { control, by, at } = running;
        Self {
            control: control.into(),
            by,
            at,
        }
    }
}

impl From<StoredControl> for UsedControl {
    fn from(stored: StoredControl) -> Self {
        let StoredControl { control, by, at } = stored;
        Self {
            control: control.into(),
            by,
            at,
        }
    }
}
