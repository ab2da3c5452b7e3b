//! What gophercloud's bare-metal client (v1) sends and which answers it takes: it compares the
//! status with the one that it expects for each call, and any other is an error. Read from its
//! source; ours is only that it meets what it expects.

use super::*;
use crate::bmc::vocabulary::{Order, Reading};
use crate::model::BootDevice;

/// As its client sends it with `Microversion` set: both headers, JSON or nothing.
fn call(line: &str, microversion: Option<&str>, body: Option<&str>) -> Exchange {
    let mut asked = request(line)
        .without("x-openstack-ironic-api-version")
        .header("accept", "application/json");
    if let Some(version) = microversion {
        asked = asked
            .header("x-openstack-ironic-api-version", version)
            .header("openstack-api-version", &format!("baremetal {version}"));
    }
    if let Some(body) = body {
        asked = asked.body(body);
    }
    asked.send_to(|call| match call {
        Call::Order {
            order: Order::SetBootDevice { .. },
            ..
        } => Ok(Answer::Reading(Reading::Done)),
        Call::Order {
            order: Order::ReadBootDevice,
            ..
        } => Ok(Answer::Reading(Reading::BootDevice {
            device: Some(BootDevice::Pxe),
            persistent: false,
            uefi: false,
        })),
        other => obliging(other),
    })
}

#[test]
fn every_call_about_power_has_the_status_that_it_expects() {
    let node = format!("/v1/nodes/{UUID}");
    for (line, body, expected) in [
        ("GET /v1/nodes".to_owned(), None, 200),
        ("GET /v1/nodes/detail".to_owned(), None, 200),
        (
            "GET /v1/nodes?fields=uuid&fields=name".to_owned(),
            None,
            200,
        ),
        (format!("GET {node}"), None, 200),
        (format!("GET {node}/validate"), None, 200),
        (format!("PUT {node}/management/inject_nmi"), Some("{}"), 204),
        (
            format!("PUT {node}/management/boot_device"),
            Some(r#"{"boot_device":"pxe","persistent":false}"#),
            204,
        ),
        (format!("GET {node}/management/boot_device"), None, 200),
        (
            format!("GET {node}/management/boot_device/supported"),
            None,
            200,
        ),
        (
            format!("PUT {node}/states/power"),
            Some(r#"{"target":"soft rebooting","timeout":60}"#),
            202,
        ),
        (
            format!("PUT {node}/states/power"),
            Some(r#"{"target":"power on"}"#),
            202,
        ),
        (
            format!("PUT {node}/maintenance"),
            Some(r#"{"reason":"new fan"}"#),
            202,
        ),
        (format!("DELETE {node}/maintenance"), None, 202),
        ("GET /v1/drivers".to_owned(), None, 200),
        ("GET /v1/drivers/ipmi".to_owned(), None, 200),
        ("GET /v1/drivers/ipmi/properties".to_owned(), None, 200),
    ] {
        let exchange = call(&line, Some("1.31"), body);
        assert_eq!(exchange.status(), expected, "{line}: {}", exchange.text());
        assert_eq!(
            exchange.header("x-openstack-ironic-api-version"),
            Some("1.31"),
            "{line}"
        );
        // It reads a body where it expects one, and none where the answer has nothing to say.
        assert_eq!(exchange.text().is_empty(), expected != 200, "{line}");
    }
}

#[test]
fn without_a_microversion_it_is_at_the_lowest_and_power_works_by_uuid() {
    let list = call("GET /v1/nodes", None, None);
    assert_eq!(list.header("x-openstack-ironic-api-version"), Some("1.1"));
    assert!(list.json()["nodes"][0].get("name").is_none());
    let power = call(
        &format!("PUT /v1/nodes/{UUID}/states/power"),
        None,
        Some(r#"{"target":"power off"}"#),
    );
    assert_eq!(power.status(), 202);
    let soft = call(
        &format!("PUT /v1/nodes/{UUID}/states/power"),
        None,
        Some(r#"{"target":"soft power off"}"#),
    );
    assert_eq!(soft.status(), 406);
}

#[test]
fn its_times_can_be_parsed_as_rfc_3339_or_are_null() {
    let record = call(&format!("GET /v1/nodes/{UUID}"), Some("1.31"), None).json();
    for member in ["created_at", "updated_at"] {
        let text = record[member].as_str().expect("a time");
        assert!(text.parse::<jiff::Timestamp>().is_ok(), "{text}");
    }
    for member in [
        "provision_updated_at",
        "inspection_started_at",
        "inspection_finished_at",
    ] {
        assert!(record[member].is_null(), "{member}");
    }
}
