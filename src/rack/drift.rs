//! Readings of the power, and what is said where one shows a change that no task explains.
//!
//! Driven by whoever brings a reading: a sync, a caller's look, a dry run, a task. Nothing is ever "corrected".

use super::Rack;
use super::call::TaskId;
use super::inventory::NodeId;
use super::task::Task;
use crate::bmc::vocabulary::{Order, Power, Report};
use crate::model::HistoryKind;
use crate::power::{Operation, State};
use crate::time::{Instant, WallTime};
use std::time::Duration;

/// A task that ended although what it had sent may still have its effect: an operating system takes its time.
#[derive(Clone, Debug)]
pub(super) struct Late {
    pub(super) task: TaskId,
    pub(super) operation: Operation,
    pub(super) state: State,
    pub(super) at: WallTime,
    /// The states that its orders lead to.
    pub(super) to: Vec<Power>,
}

impl Late {
    /// Of a task that has just ended; `None` where nothing that it sent can come as a surprise.
    fn of(task: &Task, at: WallTime) -> Option<Self> {
        let state = task.state();
        if matches!(state, State::Succeeded | State::Cancelled) {
            return None;
        }
        let refused = |answer: &(Duration, Report)| matches!(answer.1, Report::Refused(_));
        let mut to = Vec::new();
        for sent in task.sequence.sent() {
            if sent.handed && !sent.answer.as_ref().is_some_and(refused) {
                to.extend_from_slice(match sent.order {
                    Order::SoftOff | Order::PowerOff => &[Power::Off],
                    Order::PowerOn => &[Power::On],
                    Order::Cycle => &[Power::Off, Power::On],
                    _ => &[],
                });
            }
        }
        (!to.is_empty()).then_some(Late {
            task: task.identity.id,
            operation: task.identity.operation,
            state,
            at,
            to,
        })
    }
}

impl Late {
    /// What it was, where it may have led to this state: once for each state.
    fn explain(&mut self, power: Power, wall: WallTime) -> Option<Self> {
        let fits = self.to.contains(&power) && wall.since(self.at) <= LATE;
        self.to.retain(|to| *to != power);
        fits.then(|| self.clone())
    }
}

impl Rack {
    /// A task on the node has ended: what it sent may have its effect yet.
    pub(super) fn note_late(&mut self, node: NodeId, id: TaskId, now: Instant) {
        let wall = self.wall(now);
        if let Some(task) = self.tasks.get(&id)
            && task.state() != State::Cancelled
        {
            self.inventory[node].memory.late = Late::of(task, wall);
        }
    }

    /// A reading is remembered whoever asked for it, and ends a fault; what `power_state` shows changes at a sync or a
    /// task's end. A change that no task of ours made is said, whoever saw it first.
    pub(super) fn note_reading(&mut self, node: NodeId, power: Power, now: Instant) {
        let wall = self.wall(now);
        let place = &mut self.inventory[node];
        place.failed_syncs = 0;
        let recovered = place.memory.fault.take();
        let before = place.memory.reading.replace((power, wall));
        if recovered.is_some() {
            let text = format!("its BMC answers again: power is {power}");
            self.inventory[node].next_sync = now + self.settings.sync_interval;
            self.save_node(node);
            self.note_history(
                node,
                HistoryKind::Recovered,
                text.clone(),
                None,
                None,
                false,
                now,
            );
            self.announce_node(node, text, now);
        }
        let Some((before, _)) = before.filter(|(before, _)| *before != power) else {
            return;
        };
        let task = self.inventory[node].task.and_then(|id| self.tasks.get(&id));
        // A task that has given such an order tells itself what became of it.
        let explains = |task: &Task| task.sequence.sent().iter().any(|s| s.order.changes_power());
        if task.is_some_and(explains) {
            return;
        }
        let late = self.inventory[node].memory.late.as_mut();
        let late = late.and_then(|late| late.explain(power, wall));
        let why = match &late {
            Some(late) => format!(
                "most likely the late effect of task {} ({}, {} {} s before)",
                late.task,
                late.operation,
                late.state,
                wall.since(late.at).as_secs()
            ),
            None => "nobody asked this daemon for it".to_owned(),
        };
        let text = format!("found {power}, was {before}: {why}");
        log::warn!("{}: {text}", self.inventory[node].settings.name);
        let task = late.map(|late| late.task);
        self.note_history(
            node,
            HistoryKind::Drift,
            text.clone(),
            task,
            None,
            false,
            now,
        );
        self.save_node(node);
        self.announce_node(node, text, now);
    }
}

/// For so long a change is put down to the task that may have caused it: systems that install updates before they
/// shut down take the better part of it.
const LATE: Duration = Duration::from_secs(3600);
