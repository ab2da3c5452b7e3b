//! The commands of one order, and what becomes of their answers.
//!
//! Driven by `events`, which hands in each answer, and by `queue`, which sends the next command
//! when its turn has come.

use super::event_log::{Clear, Walk};
use super::translate::{kind, parts, reading};
use super::vocabulary::{Order, Reading, Refusal, RefusalKind, Repeat, Report};
use crate::ipmi::CompletionCode;
use crate::ipmi::command::{Command, send_message};
use crate::session::{Bridge, Request, Resend};
use std::collections::VecDeque;
use std::time::Duration;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Script {
    order: Order,
    plan: Plan,
}

#[derive(Debug)]
enum Plan {
    /// Commands that are known beforehand.
    Fixed {
        now: Part,
        rest: VecDeque<Part>,
        /// What was answered so far, by command; `None` where it was refused.
        answers: Vec<Option<Vec<u8>>>,
    },
    Walk(Box<Walk>),
    Clear(Clear),
}

/// One command of an order.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) request: Request,
    pub(super) need: Need,
}

/// What a refusal of a command means for its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// The order is refused.
    Always,
    /// The order goes on without.
    Optional,
    /// The order is refused; the command is not sent where one before it was answered.
    Otherwise,
}

/// What follows an answer.
#[derive(Debug)]
pub(super) enum Step {
    /// The next command, [`Script::request`], after a pause.
    Next {
        /// How long the BMC is left alone before.
        pause: Duration,
    },
    /// The BMC was too busy, and the same command may be sent again.
    Busy,
    /// The order has its report.
    Done(Report),
}

/// What follows an answer to an order of many commands.
#[derive(Debug)]
pub(super) enum Turn {
    /// Ask on, after a pause.
    Ask(Duration),
    /// The order is done.
    Done(Reading),
    /// The order is refused, as the completion code says.
    Refused,
    /// The order failed, for this reason.
    Failed(String),
}

impl Script {
    /// The commands of `order`, of which the first is to be sent now.
    pub(super) fn begin(order: &Order) -> Self {
        let plan = match order {
            Order::ReadEventLog(limit) => Plan::Walk(Box::new(Walk::new(*limit))),
            Order::ClearEventLog => Plan::Clear(Clear::new()),
            order => {
                let mut rest = VecDeque::from(parts(order));
                Plan::Fixed {
                    now: rest.pop_front().expect("every order has a first command"),
                    rest,
                    answers: Vec::new(),
                }
            }
        };
        Self {
            order: order.clone(),
            plan,
        }
    }

    /// The command that is to be sent now, or was.
    pub(super) fn request(&self) -> Request {
        match &self.plan {
            Plan::Fixed { now, .. } => now.request.clone(),
            Plan::Walk(walk) => walk.request(),
            Plan::Clear(clear) => clear.request(),
        }
    }

    /// What an order that is ended early has brought so far, where that is of use.
    pub(super) fn so_far(&mut self, why: &str) -> Option<Reading> {
        match &mut self.plan {
            Plan::Walk(walk) => walk.so_far(why),
            Plan::Fixed { .. } | Plan::Clear(_) => None,
        }
    }

    /// Takes the answer to the command under way.
    pub(super) fn handle(&mut self, completion: CompletionCode, data: &[u8]) -> Step {
        // After "busy" a pulse may have been carried out: its task looks first (rule 2).
        if self.order.repeat() == Repeat::Harmless && self.passes(completion) {
            return Step::Busy;
        }
        let turn = match &mut self.plan {
            Plan::Walk(walk) => walk.take(completion, data),
            Plan::Clear(clear) => clear.take(completion, data),
            Plan::Fixed { now, rest, answers } => {
                if !completion.is_ok() && now.need != Need::Optional {
                    return Step::Done(self.refused(completion));
                }
                answers.push(completion.is_ok().then(|| data.to_vec()));
                let answered = answers.iter().any(Option::is_some);
                // A BMC that has answered is not asked for what would only take the answer's place.
                rest.retain(|part| part.need != Need::Otherwise || !answered);
                match rest.pop_front() {
                    Some(next) => {
                        *now = next;
                        Turn::Ask(Duration::ZERO)
                    }
                    None => match reading(&self.order, answers) {
                        Ok(reading) => Turn::Done(reading),
                        Err(why) => Turn::Failed(why),
                    },
                }
            }
        };
        match turn {
            Turn::Ask(pause) => Step::Next { pause },
            Turn::Done(reading) => Step::Done(Report::Accepted(reading)),
            Turn::Refused => Step::Done(self.refused(completion)),
            Turn::Failed(text) => Step::Done(failed(text)),
        }
    }

    /// What is told of a command that the BMC was too busy for again and again.
    pub(super) fn given_up(&mut self, completion: CompletionCode) -> Report {
        let why = completion.words();
        match self.so_far(why) {
            Some(reading) => Report::Accepted(reading),
            None => self.refused(completion),
        }
    }

    /// The report of a refusal of the command under way.
    fn refused(&self, completion: CompletionCode) -> Report {
        let request = self.request();
        // §22.7: these codes are the BMC's, about the way, and not the controller's.
        let on_the_way = request.bridge != Bridge::None && (0x81..=0x83).contains(&completion.0);
        let (net_fn, command) = match on_the_way {
            true => (send_message::Request::NET_FN, send_message::Request::NUMBER),
            false => (request.net_fn, request.command),
        };
        let text = completion.words_for(net_fn, command).to_owned();
        Report::Refused(Refusal {
            code: completion.0,
            kind: kind(completion),
            text,
            unanswered: 0,
        })
    }

    /// Whether the same command may well be taken a moment later.
    fn passes(&self, completion: CompletionCode) -> bool {
        let request = self.request();
        kind(completion) == RefusalKind::Busy || completion.is_erasing(request.net_fn)
    }
}

/// The answer is there, and what it says is no success.
fn failed(text: String) -> Report {
    Report::Refused(Refusal {
        code: 0,
        kind: RefusalKind::Failed,
        text,
        unanswered: 0,
    })
}

/// A harmless command.
pub(super) fn command<C: Command>(command: &C) -> Request {
    Request::of(command, Resend::Allowed, READ_PATIENCE)
}

/// How long one session waits for the answer to a harmless command before it is not trusted any
/// more.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
