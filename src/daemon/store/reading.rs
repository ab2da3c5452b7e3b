//! What is read of the journal: everything at the start, and later what somebody asks for.

use super::tables::{Entries, owned, read_table};
use super::{Store, StoreError};
use crate::rack::record::{End, Stretch, Table};
use redb::{Database, ReadableTable};
use std::ops::Bound;

impl Store {
    /// Everything that is remembered but what stays on the disk until it is asked for: table by
    /// table, sorted by key. Nothing of the audit trail is loaded, and of each node's history the
    /// first and the last entry.
    ///
    /// # Errors
    /// The disk's.
    pub fn load(&mut self) -> Result<Vec<(Table, String, Vec<u8>)>, StoreError> {
        let loaded = read_most(self.settled_database()?);
        loaded.map_err(|error| self.failed(error))
    }

    /// One entry.
    ///
    /// # Errors
    /// The disk's.
    pub fn entry(&mut self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = read_table(self.settled_database()?, table, |entries| {
            Ok(entries.get(key)?.map(|value| value.value().to_vec()))
        });
        found
            .map(Option::flatten)
            .map_err(|error| self.failed(error))
    }

    /// The entry with the last key of a table, and that key.
    ///
    /// # Errors
    /// The disk's.
    pub fn last(&mut self, table: Table) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        let found = read_table(self.settled_database()?, table, |entries| {
            let last = entries.last()?;
            Ok(last.map(|(key, value)| (key.value().to_owned(), value.value().to_vec())))
        });
        found
            .map(Option::flatten)
            .map_err(|error| self.failed(error))
    }

    /// At most `limit` entries of a table whose keys come after `key`, in their order, and not much
    /// more than a megabyte of them.
    ///
    /// # Errors
    /// The disk's.
    pub fn after(
        &mut self,
        table: Table,
        key: &str,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let found = self.after_with_keys(table, key, limit)?;
        Ok(found.into_iter().map(|(_, value)| value).collect())
    }

    /// The same with the keys.
    ///
    /// # Errors
    /// The disk's.
    pub fn after_with_keys(
        &mut self,
        table: Table,
        key: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let beyond = (Bound::Excluded(key), Bound::Unbounded);
        let found = read_table(self.settled_database()?, table, |entries| {
            let mut values = Vec::new();
            let mut bytes = 0;
            for entry in entries.range::<&str>(beyond)?.take(limit) {
                let (key, value) = owned(entry?);
                bytes += value.len();
                values.push((key, value));
                if bytes > TOGETHER {
                    break;
                }
            }
            Ok(values)
        });
        found
            .map(Option::unwrap_or_default)
            .map_err(|error| self.failed(error))
    }

    /// The bytes of all keys and values of a table.
    ///
    /// # Errors
    /// The disk's.
    pub fn bytes_of(&mut self, table: Table) -> Result<u64, StoreError> {
        let counted = read_table(self.settled_database()?, table, |entries| {
            let mut bytes = 0;
            for entry in entries.iter()? {
                let (key, value) = entry?;
                bytes += key.value().len() + value.value().len();
            }
            Ok(bytes as u64)
        });
        counted
            .map(Option::unwrap_or_default)
            .map_err(|error| self.failed(error))
    }

    /// The entries of a stretch, in the order that it wants.
    ///
    /// # Errors
    /// The disk's.
    pub fn stretch(&mut self, stretch: &Stretch) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let found = read_table(self.settled_database()?, stretch.table, |entries| {
            let mut all = with_prefix(&entries, &stretch.prefix)?;
            let mut found = Vec::new();
            while found.len() < stretch.limit {
                let entry = match stretch.end {
                    End::Oldest => all.next(),
                    End::Newest => all.next_back(),
                };
                let Some(entry) = entry else { break };
                found.push(owned(entry?));
            }
            Ok(found)
        });
        found
            .map(Option::unwrap_or_default)
            .map_err(|error| self.failed(error))
    }

    /// The keys of a table.
    ///
    /// # Errors
    /// The disk's.
    pub fn keys(&mut self, table: Table) -> Result<Vec<String>, StoreError> {
        let found = read_table(self.settled_database()?, table, |entries| {
            let keys = entries.iter()?.map(|entry| Ok(entry?.0.value().to_owned()));
            keys.collect()
        });
        found
            .map(Option::unwrap_or_default)
            .map_err(|error| self.failed(error))
    }
}

fn read_most(database: &Database) -> Result<Vec<(Table, String, Vec<u8>)>, redb::Error> {
    let mut all = Vec::new();
    for table in Table::ALL {
        let mut add = |(key, value)| all.push((table, key, value));
        read_table(database, table, |entries| {
            match table {
                Table::Audit => {}
                Table::History => read_ends(&entries, add)?,
                Table::Tasks | Table::Batches | Table::Nodes | Table::Rack => {
                    for entry in entries.iter()? {
                        add(owned(entry?));
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(all)
}

/// The first and the last of all entries whose keys begin alike, up to a `/`.
fn read_ends(entries: &Entries, mut add: impl FnMut((String, Vec<u8>))) -> Result<(), redb::Error> {
    let mut from = Bound::Unbounded;
    loop {
        let ahead = (from.as_ref().map(String::as_str), Bound::Unbounded);
        let Some(entry) = entries.range::<&str>(ahead)?.next() else {
            return Ok(());
        };
        let first = owned(entry?);
        let end = first.0.find('/').map_or(first.0.len(), |slash| slash + 1);
        let prefix = first.0[..end].to_owned();
        if let Some(entry) = with_prefix(entries, &prefix)?.next_back() {
            let last = owned(entry?);
            if last.0 != first.0 {
                add(last);
            }
        }
        add(first);
        from = Bound::Included(beyond(prefix));
    }
}

fn with_prefix<'a>(
    entries: &'a Entries,
    prefix: &str,
) -> Result<redb::Range<'a, &'static str, &'static [u8]>, redb::Error> {
    let end = beyond(prefix.to_owned());
    Ok(entries.range::<&str>(prefix..end.as_str())?)
}

/// The least text that comes after all those that begin with `prefix`.
fn beyond(mut prefix: String) -> String {
    let last = prefix
        .pop()
        .and_then(|last| char::from_u32(u32::from(last) + 1));
    prefix.push(last.unwrap_or(char::MAX));
    prefix
}

/// Bytes of entries that are read together, and the rest of the one that goes beyond.
const TOGETHER: usize = 1024 * 1024;
