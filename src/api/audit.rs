//! The chain of the audit trail: whether records are whole and complete, recomputed by whoever has their texts.
//!
//! Each record has a number, one more than that of the one before, and that one's SHA-256. Driven by `rackbmc audit
//! verify` with what the daemon serves, and by `rackbmcd --verify-audit` with what is on the disk.

use crate::model::AuditHead;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt;

/// What the chain needs of a record.
#[derive(Deserialize)]
struct Link {
    number: u64,
    before: String,
}

/// How the trail was found not to be what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Breach {
    /// A text that is no record.
    Unreadable {
        /// The number that it should have.
        number: u64,
    },
    /// Records are missing in the middle, or at the beginning.
    Cut {
        /// The first that is missing.
        from: u64,
        /// The one that comes in its place.
        found: u64,
    },
    /// A record is not the one that its follower was written after.
    Changed {
        /// Its number.
        number: u64,
    },
    /// The newest records are missing.
    Truncated {
        /// The last that is there.
        last: u64,
        /// The last that was written.
        head: u64,
    },
    /// There are records after what is remembered as the newest.
    BeyondHead {
        /// What is remembered.
        head: u64,
        /// The last that is there.
        last: u64,
    },
    /// A record has not the hash that somebody wrote down.
    Rewritten {
        /// Its number.
        number: u64,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Breach::Unreadable { number } => write!(f, "record {number} cannot be read"),
            Breach::Cut { from, found } if *found > *from => {
                write!(f, "records {from} to {} are missing", found - 1)
            }
            Breach::Cut { from, found } => {
                write!(f, "record {found} stands where {from} should be")
            }
            Breach::Changed { number } => write!(
                f,
                "record {number} was changed: its hash is not the one that record {} was written after",
                number + 1
            ),
            Breach::Truncated { last, head } => {
                write!(f, "records {} to {head}, the newest, are missing", last + 1)
            }
            Breach::BeyondHead { head, last } => write!(
                f,
                "records {} to {last} were added behind the newest that the daemon wrote",
                head + 1
            ),
            Breach::Rewritten { number } => write!(
                f,
                "record {number} has not the hash that was written down: it, or one before it, was changed"
            ),
        }
    }
}

/// The check of a trail, record by record from the first.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    at: AuditHead,
    /// What somebody wrote down of the trail at another time.
    known: Option<AuditHead>,
    met_known: bool,
    breaches: Vec<Breach>,
}

impl Chain {
    /// A check from the first record on. `known` is a number and hash from another time and place, where there is one:
    /// only that shows a trail that was made anew from its beginning.
    pub fn new(known: Option<AuditHead>) -> Self {
        Chain {
            known,
            ..Chain::default()
        }
    }

    /// The number of the last record that was looked at.
    pub fn number(&self) -> u64 {
        self.at.number
    }

    /// Looks at the next record.
    pub fn follow(&mut self, text: &str) {
        let next = self.at.number + 1;
        let Ok(link) = serde_json::from_str::<Link>(text) else {
            self.breaches.push(Breach::Unreadable { number: next });
            self.at = AuditHead {
                number: next,
                hash: hash(text.as_bytes()),
            };
            return;
        };
        if link.number != next {
            self.breaches.push(Breach::Cut {
                from: next,
                found: link.number,
            });
        } else if link.before != self.at.hash {
            // Of the first record it is the record itself that says something else than nothing.
            let number = self.at.number.max(1);
            if !self.breaches.contains(&Breach::Unreadable { number }) {
                self.breaches.push(Breach::Changed { number });
            }
        }
        self.at = AuditHead {
            number: link.number.max(next),
            hash: hash(text.as_bytes()),
        };
        self.compare();
    }

    fn compare(&mut self) {
        if let Some(known) = self
            .known
            .as_ref()
            .filter(|known| known.number == self.at.number)
        {
            self.met_known = true;
            if known.hash != self.at.hash {
                self.breaches.push(Breach::Rewritten {
                    number: self.at.number,
                });
            }
        }
    }

    /// The end of the records: what is wrong with them, given what was remembered apart from them as the newest.
    pub fn finish(mut self, head: &AuditHead) -> Vec<Breach> {
        let last = self.at.number;
        match last.cmp(&head.number) {
            std::cmp::Ordering::Less => self.breaches.push(Breach::Truncated {
                last,
                head: head.number,
            }),
            std::cmp::Ordering::Greater => self.breaches.push(Breach::BeyondHead {
                head: head.number,
                last,
            }),
            std::cmp::Ordering::Equal if self.at.hash != head.hash => {
                self.breaches.push(Breach::Changed { number: last });
            }
            std::cmp::Ordering::Equal => {}
        }
        if let Some(known) = &self.known
            && !self.met_known
            && known.number > 0
            && known.number > head.number
        {
            self.breaches.push(Breach::Truncated {
                last: head.number,
                head: known.number,
            });
        }
        self.breaches
    }
}

/// The SHA-256 of a record's text, in hexadecimal.
pub fn hash(text: &[u8]) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SHA-256 values were computed with coreutils' sha256sum.
    const ONE: &str = r#"{"number":1,"user":"alice","before":"0000000000000000000000000000000000000000000000000000000000000000"}"#;

    fn trail(count: u64) -> (Vec<String>, AuditHead) {
        trail_of("alice", count)
    }

    fn trail_of(user: &str, count: u64) -> (Vec<String>, AuditHead) {
        let mut head = AuditHead::default();
        let mut records = Vec::new();
        for number in 1..=count {
            let text = format!(
                r#"{{"number":{number},"user":"{user}","before":"{}"}}"#,
                head.hash
            );
            head = AuditHead {
                number,
                hash: hash(text.as_bytes()),
            };
            records.push(text);
        }
        (records, head)
    }

    fn breaches(records: &[String], head: &AuditHead) -> Vec<Breach> {
        let mut chain = Chain::new(None);
        records.iter().for_each(|record| chain.follow(record));
        chain.finish(head)
    }

    #[test]
    fn a_trail_as_it_was_written_has_no_breach() {
        for count in [0, 1, 5] {
            let (records, head) = trail(count);
            assert_eq!(breaches(&records, &head), []);
        }
        assert_eq!(trail(1).0[0], ONE);
    }

    #[test]
    fn the_hash_is_the_one_that_sha256sum_says() {
        assert_eq!(
            hash(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn an_edit_shows_wherever_it_is() {
        let (records, head) = trail(5);
        for place in 0..5 {
            let mut edited = records.clone();
            edited[place] = edited[place].replace("alice", "bob");
            let number = place as u64 + 1;
            assert_eq!(breaches(&edited, &head), [Breach::Changed { number }]);
        }
        let mut broken = records.clone();
        broken[2].truncate(9);
        assert_eq!(breaches(&broken, &head), [Breach::Unreadable { number: 3 }]);
    }

    #[test]
    fn a_cut_shows_at_the_beginning_in_the_middle_and_at_the_end() {
        let (records, head) = trail(5);
        let cut = |from: u64, found| vec![Breach::Cut { from, found }];
        assert_eq!(breaches(&records[2..], &head), cut(1, 3));
        let middle = [&records[..1], &records[3..]].concat();
        assert_eq!(breaches(&middle, &head), cut(2, 4));
        let end = Breach::Truncated { last: 3, head: 5 };
        assert_eq!(breaches(&records[..3], &head), [end]);
        let all = Breach::Truncated { last: 0, head: 5 };
        assert_eq!(breaches(&[], &head), [all]);
    }

    #[test]
    fn a_trail_made_anew_shows_where_a_hash_was_written_down() {
        let (_, written_down) = trail(3);
        let (forged, head) = trail_of("bob", 5);
        assert_eq!(breaches(&forged, &head), []);
        let mut chain = Chain::new(Some(written_down.clone()));
        forged.iter().for_each(|record| chain.follow(record));
        assert_eq!(chain.finish(&head), [Breach::Rewritten { number: 3 }]);
        // One that has become shorter than it was.
        let mut chain = Chain::new(Some(written_down));
        let short = AuditHead {
            number: 1,
            hash: hash(forged[0].as_bytes()),
        };
        chain.follow(&forged[0]);
        let shorter = Breach::Truncated { last: 1, head: 3 };
        assert_eq!(chain.finish(&short), [shorter]);
    }
}
