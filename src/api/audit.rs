//! The chain of the audit trail: whether records are whole and complete, recomputed by whoever has
//! their texts.
//!
//! Each record has a number, one more than that of the one before, and that one's SHA-256. Driven
//! by `rackbmc audit verify` with what the daemon serves, and by `rackbmcd --verify-audit` with
//! what is on the disk.
//!
//! The daemon removes the oldest records of a trail that is too long. A later record then has the
//! [`Seal`] on them: the number and the hash of the last one that was removed, which the first that
//! is left was written after. A beginning that is missing without such a seal was cut off by
//! somebody else.

use crate::model::{AuditHead, counted};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// What the chain needs of a record.
#[derive(Deserialize)]
struct Link {
    number: u64,
    before: String,
    #[serde(default)]
    sealed: Option<Seal>,
}

/// What is remembered of records that were removed because the trail was too long.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Seal {
    /// The number of the last one that was removed.
    pub number: u64,
    pub hash: String,
    /// How much was found to be wrong with all those that ever were removed, when they were.
    #[serde(default)]
    pub breaches: u64,
}

/// How the trail was found not to be what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Breach {
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
    Changed { number: u64 },
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
    Rewritten { number: u64 },
    /// The record of which somebody wrote the hash down was removed with the oldest: it cannot be
    /// compared.
    KnownRemoved {
        number: u64,
        /// The last that was removed.
        removed: u64,
    },
    /// Records are there that were removed.
    Returned {
        from: u64,
        /// The last that was removed.
        removed: u64,
    },
    /// Records that were removed were not whole when they were.
    RemovedBroken {
        /// The last that was removed.
        removed: u64,
        /// How much was wrong.
        breaches: u64,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { number } => write!(f, "record {number} cannot be read"),
            Self::Cut { from, found } if *found > *from => {
                write!(f, "records {from} to {} are missing", found - 1)
            }
            Self::Cut { from, found } => {
                write!(f, "record {found} stands where {from} should be")
            }
            Self::Changed { number } => write!(
                f,
                "record {number} was changed: its hash is not the one that record {} was written after",
                number.saturating_add(1)
            ),
            Self::Truncated { last, head } => {
                write!(f, "records {} to {head}, the newest, are missing", last + 1)
            }
            Self::BeyondHead { head, last } => write!(
                f,
                "records {} to {last} were added behind the newest that the daemon wrote",
                head + 1
            ),
            Self::Rewritten { number } => write!(
                f,
                "record {number} has not the hash that was written down: it, or one before it, was changed"
            ),
            Self::KnownRemoved { number, removed } => write!(
                f,
                "record {number}, whose hash was written down, cannot be compared: the daemon has removed the oldest \
                 records, up to {removed}; write down a newer hash"
            ),
            Self::Returned { from, removed } => write!(
                f,
                "records {from} to {removed} are there, though the daemon had removed them"
            ),
            Self::RemovedBroken { removed, breaches } => write!(
                f,
                "among the records up to {removed}, which the daemon removed as the oldest, some were missing or \
                 changed (places: {breaches}); its log told them when it did"
            ),
        }
    }
}

/// The check of a trail, record by record from the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    at: AuditHead,
    /// Whether a record was looked at, or what comes before the first is known.
    begun: bool,
    /// What the first record says of the one before it, where it is not the first of all.
    start: Option<AuditHead>,
    /// The newest seal.
    sealed: Option<Seal>,
    /// What somebody wrote down of the trail at another time.
    known: Option<AuditHead>,
    met_known: bool,
    breaches: Vec<Breach>,
}

impl Chain {
    /// A check from the first record on. `known` is a number and hash from another time and place,
    /// where there is one: only that shows a trail that was made anew from its beginning.
    pub(crate) fn new(known: Option<AuditHead>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// A check of records that follow those under a seal.
    pub(crate) fn behind(seal: &Seal) -> Self {
        Self {
            at: AuditHead {
                number: seal.number,
                hash: seal.hash.clone(),
            },
            begun: true,
            ..Self::default()
        }
    }

    /// The last record that was removed, where the oldest were.
    pub(crate) fn removed(&self) -> u64 {
        self.sealed.as_ref().map_or(0, |seal| seal.number)
    }

    /// The last record that was looked at, and what was found to be wrong up to it.
    pub(crate) fn so_far(mut self) -> (AuditHead, Vec<Breach>) {
        if let Some(start) = &self.start {
            let found = start.number + 1;
            self.breaches.insert(0, Breach::Cut { from: 1, found });
        }
        (self.at, self.breaches)
    }

    /// Looks at the next record.
    pub(crate) fn follow(&mut self, text: &str) {
        let link = serde_json::from_str::<Link>(text);
        if let Ok(first) = &link
            && !std::mem::replace(&mut self.begun, true)
            && first.number > self.at.number.saturating_add(1)
        {
            let start = AuditHead {
                number: first.number - 1,
                hash: first.before.clone(),
            };
            self.at = start.clone();
            self.start = Some(start);
            self.compare();
        }
        let next = self.at.number.saturating_add(1);
        let Ok(link) = link else {
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
        self.sealed = link.sealed.or(self.sealed.take());
        self.compare();
    }

    /// Whether what is missing at the beginning is what the daemon removed.
    fn judge_start(&mut self) {
        let removed = self.removed();
        let missing = self.start.as_ref().map_or(0, |start| start.number);
        let breach = match missing.cmp(&removed) {
            std::cmp::Ordering::Less => Breach::Returned {
                from: missing + 1,
                removed,
            },
            std::cmp::Ordering::Greater => Breach::Cut {
                from: removed + 1,
                found: missing + 1,
            },
            std::cmp::Ordering::Equal => {
                let hash = |at: &AuditHead| Some(&at.hash) == self.sealed.as_ref().map(|s| &s.hash);
                if self.start.as_ref().is_none_or(hash) {
                    return;
                }
                Breach::Changed { number: missing }
            }
        };
        self.breaches.insert(0, breach);
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

    /// The end of the records: what is wrong with them, given what was remembered apart from them
    /// as the newest.
    pub(crate) fn finish(mut self, head: &AuditHead) -> Vec<Breach> {
        let last = self.at.number;
        self.judge_start();
        if let Some(seal) = self.sealed.as_ref().filter(|seal| seal.breaches > 0) {
            self.breaches.push(Breach::RemovedBroken {
                removed: seal.number,
                breaches: seal.breaches,
            });
        }
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
        let removed = self.removed();
        if let Some(known) = &self.known
            && known.number > 0
            && known.number < removed
        {
            self.breaches.push(Breach::KnownRemoved {
                number: known.number,
                removed,
            });
        }
        self.breaches
    }
}

/// How much there is of a trail that is whole, in words.
pub(crate) fn extent(head: &AuditHead, removed: u64) -> String {
    match removed {
        0 => counted(usize::try_from(head.number).unwrap_or(usize::MAX), "record"),
        _ => format!(
            "records {} to {}, those before were removed by the daemon",
            removed + 1,
            head.number
        ),
    }
}

/// The SHA-256 of a record's text, in hexadecimal.
pub(crate) fn hash(text: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    Sha256::digest(text)
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(digits[usize::from(digit)]))
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

    /// A trail of `count` records, of which the newest seals the first `removed`, and those are
    /// gone.
    fn pruned(removed: u64, count: u64) -> (Vec<String>, AuditHead) {
        let (mut records, _) = trail(count - 1);
        let before = hash(records[count as usize - 2].as_bytes());
        let last = hash(records[removed as usize - 1].as_bytes());
        let seal = format!(
            r#"{{"number":{count},"user":"rackbmcd","sealed":{{"number":{removed},"hash":"{last}"}},"before":"{before}"}}"#
        );
        let number = count;
        let head = AuditHead {
            number,
            hash: hash(seal.as_bytes()),
        };
        records.push(seal);
        (records.split_off(removed as usize), head)
    }

    #[test]
    fn a_beginning_that_was_removed_under_a_seal_is_no_breach_and_one_that_was_cut_off_is() {
        let (records, head) = pruned(3, 8);
        assert_eq!(breaches(&records, &head), []);
        let cut = Breach::Cut { from: 4, found: 6 };
        assert_eq!(breaches(&records[2..], &head), [cut]);
        let mut edited = records.clone();
        edited[0] = edited[0].replace("alice", "bob");
        assert_eq!(
            breaches(&edited, &head),
            [Breach::Changed { number: 4 }],
            "what is left is held as before"
        );
        let mut edited = records.clone();
        edited[0] = edited[0].replace("\"before\":\"", "\"before\":\"0");
        let changed = [Breach::Changed { number: 3 }, Breach::Changed { number: 4 }];
        assert_eq!(breaches(&edited, &head), changed);
        // Somebody puts a true record back, or cuts the seal away.
        let returned = [vec![trail(3).0[2].clone()], records.clone()].concat();
        let back = Breach::Returned {
            from: 3,
            removed: 3,
        };
        assert_eq!(breaches(&returned, &head), [back]);
        let unsealed = breaches(&records[..4], &head);
        let lost = Breach::Truncated { last: 7, head: 8 };
        assert_eq!(unsealed, [Breach::Cut { from: 1, found: 4 }, lost]);
        let mut broken = records.clone();
        broken[0].truncate(9);
        assert!(breaches(&broken, &head).contains(&Breach::Unreadable { number: 1 }));
    }

    #[test]
    fn a_hash_that_was_written_down_of_a_record_that_is_gone_is_not_called_whole() {
        let (records, head) = pruned(3, 8);
        let whole = trail(7).0;
        let with_known = |number: u64, text: &str| {
            let hash = hash(text.as_bytes());
            let mut chain = Chain::new(Some(AuditHead { number, hash }));
            records.iter().for_each(|record| chain.follow(record));
            chain.finish(&head)
        };
        assert_eq!(with_known(3, &whole[2]), [], "the seal has its hash");
        let rewritten = Breach::Rewritten { number: 3 };
        assert_eq!(with_known(3, "forged"), [rewritten]);
        assert_eq!(with_known(5, &whole[4]), []);
        let removed = Breach::KnownRemoved {
            number: 2,
            removed: 3,
        };
        assert_eq!(with_known(2, &whole[1]), [removed]);
    }

    #[test]
    fn a_trail_made_anew_shows_where_a_hash_was_written_down() {
        let (_, written_down) = trail(3);
        let (forged, head) = trail_of("bob", 5);
        assert_eq!(breaches(&forged, &head), []);
        let mut chain = Chain::new(Some(written_down.clone()));
        forged.iter().for_each(|record| chain.follow(record));
        assert_eq!(chain.finish(&head), [Breach::Rewritten { number: 3 }]);
        // A trail that has become shorter than it was.
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
