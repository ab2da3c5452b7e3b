//! Why the memory cannot be used.

use super::FORMAT;
use std::io;
use std::path::PathBuf;

/// Why the memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it cannot be made or opened.
    #[error("{path}: {reason}")]
    Path {
        /// What cannot be opened.
        path: PathBuf,
        reason: io::Error,
    },
    /// Another daemon uses the same directory.
    #[error(
        "{0} is in use by another rackbmcd: stop that one, or give this one a state_dir of its own"
    )]
    Locked(PathBuf),
    /// Written by a newer daemon: never misread, and left as it is.
    #[error(
        "{path} has format {found} and was written by a newer rackbmcd; this one, version {version}, knows formats up \
         to {FORMAT}. Nothing was changed in it: start the newer version again. To go on with this one all the same, \
         move the file away and start with --new-journal: tasks, holds, history and the audit trail begin anew then",
        version = env!("CARGO_PKG_VERSION")
    )]
    Newer {
        path: PathBuf,
        /// The format that stands in it.
        found: u64,
    },
    /// Something else than a journal of ours.
    #[error(
        "{path} is no journal of rackbmcd ({reason}): move it away, and start with --new-journal"
    )]
    Foreign {
        path: PathBuf,
        /// How that was seen.
        reason: String,
    },
    /// Its checksums or its structure are broken.
    #[error(
        "{path} is damaged ({reason}). Nothing was changed in it: move it away, and start with --new-journal to begin \
         anew. A copy from before knows nothing of what was done since; with one in its place all tasks come up suspended"
    )]
    Damaged {
        path: PathBuf,
        /// How that was seen.
        reason: String,
    },
    /// There was one before.
    #[error(
        "{0} has no journal, and there was one: is its file system mounted? Put it back, or begin anew with --new-journal: \
         tasks, holds, history and the audit trail are lost then"
    )]
    Missing(PathBuf),
    /// Its file system is not mounted.
    #[error(
        "there is no journal in {directory}, and nothing is mounted at {mount}, where /etc/fstab has a file system: mount \
         it, or begin there with --new-journal"
    )]
    Unmounted {
        /// Where the journal would be.
        directory: PathBuf,
        /// The mount point.
        mount: PathBuf,
    },
    /// A link that leads nowhere.
    #[error(
        "{path} is a link to {target}, which is not there: is that file system mounted? Nothing was changed"
    )]
    Dangling {
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Somebody took the file away from under the daemon.
    #[error(
        "{path} {how} while the daemon runs: nothing can be remembered. Move the same file back and it goes on; a copy \
         wants a restart"
    )]
    Gone {
        path: PathBuf,
        /// How it went.
        how: &'static str,
    },
    /// Reading or writing failed; what was there before is unharmed.
    #[error("{path}: {reason}")]
    Disk {
        path: PathBuf,
        /// The system's reason, such as "No space left on device (os error 28)".
        reason: String,
    },
}
