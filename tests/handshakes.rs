//! Opening a session while single packets are lost or doubled, with a simulated BMC in virtual
//! time: one session comes of it, and none is left behind.

mod console;

use console::{Fate, Kind, Way, World, login, users};
use rackbmcd::ipmi::PrivilegeLevel;
use rackbmcd::session::OpenError;
use rackbmcd::session::secret::BmcKey;
use rackbmcd::sim::{BmcSettings, Counters, Mood, Privilege};
use std::time::Duration;

const OPEN_SESSION: u8 = 0x10;
const RAKP_1: u8 = 0x12;
const RAKP_3: u8 = 0x14;
const RAKP_4: u8 = 0x15;

fn world(loses: impl FnMut(Way, Kind) -> Fate + 'static) -> World {
    let settings = BmcSettings {
        users: users(),
        ..BmcSettings::default()
    };
    let mut world = World::new(settings, Mood::default(), login());
    world.loses = Box::new(loses);
    world
}

/// Opens a session while the `nth` packet of this kind is lost, this way: what the BMC counted, and
/// how long it took.
fn losing(way: Way, kind: Kind, nth: std::ops::Range<u32>) -> (Counters, Duration) {
    let mut seen = 0;
    let mut world = world(move |which, what| {
        if (which, what) != (way, kind) {
            return Fate::Arrives;
        }
        seen += 1;
        match nth.contains(&(seen - 1)) {
            true => Fate::Lost,
            false => Fate::Arrives,
        }
    });
    world.open().expect("a session");
    let took = world.now - rackbmcd::time::Instant::START;
    (world.bmc.counters(), took)
}

#[test]
fn one_lost_packet_costs_its_copy_and_no_second_session() {
    for kind in [
        Kind::Other,
        Kind::Setup(OPEN_SESSION),
        Kind::Setup(OPEN_SESSION + 1),
        Kind::Setup(RAKP_1),
        Kind::Setup(RAKP_1 + 1),
        Kind::Setup(RAKP_4),
        Kind::Sealed,
    ] {
        for way in [Way::There, Way::Back] {
            let (counters, took) = losing(way, kind, 0..1);
            assert_eq!(counters.sessions_opened, 1, "{way:?} {kind:?}");
            assert!(
                took <= Duration::from_millis(500),
                "{way:?} {kind:?}: {took:?}"
            );
        }
    }
}

#[test]
fn a_lost_rakp_4_is_made_up_for_under_the_keys_and_rakp_3_is_not_sent_again() {
    let mut world = world(|way, kind| match (way, kind) {
        (Way::Back, Kind::Setup(RAKP_4)) => Fate::Lost,
        _ => Fate::Arrives,
    });
    let opened = world.open().expect("a session");
    assert_eq!(opened.privilege, PrivilegeLevel::Operator);
    let rakp_3s = world.sent.iter().map(|sent| console::kind(sent));
    assert_eq!(
        rakp_3s.filter(|kind| *kind == Kind::Setup(RAKP_3)).count(),
        1
    );
    assert_eq!(world.bmc.counters().sessions_opened, 1);
    world.close();
    assert_eq!(world.bmc.open_sessions(), 0);
}

#[test]
fn a_lost_rakp_3_goes_again_after_two_questions_under_the_keys() {
    let (counters, took) = losing(Way::There, Kind::Setup(RAKP_3), 0..1);
    assert_eq!((counters.open_requests, counters.sessions_opened), (1, 1));
    assert!(took <= Duration::from_millis(1300), "{took:?}");
}

#[test]
fn rakp_3_goes_three_times_in_a_log_in_and_two_questions_under_the_keys_after_each() {
    let mut world = world(|way, kind| match (way, kind) {
        (Way::Back, Kind::Setup(RAKP_4) | Kind::Sealed) => Fate::Lost,
        _ => Fate::Arrives,
    });
    world.open().expect_err("no session");
    let sent = world.sent.iter().map(|sent| console::kind(sent));
    let (rakp_3, asked) = (Kind::Setup(RAKP_3), Kind::Sealed);
    let from_there = sent.skip_while(|kind| *kind != rakp_3);
    let log_in: Vec<Kind> = from_there
        .take_while(|kind| *kind != Kind::Setup(OPEN_SESSION))
        .collect();
    let mut expected = [rakp_3, asked, asked].repeat(3);
    // Close Session, before all starts again.
    expected.push(Kind::Sealed);
    assert_eq!(log_in, expected);
}

#[test]
fn where_the_network_makes_copies_rakp_3_waits_50_ms_for_the_newest_rakp_2() {
    let mut world = world(|way, kind| match (way, kind) {
        (Way::There, Kind::Setup(OPEN_SESSION | RAKP_1)) => Fate::Twice,
        _ => Fate::Arrives,
    });
    world.open().expect("a session");
    let took = world.now - rackbmcd::time::Instant::START;
    assert_eq!(took, Duration::from_millis(50));
    let rakp_3s = world.sent.iter().map(|sent| console::kind(sent));
    assert_eq!(
        rakp_3s.filter(|kind| *kind == Kind::Setup(RAKP_3)).count(),
        1
    );
    // The BMC has drawn another number for the copy of RAKP 1, and takes what is made with that one
    // only.
    let counters = world.bmc.counters();
    assert_eq!((counters.sessions_opened, counters.log_ins_refused), (1, 0));
}

#[test]
fn no_such_session_to_a_copy_of_rakp_3_means_that_the_first_was_taken() {
    // RAKP 4 and the answers to the first two questions are lost; the copy of RAKP 3 is refused
    // with 02h.
    let mut sealed = 0;
    let mut world = world(move |way, kind| match (way, kind) {
        (Way::Back, Kind::Setup(RAKP_4)) if sealed == 0 => Fate::Lost,
        (Way::Back, Kind::Sealed) if sealed < 2 => {
            sealed += 1;
            Fate::Lost
        }
        _ => Fate::Arrives,
    });
    world.open().expect("a session");
    let counters = world.bmc.counters();
    assert_eq!((counters.open_requests, counters.sessions_opened), (1, 1));
}

#[test]
fn what_is_given_up_after_rakp_3_is_closed_under_its_keys() {
    // The BMC has its session, and we hear no more of it. Close Session is the one sealed packet
    // that gets through.
    let mut world = world(|way, kind| match (way, kind) {
        (Way::Back, Kind::Setup(RAKP_4) | Kind::Sealed) => Fate::Lost,
        _ => Fate::Arrives,
    });
    let error = world.open().expect_err("no session");
    assert!(matches!(error, OpenError::Stalled { .. }), "{error}");
    let counters = world.bmc.counters();
    assert!(counters.sessions_opened <= 4, "{counters:?}");
    assert_eq!(counters.sessions_opened, counters.sessions_closed);
    assert_eq!(world.bmc.open_sessions(), 0);
}

#[test]
fn a_session_whose_level_is_refused_is_closed() {
    let mut world = world(|_, _| Fate::Arrives);
    world.bmc.settings_mut().users[0].privilege = Privilege::Callback;
    world.open().expect_err("no session");
    assert_eq!(world.bmc.open_sessions(), 0);
    let counters = world.bmc.counters();
    assert_eq!(counters.sessions_opened, counters.sessions_closed);
}

#[test]
fn a_refused_rakp_3_after_two_valid_rakp_2_is_a_restart_and_never_a_failed_log_in() {
    // The BMC makes a new number for each copy of RAKP 1, so that RAKP 3 answers an old one: 0Fh.
    for times in [1, 2, 3, u32::MAX] {
        let mut seen = 0;
        let mut world = world(move |way, kind| match (way, kind) {
            (Way::There, Kind::Setup(RAKP_1)) => {
                seen += 1;
                if seen <= times {
                    Fate::Twice
                } else {
                    Fate::Arrives
                }
            }
            _ => Fate::Arrives,
        });
        match world.open() {
            Ok(_) => assert_eq!(world.bmc.counters().sessions_opened, 1, "{times}"),
            Err(error) => {
                assert_eq!(times, u32::MAX, "{error}");
                let told = error.to_string();
                assert!(!told.contains("password"), "{told}");
                assert!(matches!(error, OpenError::Stalled { .. }), "{told}");
            }
        }
    }
}

#[test]
fn a_wrong_bmc_key_is_told_as_that_and_not_as_a_wrong_password() {
    let key = |bytes: &[u8]| BmcKey::new(bytes.to_vec()).expect("short");
    for (bmc_has, configured, said) in [
        (
            Some(b"theirs".to_vec()),
            None,
            "the BMC says that it has one, and none is configured",
        ),
        (
            None,
            Some(key(b"ours")),
            "one is configured, and the BMC says that it has none",
        ),
        (
            Some(b"theirs".to_vec()),
            Some(key(b"ours")),
            "the one configured is not the BMC's",
        ),
    ] {
        let settings = BmcSettings {
            users: users(),
            bmc_key: bmc_has,
            ..BmcSettings::default()
        };
        let mut login = login();
        login.bmc_key = configured;
        let mut world = World::new(settings, Mood::default(), login);
        let error = world.open().expect_err("another key");
        assert!(matches!(error, OpenError::WrongKey { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}
