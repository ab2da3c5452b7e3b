//! An open session's traffic: numbers, windows, the one request under way, its resends, and answers
//! matched to it.

mod probe;

use super::clear::Way;
use super::fifo::Fifo;
use super::round_trip::RoundTrip;
use super::seal::{Seal, Unsealed};
use super::settings::Timing;
use super::vocabulary::{Bridge, Dropped, Request, RequestId, Resend};
use super::window::Window;
use crate::entropy::Entropy;
use crate::ipmi::command::{Command, close_session, send_message};
use crate::ipmi::message::{self, BMC_ADDRESS, CONSOLE_ADDRESS, Checksums, net_fn};
use crate::ipmi::rmcp::{self, Class};
use crate::ipmi::session20;
use crate::ipmi::{CompletionCode, Wire};
use crate::time::Instant;
use probe::{Probe, answers_probe};
use std::time::Duration;

/// How many answers that may still come late are remembered: half of the 64 sequence numbers.
const RETIRED: usize = 32;
/// How many requests that were sent once are remembered after their time, until another one has
/// their number.
const OVERDUE: usize = 4;
/// How many sequence numbers in a row may be left out (pyghmi: BMCs mind more).
const GAP: usize = 7;

/// A request that may take no longer than that is worth no question whether the session is there.
const TRIFLE: Duration = Duration::from_millis(1500);
/// How long nothing at all must have come before a session is given up.
const SILENT_FOR: Duration = Duration::from_secs(12);
/// How long the answer to a reading or a level is waited for at most, while the BMC shows that it
/// lives.
const LONGEST_READING: Duration = Duration::from_secs(30);
/// How long the answer to an order that is sent once is waited for at most: then the machine is
/// looked at.
const LONGEST_PULSE: Duration = Duration::from_secs(12);

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
    retired_sequences: Fifo<(u8, u8, u8)>,
    /// The request under way; in a box, because each of thousands of sessions has one for a moment
    /// only.
    exchange: Option<Box<Exchange>>,
    /// Requests that were sent once, whose answer did not come within their time: it is taken late.
    overdue: Fifo<Exchange>,
    /// Datagrams sent since the BMC was heard last.
    silent: u32,
    /// When the first of these left.
    silent_since: Instant,
    /// When the BMC was heard last.
    heard_at: Option<Instant>,
    probe: Probe,
}

/// The request under way.
#[derive(Clone)]
pub(super) struct Exchange {
    /// Whose it is, `None` for session upkeep.
    pub(super) id: Option<RequestId>,
    request: Request,
    sequence: u8,
    copies: u32,
    /// Copies handed to the network.
    pub(super) handed: u32,
    began: Instant,
    /// When the last copy was made.
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
    /// How long it took if it answers the first copy.
    pub(super) longest: Duration,
    /// How long it took if it answers the last one.
    pub(super) shortest: Duration,
    /// Whether the request had been given up as unanswered.
    pub(super) late: bool,
}

/// What the passing of time brought.
pub(super) enum Tick {
    Nothing,
    Resend(Option<RequestId>, Vec<u8>),
    /// Whether the session is still there, in the session; to be asked outside of it as well.
    Probe(Vec<u8>),
    /// The request's patience ended.
    OutOfPatience(Exchange),
    /// Too many datagrams brought nothing.
    Silent(Exchange, u32),
}

impl Link {
    /// The traffic of a session that was just opened. `outbound` is the number before our first
    /// packet's, `inbound` the one before the BMC's first.
    pub(super) fn new(
        seal: Seal,
        bmc_id: u32,
        outbound: u32,
        inbound: u32,
        checksums: Checksums,
    ) -> Self {
        Self {
            seal,
            bmc_id,
            checksums,
            outbound,
            window: Window::after(inbound),
            sequence: 0,
            retired_sequences: Fifo::new(),
            exchange: None,
            overdue: Fifo::new(),
            silent: 0,
            silent_since: Instant::START,
            heard_at: None,
            probe: Probe::default(),
        }
    }

    /// The BMC says that it has the session. What was sent before may have come too early to be
    /// answered.
    pub(super) fn begins_now(&mut self) {
        self.silent = 0;
    }

    pub(super) fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_deref()
    }

    pub(super) fn exchange_mut(&mut self) -> Option<&mut Exchange> {
        self.exchange.as_deref_mut()
    }

    /// Gives up the request under way; its late answer will be nobody's.
    pub(super) fn give_up(&mut self) -> Option<Exchange> {
        let exchange = self.exchange.take()?;
        self.retire(&exchange);
        Some(*exchange)
    }

    // BMCs answer late, and pyghmi keeps such a list: a late answer must fit no later request.
    fn retire(&mut self, exchange: &Exchange) {
        if self.retired_sequences.len() == RETIRED {
            self.retired_sequences.pop_front();
        }
        self.retired_sequences.push_back((
            exchange.request.net_fn,
            exchange.request.command,
            exchange.sequence,
        ));
    }

    fn next_sequence(&mut self, request: &Request) -> u8 {
        for _ in 0..=GAP {
            self.sequence = (self.sequence + 1) & 0x3F;
            let key = (request.net_fn, request.command, self.sequence);
            if !self.retired_sequences.iter().any(|known| *known == key) {
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
        let exchange = Box::new(Exchange {
            id,
            sequence,
            copies: 1,
            handed: 0,
            began: now,
            sent_at: now,
            resend_at: now + wait,
            until,
            duplicate: false,
            request,
        });
        // From now on an answer with this number is the new request's.
        self.overdue.retain(|overdue| overdue.sequence != sequence);
        if self.silent == 0 {
            self.silent_since = now;
        }
        let matters = exchange.id.is_some() && is_worth_waiting(&exchange.request);
        self.probe.due = matters.then(|| now + wait * 2);
        self.probe.hurried = 0;
        let datagram = self.datagram(&exchange, entropy);
        self.exchange = Some(exchange);
        datagram
    }

    /// A copy of the request: same request sequence, next session sequence.
    fn datagram(&mut self, exchange: &Exchange, entropy: &mut dyn Entropy) -> Vec<u8> {
        self.number();
        self.silent += 1;
        // A BMC drops a session number that it has seen; the request number shows it the copy.
        let message = encode(&exchange.request, exchange.sequence);
        self.seal.seal(self.outbound, &message, entropy)
    }

    /// Another copy of the request under way, out of its turn.
    pub(super) fn another_copy(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<Vec<u8>> {
        let mut exchange = self.exchange.take()?;
        exchange.copies += 1;
        exchange.sent_at = now;
        let datagram = self.datagram(&exchange, entropy);
        self.exchange = Some(exchange);
        Some(datagram)
    }

    /// Close Session for a session that nobody waits for any more: one datagram. Its answer, if it
    /// comes, says that the BMC has it no more.
    pub(super) fn farewell(&mut self, now: Instant, entropy: &mut dyn Entropy) -> Vec<u8> {
        self.give_up();
        let close = close_session::Request {
            session_id: self.bmc_id,
            handle: None,
        };
        let request = Request::of(&close, Resend::Never, Duration::ZERO);
        let exchange = Box::new(Exchange {
            id: None,
            sequence: self.next_sequence(&request),
            copies: 1,
            handed: 0,
            began: now,
            sent_at: now,
            resend_at: now,
            until: now,
            duplicate: false,
            request,
        });
        let datagram = self.datagram(&exchange, entropy);
        self.exchange = Some(exchange);
        datagram
    }

    fn number(&mut self) {
        // 0 is the number of packets outside of sessions, so that the wrap leaves it out.
        self.outbound = match self.outbound.wrapping_add(1) {
            0 => 1,
            next => next,
        };
    }

    /// When to call [`tick`](Self::tick) again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let exchange = self.exchange.as_ref()?;
        let end = match exchange.resends() {
            true => exchange.resend_at.min(exchange.until),
            false => exchange.until,
        };
        Some(self.probe.due.map_or(end, |due| due.min(end)))
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, pace: Pace<'_>, now: Instant, entropy: &mut dyn Entropy) -> Tick {
        let Some(mut exchange) = self.exchange.take() else {
            return Tick::Nothing;
        };
        if exchange.until <= now && !self.grants_more(&mut exchange, pace, now) {
            self.retire(&exchange);
            if exchange.id.is_some()
                // Rule 2: it is never sent again, so that its late answer is the only news of it.
                && exchange.request.resend == Resend::Never
                && exchange.handed > 0
            {
                if self.overdue.len() == OVERDUE {
                    self.overdue.pop_front();
                }
                self.overdue.push_back((*exchange).clone());
            }
            return Tick::OutOfPatience(*exchange);
        }
        if self.is_lost(&exchange, pace, now) {
            return Tick::Silent(*exchange, self.silent);
        }
        let due = exchange.resends() && exchange.resend_at <= now;
        if !due {
            self.exchange = Some(exchange);
            return self.probe(pace, now, entropy);
        }
        exchange.copies += 1;
        exchange.sent_at = now;
        exchange.resend_at = now
            + pace
                .round_trip
                .wait_after(exchange.copies, pace.timing, entropy);
        let datagram = self.datagram(&exchange, entropy);
        let id = exchange.id;
        self.exchange = Some(exchange);
        Tick::Resend(id, datagram)
    }

    /// Whether a request is waited for longer: the BMC gave a sign of life since it left, and needs
    /// its time for it.
    fn grants_more(&self, exchange: &mut Exchange, pace: Pace<'_>, now: Instant) -> bool {
        let longest = match exchange.request.resend {
            Resend::Allowed => LONGEST_READING,
            Resend::Never => LONGEST_PULSE,
        };
        let alive = self.heard_at.is_some_and(|at| at > exchange.began);
        let matters = exchange.id.is_some() && is_worth_waiting(&exchange.request);
        let more = matters && alive && now < exchange.began + longest;
        if more {
            let wait = pace.round_trip.wait(pace.timing) * 2;
            exchange.until = (now + wait).min(exchange.began + longest);
        }
        more
    }

    /// Whether the session is given up. A slow command is no proof against it: different requests
    /// must have brought nothing, while the BMC answers outside of the session, or for so long that
    /// it would have answered.
    fn is_lost(&self, exchange: &Exchange, pace: Pace<'_>, now: Instant) -> bool {
        if self.silent < pace.timing.lost_after {
            return false;
        }
        if exchange.id.is_none() {
            // This is the log-in's own question, beside which nothing else may be asked yet.
            return exchange.resend_at <= now;
        }
        let wait = pace.round_trip.wait(pace.timing);
        let probed = self.probe.is_unanswered(now);
        let proved = self.probe.answered_outside && probed;
        proved || probed && now >= self.silent_since + SILENT_FOR.max(wait * 3)
    }

    /// The network says that the last copy could not be delivered: the next one leaves at `soon` at
    /// the latest.
    pub(super) fn undelivered(&mut self, soon: Instant) {
        if let Some(exchange) = &mut self.exchange {
            exchange.resend_at = exchange.resend_at.min(soon);
            self.probe.due = self.probe.due.map(|due| due.min(soon));
        }
    }

    /// What is encrypted in a packet of this session, one of ours or one of the BMC's; nothing of
    /// it is checked.
    pub(super) fn read(&self, packet: &session20::Packet<'_>, way: Way) -> Option<Vec<u8>> {
        match &self.seal {
            Seal::V20(seal) => seal.read(packet, way),
            Seal::V15(_) => None,
        }
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
        self.heard_at = Some(now);
        self.probe.answered_outside = false;
        // Any packet that verifies shows that the session lives: the probes begin anew.
        let probed = std::mem::take(&mut self.probe.sent);
        let response = message::Response::decode(&message, self.checksums)
            .map_err(|_| Dropped::WrongMessage)?;
        if answers_probe(&probed, &response) {
            self.alive(now);
            return Ok(None);
        }
        if let Some(late) = self.take_late(&response, now) {
            return Ok(Some(late));
        }
        // A packet cannot answer a request that has not left: its numbers were guessed.
        let left = |exchange: &&mut Exchange| exchange.id.is_none() || exchange.handed > 0;
        let exchange = self
            .exchange
            .as_deref_mut()
            .filter(left)
            .ok_or(Dropped::Stale)?;
        let answer = exchange.answer(response, self.checksums)?;
        let Some((completion, data)) = answer else {
            return Ok(None);
        };
        if completion == CompletionCode::DUPLICATE {
            // CFh: the BMC took a copy before, and its answer may still come; one more copy would
            // bring one more CFh.
            exchange.duplicate = true;
            return Ok(None);
        }
        let exchange = self.exchange.take().expect("it was there a line above");
        if exchange.copies > 1 {
            self.retire(&exchange);
        }
        Ok(Some(Reply {
            id: exchange.id,
            completion,
            data,
            // Karn's rule: where there are several copies nobody knows which one was answered.
            round_trip: (exchange.copies == 1).then(|| now - exchange.sent_at),
            longest: now - exchange.began,
            shortest: now - exchange.sent_at,
            late: false,
        }))
    }
}

impl Link {
    /// The answer to a request whose time was over: its number was not used since.
    fn take_late(&mut self, response: &message::Response, now: Instant) -> Option<Reply> {
        let answer = |exchange: &Exchange| exchange.answer(response.clone(), self.checksums);
        let answers = self.overdue.iter().map(answer);
        let (place, (completion, data)) = answers
            .enumerate()
            .find_map(|(place, answer)| Some((place, answer.ok().flatten()?)))?;
        if completion == CompletionCode::DUPLICATE {
            return None;
        }
        let exchange = self.overdue.remove(place)?;
        let took = now - exchange.began;
        Some(Reply {
            id: exchange.id,
            completion,
            data,
            round_trip: Some(took),
            longest: took,
            shortest: took,
            late: true,
        })
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
            // §6.13: BMCs send a controller's answer inside Send Message's, or by itself.
            Bridge::Single { .. } | Bridge::Dual { .. } if carried => {
                self.carried(response, checksums, 2)
            }
            Bridge::Single { .. } | Bridge::Dual { .. } if wanted => {
                Ok(Some((response.completion, response.data)))
            }
            Bridge::Single { .. } | Bridge::Dual { .. } => Err(Dropped::Stale),
        }
    }

    /// The answer to Send Message: a refusal, the news that the message was passed on, or the
    /// answer itself inside.
    fn carried(
        &self,
        response: message::Response,
        checksums: Checksums,
        depth: u8,
    ) -> Result<Option<(CompletionCode, Vec<u8>)>, Dropped> {
        if !response.completion.is_ok() {
            return Ok(Some((response.completion, response.data)));
        }
        // The message was passed on, and the answer to it follows in a packet of its own.
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
        // Dual bridging wraps an answer twice; a BMC that wraps deeper may not keep us busy.
        if depth > 0
            && inner.net_fn == net_fn::APP | 1
            && inner.command == send_message::Request::NUMBER
        {
            return self.carried(inner, checksums, depth - 1);
        }
        Err(Dropped::Stale)
    }
}

/// Whether a request is of those that somebody waits for.
pub(super) fn is_worth_waiting(request: &Request) -> bool {
    request.patience > TRIFLE
}

/// The message of a request, wrapped in Send Message as often as its way needs (§6.13, §22.7).
fn encode(request: &Request, sequence: u8) -> Vec<u8> {
    let own = |responder, requester| {
        let message = message::Request {
            responder,
            net_fn: request.net_fn,
            lun: request.lun,
            requester,
            requester_lun: 0,
            sequence,
            command: request.command,
            data: request.data.clone(),
        };
        message.encode()
    };
    match request.bridge {
        Bridge::None => own(BMC_ADDRESS, CONSOLE_ADDRESS),
        Bridge::Single { channel, address } => {
            // §22.7: the BMC asks in its own name; the tracking tells it who gets the answer.
            let inner = own(address, BMC_ADDRESS);
            passed_on(BMC_ADDRESS, CONSOLE_ADDRESS, sequence, channel, inner)
        }
        Bridge::Dual {
            transit_channel,
            transit_address,
            channel,
            address,
        } => {
            let inner = own(address, transit_address);
            let inner = passed_on(transit_address, BMC_ADDRESS, sequence, channel, inner);
            passed_on(
                BMC_ADDRESS,
                CONSOLE_ADDRESS,
                sequence,
                transit_channel,
                inner,
            )
        }
    }
}

/// The Send Message that has the responder pass a message on to a channel.
fn passed_on(responder: u8, requester: u8, sequence: u8, channel: u8, message: Vec<u8>) -> Vec<u8> {
    let carrier = send_message::Request {
        channel,
        tracking: send_message::Tracking::Tracked,
        message,
    };
    let message = message::Request {
        responder,
        net_fn: net_fn::APP,
        lun: 0,
        requester,
        requester_lun: 0,
        sequence,
        command: send_message::Request::NUMBER,
        data: carrier.encode(),
    };
    message.encode()
}
