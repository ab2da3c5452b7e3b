//! The nodes of the rack, in the order of the configuration, and how they are found: by name, uuid, address and timer.
//!
//! Owns every [`Node`]; knows no tasks, no orders and no journal.

use super::call::Refused;
use super::node::Node;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::{Index, IndexMut};
use uuid::Uuid;

/// A node of this life of the daemon. The number is never given to another node, so that whoever still holds that of a
/// node that is gone finds nothing, and never a stranger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct NodeId(u64);

/// See the head of this file.
#[derive(Default)]
pub(super) struct Inventory {
    nodes: BTreeMap<NodeId, Node>,
    /// In the order of the configuration.
    order: Vec<NodeId>,
    by_name: BTreeMap<String, NodeId>,
    by_uuid: BTreeMap<Uuid, NodeId>,
    /// Where BMCs are; two nodes may share one address, where names say so.
    by_address: BTreeSet<(SocketAddr, NodeId)>,
    timers: BTreeSet<(Instant, NodeId)>,
    next: u64,
}

impl Inventory {
    /// Adds a node behind all others.
    pub(super) fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        self.by_name.insert(node.settings.name.clone(), id);
        self.by_uuid.insert(node.settings.uuid, id);
        self.order.push(id);
        self.nodes.insert(id, node);
        self.note_address(id);
        id
    }

    /// Takes a node out; its number leads nowhere from now on.
    pub(super) fn remove(&mut self, id: NodeId) -> Option<Node> {
        let node = self.nodes.remove(&id)?;
        self.order.retain(|other| *other != id);
        self.by_name.retain(|_, other| *other != id);
        self.by_uuid.remove(&node.settings.uuid);
        self.by_address.retain(|(_, other)| *other != id);
        self.timers.retain(|(_, other)| *other != id);
        Some(node)
    }

    /// The configuration names the nodes in this order, and perhaps by other names than before.
    pub(super) fn arrange(&mut self, order: &[Uuid]) {
        let ids = order.iter().filter_map(|uuid| self.by_uuid.get(uuid));
        self.order = ids.copied().collect();
        let named = |(id, node): (&NodeId, &Node)| (node.settings.name.clone(), *id);
        self.by_name = self.nodes.iter().map(named).collect();
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// All of them, in the order of the configuration.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.order.clone()
    }

    /// All of them, in the order of the configuration.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.order.iter().filter_map(|id| self.nodes.get(id))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.values_mut()
    }

    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// The node with that name or uuid.
    pub(super) fn named(&self, ident: &str) -> Result<NodeId, Refused> {
        let by_uuid = || ident.parse().ok().and_then(|uuid| self.with_uuid(uuid));
        let node = self.by_name.get(ident).copied().or_else(by_uuid);
        node.ok_or_else(|| Refused::NoSuchNode(ident.to_owned()))
    }

    pub(super) fn with_uuid(&self, uuid: Uuid) -> Option<NodeId> {
        self.by_uuid.get(&uuid).copied()
    }

    /// The nodes whose BMC is at `address`.
    pub(super) fn at(&self, address: SocketAddr) -> Vec<NodeId> {
        let address = canonical(address);
        let (first, last) = ((address, NodeId(0)), (address, NodeId(u64::MAX)));
        let here = self.by_address.range(first..=last);
        here.map(|(_, node)| *node).collect()
    }

    /// The node's BMC may have another address than before: that is where it is found from now on.
    pub(super) fn note_address(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        let address = node.bmc.address().map(canonical);
        if address.is_none() || address == node.noted {
            return;
        }
        if let Some(old) = std::mem::replace(&mut node.noted, address) {
            self.by_address.remove(&(old, id));
        }
        self.by_address.extend(address.map(|address| (address, id)));
    }

    /// The node's BMC is to be found elsewhere, perhaps nobody knows yet where.
    pub(super) fn forget_address(&mut self, id: NodeId) {
        self.by_address.retain(|(_, other)| *other != id);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.noted = None;
        }
    }

    /// The node wants attention at `at`.
    pub(super) fn set_timer(&mut self, id: NodeId, at: Option<Instant>) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut node.timer, at) {
            self.timers.remove(&(old, id));
        }
        self.timers.extend(at.map(|at| (at, id)));
    }

    /// When the first node wants attention.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A node that wants attention by now; its timer is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<NodeId> {
        let (_, id) = *self.timers.first().filter(|(at, _)| *at <= now)?;
        self.set_timer(id, None);
        Some(id)
    }
}

impl Index<NodeId> for Inventory {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }
}

impl IndexMut<NodeId> for Inventory {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes
            .get_mut(&id)
            .expect("whoever goes on with a node has it")
    }
}

/// An IPv4 address that is written as an IPv6 one is the IPv4 address; scopes and flow labels do not tell BMCs apart.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
