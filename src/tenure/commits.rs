//! The journal over etcd: one commit at a time, each after the one before.
//!
//! What comes while one is under way gathers and goes together. A commit that was not answered is
//! neither there nor not: the same is tried again, with the same number and the same contents,
//! until that is known. It never ends as failed, even where a later try is refused, because the
//! first one may still be on its way; where no later try can ever be taken, another commit takes
//! its number, so that it cannot be carried out any more.
//!
//! Entries of an older format are brought to ours before all else: that cannot fail either, and
//! waits for etcd as long as it takes.
//!
//! More changes than one transaction takes go in parts. The record of a batch goes last: a task
//! that never began and names a batch that is not there was never admitted.

use super::formats::Formats;
use super::keys::{self, Head};
use super::{Asked, Event, Post, RETRY, Tenure, one, revision};
use crate::etcd::{Answer, Compare, Op, Request, Revision, Span, Trouble, Txn};
use crate::rack::record::{Table, Write};
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// See the head of this file.
pub(super) struct Commits {
    fence: Revision,
    /// The bytes of the last commit's key, as they are known to be there.
    head: Option<Vec<u8>>,
    /// The number of the last commit.
    number: u64,
    gathered: BTreeMap<(Table, String), Write>,
    /// The last ticket of what is gathered.
    ticket: Option<u64>,
    writing: Option<Writing>,
}

/// Tickets that are being written.
struct Writing {
    /// Nothing where entries are brought to our format: nobody waits for that.
    ticket: Option<u64>,
    /// What is under way, and what goes after it.
    part: Part,
    rest: VecDeque<Changes>,
    /// Its first parts are there.
    begun: bool,
    /// A try of this part may be there, or may still be carried out.
    unsure: bool,
    /// An empty commit of the same number is under way instead, so that this one can never be
    /// carried out.
    voiding: Option<Part>,
    /// When it is tried again; nothing while a try is under way.
    again_at: Option<Instant>,
    /// Whether the rack was told that the outcome is not known.
    told: bool,
}

#[derive(Clone)]
struct Part {
    number: u64,
    head: Vec<u8>,
    changes: Changes,
}

/// What it changes.
#[derive(Clone, Default)]
struct Changes {
    writes: Vec<Write>,
    /// The formats of the journal from then on, where that changes, too.
    formats: Option<Formats>,
}

impl Commits {
    pub(super) fn new(fence: Revision, head: Option<Vec<u8>>, number: u64) -> Self {
        Self {
            fence,
            head,
            number,
            gathered: BTreeMap::new(),
            ticket: None,
            writing: None,
        }
    }

    /// Of several changes of one key the last counts.
    pub(super) fn add(&mut self, ticket: u64, writes: Vec<Write>) {
        for write in writes {
            let (table, key) = write.table_and_key();
            let place = (table, key.to_owned());
            self.gathered.insert(place, write);
        }
        self.ticket = self.ticket.max(Some(ticket));
    }

    /// Whether all that was given is known to be there, or not to be.
    pub(super) fn is_idle(&self) -> bool {
        self.ticket.is_none() && self.writing.is_none()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.writing.as_ref()?.again_at
    }

    fn part(&self, changes: Changes) -> Part {
        let number = self.number + 1;
        let head = Head {
            fence: self.fence,
            ticket: number,
            void: false,
        };
        Part {
            number,
            head: keys::bytes(&head),
            changes,
        }
    }

    /// Entries of older formats are written in this one before anything else is.
    pub(super) fn bring(
        &mut self,
        changed: Vec<(String, Write)>,
        formats: &Formats,
        to: u64,
        now: Instant,
    ) {
        let (upto, writes): (Vec<String>, Vec<Write>) = changed.into_iter().unzip();
        let mut upto = upto.into_iter();
        let all = chunks(writes.into_iter()).into_iter().map(|writes| {
            let last = upto.nth(writes.len() - 1).unwrap_or_default();
            let formats = Some(formats.brought(&last, to));
            Changes { writes, formats }
        });
        let mut all: VecDeque<Changes> = all.collect();
        let mut first = all.pop_front().unwrap_or_default();
        // With the last of them all are of one format.
        let last = all.back_mut().unwrap_or(&mut first);
        last.formats = Some(Formats::all(to));
        let part = self.part(first);
        self.writing = Some(Writing {
            ticket: None,
            part,
            rest: all,
            begun: true,
            unsure: true,
            voiding: None,
            again_at: Some(now),
            told: false,
        });
    }

    /// What has gathered is written from now on, where nothing else is.
    fn begin(&mut self, now: Instant) {
        let Some(ticket) = self.ticket.filter(|_| self.writing.is_none()) else {
            return;
        };
        self.ticket = None;
        let mut parts = parts(std::mem::take(&mut self.gathered).into_values());
        let part = self.part(parts.pop_front().unwrap_or_default());
        self.writing = Some(Writing {
            ticket: Some(ticket),
            part,
            rest: parts,
            begun: false,
            unsure: false,
            voiding: None,
            again_at: Some(now),
            told: false,
        });
    }
}

/// Changes in transactions that etcd takes, those of batches last.
fn parts(writes: impl Iterator<Item = Write>) -> VecDeque<Changes> {
    let (batches, others): (Vec<_>, Vec<_>) =
        writes.partition(|write| write.table_and_key().0 == Table::Batches);
    let chunks = chunks(others.into_iter().chain(batches)).into_iter();
    let changes = chunks.map(|writes| Changes {
        writes,
        formats: None,
    });
    changes.collect()
}

/// The same in their order.
fn chunks(writes: impl Iterator<Item = Write>) -> Vec<Vec<Write>> {
    let (mut parts, mut bytes) = (Vec::<Vec<Write>>::new(), 0);
    for write in writes {
        let size = match &write {
            Write::Put { key, value, .. } => key.len() + value.len(),
            Write::Delete { key, .. } => key.len(),
        };
        bytes += size;
        match parts.last_mut() {
            Some(part) if part.len() < CHANGES && bytes <= BYTES => part.push(write),
            _ => {
                bytes = size;
                parts.push(vec![write]);
            }
        }
    }
    parts
}

impl Tenure {
    /// Commits what is to be committed next.
    pub(super) fn write_on(&mut self, now: Instant) {
        let (wall, trail) = (self.wall(now), self.trail.clone());
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        owner.commits.begin(now);
        let due = |writing: &&mut Writing| writing.again_at.is_some_and(|at| at <= now);
        let Some(writing) = owner.commits.writing.as_mut().filter(due) else {
            return;
        };
        writing.again_at = None;
        let part = writing.voiding.as_ref().unwrap_or(&writing.part).clone();
        let (fence, beat) = (owner.fence, owner.next_beat(wall, trail, now));
        let (keys, own) = (&self.keys, keys::bytes(&owner.own));
        let before = match &owner.commits.head {
            Some(head) => Compare::Value(keys.head(), head.clone()),
            None => Compare::Revision(keys.head(), 0),
        };
        let changes = part.changes.writes.iter().filter_map(|write| {
            let (table, key) = write.table_and_key();
            let key = keys.entry(table, key)?;
            Some(match write {
                Write::Put { value, .. } => Op::Put(key, value.to_vec()),
                Write::Delete { .. } => Op::Delete(key),
            })
        });
        let mut success = vec![
            Op::Put(keys.head(), part.head.clone()),
            Op::Put(keys.beat(), beat),
        ];
        success.extend(changes);
        let formats = part.changes.formats.as_ref();
        success.extend(formats.map(|formats| Op::Put(keys.formats(), keys::bytes(formats))));
        let request = Request::Txn(Txn {
            compare: vec![
                Compare::Revision(keys.own(), fence),
                Compare::Value(keys.own(), own),
                before,
            ],
            success,
            failure: [keys.own(), keys.head()]
                .map(|key| Op::Range(Span::Key(key)))
                .to_vec(),
        });
        self.ask(Asked::Commit(fence, part.number), request, now);
    }

    pub(super) fn committed(
        &mut self,
        number: u64,
        answer: Result<Answer, Trouble>,
        sent: Instant,
        now: Instant,
    ) {
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        let of_this = |writing: &&mut Writing| writing.part.number == number;
        let Some(writing) = owner.commits.writing.as_mut().filter(of_this) else {
            return;
        };
        match answer {
            Ok(Answer::Txn {
                succeeded: true, ..
            }) => {
                let there = writing.voiding.as_ref().unwrap_or(&writing.part);
                let head = there.head.clone();
                self.confirmed(sent, now);
                self.moved_on(&head, now);
            }
            Ok(Answer::Txn { found, .. }) => self.out_of_line(&found, now),
            Err(trouble) if trouble.is_refusal() => self.refused(&trouble, now),
            Ok(_) | Err(_) => {
                let why = match answer {
                    Err(trouble) => trouble.to_string(),
                    Ok(_) => "etcd answers something else".to_owned(),
                };
                // A void that was not answered is tried again as it is.
                writing.unsure = true;
                writing.again_at = Some((sent + RETRY).max(now));
                self.tell_waiting(why);
            }
        }
        self.go_on(now);
    }

    /// The last commit is this one now: what was under way is there, or never will be.
    fn moved_on(&mut self, head: &[u8], now: Instant) {
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        let commits = &mut owner.commits;
        let Some(mut writing) = commits.writing.take() else {
            return;
        };
        commits.head = Some(head.to_vec());
        commits.number = writing.part.number;
        self.pinned.ticket = self.pinned.ticket.max(commits.number);
        if writing.part.head != head {
            let reason = "etcd refused it, and nothing more comes of it".to_owned();
            let failed = |ticket| Event::Failed { ticket, reason };
            self.events.extend(writing.ticket.map(failed));
        } else if let Some(next) = writing.rest.pop_front() {
            writing.part = commits.part(next);
            writing.begun = true;
            writing.unsure = false;
            writing.again_at = Some(now);
            commits.writing = Some(writing);
        } else {
            self.events.extend(writing.ticket.map(Event::Committed));
        }
    }

    /// The commit does not follow on what is there: it is there itself, from an earlier try, or the
    /// rack is another's.
    fn out_of_line(&mut self, found: &[Vec<crate::etcd::Entry>], now: Instant) {
        let Post::Owner(owner) = &self.post else {
            return;
        };
        let Some(writing) = &owner.commits.writing else {
            return;
        };
        let own = found.first().map_or(&[][..], |own| own);
        let head = found.get(1).and_then(|head| head.first());
        if revision(own) != owner.fence {
            return self.lost(found, now);
        }
        let is_there = |part: &&Part| head.is_some_and(|head| head.value == part.head);
        let there = std::iter::once(&writing.part)
            .chain(&writing.voiding)
            .find(is_there)
            .map(|part| part.head.clone());
        match there {
            Some(head) => self.moved_on(&head, now),
            None => {
                let last = found.get(1).and_then(|head| one::<Head>(head));
                let why = format!(
                    "the journal in etcd is not as this host left it: {:?}, and not {}",
                    last.map(|(head, _)| head),
                    owner.commits.number
                );
                self.depose(None, why, now);
            }
        }
    }

    /// Etcd itself refused a try.
    fn refused(&mut self, trouble: &Trouble, now: Instant) {
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        let commits = &mut owner.commits;
        let Some(writing) = &mut commits.writing else {
            return;
        };
        let reason = trouble.to_string();
        // Nothing of it is there, and nothing can come.
        if !writing.begun && !writing.unsure {
            let failed = |ticket| Event::Failed { ticket, reason };
            self.events.extend(writing.ticket.map(failed));
            commits.writing = None;
            return;
        }
        let hopeless = match trouble {
            Trouble::Invalid(_) => true,
            // A person may permit it again.
            Trouble::Forbidden(_) => !writing.begun,
            _ => false,
        };
        if hopeless && writing.begun {
            return self.depose(None, format!("half of a commit was refused: {reason}"), now);
        }
        if hopeless && writing.voiding.is_none() {
            let void = Head {
                fence: commits.fence,
                ticket: writing.part.number,
                void: true,
            };
            writing.voiding = Some(Part {
                number: writing.part.number,
                head: keys::bytes(&void),
                changes: Changes::default(),
            });
        }
        writing.again_at = Some(now + REFUSED);
        self.tell_waiting(reason);
    }

    fn tell_waiting(&mut self, reason: String) {
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        if let Some(writing) = &mut owner.commits.writing
            && !std::mem::replace(&mut writing.told, true)
        {
            let waiting = |ticket| Event::Waiting { ticket, reason };
            self.events.extend(writing.ticket.map(waiting));
        }
    }
}

/// Changes of one transaction: with the head, the sign of life and what is compared etcd takes 128
/// steps.
pub(super) const CHANGES: usize = 120;
/// Bytes of keys and values of one transaction: in base64, and with their keys, etcd takes 1.5 MB.
const BYTES: usize = 400_000;
/// After etcd has refused a try of something that may be there.
const REFUSED: Duration = Duration::from_secs(1);
