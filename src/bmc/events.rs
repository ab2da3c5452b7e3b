//! What the session has to say, taken in: opened or not, answers, silence.
//!
//! Driven by the rest of `bmc` after each input to the session. Here an order becomes its report.

use super::queue::{Job, OVERDUE, Overdue};
use super::report::{Failure, failure, is_doubtful, silence, trouble_of};
use super::script::Step;
use super::settings::GRACE;
use super::translate::kind;
use super::upkeep::jittered;
use super::vocabulary::{self, RefusalKind, Report, STILL_TRYING};
use super::{Bmc, translate};
use crate::entropy::Entropy;
use crate::ipmi::CompletionCode;
use crate::model::{Delivery, Trouble};
use crate::session::{Event, Fifo, OpenError, Opened, RequestId};
use crate::time::Instant;

impl Bmc {
    /// Takes in what the session has to say.
    pub(super) fn drain(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Opened(opened) => self.opened(opened, now, entropy),
                Event::StillOpening(error) => self.still_opening(&error, now, entropy),
                Event::OpenFailed(error) => {
                    self.earlier_ports = Vec::new();
                    self.open_failed(&error, now, entropy);
                }
                Event::Answered {
                    id,
                    completion,
                    data,
                    ..
                } => self.take_answer(id, completion, &data, now),
                Event::AnsweredLate {
                    id,
                    completion,
                    data,
                } => {
                    self.breaker.succeeded();
                    self.used_at = now;
                    if let Some(late) = self.take_overdue(id) {
                        self.answered_late(late, completion, &data, now);
                    }
                }
                Event::Unanswered { id, .. } if self.inquires(id) => self.inquiry_unanswered(),
                Event::Unanswered { id, .. } if self.asks_level(id) => self.level_unanswered(now),
                Event::Unanswered { id, .. } if self.asks_identity(id) => {
                    self.identity_unknown(now)
                }
                Event::Unanswered {
                    id,
                    datagrams,
                    reason,
                } => self.unanswered(id, datagrams, &reason.to_string(), now),
                Event::Lost(reason) => {
                    self.note(now, format!("session lost: {reason}"));
                    self.fell_over("the session was lost", now);
                    self.lose_session(now, entropy);
                }
                Event::Closed => {}
            }
        }
    }

    /// An answer goes to who asked.
    fn take_answer(
        &mut self,
        id: RequestId,
        completion: CompletionCode,
        data: &[u8],
        now: Instant,
    ) {
        self.breaker.succeeded();
        if self.inquires(id) {
            self.inquiry_answered(completion, data, now);
            return;
        }
        // What keeps a session is no use of it.
        if self.wanted || !self.keeps_alive(id) {
            self.used_at = now;
        }
        if self.asks_identity(id) {
            self.identity_answered(completion, data, now);
        } else if self.asks_level(id) {
            self.level_answered(completion, data, now);
        } else if self.keeps_alive(id) {
            self.kept_alive(completion, data, now);
        } else {
            self.answered(id, completion, data, now);
        }
    }

    /// There is a session.
    fn opened(&mut self, opened: Opened, now: Instant, entropy: &mut dyn Entropy) {
        self.used_at = now;
        self.earlier_ports = Vec::new();
        self.elsewhere = None;
        self.reached_late |= std::mem::take(&mut self.told);
        self.note_answered();
        self.forget_presence();
        self.keepalive_after = jittered(self.settings.care.keepalive, entropy);
        self.breaker.succeeded();
        self.note_guid(opened.guid, now);
        let configured = self.settings.login.quirks;
        let knowledge = self.learn();
        knowledge.log_ins = None;
        // A session opened, so that the credentials are right and no refusal counts.
        knowledge.suite = opened.suite().map(|suite| suite.0);
        // Configured quirks stand in the configuration, and end there, too.
        let found = opened.quirks.iter().filter(|quirk| !configured.has(*quirk));
        knowledge.quirks = found.map(|quirk| quirk.name().to_owned()).collect();
        for evidence in opened.evidence {
            if !knowledge.evidence.contains(&evidence) {
                knowledge.evidence.push(evidence);
            }
        }
    }

    /// There is no session yet: those who wait hear of it, and it goes on being opened, for late
    /// answers count.
    fn still_opening(&mut self, error: &OpenError, now: Instant, entropy: &mut dyn Entropy) {
        let silent = failure(error) == Failure::Silent;
        if silent && self.tries_elsewhere_first() {
            // The name has other addresses, at which somebody may answer.
            self.session.give_up(now, entropy);
            self.earlier_ports = Vec::new();
            return self.open_failed(error, now, entropy);
        }
        self.told = true;
        let text = format!("{STILL_TRYING}{}", self.with_elsewhere(error));
        if now < self.grace_until {
            self.note(now, text.clone());
            self.refuse_queue(Trouble::Silent, &text);
            return;
        }
        self.fail_open(Trouble::Silent, &text, now);
        if silent {
            self.look_for_presence(now, entropy);
        }
    }

    /// The words of an error, with where answers came from that were not taken.
    fn with_elsewhere(&self, error: &OpenError) -> String {
        match (self.elsewhere, failure(error)) {
            (Some(from), Failure::Silent | Failure::Stalled) => format!(
                "{error}; answers come from {from} instead, and are not taken (a BMC with two addresses, or address \
                 translation: configure the address that answers)"
            ),
            (Some(_), Failure::Unsigned | Failure::Refused) | (None, _) => error.to_string(),
        }
    }

    fn open_failed(&mut self, error: &OpenError, now: Instant, entropy: &mut dyn Entropy) {
        if let OpenError::NoCommonSuite { offered, .. } = error {
            self.note_listed(offered);
        }
        let told = std::mem::take(&mut self.told);
        let trouble = match is_doubtful(error) {
            true => self.breaker.doubtful(),
            false => trouble_of(error),
        };
        // A BMC that was away may come back with other firmware.
        if trouble.is_silence() {
            self.refusals.forget();
        }
        let mut text = self.with_elsewhere(error);
        if let Some(address) = self.address()
            && self.other_addresses().next().is_some()
        {
            text = format!("{text} at {}", address.ip());
        }
        if self.turn_to_next_address(trouble) {
            self.note(now, text);
            return;
        }
        let silent = trouble == Trouble::Silent;
        if silent && told && self.breaker.verdict(now).is_some() {
            // The silence was told before; only that it is still tried is not true any more.
            self.note(now, text.clone());
            self.breaker.reword(&text);
            self.remark_presence();
            self.refuse_queue(trouble, &text);
            return;
        }
        if trouble.is_silence() && now < self.grace_until {
            // The BMC may have gone deaf with its host: callers hear of it, and the next one tries
            // again at once.
            self.note(now, text.clone());
            self.refuse_queue(trouble, &text);
            return;
        }
        // Before `give_up`, which would count a log-in that anybody may have refused in its name.
        if failure(error) == Failure::Unsigned {
            self.note(now, text.clone());
            self.breaker.heard_of(trouble, &text, self.wanted, now);
            self.refuse_queue(trouble, &text);
            return;
        }
        self.fail_open(trouble, &text, now);
        // With several addresses the next one is tried instead.
        if trouble == Trouble::Silent && self.other_addresses().next().is_none() {
            self.look_for_presence(now, entropy);
        }
    }

    /// Everybody who waits hears why there is no session, and the breaker takes note.
    pub(super) fn fail_open(&mut self, trouble: Trouble, text: &str, now: Instant) {
        self.note(now, text.to_owned());
        self.breaker.failed(trouble, text, self.wanted, now);
        self.note_log_ins();
        // The BMC may have another address by now.
        self.address_stale |= trouble.is_silence();
        self.refuse_queue(trouble, text);
    }

    pub(super) fn refuse_queue(&mut self, trouble: Trouble, text: &str) {
        let mut jobs = self.queue.take_all();
        if let Some(current) = self.current.take() {
            // Its report comes now, so that no datagram of it may leave later.
            self.session.withdraw(current.request);
            jobs.insert(0, current.job);
        }
        self.refuse(jobs, trouble, text);
    }

    /// These orders end, and each hears whether something of it may have arrived.
    pub(super) fn refuse(&mut self, jobs: Fifo<Job>, trouble: Trouble, text: &str) {
        for job in jobs {
            let delivery = match job.sent {
                true => Delivery::Unknown,
                false => Delivery::NotSent,
            };
            self.report(job.id, silence(delivery, trouble, text));
        }
    }

    fn answered(&mut self, id: RequestId, completion: CompletionCode, data: &[u8], now: Instant) {
        let Some(current) = self.current.take_if(|current| current.request == id) else {
            return;
        };
        // A BMC that says so is asked more slowly, whatever became of the order.
        let busy = kind(completion) == RefusalKind::Busy;
        self.pace.answered(now - current.asked_at, busy, now);
        let mut job = current.job;
        job.unanswered = job.unanswered.saturating_sub(1);
        if completion == CompletionCode::INSUFFICIENT_PRIVILEGE {
            match self.level_lost(job, now) {
                Some(back) => job = back,
                None => return,
            }
        }
        if completion.is_ok() && translate::is_chassis_status(&job.script.request()) {
            self.chassis_status = Some((now, data.to_vec()));
        }
        match job.script.handle(completion, data) {
            Step::Next { pause } => {
                self.queue.put_back(Job {
                    unanswered: 0,
                    renewals: 0,
                    setbacks: 0,
                    not_before: now + pause,
                    ..job
                });
            }
            Step::Busy => match job.next_try(completion) {
                Some(pause) => self.queue.put_back(Job {
                    setbacks: job.setbacks + 1,
                    not_before: now + pause,
                    ..job
                }),
                None => {
                    let report = job.script.given_up(completion);
                    self.finish(&job, report, now);
                }
            },
            Step::Done(report) => self.finish(&job, report, now),
        }
    }

    fn finish(&mut self, current: &Job, mut report: Report, now: Instant) {
        // Some BMCs and network cards go down with the host: silence is no death for a while.
        if current.order.changes_power() && report.is_accepted() {
            self.grace_until = now + GRACE;
        }
        // Its silence comes from the restart and says nothing of the pace.
        if current.order.restarts_bmc() {
            self.pace.forget_burst();
        }
        if let Report::Refused(refusal) = &mut report {
            refusal.unanswered = current.unanswered;
            self.note(
                now,
                format!("{} refused: {}", current.order.name(), refusal.text),
            );
        }
        self.weigh(current, &mut report, now);
        self.report(current.id, report);
    }

    /// A command got no answer: what is harmless is tried once more. That is no proof against the
    /// session, which says itself when it is lost.
    fn unanswered(&mut self, id: RequestId, datagrams: u32, reason: &str, now: Instant) {
        if self.keeps_alive(id) {
            self.note(now, format!("keep-alive: {reason}"));
            self.keepalive = None;
            return;
        }
        let Some(current) = self.current.take_if(|current| current.request == id) else {
            return;
        };
        self.used_at = now;
        let mut job = current.job;
        job.sent |= datagrams > 0;
        self.note(now, format!("{}: {reason}", job.order.name()));
        let harmless = job.order.repeat() == vocabulary::Repeat::Harmless;
        if harmless && job.sent {
            self.fell_over("silence", now);
        }
        // The order may have been carried out, and then the BMC may be silent because of it.
        if job.acts() && job.sent {
            self.grace_until = now + GRACE;
        }
        if (harmless || !job.sent) && job.renewals == 0 && self.quits.is_none() {
            // Once only: an order that is begun anew twice would outlive every promise about time.
            job.renewals += 1;
            self.queue.put_back(job);
            return;
        }
        let delivery = match job.sent {
            true => Delivery::Unknown,
            false => Delivery::NotSent,
        };
        self.report(job.id, silence(delivery, Trouble::Silent, reason));
        if job.sent && !harmless {
            if self.overdue.len() == OVERDUE {
                self.overdue.pop_front();
            }
            self.overdue.push_back(Overdue { job, request: id });
        }
    }

    fn take_overdue(&mut self, request: RequestId) -> Option<Job> {
        let at = self
            .overdue
            .iter()
            .position(|late| late.request == request)?;
        self.overdue.remove(at).map(|late| late.job)
    }

    /// An order was answered after it had been reported unanswered: where it was accepted, that is
    /// worth a word. A late refusal leaves open what another copy of it did, which a network may
    /// have made.
    fn answered_late(
        &mut self,
        mut job: Job,
        completion: CompletionCode,
        data: &[u8],
        now: Instant,
    ) {
        let Step::Done(report) = job.script.handle(completion, data) else {
            return;
        };
        self.note(
            now,
            format!("{}: answered late: {report}", job.order.name()),
        );
        if report.is_accepted() {
            self.finish(&job, report, now);
        }
    }
}
