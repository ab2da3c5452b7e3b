//! One log-in to one BMC: who it is, whether its machine is on, and out again.
//!
//! A log-in that was refused is not tried a second time, with no other cipher suite either: after a
//! first RAKP 1 no further session is asked for.

use crate::entropy::Entropy;
use crate::ipmi::command::{
    get_chassis_capabilities, get_chassis_status, get_device_guid, get_device_id, get_sel_time,
};
use crate::ipmi::{Wire, guid};
use crate::model::{ChassisPart, Trouble};
use crate::session::{Event, OpenError, Request, RequestId, Resend, Session, Settings, State};
use crate::time;
use smol::future::FutureExt;
use smol::net::UdpSocket;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long one BMC may take for all of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the end of a session is waited for.
const GOODBYE: Duration = Duration::from_secs(3);

/// What a log-in brought.
#[derive(Debug)]
pub(crate) enum LogIn {
    /// It was let in.
    In(Found),
    /// The BMC refused the user, the password or the level.
    Refused(String, Trouble),
    /// There was no answer, or none that leads to a session.
    Failed(String, Trouble),
}

/// What a BMC said of itself.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Who made it, and which.
    pub device: Option<get_device_id::Response>,
    /// Its GUID.
    pub guid: Option<Uuid>,
    /// Whether its machine is on.
    pub on: Option<bool>,
    /// The cipher suite.
    pub suite: Option<u8>,
    /// Whether the chassis takes an NMI, as it says.
    pub nmi: Option<bool>,
    /// What the clock of the event log shows.
    pub clock: Option<u32>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// Randomness of the kernel's.
struct Kernel;

impl Entropy for Kernel {
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel has randomness");
    }
}

/// What is asked once we are in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asks {
    /// Who it is, and whether its machine is on.
    Who,
    /// Whether it takes an NMI, and what its clock shows, as well.
    All,
}

/// Logs in once.
///
/// # Errors
/// There is no socket, or the datagrams cannot be sent.
pub(crate) async fn log_in(at: SocketAddr, settings: &Settings, asks: Asks) -> io::Result<LogIn> {
    let mut visit = Visit {
        session: Session::new(settings.clone()),
        socket: socket(at).await?,
        at,
        began: Instant::now(),
        asked_to_open: None,
        proved: false,
        answered_proof: false,
        asks,
        asked: Vec::new(),
        found: Found::default(),
    };
    visit.session.open(visit.now(), &mut Kernel);
    let mut end = None;
    let mut until = Instant::now() + PATIENCE;
    loop {
        if let Some(stopped) = visit.send().await? {
            return Ok(stopped);
        }
        while let Some(event) = visit.session.poll_event() {
            match visit.hears(event) {
                Some(LogIn::In(found)) => {
                    end = Some(LogIn::In(found));
                    visit.session.close(visit.now(), &mut Kernel);
                    until = Instant::now() + GOODBYE;
                }
                Some(over) => return Ok(over),
                None if visit.is_over() => {
                    return Ok(end.unwrap_or(lost()));
                }
                None => {}
            }
        }
        if Instant::now() >= until {
            let late = format!("not done within {} s", PATIENCE.as_secs());
            return Ok(end.unwrap_or(LogIn::Failed(late, Trouble::Silent)));
        }
        visit.wait(until).await;
    }
}

fn lost() -> LogIn {
    LogIn::Failed("the session was lost".to_owned(), Trouble::Protocol)
}

/// Why there is no session: the BMC said no, or it did not come to that.
fn refused(error: &OpenError) -> LogIn {
    let no = |trouble| LogIn::Refused(error.to_string(), trouble);
    let other = |trouble| LogIn::Failed(error.to_string(), trouble);
    match error {
        OpenError::WrongPassword { .. } | OpenError::WrongKey { .. } => no(Trouble::WrongPassword),
        OpenError::UnknownUser { .. } => no(Trouble::UnknownUser),
        OpenError::NoPrivilege { .. } => no(Trouble::NoPrivilege),
        OpenError::NoCommonSuite { .. } => other(Trouble::NoCommonSuite),
        OpenError::SessionsFull(_) => other(Trouble::SessionsFull),
        OpenError::NoProtocol(_) => other(Trouble::NoProtocol),
        OpenError::Unreachable(_) => other(Trouble::Unreachable),
        OpenError::Silent { .. } | OpenError::Stalled { .. } => other(Trouble::Silent),
        _ => other(Trouble::Protocol),
    }
}

async fn socket(at: SocketAddr) -> io::Result<UdpSocket> {
    let own: IpAddr = match at {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(at).await?;
    Ok(socket)
}

struct Visit {
    session: Session,
    socket: UdpSocket,
    at: SocketAddr,
    began: Instant,
    /// The Open Session Request that left last.
    asked_to_open: Option<Vec<u8>>,
    /// Whether a RAKP 1 left: from then on the BMC counts.
    proved: bool,
    /// Whether it was answered.
    answered_proof: bool,
    asks: Asks,
    asked: Vec<(RequestId, What)>,
    found: Found,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Device,
    Guid,
    Power,
    Capabilities,
    Clock,
}

/// Payload types of session set-up (§13.27.3), where an RMCP+ packet has them.
const OPEN_SESSION: u8 = 0x10;
const RAKP_1: u8 = 0x12;
const RAKP_2: u8 = 0x13;

fn payload_type(datagram: &[u8]) -> Option<u8> {
    match datagram {
        [_, _, _, 7, 6, payload, ..] => Some(payload & 0x3F),
        _ => None,
    }
}

impl Visit {
    fn now(&self) -> time::Instant {
        time::Instant::after_start(self.began.elapsed())
    }

    /// Sends what waits; the end where it would be a second log-in.
    async fn send(&mut self) -> io::Result<Option<LogIn>> {
        while let Some(transmit) = self.session.poll_transmit() {
            match payload_type(&transmit.datagram) {
                Some(OPEN_SESSION) if self.proved => {
                    return Ok(Some(match self.answered_proof {
                        true => LogIn::Refused(
                            "the proof of the password was not taken".to_owned(),
                            Trouble::WrongPassword,
                        ),
                        false => LogIn::Failed("no answer to RAKP 1".to_owned(), Trouble::Silent),
                    }));
                }
                Some(OPEN_SESSION) => self.asked_to_open = Some(transmit.datagram.clone()),
                Some(RAKP_1) => self.proved = true,
                _ => {}
            }
            if transmit.fresh_port {
                self.socket = socket(self.at).await?;
            }
            match self.socket.send(&transmit.datagram).await {
                // An ICMP message about an earlier datagram: nobody listens there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                sent => drop(sent?),
            }
        }
        Ok(None)
    }

    /// Waits for a datagram, for what the session has to do, or until a moment.
    async fn wait(&mut self, until: Instant) {
        let due = self.session.poll_timeout();
        let due = due.map(|due| self.began + due.since_start());
        let wake = due.map_or(until, |due| due.min(until));
        let mut bytes = [0; 2048];
        let receive = async { self.socket.recv(&mut bytes).await.ok() };
        let timer = async {
            smol::Timer::at(wake).await;
            None
        };
        let received = receive.or(timer).await;
        let now = self.now();
        match received {
            Some(length) => {
                if payload_type(&bytes[..length]) == Some(RAKP_2) {
                    self.answered_proof = true;
                }
                self.session
                    .handle_datagram(&bytes[..length], now, &mut Kernel);
            }
            None => self.session.handle_timeout(now, &mut Kernel),
        }
    }

    fn is_over(&self) -> bool {
        self.session.state() == State::Closed && self.proved
    }

    fn hears(&mut self, event: Event) -> Option<LogIn> {
        match event {
            Event::Opened(opened) => {
                self.found.suite = opened.suite().map(|suite| suite.0);
                let written = opened.guid.map(guid::as_written);
                self.found.guid = written.map(Uuid::from_bytes).filter(|guid| !guid.is_nil());
                self.ask(&get_device_id::Request, What::Device);
                if self.found.guid.is_none() {
                    self.ask(&get_device_guid::Request, What::Guid);
                }
                self.ask(&get_chassis_status::Request, What::Power);
                if self.asks == Asks::All {
                    self.ask(&get_chassis_capabilities::Request, What::Capabilities);
                    self.ask(&get_sel_time::Request, What::Clock);
                }
                // A call that needs randomness to go on makes the moment come at once.
                let now = self.now();
                self.session.handle_timeout(now, &mut Kernel);
                None
            }
            Event::OpenFailed(error) => Some(refused(&error)),
            Event::Answered {
                id,
                completion,
                data,
                ..
            } => {
                let good = completion.is_ok().then_some(data.as_slice());
                self.answered(id, good)
            }
            Event::Unanswered { id, .. } => self.answered(id, None),
            Event::Lost(_) => Some(lost()),
            Event::Closed | Event::StillOpening(_) | Event::AnsweredLate { .. } => None,
        }
    }

    fn ask(&mut self, command: &impl crate::ipmi::command::Command, what: What) {
        let request = Request::of(command, Resend::Allowed, ANSWER);
        let id = self.session.request(request, self.now());
        self.asked.push((id, what));
    }

    fn answered(&mut self, id: RequestId, data: Option<&[u8]>) -> Option<LogIn> {
        let place = self.asked.iter().position(|(asked, _)| *asked == id)?;
        let (_, what) = self.asked.remove(place);
        match (what, data) {
            (What::Device, Some(data)) => {
                self.found.device = get_device_id::Response::decode(data).ok();
            }
            (What::Guid, Some(data)) => {
                let answer = get_device_guid::Response::decode(data).ok();
                self.found.guid =
                    answer.map(|answer| Uuid::from_bytes(guid::as_written(answer.guid)));
            }
            (What::Power, Some(data)) => {
                self.found.on = get_chassis_status::Response::decode(data)
                    .ok()
                    .map(|it| it.is_on());
            }
            (What::Capabilities, Some(data)) => {
                let answer = get_chassis_capabilities::Response::decode(data).ok();
                self.found.nmi =
                    answer.map(|it| it.parts().contains(&ChassisPart::DiagnosticInterrupt));
            }
            (What::Clock, Some(data)) => {
                let answer = get_sel_time::Response::decode(data).ok();
                self.found.clock = answer.map(|answer| answer.seconds);
            }
            (What::Power, None) => self
                .found
                .notes
                .push("does not say its power state".to_owned()),
            (_, None) => {}
        }
        self.asked
            .is_empty()
            .then(|| LogIn::In(std::mem::take(&mut self.found)))
    }
}
