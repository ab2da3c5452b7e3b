//! An open session's traffic: numbers, windows, the one request under way, its resends, and answers matched to it.

use super::round_trip::RoundTrip;
use super::seal::{Seal, Unsealed};
use super::settings::Timing;
use super::vocabulary::{Bridge, Dropped, Request, RequestId, Resend};
use super::window::Window;
use crate::entropy::Entropy;
use crate::ipmi::command::{Command, send_message};
use crate::ipmi::message::{self, BMC_ADDRESS, CONSOLE_ADDRESS, Checksums, net_fn};
use crate::ipmi::rmcp::{self, Class};
use crate::ipmi::{CompletionCode, Wire};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// How many answers that may still come late are remembered: half of the 64 sequence numbers.
const TABOO: usize = 32;
/// How many sequence numbers in a row may be left out (pyghmi: BMCs mind more).
const GAP: usize = 7;

/// How long to wait.
#[derive(Clone, Copy)]
pub(super) struct Pace<'a> {
    pub(super) timing: &'a Timing,
    pub(super) round_trip: &'a RoundTrip,
}

/// The traffic of an open session.
pub(super) struct Link {
    seal: Seal,
    /// The BMC's id of the session, for Close Session.
    pub(super) bmc_id: u32,
    checksums: Checksums,
    /// The sequence number of the last packet sent.
    outbound: u32,
    window: Window,
    /// The request sequence number used last.
    sequence: u8,
    /// Whose answers may still come late: response's network function, command, request sequence.
    taboo: VecDeque<(u8, u8, u8)>,
    exchange: Option<Exchange>,
    /// Datagrams sent since the BMC was heard last.
    silent: u32,
}

/// The request under way.
pub(super) struct Exchange {
    /// Whose it is, `None` for session upkeep.
    pub(super) id: Option<RequestId>,
    request: Request,
    sequence: u8,
    /// Copies made.
    copies: u32,
    /// Copies handed to the network.
    pub(super) handed: u32,
    sent_at: Instant,
    /// When to send another copy, or to give the session up.
    resend_at: Instant,
    /// When the answer comes too late.
    until: Instant,
    /// Whether the BMC spoke of a duplicate.
    pub(super) duplicate: bool,
}

/// The answer to the request under way.
pub(super) struct Reply {
    pub(super) id: Option<RequestId>,
    pub(super) completion: CompletionCode,
    pub(super) data: Vec<u8>,
    pub(super) round_trip: Option<Duration>,
}

/// What the passing of time brought.
pub(super) enum Tick {
    /// Nothing.
    Nothing,
    /// Another copy.
    Resend(Option<RequestId>, Vec<u8>),
    /// The request's patience ended.
    OutOfPatience(Exchange),
    /// Too many datagrams brought nothing.
    Silent(Exchange, u32),
}

impl Link {
    /// The traffic of a session that was just opened. `outbound` is the number before our first packet's, `inbound`
    /// the one before the BMC's first.
    pub(super) fn new(
        seal: Seal,
        bmc_id: u32,
        outbound: u32,
        inbound: u32,
        checksums: Checksums,
    ) -> Self {
        Link {
            seal,
            bmc_id,
            checksums,
            outbound,
            window: Window::after(inbound),
            sequence: 0,
            taboo: VecDeque::new(),
            exchange: None,
            silent: 0,
        }
    }

    pub(super) fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_ref()
    }

    pub(super) fn exchange_mut(&mut self) -> Option<&mut Exchange> {
        self.exchange.as_mut()
    }

    /// Gives up the request under way; its late answer will be nobody's.
    pub(super) fn give_up(&mut self) -> Option<Exchange> {
        let exchange = self.exchange.take()?;
        self.forbid(&exchange);
        Some(exchange)
    }

    fn forbid(&mut self, exchange: &Exchange) {
        if self.taboo.len() == TABOO {
            self.taboo.pop_front();
        }
        self.taboo.push_back((
            exchange.request.net_fn,
            exchange.request.command,
            exchange.sequence,
        ));
    }

    fn next_sequence(&mut self, request: &Request) -> u8 {
        for _ in 0..=GAP {
            self.sequence = (self.sequence + 1) & 0x3F;
            let key = (request.net_fn, request.command, self.sequence);
            if !self.taboo.contains(&key) {
                break;
            }
        }
        self.sequence
    }

    /// Sends a request; the one before must be over.
    pub(super) fn begin(
        &mut self,
        id: Option<RequestId>,
        request: Request,
        until: Instant,
        pace: Pace<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Vec<u8> {
        let sequence = self.next_sequence(&request);
        let wait = pace.round_trip.wait_after(1, pace.timing, entropy);
        let exchange = Exchange {
            id,
            sequence,
            copies: 1,
            handed: 0,
            sent_at: now,
            resend_at: now + wait,
            until,
            duplicate: false,
            request,
        };
        let datagram = self.datagram(&exchange, entropy);
        self.exchange = Some(exchange);
        datagram
    }

    /// A copy of the request: same request sequence, next session sequence.
    fn datagram(&mut self, exchange: &Exchange, entropy: &mut dyn Entropy) -> Vec<u8> {
        self.outbound = match self.outbound.wrapping_add(1) {
            0 => 1,
            next => next,
        };
        self.silent += 1;
        let message = encode(&exchange.request, exchange.sequence);
        self.seal.seal(self.outbound, &message, entropy)
    }

    /// When to call [`tick`](Self::tick) again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let exchange = self.exchange.as_ref()?;
        Some(match exchange.resends() {
            true => exchange.resend_at.min(exchange.until),
            false => exchange.until,
        })
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, pace: Pace<'_>, now: Instant, entropy: &mut dyn Entropy) -> Tick {
        let Some(mut exchange) = self.exchange.take() else {
            return Tick::Nothing;
        };
        if exchange.until <= now {
            self.forbid(&exchange);
            return Tick::OutOfPatience(exchange);
        }
        if !exchange.resends() || exchange.resend_at > now {
            self.exchange = Some(exchange);
            return Tick::Nothing;
        }
        if self.silent >= pace.timing.lost_after {
            return Tick::Silent(exchange, self.silent);
        }
        exchange.copies += 1;
        exchange.resend_at = now
            + pace
                .round_trip
                .wait_after(exchange.copies, pace.timing, entropy);
        let datagram = self.datagram(&exchange, entropy);
        let id = exchange.id;
        self.exchange = Some(exchange);
        Tick::Resend(id, datagram)
    }

    /// Takes in a datagram. `Ok(None)` is a packet of this session that is no answer yet.
    pub(super) fn receive(
        &mut self,
        datagram: &[u8],
        now: Instant,
    ) -> Result<Option<Reply>, Dropped> {
        let packet = rmcp::Packet::decode(datagram).map_err(|_| Dropped::Malformed)?;
        if packet.class != Class::Ipmi {
            return Err(Dropped::Malformed);
        }
        let Unsealed { sequence, message } = self.seal.unseal(packet.body)?;
        // The window moves only for packets whose code was right.
        if !self.window.take(sequence) {
            return Err(Dropped::OutOfWindow);
        }
        self.silent = 0;
        let response = message::Response::decode(&message, self.checksums)
            .map_err(|_| Dropped::WrongMessage)?;
        // Nothing answers what did not leave yet, whatever numbers it guessed.
        let left = |exchange: &&mut Exchange| exchange.id.is_none() || exchange.handed > 0;
        let exchange = self.exchange.as_mut().filter(left).ok_or(Dropped::Stale)?;
        let answer = exchange.answer(response, self.checksums)?;
        let Some((completion, data)) = answer else {
            return Ok(None);
        };
        if completion == CompletionCode::DUPLICATE {
            // A copy was taken before: its answer may still come; sending more would bring more of this.
            exchange.duplicate = true;
            return Ok(None);
        }
        let exchange = self.exchange.take().expect("it was there a line above");
        if exchange.copies > 1 {
            self.forbid(&exchange);
        }
        Ok(Some(Reply {
            id: exchange.id,
            completion,
            data,
            round_trip: (exchange.copies == 1).then(|| now - exchange.sent_at),
        }))
    }
}

impl Exchange {
    /// Whether another copy may be sent, or the session be given up, for want of an answer.
    fn resends(&self) -> bool {
        self.request.resend == Resend::Allowed && !self.duplicate
    }

    /// What `response` means for this request: the answer, or nothing yet.
    fn answer(
        &self,
        response: message::Response,
        checksums: Checksums,
    ) -> Result<Option<(CompletionCode, Vec<u8>)>, Dropped> {
        if response.sequence != self.sequence {
            return Err(Dropped::Stale);
        }
        let is =
            |net_fn: u8, command: u8| response.net_fn == net_fn | 1 && response.command == command;
        let carried = is(net_fn::APP, send_message::Request::NUMBER);
        let wanted = is(self.request.net_fn, self.request.command);
        match self.request.bridge {
            Bridge::None if wanted => Ok(Some((response.completion, response.data))),
            Bridge::None => Err(Dropped::Stale),
            _ if carried => self.carried(response, checksums, 2),
            _ if wanted => Ok(Some((response.completion, response.data))),
            _ => Err(Dropped::Stale),
        }
    }

    /// The answer to Send Message: a refusal, the news that the message was passed on, or the answer itself inside.
    fn carried(
        &self,
        response: message::Response,
        checksums: Checksums,
        depth: u8,
    ) -> Result<Option<(CompletionCode, Vec<u8>)>, Dropped> {
        if !response.completion.is_ok() {
            return Ok(Some((response.completion, response.data)));
        }
        if response.data.is_empty() {
            return Ok(None);
        }
        let inner = message::Response::decode(&response.data, checksums)
            .map_err(|_| Dropped::WrongMessage)?;
        if inner.sequence != self.sequence {
            return Err(Dropped::Stale);
        }
        if inner.net_fn == self.request.net_fn | 1 && inner.command == self.request.command {
            return Ok(Some((inner.completion, inner.data)));
        }
        if depth > 0
            && inner.net_fn == net_fn::APP | 1
            && inner.command == send_message::Request::NUMBER
        {
            return self.carried(inner, checksums, depth - 1);
        }
        Err(Dropped::Stale)
    }
}

/// The message of a request, wrapped in Send Message as often as its way needs (§6.13, §22.7).
fn encode(request: &Request, sequence: u8) -> Vec<u8> {
    let message = |responder, requester, net_fn, lun, command, data| {
        message::Request {
            responder,
            net_fn,
            lun,
            requester,
            requester_lun: 0,
            sequence,
            command,
            data,
        }
        .encode()
    };
    let own = |responder, requester| {
        message(
            responder,
            requester,
            request.net_fn,
            request.lun,
            request.command,
            request.data.clone(),
        )
    };
    let pass_on = |responder, requester, channel, inner| {
        let carrier = send_message::Request {
            channel,
            tracking: send_message::Tracking::Tracked,
            message: inner,
        };
        message(
            responder,
            requester,
            net_fn::APP,
            0,
            send_message::Request::NUMBER,
            carrier.encode(),
        )
    };
    match request.bridge {
        Bridge::None => own(BMC_ADDRESS, CONSOLE_ADDRESS),
        Bridge::Single { channel, address } => pass_on(
            BMC_ADDRESS,
            CONSOLE_ADDRESS,
            channel,
            own(address, BMC_ADDRESS),
        ),
        Bridge::Dual {
            transit_channel,
            transit_address,
            channel,
            address,
        } => pass_on(
            BMC_ADDRESS,
            CONSOLE_ADDRESS,
            transit_channel,
            pass_on(
                transit_address,
                BMC_ADDRESS,
                channel,
                own(address, transit_address),
            ),
        ),
    }
}
