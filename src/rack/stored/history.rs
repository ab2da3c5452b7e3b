//! What happened to a node, as it is stored.

use crate::model::{HistoryEntry, Severity, TaskId, Word};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) node: Uuid,
    pub(super) entry: Happened,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Happened {
    at: WallTime,
    kind: String,
    text: String,
    task: Option<TaskId>,
    by: Option<String>,
    error: bool,
}

impl From<&HistoryEntry> for Happened {
    fn from(running: &HistoryEntry) -> Self {
        let HistoryEntry {
            at,
            kind,
            text,
            task,
            by,
            severity,
            more: _,
        } = running;
        Self {
            at: *at,
            kind: kind.to_string(),
            text: text.clone(),
            task: *task,
            by: by.clone(),
            error: *severity == Severity::Error,
        }
    }
}

impl From<Happened> for HistoryEntry {
    fn from(stored: Happened) -> Self {
        let Happened {
            at,
            kind,
            text,
            task,
            by,
            error,
        } = stored;
        Self {
            at,
            // A kind that this program does not know is kept, and shown as it stands.
            kind: Word::of(&kind),
            text,
            task,
            by,
            severity: Severity::of(error).into(),
            more: Default::default(),
        }
    }
}
