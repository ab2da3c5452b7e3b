//! What keeps back: maintenance, the pause, another BMC, another host that may have the rack.

use super::call::CallId;
use super::clock::Moment;
use super::inventory::NodeId;
use super::ledger::{Owner, Reply};
use super::{Rack, holds, quarantine};
use crate::model::{Control, EventKind, TaskId, Who};
use crate::time::Instant;

impl Rack {
    /// What changes machines may leave until then. After the dark the BMCs are asked again.
    pub(super) fn renew_permit(&mut self, until: Instant, at: Moment) {
        self.gate.permission.renew(until, at.now);
        if !std::mem::take(&mut self.gate.permission.dark) || self.gate.stopping {
            return;
        }
        let text = "this host owns the rack still".to_owned();
        self.announce(EventKind::Rack, text, at);
        for id in self.inventory.ids() {
            if let Some(node) = self.inventory.get_mut(id) {
                node.bmc.go_on(at.now, &mut *self.entropy);
            }
            self.drain_node(id, at);
        }
    }

    /// Another host may have the rack by now: all sessions are closed, and nothing is asked.
    pub(super) fn go_dark(&mut self, at: Moment) {
        self.gate.permission.dark = true;
        let text = format!("nobody can say whether this host still owns the rack: {IN_THE_DARK}");
        self.announce(EventKind::Rack, text, at);
        for id in self.inventory.ids() {
            if let Some(node) = self.inventory.get_mut(id) {
                // Rule 10: another owner opens sessions of its own, and BMCs
                // are not to have ours beside them.
                node.bmc.stop(IN_THE_DARK, at.now, &mut *self.entropy);
            }
            self.drain_node(id, at);
        }
    }

    /// The node's task does what the maintenance of the node, or its end, wants of it.
    pub(super) fn apply_maintenance(&mut self, id: NodeId, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        let suspends = holds::to_suspend(node, &self.tasks, &self.gate);
        let resumes = holds::to_resume(node, &self.gate, &mut self.ledger);
        if let Some((task, by)) = suspends
            && self.keep(task, &by, at)
        {
            if let Some(node) = self.inventory.get_mut(id) {
                node.memory.suspended = Some(task);
                node.save(&mut self.ledger);
            }
            self.announce_task(task, format!("suspended by {by}"), at);
        }
        if let Some(task) = resumes {
            // A task that was aborted or cancelled in between has
            // nothing to resume, which is no fault.
            let by = "the end of the maintenance";
            let _ = self.control(task, Control::Resume, by, at);
        }
    }

    /// Suspends a task that nobody wants to stand still for its own sake; whether that was
    /// possible.
    fn keep(&mut self, id: TaskId, by: &str, at: Moment) -> bool {
        if self.control(id, Control::Suspend, by, at).is_err() {
            return false;
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.sequence.keep(at.now);
        }
        self.tasks.save(id, &mut self.ledger, at);
        self.drain_task(id, at);
        true
    }

    /// Whether the pause, or the maintenance of its node, lets a task go on when it ends.
    pub(super) fn is_kept(&self, id: TaskId) -> bool {
        let paused = self.gate.pause.as_ref();
        let node = self.tasks.get(id).and_then(|task| task.node);
        let node = node.and_then(|node| self.inventory.get(node));
        paused.is_some_and(|pause| pause.tasks.contains(&id))
            || node.is_some_and(|node| node.memory.suspended == Some(id))
    }

    /// A task that was kept stays suspended until somebody resumes it: the end of the hold does
    /// not.
    pub(super) fn keep_for_good(&mut self, id: TaskId, by: &str, at: Moment) {
        let pause = self.gate.pause.as_mut();
        if pause.is_some_and(|pause| pause.tasks.remove(&id)) {
            self.gate.save_pause(&mut self.ledger);
        }
        let node = self.tasks.get(id).and_then(|task| task.node);
        let node = node.and_then(|node| self.inventory.get_mut(node));
        if let Some(node) = node
            && node.memory.suspended.take_if(|kept| *kept == id).is_some()
        {
            node.save(&mut self.ledger);
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.stay(by, at);
        }
        self.tasks.save(id, &mut self.ledger, at);
        self.drain_task(id, at);
    }

    pub(super) fn pause(&mut self, call: CallId, reason: String, who: &Who, at: Moment) {
        self.begin_pause(reason, who, at);
        self.reply_when_durable(call, Reply::Pausing, at);
    }

    /// The big red button: every task that can stand still does, and nothing new begins.
    pub(super) fn begin_pause(&mut self, reason: String, who: &Who, at: Moment) {
        let (mut pause, text) = self.gate.take_pause(reason, who, at);
        let by = format!("{} (pause)", who.name);
        // What a person had suspended refuses it, and so is not resumed by the release.
        for task in self.tasks.active_ids() {
            if self.keep(task, &by, at) {
                pause.tasks.insert(task);
            }
        }
        self.announce(EventKind::Rack, text, at);
        self.gate.pause = Some(pause);
        for task in self.tasks.active_ids() {
            self.hold_back(task, at);
        }
        // A raw command, a boot device or a reset of the BMC may change a machine as well.
        self.withdraw_changing_orders(at);
        self.gate.save_pause(&mut self.ledger);
    }

    /// What may change a machine and has not left by now does not leave.
    fn withdraw_changing_orders(&mut self, at: Moment) {
        let Err(paused) = self.gate.check_pause() else {
            return;
        };
        for order in self.ledger.side_orders_that_change() {
            let Some((open, delivery)) = self.withdraw(order, at) else {
                continue;
            };
            let Owner::Call(call) = open.owner else {
                continue;
            };
            let node = self.inventory.get(open.node);
            let answer = holds::taken_back(&open, delivery, node, &paused);
            let text = format!("{}: {answer}", open.order.name());
            self.note_order(open.node, text, None, true, at);
            self.outbox.answer(call, Err(answer));
            self.drain_node(open.node, at);
        }
    }

    pub(super) fn unpause(&mut self, call: CallId, who: &Who, at: Moment) {
        self.end_pause(who, at);
        self.reply_when_durable(call, Reply::Pausing, at);
    }

    fn end_pause(&mut self, who: &Who, at: Moment) {
        let Some(pause) = self.gate.pause.take() else {
            return;
        };
        log::warn!("the pause is ended by {}", who.name);
        self.announce(EventKind::Rack, format!("released by {}", who.name), at);
        self.gate.save_pause(&mut self.ledger);
        let by = format!("{} (release)", who.name);
        for task in pause.tasks {
            // A task that was aborted or resumed by hand in between has
            // nothing to resume, which is no fault.
            let _ = self.control(task, Control::Resume, &by, at);
        }
        // Rollbacks were held and not suspended: nothing else drives them on.
        self.unhold_returns(at);
    }

    /// Lets rollbacks go on that were held, where nothing holds them any more.
    pub(super) fn unhold_returns(&mut self, at: Moment) {
        for task in quarantine::free_returns(&self.tasks, &self.inventory) {
            self.hold_task(task, false, at);
        }
    }
}

/// What whoever asks for something hears while another host may have the rack.
const IN_THE_DARK: &str = "no machine is read or switched until etcd answers";
