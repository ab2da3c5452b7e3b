//! Group commit: everything that waits goes to the disk in one transaction, so that 256 tasks
//! started together cost a handful of syncs.
//!
//! Runs on a thread of its own, because a sync blocks. What could not be written is kept, in order,
//! and tried again: later changes build on earlier ones, so none of them may overtake. The one
//! exception is a task's first record: the core refuses the task when it hears that it could not be
//! written, so it is never tried again, lest the next life of the daemon finds a task that somebody
//! was told is not there.

use super::Store;
use super::waiting;
use crate::rack::record::{Table, Write};
use smol::channel::{Receiver, Sender, TryRecvError};
use smol::future;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Changes that become durable together, under a number that grows from batch to batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    /// The number by which the outcome names them.
    pub ticket: u64,
    pub writes: Vec<Write>,
}

/// What became of batches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Committed {
    /// All batches up to this ticket are durable.
    Durable(u64),
    /// All batches after the last durable ticket, up to this one, are not durable. They are kept
    /// and tried again with every later batch and every second; each attempt that fails says so.
    Failed {
        /// The last ticket that waits.
        ticket: u64,
        /// Why, to show to an operator.
        reason: String,
    },
}

/// A look at the store that somebody wants, between two commits.
pub(crate) type StoreQuery = Box<dyn FnOnce(&mut Store) + Send>;

/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// When it is looked first whether the file is still there while nothing is to be written, and the
/// longest time between two looks: each doubles the time until the next. They are for those who are
/// told of it; every commit looks for itself.
const LOOK_AFTER_FILE: Duration = Duration::from_secs(2);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(30);

/// Starts the committer's thread. It ends, after a last attempt, when the senders of `inbox` are
/// gone, and gives the store back.
///
/// # Errors
/// The system has no thread left, or the store cannot be read.
pub(crate) fn spawn(
    mut store: Store,
    inbox: Receiver<Batch>,
    looks: Receiver<StoreQuery>,
    outbox: Sender<Committed>,
) -> std::io::Result<std::thread::JoinHandle<Store>> {
    let durable = store.keys(Table::Tasks).map_err(std::io::Error::other)?;
    std::thread::Builder::new()
        .name("journal".into())
        .spawn(move || waiting::block_on(run(store, durable, inbox, looks, outbox, RETRY)))
}

/// What is still to be written: of several changes of one key the last, which is all that one
/// transaction shows.
#[derive(Default)]
struct Waiting {
    changes: BTreeMap<(Table, String), Write>,
    /// The last ticket in here, `None` where nothing waits.
    ticket: Option<u64>,
}

/// The tasks of which a record is durable, and those whose first one could not be written.
struct Admitted {
    durable: BTreeSet<String>,
    refused: BTreeSet<String>,
}

impl Admitted {
    /// Whether the change may be written: nothing of a task that was refused is.
    fn lets(&mut self, write: &Write) -> bool {
        match write {
            Write::Put {
                table: Table::Tasks,
                key,
                ..
            } => !self.refused.contains(key),
            Write::Delete {
                table: Table::Tasks,
                key,
            } => {
                // The core has heard of it: nothing more comes of this task.
                self.refused.remove(key);
                true
            }
            _ => true,
        }
    }

    /// This became durable.
    fn note(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put {
                    table: Table::Tasks,
                    key,
                    ..
                } => drop(self.durable.insert(key.clone())),
                Write::Delete {
                    table: Table::Tasks,
                    key,
                } => drop(self.durable.remove(key)),
                _ => {}
            }
        }
    }

    /// What waits could not be written: new tasks do not wait any longer.
    fn refuse(&mut self, waiting: &mut Waiting) {
        waiting.changes.retain(|(table, key), write| {
            let new = *table == Table::Tasks
                && matches!(write, Write::Put { .. })
                && !self.durable.contains(key);
            if new {
                self.refused.insert(key.clone());
            }
            !new
        });
    }
}

impl Waiting {
    fn add(&mut self, batch: Batch, admitted: &mut Admitted) {
        for write in batch
            .writes
            .into_iter()
            .filter(|write| admitted.lets(write))
        {
            self.put(write);
        }
        self.ticket = self.ticket.max(Some(batch.ticket));
    }

    fn put(&mut self, write: Write) {
        let (table, key) = write.table_and_key();
        self.changes.insert((table, key.to_owned()), write);
    }
}

/// Commits until the senders of `inbox` are gone. `durable` names the tasks that the store has.
async fn run(
    mut store: Store,
    durable: Vec<String>,
    inbox: Receiver<Batch>,
    looks: Receiver<StoreQuery>,
    outbox: Sender<Committed>,
    retry: Duration,
) -> Store {
    let mut waiting = Waiting::default();
    let mut admitted = Admitted {
        durable: durable.into_iter().collect(),
        refused: BTreeSet::new(),
    };
    // The file was found to be missing, and that was said.
    let mut missed = false;
    let mut look_after = LOOK_AFTER_FILE;
    loop {
        let mut open = true;
        let after = waiting.ticket.map_or(look_after, |_| retry);
        match next(&inbox, &looks, after).await {
            Next::Batch(batch) => {
                look_after = LOOK_AFTER_FILE;
                waiting.add(batch, &mut admitted);
            }
            Next::Query(query) => {
                query(&mut store);
                continue;
            }
            Next::Retry if waiting.ticket.is_none() => {
                let lost = store.check_there().err();
                if let Some(error) = lost.as_ref().filter(|_| !missed) {
                    let failed = Committed::Failed {
                        ticket: 0,
                        reason: error.to_string(),
                    };
                    let _ = outbox.send(failed).await;
                }
                missed = lost.is_some();
                look_after = match missed {
                    true => LOOK_AFTER_FILE,
                    false => (look_after * 2).min(LOOK_AT_LEAST_EVERY),
                };
                store.sync_count();
                continue;
            }
            Next::Retry => {}
            Next::End => open = false,
        }
        loop {
            match inbox.try_recv() {
                Ok(batch) => waiting.add(batch, &mut admitted),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Closed) => {
                    open = false;
                    break;
                }
            }
        }
        if let Some(ticket) = waiting.ticket {
            let writes: Vec<Write> = std::mem::take(&mut waiting.changes).into_values().collect();
            let committed = match store.commit(&writes) {
                Ok(()) => {
                    admitted.note(&writes);
                    waiting = Waiting::default();
                    Committed::Durable(ticket)
                }
                Err(error) => {
                    writes.into_iter().for_each(|write| waiting.put(write));
                    admitted.refuse(&mut waiting);
                    Committed::Failed {
                        ticket,
                        reason: error.to_string(),
                    }
                }
            };
            // Nobody listens any more: the daemon is going down, and what is left is still worth
            // writing.
            let _ = outbox.send(committed).await;
        }
        if !open {
            store.sync_count();
            return store;
        }
    }
}

/// What ends the committer's waiting.
enum Next {
    Batch(Batch),
    Query(StoreQuery),
    Retry,
    End,
}

async fn next(inbox: &Receiver<Batch>, looks: &Receiver<StoreQuery>, retry: Duration) -> Next {
    let batch = async { inbox.recv().await.map_or(Next::End, Next::Batch) };
    let look = async {
        match looks.recv().await {
            Ok(query) => Next::Query(query),
            // Nobody will ever want one again.
            Err(_) => future::pending().await,
        }
    };
    let batch = future::or(batch, look);
    let timer = async {
        waiting::sleep(retry).await;
        Next::Retry
    };
    future::or(batch, timer).await
}

#[cfg(test)]
mod tests;
