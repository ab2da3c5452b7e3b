//! The last datagrams of a BMC as text, in virtual time: what they show, and that nothing secret is
//! among it, in every cipher suite and in IPMI 1.5.

#[path = "golden/mod.rs"]
mod golden;
mod world;

use rackbmcd::bmc::vocabulary::{Order, Route};
use rackbmcd::ipmi::SuiteId;
use rackbmcd::ipmi::session15::AuthType;
use rackbmcd::model::Trace;
use rackbmcd::rack::call::{Answer, Call, Look};
use rackbmcd::session::secret::{BmcKey, Password};
use rackbmcd::session::{AuthChoice, Protocol};
use rackbmcd::sim::{Privilege, User};
use std::sync::Arc;
use world::{World, secs, who};

const NAME: &str = "zq7xk2wj9";
const PASSWORD: &[u8] = b"Qx9vZ7kJw3Hq8pTy";
const KEY: &[u8] = b"Jq4zVx8kWq2hZp6tYw1k";
/// What a person sets by a raw command.
const ANOTHER: &[u8] = b"Wz5qKx3vJh7pQk9t";

/// A rack of one BMC with these secrets, of which nothing is known yet.
fn world(seed: u64, key: bool) -> World {
    let mut world = World::new(seed, 1);
    world.crash();
    world.bmc("n01").forget_sessions();
    let settings = world.bmc("n01").settings_mut();
    settings.suites = (0..=17).collect();
    settings.offers_v15 = true;
    settings.bmc_key = key.then(|| KEY.to_vec());
    settings.users = vec![User {
        password: PASSWORD.to_vec(),
        ..User::new(NAME, "", Privilege::Administrator)
    }];
    let login = Arc::make_mut(&mut world.nodes[0].login);
    login.username = NAME.into();
    login.password = Password::new(PASSWORD).expect("short");
    login.bmc_key = key.then(|| BmcKey::new(KEY).expect("short"));
    world
}

fn trace(world: &mut World) -> Trace {
    match world.call(Call::Look(Look::Trace("n01".into()))) {
        Ok(Answer::Trace(trace)) => trace,
        other => panic!("{other:?}"),
    }
}

/// Reads the power, and sends a command that carries another password, to the BMC and to a
/// controller behind it.
fn work(world: &mut World) -> String {
    world.start();
    world.run_for(secs(5));
    for route in [
        Route::Direct,
        Route::Behind {
            channel: 0,
            address: 0x2C,
        },
    ] {
        let order = Order::Raw {
            net_fn: 6,
            lun: 0,
            command: 0x47,
            data: [&[2, 2], ANOTHER].concat(),
            route,
        };
        world.ask(Call::Order {
            node: "n01".into(),
            order,
            who: who(),
        });
        world.run_for(secs(8));
    }
    trace(world).lines.join("\n")
}

/// No four bytes in a row of a secret, as letters or in hexadecimal.
#[track_caller]
fn assert_nothing_of(secret: &[u8], text: &str) {
    for part in secret.windows(4) {
        let letters = String::from_utf8_lossy(part);
        assert!(!text.contains(&*letters), "{letters} in\n{text}");
        let bytes: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let spaced = bytes.join(" ");
        assert!(!text.contains(&spaced), "{letters} ({spaced}) in\n{text}");
        assert!(!text.contains(&bytes.concat()), "{letters} in\n{text}");
    }
}

#[track_caller]
fn assert_nothing_secret(text: &str) {
    for secret in [NAME.as_bytes(), PASSWORD, KEY, ANOTHER] {
        assert_nothing_of(secret, text);
    }
}

#[test]
fn nothing_secret_is_in_it_in_any_cipher_suite_and_everything_is_readable() {
    for (seed, suite) in [0, 1, 2, 3, 6, 7, 8, 11, 12, 15, 16, 17]
        .into_iter()
        .enumerate()
    {
        let mut world = world(seed as u64, suite == 3 || suite == 17);
        Arc::make_mut(&mut world.nodes[0].login).suites = vec![SuiteId(suite)];
        let text = work(&mut world);
        assert_nothing_secret(&text);
        assert!(!text.contains("not decrypted"), "suite {suite}:\n{text}");
        for wanted in [
            "Open Session Request",
            "RAKP 2 (status 00h, no errors)",
            "Get Chassis Status 00h/01h answer to request",
            "Set User Password 06h/47h request",
            "Send Message 06h/34h request",
        ] {
            assert!(text.contains(wanted), "suite {suite}, {wanted}:\n{text}");
        }
    }
}

#[test]
fn nothing_secret_is_in_it_in_ipmi_1_5() {
    let types = [
        AuthType::None,
        AuthType::Md2,
        AuthType::Md5,
        AuthType::Password,
    ];
    for (seed, auth_type) in types.into_iter().enumerate() {
        let mut world = world(50 + seed as u64, false);
        Arc::make_mut(&mut world.nodes[0].login).protocol =
            Protocol::V15(AuthChoice::Only(auth_type));
        let text = work(&mut world);
        assert_nothing_secret(&text);
        assert!(
            text.contains("Get Session Challenge"),
            "{auth_type}:\n{text}"
        );
    }
}

#[test]
fn a_wrong_password_is_not_in_it_either_and_the_refusal_can_be_read() {
    let mut world = world(70, false);
    world.bmc("n01").settings_mut().users[0].password = b"Zk8wQv2xJp5hTq".to_vec();
    world.start();
    world.run_for(secs(5));
    let text = trace(&mut world).lines.join("\n");
    assert_nothing_secret(&text);
    assert_nothing_of(b"Zk8wQv2xJp5hTq", &text);
    assert!(text.contains("RAKP 2"), "{text}");
}

#[test]
fn the_last_200_are_kept_with_their_moments_and_the_others_counted() {
    let mut world = world(71, false);
    world.start();
    for round in 0..40 {
        // Something else each time.
        let order = Order::Raw {
            net_fn: 6,
            lun: 0,
            command: 1,
            data: vec![round],
            route: Route::Direct,
        };
        world.ask(Call::Order {
            node: "n01".into(),
            order,
            who: who(),
        });
        world.run_for(secs(80));
    }
    let trace = trace(&mut world);
    assert_eq!(trace.lines.len(), 200);
    assert!(trace.forgotten > 100, "{}", trace.forgotten);
    let moments: Vec<&str> = trace.lines.iter().map(|line| &line[..32]).collect();
    assert!(moments.is_sorted(), "{moments:?}");
    let directions = |way: &str| trace.lines.iter().filter(|line| line.contains(way)).count();
    assert!(directions(" > port ") > 80 && directions(" < port ") > 80);
}

#[test]
fn a_day_of_readings_that_are_all_the_same_is_few_lines() {
    let mut world = world(73, false);
    world.start();
    world.run_for(secs(86_400));
    let trace = trace(&mut world);
    let text = trace.lines.join("\n");
    // Each ten minutes the sessions of others are counted, which is another run.
    assert!(trace.lines.len() < 80, "{text}");
    assert!(
        text.contains(" times before, the same but for random numbers"),
        "{text}"
    );
}

/// A log-in, a reading and an order, as `vectors/trace.txt` has them: what people send us has to be
/// read by people.
#[test]
fn a_trace_reads_as_it_is_written_down_here() {
    let mut world = world(72, false);
    world.start();
    world.run_for(secs(2));
    let options = rackbmcd::model::PowerOptions::default();
    world.start_task("n01", rackbmcd::model::Operation::Reset, options);
    world.run_until(world.now + secs(5), |world| {
        world.executed("n01", rackbmcd::sim::ChassisOrder::Reset) == 1
    });
    world.run_for(world::millis(20));
    let text = trace(&mut world).lines.join("\n") + "\n";
    golden::compare("tests/vectors/trace.txt", &text, "as who is sent one would");
}
