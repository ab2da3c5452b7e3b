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

/// Whether an order that draws inrush current goes now; else it waits for its turn, and its task's
/// patience with it.
pub(super) fn has_turn(
    id: TaskId,
    order: OrderId,
    tasks: &mut Tasks,
    ledger: &Ledger,
    gate: &mut Gate,
    now: Instant,
) -> bool {
    count_places(tasks, ledger, gate);
    let Some(task) = tasks.get_mut(id) else {
        return false;
    };
    let goes = gate.take_turn(task.turn(), order, now);
    if !goes {
        task.sequence.await_turn(true, now);
    }
    goes
}

/// An order of a task that changes something is written down, or waits for what has to come first.
pub(super) fn set_out(
    order: OrderId,
    inventory: &mut Inventory,
    tasks: &mut Tasks,
    ledger: &mut Ledger,
    gate: &mut Gate,
    at: Moment,
) {
    if stands_apart(order, tasks, ledger, gate, at.now) {
        go(order, inventory, tasks, ledger, gate, at);
    }
}

/// The same, where it need not wait for its batch. Whether it is written down.
fn go(
    order: OrderId,
    inventory: &mut Inventory,
    tasks: &mut Tasks,
    ledger: &mut Ledger,
    gate: &mut Gate,
    at: Moment,
) -> bool {
    let open = ledger.get(order);
    let Some((id, open)) = open.and_then(|open| Some((open.owner.task()?, open))) else {
        return false;
    };
    let inrush = open.order.draws_inrush();
    if !inrush && !gate.permission.holds(at.now) {
        keep(id, order, tasks, gate, at.now);
        return false;
    }
    let goes = !inrush || has_turn(id, order, tasks, ledger, gate, at.now);
    goes && write_ahead(order, inventory, tasks, ledger, at)
}

/// Whether an order need not wait for the stagger of its batch. The first one that changes the
/// power of a node takes the node's turn there; else it waits, and its task's patience with it.
fn stands_apart(
    order: OrderId,
    tasks: &mut Tasks,
    ledger: &Ledger,
    gate: &mut Gate,
    now: Instant,
) -> bool {
    let open = ledger.get(order).filter(|open| open.order.changes_power());
    let Some(id) = open.and_then(|open| open.owner.task()) else {
        return true;
    };
    let waits = |task: &Task| !task.had_turn && task.state() == TaskState::Running;
    let task = tasks.get(id).filter(|task| waits(task));
    let Some(batch) = task.and_then(|task| task.identity.batch) else {
        return true;
    };
    let from = tasks.batch(batch).and_then(Batch::next_turn);
    let goes = gate.stands_apart(batch, order, from, now);
    match tasks.get_mut(id) {
        Some(task) if !goes => task.sequence.await_turn(true, now),
        _ => has_its_turn(batch, order, tasks, ledger, gate, now),
    }
    goes
}

/// The first order of a node of the batch goes, and the next node's waits for the stagger.
fn has_its_turn(
    batch: BatchId,
    order: OrderId,
    tasks: &mut Tasks,
    ledger: &Ledger,
    gate: &mut Gate,
    now: Instant,
) {
    let task = ledger.get(order).and_then(|open| open.owner.task());
    if let Some(task) = task.and_then(|task| tasks.get_mut(task)) {
        task.had_turn = true;
    }
    if let Some(of) = tasks.batch_mut(batch) {
        of.had_turn(now);
        gate.keep_apart(batch, of.next_turn());
    }
}

/// An order that changes something waits until the permit holds, and its task's patience with it.
pub(super) fn keep(id: TaskId, order: OrderId, tasks: &mut Tasks, gate: &mut Gate, now: Instant) {
    gate.permission.keep(order);
    if let Some(task) = tasks.get_mut(id) {
        task.sequence.await_turn(true, now);
    }
}

/// Orders that waited for the permit or for their turn are written down, as many as may go.
pub(super) fn give_turns(
    inventory: &mut Inventory,
    tasks: &mut Tasks,
    ledger: &mut Ledger,
    gate: &mut Gate,
    at: Moment,
) {
    let still = gate.is_still();
    while !still && let Some((batch, order)) = gate.next_apart(at.now) {
        has_its_turn(batch, order, tasks, ledger, gate, at.now);
        let node = ledger.get(order).map(|open| open.node);
        if go(order, inventory, tasks, ledger, gate, at)
            && let Some(node) = node
        {
            set_timer(node, inventory, tasks);
        }
    }
    while !still && let Some(order) = gate.permission.next_kept(at.now) {
        let node = ledger.get(order).map(|open| open.node);
        if write_ahead(order, inventory, tasks, ledger, at)
            && let Some(node) = node
        {
            set_timer(node, inventory, tasks);
        }
    }
    count_places(tasks, ledger, gate);
    while !still && let Some(order) = gate.next_turn(at.now) {
        let node = ledger.get(order).map(|open| open.node);
        // An order that was taken back in between leaves its turn to the next one.
        if write_ahead(order, inventory, tasks, ledger, at) {
            gate.turn_taken(at.now);
            node.into_iter()
                .for_each(|node| set_timer(node, inventory, tasks));
        }
        count_places(tasks, ledger, gate);
    }
}

/// Writes the order of a task down; it leaves when that is durable. Whether it was one that waited
/// for that.
pub(super) fn write_ahead(
    order: OrderId,
    inventory: &mut Inventory,
    tasks: &mut Tasks,
    ledger: &mut Ledger,
    at: Moment,
) -> bool {
    let Some(open) = ledger.get(order) else {
        return false;
    };
    let (Some(task), node) = (open.owner.task(), open.node) else {
        return false;
    };
    // Put down before it leaves, so that nmi_min_interval holds over a crash as well.
    if open.order == Order::Nmi
        && let Some(node) = inventory.get_mut(node)
    {
        node.note_nmi(at);
        node.save(ledger);
    }
    if let Some(task) = tasks.get_mut(task) {
        // Its turn has come: from here on the task's patience runs.
        task.sequence.await_turn(false, at.now);
    }
    ledger.write_ahead(order, |ledger| tasks.save(task, ledger, at))
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
pub(super) fn pass(
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
    let outgoing = gate.permission.pass(outgoing, now);
    let outgoing = match inrush {
        true => outgoing.and_then(|outgoing| gate.pass(outgoing, now)),
        false => outgoing,
    };
    let goes = outgoing.is_some();
    if let Some(outgoing) = outgoing {
        leave(outgoing, ledger, tasks, outbox, now);
    }
    goes
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
        && let Some(task) = ledger.leaves(order).and_then(Owner::task)
        && let Some(task) = tasks.get_mut(task)
    {
        task.sequence.handle_sent(order, now);
    }
    outbox.send(outgoing);
}
