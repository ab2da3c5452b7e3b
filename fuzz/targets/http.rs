//! One HTTP request, as text, through the pure part of the API to a real rack and back. The rack's one BMC is away;
//! time passes as it must until there is an answer.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rackbmcd::api::access::{Peer, Policy};
use rackbmcd::api::message::{JSON, Request, Response};
use rackbmcd::api::plan::{BODY_LIMIT, Plan, plan};
use rackbmcd::entropy::Seeded;
use rackbmcd::rack::Rack;
use rackbmcd::rack::call::{Answer, Call, CallId, Refused};
use rackbmcd::rack::settings::{Address, NodeSettings, Pace, RackSettings};
use rackbmcd::session::{Settings, secret::Password};
use rackbmcd::time::{Instant, WallTime};
use std::time::Duration;
use uuid::Uuid;

/// Longer than anything that a request may wait for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Asks what `data` says: a request line, header lines, an empty line, a body.
pub fn run(data: &[u8]) {
    if data.len() > BODY_LIMIT {
        return;
    }
    let Some(request) = request(data) else { return };
    let mut world = World::new();
    let response = world.send(request);
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

fn request(data: &[u8]) -> Option<Request> {
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
        peer: Peer {
            user: Some("root".into()),
            ..Peer::unix(0, 0, Some(42))
        },
        id: "req-0".into(),
        scheme: "http",
    })
}

struct World {
    rack: Rack,
    now: Instant,
    calls: u64,
}

impl World {
    fn new() -> Self {
        let now = Instant::after_start(Duration::from_secs(100_000));
        let wall = WallTime::from_unix_micros(1_790_000_000_000_000);
        let nodes = vec![node("r1n01", 1), node("r1n02", 2)];
        let settings = RackSettings {
            name: "r1".into(),
            ..RackSettings::default()
        };
        let entropy = Box::new(Seeded::new(7));
        let rack = Rack::new(settings, nodes, Vec::new(), wall, now, entropy);
        World {
            rack: rack.expect("an empty journal"),
            now,
            calls: 0,
        }
    }

    fn send(&mut self, request: Request) -> Response {
        let (frame, mut outcome) = plan(request, &Policy::default());
        loop {
            outcome = match outcome {
                Ok(Plan::Done(response)) => return frame.finish(Ok(response)),
                Ok(Plan::Ask(call, next)) => next(self.ask(call)),
                Ok(Plan::Stream(stream)) => {
                    // The first words of a stream, then the reader goes.
                    let call = stream.call(true);
                    match stream.take(self.ask(call)) {
                        Ok(step) => {
                            let media_type = "text/event-stream";
                            return frame.finish(Ok(Response::text(media_type, step.text)));
                        }
                        Err(fault) => Err(fault),
                    }
                }
                Ok(Plan::Metrics | Plan::Audit { .. }) => {
                    return frame.finish(Ok(Response::text("text/plain", String::new())));
                }
                Err(fault) => return frame.finish(Err(fault)),
            };
        }
    }

    /// The rack's answer, however long it takes, within reason.
    fn ask(&mut self, call: Call) -> Result<Answer, Refused> {
        self.calls += 1;
        assert!(self.calls < 100, "it asks and asks");
        let id = CallId(self.calls);
        let end = self.now + PATIENCE;
        self.rack.handle_call(id, call, self.now);
        let mut turns = 0;
        loop {
            while self.rack.poll_transmit().is_some() {}
            while let Some((ticket, _)) = self.rack.poll_writes() {
                self.rack.handle_durable(ticket, self.now);
            }
            while let Some((answered, answer)) = self.rack.poll_answer() {
                if answered == id {
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
        groups: vec!["compute".into()],
        address: Address {
            host: format!("10.0.1.{number}"),
            port: 623,
        },
        login: Settings::new("admin", Password::new(*b"secret").expect("short")),
        power: rackbmcd::power::Settings::default(),
        pace: Pace::default(),
        keepalive: Duration::from_secs(25),
        idle_close: Duration::from_secs(10),
        auth_failures: 2,
        auth_hold: Duration::from_secs(600),
        breaker_after: Duration::from_secs(5),
        breaker_retry: Duration::from_secs(30),
        nmi: true,
        nmi_min_interval: Duration::from_secs(60),
    }
}
