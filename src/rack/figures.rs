//! Figures for the metrics: what only grows, and how things stand at the moment of a scrape.

use super::clock::Moment;
use super::task::Task;
use crate::bmc::vocabulary::Report;
use crate::model::{Chassis, HistoryEntry, HistoryKind, TaskState};
use std::collections::BTreeMap;
use std::time::Duration;

/// Figures that only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Tasks that ended and how long they took, by operation and end state in words.
    pub tasks: BTreeMap<(&'static str, &'static str), Durations>,
    /// Reports of BMCs, by kind: `accepted`, `refused`, `unanswered`.
    pub reports: BTreeMap<&'static str, u64>,
    /// Refusals, by completion code.
    pub refusals: BTreeMap<u8, u64>,
    /// Silences, by trouble in words.
    pub troubles: BTreeMap<&'static str, u64>,
    /// Datagrams handed to the network.
    pub sent: u64,
    /// Datagrams taken from the network.
    pub received: u64,
    /// Datagrams from addresses that are no BMC's.
    pub strangers: u64,
    /// Changes of a power state that nobody asked this daemon for.
    pub unasked: u64,
    /// The power use last read, in watts, by the name of the node.
    pub watts: BTreeMap<String, u16>,
}

/// How long things took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
    /// How many took no longer than each of [`Durations::BOUNDS`], and longer than the bound before
    /// it.
    pub within: [u64; Self::BOUNDS.len()],
}

impl Durations {
    /// The bounds, in seconds: a switch, a reboot, a soft one, the usual patience with one, an
    /// hour.
    pub const BOUNDS: [u64; 8] = [1, 5, 15, 60, 180, 600, 1800, 3600];

    /// Counts one more duration.
    pub(super) fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
        let within = Self::BOUNDS
            .iter()
            .position(|bound| took <= Duration::from_secs(*bound));
        if let Some(index) = within {
            self.within[index] += 1;
        }
    }
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Tasks that have not ended, by state in words.
    pub tasks: BTreeMap<&'static str, u64>,
    /// Orders that wait for their BMC's turn, or for its answer.
    pub waiting_orders: u64,
    /// Handshakes begun with the BMCs that are configured.
    pub handshakes: u64,
    /// Sessions opened with them.
    pub opened: u64,
    /// Sessions lost.
    pub lost: u64,
    /// Copies of requests that were sent to them.
    pub resends: u64,
    /// Sessions of others that BMCs had when these were counted last, by the name of the node.
    pub strangers: Vec<(String, u8)>,
    /// What BMCs said last of the chassis, by the name of the node.
    pub chassis: Vec<(String, Chassis)>,
}

impl Counters {
    /// A BMC reported.
    pub(super) fn reported(&mut self, report: &Report) {
        let kind = match report {
            Report::Accepted(_) => "accepted",
            Report::Refused(refusal) => {
                *self.refusals.entry(refusal.code).or_default() += 1;
                "refused"
            }
            Report::Unanswered(silence) => {
                let trouble = silence.trouble.words();
                *self.troubles.entry(trouble).or_default() += 1;
                "unanswered"
            }
        };
        *self.reports.entry(kind).or_default() += 1;
    }

    /// A task has ended.
    pub(super) fn ended(&mut self, task: &Task, state: TaskState, at: Moment) {
        let identity = &task.identity;
        let durations = self.tasks.entry((identity.operation.name(), state.name()));
        // By our own clock: a calendar that is set must not show as a task of a year.
        let took = at.age(identity.requested_at);
        durations.or_default().add(took);
    }

    /// The history of a node has one more entry.
    pub(super) fn noted(&mut self, entry: &HistoryEntry) {
        // The late effect of a task is drift as well, but somebody had asked for it.
        let unasked = entry.kind == HistoryKind::Drift && entry.task.is_none();
        self.unasked += u64::from(unasked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_where_it_belongs() {
        let mut durations = Durations::default();
        for millis in [0, 1000, 1001, 3_600_000, 3_600_001] {
            durations.add(Duration::from_millis(millis));
        }
        assert_eq!(durations.within, [2, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(durations.count, 5);
        assert_eq!(durations.sum, Duration::from_millis(7_202_002));
    }
}
