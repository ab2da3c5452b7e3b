//! The limit of the audit trail: where its records are more bytes than they may be the oldest are
//! removed, and a new record has the seal on them, in the same transaction. So the chain is checked
//! from the first record that is left, and a cut by anybody else shows.
//!
//! What is removed is checked first: a chain that was broken stays known to have been, by the
//! number of places in the seal.

use super::{AuditLog, PAGE, key, of_the_daemon};
use crate::api::audit::{Breach, Chain, Seal};
use crate::daemon::store::{Store, StoreError};
use crate::rack::record::{Table, Write};
use crate::time::WallTime;
use std::path::Path;

/// What is looked for at the old end of a trail.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Surplus {
    /// So many bytes are to go.
    bytes: u64,
    /// What went before.
    sealed: Option<Seal>,
    /// Records from this one on stay.
    newest: u64,
}

/// The oldest records, which are to go.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Oldest {
    keys: Vec<String>,
    bytes: u64,
    seal: Seal,
    breaches: Vec<Breach>,
}

impl AuditLog {
    /// What is too much of the trail, where it is longer than `limit` bytes. A sixteenth more than
    /// must go goes, so that not every new record removes an old one.
    pub(in crate::daemon) fn surplus(&self, limit: u64) -> Option<Surplus> {
        (self.bytes > limit).then(|| Surplus {
            bytes: self.bytes - limit + limit / 16,
            sealed: self.sealed.clone(),
            newest: self.head.number,
        })
    }

    /// The bytes of all records.
    pub(in crate::daemon) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The writes that remove the oldest records and append the one with the seal on them.
    pub(in crate::daemon) fn remove(
        &mut self,
        oldest: Oldest,
        configuration: &Path,
        at: WallTime,
    ) -> Vec<Write> {
        let Oldest {
            keys,
            bytes,
            seal,
            breaches,
        } = oldest;
        let mut what = format!(
            "removed the oldest records, up to {}, for audit_megabytes",
            seal.number
        );
        if !breaches.is_empty() {
            let said: Vec<String> = breaches.iter().take(SAID).map(Breach::to_string).collect();
            what += &format!("; they were not whole: {}", said.join(", "));
            log::error!("the audit trail: {what}");
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        let audit = of_the_daemon("PRUNE", configuration, what, None);
        let mut writes = self.append_sealed(audit, Some(seal), at);
        writes.extend(keys.into_iter().map(|key| Write::Delete {
            table: Table::Audit,
            key,
        }));
        writes
    }
}

/// Looks at the oldest records, as many as are too much, or can be removed at once. `None` where
/// there are none.
///
/// # Errors
/// The disk's.
pub(in crate::daemon) fn oldest(
    store: &mut Store,
    surplus: &Surplus,
) -> Result<Option<Oldest>, StoreError> {
    let sealed = surplus.sealed.as_ref();
    let mut chain = sealed.map_or_else(|| Chain::new(None), Chain::behind);
    let (mut keys, mut bytes): (Vec<String>, u64) = (Vec::new(), 0);
    let end = key(surplus.newest);
    // Those before may still be there: a disk that refuses has not removed them yet.
    let gone = sealed.map_or_else(String::new, |seal| key(seal.number));
    while bytes < surplus.bytes && keys.len() < AT_ONCE {
        let last = keys.last().unwrap_or(&gone);
        let page = store.after_with_keys(Table::Audit, last, PAGE)?;
        let before = keys.len();
        for (key, value) in page {
            if bytes >= surplus.bytes || keys.len() == AT_ONCE || key >= end {
                break;
            }
            chain.follow(&String::from_utf8_lossy(&value));
            bytes += (key.len() + value.len()) as u64;
            keys.push(key);
        }
        if keys.len() == before {
            break;
        }
    }
    if keys.is_empty() {
        return Ok(None);
    }
    let (last, breaches) = chain.so_far();
    let seal = Seal {
        number: last.number,
        hash: last.hash,
        breaches: sealed.map_or(0, |seal| seal.breaches) + breaches.len() as u64,
    };
    Ok(Some(Oldest {
        keys,
        bytes,
        seal,
        breaches,
    }))
}

/// Records that are removed at once; more are removed right after.
const AT_ONCE: usize = 1000;
/// Breaches that a record tells of.
const SAID: usize = 5;

#[cfg(test)]
mod tests {
    use super::super::tests::{audit, drop_record, put};
    use super::super::{read, verify};
    use super::*;
    use crate::model::AuditHead;

    /// A trail with so many records more, and no more bytes than `limit` afterwards.
    fn written(store: &mut Store, count: usize, limit: u64) {
        let mut trail = AuditLog::open(store).unwrap();
        for _ in 0..count {
            let writes = trail.append(audit("/v1/tasks"), WallTime::default());
            store.commit(&writes).unwrap();
            while let Some(surplus) = trail.surplus(limit) {
                let oldest = oldest(store, &surplus).unwrap().expect("there are some");
                let writes = trail.remove(oldest, Path::new("/etc/x"), WallTime::default());
                store.commit(&writes).unwrap();
            }
            assert!(trail.bytes() <= limit);
        }
    }

    fn first(store: &mut Store) -> u64 {
        let keys = store.keys(Table::Audit).unwrap();
        keys[0].parse().unwrap()
    }

    /// A disk that is full when they are to be removed has them still when the next ones are looked
    /// for.
    #[test]
    fn what_is_not_yet_removed_is_no_breach() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        let mut trail = AuditLog::open(&mut store).unwrap();
        for _ in 0..40 {
            let writes = trail.append(audit("/v1/tasks"), WallTime::default());
            store.commit(&writes).unwrap();
        }
        let mut waiting = Vec::new();
        let mut limit = trail.bytes();
        for _ in 0..3 {
            limit -= limit / 4;
            let surplus = trail.surplus(limit).expect("too much");
            let oldest = oldest(&mut store, &surplus).unwrap().expect("some");
            assert_eq!(oldest.breaches, []);
            waiting.extend(trail.remove(oldest, Path::new("/etc/x"), WallTime::default()));
        }
        store.commit(&waiting).unwrap();
        let (head, removed, breaches) = verify(&mut store).unwrap();
        assert_eq!((head.number, breaches), (43, Vec::new()));
        assert!(removed > 20, "{removed}");
        let there = store.after(Table::Audit, "", 100).unwrap().len();
        assert_eq!(there as u64, 43 - removed);
    }

    #[test]
    fn a_trail_keeps_its_limit_over_restarts_and_is_whole() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        for _ in 0..3 {
            written(&mut store, 100, 16 * 1024);
            let (head, removed, breaches) = verify(&mut store).unwrap();
            assert_eq!(breaches, []);
            assert!(removed > 0 && first(&mut store) == removed + 1, "{removed}");
            assert!(head.number > 100);
            let trail = AuditLog::open(&mut store).unwrap();
            assert_eq!(trail.bytes(), store.bytes_of(Table::Audit).unwrap());
            drop(store);
            store = Store::open(home.path()).unwrap();
        }
        let newest = read(&mut store, 0, 1000).unwrap().records;
        assert!(newest.iter().any(|record| record.contains("PRUNE")));
    }

    #[test]
    fn a_trail_from_before_the_limit_is_counted_and_shortened_by_pieces() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        let mut trail = AuditLog::open(&mut store).unwrap();
        let all = (0..2500).flat_map(|_| trail.append(audit("/v1/tasks"), WallTime::default()));
        let mut all: Vec<Write> = all.collect();
        let head = AuditHead::clone(&trail.head);
        all.push(Write::Put {
            table: Table::Rack,
            key: super::super::HEAD.to_owned(),
            value: serde_json::to_vec(&head).unwrap().into(),
        });
        store.commit(&all).unwrap();
        written(&mut store, 1, 16 * 1024);
        assert_eq!(verify(&mut store).unwrap().2, []);
        assert!(first(&mut store) > 2000);
    }

    #[test]
    fn a_cut_by_hand_shows_before_and_after_more_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        written(&mut store, 100, 16 * 1024);
        let from = first(&mut store);
        store
            .commit(&[drop_record(from), drop_record(from + 1)])
            .unwrap();
        let found = from + 2;
        assert_eq!(verify(&mut store).unwrap().2, [Breach::Cut { from, found }]);
        written(&mut store, 100, 16 * 1024);
        let (_, removed, breaches) = verify(&mut store).unwrap();
        let broken = Breach::RemovedBroken {
            removed,
            breaches: 1,
        };
        let told = broken.to_string();
        assert_eq!(breaches, [broken]);
        assert!(told.contains("missing or changed (places: 1)"), "{told}");
        // It is not forgotten when the record that told it is removed in its turn.
        written(&mut store, 300, 16 * 1024);
        let breaches = verify(&mut store).unwrap().2;
        assert!(
            matches!(breaches[..], [Breach::RemovedBroken { breaches: 1, .. }]),
            "{breaches:?}"
        );
    }

    #[test]
    fn a_seal_is_part_of_the_chain_and_cannot_be_edited() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        written(&mut store, 100, 16 * 1024);
        let records = read(&mut store, 0, 1000).unwrap().records;
        let last = records.iter().rfind(|record| record.contains("PRUNE"));
        let last = last.expect("a seal");
        let record: serde_json::Value = serde_json::from_str(last).unwrap();
        let number = record["number"].as_u64().unwrap();
        let removed = record["sealed"]["number"].as_u64().unwrap();
        let forged = last.replace(
            &format!("\"sealed\":{{\"number\":{removed}"),
            &format!("\"sealed\":{{\"number\":{}", removed + 1),
        );
        assert_ne!(*last, forged);
        store
            .commit(&[put(number, forged.as_bytes()), drop_record(removed + 1)])
            .unwrap();
        let breaches = verify(&mut store).unwrap().2;
        let changed = Breach::Changed { number };
        assert!(breaches.contains(&changed), "{breaches:?}");
    }
}
