//! The system event log, read from its end and cleared: orders of many commands (IPMI v2.0 rev 1.1
//! §31).
//!
//! Driven by `script`, an answer at a time. The newest entries come first, so that whatever ends
//! the walk early, what there is are the newest ones. Only forward is in the protocol: the entry
//! before one is found by its id, which in most logs is one less, and proved by its pointing to the
//! one that is known. Where ids do not lead back the log is walked over from its first entry.

use super::script::{Turn, command};
use super::translate;
use super::vocabulary::{EventLogEntry, Reading};
use crate::ipmi::command::{clear_sel, get_sel_entry, get_sel_info, reserve_sel};
use crate::ipmi::event::{RECORD_LENGTH, Record};
use crate::ipmi::{CompletionCode, Wire};
use crate::session::Request;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Reads the newest entries.
#[derive(Debug)]
pub(super) struct Walk {
    limit: usize,
    at: At,
    fetch: Fetch,
    /// How many entries the log said it has.
    total: Option<u16>,
    /// The newest entries without a gap, oldest first.
    newest: VecDeque<EventLogEntry>,
    /// What was walked over from the first entry on, as much of its end as may be wanted.
    passed: VecDeque<EventLogEntry>,
    /// Ids of entries that were read.
    seen: BTreeSet<u16>,
    /// By how much the id of an entry is above that of the one before.
    step: u16,
    /// Whether that was looked at, at the beginning of the log.
    learned: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// How many there are.
    Info,
    /// The last one.
    Last,
    /// The one before the oldest so far, by a guess at its id; so many guesses were wrong.
    Before { wrong: u16 },
    /// From the first on.
    Forward,
}

impl Walk {
    pub(super) fn new(limit: u16) -> Self {
        Self {
            limit: usize::from(limit).max(1),
            at: At::Info,
            fetch: Fetch::of(get_sel_entry::LAST),
            total: None,
            newest: VecDeque::new(),
            passed: VecDeque::new(),
            seen: BTreeSet::new(),
            step: 1,
            learned: false,
        }
    }

    pub(super) fn request(&self) -> Request {
        match self.at {
            At::Info => command(&get_sel_info::Request),
            At::Last | At::Before { .. } | At::Forward => self.fetch.request(),
        }
    }

    pub(super) fn take(&mut self, completion: CompletionCode, data: &[u8]) -> Turn {
        if self.at == At::Info {
            // The count is advice: a BMC that does not give it still has its entries.
            let info = get_sel_info::Response::decode(data).ok();
            self.total = info.filter(|_| completion.is_ok()).map(|info| info.entries);
            self.at = At::Last;
            return match self.total {
                // An empty log has no last entry to ask for.
                Some(0) => Turn::Done(self.result(None)),
                _ => Turn::Ask(Duration::ZERO),
            };
        }
        match self.fetch.take(completion, data) {
            Fetched::More => Turn::Ask(Duration::ZERO),
            Fetched::Refused(Some(why)) if self.at == At::Forward => Turn::Failed(why),
            Fetched::Refused(None) if self.at == At::Forward => Turn::Refused,
            // Some BMCs know no "last entry": the way from the first one is left.
            Fetched::Refused(_) => self.go_forward(),
            Fetched::Absent => self.absent(),
            Fetched::Entry(entry) => self.entry(entry),
        }
    }

    /// The entry that was asked for is not there.
    fn absent(&mut self) -> Turn {
        match self.at {
            At::Before { wrong } => self.guess(wrong + 1),
            // A BMC that does not know "the last entry" answers the same.
            At::Last if self.total.is_some() => self.go_forward(),
            At::Info | At::Last => Turn::Done(self.result(None)),
            At::Forward if self.seen.is_empty() => Turn::Done(self.result(None)),
            At::Forward => self.end_of_way("an entry was taken out of the log meanwhile"),
        }
    }

    fn entry(&mut self, entry: EventLogEntry) -> Turn {
        match self.at {
            At::Before { wrong } => {
                let oldest = self.newest.front().expect("the last one was read").id;
                // The id was guessed: only an entry that points to the known one is the one before.
                if entry.next != oldest || self.seen.contains(&entry.id) {
                    return self.guess(wrong + 1);
                }
                self.step = oldest.wrapping_sub(entry.id).max(1);
            }
            At::Forward => return self.pass(entry),
            At::Info | At::Last => {}
        }
        self.seen.insert(entry.id);
        self.newest.push_front(entry);
        let all = self.total.map(usize::from);
        let count = self.newest.len();
        match count >= self.limit || all.is_some_and(|all| count >= all) {
            true => Turn::Done(self.result(None)),
            false => self.guess(0),
        }
    }

    /// Asks for the entry before the oldest, after so many wrong guesses.
    fn guess(&mut self, wrong: u16) -> Turn {
        let oldest = self.newest.front().map_or(0, |entry| entry.id);
        let below = self.step + wrong;
        // Id 0 names the first entry whatever its own id is, so that no guess goes so low.
        if wrong >= GUESSES || oldest <= below {
            return self.go_forward();
        }
        self.at = At::Before { wrong };
        self.fetch.turn_to(oldest - below);
        Turn::Ask(Duration::ZERO)
    }

    fn go_forward(&mut self) -> Turn {
        self.at = At::Forward;
        self.seen.clear();
        self.fetch.turn_to(get_sel_entry::FIRST);
        Turn::Ask(Duration::ZERO)
    }

    /// An entry on the way from the first one.
    fn pass(&mut self, entry: EventLogEntry) -> Turn {
        let next = entry.next;
        if self.newest.iter().any(|known| known.id == entry.id) {
            // The walk has come to the entries that were read from the end.
            return Turn::Done(self.result(None));
        }
        if !self.seen.insert(entry.id) {
            // Logs were seen that never come to an end.
            return self.end_of_way("its entries point in a circle");
        }
        self.passed.push_back(entry);
        // Only the newest are wanted, and a log may have thousands of entries.
        if self.passed.len() > self.limit {
            self.passed.pop_front();
        }
        if let (false, [first, second], true) = (
            self.learned,
            &*self.passed.make_contiguous(),
            !self.newest.is_empty(),
        ) {
            // The first two show how far ids are apart: the way back is tried once more.
            self.learned = true;
            self.step = second.id.wrapping_sub(first.id).max(1);
            self.passed.clear();
            return self.guess(0);
        }
        let joins = self.newest.front().is_some_and(|known| known.id == next);
        if joins || next == get_sel_entry::LAST {
            // The entries that were read from the end follow, unless the log ends elsewhere.
            if !joins {
                self.newest.clear();
            }
            self.join();
            return Turn::Done(self.result(None));
        }
        self.fetch.turn_to(next);
        Turn::Ask(Duration::ZERO)
    }

    /// The way from the first entry ends without the last one.
    fn end_of_way(&mut self, why: &str) -> Turn {
        if self.newest.is_empty() {
            self.join();
        }
        Turn::Done(self.result(Some(why)))
    }

    fn join(&mut self) {
        let newest = std::mem::take(&mut self.newest);
        self.newest = std::mem::take(&mut self.passed);
        self.newest.extend(newest);
        while self.newest.len() > self.limit {
            self.newest.pop_front();
        }
    }

    /// What there is when the walk is ended early; nothing where none of it is known for the
    /// newest.
    pub(super) fn so_far(&mut self, why: &str) -> Option<Reading> {
        (!self.newest.is_empty()).then(|| self.result(Some(why)))
    }

    fn result(&mut self, why: Option<&str>) -> Reading {
        let entries: Vec<EventLogEntry> = self.newest.drain(..).collect();
        let wanted = self.total.map_or(0, usize::from).min(self.limit);
        let missing = entries.len() < wanted || why.is_some();
        let left_out = missing.then(|| {
            let all = self
                .total
                .map_or_else(String::new, |all| format!(" of {all} entries"));
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            format!("only {}{all} could be read{why}", entries.len())
        });
        Reading::EventLog {
            entries,
            total: self.total,
            left_out,
        }
    }
}

/// One entry, in pieces where the BMC does not give it whole.
#[derive(Debug)]
struct Fetch {
    record: u16,
    /// How many bytes are asked for at once; [`WHOLE`] is all.
    size: u8,
    /// Pieces need one.
    reservation: u16,
    bytes: Vec<u8>,
    next: u16,
    /// Reservations that were lost on this entry.
    lost: u8,
}

enum Fetched {
    /// There is more to ask.
    More,
    Entry(EventLogEntry),
    Absent,
    /// Not this way: with the reason, where it is not the completion code.
    Refused(Option<String>),
}

impl Fetch {
    fn of(record: u16) -> Self {
        Self {
            record,
            size: WHOLE,
            reservation: 0,
            bytes: Vec::new(),
            next: get_sel_entry::LAST,
            lost: 0,
        }
    }

    /// Another entry, in pieces as the last one.
    fn turn_to(&mut self, record: u16) {
        self.record = record;
        self.bytes.clear();
        self.lost = 0;
    }

    fn reserves(&self) -> bool {
        self.size != WHOLE && self.reservation == 0
    }

    fn request(&self) -> Request {
        if self.reserves() {
            return command(&reserve_sel::Request);
        }
        if self.size == WHOLE {
            return command(&get_sel_entry::Request::whole(self.record));
        }
        let have = u8::try_from(self.bytes.len()).unwrap_or(0);
        command(&get_sel_entry::Request {
            reservation: self.reservation,
            record: self.record,
            offset: have,
            count: self.size.min(RECORD_LENGTH as u8 - have),
        })
    }

    fn take(&mut self, completion: CompletionCode, data: &[u8]) -> Fetched {
        if self.reserves() {
            let answer = reserve_sel::Response::decode(data).ok();
            return match answer.filter(|_| completion.is_ok()) {
                // §31.5: 0 stands for no reservation, so that a BMC that gives it has none.
                Some(answer) if answer.reservation != 0 => {
                    self.reservation = answer.reservation;
                    Fetched::More
                }
                _ => Fetched::Refused(None),
            };
        }
        match completion {
            CompletionCode::OK => {}
            CompletionCode::NOT_PRESENT => return Fetched::Absent,
            CompletionCode::CANNOT_RETURN => return self.smaller(),
            // Somebody else reserved the log, or it grew.
            CompletionCode::INVALID_RESERVATION if self.lost < 2 => {
                self.lost += 1;
                self.reservation = 0;
                self.bytes.clear();
                return Fetched::More;
            }
            _ => return Fetched::Refused(None),
        }
        let Ok(answer) = get_sel_entry::Response::decode(data) else {
            return Fetched::Refused(Some("its entry cannot be read".to_owned()));
        };
        // Some BMCs send a part where the whole is asked for.
        if answer.data.is_empty() || self.size == WHOLE && answer.data.len() < RECORD_LENGTH {
            return self.smaller();
        }
        self.next = answer.next;
        // Bytes behind those that were asked for are no part of the entry.
        let asked = usize::from(self.size).min(RECORD_LENGTH - self.bytes.len().min(RECORD_LENGTH));
        self.bytes.extend(answer.data.iter().take(asked));
        let Some(record) = self.bytes.first_chunk::<RECORD_LENGTH>() else {
            if let (get_sel_entry::LAST, [low, high, ..]) = (self.record, self.bytes.as_slice()) {
                // Another entry may become the last one before the next piece.
                self.record = u16::from_le_bytes([*low, *high]);
            }
            return Fetched::More;
        };
        let record = Record::decode(*record);
        Fetched::Entry(translate::entry_of(&record, self.next))
    }

    /// Fewer bytes at once.
    fn smaller(&mut self) -> Fetched {
        self.bytes.clear();
        match SIZES.into_iter().find(|size| *size < self.size) {
            Some(size) => {
                self.size = size;
                Fetched::More
            }
            None => Fetched::Refused(Some("its entries cannot be read in pieces".to_owned())),
        }
    }
}

/// Clears the log, and looks whether that came about.
#[derive(Debug)]
pub(super) struct Clear {
    at: Clearing,
    /// How many entries there were.
    before: Option<u16>,
    reservation: u16,
    /// A reservation was lost to somebody else already.
    lost: bool,
}

#[derive(Debug)]
enum Clearing {
    Count,
    Reserve,
    Initiate,
    /// The BMC is at it; it was asked so often.
    Wait {
        asked: u32,
    },
    CountAgain,
}

impl Clear {
    pub(super) fn new() -> Self {
        Self {
            at: Clearing::Count,
            before: None,
            reservation: 0,
            lost: false,
        }
    }

    pub(super) fn request(&self) -> Request {
        let clear = |action| {
            command(&clear_sel::Request {
                reservation: self.reservation,
                action,
            })
        };
        match self.at {
            Clearing::Count | Clearing::CountAgain => command(&get_sel_info::Request),
            Clearing::Reserve => command(&reserve_sel::Request),
            Clearing::Initiate => clear(clear_sel::Action::Initiate),
            Clearing::Wait { .. } => clear(clear_sel::Action::Status),
        }
    }

    pub(super) fn take(&mut self, completion: CompletionCode, data: &[u8]) -> Turn {
        let info = || get_sel_info::Response::decode(data).ok();
        let taken_away = completion == CompletionCode::INVALID_RESERVATION;
        self.at = match self.at {
            Clearing::Count => {
                // The count decides in the end whether the log was cleared, whatever the BMC says.
                self.before = info()
                    .filter(|_| completion.is_ok())
                    .map(|info| info.entries);
                Clearing::Reserve
            }
            // Once: two parties that reserve the log again and again would never end.
            Clearing::Initiate if taken_away && !self.lost => {
                self.lost = true;
                Clearing::Reserve
            }
            // The log has changed since: it was cleared, or somebody adds to it.
            Clearing::Wait { .. } if taken_away => Clearing::CountAgain,
            Clearing::CountAgain if !completion.is_ok() => {
                return Turn::Done(Reading::EventLogCleared { left: None });
            }
            _ if !completion.is_ok() => return Turn::Refused,
            Clearing::Reserve => match reserve_sel::Response::decode(data) {
                Ok(answer) => {
                    self.reservation = answer.reservation;
                    Clearing::Initiate
                }
                Err(error) => return Turn::Failed(format!("its answer cannot be read: {error}")),
            },
            Clearing::Initiate | Clearing::Wait { .. } => {
                let asked = match self.at {
                    Clearing::Wait { asked } => asked,
                    _ => 0,
                };
                match clear_sel::Response::decode(data) {
                    Ok(answer) if answer.completed => Clearing::CountAgain,
                    // Whoever asked hears after ten seconds that it goes on.
                    Ok(_) if asked >= WAITS => {
                        return Turn::Failed(format!("it is still being erased after {WAITS} s"));
                    }
                    Ok(_) => {
                        self.at = Clearing::Wait { asked: asked + 1 };
                        return Turn::Ask(Duration::from_secs(1));
                    }
                    Err(error) => {
                        return Turn::Failed(format!("its answer cannot be read: {error}"));
                    }
                }
            }
            Clearing::CountAgain => return self.counted(info()),
        };
        Turn::Ask(Duration::ZERO)
    }

    fn counted(&self, info: Option<get_sel_info::Response>) -> Turn {
        let Some(left) = info.map(|info| info.entries) else {
            return Turn::Done(Reading::EventLogCleared { left: None });
        };
        // Many BMCs write down that the log was cleared.
        let cleared = left <= 1 || self.before.is_some_and(|before| left < before);
        match cleared {
            true => Turn::Done(Reading::EventLogCleared { left: Some(left) }),
            false => Turn::Failed(format!(
                "the BMC says that it was done, and {left} entries are still there"
            )),
        }
    }
}

/// The count of [`get_sel_entry`] that means the whole entry.
const WHOLE: u8 = 0xFF;
/// In what pieces entries are asked for, where the whole of one is refused.
const SIZES: [u8; 4] = [16, 8, 4, 2];
/// Wrong guesses at an id in a row after which the log is walked over from its first entry: entries
/// may have been deleted one by one.
const GUESSES: u16 = 8;
/// How often a BMC that erases is asked, each second.
const WAITS: u32 = 10;
