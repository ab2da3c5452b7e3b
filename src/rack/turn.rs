//! The end of a turn: whatever follows from its input, until nothing does.
//!
//! Reports go to whoever asked, tasks give their orders, ends are told, and who may begin now begins. Calls nothing of
//! what begins a turn.

use super::Rack;
use super::call::{BatchId, HistoryEntry, PowerState, Refused, TaskId};
use super::clock::Moment;
use super::drift::Late;
use super::gate::is_inrush;
use super::history::entry;
use super::inventory::NodeId;
use super::ledger::{Open, Owner, Parked, Reply};
use super::node::{Effect, Node};
use super::orders::{leave, pass};
use super::schedule::{self, Next};
use super::side::told;
use super::start::{self, Request};
use super::sync;
use super::task::Task;
use crate::bmc::vocabulary::{Delivery, OrderId, Reading, Report, Silence, Trouble};
use crate::entropy::Entropy;
use crate::model::{EventKind, HistoryKind};
use crate::power::{Control, Refusal, State};
use std::time::Duration;

impl Rack {
    /// The last part of every input: who may begin now begins, and who waited hears of it.
    pub(super) fn finish(&mut self, at: Moment) {
        self.outbox.transmits.extend(self.leaving.drain(at.now));
        while let Some(outgoing) = self.gate.next_held(at.now) {
            leave(
                outgoing,
                &mut self.ledger,
                &mut self.tasks,
                &mut self.outbox,
                at.now,
            );
        }
        self.give_turns(at);
        loop {
            match schedule::next(&self.tasks, &self.inventory, &self.gate, at.now) {
                Next::Begin(task) => self.begin(task, at),
                Next::Wait(look_again) => {
                    self.gate.look_again_at(look_again);
                    break;
                }
            }
        }
        self.count_places();
        if self.outbox.has_news() {
            self.answer_waits(false, at);
        }
    }

    /// Makes a task and puts it down; it may begin when that is durable.
    pub(super) fn make_task(
        &mut self,
        id: NodeId,
        request: &Request<'_>,
        at: Moment,
    ) -> Option<TaskId> {
        let node = self.inventory.get_mut(id)?;
        let task = self.tasks.make_id(at.wall, &mut *self.entropy);
        self.tasks.insert(start::make(task, request, id, node, at));
        self.note_milestone(task, at);
        Some(task)
    }

    fn begin(&mut self, id: TaskId, at: Moment) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let (batch, node) = (task.identity.batch, task.node);
        if task.go_on(at)
            && let Some(batch) = batch.and_then(|batch| self.tasks.batch_mut(batch))
        {
            batch.last_start = Some(at.now);
        }
        let Some(id) = node else { return };
        if let Some(node) = self.inventory.get_mut(id) {
            node.bmc.set_wanted(true, at.now);
        }
        self.settle(id, at);
    }

    /// Takes in and hands on whatever a node's BMC and task have, until both are still.
    pub(super) fn settle(&mut self, id: NodeId, at: Moment) {
        loop {
            while let Some((order, report)) = self.next_report(id) {
                self.take_report(order, report, at);
            }
            if let Some(task) = self.inventory.get(id).and_then(|node| node.task) {
                self.run_task(task, at);
            }
            // An order that the task just gave may have its report already, from a BMC that was found dead.
            let more = |node: &Node| node.bmc.has_reports();
            if !self.inventory.get(id).is_some_and(more) {
                break;
            }
        }
        self.watch_identity(id, at);
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        node.reached_late(at.now);
        if let Some(host) = node.bmc.poll_resolve() {
            self.outbox.resolves.push_back((node.settings.uuid, host));
        }
        while let Some(outgoing) = node.bmc.poll_transmit() {
            let (gate, ledger) = (&mut self.gate, &mut self.ledger);
            pass(
                outgoing,
                gate,
                ledger,
                &mut self.tasks,
                &mut self.outbox,
                at.now,
            );
        }
        let learned = node.learned();
        self.inventory.note_address(id);
        if learned {
            self.save_node(id);
        }
        self.set_timer(id);
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
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        node.bmc.handle_timeout(at.now, &mut *self.entropy);
        let task = node.task;
        if let Some(task) = task.and_then(|task| self.tasks.get_mut(task)) {
            task.sequence.handle_timeout(at.now);
        }
        // A task reads the machine itself, unless it is held back.
        let held = task.and_then(|task| self.tasks.get(task));
        let reads = held.map_or(task.is_some(), |task| !task.sequence.is_held());
        let busy = reads || self.gate.stopping;
        let due = node.is_due(at.now);
        let log_ins = if due { self.inventory.log_ins() } else { 0 };
        let interval = self.settings.sync_interval;
        if let Some(node) = self.inventory.get_mut(id)
            && node.sync_is_due(busy, log_ins, interval, at.now)
        {
            self.read_power(id, Owner::Sync, at);
        }
        let late = self.inventory.get_mut(id);
        let late = late.map(|node| node.take_late_calls(at.now));
        self.answer_fresh(id, late.unwrap_or_default(), at);
        if let Some(task) = task {
            self.answer_nmi(task, at);
        }
        self.settle(id, at);
    }

    fn take_report(&mut self, id: OrderId, report: Report, at: Moment) {
        self.counters.reported(&report);
        self.gate.drop_held(id);
        let Some(open) = self.ledger.close(id) else {
            return;
        };
        match open.owner {
            Owner::Task(task) => self.report_to_task(task, id, report, at),
            Owner::Sync => self.synced(open.node, &report, at),
            Owner::Fresh => self.freshly_read(open.node, &report, at),
            Owner::Call(call) => {
                let what = open.order.name();
                if let (Report::Accepted(Reading::PowerUse { watts }), Some(node)) =
                    (&report, self.inventory.get(open.node))
                {
                    let name = node.settings.name.clone();
                    self.counters.watts.insert(name, *watts);
                }
                let report = match open.order.changes_machine() {
                    true => told(&open.order, report),
                    false => report,
                };
                if open.order.changes_machine() {
                    let error = !matches!(report, Report::Accepted(_));
                    self.note_order(open.node, format!("{what}: {report}"), None, error, at);
                }
                let answer = self.answer_of(open.node, what, report);
                self.outbox.answer(call, answer);
            }
            Owner::Plan(call, slot) => {
                if let Report::Accepted(Reading::Power(power)) = report {
                    self.note_reading(open.node, power, at);
                }
                self.planned(call, slot, report, at);
            }
        }
    }

    fn report_to_task(&mut self, id: TaskId, order: OrderId, report: Report, at: Moment) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let node = task.node;
        let power = match &report {
            Report::Accepted(Reading::Power(power)) => Some(*power),
            _ => None,
        };
        task.sequence.await_turn(false, at.now);
        task.sequence.handle_report(order, report, at.now);
        if let (Some(power), Some(node)) = (power, node) {
            self.note_reading(node, power, at);
            // No sync comes while a task runs: what was not known before is known from here on.
            let unknown = |node: &Node| node.memory.shown == PowerState::Unknown;
            if self.inventory.get(node).is_some_and(unknown) {
                self.show(node, power, at);
            }
        }
        self.answer_nmi(id, at);
    }

    /// Takes the order of a task back: it knows whether it can have left.
    pub(super) fn take_back(&mut self, id: TaskId, order: OrderId, text: &str, at: Moment) {
        let taken = self.withdraw(order, at);
        let delivery = taken.map_or(Delivery::NotSent, |(_, delivery)| delivery);
        self.report_to_task(id, order, withdrawn(delivery, text), at);
    }

    /// The daemon goes down: an order that changes power and has not left by now never will, and its task knows it.
    pub(super) fn take_back_unsent(&mut self, id: TaskId, at: Moment) {
        let unsent = |(_, open): &(OrderId, &Open)| open.order.changes_power() && !open.left;
        if let Some((order, _)) = self.ledger.of_task(id).filter(unsent) {
            self.take_back(id, order, "the daemon stopped before it was sent", at);
            self.settle_task(id, at);
        }
    }

    /// A rollback cannot be suspended. While the rack is paused it gives no order, its patience stands still, and the
    /// order that it gave before is taken back where it has not been answered.
    pub(super) fn hold_back(&mut self, id: TaskId, at: Moment) {
        let task = self.tasks.get(id);
        if task.is_none_or(|task| task.state() != State::RollingBack) {
            return;
        }
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

    /// Lets the task's sequence give its orders, and takes back those that it does not want any more.
    fn run_task(&mut self, id: TaskId, at: Moment) {
        while let Some(task) = self.tasks.get_mut(id) {
            if let Some(order) = task.sequence.withdrawn() {
                self.take_back(id, order, "withdrawn", at);
                continue;
            }
            let busy = self.ledger.of_task(id).is_some() || self.gate.stopping;
            let Some(node) = task.node.filter(|_| task.admitted && !busy) else {
                break;
            };
            let Some(order) = task.sequence.poll_order(self.ledger.next_id()) else {
                break;
            };
            let inrush = is_inrush(&order);
            let order = self.ledger.enter(node, Owner::Task(id), order);
            if self.ledger.unwritten_of(id).is_none() {
                self.submit(order, at);
            } else if !inrush || self.has_turn(id, order, at) {
                self.write_ahead(order, at);
            }
        }
        self.note_milestone(id, at);
    }

    /// What waited for the journal may happen now.
    pub(super) fn release(&mut self, parked: Parked, at: Moment) {
        match parked {
            Parked::Order(order) => self.release_order(order, at),
            Parked::Admit(tasks, call, reply) => {
                for id in tasks {
                    if let Some(task) = self.tasks.get_mut(id) {
                        task.admitted = true;
                    }
                }
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
        match open.owner {
            Owner::Task(task) if self.gate.stopping => {
                self.take_back(task, order, "the daemon is shutting down", at);
            }
            _ => self.submit(order, at),
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
                Some(Owner::Sync | Owner::Fresh | Owner::Plan(..)) | None => {}
            },
            Parked::Admit(tasks, call, reply) => {
                // The caller of an NMI may have its answer: it waits five seconds only.
                let waits = |id: &TaskId| self.tasks.get(*id).is_some_and(|t| t.nmi_call.is_some());
                let answered = matches!(reply, Reply::Nmi) && !tasks.iter().any(waits);
                for id in tasks {
                    self.drop_task(id);
                }
                if !answered {
                    self.outbox
                        .answer(call, Err(Refused::Store(why.to_owned())));
                }
            }
            // A control was carried out, and the next life of the daemon does not know of it.
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

    /// A task that was never taken on leaves no trace.
    fn drop_task(&mut self, id: TaskId) {
        let task = self.tasks.drop_task(id, &mut self.ledger);
        let node = task.and_then(|task| task.node);
        if let Some(node) = node.and_then(|node| self.inventory.get_mut(node)) {
            // One that was aborted meanwhile may have left the node to another.
            node.task.take_if(|other| *other == id);
        }
    }

    /// Uses a control on a task. When this returns, what the control promises holds: after an abort, a cancel or a
    /// suspension no further datagram of the task's orders is handed out.
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
        let suspended = task.state() == State::Suspended;
        if let Some(node) = task.node
            && let Some(place) = self.inventory.get_mut(node)
        {
            place.bmc.set_wanted(!suspended, at.now);
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

    /// Whether the task is the one that has its node.
    pub(super) fn has_its_node(&self, id: TaskId) -> bool {
        let node = self.tasks.get(id).and_then(|task| task.node);
        let node = node.and_then(|node| self.inventory.get(node));
        node.is_some_and(|node| node.task == Some(id))
    }

    /// Where a task has come on, its record and an event say so; where it has ended, everything that follows is done.
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
        self.tasks.close(id, at.wall);
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let Some(outcome) = task.sequence.outcome().cloned() else {
            return;
        };
        let (node, batch) = (task.node, task.identity.batch);
        let operation = task.identity.operation;
        let took = at.wall.since(task.identity.requested_at);
        self.counters.ended(operation, outcome.state, took);
        let failed = matches!(outcome.state, State::Failed | State::Stuck);
        let level = if failed {
            log::Level::Warn
        } else {
            log::Level::Info
        };
        let text = format!("{operation} {}: {}", outcome.state, outcome.text);
        log::log!(level, "{}: {text}", task.identity.node);
        let stopped = matches!(outcome.state, State::Cancelled | State::Aborted);
        let keeps_shown = stopped && !task.has_ordered();
        let next_sync = match sync::is_open(&outcome) {
            true => jittered(sync::SOON_AFTER, &mut *self.entropy),
            false => self.settings.sync_interval,
        };
        if let Some(node_id) = node
            && let Some(node) = self.inventory.get_mut(node_id)
        {
            // One that sent nothing says nothing of what another one may still do.
            if outcome.state != State::Cancelled && task.has_ordered() {
                node.memory.late = Late::of(task, at.wall);
            }
            let entry = HistoryEntry {
                task: Some(id),
                by: Some(task.identity.requested_by.name.clone()),
                ..entry(HistoryKind::Task, text, failed || outcome.error, at)
            };
            let mut effects = node.free(operation, &outcome, keeps_shown, next_sync, at);
            effects.push(Effect::History(entry));
            self.carry_out(node_id, effects, at);
        }
        self.answer_nmi(id, at);
        if let Some(batch) = batch {
            self.batch_went_on(batch, failed, at);
        }
        let keep = self.settings.history_keep;
        self.tasks.forget_old(keep, at.wall, &mut self.ledger);
    }

    /// One of the batch's tasks has ended.
    pub(super) fn batch_went_on(&mut self, id: BatchId, failed: bool, at: Moment) {
        let by = format!("batch {id}, which stops at the first failure");
        let cancelled = self.tasks.stop_batch(id, failed);
        let stops = cancelled.is_some();
        for task in cancelled.unwrap_or_default() {
            let _ = self.control(task, Control::Cancel, &by, at);
        }
        let ended = self.tasks.batch_went_on(id, at.wall);
        if stops || ended {
            self.tasks.save_batch(id, &mut self.ledger);
        }
        if ended {
            self.announce(EventKind::Batch, format!("batch {id} ended"), at);
        }
    }
}

/// Within a fifth of `duration` on either side.
fn jittered(duration: Duration, entropy: &mut dyn Entropy) -> Duration {
    let spread = u64::try_from(duration.as_millis() / 5).unwrap_or(u64::MAX / 4);
    duration - Duration::from_millis(spread) + Duration::from_millis(entropy.below(2 * spread + 1))
}

pub(super) fn withdrawn(delivery: Delivery, text: &str) -> Report {
    Report::Unanswered(Silence {
        delivery,
        trouble: Trouble::Withdrawn,
        text: text.to_owned(),
    })
}
