//! What happened to nodes, kept on the disk over clocks that are set and daemons that end.

mod world;

use rackbmcd::model::{Operation, PowerOptions};
use rackbmcd::rack::call::{Answer, Call};
use rackbmcd::rack::record::Table;
use rackbmcd::time::WallTime;
use world::{World, secs};

/// The texts of a node's history, newest first.
fn told(world: &mut World, node: &str) -> Vec<String> {
    let (node, limit) = (node.to_owned(), 1000);
    match world.call(Call::History { node, limit }) {
        Ok(Answer::History(entries)) => entries.into_iter().map(|entry| entry.text).collect(),
        other => panic!("{other:?}"),
    }
}

/// The clock is set forward by a year, as by a wrong time server.
fn jump(world: &mut World) {
    let year = secs(365 * 24 * 3600);
    let wall = WallTime::from_unix_micros(1_790_000_000_000_000) + world.now.since_start() + year;
    let now = world.now;
    world.rack().handle_wall(wall, now);
}

/// Switches the node off and on, which its history tells.
fn flap(world: &mut World, node: &str) {
    for operation in [Operation::PowerOff, Operation::PowerOn] {
        let task = world.start_task(node, operation, PowerOptions::default());
        world.run_task(task, secs(120));
        world.run_for(secs(20));
    }
}

#[test]
fn history_goes_on_over_a_crash_and_keeps_the_newest_entries() {
    let mut world = World::new(1, 2);
    world.settings.history_entries = 5;
    world.crash();
    world.start();
    world.run_for(secs(10));
    let mut newest = Vec::new();
    for _ in 0..3 {
        flap(&mut world, "n01");
        newest = told(&mut world, "n01");
        world.crash();
        world.start();
        world.run_for(secs(10));
        assert_eq!(told(&mut world, "n01"), newest);
    }
    assert_eq!(newest.len(), 5);
    assert_eq!(world.remembered(Table::History).count(), 5);
    assert!(told(&mut world, "n02").is_empty());
}

#[test]
fn a_clock_set_forward_forgets_nothing() {
    let mut world = World::new(2, 1);
    world.run_for(secs(10));
    flap(&mut world, "n01");
    let before = told(&mut world, "n01");
    assert!(!before.is_empty());
    let tasks = world.remembered(Table::Tasks).count();
    jump(&mut world);
    world.run_for(secs(2 * 3600));
    assert_eq!(told(&mut world, "n01"), before);
    assert_eq!(world.remembered(Table::Tasks).count(), tasks);
}
