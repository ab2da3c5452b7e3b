//! Group commit: everything that waits goes to the disk in one transaction, so that 256 tasks
//! started together cost a handful of syncs. It goes into the log, and from there into the journal
//! when nobody waits.
//!
//! Runs on a thread of its own, because a sync blocks. What could not be written is kept, in order,
//! and tried again: later changes build on earlier ones, so none of them may overtake. The one
//! exception is a task's first record: the core refuses the task when it hears that it could not be
//! written, so it is never tried again, lest the next life of the daemon finds a task that somebody
//! was told is not there.

use super::waiting;
use super::{Store, StoreError};
use crate::rack::record::{Table, Write};
use smol::channel::{Receiver, Sender, TryRecvError};
use smol::future;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Changes that become durable together, under a number that grows from batch to batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    /// The number by which the outcome names them.
    pub ticket: u64,
    pub writes: Vec<Write>,
    /// Whether an order or an answer waits for them.
    pub awaited: bool,
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
/// When nothing more has come for so long, what is in the log goes into the journal, and with the
/// next commit when it has been there for so long: what a backup of the journal lacks.
const SETTLE_AFTER: Duration = Duration::from_millis(500);
const SETTLE_AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// Starts the committer's thread; `outbox` has room for whatever it says. It ends, after a last attempt, when the senders of `inbox` are
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
        .spawn(move || {
            store.keep_log();
            waiting::block_on(run(store, durable, inbox, looks, outbox, RETRY))
        })
}

/// What is still to be written: of several changes of one key the last, which is all that one
/// transaction shows.
#[derive(Default)]
struct Waiting {
    changes: BTreeMap<(Table, String), Write>,
    /// The last ticket in here, `None` where nothing waits.
    ticket: Option<u64>,
    /// Whether somebody waits for any of it.
    awaited: bool,
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
        self.awaited |= batch.awaited;
    }

    fn put(&mut self, write: Write) {
        let (table, key) = write.table_and_key();
        self.changes.insert((table, key.to_owned()), write);
    }
}

/// Commits until the senders of `inbox` are gone. `durable` names the tasks that the store has.
async fn run(
    store: Store,
    durable: Vec<String>,
    inbox: Receiver<Batch>,
    looks: Receiver<StoreQuery>,
    outbox: Sender<Committed>,
    retry: Duration,
) -> Store {
    let mut committer = Committer {
        store,
        waiting: Waiting::default(),
        admitted: Admitted {
            durable: durable.into_iter().collect(),
            refused: BTreeSet::new(),
        },
        outbox,
        retry,
        missed: false,
        look_after: LOOK_AFTER_FILE,
        settle_after: SETTLE_AFTER,
        unsettled_since: None,
    };
    loop {
        let mut open = true;
        match next(&inbox, &looks, committer.next_look()).await {
            Next::Batch(batch) => {
                committer.look_after = LOOK_AFTER_FILE;
                committer.add(batch);
            }
            Next::Query(query) => {
                query(&mut committer.store);
                continue;
            }
            Next::Retry if committer.waiting.ticket.is_none() => {
                committer.tidy();
                continue;
            }
            Next::Retry => {}
            Next::End => open = false,
        }
        loop {
            match inbox.try_recv() {
                Ok(batch) => committer.add(batch),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Closed) => {
                    open = false;
                    break;
                }
            }
        }
        committer.commit();
        if !open {
            return committer.end();
        }
    }
}

/// What commits, and what it has to look after between two commits.
struct Committer {
    store: Store,
    waiting: Waiting,
    admitted: Admitted,
    outbox: Sender<Committed>,
    retry: Duration,
    /// The file was found to be missing, and that was said.
    missed: bool,
    look_after: Duration,
    settle_after: Duration,
    /// When the first of what is in the log alone came there.
    unsettled_since: Option<Instant>,
}

impl Committer {
    fn add(&mut self, batch: Batch) {
        self.waiting.add(batch, &mut self.admitted);
    }

    /// After which time there is something to do though nothing comes.
    fn next_look(&self) -> Duration {
        match self.waiting.ticket {
            Some(_) => self.retry,
            None if self.store.is_unsettled() => self.settle_after,
            None => self.look_after,
        }
    }

    /// Writes all that waits.
    fn commit(&mut self) {
        let Some(ticket) = self.waiting.ticket else {
            return;
        };
        let changes = std::mem::take(&mut self.waiting.changes);
        let writes: Vec<Write> = changes.into_values().collect();
        let goes_to_log = self.goes_to_log();
        // Said first: orders wait for it.
        let durable = || say(&self.outbox, Committed::Durable(ticket));
        let committed = match goes_to_log {
            true => self.store.commit_to_log(&writes, durable),
            false => self.store.commit(&writes).map(|()| durable()),
        };
        match committed {
            Ok(()) => {
                self.waiting = Waiting::default();
                self.admitted.note(&writes);
            }
            Err(error) => {
                for write in writes {
                    self.waiting.put(write);
                }
                self.admitted.refuse(&mut self.waiting);
                let reason = error.to_string();
                say(&self.outbox, Committed::Failed { ticket, reason });
            }
        }
    }

    /// Whether what waits goes into the log first. What nobody waits for does not, where nothing
    /// else is there: what a whole rack is known by at a start need not be kept twice for a while.
    fn goes_to_log(&mut self) -> bool {
        let since = self.unsettled_since.filter(|_| self.store.is_unsettled());
        self.unsettled_since = since.or_else(|| Some(Instant::now()));
        match since {
            Some(since) => since.elapsed() < SETTLE_AT_LEAST_EVERY,
            None => self.waiting.awaited,
        }
    }

    /// Brings what the log has into the journal; where it has nothing, looks after the files.
    fn tidy(&mut self) {
        if self.store.is_unsettled() {
            let settled = self.store.settle();
            self.settle_after = settled.as_ref().map_or(self.retry, |()| SETTLE_AFTER);
            if let Err(error) = settled {
                self.tell(&error);
            }
            return;
        }
        let lost = self.store.check_there().err();
        if let Some(error) = lost.as_ref().filter(|_| !self.missed) {
            self.tell(error);
        }
        self.missed = lost.is_some();
        self.look_after = match self.missed {
            true => LOOK_AFTER_FILE,
            false => (self.look_after * 2).min(LOOK_AT_LEAST_EVERY),
        };
        if !self.missed {
            self.store.begin_log();
        }
        self.store.sync_count();
    }

    /// Says that nothing can be remembered, though nothing waits to be.
    fn tell(&self, error: &StoreError) {
        let reason = error.to_string();
        say(&self.outbox, Committed::Failed { ticket: 0, reason });
    }

    /// The last words.
    fn end(mut self) -> Store {
        if let Err(error) = self.store.end_log() {
            log::error!("the journal is not complete without the log beside it: {error}");
        }
        self.store.sync_count();
        self.store
    }
}

fn say(outbox: &Sender<Committed>, committed: Committed) {
    // Nobody listens any more: the daemon is going down, and what is left is still worth writing.
    let _ = outbox.try_send(committed);
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
