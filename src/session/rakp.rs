//! Open Session and RAKP 1 to 4 (§13.17 to §13.23): what each reply leads to, and what each refusal
//! means. Sending them again is in `resend`, what follows RAKP 3 in `proof`.

use super::handshake::{Context, Handshake, Progress, Step, Verdict, may_fall_back};
use super::key_exchange::Transcript;
use super::proof::Proof;
use super::quirk::Quirk;
use super::resend::{Rumour, Whose};
use super::vocabulary::{Dropped, OpenError};
use crate::ipmi::open_session::{self, Refused};
use crate::ipmi::payload::PayloadType;
use crate::ipmi::rakp::{NAME_LIMIT, NAME_ONLY, Rakp2};
use crate::ipmi::suite::Algorithms;
use crate::ipmi::{Status, SuiteId, Wire, message, session20};

/// Stands for the status of a reply that ends before it; no BMC has one so high.
const NO_STATUS: Status = Status(0xFF);
/// There is no room for a session.
const FULL: [Status; 2] = [
    Status::INSUFFICIENT_RESOURCES,
    Status::INSUFFICIENT_RESOURCES_FOR_ROLE,
];
/// The BMC does not have the suite.
const NO_SUCH_SUITE: [Status; 6] = [
    Status::INVALID_AUTHENTICATION,
    Status::INVALID_INTEGRITY,
    Status::NO_MATCHING_AUTHENTICATION,
    Status::NO_MATCHING_INTEGRITY,
    Status::INVALID_CONFIDENTIALITY,
    Status::NO_MATCHING_SUITE,
];

impl Handshake {
    // Open Session.

    /// Proposes the next cipher suite, in a log-in with new numbers.
    pub(super) fn open_session(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        if self.plan.is_empty() && !self.round_again(ctx) {
            return self.no_common_suite(ctx);
        }
        let Some(&suite) = self.plan.front() else {
            return self.no_common_suite(ctx);
        };
        let console_id = loop {
            let id = ctx.entropy.next_u64() as u32;
            // 0 stands for no session, and OpenBMC's errors carry it.
            if id != 0 {
                break id;
            }
        };
        self.copies.clear();
        self.step = Step::Open { suite, console_id };
        self.tick_open(ctx)
    }

    /// Never 0, which is what OpenBMC answers with whatever was asked.
    pub(super) fn next_tag(&mut self) -> u8 {
        self.tag = match self.tag.wrapping_add(1) {
            0 => 1,
            tag => tag,
        };
        self.tag
    }

    pub(super) fn console_id(&self) -> Option<u32> {
        match &self.step {
            Step::Open { console_id, .. } => Some(*console_id),
            Step::Rakp2(transcript) => Some(transcript.console_id),
            Step::Rakp4(proof) => Some(proof.verified.transcript().console_id),
            _ => None,
        }
    }

    /// A session set-up reply.
    pub(super) fn handle_setup(
        mut self: Box<Self>,
        body: &[u8],
        ctx: &mut Context<'_>,
    ) -> Progress {
        let Ok(packet) = session20::Packet::decode(body) else {
            return self.dropped(Dropped::Malformed, ctx);
        };
        let header = packet.header;
        if let (Step::Advice(_), PayloadType::Ipmi, 0) =
            (&self.step, header.payload_type, header.session_id)
        {
            return match message::Response::decode(packet.payload, self.checksums()) {
                Ok(response) => self.handle_advice(response, ctx),
                Err(_) => self.dropped(Dropped::WrongMessage, ctx),
            };
        }
        // §13.6: set-up messages are sent outside of sessions and unprotected.
        if header.authenticated || header.encrypted || header.session_id != 0 {
            return self.dropped(Dropped::OtherSession, ctx);
        }
        match (&self.step, header.payload_type) {
            (Step::Open { .. }, PayloadType::OpenSessionResponse) => {
                match open_session::Response::decode(packet.payload) {
                    Ok(open_session::Response::Refused(refused)) => {
                        // A reply without a status is as good as an unknown one.
                        let status = refused.status.unwrap_or(NO_STATUS);
                        match self.whose(refused.tag, refused.session_id) {
                            Whose::Ours => {
                                self.heard_copy(refused.tag, ctx);
                                self.suite_refused(status, ctx)
                            }
                            Whose::Tagged => self.rumour(status, true, ctx),
                            Whose::Nobodys => self.rumour(status, false, ctx),
                            Whose::Others => self.dropped(Dropped::OtherSession, ctx),
                        }
                    }
                    Ok(open_session::Response::Accepted(accepted)) => {
                        self.handle_accepted(accepted, ctx)
                    }
                    Err(_) => self.dropped(Dropped::Malformed, ctx),
                }
            }
            (Step::Rakp2(_) | Step::Rakp4(_), PayloadType::OpenSessionResponse) => {
                self.note_doubled_opening(packet.payload);
                self.dropped(Dropped::Stale, ctx)
            }
            (Step::Rakp2(_), PayloadType::Rakp2) => self.handle_rakp2(packet.payload, ctx),
            (Step::Rakp4(_), PayloadType::Rakp2) => self.handle_another_rakp2(packet.payload, ctx),
            (Step::Rakp4(_), PayloadType::Rakp4) => self.handle_rakp4(packet.payload, ctx),
            _ => self.dropped(Dropped::Stale, ctx),
        }
    }

    /// The answer that is gone on with came once more: the network makes copies.
    fn note_doubled_opening(&mut self, payload: &[u8]) {
        if let Ok(open_session::Response::Accepted(again)) = open_session::Response::decode(payload)
        {
            let ours = Some(again.console_id) == self.console_id();
            self.doubled |= ours && Some(again.tag) == self.opened_by;
        }
    }

    /// A session set-up reply at the port of an earlier log-in.
    pub(super) fn handle_late_setup(
        self: Box<Self>,
        body: &[u8],
        ctx: &mut Context<'_>,
    ) -> Progress {
        let packet = session20::Packet::decode(body).ok();
        let payload = packet
            .filter(|packet| packet.header.payload_type == PayloadType::OpenSessionResponse)
            .map(|packet| packet.payload);
        match payload.map(open_session::Response::decode) {
            Some(Ok(open_session::Response::Accepted(accepted))) => self.take_late(accepted, ctx),
            _ => self.dropped(Dropped::OtherSession, ctx),
        }
    }

    /// An error that anybody could have sent: what comes after it counts for more.
    pub(super) fn rumour(
        mut self: Box<Self>,
        status: Status,
        tagged: bool,
        ctx: &mut Context<'_>,
    ) -> Progress {
        // BMCs answer a copy of it with "no such session": the first refusal says more.
        let forgotten = |status: Status| {
            matches!(
                status,
                Status::INVALID_SESSION_ID | Status::INACTIVE_SESSION_ID
            )
        };
        if self.copies.rumour.is_none() || !forgotten(status) {
            self.copies.rumour = Some(Rumour { status, tagged });
        }
        self.dropped(Dropped::Rumour, ctx)
    }

    /// The BMC was heard, with the answer to the copy that had this tag.
    pub(super) fn heard_copy(&mut self, tag: u8, ctx: &mut Context<'_>) {
        let sent_at = self.copies.sent_at(tag);
        self.heard(sent_at, ctx);
    }

    /// Whether a success reply is for us. The console id is random and new in each log-in, so a tag
    /// of 0 can pass where the id is right (OpenBMC on POWER9).
    pub(super) fn is_ours_for_sure(&mut self, tag: u8, console_id: u32) -> bool {
        let id = Some(console_id) == self.console_id()
            || console_id == 0 && self.quirks.has(Quirk::SessionId0);
        let right = id && self.copies.has(tag);
        if !right && id && tag == 0 {
            self.learned(Quirk::Tag0, "replies carry tag 0");
            return true;
        }
        right
    }

    /// Takes a quirk for a fact about this BMC. It is remembered when the session opens.
    pub(super) fn learned(&mut self, quirk: Quirk, words: &str) {
        if !self.quirks.has(quirk) {
            self.quirks = self.quirks.with(quirk);
            self.evidence.push(format!("{} ({words})", quirk.name()));
        }
    }

    /// The answer to an Open Session Request that was left for another one. Where that one was not
    /// answered either, the earlier log-in goes on: the BMC has a session for it.
    fn take_late(
        mut self: Box<Self>,
        accepted: open_session::Accepted,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let Some(place) = self
            .earlier
            .iter()
            // By number alone, two checks once sent a wrong tag to each other without end.
            .position(|earlier| earlier.asked(&accepted))
        else {
            return self.dropped(Dropped::OtherSession, ctx);
        };
        let sent_at = self.earlier[place].copies.sent_at(accepted.tag);
        self.heard(sent_at, ctx);
        if !matches!(self.step, Step::Open { .. }) {
            // This log-in is a step further than the late one; answers to it may be as late.
            self.deadline = self.deadline.max(ctx.now + self.wait(ctx));
            return self.dropped(Dropped::OtherSession, ctx);
        }
        let earlier = self.earlier.remove(place);
        self.leave_log_in(ctx);
        self.fresh = false;
        // The suite was called silent, and its answer was only late.
        self.verdicts.retain(|(id, _)| *id != earlier.suite.id);
        self.plan.retain(|suite| suite.id != earlier.suite.id);
        self.plan.push_front(earlier.suite);
        self.step = Step::Open {
            suite: earlier.suite,
            console_id: earlier.console_id,
        };
        self.copies = earlier.copies;
        if !self.is_ours_for_sure(accepted.tag, accepted.console_id) {
            return self.dropped(Dropped::OtherSession, ctx);
        }
        self.accept(accepted, ctx)
    }

    /// Any refusal moves on to the next suite: BMCs say "no resources" or "invalid role" and mean
    /// the suite.
    pub(super) fn suite_refused(
        mut self: Box<Self>,
        status: Status,
        ctx: &mut Context<'_>,
    ) -> Progress {
        ctx.memory.ledger.refused();
        self.leave_log_in(ctx);
        // These may mean that the BMC takes only 0 there, the highest level: one probe finds out.
        let about_role = matches!(
            status,
            Status::INVALID_ROLE | Status::UNAUTHORISED_ROLE | Status::ILLEGAL_PARAMETER
        );
        let probe = Quirk::OpenPrivilegeHighest;
        if about_role && !self.quirks.has(probe) && !self.probed.has(probe) {
            self.probed = self.probed.with(probe);
            self.quirks = self.quirks.with(probe);
            return self.open_session(ctx);
        }
        // The probe did not help, so that it is no fact about this BMC.
        if self.probed.has(probe) && !ctx.settings.quirks.and(ctx.memory.quirks).has(probe) {
            self.quirks = self.quirks.without(probe);
        }
        if let Some(suite) = self.plan.pop_front() {
            self.evidence.push(match status {
                NO_STATUS => format!("suite {} refused without a status", suite.id),
                status => format!("suite {} refused: {status}", suite.id),
            });
            self.strike(suite.id, Verdict::Refused(status), ctx);
        }
        self.open_session(ctx)
    }

    /// The log-in with this suite came to nothing, and the BMC counts none of that: the next one.
    /// What the suites amount to is said once, in the end.
    pub(super) fn suite_failed(
        mut self: Box<Self>,
        error: OpenError,
        ctx: &mut Context<'_>,
    ) -> Progress {
        self.leave_log_in(ctx);
        if let Some(suite) = self.plan.pop_front() {
            self.evidence.push(format!("suite {}: {error}", suite.id));
            self.strike(suite.id, Verdict::Failed(error), ctx);
        }
        self.open_session(ctx)
    }

    /// A suite that did not work is not the one that worked last any more.
    pub(super) fn strike(&mut self, id: SuiteId, verdict: Verdict, ctx: &mut Context<'_>) {
        if ctx.memory.suite() == Some(id) {
            ctx.memory.spoken = None;
        }
        self.verdicts.push((id, verdict));
    }

    pub(super) fn no_common_suite(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        // A log-in that failed in one suite says more than the refusal of another suite.
        if let Some(error) = self.worst_failure() {
            return self.fail(error, ctx);
        }
        let refusal = |verdict: &Verdict| match verdict {
            Verdict::Refused(status) => Some(*status),
            _ => None,
        };
        let all = |wanted: &[Status]| {
            !self.verdicts.is_empty()
                && self.verdicts.iter().all(|(_, verdict)| {
                    refusal(verdict).is_some_and(|status| wanted.contains(&status))
                })
        };
        let first = self
            .verdicts
            .iter()
            .find_map(|(_, verdict)| refusal(verdict));
        let Some(first) = first else {
            return self.silent_to_the_end(ctx);
        };
        // A BMC that says of the other suites that it lacks them has this one, and no room.
        let mut refused = self.verdicts.iter().filter_map(|(_, it)| refusal(it));
        let full = refused.find(|status| FULL.contains(status));
        if let Some(full) = full.filter(|_| all(&[&FULL[..], &NO_SUCH_SUITE[..]].concat())) {
            return self.fail(OpenError::SessionsFull(full.to_string()), ctx);
        }
        // One of them alone may mean the suite (Ironic's bug 2085137).
        if all(&[Status::INVALID_ROLE, Status::UNAUTHORISED_ROLE]) {
            let error = OpenError::NoPrivilege {
                asked: ctx.settings.privilege,
                reason: first.to_string(),
            };
            return self.fail(error, ctx);
        }
        if may_fall_back(ctx) {
            return self.fall_back(ctx);
        }
        let words = |(id, verdict): &(_, Verdict)| match verdict {
            Verdict::Refused(status) => (*id, status.to_string()),
            _ => (*id, "no answer".to_owned()),
        };
        let failure = OpenError::NoCommonSuite {
            tried: self.verdicts.iter().map(words).collect(),
            offered: Vec::new(),
        };
        self.ask_advice(failure, ctx)
    }

    pub(super) fn handle_accepted(
        mut self: Box<Self>,
        accepted: open_session::Accepted,
        ctx: &mut Context<'_>,
    ) -> Progress {
        if !self.is_ours_for_sure(accepted.tag, accepted.console_id) {
            return self.take_late(accepted, ctx);
        }
        self.accept(accepted, ctx)
    }

    /// The answer to the Open Session Request of this log-in.
    fn accept(
        mut self: Box<Self>,
        accepted: open_session::Accepted,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let Step::Open { suite, console_id } = self.step else {
            return self.dropped(Dropped::Stale, ctx);
        };
        self.heard_copy(accepted.tag, ctx);
        if accepted.bmc_id == 0 {
            ctx.memory.ledger.refused();
            return self.suite_failed(OpenError::SessionZero, ctx);
        }
        self.opened_by = Some(accepted.tag);
        let asked_at = self.copies.sent_at(accepted.tag);
        ctx.memory.ledger.goes_on(asked_at);
        if accepted.algorithms != suite.algorithms() {
            return self.refuse_downgrade(suite.algorithms(), accepted.algorithms, ctx);
        }
        let mut console_random = [0; 16];
        ctx.entropy.fill(&mut console_random);
        let mut name = ctx.settings.username.as_bytes().to_vec();
        if self.quirks.has(Quirk::PadUser16) {
            name.resize(NAME_LIMIT, 0);
        }
        let by_name = if self.quirks.has(Quirk::NameAndPrivilege) {
            0
        } else {
            NAME_ONLY
        };
        let role = ctx.settings.privilege.bits() | by_name;
        self.copies.clear();
        self.step = Step::Rakp2(Box::new(Transcript {
            suite,
            quirks: self.quirks,
            console_id,
            bmc_id: accepted.bmc_id,
            console_random,
            bmc_random: [0; 16],
            guid: [0; 16],
            role,
            name,
        }));
        self.send_rakp1(ctx);
        Progress::Going(self)
    }

    /// The BMC chose other algorithms than it was asked for: the next suite has its turn.
    fn refuse_downgrade(
        mut self: Box<Self>,
        asked: Algorithms,
        got: Algorithms,
        ctx: &mut Context<'_>,
    ) -> Progress {
        // No silent downgrade: what the BMC chose is used only where it is configured. Nobody goes
        // on with it, but the BMC has made a session for it (rule 10).
        ctx.memory.ledger.leaves_half_open(ctx.now);
        self.leave_log_in(ctx);
        if let Some(suite) = self.plan.pop_front() {
            self.evidence.push(format!(
                "suite {}: the BMC chose {got} instead, not taken",
                suite.id
            ));
            let downgrade = OpenError::Downgrade {
                asked: asked.to_string(),
                got: got.to_string(),
            };
            self.verdicts.push((suite.id, Verdict::Failed(downgrade)));
        }
        self.open_session(ctx)
    }

    // RAKP.

    pub(super) fn handle_rakp2(
        mut self: Box<Self>,
        payload: &[u8],
        ctx: &mut Context<'_>,
    ) -> Progress {
        let (tag, id, bmc_random, guid, code) = match Rakp2::decode(payload) {
            Err(_) => return self.dropped(Dropped::Malformed, ctx),
            Ok(Rakp2::Refused(refused)) => return self.rakp_refused(refused, "RAKP 2", ctx),
            Ok(Rakp2::Accepted {
                tag,
                console_id,
                bmc_random,
                guid,
                code,
            }) => (tag, console_id, bmc_random, guid, code),
        };
        if !self.is_ours_for_sure(tag, id) {
            return self.dropped(Dropped::OtherSession, ctx);
        }
        let Step::Rakp2(transcript) = &self.step else {
            return self.dropped(Dropped::Stale, ctx);
        };
        let transcript = Transcript {
            bmc_random,
            guid,
            ..(**transcript).clone()
        };
        self.heard_copy(tag, ctx);
        let Ok(verified) = transcript.verify_rakp2(&code, &ctx.settings.password) else {
            // No RAKP 3 follows, so that the BMC has nothing to count.
            let error = OpenError::WrongPassword {
                found_in: "RAKP 2 does not match",
            };
            return self.suite_failed(error, ctx);
        };
        // Supermicro's H8QME and Sun's ILOM send 21 bytes (FreeIPMI's `supermicro20`, `sun20`).
        if verified.trimmed {
            self.learned(Quirk::Rakp2Trim1, "RAKP 2's code is one byte too long");
        }
        let rakp1 = std::mem::take(&mut self.copies);
        let proof = Proof::new(verified, rakp1, ctx.settings, self.checksums());
        self.step = Step::Rakp4(Box::new(proof));
        match self.doubled {
            true => self.hold_rakp3(ctx),
            false => self.send_rakp3(ctx),
        }
        Progress::Going(self)
    }

    pub(super) fn rakp_refused(
        mut self: Box<Self>,
        refused: Refused,
        found_in: &'static str,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let status = refused.status.unwrap_or(NO_STATUS);
        match self.whose(refused.tag, refused.session_id) {
            Whose::Others => self.dropped(Dropped::OtherSession, ctx),
            Whose::Tagged => self.rumour(status, true, ctx),
            Whose::Nobodys => self.rumour(status, false, ctx),
            Whose::Ours => {
                self.heard_copy(refused.tag, ctx);
                self.rakp_failed(status, found_in, ctx)
            }
        }
    }

    pub(super) fn rakp_failed(
        mut self: Box<Self>,
        status: Status,
        found_in: &'static str,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let error = match status {
            // The BMC has forgotten a half-open session, or answers a copy. The second log-in
            // begins at once, later ones wait, so that no BMC is stormed.
            Status::INVALID_SESSION_ID | Status::INACTIVE_SESSION_ID => {
                return self.session_unknown(status, ctx);
            }
            Status::UNAUTHORISED_NAME | Status::INVALID_NAME_LENGTH => OpenError::UnknownUser {
                found_in,
                asked: ctx.settings.privilege,
            },
            Status::INVALID_INTEGRITY_CHECK => match self.code_refused(ctx) {
                Some(true) => {
                    self.forget_session();
                    return self.restart(ctx);
                }
                Some(false) => OpenError::Refused {
                    step: "RAKP 3",
                    status,
                },
                None => OpenError::WrongPassword { found_in },
            },
            // OpenBMC says "invalid role" of a user that is disabled, too.
            Status::INVALID_ROLE => OpenError::NoPrivilege {
                asked: ctx.settings.privilege,
                reason: format!("{status}, or the user is disabled at the BMC"),
            },
            Status::UNAUTHORISED_ROLE => OpenError::NoPrivilege {
                asked: ctx.settings.privilege,
                reason: status.to_string(),
            },
            // Open Session took the suite, so that another suite would find no room either.
            Status::INSUFFICIENT_RESOURCES | Status::INSUFFICIENT_RESOURCES_FOR_ROLE => {
                let error = OpenError::SessionsFull(status.to_string());
                return self.fail(error, ctx);
            }
            _ => OpenError::Refused {
                step: self.step.name(),
                status,
            },
        };
        let counted = matches!(self.step, Step::Rakp4(_));
        self.forget_session();
        match counted {
            // The BMC counts a refused RAKP 3 as a failed log-in: another suite would be one more.
            true => self.fail(error, ctx),
            false => self.suite_failed(error, ctx),
        }
    }

    fn session_unknown(mut self: Box<Self>, status: Status, ctx: &mut Context<'_>) -> Progress {
        if self.finished_before(ctx) {
            return Progress::Going(self);
        }
        self.forget_session();
        self.refused = Some((self.step.name(), status));
        match self.attempts {
            1 => self.restart(ctx),
            _ => {
                let pause = ctx.settings.timing.resend_floor * self.attempts;
                self.deadline = self.deadline.max(ctx.now + pause);
                Progress::Going(self)
            }
        }
    }
}
