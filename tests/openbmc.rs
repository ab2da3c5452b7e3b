//! What OpenBMC does, played by the simulator in virtual time, and verdicts of silence that are none.

mod world;

use rackbmcd::model::PowerOptions;
use rackbmcd::power::{Operation, State};
use rackbmcd::rack::call::Call;
use rackbmcd::sim::{ChassisOrder, Conditions, Ipmid, Mood};
use std::time::Duration;
use world::{World, millis, name, secs};

/// As `rackbmc sim --mood openbmc` has it.
fn firmware(mood: &mut Mood) {
    let mut conditions = Conditions::default();
    rackbmcd::cli::sim::parse_mood("openbmc", mood, &mut conditions).expect("a mood");
}

/// A rack with one such BMC, of which nothing is known yet.
fn openbmc(seed: u64) -> World {
    let mut world = World::new(seed, 1);
    world.run_for(secs(200));
    world.crash();
    world.run_for(secs(100));
    world.bmc("n01").forget_sessions();
    firmware(world.mood("n01"));
    world
}

fn options(timeout: Duration) -> PowerOptions {
    PowerOptions {
        timeout: Some(timeout),
        ..PowerOptions::default()
    }
}

fn trouble(world: &mut World) -> String {
    world
        .node("n01")
        .rackbmcd
        .bmc
        .trouble_text
        .unwrap_or_default()
}

#[test]
fn its_one_suite_is_found_behind_another_and_it_is_switched_over_a_slow_way() {
    let mut world = openbmc(1);
    world.nodes[0].login.suites = [3, 17].map(rackbmcd::ipmi::SuiteId).to_vec();
    // Two seconds there and back: its half-open sessions live for three.
    let conditions = Conditions {
        delay: secs(1),
        ..Conditions::default()
    };
    world.link("n01", conditions);
    world.start();
    world.run_for(secs(60));
    assert_eq!(world.node("n01").rackbmcd.bmc.cipher_suite, Some(17));
    let task = world.start_task("n01", Operation::PowerOff, options(secs(60)));
    let view = world.run_task(task, secs(61));
    assert_eq!(view.state, State::Succeeded, "{view:#?}");
}

#[test]
fn a_network_that_doubles_every_packet_is_no_wrong_password() {
    let mut world = openbmc(2);
    let conditions = Conditions {
        duplicate: 1.0,
        delay: millis(5),
        jitter: millis(4),
        ..Conditions::default()
    };
    world.link("n01", conditions);
    world.start();
    world.run_for(secs(300));
    let text = trouble(&mut world);
    assert!(
        !text.contains("password") && !text.contains("log-ins refused"),
        "{text}"
    );
    let knowledge = world.node("n01").rackbmcd.bmc.trouble;
    assert_ne!(
        knowledge.map(|trouble| trouble.to_string()),
        Some("held".to_owned())
    );
}

#[test]
fn among_many_others_each_look_costs_a_session_and_everything_is_done() {
    for others in [15, 17, 18] {
        let mut world = openbmc(3);
        world.mood("n01").openbmc.others = others;
        world.start();
        world.run_for(secs(5));
        for (operation, on) in [(Operation::SoftPowerOff, false), (Operation::PowerOn, true)] {
            let task = world.start_task("n01", operation, options(secs(90)));
            let view = world.run_task(task, secs(91));
            assert_eq!(view.state, State::Succeeded, "{others}: {view:#?}");
            assert_eq!(world.is_on("n01"), on);
        }
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
        assert!(world.bmc("n01").counters().most_sessions <= 2);
    }
}

#[test]
fn an_ipmid_that_is_gone_for_a_while_is_waited_for_and_what_it_says_is_told() {
    let mut world = openbmc(4);
    world.mood("n01").openbmc.ipmid = Ipmid::Gone;
    world.start();
    world.run_for(secs(5));
    let reading = world.call(Call::FreshNode(name(0)));
    drop(reading);
    let task = world.start_task("n01", Operation::PowerOff, options(secs(60)));
    world.run_for(secs(20));
    world.mood("n01").openbmc.ipmid = Ipmid::Here;
    let view = world.run_task(task, secs(60));
    assert_eq!(view.state, State::Succeeded, "{view:#?}");
    assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
}

#[test]
fn an_ipmid_that_hangs_for_a_while_costs_no_second_pulse_and_fills_no_table() {
    for lasts in [12, 40] {
        let mut world = openbmc(5);
        world.start();
        world.run_for(secs(5));
        let task = world.start_task("n01", Operation::SoftPowerOff, options(secs(120)));
        world.run_until(world.now + secs(5), |world| {
            world.executed("n01", ChassisOrder::Soft) == 1
        });
        world.mood("n01").openbmc.ipmid = Ipmid::Hung;
        world.run_for(secs(lasts));
        world.mood("n01").openbmc.ipmid = Ipmid::Here;
        let view = world.run_task(task, secs(121));
        assert_eq!(view.state, State::Succeeded, "{lasts} s: {view:#?}");
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
        let counters = world.bmc("n01").counters();
        assert!(counters.most_sessions <= 2, "{lasts} s: {counters:?}");
    }
}

#[test]
fn an_account_that_may_not_use_ipmi_is_told_as_that_with_the_level_that_is_configured() {
    let mut world = openbmc(6);
    world.mood("n01").openbmc.no_ipmi_account = true;
    world.start();
    world.run_for(secs(5));
    let text = trouble(&mut world);
    for words in ["operator", "not be enabled for IPMI over LAN"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(world.bmc("n01").counters().most_sessions <= 2);
}

#[test]
fn the_first_refusal_counts_and_not_that_of_a_copy_after_it() {
    let mut world = openbmc(7);
    world.bmc("n01").settings_mut().users[0].enabled = false;
    world.start();
    world.run_for(secs(5));
    let text = trouble(&mut world);
    assert!(text.contains("unknown user"), "{text}");
}

#[test]
fn answers_from_another_address_are_not_taken_and_not_called_silence() {
    for other in [
        world::address(90),
        std::net::SocketAddr::new(world::address(0).ip(), 6299),
    ] {
        let mut world = openbmc(8);
        world.mood("n01").answers_from = Some(other);
        world.start();
        world.run_for(secs(20));
        let text = trouble(&mut world);
        assert!(
            text.contains(&format!("answers come from {other} instead")),
            "{text}"
        );
    }
}

#[test]
fn answers_without_an_integrity_code_are_not_taken_and_not_called_silence() {
    let mut world = openbmc(9);
    world.mood("n01").quirks.unsigned_replies = true;
    world.start();
    world.run_for(secs(20));
    let text = trouble(&mut world);
    assert!(text.contains("without an integrity code"), "{text}");
    assert!(world.bmc("n01").counters().most_sessions <= 2);
}

#[test]
fn its_pong_is_understood_though_the_enterprise_number_in_it_stands_backwards() {
    let mut world = openbmc(10);
    world.mood("n01").pings_only = true;
    world.start();
    world.run_for(secs(20));
    let text = trouble(&mut world);
    assert!(text.contains("a presence ping is answered"), "{text}");
}
