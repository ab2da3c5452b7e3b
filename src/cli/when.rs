//! Moments as people and programs want to read them.

use crate::time::WallTime;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// By the clock on this host's wall.
pub(super) fn local(at: WallTime, form: &str) -> String {
    in_zone(at, TimeZone::system(), form)
}

/// By the clock on a wall in that zone.
pub(super) fn at(at: WallTime, zone: &TimeZone, form: &str) -> String {
    in_zone(at, zone.clone(), form)
}

/// With its zone, which is always the same, so that texts sort as times do.
pub(super) fn zoned(at: WallTime) -> String {
    in_zone(at, TimeZone::UTC, "%Y-%m-%dT%H:%M:%SZ")
}

fn in_zone(at: WallTime, zone: TimeZone, form: &str) -> String {
    let micros = i64::try_from(at.unix_micros()).unwrap_or(i64::MAX);
    let stamp = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
    stamp.to_zoned(zone).strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_the_zone_and_a_person_the_clock_on_the_wall() {
        let at = "2026-11-22T16:40:31.123456+00:00".parse().expect("a time");
        assert_eq!(zoned(at), "2026-11-22T16:40:31Z");
        // Central European time in winter.
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(
            in_zone(at, berlin, "%Y-%m-%d %H:%M:%S"),
            "2026-11-22 17:40:31"
        );
    }
}
