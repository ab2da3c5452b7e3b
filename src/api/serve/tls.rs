//! HTTPS: a TCP listener whose connections begin with a handshake (rustls on smol's streams).
//!
//! A handshake has a deadline of its own and holds one of the listener's connections meanwhile, as
//! everybody does. Who does not finish it is hung up on: those who speak plain HTTP here, too.

use super::listener::Door;
use super::write_timeout::HalfClosed;
use super::{Context, Later, Peer, until_shutdown};
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;
use smol::future::{self, FutureExt};
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{TcpListener, TcpStream};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context as Waking, Poll};
use std::time::Duration;

/// A TCP listener that speaks TLS.
pub(super) struct TlsListener(pub TcpListener);

/// The longest that a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Bytes of a connection that are encrypted and wait for its socket: they count no more among what
/// waits to be written, so that hundreds of clients who do not read must not have many.
const ENCRYPTED_LIMIT: usize = 16 * 1024;

impl Door for TlsListener {
    type Raw = TcpStream;
    type Stream = Encrypted;
    const SCHEME: &'static str = "https";
    // Who has said all and listens says so within TLS.
    const HALF_CLOSED: HalfClosed = HalfClosed::HasGone;

    async fn accept(&self, context: &Context) -> io::Result<(TcpStream, Peer)> {
        Door::accept(&self.0, context).await
    }

    fn greet(&self, raw: TcpStream, context: &Context) -> Later<Option<Encrypted>> {
        let identity = context.identity.borrow().clone();
        let patience = HANDSHAKE.min(context.limits.header_timeout);
        let shutdown = context.shutdown.clone();
        Box::pin(async move {
            let acceptor = TlsAcceptor::from(identity?);
            let accepted = acceptor.accept_with(raw, |connection| {
                connection.set_buffer_limit(Some(ENCRYPTED_LIMIT));
            });
            let shake = async { Some(accepted.await) };
            let late = async {
                smol::Timer::after(patience).await;
                None
            };
            let down = async {
                until_shutdown(&shutdown).await;
                None
            };
            match shake.or(late).or(down).await {
                Some(Ok(stream)) => Some(Encrypted(stream)),
                Some(Err(error)) => {
                    log::debug!("api: no TLS with a client: {error}");
                    None
                }
                None => None,
            }
        })
    }

    /// Without a word: it could not be read before a handshake, which is what a crowd is not to
    /// cost us.
    fn turn_away(raw: TcpStream) -> impl Future<Output = ()> {
        drop(raw);
        future::ready(())
    }
}

/// A connection after its handshake.
pub(super) struct Encrypted(TlsStream<TcpStream>);

impl AsFd for Encrypted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().0.as_fd()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        waking: &mut Waking<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(waking, to)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        waking: &mut Waking<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(waking, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, waking: &mut Waking<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(waking)
    }

    fn poll_close(mut self: Pin<&mut Self>, waking: &mut Waking<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(waking)
    }
}
