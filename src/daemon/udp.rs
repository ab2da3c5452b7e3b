//! Datagrams: one UDP socket per local port number and address family, shared by all BMCs, read and
//! written in batches.
//!
//! Each socket has a reader of its own that waits and hands what came to the loop. Sending never
//! waits: what the kernel does not take is lost, as datagrams are, so that none can leave after the
//! core has taken it back. What the kernel had no room for on its way in is counted.

use super::shell::Input;
use super::thread::Executor;
use crate::bmc::{LocalPort, Outgoing};
use crate::model::counted;
use crate::session::Undeliverable;
use async_io::Async;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr, RcvBuf, RxqOvfl};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, recvmsg, sendmmsg,
    setsockopt,
};
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

/// Datagrams that came to one socket together.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) port: LocalPort,
    pub(super) datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Where something did not arrive, as the network says.
    pub(super) unreachable: Vec<(SocketAddr, Undeliverable)>,
}

/// All of our UDP sockets.
pub(super) struct Sockets {
    open: BTreeMap<(LocalPort, Family), Socket>,
    inputs: Sender<Input>,
    executor: Executor,
    incoming: Rc<Incoming>,
}

/// What all readers share.
struct Incoming {
    /// Where the kernel puts what came. Each reader uses it for as long as it does not wait.
    buffers: RefCell<Vec<[u8; LARGEST]>>,
    /// Datagrams that the kernel dropped because a socket's buffer was full.
    overflowed: Cell<u64>,
    /// How long what came may lie in the kernel for others to come.
    gathering: Gathering,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Family {
    V4,
    V6,
}

struct Socket {
    line: Rc<Line>,
    /// Ends when this is dropped.
    _reader: smol::Task<()>,
}

/// A socket, and what is known of what comes to it.
struct Line {
    socket: Async<UdpSocket>,
    port: LocalPort,
    /// How many there were too many for this socket, as the kernel counts.
    overflowed: Cell<u32>,
    /// As many were taken last as are taken at once, so that there may be more.
    behind: Cell<bool>,
}

impl Sockets {
    pub(super) fn new(inputs: Sender<Input>, executor: Executor) -> Self {
        Self {
            open: BTreeMap::new(),
            inputs,
            executor,
            incoming: Rc::new(Incoming {
                buffers: RefCell::new(vec![[0; LARGEST]; BATCH]),
                overflowed: Cell::new(0),
                gathering: Gathering::new(),
            }),
        }
    }

    /// How many datagrams the kernel had no room for.
    pub(super) fn overflowed(&self) -> u64 {
        self.incoming.overflowed.get()
    }

    /// Whether what comes may be taken together with what comes soon after, because nobody is in a
    /// hurry.
    pub(super) fn gather(&self, leisure: bool) {
        self.incoming.gathering.set(leisure);
    }

    /// Whether more may have come than was taken, as far as that is known without a look.
    pub(super) fn is_behind(&self) -> bool {
        let mut open = self.open.values();
        open.any(|socket| socket.line.behind.get())
    }

    /// What has come and was not taken yet, as much as one look at each socket finds.
    pub(super) fn take_waiting(&self) -> Vec<Received> {
        let open = self.open.values();
        open.filter_map(|socket| self.incoming.take(&socket.line))
            .collect()
    }

    /// Sends everything; what cannot be sent is lost. From which port nothing leaves for where, and
    /// why.
    pub(super) fn send(
        &mut self,
        outgoing: Vec<Outgoing>,
    ) -> Vec<(LocalPort, SocketAddr, Undeliverable)> {
        let mut lost = Vec::new();
        let mut by_socket: BTreeMap<(LocalPort, Family), Vec<Outgoing>> = BTreeMap::new();
        for outgoing in outgoing {
            let family = if outgoing.to.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            };
            by_socket
                .entry((outgoing.port, family))
                .or_default()
                .push(outgoing);
        }
        for (key, batch) in by_socket {
            let line = match self.line(key) {
                Ok(line) => line,
                Err(error) => {
                    log::warn!("no UDP socket: {error}");
                    continue;
                }
            };
            let refused = send_batch(&line.socket, &batch).into_iter();
            lost.extend(refused.map(|(to, why)| (key.0, to, why)));
        }
        lost
    }

    /// Closes the sockets of ports that nobody uses any more.
    pub(super) fn keep(&mut self, in_use: &BTreeSet<LocalPort>) {
        self.open.retain(|(port, _), _| in_use.contains(port));
    }

    /// How many sockets are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn line(&mut self, key: (LocalPort, Family)) -> io::Result<Rc<Line>> {
        if let Some(socket) = self.open.get(&key) {
            return Ok(socket.line.clone());
        }
        let socket = match key.1 {
            Family::V4 => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            Family::V6 => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        match key.1 {
            Family::V4 => setsockopt(&socket, Ipv4RecvErr, &true)?,
            Family::V6 => setsockopt(&socket, Ipv6RecvErr, &true)?,
        }
        // A whole rack may answer at once; the kernel caps this at its own limit
        // (net.core.rmem_max).
        setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
        setsockopt(&socket, RxqOvfl, &1)?;
        let line = Rc::new(Line {
            socket: Async::new(socket)?,
            port: key.0,
            overflowed: Cell::new(0),
            behind: Cell::new(false),
        });
        let incoming = self.incoming.clone();
        let reader = read(line.clone(), self.inputs.clone(), incoming);
        let reader = self.executor.spawn(reader);
        self.open.insert(
            key,
            Socket {
                line: line.clone(),
                _reader: reader,
            },
        );
        Ok(line)
    }
}

/// Sends a batch; where to this host does not send, and why.
fn send_batch(socket: &Async<UdpSocket>, batch: &[Outgoing]) -> Vec<(SocketAddr, Undeliverable)> {
    let slices: Vec<[IoSlice<'_>; 1]> = batch
        .iter()
        .map(|out| [IoSlice::new(&out.datagram)])
        .collect();
    let targets: Vec<Option<SockaddrStorage>> =
        batch.iter().map(|out| Some(out.to.into())).collect();
    let (mut next, mut tries) = (0, 0);
    let mut refused = Vec::new();
    while next < batch.len() {
        let mut headers = MultiHeaders::preallocate(batch.len() - next, None);
        let outcome = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices[next..],
            &targets[next..],
            [],
            MsgFlags::MSG_DONTWAIT,
        );
        match outcome {
            Ok(results) => (next, tries) = (next + results.count().max(1), 0),
            // It may tell of an earlier datagram, which the error queue names: this one was not
            // sent yet.
            Err(_) if tries < TRIES => tries += 1,
            // The call stops at the first datagram that fails: that one is lost, the others are
            // not.
            Err(error) => {
                let to = batch[next].to;
                log::debug!("a datagram to {to} was not sent: {error}");
                refused.extend(undeliverable(error).map(|why| (to, why)));
                (next, tries) = (next + 1, 0);
            }
        }
    }
    refused
}

/// What an error of the network means for the BMC; `None` where it means nothing.
fn undeliverable(error: Errno) -> Option<Undeliverable> {
    match error {
        Errno::ECONNREFUSED => Some(Undeliverable::Port),
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => Some(Undeliverable::Host),
        Errno::ENETUNREACH | Errno::ENETDOWN | Errno::ENONET | Errno::EADDRNOTAVAIL => {
            Some(Undeliverable::Network)
        }
        Errno::EPERM | Errno::EACCES => Some(Undeliverable::Forbidden),
        _ => None,
    }
}

/// Whether the answers to regular readings are awaited together: each wake-up costs more than the
/// answer itself.
struct Gathering {
    leisure: Cell<bool>,
    /// Something is said here when the leisure ends while somebody gathers.
    hurry: (Sender<()>, Receiver<()>),
}

impl Gathering {
    fn new() -> Self {
        Self {
            leisure: Cell::new(false),
            hurry: smol::channel::bounded(1),
        }
    }

    fn set(&self, leisure: bool) {
        if self.leisure.replace(leisure) && !leisure {
            // Said already where this fails.
            let _ = self.hurry.0.try_send(());
        }
    }

    /// Waits for others to come, where there is leisure.
    async fn wait(&self) {
        if !self.leisure.get() {
            return;
        }
        // What was said before was meant for those who gathered then.
        let _ = self.hurry.1.try_recv();
        let over = async {
            smol::Timer::after(GATHER).await;
        };
        let hurry = async {
            let _ = self.hurry.1.recv().await;
        };
        over.or(hurry).await;
    }
}

/// Hands what comes to the loop, for as long as there is one.
async fn read(line: Rc<Line>, inputs: Sender<Input>, incoming: Rc<Incoming>) {
    loop {
        if let Err(error) = line.socket.readable().await {
            log::error!("UDP: {error}");
            return;
        }
        incoming.gathering.wait().await;
        if let Some(received) = incoming.take(&line)
            && inputs.send(Input::Datagrams(received)).await.is_err()
        {
            return;
        }
    }
}

impl Incoming {
    /// One batch of what waits in the kernel, where there is something.
    fn take(&self, line: &Line) -> Option<Received> {
        let mut datagrams = self.drain(line);
        let mut unreachable = Vec::new();
        if datagrams.is_empty() {
            // An error stands before datagrams until it is taken away.
            unreachable = drain_errors(&line.socket);
            datagrams = self.drain(line);
        }
        let port = line.port;
        (!datagrams.is_empty() || !unreachable.is_empty()).then_some(Received {
            port,
            datagrams,
            unreachable,
        })
    }

    fn drain(&self, line: &Line) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut buffers = self.buffers.borrow_mut();
        let mut lengths = [(None, 0); BATCH];
        let count = self.receive(line, &mut buffers, &mut lengths);
        line.behind.set(count == BATCH);
        let known = lengths[..count].iter().zip(buffers.iter());
        let known = known.filter_map(|((from, length), buffer)| {
            // A datagram that fills the buffer may have been cut: no IPMI packet is so long.
            (*length < LARGEST).then_some(((*from)?, buffer[..*length].to_vec()))
        });
        known.collect()
    }

    /// Fills buffers; from whom each datagram came and how long it is. How many there were.
    fn receive(
        &self,
        line: &Line,
        buffers: &mut [[u8; LARGEST]],
        lengths: &mut [(Option<SocketAddr>, usize)],
    ) -> usize {
        let slices = buffers.iter_mut();
        let mut slices: Vec<_> = slices.map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let space = nix::cmsg_space!(u32);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(space));
        let descriptor = line.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let Ok(messages) = recvmmsg(descriptor, &mut headers, slices.iter_mut(), flags, None)
        else {
            return 0;
        };
        let mut count = 0;
        for (message, place) in messages.zip(lengths) {
            *place = (message.address.as_ref().and_then(internet), message.bytes);
            count += 1;
            for control in message.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::RxqOvfl(total) = control {
                    let more = total.wrapping_sub(line.overflowed.replace(total));
                    self.note_overflow(more);
                }
            }
        }
        count
    }

    fn note_overflow(&self, more: u32) {
        if more > 0 {
            log::warn!(
                "the kernel dropped {} because a receive buffer was full: raise net.core.rmem_max, or lower packets_per_ms",
                counted(more as usize, "datagram")
            );
            self.overflowed.set(self.overflowed.get() + u64::from(more));
        }
    }
}

/// Where, as ICMP says, something did not arrive.
fn drain_errors(socket: &Async<UdpSocket>) -> Vec<(SocketAddr, Undeliverable)> {
    let mut found = Vec::new();
    loop {
        let mut buffer = [0; LARGEST];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let mut control = nix::cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in6);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags);
        let Ok(message) = message else { return found };
        let why = message.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::Ipv4RecvErr(error, _)
                | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                    undeliverable(Errno::from_raw(i32::try_from(error.ee_errno).ok()?))
                }
                _ => None,
            })
        });
        let to = message.address.as_ref().and_then(internet);
        found.extend(to.zip(why));
    }
}

fn internet(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6()?;
    // The same link-local address may be on several links.
    Some(SocketAddrV6::new(v6.ip(), v6.port(), 0, v6.scope_id()).into())
}

/// How often a datagram is sent again at once where the call fails.
const TRIES: u32 = 3;
/// Datagrams that are read with one system call.
const BATCH: usize = 32;
/// The longest datagram that is read: far more than any IPMI packet.
const LARGEST: usize = 1024;
/// Room for the answers of 4,096 BMCs, each of which the kernel counts as a kilobyte or more.
const RECEIVE_BUFFER: usize = 8 << 20;
/// How long the first of several answers waits for the others: less than what tells a fast BMC from
/// a slow one.
const GATHER: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(to: SocketAddr) -> Outgoing {
        Outgoing {
            to,
            port: 1,
            datagram: vec![6, 0, 0xFF, 7],
            order: None,
            urgent: false,
            changes: false,
        }
    }

    #[test]
    fn what_this_host_does_not_send_is_told_and_keeps_back_nothing_else() {
        let ours = Async::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).unwrap();
        let bmc = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let there = bmc.local_addr().unwrap();
        // To everybody: not without leave.
        let nobody = SocketAddr::from((Ipv4Addr::BROADCAST, 623));
        let batch = [there, nobody, there].map(outgoing);
        let refused = send_batch(&ours, &batch);
        assert_eq!(refused, [(nobody, Undeliverable::Forbidden)]);
        let mut buffer = [0; 16];
        for _ in 0..2 {
            assert_eq!(bmc.recv(&mut buffer).unwrap(), 4);
        }
    }

    #[test]
    fn the_words_of_the_network_are_about_the_port_the_host_the_way_or_a_firewall() {
        for (error, expected) in [
            (Errno::ECONNREFUSED, Some(Undeliverable::Port)),
            (Errno::EHOSTUNREACH, Some(Undeliverable::Host)),
            (Errno::ENETUNREACH, Some(Undeliverable::Network)),
            (Errno::EPERM, Some(Undeliverable::Forbidden)),
            (Errno::EACCES, Some(Undeliverable::Forbidden)),
            // These pass, and say nothing of the BMC.
            (Errno::EAGAIN, None),
            (Errno::ENOBUFS, None),
            (Errno::EMSGSIZE, None),
        ] {
            assert_eq!(undeliverable(error), expected, "{error}");
        }
    }
}
