//! Our own surface.

use super::*;
use crate::bmc::vocabulary::{EventLogEntry, Order, Reading, Sign};
use crate::model::{
    Batch, BatchNode, BatchNodeState, BatchStart, BatchState, BootDevice, ConfigurationRefused,
    Control, ErrorKind, Event, EventId, EventKind, Events, Explanation, Fact, Failure, OnFailure,
    OnSoftTimeout, PowerOptions, RestartCause, Words,
};
use crate::rack::call::Look;
use serde_json::json;

#[test]
fn a_task_as_it_is_shown() {
    let exchange = request(&format!("GET /v1/tasks/{TASK}?pretty")).send();
    insta::assert_snapshot!(exchange.text(), @r####"
{
  "batch": null,
  "controls": [],
  "controls_left_out": 0,
  "elapsed": 12.5,
  "ended": false,
  "ended_at": null,
  "id": "01890a5d-ac96-774b-bcce-b302099a8057",
  "may_abort": true,
  "may_cancel": false,
  "may_resume": false,
  "may_rollback": true,
  "may_suspend": true,
  "node": "r1n01",
  "node_uuid": "1be26c0b-03f2-4d2e-ae87-c02d7f33c123",
  "operation": "soft power off",
  "orders": [
    {
      "answer": "accepted",
      "answered_at": "2015-08-01T00:00:11.000000+00:00",
      "at": "2015-08-01T00:00:11.000000+00:00",
      "changes_power": true,
      "completion_code": null,
      "left": true,
      "order": "soft power off",
      "times": 1
    }
  ],
  "orders_left_out": 0,
  "outcome": null,
  "phase": "waiting for the operating system to go down",
  "power_at_start": "power on",
  "power_state": "power on",
  "rack": "r1",
  "requested_at": "2015-08-01T00:00:10.000000+00:00",
  "requested_by": {
    "gid": 1000,
    "name": "alice",
    "pid": 42,
    "request": "req-1",
    "uid": 1000
  },
  "started_at": "2015-08-01T00:00:10.000000+00:00",
  "state": "running",
  "step": 2,
  "steps": 2,
  "taken_over_by": null,
  "target_power_state": "soft power off",
  "time_left": 587.5,
  "took_over": null,
  "version": 3,
  "waited": 0
}
"####);
}

#[test]
fn a_task_is_started_with_its_wishes_and_answered_with_its_place() {
    let exchange = request("POST /v1/tasks")
        .body(
            r#"{"node": "r1n01", "operation": "soft power off", "timeout": "10m", "on_soft_timeout": "hard power off",
                "repeat_soft_after": 60, "hard_after": "1m30s"}"#,
        )
        .send();
    assert_eq!(exchange.status(), 202);
    assert_eq!(
        exchange.header("location"),
        Some(format!("http://rack.example:6385/v1/tasks/{TASK}").as_str())
    );
    let Some(Call::Start {
        node,
        operation,
        options,
        ..
    }) = exchange.calls.first()
    else {
        panic!("not started")
    };
    assert_eq!(
        (node.as_str(), *operation),
        ("r1n01", Operation::SoftPowerOff)
    );
    let wanted = PowerOptions {
        timeout: Some(Duration::from_secs(600)),
        on_soft_timeout: Some(OnSoftTimeout::HardPowerOff),
        repeat_soft_after: Some(Duration::from_secs(60)),
        hard_after: Some(Duration::from_secs(90)),
        ..PowerOptions::default()
    };
    assert_eq!(*options, wanted);
}

#[test]
fn every_operation_has_a_word_and_the_pulses_two() {
    let started = |words: &str| {
        let body = json!({ "node": "r1n01", "operation": words }).to_string();
        let calls = request("POST /v1/tasks").body(&body).send().calls;
        calls.into_iter().find_map(|call| match call {
            Call::Start { operation, .. } => Some(operation),
            _ => None,
        })
    };
    for operation in Operation::ALL {
        assert_eq!(started(operation.name()), Some(operation));
    }
    assert_eq!(started("reset"), Some(Operation::Reset));
    assert_eq!(started("cycle"), Some(Operation::Cycle));
    assert_eq!(started("explode"), None);
}

#[test]
fn what_is_wrong_with_a_body_is_said_with_its_place() {
    for (body, member) in [
        (
            r#"{"node": "r1n01", "operation": "power on", "colour": "red"}"#,
            "colour",
        ),
        (r#"{"node": "r1n01", "operation": "sleep"}"#, "operation"),
        (
            r#"{"node": "r1n01", "operation": "power on", "timeout": 0}"#,
            "timeout",
        ),
        (
            r#"{"node": "r1n01", "operation": "power on", "timeout": "soon"}"#,
            "timeout",
        ),
        (
            r#"{"node": "r1n01", "operation": "soft power off", "on_soft_timeout": "burn"}"#,
            "on_soft_timeout",
        ),
        (r#"{"node": "", "operation": "power on"}"#, "node"),
        (r#"{"operation": "power on"}"#, "node"),
    ] {
        let exchange = request("POST /v1/tasks").body(body).send();
        assert_eq!(
            (exchange.status(), exchange.calls.len()),
            (400, 0),
            "{body}"
        );
        assert!(
            exchange.text().contains(member),
            "{body}: {}",
            exchange.text()
        );
    }
    insta::assert_snapshot!(
        request("POST /v1/tasks").body(r#"{"node": "r1n01", "operation": "power on", "timeout": "soon"}"#).send().transcript(),
        @r####"
400 Bad Request
content-type: application/json
openstack-request-id: req-0
x-openstack-request-id: req-0
x-openstack-ironic-api-minimum-version: 1.1
x-openstack-ironic-api-maximum-version: 1.31
x-openstack-ironic-api-version: 1.31

{"error":{"kind":"bad_request","message":"the body does not fit at timeout: 'soon' is no duration: wanted a number of seconds or words like '90s', '10m', '1h30m' at line 1 column 60","node":null,"task":null,"detail":{"member":"timeout"}}}
"####
    );
}

#[test]
fn a_control_is_used_or_refused_with_the_task_as_it_is() {
    for control in Control::ALL {
        let exchange = request(&format!("POST /v1/tasks/{TASK}/{}", control.name())).send();
        assert_eq!(exchange.status(), 200, "{control:?}");
        assert!(
            matches!(exchange.calls[..], [Call::Control { control: used, .. }] if used == control)
        );
    }
    let deleted = request(&format!("DELETE /v1/tasks/{TASK}")).send();
    assert!(matches!(
        deleted.calls[..],
        [Call::Control {
            control: Control::Cancel,
            ..
        }]
    ));
    let refused = request(&format!("POST /v1/tasks/{TASK}/cancel")).send_to(|_| {
        Err(Refused::Control {
            control: "cancel".into(),
            why: "soft power off was sent; it can still be aborted or rolled back".into(),
            task: Box::new(task()),
        })
    });
    assert_eq!(refused.status(), 409);
    let body = refused.json();
    assert_eq!(body["error"]["kind"], "control_refused");
    assert_eq!(body["error"]["task"], TASK);
    assert_eq!(body["error"]["detail"]["may_rollback"], true);
    assert_eq!(
        request(&format!("POST /v1/tasks/{TASK}/explode"))
            .send()
            .status(),
        404
    );
    assert_eq!(request("GET /v1/tasks/nonsense").send().status(), 404);
}

#[test]
fn a_wait_is_bounded_and_knows_the_version_seen() {
    let exchange = request(&format!("GET /v1/tasks/{TASK}?wait=30s&version=3")).send();
    let wanted = Call::AwaitTask {
        task: TASK.parse().expect("a uuid"),
        version: Some(3),
        wait: Duration::from_secs(30),
    };
    assert_eq!(exchange.calls, [wanted]);
    let exchange = request(&format!("GET /v1/tasks/{TASK}?wait=10d")).send();
    assert!(
        matches!(exchange.calls[..], [Call::AwaitTask { version: None, wait, .. }] if wait == Duration::from_secs(300))
    );
    for bad in ["wait=x", "wait=-1", "version=x", "wait="] {
        assert_eq!(
            request(&format!("GET /v1/tasks/{TASK}?{bad}"))
                .send()
                .status(),
            400,
            "{bad}"
        );
    }
}

#[test]
fn tasks_are_listed_by_node_batch_and_state() {
    let exchange = request(&format!(
        "GET /v1/tasks?node=r1n01&batch={UUID}&active=true&limit=5"
    ))
    .send();
    let wanted = Call::Look(Look::Tasks {
        node: Some("r1n01".into()),
        batch: UUID.parse().ok(),
        short: None,
        active: true,
        limit: 5,
    });
    assert_eq!(exchange.calls, [wanted]);
    let exchange = request("GET /v1/nodes/r1n01/tasks").version("1.1").send();
    assert!(
        matches!(&exchange.calls[..], [Call::Look(Look::Tasks { node: Some(node), .. })] if node == "r1n01")
    );
    assert_eq!(request("GET /v1/tasks?batch=x").send().status(), 400);
    assert_eq!(request("GET /v1/tasks?limit=0").send().status(), 400);
}

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
{"id":"1be26c0b-03f2-4d2e-ae87-c02d7f33c123","version":1,"rack":"r1","operation":"power on","state":"running","requested_by":{"name":"","uid":null,"gid":null,"pid":null,"request":""},"requested_at":"2015-08-01T00:00:01.000000+00:00","ended_at":null,"max_parallel":4,"stagger":0.5,"on_failure":"stop","nodes":[{"node":"r1n01","task":"01890a5d-ac96-774b-bcce-b302099a8057","state":"running","note":null,"refused":null,"begins_after":null,"takes_at_most":60,"plan":["power on"]}],"counts":{"running":1}}
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
fn rack() -> Vec<crate::model::Node> {
    let node = |number: u128| {
        let mut node = super::node();
        node.name = format!("r1n{number:02}").into();
        node.uuid = uuid::Uuid::from_u128(number);
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
    let waited = request(&format!("GET /v1/batches/{UUID}?wait=5")).send_to(rack);
    assert!(
        matches!(waited.calls[..], [Call::AwaitBatch { wait, .. }] if wait == Duration::from_secs(5))
    );
}

#[test]
fn events_are_polled_from_a_position() {
    let id = |sequence| EventId {
        epoch: 0x18c2f,
        sequence,
    };
    let rack = move |_| {
        Ok(Answer::Events(Events {
            events: vec![Event {
                id: id(43),
                at: at(9),
                kind: EventKind::Node.into(),
                node: Some("r1n01".into()),
                text: "r1n01 is off".into(),
                task: None,
                power_state: PowerState::Off,
            }],
            next: id(43),
            reset: false,
        }))
    };
    let exchange =
        request("GET /v1/events?since=18c2f-42&wait=20s&node=r1n01,r1n02&node=r1n03").send_to(rack);
    let wanted = Call::Events {
        since: Some(id(42)),
        nodes: vec!["r1n01".into(), "r1n02".into(), "r1n03".into()],
        wait: Duration::from_secs(20),
        limit: 500,
    };
    assert_eq!(exchange.calls, [wanted]);
    insta::assert_snapshot!(exchange.text(), @r####"
{"events":[{"id":"18c2f-43","at":"2015-08-01T00:00:09.000000+00:00","kind":"node","node":"r1n01","text":"r1n01 is off","task":null,"power_state":"power off"}],"next":"18c2f-43","reset":false}
"####);
    for bad in [
        "since=x",
        "since=1",
        "since=-",
        "wait=x",
        "node=",
        "limit=0",
        "colour=red",
    ] {
        assert_eq!(
            request(&format!("GET /v1/events?{bad}"))
                .send_to(rack)
                .status(),
            400,
            "{bad}"
        );
    }
}

#[test]
fn the_rack_is_paused_with_a_reason_and_released() {
    let paused = request("POST /v1/pause")
        .body(r#"{"reason": "new fans"}"#)
        .send();
    insta::assert_snapshot!(paused.text(), @r####"
{"paused":true,"pause":{"reason":"new fans","by":"alice","since":"2015-08-01T00:00:05.000000+00:00"}}
"####);
    assert_eq!(
        request("POST /v1/pause")
            .body(r#"{"reason": " "}"#)
            .send()
            .status(),
        400
    );
    assert_eq!(request("POST /v1/pause").send().status(), 400);
    assert_eq!(request("POST /v1/release").send().json()["paused"], false);
    assert_eq!(request("GET /v1/pause").send().json()["paused"], false);
    let refused = request("POST /v1/tasks")
        .body(r#"{"node": "r1n01", "operation": "power on"}"#)
        .send_to(|_| {
            Err(Refused::Paused {
                by: "alice".into(),
                reason: "new fans".into(),
            })
        });
    assert_eq!(
        (refused.status(), refused.json()["error"]["kind"].clone()),
        (409, json!("paused"))
    );
}

#[test]
fn readings_come_a_line_each_and_name_what_is_there() {
    let ask = |body: &str| request("POST /v1/readings").body(body).send();
    let read = ask(r#"{"nodes": ["r1n[01]"]}"#);
    let lines: Vec<serde_json::Value> = read
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["fresh"], true);
    assert_eq!(lines[0]["node"]["name"], "r1n01");
    assert_eq!(lines[0]["node"]["driver"], "ipmi");
    assert_eq!(read.response.media_type, Some("application/x-ndjson"));
    assert_eq!(ask(r#"{"nodes": ["r1n01", "r1n07"]}"#).status(), 404);
    let rack = real::RealRack::new();
    let nothing = request("POST /v1/readings").body(r#"{"nodes": []}"#);
    let nothing = nothing.send_to_real(&Policy::default(), &rack);
    assert_eq!(nothing.status(), 400, "{}", nothing.text());
    let silent = request("POST /v1/readings").body(r#"{"nodes": ["@all"], "exclude": ["r1n02"]}"#);
    let silent = silent.send_to_real(&Policy::default(), &rack);
    let line: serde_json::Value = serde_json::from_str(silent.text()).expect("one line");
    assert_eq!(line["fresh"], false);
    assert_eq!(line["node"]["name"], "r1n01");
}

#[test]
fn a_closer_look_and_what_is_asked_of_a_bmc() {
    let explained = request("GET /v1/nodes/r1n01/explain").send_to(|_| {
        Ok(Answer::Explanation(Box::new(Explanation {
            node: node(),
            facts: vec![Fact {
                head: "session".into(),
                text: "open, suite 17".into(),
            }],
            failures: vec![Failure {
                at: at(3),
                text: "no answer to RAKP 1, 4 attempts in 5 s".into(),
            }],
            chassis: None,
            identity: None,
            boot_device: None,
        })))
    });
    let body = explained.json();
    assert_eq!(
        body["facts"][0],
        json!({ "head": "session", "text": "open, suite 17" })
    );
    assert_eq!(body["node"]["name"], "r1n01");
    assert_eq!(
        body["failures"][0]["at"],
        "2015-08-01T00:00:03.000000+00:00"
    );
    assert_eq!(
        request("POST /v1/nodes/r1n01/fresh").send().json()["power_state"],
        "power on"
    );
    assert!(matches!(
        request("POST /v1/nodes/r1n01/retry").send().calls[..],
        [Call::Retry { .. }]
    ));
    let done = |_| Ok(Answer::Reading(Reading::Done));
    let light = request("POST /v1/nodes/r1n01/identify")
        .body(r#"{"for": "30s"}"#)
        .send_to(done);
    let wanted = Order::Identify(Some(Duration::from_secs(30)));
    assert!(matches!(&light.calls[..], [Call::Order { order, .. }] if *order == wanted));
    let root = Peer::unix(0, 0, Some(1));
    let raw = |body: &str| {
        let raw = request("POST /v1/nodes/r1n01/raw")
            .from(root.clone())
            .body(body);
        raw.send_to(|_| Ok(Answer::Reading(Reading::Raw(vec![0x20, 0x01]))))
    };
    assert_eq!(
        raw(r#"{"net_fn": 6, "command": 1}"#).json(),
        json!({ "order": "raw command", "data": [32, 1] })
    );
    for bad in [
        r#"{"net_fn": 7, "command": 1}"#,
        r#"{"net_fn": 64, "command": 1}"#,
        r#"{"net_fn": 6, "command": 256}"#,
        r#"{"net_fn": 6, "command": 1, "lun": 4}"#,
        r#"{"net_fn": 6, "command": 1, "bridge": {"channel": 16, "address": 44}}"#,
        r#"{"net_fn": 6, "command": 1, "bridge": {"channel": 0, "address": 45}}"#,
        r#"{"net_fn": 6, "command": 1, "bridge": {"channel": 0, "address": 44, "transit_channel": 0}}"#,
    ] {
        assert_eq!((raw(bad).status(), raw(bad).calls.len()), (400, 0), "{bad}");
    }
}

#[test]
fn what_a_bmc_says_of_itself_has_only_what_was_asked_for() {
    let answering = |line: &str, reading: Reading| {
        request(line).send_to(move |_| Ok(Answer::Reading(reading.clone())))
    };
    assert_eq!(
        answering(
            "GET /v1/nodes/r1n01/bmc/power_use",
            Reading::PowerUse { watts: 231 }
        )
        .json(),
        json!({ "order": "read power use", "watts": 231 })
    );
    let cause = Reading::RestartCause(RestartCause::ChassisControl);
    assert_eq!(
        answering("GET /v1/nodes/r1n01/bmc/restart_cause", cause).json()["restart_cause"],
        "chassis control"
    );
    assert_eq!(
        request("GET /v1/nodes/r1n01/bmc/secrets").send().status(),
        404
    );
    // The second entry was written before the BMC knew the calendar (§37.1).
    let entry = |id, timestamp| EventLogEntry {
        id,
        next: id + 1,
        timestamp,
        text: "OS stop".into(),
        sign: Sign::Crash,
    };
    let log = Reading::EventLog {
        entries: vec![entry(1, 1_438_387_200), entry(2, 60)],
        total: Some(9),
        left_out: None,
    };
    let log = answering("GET /v1/nodes/r1n01/event_log?limit=2", log);
    let wanted = Order::ReadEventLog(2);
    assert!(matches!(&log.calls[..], [Call::Order { order, .. }] if *order == wanted));
    assert_eq!(
        log.json()["entries"][0]["at"],
        "2015-08-01T00:00:00.000000+00:00"
    );
    assert_eq!(log.json()["entries"][1]["at"], json!(null));
}

#[test]
fn what_cannot_be_undone_wants_its_role_and_says_exactly_what() {
    let done = |_| Ok(Answer::Reading(Reading::Done));
    let ordered = |exchange: Exchange| match &exchange.calls[..] {
        [Call::Order { order, .. }] => Some(order.clone()),
        _ => None,
    };
    let root = Peer::unix(0, 0, Some(1));
    let reset = |body: &str| request("POST /v1/nodes/r1n01/bmc_reset").body(body);
    let cold = r#"{"kind": "cold"}"#;
    assert_eq!(reset(cold).send_to(done).status(), 403);
    assert_eq!(
        ordered(reset(cold).from(root.clone()).send_to(done)),
        Some(Order::ResetBmc { cold: true })
    );
    for bad in ["{}", r#"{"kind": "lukewarm"}"#] {
        assert_eq!(reset(bad).from(root.clone()).send_to(done).status(), 400);
    }
    let boot = |body: &str| request("PUT /v1/nodes/r1n01/boot_override").body(body);
    assert_eq!(
        ordered(boot(r#"{"device": null}"#).send_to(done)),
        Some(Order::SetBootDevice {
            device: None,
            persistent: false,
            uefi: false
        })
    );
    assert_eq!(
        ordered(boot(r#"{"device": "pxe", "uefi": true}"#).send_to(done)),
        Some(Order::SetBootDevice {
            device: Some(BootDevice::Pxe),
            persistent: false,
            uefi: true
        })
    );
    // Nothing said is not the same as nothing wanted.
    for bad in ["{}", r#"{"device": "drum"}"#] {
        assert_eq!(boot(bad).send_to(done).status(), 400, "{bad}");
    }
}

#[test]
fn health_says_what_stands_in_the_way() {
    assert_eq!(request("GET /healthz").send().json()["status"], "ok");
    let full = |_| {
        Ok(Answer::Health(Health {
            status: HealthStatus::Failing.into(),
            store_trouble: Some("disk full".into()),
            ..health()
        }))
    };
    assert_eq!(
        request("GET /healthz").send_to(full).json()["status"],
        "failing"
    );
    let wrong = |_| {
        Ok(Answer::Health(Health {
            configuration_refused: Some(ConfigurationRefused {
                since: WallTime::from_unix_micros(0),
                why: "rackbmcd.toml:3:1: no".into(),
            }),
            ..health()
        }))
    };
    let answer = request("GET /healthz").send_to(wrong).json();
    assert_eq!(answer["status"], "ok");
    assert_eq!(
        answer["configuration_refused"],
        json!({ "since": "1970-01-01T00:00:00.000000+00:00", "why": "rackbmcd.toml:3:1: no" })
    );
}

#[test]
fn every_kind_of_refusal_is_a_known_word_and_a_fitting_status() {
    let id = TASK.parse().expect("a uuid");
    let text = || "r1n01".to_owned();
    for (refused, status, kind) in [
        (Refused::NoSuchNode(text()), 404, "node_not_found"),
        (Refused::NoSuchTask(id), 404, "task_not_found"),
        (Refused::NoSuchBatch(id), 404, "batch_not_found"),
        (
            Refused::Locked {
                node: text(),
                uuid: id,
                rack: "r1".into(),
                task: id,
                detail: String::new(),
            },
            409,
            "node_locked",
        ),
        (
            Refused::Forbidden {
                node: text(),
                operation: Operation::InjectNmi,
                key: "nmi",
            },
            409,
            "forbidden_by_configuration",
        ),
        (
            Refused::WrongState {
                action: text(),
                node: text(),
                state: text(),
                why: text(),
            },
            409,
            "wrong_state",
        ),
        (
            Refused::Maintenance {
                node: text(),
                reason: text(),
            },
            409,
            "maintenance",
        ),
        (
            Refused::Paused {
                by: text(),
                reason: text(),
            },
            409,
            "paused",
        ),
        (Refused::Invalid(text()), 400, "bad_request"),
        (Refused::Store(text()), 503, "store"),
        (Refused::Unremembered(text()), 503, "unremembered"),
        (
            Refused::Withdrawn {
                task: Some(id),
                why: text(),
            },
            504,
            "store",
        ),
        (Refused::Stopping, 503, "stopping"),
        (
            Refused::Bmc {
                node: text(),
                what: text(),
                text: text(),
                code: 0xC1,
            },
            502,
            "bmc_refused",
        ),
        (Refused::Crowded(text()), 503, "crowded"),
    ] {
        let said = refused.clone();
        let exchange = request("POST /v1/nodes/r1n01/identify").send_to(move |_| Err(said.clone()));
        assert_eq!(exchange.status(), status, "{refused:?}");
        assert_eq!(exchange.json()["error"]["kind"], kind, "{refused:?}");
        assert!(ErrorKind::from_word(kind).is_some());
    }
}

#[test]
fn a_refusal_is_said_in_our_words_here_and_in_ironics_there() {
    let locked = |_| {
        Err(Refused::Locked {
            node: "r1n01".into(),
            uuid: UUID.parse().expect("a uuid"),
            rack: "r1".into(),
            task: TASK.parse().expect("a uuid"),
            detail: " r1n01: power on by bob".into(),
        })
    };
    let ours = request("POST /v1/tasks")
        .body(r#"{"node": "r1n01", "operation": "power on"}"#)
        .send_to(locked);
    assert_eq!(
        ours.json()["error"]["message"],
        "node r1n01 is busy. r1n01: power on by bob"
    );
    let forbidden = |_| {
        Err(Refused::Forbidden {
            node: "r1n01".into(),
            operation: Operation::InjectNmi,
            key: "nmi",
        })
    };
    let said = "node r1n01 takes no inject nmi: the configuration says nmi = false for this node";
    let theirs = request("PUT /v1/nodes/r1n01/states/power").body(r#"{"target": "inject nmi"}"#);
    let theirs = theirs.send_to(forbidden);
    assert_eq!(
        (theirs.status(), theirs.complaint()),
        (400, said.to_owned())
    );
}
