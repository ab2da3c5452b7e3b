//! Turns, places and time: what waits for whom, and whose time runs meanwhile.
//!
//! A timeout that the request names runs from the request, whatever keeps the task from beginning;
//! a configured one runs from the moment at which the turn has come, and stands still while a step
//! waits.

mod world;

use rackbmcd::model::{
    BatchStart, Control, Operation, PowerOptions, PowerState, Target, Task, TaskId, TaskState,
};
use rackbmcd::rack::call::{Answer, Call, Look};
use rackbmcd::rack::settings::MaintenancePolicy;
use rackbmcd::sim::{ChassisOrder, Conditions, Mishap, OsMood};
use std::sync::Arc;
use std::time::Duration;
use world::{World, batch_of, millis, name, secs, who};

fn named(timeout: u64) -> PowerOptions {
    PowerOptions {
        timeout: Some(secs(timeout)),
        ..PowerOptions::default()
    }
}

/// A rack whose machines' operating systems hang, with these settings beside the defaults.
fn rack(seed: u64, count: usize, places: u32, stagger: Duration) -> World {
    let mut world = World::new(seed, count);
    world.crash();
    world.settings.max_transitions = places;
    world.settings.power_on_stagger = stagger;
    world.settings.maintenance_policy = MaintenancePolicy::Block;
    for node in &mut world.nodes {
        Arc::make_mut(&mut node.power).change_timeout = secs(60);
    }
    world.start();
    for place in 0..count {
        world.mood(&name(place)).os = OsMood::Hangs;
    }
    world.run_for(secs(5));
    world
}

/// n01 is under way for a long time, and n02 waits behind it in a batch of one at a time.
fn one_waits(seed: u64, options: PowerOptions) -> (World, TaskId, TaskId) {
    let mut world = rack(seed, 2, 16, millis(500));
    let batch = world.start_batch(BatchStart {
        max_parallel: 1,
        options,
        ..batch_of(&["n01", "n02"], Operation::SoftPowerOff)
    });
    let task = |at: usize| batch.nodes[at].task.unwrap();
    let (first, second) = (task(0), task(1));
    world.run_for(secs(2));
    (world, first, second)
}

fn pause(world: &mut World) {
    let (reason, who) = ("smoke".to_owned(), who());
    world.call(Call::Pause { reason, who }).unwrap();
}

fn release(world: &mut World) {
    world.call(Call::Release { who: who() }).unwrap();
}

fn maintenance(world: &mut World, node: &str, hold: bool) {
    let (node, who) = (node.to_owned(), who());
    let hold = hold.then_some(None);
    let call = Call::SetMaintenance { node, hold, who };
    world.call(call).unwrap();
}

fn about(time: Duration, seconds: u64) -> bool {
    time.abs_diff(secs(seconds)) < millis(100)
}

/// It ended on time, without ever having had its turn.
fn had_no_turn(view: &Task, seconds: u64) {
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    let said = view.outcome.as_deref().unwrap_or_default();
    let time = format!("{seconds}.0 s");
    assert_eq!(
        said,
        format!(
            "{} failed: its turn did not come within the {time} that the request named: nothing was sent",
            view.operation
        )
    );
    let waited = view.waited;
    assert!(about(waited, seconds), "{waited:?}");
}

#[test]
fn a_timeout_that_the_request_names_runs_in_the_queue_and_a_configured_one_does_not() {
    let (mut world, first, second) = one_waits(1, named(20));
    assert!(about(world.task(second).time_left.unwrap(), 18));
    let view = world.run_task(second, secs(19));
    had_no_turn(&view, 20);
    assert_eq!(view.started_at, None);
    assert!(about(view.elapsed, 20), "{view:#?}");
    assert_eq!(world.run_task(first, secs(2)).state, TaskState::Failed);
    world.run_for(secs(60));
    assert_eq!(world.executed("n02", ChassisOrder::Soft), 0);

    let (mut world, first, second) = one_waits(2, PowerOptions::default());
    world.run_task(first, secs(700));
    let view = world.task(second);
    assert_eq!(view.state, TaskState::Running);
    assert!(about(view.time_left.unwrap(), 600), "{view:#?}");
    assert!(about(view.waited, 600), "{view:#?}");
    let view = world.run_task(second, secs(601));
    assert_eq!(view.state, TaskState::Failed);
    assert!(
        view.elapsed >= secs(1199) && view.waited <= secs(601),
        "{view:#?}"
    );
}

#[test]
fn neither_the_pause_nor_maintenance_stops_the_time_that_the_request_named() {
    for (seed, crash) in [(3, false), (4, true)] {
        for paused in [true, false] {
            let (mut world, _, second) = one_waits(seed, named(20));
            match paused {
                true => pause(&mut world),
                false => maintenance(&mut world, "n02", true),
            }
            assert_eq!(world.state(second), TaskState::Suspended);
            world.run_for(secs(4));
            if crash {
                world.crash();
                world.start();
                world.run_for(secs(4));
            }
            assert_eq!(world.state(second), TaskState::Suspended);
            let left = world.task(second).time_left.expect("its time runs");
            assert!(left <= secs(14) && left >= secs(9), "{left:?}");
            let view = world.run_task(second, secs(20));
            had_no_turn(&view, 20);
            match paused {
                true => release(&mut world),
                false => maintenance(&mut world, "n02", false),
            }
            world.run_for(secs(60));
            assert_eq!(world.executed("n02", ChassisOrder::Soft), 0);
        }
    }
}

#[test]
fn a_configured_time_stands_still_in_a_pause_and_goes_on_whole() {
    let (mut world, first, second) = one_waits(5, PowerOptions::default());
    let left = world.task(first).time_left.unwrap();
    pause(&mut world);
    world.run_for(secs(2000));
    assert_eq!(world.state(second), TaskState::Suspended);
    release(&mut world);
    world.run_for(millis(10));
    assert!(about(left, 598) && world.task(first).time_left.unwrap().abs_diff(left) < millis(100));
    world.control(first, Control::Abort).unwrap();
    world.run_for(millis(10));
    assert!(about(world.task(second).time_left.unwrap(), 600));
}

#[test]
fn what_people_made_stand_still_stands_still_whatever_the_request_named() {
    let (mut world, first, second) = one_waits(6, named(20));
    for task in [first, second] {
        world.control(task, Control::Suspend).unwrap();
    }
    world.run_for(secs(100));
    for task in [first, second] {
        assert_eq!(world.state(task), TaskState::Suspended);
        world.control(task, Control::Resume).unwrap();
    }
    world.run_for(secs(1));
    let left = world.task(second).time_left.expect("it waits again");
    assert!(left >= secs(16) && left <= secs(18), "{left:?}");
}

#[test]
fn a_pause_takes_no_time_from_what_has_left() {
    let (mut world, first, _) = one_waits(7, named(20));
    assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
    pause(&mut world);
    world.run_for(secs(100));
    assert_eq!(world.state(first), TaskState::Suspended);
    release(&mut world);
    let view = world.run_task(first, secs(20));
    assert_eq!(view.state, TaskState::Failed);
    assert!(view.elapsed >= secs(119), "{view:#?}");
}

#[test]
fn what_the_request_named_and_the_wait_are_remembered() {
    let (mut world, _, second) = one_waits(8, named(30));
    world.run_for(secs(8));
    for _ in 0..2 {
        world.crash();
        world.start();
        world.run_for(secs(5));
    }
    let view = world.task(second);
    assert_eq!(view.state, TaskState::Queued);
    assert!(
        view.waited >= secs(15) && view.waited <= secs(21),
        "{view:#?}"
    );
    let left = view.time_left.expect("its time runs");
    assert!(left + view.waited <= secs(31), "{view:#?}");
    let view = world.run_task(second, left + secs(1));
    assert_eq!(view.state, TaskState::Failed);
    assert_eq!(world.executed("n02", ChassisOrder::Soft), 0);
}

/// n01 holds the one place of the rack for as long as its machine takes to come on.
fn place_taken(seed: u64, count: usize, takes: Duration) -> (World, TaskId) {
    let mut world = rack(seed, count, 1, Duration::ZERO);
    switched_off(&mut world, &["n01"]);
    world.mood("n01").on_delay = takes;
    world.run_for(secs(70));
    let first = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    let end = world.now + secs(5);
    assert!(world.run_until(end, |world| world.executed("n01", ChassisOrder::On) == 1));
    (world, first)
}

fn switched_off(world: &mut World, nodes: &[&str]) {
    let now = world.now;
    for node in nodes {
        world.bmc(node).order_by_somebody(ChassisOrder::Off, now);
    }
}

#[test]
fn what_the_request_named_runs_over_a_crash_while_a_place_is_waited_for() {
    let (mut world, _) = place_taken(9, 2, secs(50));
    switched_off(&mut world, &["n02"]);
    let second = world.start_task("n02", Operation::PowerOn, named(20));
    world.run_for(secs(6));
    world.crash();
    world.start();
    world.run_for(secs(6));
    let view = world.task(second);
    assert!(view.waited >= secs(9), "{view:#?}");
    let view = world.run_task(second, secs(10));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    assert_eq!(world.executed("n02", ChassisOrder::On), 0);
}

#[test]
fn the_wait_for_a_place_is_shown_and_explained() {
    let (mut world, _) = place_taken(10, 2, secs(50));
    switched_off(&mut world, &["n02"]);
    let second = world.start_task("n02", Operation::PowerOn, PowerOptions::default());
    world.run_for(secs(2));
    let before = world.task(second);
    world.run_for(secs(10));
    let view = world.task(second);
    assert_eq!(
        view.time_left, before.time_left,
        "its patience stands still"
    );
    assert_eq!(view.waited, before.waited + secs(10));
    assert_eq!(view.elapsed, before.elapsed + secs(10));
    let Ok(Answer::Explanation(explained)) = world.call(Call::Look(Look::Explain("n02".into())))
    else {
        panic!("no explanation");
    };
    let task = explained.facts.iter().find(|fact| fact.head == "task");
    let said = &task.expect("its task is told").text;
    assert!(
        said.starts_with(
            "power on by alice is running: switching on, waiting for the rack's only place for a power-on; asked for 12 s \
             ago, 12 s of them waiting for its turn, "
        ),
        "{said}"
    );
    let view = world.run_task(second, secs(100));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert!(
        view.waited >= secs(30) && view.waited < view.elapsed,
        "{view:#?}"
    );
}

#[test]
fn a_hard_off_waits_for_no_place_and_no_stagger_and_what_needs_no_order_for_none_either() {
    let mut world = rack(11, 5, 1, secs(300));
    switched_off(&mut world, &["n01", "n02"]);
    world.mood("n01").on_delay = secs(50);
    world.run_for(secs(65));
    let holds = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    let waits = world.start_task("n02", Operation::PowerOn, PowerOptions::default());
    world.run_for(secs(2));
    let off = world.start_task("n03", Operation::PowerOff, named(3));
    let on = world.start_task("n04", Operation::PowerOn, named(3));
    let reset = world.start_task("n05", Operation::Reset, PowerOptions::default());
    for task in [off, on] {
        let view = world.run_task(task, secs(3));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        assert!(about(view.waited, 0), "{view:#?}");
    }
    assert_eq!(world.executed("n05", ChassisOrder::Reset), 1);
    assert!(!world.task(reset).ended || world.task(reset).state == TaskState::Succeeded);
    assert!(!world.task(holds).ended && !world.task(waits).ended);
}

/// How many machines of these are off at the most while the batch runs, and whether all of them are
/// on at its end.
fn most_off(world: &mut World, request: BatchStart) -> usize {
    let nodes = request.nodes.clone();
    let batch = world.start_batch(request);
    let tasks: Vec<TaskId> = batch.nodes.iter().filter_map(|node| node.task).collect();
    let mut most = 0;
    let end = world.now + secs(1000);
    let over = world.run_until(end, |world| {
        let off = nodes.iter().filter(|node| !world.is_on(node)).count();
        most = most.max(off);
        tasks.iter().all(|task| world.task(*task).ended)
    });
    assert!(over);
    for (task, node) in tasks.iter().zip(&nodes) {
        let view = world.task(*task);
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        assert!(world.is_on(node));
    }
    most
}

#[test]
fn a_batch_of_restarts_has_no_more_machines_off_than_places_unless_it_says_so() {
    let nodes = ["n01", "n02", "n03", "n04"];
    for (seed, operation) in [(12, Operation::Reboot), (13, Operation::SoftReboot)] {
        for (max_parallel, most) in [(0, 2), (4, 4), (1, 1)] {
            let mut world = rack(seed, 4, 2, Duration::ZERO);
            for node in nodes {
                world.mood(node).os = OsMood::ObeysAfter(secs(3));
            }
            let request = BatchStart {
                max_parallel,
                ..batch_of(&nodes, operation)
            };
            let off = most_off(&mut world, request);
            assert_eq!(off, most, "{operation} with {max_parallel}");
        }
    }
}

#[test]
fn no_machine_stays_off_because_its_way_back_on_waited_longer_than_the_request_named() {
    for (seed, operation) in [(14, Operation::Reboot), (15, Operation::SoftReboot)] {
        let (mut world, first) = place_taken(seed, 3, secs(55));
        world.mood("n02").os = OsMood::ObeysAfter(secs(1));
        switched_off(&mut world, &["n03"]);
        let new = world.start_task("n03", Operation::PowerOn, PowerOptions::default());
        let reboot = world.start_task("n02", operation, named(10));
        let view = world.run_task(reboot, secs(200));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        assert!(view.waited > secs(20), "{view:#?}");
        assert!(world.is_on("n02"));
        let ended = world.task(first).ended_at;
        assert!(
            ended.is_some() && !world.task(new).ended,
            "new ones come after it"
        );
    }
}

#[test]
fn a_machine_that_was_off_before_does_not_come_back_and_its_time_runs_while_it_waits() {
    let (mut world, _) = place_taken(17, 2, secs(55));
    switched_off(&mut world, &["n02"]);
    let asked = world.now;
    let task = world.start_task("n02", Operation::Reboot, named(10));
    let view = world.run_task(task, secs(30));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    assert!(world.now - asked < secs(12), "{view:#?}");
    world.run_for(secs(90));
    assert_eq!(world.executed("n02", ChassisOrder::On), 0);
}

#[test]
fn a_machine_that_is_switched_on_once_more_keeps_its_place_and_needs_no_other() {
    let (mut world, first) = place_taken(16, 2, secs(35));
    world.mood("n01").on_delay = secs(2);
    switched_off(&mut world, &["n02"]);
    let second = world.start_task("n02", Operation::PowerOn, PowerOptions::default());
    let end = world.now + secs(100);
    world.run_until(end, |world| world.task(first).ended);
    let view = world.task(first);
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert!(about(view.waited, 0), "{view:#?}");
    assert!(
        world.executed("n01", ChassisOrder::On) > 1,
        "it was sent again"
    );
    assert_eq!(world.executed("n02", ChassisOrder::On), 0, "one at a time");
    assert_eq!(world.run_task(second, secs(60)).state, TaskState::Succeeded);
}

#[test]
fn an_abort_of_a_soft_power_off_that_waits_for_its_turn_ends_it_in_error_and_nothing_leaves() {
    for word in ["abort soft power off", "abort soft rebooting"] {
        let (mut world, _, second) = one_waits(41, PowerOptions::default());
        let target = world.node("n02").target_power_state;
        let target = target.and_then(|target| target.known());
        assert_eq!(target, Some(Target::SoftPowerOff));
        let ended = world.put_power("n02", word, PowerOptions::default());
        let ended = ended.expect("an answer").expect("it ended a task");
        assert_eq!(ended.id, second);
        assert_eq!(ended.state, TaskState::Aborted);
        assert_eq!(world.power_state("n02"), PowerState::Error, "{word}");
        world.run_for(secs(20));
        assert_eq!(world.power_state("n02"), PowerState::On, "{word}");
        assert_eq!(world.executed("n02", ChassisOrder::Soft), 0);
    }
}

/// n01 is off and is to go on; the answer to the first datagram of that is lost, and the second one
/// is refused with this code.
fn refused_as_a_copy(seed: u64, code: u8) -> (World, TaskId) {
    let mut world = rack(seed, 2, 1, millis(100));
    for place in 0..2 {
        let now = world.now;
        let bmc = world.bmc(&name(place));
        bmc.order_by_somebody(ChassisOrder::Off, now);
        bmc.mood_mut().on_delay = secs(6);
    }
    for node in ["n01", "n02"] {
        world.call(Call::FreshNode(node.into())).unwrap();
    }
    // Reading and its answer, power on and its answer; then the copy, which is the third command.
    let address = world::address(0);
    let asked = world.bmc("n01").counters().requests;
    let link = world.sim.link_mut(address).expect("one of ours");
    let answer = link.carried() + 3;
    link.befall(answer, Mishap::Lost);
    world.mood("n01").refused_request = Some((asked + 3, code));
    let task = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    (world, task)
}

#[test]
fn a_power_on_that_was_refused_as_a_copy_keeps_its_place_for_the_other_one_may_act() {
    for code in [0xD5, 0xC0, 0xD4] {
        let (mut world, task) = refused_as_a_copy(31, code);
        world.run_for(millis(200));
        let second = world.start_task("n02", Operation::PowerOn, PowerOptions::default());
        let first_is_on = world.now + secs(30);
        world.run_until(first_is_on, |world| world.is_on("n01"));
        assert!(world.is_on("n01"), "{code:02X}h");
        let early = world.executed("n02", ChassisOrder::On);
        assert_eq!(early, 0, "{code:02X}h: one place, and two machines draw");
        let view = world.run_task(task, secs(60));
        assert_eq!(view.state, TaskState::Succeeded, "{:?}", view.outcome);
        assert_eq!(world.run_task(second, secs(60)).state, TaskState::Succeeded);
    }
}

#[test]
fn what_a_task_says_of_it_is_that_another_datagram_had_no_answer() {
    let (mut world, task) = refused_as_a_copy(32, 0xC0);
    world.run_for(secs(1));
    world.control(task, Control::Abort).unwrap();
    let view = world.task(task);
    let words = "power on was sent at 0.0 s and refused: node busy (C0h), and another datagram of it was not answered: \
                 unknown whether that arrived";
    assert!(
        view.outcome.as_deref().unwrap_or_default().contains(words),
        "{:?}",
        view.outcome
    );
    // It did, and that is known also after a restart.
    world.crash();
    world.start();
    world.run_for(secs(100));
    let history = world.history("n01");
    let drift = history
        .iter()
        .find(|entry| entry.text.starts_with("found on"));
    let drift = drift.expect("the machine came on");
    assert_eq!(drift.task, Some(task), "{}", drift.text);
}

/// A rack in which one machine may switch on at a time.
fn one_place(seed: u64, count: usize) -> World {
    let mut world = World::new(seed, count);
    world.crash();
    world.settings.max_transitions = 1;
    world.start();
    world.run_for(secs(5));
    world
}

#[test]
fn what_waits_for_a_system_or_a_dead_bmc_keeps_nobody_from_being_switched() {
    let mut world = one_place(63, 7);
    for node in ["n01", "n02"] {
        world.mood(node).os = OsMood::Hangs;
        world.start_task(node, Operation::SoftReboot, PowerOptions::default());
    }
    let deaf = Conditions {
        loss: 1.0,
        ..Conditions::default()
    };
    world.link("n03", deaf);
    world.start_task("n03", Operation::PowerOn, PowerOptions::default());
    world.run_for(secs(2));
    let off = world.start_task("n04", Operation::PowerOff, named(5));
    let on_already = world.start_task("n05", Operation::PowerOn, named(5));
    let reset = world.start_task("n06", Operation::Reset, PowerOptions::default());
    for task in [off, on_already] {
        let view = world.run_task(task, secs(6));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    }
    let now = world.now;
    world.bmc("n07").order_by_somebody(ChassisOrder::Off, now);
    let on = world.start_task("n07", Operation::PowerOn, PowerOptions::default());
    assert_eq!(world.run_task(on, secs(60)).state, TaskState::Succeeded);
    assert_eq!(world.executed("n06", ChassisOrder::Reset), 1);
    world.run_task(reset, secs(60));
}

/// n01 takes the one place for some 9 s, because its machine takes so long to switch on.
fn only_place_taken(seed: u64, count: usize) -> (World, TaskId) {
    let mut world = one_place(seed, count);
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
    world.mood("n01").on_delay = secs(9);
    world.run_for(secs(70));
    let first = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    let on = |world: &mut World| world.executed("n01", ChassisOrder::On) == 1;
    let end = world.now + secs(5);
    assert!(world.run_until(end, on));
    (world, first)
}

#[test]
fn a_power_on_that_waits_for_a_place_says_so_and_its_patience_stands_still() {
    let (mut world, first) = only_place_taken(64, 2);
    let now = world.now;
    world.bmc("n02").order_by_somebody(ChassisOrder::Off, now);
    let second = world.start_task("n02", Operation::PowerOn, PowerOptions::default());
    world.run_for(secs(2));
    let before = world.task(second);
    assert!(
        before
            .phase
            .ends_with("the rack's only place for a power-on"),
        "{}",
        before.phase
    );
    world.run_for(secs(4));
    assert_eq!(world.task(second).time_left, before.time_left);
    assert_eq!(world.executed("n02", ChassisOrder::On), 0);
    assert_eq!(world.run_task(first, secs(60)).state, TaskState::Succeeded);
    assert_eq!(world.run_task(second, secs(60)).state, TaskState::Succeeded);
}

#[test]
fn a_timeout_that_the_request_names_runs_while_a_place_is_waited_for() {
    let (mut world, _) = only_place_taken(65, 2);
    let now = world.now;
    world.bmc("n02").order_by_somebody(ChassisOrder::Off, now);
    let asked = world.now;
    let second = world.start_task("n02", Operation::PowerOn, named(4));
    let view = world.run_task(second, secs(6));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    assert!(world.now - asked <= secs(5));
    world.run_for(secs(90));
    assert_eq!(
        world.executed("n02", ChassisOrder::On),
        0,
        "and never leaves"
    );
}

#[test]
fn a_machine_that_was_switched_off_comes_back_before_every_new_power_on() {
    let (mut world, first) = only_place_taken(66, 3);
    world.crash();
    for node in &mut world.nodes {
        Arc::make_mut(&mut node.power).min_off_time = secs(3);
        Arc::make_mut(&mut node.power).change_timeout = secs(60);
    }
    world.start();
    let now = world.now;
    world.bmc("n03").order_by_somebody(ChassisOrder::Off, now);
    let new = world.start_task("n03", Operation::PowerOn, PowerOptions::default());
    let reboot = world.start_task("n02", Operation::Reboot, named(20));
    world.run_for(secs(6));
    assert!(!world.is_on("n02"), "it waits for its place");
    let view = world.run_task(reboot, secs(100));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert!(!world.task(new).ended, "it came later");
    assert_eq!(world.run_task(new, secs(60)).state, TaskState::Succeeded);
    assert!(world.task(first).ended);
}
