//! Journeys of batches and of nodes whose BMC fails, in virtual time: what is planned, refused and
//! said.

mod world;

use rackbmcd::model::{
    Batch, BatchNode, BatchStart, Control, NodeFault, Operation, PowerOptions, PowerState,
    TaskState,
};
use rackbmcd::rack::call::{Answer, Call};
use rackbmcd::sim::{ChassisOrder, Conditions, OsMood, Privilege};
use std::sync::Arc;
use std::time::Duration;
use world::{World, batch_of, name, secs, who};

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
