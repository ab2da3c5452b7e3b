//! `rackbmc sim`: a rack of simulated BMCs on UDP sockets of this machine, to try any IPMI client
//! on.
//!
//! The shell around [`crate::sim`]: a thread with one task per node, each owning a socket; the BMCs
//! themselves stay sans-IO. [`serve`] is for the demo and for tests, [`run`] is the command.

mod arguments;
mod moods;
mod recording;

pub use arguments::{SimArgs, SimError, run};
pub use moods::parse_mood;

use crate::sim::{Bmc, BmcSettings, Conditions, Link, Mood, Rack};
use crate::time::Instant;
use async_io::{Async, Timer};
use smol::channel::{Receiver, Sender};
use smol::future::{self, FutureExt};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A node to be simulated.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Where its BMC listens; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// What the BMC is set up with, its name included.
    pub settings: BmcSettings,
    /// How it behaves.
    pub mood: Mood,
    /// How its network behaves, both ways.
    pub conditions: Conditions,
}

/// A simulated rack that is running. Dropping it stops it.
pub struct Served {
    nodes: Vec<ServedNode>,
    started: std::time::Instant,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

struct ServedNode {
    name: String,
    address: SocketAddr,
    rack: Arc<Mutex<Rack>>,
    nudge: Sender<()>,
}

/// Starts a rack: binds all sockets, then serves them from a thread of its own until
/// [`Served::stop`] or the drop.
///
/// `seed` decides about nonces and the faults of the links. An address that cannot be bound is the
/// error.
pub fn serve(plans: Vec<NodePlan>, seed: u64) -> io::Result<Served> {
    let started = std::time::Instant::now();
    let (stop, stopped) = smol::channel::bounded(1);
    let mut nodes = Vec::new();
    let mut tasks = Vec::new();
    for (plan, seed) in plans.into_iter().zip(seed..) {
        let socket = Async::<UdpSocket>::bind(plan.address)?;
        let address = socket.get_ref().local_addr()?;
        let name = plan.settings.name.clone();
        let mut link = Link::new(seed ^ LINK_SEED);
        link.set_both(plan.conditions);
        let mut rack = Rack::new();
        rack.add(address, Bmc::new(plan.settings, plan.mood, seed), link);
        let rack = Arc::new(Mutex::new(rack));
        let (nudge, nudged) = smol::channel::bounded(1);
        tasks.push((socket, address, Arc::clone(&rack), nudged));
        nodes.push(ServedNode {
            name,
            address,
            rack,
            nudge,
        });
    }
    let thread = std::thread::Builder::new()
        .name("sim".to_owned())
        .spawn(move || {
            let executor = smol::LocalExecutor::new();
            for (socket, address, rack, nudged) in tasks {
                let node = drive(socket, address, rack, nudged, started);
                executor.spawn(node).detach();
            }
            // Told to stop, or the handle is gone: both end the thread. It waits for the sockets
            // itself: each datagram would wake two threads, one after the other.
            let _ = async_io::block_on(executor.run(stopped.recv()));
        })?;
    Ok(Served {
        nodes,
        started,
        stop,
        thread: Some(thread),
    })
}

impl Served {
    /// The nodes: name and bound address.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        (self.nodes.iter()).map(|node| (node.name.as_str(), node.address))
    }

    /// The address of the `index`th node.
    ///
    /// # Panics
    /// Where there is no such node.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.nodes[index].address
    }

    /// Looks at the BMC of a node, or changes it: mood, host, power button. It is told the time as
    /// the BMC knows it. Nothing where no node has that name.
    pub fn with_bmc<T>(&self, name: &str, look: impl FnOnce(&mut Bmc, Instant) -> T) -> Option<T> {
        let node = self.nodes.iter().find(|node| node.name == name)?;
        let now = since(self.started);
        let mut rack = node.rack.lock().unwrap_or_else(PoisonError::into_inner);
        let bmc = rack.bmc_mut(node.address)?;
        bmc.handle_timeout(now);
        let seen = look(bmc, now);
        drop(rack);
        // A nudge that is waiting already does.
        let _ = node.nudge.try_send(());
        Some(seen)
    }

    /// Stops the rack and closes its sockets.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
    }
}

enum Woken {
    Readable,
    Due,
    Nudged,
    Gone,
}

async fn drive(
    socket: Async<UdpSocket>,
    address: SocketAddr,
    rack: Arc<Mutex<Rack>>,
    nudged: Receiver<()>,
    started: std::time::Instant,
) {
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let due = deliver(&socket, &rack, started);
        let readable = async {
            match socket.readable().await {
                Ok(()) => Woken::Readable,
                Err(_) => Woken::Gone,
            }
        };
        let timer = async {
            match due {
                Some(at) => Timer::at(started + at.since_start()).await,
                None => future::pending().await,
            };
            Woken::Due
        };
        let nudge = async {
            match nudged.recv().await {
                Ok(()) => Woken::Nudged,
                Err(_) => Woken::Gone,
            }
        };
        match readable.or(nudge).or(timer).await {
            Woken::Readable => receive(&socket, address, &rack, &mut buffer, started),
            Woken::Due | Woken::Nudged => {}
            Woken::Gone => return,
        }
    }
}

/// Takes what has arrived, at most a batch, so that timers are heard in a flood.
fn receive(
    socket: &Async<UdpSocket>,
    address: SocketAddr,
    rack: &Mutex<Rack>,
    buffer: &mut [u8],
    started: std::time::Instant,
) {
    let mut rack = rack.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..BATCH {
        match socket.get_ref().recv_from(buffer) {
            Ok((length, from)) => rack.send(from, address, &buffer[..length], since(started)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // ICMP's "nobody listens there" for an earlier reply: not ours to mend.
            Err(_) => {}
        }
    }
}

/// Sends what is due; when something will be due next.
fn deliver(
    socket: &Async<UdpSocket>,
    rack: &Mutex<Rack>,
    started: std::time::Instant,
) -> Option<Instant> {
    let mut rack = rack.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(delivery) = rack.poll_delivery(since(started)) {
        // A datagram that the kernel does not take is a lost one.
        let _ = socket.get_ref().send_to(&delivery.bytes, delivery.to);
    }
    rack.poll_timeout()
}

fn since(started: std::time::Instant) -> Instant {
    Instant::after_start(started.elapsed())
}

const LARGEST_DATAGRAM: usize = 2048;
const BATCH: usize = 32;
/// Keeps a link's dice apart from its BMC's.
const LINK_SEED: u64 = 0x6C69_6E6B;
