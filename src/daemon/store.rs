//! The memory on the disk: redb behind plain functions, and the [`committer`] that writes in groups.
//!
//! Driven by the daemon's loop, which passes on what the core wants remembered. Knows tables, keys and bytes; what
//! they mean is the core's affair. Every call blocks on the disk: use it off the executor.

pub mod committer;
mod leaving;
mod place;
mod untouched;

use crate::rack::Copied;
use crate::rack::record::{End, Stretch, Table, Write};
use crate::rack::stored::migrate;
use leaving::{Leaving, LetGo};
use place::{Lock, Opened};
use redb::backends::FileBackend;
use redb::{
    AccessGuard, Builder, Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable,
    TableDefinition, TableError,
};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use untouched::Untouched;

/// The format of what the core stores.
use crate::rack::stored::migrate::FORMAT;

/// The journal's file name in the state directory.
const FILE: &str = "journal.redb";
/// The file whose lock says that a daemon uses the directory.
const LOCK: &str = "lock";
/// Ours to say what the file is; everything else in it is the core's.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The format's key in it.
const FORMAT_KEY: &str = "format";
/// How many transactions were made, in it: whether one that failed is there all the same.
const COMMITS_KEY: &str = "commits";
/// redb's page cache. Everything is read once, at the start; after that it is written. Its own default is 1 GiB.
const CACHE: usize = 1024 * 1024;
/// Bytes of entries that are read together, and the rest of the one that goes beyond.
const TOGETHER: usize = 1024 * 1024;

/// Why the memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it cannot be made or opened.
    #[error("{path}: {reason}")]
    Path {
        /// What cannot be opened.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// Another daemon uses the same directory.
    #[error(
        "{0} is in use by another rackbmcd: stop that one, or give this one a state_dir of its own"
    )]
    Locked(PathBuf),
    /// Written by a newer daemon: never misread, and left as it is.
    #[error(
        "{path} has format {found} and was written by a newer rackbmcd; this one, version {version}, knows formats up \
         to {FORMAT}. Nothing was changed in it: start the newer version again. To go on with this one all the same, \
         move the file away and start with --new-journal: tasks, holds, history and the audit trail begin anew then",
        version = env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// The format that stands in it.
        found: u64,
    },
    /// Something else than a journal of ours.
    #[error(
        "{path} is no journal of rackbmcd ({reason}): move it away, and start with --new-journal"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that was seen.
        reason: String,
    },
    /// Its checksums or its structure are broken.
    #[error(
        "{path} is damaged ({reason}). Nothing was changed in it: move it away, and start with --new-journal to begin \
         anew. A copy from before knows nothing of what was done since; with one in its place all tasks come up suspended"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// How that was seen.
        reason: String,
    },
    /// There was one before.
    #[error(
        "{0} has no journal, and there was one: is its file system mounted? Put it back, or begin anew with --new-journal: \
         tasks, holds, history and the audit trail are lost then"
    )]
    Missing(PathBuf),
    /// Its file system is not mounted.
    #[error(
        "there is no journal in {directory}, and nothing is mounted at {mount}, where /etc/fstab has a file system: mount \
         it, or begin there with --new-journal"
    )]
    Unmounted {
        /// Where the journal would be.
        directory: PathBuf,
        /// The mount point.
        mount: PathBuf,
    },
    /// A link that leads nowhere.
    #[error(
        "{path} is a link to {target}, which is not there: is that file system mounted? Nothing was changed"
    )]
    Dangling {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Somebody took the file away from under the daemon.
    #[error(
        "{path} {how} while the daemon runs: nothing can be remembered. Move the same file back and it goes on; a copy \
         wants a restart"
    )]
    Gone {
        /// The journal.
        path: PathBuf,
        /// How it went.
        how: &'static str,
    },
    /// Reading or writing failed; what was there before is unharmed.
    #[error("{path}: {reason}")]
    Disk {
        /// The journal.
        path: PathBuf,
        /// The system's reason, such as "No space left on device (os error 28)".
        reason: String,
    },
}

/// How the file is handed to redb: tests put a failing disk in between.
type OpenDatabase = Box<dyn Fn(File) -> Result<Database, DatabaseError> + Send>;

/// The memory of one daemon: the only one to use its directory while it lives.
pub struct Store {
    path: PathBuf,
    /// `None` after an I/O error: redb wants to be opened anew then.
    database: Option<Database>,
    /// The transactions that the journal counts, as of the last one that is known to be durable.
    commits: u64,
    open_database: OpenDatabase,
    /// Whether what is still written when the database is closed goes nowhere.
    let_go: LetGo,
    /// Whether nothing on the disk is ever changed.
    looks_only: bool,
    /// The file, while it is the one that was opened first.
    opened: Option<Opened>,
    /// Its bytes, for those who have not the store.
    size: Arc<AtomicU64>,
    /// Whether the journal was put back from a copy.
    copied: Copied,
    /// Whether the number in the lock is not yet durable.
    unsynced: bool,
    /// Held to the end, also while the database is closed. A look needs none where there never was one.
    lock: Option<Lock>,
}

impl Store {
    /// Opens the memory in a directory, making both where they are missing (modes 0700 and 0600).
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another daemon has it, [`StoreError::Newer`] for the format of a newer one and
    /// [`StoreError::Foreign`] for anything else: the file was not changed then.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let let_go = LetGo::default();
        Self::open_with(directory, false, on_disk(let_go.clone()), let_go)
    }

    /// Opens the memory in a directory to look at it: nothing is made or changed there, whoever looks and whatever
    /// format it has.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_to_look(directory: &Path) -> Result<Self, StoreError> {
        let lock = Lock::of_a_look(directory)?;
        let untouched = |file| checked().create_with_backend(Untouched::new(file)?);
        let mut store = Store {
            path: directory.join(FILE),
            database: None,
            commits: 0,
            open_database: Box::new(untouched),
            let_go: LetGo::default(),
            looks_only: true,
            opened: None,
            size: Arc::default(),
            copied: Copied::No,
            unsynced: false,
            lock,
        };
        store.reopen()?;
        Ok(store)
    }

    /// The same, where a person said that a journal which was there before may be missing.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_anew(directory: &Path) -> Result<Self, StoreError> {
        let let_go = LetGo::default();
        Self::open_with(directory, true, on_disk(let_go.clone()), let_go)
    }

    fn open_with(
        directory: &Path,
        anew: bool,
        open_database: OpenDatabase,
        let_go: LetGo,
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
        let mut store = Store {
            path: directory.join(FILE),
            database: None,
            commits: 0,
            open_database,
            let_go,
            looks_only: false,
            opened: None,
            size: Arc::default(),
            copied: Copied::No,
            unsynced: true,
            lock: None,
        };
        if !lock.was_there && store.path.exists() {
            lock.doubt();
        }
        if place::wants_making(&store.path, &lock, directory, anew)? {
            let made = store.create(directory);
            if made.is_err() && !lock.was_there {
                // Nothing is there that the next start could miss.
                let _ = fs::remove_file(place::lock_path(directory));
            }
            made?;
            lock.note(0);
        }
        store.reopen()?;
        let counted = store.count()?;
        let noted = lock.noted();
        store.copied = match noted {
            Some(noted) if noted > counted => Copied::Behind(noted - counted),
            None if counted > 0 => Copied::Unknown,
            _ => Copied::No,
        };
        store.commits = noted.unwrap_or(0).max(counted);
        for (path, private) in [(directory, "0700"), (&store.path, "0600")] {
            let mode = fs::metadata(path).map_err(|reason| at(path, reason))?;
            let mode = mode.permissions().mode() & 0o777;
            if mode & 0o027 != 0 {
                log::warn!(
                    "{} has mode {mode:04o}: others can read or replace what is remembered; chmod it to {private}",
                    path.display()
                );
            }
        }
        if !lock.was_there {
            sync_directory(directory)?;
        }
        store.lock = Some(lock);
        store.sync_count();
        Ok(store)
    }

    /// Makes the number in the lock durable, where it is not: when there is time.
    pub fn sync_count(&mut self) {
        let Some(lock) = self.lock.as_ref().filter(|_| self.unsynced) else {
            return;
        };
        match lock.sync() {
            Ok(()) => self.unsynced = false,
            Err(reason) => log::warn!("{LOCK}: it cannot be synced: {reason}"),
        }
    }

    /// Whether the journal was put back from a copy.
    pub fn copied(&self) -> Copied {
        self.copied
    }

    /// Whether the journal is still the file that was opened, with what we wrote in it.
    ///
    /// # Errors
    /// [`StoreError::Gone`]; what is wrong with what was put there.
    pub fn check_there(&mut self) -> Result<(), StoreError> {
        let Some(opened) = &self.opened else {
            return Ok(());
        };
        opened.check(&self.path)?;
        if self.database.is_some() && opened.is_touched() {
            // A copy may have been written into it, which redb's last words would spoil, or only its time was set.
            self.let_go.store(true, Ordering::Relaxed);
            self.database = None;
            self.let_go.store(false, Ordering::Relaxed);
            self.reopen()?;
        }
        Ok(())
    }

    /// The bytes of the journal's file, as of the last commit.
    pub fn size(&self) -> Arc<AtomicU64> {
        self.size.clone()
    }

    fn note_written(&mut self) {
        if let Some(opened) = &mut self.opened {
            opened.note_written();
        }
        let bytes = self.opened.as_ref().map_or(0, Opened::bytes);
        self.size.store(bytes, Ordering::Relaxed);
    }

    /// Makes an empty journal beside its place and moves it there when it is complete: a journal never lacks its
    /// format, however the power goes.
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
            .open(&self.path)
            .map_err(|reason| at(&self.path, reason))?;
        let empty = file.metadata().map(|metadata| metadata.len() == 0);
        // redb would make a new database of an empty file.
        if empty.map_err(|reason| at(&self.path, reason))? {
            return Err(self.foreign("the file is empty"));
        }
        if let Some(opened) = &self.opened {
            opened.check(&self.path)?;
        } else {
            let kept = file.try_clone().and_then(Opened::new);
            self.opened = Some(kept.map_err(|reason| at(&self.path, reason))?);
        }
        let clone = file.try_clone().map_err(|reason| at(&self.path, reason))?;
        let (found, counted) = self.look_at(clone)?;
        // What is written next would be counted as if nothing were missing.
        if counted < self.commits {
            return Err(StoreError::Gone {
                path: self.path.clone(),
                how: "was written over with a copy",
            });
        }
        let database = (self.open_database)(file).map_err(|error| self.fault(error))?;
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

    /// The format of the file and the transactions that it counts, without a change of it: even to be opened redb would put
    /// it in order.
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

    /// Everything that is remembered but what stays on the disk until it is asked for: table by table, sorted by key.
    /// Nothing of the audit trail is loaded, and of each node's history the first and the last entry.
    ///
    /// # Errors
    /// The disk's.
    pub fn load(&mut self) -> Result<Vec<(Table, String, Vec<u8>)>, StoreError> {
        let loaded = read_most(self.database()?);
        loaded.map_err(|error| self.failed(error))
    }

    /// One entry.
    ///
    /// # Errors
    /// The disk's.
    pub fn entry(&mut self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = read_table(self.database()?, table, |entries| {
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
        let found = read_table(self.database()?, table, |entries| {
            let last = entries.last()?;
            Ok(last.map(|(key, value)| (key.value().to_owned(), value.value().to_vec())))
        });
        found
            .map(Option::flatten)
            .map_err(|error| self.failed(error))
    }

    /// At most `limit` entries of a table whose keys come after `key`, in their order, and not much more than a megabyte of
    /// them.
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
        let found = read_table(self.database()?, table, |entries| {
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
        let counted = read_table(self.database()?, table, |entries| {
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
        let found = read_table(self.database()?, stretch.table, |entries| {
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

    /// Whether there is a journal in a directory.
    pub fn exists(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// The bytes of the journal in a directory, as far as they are known without opening it.
    pub fn length(directory: &Path) -> u64 {
        fs::metadata(directory.join(FILE)).map_or(0, |found| found.len())
    }

    /// Makes these changes durable, all of them or none, with one transaction. None at all asks whether the disk can be
    /// written again.
    ///
    /// # Errors
    /// The disk's (full, read-only, broken): what was there before is unharmed, the changes are not there, and the next
    /// call opens the journal anew. Only where the journal can then not even be read, or syncing fails again, it cannot
    /// be known whether the changes are there; writing them again is harmless.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.check_there()?;
        let number = self.commits + 1;
        let Err(error) = write_all(self.database()?, writes, number) else {
            self.made(number);
            return Ok(());
        };
        let error = self.failed(error);
        // The last step of a transaction may fail after it took effect: then one more makes it durable, or it is not
        // known.
        if self.count().ok() == Some(number) {
            let sealed = write_all(self.database()?, &[], number + 1);
            sealed.map_err(|error| self.failed(error))?;
            log::warn!(
                "the journal: a sync failed ({error}), and a second one made durable what was written"
            );
            self.made(number + 1);
            return Ok(());
        }
        Err(error)
    }

    fn made(&mut self, number: u64) {
        self.commits = number;
        self.note_written();
        if let Some(lock) = &self.lock {
            lock.note(number);
            self.unsynced = true;
        }
    }

    /// The transactions that the journal counts.
    fn count(&mut self) -> Result<u64, StoreError> {
        let counted = read_count(self.database()?);
        counted.map_err(|error| self.failed(error))
    }

    /// The keys of a table.
    ///
    /// # Errors
    /// The disk's.
    pub fn keys(&mut self, table: Table) -> Result<Vec<String>, StoreError> {
        let found = read_table(self.database()?, table, |entries| {
            let keys = entries.iter()?.map(|entry| Ok(entry?.0.value().to_owned()));
            keys.collect()
        });
        found
            .map(Option::unwrap_or_default)
            .map_err(|error| self.failed(error))
    }

    /// The open database, opened anew where an error closed it.
    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            self.reopen()?;
        }
        Ok(self.database.as_ref().expect("opened above"))
    }

    fn failed(&mut self, error: redb::Error) -> StoreError {
        self.database = None;
        self.fault(error)
    }

    fn fault(&self, error: impl Into<redb::Error>) -> StoreError {
        let path = self.path.clone();
        match error.into() {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                StoreError::Locked(path)
            }
            redb::Error::UpgradeRequired(version) => {
                self.foreign(&format!("redb's file format {version}"))
            }
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.foreign(&error.to_string())
            }
            redb::Error::Corrupted(reason) => StoreError::Damaged { path, reason },
            redb::Error::Io(reason) => StoreError::Disk {
                path,
                reason: reason.to_string(),
            },
            other => StoreError::Disk {
                path,
                reason: other.to_string(),
            },
        }
    }

    fn foreign(&self, reason: &str) -> StoreError {
        StoreError::Foreign {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }
}

fn at(path: &Path, reason: io::Error) -> StoreError {
    StoreError::Path {
        path: path.to_owned(),
        reason,
    }
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|reason| at(directory, reason))
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn on_disk(let_go: LetGo) -> OpenDatabase {
    Box::new(move |file| {
        let mut builder = Builder::new();
        // Its integrity was checked when its format was looked at.
        builder.set_cache_size(CACHE);
        builder.create_with_backend(Leaving::new(FileBackend::new(file)?, let_go.clone()))
    })
}

/// A database that is looked at whole before it is trusted: else a file that something damaged could make redb panic.
/// A journal is small, it costs little.
fn checked() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder.set_check_integrity_on_open(true);
    builder
}

/// Brings every entry to the newest format, all of them or none. The audit trail stays as it is: its records are chained
/// by their bytes.
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

fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
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

fn owned(
    (key, value): (
        AccessGuard<'_, &'static str>,
        AccessGuard<'_, &'static [u8]>,
    ),
) -> (String, Vec<u8>) {
    (key.value().to_owned(), value.value().to_vec())
}

type Entries = ReadOnlyTable<&'static str, &'static [u8]>;

/// What `look` finds in a table, `None` where nothing was put there yet.
fn read_table<T>(
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

fn read_count(database: &Database) -> Result<u64, redb::Error> {
    let meta = database.begin_read()?.open_table(META)?;
    Ok(meta.get(COMMITS_KEY)?.map_or(0, |count| count.value()))
}

fn write_all(database: &Database, writes: &[Write], number: u64) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    writing.open_table(META)?.insert(COMMITS_KEY, number)?;
    for table in Table::ALL {
        let here = |write: &&Write| match write {
            Write::Put { table: t, .. } | Write::Delete { table: t, .. } => *t == table,
        };
        let mut writes = writes.iter().filter(here).peekable();
        if writes.peek().is_none() {
            continue;
        }
        let mut entries = writing.open_table(definition(table))?;
        for write in writes {
            match write {
                Write::Put { key, value, .. } => {
                    entries.insert(key.as_str(), value.as_slice())?;
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

#[cfg(test)]
mod tests;
