//! Driving tasks: their orders to the BMCs, written ahead where they change power; the reports back; their ends.

use super::call::{Answer, CallId, PowerState, Refused, TaskId};
use super::events::Happening;
use super::inventory::NodeId;
use super::record::Table;
use super::task::{Milestone, Pending, Stage};
use super::{Rack, schedule};
use crate::bmc::Purpose;
use crate::bmc::vocabulary::{Delivery, Order, OrderId, Reading, Report, Silence, Trouble};
use crate::model::{EventKind, HistoryKind};
use crate::power::{Operation, State};
use crate::time::Instant;

/// Who gets the report of an order.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// A task's sequence.
    Task(TaskId),
    /// The power sync of a node.
    Sync(NodeId),
    /// Those who asked for a fresh reading of a node.
    Fresh(NodeId),
    /// A call, about a node.
    Call(CallId, NodeId, &'static str),
    /// A call for an order that may change the machine.
    Expert(CallId, NodeId, &'static str),
    /// A batch's dry run: its call, the node, and the number of the node in the plan.
    Plan(CallId, NodeId, usize),
}

impl Owner {
    /// The node that an order outside tasks is about.
    pub(super) fn side_node(&self) -> Option<NodeId> {
        match self {
            Owner::Task(_) => None,
            Owner::Sync(node) | Owner::Fresh(node) => Some(*node),
            Owner::Call(_, node, _) | Owner::Expert(_, node, _) | Owner::Plan(_, node, _) => {
                Some(*node)
            }
        }
    }
}

/// What waits for the journal.
#[derive(Debug)]
pub(super) enum Parked {
    /// An order of a task.
    Order(TaskId, OrderId),
    /// An order outside any task that may change the machine.
    Expert(OrderId, Order),
    /// New tasks, which then may begin, and the answer to the call that made them.
    Admit(Vec<TaskId>, CallId, Reply),
    /// An answer.
    Reply(CallId, Reply),
}

/// An answer that is made when it is given, so that it tells the present.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// To `SetPower`.
    Taken(TaskId),
    /// A task.
    Task(TaskId),
    /// The answer comes when the BMC has answered the NMI.
    Nmi,
    /// A node, which may have another place, or none, by then.
    Node(uuid::Uuid),
    /// A batch.
    Batch(super::call::BatchId),
    /// The pause.
    Pausing,
}

impl Rack {
    /// Gives the call its answer as soon as all that was put down by now is durable.
    pub(super) fn reply_when_durable(&mut self, call: CallId, reply: Reply, now: Instant) {
        if self.journal.is_pending() {
            self.journal.park(Parked::Reply(call, reply));
        } else {
            self.reply(call, &reply, now);
        }
    }

    /// What waited for the journal may happen now.
    pub(super) fn release(&mut self, parked: Parked, now: Instant) {
        match parked {
            Parked::Order(task, order) => self.submit_order(task, order, now),
            Parked::Expert(id, order) => self.submit_expert(id, order, now),
            Parked::Admit(tasks, call, reply) => {
                for id in tasks {
                    if let Some(task) = self.tasks.get_mut(&id) {
                        task.admitted = true;
                    }
                    self.count_task(id);
                }
                self.unscheduled = true;
                self.reply(call, &reply, now);
            }
            Parked::Reply(call, reply) => self.reply(call, &reply, now),
        }
    }

    /// What waited for the journal must not happen: it could not be written.
    pub(super) fn refuse_parked(&mut self, parked: Parked, why: &str, now: Instant) {
        match parked {
            Parked::Order(id, order) => {
                let text = format!("the journal cannot be written, so nothing was sent: {why}");
                self.report_to_task(id, order, withdrawn(Delivery::NotSent, &text), now);
                self.settle_task(id, now);
            }
            Parked::Expert(id, _) => {
                if let Some(Owner::Expert(call, ..)) = self.owners.remove(&id) {
                    self.answer(call, Err(Refused::Store(why.to_owned())));
                }
            }
            Parked::Admit(tasks, call, reply) => {
                // The caller of an NMI may have its answer: it waits five seconds only.
                let waits = |id: &TaskId| self.tasks.get(id).is_some_and(|t| t.nmi_call.is_some());
                let answered = matches!(reply, Reply::Nmi) && !tasks.iter().any(waits);
                for id in tasks {
                    self.drop_task(id);
                }
                if !answered {
                    self.answer(call, Err(Refused::Store(why.to_owned())));
                }
            }
            // A control was carried out, and the next life of the daemon does not know of it.
            Parked::Reply(call, _) => self.answer(call, Err(Refused::Unremembered(why.to_owned()))),
        }
    }

    fn reply(&mut self, call: CallId, reply: &Reply, now: Instant) {
        let answer = match reply {
            Reply::Taken(task) => Ok(Answer::Taken(self.task_view(*task, now))),
            Reply::Task(task) => self
                .task_view(*task, now)
                .map(Answer::Task)
                .ok_or(Refused::NoSuchTask(*task)),
            Reply::Nmi => return,
            Reply::Node(uuid) => match self.inventory.with_uuid(*uuid) {
                Some(node) => Ok(Answer::Node(self.node_view(node, now))),
                None => Err(Refused::NoSuchNode(uuid.to_string())),
            },
            Reply::Batch(batch) => self
                .batch_view(*batch, now)
                .map(Answer::Batch)
                .ok_or(Refused::NoSuchBatch(*batch)),
            Reply::Pausing => Ok(Answer::Pausing(
                self.pause.as_ref().map(|pause| pause.hold.clone()),
            )),
        };
        self.answer(call, answer);
    }

    /// Takes in and hands on whatever a node's BMC and task have, until both are still.
    pub(super) fn settle(&mut self, node: NodeId, now: Instant) {
        loop {
            while let Some((id, report)) = self.inventory[node].bmc.poll_report() {
                self.handle_report(id, report, now);
            }
            if let Some(task) = self.inventory[node].task {
                self.run_task(task, now);
            }
            // An order that the task just gave may have its report already, from a BMC that was found dead.
            if !self.inventory[node].bmc.has_reports() {
                break;
            }
        }
        self.reached_late(node, now);
        if let Some(host) = self.inventory[node].bmc.poll_resolve() {
            self.resolves
                .push_back((self.inventory[node].settings.uuid, host));
        }
        while let Some(outgoing) = self.inventory[node].bmc.poll_transmit() {
            self.hand_over(outgoing, now);
        }
        self.inventory.note_address(node);
        self.note_knowledge(node);
        self.set_timer(node);
    }

    /// A rollback cannot be suspended. While the rack is paused it gives no order, its patience stands still, and the
    /// order that it gave before is taken back where it has not been answered.
    pub(super) fn hold_back(&mut self, id: TaskId, now: Instant) {
        let Some(task) = self.tasks.get(&id) else {
            return;
        };
        if task.state() != State::RollingBack {
            return;
        }
        let changing = |pending: &&Pending| pending.order.changes_power();
        if let Some(order) = task.pending.as_ref().filter(changing).map(|order| order.id) {
            let delivery = self.take_back(id, order, now);
            let text = "held back when the rack was paused";
            self.report_to_task(id, order, withdrawn(delivery, text), now);
        }
        self.hold_task(id, true, now);
    }

    /// Lets a rollback stand still, or go on.
    pub(super) fn hold_task(&mut self, id: TaskId, held: bool, now: Instant) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.sequence.hold(held, now);
        }
        self.settle_task(id, now);
    }

    pub(super) fn settle_task(&mut self, task: TaskId, now: Instant) {
        if let Some(node) = self.tasks.get(&task).and_then(|task| task.node) {
            self.settle(node, now);
        }
    }

    /// The node's timer is the earliest of its BMC's, its task's and its own.
    pub(super) fn set_timer(&mut self, node: NodeId) {
        let task = self.inventory[node].task.and_then(|id| self.tasks.get(&id));
        let sequence = task.and_then(|task| task.sequence.poll_timeout());
        let nmi = task.and_then(|task| task.nmi_call).map(|(_, until)| until);
        let next = [self.inventory[node].next_timeout(), sequence, nmi]
            .into_iter()
            .flatten()
            .min();
        self.inventory.set_timer(node, next);
    }

    fn note_knowledge(&mut self, node: NodeId) {
        if *self.inventory[node].bmc.knowledge() != self.inventory[node].journaled {
            self.inventory[node].journaled = self.inventory[node].bmc.knowledge().clone();
            self.save_node(node);
        }
    }

    fn handle_report(&mut self, id: OrderId, report: Report, now: Instant) {
        self.count_report(&report);
        self.gate.drop_held(id);
        let Some(owner) = self.owners.remove(&id) else {
            return;
        };
        match owner {
            Owner::Task(task) => self.report_to_task(task, id, report, now),
            Owner::Sync(node) => self.synced(node, &report, now),
            Owner::Fresh(node) => self.freshly_read(node, &report, now),
            Owner::Call(call, node, what) => self.answer_order(call, node, what, report),
            Owner::Expert(call, node, what) => {
                let text = format!("{what}: {report}");
                let error = !matches!(report, Report::Accepted(_));
                self.note_history(node, HistoryKind::Order, text, None, None, error, now);
                self.answer_order(call, node, what, report);
            }
            Owner::Plan(call, _, slot) => self.planned(call, slot, &report, now),
        }
    }

    fn count_report(&mut self, report: &Report) {
        let kind = match report {
            Report::Accepted(_) => "accepted",
            Report::Refused(refusal) => {
                *self.counters.refusals.entry(refusal.code).or_default() += 1;
                "refused"
            }
            Report::Unanswered(silence) => {
                *self
                    .counters
                    .troubles
                    .entry(silence.trouble.words())
                    .or_default() += 1;
                "unanswered"
            }
        };
        *self.counters.reports.entry(kind).or_default() += 1;
    }

    fn report_to_task(&mut self, id: TaskId, order: OrderId, report: Report, now: Instant) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        task.pending.take_if(|pending| pending.id == order);
        let node = task.node;
        task.sequence.handle_report(order, report.clone(), now);
        if let (Report::Accepted(Reading::Power(power)), Some(node)) = (&report, node) {
            self.note_reading(node, *power, now);
            // No sync comes while a task runs: what was not known before is known from here on.
            if self.inventory[node].memory.shown == PowerState::Unknown {
                self.show(node, *power, now);
            }
        }
        self.answer_nmi(id, now);
    }

    /// Lets the task's sequence give its orders, and takes back those that it does not want any more.
    pub(super) fn run_task(&mut self, id: TaskId, now: Instant) {
        loop {
            let Some(task) = self.tasks.get_mut(&id) else {
                return;
            };
            if let Some(order) = task.sequence.withdrawn() {
                let delivery = self.take_back(id, order, now);
                self.report_to_task(id, order, withdrawn(delivery, "withdrawn"), now);
                continue;
            }
            if task.pending.is_some() || !task.admitted || self.stopping {
                break;
            }
            let order_id = OrderId(self.next_order);
            let Some(order) = task.sequence.poll_order(order_id) else {
                break;
            };
            self.next_order += 1;
            self.owners.insert(order_id, Owner::Task(id));
            let stage = if order.changes_power() {
                Stage::Gated
            } else {
                Stage::Submitted
            };
            let node = task.node.expect("an active task has its node");
            task.pending = Some(Pending {
                id: order_id,
                order: order.clone(),
                stage,
            });
            if stage == Stage::Submitted {
                self.inventory[node].bmc.submit(
                    order_id,
                    order,
                    Purpose::Task,
                    now,
                    &mut *self.entropy,
                );
            } else if !schedule::is_inrush(&order) || self.gate.is_free(now) {
                self.write_ahead(id, now);
            } else {
                self.gate.wait(id);
            }
        }
        self.note_milestone(id, now);
    }

    /// Writes the gated order of a task down; it leaves when that is durable.
    pub(super) fn write_ahead(&mut self, id: TaskId, now: Instant) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let Some(pending) = task
            .pending
            .as_mut()
            .filter(|pending| pending.stage == Stage::Gated)
        else {
            return;
        };
        pending.stage = Stage::Journaled;
        let (order, inrush) = (pending.id, schedule::is_inrush(&pending.order));
        let nmi = pending.order == Order::Nmi;
        let node = task.node;
        if inrush {
            self.gate.pass(self.settings.power_on_stagger, now);
        }
        if let (true, Some(node)) = (nmi, node) {
            self.inventory[node].memory.last_nmi = Some(self.wall(now));
            self.save_node(node);
        }
        self.save_task(id, now);
        self.journal.park(Parked::Order(id, order));
    }

    fn submit_order(&mut self, id: TaskId, order: OrderId, now: Instant) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let journaled =
            |pending: &&mut Pending| pending.id == order && pending.stage == Stage::Journaled;
        let Some(pending) = task.pending.as_mut().filter(journaled) else {
            return;
        };
        let node = task.node.expect("an active task has its node");
        if self.stopping {
            let text = "the daemon is shutting down";
            self.report_to_task(id, order, withdrawn(Delivery::NotSent, text), now);
        } else {
            pending.stage = Stage::Submitted;
            let what = pending.order.clone();
            self.inventory[node]
                .bmc
                .submit(order, what, Purpose::Task, now, &mut *self.entropy);
        }
        self.settle(node, now);
    }

    /// Takes an order back, wherever it is, and says whether it can have left.
    fn take_back(&mut self, id: TaskId, order: OrderId, now: Instant) -> Delivery {
        self.owners.remove(&order);
        self.gate.forget(id, order);
        self.journal
            .unpark(|parked| matches!(parked, Parked::Order(_, parked) if *parked == order));
        self.transmits
            .retain(|outgoing| outgoing.order != Some(order));
        let Some(task) = self.tasks.get_mut(&id) else {
            return Delivery::NotSent;
        };
        // The BMC's room counts a datagram as sent that the gate still held: only the task knows what left.
        let left = |sent: &&crate::power::Sent| sent.id == order && sent.handed;
        let left = task.sequence.sent().iter().any(|sent| left(&sent));
        match (task.node, task.pending.take().map(|pending| pending.stage)) {
            (Some(node), Some(Stage::Submitted)) => {
                let bmc = &mut self.inventory[node].bmc;
                let delivery = bmc.withdraw(order, now, &mut *self.entropy);
                if left { delivery } else { Delivery::NotSent }
            }
            _ => Delivery::NotSent,
        }
    }

    /// The daemon goes down: an order that changes power and has not left by now never will, and its task knows it.
    pub(super) fn take_back_unsent(&mut self, id: TaskId, now: Instant) {
        let Some(task) = self.tasks.get(&id) else {
            return;
        };
        let left = |order: OrderId| {
            let mut sent = task.sequence.sent().iter().rev();
            sent.any(|sent| sent.id == order && sent.handed)
        };
        let unsent = |pending: &&Pending| pending.order.changes_power() && !left(pending.id);
        if let Some(order) = task.pending.as_ref().filter(unsent).map(|order| order.id) {
            let delivery = self.take_back(id, order, now);
            let text = "the daemon stopped before it was sent";
            self.report_to_task(id, order, withdrawn(delivery, text), now);
            self.settle_task(id, now);
        }
    }

    /// Where a task has come on, its record and an event say so; where it has ended, everything that follows is done.
    pub(super) fn note_milestone(&mut self, id: TaskId, now: Instant) {
        self.count_task(id);
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let milestone = task.milestone();
        if task.journaled.as_ref() == Some(&milestone) {
            return;
        }
        let ended = milestone.state.is_end()
            && task
                .journaled
                .as_ref()
                .is_none_or(|old| !old.state.is_end());
        task.identity.version += 1;
        let text = words_of(
            &milestone,
            task.sequence.outcome().map(|outcome| outcome.text.as_str()),
        );
        task.journaled = Some(milestone);
        log::debug!(
            "{}: {} {}: {text}",
            task.identity.node,
            task.identity.operation,
            id
        );
        if ended {
            self.end_task(id, now);
        }
        self.save_task(id, now);
        self.announce_task(id, text, now);
    }

    fn end_task(&mut self, id: TaskId, now: Instant) {
        let wall = self.wall(now);
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let Some(outcome) = task.sequence.outcome().cloned() else {
            return;
        };
        task.identity.ended_at = Some(wall);
        (task.resuming, task.returning) = (None, None);
        let (operation, node) = (task.identity.operation, task.node);
        let (name, by) = (
            task.identity.node.clone(),
            task.identity.requested_by.name.clone(),
        );
        let batch = task.identity.batch;
        self.active.remove(&id);
        self.unscheduled = true;
        let took = wall.since(task.identity.requested_at);
        self.counters
            .tasks
            .entry((operation.name(), outcome.state.name()))
            .or_default()
            .add(took);
        let failed = matches!(outcome.state, State::Failed | State::Stuck);
        let level = if failed {
            log::Level::Warn
        } else {
            log::Level::Info
        };
        log::log!(
            level,
            "{name}: {operation} {}: {}",
            outcome.state,
            outcome.text
        );
        if let Some(node) = node {
            self.note_late(node, id, now);
            self.free_node(node, operation, &outcome, now);
            let error = failed || outcome.error;
            let text = format!("{operation} {}: {}", outcome.state, outcome.text);
            self.note_history(
                node,
                HistoryKind::Task,
                text,
                Some(id),
                Some(by),
                error,
                now,
            );
        }
        self.answer_nmi(id, now);
        if let Some(batch) = batch {
            self.batch_went_on(batch, failed, now);
        }
        self.forget_old_tasks(now);
    }

    /// The node belongs to nobody again, and shows what the task left behind.
    fn free_node(
        &mut self,
        node: NodeId,
        operation: Operation,
        outcome: &crate::power::Outcome,
        now: Instant,
    ) {
        let wall = self.wall(now);
        let next_sync = now + self.settings.sync_interval;
        let place = &mut self.inventory[node];
        place.task = None;
        place.next_sync = next_sync;
        place.bmc.set_wanted(false, now);
        match (outcome.error, outcome.power) {
            (true, _) => place.memory.shown = PowerState::Error,
            (false, Some(power)) if outcome.state != State::Cancelled => {
                place.memory.shown = power.into()
            }
            _ => {}
        }
        if outcome.error || matches!(outcome.state, State::Failed | State::Stuck | State::Aborted) {
            place.memory.last_error =
                Some(format!("{operation} {}: {}", outcome.state, outcome.text));
        }
        place.memory.updated_at = Some(wall);
        self.save_node(node);
        self.announce_node(node, "power state shown".to_owned(), now);
    }

    /// An NMI's caller hears what the BMC said to it, or that the task ended before.
    pub(super) fn answer_nmi(&mut self, id: TaskId, now: Instant) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let Some((call, until)) = task.nmi_call else {
            return;
        };
        let pulse = task
            .sequence
            .sent()
            .iter()
            .rfind(|sent| sent.order == Order::Nmi);
        let node = task.identity.node.clone();
        let what = Order::Nmi.name().to_owned();
        // One that did not leave, or met a refusal, may still be given again.
        let is_final = |report: &Report| match report {
            Report::Accepted(_) => true,
            Report::Unanswered(silence) if silence.delivery == Delivery::Unknown => true,
            _ => task.state().is_end() || now >= until,
        };
        let answer = pulse.and_then(|sent| sent.answer.as_ref());
        let answer = match answer.filter(|(_, report)| is_final(report)) {
            Some((_, Report::Accepted(_))) => Ok(()),
            Some((_, Report::Refused(refusal))) => Err(Refused::Bmc {
                node,
                what,
                text: refusal.text.clone(),
                code: refusal.code,
            }),
            Some((_, Report::Unanswered(silence))) => Err(Refused::Unanswered {
                node,
                what,
                trouble: silence.trouble,
                text: silence.text.clone(),
            }),
            None if task.state().is_end() => {
                let text = task
                    .sequence
                    .outcome()
                    .map(|outcome| outcome.text.clone())
                    .unwrap_or_default();
                let state = task
                    .sequence
                    .power()
                    .map_or("unknown".to_owned(), |power| format!("power {power}"));
                Err(Refused::WrongState {
                    action: what,
                    node,
                    state,
                    why: text,
                })
            }
            None if now >= until => {
                let text = format!("not answered within 5 s; task {id} goes on watching");
                Err(Refused::Unanswered {
                    node,
                    what,
                    trouble: Trouble::Silent,
                    text,
                })
            }
            None => return,
        };
        task.nmi_call = None;
        let answer = match answer {
            Ok(()) => Ok(Answer::Task(self.task_view(id, now).expect("just seen"))),
            Err(refused) => Err(refused),
        };
        self.answer(call, answer);
    }

    /// A task that was never taken on leaves no trace.
    fn drop_task(&mut self, id: TaskId) {
        self.active.remove(&id);
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        self.waiting.remove(&id);
        self.transitions -= usize::from(task.counted);
        if let Some(node) = task.node {
            // One that was aborted meanwhile may have left the node to another.
            self.inventory[node].task.take_if(|other| *other == id);
        }
        self.journal.delete(Table::Tasks, id.to_string());
        if let Some(batch) = task.identity.batch {
            self.drop_batch(batch);
        }
    }

    pub(super) fn announce_task(&mut self, id: TaskId, text: String, now: Instant) {
        let Some(view) = self.task_view(id, now) else {
            return;
        };
        let node = Some(view.node.clone());
        let happening = Happening {
            kind: EventKind::Task,
            node,
            text,
            task: Some(Box::new(view)),
            power_state: None,
        };
        self.events.push(self.wall(now), happening);
        self.woken = true;
    }

    pub(super) fn announce_rack(&mut self, text: String, now: Instant) {
        let happening = Happening {
            kind: EventKind::Rack,
            node: None,
            text,
            task: None,
            power_state: None,
        };
        self.events.push(self.wall(now), happening);
        self.woken = true;
    }

    pub(super) fn announce_node(&mut self, node: NodeId, text: String, now: Instant) {
        let place = &self.inventory[node];
        let happening = Happening {
            kind: EventKind::Node,
            node: Some(place.settings.name.clone()),
            text,
            task: None,
            power_state: Some(place.memory.shown),
        };
        self.events.push(self.wall(now), happening);
        self.woken = true;
    }
}

/// `running: waiting for the operating system to shut down`
fn words_of(milestone: &Milestone, outcome: Option<&str>) -> String {
    match outcome {
        Some(outcome) => format!("{}: {outcome}", milestone.state),
        None => format!("{}: {}", milestone.state, milestone.phase),
    }
}

pub(super) fn withdrawn(delivery: Delivery, text: &str) -> Report {
    Report::Unanswered(Silence {
        delivery,
        trouble: Trouble::Withdrawn,
        text: text.to_owned(),
    })
}
