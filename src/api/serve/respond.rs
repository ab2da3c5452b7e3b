//! One request on one connection: read its body, find out who asks, carry the plan's calls to the rack, write the answer.

use super::guard::Hangup;
use super::{Asked, Audit, Context, Reply, until_shutdown};
use crate::api::access::{CHALLENGE, Entry, Peer};
use crate::api::events::EventStream;
use crate::api::fault::Fault;
use crate::api::message::{Request, Response};
use crate::api::plan::{Frame, Plan, plan};
use crate::rack::call::{Answer, Call, Refused, Who};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame as BodyFrame, Incoming};
use smol::future::FutureExt;
use smol::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The body of every answer.
type Outgoing = UnsyncBoxBody<Bytes, Infallible>;

/// What the requests of one connection share.
pub struct Connection {
    /// Who is at the other end.
    pub peer: Peer,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Whether they still are.
    pub hangup: Option<Hangup>,
    /// The world.
    pub context: Arc<Context>,
}

/// How a request ends.
enum End {
    /// With one response.
    Whole(Response),
    /// With a stream of events.
    Stream(String, EventStream, StreamTicket),
}

/// The answer to one request.
pub async fn respond(
    request: hyper::Request<Incoming>,
    connection: Arc<Connection>,
) -> Result<hyper::Response<Outgoing>, Infallible> {
    let context = &connection.context;
    let (head, body) = request.into_parts();
    let id = request_id(context);
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let mut frame = Frame::of(&id, &path, &query, &head.headers);
    // hyper hides a Content-Length beside a Transfer-Encoding and follows the latter. A proxy before us may have followed
    // the former: what comes after this request on the connection is not to be trusted (RFC 9112 §6.1).
    let doubtful = head.headers.contains_key(http::header::TRANSFER_ENCODING);
    let mut who = Who {
        name: connection.peer.name(),
        request: id.clone(),
        ..Who::default()
    };
    let outcome = async {
        let peer = enter(&connection, &path, &head.headers).await?;
        who = Who {
            name: peer.name(),
            uid: peer.uid,
            gid: peer.gid,
            pid: peer.pid,
            request: id.clone(),
        };
        let body = read_body(body, context).await?;
        let request = Request {
            method: head.method.clone(),
            path: path.clone(),
            query,
            headers: head.headers,
            body,
            peer,
            id,
            scheme: connection.scheme,
        };
        let (dress, first) = plan(request, &(context.policy)());
        frame = dress;
        carry_out(first, &connection).await
    }
    .await;
    let error = outcome.as_ref().err().map(|fault| fault.message.clone());
    let (mut response, stream) = match outcome {
        Ok(End::Whole(response)) => (frame.finish(Ok(response)), None),
        Ok(End::Stream(text, events, ticket)) => {
            let head = Response::text("text/event-stream", String::new())
                .with("cache-control", "no-store");
            (frame.finish(Ok(head)), Some((text, events, ticket)))
        }
        Err(fault) => (frame.finish(Err(fault)), None),
    };
    if !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let task = response
            .headers
            .iter()
            .find(|(name, _)| *name == "x-rackbmcd-task");
        (context.audit)(Audit {
            who,
            method: head.method.to_string(),
            path,
            status: response.status.as_u16(),
            task: task.map(|(_, id)| id.clone()),
            error,
        });
    }
    let bytes = Bytes::from(std::mem::take(&mut response.body));
    let body = match stream {
        Some((text, events, ticket)) => event_body(text, events, ticket, connection.clone()),
        None => Full::new(bytes).boxed_unsync(),
    };
    Ok(dressed(response, body, doubtful))
}

/// `req-<uuid>`
fn request_id(context: &Context) -> String {
    let mut random = [0; 16];
    (context.entropy)(&mut random);
    format!(
        "req-{}",
        uuid::Builder::from_random_bytes(random).into_uuid()
    )
}

/// The response in hyper's form.
fn dressed(response: Response, body: Outgoing, last: bool) -> hyper::Response<Outgoing> {
    // What was not read of a body would be taken for the next request.
    let unread = matches!(
        response.status,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT | StatusCode::UNAUTHORIZED
    );
    let mut dressed = hyper::Response::new(body);
    *dressed.status_mut() = response.status;
    let headers = dressed.headers_mut();
    if let Some(media_type) = response.media_type {
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static(media_type),
        );
    }
    for (name, value) in response.headers {
        // What a client sent may come back in a place or a task: never as another header.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    if unread || last {
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    dressed
}

/// Who asks, once their credentials were looked at.
async fn enter(
    connection: &Connection,
    path: &str,
    headers: &http::HeaderMap,
) -> Result<Peer, Fault> {
    let context = &connection.context;
    let mut peer = connection.peer.clone();
    match (context.policy)().enter(peer.transport, path, headers)? {
        Entry::Open => {}
        Entry::Token { name, role, nodes } => {
            peer.user = Some(name);
            peer.token_role = Some(role);
            peer.token_nodes = nodes;
        }
        Entry::CheckPassword {
            user,
            password,
            hash,
        } => {
            let login = &context.state.login;
            login
                .check(&user, password, hash, CHALLENGE, &context.entropy)
                .await?;
            peer.user = Some(user);
        }
    }
    Ok(peer)
}

/// How much of a body that is too large is read and thrown away, so that its sender gets to read the answer.
const DRAIN_LIMIT: usize = 1024 * 1024;

/// The whole body, within its limit and its deadline.
async fn read_body(mut body: Incoming, context: &Context) -> Result<Vec<u8>, Fault> {
    if body.is_end_stream() {
        return Ok(Vec::new());
    }
    let limit = context.limits.body_bytes;
    let announced = body.size_hint().lower();
    let reading = async {
        let mut bytes = Vec::new();
        let mut seen = 0;
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| Fault::bad(format!("the body cannot be read: {error}")))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            seen += data.len();
            if seen <= limit {
                bytes.extend_from_slice(&data);
            } else if seen > DRAIN_LIMIT.max(limit) {
                break;
            }
        }
        if seen > limit {
            Err(Fault::too_large(limit))
        } else {
            Ok(bytes)
        }
    };
    let late = async {
        smol::Timer::after(context.limits.body).await;
        let large = announced > limit as u64;
        Err(if large {
            Fault::too_large(limit)
        } else {
            Fault::too_slow()
        })
    };
    reading.or(late).await
}

/// Carries calls to the rack until the plan has an end.
async fn carry_out(first: Result<Plan, Fault>, connection: &Connection) -> Result<End, Fault> {
    let mut plan = first?;
    loop {
        plan = match plan {
            Plan::Done(response) => return Ok(End::Whole(response)),
            Plan::Metrics => {
                let text = (connection.context.metrics)().await;
                return Ok(End::Whole(Response::text(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    text,
                )));
            }
            Plan::Audit { after, limit } => {
                let page = (connection.context.trail)(after, limit).await;
                let page = page.map_err(|why| {
                    Fault::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "store",
                        format!("the audit trail cannot be read: {why}"),
                    )
                })?;
                return Ok(End::Whole(Response::json(StatusCode::OK, &page)));
            }
            Plan::Ask(call, next) => next(asked(call, connection).await?)?,
            Plan::Stream(events) => {
                let ticket = StreamTicket::take(&connection.context)?;
                let answer = asked(events.call(true), connection).await?;
                let step = events.take(answer)?;
                return Ok(match step.next {
                    Some(next) => End::Stream(step.text, next, ticket),
                    None => End::Whole(
                        Response::text("text/event-stream", step.text)
                            .with("cache-control", "no-store"),
                    ),
                });
            }
        };
    }
}

/// How often a connection that waits for the rack is asked whether anybody is there.
const HANGUP_LOOK: Duration = Duration::from_secs(2);

/// What the rack says.
///
/// # Errors
/// It says nothing in time, or the client has gone away.
async fn asked(call: Call, connection: &Connection) -> Result<Result<Answer, Refused>, Fault> {
    let context = &connection.context;
    let own_wait = match &call {
        Call::AwaitTask { wait, .. }
        | Call::AwaitBatch { wait, .. }
        | Call::Events { wait, .. } => *wait,
        _ => Duration::ZERO,
    };
    let (reply, answer) = Reply::new();
    let asking = async {
        if context.asks.send(Asked { call, reply }).await.is_err() {
            return Ok(Err(Refused::Stopping));
        }
        Ok(answer.recv().await.unwrap_or(Err(Refused::Stopping)))
    };
    let late = async {
        smol::Timer::after(own_wait + context.limits.answer).await;
        log::error!("api: the rack did not answer a call");
        Err(Fault::new(
            StatusCode::GATEWAY_TIMEOUT,
            "internal",
            "the rack did not answer in time",
        ))
    };
    let gone = async {
        loop {
            smol::Timer::after(HANGUP_LOOK).await;
            if connection.hangup.as_ref().is_some_and(Hangup::happened) {
                return Err(Fault::bad("the client has gone away"));
            }
        }
    };
    asking.or(late).or(gone).await
}

/// One of the streams that there may be.
struct StreamTicket(Arc<Context>);

impl StreamTicket {
    fn take(context: &Arc<Context>) -> Result<Self, Fault> {
        let ticket = StreamTicket(context.clone());
        if count(context).fetch_add(1, Ordering::Relaxed) < context.limits.streams {
            return Ok(ticket);
        }
        Err(Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "crowded",
            format!(
                "{} streams of events are open already: try again later, or poll",
                context.limits.streams
            ),
        )
        .with("retry-after", "5"))
    }
}

impl Drop for StreamTicket {
    fn drop(&mut self) {
        count(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

fn count(context: &Context) -> &AtomicUsize {
    &context.state.streams
}

/// Where a stream's body stands.
struct Streaming {
    text: String,
    events: Option<EventStream>,
    connection: Arc<Connection>,
    _ticket: StreamTicket,
}

/// The body of a stream: read from the rack only as fast as the client reads from us.
fn event_body(
    text: String,
    events: EventStream,
    ticket: StreamTicket,
    connection: Arc<Connection>,
) -> Outgoing {
    let start = Streaming {
        text,
        events: Some(events),
        connection,
        _ticket: ticket,
    };
    let frames = stream::unfold(start, |mut at| async move {
        while at.text.is_empty() {
            let events = at.events.take()?;
            let ask = async { asked(events.call(false), &at.connection).await.ok() };
            let down = async {
                until_shutdown(&at.connection.context.shutdown).await;
                None
            };
            let answer = ask.or(down).await?;
            let step = events.take(answer).ok()?;
            at.text = step.text;
            at.events = step.next;
        }
        let bytes = Bytes::from(std::mem::take(&mut at.text));
        Some((Ok(BodyFrame::data(bytes)), at))
    });
    StreamBody::new(frames).boxed_unsync()
}
