//! How a task is shown: to whoever asks for it, and to whoever wants its node.

use super::task::Identity;
use super::task::Task;
use crate::bmc::vocabulary::Report;
use crate::model::{self, Control, Short, TaskState, Word};
use crate::power::Sent;
use crate::time::Instant;

impl Task {
    /// How it is shown; `waits_for` is what of the rack it waits for.
    pub(super) fn view(&self, rack: &str, waits_for: Option<String>, now: Instant) -> model::Task {
        let identity = &self.identity;
        let progress = self.sequence.progress(now);
        let outcome = self.sequence.outcome();
        let may = |control| self.may(control).is_ok();
        model::Task {
            id: identity.id,
            version: identity.version,
            rack: rack.to_owned(),
            node: identity.node.clone(),
            node_uuid: identity.node_uuid,
            batch: identity.batch,
            operation: identity.operation.into(),
            state: self.state().into(),
            ended: self.state().is_end(),
            phase: self.phase_in_words(progress.phase, waits_for),
            step: progress.step,
            steps: progress.steps,
            target_power_state: self.target().map(Word::Known),
            requested_by: identity.requested_by.clone(),
            requested_at: identity.requested_at,
            started_at: identity.started_at,
            ended_at: identity.ended_at,
            elapsed: progress.elapsed,
            waited: progress.waited,
            time_left: progress.time_left,
            power_at_start: self.sequence.power_at_start().map(Word::Known),
            power_state: self.sequence.power().map(Word::Known),
            orders: self.orders(),
            orders_left_out: self.sequence.left_out(),
            outcome: outcome.map(|outcome| outcome.text.clone()),
            controls: identity
                .controls
                .iter()
                .map(model::ControlUse::from)
                .collect(),
            controls_left_out: identity.controls_left_out,
            took_over: identity.took_over,
            taken_over_by: identity.taken_over_by,
            may_abort: may(Control::Abort),
            may_cancel: may(Control::Cancel),
            may_rollback: may(Control::Rollback),
            may_suspend: may(Control::Suspend),
            may_resume: may(Control::Resume),
        }
    }

    /// What an event says of it: the same as of its view, and made without the rest of that.
    pub(super) fn told(&self, waits_for: Option<String>, now: Instant) -> model::TaskNews {
        let identity = &self.identity;
        let progress = self.sequence.progress(now);
        let outcome = self.sequence.outcome();
        model::TaskNews {
            id: identity.id,
            version: identity.version,
            node_uuid: identity.node_uuid,
            batch: identity.batch,
            operation: identity.operation.into(),
            state: self.state().into(),
            ended: self.state().is_end(),
            phase: self.phase_in_words(progress.phase, waits_for),
            step: progress.step,
            steps: progress.steps,
            target_power_state: self.target().map(Word::Known),
            power_state: self.sequence.power().map(Word::Known),
            outcome: outcome.map(|outcome| outcome.text.clone()),
        }
    }

    fn phase_in_words(&self, phase: String, waits_for: Option<String>) -> String {
        let aim = match (&self.resuming, &self.returning) {
            (Some(_), _) => " to resume",
            (None, Some(_)) => " to roll back",
            (None, None) => "",
        };
        match waits_for {
            Some(what) if aim.is_empty() => format!("{phase}, waiting for {what}"),
            Some(what) => format!("waiting{aim}, for {what}"),
            None if aim.is_empty() => phase,
            None => format!("waiting{aim}"),
        }
    }

    fn orders(&self) -> Vec<model::OrderUse> {
        // The sequence counts from its beginning, suspensions included, so calendar times follow
        // from the start's.
        let begun = self
            .identity
            .started_at
            .unwrap_or(self.identity.requested_at);
        let view = |sent: &Sent| model::OrderUse {
            order: sent.order.name().to_owned(),
            at: begun + sent.at,
            answered_at: sent.answer.as_ref().map(|(at, _)| begun + *at),
            answer: sent.answer.as_ref().map(|(_, report)| report.to_string()),
            completion_code: match &sent.answer {
                Some((_, Report::Refused(refusal))) => Some(refusal.code),
                _ => None,
            },
            changes_power: sent.order.changes_power(),
            left: sent.handed,
            times: sent.times,
        };
        self.sequence.sent().iter().map(view).collect()
    }

    /// That it has its node, for whoever wants it: `n02: soft power off by alice is running (task
    /// ...); to end it: rackbmc abort n02`.
    pub(super) fn holds_in_words(&self) -> String {
        let Identity {
            id,
            node,
            operation,
            requested_by,
            ..
        } = &self.identity;
        let by = &requested_by.name;
        // What people made stand still, and what goes back, is taken over by name only.
        let (go_on, take_over) = match self.state() {
            TaskState::Suspended => (
                format!("to go on: rackbmc resume {node}; "),
                "; to switch off all the same: --take-over=suspended",
            ),
            TaskState::RollingBack => (
                String::new(),
                "; to switch off all the same: --take-over=suspended",
            ),
            TaskState::Queued | TaskState::Running => {
                (String::new(), "; to take the node over: --take-over")
            }
            TaskState::Aborting
            | TaskState::Succeeded
            | TaskState::Failed
            | TaskState::Aborted
            | TaskState::Cancelled
            | TaskState::RolledBack
            | TaskState::Stuck => (String::new(), ""),
        };
        format!(
            "{node}: {operation} by {by} is {} (task {}); {go_on}to end it: rackbmc abort {node}{take_over}",
            self.state(),
            Short::task(*id)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, task};
    use super::*;
    use crate::model::Operation;

    #[test]
    fn an_event_says_of_a_task_what_its_view_does() {
        let mut task = task(1, Operation::SoftPowerOff);
        let same = |task: &Task, second: u64| {
            let waits_for = Some("a place".to_owned());
            let now = at(second).now;
            let view = task.view("r1", waits_for.clone(), now);
            let view = serde_json::to_value(view).unwrap();
            let told = serde_json::from_value::<model::TaskNews>(view).unwrap();
            assert_eq!(task.told(waits_for, now), told);
        };
        same(&task, 0);
        task.go_on(at(1));
        same(&task, 2);
        task.control(Control::Abort, "bob", at(3)).unwrap();
        same(&task, 4);
    }

    #[test]
    fn whoever_wants_its_node_hears_whose_it_is_and_what_to_type() {
        let mut task = task(1, Operation::SoftPowerOff);
        task.identity.requested_by.name = "alice".to_owned();
        task.go_on(at(1));
        let id = Short::task(task.identity.id);
        let said = task.holds_in_words();
        let expected = format!(
            "n01: soft power off by alice is running (task {id}); to end it: rackbmc abort n01; \
             to take the node over: --take-over"
        );
        assert_eq!(said, expected);
        task.control(Control::Suspend, "bob", at(12)).unwrap();
        let said = task.holds_in_words();
        assert!(said.contains("to go on: rackbmc resume n01"), "{said}");
    }
}
