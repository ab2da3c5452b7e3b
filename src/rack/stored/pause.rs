//! The pause of the rack as it is stored, and holds of every kind.

use crate::model::{self, TaskId};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    hold: Hold,
    tasks: BTreeSet<TaskId>,
}

/// Why something is held, by whom and since when.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hold {
    reason: Option<String>,
    by: String,
    since: WallTime,
}

impl From<&crate::rack::gate::Pause> for Pause {
    fn from(running: &crate::rack::gate::Pause) -> Self {
        let crate::rack::gate::Pause { hold, tasks } = running;
        Self {
            hold: hold.into(),
            tasks: tasks.clone(),
        }
    }
}

impl From<Pause> for crate::rack::gate::Pause {
    fn from(stored: Pause) -> Self {
        let Pause { hold, tasks } = stored;
        Self {
            hold: hold.into(),
            tasks,
        }
    }
}

impl From<&model::Hold> for Hold {
    fn from(running: &model::Hold) -> Self {
        let model::Hold { reason, by, since } = running;
        Self {
            reason: reason.clone(),
            by: by.clone(),
            since: *since,
        }
    }
}

impl From<Hold> for model::Hold {
    fn from(stored: Hold) -> Self {
        let Hold { reason, by, since } = stored;
        Self { reason, by, since }
    }
}
