//! What held when the daemon was attacked and must go on holding, as short stories of the real
//! process. What it came to is printed; `HELD_TASKS=20000 HELD_SECONDS=60` tells longer ones.
//!
//! What held beside these has tests of its own: kills (`kill.rs`), journals that are damaged
//! (`daemon/store`), changed, repeated and forged packets (`session/tests`, `fuzz_corpus.rs`,
//! `at_most_once.rs`), games with HTTP (`api/serve/tests`, `fuzz_corpus.rs`), a batch over all
//! nodes (`memory.rs`), the audit trail (`api/audit.rs`, `rights.rs`).

mod daemon;

use daemon::{Bed, Keys, descriptors, plan};
use rackbmcd::sim::{ChassisOrder, Mood, OsMood};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

/// The ports from which the daemon speaks to BMCs.
fn ports(bed: &Bed) -> Vec<u16> {
    let open = descriptors(bed.pid());
    let inode = |to: &String| Some(to.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    let sockets: Vec<String> = open.iter().filter_map(inode).collect();
    let mut ports = Vec::new();
    for table in ["udp", "udp6"] {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let cells: Vec<&str> = line.split_whitespace().collect();
            if cells
                .get(9)
                .is_some_and(|inode| sockets.contains(&(*inode).to_owned()))
            {
                let port = cells[1].rsplit(':').next().expect("an address");
                ports.push(u16::from_str_radix(port, 16).expect("a port"));
            }
        }
    }
    ports
}

/// Ends the flood, also where an expectation fails meanwhile.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends what looks like a BMC's answers to all the daemon's ports until it is told to stop; how
/// many left.
fn flood(ports: &[u16], stop: &AtomicBool, sent: &AtomicU64) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let rakp2 = [
        6, 0, 0xff, 7, 6, 0x13, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 13, 0, 0, 0, 0, 0, 0,
    ];
    let garbage = [0x5a; 600];
    for turn in 0u64.. {
        for port in ports {
            let to = SocketAddr::from(([127, 0, 0, 1], *port));
            let what: &[u8] = if turn % 2 == 0 { &rakp2 } else { &garbage };
            sent.fetch_add(
                u64::from(socket.send_to(what, to).is_ok()),
                Ordering::Relaxed,
            );
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[test]
fn a_flood_of_datagrams_holds_up_nobodys_orders() {
    let mood = Mood {
        os: OsMood::ObeysAfter(Duration::from_millis(500)),
        ..Mood::default()
    };
    let plans = ["n01", "n02"].map(|name| plan(name, mood.clone()));
    let mut bed = Bed::of(plans, &Keys::default());
    bed.start();
    let from = ports(&bed);
    assert!(!from.is_empty());
    let orders = [
        (["soft", "n01"], ChassisOrder::Soft),
        (["on", "n01"], ChassisOrder::On),
    ];
    let carried_out = |words: &[&str], order| {
        let (before, asked) = (bed.count("n01", order), Instant::now());
        bed.expect(0, words);
        let took = asked.elapsed();
        let times = bed.count("n01", order) - before;
        // Where the flood drowns an answer the order goes again, if it is a level.
        let right = match order {
            ChassisOrder::On => times >= 1,
            _ => times == 1,
        };
        assert!(right, "{words:?}: {times} times");
        took
    };
    // On a busy machine all takes longer, with and without a flood.
    let calm = orders.map(|(words, order)| carried_out(&words, order));
    let calm = calm.into_iter().max().expect("two");
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (took, rate) = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| flood(&from, &stop, &sent));
        let began = Instant::now();
        let mut longest = Duration::ZERO;
        loop {
            for (words, order) in orders {
                longest = longest.max(carried_out(&words, order));
            }
            if began.elapsed() >= Duration::from_secs(number("HELD_SECONDS", 4)) {
                break;
            }
        }
        let rate = sent.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        (longest, rate)
    });
    println!(
        "{rate:.0} datagrams a second: a soft off, or the way back on, took {took:?} at most, and {calm:?} without them"
    );
    let most = (calm * 10).max(Duration::from_secs(30));
    assert!(took < most, "{took:?}, and {calm:?} without a flood");
}

/// What the process holds: kB of memory, and descriptors.
fn held(bed: &Bed) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{}/status", bed.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    (kilobytes.expect("a number"), descriptors(bed.pid()).len())
}

/// Every file below `folder` that has `text` in it, but those of these names.
fn files_with(folder: &Path, text: &[u8], but: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text, but));
        } else if !but.iter().any(|name| path.ends_with(name)) {
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|part| part == text) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn tasks_without_end_leave_the_daemon_as_it_was_and_its_password_nowhere() {
    let names: Vec<String> = (1..=32).map(|node| format!("n{node:02}")).collect();
    let keys = Keys {
        defaults: "orders_per_second = 50.0\nburst = 20",
        ..Keys::default()
    };
    let mut bed = Bed::of(names.iter().map(|name| plan(name, Mood::default())), &keys);
    let began = Instant::now();
    bed.start();
    let first_start = began.elapsed();
    let tasks = number("HELD_TASKS", 600);
    let ask = |bed: &Bed, tasks: u64| {
        let mut taken = 0;
        for node in names.iter().cycle().take(tasks as usize) {
            let body = format!(r#"{{"node":"{node}","operation":"power on"}}"#);
            let (status, said) = bed.request("POST", "/v1/tasks", &body).expect("an answer");
            let _: serde_json::Value = serde_json::from_str(&said).expect("JSON");
            // A node has one at a time.
            assert!(status == 202 || status == 409, "{status} {said}");
            assert!(!said.contains("secret"), "{said}");
            taken += usize::from(status == 202);
        }
        taken
    };
    ask(&bed, 100);
    let before = held(&bed);
    let began = Instant::now();
    let taken = ask(&bed, tasks);
    let took = began.elapsed();
    // A connection is closed when its turn comes, which is later on a busy machine.
    let asked = Instant::now();
    while held(&bed).1 > before.1 + 3 && asked.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = held(&bed);
    // Those that have ended are kept, up to a bound of their own.
    assert!(after.0 < before.0 + 24 * 1024, "{before:?} {after:?}");
    assert!(after.1 <= before.1 + 3, "{before:?} {after:?}");
    let words = fs::read(format!("/proc/{}/cmdline", bed.pid())).expect("it runs");
    assert!(!String::from_utf8_lossy(&words).contains("secret"));
    let found = files_with(&bed.path(""), b"secret", &["bmc.pw"]);
    assert_eq!(found, Vec::<String>::new());
    bed.kill();
    let again = Instant::now();
    bed.start();
    let start = again.elapsed();
    let most = (first_start * 10).max(Duration::from_secs(5));
    assert!(start < most, "{start:?}, and {first_start:?} without tasks");
    println!(
        "{taken} tasks of {tasks} requests in {took:?}: {} and {} MB, {} and {} descriptors, started again in {start:?}",
        before.0 / 1024,
        after.0 / 1024,
        before.1,
        after.1
    );
}
