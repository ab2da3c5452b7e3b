//! Whole sessions, byte for byte, computed or recorded by others.
//!
//! `tests/vectors/sim-*.txt` were written by `sim_known_answers.py` beside them (hashlib, hmac,
//! openssl); `ipmitool-suite3.txt` is a recording of ipmitool and ipmi_sim, neither of them ours.

use super::super::crypto::{self, Suite};
use super::super::{Bmc, BmcSettings, ChassisOrder, Mood, Privilege, User};
use crate::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn replay(recording: &str, settings: BmcSettings) -> Bmc {
    let console: SocketAddr = "192.0.2.1:40000".parse().unwrap();
    let mut bmc = Bmc::new(settings, Mood::default(), 7);
    let mut now = Instant::START;
    let mut exchanges = 0;
    for (number, line) in recording.lines().enumerate() {
        if let Some(sent) = line.strip_prefix("> ") {
            now += Duration::from_millis(10);
            bmc.handle_datagram(console, &unhex(sent), now);
        } else if let Some(expected) = line.strip_prefix("< ") {
            let (to, bytes) = bmc.poll_transmit().unwrap_or_else(|| {
                panic!("line {}: no reply, {:?}", number + 1, bmc.counters());
            });
            assert_eq!(to, console);
            assert_eq!(bytes, unhex(expected), "line {}", number + 1);
            exchanges += 1;
        }
    }
    assert!(exchanges > 8);
    assert_eq!(bmc.poll_transmit(), None);
    bmc
}

fn settings() -> BmcSettings {
    BmcSettings {
        users: vec![User::new(
            "admin",
            "secret-Password",
            Privilege::Administrator,
        )],
        ..BmcSettings::default()
    }
}

fn expect_one_off_and_a_closed_session(bmc: &Bmc) {
    assert_eq!(bmc.host().count(ChassisOrder::Off), 1);
    assert_eq!(bmc.host().executed().len(), 1);
    assert_eq!(
        (bmc.open_sessions(), bmc.counters().sessions_closed),
        (0, 1)
    );
}

#[test]
fn a_session_of_suite_3_is_the_one_that_python_computes() {
    let recording = include_str!("../../../tests/vectors/sim-suite3.txt");
    expect_one_off_and_a_closed_session(&replay(recording, settings()));
}

#[test]
fn a_session_of_suite_17_with_a_bmc_key_of_zeros_inside_is_the_one_that_python_computes() {
    let recording = include_str!("../../../tests/vectors/sim-suite17.txt");
    let settings = BmcSettings {
        bmc_key: Some(unhex("00112233445566778899aabbccddeeff00112200")),
        ..settings()
    };
    expect_one_off_and_a_closed_session(&replay(recording, settings));
}

#[test]
fn a_session_of_ipmi_1_5_is_the_one_that_python_computes() {
    let recording = include_str!("../../../tests/vectors/sim-version15-md5.txt");
    let settings = BmcSettings {
        offers_v15: true,
        ..settings()
    };
    expect_one_off_and_a_closed_session(&replay(recording, settings));
}

#[test]
fn the_codes_and_ciphers_of_a_recorded_session_are_ours_too() {
    let lines: Vec<Vec<u8>> = include_str!("../../../tests/vectors/ipmitool-suite3.txt")
        .lines()
        .filter_map(|line| line.strip_prefix("> ").or(line.strip_prefix("< ")))
        .map(unhex)
        .collect();
    // Every RMCP+ payload begins after 16 bytes of headers.
    let [rakp_1, rakp_2, rakp_3, rakp_4] = [4, 5, 6, 7].map(|n: usize| &lines[n][16..]);
    let suite = Suite::by_id(3).unwrap();
    let hash = |key: &[u8], parts: &[&[u8]]| suite.authentication.keyed_hash(key, parts);
    let (console_id, bmc_id) = (&rakp_2[4..8], &rakp_1[4..8]);
    let (console_random, bmc_random, guid) = (&rakp_1[8..24], &rakp_2[8..24], &rakp_2[24..40]);
    let named = [&rakp_1[24..25], &rakp_1[27..]].concat();
    let password = b"secret";
    let code = hash(
        password,
        &[console_id, bmc_id, console_random, bmc_random, guid, &named],
    );
    assert_eq!(code, &rakp_2[40..]);
    assert_eq!(
        hash(password, &[bmc_random, console_id, &named]),
        &rakp_3[8..]
    );
    let session_key = hash(password, &[console_random, bmc_random, &named]);
    let check = hash(&session_key, &[console_random, bmc_id, guid]);
    assert_eq!(&check[..12], &rakp_4[8..]);

    let key = |number| crypto::additional_key(suite.authentication, &session_key, number, 20);
    for packet in &lines[8..] {
        let (guarded, code) = packet[4..].split_at(packet.len() - 4 - 12);
        assert_eq!(suite.integrity.code(&key(1), password, guarded), code);
        let length = usize::from(packet[14]);
        let message = suite
            .confidentiality
            .reveal(&key(2), &packet[16..16 + length])
            .unwrap();
        // A message begins with one of the two addresses and its checksum.
        assert!([0x20, 0x81].contains(&message[0]));
        assert_eq!(
            message[0].wrapping_add(message[1]).wrapping_add(message[2]),
            0
        );
    }
}
