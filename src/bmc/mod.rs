//! One BMC: orders in, exactly one report each out (design, rule 10).
//!
//! Driven by `rack`: orders with [`Bmc::submit`], datagrams and the time with `handle_*`, then
//! every `poll_*` is drained. Keeps one session for all orders, opens it when an order waits and
//! closes it when none has for a while, paces commands, counts failed log-ins, and answers at once
//! for a BMC that was found dead a moment ago. Knows no nodes, tasks or journals; what is asked of
//! it here has been written down already.

mod address;
mod breaker;
mod doubt;
mod event_log;
mod events;
pub mod identity;
mod inquiry;
mod knowledge;
mod level;
pub mod lock;
mod pace;
mod presence;
mod privilege;
mod queue;
mod refusals;
mod report;
mod script;
pub mod settings;
mod texts;
mod trace;
mod translate;
mod upkeep;
pub mod vocabulary;

use crate::entropy::Entropy;
use crate::model::{Chassis, Delivery, Trouble};
use crate::session::{self, Fifo, Need, RequestId, Session, Undeliverable, Way};
use crate::time::Instant;
use address::Resolution;
pub use breaker::LogIns;
use breaker::{Breaker, Limits};
use doubt::Doubt;
use inquiry::Inquiry;
pub use knowledge::{Knowledge, Listed, RefusedLogIns};
use knowledge::{log_ins_of, recalled};
pub use lock::Lock;
pub use pace::Lowered;
use pace::Pace;
pub use presence::Answer as PresenceAnswer;
use presence::Presence;
pub use queue::Purpose;
use queue::{Current, Job, Overdue, Queue};
use refusals::Refusals;
use report::{not_sent, unknown_fate};
use settings::QUEUE_LIMIT;
pub use settings::{Care, Settings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
pub use texts::Texts;
pub use trace::Shown;
use trace::Trace;
use vocabulary::{Order, OrderId, Report};

/// The number of a local UDP port: the shell binds one socket per number, shared by all BMCs that
/// use it.
///
/// Every handshake takes the next number, so that no two sessions with one BMC share a port: some
/// BMCs answer a second session from a known port inside the first.
pub type LocalPort = u64;

/// A datagram for the network.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub to: SocketAddr,
    /// From which of our ports.
    pub port: LocalPort,
    pub datagram: Vec<u8>,
    /// The order whose command it carries; `None` for session upkeep.
    pub order: Option<OrderId>,
    /// Whether an operation waits for it: it goes before all others.
    pub urgent: bool,
    /// Whether its command changes the machine, or its power.
    pub changes: bool,
}

/// One BMC and the way to it.
pub struct Bmc {
    settings: Settings,
    address: Resolution,
    /// Where the last session was opened.
    answered_at: Option<SocketAddr>,
    session: Session,
    port: LocalPort,
    /// The ports of this handshake's earlier log-ins, at which late answers may come.
    earlier_ports: Vec<LocalPort>,
    /// What tells the BMC of a session that was given up: to where that was.
    partings: Fifo<Outgoing>,
    /// From where answers to this handshake come that are not taken, because they should come from
    /// the BMC's address.
    elsewhere: Option<SocketAddr>,
    /// Whether those who waited were told that there is no session yet.
    told: bool,
    /// Whether a session came about after that.
    reached_late: bool,
    queue: Queue,
    current: Option<Box<Current>>,
    overdue: Fifo<Overdue>,
    /// The question for the session's level that is under way.
    level_request: Option<RequestId>,
    /// Whether it is in doubt who is there.
    doubt: Doubt,
    /// Whether it is to be told that the BMC is another one.
    alarmed: bool,
    /// The last answer to Get Chassis Status, and when it came.
    chassis_status: Option<(Instant, Vec<u8>)>,
    /// Sessions of others at the BMC when these were counted last, where it says.
    strangers: Option<u8>,
    /// Why the BMC is taken for another node's, too.
    shared: Option<String>,
    lock: Lock,
    trace: Trace,
    /// Whether the name is to be looked up again, whenever that was done last.
    address_stale: bool,
    /// A keep-alive that is under way, and nobody's order; when it was asked for.
    keepalive: Option<(RequestId, Instant)>,
    inquiry: Inquiry,
    refusals: Refusals,
    presence: Presence,
    reports: Fifo<(OrderId, Report)>,
    pace: Pace,
    /// When the log-in may begin that waits for its pace.
    log_in_at: Option<Instant>,
    breaker: Breaker,
    /// An operation runs on the node: keep the session.
    wanted: bool,
    /// When the session was last used, or opened.
    used_at: Instant,
    /// How long this session may stand unused until the next keep-alive (jittered).
    keepalive_after: Duration,
    /// Until when silence is expected.
    grace_until: Instant,
    knowledge: Arc<Knowledge>,
    failures: Fifo<(Instant, Arc<str>)>,
    /// How many of them came since [`Bmc::own_failures`] was asked.
    own_failures: u8,
    /// Why nothing is asked of it any more, where that is so.
    quits: Option<&'static str>,
}

impl Bmc {
    /// A BMC that nothing was asked of yet.
    pub fn new(settings: Settings, knowledge: Arc<Knowledge>, now: Instant) -> Self {
        Self {
            address: Resolution::of(&settings),
            answered_at: None,
            session: recalled(&settings, &knowledge),
            port: 0,
            earlier_ports: Vec::new(),
            partings: Fifo::new(),
            elsewhere: None,
            told: false,
            reached_late: false,
            queue: Queue::default(),
            current: None,
            overdue: Fifo::new(),
            level_request: None,
            doubt: Doubt::default(),
            alarmed: false,
            chassis_status: None,
            strangers: None,
            shared: None,
            lock: Lock::Ours,
            trace: Trace::new(now),
            address_stale: false,
            keepalive: None,
            inquiry: Inquiry::default(),
            refusals: Refusals::default(),
            presence: Presence::default(),
            reports: Fifo::new(),
            pace: Pace::new(
                settings.care.orders_per_second,
                settings.care.burst,
                knowledge.pace,
                now,
            ),
            log_in_at: None,
            breaker: Breaker::new(Limits::of(&settings.care))
                .recalled(log_ins_of(&settings, &knowledge), now),
            wanted: false,
            used_at: now,
            keepalive_after: settings.care.keepalive,
            grace_until: now,
            knowledge,
            failures: Fifo::with_room(FAILURES_AT_ONCE),
            own_failures: 0,
            quits: None,
            settings,
        }
    }

    /// Asks for `order`; its report will carry `id`. What acts goes first, then what a task wants
    /// to know.
    pub fn submit(
        &mut self,
        id: OrderId,
        order: Order,
        purpose: Purpose,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        // A task has one order at a time: what crowds are readings, which must not keep it out.
        let of_task = matches!(purpose, Purpose::Change | Purpose::Task);
        let crowded = self.queue.len() >= QUEUE_LIMIT && !of_task;
        let crowded = crowded.then_some("too many orders wait for this BMC");
        if let Some(text) = self.quits.or(crowded) {
            self.report(id, not_sent(Trouble::Busy, text));
            return;
        }
        self.queue.push(Job::new(id, order, purpose, now));
        self.advance(now, entropy);
    }

    /// Takes an order back and says whether the machine can have received it: when this returns, no
    /// further datagram of it will be handed out, and no report comes.
    pub fn withdraw(&mut self, id: OrderId, now: Instant, entropy: &mut dyn Entropy) -> Delivery {
        let mut sent = self.queue.take(id).is_some_and(|job| job.sent);
        // A report that waits would come after the word that the order was taken back.
        self.reports.retain(|(reported, _)| *reported != id);
        if self.current.as_ref().is_some_and(|c| c.job.id == id) {
            sent |= self.take_current_back(now).is_some_and(|job| job.sent);
        }
        self.advance(now, entropy);
        if sent {
            Delivery::Unknown
        } else {
            Delivery::NotSent
        }
    }

    /// Tells whether an operation runs on the node, so that its session is kept.
    pub fn set_wanted(&mut self, wanted: bool, now: Instant) {
        if self.wanted != wanted {
            self.wanted = wanted;
            if !wanted {
                // The operation used the session until now: the rest before its closing begins.
                self.used_at = self.used_at.max(now);
            }
        }
    }

    /// The daemon stood still for `gap` until now: how long answers took meanwhile says nothing of
    /// the BMC.
    pub fn handle_absence(&mut self, gap: Duration, now: Instant) {
        self.session.handle_absence(gap, now);
        self.pace.handle_absence(now);
    }

    /// Forgets failed log-ins and an open breaker: an operator says that it is worth a try.
    pub fn retry(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.breaker.reset();
        self.address_stale = true;
        let knowledge = self.learn();
        knowledge.log_ins = None;
        // Who retries may have changed anything at the BMC: the log-in begins as it is configured.
        knowledge.suite = None;
        knowledge.quirks.clear();
        self.pace.forget();
        self.session.unlearn();
        self.refusals.forget();
        self.forget_listed();
        self.advance(now, entropy);
    }

    /// Takes new settings. Where the log-in differs, the session is closed and failed log-ins are
    /// forgotten.
    pub fn replace_settings(
        &mut self,
        settings: Settings,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let old = &self.settings;
        let moved = (&settings.host, settings.port) != (&old.host, old.port);
        // Another address may be another BMC, which has counted none of our refused log-ins.
        let other_login = moved || settings.login != old.login;
        let limits = Limits::of(&settings.care);
        // What else changed is no reason for another log-in with a password that was refused (rule
        // 10).
        if other_login || limits != Limits::of(&old.care) {
            self.breaker = Breaker::new(limits);
            self.learn().log_ins = None;
        }
        if moved {
            // In this order: Close Session has to go to where the session is.
            self.lose_session(now, entropy);
            self.session.moves();
            self.forget_listed();
            self.forget_presence();
            self.lock = Lock::Ours;
            self.address = Resolution::of(&settings);
        }
        if other_login {
            self.session
                .replace_settings(settings.login.clone(), now, entropy);
        }
        self.pace
            .configure(settings.care.orders_per_second, settings.care.burst, now);
        self.settings = settings;
        self.drain(now, entropy);
        self.advance(now, entropy);
    }

    /// A datagram came from the BMC's address to one of our ports.
    pub fn handle_datagram(
        &mut self,
        port: LocalPort,
        datagram: &[u8],
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        // Read with the keys from before it is taken in, because it may end the session.
        let clear = self.session.clear(datagram, Way::In);
        self.session.take_dropped();
        let pong = self.presence_heard(datagram, now);
        if !pong && port == self.port {
            self.session.handle_datagram(datagram, now, entropy);
        } else if !pong && self.earlier_ports.contains(&port) {
            self.session.handle_late_datagram(datagram, now, entropy);
        }
        self.note_came(port, clear, now);
        // What comes to an older port belongs to a handshake that is over.
        if pong || !self.has_port(port) {
            return;
        }
        self.drain(now, entropy);
        self.advance(now, entropy);
    }

    /// A datagram came to one of our ports from where no BMC is known to be.
    pub fn handle_stranger(&mut self, from: SocketAddr, port: LocalPort, datagram: &[u8]) {
        let opening = matches!(self.session.state(), session::State::Opening { .. });
        // It is said and not taken: anybody may answer from elsewhere.
        if opening && self.has_port(port) && self.session.is_meant(datagram) {
            self.elsewhere = Some(from);
        }
    }

    /// The network said of our port number `port` that what left there did not arrive at the BMC.
    /// It counts for the port in use only.
    pub fn handle_unreachable(
        &mut self,
        port: LocalPort,
        why: Undeliverable,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        self.note_unreachable(port, now);
        // What the network says of an older port is about a log-in that was left.
        if port != self.port {
            return;
        }
        self.session.handle_unreachable(why, now, entropy);
        self.drain(now, entropy);
        self.advance(now, entropy);
    }

    /// The time has come that [`Bmc::poll_timeout`] named.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.presence_tick(now);
        self.session.handle_timeout(now, entropy);
        self.drain(now, entropy);
        self.end_late(now);
        self.advance(now, entropy);
    }

    /// The next datagram to hand to the network. Asking for it is handing it over.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        // First, so that the BMC has a free session before the next one is asked for.
        if let Some(parting) = self.partings.pop_front() {
            return Some(parting);
        }
        let to = self.address()?;
        if let Some(datagram) = self.presence_ping() {
            return Some(Outgoing {
                to,
                port: self.port,
                datagram,
                order: None,
                urgent: false,
                changes: false,
            });
        }
        let transmit = self.session.poll_transmit()?;
        if transmit.fresh_port {
            if matches!(self.session.state(), session::State::Opening { .. }) {
                // Answers to the log-in that was left may come late, and they come to its port.
                self.earlier_ports.push(self.port);
            }
            self.port += 1;
        }
        let (order, changes) = match &mut self.current {
            Some(current) if transmit.request == Some(current.request) => {
                // Only here: what was not handed out cannot have arrived (rule 2).
                current.job.sent = true;
                current.job.unanswered = current.job.unanswered.saturating_add(1);
                let order = &current.job.order;
                let changes = order.changes_power() || order.changes_machine();
                (Some(current.job.id), changes)
            }
            _ => (None, false),
        };
        Some(Outgoing {
            to,
            port: self.port,
            datagram: transmit.datagram,
            order,
            urgent: self.wanted,
            changes,
        })
    }

    /// Whether a report waits to be taken.
    pub fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// The next report. An order that is sent once may have another one after that it was
    /// unanswered: that it was accepted after all.
    pub fn poll_report(&mut self) -> Option<(OrderId, Report)> {
        self.reports.pop_front()
    }

    /// When [`Bmc::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let upkeep = (self.is_open() && self.is_idle()).then(|| self.upkeep_at());
        let curious = [self.inquiry_due(), self.presence_due(), self.log_in_at];
        [self.session.poll_timeout(), self.next_turn(), upkeep]
            .into_iter()
            .chain(curious)
            .chain([self.first_late()])
            .flatten()
            .min()
    }

    /// The numbers of the local ports in use: the session's, and those at which late answers to a
    /// handshake may come.
    pub fn local_ports(&self) -> impl Iterator<Item = LocalPort> {
        self.earlier_ports.iter().copied().chain([self.port])
    }

    /// Whether one of our ports is in use.
    pub fn has_port(&self, port: LocalPort) -> bool {
        self.local_ports().any(|used| used == port)
    }

    /// Whether a session came about after those who waited for it were told that there is none:
    /// what they wanted to know can be read now. Asking resets it.
    pub fn take_reached_late(&mut self) -> bool {
        std::mem::take(&mut self.reached_late)
    }

    /// The session, for explanations.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What stands between us and the BMC now, with the figures.
    pub fn trouble(&self, now: Instant) -> Option<(Trouble, String)> {
        let wrong = self.wrong_bmc().map(|text| (Trouble::WrongBmc, text));
        let found = match self.is_trying() {
            // Without the time of a next attempt: this one goes on.
            true => self.breaker.in_the_way(),
            false => self.breaker.trouble(now),
        };
        let full = || {
            let text = self.waits_for_room(Need::Reading, now)?;
            // These sessions count because the BMC answered nothing when they were given up.
            Some((Trouble::Silent, text))
        };
        found.or(wrong).or_else(full)
    }

    /// Whether those who waited were told that there is no session yet, while the log-in goes on:
    /// there is no next attempt to wait for.
    fn is_trying(&self) -> bool {
        self.told && matches!(self.session.state(), session::State::Opening { .. })
    }

    /// When the next attempt to reach it is allowed, where the last one failed.
    pub fn next_attempt(&self, now: Instant) -> Option<Instant> {
        let room = self.session.room_at(Need::Reading, now);
        let room = room.filter(|_| self.is_closed());
        self.breaker.next_attempt().max(room)
    }

    /// The last failures, newest first.
    pub fn failures(&self) -> impl Iterator<Item = (Instant, &str)> {
        self.failures.iter().rev().map(|(at, text)| (*at, &**text))
    }

    /// How often it is asked, and why, for explanations.
    pub fn pace_in_words(&self) -> String {
        self.pace.in_words()
    }

    /// How many sessions of others the BMC had when they were counted last, where it says.
    pub fn strangers(&self) -> Option<u8> {
        self.strangers
    }

    /// What the last answer about the chassis said, and when it came: each reading of the power
    /// brings one.
    pub fn chassis(&self) -> Option<(Instant, Chassis)> {
        let (at, status) = self.chassis_status.as_ref()?;
        Some((*at, translate::chassis_status(status)?))
    }

    /// How many orders wait or are under way.
    pub fn backlog(&self) -> usize {
        self.queue.len() + usize::from(self.current.is_some())
    }

    /// Whether a session is open.
    pub fn is_open(&self) -> bool {
        matches!(self.session.state(), session::State::Open { .. })
    }

    /// How many datagrams came from it by now, where it is being logged in to and nobody was told
    /// of that as late.
    pub fn log_in_heard(&self) -> Option<u64> {
        let opening = matches!(self.session.state(), session::State::Opening { .. });
        (opening && !self.told).then(|| self.session.received())
    }

    /// Whether there is neither a session nor a handshake.
    pub fn is_closed(&self) -> bool {
        matches!(self.session.state(), session::State::Closed)
    }

    fn is_idle(&self) -> bool {
        let asks = self.keepalive.is_some() || self.level_request.is_some() || self.is_doubting();
        self.current.is_none() && self.queue.is_empty() && !asks
    }

    fn report(&mut self, id: OrderId, report: Report) {
        self.reports.push_back((id, report));
    }

    /// The current order goes back to the head of the queue where that is safe, else it is reported
    /// as unanswered.
    fn requeue_current(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        let job = current.job;
        // The next session is no reason to send a pulse twice (rule 2).
        if job.sent && job.order.repeat() != vocabulary::Repeat::Harmless {
            self.report(
                job.id,
                unknown_fate("the BMC's address changed before it answered"),
            );
        } else {
            self.queue.put_back(Job {
                renewals: job.renewals + 1,
                ..job
            });
        }
    }

    /// The session is gone, or not trusted any more: nothing of it is waited for, and the order
    /// that waited behind an unanswered keep-alive waits for the next session.
    fn lose_session(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.cancel_inquiry();
        // `give_up` tells of no request, so that the question would be under way for ever.
        self.session.give_up(now, entropy);
        // Close Session goes to where the session was, even if another address follows.
        if let Some(to) = self.address() {
            let port = self.port;
            let told = std::iter::from_fn(|| self.session.poll_transmit());
            self.partings.extend(told.map(|transmit| Outgoing {
                to,
                port,
                datagram: transmit.datagram,
                order: None,
                urgent: false,
                changes: false,
            }));
        }
        self.earlier_ports.clear();
        self.keepalive = None;
        self.level_request = None;
        if self.is_doubting() {
            self.doubt = Doubt::Open;
        }
        // Late answers come under the keys of the session that is gone.
        self.overdue.clear();
        self.requeue_current();
    }

    /// Takes the next step that is due: upkeep, opening, the next command.
    fn advance(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.log_in_at = None;
        self.upkeep(now, entropy);
        self.inquire(now);
        self.give_way(now);
        // `learn` makes a copy of all that is known, so that only a change is worth it.
        if self.knowledge.pace != self.pace.lowered() {
            self.learn().pace = self.pace.lowered();
        }
        if self.current.is_some() || self.queue.is_empty() {
            return;
        }
        if self.is_open() {
            self.begin_next(now);
        // Rule 10: a BMC that was found dead a moment ago costs the next caller no wait.
        } else if let Some(verdict) = self.breaker.verdict(now) {
            let trying = self.breaker.in_the_way().filter(|_| self.is_trying());
            let (trouble, text) = trying.unwrap_or(verdict);
            self.refuse_queue(trouble, &text);
        } else {
            let need = self.need();
            // An order may open a session where a reading has to wait for room.
            self.session.needed_for(need, now);
            match self.waits_for_room(need, now) {
                Some(text) => self.refuse_queue(Trouble::SessionsFull, &text),
                None => self.open(now, entropy),
            }
        }
    }

    fn note(&mut self, now: Instant, text: String) {
        if self.failures.len() == FAILURES_KEPT {
            self.failures.pop_front();
        }
        // People read this later, when nothing is being tried any more.
        self.failures
            .push_back((now, vocabulary::lasting(&text).into()));
        self.own_failures = self.own_failures.saturating_add(1);
    }

    /// The texts of the failures since the last time, for who keeps each text once for many BMCs.
    fn own_failures(&mut self) -> impl Iterator<Item = &mut Arc<str>> {
        let new = usize::from(std::mem::take(&mut self.own_failures));
        let failures = self.failures.iter_mut().rev().take(new);
        failures.map(|(_, text)| text)
    }
}

const FAILURES_KEPT: usize = 16;
/// Room for what a restart of the BMC makes: a rack whose BMCs are all restarted takes no more memory
/// than before.
const FAILURES_AT_ONCE: usize = 4;
