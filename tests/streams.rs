//! Exit codes hold whatever becomes of stdout and stderr: every verb of the help against the real
//! daemon, with a full device, a pipe whose reader went away, and streams that are closed. What a
//! verb did it did; one that only looks fails where nobody gets its answer.

mod daemon;

use daemon::{Bed, DAEMON, Keys, Said, plan};
use rackbmcd::sim::{Mood, OsMood, Privilege, User};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What it exits with where its answer is read, and where a full device takes it. `NEW` is a file
/// that is not there.
const LINES: &[(i32, i32, &str)] = &[
    (0, 0, "wait n01 --on"),
    (5, 5, "wait n01 --off --timeout 50ms"),
    (0, 1, "status n01"),
    (0, 1, "status n01 --fresh -o wide"),
    (2, 2, "status n09"),
    (0, 1, "--fleet status r1/n01"),
    (0, 1, "racks"),
    (0, 1, "explain n01"),
    (0, 3, "check n01"),
    (2, 2, "check n01 --expect off"),
    (3, 3, "check n09"),
    (3, 3, "check --nonsense"),
    (3, 3, "--fleet check --nonsense"),
    (3, 3, "-ojson --rack=r2 check --nonsense"),
    (0, 3, "check --help"),
    (0, 3, "--fleet check r1/n01"),
    (0, 0, "on n01"),
    (1, 1, "off n01 --timeout 1ms"),
    (0, 0, "off n01 -q"),
    (0, 0, "soft n01"),
    (0, 1, "off n01 --dry-run"),
    (0, 0, "--fleet on r1/n01"),
    (0, 0, "reboot n01"),
    (0, 0, "boot n01 --from pxe"),
    (0, 0, "reset n01"),
    (0, 0, "cycle n01"),
    (0, 0, "nmi n01"),
    (2, 2, "off n09"),
    (2, 2, "n01 off"),
    (2, 2, "task b:11111"),
    (2, 2, "batch t:11111"),
    (5, 5, "soft n02 --wait=50ms --take-over"),
    (0, 0, "suspend n02"),
    (0, 0, "resume n02"),
    (1, 1, "cancel n02"),
    (0, 0, "abort n02"),
    (1, 1, "rollback n02"),
    (0, 1, "tasks"),
    (0, 1, "task n01"),
    (0, 1, "history n01"),
    (0, 0, "events --idle 10ms"),
    (0, 0, "pause fans"),
    (1, 1, "on n01"),
    (3, 3, "--rack nowhere status"),
    (1, 1, "check n01"),
    (0, 0, "release"),
    (0, 0, "maintenance n01 --reason fans"),
    (0, 0, "maintenance n01 --off"),
    (0, 0, "retry n01"),
    (0, 0, "identify n01"),
    (0, 0, "bootdev n01 --set disk"),
    (0, 1, "bootdev n01"),
    (0, 1, "bmc info n01"),
    (0, 0, "bmc accept n01 --yes"),
    (0, 1, "bmc trace n01"),
    (0, 1, "chassis status n01"),
    (0, 0, "chassis policy n01 --set previous"),
    (0, 1, "chassis policy n01"),
    (0, 1, "power-use n01"),
    (0, 1, "sel list n01"),
    (0, 0, "sel clear n01 --yes"),
    (0, 0, "raw n01 0x06 0x01"),
    (0, 1, "audit"),
    (0, 1, "audit verify"),
    (0, 1, "ha status"),
    (1, 1, "ha handover"),
    (0, 1, "node-show n01"),
    (0, 1, "node-show-states n01"),
    (0, 0, "node-set-power-state n01 on"),
    (0, 0, "support --to NEW"),
    (2, 2, "init --directory NEW"),
    (0, 1, "discover 127.0.0.1 --port PORT"),
    (0, 0, "discover 127.0.0.1 --port PORT --write-config NEW"),
    (1, 1, "discover 127.0.0.1 --port 1"),
    (0, 1, "batch"),
    (0, 1, "completion bash"),
    (0, 1, "man"),
    (0, 1, "man soft"),
    (0, 1, "soft --help"),
    (0, 1, "--version"),
    (2, 2, ""),
];

/// Verbs that go on until they are stopped, and tests of their own below.
const ENDLESS: [&str; 3] = ["watch", "sim", "demo"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Streams {
    Read,
    Full,
    Gone,
    Closed,
}

fn bed() -> Bed {
    let obeys = Mood {
        os: OsMood::ObeysAfter(Duration::from_millis(50)),
        ..Mood::default()
    };
    let hangs = Mood {
        os: OsMood::Hangs,
        ..Mood::default()
    };
    let plans = [("n01", obeys), ("n02", hangs)].map(|(name, mood)| {
        let mut plan = plan(name, mood);
        plan.settings.users = vec![User::new("admin", "secret", Privilege::Administrator)];
        plan
    });
    let keys = Keys {
        defaults: "privilege = \"administrator\"\nmin_off_time = \"10ms\"\nsettle = \"1s\"\nnmi_watch = \"1s\"\n\
                   nmi_min_interval = \"1ms\"\norders_per_second = 50.0\nsoft_power_off_timeout = \"60s\"\n\
                   power_change_timeout = \"20s\"",
        ..Keys::default()
    };
    let mut bed = Bed::of(plans, &keys);
    let fleet = format!("[[rack]]\nname = \"r1\"\nsocket = {:?}\n", bed.socket());
    std::fs::write(bed.path("fleet.toml"), fleet).expect("ours");
    bed.start();
    bed
}

/// Runs it with such streams: its exit code, and what it said where that was read.
fn run(mut command: Command, streams: Streams) -> Said {
    let full = || {
        File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it")
    };
    let gone = || std::io::pipe().expect("a pipe").1;
    match streams {
        Streams::Read => &mut command,
        Streams::Full => command.stdout(full()).stderr(full()),
        Streams::Gone => command.stdout(gone()).stderr(gone()),
        Streams::Closed => {
            let mut closing = Command::new("/bin/sh");
            closing.args(["-c", "exec \"$@\" >&- 2>&-", "sh"]);
            closing.arg(command.get_program()).args(command.get_args());
            closing.env_clear();
            for (name, value) in command.get_envs() {
                closing.env(name, value.unwrap_or_default());
            }
            command = closing;
            &mut command
        }
    };
    command.stdin(Stdio::null());
    Said::of(command.output().expect("it runs"))
}

#[test]
fn every_verb_exits_as_it_should_whatever_becomes_of_its_streams() {
    let bed = bed();
    let port = bed.rack.address(0).port().to_string();
    let fleet = bed.path("fleet.toml");
    let mut faults = Vec::new();
    let mut files = 0;
    for streams in [Streams::Read, Streams::Full, Streams::Gone, Streams::Closed] {
        for (read, on_full, line) in LINES {
            let code = match streams {
                Streams::Full => on_full,
                _ => read,
            };
            files += 1;
            let new = bed.path(&format!("new{files}"));
            let line = line.replace("PORT", &port);
            let line = line.replace("NEW", new.to_str().expect("text"));
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut command = bed.command(&words);
            command.env("RACKBMC_FLEET_FILE", &fleet);
            let said = run(command, streams);
            if said.code != *code {
                let (found, out, err) = (said.code, said.out, said.err);
                faults.push(format!(
                    "{line}, {streams:?}: {found}, not {code}\n{out}{err}"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}\n{}", faults.join("\n"), bed.log());
}

#[test]
fn every_verb_of_the_help_is_among_them() {
    let bed = Bed::of([], &Keys::default());
    let help = bed.rackbmc(&["--help"]).out;
    let indented = help.lines().filter_map(|line| line.strip_prefix("  "));
    // What is set in deeper belongs to the line above.
    let indented = indented.filter(|line| !line.starts_with(' '));
    let verbs: Vec<&str> = indented
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| {
            let plain = |letter: char| letter.is_ascii_lowercase() || letter == '-';
            !word.starts_with('-') && word.chars().all(plain)
        })
        .collect();
    assert!(verbs.len() > 40, "{help}");
    for verb in verbs {
        let is_there = |(_, _, line): &(i32, i32, &str)| line.split(' ').any(|word| word == verb);
        assert!(
            ENDLESS.contains(&verb) || LINES.iter().any(is_there),
            "{verb}"
        );
    }
}

#[test]
fn what_goes_on_ends_with_its_reader_or_goes_on_without_it() {
    let bed = bed();
    bed.expect(0, &["wait", "n01", "--on"]);
    assert_eq!(
        run(bed.command(&["watch", "--interval", "10ms"]), Streams::Full).code,
        1
    );
    assert_eq!(
        run(bed.command(&["watch", "--interval", "10ms"]), Streams::Gone).code,
        0
    );
    for (streams, code) in [(Streams::Full, 1), (Streams::Gone, 0)] {
        let events = bed.command(&["events"]);
        let ended = std::thread::scope(|scope| {
            let ended = scope.spawn(|| run(events, streams).code);
            // Until something happens nothing is written.
            while !ended.is_finished() {
                bed.expect(0, &["maintenance", "n01"]);
                bed.expect(0, &["maintenance", "n01", "--off"]);
            }
            ended.join().expect("it ends")
        });
        assert_eq!(ended, code, "{streams:?}");
    }
    // Nobody sees the demonstration: it says so, and leaves nothing behind.
    let folder = bed.path("demo");
    std::fs::create_dir(&folder).expect("ours");
    for streams in [Streams::Full, Streams::Gone] {
        let mut command = bed.command(&["demo"]);
        command.env("TMPDIR", &folder);
        assert_eq!(run(command, streams).code, 1);
        assert_eq!(std::fs::read_dir(&folder).expect("ours").count(), 0);
    }
    let mut command = bed.command(&["demo"]);
    let full = File::options().write(true).open("/dev/full");
    command
        .env("TMPDIR", &folder)
        .stdout(full.expect("Linux has it"));
    let said = Said::of(command.output().expect("it runs"));
    let lines: Vec<&str> = said.err.lines().collect();
    let [what, why] = lines[..] else {
        panic!("{}", said.err)
    };
    assert!(what.contains("ended before its end"), "{what}");
    assert!(why.contains("No space left"), "{why}");
}

/// A terminal that is closed sends SIGHUP: rack, daemon and folder of a demonstration go as with
/// Ctrl-C.
#[test]
fn a_demonstration_leaves_nothing_behind_whatever_ends_it() {
    use nix::sys::signal::{Signal, kill};
    let bed = Bed::of([], &Keys::default());
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        let folder = bed.path(signal.as_str());
        std::fs::create_dir(&folder).expect("ours");
        let mut command = bed.command(&["demo"]);
        command.env("TMPDIR", &folder).stdout(Stdio::piped());
        let mut demo = command.spawn().expect("it runs");
        let mut said = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
        let began = said
            .by_ref()
            .map(|line| line.expect("text"))
            .find(|line| line.starts_with("task "));
        assert!(began.is_some(), "the daemon runs, and a task");
        let locked = || std::fs::read_to_string("/proc/net/unix").expect("Linux has it");
        let socket = folder.to_str().expect("text").to_owned();
        assert!(locked().contains(&socket));
        kill(
            nix::unistd::Pid::from_raw(i32::try_from(demo.id()).expect("a process id")),
            signal,
        )
        .expect("it is ours");
        let rest = said.count();
        assert_eq!(
            demo.wait().expect("it ends").code(),
            Some(6),
            "{signal}, {rest} lines more"
        );
        assert_eq!(
            std::fs::read_dir(&folder).expect("ours").count(),
            0,
            "{signal}"
        );
        assert!(!locked().contains(&socket), "{signal}: the daemon is gone");
    }
}

#[test]
fn a_simulated_rack_goes_on_where_nobody_takes_its_list_and_says_so() {
    let bed = Bed::of([], &Keys::default());
    let config = bed.path("sim.toml");
    let path = config.to_str().expect("text");
    let mut command = bed.command(&["sim", "--nodes", "2", "--write-config", path]);
    let full = File::options().write(true).open("/dev/full");
    command
        .stdout(full.expect("Linux has it"))
        .stderr(Stdio::piped());
    let mut sim = command.spawn().expect("it runs");
    let mut said = BufReader::new(sim.stderr.take().expect("a pipe"));
    let mut first = String::new();
    said.read_line(&mut first).expect("a line");
    assert!(first.contains("could not be written"), "{first}");
    bed.wait_for("the configuration", |_| config.exists());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(sim.id()).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it is ours");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    assert_eq!(
        sim.wait().expect("it ends").code(),
        Some(0),
        "{first}{rest}"
    );
    assert!(!rest.contains("could not be written"), "said once: {rest}");
}

#[test]
fn what_the_daemon_is_asked_at_a_command_line_ends_as_it_should() {
    let bed = Bed::of([], &Keys::default());
    let config = bed.path("rackbmcd.toml");
    let config = config.to_str().expect("text");
    for (read, on_full, words) in [
        (0, 0, &["--check-config"][..]),
        (1, 1, &["--verify-audit"]),
        (0, 1, &["--man", "daemon"]),
        (78, 78, &["--check-etcd"]),
        (1, 1, &["--discard", "tasks", "x"]),
        (0, 0, &["--help"]),
        (2, 2, &["--nonsense"]),
    ] {
        for (streams, code) in [
            (Streams::Read, read),
            (Streams::Full, on_full),
            (Streams::Closed, read),
        ] {
            let mut command = Command::new(DAEMON);
            command.args(["--config", config]).args(words).env_clear();
            let said = run(command, streams);
            assert_eq!(
                said.code, code,
                "{words:?}, {streams:?}: {}{}",
                said.out, said.err
            );
        }
    }
    std::fs::write(config, "[rack\n").expect("ours");
    let mut command = Command::new(DAEMON);
    command
        .args(["--config", config, "--check-etcd"])
        .env_clear();
    let said = run(command, Streams::Read);
    assert_eq!(said.code, 78);
    // A person asked: a line with file and place, and no line of log.
    assert!(said.err.starts_with(config), "{}", said.err);
}
