//! Ironic's surface as its clients see it.

use super::*;
use crate::model::{HistoryEntry, HistoryKind, Severity, Trouble};
use crate::rack::call::Look;
use serde_json::{Value, json};

#[test]
fn a_node_that_is_not_there_is_told_in_ironics_words() {
    let exchange = request("GET /v1/nodes/nosuch").send();
    insta::assert_snapshot!(exchange.transcript(), @r####"
404 Not Found
content-type: application/json
openstack-request-id: req-0
x-openstack-request-id: req-0
x-openstack-ironic-api-minimum-version: 1.1
x-openstack-ironic-api-maximum-version: 1.31
x-openstack-ironic-api-version: 1.31

{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"Node nosuch could not be found.\",\"debuginfo\":null}"}
"####);
}

#[test]
fn the_list_has_ironics_members_and_links_that_follow_the_host() {
    let exchange = request("GET /v1/nodes").send();
    assert_eq!(exchange.calls, [Call::Look(Look::Nodes)]);
    insta::assert_snapshot!(exchange.transcript(), @r####"
200 OK
content-type: application/json
openstack-request-id: req-0
x-openstack-request-id: req-0
x-openstack-ironic-api-minimum-version: 1.1
x-openstack-ironic-api-maximum-version: 1.31
x-openstack-ironic-api-version: 1.31

{"nodes":[{"instance_uuid":null,"links":[{"href":"http://rack.example:6385/v1/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123","rel":"self"},{"href":"http://rack.example:6385/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123","rel":"bookmark"}],"maintenance":false,"name":"r1n01","power_state":"power on","provision_state":"active","uuid":"1be26c0b-03f2-4d2e-ae87-c02d7f33c123"}]}
"####);
}

#[test]
fn the_full_record_at_the_highest_version() {
    let exchange = request("GET /v1/nodes/r1n01?pretty").send();
    insta::assert_snapshot!(exchange.by_name(), @r####"
{
  "boot_interface": "no-boot",
  "chassis_uuid": null,
  "clean_step": {},
  "console_enabled": false,
  "console_interface": "no-console",
  "created_at": "2015-08-01T00:00:00.000000+00:00",
  "deploy_interface": "noop",
  "driver": "ipmi",
  "driver_info": {
    "ipmi_address": "10.0.1.1",
    "ipmi_password": "******",
    "ipmi_port": 623,
    "ipmi_priv_level": "OPERATOR",
    "ipmi_protocol_version": "2.0",
    "ipmi_username": "admin"
  },
  "driver_internal_info": {},
  "extra": {},
  "inspect_interface": "no-inspect",
  "inspection_finished_at": null,
  "inspection_started_at": null,
  "instance_info": {},
  "instance_uuid": null,
  "last_error": null,
  "links": [
    {
      "href": "http://rack.example:6385/v1/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123",
      "rel": "self"
    },
    {
      "href": "http://rack.example:6385/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123",
      "rel": "bookmark"
    }
  ],
  "maintenance": false,
  "maintenance_reason": null,
  "management_interface": "ipmitool",
  "name": "r1n01",
  "network_interface": "noop",
  "portgroups": [
    {
      "href": "http://rack.example:6385/v1/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123/portgroups",
      "rel": "self"
    },
    {
      "href": "http://rack.example:6385/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123/portgroups",
      "rel": "bookmark"
    }
  ],
  "ports": [
    {
      "href": "http://rack.example:6385/v1/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123/ports",
      "rel": "self"
    },
    {
      "href": "http://rack.example:6385/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123/ports",
      "rel": "bookmark"
    }
  ],
  "power_interface": "ipmitool",
  "power_state": "power on",
  "properties": {},
  "provision_state": "active",
  "provision_updated_at": null,
  "rackbmcd": {
    "bmc": {
      "address": "10.0.1.1",
      "cipher_suite": 17,
      "health": "ready",
      "port": 623,
      "privilege": "operator",
      "round_trip": 0.0015,
      "trouble": null,
      "trouble_text": null,
      "username": "admin"
    },
    "fault": null,
    "groups": [
      "compute"
    ],
    "maintenance": null,
    "rack": "r1",
    "reading": {
      "age": 2.5,
      "at": "2015-08-01T00:01:00.000000+00:00",
      "power_state": "power on"
    },
    "task": null
  },
  "raid_config": {},
  "raid_interface": "no-raid",
  "reservation": null,
  "resource_class": null,
  "states": [
    {
      "href": "http://rack.example:6385/v1/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123/states",
      "rel": "self"
    },
    {
      "href": "http://rack.example:6385/nodes/1be26c0b-03f2-4d2e-ae87-c02d7f33c123/states",
      "rel": "bookmark"
    }
  ],
  "supported_power_states": [
    "power on",
    "power off",
    "rebooting",
    "soft rebooting",
    "soft power off",
    "inject nmi",
    "abort soft rebooting",
    "abort soft power off",
    "abort inject nmi"
  ],
  "target_power_state": null,
  "target_provision_state": null,
  "target_raid_config": {},
  "updated_at": "2015-08-01T00:01:00.000000+00:00",
  "uuid": "1be26c0b-03f2-4d2e-ae87-c02d7f33c123",
  "vendor_interface": "no-vendor"
}
"####);
}

#[test]
fn the_record_of_the_lowest_version_has_the_members_of_its_time_and_no_name() {
    let exchange = request(&format!("GET /v1/nodes/{UUID}"))
        .version("1.1")
        .send();
    let body = exchange.json();
    let members: Vec<&str> = body
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    // ironic-api.md section 4, "Record at 1.1".
    let mut expected = [
        "uuid",
        "created_at",
        "updated_at",
        "console_enabled",
        "driver",
        "driver_info",
        "extra",
        "instance_info",
        "instance_uuid",
        "last_error",
        "maintenance",
        "maintenance_reason",
        "power_state",
        "properties",
        "provision_state",
        "provision_updated_at",
        "reservation",
        "target_power_state",
        "target_provision_state",
        "links",
        "chassis_uuid",
        "ports",
    ];
    expected.sort_unstable();
    assert_eq!(members, expected);
}

#[test]
fn the_record_at_1_29_has_the_members_that_the_clients_negotiate_down_to() {
    let body = request("GET /v1/nodes/r1n01").version("1.29").send().json();
    for member in [
        "name",
        "driver_internal_info",
        "clean_step",
        "raid_config",
        "target_raid_config",
        "inspection_finished_at",
        "inspection_started_at",
        "network_interface",
        "resource_class",
        "states",
        "portgroups",
        "supported_power_states",
    ] {
        assert!(body.get(member).is_some(), "{member}");
    }
    assert!(body.get("power_interface").is_none());
}

#[test]
fn a_password_is_six_asterisks() {
    let body = request("GET /v1/nodes/r1n01").send().json();
    assert_eq!(body["driver_info"]["ipmi_password"], "******");
}

#[test]
fn each_state_is_the_member_of_the_record() {
    let running = |call| match call {
        Call::Look(Look::Node(_)) => {
            let mut node = Node {
                power_state: PowerState::Error,
                target_power_state: Some(Target::SoftPowerOff.into()),
                last_error: Some("aborted by alice".into()),
                ..node()
            };
            node.rackbmcd.task = Some(TASK.parse().expect("a uuid"));
            Ok(Answer::Node(node))
        }
        other => obliging(other),
    };
    let states = request("GET /v1/nodes/r1n01/states").send_to(running);
    let record = request("GET /v1/nodes/r1n01").send_to(running).json();
    for (name, value) in states.json().as_object().expect("an object") {
        assert_eq!(record.get(name), Some(value), "{name}");
    }
    assert_eq!(record["reservation"], "r1");
    insta::assert_snapshot!(states.text(), @r####"
{"console_enabled":false,"last_error":"aborted by alice","power_state":"error","provision_state":"active","provision_updated_at":null,"raid_config":{},"supported_power_states":["power on","power off","rebooting","soft rebooting","soft power off","inject nmi","abort soft rebooting","abort soft power off","abort inject nmi"],"target_power_state":"soft power off","target_provision_state":null,"target_raid_config":{}}
"####);
}

#[test]
fn a_power_state_that_is_not_known_is_null() {
    let unknown = |_| {
        Ok(Answer::Node(Node {
            power_state: PowerState::Unknown,
            ..node()
        }))
    };
    let body = request("GET /v1/nodes/r1n01/states")
        .send_to(unknown)
        .json();
    assert_eq!(body["power_state"], Value::Null);
}

#[test]
fn every_record_reads_as_the_type_that_clients_of_ours_read() {
    let body = request("GET /v1/nodes/r1n01").send().json();
    let typed: Node = serde_json::from_value(body.clone()).expect("a node");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), body);
}

#[test]
fn a_name_is_no_name_below_1_5() {
    for path in ["/v1/nodes/r1n01", "/v1/nodes/r1n01/states"] {
        let exchange = request(&format!("GET {path}")).version("1.4").send();
        assert_eq!((exchange.status(), exchange.calls.len()), (404, 0));
        assert_eq!(
            exchange.complaint(),
            "Node r1n01 could not be found. (Names of nodes need the header X-OpenStack-Ironic-API-Version: 1.5 or \
             newer.)"
        );
        assert_eq!(
            request(&format!("GET {path}"))
                .version("1.5")
                .send()
                .status(),
            200
        );
    }
    assert_eq!(
        request(&format!("GET /v1/nodes/{UUID}"))
            .version("1.1")
            .send()
            .status(),
        200
    );
}

#[test]
fn dot_json_behind_a_node_is_an_old_habit() {
    assert_eq!(request("GET /v1/nodes/r1n01.json").send().status(), 200);
}

#[test]
fn versions_are_negotiated_as_the_clients_do_it() {
    // `baremetal` begins with its own maximum, reads the headers of GET /v1, and repeats at the
    // lower of the two.
    let exchange = request("GET /v1/nodes").version("1.115").send();
    insta::assert_snapshot!(exchange.transcript(), @r####"
406 Not Acceptable
content-type: application/json
openstack-request-id: req-0
x-openstack-request-id: req-0
x-openstack-ironic-api-minimum-version: 1.1
x-openstack-ironic-api-maximum-version: 1.31
x-openstack-ironic-api-version: 1.1

{"error_message":"{\"code\":406,\"title\":\"Not Acceptable\",\"description\":\"Version 1.115 was requested but the minor version is not supported by this service. The supported version range is: [1.1, 1.31].\"}"}
"####);
    let exchange = request("GET /v1/").version("1.115").send();
    assert_eq!(exchange.status(), 406);
    let exchange = request("GET /v1/")
        .without("x-openstack-ironic-api-version")
        .send();
    assert_eq!(exchange.status(), 200);
    assert_eq!(
        exchange.header("x-openstack-ironic-api-maximum-version"),
        Some("1.31")
    );
    assert_eq!(
        exchange.header("x-openstack-ironic-api-minimum-version"),
        Some("1.1")
    );
    assert_eq!(
        exchange.header("x-openstack-ironic-api-version"),
        Some("1.1")
    );
}

#[test]
fn the_roots() {
    insta::assert_snapshot!(request("GET /").version("9.9").send().transcript(), @r####"
200 OK
content-type: application/json
openstack-request-id: req-0
x-openstack-request-id: req-0
x-openstack-ironic-api-minimum-version: 1.1
x-openstack-ironic-api-maximum-version: 1.31
x-openstack-ironic-api-version: 1.1

{"default_version":{"id":"v1","links":[{"href":"http://rack.example:6385/v1/","rel":"self"}],"min_version":"1.1","status":"CURRENT","version":"1.31"},"description":"Power control of one rack's machines by rackbmcd, in the words of OpenStack Ironic's node API.","extensions":["abort-targets","supported-power-states","tasks","batches","events","pause","explain","node-retry","node-identify","node-raw"],"name":"OpenStack Ironic API","versions":[{"id":"v1","links":[{"href":"http://rack.example:6385/v1/","rel":"self"}],"min_version":"1.1","status":"CURRENT","version":"1.31"}]}
"####);
    insta::assert_snapshot!(request("GET /v1").send().text(), @r####"
{"chassis":[{"href":"http://rack.example:6385/v1/chassis/","rel":"self"},{"href":"http://rack.example:6385/chassis/","rel":"bookmark"}],"drivers":[{"href":"http://rack.example:6385/v1/drivers/","rel":"self"},{"href":"http://rack.example:6385/drivers/","rel":"bookmark"}],"id":"v1","links":[{"href":"http://rack.example:6385/v1/","rel":"self"}],"media_types":[{"base":"application/json","type":"application/vnd.openstack.ironic.v1+json"}],"nodes":[{"href":"http://rack.example:6385/v1/nodes/","rel":"self"},{"href":"http://rack.example:6385/nodes/","rel":"bookmark"}],"ports":[{"href":"http://rack.example:6385/v1/ports/","rel":"self"},{"href":"http://rack.example:6385/ports/","rel":"bookmark"}],"version":{"id":"v1","links":[{"href":"http://rack.example:6385/v1/","rel":"self"}],"min_version":"1.1","status":"CURRENT","version":"1.31"}}
"####);
}

#[test]
fn fields_are_exactly_those_and_links() {
    let body = request("GET /v1/nodes/r1n01?fields=uuid,power_state%2Cname")
        .send()
        .json();
    let members: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["links", "name", "power_state", "uuid"]);
    for path in ["/v1/nodes/r1n01", "/v1/nodes"] {
        assert_eq!(
            request(&format!("GET {path}?fields=nosuch"))
                .send()
                .status(),
            400,
            "{path}"
        );
        assert_eq!(
            request(&format!("GET {path}?fields=")).send().status(),
            400,
            "{path}"
        );
        assert_eq!(
            request(&format!("GET {path}?fields=uuid"))
                .version("1.7")
                .send()
                .status(),
            406,
            "{path}"
        );
        assert_eq!(
            request(&format!("GET {path}?fields=power_interface"))
                .version("1.30")
                .send()
                .status(),
            406,
            "{path}"
        );
    }
    assert_eq!(
        request("GET /v1/nodes/detail?fields=uuid").send().status(),
        400
    );
    assert_eq!(
        request("GET /v1/nodes?fields=uuid&detail=true")
            .send()
            .status(),
        400
    );
    assert_eq!(
        request("GET /v1/nodes/r1n01/states?fields=power_state")
            .send()
            .status(),
        400
    );
}

/// A client of the Unix socket that goes where `next` leads would go to port 80.
#[test]
fn a_next_page_names_no_host_where_the_client_named_none() {
    let five = |_| Ok(Answer::Nodes((1..=5).map(numbered).collect()));
    let next = |host: &'static str| {
        let asked = request("GET /v1/nodes?limit=2").header("host", host);
        let body = asked.send_to(five).json();
        body["next"].as_str().expect("a next page").to_owned()
    };
    assert!(next("localhost").starts_with("/v1/nodes?limit=2&marker="));
    assert!(next("").starts_with("/v1/nodes?"));
    assert!(next("rack.example").starts_with("http://rack.example/v1/nodes?"));
    let tcp = request("GET /v1/nodes")
        .header("host", "localhost")
        .from(Peer::tcp());
    assert_eq!(crate::api::message::base_of_pages(&tcp), "http://localhost");
}

#[test]
fn pages_neither_lose_nor_repeat_a_node() {
    let five = |_| Ok(Answer::Nodes((1..=5).map(numbered).collect()));
    let mut address = "/v1/nodes?limit=2&sort_key=name&sort_dir=desc".to_owned();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let body = request(&format!("GET {address}")).send_to(five).json();
        for node in body["nodes"].as_array().expect("a list") {
            seen.push(node["name"].as_str().expect("a name").to_owned());
        }
        let Some(next) = body.get("next").and_then(Value::as_str) else {
            break;
        };
        assert!(next.contains("sort_key=name&sort_dir=desc"), "{next}");
        address = next
            .strip_prefix("http://rack.example:6385")
            .expect("our address")
            .to_owned();
    }
    assert_eq!(seen, ["r1n05", "r1n04", "r1n03", "r1n02", "r1n01"]);
    let unknown = format!("GET /v1/nodes?marker={UUID}");
    assert_eq!(request(&unknown).send_to(five).status(), 404);
    for bad in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "sort_key=colour",
        "sort_dir=up",
        "colour=red",
        "maintenance=maybe",
        "instance_uuid=x",
    ] {
        assert_eq!(
            request(&format!("GET /v1/nodes?{bad}"))
                .send_to(five)
                .status(),
            400,
            "{bad}"
        );
    }
    assert_eq!(
        request("GET /v1/nodes?limit=100000000000")
            .send_to(five)
            .status(),
        200
    );
}

#[test]
fn filters_show_what_fits() {
    let two = |_| {
        let mut held = numbered(2);
        held.rackbmcd.maintenance = Some(hold());
        Ok(Answer::Nodes(vec![numbered(1), held]))
    };
    for (query, count) in [
        ("maintenance=true", 1),
        ("maintenance=no", 1),
        ("associated=true", 0),
        ("associated=false", 2),
        ("driver=ipmi", 2),
        ("driver=redfish", 0),
        ("provision_state=active", 2),
        ("provision_state=available", 0),
        ("conductor=r1", 2),
        ("conductor=r2", 0),
        ("fault=none", 2),
        ("resource_class=gold", 0),
        ("instance_uuid=1be26c0b-03f2-4d2e-ae87-c02d7f33c123", 0),
    ] {
        let body = request(&format!("GET /v1/nodes?{query}"))
            .send_to(two)
            .json();
        assert_eq!(
            body["nodes"].as_array().map(Vec::len),
            Some(count),
            "{query}"
        );
    }
    assert_eq!(
        request("GET /v1/nodes?driver=ipmi")
            .version("1.15")
            .send_to(two)
            .status(),
        406
    );
    assert_eq!(
        request("GET /v1/nodes?provision_state=active")
            .version("1.8")
            .send_to(two)
            .status(),
        406
    );
}

#[test]
fn of_several_hosts_the_owner_is_a_nodes_conductor_and_has_its_reservation() {
    let owned = |_| {
        let mut node = numbered(1);
        node.rackbmcd.owner = Some("mgmt1".into());
        node.rackbmcd.task = Some(TASK.parse().expect("a uuid"));
        Ok(Answer::Nodes(vec![node]))
    };
    for (query, count) in [
        ("conductor=mgmt1&conductor_group=r1", 1),
        ("conductor=r1", 0),
        ("conductor_group=", 0),
    ] {
        let list = request(&format!("GET /v1/nodes/detail?{query}"));
        let body = list.send_to(owned).json();
        assert_eq!(
            body["nodes"].as_array().map(Vec::len),
            Some(count),
            "{query}"
        );
        if count > 0 {
            assert_eq!(body["nodes"][0]["reservation"], "mgmt1");
            assert_eq!(body["nodes"][0]["rackbmcd"]["owner"], "mgmt1");
        }
    }
}

#[test]
fn validate_has_the_interfaces_that_clients_require() {
    let well = request("GET /v1/nodes/r1n01/validate").send().json();
    for name in ["power", "management"] {
        assert_eq!(well[name]["result"], true, "{name}");
    }
    for name in ["boot", "deploy"] {
        assert!(well[name].get("result").is_some(), "{name}");
    }
    let ill = |_| {
        let mut view = node();
        view.rackbmcd.bmc.trouble = Some(Trouble::WrongPassword.into());
        view.rackbmcd.bmc.trouble_text = Some("the password is wrong".into());
        Ok(Answer::Node(view))
    };
    let body = request("GET /v1/nodes/r1n01/validate").send_to(ill).json();
    assert_eq!(body["power"]["reason"], "the password is wrong");
    assert_eq!(body["power"]["result"], false);
}

#[test]
fn there_is_one_driver_one_conductor_and_nothing_else() {
    let body = request("GET /v1/drivers").send().json();
    assert_eq!(body["drivers"][0]["name"], "ipmi");
    assert_eq!(body["drivers"][0]["hosts"], json!(["r1"]));
    assert_eq!(
        request("GET /v1/drivers/ipmi").send().json()["name"],
        "ipmi"
    );
    assert_eq!(request("GET /v1/drivers/redfish").send().status(), 404);
    assert!(request("GET /v1/drivers/ipmi/properties").send().json()["ipmi_address"].is_string());
    assert_eq!(
        request("GET /v1/conductors").send().json()["conductors"][0]["hostname"],
        "r1"
    );
    assert_eq!(
        request("GET /v1/chassis").send().json(),
        json!({ "chassis": [] })
    );
    assert_eq!(
        request("GET /v1/ports").send().json(),
        json!({ "ports": [] })
    );
}

#[test]
fn the_inventory_is_not_changed_over_the_api_and_says_where_it_is() {
    for line in [
        "POST /v1/nodes",
        "PATCH /v1/nodes/r1n01",
        "DELETE /v1/nodes/r1n01",
    ] {
        let exchange = request(line).body("{}").send();
        assert_eq!(exchange.status(), 405, "{line}");
        assert!(exchange.complaint().contains("configuration"), "{line}");
    }
    assert_eq!(request("DELETE /v1/nodes/nosuch").send().status(), 404);
}

#[test]
fn a_history_entry_has_the_same_name_on_every_reading() {
    let rack = |call| match call {
        Call::History { limit: 100, .. } => Ok(Answer::History(vec![HistoryEntry {
            at: at(7),
            kind: HistoryKind::Task.into(),
            text: "soft power off failed: out of time".into(),
            task: Some(TASK.parse().expect("a uuid")),
            by: Some("alice".into()),
            severity: Severity::Error.into(),
            more: serde_json::Map::new(),
        }])),
        other => obliging(other),
    };
    let by_name = request("GET /v1/nodes/r1n01/history").send_to(rack);
    let by_uuid = request(&format!("GET /v1/nodes/{UUID}/history")).send_to(rack);
    assert_eq!(by_name.text(), by_uuid.text());
    insta::assert_snapshot!(by_name.text(), @r####"
{"history":[{"created_at":"2015-08-01T00:00:07.000000+00:00","event_type":"task","event":"soft power off failed: out of time","task":"01890a5d-ac96-774b-bcce-b302099a8057","user":"alice","severity":"ERROR","conductor":"r1","uuid":"c3bb401e-22fa-5fde-888c-7aa1e5171976"}]}
"####);
}

#[test]
fn a_path_without_a_version_is_one_of_the_default_version() {
    // The bookmark links have this form, and openstacksdk asks so where there is no catalog.
    assert_eq!(
        request("GET /nodes").send().json()["nodes"][0]["name"],
        "r1n01"
    );
    let exchange = request("GET /nodes/r1n01").version("1.115").send();
    assert_eq!(exchange.status(), 406);
    let exchange = request("PUT /nodes/r1n01/states/power")
        .body(r#"{"target": "power on"}"#)
        .send();
    assert_eq!(
        exchange.header("location"),
        Some("http://rack.example:6385/v1/nodes/r1n01/states")
    );
    assert_eq!(request("GET /tasks").send().status(), 404);
}
