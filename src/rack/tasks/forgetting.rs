//! Ended tasks are forgotten: when they are too old, too many or too much, and batches with their
//! last task.

use super::super::batch::Batch;
use super::super::call::Refused;
use super::super::clock::Moment;
use super::super::ledger::Ledger;
use super::super::record::Table;
use super::super::task::Task;
use super::{Short, Tasks};
use crate::model::TaskId;
use std::collections::BTreeSet;
use std::time::Duration;

impl Tasks {
    /// Ended tasks are forgotten when they are too old, too many or too much, and batches with
    /// their last task.
    pub(in crate::rack) fn forget_old(&mut self, keep: Duration, at: Moment, ledger: &mut Ledger) {
        // What was told of some of them after their ends is counted as well.
        self.ended_bytes = self.ended.values().map(|task| task.bytes()).sum();
        self.forget(keep, at, ledger);
    }

    fn forget(&mut self, keep: Duration, at: Moment, ledger: &mut Ledger) {
        let bytes = self.ended_bytes;
        let mut surplus = self.ended.len().saturating_sub(ENDED_TASKS_KEPT);
        let mut too_much = bytes.saturating_sub(ENDED_BYTES_KEPT);
        let mut forgotten = Vec::new();
        // Tasks of a batch stay as long as it runs, because its view counts them. Where there is
        // too much without the others they go as well, the oldest first, and the view says so:
        // before those that have just ended, whose clients still ask what came of them.
        for turn in [Goes::First, Goes::OfRunning, Goes::Last] {
            for (id, task) in &self.ended {
                let Some(ended_at) = task.identity.ended_at else {
                    continue;
                };
                let batch = task.identity.batch.and_then(|id| self.batches.get(&id));
                let of_running = batch.is_some_and(|batch| !batch.has_ended());
                let age = at.age(ended_at);
                // Of what has just ended the oldest requests go first, run their batches or not:
                // who had all of the largest rack switched on, and then off, asks for the second.
                let goes = match of_running {
                    _ if age <= ASKED_FOR => Goes::Last,
                    true => Goes::OfRunning,
                    false => Goes::First,
                };
                if goes != turn {
                    continue;
                }
                let old = !of_running && age > keep;
                if surplus == 0 && too_much == 0 && !old {
                    break;
                }
                surplus = surplus.saturating_sub(1);
                too_much = too_much.saturating_sub(task.bytes());
                forgotten.push((*id, task.identity.batch));
            }
        }
        // Each batch is looked through once, however many of its tasks go.
        let mut touched = BTreeSet::new();
        for (id, batch) in forgotten {
            self.forget_one(id, ledger);
            touched.extend(batch);
        }
        for id in touched {
            let there = |task| self.get(task).is_some() || self.lost.contains(&task);
            let batch = self.batches.get(&id);
            if batch.is_some_and(|of| !of.tasks().any(there)) {
                self.drop_batch(id, ledger);
            }
        }
    }

    pub(super) fn forget_names(&mut self, task: &Task) {
        self.shorts.remove(&Short::of(task.identity.id));
        if let Some(asked) = Self::asked_as(task) {
            self.asked.remove(&asked);
        }
    }

    fn forget_one(&mut self, id: TaskId, ledger: &mut Ledger) {
        if let Some(task) = self.ended.remove(&id) {
            self.ended_bytes = self.ended_bytes.saturating_sub(task.bytes());
            self.forget_names(&task);
        }
        ledger.journal.delete(Table::Tasks, id.to_string());
    }

    /// Makes room for a batch of so many bytes: the oldest that have ended are forgotten, with
    /// their tasks.
    ///
    /// # Errors
    /// Those that run take it all.
    pub(in crate::rack) fn make_room(
        &mut self,
        bytes: usize,
        ledger: &mut Ledger,
    ) -> Result<(), Refused> {
        let taken: usize = self.batches.values().map(Batch::bytes).sum();
        let mut too_much = (taken + bytes).saturating_sub(BATCH_BYTES_KEPT);
        let mut old = Vec::new();
        for batch in self.batches.values().filter(|batch| batch.has_ended()) {
            if too_much == 0 {
                break;
            }
            too_much = too_much.saturating_sub(batch.bytes());
            old.push(batch.id());
        }
        if too_much > 0 && !self.batches.is_empty() {
            return Err(Refused::ManyBatches);
        }
        for id in old {
            let tasks = self.batches.get(&id).map(|batch| batch.tasks().collect());
            let tasks: Vec<TaskId> = tasks.unwrap_or_default();
            tasks
                .into_iter()
                .for_each(|task| self.forget_one(task, ledger));
            self.drop_batch(id, ledger);
        }
        Ok(())
    }

    /// The same where a task has ended since it was done: not by going through all of them with
    /// each that ends.
    pub(in crate::rack) fn forget_surplus(
        &mut self,
        keep: Duration,
        at: Moment,
        ledger: &mut Ledger,
    ) {
        if !std::mem::take(&mut self.has_ended) {
            return;
        }
        // The first of them was asked for first: where that is no long time ago, none has ended a
        // long time ago.
        let first = self.ended.first_key_value();
        let is_old = first.is_some_and(|(_, task)| at.age(task.identity.requested_at) > keep);
        let is_much = self.ended.len() > ENDED_TASKS_KEPT || self.ended_bytes > ENDED_BYTES_KEPT;
        if is_old || is_much {
            self.forget(keep, at, ledger);
        }
    }
}

/// When an ended task is forgotten, where there are too many.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    First,
    /// As one of a batch that has not ended, a long time after its own end.
    OfRunning,
    /// As one that has just ended.
    Last,
}

/// So long after its end somebody may still ask what came of a task.
const ASKED_FOR: Duration = Duration::from_secs(600);

/// Ended tasks that are kept in memory, beside those that are active: those of a batch over the
/// largest rack, which its client still asks for when the last of them has ended, and some more.
const ENDED_TASKS_KEPT: usize = 5000;
/// How much memory those may take, about.
const ENDED_BYTES_KEPT: usize = 16 << 20;
/// How much memory batches may take, about, beside their tasks: each holds the names of its nodes,
/// and of those that it left out for they were busy, why.
const BATCH_BYTES_KEPT: usize = 6 << 20;

#[cfg(test)]
mod tests {
    use super::super::super::batch::{self, BatchRecord, Member};
    use super::super::super::tests::{at, batch_record, id, secs, task};
    use super::*;
    use crate::model::{OnFailure, Operation};

    #[test]
    fn the_tasks_of_a_batch_over_the_largest_rack_are_there_when_it_has_ended() {
        let mut tasks = Tasks::default();
        for number in 1..=5100 {
            let mut ended = task(number, Operation::PowerOff);
            ended.identity.ended_at = Some(at(10).wall);
            tasks.ended.insert(ended.identity.id, Box::new(ended));
        }
        let day = Duration::from_secs(86_400);
        tasks.forget_old(day, at(20), &mut Ledger::new());
        assert_eq!(tasks.ended.len(), ENDED_TASKS_KEPT);
        assert!(tasks.get(id(5100 - 4096 + 1)).is_some());
    }

    /// A batch of tasks that have ended, but for those that are `open`.
    fn batch(tasks: &mut Tasks, batch: u128, members: std::ops::RangeInclusive<u128>, open: bool) {
        let ranks = vec![0; members.clone().count()];
        let record = batch_record(id(batch), 0, secs(0), OnFailure::Continue, &ranks);
        let named = members.clone().zip(record.members);
        let members_of = named.map(|(number, member)| Member {
            task: id(number),
            ..member
        });
        let mut record = BatchRecord {
            ended_at: (!open).then(|| at(10).wall),
            members: members_of.collect(),
            ..batch_record(id(batch), 0, secs(0), OnFailure::Continue, &[])
        };
        record.id = id(batch);
        tasks.insert_batch(Batch::restore(record));
        for number in members {
            let mut ended = task(number, Operation::PowerOff);
            ended.identity.batch = Some(id(batch));
            ended.identity.ended_at = Some(at(10).wall);
            tasks.ended.insert(ended.identity.id, Box::new(ended));
        }
    }

    /// Each batch of somebody who has one task of it stand still would keep thousands.
    #[test]
    fn tasks_of_batches_that_run_go_last_and_go_all_the_same() {
        let mut tasks = Tasks::default();
        batch(&mut tasks, 90_001, 1..=3000, true);
        batch(&mut tasks, 90_002, 3001..=4000, false);
        batch(&mut tasks, 90_003, 4001..=8000, true);
        let day = Duration::from_secs(86_400);
        tasks.forget_old(day, at(3000), &mut Ledger::new());
        assert_eq!(tasks.ended.len(), ENDED_TASKS_KEPT);
        assert!(tasks.get(id(3001)).is_none() && tasks.batch(id(90_002)).is_none());
        assert!(tasks.get(id(2000)).is_none() && tasks.get(id(2001)).is_some());
        assert!(tasks.batch(id(90_001)).is_some() && tasks.get(id(4001)).is_some());
        // One that runs keeps what is old, if it is not too much.
        tasks.forget_old(Duration::ZERO, at(3000), &mut Ledger::new());
        assert_eq!(tasks.ended.len(), ENDED_TASKS_KEPT);
    }

    /// Else whoever has a batch go on for ever lets nobody see what came of the next one.
    #[test]
    fn what_has_just_ended_stays_longer_than_what_ended_in_a_batch_that_runs() {
        let mut tasks = Tasks::default();
        batch(&mut tasks, 90_001, 1..=5000, true);
        batch(&mut tasks, 90_002, 5001..=9096, false);
        let day = Duration::from_secs(86_400);
        tasks.forget_old(day, at(20), &mut Ledger::new());
        assert_eq!(tasks.ended.len(), ENDED_TASKS_KEPT);
        assert!(tasks.get(id(5001)).is_some() && tasks.batch(id(90_002)).is_some());
        assert!(tasks.get(id(1)).is_none() && tasks.batch(id(90_001)).is_some());
        // Nobody asks for it any more.
        batch(&mut tasks, 90_003, 10_001..=14_096, true);
        tasks.forget_old(day, at(3000), &mut Ledger::new());
        assert!(tasks.get(id(9096)).is_none() && tasks.batch(id(90_002)).is_none());
        assert!(tasks.get(id(14_096)).is_some());
    }

    #[test]
    fn the_batch_before_goes_before_what_ended_in_the_one_that_runs() {
        let mut tasks = Tasks::default();
        batch(&mut tasks, 90_001, 1..=4096, false);
        batch(&mut tasks, 90_002, 5001..=9096, true);
        let day = Duration::from_secs(86_400);
        tasks.forget_old(day, at(20), &mut Ledger::new());
        assert_eq!(tasks.ended.len(), ENDED_TASKS_KEPT);
        assert!(tasks.get(id(1)).is_none());
        assert!(tasks.get(id(5001)).is_some() && tasks.get(id(9096)).is_some());
    }

    #[test]
    fn a_batch_finds_room_where_others_have_ended_and_none_where_they_run() {
        let mut tasks = Tasks::default();
        let mut ledger = Ledger::new();
        let whole = batch::bytes_of(4096, &[]);
        let most = u128::try_from(BATCH_BYTES_KEPT / whole).expect("few");
        assert!(most > 4, "{most} batches over the largest rack");
        for number in 0..most {
            let first = 1 + 5000 * number;
            batch(
                &mut tasks,
                900_000 + number,
                first..=first + 4095,
                number > 1,
            );
        }
        assert!(tasks.make_room(whole, &mut ledger).is_ok());
        assert!(tasks.batch(id(900_000)).is_none() && tasks.get(id(1)).is_none());
        assert!(tasks.batch(id(900_001)).is_some());
        batch(&mut tasks, 900_000, 1..=4096, true);
        assert!(tasks.make_room(whole, &mut ledger).is_ok());
        batch(&mut tasks, 900_001, 5001..=9096, true);
        let refused = tasks.make_room(whole, &mut ledger);
        assert_eq!(refused, Err(Refused::ManyBatches));
        let nothing = Tasks::default().make_room(100 << 20, &mut ledger);
        assert!(nothing.is_ok(), "one batch always has its room");
    }
}
