//! The log: transactions in one piece, before they go into the journal.
//!
//! A commit of redb is a dozen pages here and there in its file, and a disk takes twice as long for
//! them as for one stretch. So what somebody waits for is made durable in a file of its own,
//! `journal.log`, one record behind the other, and goes into the journal a moment later, when
//! nobody waits and many of them make one transaction.
//!
//! A record is its length and its CRC-32 (little-endian, four bytes each) and then, by postcard,
//! the number of its transaction, the format of what it stores, and its changes. Each begins at a
//! block of its own, so that it can be written past the page cache, where the file system does
//! that: a sync has less to look for then, and takes a fifth less. Numbers follow one another: what stood in the file before has a smaller one and is not taken for more. When all
//! that the log has is in the journal it is written from its beginning again, over the old records.
//!
//! It belongs to the daemon that runs: one that stops removes it, and whoever opens a journal whose
//! daemon was killed brings what the log has into it first.

use super::place::{LastWrite, Opened, whole_file};
use super::{FORMAT, StoreError, at, private_file};
use crate::config::open_at_once;
use crate::rack::record::{Table, Write};
use flate2::Crc;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde::{Deserialize, Serialize, Serializer};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The log's file name in the state directory, and that of one which is left out.
const FILE: &str = "journal.log";
const LEFT_OUT: &str = "journal.log.left-out";

/// The file, and where the next record goes.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    opened: Opened,
    /// The file as of our own last write.
    written: LastWrite,
    end: usize,
    #[cfg(test)]
    fails: bool,
}

/// A transaction as the log has it.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    number: u64,
    format: u64,
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
}

/// One change: the table's name, the key, and the value, `None` where the key is forgotten.
#[derive(Serialize, Deserialize)]
struct Change<'a>(&'a str, &'a str, #[serde(borrow)] Option<Bytes<'a>>);

/// Bytes as a whole, where serde would take a slice number by number.
#[derive(Deserialize)]
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// A transaction, as it is written: whole blocks, which lie in memory as the disk wants it.
pub(super) struct Encoded {
    memory: Vec<u8>,
    begin: usize,
}

impl Encoded {
    pub(super) fn new(number: u64, writes: &[Write]) -> Self {
        let record = Record {
            number,
            format: FORMAT,
            changes: writes.iter().map(Change::of).collect(),
        };
        let mut bytes = postcard::to_extend(&record, vec![0; HEAD]).expect("memory takes anything");
        let body = &bytes[HEAD..];
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let sum = sum(body).to_le_bytes();
        bytes[..4].copy_from_slice(&length);
        bytes[4..HEAD].copy_from_slice(&sum);
        Self::of(&bytes)
    }

    /// These bytes, with zeros behind them, in blocks.
    fn of(bytes: &[u8]) -> Self {
        let blocks = bytes.len().next_multiple_of(BLOCK);
        let mut memory = vec![0; blocks + BLOCK];
        let begin = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        memory[begin..begin + bytes.len()].copy_from_slice(bytes);
        Self { memory, begin }
    }

    fn blocks(&self) -> &[u8] {
        let length = self.memory.len() - BLOCK;
        &self.memory[self.begin..self.begin + length]
    }
}

/// Has the file written past the page cache, where its file system does that.
fn pass_by_cache(file: &File) {
    let Ok(flags) = fcntl(file, FcntlArg::F_GETFL).map(OFlag::from_bits_retain) else {
        return;
    };
    let direct = fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_DIRECT));
    // Some take the flag, and then no block of this size.
    let tried = file.write_all_at(Encoded::of(&[0]).blocks(), 0);
    if direct.is_ok() && tried.is_err() {
        let _ = fcntl(file, FcntlArg::F_SETFL(flags));
    }
}

impl Log {
    /// An empty log, with all the room that it will ever have: a file that grows costs a sync more.
    ///
    /// # Errors
    /// The disk's. Nothing is left of it then.
    pub(super) fn begin(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let begun = private_file(&path).and_then(whole_file).and_then(|file| {
            file.set_len(ROOM as u64)?;
            io::copy(&mut io::repeat(0).take(ROOM as u64), &mut &file)?;
            file.sync_all()?;
            // A power cut must not take its name.
            File::open(directory)?.sync_all()?;
            pass_by_cache(&file);
            let opened = Opened::new(file.try_clone()?)?;
            Ok((file, opened))
        });
        match begun.map_err(|reason| at(&path, reason)) {
            Ok((file, opened)) => Ok(Self {
                path,
                file,
                written: opened.last_write(),
                opened,
                end: 0,
                #[cfg(test)]
                fails: false,
            }),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Whether a transaction still fits.
    pub(super) fn has_room(&self, transaction: &Encoded) -> bool {
        transaction.blocks().len() <= ROOM - self.end
    }

    /// Makes a transaction durable, for which there is room.
    ///
    /// # Errors
    /// The disk's, or the file is not there any more: whether the transaction is there is not known
    /// then.
    pub(super) fn append(&mut self, transaction: &Encoded) -> Result<(), StoreError> {
        let bytes = transaction.blocks();
        if self.opened.last_write() != self.written {
            let reason = io::Error::other("something else has written into it");
            return Err(at(&self.path, reason));
        }
        let written = self.file.write_all_at(bytes, self.end as u64);
        let synced = written.and_then(|()| self.file.sync_data());
        #[cfg(test)]
        let synced = match std::mem::take(&mut self.fails) {
            true => Err(io::Error::from_raw_os_error(nix::libc::EIO)),
            false => synced,
        };
        synced.map_err(|reason| at(&self.path, reason))?;
        // What went into a file that is gone, or was cut off, is not remembered.
        if self.opened.check(&self.path).is_err() || self.opened.bytes() < ROOM as u64 {
            let reason = io::Error::other("it was taken away or cut off");
            return Err(at(&self.path, reason));
        }
        self.written = self.opened.last_write();
        self.end += bytes.len();
        Ok(())
    }

    /// Takes back the transaction that was appended last and failed. Nothing is appended any more.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn take_back(&self) -> io::Result<()> {
        let end = self.end as u64;
        let zeroed = self.file.write_all_at(Encoded::of(&[0]).blocks(), end);
        // A full disk that copies what it overwrites can still cut it off.
        zeroed.or_else(|_| self.file.set_len(end))?;
        self.file.sync_all()
    }

    /// Removes it, all of which is in the journal. What was put in its place stays.
    pub(super) fn end(self) {
        if self.opened.check(&self.path).is_ok() {
            remove(&self.path);
        }
    }

    /// The next transaction reaches the disk, and its sync fails.
    #[cfg(test)]
    pub(super) fn fail_next(&mut self) {
        self.fails = true;
    }

    /// All that it has is in the journal: the next record is its first one.
    pub(super) fn rewind(&mut self) {
        self.end = 0;
    }
}

/// What a log has beyond the transactions that a journal counts.
pub(super) enum Rest {
    /// Nothing, or there is no log.
    Nothing,
    /// These changes, in their order, and the number of their last transaction.
    Changes(Vec<Write>, u64),
    /// It goes on from another transaction than the journal's last, or in another format or way of
    /// writing: it is of another journal, or of another time.
    Foreign,
}

/// What the log in a directory has beyond `counted` transactions of a journal of this format.
///
/// # Errors
/// It cannot be read, or something else than a file is there.
pub(super) fn rest(directory: &Path, counted: u64, format: u64) -> Result<Rest, StoreError> {
    let path = directory.join(FILE);
    let mut bytes = Vec::new();
    let read = open_at_once(&path)
        .and_then(whole_file)
        .and_then(|file| file.take(ROOM as u64).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(rest_of(&bytes, counted, format)),
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(Rest::Nothing),
        Err(reason) => Err(at(&path, reason)),
    }
}

fn rest_of(bytes: &[u8], counted: u64, format: u64) -> Rest {
    let mut records: Vec<Record<'_>> = Vec::new();
    let mut left = bytes;
    while let Some((record, behind)) = next(left) {
        let Some(record) = record else {
            return Rest::Foreign;
        };
        // Behind the newest one stand records from before it.
        if records
            .last()
            .is_some_and(|last| record.number != last.number + 1)
        {
            break;
        }
        left = behind;
        records.push(record);
    }
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Rest::Nothing;
    };
    if last.number <= counted {
        return Rest::Nothing;
    }
    // The journal takes over all that a log has, or nothing.
    let follows = first.number == counted + 1;
    let known = records.iter().all(|record| record.format == format);
    let changes = records.iter().flat_map(|record| &record.changes);
    let changes = changes.map(Change::to_write).collect::<Option<Vec<_>>>();
    match changes.filter(|_| follows && known) {
        Some(changes) => Rest::Changes(changes, last.number),
        None => Rest::Foreign,
    }
}

/// The first record of these bytes, `None` for one that is whole and of another kind, and what
/// stands behind it.
fn next(bytes: &[u8]) -> Option<(Option<Record<'_>>, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let (body, _) = rest.split_at_checked(usize::try_from(number(0)).ok()?)?;
    if body.is_empty() || sum(body) != number(4) {
        return None;
    }
    let blocks = (HEAD + body.len()).next_multiple_of(BLOCK);
    let behind = bytes.get(blocks..).unwrap_or_default();
    Some((postcard::from_bytes(body).ok(), behind))
}

impl<'w> Change<'w> {
    fn of(write: &'w Write) -> Self {
        let (table, key) = write.table_and_key();
        let value = match write {
            Write::Put { value, .. } => Some(Bytes(value)),
            Write::Delete { .. } => None,
        };
        Self(table.name(), key, value)
    }

    /// `None` for a table that there is not.
    fn to_write(&self) -> Option<Write> {
        let table = Table::from_name(self.0)?;
        let key = self.1.to_owned();
        Some(match &self.2 {
            Some(Bytes(value)) => Write::Put {
                table,
                key,
                value: (*value).into(),
            },
            None => Write::Delete { table, key },
        })
    }
}

/// Removes the log of a directory, all of which is in the journal.
pub(super) fn remove_from(directory: &Path) {
    remove(&directory.join(FILE));
}

fn remove(path: &Path) {
    // What it has is passed over: the journal counts more.
    tell(path, fs::remove_file(path));
}

/// Puts the log of a directory aside, which is of another journal: a person may still want it.
pub(super) fn leave_out(directory: &Path) {
    let path = directory.join(FILE);
    tell(&path, fs::rename(&path, directory.join(LEFT_OUT)));
}

fn tell(path: &Path, done: io::Result<()>) {
    match done {
        Err(reason) if reason.kind() != io::ErrorKind::NotFound => {
            log::warn!("{}: it cannot be taken away: {reason}", path.display());
        }
        _ => {}
    }
}

fn sum(bytes: &[u8]) -> u32 {
    let mut sum = Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// Bytes before each record.
const HEAD: usize = 8;
/// Records begin at multiples of these bytes: what a disk wants of who passes by the page cache.
const BLOCK: usize = 4096;
/// Bytes of the log: what 256 requests at once write down, and what comes of them at once. As much
/// is kept in memory at most until the journal has it.
pub(super) const ROOM: usize = 2 << 20;

#[cfg(test)]
mod tests;
