//! A rack that has a second host changes its machines within its permit, and at no other time.

#[path = "world/mod.rs"]
mod world;

use rackbmcd::model::{Operation, PowerOptions, PowerState, TaskState};
use rackbmcd::rack::call::{Call, Refused};
use rackbmcd::rack::permit::{Permit, Succession};
use rackbmcd::sim::{ChassisOrder, Conditions, OsMood};
use rackbmcd::time::Instant;
use std::time::Duration;
use world::{World, millis, secs, who};

#[test]
fn a_host_that_only_looks_shows_what_the_owner_has_written_down() {
    let mut world = World::new(9, 1);
    world.run_for(secs(3));
    let shown = world.power_state("n01");
    assert_ne!(shown, PowerState::Unknown);
    for (only_looked_at, expected) in [(false, PowerState::Unknown), (true, shown)] {
        world.crash();
        world.succession = Some(Succession {
            fence: 0,
            permit: Permit {
                from: world.now,
                until: world.now,
            },
            clean: true,
            only_looked_at,
            last_sign: None,
        });
        world.start();
        assert_eq!(world.power_state("n01"), expected);
    }
}

/// The daemon starts anew with a permit for this time from now on.
fn with_permit(world: &mut World, from: Duration, until: Duration, clean: bool) {
    world.crash();
    world.succession = Some(Succession {
        fence: 7,
        permit: Permit {
            from: world.now + from,
            until: world.now + until,
        },
        clean,
        only_looked_at: false,
        last_sign: Some((rackbmcd::time::WallTime::default(), secs(9))),
    });
    world.start();
}

/// Every second the permit is renewed for seven more.
fn renew(world: &mut World, times: u32) {
    for _ in 0..times {
        let now = world.now;
        world.rack().handle_permit(now + secs(7), now);
        world.run_for(secs(1));
    }
}

fn pressed(world: &mut World, order: ChassisOrder) -> usize {
    world.executed("n01", order)
}

#[test]
fn what_is_asked_before_the_permit_begins_is_taken_says_what_it_waits_for_and_goes_on_then() {
    let mut world = World::new(1, 1);
    with_permit(&mut world, secs(3), secs(9), true);
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(secs(2));
    assert_eq!(
        world.power_state("n01"),
        PowerState::On,
        "it is read meanwhile"
    );
    let phase = world.task(task).phase;
    assert!(phase.contains("the former owner's last packets"), "{phase}");
    assert_eq!(pressed(&mut world, ChassisOrder::Off), 0);
    renew(&mut world, 10);
    assert_eq!(world.state(task), TaskState::Succeeded);
    assert_eq!(pressed(&mut world, ChassisOrder::Off), 1);
}

#[test]
fn a_former_owner_with_nothing_on_its_way_is_not_waited_for() {
    let mut world = World::new(2, 1);
    with_permit(&mut world, secs(0), secs(7), false);
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(secs(2));
    assert_eq!(pressed(&mut world, ChassisOrder::Off), 1);
    renew(&mut world, 5);
    assert_eq!(world.state(task), TaskState::Succeeded);
}

#[test]
fn where_its_last_order_has_no_answer_three_seconds_pass_first() {
    let mut world = World::new(3, 2);
    let conditions = Conditions {
        delay: millis(20),
        ..Conditions::default()
    };
    world.link("n01", conditions);
    world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    // The owner dies when the machine has carried the order out, and has not answered.
    while pressed(&mut world, ChassisOrder::Off) == 0 {
        world.run_for(millis(1));
    }
    with_permit(&mut world, secs(0), secs(7), false);
    let begun = world.now;
    world.start_task("n02", Operation::PowerOff, PowerOptions::default());
    while world.executed("n02", ChassisOrder::Off) == 0 {
        let now = world.now;
        world.rack().handle_permit(now + secs(7), now);
        world.run_for(millis(100));
    }
    let waited = world.now - begun;
    assert!(waited >= secs(3) && waited < secs(5), "{waited:?}");
}

#[test]
fn nothing_changes_a_machine_after_the_permit_and_readings_and_deadlines_go_on() {
    let mut world = World::new(4, 2);
    with_permit(&mut world, secs(0), secs(3), true);
    world.run_for(secs(1));
    let options = PowerOptions {
        timeout: Some(secs(60)),
        ..PowerOptions::default()
    };
    world.mood("n02").os = OsMood::Hangs;
    let back = world.start_task("n01", Operation::SoftReboot, options.clone());
    let hangs = world.start_task("n02", Operation::SoftPowerOff, options);
    world.run_for(secs(10));
    let sent = world.left.len();
    let refused = world.call(Call::Start {
        node: "n02".into(),
        operation: Operation::Cycle,
        options: PowerOptions::default(),
        who: who(),
    });
    let Err(Refused::Unconfirmed(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("ownership of the rack"), "{why}");
    world.run_for(secs(50));
    assert!(world.left.len() > sent, "it is read on");
    assert_eq!(world.state(hangs), TaskState::Failed);
    // A machine that is off by our doing is not left off for want of a permit (rule 6).
    assert_eq!(pressed(&mut world, ChassisOrder::On), 0);
    assert_eq!(world.state(back), TaskState::Running);
    renew(&mut world, 30);
    assert_eq!(world.state(back), TaskState::Succeeded);
    assert!(world.is_on("n01"));
}

#[test]
fn an_order_that_is_durable_too_late_is_not_sent_and_its_task_knows_it() {
    let mut world = World::new(5, 1);
    world.commit_takes = millis(1500);
    with_permit(&mut world, secs(0), secs(4), true);
    let task = world.start_task("n01", Operation::Reset, PowerOptions::default());
    // Its record is on the way when the permit ends.
    world.run_for(secs(8));
    assert_eq!(pressed(&mut world, ChassisOrder::Reset), 0);
    let before = world.state(task);
    renew(&mut world, 20);
    let state = world.state(task);
    let count = pressed(&mut world, ChassisOrder::Reset);
    assert!(count <= 1, "{before:?}, then {state:?}");
    assert_eq!(state == TaskState::Succeeded, count == 1, "{state:?}");
}

#[test]
fn a_datagram_whose_permit_was_confirmed_a_while_ago_waits_for_one_more_confirmation() {
    let mut world = World::new(6, 1);
    with_permit(&mut world, secs(0), secs(60), true);
    world.run_for(secs(5));
    world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(secs(1));
    assert_eq!(pressed(&mut world, ChassisOrder::Off), 0);
    let now = world.now;
    assert!(world.rack().wants_confirmation(now));
    world.rack().handle_permit(now + secs(7), now);
    world.run_for(millis(100));
    assert_eq!(pressed(&mut world, ChassisOrder::Off), 1);
}

#[test]
fn in_the_dark_sessions_are_closed_and_nothing_is_asked_until_it_is_over() {
    let mut world = World::new(7, 2);
    with_permit(&mut world, secs(0), secs(7), true);
    let task = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(2));
    let now: Instant = world.now;
    world.rack().handle_dark(now);
    world.run_for(secs(5));
    assert_eq!(world.bmc("n01").open_sessions(), 0);
    let sent = world.left.len();
    world.run_for(secs(120));
    assert_eq!(world.left.len(), sent, "not one datagram");
    let state = world.state(task);
    assert_eq!(state, TaskState::Running);
    renew(&mut world, 60);
    assert!(world.state(task).is_end(), "{:#?}", world.task(task));
}
