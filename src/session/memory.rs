//! What a session keeps of one BMC from handshake to handshake, until its settings change.

use super::ledger::Ledger;
use super::link::Reply;
use super::quirk::Quirks;
use super::round_trip::RoundTrip;
use super::settings::Timing;
use super::vocabulary::{Dropped, Spoken, Statistics};
use crate::ipmi::SuiteId;
use crate::ipmi::command::get_channel_auth_capabilities;
use crate::time::Instant;
use std::time::Duration;

/// What was learned about a BMC.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) round_trip: RoundTrip,
    /// Our process stood still until then: how long an answer took to what was sent before says
    /// nothing of the BMC.
    pub(super) measures_from: Option<Instant>,
    /// Quirks found out, beyond the configured ones.
    pub(super) quirks: Quirks,
    /// What the last session that opened spoke.
    pub(super) spoken: Option<Spoken>,
    /// A session of IPMI 2.0 opened once.
    pub(super) had_v20: bool,
    /// How often the BMC refused our RAKP 3 although its own RAKP 2 showed that the password is
    /// right, since the last session. It counts them, too.
    pub(super) codes_refused: u32,
    /// Whether it never answers the question for them.
    pub(super) capabilities_ignored: bool,
    /// Our sessions there beside the one in use.
    pub(super) ledger: Ledger,
    /// What the BMC said of itself.
    pub(super) capabilities: Option<get_channel_auth_capabilities::Response>,
    pub(super) statistics: Statistics,
    /// Why the last datagram that was dropped was.
    pub(super) last_dropped: Option<Dropped>,
}

impl Memory {
    /// Whether an answer that came now, so long after the question, tells how fast the BMC is.
    pub(super) fn measures(&self, took: Duration, now: Instant) -> bool {
        self.measures_from.is_none_or(|from| took <= now - from)
    }

    /// Takes in how long an answer took that came now.
    pub(super) fn observe(&mut self, reply: &Reply, now: Instant, timing: &Timing) {
        if !self.measures(reply.longest, now) {
            return;
        }
        match reply.round_trip {
            Some(sample) => self.round_trip.observe(sample),
            None => self
                .round_trip
                .observe_one_of(reply.longest, reply.shortest, timing),
        }
    }

    pub(super) fn count_dropped(&mut self, reason: Dropped) {
        *self.statistics.dropped.entry(reason).or_default() += 1;
        self.last_dropped = Some(reason);
    }

    /// The cipher suite that worked last.
    pub(super) fn suite(&self) -> Option<SuiteId> {
        match self.spoken {
            Some(Spoken::V20(suite)) => Some(suite),
            _ => None,
        }
    }

    /// Forgets what the BMC is like, and keeps the counters and what it has of ours.
    pub(super) fn forget(&mut self) {
        *self = Self {
            statistics: std::mem::take(&mut self.statistics),
            // Other settings take no session of ours away from the BMC.
            ledger: std::mem::take(&mut self.ledger),
            ..Self::default()
        };
    }
}
