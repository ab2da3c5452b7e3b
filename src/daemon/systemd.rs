//! What systemd is told (sd_notify(3)), where it listens.
//!
//! It may stop listening: then the kernel keeps some messages, and a blocking socket waits for ever
//! with the next one. Nothing waits here: what finds no room is told again later, of a status the
//! last one only.

use sd_notify::NotifyState;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};

/// Tells systemd, where it listens, as soon as it takes that.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    let Some(to) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let mut untold = UNTOLD.lock().unwrap_or_else(PoisonError::into_inner);
    untold.add(states);
    untold.tell(&to);
}

/// Tells it what it did not take before.
pub(super) fn tell_again() {
    notify(&[]);
}

static UNTOLD: Mutex<Untold> = Mutex::new(Untold {
    messages: VecDeque::new(),
});

/// What waits to be told, the oldest first.
struct Untold {
    messages: VecDeque<String>,
}

impl Untold {
    fn add(&mut self, states: &[NotifyState<'_>]) {
        let replaced = match states {
            [] => return,
            [NotifyState::Status(_)] => "STATUS=",
            [NotifyState::Watchdog] => "WATCHDOG=",
            _ => "",
        };
        if !replaced.is_empty() {
            self.messages.retain(|told| !told.starts_with(replaced));
        }
        if self.messages.len() >= UNTOLD_AT_MOST {
            self.messages.pop_front();
        }
        let mut message = String::new();
        for state in states {
            writeln!(message, "{state}").expect("text grows");
        }
        self.messages.push_back(message);
    }

    fn tell(&mut self, to: &OsStr) {
        while let Some(first) = self.messages.front() {
            match send(to, first) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => log::debug!("systemd does not hear us: {error}"),
                Ok(()) => {}
            }
            self.messages.pop_front();
        }
    }
}

/// Hands one message to the kernel, or says that it has no room for it.
fn send(to: &OsStr, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match to.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(to)?,
    }
    socket.send(message.as_bytes()).map(drop)
}

/// Messages that wait.
const UNTOLD_AT_MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_systemd_that_does_not_listen_is_not_waited_for_and_hears_the_rest_later() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("notify");
        let systemd = UnixDatagram::bind(&path).expect("a socket");
        systemd.set_nonblocking(true).expect("a flag");
        let mut untold = Untold {
            messages: VecDeque::new(),
        };
        for number in 0..5000 {
            untold.add(&[NotifyState::Watchdog]);
            untold.add(&[NotifyState::Status(&number.to_string())]);
            untold.tell(path.as_os_str());
        }
        untold.add(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        untold.tell(path.as_os_str());
        let heard = || {
            let mut room = [0; 100];
            let count = systemd.recv(&mut room).ok()?;
            Some(String::from_utf8_lossy(&room[..count]).into_owned())
        };
        assert!(std::iter::from_fn(heard).count() < 5000);
        untold.tell(path.as_os_str());
        let rest: Vec<String> = std::iter::from_fn(heard).collect();
        let expected = [
            "WATCHDOG=1\n",
            "STATUS=4999\n",
            "STOPPING=1\nSTATUS=stopping\n",
        ];
        assert_eq!(rest, expected);
    }
}
