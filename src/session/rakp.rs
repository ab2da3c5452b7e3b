//! Open Session and RAKP 1 to 4 (§13.17 to §13.23): what each reply leads to, and what each refusal means.

use super::handshake::{Context, Handshake, Progress, Step};
use super::key_exchange::Transcript;
use super::link::Link;
use super::quirk::Quirk;
use super::seal::{Seal, Seal20};
use super::settings::Protocol;
use super::vocabulary::{Dropped, OpenError, Spoken};
use crate::ipmi::open_session::{self, Refused};
use crate::ipmi::payload::PayloadType;
use crate::ipmi::rakp::{NAME_LIMIT, NAME_ONLY, Rakp1, Rakp2, Rakp3, Rakp4};
use crate::ipmi::{Status, Wire, message, session20};

/// Stands for the status of a reply that ends before it; no BMC has one so high.
const NO_STATUS: Status = Status(0xFF);

impl Handshake {
    // Open Session.

    /// Proposes the next cipher suite, in a handshake with new numbers from a fresh port.
    pub(super) fn open_session(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let Some(&suite) = self.plan.front() else {
            return self.no_common_suite(ctx);
        };
        if let Step::Capabilities { .. } = self.step {
            // The capabilities' port has seen no session yet.
        } else {
            self.fresh = true;
        }
        if let Some(console_id) = self.console_id() {
            self.earlier.push((console_id, self.sent_at));
        }
        let console_id = loop {
            let id = ctx.entropy.next_u64() as u32;
            if id != 0 {
                break id;
            }
        };
        let privilege = if self.quirks.has(Quirk::OpenPrivilegeHighest) {
            0
        } else {
            ctx.settings.privilege.bits()
        };
        let request = open_session::Request {
            tag: self.next_tag(),
            privilege,
            console_id,
            algorithms: suite.algorithms(),
        };
        self.step = Step::Open { suite, console_id };
        self.send_setup(PayloadType::OpenSessionRequest, &request.encode(), ctx);
        Progress::Going(self)
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
            Step::Rakp4(verified) => Some(verified.transcript().console_id),
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
        if header.authenticated || header.encrypted || header.session_id != 0 {
            return self.dropped(Dropped::OtherSession, ctx);
        }
        match (&self.step, header.payload_type) {
            (Step::Open { .. }, PayloadType::OpenSessionResponse) => {
                match open_session::Response::decode(packet.payload) {
                    Ok(open_session::Response::Refused(refused)) => {
                        if !self.is_ours(refused.tag, refused.session_id) {
                            return self.stale(refused.session_id, ctx);
                        }
                        self.heard(ctx);
                        // A reply without a status is as good as an unknown one.
                        self.suite_refused(refused.status.unwrap_or(NO_STATUS), ctx)
                    }
                    Ok(open_session::Response::Accepted(accepted)) => {
                        self.handle_accepted(accepted, ctx)
                    }
                    Err(_) => self.dropped(Dropped::Malformed, ctx),
                }
            }
            (Step::Rakp2(_), PayloadType::Rakp2) => self.handle_rakp2(packet.payload, ctx),
            (Step::Rakp4(_), PayloadType::Rakp4) => self.handle_rakp4(packet.payload, ctx),
            _ => self.dropped(Dropped::Stale, ctx),
        }
    }

    /// Whether an error reply is for us. OpenBMC answers errors with tag 0 and session id 0, ipmi_sim without an id.
    pub(super) fn is_ours(&self, tag: u8, session_id: Option<u32>) -> bool {
        let id = match session_id {
            None | Some(0) => true,
            some => some == self.console_id(),
        };
        id && (tag == self.tag || tag == 0)
    }

    /// Whether a success reply is for us. The console id is random and new in each attempt, so a tag of 0 can pass
    /// where the id is right (OpenBMC on POWER9).
    pub(super) fn is_ours_for_sure(&mut self, tag: u8, console_id: u32) -> bool {
        let id = Some(console_id) == self.console_id()
            || console_id == 0 && self.quirks.has(Quirk::SessionId0);
        let right = id && tag == self.tag;
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

    /// A reply to an earlier attempt: no error of anybody's, and it shows how slow the BMC is.
    pub(super) fn stale(
        mut self: Box<Self>,
        session_id: Option<u32>,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let known = self
            .earlier
            .iter()
            .find(|(id, _)| Some(*id) == session_id)
            .copied();
        if let Some((_, sent_at)) = known {
            self.heard = true;
            ctx.memory.round_trip.observe(ctx.now - sent_at);
            self.deadline = self.deadline.max(self.step_deadline(ctx));
        }
        self.dropped(Dropped::OtherSession, ctx)
    }

    /// Any refusal moves on to the next suite: BMCs say "no resources" or "invalid role" and mean the suite.
    pub(super) fn suite_refused(
        mut self: Box<Self>,
        status: Status,
        ctx: &mut Context<'_>,
    ) -> Progress {
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
        if self.probed.has(probe) && !ctx.settings.quirks.and(ctx.memory.quirks).has(probe) {
            self.quirks = self.quirks.without(probe);
        }
        if let Some(suite) = self.plan.pop_front() {
            self.evidence.push(match status {
                NO_STATUS => format!("suite {} refused without a status", suite.id),
                status => format!("suite {} refused: {status}", suite.id),
            });
            self.tried.push((suite.id, status));
        }
        self.open_session(ctx)
    }

    pub(super) fn no_common_suite(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        if let Some(downgrade) = self.downgrade.take() {
            return Progress::Failed(downgrade);
        }
        let all = |wanted: &[Status]| {
            !self.tried.is_empty() && self.tried.iter().all(|(_, status)| wanted.contains(status))
        };
        if all(&[
            Status::INSUFFICIENT_RESOURCES,
            Status::INSUFFICIENT_RESOURCES_FOR_ROLE,
        ]) {
            let (_, status) = self.tried[0];
            return Progress::Failed(OpenError::SessionsFull(status.to_string()));
        }
        if all(&[Status::INVALID_ROLE, Status::UNAUTHORISED_ROLE]) {
            let (_, status) = self.tried[0];
            return Progress::Failed(OpenError::NoPrivilege {
                asked: ctx.settings.privilege,
                reason: status.to_string(),
            });
        }
        if ctx.settings.protocol == Protocol::V20ThenV15 {
            return self.fall_back(ctx);
        }
        let failure = OpenError::NoCommonSuite {
            tried: std::mem::take(&mut self.tried),
            offered: Vec::new(),
        };
        self.ask_advice(failure, ctx)
    }

    pub(super) fn handle_accepted(
        mut self: Box<Self>,
        accepted: open_session::Accepted,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let Step::Open { suite, console_id } = self.step else {
            return self.dropped(Dropped::Stale, ctx);
        };
        if !self.is_ours_for_sure(accepted.tag, accepted.console_id) {
            return self.stale(Some(accepted.console_id), ctx);
        }
        if accepted.bmc_id == 0 {
            return self.dropped(Dropped::Malformed, ctx);
        }
        self.heard(ctx);
        if accepted.algorithms != suite.algorithms() {
            // No silent downgrade: what was chosen is only used where it is configured, and then asked for.
            self.downgrade.get_or_insert(OpenError::Downgrade {
                asked: suite.algorithms().to_string(),
                got: accepted.algorithms.to_string(),
            });
            if let Some(suite) = self.plan.pop_front() {
                let got = accepted.algorithms;
                self.evidence.push(format!(
                    "suite {}: the BMC chose {got} instead, not taken",
                    suite.id
                ));
            }
            return self.open_session(ctx);
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
        let rakp1 = Rakp1 {
            tag: self.next_tag(),
            bmc_id: accepted.bmc_id,
            console_random,
            role,
            name: name.clone(),
            padded: self.quirks.has(Quirk::UserField16),
        };
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
        self.send_setup(PayloadType::Rakp1, &rakp1.encode(), ctx);
        Progress::Going(self)
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
            return self.stale(Some(id), ctx);
        }
        let Step::Rakp2(transcript) = &self.step else {
            return self.dropped(Dropped::Stale, ctx);
        };
        let transcript = Transcript {
            bmc_random,
            guid,
            ..(**transcript).clone()
        };
        self.heard(ctx);
        let Ok(verified) = transcript.verify_rakp2(&code, &ctx.settings.password) else {
            return Progress::Failed(OpenError::WrongPassword {
                found_in: "RAKP 2 does not match",
            });
        };
        if verified.trimmed {
            self.learned(Quirk::Rakp2Trim1, "RAKP 2's code is one byte too long");
        }
        let rakp3 = Rakp3 {
            tag: self.next_tag(),
            status: Status::OK,
            bmc_id: verified.transcript().bmc_id,
            code: verified.rakp3_code().to_vec(),
        };
        self.step = Step::Rakp4(Box::new(verified));
        self.send_setup(PayloadType::Rakp3, &rakp3.encode(), ctx);
        Progress::Going(self)
    }

    pub(super) fn rakp_refused(
        mut self: Box<Self>,
        refused: Refused,
        found_in: &'static str,
        ctx: &mut Context<'_>,
    ) -> Progress {
        if !self.is_ours(refused.tag, refused.session_id) {
            return self.stale(refused.session_id, ctx);
        }
        self.heard(ctx);
        let status = refused.status.unwrap_or(NO_STATUS);
        Progress::Failed(match status {
            // Half-open sessions are forgotten, and copies on the way lead to this: begin again, the first time at
            // once. Later ones wait for their time, so that no BMC is stormed with handshakes.
            Status::INVALID_SESSION_ID | Status::INACTIVE_SESSION_ID => {
                self.refused = Some((self.step.name(), status));
                return match self.attempts {
                    1 => self.restart(ctx),
                    _ => Progress::Going(self),
                };
            }
            Status::UNAUTHORISED_NAME | Status::INVALID_NAME_LENGTH => {
                OpenError::UnknownUser { found_in }
            }
            // RAKP 2 was made with our password, so that it is not the password: a copy of RAKP 1 on the way made the
            // BMC forget the exchange that RAKP 3 belongs to, or it wants RAKP 3 otherwise.
            Status::INVALID_INTEGRITY_CHECK if self.password_was_shown() => {
                ctx.memory.codes_refused += 1;
                if ctx.memory.codes_refused < CODES_REFUSED_LIMIT {
                    return self.restart(ctx);
                }
                OpenError::Refused {
                    step: "RAKP 3",
                    status,
                }
            }
            Status::INVALID_INTEGRITY_CHECK => OpenError::WrongPassword { found_in },
            Status::INVALID_ROLE | Status::UNAUTHORISED_ROLE => OpenError::NoPrivilege {
                asked: ctx.settings.privilege,
                reason: status.to_string(),
            },
            Status::INSUFFICIENT_RESOURCES | Status::INSUFFICIENT_RESOURCES_FOR_ROLE => {
                OpenError::SessionsFull(status.to_string())
            }
            _ => OpenError::Refused {
                step: self.step.name(),
                status,
            },
        })
    }

    /// Whether the BMC has proved that it knows our password: suite 0 proves nothing.
    fn password_was_shown(&self) -> bool {
        matches!(&self.step, Step::Rakp4(verified) if !verified.rakp3_code().is_empty())
    }

    pub(super) fn handle_rakp4(
        mut self: Box<Self>,
        payload: &[u8],
        ctx: &mut Context<'_>,
    ) -> Progress {
        let (tag, id, check_value) = match Rakp4::decode(payload) {
            Err(_) => return self.dropped(Dropped::Malformed, ctx),
            Ok(Rakp4::Refused(refused)) => return self.rakp_refused(refused, "RAKP 4", ctx),
            Ok(Rakp4::Accepted {
                tag,
                console_id,
                check_value,
            }) => (tag, console_id, check_value),
        };
        if !self.is_ours_for_sure(tag, id) {
            return self.stale(Some(id), ctx);
        }
        self.heard(ctx);
        let placeholder = Step::Capabilities {
            extended: false,
            sequence: 0,
        };
        let Step::Rakp4(verified) = std::mem::replace(&mut self.step, placeholder) else {
            return self.dropped(Dropped::Stale, ctx);
        };
        let Transcript {
            suite,
            console_id,
            bmc_id,
            ..
        } = *verified.transcript();
        let settings = ctx.settings;
        let keys =
            verified.verify_rakp4(&check_value, &settings.password, settings.bmc_key.as_ref());
        let Ok(keys) = keys else {
            return Progress::Failed(OpenError::WrongKey {
                configured: settings.bmc_key.is_some(),
                bmc_has_one: ctx.memory.capabilities.map(|offers| offers.bmc_key_set()),
            });
        };
        let seal = Seal::V20(Box::new(Seal20 {
            suite,
            keys,
            console_id,
            bmc_id,
            quirks: self.quirks,
        }));
        let link = Link::new(seal, bmc_id, 0, 0, self.checksums());
        self.set_privilege(link, Spoken::V20(suite.id), ctx)
    }
}

/// Refusals of RAKP 3 after which the handshake is given up, and then each later one at the next: BMCs count them
/// towards a lock-out, after five often.
const CODES_REFUSED_LIMIT: u32 = 3;
