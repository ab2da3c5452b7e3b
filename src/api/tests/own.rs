//! Our own surface.

use super::*;
use crate::model::{
    ConfigurationRefused, Control, ErrorKind, Event, EventId, EventKind, Events, Hold,
    OnSoftTimeout, PowerOptions, UnreadableEntry, Words,
};
use crate::rack::call::Look;
use serde_json::json;

#[test]
fn a_task_as_it_is_shown() {
    let exchange = request(&format!("GET /v1/tasks/{TASK}?pretty")).send();
    insta::assert_snapshot!(exchange.by_name(), @r####"
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
fn whoever_reaches_the_port_reads_nothing_in_health_that_a_person_wrote() {
    let full = |_| {
        let text = || "written by anna".to_owned();
        Ok(Answer::Health(Health {
            pause: Some(Hold {
                reason: Some(text()),
                by: "anna".into(),
                ..Hold::default()
            }),
            configuration_refused: Some(ConfigurationRefused {
                why: text(),
                ..ConfigurationRefused::default()
            }),
            unreadable: vec![UnreadableEntry {
                why: text(),
                ..UnreadableEntry::default()
            }],
            ..health()
        }))
    };
    let here = request("GET /healthz").send_to(full).text().to_owned();
    assert_eq!(here.matches("anna").count(), 4, "{here}");
    let asked = request("GET /healthz").from(Peer::tcp()).send_to(full);
    assert!(!asked.text().contains("anna"), "{}", asked.text());
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
                host: "r1".into(),
                task: id,
                detail: String::new(),
                left: None,
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
        (Refused::Unconfirmed(text()), 503, "unconfirmed"),
        (Refused::NotHandedOver(text()), 409, "wrong_state"),
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
            host: "r1".into(),
            task: TASK.parse().expect("a uuid"),
            detail: " r1n01: power on by bob".into(),
            left: None,
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

#[test]
fn the_rack_is_given_to_a_host_that_can_take_it_and_to_no_other() {
    let hand_over = |body: &str| {
        let mut asked = request("POST /v1/ha/handover").body(body);
        asked.peer = Peer::unix(0, 0, Some(42));
        asked.send()
    };
    let nobody = request("POST /v1/ha/handover").send();
    assert_eq!(nobody.status(), 403, "it wants the role admin");
    assert_eq!(hand_over(r#"{"to": "mgmt2"}"#).status(), 202);
    let refused = hand_over(r#"{"to": "mgmt3"}"#);
    assert_eq!(refused.status(), 409);
    let said = refused.json()["error"]["message"].to_string();
    assert!(said.contains("not handed over: no other host"), "{said}");
    for wrong in [r#"{"to": " "}"#, r#"{"to": "a\nb"}"#, r#"{"host": "a"}"#] {
        assert_eq!(hand_over(wrong).status(), 400, "{wrong}");
    }
    // A rack with one host is its own.
    assert_eq!(request("GET /v1/ha").send().json()["role"], "alone");
    let owner = request("GET /v1/ha/owner").send();
    assert_eq!((owner.status(), owner.json()["owner"] == true), (200, true));
}
