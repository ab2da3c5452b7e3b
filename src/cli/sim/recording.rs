//! What reached the machines of a simulated rack, as lines of JSON: what a test believes, rather
//! than any client.

use super::{Served, SimError};
use crate::sim::{By, Executed};
use nix::sys::signal::SigSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Writes down what happens until one of the signals comes.
///
/// # Errors
/// The file cannot be written.
pub(super) fn wait(served: &Served, path: &Path, signals: &SigSet) -> Result<(), SimError> {
    let fault = |error| SimError::File(path.to_owned(), error);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(fault)?;
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let names: Vec<String> = served.nodes().map(|(name, _)| name.to_owned()).collect();
            let mut known = vec![0; names.len()];
            loop {
                let last = ends.load(Ordering::Acquire);
                for (name, known) in names.iter().zip(&mut known) {
                    write_new(served, name, known, &mut file)?;
                }
                if last {
                    return Ok(());
                }
                std::thread::sleep(EVERY);
            }
        });
        let waited = signals.wait();
        ends.store(true, Ordering::Release);
        let written = writer.join().expect("it only writes");
        waited.map_err(std::io::Error::from)?;
        written.map_err(fault)
    })
}

/// Writes what has reached a machine beyond the first orders, which are written already.
fn write_new(
    served: &Served,
    name: &str,
    known: &mut usize,
    file: &mut File,
) -> std::io::Result<()> {
    let seen = served.with_bmc(name, |bmc, now| {
        let executed = &bmc.host().executed()[*known..];
        let ago = |done: &Executed| now - done.at;
        let lines: Vec<_> = executed.iter().map(|done| (ago(done), *done)).collect();
        lines
    });
    let wall = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    for (ago, done) in seen.unwrap_or_default() {
        let from = match done.by {
            By::Console(from) => from.to_string(),
            By::Somebody => "somebody in front of it".to_owned(),
        };
        let line = serde_json::json!({
            "at": (wall.saturating_sub(ago)).as_secs_f64(),
            "node": name,
            "order": format!("{:?}", done.order).to_lowercase(),
            "effect": format!("{:?}", done.effect).to_lowercase(),
            "from": from,
        });
        writeln!(file, "{line}")?;
        *known += 1;
    }
    Ok(())
}

const EVERY: Duration = Duration::from_millis(50);
