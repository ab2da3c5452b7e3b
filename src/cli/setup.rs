//! A first configuration: its text, and files with the right modes. Used by `init` and by `discover
//! --write-config`.

use super::exit::Failure;
use crate::config::{Configuration, Content, Files};
use nix::unistd::{Gid, Group, fchown};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the daemon looks for its files.
pub(super) const DIRECTORY: &str = "/etc/rackbmcd";
/// Others may not read who logs in where.
pub(super) const CONFIGURATION_MODE: u32 = 0o640;
/// The password's own file.
pub(super) const PASSWORD_MODE: u32 = 0o640;
/// The group that the daemon runs in.
const GROUP: &str = "rackbmcd";

/// What a first configuration says.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct SetupPlan {
    /// The rack's name.
    pub rack: String,
    /// The user at the BMCs.
    pub username: String,
    /// The file with its password.
    pub password_file: PathBuf,
    /// Names, addresses and ports; names and addresses may be sets that expand in step.
    pub nodes: Vec<(String, String, u16)>,
}

/// A plan and its password as the files that they are to be.
struct Unwritten<'a> {
    plan: &'a SetupPlan,
    configuration: &'a Path,
    password: &'a str,
}

impl Files for Unwritten<'_> {
    fn read(&self, path: &Path) -> io::Result<Content> {
        let (text, mode) = match path {
            path if path == self.configuration => (self.plan.text(), CONFIGURATION_MODE),
            path if path == self.plan.password_file => {
                (format!("{}\n", self.password), PASSWORD_MODE)
            }
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let bytes = Zeroizing::new(text.into_bytes());
        Ok(Content { bytes, mode })
    }

    fn credentials(&self) -> Option<PathBuf> {
        None
    }

    fn user_id(&self, _name: &str) -> Option<u32> {
        None
    }

    fn group_id(&self, _name: &str) -> Option<u32> {
        None
    }
}

impl SetupPlan {
    /// Why the daemon would not take it, if it would not.
    pub(super) fn refused(&self, configuration: &Path, password: &str) -> Vec<String> {
        let files = Unwritten {
            plan: self,
            configuration,
            password,
        };
        let complaints = Configuration::load(configuration, &files).err();
        let complaints = complaints.into_iter().flatten();
        complaints.map(|complaint| complaint.text).collect()
    }

    pub(super) fn text(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = format!(
            "\
# rackbmcd: the configuration of one rack. Every key: man rackbmcd.toml.
# Check a changed file before it is used:    rackbmcd --check-config
# Make the running daemon read it again:     systemctl reload rackbmcd   (a wrong file changes nothing and says why)

[rack]
# Shown with everything that leaves the rack: logs, tasks, metrics.
name = {rack}
# The rack begins paused: power states are read and nothing is switched, until somebody says: rackbmc release
# This counts at the very first start only, while there is no journal yet.
start_paused = true

# What holds for every node that does not say otherwise.
[defaults]
# Who logs in to the BMCs. The file holds the password alone; the daemon has to be able to read it, and nobody else.
username = {username}
password_file = {password}
# Switching needs the privilege level operator.
privilege = \"operator\"
# RMCP+ with authentication: 17 (SHA-256) where the BMC has it, else 3 (SHA-1).
cipher_suites = [17, 3]

# The machines. Names and addresses expand in step: \"r1n[01-16]\" with \"10.0.1.[1-16]\". Groups: groups = [\"storage\"].
",
            rack = quoted(&self.rack),
            username = quoted(&self.username),
            password = quoted(&self.password_file.display().to_string()),
        );
        for (name, address, port) in &self.nodes {
            text.push_str(&format!(
                "[[node]]\nname = {}\naddress = {}\n",
                quoted(name),
                quoted(address)
            ));
            if *port != 623 {
                text.push_str(&format!("port = {port}\n"));
            }
            text.push('\n');
        }
        text
    }
}

/// Writes a file that was not there before, for its owner and for the daemon's group alone.
///
/// # Errors
/// It is there already, or cannot be written.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let wrong = |why: String| Failure::Here(format!("{}: {why}", path.display()));
    // Nobody may read it before it has its group.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = file.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            wrong("is there already, and is left as it is: move it away first".to_owned())
        }
        _ => wrong(e.to_string()),
    })?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|e| wrong(e.to_string()))?;
    let group = Group::from_name(GROUP).ok().flatten();
    let given = group
        .is_some_and(|group| fchown(&file, None, Some(Gid::from_raw(group.gid.as_raw()))).is_ok());
    // Where the daemon's group cannot be given, only the owner reads it.
    let mode = if given { mode } else { mode & 0o700 };
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(|e| wrong(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> SetupPlan {
        SetupPlan {
            rack: "r1".into(),
            username: "ad\"min".into(),
            password_file: "/etc/rackbmcd/bmc.pw".into(),
            nodes: vec![
                ("r1n[01-16]".into(), "10.0.1.[1-16]".into(), 623),
                ("r1s1".into(), "fd00::7".into(), 6230),
            ],
        }
    }

    #[test]
    fn a_first_configuration_is_complete_and_starts_paused() {
        let text = plan().text();
        let table: toml::Table = text.parse().expect("TOML");
        assert_eq!(table["rack"]["start_paused"].as_bool(), Some(true));
        assert_eq!(table["defaults"]["username"].as_str(), Some("ad\"min"));
        assert_eq!(table["node"].as_array().map(Vec::len), Some(2));
        assert_eq!(table["node"][1]["port"].as_integer(), Some(6230));
    }

    #[test]
    fn a_file_is_never_written_over_and_others_cannot_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bmc.pw");
        write_new(&path, "secret\n", PASSWORD_MODE).expect("written");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o007, 0);
        let again = write_new(&path, "other\n", PASSWORD_MODE).expect_err("there already");
        assert!(again.to_string().contains("is there already"), "{again}");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "secret\n");
    }
}
