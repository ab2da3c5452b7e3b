//! Batches: started, tried dry, controlled.

use super::*;
use crate::model::{
    Batch, BatchNode, BatchNodeState, BatchStart, BatchState, Control, OnFailure, PowerOptions,
};
use crate::rack::call::Look;

fn batch() -> Batch {
    Batch {
        id: UUID.parse().expect("a uuid"),
        version: 1,
        rack: "r1".into(),
        operation: Operation::PowerOn.into(),
        state: BatchState::Running.into(),
        requested_by: Who::default(),
        requested_at: at(1),
        ended_at: None,
        max_parallel: 4,
        stagger: Duration::from_millis(500),
        on_failure: OnFailure::Stop.into(),
        nodes: vec![BatchNode {
            node: "r1n01".into(),
            task: TASK.parse().ok(),
            state: BatchNodeState::Task(TaskState::Running).into(),
            note: None,
            refused: None,
            begins_after: None,
            takes_at_most: Some(Duration::from_secs(60)),
            plan: vec!["power on".into()],
        }],
        nodes_left_out: 0,
        counts: [("running".to_owned(), 1)].into(),
    }
}

#[test]
fn a_batch_is_started_with_its_policy() {
    let exchange = request("POST /v1/batches")
        .body(
            r#"{"nodes": ["r1n01", "r1n02"], "operation": "power on", "max_parallel": 4, "stagger": "500ms",
                "on_failure": "stop", "order": ["storage", "compute"]}"#,
        )
        .send_to(|_| Ok(Answer::Batch(batch())));
    assert_eq!(exchange.status(), 202);
    assert_eq!(
        exchange.header("location"),
        Some(format!("http://rack.example:6385/v1/batches/{UUID}").as_str())
    );
    let wanted = BatchStart {
        operation: Operation::PowerOn,
        nodes: vec!["r1n01".into(), "r1n02".into()],
        options: PowerOptions::default(),
        max_parallel: 4,
        stagger: Duration::from_millis(500),
        on_failure: OnFailure::Stop,
        order: vec!["storage".into(), "compute".into()],
        exclude: Vec::new(),
        dry_run: false,
    };
    assert!(
        matches!(&exchange.calls[..], [Call::StartBatch { request, .. }] if *request == wanted)
    );
    insta::assert_snapshot!(exchange.text(), @r####"
{"id":"1be26c0b-03f2-4d2e-ae87-c02d7f33c123","version":1,"rack":"r1","operation":"power on","state":"running","requested_by":{"name":"","uid":null,"gid":null,"pid":null,"request":""},"requested_at":"2015-08-01T00:00:01.000000+00:00","ended_at":null,"max_parallel":4,"stagger":0.5,"on_failure":"stop","nodes":[{"node":"r1n01","task":"01890a5d-ac96-774b-bcce-b302099a8057","state":"running","note":null,"refused":null,"begins_after":null,"takes_at_most":60,"plan":["power on"]}],"nodes_left_out":0,"counts":{"running":1}}
"####);
}

#[test]
fn a_dry_run_has_no_place_and_no_nodes_is_never_all() {
    let plan = request("POST /v1/batches")
        .body(r#"{"nodes": ["r1n01"], "operation": "power on", "dry_run": true}"#)
        .send_to(|_| Ok(Answer::Batch(batch())));
    assert_eq!((plan.status(), plan.header("location")), (200, None));
    for body in [
        r#"{"nodes": [], "operation": "power on"}"#,
        r#"{"operation": "power on"}"#,
        r#"{"nodes": ["r1n01"], "operation": "power on", "on_failure": "panic"}"#,
        r#"{"nodes": ["r1n01"], "operation": "power on", "max_parallel": -1}"#,
    ] {
        let exchange = request("POST /v1/batches").body(body).send();
        assert_eq!(
            (exchange.status(), exchange.calls.len()),
            (400, 0),
            "{body}"
        );
    }
    let empty = request(&format!("POST /v1/batches/{UUID}/abort"))
        .body(r#"{"nodes": []}"#)
        .send();
    assert_eq!((empty.status(), empty.calls.len()), (400, 0));
}

#[test]
fn a_batch_takes_sets_groups_and_exclusions_as_the_client_does() {
    let named = |body: &str| {
        let exchange = request("POST /v1/batches")
            .body(body)
            .send_to(|call| match call {
                Call::Look(Look::Nodes) => Ok(Answer::Nodes(rack())),
                _ => Ok(Answer::Batch(batch())),
            });
        match exchange.calls.last() {
            Some(Call::StartBatch { request, .. }) => Ok(request.nodes.clone()),
            _ => Err(exchange.status()),
        }
    };
    let body = |nodes: &str, rest: &str| {
        format!(r#"{{"nodes": [{nodes}], "operation": "power off"{rest}}}"#)
    };
    let all = ["r1n01", "r1n02", "r1n03", "r1n04"];
    assert_eq!(named(&body(r#""r1n[01-04]""#, "")).unwrap(), all);
    assert_eq!(named(&body(r#""@all""#, "")).unwrap(), all);
    assert_eq!(
        named(&body(r#""@storage", "r1n01""#, "")).unwrap(),
        ["r1n03", "r1n04", "r1n01"]
    );
    let without = r#", "exclude": ["@storage"]"#;
    assert_eq!(named(&body(r#""@all""#, without)).unwrap(), all[..2]);
    // Names that are written one by one are the rack's to find.
    assert_eq!(named(&body(r#""r1n77""#, "")).unwrap(), ["r1n77"]);
    assert_eq!(named(&body(r#""@compute""#, "")), Err(400));
    assert_eq!(named(&body(r#""r1n[01-""#, "")), Err(400));
    assert_eq!(
        named(&body(r#""r1n01""#, r#", "exclude": ["r1n01"]"#)),
        Err(400)
    );
    assert_eq!(
        named(&body(r#""@all""#, r#", "exclude": ["r1n09"]"#)),
        Err(404)
    );
    assert_eq!(
        named(&body(
            r#""@all""#,
            r#", "on_busy": "skip", "take_over": "running""#
        )),
        Err(400)
    );
}

/// Four nodes, two of them for storage.
fn rack() -> Vec<Node> {
    let node = |number: u128| {
        let mut node = node();
        node.name = format!("r1n{number:02}").into();
        node.uuid = Uuid::from_u128(number);
        node.rackbmcd.groups = match number > 2 {
            true => ["storage".to_owned()].into(),
            false => [].into(),
        };
        node
    };
    (1..=4).map(node).collect()
}

#[test]
fn a_batch_takes_the_same_controls_for_all_or_for_some() {
    let rack = |_| Ok(Answer::Batch(batch()));
    let whole = request(&format!("POST /v1/batches/{UUID}/suspend")).send_to(rack);
    assert!(
        matches!(&whole.calls[..], [Call::ControlBatch { control: Control::Suspend, nodes, .. }] if nodes.is_empty())
    );
    let some = request(&format!("POST /v1/batches/{UUID}/abort"))
        .body(r#"{"nodes": ["r1n01"]}"#)
        .send_to(rack);
    assert!(
        matches!(&some.calls[..], [Call::ControlBatch { control: Control::Abort, nodes, .. }] if nodes == &["r1n01"])
    );
    let rack = |call: Call| match call {
        Call::AwaitBatch { .. } => Ok(Answer::Waited),
        _ => Ok(Answer::Batch(batch())),
    };
    let waited = request(&format!("GET /v1/batches/{UUID}?wait=5")).send_to(rack);
    // The look after it has its turn among the long answers: hundreds may wait for the end of one
    // batch.
    assert!(
        matches!(waited.calls[..], [Call::AwaitBatch { wait, .. }, Call::Look(Look::Batch(_))] if wait == Duration::from_secs(5))
    );
}
