//! Our session with simulated firmware that needs something done differently, in virtual time: with the preset under its
//! usual name the session opens and reads the power state; where a preset is needed, without it it does not.
//!
//! The simulator's side of most of these is judged by ipmipower with the same word (`tests/sim_clients.rs`).

use rackbmcd::entropy::Seeded;
use rackbmcd::ipmi::SuiteId;
use rackbmcd::ipmi::command::get_chassis_status;
use rackbmcd::session::secret::Password;
use rackbmcd::session::{AuthChoice, Event, Protocol, Quirks, Request, Resend, Session, Settings};
use rackbmcd::sim::{self, Bmc, BmcSettings, Mood, Privilege, User};
use rackbmcd::time::Instant;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Whether the power state can be read within half a minute, and the quirks that the session ended up with.
fn reads(words: &[&str], protocol: Protocol, suite: u8, quirks: sim::Quirks) -> (bool, String) {
    let settings = BmcSettings {
        users: vec![User::new("admin", "secret", Privilege::Administrator)],
        suites: vec![suite],
        offers_v15: true,
        ..BmcSettings::default()
    };
    let mood = Mood {
        quirks,
        ..Mood::default()
    };
    let mut bmc = Bmc::new(settings, mood, 3);
    let mut session = Session::new(Settings {
        suites: vec![SuiteId(suite)],
        protocol,
        quirks: Quirks::parse(words.iter().copied()).expect("known words"),
        ..Settings::new("admin", Password::new(*b"secret").expect("short"))
    });
    let mut entropy = Seeded::new(5);
    let mut now = Instant::START;
    let end = now + Duration::from_secs(30);
    let status = get_chassis_status::Request;
    session.request(Request::of(&status, Resend::Allowed, end - now), now);
    session.open(now, &mut entropy);
    let from = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 10_000));
    let mut good = false;
    while now < end {
        while let Some(transmit) = session.poll_transmit() {
            bmc.handle_datagram(from, &transmit.datagram, now);
            while let Some((_, reply)) = bmc.poll_transmit() {
                session.handle_datagram(&reply, now, &mut entropy);
            }
        }
        while let Some(event) = session.poll_event() {
            good |= matches!(event, Event::Answered { completion, .. } if completion.is_ok());
        }
        let Some(due) = session.poll_timeout().filter(|_| !good) else {
            break;
        };
        now = now.max(due);
        bmc.handle_timeout(now);
        session.handle_timeout(now, &mut entropy);
    }
    (good, format!("{:?}", session.statistics().quirks))
}

macro_rules! firmware {
    ($($field:ident),*) => {
        sim::Quirks { $($field: true,)* ..sim::Quirks::default() }
    };
}

#[test]
fn firmware_that_needs_a_quirk_is_spoken_to_with_it_and_not_without() {
    let md5 = Protocol::V15(AuthChoice::Strongest);
    let v20 = Protocol::V20;
    for (word, protocol, suite, firmware) in [
        (
            "intel20",
            v20,
            3,
            firmware!(padded_user_names, rakp3_level_only, rakp4_by_integrity),
        ),
        (
            "intelplus",
            v20,
            3,
            firmware!(rakp3_level_only, rakp4_by_integrity),
        ),
        ("rakp3_wrong_rolem", v20, 3, firmware!(rakp3_level_only)),
        (
            "rmcpp_integ_sik",
            v20,
            3,
            firmware!(integrity_key_is_session_key),
        ),
        ("nochecksumcheck", v20, 3, firmware!(wrong_checksums)),
        ("idzero", md5, 3, firmware!(session_id_zero_1_5)),
        ("noauthcodecheck", md5, 3, firmware!(wrong_codes_1_5)),
    ] {
        let (good, quirks) = reads(&[word], protocol, suite, firmware);
        assert!(good, "with {word}: {quirks}");
        let (good, quirks) = reads(&[], protocol, suite, firmware);
        assert!(!good, "without {word}: {quirks}");
    }
}

#[test]
fn what_is_safe_to_find_out_is_found_out() {
    for (suite, firmware, found) in [
        (3, firmware!(rakp2_extra_byte), "rakp2_trim1"),
        (17, firmware!(rakp2_extra_byte), "rakp2_trim1"),
        (3, firmware!(tag_always_zero), "tag0_ok"),
        (
            8,
            firmware!(key_constants_as_long_as_digest),
            "k_const=digest",
        ),
        (
            17,
            firmware!(key_constants_as_long_as_digest),
            "k_const=digest",
        ),
    ] {
        let (good, quirks) = reads(&[], Protocol::V20, suite, firmware);
        assert!(good && quirks.contains(found), "suite {suite}: {quirks}");
    }
}

#[test]
fn what_needs_no_quirk_of_ours_is_taken_as_it_is() {
    for firmware in [
        firmware!(level_of_open_session),
        firmware!(exact_level_lookup),
        firmware!(aes_pad_16_for_0),
        firmware!(extra_status_byte),
        firmware!(skips_sequence_numbers),
        firmware!(short_cipher_records),
        firmware!(refuses_extended_capabilities),
        firmware!(error_replies_zeroed),
    ] {
        let (good, quirks) = reads(&[], Protocol::V20, 17, firmware);
        assert!(good, "{firmware:?}: {quirks}");
    }
    let (good, _) = reads(
        &[],
        Protocol::V15(AuthChoice::Strongest),
        3,
        firmware!(pad_1_5),
    );
    assert!(good, "a trailing byte in IPMI 1.5");
}
