//! The real daemon and clients who are many, or slow, or do not listen: the others are served all
//! the same.
//!
//! No claim about speed: "served" is an answer within [`PROMPTLY`], far more than it takes and far
//! less than the rude ones are given.

mod daemon;

use daemon::{Bed, DAEMON, Keys, free_tcp, plan};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rackbmcd::sim::{ChassisOrder, Mood};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// Within this a client is served.
const PROMPTLY: Duration = Duration::from_secs(5);
/// What the daemon is told about connections in its configuration.
const CONNECTIONS: usize = 400;
/// How many nodes there are.
const NODES: usize = 16;

/// A bed whose daemon listens on TCP, too.
struct Crowded {
    bed: Bed,
    tcp: SocketAddr,
}

impl Crowded {
    /// `limits` are keys of `[api.limits]`.
    fn new(limits: &str) -> Self {
        let plans = (1..=NODES).map(|number| plan(&format!("r1n{number:02}"), Mood::default()));
        let tcp = free_tcp();
        let api = format!("tcp = \"{tcp}\"\nauth = \"none\"\n[api.limits]\n{limits}");
        let keys = Keys {
            api: &api,
            ..Keys::default()
        };
        let mut bed = Bed::of(plans, &keys);
        // As a service starts: with few files, of which it may have more.
        let mut few = Command::new("sh");
        few.args(["-c", "ulimit -S -n 256 && exec \"$0\" \"$@\"", DAEMON]);
        bed.start_by(few);
        Self { bed, tcp }
    }

    fn log(&self) -> String {
        self.bed.log()
    }

    fn try_unix(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(self.bed.socket())?;
        stream.set_read_timeout(Some(PROMPTLY))?;
        stream.set_write_timeout(Some(PROMPTLY))?;
        Ok(stream)
    }

    fn unix(&self) -> UnixStream {
        self.try_unix()
            .unwrap_or_else(|error| panic!("not let in: {error}; {}", self.log()))
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.tcp, PROMPTLY).expect("let in");
        stream.set_read_timeout(Some(PROMPTLY)).expect("a socket");
        stream
    }

    /// A list of all nodes, as an honest client wants it; the whole answer.
    fn list(&self, mut stream: impl Read + Write) -> String {
        let request = "GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        // One that is turned away may have been hung up on before it could ask.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert!(!answer.is_empty(), "no answer: {error}; {}", self.log());
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn is_served(&self, stream: impl Read + Write) {
        let answer = self.list(stream);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(answer.matches("\"uuid\"").count(), NODES, "{answer}");
    }

    /// Resident memory in kB.
    fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.bed.pid());
        let status = fs::read_to_string(path).expect("the daemon runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|number| number.parse().ok())
            .expect("a number of kB")
    }
}

/// As many files for the clients as this process may have.
fn raise_our_own_limit(wanted: u64) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    assert!(most >= wanted, "at most {most} files, {wanted} are needed");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit is allowed");
}

/// What the daemon said to a client before it hung up; `None` while it has not.
fn ended(stream: &mut (impl Read + SetNonblocking), said: &mut Vec<u8>) -> bool {
    stream.set_nonblocking();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(count) => said.extend_from_slice(&bytes[..count]),
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

trait SetNonblocking {
    fn set_nonblocking(&self);
}

impl SetNonblocking for UnixStream {
    fn set_nonblocking(&self) {
        Self::set_nonblocking(self, true).expect("a socket");
    }
}

/// Asks `done` until it is so, or the patience ends.
fn eventually(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn of_a_thousand_connections_those_beyond_the_limit_are_told_503_and_other_clients_are_served() {
    raise_our_own_limit(2048);
    let bed = Crowded::new(&format!(
        "connections = {CONNECTIONS}\nheader_timeout = \"60s\"\n"
    ));
    let mut crowd: Vec<UnixStream> = (0..1000)
        .map(|_| {
            let mut stream = bed.unix();
            // One that was turned away may be closed by now.
            let _ = stream.write_all(b"GET /v1/nodes HTTP/1.1\r\n");
            stream
        })
        .collect();
    bed.is_served(bed.tcp());
    // The honest client of the crowded socket is told, too.
    let answer = bed.list(bed.unix());
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after:"), "{answer}");
    let mut told = vec![Vec::new(); crowd.len()];
    let mut turned_away = 0;
    let all_told = eventually(PROMPTLY, || {
        let each = crowd.iter_mut().zip(&mut told);
        turned_away = each
            .filter_map(|(stream, said)| ended(stream, said).then_some(()))
            .count();
        turned_away >= 1000 - CONNECTIONS
    });
    assert!(all_told, "{turned_away} were told; {}", bed.log());
    // The daemon may not have noticed yet that those who asked whether it is up have left.
    assert!(
        turned_away <= 1000 - CONNECTIONS + 5,
        "{turned_away} were turned away"
    );
    let refused = told.iter().filter(|said| said.starts_with(b"HTTP/1.1 503"));
    assert_eq!(refused.count(), turned_away);
    assert!(
        bed.memory() < 64 * 1024,
        "{CONNECTIONS} idle connections cost {} kB",
        bed.memory()
    );
    // They leave: there is room again.
    drop(crowd);
    let room = eventually(PROMPTLY, || {
        bed.list(bed.unix()).starts_with("HTTP/1.1 200")
    });
    assert!(room, "{}", bed.log());
    assert!(
        !bed.log().contains("could not be accepted"),
        "{}",
        bed.log()
    );
}

#[test]
fn a_client_that_sends_a_byte_a_second_is_let_go_and_holds_up_nobody() {
    let bed = Crowded::new("header_timeout = \"2s\"\n");
    let mut slow: Vec<UnixStream> = (0..50).map(|_| bed.unix()).collect();
    let began = Instant::now();
    let mut bytes = b"GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\n".iter();
    let mut said = vec![Vec::new(); slow.len()];
    let gone = eventually(Duration::from_secs(15), || {
        let byte = bytes.next().expect("they are let go before it is said");
        for stream in &mut slow {
            // Into the void, once it was let go.
            let _ = stream.write_all(&[*byte]);
        }
        bed.is_served(bed.unix());
        std::thread::sleep(Duration::from_secs(1));
        let each = slow.iter_mut().zip(&mut said);
        each.fold(true, |all, (stream, said)| ended(stream, said) && all)
    });
    assert!(gone, "still there after {:?}", began.elapsed());
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "nobody was given the time that is promised"
    );
}

/// Reads until `what` has come.
fn read_until(stream: &mut impl Read, what: &str) -> String {
    let mut text = Vec::new();
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(&text).contains(what) {
        let count = stream.read(&mut bytes).expect("it comes");
        assert!(count > 0, "ended: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn open_streams_live_through_sighup_and_end_in_order_with_sigterm() {
    // 16 of them are kept for admins, which clients on TCP are not.
    let mut bed = Crowded::new("streams = 136\n");
    let ask = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let mut local: Vec<UnixStream> = (0..100).map(|_| bed.unix()).collect();
    let mut remote: Vec<TcpStream> = (0..20).map(|_| bed.tcp()).collect();
    for stream in &mut local {
        stream.write_all(ask.as_bytes()).expect("it listens");
        assert!(read_until(stream, "\n\n").starts_with("HTTP/1.1 200"));
    }
    for stream in &mut remote {
        stream.write_all(ask.as_bytes()).expect("it listens");
        assert!(read_until(stream, "\n\n").starts_with("HTTP/1.1 200"));
    }
    // One more than there may be.
    let mut stream = bed.tcp();
    stream.write_all(ask.as_bytes()).expect("it listens");
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 503"));

    let daemon = Pid::from_raw(i32::try_from(bed.bed.pid()).expect("a pid"));
    kill(daemon, Signal::SIGHUP).expect("it runs");
    assert!(
        eventually(PROMPTLY, || bed.log().contains("reloaded")),
        "{}",
        bed.log()
    );
    let body = r#"{"reason": "new cables"}"#;
    let change = format!(
        "PUT /v1/nodes/r1n01/maintenance HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         X-OpenStack-Ironic-API-Version: 1.31\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = bed.unix();
    stream.write_all(change.as_bytes()).expect("it listens");
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 202"));
    for stream in &mut local {
        read_until(stream, "new cables");
    }
    for stream in &mut remote {
        read_until(stream, "new cables");
    }

    kill(daemon, Signal::SIGTERM).expect("it runs");
    let rest = |stream: &mut dyn Read| {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("ended in order");
        text
    };
    for stream in &mut local {
        assert!(rest(stream).ends_with("0\r\n\r\n"), "torn off");
    }
    for stream in &mut remote {
        assert!(rest(stream).ends_with("0\r\n\r\n"), "torn off");
    }
    let mut status = None;
    let ended = eventually(PROMPTLY * 3, || {
        status = bed.bed.ended();
        status.is_some()
    });
    assert!(
        ended && status.is_some_and(|status| status.success()),
        "{}",
        bed.log()
    );
}

#[test]
fn clients_that_do_not_read_their_answers_cost_a_bounded_memory_and_are_let_go() {
    let bed = Crowded::new("write_timeout = \"3s\"\n");
    let request = "GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    let mut deaf: Vec<UnixStream> = (0..40).map(|_| bed.unix()).collect();
    for stream in &mut deaf {
        stream.set_nonblocking(true).expect("a socket");
        // As much as fits: far more is asked for than any socket holds of answers.
        let _ = stream.write(request.as_bytes());
    }
    bed.is_served(bed.unix());
    bed.is_served(bed.tcp());
    let most = bed.memory();
    assert!(most < 96 * 1024, "40 answers in waiting cost {most} kB");
    // Nothing is read here before the daemon had its chance to lose patience: only then what is
    // left in the socket.
    let gone = eventually(Duration::from_secs(20), || {
        deaf.iter_mut().all(|stream| {
            // A peer that has hung up lets nothing be written.
            matches!(stream.write(b"G"), Err(error) if error.kind() == ErrorKind::BrokenPipe
                || error.kind() == ErrorKind::ConnectionReset)
        })
    });
    assert!(gone, "still there: {}", bed.log());
    bed.is_served(bed.unix());
}

/// Somebody who asks for details of all nodes again and again, and reads them.
struct Reader {
    stream: UnixStream,
    said: Vec<u8>,
}

impl Reader {
    fn new(bed: &Crowded) -> Self {
        let mut reader = Self {
            stream: bed.unix(),
            said: Vec::new(),
        };
        reader.ask();
        reader
    }

    fn ask(&mut self) {
        self.said.clear();
        let request = "GET /v1/nodes/detail HTTP/1.1\r\nHost: localhost\r\n\r\n";
        self.stream
            .write_all(request.as_bytes())
            .expect("it listens");
    }

    /// Reads what has come. Whether that was the rest of an answer: then it asks again.
    fn reads(&mut self) -> bool {
        assert!(
            !ended(&mut self.stream, &mut self.said),
            "it was hung up on"
        );
        let Some(head) = self.said.windows(4).position(|end| end == b"\r\n\r\n") else {
            return false;
        };
        let text = String::from_utf8_lossy(&self.said[..head]).to_lowercase();
        let length = text.split("content-length: ").nth(1).expect("a length");
        let length: usize = length
            .split("\r\n")
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number");
        let whole = self.said.len() == head + 4 + length;
        if whole {
            self.ask();
        }
        whole
    }
}

/// Answers that many readers get while an order leaves: on an idle machine some dozens, where each
/// of them waited in a line with the order before each step, thousands.
const ANSWERS_MEANWHILE: usize = 2000;

#[test]
fn orders_leave_in_time_beside_four_hundred_who_read_all_that_there_is() {
    raise_our_own_limit(2048);
    let bed = Crowded::new("");
    let mut readers: Vec<Reader> = (0..400).map(|_| Reader::new(&bed)).collect();
    let mut round = || {
        readers
            .iter_mut()
            .filter_map(|reader| reader.reads().then_some(()))
            .count()
    };
    let mut answers = 0;
    while answers < 800 {
        answers += round();
    }
    for number in 1..=NODES {
        let node = format!("r1n{number:02}");
        let order = format!(r#"{{"node":"{node}","operation":"power off"}}"#);
        let asked = bed.bed.send("POST", "/v1/tasks", &order).expect("let in");
        let mut meanwhile = 0;
        while bed.bed.count(&node, ChassisOrder::Off) == 0 {
            meanwhile += round();
            assert!(
                meanwhile < ANSWERS_MEANWHILE,
                "{meanwhile} answers before the order of {node} left; {}",
                bed.log()
            );
        }
        drop(asked);
    }
}
