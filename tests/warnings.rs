//! What weakens the daemon from outside is said when it starts: a configuration, a journal and a
//! directory that others can change, and root. A look at the audit trail by root leaves nothing
//! behind that is root's. And a wrong configuration is told to those who wait, until it is right.

#[path = "daemon/mod.rs"]
mod daemon;

use daemon::{Bed, DAEMON, Keys, plan};
use rackbmcd::sim::Mood;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

/// The daemon as systemd starts it: with the socket as descriptor 3, for the process that becomes
/// it.
fn activated(bed: &Bed, listener: &UnixListener) -> Child {
    let socket = listener.try_clone().expect("one more descriptor");
    let passes = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    Command::new("sh")
        .args(["-c", passes, "sh", DAEMON, "--config"])
        .arg(bed.path("rackbmcd.toml"))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)))
        .stderr(Stdio::from(
            File::create(bed.path("activated.log")).expect("a log"),
        ))
        .spawn()
        .expect("it starts")
}

/// What `GET /healthz` is answered with.
fn asks(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).expect("systemd listens");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a patience");
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_start_goes_on_with_a_configuration_that_is_put_right_meanwhile() {
    let bed = Bed::of([plan("n01", Mood::default())], &Keys::default());
    let (file, socket) = (bed.path("rackbmcd.toml"), bed.path("passed.sock"));
    let right = fs::read_to_string(&file).expect("written");
    fs::write(&file, right.replace("[rack]", "[rack")).expect("written");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut daemon = activated(&bed, &listener);
    let answer = asks(&socket);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("rackbmcd.toml:"), "{answer}");
    // Somebody asks all the time, as whatever watches the rack does.
    fs::write(&file, &right).expect("written");
    let deadline = Instant::now() + Duration::from_secs(60);
    let answer = loop {
        let answer = asks(&socket);
        if answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        let log = fs::read_to_string(bed.path("activated.log")).unwrap_or_default();
        let ended = daemon.try_wait().expect("our child");
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "{ended:?} {answer}\n{log}"
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(answer.contains("\"rack\""), "{answer}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    assert!(daemon.wait().expect("it ended").success());
    let log = fs::read_to_string(bed.path("activated.log")).expect("a log");
    assert!(log.contains("the configuration is right now"), "{log}");
}
