//! A file that can be left as it is: redb writes once more when it closes, which would spoil what
//! somebody else has put into the file meanwhile.
//!
//! A file that was left fails every write, so that redb gives up. It must not be told that they
//! succeeded: it reads again what it believes to be there.
//!
//! Every write of ours is noted here, also those that redb makes while it is read or opened, when
//! its cache is full: whatever else the file's time says is somebody else's.

use super::place::{LastWrite, last_write};
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend, StorageError};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a file and whoever may leave it have in common.
pub(super) type Hold = Arc<Held>;

/// See [`Hold`].
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Nothing is written any more: who tries fails.
    let_go: AtomicBool,
    /// How long we have made the file.
    bytes: AtomicU64,
    /// The file as of our own last write.
    written: Mutex<LastWrite>,
}

impl Held {
    /// From now on the file is left as it is, or is ours again.
    pub(super) fn let_go(&self, let_go: bool) {
        self.let_go.store(let_go, Ordering::Relaxed);
    }

    /// How long the file is, as far as we have made it so.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The file is as we have written it.
    pub(super) fn note(&self, written: LastWrite) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = written;
    }

    /// Whether something else than us seems to have written into the file, which is so now.
    pub(super) fn is_touched(&self, found: LastWrite) -> bool {
        found != *self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct LeavableFile {
    file: FileBackend,
    /// The same, to ask when it was written.
    asked: File,
    hold: Hold,
}

impl LeavableFile {
    pub(super) fn new(file: File, hold: Hold) -> Result<Self, DatabaseError> {
        let asked = file.try_clone().map_err(StorageError::from)?;
        let file = FileBackend::new(file)?;
        let bytes = file.len().map_err(StorageError::from)?;
        hold.bytes.store(bytes, Ordering::Relaxed);
        Ok(Self { file, asked, hold })
    }

    /// Does it, unless the file is left.
    fn change(&self, change: impl FnOnce(&FileBackend) -> io::Result<()>) -> io::Result<()> {
        if self.hold.let_go.load(Ordering::Relaxed) {
            return Err(io::Error::other("the file is left as it is"));
        }
        let changed = change(&self.file);
        self.hold.note(last_write(&self.asked));
        changed
    }
}

impl StorageBackend for LeavableFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|file| {
            file.set_len(len)?;
            self.hold.bytes.store(len, Ordering::Relaxed);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(FileBackend::sync_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|file| file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FILE, Store};
    use super::*;
    use crate::rack::record::{Table, Write};
    use std::fs::{self, OpenOptions};
    use std::time::{Duration, SystemTime};

    fn put(number: usize, value: &[u8]) -> Write {
        Write::Put {
            table: Table::Tasks,
            key: format!("{number:05}"),
            value: value.into(),
        }
    }

    /// The class: writes into a file that was left were said to have succeeded, and redb read other
    /// pages again than it believed to have written, and panicked.
    #[test]
    fn a_journal_whose_time_was_set_is_opened_anew_and_has_all_that_it_had() {
        let mut home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        let mut number = 0;
        for round in 1..=6 {
            // More than redb keeps in memory, in pages of all sizes.
            let writes = (0..200).map(|_| {
                number += 1;
                put(number, &vec![7; number * round % 5000])
            });
            store.commit(&writes.collect::<Vec<_>>()).unwrap();
            if round % 2 == 0 {
                // As a kill leaves it: redb puts it in order before it goes on.
                let copy = tempfile::tempdir().unwrap();
                fs::copy(home.path().join(FILE), copy.path().join(FILE)).unwrap();
                drop(store);
                home = copy;
                store = Store::open(home.path()).unwrap();
            }
            let file = OpenOptions::new().write(true).open(home.path().join(FILE));
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(round as u64);
            file.unwrap().set_modified(time).unwrap();
            store.commit(&[put(1, b"newest")]).unwrap();
            let tasks = store.load().unwrap();
            assert_eq!(tasks.len(), number);
            assert_eq!(
                tasks[0],
                (Table::Tasks, "00001".to_owned(), b"newest".to_vec())
            );
        }
        assert_eq!(store.count().unwrap(), 12);
    }

    #[test]
    fn what_we_write_is_ours_whenever_that_is_and_a_file_that_was_left_takes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let options = || {
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .clone()
        };
        let file = options().open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let hold = Hold::default();
        let ours = LeavableFile::new(file.try_clone().unwrap(), hold.clone()).unwrap();
        assert!(hold.is_touched(last_write(&file)));
        ours.set_len(8192).unwrap();
        ours.write(4096, &[1; 4096]).unwrap();
        assert!(!hold.is_touched(last_write(&file)));
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(hold.is_touched(last_write(&file)));
        hold.let_go(true);
        assert!(ours.write(0, &[2; 4096]).is_err());
        assert!(ours.set_len(0).is_err());
        assert!(ours.sync_data().is_err());
        let mut found = vec![9; 4096];
        ours.read(0, &mut found).unwrap();
        assert_eq!((ours.len().unwrap(), found), (8192, vec![0; 4096]));
        hold.let_go(false);
        ours.write(0, &[2; 4096]).unwrap();
    }
}
