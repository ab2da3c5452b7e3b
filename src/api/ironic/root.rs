//! The roots of Ironic's API, its one driver, its conductors, and the lists that are empty here.

use super::record::{DRIVER, links};
use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::api::version::{MAXIMUM, MINIMUM};
use crate::model::{ErrorKind, Ha, HaRole, Health};
use crate::time::WallTime;
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
pub(crate) async fn versions(request: RequestContext) -> Result<Response, Fault> {
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
pub(crate) async fn v1(request: RequestContext) -> Result<Response, Fault> {
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

/// Who has nodes, as Ironic knows it.
#[derive(Debug, PartialEq)]
struct Conductor {
    name: String,
    /// Those of one group can have the same nodes.
    group: String,
    alive: bool,
    since: WallTime,
    seen: Option<WallTime>,
}

impl Conductor {
    /// The hosts of the rack; where it has one, the rack's daemon goes by the rack's name.
    async fn all(request: &RequestContext) -> Result<Vec<Self>, Fault> {
        let health = request.rack.health().await?;
        Ok(Self::of(&request.rack.ha().await, health))
    }

    fn of(ha: &Ha, health: Health) -> Vec<Self> {
        if ha.role == HaRole::Alone {
            return vec![Self {
                name: health.rack,
                group: String::new(),
                alive: true,
                since: health.started_at,
                seen: None,
            }];
        }
        let hosts = ha.hosts.iter().map(|host| Self {
            name: host.host.clone(),
            group: ha.rack.clone(),
            alive: host.alive,
            since: host.started_at,
            seen: Some(host.said_at),
        });
        hosts.collect()
    }

    fn entry(&self, base: &str) -> Value {
        let name = &self.name;
        json!({
            "hostname": name,
            "conductor_group": self.group,
            "alive": self.alive,
            "created_at": self.since.to_string(),
            "updated_at": self.seen.map(|at| at.to_string()),
            "drivers": [DRIVER],
            "links": links(base, &format!("conductors/{name}")),
        })
    }
}

/// Those who host the driver are the rack's daemons.
fn driver_entry(base: &str, conductors: &[Conductor]) -> Value {
    let alive = conductors.iter().filter(|conductor| conductor.alive);
    let hosts: Vec<&str> = alive.map(|conductor| conductor.name.as_str()).collect();
    json!({
        "name": DRIVER,
        "hosts": hosts,
        "type": "dynamic",
        "links": links(base, &format!("drivers/{DRIVER}")),
        "properties": links(base, &format!("drivers/{DRIVER}/properties")),
    })
}

/// `GET /v1/drivers`
pub(crate) async fn drivers(request: RequestContext) -> Result<Response, Fault> {
    let kind = request.query.value("type");
    let conductors = Conductor::all(&request).await?;
    let all = match kind.is_none_or(|kind| kind == "dynamic") {
        true => vec![driver_entry(&request.base, &conductors)],
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
pub(crate) async fn driver(request: RequestContext) -> Result<Response, Fault> {
    known_driver(&request)?;
    let conductors = Conductor::all(&request).await?;
    Ok(Response::ok(&driver_entry(&request.base, &conductors)))
}

/// `GET /v1/drivers/{driver}/properties`
pub(crate) async fn driver_properties(request: RequestContext) -> Result<Response, Fault> {
    // Clients of some ages ask through a query of this path, those of others through the path of
    // the driver.
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
pub(crate) async fn conductors(request: RequestContext) -> Result<Response, Fault> {
    let conductors = Conductor::all(&request).await?;
    let conductors = conductors.iter().map(|each| each.entry(&request.base));
    let conductors: Vec<Value> = conductors.collect();
    Ok(Response::ok(&json!({ "conductors": conductors })))
}

/// `GET /v1/chassis`
pub(crate) async fn chassis(_: RequestContext) -> Result<Response, Fault> {
    Ok(Response::ok(&json!({ "chassis": [] })))
}

/// `GET /v1/ports`
pub(crate) async fn ports(_: RequestContext) -> Result<Response, Fault> {
    Ok(Response::ok(&json!({ "ports": [] })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HaHost;

    #[test]
    fn the_hosts_of_a_rack_are_its_conductors_and_the_rack_is_their_group() {
        let host = |name: &str, alive| HaHost {
            host: name.to_owned(),
            alive,
            ..HaHost::default()
        };
        let mut ha = Ha {
            rack: "r1".to_owned(),
            role: HaRole::Standby.into(),
            hosts: vec![host("mgmt1", false), host("mgmt2", true)],
            ..Ha::default()
        };
        let health = || Health {
            rack: "r1".to_owned(),
            ..Health::default()
        };
        let conductors = Conductor::of(&ha, health());
        let entries: Vec<Value> = conductors.iter().map(|each| each.entry("")).collect();
        assert_eq!(entries[0]["hostname"], "mgmt1");
        assert_eq!(entries[0]["alive"], false);
        assert_eq!(entries[1]["conductor_group"], "r1");
        assert_eq!(driver_entry("", &conductors)["hosts"], json!(["mgmt2"]));
        ha.role = HaRole::Alone.into();
        let alone = Conductor::of(&ha, health());
        assert_eq!(alone.len(), 1);
        assert_eq!(
            (alone[0].name.as_str(), alone[0].group.as_str()),
            ("r1", "")
        );
    }
}
