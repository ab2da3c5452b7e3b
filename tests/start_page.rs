//! The lines that docs/start.md shows of the first soft power off are those that a terminal has:
//! typed here on a pty, with the real daemon. (That the lines can be typed at all, in a bare
//! Debian, is the stage `package`.)

mod daemon;
mod terminal;

use daemon::{Bed, Keys, plan};
use rackbmcd::sim::{Mood, OsMood};
use std::time::{Duration, Instant};
use terminal::Console;

/// The lines that are typed in a section, each with what is shown below it.
fn typed(document: &str, section: &str) -> Vec<(String, Vec<String>)> {
    let text = document.split(section).nth(1).expect("the section");
    let text = text.split("\n## ").next().unwrap_or_default();
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    let blocks = text.split("```console\n").skip(1);
    for line in blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()) {
        match (line.strip_prefix("$ "), lines.last_mut()) {
            (Some(command), _) => {
                let command = command.split("  #").next().unwrap_or_default();
                lines.push((command.trim().to_owned(), Vec::new()));
            }
            (None, Some((_, shown))) => shown.push(line.to_owned()),
            (None, None) => {}
        }
    }
    lines
}

/// A line without what differs from one time to another: ids, seconds, how many blanks there are.
fn plain(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        match word.strip_prefix("t:") {
            Some(rest) if rest.len() >= 5 => "t:ID".to_owned(),
            _ if number => "N".to_owned(),
            _ => word.to_owned(),
        }
    });
    words
        .collect::<Vec<_>>()
        .join(" ")
        .replace("N ms", "N s")
        .replace("N s ago", "just now")
}

#[test]
fn what_the_first_page_shows_is_what_a_terminal_shows() {
    let mood = Mood {
        os: OsMood::ObeysAfter(Duration::from_millis(1200)),
        ..Mood::default()
    };
    let keys = Keys {
        rack: "start_paused = true",
        defaults: "settle = \"1s\"\nmin_off_time = \"1s\"\norders_per_second = 10.0",
        ..Keys::default()
    };
    let mut bed = Bed::of([plan("r1n01", mood)], &keys);
    bed.start();
    bed.wait_for("a reading", |bed| {
        bed.rackbmc(&["status"]).out.contains("power on")
    });
    let lines = typed(include_str!("../docs/start.md"), "## 5. ");
    let results = lines.iter().filter(|(_, shown)| !shown.is_empty()).count();
    assert!(lines.len() >= 5 && results >= 3, "{lines:?}");
    for (line, expected) in lines {
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let mut console = Console::start(&bed.command(&words), 100, 40);
        assert_eq!(console.ends(&line), Some(0), "{line}: {}", console.text());
        if expected.is_empty() {
            continue;
        }
        let expected: Vec<String> = expected.iter().map(|line| plain(line)).collect();
        let shown = || {
            console
                .text()
                .lines()
                .map(plain)
                .filter(|line| !line.is_empty())
                .collect::<Vec<_>>()
        };
        // What was written last may still be on its way through the pty.
        let end = Instant::now() + Duration::from_secs(5);
        while shown() != expected && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(shown(), expected, "{line}");
    }
}
