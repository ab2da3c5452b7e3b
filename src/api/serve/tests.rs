//! Real sockets, real deadlines, and a rack that answers what it is told to. Clients are plain
//! blocking sockets, so that they can be as rude as they like.

mod crowds;
mod leaving;
mod rude;
mod streams;

use super::*;
use crate::model::{
    AuditPage, Event, EventId, EventKind, Events, Ha, Health, HealthStatus, PowerState, Role, Token,
};
use crate::rack::call::Look;
use crate::time::WallTime;
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// What the rack does with a call.
type Rack = fn(&Call) -> Reaction;

/// See [`Rack`].
enum Reaction {
    /// It answers at once.
    Now(Result<Answer, Refused>),
    /// After a while; others are answered meanwhile.
    Late(Result<Answer, Refused>),
    Silence,
    /// It throws the call away: the daemon goes down.
    Gone,
}

/// A daemon's API without the daemon.
struct House {
    path: std::path::PathBuf,
    tcp: std::net::SocketAddr,
    shutdown: Sender<()>,
    calls: Arc<Mutex<Vec<Call>>>,
    audits: Arc<Mutex<Vec<Audit>>>,
    /// Whether metrics that are being written stay so, and how many are.
    writing: Arc<(AtomicBool, AtomicUsize)>,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

fn short() -> Limits {
    Limits {
        connections: 32,
        streams: 2,
        header_bytes: 32 * 1024,
        body_bytes: 64 * 1024,
        header_timeout: Duration::from_millis(400),
        body_timeout: Duration::from_millis(400),
        write_timeout: Duration::from_millis(600),
        login_wait: Duration::from_millis(1),
        answer: Duration::from_millis(800),
        half_closed: Duration::from_millis(500),
        grace: Duration::from_millis(800),
    }
}

/// Answers at once.
fn obliging(call: &Call) -> Reaction {
    let health = Health {
        status: HealthStatus::Ok.into(),
        rack: "r1".into(),
        ..Health::default()
    };
    Reaction::Now(match call.clone() {
        Call::Look(Look::Nodes) => Ok(Answer::Nodes(Vec::new())),
        Call::SetPower { .. } => Ok(Answer::Taken(None)),
        Call::Pause { .. } | Call::Release { .. } => Ok(Answer::Pausing(None)),
        Call::Look(Look::Health) => Ok(Answer::Health(health)),
        Call::Look(Look::Node(ident)) => Err(Refused::NoSuchNode(ident)),
        Call::Events { since, .. } => Ok(Answer::Events(next_event(since))),
        other => Err(Refused::Invalid(format!("{other:?}"))),
    })
}

/// Always one more event: a flood.
fn next_event(since: Option<EventId>) -> Events {
    let Some(since) = since else {
        return Events {
            events: Vec::new(),
            next: EventId {
                epoch: 1,
                sequence: 0,
            },
            reset: false,
        };
    };
    let id = EventId {
        epoch: 1,
        sequence: since.sequence + 1,
    };
    let event = Event {
        id,
        at: WallTime::from_unix_micros(0),
        kind: EventKind::Node.into(),
        node: Some("r1n01".into()),
        text: "x".repeat(10_000),
        task: None,
        power_state: PowerState::Unknown,
    };
    Events {
        events: vec![event],
        next: id,
        reset: false,
    }
}

fn slow(call: &Call) -> Reaction {
    match obliging(call) {
        Reaction::Now(answer) => Reaction::Late(answer),
        other => other,
    }
}

/// Is written when it may be.
async fn metrics(writing: Arc<(AtomicBool, AtomicUsize)>) -> String {
    let (stays, count) = &*writing;
    count.fetch_add(1, Ordering::SeqCst);
    while stays.load(Ordering::SeqCst) {
        smol::Timer::after(Duration::from_millis(1)).await;
    }
    count.fetch_sub(1, Ordering::SeqCst);
    "# EOF\n".to_owned()
}

fn silent(_: &Call) -> Reaction {
    Reaction::Silence
}

/// How late a slow rack is.
const LATE: Duration = Duration::from_millis(150);

fn policy() -> Policy {
    Policy {
        passwords: [("alice".to_owned(), bcrypt::hash("pw", 4).expect("a hash"))].into(),
        tokens: vec![Token {
            name: "ci".into(),
            sha256: Sha256::digest("tok-1").into(),
            role: Role::Operator,
            nodes: None,
        }],
        daemon_uid: Some(nix::unistd::getuid().as_raw()),
        ..Policy::default()
    }
}

impl House {
    fn new(rack: Rack) -> Self {
        Self::with(rack, short())
    }

    fn with(rack: Rack, limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("api.sock");
        let (shutdown, down) = smol::channel::bounded(1);
        let calls = Arc::new(Mutex::new(Vec::new()));
        let audits = Arc::new(Mutex::new(Vec::new()));
        let (audit, seen) = (audits.clone(), calls.clone());
        let writing = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
        let written = writing.clone();
        let context = move |asks, queue| Context {
            asks,
            entropy: Box::new(|bytes| bytes.fill(0x5a)),
            policy: RefCell::new(Rc::new(policy())),
            #[cfg(feature = "tls")]
            identity: RefCell::default(),
            metrics: Box::new(move || Box::pin(metrics(written.clone()))),
            look_up: Box::new(|_, _| {}),
            user_name: Box::new(|_| Box::pin(async { Some("tester".to_owned()) })),
            audit: queue,
            trail: Box::new(|after, limit| {
                Box::pin(async move {
                    let records = vec![format!("{{\"number\":{}}}", after + 1); limit.min(1)];
                    Ok(AuditPage {
                        records,
                        ..AuditPage::default()
                    })
                })
            }),
            support: Box::new(|| Box::pin(async { Support::default() })),
            ha: Box::new(|| Box::pin(async { Ha::default() })),
            hand_over: Box::new(|_| Box::pin(async { Ok(()) })),
            limits,
            shutdown: down,
            state: State::default(),
        };
        let listener = UnixListener::bind(&path).expect("a socket");
        let tcp = smol::block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = tcp.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            let (asks, asked) = smol::channel::bounded::<Asked>(16);
            let (queue, records) = TrailQueue::new();
            let executor = smol::LocalExecutor::new();
            let keep = |entry| audit.lock().expect("no test panics here").push(entry);
            let recording = async {
                while let Ok(entry) = records.recv().await {
                    keep(entry);
                }
            };
            let answering = async {
                let mut kept = Vec::new();
                while let Ok(asked) = asked.recv().await {
                    let reaction = rack(&asked.call);
                    seen.lock().expect("no test panics here").push(asked.call);
                    match reaction {
                        Reaction::Now(answer) => asked.reply.send(answer),
                        Reaction::Late(answer) => {
                            let late = async move {
                                smol::Timer::after(LATE).await;
                                asked.reply.send(answer);
                            };
                            executor.spawn(late).detach();
                        }
                        Reaction::Silence => kept.push(asked.reply),
                        Reaction::Gone => drop(asked.reply),
                    }
                }
            };
            let serving = async {
                let context = Rc::new(context(asks, queue));
                future::zip(
                    serve_unix(listener, context.clone()),
                    serve_tcp(tcp, context),
                )
                .await;
            };
            smol::block_on(executor.run(serving.or(answering).or(recording)));
            while let Ok(entry) = records.try_recv() {
                keep(entry);
            }
        });
        Self {
            path,
            tcp: address,
            shutdown,
            calls,
            audits,
            writing,
            thread: Some(thread),
            _folder: folder,
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        stream
    }

    /// Sends `text` and reads until the server has had enough.
    fn send(&self, text: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(text.as_ref());
        read_all(&mut stream)
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no test panics here").clone()
    }

    /// What the trail was told, once it was told anything.
    fn recorded(&self) -> Vec<Audit> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let audits = || self.audits.lock().expect("no test panics here").clone();
        while audits().is_empty() {
            assert!(Instant::now() < deadline, "never recorded");
            std::thread::sleep(Duration::from_millis(5));
        }
        audits()
    }

    /// That others are served whatever else goes on.
    fn still_serves(&self) {
        let answer = self.send("GET /v1/nodes HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.close();
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(
                ended.is_some_and(|ended| ended.is_ok()),
                "the server panicked"
            );
        }
    }
}

fn read_all(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // A connection that is closed with unread bytes resets; what came before counts.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {}", String::from_utf8_lossy(&bytes)),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no answer")
}

fn put(body: &str) -> String {
    format!(
        "PUT /v1/nodes/n1/states/power HTTP/1.1\r\nhost: x\r\nx-openstack-ironic-api-version: 1.31\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    )
}

#[test]
fn two_requests_on_one_connection_are_answered_in_order() {
    let house = House::new(obliging);
    let answer = house.send(
        "GET /v1/nodes HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    let (nodes, health) = (
        answer.find("\"nodes\":[]"),
        answer.find("\"status\":\"ok\""),
    );
    assert!(nodes.is_some() && nodes < health, "{answer}");
    assert!(
        answer.contains("openstack-request-id: req-5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a"),
        "{answer}"
    );
}

#[test]
fn a_key_of_a_client_is_the_id_of_its_request() {
    let house = House::new(obliging);
    let id = |key: &str| {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{key}connection: close\r\n\r\n");
        let answer = house.send(&request);
        let id = answer.split("\r\nopenstack-request-id: ").nth(1);
        id.expect(&answer)[..40].to_owned()
    };
    let uuid = "7d8e1a52-6c0f-4b7a-9a51-3d1f0e6a7b10";
    let given = format!("Idempotency-Key: {uuid}\r\nX-OpenStack-Request-ID: req-{uuid}\r\n");
    assert_eq!(id(&given), format!("key-{uuid}"));
    let own = id("Idempotency-Key: \"off at noon\"\r\n");
    assert!(own.starts_with("key-"), "{own}");
    assert_eq!(id("Idempotency-Key: \"off at noon\"\r\n"), own);
    assert_ne!(id("Idempotency-Key: \"off at one\"\r\n"), own);
    assert!(id("Idempotency-Key: \r\n").starts_with("req-"));
}

#[test]
fn the_kernel_says_who_asks_and_the_audit_hears_of_it() {
    let house = House::new(obliging);
    let body = r#"{"target": "power on"}"#;
    let answer = house.send(format!("{}connection: close\r\n\r\n{body}", put(body)));
    assert_eq!(status(&answer), "202", "{answer}");
    let calls = house.calls();
    let [Call::SetPower { who, .. }] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!(who.uid, Some(nix::unistd::getuid().as_raw()));
    assert_eq!(who.pid, Some(nix::unistd::getpid().as_raw()));
    assert_eq!(who.name, "tester");
    let audits = house.recorded();
    assert_eq!(
        (
            audits.len(),
            audits[0].status,
            audits[0].who.request.as_str()
        ),
        (1, 202, who.request.as_str())
    );
}

#[test]
fn more_connections_than_there_may_be_are_told_so_and_the_others_go_on() {
    let limits = Limits {
        header_timeout: Duration::from_secs(3),
        ..short()
    };
    let house = House::with(obliging, limits);
    let mut first = house.connect();
    first
        .write_all(b"GET /v1/nodes HTTP/1.1\r\nhost: x\r\n")
        .expect("sent");
    // As many as the file descriptors of a test process allow; all of them at once.
    let mut crowd: Vec<UnixStream> = (0..400).map(|_| house.connect()).collect();
    let mut turned_away = 0;
    for stream in crowd.iter_mut().skip(31) {
        if status(&read_all(stream)) == "503" {
            turned_away += 1;
        }
    }
    assert_eq!(turned_away, 369);
    first.write_all(b"connection: close\r\n\r\n").expect("sent");
    assert_eq!(status(&read_all(&mut first)), "200");
    drop(crowd);
    std::thread::sleep(Duration::from_millis(100));
    house.still_serves();
}

#[test]
fn a_rack_that_does_not_answer_costs_its_asker_only() {
    let house = House::new(|call| match call {
        Call::Look(Look::Health) => silent(call),
        Call::Look(Look::Node(_)) => Reaction::Gone,
        _ => obliging(call),
    });
    let close =
        "HTTP/1.1\r\nhost: x\r\nx-openstack-ironic-api-version: 1.31\r\nconnection: close\r\n\r\n";
    let dropped = house.send(format!("GET /v1/nodes/n1 {close}"));
    assert_eq!(status(&dropped), "503", "{dropped}");
    let begun = Instant::now();
    let late = house.send(format!("GET /healthz {close}"));
    assert_eq!(status(&late), "504", "{late}");
    assert!(begun.elapsed() < Duration::from_secs(4));
    house.still_serves();
}

#[test]
fn on_tcp_a_password_or_a_token_opens_and_guessing_is_slowed_down() {
    let house = House::new(obliging);
    let send = |headers: &str| {
        let mut stream = std::net::TcpStream::connect(house.tcp).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        let text = format!(
            "GET /v1/nodes HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
        );
        stream.write_all(text.as_bytes()).expect("sent");
        read_all(&mut stream)
    };
    assert_eq!(status(&send("")), "401");
    // "alice:pw", "alice:no" and "bob:pw" in base64, made with base64(1).
    let right = "authorization: Basic YWxpY2U6cHc=\r\n";
    let wrong = "authorization: Basic YWxpY2U6bm8=\r\n";
    assert_eq!(status(&send(right)), "200");
    assert_eq!(status(&send("authorization: Bearer tok-1\r\n")), "200");
    assert_eq!(status(&send("authorization: Bearer tok-2\r\n")), "401");
    assert_eq!(status(&send("authorization: Basic Ym9iOnB3\r\n")), "401");
    assert_eq!(
        status(&send(&format!("{right}origin: http://localhost\r\n"))),
        "403"
    );
    let statuses: Vec<String> = (0..8).map(|_| status(&send(wrong)).to_owned()).collect();
    assert_eq!(statuses, ["401"; 8], "one at a time, each waits");
    // Of two at once one waits, and the other is told to.
    let both = std::thread::scope(|scope| {
        let sent: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| status(&send(wrong)).to_owned()))
            .collect();
        let mut both: Vec<String> = sent
            .into_iter()
            .map(|sent| sent.join().expect("no panic"))
            .collect();
        both.sort();
        both
    });
    assert_eq!(both, ["401", "429"]);
    // Who was let in a moment ago is not locked out by somebody else's guesses.
    assert_eq!(status(&send(right)), "200");
}

#[test]
fn the_figures_are_served_as_the_daemon_gives_them() {
    let house = House::new(obliging);
    for (accept, ends, kind) in [
        ("text/plain", false, "text/plain; version=0.0.4"),
        (
            "application/openmetrics-text",
            true,
            "application/openmetrics-text",
        ),
    ] {
        let answer = house.send(format!(
            "GET /metrics HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(answer.ends_with("# EOF\n"), ends, "{answer}");
        assert!(
            answer.contains(&format!("content-type: {kind}")),
            "{answer}"
        );
    }
}

#[test]
fn who_was_not_let_in_leaves_nothing_that_lasts_and_a_long_path_is_cut() {
    let house = House::new(obliging);
    let long = format!("/v1/nodes/{}/states/power", "x".repeat(4000));
    let mut stream = std::net::TcpStream::connect(house.tcp).expect("connected");
    let text = format!(
        "PUT {long} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).expect("sent");
    assert_eq!(status(&read_all(&mut stream)), "401");
    house.send(&text);
    let audits = house.recorded();
    let [audit] = &audits[..] else {
        panic!("{audits:?}")
    };
    assert_eq!(audit.who.name, "tester");
    assert!(audit.path.len() < 300, "{}", audit.path.len());
}
