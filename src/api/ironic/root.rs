//! The roots of Ironic's API, its one driver, its one conductor, and the lists that are empty here.

use super::record::{DRIVER, links};
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::api::plan::{Asking, Plan, ask, done, shown, stray};
use crate::api::version::{MAXIMUM, MINIMUM};
use crate::model::{ErrorKind, Health};
use crate::rack::call::{Answer, Call};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// What this daemon adds to Ironic's API, by name, for clients that look before they leap.
const EXTENSIONS: [&str; 10] = [
    "abort-targets",
    "supported-power-states",
    "tasks",
    "batches",
    "events",
    "pause",
    "explain",
    "node-retry",
    "node-identify",
    "node-raw",
];

fn version_entry(base: &str) -> Value {
    json!({
        "id": "v1",
        "links": [{ "href": format!("{base}/v1/"), "rel": "self" }],
        "status": "CURRENT",
        "min_version": MINIMUM.to_string(),
        "version": MAXIMUM.to_string(),
    })
}

/// `GET /`
pub fn versions(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let entry = version_entry(&asking.base);
    shown(&json!({
        "name": "OpenStack Ironic API",
        "description": "Power control of one rack's machines by rackbmcd, in the words of OpenStack Ironic's node API.",
        "default_version": entry.clone(),
        "versions": [entry],
        "extensions": EXTENSIONS,
    }))
}

/// `GET /v1`
pub fn v1(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let base = &asking.base;
    let mut body = Map::new();
    body.insert("id".into(), json!("v1"));
    body.insert(
        "links".into(),
        json!([{ "href": format!("{base}/v1/"), "rel": "self" }]),
    );
    body.insert(
        "media_types".into(),
        json!([{ "base": "application/json", "type": "application/vnd.openstack.ironic.v1+json" }]),
    );
    body.insert("version".into(), version_entry(base));
    for name in ["nodes", "chassis", "ports", "drivers"] {
        body.insert(name.into(), links(base, &format!("{name}/")));
    }
    shown(&body)
}

/// A conductor is where the driver runs: the rack's daemon. Its name is the rack's.
fn with_rack(
    then: impl FnOnce(&str, Health) -> Result<Plan, Fault> + Send + 'static,
) -> Result<Plan, Fault> {
    ask(Call::Health, move |answer| {
        let Answer::Health(view) = answer else {
            return Err(stray());
        };
        then(&view.rack.clone(), view)
    })
}

fn driver_entry(base: &str, host: &str) -> Value {
    json!({
        "name": DRIVER,
        "hosts": [host],
        "type": "dynamic",
        "links": links(base, &format!("drivers/{DRIVER}")),
        "properties": links(base, &format!("drivers/{DRIVER}/properties")),
    })
}

/// `GET /v1/drivers`
pub fn drivers(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&["type", "detail", "fields"])?;
    let wanted = asking
        .query
        .value("type")
        .is_none_or(|kind| kind == "dynamic");
    with_rack(move |rack, _| {
        let all = if wanted {
            vec![driver_entry(&asking.base, rack)]
        } else {
            Vec::new()
        };
        shown(&json!({ "drivers": all }))
    })
}

/// 404 for a driver that is not there.
fn known_driver(asking: &Asking) -> Result<(), Fault> {
    let name = asking.param("driver");
    if name == DRIVER {
        Ok(())
    } else {
        Err(Fault::new(
            StatusCode::NOT_FOUND,
            ErrorKind::NotFound,
            format!("Could not find the following driver(s) or hardware type(s): {name}."),
        ))
    }
}

/// `GET /v1/drivers/{driver}`
pub fn driver(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&["fields"])?;
    known_driver(&asking)?;
    with_rack(move |rack, _| shown(&driver_entry(&asking.base, rack)))
}

/// `GET /v1/drivers/{driver}/properties`
pub fn driver_properties(asking: Asking) -> Result<Plan, Fault> {
    // Clients of some ages ask through a query of this path, those of others through the path of the driver.
    asking.query.only(&["driver_name"])?;
    known_driver(&asking)?;
    shown(&json!({
        "ipmi_address": "Host name or address of the BMC (in the daemon's configuration: address).",
        "ipmi_port": "UDP port of the BMC (port).",
        "ipmi_username": "The user to log in as (username).",
        "ipmi_password": "That user's password; never shown (password_file or password_credential).",
        "ipmi_priv_level": "The privilege of the session (privilege).",
        "ipmi_protocol_version": "The version of IPMI.",
    }))
}

/// `GET /v1/conductors`
pub fn conductors(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[
        "fields", "limit", "marker", "sort_key", "sort_dir", "detail",
    ])?;
    with_rack(move |rack, health| {
        shown(&json!({
            "conductors": [{
                "hostname": rack,
                "conductor_group": "",
                "alive": true,
                "created_at": health.started_at.to_string(),
                "updated_at": Value::Null,
                "drivers": [DRIVER],
                "links": links(&asking.base, &format!("conductors/{rack}")),
            }]
        }))
    })
}

fn empty(asking: &Asking, what: &str) -> Result<Plan, Fault> {
    asking.query.only(&[
        "fields",
        "limit",
        "marker",
        "sort_key",
        "sort_dir",
        "detail",
        "node",
        "node_uuid",
        "address",
        "portgroup",
    ])?;
    done(Response::json(StatusCode::OK, &json!({ what: [] })))
}

/// `GET /v1/chassis`
pub fn chassis(asking: Asking) -> Result<Plan, Fault> {
    empty(&asking, "chassis")
}

/// `GET /v1/ports`
pub fn ports(asking: Asking) -> Result<Plan, Fault> {
    empty(&asking, "ports")
}
