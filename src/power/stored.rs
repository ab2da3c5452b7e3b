//! A sequence as the journal keeps it: types of their own, so that the running ones may change
//! their names and shapes freely. Every name here stands on disks; `tests/journal/README.md` says
//! how one is changed.
//!
//! `words` has the enumerations that are mere words, `phase` and `knowledge` the two halves of a
//! sequence, `sent` the orders and answers among what is known; `convert` and `parts` turn phases
//! into each other. The conversions are exhaustive both ways: a new variant or field of the running
//! types does not compile before it was decided how it is stored.

mod convert;
pub(crate) mod knowledge;
mod parts;
pub(crate) mod phase;
pub(crate) mod sent;
pub(crate) mod words;

use super::Sequence;
use super::saved::Saved;
use crate::time::Instant;
use serde::{Deserialize, Serialize};

/// What the journal keeps of a sequence. No moment in it is a calendar or daemon time: all are
/// moments on the task's own clock, whose reading is kept with them, so that every wait goes on
/// with the time that it had left.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceRecord {
    pub(crate) phase: phase::Phase,
    pub(crate) knowledge: knowledge::Knowledge,
}

impl Sequence {
    /// All that must not be forgotten, as of `now`.
    pub fn record(&mut self, now: Instant) -> SequenceRecord {
        self.advance(now);
        SequenceRecord {
            phase: (&self.phase).into(),
            knowledge: (&self.knowledge).into(),
        }
    }
}

impl From<SequenceRecord> for Saved {
    fn from(record: SequenceRecord) -> Self {
        Self::new(record.phase.into(), record.knowledge.into())
    }
}
