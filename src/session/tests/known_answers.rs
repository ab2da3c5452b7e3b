//! Whole sessions against bytes that are not ours: computed by `tests/vectors/make_sessions.py` with Python's hashlib,
//! and recorded between ipmitool and ipmi_sim.

use super::*;
use crate::ipmi::rakp::{Rakp1, Rakp2, Rakp3, Rakp4};
use crate::ipmi::rmcp;
use crate::ipmi::session20;
use crate::ipmi::{SuiteId, Wire, open_session};
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
        Tape { blocks: 0 }
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
    let keys = verified
        .verify_rakp4(&check_value, &password, None)
        .ok()
        .unwrap();
    let seal = |keys, to, from| {
        Seal::V20(Box::new(Seal20 {
            suite,
            keys,
            console_id: to,
            bmc_id: from,
            quirks: Quirks::NONE,
        }))
    };
    // The BMC's side reads what ipmitool sends: the ids change places.
    let bmc_keys = super::super::key_exchange::SessionKeys {
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

#[test]
fn no_truncation_and_no_flipped_bit_changes_what_a_session_comes_to() {
    // One for each kind of code; the packets of the others are built alike.
    let kinds = [1, 3, 12, 17].map(SuiteId);
    let chosen = |recorded: &Recorded| kinds.contains(&recorded.settings.suites[0]);
    for recorded in sessions().into_iter().filter(chosen) {
        let sealed = recorded.settings.suites[0].has_integrity();
        let proved = recorded.settings.suites[0] != SuiteId(0);
        // The last two are Close Session, which nobody asks for here.
        for target in (0..14).filter(|at| !recorded.packets[*at].0) {
            let right = &recorded.packets[target].1;
            // RAKP 2 and 4 prove what follows tag, status, reserved bytes and console id.
            let proof = proved && (target == 5 || target == 7);
            let covered = sealed && target >= 9;
            for at in 0..right.len() {
                let flips = (0..8).map(|bit| {
                    let mut bytes = right.clone();
                    bytes[at] ^= 1 << bit;
                    bytes
                });
                for wrong in flips.chain([right[..at].to_vec()]) {
                    let mut entropy = Tape::new();
                    let mut session = Session::new(recorded.settings.clone());
                    orders(&mut session);
                    session.open(at_packet(0), &mut entropy);
                    for (number, (ours, bytes)) in recorded.packets[..target].iter().enumerate() {
                        if *ours {
                            session.poll_transmit();
                        } else {
                            session.handle_datagram(bytes, at_packet(number), &mut entropy);
                        }
                    }
                    while session.poll_event().is_some() {}
                    while session.poll_transmit().is_some() {}
                    session.handle_datagram(&wrong, at_packet(target), &mut entropy);
                    if proof && at >= 24 {
                        let event = session.poll_event();
                        assert!(
                            matches!(event, None | Some(Event::OpenFailed(_))),
                            "packet {target} byte {at}: {event:?}"
                        );
                        assert_eq!(session.poll_transmit(), None);
                    }
                    if covered && at >= 4 {
                        assert_eq!(session.poll_event(), None, "packet {target} byte {at}");
                        assert_eq!(session.poll_transmit(), None);
                        let dropped = session.statistics().dropped;
                        assert_eq!(dropped.values().sum::<u64>(), 1);
                        // And the right one still counts: the wrong one moved nothing.
                        session.handle_datagram(right, at_packet(target), &mut entropy);
                        assert_eq!(session.statistics().dropped, dropped);
                    }
                }
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
    use crate::ipmi::session15::{self, AuthType};
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
