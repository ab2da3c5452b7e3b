//! Taking a new configuration: nodes that stay, that are to be found elsewhere, that come, and that go.
//!
//! What is under way for a node that stays goes on. Where the node goes, or its BMC has another address (which may be
//! another machine), the orders to the old BMC are withdrawn, and whoever asked for them hears what is known of them.

use super::Rack;
use super::call::{PowerState, Refused};
use super::inventory::NodeId;
use super::node::{Labels, Memory, Node, bmc_settings};
use super::run::{Owner, Parked, withdrawn};
use super::settings::{NodeSettings, RackSettings};
use crate::bmc::vocabulary::{Delivery, OrderId, Trouble};
use crate::bmc::{Bmc, Knowledge};
use crate::model::HistoryKind;
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
        let changes = self.changes(&nodes);
        self.check_changes(&changes)?;
        let stagger = self.settings.power_on_stagger;
        self.gate.change_stagger(stagger, settings.power_on_stagger);
        self.settings = settings;
        for (id, change) in &changes {
            if *change == Change::Gone {
                self.remove_node(*id, now);
            }
        }
        let order: Vec<Uuid> = nodes.iter().map(|node| node.uuid).collect();
        for settings in nodes {
            match self.inventory.with_uuid(settings.uuid) {
                None => self.add_node(settings, now),
                Some(id) if changes.contains_key(&id) => self.move_node(id, settings, now),
                Some(id) => self.change_node(id, settings, now),
            }
        }
        self.inventory.arrange(&order);
        for node in self.inventory.ids() {
            self.apply_maintenance(node, now);
            self.settle(node, now);
        }
        self.unscheduled = true;
        self.wind_up(now);
        Ok(())
    }

    /// The nodes that go or move.
    fn changes(&self, nodes: &[NodeSettings]) -> BTreeMap<NodeId, Change> {
        let new: BTreeMap<Uuid, &NodeSettings> =
            nodes.iter().map(|node| (node.uuid, node)).collect();
        let change = |id: NodeId| {
            let old = &self.inventory[id].settings;
            match new.get(&old.uuid) {
                None => Some((id, Change::Gone)),
                Some(new) if new.address != old.address => Some((id, Change::Moved)),
                Some(_) => None,
            }
        };
        self.inventory
            .ids()
            .into_iter()
            .filter_map(change)
            .collect()
    }

    /// A task is never cut off by a configuration: whoever wants that aborts it.
    fn check_changes(&self, changes: &BTreeMap<NodeId, Change>) -> Result<(), String> {
        for (id, change) in changes {
            let node = &self.inventory[*id];
            let Some(task) = node.task else { continue };
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

    /// A node that was there before is known still.
    pub(super) fn add_node(&mut self, settings: NodeSettings, now: Instant) {
        let mut known = self.leaving.memories.remove(&settings.uuid);
        let back = known.as_mut().and_then(|memory| {
            let gone = memory.gone_since.take();
            // What was read before it went is shown as a reading with its age.
            gone.inspect(|_| memory.shown = PowerState::Unknown)
        });
        let is_new = known.is_none() || back.is_some();
        let created = Memory {
            created_at: self.wall(now),
            ..Memory::default()
        };
        let mut node = Node::new(settings, &self.settings.name, known.unwrap_or(created), now);
        // First readings are spread, so that a rack's BMCs are not all asked in one instant.
        let before = u32::try_from(self.inventory.len()).unwrap_or(u32::MAX);
        node.next_sync = now + (FIRST_SYNC_APART * before).min(self.settings.sync_interval);
        let id = self.inventory.add(node);
        if is_new {
            self.save_node(id);
        }
        self.set_timer(id);
    }

    /// A node that stays where it is takes its new settings.
    fn change_node(&mut self, id: NodeId, settings: NodeSettings, now: Instant) {
        let node = &mut self.inventory[id];
        if node.settings != settings {
            let bmc = bmc_settings(&settings);
            node.bmc.replace_settings(bmc, now, &mut *self.entropy);
            node.settings = settings;
        }
        node.labels = Labels::new(&node.settings, &self.settings.name);
    }

    /// The node's BMC is to be found elsewhere, and may be another one, of another machine: nothing that was learned or
    /// read of the old one is taken for true.
    fn move_node(&mut self, id: NodeId, settings: NodeSettings, now: Instant) {
        let withdrawn = self.withdraw_side_orders(id, now);
        let node = &mut self.inventory[id];
        let bmc = Bmc::new(bmc_settings(&settings), Knowledge::default(), now);
        let old = std::mem::replace(&mut node.bmc, bmc);
        node.labels = Labels::new(&settings, &self.settings.name);
        node.settings = settings;
        node.forget_machine(now);
        self.inventory.forget_address(id);
        self.close(old, now);
        self.save_node(id);
        for (owner, delivery) in withdrawn {
            // A reading is made again where the node is now; what was asked of the old BMC is not asked of another one.
            match owner {
                Owner::Sync(_) | Owner::Fresh(_) | Owner::Plan(..) => {
                    self.read_power(id, owner, now);
                }
                owner => self.end_side_order(owner, Change::Moved, delivery, now),
            }
        }
    }

    /// The configuration names this node no more.
    fn remove_node(&mut self, id: NodeId, now: Instant) {
        let withdrawn = self.withdraw_side_orders(id, now);
        // A dry run that this completes is to find the node gone.
        let is_look = |(owner, _): &(Owner, Delivery)| matches!(owner, Owner::Plan(..));
        let (looks, others): (Vec<_>, Vec<_>) = withdrawn.into_iter().partition(is_look);
        for (owner, delivery) in others {
            self.end_side_order(owner, Change::Gone, delivery, now);
        }
        for task in self.tasks.values_mut() {
            task.node.take_if(|node| *node == id);
        }
        if let Some(node) = self.inventory.remove(id) {
            self.take_leave(node, now);
        }
        for (owner, delivery) in looks {
            self.end_side_order(owner, Change::Gone, delivery, now);
        }
    }

    /// Orders outside tasks that are under way to the node's BMC are taken back: whose they were, and whether they can
    /// have arrived.
    fn withdraw_side_orders(&mut self, node: NodeId, now: Instant) -> Vec<(Owner, Delivery)> {
        let here: Vec<OrderId> = self
            .owners
            .iter()
            .filter(|(_, owner)| owner.side_node() == Some(node))
            .map(|(id, _)| *id)
            .collect();
        let mut withdrawn = Vec::new();
        for id in here {
            let Some(owner) = self.owners.remove(&id) else {
                continue;
            };
            self.journal
                .unpark(|parked| matches!(parked, Parked::Expert(parked, _) if *parked == id));
            self.transmits.retain(|outgoing| outgoing.order != Some(id));
            let bmc = &mut self.inventory[node].bmc;
            withdrawn.push((owner, bmc.withdraw(id, now, &mut *self.entropy)));
        }
        withdrawn
    }

    /// Whoever asked for an order that was taken back hears what is known of it.
    fn end_side_order(&mut self, owner: Owner, change: Change, delivery: Delivery, now: Instant) {
        match owner {
            Owner::Task(_) | Owner::Sync(_) => {}
            Owner::Fresh(node) => {
                let place = &mut self.inventory[node];
                let name = place.settings.name.clone();
                for (call, _) in std::mem::take(&mut place.fresh_calls) {
                    self.answer(call, Err(Refused::NoSuchNode(name.clone())));
                }
            }
            Owner::Plan(call, _, slot) => {
                let report = withdrawn(delivery, change.words(delivery));
                self.planned(call, slot, &report, now);
            }
            Owner::Call(call, node, what) | Owner::Expert(call, node, what) => {
                let text = change.words(delivery);
                if matches!(owner, Owner::Expert(..)) {
                    let text = format!("{what}: {text}");
                    self.note_history(node, HistoryKind::Order, text, None, None, true, now);
                }
                let answer = Refused::Unanswered {
                    node: self.inventory[node].settings.name.clone(),
                    what: what.to_owned(),
                    trouble: Trouble::Withdrawn,
                    text: text.to_owned(),
                };
                self.answer(call, Err(answer));
            }
        }
    }
}

/// The time between the first readings of two nodes.
const FIRST_SYNC_APART: Duration = Duration::from_millis(2);
