//! BMCs of which it is not sure that they are their node's (design, rule 12): others than before,
//! until somebody accepts them, and those that two nodes have, until the configuration or a name
//! says otherwise. It is told, and tasks of such nodes stand still. `bmc` compares the GUIDs of one
//! BMC, `inventory` those of several.

use super::call::Refused;
use super::clock::Moment;
use super::history::entry;
use super::inventory::{Inventory, NodeId, Shared};
use super::node::{Effect, Node};
use super::tasks::Tasks;
use crate::bmc::Lock;
use crate::bmc::identity::as_written;
use crate::entropy::Entropy;
use crate::model::{HistoryKind, Identity, TaskId, TaskState, Who};
use uuid::Uuid;

impl Node {
    /// Tells that its BMC is another one, once.
    pub(super) fn take_alarm(&mut self, at: Moment) -> Vec<Effect> {
        let Some(text) = self.bmc.take_alarm() else {
            return Vec::new();
        };
        log::warn!("{}: {text}", self.settings.name);
        let told = entry(HistoryKind::Fault, text.clone(), true, at);
        vec![Effect::History(told), Effect::Event(text)]
    }

    /// Whether it was told that its BMC is another node's, too.
    fn is_told_shared(&self) -> bool {
        self.told_shared.is_some() || self.bmc.shared().is_some()
    }

    /// Tells that its BMC is another node's, too, or no more, and lets it take no order that
    /// changes power. `shared` is that in words, and whether orders are refused for it.
    fn note_shared(&mut self, shared: Option<(String, bool)>, at: Moment) -> Vec<Effect> {
        let refuses = shared.as_ref().is_some_and(|(_, refuses)| *refuses);
        let text = shared.map(|(text, _)| text);
        if self.bmc.shared() != text.as_deref().filter(|_| refuses) {
            self.bmc.set_shared(text.clone().filter(|_| refuses));
        }
        if self.told_shared == text {
            return Vec::new();
        }
        let over = || "its BMC is no other node's any more".to_owned();
        let (kind, told) = match &text {
            Some(text) => (HistoryKind::Fault, text.clone()),
            None => (HistoryKind::Recovered, over()),
        };
        self.told_shared = text;
        log::warn!("{}: {told}", self.settings.name);
        let kept = entry(kind, told.clone(), kind == HistoryKind::Fault, at);
        vec![Effect::History(kept), Effect::Event(told)]
    }

    /// What became of the lock beside its BMC's address, told where it is new.
    pub(super) fn take_lock(
        &mut self,
        lock: Lock,
        at: Moment,
        entropy: &mut dyn Entropy,
    ) -> Vec<Effect> {
        let bad = lock != Lock::Ours;
        let Some(text) = self.bmc.handle_lock(lock, at.now, entropy) else {
            return Vec::new();
        };
        let kind = match bad {
            true => HistoryKind::Fault,
            false => HistoryKind::Recovered,
        };
        log::warn!("{}: {text}", self.settings.name);
        let told = entry(kind, text.clone(), bad, at);
        vec![Effect::History(told), Effect::Event(text)]
    }

    /// Somebody says that the BMC that is there now shall be the node's.
    pub(super) fn accept_bmc(
        &mut self,
        guid: Uuid,
        who: &Who,
        at: Moment,
    ) -> Result<Vec<Effect>, Refused> {
        if !self.bmc.accept_guid(guid) {
            let (state, why) = match self.bmc.guids() {
                Some((_, new)) => (
                    "changed BMC",
                    format!("The BMC that is there has GUID {new}"),
                ),
                None => ("same BMC", "There is nothing to accept".to_owned()),
            };
            return Err(Refused::WrongState {
                action: "bmc accept".to_owned(),
                node: self.settings.name.to_string(),
                state: state.to_owned(),
                why,
            });
        }
        let text = format!("the BMC with GUID {guid} is accepted by {}", who.name);
        log::info!("{}: {text}", self.settings.name);
        let mut told = entry(HistoryKind::Order, text.clone(), false, at);
        told.by = Some(who.name.clone());
        Ok(vec![Effect::History(told), Effect::Event(text)])
    }
}

/// Looks who has the same BMC as the node `id`, and tells what is new of that: for it, and for the
/// nodes whose case it changes.
pub(super) fn watch_twins(
    inventory: &mut Inventory,
    id: NodeId,
    at: Moment,
) -> Vec<(NodeId, Vec<Effect>)> {
    let mut touched = inventory.note_address(id);
    touched.extend(inventory.note_guid(id, at.now));
    // Every settling of a node comes here: the usual case must cost nothing.
    if touched.is_empty() && inventory.is_alone(id) {
        debug_assert!(inventory.twins(id).is_empty(), "a twin was not noticed");
        return Vec::new();
    }
    touched.push(id);
    let mut effects = Vec::new();
    for id in touched {
        let twins = inventory.twins(id);
        let told = inventory.get(id).is_some_and(Node::is_told_shared);
        if twins.is_empty() && !told {
            inventory.note_alone(id);
            continue;
        }
        let by_address = |(_, shared): &(NodeId, Shared)| *shared == Shared::Address;
        let by_address = twins.iter().any(by_address);
        let shared = twin_in_words(inventory, id, twins);
        if let Some(node) = inventory.get_mut(id) {
            let told = node.note_shared(shared, at);
            if by_address && !told.is_empty() {
                // Addresses move: the other name may lead elsewhere by now.
                node.bmc.doubt_address();
            }
            effects.push((id, told));
        }
    }
    effects.retain(|(_, told)| !told.is_empty());
    effects
}

/// Which other node has the BMC of this one, in words, and whether its orders are refused for that.
fn twin_in_words(
    inventory: &Inventory,
    id: NodeId,
    twins: Vec<(NodeId, Shared)>,
) -> Option<(String, bool)> {
    let node = inventory.get(id)?;
    let mut twins = twins.into_iter().filter_map(|(other, shared)| {
        let other = inventory.get(other)?;
        let weakest = weaker(node.settings.care.identity, other.settings.care.identity);
        // One address is one BMC, whatever bmc_identity says: only a GUID may be ignored.
        let counts = shared == Shared::Address || weakest != Identity::Off;
        counts.then_some((other.name(), shared, weakest))
    });
    let (name, shared, weakest) = twins.next()?;
    let found = format!("{} {name}", same(node, shared));
    let remedy = match (shared, weakest) {
        (Shared::Address, _) => "give one of them another address",
        (Shared::Guid, Identity::Strict) => {
            "if these are two BMCs, write bmc_identity = \"warn\" for both"
        }
        // Whoever writes "warn" is told, and takes the risk that rule 12 forbids by default.
        (Shared::Guid, Identity::Warn | Identity::Off) => return Some((found, false)),
    };
    let refused = "neither takes an order that changes power";
    Some((format!("{found}: {refused}; {remedy}"), true))
}

/// What a node's BMC has in common with that of another.
fn same(node: &Node, shared: Shared) -> String {
    match (shared, node.noted, node.noted_guid) {
        (Shared::Address, Some(address), _) => {
            format!("its BMC is at {address}, as is that of")
        }
        (Shared::Guid, _, Some(guid)) => {
            let guid = as_written(guid);
            format!("its BMC has the GUID {guid}, as has that of")
        }
        (Shared::Address | Shared::Guid, _, _) => "its BMC is that of".to_owned(),
    }
}

/// What both nodes' settings allow.
fn weaker(one: Identity, other: Identity) -> Identity {
    match (one, other) {
        (Identity::Off, _) | (_, Identity::Off) => Identity::Off,
        (Identity::Warn, _) | (_, Identity::Warn) => Identity::Warn,
        (Identity::Strict, Identity::Strict) => Identity::Strict,
    }
}

/// The task that is to stand still because it is not sure that the BMC is its node's, and why.
pub(super) fn to_suspend(node: &Node, tasks: &Tasks) -> Option<(TaskId, String)> {
    let task = tasks.get(node.task?)?;
    match task.state() {
        // Rule 12: nothing that changes power may leave for what may be another machine.
        TaskState::Queued | TaskState::Running => Some((task.identity.id, node.bmc.wrong_bmc()?)),
        TaskState::Suspended
        | TaskState::Aborting
        | TaskState::RollingBack
        | TaskState::Succeeded
        | TaskState::Failed
        | TaskState::Aborted
        | TaskState::Cancelled
        | TaskState::RolledBack
        | TaskState::Stuck => None,
    }
}
