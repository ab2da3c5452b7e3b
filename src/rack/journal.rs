//! What must be durable before something else may happen (design, rule 1).
//!
//! The core puts down [`Write`]s; [`Journal::poll_writes`] gives all that has gathered under one ticket; what depends on
//! them is parked until the shell says that the ticket is durable. The shell decides how many tickets make one commit.

use super::record::{Table, Write};
use std::collections::VecDeque;

/// Counts what was put down and what is durable, and keeps what waits in between.
#[derive(Debug)]
pub(super) struct Journal<P> {
    gathered: Vec<Write>,
    next: u64,
    /// The last ticket that was settled, one way or the other.
    durable: u64,
    parked: VecDeque<(u64, P)>,
    trouble: Option<String>,
}

impl<P> Journal<P> {
    pub(super) fn new() -> Self {
        Journal {
            gathered: Vec::new(),
            next: 1,
            durable: 0,
            parked: VecDeque::new(),
            trouble: None,
        }
    }

    /// Remembers `value` under `key`. Within one ticket the last value wins.
    pub(super) fn put(&mut self, table: Table, key: String, value: Vec<u8>) {
        self.replace(table, &key);
        self.gathered.push(Write::Put { table, key, value });
    }

    /// Forgets `key`.
    pub(super) fn delete(&mut self, table: Table, key: String) {
        self.replace(table, &key);
        self.gathered.push(Write::Delete { table, key });
    }

    /// Keeps `parked` until all that was put down by now is durable.
    pub(super) fn park(&mut self, parked: P) {
        self.parked.push_back((self.last(), parked));
    }

    /// Whether something put down by now is not durable yet.
    pub(super) fn is_pending(&self) -> bool {
        self.last() > self.durable
    }

    /// Everything gathered, under its ticket.
    pub(super) fn poll_writes(&mut self) -> Option<(u64, Vec<Write>)> {
        if self.gathered.is_empty() {
            return None;
        }
        let ticket = self.next;
        self.next += 1;
        Some((ticket, std::mem::take(&mut self.gathered)))
    }

    /// What may happen now that every ticket up to `ticket` is durable.
    pub(super) fn durable(&mut self, ticket: u64) -> Vec<P> {
        self.trouble = None;
        self.durable = self.durable.max(ticket);
        self.take_parked(ticket)
    }

    /// What must not happen, because the tickets up to `ticket` could not be written.
    pub(super) fn failed(&mut self, ticket: u64, why: String) -> Vec<P> {
        self.trouble = Some(why);
        self.durable = self.durable.max(ticket);
        self.take_parked(ticket)
    }

    /// Why nothing can be written at the moment.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Takes back what `unwanted` names: it does not wait any more.
    pub(super) fn unpark(&mut self, mut unwanted: impl FnMut(&P) -> bool) {
        self.parked.retain(|(_, parked)| !unwanted(parked));
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
        if self.gathered.is_empty() {
            self.next - 1
        } else {
            self.next
        }
    }

    fn replace(&mut self, table: Table, key: &str) {
        self.gathered.retain(|write| {
            let (Write::Put {
                table: other,
                key: name,
                ..
            }
            | Write::Delete {
                table: other,
                key: name,
            }) = write;
            (*other, name.as_str()) != (table, key)
        });
    }
}

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
                value: vec![2]
            }]
        );
    }
}
