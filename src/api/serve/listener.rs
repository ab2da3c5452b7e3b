//! The kinds of listeners: how a connection comes in, what is said before HTTP begins, and how one
//! too many is sent away.

use super::write_timeout::HalfClosed;
use super::{Context, Later, Peer};
use crate::api::dispatch::Frame;
use crate::api::fault::Fault;
use crate::model::ErrorKind;
use async_io::Async;
use http::HeaderMap;
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::net::unix::{UnixListener, UnixStream};
use smol::net::{TcpListener, TcpStream};
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net;
use std::sync::Arc;
use std::time::Duration;

pub(super) trait Door {
    /// A connection as it comes in.
    type Raw: 'static;
    /// A connection on which HTTP is spoken.
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + 'static;
    /// The scheme of its addresses.
    const SCHEME: &'static str;
    /// What it means that a client has closed its writing side.
    const HALF_CLOSED: HalfClosed;

    /// The next connection and who it is.
    fn accept(&self, context: &Context) -> impl Future<Output = io::Result<(Self::Raw, Peer)>>;

    /// What comes before HTTP: never waits for longer than the client has for a request's head.
    /// `None` where the client is not to be talked to.
    fn greet(&self, raw: Self::Raw, context: &Context) -> Later<Option<Self::Stream>>;

    /// Tells a client that there are too many, without reading what it wants, and without waiting
    /// for long.
    fn turn_away(raw: Self::Raw) -> impl Future<Output = ()> + 'static;
}

impl Door for UnixListener {
    type Raw = UnixStream;
    type Stream = UnixStream;
    const SCHEME: &'static str = "http";
    const HALF_CLOSED: HalfClosed = HalfClosed::Listens;

    async fn accept(&self, context: &Context) -> io::Result<(UnixStream, Peer)> {
        let listener: Arc<Async<_>> = self.clone().into();
        let (stream, _) = next(&listener, net::UnixListener::accept).await?;
        let stream = UnixStream::from(Async::new(stream)?);
        let ids =
            nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials)?;
        let mut peer = Peer::unix(ids.uid(), ids.gid(), Some(ids.pid()));
        (context.look_up)(stream.as_fd(), &mut peer);
        Ok((stream, peer))
    }

    fn greet(&self, raw: UnixStream, _: &Context) -> Later<Option<UnixStream>> {
        Box::pin(std::future::ready(Some(raw)))
    }

    fn turn_away(raw: UnixStream) -> impl Future<Output = ()> {
        say_no(raw)
    }
}

impl Door for TcpListener {
    type Raw = TcpStream;
    type Stream = TcpStream;
    const SCHEME: &'static str = "http";
    const HALF_CLOSED: HalfClosed = HalfClosed::MayHaveGone;

    async fn accept(&self, _: &Context) -> io::Result<(TcpStream, Peer)> {
        let listener: Arc<Async<_>> = self.clone().into();
        let (stream, from) = next(&listener, std::net::TcpListener::accept).await?;
        let stream = TcpStream::from(Async::new(stream)?);
        // Answers are small and awaited: nothing is gained by holding them back.
        stream.set_nodelay(true)?;
        let peer = Peer {
            address: Some(from.ip()),
            ..Peer::tcp()
        };
        Ok((stream, peer))
    }

    fn greet(&self, raw: TcpStream, _: &Context) -> Later<Option<TcpStream>> {
        Box::pin(std::future::ready(Some(raw)))
    }

    fn turn_away(raw: TcpStream) -> impl Future<Output = ()> {
        say_no(raw)
    }
}

/// What comes next at a listener. The listeners' own waiting tries anew whenever it is polled,
/// which is with every request of every connection; this tries when something has come.
async fn next<L, T>(listener: &Async<L>, accept: impl Fn(&L) -> io::Result<T>) -> io::Result<T> {
    loop {
        match accept(listener.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.readable().await?,
            accepted => return accepted,
        }
    }
}

/// A plain 503, once the request's head is there: a client that still writes would not read it.
async fn say_no<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let fault = Fault::new(
        http::StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Crowded,
        "too many connections are open; try again",
    );
    let frame = Frame::of("", "/v1/nodes", "", &HeaderMap::new());
    let body = String::from_utf8_lossy(&frame.finish(Err(fault)).body).into_owned();
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    within(HEAD_PATIENCE, read_head(&mut stream)).await;
    let say = async {
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.close().await;
        // What is left unread would make the kernel throw away what was written.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    };
    within(Duration::from_secs(1), say).await;
}

/// Reads to the empty line that ends the head, or as far as a head may go.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) {
    let (mut head, mut read) = ([0; 4096], 0);
    while read < head.len() {
        match stream.read(&mut head[read..]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => read += count,
        }
        if head[..read].windows(4).any(|four| four == b"\r\n\r\n") {
            return;
        }
    }
}

async fn within(patience: Duration, what: impl Future<Output = ()>) {
    let late = async {
        smol::Timer::after(patience).await;
    };
    what.or(late).await;
}

/// How long a client that is sent away has for its request's head.
const HEAD_PATIENCE: Duration = Duration::from_millis(500);
