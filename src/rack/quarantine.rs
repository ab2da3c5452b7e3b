//! Entries of the journal that cannot be read. The daemon runs all the same: what an entry may be
//! about takes no order that changes power until a person discards it (`rackbmcd --discard`), and
//! everything else is as always.
//!
//! Filled by `restore`; asked by whoever starts a task, lets one begin, or shows what there is. An
//! unreadable entry is never written over, so that a program that can read it finds it again.
//!
//! | entry | whom it holds |
//! | --- | --- |
//! | a task's | the node that what is left of it names, or that its batch or a node's own entry names; else all nodes |
//! | a batch's | the nodes of its tasks that have not ended: without it nobody knows what they wait for |
//! | a node's | that node; where its key is damaged, each node without an entry |
//! | history | the node that it names; it decides nothing, so that it holds nobody where it names none. (only a node's first and last are read at the start; another is found when somebody reads the history) |
//! | the pause | the rack counts as paused; releasing it replaces the entry |
//! | the last sign of life, an unknown one | nobody: patience stands still over the restart, which harms nobody |

use super::call::Refused;
use super::clock::Moment;
use super::inventory::Inventory;
use super::ledger::Ledger;
use super::node::Node;
use super::record::Table;
use super::task::Task;
use super::tasks::Tasks;
use crate::model::{self, TaskId, TaskState};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// An entry that cannot be read, as it came from the journal.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub(super) table: Table,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) why: String,
}

/// Whose power must not be changed because of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Held {
    Nobody,
    Nodes(BTreeSet<Uuid>),
    All,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    entries: Vec<(Unreadable, Held)>,
}

impl Unreadable {
    /// `tasks 01a0...`, as `rackbmcd --discard` takes it.
    fn name(&self) -> String {
        format!("{} {}", self.table.name(), self.key)
    }

    /// What can still be read of it.
    fn remains(&self) -> Value {
        let value: Value = serde_json::from_slice(&self.value).unwrap_or_default();
        // Behind this word stands a value that could not be brought to the newest format.
        match value.get("was").and_then(Value::as_str) {
            Some(was) => serde_json::from_str(was).unwrap_or_default(),
            None => value,
        }
    }
}

impl Quarantine {
    /// What keeps power orders from a node, where an entry does.
    pub(super) fn hold_on(&self, node: Uuid) -> Option<Hold> {
        let holds = |held: &Held| match held {
            Held::Nobody => false,
            Held::Nodes(nodes) => nodes.contains(&node),
            Held::All => true,
        };
        let mut holding = self.entries.iter().filter(|(_, held)| holds(held));
        holding.next().map(|(entry, _)| Hold {
            entry: entry.name(),
            why: entry.why.clone(),
        })
    }

    /// The tasks whose records are among them: nobody knows whether they have ended.
    fn tasks(&self) -> BTreeSet<TaskId> {
        let tasks = self.entries.iter();
        let tasks = tasks.filter(|(entry, _)| entry.table == Table::Tasks);
        tasks
            .filter_map(|(entry, _)| entry.key.parse().ok())
            .collect()
    }

    /// The entry is replaced by one that can be read.
    pub(super) fn forget(&mut self, table: Table, key: &str) {
        self.entries
            .retain(|(entry, _)| (entry.table, entry.key.as_str()) != (table, key));
    }

    /// Every entry, for those who look.
    pub(super) fn views(&self, inventory: &Inventory) -> Vec<model::UnreadableEntry> {
        let entries = self.entries.iter();
        entries
            .map(|(entry, held)| model::UnreadableEntry {
                table: entry.table.name().to_owned(),
                key: entry.key.clone(),
                why: entry.why.clone(),
                nodes: names_of(held, inventory),
            })
            .collect()
    }
}

/// What keeps power orders from a node: an entry, and why it cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hold {
    entry: String,
    why: String,
}

impl Hold {
    pub(super) fn in_words(&self) -> String {
        format!("the journal's unreadable entry {}", self.entry)
    }
}

impl Node {
    /// A power order is refused where an unreadable entry may be about the node.
    pub(super) fn check_quarantine(&self) -> Result<(), Refused> {
        let Some(hold) = &self.quarantine else {
            return Ok(());
        };
        Err(Refused::Unreadable {
            node: self.settings.name.to_string(),
            entry: hold.entry.clone(),
            why: hold.why.clone(),
        })
    }
}

/// Takes note of the entries that cannot be read, and of whom they hold; `without_entry` are the
/// nodes that have no entry of their own. To be called when everything else has been taken up, and
/// before anything leaves. Gives the tasks that are to stand still, each with the reason.
pub(super) fn take_note_of(
    unreadable: Vec<Unreadable>,
    without_entry: &BTreeSet<Uuid>,
    inventory: &mut Inventory,
    tasks: &mut Tasks,
    ledger: &mut Ledger,
    at: Moment,
) -> Vec<(TaskId, String)> {
    for entry in unreadable {
        if entry.table == Table::History
            && let Some((node, number)) = entry.key.split_once('/')
            && let (Ok(node), Ok(number)) = (node.parse(), number.parse())
        {
            // Its number counts all the same: a new entry must not be written over it.
            tasks.history.restore(number, node, at.wall);
        }
        let held = held_by(&entry, tasks, inventory, without_entry);
        let names = names_of(&held, inventory).join(", ");
        let holds = match &held {
            Held::Nobody => "it holds no node".to_owned(),
            Held::Nodes(_) | Held::All => {
                format!("no power order for {names} until it is discarded")
            }
        };
        let (name, why) = (entry.name(), &entry.why);
        log::error!("the journal's entry {name} cannot be read: {why}; {holds}");
        ledger.quarantine.entries.push((entry, held));
    }
    // Nobody knows whether these have ended: their batches must not end without them.
    tasks.lost = ledger.quarantine.tasks();
    for node in inventory.iter_mut() {
        node.quarantine = ledger.quarantine.hold_on(node.settings.uuid).map(Box::new);
    }
    let stands_still = |task: &Task| {
        let hold = inventory.get(task.node?)?.quarantine.as_ref()?;
        let by = format!("rackbmcd, because of {}", hold.in_words());
        Some((task.identity.id, by))
    };
    tasks.active().filter_map(stands_still).collect()
}

/// Rollbacks whose node no entry holds: once the rack is not paused, nothing holds them back.
pub(super) fn free_returns(tasks: &Tasks, inventory: &Inventory) -> Vec<TaskId> {
    let returns = tasks.active();
    let returns = returns.filter(|task| task.state() == TaskState::RollingBack);
    let is_free = |task: &&Task| {
        let node = task.node.and_then(|node| inventory.get(node));
        node.is_some_and(|node| node.quarantine.is_none())
    };
    let free = returns.filter(is_free);
    free.map(|task| task.identity.id).collect()
}

/// Whom an entry holds; `without_entry` are the nodes that have none of their own.
fn held_by(
    entry: &Unreadable,
    tasks: &Tasks,
    inventory: &Inventory,
    without_entry: &BTreeSet<Uuid>,
) -> Held {
    let remains = entry.remains();
    let id = entry.key.parse::<Uuid>().ok();
    let node_at = |path: &str| remains.pointer(path)?.as_str()?.parse::<Uuid>().ok();
    let one = |node: Uuid| Held::Nodes(BTreeSet::from([node]));
    match entry.table {
        Table::Tasks => {
            let told = node_at("/identity/node_uuid");
            let node = told.or_else(|| node_with_task(id?, tasks, inventory));
            // Nobody can tell whose task it was: an order may be on its way to any node (rule 3).
            node.map_or(Held::All, one)
        }
        Table::Batches => {
            let of_it = |batch| match id {
                Some(id) => batch == id,
                // Its key is damaged: it can only be a batch that tasks name and that is not there.
                None => tasks.batch(batch).is_none(),
            };
            let held = tasks.active().map(|task| &task.identity);
            let held = held.filter(|task| task.batch.is_some_and(of_it));
            Held::Nodes(held.map(|task| task.node_uuid).collect())
        }
        Table::Nodes => match id {
            Some(id) => one(id),
            // Every node that was ever configured has an entry: this
            // one is of a node that lacks one.
            None => Held::Nodes(without_entry.clone()),
        },
        Table::History => node_at("/node").map_or(Held::Nobody, one),
        Table::Rack | Table::Audit => Held::Nobody,
    }
}

/// The node of a task whose own record does not tell it.
fn node_with_task(id: TaskId, tasks: &Tasks, inventory: &Inventory) -> Option<Uuid> {
    let mut members = tasks.batches().flat_map(|batch| batch.members());
    let member = members.find(|member| member.task == id);
    let named = member.and_then(|member| inventory.named(&member.node).ok());
    let remembers = |node: &&Node| {
        let late = node.memory.late.iter().any(|late| late.task == id);
        node.memory.suspended == Some(id) || late
    };
    let node = named.and_then(|id| inventory.get(id));
    let node = node.or_else(|| inventory.iter().find(remembers));
    node.map(|node| node.settings.uuid)
}

fn names_of(held: &Held, inventory: &Inventory) -> Vec<String> {
    let holds = |node: &&Node| match held {
        Held::Nobody => false,
        Held::Nodes(nodes) => nodes.contains(&node.settings.uuid),
        Held::All => true,
    };
    let nodes = inventory.iter().filter(holds);
    nodes.map(|node| node.settings.name.to_string()).collect()
}
