//! One BMC: orders in, exactly one report each out (design, rule 10).
//!
//! Driven by `rack`: orders with [`Bmc::submit`], datagrams and the time with `handle_*`, then every `poll_*` is drained.
//! Keeps one session for all orders, opens it when an order waits and closes it when none has for a while, paces
//! commands, counts failed log-ins, and answers at once for a BMC that was found dead a moment ago. Knows no nodes,
//! tasks or journals; what is asked of it here has been written down already.

mod breaker;
mod pace;
mod report;
pub mod settings;
mod translate;
pub mod vocabulary;

use crate::entropy::Entropy;
use crate::ipmi::SuiteId;
use crate::session::{self, Event, OpenError, Quirks, RequestId, Session, Withdrawn};
use crate::time::Instant;
use breaker::Breaker;
use pace::Pace;
use report::{not_sent, silence, trouble_of, unknown_fate};
pub use settings::Settings;
use settings::{GRACE, QUEUE_LIMIT};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use translate::{Script, Step};
use vocabulary::{Delivery, Order, OrderId, Report, Trouble};

/// The number of a local UDP port: the shell binds one socket per number, shared by all BMCs that use it.
///
/// Every handshake takes the next number, so that no two sessions with one BMC share a port: some BMCs answer a second
/// session from a known port inside the first.
pub type LocalPort = u64;

/// A datagram for the network.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub to: SocketAddr,
    /// From which of our ports.
    pub port: LocalPort,
    /// Its bytes.
    pub datagram: Vec<u8>,
    /// The order whose command it carries; `None` for session upkeep.
    pub order: Option<OrderId>,
}

/// One BMC and the way to it.
pub struct Bmc {
    settings: Settings,
    address: Resolution,
    session: Session,
    port: LocalPort,
    queue: VecDeque<Waiting>,
    current: Option<Current>,
    /// A keep-alive that is under way, and nobody's order.
    keepalive: Option<RequestId>,
    reports: VecDeque<(OrderId, Report)>,
    pace: Pace,
    breaker: Breaker,
    /// An operation runs on the node: keep the session.
    wanted: bool,
    /// When the session was last used, or opened.
    used_at: Instant,
    /// How long this session may stand unused until the next keep-alive (jittered).
    keepalive_after: Duration,
    /// Until when silence is expected.
    grace_until: Instant,
    knowledge: Knowledge,
    failures: VecDeque<(Instant, String)>,
    stopping: bool,
}

/// Where the BMC is.
#[derive(Clone, Debug)]
enum Resolution {
    /// Known, and since when; `None` for an address that was given as one.
    Known(SocketAddr, Option<Instant>),
    /// To be asked for.
    Wanted,
    /// Asked for.
    Asked,
    /// Not asked for at the moment.
    Unknown,
}

/// An order in the queue.
#[derive(Debug)]
struct Waiting {
    id: OrderId,
    order: Order,
    /// A datagram of it was handed to the network in an earlier session.
    sent: bool,
    /// How often it was begun anew in another session.
    renewals: u32,
}

/// The order under way.
#[derive(Debug)]
struct Current {
    id: OrderId,
    order: Order,
    script: Script,
    request: RequestId,
    /// Whether a datagram of any of its commands was handed to the network.
    sent: bool,
    /// How often it was begun anew in another session.
    renewals: u32,
    /// A completion code FFh was answered once already.
    unspecified: bool,
}

/// What was learned about a BMC and is worth remembering over a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Knowledge {
    /// The cipher suite of the last session.
    pub suite: Option<u8>,
    /// Quirks that were found to be needed, by name.
    pub quirks: Vec<String>,
    /// What was found out about the BMC, in words: quirks, and what showed them.
    pub evidence: Vec<String>,
    /// Orders, by name, that the BMC said it does not have.
    pub unsupported: Vec<String>,
}

impl Bmc {
    /// A BMC that nothing was asked of yet.
    pub fn new(settings: Settings, knowledge: Knowledge, now: Instant) -> Self {
        Bmc {
            address: Resolution::of(&settings),
            session: recalled(&settings, &knowledge),
            port: 0,
            queue: VecDeque::new(),
            current: None,
            keepalive: None,
            reports: VecDeque::new(),
            pace: Pace::new(settings.orders_per_second, settings.burst, now),
            breaker: Breaker::new(
                settings.auth_failures,
                settings.auth_hold,
                settings.breaker_retry,
            ),
            wanted: false,
            used_at: now,
            keepalive_after: settings.keepalive,
            grace_until: now,
            knowledge,
            failures: VecDeque::new(),
            stopping: false,
            settings,
        }
    }

    /// Asks for `order`; its report will carry `id`. Orders that change power go before readings that wait.
    pub fn submit(&mut self, id: OrderId, order: Order, now: Instant, entropy: &mut dyn Entropy) {
        if self.stopping || self.queue.len() >= QUEUE_LIMIT {
            let text = if self.stopping {
                "the daemon is shutting down"
            } else {
                "too many orders wait for this BMC"
            };
            self.report(id, not_sent(Trouble::Busy, text));
            return;
        }
        let waiting = Waiting {
            id,
            order,
            sent: false,
            renewals: 0,
        };
        if waiting.order.changes_power() {
            let behind = self
                .queue
                .iter()
                .take_while(|other| other.order.changes_power())
                .count();
            self.queue.insert(behind, waiting);
        } else {
            self.queue.push_back(waiting);
        }
        self.advance(now, entropy);
    }

    /// Takes an order back and says whether the machine can have received it: when this returns, no further datagram
    /// of it will be handed out, and no report comes.
    pub fn withdraw(&mut self, id: OrderId, now: Instant, entropy: &mut dyn Entropy) -> Delivery {
        let mut sent = self
            .queue
            .iter()
            .any(|waiting| waiting.id == id && waiting.sent);
        self.queue.retain(|waiting| waiting.id != id);
        self.reports.retain(|(reported, _)| *reported != id);
        if let Some(current) = self.current.take_if(|current| current.id == id) {
            let withdrawn = self.session.withdraw(current.request);
            sent |= current.sent || matches!(withdrawn, Withdrawn::Sent { .. });
            self.used_at = now;
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
                self.used_at = self.used_at.max(now);
            }
        }
    }

    /// Forgets failed log-ins and an open breaker: an operator says that it is worth a try.
    pub fn retry(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.breaker.reset();
        self.knowledge.unsupported.clear();
        self.advance(now, entropy);
    }

    /// Takes new settings. Where the log-in differs, the session is closed and failed log-ins are forgotten.
    pub fn replace_settings(
        &mut self,
        settings: Settings,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let old = &self.settings;
        let moved = (&settings.host, settings.port) != (&old.host, old.port);
        let other_login = moved || settings.login != old.login;
        let limits = |of: &Settings| (of.auth_failures, of.auth_hold, of.breaker_retry);
        // What else changed is no reason for another log-in with a password that was refused (rule 10).
        if other_login || limits(&settings) != limits(old) {
            self.breaker = Breaker::new(
                settings.auth_failures,
                settings.auth_hold,
                settings.breaker_retry,
            );
        }
        if moved {
            self.lose_session();
            self.address = Resolution::of(&settings);
        }
        if other_login {
            self.session.replace_settings(settings.login.clone(), now);
        }
        self.pace = Pace::new(settings.orders_per_second, settings.burst, now);
        self.settings = settings;
        self.drain(now, entropy);
        self.advance(now, entropy);
    }

    /// Begins to stop: readings are given up, the session is closed once the order under way has its report.
    pub fn stop(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.stopping = true;
        for waiting in std::mem::take(&mut self.queue) {
            self.report(
                waiting.id,
                not_sent(Trouble::Busy, "the daemon is shutting down"),
            );
        }
        if let Some(current) = self
            .current
            .take_if(|current| !current.order.changes_power() || !current.sent)
        {
            self.session.withdraw(current.request);
            self.report(
                current.id,
                not_sent(Trouble::Busy, "the daemon is shutting down"),
            );
        }
        self.advance(now, entropy);
    }

    /// Whether nothing is under way any more, after [`Bmc::stop`].
    pub fn is_quiet(&self) -> bool {
        self.current.is_none() && self.is_closed()
    }

    /// A datagram came from the BMC's address to one of our ports.
    pub fn handle_datagram(
        &mut self,
        port: LocalPort,
        datagram: &[u8],
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        // What comes to an older port belongs to a handshake that was given up.
        if port == self.port {
            self.session.handle_datagram(datagram, now, entropy);
            self.drain(now, entropy);
            self.advance(now, entropy);
        }
    }

    /// The network said that nothing listens at the BMC's address and port.
    pub fn handle_unreachable(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.session.handle_unreachable(now);
        self.drain(now, entropy);
        self.advance(now, entropy);
    }

    /// The BMC's name was looked up.
    pub fn handle_resolved(
        &mut self,
        answer: Result<SocketAddr, String>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        match answer {
            Ok(mut address) => {
                address.set_port(self.settings.port);
                if let Resolution::Known(old, _) = self.address
                    && old != address
                {
                    self.lose_session();
                }
                self.address = Resolution::Known(address, Some(now));
            }
            Err(why) => {
                self.address = Resolution::Unknown;
                let text = format!("the name {} does not resolve: {why}", self.settings.host);
                self.give_up(Trouble::NoAddress, &text, now);
            }
        }
        self.advance(now, entropy);
    }

    /// The time has come that [`Bmc::poll_timeout`] named.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.session.handle_timeout(now, entropy);
        self.drain(now, entropy);
        self.advance(now, entropy);
    }

    /// The next datagram to hand to the network. Asking for it is handing it over.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        let Resolution::Known(to, _) = self.address else {
            return None;
        };
        let transmit = self.session.poll_transmit()?;
        if transmit.fresh_port {
            self.port += 1;
        }
        let order = match &mut self.current {
            Some(current) if transmit.request == Some(current.request) => {
                current.sent = true;
                Some(current.id)
            }
            _ => None,
        };
        Some(Outgoing {
            to,
            port: self.port,
            datagram: transmit.datagram,
            order,
        })
    }

    /// Whether a report waits to be taken.
    pub fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// The next report.
    pub fn poll_report(&mut self) -> Option<(OrderId, Report)> {
        self.reports.pop_front()
    }

    /// The host name that wants to be looked up. Asking is promising to look it up.
    pub fn poll_resolve(&mut self) -> Option<String> {
        if let Resolution::Wanted = self.address {
            self.address = Resolution::Asked;
            return Some(self.settings.host.clone());
        }
        None
    }

    /// When [`Bmc::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let paced = self
            .queue
            .front()
            .filter(|_| self.current.is_none() && self.is_open());
        let paced = paced.map(|waiting| self.pace.ready_at(waiting.order.changes_power()));
        let upkeep = (self.is_open() && self.is_idle()).then(|| self.used_at + self.upkeep_after());
        [self.session.poll_timeout(), paced, upkeep]
            .into_iter()
            .flatten()
            .min()
    }

    /// What was learned.
    pub fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// The BMC's address, where it is known.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.address {
            Resolution::Known(address, _) => Some(address),
            _ => None,
        }
    }

    /// The number of the local port in use.
    pub fn local_port(&self) -> LocalPort {
        self.port
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
        self.breaker.trouble(now)
    }

    /// The last failures, newest first.
    pub fn failures(&self) -> impl Iterator<Item = &(Instant, String)> {
        self.failures.iter().rev()
    }

    /// How many orders wait or are under way.
    pub fn backlog(&self) -> usize {
        self.queue.len() + usize::from(self.current.is_some())
    }

    /// Whether a session is open.
    pub fn is_open(&self) -> bool {
        matches!(self.session.state(), session::State::Open { .. })
    }

    /// Whether there is neither a session nor a handshake.
    pub fn is_closed(&self) -> bool {
        matches!(self.session.state(), session::State::Closed)
    }

    fn is_idle(&self) -> bool {
        self.current.is_none() && self.queue.is_empty() && self.keepalive.is_none()
    }

    fn upkeep_after(&self) -> Duration {
        match (self.stopping, self.wanted) {
            (true, _) => Duration::ZERO,
            (false, true) => self.keepalive_after,
            (false, false) => self.settings.idle_close,
        }
    }

    fn report(&mut self, id: OrderId, report: Report) {
        self.reports.push_back((id, report));
    }

    /// The current order goes back to the head of the queue where that is safe, else it is reported as unanswered.
    fn requeue_current(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        if current.sent && current.order.repeat() != vocabulary::Repeat::Harmless {
            self.report(
                current.id,
                unknown_fate("the BMC's address changed before it answered"),
            );
        } else {
            self.queue.push_front(current.renewed());
        }
    }

    /// The session is gone, or not trusted any more: nothing of it is waited for, and the order that waited behind an
    /// unanswered keep-alive waits for the next session.
    fn lose_session(&mut self) {
        self.session.abandon();
        self.keepalive = None;
        self.requeue_current();
    }

    /// Takes the next step that is due: upkeep, opening, the next command.
    fn advance(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.upkeep(now, entropy);
        if self.current.is_some() || self.queue.is_empty() {
            return;
        }
        if self.is_open() {
            self.begin_next(now);
        } else if let Some((trouble, text)) = self.breaker.verdict(now) {
            self.refuse_queue(trouble, &text);
        } else {
            self.open(now, entropy);
        }
    }

    /// Keeps an unused session alive while it is wanted, and closes it when it is not.
    fn upkeep(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if !self.is_open() || !self.is_idle() || now < self.used_at + self.upkeep_after() {
            return;
        }
        if self.stopping || !self.wanted {
            self.session.close(now, entropy);
        } else {
            self.used_at = now;
            self.keepalive_after = jittered(self.settings.keepalive, entropy);
            self.keepalive = Some(self.session.request(translate::keepalive(), now));
        }
    }

    /// Opens the session, after looking the name up where that was long ago.
    fn open(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        match self.address {
            Resolution::Known(_, Some(since))
                if now - since > RESOLVE_AGAIN && self.is_closed() =>
            {
                self.address = Resolution::Wanted;
            }
            Resolution::Known(..) => self.session.open(now, entropy),
            Resolution::Unknown => self.address = Resolution::Wanted,
            Resolution::Wanted | Resolution::Asked => {}
        }
    }

    /// Hands the first command of the next order to the session, if the pace allows it.
    fn begin_next(&mut self, now: Instant) {
        let urgent = self
            .queue
            .front()
            .is_some_and(|waiting| waiting.order.changes_power());
        if !self.pace.take(urgent, now) {
            return;
        }
        let Some(Waiting {
            id,
            order,
            sent,
            renewals,
        }) = self.queue.pop_front()
        else {
            return;
        };
        let (script, request) = Script::begin(&order);
        let request = self.session.request(request, now);
        self.used_at = now;
        self.current = Some(Current {
            id,
            order,
            script,
            request,
            sent,
            renewals,
            unspecified: false,
        });
    }

    /// Takes in what the session has to say.
    fn drain(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Opened(opened) => {
                    self.used_at = now;
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
                Event::OpenFailed(error) => self.open_failed(&error, now),
                Event::Answered {
                    id,
                    completion,
                    data,
                    ..
                } => {
                    self.used_at = now;
                    self.breaker.succeeded();
                    if self.keepalive == Some(id) {
                        self.keepalive = None;
                    } else {
                        self.answered(id, completion, &data, now);
                    }
                }
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

    fn open_failed(&mut self, error: &OpenError, now: Instant) {
        let trouble = trouble_of(error);
        let text = error.to_string();
        if matches!(trouble, Trouble::Silent | Trouble::Unreachable) && now < self.grace_until {
            // A BMC that went deaf with its host: its callers hear of it, and the next one tries again at once.
            self.note(now, text.clone());
            self.refuse_queue(trouble, &text);
            return;
        }
        self.give_up(trouble, &text, now);
    }

    /// Everybody who waits hears why there is no session, and the breaker takes note.
    fn give_up(&mut self, trouble: Trouble, text: &str, now: Instant) {
        self.note(now, text.to_owned());
        self.breaker.failed(trouble, text, self.wanted, now);
        self.refuse_queue(trouble, text);
    }

    fn refuse_queue(&mut self, trouble: Trouble, text: &str) {
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

    fn answered(
        &mut self,
        id: RequestId,
        completion: crate::ipmi::CompletionCode,
        data: &[u8],
        now: Instant,
    ) {
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
            if refusal.kind == vocabulary::RefusalKind::NotSupported
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

    fn note(&mut self, now: Instant, text: String) {
        if self.failures.len() == FAILURES_KEPT {
            self.failures.pop_front();
        }
        self.failures.push_back((now, text));
    }
}

impl Current {
    /// The order as it waits again, for another session.
    fn renewed(self) -> Waiting {
        Waiting {
            id: self.id,
            order: self.order,
            sent: self.sent,
            renewals: self.renewals + 1,
        }
    }
}

impl Resolution {
    fn of(settings: &Settings) -> Self {
        match settings.host.parse::<IpAddr>() {
            Ok(ip) => Resolution::Known(SocketAddr::new(ip, settings.port), None),
            Err(_) => Resolution::Unknown,
        }
    }
}

/// A session that begins with what an earlier life learned.
fn recalled(settings: &Settings, knowledge: &Knowledge) -> Session {
    let mut session = Session::new(settings.login.clone());
    let known = |name: &String| Quirks::parse([name.as_str()]).ok();
    let quirks = knowledge
        .quirks
        .iter()
        .filter_map(known)
        .fold(Quirks::NONE, Quirks::and);
    session.recall(knowledge.suite.map(SuiteId), quirks);
    session
}

/// Within 5 s of `duration` on either side, or a fifth of it where that is less.
fn jittered(duration: Duration, entropy: &mut dyn Entropy) -> Duration {
    let spread = duration.as_millis() as u64 / 5;
    duration - Duration::from_millis(spread) + Duration::from_millis(entropy.below(2 * spread + 1))
}

const FAILURES_KEPT: usize = 16;
/// A name is looked up again for a handshake when the last look-up is so old.
const RESOLVE_AGAIN: Duration = Duration::from_secs(300);
