//! What reports lead to, until nothing more follows: they go to whoever asked, tasks give their
//! orders, ends are told.
//!
//! Here the work of the parts is put together. Reports, orders, controls and ends lead to one
//! another, over all nodes of a batch, which is why they are in one file.

use super::call::{CallId, Refused};
use super::clock::Moment;
use super::inventory::{Inventory, NodeId};
use super::ledger::{Open, Owner};
use super::node::Node;
use super::orders::{self, Orders, transmit, withdrawn};
use super::reload::Change;
use super::sweeps::Asker;
use super::task::Task;
use super::tasks::Tasks;
use super::{Rack, ahead, identity, side, sync};
use crate::bmc::vocabulary::{OrderId, Reading, Report};
use crate::model::{BatchId, Control, Delivery, EventKind, Power, Short, TaskId, TaskState};
use crate::power::Refusal;

/// What follows, over and over until nothing does.
impl Rack {
    /// Takes in and hands on whatever a node's BMC and task have, until both are still.
    pub(super) fn drain_node(&mut self, id: NodeId, at: Moment) {
        loop {
            while let Some((order, report)) = self.next_report(id) {
                self.take_report(id, order, report, at);
            }
            if let Some(task) = self.inventory.get(id).and_then(|node| node.task) {
                self.run_task(task, at);
            }
            // An order that the task just gave may have its report already, from a BMC that was
            // found dead.
            let more = |node: &Node| node.bmc.has_reports();
            if !self.inventory.get(id).is_some_and(more) {
                break;
            }
        }
        for (node, told) in identity::watch_twins(&mut self.inventory, id, at) {
            self.carry_out(node, told, at);
            self.look_up(node);
        }
        self.watch_identity(id, at);
        if let Some(node) = self.inventory.get_mut(id) {
            node.reached_late(at.now);
            self.texts.share(&mut node.bmc);
        }
        self.look_up(id);
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        while let Some(outgoing) = node.bmc.poll_transmit() {
            let (gate, ledger) = (&mut self.gate, &mut self.ledger);
            let (tasks, outbox) = (&mut self.tasks, &mut self.outbox);
            let shown = node.bmc.show(&outgoing);
            if transmit(outgoing, gate, ledger, tasks, outbox, at.now) {
                node.bmc.note_left(shown, at.now);
            }
        }
        if node.learned() {
            node.save(&mut self.ledger);
        }
        self.log_ins.note(id, node.bmc.log_in_heard(), at.now);
        self.traces.note(id, &mut self.inventory);
        orders::set_timer(id, &mut self.inventory, &self.tasks);
    }

    fn next_report(&mut self, id: NodeId) -> Option<(OrderId, Report)> {
        self.inventory.get_mut(id)?.bmc.poll_report()
    }

    fn take_report(&mut self, node: NodeId, id: OrderId, mut report: Report, at: Moment) {
        // A datagram that was held once left after its order's report, and after an answered abort.
        self.gate.drop_held(id);
        let Some(open) = self.ledger.close(id) else {
            return self.take_late_report(node, id, report, at);
        };
        if let Report::Refused(refusal) = &mut report {
            // A datagram that waited for the distance between power-ons may never have left.
            refusal.unanswered = refusal.unanswered.min(open.left.saturating_sub(1));
        }
        if let Report::Unanswered(silence) = &mut report
            && open.left == 0
        {
            // The gate kept back whatever the BMC's room gave out: nothing can have arrived.
            silence.delivery = Delivery::NotSent;
        }
        self.counters.reported(&report);
        let power = match &report {
            Report::Accepted(Reading::Power(power)) => Some(*power),
            Report::Accepted(_) | Report::Refused(_) | Report::Unanswered(_) => None,
        };
        match open.owner {
            Owner::Task(task) => self.report_to_task(task, id, report, at),
            Owner::Ahead(task) => ahead::came(task, id, report, &mut self.tasks),
            Owner::Sync => self.synced(open.node, power, &report, at),
            Owner::Fresh => {
                if let Some(node) = self.inventory.get_mut(open.node) {
                    node.fresh_ended(power.is_some(), at.now);
                }
                // Noted before it is answered, so that the view which
                // callers get shows this reading.
                self.note_reading(open.node, power, open.owner, at);
                let calls = self.inventory.get_mut(open.node);
                let calls = calls.map(|node| node.take_calls());
                self.answer_fresh(open.node, calls.unwrap_or_default(), power.is_some(), at);
            }
            Owner::Call(call) => self.answer_order(call, &open, report, at),
            Owner::Plan(call, slot) => {
                self.note_reading(open.node, power, open.owner, at);
                self.planned(call, slot, report, at);
            }
        }
    }

    /// The order was reported unanswered before, and accepted after all: its task knows more now,
    /// if it is under way.
    fn take_late_report(&mut self, node: NodeId, id: OrderId, report: Report, at: Moment) {
        let node = self.inventory.get(node);
        let Some(task) = node.and_then(|node| node.task) else {
            return;
        };
        if let Some(task) = self.tasks.get_mut(task) {
            task.sequence.handle_report(id, report, at.now);
        }
        self.answer_nmi(task, at);
    }

    fn answer_order(&mut self, call: CallId, open: &Open, report: Report, at: Moment) {
        if let Some(node) = self.inventory.get_mut(open.node) {
            node.watch_restart(&open.order, &report, at);
        }
        let node = self.inventory.get(open.node);
        if let (Report::Accepted(Reading::PowerUse { watts }), Some(node)) = (&report, node) {
            let name = node.name().to_owned();
            self.counters.watts.insert(name, *watts);
        }
        let changes = open.order.changes_machine();
        // Rule 2: where an order may have changed the machine, its silence
        // says whether it may have arrived.
        let report = match changes {
            true => side::told(&open.order, report),
            false => report,
        };
        let error = !report.is_accepted();
        let text = format!("{}: {report}", open.order.name());
        let answer = side::answer(open, report, node);
        if changes {
            self.note_order(open.node, text, None, error, at);
        }
        self.outbox.answer(call, answer);
    }

    /// The periodic sync of a node has its report.
    fn synced(&mut self, id: NodeId, power: Option<Power>, report: &Report, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        node.sync_ended(self.settings.sync_interval, at.now);
        let mut effects = node.look_at_restart(report, at);
        // A BMC that restarts is silent for a while: that is no fault.
        if power.is_none() && node.restart.is_none() {
            effects.extend(node.sync_failed(report, &self.settings, at));
        }
        self.carry_out(id, effects, at);
        self.note_reading(id, power, Owner::Sync, at);
    }

    pub(super) fn report_to_task(
        &mut self,
        id: TaskId,
        order: OrderId,
        report: Report,
        at: Moment,
    ) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let power = match &report {
            Report::Accepted(Reading::Power(power)) => Some(*power),
            Report::Accepted(_) | Report::Refused(_) | Report::Unanswered(_) => None,
        };
        // An order that was taken back while it waited for its turn
        // keeps its task's clock no longer.
        task.sequence.await_turn(false, at.now);
        task.sequence.handle_report(order, report, at.now);
        if let Some(node) = task.node {
            self.note_reading(node, power, Owner::Task(id), at);
        }
        self.answer_nmi(id, at);
    }

    /// A reading is remembered, whoever asked for it; the node's task takes it in, and it is shown
    /// where that is right.
    fn note_reading(&mut self, id: NodeId, power: Option<Power>, owner: Owner, at: Moment) {
        let (inventory, tasks) = (&mut self.inventory, &mut self.tasks);
        let (Some(power), Some((node, task))) = (power, node_and_task(id, inventory, tasks)) else {
            return;
        };
        let shows = sync::shows(owner, task.is_some(), node.memory.shown);
        // What the task's own order brings is no drift: the task tells of it itself.
        let explained = task.as_ref().is_some_and(|task| task.has_left());
        // The task's own readings reach it as reports; those of others make it look sooner.
        if let (Owner::Sync | Owner::Fresh, Some(task)) = (owner, task) {
            task.sequence.observe_power(power, at.now);
        }
        let effects = node.note_reading(power, explained, self.settings.sync_interval, at);
        self.carry_out(id, effects, at);
        if shows && let Some(node) = self.inventory.get_mut(id) {
            let effects = node.show(power, at);
            self.carry_out(id, effects, at);
        }
    }

    /// Takes the order of a task back: it knows whether it can have left.
    pub(super) fn take_back(&mut self, id: TaskId, order: OrderId, text: &str, at: Moment) {
        let taken = self.withdraw(order, at);
        let delivery = taken.map_or(Delivery::NotSent, |(_, delivery)| delivery);
        self.report_to_task(id, order, withdrawn(delivery, text), at);
    }

    /// The task of a node whose BMC is another one stands still.
    fn watch_identity(&mut self, id: NodeId, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        let alarm = node.take_alarm(at);
        // Rule 12: a BMC that may be another machine's gets no order that changes power.
        let suspends = identity::to_suspend(node, &self.tasks);
        self.carry_out(id, alarm, at);
        if let Some((task, why)) = suspends
            && self.control(task, Control::Suspend, &why, at).is_ok()
        {
            self.announce_task(task, format!("suspended: {why}"), at);
        }
    }

    /// Passes the name of its BMC on, where that wants to be looked up.
    fn look_up(&mut self, id: NodeId) {
        if let Some(node) = self.inventory.get_mut(id)
            && let Some(host) = node.bmc.poll_resolve()
        {
            self.outbox.resolves.push_back((node.settings.uuid, host));
        }
    }

    /// Lets the task's sequence give its orders, and takes back those that it does not want any
    /// more.
    fn run_task(&mut self, id: TaskId, at: Moment) {
        while let Some(task) = self.tasks.get_mut(id) {
            if let Some(order) = task.sequence.withdrawn() {
                self.take_back(id, order, "withdrawn", at);
                continue;
            }
            // A task has one order under way; a rack that stops, or that
            // another host may have, asks nothing.
            let busy = self.ledger.of_task(id).is_some() || self.gate.is_still();
            let Some(node) = task.node.filter(|_| task.admitted && !busy) else {
                break;
            };
            let put_down = ahead::put_down(task);
            let number = put_down.unwrap_or_else(|| self.ledger.next_id());
            let Some(wanted) = task.sequence.poll_order(number) else {
                break;
            };
            let leads = task.sequence.leads_to_change();
            let owner = Owner::Task(id);
            self.ledger.enter_as(number, node, owner, wanted, leads);
            if self.ledger.unwritten_of(id).is_none() {
                // What only reads has nothing to be written ahead (rule 1).
                self.submit(number, at);
            } else if put_down.is_some() && self.gate.permission.holds(at.now) {
                // It is durable already, with the task (rule 1).
                self.ledger.note_put_down(number);
                self.submit(number, at);
            } else {
                self.orders(at).set_out(number);
            }
        }
        self.note_milestone(id, at);
    }

    /// Orders of tasks, as they are written down.
    pub(super) fn orders(&mut self, at: Moment) -> Orders<'_> {
        Orders {
            inventory: &mut self.inventory,
            tasks: &mut self.tasks,
            ledger: &mut self.ledger,
            gate: &mut self.gate,
            at,
        }
    }

    /// Uses a control on a task. When this returns, what the control promises holds: after an
    /// abort, a cancel or a suspension no further datagram of the task's orders is handed out.
    pub(super) fn control(
        &mut self,
        id: TaskId,
        control: Control,
        by: &str,
        at: Moment,
    ) -> Result<(), Refusal> {
        let Some(task) = self.tasks.get_mut(id) else {
            return Ok(());
        };
        task.control(control, by, at)?;
        let version = task.identity.version;
        let suspended = task.state() == TaskState::Suspended;
        let (node, ahead) = (task.node, task.ahead.take());
        // What the task was put down with is not given any more, and the record of this control
        // says so.
        task.foresight = None;
        // The early reading is taken back: a task that goes on later looks for itself.
        if let Some(ahead) = ahead {
            self.withdraw(ahead.order, at);
        }
        if let Some(node) = node
            && let Some(held) = self.inventory.get_mut(node)
        {
            held.bmc.set_wanted(!suspended, at.now);
            // The node may have another task by now, for which this control changes nothing.
            if held.task == Some(id) {
                self.drain_node(node, at);
            }
        }
        // The list of controls is new even where nothing else is.
        self.note_milestone(id, at);
        let task = self.tasks.get(id);
        if task.is_some_and(|task| task.identity.version == version) {
            self.tasks.save(id, &mut self.ledger, at);
        }
        Ok(())
    }

    /// Where a task has come on, its record and an event say so; where it has ended, everything
    /// that follows is done.
    pub(super) fn note_milestone(&mut self, id: TaskId, at: Moment) {
        let Some(news) = self.tasks.get_mut(id).and_then(Task::news) else {
            return;
        };
        if news.ended {
            self.end_task(id, at);
        }
        self.tasks.save(id, &mut self.ledger, at);
        self.announce_task(id, news.text, at);
    }

    fn end_task(&mut self, id: TaskId, at: Moment) {
        // Closed first: what follows from an end asks which tasks are still open.
        self.tasks.close(id, at.wall);
        let task = self.tasks.get(id);
        let Some((task, outcome)) = task.and_then(|task| Some((task, task.sequence.outcome()?)))
        else {
            return;
        };
        let failed = outcome.state.has_failed();
        self.counters.ended(task, outcome.state, at);
        let batch = task.identity.batch;
        let interval = self.settings.sync_interval;
        // An end that leaves open what the machine does is followed by a reading within seconds.
        let next_sync = sync::next_after(outcome, interval, &mut *self.entropy);
        if let Some(id) = task.node
            && let Some(node) = self.inventory.get_mut(id)
        {
            let effects = node.task_ended(task, outcome, next_sync, at);
            self.carry_out(id, effects, at);
        }
        self.answer_nmi(id, at);
        if let Some(batch) = batch {
            self.batch_went_on(batch, failed, at);
        }
    }

    /// One of the batch's tasks has ended.
    pub(super) fn batch_went_on(&mut self, id: BatchId, failed: bool, at: Moment) {
        let by = format!(
            "batch {}, which stops at the first failure",
            Short::batch(id)
        );
        let cancelled = self.tasks.stop_batch(id, failed);
        let stops = cancelled.is_some();
        for task in cancelled.unwrap_or_default() {
            // A refusal is no fault: the task has ended in between.
            let _ = self.control(task, Control::Cancel, &by, at);
        }
        let ended = self.tasks.batch_went_on(id, at.wall);
        if stops || ended {
            self.tasks.save_batch(id, &mut self.ledger);
        }
        if ended {
            self.announce(
                EventKind::Batch,
                format!("batch {} ended", Short::batch(id)),
                at,
            );
        }
    }

    /// The node is gone or its BMC is elsewhere: whoever asked for an order that was taken back
    /// hears what is known of it.
    pub(super) fn end_side_order(
        &mut self,
        open: &Open,
        change: Change,
        delivery: Delivery,
        at: Moment,
    ) {
        let text = change.words(delivery);
        let node = self.inventory.get_mut(open.node);
        match open.owner {
            // A node with a task neither goes nor moves (`reload::check`), and a sync comes again.
            Owner::Task(_) | Owner::Ahead(_) | Owner::Sync => {}
            Owner::Fresh => {
                let Some(node) = node else { return };
                for asker in node.take_calls() {
                    match asker {
                        Asker::Call(call) => {
                            let refused = Refused::NoSuchNode(node.settings.name.to_string());
                            self.outbox.answer(call, Err(refused));
                        }
                        Asker::Sweep(sweep) => self.sweeps.note(sweep, open.node, false),
                    }
                }
            }
            Owner::Plan(call, slot) => self.planned(call, slot, withdrawn(delivery, text), at),
            Owner::Call(call) => {
                let answer = side::unanswered(open, delivery, node.as_deref(), text);
                self.outbox.answer(call, Err(answer));
                if open.order.changes_machine() {
                    let text = format!("{}: {text}", open.order.name());
                    self.note_order(open.node, text, None, true, at);
                }
            }
        }
    }

    pub(super) fn read_power(&mut self, id: NodeId, owner: Owner, at: Moment) {
        let (inventory, ledger) = (&mut self.inventory, &mut self.ledger);
        orders::read_power(id, owner, inventory, ledger, at.now, &mut *self.entropy);
    }

    pub(super) fn submit(&mut self, order: OrderId, at: Moment) {
        let (inventory, ledger) = (&mut self.inventory, &mut self.ledger);
        orders::submit(order, inventory, ledger, at.now, &mut *self.entropy);
    }

    /// Takes an order back, wherever it is, and says whether it can have left.
    pub(super) fn withdraw(&mut self, order: OrderId, at: Moment) -> Option<(Open, Delivery)> {
        let node = self.ledger.get(order)?.node;
        let bmc = &mut self.inventory.get_mut(node)?.bmc;
        let (gate, outbox) = (&mut self.gate, &mut self.outbox);
        self.ledger
            .withdraw(order, bmc, gate, outbox, at.now, &mut *self.entropy)
    }
}

/// A node, and the task that has it.
pub(super) fn node_and_task<'a>(
    id: NodeId,
    inventory: &'a mut Inventory,
    tasks: &'a mut Tasks,
) -> Option<(&'a mut Node, Option<&'a mut Task>)> {
    let node = inventory.get_mut(id)?;
    let task = node.task.and_then(|task| tasks.get_mut(task));
    Some((node, task))
}
