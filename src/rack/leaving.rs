//! Nodes that the configuration names no more: their sessions are closed politely, and what was learned of them is kept
//! for a while, in case they come back.
//!
//! Driven by `restore` at a start and a reload, and by the entrances of the rack for what is still under way.

use super::Rack;
use super::inventory::canonical;
use super::node::{Memory, Node};
use super::record::Table;
use super::stored;
use crate::bmc::{Bmc, LocalPort};
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Leaving {
    /// BMCs whose sessions are being closed, and until when that may take.
    closing: Vec<(Bmc, Instant)>,
    /// What is remembered of nodes that are configured no more.
    pub(super) memories: BTreeMap<Uuid, Memory>,
    next_pruning: Instant,
}

impl Leaving {
    /// When [`Rack::handle_timeout`] has to be called for this.
    pub(super) fn next(&self) -> Option<Instant> {
        let closing = self.closing.iter().flat_map(|(bmc, until)| {
            let timeout = bmc.poll_timeout().map_or(*until, |at| at.min(*until));
            [timeout]
        });
        closing.chain([self.next_pruning]).min()
    }

    /// Whether every session is closed.
    pub(super) fn is_quiet(&self) -> bool {
        self.closing.is_empty()
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = LocalPort> {
        self.closing.iter().flat_map(|(bmc, _)| bmc.local_ports())
    }
}

impl Rack {
    /// The configuration names this node no more.
    pub(super) fn take_leave(&mut self, node: Node, now: Instant) {
        let Node {
            settings,
            bmc,
            mut memory,
            ..
        } = node;
        memory.knowledge = bmc.knowledge().clone();
        self.remember_gone(settings.uuid, memory, now);
        self.close(bmc, now);
    }

    /// Nobody asks this BMC for anything any more: its session is closed.
    pub(super) fn close(&mut self, mut bmc: Bmc, now: Instant) {
        bmc.stop(now, &mut *self.entropy);
        self.leaving.closing.push((bmc, now + CLOSING));
        self.wave_off(now);
    }

    /// What is known of a node that is not configured stays for as long as history does.
    pub(super) fn remember_gone(&mut self, node: Uuid, mut memory: Memory, now: Instant) {
        let wall = self.wall(now);
        if memory.gone_since.is_none() {
            memory.gone_since = Some(wall);
            let value = stored::node(&memory);
            self.journal.put(Table::Nodes, node.to_string(), value);
        }
        self.leaving.memories.insert(node, memory);
    }

    pub(super) fn leaving_datagram(
        &mut self,
        from: SocketAddr,
        port: LocalPort,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        let from = canonical(from);
        let mut known = false;
        for (bmc, _) in &mut self.leaving.closing {
            if bmc.address().map(canonical) == Some(from) && bmc.has_port(port) {
                known = true;
                bmc.handle_datagram(port, datagram, now, &mut *self.entropy);
            }
        }
        self.wave_off(now);
        known
    }

    pub(super) fn leaving_unreachable(&mut self, to: SocketAddr, port: LocalPort, now: Instant) {
        let to = canonical(to);
        for (bmc, _) in &mut self.leaving.closing {
            if bmc.address().map(canonical) == Some(to) {
                bmc.handle_unreachable(port, now, &mut *self.entropy);
            }
        }
        self.wave_off(now);
    }

    pub(super) fn leaving_timeout(&mut self, now: Instant) {
        for (bmc, _) in &mut self.leaving.closing {
            if bmc.poll_timeout().is_some_and(|at| at <= now) {
                bmc.handle_timeout(now, &mut *self.entropy);
            }
        }
        self.wave_off(now);
        if now >= self.leaving.next_pruning {
            self.leaving.next_pruning = now + PRUNING;
            self.prune(now);
        }
    }

    /// Carries off what the leaving BMCs have, and forgets those that are done.
    fn wave_off(&mut self, now: Instant) {
        for (bmc, _) in &mut self.leaving.closing {
            while bmc.poll_report().is_some() {}
            self.transmits
                .extend(std::iter::from_fn(|| bmc.poll_transmit()));
        }
        let closes = |(bmc, until): &(Bmc, Instant)| now < *until && !bmc.is_quiet();
        self.leaving.closing.retain(closes);
    }

    /// What is older than history is kept is forgotten: entries of all nodes, ended tasks, nodes that are gone.
    fn prune(&mut self, now: Instant) {
        let (wall, keep) = (self.wall(now), self.settings.history_keep);
        self.forget_old_history(now);
        self.forget_old_tasks(now);
        let journal = &mut self.journal;
        self.leaving.memories.retain(|node, memory| {
            let gone = memory.gone_since.is_some_and(|at| wall.since(at) > keep);
            if gone {
                journal.delete(Table::Nodes, node.to_string());
            }
            !gone
        });
    }
}

/// How long the session of a node that is gone may take to close.
const CLOSING: Duration = Duration::from_secs(10);
/// How often what is too old is looked for, beside when something is added.
const PRUNING: Duration = Duration::from_secs(3600);
