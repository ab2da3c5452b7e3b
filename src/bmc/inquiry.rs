//! What is asked of a BMC once and remembered: who made it (Get Device ID, §20.1), and its own list of cipher suites (Get
//! Channel Cipher Suites, §22.15).
//!
//! Driven by the rest of `bmc`, on a short leash: inside an open session that nobody uses, because some BMCs choke on
//! the question before a log-in; never while an operation runs; taken back for any order; at most [`PACKETS`] packets.
//! The list is advice for people: it decides nothing, for it names suites that are refused and leaves out ones that
//! work.

use super::Bmc;
use crate::ipmi::command::get_channel_cipher_suites::{CHUNK, Record, Request, Response, records};
use crate::ipmi::command::get_device_id;
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
    /// Whether what is under way is the question for the maker.
    about_maker: bool,
    /// How often that was asked.
    maker_asked: u8,
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
        let spoken = match self.session.state() {
            State::Open { spoken, .. } => spoken,
            _ => return None,
        };
        let free = self.is_idle() && !self.wanted && !self.stopping;
        let open_question = self.knowledge.listed.is_none() || self.wonders_who_made_it();
        let open_question = open_question && self.inquiry.asked.is_none();
        (free && open_question && matches!(spoken, Spoken::V20(_)))
            .then(|| (self.used_at + REST).max(self.pace.spare_at()))
    }

    /// Asks for the next piece where it is time.
    pub(super) fn inquire(&mut self, now: Instant) {
        if self.inquiry_due().is_none_or(|due| now < due) || !self.pace.take_spare(now) {
            return;
        }
        self.inquiry.about_maker = self.wonders_who_made_it();
        let request = if self.inquiry.about_maker {
            self.inquiry.maker_asked += 1;
            session::Request::of(&get_device_id::Request, Resend::Never, PATIENCE)
        } else {
            self.inquiry.packets += 1;
            let chunk = Request::chunk(self.inquiry.index);
            session::Request::of(&chunk, Resend::Never, PATIENCE)
        };
        self.inquiry.asked = Some(self.session.request(request, now));
    }

    fn wonders_who_made_it(&self) -> bool {
        self.maker_is_unknown() && self.inquiry.maker_asked < TRIES
    }

    /// Takes the question back: there is something to do. It is asked again when there is not.
    pub(super) fn hush(&mut self) {
        if let Some(request) = self.inquiry.asked.take() {
            self.session.withdraw(request);
            if !self.inquiry.about_maker {
                self.inquiry_left_open();
            }
        }
    }

    /// Whether `request` is the question's.
    pub(super) fn inquires(&self, request: RequestId) -> bool {
        self.inquiry.asked == Some(request)
    }

    /// A piece came, or a refusal.
    pub(super) fn inquiry_answered(&mut self, completion: CompletionCode, data: &[u8]) {
        self.inquiry.asked = None;
        if self.inquiry.about_maker {
            let answer = get_device_id::Response::decode(data).ok();
            if let Some(answer) = answer.filter(|_| completion.is_ok()) {
                self.note_maker(answer.manufacturer);
            }
            return;
        }
        let piece = Response::decode(data).ok().filter(|_| completion.is_ok());
        let Some(Response { records, .. }) = piece else {
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
        if self.inquiry.about_maker {
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
        let maker_asked = self.inquiry.maker_asked;
        let begun_anew = Inquiry {
            maker_asked,
            ..Inquiry::default()
        };
        let list = std::mem::replace(&mut self.inquiry, begun_anew).list;
        let mut listed: Vec<String> = records(&list).iter().map(name).collect();
        if ending == Ending::Cut {
            // Its last record may lack algorithms.
            listed.pop();
        }
        self.knowledge.listed = Some(listed);
    }

    /// What a BMC listed that refused every suite.
    pub(super) fn note_listed(&mut self, offered: &[SuiteId]) {
        if !offered.is_empty() {
            self.inquiry = Inquiry::default();
            self.knowledge.listed = Some(offered.iter().map(SuiteId::to_string).collect());
        }
    }

    /// Forgets the list: it will be asked for again.
    pub(super) fn forget_listed(&mut self) {
        self.hush();
        self.inquiry = Inquiry::default();
        self.knowledge.listed = None;
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

/// How long the session has to be unused before.
const REST: Duration = Duration::from_secs(1);
/// How long each piece is waited for (docs/protocol.md, "Finding out what a BMC has": a second, and once more).
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a piece is asked for.
const TRIES: u8 = 2;
/// How many packets it may cost: the twenty standard suites take seven.
const PACKETS: u8 = 16;
