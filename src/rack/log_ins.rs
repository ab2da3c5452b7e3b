//! Log-ins for the sake of regular readings: so many at once, rack-wide, so that a rack is known
//! soon after a start and its network is not flooded.
//!
//! Whoever answers keeps its place until its session is open. One that was silent for half a second
//! gives it up and goes on outside: dead BMCs do not keep those waiting that live. Orders, and
//! readings that somebody waits for, never wait for a place, but what they log in to counts.

use super::inventory::NodeId;
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct LogIns {
    slots: BTreeMap<NodeId, Slot>,
    /// Nodes whose reading waits for a place, in the order of their coming.
    waiting: VecDeque<NodeId>,
}

/// A log-in under way.
#[derive(Debug)]
struct Slot {
    /// Datagrams that had come from the BMC when one came last.
    heard: u64,
    /// When that one came, or the log-in began.
    since: Instant,
    /// Whether the BMC has given its place up.
    given_up: bool,
}

impl LogIns {
    /// Whether the next one has to wait.
    pub(super) fn is_full(&self) -> bool {
        let held = self.slots.values().filter(|slot| !slot.given_up);
        held.count() >= AT_ONCE
    }

    /// Whether one is under way whose BMC is not silent.
    pub(super) fn any(&self) -> bool {
        self.slots.values().any(|slot| !slot.given_up)
    }

    /// The node's reading waits for a place.
    pub(super) fn wait(&mut self, node: NodeId) {
        self.waiting.push_back(node);
    }

    /// The node whose turn has come, if a place is free.
    pub(super) fn next(&mut self) -> Option<NodeId> {
        if self.waiting.is_empty() || self.is_full() {
            return None;
        }
        self.waiting.pop_front()
    }

    /// How it stands with the node's BMC: how many datagrams came from it, where it is being logged
    /// in to.
    pub(super) fn note(&mut self, node: NodeId, logging_in: Option<u64>, now: Instant) {
        let Some(heard) = logging_in else {
            self.slots.remove(&node);
            return;
        };
        let slot = self.slots.entry(node).or_insert(Slot {
            heard,
            since: now,
            given_up: false,
        });
        // A slow BMC keeps its place as long as it says something.
        if slot.heard != heard {
            (slot.heard, slot.since) = (heard, now);
        }
    }

    /// BMCs that were silent for too long give their places up.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            slot.given_up |= slot.since + SILENT <= now;
        }
    }

    /// When the next one was silent for too long, where somebody waits for its place.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        // Where nobody waits no place has to be given up: the shell need not wake for that.
        if self.waiting.is_empty() {
            return None;
        }
        let held = self.slots.values().filter(|slot| !slot.given_up);
        held.map(|slot| slot.since + SILENT).min()
    }
}

/// Log-ins under way at once.
pub(super) const AT_ONCE: usize = 32;
/// How long a BMC may say nothing and keep its place: the dead do not keep the living waiting.
const SILENT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::super::tests::{at, inventory};
    use super::*;

    fn millis(millis: u64) -> Instant {
        at(1).now + Duration::from_millis(millis)
    }

    #[test]
    fn whoever_comes_when_all_places_are_taken_waits_for_the_first_that_is_free() {
        let ids = inventory(AT_ONCE + 2).ids();
        let mut log_ins = LogIns::default();
        for id in &ids[..AT_ONCE] {
            assert!(!log_ins.is_full());
            log_ins.note(*id, Some(0), millis(0));
        }
        assert!(log_ins.is_full());
        log_ins.wait(ids[AT_ONCE]);
        log_ins.wait(ids[AT_ONCE + 1]);
        assert_eq!(log_ins.next(), None);
        log_ins.note(ids[3], None, millis(1));
        assert_eq!(log_ins.next(), Some(ids[AT_ONCE]));
        log_ins.note(ids[AT_ONCE], Some(0), millis(1));
        assert_eq!(log_ins.next(), None);
    }

    #[test]
    fn the_silent_give_their_places_up_and_those_that_answer_keep_them() {
        let ids = inventory(AT_ONCE + 1).ids();
        let mut log_ins = LogIns::default();
        for id in &ids[..AT_ONCE] {
            log_ins.note(*id, Some(0), millis(0));
        }
        log_ins.wait(ids[AT_ONCE]);
        for id in &ids[1..AT_ONCE] {
            log_ins.note(*id, Some(1), millis(400));
        }
        assert_eq!(log_ins.next_timeout(), Some(millis(500)));
        log_ins.handle_timeout(millis(500));
        assert_eq!(log_ins.next(), Some(ids[AT_ONCE]));
        // Nobody waits any more: nothing is due.
        assert_eq!(log_ins.next_timeout(), None);
        log_ins.handle_timeout(millis(899));
        assert!(log_ins.any());
        log_ins.handle_timeout(millis(900));
        assert!(!log_ins.any());
    }
}
