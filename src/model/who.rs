//! Who asks, and what they may do.

use super::words::words;
use serde::{Deserialize, Serialize};

/// Who asks: goes into tasks, messages and the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Who {
    /// The name to show: a user of http_basic, a login name, `uid 1000`, or `rackbmcd` itself.
    pub name: String,
    /// User id of the peer of a Unix socket.
    pub uid: Option<u32>,
    /// Group id of the same.
    pub gid: Option<u32>,
    /// Process id of the same.
    pub pid: Option<i32>,
    /// The request id that the answer's header carries.
    pub request: String,
}

words! {
    /// What one may do; each role includes those before it.
    pub enum Role ("role") {
        /// Look.
        Reader = "reader",
        /// Power, tasks, maintenance.
        Operator = "operator",
        /// Everything, raw commands included.
        Admin = "admin",
    }
}
