//! Whole sessions against bytes that are not ours: computed by `tests/vectors/make_sessions.py`
//! with Python's hashlib, and recorded between ipmitool and ipmi_sim.

use super::*;
use crate::ipmi::command::chassis_control;
use crate::ipmi::message::Checksums;
use crate::ipmi::rakp::{Rakp1, Rakp2, Rakp3, Rakp4};
use crate::ipmi::rmcp;
use crate::ipmi::session20;
use crate::ipmi::{SuiteId, Wire, message, open_session, session15};
use crate::session::key_exchange::Transcript;
use crate::session::seal::{Seal, Seal20};
use crate::session::secret::BmcKey;

const SESSIONS: &str = include_str!("../../../tests/vectors/sessions.txt");
const IPMITOOL: &str = include_str!("../../../tests/vectors/ipmitool-suite3.txt");

/// The draws that `make_sessions.py` assumes.
pub(super) struct Tape {
    blocks: u8,
}

impl Tape {
    pub(super) fn new() -> Self {
        Self { blocks: 0 }
    }
}

impl Entropy for Tape {
    fn fill(&mut self, bytes: &mut [u8]) {
        if bytes.len() == 16 {
            bytes.fill(self.blocks);
            self.blocks += 1;
        } else {
            bytes.copy_from_slice(&0x0123_4567_89AB_CDEF_u64.to_le_bytes()[..bytes.len()]);
        }
    }
}

pub(super) fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// One session: suite, K_G, and its packets with their direction (`true`: to the BMC).
pub(super) struct Recorded {
    pub(super) settings: Settings,
    pub(super) packets: Vec<(bool, Vec<u8>)>,
}

pub(super) fn sessions() -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    for line in SESSIONS.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "=" {
            let (suite, key) = rest.split_once(' ').unwrap();
            let mut settings = settings();
            settings.suites = vec![SuiteId(suite.parse().unwrap())];
            if key != "-" {
                settings.bmc_key = Some(BmcKey::new(hex(key)).unwrap());
            }
            all.push(Recorded {
                settings,
                packets: Vec::new(),
            });
        } else {
            all.last_mut()
                .unwrap()
                .packets
                .push((kind == ">", hex(rest)));
        }
    }
    assert_eq!(all.len(), 14);
    all
}

pub(super) fn orders(session: &mut Session) -> [RequestId; 2] {
    let status = crate::ipmi::command::get_chassis_status::Request;
    let soft = chassis_control::Request::SoftShutdown;
    let patience = Duration::from_secs(5);
    [
        session.request(Request::of(&status, Resend::Allowed, patience), at(0.0)),
        session.request(Request::of(&soft, Resend::Never, patience), at(0.0)),
    ]
}

#[test]
fn every_packet_of_a_session_is_the_one_that_another_implementation_computes() {
    for recorded in sessions() {
        let suite = recorded.settings.suites[0];
        let mut entropy = Tape::new();
        let mut session = Session::new(recorded.settings);
        let [status, soft] = orders(&mut session);
        session.open(at(0.0), &mut entropy);
        let mut events = Vec::new();
        for (number, (ours, bytes)) in recorded.packets.iter().enumerate() {
            let now = at(number as f64 / 100.0);
            if *ours {
                let transmit = session.poll_transmit().expect("a packet");
                assert_eq!(transmit.datagram, *bytes, "suite {suite}, packet {number}");
                assert_eq!(transmit.fresh_port, number == 0);
            } else {
                session.handle_datagram(bytes, now, &mut entropy);
            }
            while let Some(event) = session.poll_event() {
                if matches!(event, Event::Answered { id, .. } if id == soft) {
                    session.close(now, &mut entropy);
                }
                events.push(event);
            }
        }
        assert_eq!(session.poll_transmit(), None);
        let [Event::Opened(opened), first, second, Event::Closed] = &events[..] else {
            panic!("suite {suite}: {events:?}");
        };
        assert_eq!(opened.suite(), Some(suite));
        assert!(opened.evidence.is_empty(), "{:?}", opened.evidence);
        let answer = |id, completion, data: &[u8]| Event::Answered {
            id,
            completion,
            data: data.to_vec(),
            // Sent when the answer before came.
            round_trip: Some(Duration::from_millis(20)),
        };
        use crate::ipmi::CompletionCode;
        let on = [0x21, 0x10, 0x40, 0x70];
        assert_eq!(*first, answer(status, CompletionCode::OK, &on));
        let refused = CompletionCode::NOT_IN_PRESENT_STATE;
        assert_eq!(*second, answer(soft, refused, &[]));
        assert!(session.statistics().dropped.is_empty());
    }
}

/// Hands out the initialisation vector that a recorded packet has.
struct Recall([u8; 16]);

impl Entropy for Recall {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }
}

#[test]
fn a_session_of_ipmitool_with_ipmi_sim_is_understood_and_sealed_alike() {
    let packets: Vec<Vec<u8>> = IPMITOOL
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| hex(&line[2..]))
        .collect();
    let body = |at: usize| rmcp::Packet::decode(&packets[at]).unwrap().body;
    let payload = |at: usize| session20::Packet::decode(body(at)).unwrap().payload;
    let Ok(open_session::Response::Accepted(accepted)) = open_session::Response::decode(payload(3))
    else {
        panic!("open session response");
    };
    let rakp1 = Rakp1::decode(payload(4)).unwrap();
    let Ok(Rakp2::Accepted {
        bmc_random,
        guid,
        code,
        ..
    }) = Rakp2::decode(payload(5))
    else {
        panic!("RAKP 2");
    };
    let transcript = Transcript {
        suite: SuiteId::from_algorithms(accepted.algorithms)
            .unwrap()
            .suite()
            .unwrap(),
        quirks: Quirks::NONE,
        console_id: accepted.console_id,
        bmc_id: accepted.bmc_id,
        console_random: rakp1.console_random,
        bmc_random,
        guid,
        role: rakp1.role,
        name: rakp1.name,
    };
    let suite = transcript.suite;
    let wrong = Password::new(*b"Secret").unwrap();
    assert!(transcript.clone().verify_rakp2(&code, &wrong).is_err());
    let password = Password::new(*b"secret").unwrap();
    let verified = transcript.verify_rakp2(&code, &password).ok().unwrap();
    let rakp3 = Rakp3::decode(payload(6)).unwrap();
    assert_eq!(rakp3.code, *verified.rakp3_code());
    let Ok(Rakp4::Accepted { check_value, .. }) = Rakp4::decode(payload(7)) else {
        panic!("RAKP 4");
    };
    assert!(verified.is_rakp4(&check_value, None));
    let keys = verified.session_keys(&password, None);
    let seal = |keys, to, from| {
        Seal::V20(Box::new(Seal20 {
            suite,
            keys,
            console_id: to,
            bmc_id: from,
            quirks: Quirks::NONE,
            last: Default::default(),
        }))
    };
    // The BMC's side reads what ipmitool sends: the ids change places.
    let bmc_keys = key_exchange::SessionKeys {
        integrity: keys.integrity.clone(),
        password: keys.password.clone(),
        cipher: keys.cipher.clone(),
    };
    let console = seal(keys, accepted.console_id, accepted.bmc_id);
    let bmc = seal(bmc_keys, accepted.bmc_id, accepted.console_id);
    for (number, packet) in packets.iter().enumerate().skip(8) {
        let (reader, writer) = if number % 2 == 0 {
            (&bmc, &console)
        } else {
            (&console, &bmc)
        };
        let unsealed = reader.unseal(body(number)).expect("a right code");
        let mut iv = Recall(payload(number)[..16].try_into().unwrap());
        let again = writer.seal(unsealed.sequence, &unsealed.message, &mut iv);
        // ipmi_sim pads with a block where none is needed; then ours is shorter and just as valid.
        if again.len() == packet.len() {
            assert_eq!(again, *packet, "packet {number}");
        }
        for at in 4..packet.len() {
            for bit in 0..8 {
                let mut flipped = packet.clone();
                flipped[at] ^= 1 << bit;
                assert!(reader.unseal(&flipped[4..]).is_err(), "byte {at} bit {bit}");
            }
            assert!(reader.unseal(&packet[4..at]).is_err());
        }
    }
}

/// Every flip of one bit and every truncation of `right`, with the place where it is.
fn wrong_ones(right: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..right.len()).flat_map(move |at| {
        let flips = (0..8).map(move |bit| {
            let mut bytes = right.to_vec();
            bytes[at] ^= 1 << bit;
            (at, bytes)
        });
        flips.chain([(at, right[..at].to_vec())])
    })
}

impl Recorded {
    /// A session that waits for the packet with this number, and was drained.
    fn session_before(&self, target: usize) -> (Session, Tape) {
        let mut entropy = Tape::new();
        let mut session = Session::new(self.settings.clone());
        orders(&mut session);
        session.open(at_packet(0), &mut entropy);
        for (number, (ours, bytes)) in self.packets[..target].iter().enumerate() {
            if *ours {
                session.poll_transmit();
            } else {
                session.handle_datagram(bytes, at_packet(number), &mut entropy);
            }
        }
        while session.poll_event().is_some() {}
        while session.poll_transmit().is_some() {}
        (session, entropy)
    }
}

#[test]
fn no_truncation_and_no_flipped_bit_of_a_handshake_makes_a_session() {
    for recorded in sessions() {
        // RAKP 2 and 4 prove what follows tag, status, reserved bytes and console id.
        let proved = recorded.settings.suites[0] != SuiteId(0);
        for target in [1, 3, 5, 7] {
            for (at, wrong) in wrong_ones(&recorded.packets[target].1) {
                let (mut session, mut entropy) = recorded.session_before(target);
                session.handle_datagram(&wrong, at_packet(target), &mut entropy);
                if proved && target >= 5 && at >= 24 {
                    let event = session.poll_event();
                    assert!(
                        matches!(event, None | Some(Event::OpenFailed(_))),
                        "packet {target} byte {at}: {event:?}"
                    );
                    // A Close Session at most, for a session that the BMC has and we do not take.
                    let closes = target == 7 && event.is_some();
                    assert_eq!(session.poll_transmit().is_some(), closes);
                    assert_eq!(session.poll_transmit(), None);
                }
            }
        }
    }
}

#[test]
fn no_truncation_and_no_flipped_bit_of_a_sealed_packet_is_taken_or_moves_anything() {
    for recorded in sessions() {
        let sealed = recorded.settings.suites[0].has_integrity();
        // The last two are Close Session, which nobody asks for here.
        for target in [9, 11, 13] {
            let right = &recorded.packets[target].1;
            let (mut session, mut entropy) = recorded.session_before(target);
            let mut count = 0;
            for (at, wrong) in wrong_ones(right) {
                if !sealed {
                    // Nothing guards it: it must do no harm, and may be believed.
                    (session, entropy) = recorded.session_before(target);
                }
                session.handle_datagram(&wrong, at_packet(target), &mut entropy);
                // The reserved byte and the sequence number of RMCP mean nothing, and no code
                // covers them.
                if sealed && at >= 4 {
                    count += 1;
                    assert_eq!(session.poll_event(), None, "packet {target} byte {at}");
                    assert_eq!(session.poll_transmit(), None);
                    let dropped = session.statistics().dropped.values().sum::<u64>();
                    assert_eq!(dropped, count, "packet {target} byte {at}");
                } else {
                    (session, entropy) = recorded.session_before(target);
                }
            }
            if sealed {
                // And the right one still counts: the wrong ones moved nothing.
                let before = session.statistics().dropped;
                session.handle_datagram(right, at_packet(target), &mut entropy);
                assert_eq!(session.statistics().dropped, before);
                assert!(session.poll_event().is_some() || session.poll_transmit().is_some());
            }
        }
    }
}

#[test]
fn no_truncation_and_no_flipped_bit_of_any_recorded_packet_opens_anything_or_panics() {
    let files = [
        SESSIONS,
        IPMITOOL,
        V15,
        include_str!("../../../tests/vectors/sim-suite3.txt"),
        include_str!("../../../tests/vectors/sim-suite17.txt"),
        include_str!("../../../tests/vectors/sim-version15-md5.txt"),
    ];
    let lines = files.iter().flat_map(|file| file.lines());
    let packets: Vec<_> = lines
        .filter(|line| line.starts_with(['<', '>']))
        .map(|line| hex(&line[2..]))
        .collect();
    assert!(packets.len() > 250, "{}", packets.len());
    // One waits for Open Session Responses, the other for a challenge of IPMI 1.5: neither gets its
    // own.
    let mut entropy = Seeded::new(3);
    let mut waiting = [Protocol::V20, Protocol::V15(AuthChoice::Strongest)].map(|protocol| {
        let mut session = Session::new(Settings {
            protocol,
            ..settings()
        });
        session.open(at(0.0), &mut entropy);
        session.handle_timeout(at(1.0), &mut entropy);
        session
    });
    for (_, wrong) in packets.iter().flat_map(|right| wrong_ones(right)) {
        if let Ok(packet) = rmcp::Packet::decode(&wrong) {
            let body = packet.body;
            if let Ok(packet) = session20::Packet::decode(body) {
                for length in [0, 12, 16] {
                    let _ = packet.sealed(length);
                }
                let payload = packet.payload;
                let _ = open_session::Request::decode(payload);
                let _ = open_session::Response::decode(payload);
                let _ = (Rakp1::decode(payload), Rakp2::decode(payload));
                let _ = (Rakp3::decode(payload), Rakp4::decode(payload));
            }
            if let Ok(packet) = session15::Packet::decode(body) {
                let verified = Checksums::Verified;
                let _ = message::Request::decode(packet.payload, verified);
                let _ = message::Response::decode(packet.payload, verified);
            }
        }
        for session in &mut waiting {
            session.handle_datagram(&wrong, at(1.0), &mut entropy);
            while let Some(event) = session.poll_event() {
                assert!(matches!(event, Event::OpenFailed(_)), "{event:?}");
                session.open(at(1.0), &mut entropy);
            }
        }
    }
}

fn at_packet(number: usize) -> Instant {
    at(number as f64 / 100.0)
}

const V15: &str = include_str!("../../../tests/vectors/v15.txt");

#[test]
fn the_codes_of_ipmi_1_5_are_those_of_ipmitool_and_ipmipower() {
    use crate::ipmi::session15::AuthType;
    use crate::session::seal::Seal15;
    let password = Password::new(*b"secret").unwrap();
    let mut checked = std::collections::BTreeMap::new();
    for line in V15.lines().filter(|line| !line.starts_with('#')) {
        let bytes = hex(&line[2..]);
        let packet = rmcp::Packet::decode(&bytes).unwrap();
        let Ok(packet15) = session15::Packet::decode(packet.body) else {
            continue;
        };
        if packet15.code.is_none() {
            continue;
        }
        let auth_type = packet15.auth_type;
        let seal = Seal15::new(
            auth_type,
            &password,
            packet15.session_id,
            true,
            Quirks::NONE,
        );
        assert_eq!(seal.body(packet15.sequence, packet15.payload), packet.body);
        assert!(seal.unseal(packet.body).is_ok());
        let wrong = Password::new(*b"Secret").unwrap();
        let other = Seal15::new(auth_type, &wrong, packet15.session_id, true, Quirks::NONE);
        assert!(other.unseal(packet.body).is_err());
        *checked.entry(auth_type as u8).or_insert(0) += 1;
        for at in 0..packet.body.len() {
            // A password sent as such covers nothing but itself.
            let covered = auth_type != AuthType::Password || (9..25).contains(&at);
            for bit in 0..8 {
                let mut flipped = packet.body.to_vec();
                flipped[at] ^= 1 << bit;
                assert!(
                    !covered || seal.unseal(&flipped).is_err(),
                    "byte {at} bit {bit}"
                );
            }
            assert!(seal.unseal(&packet.body[..at]).is_err());
        }
    }
    // MD2, MD5 and password.
    assert_eq!(checked.keys().copied().collect::<Vec<_>>(), [1, 2, 4]);
    assert!(checked.values().all(|count| *count >= 8), "{checked:?}");
}
