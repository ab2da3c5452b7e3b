//! Datagrams that the network does not deliver, in virtual time: told as the network tells it, passing as silence is, and
//! never counted for what left from a port of earlier.

mod world;

use rackbmcd::model::{Operation, PowerOptions, TaskState};
use rackbmcd::rack::call::Call;
use rackbmcd::session::Undeliverable;
use std::time::Duration;
use world::{World, address, millis, secs};

/// Nothing reaches the BMC for so long, and the network says so of each datagram.
fn undelivered(world: &mut World, why: Undeliverable, lasts: Duration) {
    let end = world.now + lasts;
    world.mood("n01").deaf_until = Some(end);
    world.bmc("n01").forget_sessions();
    let mut seen = world.left.len();
    while world.now < end {
        world.run_for(millis(20));
        if world.left.len() > seen {
            seen = world.left.len();
            let now = world.now;
            for port in world.rack().ports_in_use() {
                world.rack().handle_unreachable(address(0), port, why, now);
            }
        }
    }
}

#[test]
fn it_is_told_as_the_network_tells_it() {
    for (why, words) in [
        (Undeliverable::Port, "port unreachable"),
        (Undeliverable::Host, "host unreachable"),
        (Undeliverable::Network, "network unreachable"),
        (Undeliverable::Forbidden, "not permitted"),
    ] {
        let mut world = World::new(1, 1);
        world.run_for(secs(200));
        world.ask(Call::FreshNode("n01".into()));
        undelivered(&mut world, why, secs(10));
        let bmc = world.node("n01").rackbmcd.bmc;
        let text = bmc.trouble_text.unwrap_or_default();
        assert!(text.contains(words), "{why:?}: {text}");
    }
}

#[test]
fn a_task_that_waits_goes_on_within_seconds_when_it_is_over() {
    for why in [
        Undeliverable::Port,
        Undeliverable::Host,
        Undeliverable::Network,
        Undeliverable::Forbidden,
    ] {
        let mut world = World::new(2, 1);
        world.run_for(secs(200));
        let wishes = PowerOptions {
            timeout: Some(secs(25)),
            ..PowerOptions::default()
        };
        let task = world.start_task("n01", Operation::PowerOff, wishes);
        undelivered(&mut world, why, secs(8));
        let view = world.run_task(task, secs(20));
        assert_eq!(view.state, TaskState::Succeeded, "{why:?}: {view:#?}");
    }
}

#[test]
fn what_is_said_of_a_port_of_earlier_ends_nothing() {
    let mut world = World::new(3, 1);
    world.run_for(secs(200));
    let old: Vec<_> = world.rack().ports_in_use().into_iter().collect();
    // A new session, from a port of its own.
    world.bmc("n01").forget_sessions();
    let task = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(2));
    let opened = world.bmc("n01").counters().sessions_opened;
    for _ in 0..20 {
        let now = world.now;
        let in_use = world.rack().ports_in_use();
        for port in old.iter().filter(|port| !in_use.contains(port)) {
            let why = Undeliverable::Port;
            world.rack().handle_unreachable(address(0), *port, why, now);
        }
        world.run_for(millis(100));
    }
    let view = world.run_task(task, secs(60));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(world.bmc("n01").counters().sessions_opened, opened);
}
