//! The privilege level of the session: known, asked for again where it is too low, never too low
//! for the order that leaves.
//!
//! Driven by the rest of `bmc`. A level is refused for a moment by BMCs that start, and lost on the
//! way (a copy of RAKP 1 that the network made sets an OpenBMC session back): what was granted once
//! is no fact for the session's life.

use super::Bmc;
use super::queue::Job;
use super::report::silence;
use super::vocabulary::{Refusal, RefusalKind, Report};
use crate::ipmi::command::{Command, set_session_privilege};
use crate::ipmi::{CompletionCode, PrivilegeLevel, Wire};
use crate::model::{Delivery, Trouble};
use crate::session::{Quirk, Request, RequestId, Resend, State};
use crate::time::Instant;
use std::time::Duration;

/// What switches a machine (§28.3, appendix G: Chassis Control wants an operator).
const SWITCHES: PrivilegeLevel = PrivilegeLevel::Operator;
/// How long the answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Bmc {
    /// The level of the open session.
    fn level(&self) -> Option<PrivilegeLevel> {
        match self.session.state() {
            State::Open { privilege, .. } => Some(privilege),
            State::Closed | State::Opening { .. } | State::Closing => None,
        }
    }

    /// The level that was granted, for explanations.
    pub fn level_in_words(&self) -> String {
        match (self.level(), self.session.statistics().privilege) {
            (Some(level), _) => format!("{level} granted"),
            (None, Some(level)) => format!("{level} granted in the last session"),
            (None, None) => "not known yet: no session was opened".to_owned(),
        }
    }

    /// Asks for the level again where the next order needs more than the session has. Whether it
    /// does so.
    pub(super) fn lacks_level(&mut self, now: Instant) -> bool {
        if self.level_request.is_some() {
            return true;
        }
        let acts = self.queue.next(now).is_some_and(Job::acts);
        let enough = self.level().is_none_or(|level| level >= SWITCHES);
        if !acts || enough || self.settings.login.quirks.has(Quirk::NoSetPrivilege) {
            return false;
        }
        self.ask_level(now);
        true
    }

    /// The BMC refused an order for its level although it had granted enough: nothing was carried
    /// out, so that the order goes again, once, behind the question for the level. The order, where
    /// that is not worth it.
    pub(super) fn level_lost(&mut self, mut job: Job, now: Instant) -> Option<Job> {
        let granted = self.level().is_some_and(|level| level >= SWITCHES);
        // A raw command is one datagram, whatever the BMC says of it.
        let once = !job.acts() && job.order.repeat() == super::vocabulary::Repeat::Never;
        // A second D4h is about the user, and no question for the level changes that.
        if job.leveled || !granted || once || self.settings.login.quirks.has(Quirk::NoSetPrivilege)
        {
            return Some(job);
        }
        job.leveled = true;
        // D4h says that this datagram was not carried out; an earlier one may have been.
        job.sent = job.unanswered > 0;
        self.note(now, format!("{}: refused for its level", job.order.name()));
        self.queue.put_back(job);
        self.ask_level(now);
        None
    }

    fn ask_level(&mut self, now: Instant) {
        self.cancel_inquiry();
        let level = Some(self.settings.login.privilege);
        let request = Request::of(
            &set_session_privilege::Request { level },
            Resend::Allowed,
            PATIENCE,
        );
        self.used_at = now;
        self.level_request = Some(self.session.request(request, now));
    }

    /// Whether `request` is the question.
    pub(super) fn asks_level(&self, request: RequestId) -> bool {
        self.level_request == Some(request)
    }

    pub(super) fn level_answered(&mut self, completion: CompletionCode, data: &[u8], now: Instant) {
        self.level_request = None;
        self.used_at = now;
        let asked = self.settings.login.privilege;
        if completion.is_ok() {
            let answer = set_session_privilege::Response::decode(data).ok();
            let level = answer.and_then(|answer| answer.level).unwrap_or(asked);
            self.session.note_privilege(level);
            // The one in the answer counts: some BMCs say yes and grant less.
            if level < SWITCHES {
                self.refuse_for_level(completion, &format!("the BMC grants {level}"), now);
            }
            return;
        }
        let words = completion.words_for(
            set_session_privilege::Request::NET_FN,
            set_session_privilege::Request::NUMBER,
        );
        self.refuse_for_level(completion, &format!("{asked} was refused: {words}"), now);
    }

    /// No answer: the orders that need the level were not sent.
    pub(super) fn level_unanswered(&mut self, now: Instant) {
        self.level_request = None;
        self.used_at = now;
        let text = "no answer to Set Session Privilege Level, which has to come first";
        for job in self.queue.take_acting() {
            self.report(job.id, silence(job.delivery(), Trouble::Silent, text));
        }
    }

    /// The orders that need more fail, and none of them leaves.
    fn refuse_for_level(&mut self, completion: CompletionCode, why: &str, now: Instant) {
        let has = self
            .level()
            .map_or("none".to_owned(), |level| level.to_string());
        let text = format!("the session has level {has}, {SWITCHES} is needed, and {why}");
        self.note(now, text.clone());
        for job in self.queue.take_acting() {
            let report = match job.delivery() {
                Delivery::NotSent => Report::Refused(Refusal {
                    code: completion.0,
                    kind: RefusalKind::NotPermitted,
                    text: text.clone(),
                    unanswered: 0,
                }),
                // The order left in an earlier session, and had no answer.
                Delivery::Unknown => silence(Delivery::Unknown, Trouble::NoPrivilege, &text),
            };
            self.report(job.id, report);
        }
    }
}
