//! A file that is read and never written: what redb would write (it puts a file in order when it
//! opens it) stays in memory and is forgotten. So a journal of another format is left byte for byte
//! as it was.

use redb::StorageBackend;
use redb::backends::FileBackend;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the head of this file.
pub(super) struct Untouched {
    file: FileBackend,
    changes: Mutex<Changes>,
}

/// What would have been written.
struct Changes {
    len: u64,
    /// By the number of the block.
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Untouched {
    pub(super) fn new(file: File) -> Result<Self, redb::DatabaseError> {
        let file = FileBackend::new(file)?;
        let changes = Mutex::new(Changes {
            len: file.len()?,
            blocks: BTreeMap::new(),
        });
        Ok(Self { file, changes })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it stands in the file, zeros behind its end.
    fn block(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut block = vec![0; usize::try_from(BLOCK).expect("a small number")];
        let start = number * BLOCK;
        let there = self.file.len()?.saturating_sub(start).min(BLOCK);
        let there = usize::try_from(there).expect("at most a block");
        if there > 0 {
            self.file.read(start, &mut block[..there])?;
        }
        Ok(block)
    }
}

impl std::fmt::Debug for Untouched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Untouched")
    }
}

impl StorageBackend for Untouched {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        for (number, within, part) in parts(offset, out.len()) {
            let out = &mut out[part];
            match changes.blocks.get(&number) {
                Some(block) => out.copy_from_slice(&block[within..within + out.len()]),
                None => out.copy_from_slice(&self.block(number)?[within..within + out.len()]),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.changes().len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        for (number, within, part) in parts(offset, data.len()) {
            let data = &data[part];
            let block = match changes.blocks.entry(number) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.block(number)?),
            };
            block[within..within + data.len()].copy_from_slice(data);
        }
        Ok(())
    }
}

/// The blocks of a stretch: the number of each, where the stretch begins in it, and which part of
/// the stretch it has.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK).expect("less than a block");
        let room = usize::try_from(BLOCK).expect("a small number") - within;
        let part = done..len.min(done + room);
        done = part.end;
        Some((at / BLOCK, within, part))
    })
}

const BLOCK: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_the_file_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let before: Vec<u8> = (0..10_000_u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &before).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let untouched = Untouched::new(file).unwrap();
        let mut expected = before.clone();
        for (at, len) in [(0, 10), (4090, 20), (4096, 4096), (8000, 2000)] {
            let data = vec![0xA5; len];
            untouched.write(at as u64, &data).unwrap();
            expected[at..at + len].copy_from_slice(&data);
        }
        untouched.set_len(20_000).unwrap();
        untouched.write(15_000, b"beyond").unwrap();
        expected.resize(20_000, 0);
        expected[15_000..15_006].copy_from_slice(b"beyond");
        assert_eq!(untouched.len().unwrap(), 20_000);
        let mut read = vec![1; 20_000];
        untouched.read(0, &mut read).unwrap();
        assert_eq!(read, expected);
        drop(untouched);
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
