//! What must be durable before something else may happen (design, rule 1).
//!
//! The core puts down [`Write`]s; [`Journal::poll_writes`] gives all that has gathered under one
//! ticket; what depends on them is parked until the shell says that the ticket is durable. The
//! shell decides how many tickets make one commit.
//!
//! What could not be written goes with the next writes, where nothing newer has taken its place: an
//! end that came while the disk was full is not forgotten.

use super::record::{Table, Write};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Counts what was put down and what is durable, and keeps what waits in between.
#[derive(Debug)]
pub(super) struct Journal<P> {
    gathered: Writes,
    /// What the disk refused, and goes with the next ticket.
    refused: Writes,
    /// What the shell has and has not settled.
    under_way: VecDeque<(u64, Vec<Write>)>,
    /// How many bytes that is.
    bytes: usize,
    /// Refused writes need not wait for others: the disk takes writes again.
    taken_again: bool,
    next: u64,
    /// The last ticket that was settled, one way or the other.
    durable: u64,
    parked: VecDeque<(u64, P)>,
    /// Entries that cannot be read: they stay as they are until a person discards them.
    sealed: BTreeSet<(Table, String)>,
    trouble: Option<String>,
    /// Since when a ticket has been waiting for the disk, and whether that is too long.
    waiting: Option<Instant>,
    hangs: bool,
}

/// The newest write of each place, so that a batch over thousands of nodes need not look through
/// what it has put down.
type Writes = BTreeMap<(Table, String), Write>;

/// What is put down and was not given to the shell yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unwritten {
    Nothing,
    /// Something that nobody waits for: it may be written a little later, together with other
    /// things.
    Idle,
    /// Something that an order or an answer waits for.
    Awaited,
}

impl<P> Journal<P> {
    pub(super) fn new() -> Self {
        Self {
            gathered: Writes::new(),
            refused: Writes::new(),
            under_way: VecDeque::new(),
            bytes: 0,
            taken_again: false,
            next: 1,
            durable: 0,
            parked: VecDeque::new(),
            sealed: BTreeSet::new(),
            trouble: None,
            waiting: None,
            hangs: false,
        }
    }

    /// Remembers `value` under `key`. Within one ticket the last value wins.
    pub(super) fn put(&mut self, table: Table, key: String, value: impl Into<Arc<[u8]>>) {
        let value = value.into();
        self.write(Write::Put { table, key, value });
    }

    /// The value that was put down under `key` is this one; nothing, where it was deleted again.
    pub(super) fn fill(&mut self, table: Table, key: String, filling: Arc<[u8]>) {
        if let Some(Write::Put { value, .. }) = self.gathered.get_mut(&(table, key)) {
            *value = filling;
        }
    }

    /// Forgets `key`.
    pub(super) fn delete(&mut self, table: Table, key: String) {
        self.write(Write::Delete { table, key });
    }

    fn write(&mut self, write: Write) {
        let key = key_of(&write);
        // An entry that cannot be read is never written over: a newer program may read it.
        if self.sealed.contains(&key) {
            return;
        }
        // What the disk refused of this place is older, and must not come back after this.
        self.refused.remove(&key);
        self.gathered.insert(key, write);
    }

    /// From now on nothing changes this entry.
    pub(super) fn seal(&mut self, table: Table, key: String) {
        self.sealed.insert((table, key));
    }

    /// Whether nothing may change this entry.
    pub(super) fn is_sealed(&self, table: Table, key: &str) -> bool {
        !self.sealed.is_empty() && self.sealed.contains(&(table, key.to_owned()))
    }

    /// Keeps `parked` until all that was put down by now is durable.
    pub(super) fn park(&mut self, parked: P) {
        self.parked.push_back((self.last(), parked));
    }

    /// Whether something put down by now is not durable yet.
    pub(super) fn is_pending(&self) -> bool {
        self.last() > self.durable
    }

    /// Whether [`Journal::poll_writes`] has something, and whether somebody waits for that.
    pub(super) fn unwritten(&self) -> Unwritten {
        let again = self.taken_again && !self.refused.is_empty();
        // The last one that was parked waits for the highest ticket.
        let awaited = |(ticket, _): &(u64, P)| *ticket >= self.next;
        match self.gathered.is_empty() && !again {
            true => Unwritten::Nothing,
            false if self.parked.back().is_some_and(awaited) => Unwritten::Awaited,
            false => Unwritten::Idle,
        }
    }

    /// Everything gathered, under its ticket, by place: it becomes durable as a whole.
    pub(super) fn poll_writes(&mut self) -> Option<(u64, Vec<Write>)> {
        let again = self.taken_again && !self.refused.is_empty();
        if self.gathered.is_empty() && !again {
            return None;
        }
        self.taken_again = false;
        let ticket = self.next;
        self.next += 1;
        let mut writes = std::mem::take(&mut self.refused);
        // `append` lets the newer value of a place win.
        writes.append(&mut self.gathered);
        let writes: Vec<Write> = writes.into_values().collect();
        self.bytes += bytes_of(&writes);
        self.under_way.push_back((ticket, writes.clone()));
        Some((ticket, writes))
    }

    /// What may happen now that every ticket up to `ticket` is durable.
    pub(super) fn durable(&mut self, ticket: u64) -> Vec<P> {
        self.answered();
        self.trouble = None;
        self.taken_again = true;
        self.settled(ticket);
        self.take_parked(ticket)
    }

    /// What must not happen, because the tickets up to `ticket` could not be written.
    pub(super) fn failed(&mut self, ticket: u64, why: String) -> Vec<P> {
        self.answered();
        self.trouble = Some(why);
        for write in self.settled(ticket) {
            let key = key_of(&write);
            if !self.gathered.contains_key(&key) {
                self.refused.insert(key, write);
            }
        }
        // A ticket that is still under way has something newer of these places.
        for write in self.under_way.iter().flat_map(|(_, writes)| writes) {
            self.refused.remove(&key_of(write));
        }
        self.take_parked(ticket)
    }

    /// What is under way is neither durable nor refused yet, and why.
    pub(super) fn unconfirmed(&mut self, why: String) {
        self.trouble = Some(why);
    }

    fn answered(&mut self) {
        if std::mem::take(&mut self.hangs) {
            log::warn!("the disk answers again");
        }
        self.waiting = None;
    }

    /// Looks at the disk's time. One that hangs is trouble until it answers; the time in which the
    /// daemon stood still is nobody's: see [`Journal::watch_anew`].
    pub(super) fn watch(&mut self, now: Instant) {
        if self.under_way.is_empty() && self.gathered.is_empty() {
            self.waiting = None;
            return;
        }
        let since = *self.waiting.get_or_insert(now);
        if !self.hangs && now >= since + HANGS {
            self.hangs = true;
            let text = format!("the disk has not answered for {} s", HANGS.as_secs());
            log::error!("the journal cannot be written: {text}");
            // What the disk has said of itself tells more than that it is silent.
            self.trouble.get_or_insert(text);
        }
    }

    /// The disk has its time once more.
    pub(super) fn watch_anew(&mut self, now: Instant) {
        self.waiting = self.waiting.map(|_| now);
    }

    /// When a disk that has not answered yet hangs.
    pub(super) fn next_watch(&self) -> Option<Instant> {
        let waiting = self.waiting.filter(|_| !self.hangs);
        waiting.map(|since| since + HANGS)
    }

    /// Takes out what waits for a disk that hangs, and is not to wait any longer.
    pub(super) fn take_hanging(&mut self, tired: impl Fn(&P) -> bool) -> Vec<P> {
        match self.hangs {
            true => self.take_parked_if(tired),
            false => Vec::new(),
        }
    }

    /// What waits for its ticket.
    pub(super) fn parked(&self) -> impl Iterator<Item = &P> {
        self.parked.iter().map(|(_, parked)| parked)
    }

    /// Takes out what is not to wait any longer.
    pub(super) fn take_parked_if(&mut self, wanted: impl Fn(&P) -> bool) -> Vec<P> {
        let parked = std::mem::take(&mut self.parked);
        let (taken, left): (VecDeque<_>, _) =
            parked.into_iter().partition(|(_, parked)| wanted(parked));
        self.parked = left;
        taken.into_iter().map(|(_, parked)| parked).collect()
    }

    /// Why nothing can be written at the moment.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Takes back what `unwanted` names: it does not wait any more.
    pub(super) fn unpark(&mut self, mut unwanted: impl FnMut(&P) -> bool) {
        self.parked.retain(|(_, parked)| !unwanted(parked));
    }

    /// The writes of all tickets up to `ticket`, which are settled now.
    fn settled(&mut self, ticket: u64) -> Vec<Write> {
        self.durable = self.durable.max(ticket);
        let settled = self.under_way.partition_point(|(of, _)| *of <= ticket);
        let settled = self.under_way.drain(..settled);
        let settled: Vec<Write> = settled.flat_map(|(_, writes)| writes).collect();
        self.bytes -= bytes_of(&settled);
        settled
    }

    /// Whether so much is on its way to the disk that nothing which adds thousands of records is
    /// taken on beside it.
    pub(super) fn is_behind(&self) -> bool {
        self.bytes > BEHIND
    }

    fn take_parked(&mut self, ticket: u64) -> Vec<P> {
        let ready = self
            .parked
            .iter()
            .take_while(|(needs, _)| *needs <= ticket)
            .count();
        self.parked
            .drain(..ready)
            .map(|(_, parked)| parked)
            .collect()
    }

    /// The ticket that covers all that was put down by now.
    fn last(&self) -> u64 {
        // Refused writes count as not durable: what is parked now waits for them as well (rule 1).
        if self.gathered.is_empty() && self.refused.is_empty() {
            self.next - 1
        } else {
            self.next
        }
    }
}

/// What a write is gathered under.
fn key_of(write: &Write) -> (Table, String) {
    let (table, key) = write.table_and_key();
    (table, key.to_owned())
}

/// How much memory these take, about.
fn bytes_of(writes: &[Write]) -> usize {
    let value = |write: &Write| match write {
        Write::Put { value, .. } => value.len(),
        Write::Delete { .. } => 0,
    };
    writes
        .iter()
        .map(|write| size_of_val(write) + value(write))
        .sum()
}

/// Bytes that are on their way to the disk beside which nothing is taken on that adds thousands of
/// records: a batch over the largest rack is 5 MB of them.
const BEHIND: usize = 4 << 20;
/// A commit that takes longer is trouble.
const HANGS: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_released_with_its_own_ticket_and_not_before() {
        let mut journal = Journal::new();
        journal.put(Table::Tasks, "a".into(), vec![1]);
        journal.park("a may leave");
        let (first, writes) = journal.poll_writes().unwrap();
        assert_eq!(writes.len(), 1);
        journal.put(Table::Tasks, "b".into(), vec![2]);
        journal.park("b may leave");
        assert_eq!(journal.durable(first), ["a may leave"]);
        let (second, _) = journal.poll_writes().unwrap();
        assert_eq!(journal.durable(second), ["b may leave"]);
    }

    #[test]
    fn it_is_told_whether_somebody_waits_for_what_is_not_written() {
        let mut journal = Journal::new();
        assert_eq!(journal.unwritten(), Unwritten::Nothing);
        journal.put(Table::Tasks, "a".into(), vec![1]);
        assert_eq!(journal.unwritten(), Unwritten::Idle);
        journal.park("waits for a");
        assert_eq!(journal.unwritten(), Unwritten::Awaited);
        journal.poll_writes().unwrap();
        assert_eq!(journal.unwritten(), Unwritten::Nothing);
        journal.put(Table::Tasks, "b".into(), vec![2]);
        assert_eq!(journal.unwritten(), Unwritten::Idle);
    }

    #[test]
    fn what_needs_nothing_new_waits_for_the_ticket_before() {
        let mut journal = Journal::new();
        journal.put(Table::Tasks, "a".into(), vec![1]);
        let (first, _) = journal.poll_writes().unwrap();
        journal.park("later");
        assert!(journal.is_pending());
        assert_eq!(journal.durable(first), ["later"]);
        assert!(!journal.is_pending());
    }

    #[test]
    fn the_last_value_of_a_ticket_wins() {
        let mut journal = Journal::<()>::new();
        journal.put(Table::Rack, "k".into(), vec![1]);
        journal.put(Table::Rack, "k".into(), vec![2]);
        let (_, writes) = journal.poll_writes().unwrap();
        assert_eq!(
            writes,
            [Write::Put {
                table: Table::Rack,
                key: "k".into(),
                value: [2].into()
            }]
        );
    }

    fn put(journal: &mut Journal<&str>, key: &str, value: u8) {
        journal.put(Table::Tasks, key.into(), vec![value]);
    }

    fn values(writes: &[Write]) -> Vec<(&str, u8)> {
        fn value(write: &Write) -> (&str, u8) {
            match write {
                Write::Put { key, value, .. } => (key, value[0]),
                Write::Delete { .. } => panic!("nothing was deleted"),
            }
        }
        writes.iter().map(value).collect()
    }

    #[test]
    fn what_was_refused_goes_with_the_next_writes() {
        let mut journal = Journal::new();
        put(&mut journal, "end", 1);
        let (first, _) = journal.poll_writes().unwrap();
        journal.failed(first, "no space".into());
        assert!(journal.is_pending());
        assert_eq!(
            journal.poll_writes(),
            None,
            "it does not try without a pause"
        );
        journal.park("said when the end is durable");
        put(&mut journal, "alive", 2);
        let (second, writes) = journal.poll_writes().unwrap();
        assert_eq!(values(&writes), [("alive", 2), ("end", 1)]);
        assert_eq!(journal.durable(second), ["said when the end is durable"]);
        assert!(!journal.is_pending());
    }

    #[test]
    fn what_was_refused_never_takes_the_place_of_something_newer() {
        let mut journal = Journal::<&str>::new();
        put(&mut journal, "gathered", 1);
        put(&mut journal, "under way", 1);
        put(&mut journal, "put later", 1);
        let (first, _) = journal.poll_writes().unwrap();
        put(&mut journal, "under way", 2);
        let (second, _) = journal.poll_writes().unwrap();
        put(&mut journal, "gathered", 2);
        journal.failed(first, "no space".into());
        put(&mut journal, "put later", 2);
        let (third, writes) = journal.poll_writes().unwrap();
        assert_eq!(values(&writes), [("gathered", 2), ("put later", 2)]);
        journal.durable(second);
        journal.durable(third);
        assert_eq!(journal.poll_writes(), None);
    }

    #[test]
    fn a_disk_that_takes_writes_again_gets_what_it_refused_at_once() {
        let mut journal = Journal::<&str>::new();
        put(&mut journal, "a", 1);
        let (first, _) = journal.poll_writes().unwrap();
        put(&mut journal, "b", 1);
        let (second, _) = journal.poll_writes().unwrap();
        journal.failed(first, "no space".into());
        journal.durable(second);
        let (_, writes) = journal.poll_writes().unwrap();
        assert_eq!(values(&writes), [("a", 1)]);
    }
}
