//! What happened is remembered and told: readings of nodes, records, events, and answers to those who wait.
//!
//! The lowest part of the turn: it asks no BMC for anything and lets no task go on.

use super::Rack;
use super::call::{Answer, CallId, HistoryEntry, PowerState, Refused, TaskId};
use super::clock::Moment;
use super::events::Happening;
use super::history::entry;
use super::inventory::NodeId;
use super::ledger::{Parked, Reply};
use super::node::Effect;
use super::record::Table;
use super::stored;
use super::task::Task;
use super::views::Snapshot;
use crate::bmc::vocabulary::{Power, Reading, Report};
use crate::model::{EventKind, HistoryKind};
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
            gate: &self.gate,
            ledger: &self.ledger,
            started: self.clock.started,
            at,
        }
    }

    pub(super) fn announce_task(&mut self, id: TaskId, text: String, at: Moment) {
        let Some(view) = self.snapshot(at).task(id) else {
            return;
        };
        let happening = Happening {
            kind: EventKind::Task,
            node: Some(view.node.clone()),
            text,
            task: Some(Box::new(view)),
            power_state: None,
        };
        self.outbox.announce(happening, at);
    }

    /// Something happened to the rack as a whole, or to a batch.
    pub(super) fn announce(&mut self, kind: EventKind, text: String, at: Moment) {
        let happening = Happening {
            kind,
            node: None,
            text,
            task: None,
            power_state: None,
        };
        self.outbox.announce(happening, at);
    }

    /// Puts a node down as it is.
    pub(super) fn save_node(&mut self, id: NodeId) {
        if let Some(node) = self.inventory.get_mut(id) {
            let (key, value) = (node.settings.uuid.to_string(), node.record());
            self.ledger.journal.put(Table::Nodes, key, value);
        }
    }

    pub(super) fn save_pause(&mut self) {
        self.ledger.quarantine.forget(Table::Rack, stored::PAUSE);
        let (journal, key) = (&mut self.ledger.journal, stored::PAUSE.to_owned());
        match &self.gate.pause {
            Some(pause) => journal.put(Table::Rack, key, stored::pause(pause)),
            None => journal.delete(Table::Rack, key),
        }
    }

    /// What happened to a node is remembered and told.
    pub(super) fn carry_out(
        &mut self,
        id: NodeId,
        effects: impl IntoIterator<Item = Effect>,
        at: Moment,
    ) {
        for effect in effects {
            let Some(node) = self.inventory.get(id) else {
                return;
            };
            match effect {
                Effect::Save => self.save_node(id),
                Effect::History(entry) => {
                    let unasked = entry.kind == HistoryKind::Drift && entry.task.is_none();
                    self.counters.unasked += u64::from(unasked);
                    let (uuid, ledger) = (node.settings.uuid, &mut self.ledger);
                    self.tasks
                        .history
                        .note(uuid, &entry, &self.settings, ledger);
                }
                Effect::Event(text) => {
                    let happening = Happening {
                        kind: EventKind::Node,
                        node: Some(node.settings.name.clone()),
                        text,
                        task: None,
                        power_state: Some(node.memory.shown),
                    };
                    self.outbox.announce(happening, at);
                }
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

    /// A reading is remembered, whoever asked for it.
    pub(super) fn note_reading(&mut self, id: NodeId, power: Power, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        let task = node.task.and_then(|task| self.tasks.get(task));
        let explained = task.is_some_and(Task::has_ordered);
        let effects = node.note_reading(power, explained, self.settings.sync_interval, at);
        self.carry_out(id, effects, at);
    }

    pub(super) fn show(&mut self, id: NodeId, power: Power, at: Moment) {
        let node = self.inventory.get_mut(id);
        let effects = node.map(|node| node.show(power, at));
        self.carry_out(id, effects.unwrap_or_default(), at);
    }

    /// The periodic sync of a node has its report.
    pub(super) fn synced(&mut self, id: NodeId, report: &Report, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        node.sync_ended(self.settings.sync_interval, at.now);
        let Report::Accepted(Reading::Power(power)) = *report else {
            let effects = node.sync_failed(report, &self.settings, at);
            return self.carry_out(id, effects, at);
        };
        let task = node.task.and_then(|task| self.tasks.get_mut(task));
        let busy = task.is_some();
        if let Some(task) = task {
            task.sequence.observe_power(power, at.now);
        }
        self.note_reading(id, power, at);
        if !busy {
            self.show(id, power, at);
        }
    }

    /// The reading that somebody asked for has its report.
    pub(super) fn freshly_read(&mut self, id: NodeId, report: &Report, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        node.fresh = None;
        let (task, shown) = (node.task, node.memory.shown);
        if let Report::Accepted(Reading::Power(power)) = *report {
            self.note_reading(id, power, at);
            match task.and_then(|task| self.tasks.get_mut(task)) {
                Some(task) => task.sequence.observe_power(power, at.now),
                // `error` stays until the periodic sync.
                None if shown != PowerState::Error => self.show(id, power, at),
                None => {}
            }
        }
        let calls = self.inventory.get_mut(id).map(|node| node.take_calls());
        self.answer_fresh(id, calls.unwrap_or_default(), at);
    }

    pub(super) fn answer_fresh(&mut self, id: NodeId, calls: Vec<CallId>, at: Moment) {
        for call in calls {
            if let Some(view) = self.snapshot(at).node(id) {
                self.outbox.answer(call, Ok(Answer::Node(view)));
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
        task.nmi_call = None;
        let task = self.snapshot(at).task(id).ok_or(Refused::NoSuchTask(id));
        let answer = answer.and(task).map(Answer::Task);
        self.outbox.answer(call, answer);
    }

    /// Those who waited for something that has come, or long enough, hear it; everybody where `all`.
    pub(super) fn answer_waits(&mut self, all: bool, at: Moment) {
        let mut waits = std::mem::take(&mut self.outbox.waits);
        let answers = waits.take_answers(all, &self.snapshot(at), &self.outbox.events);
        self.outbox.waits = waits;
        self.outbox.answers.extend(answers);
    }

    /// One of a dry run's readings is there, or never will be.
    pub(super) fn planned(&mut self, call: CallId, slot: usize, report: Report, at: Moment) {
        if let Some(plan) = self.plans.report(call, slot, report) {
            let id = self.tasks.make_id(at.wall, &mut *self.entropy);
            let view = plan.view(id, &self.snapshot(at));
            self.outbox.answer(call, Ok(Answer::Batch(view)));
        }
    }

    /// What a BMC said to an order outside tasks, for its caller.
    pub(super) fn answer_of(
        &self,
        node: NodeId,
        what: &str,
        report: Report,
    ) -> Result<Answer, Refused> {
        let node = self.inventory.get(node);
        let node = node.map_or_else(String::new, |node| node.settings.name.clone());
        let what = what.to_owned();
        match report {
            Report::Accepted(reading) => Ok(Answer::Reading(reading)),
            Report::Refused(refusal) if refusal.code == 0 => Err(Refused::NotAsAsked {
                node,
                what,
                text: refusal.text,
            }),
            Report::Refused(refusal) => Err(Refused::Bmc {
                node,
                what,
                text: refusal.text,
                code: refusal.code,
            }),
            Report::Unanswered(silence) => Err(Refused::Unanswered {
                node,
                what,
                trouble: silence.trouble,
                delivery: silence.delivery,
                text: silence.text,
            }),
        }
    }

    /// Gives the call its answer as soon as all that was put down by now is durable.
    pub(super) fn reply_when_durable(&mut self, call: CallId, reply: Reply, at: Moment) {
        if self.ledger.journal.is_pending() {
            self.ledger.journal.park(Parked::Reply(call, reply));
        } else {
            self.reply(call, &reply, at);
        }
    }

    pub(super) fn reply(&mut self, call: CallId, reply: &Reply, at: Moment) {
        if let Some(answer) = self.snapshot(at).reply(reply) {
            self.outbox.answer(call, answer);
        }
    }
}
