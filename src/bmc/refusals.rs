//! What a BMC says that it does not have, and when that is believed.
//!
//! Driven by the rest of `bmc`. A BMC that starts answers "invalid command" to what it carries out
//! a minute later, so one refusal says nothing. It is believed when the BMC said it again some
//! minutes later, each time with the word that it is available (Get Device ID, §20.1), and carried
//! other orders out between; never of an order that it carried out before. The belief ends with
//! silence (it may come back with other firmware), after a day, and with `rackbmc retry`. It is for
//! words and for tasks that wait: an order that somebody asks for is sent all the same.

use super::Bmc;
use super::queue::Job;
use super::vocabulary::{Order, RefusalKind, Report};
use crate::ipmi::command::get_device_id;
use crate::ipmi::{CompletionCode, Wire};
use crate::session::RequestId;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By the order's name.
    said: BTreeMap<&'static str, Said>,
    /// Orders that were refused just now: whether the BMC is available is being asked.
    doubted: Vec<&'static str>,
}

#[derive(Debug)]
struct Said {
    first: Instant,
    /// Whether another order was carried out since.
    others_work: bool,
    believed: Option<Instant>,
}

impl Refusals {
    /// Everything may be otherwise.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn believes(&self, name: &str, now: Instant) -> bool {
        let believed = self.said.get(name).and_then(|said| said.believed);
        believed.is_some_and(|at| now - at < LASTS)
    }

    fn accepted(&mut self, name: &'static str) {
        self.said.remove(name);
        self.said
            .values_mut()
            .for_each(|said| said.others_work = true);
    }

    /// What the BMC said of itself after it had refused something.
    fn checked(&mut self, available: bool, now: Instant) {
        for name in std::mem::take(&mut self.doubted) {
            // A BMC that starts refuses what it has, so that its word does not count at all.
            if !available {
                self.said.remove(name);
                continue;
            }
            let said = self.said.entry(name).or_insert(Said {
                first: now,
                others_work: false,
                believed: None,
            });
            if said.others_work && now - said.first >= APART {
                said.believed = Some(now);
            }
        }
    }
}

impl Bmc {
    /// Whether it is believed that the BMC does not have this.
    pub fn lacks(&self, order: &Order, now: Instant) -> bool {
        self.refusals.believes(order.name(), now)
    }

    /// The orders, by name, that it is believed not to have.
    pub fn lacking(&self, now: Instant) -> impl Iterator<Item = &'static str> + '_ {
        let names = self.refusals.said.keys().copied();
        names.filter(move |name| self.refusals.believes(name, now))
    }

    /// Takes note of an order's report, and takes from it what is not believed yet.
    pub(super) fn weigh(&mut self, job: &Job, report: &mut Report, now: Instant) {
        let name = job.order.name();
        match report {
            Report::Accepted(_) => {
                self.refusals.accepted(name);
                if job.acts() && !self.knowledge.carried_out.iter().any(|have| have == name) {
                    self.learn().carried_out.push(name.to_owned());
                }
            }
            // One raw command that is refused says nothing of the next.
            Report::Refused(refusal)
                if refusal.kind == RefusalKind::NotSupported && job.order.is_one_command() =>
            {
                if self.refusals.believes(name, now) {
                    return;
                }
                refusal.kind = RefusalKind::Doubted;
                let carried_out = &self.knowledge.carried_out;
                if !carried_out.iter().any(|have| have == name) {
                    self.refusals.doubted.push(name);
                    self.ask_whether_available(now);
                }
            }
            Report::Refused(_) | Report::Unanswered(_) => {}
        }
    }

    /// The question doubles as a keep-alive: one of the two is under way at most.
    fn ask_whether_available(&mut self, now: Instant) {
        if self.is_open() && self.keepalive.is_none() {
            self.keep_alive(now);
        }
    }

    /// Whether `request` is a keep-alive.
    pub(super) fn keeps_alive(&self, request: RequestId) -> bool {
        self.keepalive.is_some_and(|(asked, _)| asked == request)
    }

    /// The answer to a keep-alive, or to the question above.
    pub(super) fn kept_alive(&mut self, completion: CompletionCode, data: &[u8], now: Instant) {
        if let Some((_, asked_at)) = self.keepalive.take() {
            self.pace.answered(now - asked_at, false, now);
        }
        let answer = get_device_id::Response::decode(data).ok();
        if let Some(answer) = answer.as_ref().filter(|_| completion.is_ok()) {
            self.note_maker(answer.manufacturer, now);
        }
        let available = answer.is_some_and(|answer| completion.is_ok() && !answer.unavailable);
        self.refusals.checked(available, now);
    }
}

/// How far apart the two refusals are that make a belief.
const APART: Duration = Duration::from_secs(120);
/// How long it lasts.
const LASTS: Duration = Duration::from_secs(24 * 3600);
