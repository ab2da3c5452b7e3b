//! The locks beside BMCs' addresses: two daemons of one host keep off one BMC (design, section 2,
//! rule 10).
//!
//! A lock is an abstract Unix socket named after the address and port. The kernel gives a name to
//! one socket only, gives it back the moment its process is gone, however that ended, and keeps the
//! names of network namespaces apart: there the same address is another BMC. It wants no folder
//! that all daemons may write to, which the sandboxes of units and the users of daemons that are
//! started by hand would each need another way to. Its price is an open file for each BMC.
//!
//! Who has a lock is asked by connecting to it: the kernel says which process and user opened it.
//! Whoever may run programs here could take names to keep us from BMCs; so a lock of a person's
//! account, other than our own, is told and not minded.

use crate::bmc::Lock;
use crate::time::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket,
    sockopt::PeerCredentials,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::time::Duration;

/// See the head of this file.
pub(super) struct Locks {
    held: BTreeMap<SocketAddr, UnixListener>,
    /// Those that are not ours, what was found of each, and when it is looked at again.
    missing: BTreeMap<SocketAddr, (Lock, Instant)>,
    /// Tells which of our locks somebody has asked about: whoever asked is let go, so that others
    /// can ask.
    asked_about: Option<Epoll>,
}

impl Locks {
    pub(super) fn new() -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        if let Err(error) = &epoll {
            log::warn!("it will not be seen who asks about locks of BMCs: {error}");
        }
        Self {
            held: BTreeMap::new(),
            missing: BTreeMap::new(),
            asked_about: epoll.ok(),
        }
    }

    /// Takes the lock of a BMC to which something is to be sent. Whether that may leave, and what
    /// the rack has to hear, where that is new or the datagram is withheld.
    pub(super) fn take(&mut self, to: SocketAddr, now: Instant) -> (bool, Option<Lock>) {
        if self.held.contains_key(&to) {
            return (true, None);
        }
        if let Some((lock, again_at)) = self.missing.get(&to)
            && now < *again_at
        {
            let withheld = matches!(lock, Lock::Others(_));
            return (!withheld, withheld.then(|| lock.clone()));
        }
        let lock = self.try_to_take(to);
        match &lock {
            Lock::Ours => drop(self.missing.remove(&to)),
            Lock::Others(_) | Lock::Open(_) => {
                self.missing.insert(to, (lock.clone(), now + LOOK_AGAIN));
            }
        }
        (!matches!(lock, Lock::Others(_)), Some(lock))
    }

    fn try_to_take(&mut self, to: SocketAddr) -> Lock {
        let name = name(to);
        let bound = UnixAddress::from_abstract_name(&name)
            .and_then(|address| UnixListener::bind_addr(&address))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        match bound {
            Ok(listener) => {
                if let Some(epoll) = &self.asked_about {
                    let event = EpollEvent::new(EpollFlags::EPOLLIN, 0);
                    if let Err(error) = epoll.add(&listener, event) {
                        log::debug!("it will not be seen who asks about {name}: {error}");
                    }
                }
                self.held.insert(to, listener);
                Lock::Ours
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => judge(holder(&name)),
            Err(error) => Lock::Open(format!("its lock cannot be taken: {error}")),
        }
    }

    /// Gives up the locks of BMCs that nobody here speaks to any more.
    pub(super) fn keep(&mut self, in_use: &BTreeSet<SocketAddr>) {
        self.held.retain(|address, _| in_use.contains(address));
        self.missing.retain(|address, _| in_use.contains(address));
    }

    /// Lets those go who have asked about a lock.
    pub(super) fn answer(&self) {
        let Some(epoll) = &self.asked_about else {
            return;
        };
        let mut events = [EpollEvent::empty(); 1];
        if !matches!(epoll.wait(&mut events, EpollTimeout::ZERO), Ok(1..)) {
            return;
        }
        for listener in self.held.values() {
            while listener.accept().is_ok() {}
        }
    }
}

/// The name of the lock of the BMC at this address; a link-local one is another BMC on each link.
fn name(to: SocketAddr) -> String {
    let canonical = to.ip().to_canonical();
    match to {
        SocketAddr::V6(v6) if canonical.is_ipv6() && v6.scope_id() != 0 => {
            format!("rackbmcd/bmc/[{}%{}]:{}", v6.ip(), v6.scope_id(), v6.port())
        }
        _ => format!("rackbmcd/bmc/{}", SocketAddr::new(canonical, to.port())),
    }
}

/// A process that has a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Holder {
    pid: i32,
    uid: u32,
}

/// Who has the lock of that name, where the kernel says so.
fn holder(name: &str) -> Result<Holder, Errno> {
    let asking = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    connect(
        asking.as_raw_fd(),
        &UnixAddr::new_abstract(name.as_bytes())?,
    )?;
    let peer = getsockopt(&asking, PeerCredentials)?;
    Ok(Holder {
        pid: peer.pid(),
        uid: peer.uid(),
    })
}

/// What is made of a lock that somebody else has.
fn judge(holder: Result<Holder, Errno>) -> Lock {
    let own = nix::unistd::geteuid().as_raw();
    match holder {
        Ok(Holder { pid, uid }) if uid < PERSONS || uid == own => {
            Lock::Others(format!("process {pid} of user {uid}"))
        }
        Ok(Holder { pid, uid }) => Lock::Open(format!(
            "its lock is with process {pid} of user {uid}, who is neither a service nor this daemon's user, and is not minded"
        )),
        // It went while we asked: the next look tells.
        Err(Errno::ECONNREFUSED) => Lock::Others("a process that has just ended".to_owned()),
        Err(error) => Lock::Open(format!(
            "its lock is with a process that does not say who it is ({error}), and is not minded"
        )),
    }
}

/// How often a lock that is not ours is looked at again, where something is to be sent there.
const LOOK_AGAIN: Duration = Duration::from_secs(9);
/// Accounts below this number are the system's (`SYS_UID_MAX` of login.defs), from there on those
/// of persons.
const PERSONS: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    /// An address that no other test has: the port is the kernel's choice.
    fn address() -> (std::net::UdpSocket, SocketAddr) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        (socket, address)
    }

    #[test]
    fn a_lock_is_taken_once_told_with_its_holder_and_free_when_that_has_gone() {
        let (_port, to) = address();
        let (mut one, mut other) = (Locks::new(), Locks::new());
        assert_eq!(one.take(to, at(0)), (true, Some(Lock::Ours)));
        assert_eq!(one.take(to, at(0)), (true, None));
        let (may, told) = other.take(to, at(0));
        assert!(!may);
        let pid = std::process::id();
        assert!(
            matches!(&told, Some(Lock::Others(by)) if by.contains(&format!("process {pid} of user"))),
            "{told:?}"
        );
        drop(one);
        assert!(
            !other.take(to, at(1)).0,
            "it is not asked for at each datagram"
        );
        assert_eq!(other.take(to, at(10)), (true, Some(Lock::Ours)));
        other.keep(&BTreeSet::new());
        assert_eq!(Locks::new().take(to, at(0)), (true, Some(Lock::Ours)));
    }

    #[test]
    fn however_many_ask_who_has_a_lock_the_next_one_learns_it() {
        let (_port, to) = address();
        let mut one = Locks::new();
        one.take(to, at(0));
        for _ in 0..5000 {
            assert!(holder(&name(to)).is_ok());
            one.answer();
        }
    }

    #[test]
    fn the_locks_of_persons_are_told_and_not_minded() {
        let own = nix::unistd::geteuid().as_raw();
        let held = |uid| judge(Ok(Holder { pid: 7, uid }));
        assert!(matches!(held(0), Lock::Others(_)));
        assert!(matches!(held(998), Lock::Others(_)));
        assert!(matches!(held(own), Lock::Others(_)));
        let person = if own == 4711 { 4712 } else { 4711 };
        assert!(
            matches!(held(person), Lock::Open(why) if why.contains("user 4711") || own == 4711)
        );
        assert!(matches!(judge(Err(Errno::EAGAIN)), Lock::Open(_)));
    }

    #[test]
    fn one_bmc_has_one_name_and_two_have_two() {
        let name = |text: &str| name(text.parse().expect("an address"));
        assert_eq!(name("10.0.1.3:623"), "rackbmcd/bmc/10.0.1.3:623");
        assert_eq!(name("[::ffff:10.0.1.3]:623"), name("10.0.1.3:623"));
        assert_ne!(name("10.0.1.3:623"), name("10.0.1.3:664"));
        assert_ne!(name("[fe80::1%1]:623"), name("[fe80::1%2]:623"));
        assert_ne!(name("[2001:db8::1]:623"), name("[2001:db8::2]:623"));
    }
}
