//! What weakens the daemon from outside is said when it starts: a configuration, a journal and a
//! directory that others can change, and root. And a look at the audit trail by root leaves nothing
//! behind that is root's.

#[path = "daemon/mod.rs"]
mod daemon;

use daemon::{Bed, DAEMON, Keys, plan};
use rackbmcd::sim::Mood;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// Every file of a directory: its name, mode, owner, length and time.
fn listing(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it can be listed");
    let mut lines: Vec<String> = entries
        .map(|entry| {
            let entry = entry.expect("listed");
            let found = entry.metadata().expect("it is there");
            format!(
                "{:?} {:o} {} {} {} {}",
                entry.file_name(),
                found.mode(),
                found.uid(),
                found.len(),
                found.mtime(),
                found.mtime_nsec()
            )
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn what_others_can_change_is_warned_about_and_what_they_cannot_is_not() {
    let mut bed = Bed::of([plan("n01", Mood::default())], &Keys::default());
    let (configuration, state) = (bed.path("rackbmcd.toml"), bed.path("state"));
    let journal = state.join("journal.redb");
    set_mode(&configuration, 0o640);
    set_mode(&state, 0o700);
    bed.start();
    assert!(!bed.log().contains("has mode"), "{}", bed.log());
    let root = nix::unistd::geteuid().is_root();
    assert_eq!(bed.log().contains("running as root"), root);
    bed.terminate();
    for (path, bad) in [
        (&state, 0o777),
        (&state, 0o720),
        (&journal, 0o666),
        (&journal, 0o604),
    ] {
        let good = fs::metadata(path).expect("it is there").mode() & 0o777;
        set_mode(path, bad);
        bed.start();
        let said = format!("{} has mode {bad:04o}", path.display());
        assert!(bed.log().contains(&said), "{said}: {}", bed.log());
        bed.terminate();
        set_mode(path, good);
    }
    let (secret, folder) = (bed.path("bmc.pw"), bed.path(""));
    for (path, bad, who) in [
        (&configuration, 0o666, "every user may change"),
        (&configuration, 0o602, "every user may change"),
        (&configuration, 0o660, "its group may change"),
        (&secret, 0o660, "its group may change"),
        (
            &folder,
            0o777,
            "every user may put another file in the place of",
        ),
        (
            &folder,
            0o775,
            "its group may put another file in the place of",
        ),
    ] {
        let good = fs::metadata(path).expect("it is there").mode() & 0o7777;
        set_mode(path, bad);
        let checked = Command::new(DAEMON)
            .arg("--check-config")
            .arg("--config")
            .arg(&configuration)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success(), "{said}");
        assert!(said.contains(who), "{bad:o}: {said}");
        assert!(said.contains("chmod g"), "{bad:o}: {said}");
        set_mode(path, good);
    }
}

#[test]
fn a_look_at_the_trail_changes_nothing_also_where_the_lock_is_missing() {
    let mut bed = Bed::of([plan("n01", Mood::default())], &Keys::default());
    bed.start();
    bed.terminate();
    let state = bed.path("state");
    for lock in [true, false] {
        if !lock {
            fs::remove_file(state.join("lock")).expect("it is there");
        }
        let before = listing(&state);
        let looked = Command::new(DAEMON)
            .arg("--verify-audit")
            .arg("--config")
            .arg(bed.path("rackbmcd.toml"))
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&looked.stdout).into_owned();
        assert!(looked.status.success() && said.contains("whole"), "{said}");
        assert_eq!(listing(&state), before, "lock: {lock}");
    }
}
