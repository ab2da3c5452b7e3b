//! Orders that are under way: whose they are, how far they have come, and what must be durable
//! before they leave (design, rule 1).
//!
//! Every order enters here, is handed to its BMC in [`Ledger::submit`] and nowhere else, and ends
//! with its report or in [`Ledger::withdraw`]. The journal is here too: what has to be written down
//! before an order leaves is put down first.

use super::call::CallId;
use super::clock::{Alive, Moment};
use super::gate::Gate;
use super::inventory::NodeId;
use super::journal::Journal;
use super::outbox::Outbox;
use super::quarantine::Quarantine;
use super::record::Table;
use super::stored::{self, Intent};
use crate::bmc::vocabulary::{Order, OrderId};
use crate::bmc::{Bmc, Purpose};
use crate::entropy::Entropy;
use crate::model::{BatchId, Delivery, TaskId};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) journal: Journal<Parked>,
    pub(super) quarantine: Quarantine,
    open: BTreeMap<OrderId, Open>,
    /// How many of these are no regular readings.
    others: usize,
    /// The one order that a task may have under way.
    of_task: BTreeMap<TaskId, OrderId>,
    /// Orders of tasks that draw inrush current and are written down.
    drawing: BTreeSet<OrderId>,
    /// Orders outside tasks of which it is remembered that they leave.
    intended: BTreeSet<OrderId>,
    /// Tasks of which a record is promised to the journal.
    promised: BTreeSet<TaskId>,
    next: u64,
    next_heartbeat: Option<Instant>,
}

/// An order that has no report yet.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) node: NodeId,
    pub(super) owner: Owner,
    pub(super) order: Order,
    pub(super) stage: Stage,
    /// How many datagrams of it went to the network.
    pub(super) left: u32,
    /// Whether an order that changes power may follow as soon as its task knows what this brings.
    leads: bool,
}

/// Who gets the report of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// A task's sequence.
    Task(TaskId),
    /// A new task, whose first reading was asked for while its record is being written down: see
    /// `ahead`.
    Ahead(TaskId),
    /// The power sync of the node.
    Sync,
    /// Those who asked for a fresh reading of the node.
    Fresh,
    Call(CallId),
    /// A batch's dry run: its call, and the number of the node in the plan.
    Plan(CallId, usize),
}

impl Open {
    /// What the order is for, so that its BMC knows who goes first.
    fn purpose(&self) -> Purpose {
        match self.owner {
            Owner::Task(_) if self.leads => Purpose::Change,
            Owner::Task(_) => Purpose::Task,
            // The task's first order follows at once: this reading may
            // open a session for it (rule 10).
            Owner::Ahead(_) => Purpose::Change,
            Owner::Sync | Owner::Fresh | Owner::Plan(..) => Purpose::PowerState,
            Owner::Call(_) => Purpose::Aside,
        }
    }
}

impl Owner {
    /// The task whose order it is.
    pub(super) fn task(self) -> Option<TaskId> {
        match self {
            Self::Task(task) => Some(task),
            Self::Ahead(_) | Self::Sync | Self::Fresh | Self::Call(_) | Self::Plan(..) => None,
        }
    }

    /// Whether a dry run waits for it.
    pub(super) fn is_plan(self) -> bool {
        match self {
            Self::Plan(..) => true,
            Self::Task(_) | Self::Ahead(_) | Self::Sync | Self::Fresh | Self::Call(_) => false,
        }
    }
}

/// How far an order has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// The order changes nothing: its BMC may have it.
    Ready,
    /// The order changes something, and is not written down yet.
    Unwritten,
    /// The order is being written down.
    Journaled,
    /// The BMC's room has the order.
    Submitted,
}

/// What waits for the journal.
#[derive(Debug)]
pub(super) enum Parked {
    /// An order that changes something.
    Order(OrderId),
    /// New tasks, which then may begin, and the answer to the call that made them.
    Admit(Vec<TaskId>, CallId, Reply),
    Reply(CallId, Reply),
    /// A look at the newest entries of a node's history.
    ReadHistory {
        node: Uuid,
        limit: usize,
        call: CallId,
    },
}

/// An answer that is made when it is given, so that it tells the present.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// To `SetPower`.
    Taken(TaskId),
    Task(TaskId),
    /// The answer comes when the BMC has answered the NMI.
    Nmi,
    /// A node, which may be gone by then.
    Node(Uuid),
    Batch(BatchId),
    Pausing,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            journal: Journal::new(),
            quarantine: Quarantine::default(),
            open: BTreeMap::new(),
            others: 0,
            of_task: BTreeMap::new(),
            drawing: BTreeSet::new(),
            intended: BTreeSet::new(),
            promised: BTreeSet::new(),
            next: 1,
            next_heartbeat: None,
        }
    }

    /// The number of the order that enters next.
    pub(super) fn next_id(&self) -> OrderId {
        OrderId(self.next)
    }

    /// An earlier life has used this number.
    pub(super) fn skip_past(&mut self, used: OrderId) {
        // Tasks know orders of former lives by number: a reading was once
        // taken for an old soft request.
        self.next = self.next.max(used.0 + 1);
    }

    /// The number of an order that enters now, or later.
    pub(super) fn take_id(&mut self) -> OrderId {
        let id = self.next_id();
        self.next += 1;
        id
    }

    /// Enters an order; it has not been handed to anybody.
    pub(super) fn enter(&mut self, node: NodeId, owner: Owner, order: Order) -> OrderId {
        let id = self.next_id();
        self.enter_as(id, node, owner, order, false);
        id
    }

    /// Under the next number, or one that was taken for it before. Where it leads, an order that
    /// changes power may follow as soon as its task knows what this one brings.
    pub(super) fn enter_as(
        &mut self,
        id: OrderId,
        node: NodeId,
        owner: Owner,
        order: Order,
        leads: bool,
    ) {
        self.skip_past(id);
        let stage = if order.acts() {
            Stage::Unwritten
        } else {
            Stage::Ready
        };
        if let Owner::Task(task) = owner {
            self.of_task.insert(task, id);
        }
        let left = 0;
        self.others += usize::from(owner != Owner::Sync);
        self.open.insert(
            id,
            Open {
                node,
                owner,
                order,
                stage,
                left,
                leads,
            },
        );
    }

    pub(super) fn get(&self, id: OrderId) -> Option<&Open> {
        self.open.get(&id)
    }

    /// Whether only regular readings are under way, and at least so many.
    pub(super) fn has_readings_only(&self, few: usize) -> bool {
        self.others == 0 && self.open.len() >= few
    }

    /// The order that a task has under way.
    pub(super) fn of_task(&self, task: TaskId) -> Option<(OrderId, &Open)> {
        let id = *self.of_task.get(&task)?;
        Some((id, self.open.get(&id)?))
    }

    /// The tasks whose order under way draws inrush current, once it is written down.
    pub(super) fn drawing_inrush(&self) -> impl Iterator<Item = TaskId> {
        self.drawing.iter().filter_map(|id| {
            let task = self.open.get(id)?.owner.task()?;
            (self.of_task.get(&task) == Some(id)).then_some(task)
        })
    }

    /// The order of a task that certainly has not left and is not even written down.
    pub(super) fn unwritten_of(&self, task: TaskId) -> Option<OrderId> {
        let (id, open) = self.of_task(task)?;
        (open.stage == Stage::Unwritten).then_some(id)
    }

    /// Orders outside tasks that are under way to a node's BMC.
    pub(super) fn side_orders_of(&self, node: NodeId) -> Vec<OrderId> {
        self.side_orders(|open| open.node == node)
    }

    /// Orders outside tasks that may change a machine.
    pub(super) fn side_orders_that_change(&self) -> Vec<OrderId> {
        self.side_orders(|open| open.order.changes_machine())
    }

    fn side_orders(&self, wanted: impl Fn(&Open) -> bool) -> Vec<OrderId> {
        let side = |open: &Open| match open.owner {
            Owner::Task(_) => false,
            Owner::Ahead(_) | Owner::Call(_) | Owner::Sync | Owner::Fresh | Owner::Plan(..) => true,
        };
        let found = self.open.iter();
        let found = found.filter(|(_, open)| side(open) && wanted(open));
        found.map(|(id, _)| *id).collect()
    }

    /// Writes an order down: `put_down` puts what is to be remembered of it into the journal, and
    /// the order goes to its BMC when that is durable. Whether it was one that is to be written
    /// down.
    pub(super) fn write_ahead(&mut self, id: OrderId, put_down: impl FnOnce(&mut Self)) -> bool {
        let Some(open) = self.open.get_mut(&id) else {
            return false;
        };
        // Rule 1: an order that is written down twice would be parked, and sent, twice.
        if open.stage != Stage::Unwritten {
            return false;
        }
        open.stage = Stage::Journaled;
        if open.order.draws_inrush() {
            // Rule 11: it takes its place from here on, though it leaves only when it is durable.
            self.drawing.insert(id);
        }
        put_down(self);
        self.journal.park(Parked::Order(id));
        true
    }

    /// What is to be remembered of an order is durable already: see `ahead`.
    pub(super) fn note_put_down(&mut self, id: OrderId) {
        let open = self.open.get_mut(&id);
        if let Some(open) = open.filter(|open| open.stage == Stage::Unwritten) {
            open.stage = Stage::Journaled;
        }
    }

    /// Hands an order to its BMC: one that changes nothing, or one of which the journal said that
    /// it is durable.
    pub(super) fn submit(
        &mut self,
        id: OrderId,
        bmc: &mut Bmc,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        match open.stage {
            Stage::Ready | Stage::Journaled => {
                open.stage = Stage::Submitted;
                let purpose = open.purpose();
                bmc.submit(id, open.order.clone(), purpose, now, entropy);
            }
            // Rule 1: nothing that changes something leaves before it is written down; and nothing
            // leaves twice.
            Stage::Unwritten | Stage::Submitted => {}
        }
    }

    /// The reading that was asked for ahead is the task's own from here on.
    pub(super) fn adopt(&mut self, id: OrderId, task: TaskId) {
        if let Some(open) = self.open.get_mut(&id) {
            open.owner = Owner::Task(task);
            self.of_task.insert(task, id);
        }
    }

    /// A datagram of the order goes to the network: for whom it is.
    pub(super) fn leaves(&mut self, id: OrderId) -> Option<Owner> {
        let open = self.open.get_mut(&id)?;
        open.left = open.left.saturating_add(1);
        Some(open.owner)
    }

    /// What is to be remembered of an order outside tasks before it leaves, where the rack has a
    /// second host.
    pub(super) fn intend(&mut self, id: OrderId, intent: &Intent) {
        let (key, value) = stored::intent(id, intent);
        self.journal.put(Table::Rack, key, value);
        self.intended.insert(id);
    }

    /// A record of the task goes to the journal with all that has gathered there, and is made when
    /// that is given to the shell: a task may come on several times before.
    pub(super) fn promise(&mut self, task: TaskId) {
        self.journal.put(Table::Tasks, task.to_string(), []);
        self.promised.insert(task);
    }

    /// Of which tasks a record is to be made now.
    pub(super) fn take_promises(&mut self) -> BTreeSet<TaskId> {
        std::mem::take(&mut self.promised)
    }

    /// The order has its report.
    pub(super) fn close(&mut self, id: OrderId) -> Option<Open> {
        // What came of it is known: the next host has nothing to tell of it.
        if self.intended.remove(&id) {
            self.journal.delete(Table::Rack, stored::intent_key(id));
        }
        let open = self.open.remove(&id)?;
        self.drawing.remove(&id);
        self.others -= usize::from(open.owner != Owner::Sync);
        if let Owner::Task(task) = open.owner {
            self.of_task.remove(&task);
        }
        Some(open)
    }

    /// Takes an order back, wherever it is, and says whether it can have left: when this returns,
    /// no further datagram of it is handed out.
    pub(super) fn withdraw(
        &mut self,
        id: OrderId,
        bmc: &mut Bmc,
        gate: &mut Gate,
        outbox: &mut Outbox,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<(Open, Delivery)> {
        let open = self.close(id)?;
        // An order may wait anywhere on its way: an abort is answered when it is nowhere any more.
        gate.forget(id);
        self.journal
            .unpark(|parked| matches!(parked, Parked::Order(parked) if *parked == id));
        outbox.drop_order(id);
        let mut delivery = Delivery::NotSent;
        if open.stage == Stage::Submitted {
            let counted = bmc.withdraw(id, now, entropy);
            // The BMC's room counts a datagram as sent that the gate still held.
            if open.left > 0 {
                delivery = counted;
            }
        }
        Some((open, delivery))
    }

    /// New tasks may begin, and their caller is answered, when their records are durable.
    pub(super) fn admit(&mut self, tasks: Vec<TaskId>, call: CallId, reply: Reply) {
        self.journal.park(Parked::Admit(tasks, call, reply));
    }

    /// Keeps an answer until all that was put down by now is durable; gives it back where that is
    /// so.
    pub(super) fn reply_when_durable(&mut self, call: CallId, reply: Reply) -> Option<Reply> {
        if !self.journal.is_pending() {
            return Some(reply);
        }
        self.journal.park(Parked::Reply(call, reply));
        None
    }

    /// There is something to remember: signs of life are wanted from now on.
    pub(super) fn begin_heartbeat(&mut self, now: Instant) {
        self.next_heartbeat.get_or_insert(now + HEARTBEAT);
    }

    /// A sign of life is wanted at once.
    pub(super) fn heartbeat_at_once(&mut self, now: Instant) {
        self.next_heartbeat = Some(now);
    }

    /// What was not written goes with the next sign of life.
    pub(super) fn heartbeat_anew(&mut self, now: Instant) {
        self.next_heartbeat = Some(now + HEARTBEAT);
    }

    /// A sign of life while tasks are active, so that the next life knows how long it was away.
    pub(super) fn heartbeat(&mut self, active: bool, alive: Alive, at: Moment) {
        match self.next_heartbeat {
            Some(due) if at.now < due => return,
            Some(_) => {
                self.journal
                    .put(Table::Rack, ALIVE.to_owned(), stored::alive(&alive));
            }
            None => {}
        }
        // Writes that were refused go with the next sign of life, so that the disk is tried again.
        let wanted = active || self.journal.trouble().is_some();
        self.next_heartbeat = wanted.then_some(at.now + HEARTBEAT);
    }

    pub(super) fn next_heartbeat(&self) -> Option<Instant> {
        self.next_heartbeat
    }
}

/// The key of the last sign of life.
pub(super) const ALIVE: &str = "alive";
/// How often a sign of life is given while tasks are active. A crash gives each of them back so
/// much patience at most: what was lived after the last sign is not counted.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::super::record::Write;
    use super::super::settings::RackSettings;
    use super::super::tests::{at, id, inventory, outgoing};
    use super::*;
    use crate::bmc::vocabulary::Route;
    use crate::entropy::Seeded;

    struct Parts {
        ledger: Ledger,
        inventory: super::super::inventory::Inventory,
        gate: Gate,
        outbox: Outbox,
        entropy: Seeded,
    }

    impl Parts {
        fn new() -> Self {
            Self {
                ledger: Ledger::new(),
                inventory: inventory(1),
                gate: Gate::new(&RackSettings::default(), None, at(0).now),
                outbox: Outbox::new(1),
                entropy: Seeded::new(1),
            }
        }

        fn enter(&mut self, owner: Owner, order: Order) -> OrderId {
            let node = self.inventory.ids()[0];
            self.ledger.enter(node, owner, order)
        }

        /// Hands it to the BMC, and says how many orders that has then.
        fn submit(&mut self, order: OrderId) -> usize {
            let node = self.inventory.ids()[0];
            let bmc = &mut self.inventory.get_mut(node).unwrap().bmc;
            self.ledger.submit(order, bmc, at(1).now, &mut self.entropy);
            bmc.backlog()
        }

        fn withdraw(&mut self, order: OrderId) -> Option<Delivery> {
            let node = self.inventory.ids()[0];
            let bmc = &mut self.inventory.get_mut(node).unwrap().bmc;
            let (gate, outbox) = (&mut self.gate, &mut self.outbox);
            let entropy = &mut self.entropy;
            let taken = self
                .ledger
                .withdraw(order, bmc, gate, outbox, at(2).now, entropy);
            taken.map(|(_, delivery)| delivery)
        }
    }

    fn raw() -> Order {
        Order::Raw {
            net_fn: 0x30,
            lun: 0,
            command: 1,
            data: Vec::new(),
            route: Route::Direct,
        }
    }

    #[test]
    fn nothing_that_changes_something_is_handed_over_before_it_is_written_down() {
        for order in [Order::PowerOff, Order::Nmi, raw()] {
            let mut parts = Parts::new();
            let order = parts.enter(Owner::Task(id(1)), order);
            assert_eq!(parts.submit(order), 0);
            assert!(parts.ledger.write_ahead(order, |ledger| {
                ledger.journal.put(Table::Tasks, "1".into(), vec![1]);
            }));
            let (ticket, writes) = parts.ledger.journal.poll_writes().unwrap();
            assert!(matches!(&writes[..], [Write::Put { .. }]));
            let durable = parts.ledger.journal.durable(ticket);
            assert!(matches!(&durable[..], [Parked::Order(parked)] if *parked == order));
            assert_eq!(parts.submit(order), 1);
            assert_eq!(parts.submit(order), 1, "and once only");
        }
    }

    #[test]
    fn an_order_is_written_down_once() {
        let mut parts = Parts::new();
        let order = parts.enter(Owner::Task(id(1)), Order::PowerOff);
        assert_eq!(parts.ledger.unwritten_of(id(1)), Some(order));
        assert!(parts.ledger.write_ahead(order, |_| {}));
        assert_eq!(parts.ledger.unwritten_of(id(1)), None);
        assert!(!parts.ledger.write_ahead(order, |_| panic!("once")));
    }

    #[test]
    fn what_is_withdrawn_while_it_is_written_down_is_not_sent_and_waits_no_more() {
        let mut parts = Parts::new();
        let order = parts.enter(Owner::Call(CallId(1)), raw());
        parts.ledger.write_ahead(order, |ledger| {
            ledger.journal.put(Table::History, "1".into(), vec![1]);
        });
        assert_eq!(parts.withdraw(order), Some(Delivery::NotSent));
        let (ticket, _) = parts.ledger.journal.poll_writes().unwrap();
        assert!(parts.ledger.journal.durable(ticket).is_empty());
        assert_eq!(parts.submit(order), 0);
        assert_eq!(parts.withdraw(order), None);
    }

    #[test]
    fn what_still_lies_in_the_outbox_goes_with_its_order() {
        let mut parts = Parts::new();
        let order = parts.enter(Owner::Sync, Order::ReadPower);
        let other = outgoing(order.0 + 1, 0);
        parts.outbox.send(outgoing(order.0, 0));
        parts.outbox.send(other);
        parts.withdraw(order);
        assert_eq!(
            parts.outbox.poll_transmit().map(|left| left.order),
            Some(Some(OrderId(order.0 + 1)))
        );
        assert!(!parts.outbox.has_transmits());
    }

    #[test]
    fn a_task_has_one_order_and_none_after_its_report() {
        let mut parts = Parts::new();
        let order = parts.enter(Owner::Task(id(1)), Order::ReadPower);
        assert_eq!(parts.ledger.of_task(id(1)).map(|(id, _)| id), Some(order));
        let owner = parts.ledger.close(order).unwrap().owner;
        assert_eq!(owner, Owner::Task(id(1)));
        assert!(parts.ledger.of_task(id(1)).is_none());
        assert!(parts.ledger.close(order).is_none());
    }

    #[test]
    fn numbers_of_a_former_life_are_not_used_again() {
        let mut parts = Parts::new();
        parts.ledger.skip_past(OrderId(41));
        assert_eq!(parts.enter(Owner::Sync, Order::ReadPower), OrderId(42));
        parts.ledger.skip_past(OrderId(7));
        assert_eq!(parts.enter(Owner::Sync, Order::ReadPower), OrderId(43));
    }

    #[test]
    fn signs_of_life_are_given_while_tasks_are_active_and_once_more() {
        let alive = |at: Moment| Alive {
            wall: at.wall,
            stamp: None,
            boot: None,
        };
        let mut ledger = Ledger::new();
        ledger.begin_heartbeat(at(1).now);
        ledger.heartbeat(true, alive(at(3)), at(3));
        assert!(ledger.journal.poll_writes().is_none());
        ledger.heartbeat(true, alive(at(6)), at(6));
        assert!(ledger.journal.poll_writes().is_some());
        assert_eq!(ledger.next_heartbeat(), Some(at(11).now));
        ledger.heartbeat(false, alive(at(11)), at(11));
        assert!(ledger.journal.poll_writes().is_some());
        assert_eq!(ledger.next_heartbeat(), None);
    }
}
