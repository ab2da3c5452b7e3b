//! What can go wrong for a person at the command line, in words, and the exit code that a script
//! sees.
//!
//! The codes are promised (docs/cli.md) and never change their meaning. Knows nothing of HTTP:
//! `connect` and `client` translate.

use crate::model::{ErrorKind, Word};
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The exit codes of `rackbmc`, in the order in which they win where several nodes ended
/// differently.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Exit {
    /// Everything that was asked for was done and read back.
    Done = 0,
    /// One, some or all nodes failed.
    Failed = 1,
    /// The command line makes no sense (clap's own code).
    Usage = 2,
    /// The daemon cannot be reached.
    Unreachable = 3,
    /// The daemon, or its socket, does not let this user do that.
    NotPermitted = 4,
    /// The wait ran out or was given up; the task is still running.
    StillRunning = 5,
    /// The task was aborted, cancelled or rolled back.
    Withdrawn = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// What a command over many nodes exits with: a failure tells more than a withdrawal, and that
    /// more than a task that still runs.
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        let rank = |exit: &Self| match exit {
            Self::Done => 0,
            Self::StillRunning => 1,
            Self::Withdrawn => 2,
            Self::Failed => 3,
            Self::Usage => 4,
            Self::NotPermitted => 5,
            Self::Unreachable => 6,
        };
        all.into_iter().max_by_key(rank).unwrap_or(Self::Done)
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// There is no socket: the daemon never started here, or listens elsewhere.
    NoSocket {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The socket is there and nobody listens on it.
    NobodyListens {
        /// The socket, or `host:port`.
        at: String,
    },
    /// The kernel does not let this user connect to the socket.
    SocketForbidden {
        /// The socket.
        socket: PathBuf,
        /// Who may, where that can be read.
        users: Option<Users>,
    },
    /// No answer in time.
    Timeout {
        /// What did not come.
        what: String,
        /// After how long.
        after: Duration,
    },
    /// The connection broke, or what came is no answer of this daemon.
    Broken {
        /// The socket, or `host:port`.
        at: String,
        /// How.
        why: String,
    },
    /// The daemon says no.
    Refused(Refusal),
    /// Something on our side of the socket: a file, the terminal, a child process.
    Here(String),
}

/// Who may use a socket that we may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Users {
    /// The members of a group, and root.
    Group(String),
    /// Those of a group without a name, and root.
    Nameless(u32),
    /// Root alone.
    Root,
}

/// A no of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable word for it, where the answer has one.
    pub kind: Word<ErrorKind>,
    /// It in words.
    pub message: String,
}

impl Failure {
    /// The code that goes with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::NoSocket { .. }
            | Self::NobodyListens { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. } => Exit::Unreachable,
            Self::SocketForbidden { .. } => Exit::NotPermitted,
            Self::Refused(refusal) => match refusal.status {
                401 | 403 => Exit::NotPermitted,
                400 | 406 | 413 | 422 => Exit::Usage,
                404 if refusal.kind == ErrorKind::NodeNotFound => Exit::Usage,
                // Another host, or this one in a moment, can be asked.
                503 if refusal.kind == ErrorKind::Stopping => Exit::Unreachable,
                503 if refusal.kind == ErrorKind::Moved => Exit::Unreachable,
                _ => Exit::Failed,
            },
            Self::Here(_) => Exit::Failed,
        }
    }

    /// Whether the daemon may simply be restarting, so that asking again can help.
    pub(crate) fn may_pass(&self) -> bool {
        self.exit() == Exit::Unreachable
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Here(text) => f.write_str(text),
            Self::NoSocket { socket } => write!(
                f,
                "no socket at {}: rackbmcd is not running here, or listens elsewhere \
                 (systemctl status rackbmcd; --socket or RACKBMC_SOCKET names another place)",
                socket.display()
            ),
            Self::NobodyListens { at } => write!(
                f,
                "{at}: connection refused: rackbmcd is stopped or just restarting (systemctl status rackbmcd)"
            ),
            Self::SocketForbidden {
                socket,
                users: Some(users),
            } => {
                write!(f, "{}: permission denied: only root", socket.display())?;
                match users {
                    Users::Group(group) => write!(
                        f,
                        " and members of the group '{group}' may use it (usermod -aG {group} USER, then log in again)"
                    ),
                    Users::Nameless(group) => write!(
                        f,
                        " and members of the group {group} may use it, which has no name on this host"
                    ),
                    Users::Root => f.write_str(
                        " may use it; the group of others is socket_group in the daemon's configuration, or \
                         SocketGroup= in rackbmcd.socket (rackbmc, as a rule)",
                    ),
                }
            }
            Self::SocketForbidden {
                socket,
                users: None,
            } => write!(
                f,
                "{}: permission denied, and its folder does not even let us see which group may use it",
                socket.display()
            ),
            Self::Timeout { what, after } => {
                write!(f, "{what}: no answer within {:.0?}", after)
            }
            Self::Broken { at, why } => write!(f, "{at}: {why}"),
            Self::Refused(refusal) => match refusal.status {
                401 => write!(
                    f,
                    "{} (user and password: --auth-file, or RACKBMC_AUTH)",
                    refusal.message
                ),
                _ => f.write_str(&refusal.message),
            },
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, kind: &str) -> Exit {
        Failure::Refused(Refusal {
            status,
            kind: Word::of(kind),
            message: "no".into(),
        })
        .exit()
    }

    #[test]
    fn every_kind_of_trouble_has_its_own_exit_code() {
        let socket = PathBuf::from("/run/rackbmcd/rackbmcd.sock");
        assert_eq!(Failure::Usage("?".into()).exit() as u8, 2);
        assert_eq!(
            Failure::NoSocket {
                socket: socket.clone()
            }
            .exit() as u8,
            3
        );
        assert_eq!(
            Failure::SocketForbidden {
                socket,
                users: None
            }
            .exit() as u8,
            4
        );
        assert_eq!(refused(404, "node_not_found") as u8, 2);
        assert_eq!(refused(404, "batch_not_found") as u8, 1);
        assert_eq!(refused(409, "locked") as u8, 1);
        assert_eq!(refused(400, "invalid") as u8, 2);
        assert_eq!(refused(403, "role") as u8, 4);
        assert_eq!(refused(503, "stopping") as u8, 3);
        assert_eq!(refused(503, "store") as u8, 1);
        // A BMC that is slow or silent is no daemon that cannot be reached.
        for kind in ErrorKind::ALL.map(ErrorKind::name) {
            for status in [502, 504] {
                assert_eq!(refused(status, kind), Exit::Failed, "{status} {kind}");
            }
        }
    }

    #[test]
    fn permission_denied_names_the_group_that_may() {
        let text = Failure::SocketForbidden {
            socket: "/run/rackbmcd/rackbmcd.sock".into(),
            users: Some(Users::Group("rackbmc".into())),
        }
        .to_string();
        assert!(text.contains("usermod -aG rackbmc USER"), "{text}");
    }

    #[test]
    fn a_failed_node_outweighs_one_that_was_aborted_or_still_runs() {
        let all = [
            Exit::Done,
            Exit::Withdrawn,
            Exit::Failed,
            Exit::StillRunning,
        ];
        assert_eq!(Exit::worst(all), Exit::Failed);
        assert_eq!(Exit::worst([]), Exit::Done);
    }
}
