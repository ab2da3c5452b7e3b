//! What the rack puts down goes to the journal's thread, with the record of what was asked.

use super::Shell;
use super::post::Post;
use crate::daemon::store::committer::Batch;
use crate::rack::record::Write;
use crate::rack::{Rack, Unwritten};
use std::time::Duration;

impl Shell {
    /// Carries to the journal what the rack has put down, with the record of what was just asked.
    pub(super) fn put_down(&mut self) {
        self.answers.extend(self.post.take_answers());
        let awaited = self.is_awaited();
        let mut batches = self.take_batches();
        let mut recorded = None;
        if let Some((id, noted)) = self.accepting.take() {
            let mut answers = self.answers.iter();
            let refused = answers.any(|(call, answer)| *call == id && answer.is_err());
            if !refused {
                recorded = self.record_with(&mut batches, id, &noted);
            }
        }
        self.carry_batches(batches, awaited);
        if matches!(self.post, Post::Shared(_)) {
            self.carry_tenure();
            // It has one of our own numbers now.
            recorded = recorded.map(|_| self.last_ticket);
            // What that led to: a permit that lets something out, for one.
            self.send();
            self.answers.extend(self.post.take_answers());
        }
        if let Some(ticket) = recorded {
            self.records.waits_under(ticket);
        }
    }

    /// Carries to the journal what the rack has put down before a call, which would pass for what
    /// the call began or touched.
    pub(super) fn put_down_earlier(&mut self) {
        let batches = self.take_all_batches();
        // It goes with the call's own, which somebody waits for.
        self.carry_batches(batches, true);
    }

    fn carry_batches(&mut self, batches: Vec<(u64, Vec<Write>)>, awaited: bool) {
        if batches.iter().any(|(_, writes)| writes.len() > BURST) {
            // What they take is free once they are on the disk.
            self.give_back_at = self.give_back_at.min(self.awake_at + SOON);
            self.gives_back_soon = true;
        }
        match &mut self.post {
            Post::Shared(shared) => shared.keeper.put_down(batches, self.awake_at),
            Post::Alone(_) => {
                for (ticket, writes) in batches {
                    self.last_ticket = ticket;
                    self.remember(ticket, writes, awaited);
                }
            }
        }
    }

    /// What the rack has put down and is to be written now.
    fn take_batches(&mut self) -> Vec<(u64, Vec<Write>)> {
        if let Post::Shared(shared) = &mut self.post {
            return shared.keeper.poll_writes(self.awake_at);
        }
        match self.writes_now() {
            true => self.take_all_batches(),
            false => Vec::new(),
        }
    }

    /// The same, with what may wait.
    fn take_all_batches(&mut self) -> Vec<(u64, Vec<Write>)> {
        match &mut self.post {
            Post::Shared(shared) => shared.keeper.poll_all_writes(),
            Post::Alone(rack) => {
                self.write_at = None;
                std::iter::from_fn(|| rack.poll_writes()).collect()
            }
        }
    }

    /// Whether what the rack has put down goes to the disk now. What nobody waits for waits a
    /// moment, and goes with the next that somebody does wait for: a sync takes milliseconds, and
    /// an order waits until one that is under way is over.
    fn writes_now(&mut self) -> bool {
        let now = self.awake_at;
        let at_once = self.accepting.is_some() || self.stop_by.is_some();
        let unwritten = self.post.rack().map_or(Unwritten::Nothing, Rack::unwritten);
        match unwritten {
            Unwritten::Nothing | Unwritten::Awaited => true,
            Unwritten::Idle => at_once || *self.write_at.get_or_insert(now + GATHER) <= now,
        }
    }

    /// Whether an order or an answer waits for what the rack has put down.
    fn is_awaited(&self) -> bool {
        let unwritten = self.post.rack().map(Rack::unwritten);
        self.accepting.is_some() || unwritten == Some(Unwritten::Awaited)
    }

    pub(super) fn remember(&mut self, ticket: u64, writes: Vec<Write>, awaited: bool) {
        self.unconfirmed.gave(ticket, self.awake_at);
        let Some(batch) = &mut self.batch else {
            self.batch = Some(Batch {
                ticket,
                writes,
                awaited,
            });
            return;
        };
        batch.ticket = batch.ticket.max(ticket);
        batch.writes.extend(writes);
        batch.awaited |= awaited;
    }

    /// Hands what is to be written to the journal's thread. What callers who are taken together lead
    /// to goes together: else the first of them alone would keep the disk busy while the others come.
    pub(super) fn hand_over_batches(&mut self) {
        let (Some(journal), Some(batch)) = (&self.journal, self.batch.take()) else {
            return;
        };
        if journal.try_send(batch).is_err() {
            log::error!("the journal's thread is gone");
        }
    }
}

/// So long what nobody waits for may wait for others that go to the disk.
const GATHER: Duration = Duration::from_millis(20);
/// More changes than these at once are megabytes.
const BURST: usize = 1000;
/// When free memory is given back after them.
const SOON: Duration = Duration::from_millis(500);
