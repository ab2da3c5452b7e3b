//! Reading idle nodes: the periodic power sync, readings that failed, and what is shown of a node.
//!
//! What is decided here for one node is decided from that node alone; the turn asks its BMC and
//! carries out what follows.

use super::clock::Moment;
use super::drift;
use super::history::entry;
use super::ledger::Owner;
use super::node::{Effect, Node};
use super::settings::RackSettings;
use super::sweeps::Asker;
use super::task::Task;
use crate::bmc::vocabulary::Report;
use crate::entropy::Entropy;
use crate::model::{
    HistoryEntry, HistoryKind, NodeFault, Operation, Power, PowerState, TaskState, Trouble,
    after_state,
};
use crate::power::{Outcome, Sent};
use crate::time::Instant;
use std::time::Duration;

impl Node {
    /// Whether its power is to be read now. `busy` where a task reads the machine itself, or nobody
    /// is to; `crowded` where the rack has no place for another log-in: then it waits in line for
    /// one.
    pub(super) fn sync_is_due(
        &mut self,
        busy: bool,
        crowded: bool,
        interval: Duration,
        now: Instant,
    ) -> bool {
        if !self.is_due(now) {
            return false;
        }
        // A session that is open needs no log-in, and its reading passes the line by.
        if crowded && !self.bmc.is_open() {
            self.in_line = true;
            return false;
        }
        if busy {
            self.next_sync = now + interval;
        }
        !busy
    }

    /// A session came about after its callers were told that the BMC does not answer yet: a reading
    /// that failed of that is made up for.
    pub(super) fn reached_late(&mut self, now: Instant) {
        let late = self.bmc.take_reached_late();
        // `error` stays for its time.
        if late && self.failed_syncs > 0 && self.memory.shown != PowerState::Error {
            self.next_sync = now;
        }
    }

    /// Somebody wants a reading that is not older than the request. Whether one has to be asked
    /// for.
    pub(super) fn wants_fresh(&mut self, asker: Asker, now: Instant) -> bool {
        self.fresh_calls.push((asker, now + FRESH_ANSWER));
        self.fresh.is_none()
    }

    /// What is shown is what was read.
    pub(super) fn show(&mut self, power: Power, at: Moment) -> Vec<Effect> {
        let shown = PowerState::from(power);
        if self.memory.shown == shown {
            return Vec::new();
        }
        self.memory.shown = shown;
        self.memory.updated_at = Some(at.wall);
        vec![Effect::Save, Effect::Event(format!("power is {power}"))]
    }

    /// The periodic reading is not under way any more; the next one comes an interval later, but
    /// for the second of all: that is where the readings of the rack part, which were made at once
    /// after the start.
    pub(super) fn sync_ended(&mut self, interval: Duration, now: Instant) {
        self.sync = None;
        let share = self.second_sync.take();
        if self.next_sync > now {
            // A task has ended meanwhile, and its end has set the time of the next reading.
            return;
        }
        self.next_sync = now + share.map_or(interval, |share| interval.mul_f64(share));
    }

    /// Whether nothing is shown of its power, in this life of the daemon not yet or because of a
    /// fault.
    fn is_unknown(&self) -> bool {
        match self.memory.shown {
            PowerState::Unknown => true,
            PowerState::On | PowerState::Off | PowerState::Error => false,
        }
    }

    /// The node is read as soon as its BMC may be spoken to again.
    fn read_soon(&mut self, now: Instant) {
        let next = self.bmc.next_attempt(now).unwrap_or(now);
        self.next_sync = self.next_sync.min(next.max(now + SOON));
    }

    /// The node has other credentials: a reading shows at once whether they are right. `error`
    /// stays for its time.
    pub(super) fn try_log_in(&mut self, now: Instant) {
        let at = match self.memory.shown {
            PowerState::Error => now + SOON_AFTER,
            PowerState::Unknown | PowerState::On | PowerState::Off => now,
        };
        self.next_sync = self.next_sync.min(at);
    }

    /// The reading that somebody wanted is not under way any more.
    pub(super) fn fresh_ended(&mut self, read: bool, now: Instant) {
        self.fresh = None;
        if !read && self.is_unknown() {
            self.read_soon(now);
        }
    }

    /// One more periodic reading brought nothing: after so many in a row the node has a fault.
    pub(super) fn sync_failed(
        &mut self,
        report: &Report,
        settings: &RackSettings,
        at: Moment,
    ) -> Vec<Effect> {
        self.failed_syncs += 1;
        let faulty = self.failed_syncs >= settings.fault_after;
        let locked = self.bmc.locked().is_some();
        let soon = match self.memory.shown {
            PowerState::On | PowerState::Off => faulty || locked,
            PowerState::Unknown => true,
            // `error` stays for its time; the reading that ends it is not put off for another
            // interval.
            PowerState::Error => self.next_sync > at.now + SOON_AFTER + SOON_AFTER / 5,
        };
        if soon {
            self.read_soon(at.now);
        }
        // A fault is told once, with the reading that makes it one.
        if self.failed_syncs != settings.fault_after {
            // A log-in that was refused does not come right by itself: the log has it at once.
            if let Report::Unanswered(silence) = report
                && self.failed_syncs == 1
                && (silence.trouble.is_log_in() || silence.trouble == Trouble::Held)
            {
                log::warn!("{}: {}", self.settings.name, silence.text);
            }
            return Vec::new();
        }
        let text = match self.failed_syncs {
            1 => format!("a reading failed: {report}"),
            failed => format!("{failed} readings failed in a row: {report}"),
        };
        log::warn!("{}: {text}", self.settings.name);
        self.memory.fault = Some(NodeFault::Unreadable);
        self.memory.shown = PowerState::Unknown;
        self.memory.last_error = Some(text.clone());
        let entry = entry(HistoryKind::Fault, text, true, at);
        vec![
            Effect::Save,
            Effect::History(entry),
            Effect::Event("its BMC does not answer".to_owned()),
        ]
    }

    /// A task of the node has ended.
    pub(super) fn task_ended(
        &mut self,
        task: &Task,
        outcome: &Outcome,
        next_sync: Duration,
        at: Moment,
    ) -> Vec<Effect> {
        let operation = task.identity.operation;
        let stopped = match outcome.state {
            TaskState::Cancelled | TaskState::Aborted => true,
            TaskState::Queued
            | TaskState::Running
            | TaskState::Suspended
            | TaskState::Aborting
            | TaskState::RollingBack
            | TaskState::Succeeded
            | TaskState::Failed
            | TaskState::RolledBack
            | TaskState::Stuck => false,
        };
        // A task that was stopped before anything left has changed nothing: what was shown stays.
        let keeps_shown = stopped && !task.has_left();
        self.note_late(task, at);
        let done = drift::ends_in(operation).filter(|_| outcome.state == TaskState::Succeeded);
        self.done = done.map(|power| (power, at.now));
        let acted = task.sequence.sent().iter().any(Sent::may_have_acted);
        // An NMI that was refused, or never left, does not count for nmi_min_interval.
        if operation == Operation::InjectNmi && !acted {
            self.forget_nmi();
        }
        let text = told(operation, outcome);
        let error = outcome.state.has_failed() || outcome.error;
        let entry = HistoryEntry {
            task: Some(task.identity.id),
            by: Some(task.identity.requested_by.name.clone()),
            ..entry(HistoryKind::Task, text, error, at)
        };
        let mut effects = self.free(operation, outcome, keeps_shown, next_sync, at);
        effects.push(Effect::History(entry));
        effects
    }

    /// The node belongs to nobody again, and shows what the task left behind; what it showed before
    /// where the task did nothing and said so.
    fn free(
        &mut self,
        operation: Operation,
        outcome: &Outcome,
        keeps_shown: bool,
        next_sync: Duration,
        at: Moment,
    ) -> Vec<Effect> {
        self.task = None;
        self.next_sync = at.now + next_sync;
        self.bmc.set_wanted(false, at.now);
        match (outcome.error, outcome.power) {
            // Design, section 3: after such an end nobody knows what the machine does next.
            (true, _) => self.memory.shown = PowerState::Error,
            (false, Some(power)) if !keeps_shown => {
                self.memory.shown = power.into();
            }
            _ => {}
        }
        if outcome.error || outcome.state.has_failed() || outcome.state == TaskState::Aborted {
            let text = told(operation, outcome);
            self.memory.last_error = Some(text);
        }
        if self.is_unknown() {
            self.read_soon(at.now);
        }
        self.memory.updated_at = Some(at.wall);
        let text = match self.memory.shown {
            shown @ (PowerState::On | PowerState::Off) => format!("shown as {}", shown.name()),
            PowerState::Error => "shown as error until it is read again".to_owned(),
            PowerState::Unknown => "its power state is not known".to_owned(),
        };
        vec![Effect::Save, Effect::Event(text)]
    }
}

/// The part of an interval after which the node with this number is read for the second time: as
/// even as may be, however many there are (multiples of the golden ratio).
pub(super) fn share(number: usize) -> f64 {
    1.0 - 0.9 * (number as f64 * 0.618_033_988_749_895).fract()
}

/// Whether a reading that came for `owner` is shown at once; `busy` while a task has the node.
pub(super) fn shows(owner: Owner, busy: bool, shown: PowerState) -> bool {
    match owner {
        Owner::Sync => !busy,
        // `error` stays until the periodic sync.
        Owner::Fresh => !busy && shown != PowerState::Error,
        // No sync comes while a task runs: what was not known before is known from here on.
        Owner::Task(_) => shown == PowerState::Unknown,
        // A dry run changes nothing, not even what is shown.
        Owner::Ahead(_) | Owner::Call(_) | Owner::Plan(..) => false,
    }
}

/// Within a fifth of `duration` on either side.
fn jittered(duration: Duration, entropy: &mut dyn Entropy) -> Duration {
    let spread = u64::try_from(duration.as_millis() / 5).unwrap_or(u64::MAX / 4);
    duration - Duration::from_millis(spread) + Duration::from_millis(entropy.below(2 * spread + 1))
}

/// How long after the end of a task the machine is looked at: soon where the outcome leaves open
/// what it does now.
pub(super) fn next_after(
    outcome: &Outcome,
    interval: Duration,
    entropy: &mut dyn Entropy,
) -> Duration {
    match outcome.error || outcome.state == TaskState::Aborted {
        true => jittered(SOON_AFTER, entropy),
        false => interval,
    }
}

/// How an operation ended, in a sentence.
pub(super) fn told(operation: Operation, outcome: &Outcome) -> String {
    let (operation, state) = (operation.name(), outcome.state.name());
    let rest = after_state(operation, state, &outcome.text);
    format!("{operation} {state}{rest}")
}

/// When a node is read after such an end, give or take a fifth.
const SOON_AFTER: Duration = Duration::from_secs(15);
/// How long a fresh reading is waited for; then the last one is shown, with its age and the
/// trouble.
const FRESH_ANSWER: Duration = Duration::from_secs(5);
/// No reading that failed is tried again sooner.
const SOON: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::call::CallId;
    use super::super::tests::{at, node, secs};
    use super::*;
    use crate::bmc::vocabulary::Silence;
    use crate::model::Delivery;

    fn silent() -> Report {
        Report::Unanswered(Silence {
            delivery: Delivery::Unknown,
            trouble: Trouble::Silent,
            text: "no answer".to_owned(),
        })
    }

    #[test]
    fn a_node_is_read_when_its_time_has_come_and_not_while_a_reading_is_under_way() {
        let mut node = node(0);
        node.next_sync = at(10).now;
        assert!(!node.sync_is_due(false, false, secs(60), at(9).now));
        assert!(node.sync_is_due(false, false, secs(60), at(10).now));
        node.sync = Some(crate::bmc::vocabulary::OrderId(1));
        assert!(!node.sync_is_due(false, false, secs(60), at(11).now));
        node.sync_ended(secs(60), at(12).now);
        assert!(!node.sync_is_due(false, false, secs(60), at(71).now));
        assert!(node.sync_is_due(false, false, secs(60), at(72).now));
    }

    #[test]
    fn a_busy_node_is_not_read_and_asked_again_an_interval_later() {
        let mut node = node(0);
        node.next_sync = at(10).now;
        assert!(!node.sync_is_due(true, false, secs(60), at(10).now));
        assert!(!node.sync_is_due(false, false, secs(60), at(69).now));
        assert!(node.sync_is_due(false, false, secs(60), at(70).now));
    }

    #[test]
    fn the_fault_comes_with_the_reading_that_is_one_too_many_and_is_told_once() {
        let settings = RackSettings::default();
        let mut node = node(0);
        node.memory.shown = PowerState::On;
        for failed in 1..=5 {
            let effects = node.sync_failed(&silent(), &settings, at(failed));
            assert_eq!(effects.is_empty(), failed != 3, "{failed}: {effects:?}");
        }
        assert_eq!(node.memory.fault, Some(NodeFault::Unreadable));
        assert_eq!(node.memory.shown, PowerState::Unknown);
    }

    #[test]
    fn a_node_in_fault_is_read_again_soon_and_one_that_shows_an_error_not_before_its_time() {
        let settings = RackSettings::default();
        for (shown, planned, next) in [
            (PowerState::On, 10, 11),
            (PowerState::Error, 10, 11),
            // Its task ended while the reading was under way.
            (PowerState::Error, 23, 23),
        ] {
            let mut node = node(0);
            node.memory.reading = Some((Power::On, at(0).wall));
            node.memory.shown = shown;
            node.failed_syncs = settings.fault_after;
            node.next_sync = at(planned).now;
            node.sync_ended(secs(60), at(10).now);
            node.sync_failed(&silent(), &settings, at(10));
            assert_eq!(node.next_sync, at(next).now, "{shown:?} {planned}");
        }
    }

    #[test]
    fn a_node_of_which_nothing_is_shown_is_read_soon_whatever_was_read_in_an_earlier_life() {
        let unknown = || {
            let mut node = node(0);
            node.memory.reading = Some((Power::On, at(0).wall));
            node.next_sync = at(70).now;
            node
        };
        let mut failed = unknown();
        failed.sync_failed(&silent(), &RackSettings::default(), at(10));
        let mut asked = unknown();
        asked.fresh_ended(false, at(10).now);
        let mut ended = unknown();
        let outcome = Outcome {
            state: TaskState::RolledBack,
            power: None,
            power_at_start: None,
            text: "nothing was sent".to_owned(),
            error: false,
            took: secs(1),
        };
        ended.free(Operation::PowerOn, &outcome, false, secs(60), at(10));
        for node in [failed, asked, ended] {
            assert_eq!(node.next_sync, at(11).now);
        }
    }

    #[test]
    fn a_reading_that_needs_a_log_in_waits_in_line_while_many_are_under_way() {
        let mut node = node(0);
        node.next_sync = at(1).now;
        assert!(!node.sync_is_due(false, true, secs(60), at(1).now));
        assert!(node.in_line);
        assert_eq!(node.next_reading(), None, "no timer wakes it");
        node.in_line = false;
        assert!(node.sync_is_due(false, false, secs(60), at(2).now));
    }

    #[test]
    fn readings_that_were_made_at_once_part_with_the_second() {
        let second = |number| {
            let mut node = node(number);
            node.second_sync = Some(share(number));
            node.sync_ended(secs(60), at(0).now);
            let second = node.next_sync - at(0).now;
            node.sync_ended(secs(60), at(100).now);
            assert_eq!(node.next_sync, at(160).now, "and then an interval apart");
            second
        };
        assert_eq!(second(0), secs(60));
        let mut seconds: Vec<u64> = (0..256).map(|number| second(number).as_secs()).collect();
        seconds.sort_unstable();
        assert!(seconds[0] >= 6 && seconds[255] <= 60, "{seconds:?}");
        let most = seconds.chunk_by(|one, next| one == next).map(<[u64]>::len);
        assert!(most.max() <= Some(7), "in one second: {seconds:?}");
    }

    #[test]
    fn what_is_shown_already_is_no_news() {
        let mut node = node(0);
        assert_eq!(node.show(Power::On, at(1)).len(), 2);
        assert_eq!(node.show(Power::On, at(2)), []);
        assert_eq!(node.memory.updated_at, Some(at(1).wall));
    }

    #[test]
    fn one_reading_serves_everybody_who_wants_a_fresh_one() {
        let call = |number| Asker::Call(CallId(number));
        let mut node = node(0);
        assert!(node.wants_fresh(call(1), at(0).now));
        node.fresh = Some(crate::bmc::vocabulary::OrderId(7));
        assert!(!node.wants_fresh(call(2), at(2).now));
        assert_eq!(node.take_late_calls(at(5).now), [call(1)]);
        assert_eq!(node.take_calls(), [call(2)]);
    }

    #[test]
    fn a_reading_is_shown_where_nobody_else_says_what_the_node_does() {
        let on = PowerState::On;
        assert!(shows(Owner::Sync, false, PowerState::Error));
        assert!(!shows(Owner::Sync, true, on));
        assert!(shows(Owner::Fresh, false, on));
        assert!(!shows(Owner::Fresh, false, PowerState::Error));
        assert!(!shows(Owner::Fresh, true, on));
        let task = Owner::Task(super::super::tests::id(1));
        assert!(shows(task, true, PowerState::Unknown));
        assert!(!shows(task, true, PowerState::Error));
        assert!(!shows(
            Owner::Plan(CallId(1), 0),
            false,
            PowerState::Unknown
        ));
    }

    #[test]
    fn a_cancelled_task_leaves_what_is_shown_as_it_was_and_an_aborted_one_shows_an_error() {
        let outcome = |state, error| Outcome {
            state,
            power: Some(Power::Off),
            power_at_start: None,
            text: "by alice".to_owned(),
            error,
            took: secs(1),
        };
        let free = |outcome: &Outcome| {
            let mut node = node(0);
            node.memory.shown = PowerState::On;
            let keeps = outcome.state == TaskState::Cancelled;
            node.free(Operation::SoftPowerOff, outcome, keeps, secs(60), at(1));
            (node.memory.shown, node.memory.last_error.is_some())
        };
        let cancelled = free(&outcome(TaskState::Cancelled, false));
        assert_eq!(cancelled, (PowerState::On, false));
        let aborted = free(&outcome(TaskState::Aborted, true));
        assert_eq!(aborted, (PowerState::Error, true));
        let ended = free(&outcome(TaskState::Succeeded, false));
        assert_eq!(ended, (PowerState::Off, false));
    }
}
