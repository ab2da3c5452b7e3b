//! Many simulated BMCs behind unkind links, in one virtual time.
//!
//! Driven by tests and benches: [`Rack::send`] what a console sends, then [`Rack::poll_delivery`]
//! for what reaches the console until now, and [`Rack::poll_timeout`] for when to look again.
//! Everything happens at its own time, however late one looks.

use super::bmc::Bmc;
use super::link::{Direction, Link};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A datagram that reaches a console.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// When it arrives.
    pub at: Instant,
    /// The BMC's address.
    pub from: SocketAddr,
    /// The console's address.
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// BMCs and their links.
#[derive(Clone, Default)]
pub struct Rack {
    nodes: BTreeMap<SocketAddr, (Bmc, Link)>,
    flights: BTreeMap<(Instant, u64), Flight>,
    launched: u64,
    timers: BTreeSet<(Instant, SocketAddr)>,
    timer_of: BTreeMap<SocketAddr, Instant>,
    /// Nodes that were handed out to be changed, and whose timers are to be read again.
    touched: BTreeSet<SocketAddr>,
}

#[derive(Clone)]
struct Flight {
    direction: Direction,
    bmc: SocketAddr,
    console: SocketAddr,
    bytes: Vec<u8>,
}

impl Rack {
    /// An empty rack.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a BMC with its link at an address, in place of one that was there.
    pub fn add(&mut self, address: SocketAddr, bmc: Bmc, link: Link) {
        self.nodes.insert(address, (bmc, link));
        self.touched.insert(address);
    }

    /// The addresses in order.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.nodes.keys().copied()
    }

    /// The BMC at an address.
    pub fn bmc(&self, address: SocketAddr) -> Option<&Bmc> {
        self.nodes.get(&address).map(|(bmc, _)| bmc)
    }

    /// The BMC at an address, to be changed.
    pub fn bmc_mut(&mut self, address: SocketAddr) -> Option<&mut Bmc> {
        let (bmc, _) = self.nodes.get_mut(&address)?;
        self.touched.insert(address);
        Some(bmc)
    }

    /// The link to an address.
    pub fn link(&self, address: SocketAddr) -> Option<&Link> {
        self.nodes.get(&address).map(|(_, link)| link)
    }

    /// The link to an address, to be changed.
    pub fn link_mut(&mut self, address: SocketAddr) -> Option<&mut Link> {
        self.nodes.get_mut(&address).map(|(_, link)| link)
    }

    /// A console sends a datagram; without a BMC at `to` it is lost.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8], now: Instant) {
        self.launch(Direction::TowardsBmc, to, from, bytes, now);
    }

    /// The next datagram that has reached a console until `now`, in the order of arrival.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<Delivery> {
        loop {
            self.read_touched_timers();
            let flight_at = self.flights.keys().next().map(|(at, _)| *at);
            let timer_at = self.timers.first().map(|(at, _)| *at);
            let next = flight_at.into_iter().chain(timer_at).min()?;
            if next > now {
                return None;
            }
            if timer_at == Some(next) {
                let (_, address) = self.timers.pop_first()?;
                self.timer_of.remove(&address);
                // A timer of the past means "now": time never runs backwards for a BMC.
                self.run(address, next, |bmc, at| bmc.handle_timeout(at));
                continue;
            }
            let ((at, _), flight) = self.flights.pop_first()?;
            match flight.direction {
                Direction::TowardsConsole => {
                    let other = self.bmc(flight.bmc).and_then(|bmc| bmc.mood().answers_from);
                    return Some(Delivery {
                        at,
                        from: other.unwrap_or(flight.bmc),
                        to: flight.console,
                        bytes: flight.bytes,
                    });
                }
                Direction::TowardsBmc => self.run(flight.bmc, at, |bmc, at| {
                    bmc.handle_datagram(flight.console, &flight.bytes, at);
                }),
            }
        }
    }

    /// When [`Rack::poll_delivery`] has something to do next.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.read_touched_timers();
        let flight_at = self.flights.keys().next().map(|(at, _)| *at);
        let timer_at = self.timers.first().map(|(at, _)| *at);
        flight_at.into_iter().chain(timer_at).min()
    }

    fn run(&mut self, address: SocketAddr, at: Instant, step: impl FnOnce(&mut Bmc, Instant)) {
        let Some((bmc, _)) = self.nodes.get_mut(&address) else {
            return;
        };
        step(bmc, at);
        let mut replies = Vec::new();
        while let Some(reply) = bmc.poll_transmit() {
            replies.push(reply);
        }
        for (console, bytes) in replies {
            self.launch(Direction::TowardsConsole, address, console, &bytes, at);
        }
        self.touched.insert(address);
    }

    fn launch(
        &mut self,
        direction: Direction,
        bmc: SocketAddr,
        console: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) {
        let Some((_, link)) = self.nodes.get_mut(&bmc) else {
            return;
        };
        for (at, bytes) in link.carry(direction, bytes, now) {
            self.launched += 1;
            let flight = Flight {
                direction,
                bmc,
                console,
                bytes,
            };
            self.flights.insert((at, self.launched), flight);
        }
    }

    fn read_touched_timers(&mut self) {
        while let Some(address) = self.touched.pop_first() {
            if let Some(at) = self.timer_of.remove(&address) {
                self.timers.remove(&(at, address));
            }
            if let Some(at) = self.bmc(address).and_then(Bmc::poll_timeout) {
                self.timers.insert((at, address));
                self.timer_of.insert(address, at);
            }
        }
    }
}
