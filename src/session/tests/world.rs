//! A BMC of cipher suite 0 and the way to it, moved by tests: its packets can be read and written
//! without keys.

use super::*;
use crate::ipmi::command::get_chassis_status;
use crate::ipmi::message::{self, Checksums};
use crate::ipmi::open_session::{self, Accepted};
use crate::ipmi::payload::PayloadType;
use crate::ipmi::rakp::{Rakp1, Rakp2, Rakp3, Rakp4};
use crate::ipmi::rmcp::{self, Class};
use crate::ipmi::session20::{self, Header};
use crate::ipmi::{CompletionCode, SuiteId, Wire, session15};

pub(super) const BMC_ID: u32 = 0x1122_3344;
/// Stands in an answer for the tag of what it answers.
pub(super) const OUR_TAG: u8 = 0xEE;

/// A BMC and the way to it.
pub(super) struct World {
    pub(super) session: Session,
    pub(super) entropy: Seeded,
    pub(super) now: Instant,
    pub(super) console_id: u32,
    pub(super) outbound: u32,
    /// Requests seen in the session: session sequence and message.
    pub(super) seen: Vec<(u32, message::Request)>,
    /// Open Session Requests seen, and fresh ports.
    pub(super) opens: Vec<open_session::Request>,
    pub(super) opened_at: Vec<Instant>,
    pub(super) fresh: u32,
    /// Whether questions outside of a session are answered, and those whether the session is there.
    pub(super) answers_outside: bool,
    pub(super) answers_probes: bool,
    pub(super) probes: u32,
    pub(super) rakp2: fn(u8, u32) -> Vec<u8>,
    pub(super) open: fn(&open_session::Request) -> Vec<u8>,
    /// What answers all requests of one kind instead of that: the payload type of the answer, and
    /// its bytes.
    pub(super) refusal: Option<(PayloadType, Vec<u8>)>,
    /// The status of refusals that somebody else sends before each answer.
    pub(super) forged: Option<u8>,
    /// The random numbers in RAKP 1.
    pub(super) rakp1s: Vec<[u8; 16]>,
    /// When RAKP 3 came, and whether its answer is lost.
    pub(super) rakp3s: Vec<Instant>,
    pub(super) loses_rakp4: bool,
    pub(super) privilege: fn(u8) -> (CompletionCode, Vec<u8>),
}

pub(super) fn accept(request: &open_session::Request) -> Vec<u8> {
    open_session::Response::Accepted(Accepted {
        tag: request.tag,
        privilege: request.privilege,
        console_id: request.console_id,
        bmc_id: BMC_ID,
        algorithms: request.algorithms,
    })
    .encode()
}

pub(super) fn prove_nothing(tag: u8, console_id: u32) -> Vec<u8> {
    Rakp2::Accepted {
        tag,
        console_id,
        bmc_random: [1; 16],
        guid: [2; 16],
        code: vec![],
    }
    .encode()
}

impl World {
    pub(super) fn new() -> Self {
        let mut settings = settings();
        settings.suites = vec![SuiteId(0)];
        Self {
            session: Session::new(settings),
            entropy: Seeded::new(7),
            now: at(0.0),
            console_id: 0,
            outbound: 0,
            seen: vec![],
            opens: vec![],
            opened_at: vec![],
            fresh: 0,
            answers_outside: true,
            answers_probes: false,
            probes: 0,
            rakp2: prove_nothing,
            open: accept,
            refusal: None,
            forged: None,
            rakp1s: vec![],
            rakp3s: vec![],
            loses_rakp4: false,
            privilege: |level| (CompletionCode::OK, vec![level]),
        }
    }

    /// A world whose session is open.
    pub(super) fn opened() -> Self {
        let mut world = Self::new();
        world.session.open(world.now, &mut world.entropy);
        world.serve();
        assert!(matches!(world.session.poll_event(), Some(Event::Opened(_))));
        world.seen.clear();
        world
    }

    pub(super) fn give(&mut self, datagram: &[u8]) {
        let now = self.now;
        self.session
            .handle_datagram(datagram, now, &mut self.entropy);
    }

    pub(super) fn setup(&mut self, kind: PayloadType, payload: &[u8]) {
        let body = Header::outside(kind).encode(payload);
        self.give(&rmcp::encode(Class::Ipmi, &body));
    }

    /// The session's own packet with an answer in it.
    pub(super) fn answer(
        &mut self,
        request: &message::Request,
        completion: CompletionCode,
        data: &[u8],
    ) {
        let message = request.respond(completion, data.to_vec()).encode();
        self.sealed(&message);
    }

    pub(super) fn sealed(&mut self, message: &[u8]) {
        self.outbound += 1;
        let header = Header {
            session_id: self.console_id,
            sequence: self.outbound,
            ..Header::outside(PayloadType::Ipmi)
        };
        self.give(&rmcp::encode(Class::Ipmi, &header.encode(message)));
    }

    /// Takes what the session sends and returns what needs an answer in the session.
    pub(super) fn take(&mut self) -> Vec<message::Request> {
        let mut requests = vec![];
        while let Some(transmit) = self.session.poll_transmit() {
            self.fresh += u32::from(transmit.fresh_port);
            let packet = rmcp::Packet::decode(&transmit.datagram).unwrap();
            if let Ok(packet) = session15::Packet::decode(packet.body) {
                let request =
                    message::Request::decode(packet.payload, Checksums::Verified).unwrap();
                if !self.answers_outside {
                    continue;
                }
                let data = [1, 0x97, 4, 3, 0, 0, 0, 0];
                let message = request.respond(CompletionCode::OK, data.to_vec()).encode();
                let body = session15::Packet::outside(&message).encode();
                self.give(&rmcp::encode(Class::Ipmi, &body));
                continue;
            }
            let packet = session20::Packet::decode(packet.body).unwrap();
            let asked = packet.header.payload_type;
            if let Some((kind, bytes)) = self.refusal.clone()
                && kind.number() == asked.number() + 1
            {
                if asked == PayloadType::OpenSessionRequest {
                    let request = open_session::Request::decode(packet.payload).unwrap();
                    self.opens.push(request);
                    self.opened_at.push(self.now);
                }
                if let [first, rest @ ..] = &bytes[..] {
                    let tag = if *first == OUR_TAG {
                        packet.payload[0]
                    } else {
                        *first
                    };
                    self.setup(kind, &[&[tag][..], rest].concat());
                }
                continue;
            }
            self.forge(asked);
            match asked {
                PayloadType::OpenSessionRequest => {
                    let request = open_session::Request::decode(packet.payload).unwrap();
                    self.console_id = request.console_id;
                    self.opens.push(request);
                    self.opened_at.push(self.now);
                    let reply = (self.open)(&request);
                    self.setup(PayloadType::OpenSessionResponse, &reply);
                }
                PayloadType::Rakp1 => {
                    let rakp1 = Rakp1::decode(packet.payload).unwrap();
                    self.rakp1s.push(rakp1.console_random);
                    let reply = (self.rakp2)(rakp1.tag, self.console_id);
                    if !reply.is_empty() {
                        self.setup(PayloadType::Rakp2, &reply);
                    }
                }
                PayloadType::Rakp3 => {
                    self.rakp3s.push(self.now);
                    if self.loses_rakp4 {
                        continue;
                    }
                    let reply = Rakp4::Accepted {
                        tag: Rakp3::decode(packet.payload).unwrap().tag,
                        console_id: self.console_id,
                        check_value: vec![],
                    };
                    self.setup(PayloadType::Rakp4, &reply.encode());
                }
                // Get Channel Cipher Suites, which this BMC does not answer.
                PayloadType::Ipmi if packet.header.session_id == 0 => {}
                _ => {
                    assert_eq!(packet.header.session_id, BMC_ID);
                    let request =
                        message::Request::decode(packet.payload, Checksums::Verified).unwrap();
                    self.seen.push((packet.header.sequence, request.clone()));
                    let is_open = matches!(self.session.state(), State::Open { .. });
                    let is_probe = match (request.net_fn, request.command) {
                        (6, 0x01) => self.counts_probes(),
                        (6, 0x3B) => is_open && self.counts_probes(),
                        _ => false,
                    };
                    if is_probe {
                        if self.answers_probes {
                            self.answer(&request, CompletionCode::OK, &[]);
                        }
                    } else if (request.net_fn, request.command) == (6, 0x3B) {
                        let (completion, data) = (self.privilege)(request.data[0]);
                        self.answer(&request, completion, &data);
                    } else {
                        requests.push(request);
                    }
                }
            }
        }
        requests
    }

    /// Before the BMC answers: somebody else's refusals, with each tag that there is and no
    /// session's number.
    fn forge(&mut self, asked: PayloadType) {
        let kind = match asked {
            PayloadType::OpenSessionRequest => PayloadType::OpenSessionResponse,
            PayloadType::Rakp1 => PayloadType::Rakp2,
            PayloadType::Rakp3 => PayloadType::Rakp4,
            _ => return,
        };
        let Some(status) = self.forged else {
            return;
        };
        for tag in 0..=255 {
            self.setup(kind, &[tag, status, 0, 0, 0, 0, 0, 0]);
            self.setup(kind, &[tag, status]);
        }
    }

    /// Get Device ID, or the session's level, that no test asked for: ours, whether the session is
    /// still there.
    fn counts_probes(&mut self) -> bool {
        self.probes += 1;
        true
    }

    /// Lets the BMC answer the handshake until there is nothing more to answer.
    pub(super) fn serve(&mut self) {
        loop {
            let before = self.session.statistics().sent;
            self.take();
            if self.session.statistics().sent == before {
                return;
            }
        }
    }

    /// Moves the clock to the next moment that the session asked for.
    pub(super) fn step(&mut self) -> bool {
        let Some(due) = self.session.poll_timeout() else {
            return false;
        };
        self.now = self.now.max(due);
        self.session.handle_timeout(self.now, &mut self.entropy);
        true
    }

    pub(super) fn ask(&mut self, resend: Resend, patience: f64) -> RequestId {
        let request = Request::of(
            &get_chassis_status::Request,
            resend,
            Duration::from_secs_f64(patience),
        );
        let id = self.session.request(request, self.now);
        self.step();
        id
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }
}
