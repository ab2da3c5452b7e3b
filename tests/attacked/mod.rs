//! A daemon in the memory that its unit gives it, and clients who want it to outgrow that.
//!
//! Where the kernel lets us (root, and a memory controller of cgroups that is mounted), it lives in
//! a group of that size and is killed beyond it. Elsewhere its greatest size is read from `/proc`
//! after each attack, and the test says so.
#![allow(dead_code, reason = "each test uses its part of it")]

use crate::daemon::{Bed, DAEMON, descriptors};
use rackbmcd::daemon::store::Store;
use rackbmcd::rack::record::{Table, Write as Change};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// `MemoryMax=` of the unit.
const LIMIT: u64 = 128 << 20;
/// Entries of a node's history: the default of `history_entries`.
pub(crate) const ENTRIES: usize = 1000;
/// The longest text that a person can put into one.
pub(crate) const LETTERS: usize = 500;
/// A client of ours is let in, and its request taken, within this.
const LET_IN: Duration = Duration::from_secs(10);

pub(crate) fn uuid(node: usize) -> String {
    format!("00000000-0000-4000-8000-{node:012x}")
}

/// What the configuration says of a node: its [`uuid`] has the number in its name, behind the three
/// letters of the rack.
pub(crate) fn entry(name: &str, address: SocketAddr) -> String {
    let node: usize = name[3..].parse().expect("a number");
    format!(
        "[[node]]\nname = \"{name}\"\nuuid = \"{}\"\naddress = \"{}\"\nport = {}\n",
        uuid(node),
        address.ip(),
        address.port()
    )
}

/// A group of processes with a limit of its own; the kernel kills what goes beyond.
struct Group(PathBuf);

impl Group {
    /// `None` where the kernel gives none.
    fn new() -> Option<Self> {
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
            let group = Self(root?.join(&name));
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
pub(crate) struct Attacked {
    pub(crate) bed: Bed,
    /// Within this it answers, also while it is attacked.
    promptly: Duration,
    // After the bed: an empty group only can be removed.
    group: Option<Group>,
}

impl Attacked {
    /// Starts the daemon of `bed` in the memory that it may have. It is to answer `promptly`.
    pub(crate) fn start(bed: Bed, promptly: Duration) -> Self {
        let mut attacked = Self {
            bed,
            promptly,
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
            .arg(std::env::var_os("MEMORY_DAEMON").unwrap_or_else(|| DAEMON.into()));
        let began = Instant::now();
        attacked.bed.start_by(command);
        attacked.lives("a start with all the history that there may be");
        eprintln!("  started in {:.1} s", began.elapsed().as_secs_f64());
        attacked
    }

    /// The daemon answers, and has not been larger than it may be.
    pub(crate) fn lives(&mut self, after: &str) {
        // Who is told that it takes too long asks again; and the places of clients that have gone
        // are free once the daemon has seen that they have.
        let began = Instant::now();
        loop {
            let health = self.bed.request("GET", "/healthz", "");
            let ended = self.bed.ended();
            assert!(
                ended.is_none(),
                "after {after}: {ended:?}; {}",
                self.bed.log()
            );
            if health.as_ref().is_some_and(|(status, _)| *status == 200) {
                break;
            }
            let waited = began.elapsed();
            assert!(waited < self.promptly, "after {after}: {health:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        let answered = began.elapsed().as_secs_f64();
        let (now, most) = (self.kilobytes("VmRSS:"), self.kilobytes("VmHWM:"));
        eprintln!(
            "{after}: {} MB, at most {} MB; it answered after {answered:.1} s",
            now / 1024,
            most / 1024
        );
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

    /// How many descriptors the daemon has open.
    pub(crate) fn descriptors(&self) -> usize {
        descriptors(self.bed.pid()).len()
    }

    /// Clients that have gone give their places up, long before what they waited for has come.
    pub(crate) fn forgets_who_has_gone(&self, before: usize) {
        let end = Instant::now() + self.promptly;
        // A BMC or two may have been looked for meanwhile.
        while self.descriptors() > before + 20 {
            assert!(
                Instant::now() < end,
                "{before} descriptors, and {} now",
                self.descriptors()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn journal(&self) -> u64 {
        fs::metadata(self.bed.path("state/journal.redb"))
            .expect("a journal")
            .len()
    }

    /// A connection that has asked for this so many times, and reads nothing.
    pub(crate) fn deaf(&self, path: &str, times: usize) -> Option<UnixStream> {
        let mut stream = UnixStream::connect(self.bed.socket()).ok()?;
        stream.set_write_timeout(Some(LET_IN)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.repeat(times).as_bytes()).ok()?;
        Some(stream)
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.bed.request("POST", path, body).expect("an answer")
    }
}

/// A journal with all the history that the defaults allow, of so many nodes.
pub(crate) fn fill(state: &Path, nodes: usize) {
    let mut store = Store::open(state).expect("an empty journal");
    let text = "x".repeat(LETTERS);
    for node in 0..nodes {
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
            .into_bytes()
                .into(),
        }
        };
        let changes: Vec<Change> = (0..ENTRIES).map(entry).collect();
        store.commit(&changes).expect("there is room");
    }
}
