//! What a rack makes of frozen records: a page of plain words for each, as people would see it.

use crate::frozen::Line;
use crate::world::{node, secs};
use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::entropy::Seeded;
use rackbmcd::model::{Batch, BatchState, Node, NodeDetail, Power, Role, Severity, Task, Word};
use rackbmcd::rack::call::{Answer, Call, CallId, Look};
use rackbmcd::rack::record::Table;
use rackbmcd::rack::rights::Rights;
use rackbmcd::rack::settings::{NodeSettings, RackSettings};
use rackbmcd::rack::stored::migrate;
use rackbmcd::rack::{Birth, Copied, Rack, Remembered};
use rackbmcd::time::{Instant, WallTime};
use serde_json::Value;
use std::fmt::Write;
use uuid::Uuid;

/// All that the lines of a format came to.
pub(crate) fn told(format: u64, lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let value = line.json();
        match line.table.as_str() {
            "tasks" => task(&mut text, format, line, &value),
            "batches" => batch(&mut text, format, line),
            "nodes" => node_of(&mut text, format, line),
            "history" => history(&mut text, format, line, &value),
            "rack" if line.key == "pause" => pause(&mut text, format, line),
            _ => {}
        }
    }
    text
}

/// A rack that was given these lines, brought to the newest format, with a node for each of these
/// uuids.
fn rack(format: u64, lines: &[&Line], nodes: &[(Uuid, String)], wall: u64) -> Rack {
    let remembered = brought(format, lines);
    let settings = |(uuid, name): &(Uuid, String)| NodeSettings {
        uuid: *uuid,
        name: name.as_str().into(),
        ..node(0)
    };
    Rack::new(
        RackSettings::default(),
        nodes.iter().map(settings).collect(),
        remembered,
        Birth {
            wall: WallTime::from_unix_micros(wall),
            now: Instant::after_start(secs(10)),
            boot: None,
            copied: Copied::No,
            succession: None,
        },
        Box::new(Seeded::new(1)),
    )
}

/// These lines in the newest format.
fn brought(format: u64, lines: &[&Line]) -> Vec<Remembered> {
    let mut upgrade = migrate::Upgrade::from(format);
    let brought = lines.iter().map(|line| {
        let table = Table::from_name(&line.table).expect("one of ours");
        let (key, value) = upgrade.entry(table, &line.key, line.value.clone());
        (table, key, value)
    });
    brought.collect()
}

fn ask(rack: &mut Rack, call: Call) -> Answer {
    let rights = Rights::everywhere_as(Role::Reader);
    rack.handle_call(CallId(1), call, &rights, Instant::after_start(secs(10)));
    answer(rack)
}

fn answer(rack: &mut Rack) -> Answer {
    let (_, answer) = rack.poll_answer().expect("it is answered at once");
    answer.expect("it is not refused")
}

fn uuid(value: &Value) -> Uuid {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a uuid")
}

/// Ten seconds after it was written, all of them while no daemon ran.
fn task(text: &mut String, format: u64, line: &Line, value: &Value) {
    let identity = &value["identity"];
    let name = identity["node"].as_str().expect("a name").to_owned();
    let written = value["written_at"].as_u64().expect("a time");
    let nodes = [(uuid(&identity["node_uuid"]), name)];
    let mut rack = rack(format, &[line], &nodes, written + 10_000_000);
    let Answer::Task(view) = ask(&mut rack, Call::Look(Look::Task(uuid(&identity["id"])))) else {
        panic!("that is no task");
    };
    let Task {
        node,
        operation,
        state,
        target_power_state,
        requested_by,
        power_at_start,
        power_state,
        ..
    } = &view;
    let target = target_power_state.as_ref().map_or("nothing", Word::as_str);
    let read = |power: &Option<Word<Power>>| {
        let power = power.as_ref().and_then(Word::known);
        power.map_or("not read", Power::name)
    };
    let _ = writeln!(
        text,
        "task {} on {node}: {operation}, {state}, towards {target}, for {}; at the start {}, now {}; batch {}",
        view.id,
        requested_by.name,
        read(power_at_start),
        read(power_state),
        view.batch.is_some(),
    );
    let left = view.time_left.map_or("none".to_owned(), |left| {
        format!("{:.3} s", left.as_secs_f64())
    });
    let _ = writeln!(
        text,
        "  {}: step {} of {}, elapsed {:.3} s, time left {left}",
        view.phase,
        view.step,
        view.steps,
        view.elapsed.as_secs_f64()
    );
    for order in &view.orders {
        let left = if order.left { "left" } else { "did not leave" };
        let answer = order.answer.as_deref().unwrap_or("no answer yet");
        let _ = writeln!(
            text,
            "  {} at {} {left}, {} times: {answer}",
            order.order, order.at, order.times
        );
    }
    for control in &view.controls {
        let _ = writeln!(
            text,
            "  {} by {} at {}",
            control.control, control.by, control.at
        );
    }
    if let Some(outcome) = &view.outcome {
        let _ = writeln!(text, "  {outcome}");
    }
}

/// Its tasks are unknown here; the batch is taken up where one of them is there.
fn batch(text: &mut String, format: u64, line: &Line) {
    let value = line.json();
    let task = &value["members"][0]["task"];
    let like = crate::frozen::lines(format);
    let like = like
        .iter()
        .find(|line| line.table == "tasks")
        .expect("there are tasks");
    let json = like.json();
    let id = json["identity"]["id"].as_str().expect("an id");
    let text_of = String::from_utf8(like.value.clone()).expect("text");
    let member = Line {
        table: "tasks".to_owned(),
        key: task.as_str().expect("an id").to_owned(),
        value: text_of
            .replace(id, task.as_str().expect("an id"))
            .into_bytes(),
    };
    let nodes = [(uuid(&json["identity"]["node_uuid"]), "n01".to_owned())];
    let mut rack = rack(format, &[&member, line], &nodes, 1_790_200_000_000_000);
    let Answer::Batch(view) = ask(&mut rack, Call::Look(Look::Batch(uuid(&value["id"])))) else {
        panic!("that is no batch");
    };
    let Batch {
        operation,
        requested_by,
        requested_at,
        ended_at,
        max_parallel,
        stagger,
        on_failure,
        ..
    } = &view;
    let ended = ended_at.map_or("not ended".to_owned(), |at| format!("ended at {at}"));
    let stopped = if view.state == BatchState::Stopped {
        "stopped"
    } else {
        "not stopped"
    };
    let _ = writeln!(
        text,
        "batch {}: {operation} for {} at {requested_at}, {ended}, {stopped}, {max_parallel} at once, {stagger:?} apart, {:?}",
        view.id,
        requested_by.name,
        on_failure.known().expect("a word of the rack"),
    );
    for node in &view.nodes {
        let _ = writeln!(
            text,
            "  {} {}",
            node.node,
            node.task.expect("it is no dry run")
        );
    }
}

fn node_of(text: &mut String, format: u64, line: &Line) {
    let nodes = [(line.key.parse().expect("a uuid"), "n01".to_owned())];
    let mut rack = rack(format, &[line], &nodes, 1_790_200_000_000_000);
    let Answer::Node(view) = ask(&mut rack, Call::Look(Look::Node("n01".to_owned()))) else {
        panic!("that is no node");
    };
    let Node {
        uuid,
        power_state,
        created_at,
        updated_at,
        last_error,
        ..
    } = &view;
    let NodeDetail {
        maintenance,
        fault,
        reading,
        bmc,
        ..
    } = &view.rackbmcd;
    let _ = writeln!(
        text,
        "node {uuid}: {power_state:?}, created {created_at}, updated {updated_at:?}, fault {:?}, suite {:?}",
        fault.as_ref().map(Word::as_str),
        bmc.cipher_suite
    );
    let _ = writeln!(
        text,
        "  read {:?}",
        reading.as_ref().map(|reading| {
            let power = reading.power_state.known();
            (power.expect("a word of the rack"), reading.at)
        })
    );
    let _ = writeln!(text, "  error {last_error:?}");
    let hold = maintenance
        .as_ref()
        .map(|hold| (&hold.reason, &hold.by, hold.since));
    let _ = writeln!(text, "  maintenance {hold:?}");
    let targets: Vec<_> = PowerTarget::ALL
        .into_iter()
        .filter(|target| view.takes(target.operation()))
        .map(PowerTarget::name)
        .collect();
    let _ = writeln!(text, "  takes {}", targets.join(", "));
}

fn history(text: &mut String, format: u64, line: &Line, value: &Value) {
    let nodes = [(uuid(&value["node"]), "n01".to_owned())];
    let mut rack = rack(format, &[line], &nodes, 1_790_200_000_000_000);
    let call = Call::History {
        node: "n01".to_owned(),
        limit: 10,
    };
    let (rights, now) = (
        Rights::everywhere_as(Role::Reader),
        Instant::after_start(secs(10)),
    );
    rack.handle_call(CallId(1), call, &rights, now);
    while let Some((ticket, _)) = rack.poll_writes() {
        rack.handle_durable(ticket, now);
    }
    let (look, _) = rack.poll_look().expect("the journal is looked at");
    let found = brought(format, &[line]).into_iter();
    let found = found.map(|(_, key, value)| (key, value)).collect();
    rack.handle_found(look, Ok(found), now);
    let Answer::History(entries) = answer(&mut rack) else {
        panic!("that is no history");
    };
    for entry in entries {
        let failed = entry.severity == Severity::Error;
        let _ = writeln!(
            text,
            "history {}: {} {} of {:?} by {:?}, error {}\n  {}",
            line.key, entry.at, entry.kind, entry.task, entry.by, failed, entry.text
        );
    }
}

fn pause(text: &mut String, format: u64, line: &Line) {
    let mut rack = rack(format, &[line], &[], 1_790_200_000_000_000);
    let Answer::Pausing(Some(hold)) = ask(&mut rack, Call::Look(Look::Pausing)) else {
        panic!("it is not paused");
    };
    let _ = writeln!(
        text,
        "paused by {} since {}: {}",
        hold.by,
        hold.since,
        hold.reason.unwrap_or_default()
    );
}
