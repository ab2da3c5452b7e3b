//! Whole journeys in virtual time: from a call to the bytes on the wire, to the machine, and back.

mod world;

use rackbmcd::bmc::vocabulary::{Order, Reading, Route};
use rackbmcd::model::{Control, Operation, PowerOptions, PowerState, Target, TaskState};
use rackbmcd::rack::call::{Answer, Call, Look, Refused};
use rackbmcd::sim::{ChassisOrder, Conditions, OsMood};
use std::sync::Arc;
use world::{World, millis, secs, who};

fn patience(seconds: u64) -> PowerOptions {
    PowerOptions {
        timeout: Some(secs(seconds)),
        ..PowerOptions::default()
    }
}

#[test]
fn idle_nodes_are_read_and_shown() {
    let mut world = World::new(1, 4);
    assert_eq!(world.power_state("n01"), PowerState::Unknown);
    world.run_for(secs(3));
    assert_eq!(world.power_state("n01"), PowerState::On);
    assert_eq!(world.power_state("n04"), PowerState::On);
    let view = world.node("n02");
    assert!(view.rackbmcd.reading.unwrap().age <= secs(3));
    assert_eq!(view.rackbmcd.bmc.cipher_suite, Some(17));
}

#[test]
fn a_soft_power_off_is_followed_until_the_machine_is_read_as_off() {
    let mut world = World::new(2, 1);
    world.mood("n01").os = OsMood::ObeysAfter(secs(20));
    world.run_for(secs(3));
    let task = world
        .put_power("n01", "soft power off", patience(60))
        .unwrap()
        .unwrap();
    world.run_for(secs(5));
    let node = world.node("n01");
    assert_eq!(
        (node.power_state, node.target_power_state),
        (PowerState::On, Some(Target::SoftPowerOff.into()))
    );
    let view = world.run_task(task.id, secs(60));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    let node = world.node("n01");
    assert_eq!(
        (node.power_state, node.target_power_state),
        (PowerState::Off, None)
    );
    assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
    assert!(!world.is_on("n01"));
}

#[test]
fn a_soft_power_off_of_a_hanging_system_is_aborted_and_the_machine_left_as_it_is() {
    let mut world = World::new(3, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(3));
    let task = world
        .put_power("n01", "soft power off", patience(600))
        .unwrap()
        .unwrap();
    world.run_for(secs(30));
    let aborted = world
        .put_power("n01", "abort soft power off", PowerOptions::default())
        .unwrap()
        .unwrap();
    assert_eq!(
        (aborted.id, aborted.state),
        (task.id, TaskState::Aborted.into())
    );
    let before = world.left.len();
    let node = world.node("n01");
    assert_eq!(node.power_state, PowerState::Error);
    let said = node.last_error.unwrap();
    assert!(
        said.contains("alice") && said.contains("soft power off was sent"),
        "{said}"
    );
    world.run_for(secs(5));
    let orders = world.left[before..]
        .iter()
        .filter(|left| left.order.is_some())
        .count();
    assert_eq!(
        orders, 0,
        "nothing of a task leaves after its abort was answered"
    );
    assert!(world.is_on("n01"));
    world.run_for(secs(61));
    assert_eq!(
        world.power_state("n01"),
        PowerState::On,
        "the next sync overwrites the error"
    );
}

#[test]
fn a_soft_reboot_goes_down_waits_and_comes_back() {
    let mut world = World::new(4, 1);
    world.run_for(secs(3));
    let task = world
        .put_power("n01", "soft rebooting", patience(120))
        .unwrap()
        .unwrap();
    let view = world.run_task(task.id, secs(120));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert_eq!(world.power_state("n01"), PowerState::On);
    let changes = world.bmc("n01").host().power_changes().to_vec();
    let off = changes.iter().find(|change| !change.on).unwrap().at;
    let on = changes
        .iter()
        .find(|change| change.on && change.at > off)
        .unwrap()
        .at;
    assert!(on - off >= secs(10), "minimum off time");
}

#[test]
fn every_plain_operation_does_what_it_says() {
    for (operation, before, after) in [
        (Operation::PowerOff, true, false),
        (Operation::PowerOn, false, true),
        (Operation::Reboot, true, true),
        (Operation::Reset, true, true),
        (Operation::Cycle, true, true),
        (Operation::SoftPowerOff, true, false),
    ] {
        let mut world = World::new(5, 1);
        if !before {
            let now = world.now;
            world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
        }
        world.run_for(secs(3));
        let task = world.start_task("n01", operation, PowerOptions::default());
        let view = world.run_task(task, secs(90));
        assert_eq!(view.state, TaskState::Succeeded, "{operation}: {view:#?}");
        assert_eq!(world.is_on("n01"), after, "{operation}");
    }
}

#[test]
fn a_second_request_is_told_at_once_that_the_node_is_taken() {
    let mut world = World::new(6, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(3));
    world
        .put_power("n01", "soft power off", patience(60))
        .unwrap();
    let before = world.now;
    let refused = world
        .put_power("n01", "power off", PowerOptions::default())
        .unwrap_err();
    assert!(matches!(refused, Refused::Locked { .. }), "{refused}");
    assert_eq!(world.now, before, "at once");
}

#[test]
fn abort_targets_with_nothing_to_abort_are_a_success() {
    let mut world = World::new(7, 1);
    world.run_for(secs(3));
    for target in [
        "abort soft rebooting",
        "abort soft power off",
        "abort inject nmi",
    ] {
        assert_eq!(
            world
                .put_power("n01", target, PowerOptions::default())
                .unwrap(),
            None
        );
        assert_eq!(world.power_state("n01"), PowerState::On);
    }
}

#[test]
fn an_error_shows_what_was_read_beside_it_and_is_overwritten_some_fifteen_seconds_later() {
    let mut after = Vec::new();
    for seed in 60..70 {
        let mut world = World::new(seed, 1);
        world.run_for(secs(3));
        world.mood("n01").os = OsMood::Hangs;
        let time = if seed % 2 == 0 { 4 } else { 60 };
        let task = world.start_task("n01", Operation::SoftPowerOff, patience(time));
        world.run_for(secs(3));
        if time == 60 {
            world.control(task, Control::Abort).unwrap();
        } else {
            assert_eq!(world.run_task(task, secs(3)).state, TaskState::Failed);
        }
        let ended = world.now;
        let call = Call::FreshNode("n01".to_owned());
        let Ok(Answer::Node(node)) = world.call(call) else {
            panic!("it is read");
        };
        assert_eq!(node.power_state, PowerState::Error, "until the next sync");
        let reading = node.rackbmcd.reading.expect("just made");
        assert_eq!(
            reading.power_state.known(),
            Some(rackbmcd::model::Power::On)
        );
        while world.power_state("n01") == PowerState::Error {
            world.run_for(millis(100));
            assert!(world.now - ended < secs(20), "{seed}");
        }
        assert_eq!(world.power_state("n01"), PowerState::On);
        after.push((world.now - ended).as_millis());
    }
    let (least, most) = (after.iter().min(), after.iter().max());
    assert!(least >= Some(&11_900) && most <= Some(&18_500), "{after:?}");
    assert!(most > least, "not all at once: {after:?}");
}

#[test]
fn an_abort_of_what_the_configuration_forbids_is_refused_but_where_it_is_under_way() {
    let mut world = World::new(7, 1);
    world.run_for(secs(3));
    world
        .put_power("n01", "inject nmi", PowerOptions::default())
        .unwrap();
    world.run_for(secs(1));
    let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
    nodes[0].nmi = false;
    world.reload(settings, nodes).unwrap();
    let mut abort = || world.put_power("n01", "abort inject nmi", PowerOptions::default());
    assert!(abort().unwrap().is_some());
    let refused = abort().unwrap_err();
    assert!(matches!(refused, Refused::Forbidden { .. }), "{refused}");
}

#[test]
fn an_nmi_reaches_the_machine_once_and_its_crash_is_seen() {
    let mut world = World::new(8, 1);
    world.run_for(secs(3));
    let Ok(Answer::Task(task)) = world.call(Call::InjectNmi {
        node: "n01".into(),
        who: who(),
    }) else {
        panic!()
    };
    world.run_for(secs(20));
    let refused = world
        .put_power("n01", "inject nmi", PowerOptions::default())
        .unwrap_err();
    assert!(
        matches!(refused, Refused::WrongState { .. }),
        "a minimum interval: {refused}"
    );
    let view = world.run_task(task.id, secs(120));
    assert_eq!(world.executed("n01", ChassisOrder::Nmi), 1);
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert!(
        view.outcome.as_ref().unwrap().contains("crash"),
        "{view:#?}"
    );
}

#[test]
fn a_dead_bmc_is_said_within_five_seconds_and_then_at_once() {
    let mut world = World::new(9, 1);
    world.mood("n01").dead = true;
    let start = world.now;
    let Ok(Answer::Node(view)) = world.call(Call::FreshNode("n01".into())) else {
        panic!()
    };
    assert!(world.now - start <= secs(5), "{:?}", world.now - start);
    let second = world.now;
    let Ok(Answer::Node(again)) = world.call(Call::FreshNode("n01".into())) else {
        panic!()
    };
    assert!(world.now - second < millis(100), "{view:?} {again:?}");
    assert!(
        again
            .rackbmcd
            .bmc
            .trouble_text
            .is_some_and(|text| text.contains("no answer"))
    );
}

#[test]
fn a_wrong_password_is_said_and_tried_twice_only() {
    let mut world = World::new(10, 1);
    world.bmc("n01").settings_mut().users[0].password = b"another".to_vec();
    world.run_for(secs(400));
    let view = world.node("n01");
    assert!(
        view.rackbmcd
            .bmc
            .trouble_text
            .as_ref()
            .is_some_and(|text| text.contains("wrong password")),
        "{view:?}"
    );
    let explained = world.call(Call::Look(Look::Explain("n01".into())));
    let Ok(Answer::Explanation(explained)) = explained else {
        panic!("{explained:?}");
    };
    let failures = explained.failures.iter();
    let tries = failures
        .filter(|failure| failure.text.contains("wrong password"))
        .count();
    assert_eq!(tries, 2);
}

#[test]
fn a_bmc_that_forgets_sessions_or_is_away_for_a_minute_does_not_fail_the_task() {
    for (life, away) in [
        (Some(secs(13)), false),
        (None, true),
        (Some(secs(31)), true),
    ] {
        let mut world = World::new(14, 1);
        world.mood("n01").os = OsMood::ObeysAfter(secs(200));
        world.mood("n01").session_life = life;
        world.run_for(secs(3));
        let task = world.start_task("n01", Operation::SoftPowerOff, patience(400));
        world.run_for(secs(60));
        if away {
            let now = world.now;
            world.bmc("n01").reboot_bmc(now);
        }
        let view = world.run_task(task, secs(400));
        assert_eq!(
            view.state,
            TaskState::Succeeded,
            "{life:?} {away} {view:#?}"
        );
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
    }
}

#[test]
fn a_reset_of_the_bmc_is_sent_once_and_survived() {
    let mut world = World::new(15, 1);
    world.crash();
    Arc::make_mut(&mut world.nodes[0].login).privilege =
        rackbmcd::ipmi::PrivilegeLevel::Administrator;
    world.start();
    world.run_for(secs(3));
    let before = world.left.len();
    let order = Order::ResetBmc { cold: true };
    // Some BMCs answer before they go, others do not: both are an end.
    let _ = world.call(Call::Order {
        node: "n01".into(),
        order,
        who: who(),
    });
    let orders = world.left[before..]
        .iter()
        .filter(|left| left.order.is_some());
    assert_eq!(orders.count(), 1);
    let now = world.now;
    assert!(world.bmc("n01").is_deaf(now), "the BMC is away");
    assert!(world.is_on("n01"), "and its machine is not");
    world.run_for(secs(61));
    let task = world.start_task("n01", Operation::SoftPowerOff, patience(200));
    let view = world.run_task(task, secs(201));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
}

#[test]
fn a_suspended_soft_reboot_stands_still_over_a_crash_and_goes_on() {
    let mut world = World::new(11, 1);
    world.run_for(secs(3));
    let task = world.start_task("n01", Operation::SoftReboot, patience(120));
    while world.is_on("n01") {
        world.run_for(millis(100));
    }
    world.control(task, Control::Suspend).unwrap();
    world.run_for(secs(30));
    world.crash();
    world.run_for(secs(1000));
    world.start();
    world.run_for(secs(100));
    assert!(!world.is_on("n01"), "pull the cable in peace");
    assert_eq!(world.state(task), TaskState::Suspended);
    world.control(task, Control::Resume).unwrap();
    let view = world.run_task(task, secs(90));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    assert!(world.is_on("n01"));
}

#[test]
fn what_a_full_disk_cannot_remember_is_not_begun() {
    let mut world = World::new(12, 2);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(3));
    let running = world.start_task("n01", Operation::SoftPowerOff, patience(600));
    world.run_for(secs(5));
    world.disk_full = Some("no space left on device");
    let refused = world
        .put_power("n02", "power off", PowerOptions::default())
        .unwrap_err();
    assert!(matches!(refused, Refused::Store(_)), "{refused}");
    world.run_for(secs(20));
    assert!(world.is_on("n02"));
    assert_eq!(
        world.state(running),
        TaskState::Running,
        "the old ones are not lost"
    );
    let refused = world.control(running, Control::Abort).unwrap_err();
    assert!(matches!(refused, Refused::Unremembered(_)), "{refused}");
    assert_eq!(world.state(running), TaskState::Aborted, "and done it is");
    world.disk_full = None;
    world.run_for(secs(10));
    world.crash();
    world.start();
    assert_eq!(world.state(running), TaskState::Aborted, "remembered late");
    let task = world
        .put_power("n02", "power off", PowerOptions::default())
        .unwrap()
        .unwrap();
    assert_eq!(
        world.run_task(task.id, secs(60)).state,
        TaskState::Succeeded
    );
}

#[test]
fn the_whole_journey_holds_at_thirty_percent_loss_over_many_seeds() {
    let conditions = Conditions {
        loss: 0.3,
        duplicate: 0.1,
        reorder: 0.1,
        delay: millis(2),
        jitter: millis(20),
        held_back: millis(300),
        ..Conditions::default()
    };
    for seed in 0..200 {
        let mut world = World::new(seed, 3);
        (1..=3).for_each(|node| world.link(&format!("n0{node}"), conditions));
        world.mood("n02").os = OsMood::Hangs;
        world.run_for(secs(20));
        let down = world.start_task("n01", Operation::SoftPowerOff, patience(120));
        let hung = world.start_task("n02", Operation::SoftReboot, patience(300));
        let reset = world.start_task("n03", Operation::Reset, PowerOptions::default());
        world.run_for(secs(25));
        world
            .control(hung, Control::Abort)
            .unwrap_or_else(|refused| panic!("seed {seed}: {refused}"));
        let orders = |world: &World| {
            world
                .left
                .iter()
                .filter(|left| left.node == 1 && left.order.is_some())
                .count()
        };
        let answered = orders(&world);
        // Before the first reading that follows an abort.
        world.run_for(secs(11));
        assert_eq!(
            orders(&world),
            answered,
            "seed {seed}: an order left after the abort was answered"
        );
        let down = world.run_task(down, secs(121));
        assert!(
            world.executed("n03", ChassisOrder::Reset) <= 1,
            "seed {seed}: a pulse arrived twice"
        );
        let reset = world.run_task(reset, secs(121));
        if reset.state == TaskState::Succeeded {
            assert_eq!(
                world.executed("n03", ChassisOrder::Reset),
                1,
                "seed {seed}: {reset:#?}"
            );
        }
        if down.state == TaskState::Succeeded {
            assert!(!world.is_on("n01"), "seed {seed}: {down:#?}");
        }
        assert!(
            world.executed("n01", ChassisOrder::Soft) <= 2,
            "seed {seed}"
        );
    }
}

#[test]
fn power_ons_keep_their_distance_over_a_crash_even_where_the_disk_was_slow() {
    let mut world = World::new(13, 2);
    for name in ["n01", "n02"] {
        let now = world.now;
        world.bmc(name).order_by_somebody(ChassisOrder::Off, now);
    }
    world.run_for(secs(5));
    let first = world.start_task("n01", Operation::PowerOn, PowerOptions::default());
    let second = world.start_task("n02", Operation::PowerOn, PowerOptions::default());
    world.commit_takes = secs(3);
    let end = world.now + secs(10);
    assert!(world.run_until(end, |world| world.executed("n01", ChassisOrder::On) == 1));
    assert_eq!(world.executed("n02", ChassisOrder::On), 0);
    // It left three seconds after it was put down, and the next life knows only when that was.
    world.crash();
    world.commit_takes = millis(0);
    world.start();
    world.run_task(first, secs(60));
    world.run_task(second, secs(60));
    let on = |world: &mut World, name: &str| world.bmc(name).host().executed().last().unwrap().at;
    let apart = on(&mut world, "n02") - on(&mut world, "n01");
    assert!(apart >= world.settings.power_on_stagger, "{apart:?}");
}

#[test]
fn orders_of_a_new_life_have_other_ids_than_those_that_the_record_knows() {
    let mut world = World::new(14, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(3));
    let task = world.start_task("n01", Operation::SoftPowerOff, patience(600));
    let end = world.now + secs(10);
    assert!(world.run_until(end, |world| world.executed("n01", ChassisOrder::Soft) == 1));
    let before = world.left.len();
    let used: Vec<_> = world.left.iter().filter_map(|left| left.order).collect();
    world.run_for(secs(1));
    world.crash();
    world.start();
    world.run_for(secs(30));
    let again = world.left[before..]
        .iter()
        .filter(|left| left.life == 2)
        .filter_map(|left| left.order)
        .find(|order| used.contains(order));
    assert_eq!(
        again, None,
        "a reading would be taken for the old soft request"
    );
    assert_eq!(world.state(task), TaskState::Running);
}

/// Get Device ID, asked of whoever is at the end of `route`.
fn who_is(world: &mut World, route: Route) -> Result<Answer, Refused> {
    let order = Order::Raw {
        net_fn: 6,
        lun: 0,
        command: 1,
        data: Vec::new(),
        route,
    };
    world.call(Call::Order {
        node: "n01".into(),
        order,
        who: who(),
    })
}

#[test]
fn a_raw_command_is_bridged_once_and_twice_however_the_answer_comes_back() {
    let mut world = World::new(40, 1);
    world.run_for(secs(3));
    let behind = |channel, address| Route::Behind { channel, address };
    let beyond = Route::Beyond {
        transit_channel: 0,
        transit_address: 0x82,
        channel: 7,
        address: 0x72,
    };
    for inside in [false, true] {
        world.mood("n01").quirks.bridged_answer_inside = inside;
        // Get Device ID: the product number in bytes 10 and 11 tells who answered (§20.1).
        for (route, product) in [(Route::Direct, 1), (behind(0, 0x2C), 2), (beyond, 4)] {
            let answer = who_is(&mut world, route);
            assert!(
                matches!(&answer, Ok(Answer::Reading(Reading::Raw(data))) if data[9] == product),
                "{inside} {route:?}: {answer:?}"
            );
        }
        assert!(matches!(
            who_is(&mut world, behind(0, 0x40)),
            Err(Refused::Bmc { code: 0x83, .. })
        ));
    }
}
