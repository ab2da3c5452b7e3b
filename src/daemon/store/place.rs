//! The place of the journal: whether there was one before, whether the file is still the one that
//! was opened, and whether it is older than what was written.
//!
//! The lock's file beside it keeps the number of the last transaction. A journal that was put back
//! alone from a copy counts fewer; where the whole directory or disk was put back, both do, and
//! nothing here can tell.

use super::{FILE, LOCK, StoreError, at, private_file};
use crate::config::open_at_once;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The lock of a state directory, and the number that is kept in it.
pub(super) struct Lock {
    file: Flock<File>,
    /// There was a lock before: a journal too, then.
    pub(super) was_there: bool,
}

impl Lock {
    /// Takes the lock, which says that a daemon uses the directory.
    pub(super) fn take(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(LOCK);
        let was_there = path.exists();
        let file = private_file(&path).and_then(whole_file);
        let file = locked(file.map_err(|reason| at(&path, reason))?, directory)?;
        Ok(Self { file, was_there })
    }

    /// The same for a look, which makes nothing and needs none where there never was one.
    pub(super) fn of_a_look(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(LOCK);
        match open_at_once(&path).and_then(whole_file) {
            Ok(file) => Ok(Some(Self {
                file: locked(file, directory)?,
                was_there: true,
            })),
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(reason) => Err(at(&path, reason)),
        }
    }

    /// The last transaction that was noted; 0 where none ever was, `None` where what stands there
    /// is none of ours.
    pub(super) fn noted(&self) -> Option<u64> {
        let mut text = [0; DIGITS];
        match self.file.read_at(&mut text, 0) {
            Ok(0) => Some(0),
            Ok(DIGITS) => std::str::from_utf8(&text).ok()?.parse().ok(),
            Ok(_) | Err(_) => None,
        }
    }

    /// Notes a transaction that is durable. Without a sync, which would double the cost of each: a
    /// number that is lost is a smaller one, and [`Lock::sync`] comes when there is time.
    pub(super) fn note(&self, commits: u64) {
        let text = format!("{commits:0width$}\n", width = DIGITS);
        if let Err(reason) = self.file.write_all_at(text.as_bytes(), 0) {
            log::warn!(
                "{LOCK}: the number of the last transaction is not noted, a copy put back from before would not be \
                 known as one: {reason}"
            );
        }
    }

    /// Notes that nothing is known: for a journal that came without its lock.
    pub(super) fn doubt(&self) {
        // Where this cannot be written, only a second start before the first commit would believe
        // the journal.
        let _ = self.file.write_all_at(b"?", 0);
    }

    /// Makes what was noted durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// A file, and nothing that is only opened like one: a pipe or a device keeps nothing.
pub(super) fn whole_file(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(
            "something is there that is no file: move it away",
        )),
    }
}

fn locked(file: File, directory: &Path) -> Result<Flock<File>, StoreError> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => StoreError::Locked(directory.to_owned()),
        other => at(&directory.join(LOCK), other.into()),
    })
}

/// Whether a journal is to be made: there is none, and there was none, or one is wanted `anew`.
pub(super) fn wants_making(
    path: &Path,
    lock: &Lock,
    directory: &Path,
    anew: bool,
) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && !path.exists() => Err(StoreError::Dangling {
            path: path.to_owned(),
            target: fs::read_link(path).unwrap_or_default(),
        }),
        Ok(_) => Ok(false),
        Err(reason) if reason.kind() != io::ErrorKind::NotFound => Err(at(path, reason)),
        Err(_) => {
            // Power may have gone while the journal was being made.
            let half_made = directory.join(format!("{FILE}.new")).exists();
            if lock.was_there && !half_made && !anew {
                return Err(StoreError::Missing(directory.to_owned()));
            }
            let fstab = fs::read_to_string(FSTAB).unwrap_or_default();
            if let Some(mount) = unmounted(&fstab, directory, is_mounted).filter(|_| !anew) {
                let directory = directory.to_owned();
                return Err(StoreError::Unmounted { directory, mount });
            }
            log::warn!("no journal in {}: beginning anew", directory.display());
            Ok(true)
        }
    }
}

/// The mount point in `fstab` that a directory is to be on, where nothing is mounted there: what
/// was remembered is on that file system, more likely than that there never was anything.
fn unmounted(fstab: &str, directory: &Path, is_mounted: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let lines = fstab.lines().map(str::trim_start);
    let entries = lines.filter(|line| !line.starts_with('#'));
    // fstab(5): spaces and tabs in a name are written in octal.
    let points = entries.filter_map(|entry| entry.split_ascii_whitespace().nth(1));
    let points =
        points.map(|point| PathBuf::from(point.replace("\\040", " ").replace("\\011", "\t")));
    let on = points.filter(|point| point.is_absolute() && directory.starts_with(point));
    let nearest = on.max_by_key(|point| point.components().count())?;
    (!is_mounted(&nearest)).then_some(nearest)
}

/// Whether a file system is mounted at a directory. Where that cannot be known it is taken as
/// mounted.
fn is_mounted(point: &Path) -> bool {
    let Some(above) = point.parent() else {
        return true;
    };
    match (fs::metadata(point), fs::metadata(above)) {
        (Ok(here), Ok(above)) => here.dev() != above.dev(),
        _ => true,
    }
}

/// What is to be mounted where.
const FSTAB: &str = "/etc/fstab";

/// The file that was opened as the journal.
pub(super) struct Opened {
    file: File,
    identity: (u64, u64),
}

/// When a file was written last, and its length. `None` where it does not say so.
pub(super) type LastWrite = Option<(SystemTime, u64)>;

pub(super) fn last_write(file: &File) -> LastWrite {
    let found = file.metadata().ok()?;
    Some((found.modified().ok()?, found.len()))
}

impl Opened {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let identity = identity(&file.metadata()?);
        Ok(Self { file, identity })
    }

    pub(super) fn last_write(&self) -> LastWrite {
        last_write(&self.file)
    }

    /// Whether that file is still there, under its name.
    pub(super) fn check(&self, path: &Path) -> Result<(), StoreError> {
        let gone = |how: &'static str| {
            let path = path.to_owned();
            Err(StoreError::Gone { path, how })
        };
        let links = self.file.metadata().map_err(|reason| at(path, reason))?;
        if links.nlink() == 0 {
            return gone("was deleted");
        }
        match fs::metadata(path) {
            Ok(found) if identity(&found) == self.identity => Ok(()),
            Ok(_) => gone("was replaced by another file"),
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => gone("was moved away"),
            Err(reason) => Err(at(path, reason)),
        }
    }

    /// The bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |found| found.len())
    }
}

fn identity(of: &fs::Metadata) -> (u64, u64) {
    (of.dev(), of.ino())
}

/// Where a directory has its lock.
pub(super) fn lock_path(directory: &Path) -> PathBuf {
    directory.join(LOCK)
}

/// Digits of the largest number.
const DIGITS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_is_not_mounted_is_known_from_fstab() {
        let fstab = "# a comment /var/lib/rackbmcd\n\
                     UUID=1 / ext4 defaults 0 1\n\
                     UUID=2\t/var/lib/rackbmcd\text4 defaults 0 2\n\
                     UUID=3 /srv/my\\040racks ext4 defaults 0 2\n\
                     UUID=4 none swap sw 0 0\n";
        let nothing = |_: &Path| false;
        let only_root = |point: &Path| point == Path::new("/");
        let found = |directory: &str| unmounted(fstab, Path::new(directory), only_root);
        let point = PathBuf::from("/var/lib/rackbmcd");
        assert_eq!(found("/var/lib/rackbmcd"), Some(point.clone()));
        assert_eq!(found("/var/lib/rackbmcd/r2"), Some(point));
        assert_eq!(found("/srv/my racks/r1"), Some("/srv/my racks".into()));
        assert_eq!(found("/var/lib/other"), None);
        assert_eq!(found("/var/lib/rackbmcd2"), None);
        let all = |_: &Path| true;
        assert_eq!(unmounted(fstab, Path::new("/var/lib/rackbmcd"), all), None);
        assert_eq!(unmounted("", Path::new("/var/lib/rackbmcd"), nothing), None);
        assert!(is_mounted(Path::new("/proc")) && is_mounted(Path::new("/")));
        let home = tempfile::tempdir().unwrap();
        assert!(!is_mounted(home.path()));
    }
}
