//! The messages of a handshake again and again until they are answered, and when that is over.
//!
//! A message goes again after [`Timing::resend_floor`], four times, then after twice as long each;
//! after the round trip where that is longer. A BMC may take each copy of an Open Session Request
//! for another session, so that they are counted: one that was not answered is one half-open
//! session for [`HALF_OPEN`].
//!
//! [`Timing::resend_floor`]: super::settings::Timing::resend_floor

use super::handshake::{Context, Earlier, Handshake, Progress, Step, Verdict};
use super::ledger::HALF_OPEN;
use super::quirk::Quirk;
use super::vocabulary::OpenError;
use crate::ipmi::open_session;
use crate::ipmi::payload::PayloadType;
use crate::ipmi::rakp::Rakp1;
use crate::ipmi::{Status, Wire, session20};
use crate::time::Instant;
use std::time::Duration;

/// An error without our session's number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rumour {
    pub(super) status: Status,
    /// Whether it has the tag of a copy (ipmi_sim's have), which one of 256 that are sent at random
    /// has as well. Others have no number of ours at all (OpenBMC's).
    pub(super) tagged: bool,
}

/// The copies of the message under way.
#[derive(Default)]
pub(super) struct Copies {
    /// Their tags, and when they left.
    sent: Vec<(u8, Instant)>,
    /// An error that anybody could send, so that it is only believed when nothing better came.
    pub(super) rumour: Option<Rumour>,
}

impl Copies {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn note(&mut self, tag: u8, at: Instant) {
        self.sent.push((tag, at));
    }

    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn has(&self, tag: u8) -> bool {
        self.sent.iter().any(|(sent, _)| *sent == tag)
    }

    pub(super) fn last_sent_at(&self) -> Option<Instant> {
        self.sent.last().map(|(_, at)| *at)
    }

    /// When the copy left that an answer with this tag is for. Tag 0 is no copy's, so that it is
    /// only known where there is but one.
    pub(super) fn sent_at(&self, tag: u8) -> Option<Instant> {
        match &self.sent[..] {
            [(_, only)] => Some(*only),
            all => all.iter().find(|(sent, _)| *sent == tag).map(|(_, at)| *at),
        }
    }
}

/// Whose a reply is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// The reply carries our session's number.
    Ours,
    /// The reply carries the tag of a copy, and no session's number.
    Tagged,
    /// The reply carries neither the tag of a copy nor a session's number.
    Nobodys,
    /// The reply carries another session's number, or another tag.
    Others,
}

impl Handshake {
    /// How long the copy that was sent last is waited for.
    pub(super) fn wait(&self, ctx: &Context<'_>) -> Duration {
        let timing = &ctx.settings.timing;
        let doubled = (self.copies.len() as u32)
            .saturating_sub(QUICK_COPIES)
            .min(8);
        let expected = ctx.memory.round_trip.expected().unwrap_or_default();
        (timing.resend_floor * 2u32.pow(doubled)).max(expected)
    }

    /// The answer to the copy that has just left is waited for.
    pub(super) fn await_answer(&mut self, ctx: &Context<'_>) {
        self.deadline = (ctx.now + self.wait(ctx)).min(self.limit(ctx));
    }

    /// Whether the BMC is known to need more than a second for an answer, or has not answered for
    /// as long.
    fn is_slow(&self, ctx: &Context<'_>) -> bool {
        match self.heard {
            None => !self.questions.is_empty(),
            Some(_) => {
                let smoothed = ctx.memory.round_trip.smoothed();
                smoothed.is_some_and(|smoothed| smoothed > Duration::from_secs(1))
            }
        }
    }

    pub(super) fn whose(&self, tag: u8, session_id: Option<u32>) -> Whose {
        match session_id {
            // OpenBMC answers errors with tag 0 and session id 0, ipmi_sim without an id.
            None | Some(0) if self.copies.has(tag) => Whose::Tagged,
            None | Some(0) if tag == 0 => Whose::Nobodys,
            id if id == self.console_id() && (tag == 0 || self.copies.has(tag)) => Whose::Ours,
            _ => Whose::Others,
        }
    }

    /// The error without our session's number: with the tag of a copy once that has had its time,
    /// else once two have.
    pub(super) fn believed_rumour(&mut self) -> Option<Status> {
        let copies = self.copies.len();
        self.believe_if(|rumour| copies > 1 || rumour.tagged)
    }

    /// The error without our session's number, when nothing better can come any more.
    pub(super) fn last_rumour(&mut self) -> Option<Status> {
        self.believe_if(|_| true)
    }

    fn believe_if(&mut self, when: impl Fn(&Rumour) -> bool) -> Option<Status> {
        let believed = self.copies.rumour.take_if(|rumour| when(rumour))?;
        self.hearsay |= !believed.tagged;
        Some(believed.status)
    }

    /// Leaves a log-in for the next one, which gets new numbers and a port of its own.
    pub(super) fn leave_log_in(&mut self, ctx: &mut Context<'_>) {
        self.farewell(ctx);
        self.fresh = true;
        if let Step::Open { suite, console_id } = self.step {
            // Its answer may still come, and the BMC has a session for it then.
            self.earlier.push(Earlier {
                suite,
                console_id,
                copies: std::mem::take(&mut self.copies),
            });
        }
        self.copies.clear();
    }

    // Open Session Request.

    /// The next copy, or what follows when there were enough.
    pub(super) fn tick_open(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let now = ctx.now;
        if now >= self.limit(ctx) {
            return self.silent_to_the_end(ctx);
        }
        if let Some(status) = self.believed_rumour() {
            return self.suite_refused(status, ctx);
        }
        let slow = self.is_slow(ctx);
        let expected = ctx.memory.round_trip.expected().unwrap_or_default();
        let ledger = &mut ctx.memory.ledger;
        // A request may be under way for a round trip, and opens a session when it arrives.
        ledger.expire(HALF_OPEN.max(expected), now);
        if let Some(room_at) = ledger.room_at(now) {
            // Rule 10: a third session of ours could take the last place (Cisco's IMC has four).
            if room_at >= self.limit(ctx) {
                return self.silent_to_the_end(ctx);
            }
            self.deadline = room_at;
            self.waits_for_room = true;
            return Progress::Going(self);
        }
        self.waits_for_room = false;
        let most = match slow || ledger.known(now) > 0 {
            true => MOST_SLOW,
            false => MOST,
        };
        if self.heard.is_none() {
            let known = ctx.memory.capabilities.is_some() || ctx.memory.capabilities_ignored;
            if !known || self.copies.len() >= most {
                return self.knock(ctx);
            }
        }
        if self.copies.len() >= most {
            return self.suite_silent(ctx);
        }
        if let (unanswered, Some(first_ends)) = ctx.memory.ledger.unanswered()
            // Each of them may have made a half-open session, which the BMC keeps for a while.
            && unanswered >= most
        {
            self.deadline = first_ends.max(now + self.wait(ctx));
            return Progress::Going(self);
        }
        self.send_open(ctx);
        self.await_answer(ctx);
        Progress::Going(self)
    }

    /// Nobody was heard yet: the question goes on being asked, with two Open Session Requests
    /// beside it in all, for BMCs that never answer the question. The late answer to either is
    /// taken.
    fn knock(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let last = self.copies.last_sent_at();
        let overdue = last.is_none_or(|last| last + BLIND_APART <= ctx.now);
        if self.blind < MOST_SLOW as u32 || overdue && self.asks_in_vain(ctx) {
            self.blind += 1;
            self.send_open(ctx);
        }
        if !self.quirks.has(Quirk::NoCapabilities) {
            self.send_question(true, ctx);
        }
        let wait =
            ctx.settings.timing.resend_floor * 2u32.pow(1 + self.blind.min(MOST_SLOW as u32));
        self.deadline = (ctx.now + wait.min(KNOCKS_APART)).min(self.limit(ctx));
        Progress::Going(self)
    }

    /// Whether the BMC is one that never answers the question, so that nothing but a session shows
    /// that it is back.
    fn asks_in_vain(&self, ctx: &Context<'_>) -> bool {
        ctx.memory.capabilities_ignored || self.quirks.has(Quirk::NoCapabilities)
    }

    fn send_open(&mut self, ctx: &mut Context<'_>) {
        let Step::Open { suite, console_id } = self.step else {
            return;
        };
        // §13.17: 0 asks for the highest level that the user may have.
        let privilege = if self.quirks.has(Quirk::OpenPrivilegeHighest) {
            0
        } else {
            ctx.settings.privilege.bits()
        };
        let tag = self.next_tag();
        let request = open_session::Request {
            tag,
            privilege,
            console_id,
            algorithms: suite.algorithms(),
        };
        ctx.memory.ledger.asks(ctx.now);
        ctx.memory.statistics.opens += 1;
        self.send_setup(PayloadType::OpenSessionRequest, tag, &request.encode(), ctx);
    }

    /// The BMC is there and says nothing to this suite: the next one.
    fn suite_silent(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        if self.is_doubtful(ctx) {
            return self.silent_to_the_end(ctx);
        }
        self.leave_log_in(ctx);
        if let Some(suite) = self.plan.pop_front() {
            self.evidence.push(format!("suite {}: no answer", suite.id));
            self.strike(suite.id, Verdict::Silent, ctx);
        }
        self.open_session(ctx)
    }

    /// All suites had their turn: those that were met with silence get another one, for packets get
    /// lost.
    pub(super) fn round_again(&mut self, ctx: &mut Context<'_>) -> bool {
        let silent = |verdict: &Verdict| matches!(verdict, Verdict::Silent);
        if !self.may_restart(ctx) || !self.verdicts.iter().any(|(_, verdict)| silent(verdict)) {
            return false;
        }
        self.attempts += 1;
        ctx.memory.statistics.handshakes += 1;
        let again = self.verdicts.extract_if(.., |(_, verdict)| silent(verdict));
        let suites: Vec<_> = again.filter_map(|(id, _)| id.supported().ok()).collect();
        self.plan.extend(suites);
        true
    }

    // RAKP 1.

    pub(super) fn tick_rakp1(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        if ctx.now >= self.limit(ctx) {
            return self.silent_to_the_end(ctx);
        }
        if let Some(status) = self.believed_rumour() {
            return self.rakp_failed(status, "RAKP 2", ctx);
        }
        let most = if self.is_slow(ctx) {
            MOST
        } else {
            RAKP1_COPIES
        };
        if self.copies.len() >= most
            || self
                .refused
                .is_some_and(|(step, _)| step == self.step.name())
        {
            return self.restart(ctx);
        }
        self.send_rakp1(ctx);
        Progress::Going(self)
    }

    pub(super) fn send_rakp1(&mut self, ctx: &mut Context<'_>) {
        let tag = self.next_tag();
        let Step::Rakp2(transcript) = &self.step else {
            return;
        };
        let rakp1 = Rakp1 {
            tag,
            bmc_id: transcript.bmc_id,
            console_random: transcript.console_random,
            role: transcript.role,
            name: transcript.name.clone(),
            padded: self.quirks.has(Quirk::UserField16),
        };
        self.send_setup(PayloadType::Rakp1, tag, &rakp1.encode(), ctx);
        self.await_answer(ctx);
    }

    pub(super) fn send_setup(
        &mut self,
        payload_type: PayloadType,
        tag: u8,
        payload: &[u8],
        ctx: &mut Context<'_>,
    ) {
        self.copies.note(tag, ctx.now);
        let body = session20::Header::outside(payload_type).encode(payload);
        self.push(&body, ctx);
    }

    /// What the suites that were tried amount to, where none of them led to a session.
    pub(super) fn worst_failure(&mut self) -> Option<OpenError> {
        // The lowest is told: credentials first, because a person can mend them.
        let rank = |error: &OpenError| match error {
            OpenError::WrongPassword { .. } => 0,
            OpenError::UnknownUser { .. } => 1,
            OpenError::NoPrivilege { .. } => 2,
            OpenError::Unsigned(_)
            | OpenError::WrongKey { .. }
            | OpenError::Refused { .. }
            | OpenError::RefusedCommand { .. }
            | OpenError::SessionsFull(_)
            | OpenError::NoProtocol(_)
            | OpenError::NoCommonSuite { .. }
            | OpenError::Silent { .. }
            | OpenError::Stalled { .. }
            | OpenError::Unreachable(_)
            | OpenError::Unusable { .. }
            | OpenError::SessionZero
            | OpenError::Settings(_) => 3,
            OpenError::Downgrade { .. } => 4,
        };
        let failures = self
            .verdicts
            .extract_if(.., |(_, verdict)| matches!(verdict, Verdict::Failed(_)));
        failures
            .filter_map(|(_, verdict)| match verdict {
                Verdict::Failed(error) => Some(error),
                _ => None,
            })
            .min_by_key(rank)
    }
}

/// How many Open Session Requests may be unanswered at once.
const MOST: usize = 4;
/// How many may be unanswered at a BMC that answers later than after a second, or has a session of
/// ours.
const MOST_SLOW: usize = 2;
/// How long it takes at most until a BMC that says nothing is asked again: what costs it no session
/// may be asked often, so that one that comes back is found at once.
const KNOCKS_APART: Duration = Duration::from_secs(2);
/// How long after the last one a BMC that nothing else can be asked of gets another Open Session
/// Request.
const BLIND_APART: Duration = Duration::from_secs(10);
/// Copies after which the waits are doubled.
// At 400 ms all the time, as ipmipower does it, a dead BMC got 27 packets in 20 s.
const QUICK_COPIES: u32 = 4;
/// Copies of RAKP 1: as many as fit the time for which BMCs keep half-open sessions.
const RAKP1_COPIES: usize = 6;
