//! What is asked of a BMC outside tasks.

use super::*;
use crate::bmc::vocabulary::{EventLogEntry, Order, Reading, Sign};
use crate::model::{BootDevice, Explanation, Fact, Failure, RestartCause};
use serde_json::json;

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
        by_other: false,
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
