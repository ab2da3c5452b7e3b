//! Since when the disk owes a word about what it was given.

use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Tickets that were given to the disk and are neither there nor refused; each with the moment at
/// which it was given. What comes soon after another one counts with it.
#[derive(Default)]
pub(super) struct Unconfirmed(VecDeque<(u64, Instant)>);

impl Unconfirmed {
    pub(super) fn gave(&mut self, ticket: u64, now: Instant) {
        match self.0.back_mut() {
            Some((newest, since)) if now - *since < TOGETHER => *newest = ticket.max(*newest),
            _ => self.0.push_back((ticket, now)),
        }
    }

    /// The disk has all up to this ticket, or has refused it.
    pub(super) fn heard_of(&mut self, ticket: u64) {
        while self.0.front().is_some_and(|(newest, _)| *newest <= ticket) {
            self.0.pop_front();
        }
    }

    /// For how long the oldest of them has waited.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.0
            .front()
            .map_or(Duration::ZERO, |(_, since)| now - *since)
    }
}

const TOGETHER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_is_told_by_what_waits_longest() {
        let at = |millis| Instant::after_start(Duration::from_millis(millis));
        let seconds = |unconfirmed: &Unconfirmed, now| unconfirmed.wait(now).as_secs_f64();
        let mut waiting = Unconfirmed::default();
        assert_eq!(seconds(&waiting, at(5000)), 0.0);
        for (ticket, millis) in [(1, 1000), (2, 1050), (3, 2000), (4, 3000)] {
            waiting.gave(ticket, at(millis));
        }
        assert_eq!(seconds(&waiting, at(4000)), 3.0);
        waiting.heard_of(1);
        assert_eq!(seconds(&waiting, at(4000)), 3.0);
        waiting.heard_of(2);
        assert_eq!(seconds(&waiting, at(4000)), 2.0);
        waiting.heard_of(4);
        assert_eq!(seconds(&waiting, at(4000)), 0.0);
    }
}
