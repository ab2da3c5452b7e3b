//! Streams of events and readings on their way to a client: read from the rack only as fast as the
//! client reads from us.
//!
//! A connection on which nothing came before the stream is taken away from hyper, whose buffers and
//! state are several times what a stream needs: a watcher is to cost next to nothing while nothing
//! happens. The head and the chunks (RFC 9112 §7.1) are then written here.

use super::long::Turn;
use super::respond::Connection;
use super::share::{Counted, Place, SMALL};
use super::write_timeout::Guarded;
use super::{Context, until_shutdown};
use crate::api::access::Peer;
use crate::api::fault::Fault;
use crate::api::stream::TextStream;
use crate::model::ErrorKind;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::StreamBody;
use hyper::body::Frame as BodyFrame;
use smol::future::FutureExt;
use smol::io::AsyncWrite;
use smol::stream::{self, Stream};
use std::convert::Infallible;
use std::fmt::{self, Write as _};
use std::io;
use std::pin::Pin;
use std::rc::Rc;

/// One of the streams that there may be.
pub(super) struct StreamTicket(
    #[allow(dead_code, reason = "held, and given back when dropped")] Place,
);

impl StreamTicket {
    /// A place among them.
    ///
    /// # Errors
    /// 503 where there are as many as there may be.
    pub(super) fn take(context: &Context, peer: &Peer) -> Result<Self, Fault> {
        let streams = &context.state.streams;
        let place = streams.take(context.limits.streams as usize, peer, &context.policy());
        if let Some(place) = place {
            return Ok(Self(place));
        }
        Err(Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Crowded,
            format!(
                "{} streams are open already: try again later, or poll",
                context.limits.streams
            ),
        )
        .with("retry-after", "5"))
    }
}

/// A stream and where it stands.
pub(super) struct Streaming {
    /// What waits to be written: counted, like any answer.
    text: Option<Counted>,
    stream: TextStream,
    turn: Rc<Turn>,
    connection: Rc<Connection>,
    _ticket: StreamTicket,
}

impl Streaming {
    /// A stream that begins with `text`.
    pub(super) fn new(
        text: Counted,
        stream: TextStream,
        ticket: StreamTicket,
        turn: Rc<Turn>,
        connection: Rc<Connection>,
    ) -> Self {
        Self {
            text: Some(text).filter(|text| !text.as_ref().is_empty()),
            stream,
            turn,
            connection,
            _ticket: ticket,
        }
    }

    /// What the client is to be sent next; `None` ends the stream.
    async fn next(&mut self) -> Option<Counted> {
        if let Some(text) = self.text.take() {
            return Some(text);
        }
        let next = self.made().await;
        self.turn.end();
        next
    }

    async fn made(&mut self) -> Option<Counted> {
        let mut text = String::new();
        while text.is_empty() {
            let down = async {
                until_shutdown(&self.connection.context.shutdown).await;
                None
            };
            // Refused is the end as well: the reader has lost its role, or the rack is stopping.
            let next = async { self.stream.next().await.ok().flatten() };
            text = next.or(down).await?;
        }
        // Too much waits already for clients that do not read: it ends, and begins again where it
        // was left.
        let unwritten = &self.connection.context.state.unwritten;
        (!unwritten.refuses(text.len())).then(|| self.count(text.into_bytes()))
    }

    fn count(&self, bytes: Vec<u8>) -> Counted {
        self.connection.context.state.unwritten.count(bytes)
    }

    /// As the body of an answer that hyper writes.
    pub(super) fn body(self) -> Chunks {
        let frames = stream::unfold(self, |mut at| async move {
            let text = at.next().await?;
            Some((Ok(BodyFrame::data(Bytes::from_owner(text))), at))
        });
        StreamBody::new(Box::pin(frames))
    }
}

/// A stream as a body.
pub(super) type Chunks =
    StreamBody<Pin<Box<dyn Stream<Item = Result<BodyFrame<Bytes>, Infallible>>>>>;

/// A stream that takes its connection over, and the head of its answer.
pub(super) struct Handover {
    head: String,
    streaming: Streaming,
}

impl Handover {
    /// `streaming`, answered with `head`.
    pub(super) fn new(head: hyper::Response<()>, streaming: Streaming) -> Self {
        let mut text = String::from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n");
        for (name, value) in head.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            write!(text, "{name}: {value}\r\n").expect("text grows");
        }
        let now = jiff::Timestamp::now();
        if let Ok(date) =
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now)
        {
            write!(text, "date: {date}\r\n").expect("text grows");
        }
        text.push_str("\r\n");
        Self {
            head: text,
            streaming,
        }
    }

    /// Writes the stream until one side has enough.
    ///
    /// # Errors
    /// The client is gone or reads nothing.
    pub(super) async fn pour<S: AsyncWrite + Unpin>(self, mut to: Guarded<S>) -> io::Result<()> {
        let Self {
            head,
            mut streaming,
        } = self;
        to.write_all(head.as_bytes()).await?;
        drop(head);
        while let Some(text) = streaming.next().await {
            let bytes = text.as_ref();
            let size = format!("{:x}\r\n", bytes.len());
            // Few bytes go as one packet, and many are not copied for that.
            if bytes.len() <= SMALL {
                let chunk = [size.as_bytes(), bytes, b"\r\n"].concat();
                let chunk = streaming.count(chunk);
                drop(text);
                to.write_all(chunk.as_ref()).await?;
            } else {
                for part in [size.as_bytes(), bytes, b"\r\n"] {
                    to.write_all(part).await?;
                }
            }
        }
        to.write_all(b"0\r\n\r\n").await?;
        to.close().await
    }
}

/// No answer is given to a request: its connection was handed over.
#[derive(Debug)]
pub(super) struct HandedOver;

impl fmt::Display for HandedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was handed over to a stream of events")
    }
}

impl std::error::Error for HandedOver {}
