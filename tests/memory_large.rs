//! The same as `memory.rs` for the largest rack that there may be, over TLS, with passwords
//! (feature `tls`): 4,096 nodes, all of whose systems hang, and clients who go for one bound after
//! the other (docs/design.md, section 8).
//!
//! `tests/run memory` tells it of fewer nodes and clients, `MEMORY_NODES=4096 MEMORY_CLIENTS=490`
//! (in `tests/run long`) of all.

mod attacked;
mod daemon;

use attacked::{Attacked, LETTERS, entry, fill, uuid};
use base64::Engine;
use daemon::{Bed, Keys, free_tcp, plan};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rackbmcd::sim::{Mood, OsMood};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the daemon answers itself within while it is attacked, on a machine with other work. Those
/// who are told to ask again do so.
const PROMPTLY: Duration = Duration::from_secs(90);
/// A client of ours is let in, and its request taken, within this.
const LET_IN: Duration = Duration::from_secs(20);
/// As many clients of one kind as there may be from behind a proxy on this host.
const MOST: usize = 490;

fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

/// How many clients of one kind there are: shaking hands takes a while in a build without
/// optimisation.
fn crowd() -> usize {
    number("MEMORY_CLIENTS", 60).min(MOST)
}

/// Clients who speak TLS.
struct Clients {
    tcp: SocketAddr,
    config: Arc<ClientConfig>,
    credentials: String,
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Clients {
    fn plain(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.tcp, LET_IN).ok()?;
        stream.set_write_timeout(Some(LET_IN)).ok()?;
        stream.set_read_timeout(Some(LET_IN)).ok()?;
        Some(stream)
    }

    fn connect(&self) -> Option<Stream> {
        let mut stream = self.plain()?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(self.config.clone(), name).expect("a client");
        while client.is_handshaking() {
            client.complete_io(&mut stream).ok()?;
        }
        Some(StreamOwned::new(client, stream))
    }

    /// The head of a request of somebody who may do everything that an operator may.
    fn head(&self, line: &str, more: &str) -> String {
        let credentials = &self.credentials;
        format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n{more}\r\n"
        )
    }

    /// A connection that has sent this, and reads nothing.
    fn deaf(&self, text: &str) -> Option<Stream> {
        let mut stream = self.connect()?;
        stream.write_all(text.as_bytes()).ok()?;
        stream.flush().ok()?;
        Some(stream)
    }

    fn post(&self, path: &str, body: &str) -> String {
        let length = body.len();
        let more = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
        self.head(&format!("POST {path}"), &more) + body
    }

    /// Many who send this and read nothing.
    fn crowd(&self, text: &str) -> Vec<Stream> {
        (0..crowd()).filter_map(|_| self.deaf(text)).collect()
    }
}

/// A certificate for this host, and who trusts it.
fn certificate(bed: &std::path::Path) -> Arc<ClientConfig> {
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
                 -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout api.key -out api.crt";
    let made = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(bed)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    private(&bed.join("api.key"));
    let mut trusted = RootCertStore::empty();
    let shown = CertificateDer::from_pem_file(bed.join("api.crt")).expect("a certificate");
    trusted.add(shown).expect("a root");
    let config =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(trusted)
            .with_no_client_auth();
    Arc::new(config)
}

fn private(path: &std::path::Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("ours");
}

fn start(nodes: usize) -> (Attacked, Clients) {
    // One descriptor for each BMC of the rack, and two for each client.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit is allowed");
    let folder = tempfile::tempdir().expect("a folder");
    let config = certificate(folder.path());
    let hash = bcrypt::hash("sesame", 4).expect("a hash");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("htpasswd"), format!("anna:{hash}\n")).expect("written");
    private(&path("htpasswd"));
    let tcp = free_tcp();
    let api = format!(
        "tcp = \"{tcp}\"\nauth = \"http_basic\"\nhtpasswd = {:?}\ntls_certificate = {:?}\ntls_key = {:?}\n\
         [[api.role]]\nrole = \"operator\"\nhttp_users = [\"anna\"]\n",
        path("htpasswd"),
        path("api.crt"),
        path("api.key")
    );
    let keys = Keys {
        api: &api,
        ..Keys::default()
    };
    let hangs = Mood {
        os: OsMood::Hangs,
        ..Mood::default()
    };
    let plans = (0..nodes).map(|node| plan(&name(node), hangs.clone()));
    let bed = Bed::with_nodes(plans, &keys, entry);
    fill(&bed.path("state"), 32);
    let daemon = Attacked::start(bed, PROMPTLY);
    let credentials = base64::engine::general_purpose::STANDARD.encode("anna:sesame");
    let clients = Clients {
        tcp,
        config,
        credentials,
    };
    (daemon, clients)
}

fn name(node: usize) -> String {
    format!("r1n{node:04}")
}

/// The set of the first so many nodes.
fn all(nodes: usize) -> String {
    format!("r1n[0000-{:04}]", nodes - 1)
}

/// What is asked on this host is answered with one of these in the end, though it may take a while.
#[track_caller]
fn asked(daemon: &Attacked, method: &str, path: &str, body: &str) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let answer = daemon.bed.request(method, path, body);
        if let Some((200 | 202, text)) = &answer {
            return serde_json::from_str(text).expect("JSON");
        }
        let crowded = matches!(answer, None | Some((503 | 504, _)));
        assert!(crowded && began.elapsed() < PROMPTLY, "{path}: {answer:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Half of what a client says, or nothing: to TLS, to HTTP, of a body.
fn halves(daemon: &mut Attacked, clients: &Clients) {
    let hello: Vec<TcpStream> = (0..MOST)
        .filter_map(|_| {
            let mut stream = clients.plain()?;
            let mut half = vec![22, 3, 1, 63, 0, 1, 0, 62, 252];
            half.resize(8000, 0);
            stream.write_all(&half).ok()?;
            Some(stream)
        })
        .collect();
    daemon.lives(&format!("{} halves of a handshake", hello.len()));
    drop(hello);
    let head = clients.head("GET /v1", "");
    let heads = clients.crowd(&format!(
        "{}X: {}",
        &head[..head.len() - 2],
        "x".repeat(15_000)
    ));
    daemon.lives(&format!("{} halves of a head", heads.len()));
    drop(heads);
    let long = clients.head("POST /v1/batches", "Content-Length: 65536\r\n");
    let bodies = clients.crowd(&(long + &" ".repeat(65_000)));
    daemon.lives(&format!("{} bodies that never end", bodies.len()));
}

fn strangers(daemon: &mut Attacked, clients: &Clients) {
    let before = daemon.journal();
    let path = "x".repeat(7000);
    for turn in 0..200 {
        let Some(mut stream) = clients.connect() else {
            continue;
        };
        // None at all, or a name of their own each.
        let who = base64::engine::general_purpose::STANDARD.encode(format!("{turn}{path}:x"));
        let who = match turn % 8 {
            0 => format!("Authorization: Basic {who}\r\n"),
            _ => String::new(),
        };
        let request = format!(
            "PUT /v1/nodes/{path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{who}Connection: close\r\n\r\n"
        );
        let _ = stream.write_all(request.as_bytes());
    }
    daemon.lives("200 requests of strangers");
    let grown = daemon.journal().saturating_sub(before);
    assert!(grown < 1 << 20, "the journal has grown by {grown} bytes");
}

/// Requests that wait for as long as they may and are as long as they may be.
fn patient(daemon: &mut Attacked, clients: &Clients) {
    let at = asked(daemon, "GET", "/v1/events", "")["next"].clone();
    let at = at.as_str().expect("a position").to_owned();
    let names: Vec<String> = (0..256).map(|node| format!("n{node}")).collect();
    let node = format!("node={}", names.join(","));
    let many = "node&".repeat(90);
    let headers: String = (0..40)
        .map(|n| format!("X-{n}: {}\r\n", "x".repeat(200)))
        .collect();
    let before = daemon.descriptors();
    for query in [
        format!("{many}{node}"),
        "node=a".to_owned() + &",a".repeat(3000),
        "node&".repeat(1400),
    ] {
        let line = format!("GET /v1/events?wait=300s&since={at}&{query}");
        let polls = clients.crowd(&clients.head(&line, &headers));
        daemon.lives(&format!(
            "{} long polls of {} bytes",
            polls.len(),
            line.len()
        ));
        assert!(polls.len() > crowd() / 2, "{} had a place", polls.len());
        drop(polls);
        daemon.forgets_who_has_gone(before);
    }
    let line = format!("GET /v1/events?snapshot=true&{node}");
    let accept = format!("Accept: text/event-stream\r\n{headers}");
    let streams = clients.crowd(&clients.head(&line, &accept));
    daemon.lives(&format!("{} streams with a filter", streams.len()));
}

/// Sets that are short to write and stand for everything.
fn sets(daemon: &mut Attacked, clients: &Clients, nodes: usize) {
    let all = all(nodes);
    let dry = format!(r#"{{"nodes":["{all}"],"operation":"power off","dry_run":true}}"#);
    let planned = asked(daemon, "POST", "/v1/batches?pretty", &dry);
    assert_eq!(planned["nodes"].as_array().map(Vec::len), Some(nodes));
    daemon.lives("a dry run over all");
    let plans = clients.crowd(&clients.post("/v1/batches", &dry));
    daemon.lives(&format!("{} dry runs over all", plans.len()));
    drop(plans);
    let readings = clients.post("/v1/readings", &format!(r#"{{"nodes":["{all}"]}}"#));
    let readings = clients.crowd(&readings);
    daemon.lives(&format!("{} readings of all", readings.len()));
    drop(readings);
    let twice = format!("\"{all}\",\"{all}\"");
    let unknown = format!("\"r2n[0000-{:04}]\"", 8000);
    let one_by_one: Vec<String> = (0..6000).map(|node| format!("\"{node}\"")).collect();
    for nodes in [twice, unknown, one_by_one.join(","), "\"@all\"".to_owned()] {
        let body = format!(r#"{{"nodes":[{nodes}],"operation":"power on","dry_run":true}}"#);
        let sets = clients.crowd(&clients.post("/v1/batches", &body));
        daemon.lives(&format!("{} sets in {} bytes", sets.len(), body.len()));
    }
}

/// Batches that go on for ever, one beside the other, as many as there may be. Each with one task
/// that does not end, beside hundreds that have.
fn open_batches(daemon: &Attacked, nodes: usize) {
    let most = number("MEMORY_BATCHES", 12);
    let soft = |of| {
        let nodes = all(of);
        format!(
            r#"{{"nodes":["{nodes}"],"operation":"soft power off","timeout":86400,"on_busy":"skip"}}"#
        )
    };
    let mut begun = Vec::new();
    while begun.len() < most {
        let of = nodes - begun.len();
        let (status, batch) = daemon.post("/v1/batches", &soft(of));
        if status == 503 && batch.contains("there is no place for another") {
            break;
        }
        if [503, 504].contains(&status) {
            std::thread::sleep(Duration::from_millis(200));
            continue;
        }
        assert_eq!(status, 202, "{batch}");
        let batch: serde_json::Value = serde_json::from_str(&batch).expect("JSON");
        let id = batch["id"].as_str().expect("an id").to_owned();
        let others = format!(r#"{{"nodes":["{}"]}}"#, all(of - 1));
        asked(daemon, "POST", &format!("/v1/batches/{id}/abort"), &others);
        begun.push(id);
    }
    assert!(begun.len() > 3, "{begun:?}");
    // What comes next has its place.
    let last = begun.last().expect("some");
    asked(daemon, "POST", &format!("/v1/batches/{last}/abort"), "");
}

/// Controls of a batch over all, and what many read of it.
fn batches(daemon: &mut Attacked, clients: &Clients, nodes: usize) {
    open_batches(daemon, nodes);
    daemon.lives("batches of which one task each goes on");
    let soft = format!(
        r#"{{"nodes":["{}"],"operation":"soft power off","timeout":86400,"on_busy":"skip"}}"#,
        all(nodes)
    );
    let batch = asked(daemon, "POST", "/v1/batches", &soft);
    let id = batch["id"].as_str().expect("an id").to_owned();
    daemon.lives("a batch over all that hangs");
    // Each of these leaves nearly all out, because they are busy; those that take one node more are
    // never over.
    let busy = soft.replace("soft power off", "power off");
    let begun: Vec<_> = (0..200)
        .filter_map(|_| clients.deaf(&clients.post("/v1/batches", &busy)))
        .collect();
    daemon.lives(&format!("{} batches over busy nodes", begun.len()));
    drop(begun);
    let path = format!("/v1/batches/{id}");
    for query in ["", "?pretty", "?wait=0", "?wait=300s"] {
        let request = clients.head(&format!("GET {path}{query}"), "");
        let held = clients.crowd(&request.repeat(8));
        if query == "?wait=300s" {
            break_off(daemon, &path);
        }
        daemon.lives(&format!("{} readers of a batch{query}", held.len()));
    }
    let lists = clients.head("GET /v1/batches?pretty", "");
    let lists = clients.crowd(&lists.repeat(4));
    daemon.lives(&format!("{} readers of all batches", lists.len()));
}

/// Controls of a whole batch, and then its end, while others wait for that.
fn break_off(daemon: &mut Attacked, path: &str) {
    for _ in 0..number("MEMORY_CONTROLS", 6) {
        for control in ["suspend", "resume"] {
            asked(daemon, "POST", &format!("{path}/{control}"), "");
        }
    }
    daemon.lives("controls of a whole batch");
    // All at once, from clients who do not wait.
    let controls: Vec<_> = (0..200)
        .map(|number| {
            let control = ["suspend", "resume"][number % 2];
            daemon.bed.send("POST", &format!("{path}/{control}"), "")
        })
        .collect();
    daemon.lives("many controls of a whole batch at once");
    drop(controls);
    asked(daemon, "POST", &format!("{path}/abort"), "");
    daemon.lives("the abort of a whole batch");
}

fn reasons(daemon: &mut Attacked, nodes: usize) {
    // Letters of four bytes each.
    let reason = "\u{1f9ca}".repeat(LETTERS);
    let reason = format!("{{\"reason\":\"{reason}\"}}");
    for node in 0..nodes.min(1000) {
        asked_quietly(
            daemon,
            &format!("/v1/nodes/{}/maintenance", uuid(node)),
            &reason,
        );
    }
    daemon.lives("the longest reason on a thousand nodes");
}

fn asked_quietly(daemon: &Attacked, path: &str, body: &str) {
    let taken = daemon.bed.request("PUT", path, body);
    let (status, said) = taken.expect("an answer");
    assert!(status < 300, "{path}: {status} {said}");
}

/// Answers that are long, and nobody reads, or byte by byte.
fn readers(daemon: &mut Attacked, clients: &Clients) {
    for path in [
        "/v1/nodes/detail",
        "/v1/nodes/detail?pretty",
        "/v1/nodes/r1n0001/history?limit=1000",
        "/v1/tasks?limit=1000",
        "/metrics",
        "/v1/openapi.json?pretty",
    ] {
        let mut held = clients.crowd(&clients.head(&format!("GET {path}"), "").repeat(8));
        let mut byte = [0];
        for slow in held.iter_mut().take(20) {
            let _ = slow.sock.set_read_timeout(Some(Duration::from_millis(20)));
            let _ = slow.read(&mut byte);
        }
        daemon.lives(&format!("{} readers of {path}", held.len()));
    }
}

/// Streams that nobody reads, alone on their connections and behind another answer, and one that is
/// read meanwhile and has all.
fn streams(daemon: &mut Attacked, clients: &Clients, nodes: usize) {
    let request = clients.head(
        "GET /v1/events?snapshot=true",
        "Accept: text/event-stream\r\n",
    );
    let second = clients.head("GET /v1/pause", "") + &request;
    for (request, what) in [(request, ""), (second, " behind another answer")] {
        let held: Vec<Stream> = (0..256).filter_map(|_| clients.deaf(&request)).collect();
        daemon.lives(&format!("{} streams with a snapshot{what}", held.len()));
        let shown = snapshot(daemon);
        let names = shown["nodes"].as_array().expect("nodes").iter();
        let names: BTreeSet<_> = names.map(|node| node["name"].as_str()).collect();
        assert_eq!(names.len(), nodes);
        daemon.lives("a snapshot that was read");
        drop(held);
        daemon.lives("the end of them");
    }
}

/// The snapshot with which a stream on this host begins.
fn snapshot(daemon: &Attacked) -> serde_json::Value {
    let request = "GET /v1/events?snapshot=true HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let mut stream = UnixStream::connect(daemon.bed.socket()).expect("a place");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut lines = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("a line"));
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert!(head[0].contains("200"), "{head:?}");
    let mut text = String::new();
    while !text.ends_with("]}\n\n") {
        // RFC 9112 §7.1: its length, and the chunk, of which an empty line may be the end.
        let length = lines.next().expect("it goes on");
        let length = usize::from_str_radix(&length, 16).expect("a length");
        let end = text.len() + length;
        while text.len() < end {
            text += &lines.next().expect("the chunk");
            text.push('\n');
        }
        // A chunk that ends within a line has our line break too many, one at a line's end none.
        match text.len() - end {
            0 => drop(lines.next()),
            _ => text.truncate(end),
        }
    }
    let (_, data) = text
        .split_once("event: snapshot\ndata: ")
        .expect("a snapshot");
    serde_json::from_str(data).expect("JSON")
}

#[test]
fn the_daemon_of_the_largest_rack_lives_in_the_memory_of_its_unit_over_tls() {
    let nodes = number("MEMORY_NODES", 256);
    let (mut daemon, clients) = start(nodes);
    let read = format!(r#"{{"nodes":["{}"]}}"#, all(nodes));
    let (status, lines) = daemon.post("/v1/readings", &read);
    assert_eq!(status, 200);
    let fresh = lines.matches("\"fresh\":true").count();
    daemon.lives(&format!("{fresh} of {nodes} nodes were read"));
    halves(&mut daemon, &clients);
    strangers(&mut daemon, &clients);
    patient(&mut daemon, &clients);
    sets(&mut daemon, &clients, nodes);
    batches(&mut daemon, &clients, nodes);
    readers(&mut daemon, &clients);
    reasons(&mut daemon, nodes);
    readers(&mut daemon, &clients);
    streams(&mut daemon, &clients, nodes);
    let panics = daemon.bed.log().matches("panicked").count();
    assert_eq!(panics, 0);
}
