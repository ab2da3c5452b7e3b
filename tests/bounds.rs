//! What somebody can ask for again and again leaves a rack as large as it was.

mod world;

use rackbmcd::model::{
    BatchStart, Control, ENDS_KEPT, EventId, Events, Operation, PowerOptions, TaskState,
};
use rackbmcd::rack::call::{Answer, Call};
use rackbmcd::rack::record::Table;
use rackbmcd::sim::OsMood;
use world::{World, secs};

fn patient(seconds: u64) -> PowerOptions {
    PowerOptions {
        timeout: Some(secs(seconds)),
        ..PowerOptions::default()
    }
}

fn events(world: &mut World, since: Option<EventId>) -> Events {
    let call = Call::Events {
        since,
        nodes: Vec::new(),
        wait: secs(0),
        limit: 10_000,
    };
    match world.call(call) {
        Ok(Answer::Events(events)) => events,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_request_names_a_time_that_never_ends() {
    let mut world = World::new(3, 1);
    world.run_for(secs(10));
    let longest = world.settings.longest_timeout;
    let late = longest + secs(1);
    let start = |options| Call::Start {
        node: "n01".into(),
        operation: Operation::SoftPowerOff,
        options,
        who: world::who(),
    };
    let (none, some) = (PowerOptions::default(), Some(late));
    for options in [
        PowerOptions {
            timeout: some,
            ..none.clone()
        },
        PowerOptions {
            hard_after: some,
            ..none.clone()
        },
        PowerOptions {
            repeat_soft_after: some,
            ..none.clone()
        },
    ] {
        let refused = world
            .call(start(options))
            .expect_err("too long")
            .to_string();
        assert!(refused.contains("(longest_timeout)"), "{refused}");
    }
    let batch = BatchStart {
        stagger: late,
        ..world::batch_of(&["n01"], Operation::SoftPowerOff)
    };
    let call = Call::StartBatch {
        request: batch,
        who: world::who(),
    };
    let refused = world.call(call).expect_err("too long").to_string();
    assert!(refused.starts_with("stagger is longer"), "{refused}");
    let most = PowerOptions {
        timeout: Some(longest),
        ..none
    };
    assert!(world.call(start(most)).is_ok());
}

/// The largest record of a task.
fn largest_task(world: &World) -> usize {
    let sizes = world.remembered(Table::Tasks).map(|(_, value)| value.len());
    sizes.max().expect("a task")
}

#[test]
fn a_task_that_is_suspended_and_resumed_for_ever_stays_as_large_as_it_is() {
    let mut world = World::new(1, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(10));
    let task = world.start_task("n01", Operation::SoftPowerOff, patient(100_000));
    world.run_for(secs(5));
    let start = events(&mut world, None).next;
    let mut sizes = Vec::new();
    for pair in 0..200 {
        for control in [Control::Suspend, Control::Resume] {
            world.control(task, control).expect("allowed");
        }
        world.run_for(secs(1));
        if pair == 100 {
            sizes.push(largest_task(&world));
            world.crash();
            world.start();
            world.run_for(secs(5));
        }
    }
    sizes.push(largest_task(&world));
    assert!(sizes[1] < sizes[0] + 500, "{sizes:?}");
    let view = world.task(task);
    assert_eq!(view.controls.len(), 2 * ENDS_KEPT);
    assert_eq!(view.controls_left_out, 400 - 2 * ENDS_KEPT as u32);
    assert_eq!(view.controls[0].control, Control::Suspend);
    assert_eq!(view.controls[99].control, Control::Resume);
    assert!(
        view.orders.len() <= 2 * ENDS_KEPT + 1,
        "{}",
        view.orders.len()
    );
    assert!(
        view.orders
            .iter()
            .any(|order| order.order == "soft power off")
    );
    assert!(
        events(&mut world, Some(start)).reset,
        "it was of another life"
    );
    world.control(task, Control::Abort).expect("allowed");
    assert_eq!(world.task(task).state, TaskState::Aborted);
}

#[test]
fn events_of_a_task_say_what_it_has_come_to_and_not_its_whole_record() {
    let mut world = World::new(2, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(10));
    let start = events(&mut world, None).next;
    let task = world.start_task("n01", Operation::SoftPowerOff, patient(3600));
    for _ in 0..200 {
        world.control(task, Control::Suspend).expect("allowed");
        world.control(task, Control::Resume).expect("allowed");
        world.run_for(secs(1));
    }
    let told = events(&mut world, Some(start)).events;
    let of_task = |event: &&rackbmcd::model::Event| event.task.is_some();
    let longest = told.iter().filter(of_task).map(|event| {
        let text = serde_json::to_string(event).expect("JSON");
        text.len()
    });
    let (count, longest) = longest.fold((0, 0), |(count, most), length| {
        (count + 1, length.max(most))
    });
    assert!(count > 350, "{count}");
    assert!(longest < 1500, "{longest} bytes");
    let version = world.task(task).version;
    let last = told
        .iter()
        .rfind(of_task)
        .and_then(|event| event.task.as_ref());
    assert_eq!(last.expect("there are some").version, version);
}

#[test]
fn a_turn_answers_eight_of_those_who_wait_and_the_next_turn_the_next_eight() {
    let mut world = World::new(77, 1);
    world.run_for(secs(2));
    let until = world.now + secs(1);
    for _ in 0..20 {
        world.ask(Call::Events {
            since: None,
            nodes: vec![],
            wait: secs(1),
            limit: 10,
        });
    }
    let told = [8, 8, 4, 0].map(|_| {
        world.rack().handle_timeout(until);
        std::iter::from_fn(|| world.rack().poll_answer()).count()
    });
    assert_eq!(told, [8, 8, 4, 0]);
}
