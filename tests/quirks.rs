//! Our session with simulated firmware that needs something done differently, in virtual time: with
//! the preset under its usual name the session opens and reads the power state; where a preset is
//! needed, without it it does not.
//!
//! The simulator's side of most of these is judged by ipmipower with the same word
//! (`tests/sim_clients.rs`).

mod console;

use console::{World, login, users};
use rackbmcd::ipmi::SuiteId;
use rackbmcd::ipmi::command::{chassis_control, get_chassis_status};
use rackbmcd::session::secret::Password;
use rackbmcd::session::{AuthChoice, Event, Protocol, Quirks, Resend, Settings};
use rackbmcd::sim::{self, BmcSettings, ChassisOrder, Mood};
use std::time::Duration;

fn world(words: &[&str], protocol: Protocol, suite: u8, mood: Mood) -> World {
    let settings = BmcSettings {
        users: users(),
        suites: vec![suite],
        offers_v15: true,
        ..BmcSettings::default()
    };
    let login = Settings {
        suites: vec![SuiteId(suite)],
        protocol,
        quirks: Quirks::parse(words.iter().copied()).expect("known words"),
        ..login()
    };
    World::new(settings, mood, login)
}

/// Whether the power state can be read within half a minute, and the quirks that the session ended
/// up with.
fn reads(words: &[&str], protocol: Protocol, suite: u8, mood: &Mood) -> (bool, String) {
    let patience = Duration::from_secs(30);
    let mut world = world(words, protocol, suite, mood.clone());
    let id = world.ask(&get_chassis_status::Request, Resend::Allowed, patience);
    world.begin();
    let good = world.run(patience, |world| world.answered(id));
    (good, format!("{:?}", world.session.statistics().quirks))
}

macro_rules! firmware {
    ($($field:ident),*) => {
        Mood {
            quirks: sim::Quirks { $($field: true,)* ..sim::Quirks::default() },
            ..Mood::default()
        }
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
        ("authcap", md5, 3, firmware!(empty_capabilities)),
        ("forcepermsg", md5, 3, firmware!(needed_codes_1_5)),
        ("endianseq", md5, 3, firmware!(swapped_sequence_1_5)),
        (
            "endianseq",
            md5,
            3,
            firmware!(swapped_sequence_1_5, swapped_start_1_5),
        ),
        ("quanta", md5, 3, firmware!(oem_only_1_5)),
        (
            "supermicro",
            md5,
            3,
            firmware!(oem_only_1_5, challenge_codes_1_5),
        ),
        (
            "integritycheckvalue",
            v20,
            0,
            firmware!(rakp4_value_without_authentication),
        ),
        ("icts", v20, 3, firmware!(icts_pad)),
        ("icts", v20, 17, firmware!(icts_pad)),
        ("name_only=off", v20, 17, firmware!(no_name_only_lookup)),
        ("unencrypted_ok", v20, 17, firmware!(plain_replies)),
        (
            "i82571spt",
            v20,
            3,
            Mood {
                ignores_capabilities: true,
                ..firmware!(
                    hashes_level_only,
                    rakp3_level_only,
                    rakp4_by_integrity,
                    user_field_16,
                    no_set_privilege
                )
            },
        ),
        // Each of its parts is needed.
        ("user_field16", v20, 3, firmware!(user_field_16)),
        ("role4_in_hashes", v20, 3, firmware!(hashes_level_only)),
        ("no_set_privilege", v20, 3, firmware!(no_set_privilege)),
        ("rakp4_by_integrity", v20, 1, firmware!(rakp4_by_integrity)),
    ] {
        let (good, quirks) = reads(&[word], protocol, suite, &firmware);
        assert!(good, "with {word}: {quirks}");
        let (good, quirks) = reads(&[], protocol, suite, &firmware);
        assert!(!good, "without {word}: {quirks}");
    }
}

#[test]
fn a_pulse_reaches_firmware_that_sees_each_datagram_late_where_dummies_follow() {
    let mood = Mood {
        sees_late: true,
        ..Mood::default()
    };
    for protocol in [Protocol::V15(AuthChoice::Strongest), Protocol::V20] {
        for (words, expected) in [(&["intelwv2"][..], 1), (&[], 0)] {
            let mut world = world(words, protocol, 17, mood.clone());
            let patience = Duration::from_secs(20);
            let cycle = chassis_control::Request::PowerCycle;
            let id = world.ask(&cycle, Resend::Never, patience);
            world.begin();
            let answered = world.run(patience, |world| world.answered(id));
            assert_eq!(answered, expected == 1, "{protocol:?} {words:?}");
            let cycles = world.bmc.host().count(ChassisOrder::Cycle);
            assert_eq!(cycles, expected, "{protocol:?} {words:?}");
        }
    }
}

#[test]
fn after_a_reset_nothing_is_sent_to_firmware_that_would_not_answer_the_close() {
    for (words, packets) in [(&[][..], 1), (&["no_close_after_reset"], 0)] {
        let firmware = firmware!(silent_close_after_reset);
        let mut world = world(words, Protocol::V20, 17, firmware);
        let patience = Duration::from_secs(9);
        world.begin();
        let reset = world.ask(
            &chassis_control::Request::HardReset,
            Resend::Never,
            patience,
        );
        assert!(world.run(patience, |world| world.answered(reset)));
        // The machine is looked at after the reset, and before the end.
        let status = world.ask(&get_chassis_status::Request, Resend::Allowed, patience);
        world.session.handle_timeout(world.now, &mut world.entropy);
        assert!(world.run(patience, |world| world.answered(status)));
        let (sent, before) = (world.session.statistics().sent, world.now);
        world.session.close(world.now, &mut world.entropy);
        let closed = |world: &World| world.events.contains(&Event::Closed);
        assert!(world.run(patience, closed));
        assert_eq!(world.session.statistics().sent - sent, packets, "{words:?}");
        assert_eq!(world.now > before, packets > 0, "{words:?}");
        // Whether it was told or not, the BMC may have it still, which counts.
        assert_eq!(world.session.left_behind(world.now), 1, "{words:?}");
    }
    // Where the machine was not reset, the session is closed as ever.
    let mut world = world(
        &["no_close_after_reset"],
        Protocol::V20,
        17,
        firmware!(silent_close_after_reset),
    );
    world.begin();
    let open = |world: &World| world.bmc.open_sessions() == 1;
    assert!(world.run(Duration::from_secs(9), open));
    world.run(Duration::from_secs(1), |world| !world.events.is_empty());
    world.session.close(world.now, &mut world.entropy);
    world.run(Duration::from_secs(9), |world| {
        world.events.contains(&Event::Closed)
    });
    assert_eq!(world.bmc.open_sessions(), 0);
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
        let (good, quirks) = reads(&[], Protocol::V20, suite, &firmware);
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
        let (good, quirks) = reads(&[], Protocol::V20, 17, &firmware);
        assert!(good, "{firmware:?}: {quirks}");
    }
    for firmware in [firmware!(pad_1_5), firmware!(unasked_codes_1_5)] {
        let md5 = Protocol::V15(AuthChoice::Strongest);
        let (good, quirks) = reads(&[], md5, 3, &firmware);
        assert!(good, "{firmware:?}: {quirks}");
        let (good, _) = reads(&["unexpectedauth"], md5, 3, &firmware);
        assert!(good, "{firmware:?}");
    }
}

#[test]
fn a_password_counts_to_its_16th_byte_with_hmac_md5_where_the_firmware_has_it_so() {
    const LONG: &str = "twenty-bytes-of-pass";
    let firmware = firmware!(password16_with_md5);
    for (suite, words, expected) in [
        (8, &["intel20"][..], true),
        (8, &["password16_md5"], true),
        (8, &[], false),
        // HMAC-SHA1 takes all of it.
        (3, &["password16_md5"], true),
        (3, &[], true),
    ] {
        let mut world = world(words, Protocol::V20, suite, firmware.clone());
        if words == ["intel20"] {
            let quirks = &mut world.bmc.mood_mut().quirks;
            (quirks.padded_user_names, quirks.rakp3_level_only) = (true, true);
        }
        world.bmc.settings_mut().users[0].password = LONG.as_bytes().to_vec();
        let login = Settings {
            password: Password::new(LONG.as_bytes()).expect("20 bytes"),
            ..world.session.settings().clone()
        };
        world
            .session
            .replace_settings(login, world.now, &mut world.entropy);
        assert_eq!(world.open().is_ok(), expected, "suite {suite} {words:?}");
    }
}
