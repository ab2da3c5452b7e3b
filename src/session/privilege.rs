//! Set Session Privilege Level, the last step of opening a session: one step down where the level
//! is refused, patience with a busy BMC, and the probe for BMCs that derive other keys and so stay
//! silent.

use super::handshake::{Context, Handshake, Progress, Step};
use super::link::{Link, Pace, Reply, Tick};
use super::quirk::Quirk;
use super::vocabulary::{Dropped, OpenError, Opened, Request, Resend, Spoken, Transmit};
use crate::ipmi::command::{Command, set_session_privilege};
use crate::ipmi::suite::{Authentication, Confidentiality, Integrity};
use crate::ipmi::{CompletionCode, PrivilegeLevel, Wire};
use crate::time::Instant;

/// The last step: a session that is open and has no privilege yet.
pub(super) struct Privilege {
    pub(super) link: Link,
    spoken: Spoken,
    asked: PrivilegeLevel,
    stepped_down: bool,
    /// When to ask again a BMC that was busy.
    pub(super) again_at: Option<Instant>,
}

impl Handshake {
    // Set Session Privilege Level.

    pub(super) fn set_privilege(
        mut self: Box<Self>,
        link: Link,
        spoken: Spoken,
        ctx: &mut Context<'_>,
    ) -> Progress {
        self.privilege_step(link, spoken, ctx);
        let asked = ctx.settings.privilege;
        if !self.quirks.has(Quirk::NoSetPrivilege) {
            return self.ask_privilege(ctx);
        }
        match std::mem::replace(&mut self.step, Step::NONE) {
            Step::Privilege(privilege) => self.opened(*privilege, asked, ctx),
            _ => Progress::Going(self),
        }
    }

    /// The session is there; its level is still to be set.
    pub(super) fn privilege_step(&mut self, link: Link, spoken: Spoken, ctx: &Context<'_>) {
        self.copies.clear();
        self.step = Step::Privilege(Box::new(Privilege {
            link,
            spoken,
            asked: ctx.settings.privilege,
            stepped_down: false,
            again_at: None,
        }));
    }

    pub(super) fn ask_privilege(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let until = self
            .limit(ctx)
            .max(ctx.now + ctx.settings.timing.resend_first);
        let Step::Privilege(privilege) = &mut self.step else {
            return Progress::Going(self);
        };
        privilege.again_at = None;
        // The question may be under way since before RAKP 4 came: it is not asked twice.
        if privilege.link.exchange().is_none() {
            let asked = privilege.asked;
            let datagram = ask(&mut privilege.link, asked, until, ctx);
            self.send_sealed(datagram, ctx);
        }
        Progress::Going(self)
    }

    pub(super) fn send_sealed(&mut self, datagram: Vec<u8>, ctx: &mut Context<'_>) {
        ctx.out.push_back(Transmit {
            fresh_port: std::mem::take(&mut self.fresh),
            ..Transmit::upkeep(datagram)
        });
    }

    pub(super) fn tick_privilege(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let probe_after = self.constants_probed_after();
        let can_probe = probe_after.is_some();
        let probing = self.probed.has(Quirk::ConstantsOfDigestLength);
        let Step::Privilege(privilege) = &mut self.step else {
            return Progress::Going(self);
        };
        if let Some(at) = privilege.again_at {
            return if at <= ctx.now {
                self.ask_privilege(ctx)
            } else {
                Progress::Going(self)
            };
        }
        let mut timing = ctx.settings.timing;
        // Several copies, for packets get lost: a session that is there is worth more than a new
        // one. A BMC with other keys never answers: find that out sooner where such BMCs were seen.
        timing.lost_after = match probe_after {
            Some(copies) => copies,
            None if probing => PROBED_FOR,
            None => GIVEN_UP_AFTER,
        };
        timing.resend_cap = ctx.memory.round_trip.wait(&timing);
        let pace = Pace {
            timing: &timing,
            round_trip: &ctx.memory.round_trip,
        };
        match privilege.link.tick(pace, ctx.now, ctx.entropy) {
            Tick::Nothing | Tick::Probe(_) => Progress::Going(self),
            Tick::Resend(_, datagram) => {
                ctx.memory.statistics.resends += 1;
                self.send_sealed(datagram, ctx);
                Progress::Going(self)
            }
            Tick::OutOfPatience(_) | Tick::Silent(..) if can_probe => {
                let probe = Quirk::ConstantsOfDigestLength;
                self.probed = self.probed.with(probe);
                self.limits_from = ctx.now;
                self.heard = self.heard.map(|_| ctx.now);
                self.attempts = 1;
                ctx.memory.statistics.handshakes += 1;
                self.leave_log_in(ctx);
                self.quirks = self.quirks.with(probe);
                self.open_session(ctx)
            }
            Tick::OutOfPatience(_) | Tick::Silent(..) => self.level_silent(ctx),
        }
    }

    /// A session that was opened a moment ago does not answer the question for its level.
    fn level_silent(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let probe = Quirk::ConstantsOfDigestLength;
        if self.probed.has(probe) {
            self.quirks = self.quirks.without(probe);
        }
        match self.step {
            Step::Privilege(ref privilege) if matches!(privilege.spoken, Spoken::V15(_)) => {
                self.restart_login(ctx)
            }
            _ => self.restart(ctx),
        }
    }

    /// After how many copies the length of K1's and K2's constants could be why an open session
    /// stays silent: only where they are used and the digest is not 20 bytes long.
    fn constants_probed_after(&self) -> Option<u32> {
        let probe = Quirk::ConstantsOfDigestLength;
        let Step::Privilege(privilege) = &self.step else {
            return None;
        };
        let Spoken::V20(id) = privilege.spoken else {
            return None;
        };
        let suite = id.suite()?;
        let matters = suite.confidentiality != Confidentiality::None
            || !matches!(suite.integrity, Integrity::None | Integrity::Md5_128);
        if !matters || self.quirks.has(probe) || self.probed.has(probe) {
            return None;
        }
        match suite.authentication {
            Authentication::HmacMd5 => Some(PROBED_FOR),
            // No BMC with SHA-256 was seen to need the probe, so that it waits for the last copy.
            Authentication::HmacSha256 => Some(GIVEN_UP_AFTER),
            Authentication::None | Authentication::HmacSha1 => None,
        }
    }

    pub(super) fn handle_privilege(
        mut self: Box<Self>,
        reply: Reply,
        ctx: &mut Context<'_>,
    ) -> Progress {
        ctx.memory.observe(&reply, ctx.now, &ctx.settings.timing);
        let Step::Privilege(mut privilege) = std::mem::replace(&mut self.step, Step::NONE) else {
            return self.dropped(Dropped::Stale, ctx);
        };
        self.heard = Some(ctx.now);
        let asked = privilege.asked;
        let error = match reply.completion {
            CompletionCode::OK => {
                let granted = set_session_privilege::Response::decode(&reply.data)
                    .ok()
                    .and_then(|response| response.level)
                    .unwrap_or(asked);
                return self.opened(*privilege, granted, ctx);
            }
            CompletionCode::INVALID_COMMAND => {
                self.evidence
                    .push("the BMC has no Set Session Privilege Level".into());
                return self.opened(*privilege, asked, ctx);
            }
            CompletionCode(0x80 | 0x81 | 0x86) | CompletionCode::INSUFFICIENT_PRIVILEGE => {
                let mut reason = refusal(reply.completion).to_owned();
                if let Some(lower) = asked.lower().filter(|_| !privilege.stepped_down) {
                    self.evidence
                        .push(format!("privilege level {asked} refused: {reason}"));
                    privilege.asked = lower;
                    privilege.stepped_down = true;
                    self.step = Step::Privilege(privilege);
                    return self.ask_privilege(ctx);
                }
                if privilege.stepped_down {
                    reason = format!("{reason}; level {asked} is refused, too");
                }
                reason.push_str("; the user may not be enabled for IPMI over LAN");
                OpenError::NoPrivilege {
                    asked: ctx.settings.privilege,
                    reason,
                }
            }
            completion
                if is_passing(completion)
                    && ctx.now + ctx.settings.timing.resend_first < self.limit(ctx) =>
            {
                privilege.again_at = Some(ctx.now + ctx.settings.timing.resend_first);
                self.step = Step::Privilege(privilege);
                return Progress::Going(self);
            }
            completion => OpenError::RefusedCommand {
                step: set_session_privilege::Request::NAME,
                completion,
            },
        };
        // The session is open by now, so that `fail` has to close it.
        self.step = Step::Privilege(privilege);
        self.fail(error, ctx)
    }

    pub(super) fn opened(
        mut self: Box<Self>,
        mut privilege: Privilege,
        granted: PrivilegeLevel,
        ctx: &mut Context<'_>,
    ) -> Progress {
        for (probe, words) in [
            (
                Quirk::OpenPrivilegeHighest,
                "the real privilege level was refused in Open Session",
            ),
            (
                Quirk::ConstantsOfDigestLength,
                "no answer with constants of 20 bytes",
            ),
        ] {
            if self.probed.has(probe) && self.quirks.has(probe) {
                self.evidence.push(format!("{} ({words})", probe.name()));
            }
        }
        ctx.memory.quirks = self.quirks;
        // Late answers count, too: a BMC without any answer is one that never answers.
        ctx.memory.capabilities_ignored =
            ctx.memory.capabilities.is_none() && !self.questions.is_empty();
        ctx.memory.spoken = Some(privilege.spoken);
        ctx.memory.had_v20 |= matches!(privilege.spoken, Spoken::V20(_));
        let opened = Opened {
            protocol: privilege.spoken,
            privilege: granted,
            guid: self.guid,
            round_trip: ctx.memory.round_trip.smoothed(),
            quirks: self.quirks,
            evidence: self.evidence,
        };
        if !self.quirks.has(Quirk::NoSetPrivilege) {
            privilege.link.has_level(granted);
        }
        Progress::Opened(Box::new(privilege.link), opened)
    }
}

/// Set Session Privilege Level as the session's next packet.
pub(super) fn ask(
    link: &mut Link,
    level: PrivilegeLevel,
    until: Instant,
    ctx: &mut Context<'_>,
) -> Vec<u8> {
    let level = set_session_privilege::Request { level: Some(level) };
    let request = Request::of(&level, Resend::Allowed, until - ctx.now);
    let pace = Pace {
        timing: &ctx.settings.timing,
        round_trip: &ctx.memory.round_trip,
    };
    link.begin(None, request, until, pace, ctx.now, ctx.entropy)
}

fn refusal(completion: CompletionCode) -> &'static str {
    completion.words_for(
        set_session_privilege::Request::NET_FN,
        set_session_privilege::Request::NUMBER,
    )
}

/// Whether the refusal may be another one in a second.
fn is_passing(completion: CompletionCode) -> bool {
    matches!(
        completion,
        CompletionCode::BUSY
            | CompletionCode::TIMEOUT
            | CompletionCode::OUT_OF_SPACE
            | CompletionCode::INITIALISING
            | CompletionCode::NO_RESPONSE
            | CompletionCode::UNSPECIFIED
    )
}

/// Copies without an answer after which keys are taken for the wrong ones, where such BMCs were
/// seen (OpenIPMI's with MD5).
const PROBED_FOR: u32 = 5;
/// Copies without an answer after which the session is given up.
const GIVEN_UP_AFTER: u32 = 8;
