//! Nodes that the configuration names no more: their sessions are closed politely, and what was
//! learned of them is kept for a while, in case they come back.

use super::clock::Moment;
use super::inventory::canonical;
use super::ledger::Ledger;
use super::node::Memory;
use super::record::Table;
use super::stored;
use crate::bmc::{Bmc, LocalPort, Outgoing};
use crate::entropy::Entropy;
use crate::session::Undeliverable;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

/// See the head of this file.
#[derive(Default)]
pub(super) struct RemovedNodes {
    /// BMCs whose sessions are being closed, and until when that may take.
    closing: Vec<(Bmc, Instant)>,
    /// What is remembered of nodes that are configured no more.
    memories: BTreeMap<Uuid, Memory>,
}

impl RemovedNodes {
    /// When [`RemovedNodes::handle_timeout`] has to be called.
    pub(super) fn next(&self) -> Option<Instant> {
        let next = |(bmc, until): &(Bmc, Instant)| {
            let timeout = bmc.poll_timeout();
            timeout.map_or(*until, |at| at.min(*until))
        };
        self.closing.iter().map(next).min()
    }

    /// Whether every session is closed.
    pub(super) fn is_quiet(&self) -> bool {
        self.closing.is_empty()
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = LocalPort> {
        self.closing.iter().flat_map(|(bmc, _)| bmc.local_ports())
    }

    /// Where these BMCs are.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.closing.iter().filter_map(|(bmc, _)| bmc.address())
    }

    /// Nobody asks this BMC for anything any more: its session is closed.
    pub(super) fn close(&mut self, mut bmc: Bmc, now: Instant, entropy: &mut dyn Entropy) {
        bmc.stop("the node is no longer configured", now, entropy);
        self.closing.push((bmc, now + CLOSING));
    }

    /// What is known of a node that is not configured stays for as long as history does.
    pub(super) fn remember(
        &mut self,
        node: Uuid,
        mut memory: Memory,
        ledger: &mut Ledger,
        at: Moment,
    ) {
        // A node that went in an earlier life is forgotten by the time at which it went.
        if memory.gone_since.is_none() {
            memory.gone_since = Some(at.wall);
            let value = stored::node(&memory);
            ledger.journal.put(Table::Nodes, node.to_string(), value);
        }
        self.memories.insert(node, memory);
    }

    /// What is known of a node that comes.
    pub(super) fn recall(&mut self, node: Uuid) -> Option<Memory> {
        self.memories.remove(&node)
    }

    /// Whether the datagram was for one of these BMCs.
    pub(super) fn handle_datagram(
        &mut self,
        from: SocketAddr,
        port: LocalPort,
        datagram: &[u8],
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> bool {
        let mut known = false;
        for bmc in self.at(from).filter(|bmc| bmc.has_port(port)) {
            known = true;
            bmc.handle_datagram(port, datagram, now, entropy);
        }
        known
    }

    pub(super) fn handle_unreachable(
        &mut self,
        to: SocketAddr,
        port: LocalPort,
        why: Undeliverable,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        for bmc in self.at(to) {
            bmc.handle_unreachable(port, why, now, entropy);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        for (bmc, _) in &mut self.closing {
            if bmc.poll_timeout().is_some_and(|at| at <= now) {
                bmc.handle_timeout(now, entropy);
            }
        }
    }

    /// What these BMCs have to send; those that are done are forgotten.
    pub(super) fn drain(&mut self, now: Instant) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        for (bmc, _) in &mut self.closing {
            // Whoever asked was answered when the node was taken out.
            while bmc.poll_report().is_some() {}
            outgoing.extend(std::iter::from_fn(|| bmc.poll_transmit()));
        }
        // A dead BMC never confirms the close: it is not waited for without end.
        let closes = |(bmc, until): &(Bmc, Instant)| now < *until && !bmc.is_quiet();
        self.closing.retain(closes);
        outgoing
    }

    /// Nodes that have been gone for longer than history is kept are forgotten.
    pub(super) fn forget_old(&mut self, keep: Duration, moment: Moment, ledger: &mut Ledger) {
        self.memories.retain(|node, memory| {
            let gone = memory.gone_since.is_some_and(|at| moment.age(at) > keep);
            if gone {
                ledger.journal.delete(Table::Nodes, node.to_string());
            }
            !gone
        });
    }

    fn at(&mut self, address: SocketAddr) -> impl Iterator<Item = &mut Bmc> {
        // One address may be written in two ways, as IPv4 and as IPv6.
        let address = canonical(address);
        let here = move |bmc: &&mut Bmc| bmc.address().map(canonical) == Some(address);
        self.closing.iter_mut().map(|(bmc, _)| bmc).filter(here)
    }
}

/// How long the session of a node that is gone may take to close.
const CLOSING: Duration = Duration::from_secs(10);
