//! A request that takes the node over from its task, at whatever moment it comes.

use crate::story::Story;
use crate::watch::Watch;
use crate::world::who;
use rackbmcd::model::{Control, OnBusy, Operation, PowerOptions, TakeOver, TaskState};
use rackbmcd::rack::call::{Answer, Call, Look, Refused};

impl Story {
    /// Somebody wants the node, whoever has it.
    pub(crate) fn take_over(&mut self, operation: Operation, from: TakeOver) -> Result<(), String> {
        let old = self.task();
        let was = old.map(|id| self.watched.watch.tasks[&id].state);
        let place = Watch::quiet_from(&self.watched.world);
        let call = self.watched.world.ask(Call::Start {
            node: "n01".to_owned(),
            operation,
            options: PowerOptions {
                on_busy: Some(OnBusy::TakeOver),
                take_over: Some(from),
                ..PowerOptions::default()
            },
            who: who(),
        });
        let Some(answer) = self.answer(call)? else {
            return Ok(());
        };
        let new = match answer {
            Ok(Answer::Task(new)) => new,
            // What people made stand still is taken over by name only, and only to switch off.
            Err(Refused::Locked { .. }) => {
                let stands = matches!(was, Some(TaskState::Suspended | TaskState::RollingBack));
                let named = from == TakeOver::Suspended && operation == Operation::PowerOff;
                return match (stands && !named) || was == Some(TaskState::Aborting) {
                    true => Ok(()),
                    false => Err(format!("a task that was {was:?} was not taken over")),
                };
            }
            Err(Refused::Store(_) | Refused::Unremembered(_) | Refused::Withdrawn { .. }) => {
                return Ok(());
            }
            other => return Err(format!("a take-over was answered {other:?}")),
        };
        let Some(old) = old else {
            return Ok(());
        };
        // One that the disk has refused is known no more.
        let look = Call::Look(Look::Task(old));
        let view = match self.watched.world.call(look) {
            Ok(Answer::Task(view)) => view,
            Err(Refused::NoSuchTask(_)) => return Ok(()),
            other => return Err(format!("the old task is {other:?}")),
        };
        let both = (view.taken_over_by, new.took_over) == (Some(new.id), Some(old));
        match view.state.known() {
            Some(TaskState::Aborted) if both => {}
            // It only watched, or had just ended.
            Some(state) if state.is_end() && new.took_over.is_none() => {}
            state => {
                return Err(format!(
                    "a node was taken over from a task that is {state:?} and says {:?}, and the new one says {:?}",
                    view.taken_over_by, new.took_over
                ));
            }
        }
        self.watched.watch.quieted(old, Control::Abort, place)
    }
}
