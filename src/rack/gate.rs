//! What keeps tasks and orders back: the pause, the number of places, and the distance between
//! power-ons.
//!
//! Knows no tasks and no nodes. Only what draws inrush current is kept back by place and distance:
//! its orders wait here before they are written down, and their first datagrams before they leave.

use super::call::Refused;
use super::permit::{Permission, Succession};
use super::settings::{MaintenancePolicy, RackSettings};
use crate::bmc::Outgoing;
use crate::bmc::vocabulary::OrderId;
use crate::model::{self, BatchId, TaskId};
use crate::time::Instant;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Gate {
    /// Power-ons and cycles that may be under way at once.
    pub(super) places: usize,
    /// Whether as many are under way, as the turn has counted last.
    pub(super) full: bool,
    /// The least time between two power-ons.
    stagger: Duration,
    maintenance: MaintenancePolicy,
    pub(super) pause: Option<Pause>,
    /// The daemon goes down: nothing new begins.
    pub(super) stopping: bool,
    pub(super) permission: Permission,
    /// Before this no power-on is written down.
    next_order: Instant,
    /// Before this no power-on leaves.
    next_wire: Instant,
    /// Orders that wait to be written down; those that bring a machine back on stand first.
    waiting: VecDeque<(Turn, OrderId)>,
    /// Orders that wait for the stagger of their batch, and from when on each may go.
    apart: Vec<Apart>,
    /// First datagrams that came too early, because a session opened at an unlucky moment.
    held: VecDeque<Outgoing>,
    /// The power-on whose first datagram left last.
    passed: Option<OrderId>,
    /// When the scheduler wants to look again.
    look_again: Option<Instant>,
}

/// The rack-wide hold, and the tasks that it brought to a stand.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    pub(super) hold: model::Hold,
    pub(super) tasks: BTreeSet<TaskId>,
}

/// An order that waits for the stagger of its batch.
#[derive(Clone, Copy, Debug)]
struct Apart {
    batch: BatchId,
    order: OrderId,
    from: Instant,
}

/// Whose turn comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Turn {
    /// A machine is switched on once more, because it did not come: it has its place, and only the
    /// distance counts.
    Again,
    /// A machine that is off by our doing comes back on.
    WayBack,
    /// Another one is switched on.
    New,
}

impl Gate {
    pub(super) fn new(
        settings: &RackSettings,
        succession: Option<Succession>,
        now: Instant,
    ) -> Self {
        let start = Instant::START;
        Self {
            places: settings.max_transitions as usize,
            full: false,
            stagger: settings.power_on_stagger,
            maintenance: settings.maintenance_policy,
            pause: None,
            stopping: false,
            permission: Permission::new(succession, now),
            next_order: start,
            next_wire: start,
            waiting: VecDeque::new(),
            apart: Vec::new(),
            held: VecDeque::new(),
            passed: None,
            look_again: None,
        }
    }

    /// The limits are others from now on. Another distance between power-ons counts from the last
    /// one, too.
    pub(super) fn replace_settings(&mut self, settings: &RackSettings) {
        let longer = settings.power_on_stagger.saturating_sub(self.stagger);
        // A distance that grows counts from the power-on before, too; one
        // that shrinks keeps what was said.
        self.next_order += longer;
        self.next_wire += longer;
        self.places = settings.max_transitions as usize;
        self.stagger = settings.power_on_stagger;
        self.maintenance = settings.maintenance_policy;
    }

    /// The whole distance is kept from now on: a former life of the daemon may have powered
    /// something on a moment ago.
    pub(super) fn close_for_stagger(&mut self, now: Instant) {
        let at = now + self.stagger;
        (self.next_order, self.next_wire) = (at, at);
    }

    /// Whether nothing at all begins.
    pub(super) fn is_shut(&self) -> bool {
        self.pause.is_some() || self.stopping
    }

    /// Nothing new is begun while the rack is paused.
    pub(super) fn check_pause(&self) -> Result<(), Refused> {
        let Some(pause) = &self.pause else {
            return Ok(());
        };
        Err(Refused::Paused {
            by: pause.hold.by.clone(),
            reason: pause.hold.reason.clone().unwrap_or_default(),
        })
    }

    /// Nothing that changes something is taken on when nobody knows whether this host may still do
    /// it.
    pub(super) fn check_permit(&self, now: Instant) -> Result<(), Refused> {
        let why = self.permission.why(now);
        // Before its beginning it is known when orders may leave, so
        // that new tasks can wait for that.
        match why.filter(|_| self.permission.is_over(now)) {
            Some(why) => Err(Refused::Unconfirmed(why)),
            None => Ok(()),
        }
    }

    /// Whether nothing is asked of the machines.
    pub(super) fn is_still(&self) -> bool {
        self.stopping || self.permission.dark
    }

    /// Maintenance keeps power orders from a node.
    pub(super) fn maintenance_blocks(&self) -> bool {
        self.maintenance == MaintenancePolicy::Block
    }

    /// Whether an order may be written down now: `true` takes its turn, with `false` it waits for
    /// it here.
    pub(super) fn take_turn(&mut self, turn: Turn, order: OrderId, now: Instant) -> bool {
        // Equals stay in the order of their coming; a machine on its way back goes before new ones.
        let before = self.waiting.iter().take_while(|(other, _)| *other <= turn);
        let behind = before.count();
        let due = now >= self.next_order && self.permission.holds(now);
        let free = behind == 0 && self.has_place(turn) && due;
        if free {
            self.next_order = now + self.stagger;
        } else {
            self.waiting.insert(behind, (turn, order));
        }
        free
    }

    /// An order that waited and has its turn now.
    pub(super) fn next_turn(&mut self, now: Instant) -> Option<OrderId> {
        if !self.waits_for_time() || now < self.next_order || !self.permission.holds(now) {
            return None;
        }
        self.waiting.pop_front().map(|(_, order)| order)
    }

    /// Whether there is a place for an order.
    fn has_place(&self, turn: Turn) -> bool {
        // A machine that is switched on once more has its place: it would wait for itself.
        !self.full || turn == Turn::Again
    }

    /// Whether an order waits for nothing but the distance to the one before.
    fn waits_for_time(&self) -> bool {
        let first = self.waiting.front();
        first.is_some_and(|(turn, _)| self.has_place(*turn))
    }

    /// The order that [`Gate::next_turn`] gave takes its turn.
    pub(super) fn turn_taken(&mut self, now: Instant) {
        self.next_order = now + self.stagger;
    }

    /// Whether an order changes something now, as far as the stagger of its batch is concerned:
    /// `true` takes its turn, with `false` it waits for it here.
    pub(super) fn stands_apart(
        &mut self,
        batch: BatchId,
        order: OrderId,
        from: Option<Instant>,
        now: Instant,
    ) -> bool {
        let from = from.unwrap_or(now);
        let first = self.apart.iter().all(|other| other.batch != batch);
        let goes = first && from <= now;
        if !goes {
            self.apart.push(Apart { batch, order, from });
        }
        goes
    }

    /// An order that waited for the stagger of its batch, and the batch.
    pub(super) fn next_apart(&mut self, now: Instant) -> Option<(BatchId, OrderId)> {
        let due = self.apart.iter().position(|waits| waits.from <= now)?;
        let Apart { batch, order, .. } = self.apart.remove(due);
        Some((batch, order))
    }

    /// Another order of the batch has changed something: the next one may from then on.
    pub(super) fn keep_apart(&mut self, batch: BatchId, from: Option<Instant>) {
        let of_batch = self.apart.iter_mut().filter(|waits| waits.batch == batch);
        let from = from.into_iter();
        of_batch
            .zip(from.cycle())
            .for_each(|(waits, from)| waits.from = from);
    }

    /// Whether an order waits for the stagger of its batch.
    pub(super) fn is_apart(&self, order: OrderId) -> bool {
        self.apart.iter().any(|waits| waits.order == order)
    }

    /// A datagram of a power-on is to leave: the first one comes back where it has to wait for its
    /// turn. A later copy takes the place of the one before it: only one of them leaves.
    pub(super) fn try_transmit(&mut self, outgoing: Outgoing, now: Instant) -> Option<Outgoing> {
        // A copy draws no current of its own: only the first datagram keeps its distance.
        if self.passed == outgoing.order {
            return Some(outgoing);
        }
        if now >= self.next_wire && self.held.is_empty() {
            self.next_wire = now + self.stagger;
            self.passed = outgoing.order;
            return Some(outgoing);
        }
        let mut held = self.held.iter_mut();
        match held.find(|held| held.order == outgoing.order) {
            // Only the last copy waits: on a lossy network more and more would gather.
            Some(held) => *held = outgoing,
            None => self.held.push_back(outgoing),
        }
        None
    }

    /// A datagram that was held and may leave now.
    pub(super) fn next_held(&mut self, now: Instant) -> Option<Outgoing> {
        let first = self.held.front()?;
        // The permit may have ended while the datagram was held for the distance.
        if now < self.next_wire || self.permission.keeps(first, now) {
            return None;
        }
        let outgoing = self.held.pop_front()?;
        self.next_wire = now + self.stagger;
        self.passed = outgoing.order;
        Some(outgoing)
    }

    /// An order is not wanted any more.
    pub(super) fn forget(&mut self, order: OrderId) {
        self.waiting.retain(|(_, waiting)| *waiting != order);
        self.apart.retain(|waits| waits.order != order);
        self.permission.forget(order);
        self.drop_held(order);
    }

    /// An order has its report: what is held of it must not leave.
    pub(super) fn drop_held(&mut self, order: OrderId) {
        self.held.retain(|outgoing| outgoing.order != Some(order));
        self.permission.drop_withheld(order);
    }

    /// The scheduler wants to look again then.
    pub(super) fn look_again_at(&mut self, at: Option<Instant>) {
        self.look_again = at;
    }

    /// When something is due here.
    pub(super) fn next(&self) -> Option<Instant> {
        // Outside the permit, its beginning is all that is waited for.
        let held = (self.permission.is_open() && !self.held.is_empty()).then_some(self.next_wire);
        // Where all places are taken, the end of one is waited for, and no time.
        let waits = self.permission.held() && self.waits_for_time() && !self.is_still();
        let waiting = waits.then_some(self.next_order);
        let permit = self.permission.next();
        let apart = self.apart.iter().filter(|_| !self.is_still());
        let apart = apart.map(|waits| waits.from).min();
        [self.look_again, held, waiting, apart, permit]
            .into_iter()
            .flatten()
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, outgoing, secs};
    use super::*;

    fn gate(stagger: u64) -> Gate {
        let settings = RackSettings {
            power_on_stagger: secs(stagger),
            ..RackSettings::default()
        };
        Gate::new(&settings, None, at(0).now)
    }

    #[test]
    fn power_ons_are_written_down_apart_in_the_order_in_which_they_came() {
        let mut gate = gate(4);
        assert!(gate.take_turn(Turn::New, OrderId(1), at(10).now));
        assert!(!gate.take_turn(Turn::New, OrderId(2), at(11).now));
        assert!(
            !gate.take_turn(Turn::New, OrderId(3), at(20).now),
            "behind another"
        );
        assert_eq!(gate.next(), Some(at(14).now));
        assert_eq!(gate.next_turn(at(13).now), None);
        assert_eq!(gate.next_turn(at(14).now), Some(OrderId(2)));
        gate.turn_taken(at(14).now);
        assert_eq!(gate.next_turn(at(15).now), None);
        gate.forget(OrderId(3));
        assert_eq!(gate.next_turn(at(18).now), None);
        assert!(gate.take_turn(Turn::New, OrderId(4), at(18).now));
    }

    #[test]
    fn the_first_datagrams_of_two_power_ons_leave_apart_and_copies_follow_freely() {
        let mut gate = gate(4);
        assert!(gate.try_transmit(outgoing(1, 0), at(10).now).is_some());
        assert!(
            gate.try_transmit(outgoing(1, 1), at(10).now).is_some(),
            "a copy"
        );
        assert!(gate.try_transmit(outgoing(2, 0), at(11).now).is_none());
        assert!(gate.try_transmit(outgoing(2, 1), at(12).now).is_none());
        assert!(gate.next_held(at(13).now).is_none());
        let held = gate.next_held(at(14).now).expect("its turn has come");
        assert_eq!(held.datagram, [1], "the later copy, and only that");
        assert!(gate.next_held(at(99).now).is_none());
    }

    #[test]
    fn what_is_held_of_an_order_that_is_not_wanted_any_more_never_leaves() {
        let mut gate = gate(4);
        gate.try_transmit(outgoing(1, 0), at(10).now);
        gate.try_transmit(outgoing(2, 0), at(10).now);
        gate.forget(OrderId(2));
        assert!(gate.next_held(at(20).now).is_none());
        assert_eq!(gate.next(), None);
    }

    #[test]
    fn a_longer_stagger_counts_from_the_last_power_on_and_a_new_life_keeps_the_whole_of_it() {
        let mut gate = gate(4);
        gate.take_turn(Turn::New, OrderId(1), at(10).now);
        gate.replace_settings(&RackSettings {
            power_on_stagger: secs(9),
            ..RackSettings::default()
        });
        assert!(!gate.take_turn(Turn::New, OrderId(2), at(18).now));
        assert_eq!(gate.next_turn(at(19).now), Some(OrderId(2)));
        gate.close_for_stagger(at(30).now);
        assert!(!gate.take_turn(Turn::New, OrderId(3), at(38).now));
        gate.full = true;
        assert_eq!(gate.next_turn(at(99).now), None);
    }

    #[test]
    fn orders_of_a_batch_wait_for_its_stagger_one_after_the_other() {
        let (mut gate, batch, other) = (gate(4), BatchId::from_u128(1), BatchId::from_u128(2));
        let due = |second| Some(at(second).now);
        assert!(gate.stands_apart(batch, OrderId(1), None, at(10).now));
        for order in [2, 3, 4] {
            assert!(!gate.stands_apart(batch, OrderId(order), due(17), at(11).now));
        }
        assert!(gate.stands_apart(other, OrderId(5), due(9), at(11).now));
        gate.forget(OrderId(2));
        assert_eq!(gate.next(), due(17));
        assert_eq!(gate.next_apart(at(16).now), None);
        assert_eq!(gate.next_apart(at(17).now), Some((batch, OrderId(3))));
        gate.keep_apart(batch, due(24));
        assert_eq!(gate.next_apart(at(23).now), None);
        assert!(gate.is_apart(OrderId(4)) && !gate.is_apart(OrderId(3)));
        assert!(
            !gate.stands_apart(batch, OrderId(6), due(20), at(23).now),
            "behind another"
        );
        assert_eq!(gate.next_apart(at(24).now), Some((batch, OrderId(4))));
    }

    #[test]
    fn whoever_comes_back_on_goes_before_every_new_power_on() {
        let mut gate = gate(4);
        gate.full = true;
        for (turn, order) in [
            (Turn::New, 1),
            (Turn::WayBack, 2),
            (Turn::New, 3),
            (Turn::WayBack, 4),
        ] {
            assert!(!gate.take_turn(turn, OrderId(order), at(1).now));
        }
        assert_eq!(gate.next(), None, "a place is waited for, and no time");
        assert!(
            gate.take_turn(Turn::Again, OrderId(5), at(1).now),
            "it has one"
        );
        assert!(!gate.take_turn(Turn::Again, OrderId(6), at(1).now));
        assert_eq!(
            gate.next(),
            Some(at(5).now),
            "a time is waited for, and no place"
        );
        assert_eq!(gate.next_turn(at(5).now), Some(OrderId(6)));
        assert_eq!(gate.next_turn(at(5).now), None);
        gate.full = false;
        let next = std::iter::from_fn(|| gate.next_turn(at(9).now));
        let order: Vec<u64> = next.map(|order| order.0).collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }
}
