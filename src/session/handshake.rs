//! Opening a session: what is sent when, and what each answer leads to (§13.15 to §13.25). RMCP+
//! here, the log-in of IPMI v1.5 in `handshake15`.
//!
//! First the question for capabilities, which costs the BMC no session and shows how fast it
//! answers; then each message again until it is answered ([`resend`](super::resend)). After
//! messages that bring nothing the handshake begins anew, with new numbers and a fresh port.

use super::fifo::Fifo;
use super::handshake15::Login;
use super::key_exchange::Transcript;
use super::link::Link;
use super::memory::Memory;
use super::privilege::Privilege;
use super::proof::Proof;
use super::quirk::{Quirk, Quirks};
use super::resend::Copies;
use super::settings::{Protocol, Settings};
use super::vocabulary::{Dropped, Event, OpenError, Opened, Transmit};
use crate::entropy::Entropy;
use crate::ipmi::command::get_channel_auth_capabilities::{self as capabilities, THIS_CHANNEL};
use crate::ipmi::command::{Command, set_session_privilege};
use crate::ipmi::message::{self, Checksums};
use crate::ipmi::open_session;
use crate::ipmi::payload::PayloadType;
use crate::ipmi::rakp::NAME_LIMIT;
use crate::ipmi::rmcp::{self, Class};
use crate::ipmi::suite::Suite;
use crate::ipmi::{PrivilegeLevel, Status, SuiteId, Wire, session15, session20};
use crate::time::Instant;
use std::collections::VecDeque;

/// What a handshake is handed in every call.
pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) memory: &'a mut Memory,
    pub(super) out: &'a mut Fifo<Transmit>,
    pub(super) events: &'a mut Fifo<Event>,
    pub(super) now: Instant,
    pub(super) entropy: &'a mut dyn Entropy,
}

/// Where a call left the handshake.
pub(super) enum Progress {
    /// Under way.
    Going(Box<Handshake>),
    Opened(Box<Link>, Opened),
    Failed(OpenError),
}

/// A handshake under way, with its earlier attempts.
pub(super) struct Handshake {
    pub(super) began: Instant,
    /// From when the limits count: `began`, or later where a probe was granted.
    pub(super) limits_from: Instant,
    /// Log-ins begun.
    pub(super) attempts: u32,
    /// The last refusal that led to another attempt, with what was refused.
    pub(super) refused: Option<(&'static str, Status)>,
    /// When the BMC was heard last.
    pub(super) heard: Option<Instant>,
    /// When those who wait hear that there is no session yet; `None` once they did.
    pub(super) tell_at: Option<Instant>,
    pub(super) step: Step,
    pub(super) copies: Copies,
    pub(super) sent_at: Instant,
    pub(super) deadline: Instant,
    pub(super) tag: u8,
    pub(super) plan: VecDeque<Suite>,
    /// What came of the suites that are not in the plan any more.
    pub(super) verdicts: Vec<(SuiteId, Verdict)>,
    pub(super) quirks: Quirks,
    pub(super) probed: Quirks,
    pub(super) evidence: Vec<String>,
    /// Questions for capabilities: their numbers, and when they left.
    pub(super) questions: Vec<(u8, Instant)>,
    /// Open Session Requests that left before the BMC was heard.
    pub(super) blind: u32,
    /// Log-ins left with their Open Session Request unanswered: the answer may still come.
    pub(super) earlier: Vec<Earlier>,
    /// Whether the next datagram leaves from a fresh port.
    pub(super) fresh: bool,
    /// What is wrong with answers that came in the session.
    pub(super) unusable: Option<Dropped>,
    /// The GUID of the BMC that was logged in to.
    pub(super) guid: Option<[u8; 16]>,
    /// Whether an error was believed that carried no number of ours.
    pub(super) hearsay: bool,
    /// The tag of the Open Session Response that is gone on with.
    pub(super) opened_by: Option<u8>,
    /// Whether the network makes copies of packets, or the BMC answers each copy anew.
    pub(super) doubled: bool,
    /// Whether the next Open Session Request waits until the BMC has forgotten a session of ours.
    pub(super) waits_for_room: bool,
}

/// A log-in that did not come beyond its Open Session Request.
pub(super) struct Earlier {
    pub(super) suite: Suite,
    pub(super) console_id: u32,
    pub(super) copies: Copies,
}

impl Earlier {
    /// Whether this answers its Open Session Request: our number, and our tag or 0 (OpenBMC).
    pub(super) fn asked(&self, accepted: &open_session::Accepted) -> bool {
        self.console_id == accepted.console_id
            && (accepted.tag == 0 || self.copies.has(accepted.tag))
    }
}

/// What came of a cipher suite.
pub(super) enum Verdict {
    /// Open Session was refused.
    Refused(Status),
    /// Open Session was met with silence.
    Silent,
    /// The log-in was refused or did not match.
    Failed(OpenError),
}

/// What is awaited.
pub(super) enum Step {
    /// Get Channel Authentication Capabilities was sent.
    Capabilities { extended: bool },
    /// Open Session Request was sent, or is about to be.
    Open { suite: Suite, console_id: u32 },
    /// RAKP 1 was sent.
    Rakp2(Box<Transcript>),
    /// RAKP 3 was sent.
    Rakp4(Box<Proof>),
    /// Get Channel Cipher Suites was sent, to say more about a failure.
    Advice(super::advice::Advice),
    /// IPMI v1.5.
    Login(Login),
    /// Set Session Privilege Level was sent.
    Privilege(Box<Privilege>),
}

impl Step {
    /// Stands in for a step that was taken out.
    pub(super) const NONE: Self = Self::Capabilities { extended: false };

    /// What was sent, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Capabilities { .. } => capabilities::Request::NAME,
            Self::Open { .. } => "Open Session Request",
            Self::Rakp2(_) => "RAKP 1",
            Self::Rakp4(_) => "RAKP 3",
            Self::Advice(_) => "Get Channel Cipher Suites",
            Self::Login(login) => login.name(),
            Self::Privilege(_) => set_session_privilege::Request::NAME,
        }
    }
}

impl Handshake {
    pub(super) fn begin(ctx: &mut Context<'_>) -> Progress {
        let settings = ctx.settings;
        // §13.20: the name's field has 16 bytes, and a name that is cut may be another user's.
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
        let tell_after = ctx.memory.round_trip.patience(&settings.timing);
        let handshake = Box::new(Self {
            began: ctx.now,
            limits_from: ctx.now,
            attempts: 1,
            refused: None,
            heard: None,
            tell_at: Some(ctx.now + tell_after),
            step: Step::Capabilities { extended: true },
            copies: Copies::default(),
            sent_at: ctx.now,
            deadline: ctx.now,
            tag: ctx.entropy.below(255) as u8,
            plan: plan.into(),
            verdicts: Vec::new(),
            quirks: settings.quirks.and(ctx.memory.quirks),
            probed: Quirks::NONE,
            evidence: Vec::new(),
            questions: Vec::new(),
            blind: 0,
            earlier: Vec::new(),
            fresh: true,
            unusable: None,
            guid: None,
            hearsay: false,
            opened_by: None,
            doubled: false,
            waits_for_room: false,
        });
        ctx.memory.statistics.handshakes += 1;
        // What a BMC has stays the same while it is well, so that later log-ins save this question.
        let known = ctx.memory.capabilities.is_some() || ctx.memory.capabilities_ignored;
        if known || handshake.quirks.has(Quirk::NoCapabilities) {
            handshake.after_capabilities(ctx)
        } else {
            handshake.ask_capabilities(true, ctx)
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn deadline(&self) -> Instant {
        let step = match &self.step {
            Step::Privilege(privilege) => privilege
                .again_at
                .or_else(|| privilege.link.deadline())
                .unwrap_or(self.deadline),
            _ => self.deadline,
        };
        self.tell_at.map_or(step, |tell_at| step.min(tell_at))
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
                Err(reason) => {
                    self.unusable = self
                        .unusable
                        .or(Some(reason).filter(|why| why.is_about_protection()));
                    self.dropped(reason, ctx)
                }
            };
        }
        if let Step::Rakp4(proof) = &mut self.step {
            match proof.receive(datagram, ctx.now) {
                Ok(Some(reply)) => return self.proved(reply, ctx),
                Err(why) if why.is_about_protection() => {
                    self.unusable = self.unusable.or(Some(why));
                }
                Ok(None) | Err(_) => {}
            }
        }
        let Some(body) = ipmi_body(datagram) else {
            return self.dropped(Dropped::Malformed, ctx);
        };
        if body.first() == Some(&session20::AUTH_TYPE) {
            self.handle_setup(body, ctx)
        } else {
            self.handle_outside(body, ctx)
        }
    }

    /// A datagram came to the port of a log-in that was left for another one. Only what carries the
    /// id of one of these counts: errors without an id may be about anything.
    pub(super) fn handle_late(self: Box<Self>, datagram: &[u8], ctx: &mut Context<'_>) -> Progress {
        let Some(body) = ipmi_body(datagram) else {
            return self.dropped(Dropped::Malformed, ctx);
        };
        if body.first() == Some(&session20::AUTH_TYPE) {
            self.handle_late_setup(body, ctx)
        } else {
            match outside_response(body, self.checksums()) {
                Some(response) => self.handle_capabilities(response, ctx),
                None => self.dropped(Dropped::Malformed, ctx),
            }
        }
    }

    /// Whether a datagram carries the number of one of its log-ins, wherever it came from.
    pub(super) fn is_meant(&self, datagram: &[u8]) -> bool {
        let packet = rmcp::Packet::decode(datagram).ok();
        let packet = packet.and_then(|packet| session20::Packet::decode(packet.body).ok());
        let answer =
            packet.filter(|packet| packet.header.payload_type == PayloadType::OpenSessionResponse);
        let Some(Ok(open_session::Response::Accepted(accepted))) =
            answer.map(|packet| open_session::Response::decode(packet.payload))
        else {
            // A refusal says nothing: those of OpenBMC carry no number of ours.
            return false;
        };
        let earlier = self.earlier.iter().map(|earlier| earlier.console_id);
        let mut ours = earlier.chain(self.console_id());
        ours.any(|console_id| console_id == accepted.console_id)
    }

    /// The time that the last step waited for is over, or that of those who wait for the session.
    pub(super) fn handle_timeout(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        if self.tell_at.is_some_and(|tell_at| tell_at <= ctx.now) {
            self.tell_at = None;
            // Those who wait are promised a word within 5 s; for a slow BMC the handshake goes on.
            let why = self.silence(ctx);
            ctx.events.push_back(Event::StillOpening(why));
        }
        match &self.step {
            Step::Privilege(_) => self.tick_privilege(ctx),
            _ if self.deadline > ctx.now => Progress::Going(self),
            Step::Capabilities { .. } => self.tick_capabilities(ctx),
            Step::Advice(_) => self.advice_over(ctx),
            Step::Open { .. } => self.tick_open(ctx),
            Step::Rakp2(_) => self.tick_rakp1(ctx),
            Step::Rakp4(_) => self.tick_proof(ctx),
            Step::Login(_) => self.restart_login(ctx),
        }
    }

    pub(super) fn dropped(self: Box<Self>, reason: Dropped, ctx: &mut Context<'_>) -> Progress {
        ctx.memory.count_dropped(reason);
        Progress::Going(self)
    }

    /// Ends without a session. A session that the BMC may have by now is closed with one datagram.
    pub(super) fn fail(mut self: Box<Self>, error: OpenError, ctx: &mut Context<'_>) -> Progress {
        // What still waits to leave belongs to a handshake that is over.
        ctx.out.clear();
        self.farewell(ctx);
        Progress::Failed(match self.hearsay {
            // Anybody can send an error without our numbers, so that it may not hold the log-ins.
            true => error.unsigned(),
            false => error,
        })
    }

    /// Sends Close Session where there may be a session, under the keys that RAKP 2 gave.
    pub(super) fn farewell(&mut self, ctx: &mut Context<'_>) {
        let link = match std::mem::replace(&mut self.step, Step::NONE) {
            Step::Rakp4(mut proof) => {
                let link = proof.link.take();
                self.step = Step::Rakp4(proof);
                link
            }
            Step::Privilege(privilege) => Some(privilege.link),
            step => {
                if let Step::Rakp2(_) = step {
                    // Without RAKP 2 there are no keys to close it with: the BMC has to forget it.
                    ctx.memory.ledger.leaves_half_open(ctx.now);
                }
                self.step = step;
                None
            }
        };
        if let Some(mut link) = link {
            let datagram = link.farewell(ctx.now, ctx.entropy);
            ctx.memory.ledger.leaves(Box::new(link), ctx.now);
            ctx.out.push_back(Transmit::upkeep(datagram));
        }
    }

    /// An answer that belongs here came: the BMC is there, and so fast if the copy is known.
    pub(super) fn heard(&mut self, sent_at: Option<Instant>, ctx: &mut Context<'_>) {
        self.heard = Some(ctx.now);
        let took = sent_at.map(|sent_at| ctx.now - sent_at);
        if let Some(took) = took.filter(|took| ctx.memory.measures(*took, ctx.now)) {
            ctx.memory.round_trip.observe(took);
        }
    }

    /// Sends a datagram of session set-up and sets the step's deadline.
    pub(super) fn send(&mut self, body: &[u8], ctx: &mut Context<'_>) {
        self.push(body, ctx);
        self.deadline = self.step_deadline(ctx);
    }

    pub(super) fn push(&mut self, body: &[u8], ctx: &mut Context<'_>) {
        ctx.out.push_back(Transmit {
            fresh_port: std::mem::take(&mut self.fresh),
            ..Transmit::upkeep(rmcp::encode(Class::Ipmi, body))
        });
        self.sent_at = ctx.now;
    }

    /// The next datagram starts something new: it leaves from a fresh port.
    pub(super) fn freshen(&mut self) {
        self.fresh = true;
    }

    /// The step waits until then rather than for its usual share.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Until when a step of v1.5 may take: a share of the time in silence, else the BMC's pace.
    pub(super) fn step_deadline(&self, ctx: &Context<'_>) -> Instant {
        let timing = &ctx.settings.timing;
        let wait = ctx.memory.round_trip.wait(timing);
        let attempts = self.attempts;
        let deadline = if self.heard.is_some() {
            // Longer with each attempt: the BMC can clear half-open sessions of earlier ones away.
            let more = timing.resend_floor * (attempts - 1) / 2;
            ctx.now + wait.max(timing.resend_floor * 2) + more
        } else {
            let shares = timing.handshake_attempts.max(1);
            let end = timing.handshake_limit * attempts / shares;
            let share = timing.handshake_limit / shares;
            (self.limits_from + end).max(ctx.now + wait.min(share))
        };
        deadline.min(self.limit(ctx))
    }

    /// When the whole is given up: in silence after a while, else when answers have stopped, and
    /// after a minute and a half at the latest, in whatever ways it was tried.
    pub(super) fn limit(&self, ctx: &Context<'_>) -> Instant {
        let timing = &ctx.settings.timing;
        let limit = match self.heard {
            None => {
                let patience = ctx.memory.round_trip.patience(timing);
                self.limits_from + timing.unheard_limit.max(patience)
            }
            Some(heard) => {
                // A slow BMC may need twice as long for the next answer as for the last ones.
                let longer = ctx.memory.round_trip.wait(timing) * 2 + timing.stalled_after / 2;
                let stalled = timing.stalled_after.max(longer);
                heard + stalled
            }
        };
        // From `began`: counted anew for each probe and for IPMI 1.5, a log-in once took 110 s.
        limit.min(self.began + timing.handshake_limit_heard)
    }

    /// What passed while our process stood still does not count.
    pub(super) fn handle_absence(&mut self, gap: std::time::Duration) {
        self.began += gap;
        self.limits_from += gap;
        self.heard = self.heard.map(|at| at + gap);
        self.tell_at = self.tell_at.map(|at| at + gap);
    }

    /// Whether another attempt may be made after silence.
    pub(super) fn may_restart(&self, ctx: &Context<'_>) -> bool {
        let timing = &ctx.settings.timing;
        let attempts = if self.heard.is_some() {
            timing.handshake_attempts_heard
        } else {
            timing.handshake_attempts
        };
        self.attempts < attempts && ctx.now < self.limit(ctx) && self.finds_room(ctx)
    }

    /// Whether the BMC has room for another session of ours before this handshake is given up.
    fn finds_room(&self, ctx: &Context<'_>) -> bool {
        let ledger = &ctx.memory.ledger;
        // Another attempt gives the present session up, which the BMC may then still have.
        let leaves = match &self.step {
            Step::Rakp4(proof) => proof.link.is_some(),
            Step::Privilege(_) => true,
            _ => false,
        };
        let room = ledger.room_after(usize::from(leaves), ctx.now);
        room.is_none_or(|at| at < self.limit(ctx))
    }

    /// What silence amounts to.
    pub(super) fn silence(&self, ctx: &Context<'_>) -> OpenError {
        // A refusal of this step says more than the silence after it.
        if let Some((step, status)) = self.refused
            && step == self.step.name()
        {
            return OpenError::Refused { step, status };
        }
        let over = ctx.now - self.began;
        if let (Step::Rakp4(_) | Step::Privilege(_), Some(why)) = (&self.step, self.unusable) {
            let step = set_session_privilege::Request::NAME;
            return OpenError::Unusable { step, why };
        }
        match self.heard {
            None => OpenError::Silent { over },
            Some(_) => OpenError::Stalled {
                step: self.step.name(),
                attempts: self.attempts,
                over,
            },
        }
    }

    /// Begins the handshake again after silence, or gives up.
    pub(super) fn restart(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        if self.may_restart(ctx) && !self.is_doubtful(ctx) {
            self.attempts += 1;
            ctx.memory.statistics.handshakes += 1;
            self.leave_log_in(ctx);
            return self.open_session(ctx);
        }
        self.silent_to_the_end(ctx)
    }

    /// Whether the BMC said that it has no IPMI 2.0. It is tried all the same, once.
    pub(super) fn is_doubtful(&self, ctx: &Context<'_>) -> bool {
        let offers = ctx.memory.capabilities;
        offers.is_some_and(|offers| !offers.v20()) && !self.quirks.has(Quirk::IgnoreCapabilities)
    }

    /// Gives up after silence.
    pub(super) fn silent_to_the_end(self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        // A BMC that answered nothing at all would be as silent to 1.5.
        if may_fall_back(ctx) && self.heard.is_some() {
            return self.fall_back(ctx);
        }
        let error = match self.is_doubtful(ctx) {
            true => OpenError::NoProtocol("the BMC says that it has no IPMI 2.0".into()),
            false => self.silence(ctx),
        };
        // A BMC that fell silent is asked anew what it has.
        ctx.memory.capabilities = None;
        self.fail(error, ctx)
    }

    /// IPMI v2.0 did not work out: v1.5 gets the time of a handshake of its own.
    pub(super) fn fall_back(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        self.farewell(ctx);
        self.evidence
            .push("IPMI 2.0 did not work, fell back to IPMI 1.5".into());
        self.limits_from = ctx.now;
        self.heard = self.heard.map(|_| ctx.now);
        self.attempts = 1;
        self.freshen();
        self.login(ctx)
    }

    // Get Channel Authentication Capabilities.

    pub(super) fn ask_capabilities(
        mut self: Box<Self>,
        extended: bool,
        ctx: &mut Context<'_>,
    ) -> Progress {
        self.step = Step::Capabilities { extended };
        self.copies.clear();
        self.send_question(extended, ctx);
        self.copies.note(0, ctx.now);
        self.await_answer(ctx);
        Progress::Going(self)
    }

    /// Each copy has a number of its own, so that its answer shows how long it took.
    pub(super) fn send_question(&mut self, extended: bool, ctx: &mut Context<'_>) {
        let sequence = match self.questions.last() {
            None => ctx.entropy.below(64) as u8,
            Some((last, _)) => (last + 1) & 0x3F,
        };
        self.questions.push((sequence, ctx.now));
        let body = question(extended, ctx.settings.privilege, sequence);
        self.push(&body, ctx);
    }

    /// No answer yet: again, and after four copies without it, for some BMCs never answer.
    fn tick_capabilities(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let Step::Capabilities { extended } = self.step else {
            return Progress::Going(self);
        };
        if ctx.now >= self.limit(ctx) {
            return self.silent_to_the_end(ctx);
        }
        if self.copies.len() >= QUESTIONS {
            self.fresh = matches!(ctx.settings.protocol, Protocol::V15(_));
            return self.after_capabilities(ctx);
        }
        self.send_question(extended, ctx);
        self.copies.note(0, ctx.now);
        self.await_answer(ctx);
        Progress::Going(self)
    }

    /// An answer outside of sessions: about capabilities or cipher suites, or of a v1.5 log-in.
    pub(super) fn handle_outside(self: Box<Self>, body: &[u8], ctx: &mut Context<'_>) -> Progress {
        if let Step::Login(_) = self.step {
            return self.handle_login(body, ctx);
        }
        let Some(response) = outside_response(body, self.checksums()) else {
            return self.dropped(Dropped::Malformed, ctx);
        };
        match self.step {
            Step::Advice(_) => self.handle_advice(response, ctx),
            _ => self.handle_capabilities(response, ctx),
        }
    }

    /// An answer to one of our questions: whenever it comes, the BMC is there, and so slow.
    fn handle_capabilities(
        mut self: Box<Self>,
        response: message::Response,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let asked = |(sequence, _): &(u8, Instant)| *sequence == response.sequence;
        let place = self.questions.iter().position(asked);
        let Some(place) = place.filter(|_| is_answer::<capabilities::Request>(&response)) else {
            return self.dropped(Dropped::Stale, ctx);
        };
        let (_, sent_at) = self.questions.remove(place);
        self.heard(Some(sent_at), ctx);
        ctx.memory.capabilities_ignored = false;
        if response.completion.is_ok() {
            ctx.memory.capabilities = capabilities::Response::decode(&response.data).ok();
        }
        match self.step {
            // Some v1.5 BMCs refuse the bit that asks for v2.0 data.
            Step::Capabilities { extended: true } if !response.completion.is_ok() => {
                self.ask_capabilities(false, ctx)
            }
            Step::Capabilities { .. } => self.after_capabilities(ctx),
            // The answer to an Open Session Request may be on its way for as long as this one was.
            Step::Open { .. } => {
                let expected = ctx.memory.round_trip.expected().unwrap_or_default();
                let due = self.copies.last_sent_at().map(|left| left + expected);
                self.deadline = due.unwrap_or(ctx.now).max(ctx.now);
                Progress::Going(self)
            }
            _ => {
                self.deadline = self.deadline.max(ctx.now);
                Progress::Going(self)
            }
        }
    }

    pub(super) fn checksums(&self) -> Checksums {
        // Some Supermicro X9 boards send wrong checksums (FreeIPMI's `nochecksumcheck`).
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
            Protocol::V20ThenV15 if no_v20 && believed && may_fall_back(ctx) => self.login(ctx),
            // 2.0 is tried even where it is denied: some boards set these bits wrongly (`authcap`).
            Protocol::V20 | Protocol::V20ThenV15 => self.open_session(ctx),
        }
    }
}

/// Get Channel Authentication Capabilities, outside of any session.
pub(super) fn question(extended: bool, privilege: PrivilegeLevel, sequence: u8) -> Vec<u8> {
    let request = capabilities::Request {
        extended,
        channel: THIS_CHANNEL,
        privilege,
    };
    let message = message::Request::to_bmc(
        capabilities::Request::NET_FN,
        0,
        capabilities::Request::NUMBER,
        sequence,
        request.encode(),
    )
    .encode();
    // §22.13: always in a v1.5 header, which BMCs of both versions read.
    session15::Packet::outside(&message).encode()
}

/// What an RMCP packet with IPMI in it carries.
fn ipmi_body(datagram: &[u8]) -> Option<&[u8]> {
    match rmcp::Packet::decode(datagram) {
        Ok(rmcp::Packet {
            class: Class::Ipmi,
            body,
            ..
        }) => Some(body),
        _ => None,
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

/// Whether IPMI 1.5 may follow: never where 2.0 worked, or impostors could choose the weaker.
pub(super) fn may_fall_back(ctx: &Context<'_>) -> bool {
    ctx.settings.protocol == Protocol::V20ThenV15 && !ctx.memory.had_v20
}

/// How many copies of the question for capabilities leave before the handshake goes on without.
const QUESTIONS: usize = 4;
