//! What a host that has a second one beside it keeps of itself and of etcd: the file `host.json` in
//! the state directory.
//!
//! Written as a whole beside the old one, which it then replaces. Where it is lost, the host is a
//! new one.

use crate::config::{Disk, Files};
use crate::entropy::Entropy;
use crate::tenure::Pinned;
use serde::{Deserialize, Serialize};
use smol::channel::{self, Receiver, Sender};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::thread::{self, JoinHandle};
use uuid::Uuid;

/// See the head of this file.
pub(super) struct Pins {
    pub(super) host: Uuid,
    pub(super) pinned: Pinned,
    /// To the thread that writes them: the disk may hang.
    to_disk: Option<Sender<Stored>>,
    writer: Option<JoinHandle<()>>,
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
        let stored: Option<Stored> = match Disk.read(&path) {
            Ok(content) => {
                let read = serde_json::from_slice(&content.bytes);
                Some(read.map_err(|error| wrong(error.to_string()))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(wrong(error.to_string())),
        };
        let stored = match stored {
            Some(stored) => stored,
            None => {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                let host = uuid::Builder::from_random_bytes(bytes).into_uuid();
                let stored = Stored::new(host, Pinned::default());
                write(&path, &stored)?;
                stored
            }
        };
        Self::of(stored, move |stored| write(&path, stored))
    }

    /// What was read or made, and how changes of it are written.
    fn of(
        stored: Stored,
        write: impl Fn(&Stored) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        // Of what waits for a disk that hangs, only the last counts.
        let (to_disk, changes) = channel::bounded(1);
        let writer = thread::Builder::new().name("pins".into());
        let writer = writer.spawn(move || write_all(write, &changes))?;
        Ok(Self {
            host: stored.host,
            pinned: Pinned {
                cluster: stored.cluster,
                rack: stored.rack,
                ticket: stored.ticket,
            },
            to_disk: Some(to_disk),
            writer: Some(writer),
        })
    }

    /// Something more was seen: it is written when the disk takes it.
    pub(super) fn keep(&mut self, pinned: Pinned) {
        self.pinned = pinned;
        if let Some(to_disk) = &self.to_disk {
            // The thread ends with this value, and not before.
            let _ = to_disk.force_send(Stored::new(self.host, pinned));
        }
    }
}

impl Drop for Pins {
    /// What was given to the disk is on it.
    fn drop(&mut self) {
        self.to_disk = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Stored {
    fn new(host: Uuid, pinned: Pinned) -> Self {
        Self {
            host,
            cluster: pinned.cluster,
            rack: pinned.rack,
            ticket: pinned.ticket,
        }
    }
}

/// Writes what comes, of several that wait the last, until no more can come.
fn write_all(write: impl Fn(&Stored) -> io::Result<()>, changes: &Receiver<Stored>) {
    while let Ok(last) = changes.recv_blocking() {
        if let Err(error) = write(&last) {
            log::error!("what was seen of etcd cannot be kept: {error}");
        }
    }
}

fn write(path: &Path, stored: &Stored) -> io::Result<()> {
    let new = path.with_extension("json.new");
    // What a crash has left there, or somebody has put there: a pipe would keep whoever opens it.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(&new)?;
    file.write_all(&serde_json::to_vec(stored).map_err(io::Error::other)?)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Seeded;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

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
        let host = first.host;
        first.keep(Pinned::default());
        first.keep(pinned);
        drop(first);
        let again = open(2);
        assert_eq!((again.host, again.pinned), (host, pinned));
        fs::remove_file(folder.path().join("host.json")).unwrap();
        assert_ne!(open(3).host, host);
        fs::write(folder.path().join("host.json"), "nonsense").unwrap();
        assert!(Pins::open(folder.path(), &mut Seeded::new(4)).is_err());
    }

    #[test]
    fn a_disk_that_hangs_makes_nobody_wait_and_nothing_gathers_before_it() {
        let (goes_on, disk) = channel::unbounded::<()>();
        let stored = Stored::new(Uuid::from_u128(1), Pinned::default());
        let hangs = move |_: &Stored| disk.recv_blocking().map_err(io::Error::other);
        let mut pins = Pins::of(stored, hangs).unwrap();
        for ticket in 1..=10_000 {
            pins.keep(Pinned {
                ticket,
                ..Pinned::default()
            });
        }
        assert!(pins.to_disk.as_ref().unwrap().len() <= 1);
        drop(goes_on);
        drop(pins);
    }

    #[test]
    fn a_pipe_in_the_place_of_what_is_kept_keeps_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pipe = |name: &str| mkfifo(&at(name), Mode::S_IRWXU).unwrap();
        let open = || Pins::open(folder.path(), &mut Seeded::new(1));
        pipe("host.json.new");
        drop(open().unwrap());
        assert!(fs::read(at("host.json")).unwrap().starts_with(b"{"));
        fs::remove_file(at("host.json")).unwrap();
        pipe("host.json");
        let told = open().err().unwrap().to_string();
        assert!(
            told.contains("host.json: nothing comes out of it"),
            "{told}"
        );
    }
}
