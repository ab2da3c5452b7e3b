//! How often a BMC is asked follows what it bears: slow ones, busy ones, ones that forget their
//! sessions, ones that die.

mod world;

use rackbmcd::bmc::vocabulary::Order;
use rackbmcd::model::{Operation, PowerOptions, TaskState};
use rackbmcd::rack::call::{Answer, Call, Look};
use rackbmcd::sim::ChassisOrder;
use std::time::Duration;
use world::{World, millis, secs, who};

/// Somebody reads on and on: as many commands as the pace allows. The most that came within one
/// second.
fn read_on_and_on(world: &mut World, time: Duration) -> u64 {
    let end = world.now + time;
    let mut most = 0;
    while world.now < end {
        world.ask(Call::Order {
            node: "n01".into(),
            order: Order::ReadEventLog(250),
            who: who(),
        });
        let before = world.bmc("n01").counters().requests;
        world.run_for(secs(1));
        most = most.max(world.bmc("n01").counters().requests - before);
    }
    most
}

/// A node that has rested, with a long event log.
fn rested(seed: u64) -> World {
    let mut world = World::new(seed, 1);
    world.run_for(secs(3));
    let now = world.now;
    for _ in 0..100 {
        world.bmc("n01").host_mut().event_log.log_nmi_crash(now);
    }
    world.run_for(secs(5));
    world
}

fn pace_of(world: &mut World) -> String {
    match world.call(Call::Look(Look::Explain("n01".into()))) {
        Ok(Answer::Explanation(explained)) => {
            let fact = explained.facts.iter().find(|fact| fact.head == "pace");
            fact.expect("the pace is explained").text.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_bmc_gets_ten_after_a_rest_and_five_a_second() {
    let mut world = rested(1);
    let before = world.bmc("n01").counters().requests;
    assert!(read_on_and_on(&mut world, secs(1)) >= 10);
    read_on_and_on(&mut world, secs(9));
    let asked = world.bmc("n01").counters().requests - before;
    assert!((45..=50).contains(&asked), "{asked}");
    let pace = pace_of(&mut world);
    assert!(
        pace.starts_with("at most 10 commands after a rest, and 5 a second"),
        "{pace}"
    );
}

#[test]
fn a_bmc_that_needs_half_a_second_gets_half_of_that_as_a_rest() {
    let mut world = rested(2);
    world.mood("n01").reply_delay = millis(500);
    read_on_and_on(&mut world, secs(30));
    let before = world.bmc("n01").counters().requests;
    read_on_and_on(&mut world, secs(30));
    let asked = world.bmc("n01").counters().requests - before;
    assert!(
        (36..=44).contains(&asked),
        "about one in 750 ms, not {asked}"
    );
    assert!(pace_of(&mut world).contains("ms of rest after an answer, a share of its round trip"));
    // What acts does not wait for that: the answer under way, and its own.
    let asked = world.now;
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    assert!(world.run_until(asked + secs(5), |world| !world.is_on("n01")));
    assert!(world.now - asked < millis(2_200), "{:?}", world.now - asked);
    assert_eq!(world.run_task(task, secs(30)).state, TaskState::Succeeded);
}

#[test]
fn a_busy_bmc_is_left_alone_between_two_commands() {
    let mut world = rested(3);
    world.mood("n01").busy_above = Some(2);
    let most = read_on_and_on(&mut world, secs(20));
    assert!(most <= 6, "{most} in a second");
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    assert_eq!(world.run_task(task, secs(30)).state, TaskState::Succeeded);
    // One that says so to everything for a while is asked with growing pauses.
    read_on_and_on(&mut world, secs(5));
    world.mood("n01").busy_above = Some(0);
    let before = world.bmc("n01").counters().requests;
    read_on_and_on(&mut world, secs(20));
    let asked = world.bmc("n01").counters().requests - before;
    assert!(asked <= 30, "{asked}");
    let pace = pace_of(&mut world);
    assert!(pace.contains("it says that it is busy"), "{pace}");
}

#[test]
fn a_bmc_that_dies_above_five_commands_a_second_dies_once() {
    let mut world = rested(4);
    world.mood("n01").dies_above = Some(5);
    read_on_and_on(&mut world, secs(3600));
    assert_eq!(world.bmc("n01").counters().restarts, 1);
    let pace = pace_of(&mut world);
    assert!(pace.contains("50 % of what is configured"), "{pace}");
    // Nor do tasks kill it, nor the next life of the daemon.
    for operation in [Operation::PowerOff, Operation::PowerOn, Operation::Reboot] {
        let task = world.start_task("n01", operation, PowerOptions::default());
        read_on_and_on(&mut world, secs(5));
        assert_eq!(world.run_task(task, secs(120)).state, TaskState::Succeeded);
    }
    assert_eq!(world.bmc("n01").counters().restarts, 1);
    world.crash();
    world.start();
    let pace = pace_of(&mut world);
    assert!(pace.contains("50 % of what is configured"), "{pace}");
    read_on_and_on(&mut world, secs(600));
    assert_eq!(world.bmc("n01").counters().restarts, 1);
    assert!(pace_of(&mut world).contains("50 % of what is configured"));
    // It is raised slowly, and at once by a person who knows better.
    world.run_for(secs(2 * 24 * 3600));
    assert!(pace_of(&mut world).contains("% of what is configured"));
    let node = "n01".to_owned();
    world
        .call(Call::Retry { node, who: who() })
        .expect("a retry");
    assert!(!pace_of(&mut world).contains("of what is configured"));
}

#[test]
fn a_bmc_that_died_of_the_looks_of_a_task_is_looked_at_less() {
    let mut world = rested(5);
    world.mood("n01").dies_above = Some(3);
    world.mood("n01").reset_takes = secs(5);
    let task = world.start_task("n01", Operation::Cycle, PowerOptions::default());
    read_on_and_on(&mut world, secs(10));
    world.run_task(task, secs(120));
    assert!(world.executed("n01", ChassisOrder::Cycle) <= 1);
    let restarts = world.bmc("n01").counters().restarts;
    assert!((1..=4).contains(&restarts), "{restarts}");
}

#[test]
fn log_ins_have_a_pace_of_their_own() {
    let mut world = rested(6);
    world.mood("n01").session_life = Some(millis(300));
    let before = world.bmc("n01").counters().sessions_opened;
    read_on_and_on(&mut world, secs(60));
    let opened = world.bmc("n01").counters().sessions_opened - before;
    assert!(opened <= 18, "{opened} log-ins in a minute");
    // And a power off does not wait for them.
    let asked = world.now;
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    let off = world.run_until(asked + secs(20), |world| !world.is_on("n01"));
    assert!(off, "{:#?}", world.task(task));
}

#[test]
fn a_power_off_does_not_wait_behind_a_keep_alive_that_is_not_answered() {
    let mut world = rested(7);
    // A session that is kept alive: a task waits for an operating system.
    world.mood("n01").os = rackbmcd::sim::OsMood::Hangs;
    let task = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(20));
    world
        .control(task, rackbmcd::model::Control::Abort)
        .expect("an abort");
    let asked = world.now;
    world.mood("n01").deaf_until = Some(asked + millis(30));
    world.ask(Call::FreshNode("n01".into()));
    world.run_for(millis(31));
    world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    assert!(world.run_until(asked + secs(5), |world| !world.is_on("n01")));
    assert!(world.now - asked < millis(1_200), "{:?}", world.now - asked);
}
