//! What a BMC is asked of itself beside the orders: once for its list of cipher suites, and whether
//! it answers a ping where nothing else comes. And that nothing weaker follows where a suite
//! worked.

mod world;

use rackbmcd::model::{Explanation, Operation, PowerOptions, PowerState, TaskState};
use rackbmcd::rack::call::{Answer, Call, Look};
use rackbmcd::session::Protocol;
use rackbmcd::sim::Mood;
use std::sync::Arc;
use world::{World, millis, secs, who};

fn explain(world: &mut World) -> Explanation {
    match world.call(Call::Look(Look::Explain("n01".into()))) {
        Ok(Answer::Explanation(explained)) => *explained,
        other => panic!("{other:?}"),
    }
}

/// What is said of the suites that the BMC lists.
fn listed(world: &mut World) -> Option<String> {
    let mut facts = explain(world).facts.into_iter();
    facts
        .find(|fact| fact.head == "suites listed")
        .map(|fact| fact.text)
}

/// Datagrams that carried no order.
fn upkeep(world: &World) -> usize {
    let left = world.left.iter();
    left.filter(|left| left.order.is_none()).count()
}

#[test]
fn a_bmc_is_asked_once_for_its_list_of_suites_and_remembered_over_a_restart() {
    let mut world = World::new(51, 1);
    world.bmc("n01").settings_mut().suites = vec![0, 1, 2, 3, 6, 7, 8, 11, 12, 15, 16, 17];
    world.run_for(secs(50));
    let said = "0, 1, 2, 3, 6, 7, 8, 11, 12, 15, 16, 17, says the BMC";
    assert!(listed(&mut world).is_some_and(|text| text.starts_with(said)));
    let first = upkeep(&world);
    world.crash();
    world.start();
    assert!(listed(&mut world).is_some_and(|text| text.starts_with(said)));
    world.run_for(secs(50));
    // Who made it, and sixty bytes of list in pieces of sixteen.
    assert_eq!(first - (upkeep(&world) - first), 1 + 4);
    assert_eq!(world.node("n01").rackbmcd.bmc.cipher_suite, Some(17));
}

#[test]
fn the_list_of_suites_is_not_waited_for_and_not_asked_for_without_end() {
    let mut world = World::new(52, 1);
    world.mood("n01").ignores_cipher_suites = true;
    let asking = |world: &mut World| {
        let end = world.now + secs(70);
        // The reading is over; what leaves then is the question.
        let read = world.run_until(end, |world| world.power_state("n01") == PowerState::On);
        assert!(read && upkeep(world) > 0);
        let before = upkeep(world);
        assert!(world.run_until(end, |world| upkeep(world) > before));
        assert_eq!(listed(world), None);
    };
    asking(&mut world);
    let asked_at = world.now;
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(millis(300));
    let ordered = world.left.iter().filter(|left| left.order.is_some());
    let after = ordered.filter(|left| left.at >= asked_at).count();
    assert!(after >= 2, "the order was looked up and sent meanwhile");
    assert_eq!(world.run_task(task, secs(60)).state, TaskState::Succeeded);
    let end = world.now + secs(300);
    assert!(world.run_until(end, |world| listed(world).is_some()));
    assert_eq!(listed(&mut world).as_deref(), Some("the BMC does not say"));
    assert_eq!(explain(&mut world).failures, []);
    world.mood("n01").ignores_cipher_suites = false;
    world
        .call(Call::Retry {
            node: "n01".into(),
            who: who(),
        })
        .unwrap();
    world.run_for(secs(70));
    assert_eq!(listed(&mut world).as_deref(), Some("3, 17, says the BMC"));
}

#[test]
fn a_silent_bmc_is_pinged_after_its_verdict_and_what_came_of_it_is_said() {
    let mut world = World::new(54, 1);
    let ping = |world: &mut World| {
        let mut facts = explain(world).facts.into_iter();
        facts.find(|fact| fact.head == "presence ping")
    };
    let trouble = |world: &mut World| {
        world
            .node("n01")
            .rackbmcd
            .bmc
            .trouble_text
            .unwrap_or_default()
    };
    world.run_for(secs(30));
    assert_eq!(ping(&mut world), None, "who answers is not pinged");
    world.mood("n01").pings_only = true;
    let asked_at = world.now;
    let call = world.ask(Call::FreshNode("n01".into()));
    let end = world.now + secs(6);
    let mut answer = None;
    world.run_until(end, |world| {
        answer = world.take_answer(call);
        answer.is_some()
    });
    assert!(answer.is_some() && world.now <= asked_at + secs(5));
    assert!(!trouble(&mut world).contains("ping"), "nobody waits for it");
    world.run_for(millis(100));
    let said = trouble(&mut world);
    assert!(
        said.contains("a presence ping is answered, IPMI is not"),
        "{said}"
    );
    world.mood("n01").dead = true;
    world.run_for(secs(120));
    let said = trouble(&mut world);
    assert!(said.contains("nor is a presence ping answered"), "{said}");
    assert!(ping(&mut world).is_some_and(|fact| fact.text.starts_with("not answered")));
    *world.mood("n01") = Mood::default();
    world.run_for(secs(120));
    assert_eq!(
        (ping(&mut world), trouble(&mut world)),
        (None, String::new())
    );
    assert_eq!(world.power_state("n01"), PowerState::On);
}

#[test]
fn a_bmc_that_refuses_every_configured_suite_is_shown_with_those_it_has() {
    let mut world = World::new(53, 1);
    world.bmc("n01").settings_mut().suites = vec![8, 12];
    world.run_for(secs(20));
    assert_eq!(listed(&mut world).as_deref(), Some("8, 12, says the BMC"));
    assert_eq!(
        world.node("n01").rackbmcd.bmc.cipher_suite,
        None,
        "advice only"
    );
}

/// Or whoever answers in the BMC's place would have the password over the weaker protocol.
#[test]
fn where_2_0_worked_once_1_5_follows_in_no_later_life() {
    let mut world = World::new(9, 1);
    world.crash();
    Arc::make_mut(&mut world.nodes[0].login).protocol = Protocol::V20ThenV15;
    world.start();
    world.run_for(secs(20));
    assert_eq!(world.node("n01").rackbmcd.bmc.trouble, None);
    for restart in [false, true, true] {
        world.bmc("n01").settings_mut().offers_v20 = false;
        world.bmc("n01").forget_sessions();
        if restart {
            world.crash();
            world.start();
        }
        world.run_for(secs(200));
        let bmc = world.node("n01").rackbmcd.bmc;
        assert!(bmc.trouble.is_some(), "{restart}: {bmc:?}");
    }
    // The BMC itself is believed again.
    world.bmc("n01").settings_mut().offers_v20 = true;
    world.run_for(secs(700));
    assert_eq!(world.node("n01").rackbmcd.bmc.trouble, None);
}
