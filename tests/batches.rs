//! Journeys of batches and of nodes whose BMC fails, in virtual time: what is planned, refused and
//! said, and how far apart it is sent.

mod world;

use rackbmcd::model::{
    Batch, BatchNode, BatchStart, Control, NodeFault, Operation, PowerOptions, PowerState, Task,
    TaskId, TaskState,
};
use rackbmcd::rack::call::{Answer, Call};
use rackbmcd::sim::{ChassisOrder, Conditions, OsMood, Privilege};
use rackbmcd::time::Instant;
use std::sync::Arc;
use std::time::Duration;
use world::{World, batch_of, millis, name, secs, who};

fn of<'a>(view: &'a Batch, node: &str) -> &'a BatchNode {
    view.nodes.iter().find(|one| one.node == node).unwrap()
}

#[test]
fn a_dry_run_says_who_begins_when_looks_at_all_and_changes_nothing() {
    let mut world = World::new(110, 4);
    world.crash();
    world.nodes[3].groups = vec!["storage".into()].into();
    Arc::make_mut(&mut world.nodes[2].login).privilege = rackbmcd::ipmi::PrivilegeLevel::User;
    world.bmc("n03").settings_mut().users[0].privilege = Privilege::User;
    world.start();
    let now = world.now;
    world.bmc("n02").order_by_somebody(ChassisOrder::Off, now);
    let deaf = Conditions {
        loss: 1.0,
        ..Conditions::default()
    };
    world.link("n01", deaf);
    let plan = BatchStart {
        order: vec!["storage".into()],
        dry_run: true,
        ..batch_of(&["n01", "n02", "n03", "n04"], Operation::SoftPowerOff)
    };
    let view = world.start_batch(plan);
    assert_eq!(view.state.as_str(), "planned");
    let first = of(&view, "n04");
    assert_eq!(
        (first.state.as_str(), first.begins_after),
        ("ready", Some(Duration::ZERO))
    );
    assert_eq!(first.plan, ["soft power off"]);
    let takes = first.takes_at_most.unwrap();
    assert!(takes >= secs(600));
    // The others wait for its group.
    for (node, state) in [
        ("n01", "unreachable"),
        ("n02", "nothing to do"),
        ("n03", "refused"),
    ] {
        let seen = of(&view, node);
        assert_eq!(
            (seen.state.as_str(), seen.begins_after),
            (state, Some(takes)),
            "{seen:?}"
        );
    }
    let why = of(&view, "n03").note.clone().unwrap();
    assert!(why.contains("privilege"), "{why}");
    world.run_for(secs(60));
    for place in 0..4 {
        let executed = world.bmc(&name(place)).host().executed().len();
        assert_eq!(executed, usize::from(place == 1), "{}", name(place));
    }
}

#[test]
fn a_control_of_a_batch_says_which_of_its_tasks_refused_it_and_why() {
    let mut world = World::new(111, 3);
    for place in 0..3 {
        world.mood(&name(place)).os = OsMood::Hangs;
    }
    world.run_for(secs(5));
    let batch = world.start_batch(BatchStart {
        max_parallel: 2,
        ..batch_of(&["n01", "n02", "n03"], Operation::SoftPowerOff)
    });
    world.run_for(secs(10));
    let call = Call::ControlBatch {
        batch: batch.id,
        control: Control::Cancel,
        nodes: Vec::new(),
        who: who(),
    };
    let Ok(Answer::Batch(view)) = world.call(call) else {
        panic!()
    };
    assert_eq!(of(&view, "n03").state.as_str(), "cancelled");
    for node in ["n01", "n02"] {
        let seen = of(&view, node);
        assert_eq!(seen.state.as_str(), "running");
        let note = seen.note.clone().unwrap();
        assert!(
            note.starts_with("cancel refused: soft power off was sent"),
            "{note}"
        );
        assert!(note.contains("still possible: abort"), "{note}");
    }
}

#[test]
fn a_node_whose_bmc_failed_recovers_with_the_first_reading_whoever_asked_for_it() {
    for by_task in [false, true] {
        let mut world = World::new(112, 1);
        world.run_for(secs(5));
        let deaf = Conditions {
            loss: 1.0,
            ..Conditions::default()
        };
        world.link("n01", deaf);
        world.run_for(secs(300));
        let node = world.node("n01");
        assert_eq!(node.rackbmcd.fault, Some(NodeFault::Unreadable.into()));
        assert_eq!(node.power_state, PowerState::Unknown);
        world.link("n01", Conditions::default());
        let node = "n01".into();
        world.call(Call::Retry { node, who: who() }).unwrap();
        if by_task {
            let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
            assert_eq!(world.run_task(task, secs(60)).state, TaskState::Succeeded);
        } else {
            world.call(Call::FreshNode("n01".into())).unwrap();
        }
        let node = world.node("n01");
        assert_eq!(node.rackbmcd.fault, None);
        assert_ne!(node.power_state, PowerState::Unknown);
    }
}

#[test]
fn a_rack_that_has_an_order_switches_on_in_it_and_off_in_its_reverse() {
    let mut world = World::new(113, 3);
    world.crash();
    world.settings.power_order = vec!["storage".into(), "compute".into()];
    world.nodes[0].groups = vec!["compute".into()].into();
    world.nodes[1].groups = vec!["storage".into()].into();
    world.start();
    world.run_for(secs(3));
    let nodes = ["n01", "n02", "n03"];
    let mut switched = |operation, order: &[&str]| -> Vec<String> {
        let request = BatchStart {
            order: order.iter().map(|group| (*group).to_owned()).collect(),
            ..batch_of(&nodes, operation)
        };
        world.start_batch(request);
        world.run_for(secs(120));
        let mut changes: Vec<_> = nodes
            .iter()
            .map(|node| {
                let changes = world.bmc(node).host().power_changes();
                (changes.last().unwrap().at, (*node).to_owned())
            })
            .collect();
        changes.sort();
        changes.into_iter().map(|(_, node)| node).collect()
    };
    assert_eq!(switched(Operation::PowerOff, &[]), ["n03", "n01", "n02"]);
    assert_eq!(switched(Operation::PowerOn, &[]), ["n02", "n01", "n03"]);
    // An order that is named counts as it stands.
    let named = switched(Operation::PowerOff, &["storage", "compute"]);
    assert_eq!(named, ["n02", "n01", "n03"]);
}

/// A rack that was read a while ago, with these machines off.
fn read_rack(seed: u64, count: usize, off: &[usize]) -> World {
    let mut world = World::new(seed, count);
    for place in off {
        switch(&mut world, *place, ChassisOrder::Off);
    }
    world.run_for(secs(90));
    world
}

/// Somebody switches a machine.
fn switch(world: &mut World, place: usize, order: ChassisOrder) {
    let now = world.now;
    world.bmc(&name(place)).order_by_somebody(order, now);
}

fn start(world: &mut World, count: usize, operation: Operation, stagger: Duration) -> Vec<TaskId> {
    let names: Vec<String> = (0..count).map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let batch = world.start_batch(BatchStart {
        stagger,
        ..batch_of(&names, operation)
    });
    batch.nodes.iter().filter_map(|node| node.task).collect()
}

/// Lets all of them end, and says how long that took.
fn end_all(world: &mut World, tasks: &[TaskId], at_most: Duration) -> (Vec<Task>, Duration) {
    let began = world.now;
    let over = world.run_until(began + at_most, |world| {
        tasks.iter().all(|task| world.state(*task).is_end())
    });
    assert!(over, "they have not ended");
    let took = world.now - began;
    (tasks.iter().map(|task| world.task(*task)).collect(), took)
}

/// When the machines got an order of ours, in the order of that.
fn carried_out(
    world: &mut World,
    count: usize,
    order: ChassisOrder,
    since: Instant,
) -> Vec<Instant> {
    let mut times = Vec::new();
    for place in 0..count {
        let host = world.bmc(&name(place)).host();
        let done = host
            .executed()
            .iter()
            .filter(|done| done.order == order && done.at >= since);
        times.extend(done.map(|done| done.at));
    }
    times.sort();
    times
}

fn least_distance(times: &[Instant]) -> Duration {
    let pairs = times.windows(2).map(|pair| pair[1] - pair[0]);
    pairs.min().expect("two at least")
}

#[test]
fn nodes_that_are_as_they_are_to_be_say_so_at_once_however_far_apart_a_batch_is() {
    for (operation, off, stagger) in [
        (Operation::PowerOn, false, secs(1)),
        (Operation::PowerOff, true, secs(60)),
        (Operation::SoftPowerOff, true, secs(3600)),
    ] {
        let off: Vec<usize> = (0..14).filter(|_| off).collect();
        let mut world = read_rack(1, 14, &off);
        let tasks = start(&mut world, 14, operation, stagger);
        let (views, took) = end_all(&mut world, &tasks, secs(3));
        for view in &views {
            assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
            assert!(
                view.outcome
                    .as_deref()
                    .unwrap_or_default()
                    .contains("already"),
                "{view:#?}"
            );
            assert!(view.waited < millis(200), "{view:#?}");
        }
        assert!(took < secs(3), "{took:?}");
    }
}

#[test]
fn among_nodes_that_need_nothing_the_others_keep_their_distance_and_do_not_wait_longer() {
    let off = [3, 7, 8, 13];
    let mut world = read_rack(2, 14, &off);
    let asked = world.now;
    let tasks = start(&mut world, 14, Operation::PowerOn, secs(5));
    world.run_for(secs(3));
    for (place, task) in tasks.iter().enumerate() {
        let ended = world.state(*task).is_end();
        assert!(ended || off.contains(&place), "{:#?}", world.task(*task));
    }
    end_all(&mut world, &tasks, secs(30));
    let times = carried_out(&mut world, 14, ChassisOrder::On, asked);
    assert_eq!(times.len(), 4);
    assert!(least_distance(&times) >= secs(5) - millis(100), "{times:?}");
    // The first two at once or after one another, whoever was read first: never a place in between
    // for one that is on.
    assert!(times[3] - asked < secs(21), "{times:?}");
}

#[test]
fn one_that_turns_out_to_need_something_after_all_takes_its_turn_then() {
    // Somebody switches two of them off after they were read: they began as those who have nothing
    // to do.
    let mut world = read_rack(3, 6, &[0, 5]);
    let asked = world.now;
    let tasks = start(&mut world, 6, Operation::PowerOn, secs(4));
    world.run_for(millis(300));
    for place in [2, 3] {
        assert!(
            !world.state(tasks[place]).is_end(),
            "it is looked at once more"
        );
        switch(&mut world, place, ChassisOrder::Off);
    }
    world.run_for(secs(2));
    let waiting = [2, 3].map(|place| world.task(tasks[place]).phase);
    let said = "waiting for the stagger of its batch";
    assert!(
        waiting.iter().all(|phase| phase.contains(said)),
        "{waiting:?}"
    );
    let (views, _) = end_all(&mut world, &tasks, secs(60));
    assert!(
        views.iter().all(|view| view.state == TaskState::Succeeded),
        "{views:#?}"
    );
    let times = carried_out(&mut world, 6, ChassisOrder::On, asked);
    assert_eq!(times.len(), 4);
    assert!(least_distance(&times) >= secs(4) - millis(100), "{times:?}");
}

#[test]
fn a_place_in_the_stagger_is_given_back_by_whoever_sends_nothing() {
    // The machines are off, so that a reset of them is refused by what is read: nothing is sent to
    // any but the last one.
    let mut world = read_rack(4, 5, &[0, 1, 2, 3]);
    let asked = world.now;
    let tasks = start(&mut world, 5, Operation::Reset, secs(30));
    world.run_for(secs(5));
    let times = carried_out(&mut world, 5, ChassisOrder::Reset, asked);
    assert_eq!(times.len(), 1, "{:#?}", world.task(tasks[4]));
}

#[test]
fn what_waits_for_the_stagger_can_be_aborted_suspended_and_outlives_a_restart() {
    for act in [Some(Control::Abort), Some(Control::Suspend), None] {
        let mut world = read_rack(5, 4, &[0]);
        let asked = world.now;
        let tasks = start(&mut world, 4, Operation::PowerOn, secs(20));
        world.run_for(millis(300));
        (1..4).for_each(|place| switch(&mut world, place, ChassisOrder::Off));
        world.run_for(secs(2));
        assert!(world.task(tasks[1]).phase.contains("stagger"));
        match act {
            Some(control) => drop(world.control(tasks[1], control).unwrap()),
            None => {
                world.crash();
                world.start();
            }
        }
        world.run_for(secs(90));
        let times = carried_out(&mut world, 4, ChassisOrder::On, asked);
        let most = if act.is_some() { 3 } else { 4 };
        assert_eq!(times.len(), most, "{act:?} {times:?}");
        assert!(
            least_distance(&times) >= secs(20) - millis(100),
            "{act:?} {times:?}"
        );
        if act == Some(Control::Suspend) {
            world.control(tasks[1], Control::Resume).unwrap();
            assert_eq!(
                world.run_task(tasks[1], secs(30)).state,
                TaskState::Succeeded
            );
        }
    }
}
