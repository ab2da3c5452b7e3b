//! A new configuration: nodes come, change, move and go.

use super::Rack;
use super::clock::Moment;
use super::inventory::NodeId;
use super::ledger::{Open, Owner};
use super::node::Memory;
use super::reload::{self, Change};
use super::settings::{NodeSettings, RackSettings};
use crate::model::Delivery;
use crate::time::Instant;
use uuid::Uuid;

impl Rack {
    /// Takes a new configuration. Nodes that are new are added, changed ones take their new
    /// settings, those that are gone are dropped: their sessions are closed, and what was learned
    /// of them is kept as long as history is.
    ///
    /// # Errors
    /// A node that is gone, or whose BMC has another address, has a task: nothing is changed, and
    /// the text says what to do.
    pub fn reload(
        &mut self,
        settings: RackSettings,
        nodes: Vec<NodeSettings>,
        now: Instant,
    ) -> Result<(), String> {
        let changes = reload::changes(&self.inventory, &nodes);
        // Checked before anything is changed: a configuration is taken as a whole or not at all.
        reload::check(&self.inventory, &changes)?;
        reload::check_never_off(&self.inventory, &self.tasks, &nodes)?;
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
            match self.inventory.with_uuid(settings.uuid) {
                Some(id) if changes.contains_key(&id) => self.move_node(id, settings, at),
                Some(id) => {
                    if let Some(node) = self.inventory.get_mut(id) {
                        node.change(settings, now, &mut *self.entropy);
                    }
                }
                None => {
                    let memory = self.removed.recall(settings.uuid);
                    self.add_node(settings, memory, at);
                }
            }
        }
        reload::tell_never_off(&self.inventory, &mut self.tasks);
        self.inventory.arrange(&order);
        self.traces.share(&mut self.inventory);
        for node in self.inventory.ids() {
            self.apply_maintenance(node, at);
            self.drain_node(node, at);
        }
        self.finish(at);
        Ok(())
    }

    pub(super) fn add_node(&mut self, settings: NodeSettings, memory: Option<Memory>, at: Moment) {
        let (inventory, ledger) = (&mut self.inventory, &mut self.ledger);
        reload::add_node(settings, memory, inventory, ledger, at);
    }

    /// The node's BMC is to be found elsewhere.
    fn move_node(&mut self, id: NodeId, settings: NodeSettings, at: Moment) {
        let withdrawn = self.withdraw_side_orders(id, at);
        if let Some(node) = self.inventory.get_mut(id) {
            let old = node.moves(settings, at.now);
            node.save(&mut self.ledger);
            self.removed.close(old, at.now, &mut *self.entropy);
        }
        // Late answers of the old BMC must not be taken for those of the new one (rule 12).
        self.inventory.forget_address(id);
        for (open, delivery) in withdrawn {
            // A reading is made again where the node is now; what was asked of the old BMC is not
            // asked of another one.
            match open.owner {
                owner @ (Owner::Sync | Owner::Fresh | Owner::Plan(..)) => {
                    self.read_power(id, owner, at);
                }
                Owner::Call(_) | Owner::Task(_) | Owner::Ahead(_) => {
                    self.end_side_order(&open, Change::Moved, delivery, at);
                }
            }
        }
    }

    /// The configuration names this node no more.
    fn remove_node(&mut self, id: NodeId, at: Moment) {
        let withdrawn = self.withdraw_side_orders(id, at);
        // Readings of dry runs end last: a dry run that this completes must find the node gone.
        let is_look = |(open, _): &(Open, Delivery)| open.owner.is_plan();
        let (looks, others): (Vec<_>, Vec<_>) = withdrawn.into_iter().partition(is_look);
        for (open, delivery) in others {
            self.end_side_order(&open, Change::Gone, delivery, at);
        }
        self.tasks.forget_node(id);
        let entropy = &mut *self.entropy;
        let (inventory, removed) = (&mut self.inventory, &mut self.removed);
        reload::take_out(id, inventory, removed, &mut self.ledger, at, entropy);
        // A log-in under way ends with its node, and nobody would say so later.
        self.log_ins.note(id, None, at.now);
        for (open, delivery) in looks {
            self.end_side_order(&open, Change::Gone, delivery, at);
        }
    }

    /// Orders outside tasks that are under way to the node's BMC are taken back: what they were,
    /// and whether they can have arrived.
    fn withdraw_side_orders(&mut self, id: NodeId, at: Moment) -> Vec<(Open, Delivery)> {
        let orders = self.ledger.side_orders_of(id).into_iter();
        orders
            .filter_map(|order| self.withdraw(order, at))
            .collect()
    }
}
