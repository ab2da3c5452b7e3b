//! Readings of the power, and what is said where one shows a change that no task explains.
//!
//! Whoever brings a reading drives this: a sync, a caller's look, a dry run, a task. Nothing is ever "corrected".

use super::call::{HistoryEntry, TaskId};
use super::clock::Moment;
use super::history::entry;
use super::node::{Effect, Node};
use super::task::Task;
use crate::bmc::vocabulary::{Order, Power, Report};
use crate::model::HistoryKind;
use crate::power::{Operation, State};
use crate::time::WallTime;
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
    pub(super) fn of(task: &Task, at: WallTime) -> Option<Self> {
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

    /// What it was, where it may have led to this state: once for each state.
    fn explain(&mut self, power: Power, wall: WallTime) -> Option<Self> {
        let fits = self.to.contains(&power) && wall.since(self.at) <= LATE;
        self.to.retain(|to| *to != power);
        fits.then(|| self.clone())
    }

    fn words(&self, wall: WallTime) -> String {
        format!(
            "most likely the late effect of task {} ({}, {} {} s before)",
            self.task,
            self.operation,
            self.state,
            wall.since(self.at).as_secs()
        )
    }
}

impl Node {
    /// A reading is remembered whoever asked for it, and ends a fault; what `power_state` shows changes at a sync or a
    /// task's end. A change that no task of ours made is said, whoever saw it first; `explained` where the task that
    /// has the node has given an order that leads there, and tells itself what became of it.
    pub(super) fn note_reading(
        &mut self,
        power: Power,
        explained: bool,
        sync_interval: Duration,
        at: Moment,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.failed_syncs = 0;
        let recovered = self.memory.fault.take();
        let before = self.memory.reading.replace((power, at.wall));
        if recovered.is_some() {
            let text = format!("its BMC answers again: power is {power}");
            self.next_sync = at.now + sync_interval;
            let entry = entry(HistoryKind::Recovered, text.clone(), false, at);
            effects.extend([Effect::Save, Effect::History(entry), Effect::Event(text)]);
        }
        let changed = before.filter(|(before, _)| *before != power);
        if let Some((before, _)) = changed.filter(|_| !explained) {
            effects.extend(self.drifted(before, power, at));
        }
        effects
    }

    fn drifted(&mut self, before: Power, power: Power, at: Moment) -> [Effect; 3] {
        let late = self.memory.late.as_mut();
        let late = late.and_then(|late| late.explain(power, at.wall));
        let why = match &late {
            Some(late) => late.words(at.wall),
            None => "nobody asked this daemon for it".to_owned(),
        };
        let text = format!("found {power}, was {before}: {why}");
        log::warn!("{}: {text}", self.settings.name);
        let entry = HistoryEntry {
            task: late.map(|late| late.task),
            ..entry(HistoryKind::Drift, text.clone(), false, at)
        };
        [Effect::History(entry), Effect::Save, Effect::Event(text)]
    }
}

/// For so long a change is put down to the task that may have caused it: systems that install updates before they
/// shut down take the better part of it.
const LATE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::super::tests::{at, node, secs};
    use super::*;

    /// The kinds of the entries that its history gets.
    fn kinds(effects: &[Effect]) -> Vec<String> {
        let kind = |effect: &Effect| match effect {
            Effect::History(entry) => Some(entry.kind.to_string()),
            _ => None,
        };
        effects.iter().filter_map(kind).collect()
    }

    #[test]
    fn the_first_reading_is_no_drift_and_another_one_is() {
        let mut node = node(0);
        assert_eq!(node.note_reading(Power::On, false, secs(60), at(1)), []);
        assert_eq!(node.note_reading(Power::On, false, secs(60), at(2)), []);
        let effects = node.note_reading(Power::Off, false, secs(60), at(3));
        assert_eq!(kinds(&effects), ["drift"]);
        assert!(effects.contains(&Effect::Save));
    }

    #[test]
    fn a_change_that_the_nodes_task_explains_is_no_drift() {
        let mut node = node(0);
        node.note_reading(Power::On, false, secs(60), at(1));
        assert_eq!(node.note_reading(Power::Off, true, secs(60), at(2)), []);
        assert_eq!(
            node.memory.reading.map(|(power, _)| power),
            Some(Power::Off)
        );
    }

    #[test]
    fn a_reading_ends_a_fault_and_the_next_one_is_not_due_at_once() {
        let mut node = node(0);
        node.memory.fault = Some("power failure".to_owned());
        let effects = node.note_reading(Power::On, false, secs(60), at(5));
        assert_eq!(kinds(&effects), ["recovered"]);
        assert_eq!(node.memory.fault, None);
        assert_eq!(node.next_sync, at(65).now);
    }

    #[test]
    fn a_late_effect_is_put_down_to_its_task_once_and_not_for_ever() {
        let late = |at: WallTime| Late {
            task: TaskId::nil(),
            operation: Operation::SoftPowerOff,
            state: State::Aborted,
            at,
            to: vec![Power::Off],
        };
        let mut fits = late(at(0).wall);
        assert!(fits.explain(Power::On, at(10).wall).is_none());
        assert!(fits.explain(Power::Off, at(20).wall).is_some());
        assert!(fits.explain(Power::Off, at(30).wall).is_none());
        assert!(
            late(at(0).wall)
                .explain(Power::Off, at(3601).wall)
                .is_none()
        );
    }
}
