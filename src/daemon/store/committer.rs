//! Group commit: everything that waits goes to the disk in one transaction, so that 256 tasks started together cost a
//! handful of syncs.
//!
//! Runs on a thread of its own, because a sync blocks. What could not be written is kept, in order, and tried again:
//! later changes build on earlier ones, so none of them may overtake.

use super::Store;
use crate::rack::record::{Table, Write};
use async_io::Timer;
use smol::channel::{Receiver, Sender, TryRecvError};
use smol::future;
use std::collections::BTreeMap;
use std::time::Duration;

/// Changes that become durable together, under a number that grows from batch to batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The number by which the outcome names them.
    pub ticket: u64,
    /// The changes.
    pub writes: Vec<Write>,
}

/// What became of batches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Committed {
    /// All batches up to this ticket are durable.
    Durable(u64),
    /// All batches after the last durable ticket, up to this one, are not durable. They are kept and tried again with
    /// every later batch and every second; each attempt that fails says so.
    Failed {
        /// The last ticket that waits.
        ticket: u64,
        /// Why, to show to an operator.
        reason: String,
    },
}

/// A look at the store that somebody wants, between two commits.
pub type Look = Box<dyn FnOnce(&mut Store) + Send>;

/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Starts the committer's thread. It ends, after a last attempt, when the senders of `inbox` are gone, and gives the
/// store back.
///
/// # Errors
/// The system has no thread left.
pub fn spawn(
    store: Store,
    inbox: Receiver<Batch>,
    looks: Receiver<Look>,
    outbox: Sender<Committed>,
) -> std::io::Result<std::thread::JoinHandle<Store>> {
    std::thread::Builder::new()
        .name("journal".into())
        .spawn(move || smol::block_on(run(store, inbox, looks, outbox, RETRY)))
}

/// What is still to be written: of several changes of one key the last, which is all that one transaction shows.
#[derive(Default)]
struct Waiting {
    changes: BTreeMap<(Table, String), Write>,
    /// The last ticket in here, `None` where nothing waits.
    ticket: Option<u64>,
}

impl Waiting {
    fn add(&mut self, batch: Batch) {
        for write in batch.writes {
            let (Write::Put { table, key, .. } | Write::Delete { table, key }) = &write;
            self.changes.insert((*table, key.clone()), write);
        }
        self.ticket = self.ticket.max(Some(batch.ticket));
    }
}

/// Commits until the senders of `inbox` are gone.
async fn run(
    mut store: Store,
    inbox: Receiver<Batch>,
    looks: Receiver<Look>,
    outbox: Sender<Committed>,
    retry: Duration,
) -> Store {
    let mut waiting = Waiting::default();
    loop {
        let mut open = true;
        match next(&inbox, &looks, waiting.ticket.map(|_| retry)).await {
            Next::Batch(batch) => waiting.add(batch),
            Next::Look(look) => {
                look(&mut store);
                continue;
            }
            Next::Retry => {}
            Next::End => open = false,
        }
        loop {
            match inbox.try_recv() {
                Ok(batch) => waiting.add(batch),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Closed) => {
                    open = false;
                    break;
                }
            }
        }
        if let Some(ticket) = waiting.ticket {
            let writes: Vec<Write> = waiting.changes.values().cloned().collect();
            let committed = match store.commit(&writes) {
                Ok(()) => {
                    waiting = Waiting::default();
                    Committed::Durable(ticket)
                }
                Err(error) => Committed::Failed {
                    ticket,
                    reason: error.to_string(),
                },
            };
            // Nobody listens any more: the daemon is going down, and what is left is still worth writing.
            let _ = outbox.send(committed).await;
        }
        if !open {
            return store;
        }
    }
}

/// What ends the committer's waiting.
enum Next {
    Batch(Batch),
    Look(Look),
    Retry,
    End,
}

async fn next(inbox: &Receiver<Batch>, looks: &Receiver<Look>, retry: Option<Duration>) -> Next {
    let batch = async { inbox.recv().await.map_or(Next::End, Next::Batch) };
    let look = async {
        match looks.recv().await {
            Ok(look) => Next::Look(look),
            // Nobody will ever want one again.
            Err(_) => future::pending().await,
        }
    };
    let batch = future::or(batch, look);
    match retry {
        None => batch.await,
        Some(after) => {
            let timer = async {
                Timer::after(after).await;
                Next::Retry
            };
            future::or(batch, timer).await
        }
    }
}

#[cfg(test)]
mod tests;
