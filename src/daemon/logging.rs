//! Log lines: for the journal of systemd with its `<N>` prefix, else with time and level on
//! standard error. The last ones are kept, for `rackbmc support`.
//!
//! Whoever is to read them may not: a journal that hangs, a pager that nobody scrolls, a terminal
//! that was stopped. Nothing waits for that: lines that find no room are counted, and their number
//! is the first that is written when there is some.

use crate::model::{beginning, escaped};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) fn start(level: LevelFilter) {
    let logger = Logger {
        to_journal: is_journal(),
    };
    match log::set_boxed_logger(Box::new(logger)) {
        Ok(()) => log::set_max_level(level),
        Err(error) => super::say::err(format_args!("rackbmcd: log lines are lost: {error}")),
    }
}

/// The last lines, the oldest first, and how many there were before them.
pub(super) fn last_lines() -> (Vec<String>, u64) {
    let kept = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    (kept.lines.iter().cloned().collect(), kept.forgotten)
}

/// Whether standard error goes to systemd's journal: JOURNAL_STREAM names its device and inode, and
/// may be stale.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stat) = fstat(io::stderr()) else {
        return false;
    };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

struct Logger {
    /// Lines go to systemd's journal as it reads them (sd-daemon(3)), which adds the time. Else to
    /// a person.
    to_journal: bool,
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // To the second, and marked as UTC.
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        // What clients wrote is data: a line break in it would begin a line of its own, with a
        // priority of its choice.
        let (level, text) = (record.level(), escaped(&record.args().to_string()));
        let line = format!("{time} {level:<5} {text}");
        let shown = |level: Level, text: &str| match self.to_journal {
            true => format!("<{}>{text}\n", priority(level)),
            false => format!("{time} {level:<5} {text}\n"),
        };
        let lost = |count: u64| shown(Level::Warn, &format!("{count} {LOST}"));
        let mut reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
        reader.write(&mut io::stderr().lock(), &shown(level, &text), lost);
        drop(reader);
        let mut kept = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        kept.add(beginning(&line, LINE_KEPT));
    }

    fn flush(&self) {}
}

fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Whoever reads the log.
static READER: Mutex<Reader> = Mutex::new(Reader {
    lost: 0,
    amid_a_line: false,
    waited_at: None,
});

/// How it stands with whoever reads the log.
struct Reader {
    /// Lines that found no room since one did.
    lost: u64,
    /// The last one that was written found room for a part of it.
    amid_a_line: bool,
    /// When it was waited for last.
    waited_at: Option<Instant>,
}

impl Reader {
    /// Writes a line as far as it is taken, after what `lost` says of those that were not.
    fn write(&mut self, to: &mut (impl Write + AsFd), line: &str, lost: impl Fn(u64) -> String) {
        let mut text = String::new();
        if self.amid_a_line {
            text.push('\n');
        }
        if self.lost > 0 {
            text += &lost(self.lost);
        }
        text += line;
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(AT_ONCE)];
            let written = match self.takes(to) {
                true => to.write(piece),
                false => Err(io::ErrorKind::WouldBlock.into()),
            };
            match written {
                Ok(count @ 1..) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.lost += 1;
                    self.amid_a_line |= rest.len() < text.len();
                    return;
                }
                // A log that cannot be written has nowhere to say so.
                Ok(0) | Err(_) => break,
            }
        }
        (self.lost, self.amid_a_line) = (0, false);
    }

    /// Whether it takes so much as is written at once: one that reads is waited for a moment, now
    /// and then.
    fn takes(&mut self, to: &impl AsFd) -> bool {
        if has_room(to, 0) {
            return true;
        }
        let now = Instant::now();
        if self.lost > 0 || self.waited_at.is_some_and(|at| now - at < REST) {
            return false;
        }
        self.waited_at = Some(now);
        has_room(to, PATIENCE)
    }
}

/// Whether so much as is written at once finds room within so many milliseconds.
fn has_room(to: &impl AsFd, patience: u8) -> bool {
    let mut asked = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    // Where that cannot be asked, writing tells.
    poll(&mut asked, PollTimeout::from(patience)).map_or(true, |found| found > 0)
}

/// What is said of lines that found no room.
const LOST: &str = "lines of the log are lost: nobody read them";
/// Milliseconds for which a line that finds no room waits, and how long none does after that.
const PATIENCE: u8 = 100;
const REST: Duration = Duration::from_secs(10);
/// Bytes that are written at once: as many as a pipe surely takes that takes any (PIPE_BUF).
const AT_ONCE: usize = 4096;

/// The last lines, of every thread.
static LAST: Mutex<Last> = Mutex::new(Last {
    lines: VecDeque::new(),
    bytes: 0,
    forgotten: 0,
});

struct Last {
    lines: VecDeque<String>,
    bytes: usize,
    forgotten: u64,
}

impl Last {
    fn add(&mut self, line: String) {
        self.bytes += line.len() + LINE_COST;
        self.lines.push_back(line);
        while self.bytes > LOG_KEPT
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.len() + LINE_COST;
            self.forgotten += 1;
        }
    }
}

/// Bytes of the last lines that are kept.
const LOG_KEPT: usize = 256 * 1024;
/// Bytes of one line that are kept.
const LINE_KEPT: usize = 4096;
/// What a line costs beside its text.
const LINE_COST: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up_and_says_what_it_lacks() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut to = writer;
        let mut state = Reader {
            lost: 0,
            amid_a_line: false,
            waited_at: None,
        };
        let lost = |count| format!("{count} lost\n");
        // Longer than what is written at once: one of them is cut.
        let line = format!("{}\n", "x".repeat(10_000));
        for _ in 0..50 {
            state.write(&mut to, &line, lost);
        }
        let written = 50 - state.lost;
        assert!(written < 20 && state.amid_a_line, "{written}");
        let mut all = Vec::new();
        let mut piece = [0; 65_536];
        let count = io::Read::read(&mut reader, &mut piece).expect("what was written");
        all.extend(&piece[..count]);
        state.write(&mut to, "the next one\n", lost);
        drop(to);
        io::Read::read_to_end(&mut reader, &mut all).expect("the rest");
        let text = String::from_utf8(all).expect("text");
        let end: Vec<&str> = text.lines().rev().take(3).collect();
        assert_eq!(
            end[..2],
            ["the next one", &format!("{} lost", 50 - written)]
        );
        assert!(end[2].starts_with('x') && end[2].len() < 10_000);
    }

    #[test]
    fn the_last_lines_are_kept_within_their_bytes_and_the_others_counted() {
        let mut last = Last {
            lines: VecDeque::new(),
            bytes: 0,
            forgotten: 0,
        };
        for number in 0..10_000 {
            last.add(format!("{number} {}", "x".repeat(100)));
        }
        let texts: usize = last.lines.iter().map(|line| line.len() + LINE_COST).sum();
        assert_eq!(texts, last.bytes);
        assert!(texts <= LOG_KEPT && texts > LOG_KEPT - 400, "{texts}");
        assert_eq!(last.lines.len() as u64 + last.forgotten, 10_000);
        assert!(
            last.lines
                .back()
                .is_some_and(|line| line.starts_with("9999 "))
        );
    }
}
