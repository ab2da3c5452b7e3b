//! Simulated BMCs that need seconds for an answer, in virtual time: their sessions are kept, and
//! what they answer late counts.

mod world;

use rackbmcd::bmc::vocabulary::Order;
use rackbmcd::model::{Operation, PowerOptions, TaskId, TaskState};
use rackbmcd::rack::call::Call;
use rackbmcd::sim::{ChassisOrder, Conditions};
use std::time::Duration;
use world::{World, millis, secs, who};

fn options(timeout: Duration) -> PowerOptions {
    PowerOptions {
        timeout: Some(timeout),
        ..PowerOptions::default()
    }
}

#[test]
fn bmcs_that_take_seconds_for_each_chassis_command_are_read_and_switched_in_one_session() {
    for (seconds, slots) in [(3, 8), (5, 8), (10, 8), (3, 1), (10, 1)] {
        let mut world = World::new(1, 1);
        world.crash();
        world.bmc("n01").forget_sessions();
        world.bmc("n01").settings_mut().session_limit = slots;
        world.mood("n01").chassis_delay = secs(seconds);
        let before = world.bmc("n01").counters();
        world.start();
        world.run_for(secs(30));
        assert!(world.node("n01").rackbmcd.reading.is_some(), "{seconds} s");
        // From here on there is something to do all the time, so that the session is wanted all the
        // time.
        for (operation, on) in [
            (Operation::SoftPowerOff, false),
            (Operation::PowerOn, true),
            (Operation::PowerOff, false),
            (Operation::PowerOn, true),
        ] {
            let task = world.start_task("n01", operation, options(secs(120)));
            let view = world.run_task(task, secs(121));
            assert_eq!(view.state, TaskState::Succeeded, "{seconds} s: {view:#?}");
            assert_eq!(world.is_on("n01"), on);
        }
        let after = world.bmc("n01").counters();
        let opened = after.sessions_opened - before.sessions_opened;
        assert!(
            opened <= 2,
            "{seconds} s: {opened} sessions, one of the first reading alone"
        );
        assert_eq!(after.most_sessions, 1, "{seconds} s");
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1, "{seconds} s");
    }
}

#[test]
fn a_late_answer_to_a_pulse_says_that_it_arrived() {
    for (operation, order) in [
        (Operation::Reset, ChassisOrder::Reset),
        (Operation::Cycle, ChassisOrder::Cycle),
        (Operation::InjectNmi, ChassisOrder::Nmi),
    ] {
        let mut world = World::new(2, 1);
        let conditions = Conditions {
            delay: millis(50),
            ..Conditions::default()
        };
        world.link("n01", conditions);
        // Long enough to be seen.
        world.mood("n01").cycle_off_time = secs(20);
        world.run_for(secs(2));
        let task = world.start_task("n01", operation, options(secs(120)));
        // It has the pulse, and answers that and what follows after six seconds: nothing before the
        // pulse's time is over.
        while !pulse_left(&mut world, task) {
            world.run_for(millis(10));
        }
        world.mood("n01").reply_delay = secs(6);
        world.run_until(world.now + secs(5), |world| unanswered(world, task));
        assert!(unanswered(&mut world, task), "{operation}");
        let view = world.run_task(task, secs(121));
        assert_eq!(view.state, TaskState::Succeeded, "{operation}: {view:#?}");
        let said = view.outcome.unwrap_or_default();
        assert!(said.contains("accepted"), "{operation}: {said}");
        assert_eq!(world.executed("n01", order), 1);
    }
}

fn pulse_left(world: &mut World, task: TaskId) -> bool {
    let orders = world.task(task).orders;
    orders.iter().any(|order| order.changes_power && order.left)
}

/// Whether the pulse's answer is not waited for any more.
fn unanswered(world: &mut World, task: TaskId) -> bool {
    let orders = world.task(task).orders;
    let pulse = orders.iter().find(|order| order.changes_power);
    pulse.is_some_and(|pulse| {
        pulse
            .answer
            .as_ref()
            .is_some_and(|answer| answer != "accepted")
    })
}

#[test]
fn a_bmc_that_comes_back_from_silence_is_found_within_three_seconds() {
    for seconds in [3, 8, 11] {
        let mut world = World::new(3, 1);
        world.run_for(secs(200));
        let back = world.now + secs(seconds);
        world.bmc("n01").forget_sessions();
        world.mood("n01").deaf_until = Some(back);
        let task = world.start_task("n01", Operation::PowerOff, options(secs(25)));
        world.run_until(back + secs(20), |world| !world.is_on("n01"));
        assert!(
            world.now < back + secs(4),
            "{seconds} s: {:?}",
            world.now - back
        );
        let view = world.run_task(task, secs(26));
        assert_eq!(view.state, TaskState::Succeeded, "{seconds} s: {view:#?}");
    }
}

/// A BMC so far away that it was never logged in to, which keeps every session for a minute,
/// half-open ones as well.
fn far_away(seed: u64, conditions: Conditions) -> World {
    let mut world = World::new(seed, 1);
    world.crash();
    world.bmc("n01").forget_sessions();
    world.bmc("n01").settings_mut().half_open_timeout = secs(60);
    world.link("n01", conditions);
    world.start();
    world
}

/// What stands in the way, as it is shown.
fn trouble(world: &mut World) -> String {
    let bmc = world.node("n01").rackbmcd.bmc;
    bmc.trouble_text.unwrap_or_default()
}

#[test]
fn a_bmc_whose_every_answer_comes_ten_to_twenty_seconds_late_is_logged_in_to_within_90_seconds() {
    // From where to where, in milliseconds.
    let round_trips = [
        (9_000, 9_000),
        (10_000, 10_000),
        (11_900, 11_900),
        (12_100, 12_100),
        (15_000, 15_000),
        (18_000, 18_000),
        (20_000, 20_000),
        (10_000, 20_000),
        (200, 20_000),
    ];
    for ((least, most), seed) in round_trips
        .into_iter()
        .flat_map(|trip| [(trip, 31), (trip, 32)])
    {
        let conditions = Conditions {
            delay: millis(least / 2),
            jitter: millis((most - least) / 2),
            ..Conditions::default()
        };
        let what = format!("{least} to {most} ms, {seed}");
        let mut world = far_away(seed, conditions);
        let before = world.bmc("n01").counters();
        let asked = world.now;
        let task = world.start_task("n01", Operation::PowerOff, options(secs(300)));
        world.run_for(secs(5));
        let said = trouble(&mut world);
        assert!(said.contains("still trying"), "{what}: {said}");
        while !trouble(&mut world).is_empty() {
            world.run_for(millis(100));
            assert!(
                world.now <= asked + secs(90),
                "{what}: {}",
                trouble(&mut world)
            );
        }
        let view = world.run_task(task, secs(300));
        assert_eq!(view.state, TaskState::Succeeded, "{what}: {view:#?}");
        assert!(!world.is_on("n01"), "{what}");
        let after = world.bmc("n01").counters();
        assert!(after.most_sessions <= 2, "{what}: {after:?}");
        assert_eq!(after.sessions_opened - before.sessions_opened, 1, "{what}");
    }
}

#[test]
fn who_asks_in_the_middle_of_a_long_log_in_hears_within_five_seconds_that_it_goes_on() {
    let conditions = Conditions {
        delay: secs(8),
        ..Conditions::default()
    };
    let mut world = far_away(33, conditions);
    world.start_task("n01", Operation::PowerOff, options(secs(300)));
    world.run_for(secs(10));
    for _ in 0..4 {
        let order = world.ask(Call::Order {
            node: "n01".into(),
            order: Order::ReadEventLog(10),
            who: who(),
        });
        let fresh = world.ask(Call::FreshNode("n01".into()));
        world.run_for(secs(5));
        let said = format!("{:?}", world.take_answer(order));
        assert!(said.contains("still trying"), "{said}");
        assert!(world.take_answer(fresh).is_some());
    }
}

#[test]
fn a_slow_bmc_with_a_name_of_two_addresses_is_waited_for_when_nobody_answers_at_the_other_one() {
    let conditions = Conditions {
        delay: secs(4),
        ..Conditions::default()
    };
    let mut world = far_away(34, conditions);
    let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
    nodes[0].address.host = "both.example".into();
    world.reload(settings, nodes).expect("it is good");
    let end = world.now + secs(200);
    while world.node("n01").rackbmcd.reading.is_none() {
        assert!(world.now < end, "{}", trouble(&mut world));
        world.run_for(millis(100));
        let now = world.now;
        if let Some((node, host)) = world.rack().poll_resolve() {
            let both = Ok(vec![world::address(7), world::address(0)]);
            world.rack().handle_resolved(node, &host, both, now);
        }
    }
}
