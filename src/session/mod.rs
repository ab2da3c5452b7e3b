//! A session with one BMC, RMCP+ or IPMI v1.5: handshake, sealing, retransmission (IPMI v2.0 rev
//! 1.1 §13).
//!
//! Driven by `bmc`: make calls and feed `handle_*` with datagrams and the time, then drain
//! `poll_transmit` and `poll_event`, and call `handle_timeout` at the moment that `poll_timeout`
//! names. A call that needs randomness to go on (`request`, `replace_settings`) makes that moment
//! come at once. Knows no nodes, no power, no sockets. A lost datagram is an ordinary event here; a
//! datagram that does not fit is counted and dropped.
//!
//! # A session against a script
//!
//! What a BMC with cipher suite 0 answers to a log-in and to one question, and what it was asked:
//!
//! ```
//! use rackbmcd::entropy::Entropy;
//! use rackbmcd::ipmi::SuiteId;
//! use rackbmcd::ipmi::command::get_chassis_status;
//! use rackbmcd::session::secret::Password;
//! use rackbmcd::session::{Event, Request, Resend, Session, Settings};
//! use rackbmcd::time::Instant;
//! use std::time::Duration;
//!
//! /// Draws the numbers that the script was made with; the daemon asks the kernel for them.
//! struct Drawn;
//! impl Entropy for Drawn {
//!     fn fill(&mut self, bytes: &mut [u8]) {
//!         let number = 0x0123_4567_89AB_CDEF_u64.to_le_bytes();
//!         bytes.iter_mut().zip(number.iter().cycle()).for_each(|(byte, drawn)| *byte = *drawn);
//!     }
//! }
//! let bytes = |digits: &str| -> Vec<u8> {
//!     let at = (0..digits.len()).step_by(2);
//!     at.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
//! };
//!
//! let script = [
//!     // Get Channel Authentication Capabilities: IPMI v2.0 is spoken here.
//!     "0600ff0700000000000000000010811c6320bc380001970403000000004d",
//!     // RMCP+ Open Session Response: our number efcdab89, its number 44332211.
//!     "0600ff07061100000000000000002400c4000300efcdab8944332211\
//!      000000080000000001000008000000000200000800000000",
//!     // RAKP 2 and RAKP 4, without codes in this suite.
//!     "0600ff07061300000000000000002800c5000000efcdab89\
//!      808182838485868788898a8b8c8d8e8f404142434445464748494a4b4c4d4e4f",
//!     "0600ff07061500000000000000000800c6000000efcdab89",
//!     // Set Session Privilege Level: operator. Get Chassis Status: on.
//!     "0600ff070600efcdab89010000000900811c6320043b00039e",
//!     "0600ff070600efcdab89020000000c0081047b2008010021104070f6",
//! ];
//!
//! let mut settings = Settings::new("admin", Password::new(*b"secret").unwrap());
//! settings.suites = vec![SuiteId(0)];
//! let mut session = Session::new(settings);
//! let question = Request::of(
//!     &get_chassis_status::Request,
//!     Resend::Allowed,
//!     Duration::from_secs(5),
//! );
//! let asked = session.request(question, Instant::START);
//! session.open(Instant::START, &mut Drawn);
//! for (number, answer) in (1..).zip(script) {
//!     let _to_be_sent = session.poll_transmit().expect("a datagram for the BMC");
//!     let now = Instant::after_start(Duration::from_millis(10 * number));
//!     session.handle_datagram(&bytes(answer), now, &mut Drawn);
//! }
//! assert!(matches!(session.poll_event(), Some(Event::Opened(_))));
//! let Some(Event::Answered { id, data, .. }) = session.poll_event() else {
//!     panic!("the question was answered");
//! };
//! assert_eq!((id, &data[..]), (asked, &[0x21, 0x10, 0x40, 0x70][..]));
//! ```

mod advice;
mod clear;
mod crypto;
mod ending;
mod fifo;
mod handshake;
mod handshake15;
mod key_exchange;
mod ledger;
mod link;
mod memory;
mod open;
mod privilege;
mod proof;
pub mod quirk;
mod rakp;
mod resend;
mod round_trip;
mod seal;
pub mod secret;
pub(crate) mod settings;
mod undelivered;
pub(crate) mod vocabulary;
mod window;

pub use clear::{Clear, Frame, Way};
pub(crate) use fifo::Fifo;
pub use quirk::{Quirk, Quirks};
pub use settings::{AuthChoice, Protocol, Settings, Timing};
pub use vocabulary::{
    Bridge, Dropped, Event, LostReason, OpenError, Opened, Request, RequestId, Resend, Spoken,
    State, Statistics, Transmit, UnansweredReason, Undeliverable, Withdrawn,
};

use crate::entropy::Entropy;
use crate::ipmi::SuiteId;
use crate::time::Instant;
use handshake::{Context, Handshake, Progress};
pub use ledger::Need;
use link::Link;
use memory::Memory;
use open::Open;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use undelivered::Notices;

/// The longest request data that fits the length byte of an IPMI v1.5 packet when bridged twice.
const DATA_LIMIT: usize = 200;

/// What follows each datagram with `dummy_packets`: as long as ipmitool's with `intelwv2`, and no
/// RMCP.
const DUMMY: [u8; 10] = [0; 10];

/// A session with one BMC.
pub struct Session {
    /// Shared with all who have the same.
    // Thousands of nodes have the same log-in; a copy for each was a part of their memory.
    settings: Arc<Settings>,
    phase: Phase,
    /// Whether to open again as soon as the closing is over.
    reopen: bool,
    memory: Memory,
    queue: Fifo<Waiting>,
    transmits: Fifo<Transmit>,
    /// Whether a dummy follows the datagram that was handed out last.
    dummy_due: bool,
    events: Fifo<Event>,
    next_id: u64,
    notices: Notices,
    /// The number of the question outside of the session that goes with a probe.
    probe_sequence: Option<u8>,
}

/// A request that was not sent yet.
struct Waiting {
    id: RequestId,
    request: Request,
    asked_at: Instant,
    until: Instant,
}

enum Phase {
    /// No session.
    Closed,
    /// The handshake is under way.
    Opening(Box<Handshake>),
    /// Requests go out one by one.
    Open(Box<Open>),
    /// The session is to be closed: Close Session has to be sent.
    ToClose { link: Box<Link>, since: Instant },
    /// Close Session was sent; nothing is sent any more.
    Closing { link: Box<Link>, until: Instant },
}

impl Session {
    /// A closed session. Nothing leaves before [`open`](Self::open).
    pub fn new(settings: impl Into<Arc<Settings>>) -> Self {
        let settings = settings.into();
        let mut memory = Memory::default();
        memory.statistics.quirks = settings.quirks;
        Self {
            settings,
            phase: Phase::Closed,
            reopen: false,
            memory,
            queue: Fifo::new(),
            transmits: Fifo::new(),
            dummy_due: false,
            events: Fifo::new(),
            next_id: 1,
            notices: Notices::default(),
            probe_sequence: None,
        }
    }

    /// Takes up what an earlier life learned of the BMC: the cipher suite that worked, and quirks
    /// that were found out. Both are tried first, and given up where they do not hold any more.
    pub fn recall(&mut self, suite: Option<SuiteId>, quirks: Quirks) {
        self.memory.spoken = suite.map(Spoken::V20);
        // A suite means that IPMI 2.0 worked once, and 1.5 may not follow from then on.
        self.memory.had_v20 = suite.is_some();
        self.memory.quirks = quirks;
    }

    /// Forgets what was learned of the BMC: the next log-in begins as the configuration says.
    pub fn unlearn(&mut self) {
        self.memory.spoken = None;
        self.memory.had_v20 = false;
        self.memory.quirks = Quirks::NONE;
        self.memory.capabilities = None;
        self.memory.capabilities_ignored = false;
        // `rackbmc retry` says that the cause is mended: three refusals are allowed again.
        self.memory.codes_refused = 0;
    }

    /// New credentials or quirks: closes an open session, gives up a handshake, and forgets what
    /// was learned about the BMC. Queued requests stay queued. Nothing is opened.
    pub fn replace_settings(
        &mut self,
        settings: impl Into<Arc<Settings>>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        // The session closes under its own settings: the quirks of the new ones are not its.
        self.begin_close(now, entropy);
        self.settings = settings.into();
        self.memory.forget();
        self.memory.statistics.quirks = self.settings.quirks;
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Begins the handshake where there is no session. While one is being closed, opens again
    /// afterwards.
    pub fn open(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        match self.phase {
            Phase::Closed => self.begin_handshake(now, entropy),
            // Rule 10 allows one session for each BMC: the next one waits for the end of this.
            Phase::ToClose { .. } | Phase::Closing { .. } => self.reopen = true,
            Phase::Opening(_) | Phase::Open(_) => {}
        }
    }

    /// Takes a request. It waits until the session is open and those before it are over; it does
    /// not open the session. Exactly one `Answered` or `Unanswered` will come of it, unless it is
    /// withdrawn or the session abandoned; after the latter an `AnsweredLate` may follow.
    pub fn request(&mut self, request: Request, now: Instant) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        // A request that cannot be sent has its one event, too: the caller waits for nothing else.
        if request.data.len() > DATA_LIMIT {
            self.events.push_back(Event::Unanswered {
                id,
                datagrams: 0,
                reason: UnansweredReason::TooLong,
            });
            return id;
        }
        self.queue.push_back(Waiting {
            id,
            until: now + request.patience,
            request,
            asked_at: now,
        });
        id
    }

    /// Takes a request back. Afterwards no datagram with it leaves, and no event tells of it.
    pub fn withdraw(&mut self, id: RequestId) -> Withdrawn {
        // Design, section 4: an abort is answered when nothing more leaves, sealed or not.
        self.transmits
            .retain(|transmit| transmit.request != Some(id));
        let place = self.queue.iter().position(|waiting| waiting.id == id);
        if let Some(at) = place {
            self.queue.remove(at);
            return Withdrawn::NotSent;
        }
        if let Phase::Open(open) = &mut self.phase
            && open
                .link
                .exchange()
                .is_some_and(|exchange| exchange.id == Some(id))
            && let Some(exchange) = open.link.give_up()
        {
            // A copy that was made but not handed out has never reached the network.
            return match exchange.handed {
                0 => Withdrawn::NotSent,
                datagrams => Withdrawn::Sent { datagrams },
            };
        }
        Withdrawn::Unknown
    }

    /// Whether a datagram from elsewhere is an answer to what was asked of the BMC: it carries our
    /// random number.
    pub fn is_meant(&self, datagram: &[u8]) -> bool {
        match &self.phase {
            // An open session is left out: the daemon knows the BMC's address by then.
            Phase::Opening(handshake) => handshake.is_meant(datagram),
            Phase::Closed | Phase::Open(_) | Phase::ToClose { .. } | Phase::Closing { .. } => false,
        }
    }

    /// How many sessions of ours the BMC may have beside the one in use: given up, half-open, of an
    /// earlier life.
    pub fn left_behind(&self, now: Instant) -> usize {
        self.memory.ledger.known(now)
    }

    /// When there is room at the BMC for another session of ours for such a need; `None` where that
    /// is now.
    pub fn room_at(&self, need: Need, now: Instant) -> Option<Instant> {
        self.memory.ledger.room_for(need, 0, now)
    }

    /// For what the next session is opened. A log-in that waits for room goes on where that does
    /// not have to.
    pub fn needed_for(&mut self, need: Need, now: Instant) {
        let before = std::mem::replace(&mut self.memory.ledger.need, need);
        if let Phase::Opening(handshake) = &mut self.phase
            && before != need
            && std::mem::take(&mut handshake.waits_for_room)
        {
            // The wait was for a reading; an order may open a session at once (`Need`).
            handshake.deadline = now;
        }
    }

    /// An earlier life of the daemon was last heard of so long ago: it may have left a session.
    pub fn inherit(&mut self, ago: Duration, now: Instant) {
        // After that time the BMC has forgotten whatever an earlier life left.
        if let Some(left) = ledger::SESSION_LIFE.checked_sub(ago) {
            self.memory.ledger.inherits(now + left);
        }
    }

    /// Our process stood still for `gap` until now: that was no silence of the BMC, and no patience
    /// with it.
    pub fn handle_absence(&mut self, gap: Duration, now: Instant) {
        // An answer that waited in the socket through a pause of ten minutes was once taken for a
        // round trip of ten minutes, and its BMC was asked every 18 s only.
        self.memory.measures_from = Some(now);
        if let Phase::Opening(handshake) = &mut self.phase {
            handshake.handle_absence(gap);
        }
    }

    /// Another BMC is spoken to from now on, which has none of our sessions.
    pub fn moves(&mut self) {
        self.notices.clear();
        self.memory.ledger.clear();
    }

    /// Takes in a datagram from the BMC's address at a port that an earlier log-in of this
    /// handshake had.
    pub fn handle_late_datagram(
        &mut self,
        datagram: &[u8],
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        self.memory.statistics.received += 1;
        // First, because the answer to an old Close Session makes room for the next session.
        if self.memory.ledger.hears(datagram, now) {
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Opening(handshake) => {
                self.progress(now, entropy, |ctx| handshake.handle_late(datagram, ctx));
            }
            other => {
                self.phase = other;
                self.memory.count_dropped(Dropped::NotExpected);
            }
        }
        self.pump(now, entropy);
    }

    /// Takes in a datagram from the BMC's address.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant, entropy: &mut dyn Entropy) {
        self.memory.statistics.received += 1;
        if self.memory.ledger.hears(datagram, now) {
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => self.memory.count_dropped(Dropped::NotExpected),
            Phase::Opening(handshake) => {
                self.progress(now, entropy, |ctx| handshake.handle_datagram(datagram, ctx));
            }
            Phase::Open(open) => self.receive(open, datagram, now),
            to_close @ Phase::ToClose { .. } => self.phase = to_close,
            Phase::Closing { mut link, until } => match link.receive(datagram, now) {
                // Any code will do: some BMCs answer Close Session with an odd one.
                Ok(Some(_)) => self.closed(now, entropy),
                Ok(None) => self.phase = Phase::Closing { link, until },
                Err(reason) => {
                    self.memory.count_dropped(reason);
                    self.phase = Phase::Closing { link, until };
                }
            },
        }
        self.pump(now, entropy);
    }

    /// Looks at the clock. May be called at any time.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.expire(now);
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Opening(handshake) => {
                self.progress(now, entropy, |ctx| handshake.handle_timeout(ctx));
            }
            Phase::Open(open) => self.tick(open, now, entropy),
            to_close @ Phase::ToClose { .. } => {
                self.phase = to_close;
                self.send_close(now, entropy);
            }
            // Close Session is never sent twice: the ledger counts what the BMC may still have.
            Phase::Closing { link, until } if until <= now => {
                self.memory.ledger.leaves(link, now);
                self.closed(now, entropy);
            }
            other @ (Phase::Closed | Phase::Closing { .. }) => self.phase = other,
        }
        self.pump(now, entropy);
    }

    /// The next datagram to send. What is handed out here counts as sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        // Boards with `intelwv2` seem to notice a packet when the next one comes (our guess).
        if std::mem::take(&mut self.dummy_due) {
            self.memory.statistics.sent += 1;
            return Some(Transmit {
                datagram: DUMMY.to_vec(),
                fresh_port: false,
                request: None,
            });
        }
        let transmit = self.transmits.pop_front()?;
        self.memory.statistics.sent += 1;
        self.dummy_due = self.has(Quirk::DummyPackets);
        if let Phase::Open(open) = &mut self.phase
            && transmit.request.is_some()
            && let Some(exchange) = open.link.exchange_mut()
            && exchange.id == transmit.request
        {
            // A report says what may have arrived: what was handed out, not what was made.
            exchange.handed += 1;
        }
        Some(transmit)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); a moment that is past means at once.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.queue.iter().map(|waiting| waiting.until).min();
        let phase = match &self.phase {
            Phase::Closed => None,
            Phase::Opening(handshake) => Some(handshake.deadline()),
            Phase::Open(open) => open
                .link
                .deadline()
                // `request` has no randomness to seal with, so that this call has to come at once.
                .or_else(|| self.queue.front().map(|waiting| waiting.asked_at)),
            Phase::ToClose { since, .. } => Some(*since),
            Phase::Closing { until, .. } => Some(*until),
        };
        patience.into_iter().chain(phase).min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Closed => State::Closed,
            Phase::Opening(handshake) => State::Opening {
                step: handshake.step.name(),
                attempt: handshake.attempts,
            },
            Phase::Open(open) => State::Open {
                spoken: open.spoken,
                privilege: open.privilege,
            },
            Phase::ToClose { .. } | Phase::Closing { .. } => State::Closing,
        }
    }

    /// What was seen since the session was made.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            round_trip: self.memory.round_trip.smoothed(),
            ..self.memory.statistics.clone()
        }
    }

    /// How many datagrams came from the BMC.
    pub fn received(&self) -> u64 {
        self.memory.statistics.received
    }

    /// How many requests are queued or under way.
    pub fn pending(&self) -> usize {
        let under_way = match &self.phase {
            Phase::Open(open) => usize::from(open.link.exchange().is_some()),
            Phase::Closed | Phase::Opening(_) | Phase::ToClose { .. } | Phase::Closing { .. } => 0,
        };
        self.queue.len() + under_way
    }

    /// Whether a quirk is in force, configured or found out.
    fn has(&self, quirk: Quirk) -> bool {
        self.settings.quirks.and(self.memory.quirks).has(quirk)
    }

    fn begin_handshake(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.transmits.clear();
        self.progress(now, entropy, Handshake::begin);
        self.pump(now, entropy);
    }

    /// What a step of the handshake is handed.
    fn context<'a>(&'a mut self, now: Instant, entropy: &'a mut dyn Entropy) -> Context<'a> {
        Context {
            settings: &self.settings,
            memory: &mut self.memory,
            out: &mut self.transmits,
            events: &mut self.events,
            now,
            entropy,
        }
    }

    /// Runs a step of the handshake and takes over what it came to.
    fn progress(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
        step: impl FnOnce(&mut Context<'_>) -> Progress,
    ) {
        let progress = step(&mut self.context(now, entropy));
        match progress {
            Progress::Going(handshake) => {
                if handshake.heard == Some(now) {
                    self.notices.clear();
                }
                self.phase = Phase::Opening(handshake);
            }
            Progress::Opened(link, opened) => {
                self.notices.clear();
                let statistics = &mut self.memory.statistics;
                statistics.opened += 1;
                self.memory.codes_refused = 0;
                let statistics = &mut self.memory.statistics;
                statistics.spoken = Some(opened.protocol);
                statistics.privilege = Some(opened.privilege);
                statistics.quirks = opened.quirks;
                self.phase = Phase::Open(Box::new(Open {
                    link: *link,
                    spoken: opened.protocol,
                    privilege: opened.privilege,
                    has_reset: false,
                    unusable: None,
                }));
                self.events.push_back(Event::Opened(opened));
            }
            Progress::Failed(error) => {
                self.events.push_back(Event::OpenFailed(error));
            }
        }
    }

    /// Ends the patience of queued requests.
    fn expire(&mut self, now: Instant) {
        let events = &mut self.events;
        self.queue.retain(|waiting| {
            let waits = waiting.until > now;
            if !waits {
                events.push_back(Event::Unanswered {
                    id: waiting.id,
                    datagrams: 0,
                    reason: UnansweredReason::NoSession,
                });
            }
            waits
        });
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("settings", &self.settings)
            .field("state", &self.state())
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
