//! The session under a script of calls, datagrams and clock jumps that the bytes spell out. The
//! numbers that it draws are those of `tests/vectors/make_sessions.py`, so that the recorded
//! replies are right ones.

use super::Script;
use rackbmcd::entropy::Entropy;
use rackbmcd::ipmi::command::{chassis_control, cold_reset, get_chassis_status, get_device_id};
use rackbmcd::ipmi::session15::AuthType;
use rackbmcd::ipmi::{PrivilegeLevel, SuiteId};
use rackbmcd::session::quirk::{Quirk, Quirks};
use rackbmcd::session::secret::{BmcKey, Password};
use rackbmcd::session::{
    AuthChoice, Bridge, Event, Protocol, Request, RequestId, Resend, Session, Settings, State,
    Transmit, Undeliverable, Withdrawn,
};
use rackbmcd::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest that any request of a script may take.
const PATIENCE: Duration = Duration::from_secs(9);
/// A BMC whose answers come late is waited for that long.
const LOG_IN: Duration = Duration::from_secs(90);
/// Acts beyond this are only more of the same, slowly.
const ACTS: usize = 400;

/// The draws that `make_sessions.py` assumes.
pub(crate) struct Tape(pub u8);

impl Entropy for Tape {
    fn fill(&mut self, bytes: &mut [u8]) {
        if bytes.len() == 16 {
            bytes.fill(self.0);
            self.0 = self.0.wrapping_add(1);
        } else {
            for (byte, drawn) in bytes
                .iter_mut()
                .zip(0x0123_4567_89AB_CDEF_u64.to_le_bytes().into_iter().cycle())
            {
                *byte = drawn;
            }
        }
    }
}

/// Plays the script in `data` to a session.
pub(crate) fn run(data: &[u8]) {
    let mut script = Script(data);
    let Some(settings) = settings(&mut script) else {
        return;
    };
    let mut watched = Watched::new(settings);
    let mut entropy = Tape(0);
    for _ in 0..ACTS {
        let Some(act) = script.byte() else { break };
        match act {
            0..=15 => watched.call(act, &mut script, &mut entropy),
            16..=23 => {
                let Some(datagram) = script.block() else {
                    break;
                };
                watched.datagram(datagram, &mut entropy);
            }
            24..=31 => {
                let Some(millis) = script.word() else { break };
                watched.wait(Duration::from_millis(u64::from(millis)), &mut entropy);
            }
            _ => drop(watched.send()),
        }
        watched.look();
    }
    watched.end(&mut entropy);
}

/// Settings from the first bytes: suite, protocol, quirks, key.
pub(crate) fn settings(script: &mut Script<'_>) -> Option<Settings> {
    let password = Password::new(*b"secret").expect("short");
    let mut settings = Settings::new("admin", password);
    let [suite, more, quirk, key] = [
        script.byte()?,
        script.byte()?,
        script.byte()?,
        script.byte()?,
    ];
    settings.suites = vec![SuiteId(suite & 0x1F)];
    if suite & 0x80 != 0 {
        settings.suites.push(SuiteId(3));
    }
    if more & 0x80 != 0 {
        settings.privilege = PrivilegeLevel::Administrator;
    }
    settings.protocol = match more & 0x0F {
        1 => Protocol::V15(AuthChoice::Strongest),
        2 => Protocol::V15(AuthChoice::Only(AuthType::None)),
        3 => Protocol::V15(AuthChoice::Only(AuthType::Md2)),
        4 => Protocol::V15(AuthChoice::Only(AuthType::Md5)),
        5 => Protocol::V15(AuthChoice::Only(AuthType::Password)),
        6 => Protocol::V15(AuthChoice::Only(AuthType::Oem)),
        7 => Protocol::V20ThenV15,
        _ => Protocol::V20,
    };
    // One quirk in the low bits; the high ones add others that go together.
    if quirk != 0 {
        let count = Quirk::all().count();
        let chosen = [usize::from(quirk), usize::from(quirk >> 3) + 1];
        settings.quirks = chosen
            .iter()
            .filter_map(|at| Quirk::all().nth(at % count))
            .fold(Quirks::NONE, Quirks::with);
    }
    if key != 0 {
        let bytes = script.bytes(usize::from(key).min(20));
        settings.bmc_key = BmcKey::new(bytes).ok();
    }
    Some(settings)
}

/// A session, and what must be true of it whatever happens.
pub(crate) struct Watched {
    /// The session.
    pub session: Session,
    /// The time.
    pub now: Instant,
    settings: Settings,
    asked: BTreeMap<RequestId, Resend>,
    sent: BTreeMap<RequestId, u32>,
    ended: BTreeSet<RequestId>,
    given_up: BTreeMap<RequestId, u32>,
    /// The orders to the machine, none of which may be carried out twice.
    pub pulses: BTreeSet<RequestId>,
    /// Those of them that were answered with "done".
    pub done: BTreeSet<RequestId>,
}

impl Watched {
    /// A closed session.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            session: Session::new(settings.clone()),
            now: Instant::START,
            settings,
            asked: BTreeMap::new(),
            sent: BTreeMap::new(),
            ended: BTreeSet::new(),
            given_up: BTreeMap::new(),
            pulses: BTreeSet::new(),
            done: BTreeSet::new(),
        }
    }

    /// One of sixteen calls.
    pub(crate) fn call(&mut self, which: u8, script: &mut Script<'_>, entropy: &mut dyn Entropy) {
        let now = self.now;
        match which {
            0 => self.session.open(now, entropy),
            1 => self.session.close(now, entropy),
            2 => {
                self.session.give_up(now, entropy);
                for id in self.asked.keys() {
                    if !self.ended.contains(id) {
                        let sent = self.sent.get(id).copied().unwrap_or(0);
                        self.given_up.entry(*id).or_insert(sent);
                    }
                }
            }
            3 => {
                let settings = self.settings.clone();
                self.session.replace_settings(settings, now, entropy);
            }
            4 => self
                .session
                .handle_unreachable(Undeliverable::Port, now, entropy),
            5 => {
                let at = usize::from(script.byte().unwrap_or(0));
                let Some(id) = self.asked.keys().nth(at).copied() else {
                    return;
                };
                let sent = self.sent.get(&id).copied().unwrap_or(0);
                match self.session.withdraw(id) {
                    Withdrawn::NotSent => assert_eq!(sent, 0),
                    Withdrawn::Sent { datagrams } => assert_eq!(datagrams, sent),
                    Withdrawn::Unknown => return,
                }
                self.given_up.insert(id, sent);
            }
            6 => {
                self.ask(Request::of(&cold_reset::Request, Resend::Never, PATIENCE));
            }
            7 | 8 => {
                let request = Request::of(&get_device_id::Request, Resend::Allowed, PATIENCE);
                let [channel, address] = [script.byte().unwrap_or(0), script.byte().unwrap_or(0)];
                let bridge = if which == 7 {
                    Bridge::Single { channel, address }
                } else {
                    Bridge::Dual {
                        transit_channel: channel >> 4,
                        transit_address: address ^ 0xFF,
                        channel,
                        address,
                    }
                };
                self.ask(Request { bridge, ..request });
            }
            9 => {
                let [net_fn, command] = [script.byte().unwrap_or(0), script.byte().unwrap_or(0)];
                // Orders to the machine are those of the other calls alone.
                if (net_fn & 0x3E, command) == (0, 2) {
                    return;
                }
                self.ask(Request {
                    net_fn: net_fn & 0x3E,
                    lun: net_fn & 1,
                    command,
                    data: script.block().unwrap_or_default().to_vec(),
                    bridge: Bridge::None,
                    resend: Resend::Allowed,
                    patience: PATIENCE,
                });
            }
            10..=12 => {
                let command = get_chassis_status::Request;
                self.ask(Request::of(&command, Resend::Allowed, PATIENCE));
            }
            13 => self.pulse(chassis_control::Request::SoftShutdown),
            _ => self.pulse(chassis_control::Request::HardReset),
        }
    }

    fn ask(&mut self, request: Request) -> RequestId {
        let resend = request.resend;
        let id = self.session.request(request, self.now);
        assert!(self.asked.insert(id, resend).is_none(), "an id twice");
        id
    }

    fn pulse(&mut self, command: chassis_control::Request) {
        let id = self.ask(Request::of(&command, Resend::Never, PATIENCE));
        self.pulses.insert(id);
    }

    /// A datagram arrives.
    pub(crate) fn datagram(&mut self, bytes: &[u8], entropy: &mut dyn Entropy) {
        self.session.handle_datagram(bytes, self.now, entropy);
    }

    /// Time passes, in one jump.
    pub(crate) fn wait(&mut self, time: Duration, entropy: &mut dyn Entropy) {
        self.now += time;
        self.session.handle_timeout(self.now, entropy);
    }

    /// One datagram leaves.
    pub(crate) fn send(&mut self) -> Option<Transmit> {
        let transmit = self.session.poll_transmit()?;
        assert!(transmit.datagram.len() <= 1500);
        if let Some(id) = transmit.request {
            let times = self.sent.entry(id).or_default();
            *times += 1;
            assert!(
                self.asked[&id] == Resend::Allowed || *times == 1,
                "a pulse twice"
            );
            assert!(!self.given_up.contains_key(&id), "sent after all");
            assert!(!self.ended.contains(&id), "sent after its end");
        }
        Some(transmit)
    }

    /// Reads the events.
    pub(crate) fn look(&mut self) {
        while let Some(event) = self.session.poll_event() {
            let id = match event {
                Event::Answered { id, completion, .. } => {
                    assert!(
                        self.sent.get(&id).is_some_and(|times| *times > 0),
                        "never asked"
                    );
                    if completion.is_ok() && self.pulses.contains(&id) {
                        self.done.insert(id);
                    }
                    id
                }
                Event::Unanswered { id, datagrams, .. } => {
                    assert_eq!(datagrams, self.sent.get(&id).copied().unwrap_or(0));
                    id
                }
                _ => continue,
            };
            assert!(self.asked.contains_key(&id));
            assert!(self.ended.insert(id), "two ends of one request");
            assert!(!self.given_up.contains_key(&id), "an end after all");
        }
        assert!(self.session.pending() <= self.asked.len());
    }

    /// The world goes silent: everything ends, within the patience that there was, or the time that
    /// a log-in may take.
    pub(crate) fn end(&mut self, entropy: &mut dyn Entropy) {
        let limit = self.now + PATIENCE + LOG_IN;
        let mut turns = 0;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= limit) {
            self.now = self.now.max(due);
            while self.send().is_some() {}
            self.session.handle_timeout(self.now, entropy);
            self.look();
            turns += 1;
            assert!(turns < 2000, "timers without end: {:?}", self.session);
        }
        for id in self.asked.keys() {
            assert!(
                self.ended.contains(id) || self.given_up.contains_key(id),
                "request {id:?} never ends: {:?}",
                self.session
            );
        }
        assert!(!matches!(
            self.session.state(),
            State::Opening { .. } | State::Closing
        ));
    }
}
