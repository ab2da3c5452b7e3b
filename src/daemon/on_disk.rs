//! The configuration on the disk while another one is in force: whether it would be taken, found out before a restart does.
//!
//! The file is looked at by another thread: its file system may be one over a network, and hang.

use crate::config::{Complaint, Configuration, Disk};
use crate::model::ConfigurationRefused;
use crate::time::{Instant, WallTime};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// What tells one state of a file from another: its place, its length, and when it was written to the nanosecond.
type Mark = (u64, u64, i64, i64);

/// A look at the file that takes longer is told.
const HANGS: Duration = Duration::from_secs(5);

/// The file as it was judged last.
#[derive(Debug)]
pub(super) struct OnDisk {
    path: PathBuf,
    judged: Option<Mark>,
    look_at: Instant,
    /// Since when another thread looks at the file.
    looking: Option<Instant>,
    /// Whether the log has said that this takes long.
    told: bool,
    refused: Option<ConfigurationRefused>,
}

/// The file as another thread has read it.
#[derive(Debug)]
pub(super) struct Found {
    mark: Option<Mark>,
    /// What is in it, or what is wrong with it.
    pub(super) outcome: Result<Configuration, Vec<Complaint>>,
}

impl Found {
    /// What is there now. May take as long as the file system likes.
    pub(super) fn read(path: &Path) -> Self {
        // What is written meanwhile is read the next time.
        let mark = mark(path);
        Self {
            mark,
            outcome: Configuration::load(path, &Disk),
        }
    }
}

impl OnDisk {
    /// The file that was good just now.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            judged: mark(&path),
            path,
            look_at: Instant::START,
            looking: None,
            told: false,
            refused: None,
        }
    }

    /// The file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A look at the file, where it is time for one: for another thread, which finds something where the file has changed
    /// since it was judged. [`looked`](Self::looked) is to be told.
    pub(super) fn poll_look(
        &mut self,
        now: Instant,
    ) -> Option<impl FnOnce() -> Option<Found> + Send + use<>> {
        if let Some(since) = self.looking {
            if now >= since + HANGS && !std::mem::replace(&mut self.told, true) {
                log::warn!(
                    "{} cannot be looked at: its file system has not answered for 5 s",
                    self.path.display()
                );
            }
            return None;
        }
        if now < self.look_at {
            return None;
        }
        self.look_at = now + EVERY;
        self.looking = Some(now);
        let (path, judged) = (self.path.clone(), self.judged);
        Some(move || (mark(&path) != judged).then(|| Found::read(&path)))
    }

    /// The look is over.
    pub(super) fn looked(&mut self) {
        self.looking = None;
        if std::mem::take(&mut self.told) {
            log::info!("{} can be looked at again", self.path.display());
        }
    }

    /// It was judged; whether something is different now.
    pub(super) fn judged(&mut self, found: &Found, wall: WallTime) -> bool {
        self.judged = found.mark;
        let why = found.outcome.as_ref().err().and_then(|all| all.first());
        let why = why.map(Complaint::to_string);
        if why.as_ref() == self.refused.as_ref().map(|refused| &refused.why) {
            return false;
        }
        // Wrong in another way is still wrong since then.
        let since = self.refused.as_ref().map_or(wall, |refused| refused.since);
        self.refused = why.map(|why| ConfigurationRefused { since, why });
        true
    }

    /// What is wrong with it.
    pub(super) fn refused(&self) -> Option<&ConfigurationRefused> {
        self.refused.as_ref()
    }
}

fn mark(path: &Path) -> Option<Mark> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    /// What a look finds, where one is due.
    fn look(on_disk: &mut OnDisk, seconds: u64) -> Option<Option<Found>> {
        let found = on_disk.poll_look(at(seconds))?();
        on_disk.looked();
        Some(found)
    }

    #[test]
    fn a_file_that_becomes_wrong_is_refused_since_then_until_it_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rackbmcd.toml");
        std::fs::write(&path, "[rack]\n").unwrap();
        let mut on_disk = OnDisk::new(path.clone());
        let wall = |seconds: u64| WallTime::from_unix_micros(seconds * 1_000_000);
        assert!(look(&mut on_disk, 1).unwrap().is_none());
        std::fs::write(&path, "[rack\n").unwrap();
        assert!(look(&mut on_disk, 2).is_none(), "not looked at so often");
        let found = look(&mut on_disk, 7).unwrap().expect("it has changed");
        assert!(on_disk.judged(&found, wall(7)));
        let refused = on_disk.refused().unwrap().clone();
        assert!(refused.why.contains("rackbmcd.toml:1:"), "{refused:?}");
        assert_eq!(refused.since, wall(7));
        let nothing = look(&mut on_disk, 30).unwrap();
        assert!(nothing.is_none(), "nothing has changed");
        std::fs::write(&path, "[rack]\nnome = \"r1\"\n").unwrap();
        let found = look(&mut on_disk, 40).unwrap().expect("it has changed");
        assert!(on_disk.judged(&found, wall(40)));
        assert_eq!(on_disk.refused().unwrap().since, wall(7));
        std::fs::write(&path, "[rack]\nname = \"r1\"\n").unwrap();
        let found = look(&mut on_disk, 50).unwrap().expect("it has changed");
        assert!(on_disk.judged(&found, wall(50)));
        assert_eq!(on_disk.refused(), None);
        std::fs::remove_file(&path).unwrap();
        let found = look(&mut on_disk, 60).unwrap().expect("it is gone");
        assert!(on_disk.judged(&found, wall(60)) && on_disk.refused().is_some());
    }

    #[test]
    fn a_look_that_hangs_is_the_only_one_and_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut on_disk = OnDisk::new(dir.path().join("rackbmcd.toml"));
        let hangs = on_disk.poll_look(at(1)).expect("the first look");
        assert!(on_disk.poll_look(at(5)).is_none() && !on_disk.told);
        assert!(on_disk.poll_look(at(6)).is_none() && on_disk.told);
        assert!(on_disk.poll_look(at(400)).is_none());
        assert!(hangs().is_none());
        on_disk.looked();
        assert!(!on_disk.told && on_disk.poll_look(at(401)).is_some());
    }
}
