//! The stagger of a batch: the first orders of its tasks that change power have their turn one
//! after the other, so far apart.
//!
//! Who has nothing to send needs no turn, so that the beginnings of tasks are as close as they
//! like. A turn is no datagram: an order that had its turn may wait for a place, the disk or a
//! session afterwards, and leave close to another one.

use super::Watch;
use crate::world::World;
use rackbmcd::model::{TaskId, TaskState};
use rackbmcd::rack::call::{Answer, Call, Look};
use std::collections::BTreeSet;

impl Watch {
    /// Looks who has had his turn in this instant.
    pub(super) fn stand_apart(&mut self, world: &mut World) -> Result<(), String> {
        for id in std::mem::take(&mut self.turns) {
            let Some(seen) = self.tasks.get(&id) else {
                continue;
            };
            let running = seen.state == TaskState::Running;
            let Some(batch) = seen.batch.filter(|_| running && seen.turn.is_none()) else {
                continue;
            };
            match turn_of(id, world) {
                Turn::Had => {}
                Turn::Waits => {
                    self.turns.insert(id);
                    continue;
                }
                Turn::TakenBack => continue,
            }
            let stagger = self.batches.get(&batch).map(|batch| batch.stagger);
            let others = self.tasks.values().filter(|seen| seen.batch == Some(batch));
            let last = others.filter_map(|seen| seen.turn).max();
            let apart = last.map(|last| world.now - last);
            if apart.is_some_and(|apart| Some(apart) < stagger) {
                return Err(format!(
                    "{id} changed something {apart:?} after another of its batch, which is to be {stagger:?} apart"
                ));
            }
            let now = world.now;
            self.tasks
                .entry(id)
                .and_modify(|seen| seen.turn = Some(now));
        }
        Ok(())
    }

    /// The next life knows of a turn where something has left since: the order that had it, or one
    /// after it, where the disk refused that.
    pub(super) fn forget_turns(&mut self) {
        self.turns.clear();
        let left = self.issued.values().filter(|it| it.first_left.is_some());
        let left: BTreeSet<TaskId> = left.map(|issued| issued.task).collect();
        for (id, seen) in &mut self.tasks {
            seen.turn.take_if(|_| !left.contains(id));
        }
    }
}

/// What a task says of the turn of its order.
enum Turn {
    Waits,
    Had,
    /// The order was taken back before it left, as when the daemon stops: it has no turn.
    TakenBack,
}

fn turn_of(id: TaskId, world: &mut World) -> Turn {
    if !world.is_running() {
        return Turn::Had;
    }
    let call = world.ask(Call::Look(Look::Task(id)));
    let Some(Ok(Answer::Task(view))) = world.take_answer(call) else {
        return Turn::Had;
    };
    if view.phase.ends_with("the stagger of its batch") {
        return Turn::Waits;
    }
    let mut orders = view.orders.iter().rev();
    match orders.find(|order| order.changes_power) {
        Some(order) if order.answer.is_some() && !order.left => Turn::TakenBack,
        Some(_) | None => Turn::Had,
    }
}
