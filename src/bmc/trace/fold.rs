//! What comes again and again, a reading or a log-in that nobody answers, is kept once, with how
//! often it came: so the last datagrams of thousands of BMCs find room.
//!
//! Driven by the rest of `trace`. Two runs of datagrams are the same where all of them are, in
//! their order, but for random numbers, sequence numbers and moments: a run is what leaves from one
//! port, up to a pause.

use super::{Datagram, Form, GROWTH, LocalPort, Record, Trace, What, micros};
use crate::ipmi::command::{
    Command, activate_session, close_session, get_session_challenge as challenge,
};
use crate::ipmi::message::net_fn;
use crate::ipmi::payload::PayloadType;
use crate::time::Instant;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The newest runs. They lie at the end of what is kept: runs that were folded, as one record; the
/// run before the one under way; the one under way.
#[derive(Debug)]
pub(super) struct Runs {
    port: LocalPort,
    folded: Option<Folded>,
    before: Option<Run>,
    current: Run,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    bytes: usize,
    datagrams: u32,
    looks: u64,
    /// The moment of what came before it.
    from: Instant,
    /// The moment of its last datagram.
    to: Instant,
}

/// Runs that looked as the one that follows.
#[derive(Clone, Copy, Debug)]
struct Folded {
    bytes: usize,
    times: u32,
    from: Instant,
    looks: Looks,
}

/// How many datagrams a run has, and what they look like.
type Looks = (u32, u64);

impl Run {
    fn begin(from: Instant) -> Self {
        Self {
            bytes: 0,
            datagrams: 0,
            looks: 0,
            from,
            to: from,
        }
    }

    fn looks(&self) -> Looks {
        (self.datagrams, self.looks)
    }
}

impl Runs {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            port: 0,
            folded: None,
            before: None,
            current: Run::begin(now),
        }
    }

    /// Takes note of a record of so many bytes that came `after` the one before it.
    fn note(&mut self, record: &Record, bytes: usize, now: Instant) {
        let after = Duration::from_micros(record.after);
        let paused = after >= PAUSE && begins_something(&record.what);
        // Each log-in has a port of its own, so that a new one begins a run.
        if record.port > self.port || paused {
            self.port = record.port;
            let before = self.current;
            self.folded = self.folded.filter(|folded| folded.looks == before.looks());
            self.before = Some(before).filter(|run| run.datagrams > 0);
            self.current = Run::begin(before.to);
        }
        let mut hasher = DefaultHasher::new();
        self.current.looks.hash(&mut hasher);
        record.what.looks(after, &mut hasher);
        self.current.looks = hasher.finish();
        self.current.datagrams += 1;
        self.current.bytes += bytes;
        self.current.to = now;
    }

    /// Of what is kept, only the last `left` bytes are left.
    pub(super) fn lost(&mut self, left: usize) {
        let before = self.before.map_or(0, |run| run.bytes);
        let folded = self.folded.map_or(0, |run| run.bytes);
        if left < self.current.bytes + before + folded {
            self.folded = None;
        }
        if left < self.current.bytes + before {
            self.before = None;
        }
        // The oldest records were forgotten, and may have been a part of these runs.
        self.current.bytes = self.current.bytes.min(left);
    }
}

impl Trace {
    /// Takes note of the record that was added last. Where it completes a run that is as the one
    /// before, that one is folded.
    pub(super) fn fold(&mut self, record: &Record, bytes: usize, now: Instant) {
        self.runs.note(record, bytes, now);
        let current = self.runs.current;
        let Some(before) = self
            .runs
            .before
            .take_if(|before| before.looks() == current.looks())
        else {
            return;
        };
        let folded = self.runs.folded.unwrap_or(Folded {
            bytes: 0,
            times: 0,
            from: before.from,
            looks: before.looks(),
        });
        let end = self.bytes.len() - current.bytes;
        let begin = end - before.bytes - folded.bytes;
        let times = folded.times.saturating_add(1);
        let what = What::Repeated {
            times,
            each: before.datagrams,
        };
        let record = Record {
            after: micros(before.to - folded.from),
            port: self.runs.port,
            what,
        };
        let Some(record) = record.encoded() else {
            return;
        };
        let newest = self.bytes.split_off(end);
        self.bytes.truncate(begin);
        self.bytes
            .shrink_to(begin + record.len() + newest.len() + GROWTH);
        self.runs.folded = Some(Folded {
            bytes: record.len(),
            times,
            ..folded
        });
        self.bytes.extend(record);
        self.bytes.extend(newest);
    }
}

impl What {
    /// How many datagrams it stands for.
    pub(super) fn datagrams(&self) -> usize {
        match self {
            Self::Datagram(_) | Self::Unreachable | Self::Withheld => 1,
            Self::Repeated { times, each } => *times as usize * *each as usize,
        }
    }

    /// What it looks like, whatever its numbers and moment; an answer that takes seconds looks
    /// otherwise than a quick one.
    fn looks(&self, after: Duration, to: &mut impl Hasher) {
        std::mem::discriminant(self).hash(to);
        let Self::Datagram(datagram) = self else {
            return;
        };
        (datagram.came, datagram.dropped, datagram.cut).hash(to);
        (&datagram.left_out, datagram.shown.len()).hash(to);
        std::mem::discriminant(&datagram.form).hash(to);
        if datagram.came {
            // A BMC that becomes slow is news, milliseconds are not.
            after.as_secs().hash(to);
        }
        match datagram.form {
            Form::Outside(kind) | Form::Session(kind, ..) | Form::Session15(kind, ..) => {
                kind.hash(to);
            }
            Form::Outside15 | Form::Asf | Form::Unknown => {}
        }
        for part in datagram.lasting() {
            datagram.shown.get(part).hash(to);
        }
    }
}

/// Whether a run may begin with it: it left, and does not end a session.
fn begins_something(what: &What) -> bool {
    match what {
        What::Datagram(datagram) => !datagram.came && datagram.command() != Some(CLOSE_SESSION),
        What::Unreachable | What::Withheld | What::Repeated { .. } => false,
    }
}

impl Datagram {
    /// The network function and command of an IPMI message.
    fn command(&self) -> Option<(u8, u8)> {
        let is_message = match self.form {
            Form::Outside15 | Form::Session15(..) => true,
            Form::Outside(_) | Form::Session(..) => self
                .form
                .payload()
                .is_some_and(|(kind, _)| kind == PayloadType::Ipmi),
            Form::Asf | Form::Unknown => false,
        };
        let (net_fn, command) = (self.shown.get(1)?, self.shown.get(5)?);
        is_message.then_some((net_fn >> 2 & !1, *command))
    }

    /// The places of its bytes that are no numbers of this one session or message.
    fn lasting(&self) -> [std::ops::Range<usize>; 3] {
        let end = self.shown.len();
        if let Some(command) = self.command() {
            // Network function, command, data, without the second checksum; of what opens and
            // closes a session, the completion code alone.
            let data = match (OF_A_SESSION.contains(&command), self.came) {
                (true, true) => 6..7,
                (true, false) => 6..6,
                (false, _) => 6..end.saturating_sub(1).max(6),
            };
            return [1..2, 5..6, data];
        }
        match self.form.payload().map(|(kind, _)| kind) {
            // The session's numbers are before the algorithms.
            Some(PayloadType::OpenSessionRequest) => [1..4, 8..end, NOTHING],
            Some(PayloadType::OpenSessionResponse) => [1..4, 12..end, NOTHING],
            // The role behind the random number, and the GUID.
            Some(PayloadType::Rakp1 | PayloadType::Rakp2) => [1..4, 24..end, NOTHING],
            Some(PayloadType::Rakp3 | PayloadType::Rakp4) => [1..4, NOTHING, NOTHING],
            _ if matches!(self.form, Form::Asf) => [4..9, 10..end, NOTHING],
            _ => [0..end, NOTHING, NOTHING],
        }
    }
}

const NOTHING: std::ops::Range<usize> = 0..0;
/// Close Session, as a network function and a command.
const CLOSE_SESSION: (u8, u8) = (net_fn::APP, close_session::Request::NUMBER);
/// What carries the numbers of one session.
const OF_A_SESSION: [(u8, u8); 3] = [
    CLOSE_SESSION,
    (net_fn::APP, challenge::Request::NUMBER),
    (net_fn::APP, activate_session::Request::NUMBER),
];
/// After a pause of that length a new run begins: a BMC that says nothing is asked more often in a
/// log-in.
const PAUSE: Duration = Duration::from_secs(4);
