//! One request on one connection: read its body, find out who asks, run its handler, carry its
//! calls to the rack, write the answer.

use super::deadlines::Deadlines;
use super::login::Attempt;
use super::long::{Names, NamesTurn, Source, Turn, doubtful, gone, long_source};
use super::share::{Place, SMALL};
use super::streaming::{Chunks, HandedOver, Handover, StreamTicket, Streaming};
use super::write_timeout::Hangup;
use super::{Asked, Audit, AuditAction, Context, Noted, Reply};
use crate::api::access::{CHALLENGE, Credential, Entry, Peer};
use crate::api::dispatch::{Frame, Outcome, handle};
use crate::api::endpoint::Route;
use crate::api::fault::Fault;
use crate::api::handle::{Daemon, Later};
use crate::api::message::{Request, Response};
use crate::api::route;
use crate::api::stream::TextStream;
use crate::model::{AuditPage, ErrorKind, Ha, KEYED, Support, Who, beginning};
use crate::rack::call::{Answer, Call, Refused};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Version};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Incoming};
use smol::future::FutureExt;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use uuid::Uuid;

/// The body of every answer: whole, or a stream.
pub(super) type Outgoing = Either<Full<Bytes>, Chunks>;

/// What the requests of one connection share.
pub(super) struct Connection {
    /// Who is at the other end.
    pub peer: Peer,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Whether they still are.
    pub hangup: Option<Hangup>,
    pub context: Rc<Context>,
    /// What ends the waiting for this client.
    pub deadlines: Deadlines,
    /// Whether a request came before: then an answer to it may still be on its way out.
    pub used: Cell<bool>,
    /// The stream that the connection is for from now on.
    pub handover: RefCell<Option<Handover>>,
}

/// How a request ends.
enum End {
    /// With one response.
    Whole(Response),
    /// With a stream.
    Stream(String, TextStream, StreamTicket),
}

/// The answer to one request.
///
/// # Errors
/// None is given: the connection is handed over to a stream.
pub(super) async fn respond(
    request: hyper::Request<Incoming>,
    connection: Rc<Connection>,
) -> Result<hyper::Response<Outgoing>, HandedOver> {
    let context = &connection.context;
    let (head, body) = request.into_parts();
    // Nothing is left to read or to write of what came before the stream, if it becomes one.
    let fresh = !connection.used.replace(true)
        && head.method == Method::GET
        && head.version == Version::HTTP_11
        && body.is_end_stream();
    let looks = matches!(head.method, Method::GET | Method::HEAD);
    let id = request_id(context, &head.headers);
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let row = route::row(&path);
    let mut frame = Frame::in_row(&id, &path, row, &query, &head.headers);
    // hyper hides a Content-Length beside a Transfer-Encoding and follows the latter. A proxy
    // before us may have followed the former: what comes after this request on the connection is
    // not to be trusted (RFC 9112 §6.1).
    let doubtful = head.headers.contains_key(http::header::TRANSFER_ENCODING);
    let turn = Rc::new(Turn::default());
    let mut record = Record::open(&connection, &head.method, &path, row, &id);
    let outcome: Result<End, Fault> = async {
        let public = route::is_public(&head.method, row);
        let peer = enter(&connection, public, &head.headers).await?;
        record.known = peer.is_known();
        record.audit.who = asker(&peer, &id);
        record.expect(&head.method, row);
        let (body, _room) = read_body(body, &connection, &peer).await?;
        let names = Names::default();
        names.take_for(body.len(), &connection).await?;
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
        let rights = context.policy().rights(&request.peer);
        let peer = Rc::new(request.peer.clone());
        let daemon = Rc::new(ThroughLoop {
            connection: connection.clone(),
            peer: peer.clone(),
            noted: record.noted.clone(),
            turn: turn.clone(),
            names: Rc::new(names),
        });
        let (shown, outcome) = handle(request, rights, daemon).await;
        frame = shown;
        match outcome? {
            Outcome::Whole(response) => Ok(End::Whole(response)),
            Outcome::Stream(mut stream) => {
                let ticket = StreamTicket::take(context, &peer)?;
                let text = stream.next().await?.unwrap_or_default();
                Ok(End::Stream(text, stream, ticket))
            }
        }
    }
    .await;
    record.end(outcome.as_ref().err());
    frame.stale = record.noted.stale.take();
    let (mut response, mut stream) = framed(&frame, outcome);
    record.audit.status = response.status.as_u16();
    record.close().await;
    let unwritten = &context.state.unwritten;
    let begins = stream.as_ref().map_or(0, |(text, ..)| text.len());
    let changed = !looks && stream.is_none() && response.status.is_success();
    if unwritten.refuses(response.body.len() + begins) {
        response = frame.finish(Err(no_room_for_it(changed)));
        stream = None;
    }
    let body = std::mem::take(&mut response.body);
    let bytes = Bytes::from_owner(unwritten.count(body));
    let Some((text, stream, ticket)) = stream else {
        turn.end();
        let whole = Either::Left(Full::new(bytes));
        return Ok(with_head(response, whole, doubtful));
    };
    let text = unwritten.count(text.into_bytes());
    turn.end();
    let streaming = Streaming::new(text, stream, ticket, turn, connection.clone());
    if !fresh {
        let chunks = Either::Right(streaming.body());
        return Ok(with_head(response, chunks, doubtful));
    }
    let handover = Handover::new(with_head(response, (), true), streaming);
    connection.handover.replace(Some(handover));
    Err(HandedOver)
}

/// Who asks, as the audit trail remembers it.
fn asker(peer: &Peer, id: &str) -> Who {
    Who {
        name: peer.name(),
        uid: peer.uid,
        gid: peer.gid,
        pid: peer.pid,
        request: id.to_owned(),
    }
}

/// The head and body to answer with, and what follows them.
fn framed(
    frame: &Frame,
    outcome: Result<End, Fault>,
) -> (Response, Option<(String, TextStream, StreamTicket)>) {
    match outcome {
        Ok(End::Whole(response)) => (frame.finish(Ok(response)), None),
        Ok(End::Stream(text, stream, ticket)) => {
            let head = Response::text(stream.media_type(), String::new())
                .with("cache-control", "no-store");
            (frame.finish(Ok(head)), Some((text, stream, ticket)))
        }
        Err(fault) => (frame.finish(Err(fault)), None),
    }
}

/// What the audit trail will say of a request. It says it when this is dropped: also of a request
/// that ends without an answer (its connection broke, the daemon went down), since what was asked
/// may have been done.
struct Record {
    context: Rc<Context>,
    /// Whether there is anything to say, and it was not said yet.
    due: bool,
    /// Whether it is known who asks: what strangers ask for is counted and leaves nothing that
    /// lasts.
    known: bool,
    audit: Audit,
    noted: Rc<Noted>,
}

/// As much of a path is recorded.
const PATH_RECORDED: usize = 256;

/// The status in the trail of a request that was not answered.
const UNANSWERED: u16 = 499;

impl Record {
    fn open(
        connection: &Connection,
        method: &Method,
        path: &str,
        row: Option<&'static Route>,
        id: &str,
    ) -> Self {
        Self {
            context: connection.context.clone(),
            due: route::is_recorded(method, row),
            known: connection.peer.is_known(),
            audit: Audit {
                who: Who {
                    name: connection.peer.name(),
                    request: id.to_owned(),
                    ..Who::default()
                },
                method: method.to_string(),
                path: beginning(path, PATH_RECORDED),
                nodes: None,
                what: None,
                status: UNANSWERED,
                task: None,
                batch: None,
                error: Some(
                    "it ended before it was answered: what was asked may have been done".to_owned(),
                ),
            },
            noted: Rc::default(),
        }
    }
}

impl Record {
    /// Hands the rack's turn what is to be written if it accepts what is asked.
    fn expect(&self, method: &Method, row: Option<&'static Route>) {
        let due = self.due && self.known;
        let row = row.filter(|_| due);
        if let Some(endpoint) = row.and_then(|row| row.endpoint(method)) {
            let expected = Audit {
                status: endpoint.status,
                error: None,
                ..self.audit.clone()
            };
            self.noted.expected.replace(Some(expected));
        }
    }

    /// The handler has ended: what it refused, if it did.
    fn end(&mut self, refused: Option<&Fault>) {
        self.audit.error = refused.map(|fault| fault.lasting().to_owned());
        if let Some(fault) = refused {
            self.audit.nodes = fault.node().map(str::to_owned);
        }
    }

    /// Says it, before the request is answered.
    async fn close(mut self) {
        if let Some(audit) = self.take() {
            self.context.audit.record(audit).await;
        }
    }

    /// What there is to say, once.
    fn take(&mut self) -> Option<Audit> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        if !self.known {
            self.context.audit.count_stranger();
            return None;
        }
        let mut audit = std::mem::take(&mut self.audit);
        if let Some(audit_action) = self.noted.audit_action.take() {
            // What the rack found is more than what a refusal names.
            audit.nodes = audit_action.nodes.or(audit.nodes);
            audit.what = Some(audit_action.what);
        }
        audit.task = self.noted.task.take();
        audit.batch = self.noted.batch.take();
        log::info!(
            "audit: {} {} {} -> {}",
            audit.who.name,
            audit.method,
            audit.path,
            audit.status
        );
        // Written down when it was accepted: only what came of it differently is still to be said.
        let as_expected = self.noted.written.get() && audit.error.is_none();
        (!as_expected).then_some(audit)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(audit) = self.take() {
            self.context.audit.record_at_once(audit);
        }
    }
}

/// `req-<uuid>`: the one that the client gave, where it has that form, so that a request which is
/// made again is known; or `key-<uuid>` where the client gave its request a key, of any form.
fn request_id(context: &Context, headers: &http::HeaderMap) -> String {
    let key = headers.get("idempotency-key").map(HeaderValue::as_bytes);
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        let text = std::str::from_utf8(key).ok();
        let uuid = text.and_then(|text| Uuid::try_parse(text).ok());
        return format!("{KEYED}{}", uuid.unwrap_or(Uuid::new_v5(&KEYS, key)));
    }
    let given = headers.get("x-openstack-request-id");
    let given = given.and_then(|value| value.to_str().ok()?.strip_prefix("req-"));
    if let Some(uuid) = given.and_then(|text| Uuid::try_parse(text).ok()) {
        return format!("req-{uuid}");
    }
    let mut random = [0; 16];
    (context.entropy)(&mut random);
    format!(
        "req-{}",
        uuid::Builder::from_random_bytes(random).into_uuid()
    )
}

/// The namespace of keys that are no uuids.
const KEYS: Uuid = Uuid::from_u128(0x0c1d_7f6e_8f0a_5b43_9d5e_6a2f_41c3_77b8);

/// The response in hyper's form.
fn with_head<B>(response: Response, body: B, last: bool) -> hyper::Response<B> {
    // What was not read of a body would be taken for the next request.
    let unread = matches!(
        response.status,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT | StatusCode::UNAUTHORIZED
    );
    let mut answer = hyper::Response::new(body);
    *answer.status_mut() = response.status;
    let headers = answer.headers_mut();
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
    answer
}

/// Who asks, once their credentials were looked at.
async fn enter(
    connection: &Connection,
    public: bool,
    headers: &http::HeaderMap,
) -> Result<Peer, Fault> {
    let context = &connection.context;
    let mut peer = connection.peer.clone();
    let address = peer.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let first_wait = context.limits.login_wait;
    match context.policy().enter(peer.transport, public, headers)? {
        Entry::Open => {}
        Entry::WrongToken => {
            let refusal = Fault::not_authenticated("Incorrect bearer token", "Bearer");
            let login = &context.state.login;
            return login.wrong_token(address, first_wait, refusal).await;
        }
        Entry::Token { name, sha256 } => {
            peer.user = Some(name);
            peer.credential = Some(Credential::Token(sha256));
        }
        Entry::CheckPassword {
            user,
            password,
            hash,
            costliest,
        } => {
            let login = &context.state.login;
            let attempt = Attempt {
                peer: address,
                user: &user,
                password,
                hash: hash.clone(),
                costliest,
                challenge: CHALLENGE,
            };
            login.check(attempt, first_wait, &context.entropy).await?;
            peer.user = Some(user.clone());
            peer.credential = Some(Credential::Password { user, hash });
        }
    }
    Ok(peer)
}

/// How much of a body that is too large is read and thrown away, so that its sender gets to read
/// the answer.
const DRAIN_LIMIT: usize = 1024 * 1024;

/// Bodies of more than [`SMALL`] bytes that are in memory at the same time: fewer where there are
/// few connections.
const LONG_BODIES_HELD: usize = 64;

/// The whole body, within its limit and its deadline, and the place that it takes among the long
/// ones.
async fn read_body(
    mut body: Incoming,
    connection: &Connection,
    peer: &Peer,
) -> Result<(Vec<u8>, Option<Place>), Fault> {
    if body.is_end_stream() {
        return Ok((Vec::new(), None));
    }
    let waits_for_place = Cell::new(false);
    let limits = &connection.context.limits;
    let limit = limits.body_bytes as usize;
    let announced = body.size_hint().lower();
    let reading = async {
        let room = async || {
            waits_for_place.set(true);
            let place = place_for_body(connection, peer).await;
            waits_for_place.set(false);
            place
        };
        let (mut bytes, mut place, mut seen) = (Vec::new(), None, 0);
        // Before anything of it is read.
        if (SMALL as u64 + 1..=limit as u64).contains(&announced) {
            place = Some(room().await);
        }
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| Fault::bad(format!("the body cannot be read: {error}")))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            seen += data.len();
            // Its length was not said.
            if seen > SMALL && seen <= limit && place.is_none() {
                place = Some(room().await);
            }
            if seen <= limit {
                bytes.extend_from_slice(&data);
            } else if seen > DRAIN_LIMIT.max(limit) {
                break;
            }
        }
        if seen > limit {
            Err(Fault::too_large(limit))
        } else {
            Ok((bytes, place))
        }
    };
    let late = async {
        connection.deadlines.after(limits.body_timeout).await;
        if waits_for_place.get() {
            return Err(Fault::crowded(
                "too many long bodies are being read: try again",
            ));
        }
        let large = announced > limit as u64;
        Err(if large {
            Fault::too_large(limit)
        } else {
            Fault::too_slow()
        })
    };
    reading.or(late).await
}

/// One of the places for long bodies, shared out as connections are.
async fn place_for_body(connection: &Connection, peer: &Peer) -> Place {
    let context = &connection.context;
    let most = (context.limits.connections as usize / 8).clamp(1, LONG_BODIES_HELD);
    let bodies = &context.state.bodies;
    bodies
        .next(|bodies| bodies.take(most, peer, &context.policy()))
        .await
}

/// 503 for a long answer where so many wait already to be read.
pub(super) fn too_much_unwritten() -> Fault {
    Fault::crowded("too many long answers wait for clients that do not read them: try again")
}

/// An answer that finds no room among those that wait to be read, to what `changed` something or
/// did not.
fn no_room_for_it(changed: bool) -> Fault {
    if !changed {
        return too_much_unwritten();
    }
    // Without a time after which to ask again: some clients would do so by themselves.
    Fault::new(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Crowded,
        "what was asked for was accepted, and its answer is too long beside those that clients do not read: do not ask \
         again, look what came of it",
    )
}

/// The daemon as the handlers of one request see it: calls go to the loop over a channel.
struct ThroughLoop {
    connection: Rc<Connection>,
    peer: Rc<Peer>,
    noted: Rc<Noted>,
    turn: Rc<Turn>,
    names: Rc<Names>,
}

impl Daemon for ThroughLoop {
    fn call(&self, call: Call) -> Later<Result<Result<Answer, Refused>, Fault>> {
        let connection = self.connection.clone();
        let (peer, noted) = (self.peer.clone(), self.noted.clone());
        let (turn, names) = (self.turn.clone(), self.names.clone());
        Box::pin(async move {
            noted.asked(&call);
            match long_source(&call) {
                Some(source) => turn.take(source, &connection).await?,
                // What was long is a list of names by now: a change may wait for BMCs, and keeps
                // nobody's turn.
                None if !call.only_looks() => turn.end(),
                None => {}
            }
            let names = names.hand_over(&call);
            let answer = asked(call, names, peer, noted.clone(), &connection).await?;
            if let Ok(answer) = &answer {
                noted.answered(answer);
            }
            Ok(answer)
        })
    }

    fn many_names(&self) -> Later<Result<(), Fault>> {
        let (connection, names) = (self.connection.clone(), self.names.clone());
        Box::pin(async move { names.take(&connection).await })
    }

    fn metrics(&self) -> Later<Result<String, Fault>> {
        let (connection, turn) = (self.connection.clone(), self.turn.clone());
        Box::pin(async move {
            // The figures of a large rack are megabytes, too.
            turn.take(Source::Memory, &connection).await?;
            Ok((connection.context.metrics)().await)
        })
    }

    fn trail(&self, after: u64, limit: usize) -> Later<Result<AuditPage, String>> {
        (self.connection.context.trail)(after, limit)
    }

    fn support(&self) -> Later<Result<Support, Fault>> {
        let (connection, turn) = (self.connection.clone(), self.turn.clone());
        self.noted.audit_action.replace(Some(AuditAction {
            nodes: None,
            what: "read log and configuration for a report".to_owned(),
        }));
        Box::pin(async move {
            turn.take(Source::Disk, &connection).await?;
            Ok((connection.context.support)().await)
        })
    }

    fn ha(&self) -> Later<Ha> {
        (self.connection.context.ha)()
    }

    fn hand_over(&self, to: Option<String>) -> Later<Result<(), Refused>> {
        let what = match &to {
            Some(host) => format!("hand the rack over to {host}"),
            None => "hand the rack over".to_owned(),
        };
        self.noted
            .audit_action
            .replace(Some(AuditAction { nodes: None, what }));
        (self.connection.context.hand_over)(to)
    }
}

/// What the rack says. A client that may have gone does not wait for news.
///
/// # Errors
/// It says nothing in time, or the client has gone away.
async fn asked(
    call: Call,
    names: Option<NamesTurn>,
    peer: Rc<Peer>,
    noted: Rc<Noted>,
    connection: &Connection,
) -> Result<Result<Answer, Refused>, Fault> {
    let at_once = match call.wait().is_zero() {
        true => None,
        false => call.at_once(),
    };
    match at_once {
        None => put(call, names, peer, noted, connection).await,
        // In a place of its own, which those who want no news need not have.
        Some(at_once) => Box::pin(news(call, at_once, names, peer, noted, connection)).await,
    }
}

/// The same for a call that waits for news: a client that may have gone is told `at_once` what
/// there is.
async fn news(
    call: Call,
    at_once: Call,
    names: Option<NamesTurn>,
    peer: Rc<Peer>,
    noted: Rc<Noted>,
    connection: &Connection,
) -> Result<Result<Answer, Refused>, Fault> {
    let asking = put(call, names, peer.clone(), noted.clone(), connection);
    let doubtful = async {
        doubtful(connection).await;
        None
    };
    match async { Some(asking.await) }.or(doubtful).await {
        Some(answer) => answer,
        None => Box::pin(put(at_once, None, peer, noted, connection)).await,
    }
}

/// Puts a call to the rack, and waits for what it says.
async fn put(
    call: Call,
    names: Option<NamesTurn>,
    peer: Rc<Peer>,
    noted: Rc<Noted>,
    connection: &Connection,
) -> Result<Result<Answer, Refused>, Fault> {
    let context = &connection.context;
    let own_wait = call.wait();
    let (reply, answer) = Reply::new();
    let asking = async {
        let asked = Asked {
            call,
            _names: names,
            peer,
            noted,
            reply,
        };
        if context.asks.send(asked).await.is_err() {
            return Ok(Err(Refused::Stopping));
        }
        Ok(answer.recv().await.unwrap_or(Err(Refused::Stopping)))
    };
    let late = async {
        let patience = own_wait + context.limits.answer;
        connection.deadlines.after(patience).await;
        log::error!("api: the rack did not answer a call");
        Err(Fault::new(
            StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::Internal,
            "the daemon did not answer in time: what was asked may have been done, so look first, then ask again",
        ))
    };
    asking.or(late).or(gone(connection)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fault::Surface;

    #[test]
    fn who_changed_something_is_not_told_to_ask_for_it_again() {
        for (changed, told) in [(true, false), (false, true)] {
            let response = no_room_for_it(changed).response(Surface::Own);
            assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
            let mut names = response.headers.iter().map(|(name, _)| *name);
            assert_eq!(names.any(|name| name == "retry-after"), told);
        }
    }
}
