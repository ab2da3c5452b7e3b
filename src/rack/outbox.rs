//! What goes out: datagrams, answers, names to look up, events, and the calls that wait for one of
//! them.
//!
//! Knows nothing of tasks and nodes: what an answer says is made elsewhere.

use super::call::{Answer, CallId, Refused};
use super::clock::Moment;
use super::events::{Events, NewEvent};
use super::waits::Waits;
use crate::bmc::Outgoing;
use crate::bmc::vocabulary::OrderId;
use std::collections::VecDeque;
use uuid::Uuid;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Datagrams that an operation waits for, and all others.
    urgent: VecDeque<Outgoing>,
    transmits: VecDeque<Outgoing>,
    pub(super) answers: VecDeque<(CallId, Result<Answer, Refused>)>,
    pub(super) resolves: VecDeque<(Uuid, String)>,
    pub(super) events: Events,
    pub(super) waits: Waits,
    /// The number of events of which those who wait have heard.
    told: u64,
}

impl Outbox {
    pub(super) fn new(epoch: u64) -> Self {
        let events = Events::new(epoch);
        Self {
            urgent: VecDeque::new(),
            transmits: VecDeque::new(),
            answers: VecDeque::new(),
            resolves: VecDeque::new(),
            told: events.position().sequence,
            events,
            waits: Waits::default(),
        }
    }

    pub(super) fn send(&mut self, outgoing: Outgoing) {
        match outgoing.urgent {
            true => self.urgent.push_back(outgoing),
            false => self.transmits.push_back(outgoing),
        }
    }

    /// The next datagram that an operation waits for.
    pub(super) fn poll_urgent(&mut self) -> Option<Outgoing> {
        self.urgent.pop_front()
    }

    /// The next datagram.
    pub(super) fn poll_transmit(&mut self) -> Option<Outgoing> {
        // Also a shell that does not ask for urgent ones sends first what an operation waits for.
        self.poll_urgent().or_else(|| self.transmits.pop_front())
    }

    pub(super) fn has_transmits(&self) -> bool {
        !(self.urgent.is_empty() && self.transmits.is_empty())
    }

    pub(super) fn answer(&mut self, call: CallId, answer: Result<Answer, Refused>) {
        self.answers.push_back((call, answer));
    }

    /// What of the order has not been taken to the network yet never is.
    pub(super) fn drop_order(&mut self, id: OrderId) {
        let keeps = |outgoing: &Outgoing| outgoing.order != Some(id);
        self.urgent.retain(keeps);
        self.transmits.retain(keeps);
    }

    pub(super) fn announce(&mut self, happening: NewEvent, at: Moment) {
        self.events.push(at.wall, happening);
    }

    /// Whether something happened since this was asked last.
    pub(super) fn has_news(&mut self) -> bool {
        let position = self.events.position().sequence;
        std::mem::replace(&mut self.told, position) != position
    }
}
