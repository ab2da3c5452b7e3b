//! What happened to nodes: ended tasks, drifts, faults, maintenance. Kept for a while, and so many
//! per node.
//!
//! The entries stay on the disk and are asked for when somebody wants to read them. All that is
//! kept here is which numbers a node's entries have: they follow one another without a gap, so that
//! the oldest is forgotten unread.

use super::call::{Answer, CallId, Refused};
use super::clock::Moment;
use super::ledger::Ledger;
use super::record::{End, Stretch, Table};
use super::settings::RackSettings;
use super::stored;
use crate::model::{HistoryEntry, HistoryKind, Severity};
use crate::time::WallTime;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

/// Which entries there are of every node, and what is being read of them.
#[derive(Debug, Default)]
pub(super) struct History {
    nodes: BTreeMap<Uuid, Span>,
    next_look: u64,
    /// Looks that the shell has not taken yet.
    wanted: VecDeque<(u64, Stretch)>,
    /// What is to be done with what a look finds.
    looks: BTreeMap<u64, Purpose>,
}

/// The entries of one node.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// No entry has a number below this one.
    first: u64,
    /// The number of the next entry.
    next: u64,
    /// No entry is older.
    oldest: WallTime,
}

/// Why entries are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// Somebody wants to read them.
    Answer(CallId),
    /// The oldest of a node's may be too old.
    Prune(Uuid),
}

impl History {
    /// An entry is on the disk. Of the entries of a node the first and the last are enough.
    pub(super) fn restore(&mut self, number: u64, node: Uuid, at: WallTime) {
        let span = self.nodes.entry(node).or_insert(Span {
            first: number,
            next: number,
            oldest: at,
        });
        span.first = span.first.min(number);
        span.next = span.next.max(number.saturating_add(1));
        span.oldest = span.oldest.min(at);
    }

    /// One more entry of a node; the oldest ones make place where there are too many.
    pub(super) fn note(
        &mut self,
        node: Uuid,
        entry: &HistoryEntry,
        settings: &RackSettings,
        ledger: &mut Ledger,
    ) {
        let span = self.nodes.entry(node).or_insert(Span {
            first: 0,
            next: 0,
            oldest: entry.at,
        });
        let value = stored::history(node, entry);
        // Numbers follow without a gap: the oldest entry is forgotten without a look at the disk.
        let key = stored::history_key(node, span.next);
        ledger.journal.put(Table::History, key, value);
        span.next += 1;
        let least = span.next.saturating_sub(settings.history_entries.into());
        let surplus = span.first..least.min(span.first + FORGOTTEN_AT_ONCE);
        span.first = span.first.max(surplus.end);
        for number in surplus {
            let key = stored::history_key(node, number);
            ledger.journal.delete(Table::History, key);
        }
    }

    /// Somebody wants to read the newest entries of a node.
    pub(super) fn read(&mut self, node: Uuid, limit: usize, call: CallId) {
        self.look(node, End::Newest, limit, Purpose::Answer(call));
    }

    /// Looks for entries that are too old, of nodes that are gone too.
    pub(super) fn forget_old(&mut self, keep: Duration, at: Moment) {
        let old = |span: &Span| at.age(span.oldest) > keep;
        let nodes = self.nodes.iter().filter(|(_, span)| old(span));
        let nodes: Vec<Uuid> = nodes.map(|(node, _)| *node).collect();
        for node in nodes {
            self.prune(node);
        }
    }

    fn prune(&mut self, node: Uuid) {
        let purpose = Purpose::Prune(node);
        // A second look at the same entries would find what the first one is about to forget.
        if !self.looks.values().any(|under_way| *under_way == purpose) {
            self.look(node, End::Oldest, PRUNED_AT_ONCE, purpose);
        }
    }

    fn look(&mut self, node: Uuid, end: End, limit: usize, purpose: Purpose) {
        let stretch = Stretch {
            table: Table::History,
            prefix: stored::history_prefix(node),
            end,
            limit,
        };
        self.wanted.push_back((self.next_look, stretch));
        self.looks.insert(self.next_look, purpose);
        self.next_look += 1;
    }

    pub(super) fn poll_look(&mut self) -> Option<(u64, Stretch)> {
        self.wanted.pop_front()
    }

    /// Nobody waits for what a call asked for.
    pub(super) fn forget_call(&mut self, call: CallId) {
        let answers = |purpose: &Purpose| *purpose == Purpose::Answer(call);
        self.looks.retain(|_, purpose| !answers(purpose));
        // A look that the shell has not taken yet need not be taken at all.
        let looks = &self.looks;
        self.wanted.retain(|(look, _)| looks.contains_key(look));
    }

    /// What a look found, where `old` says which entries are too old: the answer to a call, where
    /// one looked.
    pub(super) fn found(
        &mut self,
        look: u64,
        found: Result<Vec<(String, Vec<u8>)>, String>,
        old: impl Fn(WallTime) -> bool,
        ledger: &mut Ledger,
    ) -> Option<(CallId, Result<Answer, Refused>)> {
        match self.looks.remove(&look)? {
            Purpose::Answer(call) => {
                let entries = found.map(|found| shown_history(&found));
                Some((call, entries.map(Answer::History).map_err(Refused::NotRead)))
            }
            Purpose::Prune(node) => {
                // A disk that cannot be read now is asked again in an hour.
                self.prune_found(node, &found.unwrap_or_default(), old, ledger);
                None
            }
        }
    }

    fn prune_found(
        &mut self,
        node: Uuid,
        oldest: &[(String, Vec<u8>)],
        old: impl Fn(WallTime) -> bool,
        ledger: &mut Ledger,
    ) {
        let Some(span) = self.nodes.get_mut(&node) else {
            return;
        };
        let mut forgotten = 0;
        for (key, value) in oldest {
            // An entry that cannot be read stays until a person discards it.
            let Ok((number, entry)) = stored::history_entry(key, value) else {
                continue;
            };
            span.first = span.first.max(number);
            span.oldest = entry.at;
            if !old(entry.at) {
                return;
            }
            ledger.journal.delete(Table::History, key.clone());
            forgotten += 1;
        }
        if oldest.len() == PRUNED_AT_ONCE && forgotten > 0 {
            self.prune(node);
        }
    }
}

/// What a look at the entries of a node found, as it is shown.
pub fn shown_history(found: &[(String, Vec<u8>)]) -> Vec<HistoryEntry> {
    found.iter().map(shown).collect()
}

/// An entry as it is shown; one that cannot be read is not passed over in silence.
fn shown((key, value): &(String, Vec<u8>)) -> HistoryEntry {
    match stored::history_entry(key, value) {
        Ok((_, entry)) => entry,
        Err(why) => HistoryEntry {
            at: WallTime::default(),
            kind: HistoryKind::Fault.into(),
            text: format!("the journal's entry history {key} cannot be read: {why}"),
            task: None,
            by: None,
            severity: Severity::Error.into(),
            more: Default::default(),
        },
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

/// Entries that are looked at together to see which are too old.
const PRUNED_AT_ONCE: usize = 64;
/// Entries that make place in one turn: more where a configuration wants far fewer than before.
const FORGOTTEN_AT_ONCE: u64 = 256;

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;
    use crate::rack::record::Write;

    /// A history with its journal.
    struct Kept {
        history: History,
        ledger: Ledger,
        disk: BTreeMap<String, Vec<u8>>,
        settings: RackSettings,
    }

    impl Kept {
        fn new(history_entries: u32) -> Self {
            Self {
                history: History::default(),
                ledger: Ledger::new(),
                disk: BTreeMap::new(),
                settings: RackSettings {
                    history_entries,
                    ..RackSettings::default()
                },
            }
        }

        fn note(&mut self, node: Uuid, second: u64) {
            let entry = entry(HistoryKind::Drift, second.to_string(), false, at(second));
            let ledger = &mut self.ledger;
            self.history.note(node, &entry, &self.settings, ledger);
        }

        /// Carries writes and looks to the disk until there are none, and gives the answers.
        fn settle(&mut self, keep: u64) -> Vec<HistoryEntry> {
            let mut answers = Vec::new();
            loop {
                while let Some((ticket, writes)) = self.ledger.journal.poll_writes() {
                    for write in writes {
                        match write {
                            Write::Put { key, value, .. } => {
                                drop(self.disk.insert(key, value.to_vec()))
                            }
                            Write::Delete { key, .. } => drop(self.disk.remove(&key)),
                        }
                    }
                    self.ledger.journal.durable(ticket);
                }
                let Some((look, stretch)) = self.history.poll_look() else {
                    return answers;
                };
                let entries = self.disk.iter();
                let entries = entries.filter(|(key, _)| key.starts_with(&stretch.prefix));
                let entries = entries.map(|(key, value)| (key.clone(), value.clone()));
                let mut entries: Vec<_> = entries.collect();
                if stretch.end == End::Newest {
                    entries.reverse();
                }
                entries.truncate(stretch.limit);
                let old = |time| time < at(keep).wall;
                let found = self.history.found(look, Ok(entries), old, &mut self.ledger);
                if let Some((_, Ok(Answer::History(entries)))) = found {
                    answers.extend(entries);
                }
            }
        }

        fn texts(&mut self, node: Uuid) -> Vec<String> {
            self.history.read(node, 1000, CallId(1));
            let entries = self.settle(0).into_iter();
            entries.map(|entry| entry.text).collect()
        }
    }

    #[test]
    fn the_newest_entries_are_kept_and_the_journal_forgets_the_others() {
        let (node, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut kept = Kept::new(2);
        (1..=4).for_each(|second| kept.note(node, second));
        kept.note(other, 5);
        assert_eq!(kept.texts(node), ["4", "3"]);
        assert_eq!(kept.texts(other), ["5"]);
        assert_eq!(kept.disk.len(), 3);
        // A configuration that wants fewer.
        kept.settings.history_entries = 1;
        kept.note(node, 6);
        assert_eq!(kept.texts(node), ["6"]);
    }

    #[test]
    fn a_later_life_goes_on_from_the_first_and_the_last_entry() {
        let node = Uuid::from_u128(1);
        let mut kept = Kept::new(3);
        (1..=5).for_each(|second| kept.note(node, second));
        kept.settle(0);
        let mut later = Kept::new(3);
        later.disk = kept.disk;
        let ends = [later.disk.first_key_value(), later.disk.last_key_value()];
        for (key, value) in ends.into_iter().flatten() {
            let (number, entry) = stored::history_entry(key, value).unwrap();
            later.history.restore(number, node, entry.at);
        }
        later.note(node, 6);
        assert_eq!(later.texts(node), ["6", "5", "4"]);
        assert_eq!(later.disk.len(), 3);
    }

    #[test]
    fn what_is_too_old_is_forgotten_of_every_node() {
        let (left, right) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut kept = Kept::new(1000);
        (1..=200).for_each(|second| kept.note(left, second));
        (150..=250).for_each(|second| kept.note(right, second));
        kept.settle(0);
        kept.history.forget_old(Duration::from_secs(60), at(261));
        kept.settle(201);
        assert!(kept.texts(left).is_empty());
        assert_eq!(kept.texts(right).len(), 50);
        kept.note(left, 300);
        assert_eq!(kept.texts(left), ["300"]);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_shown_as_such_and_stays() {
        let node = Uuid::from_u128(1);
        let mut kept = Kept::new(1000);
        (1..=3).for_each(|second| kept.note(node, second));
        kept.settle(0);
        let key = stored::history_key(node, 1);
        kept.disk.insert(key.clone(), b"{}".to_vec());
        let texts = kept.texts(node);
        let said = format!("the journal's entry history {key} cannot be read");
        assert!(texts[1].starts_with(&said), "{texts:?}");
        kept.history.forget_old(Duration::ZERO, at(100));
        kept.settle(100);
        assert_eq!(kept.disk.into_keys().collect::<Vec<_>>(), [key]);
    }
}
