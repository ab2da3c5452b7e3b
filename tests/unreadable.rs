//! Entries of the journal that cannot be read: the daemon starts, says which and why, keeps power
//! orders from whom such an entry may be about until a person discards it, and everybody else is
//! served as always.

mod daemon;
mod world;

use daemon::{Bed, DAEMON, Keys, Said, plan};
use rackbmcd::daemon::store::Store;
use rackbmcd::model::{Control, OnFailure, Operation, PowerOptions, TaskId, TaskState};
use rackbmcd::rack::call::{Answer, Call, Look, Refused};
use rackbmcd::rack::record::{Table, Write};
use rackbmcd::sim::{ChassisOrder, Mood, OsMood};
use std::process::Command;
use world::{World, batch_of, millis, secs, who};

/// The text of an entry.
fn entry(world: &World, table: Table, key: &str) -> String {
    let mut entries = world.remembered(table);
    let (_, value) = entries
        .find(|(found, _)| *found == key)
        .expect("it is there");
    String::from_utf8(value.to_vec()).expect("text")
}

/// Restarts the daemon with another value under a key.
fn restart_with(world: &mut World, table: Table, key: &str, value: &str) {
    world.crash();
    world.damage(table, key, value.as_bytes());
    world.start();
    world.run_for(secs(5));
}

/// What a power order on a node is refused with.
#[track_caller]
fn refusal(world: &mut World, node: &str) -> String {
    let operation = Operation::PowerOff;
    let options = PowerOptions::default();
    let node = node.to_owned();
    match world.call(Call::Start {
        node,
        operation,
        options,
        who: who(),
    }) {
        Err(refused @ Refused::Unreadable { .. }) => refused.to_string(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn works(world: &mut World, node: &str) {
    let task = world.start_task(node, Operation::PowerOff, PowerOptions::default());
    let ended = world.run_task(task, secs(120));
    assert_eq!(ended.state, TaskState::Succeeded, "{:?}", ended.outcome);
    let task = world.start_task(node, Operation::PowerOn, PowerOptions::default());
    assert_eq!(world.run_task(task, secs(120)).state, TaskState::Succeeded);
}

fn hanging(world: &mut World, node: &str) -> TaskId {
    world.mood(node).os = OsMood::Hangs;
    let task = world.start_task(node, Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(5));
    task
}

#[test]
fn a_task_that_cannot_be_read_holds_its_node_and_no_other() {
    let mut world = World::new(1, 3);
    let id = hanging(&mut world, "n02");
    let key = id.to_string();
    let whole = entry(&world, Table::Tasks, &key);
    let broken = whole.replace("soft_waiting", "no_such_phase");
    assert_ne!(broken, whole);
    restart_with(&mut world, Table::Tasks, &key, &broken);
    let refused = refusal(&mut world, "n02");
    for words in [
        "node n02 takes no order that changes power",
        &format!("the journal's entry tasks {id} cannot be read"),
        "unknown variant `no_such_phase`",
        &format!("rackbmcd --discard tasks {id}"),
    ] {
        assert!(refused.contains(words), "{refused}");
    }
    works(&mut world, "n01");
    works(&mut world, "n03");
    // It is still looked at, and everybody can see what is wrong.
    assert!(world.node("n02").rackbmcd.reading.is_some());
    let Ok(Answer::Health(health)) = world.call(Call::Look(Look::Health)) else {
        panic!("no health")
    };
    let found = &health.unreadable[..];
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].table[..], &found[0].key[..]),
        ("tasks", &key[..])
    );
    assert_eq!(found[0].nodes, ["n02"]);
    let Ok(Answer::Explanation(told)) = world.call(Call::Look(Look::Explain("n02".into()))) else {
        panic!("no answer")
    };
    let fact = told.facts.iter().find(|fact| fact.head == "cannot be read");
    assert!(fact.expect("it is told").text.contains(&key));
    assert_eq!(world.executed("n02", ChassisOrder::Off), 0);
    // Nothing was written over it, however often the daemon restarts.
    let now = world.now;
    world.rack().stop(now);
    world.run_for(secs(5));
    assert_eq!(entry(&world, Table::Tasks, &key), broken);
    world.crash();
    world.start();
    refusal(&mut world, "n02");
    world.crash();
    world.discard(Table::Tasks, &key);
    world.start();
    world.run_for(secs(5));
    works(&mut world, "n02");
}

#[test]
fn a_task_of_which_nothing_is_left_is_found_through_its_batch_and_else_holds_everybody() {
    let mut world = World::new(2, 3);
    for node in ["n01", "n02", "n03"] {
        world.mood(node).os = OsMood::Hangs;
    }
    let batch = world.start_batch(batch_of(&["n01", "n02"], Operation::SoftPowerOff));
    let other = hanging(&mut world, "n03");
    let id = batch.nodes[1].task.expect("a task");
    restart_with(&mut world, Table::Tasks, &id.to_string(), "\u{1}garbage");
    refusal(&mut world, "n02");
    assert_eq!(world.state(other), TaskState::Running, "n03 goes on");
    // Alone it could be anybody's: those that are under way stand still, and go on when it is
    // discarded.
    let stray = TaskId::from_u128(0x0123_4567);
    restart_with(&mut world, Table::Tasks, &stray.to_string(), "");
    assert_eq!(world.state(other), TaskState::Suspended);
    let phase = world.task(other).phase;
    assert!(
        phase.contains(&format!("unreadable entry tasks {stray}")),
        "{phase}"
    );
    world.run_for(secs(600));
    assert_eq!(world.state(other), TaskState::Suspended);
    assert!(world.control(other, Control::Resume).is_err());
    world.crash();
    world.discard(Table::Tasks, &stray.to_string());
    world.start();
    world.run_for(secs(2));
    assert_eq!(world.state(other), TaskState::Running);
}

#[test]
fn a_batch_goes_not_past_a_member_that_cannot_be_read() {
    let mut world = World::new(3, 3);
    for (place, group) in ["first", "first", "second"].into_iter().enumerate() {
        world.nodes[place].groups = vec![group.to_owned()].into();
    }
    world.crash();
    world.start();
    world.mood("n01").os = OsMood::Hangs;
    let mut request = batch_of(&["n01", "n02", "n03"], Operation::SoftPowerOff);
    request.order = vec!["first".to_owned(), "second".to_owned()];
    request.on_failure = OnFailure::Stop;
    let batch = world.start_batch(request);
    world.run_for(secs(20));
    let tasks: Vec<TaskId> = batch
        .nodes
        .iter()
        .map(|node| node.task.expect("a task"))
        .collect();
    assert_eq!(
        (world.state(tasks[1]), world.state(tasks[2])),
        (TaskState::Succeeded, TaskState::Queued)
    );
    restart_with(&mut world, Table::Tasks, &tasks[0].to_string(), "[]");
    world.run_for(secs(700));
    assert_eq!(world.state(tasks[2]), TaskState::Queued);
    world.crash();
    world.discard(Table::Tasks, &tasks[0].to_string());
    world.start();
    world.run_for(secs(60));
    assert_eq!(world.state(tasks[2]), TaskState::Succeeded);
    let Ok(Answer::Batch(view)) = world.call(Call::Look(Look::Batch(batch.id))) else {
        panic!("no batch")
    };
    assert!(view.ended_at.is_some());
}

#[test]
fn a_batch_that_cannot_be_read_holds_its_tasks_that_have_not_ended() {
    let mut world = World::new(4, 3);
    world.mood("n01").os = OsMood::Hangs;
    let batch = world.start_batch(batch_of(&["n01", "n02"], Operation::SoftPowerOff));
    world.run_for(secs(20));
    let task = batch.nodes[0].task.expect("a task");
    restart_with(&mut world, Table::Batches, &batch.id.to_string(), "{}");
    refusal(&mut world, "n01");
    assert_eq!(world.state(task), TaskState::Suspended);
    works(&mut world, "n02");
    works(&mut world, "n03");
    world.crash();
    world.discard(Table::Batches, &batch.id.to_string());
    world.start();
    world.run_for(secs(2));
    assert_eq!(world.state(task), TaskState::Running);
}

#[test]
fn a_node_whose_own_entry_cannot_be_read_is_held_and_the_entry_stays() {
    let mut world = World::new(5, 2);
    world.run_for(secs(5));
    let key = world.node("n01").uuid.to_string();
    restart_with(&mut world, Table::Nodes, &key, "{\"created_at\":-1}");
    refusal(&mut world, "n01");
    works(&mut world, "n02");
    let call = Call::SetMaintenance {
        node: "n01".into(),
        hold: Some(None),
        who: who(),
    };
    assert!(
        matches!(world.call(call), Err(Refused::Unreadable { .. })),
        "it could not be kept"
    );
    world.run_for(secs(100));
    assert_eq!(entry(&world, Table::Nodes, &key), "{\"created_at\":-1}");
    world.crash();
    world.discard(Table::Nodes, &key);
    world.start();
    works(&mut world, "n01");
    // Under a key that is nobody's it is of one that has no entry.
    let whole = entry(&world, Table::Nodes, &key);
    world.crash();
    world.discard(Table::Nodes, &key);
    world.damage(Table::Nodes, "n-o-uuid", whole.as_bytes());
    for _ in 0..3 {
        world.start();
        world.run_for(secs(70));
        refusal(&mut world, "n01");
        world.crash();
    }
    world.start();
    works(&mut world, "n02");
}

/// The key of the entry that came after that one.
fn next_in_history(key: &str) -> String {
    let (node, number) = key.split_once('/').expect("a node and a number");
    format!("{node}/{:020}", number.parse::<u64>().unwrap() + 1)
}

#[test]
fn history_decides_nothing_but_is_kept_too() {
    let mut world = World::new(6, 2);
    works(&mut world, "n01");
    let (key, _) = world
        .remembered(Table::History)
        .last()
        .expect("something happened");
    let key = key.to_owned();
    restart_with(&mut world, Table::History, &key, "nothing");
    works(&mut world, "n01");
    assert_eq!(entry(&world, Table::History, &key), "nothing");
    let whole = entry(&world, Table::History, &next_in_history(&key));
    restart_with(
        &mut world,
        Table::History,
        &key,
        &whole.replace("\"kind\"", "\"sort\""),
    );
    refusal(&mut world, "n01");
    works(&mut world, "n02");
}

#[test]
fn a_pause_that_cannot_be_read_is_a_pause() {
    let mut world = World::new(7, 2);
    let before = hanging(&mut world, "n01");
    let call = Call::Pause {
        reason: "a leak".into(),
        who: who(),
    };
    assert!(world.call(call).is_ok());
    restart_with(&mut world, Table::Rack, "pause", "{\"hold\":1}");
    let Ok(Answer::Pausing(Some(hold))) = world.call(Call::Look(Look::Pausing)) else {
        panic!("not paused")
    };
    let reason = hold.reason.expect("a reason");
    assert!(
        reason.contains("what the journal says of it cannot be read (invalid type"),
        "{reason}"
    );
    let refused = world.put_power("n02", "power off", PowerOptions::default());
    assert!(
        matches!(refused, Err(Refused::Paused { .. })),
        "{refused:?}"
    );
    assert!(world.call(Call::Release { who: who() }).is_ok());
    works(&mut world, "n02");
    assert_eq!(
        world.state(before),
        TaskState::Suspended,
        "nobody knows who suspended it"
    );
    assert!(world.control(before, Control::Resume).is_ok());
    world.crash();
    world.start();
    let Ok(Answer::Health(health)) = world.call(Call::Look(Look::Health)) else {
        panic!("no health")
    };
    assert_eq!((health.pause, health.unreadable), (None, vec![]));
}

#[test]
fn a_rollback_stands_still_beside_an_unreadable_entry_and_goes_on_without_it() {
    let mut world = World::new(8, 1);
    world.mood("n01").os = OsMood::ObeysAfter(secs(40));
    let task = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(10));
    assert!(world.control(task, Control::Rollback).is_ok());
    world.run_for(millis(500));
    assert_eq!(world.state(task), TaskState::RollingBack);
    restart_with(&mut world, Table::Tasks, "stray", "");
    world.run_for(secs(300));
    assert_eq!(world.state(task), TaskState::RollingBack);
    assert_eq!(world.executed("n01", ChassisOrder::On), 0);
    world.crash();
    world.discard(Table::Tasks, "stray");
    world.start();
    assert_eq!(world.run_task(task, secs(120)).state, TaskState::RolledBack);
    assert_eq!(world.executed("n01", ChassisOrder::On), 1);
}

/// `rackbmcd --discard tasks KEY`
fn discard(bed: &Bed, key: &str) -> Said {
    let mut command = Command::new(DAEMON);
    command.arg("--config").arg(bed.path("rackbmcd.toml"));
    let output = command.args(["--discard", "tasks", key]).output();
    Said::of(output.expect("it runs"))
}

#[test]
fn the_real_daemon_starts_says_it_and_takes_orders_again_when_it_is_discarded() {
    let plans = ["n01", "n02"].map(|name| {
        plan(
            name,
            Mood {
                os: OsMood::Hangs,
                ..Mood::default()
            },
        )
    });
    let mut bed = Bed::of(plans, &Keys::default());
    bed.start();
    let said = bed.expect(0, &["soft", "n01", "--no-wait", "-o", "json"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let (_, tasks) = bed.request("GET", "/v1/tasks", "").expect("an answer");
    let tasks: serde_json::Value = serde_json::from_str(&tasks).expect("JSON");
    let id = tasks["tasks"][0]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{said}"))
        .to_owned();
    bed.terminate();
    let mut store = Store::open(&bed.path("state")).expect("it is free");
    let value = store
        .entry(Table::Tasks, &id)
        .expect("it can be read")
        .expect("it is there");
    let value = String::from_utf8(value)
        .expect("text")
        .replace("\"until\"", "\"til\"");
    let write = Write::Put {
        table: Table::Tasks,
        key: id.clone(),
        value: value.into_bytes().into(),
    };
    store.commit(&[write]).expect("it is written");
    drop(store);
    bed.start();
    let line = format!("the journal's entry tasks {id} cannot be read: unknown field `til`");
    assert!(bed.log().contains(&line), "{}", bed.log());
    let said = bed.rackbmc(&["off", "n01", "--no-wait"]);
    assert_ne!(said.code, 0);
    let command = format!("rackbmcd --discard tasks {id}");
    assert!(said.err.contains(&command), "{}", said.err);
    let (_, health) = bed.request("GET", "/healthz", "").expect("an answer");
    assert!(health.contains(&id), "{health}");
    assert!(bed.expect(0, &["explain", "n01"]).contains(&command));
    bed.expect(0, &["off", "n02"]);
    let running = discard(&bed, &id);
    assert_eq!(running.code, 1);
    assert!(
        running
            .err
            .contains("stop it, discard the entry, and start it again"),
        "{}",
        running.err
    );
    bed.terminate();
    assert_eq!(discard(&bed, "nothing").code, 1);
    let done = discard(&bed, &id);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(
        done.out.contains(&format!("discarded tasks {id}")),
        "{}",
        done.out
    );
    bed.start();
    bed.expect(0, &["off", "n01"]);
    assert!(!bed.is_on("n01"));
    let trail = bed.expect(0, &["audit"]);
    assert!(
        trail.contains("DISCARD") || trail.contains("discard"),
        "{trail}"
    );
}
