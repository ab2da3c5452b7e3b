//! What is counted of the tasks that have not ended, and who of them waits: kept, because every
//! turn asks for it, and there may be thousands.
//!
//! Nobody counts up or down. Whoever has a task in hand leaves its id here, and what is counted of
//! that task is derived from it anew before it is asked for. Builds with debug assertions hold the
//! whole against all tasks.

use super::task::Task;
use crate::model::{BatchId, TaskId, TaskState};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// See the head of this file.
#[derive(PartialEq, Debug, Default)]
pub(super) struct Tally {
    /// Tasks that somebody had in hand since they were counted.
    stirred: BTreeSet<TaskId>,
    counted: BTreeMap<TaskId, Counted>,
    /// Those that wait for their beginning, or are to go on.
    queues: BTreeMap<Queue, BTreeSet<TaskId>>,
    drawing: usize,
    under_way: BTreeMap<BatchId, u32>,
}

/// Of those that stand in one queue nobody may go before the first one is let go, but where
/// something else than his batch keeps that one back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Queue {
    /// The batch that is asked; `None` for all whom no batch keeps back.
    batch: Option<BatchId>,
    /// Whether they have nothing to do, and so need not wait for the stagger.
    idle: bool,
}

/// What is counted of one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counted {
    /// The queue that it stands in.
    queue: Option<Queue>,
    /// Whether it draws inrush current.
    draws: bool,
    /// The batch of which it is under way.
    under_way: Option<BatchId>,
}

impl Counted {
    fn of(task: &Task) -> Self {
        let identity = &task.identity;
        // What goes on has begun before: its batch is not asked again.
        let batch = identity.batch.filter(|_| !task.wants_place());
        let idle = batch.is_some() && task.has_nothing_to_do();
        Self {
            queue: task.waits().then_some(Queue { batch, idle }),
            draws: task.draws_inrush(),
            under_way: identity.batch.filter(|_| is_under_way(task)),
        }
    }
}

/// Whether a task has begun and not ended. One that was suspended before it began has not.
pub(super) fn is_under_way(task: &Task) -> bool {
    let begun = task.identity.started_at.is_some();
    begun && task.is_active() && task.state() != TaskState::Queued
}

impl Tally {
    /// The task may be another one than it was counted as.
    pub(super) fn stir(&mut self, id: TaskId) {
        self.stirred.insert(id);
    }

    /// Counts anew what was stirred.
    pub(super) fn recount(&mut self, active: &BTreeMap<TaskId, Box<Task>>) {
        while let Some(id) = self.stirred.pop_first() {
            let now = active
                .get(&id)
                .map(|task| Counted::of(task))
                .unwrap_or_default();
            // A task that counts nowhere takes no room here.
            let before = match now == Counted::default() {
                true => self.counted.remove(&id),
                false => self.counted.insert(id, now),
            };
            self.replace(id, before.unwrap_or_default(), now);
        }
        debug_assert!(
            active.len() > HELD_AGAINST || *self == Self::of(active),
            "what is counted of the tasks is not what they are"
        );
    }

    fn replace(&mut self, id: TaskId, before: Counted, now: Counted) {
        if before.queue != now.queue {
            if let Some(left) = before.queue
                && let Some(queue) = self.queues.get_mut(&left)
            {
                queue.remove(&id);
                // The scheduler looks into every queue: an empty one must not stay.
                if queue.is_empty() {
                    self.queues.remove(&left);
                }
            }
            if let Some(entered) = now.queue {
                self.queues.entry(entered).or_default().insert(id);
            }
        }
        // Added first, so that the number never falls below zero.
        self.drawing += usize::from(now.draws);
        self.drawing -= usize::from(before.draws);
        if before.under_way != now.under_way {
            if let Some(batch) = before.under_way
                && let Some(count) = self.under_way.get_mut(&batch)
            {
                *count -= 1;
                if *count == 0 {
                    self.under_way.remove(&batch);
                }
            }
            if let Some(batch) = now.under_way {
                *self.under_way.entry(batch).or_default() += 1;
            }
        }
    }

    /// The same, of all tasks.
    fn of(active: &BTreeMap<TaskId, Box<Task>>) -> Self {
        let mut tally = Self::default();
        for (id, task) in active {
            let now = Counted::of(task);
            if now != Counted::default() {
                tally.counted.insert(*id, now);
                tally.replace(*id, Counted::default(), now);
            }
        }
        tally
    }

    /// How many draw inrush current.
    pub(super) fn drawing(&self) -> usize {
        debug_assert!(self.stirred.is_empty());
        self.drawing
    }

    /// Whether a task draws inrush current.
    pub(super) fn draws(&self, id: TaskId) -> bool {
        self.counted.get(&id).is_some_and(|counted| counted.draws)
    }

    /// How many of the batch are under way.
    pub(super) fn under_way(&self, batch: BatchId) -> u32 {
        debug_assert!(self.stirred.is_empty());
        self.under_way.get(&batch).copied().unwrap_or_default()
    }

    /// The tasks that wait, all or those after one: each batch's apart, and those that no batch
    /// keeps back.
    pub(super) fn queues(
        &self,
        after: Option<TaskId>,
    ) -> impl Iterator<Item = impl Iterator<Item = TaskId>> {
        debug_assert!(self.stirred.is_empty());
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let queues = self.queues.values();
        queues.map(move |queue| queue.range((from, Bound::Unbounded)).copied())
    }
}

/// Racks with more tasks are not counted as a whole in each turn, even where debug assertions are
/// made.
const HELD_AGAINST: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::tests::{at, id, task};
    use super::*;
    use crate::model::{Control, Operation};

    fn queues(tally: &Tally, after: Option<TaskId>) -> Vec<Vec<TaskId>> {
        let queues = tally.queues(after);
        queues.map(Iterator::collect).collect()
    }

    #[test]
    fn what_was_stirred_is_counted_anew_and_whoever_is_gone_is_not_counted() {
        let (mut tally, mut active) = (Tally::default(), BTreeMap::new());
        for number in 1..=3 {
            let mut task = task(number, Operation::PowerOff);
            task.admitted = true;
            task.identity.batch = (number > 1).then_some(id(9));
            active.insert(id(number), Box::new(task));
            tally.stir(id(number));
        }
        tally.recount(&active);
        assert_eq!(queues(&tally, None), [vec![id(1)], vec![id(2), id(3)]]);
        assert_eq!(queues(&tally, Some(id(2))), [vec![], vec![id(3)]]);
        assert_eq!(tally.under_way(id(9)), 0);
        active.get_mut(&id(2)).unwrap().go_on(at(1));
        tally.stir(id(2));
        tally.recount(&active);
        assert_eq!(queues(&tally, None), [vec![id(1)], vec![id(3)]]);
        assert_eq!(tally.under_way(id(9)), 1);
        for (number, control) in [(1, Control::Cancel), (2, Control::Abort)] {
            let task = active.get_mut(&id(number)).unwrap();
            task.control(control, "alice", at(2)).unwrap();
            tally.stir(id(number));
        }
        active.remove(&id(3));
        tally.stir(id(3));
        tally.recount(&active);
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn what_goes_on_asks_no_batch() {
        let mut task = task(1, Operation::PowerOff);
        task.admitted = true;
        task.identity.batch = Some(id(9));
        for control in [Control::Suspend, Control::Resume] {
            task.control(control, "alice", at(1)).unwrap();
        }
        let counted = Counted::of(&task);
        assert_eq!(counted.queue, Some(Queue::default()));
        assert_eq!(counted.under_way, None);
    }
}
