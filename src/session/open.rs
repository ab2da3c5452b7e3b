//! The open session: requests one by one, what its BMC answers, its silence.
//!
//! The open part of `Session`. What a datagram is in the session is `link`'s; how a session
//! begins and ends is said in `handshake` and `ending`.

use super::handshake;
use super::link::{self, Exchange, Link, Pace, Tick};
use super::vocabulary::{Dropped, Event, LostReason, Request, Spoken, Transmit, UnansweredReason};
use super::{Phase, Quirk, Session};
use crate::entropy::Entropy;
use crate::ipmi::command::Command;
use crate::ipmi::command::chassis_control::Request as Control;
use crate::ipmi::command::get_channel_auth_capabilities as capabilities;
use crate::ipmi::message::{Checksums, net_fn};
use crate::ipmi::{PrivilegeLevel, rmcp};
use crate::time::Instant;

pub(super) struct Open {
    pub link: Link,
    pub spoken: Spoken,
    pub privilege: PrivilegeLevel,
    /// Whether there was an order after which some BMCs never answer a Close Session.
    pub has_reset: bool,
    /// What is wrong with the answers since the last one that was taken.
    pub unusable: Option<Dropped>,
}

impl Session {
    /// The level of the open session is another one than was granted at first: it was asked for
    /// again.
    pub fn note_privilege(&mut self, level: PrivilegeLevel) {
        if let Phase::Open(open) = &mut self.phase {
            open.privilege = level;
            // The probe asks for this level again, which a BMC with the quirk cannot take.
            if !self.settings.quirks.has(Quirk::NoSetPrivilege) {
                open.link.has_level(level);
            }
            self.memory.statistics.privilege = Some(level);
        }
    }

    /// Takes in a datagram of the BMC.
    pub(super) fn receive(&mut self, mut open: Box<Open>, datagram: &[u8], now: Instant) {
        match open.link.receive(datagram, now) {
            Ok(Some(reply)) => {
                open.unusable = None;
                self.memory.observe(&reply, now, &self.settings.timing);
                self.notices.clear();
                if let (Some(id), true) = (reply.id, reply.late) {
                    self.events.push_back(Event::AnsweredLate {
                        id,
                        completion: reply.completion,
                        data: reply.data,
                    });
                } else if let Some(id) = reply.id {
                    self.transmits
                        .retain(|transmit| transmit.request != Some(id));
                    self.events.push_back(Event::Answered {
                        id,
                        completion: reply.completion,
                        data: reply.data,
                        round_trip: reply.round_trip,
                    });
                }
            }
            Ok(None) => self.notices.clear(),
            // A BMC that answers outside of its session only has forgotten it.
            Err(_) if self.is_outside_answer(datagram) => {
                self.notices.clear();
                open.link.heard_outside();
            }
            Err(reason) => {
                let why = Some(reason).filter(|why| why.is_about_protection());
                open.unusable = why.or(open.unusable);
                self.memory.count_dropped(reason);
            }
        }
        self.phase = Phase::Open(open);
    }

    /// Whether a datagram is the BMC's answer to the question that goes with a probe, outside of
    /// the session.
    fn is_outside_answer(&self, datagram: &[u8]) -> bool {
        let Ok(packet) = rmcp::Packet::decode(datagram) else {
            return false;
        };
        let response = handshake::outside_response(packet.body, Checksums::Verified);
        response.is_some_and(|response| {
            // The number is the probe's: late answers to a log-in prove nothing.
            Some(response.sequence) == self.probe_sequence
                && handshake::is_answer::<capabilities::Request>(&response)
        })
    }

    /// The question for capabilities, which any BMC answers that has lost the session.
    fn ask_outside(&mut self, entropy: &mut dyn Entropy) {
        // A BMC that never answers this question is spared it: its silence would prove nothing.
        if self.memory.capabilities_ignored || self.has(Quirk::NoCapabilities) {
            return;
        }
        let sequence = entropy.below(64) as u8;
        self.probe_sequence = Some(sequence);
        let body = handshake::question(true, self.settings.privilege, sequence);
        let datagram = rmcp::encode(rmcp::Class::Ipmi, &body);
        self.transmits.push_back(Transmit::upkeep(datagram));
    }

    /// Sends the next queued request where none is under way.
    pub(super) fn pump(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        if open.link.exchange().is_some() {
            return;
        }
        let Some(waiting) = self.queue.pop_front() else {
            return;
        };
        // Some BMCs answer no Close Session after a reset (Intel Tiger 4).
        open.has_reset |= is_reset(&waiting.request);
        let pace = Pace {
            timing: &self.settings.timing,
            round_trip: &self.memory.round_trip,
        };
        // A BMC that is known to be slow gets its time.
        let until = match link::is_worth_waiting(&waiting.request) {
            true => waiting
                .until
                .max(now + pace.round_trip.wait(pace.timing) * 2),
            false => waiting.until,
        };
        let datagram =
            open.link
                .begin(Some(waiting.id), waiting.request, until, pace, now, entropy);
        self.transmits.push_back(Transmit {
            datagram,
            fresh_port: false,
            request: Some(waiting.id),
        });
    }

    /// What is due: a copy, a probe, or the end.
    pub(super) fn tick(&mut self, mut open: Box<Open>, now: Instant, entropy: &mut dyn Entropy) {
        let pace = Pace {
            timing: &self.settings.timing,
            round_trip: &self.memory.round_trip,
        };
        match open.link.tick(pace, now, entropy) {
            Tick::Nothing => {}
            Tick::Resend(id, datagram) => {
                self.memory.statistics.resends += 1;
                self.transmits.push_back(Transmit {
                    datagram,
                    fresh_port: false,
                    request: id,
                });
            }
            Tick::OutOfPatience(exchange) => {
                let reason = if exchange.duplicate {
                    UnansweredReason::Duplicate
                } else {
                    UnansweredReason::Silent
                };
                self.unanswered(exchange, reason);
            }
            Tick::Probe(datagram) => {
                self.transmits.push_back(Transmit::upkeep(datagram));
                // Silence in the session proves its end only beside an answer outside of it.
                self.ask_outside(entropy);
            }
            Tick::Silent(exchange, datagrams) => {
                let silent = LostReason::Silent { datagrams };
                // Answers without a code were once called silence: people looked at the network.
                let reason = open.unusable.map_or(silent, LostReason::Unusable);
                self.lost(*open, Some(exchange), reason, now, entropy);
                return;
            }
        }
        self.phase = Phase::Open(open);
    }

    /// The end of a request that was sent, or was about to be.
    pub(super) fn unanswered(&mut self, exchange: Exchange, reason: UnansweredReason) {
        let Some(id) = exchange.id else { return };
        self.transmits
            .retain(|transmit| transmit.request != Some(id));
        self.events.push_back(Event::Unanswered {
            id,
            datagrams: exchange.handed,
            reason,
        });
    }
}

/// Whether the machine, and with some boards the BMC's network, goes away for a while.
fn is_reset(request: &Request) -> bool {
    request.net_fn == net_fn::CHASSIS
        && request.command == Control::NUMBER
        && request.data.first().is_some_and(|control| {
            [Control::PowerCycle as u8, Control::HardReset as u8].contains(control)
        })
}
