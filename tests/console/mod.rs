//! One session of ours and one simulated BMC in virtual time, with nothing between them.
#![allow(dead_code, reason = "each test uses its part of the world")]

use rackbmcd::entropy::Seeded;
use rackbmcd::ipmi::command::Command;
use rackbmcd::session::secret::Password;
use rackbmcd::session::{Event, OpenError, Opened, Request, RequestId, Resend, Session, Settings};
use rackbmcd::sim::{Bmc, BmcSettings, Mood, Privilege, User};
use rackbmcd::time::Instant;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The BMC's user that [`login`] is.
pub(crate) fn users() -> Vec<User> {
    vec![User::new("admin", "secret", Privilege::Administrator)]
}

pub(crate) fn login() -> Settings {
    Settings::new("admin", Password::new(*b"secret").expect("short"))
}

/// A session and the firmware that it speaks to.
pub(crate) struct World {
    pub bmc: Bmc,
    pub session: Session,
    pub entropy: Seeded,
    pub now: Instant,
    /// All that the session had to say.
    pub events: Vec<Event>,
    /// All that it sent.
    pub sent: Vec<Vec<u8>>,
    /// Which of these left from a port of their own.
    pub fresh: Vec<bool>,
    /// Which datagrams are lost: towards the BMC or back, and the kind of its payload.
    pub loses: Box<dyn FnMut(Way, Kind) -> Fate>,
}

/// Which way a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    There,
    Back,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Arrives,
    Lost,
    Twice,
}

/// What a datagram carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Outside of RMCP+.
    Other,
    /// A message of session set-up: its payload type (§13.27.3).
    Setup(u8),
    /// A packet inside a session.
    Sealed,
}

pub(crate) fn kind(datagram: &[u8]) -> Kind {
    match datagram {
        [6, 0, 0xFF, 7, 6, payload, 0, 0, 0, 0, ..] => Kind::Setup(payload & 0x3F),
        [6, 0, 0xFF, 7, 6, ..] => Kind::Sealed,
        _ => Kind::Other,
    }
}

impl World {
    pub(crate) fn new(settings: BmcSettings, mood: Mood, login: Settings) -> Self {
        Self {
            bmc: Bmc::new(settings, mood, 3),
            session: Session::new(login),
            entropy: Seeded::new(5),
            now: Instant::START,
            events: vec![],
            sent: vec![],
            fresh: vec![],
            loses: Box::new(|_, _| Fate::Arrives),
        }
    }

    pub(crate) fn ask(
        &mut self,
        command: &impl Command,
        resend: Resend,
        patience: Duration,
    ) -> RequestId {
        let request = Request::of(command, resend, patience);
        self.session.request(request, self.now)
    }

    /// Lets time pass until `done`, or for so long; whether it was done.
    pub(crate) fn run(&mut self, lasts: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let from = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 10_000));
        let end = self.now + lasts;
        while self.now < end {
            while let Some(transmit) = self.session.poll_transmit() {
                let copies = match (self.loses)(Way::There, kind(&transmit.datagram)) {
                    Fate::Lost => 0,
                    Fate::Arrives => 1,
                    Fate::Twice => 2,
                };
                for _ in 0..copies {
                    self.bmc.handle_datagram(from, &transmit.datagram, self.now);
                }
                self.sent.push(transmit.datagram);
                self.fresh.push(transmit.fresh_port);
                while let Some((_, reply)) = self.bmc.poll_transmit() {
                    if (self.loses)(Way::Back, kind(&reply)) != Fate::Lost {
                        self.session
                            .handle_datagram(&reply, self.now, &mut self.entropy);
                    }
                }
            }
            self.events
                .extend(std::iter::from_fn(|| self.session.poll_event()));
            if done(self) {
                return true;
            }
            let Some(due) = self.session.poll_timeout() else {
                return false;
            };
            self.now = self.now.max(due);
            self.bmc.handle_timeout(self.now);
            self.session.handle_timeout(self.now, &mut self.entropy);
        }
        false
    }

    pub(crate) fn answered(&self, id: RequestId) -> bool {
        self.events.iter().any(|event| {
            matches!(event, Event::Answered { id: answered, completion, .. }
                if *answered == id && completion.is_ok())
        })
    }

    pub(crate) fn begin(&mut self) {
        self.session.open(self.now, &mut self.entropy);
    }

    /// Opens the session, with half a minute's patience.
    pub(crate) fn open(&mut self) -> Result<Opened, OpenError> {
        self.events.clear();
        self.begin();
        let ended = |event: &Event| !matches!(event, Event::StillOpening(_));
        self.run(secs(100), |world| world.events.iter().any(ended));
        match self.events.pop() {
            Some(Event::Opened(opened)) => Ok(opened),
            Some(Event::OpenFailed(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// Closes it, and waits for the end.
    pub(crate) fn close(&mut self) {
        self.session.close(self.now, &mut self.entropy);
        assert!(self.run(secs(9), |world| world.events.contains(&Event::Closed)));
    }

    /// Asks, and waits for a good answer.
    pub(crate) fn ask_and_wait(&mut self, command: &impl Command, resend: Resend) -> bool {
        let id = self.ask(command, resend, secs(9));
        self.session.handle_timeout(self.now, &mut self.entropy);
        self.run(secs(9), |world| world.answered(id))
    }
}
