//! Log lines: for the journal of systemd with its `<N>` prefix, else with time and level on standard error. The last ones
//! are kept, for `rackbmc support`.

use crate::model::{beginning, escaped};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::sys::stat::fstat;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Starts logging.
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

/// Whether standard error goes to systemd's journal: JOURNAL_STREAM names its device and inode, and may be stale.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stat) = fstat(std::io::stderr()) else {
        return false;
    };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

struct Logger {
    /// Lines go to systemd's journal as it reads them (sd-daemon(3)), which adds the time. Else to a person.
    to_journal: bool,
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // To the second, and marked as UTC.
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        // What clients wrote is data: a line break in it would begin a line of its own, with a priority of its choice.
        let (level, text) = (record.level(), escaped(&record.args().to_string()));
        let line = format!("{time} {level:<5} {text}");
        let mut stderr = std::io::stderr().lock();
        // A log that cannot be written has nowhere to say so.
        let _ = match self.to_journal {
            true => writeln!(stderr, "<{}>{text}", priority(level)),
            false => writeln!(stderr, "{line}"),
        };
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
