//! What the network says of datagrams that did not arrive. Anybody on the way can say so of a BMC
//! that answers, and even where it is true it may pass at once: it makes the next copy leave
//! sooner, and is believed only when it was said of several copies for as long as an answer takes,
//! and no answer came in all that time.

use super::round_trip::RoundTrip;
use super::settings::Timing;
use super::vocabulary::{Event, LostReason, OpenError, Undeliverable};
use super::{Phase, Session};
use crate::entropy::Entropy;
use crate::time::Instant;
use std::time::Duration;

/// What was said since the BMC was heard last.
#[derive(Default)]
pub(super) struct Notices {
    /// When that began.
    since: Option<Instant>,
    /// Of how many copies it was said.
    copies: u32,
    /// How many datagrams had left when it was said last.
    sent: u64,
    /// How often in a row it was believed. Where it is a lie about a BMC that is slow, more time
    /// may bring its answer.
    believed: u32,
}

impl Notices {
    /// The BMC answers: whatever was said before is not so.
    pub(super) fn clear(&mut self) {
        // Whatever verifies counts for more than a notice, which anybody may forge.
        self.since = None;
        self.copies = 0;
        self.believed = 0;
    }

    /// Takes in a notice, and says whether nobody is there. `None` where it was said before of this
    /// copy.
    fn take(&mut self, sent: u64, patience: Duration, now: Instant) -> Option<bool> {
        if self.sent == sent {
            return None;
        }
        self.sent = sent;
        self.copies += 1;
        let since = *self.since.get_or_insert(now);
        let patience = patience.max((FIRST_PATIENCE * 2u32.pow(self.believed.min(8))).min(LONGEST));
        let gone = self.copies >= COPIES && now >= since + patience;
        if gone {
            self.since = None;
            self.copies = 0;
            self.believed += 1;
        }
        Some(gone)
    }
}

impl Session {
    /// The network says that the last datagram did not arrive.
    pub fn handle_unreachable(
        &mut self,
        why: Undeliverable,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let timing = &self.settings.timing;
        let round_trip = &self.memory.round_trip;
        let sent = self.memory.statistics.sent;
        let Some(gone) = self.notices.take(sent, round_trip.wait(timing), now) else {
            return;
        };
        let soon = now + next_copy_after(round_trip, timing);
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => {}
            Phase::Opening(handshake) if gone => {
                self.leave(handshake, now, entropy);
                // What never arrived opened no session.
                self.memory.ledger.undelivered();
                self.events
                    .push_back(Event::OpenFailed(OpenError::Unreachable(why)));
            }
            Phase::Opening(mut handshake) => {
                handshake.deadline = handshake.deadline.min(soon);
                self.phase = Phase::Opening(handshake);
            }
            Phase::Open(mut open) if gone => {
                let exchange = open.link.give_up();
                self.lost(*open, exchange, LostReason::Unreachable(why), now, entropy);
            }
            Phase::Open(mut open) => {
                open.link.undelivered(soon);
                self.phase = Phase::Open(open);
            }
            // Close Session has not left yet, so that this notice is about something else.
            to_close @ Phase::ToClose { .. } => self.phase = to_close,
            Phase::Closing { link, .. } => {
                self.memory.ledger.leaves(link, now);
                self.closed(now, entropy);
            }
        }
        self.expire(now);
    }
}

/// The next copy leaves sooner than it would in silence, and not before an answer to the last one
/// is to be expected.
fn next_copy_after(round_trip: &RoundTrip, timing: &Timing) -> Duration {
    timing
        .resend_floor
        .max(round_trip.expected().unwrap_or_default())
}

/// Copies in a row that are called undeliverable before nobody is there.
const COPIES: u32 = 2;
/// How long that is said at least, the first time.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// How long that is said at most, unless the BMC is known to need longer: shorter than the time
/// after which those who wait hear of silence, so that they hear the network's words.
const LONGEST: Duration = Duration::from_secs(4);
