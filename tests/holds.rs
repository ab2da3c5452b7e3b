//! Journeys of tasks that stand still, in virtual time: the pause, maintenance, and what a waiting
//! task says.

mod world;

use rackbmcd::bmc::vocabulary::{Order, Route};
use rackbmcd::model::{BatchStart, Control, Operation, PowerOptions, TaskId, TaskState};
use rackbmcd::rack::call::{Answer, Call, Look, Refused};
use rackbmcd::rack::settings::MaintenancePolicy;
use rackbmcd::sim::{ChassisOrder, OsMood};
use world::{World, batch_of, millis, secs, who};

fn pause(world: &mut World, reason: &str) {
    let reason = reason.into();
    world.call(Call::Pause { reason, who: who() }).unwrap();
}

fn release(world: &mut World) {
    world.call(Call::Release { who: who() }).unwrap();
}

fn maintenance(world: &mut World, node: &str, hold: Option<&str>) {
    let call = Call::SetMaintenance {
        node: node.into(),
        hold: hold.map(|reason| Some(reason.into())),
        who: who(),
    };
    world.call(call).unwrap();
}

/// A batch that has one node under way at a time: n01 for a long time, and n02 waits.
fn one_waits(seed: u64) -> (World, TaskId, TaskId) {
    let mut world = World::new(seed, 2);
    world.crash();
    world.settings.maintenance_policy = MaintenancePolicy::Block;
    world.start();
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(5));
    let batch = world.start_batch(BatchStart {
        max_parallel: 1,
        ..batch_of(&["n01", "n02"], Operation::SoftPowerOff)
    });
    let task = |at: usize| batch.nodes[at].task.unwrap();
    let (first, second) = (task(0), task(1));
    world.run_for(secs(1));
    (world, first, second)
}

#[test]
fn the_patience_of_a_rollback_stands_still_while_the_rack_is_paused_also_over_a_crash() {
    for crash in [false, true] {
        let mut world = World::new(70, 1);
        world.run_for(secs(3));
        let task = world.start_task("n01", Operation::SoftReboot, PowerOptions::default());
        while world.is_on("n01") {
            world.run_for(millis(100));
        }
        world.run_for(secs(2));
        let before = world.control(task, Control::Rollback).unwrap().time_left;
        pause(&mut world, "smoke");
        world.run_for(secs(600));
        let view = world.task(task);
        assert_eq!(
            (view.state, view.time_left),
            (TaskState::RollingBack.into(), None)
        );
        assert!(view.phase.starts_with("held back"), "{}", view.phase);
        assert!(
            view.phase.ends_with("pause by alice: smoke"),
            "{}",
            view.phase
        );
        if crash {
            world.crash();
            world.run_for(secs(30));
            world.start();
        }
        world.run_for(secs(3_000));
        assert!(
            !world.is_on("n01"),
            "nothing leaves while the rack is paused"
        );
        release(&mut world);
        let after = world.task(task).time_left;
        assert!(
            after.map(|left| left + secs(5)) >= before,
            "{after:?} of {before:?}"
        );
        let view = world.run_task(task, secs(60));
        assert_eq!(view.state, TaskState::RolledBack, "{view:#?}");
        assert!(world.is_on("n01"));
    }
}

#[test]
fn a_rollback_that_goes_on_after_a_pause_looks_before_it_sends() {
    let mut world = World::new(71, 1);
    world.run_for(secs(3));
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    while world.is_on("n01") {
        world.run_for(millis(100));
    }
    world.control(task, Control::Rollback).unwrap();
    pause(&mut world, "smoke");
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::On, now);
    let before = world.executed("n01", ChassisOrder::On);
    world.run_for(secs(300));
    release(&mut world);
    let view = world.run_task(task, secs(60));
    assert_eq!(view.state, TaskState::RolledBack, "{view:#?}");
    let after = world.executed("n01", ChassisOrder::On);
    assert_eq!(before, after, "somebody had switched it on already");
}

#[test]
fn maintenance_that_blocks_suspends_what_waits_and_its_end_lets_it_wait_again() {
    let (mut world, first, second) = one_waits(72);
    maintenance(&mut world, "n02", Some("fan"));
    let view = world.task(second);
    assert_eq!(view.state, TaskState::Suspended);
    assert!(
        view.phase.ends_with("maintenance by alice: fan"),
        "{}",
        view.phase
    );
    let refused = world.control(second, Control::Resume).unwrap_err();
    assert!(matches!(refused, Refused::Maintenance { .. }), "{refused}");
    world.control(first, Control::Abort).unwrap();
    world.run_for(secs(60));
    world.crash();
    world.start();
    world.run_for(secs(3_600));
    assert_eq!(world.state(second), TaskState::Suspended);
    assert!(world.is_on("n02"));
    maintenance(&mut world, "n02", None);
    let view = world.run_task(second, secs(60));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
}

#[test]
fn what_maintenance_suspended_may_be_cancelled_and_does_not_begin_afterwards() {
    let (mut world, first, second) = one_waits(73);
    maintenance(&mut world, "n02", Some("fan"));
    let view = world.control(second, Control::Cancel).unwrap();
    assert_eq!(view.state, TaskState::Cancelled);
    world.control(first, Control::Abort).unwrap();
    maintenance(&mut world, "n02", None);
    world.run_for(secs(60));
    assert!(world.is_on("n02"));
}

#[test]
fn maintenance_leaves_a_task_that_was_suspended_by_hand_suspended() {
    let (mut world, first, second) = one_waits(74);
    world.control(second, Control::Suspend).unwrap();
    maintenance(&mut world, "n02", Some("fan"));
    maintenance(&mut world, "n02", None);
    world.control(first, Control::Abort).unwrap();
    world.run_for(secs(60));
    assert_eq!(world.state(second), TaskState::Suspended);
}

#[test]
fn a_release_does_not_begin_what_maintenance_blocks() {
    let (mut world, first, second) = one_waits(75);
    pause(&mut world, "smoke");
    maintenance(&mut world, "n02", Some("fan"));
    release(&mut world);
    world.control(first, Control::Abort).unwrap();
    world.run_for(secs(60));
    let view = world.task(second);
    assert_eq!(view.state, TaskState::Suspended);
    assert!(
        view.phase
            .contains("to resume, for the end of the maintenance"),
        "{}",
        view.phase
    );
    maintenance(&mut world, "n02", None);
    assert_eq!(world.run_task(second, secs(60)).state, TaskState::Succeeded);
}

#[test]
fn a_task_that_waits_says_for_what() {
    let (mut world, first, second) = one_waits(77);
    let phase = world.task(second).phase;
    assert_eq!(phase, "queued, waiting for the only place of its batch");
    world.control(first, Control::Abort).unwrap();
    world.run_task(second, secs(60));
    world.crash();
    world.nodes[1].groups = vec!["storage".into()].into();
    world.start();
    world.run_for(secs(5));
    let batch = world.start_batch(BatchStart {
        order: vec!["storage".into()],
        ..batch_of(&["n01", "n02"], Operation::SoftReboot)
    });
    let last = batch.nodes.iter().find(|node| node.node == "n01").unwrap();
    let phase = world.task(last.task.unwrap()).phase;
    assert_eq!(
        phase,
        "queued, waiting for the group before it in its batch"
    );
}

fn raw(node: &str) -> Call {
    let order = Order::Raw {
        net_fn: 0x30,
        lun: 0,
        command: 0x70,
        data: vec![1, 2, 3],
        route: Route::Direct,
    };
    Call::Order {
        node: node.into(),
        order,
        who: who(),
    }
}

fn history(world: &mut World, node: &str) -> Vec<String> {
    let call = Call::History {
        node: node.into(),
        limit: 9,
    };
    match world.call(call) {
        Ok(Answer::History(entries)) => entries.into_iter().map(|entry| entry.text).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_may_change_a_machine_does_not_leave_while_the_rack_is_paused() {
    let mut world = World::new(78, 1);
    world.run_for(secs(3));
    pause(&mut world, "smoke");
    let refused = world.call(raw("n01")).unwrap_err();
    assert!(matches!(refused, Refused::Paused { .. }), "{refused}");
    for order in [
        Order::ResetBmc { cold: false },
        Order::ClearEventLog,
        Order::SetBootDevice {
            device: None,
            persistent: false,
            uefi: false,
        },
    ] {
        let node = "n01".into();
        let call = Call::Order {
            node,
            order,
            who: who(),
        };
        assert!(matches!(world.call(call), Err(Refused::Paused { .. })));
    }
    // People find the machine by its light, and reading changes nothing.
    for order in [Order::Identify(Some(secs(15))), Order::ReadBootDevice] {
        let node = "n01".into();
        world
            .call(Call::Order {
                node,
                order,
                who: who(),
            })
            .unwrap();
    }
    release(&mut world);
    let answer = world.call(raw("n01"));
    assert!(!matches!(answer, Err(Refused::Paused { .. })), "{answer:?}");
}

/// How many datagrams of orders have left.
fn orders(world: &World) -> usize {
    let left = world.left.iter();
    left.filter(|left| left.order.is_some()).count()
}

#[test]
fn a_raw_command_is_written_down_before_it_leaves_and_so_is_its_answer() {
    let mut world = World::new(79, 1);
    world.run_for(secs(3));
    world.commit_takes = millis(800);
    let began = world.now;
    let before = orders(&world);
    let call = world.ask(raw("n01"));
    world.run_for(millis(790));
    assert_eq!(
        orders(&world),
        before,
        "nothing leaves before it is durable"
    );
    let said = history(&mut world, "n01");
    let asked = "raw command 70h of network function 30h, unit 0, 3 bytes asked for";
    assert_eq!(said[0], asked);
    let end = began + secs(5);
    let mut answer = None;
    world.run_until(end, |world| {
        answer = world.take_answer(call);
        answer.is_some()
    });
    assert!(answer.is_some() && orders(&world) > before);
    assert!(history(&mut world, "n01")[0].starts_with("raw command: "));
}

#[test]
fn a_raw_command_that_waits_when_the_rack_is_paused_is_taken_back() {
    let mut world = World::new(80, 1);
    world.run_for(secs(3));
    world.commit_takes = millis(800);
    let before = orders(&world);
    let call = world.ask(raw("n01"));
    pause(&mut world, "smoke");
    world.run_for(secs(5));
    let answer = world.take_answer(call);
    assert!(
        matches!(answer, Some(Err(Refused::Paused { .. }))),
        "{answer:?}"
    );
    assert_eq!(orders(&world), before);
}

#[test]
fn a_raw_command_that_cannot_be_written_down_does_not_leave() {
    let mut world = World::new(81, 1);
    world.run_for(secs(3));
    world.disk_full = Some("No space left on device");
    let before = orders(&world);
    let refused = world.call(raw("n01")).unwrap_err();
    assert!(matches!(refused, Refused::Store(_)), "{refused}");
    world.run_for(secs(2));
    assert_eq!(orders(&world), before);
}

#[test]
fn pause_and_release_are_events_of_the_rack() {
    let mut world = World::new(79, 1);
    world.run_for(secs(3));
    let events = |world: &mut World, since| {
        let call = Call::Events {
            since,
            nodes: Vec::new(),
            wait: secs(0),
            limit: 9,
        };
        match world.call(call) {
            Ok(Answer::Events(found)) => found,
            other => panic!("{other:?}"),
        }
    };
    let begin = events(&mut world, None).next;
    pause(&mut world, "new cables");
    release(&mut world);
    let found = events(&mut world, Some(begin)).events;
    let found: Vec<_> = found
        .iter()
        .map(|event| {
            (
                event.kind.as_str(),
                event.node.as_deref(),
                event.text.as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("rack", None, "paused by alice: new cables"),
            ("rack", None, "released by alice")
        ]
    );
}

#[test]
fn a_reload_that_lets_maintenance_block_suspends_what_waits_and_another_lets_it_go_on() {
    let (mut world, first, second) = one_waits(83);
    let with = |world: &mut World, policy| {
        let now = world.now;
        let (mut settings, nodes) = (world.settings.clone(), world.nodes.clone());
        settings.maintenance_policy = policy;
        world.rack().reload(settings, nodes, now).unwrap();
        world.run_for(millis(50));
    };
    with(&mut world, MaintenancePolicy::Allow);
    maintenance(&mut world, "n02", Some("fan"));
    assert_eq!(world.state(second), TaskState::Queued);
    with(&mut world, MaintenancePolicy::Block);
    assert_eq!(world.state(second), TaskState::Suspended);
    with(&mut world, MaintenancePolicy::Allow);
    let phase = world.task(second).phase;
    assert_eq!(phase, "queued, waiting for the only place of its batch");
    world.control(first, Control::Abort).unwrap();
    assert_eq!(world.run_task(second, secs(60)).state, TaskState::Succeeded);
}

#[test]
fn a_batch_that_waits_for_a_node_in_maintenance_says_so_and_goes_on_with_the_others() {
    let mut world = World::new(84, 3);
    world.crash();
    world.settings.maintenance_policy = MaintenancePolicy::Block;
    world.start();
    world.run_for(secs(5));
    let batch = world.start_batch(BatchStart {
        max_parallel: 1,
        ..batch_of(&["n01", "n02", "n03"], Operation::PowerOff)
    });
    let tasks: Vec<TaskId> = batch.nodes.iter().filter_map(|node| node.task).collect();
    maintenance(&mut world, "n02", Some("fan"));
    for task in [tasks[0], tasks[2]] {
        assert_eq!(world.run_task(task, secs(60)).state, TaskState::Succeeded);
    }
    assert!(world.is_on("n02"));
    let Ok(Answer::Batch(view)) = world.call(Call::Look(Look::Batch(batch.id))) else {
        panic!()
    };
    assert_eq!((view.state.as_str(), view.ended_at), ("suspended", None));
    maintenance(&mut world, "n02", None);
    assert_eq!(
        world.run_task(tasks[1], secs(60)).state,
        TaskState::Succeeded
    );
}

#[test]
fn a_rack_that_is_to_start_paused_does_so_in_its_first_life_only() {
    let pausing = |world: &mut World| match world.call(Call::Look(Look::Pausing)) {
        Ok(Answer::Pausing(pause)) => pause,
        other => panic!("{other:?}"),
    };
    let mut world = World::new(61, 1);
    world.crash();
    world.put_back(Default::default());
    world.settings.start_paused = true;
    world.start();
    world.run_for(secs(5));
    let pause = pausing(&mut world).expect("a pause");
    assert!(pause.reason.is_some_and(|why| why.contains("first start")));
    let start = Call::Start {
        node: "n01".into(),
        operation: Operation::PowerOff,
        options: PowerOptions::default(),
        who: who(),
    };
    assert!(matches!(
        world.call(start.clone()),
        Err(Refused::Paused { .. })
    ));
    assert!(world.left.len() > 1, "the power state is read all the same");
    // A pause that nobody has ended outlives the daemon, and one that was ended does not come
    // again.
    world.crash();
    world.start();
    world.run_for(secs(1));
    assert!(pausing(&mut world).is_some());
    release(&mut world);
    world.run_for(secs(1));
    world.crash();
    world.start();
    world.run_for(secs(1));
    assert_eq!(pausing(&mut world), None);
    assert!(world.call(start).is_ok());
}
