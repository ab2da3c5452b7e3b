//! Two nodes with one BMC, in virtual time: found by the address that a name leads to, or by the
//! GUID, told, and refused for both.

mod world;

use rackbmcd::bmc::vocabulary::{Order, Route};
use rackbmcd::model::{Identity, Operation, PowerOptions, TaskState, Trouble};
use rackbmcd::rack::call::{Call, Refused};
use rackbmcd::sim::{ChassisOrder, OsMood};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;
use world::{World, address, millis, name, node, secs, who};

/// A rack whose last node has a name for its address, not looked up yet.
fn with_a_name(seed: u64, count: usize) -> World {
    let mut world = World::new(seed, count);
    world.crash();
    let last = world.nodes.last_mut().expect("a node");
    last.address.host = "bmc.example".into();
    world.start();
    world.run_for(secs(1));
    world
}

/// The name is looked up, and leads to the BMC of the node at `place`.
fn resolve(world: &mut World, place: usize) {
    let (node, host) = world.rack().poll_resolve().expect("the name is looked up");
    let (now, found) = (world.now, vec![address(place)]);
    world.rack().handle_resolved(node, &host, Ok(found), now);
}

fn start(world: &mut World, node: &str, operation: Operation) -> Result<(), Refused> {
    let call = Call::Start {
        node: node.to_owned(),
        operation,
        options: PowerOptions::default(),
        who: who(),
    };
    world.call(call).map(drop)
}

fn trouble(world: &mut World, node: &str) -> (Option<Trouble>, String) {
    let bmc = world.node(node).rackbmcd.bmc;
    let trouble = bmc.trouble.and_then(|word| word.known());
    (trouble, bmc.trouble_text.unwrap_or_default())
}

#[test]
fn a_name_that_leads_to_the_bmc_of_another_node_is_trouble_of_both() {
    let mut world = with_a_name(1, 2);
    world.mood("n01").os = OsMood::Hangs;
    let soft = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(3));
    resolve(&mut world, 0);
    world.run_for(secs(3));
    for (node, other) in [("n01", "n02"), ("n02", "n01")] {
        let (trouble, text) = trouble(&mut world, node);
        assert_eq!(trouble, Some(Trouble::WrongBmc), "{node}");
        assert!(
            text.contains("is at 10.0.1.1:623") && text.contains(other),
            "{text}"
        );
    }
    assert_eq!(world.state(soft), TaskState::Suspended);
    let refused = start(&mut world, "n02", Operation::PowerOff).unwrap_err();
    assert!(refused.to_string().contains("shared BMC"), "{refused}");
    // Nor does anything else leave that may change a machine.
    let raw = Call::Order {
        node: "n02".to_owned(),
        order: Order::Raw {
            net_fn: 6,
            lun: 0,
            command: 1,
            data: Vec::new(),
            route: Route::Direct,
        },
        who: who(),
    };
    assert!(matches!(world.call(raw), Err(Refused::WrongState { .. })));
    world.run_for(secs(60));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
}

#[test]
fn it_is_over_once_the_name_leads_elsewhere_or_the_other_node_is_gone() {
    for gone in [false, true] {
        let mut world = with_a_name(2, 2);
        resolve(&mut world, 0);
        world.run_for(secs(3));
        assert_eq!(trouble(&mut world, "n01").0, Some(Trouble::WrongBmc));
        let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
        match gone {
            true => drop(nodes.remove(1)),
            false => nodes[1].address.host = address(1).ip().to_string().into(),
        }
        world.reload(settings, nodes).expect("taken");
        world.run_for(secs(3));
        assert_eq!(trouble(&mut world, "n01"), (None, String::new()), "{gone}");
        start(&mut world, "n01", Operation::PowerOff).expect("taken");
        world.run_for(secs(30));
        assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
    }
}

/// The machine of two nodes has a BMC with two addresses.
fn with_one_guid(seed: u64, count: usize, alike: usize, identity: [Identity; 2]) -> World {
    let mut world = World::new(seed, count);
    world.crash();
    for place in 0..alike {
        let name = name(place);
        world.bmc(&name).settings_mut().guid = rackbmcd::sim::guid_of("one");
        Arc::make_mut(&mut world.nodes[place].care).identity = identity[place.min(1)];
    }
    world.start();
    world.run_for(secs(10));
    world
}

#[test]
fn two_bmcs_with_one_guid_are_taken_for_one_until_the_configuration_says_otherwise() {
    for (identity, refuses) in [
        ([Identity::Strict, Identity::Strict], true),
        ([Identity::Strict, Identity::Warn], false),
        ([Identity::Warn, Identity::Warn], false),
        ([Identity::Off, Identity::Strict], false),
    ] {
        let mut world = with_one_guid(3, 3, 2, identity);
        let answer = start(&mut world, "n01", Operation::PowerOff);
        assert_eq!(answer.is_err(), refuses, "{identity:?}: {answer:?}");
        let (trouble, text) = trouble(&mut world, "n02");
        assert_eq!(trouble.is_some(), refuses, "{text}");
        assert!(!refuses || text.contains("bmc_identity"), "{text}");
        start(&mut world, "n03", Operation::PowerOff).expect("alone");
    }
}

#[test]
fn a_guid_that_all_bmcs_of_a_maker_have_says_nothing() {
    let mut world = with_one_guid(4, 4, 3, [Identity::Strict; 2]);
    for node in ["n01", "n02", "n03", "n04"] {
        start(&mut world, node, Operation::PowerOff).expect("taken");
    }
}

#[test]
fn an_address_of_another_family_is_the_same_address() {
    let mut world = World::new(5, 1);
    let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
    let mut second = node(1);
    let SocketAddr::V4(first) = address(0) else {
        panic!("an IPv4 address");
    };
    second.address.host = first.ip().to_ipv6_mapped().to_string().into();
    nodes.push(second);
    world.reload(settings, nodes).expect("taken");
    let refused = start(&mut world, "n01", Operation::PowerOff).unwrap_err();
    assert!(matches!(refused, Refused::WrongState { .. }), "{refused}");
}

/// The daemon's look-ups are answered for so long: where the names of the first two nodes lead.
fn run_resolving(world: &mut World, time: Duration, leads: [SocketAddr; 2]) {
    let end = world.now + time;
    while world.now < end {
        world.run_for(millis(50));
        let now = world.now;
        while let Some((node, host)) = world.rack().poll_resolve() {
            let at = usize::from(host.starts_with("second"));
            world
                .rack()
                .handle_resolved(node, &host, Ok(vec![leads[at]]), now);
        }
    }
}

/// Two nodes whose BMCs have these names.
fn named(seed: u64, hosts: [&str; 2]) -> World {
    let mut world = World::new(seed, 2);
    world.crash();
    for (node, host) in world.nodes.iter_mut().zip(hosts) {
        node.address.host = host.into();
    }
    world.start();
    world
}

#[test]
fn bmcs_that_swap_their_addresses_are_found_by_their_names_and_are_no_twins() {
    let mut world = named(6, ["first.example", "second.example"]);
    run_resolving(&mut world, secs(20), [address(0), address(1)]);
    for round in 0..3 {
        // They swap, and so do their names.
        let guids = ["n01", "n02"].map(|node| world.bmc(node).settings_mut().guid);
        for (node, guid) in ["n02", "n01"].into_iter().zip(guids) {
            world.bmc(node).settings_mut().guid = guid;
            world.bmc(node).forget_sessions();
        }
        let leads = match round % 2 {
            0 => [address(1), address(0)],
            _ => [address(0), address(1)],
        };
        run_resolving(&mut world, secs(150), leads);
        for node in ["n01", "n02"] {
            assert_eq!(trouble(&mut world, node), (None, String::new()), "{round}");
        }
    }
    // The name of the first leads to the other machine's place by now.
    start(&mut world, "n01", Operation::PowerOff).expect("taken");
    run_resolving(&mut world, secs(20), [address(1), address(0)]);
    assert_eq!(world.executed("n02", ChassisOrder::Off), 1);
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
}

#[test]
fn the_same_link_local_address_on_two_links_is_two_bmcs() {
    for (scopes, twins) in [([2, 3], false), ([2, 2], true)] {
        let mut world = named(7, ["first%eth0", "second%eth1"]);
        let leads = scopes.map(|scope| {
            let ip = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 0x77);
            SocketAddr::from(SocketAddrV6::new(ip, 623, 0, scope))
        });
        run_resolving(&mut world, secs(10), leads);
        let refused = start(&mut world, "n01", Operation::PowerOff);
        assert_eq!(refused.is_err(), twins, "{refused:?}");
    }
}
