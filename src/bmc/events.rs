//! What the session has to say, taken in: opened or not, answers, silence.
//!
//! Driven by the rest of `bmc` after each input to the session. Here an order becomes its report.

use super::report::{is_doubtful, not_sent, silence, trouble_of};
use super::settings::GRACE;
use super::translate::{Script, Step};
use super::upkeep::jittered;
use super::vocabulary::{self, Delivery, Order, Report, Trouble};
use super::{Bmc, Current};
use crate::entropy::Entropy;
use crate::ipmi::CompletionCode;
use crate::session::{Event, OpenError, RequestId};
use crate::time::Instant;

impl Bmc {
    /// Takes in what the session has to say.
    pub(super) fn drain(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Opened(opened) => {
                    self.used_at = now;
                    self.answered_at = self.address();
                    self.forget_presence();
                    self.keepalive_after = jittered(self.settings.keepalive, entropy);
                    self.breaker.succeeded();
                    self.knowledge.suite = opened.suite().map(|suite| suite.0);
                    let configured = self.settings.login.quirks;
                    let found = opened.quirks.iter().filter(|quirk| !configured.has(*quirk));
                    self.knowledge.quirks = found.map(|quirk| quirk.name().to_owned()).collect();
                    for evidence in opened.evidence {
                        if !self.knowledge.evidence.contains(&evidence) {
                            self.knowledge.evidence.push(evidence);
                        }
                    }
                }
                Event::OpenFailed(error) => self.open_failed(&error, now, entropy),
                Event::Answered {
                    id,
                    completion,
                    data,
                    ..
                } => {
                    self.breaker.succeeded();
                    if self.inquires(id) {
                        self.inquiry_answered(completion, &data);
                        continue;
                    }
                    self.used_at = now;
                    if self.keepalive == Some(id) {
                        self.keepalive = None;
                    } else {
                        self.answered(id, completion, &data, now);
                    }
                }
                Event::Unanswered { id, .. } if self.inquires(id) => self.inquiry_unanswered(),
                Event::Unanswered {
                    id,
                    datagrams,
                    reason,
                } => {
                    self.unanswered(id, datagrams, &reason.to_string(), now);
                }
                Event::Lost(reason) => {
                    self.note(now, format!("session lost: {reason}"));
                    self.lose_session();
                }
                Event::Closed => {}
            }
        }
    }

    fn open_failed(&mut self, error: &OpenError, now: Instant, entropy: &mut dyn Entropy) {
        if let OpenError::NoCommonSuite { offered, .. } = error {
            self.note_listed(offered);
        }
        let trouble = match is_doubtful(error) {
            true => self.breaker.doubtful(),
            false => trouble_of(error),
        };
        let mut text = error.to_string();
        if let Some(address) = self.address()
            && self.other_addresses().next().is_some()
        {
            text = format!("{text} at {}", address.ip());
        }
        if self.turn_to_next_address(trouble) {
            self.note(now, text);
            return;
        }
        if matches!(trouble, Trouble::Silent | Trouble::Unreachable) && now < self.grace_until {
            // A BMC that went deaf with its host: its callers hear of it, and the next one tries again at once.
            self.note(now, text.clone());
            self.refuse_queue(trouble, &text);
            return;
        }
        self.give_up(trouble, &text, now);
        // With several addresses the next one has its turn instead.
        if trouble == Trouble::Silent && self.other_addresses().next().is_none() {
            self.look_for_presence(now, entropy);
        }
    }

    /// Everybody who waits hears why there is no session, and the breaker takes note.
    pub(super) fn give_up(&mut self, trouble: Trouble, text: &str, now: Instant) {
        self.note(now, text.to_owned());
        self.breaker.failed(trouble, text, self.wanted, now);
        self.refuse_queue(trouble, text);
    }

    pub(super) fn refuse_queue(&mut self, trouble: Trouble, text: &str) {
        if let Some(current) = self.current.take() {
            self.session.withdraw(current.request);
            let report = if current.sent {
                silence(Delivery::Unknown, trouble, text)
            } else {
                not_sent(trouble, text)
            };
            self.report(current.id, report);
        }
        for waiting in std::mem::take(&mut self.queue) {
            let delivery = if waiting.sent {
                Delivery::Unknown
            } else {
                Delivery::NotSent
            };
            self.report(waiting.id, silence(delivery, trouble, text));
        }
    }

    fn answered(&mut self, id: RequestId, completion: CompletionCode, data: &[u8], now: Instant) {
        let Some(mut current) = self.current.take_if(|current| current.request == id) else {
            return;
        };
        match current.script.handle(completion, data) {
            Step::Next(request) => {
                current.request = self.session.request(request, now);
                self.current = Some(current);
            }
            Step::Again if !current.unspecified => {
                current.unspecified = true;
                let (script, request) = Script::begin(&current.order);
                current.script = script;
                current.request = self.session.request(request, now);
                self.current = Some(current);
            }
            Step::Again => {
                let report = current.script.refused(completion);
                self.finish(current, report, now);
            }
            Step::Done(report) => self.finish(current, report, now),
        }
    }

    fn finish(&mut self, current: Current, report: Report, now: Instant) {
        if current.order.changes_power() && matches!(report, Report::Accepted(_)) {
            self.grace_until = now + GRACE;
        }
        if let Report::Refused(refusal) = &report {
            self.note(
                now,
                format!("{} refused: {}", current.order.name(), refusal.text),
            );
            let name = current.order.name().to_owned();
            // One raw command that is refused says nothing of the next.
            if refusal.kind == vocabulary::RefusalKind::NotSupported
                && !matches!(current.order, Order::Raw { .. })
                && !self.knowledge.unsupported.contains(&name)
            {
                self.knowledge.unsupported.push(name);
            }
        } else {
            self.knowledge
                .unsupported
                .retain(|name| name != current.order.name());
        }
        self.report(current.id, report);
    }

    /// A command got no answer: the session is not trusted any more; what is harmless is tried once more in a new one.
    fn unanswered(&mut self, id: RequestId, datagrams: u32, reason: &str, now: Instant) {
        if self.keepalive == Some(id) {
            self.note(now, format!("keep-alive: {reason}"));
            self.lose_session();
            return;
        }
        let Some(current) = self.current.take_if(|current| current.request == id) else {
            return;
        };
        self.lose_session();
        let sent = current.sent || datagrams > 0;
        self.note(now, format!("{}: {reason}", current.order.name()));
        let harmless = current.order.repeat() == vocabulary::Repeat::Harmless;
        if current.order.changes_power() && sent {
            self.grace_until = now + GRACE;
        }
        if (harmless || !sent) && current.renewals == 0 && !self.stopping {
            // Once only: an order that is begun anew twice would outlive every promise about time.
            self.queue.push_front(Current { sent, ..current }.renewed());
            return;
        }
        let delivery = if sent {
            Delivery::Unknown
        } else {
            Delivery::NotSent
        };
        self.report(current.id, silence(delivery, Trouble::Silent, reason));
    }
}
