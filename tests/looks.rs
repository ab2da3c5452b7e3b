//! How soon a task looks, and how long what it calls done has to hold: in virtual time, on a line
//! with a round trip of 20 ms and machines that obey at once.

mod world;

use rackbmcd::model::{Control, Operation, PowerOptions, Task, TaskState};
use rackbmcd::rack::call::{Answer, Call, CallId, Look, Refused};
use rackbmcd::sim::{ChassisOrder, Conditions, OsMood};
use rackbmcd::time::Instant;
use std::sync::Arc;
use std::time::Duration;
use world::{World, millis, secs, who};

/// A node whose BMC and machine take no time, at the end of a line with a round trip of 20 ms; it
/// was read a moment ago, so that there is a session.
fn obedient(change: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(3, 1);
    world.crash();
    Arc::make_mut(&mut world.nodes[0].power).min_off_time = Duration::ZERO;
    let line = Conditions {
        delay: millis(10),
        ..Conditions::default()
    };
    world.link("n01", line);
    let mood = world.mood("n01");
    (mood.on_delay, mood.off_delay) = (Duration::ZERO, Duration::ZERO);
    mood.os = OsMood::ObeysAfter(secs(4));
    change(&mut world);
    world.start();
    world.run_for(secs(4));
    world
}

/// Runs one operation to its end: how it ended, and how long after the request.
fn run(world: &mut World, operation: Operation) -> (Task, Duration) {
    let asked = world.now;
    let task = world.start_task("n01", operation, PowerOptions::default());
    let mut ended = None;
    world.run_until(asked + secs(700), |world| {
        let view = world.task(task);
        ended = view.ended.then_some(view);
        ended.is_some()
    });
    let view = ended.expect("it ends");
    (view, world.now - asked)
}

fn done(world: &mut World, operation: Operation) -> Duration {
    let (view, took) = run(world, operation);
    let outcome = view.outcome.unwrap_or_default();
    assert_eq!(view.state.known(), Some(TaskState::Succeeded), "{outcome}");
    took
}

#[test]
fn off_and_on_again_takes_less_than_a_second() {
    let mut world =
        obedient(|world| Arc::make_mut(&mut world.nodes[0].power).min_off_time = secs(10));
    let off = done(&mut world, Operation::PowerOff);
    let on = done(&mut world, Operation::PowerOn);
    println!("off {off:?}, on {on:?}");
    assert!(off + on < secs(1), "{off:?} {on:?}");
}

#[test]
fn a_reboot_without_a_time_off_takes_less_than_a_second_and_a_half() {
    let mut world = obedient(|_| {});
    let took = done(&mut world, Operation::Reboot);
    println!("reboot {took:?}");
    assert!(took < millis(1_500), "{took:?}");
}

/// When the machine carried an order out.
fn carried_out(world: &mut World, order: ChassisOrder) -> Instant {
    let host = world.bmc("n01").host();
    let done = host.executed().iter().rfind(|done| done.order == order);
    done.expect("it was carried out").at
}

#[test]
fn an_nmi_leaves_within_a_tenth_of_a_second_with_its_evidence() {
    let mut world = obedient(|_| {});
    let asked = world.now;
    world.bmc("n01").host_mut().event_log.log_nmi_crash(asked);
    let task = world.start_task("n01", Operation::InjectNmi, PowerOptions::default());
    world.run_for(secs(1));
    let view = world.task(task);
    let before: Vec<&str> = view
        .orders
        .iter()
        .map(|order| order.order.as_str())
        .collect();
    let arrived = carried_out(&mut world, ChassisOrder::Nmi) - asked;
    println!("nmi arrived after {arrived:?}: {before:?}");
    assert_eq!(
        before
            .iter()
            .filter(|order| order.starts_with("read"))
            .count(),
        4
    );
    assert!(arrived < millis(110), "{arrived:?}: it leaves 10 ms before");
}

/// What the node's task said at its end, and how long the state had been read by then, in two
/// readings.
fn held(world: &mut World, operation: Operation) -> Duration {
    let (view, _) = run(world, operation);
    assert_eq!(view.state.known(), Some(TaskState::Succeeded));
    let orders = view.orders.iter().rev();
    let reading = orders.take_while(|order| !order.changes_power).last();
    let reading = reading.expect("it was read");
    assert_eq!(reading.times, 2, "{reading:?}");
    let first = reading.at + millis(20);
    reading.answered_at.expect("it was answered").since(first)
}

#[test]
fn a_node_that_contradicted_what_was_called_done_is_watched_for_longer_also_after_a_restart() {
    let mut world = obedient(|_| {});
    let usual = held(&mut world, Operation::PowerOff);
    assert!((millis(200)..millis(300)).contains(&usual), "{usual:?}");
    // It is on again within the minute, and nobody had asked for it.
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::On, now);
    world.call(Call::FreshNode("n01".to_owned())).unwrap();
    world.run_for(secs(1));
    let longer = held(&mut world, Operation::PowerOff);
    assert!((secs(2)..millis(2_100)).contains(&longer), "{longer:?}");
    world.crash();
    world.start();
    world.run_for(secs(4));
    let longer = held(&mut world, Operation::PowerOn);
    assert!((secs(2)..millis(2_100)).contains(&longer), "{longer:?}");
    let who = who();
    let node = "n01".to_owned();
    world.call(Call::Retry { node, who }).unwrap();
    let usual = held(&mut world, Operation::PowerOff);
    assert!((millis(200)..millis(300)).contains(&usual), "{usual:?}");
}

#[test]
fn looks_stay_within_the_pace_of_the_bmc() {
    let mut world = obedient(|world| {
        let mood = world.mood("n01");
        (mood.on_delay, mood.off_delay) = (secs(20), secs(20));
    });
    let before = world.bmc("n01").counters().requests;
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(secs(10));
    let asked = world.bmc("n01").counters().requests - before;
    println!("{asked} commands in ten seconds");
    assert!(asked <= 20, "{asked} commands in ten seconds");
    assert!(!world.task(task).ended);
}

#[test]
fn a_cycle_that_leaves_the_machine_off_for_half_a_second_is_seen() {
    for begins_in in [0, 130, 260] {
        let mut world = obedient(|world| {
            let mood = world.mood("n01");
            (mood.cycle_off_time, mood.boot_time) = (millis(500), secs(1));
        });
        world.run_for(millis(begins_in));
        let (view, took) = run(&mut world, Operation::Cycle);
        let outcome = view.outcome.unwrap_or_default();
        assert_eq!(view.state.known(), Some(TaskState::Succeeded), "{outcome}");
        assert!(outcome.contains("it was off"), "{outcome}");
        assert!(took < secs(3), "{took:?}");
    }
}

#[test]
fn so_is_one_that_comes_late_and_leaves_it_off_for_a_second() {
    for late in [8, 23, 31, 47] {
        for round_trip in [1, 60] {
            let mut world = obedient(|world| {
                let mood = world.mood("n01");
                (mood.off_delay, mood.cycle_off_time) = (secs(late), secs(1));
                mood.reply_delay = millis(round_trip);
            });
            let (view, took) = run(&mut world, Operation::Cycle);
            let outcome = view.outcome.unwrap_or_default();
            assert_eq!(view.state.known(), Some(TaskState::Succeeded), "{outcome}");
            assert!(took < secs(late + 8), "{late}: {took:?}");
        }
    }
}

/// Asks for a power off and does not wait for the answer.
fn ask_off(world: &mut World) -> CallId {
    ask_for(world, Operation::PowerOff)
}

fn ask_for(world: &mut World, operation: Operation) -> CallId {
    world.ask(Call::Start {
        node: "n01".into(),
        operation,
        options: PowerOptions::default(),
        who: who(),
    })
}

/// The one task that is under way.
fn under_way(world: &mut World) -> Task {
    let look = Call::Look(Look::Tasks {
        node: None,
        batch: None,
        short: None,
        active: true,
        limit: 9,
    });
    match world.call(look) {
        Ok(Answer::Tasks(tasks)) if tasks.len() == 1 => tasks[0].clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_reading_leaves_beside_the_writing_of_the_record() {
    // A disk that is slower than the BMC, and one that is quicker: nothing is waited for twice. A
    // power off of a machine that is known to be on has one commit with its task; an order to a
    // machine that is off has one of its own.
    let (soft, hard, on) = (
        Operation::SoftPowerOff,
        Operation::PowerOff,
        Operation::PowerOn,
    );
    for (operation, order, commits, commit, longest) in [
        (soft, ChassisOrder::Soft, 1, millis(30), millis(41)),
        (soft, ChassisOrder::Soft, 1, millis(5), millis(31)),
        (hard, ChassisOrder::Off, 1, millis(30), millis(41)),
        (hard, ChassisOrder::Off, 1, millis(5), millis(31)),
        (on, ChassisOrder::On, 2, millis(30), millis(71)),
        (on, ChassisOrder::On, 2, millis(5), millis(36)),
    ] {
        let mut world = obedient(|_| {});
        if operation == on {
            done(&mut world, hard);
            world.run_for(secs(4));
        }
        world.commit_takes = commit;
        let asked = world.now;
        let before = world.left.len();
        let task = world.start_task("n01", operation, PowerOptions::default());
        world.run_for(millis(200));
        let arrived = carried_out(&mut world, order) - asked;
        assert!(arrived <= longest, "{operation}, {commit:?}: {arrived:?}");
        let orders = world.task(task).orders;
        let first: Vec<_> = orders.iter().take(2).collect();
        assert!(
            first[0].order.starts_with("read") && first[0].times == 1 && first[1].changes_power,
            "{first:?}"
        );
        let left = &world.left[before..];
        assert_eq!(left[0].at, asked, "the reading did not wait for the disk");
        assert!(
            left[1].at >= asked + commit * commits,
            "the order waited for what has to be durable"
        );
    }
}

/// A BMC that answers after 200 ms, on a disk that takes 5 ms: the reading is on its way for long.
fn with_a_slow_line() -> World {
    let mut world = obedient(|world| {
        let line = Conditions {
            delay: millis(100),
            ..Conditions::default()
        };
        world.link("n01", line);
    });
    world.commit_takes = millis(5);
    world
}

#[test]
fn a_power_off_that_was_put_down_before_its_reading_came_is_given_by_the_next_life() {
    // A soft one may have been seen by the operating system, for all that the next life knows.
    for (operation, order, within) in [
        (Operation::PowerOff, ChassisOrder::Off, secs(30)),
        (Operation::SoftPowerOff, ChassisOrder::Soft, secs(90)),
    ] {
        for crash_after in [millis(1), millis(6), millis(50), millis(199)] {
            let mut world = with_a_slow_line();
            ask_for(&mut world, operation);
            world.run_for(crash_after);
            assert_eq!(world.executed("n01", order), 0);
            world.crash();
            world.run_for(secs(1));
            world.start();
            world.run_for(within);
            // Before its first commit nobody heard of it.
            let remembered = crash_after > millis(5);
            let given = world.executed("n01", order);
            assert_eq!(given, usize::from(remembered), "{crash_after:?}");
            assert_eq!(world.is_on("n01"), !remembered);
        }
    }
}

#[test]
fn a_power_off_that_was_put_down_is_not_given_after_a_control_and_no_life_knows_of_it() {
    let moments = [millis(0), millis(1), millis(6), millis(150)];
    let operations = [
        Operation::PowerOff,
        Operation::Reboot,
        Operation::SoftPowerOff,
        Operation::SoftReboot,
    ];
    let controls = [
        Control::Abort,
        Control::Cancel,
        Control::Rollback,
        Control::Suspend,
    ];
    for (operation, control, after) in operations
        .iter()
        .flat_map(|operation| controls.map(|control| (*operation, control)))
        .flat_map(|(operation, control)| moments.map(|after| (operation, control, after)))
    {
        let told = format!("{operation}, {control} after {after:?}");
        let mut world = with_a_slow_line();
        ask_for(&mut world, operation);
        world.run_for(after);
        let task = under_way(&mut world).id;
        world.control(task, control).unwrap();
        for life in 0..2 {
            world.run_for(secs(5));
            for order in [ChassisOrder::Off, ChassisOrder::Soft, ChassisOrder::On] {
                assert_eq!(world.executed("n01", order), 0, "{told}, life {life}");
            }
            let view = world.task(task);
            let mut orders = view.orders.iter();
            let changing = orders.find(|order| order.changes_power);
            assert!(changing.is_none(), "{told}, life {life}: {changing:?}");
            assert_eq!(view.ended, control != Control::Suspend, "{told}");
            world.crash();
            world.start();
        }
        if control == Control::Suspend {
            // What the machine did at the start was read after that, and is where it goes back to.
            world.control(task, Control::Resume).unwrap();
            world.run_for(secs(2));
            world.control(task, Control::Rollback).unwrap();
            let view = world.run_task(task, secs(900));
            assert_eq!(view.state, TaskState::RolledBack, "{told}: {view:?}");
            assert!(world.is_on("n01"), "{told}");
        }
    }
}

#[test]
fn a_daemon_that_stops_puts_no_power_off_down_that_it_will_not_give() {
    for (operation, order) in [
        (Operation::PowerOff, ChassisOrder::Off),
        (Operation::SoftPowerOff, ChassisOrder::Soft),
    ] {
        let mut world = with_a_slow_line();
        let call = ask_for(&mut world, operation);
        world.run_for(millis(6));
        let Some(Ok(Answer::Task(task))) = world.take_answer(call) else {
            panic!("it is durable");
        };
        let now = world.now;
        world.rack().stop(now);
        world.run_for(secs(1));
        world.crash();
        world.start();
        // Soon: for all that the next life knows, no operating system was asked for anything.
        world.run_for(secs(5));
        assert_eq!(world.executed("n01", order), 1, "{operation}");
        let orders = world.task(task.id).orders;
        let changing = orders.iter().filter(|order| order.changes_power);
        assert_eq!(changing.count(), 1, "{orders:?}");
    }
}

#[test]
fn a_power_off_that_was_put_down_does_not_leave_for_a_machine_that_is_off() {
    for crashes in [false, true] {
        let mut world = with_a_slow_line();
        let now = world.now;
        // It goes down before the reading is there.
        world.mood("n01").os = OsMood::ObeysAfter(millis(50));
        world.bmc("n01").press_power_button(now);
        let call = ask_off(&mut world);
        world.run_for(millis(50));
        let Some(Ok(Answer::Task(task))) = world.take_answer(call) else {
            panic!("it is durable");
        };
        if crashes {
            world.crash();
            world.start();
        }
        let task = world.run_task(task.id, secs(60));
        assert_eq!(task.state, TaskState::Succeeded);
        assert_eq!(world.executed("n01", ChassisOrder::Off), 0, "{task:?}");
        // Nobody has read what the machine did before.
        let read = task
            .orders
            .iter()
            .any(|order| order.order.starts_with("read"));
        assert!(read, "{task:?}");
    }
}

#[test]
fn a_power_off_that_is_kept_back_is_put_down_without_its_order() {
    let mut world = with_a_slow_line();
    let call = ask_off(&mut world);
    world.run_for(millis(1));
    world.ask(Call::Pause {
        reason: "a leak".into(),
        who: who(),
    });
    world.run_for(millis(50));
    let Some(Ok(Answer::Task(task))) = world.take_answer(call) else {
        panic!("it is durable");
    };
    world.crash();
    world.start();
    world.run_for(secs(5));
    let task = world.task(task.id);
    assert!(
        task.orders.iter().all(|order| !order.changes_power),
        "{task:?}"
    );
}

#[test]
fn a_reading_that_waited_long_for_its_task_is_not_believed() {
    let mut world = obedient(|world| world.mood("n01").os = OsMood::ObeysAfter(millis(100)));
    world.commit_takes = secs(2);
    let before = world.left.len();
    ask_off(&mut world);
    world.run_for(millis(500));
    assert_eq!(world.left.len(), before + 1);
    let now = world.now;
    world.bmc("n01").press_power_button(now);
    world.commit_takes = millis(2);
    world.run_for(secs(4));
    assert!(!world.is_on("n01"));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0, "it was off");
}

#[test]
fn nothing_follows_a_reading_whose_task_the_disk_refused() {
    let mut world = obedient(|_| {});
    world.commit_takes = millis(100);
    world.disk_full = Some("no space left on device");
    let call = ask_off(&mut world);
    world.run_for(secs(5));
    assert!(matches!(
        world.take_answer(call),
        Some(Err(Refused::Store(_)))
    ));
    world.disk_full = None;
    world.run_for(secs(10));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
    assert!(world.is_on("n01"));
}

#[test]
fn what_was_asked_ahead_ends_with_an_abort_and_is_not_asked_again() {
    let mut world = obedient(|world| {
        let line = Conditions {
            delay: millis(10),
            loss: 1.0,
            ..Conditions::default()
        };
        world.link("n01", line);
    });
    world.commit_takes = secs(1);
    ask_off(&mut world);
    world.run_for(millis(1));
    let task = under_way(&mut world).id;
    world.control(task, Control::Abort).unwrap();
    let before = world.left.len();
    world.run_for(secs(3));
    let left = &world.left[before..];
    assert!(left.iter().all(|left| left.order.is_none()), "{left:?}");
    assert_eq!(world.state(task), TaskState::Aborted);
}
