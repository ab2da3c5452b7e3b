//! Whether the session is still there, asked beside a request that is not answered: by other
//! requests, for some commands take a BMC long and say nothing of the session.
//!
//! Get Device ID first. Then the level that the session has anyway: where what carries commands out
//! hangs behind what keeps the sessions (OpenBMC), only the latter answers.

use super::{Link, Pace, Tick};
use crate::entropy::Entropy;
use crate::ipmi::PrivilegeLevel;
use crate::ipmi::command::{get_device_id, set_session_privilege};
use crate::ipmi::message;
use crate::session::vocabulary::{Request, Resend};
use crate::time::Instant;
use std::time::Duration;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Probe {
    /// When the next probe is due, while a request is under way.
    pub(super) due: Option<Instant>,
    /// How often a probe's answer has brought the next copy of the request forward.
    pub(super) hurried: u32,
    /// The probes that were sent since the BMC was heard last: their network functions, commands
    /// and request numbers.
    pub(super) sent: Vec<Asked>,
    /// Whether the BMC answered outside of the session after a probe had left.
    pub(super) answered_outside: bool,
    /// The session's level, where the BMC lets it be set.
    level: Option<PrivilegeLevel>,
}

type Asked = (u8, u8, u8);

impl Probe {
    /// Whether enough probes brought nothing, and the last one had its time.
    pub(super) fn is_unanswered(&self, now: Instant) -> bool {
        self.sent.len() >= PROBES && self.due.is_some_and(|due| due <= now)
    }
}

impl Link {
    /// The session has this level. Setting it again changes nothing.
    pub(in crate::session) fn has_level(&mut self, level: PrivilegeLevel) {
        self.probe.level = Some(level);
    }

    /// The probe that is due.
    pub(super) fn probe(
        &mut self,
        pace: Pace<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Tick {
        if self.probe.due.is_none_or(|due| due > now) {
            return Tick::Nothing;
        }
        // With Get Device ID alone, an OpenBMC whose ipmid hung had ten log-ins in 24 s.
        let level = self.probe.level.filter(|_| self.probe.sent.len() % 2 == 1);
        let request = match level {
            None => Request::of(&get_device_id::Request, Resend::Never, Duration::ZERO),
            level => {
                let level = set_session_privilege::Request { level };
                Request::of(&level, Resend::Never, Duration::ZERO)
            }
        };
        let sequence = self.next_sequence(&request);
        let asked = (request.net_fn, request.command, sequence);
        self.probe.sent.push(asked);
        let wait = pace.round_trip.wait(pace.timing) * 2;
        self.probe.due = Some(now + wait);
        self.silent += 1;
        self.number();
        let message = super::encode(&request, sequence);
        Tick::Probe(self.seal.seal(self.outbound, &message, entropy))
    }

    /// Whether the BMC has shown that it knows nothing of the session any more.
    pub(in crate::session) fn is_gone(&self) -> bool {
        self.probe.answered_outside && self.probe.sent.len() >= PROBES
    }

    /// The session is there: the request that is not answered, or its answer, was lost, or it takes
    /// the BMC long. Another copy or two are worth it now.
    pub(super) fn alive(&mut self, now: Instant) {
        self.probe.hurried += 1;
        let doubled = (self.probe.hurried - 1).min(8);
        self.probe.due = Some(now + PROBE_REST * 2u32.pow(doubled));
        if let Some(exchange) = &mut self.exchange
            && self.probe.hurried <= HURRIED
        {
            exchange.resend_at = now;
        }
    }

    /// The BMC answers outside of the session.
    pub(in crate::session) fn heard_outside(&mut self) {
        // Before a probe has left, an answer outside says nothing of the session.
        self.probe.answered_outside = !self.probe.sent.is_empty();
    }
}

/// Whether this answers one of these.
pub(super) fn answers_probe(sent: &[Asked], response: &message::Response) -> bool {
    let answers = |(net_fn, command, sequence): &Asked| {
        (net_fn | 1, *command, *sequence) == (response.net_fn, response.command, response.sequence)
    };
    sent.iter().any(answers)
}

/// How many probes must have brought nothing before a session is given up.
const PROBES: usize = 2;
/// How long no other probe follows the first one that was answered; after the next twice as long,
/// and so on.
const PROBE_REST: Duration = Duration::from_millis(500);
/// How often a probe's answer brings the next copy of a request forward.
const HURRIED: u32 = 4;
