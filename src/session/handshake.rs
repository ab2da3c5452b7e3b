//! Opening a session: what is sent when, and what each answer leads to (§13.15 to §13.25). RMCP+ here, the log-in of
//! IPMI v1.5 in `handshake15`.
//!
//! RAKP steps are never sent twice: after silence the whole handshake starts again with a new console id, new random
//! numbers and a fresh port, because a BMC takes a repeated RAKP 1 or 3 for an error or another session's.

use super::handshake15::Login;
use super::key_exchange::{Rakp2Verified, Transcript};
use super::link::Link;
use super::memory::Memory;
use super::privilege::Privilege;
use super::quirk::{Quirk, Quirks};
use super::settings::{Protocol, Settings};
use super::vocabulary::{Dropped, OpenError, Opened, Transmit};
use crate::entropy::Entropy;
use crate::ipmi::command::get_channel_auth_capabilities::{self as capabilities, THIS_CHANNEL};
use crate::ipmi::command::{Command, set_session_privilege};
use crate::ipmi::message::{self, Checksums};
use crate::ipmi::payload::PayloadType;
use crate::ipmi::rakp::NAME_LIMIT;
use crate::ipmi::rmcp::{self, Class};
use crate::ipmi::suite::Suite;
use crate::ipmi::{Status, SuiteId, Wire, session15, session20};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// What a handshake is handed in every call.
pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) memory: &'a mut Memory,
    pub(super) out: &'a mut VecDeque<Transmit>,
    pub(super) now: Instant,
    pub(super) entropy: &'a mut dyn Entropy,
}

/// Where a call left the handshake.
pub(super) enum Progress {
    /// Under way.
    Going(Box<Handshake>),
    /// Done.
    Opened(Box<Link>, Opened),
    /// Given up.
    Failed(OpenError),
}

/// A handshake under way, with its earlier attempts.
pub(super) struct Handshake {
    pub(super) began: Instant,
    /// From when the limits count: `began`, or later where a probe was granted.
    pub(super) limits_from: Instant,
    pub(super) attempts: u32,
    /// The last refusal that led to another attempt, with what was refused.
    pub(super) refused: Option<(&'static str, Status)>,
    /// Whether the BMC was heard at all.
    pub(super) heard: bool,
    pub(super) step: Step,
    pub(super) sent_at: Instant,
    pub(super) deadline: Instant,
    pub(super) tag: u8,
    pub(super) plan: VecDeque<Suite>,
    pub(super) tried: Vec<(SuiteId, Status)>,
    pub(super) downgrade: Option<OpenError>,
    pub(super) quirks: Quirks,
    pub(super) probed: Quirks,
    pub(super) evidence: Vec<String>,
    /// Console ids of attempts that were given up, with the time of their Open Session Request.
    pub(super) earlier: Vec<(u32, Instant)>,
    /// Whether the next datagram leaves from a fresh port.
    pub(super) fresh: bool,
}

/// What is awaited.
pub(super) enum Step {
    /// Get Channel Authentication Capabilities was sent.
    Capabilities { extended: bool, sequence: u8 },
    /// Open Session Request was sent.
    Open { suite: Suite, console_id: u32 },
    /// RAKP 1 was sent.
    Rakp2(Box<Transcript>),
    /// RAKP 3 was sent.
    Rakp4(Box<Rakp2Verified>),
    /// Get Channel Cipher Suites was sent, to say more about a failure.
    Advice(super::advice::Advice),
    /// IPMI v1.5.
    Login(Login),
    /// Set Session Privilege Level was sent.
    Privilege(Box<Privilege>),
}

impl Step {
    /// What was sent, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Step::Capabilities { .. } => capabilities::Request::NAME,
            Step::Open { .. } => "Open Session Request",
            Step::Rakp2(_) => "RAKP 1",
            Step::Rakp4(_) => "RAKP 3",
            Step::Advice(_) => "Get Channel Cipher Suites",
            Step::Login(login) => login.name(),
            Step::Privilege(_) => set_session_privilege::Request::NAME,
        }
    }
}

impl Handshake {
    /// Begins.
    pub(super) fn begin(ctx: &mut Context<'_>) -> Progress {
        let settings = ctx.settings;
        if settings.username.len() > NAME_LIMIT {
            return Progress::Failed(OpenError::Settings(format!(
                "the user name has {} bytes, at most {NAME_LIMIT} are allowed",
                settings.username.len()
            )));
        }
        let mut plan: Vec<Suite> = settings
            .suites
            .iter()
            .filter_map(|id| id.supported().ok())
            .collect();
        // What worked last comes first, in the order of the others otherwise.
        plan.sort_by_key(|suite| Some(suite.id) != ctx.memory.suite());
        if plan.is_empty() && !matches!(settings.protocol, Protocol::V15(_)) {
            return Progress::Failed(OpenError::Settings(
                "none of the configured cipher suites is supported".into(),
            ));
        }
        let handshake = Box::new(Handshake {
            began: ctx.now,
            limits_from: ctx.now,
            attempts: 1,
            refused: None,
            heard: false,
            step: Step::Capabilities {
                extended: true,
                sequence: 0,
            },
            sent_at: ctx.now,
            deadline: ctx.now,
            tag: ctx.entropy.below(255) as u8,
            plan: plan.into(),
            tried: Vec::new(),
            downgrade: None,
            quirks: settings.quirks.and(ctx.memory.quirks),
            probed: Quirks::NONE,
            evidence: Vec::new(),
            earlier: Vec::new(),
            fresh: true,
        });
        ctx.memory.statistics.handshakes += 1;
        let known = ctx.memory.capabilities.is_some();
        if known || handshake.quirks.has(Quirk::NoCapabilities) {
            handshake.after_capabilities(ctx)
        } else {
            handshake.ask_capabilities(true, ctx)
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn deadline(&self) -> Instant {
        match &self.step {
            Step::Privilege(privilege) => privilege
                .again_at
                .or_else(|| privilege.link.deadline())
                .unwrap_or(self.deadline),
            _ => self.deadline,
        }
    }

    /// Takes in a datagram.
    pub(super) fn handle_datagram(
        mut self: Box<Self>,
        datagram: &[u8],
        ctx: &mut Context<'_>,
    ) -> Progress {
        if let Step::Privilege(privilege) = &mut self.step {
            return match privilege.link.receive(datagram, ctx.now) {
                Ok(Some(reply)) => self.handle_privilege(reply, ctx),
                Ok(None) => Progress::Going(self),
                Err(reason) => self.dropped(reason, ctx),
            };
        }
        let Ok(rmcp::Packet {
            class: Class::Ipmi,
            body,
            ..
        }) = rmcp::Packet::decode(datagram)
        else {
            return self.dropped(Dropped::Malformed, ctx);
        };
        if body.first() == Some(&session20::AUTH_TYPE) {
            self.handle_setup(body, ctx)
        } else {
            self.handle_outside(body, ctx)
        }
    }

    /// The time that the last step waited for is over.
    pub(super) fn handle_timeout(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        match &self.step {
            Step::Privilege(_) => self.tick_privilege(ctx),
            _ if self.deadline > ctx.now => Progress::Going(self),
            Step::Capabilities { .. } => {
                // Asked again in a later handshake; this one goes on without.
                self.fresh = true;
                self.after_capabilities(ctx)
            }
            Step::Advice(_) => self.advice_over(ctx),
            Step::Open { .. } | Step::Rakp2(_) | Step::Rakp4(_) => self.restart(ctx),
            Step::Login(_) => self.restart_login(ctx),
        }
    }

    pub(super) fn dropped(self: Box<Self>, reason: Dropped, ctx: &mut Context<'_>) -> Progress {
        ctx.memory.count_dropped(reason);
        Progress::Going(self)
    }

    pub(super) fn pause(&self, ctx: &Context<'_>) -> Duration {
        ctx.memory.round_trip.wait(&ctx.settings.timing)
    }

    /// An answer that belongs here came: the BMC is there, and so fast.
    pub(super) fn heard(&mut self, ctx: &mut Context<'_>) {
        self.heard = true;
        ctx.memory.round_trip.observe(ctx.now - self.sent_at);
    }

    /// Sends a datagram of session set-up and sets the step's deadline.
    pub(super) fn send(&mut self, body: &[u8], ctx: &mut Context<'_>) {
        ctx.out.push_back(Transmit {
            datagram: rmcp::encode(Class::Ipmi, body),
            fresh_port: std::mem::take(&mut self.fresh),
            request: None,
        });
        self.sent_at = ctx.now;
        self.deadline = self.step_deadline(ctx);
    }

    /// The next datagram starts something new: it leaves from a fresh port.
    pub(super) fn freshen(&mut self) {
        self.fresh = true;
    }

    /// The step waits until then rather than for its usual share.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    pub(super) fn send_setup(
        &mut self,
        payload_type: PayloadType,
        payload: &[u8],
        ctx: &mut Context<'_>,
    ) {
        let body = session20::Header::outside(payload_type).encode(payload);
        self.send(&body, ctx);
    }

    /// Until when the step may take: a share of the time for a silent BMC, its own pace for one that answers.
    pub(super) fn step_deadline(&self, ctx: &Context<'_>) -> Instant {
        let timing = &ctx.settings.timing;
        let wait = self.pause(ctx);
        let deadline = if self.heard {
            // Longer with each attempt, so that a BMC can clear away the half-open sessions of the ones before.
            let more = timing.resend_floor * (self.attempts - 1) / 2;
            ctx.now + wait.max(timing.resend_floor * 2) + more
        } else {
            let attempts = timing.handshake_attempts.max(1);
            let end = timing.handshake_limit * self.attempts / attempts;
            let share = timing.handshake_limit / attempts;
            (self.limits_from + end).max(ctx.now + wait.min(share))
        };
        deadline.min(self.limit(ctx))
    }

    /// When the whole is given up.
    pub(super) fn limit(&self, ctx: &Context<'_>) -> Instant {
        let timing = &ctx.settings.timing;
        let limit = if self.heard {
            timing.handshake_limit_heard
        } else {
            timing.handshake_limit
        };
        self.limits_from + limit
    }

    /// Whether another attempt may be made after silence.
    pub(super) fn may_restart(&self, ctx: &Context<'_>) -> bool {
        let timing = &ctx.settings.timing;
        let attempts = if self.heard {
            timing.handshake_attempts_heard
        } else {
            timing.handshake_attempts
        };
        self.attempts < attempts && ctx.now < self.limit(ctx)
    }

    /// What silence amounts to.
    pub(super) fn silence(&self, ctx: &Context<'_>) -> OpenError {
        // What the BMC said at the last step says more than that it said nothing else.
        if let Some((step, status)) = self.refused
            && step == self.step.name()
        {
            return OpenError::Refused { step, status };
        }
        let over = ctx.now - self.began;
        match self.heard {
            false => OpenError::Silent {
                attempts: self.attempts,
                over,
            },
            true => OpenError::Stalled {
                step: self.step.name(),
                attempts: self.attempts,
                over,
            },
        }
    }

    /// Begins the handshake again after silence, or gives up.
    pub(super) fn restart(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let offers = ctx.memory.capabilities;
        let doubtful = offers.is_some_and(|offers| !offers.v20())
            && !self.quirks.has(Quirk::IgnoreCapabilities);
        if !doubtful && self.may_restart(ctx) {
            self.attempts += 1;
            ctx.memory.statistics.handshakes += 1;
            return self.open_session(ctx);
        }
        if ctx.settings.protocol == Protocol::V20ThenV15 && self.heard {
            return self.fall_back(ctx);
        }
        Progress::Failed(if doubtful {
            OpenError::NoProtocol("the BMC says that it has no IPMI 2.0".into())
        } else {
            self.silence(ctx)
        })
    }

    /// IPMI v2.0 did not work out: v1.5 gets the time of a handshake of its own.
    pub(super) fn fall_back(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        self.evidence
            .push("IPMI 2.0 did not work, fell back to IPMI 1.5".into());
        self.limits_from = ctx.now;
        self.attempts = 1;
        self.login(ctx)
    }

    // Get Channel Authentication Capabilities.

    pub(super) fn ask_capabilities(
        mut self: Box<Self>,
        extended: bool,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let sequence = ctx.entropy.below(64) as u8;
        let request = capabilities::Request {
            extended,
            channel: THIS_CHANNEL,
            privilege: ctx.settings.privilege,
        };
        self.step = Step::Capabilities { extended, sequence };
        let message = message::Request::to_bmc(
            capabilities::Request::NET_FN,
            0,
            capabilities::Request::NUMBER,
            sequence,
            request.encode(),
        )
        .encode();
        self.send(&session15::Packet::outside(&message).encode(), ctx);
        // Advice: half of an attempt's time at most.
        let timing = &ctx.settings.timing;
        let share = timing.handshake_limit / timing.handshake_attempts.max(1) / 2;
        self.deadline = ctx.now + self.pause(ctx).min(timing.advice_limit).min(share);
        Progress::Going(self)
    }

    /// An answer outside of any session: to our question for capabilities or cipher suites, or of a v1.5 log-in.
    pub(super) fn handle_outside(
        mut self: Box<Self>,
        body: &[u8],
        ctx: &mut Context<'_>,
    ) -> Progress {
        if let Step::Login(_) = self.step {
            return self.handle_login(body, ctx);
        }
        let Some(response) = outside_response(body, self.checksums()) else {
            return self.dropped(Dropped::Malformed, ctx);
        };
        match self.step {
            Step::Capabilities { extended, sequence }
                if response.sequence == sequence
                    && is_answer::<capabilities::Request>(&response) =>
            {
                self.heard(ctx);
                if !response.completion.is_ok() && extended {
                    // Some v1.5 BMCs refuse the bit that asks for v2.0 data.
                    return self.ask_capabilities(false, ctx);
                }
                if response.completion.is_ok() {
                    ctx.memory.capabilities = capabilities::Response::decode(&response.data).ok();
                }
                self.after_capabilities(ctx)
            }
            Step::Advice(_) => self.handle_advice(response, ctx),
            _ => self.dropped(Dropped::Stale, ctx),
        }
    }

    pub(super) fn checksums(&self) -> Checksums {
        if self.quirks.has(Quirk::NoChecksum) {
            Checksums::Ignored
        } else {
            Checksums::Verified
        }
    }

    pub(super) fn after_capabilities(self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let believed = !self.quirks.has(Quirk::IgnoreCapabilities);
        let no_v20 = ctx.memory.capabilities.is_some_and(|offers| !offers.v20());
        match ctx.settings.protocol {
            Protocol::V15(_) => self.login(ctx),
            Protocol::V20ThenV15 if no_v20 && believed => self.login(ctx),
            _ => self.open_session(ctx),
        }
    }
}

/// The IPMI message of a v1.5 packet outside of any session.
pub(super) fn outside_response(body: &[u8], checksums: Checksums) -> Option<message::Response> {
    let packet = session15::Packet::decode(body).ok()?;
    if packet.session_id != 0 {
        return None;
    }
    message::Response::decode(packet.payload, checksums).ok()
}

/// Whether `response` answers a command of this kind.
pub(super) fn is_answer<C: Command>(response: &message::Response) -> bool {
    response.net_fn == C::NET_FN | 1 && response.command == C::NUMBER
}
