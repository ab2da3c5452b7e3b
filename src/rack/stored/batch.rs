//! A batch as it is stored; its tasks are stored by themselves.

use super::super::batch::{BatchRecord, LeftOut, Member};
use super::task::Requester;
use crate::model::{BatchId, TaskId};
use crate::power::stored::words::{Operation, stored_words};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    id: BatchId,
    operation: Operation,
    requested_by: Requester,
    requested_at: WallTime,
    ended_at: Option<WallTime>,
    max_parallel: u32,
    stagger: Duration,
    on_failure: OnFailure,
    members: Vec<StoredMember>,
    // This field came within a format: a record without it reads, and is written, as before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<StoredLeftOut>,
    stopped: bool,
}

/// A busy node that was left as it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLeftOut {
    node: String,
    why: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMember {
    node: String,
    task: TaskId,
    rank: usize,
}

stored_words! {
    /// What a batch does when a node fails.
    OnFailure = crate::model::OnFailure {
        "continue" = Continue,
        "stop" = Stop,
    }
}

impl From<&BatchRecord> for Batch {
    fn from(running: &BatchRecord) -> Self {
        let BatchRecord {
            id,
            operation,
            requested_by,
            requested_at,
            ended_at,
            max_parallel,
            stagger,
            on_failure,
            members,
            left_out,
            stopped,
        } = running;
        Self {
            id: *id,
            operation: (*operation).into(),
            requested_by: requested_by.into(),
            requested_at: *requested_at,
            ended_at: *ended_at,
            max_parallel: *max_parallel,
            stagger: *stagger,
            on_failure: (*on_failure).into(),
            members: members.iter().map(Into::into).collect(),
            left_out: left_out
                .iter()
                .map(|LeftOut { node, why }| StoredLeftOut {
                    node: node.clone(),
                    why: why.clone(),
                })
                .collect(),
            stopped: *stopped,
        }
    }
}

impl From<Batch> for BatchRecord {
    fn from(stored: Batch) -> Self {
        let Batch {
            id,
            operation,
            requested_by,
            requested_at,
            ended_at,
            max_parallel,
            stagger,
            on_failure,
            members,
            left_out,
            stopped,
        } = stored;
        Self {
            id,
            operation: operation.into(),
            requested_by: requested_by.into(),
            requested_at,
            ended_at,
            max_parallel,
            stagger,
            on_failure: on_failure.into(),
            members: members.into_iter().map(Into::into).collect(),
            left_out: left_out
                .into_iter()
                .map(|StoredLeftOut { node, why }| LeftOut { node, why })
                .collect(),
            stopped,
        }
    }
}

impl From<&Member> for StoredMember {
    fn from(running: &Member) -> Self {
        let Member { node, task, rank } = running;
        Self {
            node: node.clone(),
            task: *task,
            rank: *rank,
        }
    }
}

impl From<StoredMember> for Member {
    fn from(stored: StoredMember) -> Self {
        let StoredMember { node, task, rank } = stored;
        Self { node, task, rank }
    }
}
