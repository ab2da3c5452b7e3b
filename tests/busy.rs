//! Requests for nodes that a task has: refused, left out, or taken over; controls of batches and
//! what their members say.

mod world;

use rackbmcd::model::{
    BatchStart, Control, OnBusy, OnFailure, Operation, PowerOptions, TakeOver, TaskId, TaskState,
    Who,
};
use rackbmcd::rack::call::{Answer, Call, Look, Refused};
use rackbmcd::rack::settings::MaintenancePolicy;
use rackbmcd::sim::{ChassisOrder, OsMood};
use world::{World, batch_of, millis, secs, who};

fn take_over(take_over: TakeOver) -> PowerOptions {
    PowerOptions {
        on_busy: Some(OnBusy::TakeOver),
        take_over: Some(take_over),
        ..PowerOptions::default()
    }
}

fn start(
    world: &mut World,
    operation: Operation,
    options: PowerOptions,
) -> Result<TaskId, Refused> {
    start_as(world, operation, options, who())
}

fn start_as(
    world: &mut World,
    operation: Operation,
    options: PowerOptions,
    who: Who,
) -> Result<TaskId, Refused> {
    let node = "n01".to_owned();
    match world.call(Call::Start {
        node,
        operation,
        options,
        who,
    })? {
        Answer::Task(task) => Ok(task.id),
        other => panic!("{other:?}"),
    }
}

/// A node whose operating system ignores the power button, and the soft power off that waits for
/// it.
fn hanging(seed: u64, count: usize) -> (World, TaskId) {
    let mut world = World::new(seed, count);
    world.run_for(secs(3));
    world.mood("n01").os = OsMood::Hangs;
    let soft = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(2));
    (world, soft)
}

#[test]
fn a_hard_off_takes_a_hanging_soft_off_over_and_both_say_so() {
    let (mut world, soft) = hanging(1, 1);
    let refused = start(&mut world, Operation::PowerOff, PowerOptions::default()).unwrap_err();
    let Refused::Locked { detail, task, .. } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(task, soft);
    assert!(
        detail.contains("soft power off by alice is running"),
        "{detail}"
    );
    assert!(
        detail.contains("to take the node over: --take-over"),
        "{detail}"
    );
    let hard = start(
        &mut world,
        Operation::PowerOff,
        take_over(TakeOver::Running),
    )
    .expect("a take-over");
    let view = world.task(soft);
    assert_eq!(view.state, TaskState::Aborted);
    assert_eq!(view.taken_over_by, Some(hard));
    let outcome = view.outcome.unwrap_or_default();
    let said = format!("alice, who asked for power off (task {hard})");
    assert!(outcome.contains(&said), "{outcome}");
    let view = world.run_task(hard, secs(30));
    assert_eq!(
        (view.state.clone(), view.took_over),
        (TaskState::Succeeded.into(), Some(soft))
    );
    assert!(!world.is_on("n01"));
    assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
}

#[test]
fn nothing_of_the_old_task_leaves_after_the_answer() {
    let (mut world, soft) = hanging(2, 1);
    let orders = world.task(soft).orders.len();
    start(
        &mut world,
        Operation::PowerOff,
        take_over(TakeOver::Running),
    )
    .expect("a take-over");
    world.run_for(secs(700));
    assert_eq!(world.task(soft).orders.len(), orders);
    assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
}

#[test]
fn a_task_that_still_waits_for_its_turn_is_taken_over_too() {
    let mut world = World::new(3, 2);
    world.run_for(secs(3));
    let batch = world.start_batch(BatchStart {
        max_parallel: 1,
        ..batch_of(&["n02", "n01"], Operation::Reboot)
    });
    let queued = batch.nodes[1].task.expect("a task");
    assert_eq!(world.state(queued), TaskState::Queued);
    let off = start(
        &mut world,
        Operation::PowerOff,
        take_over(TakeOver::Running),
    )
    .unwrap();
    assert_eq!(world.state(queued), TaskState::Aborted);
    assert_eq!(world.run_task(off, secs(30)).state, TaskState::Succeeded);
    assert_eq!(world.executed("n01", ChassisOrder::On), 0);
}

#[test]
fn what_people_made_stand_still_is_taken_over_by_name_only_and_only_to_switch_off() {
    let (mut world, soft) = hanging(4, 1);
    world.control(soft, Control::Suspend).expect("a suspension");
    for options in [PowerOptions::default(), take_over(TakeOver::Running)] {
        let refused = start(&mut world, Operation::PowerOff, options).unwrap_err();
        assert!(
            refused.to_string().contains("--take-over=suspended"),
            "{refused}"
        );
    }
    let anyhow = take_over(TakeOver::Suspended);
    for operation in [Operation::PowerOn, Operation::Reboot, Operation::Reset] {
        assert!(
            start(&mut world, operation, anyhow.clone()).is_err(),
            "{operation}"
        );
    }
    let off = start(&mut world, Operation::PowerOff, anyhow).expect("a take-over");
    assert_eq!(world.state(soft), TaskState::Aborted);
    assert_eq!(world.run_task(off, secs(30)).state, TaskState::Succeeded);
}

#[test]
fn a_rollback_is_taken_over_by_name_only() {
    let (mut world, soft) = hanging(5, 1);
    world.control(soft, Control::Rollback).expect("a rollback");
    assert_eq!(world.state(soft), TaskState::RollingBack);
    assert!(
        start(
            &mut world,
            Operation::PowerOff,
            take_over(TakeOver::Running)
        )
        .is_err()
    );
    let off = start(
        &mut world,
        Operation::PowerOff,
        take_over(TakeOver::Suspended),
    )
    .unwrap();
    assert_eq!(world.state(soft), TaskState::Aborted);
    assert_eq!(world.run_task(off, secs(30)).state, TaskState::Succeeded);
    world.run_for(secs(120));
    assert!(!world.is_on("n01"), "the rollback is over");
}

#[test]
fn a_node_in_maintenance_is_taken_over_by_name_only() {
    let (mut world, soft) = hanging(6, 1);
    world
        .call(Call::SetMaintenance {
            node: "n01".into(),
            hold: Some(Some("fan".into())),
            who: who(),
        })
        .expect("maintenance");
    assert!(
        start(
            &mut world,
            Operation::PowerOff,
            take_over(TakeOver::Running)
        )
        .is_err()
    );
    let off = start(
        &mut world,
        Operation::PowerOff,
        take_over(TakeOver::Suspended),
    )
    .unwrap();
    assert_eq!(world.state(soft), TaskState::Aborted);
    assert_eq!(world.run_task(off, secs(30)).state, TaskState::Succeeded);
}

#[test]
fn a_request_that_is_made_again_ends_nothing_of_its_own() {
    let (mut world, soft) = hanging(7, 1);
    let fencer = Who {
        name: "fencer".into(),
        request: "req-7d8e1a52-6c0f-4b7a-9a51-3d1f0e6a7b10".into(),
        ..Who::default()
    };
    let over = take_over(TakeOver::Running);
    let first = start_as(
        &mut world,
        Operation::PowerOff,
        over.clone(),
        fencer.clone(),
    )
    .unwrap();
    let again = start_as(
        &mut world,
        Operation::PowerOff,
        over.clone(),
        fencer.clone(),
    )
    .unwrap();
    assert_eq!(first, again);
    assert_eq!(world.run_task(first, secs(30)).state, TaskState::Succeeded);
    world.crash();
    world.start();
    let again = start_as(&mut world, Operation::PowerOff, over.clone(), fencer).unwrap();
    assert_eq!(first, again, "over a restart, and after its end");
    let other = start(&mut world, Operation::PowerOff, over).unwrap();
    assert_ne!(first, other);
    assert_eq!(world.state(soft), TaskState::Aborted);
}

/// Somebody whose requests have this id.
fn under(request: &str) -> Who {
    Who {
        name: "alice".into(),
        request: request.into(),
        ..Who::default()
    }
}

const KEY: &str = "key-7d8e1a52-6c0f-4b7a-9a51-3d1f0e6a7b10";

#[test]
fn a_request_with_a_key_is_carried_out_once_however_often_it_is_made() {
    let mut world = World::new(21, 1);
    world.run_for(secs(3));
    let cycle = |world: &mut World, who: &Who| {
        start_as(
            world,
            Operation::Cycle,
            PowerOptions::default(),
            who.clone(),
        )
    };
    let first = cycle(&mut world, &under(KEY)).unwrap();
    assert_eq!(cycle(&mut world, &under(KEY)), Ok(first), "while it runs");
    assert_eq!(world.run_task(first, secs(60)).state, TaskState::Succeeded);
    let off = start(&mut world, Operation::PowerOff, PowerOptions::default()).unwrap();
    world.run_task(off, secs(60));
    let on = start(&mut world, Operation::PowerOn, PowerOptions::default()).unwrap();
    world.run_task(on, secs(60));
    assert_eq!(cycle(&mut world, &under(KEY)), Ok(first), "after its end");
    world.crash();
    world.start();
    world.run_for(secs(3));
    assert_eq!(cycle(&mut world, &under(KEY)), Ok(first), "in another life");
    assert_eq!(world.executed("n01", ChassisOrder::Cycle), 1);
    let other = start_as(
        &mut world,
        Operation::Reset,
        PowerOptions::default(),
        under(KEY),
    );
    let other = other.unwrap();
    assert_ne!(other, first, "another operation is another request");
    world.run_task(other, secs(60));
    let bob = Who {
        name: "bob".into(),
        ..under(KEY)
    };
    let bobs = cycle(&mut world, &bob).unwrap();
    assert_ne!(bobs, first, "and so is somebody else's");
    world.run_task(bobs, secs(60));
    world.run_for(secs(3600));
    let late = cycle(&mut world, &under(KEY)).unwrap();
    assert!(
        late != first && late != bobs,
        "an hour later it is a new one"
    );
}

#[test]
fn under_a_request_id_that_many_requests_may_have_only_the_last_one_is_known_again() {
    let mut world = World::new(22, 1);
    world.run_for(secs(3));
    let nova = under("req-7d8e1a52-6c0f-4b7a-9a51-3d1f0e6a7b10");
    let ask = |world: &mut World, operation| {
        start_as(world, operation, PowerOptions::default(), nova.clone()).unwrap()
    };
    let press = |world: &mut World, operation| {
        let task = ask(world, operation);
        world.run_task(task, secs(60));
        task
    };
    let cycle = press(&mut world, Operation::Cycle);
    assert_eq!(press(&mut world, Operation::Cycle), cycle);
    assert_eq!(world.executed("n01", ChassisOrder::Cycle), 1);
    let off = ask(&mut world, Operation::PowerOff);
    assert_eq!(press(&mut world, Operation::PowerOff), off, "while it runs");
    let on = press(&mut world, Operation::PowerOn);
    let again = press(&mut world, Operation::PowerOff);
    assert!(again != off && again != on);
    // Somebody may have pressed the button of the machine since.
    assert_ne!(press(&mut world, Operation::PowerOff), again);
    assert!(!world.is_on("n01"));
}

#[test]
fn a_batch_and_an_nmi_that_are_asked_for_again_are_there_already() {
    let mut world = World::new(23, 3);
    world.run_for(secs(3));
    let batch = |world: &mut World, nodes: &[&str]| {
        let request = batch_of(nodes, Operation::Reset);
        match world.call(Call::StartBatch {
            request,
            who: under(KEY),
        }) {
            Ok(Answer::Batch(batch)) => batch.id,
            other => panic!("{other:?}"),
        }
    };
    let first = batch(&mut world, &["n01", "n02"]);
    assert_eq!(batch(&mut world, &["n02", "n01"]), first);
    world.run_for(secs(60));
    assert_eq!(batch(&mut world, &["n01", "n02"]), first);
    assert_ne!(batch(&mut world, &["n01", "n02", "n03"]), first);
    world.run_for(secs(60));
    assert_eq!(world.executed("n01", ChassisOrder::Reset), 2);
    let nmi = |world: &mut World| {
        let node = "n03".to_owned();
        match world.call(Call::InjectNmi {
            node,
            who: under(KEY),
        }) {
            Ok(Answer::Task(task)) => task.id,
            other => panic!("{other:?}"),
        }
    };
    let first = nmi(&mut world);
    assert_eq!(nmi(&mut world), first);
    world.run_for(secs(100));
    assert_eq!(nmi(&mut world), first);
    assert_eq!(world.executed("n03", ChassisOrder::Nmi), 1);
}

#[test]
fn a_take_over_holds_over_a_crash_at_every_moment_around_it() {
    for after in (0..60).map(|step| millis(step * 3)) {
        let (mut world, soft) = hanging(8, 1);
        world.ask(Call::Start {
            node: "n01".into(),
            operation: Operation::Cycle,
            options: take_over(TakeOver::Running),
            who: who(),
        });
        world.run_for(after);
        world.crash();
        world.start();
        world.run_for(secs(700));
        let cycles = world.executed("n01", ChassisOrder::Cycle);
        assert!(cycles <= 1, "{cycles} after {after:?}");
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
        let soft = world.task(soft);
        if let Some(successor) = soft.taken_over_by {
            assert_eq!(soft.state, TaskState::Aborted);
            assert_eq!(world.task(successor).took_over, Some(soft.id));
            assert!(world.task(successor).ended);
        } else {
            assert_eq!(
                soft.state,
                TaskState::Failed,
                "it went on, out of time: {after:?}"
            );
            assert_eq!(cycles, 0);
        }
    }
}

#[test]
fn a_member_that_is_taken_over_counts_as_aborted_and_stops_nothing() {
    let mut world = World::new(9, 3);
    world.run_for(secs(3));
    world.mood("n01").os = OsMood::Hangs;
    let batch = world.start_batch(BatchStart {
        on_failure: OnFailure::Stop,
        max_parallel: 1,
        ..batch_of(&["n01", "n02", "n03"], Operation::SoftPowerOff)
    });
    world.run_for(secs(2));
    start(
        &mut world,
        Operation::PowerOff,
        take_over(TakeOver::Running),
    )
    .unwrap();
    world.run_for(secs(60));
    let states: Vec<TaskState> = batch
        .nodes
        .iter()
        .map(|node| world.state(node.task.unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            TaskState::Aborted,
            TaskState::Succeeded,
            TaskState::Succeeded
        ]
    );
}

#[test]
fn a_batch_leaves_busy_nodes_out_takes_them_over_or_does_nothing() {
    let (mut world, soft) = hanging(10, 3);
    let nodes = ["n01", "n02", "n03"];
    let all = |options| BatchStart {
        options,
        ..batch_of(&nodes, Operation::PowerOff)
    };
    let request = all(PowerOptions::default());
    let refused = world.call(Call::StartBatch {
        request,
        who: who(),
    });
    assert!(
        matches!(refused, Err(Refused::Locked { .. })),
        "{refused:?}"
    );
    assert!(world.is_on("n02"), "all or none");
    let skip = PowerOptions {
        on_busy: Some(OnBusy::Skip),
        ..PowerOptions::default()
    };
    let batch = world.start_batch(all(skip.clone()));
    let left: Vec<_> = batch
        .nodes
        .iter()
        .filter(|node| node.task.is_none())
        .collect();
    assert_eq!(left.len(), 1);
    assert_eq!(
        (left[0].node.as_str(), left[0].state.as_str()),
        ("n01", "busy")
    );
    assert!(
        left[0]
            .note
            .as_ref()
            .unwrap()
            .contains("soft power off by alice")
    );
    world.run_for(secs(20));
    assert!(world.is_on("n01") && !world.is_on("n02") && !world.is_on("n03"));
    world.crash();
    world.start();
    let Ok(Answer::Batch(seen)) = world.call(Call::Look(Look::Batch(batch.id))) else {
        panic!("the batch is remembered");
    };
    assert_eq!(
        seen.nodes.iter().filter(|node| node.task.is_none()).count(),
        1
    );
    // Where all of them are busy there is nothing to leave them out of.
    let request = BatchStart {
        options: skip,
        ..batch_of(&["n01"], Operation::PowerOff)
    };
    let refused = world.call(Call::StartBatch {
        request,
        who: who(),
    });
    assert!(
        matches!(refused, Err(Refused::Locked { .. })),
        "{refused:?}"
    );
    world.start_batch(all(take_over(TakeOver::Running)));
    assert_eq!(world.state(soft), TaskState::Aborted);
    world.run_for(secs(20));
    assert!(!world.is_on("n01"));
}

#[test]
fn a_batch_that_is_refused_names_every_node_that_stands_against_it_with_its_reason() {
    let mut world = World::new(12, 5);
    world.crash();
    world.nodes[3].nmi = false;
    world.settings.maintenance_policy = MaintenancePolicy::Block;
    world.start();
    world.run_for(secs(3));
    for node in ["n01", "n02"] {
        world.mood(node).os = OsMood::Hangs;
        world.start_task(node, Operation::SoftPowerOff, PowerOptions::default());
    }
    let hold = Some(Some("fan".to_owned()));
    let node = "n03".to_owned();
    let who = who();
    world
        .call(Call::SetMaintenance { node, hold, who })
        .unwrap();
    let nodes = ["n01", "n02", "n03", "n04", "n05"];
    let mut refused = |nodes: &[&str], on_busy| {
        let options = PowerOptions {
            on_busy: Some(on_busy),
            ..PowerOptions::default()
        };
        let request = BatchStart {
            options,
            ..batch_of(nodes, Operation::InjectNmi)
        };
        let who = crate::who();
        let call = Call::StartBatch { request, who };
        world.call(call).unwrap_err().to_string()
    };
    let said = refused(&nodes, OnBusy::Fail);
    for words in [
        "nothing was begun, because of 4 of the 5 nodes: ",
        "node n01 is busy. n01: soft power off by alice",
        "node n02 is busy. n02: soft power off by alice",
        "node n03 is in maintenance: fan",
        "node n04 takes no inject nmi: the configuration says nmi = false",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let said = refused(&nodes, OnBusy::Skip);
    assert!(
        said.contains("because of 2 of the 5 nodes: node n03"),
        "{said}"
    );
    assert!(!said.contains("n01"), "{said}");
    let said = refused(&["n05", "n07", "n08"], OnBusy::Fail);
    let words =
        "because of 2 of the 3 nodes: node n07 could not be found; node n08 could not be found";
    assert!(said.contains(words), "{said}");
    let said = refused(&["n04", "n05"], OnBusy::Fail);
    assert!(said.starts_with("node n04 takes no inject nmi"), "{said}");
    world.run_for(secs(20));
    assert_eq!(world.executed("n05", ChassisOrder::Nmi), 0, "all or none");
}

#[test]
fn a_control_of_a_batch_tells_each_members_refusal() {
    let mut world = World::new(11, 3);
    world.run_for(secs(3));
    world.mood("n01").os = OsMood::Hangs;
    let batch = world.start_batch(BatchStart {
        max_parallel: 2,
        ..batch_of(&["n01", "n02", "n03"], Operation::SoftPowerOff)
    });
    world.run_for(secs(2));
    let control = |world: &mut World, control| {
        let nodes = Vec::new();
        let (batch, who) = (batch.id, who());
        world.call(Call::ControlBatch {
            batch,
            control,
            nodes,
            who,
        })
    };
    let refusals = |answer: Result<Answer, Refused>| match answer {
        Ok(Answer::Batch(view)) => {
            let nodes = view.nodes.into_iter();
            nodes
                .filter_map(|node| Some((node.node, node.refused?)))
                .collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let refused = refusals(control(&mut world, Control::Cancel));
    let names: Vec<&str> = refused.iter().map(|(node, _)| node.as_str()).collect();
    assert_eq!(names, ["n01", "n02"], "n03 had not begun");
    assert!(
        refused[0].1.contains("soft power off was sent"),
        "{refused:?}"
    );
    let resumed = refusals(control(&mut world, Control::Resume));
    assert!(
        resumed.iter().all(|(_, why)| why.contains("not suspended")),
        "{resumed:?}"
    );
    assert_eq!(refusals(control(&mut world, Control::Suspend)), []);
    assert_eq!(refusals(control(&mut world, Control::Suspend)).len(), 2);
    assert_eq!(refusals(control(&mut world, Control::Abort)), []);
    for ended in [
        Control::Abort,
        Control::Cancel,
        Control::Resume,
        Control::Rollback,
    ] {
        let answer = control(&mut world, ended);
        assert!(
            matches!(answer, Err(Refused::BatchEnded { .. })),
            "{answer:?}"
        );
    }
}

/// The same soft power off asked for again, with nothing but when it turns hard.
fn hard_after(seconds: u64) -> PowerOptions {
    PowerOptions {
        hard_after: Some(secs(seconds)),
        ..PowerOptions::default()
    }
}

#[test]
fn a_soft_off_that_runs_is_given_a_hard_one_by_the_same_request_with_a_time() {
    for crash in [false, true] {
        let (mut world, soft) = hanging(20, 1);
        world.run_for(secs(10));
        let given = start(&mut world, Operation::SoftPowerOff, hard_after(30)).unwrap();
        assert_eq!(given, soft, "no second task");
        if crash {
            world.crash();
            world.start();
        }
        world.run_for(secs(25));
        assert_eq!(world.executed("n01", ChassisOrder::Off), 0, "not before");
        let view = world.run_task(soft, secs(20));
        assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
        let said = view.outcome.unwrap();
        assert!(
            said.contains("alice asked for a hard power off 30.0 s later"),
            "{said}"
        );
        assert!(said.contains("so that it was switched off hard"), "{said}");
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
    }
}

#[test]
fn only_the_same_soft_operation_is_given_a_hard_one_and_no_task_that_stands_still_or_is_past_it() {
    let (mut world, soft) = hanging(21, 1);
    let other = start(&mut world, Operation::SoftReboot, hard_after(1)).unwrap_err();
    assert!(matches!(other, Refused::Locked { .. }), "{other}");
    let more = PowerOptions {
        timeout: Some(secs(60)),
        ..hard_after(1)
    };
    let more = start(&mut world, Operation::SoftPowerOff, more).unwrap_err();
    assert!(matches!(more, Refused::Locked { .. }), "{more}");
    // Its time is over before that.
    let longer = start(&mut world, Operation::SoftPowerOff, hard_after(601)).unwrap_err();
    assert!(matches!(longer, Refused::Locked { .. }), "{longer}");
    world.control(soft, Control::Suspend).unwrap();
    let still = start(&mut world, Operation::SoftPowerOff, hard_after(1)).unwrap_err();
    assert!(matches!(still, Refused::Locked { .. }), "{still}");
    world.run_for(secs(60));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
}
