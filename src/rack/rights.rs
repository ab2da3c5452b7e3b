//! Who may ask for what: roles on the whole rack or on some of its nodes, asked of the node that a
//! call was found to mean, in the turn that acts on it.
//!
//! Which role somebody holds is not decided here: whoever makes a call says what its asker may do
//! ([`Rights`]).

use super::call::{Call, Look, Refused};
use super::inventory::Inventory;
use super::node::Node;
use super::task::Task;
use super::tasks::Tasks;
use crate::bmc::vocabulary::{Effect, Order};
use crate::model::{BatchId, Role, TaskId};
use std::collections::BTreeSet;

/// What somebody may do: on the whole rack, and more on some nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    /// On the whole rack.
    pub everywhere: Option<Role>,
    /// On some nodes, by their names.
    pub limited: Vec<(Role, BTreeSet<String>)>,
}

impl Rights {
    /// A role on the whole rack and nothing else.
    pub fn everywhere_as(role: Role) -> Self {
        Self {
            everywhere: Some(role),
            limited: Vec::new(),
        }
    }

    /// Whether `role` is held on the whole rack. Who may do anything at all may look at everything.
    pub fn everywhere(&self, role: Role) -> bool {
        self.everywhere.is_some_and(|held| held >= role)
            || (role == Role::Reader && !self.limited.is_empty())
    }

    /// Whether `role` is held on the node of that name.
    pub fn on(&self, role: Role, node: &str) -> bool {
        let here = |(held, nodes): &(Role, BTreeSet<String>)| *held >= role && nodes.contains(node);
        self.everywhere(role) || self.limited.iter().any(here)
    }

    /// Whether `role` is held on some node at least.
    pub fn somewhere(&self, role: Role) -> bool {
        self.everywhere(role) || self.limited.iter().any(|(held, _)| *held >= role)
    }
}

/// What a call acts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope<'a> {
    /// The rack as a whole.
    Rack,
    /// These nodes, by name or uuid.
    Nodes(&'a [String]),
    /// The node of a task.
    Task(TaskId),
    /// These nodes of a batch, all of its nodes where none is named.
    Batch(BatchId, &'a [String]),
}

impl Call {
    /// Whether it changes nothing, and asks no BMC on its own account.
    pub fn only_looks(&self) -> bool {
        match self {
            Self::Look(_)
            | Self::AwaitTask { .. }
            | Self::AwaitBatch { .. }
            | Self::AwaitSweep { .. }
            | Self::Events { .. }
            | Self::History { .. } => true,
            Self::Order { order, .. } => order.only_reads(),
            Self::Sweep { .. }
            | Self::FreshNode(_)
            | Self::SetPower { .. }
            | Self::Start { .. }
            | Self::InjectNmi { .. }
            | Self::SetMaintenance { .. }
            | Self::Retry { .. }
            | Self::Accept { .. }
            | Self::Control { .. }
            | Self::StartBatch { .. }
            | Self::ControlBatch { .. }
            | Self::Pause { .. }
            | Self::Release { .. } => false,
        }
    }

    /// The role that it takes, and what it acts on; `None` where anybody may.
    ///
    /// Without a default: a new call says it here, or does not compile.
    pub fn needs(&self) -> Option<(Role, Scope<'_>)> {
        use std::slice::from_ref;
        let reader = Some((Role::Reader, Scope::Rack));
        let operator = |node| Some((Role::Operator, Scope::Nodes(from_ref(node))));
        match self {
            Self::Look(Look::Health) => None,
            // What is asked of a BMC, and what it says, may be more than names and power states.
            Self::Look(Look::Trace(node)) => operator(node),
            Self::Look(
                Look::Nodes
                | Look::NodesAfter { .. }
                | Look::Node(_)
                | Look::Tasks { .. }
                | Look::ActiveTasks { .. }
                | Look::Task(_)
                | Look::Batches { .. }
                | Look::Batch(_)
                | Look::Pausing
                | Look::Explain(_),
            )
            | Self::AwaitTask { .. }
            | Self::AwaitBatch { .. }
            | Self::AwaitSweep { .. }
            | Self::Events { .. }
            | Self::History { .. } => reader,
            Self::Sweep { nodes } => Some((Role::Operator, Scope::Nodes(nodes))),
            Self::FreshNode(node)
            | Self::SetPower { node, .. }
            | Self::Start { node, .. }
            | Self::InjectNmi { node, .. }
            | Self::SetMaintenance { node, .. }
            | Self::Retry { node, .. }
            | Self::Accept { node, .. } => operator(node),
            Self::Order { node, order, .. } => {
                Some((role_for(order), Scope::Nodes(from_ref(node))))
            }
            Self::Control { task, .. } => Some((Role::Operator, Scope::Task(*task))),
            Self::StartBatch { request, .. } => {
                Some((Role::Operator, Scope::Nodes(&request.nodes)))
            }
            Self::ControlBatch { batch, nodes, .. } => {
                Some((Role::Operator, Scope::Batch(*batch, nodes)))
            }
            // A pause stops everybody's tasks: a role on some nodes is not enough for it.
            Self::Pause { .. } | Self::Release { .. } => Some((Role::Operator, Scope::Rack)),
        }
    }
}

/// The role that an order outside any task takes.
fn role_for(order: &Order) -> Role {
    match order.effect() {
        Effect::Nothing => Role::Reader,
        Effect::Light | Effect::Setting | Effect::Level | Effect::Soft | Effect::Pulse => {
            Role::Operator
        }
        // A BMC that restarts is deaf for everybody, and nobody knows what a raw command does.
        Effect::Restart | Effect::Anything => Role::Admin,
    }
}

/// The names of the nodes that `call` acts on, if whoever has `rights` may make it.
///
/// # Errors
/// What it names is not there, or is not theirs. Nothing that was not found is ever permitted.
pub(super) fn permit(
    call: &Call,
    rights: &Rights,
    inventory: &Inventory,
    tasks: &Tasks,
) -> Result<Vec<String>, Refused> {
    let Some((role, scope)) = call.needs() else {
        return Ok(Vec::new());
    };
    let nodes = nodes_in(scope, inventory, tasks)?;
    if rights.everywhere(role) {
        return Ok(nodes);
    }
    let foreign = nodes.iter().filter(|node| !rights.on(role, node));
    let foreign: Vec<String> = foreign.cloned().collect();
    // A call on the whole rack names no node: a role on some nodes is not enough for it.
    if nodes.is_empty() || !foreign.is_empty() {
        return Err(Refused::NotPermitted {
            role,
            nodes: foreign,
        });
    }
    Ok(nodes)
}

/// The names of the nodes that a scope means, as the configuration has them now.
fn nodes_in(
    scope: Scope<'_>,
    inventory: &Inventory,
    tasks: &Tasks,
) -> Result<Vec<String>, Refused> {
    let of_task = |task: &Task| {
        let node = inventory.with_uuid(task.identity.node_uuid);
        // Where the node is gone, the name that it had then counts.
        let name = node.and_then(|id| inventory.get(id)).map(Node::name);
        name.unwrap_or(&task.identity.node).to_owned()
    };
    match scope {
        Scope::Rack => Ok(Vec::new()),
        Scope::Nodes(idents) => {
            let nodes = inventory.all_named(idents)?;
            let nodes = nodes.into_iter().filter_map(|id| inventory.get(id));
            Ok(nodes.map(|node| node.name().to_owned()).collect())
        }
        Scope::Task(id) => {
            let task = tasks.get(id).ok_or(Refused::NoSuchTask(id))?;
            Ok(vec![of_task(task)])
        }
        Scope::Batch(batch, idents) => {
            let members = tasks.members_named(batch, idents, inventory)?;
            let members = members.into_iter().filter_map(|id| tasks.get(id));
            Ok(members.map(of_task).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(role: Role, nodes: &[&str]) -> Rights {
        Rights {
            everywhere: None,
            limited: vec![(role, nodes.iter().map(|node| (*node).to_owned()).collect())],
        }
    }

    #[test]
    fn a_role_on_some_nodes_is_one_there_and_lets_look_everywhere() {
        let rights = limited(Role::Operator, &["n1"]);
        assert!(rights.on(Role::Operator, "n1"));
        assert!(!rights.on(Role::Admin, "n1"));
        assert!(!rights.on(Role::Operator, "n2"));
        assert!(rights.on(Role::Reader, "n2"));
        assert!(!rights.everywhere(Role::Operator));
        assert!(rights.somewhere(Role::Operator));
        assert!(!Rights::default().somewhere(Role::Reader));
    }
}
