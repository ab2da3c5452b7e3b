//! One HTTP request of somebody with one role, through the pure part of the API to a real rack:
//! whatever is asked, nothing is answered and nothing is done that is beyond the role.
//!
//! The first line says who asks: `none`, `reader`, `operator` or `admin`, and perhaps one of the
//! nodes `r1n01` and `r1n02` alone for which the role is good. What was done is not read from the
//! table of endpoints but from the journal: it bears the name of whoever did it.

use super::http::{Asker, World, check, request, send};
use rackbmcd::api::access::Peer;
use rackbmcd::model::{
    BatchStart, Grant, OnFailure, Operation, Policy, PowerOptions, Role, Subject, Who,
};
use rackbmcd::rack::call::Call;
use rackbmcd::rack::record::{Table, Write};
use rackbmcd::rack::rights::Rights;
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

/// Who asks.
const NAME: &str = "mallory";
/// What is open to whoever reaches the port.
const PUBLIC: [&str; 5] = ["", "/", "/v1", "/healthz", "/metrics"];

/// A role, and where it is good.
struct Held {
    role: Option<Role>,
    node: Option<String>,
}

/// Asks what `data` says.
pub(crate) fn run(data: &[u8]) {
    let line = data
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(data.len());
    let (who, data) = data.split_at(line);
    let Some(held) = held(who) else { return };
    let peer = Peer {
        user: Some(NAME.into()),
        ..Peer::unix(1000, 1000, Some(42))
    };
    let rights = policy(&held).rights(&peer);
    let Some(request) = request(data.get(1..).unwrap_or_default(), peer) else {
        return;
    };
    let public = PUBLIC.contains(&request.path.trim_end_matches('/'));
    let world = RefCell::new(busy_world());
    let asker = Rc::new(Asker { world, rights });
    let response = send(request, asker.clone());
    check(&response);
    let world = asker.world.borrow();
    if held.role.is_none() {
        assert_eq!(world.done, 0, "a call was done for nobody");
        assert!(public || response.status.as_u16() >= 300, "{response:?}");
    }
    let reads_trail = held.role == Some(Role::Admin) && held.node.is_none();
    assert!(reads_trail || !world.trail_read, "the audit trail was read");
    for write in &world.written {
        judge(write, &held);
    }
}

fn held(line: &[u8]) -> Option<Held> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let role = match words.next()? {
        "none" => None,
        "reader" => Some(Role::Reader),
        "operator" => Some(Role::Operator),
        "admin" => Some(Role::Admin),
        _ => return None,
    };
    let node = words.next().map(str::to_owned);
    let known = node
        .as_deref()
        .is_none_or(|node| node == "r1n01" || node == "r1n02");
    known.then_some(Held { role, node })
}

/// Somebody else has a role in any case: without any grant all are operators.
fn policy(held: &Held) -> Policy {
    let grant = |uid, role, nodes| Grant {
        to: Subject::Uid(uid),
        role,
        nodes,
    };
    let nodes = held.node.clone().map(|node| [node].into());
    let own = held.role.map(|role| grant(1000, role, nodes));
    Policy {
        grants: own
            .into_iter()
            .chain([grant(77, Role::Admin, None)])
            .collect(),
        ..Policy::default()
    }
}

/// A rack whose nodes have tasks, of a batch, and of somebody else.
fn busy_world() -> World {
    let mut world = World::new();
    let admin = Rights::everywhere_as(Role::Admin);
    let who = Who {
        name: "anna".into(),
        ..Who::default()
    };
    let request = BatchStart {
        operation: Operation::SoftPowerOff,
        nodes: vec!["r1n01".into(), "r1n02".into()],
        options: PowerOptions::default(),
        max_parallel: 0,
        stagger: Duration::ZERO,
        on_failure: OnFailure::Continue,
        order: Vec::new(),
        exclude: Vec::new(),
        dry_run: false,
    };
    let _ = world.ask(Call::StartBatch { request, who }, &admin);
    (world.done, world.written) = (0, Vec::new());
    world
}

/// What stands in the journal of the asker's doing must be within the role.
fn judge(write: &Write, held: &Held) {
    let Write::Put { table, key, value } = write else {
        return;
    };
    let Ok(value) = serde_json::from_slice::<Value>(value) else {
        return;
    };
    if !bears(&value, NAME) {
        return;
    }
    let place = format!("{} {key}: {value}", table.name());
    assert!(
        held.role > Some(Role::Reader),
        "a reader did something: {place}"
    );
    let text = value
        .pointer("/entry/text")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let expert = text.starts_with("raw command") || text.contains("BMC reset");
    assert!(
        held.role == Some(Role::Admin) || !expert,
        "an operator did it: {place}"
    );
    let Some(own) = &held.node else { return };
    let nodes: Vec<String> = match table {
        Table::Tasks => vec![at(&value, "/identity/node_uuid")],
        Table::History => vec![at(&value, "/node")],
        Table::Nodes => vec![key.clone()],
        Table::Batches => {
            let members = value["members"].as_array().cloned().unwrap_or_default();
            members.iter().map(|member| at(member, "/node")).collect()
        }
        Table::Rack | Table::Audit => vec!["the rack".to_owned()],
    };
    let number = if own == "r1n01" { 1 } else { 2 };
    let uuid = Uuid::from_u128(number).to_string();
    for node in nodes {
        assert!(node == uuid || node == *own, "another node: {place}");
    }
}

fn at(value: &Value, path: &str) -> String {
    let text = value.pointer(path).and_then(Value::as_str);
    text.unwrap_or("nobody's").to_owned()
}

/// Whether a name stands anywhere in it.
fn bears(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(members) => members.iter().any(|member| bears(member, name)),
        Value::Object(members) => members.values().any(|member| bears(member, name)),
        _ => false,
    }
}
