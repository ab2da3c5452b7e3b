//! What a task remembers of its orders ([`Sent`]) and how it ended ([`Outcome`]).

use crate::bmc::vocabulary::{Order, OrderId, Refusal, Report, Silence};
use crate::model::{Delivery, Power, TaskState};
use std::fmt;
use std::time::Duration;

/// How a task ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// One of the ends of [`TaskState`].
    pub state: TaskState,
    /// The last power state that was read, where one was.
    pub power: Option<Power>,
    /// The power state before the first order that could change it.
    pub power_at_start: Option<Power>,
    /// What happened, in words: cause, step, code, what was sent when.
    pub text: String,
    /// Whether `power_state` shows `error` until the next sync.
    pub error: bool,
    /// Elapsed time since the request, waits and suspensions included.
    pub took: Duration,
}

/// An order of a task with its moment and its answer. Equal readings in a row are kept as one
/// (`times`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// The latest order that this stands for.
    pub id: OrderId,
    /// What was asked.
    pub order: Order,
    /// When it was first issued: time since the task began, suspensions included (so that the wall
    /// time of the beginning plus this is its wall time; see
    /// [`Saved::after_absence`](super::Saved::after_absence)).
    pub at: Duration,
    /// Whether it reached the network, or may have.
    pub handed: bool,
    /// How many equal readings with equal answers this stands for, at least 1.
    pub times: u32,
    /// The last answer and its moment since the task began, `None` while it is awaited.
    pub answer: Option<(Duration, Report)>,
}

impl Sent {
    /// How much memory the words of its answer take.
    pub fn text_bytes(&self) -> usize {
        match &self.answer {
            Some((_, Report::Unanswered(silence))) => silence.text.len(),
            Some((_, Report::Refused(refusal))) => refusal.text.len(),
            Some((_, Report::Accepted(_))) | None => 0,
        }
    }

    /// Whether it changes power and may have had its effect, or have it yet: handed over and not
    /// plainly refused, each datagram of it.
    pub fn may_have_acted(&self) -> bool {
        let refused = match &self.answer {
            Some((_, Report::Refused(refusal))) => {
                // Rule 12: of several datagrams one may be refused and another carried out.
                refusal.unanswered == 0 && !is_ambiguous(refusal)
            }
            Some((_, Report::Accepted(_) | Report::Unanswered(_))) | None => false,
        };
        self.order.changes_power() && self.handed && !refused
    }

    /// Whether this is a reading whose answer says the same as that of `other`.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        if self.order.changes_power() || self.order != other.order {
            return false;
        }
        match (&self.answer, &other.answer) {
            // The words of a silence name times and counts, which differ from look to look.
            (
                Some((_, Report::Unanswered(Silence { trouble: left, .. }))),
                Some((_, Report::Unanswered(Silence { trouble: right, .. }))),
            ) => left == right,
            (Some((_, left)), Some((_, right))) => left == right,
            _ => false,
        }
    }
}

/// `soft power off was sent at 0.2 s and accepted`
impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.order.name();
        if !self.handed {
            return write!(f, "{name} was not sent");
        }
        write!(f, "{name} was sent at {}", seconds(self.at))?;
        match &self.answer {
            None => write!(f, ", not answered yet"),
            Some((_, Report::Accepted(_))) => write!(f, " and accepted"),
            Some((_, report @ Report::Refused(refusal))) => match refusal.code {
                // The BMC took it, and its answer says something else than was asked for.
                0 => write!(f, " and answered: {}", refusal.text),
                _ => write!(f, " and {report}"),
            },
            Some((_, Report::Unanswered(silence))) => match silence.delivery {
                Delivery::NotSent => write!(f, ", but did not leave: {}", silence.text),
                Delivery::Unknown => write!(
                    f,
                    " and not answered (unknown whether it arrived): {}",
                    silence.text
                ),
            },
        }
    }
}

/// Completion codes that do not say whether the command was carried out (IPMI v2.0 table 5-2: C3h
/// timeout while processing, CEh no response could be provided, CFh duplicate of a request that was
/// accepted, FFh unspecified). For a level that does not matter; a pulse with such an answer may
/// have happened.
pub(super) fn is_ambiguous(refusal: &Refusal) -> bool {
    matches!(refusal.code, 0xC3 | 0xCE | 0xCF | 0xFF)
}

/// A duration as messages show it: `12.3 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
