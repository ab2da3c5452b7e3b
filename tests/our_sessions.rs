//! How many sessions of ours a simulated BMC has at once, in virtual time: never more than two,
//! half-open ones and those of an earlier life of the daemon included; and an order that changes
//! power, with the look before it, is never kept waiting for that.

mod world;

use rackbmcd::bmc::vocabulary::Order;
use rackbmcd::model::{Operation, PowerOptions, TaskState};
use rackbmcd::rack::call::Call;
use rackbmcd::sim::{ChassisOrder, Conditions, Mood};
use std::time::Duration;
use world::{World, secs, who};

/// A rack whose BMC keeps every session for a minute, half-open ones as well, and answers nothing
/// inside of them.
fn forgetful_of_nothing(seed: u64) -> World {
    let mut world = World::new(seed, 1);
    world.run_for(secs(200));
    world.crash();
    world.bmc("n01").forget_sessions();
    world.bmc("n01").settings_mut().half_open_timeout = secs(60);
    world
}

#[test]
fn readings_never_make_more_than_two_sessions_at_a_bmc_that_answers_nothing_in_them() {
    let mut world = forgetful_of_nothing(1);
    world.run_for(secs(100));
    world.mood("n01").silent_sessions = true;
    // It cannot be told that they are closed either.
    world.mood("n01").ignores_close = true;
    world.start();
    for _ in 0..60 {
        world.ask(Call::FreshNode("n01".into()));
        world.run_for(secs(10));
    }
    let counters = world.bmc("n01").counters();
    assert!(counters.most_sessions <= 2, "{counters:?}");
    assert!(
        counters.sessions_opened >= 6,
        "it goes on trying: {counters:?}"
    );
}

#[test]
fn what_keeps_readings_waiting_is_said_and_a_task_does_not_wait_for_it() {
    let mut world = forgetful_of_nothing(2);
    world.run_for(secs(100));
    world.start();
    world.run_for(secs(2));
    // From now on nothing arrives at the BMC inside of sessions: each one that is opened is left
    // there.
    world.mood("n01").silent_sessions = true;
    world.bmc("n01").forget_sessions();
    let call = world.ask(Call::FreshNode("n01".into()));
    world.run_for(secs(40));
    drop(world.take_answer(call));
    let call = world.ask(Call::FreshNode("n01".into()));
    world.run_for(secs(6));
    drop(world.take_answer(call));
    let opens = |world: &mut World| world.bmc("n01").counters().open_requests;
    let before = opens(&mut world);
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(secs(35));
    assert!(opens(&mut world) > before, "{:#?}", world.task(task));
}

#[test]
fn a_node_of_which_nothing_is_shown_is_read_as_soon_as_there_is_room_and_who_asks_before_hears_why()
{
    let mut world = World::new(9, 1);
    world.crash();
    world.bmc("n01").forget_sessions();
    world.mood("n01").silent_sessions = true;
    world.mood("n01").ignores_close = true;
    // The regular reading would come much later.
    world.settings.sync_interval = secs(3600);
    let opened = |world: &mut World| world.bmc("n01").counters().sessions_opened;
    let (before, began) = (opened(&mut world), world.now);
    world.start();
    world.run_for(secs(20));
    assert_eq!(opened(&mut world) - before, 2);
    *world.mood("n01") = Mood::default();
    world.run_for(secs(20));
    let order = world.ask(Call::Order {
        node: "n01".into(),
        order: Order::ReadEventLog(10),
        who: who(),
    });
    world.run_for(secs(1));
    let said = format!("{:?}", world.take_answer(order));
    let words = "2 sessions of ours may still be open at the BMC";
    assert!(said.contains(words), "{said}");
    let read = |world: &mut World| world.node("n01").rackbmcd.reading.is_some();
    assert!(!read(&mut world));
    assert!(world.run_until(began + secs(75), read));
    // The first of the two was given up within seconds, and counts for 63.
    assert!(world.now >= began + secs(63), "{:?}", world.now - began);
    assert!(world.bmc("n01").counters().most_sessions <= 2);
}

#[test]
fn a_life_that_has_just_ended_counts_as_one_session() {
    let mut world = forgetful_of_nothing(3);
    world.run_for(secs(100));
    world.start();
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_task(task, secs(9));
    assert_eq!(world.bmc("n01").open_sessions(), 1);
    world.crash();
    world.mood("n01").silent_sessions = true;
    world.mood("n01").ignores_close = true;
    world.start();
    // One beside the one that may be there.
    let opened = |world: &mut World| world.bmc("n01").counters().sessions_opened;
    let before = opened(&mut world);
    for _ in 0..4 {
        world.ask(Call::FreshNode("n01".into()));
        world.run_for(secs(10));
    }
    assert_eq!(opened(&mut world) - before, 1);
    assert!(world.bmc("n01").counters().most_sessions <= 2);
    world.run_for(secs(120));
    assert!(opened(&mut world) - before >= 2, "its time is over");
}

#[test]
fn what_a_task_only_watches_waits_for_room_beside_the_session_of_an_earlier_life_as_every_reading_does()
 {
    let mut world = forgetful_of_nothing(7);
    world.run_for(secs(100));
    world.start();
    let task = world.start_task("n01", Operation::InjectNmi, PowerOptions::default());
    world.run_until(world.now + secs(9), |world| {
        world.executed("n01", ChassisOrder::Nmi) == 1
    });
    world.run_for(secs(1));
    assert_eq!(world.bmc("n01").open_sessions(), 1);
    world.crash();
    world.mood("n01").silent_sessions = true;
    world.mood("n01").ignores_close = true;
    world.start();
    let opened = |world: &mut World| world.bmc("n01").counters().sessions_opened;
    let before = opened(&mut world);
    for _ in 0..5 {
        world.run_for(secs(10));
        assert!(world.bmc("n01").open_sessions() <= 2);
    }
    let view = world.task(task);
    assert_eq!(view.state, TaskState::Running, "{view:#?}");
    assert_eq!(opened(&mut world) - before, 1);
    assert!(world.bmc("n01").counters().most_sessions <= 2);
}

#[test]
fn a_network_that_is_slow_leaves_no_more_than_two_half_open() {
    for seconds in [1, 2, 3, 4, 8] {
        let mut world = forgetful_of_nothing(4);
        world.run_for(secs(100));
        let conditions = Conditions {
            delay: Duration::from_millis(500 * seconds),
            ..Conditions::default()
        };
        world.link("n01", conditions);
        world.start();
        world.run_for(secs(200));
        let counters = world.bmc("n01").counters();
        assert!(counters.most_sessions <= 2, "{seconds} s: {counters:?}");
        assert!(world.node("n01").rackbmcd.reading.is_some(), "{seconds} s");
    }
}

#[test]
fn a_daemon_that_is_killed_in_a_log_in_at_a_bmc_with_one_session_waits_for_it_and_goes_on() {
    let mut world = forgetful_of_nothing(5);
    world.run_for(secs(100));
    world.bmc("n01").settings_mut().session_limit = 1;
    let conditions = Conditions {
        delay: Duration::from_millis(50),
        ..Conditions::default()
    };
    world.link("n01", conditions);
    let opens = |world: &mut World| world.bmc("n01").counters().open_requests;
    let before = opens(&mut world);
    world.start();
    world.run_until(world.now + secs(5), |world| opens(world) > before);
    // The BMC has a half-open session, which nobody goes on with.
    world.crash();
    world.start();
    let wishes = PowerOptions {
        timeout: Some(secs(150)),
        ..PowerOptions::default()
    };
    let task = world.start_task("n01", Operation::PowerOff, wishes);
    let view = world.run_task(task, secs(151));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(world.bmc("n01").counters().most_sessions, 1);
}

#[test]
fn a_session_that_is_forgotten_right_after_a_pulse_costs_another_session_and_no_other_pulse() {
    for (operation, order) in [
        (Operation::Reset, ChassisOrder::Reset),
        (Operation::Cycle, ChassisOrder::Cycle),
        (Operation::InjectNmi, ChassisOrder::Nmi),
        (Operation::SoftPowerOff, ChassisOrder::Soft),
    ] {
        let mut world = World::new(6, 1);
        world.run_for(secs(3));
        world.mood("n01").cycle_off_time = secs(15);
        let task = world.start_task("n01", operation, PowerOptions::default());
        world.run_until(world.now + secs(20), |world| {
            world.executed("n01", order) == 1
        });
        world.bmc("n01").forget_sessions();
        let view = world.run_task(task, secs(700));
        assert_eq!(view.state, TaskState::Succeeded, "{operation}: {view:#?}");
        assert_eq!(world.executed("n01", order), 1);
        assert!(world.bmc("n01").counters().most_sessions <= 2);
    }
}

#[test]
fn a_network_that_makes_copies_is_logged_in_over_though_each_copy_of_rakp_1_counts_anew() {
    for seed in 0..20 {
        let mut world = World::new(seed, 1);
        world.crash();
        world.bmc("n01").forget_sessions();
        let conditions = Conditions {
            duplicate: 1.0,
            delay: Duration::from_millis(2),
            jitter: Duration::from_millis(3),
            ..Conditions::default()
        };
        world.link("n01", conditions);
        let before = world.now;
        world.start();
        let read = |world: &mut World| world.node("n01").rackbmcd.reading.is_some();
        while !read(&mut world) && world.now - before < secs(20) {
            world.run_for(Duration::from_millis(500));
        }
        let bmc = world.node("n01").rackbmcd.bmc;
        assert!(read(&mut world), "{seed}: {bmc:#?}");
        assert!(
            world.now - before < secs(4),
            "{seed}: {:?}",
            world.now - before
        );
        let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
        let view = world.run_task(task, secs(61));
        assert_eq!(view.state, TaskState::Succeeded, "{seed}: {view:#?}");
    }
}

#[test]
fn a_session_that_nobody_wants_is_closed_ten_seconds_after_its_last_answer() {
    let mut world = World::new(8, 1);
    world.run_for(secs(20));
    world.call(Call::FreshNode("n01".into())).expect("read");
    world.run_for(secs(9));
    assert_eq!(world.bmc("n01").open_sessions(), 1);
    world.run_for(secs(2));
    assert_eq!(world.bmc("n01").open_sessions(), 0);
}
