//! The real daemon in the memory that its unit gives it, with the most that the defaults allow,
//! under everything that makes it larger. A large rack over TLS: `memory_large.rs`.
//!
//! `tests/run memory`; `MEMORY_PAIRS=10000` for a longer one.

mod attacked;
mod daemon;

use attacked::{Attacked, ENTRIES, LETTERS, entry, fill, uuid};
use daemon::{Bed, Keys, free_tcp, plan};
use rackbmcd::sim::{Mood, OsMood};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Nodes of a large rack.
const NODES: usize = 256;
/// Within this the daemon answers, also while it is attacked.
const PROMPTLY: Duration = Duration::from_secs(10);

fn start(tcp: SocketAddr) -> Attacked {
    let plans = (0..NODES).map(|node| {
        let mut mood = Mood::default();
        if node == 0 {
            mood.os = OsMood::Hangs;
        }
        plan(&format!("r1n{node:03}"), mood)
    });
    let api = format!(
        "tcp = \"{tcp}\"\nauth = \"token\"\n[[api.token]]\nname = \"t\"\nsha256 = \"{:064}\"\nrole = \"reader\"",
        1
    );
    let keys = Keys {
        api: &api,
        ..Keys::default()
    };
    let bed = Bed::with_nodes(plans, &keys, entry);
    fill(&bed.path("state"), NODES);
    Attacked::start(bed, PROMPTLY)
}

fn slow_readers(daemon: &mut Attacked) {
    for path in ["/v1/nodes/detail", "/v1/nodes/r1n001/history?limit=1000"] {
        let deaf: Vec<_> = (0..400).filter_map(|_| daemon.deaf(path, 8)).collect();
        std::thread::sleep(Duration::from_secs(3));
        daemon.lives(&format!(
            "{} clients who ask for {path} and do not read",
            deaf.len()
        ));
    }
    // Theirs ends with the time for writing; then there is place again.
    std::thread::sleep(Duration::from_secs(11));
    let read = daemon
        .bed
        .request("GET", "/v1/nodes/r1n001/history?limit=1000", "");
    let (status, body) = read.expect("an answer");
    assert_eq!((status, body.matches("created_at").count()), (200, ENTRIES));
}

fn controls(daemon: &mut Attacked) {
    let body = r#"{"node":"r1n000","operation":"soft power off","timeout":36000}"#;
    let (status, task) = daemon.post("/v1/tasks", body);
    assert_eq!(status, 202, "{task}");
    let task: serde_json::Value = serde_json::from_str(&task).expect("JSON");
    let id = task["id"].as_str().expect("an id").to_owned();
    let pairs = std::env::var("MEMORY_PAIRS").map_or(757, |pairs| pairs.parse().expect("a number"));
    for _ in 0..pairs {
        for control in ["suspend", "resume"] {
            let (status, said) = daemon.post(&format!("/v1/tasks/{id}/{control}"), "");
            assert!(status < 300, "{control}: {status} {said}");
            assert!(said.len() < 64 * 1024, "{} bytes", said.len());
        }
    }
    daemon.lives(&format!("{pairs} pairs of suspend and resume"));
}

fn refused_requests(daemon: &mut Attacked, tcp: SocketAddr) {
    let before = daemon.journal();
    let path = "x".repeat(12_000);
    for _ in 0..1000 {
        let Ok(mut stream) = TcpStream::connect(tcp) else {
            continue;
        };
        let _ = write!(
            stream,
            "PUT /v1/nodes/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        assert!(
            said.starts_with("HTTP/1.1 401") || said.starts_with("HTTP/1.1 4"),
            "{said}"
        );
    }
    daemon.lives("1000 requests of 12 kB without credentials");
    let grown = daemon.journal().saturating_sub(before);
    assert!(grown < 1 << 20, "the journal has grown by {grown} bytes");
}

fn long_reasons(daemon: &mut Attacked) {
    let long = format!("{{\"reason\":\"{}\"}}", "r".repeat(60_000));
    let most = format!("{{\"reason\":\"{}\"}}", "r".repeat(LETTERS));
    let path = format!("/v1/nodes/{}/maintenance", uuid(2));
    for _ in 0..300 {
        let refused = daemon.bed.request("PUT", &path, &long);
        assert_eq!(refused.map(|(status, _)| status), Some(400));
        let taken = daemon.bed.request("PUT", &path, &most);
        let (status, said) = taken.expect("an answer");
        assert!(status < 300, "{status} {said}");
    }
    daemon.lives("600 long reasons");
}

fn streams_and_polls(daemon: &mut Attacked) {
    let mut held: Vec<UnixStream> = Vec::new();
    for _ in 0..256 {
        held.extend(daemon.deaf("/v1/events?wait=300s", 1));
        let Some(mut stream) = daemon.deaf("/v1", 0) else {
            continue;
        };
        let request = "GET /v1/events?snapshot=true HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
        let _ = stream.write_all(request.as_bytes());
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    drop(held.split_off(held.len() / 2));
    daemon.lives("256 streams and 256 polls of clients who do not read");
}

#[test]
fn the_daemon_lives_in_the_memory_of_its_unit_whatever_it_is_asked() {
    let tcp = free_tcp();
    let mut daemon = start(tcp);
    long_reasons(&mut daemon);
    refused_requests(&mut daemon, tcp);
    controls(&mut daemon);
    slow_readers(&mut daemon);
    streams_and_polls(&mut daemon);
}
