//! Calls that are answered later: long polls on tasks, batches and events.

use super::call::{Answer, CallId, Refused, SweepId};
use super::events::Events;
use super::schedule::BatchSlots;
use super::views::Snapshot;
use crate::model::{self, BatchId, EventId, TaskId};
use crate::time::Instant;

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waiting: Vec<Wait>,
    /// Whether some of them may have had their answer in the last turn, and were left for the next.
    more: bool,
}

#[derive(Debug)]
struct Wait {
    call: CallId,
    until: Instant,
    what: Awaited,
}

/// What is waited for.
#[derive(Clone, Debug)]
pub(super) enum Awaited {
    /// A task above a version, or at its end.
    Task(TaskId, Option<u64>),
    /// A batch at its end, of which nothing is told but that.
    End(BatchId),
    /// A batch as it is: a few at a time are told.
    Batch(BatchId),
    /// Nodes of a sweep beyond so many.
    Sweep(SweepId, usize),
    /// Events after a position.
    Events {
        since: EventId,
        nodes: Vec<String>,
        limit: usize,
    },
}

impl Waits {
    pub(super) fn next(&self) -> Option<Instant> {
        // Those who were left for the next turn are due at once.
        let more = self.more.then_some(Instant::START);
        more.or_else(|| self.waiting.iter().map(|wait| wait.until).min())
    }

    /// Whether somebody has waited long enough.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    /// Somebody waits until then at most.
    pub(super) fn add(&mut self, call: CallId, what: Awaited, until: Instant) {
        self.waiting.push(Wait { call, until, what });
    }

    /// The caller has gone away: the sweeps that it waited for, which nobody waits for now.
    pub(super) fn forget(&mut self, call: CallId) -> Vec<SweepId> {
        let gone = self.waiting.extract_if(.., |wait| wait.call == call);
        let sweep = |wait: Wait| match wait.what {
            Awaited::Sweep(sweep, _) => Some(sweep),
            Awaited::Task(..) | Awaited::End(_) | Awaited::Batch(_) | Awaited::Events { .. } => {
                None
            }
        };
        gone.filter_map(sweep).collect()
    }

    /// The answers for those who have waited long enough, or for what has come; for everybody where
    /// `all`. Hundreds may wait for the same, and all that they are told would be in memory at
    /// once: a few have it now, the others in the turns that follow.
    pub(super) fn take_answers(
        &mut self,
        all: bool,
        rack: &Snapshot<'_>,
        events: &Events,
    ) -> Vec<(CallId, Result<Answer, Refused>)> {
        let (mut answers, mut more) = (Vec::new(), false);
        let mut batches = 0;
        self.waiting.retain(|wait| {
            let of_batch = matches!(wait.what, Awaited::Batch(_));
            let enough = answers.len() >= ANSWERS_AT_ONCE;
            // A daemon that stops has no next turn: it answers everybody now.
            if (enough || (of_batch && batches >= BATCHES_AT_ONCE)) && !all {
                more = true;
                return true;
            }
            batches += usize::from(of_batch);
            let anyhow = all || wait.until <= rack.at.now;
            let answer = told(&wait.what, anyhow, rack, events);
            let waits = answer.is_none();
            answers.extend(answer.map(|answer| (wait.call, answer)));
            waits
        });
        self.more = more;
        answers
    }
}

/// How many of those who wait are answered in one turn. The answer of a large batch is a megabyte.
const ANSWERS_AT_ONCE: usize = 8;

/// How many of them are told of a batch as it is: with what its nodes refused that is megabytes,
/// until it is on its way to the client.
const BATCHES_AT_ONCE: usize = 1;

/// The answer, where there is one already or `anyhow`.
pub(super) fn told(
    what: &Awaited,
    anyhow: bool,
    rack: &Snapshot<'_>,
    events: &Events,
) -> Option<Result<Answer, Refused>> {
    match what {
        Awaited::Task(id, version) => {
            // History may have forgotten the task while its caller waited.
            let Some(task) = rack.tasks.get(*id) else {
                return Some(Err(Refused::NoSuchTask(*id)));
            };
            let news = version.is_some_and(|seen| task.identity.version > seen);
            if !(anyhow || news || !task.is_active()) {
                return None;
            }
            let view = rack.view_of(task, &mut BatchSlots::default());
            Some(Ok(Answer::Task(view)))
        }
        Awaited::End(id) => {
            let Some(batch) = rack.tasks.batch(*id) else {
                return Some(Err(Refused::NoSuchBatch(*id)));
            };
            (anyhow || batch.has_ended()).then_some(Ok(Answer::Waited))
        }
        Awaited::Batch(id) => {
            let view = rack.batch(*id).ok_or(Refused::NoSuchBatch(*id));
            Some(view.map(Answer::Batch))
        }
        Awaited::Sweep(sweep, seen) => {
            let Some(news) = rack.sweep(*sweep, *seen) else {
                return Some(Err(Refused::NoSuchSweep));
            };
            let moved = news.seen > *seen || news.ended;
            (anyhow || moved).then_some(Ok(Answer::Sweep(news)))
        }
        Awaited::Events {
            since,
            nodes,
            limit,
        } => {
            let view = events.after(*since, nodes, *limit);
            let nothing = || model::Events {
                events: Vec::new(),
                next: events.position(),
                reset: false,
            };
            // An empty answer has the position in it: its reader goes on from there without a gap.
            let view = view.or_else(|| anyhow.then(nothing));
            view.map(|view| Ok(Answer::Events(view)))
        }
    }
}
