//! A task: as it is shown and as it is asked for.

use super::words::Word;
use super::{BatchId, Control, Operation, Power, Target, TaskId, TaskState, Who, seconds, stamp};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// Of a task's orders, and of its controls, so many of the first are kept and so many of the last.
pub const ENDS_KEPT: usize = 50;

/// What a task's outcome says beside its operation and its state, which people have read already:
/// `soft power off failed: no answer` is `: no answer` after these, and `aborted by alice` is ` by
/// alice`.
pub fn after_state(operation: &str, state: &str, outcome: &str) -> String {
    let strip = |text: &str, word: &str| {
        let rest = text.strip_prefix(word)?;
        (rest.is_empty() || rest.starts_with([' ', ':', ','])).then(|| rest.to_owned())
    };
    let rest = strip(outcome, operation).unwrap_or_else(|| format!(" {outcome}"));
    let said = [state, "done"].into_iter();
    let rest = said
        .into_iter()
        .find_map(|word| strip(rest.trim_start(), word))
        .unwrap_or(rest);
    match rest.trim_start_matches([' ', ':', ',']) {
        "" => String::new(),
        rest if rest.starts_with("by ") => format!(" {rest}"),
        rest => format!(": {rest}"),
    }
}

/// A task's state with what it is doing; one that waits for its turn does nothing else.
pub fn state_and_phase(state: &str, phase: &str) -> String {
    match state == phase {
        true => state.to_owned(),
        false => format!("{state}: {phase}"),
    }
}

/// One task: `GET /v1/tasks/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    pub id: TaskId,
    /// Grows with every change; pass it as `version=` to wait for the next one.
    pub version: u64,
    /// The rack's name.
    pub rack: String,
    /// The node's name.
    pub node: String,
    /// The node's uuid.
    pub node_uuid: Uuid,
    /// The batch it belongs to.
    pub batch: Option<BatchId>,
    /// What it does.
    pub operation: Word<Operation>,
    /// How it stands.
    pub state: Word<TaskState>,
    /// Whether it has ended.
    pub ended: bool,
    /// What it does at the moment, in words.
    pub phase: String,
    /// The present step, from 1.
    pub step: u32,
    /// All steps.
    pub steps: u32,
    /// What `target_power_state` of the node shows for it.
    pub target_power_state: Option<Word<Target>>,
    pub requested_by: Who,
    #[serde(with = "stamp")]
    pub requested_at: WallTime,
    /// When it left the queue.
    #[serde(with = "stamp::maybe")]
    pub started_at: Option<WallTime>,
    /// When it ended.
    #[serde(with = "stamp::maybe")]
    pub ended_at: Option<WallTime>,
    /// Time since the request, waits and suspensions included.
    #[serde(with = "seconds")]
    pub elapsed: Duration,
    /// How much of that it waited for its turn: in the queue, or with a step for a place or the
    /// distance to another one. A timeout that the request named runs meanwhile, unless the machine
    /// is off by the task's doing; the others do not.
    #[serde(with = "seconds")]
    pub waited: Duration,
    /// Patience left.
    #[serde(with = "seconds::maybe")]
    pub time_left: Option<Duration>,
    /// The power state read at the start.
    pub power_at_start: Option<Word<Power>>,
    /// The power state read last.
    pub power_state: Option<Word<Power>>,
    /// The orders sent, with their answers: the first fifty and the last fifty.
    pub orders: Vec<OrderUse>,
    /// Orders between those.
    pub orders_left_out: u32,
    /// How it ended, in words.
    pub outcome: Option<String>,
    /// The controls used on it: the first fifty and the last fifty, fewer where more than 245 tasks
    /// are active, of 4,096 the first three and the last three.
    pub controls: Vec<ControlUse>,
    /// Controls between those.
    pub controls_left_out: u32,
    /// The task that it took its node over from.
    pub took_over: Option<TaskId>,
    /// The task that took its node over.
    pub taken_over_by: Option<TaskId>,
    /// May it be aborted now.
    pub may_abort: bool,
    /// May it be cancelled now.
    pub may_cancel: bool,
    /// May it be rolled back now.
    pub may_rollback: bool,
    /// May it be suspended now.
    pub may_suspend: bool,
    /// May it be resumed now.
    pub may_resume: bool,
}

/// An order that a task sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderUse {
    /// What was asked.
    pub order: String,
    #[serde(with = "stamp")]
    pub at: WallTime,
    /// When the answer came.
    #[serde(with = "stamp::maybe")]
    pub answered_at: Option<WallTime>,
    /// The answer in words; null while it is awaited.
    pub answer: Option<String>,
    /// The completion code, where the BMC refused.
    pub completion_code: Option<u8>,
    /// Whether it changes the machine's power.
    pub changes_power: bool,
    /// Whether it reached the network, or may have: until then it waits, or never left.
    pub left: bool,
    /// For how many equal readings with equal answers in a row this stands.
    pub times: u32,
}

/// A control that was used on a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlUse {
    pub control: Word<Control>,
    pub by: String,
    #[serde(with = "stamp")]
    pub at: WallTime,
}

/// `GET /v1/tasks` and `/v1/nodes/{ident}/tasks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskList {
    /// Newest first.
    pub tasks: Vec<Task>,
}

#[cfg(test)]
mod tests {
    use super::after_state;

    #[test]
    fn an_outcome_says_nothing_twice() {
        for (operation, state, outcome, rest) in [
            (
                "soft power off",
                "failed",
                "soft power off failed: no answer",
                ": no answer",
            ),
            (
                "power on",
                "succeeded",
                "power on done, read back on at 3.0 s: ...",
                ": read back on at 3.0 s: ...",
            ),
            (
                "power off",
                "succeeded",
                "power off: the node was off already",
                ": the node was off already",
            ),
            (
                "rebooting",
                "aborted",
                "aborted by alice: nothing was sent",
                " by alice: nothing was sent",
            ),
            (
                "rebooting",
                "rolled back",
                "rolled back by bob: read back on",
                " by bob: read back on",
            ),
            (
                "power off",
                "stuck",
                "rollback asked for by bob is stuck",
                ": rollback asked for by bob is stuck",
            ),
            ("power on", "failed", "power once more", ": power once more"),
            ("power on", "failed", "", ""),
        ] {
            assert_eq!(after_state(operation, state, outcome), rest, "{outcome}");
        }
    }
}
