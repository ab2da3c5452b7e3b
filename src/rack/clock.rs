//! Moments: our own time, in which all waits are counted, and what the calendar says, side by side.

use crate::time::{Instant, WallTime};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) wall: WallTime,
}

/// What the calendar said at a moment, from which all others follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    at: Instant,
    wall: WallTime,
    began: Instant,
    pub(super) started: WallTime,
}

impl Clock {
    pub(super) fn new(wall: WallTime, now: Instant) -> Self {
        let (at, began, started) = (now, now, wall);
        Clock {
            at,
            wall,
            began,
            started,
        }
    }

    /// The calendar says `wall`: it may have been set.
    pub(super) fn set(&mut self, wall: WallTime, now: Instant) {
        (self.at, self.wall) = (now, wall);
    }

    /// What the calendar says, or would say if nobody had set it forward since the daemon began: what is forgotten for
    /// its age is old by both.
    pub(super) fn at_least(&self, now: Instant) -> WallTime {
        let unset = self.started + (now - self.began);
        unset.min(self.moment(now).wall)
    }

    pub(super) fn moment(&self, now: Instant) -> Moment {
        Moment {
            now,
            wall: self.wall + (now - self.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_calendar_goes_on_from_where_it_was_set() {
        let second = Duration::from_secs(1);
        let start = Instant::after_start(second);
        let mut clock = Clock::new(WallTime::from_unix_micros(5_000_000), start);
        let wall = |clock: &Clock, after: u32| clock.moment(start + second * after).wall;
        assert_eq!(wall(&clock, 2), WallTime::from_unix_micros(7_000_000));
        clock.set(WallTime::from_unix_micros(1_000_000), start + second);
        assert_eq!(wall(&clock, 2), WallTime::from_unix_micros(2_000_000));
        assert_eq!(clock.started, WallTime::from_unix_micros(5_000_000));
    }
}
