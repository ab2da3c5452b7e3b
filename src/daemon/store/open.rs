//! The journal is made, opened, opened again after an error, and brought to the newest format.

use super::leaving::{Hold, LeavableFile};
use super::log_file::{self, Rest};
use super::place::{self, Lock, Opened};
use super::tables::{FORMAT_KEY, META, definition, owned, read_count, read_table, write_all};
use super::untouched::Untouched;
use super::{
    Changes, FILE, FORMAT, OpenDatabase, Store, StoreError, at, private_file, sync_directory,
};
use crate::rack::Copied;
use crate::rack::record::Table;
use crate::rack::stored::migrate;
use nix::libc::O_NONBLOCK;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableError};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

impl Store {
    /// Opens the memory in a directory, making both where they are missing (modes 0700 and 0600).
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another daemon has it, [`StoreError::Newer`] for the format of
    /// a newer one and [`StoreError::Foreign`] for anything else: the file was not changed then.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let hold = Hold::default();
        Self::open_with(directory, false, on_disk(hold.clone()), hold)
    }

    /// The same, where a person said that a journal which was there before may be missing.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_anew(directory: &Path) -> Result<Self, StoreError> {
        let hold = Hold::default();
        Self::open_with(directory, true, on_disk(hold.clone()), hold)
    }

    /// Opens the memory in a directory to look at it: nothing is made or changed there, whoever
    /// looks and whatever format it has.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_to_look(directory: &Path) -> Result<Self, StoreError> {
        let lock = Lock::of_a_look(directory)?;
        let untouched = |file| checked().create_with_backend(Untouched::new(file)?);
        let mut store = Self {
            looks_only: true,
            lock,
            ..Self::closed(directory, Box::new(untouched), Hold::default())
        };
        store.reopen()?;
        Ok(store)
    }

    /// The memory in a directory, of which nothing was read yet.
    fn closed(directory: &Path, open_database: OpenDatabase, hold: Hold) -> Self {
        Self {
            path: directory.join(FILE),
            database: None,
            commits: 0,
            tried: 0,
            settled: 0,
            unsettled: Changes::new(),
            keeps_log: false,
            log: None,
            missed_log: false,
            open_database,
            hold,
            looks_only: false,
            opened: None,
            size: Arc::default(),
            copied: Copied::No,
            unsynced: false,
            lock: None,
        }
    }

    pub(super) fn open_with(
        directory: &Path,
        anew: bool,
        open_database: OpenDatabase,
        hold: Hold,
    ) -> Result<Self, StoreError> {
        if directory.is_symlink() && !directory.exists() {
            return Err(StoreError::Dangling {
                path: directory.to_owned(),
                target: fs::read_link(directory).unwrap_or_default(),
            });
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|reason| at(directory, reason))?;
        let lock = Lock::take(directory)?;
        let mut store = Self {
            unsynced: true,
            ..Self::closed(directory, open_database, hold)
        };
        if !lock.was_there && store.path.exists() {
            lock.doubt();
        }
        if place::wants_making(&store.path, &lock, directory, anew)? {
            // The log of another journal has nothing to do with it.
            log_file::leave_out(directory);
            let made = store.create(directory);
            if made.is_err() && !lock.was_there {
                // Nothing is there that the next start could miss.
                let _ = fs::remove_file(place::lock_path(directory));
            }
            made?;
            lock.note(0);
        }
        store.reopen()?;
        log_file::remove_from(directory);
        let counted = store.count()?;
        let noted = lock.noted();
        store.copied = match noted {
            Some(noted) if noted > counted => Copied::Behind(noted - counted),
            None if counted > 0 => Copied::Unknown,
            _ => Copied::No,
        };
        store.commits = noted.unwrap_or(0).max(counted);
        store.settled = counted;
        warn_of_modes(directory, &store.path)?;
        if !lock.was_there {
            sync_directory(directory)?;
        }
        store.lock = Some(lock);
        store.sync_count();
        Ok(store)
    }

    /// Makes an empty journal beside its place and moves it there when it is complete: a journal
    /// never lacks its format, however the power goes.
    fn create(&self, directory: &Path) -> Result<(), StoreError> {
        let new = directory.join(format!("{FILE}.new"));
        match fs::remove_file(&new) {
            Err(reason) if reason.kind() != io::ErrorKind::NotFound => {
                return Err(at(&new, reason));
            }
            _ => {}
        }
        let file = private_file(&new).map_err(|reason| at(&new, reason))?;
        let made = (self.open_database)(file)
            .map_err(redb::Error::from)
            .and_then(|database| {
                let writing = database.begin_write()?;
                writing.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
                writing.commit()?;
                Ok(())
            });
        made.map_err(|error| self.fault(error))?;
        fs::rename(&new, &self.path).map_err(|reason| at(&self.path, reason))?;
        sync_directory(directory)
    }

    /// Closes the journal and opens it again, which is what redb asks for after an I/O error.
    ///
    /// # Errors
    /// As [`Store::open`]; it may be tried again.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        self.database = None;
        let file = OpenOptions::new()
            .read(true)
            .write(!self.looks_only)
            .custom_flags(O_NONBLOCK)
            .open(&self.path)
            .and_then(place::whole_file)
            .map_err(|reason| at(&self.path, reason))?;
        let empty = file.metadata().map(|metadata| metadata.len() == 0);
        // redb would make a new database of an empty file.
        if empty.map_err(|reason| at(&self.path, reason))? {
            return Err(self.foreign("the file is empty"));
        }
        let first = self.opened.is_none();
        if let Some(opened) = &self.opened {
            opened.check(&self.path)?;
        } else {
            let kept = file.try_clone().and_then(Opened::new);
            self.opened = Some(kept.map_err(|reason| at(&self.path, reason))?);
        }
        let clone = file.try_clone().map_err(|reason| at(&self.path, reason))?;
        let (found, counted) = self.look_at(clone)?;
        // What is written next would be counted as if nothing were missing.
        if counted < self.settled {
            return Err(StoreError::Gone {
                path: self.path.clone(),
                how: "was written over with a copy",
            });
        }
        let database = (self.open_database)(file).map_err(|error| self.fault(error))?;
        if first {
            self.bring_rest(&database, counted, found)?;
        }
        if found < FORMAT && !self.looks_only {
            upgrade(&database, found).map_err(|error| self.fault(error))?;
            log::info!(
                "{}: brought from format {found} to {FORMAT}",
                self.path.display()
            );
        }
        self.database = Some(database);
        self.note_written();
        Ok(())
    }

    /// Brings into the journal what is in the log of a daemon that was killed.
    fn bring_rest(&self, database: &Database, counted: u64, format: u64) -> Result<(), StoreError> {
        match log_file::rest(self.directory(), counted, format)? {
            Rest::Nothing => Ok(()),
            Rest::Changes(changes, last) => {
                let brought = write_all(database, changes.iter(), last);
                brought.map_err(|error| self.fault(error))
            }
            Rest::Foreign => {
                log::warn!(
                    "{}: the log beside it is of another journal, or of another time, and is left out",
                    self.path.display()
                );
                if !self.looks_only {
                    log_file::leave_out(self.directory());
                }
                Ok(())
            }
        }
    }

    /// The format of the journal; of one that is only looked at, as it is on the disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn format(&mut self) -> Result<u64, StoreError> {
        if self.database.is_none() {
            self.reopen()?;
        }
        let database = self.database.as_ref().expect("opened above");
        self.format_of(database)
    }

    /// The format of the file and the transactions that it counts, without a change of it: even to
    /// be opened redb would put it in order.
    fn look_at(&self, file: File) -> Result<(u64, u64), StoreError> {
        let looked_at = Untouched::new(file).and_then(|file| checked().create_with_backend(file));
        let database = looked_at.map_err(|error| self.fault(error))?;
        let format = self.format_of(&database)?;
        let counted = read_count(&database).map_err(|error| self.fault(error))?;
        Ok((format, counted))
    }

    fn format_of(&self, database: &Database) -> Result<u64, StoreError> {
        let reading = database.begin_read().map_err(|error| self.fault(error))?;
        let meta = match reading.open_table(META) {
            Ok(meta) => meta,
            Err(TableError::Storage(error)) => return Err(self.fault(error)),
            Err(_) => return Err(self.foreign("it does not say its format")),
        };
        let format = meta.get(FORMAT_KEY).map_err(|error| self.fault(error))?;
        match format.map(|guard| guard.value()) {
            Some(found @ 1..=FORMAT) => Ok(found),
            Some(0) | None => Err(self.foreign("it does not say its format")),
            Some(found) => Err(StoreError::Newer {
                path: self.path.clone(),
                found,
            }),
        }
    }
}

/// Warns where others can read or replace the memory.
fn warn_of_modes(directory: &Path, journal: &Path) -> Result<(), StoreError> {
    for (path, private) in [(directory, "0700"), (journal, "0600")] {
        let mode = fs::metadata(path).map_err(|reason| at(path, reason))?;
        let mode = mode.permissions().mode() & 0o777;
        if mode & 0o027 != 0 {
            log::warn!(
                "{} has mode {mode:04o}: others can read or replace what is remembered; chmod it to {private}",
                path.display()
            );
        }
    }
    Ok(())
}

fn on_disk(hold: Hold) -> OpenDatabase {
    Box::new(move |file| {
        let mut builder = Builder::new();
        // Its integrity was checked when its format was looked at.
        builder.set_cache_size(CACHE);
        builder.create_with_backend(LeavableFile::new(file, hold.clone())?)
    })
}

/// A database that is looked at whole before it is trusted: else a file that something damaged
/// could make redb panic. A journal is small, it costs little.
fn checked() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder.set_check_integrity_on_open(true);
    builder
}

/// Brings every entry to the newest format, all of them or none. The audit trail stays as it is:
/// its records are chained by their bytes.
fn upgrade(database: &Database, found: u64) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    let mut upgrade = migrate::Upgrade::from(found);
    for table in Table::ALL {
        if table == Table::Audit {
            continue;
        }
        // One by one: a journal may hold more than the memory that the daemon is given.
        read_table(database, table, |before| {
            let mut after = writing.open_table(definition(table))?;
            for entry in before.iter()? {
                let (old, value) = owned(entry?);
                let (new, value) = upgrade.entry(table, &old, value);
                if new != old {
                    after.remove(old.as_str())?;
                }
                after.insert(new.as_str(), value.as_slice())?;
            }
            Ok(())
        })?;
    }
    writing.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    writing.commit()?;
    Ok(())
}

/// redb's page cache. Everything is read once, at the start; after that it is written. Its own
/// default is 1 GiB.
const CACHE: usize = 512 * 1024;
