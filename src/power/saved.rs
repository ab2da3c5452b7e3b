//! What the journal keeps of a sequence, and how it is taken up again.

use super::Sequence;
use super::sequence::Knowledge;
use super::sequence::phase::Phase;
use crate::bmc::vocabulary::OrderId;
use crate::time::Instant;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A sequence as the journal keeps it: complete, through serde. No moment in it is a calendar or daemon time: all
/// are moments on the task's own clock, whose reading is kept with them, so that every wait goes on with the time
/// that it had left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Saved {
    phase: Phase,
    knowledge: Knowledge,
    #[serde(skip)]
    unsent: Option<OrderId>,
}

impl Saved {
    /// Says of the outstanding order that it certainly never left: what was kept beside this shows it.
    pub fn with_unsent(mut self, order: Option<OrderId>) -> Self {
        self.unsent = order;
        self
    }

    /// Adds the time between [`Sequence::record`] and [`Sequence::restore`], where it is known, to the elapsed time, so
    /// that the times in [`Sequence::sent`] stay true. No patience runs out by it.
    pub fn after_absence(mut self, away: Duration) -> Self {
        self.knowledge.clock.pass(away);
        self
    }
}

/// The same, borrowed: a record is made at every step, and needs no copy of what it is made of.
#[derive(Serialize)]
struct Borrowed<'a> {
    phase: &'a Phase,
    knowledge: &'a Knowledge,
}

impl Sequence {
    /// All that must not be forgotten, as of `now`: serialised, it reads back as [`Saved`].
    pub fn record(&mut self, now: Instant) -> impl Serialize + '_ {
        self.advance(now);
        Borrowed {
            phase: &self.phase,
            knowledge: &self.knowledge,
        }
    }

    /// The same as a value.
    #[cfg(test)]
    pub(super) fn save(&self, now: Instant) -> Saved {
        let mut sequence = self.clone();
        sequence.advance(now);
        sequence.knowledge.clock.detach();
        Saved {
            phase: sequence.phase,
            knowledge: sequence.knowledge,
            unsent: None,
        }
    }

    /// Takes a sequence up again after a restart of the daemon. An order without an answer counts as unanswered, and
    /// unknown whether it arrived unless [`Saved::with_unsent`] named it: the machine is looked at first, and a pulse never leaves again. What was suspended
    /// stays suspended, what was queued stays queued, what had ended has ended.
    pub fn restore(saved: Saved, now: Instant) -> Self {
        Sequence::go_on(saved.phase, saved.knowledge, saved.unsent, now)
    }
}
