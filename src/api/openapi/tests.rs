//! The document against the routes, the types, and the answers.

use super::schemas::{SCHEMAS, members};
use super::*;
use crate::api::ironic::record::{MEMBERS, STATES};
use crate::model as types;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn every_reference_leads_somewhere_and_every_shape_is_used() {
    let text = document().to_string();
    let known: BTreeSet<&str> = SCHEMAS.iter().map(|schema| schema.name).collect();
    let used: BTreeSet<&str> = text
        .split("#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(used, known);
}

#[test]
fn operation_ids_are_unique() {
    let document = document();
    let paths = document["paths"].as_object().expect("paths");
    let ids: Vec<&str> = paths
        .values()
        .filter_map(Value::as_object)
        .flat_map(|item| {
            item.values()
                .filter_map(|operation| operation["operationId"].as_str())
        })
        .collect();
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "{ids:?}"
    );
    let described = ROUTES.iter().flat_map(|route| route.endpoints);
    let described = described.filter(|endpoint| !endpoint.refusing);
    assert_eq!(ids.len(), described.count());
}

/// The members of a shape against those of the type that is really written.
fn same<T: Serialize + Default>(name: &str) {
    same_as(&T::default(), name);
}

/// The same of a type that has no empty value.
fn same_as(value: &impl Serialize, name: &str) {
    let schema = SCHEMAS
        .iter()
        .find(|schema| schema.name == name)
        .expect(name);
    let described: BTreeSet<String> = members(schema.members)
        .map(|(member, _)| member.trim_end_matches('!').to_owned())
        .collect();
    let value = serde_json::to_value(value).expect("JSON");
    let written: BTreeSet<String> = value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert!(
        written.is_subset(&described),
        "{name}: {written:?} {described:?}"
    );
    // What is left out while it is empty is described all the same.
    let kept: Vec<&String> = described.difference(&written).collect();
    let optional = [
        "next",
        "owner",
        "timeout",
        "on_soft_timeout",
        "repeat_soft_after",
        "hard_after",
        "boot_device",
        "uefi",
        "on_if_off",
        "on_busy",
        "take_over",
        "exclude",
        "max_parallel",
        "stagger",
        "on_failure",
        "order",
        "dry_run",
        "nodes",
        "for",
    ];
    let empty = name == "BmcAnswer";
    assert!(
        empty
            || kept
                .iter()
                .all(|member| optional.contains(&member.as_str())),
        "{name}: {kept:?}"
    );
}

#[test]
fn the_shapes_of_a_node_have_the_members_of_the_record() {
    for (name, shown) in [
        ("Node", MEMBERS.iter().map(|(member, _)| *member).collect()),
        ("NodeStates", STATES.to_vec()),
    ] {
        let schema = SCHEMAS.iter().find(|schema| schema.name == name);
        let described = members(schema.expect(name).members).map(|(member, _)| member);
        let described: BTreeSet<&str> = described.collect();
        assert_eq!(described, shown.into_iter().collect(), "{name}");
    }
}

#[test]
fn the_shapes_have_the_members_of_the_types() {
    same::<types::Stale>("Stale");
    same::<types::NodeList>("NodeList");
    same::<types::NodeDetail>("Extension");
    same::<types::BmcSummary>("Bmc");
    same::<types::Hold>("Hold");
    same::<types::History>("History");
    same::<types::Explanation>("Explanation");
    same::<types::Trace>("Trace");
    same::<types::Fact>("Fact");
    same::<types::Failure>("Failure");
    same::<types::OrderAnswer>("OrderAnswer");
    same::<types::BmcAnswer>("BmcAnswer");
    let chassis = r#"{"power": "power on", "faults": [], "last_power_event": []}"#;
    let chassis: types::Chassis = serde_json::from_str(chassis).expect("JSON");
    same_as(&chassis, "ChassisFacts");
    let policy = types::RestorePolicyRequest {
        policy: types::RestorePolicy::Previous,
    };
    same_as(&policy, "RestorePolicyRequest");
    same::<types::EventLog>("EventLog");
    same::<types::EventLogEntry>("EventLogEntry");
    same::<types::BootOverride>("BootOverride");
    same::<types::BootOverrideRequest>("BootOverrideRequest");
    same::<types::TaskList>("TaskList");
    same::<types::Task>("Task");
    same::<types::TaskNews>("TaskNews");
    same::<types::Who>("Requester");
    same::<types::OrderUse>("OrderUse");
    same::<types::ControlUse>("ControlUse");
    same::<types::BatchList>("BatchList");
    same::<types::Batch>("Batch");
    same::<types::BatchNode>("BatchNode");
    same::<types::Events>("Events");
    same::<types::Event>("Event");
    same::<types::Asker>("Asker");
    same::<types::RoleOnNodes>("RoleOnNodes");
    same::<types::Pausing>("Pausing");
    same::<types::AuditPage>("AuditPage");
    same::<types::AuditHead>("AuditHead");
    same::<types::Support>("Support");
    same::<types::Health>("Health");
    same::<types::UnreadableEntry>("UnreadableEntry");
    same::<types::ConfigurationRefused>("ConfigurationRefused");
    same::<types::Error>("Error");
    let operation = types::Operation::PowerOn;
    let start = types::TaskStart {
        node: "n1".to_owned(),
        operation,
        options: Default::default(),
    };
    same_as(&start, "TaskStart");
    same_as(&types::BatchStart::new(Vec::new(), operation), "BatchStart");
    let reading = types::PowerReading {
        power_state: types::Power::On.into(),
        at: Default::default(),
        age: Default::default(),
    };
    same_as(&reading, "Reading");
    same::<types::BatchControl>("BatchControl");
    same::<types::ReadingsRequest>("ReadingsRequest");
    same::<types::MaintenanceRequest>("MaintenanceRequest");
    same::<types::BmcChange>("BmcChange");
    let accept = types::AcceptRequest {
        guid: Default::default(),
    };
    same_as(&accept, "AcceptRequest");
    same::<types::IdentifyRequest>("IdentifyRequest");
    same::<types::FreshReading>("FreshReading");
}

#[test]
fn the_shapes_of_hosts_and_of_what_experts_ask_for_have_the_members_of_the_types() {
    same::<types::Ha>("Ha");
    same::<types::HaOwner>("HaOwner");
    same::<types::HaEtcd>("HaEtcd");
    same::<types::HaHost>("HaHost");
    same::<types::HandoverRequest>("HandoverRequest");
    let reason = "smoke".to_owned();
    same_as(&types::PauseRequest { reason }, "PauseRequest");
    let kind = types::BmcReset::Cold;
    same_as(&types::BmcResetRequest { kind }, "BmcResetRequest");
    let raw = types::RawRequest {
        net_fn: 6,
        lun: 0,
        command: 1,
        data: Vec::new(),
        bridge: Some(types::Bridge::default()),
    };
    same_as(&raw, "RawRequest");
    same::<types::Bridge>("Bridge");
    let dual = types::Bridge {
        transit_channel: Some(0),
        transit_address: Some(0x82),
        ..Default::default()
    };
    same_as(&dual, "DualBridge");
    let entry = types::HistoryEntry {
        at: Default::default(),
        kind: types::HistoryKind::Task.into(),
        text: String::new(),
        task: None,
        by: None,
        severity: types::Severity::Info.into(),
        // What Ironic has beside it.
        more: json!({ "uuid": null, "conductor": null })
            .as_object()
            .cloned()
            .expect("an object"),
    };
    same_as(&entry, "HistoryEntry");
}

/// Of each answer to a GET it was decided whether a host without the rack gives it from what etcd
/// has, and then says how old that is.
#[test]
fn every_look_is_told_of_another_host_with_its_age_or_is_one_that_is_not() {
    // The host's own matters, what only BMCs know, and what is always the same.
    let others: BTreeSet<&str> = [
        "Anything",
        "Asker",
        "AuditPage",
        "BmcAnswer",
        "BootDevice",
        "BootOverride",
        "Chassis",
        "Conductors",
        "Driver",
        "DriverProperties",
        "Drivers",
        "EventLog",
        "Events",
        "Ha",
        "Health",
        "Owning",
        "Ports",
        "Root",
        "Support",
        "SupportedBootDevices",
        "Versions",
    ]
    .into();
    let looks = ROUTES.iter().flat_map(|route| route.endpoints);
    let looks = looks.filter(|endpoint| endpoint.method == Verb::Get && !endpoint.refusing);
    let brought: BTreeSet<&str> = looks.map(|endpoint| endpoint.brings).collect();
    let decided: BTreeSet<&str> = MIRRORED.iter().copied().chain(others).collect();
    let undecided: Vec<_> = brought.difference(&decided).collect();
    assert!(
        undecided.iter().all(|name| name.is_empty()),
        "{undecided:?}"
    );
    assert_eq!(decided.difference(&brought).next(), None);
}

/// The kinds of a shape's members against the type that is really written, in a value where nothing
/// is missing. What is missing in an empty one is null, and may be so in the shape, too.
fn same_kinds<T: Serialize + Default>(full: &T, name: &str) {
    let full = serde_json::to_value(full).expect("JSON");
    let empty = serde_json::to_value(T::default()).expect("JSON");
    let document = document();
    let misfit = misfit(&full, &reference(name), &document, name);
    assert_eq!(misfit, None);
    let schema = SCHEMAS.iter().find(|schema| schema.name == name);
    for (member, kind) in members(schema.expect(name).members) {
        assert!(!full[member].is_null(), "{name}.{member} is missing here");
        let missing = empty[member].is_null();
        assert_eq!(kind.ends_with('?'), missing, "{name}.{member} is {kind}");
    }
}

#[test]
fn the_members_of_a_task_are_of_the_kinds_that_its_shapes_say() {
    let control = types::ControlUse {
        control: types::Control::Abort.into(),
        ..Default::default()
    };
    same_kinds(&control, "ControlUse");
    let order = types::OrderUse {
        answered_at: Some(Default::default()),
        answer: Some("accepted".to_owned()),
        completion_code: Some(0xC0),
        ..Default::default()
    };
    same_kinds(&order, "OrderUse");
    let who = types::Who {
        uid: Some(0),
        gid: Some(0),
        pid: Some(1),
        ..Default::default()
    };
    same_kinds(&who, "Requester");
    let task = types::Task {
        batch: Some(Default::default()),
        operation: types::Operation::PowerOn.into(),
        state: types::TaskState::Running.into(),
        target_power_state: Some(types::Target::PowerOn.into()),
        requested_by: who,
        started_at: Some(Default::default()),
        ended_at: Some(Default::default()),
        time_left: Some(Default::default()),
        power_at_start: Some(types::Power::Off.into()),
        power_state: Some(types::Power::On.into()),
        orders: vec![order],
        outcome: Some("done".to_owned()),
        controls: vec![control],
        took_over: Some(Default::default()),
        taken_over_by: Some(Default::default()),
        ..Default::default()
    };
    same_kinds(&task, "Task");
    // An event says of a task what the task says of itself, under the same names.
    let news = serde_json::from_value(serde_json::to_value(&task).unwrap());
    let news: types::TaskNews = news.unwrap();
    same_kinds(&news, "TaskNews");
}

/// What of `value` does not fit `schema`: the parts of JSON Schema that the document uses, and no
/// more.
pub(in crate::api) fn misfit(
    value: &Value,
    schema: &Value,
    document: &Value,
    at: &str,
) -> Option<String> {
    let say = |what: String| Some(format!("{at}: {what}: {value}"));
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let target = document.pointer(path.trim_start_matches('#')).expect(path);
        return misfit(value, target, document, at);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let tried: Vec<String> = choices
            .iter()
            .filter_map(|choice| misfit(value, choice, document, at))
            .collect();
        return (tried.len() == choices.len()).then(|| tried.join(" / "));
    }
    if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
        let mut all = all.iter();
        return all.find_map(|each| misfit(value, each, document, at));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        return say(format!("none of {words:?}"));
    }
    let fits = match schema.get("type").and_then(Value::as_str) {
        None => true,
        Some("null") => value.is_null(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => panic!("unknown type {other}"),
    };
    if !fits {
        return say(format!("not {}", schema["type"]));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        return values
            .iter()
            .enumerate()
            .find_map(|(index, value)| misfit(value, items, document, &format!("{at}[{index}]")));
    }
    let (Some(properties), Some(members)) = (
        schema.get("properties").and_then(Value::as_object),
        value.as_object(),
    ) else {
        return None;
    };
    members.iter().find_map(|(name, value)| {
        let known = properties.get(name)?;
        misfit(value, known, document, &format!("{at}.{name}"))
    })
}

#[test]
fn the_judge_of_answers_can_say_no() {
    let document = document();
    let schema = reference("Health");
    assert!(misfit(&json!({ "status": 1 }), &schema, &document, "").is_some());
    assert!(misfit(&json!({ "pause": { "by": null } }), &schema, &document, "").is_some());
    assert_eq!(
        misfit(
            &json!({ "status": "ok", "pause": null }),
            &schema,
            &document,
            ""
        ),
        None
    );
}

/// The document as it is shipped.
#[test]
fn the_document_in_docs_is_this_one() {
    let mut made = serde_json::to_string_pretty(&document()).expect("JSON");
    made.push('\n');
    crate::golden::compare("docs/openapi.json", &made, "as a client's author would");
}

/// Whatever the rack refuses, an endpoint that may be told so has its status in the document.
#[test]
fn every_refusal_of_the_rack_has_its_status_in_the_document() {
    use crate::api::fault::Fault;
    use crate::model::Delivery;
    use crate::rack::call::Refused;
    let text = String::new;
    let refusals = [
        Refused::NoSuchNode(text()),
        Refused::Invalid(text()),
        Refused::Store(text()),
        Refused::NotRead(text()),
        Refused::Unconfirmed(text()),
        Refused::NotHandedOver(text()),
        Refused::Moved {
            owner: None,
            url: None,
        },
        Refused::Unremembered(text()),
        Refused::Withdrawn {
            task: None,
            why: text(),
        },
        Refused::Stopping,
        Refused::Crowded(text()),
        Refused::NotAsAsked {
            node: text(),
            what: text(),
            text: text(),
        },
        Refused::Unanswered {
            node: text(),
            what: text(),
            trouble: crate::model::Trouble::Silent,
            text: text(),
            delivery: Delivery::Unknown,
        },
    ];
    let document = document();
    for path in [
        "/v1/nodes/{ident}/states/power",
        "/v1/nodes/{ident}/identify",
    ] {
        for refused in refusals.clone() {
            let route = ROUTES.iter().find(|route| route.path == path).expect(path);
            let fault = Fault::from(refused.clone()).fit(route.surface);
            let verb = route.endpoints[0].verb_key();
            let status = fault.status.as_u16().to_string();
            let named = &document["paths"][path][&verb]["responses"][&status];
            assert!(named.is_object(), "{path}: {refused:?}");
        }
    }
    // The disk may hang under whatever makes a task.
    for (path, verb) in [
        ("/v1/tasks", "post"),
        ("/v1/batches", "post"),
        ("/v1/nodes/{ident}/states/power", "put"),
    ] {
        let responses = &document["paths"][path][verb]["responses"];
        assert!(
            responses["504"]["description"]
                .as_str()
                .expect(path)
                .contains("withdrawn")
        );
    }
}
