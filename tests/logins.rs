//! Logging in to simulated BMCs in virtual time: one verdict over all cipher suites, one count that
//! restarts do not forget, and a level that is never too low for the order that leaves.

mod world;

use rackbmcd::bmc::vocabulary::{Order, Route};
use rackbmcd::ipmi::PrivilegeLevel;
use rackbmcd::model::{
    BootDevice, Control, Identity, Operation, PowerOptions, RestorePolicy, TaskState,
};
use rackbmcd::rack::call::{Answer, Call, CallId, Look};
use rackbmcd::sim::{ChassisOrder, CommandRefusal};
use std::sync::Arc;
use world::{World, millis, name, secs, who};

#[test]
fn a_suite_that_worked_and_does_not_match_any_more_is_left_for_one_that_does() {
    for order in [[17, 3], [3, 17]] {
        let mut world = World::new(1, 1);
        world.crash();
        Arc::make_mut(&mut world.nodes[0].login).suites =
            order.map(rackbmcd::ipmi::SuiteId).to_vec();
        world.bmc("n01").settings_mut().suites = vec![3];
        world.start();
        world.run_for(secs(20));
        assert_eq!(world.node("n01").rackbmcd.bmc.cipher_suite, Some(3));
        // An update keeps what suite 17 needs only.
        world.bmc("n01").settings_mut().suites = vec![3, 17];
        world.mood("n01").quirks.mismatching_suite = Some(3);
        world.bmc("n01").forget_sessions();
        world.run_for(secs(130));
        let bmc = world.node("n01").rackbmcd.bmc;
        assert_eq!(
            (bmc.trouble, bmc.cipher_suite),
            (None, Some(17)),
            "{order:?}"
        );
    }
}

#[test]
fn a_suite_that_is_met_with_silence_leads_to_the_next() {
    let mut world = World::new(2, 1);
    world.mood("n01").quirks.silent_suite = Some(17);
    world.run_for(secs(20));
    let node = world.node("n01").rackbmcd;
    assert_eq!(node.bmc.cipher_suite, Some(3));
    assert!(node.reading.is_some());
}

#[test]
fn a_wrong_password_is_one_failed_log_in_for_all_suites_and_is_not_forgotten_by_restarts() {
    let mut world = World::new(3, 1);
    world.crash();
    world.bmc("n01").settings_mut().users[0].password = b"another".to_vec();
    world.start();
    world.run_for(secs(100));
    let opens = |world: &mut World| world.bmc("n01").counters().open_requests;
    // Two log-ins, with two suites each.
    let before = opens(&mut world);
    assert_eq!(before, 4);
    let trouble = world.node("n01").rackbmcd.bmc.trouble_text.expect("held");
    assert!(trouble.contains("2 log-ins refused"), "{trouble}");
    for _ in 0..5 {
        world.crash();
        world.start();
        world.run_for(secs(90));
    }
    assert_eq!(opens(&mut world), before, "no log-in after the hold began");
    // Other credentials are another matter.
    world.crash();
    Arc::make_mut(&mut world.nodes[0].login).password =
        rackbmcd::session::secret::Password::new(*b"another").unwrap();
    world.start();
    world.run_for(secs(20));
    assert!(world.node("n01").rackbmcd.reading.is_some());
}

#[test]
fn a_level_that_was_refused_for_a_moment_is_asked_for_again_before_an_order_that_needs_it() {
    let mut world = World::new(4, 1);
    world.crash();
    world.mood("n01").level_refusals = 1;
    world.bmc("n01").forget_sessions();
    world.start();
    world.run_for(secs(2));
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    let view = world.run_task(task, secs(60));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert!(!world.is_on("n01"));
}

#[test]
fn a_session_that_lost_its_level_on_the_way_gets_it_back_and_the_pulse_is_carried_out_once() {
    let mut world = World::new(5, 1);
    world.run_for(secs(2));
    world.bmc("n01").demote_sessions();
    let task = world.start_task("n01", Operation::Reset, PowerOptions::default());
    let view = world.run_task(task, secs(90));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(world.executed("n01", ChassisOrder::Reset), 1);
}

#[test]
fn no_order_that_changes_power_leaves_with_a_level_that_is_too_low() {
    let mut world = World::new(6, 1);
    world.crash();
    world.mood("n01").level_refusals = 1000;
    world.bmc("n01").forget_sessions();
    world.start();
    world.run_for(secs(2));
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(secs(70));
    let view = world.task(task);
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    assert!(world.is_on("n01"));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
    let why = view.outcome.clone().unwrap_or_default();
    assert!(
        why.contains("level user") && why.contains("operator"),
        "{why}"
    );
    let Ok(Answer::Explanation(found)) = world.call(Call::Look(Look::Explain(name(0)))) else {
        panic!("no explanation");
    };
    let mut facts = found.facts.iter();
    let level = facts.find(|fact| fact.head == "privilege level");
    assert!(level.is_some_and(|fact| fact.text.starts_with("user granted")));
}

#[test]
fn a_bmc_that_needs_seconds_for_each_answer_is_logged_in_to_and_read() {
    for seconds in [2, 4, 8] {
        let mut world = World::new(7, 1);
        world.crash();
        world.bmc("n01").forget_sessions();
        world.bmc("n01").settings_mut().half_open_timeout = secs(60);
        world.mood("n01").reply_delay = secs(seconds);
        let before = world.bmc("n01").counters().open_requests;
        world.start();
        world.run_for(millis(5500));
        let bmc = world.node("n01").rackbmcd.bmc;
        let text = bmc.trouble_text.unwrap_or_default();
        assert!(text.contains("still trying"), "{seconds}: {text}");
        let end = world.now + secs(90);
        let read = world.run_until(end, |world| world.bmc("n01").counters().requests >= 2);
        assert!(read, "{seconds}: {:?}", world.node("n01").rackbmcd.bmc);
        world.run_for(secs(20));
        assert!(world.node("n01").rackbmcd.reading.is_some(), "{seconds}");
        let opens = world.bmc("n01").counters().open_requests - before;
        assert!(opens <= 2, "{seconds}: {opens} sessions begun");
    }
}

#[test]
fn a_stop_does_not_wait_for_a_handshake() {
    let mut world = World::new(9, 1);
    world.crash();
    world.mood("n01").dead = true;
    world.start();
    world.run_for(secs(1));
    let now = world.now;
    world.rack().stop(now);
    world.run_for(millis(500));
    assert!(world.rack().is_quiet());
}

#[test]
fn a_bmc_that_is_another_one_than_before_gets_no_power_order_until_it_is_accepted() {
    let mut world = World::new(8, 2);
    world.run_for(secs(30));
    let mut old = rackbmcd::sim::guid_of("n01");
    // People write it with the most significant byte first; BMCs send that one last (§20.8).
    old.reverse();
    let written = uuid::Uuid::from_u128(0xe53d_9c7c_616d_48db_9dc2_2683_7ee0_ec20);
    let mut new = written.into_bytes();
    new.reverse();
    let task = {
        world.mood("n01").os = rackbmcd::sim::OsMood::Hangs;
        world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default())
    };
    world.run_for(secs(3));
    // Somebody swaps the BMCs' addresses.
    world.bmc("n01").settings_mut().guid = new;
    world.bmc("n01").settings_mut().manufacturer = 674;
    world.bmc("n01").forget_sessions();
    world.run_for(secs(60));
    let view = world.task(task);
    assert_eq!(view.state, TaskState::Suspended, "{view:#?}");
    let left = world.executed("n01", ChassisOrder::Off);
    let off = world.start_task("n02", Operation::PowerOff, PowerOptions::default());
    world.run_task(off, secs(60));
    let guids = world.bmc_change("n01").expect("told");
    assert_eq!((guids.was.into_bytes(), guids.is), (old, written));
    let Ok(Answer::Explanation(explained)) = world.call(Call::Look(Look::Explain(name(0)))) else {
        panic!("it is explained");
    };
    let mut facts = explained.facts.iter();
    assert!(
        facts.any(|fact| fact.text == written.to_string()),
        "{explained:#?}"
    );
    assert_eq!((guids.maker_was, guids.maker_is), (Some(0), Some(674)));
    let address = Some(world::address(0).to_string());
    assert_eq!(
        [guids.address_was, guids.address_is],
        [address.clone(), address]
    );
    assert_eq!(world.executed("n01", ChassisOrder::Off), left);
    // `retry` is no acceptance, nor is another GUID.
    let retry = Call::Retry {
        node: name(0),
        who: who(),
    };
    world.call(retry).unwrap();
    world.run_for(secs(20));
    assert!(world.bmc_change("n01").is_some());
    let accept = |guid| Call::Accept {
        node: name(0),
        guid,
        who: who(),
    };
    world.call(accept(guids.was)).unwrap_err();
    world.call(accept(guids.is)).unwrap();
    assert_eq!(world.bmc_change("n01"), None);
    // Over a restart, too.
    world.run_for(secs(1));
    world.crash();
    world.start();
    world.run_for(secs(30));
    assert_eq!(world.bmc_change("n01"), None);
    assert_eq!(world.node("n01").rackbmcd.bmc.trouble, None);
}

/// Of a raw command nobody knows what it does, and a boot device set there starts the wrong machine
/// from the network.
#[test]
fn a_bmc_that_is_another_one_gets_nothing_else_that_changes_the_machine() {
    let mut world = World::new(9, 1);
    world.crash();
    Arc::make_mut(&mut world.nodes[0].login).privilege = PrivilegeLevel::Administrator;
    world.start();
    world.run_for(secs(30));
    world.bmc("n01").settings_mut().guid = rackbmcd::sim::guid_of("n99");
    world.bmc("n01").forget_sessions();
    world.run_for(secs(90));
    assert!(world.bmc_change("n01").is_some());
    let raw = Order::Raw {
        net_fn: 6,
        lun: 0,
        command: 1,
        data: Vec::new(),
        route: Route::Direct,
    };
    let boot_device = Order::SetBootDevice {
        device: Some(BootDevice::Pxe),
        persistent: false,
        uefi: false,
    };
    let ask = |world: &mut World, order| {
        world.call(Call::Order {
            node: name(0),
            order,
            who: who(),
        })
    };
    for order in [
        raw.clone(),
        boot_device,
        Order::SetRestorePolicy(RestorePolicy::AlwaysOff),
        Order::ClearEventLog,
        Order::ResetBmc { cold: true },
    ] {
        let refused = ask(&mut world, order.clone()).expect_err("another BMC");
        let refused = refused.to_string();
        assert!(
            refused.contains("another one than before"),
            "{order:?}: {refused}"
        );
    }
    // Its light shows which machine it is.
    for order in [Order::Identify(None), Order::ReadPower] {
        ask(&mut world, order).expect("it changes nothing");
    }
    let guid = world.bmc_change("n01").expect("told").is;
    let accept = Call::Accept {
        node: name(0),
        guid,
        who: who(),
    };
    world.call(accept).expect("accepted");
    ask(&mut world, raw).expect("it is the node's");
}

#[test]
fn a_session_that_somebody_else_has_with_a_bmc_is_told() {
    let mut world = World::new(10, 1);
    let others = |world: &mut World| {
        let Ok(Answer::Explanation(found)) = world.call(Call::Look(Look::Explain(name(0)))) else {
            panic!("no explanation");
        };
        let mut facts = found.facts.into_iter();
        let told = facts.find(|fact| fact.head == "sessions of others");
        told.map(|fact| fact.text)
    };
    world.run_for(secs(20));
    assert_eq!(others(&mut world), None);
    world.run_for(secs(60));
    // A daemon that is killed while its session is open leaves it there for others to see.
    let fresh = Call::FreshNode(name(0));
    world.call(fresh).expect("read");
    world.bmc("n01").settings_mut().idle_timeout = secs(3600);
    world.crash();
    world.start();
    world.run_for(secs(20));
    let told = others(&mut world).unwrap_or_default();
    assert!(told.starts_with("1 beside ours"), "{told}");
    let now = world.now;
    assert_eq!(world.rack().figures(now).strangers, [(name(0), 1)]);
    world.bmc("n01").forget_sessions();
    world.run_for(secs(800));
    assert_eq!(others(&mut world), None);
}

#[test]
fn the_suite_that_worked_may_fall_silent_or_be_refused_and_the_other_takes_its_place() {
    for silent in [true, false] {
        let mut world = World::new(11, 1);
        world.run_for(secs(20));
        assert_eq!(world.node("n01").rackbmcd.bmc.cipher_suite, Some(17));
        match silent {
            true => world.mood("n01").quirks.silent_suite = Some(17),
            false => world.bmc("n01").settings_mut().suites = vec![3],
        }
        world.bmc("n01").forget_sessions();
        world.run_for(secs(130));
        let bmc = world.node("n01").rackbmcd.bmc;
        assert_eq!((bmc.trouble, bmc.cipher_suite), (None, Some(3)), "{silent}");
    }
}

#[test]
fn where_one_suite_is_silent_and_the_other_does_not_match_it_is_the_password_and_counted_once() {
    let mut world = World::new(12, 1);
    world.crash();
    world.mood("n01").quirks.silent_suite = Some(17);
    world.mood("n01").quirks.mismatching_suite = Some(3);
    world.bmc("n01").forget_sessions();
    world.start();
    world.run_for(secs(120));
    let trouble = world.node("n01").rackbmcd.bmc.trouble_text.expect("told");
    assert!(trouble.contains("wrong password"), "{trouble}");
    assert!(trouble.contains("2 log-ins refused"), "{trouble}");
}

/// Asks for the boot device to be set; the answer is not waited for.
fn set_boot_device(world: &mut World) -> CallId {
    let order = Order::SetBootDevice {
        device: Some(BootDevice::Pxe),
        persistent: false,
        uefi: false,
    };
    world.ask(Call::Order {
        node: name(0),
        order,
        who: who(),
    })
}

#[test]
fn a_level_that_is_lost_in_the_middle_of_an_order_is_asked_for_again_and_the_order_goes_on() {
    for after in 0..3 {
        let mut world = World::new(13, 1);
        world.run_for(secs(3));
        let before = world.bmc("n01").counters().requests;
        let call = set_boot_device(&mut world);
        let end = world.now + secs(20);
        world.run_until(end, |world| {
            world.bmc("n01").counters().requests >= before + after
        });
        world.bmc("n01").demote_sessions();
        world.run_until(end, |world| world.has_answered(call));
        let answer = world.take_answer(call).expect("within 20 s");
        assert!(answer.is_ok(), "after {after} commands: {answer:?}");
        assert!(world.bmc("n01").counters().requests - before <= 6);
    }
}

#[test]
fn a_level_that_is_lost_again_and_again_ends_in_words_and_in_no_pulse() {
    let mut world = World::new(14, 1);
    world.run_for(secs(3));
    let call = set_boot_device(&mut world);
    let end = world.now + secs(30);
    let answered = world.run_until(end, |world| {
        world.bmc("n01").demote_sessions();
        world.has_answered(call)
    });
    assert!(answered);
    let refused = world.take_answer(call).expect("just seen").unwrap_err();
    assert!(refused.to_string().contains("privilege"), "{refused}");
    let task = world.start_task(
        "n01",
        Operation::Reset,
        PowerOptions {
            timeout: Some(secs(30)),
            ..PowerOptions::default()
        },
    );
    let end = world.now + secs(32);
    world.run_until(end, |world| {
        world.bmc("n01").demote_sessions();
        false
    });
    let view = world.task(task);
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    assert_eq!(world.executed("n01", ChassisOrder::Reset), 0);
}

/// The BMC of the node is another one from now on, as far as its GUID tells.
fn swap(world: &mut World, to: &str) {
    world.bmc("n01").settings_mut().guid = rackbmcd::sim::guid_of(to);
    world.bmc("n01").forget_sessions();
}

#[test]
fn a_bmc_that_is_swapped_before_an_order_leaves_gets_none_of_it() {
    for (operation, order) in [
        (Operation::PowerOff, ChassisOrder::Off),
        (Operation::SoftPowerOff, ChassisOrder::Soft),
        (Operation::Reset, ChassisOrder::Reset),
        (Operation::Cycle, ChassisOrder::Cycle),
        (Operation::InjectNmi, ChassisOrder::Nmi),
    ] {
        let mut world = World::new(15, 1);
        // Long enough for its session to be closed, and short of the next reading.
        world.run_for(secs(40));
        swap(&mut world, "other");
        let task = world.start_task("n01", operation, PowerOptions::default());
        world.run_for(secs(100));
        assert_eq!(world.executed("n01", order), 0, "{operation}");
        let view = world.task(task);
        assert_eq!(view.state, TaskState::Suspended, "{view:#?}");
        assert!(view.phase.contains("another one than before"), "{view:#?}");
        assert!(view.phase.contains("bmc accept"), "{view:#?}");
    }
}

#[test]
fn a_bmc_with_another_guid_at_each_log_in_gets_no_order_that_changes_power() {
    let mut world = World::new(16, 1);
    world.run_for(secs(20));
    for round in 0..6 {
        swap(&mut world, &format!("x{round}"));
        drop(world.call(Call::FreshNode(name(0))));
        world.run_for(secs(30));
        assert!(world.bmc_change("n01").is_some(), "{round}");
    }
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(secs(60));
    assert_eq!(world.state(task), TaskState::Suspended);
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
}

#[test]
fn a_guid_that_goes_back_and_forth_is_ignored_and_that_is_explained_also_after_a_restart() {
    let mut world = World::new(17, 1);
    world.run_for(secs(20));
    let told = |world: &mut World| {
        let look = Call::Look(Look::Explain(name(0)));
        let Ok(Answer::Explanation(found)) = world.call(look) else {
            panic!("it is explained");
        };
        found.facts.iter().any(|fact| fact.head == "identity")
    };
    for (to, ignored) in [("x1", false), ("n01", false), ("x1", true)] {
        swap(&mut world, to);
        drop(world.call(Call::FreshNode(name(0))));
        world.run_for(secs(30));
        assert_eq!(told(&mut world), ignored, "{to}");
    }
    world.crash();
    world.start();
    world.run_for(secs(5));
    assert!(told(&mut world));
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    let view = world.run_task(task, secs(60));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
}

#[test]
fn a_guid_that_changed_is_told_only_or_not_even_that_where_the_node_says_so() {
    for (identity, told) in [(Identity::Warn, true), (Identity::Off, false)] {
        let mut world = World::new(17, 1);
        world.crash();
        Arc::make_mut(&mut world.nodes[0].care).identity = identity;
        world.start();
        world.run_for(secs(20));
        swap(&mut world, "other");
        world.run_for(secs(90));
        let history = world.history("n01");
        let said = history
            .iter()
            .any(|entry| entry.text.contains("another one than before"));
        assert_eq!(said, told, "{identity:?}");
        let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
        let view = world.run_task(task, secs(60));
        assert_eq!(view.state, TaskState::Succeeded, "{identity:?}: {view:#?}");
    }
}

#[test]
fn a_bmc_that_has_no_guid_for_a_while_is_the_same_one() {
    let none = [[0; 16], [0xFF; 16], std::array::from_fn(|at| at as u8 + 1)];
    let mut world = World::new(18, 1);
    world.run_for(secs(20));
    let own = world.bmc("n01").settings_mut().guid;
    for guid in none.into_iter().flat_map(|none| [none, own]) {
        world.bmc("n01").settings_mut().guid = guid;
        world.bmc("n01").forget_sessions();
        world.run_for(secs(90));
        assert_eq!(world.bmc_change("n01"), None, "{guid:02x?}");
    }
    // And another one is still noticed after that.
    swap(&mut world, "other");
    world.run_for(secs(90));
    assert!(world.bmc_change("n01").is_some());
}

#[test]
fn a_bmc_without_a_guid_in_the_place_of_one_that_had_one_is_another_one_where_its_maker_is() {
    for guid in [[0; 16], std::array::from_fn(|at| at as u8 + 1)] {
        let mut world = World::new(19, 1);
        world.run_for(secs(20));
        // Somebody puts another board in.
        world.bmc("n01").settings_mut().guid = guid;
        world.bmc("n01").settings_mut().manufacturer = 674;
        world.bmc("n01").forget_sessions();
        // At once, before anything is asked while nobody waits.
        let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
        world.run_for(secs(60));
        let view = world.task(task);
        assert_eq!(view.state, TaskState::Suspended, "{view:#?}");
        assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
        let change = world.bmc_change("n01").expect("told");
        assert_eq!((change.maker_was, change.maker_is), (Some(0), Some(674)));
        assert!(change.is.is_nil());
        let text = world.node("n01").rackbmcd.bmc.trouble_text;
        assert!(text.is_some_and(|text| text.contains("no GUID, and another maker")));
        // Over a restart, too; and a person may say that it shall be.
        world.crash();
        world.start();
        world.run_for(secs(30));
        let guid = world.bmc_change("n01").expect("still").is;
        let (node, who) = (name(0), who());
        world.call(Call::Accept { node, guid, who }).unwrap();
        assert_eq!(world.bmc_change("n01"), None);
        let resumed = world.control(task, Control::Resume);
        resumed.expect("it may");
        let view = world.run_task(task, secs(60));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    }
}

#[test]
fn a_bmc_that_lost_its_guid_and_does_not_say_who_made_it_gets_no_order_that_changes_power() {
    let mut world = World::new(20, 1);
    world.run_for(secs(20));
    world.bmc("n01").settings_mut().guid = [0; 16];
    world.bmc("n01").forget_sessions();
    // Get Device ID.
    let refusal = CommandRefusal {
        net_fn: 6,
        command: 1,
        code: 0xC0,
        after: 0,
        times: u32::MAX,
    };
    world.mood("n01").command_refusals = vec![refusal];
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_for(secs(20));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
    world.mood("n01").command_refusals.clear();
    let view = world.run_task(task, secs(60));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
}
