//! A whole rack read from cold over networks that lose packets, in virtual time: how long it takes
//! until every node was read, and how many Open Session Requests that costs each BMC.

mod world;

use rackbmcd::sim::Conditions;
use std::time::Duration;
use world::{World, millis, secs};

const NODES: usize = 48;

/// How long until all nodes were read, and how many Open Session Requests arrived for each.
fn cold(loss: f64, seed: u64) -> (Duration, f64) {
    let mut world = World::new(seed, NODES);
    world.crash();
    for place in 0..NODES {
        let conditions = Conditions {
            loss,
            delay: Duration::from_micros(500),
            jitter: Duration::from_micros(14_500),
            ..Conditions::default()
        };
        world.link(&world::name(place), conditions);
    }
    for place in 0..NODES {
        world.bmc(&world::name(place)).forget_sessions();
    }
    let began = world.now;
    let opens = |world: &mut World| -> u64 {
        (0..NODES)
            .map(|place| world.bmc(&world::name(place)).counters().open_requests)
            .sum()
    };
    let before = opens(&mut world);
    world.start();
    let mut unread: Vec<usize> = (0..NODES).collect();
    while !unread.is_empty() {
        assert!(world.now < began + secs(300), "not read: {unread:?}");
        world.run_for(millis(50));
        unread.retain(|place| world.node(&world::name(*place)).rackbmcd.reading.is_none());
    }
    let opened = opens(&mut world) - before;
    (world.now - began, opened as f64 / NODES as f64)
}

#[test]
fn a_rack_is_read_from_cold_over_networks_that_lose_packets() {
    // One and a half times what ipmipower takes for as many BMCs (1.3, 2.5 and 4.8 s), and at most
    // one and a half Open Session Requests a BMC.
    for (loss, at_most) in [(0.0, 0.5), (0.03, 1.95), (0.10, 3.75), (0.20, 7.2)] {
        let mut runs: Vec<_> = (0..5).map(|seed| cold(loss, 900 + seed)).collect();
        runs.sort_by_key(|(took, _)| *took);
        let (median, _) = runs[2];
        println!("{loss}: {runs:?}");
        assert!(
            median <= Duration::from_secs_f64(at_most),
            "{loss}: {runs:?}"
        );
        let opens = runs.iter().map(|(_, opens)| opens).sum::<f64>() / 5.0;
        assert!(opens <= 1.5, "{loss}: {opens}");
    }
}
