//! The last datagrams of a BMC, for people who have to report a strange one: `rackbmc bmc trace`.
//!
//! Driven by the rest of `bmc`, which brings each datagram as [`session::Clear`] has it: what is
//! secret was left out before it came here. Kept in as few bytes as possible, for a rack may have
//! thousands of BMCs; read when somebody asks.

mod fold;
mod text;

use super::{Bmc, LocalPort, Outgoing};
use crate::ipmi::payload::PayloadType;
use crate::ipmi::session15::AuthType;
use crate::session::{Clear, Dropped, Frame, Way};
use crate::time::{Instant, WallTime};
use fold::Runs;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Trace {
    /// Records, the oldest first, each behind its length in two bytes.
    bytes: VecDeque<u8>,
    /// How many datagrams they stand for.
    count: usize,
    runs: Runs,
    /// How much room was told of by [`Bmc::trace_growth`].
    told: usize,
    /// How many are not kept any more.
    forgotten: u64,
    /// The moment from which the oldest record counts.
    since: Instant,
    /// The moment of the newest record.
    last: Instant,
    /// How many bytes may be kept.
    limit: usize,
}

/// What is kept of a datagram, or of something that happened to one.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Microseconds since the record before.
    after: u64,
    port: LocalPort,
    what: What,
}

#[derive(Serialize, Deserialize)]
enum What {
    Datagram(Datagram),
    /// The network said that nothing listens at the BMC's port.
    Unreachable,
    /// What was about to leave did not: another daemon has the BMC.
    Withheld,
    /// Runs that were the same as the one that follows, and how many datagrams each had. The moment
    /// is that of the last.
    Repeated {
        times: u32,
        each: u32,
    },
}

impl Record {
    /// Behind its length, if it can be written.
    fn encoded(&self) -> Option<Vec<u8>> {
        let record = postcard::to_allocvec(self).ok()?;
        let length = u16::try_from(record.len()).ok()?;
        Some([&length.to_be_bytes()[..], &record].concat())
    }
}

#[derive(Serialize, Deserialize)]
struct Datagram {
    came: bool,
    form: Form,
    /// Why it was dropped, as a number.
    dropped: Option<u8>,
    left_out: Vec<(u16, u16)>,
    /// How many shown bytes are not kept, because they are too many.
    cut: u16,
    shown: Vec<u8>,
}

/// A datagram of ours without what is secret.
pub struct Shown {
    port: LocalPort,
    what: What,
}

/// A frame in few bytes.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Form {
    /// RMCP+ outside of a session: the payload's type.
    Outside(u8),
    /// RMCP+: the payload's type with both flags, the session's number, the packet's.
    Session(u8, [u8; 4], u32),
    /// IPMI v1.5 outside of a session.
    Outside15,
    /// IPMI v1.5: authentication, the session's number, the packet's.
    Session15(u8, [u8; 4], u32),
    Asf,
    Unknown,
}

const ENCRYPTED: u8 = 0x80;
const AUTHENTICATED: u8 = 0x40;

impl Form {
    fn of(frame: Frame) -> Self {
        match frame {
            Frame::V20(header) => {
                let mut kind = header.payload_type.number();
                kind |= if header.encrypted { ENCRYPTED } else { 0 };
                kind |= if header.authenticated {
                    AUTHENTICATED
                } else {
                    0
                };
                match (header.session_id, header.sequence) {
                    (0, 0) => Self::Outside(kind),
                    (id, sequence) => Self::Session(kind, id.to_be_bytes(), sequence),
                }
            }
            Frame::V15 {
                auth_type: AuthType::None,
                session_id: 0,
                sequence: 0,
            } => Self::Outside15,
            Frame::V15 {
                auth_type,
                session_id,
                sequence,
            } => Self::Session15(auth_type as u8, session_id.to_be_bytes(), sequence),
            Frame::Asf => Self::Asf,
            Frame::Unknown => Self::Unknown,
        }
    }

    /// The type of an RMCP+ payload, and whether it was encrypted.
    fn payload(self) -> Option<(PayloadType, bool)> {
        match self {
            Self::Outside(kind) | Self::Session(kind, ..) => {
                Some((PayloadType::from_number(kind), kind & ENCRYPTED != 0))
            }
            Self::Outside15 | Self::Session15(..) | Self::Asf | Self::Unknown => None,
        }
    }
}

impl Trace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes: VecDeque::new(),
            count: 0,
            runs: Runs::new(now),
            told: 0,
            forgotten: 0,
            since: now,
            last: now,
            limit: BYTES_KEPT,
        }
    }

    fn limit(&mut self, bytes: usize) {
        self.limit = bytes.min(BYTES_KEPT);
        self.shrink(0);
        // `drain` keeps the room, and thousands of BMCs share what there is.
        self.bytes.shrink_to(self.limit);
    }

    fn add(&mut self, port: LocalPort, what: What, now: Instant) {
        let after = micros(now - self.last);
        let record = Record { after, port, what };
        // A trace is no reason to fail: a record that cannot be encoded is left out.
        let Some(encoded) = record.encoded() else {
            return;
        };
        self.last = now.max(self.last);
        self.shrink(encoded.len());
        let lacking = (self.bytes.len() + encoded.len()).saturating_sub(self.bytes.capacity());
        if lacking > 0 {
            // A `VecDeque` doubles its room; this one grows by little, and never beyond its limit.
            let most = self.limit.saturating_sub(self.bytes.len());
            let room = encoded.len();
            self.bytes.reserve_exact(room.max(most.min(room + GROWTH)));
        }
        let length = encoded.len();
        self.bytes.extend(encoded);
        self.count += 1;
        self.fold(&record, length, self.last);
    }

    /// Forgets the oldest ones until there is room for another one of so many bytes.
    fn shrink(&mut self, room: usize) {
        while self.count >= DATAGRAMS_KEPT || self.bytes.len() + room > self.limit {
            let Some((length, record)) = self.oldest() else {
                return;
            };
            let datagrams = record.what.datagrams();
            let full = self.bytes.len() + room > self.limit;
            if !full && self.count - datagrams + 1 < DATAGRAMS_KEPT {
                return;
            }
            self.bytes.drain(..length);
            self.since += Duration::from_micros(record.after);
            self.count -= datagrams;
            self.forgotten += datagrams as u64;
            self.runs.lost(self.bytes.len());
        }
    }

    /// The oldest record, with the bytes that it takes.
    fn oldest(&self) -> Option<(usize, Record)> {
        let (high, low) = (*self.bytes.front()?, *self.bytes.get(1)?);
        let end = 2 + usize::from(u16::from_be_bytes([high, low]));
        let record: Vec<u8> = self.bytes.range(2..end).copied().collect();
        Some((end, postcard::from_bytes(&record).ok()?))
    }

    /// All that is kept, the oldest first, with its moment.
    fn records(&self) -> Vec<(Instant, Record)> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let (mut rest, mut at) = (&bytes[..], self.since);
        let mut records = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some((record, behind)) = behind.split_at_checked(length) else {
                break;
            };
            rest = behind;
            if let Ok(record) = postcard::from_bytes::<Record>(record) {
                at += Duration::from_micros(record.after);
                records.push((at, record));
            }
        }
        records
    }
}

impl Bmc {
    /// A datagram of ours as it may be shown, read with the keys that are there now.
    pub fn show(&self, outgoing: &Outgoing) -> Shown {
        let clear = self.session.clear(&outgoing.datagram, Way::Out);
        Shown {
            port: outgoing.port,
            what: datagram(Way::Out, clear, None),
        }
    }

    /// A datagram that was shown goes to the network.
    pub fn note_left(&mut self, shown: Shown, now: Instant) {
        self.trace.add(shown.port, shown.what, now);
    }

    /// A datagram came, which `clear` shows as it was read before it was taken in.
    pub(super) fn note_came(&mut self, port: LocalPort, clear: Clear, now: Instant) {
        let dropped = self.session.take_dropped();
        self.trace.add(port, datagram(Way::In, clear, dropped), now);
    }

    /// The network called a datagram undeliverable.
    pub(super) fn note_unreachable(&mut self, port: LocalPort, now: Instant) {
        self.trace.add(port, What::Unreachable, now);
    }

    /// What was handed out at this moment did not leave.
    pub(super) fn note_withheld(&mut self, now: Instant) {
        self.trace.add(self.port, What::Withheld, now);
    }

    /// By how much the room for its datagrams grew, or became less, since this was asked last.
    pub fn trace_growth(&mut self) -> isize {
        let room = self.trace.bytes.capacity();
        let told = std::mem::replace(&mut self.trace.told, room);
        room as isize - told as isize
    }

    /// How much room its datagrams take.
    pub fn trace_room(&self) -> usize {
        self.trace.bytes.capacity()
    }

    /// Whether something went wrong since the daemon began, so that somebody may want to know its
    /// datagrams.
    pub fn has_been_strange(&self) -> bool {
        !(self.failures.is_empty() && self.session.statistics().dropped.is_empty())
    }

    /// How many bytes may be kept of its datagrams, because the rack may keep no more.
    pub fn limit_trace(&mut self, bytes: usize) {
        self.trace.limit(bytes);
    }

    /// The last datagrams as lines of text, the oldest first, and how many more there were before.
    /// `wall` is what the calendar says `now`.
    pub fn trace(&self, now: Instant, wall: WallTime) -> (Vec<String>, u64) {
        let records = self.trace.records().into_iter();
        let lines = records.map(|(at, record)| text::line(&record, now - at, wall));
        (lines.collect(), self.trace.forgotten)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn datagram(way: Way, clear: Clear, dropped: Option<Dropped>) -> What {
    let Clear {
        frame,
        mut shown,
        left_out,
    } = clear;
    let number = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    let cut = shown.len().saturating_sub(SHOWN);
    shown.truncate(SHOWN);
    // A datagram of a stranger could have a gap for every byte.
    let left_out = left_out.into_iter().take(GAPS);
    What::Datagram(Datagram {
        came: way == Way::In,
        form: Form::of(frame),
        dropped: dropped.map(|why| why as u8),
        left_out: left_out
            .map(|(place, count)| (number(place), number(count)))
            .collect(),
        cut: number(cut),
        shown,
    })
}

/// How many datagrams of a BMC are kept.
const DATAGRAMS_KEPT: usize = 200;
/// How many bytes are kept of them.
const BYTES_KEPT: usize = 12 * 1024;
/// How many bytes of one datagram are kept.
const SHOWN: usize = 256;
/// How many places of one datagram that are left out are told.
const GAPS: usize = 16;
/// By how much the room for them grows.
const GROWTH: usize = 128;

#[cfg(test)]
mod tests;
