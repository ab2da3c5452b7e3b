//! What must be remembered over a restart: the words between the core, which says it, and the
//! store, which does it.
//!
//! The core hands out [`Write`]s and is told when they are durable; at the start it is given every
//! entry again. What the bytes mean is the core's own affair.

use std::sync::Arc;

/// A part of the memory; keys are unique within one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// Tasks, by id.
    Tasks,
    /// Batches, by id.
    Batches,
    /// What is known of nodes and their BMCs, by uuid.
    Nodes,
    /// What concerns the rack as a whole, such as its pause.
    Rack,
    /// What happened to nodes.
    History,
    /// Who changed what: the audit trail.
    Audit,
}

impl Table {
    /// All of them, in the order in which they are loaded.
    pub const ALL: [Self; 6] = [
        Self::Tasks,
        Self::Batches,
        Self::Nodes,
        Self::Rack,
        Self::History,
        Self::Audit,
    ];

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its name on the disk, the same for ever.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Batches => "batches",
            Self::Nodes => "nodes",
            Self::Rack => "rack",
            Self::History => "history",
            Self::Audit => "audit",
        }
    }
}

/// The entry of [`Table::Rack`] in which the end of the audit trail stands.
pub const TRAIL_END: &str = "audit";

/// Whether hosts that have one rack share the entry. What happened to nodes, and who asked, is on
/// the disk of the host that saw it.
pub fn is_shared(table: Table, key: &str) -> bool {
    match table {
        Table::Tasks | Table::Batches | Table::Nodes => true,
        // Each host has a trail of its own, which ends where its own disk says.
        Table::Rack => key != TRAIL_END,
        Table::History | Table::Audit => false,
    }
}

/// One change of the memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Remember a value under a key, in place of what was there.
    Put {
        table: Table,
        /// Under which key.
        key: String,
        /// It is in memory once, however many keep it until it is durable.
        value: Arc<[u8]>,
    },
    /// Forget a key; one that is not there is forgotten already.
    Delete { table: Table, key: String },
}

/// Entries that the core wants to see again: those of a table whose keys begin with `prefix`, from
/// one end on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The part of the memory that is looked at.
    pub table: Table,
    /// How their keys begin.
    pub prefix: String,
    /// From which end on, in that order.
    pub end: End,
    /// At most so many.
    pub limit: usize,
}

/// One end of entries that are sorted by key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The first keys.
    Oldest,
    /// The last keys.
    Newest,
}

impl Write {
    /// The table and the key.
    pub fn table_and_key(&self) -> (Table, &str) {
        match self {
            Self::Put { table, key, .. } | Self::Delete { table, key } => (*table, key),
        }
    }
}
