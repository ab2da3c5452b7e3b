//! The turn: what an input leads to, until nothing more follows. Reports go to whoever asked, tasks
//! give their orders, ends are told, and who may begin now begins.
//!
//! Here the work of the parts is put together. Reports, orders, controls and ends lead to one
//! another, over all nodes of a batch, which is why they are in one file.

use super::call::{CallId, Refused};
use super::clock::Moment;
use super::inventory::{Inventory, NodeId};
use super::ledger::{Open, Owner, Parked, Reply};
use super::node::Node;
use super::orders::{self, leave, pass, withdrawn};
use super::reload::Change;
use super::schedule::{self, Next};
use super::sweeps::Asker;
use super::task::Task;
use super::tasks::Tasks;
use super::{Rack, admission, ahead, identity, side, sync};
use crate::bmc::Outgoing;
use crate::bmc::vocabulary::{OrderId, Reading, Report};
use crate::model::{BatchId, Control, Delivery, EventKind, Power, Short, TaskId, TaskState};
use crate::power::Refusal;

/// What follows, over and over until nothing does.
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
        orders::give_turns(
            &mut self.inventory,
            &mut self.tasks,
            &mut self.ledger,
            &mut self.gate,
            at,
        );
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
            if pass(outgoing, gate, ledger, tasks, outbox, at.now) {
                self.note_left(&left, at);
            }
        }
        while let Some(outgoing) = self.gate.next_held(at.now) {
            self.note_left(&outgoing, at);
            let (ledger, tasks) = (&mut self.ledger, &mut self.tasks);
            leave(outgoing, ledger, tasks, &mut self.outbox, at.now);
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
        let Some(place) = node else { return };
        if let Some(node) = self.inventory.get_mut(place) {
            // A task speaks to the BMC again and again: its session stays open.
            node.bmc.set_wanted(true, at.now);
        }
        if begins
            && let Some((order, report)) =
                ahead::take_up(id, &mut self.tasks, &mut self.ledger, at.now)
        {
            self.report_to_task(id, order, report, at);
        }
        self.settle(place, at);
    }

    /// Takes in and hands on whatever a node's BMC and task have, until both are still.
    pub(super) fn settle(&mut self, id: NodeId, at: Moment) {
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
        }
        self.look_up(id);
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        while let Some(outgoing) = node.bmc.poll_transmit() {
            let (gate, ledger) = (&mut self.gate, &mut self.ledger);
            let (tasks, outbox) = (&mut self.tasks, &mut self.outbox);
            let shown = node.bmc.show(&outgoing);
            if pass(outgoing, gate, ledger, tasks, outbox, at.now) {
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

    pub(super) fn settle_task(&mut self, task: TaskId, at: Moment) {
        if let Some(node) = self.tasks.get(task).and_then(|task| task.node) {
            self.settle(node, at);
        }
    }

    fn next_report(&mut self, id: NodeId) -> Option<(OrderId, Report)> {
        self.inventory.get_mut(id)?.bmc.poll_report()
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
        self.settle(id, at);
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

    fn report_to_task(&mut self, id: TaskId, order: OrderId, report: Report, at: Moment) {
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
        self.settle_task(id, at);
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
            let order = put_down.unwrap_or_else(|| self.ledger.take_id());
            let owner = Owner::Task(id);
            self.ledger.enter_as(order, node, owner, wanted, leads);
            if self.ledger.unwritten_of(id).is_none() {
                // What only reads has nothing to be written ahead (rule 1).
                self.submit(order, at);
            } else if put_down.is_some() && self.gate.permission.holds(at.now) {
                // It is durable already, with the task (rule 1).
                self.ledger.note_put_down(order);
                self.submit(order, at);
            } else {
                let (inventory, tasks) = (&mut self.inventory, &mut self.tasks);
                let (ledger, gate) = (&mut self.ledger, &mut self.gate);
                orders::set_out(order, inventory, tasks, ledger, gate, at);
            }
        }
        self.note_milestone(id, at);
    }

    /// What waited for the journal may happen now.
    pub(super) fn release(&mut self, parked: Parked, at: Moment) {
        match parked {
            Parked::Order(order) => self.release_order(order, at),
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

    fn release_order(&mut self, order: OrderId, at: Moment) {
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
        self.settle(node, at);
    }

    /// What waited for the journal must not happen: it could not be written.
    pub(super) fn refuse_parked(&mut self, parked: Parked, why: &str, at: Moment) {
        match parked {
            Parked::Order(order) => match self.ledger.get(order).map(|open| open.owner) {
                Some(Owner::Task(task)) => {
                    let text = format!("the journal cannot be written, so nothing was sent: {why}");
                    self.take_back(task, order, &text, at);
                    self.settle_task(task, at);
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
            && let Some(place) = self.inventory.get_mut(node)
        {
            place.bmc.set_wanted(!suspended, at.now);
            // The node may have another task by now, for which this control changes nothing.
            if place.task == Some(id) {
                self.settle(node, at);
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

    /// Somebody wants a reading that is not older than the request.
    pub(super) fn read_fresh(&mut self, id: NodeId, asker: Asker, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        if node.wants_fresh(asker, at.now) {
            self.read_power(id, Owner::Fresh, at);
        }
        self.settle(id, at);
    }

    /// The reading that a new task begins with leaves beside the writing of its record.
    pub(super) fn look_ahead(&mut self, id: TaskId, at: Moment) {
        let (tasks, inventory) = (&mut self.tasks, &mut self.inventory);
        let (ledger, entropy) = (&mut self.ledger, &mut *self.entropy);
        ahead::ask(id, tasks, inventory, ledger, &self.gate, at.now, entropy);
        self.settle_task(id, at);
        let (tasks, ledger) = (&mut self.tasks, &mut self.ledger);
        ahead::foresee(id, tasks, &self.inventory, ledger, &self.gate);
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
fn node_and_task<'a>(
    id: NodeId,
    inventory: &'a mut Inventory,
    tasks: &'a mut Tasks,
) -> Option<(&'a mut Node, Option<&'a mut Task>)> {
    let node = inventory.get_mut(id)?;
    let task = node.task.and_then(|task| tasks.get_mut(task));
    Some((node, task))
}
