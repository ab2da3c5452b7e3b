//! A task: as it is shown and as it is asked for.

use super::words::Word;
use super::{
    BatchId, BootDevice, Control, OnBusy, OnSoftTimeout, Operation, Power, Seconds, TakeOver,
    Target, TaskId, TaskState, Who, seconds, stamp,
};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// Of a task's orders, and of its controls, so many of the first are kept and so many of the last.
pub const ENDS_KEPT: usize = 50;

/// What a task's outcome says beside its operation and its state, which people have read already: `soft power off failed:
/// no answer` is `: no answer` after these, and `aborted by alice` is ` by alice`.
pub fn after_state(operation: &str, state: &str, outcome: &str) -> String {
    let strip = |text: &str, word: &str| {
        let rest = text.strip_prefix(word)?;
        rest.starts_with([' ', ':', ',']).then(|| rest.to_owned())
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

/// One task: `GET /v1/tasks/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// Its id.
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
    /// Who asked.
    pub requested_by: Who,
    /// When.
    #[serde(with = "stamp")]
    pub requested_at: WallTime,
    /// When it left the queue.
    #[serde(with = "stamp::maybe")]
    pub started_at: Option<WallTime>,
    /// When it ended.
    #[serde(with = "stamp::maybe")]
    pub ended_at: Option<WallTime>,
    /// Time since it began, suspensions included; only the patience stands still meanwhile.
    #[serde(with = "seconds")]
    pub elapsed: Duration,
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
    /// The controls used on it: the first fifty and the last fifty.
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
    /// When.
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
    /// Which.
    pub control: Word<Control>,
    /// Who.
    pub by: String,
    /// When.
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

/// What a request may ask beside the operation itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PowerOptions {
    /// Patience of the whole operation; the node's own setting where `None`.
    pub timeout: Option<Duration>,
    /// What to do when the operating system does not go down in time.
    pub on_soft_timeout: Option<OnSoftTimeout>,
    /// Press the button once more after so long.
    pub repeat_soft_after: Option<Duration>,
    /// Switch off hard after so long.
    pub hard_after: Option<Duration>,
    /// What the machine boots from next: set, and read back, directly before it starts.
    pub boot_device: Option<BootDevice>,
    /// In UEFI mode.
    pub uefi: bool,
    /// A reset or a cycle switches on a machine that is off.
    pub on_if_off: bool,
    /// What to do where a task has the node.
    pub on_busy: OnBusy,
    /// Which tasks the node may be taken over from.
    pub take_over: TakeOver,
}

/// Body of `POST /v1/tasks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskStart {
    /// Name or uuid.
    pub node: String,
    /// What to do.
    pub operation: Operation,
    /// Patience for the whole operation; the node's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
    /// What to do when the operating system does not go down in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_soft_timeout: Option<OnSoftTimeout>,
    /// Press the button once more after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_soft_after: Option<Seconds>,
    /// Switch off hard after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_after: Option<Seconds>,
    /// What the machine boots from next: set, and read back, directly before it starts. What cannot be set stops the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_device: Option<BootDevice>,
    /// Boot that in UEFI mode.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uefi: bool,
    /// A reset or a cycle switches on a machine that is off, instead of failing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_if_off: bool,
    /// What to do where a task has the node: fail (where absent), leave the node as it is, or take it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_busy: Option<OnBusy>,
    /// Which tasks the node may be taken over from; given alone it means `on_busy` take_over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_over: Option<TakeOver>,
}

impl TaskStart {
    /// Such an operation on such a node, as the node's own settings have it.
    pub fn new(node: &str, operation: Operation) -> Self {
        TaskStart {
            node: node.to_owned(),
            operation,
            timeout: None,
            on_soft_timeout: None,
            repeat_soft_after: None,
            hard_after: None,
            boot_device: None,
            uefi: false,
            on_if_off: false,
            on_busy: None,
            take_over: None,
        }
    }
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
