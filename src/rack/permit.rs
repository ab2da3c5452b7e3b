//! When what changes a machine may leave: always, where the rack has one host; else while a permit
//! holds that the shell renews. The core knows nothing of where permits come from.
//!
//! An order that changes something waits here before it is written down, and its datagrams before
//! they leave. What is merely read goes on, until the shell says that another host may have the
//! rack.

use crate::bmc::Outgoing;
use crate::bmc::vocabulary::OrderId;
use crate::time::{Instant, WallTime};
use std::collections::VecDeque;
use std::time::Duration;

/// A span of time in which datagrams that change a machine may leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permit {
    /// Not before this.
    pub from: Instant,
    /// Not at this moment, or later.
    pub until: Instant,
}

impl Permit {
    /// Whether something may leave now.
    pub fn holds(&self, now: Instant) -> bool {
        self.from <= now && now < self.until
    }
}

/// How a rack comes from another host, or from a former life, to this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Succession {
    /// Larger than those of all who had the rack before: events are numbered anew under it.
    pub fence: u64,
    /// When what changes machines may leave.
    pub permit: Permit,
    /// Nothing of another host can be on its way any more.
    pub clean: bool,
    /// The rack stays where it is: here it is looked at, as the other host shows it.
    pub only_looked_at: bool,
    /// What the calendar of who had the rack before said at its last sign of life, and how long ago
    /// that was by our clock.
    pub last_sign: Option<(WallTime, Duration)>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Permission {
    /// Where the rack has one host there is none, and none is needed.
    permit: Option<Permit>,
    /// When the permit was renewed last.
    confirmed: Instant,
    /// How the permit stood at the end of the last turn: whether it had begun, whether it held, and
    /// whether datagrams could leave.
    begun: bool,
    held: bool,
    open: bool,
    /// Orders that wait to be written down.
    kept: VecDeque<OrderId>,
    /// Datagrams that wait to leave, the last of each order.
    withheld: VecDeque<Outgoing>,
    /// Another host may have the rack: nothing is asked of the machines.
    pub(super) dark: bool,
}

impl Permission {
    pub(super) fn new(succession: Option<Succession>, now: Instant) -> Self {
        let permit = succession.map(|succession| succession.permit);
        let holds = permit.is_none_or(|permit| permit.holds(now));
        Self {
            permit,
            confirmed: now,
            begun: permit.is_none_or(|permit| permit.from <= now),
            held: holds,
            open: holds,
            kept: VecDeque::new(),
            withheld: VecDeque::new(),
            dark: false,
        }
    }

    pub(super) fn permit(&self) -> Option<Permit> {
        self.permit
    }

    /// The permit lasts until `until`, as is known now.
    pub(super) fn renew(&mut self, until: Instant, now: Instant) {
        if let Some(permit) = &mut self.permit {
            permit.until = until;
            self.confirmed = now;
        }
    }

    /// Datagrams of another host may be on their way to the machines until then.
    pub(super) fn begin_later(&mut self, from: Instant) {
        if let Some(permit) = &mut self.permit {
            // Only ever later: datagrams of the former owner may still be on their way.
            permit.from = permit.from.max(from);
        }
    }

    /// Whether what changes something may be written down now.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.permit.is_none_or(|permit| permit.holds(now))
    }

    /// Whether it is over, and nobody knows whether it begins again.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.permit.is_some_and(|permit| permit.until <= now)
    }

    /// Whether a datagram may leave now: the permit holds, and that was confirmed a moment ago, so
    /// that a machine that stood still without noticing it has little to send when it wakes up.
    fn lets_out(&self, now: Instant) -> bool {
        self.permit
            .is_none_or(|permit| permit.holds(now) && now - self.confirmed <= FRESH)
    }

    /// Whether datagrams wait for nothing but that the permit is confirmed anew.
    pub(super) fn wants_confirmation(&self, now: Instant) -> bool {
        !self.withheld.is_empty() && self.holds(now) && !self.lets_out(now)
    }

    /// Why nothing that changes something leaves now.
    pub(super) fn why(&self, now: Instant) -> Option<String> {
        let permit = self.permit.filter(|permit| !permit.holds(now))?;
        Some(match now < permit.from {
            true => format!(
                "the former owner's last packets ({} s)",
                // Rounded up: "0 s" must not be said while something still waits.
                (permit.from - now).as_secs() + 1
            ),
            false => format!(
                "ownership of the rack to be confirmed (etcd silent for {} s)",
                (now - self.confirmed).as_secs()
            ),
        })
    }

    /// An order waits to be written down.
    pub(super) fn keep(&mut self, order: OrderId) {
        self.kept.push_back(order);
    }

    /// An order that waited and may be written down now.
    pub(super) fn next_kept(&mut self, now: Instant) -> Option<OrderId> {
        match self.holds(now) {
            true => self.kept.pop_front(),
            false => None,
        }
    }

    /// A datagram is to leave: it comes back where it has to wait, and then takes the place of an
    /// earlier copy.
    pub(super) fn try_transmit(&mut self, outgoing: Outgoing, now: Instant) -> Option<Outgoing> {
        if !self.keeps(&outgoing, now) {
            return Some(outgoing);
        }
        let mut withheld = self.withheld.iter_mut();
        match withheld.find(|withheld| withheld.order == outgoing.order) {
            // Only the last copy waits: on a lossy network more and more would gather.
            Some(withheld) => *withheld = outgoing,
            None => self.withheld.push_back(outgoing),
        }
        None
    }

    /// Whether the datagram must not leave now.
    pub(super) fn keeps(&self, outgoing: &Outgoing, now: Instant) -> bool {
        // What only reads needs no permit, and keeps the view of the rack true meanwhile.
        outgoing.changes && !self.lets_out(now)
    }

    /// A datagram that waited and may leave now.
    pub(super) fn next_withheld(&mut self, now: Instant) -> Option<Outgoing> {
        match self.lets_out(now) {
            true => self.withheld.pop_front(),
            false => None,
        }
    }

    /// An order is not wanted any more.
    pub(super) fn forget(&mut self, order: OrderId) {
        self.kept.retain(|kept| *kept != order);
        self.drop_withheld(order);
    }

    /// An order has its report: what waits of it must not leave.
    pub(super) fn drop_withheld(&mut self, order: OrderId) {
        self.withheld
            .retain(|outgoing| outgoing.order != Some(order));
    }

    /// Whether orders could be written down, when it was looked at last.
    pub(super) fn held(&self) -> bool {
        self.held
    }

    /// Whether datagrams could leave, when it was looked at last.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Takes down how the permit stands, at the end of a turn.
    pub(super) fn look(&mut self, now: Instant) {
        self.begun = self.permit.is_none_or(|permit| permit.from <= now);
        self.held = self.holds(now);
        self.open = self.lets_out(now);
    }

    /// When something that waits may go on.
    pub(super) fn next(&self) -> Option<Instant> {
        // A permit that has begun goes on by being renewed, which is an input of its own.
        let permit = self.permit.filter(|_| !self.begun)?;
        Some(permit.from)
    }
}

/// What is older than this is confirmed anew before a datagram that changes something leaves.
const FRESH: Duration = Duration::from_secs(2);
/// Datagrams of a host that is gone wait in its kernel for so long, for the address of a BMC.
pub(super) const FORMER_PACKETS: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::super::tests::{at, outgoing};
    use super::*;

    fn permission(from: u64, until: u64, now: u64) -> Permission {
        let permit = Permit {
            from: at(from).now,
            until: at(until).now,
        };
        let succession = Succession {
            fence: 1,
            permit,
            clean: true,
            only_looked_at: false,
            last_sign: None,
        };
        Permission::new(Some(succession), at(now).now)
    }

    fn changing(order: u64, byte: u8) -> Outgoing {
        Outgoing {
            changes: true,
            ..outgoing(order, byte)
        }
    }

    #[test]
    fn a_rack_with_one_host_needs_no_permit() {
        let mut permission = Permission::new(None, at(1).now);
        assert!(permission.holds(at(9999).now));
        assert!(
            permission
                .try_transmit(changing(1, 0), at(9999).now)
                .is_some()
        );
        assert_eq!((permission.next(), permission.why(at(1).now)), (None, None));
        permission.renew(at(0).now, at(1).now);
        assert!(permission.holds(at(9999).now));
    }

    #[test]
    fn what_changes_something_waits_for_the_permit_to_begin_and_what_reads_does_not() {
        let mut permission = permission(10, 17, 8);
        assert_eq!(permission.next(), Some(at(10).now));
        permission.keep(OrderId(1));
        assert!(permission.try_transmit(changing(2, 0), at(9).now).is_none());
        assert!(permission.try_transmit(outgoing(3, 0), at(9).now).is_some());
        assert_eq!(permission.next_kept(at(9).now), None);
        let why = permission.why(at(8).now).unwrap();
        assert_eq!(why, "the former owner's last packets (3 s)");
        assert_eq!(permission.next_kept(at(10).now), Some(OrderId(1)));
        assert!(permission.next_withheld(at(10).now).is_some());
        permission.look(at(10).now);
        assert_eq!(permission.next(), None);
    }

    #[test]
    fn nothing_leaves_when_it_is_over_and_the_last_copy_leaves_when_it_goes_on() {
        let mut permission = permission(0, 7, 0);
        assert!(permission.is_over(at(7).now));
        assert!(permission.try_transmit(changing(1, 0), at(7).now).is_none());
        assert!(permission.try_transmit(changing(1, 1), at(8).now).is_none());
        assert!(permission.try_transmit(changing(2, 2), at(8).now).is_none());
        assert!(!permission.wants_confirmation(at(8).now));
        let why = permission.why(at(8).now).unwrap();
        assert!(why.ends_with("(etcd silent for 8 s)"), "{why}");
        permission.drop_withheld(OrderId(2));
        permission.renew(at(16).now, at(9).now);
        let last = permission.next_withheld(at(9).now).unwrap();
        assert_eq!(last.datagram, [1]);
        assert!(permission.next_withheld(at(9).now).is_none());
    }

    #[test]
    fn what_was_confirmed_a_while_ago_is_confirmed_anew_before_anything_leaves() {
        let mut permission = permission(0, 7, 0);
        assert!(permission.try_transmit(changing(1, 0), at(2).now).is_some());
        assert!(permission.holds(at(3).now), "it may be written down");
        assert!(permission.try_transmit(changing(1, 1), at(3).now).is_none());
        assert!(permission.wants_confirmation(at(3).now));
        permission.renew(at(10).now, at(3).now);
        assert!(!permission.wants_confirmation(at(3).now));
        assert!(permission.next_withheld(at(3).now).is_some());
    }
}
