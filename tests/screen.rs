//! `rackbmc watch` on a real terminal (a pty) with the real daemon: what is drawn, what keys do to the machines, and that the
//! terminal is left as it was whatever ends it.
//!
//! The pictures themselves are compared where they are drawn (`src/cli/watch/tests.rs`); here a terminal in memory reads them.

mod daemon;

use daemon::{Bed, Keys, plan};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use rackbmcd::sim::Mood;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn rack(nodes: usize) -> Bed {
    let plans = (1..=nodes).map(|n| plan(&format!("r1n{n:02}"), Mood::default()));
    let keys = Keys {
        defaults: "settle = \"1s\"\norders_per_second = 10.0\ngroups = [\"compute\"]",
        ..Keys::default()
    };
    let mut bed = Bed::of(plans, &keys);
    bed.start();
    bed
}

fn resize(terminal: &str, columns: u16, rows: u16) {
    let mut stty = Command::new("stty");
    stty.args(["-F", terminal, "cols"]).arg(columns.to_string());
    stty.arg("rows").arg(rows.to_string());
    assert!(stty.status().expect("stty runs").success());
}

/// A program on a terminal of its own.
struct Console {
    child: Child,
    keyboard: Option<File>,
    /// Where the terminal is.
    name: String,
    /// Kept open, to look at its settings.
    slave: OwnedFd,
    seen: Arc<Mutex<Seen>>,
    /// Whether the other end of the pty is to be let go.
    pulled: Arc<AtomicBool>,
}

struct Seen {
    terminal: vt100::Parser,
    bytes: Vec<u8>,
}

impl Console {
    fn start(command: &Command, columns: u16, rows: u16) -> Self {
        // No child inherits it: a terminal goes away when nobody has its other end any more.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let pty = posix_openpt(flags).expect("a pty");
        grantpt(&pty).and_then(|()| unlockpt(&pty)).expect("ours");
        let name = ptsname_r(&pty).expect("a name");
        let slave = File::options().read(true).write(true).open(&name);
        let slave = OwnedFd::from(slave.expect("a terminal"));
        let master = pty.as_fd().try_clone_to_owned().expect("a handle");
        drop(pty);
        resize(&name, columns, rows);
        let end = || Stdio::from(slave.try_clone().expect("a handle"));
        // With the pty as its controlling terminal, so that it gets the signals of one.
        let mut started = Command::new("setsid");
        started.arg("--ctty").arg(command.get_program());
        started.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => started.env(name, value),
                None => started.env_remove(name),
            };
        }
        started.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        started.env_remove("COLUMNS").env_remove("LINES");
        let child = started.stdin(end()).stdout(end()).stderr(end()).spawn();
        let seen = Arc::new(Mutex::new(Seen {
            terminal: vt100::Parser::new(rows, columns, 0),
            bytes: Vec::new(),
        }));
        let pulled = Arc::new(AtomicBool::new(false));
        let (mut screen, keyboard) = (File::from(master.try_clone().expect("a handle")), master);
        let (shown, over) = (Arc::clone(&seen), Arc::clone(&pulled));
        std::thread::spawn(move || {
            let mut bytes = [0; 65536];
            loop {
                let mut wanted = [PollFd::new(screen.as_fd(), PollFlags::POLLIN)];
                let found = poll(&mut wanted, PollTimeout::from(20_u16));
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if found != Ok(1) {
                    continue;
                }
                let Ok(count @ 1..) = screen.read(&mut bytes) else {
                    return;
                };
                let mut shown = shown.lock().expect("no panic there");
                shown.terminal.process(&bytes[..count]);
                shown.bytes.extend_from_slice(&bytes[..count]);
            }
        });
        Console {
            child: child.expect("setsid of util-linux"),
            keyboard: Some(File::from(keyboard)),
            name,
            slave,
            seen,
            pulled,
        }
    }

    /// The terminal goes away, as when a connection breaks: no signal need come.
    fn pull_out(&mut self) {
        self.pulled.store(true, Ordering::SeqCst);
        self.keyboard = None;
    }

    fn watch(bed: &Bed, words: &[&str], columns: u16, rows: u16) -> Self {
        let console = Console::start(&bed.command(words), columns, rows);
        console.waits_for("r1n01", |text| {
            text.contains("r1n01") && text.contains("power on")
        });
        console
    }

    fn text(&self) -> String {
        let seen = self.seen.lock().expect("no panic there");
        seen.terminal.screen().contents()
    }

    fn waits_for(&self, what: &str, done: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if done(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "no {what}:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("not pulled out");
        keyboard.write_all(keys.as_bytes()).expect("a keyboard");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    fn is_raw(&self) -> bool {
        let settings = tcgetattr(self.slave.as_fd()).expect("a terminal");
        !settings.local_flags.contains(LocalFlags::ECHO)
    }

    fn ends(&mut self, what: &str) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "{what}: it never ends");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end: its exit code, with the terminal as it was before.
    fn ends_clean(&mut self, what: &str) -> Option<i32> {
        let code = self.ends(what);
        let deadline = Instant::now() + PATIENCE;
        let cleaned = || {
            let seen = self.seen.lock().expect("no panic there");
            let screen = seen.terminal.screen();
            !screen.alternate_screen() && !screen.hide_cursor()
        };
        while !cleaned() {
            assert!(Instant::now() < deadline, "{what}: {}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!self.is_raw(), "{what}: the terminal is still raw");
        code
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn nodes_are_switched_behind_a_question_and_nothing_typed_ahead_answers_it() {
    let bed = rack(3);
    let mut console = Console::watch(&bed, &["watch"], 80, 24);
    assert!(console.is_raw());
    let first = console.text();
    assert!(first.lines().count() <= 24, "{first}");
    assert!(
        first.contains("TASKS") && first.contains("EVENTS"),
        "{first}"
    );
    // Typed ahead in one go: the question stands there, unanswered.
    console.press("ssoft\r");
    console.waits_for("question", |text| text.contains("1 node: r1n01"));
    console.waits_for("prompt", |text| text.contains("> _"));
    assert!(bed.is_on("r1n01"));
    console.press("soft");
    console.waits_for("word", |text| text.contains("> soft_"));
    console.press("\r");
    console.waits_for("power off", |text| text.contains("power off"));
    let deadline = Instant::now() + PATIENCE;
    while bed.is_on("r1n01") {
        assert!(Instant::now() < deadline, "{}", console.text());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(bed.is_on("r1n02") && bed.is_on("r1n03"));
    console.press("\r");
    console.waits_for("details", |text| {
        text.contains("node r1n0") && text.contains("suite")
    });
    console.press("\x1b");
    console.waits_for("list", |text| !text.contains("Esc: back"));
    console.press("q");
    assert_eq!(console.ends_clean("q"), Some(0));
}

#[test]
fn a_resized_terminal_is_filled_and_a_restarted_daemon_waited_for() {
    let mut bed = rack(2);
    let mut console = Console::watch(&bed, &["watch"], 80, 24);
    {
        let mut seen = console.seen.lock().expect("no panic there");
        seen.terminal.screen_mut().set_size(50, 200);
    }
    resize(&console.name, 200, 50);
    console.waits_for("columns of a wide screen", |text| text.contains("ADDRESS"));
    bed.kill();
    console.waits_for("word of it", |text| text.contains("does not answer for"));
    bed.start();
    console.waits_for("its return", |text| text.contains("rackbmcd is back after"));
    console.press("q");
    assert_eq!(console.ends_clean("q"), Some(0));
}

#[test]
fn the_terminal_is_left_as_it_was_whatever_ends_it() {
    let bed = rack(1);
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let mut console = Console::watch(&bed, &["watch"], 80, 24);
        kill(console.pid(), signal).expect("it runs");
        assert_eq!(console.ends_clean(signal.as_str()), Some(0), "{signal}");
    }
    for (key, what) in [("\x03", "Ctrl-C"), ("\x04", "Ctrl-D")] {
        let mut console = Console::watch(&bed, &["watch"], 80, 24);
        // In front of everything, too.
        console.press("n");
        console.waits_for("question", |text| text.contains("> _"));
        console.press(key);
        assert_eq!(console.ends_clean(what), Some(0), "{what}");
        assert_eq!(
            bed.rackbmc(&["tasks"]).out,
            "",
            "{what}: nothing was started"
        );
    }
}

#[test]
fn a_terminal_that_goes_away_is_the_end() {
    let bed = rack(1);
    let mut console = Console::watch(&bed, &["watch"], 80, 24);
    console.pull_out();
    console.ends("a terminal that is gone");
}

#[test]
fn no_terminal_is_touched_where_there_is_no_daemon() {
    let bed = Bed::of_hanging_systems();
    let mut console = Console::start(&bed.command(&["watch"]), 80, 24);
    assert_eq!(console.ends_clean("no daemon"), Some(3));
    let text = console.text();
    assert!(text.contains("rackbmc: no socket at"), "{text}");
    let bytes = console.seen.lock().expect("no panic there").bytes.clone();
    assert!(!bytes.windows(6).any(|some| some == b"\x1b[?104"));
}
