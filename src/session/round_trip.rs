//! How long to wait for an answer: the estimate of TCP (Jacobson; RFC 6298) with the limits of a
//! slow BMC.

use super::settings::Timing;
use crate::entropy::Entropy;
use std::time::Duration;

/// The estimate of one BMC's round-trip time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    measured: Option<Measured>,
    /// How often in a row an answer came that may be to any of several copies, and late for the
    /// last one: the wait is doubled as often (Karn), or a BMC that needs a little longer than the
    /// wait gets two copies of everything for ever.
    unclear: u32,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    smoothed: Duration,
    variation: Duration,
}

impl RoundTrip {
    /// Takes in a measurement. Only of requests that were sent once: an answer to a repeated one
    /// may be to either copy (Karn).
    pub(super) fn observe(&mut self, sample: Duration) {
        self.unclear = 0;
        self.measured = Some(match self.measured {
            None => Measured {
                smoothed: sample,
                // RFC 6298, 2.2: half of the first measurement.
                variation: sample / 2,
            },
            Some(Measured {
                smoothed,
                variation,
            }) => Measured {
                // RFC 6298, 2.3: an eighth of the new one here, a quarter below.
                smoothed: smoothed * 7 / 8 + sample / 8,
                variation: variation * 3 / 4 + smoothed.abs_diff(sample) / 4,
            },
        });
    }

    /// Takes in an answer to one of several copies, which took `longest` if it was to the first and
    /// `shortest` if it was to the last. It counts where it came too late for the last one: then
    /// the BMC is slow, and no packet was lost.
    pub(super) fn observe_one_of(
        &mut self,
        longest: Duration,
        shortest: Duration,
        timing: &Timing,
    ) {
        let expected = self.expected().unwrap_or_default();
        if shortest > expected.max(timing.resend_floor) {
            self.observe(longest);
        } else if self.expected().is_some_and(|usual| shortest > usual) {
            // It may answer the first copy, and then the BMC is slower than is believed.
            self.unclear += 1;
        }
    }

    /// The smoothed round-trip time, once one was measured.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.measured.map(|measured| measured.smoothed)
    }

    /// When an answer is to be expected, once a round trip was measured.
    pub(super) fn expected(&self) -> Option<Duration> {
        self.measured
            .map(|measured| measured.smoothed + measured.variation * 4)
            .map(|expected| expected.min(LONGEST))
    }

    /// After how long without a session those who wait for one hear of it: the limit, or what a
    /// log-in takes where the BMC is known to be slow.
    pub(super) fn patience(&self, timing: &Timing) -> Duration {
        let log_in = self.smoothed().unwrap_or_default() * LOG_IN_MESSAGES;
        timing.handshake_limit.max(log_in.min(LONGEST))
    }

    /// How long to wait for an answer to the first copy.
    pub(super) fn wait(&self, timing: &Timing) -> Duration {
        let wait = self.measured_wait(timing);
        let doubled = wait * 2u32.pow(self.unclear.min(4));
        doubled.min(timing.resend_cap.max(wait))
    }

    fn measured_wait(&self, timing: &Timing) -> Duration {
        match self.measured {
            None => timing.resend_first,
            Some(measured) => (measured.smoothed
                + (measured.variation * 4).max(measured.smoothed / LEAST_MARGIN))
            .max(timing.resend_floor)
            // A BMC that needs longer than that gets its time.
            .min(
                timing
                    .resend_cap
                    .max((measured.smoothed * 3 / 2).min(LONGEST)),
            ),
        }
    }

    /// How long to wait after the `copies`th copy (1 or more): doubled each time, with jitter of a
    /// fifth; from the third on where the BMC is known to be faster than the shortest wait, so that
    /// a packet was lost.
    pub(super) fn wait_after(
        &self,
        copies: u32,
        timing: &Timing,
        entropy: &mut dyn Entropy,
    ) -> Duration {
        let fast = self
            .expected()
            .is_some_and(|expected| expected < timing.resend_floor);
        let first_doubled = if fast { 2 } else { 1 };
        let doubled = self.wait(timing) * (1 << copies.saturating_sub(first_doubled).min(8));
        let wait = doubled.min(timing.resend_cap.max(self.wait(timing)));
        // 80 % to 120 % in thousandths: many BMCs are not asked again at the same moment.
        wait * (800 + entropy.below(401) as u32) / 1000
    }
}

/// A BMC that always takes the same time gets that share of it as a margin.
const LEAST_MARGIN: u32 = 4;
/// No single answer is waited for longer than that.
// A BMC that needs as long for everything is still logged in to within 90 s.
const LONGEST: Duration = Duration::from_secs(20);
/// Round trips from the first message to the answer to a reading, and one more.
const LOG_IN_MESSAGES: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Seeded;

    #[test]
    fn the_wait_starts_at_a_second_and_follows_the_bmc_between_its_limits() {
        let timing = Timing::default();
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.wait(&timing), Duration::from_secs(1));
        for _ in 0..20 {
            round_trip.observe(Duration::from_millis(5));
        }
        assert_eq!(round_trip.wait(&timing), Duration::from_millis(400));
        for _ in 0..40 {
            round_trip.observe(Duration::from_secs(3));
        }
        let wait = round_trip.wait(&timing);
        assert!(wait > Duration::from_secs(3) && wait <= Duration::from_secs(8));
        round_trip.observe(Duration::from_secs(60));
        let wait = round_trip.wait(&timing);
        assert!(wait > Duration::from_secs(10) && wait < Duration::from_secs(30));
    }

    #[test]
    fn a_bmc_that_is_a_little_slower_than_the_wait_gets_one_copy_again() {
        let timing = Timing::default();
        let mut round_trip = RoundTrip::default();
        for _ in 0..20 {
            round_trip.observe(Duration::from_millis(1));
        }
        let (longest, shortest) = (Duration::from_millis(500), Duration::from_millis(100));
        round_trip.observe_one_of(longest, shortest, &timing);
        assert!(round_trip.wait(&timing) > longest);
        round_trip.observe(longest);
        assert!(round_trip.wait(&timing) > longest);
    }

    #[test]
    fn each_copy_waits_twice_as_long_within_a_fifth() {
        let timing = Timing::default();
        let round_trip = RoundTrip::default();
        let mut entropy = Seeded::new(1);
        for (copies, seconds) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (40, 8.0)] {
            for _ in 0..50 {
                let wait = round_trip
                    .wait_after(copies, &timing, &mut entropy)
                    .as_secs_f64();
                assert!((0.8..=1.2).contains(&(wait / seconds)), "{copies}: {wait}");
            }
        }
    }
}
