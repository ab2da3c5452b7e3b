//! The clocks: the machine's own one as the core's [`Instant`], the calendar as [`WallTime`].

use crate::rack::{Birth, Copied};
use crate::time::{Instant, WallTime};
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// The daemon's clock: it counts from the boot of the machine, the time in which that slept
/// included, and nobody can set it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock;

impl Clock {
    pub(super) fn now(self) -> Instant {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock");
        Instant::after_start(HEAD_START + Duration::from(since_boot))
    }

    /// How long it is until `at`.
    pub(super) fn until(self, at: Instant) -> Duration {
        at - self.now()
    }

    pub(super) fn wall(self) -> WallTime {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        WallTime::from_unix_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    /// The boot of the machine.
    pub(super) fn boot(self) -> Option<Uuid> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Uuid::try_parse(boot.trim()).ok()
    }

    /// The life that begins now, on a journal of which this is known.
    pub(super) fn birth(self, copied: Copied) -> Birth {
        Birth {
            wall: self.wall(),
            now: self.now(),
            copied,
            boot: self.boot(),
            succession: None,
        }
    }
}

/// The core's clock does not begin at zero, so that moments before the boot can be named: a task
/// that is taken up may have begun then.
const HEAD_START: Duration = Duration::from_secs(365 * 24 * 3600);
