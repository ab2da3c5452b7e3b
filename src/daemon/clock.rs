//! The clocks: the monotonic one as the core's [`Instant`], the calendar as [`WallTime`].

use crate::time::{Instant, WallTime};
use std::time::{Duration, SystemTime};

/// The daemon's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: std::time::Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Clock {
            started: std::time::Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        Instant::after_start(HEAD_START + self.started.elapsed())
    }

    /// How long it is until `at`.
    pub(super) fn until(&self, at: Instant) -> Duration {
        at - self.now()
    }

    pub(super) fn wall(&self) -> WallTime {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        WallTime::from_unix_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }
}

/// The core's clock does not begin at zero, so that moments of a former life can be named: a task that is taken up
/// began before this daemon did.
const HEAD_START: Duration = Duration::from_secs(365 * 24 * 3600);
