//! Our sessions at the BMC beside the one in use: half-open ones, those that were given up without
//! a word that they are closed, and the one that an earlier life of the daemon may have left
//! (design, rule 10: never more than two).
//!
//! Asked before an Open Session Request leaves: see [`Need`].

use super::link::Link;
use crate::time::Instant;
use std::time::Duration;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Ledger {
    half_open: Vec<HalfOpen>,
    left: Vec<Left>,
    /// For what the next session is opened.
    pub(super) need: Need,
}

/// For what a session is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Need {
    /// A reading: it waits while two of ours are there.
    #[default]
    Reading,
    /// An order that changes power, or what has to be known before it: it may always open one.
    Order,
}

/// An Open Session Request that may have made a session which nobody goes on with.
struct HalfOpen {
    asked_at: Instant,
    /// Whether the BMC said that it has made one.
    answered: bool,
}

/// A session that was given up.
struct Left {
    /// When the BMC has forgotten it at the latest.
    until: Instant,
    /// Its traffic, as long as the answer to its Close Session may come.
    link: Option<Box<Link>>,
}

impl Ledger {
    /// An Open Session Request leaves.
    pub(super) fn asks(&mut self, now: Instant) {
        self.half_open.push(HalfOpen {
            asked_at: now,
            answered: false,
        });
    }

    /// The last of these was refused: no session came of it.
    pub(super) fn refused(&mut self) {
        self.half_open.pop();
    }

    /// None of those that brought nothing arrived.
    pub(super) fn undelivered(&mut self) {
        self.half_open.retain(|it| it.answered);
    }

    /// The one that left at `asked_at`, or the last one where that is not known, has led to a
    /// session that is gone on with.
    pub(super) fn goes_on(&mut self, asked_at: Option<Instant>) {
        let asked = |half_open: &HalfOpen| Some(half_open.asked_at) == asked_at;
        match self.half_open.iter().position(asked) {
            Some(place) => drop(self.half_open.remove(place)),
            None => drop(self.half_open.pop()),
        }
        if self.half_open.is_empty() {
            // An empty `Vec` keeps its room, which none of thousands of BMCs needs now.
            self.half_open = Vec::new();
        }
    }

    /// A log-in that the BMC has a session for is left before that is open.
    pub(super) fn leaves_half_open(&mut self, now: Instant) {
        self.half_open.push(HalfOpen {
            asked_at: now,
            answered: true,
        });
    }

    /// A session is given up. Its Close Session has left, and its answer may come.
    pub(super) fn leaves(&mut self, link: Box<Link>, now: Instant) {
        // Tidied where it grows, so that the list stays short without a timer of its own.
        self.expire(HALF_OPEN, now);
        self.left.push(Left {
            until: now + SESSION_LIFE,
            link: Some(link),
        });
    }

    /// A session is given up without a word, because its BMC would answer none: it keeps the
    /// session until its time is over.
    pub(super) fn leaves_untold(&mut self, now: Instant) {
        self.expire(HALF_OPEN, now);
        self.inherits(now + SESSION_LIFE);
    }

    /// An earlier life of the daemon may have left one, which the BMC forgets until then.
    pub(super) fn inherits(&mut self, until: Instant) {
        self.left.push(Left { until, link: None });
    }

    /// Whether a datagram is the BMC's word that a session is closed: whatever it says, for some
    /// answer with an odd code.
    pub(super) fn hears(&mut self, datagram: &[u8], now: Instant) -> bool {
        let answers = |left: &mut Left| {
            let link = left.link.as_mut();
            link.is_some_and(|link| matches!(link.receive(datagram, now), Ok(Some(_))))
        };
        match self.left.iter_mut().position(answers) {
            Some(place) => {
                self.left.remove(place);
                true
            }
            None => false,
        }
    }

    /// The traffic of sessions that were given up, for as long as answers to it may come.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.left.iter().filter_map(|left| left.link.as_deref())
    }

    /// Drops what the BMC has forgotten by now. It keeps a half-open session for `half_open`.
    pub(super) fn expire(&mut self, half_open: Duration, now: Instant) {
        self.left.retain(|left| now < left.until);
        self.half_open.retain(|it| now < it.asked_at + half_open);
    }

    /// How many the BMC has for all that is known.
    pub(super) fn known(&self, now: Instant) -> usize {
        let left = self.left.iter().filter(|left| now < left.until);
        let half_open = self.half_open.iter();
        // The others may never have arrived: `unanswered` counts them apart.
        let answered = half_open.filter(|it| it.answered && now < it.asked_at + HALF_OPEN);
        left.count() + answered.count()
    }

    /// How many Open Session Requests brought nothing yet, and when the first of them counts no
    /// more.
    pub(super) fn unanswered(&self) -> (usize, Option<Instant>) {
        let unanswered = self.half_open.iter().filter(|it| !it.answered);
        let first = unanswered.clone().map(|it| it.asked_at + HALF_OPEN).min();
        (unanswered.count(), first)
    }

    /// When another one may be opened for what one is needed for; `None` where that is now.
    pub(super) fn room_at(&self, now: Instant) -> Option<Instant> {
        self.room_for(self.need, 0, now)
    }

    /// When another one may be opened where so many more are given up before it.
    pub(super) fn room_after(&self, more: usize, now: Instant) -> Option<Instant> {
        self.room_for(self.need, more, now)
    }

    pub(super) fn room_for(&self, need: Need, more: usize, now: Instant) -> Option<Instant> {
        match need {
            Need::Reading => {}
            // An order cannot wait a minute until a BMC forgets: its task has a deadline (rule 6).
            Need::Order => return None,
        }
        let left = self.left.iter().map(|left| left.until);
        let answered = self.half_open.iter().filter(|it| it.answered);
        let mut ends: Vec<Instant> = left
            .chain(answered.map(|it| it.asked_at + HALF_OPEN))
            .filter(|end| *end > now)
            .chain(std::iter::repeat_n(now + SESSION_LIFE, more))
            .collect();
        ends.sort();
        // As many sessions have to end as there are beyond the limit.
        let too_many = (ends.len() + 1).saturating_sub(MOST_OF_OURS);
        too_many.checked_sub(1).map(|place| ends[place])
    }

    /// Whoever is at the BMC's address now has none of them.
    pub(super) fn clear(&mut self) {
        *self = Self {
            need: self.need,
            ..Self::default()
        };
    }
}

/// How long BMCs keep a session that nobody uses: 60 s and three more (§6.12.15).
pub(super) const SESSION_LIFE: Duration = Duration::from_secs(63);
/// How long a BMC keeps a session that was not opened to the end, as far as we count (OpenBMC: 3
/// s).
pub(super) const HALF_OPEN: Duration = Duration::from_secs(3);
/// How many sessions of ours a BMC has at most.
// A BMC may have four in all (Cisco's IMC), and people want to log in beside us.
const MOST_OF_OURS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_session_that_was_left_counts_for_63_s_and_a_half_open_one_for_3() {
        let mut ledger = Ledger::default();
        ledger.inherits(at(63_000));
        assert_eq!((ledger.known(at(0)), ledger.room_at(at(0))), (1, None));
        ledger.leaves_half_open(at(1_000));
        assert_eq!(ledger.known(at(1_000)), 2);
        assert_eq!(ledger.room_at(at(1_000)), Some(at(4_000)));
        assert_eq!(ledger.room_at(at(4_000)), None);
        ledger.inherits(at(50_000));
        assert_eq!(ledger.room_at(at(5_000)), Some(at(50_000)));
        assert_eq!(ledger.known(at(63_000)), 0);
    }

    #[test]
    fn what_is_gone_on_with_or_refused_is_no_session_beside_the_one_in_use() {
        let mut ledger = Ledger::default();
        for millis in [0, 400, 800] {
            ledger.asks(at(millis));
        }
        ledger.goes_on(Some(at(400)));
        assert_eq!(ledger.unanswered(), (2, Some(at(3_000))));
        ledger.refused();
        assert_eq!(ledger.unanswered(), (1, Some(at(3_000))));
        assert_eq!(ledger.known(at(900)), 0, "perhaps they never arrived");
        ledger.expire(HALF_OPEN, at(3_000));
        assert_eq!(ledger.unanswered(), (0, None));
    }
}
