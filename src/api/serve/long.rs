//! Turns of the answers that are long. Each is in memory several times while it is made: so few are
//! made at once, none for a client that has gone, and none where too much waits already for clients
//! that do not read.

use super::lines::Lines;
use super::respond::{Connection, too_much_unwritten};
use super::share::{Holder, SMALL};
use super::write_timeout::Hangup;
use crate::api::fault::Fault;
use crate::rack::call::{Call, Look};
use smol::future::FutureExt;
use smol::lock::{Mutex, Semaphore, SemaphoreGuardArc};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Long answers that are made at once of what is in memory: all of that is done on one thread, so
/// that two of them would take as long, and twice the room.
const LONG_AT_ONCE: usize = 1;
/// Those of what is on the disk, which may hang: the others do not wait for it.
const FROM_DISK_AT_ONCE: usize = 2;
/// Pieces of snapshots of streams that are made at once. Each is short, and made while its reader
/// has nothing else to read; they have turns of their own, so that none waits for a whole list.
const PIECES_AT_ONCE: usize = 1;

/// Requests that name many nodes, or may, which are looked at once.
const MANY_NAMES_AT_ONCE: usize = 4;
/// A body of so many bytes is not long.
const SHORT_BODY: usize = 4096;

/// The pause after which sockets and timers have been looked at.
const BREATH: Duration = Duration::from_micros(50);
/// For so long one turn may follow another without it.
const BREATHLESS: Duration = Duration::from_millis(1);

/// The turns that there are.
pub(super) struct Turns {
    memory: Line,
    disk: Line,
    pieces: Line,
    names: Line,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            memory: Line::of(LONG_AT_ONCE),
            disk: Line::of(FROM_DISK_AT_ONCE),
            pieces: Line::of(PIECES_AT_ONCE),
            names: Line::of(MANY_NAMES_AT_ONCE),
        }
    }
}

/// Those who wait for a turn, in the order in which they came.
struct Line {
    turns: Arc<Semaphore>,
    /// Whoever has it is the next. A semaphore alone gives a turn that was just ended to who comes
    /// by, and a client that asks again at once would have all of them.
    head: Mutex<()>,
    /// Of each user, or host, one waits in line, and the others behind that one: however many they
    /// are, everybody else waits for one of them at a time.
    own: Lines<Holder>,
    /// When sockets and timers were last looked at, as far as this line knows.
    breathed: Cell<Instant>,
}

impl Line {
    fn of(turns: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(turns)),
            head: Mutex::new(()),
            own: Lines::default(),
            breathed: Cell::new(Instant::now()),
        }
    }

    /// Waits for the next turn.
    async fn next(&self, whose: Holder) -> SemaphoreGuardArc {
        if let Some(_first) = self.head.try_lock()
            && let Some(free) = self.turns.try_acquire_arc()
        {
            self.breathed.set(Instant::now());
            return free;
        }
        let _own = self.own.stand_in(whose).await;
        let _first = self.head.lock().await;
        let taken = self.turns.acquire_arc().await;
        // The thread looks at its sockets and timers when nothing is left to do: not before the
        // last of a crowd has its answer, unless one of them pauses now and then.
        if self.breathed.get().elapsed() >= BREATHLESS {
            smol::Timer::after(BREATH).await;
            self.breathed.set(Instant::now());
        }
        taken
    }
}

/// What a long answer is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// What the rack knows.
    Memory,
    /// What it has put down.
    Disk,
    /// A little of what the rack knows, of a snapshot that is made in pieces.
    Piece,
}

/// The turn of one request, or of what comes next on one stream: taken with the first long
/// question, for all of them, and kept until what they make is counted among what waits to be
/// written.
#[derive(Default)]
pub(super) struct Turn {
    taken: RefCell<Option<SemaphoreGuardArc>>,
}

impl Turn {
    /// Waits for it.
    ///
    /// # Errors
    /// The client has gone, it took too long, or too much waits to be written.
    pub(super) async fn take(&self, source: Source, connection: &Connection) -> Result<(), Fault> {
        if self.taken.borrow().is_some() {
            return Ok(());
        }
        let state = &connection.context.state;
        let turns = match source {
            Source::Memory => &state.turns.memory,
            Source::Disk => &state.turns.disk,
            Source::Piece => &state.turns.pieces,
        };
        let taken = next(turns, connection).await?;
        // Nobody makes a long one to find that there is no room for it.
        if source != Source::Piece && state.unwritten.refuses(SMALL + 1) {
            return Err(too_much_unwritten());
        }
        self.taken.replace(Some(taken));
        Ok(())
    }

    /// Gives it to the next.
    pub(super) fn end(&self) {
        self.taken.replace(None);
    }
}

/// The turn of a request with a long body, which becomes many names, or with a set that stands for
/// many: few are in memory at once. It goes with the call that is made of them, and ends when the
/// rack has taken that. Aborts of a whole batch, and what names few nodes, are short and wait for
/// nobody.
#[derive(Default)]
pub(super) struct Names(RefCell<Option<NamesTurn>>);

/// See [`Names`].
#[derive(Debug)]
pub(crate) struct NamesTurn(
    #[allow(dead_code, reason = "held, and given back when dropped")] SemaphoreGuardArc,
);

impl Names {
    /// Waits for it where a body is long.
    ///
    /// # Errors
    /// The client has gone, or it took too long.
    pub(super) async fn take_for(
        &self,
        length: usize,
        connection: &Connection,
    ) -> Result<(), Fault> {
        match length > SHORT_BODY {
            true => self.take(connection).await,
            false => Ok(()),
        }
    }

    /// Waits for it, where that was not done before.
    ///
    /// # Errors
    /// As [`Names::take_for`].
    pub(super) async fn take(&self, connection: &Connection) -> Result<(), Fault> {
        if self.0.borrow().is_none() {
            let taken = next(&connection.context.state.turns.names, connection).await?;
            self.0.replace(Some(NamesTurn(taken)));
        }
        Ok(())
    }

    /// What goes with this call.
    pub(super) fn hand_over(&self, call: &Call) -> Option<NamesTurn> {
        let looks = matches!(call, Call::Look(_));
        self.0.borrow_mut().take_if(|_| !looks)
    }
}

/// The next turn of this line.
async fn next(line: &Line, connection: &Connection) -> Result<SemaphoreGuardArc, Fault> {
    let waiting = async { Ok(line.next(Holder::of(&connection.peer)).await) };
    let late = async {
        let patience = connection.context.limits.answer;
        connection.deadlines.after(patience).await;
        Err(Fault::crowded(
            "too many long answers were asked for before this one: try again",
        ))
    };
    let taken = waiting.or(late).or(gone(connection)).await?;
    // Whoever left a while ago may not have been noticed yet.
    if has_gone(connection) {
        return Err(left());
    }
    Ok(taken)
}

/// What the answer to a call is made of, where it tells of everything there is.
pub(super) fn long_source(call: &Call) -> Option<Source> {
    match call {
        Call::Look(Look::Nodes | Look::Tasks { .. } | Look::Batches { .. } | Look::Batch(_)) => {
            Some(Source::Memory)
        }
        Call::Look(Look::NodesAfter { .. } | Look::ActiveTasks { .. }) => Some(Source::Piece),
        Call::History { .. } => Some(Source::Disk),
        _ => None,
    }
}

/// How often a connection that waits is asked whether anybody is there.
const HANGUP_LOOK: Duration = Duration::from_secs(2);

/// Ends, with a fault, once the client has gone away.
pub(super) async fn gone<T>(connection: &Connection) -> Result<T, Fault> {
    loop {
        connection.deadlines.after(HANGUP_LOOK).await;
        if has_gone(connection) {
            return Err(left());
        }
    }
}

/// Ends once it has been doubtful for a while whether the client is still there.
pub(super) async fn doubtful(connection: &Connection) {
    loop {
        connection.deadlines.after(HANGUP_LOOK).await;
        if connection.hangup.as_ref().is_some_and(Hangup::is_doubtful) {
            break;
        }
    }
    let patience = connection.context.limits.half_closed;
    connection.deadlines.after(patience).await;
}

fn has_gone(connection: &Connection) -> bool {
    connection.hangup.as_ref().is_some_and(Hangup::happened)
}

fn left() -> Fault {
    Fault::bad("the client has gone away")
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::LocalExecutor;
    use smol::future::{block_on, poll_once};
    use std::pin::pin;
    use std::rc::Rc;

    #[test]
    fn a_turn_that_ends_is_the_next_ones_whoever_comes_by_first() {
        let line = Line::of(1);
        let first = block_on(line.next(Holder::Uid(1)));
        let mut second = pin!(line.next(Holder::Uid(1)));
        assert!(block_on(poll_once(second.as_mut())).is_none());
        drop(first);
        let mut third = pin!(line.next(Holder::Uid(2)));
        assert!(block_on(poll_once(third.as_mut())).is_none());
        drop(block_on(second));
        block_on(third);
    }

    #[test]
    fn whoever_asks_for_many_turns_keeps_another_from_one_of_them_only() {
        let line = Rc::new(Line::of(1));
        let told = Rc::new(RefCell::new(Vec::new()));
        let executor = LocalExecutor::new();
        let ask = |uid| {
            let (line, told) = (line.clone(), told.clone());
            executor.spawn(async move {
                let turn = line.next(Holder::Uid(uid)).await;
                smol::future::yield_now().await;
                told.borrow_mut().push(uid);
                drop(turn);
            })
        };
        let mut asked: Vec<_> = (0..20).map(|_| ask(1)).collect();
        for _ in 0..20 {
            executor.try_tick();
        }
        asked.push(ask(2));
        block_on(executor.run(async {
            for one in asked {
                one.await;
            }
        }));
        let before = told.borrow().iter().position(|uid| *uid == 2);
        assert!(before <= Some(2), "{:?}", told.borrow());
        assert!(line.own.count() <= 2);
    }
}
