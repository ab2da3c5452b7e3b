//! The time as the core knows it: an [`Instant`] that counts from the daemon's start and cannot be
//! asked for, and the calendar time ([`WallTime`]) that people see. Both are handed in by the
//! shell; nothing here reads a clock.

use jiff::fmt::temporal::DateTimePrinter;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment on the daemon's monotonic clock, in nanoseconds since the daemon (or a test's world)
/// started.
///
/// Kept as one more than that: a moment that may be missing takes no more room than one that is
/// there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The moment at which the clock started.
    pub const START: Self = Self(NonZeroU64::MIN);

    /// The moment that lies `elapsed` after the start; saturates after 584 years.
    pub fn after_start(elapsed: Duration) -> Self {
        Self::START + elapsed
    }

    /// The time since the start.
    pub fn since_start(self) -> Duration {
        self.since(Self::START)
    }

    /// The moment that lies `span` before this one, at most back to the start.
    pub fn before(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let left = self.0.get().saturating_sub(span);
        NonZeroU64::new(left).map_or(Self::START, Instant)
    }

    /// The time since `earlier`, zero where that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Instant {
    fn default() -> Self {
        Self::START
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, later: Duration) -> Self {
        let span = u64::try_from(later.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, later: Duration) {
        *self = *self + later;
    }
}

impl Sub<Self> for Instant {
    type Output = Duration;
    /// The time between two moments, zero where the right one is the later.
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.since_start();
        write!(f, "t+{}.{:03}s", elapsed.as_secs(), elapsed.subsec_millis())
    }
}

/// A calendar time in microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(u64);

impl WallTime {
    /// The time `micros` microseconds after the epoch.
    pub fn from_unix_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub fn unix_micros(self) -> u64 {
        self.0
    }

    /// `12:03 UTC`
    pub fn hour_and_minute(self) -> String {
        let text = self.to_string();
        format!("{} UTC", text.get(11..16).unwrap_or(&text))
    }

    /// The time that lies `span` before this one, at most back to the epoch.
    pub fn before(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(span))
    }

    /// The time since `earlier`, zero where that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;
    fn add(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(later.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

/// RFC 3339 with microseconds and `+00:00`, as Ironic writes times.
/// To the microsecond, as the API writes all times.
const RFC_3339: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        let stamp = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
        // Lists show thousands of them: jiff's own printer, and not a form that it would read anew
        // for each.
        RFC_3339
            .print_timestamp_with_offset(&stamp, jiff::tz::Offset::UTC, jiff::fmt::StdFmtWrite(f))
            .map_err(|_| fmt::Error)
    }
}

impl std::str::FromStr for WallTime {
    type Err = NotATime;
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let stamp: jiff::Timestamp = text.parse().map_err(|_| NotATime)?;
        let micros = u64::try_from(stamp.as_microsecond()).map_err(|_| NotATime)?;
        Ok(Self(micros))
    }
}

/// A text that is no calendar time (RFC 3339) since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotATime;

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no time: it looks like 2026-01-31T12:00:00.000000+00:00")
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_before_the_start_of_an_interval_is_no_time() {
        let late = Instant::after_start(Duration::from_secs(5));
        assert_eq!(late - Instant::START, Duration::from_secs(5));
        assert_eq!(Instant::START - late, Duration::ZERO);
    }

    #[test]
    fn a_calendar_time_reads_as_ironic_writes_it() {
        let time = WallTime::from_unix_micros(1_438_387_200_000_120);
        assert_eq!(time.to_string(), "2015-08-01T00:00:00.000120+00:00");
        assert_eq!("2015-08-01T00:00:00.000120+00:00".parse(), Ok(time));
        assert_eq!("yesterday".parse::<WallTime>(), Err(NotATime));
    }
}
