//! Orders on their way: entered, written ahead, handed to their BMCs; and their datagrams on the
//! way out.
//!
//! Each function is handed exactly the parts that it touches. Reports and the ends of tasks are the
//! turn's.

use super::batch::Batch;
use super::clock::Moment;
use super::gate::Gate;
use super::inventory::{Inventory, NodeId};
use super::ledger::{Ledger, Owner};
use super::outbox::Outbox;
use super::task::Task;
use super::tasks::Tasks;
use crate::bmc::Outgoing;
use crate::bmc::vocabulary::{Order, OrderId, Report, Silence};
use crate::entropy::Entropy;
use crate::model::{BatchId, Delivery, TaskId, TaskState, Trouble};
use crate::time::Instant;

/// The BMC is asked for the power state of its node.
pub(super) fn read_power(
    id: NodeId,
    owner: Owner,
    inventory: &mut Inventory,
    ledger: &mut Ledger,
    now: Instant,
    entropy: &mut dyn Entropy,
) {
    let order = ledger.enter(id, owner, Order::ReadPower);
    if let Some(node) = inventory.get_mut(id) {
        match owner {
            Owner::Sync => node.sync = Some(order),
            Owner::Fresh => node.fresh = Some(order),
            Owner::Task(_) | Owner::Ahead(_) | Owner::Call(_) | Owner::Plan(..) => {}
        }
    }
    submit(order, inventory, ledger, now, entropy);
}

/// Hands an order to its BMC.
pub(super) fn submit(
    order: OrderId,
    inventory: &mut Inventory,
    ledger: &mut Ledger,
    now: Instant,
    entropy: &mut dyn Entropy,
) {
    let node = ledger.get(order).map(|open| open.node);
    if let Some(node) = node.and_then(|id| inventory.get_mut(id)) {
        ledger.submit(order, &mut node.bmc, now, entropy);
    }
}

/// Counts anew whether all places for what draws inrush current are taken.
pub(super) fn count_places(tasks: &mut Tasks, ledger: &Ledger, gate: &mut Gate) {
    gate.full = tasks.inrushes(ledger) >= gate.places;
}

/// Orders of tasks on their way to being written down, and what they touch there.
pub(super) struct Orders<'a> {
    pub(super) inventory: &'a mut Inventory,
    pub(super) tasks: &'a mut Tasks,
    pub(super) ledger: &'a mut Ledger,
    pub(super) gate: &'a mut Gate,
    pub(super) at: Moment,
}

impl Orders<'_> {
    /// An order that changes something is written down, or waits for what has to come first.
    pub(super) fn set_out(&mut self, order: OrderId) {
        if self.stands_apart(order) {
            self.go(order);
        }
    }

    /// Orders that waited for the permit or for their turn are written down, as many as may go.
    pub(super) fn give_turns(&mut self) {
        let (still, now) = (self.gate.is_still(), self.at.now);
        while !still && let Some((batch, order)) = self.gate.next_apart(now) {
            self.has_its_turn(batch, order);
            let node = self.node_of(order);
            if self.go(order) {
                self.set_timer(node);
            }
        }
        while !still && let Some(order) = self.gate.permission.next_kept(now) {
            let node = self.node_of(order);
            if self.write_ahead(order) {
                self.set_timer(node);
            }
        }
        self.count_places();
        while !still && let Some(order) = self.gate.next_turn(now) {
            let node = self.node_of(order);
            // An order that was taken back in between leaves its turn to the next one.
            if self.write_ahead(order) {
                self.gate.turn_taken(now);
                self.set_timer(node);
            }
            self.count_places();
        }
    }

    fn count_places(&mut self) {
        count_places(self.tasks, self.ledger, self.gate);
    }

    fn node_of(&self, order: OrderId) -> Option<NodeId> {
        self.ledger.get(order).map(|open| open.node)
    }

    fn set_timer(&mut self, node: Option<NodeId>) {
        if let Some(node) = node {
            set_timer(node, self.inventory, self.tasks);
        }
    }

    /// The same as [`set_out`](Self::set_out), where it need not wait for its batch. Whether it is
    /// written down.
    fn go(&mut self, order: OrderId) -> bool {
        let open = self.ledger.get(order);
        let Some((id, open)) = open.and_then(|open| Some((open.owner.task()?, open))) else {
            return false;
        };
        let inrush = open.order.draws_inrush();
        if !inrush && !self.gate.permission.holds(self.at.now) {
            self.keep(id, order);
            return false;
        }
        (!inrush || self.has_turn(id, order)) && self.write_ahead(order)
    }

    /// Whether an order that draws inrush current goes now; else it waits for its turn, and its
    /// task's patience with it.
    fn has_turn(&mut self, id: TaskId, order: OrderId) -> bool {
        self.count_places();
        let Some(task) = self.tasks.get_mut(id) else {
            return false;
        };
        let goes = self.gate.take_turn(task.turn(), order, self.at.now);
        if !goes {
            task.sequence.await_turn(true, self.at.now);
        }
        goes
    }

    /// Whether an order need not wait for the stagger of its batch. The first one that changes the
    /// power of a node takes the node's turn there; else it waits, and its task's patience with it.
    fn stands_apart(&mut self, order: OrderId) -> bool {
        let now = self.at.now;
        let open = self.ledger.get(order);
        let open = open.filter(|open| open.order.changes_power());
        let Some(id) = open.and_then(|open| open.owner.task()) else {
            return true;
        };
        let waits = |task: &Task| !task.had_turn && task.state() == TaskState::Running;
        let task = self.tasks.get(id).filter(|task| waits(task));
        let Some(batch) = task.and_then(|task| task.identity.batch) else {
            return true;
        };
        let from = self.tasks.batch(batch).and_then(Batch::next_turn);
        let goes = self.gate.stands_apart(batch, order, from, now);
        match self.tasks.get_mut(id) {
            Some(task) if !goes => task.sequence.await_turn(true, now),
            _ => self.has_its_turn(batch, order),
        }
        goes
    }

    /// The first order of a node of the batch goes, and the next node's waits for the stagger.
    fn has_its_turn(&mut self, batch: BatchId, order: OrderId) {
        let task = self.ledger.get(order).and_then(|open| open.owner.task());
        if let Some(task) = task.and_then(|task| self.tasks.get_mut(task)) {
            task.had_turn = true;
        }
        if let Some(of) = self.tasks.batch_mut(batch) {
            of.had_turn(self.at.now);
            self.gate.keep_apart(batch, of.next_turn());
        }
    }

    /// An order that changes something waits until the permit holds, and its task's patience with
    /// it.
    fn keep(&mut self, id: TaskId, order: OrderId) {
        self.gate.permission.keep(order);
        if let Some(task) = self.tasks.get_mut(id) {
            task.sequence.await_turn(true, self.at.now);
        }
    }

    /// Writes the order of a task down; it leaves when that is durable. Whether it was one that
    /// waited for that.
    fn write_ahead(&mut self, order: OrderId) -> bool {
        let at = self.at;
        let Some(open) = self.ledger.get(order) else {
            return false;
        };
        let (Some(task), node) = (open.owner.task(), open.node) else {
            return false;
        };
        // Put down before it leaves, so that nmi_min_interval holds over a crash as well.
        if open.order == Order::Nmi
            && let Some(node) = self.inventory.get_mut(node)
        {
            node.note_nmi(at);
            node.save(self.ledger);
        }
        if let Some(task) = self.tasks.get_mut(task) {
            // Its turn has come: from here on the task's patience runs.
            task.sequence.await_turn(false, at.now);
        }
        let tasks = &mut *self.tasks;
        self.ledger
            .write_ahead(order, |ledger| tasks.save(task, ledger, at))
    }
}

/// The node's timer is the earliest of its BMC's, its task's and its own.
pub(super) fn set_timer(id: NodeId, inventory: &mut Inventory, tasks: &Tasks) {
    let Some(node) = inventory.get(id) else {
        return;
    };
    let task = node.task.and_then(|task| tasks.get(task));
    let sequence = task.and_then(|task| task.sequence.poll_timeout());
    let nmi = task.and_then(|task| task.nmi_call).map(|(_, until)| until);
    let next = [node.next_timeout(), sequence, nmi];
    // The first reading waits for no others: until it is there nobody knows what the machine does.
    let (first, later) = match node.second_sync {
        Some(_) => (node.next_reading(), None),
        None => (None, node.next_reading()),
    };
    inventory.set_timer(id, next.into_iter().flatten().chain(first).min());
    inventory.set_reading(id, later);
}

/// The report of an order that was taken back.
pub(super) fn withdrawn(delivery: Delivery, text: &str) -> Report {
    Report::Unanswered(Silence {
        delivery,
        trouble: Trouble::Withdrawn,
        text: text.to_owned(),
    })
}

/// A datagram of a BMC's room goes to the network: one that changes something while the permit
/// holds, and a power-on's first one not too soon after that of another. Whether it goes now.
pub(super) fn transmit(
    outgoing: Outgoing,
    gate: &mut Gate,
    ledger: &mut Ledger,
    tasks: &mut Tasks,
    outbox: &mut Outbox,
    now: Instant,
) -> bool {
    let open = outgoing.order.and_then(|order| ledger.get(order));
    let inrush = open.is_some_and(|open| open.owner.task().is_some() && open.order.draws_inrush());
    // The permit comes first: a datagram that it keeps takes no turn among the power-ons.
    let outgoing = gate.permission.try_transmit(outgoing, now);
    let outgoing = match inrush {
        true => outgoing.and_then(|outgoing| gate.try_transmit(outgoing, now)),
        false => outgoing,
    };
    let goes = outgoing.is_some();
    if let Some(outgoing) = outgoing {
        send(outgoing, ledger, tasks, outbox, now);
    }
    goes
}

/// Nothing holds the datagram back any more, and its task knows that its order is out.
pub(super) fn send(
    outgoing: Outgoing,
    ledger: &mut Ledger,
    tasks: &mut Tasks,
    outbox: &mut Outbox,
    now: Instant,
) {
    if let Some(order) = outgoing.order
        && let Some(task) = ledger.leaves(order).and_then(Owner::task)
        && let Some(task) = tasks.get_mut(task)
    {
        task.sequence.handle_sent(order, now);
    }
    outbox.send(outgoing);
}
