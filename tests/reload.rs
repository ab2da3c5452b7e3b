//! Journeys over a new configuration, in virtual time: nodes that go, and nodes that come back.

mod world;

use rackbmcd::power::Operation;
use rackbmcd::rack::call::{Answer, Call, HistoryEntry, Refused, Wishes};
use rackbmcd::rack::record::Table;
use rackbmcd::sim::Conditions;
use world::{World, millis, node, secs};

/// The configuration names these nodes from now on.
fn reload(world: &mut World, places: &[usize]) {
    let now = world.now;
    let (settings, nodes) = (
        world.settings.clone(),
        places.iter().map(|place| node(*place)).collect::<Vec<_>>(),
    );
    world.nodes = nodes.clone();
    world.rack().reload(settings, nodes, now).unwrap();
    world.run_for(millis(1));
}

fn facts(world: &mut World, node: &str) -> Vec<(String, String)> {
    match world.call(Call::Explain(node.into())) {
        Ok(Answer::Explanation(explained)) => explained.facts,
        other => panic!("{other:?}"),
    }
}

fn history(world: &mut World, node: &str) -> Vec<HistoryEntry> {
    let (node, limit) = (node.into(), 100);
    match world.call(Call::History { node, limit }) {
        Ok(Answer::History(entries)) => entries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_session_of_a_node_that_is_gone_is_closed_politely() {
    let mut world = World::new(100, 2);
    world.run_for(secs(62));
    assert_eq!(world.bmc("n02").open_sessions(), 1);
    reload(&mut world, &[0]);
    world.run_for(secs(1));
    assert_eq!(world.bmc("n02").open_sessions(), 0);
    assert!(matches!(
        world.call(Call::Node("n02".into())),
        Err(Refused::NoSuchNode(_))
    ));
    let left = world.left.len();
    world.run_for(secs(50));
    let to_it = world.left[left..].iter().filter(|left| left.node == 1);
    assert_eq!(to_it.count(), 0, "it is spoken to no more");
}

#[test]
fn a_node_that_is_gone_and_deaf_holds_nothing_up() {
    let mut world = World::new(101, 2);
    world.run_for(secs(62));
    world.link(
        "n02",
        Conditions {
            loss: 1.0,
            ..Conditions::default()
        },
    );
    let waiting = world.ask(Call::FreshNode("n02".into()));
    reload(&mut world, &[0]);
    let answer = world.take_answer(waiting);
    assert!(
        matches!(answer, Some(Err(Refused::NoSuchNode(_)))),
        "{answer:?}"
    );
    let now = world.now;
    world.rack().stop(now);
    world.run_for(secs(11));
    assert!(world.rack().is_quiet());
}

#[test]
fn a_node_that_comes_back_is_known_still_also_over_a_restart() {
    for crash in [false, true] {
        let mut world = World::new(102, 2);
        world.run_for(secs(70));
        let task = world.start_task("n02", Operation::PowerOff, Wishes::default());
        world.run_task(task, secs(60));
        let learned = |world: &mut World| -> Vec<(String, String)> {
            let known = ["suite that works", "suites listed", "found out"];
            let mut facts = facts(world, "n02");
            facts.retain(|(name, _)| known.contains(&name.as_str()));
            facts
        };
        let (before, told) = (learned(&mut world), history(&mut world, "n02"));
        assert!(!before.is_empty() && !told.is_empty());
        reload(&mut world, &[0]);
        world.run_for(secs(10));
        if crash {
            world.crash();
            world.start();
            world.run_for(secs(10));
        }
        reload(&mut world, &[0, 1]);
        assert_eq!(learned(&mut world), before);
        assert_eq!(history(&mut world, "n02"), told);
        world.run_for(secs(70));
        assert!(world.node("n02").reading.is_some());
    }
}

#[test]
fn what_is_known_of_a_node_that_stays_away_is_forgotten_with_its_history() {
    let mut world = World::new(103, 2);
    world.crash();
    world.settings.history_keep = secs(4 * 3600);
    world.start();
    world.run_for(secs(70));
    let task = world.start_task("n02", Operation::PowerOff, Wishes::default());
    world.run_task(task, secs(60));
    reload(&mut world, &[0]);
    let uuid = node(1).uuid.to_string();
    let about = |world: &World, table: Table| {
        let says = |entry: &(&str, &[u8])| {
            entry.0 == uuid || String::from_utf8_lossy(entry.1).contains(&uuid)
        };
        world.remembered(table).filter(says).count()
    };
    world.run_for(secs(3 * 3600));
    assert_eq!(about(&world, Table::Nodes), 1);
    assert!(about(&world, Table::History) > 0);
    // Also where the daemon was not there the whole time.
    world.crash();
    world.run_for(secs(3600));
    world.start();
    world.run_for(secs(2 * 3600));
    for table in [Table::Nodes, Table::History, Table::Tasks] {
        assert_eq!(about(&world, table), 0, "{}", table.name());
    }
}
