//! Our session with a simulated BMC, in virtual time: IPMI 1.5 in each of its types, falling back
//! to it, and what is found out and what is not. What is done differently for single BMCs is in
//! `quirks.rs`.

mod console;

use console::{Kind, World, login, secs, users};
use rackbmcd::ipmi::SuiteId;
use rackbmcd::ipmi::command::{chassis_control, get_chassis_status};
use rackbmcd::ipmi::session15::AuthType;
use rackbmcd::session::secret::Password;
use rackbmcd::session::{AuthChoice, OpenError, Protocol, Quirks, Resend, Settings, Spoken};
use rackbmcd::sim::{BmcSettings, ChassisOrder, Mood, Privilege, Quirks as Firmware};

const STRONGEST: Protocol = Protocol::V15(AuthChoice::Strongest);

/// A BMC that has both versions.
fn settings() -> BmcSettings {
    BmcSettings {
        users: users(),
        offers_v15: true,
        kinds_v15: vec![0, 1, 2, 4, 5],
        ..BmcSettings::default()
    }
}

fn speaking(protocol: Protocol) -> Settings {
    Settings {
        protocol,
        ..login()
    }
}

fn kind(auth_type: AuthType) -> Settings {
    Settings {
        // The maker's type is never chosen by number.
        quirks: match auth_type {
            AuthType::Oem => Quirks::parse(["oem_auth"]).expect("a quirk"),
            _ => Quirks::NONE,
        },
        ..speaking(Protocol::V15(AuthChoice::Only(auth_type)))
    }
}

/// How many Get Session Challenge requests were sent: those outside a session have their command at
/// the 20th byte.
fn challenges(world: &World) -> usize {
    let asked = |sent: &&Vec<u8>| sent[4] == 0 && sent.get(19) == Some(&0x39);
    world.sent.iter().filter(asked).count()
}

/// How many Get Channel Authentication Capabilities requests were sent.
fn questions(world: &World) -> usize {
    let asked = |sent: &&Vec<u8>| sent[4] == 0 && sent.get(19) == Some(&0x38);
    world.sent.iter().filter(asked).count()
}

/// The Open Session Requests that were sent: each with our session id and the number of its
/// authentication algorithm.
fn openings(world: &World) -> Vec<(&[u8], u8)> {
    let sent = world.sent.iter();
    let openings = sent.filter(|sent| console::kind(sent) == Kind::Setup(0x10));
    openings.map(|sent| (&sent[20..24], sent[28])).collect()
}

const TYPES: [AuthType; 5] = [
    AuthType::None,
    AuthType::Md2,
    AuthType::Md5,
    AuthType::Password,
    AuthType::Oem,
];

#[test]
fn ipmi_1_5_opens_reads_switches_and_closes_in_each_of_its_types() {
    for auth_type in TYPES {
        for per_message_v15 in [true, false] {
            let settings = BmcSettings {
                per_message_v15,
                ..settings()
            };
            let mut world = World::new(settings, Mood::default(), kind(auth_type));
            let opened = world.open().expect("a session");
            assert_eq!(opened.protocol, Spoken::V15(auth_type));
            assert!(world.ask_and_wait(&get_chassis_status::Request, Resend::Allowed));
            let cycle = chassis_control::Request::PowerCycle;
            assert!(world.ask_and_wait(&cycle, Resend::Never), "{auth_type}");
            assert_eq!(world.bmc.host().count(ChassisOrder::Cycle), 1);
            world.close();
            let counters = world.bmc.counters();
            assert_eq!(
                (counters.sessions_opened, counters.sessions_closed),
                (1, 1),
                "{auth_type}"
            );
            assert_eq!(counters.dropped, 0, "{auth_type}");
        }
    }
}

#[test]
fn the_strongest_type_is_md5_and_then_md2_and_never_a_weaker_one() {
    for (kinds, expected) in [
        (vec![0, 1, 2, 4], Some(AuthType::Md5)),
        (vec![0, 1, 4], Some(AuthType::Md2)),
        (vec![0, 4], None),
    ] {
        let settings = BmcSettings {
            kinds_v15: kinds,
            ..settings()
        };
        let mut world = World::new(settings, Mood::default(), speaking(STRONGEST));
        match (world.open(), expected) {
            (Ok(opened), Some(auth_type)) => {
                assert_eq!(opened.protocol, Spoken::V15(auth_type));
            }
            (Err(OpenError::NoProtocol(_)), None) => assert_eq!(challenges(&world), 0),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_wrong_password_of_ipmi_1_5_is_tried_twice_and_said() {
    for auth_type in TYPES.into_iter().filter(|it| *it != AuthType::None) {
        let login = Settings {
            password: Password::new(*b"wrong").expect("short"),
            ..kind(auth_type)
        };
        let mut world = World::new(settings(), Mood::default(), login);
        // A BMC says nothing to it.
        let Err(OpenError::Stalled { step, attempts, .. }) = world.open() else {
            panic!("{auth_type}: {:?}", world.session.state());
        };
        assert!(step.contains("another password"), "{step}");
        assert_eq!(attempts, 2);
        assert_eq!(world.bmc.counters().log_ins_refused, 2, "{auth_type}");
        assert_eq!(world.bmc.open_sessions(), 0);
    }
}

#[test]
fn what_a_bmc_of_ipmi_1_5_refuses_ends_the_log_in_with_its_reason() {
    let good = || (settings(), Mood::default(), speaking(STRONGEST));
    let fails = |(settings, mood, login): (BmcSettings, Mood, Settings)| {
        let mut world = World::new(settings, mood, login);
        let error = world.open().expect_err("a reason");
        assert_eq!(
            world.now,
            rackbmcd::time::Instant::START,
            "{error}: at once"
        );
        error
    };
    let (bmc, mood, mut login) = good();
    login.username = "nobody".into();
    let error = fails((bmc, mood, login));
    assert!(matches!(error, OpenError::UnknownUser { .. }), "{error}");

    let (mut bmc, mood, login) = good();
    bmc.users[0].privilege = Privilege::User;
    let error = fails((bmc, mood, login));
    assert!(matches!(error, OpenError::NoPrivilege { .. }), "{error}");

    let (bmc, mut mood, login) = good();
    mood.session_table_full = Some(1);
    let error = fails((bmc, mood, login));
    assert!(matches!(error, OpenError::SessionsFull(_)), "{error}");

    let (mut bmc, mood, login) = good();
    bmc.offers_v15 = false;
    let error = fails((bmc, mood, login));
    assert!(matches!(error, OpenError::NoProtocol(_)), "{error}");

    let (bmc, mood, mut login) = good();
    login.password = Password::new(*b"seventeen-bytes-x").expect("good for IPMI 2.0");
    let error = fails((bmc, mood, login));
    assert!(matches!(error, OpenError::Settings(_)), "{error}");
}

#[test]
fn ipmi_1_5_follows_2_0_where_that_is_allowed_and_there_is_no_2_0() {
    // The BMC says so.
    let only_15 = BmcSettings {
        offers_v20: false,
        ..settings()
    };
    let login = speaking(Protocol::V20ThenV15);
    let mut world = World::new(only_15.clone(), Mood::default(), login.clone());
    let opened = world.open().expect("a session");
    assert_eq!(opened.protocol, Spoken::V15(AuthType::Md5));
    let plus = |sent: &&Vec<u8>| sent[4] == 6;
    assert_eq!(
        world.sent.iter().find(plus),
        None,
        "Open Session is not tried"
    );

    // It says otherwise, and takes no cipher suite.
    let no_suite = BmcSettings {
        suites: vec![],
        ..settings()
    };
    let mut world = World::new(no_suite.clone(), Mood::default(), login.clone());
    let opened = world.open().expect("a session");
    assert_eq!(opened.protocol, Spoken::V15(AuthType::Md5));
    let evidence = opened.evidence.join("; ");
    assert!(evidence.contains("fell back to IPMI 1.5"), "{evidence}");
    assert!(evidence.contains("suite 17 refused"), "{evidence}");

    // Where 2.0 worked once, whoever answers with less is not the BMC.
    for weaker in [only_15.clone(), no_suite] {
        let mut world = World::new(weaker, Mood::default(), login.clone());
        world.session.recall(Some(SuiteId(17)), Quirks::NONE);
        world.open().expect_err("no session");
        assert_eq!(challenges(&world), 0);
    }

    // Where 2.0 works, it is 2.0.
    let mut world = World::new(settings(), Mood::default(), login);
    let opened = world.open().expect("a session");
    assert_eq!(opened.protocol, Spoken::V20(SuiteId(17)));

    // And nothing follows where that was not asked for.
    let mut world = World::new(only_15, Mood::default(), speaking(Protocol::V20));
    let error = world.open().expect_err("no session");
    assert!(matches!(error, OpenError::NoProtocol(_)), "{error}");
    assert_eq!(challenges(&world), 0);
    // Tried all the same: one log-in, with the first suite.
    let openings = openings(&world);
    assert!((1..=4).contains(&openings.len()), "{openings:?}");
    assert_eq!(openings[0].1, 3, "17's HMAC-SHA256");
    assert!(openings.iter().all(|it| *it == openings[0]), "{openings:?}");
}

#[test]
fn capabilities_are_asked_for_once_and_again_when_the_bmc_was_silent() {
    let mut world = World::new(settings(), Mood::default(), login());
    for _ in 0..3 {
        world.open().expect("a session");
        world.close();
    }
    assert_eq!(questions(&world), 1);
    world.bmc.mood_mut().dead = true;
    world.open().expect_err("no session");
    world.bmc.mood_mut().dead = false;
    let before = questions(&world);
    world.open().expect("a session");
    assert_eq!(questions(&world), before + 1);
}

#[test]
fn no_wrong_password_and_no_missing_level_leads_to_the_weaker_protocol() {
    let mut login = speaking(Protocol::V20ThenV15);
    login.password = Password::new(*b"wrong").expect("short");
    let mut world = World::new(settings(), Mood::default(), login.clone());
    let error = world.open().expect_err("no session");
    assert!(matches!(error, OpenError::WrongPassword { .. }), "{error}");
    assert_eq!(challenges(&world), 0);

    let mut low = settings();
    low.users[0].privilege = Privilege::User;
    let mut world = World::new(low, Mood::default(), speaking(Protocol::V20ThenV15));
    let error = world.open().expect_err("no session");
    assert!(matches!(error, OpenError::NoPrivilege { .. }), "{error}");
    assert_eq!(challenges(&world), 0);
}

#[test]
fn what_was_found_out_of_a_bmc_is_not_found_out_again() {
    let mood = Mood {
        quirks: Firmware {
            key_constants_as_long_as_digest: true,
            ..Firmware::default()
        },
        ..Mood::default()
    };
    let mut world = World::new(settings(), mood, login());
    let opened = world.open().expect("a session");
    let evidence = opened.evidence.join("; ");
    assert!(evidence.contains("k_const=digest"), "{evidence}");
    assert_eq!(world.session.statistics().handshakes, 2);
    world.close();
    let before = world.now;
    let opened = world.open().expect("a session");
    assert!(
        opened
            .quirks
            .has(rackbmcd::session::Quirk::ConstantsOfDigestLength)
    );
    assert_eq!(world.session.statistics().handshakes, 3);
    assert_eq!(world.now, before, "at once");
}

#[test]
fn silence_for_another_reason_teaches_nothing() {
    // It opens sessions and says nothing in them, which is not for the constants.
    let mood = Mood {
        quirks: Firmware {
            no_set_privilege: true,
            ..Firmware::default()
        },
        ..Mood::default()
    };
    let mut world = World::new(settings(), mood, login());
    let error = world.open().expect_err("no session");
    let OpenError::Stalled { step, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(step, "Set Session Privilege Level");
    // Each session that was opened was closed with one datagram.
    let counters = world.bmc.counters();
    assert_eq!(
        counters.sessions_opened,
        counters.sessions_closed + 1,
        "that under other keys cannot be"
    );
    assert!(counters.sessions_opened <= 5, "{counters:?}");
    assert!(world.now - rackbmcd::time::Instant::START < secs(40));
    *world.bmc.mood_mut() = Mood::default();
    let opened = world.open().expect("a session");
    assert_eq!((opened.quirks, opened.evidence), (Quirks::NONE, vec![]));
}

#[test]
fn a_challenge_is_asked_for_again_from_a_fresh_port() {
    let mut mood = Mood {
        ignores_capabilities: true,
        ..Mood::default()
    };
    mood.deaf_until = Some(rackbmcd::time::Instant::after_start(secs(2)));
    let mut world = World::new(settings(), mood, speaking(STRONGEST));
    world.open().expect("a session");
    let asked = |at: &usize| world.sent[*at][4] == 0 && world.sent[*at].get(19) == Some(&0x39);
    let asked: Vec<usize> = (0..world.sent.len()).filter(asked).collect();
    assert!(asked.len() > 1, "{asked:?}");
    assert!(asked.iter().all(|at| world.fresh[*at]), "{:?}", world.fresh);
}

#[test]
fn a_bmc_that_refuses_rakp_3_is_not_driven_into_a_lock_out() {
    let mood = Mood {
        quirks: Firmware {
            rakp3_level_only: true,
            ..Firmware::default()
        },
        ..Mood::default()
    };
    let mut world = World::new(settings(), mood, login());
    for (refused, total) in [(3, 3), (1, 4), (1, 5)] {
        let error = world.open().expect_err("no session");
        let OpenError::Refused { step, status } = error else {
            panic!("{error}");
        };
        assert_eq!((step, status.0), ("RAKP 3", 0x0F), "{refused} more");
        assert_eq!(world.bmc.counters().log_ins_refused, total);
    }
    // After a session it starts afresh.
    *world.bmc.mood_mut() = Mood::default();
    world.open().expect("a session");
    world.close();
    world.bmc.mood_mut().quirks.rakp3_level_only = true;
    world.open().expect_err("no session");
    assert_eq!(world.bmc.counters().log_ins_refused, 5 + 3);
}
