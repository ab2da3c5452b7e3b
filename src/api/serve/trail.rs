//! The way from requests to the audit trail: bounded, so that who floods it waits for the disk.

use super::Audit;
use crate::model::beginning;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

/// Records that may wait for the loop.
const WAITING: usize = 256;
/// How long an answer waits for a place among them.
const PATIENCE: Duration = Duration::from_secs(5);
/// Refused requests of one user that are recorded a minute: whoever may change nothing must not
/// fill the trail until the records of what was changed are removed from its old end. More are
/// counted.
const REFUSALS: u32 = 30;
/// Users whose refusals are told apart.
const USERS: usize = 256;
/// Bytes of a refused request's nodes, and of why it was refused, that are recorded.
const REFUSAL_RECORDED: usize = 1024;

/// Where records of requests go.
pub(crate) struct TrailQueue {
    sender: Sender<Audit>,
    strangers: Cell<u64>,
    lost: Cell<u64>,
    /// The refusals of each user since they were taken last.
    refusals: RefCell<BTreeMap<String, u32>>,
}

/// What was counted and not recorded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Unrecorded {
    /// Requests that were meant to change something, of senders who were not let in: nobody knows
    /// who they were.
    pub strangers: u64,
    /// Records for which there was no place for too long.
    pub lost: u64,
    /// Refused requests of users who had as many recorded as may be, and how many.
    pub refused: Vec<(String, u32)>,
}

impl TrailQueue {
    /// A way and its other end.
    pub(crate) fn new() -> (Self, Receiver<Audit>) {
        let (sender, receiver) = smol::channel::bounded(WAITING);
        let queue = Self {
            sender,
            strangers: Cell::default(),
            lost: Cell::default(),
            refusals: RefCell::default(),
        };
        (queue, receiver)
    }

    /// Hands a record over before its request is answered: waits for a place, but not for ever.
    pub(super) async fn record(&self, audit: Audit) {
        let Some(audit) = self.admit(audit) else {
            return;
        };
        let handed_over = async { self.sender.send(audit).await.is_ok() };
        let late = async {
            smol::Timer::after(PATIENCE).await;
            false
        };
        if !handed_over.or(late).await {
            self.lost.set(self.lost.get() + 1);
        }
    }

    /// The same of a request that ended without an answer: nobody is there to wait.
    pub(super) fn record_at_once(&self, audit: Audit) {
        let Some(audit) = self.admit(audit) else {
            return;
        };
        if self.sender.try_send(audit).is_err() {
            self.lost.set(self.lost.get() + 1);
        }
    }

    /// The record, of what was refused as much as may be; `None` where enough was refused to that
    /// user.
    fn admit(&self, mut audit: Audit) -> Option<Audit> {
        if audit.status < 400 || audit.status >= 499 {
            return Some(audit);
        }
        let mut refusals = self.refusals.borrow_mut();
        let known = refusals.len() < USERS || refusals.contains_key(&audit.who.name);
        let user = if known {
            audit.who.name.as_str()
        } else {
            OTHERS
        };
        let count = refusals.entry(user.to_owned()).or_default();
        *count = count.saturating_add(1);
        for text in [&mut audit.nodes, &mut audit.what, &mut audit.error] {
            *text = text.take().map(|text| beginning(&text, REFUSAL_RECORDED));
        }
        (*count <= REFUSALS).then_some(audit)
    }

    /// A request of somebody who was not let in.
    pub(super) fn count_stranger(&self) {
        self.strangers.set(self.strangers.get() + 1);
    }

    /// What was counted since the last time.
    pub(crate) fn take_counts(&self) -> Unrecorded {
        Unrecorded {
            strangers: self.strangers.take(),
            lost: self.lost.take(),
            refused: {
                let refusals = self.refusals.take().into_iter();
                let more = refusals.map(|(user, count)| (user, count.saturating_sub(REFUSALS)));
                more.filter(|(_, more)| *more > 0).collect()
            },
        }
    }
}

/// Who shares an entry.
const OTHERS: &str = "others";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Who;

    fn of(user: &str, status: u16) -> Audit {
        Audit {
            who: Who {
                name: user.to_owned(),
                ..Who::default()
            },
            status,
            nodes: Some("n".repeat(60_000)),
            ..Audit::default()
        }
    }

    #[test]
    fn whoever_is_refused_again_and_again_is_counted_and_nothing_else_is_left_out() {
        let (queue, records) = TrailQueue::new();
        for _ in 0..1000 {
            queue.record_at_once(of("anna", 403));
        }
        queue.record_at_once(of("bob", 403));
        queue.record_at_once(of("anna", 202));
        queue.record_at_once(of("anna", 499));
        let found: Vec<Audit> = std::iter::from_fn(|| records.try_recv().ok()).collect();
        assert_eq!(found.len(), 33);
        assert!(found[0].nodes.as_ref().unwrap().len() < 1100);
        assert_eq!(found[31].nodes.as_ref().unwrap().len(), 60_000);
        let counted = queue.take_counts();
        assert_eq!(counted.refused, [("anna".to_owned(), 970)]);
        assert_eq!(counted.lost, 0);
        for user in 0..10_000 {
            queue.record_at_once(of(&user.to_string(), 403));
            while records.try_recv().is_ok() {}
        }
        let others = (OTHERS.to_owned(), 10_000 - 256 - REFUSALS);
        assert_eq!(queue.take_counts().refused, [others]);
    }
}
