//! What one client may take of what there is: connections and streams by user or host, and bytes
//! that wait to be written.

use super::login::network;
use crate::api::access::Peer;
use crate::model::{Policy, Role};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

/// Places of one kind, each taken by somebody.
#[derive(Default)]
pub(super) struct Places {
    taken: RefCell<BTreeMap<Holder, usize>>,
    /// Those who wait for one, in the order in which they came.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    last: Cell<u64>,
}

/// A place; it is free again when this is dropped.
pub(super) struct Place {
    places: Rc<Places>,
    holder: Holder,
}

/// Whose places are counted together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// A user of this host.
    Uid(u32),
    /// Another host, or a network of IPv6, of which one host may have all addresses.
    Host(IpAddr),
    /// Whoever comes through a proxy on this host and has said who it is.
    Named(String),
    /// All the others: whoever is behind a proxy on this host.
    Rest,
}

impl Holder {
    /// Whose those of `peer` are.
    pub(super) fn of(peer: &Peer) -> Self {
        if let Some(uid) = peer.uid {
            return Self::Uid(uid);
        }
        let far = |address: &IpAddr| !address.to_canonical().is_loopback();
        if let Some(address) = peer.address.filter(far) {
            return Self::Host(network(address));
        }
        match peer.is_known() {
            true => Self::Named(peer.name()),
            false => Self::Rest,
        }
    }
}

impl Places {
    /// One of `limit` places for `peer`. Whoever is admin of the rack may have any; the last ones
    /// are kept for them, and no other user of this host and no other host gets more than a
    /// quarter.
    pub(super) fn take(
        self: &Rc<Self>,
        limit: usize,
        peer: &Peer,
        policy: &Policy,
    ) -> Option<Place> {
        let admin = policy.rights(peer).everywhere(Role::Admin);
        let mut taken = self.taken.borrow_mut();
        let all: usize = taken.values().sum();
        let holder = Holder::of(peer);
        let own = taken.entry(holder.clone()).or_default();
        let most = if admin { limit } else { limit - kept(limit) };
        let shared_out = !admin && holder != Holder::Rest;
        if all >= most || (shared_out && *own >= (limit / 4).max(1)) {
            return None;
        }
        *own += 1;
        Some(Place {
            places: self.clone(),
            holder,
        })
    }

    /// Waits for one of them: `take` says which there are for whoever asks, and is asked again as
    /// often as one becomes free.
    pub(super) async fn next(self: &Rc<Self>, take: impl Fn(&Rc<Self>) -> Option<Place>) -> Place {
        self.last.set(self.last.get() + 1);
        let waits = Waits {
            places: self.clone(),
            number: self.last.get(),
        };
        poll_fn(|context| match take(self) {
            Some(place) => Poll::Ready(place),
            None => {
                let mut waiting = self.waiting.borrow_mut();
                waiting.insert(waits.number, context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.borrow().values().sum()
    }
}

/// How many of `limit` places are kept for admins.
fn kept(limit: usize) -> usize {
    (limit / 8).min(16)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.borrow_mut();
        if let Some(own) = taken.get_mut(&self.holder) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.holder);
            }
        }
        drop(taken);
        // The first of them may have its share already.
        let waiting = self.places.waiting.take();
        waiting.into_values().for_each(Waker::wake);
    }
}

/// Somebody who waits for a place.
struct Waits {
    places: Rc<Places>,
    number: u64,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.places.waiting.borrow_mut().remove(&self.number);
    }
}

/// Bytes of answers that wait to be written, on all connections.
#[derive(Clone, Default)]
pub(super) struct Unwritten(Arc<AtomicUsize>);

/// The bytes of one answer, counted for as long as they are there.
pub(super) struct Counted {
    bytes: Vec<u8>,
    unwritten: Unwritten,
}

impl Unwritten {
    /// Whether so many more are too many. A few are never, and what is longer than all that may wait
    /// has its place where hardly anything does: a list of tasks with long stories may be 7 MB.
    pub(super) fn refuses(&self, more: usize) -> bool {
        let held = self.0.load(Ordering::Relaxed);
        let alone = held <= UNWRITTEN_LIMIT / 16 && more <= LONGEST_LIMIT;
        more > SMALL && held + more > UNWRITTEN_LIMIT && !alone
    }

    /// Counts the bytes of an answer.
    pub(super) fn count(&self, mut bytes: Vec<u8>) -> Counted {
        // Text that grew has room for up to as much again.
        bytes.shrink_to_fit();
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
const UNWRITTEN_LIMIT: usize = 6 * 1024 * 1024;
/// An answer that goes where hardly anything waits.
const LONGEST_LIMIT: usize = 8 * 1024 * 1024;
/// Answers that are never refused for their size: those to changes, and refusals.
pub(super) const SMALL: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access::Credential;

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
    fn one_host_gets_a_quarter_and_those_behind_a_proxy_here_share_what_there_is() {
        let (places, policy) = (Rc::new(Places::default()), Policy::default());
        let from = |address: &str| Peer {
            address: address.parse().ok(),
            ..Peer::tcp()
        };
        let take = |address| places.take(64, &from(address), &policy);
        let many = |address| std::iter::from_fn(|| take(address)).collect::<Vec<Place>>();
        let held = many("192.0.2.1");
        assert_eq!(held.len(), 16);
        assert!(take("::ffff:192.0.2.1").is_none(), "the same host");
        let network = many("2001:db8::1");
        assert_eq!(network.len(), 16);
        assert!(take("2001:db8::2").is_none(), "perhaps the same host");
        assert!(take("2001:db8:0:1::1").is_some() && take("192.0.2.2").is_some());
        assert_eq!(many("127.0.0.1").len(), 24);
        drop((held, network));
        assert_eq!(many("::1").len(), 56);
    }

    #[test]
    fn users_behind_a_proxy_here_who_say_who_they_are_get_a_quarter_each() {
        let (places, policy) = (Rc::new(Places::default()), Policy::default());
        let of = |user: &str| Peer {
            user: Some(user.to_owned()),
            credential: Some(Credential::Token([0; 32])),
            address: "127.0.0.1".parse().ok(),
            ..Peer::tcp()
        };
        let many = |user| {
            let peer = of(user);
            let taken = std::iter::from_fn(|| places.take(64, &peer, &policy));
            taken.collect::<Vec<Place>>()
        };
        let held = many("anna");
        assert_eq!(held.len(), 16);
        assert_eq!(many("berta").len(), 16);
    }

    #[test]
    fn whoever_waits_for_a_place_has_it_when_one_is_free_for_him() {
        let (places, policy) = (Rc::new(Places::default()), Policy::default());
        let (anna, berta) = (somebody(1), somebody(2));
        let mut held: Vec<Place> = std::iter::from_fn(|| places.take(8, &anna, &policy)).collect();
        let of_berta: Vec<Place> = std::iter::from_fn(|| places.take(8, &berta, &policy)).collect();
        let executor = smol::LocalExecutor::new();
        let next = |peer: &Peer| {
            let (places, policy, peer) = (places.clone(), policy.clone(), peer.clone());
            executor
                .spawn(async move { places.next(|places| places.take(8, &peer, &policy)).await })
        };
        let (first, second, gone) = (next(&anna), next(&berta), next(&anna));
        while executor.try_tick() {}
        drop(gone);
        while executor.try_tick() {}
        assert_eq!(places.waiting.borrow().len(), 2);
        drop(of_berta);
        while executor.try_tick() {}
        assert!(second.is_finished() && !first.is_finished());
        held.pop();
        while executor.try_tick() {}
        assert!(first.is_finished());
        assert!(places.waiting.borrow().is_empty());
    }

    #[test]
    fn what_waits_to_be_written_is_bounded_and_small_answers_always_go() {
        let unwritten = Unwritten::default();
        let mut held = Vec::new();
        while !unwritten.refuses(1024 * 1024) {
            held.push(unwritten.count(vec![0; 1024 * 1024]));
        }
        assert_eq!(held.len(), 6);
        assert!(!unwritten.refuses(1000));
        let mut grown = Vec::with_capacity(1024 * 1024);
        grown.push(0);
        let grown = unwritten.count(grown);
        assert!(
            grown.bytes.capacity() < 1024,
            "what is counted is all that it takes"
        );
        drop(grown);
        held.pop();
        assert!(!unwritten.refuses(1024 * 1024));
        // The longest list.
        assert!(unwritten.refuses(7 * 1024 * 1024));
        held.clear();
        assert!(!unwritten.refuses(7 * 1024 * 1024));
        let first = unwritten.count(vec![0; 7 * 1024 * 1024]);
        assert!(unwritten.refuses(20_000));
        drop(first);
        assert!(unwritten.refuses(9 * 1024 * 1024));
    }
}
