//! A token bucket: how often one BMC is spoken to.

use crate::time::Instant;
use std::time::Duration;

/// Commands that may leave now, in fractions; below zero after an urgent one that did not wait.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    burst: f64,
    tokens: f64,
    counted_at: Instant,
}

impl Pace {
    pub(super) fn new(per_second: f64, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst.max(1));
        // A rate of nothing would stop the world: the configuration refuses it, and here it is one a day.
        Pace {
            per_second: per_second.max(1.0 / 86_400.0),
            burst,
            tokens: burst,
            counted_at: now,
        }
    }

    /// Takes one command's worth if there is one. An urgent one is always let through, and those after it wait for it.
    pub(super) fn take(&mut self, urgent: bool, now: Instant) -> bool {
        self.count(now);
        let granted = urgent || self.tokens >= 1.0 - EPSILON;
        if granted {
            self.tokens = (self.tokens - 1.0).max(-self.burst);
        }
        granted
    }

    /// Takes one command's worth if that leaves one for somebody else.
    pub(super) fn take_spare(&mut self, now: Instant) -> bool {
        self.count(now);
        let granted = self.tokens >= self.spare() - EPSILON;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    /// When [`Pace::take`] will say yes.
    pub(super) fn ready_at(&self, urgent: bool) -> Instant {
        if urgent {
            return self.counted_at;
        }
        self.holds_at(1.0)
    }

    /// When [`Pace::take_spare`] will say yes.
    pub(super) fn spare_at(&self) -> Instant {
        self.holds_at(self.spare())
    }

    /// Two commands' worth, or all that there ever is.
    fn spare(&self) -> f64 {
        self.burst.min(2.0)
    }

    fn holds_at(&self, tokens: f64) -> Instant {
        let missing = (tokens - self.tokens).max(0.0) / self.per_second;
        self.counted_at + Duration::from_secs_f64(missing)
    }

    fn count(&mut self, now: Instant) {
        let earned = (now - self.counted_at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(self.burst);
        self.counted_at = self.counted_at.max(now);
    }
}

/// Nanoseconds are rounded on the way through floating point.
const EPSILON: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn three_leave_at_once_and_then_one_a_second() {
        let mut pace = Pace::new(1.0, 3, at(0));
        assert!((0..3).all(|_| pace.take(false, at(0))));
        assert!(!pace.take(false, at(500)));
        let ready = pace.ready_at(false);
        assert!(ready >= at(999) && ready <= at(1001), "{ready:?}");
        assert!(pace.take(false, ready));
        assert!(!pace.take(false, at(1100)));
    }

    #[test]
    fn an_urgent_order_does_not_wait_but_those_after_it_do() {
        let mut pace = Pace::new(1.0, 1, at(0));
        assert!(pace.take(true, at(0)));
        assert!(pace.take(true, at(0)));
        assert!(!pace.take(false, at(1000)));
        assert!(pace.take(false, at(2000)));
    }

    #[test]
    fn what_is_spare_leaves_one_command_for_an_order() {
        let mut pace = Pace::new(1.0, 3, at(0));
        assert!(pace.take_spare(at(0)) && pace.take_spare(at(0)) && !pace.take_spare(at(0)));
        assert_eq!(pace.spare_at(), at(1000));
        assert!(pace.take(false, at(0)));
        let mut narrow = Pace::new(1.0, 1, at(0));
        assert!(narrow.take_spare(at(0)) && !narrow.take_spare(at(999)));
        assert_eq!(narrow.spare_at(), at(1000));
    }
}
