//! One HTTP request, as text, through the pure part of the API to a real rack and back. The rack's
//! BMCs are away; time passes as it must until there is an answer.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rackbmcd::api::access::Peer;
use rackbmcd::api::dispatch::{Outcome, handle};
use rackbmcd::api::fault::Fault;
use rackbmcd::api::handle::{Daemon, Later};
use rackbmcd::api::message::{JSON, Request, Response};
use rackbmcd::model::{AuditPage, Ha, Limits, Policy, Support};

use rackbmcd::entropy::Seeded;
use rackbmcd::rack::call::{Answer, Call, CallId, Refused};
use rackbmcd::rack::record::Write;
use rackbmcd::rack::rights::Rights;
use rackbmcd::rack::settings::{Address, NodeSettings, RackSettings};
use rackbmcd::rack::{Birth, Copied, Rack};
use rackbmcd::session::{Settings, secret::Password};
use rackbmcd::time::{Instant, WallTime};
use std::cell::RefCell;
use std::future::ready;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uuid::Uuid;

/// Longer than anything that a request may wait for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Asks what `data` says: a request line, header lines, an empty line, a body.
pub(crate) fn run(data: &[u8]) {
    if data.len() > (Limits::default().body_bytes as usize) {
        return;
    }
    let Some(request) = request(data, root()) else {
        return;
    };
    let rights = Policy::default().rights(&request.peer);
    let asker = Asker {
        world: RefCell::new(World::new()),
        rights,
    };
    check(&send(request, Rc::new(asker)));
}

fn root() -> Peer {
    Peer {
        user: Some("root".into()),
        ..Peer::unix(0, 0, Some(42))
    }
}

/// What is true of every answer.
pub(crate) fn check(response: &Response) {
    let status = response.status.as_u16();
    assert!(
        (200..600).contains(&status) && status != 500,
        "{response:?}"
    );
    if response.media_type == Some(JSON) {
        serde_json::from_slice::<serde_json::Value>(&response.body).expect("JSON");
    } else if status >= 400 {
        panic!("a refusal that says nothing: {response:?}");
    }
    for (name, value) in &response.headers {
        HeaderName::try_from(*name).expect("a header's name");
        HeaderValue::try_from(value).expect("a header's value");
    }
}

/// The request that a text is, of this peer.
pub(crate) fn request(data: &[u8], peer: Peer) -> Option<Request> {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &b""[..]),
    };
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split('\n');
    let (method, target) = lines.next()?.split_once(' ')?;
    // What hyper lets through: a URI.
    let uri: http::Uri = target.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(value.trim()).ok()?,
        );
    }
    Some(Request {
        method: Method::try_from(method).ok()?,
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body: body.to_vec(),
        peer,
        id: "req-0".into(),
        scheme: "http",
    })
}

/// What is answered, of a stream its first words.
pub(crate) fn send(request: Request, asker: Rc<Asker>) -> Response {
    let rights = asker.rights.clone();
    at_once(async {
        let (frame, outcome) = handle(request, rights, asker).await;
        let outcome = match outcome {
            Ok(Outcome::Whole(response)) => Ok(response),
            Ok(Outcome::Stream(mut stream)) => stream
                .next()
                .await
                .map(|text| Response::text("text/event-stream", text.unwrap_or_default())),
            Err(fault) => Err(fault),
        };
        frame.finish(outcome)
    })
}

/// What a future brings that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the rack answers within its call"),
    }
}

/// Somebody who asks a rack of his own.
pub(crate) struct Asker {
    pub world: RefCell<World>,
    pub rights: Rights,
}

impl Daemon for Asker {
    fn call(&self, call: Call) -> Later<Result<Result<Answer, Refused>, Fault>> {
        let answer = self.world.borrow_mut().ask(call, &self.rights);
        Box::pin(ready(Ok(answer)))
    }

    fn metrics(&self) -> Later<Result<String, Fault>> {
        Box::pin(ready(Ok(String::new())))
    }

    fn trail(&self, _: u64, _: usize) -> Later<Result<AuditPage, String>> {
        self.world.borrow_mut().trail_read = true;
        Box::pin(ready(Ok(AuditPage::default())))
    }

    fn support(&self) -> Later<Result<Support, Fault>> {
        // Wants as much of the asker as the trail does.
        self.world.borrow_mut().trail_read = true;
        Box::pin(ready(Ok(Support::default())))
    }

    fn ha(&self) -> Later<Ha> {
        Box::pin(ready(Ha::default()))
    }

    fn hand_over(&self, _: Option<String>) -> Later<Result<(), Refused>> {
        // Wants as much of the asker as the trail does.
        self.world.borrow_mut().trail_read = true;
        Box::pin(ready(Ok(())))
    }
}

/// A rack of two nodes, and what became of it.
pub(crate) struct World {
    rack: Rack,
    now: Instant,
    calls: u64,
    /// What was put down.
    pub written: Vec<Write>,
    /// Calls that were done, but for those that anybody may make.
    pub done: u64,
    /// Whether the audit trail was read.
    pub trail_read: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = Instant::after_start(Duration::from_secs(100_000));
        let wall = WallTime::from_unix_micros(1_790_000_000_000_000);
        let nodes = vec![node("r1n01", 1), node("r1n02", 2)];
        let settings = RackSettings {
            name: "r1".into(),
            ..RackSettings::default()
        };
        let entropy = Box::new(Seeded::new(7));
        let birth = Birth {
            wall,
            now,
            boot: None,
            copied: Copied::No,
            succession: None,
        };
        let rack = Rack::new(settings, nodes, Vec::new(), birth, entropy);
        Self {
            rack,
            now,
            calls: 0,
            written: Vec::new(),
            done: 0,
            trail_read: false,
        }
    }

    /// The rack's answer, however long it takes, within reason.
    pub(crate) fn ask(&mut self, call: Call, rights: &Rights) -> Result<Answer, Refused> {
        self.calls += 1;
        assert!(self.calls < 100, "it asks and asks");
        let id = CallId(self.calls);
        let end = self.now + PATIENCE;
        let anybodys = call.needs().is_none();
        self.rack.handle_call(id, call, rights, self.now);
        let mut turns = 0;
        loop {
            while self.rack.poll_transmit().is_some() {}
            while let Some((ticket, mut writes)) = self.rack.poll_writes() {
                self.written.append(&mut writes);
                self.rack.handle_durable(ticket, self.now);
            }
            while let Some((look, _)) = self.rack.poll_look() {
                self.rack.handle_found(look, Ok(Vec::new()), self.now);
            }
            while let Some((answered, answer)) = self.rack.poll_answer() {
                if answered == id {
                    self.done += u64::from(answer.is_ok() && !anybodys);
                    return answer;
                }
            }
            let next = self.rack.poll_timeout().expect("something will happen");
            turns += 1;
            assert!(next <= end && turns < 100_000, "no answer to call {id:?}");
            self.now = self.now.max(next);
            self.rack.handle_timeout(self.now);
        }
    }
}

fn node(name: &str, number: u8) -> NodeSettings {
    NodeSettings {
        name: name.into(),
        uuid: Uuid::from_u128(u128::from(number)),
        groups: vec!["compute".into()].into(),
        address: Address {
            host: format!("10.0.1.{number}").into(),
            port: 623,
        },
        login: std::sync::Arc::new(Settings::new(
            "admin",
            Password::new(*b"secret").expect("short"),
        )),
        power: std::sync::Arc::default(),
        care: std::sync::Arc::default(),
        nmi: true,
        nmi_min_interval: Duration::from_secs(60),
    }
}
