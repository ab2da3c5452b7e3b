//! The hot paths, to be counted by callgrind: `benches/counts` runs this and compares what it finds
//! with what is recorded.
//!
//! One simulated rack in virtual time: its regular readings, then a PUT for each node. Prints how
//! many of each there were.

#[path = "../tests/world/mod.rs"]
mod world;

use http::{HeaderMap, Method, header::CONTENT_TYPE};
use rackbmcd::api::access::Peer;
use rackbmcd::api::dispatch::{Outcome, handle};
use rackbmcd::api::fault::Fault;
use rackbmcd::api::handle::{Daemon, Later};
use rackbmcd::api::message::{Request, Response};
use rackbmcd::model::{AuditPage, Ha, Role, Support};
use rackbmcd::rack::call::{Answer, Call, CallId, Refused};
use rackbmcd::rack::rights::Rights;
use std::cell::RefCell;
use std::future::ready;
use std::rc::Rc;
use world::{World, name, secs};

/// So few that valgrind takes seconds, so many that the start is lost among them.
const NODES: usize = 8;
const ROUNDS: u64 = 40;

fn main() {
    let mut world = World::new(1, NODES);
    world.crash();
    world.settings.sync_interval = secs(5);
    world.start();
    world.run_for(secs(5 * ROUNDS));
    println!("readings {}", NODES as u64 * ROUNDS);
    let daemon = Rc::new(AtOnce(RefCell::new(world)));
    for place in 0..NODES {
        let status = put(&daemon, &name(place), br#"{"target": "power off"}"#).status;
        assert_eq!(status, 202);
    }
    println!("puts {NODES}");
}

/// Ironic's PUT, from the bytes of its body to its answer, with a disk that takes no time.
#[inline(never)]
fn put(daemon: &Rc<AtOnce>, node: &str, body: &[u8]) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, "application/json".parse().expect("a value"));
    headers.insert(
        "x-openstack-ironic-api-version",
        "1.31".parse().expect("a value"),
    );
    let request = Request {
        method: Method::PUT,
        path: format!("/v1/nodes/{node}/states/power"),
        query: String::new(),
        headers,
        body: body.to_vec(),
        peer: Peer::unix(0, 0, None),
        id: "req-counted".to_owned(),
        scheme: "http",
    };
    let rights = Rights::everywhere_as(Role::Admin);
    let (frame, outcome) = smol::block_on(handle(request, rights, daemon.clone()));
    frame.finish(outcome.map(|outcome| match outcome {
        Outcome::Whole(response) => response,
        Outcome::Stream(_) => panic!("a PUT is answered once"),
    }))
}

/// The rack of a world, which answers at once: what it writes is durable, and nothing reaches its
/// BMCs.
struct AtOnce(RefCell<World>);

impl Daemon for AtOnce {
    fn call(&self, call: Call) -> Later<Result<Result<Answer, Refused>, Fault>> {
        let mut world = self.0.borrow_mut();
        let (now, id) = (world.now, CallId(u64::MAX));
        let rack = world.rack();
        rack.handle_call(id, call, &Rights::everywhere_as(Role::Admin), now);
        while let Some((ticket, _)) = rack.poll_writes() {
            rack.handle_durable(ticket, now);
        }
        let answered = std::iter::from_fn(|| rack.poll_answer()).find(|(of, _)| *of == id);
        let (_, answer) = answered.expect("it is answered when it is durable");
        Box::pin(ready(Ok(answer)))
    }

    fn support(&self) -> Later<Result<Support, Fault>> {
        Box::pin(ready(Ok(Support::default())))
    }

    fn ha(&self) -> Later<Ha> {
        Box::pin(ready(Ha::default()))
    }

    fn hand_over(&self, _: Option<String>) -> Later<Result<(), Refused>> {
        Box::pin(ready(Ok(())))
    }

    fn metrics(&self) -> Later<Result<String, Fault>> {
        Box::pin(ready(Ok(String::new())))
    }

    fn trail(&self, _: u64, _: usize) -> Later<Result<AuditPage, String>> {
        Box::pin(ready(Ok(AuditPage::default())))
    }
}
