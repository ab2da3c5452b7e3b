//! Datagrams that the network does not deliver, in virtual time: told as the network tells it,
//! passing as silence is, and never counted for what left from a port of earlier; and names that
//! lead to another address, or to several.

mod world;

use rackbmcd::model::{Operation, PowerOptions, PowerState, TaskState, Trouble};
use rackbmcd::rack::call::Call;
use rackbmcd::session::Undeliverable;
use std::time::Duration;
use world::{World, address, millis, secs, who};

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

/// All BMCs see the port that is in use, and a hostile one may say in its neighbour's name that
/// nobody is there.
#[test]
fn what_is_said_of_the_port_in_use_without_end_keeps_no_order_from_a_bmc_that_answers() {
    for why in [
        Undeliverable::Port,
        Undeliverable::Host,
        Undeliverable::Network,
        Undeliverable::Forbidden,
    ] {
        for delay in [50, 500, 1500].map(millis) {
            for told in [Told::FromTheBeginning, Told::WhileLoggingIn, Told::AfterAll] {
                let honest = powered_off(None, told, delay);
                let took = powered_off(Some(why), told, delay);
                // A BMC whose round trip is not known yet, and long, may be tried twice.
                let most = honest * 2 + secs(if told == Told::FromTheBeginning { 8 } else { 3 });
                assert!(
                    took < most,
                    "{why:?} {told:?} {delay:?}: {took:?}, else {honest:?}"
                );
            }
        }
    }
}

/// From when on it is said.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Told {
    FromTheBeginning,
    WhileLoggingIn,
    AfterAll,
}

/// How long a power off takes while the network says of each datagram that it did not arrive, which
/// is a lie.
fn powered_off(why: Option<Undeliverable>, told: Told, delay: Duration) -> Duration {
    let mut world = World::new(4, 1);
    world.mood("n01").reply_delay = delay;
    if told != Told::FromTheBeginning {
        world.run_for(secs(200));
        world.call(Call::FreshNode("n01".into())).expect("read");
    }
    if told == Told::WhileLoggingIn {
        world.bmc("n01").forget_sessions();
    }
    let asked = world.now;
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    while !world.task(task).ended && world.now < asked + secs(60) {
        let now = world.now;
        for port in world.rack().ports_in_use() {
            if let Some(why) = why {
                world.rack().handle_unreachable(address(0), port, why, now);
            }
        }
        world.run_for(millis(20));
    }
    let view = world.task(task);
    assert_eq!(view.state, TaskState::Succeeded, "{why:?}: {view:#?}");
    world.now - asked
}

#[test]
fn the_late_look_up_of_a_former_name_leads_to_no_other_machine() {
    let mut world = World::new(33, 2);
    world.run_for(secs(3));
    let (settings, right) = (world.settings.clone(), world.nodes.clone());
    let mut wrong = right.clone();
    wrong[0].address.host = "old.example".into();
    let now = world.now;
    world.rack().reload(settings.clone(), wrong, now).unwrap();
    world.ask(Call::FreshNode("n01".into()));
    let (node, host) = world.rack().poll_resolve().expect("the name is looked up");
    world.rack().reload(settings, right, now).unwrap();
    let elsewhere = Ok(vec![address(1)]);
    world.rack().handle_resolved(node, &host, elsewhere, now);
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_task(task, secs(60));
    assert!(!world.is_on("n01"));
    assert!(world.is_on("n02"), "that is another machine");
}

#[test]
fn two_nodes_whose_names_lead_to_one_bmc_are_both_answered() {
    let mut world = World::new(34, 2);
    let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
    nodes[0].address.host = "a.example".into();
    nodes[1].address.host = "b.example".into();
    let now = world.now;
    world.rack().reload(settings, nodes, now).unwrap();
    for place in 0..2 {
        world.ask(Call::FreshNode(world::name(place)));
        while let Some((node, host)) = world.rack().poll_resolve() {
            let here = Ok(vec![address(0)]);
            world.rack().handle_resolved(node, &host, here, now);
        }
    }
    world.run_for(secs(4));
    for name in ["n01", "n02"] {
        let view = world.node(name);
        assert!(view.rackbmcd.reading.is_some(), "{view:#?}");
    }
}

/// A node whose BMC has a name of two addresses, and answers at the second one only.
fn behind_two_addresses(seed: u64) -> World {
    let mut world = World::new(seed, 1);
    let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
    nodes[0].address.host = "both.example".into();
    let now = world.now;
    world.rack().reload(settings, nodes, now).unwrap();
    world
}

/// Time goes by, and each time that the name is asked for, both addresses are told: how often that
/// was.
fn run_resolving(world: &mut World, time: Duration) -> usize {
    let (end, mut asked) = (world.now + time, 0);
    while world.now < end {
        world.run_for(millis(100));
        let now = world.now;
        if let Some((node, host)) = world.rack().poll_resolve() {
            let both = Ok(vec![address(7), address(0)]);
            world.rack().handle_resolved(node, &host, both, now);
            asked += 1;
        }
    }
    asked
}

#[test]
fn a_name_of_two_addresses_is_followed_to_the_one_that_answers_and_stays_there() {
    let mut world = behind_two_addresses(36);
    // Silence at the first: its verdict, and a while later the next try.
    run_resolving(&mut world, secs(130));
    assert!(world.left.iter().any(|left| left.node == 7));
    assert_eq!(world.power_state("n01"), PowerState::On);
    // The name is looked up again now and then: the first address is not tried again.
    let before = world.left.len();
    let looked_up = run_resolving(&mut world, secs(900));
    assert!(looked_up >= 2, "{looked_up}");
    let mut elsewhere = world.left[before..].iter().filter(|left| left.node == 7);
    assert!(elsewhere.next().is_none());
}

#[test]
fn a_name_is_looked_up_again_when_somebody_asks_for_a_retry() {
    let mut world = behind_two_addresses(36);
    run_resolving(&mut world, secs(130));
    world.ask(Call::FreshNode("n01".into()));
    run_resolving(&mut world, secs(2));
    // There is a session, so that no log-in asks for the name.
    assert_eq!(world.bmc("n01").open_sessions(), 1);
    assert_eq!(world.rack().poll_resolve(), None);
    let (node, who) = ("n01".into(), who());
    world.call(Call::Retry { node, who }).expect("a retry");
    let asked = world.rack().poll_resolve();
    assert!(asked.is_some_and(|(_, host)| host == "both.example"));
}

/// The network says of each datagram that nobody is there, until that is believed.
fn undeliverable(world: &mut World, address: std::net::SocketAddr) {
    for _ in 0..6 {
        let now = world.now;
        for port in world.rack().ports_in_use() {
            world
                .rack()
                .handle_unreachable(address, port, Undeliverable::Port, now);
        }
        world.run_for(millis(450));
    }
}

#[test]
fn an_address_that_the_network_cannot_reach_is_left_for_the_next_at_once() {
    let mut world = behind_two_addresses(37);
    let call = world.ask(Call::FreshNode("n01".into()));
    run_resolving(&mut world, millis(200));
    assert!(world.left.iter().any(|left| left.node == 7));
    undeliverable(&mut world, address(7));
    world.run_for(secs(1));
    assert!(
        world.take_answer(call).is_some(),
        "no verdict is waited for"
    );
    let view = world.node("n01");
    assert!(
        view.rackbmcd.reading.is_some() && view.rackbmcd.bmc.trouble.is_none(),
        "{view:#?}"
    );
    // Nobody anywhere: said at once, not tried in a circle.
    world.run_for(secs(30));
    world.mood("n01").dead = true;
    let call = world.ask(Call::FreshNode("n01".into()));
    run_resolving(&mut world, millis(100));
    for address in [address(0), address(7)] {
        undeliverable(&mut world, address);
    }
    world.run_for(millis(1));
    assert!(world.take_answer(call).is_some(), "it has its answer");
    let trouble = world.node("n01").rackbmcd.bmc.trouble;
    assert_eq!(trouble, Some(Trouble::Unreachable.into()));
}
