//! The abort table, row by row (docs/design.md, section 3), at whatever moment an abort comes.

use crate::story::{Answered, Story};
use crate::watch::{Row, Watch, row};
use crate::world::who;
use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::model::{
    Control, Operation, PowerOptions, PowerState, Target, Task, TaskId, TaskState,
};
use rackbmcd::rack::call::{Answer, Call, Look, Refused};

/// What was so when the abort was asked for.
struct Before {
    /// Asked for by one of Ironic's words, which names what it means; else by the task's id.
    word: Option<PowerTarget>,
    /// The task that has the node, and what it does.
    task: Option<(TaskId, Operation)>,
    shown: PowerState,
    target: Option<Target>,
    /// An order of the task that changes power has left.
    has_left: bool,
    /// The place in the list of datagrams.
    from: usize,
}

impl Before {
    fn row(&self) -> Row {
        let Some((_, operation)) = self.task else {
            return Row::Nothing;
        };
        let Some(word) = self.word else {
            let soft = matches!(self.target, Some(Target::SoftPowerOff | Target::InjectNmi));
            return if soft { Row::Error } else { Row::Quiet };
        };
        row(word, operation, self.target, self.has_left)
    }
}

impl Story {
    /// Somebody aborts what is under way, by one of Ironic's words or by the task's id.
    pub(crate) fn abort(&mut self, word: Option<PowerTarget>) -> Result<(), String> {
        let node = self.watched.world.node("n01");
        let task = self.task();
        let before = Before {
            word,
            task: task.map(|id| (id, self.watched.watch.tasks[&id].operation)),
            shown: node.power_state,
            target: node.target_power_state.and_then(|target| target.known()),
            has_left: task.is_some_and(|id| self.watched.watch.has_left(id)),
            from: Watch::quiet_from(&self.watched.world),
        };
        let who = who();
        let call = match (word, task) {
            (Some(word), _) => Call::SetPower {
                node: "n01".to_owned(),
                change: word.change(),
                options: PowerOptions::default(),
                who,
            },
            (None, Some(task)) => Call::Control {
                task,
                control: Control::Abort,
                who,
            },
            (None, None) => return Ok(()),
        };
        let call = self.watched.world.ask(call);
        let Some(answer) = self.answer(call)? else {
            return Ok(());
        };
        self.judge(&before, answer)
            .map_err(|why| format!("at {:?}: {why}", self.watched.world.now))
    }

    /// Whether the disk has refused the task that had the node, so that there was none.
    fn is_forgotten(&mut self, before: &Before) -> bool {
        let Some((task, _)) = before.task else {
            return false;
        };
        let look = self.watched.world.call(Call::Look(Look::Task(task)));
        matches!(look, Err(Refused::NoSuchTask(_)))
    }

    fn judge(&mut self, before: &Before, answer: Answered) -> Result<(), String> {
        let row = before.row();
        let shown = self.watched.world.power_state("n01");
        let ended: Option<Task> = match answer {
            Ok(Answer::Taken(taken)) => taken.map(|taken| self.watched.world.task(taken.task)),
            Ok(Answer::Task(task)) => Some(task),
            // It holds as long as this daemon runs.
            Err(Refused::Unremembered(_)) => return Ok(()),
            // The disk has refused the task itself.
            Err(Refused::NoSuchTask(_)) if self.task().is_none() => return Ok(()),
            other => return Err(format!("an abort was answered {other:?}")),
        };
        let wrong = |what: &str| {
            let (target, was) = (before.target, before.shown);
            Err(format!(
                "an abort while {target:?} was the target and {was:?} shown: {what}, and the table wants {row:?}"
            ))
        };
        let Some(ended) = ended else {
            return match row {
                Row::Nothing if shown == PowerState::Error && before.shown != PowerState::Error => {
                    wrong("an error is shown")
                }
                Row::Nothing => Ok(()),
                Row::Error | Row::Quiet if self.is_forgotten(before) => Ok(()),
                Row::Error | Row::Quiet => wrong("there was nothing to abort"),
            };
        };
        if row == Row::Nothing {
            return wrong("it ended a task");
        }
        if ended.state.known() != Some(TaskState::Aborted) {
            return wrong(&format!("the task is {}", ended.state));
        }
        // An error of an abort before this one may stay until the next sync.
        let stays = before.shown == PowerState::Error && row == Row::Quiet;
        if !stays && (shown == PowerState::Error) != (row == Row::Error) {
            return wrong(&format!("{shown:?} is shown"));
        }
        self.watched
            .watch
            .quieted(ended.id, Control::Abort, before.from)
    }
}
