//! Turns of the answers that are long. Each is in memory several times while it is made: so few are made at once, none for
//! a client that has gone, and none where too much waits already for clients that do not read.

use super::guard::Hangup;
use super::respond::{Connection, too_much_unwritten};
use super::share::SMALL;
use crate::api::fault::Fault;
use crate::model::ErrorKind;
use crate::rack::call::{Call, Look};
use http::StatusCode;
use smol::future::FutureExt;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

/// Long answers that are made at once of what is in memory: all of that is done on one thread, so that two of them would take
/// as long, and twice the room.
const LONG_AT_ONCE: usize = 1;
/// Those of what is on the disk, which may hang: the others do not wait for it.
const FROM_DISK_AT_ONCE: usize = 2;

/// Requests with long bodies that are looked at once.
const LONG_BODIES_AT_ONCE: usize = 4;
/// A body of so many bytes is not long.
const SHORT_BODY: usize = 4096;

/// The pause between two long answers where many wait for one.
const BREATH: Duration = Duration::from_millis(1);

/// The turns that there are.
pub struct Turns {
    memory: Arc<Semaphore>,
    disk: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Turns {
            memory: Arc::new(Semaphore::new(LONG_AT_ONCE)),
            disk: Arc::new(Semaphore::new(FROM_DISK_AT_ONCE)),
            bodies: Arc::new(Semaphore::new(LONG_BODIES_AT_ONCE)),
        }
    }
}

/// What a long answer is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// What the rack knows.
    Memory,
    /// What it has put down.
    Disk,
}

/// The turn of one request, or of what comes next on one stream: taken with the first long question, for all of them, and
/// kept until what they make is counted among what waits to be written.
#[derive(Default)]
pub struct Turn {
    taken: RefCell<Option<SemaphoreGuardArc>>,
    /// How many bytes are to be made in it, as far as that is known.
    expected: Cell<usize>,
}

impl Turn {
    /// Waits for it.
    ///
    /// # Errors
    /// The client has gone, it took too long, or too much waits to be written.
    pub async fn take(&self, source: Source, connection: &Connection) -> Result<(), Fault> {
        if self.taken.borrow().is_some() {
            return Ok(());
        }
        let state = &connection.context.state;
        let turns = match source {
            Source::Memory => &state.turns.memory,
            Source::Disk => &state.turns.disk,
        };
        let taken = next(turns, connection).await?;
        if state.unwritten.refuses(self.expected.get().max(SMALL + 1)) {
            return Err(too_much_unwritten());
        }
        self.taken.replace(Some(taken));
        Ok(())
    }

    /// Gives it to the next.
    pub fn end(&self) {
        self.taken.replace(None);
    }

    /// What is made next is about so long: nobody makes it to find that there is no room for it.
    pub fn expect(&self, bytes: usize) {
        self.expected.set(bytes);
    }
}

/// The turn of a request with a long body, which becomes many names: few are in memory at once. Aborts of a whole batch,
/// and what names one node, are short and wait for nobody.
pub struct LongBody(Option<SemaphoreGuardArc>);

impl LongBody {
    /// Waits for it.
    ///
    /// # Errors
    /// The client has gone, or it took too long.
    pub async fn taken(length: usize, connection: &Connection) -> Result<Self, Fault> {
        if length <= SHORT_BODY {
            return Ok(LongBody(None));
        }
        let turns = &connection.context.state.turns.bodies;
        next(turns, connection)
            .await
            .map(|taken| LongBody(Some(taken)))
    }

    /// Keeps it while the request is handled, and not while that waits for BMCs or a disk: the rack has its names by then.
    pub async fn during<T>(self, handling: impl Future<Output = T>) -> T {
        let Some(taken) = self.0 else {
            return handling.await;
        };
        let kept = async {
            smol::Timer::after(HANDED_OVER).await;
            drop(taken);
            smol::future::pending().await
        };
        handling.or(kept).await
    }
}

/// After so long what a request names has reached the rack.
const HANDED_OVER: Duration = Duration::from_secs(1);

/// The next turn among these.
async fn next(turns: &Arc<Semaphore>, connection: &Connection) -> Result<SemaphoreGuardArc, Fault> {
    let waiting = async {
        if let Some(free) = turns.try_acquire_arc() {
            return Ok(free);
        }
        let taken = turns.acquire_arc().await;
        // The thread looks at its sockets and timers when nothing is left to do: not before the last of a crowd has its
        // answer, unless each of them pauses.
        smol::Timer::after(BREATH).await;
        Ok(taken)
    };
    let late = async {
        let patience = connection.context.limits.answer;
        connection.deadlines.after(patience).await;
        Err(Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Crowded,
            "too many long answers were asked for before this one: try again",
        )
        .with("retry-after", "2"))
    };
    let taken = waiting.or(late).or(gone(connection)).await?;
    // Whoever left a while ago may not have been noticed yet.
    if has_gone(connection) {
        return Err(left());
    }
    Ok(taken)
}

/// What the answer to a call is made of, where it tells of everything there is.
pub fn long_source(call: &Call) -> Option<Source> {
    match call {
        Call::Look(Look::Nodes | Look::Tasks { .. } | Look::Batches | Look::Batch(_)) => {
            Some(Source::Memory)
        }
        Call::History { .. } => Some(Source::Disk),
        _ => None,
    }
}

/// How often a connection that waits is asked whether anybody is there.
const HANGUP_LOOK: Duration = Duration::from_secs(2);

/// Ends, with a fault, once the client has gone away.
pub async fn gone<T>(connection: &Connection) -> Result<T, Fault> {
    loop {
        connection.deadlines.after(HANGUP_LOOK).await;
        if has_gone(connection) {
            return Err(left());
        }
    }
}

fn has_gone(connection: &Connection) -> bool {
    connection.hangup.as_ref().is_some_and(Hangup::happened)
}

fn left() -> Fault {
    Fault::bad("the client has gone away")
}
