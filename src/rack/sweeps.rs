//! Sweeps: one reading of each of many nodes, for one asker.
//!
//! A sweep reads so many nodes at once; one of which nothing was heard for half a second goes on
//! outside of these places, so that dead BMCs do not keep those waiting that live. What was read is
//! kept by number until the asker looks, and a sweep that nobody looks at any more is forgotten.

use super::call::{CallId, Refused, SweepId};
use super::inventory::NodeId;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Who waits for a fresh reading of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// A call that is answered with it.
    Call(CallId),
    Sweep(SweepId),
}

/// Everything that is read for somebody, node by node.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    sweeps: BTreeMap<SweepId, Sweep>,
    next: u64,
    /// Whether a node was read since this was asked last.
    news: bool,
}

/// What came of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Read {
    pub(super) node: NodeId,
    /// Whether its power state was read.
    pub(super) fresh: bool,
}

#[derive(Debug)]
struct Sweep {
    /// Nodes whose turn has not come.
    line: VecDeque<NodeId>,
    /// Nodes that are being read and hold a place, and until when.
    places: BTreeMap<NodeId, Instant>,
    /// Nodes that were read, or tried in vain, in that order.
    read: Vec<Read>,
    /// How many nodes the sweep has in all.
    all: usize,
    /// When the sweep is forgotten, if nobody looks at it before.
    forget_at: Instant,
}

impl Sweeps {
    /// A new sweep over these nodes, each of them once.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(super) fn begin(&mut self, nodes: Vec<NodeId>, now: Instant) -> Result<SweepId, Refused> {
        // Rule 13: clients that begin sweeps and never look would fill the memory.
        if self.sweeps.len() >= SWEEPS {
            return Err(Refused::Sweeping);
        }
        let mut seen = BTreeSet::new();
        let line: VecDeque<_> = nodes
            .into_iter()
            .filter(|node| seen.insert(*node))
            .collect();
        let id = SweepId(self.next);
        self.next += 1;
        let sweep = Sweep {
            all: line.len(),
            line,
            places: BTreeMap::new(),
            read: Vec::new(),
            forget_at: now + UNWATCHED,
        };
        self.sweeps.insert(id, sweep);
        Ok(id)
    }

    /// The next node to read, and for which sweep.
    pub(super) fn take_next(&mut self, now: Instant) -> Option<(SweepId, NodeId)> {
        let free = |sweep: &&mut Sweep| !sweep.line.is_empty() && sweep.places.len() < AT_ONCE;
        let mut sweeps = self.sweeps.iter_mut();
        let (id, sweep) = sweeps.find_map(|(id, sweep)| Some((*id, Some(sweep).filter(free)?)))?;
        let node = sweep.line.pop_front()?;
        sweep.places.insert(node, now + SILENT);
        Some((id, node))
    }

    /// The node was read, or tried in vain, or is not there any more.
    pub(super) fn note(&mut self, id: SweepId, node: NodeId, fresh: bool) {
        if let Some(sweep) = self.sweeps.get_mut(&id) {
            sweep.places.remove(&node);
            sweep.read.push(Read { node, fresh });
            self.news = true;
        }
    }

    /// Whether a node was read since this was asked last.
    pub(super) fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Somebody looks at the sweep, or waits for it until `until`.
    pub(super) fn watched(&mut self, id: SweepId, until: Instant) {
        if let Some(sweep) = self.sweeps.get_mut(&id) {
            // Its client may need a moment to take the answer and ask again.
            sweep.forget_at = until + UNWATCHED;
        }
    }

    /// The nodes that were read beyond the first `seen`, no more than one answer takes, and whether
    /// all were.
    pub(super) fn look(&self, id: SweepId, seen: usize) -> Option<(&[Read], bool)> {
        let sweep = self.sweeps.get(&id)?;
        let news = sweep.read.get(seen..).unwrap_or_default();
        let news = &news[..news.len().min(IN_AN_ANSWER)];
        Some((news, seen + news.len() >= sweep.all))
    }

    /// Its asker has seen all of it, or has gone away.
    pub(super) fn forget(&mut self, id: SweepId) {
        self.sweeps.remove(&id);
    }

    /// Nodes of which nothing was heard give their places up, and sweeps that nobody looks at are
    /// forgotten.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.sweeps.retain(|_, sweep| sweep.forget_at > now);
        for sweep in self.sweeps.values_mut() {
            sweep.places.retain(|_, until| *until > now);
        }
    }

    /// When [`Sweeps::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let next = |sweep: &Sweep| {
            // A silent node has to give its place up only where another one waits for it.
            let waits = !sweep.line.is_empty() && sweep.places.len() >= AT_ONCE;
            let place = sweep.places.values().min().filter(|_| waits);
            place.copied().into_iter().chain([sweep.forget_at]).min()
        };
        self.sweeps.values().filter_map(next).min()
    }
}

/// Sweeps at the same time.
const SWEEPS: usize = 64;
/// Nodes that a sweep reads at the same time.
const AT_ONCE: usize = 256;
/// How long a node of which nothing is heard keeps its place.
const SILENT: Duration = Duration::from_millis(500);
/// Nodes in one answer.
const IN_AN_ANSWER: usize = 100;
/// How long a sweep is kept at which nobody looks.
const UNWATCHED: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::super::tests::{at, inventory, secs};
    use super::*;

    fn begin(sweeps: &mut Sweeps, nodes: usize) -> (SweepId, Vec<NodeId>) {
        let ids = inventory(nodes).ids();
        let sweep = sweeps.begin(ids.clone(), at(0).now).unwrap();
        (sweep, ids)
    }

    #[test]
    fn a_sweep_reads_so_many_at_once_and_each_node_once() {
        let mut sweeps = Sweeps::default();
        let twice = inventory(AT_ONCE + 1).ids();
        let sweep = sweeps
            .begin([twice.clone(), twice.clone()].concat(), at(0).now)
            .unwrap();
        for node in &twice[..AT_ONCE] {
            assert_eq!(sweeps.take_next(at(0).now), Some((sweep, *node)));
        }
        assert_eq!(sweeps.take_next(at(0).now), None);
        sweeps.note(sweep, twice[7], true);
        assert_eq!(sweeps.take_next(at(0).now), Some((sweep, twice[AT_ONCE])));
        assert_eq!(sweeps.take_next(at(0).now), None);
    }

    #[test]
    fn the_silent_give_their_places_up() {
        let mut sweeps = Sweeps::default();
        let (_, ids) = begin(&mut sweeps, AT_ONCE + 1);
        while sweeps.take_next(at(0).now).is_some() {}
        let due = sweeps.next_timeout().unwrap();
        assert_eq!(due, at(0).now + SILENT);
        sweeps.handle_timeout(due);
        let next = sweeps.take_next(due).map(|(_, node)| node);
        assert_eq!(next, Some(ids[AT_ONCE]));
    }

    #[test]
    fn what_was_read_is_seen_once_and_the_end_is_told() {
        let mut sweeps = Sweeps::default();
        let (sweep, ids) = begin(&mut sweeps, IN_AN_ANSWER + 1);
        assert_eq!(sweeps.look(sweep, 0), Some((&[][..], false)));
        let read: Vec<_> = ids.iter().map(|node| (*node, *node != ids[3])).collect();
        read.iter()
            .for_each(|(node, fresh)| sweeps.note(sweep, *node, *fresh));
        let read: Vec<_> = read
            .into_iter()
            .map(|(node, fresh)| Read { node, fresh })
            .collect();
        assert!(sweeps.has_news());
        assert!(!sweeps.has_news());
        let (first, ended) = sweeps.look(sweep, 0).unwrap();
        assert_eq!((first, ended), (&read[..IN_AN_ANSWER], false));
        let rest = sweeps.look(sweep, IN_AN_ANSWER);
        assert_eq!(rest, Some((&read[IN_AN_ANSWER..], true)));
    }

    #[test]
    fn a_sweep_that_nobody_looks_at_is_forgotten_and_there_are_only_so_many() {
        let mut sweeps = Sweeps::default();
        let (first, _) = begin(&mut sweeps, 1);
        (1..SWEEPS).for_each(|_| drop(begin(&mut sweeps, 1)));
        let more = sweeps.begin(inventory(1).ids(), at(0).now);
        assert_eq!(more, Err(Refused::Sweeping));
        sweeps.watched(first, at(15).now);
        assert_eq!(sweeps.next_timeout(), Some(at(0).now + UNWATCHED));
        sweeps.handle_timeout(at(0).now + UNWATCHED);
        assert!(sweeps.look(first, 0).is_some());
        sweeps.handle_timeout(at(15).now + UNWATCHED + secs(1));
        assert_eq!(sweeps.look(first, 0), None);
    }
}
