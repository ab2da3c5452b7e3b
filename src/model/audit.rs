//! The audit trail as a body.

use serde::{Deserialize, Serialize};

/// A stretch of the audit trail: `GET /v1/audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditPage {
    /// The records, oldest first, each the exact text that was stored: its hash is in the next one.
    pub records: Vec<String>,
    /// The newest record there is, as remembered apart from the records.
    pub head: AuditHead,
}

/// The newest record of the audit trail, by number and hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditHead {
    /// Its number; 0 where nothing was ever recorded.
    pub number: u64,
    /// The SHA-256 of its text, in hexadecimal; zeros where nothing was ever recorded.
    pub hash: String,
}

impl Default for AuditHead {
    fn default() -> Self {
        Self {
            number: 0,
            hash: "0".repeat(64),
        }
    }
}
