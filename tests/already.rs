//! Journeys in which a node is in the state that is asked for while an order of an earlier task may
//! still end that, in virtual time: nobody is told "already", and whoever asks for something else
//! does not wait for the watch.

mod world;

use rackbmcd::model::{
    BatchStart, Control, HistoryKind, OnBusy, Operation, PowerOptions, TakeOver, Task, TaskId,
    TaskState,
};
use rackbmcd::rack::call::{Answer, Call};
use rackbmcd::sim::{ChassisOrder, Mishap, NmiEffect, OsMood};
use std::time::Duration;
use world::{World, batch_of, millis, secs, who};

/// A node that is off, and whose machine takes its time to switch on.
fn slow_to_come_on(seed: u64, takes: Duration) -> World {
    let mut world = World::new(seed, 1);
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
    world.mood("n01").on_delay = takes;
    world.run_for(secs(70));
    world
}

/// Starts it, waits for its order to be carried out, and ends it.
fn started_and_aborted(world: &mut World, operation: Operation, order: ChassisOrder) -> TaskId {
    let task = world.start_task("n01", operation, PowerOptions::default());
    let before = world.executed("n01", order);
    let end = world.now + secs(5);
    let done = |world: &mut World| world.executed("n01", order) > before;
    assert!(world.run_until(end, done));
    world.run_for(millis(200));
    world.control(task, Control::Abort).unwrap();
    task
}

fn run(world: &mut World, operation: Operation) -> Task {
    let task = world.start_task("n01", operation, PowerOptions::default());
    world.run_task(task, secs(200))
}

fn outcome(view: &Task) -> &str {
    view.outcome.as_deref().expect("it has ended")
}

fn drifts(world: &mut World) -> Vec<String> {
    let call = Call::History {
        node: "n01".into(),
        limit: 100,
    };
    match world.call(call) {
        Ok(Answer::History(entries)) => entries
            .into_iter()
            .filter(|entry| entry.kind == HistoryKind::Drift)
            .map(|entry| entry.text)
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_off_after_an_aborted_on_is_sent_and_the_machine_stays_off() {
    let mut world = slow_to_come_on(1, secs(7));
    started_and_aborted(&mut world, Operation::PowerOn, ChassisOrder::On);
    let off = run(&mut world, Operation::PowerOff);
    assert_eq!(off.state, TaskState::Succeeded);
    let words = "power off: off now; the power on of ";
    assert!(outcome(&off).starts_with(words), "{}", outcome(&off));
    assert!(outcome(&off).contains(" UTC may still switch it on"));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
    world.run_for(secs(100));
    assert!(!world.is_on("n01"));
}

#[test]
fn a_machine_that_comes_on_in_the_watch_is_switched_off_once_more() {
    for killed in [false, true] {
        let mut world = slow_to_come_on(2, secs(7));
        world.mood("n01").heedless = true;
        let aborted = started_and_aborted(&mut world, Operation::PowerOn, ChassisOrder::On);
        if killed {
            world.crash();
            world.start();
        }
        let off = run(&mut world, Operation::PowerOff);
        assert_eq!(off.state, TaskState::Succeeded, "{off:#?}");
        assert!(!world.is_on("n01"));
        let words = "it was on, most likely by the power on of ";
        assert!(outcome(&off).contains(words), "{}", outcome(&off));
        assert_eq!(world.executed("n01", ChassisOrder::Off), 2);
        world.run_for(secs(100));
        assert!(!world.is_on("n01"));
        let drifts = drifts(&mut world);
        let of_the_on = format!("late effect of task {aborted}");
        let nobody = drifts.iter().filter(|text| text.contains("nobody asked"));
        assert!(nobody.count() <= 1, "{of_the_on}: {drifts:?}");
    }
}

#[test]
fn an_off_after_an_on_that_ran_out_of_time_is_no_different() {
    let mut world = slow_to_come_on(3, secs(75));
    world.mood("n01").heedless = true;
    let on = run(&mut world, Operation::PowerOn);
    assert_eq!(on.state, TaskState::Failed);
    let off = run(&mut world, Operation::PowerOff);
    assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
    assert!(
        outcome(&off).contains("may still switch it on"),
        "{}",
        outcome(&off)
    );
    // It comes on after all: that is put down to the task that did it, though another one came
    // between.
    world.run_for(secs(120));
    assert!(world.is_on("n01"));
    let drifts = drifts(&mut world);
    let last = &drifts[0];
    assert!(
        last.contains(&format!("late effect of task {}", on.id)),
        "{drifts:?}"
    );
}

#[test]
fn an_on_after_a_soft_off_is_sent_watched_for_a_minute_and_put_right() {
    for (timed_out, reboot) in [(false, false), (true, false), (false, true)] {
        let mut world = World::new(4, 1);
        world.run_for(secs(3));
        world.mood("n01").os = OsMood::ObeysAfter(secs(40));
        let operation = match reboot {
            true => Operation::SoftReboot,
            false => Operation::SoftPowerOff,
        };
        if timed_out {
            let options = PowerOptions {
                timeout: Some(secs(5)),
                ..PowerOptions::default()
            };
            let soft = world.start_task("n01", operation, options);
            assert_eq!(world.run_task(soft, secs(20)).state, TaskState::Failed);
        } else {
            started_and_aborted(&mut world, operation, ChassisOrder::Soft);
        }
        let on = run(&mut world, Operation::PowerOn);
        assert_eq!(on.state, TaskState::Succeeded, "{on:#?}");
        assert!(world.is_on("n01"));
        let words = "it was off, most likely by the soft power off of ";
        assert!(outcome(&on).contains(words), "{}", outcome(&on));
        world.run_for(secs(300));
        assert!(world.is_on("n01"), "nothing follows");
    }
}

#[test]
fn an_on_after_a_soft_off_that_hangs_says_what_may_still_come() {
    let mut world = World::new(5, 1);
    world.run_for(secs(3));
    world.mood("n01").os = OsMood::ObeysAfter(secs(200));
    let soft = started_and_aborted(&mut world, Operation::SoftPowerOff, ChassisOrder::Soft);
    let on = run(&mut world, Operation::PowerOn);
    assert_eq!(on.state, TaskState::Succeeded);
    assert!(
        outcome(&on).starts_with("power on: on now; the soft power off of "),
        "{}",
        outcome(&on)
    );
    assert_eq!(world.executed("n01", ChassisOrder::On), 1);
    world.run_for(secs(200));
    let drifts = drifts(&mut world);
    assert_eq!(drifts.len(), 1, "{drifts:?}");
    assert!(drifts[0].contains(&soft.to_string()), "{drifts:?}");
}

#[test]
fn an_aborted_cycle_may_still_go_either_way() {
    for (operation, order) in [
        (Operation::PowerOff, ChassisOrder::Off),
        (Operation::PowerOn, ChassisOrder::On),
    ] {
        let mut world = World::new(6, 1);
        world.run_for(secs(3));
        world.mood("n01").off_delay = secs(8);
        world.mood("n01").cycle_off_time = secs(8);
        started_and_aborted(&mut world, Operation::Cycle, ChassisOrder::Cycle);
        if operation == Operation::PowerOff {
            world.run_for(secs(10));
            world.call(Call::FreshNode("n01".into())).unwrap();
            assert!(!world.is_on("n01"));
        }
        let view = run(&mut world, operation);
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        assert!(world.executed("n01", order) >= 1);
        world.run_for(secs(60));
        assert_eq!(world.is_on("n01"), operation == Operation::PowerOn);
    }
}

#[test]
fn what_took_effect_or_is_old_stands_against_nothing() {
    let mut world = slow_to_come_on(7, Duration::ZERO);
    started_and_aborted(&mut world, Operation::PowerOn, ChassisOrder::On);
    // It was seen on, and somebody switched it off since.
    world.run_for(secs(30));
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
    let off = run(&mut world, Operation::PowerOff);
    assert!(
        outcome(&off).contains("was off already"),
        "{}",
        outcome(&off)
    );
    let mut world = World::new(8, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(3));
    started_and_aborted(&mut world, Operation::SoftPowerOff, ChassisOrder::Soft);
    world.run_for(secs(601));
    let on = run(&mut world, Operation::PowerOn);
    assert!(outcome(&on).contains("was on already"), "{}", outcome(&on));
    assert_eq!(world.executed("n01", ChassisOrder::On), 0);
}

#[test]
fn ironics_put_and_batches_hear_of_it_as_well() {
    let mut world = slow_to_come_on(9, secs(7));
    started_and_aborted(&mut world, Operation::PowerOn, ChassisOrder::On);
    let put = world.put_power("n01", "power off", PowerOptions::default());
    let put = put.unwrap().expect("it begins").id;
    let view = world.run_task(put, secs(60));
    assert!(
        outcome(&view).contains("may still switch it on"),
        "{view:#?}"
    );
    let mut world = slow_to_come_on(10, secs(7));
    started_and_aborted(&mut world, Operation::PowerOn, ChassisOrder::On);
    let planned = world.start_batch(BatchStart {
        dry_run: true,
        ..batch_of(&["n01"], Operation::PowerOff)
    });
    world.run_for(secs(1));
    assert_eq!(planned.nodes[0].plan, ["power off"]);
    let batch = world.start_batch(batch_of(&["n01"], Operation::PowerOff));
    let member = batch.nodes[0].task.expect("it has a task");
    let view = world.run_task(member, secs(60));
    assert!(
        outcome(&view).contains("may still switch it on"),
        "{view:#?}"
    );
}

#[test]
fn a_new_request_ends_the_watch() {
    for operation in [Operation::PowerOn, Operation::PowerOff, Operation::Reboot] {
        let mut world = slow_to_come_on(11, secs(7));
        started_and_aborted(&mut world, Operation::PowerOn, ChassisOrder::On);
        let off = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
        world.run_for(secs(3));
        assert_eq!(world.state(off), TaskState::Running);
        let next = world.start_task("n01", operation, PowerOptions::default());
        let off = world.task(off);
        assert_eq!(off.state, TaskState::Succeeded, "{off:#?}");
        let words = format!("not watched any longer, because alice asked for {operation}");
        assert!(outcome(&off).contains(&words), "{}", outcome(&off));
        assert_eq!(world.run_task(next, secs(100)).state, TaskState::Succeeded);
    }
}

#[test]
fn where_nothing_is_to_be_done_the_node_is_free_as_soon_as_its_target_is_gone() {
    let mut world = World::new(12, 1);
    world.run_for(secs(3));
    world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    for pause in 0..40 {
        let gone = |world: &mut World| world.node("n01").target_power_state.is_none();
        let end = world.now + secs(3);
        assert!(world.run_until(end, gone));
        world.run_for(millis(pause * 30));
        let call = Call::Start {
            node: "n01".into(),
            operation: Operation::PowerOn,
            options: PowerOptions::default(),
            who: who(),
        };
        assert!(world.call(call).is_ok());
    }
    world.run_for(secs(10));
    assert_eq!(world.executed("n01", ChassisOrder::On), 0);
}

#[test]
fn whoever_wants_something_else_does_not_wait_for_the_watch_of_an_nmi() {
    for operation in [Operation::Reset, Operation::PowerOff, Operation::SoftReboot] {
        let mut world = World::new(13, 1);
        world.run_for(secs(3));
        world.mood("n01").nmi = NmiEffect::Ignored;
        let nmi = world.start_task("n01", Operation::InjectNmi, PowerOptions::default());
        world.run_for(secs(2));
        assert_eq!(world.state(nmi), TaskState::Running);
        let next = world.start_task("n01", operation, PowerOptions::default());
        let nmi = world.task(nmi);
        assert_eq!(nmi.state, TaskState::Succeeded, "{nmi:#?}");
        let words = format!("not watched any longer, because alice asked for {operation}");
        assert!(outcome(&nmi).contains(&words), "{}", outcome(&nmi));
        let view = world.run_task(next, secs(100));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        assert_eq!(world.executed("n01", ChassisOrder::Nmi), 1);
    }
}

#[test]
fn an_nmi_that_the_bmc_refused_was_not_injected() {
    let mut world = World::new(14, 1);
    world.run_for(secs(3));
    world.mood("n01").nmi = NmiEffect::Refused(0xCC);
    let refused = run(&mut world, Operation::InjectNmi);
    assert_eq!(refused.state, TaskState::Failed);
    world.mood("n01").nmi = NmiEffect::Ignored;
    let nmi = run(&mut world, Operation::InjectNmi);
    assert_eq!(nmi.state, TaskState::Succeeded, "{nmi:#?}");
}

/// The class: what an earlier order may still do was forgotten when somebody set the calendar.
#[test]
fn a_calendar_that_is_set_ends_the_time_of_no_earlier_order() {
    for by in [-400 * 24 * 3600, 400 * 24 * 3600] {
        let mut world = slow_to_come_on(31, secs(7));
        started_and_aborted(&mut world, Operation::PowerOn, ChassisOrder::On);
        world.set_calendar(by);
        let view = run(&mut world, Operation::PowerOff);
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        assert_eq!(
            world.executed("n01", ChassisOrder::Off),
            1,
            "{by}: {view:#?}"
        );
        world.run_for(secs(30));
        assert!(!world.is_on("n01"), "{by}");
        assert!(
            drifts(&mut world)
                .iter()
                .all(|text| !text.contains("nobody"))
        );
    }
}

/// Takes the node over from its task, and waits for the end.
fn take_over(world: &mut World, operation: Operation, from: TakeOver) -> Task {
    let options = PowerOptions {
        on_busy: Some(OnBusy::TakeOver),
        take_over: Some(from),
        ..PowerOptions::default()
    };
    let task = world.start_task("n01", operation, options);
    world.run_task(task, secs(200))
}

/// When the first datagram of an order of the task that has the node left.
fn until_it_is_out(world: &mut World, order: ChassisOrder) {
    let end = world.now + secs(5);
    assert!(world.run_until(end, |world| world.executed("n01", order) > 0));
}

#[test]
fn an_off_that_takes_the_node_over_from_an_on_is_sent_although_the_node_is_off() {
    for answer_is_lost in [false, true] {
        let mut world = slow_to_come_on(15, secs(7));
        let on = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
        if answer_is_lost {
            until_it_is_out(&mut world, ChassisOrder::On);
            let link = world.sim.link_mut(world::address(0)).unwrap();
            let next = link.carried();
            (next..next + 4).for_each(|number| link.befall(number, Mishap::Lost));
        } else {
            until_it_is_out(&mut world, ChassisOrder::On);
            world.run_for(secs(1));
        }
        let off = take_over(&mut world, Operation::PowerOff, TakeOver::Running);
        assert_eq!(off.took_over, Some(on));
        assert_eq!(off.state, TaskState::Succeeded, "{off:#?}");
        assert!(world.executed("n01", ChassisOrder::Off) > 0, "{off:#?}");
        world.run_for(secs(60));
        assert!(!world.is_on("n01"), "lost: {answer_is_lost}, {off:#?}");
        assert_eq!(drifts(&mut world), Vec::<String>::new());
    }
}

#[test]
fn an_on_that_takes_the_node_over_from_a_soft_off_is_sent_watched_and_says_what_may_come() {
    let mut world = World::new(16, 1);
    world.run_for(secs(3));
    world.mood("n01").os = OsMood::Hangs;
    world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    until_it_is_out(&mut world, ChassisOrder::Soft);
    world.run_for(secs(2));
    let asked = world.now;
    let on = take_over(&mut world, Operation::PowerOn, TakeOver::Running);
    assert!(world.now - asked >= secs(60), "watched for rollback_settle");
    assert_eq!(world.executed("n01", ChassisOrder::On), 1);
    let words = "may still switch it off";
    assert!(outcome(&on).contains(words), "{}", outcome(&on));
    // One that does go down is on again at the end.
    let mut world = World::new(17, 1);
    world.run_for(secs(3));
    world.mood("n01").os = OsMood::ObeysAfter(secs(20));
    world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    until_it_is_out(&mut world, ChassisOrder::Soft);
    let on = take_over(&mut world, Operation::PowerOn, TakeOver::Running);
    assert_eq!(on.state, TaskState::Succeeded, "{on:#?}");
    assert!(world.is_on("n01"));
    world.run_for(secs(100));
    assert!(world.is_on("n01"));
    assert_eq!(drifts(&mut world), Vec::<String>::new());
}

#[test]
fn a_task_that_stood_still_hands_on_what_it_had_sent() {
    let mut world = slow_to_come_on(18, secs(12));
    let on = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    until_it_is_out(&mut world, ChassisOrder::On);
    world.run_for(secs(1));
    world.control(on, Control::Suspend).unwrap();
    let off = take_over(&mut world, Operation::PowerOff, TakeOver::Suspended);
    assert_eq!(off.state, TaskState::Succeeded, "{off:#?}");
    assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
    world.run_for(secs(60));
    assert!(!world.is_on("n01"));
}
