//! Orders outside tasks, as they are stored where the rack has a second host.

use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Intent {
    node: Uuid,
    what: String,
    by: String,
    at: WallTime,
}

impl From<&super::Intent> for Intent {
    fn from(running: &super::Intent) -> Self {
        let super::Intent { node, what, by, at } = running;
        Self {
            node: *node,
            what: what.clone(),
            by: by.clone(),
            at: *at,
        }
    }
}

impl From<Intent> for super::Intent {
    fn from(stored: Intent) -> Self {
        let Intent { node, what, by, at } = stored;
        Self { node, what, by, at }
    }
}
