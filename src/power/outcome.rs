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

    /// This one reading stands for a later one, too, that says the same.
    pub(super) fn stand_for(&mut self, later: &mut Self) {
        self.id = later.id;
        self.times = self.times.saturating_add(later.times);
        self.handed |= later.handed;
        self.answer = later.answer.take();
    }
}

/// Leaves readings of the power state out that say nothing, between so many of the first orders and
/// of the last: those that were not answered, and those that say what the one before said. How many
/// of the former there were; the others are counted where they go.
///
/// Of thousands of tasks a hundred orders each are more memory than the daemon may have: each
/// suspension withdraws a reading, and each resumption asks for one.
pub(super) fn leave_out_readings(sent: &mut Vec<Sent>, ends: usize) -> usize {
    let behind = sent.len().saturating_sub(ends);
    if behind <= ends {
        return 0;
    }
    let (behind, between) = (sent.split_off(behind), sent.split_off(ends));
    let mut gone = 0;
    for mut later in between {
        let reads = later.order == Order::ReadPower;
        let silent = matches!(later.answer, Some((_, Report::Unanswered(_))));
        match sent.last_mut() {
            _ if reads && silent => gone += 1,
            Some(before) if reads && later.says_the_same(before) => before.stand_for(&mut later),
            _ => sent.push(later),
        }
    }
    sent.extend(behind);
    gone
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bmc::vocabulary::Reading;
    use crate::model::Trouble;

    fn sent(number: u64, order: Order, report: Report) -> Sent {
        let at = Duration::from_secs(number);
        Sent {
            id: OrderId(number),
            order,
            at,
            handed: true,
            times: 1,
            answer: Some((at, report)),
        }
    }

    fn read(power: Power) -> Report {
        Report::Accepted(Reading::Power(power))
    }

    #[test]
    fn readings_that_say_nothing_new_are_left_out_and_what_acts_and_what_was_seen_stay() {
        let withdrawn = Report::Unanswered(Silence {
            delivery: Delivery::Unknown,
            trouble: Trouble::Withdrawn,
            text: "withdrawn".to_owned(),
        });
        // A task that is suspended and resumed, goes off for one look, and is asked off once more.
        let mut orders: Vec<Sent> = (0..100)
            .map(|number| match number {
                1 | 60 => sent(number, Order::SoftOff, Report::Accepted(Reading::Done)),
                50 => sent(number, Order::ReadPower, read(Power::Off)),
                _ if number % 2 == 0 => sent(number, Order::ReadPower, read(Power::On)),
                _ => sent(number, Order::ReadPower, withdrawn.clone()),
            })
            .collect();
        let (first, last) = (orders[..5].to_vec(), orders[95..].to_vec());
        let gone = leave_out_readings(&mut orders, 5);
        assert_eq!(
            (&orders[..4], &orders[orders.len() - 5..]),
            (&first[..4], &last[..])
        );
        let numbers: Vec<u64> = orders.iter().map(|sent| sent.at.as_secs()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 50, 52, 60, 62, 95, 96, 97, 98, 99]);
        let told: u32 = orders.iter().map(|sent| sent.times).sum();
        assert_eq!(told as usize + gone, 100);
        // The latest of those for which it stands.
        assert_eq!(orders[8].id, OrderId(94));
        assert_eq!(leave_out_readings(&mut orders, 5), 0);
        assert_eq!(orders.len(), 14);
    }
}
