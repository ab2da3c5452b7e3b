//! Moments: our own time, in which all waits are counted, and what the calendar says, side by side.
//!
//! The calendar may be set while we live, by hours or by years. What was stamped with it is
//! therefore never compared with what it says later: [`Moment::age`] knows how it ran in this life,
//! and counts by our own time.

use super::permit::Succession;
use crate::time::{Instant, WallTime};
use std::time::Duration;
use uuid::Uuid;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) wall: WallTime,
    life: u64,
    calendar: Calendar,
}

/// How the calendar ran in this life: the first stretch, and the last few after it was set.
#[derive(Clone, Copy, Debug)]
struct Calendar {
    stretches: [Stretch; STRETCHES],
    count: usize,
    /// The last sign of life before, where it was in this boot: what the calendar said, and how
    /// long that was before this life.
    last_sign: Option<(WallTime, Duration)>,
}

/// A time in which the calendar was not set.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: Instant,
    wall: WallTime,
}

/// A moment of a life as it is put down: comparable with another one of the same life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// The life that the moment is of.
    pub(super) life: u64,
    /// What our own clock said.
    pub(super) at: Duration,
}

/// The last sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Alive {
    pub(super) wall: WallTime,
    /// Not put down before format 3.
    pub(super) stamp: Option<Stamp>,
    /// The boot of the machine: as long as it lasts our own clock goes on over lives.
    pub(super) boot: Option<Uuid>,
}

/// The beginning of a life.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// What the calendar says.
    pub wall: WallTime,
    /// What our own clock says. Lives of one boot have one clock.
    pub now: Instant,
    /// The boot of the machine, where it is known.
    pub boot: Option<Uuid>,
    /// Whether what is remembered was put back from a copy.
    pub copied: Copied,
    /// How the rack comes to this host, where others may have it too.
    pub succession: Option<Succession>,
}

/// Whether what is remembered is what was written last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Copied {
    /// What is remembered was written last, as far as can be told.
    #[default]
    No,
    /// What is remembered was put back from a copy: so many transactions were written after it.
    Behind(u64),
    /// Nothing is there that would tell.
    Unknown,
}

/// The clock of one life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    at: Instant,
    wall: WallTime,
    calendar: Calendar,
    pub(super) started: WallTime,
    life: u64,
    pub(super) boot: Option<Uuid>,
}

impl Moment {
    /// The time since the calendar time `stamp` was written, by our own clock where that was in
    /// this life.
    pub(super) fn age(&self, stamp: WallTime) -> Duration {
        self.calendar.age(stamp, self.now)
    }

    /// As it is put down.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            life: self.life,
            at: self.now.since_start(),
        }
    }

    #[cfg(test)]
    pub(super) fn new(now: Instant, wall: WallTime) -> Self {
        Clock::new(wall, now, 1, None).moment(now)
    }
}

impl Calendar {
    fn new(from: Instant, wall: WallTime) -> Self {
        Self {
            stretches: [Stretch { from, wall }; STRETCHES],
            count: 1,
            last_sign: None,
        }
    }

    fn push(&mut self, stretch: Stretch) {
        if self.count == STRETCHES {
            // The first stretch stays: ages of what was before this life are counted from it.
            self.stretches.copy_within(2.., 1);
            self.count -= 1;
        }
        self.stretches[self.count] = stretch;
        self.count += 1;
    }

    fn age(&self, stamp: WallTime, now: Instant) -> Duration {
        let stretches = &self.stretches[..self.count];
        let mut until = now;
        for stretch in stretches.iter().rev() {
            let ahead = stretch.from + stamp.since(stretch.wall);
            // The newest stretch in which the calendar can have said this is taken.
            if stamp + SLACK >= stretch.wall && ahead <= until + SLACK {
                return now - ahead;
            }
            until = stretch.from;
        }
        let first = stretches[0];
        let before = first.wall.since(stamp);
        let before = match self.last_sign {
            // Up to the last sign the machine's own clock tells; only
            // before it the calendar has to.
            Some((wall, ago)) if stamp <= wall => ago + wall.since(stamp),
            // Stamped after the last sign of life, it cannot be older than that.
            Some((_, ago)) => before.min(ago),
            None => before,
        };
        (now - first.from) + before
    }
}

impl Clock {
    pub(super) fn new(wall: WallTime, now: Instant, life: u64, boot: Option<Uuid>) -> Self {
        Self {
            at: now,
            wall,
            calendar: Calendar::new(now, wall),
            started: wall,
            life,
            boot,
        }
    }

    /// The last sign of an earlier life: up to it what was stamped before this life is as old as
    /// the machine's own clock says, which goes on over lives as long as the machine does.
    ///
    /// Where another host had the rack, `sign` says what its calendar said at its last sign of
    /// life, and how long ago that was by our clock.
    pub(super) fn follow(&mut self, last: Option<Alive>, sign: Option<(WallTime, Duration)>) {
        let of_this_boot = last.filter(|last| self.boot.is_some() && last.boot == self.boot);
        let born = self.calendar.stretches[0].from.since_start();
        self.calendar.last_sign = of_this_boot.and_then(|last| {
            let stamp = last.stamp?;
            Some((last.wall, born.saturating_sub(stamp.at)))
        });
        self.calendar.last_sign = sign.or(self.calendar.last_sign);
    }

    /// The calendar says `wall`. Gives what it was set by, forward and back, where that is worth a
    /// word.
    pub(super) fn set(&mut self, wall: WallTime, now: Instant) -> Option<(Duration, Duration)> {
        let expected = self.moment(now).wall;
        (self.at, self.wall) = (now, wall);
        let (forward, back) = (wall.since(expected), expected.since(wall));
        if forward.max(back) <= SLACK {
            return None;
        }
        self.calendar.push(Stretch { from: now, wall });
        (forward.max(back) > WORTH_A_WORD).then_some((forward, back))
    }

    pub(super) fn moment(&self, now: Instant) -> Moment {
        Moment {
            now,
            wall: self.wall + (now - self.at),
            life: self.life,
            calendar: self.calendar,
        }
    }

    /// A sign of life.
    pub(super) fn alive(&self, now: Instant) -> Alive {
        let at = self.moment(now);
        Alive {
            wall: at.wall,
            stamp: Some(at.stamp()),
            boot: self.boot,
        }
    }
}

/// Stretches that are known; of more the older ones but the first are forgotten. Every moment
/// carries them all, so that they are few.
const STRETCHES: usize = 6;
/// What a calendar is off by when it is kept in step and not set.
const SLACK: Duration = Duration::from_secs(1);
/// By more than this our clock and the calendar do not differ without a word.
pub(super) const WORTH_A_WORD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn now(second: u64) -> Instant {
        Instant::after_start(secs(1000 + second))
    }

    fn wall(second: u64) -> WallTime {
        WallTime::from_unix_micros(second * 1_000_000)
    }

    #[test]
    fn the_calendar_goes_on_from_where_it_was_set() {
        let mut clock = Clock::new(wall(5), now(1), 1, None);
        assert_eq!(clock.moment(now(3)).wall, wall(7));
        assert_eq!(clock.set(wall(1), now(2)), None, "not worth a word");
        assert_eq!(clock.moment(now(3)).wall, wall(2));
        assert_eq!(clock.started, wall(5));
        let (year, day) = (365 * 86_400, 86_400);
        let forward = (secs(year - 2), secs(0));
        assert_eq!(clock.set(wall(year), now(3)), Some(forward));
        let back = (secs(0), secs(year + 1 - day));
        assert_eq!(clock.set(wall(day), now(4)), Some(back));
        assert_eq!(clock.set(wall(day + 10), now(14)), None);
    }

    #[test]
    fn an_age_is_counted_by_our_own_clock_however_the_calendar_is_set() {
        let day = 86_400;
        let mut clock = Clock::new(wall(100 * day), now(0), 1, None);
        let (before, first) = (wall(99 * day), wall(100 * day + 10));
        assert_eq!(clock.moment(now(20)).age(first), secs(10));
        clock.set(wall(4000 * day), now(20));
        let second = wall(4000 * day + 5);
        clock.set(wall(day), now(30));
        let third = wall(day + 1);
        clock.set(wall(100 * day + 40), now(40));
        let at = clock.moment(now(50));
        assert_eq!(at.age(first), secs(40));
        assert_eq!(at.age(second), secs(25));
        assert_eq!(at.age(third), secs(19));
        assert_eq!(at.age(wall(100 * day + 45)), secs(5));
        assert_eq!(at.age(before), secs(50 + day));
        assert_eq!(at.age(wall(90_000 * day)), secs(50), "not of this life");
    }

    #[test]
    fn what_an_earlier_life_of_this_boot_stamped_is_as_old_as_the_machines_clock_says() {
        let day = 86_400;
        let boot = Some(Uuid::from_u128(1));
        let alive = |boot| Alive {
            wall: wall(100 * day),
            stamp: Some(Stamp {
                life: 1,
                at: now(0).since_start(),
            }),
            boot,
        };
        // The calendar was set 50 days forward while nobody lived, which was a minute.
        let born = |last| {
            let mut clock = Clock::new(wall(150 * day), now(60), 2, boot);
            clock.follow(Some(last), None);
            clock.moment(now(70))
        };
        let at = born(alive(boot));
        assert_eq!(at.age(wall(100 * day - 20)), secs(90));
        assert_eq!(at.age(wall(100 * day)), secs(70));
        assert_eq!(at.age(wall(100 * day + 3)), secs(70), "after the last sign");
        assert_eq!(at.age(wall(150 * day + 4)), secs(6), "of this life");
        for other in [None, Some(Uuid::from_u128(2))] {
            let at = born(alive(other));
            assert_eq!(
                at.age(wall(100 * day)),
                secs(50 * day + 10),
                "only the calendar knows"
            );
        }
    }

    #[test]
    fn of_many_settings_the_first_calendar_and_the_last_ones_are_known() {
        let day = 86_400;
        let mut clock = Clock::new(wall(100 * day), now(0), 1, None);
        for step in 1..50 {
            clock.set(wall((100 + 10 * step) * day), now(10 * step));
        }
        let at = clock.moment(now(500));
        assert_eq!(at.age(wall(590 * day + 3)), secs(7));
        assert_eq!(at.age(wall(580 * day + 3)), secs(17));
        assert_eq!(at.age(wall(100 * day + 3)), secs(497));
    }
}
