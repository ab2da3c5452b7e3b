//! What the loop sends: when, how densely, and nothing to a BMC that another daemon of this host
//! has.

use super::Shell;
use crate::bmc::Outgoing;
use crate::daemon::locks::Locks;
use crate::daemon::spread::Spread;
use crate::daemon::udp::Sockets;
use crate::model::counted;
use crate::rack::Rack;
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
        Self {
            sockets,
            locks: Locks::new(),
            spread,
            more_at: None,
        }
    }
}

impl Shell {
    /// Sends what waits, none of it to a BMC that another daemon has, and what comes of it where
    /// some of that could not leave this host.
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
                if let Some(rack) = self.post.rack_mut() {
                    rack.handle_unreachable(to, port, why, now);
                }
            }
        }
        let rack = self.post.rack();
        self.sending
            .sockets
            .gather(rack.is_some_and(Rack::is_at_leisure));
    }

    /// What operations wait for, and as much else as may leave now.
    fn take_outgoing(&mut self) -> Vec<Outgoing> {
        let mut outgoing = self.post.take_parting();
        self.sending.more_at = None;
        let Some(rack) = self.post.rack_mut() else {
            return outgoing;
        };
        outgoing.extend(std::iter::from_fn(|| rack.poll_urgent()));
        if !rack.has_transmits() {
            return outgoing;
        }
        let now = self.now();
        // A daemon that is stopping sends all it has, for BMCs are not asked again by it.
        let room = match self.stop_by {
            Some(_) => usize::MAX,
            None => self.sending.spread.room(now),
        };
        let urgent = outgoing.len();
        let Some(rack) = self.post.rack_mut() else {
            return outgoing;
        };
        let others = std::iter::from_fn(|| rack.poll_transmit());
        outgoing.extend(others.take(room));
        let more = rack.has_transmits();
        self.sending.spread.sent(outgoing.len() - urgent);
        if more {
            self.sending.more_at = Some(self.sending.spread.next());
        }
        outgoing
    }

    /// What may leave of this: nothing for a BMC that another daemon of this host has, of which the
    /// rack hears.
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
            if let Some(rack) = self.post.rack_mut() {
                rack.handle_lock(to, &lock, now);
            }
        }
        self.keep_permit(outgoing)
    }
}

impl Shell {
    /// What may leave of this while the clock says so: the last look at the permit, immediately
    /// before the kernel has it.
    fn keep_permit(&mut self, mut outgoing: Vec<Outgoing>) -> Vec<Outgoing> {
        let now = self.clock.now();
        if self.post.lets_out(now) {
            return outgoing;
        }
        let before = outgoing.len();
        outgoing.retain(|out| !out.changes);
        let withheld = before - outgoing.len();
        if withheld > 0 {
            log::error!(
                "{} kept back at the last moment: the permit to change machines is over",
                counted(withheld, "datagram")
            );
            self.post.note_withheld(withheld);
        }
        outgoing
    }
}

/// Rounds of sending in one turn in which it counts what cannot leave this host: it leads to more
/// that is sent.
const SENT_IN_A_TURN: u32 = 8;
