//! The nodes of the rack, in the order of the configuration, and how they are found: by name, uuid,
//! address and timer.
//!
//! Owns every [`Node`]; knows no tasks, no orders and no journal.

use super::call::Refused;
use super::node::Node;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, SocketAddrV6};
use std::ops::Bound;
use std::sync::Arc;
use uuid::Uuid;

/// A node of this life of the daemon. The number is never given to another node, so that whoever
/// still holds that of a node that is gone finds nothing, and never a stranger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct NodeId(u64);

/// What two nodes have in common that have one BMC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shared {
    /// The address and port.
    Address,
    /// The GUID.
    Guid,
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Inventory {
    /// Each in a place of its own: a tree that grows at its end leaves half of its room empty, and
    /// these are large.
    nodes: BTreeMap<NodeId, Box<Node>>,
    /// In the order of the configuration.
    order: Vec<NodeId>,
    by_name: BTreeMap<Arc<str>, NodeId>,
    by_uuid: BTreeMap<Uuid, NodeId>,
    /// Where BMCs are; two nodes may share one address, where names say so.
    by_address: BTreeSet<(SocketAddr, NodeId)>,
    /// The GUIDs of BMCs.
    by_guid: BTreeSet<(Uuid, NodeId)>,
    /// Nodes of whose BMC nobody knows yet who it is.
    untried: BTreeSet<NodeId>,
    /// Counts whatever may give a node a twin, or take it away.
    relations: u64,
    timers: BTreeSet<(Instant, NodeId)>,
    /// Those of regular readings, which may wait for others.
    readings: BTreeSet<(Instant, NodeId)>,
    next: u64,
}

impl Inventory {
    /// Adds a node behind all others.
    pub(super) fn add(&mut self, node: Node) -> NodeId {
        // A number is never used again: an old one must not lead to another machine (rule 12).
        let id = NodeId(self.next);
        self.next += 1;
        self.by_name.insert(node.settings.name.clone(), id);
        self.by_uuid.insert(node.settings.uuid, id);
        self.order.push(id);
        self.nodes.insert(id, Box::new(node));
        self.untried.insert(id);
        self.relations += 1;
        self.note_address(id);
        id
    }

    /// Takes a node out; its number leads nowhere from now on.
    pub(super) fn remove(&mut self, id: NodeId) -> Option<Node> {
        let node = self.nodes.remove(&id)?;
        self.relations += 1;
        self.order.retain(|other| *other != id);
        self.by_name.retain(|_, other| *other != id);
        self.by_uuid.remove(&node.settings.uuid);
        self.by_address.retain(|(_, other)| *other != id);
        self.by_guid.retain(|(_, other)| *other != id);
        self.untried.remove(&id);
        self.timers.retain(|(_, other)| *other != id);
        self.readings.retain(|(_, other)| *other != id);
        Some(*node)
    }

    /// The configuration names the nodes in this order, and perhaps by other names than before.
    pub(super) fn arrange(&mut self, order: &[Uuid]) {
        // The uuid is what stays: a configuration may give a node another name.
        let ids = order.iter().filter_map(|uuid| self.by_uuid.get(uuid));
        self.order = ids.copied().collect();
        let nodes = self.nodes.iter();
        let named = nodes.map(|(id, node)| (node.settings.name.clone(), *id));
        self.by_name = named.collect();
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
        self.order.iter().filter_map(|id| self.get(*id))
    }

    /// Those that came behind that one, or all of them, in the order in which they came: whoever
    /// reads them one after the other misses none and reads none twice, whatever a reload does.
    pub(super) fn after(&self, last: Option<NodeId>) -> impl Iterator<Item = (NodeId, &Node)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let nodes = self.nodes.range((from, Bound::Unbounded));
        nodes.map(|(id, node)| (*id, &**node))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.values_mut().map(|node| &mut **node)
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id).map(|node| &**node)
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id).map(|node| &mut **node)
    }

    /// The node with that name or uuid.
    pub(super) fn named(&self, ident: &str) -> Result<NodeId, Refused> {
        let by_uuid = || ident.parse().ok().and_then(|uuid| self.with_uuid(uuid));
        let node = self.by_name.get(ident).copied().or_else(by_uuid);
        node.ok_or_else(|| Refused::NoSuchNode(ident.to_owned()))
    }

    /// The nodes with those names or uuids; where some are not there, all of those are said.
    pub(super) fn all_named(&self, idents: &[String]) -> Result<Vec<NodeId>, Refused> {
        let (mut nodes, mut unknown) = (Vec::new(), Vec::new());
        for ident in idents {
            match self.named(ident) {
                Ok(node) => nodes.push(node),
                Err(refused) => unknown.push(refused),
            }
        }
        Refused::together(unknown, idents.len()).map_or(Ok(nodes), Err)
    }

    /// The node with that name or uuid.
    pub(super) fn find(&self, ident: &str) -> Result<(NodeId, &Node), Refused> {
        let id = self.named(ident)?;
        let node = self.get(id);
        node.map(|node| (id, node))
            .ok_or_else(|| Refused::NoSuchNode(ident.to_owned()))
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

    /// The other nodes that have the same BMC, as far as is known: those at its address, and the
    /// one that has its GUID. A GUID that more than two nodes have is their firmware's and says
    /// nothing, so it is looked at once every BMC was tried.
    pub(super) fn twins(&self, id: NodeId) -> Vec<(NodeId, Shared)> {
        let Some(node) = self.nodes.get(&id) else {
            return Vec::new();
        };
        let others = |all: Vec<NodeId>| all.into_iter().filter(move |other| *other != id);
        let here = node.noted.map(|address| self.at(address));
        let here = others(here.unwrap_or_default()).map(|other| (other, Shared::Address));
        let alike = node.noted_guid.map(|guid| self.with_guid(guid));
        let alike = alike.unwrap_or_default();
        // A third node with the GUID may still be found among BMCs that were never tried.
        let pair = alike.len() == 2 && self.untried.is_empty();
        let alike = others(alike).filter(|_| pair);
        let mut twins: Vec<_> = here
            .chain(alike.map(|other| (other, Shared::Guid)))
            .collect();
        // Who is at the same address is named for that: it is the surer reason, and stands first.
        twins.dedup_by_key(|(other, _)| *other);
        twins
    }

    /// The node was found to have no twin.
    pub(super) fn note_alone(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.alone_as_of = Some(self.relations);
        }
    }

    /// Whether that still holds: nothing was noted since that could give it one.
    pub(super) fn is_alone(&self, id: NodeId) -> bool {
        let node = self.nodes.get(&id);
        node.is_some_and(|node| node.alone_as_of == Some(self.relations))
    }

    /// The node's BMC may have another GUID than before, or may have been tried for the first time.
    /// The nodes whose twins may be others for that.
    pub(super) fn note_guid(&mut self, id: NodeId, now: Instant) -> Vec<NodeId> {
        let Some(node) = self.nodes.get_mut(&id) else {
            return Vec::new();
        };
        let guid = node.bmc.present_guid();
        let last_one = node.bmc.was_tried(now) && self.untried.remove(&id);
        let old = std::mem::replace(&mut node.noted_guid, guid);
        let mut touched = Vec::new();
        self.relations += u64::from(last_one || old != guid);
        if old != guid {
            if let Some(old) = old {
                self.by_guid.remove(&(old, id));
            }
            touched.extend(
                old.iter()
                    .chain(&guid)
                    .flat_map(|guid| self.with_guid(*guid)),
            );
            self.by_guid.extend(guid.map(|guid| (guid, id)));
        }
        // With the last BMC that was tried the GUIDs begin to count: every node is looked at.
        match last_one && self.untried.is_empty() {
            true => self.ids(),
            false => touched,
        }
    }

    fn with_guid(&self, guid: Uuid) -> Vec<NodeId> {
        let ends = (guid, NodeId(0))..=(guid, NodeId(u64::MAX));
        self.by_guid.range(ends).map(|(_, node)| *node).collect()
    }

    /// The node's BMC may have another address than before: that is where it is found from now on.
    /// The nodes whose twins may be others for that.
    pub(super) fn note_address(&mut self, id: NodeId) -> Vec<NodeId> {
        let Some(node) = self.nodes.get_mut(&id) else {
            return Vec::new();
        };
        let address = node.bmc.address().map(canonical);
        if address.is_none() || address == node.noted {
            return Vec::new();
        }
        let old = std::mem::replace(&mut node.noted, address);
        self.relations += 1;
        let places = old.iter().chain(&address);
        let touched = places.flat_map(|place| self.at(*place)).collect();
        if let Some(old) = old {
            self.by_address.remove(&(old, id));
        }
        self.by_address.extend(address.map(|address| (address, id)));
        touched
    }

    /// The node's BMC is to be found elsewhere, perhaps nobody knows yet where.
    pub(super) fn forget_address(&mut self, id: NodeId) {
        self.by_address.retain(|(_, other)| *other != id);
        self.by_guid.retain(|(_, other)| *other != id);
        self.untried.insert(id);
        self.relations += 1;
        if let Some(node) = self.nodes.get_mut(&id) {
            (node.noted, node.noted_guid) = (None, None);
        }
    }

    /// The node wants attention at `at`.
    pub(super) fn set_timer(&mut self, id: NodeId, at: Option<Instant>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            set(&mut self.timers, &mut node.timer, at, id);
        }
    }

    /// The node is to be read at `at`.
    pub(super) fn set_reading(&mut self, id: NodeId, at: Option<Instant>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            set(&mut self.readings, &mut node.reading_timer, at, id);
        }
    }

    /// When the first node is to be read.
    pub(super) fn next_reading(&self) -> Option<Instant> {
        self.readings.first().map(|(at, _)| *at)
    }

    /// When the first node wants attention.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A node that wants attention by now; its timer is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<NodeId> {
        let due = |timers: &BTreeSet<_>| timers.first().copied().filter(|(at, _)| *at <= now);
        // Timers go first: a regular reading may wait, what a task waits for may not.
        if let Some((_, id)) = due(&self.timers) {
            self.set_timer(id, None);
            return Some(id);
        }
        let (_, id) = due(&self.readings)?;
        self.set_reading(id, None);
        Some(id)
    }
}

/// Sets one of a node's timers.
fn set(
    timers: &mut BTreeSet<(Instant, NodeId)>,
    timer: &mut Option<Instant>,
    at: Option<Instant>,
    id: NodeId,
) {
    // Every settling of a node sets its timers, and most stay as they are.
    if *timer == at {
        return;
    }
    if let Some(old) = std::mem::replace(timer, at) {
        timers.remove(&(old, id));
    }
    timers.extend(at.map(|at| (at, id)));
}

/// An IPv4 address that is written as an IPv6 one is the IPv4 address. A scope tells BMCs apart
/// where the address is one of a link, of which there may be several; flow labels never do.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
        }
        _ => SocketAddr::new(address.ip().to_canonical(), address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, inventory, node};
    use super::*;

    #[test]
    fn a_number_that_is_free_again_is_given_to_nobody() {
        let mut inventory = inventory(2);
        let second = inventory.ids()[1];
        inventory.remove(second).unwrap();
        let back = inventory.add(node(1));
        assert_ne!(back, second);
        assert!(inventory.get(second).is_none());
        assert_eq!(inventory.named("n02").unwrap(), back);
    }

    #[test]
    fn a_node_that_is_gone_is_found_by_nothing() {
        let mut inventory = inventory(2);
        let second = inventory.ids()[1];
        let (uuid, address) = {
            let node = inventory.get(second).unwrap();
            (node.settings.uuid, node.noted.unwrap())
        };
        inventory.set_timer(second, Some(at(1).now));
        inventory.remove(second);
        assert!(inventory.named("n02").is_err());
        assert!(inventory.named(&uuid.to_string()).is_err());
        assert!(inventory.at(address).is_empty());
        assert_eq!(inventory.next_timer(), None);
        assert_eq!(inventory.len(), 1);
    }

    #[test]
    fn nodes_that_swap_their_names_are_found_by_the_new_ones() {
        let mut inventory = inventory(2);
        let ids = inventory.ids();
        for (id, name) in ids.iter().zip(["n02", "n01"]) {
            inventory.get_mut(*id).unwrap().settings.name = name.into();
        }
        let uuids: Vec<Uuid> = inventory.iter().map(|node| node.settings.uuid).collect();
        inventory.arrange(&[uuids[1], uuids[0]]);
        assert_eq!(inventory.named("n01").unwrap(), ids[1]);
        assert_eq!(inventory.ids(), [ids[1], ids[0]]);
    }

    #[test]
    fn whoever_reads_nodes_one_by_one_misses_none_and_has_none_twice_over_a_reload() {
        let mut inventory = inventory(4);
        let ids = inventory.ids();
        let next = |inventory: &Inventory, last| inventory.after(last).next().map(|(id, _)| id);
        let first = next(&inventory, None);
        assert_eq!(first, Some(ids[0]));
        // The order is another one, one is gone, another one has come.
        let mut uuids: Vec<Uuid> = inventory.iter().map(|node| node.settings.uuid).collect();
        uuids.reverse();
        inventory.arrange(&uuids);
        inventory.remove(ids[1]);
        let fifth = inventory.add(node(4));
        let mut seen = vec![ids[0]];
        while let Some(id) = next(&inventory, seen.last().copied()) {
            seen.push(id);
        }
        assert_eq!(seen, [ids[0], ids[2], ids[3], fifth]);
    }

    #[test]
    fn timers_come_in_their_order_and_each_node_has_one() {
        let mut inventory = inventory(2);
        let ids = inventory.ids();
        inventory.set_timer(ids[0], Some(at(9).now));
        inventory.set_timer(ids[0], Some(at(5).now));
        inventory.set_timer(ids[1], Some(at(3).now));
        assert_eq!(inventory.take_due(at(4).now), Some(ids[1]));
        assert_eq!(inventory.take_due(at(4).now), None);
        assert_eq!(inventory.next_timer(), Some(at(5).now));
        assert_eq!(inventory.take_due(at(9).now), Some(ids[0]));
        assert_eq!(inventory.take_due(at(99).now), None);
    }

    #[test]
    fn an_address_that_is_written_in_another_way_is_the_same_one() {
        let inventory = inventory(1);
        let mapped: SocketAddr = "[::ffff:10.0.1.1]:623".parse().unwrap();
        assert_eq!(inventory.at(mapped), inventory.ids());
        let elsewhere: SocketAddr = "10.0.1.1:624".parse().unwrap();
        assert!(inventory.at(elsewhere).is_empty());
    }
}
