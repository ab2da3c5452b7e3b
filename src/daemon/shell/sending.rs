//! What the loop sends: when, how densely, and nothing to a BMC that another daemon of this host has.

use super::Shell;
use crate::bmc::Outgoing;
use crate::daemon::locks::Locks;
use crate::daemon::spread::Spread;
use crate::daemon::udp::Sockets;
use crate::time::Instant;
use std::collections::BTreeMap;

/// The way out.
pub(super) struct Sending {
    pub(super) sockets: Sockets,
    pub(super) locks: Locks,
    /// How datagrams are spread that nobody waits for.
    pub(super) spread: Spread,
    /// When the next of those that wait may leave.
    pub(super) more_at: Option<Instant>,
}

impl Sending {
    pub(super) fn new(sockets: Sockets, spread: Spread) -> Self {
        Sending {
            sockets,
            locks: Locks::new(),
            spread,
            more_at: None,
        }
    }
}

impl Shell {
    /// Sends what waits, none of it to a BMC that another daemon has, and what comes of it where some of that could not
    /// leave this host.
    pub(super) fn send(&mut self) {
        for round in 0.. {
            let outgoing = self.take_outgoing();
            if outgoing.is_empty() {
                break;
            }
            let now = self.now();
            let outgoing = self.withhold(outgoing, now);
            let lost = self.sending.sockets.send(outgoing).into_iter();
            for (port, to, why) in lost.filter(|_| round < SENT_IN_A_TURN) {
                self.rack.handle_unreachable(to, port, why, now);
            }
        }
        self.sending.sockets.gather(self.rack.is_at_leisure());
    }

    /// What operations wait for, and as much else as may leave now.
    fn take_outgoing(&mut self) -> Vec<Outgoing> {
        let mut outgoing: Vec<_> = std::iter::from_fn(|| self.rack.poll_urgent()).collect();
        self.sending.more_at = None;
        if !self.rack.has_transmits() {
            return outgoing;
        }
        let now = self.now();
        // Who goes down is not asked again.
        let room = match self.stop_by {
            Some(_) => usize::MAX,
            None => self.sending.spread.room(now),
        };
        let urgent = outgoing.len();
        let others = std::iter::from_fn(|| self.rack.poll_transmit());
        outgoing.extend(others.take(room));
        self.sending.spread.sent(outgoing.len() - urgent);
        if self.rack.has_transmits() {
            self.sending.more_at = Some(self.sending.spread.next());
        }
        outgoing
    }

    /// What may leave of this: nothing for a BMC that another daemon of this host has, of which the rack hears.
    fn withhold(&mut self, mut outgoing: Vec<Outgoing>, now: Instant) -> Vec<Outgoing> {
        let mut news = BTreeMap::new();
        let locks = &mut self.sending.locks;
        outgoing.retain(|out| {
            let (may_leave, told) = locks.take(out.to, now);
            if let Some(lock) = told {
                news.entry(out.to).or_insert(lock);
            }
            may_leave
        });
        for (to, lock) in news {
            self.rack.handle_lock(to, &lock, now);
        }
        outgoing
    }
}

/// Rounds of sending in one turn in which it counts what cannot leave this host: it leads to more that is sent.
const SENT_IN_A_TURN: u32 = 8;
