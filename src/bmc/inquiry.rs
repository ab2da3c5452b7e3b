//! What is asked of a BMC once and remembered: who made it (Get Device ID, §20.1), and its own list
//! of cipher suites (Get Channel Cipher Suites, §22.15); and now and then, how many sessions it has
//! (Get Session Info, §22.20).
//!
//! Driven by the rest of `bmc`, on a short leash: inside an open session that nobody uses, because
//! some BMCs choke on the question before a log-in; never while an operation runs; taken back for
//! any order; at most [`PACKETS`] packets. The list is advice for people: it decides nothing, for
//! it names suites that are refused and leaves out ones that work.

use super::Bmc;
use crate::ipmi::command::get_channel_cipher_suites::{CHUNK, Record, Request, Response, records};
use crate::ipmi::command::{get_device_id, get_session_info};
use crate::ipmi::{CompletionCode, SuiteId, Wire};
use crate::session::{self, RequestId, Resend, Spoken, State};
use crate::time::Instant;
use std::time::Duration;

/// How far the question has come. It goes on in the next session where one ends.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    /// The piece under way.
    asked: Option<RequestId>,
    /// Which piece is asked for.
    index: u8,
    /// The pieces so far.
    list: Vec<u8>,
    /// How often this piece went unanswered.
    unanswered: u8,
    /// Packets asked for, in all.
    packets: u8,
    /// What is asked for now.
    about: Question,
    /// How often the maker was asked for.
    maker_asked: u8,
    /// When the sessions were counted last.
    counted_at: Option<Instant>,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Question {
    /// Who made the BMC.
    Maker,
    /// The list of cipher suites.
    #[default]
    Suites,
    /// How many sessions it has, which says whether others than we are logged in (Get Session Info,
    /// §22.20).
    Sessions,
}

/// How much of the list came.
#[derive(PartialEq)]
enum Ending {
    /// All that there is.
    Whole,
    /// The rest was not waited for.
    Cut,
}

impl Bmc {
    /// When the next piece is to be asked for, if one is.
    pub(super) fn inquiry_due(&self) -> Option<Instant> {
        let State::Open { spoken, .. } = self.session.state() else {
            return None;
        };
        let free = self.is_idle() && !self.wanted && self.quits.is_none();
        // IPMI v1.5 has no cipher suites and no GUID that a maker could stand beside.
        let asks = free && self.inquiry.asked.is_none() && matches!(spoken, Spoken::V20(_));
        let counted_at = self.inquiry.counted_at;
        let not_before = match self.question() {
            Question::Maker | Question::Suites => None,
            Question::Sessions => counted_at.map(|at| at + COUNTED_EVERY),
        };
        // Whoever asks next finds the BMC as ready as if we had asked nothing.
        let rested = (self.used_at + REST).max(self.pace.spare_at());
        asks.then(|| not_before.map_or(rested, |at| rested.max(at)))
    }

    /// Asks for the next piece where it is time.
    pub(super) fn inquire(&mut self, now: Instant) {
        if self.inquiry_due().is_none_or(|due| now < due) || !self.pace.take_spare(now) {
            return;
        }
        self.inquiry.about = self.question();
        let request = match self.inquiry.about {
            Question::Maker => {
                self.inquiry.maker_asked += 1;
                session::Request::of(&get_device_id::Request, Resend::Never, PATIENCE)
            }
            Question::Suites => {
                self.inquiry.packets += 1;
                let chunk = Request::chunk(self.inquiry.index);
                session::Request::of(&chunk, Resend::Never, PATIENCE)
            }
            Question::Sessions => {
                self.inquiry.counted_at = Some(now);
                let ours = get_session_info::Request::Current;
                session::Request::of(&ours, Resend::Never, PATIENCE)
            }
        };
        self.inquiry.asked = Some(self.session.request(request, now));
    }

    /// What is to be asked next.
    fn question(&self) -> Question {
        if self.maker_is_unknown() && self.inquiry.maker_asked < TRIES {
            Question::Maker
        } else if self.knowledge.listed.is_none() {
            Question::Suites
        } else {
            Question::Sessions
        }
    }

    /// Takes the question back: there is something to do. It is asked again when there is not.
    pub(super) fn cancel_inquiry(&mut self) {
        if let Some(request) = self.inquiry.asked.take() {
            self.session.withdraw(request);
            if self.inquiry.about == Question::Suites {
                self.inquiry_left_open();
            }
        }
    }

    /// Who made the BMC is asked once more.
    pub(super) fn ask_maker_anew(&mut self) {
        self.inquiry.maker_asked = 0;
    }

    /// Whether `request` is the question's.
    pub(super) fn inquires(&self, request: RequestId) -> bool {
        self.inquiry.asked == Some(request)
    }

    /// A piece came, or a refusal.
    pub(super) fn inquiry_answered(
        &mut self,
        completion: CompletionCode,
        data: &[u8],
        now: Instant,
    ) {
        self.inquiry.asked = None;
        match self.inquiry.about {
            Question::Maker => {
                let answer = get_device_id::Response::decode(data).ok();
                if let Some(answer) = answer.filter(|_| completion.is_ok()) {
                    self.note_maker(answer.manufacturer, now);
                }
                return;
            }
            Question::Sessions => {
                let answer = get_session_info::Response::decode(data).ok();
                let answer = answer.filter(|_| completion.is_ok());
                // One of the sessions is ours, in which this was asked.
                self.strangers = answer.map(|answer| answer.active.saturating_sub(1));
                return;
            }
            Question::Suites => {}
        }
        let piece = Response::decode(data).ok().filter(|_| completion.is_ok());
        let Some(Response { records, .. }) = piece else {
            // A refusal is the BMC's last word: it is not asked again before `rackbmc retry`.
            return self.settle_inquiry(Ending::Whole);
        };
        self.inquiry.unanswered = 0;
        self.inquiry.index += 1;
        self.inquiry.list.extend_from_slice(&records);
        match records.len() < CHUNK {
            true => self.settle_inquiry(Ending::Whole),
            false => self.inquiry_left_open(),
        }
    }

    /// No piece came.
    pub(super) fn inquiry_unanswered(&mut self) {
        self.inquiry.asked = None;
        if self.inquiry.about != Question::Suites {
            return;
        }
        self.inquiry.unanswered += 1;
        self.inquiry_left_open();
    }

    /// Ends a question that has cost enough.
    fn inquiry_left_open(&mut self) {
        if self.inquiry.unanswered >= TRIES || self.inquiry.packets >= PACKETS {
            self.settle_inquiry(Ending::Cut);
        }
    }

    fn settle_inquiry(&mut self, ending: Ending) {
        let begun_anew = Inquiry {
            // These two are no part of the list, and their limits go on.
            maker_asked: self.inquiry.maker_asked,
            counted_at: self.inquiry.counted_at,
            ..Inquiry::default()
        };
        let list = std::mem::replace(&mut self.inquiry, begun_anew).list;
        let mut listed: Vec<String> = records(&list).iter().map(name).collect();
        if ending == Ending::Cut {
            // The last record of a list that was cut may lack algorithms.
            listed.pop();
        }
        self.learn().listed = Some(listed.into_iter().collect());
    }

    /// What a BMC listed that refused every suite.
    pub(super) fn note_listed(&mut self, offered: &[SuiteId]) {
        if !offered.is_empty() {
            self.inquiry = Inquiry::default();
            let offered = offered.iter().map(SuiteId::to_string).collect();
            self.learn().listed = Some(offered);
        }
    }

    /// Forgets the list: it will be asked for again.
    pub(super) fn forget_listed(&mut self) {
        self.cancel_inquiry();
        self.inquiry = Inquiry::default();
        self.learn().listed = None;
    }
}

/// A record in words: its number, and what is not as the standard has it.
fn name(record: &Record) -> String {
    let id = record.id;
    let standard = id.suite().map(|suite| suite.algorithms());
    match (record.oem, standard) {
        _ if record.is_cut() => format!("{id} (its record is cut short)"),
        (Some(maker), _) => format!("{id} (of maker {maker})"),
        (None, Some(standard)) if !record.combinations().contains(&standard) => {
            format!("{id} (with other algorithms than the standard's)")
        }
        _ => id.to_string(),
    }
}

/// How often a BMC's sessions are counted at most.
const COUNTED_EVERY: Duration = Duration::from_secs(600);
/// How long the session has to be unused before.
const REST: Duration = Duration::from_secs(1);
/// How long each piece is waited for (docs/protocol.md, "Finding out what a BMC has": a second, and
/// once more).
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a piece is asked for.
const TRIES: u8 = 2;
/// How many packets it may cost: the twenty standard suites take seven.
const PACKETS: u8 = 16;
