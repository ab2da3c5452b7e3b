//! The roots of Ironic's API, its one driver, its one conductor, and the lists that are empty here.

use super::record::{DRIVER, links};
use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::api::version::{MAXIMUM, MINIMUM};
use crate::model::{ErrorKind, Health};
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
pub async fn versions(request: RequestContext) -> Result<Response, Fault> {
    let entry = version_entry(&request.base);
    Ok(Response::ok(&json!({
        "name": "OpenStack Ironic API",
        "description": "Power control of one rack's machines by rackbmcd, in the words of OpenStack Ironic's node API.",
        "default_version": entry.clone(),
        "versions": [entry],
        "extensions": EXTENSIONS,
    })))
}

/// `GET /v1`
pub async fn v1(request: RequestContext) -> Result<Response, Fault> {
    let base = &request.base;
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
    Ok(Response::ok(&body))
}

/// The one that hosts the driver is the rack's daemon: its name is the rack's.
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
pub async fn drivers(request: RequestContext) -> Result<Response, Fault> {
    let kind = request.query.value("type");
    let rack = request.rack.health().await?.rack;
    let all = match kind.is_none_or(|kind| kind == "dynamic") {
        true => vec![driver_entry(&request.base, &rack)],
        false => Vec::new(),
    };
    Ok(Response::ok(&json!({ "drivers": all })))
}

/// 404 for a driver that is not there.
fn known_driver(request: &RequestContext) -> Result<(), Fault> {
    let name = request.param("driver");
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
pub async fn driver(request: RequestContext) -> Result<Response, Fault> {
    known_driver(&request)?;
    let rack = request.rack.health().await?.rack;
    Ok(Response::ok(&driver_entry(&request.base, &rack)))
}

/// `GET /v1/drivers/{driver}/properties`
pub async fn driver_properties(request: RequestContext) -> Result<Response, Fault> {
    // Clients of some ages ask through a query of this path, those of others through the path of the driver.
    known_driver(&request)?;
    Ok(Response::ok(&json!({
        "ipmi_address": "Host name or address of the BMC (in the daemon's configuration: address).",
        "ipmi_port": "UDP port of the BMC (port).",
        "ipmi_username": "The user to log in as (username).",
        "ipmi_password": "That user's password; never shown (password_file or password_credential).",
        "ipmi_priv_level": "The privilege of the session (privilege).",
        "ipmi_protocol_version": "The version of IPMI.",
    })))
}

/// `GET /v1/conductors`
pub async fn conductors(request: RequestContext) -> Result<Response, Fault> {
    let Health {
        rack, started_at, ..
    } = request.rack.health().await?;
    Ok(Response::ok(&json!({
        "conductors": [{
            "hostname": rack,
            "conductor_group": "",
            "alive": true,
            "created_at": started_at.to_string(),
            "updated_at": Value::Null,
            "drivers": [DRIVER],
            "links": links(&request.base, &format!("conductors/{rack}")),
        }]
    })))
}

/// `GET /v1/chassis`
pub async fn chassis(_: RequestContext) -> Result<Response, Fault> {
    Ok(Response::ok(&json!({ "chassis": [] })))
}

/// `GET /v1/ports`
pub async fn ports(_: RequestContext) -> Result<Response, Fault> {
    Ok(Response::ok(&json!({ "ports": [] })))
}
