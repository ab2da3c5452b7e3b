//! What OpenBMC does, played by the simulator in virtual time, and verdicts of silence that are
//! none.

mod world;

use rackbmcd::model::{Operation, PowerOptions, TaskState};
use rackbmcd::rack::call::Call;
use rackbmcd::sim::{ChassisOrder, Conditions, Ipmid, Mood};
use std::sync::Arc;
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
    Arc::make_mut(&mut world.nodes[0].login).suites = [3, 17].map(rackbmcd::ipmi::SuiteId).to_vec();
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
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
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
            assert_eq!(view.state, TaskState::Succeeded, "{others}: {view:#?}");
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
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
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
        world.mood("n01").openbmc.ipmid = Ipmid::Hung(None);
        world.run_for(secs(lasts));
        world.mood("n01").openbmc.ipmid = Ipmid::Here;
        let view = world.run_task(task, secs(121));
        assert_eq!(view.state, TaskState::Succeeded, "{lasts} s: {view:#?}");
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
        let counters = world.bmc("n01").counters();
        assert!(counters.most_sessions <= 2, "{lasts} s: {counters:?}");
    }
}

#[test]
fn an_ipmid_that_hangs_for_half_a_minute_costs_one_session_and_not_one_for_each_question() {
    for (seed, seconds) in [(5, 10), (6, 25)] {
        let mut world = openbmc(seed);
        let back = world.now + secs(seconds);
        world.mood("n01").openbmc.ipmid = Ipmid::Hung(Some(back));
        let before = world.bmc("n01").counters();
        world.start();
        let task = world.start_task("n01", Operation::SoftPowerOff, options(secs(60)));
        let view = world.run_task(task, secs(61));
        assert_eq!(view.state, TaskState::Succeeded, "{seconds} s: {view:#?}");
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
        let after = world.bmc("n01").counters();
        let opened = after.sessions_opened - before.sessions_opened;
        assert!(opened <= 2, "{seconds} s: {opened} sessions");
        assert!(after.most_sessions <= 2, "{seconds} s: {after:?}");
    }
}

#[test]
fn among_many_others_a_session_that_went_unused_is_found_gone_within_four_seconds() {
    for others in [18, 22] {
        let mut world = openbmc(19);
        world.mood("n01").openbmc.others = others;
        world.start();
        world.run_for(secs(5));
        for round in 0..4 {
            let asked = world.now;
            let call = world.ask(Call::FreshNode(name(0)));
            let answered = world.run_until(asked + secs(4), |world| world.has_answered(call));
            let reading = world.node("n01").rackbmcd.reading.expect("it was read");
            assert!(
                answered && reading.age < secs(4),
                "{others}, {round}: {reading:?}"
            );
            world.run_for(secs(3));
        }
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
    for words in [
        "unknown user",
        "locked",
        "no IPMI password",
        "level operator",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
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

/// Applies more words of `rackbmc sim --mood`.
fn words(world: &mut World, node: &str, words: &str) {
    let mut conditions = Conditions::default();
    let mood = world.mood(node);
    rackbmcd::cli::sim::parse_mood(words, mood, &mut conditions).expect("moods");
}

#[test]
fn a_cycle_that_asks_the_operating_system_first_is_done_when_the_machine_was_off_and_not_before() {
    let mut world = openbmc(11);
    words(&mut world, "n01", "graceful-cycle+obeys:40s");
    world.start();
    world.run_for(secs(5));
    let task = world.start_task("n01", Operation::Cycle, options(secs(60)));
    world.run_for(secs(38));
    assert_eq!(world.task(task).state, TaskState::Running);
    let view = world.run_task(task, secs(61));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(world.bmc("n01").host().power_changes().len(), 2);
    assert_eq!(world.executed("n01", ChassisOrder::Cycle), 1);
}

#[test]
fn a_cycle_that_never_comes_is_not_called_done() {
    let mut world = openbmc(12);
    words(&mut world, "n01", "graceful-cycle+hangs");
    world.start();
    world.run_for(secs(5));
    let task = world.start_task("n01", Operation::Cycle, options(secs(60)));
    let view = world.run_task(task, secs(62));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    let outcome = view.outcome.unwrap_or_default();
    assert!(outcome.contains("never seen off"), "{outcome}");
    assert_eq!(world.executed("n01", ChassisOrder::Cycle), 1);
    // What the BMC does in the end is its own: 45 minutes later it switches off hard, and on.
    world.run_for(secs(2700));
    assert_eq!(world.bmc("n01").host().power_changes().len(), 2);
}

#[test]
fn orders_while_it_is_off_are_answered_as_by_openbmc_and_called_done_by_none_of_that() {
    let mut world = openbmc(13);
    world.start();
    world.run_for(secs(5));
    let off = world.start_task("n01", Operation::PowerOff, options(secs(60)));
    world.run_task(off, secs(61));
    // What somebody else's console would be told: 00h, 00h, D5h, FFh.
    let now = world.now;
    let mut mood = world.mood("n01").clone();
    let orders = [
        (ChassisOrder::Reset, Ok(())),
        (ChassisOrder::Soft, Ok(())),
        (ChassisOrder::Cycle, Err(0xD5)),
        (ChassisOrder::Nmi, Err(0xFF)),
    ];
    let by = rackbmcd::sim::By::Console(world::address(77));
    for (order, answer) in orders {
        let host = world.bmc("n01").host_mut();
        let said = host.execute(order, by, &mut mood, now).map(drop);
        assert_eq!(said, answer, "{order:?}");
    }
}

#[test]
fn a_reset_that_is_accepted_by_a_machine_that_is_off_is_not_called_done() {
    for (seed, operation) in [(17, Operation::Reset), (18, Operation::InjectNmi)] {
        let mut world = openbmc(seed);
        // Somebody else switches it off, and for a while it is still shown as on.
        words(&mut world, "n01", "stale:8s");
        world.start();
        world.run_for(secs(20));
        let (now, mut mood) = (world.now, world.mood("n01").clone());
        let host = world.bmc("n01").host_mut();
        let by = rackbmcd::sim::By::Somebody;
        host.execute(ChassisOrder::Off, by, &mut mood, now)
            .expect("it is on");
        let task = world.start_task("n01", operation, options(secs(60)));
        let view = world.run_task(task, secs(130));
        assert_ne!(view.state, TaskState::Succeeded, "{operation:?}: {view:#?}");
        let outcome = view.outcome.unwrap_or_default();
        let reason = match operation {
            Operation::InjectNmi => "FFh",
            _ => "off",
        };
        assert!(outcome.contains(reason), "{outcome}");
    }
}

#[test]
fn two_bmcs_that_count_instead_of_having_a_guid_are_two() {
    let mut world = World::new(14, 2);
    for node in ["n01", "n02"] {
        firmware(world.mood(node));
    }
    world.run_for(secs(60));
    for node in ["n01", "n02"] {
        assert_eq!(world.node(node).rackbmcd.bmc.trouble, None);
        let task = world.start_task(node, Operation::PowerOff, options(secs(60)));
        let view = world.run_task(task, secs(61));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    }
}

#[test]
fn the_table_of_sessions_of_2020_has_room_for_ours_when_all_but_two_are_taken() {
    for loss in [0.0, 0.2] {
        let mut world = openbmc(15);
        words(&mut world, "n01", "openbmc-2020+crowded:13");
        let conditions = Conditions {
            loss,
            ..Conditions::default()
        };
        world.link("n01", conditions);
        world.start();
        world.run_for(secs(200));
        for (operation, on) in [(Operation::SoftPowerOff, false), (Operation::PowerOn, true)] {
            let task = world.start_task("n01", operation, options(secs(180)));
            let view = world.run_task(task, secs(181));
            assert_eq!(view.state, TaskState::Succeeded, "{loss}: {view:#?}");
            assert_eq!(world.is_on("n01"), on);
        }
    }
}

#[test]
fn a_full_table_of_2020_is_told_and_waited_out() {
    let mut world = openbmc(16);
    words(&mut world, "n01", "openbmc-2020+crowded:15");
    world.start();
    world.run_for(secs(5));
    let task = world.start_task("n01", Operation::PowerOff, options(secs(120)));
    world.run_for(secs(25));
    let text = trouble(&mut world);
    assert!(text.contains("sessions of the BMC are taken"), "{text}");
    world.mood("n01").openbmc.others = 13;
    let view = world.run_task(task, secs(121));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
}
