//! A stream that gives up on a peer that does not read, and that can be asked whether its peer has
//! hung up.

use super::deadlines::{Deadline, Deadlines};
use hyper::rt::{Read, ReadBufCursor, Write};
use nix::libc::POLLRDHUP;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smol::io::{AsyncRead, AsyncWrite};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use zeroize::Zeroize;

/// A stream with a deadline on standing still while there is something to write.
pub(super) struct Guarded<S> {
    stream: S,
    patience: Duration,
    deadlines: Deadlines,
    stalled: Option<Deadline>,
}

impl<S: AsFd> Guarded<S> {
    /// `stream`, whose peer may leave it standing for `patience`.
    pub(super) fn new(stream: S, patience: Duration, deadlines: Deadlines) -> Self {
        Self {
            stream,
            patience,
            deadlines,
            stalled: None,
        }
    }

    /// The means of asking whether the peer has hung up.
    pub(super) fn hangup(&self, half: HalfClosed) -> Option<Hangup> {
        let socket = self.stream.as_fd().try_clone_to_owned().ok()?;
        Some(Hangup { socket, half })
    }
}

impl<S> Guarded<S> {
    /// Lets what is ready through; else gives up when the patience is over.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let begun = || self.deadlines.after(self.patience);
        let stalled = self.stalled.get_or_insert_with(begun);
        ready!(Pin::new(stalled).poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client reads nothing",
        )))
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    /// Writes all of `bytes`, down to the socket.
    ///
    /// # Errors
    /// The client is gone or reads nothing.
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = poll_fn(|context| Pin::new(&mut *self).poll_write(context, bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
        }
        poll_fn(|context| Pin::new(&mut *self).poll_flush(context)).await
    }

    /// Tells the client that nothing more will come.
    ///
    /// # Errors
    /// The client is gone or reads nothing.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        poll_fn(|context| Pin::new(&mut *self).poll_shutdown(context)).await
    }
}

impl<S: AsyncRead + Unpin> Read for Guarded<S> {
    /// By way of a small buffer here: hyper offers far more room than a request needs, and wiping
    /// it all before each read is work, and memory, for nothing.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = to.remaining().min(AT_ONCE);
        let stream = Pin::new(&mut self.stream);
        with_room(|bytes| {
            let count = ready!(stream.poll_read(context, &mut bytes[..room]))?;
            to.put_slice(&bytes[..count]);
            // There may be a password among it.
            bytes[..count].zeroize();
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> Write for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_close(context);
        self.watch(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > AT_ONCE {
            let poll = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
            return self.watch(context, poll);
        }
        // Our streams write the first part only: a short answer goes out with its head, and wakes
        // its reader once.
        with_room(|whole| {
            let mut end = 0;
            for part in parts {
                whole[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
            self.poll_write(context, &whole[..length])
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

thread_local! {
    /// Room for what is read or gathered with one call, on the thread that serves: to wipe that
    /// much for each call is a tenth of what a short answer costs.
    static ROOM: RefCell<[u8; AT_ONCE]> = const { RefCell::new([0; AT_ONCE]) };
}

/// Lends the room for one call.
fn with_room<T>(call: impl FnOnce(&mut [u8; AT_ONCE]) -> T) -> T {
    ROOM.with(|room| match room.try_borrow_mut() {
        Ok(mut room) => call(&mut room),
        // A stream that is made of another one.
        Err(_) => call(&mut [0; AT_ONCE]),
    })
}

/// How much is read, or gathered to be written, with one call.
const AT_ONCE: usize = 4096;

/// What it means that a peer has closed its writing side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HalfClosed {
    /// It has said all, and still wants its answer: where it closes both sides, that is seen.
    Listens,
    /// The same, or it has gone: that is seen when something is written to it, and not before.
    MayHaveGone,
    /// It has gone: nobody who speaks like this closes one side alone.
    HasGone,
}

/// Whether a peer has hung up.
pub(super) struct Hangup {
    socket: OwnedFd,
    half: HalfClosed,
}

impl Hangup {
    /// Whether it has, by now: gone in both directions, as far as that can be seen.
    pub(super) fn happened(&self) -> bool {
        // Those two are told unasked.
        self.shows(PollFlags::empty()) || (self.half == HalfClosed::HasGone && self.has_said_all())
    }

    /// Whether it has said all that it wanted to say, and may have gone since.
    pub(super) fn is_doubtful(&self) -> bool {
        self.half == HalfClosed::MayHaveGone && self.has_said_all()
    }

    fn has_said_all(&self) -> bool {
        self.shows(PollFlags::from_bits_retain(POLLRDHUP))
    }

    /// Whether the socket shows one of these, an error, or that both sides are closed.
    fn shows(&self, what: PollFlags) -> bool {
        let mut asked = [PollFd::new(self.socket.as_fd(), what)];
        poll(&mut asked, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }
}
