//! The memory on the disk: redb behind plain functions, the log before it, and the `committer` that
//! writes in groups.
//!
//! Driven by the daemon's loop, which passes on what the core wants remembered. Knows tables, keys
//! and bytes; what they mean is the core's affair. Every call blocks on the disk: use it off the
//! executor.

pub(crate) mod committer;
mod error;
mod leaving;
mod log_file;
mod open;
mod place;
mod reading;
mod tables;
mod untouched;
mod waiting;

use crate::rack::Copied;
use crate::rack::record::{Table, Write};
/// The format of what the core stores.
use crate::rack::stored::migrate::FORMAT;
pub use error::StoreError;
use leaving::Hold;
use log_file::{Encoded, Log};
use nix::errno::Errno;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use place::{Lock, Opened};
use redb::{Database, DatabaseError};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tables::{read_count, write_all};

/// The journal's file name in the state directory.
const FILE: &str = "journal.redb";
/// The file whose lock says that a daemon uses the directory.
const LOCK: &str = "lock";

/// Of each key the last change, which is all that one transaction shows.
type Changes = BTreeMap<(Table, String), Write>;

/// How the file is handed to redb: tests put a failing disk in between.
type OpenDatabase = Box<dyn Fn(File) -> Result<Database, DatabaseError> + Send>;

/// The memory of one daemon: the only one to use its directory while it lives.
pub struct Store {
    path: PathBuf,
    /// `None` after an I/O error: redb wants to be opened anew then.
    database: Option<Database>,
    /// The transactions that were made, as of the last one that is known to be durable.
    commits: u64,
    /// Those of them that are in the journal.
    settled: u64,
    /// The last number that a transaction was given, whatever became of it.
    tried: u64,
    /// What the log has and the journal has not: of each key the last change.
    unsettled: Changes,
    /// Whether a log is kept, and it. One that fails is given up, until the journal has all.
    keeps_log: bool,
    log: Option<Log>,
    /// It was said that there is none.
    missed_log: bool,
    open_database: OpenDatabase,
    /// What we have written of the file, and whether it is left as it is.
    hold: Hold,
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
    /// Held to the end, also while the database is closed. A look needs none where there never was
    /// one.
    lock: Option<Lock>,
}

impl Store {
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
        if self.database.is_some() && self.hold.is_touched(opened.last_write()) {
            // A copy may have been written into it, which redb's last words would spoil, or only
            // its time was set.
            self.let_go();
            self.reopen()?;
        }
        Ok(())
    }

    /// Whether the journal stayed so while we wrote: what went into a file that is gone, or was cut
    /// off, is not remembered.
    fn check_still_there(&mut self) -> Result<(), StoreError> {
        let Some(opened) = &self.opened else {
            return Ok(());
        };
        opened.check(&self.path)?;
        if opened.bytes() < self.hold.bytes() {
            self.let_go();
            return Err(StoreError::Gone {
                path: self.path.clone(),
                how: "was cut off",
            });
        }
        Ok(())
    }

    /// Closes the journal and leaves its file as it is.
    fn let_go(&mut self) {
        self.hold.let_go(true);
        self.database = None;
        self.hold.let_go(false);
    }

    /// The bytes of the journal's file, as of the last commit.
    pub fn size(&self) -> Arc<AtomicU64> {
        self.size.clone()
    }

    fn note_written(&mut self) {
        if let Some(opened) = &self.opened {
            self.hold.note(opened.last_write());
        }
        let bytes = self.opened.as_ref().map_or(0, Opened::bytes);
        self.size.store(bytes, Ordering::Relaxed);
    }

    /// Whether there is a journal in a directory.
    pub fn exists(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// The bytes of the journal in a directory, as far as they are known without opening it.
    pub fn length(directory: &Path) -> u64 {
        fs::metadata(directory.join(FILE)).map_or(0, |found| found.len())
    }

    /// Keeps a log from now on.
    pub(crate) fn keep_log(&mut self) {
        self.keeps_log = true;
        self.begin_log();
    }

    /// Begins the log, where one is kept and there is none.
    pub(crate) fn begin_log(&mut self) {
        // Beside a link the log would be on another disk than the journal.
        let elsewhere = self.path.is_symlink();
        if !self.keeps_log || self.log.is_some() || self.is_unsettled() || elsewhere {
            return;
        }
        match Log::begin(self.directory()) {
            Ok(log) => self.log = Some(log),
            Err(error) => self.miss_log(&error),
        }
    }

    /// There is no log until the next one is begun.
    fn miss_log(&mut self, why: &StoreError) {
        self.log = None;
        if !std::mem::replace(&mut self.missed_log, true) {
            log::warn!(
                "the journal is written without a log, and requests take a little longer: {why}"
            );
        }
    }

    /// Brings what the log has into the journal and removes it, for a daemon that stops.
    ///
    /// # Errors
    /// The disk's. The log is left then, to whoever opens the journal next.
    pub(crate) fn end_log(&mut self) -> Result<(), StoreError> {
        self.settle()?;
        self.keeps_log = false;
        if let Some(log) = self.log.take() {
            log.end();
        }
        Ok(())
    }

    fn directory(&self) -> &Path {
        self.path.parent().expect("a file is in a directory")
    }

    /// Whether the log has something that the journal has not.
    pub(crate) fn is_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// As [`Store::commit`], but into the log, where there is one and it has room: the changes are
    /// in the journal after the next [`Store::settle`]. Calls `durable` as soon as they are, before
    /// it does its books.
    ///
    /// # Errors
    /// As [`Store::commit`]; `durable` is not called then.
    pub(crate) fn commit_to_log(
        &mut self,
        writes: &[Write],
        durable: impl FnOnce(),
    ) -> Result<(), StoreError> {
        if self.log.is_none() || writes.is_empty() || !self.may_go_to_log() {
            return self.commit(writes).map(|()| durable());
        }
        if let Err(error) = self.check_there() {
            self.log = None;
            return Err(error);
        }
        let number = self.commits + 1;
        let transaction = Encoded::new(number, writes);
        let Some(log) = self.log.as_mut().filter(|log| log.has_room(&transaction)) else {
            return self.commit(writes).map(|()| durable());
        };
        if let Err(error) = log.append(&transaction) {
            if let Err(reason) = log.take_back() {
                log::warn!("the log's last transaction cannot be taken back: {reason}");
            }
            self.miss_log(&error);
            return self.commit(writes).map(|()| durable());
        }
        durable();
        self.missed_log = false;
        for write in writes {
            let (table, key) = write.table_and_key();
            self.unsettled
                .insert((table, key.to_owned()), write.clone());
        }
        self.note_number(number);
        Ok(())
    }

    /// Whether the next transaction follows those of the journal and the log. None follows where the
    /// journal was closed after an error, counts fewer than were made once, or may count one that
    /// failed.
    fn may_go_to_log(&self) -> bool {
        let follows = self.is_unsettled() || self.settled == self.commits;
        self.database.is_some() && self.tried <= self.settled && follows
    }

    /// Brings what the log has into the journal, with one transaction.
    ///
    /// # Errors
    /// As [`Store::commit`]: the log has it still. Nothing more goes into the log until the journal
    /// has it, for a disk that takes the one and not the other is one that fails.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        match self.is_unsettled() {
            true => self.write_through(&[], self.commits),
            false => Ok(()),
        }
    }

    /// Makes these changes durable, all of them or none, with one transaction. None at all asks
    /// whether the disk can be written again.
    ///
    /// # Errors
    /// The disk's (full, read-only, broken): what was there before is unharmed, the changes are not
    /// there, and the next call opens the journal anew. Only where the journal can then not even be
    /// read, or syncing fails again, it cannot be known whether the changes are there; writing them
    /// again is harmless.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.write_through(writes, self.commits + 1)
    }

    /// Writes into the journal what the log has and then these changes, as the transaction of that
    /// number.
    fn write_through(&mut self, writes: &[Write], number: u64) -> Result<(), StoreError> {
        let unsettled = std::mem::take(&mut self.unsettled);
        let written = self.write_both(&unsettled, writes, number);
        if written.is_err() {
            self.unsettled = unsettled;
            self.log = None;
        }
        written
    }

    fn write_both(
        &mut self,
        unsettled: &Changes,
        writes: &[Write],
        number: u64,
    ) -> Result<(), StoreError> {
        self.check_there()?;
        // One that failed may have taken effect: its number is not used again, or what takes its
        // place would be taken for it.
        let number = number.max(self.tried + 1);
        self.tried = number;
        let all = unsettled.values().chain(writes);
        let Err(error) = write_all(self.database()?, all, number) else {
            self.check_still_there()?;
            self.made(number);
            return Ok(());
        };
        let error = self.failed(error);
        // The last step of a transaction may fail after it took effect: then one more makes it
        // durable, or it is not known.
        if self.count().ok() == Some(number) {
            self.tried = number + 1;
            let sealed = write_all(self.database()?, [].iter(), number + 1);
            sealed.map_err(|error| self.failed(error))?;
            log::warn!(
                "the journal: a sync failed ({error}), and a second one made durable what was written"
            );
            self.made(number + 1);
            return Ok(());
        }
        Err(error)
    }

    /// The journal has all transactions up to this one.
    fn made(&mut self, number: u64) {
        self.settled = number;
        self.note_written();
        if let Some(log) = &mut self.log {
            log.rewind();
        }
        self.note_number(number);
    }

    /// This transaction is durable.
    fn note_number(&mut self, number: u64) {
        self.commits = number;
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

    /// The open database with all that is durable in it.
    fn settled_database(&mut self) -> Result<&Database, StoreError> {
        self.settle()?;
        self.database()
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

/// Makes the names in a directory durable, where its file system can.
fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    let reason = match synced {
        Ok(()) => return Ok(()),
        Err(reason) => reason,
    };
    // Some that are reached over a network, or run outside of the kernel: what is in their files is
    // synced all the same.
    let errno = reason.raw_os_error().map(Errno::from_raw);
    if matches!(errno, Some(Errno::EINVAL | Errno::ENOTSUP | Errno::ENOSYS)) {
        log::warn!(
            "the file system of {} cannot sync a directory ({reason}): a journal that is new may be missing after a power cut",
            directory.display()
        );
        return Ok(());
    }
    Err(at(directory, reason))
}

/// Opens a file for ourselves alone, and makes it where it is missing. What root makes belongs to
/// whoever has the directory: the daemon, which runs as a user of its own, could not open it later.
fn private_file(path: &Path) -> io::Result<File> {
    let directory = path.parent().map(fs::metadata).transpose()?;
    let is_root = nix::unistd::geteuid().is_root();
    let theirs = directory.filter(|directory| is_root && directory.uid() != 0);
    // Root writes nothing where a link of theirs leads.
    let links = theirs.as_ref().map_or(0, |_| O_NOFOLLOW);
    let theirs = theirs.filter(|_| !path.exists());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        // Anew: where a link of theirs leads, nothing becomes theirs.
        .create_new(theirs.is_some())
        .truncate(false)
        .mode(0o600)
        .custom_flags(O_NONBLOCK | links)
        .open(path)?;
    if let Some(directory) = theirs {
        fchown(&file, Some(directory.uid()), Some(directory.gid()))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
