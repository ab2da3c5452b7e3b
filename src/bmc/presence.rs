//! Whether anything is at a BMC's address at all: the RMCP presence ping (§13.2.3), asked after a
//! verdict of silence.
//!
//! Driven by the rest of `bmc`, once those who waited have been told: no order waits for a pong,
//! and no session is opened or left because of one, for some BMCs never send it. Two packets for a
//! verdict, and not more often than [`EVERY`].

use super::Bmc;
use crate::entropy::Entropy;
use crate::ipmi::rmcp::{self, Asf, Class};
use crate::session::Quirk;
use crate::time::Instant;
use std::time::Duration;

/// What is known of somebody's presence.
#[derive(Debug, Default)]
pub(super) struct Presence {
    asking: Option<Ping>,
    asked_at: Option<Instant>,
    found: Option<Found>,
}

/// A ping that is under way.
#[derive(Debug)]
struct Ping {
    tag: u8,
    /// Whether a datagram waits to be taken.
    due: bool,
    /// Copies that may follow.
    copies: u8,
    /// When the next one is due, or the end.
    next_at: Instant,
}

/// What came of a ping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Somebody is there, and says whether it speaks IPMI.
    Pong {
        /// Whether it says so.
        ipmi: bool,
    },
    /// Nobody answered, as some BMCs never do.
    Nothing,
}

impl Answer {
    /// As it stands behind the words of a verdict of silence.
    fn words(self) -> &'static str {
        match self {
            Self::Pong { ipmi: true } => "a presence ping is answered, IPMI is not",
            Self::Pong { ipmi: false } => {
                "a presence ping is answered, by somebody who does not claim to speak IPMI"
            }
            Self::Nothing => "nor is a presence ping answered",
        }
    }
}

/// An answer and its moment.
type Found = (Answer, Instant);

impl Bmc {
    /// Begins to ask whether anybody is there, where that was not done a moment ago.
    pub(super) fn look_for_presence(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let lately = |at: Instant| now < at + EVERY;
        let quirks = &self.settings.login.quirks;
        // ipmitool spares such BMCs the ping, for they take it badly.
        let spared = quirks.has(Quirk::OemAuth) || quirks.has(Quirk::SupermicroAuth);
        if spared || self.quits.is_some() {
            return;
        }
        if self.presence.asked_at.is_some_and(lately) {
            return self.remark_presence();
        }
        self.presence.asked_at = Some(now);
        self.presence.asking = Some(Ping {
            // ASF: a message with the tag FFh wants no answer.
            tag: entropy.below(0xFF) as u8,
            due: true,
            copies: 1,
            next_at: now + PATIENCE,
        });
    }

    /// The ping to hand to the network.
    pub(super) fn presence_ping(&mut self) -> Option<Vec<u8>> {
        let asking = self.presence.asking.as_mut()?;
        std::mem::take(&mut asking.due).then(|| Asf::Ping { tag: asking.tag }.encode())
    }

    /// When to look at the clock for the ping's sake.
    pub(super) fn presence_due(&self) -> Option<Instant> {
        self.presence.asking.as_ref().map(|asking| asking.next_at)
    }

    /// Looks at the clock: another copy, or the end.
    pub(super) fn presence_tick(&mut self, now: Instant) {
        let Some(asking) = &mut self.presence.asking else {
            return;
        };
        if now < asking.next_at {
            return;
        }
        if asking.copies > 0 {
            asking.copies -= 1;
            asking.due = true;
            asking.next_at = now + PATIENCE;
        } else {
            self.presence_found(Answer::Nothing, now);
        }
    }

    /// Whether a datagram is the pong that is waited for.
    pub(super) fn presence_heard(&mut self, datagram: &[u8], now: Instant) -> bool {
        let Some(asking) = &self.presence.asking else {
            return false;
        };
        let packet = rmcp::Packet::decode(datagram).ok();
        let body = packet.filter(|packet| packet.class == Class::Asf);
        match body.and_then(|packet| Asf::decode(packet.body).ok()) {
            // The tag is random, so that a late pong of an earlier question says nothing.
            Some(Asf::Pong { tag, ipmi }) if tag == asking.tag => {
                self.presence_found(Answer::Pong { ipmi }, now);
                true
            }
            _ => false,
        }
    }

    fn presence_found(&mut self, answer: Answer, now: Instant) {
        self.presence.asking = None;
        self.presence.found = Some((answer, now));
        self.breaker.remark(answer.words());
    }

    /// Says beside a verdict of silence what the last ping found.
    pub(super) fn remark_presence(&mut self) {
        if let Some((answer, _)) = self.presence.found {
            self.breaker.remark(answer.words());
        }
    }

    /// The BMC speaks: what pings found is past.
    pub(super) fn forget_presence(&mut self) {
        self.presence = Presence::default();
    }

    /// What the last presence ping found, and when; nothing since the BMC was last spoken with.
    pub fn presence(&self) -> Option<(Answer, Instant)> {
        self.presence.found
    }
}

/// How long a pong is waited for, for each copy.
const PATIENCE: Duration = Duration::from_secs(1);
/// No second ping sooner than that.
const EVERY: Duration = Duration::from_secs(25);
