//! `rackbmc watch` on a real terminal (a pty) with the real daemon: what is drawn, what keys do to
//! the machines, and that the terminal is left as it was whatever ends it.
//!
//! The pictures themselves are compared where they are drawn (`src/cli/watch/tests.rs`); here a
//! terminal in memory reads them.

mod daemon;
mod terminal;

use daemon::{Bed, Keys, plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rackbmcd::sim::Mood;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use terminal::{Console, PATIENCE, resize};

fn rack(nodes: usize) -> Bed {
    let plans = (1..=nodes).map(|n| plan(&format!("r1n{n:02}"), Mood::default()));
    let keys = Keys {
        defaults: "settle = \"1s\"\norders_per_second = 10.0\ngroups = [\"compute\"]",
        ..Keys::default()
    };
    let mut bed = Bed::of(plans, &keys);
    bed.start();
    bed
}

fn watch(bed: &Bed) -> Console {
    let console = Console::start(&bed.command(&["watch"]), 80, 24);
    console.waits_for("r1n01", |text| {
        text.contains("r1n01") && text.contains("power on")
    });
    console
}

/// Types a word behind a question, until it stands there, and Enter. On a busy machine a key that
/// comes right behind the one before counts as pressed with that, which was before the question was
/// drawn: it is dropped, and people type it once more.
fn answer(console: &mut Console, word: &str) {
    let deadline = Instant::now() + PATIENCE;
    let typed = format!("> {word}_");
    while !console.text().contains(&typed) {
        assert!(Instant::now() < deadline, "{}", console.text());
        console.press(&"\x7f".repeat(8));
        console.press(word);
        let soon = Instant::now() + Duration::from_secs(1);
        while Instant::now() < soon && !console.text().contains(&typed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    console.press("\r");
}

#[test]
fn nodes_are_switched_behind_a_question_and_nothing_typed_ahead_answers_it() {
    let bed = rack(3);
    let mut console = watch(&bed);
    assert!(console.is_raw());
    let first = console.text();
    assert!(first.lines().count() <= 24, "{first}");
    assert!(
        first.contains("TASKS") && first.contains("EVENTS"),
        "{first}"
    );
    // Typed ahead in one go: the question stands there, unanswered.
    console.press("ssoft\r");
    console.waits_for("question", |text| text.contains("1 node: r1n01"));
    console.waits_for("prompt", |text| text.contains("> _"));
    assert!(bed.is_on("r1n01"));
    answer(&mut console, "soft");
    console.waits_for("power off", |text| text.contains("power off"));
    let deadline = Instant::now() + PATIENCE;
    while bed.is_on("r1n01") {
        assert!(Instant::now() < deadline, "{}", console.text());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(bed.is_on("r1n02") && bed.is_on("r1n03"));
    console.press("\r");
    console.waits_for("details", |text| {
        text.contains("node r1n0") && text.contains("suite")
    });
    console.press("\x1b");
    console.waits_for("list", |text| !text.contains("Esc: back"));
    console.press("q");
    assert_eq!(console.ends_clean("q"), Some(0));
}

#[test]
fn keys_from_before_the_first_picture_do_nothing() {
    let bed = rack(2);
    let mut console = Console::start(&bed.command(&["watch"]), 80, 24);
    // The last one would be the end, the others a question and its answer.
    console.press("soff\rnon\rq");
    console.waits_for("the rack", |text| {
        text.contains("r1n02") && text.contains("power on")
    });
    console.press("?");
    let help = console.waits_for("help", |text| text.contains("Esc"));
    assert!(!help.contains("> _"), "{help}");
    console.press("\x1b");
    let text = console.waits_for("the rack again", |text| text.contains("EVENTS"));
    assert!(!text.contains("> _"), "{text}");
    assert_eq!(bed.rackbmc(&["tasks"]).out, "");
    console.press("q");
    assert_eq!(console.ends_clean("q"), Some(0));
}

#[test]
fn marks_that_the_filter_hides_are_not_acted_on() {
    let bed = rack(4);
    let mut console = watch(&bed);
    // The first two are marked, and one of them is shown.
    console.press("  /r1n02\r");
    console.waits_for("the filter", |text| text.contains("filter r1n02: 1 of 4"));
    console.press("s");
    let question = console.waits_for("question", |text| text.contains("> _"));
    assert!(question.contains("1 node: r1n02"), "{question}");
    answer(&mut console, "soft");
    let deadline = Instant::now() + PATIENCE;
    while bed.is_on("r1n02") {
        assert!(Instant::now() < deadline, "{}", console.text());
        std::thread::sleep(Duration::from_millis(50));
    }
    // None of the marked ones is shown: nor is the one under the cursor taken instead.
    console.press("/\x15r1n04\r");
    console.waits_for("another filter", |text| {
        text.contains("filter r1n04: 1 of 4")
    });
    for key in ["s", "n", "i"] {
        console.press(key);
        console.waits_for(key, |text| {
            text.contains("nothing was asked: the filter hides every marked node")
        });
        // Any other key takes the remark away.
        console.press("k");
        console.waits_for("no remark", |text| !text.contains("nothing was asked"));
    }
    // All that are shown are marked, the others stay so.
    console.press("*");
    console.press("s");
    let question = console.waits_for("question", |text| text.contains("> _"));
    assert!(question.contains("1 node: r1n04"), "{question}");
    console.press("\x1b");
    console.waits_for("no question", |text| text.contains("nothing was asked"));
    console.press("q");
    assert_eq!(console.ends_clean("q"), Some(0));
    let on = ["r1n01", "r1n02", "r1n03", "r1n04"].map(|node| bed.is_on(node));
    assert_eq!(on, [true, false, true, true]);
    assert_eq!(bed.rackbmc(&["tasks"]).out.lines().count(), 1);
}

/// What a command writes on a terminal of 80 columns, without its colours.
fn written(command: &std::process::Command) -> String {
    let mut console = Console::start(command, 80, 24);
    console.ends("the command");
    let mut before = 0;
    loop {
        // What it wrote last may still be on its way.
        std::thread::sleep(Duration::from_millis(100));
        let bytes = console.seen.lock().expect("no panic there").bytes.clone();
        if bytes.len() == before {
            let text = String::from_utf8(bytes).expect("UTF-8");
            let mut plain = String::new();
            let mut parts = text.split("\x1b[");
            plain.push_str(parts.next().unwrap_or_default());
            for part in parts {
                plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
            }
            return plain.replace('\r', "");
        }
        before = bytes.len();
    }
}

#[test]
fn no_table_is_wider_than_the_terminal() {
    let bed = rack(16);
    bed.expect(0, &["on", "r1n[01-09,11,13-16]", "-q"]);
    bed.expect(0, &["soft", "r1n[01-02,05,07,09]", "-q", "--timeout", "1m"]);
    bed.expect(0, &["off", "r1n16", "-q"]);
    for verb in [
        "batch",
        "tasks",
        "audit",
        "status",
        "history r1n01",
        "bmc info r1n01",
        "sel list r1n01",
        "chassis status r1n01",
    ] {
        let mut words: Vec<&str> = verb.split(' ').collect();
        words.extend(["-o", "wide"]);
        let text = written(&bed.command(&words));
        assert!(text.lines().count() > 1, "{verb}: {text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{verb}: {text}");
        }
        // "All there is" leaves nothing out: what has no column stands beneath.
        let mut command = bed.command(&words);
        let all = written(command.env("COLUMNS", "1000"));
        let in_words = |text: &str| -> Vec<String> {
            let parts = text.split(|letter: char| letter.is_whitespace() || letter == ',');
            parts
                .map(str::to_owned)
                .filter(|word| !is_age(word))
                .collect()
        };
        let shown = in_words(&text);
        for word in in_words(&all) {
            assert!(
                shown.contains(&word),
                "{verb}: {word} of\n{all}\nis not in\n{text}"
            );
        }
    }
    let audit = written(&bed.command(&["audit", "-o", "wide"]));
    for beneath in ["PATH /v1/batches", "STATUS 202", "BEGAN t:", "METHOD POST"] {
        assert!(audit.contains(beneath), "{audit}");
    }
}

/// A serial line, `script` or a container often has a terminal of no columns and no lines.
#[test]
fn a_terminal_that_does_not_say_how_large_it_is_has_eighty_columns() {
    let bed = rack(4);
    let mut console = Console::start(&bed.command(&["off", "r1n[01-04]", "--dry-run"]), 0, 0);
    console.waits_for("a line", |text| {
        text.contains("r1n[01-04]: ready: power is on; would send: power off")
    });
    console.ends("the command");
    let mut console = Console::start(&bed.command(&["watch"]), 0, 0);
    console.waits_for("the keys", |text| {
        text.contains("r1n04") && text.contains("q end")
    });
    console.press("q");
    assert_eq!(console.ends_clean("q"), Some(0));
}

/// Whether this is a time that is another one when it is asked for again.
fn is_age(word: &str) -> bool {
    word.bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// A zone as a file of the zone information (RFC 9636) that has but the rule for ever.
fn zone_file(abbreviation: &str, rule: &str) -> Vec<u8> {
    let mut file = Vec::new();
    // What readers of the first version take, then the same for later ones.
    for _ in 0..2 {
        file.extend(b"TZif2");
        file.extend([0; 15]);
        let letters = u32::try_from(abbreviation.len() + 1).expect("a few letters");
        for count in [0, 0, 0, 0, 1, letters] {
            file.extend(u32::to_be_bytes(count));
        }
        file.extend([0; 6]);
        file.extend(abbreviation.as_bytes());
        file.push(0);
    }
    file.extend(format!("\n{rule}\n").bytes());
    file
}

#[test]
fn times_on_a_terminal_are_those_of_the_zone_however_it_is_named() {
    let bed = rack(1);
    bed.expect(0, &["on", "r1n01", "-q"]);
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().join("Land");
    std::fs::create_dir(&name).expect("a folder");
    std::fs::write(name.join("Stadt"), zone_file("LST", "LST-3")).expect("written");
    let asked = |zone: &str| {
        let mut command = bed.command(&["tasks"]);
        command.env("TZ", zone).env("TZDIR", folder.path());
        let text = written(&command);
        let time = text
            .split(' ')
            .skip(1)
            .take(2)
            .collect::<Vec<_>>()
            .join("T");
        time.parse::<jiff::civil::DateTime>()
            .unwrap_or_else(|e| panic!("{zone}: {e}: {text}"))
    };
    let utc = asked("UTC0");
    let file = name.join("Stadt");
    for zone in [
        "LST-3",
        "Land/Stadt",
        ":Land/Stadt",
        &file.display().to_string(),
    ] {
        let hours = jiff::Span::new().hours(3);
        assert_eq!(asked(zone), utc.saturating_add(hours), "{zone}");
    }
}

#[test]
fn a_resized_terminal_is_filled_and_a_restarted_daemon_waited_for() {
    let mut bed = rack(2);
    let mut console = watch(&bed);
    {
        let mut seen = console.seen.lock().expect("no panic there");
        seen.terminal.screen_mut().set_size(50, 200);
    }
    resize(&console.name, 200, 50);
    console.waits_for("columns of a wide screen", |text| text.contains("ADDRESS"));
    bed.kill();
    console.waits_for("word of it", |text| text.contains("does not answer for"));
    bed.start();
    console.waits_for("its return", |text| text.contains("rackbmcd is back after"));
    console.press("q");
    assert_eq!(console.ends_clean("q"), Some(0));
}

/// `WATCH_NODES=4096` (`tests/run long`) has the largest rack; the last line says what the client
/// cost.
#[test]
fn a_large_rack_is_watched_through_resizing_a_filter_and_a_restart() {
    let nodes: usize =
        std::env::var("WATCH_NODES").map_or(600, |text| text.parse().expect("a number of nodes"));
    let plans = (1..=nodes).map(|n| plan(&format!("n{n:04}"), Mood::default()));
    let mut bed = Bed::of(plans, &Keys::default());
    bed.start();
    bed.expect(
        0,
        &[
            "wait",
            &format!("n[0001-{nodes:04}]"),
            "--on",
            "--timeout",
            "10m",
            "-q",
        ],
    );
    let began = Instant::now();
    let mut console = Console::start(&bed.command(&["watch"]), 80, 24);
    let known = format!("{nodes} nodes");
    console.waits_for("count", |text| {
        text.contains(&known) && text.contains("n0001")
    });
    let (mut told, mut cost) = (String::new(), Cost::of(console.pid()));
    let _ = writeln!(
        told,
        "first picture after {:.1} s: {cost}",
        began.elapsed().as_secs_f64()
    );

    std::thread::sleep(Duration::from_secs(5));
    let _ = writeln!(told, "five seconds of rest: {}", cost.since(console.pid()));
    console.press("\x1b[F");
    let last = format!("n{nodes:04}");
    console.waits_for("the last node", |text| text.contains(&last));
    {
        let mut seen = console.seen.lock().expect("no panic there");
        seen.terminal.screen_mut().set_size(50, 200);
    }
    resize(&console.name, 200, 50);
    console.waits_for("a larger picture", |text| {
        text.lines().count() > 40 && text.contains(&last)
    });
    let _ = writeln!(
        told,
        "to the end, and a larger terminal: {}",
        cost.since(console.pid())
    );

    console.press("/n0042\r");
    console.waits_for("the filter", |text| {
        text.contains("n0042") && !text.contains("n0043")
    });
    let _ = writeln!(told, "a filter: {}", cost.since(console.pid()));
    bed.kill();
    console.waits_for("a word about the daemon", |text| {
        text.contains("does not answer for")
    });
    bed.start();
    console.waits_for("the daemon", |text| {
        !text.contains("does not answer") && text.contains("n0042")
    });
    let _ = writeln!(
        told,
        "a restart of the daemon: {}",
        cost.since(console.pid())
    );
    console.press("q");
    assert_eq!(console.ends_clean("q"), Some(0));
    println!("{nodes} nodes:\n{told}");
}

/// What a process has used: CPU, and memory at most.
struct Cost {
    seconds: f64,
    kilobytes: u64,
}

impl Cost {
    fn of(pid: Pid) -> Self {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it runs");
        let stat = read("stat");
        let fields: Vec<&str> = stat
            .rsplit(") ")
            .next()
            .expect("fields")
            .split(' ')
            .collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("ticks");
        let status = read("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak
            .and_then(|text| text.trim().split(' ').next())
            .expect("its memory");
        Self {
            seconds: (ticks(11) + ticks(12)) / 100.0,
            kilobytes: peak.parse().expect("a number"),
        }
    }

    /// What it has used since the last call.
    fn since(&mut self, pid: Pid) -> Self {
        let now = Self::of(pid);
        let seconds = now.seconds - self.seconds;
        self.seconds = now.seconds;
        Self { seconds, ..now }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.2} s of CPU, {} MB at most",
            self.seconds,
            self.kilobytes / 1024
        )
    }
}

#[test]
fn the_terminal_is_left_as_it_was_whatever_ends_it() {
    let bed = rack(1);
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let mut console = watch(&bed);
        kill(console.pid(), signal).expect("it runs");
        assert_eq!(console.ends_clean(signal.as_str()), Some(0), "{signal}");
    }
    for (key, what) in [("\x03", "Ctrl-C"), ("\x04", "Ctrl-D")] {
        let mut console = watch(&bed);
        // In front of everything, too.
        console.press("n");
        console.waits_for("question", |text| text.contains("> _"));
        console.press(key);
        assert_eq!(console.ends_clean(what), Some(0), "{what}");
        assert_eq!(
            bed.rackbmc(&["tasks"]).out,
            "",
            "{what}: nothing was started"
        );
    }
}

#[test]
fn a_question_for_a_password_leaves_the_terminal_as_it_was_whatever_ends_it() {
    let ask = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rackbmc"));
        command.args(["discover", "127.0.0.1/32", "--username", "admin"]);
        let console = Console::start(&command, 80, 24);
        console.waits_for("question", |text| text.contains("password of admin"));
        let deadline = Instant::now() + PATIENCE;
        while !console.is_raw() {
            assert!(Instant::now() < deadline, "it shows what is typed");
        }
        console
    };
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let mut console = ask();
        kill(console.pid(), signal).expect("it runs");
        assert_eq!(console.ends_clean(signal.as_str()), Some(2), "{signal}");
    }
    let mut console = ask();
    console.press("half a pass\x03");
    assert_eq!(console.ends_clean("Ctrl-C"), Some(2));
    assert!(!console.text().contains("half"), "{}", console.text());
}

/// By name over TCP: a test that runs as root would have every role over the socket.
#[test]
fn a_reader_sees_the_keys_grey_and_which_role_is_missing_and_nothing_is_asked() {
    let tcp = daemon::free_tcp();
    let folder = tempfile::tempdir().expect("a folder");
    let htpasswd = folder.path().join("htpasswd");
    let hash = bcrypt::hash("sesame", 4).expect("hashed");
    std::fs::write(&htpasswd, format!("anna:{hash}\n")).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&htpasswd, mode).expect("ours");
    let api = format!(
        "tcp = \"{tcp}\"\nauth = \"http_basic\"\nhtpasswd = {htpasswd:?}\n\
         [[api.role]]\nrole = \"reader\"\nhttp_users = [\"anna\"]\n"
    );
    let keys = Keys {
        api: &api,
        ..Keys::default()
    };
    let mut bed = Bed::of(
        ["r1n01", "r1n02"].map(|name| plan(name, Mood::default())),
        &keys,
    );
    bed.start();
    let url = format!("http://{tcp}");
    let mut command = bed.command(&["--url", &url, "watch"]);
    command.env("RACKBMC_AUTH", "anna:sesame");
    let mut console = Console::start(&command, 80, 24);
    let missing = "anna is reader, the role operator is missing";
    console.waits_for("the missing role", |text| {
        text.contains("power on") && text.contains(missing)
    });
    {
        let seen = console.seen.lock().expect("no panic there");
        let screen = seen.terminal.screen();
        let keys = (0..80).map(|column| screen.cell(23, column).expect("a cell"));
        let soft = keys.collect::<Vec<_>>();
        let place = soft
            .windows(3)
            .position(|cells| cells[0].contents() == "s" && cells[2].contents() == "s");
        let colour = soft[place.expect("the key s")].fgcolor();
        assert_eq!(colour, vt100::Color::Idx(8), "dark grey");
    }
    for key in ["s", "n", "i", "a"] {
        console.press(key);
        console.waits_for(key, |text| {
            text.contains("nothing was asked: anna is reader")
        });
    }
    assert!(!console.text().contains("> _"), "{}", console.text());
    console.press("q");
    assert_eq!(console.ends_clean("q"), Some(0));
    assert!(bed.is_on("r1n01") && bed.is_on("r1n02"));
}

#[test]
fn a_terminal_that_goes_away_is_the_end() {
    let bed = rack(1);
    let mut console = watch(&bed);
    console.pull_out();
    console.ends("a terminal that is gone");
}

#[test]
fn no_terminal_is_touched_where_there_is_no_daemon() {
    let bed = Bed::of_hanging_systems();
    let mut console = Console::start(&bed.command(&["watch"]), 80, 24);
    assert_eq!(console.ends_clean("no daemon"), Some(3));
    let text = console.text();
    assert!(text.contains("rackbmc: no socket at"), "{text}");
    let bytes = console.seen.lock().expect("no panic there").bytes.clone();
    assert!(!bytes.windows(6).any(|some| some == b"\x1b[?104"));
}
