//! How answers look: lines for each node, folded lines, tables, JSON, YAML, names; data on stdout,
//! the rest on stderr.
//!
//! Knows whether it writes to a terminal and whether colours are welcome (NO_COLOR), and nothing of
//! what it writes.

mod table;

pub(super) use table::{batch_cell, batch_node_cell, power_cell, power_tone, task_cell, toned};

use super::args::Format;
use super::when;
use crate::model::{counted, escaped, is_hidden, visible_json};
use crate::time::WallTime;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Bytes of a long list that are written together.
const PIECE: usize = 64 << 10;
/// Lines of things that are made together.
const LINES: usize = 1000;

/// Writes a line to stderr: see [`told`].
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::output::told(&format!($($text)*))
    };
}
pub(super) use say;

/// Writes a line to stderr, as far as anybody takes it: a remark that cannot be written changes
/// nothing of what was done, nor of the exit code. What somebody else wrote may be in it.
pub(super) fn told(text: &str) {
    let _ = writeln!(io::stderr(), "{}", harmless(text, false));
}

/// The same with the colours that clap has for it, where a terminal takes some.
pub(super) fn told_in_colour(text: &clap::builder::StyledStr) {
    let colours = io::stderr().is_terminal() && !is_plain();
    let text = match colours {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    let _ = writeln!(io::stderr(), "{}", harmless(text.trim_end(), colours));
}

/// Whether the environment wants no colours.
fn is_plain() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// `name: text`; the text alone where it names the node itself at its begin, as many a refusal
/// does.
pub(super) fn about(name: &str, text: &str) -> String {
    let unnamed = text.strip_prefix("node ").unwrap_or(text);
    match unnamed
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(": "))
    {
        Some(rest) => format!("{name}: {rest}"),
        None => format!("{name}: {text}"),
    }
}

/// Why the first answer that nobody got could not be written.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Whether an answer could not be written: what goes on for ever may end then, what does something
/// goes on.
pub(super) fn is_lost() -> bool {
    LOST.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some()
}

/// What goes beside the exit code where answers were lost; nothing where the reader only went away
/// (`| head`).
pub(super) fn loss() -> Option<String> {
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    let why = lost
        .as_ref()
        .filter(|why| why.kind() != io::ErrorKind::BrokenPipe)?;
    Some(format!("the answer could not be written to stdout: {why}"))
}

/// Writes to stdout as far as anybody takes it.
pub(super) fn write(bytes: &[u8]) {
    if is_lost() {
        return;
    }
    let mut stdout = io::stdout().lock();
    if let Err(why) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        *LOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

/// Where and how answers are written.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    /// The shape.
    pub format: Format,
    /// Equal answers in one line.
    pub fold: bool,
    /// No progress.
    pub quiet: bool,
    /// Colours on stdout.
    pub colour: bool,
    /// Whether stderr is a terminal that a line may be drawn on again and again.
    pub live: bool,
    /// Whether stdout is a terminal: then a person reads, else most likely a program.
    pub person: bool,
}

impl Out {
    /// As this process finds its streams and its environment.
    pub fn new(format: Format, fold: bool, quiet: bool) -> Self {
        let person = io::stdout().is_terminal();
        Self {
            format,
            fold,
            quiet,
            colour: person && !is_plain(),
            live: io::stderr().is_terminal()
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            person,
        }
    }

    /// As a person has it on a terminal, for tests.
    #[cfg(test)]
    pub fn of_a_person() -> Self {
        Self {
            format: Format::Text,
            fold: false,
            quiet: false,
            colour: false,
            live: false,
            person: true,
        }
    }

    /// Writes data and a newline, harmless also where it goes into a pipe: a terminal may be at its
    /// other end. What cannot be written changes nothing of what was done (see [`is_lost`]).
    pub fn data(&self, text: &str) {
        let text = harmless(text.trim_end_matches('\n'), self.colour);
        write(format!("{text}\n").as_bytes());
    }

    /// Whether equal answers are put into one line: where that was asked for, and where a person
    /// reads.
    pub fn folds(&self) -> bool {
        self.fold || self.person
    }

    /// Writes lines of which some may be long: on a terminal what does not fit goes on beneath its
    /// column.
    pub fn prose(&self, text: &str) {
        match terminal_width().filter(|_| self.person) {
            None => self.data(text),
            Some(width) => {
                let lines = text
                    .lines()
                    .flat_map(|line| folded(line, width.into(), Long::Whole));
                self.data(&lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }

    /// Writes `name: text` for each, equal texts in one line where that was asked for, or where a
    /// person reads.
    pub fn lines<T>(&self, items: &[T], line: impl Fn(&T) -> (String, String)) {
        // Of a thousand racks they are many.
        let together = match self.folds() {
            true => items.len().max(1),
            false => LINES,
        };
        for items in items.chunks(together) {
            let lines: Vec<_> = items.iter().map(&line).collect();
            self.prose(&per_node(&lines, self.folds()));
        }
    }

    /// `names: text`; on a terminal a set that is too long for a line is broken behind commas.
    pub fn node_line(&self, names: &str, text: &str) -> String {
        match terminal_width().filter(|_| self.person) {
            Some(width) if names.len() + 2 > usize::from(width) => {
                format!(
                    "{}:\n    {text}",
                    broken_at_commas(names, usize::from(width))
                )
            }
            _ => format!("{names}: {text}"),
        }
    }

    /// A set of nodes for a cell: on a terminal it is broken behind commas where it takes more than
    /// a fifth of the line.
    pub fn node_set(&self, names: &str) -> String {
        match terminal_width().filter(|_| self.person) {
            Some(width) => broken_at_commas(names, usize::from(width) / 5),
            None => names.to_owned(),
        }
    }

    /// Writes a remark to stderr, unless quiet.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            say!("{text}");
        }
    }

    /// Writes `items` in the shape asked for: `lines` are `(name, text)`, `table` makes the wide
    /// shape.
    pub fn items<T: Serialize>(
        &self,
        items: &[T],
        lines: impl Fn(&T) -> (String, String),
        table: impl FnOnce(&[T]) -> Table,
    ) {
        match self.format {
            Format::Text => self.lines(items, lines),
            Format::Wide => self.data(&self.drawn(table(items))),
            Format::Json | Format::Yaml => self.structured_list(items.iter()),
            Format::Name => {
                for item in items {
                    self.data(&lines(item).0);
                }
            }
        }
    }

    /// Writes a value as JSON, or as YAML where that was asked for.
    pub fn structured<T: Serialize + ?Sized>(&self, value: &T) {
        let value = serde_json::to_value(value).expect("answers are JSON");
        self.data(&visible_json(match self.format {
            Format::Yaml => yaml(&value),
            _ => serde_json::to_string_pretty(&value).expect("values are JSON"),
        }));
    }

    /// Writes a list as [`Out::structured`] does. As JSON it is made thing by thing: of a thousand
    /// racks they are many.
    pub fn structured_list<T: Serialize>(&self, items: impl Iterator<Item = T>) {
        let mut items = items.peekable();
        if self.format == Format::Yaml || items.peek().is_none() {
            return self.structured(&items.collect::<Vec<_>>());
        }
        let (mut text, mut before) = (String::new(), "[");
        for item in items {
            let value = serde_json::to_value(item).expect("answers are JSON");
            let shown = serde_json::to_string_pretty(&value).expect("values are JSON");
            // No string in JSON has a line break in it.
            text.push_str(&format!("{before}\n  {}", shown.replace('\n', "\n  ")));
            before = ",";
            if text.len() > PIECE {
                self.piece(std::mem::take(&mut text));
            }
        }
        self.piece(text + "\n]\n");
    }

    /// A part of what is written as JSON.
    fn piece(&self, text: String) {
        write(harmless(&visible_json(text), self.colour).as_bytes());
    }

    /// Writes a value as JSON in one line.
    pub fn json_line<T: Serialize + ?Sized>(&self, value: &T) {
        let line = serde_json::to_string(value).expect("answers are JSON");
        self.data(&visible_json(line));
    }

    /// A table in our style. On a terminal it is given its width by [`fit`] when it is full.
    pub fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.iter().copied());
        // Without lines between the columns the gap is all that parts them.
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }

    /// The table as text, on a terminal no wider than that. What was asked for with all there is
    /// has that beneath its rows.
    pub fn drawn(&self, mut table: Table) -> String {
        match (terminal_width().filter(|_| self.person), self.format) {
            (Some(width), Format::Wide) => table::whole(self, &mut table, width),
            (width, _) => {
                if let Some(width) = width {
                    table::fit(&mut table, width);
                }
                table.trim_fmt()
            }
        }
    }

    /// A moment as whoever reads wants it: by the clock on the wall for a person, else with its
    /// zone.
    pub fn date_and_time(&self, at: WallTime) -> String {
        if self.person {
            when::local(at, "%Y-%m-%d %H:%M:%S")
        } else {
            when::zoned(at)
        }
    }

    /// The time of day for a person; else the whole moment with its zone.
    pub fn time_of_day(&self, at: WallTime) -> String {
        if self.person {
            when::local(at, "%H:%M:%S")
        } else {
            when::zoned(at)
        }
    }
}

/// A set of nodes with line ends behind commas where it is longer than `width`: never inside of a
/// name.
pub(super) fn broken_at_commas(set: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for part in set.split_inclusive(',') {
        let line = lines.last_mut().expect("one at least");
        if !line.is_empty() && line.len() + part.len() > width {
            lines.push(part.to_owned());
        } else {
            line.push_str(part);
        }
    }
    lines.join("\n")
}

/// The text as a terminal may have it: our own lines and, where there are any, our own colours, and
/// anything else that would do something to the terminal, since somebody may have put it into a
/// reason, as an escape to read.
pub(super) fn harmless(text: &str, colours: bool) -> String {
    let mut harmless = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|letter| is_hidden(letter) && letter != '\n') {
        harmless.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match colours.then(|| colour(rest)).flatten() {
            Some(length) => {
                harmless.push_str(&rest[..length]);
                length
            }
            None => {
                let length = rest.chars().next().map_or(0, char::len_utf8);
                harmless.push_str(&escaped(&rest[..length]));
                length
            }
        };
        rest = &rest[length..];
    }
    harmless.push_str(rest);
    harmless
}

/// The length of the sequence that a text begins with, where it is one of those that clap and
/// comfy-table make: colours, bold, underlined and their ends, and nothing that hides letters or
/// makes them blink.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\x1b[")?;
    let end = numbers.find('m')?;
    let is_ours = |number: &str| {
        matches!(
            number.parse::<u8>(),
            Ok(0 | 1 | 4 | 22 | 24 | 31..=39 | 91..=97)
        )
    };
    let numbers = &numbers[..end];
    let plain = numbers.split(';').all(is_ours);
    let of_256 = numbers
        .strip_prefix("38;5;")
        .is_some_and(|number| number.parse::<u8>().is_ok());
    (plain || of_256).then_some("\x1b[".len() + end + 1)
}

/// The width of the terminal that stdout or stderr is, or what COLUMNS says.
pub(super) fn terminal_width() -> Option<u16> {
    if let Some(columns) = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()) {
        return Some(columns).filter(|columns| *columns > 0);
    }
    let mut table = Table::new();
    if !io::stdout().is_terminal() {
        table.use_stderr();
    }
    // A terminal that does not say it, as on a serial line.
    const UNTOLD: u16 = 80;
    table.width().map(|width| match width {
        0 => UNTOLD,
        width => width,
    })
}

/// `name: text` for each, or one line for all with the same text, names folded; in the order of the
/// first of each.
fn per_node(lines: &[(String, String)], fold: bool) -> String {
    if !fold {
        let lines: Vec<String> = lines
            .iter()
            .map(|(name, text)| format!("{name}: {text}"))
            .collect();
        return lines.join("\n");
    }
    let mut groups: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
    for (index, (name, text)) in lines.iter().enumerate() {
        groups
            .entry(text)
            .or_insert((index, Vec::new()))
            .1
            .push(name);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (first, _))| *first);
    let lines: Vec<String> = groups
        .into_iter()
        .map(|(text, (_, names))| format!("{}: {text}", crate::nodeset::fold(names)))
        .collect();
    lines.join("\n")
}

/// JSON written as YAML: block style, names as they are and every text quoted as in JSON (which
/// YAML 1.2 takes).
fn yaml(value: &Value) -> String {
    let mut text = String::new();
    write_yaml(value, 0, &mut text);
    text
}

fn write_yaml(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                // The item's first line stands behind the dash, which takes the place of two
                // blanks.
                let mut inner = String::new();
                write_yaml(item, depth + 1, &mut inner);
                let first = inner.trim_start_matches(' ');
                text.push_str(&format!("{indent}- {first}"));
            }
        }
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                // Names of ours are words; a node's may be `on`, which old readers take for
                // something else.
                let plain = key.len() > 3
                    && key
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                    && !["true", "false", "null"].contains(&key.as_str());
                let key = if plain {
                    key.clone()
                } else {
                    Value::from(key.as_str()).to_string()
                };
                match member {
                    Value::Array(inner) if !inner.is_empty() => {
                        text.push_str(&format!("{indent}{key}:\n"));
                        write_yaml(member, depth + 1, text);
                    }
                    Value::Object(inner) if !inner.is_empty() => {
                        text.push_str(&format!("{indent}{key}:\n"));
                        write_yaml(member, depth + 1, text);
                    }
                    scalar => text.push_str(&format!("{indent}{key}: {scalar}\n")),
                }
            }
        }
        scalar => text.push_str(&format!("{indent}{scalar}\n")),
    }
}

/// A duration in words of at most two units: `850 ms`, `12 s`, `9 min 48 s`, `2 h 5 min`, `3 d 4
/// h`.
pub(super) fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        _ => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match seconds {
        0 if duration.subsec_millis() > 0 => format!("{} ms", duration.as_millis()),
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// So many nodes: `1 node`, `2 nodes`.
pub(super) fn nodes(count: usize) -> String {
    counted(count, "node")
}

/// To whole seconds where it is one or more: the words of outcomes have tenths, and two figures for
/// one moment must not contradict each other.
pub(super) fn rounded(duration: Duration) -> Duration {
    match duration.as_secs() {
        0 => duration,
        _ => Duration::from_secs(duration.as_secs_f64().round() as u64),
    }
}

/// `text` cut to `width` characters, with `…` where something was cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// What becomes of a word that is longer than a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Long {
    /// It may be an id or a set of nodes, to be copied.
    Whole,
    /// The line must not be longer than it may be.
    Parted,
}

/// A line in lines of at most `width` letters, parted at blanks; what follows is set in as the
/// second column is, where there is one, else a little.
pub(super) fn folded(line: &str, width: usize, long: Long) -> Vec<String> {
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let second = second_column(line).filter(|column| *column <= width * 2 / 3);
    let indent = second.unwrap_or_else(|| {
        let before = line.chars().take_while(|letter| *letter == ' ').count();
        (before + 4).min(width / 2)
    });
    let mut lines = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > width {
        let from = if lines.is_empty() {
            second.unwrap_or(0)
        } else {
            indent
        };
        let is_blank = |place: &usize| rest[*place] == ' ';
        let at = (from + 1..=width).rev().find(is_blank);
        let at = at.or_else(|| match long {
            Long::Whole => (width + 1..rest.len()).find(is_blank),
            Long::Parted => Some(width),
        });
        let Some(at) = at else { break };
        let tail = rest.split_off(at);
        lines.push(rest.iter().collect::<String>().trim_end().to_owned());
        let tail = tail.into_iter().skip_while(|letter| *letter == ' ');
        rest = std::iter::repeat_n(' ', indent).chain(tail).collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}

/// Where the text behind the first gap of two blanks or more begins.
fn second_column(line: &str) -> Option<usize> {
    let letters: Vec<char> = line.chars().collect();
    let first = letters.iter().position(|letter| *letter != ' ')?;
    let gap = (first..letters.len().saturating_sub(1))
        .find(|place| letters[*place] == ' ' && letters[place + 1] == ' ')?;
    let behind = letters[gap..].iter().position(|letter| *letter != ' ')?;
    Some(gap + behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_on_beneath_its_second_column() {
        assert_eq!(
            folded(
                "  suite                17, offered by the BMC and",
                40,
                Long::Whole
            ),
            [
                "  suite                17, offered by",
                "                       the BMC and"
            ]
        );
        assert_eq!(
            folded("no columns at all here", 12, Long::Whole),
            ["no columns", "    at all", "    here"]
        );
        assert_eq!(folded("short", 12, Long::Whole), ["short"]);
        let parted = folded(&"x".repeat(30), 12, Long::Parted);
        assert!(parted.iter().all(|line| line.len() <= 12), "{parted:?}");
        assert_eq!(
            folded("task t:7k3f9-0123456789 of r1n03", 12, Long::Whole),
            ["task", "    t:7k3f9-0123456789", "    of r1n03"]
        );
    }

    #[test]
    fn what_somebody_wrote_does_nothing_to_a_terminal() {
        let ours = "a\n\x1b[1m\x1b[38;5;10mok\x1b[39m\x1b[0m b";
        assert_eq!(harmless(ours, true), ours);
        assert_eq!(
            harmless(
                "x\x1b]0;title\x07 \u{9b}2J \u{202e}y \x1b[2J \x1b[8mz\x1b[5m\x1b[30;47m",
                true
            ),
            "x\\u{1b}]0;title\\u{7} \\u{9b}2J \\u{202e}y \\u{1b}[2J \\u{1b}[8mz\\u{1b}[5m\\u{1b}[30;47m"
        );
        assert_eq!(harmless("\x1b[32mok", false), "\\u{1b}[32mok");
    }

    use serde_json::json;

    fn lines(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn equal_answers_fold_into_one_line_with_folded_names() {
        let lines = lines(&[
            ("r1n01", "power on"),
            ("r1n02", "power off"),
            ("r1n03", "power on"),
            ("r1n04", "power on"),
        ]);
        insta::assert_snapshot!(per_node(&lines, true), @r"
        r1n[01,03-04]: power on
        r1n02: power off
        ");
        assert_eq!(per_node(&lines, false).lines().count(), 4);
    }

    #[test]
    fn durations_read_as_people_say_them() {
        for (millis, text) in [
            (0, "0 s"),
            (850, "850 ms"),
            (12_900, "12 s"),
            (60_000, "1 min"),
            (588_000, "9 min 48 s"),
            (7_500_000, "2 h 5 min"),
            (270_000_000, "3 d 3 h"),
        ] {
            assert_eq!(words(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn yaml_nests_as_json_does() {
        let value = json!([{"name": "r1n01", "reading": {"age": 1.5}, "groups": ["a", "b: c"], "none": [], "x": null}, "y"]);
        insta::assert_snapshot!(yaml(&value), @r#"
        - groups:
            - "a"
            - "b: c"
          name: "r1n01"
          none: []
          reading:
            "age": 1.5
          "x": null
        - "y"
        "#);
    }

    #[test]
    fn a_cut_text_says_that_it_was_cut() {
        assert_eq!(cut("waiting", 7), "waiting");
        assert_eq!(cut("waiting", 5), "wait…");
    }

    #[test]
    fn a_long_set_is_broken_behind_commas_alone() {
        assert_eq!(
            broken_at_commas("r1n[01-03,05,07-09]", 11),
            "r1n[01-03,\n05,07-09]"
        );
    }
}
