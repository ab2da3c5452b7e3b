//! Transcripts of the pure part: what a client sends, what the rack is asked, what the client gets.
//! The rack is a function from calls to answers; the texts of answers are what Ironic's clients
//! were seen to read.

mod bad_input;
mod batches;
mod bmc;
mod gophercloud;
mod ironic;
mod own;
mod permissions;
mod power;
mod real;
mod rights;
mod stream;

use super::access::Peer;
use super::dispatch::{Outcome, handle};
use super::fault::Fault;
use super::handle::{Daemon, Later};
use super::message::{Request, Response};
use crate::api::ironic::target::PowerTarget;
use crate::model::{
    AuditPage, BmcHealth, BmcSummary, FreshReading, Ha, HaRole, Health, HealthStatus, Hold, Node,
    NodeDetail, Operation, OrderUse, Policy, Power, PowerReading, PowerState, Role, Support,
    Target, Task, TaskState, Who,
};
use crate::rack::call::{Answer, Call, Look, Refused, SweepId, SweepNews, Taken};
use crate::time::WallTime;
use http::HeaderMap;
use std::cell::{Cell, RefCell};
use std::future::ready;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uuid::Uuid;

/// The node's uuid in all transcripts.
const UUID: &str = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123";
const TASK: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// 2015-08-01T00:00:00Z
const THEN: u64 = 1_438_387_200_000_000;

fn at(seconds: u64) -> WallTime {
    WallTime::from_unix_micros(THEN + seconds * 1_000_000)
}

/// A node that is on, idle and well.
fn node() -> Node {
    Node {
        name: "r1n01".into(),
        uuid: UUID.parse().expect("a uuid"),
        created_at: at(0),
        updated_at: Some(at(60)),
        power_state: PowerState::On,
        target_power_state: None,
        last_error: None,
        rackbmcd: NodeDetail {
            owner: None,
            rack: "r1".into(),
            groups: ["compute".to_owned()].into(),
            task: None,
            reading: Some(PowerReading {
                power_state: Power::On.into(),
                at: at(60),
                age: Duration::from_millis(2500),
            }),
            fault: None,
            maintenance: None,
            bmc: BmcSummary {
                address: "10.0.1.1".into(),
                port: 623,
                username: "admin".into(),
                privilege: "operator".into(),
                health: BmcHealth::Ready.into(),
                trouble: None,
                trouble_text: None,
                cipher_suite: Some(17),
                round_trip: Some(Duration::from_micros(1500)),
            },
        },
        ..Node::default()
    }
}

/// The same with another name, its uuid counted up.
fn numbered(number: u32) -> Node {
    Node {
        name: format!("r1n{number:02}").into(),
        uuid: Uuid::from_u128(u128::from(number)),
        ..node()
    }
}

/// A soft power off under way.
fn task() -> Task {
    Task {
        id: TASK.parse().expect("a uuid"),
        version: 3,
        rack: "r1".into(),
        node: "r1n01".into(),
        node_uuid: UUID.parse().expect("a uuid"),
        batch: None,
        operation: Operation::SoftPowerOff.into(),
        state: TaskState::Running.into(),
        ended: false,
        phase: "waiting for the operating system to go down".into(),
        step: 2,
        steps: 2,
        target_power_state: Some(Target::SoftPowerOff.into()),
        requested_by: Who {
            name: "alice".into(),
            uid: Some(1000),
            gid: Some(1000),
            pid: Some(42),
            request: "req-1".into(),
        },
        requested_at: at(10),
        started_at: Some(at(10)),
        ended_at: None,
        elapsed: Duration::from_millis(12_500),
        waited: Duration::ZERO,
        time_left: Some(Duration::from_millis(587_500)),
        power_at_start: Some(Power::On.into()),
        power_state: Some(Power::On.into()),
        orders: vec![OrderUse {
            order: "soft power off".into(),
            at: at(11),
            answered_at: Some(at(11)),
            answer: Some("accepted".into()),
            completion_code: None,
            changes_power: true,
            left: true,
            times: 1,
        }],
        outcome: None,
        controls: Vec::new(),
        controls_left_out: 0,
        orders_left_out: 0,
        took_over: None,
        taken_over_by: None,
        may_abort: true,
        may_cancel: false,
        may_rollback: true,
        may_suspend: true,
        may_resume: false,
    }
}

fn health() -> Health {
    Health {
        status: HealthStatus::Ok.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        rack: "r1".into(),
        nodes: 4,
        active_tasks: 1,
        troubled: 0,
        started_at: at(0),
        store_trouble: None,
        pause: None,
        unreadable: Vec::new(),
        configuration_refused: None,
    }
}

fn hold() -> Hold {
    Hold {
        reason: Some("new fans".into()),
        by: "alice".into(),
        since: at(5),
    }
}

/// A rack of one node that does what it is told.
fn obliging(call: Call) -> Result<Answer, Refused> {
    let known = |ident: &str| {
        if ident == "r1n01" || ident == UUID {
            Ok(())
        } else {
            Err(Refused::NoSuchNode(ident.into()))
        }
    };
    Ok(match call {
        Call::Look(Look::Nodes) => Answer::Nodes(vec![node()]),
        Call::Look(Look::Node(ident))
        | Call::FreshNode(ident)
        | Call::Retry { node: ident, .. } => {
            known(&ident)?;
            Answer::Node(node())
        }
        Call::Sweep { nodes } => {
            nodes.iter().try_for_each(|ident| known(ident))?;
            let (fresh, node) = (true, node());
            Answer::Sweep(SweepNews {
                sweep: SweepId(1),
                nodes: vec![FreshReading { fresh, node }],
                seen: 1,
                ended: true,
            })
        }
        Call::SetMaintenance {
            node: ident,
            hold: held,
            ..
        } => {
            known(&ident)?;
            let mut node = node();
            node.rackbmcd.maintenance = held.map(|_| hold());
            Answer::Node(node)
        }
        Call::SetPower { node: ident, .. } => {
            known(&ident)?;
            let (task, batch) = (task().id, task().batch);
            Answer::Taken(Some(Taken { task, batch }))
        }
        Call::Start { node: ident, .. } | Call::InjectNmi { node: ident, .. } => {
            known(&ident)?;
            Answer::Task(task())
        }
        Call::Look(Look::Task(_)) | Call::AwaitTask { .. } | Call::Control { .. } => {
            Answer::Task(task())
        }
        Call::Look(Look::Tasks { .. }) => Answer::Tasks(vec![task()]),
        Call::Look(Look::Health) => Answer::Health(health()),
        Call::Look(Look::Pausing) | Call::Release { .. } => Answer::Pausing(None),
        Call::Pause { .. } => Answer::Pausing(Some(hold())),
        Call::Look(Look::Batches { .. }) => Answer::Batches(Vec::new()),
        other => {
            return Err(Refused::Invalid(format!(
                "this rack does not know {other:?}"
            )));
        }
    })
}

/// What a future brings that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// A rack that answers at once, whatever its askers may do.
struct Double<R> {
    rack: R,
    calls: RefCell<Vec<Call>>,
}

impl<R: Fn(Call) -> Result<Answer, Refused>> Daemon for Double<R> {
    fn call(&self, call: Call) -> Later<Result<Result<Answer, Refused>, Fault>> {
        self.calls.borrow_mut().push(call.clone());
        Box::pin(ready(Ok((self.rack)(call))))
    }

    fn metrics(&self) -> Later<Result<String, Fault>> {
        Box::pin(ready(Ok("# EOF\n".to_owned())))
    }

    fn trail(&self, _: u64, _: usize) -> Later<Result<AuditPage, String>> {
        Box::pin(ready(Ok(AuditPage::default())))
    }

    fn support(&self) -> Later<Result<Support, Fault>> {
        Box::pin(ready(Ok(Support::default())))
    }

    fn ha(&self) -> Later<Ha> {
        Box::pin(ready(Ha {
            role: HaRole::Alone.into(),
            ..Ha::default()
        }))
    }

    fn hand_over(&self, to: Option<String>) -> Later<Result<(), Refused>> {
        let done = match to {
            Some(host) if host == "mgmt2" => Ok(()),
            _ => Err(Refused::NotHandedOver("no other host".to_owned())),
        };
        Box::pin(ready(done))
    }
}

/// One exchange under the eyes of a test.
struct Exchange {
    calls: Vec<Call>,
    response: Response,
}

/// A request, ready to be varied.
fn request(line: &str) -> Request {
    let (method, target) = line.split_once(' ').expect("a method and a path");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    headers.insert("host", "rack.example:6385".parse().expect("a header"));
    headers.insert(
        "x-openstack-ironic-api-version",
        "1.31".parse().expect("a header"),
    );
    Request {
        method: method.parse().expect("a method"),
        path: path.into(),
        query: query.into(),
        headers,
        body: Vec::new(),
        peer: Peer {
            user: Some("alice".into()),
            ..Peer::unix(1000, 1000, Some(42))
        },
        id: "req-0".into(),
        scheme: "http",
    }
}

impl Request {
    fn version(self, version: &str) -> Self {
        self.header("x-openstack-ironic-api-version", version)
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers
            .insert(name, value.parse().expect("a header value"));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    fn body(mut self, body: &str) -> Self {
        self.body = body.into();
        self.header("content-type", "application/json")
    }

    fn from(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }

    /// What comes of it with the obliging rack.
    fn send(self) -> Exchange {
        self.send_to(obliging)
    }

    fn send_to(self, rack: impl Fn(Call) -> Result<Answer, Refused> + 'static) -> Exchange {
        self.send_under(&Policy::default(), rack)
    }

    fn send_under(
        self,
        policy: &Policy,
        rack: impl Fn(Call) -> Result<Answer, Refused> + 'static,
    ) -> Exchange {
        let (method, path) = (self.method.clone(), self.path.clone());
        let rights = policy.rights(&self.peer);
        let double = Rc::new(Double {
            rack,
            calls: RefCell::default(),
        });
        let (frame, outcome) = at_once(handle(self, rights, double.clone()));
        let response = frame.finish(outcome.and_then(whole));
        let calls = double.calls.take();
        fits_the_document(&method, &path, &response);
        Exchange { calls, response }
    }
}

/// The whole of an answer: all that a stream brings.
fn whole(outcome: Outcome) -> Result<Response, Fault> {
    let mut stream = match outcome {
        Outcome::Whole(response) => return Ok(response),
        Outcome::Stream(stream) => stream,
    };
    let mut text = String::new();
    while let Some(more) = at_once(stream.next())? {
        text += &more;
    }
    Ok(Response::text(stream.media_type(), text))
}

/// Every answer of every test has the shape that the OpenAPI document promises.
fn fits_the_document(method: &http::Method, path: &str, response: &Response) {
    let Ok(found) = crate::api::route::find(path) else {
        return;
    };
    let document = crate::api::openapi::document();
    let verb = method.as_str().to_ascii_lowercase();
    let operation = &document["paths"][found.route.path][&verb];
    let status = response.status.as_u16().to_string();
    if operation.is_null() {
        return;
    }
    let described = operation["responses"].get(&status);
    let described =
        described.unwrap_or_else(|| panic!("{method} {path}: {status} is undocumented"));
    let Some(media_type) = response.media_type else {
        assert!(
            described.get("content").is_none(),
            "{method} {path}: {status} without a body"
        );
        return;
    };
    let schema = &described["content"][media_type]["schema"];
    assert!(
        schema.is_object(),
        "{method} {path}: {status} with a body of {media_type}"
    );
    let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    let misfit = crate::api::openapi::misfit(&body, schema, &document, "");
    assert_eq!(misfit, None, "{method} {path}: {status}");
}

impl Exchange {
    fn status(&self) -> u16 {
        self.response.status.as_u16()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .response
            .headers
            .iter()
            .rfind(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.response.body).expect("bodies are text")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).expect("a JSON body")
    }

    /// The body with its members by their names.
    fn by_name(&self) -> String {
        serde_json::to_string_pretty(&self.json()).expect("JSON")
    }

    /// What Ironic's clients show of a refusal, whichever of its forms it has.
    fn complaint(&self) -> String {
        let body = self.json();
        let inner: serde_json::Value =
            match body.get("error_message").and_then(|text| text.as_str()) {
                Some(text) => serde_json::from_str(text).expect("JSON within JSON"),
                None => body,
            };
        let shown = inner
            .get("faultstring")
            .or(inner.get("description"))
            .or(inner.pointer("/error/message"));
        shown
            .and_then(|text| text.as_str())
            .expect("a text for people")
            .to_owned()
    }

    /// The whole answer as it would be read in a capture.
    fn transcript(&self) -> String {
        let mut text = format!("{}\n", self.response.status);
        if let Some(media_type) = self.response.media_type {
            text.push_str(&format!("content-type: {media_type}\n"));
        }
        for (name, value) in &self.response.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        format!("{text}\n{}", self.text())
    }
}
