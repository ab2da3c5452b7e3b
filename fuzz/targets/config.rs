//! The configuration with the files that it names, in memory. A zero byte separates the file from
//! another password, and that from a file of users.

use rackbmcd::config::{Configuration, Content, Files};
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "/etc/rackbmcd/rackbmcd.toml";
/// What must never be shown.
const SECRET: &str = "Zq7!unseen";

struct World<'a> {
    config: &'a [u8],
    other: &'a [u8],
    users: &'a [u8],
}

impl Files for World<'_> {
    fn read(&self, path: &Path) -> io::Result<Content> {
        let (bytes, mode) = match path.to_str() {
            Some(FILE) => (self.config, 0o640),
            Some("/etc/rackbmcd/bmc.pw" | "/run/credentials/bmc") => (SECRET.as_bytes(), 0o600),
            Some("/etc/rackbmcd/open.pw") => (SECRET.as_bytes(), 0o644),
            Some("/etc/rackbmcd/other.pw") => (self.other, 0o600),
            Some("/etc/rackbmcd/htpasswd") => (self.users, 0o640),
            _ => return Err(io::Error::from_raw_os_error(2)),
        };
        Ok(Content {
            bytes: bytes.to_vec().into(),
            mode,
        })
    }

    fn user_id(&self, _: &str) -> Option<u32> {
        None
    }
    fn group_id(&self, _: &str) -> Option<u32> {
        None
    }
    fn credentials(&self) -> Option<PathBuf> {
        Some("/run/credentials".into())
    }
}

/// Loads `data` as a configuration.
pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let world = World {
        config: parts.next().unwrap_or_default(),
        other: parts.next().unwrap_or(b"other\n"),
        users: parts.next().unwrap_or_default(),
    };
    let lines = world.config.iter().filter(|byte| **byte == b'\n').count() + 1;
    let shown = match Configuration::load(Path::new(FILE), &world) {
        Err(complaints) => {
            assert!(!complaints.is_empty());
            for complaint in &complaints {
                assert!(!complaint.text.is_empty() && !complaint.text.contains('\n'));
                if complaint.file == FILE {
                    assert!(
                        complaint.line >= 1 && complaint.line <= lines + 1,
                        "{complaint}"
                    );
                    assert!(complaint.column >= 1);
                }
            }
            format!("{complaints:?}")
        }
        Ok(loaded) => {
            // A rack without nodes is a beginning, and is said to be one.
            assert!(!loaded.nodes.is_empty() || !loaded.warnings.is_empty());
            for node in &loaded.nodes {
                assert!(!node.name.is_empty() && node.login.username.len() <= 16);
                assert!(!node.login.suites.is_empty());
            }
            let again = Configuration::load(Path::new(FILE), &world);
            assert!(
                again.is_ok_and(|again| again == loaded),
                "another time, another meaning"
            );
            format!("{loaded:?}")
        }
    };
    assert!(
        !shown.contains(SECRET) || contains(world.config, SECRET.as_bytes()),
        "a secret is shown: {shown}"
    );
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
