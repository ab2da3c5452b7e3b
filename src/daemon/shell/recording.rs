//! What the loop writes into the audit trail, and how that is kept from growing.

use super::looks::ask_store;
use super::{Input, Shell};
use crate::api::serve::{Audit, Noted, Unrecorded};
use crate::daemon::audit::{self, AuditLog, limit};
use crate::model::AuditHead;
use crate::rack::call::CallId;
use crate::rack::record::{Table, Write};
use crate::time::Instant;
use std::time::Duration;

/// The trail, and what the loop knows of its way to the disk.
pub(super) struct Records {
    pub(super) trail: AuditLog,
    /// Records that the disk has not confirmed, and the ticket of the newest.
    unsynced: usize,
    newest_under: u64,
    /// When it was last said what was not recorded.
    unrecorded_at: Instant,
    /// The bytes that the trail may have.
    pub(super) limit: u64,
    /// When it may be made shorter; `None` while that is under way.
    shorten_at: Option<Instant>,
}

impl Records {
    pub(super) fn new(trail: AuditLog, limit: u64) -> Self {
        Self {
            trail,
            unsynced: 0,
            newest_under: 0,
            unrecorded_at: Instant::START,
            limit,
            shorten_at: Some(Instant::START),
        }
    }

    /// Whether more may wait for the disk.
    pub(super) fn has_room(&self) -> bool {
        self.unsynced < UNSYNCED_RECORDS
    }

    /// All up to this ticket is durable.
    pub(super) fn handle_durable(&mut self, ticket: u64) {
        if ticket >= self.newest_under {
            self.unsynced = 0;
        }
    }

    /// The newest record, where all are on the disk.
    pub(super) fn durable_head(&self) -> Option<&AuditHead> {
        (self.unsynced == 0).then(|| self.trail.head())
    }

    pub(super) fn waits_under(&mut self, ticket: u64) {
        self.unsynced += 1;
        self.newest_under = ticket;
    }
}

impl Shell {
    /// Puts the record of an accepted request into the transaction of what it began: neither is
    /// there without the other. Gives the ticket that it is under.
    pub(super) fn record_with(
        &mut self,
        batches: &mut [(u64, Vec<Write>)],
        call: CallId,
        noted: &Noted,
    ) -> Option<u64> {
        let begun = self
            .post
            .rack()
            .into_iter()
            .flat_map(|rack| rack.begun_by(call));
        let begun: Vec<String> = begun.map(|id| id.to_string()).collect();
        // What a request ends to make room for what it begins is put down beside it, and is not
        // meant.
        let meant = |task: &str| begun.is_empty() || begun.iter().any(|id| id == task);
        let (place, task) = audit::put_in(batches, Table::Tasks, meant);
        let (of_batch, batch) = audit::put_in(batches, Table::Batches, |_| true);
        let place = place.or(of_batch).unwrap_or(0);
        let (ticket, writes) = batches.get_mut(place)?;
        let audit = noted.accepted(task, batch)?;
        writes.extend(self.records.trail.append(audit, self.clock.wall()));
        Some(*ticket)
    }

    /// Appends to the audit trail.
    pub(super) fn record(&mut self, audit: Audit) {
        let writes = self.records.trail.append(audit, self.clock.wall());
        self.append(writes);
    }

    /// Appends what the daemon does by itself or by a signal.
    pub(super) fn record_own(&mut self, action: &str, what: String, error: Option<String>) {
        // What the rack has put down comes first.
        self.drain();
        let own = audit::of_the_daemon(action, self.on_disk.path(), what, error);
        self.record(own);
    }

    /// Says now and then what leaves no record.
    pub(super) fn tell_unrecorded(&mut self, now: Instant) {
        if now < self.records.unrecorded_at + UNRECORDED_EVERY {
            return;
        }
        self.records.unrecorded_at = now;
        let Unrecorded {
            strangers,
            lost,
            refused,
        } = self.context.audit.take_counts();
        if strangers > 0 {
            log::warn!("api: requests of unknown senders refused in the last minute: {strangers}");
        }
        if !refused.is_empty() {
            let said = refused
                .iter()
                .map(|(user, count)| format!("{user}: {count}"));
            let said = said.collect::<Vec<_>>().join(", ");
            let what = format!(
                "more requests were refused in the last minute than are recorded one by one: {said}"
            );
            log::warn!("api: {what}");
            self.record_own("REFUSED", what, None);
        }
        if lost > 0 {
            log::error!("the audit trail lacks records, for the disk was too slow: {lost}");
        }
    }

    /// Has the oldest records looked for where there are too many.
    pub(super) fn look_for_surplus(&mut self) {
        if self.records.shorten_at.is_none_or(|at| self.awake_at < at) {
            return;
        }
        let Some(surplus) = self.records.trail.surplus(self.records.limit) else {
            return;
        };
        self.records.shorten_at = None;
        let (inputs, looks) = (self.to_inputs.clone(), self.looks.store.clone());
        let look = async move {
            let oldest = ask_store(looks, move |store| limit::oldest(store, &surplus)).await;
            // The loop has ended where this fails.
            let _ = inputs.send(Input::Oldest(oldest)).await;
        };
        self.executor.spawn(look).detach();
    }

    /// Removes the oldest records.
    pub(super) fn shorten(&mut self, oldest: Result<Option<limit::Oldest>, String>, now: Instant) {
        self.records.shorten_at = Some(now);
        match oldest {
            Ok(Some(oldest)) => {
                let wall = self.clock.wall();
                let writes = self.records.trail.remove(oldest, self.on_disk.path(), wall);
                self.append(writes);
            }
            // Nothing of it is on the disk yet.
            Ok(None) => self.records.shorten_at = Some(now + SHORTEN_AGAIN),
            Err(why) => {
                log::error!("the audit trail is longer than it may be and cannot be read: {why}");
                self.records.shorten_at = Some(now + SHORTEN_AGAIN);
            }
        }
    }

    fn append(&mut self, writes: Vec<Write>) {
        self.records.waits_under(self.last_ticket);
        self.remember(self.last_ticket, writes, false);
    }
}

/// Records that may wait for the disk beyond those that wait for the loop.
const UNSYNCED_RECORDS: usize = 256;
/// How often it is said what was not recorded.
const UNRECORDED_EVERY: Duration = Duration::from_secs(60);
/// When it is tried again to make the trail shorter where that was not possible.
const SHORTEN_AGAIN: Duration = Duration::from_secs(60);
