//! Journeys around corners, in virtual time: what once went wrong at the seams between the rooms,
//! one claim each.

mod world;

use rackbmcd::ipmi::SuiteId;
use rackbmcd::model::{
    Batch, BatchStart, Control, OnFailure, Operation, PowerOptions, PowerState, Target, TaskState,
};
use rackbmcd::rack::call::{Answer, Call, Look, Refused};
use rackbmcd::rack::record::Table;
use rackbmcd::session::{AuthChoice, Protocol};
use rackbmcd::sim::{Babble, ChassisOrder, Conditions, OsMood};
use std::sync::Arc;
use std::time::Duration;
use world::{World, batch_of, millis, secs, who};

#[test]
fn a_task_on_a_bmc_that_was_found_dead_hears_of_it_at_once() {
    let mut world = World::new(31, 1);
    world.bmc("n01").settings_mut().users[0].password = b"another".to_vec();
    world.run_for(secs(130));
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    let view = world.run_task(task, secs(1));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
}

fn batch(nodes: &[&str], timeout: u64) -> BatchStart {
    let options = PowerOptions {
        timeout: Some(secs(timeout)),
        ..PowerOptions::default()
    };
    BatchStart {
        options,
        ..batch_of(nodes, Operation::SoftPowerOff)
    }
}

fn look_at_batch(world: &mut World, batch: &Batch) -> Batch {
    match world.call(Call::Look(Look::Batch(batch.id))) {
        Ok(Answer::Batch(view)) => view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rollback_gives_no_order_while_the_rack_is_paused_and_goes_on_after_the_release() {
    for step in 0..24 {
        let mut world = World::new(40 + step, 1);
        world.run_for(secs(3));
        let task = world.start_task("n01", Operation::SoftReboot, PowerOptions::default());
        while world.is_on("n01") {
            world.run_for(millis(100));
        }
        world.run_for(secs(2));
        world.control(task, Control::Rollback).unwrap();
        world.commit_takes = millis(400);
        world.run_for(secs(8) + millis(200) * u32::try_from(step).unwrap());
        let pause = Call::Pause {
            reason: "smoke".into(),
            who: who(),
        };
        world.call(pause).unwrap();
        let before = world.executed("n01", ChassisOrder::On);
        world.run_for(secs(30));
        let after = world.executed("n01", ChassisOrder::On);
        assert_eq!(before, after, "step {step}: an order left a paused rack");
        world.call(Call::Release { who: who() }).unwrap();
        let view = world.run_task(task, secs(20));
        assert_eq!(view.state, TaskState::RolledBack, "step {step}: {view:#?}");
        assert!(world.is_on("n01"));
    }
}

#[test]
fn no_power_on_that_was_held_back_leaves_after_its_task_was_aborted() {
    let conditions = Conditions {
        loss: 0.45,
        ..Conditions::default()
    };
    for seed in 0..60 {
        let mut world = World::new(seed, 5);
        for place in 0..5 {
            let now = world.now;
            world
                .bmc(&world::name(place))
                .order_by_somebody(ChassisOrder::Off, now);
        }
        world.settings.power_on_stagger = secs(4);
        world.crash();
        world.start();
        world.run_for(secs(5));
        let tasks: Vec<_> = (0..5)
            .map(|place| {
                world.start_task(
                    &world::name(place),
                    Operation::PowerOn,
                    PowerOptions::default(),
                )
            })
            .collect();
        (0..5).for_each(|place| world.link(&world::name(place), conditions));
        world.run_for(secs(12) + millis(300 * seed));
        for task in &tasks {
            // Those that have ended refuse it.
            let _ = world.control(*task, Control::Abort);
        }
        let answered = world.left.len();
        // Before the first reading that follows an abort.
        world.run_for(secs(11));
        let late = world.left[answered..]
            .iter()
            .filter(|left| left.order.is_some())
            .count();
        assert_eq!(late, 0, "seed {seed}: orders left after the aborts");
    }
}

/// What came of a sweep over these nodes, in the order of its end, and how long it took.
fn swept(world: &mut World, nodes: &[String]) -> (Vec<(String, bool)>, Duration) {
    let began = world.now;
    let nodes = nodes.to_vec();
    let mut news = world.call(Call::Sweep { nodes });
    let mut read = Vec::new();
    loop {
        let Ok(Answer::Sweep(found)) = news else {
            panic!("{news:?}");
        };
        let lines = found.nodes.iter();
        read.extend(lines.map(|line| (line.node.name.to_string(), line.fresh)));
        if found.ended {
            return (read, world.now - began);
        }
        news = world.call(Call::AwaitSweep {
            sweep: found.sweep,
            seen: found.seen,
            wait: secs(9),
        });
    }
}

#[test]
fn a_sweep_reads_many_nodes_and_the_dead_keep_nobody_waiting() {
    let mut world = World::new(36, 8);
    world.run_for(secs(3));
    let names: Vec<String> = (0..8).map(world::name).collect();
    let (read, took) = swept(&mut world, &names);
    assert_eq!(read.len(), 8);
    assert!(read.iter().all(|(_, fresh)| *fresh), "{read:?}");
    assert!(took < secs(1), "{took:?}");
    world.mood("n03").dead = true;
    let (read, took) = swept(&mut world, &names);
    assert_eq!(read.last(), Some(&("n03".to_owned(), false)));
    assert_eq!(read.iter().filter(|(_, fresh)| *fresh).count(), 7);
    assert!(took <= secs(6), "{took:?}");
}

#[test]
fn a_sweep_leaves_out_what_the_configuration_has_not_any_more() {
    let mut world = World::new(37, 3);
    world.run_for(secs(3));
    world.mood("n03").dead = true;
    let names: Vec<String> = (0..3).map(world::name).collect();
    let Ok(Answer::Sweep(begun)) = world.call(Call::Sweep { nodes: names }) else {
        panic!("no sweep");
    };
    world.run_for(secs(1));
    let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
    nodes.truncate(2);
    let now = world.now;
    world.rack().reload(settings, nodes, now).unwrap();
    let (sweep, seen, wait) = (begun.sweep, begun.seen, secs(9));
    let news = world.call(Call::AwaitSweep { sweep, seen, wait });
    let Ok(Answer::Sweep(news)) = news else {
        panic!("{news:?}");
    };
    assert!(news.ended);
    let named: Vec<_> = news.nodes.iter().map(|read| &*read.node.name).collect();
    assert_eq!(named, ["n01", "n02"]);
    let over = world.call(Call::AwaitSweep { sweep, seen, wait });
    assert_eq!(over, Err(Refused::NoSuchSweep));
}

#[test]
fn a_batch_goes_on_without_the_node_that_was_taken_out_of_the_configuration() {
    for gone in 0..2 {
        let mut world = World::new(35, 2);
        world.mood("n01").os = OsMood::Hangs;
        world.mood("n02").os = OsMood::Hangs;
        world.run_for(secs(3));
        let batch = world.start_batch(batch(&["n01", "n02"], 120));
        world.run_for(secs(5));
        world.crash();
        world.nodes.remove(gone);
        world.start();
        world.run_for(secs(5));
        let view = look_at_batch(&mut world, &batch);
        assert_eq!((view.state.as_str(), view.ended_at), ("running", None));
        world.run_for(secs(130));
        assert_eq!(look_at_batch(&mut world, &batch).state.as_str(), "ended");
    }
}

#[test]
fn a_batch_that_was_stopped_by_a_failure_begins_nothing_after_a_resume() {
    let mut world = World::new(36, 2);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(3));
    let request = BatchStart {
        max_parallel: 1,
        on_failure: OnFailure::Stop,
        ..batch(&["n01", "n02"], 20)
    };
    let started = world.start_batch(request);
    let second = started.nodes[1].task.unwrap();
    world.run_for(secs(5));
    assert_eq!(
        world.state(second),
        TaskState::Queued,
        "in the order asked for"
    );
    world.control(second, Control::Suspend).unwrap();
    world.run_for(secs(30));
    assert_eq!(world.state(second), TaskState::Cancelled);
    assert!(world.is_on("n02"));
}

#[test]
fn a_task_that_was_suspended_in_the_queue_begins_with_its_resume() {
    let mut world = World::new(37, 1);
    world.run_for(secs(3));
    world.commit_takes = millis(500);
    let call = world.ask(Call::Start {
        node: "n01".into(),
        operation: Operation::PowerOff,
        options: PowerOptions::default(),
        who: who(),
    });
    let Ok(Answer::Tasks(tasks)) = world.call(Call::Look(Look::Tasks {
        node: None,
        batch: None,
        short: None,
        active: true,
        limit: 9,
    })) else {
        panic!()
    };
    let task = tasks[0].id;
    world.control(task, Control::Suspend).unwrap();
    world.commit_takes = millis(1);
    world.control(task, Control::Resume).unwrap();
    world.run_for(millis(50));
    assert_eq!(world.state(task), TaskState::Running);
    assert!(world.take_answer(call).is_some());
}

#[test]
fn a_task_that_begins_before_the_first_sync_shows_what_it_read() {
    let mut world = World::new(38, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(5));
    let node = world.node("n01");
    assert_eq!(
        (node.power_state, node.target_power_state),
        (PowerState::On, Some(Target::SoftPowerOff.into()))
    );
}

#[test]
fn the_caller_of_an_nmi_is_answered_within_five_seconds_of_a_slow_disk_and_no_nmi_follows() {
    let mut world = World::new(39, 1);
    world.run_for(secs(3));
    world.commit_takes = secs(8);
    let before = world.now;
    let answer = world.call(Call::InjectNmi {
        node: "n01".into(),
        who: who(),
    });
    assert!(
        matches!(answer, Err(Refused::Unanswered { .. })),
        "{answer:?}"
    );
    assert!(world.now - before <= secs(5));
    world.run_for(secs(200));
    let executed = world.executed("n01", ChassisOrder::Nmi);
    assert_eq!(executed, 0, "who was told no gets no NMI later");
}

#[test]
fn a_reload_that_leaves_the_log_in_alone_tries_no_refused_password_again() {
    let mut world = World::new(44, 1);
    world.bmc("n01").settings_mut().users[0].password = b"another".to_vec();
    world.run_for(secs(130));
    let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
    nodes[0].groups = vec!["storage".into()].into();
    let (now, before) = (world.now, world.left.len());
    world.rack().reload(settings, nodes, now).unwrap();
    world.run_for(secs(130));
    assert_eq!(world.left.len(), before, "two log-ins were refused");
}

/// Eight machines switched off one after the other; what left for whom and when, and the world
/// afterwards.
fn switch_eight_off(babbles: bool) -> (Vec<(Duration, usize, bool)>, World) {
    let mut world = World::new(77, 8);
    let began = world.now;
    world.run_for(secs(3));
    if babbles {
        world.mood("n01").babble = Some(Babble { every: millis(1) });
    }
    let nodes = (0..8).map(world::name);
    let tasks: Vec<_> = nodes
        .map(|node| world.start_task(&node, Operation::PowerOff, PowerOptions::default()))
        .collect();
    world.run_for(secs(40));
    for task in tasks {
        assert_eq!(world.state(task), TaskState::Succeeded);
    }
    let left = world.left.iter();
    let left = left.map(|left| (left.at - began, left.node, left.order.is_some()));
    (left.collect(), world)
}

#[test]
fn a_thousand_packets_of_garbage_a_second_from_one_bmc_move_nothing_by_a_microsecond() {
    let (quiet, _) = switch_eight_off(false);
    let (noisy, world) = switch_eight_off(true);
    assert!(world.arrived > 40_000, "{} arrived", world.arrived);
    for (quiet, noisy) in quiet.iter().zip(&noisy) {
        assert_eq!(quiet, noisy);
    }
    assert_eq!(quiet.len(), noisy.len());
}

#[test]
fn what_a_bmc_counts_as_wrong_log_ins_stops_before_it_locks_anybody_out() {
    for firmware in [false, true] {
        let mut world = World::new(78, 1);
        if firmware {
            // The password is right, and the BMC wants RAKP 3 otherwise.
            world.mood("n01").quirks.rakp3_level_only = true;
        } else {
            // IPMI 1.5, where a BMC says nothing to a wrong password.
            world.crash();
            Arc::make_mut(&mut world.nodes[0].login).protocol =
                Protocol::V15(AuthChoice::Strongest);
            world.bmc("n01").settings_mut().offers_v15 = true;
            world.bmc("n01").settings_mut().users[0].password = b"another".to_vec();
            world.start();
        }
        world.mood("n01").lock_out = Some((5, secs(300)));
        world.run_for(secs(590));
        let counters = world.bmc("n01").counters();
        assert_eq!(counters.log_ins_refused, 4, "{counters:?}");
    }
}

#[test]
fn the_suite_and_the_quirks_that_worked_are_known_after_a_restart() {
    let mut world = World::new(79, 1);
    world.bmc("n01").settings_mut().suites = vec![8];
    world.mood("n01").quirks.key_constants_as_long_as_digest = true;
    world.crash();
    Arc::make_mut(&mut world.nodes[0].login).suites = vec![SuiteId(17), SuiteId(8)];
    world.start();
    world.run_for(secs(30));
    assert_eq!(world.power_state("n01"), PowerState::On);
    let seen = |world: &mut World| {
        let counters = world.bmc("n01").counters();
        (counters.log_ins_refused, counters.sessions_opened)
    };
    // Suite 17 is refused in each of the two handshakes, of which the second has the other
    // constants.
    let (refused, opened) = seen(&mut world);
    assert_eq!(opened, 2);
    assert!((1..=2).contains(&refused), "{refused}");
    world.crash();
    world.start();
    world.run_for(secs(30));
    assert_eq!(world.power_state("n01"), PowerState::On);
    assert_eq!(seen(&mut world), (refused, opened + 1), "at once and right");
    let mut nodes = world.remembered(Table::Nodes);
    let evidence = |(_, value): (&str, &[u8])| {
        let text = String::from_utf8_lossy(value).into_owned();
        text.contains("k_const=digest")
    };
    assert!(nodes.any(evidence));
}

#[test]
fn a_bad_network_is_seldom_taken_for_a_wrong_password_over_ipmi_1_5() {
    let mut succeeded = 0;
    for seed in 0..40 {
        let mut world = World::new(1000 + seed, 1);
        world.crash();
        Arc::make_mut(&mut world.nodes[0].login).protocol = Protocol::V15(AuthChoice::Strongest);
        world.bmc("n01").settings_mut().offers_v15 = true;
        let loss = 0.2;
        let lossy = Conditions {
            loss,
            ..Conditions::default()
        };
        world.link("n01", lossy);
        world.start();
        world.run_for(secs(20));
        let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
        let view = world.run_task(task, secs(200));
        succeeded += u32::from(view.state == TaskState::Succeeded);
    }
    // Each log-in fails with 0.36, and four in a row count as a wrong password.
    assert!(succeeded >= 38, "{succeeded} of 40");
}

#[test]
fn an_abort_that_names_a_soft_reboot_ends_it_also_where_the_first_reading_said_off() {
    let mut world = World::new(60, 1);
    let now = world.now;
    world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
    world.run_for(secs(70));
    let (asked, before) = (world.now, world.power_state("n01"));
    let task = world.put_power("n01", "soft rebooting", PowerOptions::default());
    let task = task.unwrap().expect("it begins").id;
    let said_off = |world: &mut World| {
        let target = world.node("n01").target_power_state;
        target == Some(Target::PowerOn.into())
    };
    assert!(world.run_until(asked + secs(1), said_off));
    let answer = world.put_power("n01", "abort soft rebooting", PowerOptions::default());
    let aborted = answer.unwrap().expect("there was something to abort");
    assert_eq!(
        (aborted.id, aborted.state),
        (task, TaskState::Aborted.into())
    );
    let left = world.left.len();
    assert_eq!(world.power_state("n01"), before);
    world.run_for(secs(10));
    let late = world.left[left..].iter();
    assert_eq!(late.filter(|left| left.order.is_some()).count(), 0);
    assert!(!world.is_on("n01"));
    let nothing = world.put_power("n01", "abort soft rebooting", PowerOptions::default());
    assert_eq!(nothing, Ok(None));
}

#[test]
fn a_node_is_read_soon_after_an_abort_and_after_a_soft_operation_that_failed() {
    for control in [true, false] {
        let mut world = World::new(61, 1);
        world.mood("n01").os = OsMood::Hangs;
        world.run_for(secs(3));
        let options = PowerOptions {
            timeout: Some(secs(12)),
            ..PowerOptions::default()
        };
        let task = world.start_task("n01", Operation::SoftPowerOff, options);
        world.run_for(secs(3));
        if control {
            world.control(task, Control::Abort).unwrap();
        }
        world.run_task(task, secs(15));
        let ended = world.now;
        assert_eq!(world.power_state("n01"), PowerState::Error);
        let known = |world: &mut World| world.power_state("n01") == PowerState::On;
        assert!(world.run_until(ended + secs(25), known));
        let took = world.now - ended;
        assert!(took >= millis(11_900) && took <= secs(19), "{took:?}");
    }
}

#[test]
fn whoever_wants_a_busy_node_hears_whose_it_is_and_a_batch_names_every_one() {
    let mut world = World::new(62, 3);
    for node in ["n01", "n02"] {
        world.mood(node).os = OsMood::Hangs;
        world.start_task(node, Operation::SoftPowerOff, PowerOptions::default());
    }
    world.run_for(secs(5));
    let refused = world.put_power("n01", "power off", PowerOptions::default());
    let said = refused.unwrap_err().to_string();
    for word in [
        "n01: soft power off by alice",
        "s left",
        "rackbmc abort n01",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let request = batch_of(&["n01", "n02", "n03"], Operation::PowerOff);
    let who = who();
    let said = world.call(Call::StartBatch { request, who }).unwrap_err();
    let said = said.to_string();
    for node in ["rackbmc abort n01", "rackbmc abort n02"] {
        assert!(said.contains(node), "{said}");
    }
    assert!(!said.contains("n03"), "{said}");
}
