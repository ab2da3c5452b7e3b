//! What Ironic's clients ask of machines: power, NMI, boot device, maintenance.

use super::*;
use crate::bmc::vocabulary::{Order, Reading};
use crate::model::{BootDevice, Delivery, PowerOptions, Trouble};
use serde_json::json;

fn power(body: &str) -> Exchange {
    request("PUT /v1/nodes/r1n01/states/power")
        .body(body)
        .send()
}

#[test]
fn all_nine_targets_are_taken_with_202_and_the_place_of_the_states() {
    for target in PowerTarget::ALL {
        let exchange = power(&json!({ "target": target.name() }).to_string());
        assert_eq!(exchange.status(), 202, "{target:?}");
        assert!(exchange.text().is_empty());
        assert_eq!(
            exchange.header("location"),
            Some("http://rack.example:6385/v1/nodes/r1n01/states")
        );
        assert_eq!(exchange.header("x-rackbmcd-task"), Some(TASK));
        let who = Who {
            name: "alice".into(),
            uid: Some(1000),
            gid: Some(1000),
            pid: Some(42),
            request: "req-0".into(),
        };
        let call = Call::SetPower {
            node: "r1n01".into(),
            change: target.change(),
            options: PowerOptions::default(),
            who,
        };
        assert_eq!(exchange.calls, [call]);
    }
}

#[test]
fn an_abort_of_nothing_is_a_success() {
    let exchange = request("PUT /v1/nodes/r1n01/states/power")
        .body(r#"{"target": "abort soft power off"}"#)
        .send_to(|_| Ok(Answer::Taken(None)));
    assert_eq!(exchange.status(), 202);
    assert_eq!(exchange.header("x-rackbmcd-task"), None);
}

#[test]
fn a_timeout_is_taken_in_all_the_forms_that_ironic_takes() {
    for (timeout, seconds) in [
        ("60", 60.0),
        ("\"10\"", 10.0),
        ("1.5", 1.5),
        ("true", 1.0),
        ("1000000000000", 1e12),
        ("\"90s\"", 90.0),
    ] {
        let exchange = power(&format!(
            r#"{{"target": "soft power off", "timeout": {timeout}}}"#
        ));
        assert_eq!(exchange.status(), 202, "{timeout}");
        let Some(Call::SetPower { options, .. }) = exchange.calls.first() else {
            panic!("{timeout}: not called")
        };
        assert_eq!(
            options.timeout,
            Some(Duration::from_secs_f64(seconds)),
            "{timeout}"
        );
    }
    for timeout in [
        "0", "-1", "\"soon\"", "false", "[]", "{}", "1e300", "-0.5", "\"\"",
    ] {
        let exchange = power(&format!(
            r#"{{"target": "soft power off", "timeout": {timeout}}}"#
        ));
        assert_eq!(exchange.status(), 400, "{timeout}");
        assert!(
            exchange.complaint().contains("timeout"),
            "{timeout}: {}",
            exchange.complaint()
        );
    }
}

#[test]
fn an_abort_takes_no_timeout_because_it_is_done_at_once() {
    let exchange = request("PUT /v1/nodes/r1n01/states/power")
        .body(r#"{"target": "abort soft power off", "timeout": 10}"#)
        .send();
    assert_eq!(exchange.status(), 400);
    let said = exchange.complaint();
    assert!(
        said.contains("'abort soft power off' is done at once"),
        "{said}"
    );
    let looks = |call: &Call| matches!(call, Call::Look(_));
    assert!(exchange.calls.iter().all(looks), "{:?}", exchange.calls);
}

#[test]
fn below_1_27_the_soft_words_and_the_timeout_are_not_acceptable() {
    for body in [
        r#"{"target": "soft power off"}"#,
        r#"{"target": "soft rebooting"}"#,
        r#"{"target": "inject nmi"}"#,
        r#"{"target": "abort soft rebooting"}"#,
        r#"{"target": "abort soft power off"}"#,
        r#"{"target": "abort inject nmi"}"#,
        r#"{"target": "power on", "timeout": 10}"#,
    ] {
        let at = |version| {
            request("PUT /v1/nodes/r1n01/states/power")
                .version(version)
                .body(body)
                .send()
        };
        assert_eq!(at("1.26").status(), 406, "{body}");
        assert_eq!(at("1.27").status(), 202, "{body}");
    }
    let hard = request("PUT /v1/nodes/r1n01/states/power")
        .version("1.26")
        .body(r#"{"target": "power on"}"#)
        .send();
    assert_eq!(hard.status(), 202);
}

#[test]
fn a_node_that_is_not_there_comes_before_a_bad_wish() {
    for (version, body) in [
        ("1.31", r#"{"target": "sleep"}"#),
        ("1.26", r#"{"target": "soft power off"}"#),
    ] {
        let exchange = request("PUT /v1/nodes/nosuch/states/power")
            .version(version)
            .body(body)
            .send();
        assert_eq!(
            (exchange.status(), exchange.complaint()),
            (404, "Node nosuch could not be found.".into())
        );
    }
    // But a body without a target comes before the node.
    let exchange = request("PUT /v1/nodes/nosuch/states/power")
        .body("{}")
        .send();
    assert_eq!((exchange.status(), exchange.calls.len()), (400, 0));
}

#[test]
fn a_locked_node_is_409_in_the_words_that_clients_match() {
    let locked = |_| {
        Err(Refused::Locked {
            node: "r1n01".into(),
            uuid: UUID.parse().expect("a uuid"),
            host: "r1".into(),
            task: TASK.parse().expect("a uuid"),
            detail: " n01: power on by bob".into(),
            left: None,
        })
    };
    let exchange = request("PUT /v1/nodes/r1n01/states/power")
        .body(r#"{"target": "power on"}"#)
        .send_to(locked);
    assert_eq!(exchange.status(), 409);
    assert_eq!(
        exchange.complaint(),
        format!(
            "Node {UUID} is locked by host r1, please retry after the current operation is completed. n01: power on by bob"
        )
    );
}

#[test]
fn only_busy_is_409_or_503_to_ironics_clients_because_they_try_those_again() {
    let status = |refused: Refused| {
        let put = request("PUT /v1/nodes/r1n01/states/power").body(r#"{"target": "power on"}"#);
        put.send_to(move |_| Err(refused.clone())).status()
    };
    assert_eq!(
        status(Refused::Paused {
            by: "alice".into(),
            reason: "fans".into()
        }),
        400
    );
    assert_eq!(
        status(Refused::Maintenance {
            node: "r1n01".into(),
            reason: "fans".into()
        }),
        400
    );
    assert_eq!(
        status(Refused::Forbidden {
            node: "r1n01".into(),
            operation: Operation::InjectNmi,
            key: "nmi",
        }),
        400
    );
    assert_eq!(status(Refused::Stopping), 503);
    assert_eq!(status(Refused::Store("disk full".into())), 503);
    assert_eq!(status(Refused::Crowded("r1n01".into())), 503);
}

#[test]
fn the_nmi_button_is_there_from_1_29_and_tells_what_the_bmc_said() {
    let path = "PUT /v1/nodes/r1n01/management/inject_nmi";
    assert_eq!(request(path).version("1.28").send().status(), 404);
    let exchange = request(path).body("{}").send();
    assert_eq!((exchange.status(), exchange.text()), (204, ""));
    assert!(matches!(exchange.calls[..], [Call::InjectNmi { .. }]));
    for body in ["{", "nonsense", "[]", "{\"really\": true}", "null"] {
        let exchange = request(path).body(body).send();
        assert_eq!(
            (exchange.status(), exchange.calls.len()),
            (400, 0),
            "{body}: a body that is broken injects nothing"
        );
    }
    let refused = request(path).send_to(|_| {
        Err(Refused::Bmc {
            node: "r1n01".into(),
            what: "inject nmi".into(),
            text: "invalid command".into(),
            code: 0xC1,
        })
    });
    assert_eq!(refused.status(), 502);
    insta::assert_snapshot!(refused.complaint(), @"node r1n01: inject nmi was refused by its BMC: invalid command (completion code 0xc1)");
    let silent = request(path).send_to(|_| {
        Err(Refused::Unanswered {
            node: "r1n01".into(),
            what: "inject nmi".into(),
            trouble: Trouble::Silent,
            delivery: Delivery::NotSent,
            text: "no answer to RAKP 1, 4 attempts in 5 s".into(),
        })
    });
    assert_eq!(silent.status(), 504);
}

#[test]
fn the_boot_device_is_read_and_set() {
    let rack = |call| match call {
        Call::Order {
            order: Order::ReadBootDevice,
            ..
        } => Ok(Answer::Reading(Reading::BootDevice {
            device: Some(BootDevice::Pxe),
            persistent: false,
            uefi: false,
        })),
        Call::Order {
            order: Order::SetBootDevice { .. },
            ..
        } => Ok(Answer::Reading(Reading::Done)),
        other => obliging(other),
    };
    let path = "/v1/nodes/r1n01/management/boot_device";
    let read = request(&format!("GET {path}")).send_to(rack);
    assert_eq!(
        read.json(),
        json!({ "boot_device": "pxe", "persistent": false })
    );
    let set = request(&format!("PUT {path}"))
        .body(r#"{"boot_device": "disk", "persistent": true}"#)
        .send_to(rack);
    assert_eq!(set.status(), 204);
    let wanted = Order::SetBootDevice {
        device: Some(BootDevice::Disk),
        persistent: true,
        uefi: false,
    };
    assert!(matches!(&set.calls[..], [Call::Order { order, .. }] if *order == wanted));
    // In the words that Ironic takes for it.
    for (spelled, meant) in [
        ("\"yes\"", true),
        ("\"Off\"", false),
        ("1", true),
        ("null", false),
    ] {
        let set = request(&format!("PUT {path}"))
            .body(&format!(
                r#"{{"boot_device": "disk", "persistent": {spelled}}}"#
            ))
            .send_to(rack);
        assert_eq!(set.status(), 204, "{spelled}");
        let [Call::Order { order, .. }] = &set.calls[..] else {
            panic!("{:?}", set.calls);
        };
        let Order::SetBootDevice { persistent, .. } = order else {
            panic!("{order:?}");
        };
        assert_eq!(*persistent, meant, "{spelled}");
    }
    for body in [
        "{}",
        r#"{"boot_device": "disk", "persistent": "maybe"}"#,
        r#"{"boot_device": "disk", "persistent": [true]}"#,
        r#"{"boot_device": "floppy"}"#,
        r#"{"boot_device": 1}"#,
        r#"{"boot_device": "pxe", "x": 1}"#,
    ] {
        assert_eq!(
            request(&format!("PUT {path}"))
                .body(body)
                .send_to(rack)
                .status(),
            400,
            "{body}"
        );
    }
    let supported = request(&format!("GET {path}/supported")).send();
    assert_eq!(
        supported.json(),
        json!({ "supported_boot_devices": ["pxe", "disk", "cdrom", "bios", "safe"] })
    );
}

#[test]
fn maintenance_is_taken_as_the_clients_send_it() {
    let path = "/v1/nodes/r1n01/maintenance";
    for (body, reason) in [
        ("", None),
        ("{}", None),
        (r#"{"reason": null}"#, None),
        (r#"{"reason": "fans"}"#, Some("fans")),
    ] {
        let exchange = request(&format!("PUT {path}")).body(body).send();
        assert_eq!(exchange.status(), 202, "{body}");
        let Some(Call::SetMaintenance {
            hold: Some(found), ..
        }) = exchange.calls.first()
        else {
            panic!("{body}")
        };
        assert_eq!(found.as_deref(), reason);
    }
    let unset = request(&format!("DELETE {path}"))
        .header("content-type", "application/octet-stream")
        .header("accept", "*/*")
        .send();
    assert_eq!(unset.status(), 202);
    assert!(matches!(
        unset.calls[..],
        [Call::SetMaintenance { hold: None, .. }]
    ));
}
