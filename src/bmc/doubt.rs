//! A BMC that gave a GUID before and gives none any more: its firmware may have lost it for a
//! while, or another BMC is there, which never had one. Who made it decides (Get Device ID, §20.1),
//! and is asked before an order that changes power leaves.
//!
//! Driven by the rest of `bmc`. Two BMCs of one maker are not told apart: that the GUID is missing
//! is said, and no more is known.

use super::Bmc;
use super::queue::Job;
use super::report::silence;
use crate::ipmi::command::get_device_id;
use crate::ipmi::{CompletionCode, Wire};
use crate::model::{Identity, Trouble};
use crate::session::{Request, RequestId, Resend};
use crate::time::Instant;
use std::time::Duration;

/// What is in doubt.
#[derive(Debug, Default)]
pub(super) enum Doubt {
    #[default]
    None,
    /// It is asked who is there.
    Open,
    /// Open, and an order waits for the answer to this request.
    Asked(RequestId),
}

impl Bmc {
    /// A BMC was logged in to, and gave no GUID that says who it is.
    pub(super) fn doubt(&mut self) {
        let known = &self.knowledge.identity;
        // A GUID that never told anything cannot be missing.
        if known.guid.is_some() && !known.unstable && !known.changed {
            self.doubt = Doubt::Open;
            self.ask_maker_anew();
        }
    }

    /// Asks who made it where the next order changes the machine and that is in doubt. Whether it
    /// does so.
    pub(super) fn lacks_identity(&mut self, now: Instant) -> bool {
        let touches = self.queue.next(now).is_some_and(Job::touches);
        match self.doubt {
            Doubt::Asked(_) => return true,
            // A reading shows at worst another machine's state; an order would switch it (rule 12).
            Doubt::Open if touches && self.settings.care.identity == Identity::Strict => {}
            Doubt::Open | Doubt::None => return false,
        }
        self.cancel_inquiry();
        let request = Request::of(&get_device_id::Request, Resend::Allowed, PATIENCE);
        self.used_at = now;
        self.doubt = Doubt::Asked(self.session.request(request, now));
        true
    }

    /// Whether an order waits for the answer to the question.
    pub(super) fn is_doubting(&self) -> bool {
        matches!(self.doubt, Doubt::Asked(_))
    }

    /// Whether `request` is the question.
    pub(super) fn asks_identity(&self, request: RequestId) -> bool {
        matches!(self.doubt, Doubt::Asked(asked) if asked == request)
    }

    pub(super) fn identity_answered(
        &mut self,
        completion: CompletionCode,
        data: &[u8],
        now: Instant,
    ) {
        self.used_at = now;
        let answer = get_device_id::Response::decode(data).ok();
        match answer.filter(|_| completion.is_ok()) {
            Some(answer) => self.note_maker(answer.manufacturer, now),
            None => self.identity_unknown(now),
        }
    }

    /// The BMC does not say who made it: the orders that change the machine were not sent.
    pub(super) fn identity_unknown(&mut self, now: Instant) {
        self.used_at = now;
        // The next order asks again: the answer may only have been lost.
        self.doubt = Doubt::Open;
        let text =
            "it gives no GUID any more, and does not say who made it: perhaps it is another one";
        for job in self.queue.take_touching() {
            self.report(job.id, silence(job.delivery(), Trouble::Silent, text));
        }
    }

    /// The BMC said who made it, which settles a doubt.
    pub(super) fn settle_doubt(&mut self, maker: u32, now: Instant) {
        if matches!(std::mem::take(&mut self.doubt), Doubt::None) {
            return;
        }
        let at = self.address();
        let is_other = self.learn().identity.found_maker(maker, at);
        if is_other {
            self.tell_change(now);
        } else {
            let text = "it gives no GUID any more; its maker is the same as before: taken for the same BMC";
            self.note(now, text.to_owned());
        }
    }
}

/// How long the answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
