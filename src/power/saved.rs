//! A sequence between two lives of the daemon.

use super::Sequence;
use super::sequence::phase::Phase;
use super::sequence::{Knowledge, set_never_off};
use crate::bmc::vocabulary::OrderId;
use crate::time::Instant;
use std::time::Duration;

/// A sequence that was put down and is to be taken up again: made of a
/// [`SequenceRecord`](super::SequenceRecord).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    phase: Phase,
    knowledge: Knowledge,
    unsent: Option<OrderId>,
}

impl Saved {
    pub(super) fn new(phase: Phase, knowledge: Knowledge) -> Self {
        Self {
            phase,
            knowledge,
            unsent: None,
        }
    }

    /// Says of the outstanding order that it certainly never left: what was kept beside this shows
    /// it.
    pub fn with_unsent(mut self, order: Option<OrderId>) -> Self {
        self.unsent = order;
        self
    }

    /// Adds the time between [`Sequence::record`] and [`Sequence::restore`], where it is known, to
    /// the elapsed time, so that the times in [`Sequence::sent`] stay true. No patience runs out by
    /// it.
    pub fn after_absence(mut self, away: Duration) -> Self {
        self.knowledge.clock.pass(away);
        self
    }

    /// What the configuration says by now of switching the machine off. Where it is never to be,
    /// what waits or only switches on goes on, and what would switch off ends with that reason.
    pub fn with_never_off(mut self, never: bool) -> Self {
        set_never_off(never, &mut self.phase, &mut self.knowledge);
        self
    }
}

impl Sequence {
    /// What must not be lost between two lives, as it runs: what comes back from the journal is to
    /// be the same.
    #[cfg(test)]
    pub(super) fn save(&self, now: Instant) -> Saved {
        let mut sequence = self.clone();
        sequence.advance(now);
        sequence.knowledge.clock.detach();
        Saved::new(sequence.phase, sequence.knowledge)
    }

    /// Takes a sequence up again after a restart of the daemon. An order without an answer counts
    /// as unanswered, and unknown whether it arrived unless [`Saved::with_unsent`] named it: the
    /// machine is looked at first, and a pulse never leaves again. What was suspended stays
    /// suspended, what was queued stays queued, what had ended has ended.
    pub fn restore(saved: Saved, now: Instant) -> Self {
        Self::go_on(saved.phase, saved.knowledge, saved.unsent, now)
    }
}
