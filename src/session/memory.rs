//! What a session keeps of one BMC from handshake to handshake, until its settings change.

use super::quirk::Quirks;
use super::round_trip::RoundTrip;
use super::vocabulary::{Dropped, Spoken, Statistics};
use crate::ipmi::SuiteId;
use crate::ipmi::command::get_channel_auth_capabilities;

/// What was learned about a BMC.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) round_trip: RoundTrip,
    /// Quirks found out, beyond the configured ones.
    pub(super) quirks: Quirks,
    /// What the last session that opened spoke.
    pub(super) spoken: Option<Spoken>,
    /// How often the BMC refused our RAKP 3 although its own RAKP 2 showed that the password is right, since the last
    /// session. It counts them, too.
    pub(super) codes_refused: u32,
    /// What the BMC said of itself.
    pub(super) capabilities: Option<get_channel_auth_capabilities::Response>,
    pub(super) statistics: Statistics,
}

impl Memory {
    pub(super) fn count_dropped(&mut self, reason: Dropped) {
        *self.statistics.dropped.entry(reason).or_default() += 1;
    }

    /// The cipher suite that worked last.
    pub(super) fn suite(&self) -> Option<SuiteId> {
        match self.spoken {
            Some(Spoken::V20(suite)) => Some(suite),
            _ => None,
        }
    }

    /// Forgets the BMC, and keeps the counters.
    pub(super) fn forget(&mut self) {
        *self = Memory {
            statistics: std::mem::take(&mut self.statistics),
            ..Memory::default()
        };
    }
}
