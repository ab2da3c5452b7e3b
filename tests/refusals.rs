//! A refusal is believed when it is repeated: BMCs that start say "invalid command" to what they
//! carry out a minute later.

mod world;

use rackbmcd::model::{Operation, PowerOptions, TaskState};
use rackbmcd::rack::call::{Answer, Call, Look};
use rackbmcd::sim::{ChassisOrder, Refusal};
use world::{World, millis, secs};

const OPERATIONS: [Operation; 4] = [
    Operation::SoftPowerOff,
    Operation::Reset,
    Operation::Cycle,
    Operation::InjectNmi,
];

fn options(seconds: u64) -> PowerOptions {
    PowerOptions {
        timeout: Some(secs(seconds)),
        ..PowerOptions::default()
    }
}

fn refuse(world: &mut World, order: ChassisOrder, times: Option<u32>) {
    let code = 0xC1;
    world.mood("n01").refusals = vec![Refusal { order, code, times }];
}

fn explained(world: &mut World, fact: &str) -> Vec<String> {
    match world.call(Call::Look(Look::Explain("n01".into()))) {
        Ok(Answer::Explanation(explanation)) => explanation
            .facts
            .into_iter()
            .filter(|known| known.head == fact)
            .map(|known| known.text)
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_bmc_refuses_while_it_starts_is_done_when_it_has_started() {
    for code in [
        0xC1, 0xC2, 0xC9, 0xCC, 0xD6, 0xFF, 0xD2, 0xC0, 0xC3, 0xC4, 0xCE,
    ] {
        for operation in OPERATIONS {
            let pulse = operation != Operation::SoftPowerOff;
            if pulse && [0xFF, 0xC3, 0xCE].contains(&code) {
                // The pulse may have been carried out: it is not sent again.
                continue;
            }
            let mut world = World::new(1, 1);
            world.run_for(secs(3));
            let until = world.now + secs(3);
            world.mood("n01").not_ready = Some((until, code));
            let task = world.start_task("n01", operation, options(60));
            let view = world.run_task(task, secs(80));
            assert_eq!(
                view.state,
                TaskState::Succeeded,
                "{operation} {code:02X}h: {view:#?}"
            );
        }
    }
}

#[test]
fn a_firmware_update_ends_a_task_at_once_that_has_changed_nothing_and_is_called_that() {
    for code in [0xD0, 0xD1] {
        let mut world = World::new(8, 1);
        world.run_for(secs(3));
        let order = ChassisOrder::Off;
        let times = None;
        world.mood("n01").refusals = vec![Refusal { order, code, times }];
        let task = world.start_task("n01", Operation::PowerOff, options(60));
        let view = world.run_task(task, secs(5));
        assert_eq!(view.state, TaskState::Failed, "{view:#?}");
        let said = view.outcome.unwrap_or_default();
        assert!(said.contains("firmware update"), "{said}");
        assert!(said.contains(&format!("({code:02X}h)")), "{said}");
    }
}

#[test]
fn readings_that_are_refused_in_the_middle_of_a_task_do_not_end_it() {
    for code in [0xC1, 0xD4, 0xFF, 0xD2] {
        let mut world = World::new(2, 1);
        world.run_for(secs(3));
        let task = world.start_task("n01", Operation::SoftPowerOff, options(40));
        world.run_until(world.now + secs(2), |world| {
            world.executed("n01", ChassisOrder::Soft) == 1
        });
        let until = world.now + secs(4);
        world.mood("n01").not_ready = Some((until, code));
        let view = world.run_task(task, secs(41));
        assert_eq!(view.state, TaskState::Succeeded, "{code:02X}h: {view:#?}");
    }
}

#[test]
fn one_refusal_takes_nothing_away_and_a_repeated_one_is_shown_and_still_tried() {
    let mut world = World::new(3, 1);
    world.run_for(secs(3));
    refuse(&mut world, ChassisOrder::Nmi, None);
    let first = world.start_task("n01", Operation::InjectNmi, options(20));
    assert_eq!(world.run_task(first, secs(30)).state, TaskState::Failed);
    assert_eq!(explained(&mut world, "not supported"), [""; 0]);
    world.run_for(secs(180));
    for _ in 0..2 {
        let again = world.start_task("n01", Operation::InjectNmi, options(20));
        assert_eq!(world.run_task(again, secs(30)).state, TaskState::Failed);
        world.run_for(secs(61));
    }
    let said = explained(&mut world, "not supported");
    assert!(said[0].starts_with("inject nmi"), "{said:?}");
    // It is asked for all the same, and when it is carried out the belief is gone.
    refuse(&mut world, ChassisOrder::Nmi, Some(0));
    let at_last = world.start_task("n01", Operation::InjectNmi, options(20));
    world.run_task(at_last, secs(90));
    assert_eq!(world.executed("n01", ChassisOrder::Nmi), 1);
    assert_eq!(explained(&mut world, "not supported"), [""; 0]);
}

#[test]
fn a_believed_refusal_ends_a_task_at_once() {
    let mut world = World::new(4, 1);
    world.run_for(secs(3));
    refuse(&mut world, ChassisOrder::Soft, None);
    let task = world.start_task("n01", Operation::SoftPowerOff, options(600));
    let view = world.run_task(task, secs(300));
    assert_eq!(view.state, TaskState::Failed);
    assert!(world.now.since_start() < secs(100_000 + 200), "{view:#?}");
    let asked = world.now;
    let again = world.start_task("n01", Operation::SoftPowerOff, options(600));
    let view = world.run_task(again, secs(300));
    assert!(world.now - asked < secs(2), "{view:#?}");
}

#[test]
fn an_order_that_was_carried_out_once_is_never_called_missing() {
    let mut world = World::new(5, 1);
    world.run_for(secs(3));
    let task = world.start_task("n01", Operation::Reset, options(60));
    assert_eq!(world.run_task(task, secs(60)).state, TaskState::Succeeded);
    world.crash();
    world.start();
    world.run_for(secs(3));
    refuse(&mut world, ChassisOrder::Reset, None);
    for _ in 0..3 {
        let task = world.start_task("n01", Operation::Reset, options(10));
        assert_eq!(world.run_task(task, secs(30)).state, TaskState::Failed);
        world.run_for(secs(150));
    }
    assert_eq!(explained(&mut world, "not supported"), [""; 0]);
}

#[test]
fn a_bmc_that_is_not_available_or_was_silent_is_not_believed() {
    for silent in [false, true] {
        let mut world = World::new(6, 1);
        world.run_for(secs(3));
        world.mood("n01").says_unavailable = !silent;
        refuse(&mut world, ChassisOrder::Cycle, None);
        for _ in 0..3 {
            let task = world.start_task("n01", Operation::Cycle, options(10));
            assert_eq!(world.run_task(task, secs(30)).state, TaskState::Failed);
            world.run_for(secs(100));
            if silent {
                world.mood("n01").dead = true;
                world.run_for(secs(100));
                world.mood("n01").dead = false;
                world.run_for(secs(100));
            }
        }
        assert_eq!(explained(&mut world, "not supported"), [""; 0]);
    }
}

#[test]
fn a_level_that_no_reason_is_given_for_is_tried_until_the_deadline() {
    let mut world = World::new(7, 1);
    world.run_for(secs(3));
    let until = world.now + secs(40);
    world.mood("n01").not_ready = Some((until, 0xFF));
    let task = world.start_task("n01", Operation::PowerOff, options(60));
    world.run_for(millis(500));
    let view = world.run_task(task, secs(61));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
}
