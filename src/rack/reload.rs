//! Taking a new configuration: nodes that stay, that are to be found elsewhere, that come, and that
//! go.
//!
//! What is under way for a node that stays goes on. Where the node goes, or its BMC has another
//! address (which may be another machine), the orders to the old BMC are withdrawn, and whoever
//! asked for them hears what is known of them.

use super::clock::Moment;
use super::inventory::{Inventory, NodeId};
use super::ledger::Ledger;
use super::node::{Memory, Node, bmc_settings};
use super::removed::RemovedNodes;
use super::settings::NodeSettings;
use super::sync;
use super::tasks::Tasks;
use crate::bmc::Bmc;
use crate::entropy::Entropy;
use crate::model::{Delivery, PowerState, Short};
use crate::time::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Why a node's orders are withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// The configuration names the node no more.
    Gone,
    /// Its BMC is to be found elsewhere.
    Moved,
}

impl Change {
    /// For whoever waits for an order to the old BMC.
    pub(super) fn words(self, delivery: Delivery) -> &'static str {
        match (self, delivery) {
            (Self::Gone, Delivery::NotSent) => {
                "it was not sent: the configuration names the node no more"
            }
            (Self::Gone, Delivery::Unknown) => {
                "it may have arrived: it had left when the configuration took the node away; its answer was not awaited"
            }
            (Self::Moved, Delivery::NotSent) => {
                "it was not sent: the configuration gave the node's BMC another address"
            }
            (Self::Moved, Delivery::Unknown) => {
                "it may have arrived: it had left for the old address when the configuration gave the node's BMC another one; its answer was not awaited"
            }
        }
    }
}

/// The nodes that go or move.
pub(super) fn changes(inventory: &Inventory, nodes: &[NodeSettings]) -> BTreeMap<NodeId, Change> {
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
pub(super) fn check(
    inventory: &Inventory,
    changes: &BTreeMap<NodeId, Change>,
) -> Result<(), String> {
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
        let task = Short::task(task);
        return Err(format!(
            "node {name} {what}, but task {task} runs on it: wait for its end or abort it"
        ));
    }
    Ok(())
}

/// A task goes on as it was taken: where it could still switch off a node that is never to be
/// switched off from now on, the configuration has to wait.
pub(super) fn check_never_off(
    inventory: &Inventory,
    tasks: &Tasks,
    nodes: &[NodeSettings],
) -> Result<(), String> {
    for new in nodes {
        let node = inventory.with_uuid(new.uuid);
        let Some(node) = node.and_then(|id| inventory.get(id)) else {
            continue;
        };
        let Some(task) = node.task.and_then(|task| tasks.get(task)) else {
            continue;
        };
        // Where it is forbidden already, a task of an earlier life sends none.
        let comes = new.power.never_off && !node.settings.power.never_off;
        if comes && task.may_switch_off() {
            let operation = task.identity.operation;
            let (name, task) = (&new.name, Short::task(task.identity.id));
            return Err(format!(
                "power_off = false for node {name}, but task {task} ({operation}) runs on it: wait for its end or abort it"
            ));
        }
    }
    Ok(())
}

/// The tasks that go on follow the configuration: a rollback that is asked for from now on is
/// refused where it would switch off a node that is never to be.
pub(super) fn tell_never_off(inventory: &Inventory, tasks: &mut Tasks) {
    for node in inventory.iter() {
        if let Some(task) = node.task.and_then(|task| tasks.get_mut(task)) {
            let never = node.settings.power.never_off;
            task.sequence.set_never_off(never);
        }
    }
}

impl Node {
    /// A node that stays where it is takes its new settings.
    pub(super) fn change(
        &mut self,
        settings: NodeSettings,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        if self.settings != settings {
            let other_login = self.settings.login != settings.login;
            let bmc = bmc_settings(&settings);
            self.bmc.replace_settings(bmc, now, entropy);
            self.settings = settings;
            // What refused the old credentials says nothing of the new
            // ones: the node is read at once.
            if other_login {
                self.try_log_in(now);
            }
        }
    }

    /// Its BMC is to be found elsewhere, and may be another one, of another machine: nothing that
    /// was learned or read of the old one is taken for true. The old one comes back.
    pub(super) fn moves(&mut self, settings: NodeSettings, now: Instant) -> Bmc {
        let bmc = Bmc::new(bmc_settings(&settings), Arc::default(), now);
        self.settings = settings;
        self.forget_machine(now);
        std::mem::replace(&mut self.bmc, bmc)
    }
}

/// A node that was there before is known still.
pub(super) fn add_node(
    settings: NodeSettings,
    mut memory: Option<Memory>,
    inventory: &mut Inventory,
    ledger: &mut Ledger,
    at: Moment,
) -> NodeId {
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
    let mut node = Node::new(settings, memory, at);
    // Design, section 6 ("The first minute"): readings that are made at once part with the second.
    node.second_sync = Some(sync::share(inventory.len()));
    node.quarantine = ledger.quarantine.hold_on(node.settings.uuid).map(Box::new);
    if is_new {
        node.save(ledger);
    }
    let id = inventory.add(node);
    inventory.set_timer(id, Some(at.now));
    id
}

/// Takes a node out that the configuration names no more; what was learned of it is kept for a
/// while.
pub(super) fn take_out(
    id: NodeId,
    inventory: &mut Inventory,
    removed: &mut RemovedNodes,
    ledger: &mut Ledger,
    at: Moment,
    entropy: &mut dyn Entropy,
) {
    if let Some(node) = inventory.remove(id) {
        let mut memory = node.memory;
        memory.knowledge = node.bmc.knowledge().clone();
        removed.remember(node.settings.uuid, memory, ledger, at);
        removed.close(node.bmc, at.now, entropy);
    }
}
