//! A program on a terminal of its own (a pty): what it has drawn, read by a terminal in memory, and
//! how it leaves it.
#![allow(dead_code, reason = "each test uses its part of the console")]

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Far more than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn resize(terminal: &str, columns: u16, rows: u16) {
    let mut stty = Command::new("stty");
    stty.args(["-F", terminal, "cols"]).arg(columns.to_string());
    stty.arg("rows").arg(rows.to_string());
    assert!(stty.status().expect("stty runs").success());
}

/// See the head of this file.
pub(crate) struct Console {
    child: Child,
    keyboard: Option<File>,
    /// Where the terminal is.
    pub name: String,
    /// Kept open, to look at its settings.
    slave: OwnedFd,
    pub seen: Arc<Mutex<Seen>>,
    /// Whether the other end of the pty is to be let go.
    pulled: Arc<AtomicBool>,
}

pub(crate) struct Seen {
    pub terminal: vt100::Parser,
    pub bytes: Vec<u8>,
}

impl Console {
    pub(crate) fn start(command: &Command, columns: u16, rows: u16) -> Self {
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
            // One that does not say how large it is is looked at through the usual one.
            terminal: match (rows, columns) {
                (0, _) | (_, 0) => vt100::Parser::new(24, 80, 0),
                (rows, columns) => vt100::Parser::new(rows, columns, 0),
            },
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
        Self {
            child: child.expect("setsid of util-linux"),
            keyboard: Some(File::from(keyboard)),
            name,
            slave,
            seen,
            pulled,
        }
    }

    /// The terminal goes away, as when a connection breaks: no signal need come.
    pub(crate) fn pull_out(&mut self) {
        self.pulled.store(true, Ordering::SeqCst);
        self.keyboard = None;
    }

    pub(crate) fn text(&self) -> String {
        let seen = self.seen.lock().expect("no panic there");
        seen.terminal.screen().contents()
    }

    pub(crate) fn waits_for(&self, what: &str, done: impl Fn(&str) -> bool) -> String {
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

    pub(crate) fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("not pulled out");
        keyboard.write_all(keys.as_bytes()).expect("a keyboard");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    pub(crate) fn is_raw(&self) -> bool {
        let settings = tcgetattr(self.slave.as_fd()).expect("a terminal");
        !settings.local_flags.contains(LocalFlags::ECHO)
    }

    pub(crate) fn ends(&mut self, what: &str) -> Option<i32> {
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
    pub(crate) fn ends_clean(&mut self, what: &str) -> Option<i32> {
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
