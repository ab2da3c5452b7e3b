//! The audit trail: who changed what, one record a change, append-only, each chained to the one
//! before by SHA-256, so that a cut or an edit shows (`rackbmc audit verify`, `rackbmcd
//! --verify-audit`).
//!
//! The newest record's number and hash stand a second time, in another table, written in the same
//! transaction: so the loss of the newest records shows too.
//!
//! A trail that is longer than it may be loses its oldest records: [`limit`].

pub(super) mod limit;

use super::store::{Store, StoreError};
use crate::api::audit::{Breach, Chain, Seal, hash};
use crate::api::serve::Audit;
use crate::model::{AuditHead, AuditPage, Who, visible_json};
use crate::rack::record::{TRAIL_END, Table, Write};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::path::Path;

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
    pub(super) nodes: Option<String>,
    pub(super) what: Option<String>,
    pub(super) status: u16,
    pub(super) task: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) batch: Option<String>,
    pub(super) error: Option<String>,
    /// On older records, which this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sealed: Option<Seal>,
    /// The hash of the record before, in hexadecimal; zeros for the first.
    pub(super) before: String,
}

/// The end of the chain, and how much there is of it.
#[derive(Debug)]
pub(super) struct AuditLog {
    head: AuditHead,
    /// The bytes of all records, with their keys.
    bytes: u64,
    /// On the records that were removed.
    sealed: Option<Seal>,
}

/// What is remembered of the trail apart from its records.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    #[serde(flatten)]
    newest: AuditHead,
    /// Not counted before the trail had a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<Seal>,
}

impl AuditLog {
    /// The trail that goes on after what the store has.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn open(store: &mut Store) -> Result<Self, StoreError> {
        let last = store.last(Table::Audit)?;
        let remembered = store.entry(Table::Rack, HEAD)?;
        let remembered =
            remembered.and_then(|bytes| serde_json::from_slice::<Remembered>(&bytes).ok());
        let newest = remembered.as_ref().map(|it| it.newest.clone());
        let Remembered { bytes, sealed, .. } = remembered.unwrap_or_default();
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => store.bytes_of(Table::Audit)?,
        };
        Ok(Self {
            head: after(last, newest),
            bytes,
            sealed,
        })
    }

    /// The number and the hash of the newest record.
    pub(super) fn head(&self) -> &AuditHead {
        &self.head
    }

    /// The writes that append what happened: the record, and what is remembered of it.
    pub(super) fn append(&mut self, audit: Audit, at: WallTime) -> Vec<Write> {
        self.append_sealed(audit, None, at)
    }

    fn append_sealed(&mut self, audit: Audit, seal: Option<Seal>, at: WallTime) -> Vec<Write> {
        let Audit {
            who,
            method,
            path,
            nodes,
            what,
            status,
            task,
            batch,
            error,
        } = audit;
        let number = self.head.number + 1;
        let record = Record {
            number,
            at,
            user: who.name,
            uid: who.uid,
            gid: who.gid,
            pid: who.pid,
            request: who.request,
            method,
            path,
            nodes,
            what,
            status,
            task,
            batch,
            error,
            sealed: seal.clone(),
            before: self.head.hash.clone(),
        };
        let key = key(number);
        let value = serde_json::to_string(&record).expect("a record has string keys and no floats");
        // Paths and refusals have what clients wrote in them, and whoever reads the trail may do so
        // on a terminal.
        let value = visible_json(value).into_bytes();
        self.head = AuditHead {
            number,
            hash: hash(&value),
        };
        self.bytes += (key.len() + value.len()) as u64;
        self.sealed = seal.or(self.sealed.take());
        let remembered = Remembered {
            newest: self.head.clone(),
            bytes: Some(self.bytes),
            sealed: self.sealed.clone(),
        };
        let remembered = serde_json::to_vec(&remembered).expect("numbers and texts");
        vec![
            Write::Put {
                table: Table::Audit,
                key,
                value: value.into(),
            },
            Write::Put {
                table: Table::Rack,
                key: HEAD.to_owned(),
                value: remembered.into(),
            },
        ]
    }
}

/// What the next record comes after: `last` is the newest record there is, `newest` what is
/// remembered of the newest that was written. Where they differ the trail was tampered with: it
/// goes on after the later of the two, so that the gap stays to be seen.
fn after(last: Option<(String, Vec<u8>)>, newest: Option<AuditHead>) -> AuditHead {
    // By its key: a record that cannot be read is not written over either.
    let record = last.and_then(|(key, bytes)| {
        // Nothing could follow the last number that there is: somebody put it there, and it is no
        // reason to begin anew.
        let number = key.parse().ok().filter(|number| *number < LAST_NUMBER)?;
        let hash = hash(&bytes);
        Some(AuditHead { number, hash })
    });
    let found = record.unwrap_or_default();
    match newest {
        Some(newest) if newest != found => {
            log::error!(
                "the audit trail is not as it was written: its newest record is {}, and {} was the newest written; see \
                 rackbmc audit verify",
                found.number,
                newest.number
            );
            if newest.number >= found.number {
                newest
            } else {
                found
            }
        }
        None if found.number > 0 => {
            log::error!(
                "the audit trail is not as it was written: it ends with number {}, and nothing says which was the newest \
                 written; see rackbmc audit verify",
                found.number
            );
            // A number is left out, so that this stays to be seen.
            AuditHead {
                number: found.number + 1,
                ..AuditHead::default()
            }
        }
        _ => found,
    }
}

/// What the daemon did itself: `action` is `START`, `STOP`, `RELOAD` or `PRUNE`, `path` the
/// configuration's.
pub(super) fn of_the_daemon(
    action: &str,
    path: &Path,
    what: String,
    error: Option<String>,
) -> Audit {
    Audit {
        who: Who {
            uid: Some(nix::unistd::getuid().as_raw()),
            pid: Some(nix::unistd::getpid().as_raw()),
            ..Who::rackbmcd()
        },
        method: action.to_owned(),
        path: path.display().to_string(),
        nodes: None,
        what: Some(what),
        status: if error.is_some() { 409 } else { 200 },
        task: None,
        batch: None,
        error,
    }
}

/// Where a table gets what is meant, and its key where it is one thing: of several none is the one.
pub(super) fn put_in(
    batches: &[(u64, Vec<Write>)],
    of: Table,
    meant: impl Fn(&str) -> bool,
) -> (Option<usize>, Option<String>) {
    let mut found = batches.iter().enumerate().flat_map(|(place, (_, writes))| {
        let meant = &meant;
        writes.iter().filter_map(move |write| match write {
            Write::Put { table, key, .. } if *table == of && meant(key) => Some((place, key)),
            _ => None,
        })
    });
    let Some((place, first)) = found.next() else {
        return (None, None);
    };
    let one = found.all(|(_, key)| key == first);
    (Some(place), one.then(|| first.clone()))
}

/// A stretch of the trail as the store has it.
///
/// # Errors
/// The disk's.
pub(super) fn read(store: &mut Store, after: u64, limit: usize) -> Result<AuditPage, StoreError> {
    let records = store.after(Table::Audit, &key(after), limit)?;
    let head = store.entry(Table::Rack, HEAD)?;
    let head = head.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(AuditPage {
        records: records
            .into_iter()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect(),
        head: head.unwrap_or_default(),
    })
}

/// Looks at the whole trail of a store that no daemon uses: its newest record, the last one that
/// was removed with the oldest, and what is wrong with them.
///
/// # Errors
/// The disk's.
pub(super) fn verify(store: &mut Store) -> Result<(AuditHead, u64, Vec<Breach>), StoreError> {
    let mut chain = Chain::new(None);
    let mut last = String::new();
    loop {
        let page = store.after_with_keys(Table::Audit, &last, PAGE)?;
        let Some((newest, _)) = page.last() else {
            break;
        };
        last.clone_from(newest);
        for (_, bytes) in &page {
            chain.follow(&String::from_utf8_lossy(bytes));
        }
    }
    let head = read(store, u64::MAX, 0)?.head;
    let removed = chain.removed();
    Ok((head.clone(), removed, chain.finish(&head)))
}

fn key(number: u64) -> String {
    format!("{number:020}")
}

/// Whether an entry is ours, and none of the rack's.
pub(super) fn is_ours(table: Table, key: &str) -> bool {
    (table, key) == (Table::Rack, HEAD)
}

/// No record of the daemon has this number or a greater one.
const LAST_NUMBER: u64 = u64::MAX / 2;
/// Where the newest record's number and hash stand.
const HEAD: &str = TRAIL_END;
/// Records looked at together.
const PAGE: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn audit(path: &str) -> Audit {
        Audit {
            who: Who::default(),
            method: "PUT".into(),
            path: path.into(),
            nodes: None,
            what: None,
            status: 202,
            task: None,
            batch: None,
            error: None,
        }
    }

    fn written(store: &mut Store, paths: &[&str]) {
        let mut trail = AuditLog::open(store).unwrap();
        for path in paths {
            store
                .commit(&trail.append(audit(path), WallTime::default()))
                .unwrap();
        }
    }

    /// Each hash covers these bytes: what is renamed here breaks every trail there is. Revert that,
    /// and edit nothing below.
    #[test]
    fn a_record_is_stored_in_these_bytes_for_ever() {
        let whole = concat!(
            r#"{"number":7,"at":1795674699665085,"user":"alice","uid":1000,"gid":100,"pid":42,"request":"req-1","#,
            r#""method":"POST","path":"/v1/batches","nodes":"n[01-02]","what":"rebooting","status":202,"task":"t","#,
            r#""batch":"b","error":"e","sealed":{"number":3,"hash":"aa","breaches":1},"before":"bb"}"#
        );
        let frozen = include_str!("../../tests/journal/v3/journal.redb.jsonl").lines();
        let of_the_trail = r#"{"table":"audit","#;
        let entries = frozen.filter(|line| line.starts_with(of_the_trail));
        let values = entries.map(|line| {
            let (_, value) = line.split_once(r#""value":"#).expect("an entry");
            value.strip_suffix('}').expect("an entry")
        });
        let records: Vec<&str> = values.chain([whole]).collect();
        assert!(records.len() > 5, "the frozen journal has a trail");
        for text in records {
            let record: Record = serde_json::from_str(text).expect("a record");
            assert_eq!(serde_json::to_string(&record).expect("JSON"), text);
        }
    }

    pub(super) fn put(number: u64, value: &[u8]) -> Write {
        Write::Put {
            table: Table::Audit,
            key: key(number),
            value: value.into(),
        }
    }

    pub(super) fn drop_record(number: u64) -> Write {
        Write::Delete {
            table: Table::Audit,
            key: key(number),
        }
    }

    #[test]
    fn the_chain_goes_on_over_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        written(&mut store, &["/a", "/b"]);
        written(&mut store, &["/c"]);
        let page = read(&mut store, 0, 10).unwrap();
        assert_eq!((page.records.len(), page.head.number), (3, 3));
        assert_eq!(page.head.hash, hash(page.records[2].as_bytes()));
        assert_eq!(read(&mut store, 2, 10).unwrap().records, page.records[2..]);
        assert_eq!(read(&mut store, 0, 2).unwrap().records, page.records[..2]);
        assert_eq!(verify(&mut store).unwrap(), (page.head, 0, vec![]));
    }

    #[test]
    fn records_cut_off_at_the_end_stay_missed_when_the_daemon_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        written(&mut store, &["/a", "/b", "/c"]);
        store.commit(&[drop_record(3), drop_record(2)]).unwrap();
        let truncated = Breach::Truncated { last: 1, head: 3 };
        assert_eq!(verify(&mut store).unwrap().2, [truncated]);
        written(&mut store, &["/d"]);
        let cut = Breach::Cut { from: 2, found: 4 };
        assert_eq!(verify(&mut store).unwrap().2, [cut]);
        store.commit(&[drop_record(1), drop_record(4)]).unwrap();
        let all = Breach::Truncated { last: 0, head: 4 };
        assert_eq!(verify(&mut store).unwrap().2, [all]);
    }

    #[test]
    fn records_that_cannot_be_read_are_not_written_over() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        written(&mut store, &["/a", "/b"]);
        let head = Write::Delete {
            table: Table::Rack,
            key: HEAD.to_owned(),
        };
        store.commit(&[put(2, b"garbage"), head]).unwrap();
        written(&mut store, &["/c"]);
        let records = read(&mut store, 0, 10).unwrap().records;
        assert_eq!(records.len(), 3);
        assert!(records[0].contains("/a") && records[2].contains("/c"));
    }

    #[test]
    fn a_record_after_which_none_can_come_is_told_and_the_trail_goes_on_where_it_was() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        written(&mut store, &["/a", "/b"]);
        let text = read(&mut store, 1, 1).unwrap().records.remove(0);
        let last = text.replace("\"number\":2", &format!("\"number\":{}", u64::MAX));
        store.commit(&[put(u64::MAX, last.as_bytes())]).unwrap();
        written(&mut store, &["/c"]);
        let page = read(&mut store, 0, 10).unwrap();
        assert_eq!(page.head.number, 3);
        for (text, path) in page.records.iter().zip(["/a", "/b", "/c"]) {
            assert!(text.contains(&format!("\"path\":\"{path}\"")), "{text}");
        }
        let breaches = verify(&mut store).unwrap().2;
        let (from, found, last) = (4, u64::MAX, u64::MAX);
        let told = [
            Breach::Cut { from, found },
            Breach::BeyondHead { head: 3, last },
        ];
        assert_eq!(breaches, told);
        assert!(breaches.iter().all(|breach| !breach.to_string().is_empty()));
    }

    #[test]
    fn a_missing_head_is_said_and_does_not_heal() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        written(&mut store, &["/a", "/b"]);
        let head = Write::Delete {
            table: Table::Rack,
            key: HEAD.to_owned(),
        };
        store.commit(&[head]).unwrap();
        let beyond = Breach::BeyondHead { head: 0, last: 2 };
        assert_eq!(verify(&mut store).unwrap().2, [beyond]);
        written(&mut store, &["/c"]);
        let cut = Breach::Cut { from: 3, found: 4 };
        assert_eq!(verify(&mut store).unwrap().2, [cut]);
    }

    #[test]
    fn an_edited_record_shows_also_where_it_is_the_newest() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        written(&mut store, &["/a", "/b", "/c"]);
        for number in 1..=3 {
            let true_text = read(&mut store, number - 1, 1).unwrap().records.remove(0);
            let edited = true_text.replace("202", "403");
            store.commit(&[put(number, edited.as_bytes())]).unwrap();
            assert_eq!(verify(&mut store).unwrap().2, [Breach::Changed { number }]);
            store.commit(&[put(number, true_text.as_bytes())]).unwrap();
        }
        assert_eq!(verify(&mut store).unwrap().2, []);
    }
}
