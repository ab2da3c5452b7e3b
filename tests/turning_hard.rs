//! Soft power offs that turn hard where that was asked for, while something happens that forbids
//! it: nothing hard leaves, and the other nodes of the batch have what was asked for.

mod world;

use rackbmcd::model::{BatchStart, OnFailure, Operation, PowerOptions, TaskState};
use rackbmcd::rack::call::Call;
use rackbmcd::sim::{ChassisOrder, OsMood, Privilege};
use world::{World, batch_of, millis, secs, who};

/// Nodes whose operating systems hang, and a batch of soft power offs of them that turn hard after
/// 20 s.
fn hanging(seed: u64, nodes: &[&str]) -> (World, Vec<rackbmcd::model::TaskId>) {
    let mut world = World::new(seed, nodes.len());
    world.run_for(secs(3));
    for node in nodes {
        world.mood(node).os = OsMood::Hangs;
    }
    let batch = world.start_batch(BatchStart {
        on_failure: OnFailure::Stop,
        options: PowerOptions {
            timeout: Some(secs(60)),
            hard_after: Some(secs(20)),
            ..PowerOptions::default()
        },
        ..batch_of(nodes, Operation::SoftPowerOff)
    });
    let tasks = batch.nodes.iter().filter_map(|node| node.task).collect();
    (world, tasks)
}

#[test]
fn nothing_hard_leaves_for_another_bmc_or_with_a_level_that_is_too_low_and_the_others_go_off() {
    for when in [0, 5, 19] {
        let (mut world, tasks) = hanging(30 + when, &["n01", "n02", "n03", "n04"]);
        world.run_for(secs(when) + millis(700));
        // Somebody puts another machine in the place of the first one, and takes our user's right
        // to switch the second.
        world.bmc("n01").settings_mut().guid = rackbmcd::sim::guid_of("n99");
        world.bmc("n01").forget_sessions();
        world.bmc("n02").settings_mut().users[0].privilege = Privilege::User;
        world.bmc("n02").forget_sessions();
        world.run_for(secs(125));
        for node in ["n01", "n02"] {
            assert_eq!(world.executed(node, ChassisOrder::Off), 0, "{node} {when}");
            assert!(world.is_on(node), "{node}");
        }
        for node in ["n03", "n04"] {
            assert_eq!(world.executed(node, ChassisOrder::Off), 1, "{node} {when}");
            assert!(!world.is_on(node), "{node}");
        }
        let other = world.task(tasks[0]);
        assert_eq!(other.state, TaskState::Suspended, "{other:#?}");
        assert!(other.phase.contains("the right BMC"), "{}", other.phase);
        let low = world.task(tasks[1]);
        assert_eq!(low.state, TaskState::Failed, "{low:#?}");
        let said = low.outcome.unwrap_or_default();
        assert!(said.contains("privilege level operator refused"), "{said}");
    }
}

#[test]
fn nothing_hard_leaves_while_the_rack_is_paused_and_what_is_left_of_the_time_is_waited_for_afterwards()
 {
    for when in [500, 5_000, 19_900, 20_000, 20_010, 20_030, 20_060, 20_100] {
        let (mut world, tasks) = hanging(40, &["n01"]);
        world.run_for(millis(when));
        let before = world.executed("n01", ChassisOrder::Off);
        let (reason, who_pauses) = ("cooling".to_owned(), who());
        world
            .call(Call::Pause {
                reason,
                who: who_pauses,
            })
            .unwrap();
        let at_answer = world.executed("n01", ChassisOrder::Off);
        world.run_for(secs(120));
        let paused = world.executed("n01", ChassisOrder::Off);
        assert_eq!(paused, at_answer, "{when}: it left in the pause");
        if before == 0 && paused == 0 {
            assert!(world.is_on("n01"), "{when}");
            world.call(Call::Release { who: who() }).unwrap();
            let left = millis(20_000u64.saturating_sub(when).saturating_sub(300));
            world.run_for(left);
            assert_eq!(world.executed("n01", ChassisOrder::Off), 0, "{when}: early");
        } else {
            world.call(Call::Release { who: who() }).unwrap();
        }
        let view = world.run_task(tasks[0], secs(30));
        assert_eq!(view.state, TaskState::Succeeded, "{when}: {view:#?}");
        assert_eq!(world.executed("n01", ChassisOrder::Off), 1, "{when}");
    }
}

#[test]
fn a_batch_of_cycles_has_no_more_under_way_than_there_are_places() {
    let names = ["n01", "n02", "n03", "n04", "n05", "n06"];
    let mut world = World::new(50, names.len());
    world.crash();
    world.settings.max_transitions = 2;
    world.start();
    world.run_for(secs(3));
    let batch = world.start_batch(batch_of(&names, Operation::Cycle));
    let tasks: Vec<_> = batch.nodes.iter().filter_map(|node| node.task).collect();
    let mut most = 0;
    for _ in 0..3_000 {
        world.run_for(millis(100));
        let tasks: Vec<_> = tasks.iter().map(|task| world.task(*task)).collect();
        let under_way = |task: &&rackbmcd::model::Task| task.started_at.is_some() && !task.ended;
        most = most.max(tasks.iter().filter(under_way).count());
        if tasks.iter().all(|task| task.ended) {
            break;
        }
    }
    assert_eq!(most, 2);
    for (task, node) in tasks.iter().zip(names) {
        let view = world.task(*task);
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        assert_eq!(world.executed(node, ChassisOrder::Cycle), 1);
    }
}
