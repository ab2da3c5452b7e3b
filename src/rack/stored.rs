//! What the rack keeps in the journal: types of their own, apart from the running ones, and their
//! reading and writing.
//!
//! Every name in here stands on disks. A change of any of them raises the format: `migrate` has the
//! steps, and `tests/journal/README.md` says how. Programs write the newest format only; what they
//! read was brought to it before.

mod alive;
mod batch;
mod history;
mod intent;
pub mod migrate;
mod node;
mod pause;
mod task;

use super::clock;
use super::ledger::ALIVE;
use super::record::{TRAIL_END, Table};
use crate::bmc::RefusedLogIns;
use crate::bmc::vocabulary::OrderId;
use crate::model::write_json;
use crate::time::WallTime;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use uuid::Uuid;

pub(super) use task::TaskRecord;

/// An order outside tasks that may change its machine, as it is remembered where the rack has a
/// second host: that one has no other way to know of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Intent {
    pub(super) node: Uuid,
    /// What was asked for, in words.
    pub(super) what: String,
    pub(super) by: String,
    pub(super) at: WallTime,
}

/// An entry of the journal, taken up as what it is.
pub(super) enum Entry {
    Task(Box<TaskRecord>),
    Batch(Uuid, super::batch::BatchRecord),
    Node(Uuid, Box<super::node::Memory>),
    /// Its number, the node and what happened to it.
    History(u64, Uuid, crate::model::HistoryEntry),
    Pause(super::gate::Pause),
    Alive(clock::Alive),
    /// An order outside tasks that may change its machine.
    Intent(OrderId, Intent),
    /// Of another room.
    Foreign,
}

/// Reads an entry.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn read(table: Table, key: &str, value: &[u8]) -> Result<Entry, String> {
    entry(table, key, value).map_err(|why| migrate::not_brought(value).unwrap_or(why))
}

fn entry(table: Table, key: &str, value: &[u8]) -> Result<Entry, String> {
    Ok(match table {
        Table::Tasks => {
            let record: TaskRecord = from_json::<task::Task>(value)?.into();
            if record.identity.id != id(key)? {
                return Err(format!("it is the record of task {}", record.identity.id));
            }
            Entry::Task(Box::new(record))
        }
        Table::Batches => Entry::Batch(id(key)?, from_json::<batch::Batch>(value)?.into()),
        Table::Nodes => Entry::Node(id(key)?, Box::new(from_json::<node::Node>(value)?.into())),
        Table::History => {
            let (number, node, entry) = happened(key, value)?;
            Entry::History(number, node, entry)
        }
        Table::Rack => match key {
            PAUSE => Entry::Pause(from_json::<pause::Pause>(value)?.into()),
            ALIVE => Entry::Alive(from_json::<alive::Alive>(value)?.into()),
            TRAIL_END => Entry::Foreign,
            key if key.starts_with(INTENT) => {
                let order = key[INTENT.len()..]
                    .parse()
                    .map_err(|_| "its key is no order")?;
                Entry::Intent(OrderId(order), from_json::<intent::Intent>(value)?.into())
            }
            // The entry may be a newer program's: it is named, and left as it is.
            _ => return Err("this rackbmcd knows no such entry".to_owned()),
        },
        Table::Audit => Entry::Foreign,
    })
}

/// Why an entry of the journal cannot be read, where it cannot: such an entry may be discarded.
pub fn unreadable(table: Table, key: &str, value: &[u8]) -> Option<String> {
    read(table, key, value).err()
}

/// The log-ins that were refused in a row, as a node's entry has them.
///
/// # Errors
/// The entry cannot be read.
pub fn refused_log_ins(value: &[u8]) -> Result<Option<RefusedLogIns>, String> {
    let memory = super::node::Memory::from(from_json::<node::Node>(value)?);
    Ok(memory.knowledge.log_ins.clone())
}

/// A node's entry with others.
///
/// # Errors
/// The entry cannot be read.
pub fn with_refused_log_ins(
    value: &[u8],
    refused: Option<RefusedLogIns>,
) -> Result<Arc<[u8]>, String> {
    let mut memory = super::node::Memory::from(from_json::<node::Node>(value)?);
    Arc::make_mut(&mut memory.knowledge).log_ins = refused;
    Ok(node(&memory))
}

/// The value of a task's entry.
pub(super) fn task(record: TaskRecord) -> Arc<[u8]> {
    to_json(&task::Task::from(record))
}

/// The value of a batch's entry.
pub(super) fn batch(record: &super::batch::BatchRecord) -> Arc<[u8]> {
    to_json(&batch::Batch::from(record))
}

/// The value of a node's entry.
pub(super) fn node(memory: &super::node::Memory) -> Arc<[u8]> {
    to_json(&node::Node::from(memory))
}

/// The value of an entry of a node's history.
pub(super) fn history(node: Uuid, entry: &crate::model::HistoryEntry) -> Arc<[u8]> {
    to_json(&history::History {
        node,
        entry: entry.into(),
    })
}

/// The key of an entry of a node's history: keys sort by node, and then as the numbers do.
pub(super) fn history_key(node: Uuid, number: u64) -> String {
    // Twenty digits hold every u64, so that keys sort as their numbers do.
    format!("{}{number:020}", history_prefix(node))
}

/// How the keys of a node's history begin.
pub(super) fn history_prefix(node: Uuid) -> String {
    format!("{node}/")
}

/// An entry of a node's history, and its number.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn history_entry(
    key: &str,
    value: &[u8],
) -> Result<(u64, crate::model::HistoryEntry), String> {
    let read = happened(key, value).map(|(number, _, entry)| (number, entry));
    read.map_err(|why| migrate::not_brought(value).unwrap_or(why))
}

fn happened(key: &str, value: &[u8]) -> Result<(u64, Uuid, crate::model::HistoryEntry), String> {
    let place = key.split_once('/').and_then(|(node, number)| {
        let (node, number): (Uuid, u64) = (node.parse().ok()?, number.parse().ok()?);
        Some((node, number))
    });
    let (node, number) = place.ok_or("its key is no node and number")?;
    let stored: history::History = from_json(value)?;
    // A key that contradicts its value tells that the entry was damaged or moved.
    if stored.node != node {
        return Err(format!("it is about the node {}", stored.node));
    }
    Ok((number, node, stored.entry.into()))
}

/// The value of the entry [`PAUSE`].
pub(super) fn pause(pause: &super::gate::Pause) -> Arc<[u8]> {
    to_json(&pause::Pause::from(pause))
}

/// The value of the entry [`ALIVE`].
pub(super) fn alive(alive: &clock::Alive) -> Arc<[u8]> {
    to_json(&alive::Alive::from(alive))
}

/// The key of an order outside tasks, and its value.
pub(super) fn intent(order: OrderId, intent: &Intent) -> (String, Arc<[u8]>) {
    (intent_key(order), to_json(&intent::Intent::from(intent)))
}

/// The key of an order outside tasks.
pub(super) fn intent_key(order: OrderId) -> String {
    format!("{INTENT}{}", order.0)
}

fn id(key: &str) -> Result<Uuid, String> {
    key.parse().map_err(|_| "its key is no uuid".to_owned())
}

/// Exactly as long as it is: records wait in memory for the disk, and spare room of thousands would
/// be megabytes.
fn to_json<T: Serialize>(value: &T) -> Arc<[u8]> {
    write_json(Vec::with_capacity(USUAL), value).into()
}

/// Bytes that few records need more than: they are written without being moved meanwhile.
const USUAL: usize = 2048;

fn from_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

/// How the keys of orders outside tasks begin in [`Table::Rack`].
const INTENT: &str = "intent/";
/// The key of the pause in [`Table::Rack`].
pub(super) const PAUSE: &str = "pause";

#[cfg(test)]
mod tests;
