//! What reads gives way to what acts: long readings of a BMC hold up neither power nor the looks of
//! tasks.

mod world;

use rackbmcd::bmc::vocabulary::Order;
use rackbmcd::model::{BatchStart, BootDevice, Operation, PowerOptions, TaskState};
use rackbmcd::rack::call::{Call, CallId, Refused};
use std::sync::Arc;
use world::{World, batch_of, millis, secs, who};

/// A node that takes so long for each answer, with so many entries in its event log.
fn world_with_log(seed: u64, delay: u64, entries: u16) -> World {
    let mut world = World::new(seed, 1);
    world.run_for(secs(3));
    let now = world.now;
    for _ in 0..entries / 2 {
        world.bmc("n01").host_mut().event_log.log_nmi_crash(now);
    }
    world.mood("n01").reply_delay = millis(delay);
    world
}

fn read_log(world: &mut World, entries: u16) -> CallId {
    world.ask(Call::Order {
        node: "n01".into(),
        order: Order::ReadEventLog(entries),
        who: who(),
    })
}

#[test]
fn a_power_off_waits_for_no_more_than_one_command_of_a_long_reading() {
    let mut world = world_with_log(1, 100, 500);
    read_log(&mut world, 250);
    world.run_for(secs(2));
    let asked = world.now;
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    assert!(world.run_until(asked + secs(3), |world| !world.is_on("n01")));
    assert!(world.now - asked < millis(700), "{:?}", world.now - asked);
    assert_eq!(world.run_task(task, secs(30)).state, TaskState::Succeeded);
}

#[test]
fn a_power_off_goes_beside_a_reading_that_is_not_answered() {
    let mut world = world_with_log(2, 20, 10);
    read_log(&mut world, 10);
    world.run_for(millis(30));
    // The answer to what was asked last is lost, and the next ones are there again.
    let now = world.now;
    world.mood("n01").deaf_until = Some(now + millis(40));
    world.run_for(millis(40));
    let asked = world.now;
    world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    assert!(world.run_until(asked + secs(3), |world| !world.is_on("n01")));
    assert!(world.now - asked < millis(600), "{:?}", world.now - asked);
}

#[test]
fn a_crowd_of_readers_holds_nobody_up() {
    let mut world = world_with_log(5, 20, 500);
    let calls: Vec<CallId> = (0..32).map(|_| read_log(&mut world, 1000)).collect();
    world.run_for(secs(2));
    let crowded = calls
        .iter()
        .filter_map(|call| world.take_answer(*call))
        .filter(|answer| matches!(answer, Err(Refused::Crowded(_))))
        .count();
    assert_eq!(crowded, 30, "two of one user wait");
    let asked = world.now;
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    assert!(world.run_until(asked + secs(3), |world| !world.is_on("n01")));
    assert!(world.now - asked < secs(1), "{:?}", world.now - asked);
    assert_eq!(world.run_task(task, secs(30)).state, TaskState::Succeeded);
}

/// Dry runs of one node by many callers are as many readings of its BMC.
#[test]
fn a_crowd_of_dry_runs_keeps_no_power_off_out() {
    let mut world = World::new(6, 1);
    world.run_for(secs(3));
    world.mood("n01").dead = true;
    for _ in 0..80 {
        world.ask(Call::StartBatch {
            request: BatchStart {
                dry_run: true,
                ..batch_of(&["n01"], Operation::PowerOff)
            },
            who: who(),
        });
    }
    world.run_for(secs(1));
    let asked = world.now;
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(millis(100));
    let view = world.task(task);
    assert_eq!(view.state, TaskState::Running, "{view:?}");
    assert!(
        view.orders.iter().all(|order| order.answer.is_none()),
        "{view:?}"
    );
    world.mood("n01").dead = false;
    assert!(world.run_until(asked + secs(50), |world| !world.is_on("n01")));
}

/// An operator's clearing is carried through, and looks each second whether the erasure is over.
#[test]
fn a_power_off_does_not_wait_for_a_log_that_is_being_erased() {
    let mut world = world_with_log(7, 20, 20);
    world.mood("n01").log.erasing_takes = secs(600);
    world.ask(Call::Order {
        node: "n01".into(),
        order: Order::ClearEventLog,
        who: who(),
    });
    world.run_for(millis(2500));
    let asked = world.now;
    world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    assert!(world.run_until(asked + secs(20), |world| !world.is_on("n01")));
    assert!(world.now - asked < millis(600), "{:?}", world.now - asked);
}

#[test]
fn the_pace_counts_commands_and_not_orders() {
    let mut world = world_with_log(3, 10, 100);
    let before = world.bmc("n01").counters().requests;
    read_log(&mut world, 100);
    world.run_for(secs(10));
    let asked = world.bmc("n01").counters().requests - before;
    // Ten after a rest, five a second from then on.
    assert!((50..=61).contains(&asked), "{asked}");
}

#[test]
fn a_reading_that_takes_too_long_ends_before_its_caller_gives_up() {
    let mut world = world_with_log(4, 3_000, 100);
    let call = read_log(&mut world, 100);
    world.run_for(secs(26));
    assert!(world.take_answer(call).is_some());
}

/// The class: the first of an order's commands had left, the pace was spent, and what acts behind
/// it was due at once and could not go: within one moment the daemon looked at it for ever.
#[test]
fn a_power_off_does_not_wait_for_the_pace_of_an_order_that_is_carried_through() {
    for spent in 0..4 {
        let mut world = World::new(6, 1);
        world.crash();
        let care = Arc::make_mut(&mut world.nodes[0].care);
        (care.orders_per_second, care.burst) = (0.1, 4);
        world.start();
        world.run_for(secs(90));
        for _ in 0..spent {
            world.ask(Call::Order {
                node: "n01".into(),
                order: Order::ReadGuid,
                who: who(),
            });
            world.run_for(millis(300));
        }
        world.ask(Call::Order {
            node: "n01".into(),
            order: Order::SetBootDevice {
                device: Some(BootDevice::Pxe),
                persistent: false,
                uefi: false,
            },
            who: who(),
        });
        world.run_for(millis(5));
        let asked = world.now;
        let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
        assert!(world.run_until(asked + secs(4), |world| !world.is_on("n01")));
        assert!(world.now - asked < secs(3), "{:?}", world.now - asked);
        assert_eq!(world.run_task(task, secs(30)).state, TaskState::Succeeded);
    }
}
