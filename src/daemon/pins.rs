//! What a host that has a second one beside it keeps of itself and of etcd: the file `host.json` in
//! the state directory.
//!
//! Written as a whole beside the old one, which it then replaces. Where it is lost, the host is a
//! new one.

use crate::entropy::Entropy;
use crate::tenure::Pinned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// See the head of this file.
pub(super) struct Pins {
    path: PathBuf,
    pub(super) host: Uuid,
    pub(super) pinned: Pinned,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    host: Uuid,
    #[serde(default)]
    cluster: Option<u64>,
    #[serde(default)]
    rack: Option<Uuid>,
    #[serde(default)]
    ticket: u64,
}

impl Pins {
    /// Reads them, or makes this host a new one.
    ///
    /// # Errors
    /// The file is there and cannot be read, or a new one cannot be written.
    pub(super) fn open(state_dir: &Path, entropy: &mut dyn Entropy) -> io::Result<Self> {
        let path = state_dir.join("host.json");
        let wrong = |why: String| io::Error::other(format!("{}: {why}", path.display()));
        let stored: Option<Stored> = match fs::read(&path) {
            Ok(bytes) => {
                let read = serde_json::from_slice(&bytes);
                Some(read.map_err(|error| wrong(error.to_string()))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(wrong(error.to_string())),
        };
        match stored {
            Some(stored) => Ok(Self {
                host: stored.host,
                pinned: Pinned {
                    cluster: stored.cluster,
                    rack: stored.rack,
                    ticket: stored.ticket,
                },
                path,
            }),
            None => {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                let pins = Self {
                    host: uuid::Builder::from_random_bytes(bytes).into_uuid(),
                    pinned: Pinned::default(),
                    path,
                };
                pins.write()?;
                Ok(pins)
            }
        }
    }

    /// Something more was seen.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn keep(&mut self, pinned: Pinned) -> io::Result<()> {
        self.pinned = pinned;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let stored = Stored {
            host: self.host,
            cluster: self.pinned.cluster,
            rack: self.pinned.rack,
            ticket: self.pinned.ticket,
        };
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&stored).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Seeded;

    #[test]
    fn a_host_is_the_same_over_its_lives_and_another_one_where_its_disk_was_lost() {
        let folder = tempfile::tempdir().unwrap();
        let open = |seed| Pins::open(folder.path(), &mut Seeded::new(seed)).unwrap();
        let mut first = open(1);
        let pinned = Pinned {
            cluster: Some(u64::MAX),
            rack: Some(Uuid::from_u128(7)),
            ticket: 41,
        };
        first.keep(pinned).unwrap();
        let again = open(2);
        assert_eq!((again.host, again.pinned), (first.host, pinned));
        fs::remove_file(folder.path().join("host.json")).unwrap();
        assert_ne!(open(3).host, first.host);
        fs::write(folder.path().join("host.json"), "nonsense").unwrap();
        assert!(Pins::open(folder.path(), &mut Seeded::new(4)).is_err());
    }
}
