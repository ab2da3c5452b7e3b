//! One simulated BMC with its machine: datagrams and the time go in, datagrams come out.
//!
//! Driven by [`super::Rack`], by the command `rackbmc sim`, or by a test: `handle_datagram`,
//! `handle_timeout`, then `poll_transmit` until it is empty, then `poll_timeout`. What goes wrong
//! here goes wrong on purpose ([`Mood`]).

use super::host::{By, ChassisOrder, Host};
use super::mood::Mood;
use super::session::Sessions;
use super::settings::BmcSettings;
use super::wire::{self, Received};
use crate::entropy::{Entropy, Seeded};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// A simulated BMC.
#[derive(Clone)]
pub struct Bmc {
    pub(super) settings: BmcSettings,
    pub(super) mood: Mood,
    pub(super) host: Host,
    pub(super) entropy: Seeded,
    pub(super) sessions: Sessions,
    /// Wrong log-ins by user place: how many, and until when the user is locked out.
    pub(super) failures: BTreeMap<usize, (u32, Option<Instant>)>,
    /// A reset of the BMC that waits for the reply to go out: how long it takes.
    pub(super) reset_due: Option<Duration>,
    /// Messages that go to who asked after the reply: what came back from satellites.
    pub(super) follow_ups: Vec<Vec<u8>>,
    away_until: Option<Instant>,
    /// When the commands of the last second came.
    lately: VecDeque<Instant>,
    unplugged: bool,
    outbox: VecDeque<(SocketAddr, Vec<u8>)>,
    delayed: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    sent: u64,
    peers: BTreeSet<SocketAddr>,
    /// A datagram that the next one will show to the BMC.
    unseen: Option<(SocketAddr, Vec<u8>)>,
    /// The reply under way leaves then.
    pub(super) late_until: Option<Instant>,
    babble_at: Option<Instant>,
    counters: Counters,
}

/// What a BMC has counted since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Datagrams that reached its port, also while it was deaf.
    pub received: u64,
    /// Of these: not understood, copies, wrong codes, unknown sessions.
    pub dropped: u64,
    /// Open Session Requests that arrived, answered or not.
    pub open_requests: u64,
    /// Log-ins that were finished.
    pub sessions_opened: u64,
    /// Sessions closed by Close Session.
    pub sessions_closed: u64,
    /// Log-ins refused, whatever the reason.
    pub log_ins_refused: u64,
    /// Requests carried out in sessions.
    pub requests: u64,
    /// How often the BMC went away to start again.
    pub restarts: u64,
    /// Log-ins under way and open sessions, the most that there were at once.
    pub most_sessions: usize,
}

impl Bmc {
    /// A BMC with `settings` in this `mood`; `seed` decides its random numbers.
    pub fn new(settings: BmcSettings, mood: Mood, seed: u64) -> Self {
        let mut host = Host::new(settings.starts_on);
        host.event_log.clock_at_start = settings.clock_at_start;
        Self {
            settings,
            mood,
            host,
            entropy: Seeded::new(seed),
            sessions: Sessions::default(),
            failures: BTreeMap::new(),
            reset_due: None,
            follow_ups: Vec::new(),
            away_until: None,
            lately: VecDeque::new(),
            unplugged: false,
            outbox: VecDeque::new(),
            delayed: BTreeMap::new(),
            sent: 0,
            peers: BTreeSet::new(),
            unseen: None,
            late_until: None,
            babble_at: None,
            counters: Counters::default(),
        }
    }

    /// A datagram reached its port.
    pub fn handle_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        self.handle_timeout(now);
        self.counters.received += 1;
        if self.is_deaf(now) {
            return;
        }
        if self.peers.len() < PEERS_KEPT {
            self.peers.insert(from);
        }
        if let (Some(babble), None) = (self.mood.babble, self.babble_at) {
            self.babble_at = Some(now + babble.every);
        }
        let ping = matches!(wire::read(datagram), Some(Received::Ping { .. }));
        if self.mood.pings_only && !ping {
            return;
        }
        if !self.mood.sees_late || ping {
            return self.see(from, datagram, now);
        }
        let arrived = (from, datagram.to_vec());
        if let Some((from, datagram)) = self.unseen.replace(arrived) {
            self.see(from, &datagram, now);
        }
    }

    fn see(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        match wire::read(datagram) {
            Some(Received::Ping { tag, acknowledge }) => {
                self.acknowledge(from, acknowledge, now);
                // FFh is a message without an answer.
                if tag != 0xFF && !self.mood.ignores_ping {
                    let swapped = self.mood.quirks.pong_little_endian;
                    self.send(from, wire::pong(tag, swapped), now);
                }
            }
            Some(Received::OtherAsf { acknowledge }) => self.acknowledge(from, acknowledge, now),
            Some(Received::Version15(packet)) => self.on_version_15(from, &packet, now),
            Some(Received::Plus(packet)) => self.on_plus(from, &packet, now),
            None => self.drop_packet(),
        }
        let taken = self.sessions.taken();
        self.counters.most_sessions = self.counters.most_sessions.max(taken);
        if let Some(takes) = self.reset_due.take() {
            self.go_away(takes, now);
        }
    }

    /// Time has passed: timers run out, the machine goes on, delayed replies leave.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.host.advance(&self.mood, now);
        if self.forgets_in_time() {
            self.forget_sessions_too_old(now);
        }
        if self.away_until.is_some_and(|until| until <= now) {
            self.away_until = None;
        }
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            self.outbox.push_back(entry.remove());
        }
        self.babble(now);
    }

    pub(super) fn forget_sessions_too_old(&mut self, now: Instant) {
        let (half_open, idle) = (self.half_open_life(), self.idle_life());
        self.sessions
            .half_open
            .retain(|_, log_in| log_in.since + half_open > now);
        self.sessions
            .challenges
            .retain(|_, log_in| log_in.since + half_open > now);
        let life = self.mood.session_life;
        self.sessions.open.retain(|_, session| {
            session.heard_at + idle > now && life.is_none_or(|life| session.opened_at + life > now)
        });
    }

    /// The next datagram that leaves, and for whom.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outbox.pop_front()
    }

    /// When [`Bmc::handle_timeout`] wants to be called; the past is possible after a change of
    /// mood.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let log_ins = (self.sessions.half_open.values().map(|log_in| log_in.since))
            .chain(self.sessions.challenges.values().map(|log_in| log_in.since))
            .map(|since| since + self.half_open_life());
        let idle = self.idle_life();
        let sessions = self.sessions.open.values().map(|session| {
            let idle = session.heard_at + idle;
            let life = self.mood.session_life;
            life.map_or(idle, |life| idle.min(session.opened_at + life))
        });
        let delayed = self.delayed.keys().next().map(|(at, _)| *at);
        log_ins
            .chain(sessions)
            .filter(|_| self.forgets_in_time())
            .chain(delayed)
            .chain(self.babble_at)
            .chain(self.away_until)
            .chain(self.host.next_event())
            .min()
    }

    /// The machine: the truth about it, and all that it was ordered.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The machine, to be set up (lights, log, restore policy).
    pub fn host_mut(&mut self) -> &mut Host {
        &mut self.host
    }

    /// How it behaves.
    pub fn mood(&self) -> &Mood {
        &self.mood
    }

    /// How it behaves, to be changed: counts from the next datagram or timer on.
    pub fn mood_mut(&mut self) -> &mut Mood {
        &mut self.mood
    }

    /// What it was set up with.
    pub fn settings(&self) -> &BmcSettings {
        &self.settings
    }

    /// What it was set up with, to be changed (a new password, other suites).
    pub fn settings_mut(&mut self) -> &mut BmcSettings {
        &mut self.settings
    }

    /// What it has counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many sessions are open.
    pub fn open_sessions(&self) -> usize {
        self.sessions.open.len()
    }

    /// Somebody presses the machine's power button.
    pub fn press_power_button(&mut self, now: Instant) {
        self.host.press_power_button(&mut self.mood, now);
    }

    /// Somebody in front of the machine does what a console could ask for.
    pub fn order_by_somebody(&mut self, order: ChassisOrder, now: Instant) {
        // Nobody in front of the machine reads completion codes.
        let _ = self.host.execute(order, By::Somebody, &mut self.mood, now);
    }

    /// The mains are gone for machine and BMC.
    pub fn pull_plug(&mut self, now: Instant) {
        self.host.lose_mains(&self.mood, now);
        self.unplugged = true;
        self.forget_sessions();
        self.delayed.clear();
    }

    /// The mains are back: the BMC starts ([`Mood::reset_takes`]), the machine does as its policy
    /// says.
    pub fn plug_in(&mut self, now: Instant) {
        self.unplugged = false;
        self.host.regain_mains(&self.mood, now);
        self.go_away(self.mood.reset_takes, now);
    }

    /// The BMC restarts: away for [`Mood::reset_takes`], its sessions forgotten; the machine goes
    /// on.
    pub fn reboot_bmc(&mut self, now: Instant) {
        self.go_away(self.mood.reset_takes, now);
    }

    /// A command came: how many that makes within a second.
    pub(super) fn count_command(&mut self, now: Instant) -> u32 {
        self.lately.retain(|at| *at + Duration::from_secs(1) > now);
        self.lately.push_back(now);
        u32::try_from(self.lately.len()).unwrap_or(u32::MAX)
    }

    /// Forgets all sessions and log-ins without a word.
    pub fn forget_sessions(&mut self) {
        self.sessions = Sessions::default();
    }

    /// Sets all sessions back to level user, as OpenBMC does where the network makes a copy of RAKP
    /// 1.
    pub fn demote_sessions(&mut self) {
        for session in self.sessions.open.values_mut() {
            session.privilege = session.privilege.min(super::settings::Privilege::User);
        }
    }

    /// Whether datagrams are lost on it now.
    pub fn is_deaf(&self, now: Instant) -> bool {
        self.mood.dead
            || self.unplugged
            || self.mood.deaf_until.is_some_and(|until| until > now)
            || self.away_until.is_some_and(|until| until > now)
    }

    pub(super) fn send(&mut self, to: SocketAddr, bytes: Vec<u8>, now: Instant) {
        let late = self.late_until.take().unwrap_or(now);
        let at = late + self.mood.reply_delay;
        if at <= now {
            self.outbox.push_back((to, bytes));
        } else {
            self.sent += 1;
            self.delayed.insert((at, self.sent), (to, bytes));
        }
    }

    pub(super) fn drop_packet(&mut self) {
        self.counters.dropped += 1;
    }

    pub(super) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// A session id that is not 0 and not in use.
    pub(super) fn fresh_session_id(&mut self) -> u32 {
        loop {
            let id = self.entropy.next_u64() as u32;
            if id != 0 && !self.sessions.knows(id) {
                return id;
            }
        }
    }

    pub(super) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// Whether the user may not log in now, however right the password.
    pub(super) fn is_locked_out(&self, user: usize, now: Instant) -> bool {
        self.failures
            .get(&user)
            .is_some_and(|(_, until)| until.is_some_and(|until| until > now))
    }

    /// A log-in with a wrong password, or with the right one.
    pub(super) fn note_log_in(&mut self, user: usize, right: bool, now: Instant) {
        if right {
            self.failures.remove(&user);
            return;
        }
        self.counters.log_ins_refused += 1;
        let Some((limit, lasts)) = self.mood.lock_out else {
            return;
        };
        let (count, until) = self.failures.entry(user).or_default();
        *count += 1;
        if *count >= limit {
            *until = Some(now + lasts);
        }
    }

    fn go_away(&mut self, takes: Duration, now: Instant) {
        self.forget_sessions();
        self.failures.clear();
        self.counters.restarts += 1;
        self.away_until = Some(now + takes);
    }

    fn acknowledge(&mut self, to: SocketAddr, sequence: Option<u8>, now: Instant) {
        if let Some(sequence) = sequence {
            self.send(to, wire::acknowledge(sequence), now);
        }
    }

    fn babble(&mut self, now: Instant) {
        let Some(babble) = self.mood.babble else {
            self.babble_at = None;
            return;
        };
        while let Some(at) = self.babble_at.filter(|at| *at <= now) {
            // A step of zero would never end.
            self.babble_at = Some(at + babble.every.max(Duration::from_micros(1)));
            if self.is_deaf(at) {
                continue;
            }
            for peer in self.peers.clone() {
                let garbage = self.garbage();
                self.outbox.push_back((peer, garbage));
            }
        }
    }

    /// Noise, or noise behind a header that looks like one of ours.
    fn garbage(&mut self) -> Vec<u8> {
        let mut bytes = match self.entropy.below(4) {
            0 => vec![],
            1 => vec![0x06, 0x00, 0xFF, 0x07],
            2 => vec![0x06, 0x00, 0xFF, 0x07, 0x06, 0xC0],
            _ => vec![0x06, 0x00, 0xFF, 0x07, 0x06, 0x13, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        let noise: [u8; 48] = self.random();
        let length = self.entropy.below(49) as usize;
        bytes.extend(&noise[..length]);
        bytes
    }
}

/// More peers than this are not babbled at.
const PEERS_KEPT: usize = 64;
