//! A file that can be left as it is: redb writes once more when it closes, which would spoil what
//! somebody else has put into the file meanwhile.

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a file and whoever may leave it have in common.
pub(super) type Hold = Arc<Held>;

/// See [`Hold`].
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Nothing is written any more.
    let_go: AtomicBool,
    /// How long we have made the file.
    bytes: AtomicU64,
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
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct LeavableFile {
    file: FileBackend,
    hold: Hold,
}

impl LeavableFile {
    pub(super) fn new(file: FileBackend, hold: Hold) -> io::Result<Self> {
        hold.bytes.store(file.len()?, Ordering::Relaxed);
        Ok(Self { file, hold })
    }

    /// Does it, unless the file is left.
    fn change(&self, change: impl FnOnce(&FileBackend) -> io::Result<()>) -> io::Result<()> {
        match self.hold.let_go.load(Ordering::Relaxed) {
            true => Ok(()),
            false => change(&self.file),
        }
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
