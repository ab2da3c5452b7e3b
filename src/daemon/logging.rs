//! Log lines: for the journal of systemd with its `<N>` prefix, else with time and level on standard error.

use crate::model::escaped;
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::sys::stat::fstat;
use std::io::Write;

/// Starts logging.
pub(super) fn start(level: LevelFilter) {
    let logger: Box<dyn Log> = match is_journal() {
        true => Box::new(Journal),
        false => Box::new(Plain),
    };
    match log::set_boxed_logger(logger) {
        Ok(()) => log::set_max_level(level),
        Err(error) => eprintln!("rackbmcd: log lines are lost: {error}"),
    }
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

/// Writes lines as systemd's journal reads them (sd-daemon(3)).
struct Journal;

impl Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let priority = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        // What clients wrote is data: a line break in it would begin a line of its own, with a priority of its choice.
        let text = escaped(&record.args().to_string());
        // A log that cannot be written has nowhere to say so.
        let _ = writeln!(std::io::stderr().lock(), "<{priority}>{text}");
    }

    fn flush(&self) {}
}

/// Writes lines for a person, who has no journal that would add the time.
struct Plain;

impl Log for Plain {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // To the second, and marked as UTC.
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let (level, text) = (record.level(), escaped(&record.args().to_string()));
        // A log that cannot be written has nowhere to say so.
        let _ = writeln!(std::io::stderr().lock(), "{time} {level:<5} {text}");
    }

    fn flush(&self) {}
}
