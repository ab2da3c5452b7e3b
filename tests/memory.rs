//! The real daemon in the memory that its unit gives it, with the most that the defaults allow, under everything that
//! makes it larger.
//!
//! `tests/run memory`; `MEMORY_PAIRS=10000` for a longer one.
//!
//! Where the kernel lets us (root, and a memory controller of cgroups that is mounted), it lives in a group of that size
//! and is killed beyond it. Elsewhere its greatest size is read from `/proc` after each attack, and the test says so.

mod daemon;

use daemon::{Bed, DAEMON, Keys, free_tcp, plan};
use rackbmcd::daemon::store::Store;
use rackbmcd::rack::record::{Table, Write as Change};
use rackbmcd::sim::{Mood, OsMood};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// `MemoryMax=` of the unit.
const LIMIT: u64 = 128 << 20;
/// Nodes of a large rack.
const NODES: usize = 256;
/// Entries of each one's history: the default of `history_entries`.
const ENTRIES: usize = 1000;
/// The longest text that a person can put into one.
const LETTERS: usize = 500;
/// Within this the daemon answers, also while it is attacked.
const PROMPTLY: Duration = Duration::from_secs(10);

fn uuid(node: usize) -> String {
    format!("00000000-0000-4000-8000-{node:012x}")
}

/// A group of processes with a limit of its own; the kernel kills what goes beyond.
struct Group(PathBuf);

impl Group {
    /// `None` where the kernel gives none.
    fn new() -> Option<Group> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let mounted = |wanted: &dyn Fn(&[&str]) -> bool| {
            let mut lines = mounts
                .lines()
                .map(|line| line.split(' ').collect::<Vec<_>>());
            lines
                .find(|line| wanted(line))
                .map(|line| PathBuf::from(line[1]))
        };
        let name = format!("rackbmcd-test-{}", std::process::id());
        let first =
            mounted(&|line| line[2] == "cgroup" && line[3].split(',').any(|o| o == "memory"));
        let second = mounted(&|line| line[2] == "cgroup2");
        let choices = [(first, "memory.limit_in_bytes"), (second, "memory.max")];
        choices.into_iter().find_map(|(root, key)| {
            let group = Group(root?.join(&name));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join(key), LIMIT.to_string()).ok()?;
            for swap in ["memory.swappiness", "memory.swap.max"] {
                let _ = fs::write(group.0.join(swap), "0");
            }
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A daemon that is attacked.
struct Attacked {
    bed: Bed,
    tcp: SocketAddr,
    // After the bed: an empty group only can be removed.
    group: Option<Group>,
}

impl Attacked {
    fn start() -> Self {
        let plans = (0..NODES).map(|node| {
            let mut mood = Mood::default();
            if node == 0 {
                mood.os = OsMood::Hangs;
            }
            plan(&format!("r1n{node:03}"), mood)
        });
        let tcp = free_tcp();
        let api = format!(
            "tcp = \"{tcp}\"\nauth = \"token\"\n[[api.token]]\nname = \"t\"\nsha256 = \"{:064}\"\nrole = \"reader\"",
            1
        );
        let keys = Keys {
            api: &api,
            ..Keys::default()
        };
        let bed = Bed::with_nodes(plans, &keys, |name, address| {
            let node: usize = name[3..].parse().expect("a number");
            format!(
                "[[node]]\nname = \"{name}\"\nuuid = \"{}\"\naddress = \"{}\"\nport = {}\n",
                uuid(node),
                address.ip(),
                address.port()
            )
        });
        fill(&bed.path("state"));
        let mut attacked = Attacked {
            bed,
            tcp,
            group: Group::new(),
        };
        match &attacked.group {
            Some(group) => eprintln!("in a group of 128 MB: {}", group.0.display()),
            None => eprintln!(
                "the kernel gives no group with a limit here: the size is watched instead"
            ),
        }
        let mut command = Command::new("sh");
        let into = attacked
            .group
            .as_ref()
            .map(|group| group.0.join("cgroup.procs"));
        let into = into.unwrap_or_else(|| Path::new("/dev/null").to_owned());
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(into)
            .arg(DAEMON);
        let began = Instant::now();
        attacked.bed.start_by(command);
        attacked.lives("a start with all the history that there may be");
        eprintln!("  started in {:.1} s", began.elapsed().as_secs_f64());
        attacked
    }

    /// The daemon answers, and has not been larger than it may be.
    fn lives(&mut self, after: &str) {
        let ended = self.bed.ended();
        assert!(
            ended.is_none(),
            "after {after}: {ended:?}; {}",
            self.bed.log()
        );
        // The places of clients that have gone are free once the daemon has seen that they have.
        let began = Instant::now();
        loop {
            let health = self.bed.request("GET", "/healthz", "");
            if health.as_ref().is_some_and(|(status, _)| *status == 200) {
                break;
            }
            let ended = self.bed.ended();
            assert!(ended.is_none(), "after {after}: {ended:?}");
            assert!(began.elapsed() < PROMPTLY, "after {after}: {health:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        let (now, most) = (self.kilobytes("VmRSS:"), self.kilobytes("VmHWM:"));
        eprintln!("{after}: {} MB, at most {} MB", now / 1024, most / 1024);
        assert!(most * 1024 < LIMIT, "after {after}: {most} kB");
    }

    fn kilobytes(&self, what: &str) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.bed.pid())).expect("it runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(what))
            .expect("a line");
        line.split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("kB")
    }

    fn journal(&self) -> u64 {
        fs::metadata(self.bed.path("state/journal.redb"))
            .expect("a journal")
            .len()
    }

    /// A connection that has asked for this so many times, and reads nothing.
    fn deaf(&self, path: &str, times: usize) -> Option<UnixStream> {
        let mut stream = UnixStream::connect(self.bed.socket()).ok()?;
        stream.set_write_timeout(Some(PROMPTLY)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.repeat(times).as_bytes()).ok()?;
        Some(stream)
    }

    fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.bed.request("POST", path, body).expect("an answer")
    }
}

/// A journal with all the history that the defaults allow.
fn fill(state: &Path) {
    let mut store = Store::open(state).expect("an empty journal");
    let text = "x".repeat(LETTERS);
    for node in 0..NODES {
        let node = uuid(node);
        let entry = |number: usize| {
            Change::Put {
            table: Table::History,
            key: format!("{node}/{number:020}"),
            value: format!(
                "{{\"node\":\"{node}\",\"entry\":{{\"at\":{},\"kind\":\"fault\",\"text\":\"{text}\",\"task\":null,\
                 \"by\":null,\"error\":true}}}}",
                1_790_000_000_000_000 + number
            )
            .into_bytes(),
        }
        };
        let changes: Vec<Change> = (0..ENTRIES).map(entry).collect();
        store.commit(&changes).expect("there is room");
    }
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

fn refused_requests(daemon: &mut Attacked) {
    let before = daemon.journal();
    let path = "x".repeat(12_000);
    for _ in 0..1000 {
        let Ok(mut stream) = TcpStream::connect(daemon.tcp) else {
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
    let mut daemon = Attacked::start();
    long_reasons(&mut daemon);
    refused_requests(&mut daemon);
    controls(&mut daemon);
    slow_readers(&mut daemon);
    streams_and_polls(&mut daemon);
}
