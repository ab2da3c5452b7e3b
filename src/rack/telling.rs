//! The rack as it is, to be read; what is told and remembered of what happened.

use super::Rack;
use super::call::{Answer, CallId, Refused};
use super::clock::Moment;
use super::events::NewEvent;
use super::history::entry;
use super::inventory::NodeId;
use super::ledger::Reply;
use super::node::Effect;
use super::sweeps::Asker;
use super::views::Snapshot;
use super::waits::Awaited;
use crate::bmc::vocabulary::Report;
use crate::model::{EventKind, HistoryEntry, HistoryKind, TaskId};
use crate::time::Instant;

impl Rack {
    /// The moment `now` on both clocks.
    pub(super) fn at(&self, now: Instant) -> Moment {
        self.clock.moment(now)
    }

    /// The rack as it is, to be read.
    pub(super) fn snapshot(&self, at: Moment) -> Snapshot<'_> {
        Snapshot {
            settings: &self.settings,
            inventory: &self.inventory,
            tasks: &self.tasks,
            sweeps: &self.sweeps,
            gate: &self.gate,
            ledger: &self.ledger,
            started: self.clock.started,
            at,
        }
    }

    /// What happened to a node is remembered and told.
    pub(super) fn carry_out(
        &mut self,
        id: NodeId,
        effects: impl IntoIterator<Item = Effect>,
        at: Moment,
    ) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        for effect in effects {
            match effect {
                Effect::Save => node.save(&mut self.ledger),
                Effect::History(entry) => {
                    self.counters.noted(&entry);
                    let (uuid, ledger) = (node.settings.uuid, &mut self.ledger);
                    self.tasks
                        .history
                        .note(uuid, &entry, &self.settings, ledger);
                }
                Effect::Event(text) => self.outbox.announce(NewEvent::of_node(node, text), at),
            }
        }
    }

    /// An order outside tasks, in the history of its node.
    pub(super) fn note_order(
        &mut self,
        id: NodeId,
        text: String,
        by: Option<String>,
        error: bool,
        at: Moment,
    ) {
        let entry = HistoryEntry {
            by,
            ..entry(HistoryKind::Order, text, error, at)
        };
        self.carry_out(id, [Effect::History(entry)], at);
    }

    pub(super) fn announce_task(&mut self, id: TaskId, text: String, at: Moment) {
        if let Some((node, task)) = self.snapshot(at).told(id) {
            self.outbox
                .announce(NewEvent::of_task(node, task, text), at);
        }
    }

    pub(super) fn announce(&mut self, kind: EventKind, text: String, at: Moment) {
        self.outbox.announce(NewEvent::of_rack(kind, text), at);
    }

    /// Those who wait for a fresh reading of the node hear what came of it: whether it was `read`.
    pub(super) fn answer_fresh(&mut self, id: NodeId, askers: Vec<Asker>, read: bool, at: Moment) {
        for asker in askers {
            match asker {
                Asker::Call(call) => {
                    if let Some(view) = self.snapshot(at).node(id) {
                        self.outbox.answer(call, Ok(Answer::Node(view)));
                    }
                }
                Asker::Sweep(sweep) => self.sweeps.note(sweep, id, read),
            }
        }
    }

    /// An NMI's caller hears what the BMC said to it, or that the task ended before.
    pub(super) fn answer_nmi(&mut self, id: TaskId, at: Moment) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let Some((call, answer)) = task.nmi_answer(at.now) else {
            return;
        };
        // Rule: every call brings one answer, and a slow disk once made it two.
        task.nmi_call = None;
        let task = self.snapshot(at).task(id).ok_or(Refused::NoSuchTask(id));
        let answer = answer.and(task).map(Answer::Task);
        self.outbox.answer(call, answer);
    }

    /// Those who waited for something that has come, or long enough, hear it; everybody where
    /// `all`.
    pub(super) fn answer_waits(&mut self, all: bool, at: Moment) {
        // Taken out meanwhile: answers are made of a snapshot, which borrows the whole rack.
        let mut waits = std::mem::take(&mut self.outbox.waits);
        let answers = waits.take_answers(all, &self.snapshot(at), &self.outbox.events);
        self.outbox.waits = waits;
        for (call, answer) in answers {
            self.tell(call, answer);
        }
    }

    /// Answers a call that waited, or might have. A sweep of which all was told is over.
    pub(super) fn tell(&mut self, call: CallId, answer: Result<Answer, Refused>) {
        if let Ok(Answer::Sweep(news)) = &answer
            && news.ended
        {
            // Its client has all of it: the place is free for another sweep.
            self.sweeps.forget(news.sweep);
        }
        self.outbox.answer(call, answer);
    }

    /// One of a dry run's readings is there, or never will be.
    pub(super) fn planned(&mut self, call: CallId, slot: usize, report: Report, at: Moment) {
        if let Some(plan) = self.plans.report(call, slot, report) {
            // A plan is shown as a batch, so that it needs an id that no batch has.
            let id = self.tasks.make_id(at.wall, &mut *self.entropy);
            let view = plan.view(id, &self.snapshot(at));
            self.outbox.answer(call, Ok(Answer::Batch(view)));
        }
    }

    /// Gives the call its answer as soon as all that was put down by now is durable.
    pub(super) fn reply_when_durable(&mut self, call: CallId, reply: Reply, at: Moment) {
        if let Some(reply) = self.ledger.reply_when_durable(call, reply) {
            self.reply(call, &reply, at);
        }
    }

    pub(super) fn reply(&mut self, call: CallId, reply: &Reply, at: Moment) {
        if let Reply::Batch(batch) = reply {
            // Many controls may become durable at once, and each answer is long.
            let waits = &mut self.outbox.waits;
            waits.add(call, Awaited::Batch(*batch), at.now);
        } else if let Some(answer) = self.snapshot(at).reply(reply) {
            self.outbox.answer(call, answer);
        }
    }
}
