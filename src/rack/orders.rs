//! Orders on their way: entered, written ahead, handed to their BMCs, taken back; and their datagrams on the way out.
//!
//! A low part of the turn: reports and tasks are not looked at here.

use super::Rack;
use super::call::TaskId;
use super::clock::Moment;
use super::gate::{Gate, is_inrush};
use super::inventory::NodeId;
use super::ledger::{Ledger, Open, Owner};
use super::outbox::Outbox;
use super::record::Table;
use super::tasks::Tasks;
use crate::bmc::Outgoing;
use crate::bmc::vocabulary::{Delivery, Order, OrderId};
use crate::time::Instant;

impl Rack {
    /// The BMC is asked for the power state of its node.
    pub(super) fn read_power(&mut self, id: NodeId, owner: Owner, at: Moment) {
        let order = self.ledger.enter(id, owner, Order::ReadPower);
        if let Some(node) = self.inventory.get_mut(id) {
            match owner {
                Owner::Sync => node.sync = Some(order),
                Owner::Fresh => node.fresh = Some(order),
                Owner::Task(_) | Owner::Call(_) | Owner::Plan(..) => {}
            }
        }
        self.submit(order, at);
    }

    /// Hands an order to its BMC.
    pub(super) fn submit(&mut self, order: OrderId, at: Moment) {
        let node = self.ledger.get(order).map(|open| open.node);
        if let Some(node) = node.and_then(|id| self.inventory.get_mut(id)) {
            let entropy = &mut *self.entropy;
            self.ledger.submit(order, &mut node.bmc, at.now, entropy);
        }
    }

    /// Takes an order back, wherever it is, and says whether it can have left.
    pub(super) fn withdraw(&mut self, order: OrderId, at: Moment) -> Option<(Open, Delivery)> {
        let node = self.ledger.get(order)?.node;
        let bmc = &mut self.inventory.get_mut(node)?.bmc;
        let (gate, outbox) = (&mut self.gate, &mut self.outbox);
        let entropy = &mut *self.entropy;
        self.ledger
            .withdraw(order, bmc, gate, outbox, at.now, entropy)
    }

    /// Counts anew whether all places for what draws inrush current are taken.
    pub(super) fn count_places(&mut self) {
        self.gate.full = self.tasks.inrushes(&self.ledger) >= self.gate.places;
    }

    /// Whether an order that draws inrush current goes now; else it waits for its turn, and its task's patience with it.
    pub(super) fn has_turn(&mut self, id: TaskId, order: OrderId, at: Moment) -> bool {
        self.count_places();
        let Some(task) = self.tasks.get_mut(id) else {
            return false;
        };
        let now = self.gate.take_turn(task.turn(), order, at.now);
        if !now && task.stands_still() {
            task.sequence.await_turn(true, at.now);
        }
        now
    }

    /// Orders that waited for their turn go, as many as may.
    pub(super) fn give_turns(&mut self, at: Moment) {
        self.count_places();
        while let Some(order) = self.gate.next_turn(at.now) {
            let node = self.ledger.get(order).map(|open| open.node);
            if !self.gate.stopping && self.write_ahead(order, at) {
                self.gate.turn_taken(at.now);
                node.into_iter().for_each(|node| self.set_timer(node));
            }
            self.count_places();
        }
    }

    /// Writes the order of a task down; it leaves when that is durable. Whether it was one that waited for that.
    pub(super) fn write_ahead(&mut self, order: OrderId, at: Moment) -> bool {
        let Some(open) = self.ledger.get(order) else {
            return false;
        };
        let (Owner::Task(task), node) = (open.owner, open.node) else {
            return false;
        };
        if open.order == Order::Nmi
            && let Some(node) = self.inventory.get_mut(node)
        {
            node.note_nmi(at);
            let (key, value) = (node.settings.uuid.to_string(), node.record());
            self.ledger.journal.put(Table::Nodes, key, value);
        }
        let tasks = &mut self.tasks;
        if let Some(task) = tasks.get_mut(task) {
            task.sequence.await_turn(false, at.now);
        }
        self.ledger
            .write_ahead(order, |ledger| tasks.save(task, ledger, at))
    }

    /// The node's timer is the earliest of its BMC's, its task's and its own.
    pub(super) fn set_timer(&mut self, id: NodeId) {
        let Some(node) = self.inventory.get(id) else {
            return;
        };
        let task = node.task.and_then(|task| self.tasks.get(task));
        let sequence = task.and_then(|task| task.sequence.poll_timeout());
        let nmi = task.and_then(|task| task.nmi_call).map(|(_, until)| until);
        let next = [node.next_timeout(), sequence, nmi];
        self.inventory
            .set_timer(id, next.into_iter().flatten().min());
    }
}

/// A datagram of a BMC's room goes to the network, a power-on's first one not too soon after that of another.
pub(super) fn pass(
    outgoing: Outgoing,
    gate: &mut Gate,
    ledger: &mut Ledger,
    tasks: &mut Tasks,
    outbox: &mut Outbox,
    now: Instant,
) {
    let open = outgoing.order.and_then(|order| ledger.get(order));
    let of_task = |open: &&Open| matches!(open.owner, Owner::Task(_));
    let inrush = open
        .filter(of_task)
        .is_some_and(|open| is_inrush(&open.order));
    let outgoing = match inrush {
        true => gate.pass(outgoing, now),
        false => Some(outgoing),
    };
    if let Some(outgoing) = outgoing {
        leave(outgoing, ledger, tasks, outbox, now);
    }
}

/// Nothing holds the datagram back any more, and its task knows that its order is out.
pub(super) fn leave(
    outgoing: Outgoing,
    ledger: &mut Ledger,
    tasks: &mut Tasks,
    outbox: &mut Outbox,
    now: Instant,
) {
    if let Some(order) = outgoing.order
        && let Some(Owner::Task(task)) = ledger.leaves(order)
        && let Some(task) = tasks.get_mut(task)
    {
        task.sequence.handle_sent(order, now);
    }
    outbox.transmits.push_back(outgoing);
}
