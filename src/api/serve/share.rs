//! What one client may take of what there is: connections and streams by user, and bytes that wait to be written.

use crate::api::access::Peer;
use crate::model::{Policy, Role};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places of one kind, each taken by somebody.
#[derive(Default)]
pub struct Places(RefCell<BTreeMap<Option<u32>, usize>>);

/// A place; it is free again when this is dropped.
pub struct Place {
    places: Rc<Places>,
    uid: Option<u32>,
}

impl Places {
    /// One of `limit` places for `peer`. Whoever is admin of the rack may have any; the last ones are kept for them, and
    /// no other user of this host gets more than a quarter.
    pub fn take(self: &Rc<Self>, limit: usize, peer: &Peer, policy: &Policy) -> Option<Place> {
        let admin = policy.rights(peer).everywhere(Role::Admin);
        let mut taken = self.0.borrow_mut();
        let all: usize = taken.values().sum();
        let own = taken.entry(peer.uid).or_default();
        let most = if admin { limit } else { limit - kept(limit) };
        let share = peer.uid.filter(|_| !admin).map(|_| (limit / 4).max(1));
        if all >= most || share.is_some_and(|share| *own >= share) {
            return None;
        }
        *own += 1;
        Some(Place {
            places: self.clone(),
            uid: peer.uid,
        })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.0.borrow().values().sum()
    }
}

/// How many of `limit` places are kept for admins.
fn kept(limit: usize) -> usize {
    (limit / 8).min(16)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.borrow_mut();
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

/// Bytes of answers that wait to be written, on all connections.
#[derive(Clone, Default)]
pub struct Unwritten(Arc<AtomicUsize>);

/// The bytes of one answer, counted for as long as they are there.
pub struct Counted {
    bytes: Vec<u8>,
    unwritten: Unwritten,
}

impl Unwritten {
    /// Whether so many more are too many. A few are never.
    pub fn refuses(&self, more: usize) -> bool {
        more > SMALL && self.0.load(Ordering::Relaxed) + more > UNWRITTEN_LIMIT
    }

    /// Counts the bytes of an answer.
    pub fn count(&self, bytes: Vec<u8>) -> Counted {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Counted {
            bytes,
            unwritten: self.clone(),
        }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.unwritten
            .0
            .fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Bytes that may wait to be written, on all connections.
const UNWRITTEN_LIMIT: usize = 16 * 1024 * 1024;
/// Answers that are never refused for their size: those to changes, and refusals.
const SMALL: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(uid: u32) -> Peer {
        Peer::unix(uid, uid, None)
    }

    #[test]
    fn one_user_gets_a_quarter_and_admins_find_a_place() {
        let (places, policy) = (Rc::new(Places::default()), Policy::default());
        let take = |uid| places.take(64, &somebody(uid), &policy);
        let mut held: Vec<Place> = std::iter::from_fn(|| take(1)).collect();
        assert_eq!(held.len(), 16);
        for uid in 2..9 {
            held.extend(std::iter::from_fn(|| take(uid)));
        }
        assert_eq!(held.len(), 56, "the last ones are kept");
        let admins: Vec<Place> = std::iter::from_fn(|| take(0)).collect();
        assert_eq!(admins.len(), 8);
        drop((held, admins));
        assert_eq!(places.taken(), 0);
        assert!(take(1).is_some());
    }

    #[test]
    fn what_waits_to_be_written_is_bounded_and_small_answers_always_go() {
        let unwritten = Unwritten::default();
        let mut held = Vec::new();
        while !unwritten.refuses(1024 * 1024) {
            held.push(unwritten.count(vec![0; 1024 * 1024]));
        }
        assert_eq!(held.len(), 16);
        assert!(!unwritten.refuses(1000));
        held.pop();
        assert!(!unwritten.refuses(1024 * 1024));
    }
}
