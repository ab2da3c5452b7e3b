//! The way from requests to the audit trail: bounded, so that who floods it waits for the disk.

use super::Audit;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use std::cell::Cell;
use std::time::Duration;

/// Records that may wait for the loop.
const WAITING: usize = 256;
/// How long an answer waits for a place among them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where records of requests go.
pub struct TrailQueue {
    sender: Sender<Audit>,
    strangers: Cell<u64>,
    lost: Cell<u64>,
}

/// What was counted and not recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unrecorded {
    /// Requests that were meant to change something, of senders who were not let in: nobody knows who they were.
    pub strangers: u64,
    /// Records for which there was no place for too long.
    pub lost: u64,
}

impl TrailQueue {
    /// A way and its other end.
    pub fn new() -> (Self, Receiver<Audit>) {
        let (sender, receiver) = smol::channel::bounded(WAITING);
        let queue = TrailQueue {
            sender,
            strangers: Cell::default(),
            lost: Cell::default(),
        };
        (queue, receiver)
    }

    /// Hands a record over before its request is answered: waits for a place, but not for ever.
    pub(super) async fn record(&self, audit: Audit) {
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
        if self.sender.try_send(audit).is_err() {
            self.lost.set(self.lost.get() + 1);
        }
    }

    /// A request of somebody who was not let in.
    pub(super) fn count_stranger(&self) {
        self.strangers.set(self.strangers.get() + 1);
    }

    /// What was counted since the last time.
    pub fn take_counts(&self) -> Unrecorded {
        Unrecorded {
            strangers: self.strangers.take(),
            lost: self.lost.take(),
        }
    }
}
