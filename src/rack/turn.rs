//! The end of every turn: what was kept back leaves, who waited too long is told, who may begin now
//! begins. And what comes from elsewhere than a BMC: time, the disk, a pause, a reading that somebody
//! wants.
//!
//! What a report leads to is in `reports`, which this file drives.

use super::call::Refused;
use super::clock::Moment;
use super::inventory::NodeId;
use super::ledger::{Open, Owner, Parked, Reply};
use super::orders;
use super::reports::node_and_task;
use super::schedule::{self, Next};
use super::sweeps::Asker;
use super::{Rack, admission, ahead};
use crate::bmc::Outgoing;
use crate::bmc::vocabulary::OrderId;
use crate::model::{TaskId, TaskState};

/// What ends every input.
impl Rack {
    /// The last part of every input: who may begin now begins, and who waited hears of it.
    pub(super) fn finish(&mut self, at: Moment) {
        self.end_turn(false, at);
    }

    /// The same; who waits is looked at without news as well where `anyhow`, but once in any case.
    pub(super) fn end_turn(&mut self, anyhow: bool, at: Moment) {
        self.give_up_hanging(at);
        // A node in line has no timer of its own: whoever frees a place has to wake it.
        while let Some(node) = self.log_ins.next() {
            if let Some(node) = self.inventory.get_mut(node) {
                node.in_line = false;
            }
            self.time_out_node(node, at);
        }
        while let Some((sweep, node)) = self.sweeps.take_next(at.now) {
            match self.inventory.get(node) {
                Some(_) => self.read_fresh(node, Asker::Sweep(sweep), at),
                // A reload may have taken the node away: the sweep must not wait for it.
                None => self.sweeps.note(sweep, node, false),
            }
        }
        let parting = self.removed.drain(at.now);
        parting
            .into_iter()
            .for_each(|outgoing| self.outbox.send(outgoing));
        self.let_out(at);
        self.orders(at).give_turns();
        self.let_begin(at);
        let keep = self.settings.history_keep;
        self.tasks.forget_surplus(keep, at, &mut self.ledger);
        self.turned = at.now;
        let due = anyhow || self.outbox.waits.is_due(at.now);
        // `|` and not `||`: to ask is to take the news, so that each is asked in every turn.
        if self.outbox.has_news() | self.sweeps.has_news() | due {
            self.answer_waits(false, at);
        }
    }

    /// The tasks whose turn it is begin or go on, until all who are left have to wait.
    fn let_begin(&mut self, at: Moment) {
        let mut after = None;
        loop {
            orders::count_places(&mut self.tasks, &self.ledger, &mut self.gate);
            match schedule::next(after, &self.tasks, &self.inventory, &self.gate, at.now) {
                Next::Begin(task) => {
                    self.begin(task, at);
                    after = Some(task);
                }
                // Starting a task can end it at once (nothing to do), which makes room for those
                // that were passed over: look again from the front.
                Next::Wait(_) if after.is_some() => after = None,
                Next::Wait(look_again) => {
                    self.gate.look_again_at(look_again);
                    break;
                }
            }
        }
    }

    /// Datagrams that were kept back leave, as many as may now.
    fn let_out(&mut self, at: Moment) {
        while let Some(outgoing) = self.gate.permission.next_withheld(at.now) {
            let left = outgoing.clone();
            let (gate, ledger) = (&mut self.gate, &mut self.ledger);
            let (tasks, outbox) = (&mut self.tasks, &mut self.outbox);
            // The permit lets it out, but a power-on may still have to keep its distance (rule 11).
            if orders::transmit(outgoing, gate, ledger, tasks, outbox, at.now) {
                self.note_left(&left, at);
            }
        }
        while let Some(outgoing) = self.gate.next_held(at.now) {
            self.note_left(&outgoing, at);
            let (ledger, tasks) = (&mut self.ledger, &mut self.tasks);
            orders::send(outgoing, ledger, tasks, &mut self.outbox, at.now);
        }
        self.gate.permission.look(at.now);
    }

    /// A datagram that was kept back has left.
    fn note_left(&mut self, outgoing: &Outgoing, at: Moment) {
        for id in self.inventory.at(outgoing.to) {
            let node = self.inventory.get_mut(id);
            // Two nodes may have one address, where names say so: our
            // port tells whose datagram it is.
            if let Some(node) = node.filter(|node| node.bmc.has_port(outgoing.port)) {
                let shown = node.bmc.show(outgoing);
                node.bmc.note_left(shown, at.now);
            }
        }
    }

    fn begin(&mut self, id: TaskId, at: Moment) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let node = task.node;
        let batch = task.identity.batch.filter(|_| !task.has_nothing_to_do());
        let begins = task.go_on(at);
        // A task that goes on began before: it moves no other start of its batch.
        if begins && let Some(batch) = batch.and_then(|batch| self.tasks.batch_mut(batch)) {
            batch.begun(id, at.now);
        }
        let Some(node_id) = node else { return };
        if let Some(node) = self.inventory.get_mut(node_id) {
            // A task speaks to the BMC again and again: its session stays open.
            node.bmc.set_wanted(true, at.now);
        }
        if begins
            && let Some((order, report)) =
                ahead::take_up(id, &mut self.tasks, &mut self.ledger, at.now)
        {
            self.report_to_task(id, order, report, at);
        }
        self.drain_node(node_id, at);
    }

    pub(super) fn drain_task(&mut self, task: TaskId, at: Moment) {
        if let Some(node) = self.tasks.get(task).and_then(|task| task.node) {
            self.drain_node(node, at);
        }
    }

    /// Something of the node is due.
    pub(super) fn time_out_node(&mut self, id: NodeId, at: Moment) {
        let Some((node, task)) = node_and_task(id, &mut self.inventory, &mut self.tasks) else {
            return;
        };
        node.bmc.handle_timeout(at.now, &mut *self.entropy);
        // A task reads the machine itself, unless it is held back.
        let mut busy = self.gate.is_still();
        if let Some(task) = task {
            task.sequence.handle_timeout(at.now);
            busy |= !task.sequence.is_held();
        }
        let (task, crowded) = (node.task, self.log_ins.is_full());
        let interval = self.settings.sync_interval;
        if node.sync_is_due(busy, crowded, interval, at.now) {
            self.read_power(id, Owner::Sync, at);
        } else if node.in_line {
            self.log_ins.wait(id);
        }
        let late = self.inventory.get_mut(id);
        let late = late.map(|node| node.take_late_calls(at.now));
        self.answer_fresh(id, late.unwrap_or_default(), false, at);
        if let Some(task) = task {
            self.answer_nmi(task, at);
        }
        self.drain_node(id, at);
    }

    /// A rollback cannot be suspended. While the rack is paused it gives no order, its patience
    /// stands still, and the order that it gave before is taken back where it has not been
    /// answered.
    pub(super) fn hold_back(&mut self, id: TaskId, at: Moment) {
        let task = self.tasks.get(id);
        if task.is_none_or(|task| task.state() != TaskState::RollingBack) {
            return;
        }
        // A reading changes nothing: it may be answered while the rack is paused.
        let changing = |(_, open): &(OrderId, &Open)| open.order.changes_power();
        if let Some((order, _)) = self.ledger.of_task(id).filter(changing) {
            self.take_back(id, order, "held back when the rack was paused", at);
        }
        self.hold_task(id, true, at);
    }

    /// Lets a rollback stand still, or go on.
    pub(super) fn hold_task(&mut self, id: TaskId, held: bool, at: Moment) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.sequence.hold(held, at.now);
        }
        self.drain_task(id, at);
    }

    /// What waited for the journal may happen now.
    pub(super) fn on_durable(&mut self, parked: Parked, at: Moment) {
        match parked {
            Parked::Order(order) => self.on_order_durable(order, at),
            Parked::Admit(tasks, call, reply) => {
                admission::admit(tasks, &mut self.tasks, &mut self.ledger, at);
                self.reply(call, &reply, at);
            }
            Parked::Reply(call, reply) => self.reply(call, &reply, at),
            Parked::ReadHistory { node, limit, call } => {
                self.tasks.history.read(node, limit, call);
            }
        }
    }

    fn on_order_durable(&mut self, order: OrderId, at: Moment) {
        let Some(open) = self.ledger.get(order) else {
            return;
        };
        let node = open.node;
        let over = self.gate.permission.why(at.now);
        match (open.owner, over) {
            (Owner::Task(task), _) if self.gate.stopping => {
                self.take_back(task, order, "the daemon is shutting down", at);
            }
            // Written down in time, and too late to be sent.
            (Owner::Task(task), Some(why)) => {
                let text = format!("not sent, because it had to wait for {why}");
                self.take_back(task, order, &text, at);
            }
            // Its caller decides whether to ask again; a task does so by itself.
            (Owner::Call(call), Some(why)) => {
                self.ledger.close(order);
                self.outbox.answer(call, Err(Refused::Unconfirmed(why)));
            }
            (_, _) => self.submit(order, at),
        }
        self.drain_node(node, at);
    }

    /// What waited for the journal must not happen: it could not be written.
    pub(super) fn refuse_parked(&mut self, parked: Parked, why: &str, at: Moment) {
        match parked {
            Parked::Order(order) => match self.ledger.get(order).map(|open| open.owner) {
                Some(Owner::Task(task)) => {
                    let text = format!("the journal cannot be written, so nothing was sent: {why}");
                    self.take_back(task, order, &text, at);
                    self.drain_task(task, at);
                }
                Some(Owner::Call(call)) => {
                    self.ledger.close(order);
                    self.outbox
                        .answer(call, Err(Refused::Store(why.to_owned())));
                }
                // These only read, so that they never wait for the journal.
                Some(Owner::Ahead(_) | Owner::Sync | Owner::Fresh | Owner::Plan(..)) | None => {}
            },
            Parked::Admit(tasks, call, reply) => {
                if self.withdraw_tasks(tasks, &reply) {
                    self.outbox
                        .answer(call, Err(Refused::Store(why.to_owned())));
                }
            }
            // The control was carried out, but the next life of the daemon may not know of it.
            Parked::Reply(call, _) => {
                let refused = Refused::Unremembered(why.to_owned());
                self.outbox.answer(call, Err(refused));
            }
            // What is on the disk can still be read.
            Parked::ReadHistory { node, limit, call } => {
                self.tasks.history.read(node, limit, call);
            }
        }
    }

    /// Nobody waits for a disk that hangs: what was asked for is withdrawn, and what was done is
    /// said to be unremembered. Orders of tasks wait on.
    fn give_up_hanging(&mut self, at: Moment) {
        self.ledger.journal.watch(at.now);
        // The task of an order was told yes: it waits on, and its deadline ends it (rule 6).
        let tired = |parked: &Parked| !matches!(parked, Parked::Order(_));
        for parked in self.ledger.journal.take_hanging(tired) {
            let why = self.ledger.journal.trouble().unwrap_or_default().to_owned();
            match parked {
                // What is under way to the disk may be written yet: its forgetting goes after it.
                Parked::Admit(tasks, call, reply) => {
                    // The answer names the task, because it may still
                    // happen if the daemon dies now.
                    let task = tasks.first().copied().filter(|_| tasks.len() == 1);
                    let refused = Refused::Withdrawn { task, why };
                    if self.withdraw_tasks(tasks, &reply) {
                        self.outbox.answer(call, Err(refused));
                    }
                }
                parked => self.refuse_parked(parked, &why, at),
            }
        }
    }

    /// Takes new tasks back; whether their caller still waits for an answer.
    fn withdraw_tasks(&mut self, ids: Vec<TaskId>, reply: &Reply) -> bool {
        let (tasks, inventory) = (&mut self.tasks, &mut self.inventory);
        admission::withdraw(ids, reply, tasks, inventory, &mut self.ledger)
    }

    /// Somebody wants a reading that is not older than the request.
    pub(super) fn read_fresh(&mut self, id: NodeId, asker: Asker, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        if node.wants_fresh(asker, at.now) {
            self.read_power(id, Owner::Fresh, at);
        }
        self.drain_node(id, at);
    }

    /// The reading that a new task begins with leaves beside the writing of its record.
    pub(super) fn look_ahead(&mut self, id: TaskId, at: Moment) {
        let (tasks, inventory) = (&mut self.tasks, &mut self.inventory);
        let (ledger, entropy) = (&mut self.ledger, &mut *self.entropy);
        ahead::ask(id, tasks, inventory, ledger, &self.gate, at.now, entropy);
        self.drain_task(id, at);
        let (tasks, ledger) = (&mut self.tasks, &mut self.ledger);
        ahead::foresee(id, tasks, &self.inventory, ledger, &self.gate);
    }
}
