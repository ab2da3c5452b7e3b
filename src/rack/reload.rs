//! Taking a new configuration: nodes that stay, that are to be found elsewhere, that come, and that go.
//!
//! What is under way for a node that stays goes on. Where the node goes, or its BMC has another address (which may be
//! another machine), the orders to the old BMC are withdrawn, and whoever asked for them hears what is known of them.

use super::Rack;
use super::call::{PowerState, Refused};
use super::clock::Moment;
use super::inventory::{Inventory, NodeId};
use super::ledger::{Open, Owner};
use super::node::{Labels, Memory, Node, bmc_settings};
use super::settings::{NodeSettings, RackSettings};
use super::turn::withdrawn;
use crate::bmc::vocabulary::{Delivery, Trouble};
use crate::bmc::{Bmc, Knowledge};
use crate::entropy::Entropy;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Why a node's orders are withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    /// The configuration names the node no more.
    Gone,
    /// Its BMC is to be found elsewhere.
    Moved,
}

impl Change {
    /// For whoever waits for an order to the old BMC.
    fn words(self, delivery: Delivery) -> &'static str {
        match (self, delivery) {
            (Change::Gone, Delivery::NotSent) => {
                "it was not sent: the configuration names the node no more"
            }
            (Change::Gone, Delivery::Unknown) => {
                "it may have arrived: it had left when the configuration took the node away; its answer was not awaited"
            }
            (Change::Moved, Delivery::NotSent) => {
                "it was not sent: the configuration gave the node's BMC another address"
            }
            (Change::Moved, Delivery::Unknown) => {
                "it may have arrived: it had left for the old address when the configuration gave the node's BMC another one; its answer was not awaited"
            }
        }
    }
}

/// The nodes that go or move.
fn changes(inventory: &Inventory, nodes: &[NodeSettings]) -> BTreeMap<NodeId, Change> {
    let new: BTreeMap<Uuid, &NodeSettings> = nodes.iter().map(|node| (node.uuid, node)).collect();
    let change = |id: NodeId| {
        let old = &inventory.get(id)?.settings;
        match new.get(&old.uuid) {
            None => Some((id, Change::Gone)),
            Some(new) if new.address != old.address => Some((id, Change::Moved)),
            Some(_) => None,
        }
    };
    inventory.ids().into_iter().filter_map(change).collect()
}

/// A task is never cut off by a configuration: whoever wants that aborts it.
fn check(inventory: &Inventory, changes: &BTreeMap<NodeId, Change>) -> Result<(), String> {
    for (id, change) in changes {
        let node = inventory.get(*id);
        let Some((node, task)) = node.and_then(|node| Some((node, node.task?))) else {
            continue;
        };
        let what = match change {
            Change::Gone => "is gone",
            Change::Moved => "has a BMC at another address now",
        };
        let name = &node.settings.name;
        return Err(format!(
            "node {name} {what}, but task {task} runs on it: wait for its end or abort it"
        ));
    }
    Ok(())
}

impl Node {
    /// A node that stays where it is takes its new settings.
    fn change(
        &mut self,
        settings: NodeSettings,
        rack: &str,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        if self.settings != settings {
            let bmc = bmc_settings(&settings);
            self.bmc.replace_settings(bmc, now, entropy);
            self.settings = settings;
        }
        self.labels = Labels::new(&self.settings, rack);
    }

    /// Its BMC is to be found elsewhere, and may be another one, of another machine: nothing that was learned or read of
    /// the old one is taken for true. The old one comes back.
    fn moves(&mut self, settings: NodeSettings, rack: &str, now: Instant) -> Bmc {
        let bmc = Bmc::new(bmc_settings(&settings), Knowledge::default(), now);
        self.labels = Labels::new(&settings, rack);
        self.settings = settings;
        self.forget_machine(now);
        std::mem::replace(&mut self.bmc, bmc)
    }
}

impl Rack {
    /// Takes a new configuration. Nodes that are new are added, changed ones take their new settings, those that are
    /// gone are dropped: their sessions are closed, and what was learned of them is kept as long as history is.
    ///
    /// # Errors
    /// A node that is gone, or whose BMC has another address, has a task: nothing is changed, and the text says what
    /// to do.
    pub fn reload(
        &mut self,
        settings: RackSettings,
        nodes: Vec<NodeSettings>,
        now: Instant,
    ) -> Result<(), String> {
        let changes = changes(&self.inventory, &nodes);
        check(&self.inventory, &changes)?;
        let at = self.at(now);
        self.gate.replace_settings(&settings);
        self.settings = settings;
        for (id, change) in &changes {
            if *change == Change::Gone {
                self.remove_node(*id, at);
            }
        }
        let order: Vec<Uuid> = nodes.iter().map(|node| node.uuid).collect();
        for settings in nodes {
            let rack = &self.settings.name;
            match self.inventory.with_uuid(settings.uuid) {
                Some(id) if changes.contains_key(&id) => self.move_node(id, settings, at),
                Some(id) => {
                    if let Some(node) = self.inventory.get_mut(id) {
                        node.change(settings, rack, now, &mut *self.entropy);
                    }
                }
                None => {
                    let memory = self.leaving.recall(settings.uuid);
                    self.add_node(settings, memory, at);
                }
            }
        }
        self.inventory.arrange(&order);
        for node in self.inventory.ids() {
            self.apply_maintenance(node, at);
            self.settle(node, at);
        }
        self.finish(at);
        Ok(())
    }

    /// A node that was there before is known still.
    pub(super) fn add_node(
        &mut self,
        settings: NodeSettings,
        mut memory: Option<Memory>,
        at: Moment,
    ) {
        let back = memory.as_mut().and_then(|memory| {
            let gone = memory.gone_since.take();
            // What was read before it went is shown as a reading with its age.
            gone.inspect(|_| memory.shown = PowerState::Unknown)
        });
        let is_new = memory.is_none() || back.is_some();
        let memory = memory.unwrap_or_else(|| Memory {
            created_at: at.wall,
            ..Memory::default()
        });
        let mut node = Node::new(settings, &self.settings.name, memory, at);
        // First readings are spread, so that a rack's BMCs are not all asked in one instant.
        let before = u32::try_from(self.inventory.len()).unwrap_or(u32::MAX);
        node.next_sync = at.now + (FIRST_SYNC_APART * before).min(self.settings.sync_interval);
        node.quarantine = self.ledger.quarantine.hold_on(node.settings.uuid);
        let id = self.inventory.add(node);
        if is_new {
            self.save_node(id);
        }
        self.set_timer(id);
    }

    /// The node's BMC is to be found elsewhere.
    fn move_node(&mut self, id: NodeId, settings: NodeSettings, at: Moment) {
        let withdrawn = self.withdraw_side_orders(id, at);
        let rack = &self.settings.name;
        let node = self.inventory.get_mut(id);
        if let Some(old) = node.map(|node| node.moves(settings, rack, at.now)) {
            self.leaving.close(old, at.now, &mut *self.entropy);
        }
        self.inventory.forget_address(id);
        self.save_node(id);
        for (open, delivery) in withdrawn {
            // A reading is made again where the node is now; what was asked of the old BMC is not asked of another one.
            match open.owner {
                owner @ (Owner::Sync | Owner::Fresh | Owner::Plan(..)) => {
                    self.read_power(id, owner, at);
                }
                Owner::Call(_) | Owner::Task(_) => {
                    self.end_side_order(open, Change::Moved, delivery, at);
                }
            }
        }
    }

    /// The configuration names this node no more.
    fn remove_node(&mut self, id: NodeId, at: Moment) {
        let withdrawn = self.withdraw_side_orders(id, at);
        // A dry run that this completes is to find the node gone.
        let is_look = |(open, _): &(Open, Delivery)| matches!(open.owner, Owner::Plan(..));
        let (looks, others): (Vec<_>, Vec<_>) = withdrawn.into_iter().partition(is_look);
        for (open, delivery) in others {
            self.end_side_order(open, Change::Gone, delivery, at);
        }
        self.tasks.forget_node(id);
        if let Some(node) = self.inventory.remove(id) {
            let mut memory = node.memory;
            memory.knowledge = node.bmc.knowledge().clone();
            let ledger = &mut self.ledger;
            self.leaving
                .remember(node.settings.uuid, memory, ledger, at);
            self.leaving.close(node.bmc, at.now, &mut *self.entropy);
        }
        for (open, delivery) in looks {
            self.end_side_order(open, Change::Gone, delivery, at);
        }
    }

    /// Orders outside tasks that are under way to the node's BMC are taken back: what they were, and whether they can
    /// have arrived.
    fn withdraw_side_orders(&mut self, id: NodeId, at: Moment) -> Vec<(Open, Delivery)> {
        let orders = self.ledger.side_orders_of(id).into_iter();
        orders
            .filter_map(|order| self.withdraw(order, at))
            .collect()
    }

    /// Whoever asked for an order that was taken back hears what is known of it.
    fn end_side_order(&mut self, open: Open, change: Change, delivery: Delivery, at: Moment) {
        let node = self.inventory.get_mut(open.node);
        match open.owner {
            Owner::Task(_) | Owner::Sync => {}
            Owner::Fresh => {
                let Some(node) = node else { return };
                for call in node.take_calls() {
                    let refused = Refused::NoSuchNode(node.settings.name.clone());
                    self.outbox.answer(call, Err(refused));
                }
            }
            Owner::Plan(call, slot) => {
                let report = withdrawn(delivery, change.words(delivery));
                self.planned(call, slot, report, at);
            }
            Owner::Call(call) => {
                let (what, text) = (open.order.name(), change.words(delivery));
                let answer = Refused::Unanswered {
                    node: node.map_or_else(String::new, |node| node.settings.name.clone()),
                    what: what.to_owned(),
                    trouble: Trouble::Withdrawn,
                    delivery,
                    text: text.to_owned(),
                };
                self.outbox.answer(call, Err(answer));
                if open.order.changes_machine() {
                    self.note_order(open.node, format!("{what}: {text}"), None, true, at);
                }
            }
        }
    }
}

/// The time between the first readings of two nodes.
const FIRST_SYNC_APART: Duration = Duration::from_millis(2);
