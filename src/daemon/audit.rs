//! The audit trail: who changed what, one record a change, append-only, each chained to the one before by SHA-256, so
//! that a cut or an edit shows (`rackbmc audit verify`).

use crate::api::serve::Audit;
use crate::rack::record::{Table, Write};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One record. Its hash covers the hash of the one before and everything in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// From 1, without a gap.
    pub(super) number: u64,
    pub(super) at: WallTime,
    pub(super) user: String,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) pid: Option<i32>,
    pub(super) request: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) task: Option<String>,
    pub(super) error: Option<String>,
    /// The hash of the record before, in hexadecimal; zeros for the first.
    pub(super) before: String,
}

/// The end of the chain.
#[derive(Debug)]
pub(super) struct Trail {
    next: u64,
    before: String,
}

impl Trail {
    /// The trail that goes on after `last`, the newest remembered entry.
    pub(super) fn after(last: Option<&[u8]>) -> Self {
        let record = last.and_then(|bytes| {
            serde_json::from_slice::<Record>(bytes)
                .ok()
                .map(|record| (record, bytes))
        });
        match record {
            Some((record, bytes)) => Trail {
                next: record.number + 1,
                before: hash(bytes),
            },
            None => Trail {
                next: 1,
                before: "0".repeat(64),
            },
        }
    }

    /// The write that appends what happened.
    pub(super) fn append(&mut self, audit: Audit, at: WallTime) -> Write {
        let Audit {
            who,
            method,
            path,
            status,
            task,
            error,
        } = audit;
        let record = Record {
            number: self.next,
            at,
            user: who.name,
            uid: who.uid,
            gid: who.gid,
            pid: who.pid,
            request: who.request,
            method,
            path,
            status,
            task,
            error,
            before: self.before.clone(),
        };
        let value = serde_json::to_vec(&record).expect("a record has string keys and no floats");
        let key = format!("{:020}", self.next);
        self.next += 1;
        self.before = hash(&value);
        Write::Put {
            table: Table::Audit,
            key,
            value,
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rack::call::Who;

    fn audit(path: &str) -> Audit {
        Audit {
            who: Who::default(),
            method: "PUT".into(),
            path: path.into(),
            status: 202,
            task: None,
            error: None,
        }
    }

    fn value(write: Write) -> Vec<u8> {
        match write {
            Write::Put { value, .. } => value,
            Write::Delete { .. } => panic!("the trail only grows"),
        }
    }

    #[test]
    fn every_record_carries_the_hash_of_the_one_before_also_over_a_restart() {
        let mut trail = Trail::after(None);
        let first = value(trail.append(audit("/a"), WallTime::default()));
        let mut restarted = Trail::after(Some(&first));
        let second: Record =
            serde_json::from_slice(&value(restarted.append(audit("/b"), WallTime::default())))
                .unwrap();
        assert_eq!((second.number, second.before), (2, hash(&first)));
    }
}
