//! The ends of a session: closed as asked, given up, lost. Whichever it is, the BMC is told with
//! one datagram where it may have a session, so that none of ours is left to fill its table.

use super::handshake::Handshake;
use super::link::{Exchange, Pace};
use super::quirk::Quirk;
use super::vocabulary::{Event, LostReason, Request, Resend, Transmit, UnansweredReason};
use super::{Open, Phase, Session};
use crate::entropy::Entropy;
use crate::ipmi::command::close_session;
use crate::time::Instant;

impl Session {
    /// Closes the session: Close Session is sent once and its answer awaited for one round trip's
    /// patience. The request under way is `Unanswered`; queued ones stay queued. `Closed` tells of
    /// the end, also where nothing was open.
    pub fn close(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let closed = matches!(self.phase, Phase::Closed);
        self.begin_close(now, entropy);
        if closed {
            self.events.push_back(Event::Closed);
        }
        self.send_close(now, entropy);
    }

    /// Gives up session, handshake and every request at once. The BMC is told with one datagram,
    /// whose answer nobody waits for. No event tells of it; events that are there already stay.
    pub fn give_up(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.reopen = false;
        self.queue.clear();
        if !matches!(self.phase, Phase::Closed) {
            // In `Closed`, what waits is the Close Session of a session that was lost a moment ago:
            // it has to leave.
            self.transmits.clear();
        }
        self.dummy_due = false;
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => {}
            // Its Close Session has left, and that is never sent twice.
            Phase::Closing { link, .. } => self.memory.ledger.leaves(link, now),
            Phase::Opening(handshake) => self.leave(handshake, now, entropy),
            Phase::Open(open) => self.part(*open, now, entropy),
            Phase::ToClose { mut link, .. } => {
                let datagram = link.farewell(now, entropy);
                self.memory.ledger.leaves(link, now);
                self.transmits.push_back(Transmit::upkeep(datagram));
            }
        }
    }

    /// Leaves a handshake, with a Close Session where the BMC may have a session by now.
    pub(super) fn leave(
        &mut self,
        mut handshake: Box<Handshake>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        self.transmits.clear();
        handshake.farewell(&mut self.context(now, entropy));
    }

    /// Leaves an open session with one datagram.
    pub(super) fn part(&mut self, mut open: Open, now: Instant, entropy: &mut dyn Entropy) {
        let gone = open.link.is_gone();
        if open.has_reset && self.has(Quirk::NoCloseAfterReset) {
            if !gone {
                self.memory.ledger.leaves_untold(now);
            }
            return;
        }
        let datagram = open.link.farewell(now, entropy);
        self.transmits.push_back(Transmit::upkeep(datagram));
        // A session that the BMC has forgotten takes no place there.
        if !gone {
            self.memory.ledger.leaves(Box::new(open.link), now);
        }
    }

    pub(super) fn lost(
        &mut self,
        open: Open,
        exchange: Option<Exchange>,
        reason: LostReason,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        // Before Close Session is put out: in the other order it was thrown away at once.
        self.transmits.clear();
        self.memory.statistics.lost += 1;
        if let Some(exchange) = exchange {
            self.unanswered(exchange, UnansweredReason::SessionLost);
        }
        self.part(open, now, entropy);
        self.events.push_back(Event::Lost(reason));
    }

    /// Ends what is under way. An open session waits to be closed.
    pub(super) fn begin_close(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.reopen = false;
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => {}
            Phase::Opening(handshake) => {
                self.leave(handshake, now, entropy);
                self.events.push_back(Event::Closed);
            }
            Phase::Open(mut open) => {
                if let Some(exchange) = open.link.give_up() {
                    self.unanswered(exchange, UnansweredReason::Closed);
                }
                if open.has_reset && self.has(Quirk::NoCloseAfterReset) {
                    self.memory.ledger.leaves_untold(now);
                    self.events.push_back(Event::Closed);
                } else {
                    self.phase = Phase::ToClose {
                        link: Box::new(open.link),
                        since: now,
                    };
                }
            }
            closing => self.phase = closing,
        }
    }

    pub(super) fn send_close(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::ToClose { mut link, .. } => {
                let pace = Pace {
                    timing: &self.settings.timing,
                    round_trip: &self.memory.round_trip,
                };
                let wait = self.memory.round_trip.wait(&self.settings.timing);
                let close = close_session::Request {
                    session_id: link.bmc_id,
                    handle: None,
                };
                // Once, as FreeIPMI: the BMC forgets by itself what a lost one leaves.
                let request = Request::of(&close, Resend::Never, wait);
                let datagram = link.begin(None, request, now + wait, pace, now, entropy);
                self.transmits.push_back(Transmit {
                    datagram,
                    fresh_port: false,
                    request: None,
                });
                self.phase = Phase::Closing {
                    link,
                    until: now + wait,
                };
            }
            other
            @ (Phase::Closed | Phase::Opening(_) | Phase::Open(_) | Phase::Closing { .. }) => {
                self.phase = other
            }
        }
    }

    pub(super) fn closed(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.phase = Phase::Closed;
        self.events.push_back(Event::Closed);
        if std::mem::take(&mut self.reopen) {
            self.begin_handshake(now, entropy);
        }
    }
}
