//! How many datagrams leave within a millisecond: a rack that is asked at once must not overrun a
//! switch on the way there, nor its answers our own buffers.

use crate::time::Instant;
use std::time::Duration;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Spread {
    per_ms: usize,
    /// When the millisecond began that is counted, and what left within it.
    since: Instant,
    left: usize,
}

impl Spread {
    /// At most so many a millisecond.
    pub(super) fn new(per_ms: u32) -> Self {
        Self {
            per_ms: per_ms as usize,
            since: Instant::START,
            left: 0,
        }
    }

    /// How many may leave now.
    pub(super) fn room(&mut self, now: Instant) -> usize {
        if now >= self.next() {
            (self.since, self.left) = (now, 0);
        }
        self.per_ms.saturating_sub(self.left)
    }

    /// So many have left.
    pub(super) fn sent(&mut self, count: usize) {
        self.left += count;
    }

    /// When there is room again in any case.
    pub(super) fn next(&self) -> Instant {
        self.since + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_spread_over_as_many_milliseconds_as_it_takes() {
        let mut spread = Spread::new(50);
        let mut now = Instant::after_start(Duration::from_secs(1));
        let mut left = 120_usize;
        let mut sent = Vec::new();
        while left > 0 {
            let count = spread.room(now).min(left);
            spread.sent(count);
            sent.push(count);
            left -= count;
            assert_eq!(spread.room(now), 50 - count);
            now = spread.next();
        }
        assert_eq!(sent, [50, 50, 20]);
    }

    #[test]
    fn a_rest_earns_nothing() {
        let mut spread = Spread::new(50);
        let now = Instant::after_start(Duration::from_secs(1));
        assert_eq!(spread.room(now), 50);
        assert_eq!(spread.room(now + Duration::from_secs(60)), 50);
    }
}
