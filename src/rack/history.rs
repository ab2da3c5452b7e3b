//! What happened to nodes: ended tasks, drifts, faults, maintenance. Kept for a while, and so many per node.

use super::call::HistoryEntry;
use super::clock::Moment;
use super::ledger::Ledger;
use super::record::Table;
use super::settings::RackSettings;
use super::stored;
use crate::model::{HistoryKind, Severity};
use crate::time::WallTime;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

/// The history of every node, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    next: u64,
    nodes: BTreeMap<Uuid, VecDeque<(u64, HistoryEntry)>>,
}

impl History {
    /// Takes up what was remembered; entries come in the order of their numbers.
    pub(super) fn restore(&mut self, number: u64, node: Uuid, entry: HistoryEntry) {
        self.pass(number);
        let entries = self.nodes.entry(node).or_default();
        entries.push_back((number, entry));
    }

    /// Entries to come have numbers after this one.
    pub(super) fn pass(&mut self, number: u64) {
        self.next = self.next.max(number.saturating_add(1));
    }

    pub(super) fn of(&self, node: Uuid) -> impl Iterator<Item = &HistoryEntry> {
        self.nodes
            .get(&node)
            .into_iter()
            .flatten()
            .rev()
            .map(|(_, entry)| entry)
    }

    /// One more entry of a node; the oldest ones make place where there are too many or they are too old.
    pub(super) fn note(
        &mut self,
        node: Uuid,
        entry: HistoryEntry,
        settings: &RackSettings,
        ledger: &mut Ledger,
    ) {
        let wall = entry.at;
        let number = self.next;
        self.next += 1;
        let value = stored::history(node, &entry);
        ledger.journal.put(Table::History, key(number), value);
        let entries = self.nodes.entry(node).or_default();
        entries.push_back((number, entry));
        let keep = settings.history_keep;
        let too_old = |(_, entry): &(u64, HistoryEntry)| wall.since(entry.at) > keep;
        while entries.len() > settings.history_entries as usize
            || entries.front().is_some_and(too_old)
        {
            let Some((number, _)) = entries.pop_front() else {
                break;
            };
            ledger.journal.delete(Table::History, key(number));
        }
    }

    /// Entries that are too old are forgotten, of nodes that are gone too.
    pub(super) fn forget_old(&mut self, keep: Duration, wall: WallTime, ledger: &mut Ledger) {
        self.nodes.retain(|_, entries| {
            let old = |(_, entry): &(u64, HistoryEntry)| wall.since(entry.at) > keep;
            while entries.front().is_some_and(old)
                && let Some((number, _)) = entries.pop_front()
            {
                ledger.journal.delete(Table::History, key(number));
            }
            !entries.is_empty()
        });
    }
}

/// Something that happened at a moment, of no task and by nobody.
pub(super) fn entry(kind: HistoryKind, text: String, error: bool, at: Moment) -> HistoryEntry {
    HistoryEntry {
        at: at.wall,
        kind: kind.into(),
        text,
        task: None,
        by: None,
        severity: Severity::of(error).into(),
        more: Default::default(),
    }
}

/// Keys sort as their numbers do.
fn key(number: u64) -> String {
    format!("{number:020}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;
    use crate::rack::record::Write;

    fn entry(second: u64) -> HistoryEntry {
        super::entry(HistoryKind::Drift, second.to_string(), false, at(second))
    }

    fn texts(history: &History, node: Uuid) -> Vec<&str> {
        history.of(node).map(|entry| entry.text.as_str()).collect()
    }

    #[test]
    fn the_newest_entries_are_kept_and_the_journal_forgets_the_others() {
        let settings = RackSettings {
            history_entries: 2,
            ..RackSettings::default()
        };
        let (mut history, mut ledger) = (History::default(), Ledger::new());
        let node = Uuid::from_u128(1);
        for second in 1..=4 {
            history.note(node, entry(second), &settings, &mut ledger);
        }
        assert_eq!(texts(&history, node), ["4", "3"]);
        let (_, writes) = ledger.journal.poll_writes().unwrap();
        let kept = writes
            .iter()
            .filter(|write| matches!(write, Write::Put { .. }));
        assert_eq!(kept.count(), 2);
    }

    #[test]
    fn what_is_too_old_is_forgotten_of_every_node() {
        let settings = RackSettings::default();
        let (mut history, mut ledger) = (History::default(), Ledger::new());
        let (left, right) = (Uuid::from_u128(1), Uuid::from_u128(2));
        history.note(left, entry(1), &settings, &mut ledger);
        history.note(right, entry(50), &settings, &mut ledger);
        history.forget_old(Duration::from_secs(60), at(90).wall, &mut ledger);
        assert!(texts(&history, left).is_empty());
        assert_eq!(texts(&history, right), ["50"]);
    }
}
