//! Calls that are answered later: long polls on tasks, batches and events.

use super::Rack;
use super::batch::Rooms;
use super::call::{Answer, BatchId, CallId, EventId, EventsView, Refused, TaskId};
use crate::time::Instant;

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waiting: Vec<Wait>,
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
    /// A batch at its end.
    Batch(BatchId),
    /// Events after a position.
    Events {
        since: EventId,
        nodes: Vec<String>,
        limit: usize,
    },
}

impl Waits {
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.iter().map(|wait| wait.until).min()
    }
}

impl Rack {
    /// Answers at once where there is something to tell, else when there is or at `until`.
    pub(super) fn wait(&mut self, call: CallId, what: Awaited, until: Instant, now: Instant) {
        if let Some(answer) = self.told(&what, until <= now || self.stopping, now) {
            self.answer(call, answer);
        } else {
            self.waits.waiting.push(Wait { call, until, what });
        }
    }

    /// The caller has gone away: nobody waits for its answer.
    pub fn forget_call(&mut self, call: CallId) {
        self.waits.waiting.retain(|wait| wait.call != call);
        for node in self.inventory.iter_mut() {
            node.fresh_calls.retain(|(waiting, _)| *waiting != call);
        }
    }

    /// Something happened: whoever waited for it hears of it.
    pub(super) fn wake_waits(&mut self, now: Instant) {
        self.answer_waits(now, false);
    }

    pub(super) fn time_out_waits(&mut self, now: Instant) {
        self.answer_waits(now, false);
    }

    /// The daemon is going down: everybody hears the present state.
    pub(super) fn end_waits(&mut self, now: Instant) {
        self.answer_waits(now, true);
    }

    fn answer_waits(&mut self, now: Instant, all: bool) {
        for wait in std::mem::take(&mut self.waits.waiting) {
            match self.told(&wait.what, all || wait.until <= now, now) {
                Some(answer) => self.answer(wait.call, answer),
                None => self.waits.waiting.push(wait),
            }
        }
    }

    /// The answer, where there is one already or `anyhow`.
    fn told(&self, what: &Awaited, anyhow: bool, now: Instant) -> Option<Result<Answer, Refused>> {
        match what {
            Awaited::Task(id, version) => {
                let Some(task) = self.tasks.get(id) else {
                    return Some(Err(Refused::NoSuchTask(*id)));
                };
                let news = version.is_some_and(|seen| task.identity.version > seen);
                if !(anyhow || news || !task.is_active()) {
                    return None;
                }
                Some(Ok(Answer::Task(self.view_of(task, &mut Rooms::new(), now))))
            }
            Awaited::Batch(id) => {
                let Some(batch) = self.batches.get(id) else {
                    return Some(Err(Refused::NoSuchBatch(*id)));
                };
                if !(anyhow || batch.ended_at.is_some()) {
                    return None;
                }
                let view = self.batch_view(*id, now).ok_or(Refused::NoSuchBatch(*id));
                Some(view.map(Answer::Batch))
            }
            Awaited::Events {
                since,
                nodes,
                limit,
            } => {
                let view = self.events.after(*since, nodes, *limit);
                let nothing = || EventsView {
                    events: Vec::new(),
                    next: self.events.position(),
                    reset: false,
                };
                view.or_else(|| anyhow.then(nothing))
                    .map(|view| Ok(Answer::Events(view)))
            }
        }
    }
}
