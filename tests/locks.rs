//! Two real daemons on one host with one BMC: the lock beside its address keeps the second one off.

mod daemon;

use daemon::{Bed, Keys, Said, plan, rackbmc, spawn};
use rackbmcd::sim::Mood;
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A second daemon with the configuration of the first, but for its socket and its state.
struct Second {
    folder: tempfile::TempDir,
    daemon: Child,
}

impl Second {
    /// With these nodes of the first one's configuration.
    fn beside(bed: &Bed, nodes: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("state")).expect("a folder");
        fs::write(path("rackbmcd.toml"), configuration(bed, &folder, nodes)).expect("a file");
        let daemon = spawn(Command::new(daemon::DAEMON), folder.path());
        let second = Self { folder, daemon };
        second.wait_for("a second daemon", |second| {
            second.rackbmc(&["status"]).code != 3
        });
        second
    }

    fn rackbmc(&self, words: &[&str]) -> Said {
        let socket = self.folder.path().join("s");
        Said::of(rackbmc(&socket, words).output().expect("rackbmc runs"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn metrics(&self) -> String {
        use std::io::{Read, Write};
        let socket = self.folder.path().join("s");
        let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("it listens");
        let head = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    }

    fn reload(&self, bed: &Bed, nodes: &[&str]) {
        let text = configuration(bed, &self.folder, nodes);
        fs::write(self.folder.path().join("rackbmcd.toml"), text).expect("a file");
        let pid = i32::try_from(self.daemon.id()).expect("a process id");
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).expect("it is ours");
    }

    #[track_caller]
    fn wait_for(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < end, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn knows(&self, node: &str) -> bool {
        self.rackbmc(&["status", "-o", "json", node])
            .out
            .contains("power on")
            && is_free(&self.rackbmc(&["explain", node]))
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn configuration(bed: &Bed, folder: &tempfile::TempDir, nodes: &[&str]) -> String {
    let first = fs::read_to_string(bed.path("rackbmcd.toml")).expect("a configuration");
    let (head, tables) = first.split_once("[[node]]").expect("nodes");
    let head = head
        .replace(
            &format!("{:?}", bed.path("state")),
            &format!("{:?}", folder.path().join("state")),
        )
        .replace(
            &format!("{:?}", bed.socket()),
            &format!("{:?}", folder.path().join("s")),
        );
    let wanted = tables.split("[[node]]").filter(|table| {
        nodes
            .iter()
            .any(|node| table.contains(&format!("\"{node}\"")))
    });
    wanted.fold(head, |text, table| format!("{text}[[node]]{table}"))
}

/// Whether `rackbmc explain` says that the lock of the BMC is this daemon's.
fn is_free(explained: &Said) -> bool {
    let ours = "no other daemon of this host has its BMC";
    explained.out.contains(ours)
}

/// Datagrams that came to the BMC.
fn arrived(bed: &Bed, node: &str) -> u64 {
    bed.rack
        .with_bmc(node, |bmc, _| bmc.counters().received)
        .expect("the node is there")
}

fn first_of(nodes: &[&str]) -> Bed {
    let plans = nodes.iter().map(|node| plan(node, Mood::default()));
    let keys = Keys {
        rack: "sync_interval = \"5s\"",
        ..Keys::default()
    };
    let mut bed = Bed::of(plans, &keys);
    bed.start();
    let on = |bed: &Bed| {
        nodes.iter().all(|node| {
            bed.rackbmc(&["status", "-o", "json", node])
                .out
                .contains("power on")
        })
    };
    bed.wait_for("a first reading", on);
    bed
}

#[test]
fn the_second_daemon_sends_nothing_says_who_has_the_bmc_and_takes_over_when_that_is_killed() {
    let mut bed = first_of(&["n01"]);
    let pid = bed.pid();
    let second = Second::beside(&bed, &["n01"]);
    let who = format!("process {pid} of user");
    second.wait_for("it is told", |second| second.log().contains(&who));
    let explained = second.rackbmc(&["explain", "n01"]).out;
    assert!(explained.contains(&who), "{explained}");
    assert!(explained.contains("stop that daemon"), "{explained}");
    let off = second.rackbmc(&["off", "n01"]);
    assert_eq!(off.code, 1, "{}{}", off.out, off.err);
    let words = off.out + &off.err;
    assert!(
        words.contains(&who) && words.contains("stop that daemon"),
        "{words}"
    );
    assert!(bed.is_on("n01"));
    let raw = second.rackbmc(&["raw", "n01", "6", "1"]);
    assert!(raw.code == 1 && (raw.out + &raw.err).contains(&who));
    let check = second.rackbmc(&["check"]);
    assert_eq!(check.code, 2, "{}", check.out);
    assert!(
        check.out.contains("n01 another daemon has it"),
        "{}",
        check.out
    );
    let metrics = second.metrics();
    assert!(
        metrics.contains("rackbmc_bmc_locked{node=\"n01\",rack=\"r1\"} 1"),
        "{metrics}"
    );
    // Looking at a configuration takes no lock, and wants none.
    let checked = Command::new(daemon::DAEMON)
        .args(["--check-config", "--config"])
        .arg(bed.path("rackbmcd.toml"))
        .output()
        .expect("it runs");
    assert!(checked.status.success());
    // The first one works on.
    bed.expect(0, &["off", "n01"]);
    bed.expect(0, &["on", "n01"]);
    bed.kill();
    let before = arrived(&bed, "n01");
    second.wait_for("it takes over", |second| second.knows("n01"));
    assert!(arrived(&bed, "n01") > before);
    assert!(second.log().contains("its BMC is free"), "{}", second.log());
    let off = second.rackbmc(&["off", "n01"]);
    assert_eq!(off.code, 0, "{}{}", off.out, off.err);
    // Now it is the other way round.
    bed.start();
    let who = format!("process {} of user", second.daemon.id());
    bed.wait_for("it is told", |bed| bed.log().contains(&who));
}

#[test]
fn a_locked_bmc_gets_no_datagram_of_the_second_daemon() {
    let mut bed = first_of(&["n01"]);
    let second = Second::beside(&bed, &["n01"]);
    second.wait_for("it is told", |second| second.log().contains("of user"));
    // Stopped, the first one sends nothing either, and has its locks.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(bed.pid()).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("it is ours");
    std::thread::sleep(Duration::from_millis(300));
    let before = arrived(&bed, "n01");
    for _ in 0..3 {
        second.rackbmc(&["status", "--fresh", "n01"]);
        second.rackbmc(&["retry", "n01"]);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(arrived(&bed, "n01"), before);
    bed.kill();
}

#[test]
fn a_reload_gives_up_the_locks_of_nodes_that_go_and_takes_those_of_nodes_that_come() {
    let mut bed = first_of(&["n01", "n02"]);
    let second = Second::beside(&bed, &["n01", "n02"]);
    second.wait_for("it is told", |second| {
        second.log().matches("of user").count() >= 2
    });
    bed.kill();
    second.wait_for("both are its own", |second| {
        second.knows("n01") && second.knows("n02")
    });
    second.reload(&bed, &["n01"]);
    second.wait_for("reloaded", |second| second.log().contains("reloaded"));
    bed.start();
    bed.wait_for("n02 is free", |bed| {
        bed.rackbmc(&["status", "-o", "json", "n02"])
            .out
            .contains("power on")
            && is_free(&bed.rackbmc(&["explain", "n02"]))
    });
    assert!(!is_free(&bed.rackbmc(&["explain", "n01"])));
    second.reload(&bed, &["n01", "n02"]);
    second.wait_for("n02 is the first one's", |second| {
        !is_free(&second.rackbmc(&["explain", "n02"]))
    });
}
