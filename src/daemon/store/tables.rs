//! The tables of the journal, as redb has them.

use crate::rack::record::{Table, Write};
use redb::{AccessGuard, Database, ReadOnlyTable, ReadableDatabase, TableDefinition, TableError};

/// Ours to say what the file is; everything else in it is the core's.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The format's key in it.
pub(super) const FORMAT_KEY: &str = "format";
/// How many transactions were made, in it: whether one that failed is there all the same.
pub(super) const COMMITS_KEY: &str = "commits";

pub(super) fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
}

pub(super) type Entries = ReadOnlyTable<&'static str, &'static [u8]>;

/// What `look` finds in a table, `None` where nothing was put there yet.
pub(super) fn read_table<T>(
    database: &Database,
    table: Table,
    look: impl FnOnce(Entries) -> Result<T, redb::Error>,
) -> Result<Option<T>, redb::Error> {
    match database.begin_read()?.open_table(definition(table)) {
        Ok(entries) => look(entries).map(Some),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn owned(
    (key, value): (
        AccessGuard<'_, &'static str>,
        AccessGuard<'_, &'static [u8]>,
    ),
) -> (String, Vec<u8>) {
    (key.value().to_owned(), value.value().to_vec())
}

pub(super) fn read_count(database: &Database) -> Result<u64, redb::Error> {
    let meta = database.begin_read()?.open_table(META)?;
    Ok(meta.get(COMMITS_KEY)?.map_or(0, |count| count.value()))
}

/// Writes these changes in one transaction, those of a key in their order.
pub(super) fn write_all<'w>(
    database: &Database,
    writes: impl Iterator<Item = &'w Write> + Clone,
    number: u64,
) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    writing.open_table(META)?.insert(COMMITS_KEY, number)?;
    for table in Table::ALL {
        let here = |write: &&Write| write.table_and_key().0 == table;
        let mut writes = writes.clone().filter(here).peekable();
        if writes.peek().is_none() {
            continue;
        }
        let mut entries = writing.open_table(definition(table))?;
        for write in writes {
            match write {
                Write::Put { key, value, .. } => {
                    entries.insert(key.as_str(), &**value)?;
                }
                Write::Delete { key, .. } => {
                    entries.remove(key.as_str())?;
                }
            }
        }
    }
    writing.commit()?;
    Ok(())
}
