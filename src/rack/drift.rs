//! Readings of the power, and what is said where one shows a change that no task explains.
//!
//! Whoever brings a reading drives this: a sync, a caller's look, a dry run, a task. Nothing is
//! ever "corrected".

use super::clock::Moment;
use super::history::entry;
use super::node::{Effect, Node};
use super::task::Task;
use crate::bmc::vocabulary::{self, Order, PowerOrder, Reading, Report};
use crate::model::{HistoryEntry, HistoryKind, Operation, Power, PowerState, TaskId, TaskState};
use crate::power::{self, Earlier, take_effect};
use crate::time::{Instant, WallTime};
use std::time::Duration;

/// An order of a task that has ended, and that may still have its effect: a machine, or its
/// operating system, takes its time.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Late {
    pub(super) task: TaskId,
    pub(super) operation: Operation,
    pub(super) state: TaskState,
    /// When the task ended.
    pub(super) ended: WallTime,
    pub(super) order: Order,
    /// When the order was given.
    pub(super) at: WallTime,
    /// As long as this, "already in that state" is not said against it.
    pub(super) until: WallTime,
    /// The states that it has yet to lead to, in their order.
    pub(super) to: Vec<Power>,
}

impl Late {
    /// What of the orders of a task that has just ended may still act: handed over, not refused,
    /// and not seen to have had its effect since.
    fn of(task: &Task, configured: &power::Settings, at_end: Moment) -> Vec<Self> {
        // A request may name less time than such a system takes to go down.
        let patience = task.sequence.settings().patience.max(configured.patience);
        let ended = at_end.wall;
        let begun = task.identity.started_at.unwrap_or(ended);
        let mut late: Vec<Self> = Vec::new();
        let mut before = None;
        for sent in task.sequence.sent() {
            if let Some((_, Report::Accepted(Reading::Power(power)))) = sent.answer {
                let twice = before.replace(power) == Some(power) || sent.times > 1;
                take_effect(&mut late, power, twice, |late| &mut late.to);
            }
            if !sent.may_have_acted() {
                continue;
            }
            let time = match sent.order.effect() {
                // An operating system may use all of its time before it goes down.
                vocabulary::Effect::Soft => patience,
                vocabulary::Effect::Level
                | vocabulary::Effect::Pulse
                | vocabulary::Effect::Setting
                | vocabulary::Effect::Light
                | vocabulary::Effect::Restart
                | vocabulary::Effect::Anything
                | vocabulary::Effect::Nothing => configured.change_timeout,
            };
            // A log-in may have come first, so that the order left at some time before its report.
            let left_by = sent.answer.as_ref().map_or(sent.at, |(at, _)| *at);
            // An order whose task ran out of time takes longer than was
            // thought: it gets the whole time again.
            let used_up = match task.state().has_failed() {
                true => Duration::ZERO,
                false => at_end.age(begun).saturating_sub(left_by),
            };
            late.push(Self {
                task: task.identity.id,
                operation: task.identity.operation,
                state: task.state(),
                ended,
                order: sent.order.clone(),
                at: begun + sent.at,
                until: ended + time.saturating_sub(used_up),
                to: leads_to(&sent.order).to_vec(),
            });
        }
        late.retain(|late| !late.to.is_empty());
        late
    }

    /// What a new task on the node is told of it; `None` where its time is over.
    pub(super) fn for_another_task(&self, at: Moment) -> Option<Earlier> {
        let left = self.left(at);
        (is_ordered(&self.order) && !left.is_zero()).then(|| Earlier {
            what: format!("{} of {}", self.order.name(), self.at.hour_and_minute()),
            to: self.to.clone(),
            soft: self.order == Order::SoftOff,
            until: left,
        })
    }

    /// How much of its time is left, whatever the calendar was set to since.
    fn left(&self, at: Moment) -> Duration {
        let given = self.until.since(self.ended);
        given.saturating_sub(at.age(self.ended))
    }

    fn words(&self, at: Moment) -> String {
        format!(
            "most likely the late effect of task {} ({}, {} {} s before)",
            self.task,
            self.operation,
            self.state,
            at.age(self.ended).as_secs()
        )
    }
}

/// The state that an operation leaves behind where it succeeds.
pub(super) fn ends_in(operation: Operation) -> Option<Power> {
    match operation {
        Operation::PowerOff | Operation::SoftPowerOff => Some(Power::Off),
        Operation::PowerOn
        | Operation::Reboot
        | Operation::SoftReboot
        | Operation::Cycle
        | Operation::Reset => Some(Power::On),
        Operation::InjectNmi => None,
    }
}

/// Whether what it leads to is what it asked for: what a crashed or restarted system does is no
/// order of ours.
fn is_ordered(order: &Order) -> bool {
    match order.effect() {
        vocabulary::Effect::Level | vocabulary::Effect::Soft => true,
        vocabulary::Effect::Pulse => !order.leaves_power_on(),
        vocabulary::Effect::Setting
        | vocabulary::Effect::Light
        | vocabulary::Effect::Restart
        | vocabulary::Effect::Anything
        | vocabulary::Effect::Nothing => false,
    }
}

/// The states that an order may lead to, in their order.
fn leads_to(order: &Order) -> &'static [Power] {
    match order.power_order() {
        Some(PowerOrder::SoftOff | PowerOrder::Off) => &[Power::Off],
        Some(PowerOrder::On) => &[Power::On],
        // A system that crashed, or was reset, may switch the machine off, or off and on again.
        Some(PowerOrder::Cycle | PowerOrder::Nmi | PowerOrder::Reset) => &[Power::Off, Power::On],
        // What a raw command does nobody knows, and it is no order of a task.
        None => &[],
    }
}

impl Node {
    /// A reading is remembered whoever asked for it, and ends a fault; what `power_state` shows
    /// changes at a sync or a task's end. A change that no task of ours made is said, whoever saw
    /// it first; `explained` where the task that has the node has given an order that leads there,
    /// and tells itself what became of it.
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
            // The reading that overwrites `error` is planned already.
            if self.memory.shown != PowerState::Error {
                self.next_sync = at.now + sync_interval;
            }
            let entry = entry(HistoryKind::Recovered, text.clone(), false, at);
            effects.extend([Effect::Save, Effect::History(entry), Effect::Event(text)]);
        }
        let changed = before.filter(|(before, _)| *before != power);
        // Rule 12: an order may have acted with the first reading that says so, and is
        // believed to have with the second.
        let leads_here = |late: &&Late| late.to.first() == Some(&power);
        let is_young = |late: &&Late| at.age(late.ended) <= LATE;
        let late = self.memory.late.iter().rfind(leads_here).cloned();
        let twice = before.is_some_and(|(before, _)| before == power);
        let acted = take_effect(&mut self.memory.late, power, twice, |late| &mut late.to);
        if self.is_contradicted(power, explained || late.is_some(), at.now) {
            effects.push(self.hold_longer());
        }
        if let Some((before, _)) = changed.filter(|_| !explained) {
            let late = late.as_ref().filter(is_young);
            effects.extend(self.drifted(late, before, power, at));
        } else if !acted.is_empty() {
            effects.push(Effect::Save);
        }
        effects
    }

    /// Whether the node is in another state than a task called done a moment ago, and nothing is
    /// known that explains it.
    fn is_contradicted(&mut self, power: Power, explained: bool, now: Instant) -> bool {
        // A change that somebody's order explains says nothing of how long a state holds by itself.
        if explained {
            self.done = None;
        }
        let other = self.done.take_if(|(done, _)| *done != power);
        other.is_some_and(|(_, at)| now - at <= CONTRADICTED)
    }

    /// What is called done has to hold for longer on this node from now on.
    fn hold_longer(&mut self) -> Effect {
        let before = self.memory.holds_longer;
        let longer = before.map_or(HOLDS_FIRST, |before| before * 2);
        self.memory.holds_longer = Some(longer.min(self.settings.power.settle).max(HOLDS_FIRST));
        Effect::Save
    }

    /// What the node's tasks have sent that may still act, after one of them has ended.
    pub(super) fn note_late(&mut self, task: &Task, at: Moment) {
        let late = &mut self.memory.late;
        late.retain(|late| at.age(late.ended) <= LATE || !late.left(at).is_zero());
        let mut new = Late::of(task, &self.settings.power, at);
        // Others may have read the node since, and seen what the task did not: that its orders have
        // begun to act.
        if let Some((power, read)) = self.memory.reading
            && new.iter().all(|late| late.at <= read)
        {
            take_effect(&mut new, power, false, |late| &mut late.to);
        }
        late.extend(new);
        // Rule 13: a node whose orders are never seen to act would be remembered without end.
        let surplus = late.len().saturating_sub(MOST_LATE);
        late.drain(..surplus);
    }

    /// What of its earlier tasks may still act, for a new one.
    pub(super) fn earlier(&self, at: Moment) -> Vec<Earlier> {
        let late = self.memory.late.iter();
        late.filter_map(|late| late.for_another_task(at)).collect()
    }

    fn drifted(&self, late: Option<&Late>, before: Power, power: Power, at: Moment) -> [Effect; 3] {
        let why = match late {
            // Whose doing a change was is only likely: nobody saw the order act (rule 8).
            Some(late) => late.words(at),
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

/// For so long a change is put down to the task that may have caused it: systems that install
/// updates before they shut down take the better part of it.
const LATE: Duration = Duration::from_secs(3600);
/// A state that did not hold for so long after it was called done was none.
const CONTRADICTED: Duration = Duration::from_secs(60);
/// So long it has to hold after that happened once, and twice as long each time that it happens
/// again.
const HOLDS_FIRST: Duration = Duration::from_secs(2);
/// So many orders are remembered of one node.
const MOST_LATE: usize = 16;

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
        node.memory.fault = Some(crate::model::NodeFault::Unreadable);
        let effects = node.note_reading(Power::On, false, secs(60), at(5));
        assert_eq!(kinds(&effects), ["recovered"]);
        assert_eq!(node.memory.fault, None);
        assert_eq!(node.next_sync, at(65).now);
    }

    fn late(order: Order, ended: u64) -> Late {
        Late {
            task: TaskId::nil(),
            operation: Operation::SoftPowerOff,
            state: TaskState::Aborted,
            ended: at(ended).wall,
            to: leads_to(&order).to_vec(),
            order,
            at: at(ended).wall,
            until: at(ended + 60).wall,
        }
    }

    /// What its history says of a reading.
    fn said(node: &mut Node, power: Power, second: u64) -> Option<String> {
        let effects = node.note_reading(power, false, secs(60), at(second));
        effects.into_iter().find_map(|effect| match effect {
            Effect::History(entry) => Some(entry.text),
            _ => None,
        })
    }

    #[test]
    fn what_did_not_hold_for_a_minute_after_it_was_called_done_has_to_hold_longer_from_then_on() {
        let mut node = node(0);
        let mut contradict = |after: u64, explained: bool| {
            node.done = Some((Power::Off, at(100).now));
            let effects = node.note_reading(Power::On, explained, secs(60), at(100 + after));
            assert!(node.done.is_none() || effects.is_empty());
            (node.memory.holds_longer, effects.contains(&Effect::Save))
        };
        assert_eq!(contradict(61, false).0, None, "too late");
        assert_eq!(contradict(5, true).0, None, "a task explains it");
        let longer = [2, 4, 8, 10, 10].map(|seconds| (Some(secs(seconds)), true));
        assert_eq!([(); 5].map(|()| contradict(59, false)), longer);
    }

    #[test]
    fn a_late_effect_is_put_down_to_its_task_once_and_not_for_ever() {
        let mut node = node(0);
        node.memory.late = vec![late(Order::SoftOff, 0)];
        assert_eq!(said(&mut node, Power::On, 10), None);
        let text = said(&mut node, Power::Off, 20).expect("it changed");
        assert!(text.contains("most likely the late effect"), "{text}");
        assert_eq!(said(&mut node, Power::Off, 25), None);
        said(&mut node, Power::On, 30);
        let text = said(&mut node, Power::Off, 40).expect("it changed");
        assert!(text.contains("nobody asked"), "{text}");
        node.memory.late = vec![late(Order::PowerOn, 0)];
        let text = said(&mut node, Power::On, 3601).expect("it changed");
        assert!(text.contains("nobody asked"), "{text}");
    }

    #[test]
    fn a_cycle_explains_the_off_and_then_the_on() {
        let mut node = node(0);
        node.note_reading(Power::On, false, secs(60), at(1));
        node.memory.late = vec![late(Order::Cycle, 2)];
        for (power, second) in [(Power::Off, 5), (Power::On, 9)] {
            let text = said(&mut node, power, second).expect("it changed");
            assert!(text.contains("most likely"), "{text}");
        }
        assert_eq!(node.memory.late.len(), 1, "one reading may be wrong");
        node.note_reading(Power::On, false, secs(60), at(10));
        assert_eq!(node.memory.late, []);
    }

    #[test]
    fn a_new_task_hears_of_what_may_still_act_and_of_nothing_else() {
        let mut node = node(0);
        node.memory.late = vec![
            late(Order::SoftOff, 0),
            late(Order::Nmi, 30),
            late(Order::PowerOn, 30),
        ];
        let told = |node: &Node, second| -> Vec<String> {
            let told = node.earlier(at(second));
            told.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            told(&node, 40),
            [
                "the soft power off of 14:13 UTC may still switch it off",
                "the power on of 14:13 UTC may still switch it on"
            ]
        );
        assert_eq!(told(&node, 60).len(), 1, "its time is over");
        node.note_reading(Power::On, false, secs(60), at(64));
        node.note_reading(Power::On, false, secs(60), at(65));
        assert_eq!(told(&node, 66).len(), 0, "it was seen on, twice");
    }
}
