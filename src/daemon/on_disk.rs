//! The configuration on the disk while another one is in force: whether it would be taken, found
//! out before a restart does.

use crate::config::{Complaint, Configuration};
use crate::model::ConfigurationRefused;
use crate::time::{Instant, WallTime};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// What tells one state of a file from another: its place, its length, and when it was written to
/// the nanosecond.
type Mark = (u64, u64, i64, i64);

/// The file as it was judged last.
#[derive(Debug)]
pub(super) struct OnDisk {
    path: PathBuf,
    judged: Option<Mark>,
    look_at: Instant,
    /// The file is being judged by another thread.
    busy: bool,
    refused: Option<ConfigurationRefused>,
}

impl OnDisk {
    /// The file that was good just now.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            judged: mark(&path),
            path,
            look_at: Instant::START,
            busy: false,
            refused: None,
        }
    }

    /// The file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has changed since it was judged: then it is to be judged, and
    /// [`judged`](Self::judged) told.
    pub(super) fn wants_judging(&mut self, now: Instant) -> bool {
        if self.busy || now < self.look_at {
            return false;
        }
        self.look_at = now + EVERY;
        self.busy = mark(&self.path) != self.judged;
        self.busy
    }

    /// It was judged; whether something is different now.
    pub(super) fn judged(
        &mut self,
        outcome: &Result<Configuration, Vec<Complaint>>,
        wall: WallTime,
    ) -> bool {
        self.busy = false;
        self.judged = mark(&self.path);
        let why = outcome.as_ref().err().and_then(|all| all.first());
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

    #[test]
    fn a_file_that_becomes_wrong_is_refused_since_then_until_it_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rackbmcd.toml");
        std::fs::write(&path, "[rack]\n").unwrap();
        let mut on_disk = OnDisk::new(path.clone());
        let at = |seconds| Instant::START + Duration::from_secs(seconds);
        let wall = |seconds: u64| WallTime::from_unix_micros(seconds * 1_000_000);
        let load = || Configuration::load(&path, &crate::config::Disk);
        assert!(!on_disk.wants_judging(at(1)));
        std::fs::write(&path, "[rack\n").unwrap();
        assert!(!on_disk.wants_judging(at(2)), "not looked at so often");
        assert!(on_disk.wants_judging(at(7)));
        assert!(!on_disk.wants_judging(at(20)), "it is being judged");
        assert!(on_disk.judged(&load(), wall(7)));
        let refused = on_disk.refused().unwrap().clone();
        assert!(refused.why.contains("rackbmcd.toml:1:"), "{refused:?}");
        assert_eq!(refused.since, wall(7));
        assert!(!on_disk.wants_judging(at(30)), "nothing has changed");
        std::fs::write(&path, "[rack]\nnome = \"r1\"\n").unwrap();
        assert!(on_disk.wants_judging(at(40)));
        assert!(on_disk.judged(&load(), wall(40)));
        assert_eq!(on_disk.refused().unwrap().since, wall(7));
        std::fs::write(&path, "[rack]\nname = \"r1\"\n").unwrap();
        assert!(on_disk.wants_judging(at(50)));
        assert!(on_disk.judged(&load(), wall(50)));
        assert_eq!(on_disk.refused(), None);
        std::fs::remove_file(&path).unwrap();
        assert!(on_disk.wants_judging(at(60)));
        assert!(on_disk.judged(&load(), wall(60)) && on_disk.refused().is_some());
    }
}
