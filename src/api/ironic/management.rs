//! What is asked of a BMC beside power (NMI, boot device), and what is said about a node beside its
//! states.

use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::message::{self, Response, check_reason};
use crate::api::version::INJECT_NMI;
use crate::bmc::vocabulary::Order;
use crate::model::{BootDevice, HaRole, History, HistoryEntry, MaintenanceRequest, Operation};
use http::StatusCode;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// The boot devices that Ironic has words for.
pub(crate) const DEVICES: [BootDevice; 5] = [
    BootDevice::Pxe,
    BootDevice::Disk,
    BootDevice::Cdrom,
    BootDevice::Bios,
    BootDevice::Safe,
];

/// `PUT /v1/nodes/{ident}/management/inject_nmi`
pub(crate) async fn inject_nmi(request: RequestContext) -> Result<Response, Fault> {
    if request.version < INJECT_NMI {
        return Err(Fault::no_route());
    }
    // Ironic injects whatever the body holds. A body that is no empty object was meant for
    // something else.
    message::is_json(&request.headers, &request.body)?;
    let empty = request.body.iter().all(u8::is_ascii_whitespace)
        || matches!(serde_json::from_slice(&request.body), Ok(Value::Object(members)) if members.is_empty());
    if !empty {
        return Err(Fault::bad(
            "an NMI takes no body but {}: this one was not injected",
        ));
    }
    let task = request.rack.inject_nmi(&request.node()?).await?;
    let response = Response::empty(StatusCode::NO_CONTENT);
    Ok(response.with("x-rackbmcd-task", task.id.to_string()))
}

/// `GET` and `PUT /v1/nodes/{ident}/management/boot_device`, as Ironic has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct BootDeviceBody {
    /// One of Ironic's words; null where nothing is overridden.
    boot_device: Option<String>,
    /// For every boot, or for the next one only.
    #[serde(default, deserialize_with = "spelled")]
    persistent: Option<bool>,
}

/// Yes or no, also in the words and numbers that Ironic takes for it.
fn spelled<'de, D: Deserializer<'de>>(value: D) -> Result<Option<bool>, D::Error> {
    let value = Value::deserialize(value)?;
    let truth = match &value {
        Value::Null => return Ok(None),
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => message::truth(text.trim()),
        Value::Number(number) => message::truth(&number.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    };
    let wrong = || D::Error::custom(format!("{value} is neither true nor false"));
    truth.map(Some).ok_or_else(wrong)
}

/// `GET /v1/nodes/{ident}/management/boot_device`
pub(crate) async fn boot_device(request: RequestContext) -> Result<Response, Fault> {
    let found = request.rack.boot_device(&request.node()?).await?;
    Ok(Response::ok(&BootDeviceBody {
        boot_device: found
            .device
            .filter(|device| DEVICES.contains(device))
            .map(|device| device.name().to_owned()),
        persistent: Some(found.persistent),
    }))
}

/// `PUT /v1/nodes/{ident}/management/boot_device`
pub(crate) async fn set_boot_device(request: RequestContext) -> Result<Response, Fault> {
    let wanted: BootDeviceBody = request.json()?;
    let node = request.node()?;
    let name = wanted.boot_device.unwrap_or_default();
    let device = DEVICES.into_iter().find(|device| device.name() == name);
    let Some(device) = device else {
        // As everywhere on Ironic's paths: first whether the node is there.
        request.rack.node(&node).await?;
        return Err(Fault::bad(format!(
            "Invalid boot device '{name}' specified. Supported boot devices are: {}.",
            DEVICES.map(BootDevice::name).join(", ")
        ))
        .about("member", "boot_device"));
    };
    let order = Order::SetBootDevice {
        device: Some(device),
        persistent: wanted.persistent.unwrap_or(false),
        uefi: false,
    };
    request.rack.order(&node, order).await?;
    Ok(Response::empty(StatusCode::NO_CONTENT))
}

/// `GET /v1/nodes/{ident}/management/boot_device/supported`
pub(crate) async fn supported_boot_devices(request: RequestContext) -> Result<Response, Fault> {
    request.rack.node(&request.node()?).await?;
    let words = DEVICES.map(BootDevice::name);
    Ok(Response::ok(&json!({ "supported_boot_devices": words })))
}

/// `PUT /v1/nodes/{ident}/maintenance`
pub(crate) async fn set_maintenance(request: RequestContext) -> Result<Response, Fault> {
    let wanted: MaintenanceRequest = request.json_or_default()?;
    check_reason(wanted.reason.as_deref().unwrap_or_default())?;
    maintenance(&request, Some(wanted.reason)).await
}

/// `DELETE /v1/nodes/{ident}/maintenance`; a body, whatever it calls itself, is not looked at.
pub(crate) async fn unset_maintenance(request: RequestContext) -> Result<Response, Fault> {
    maintenance(&request, None).await
}

async fn maintenance(
    request: &RequestContext,
    hold: Option<Option<String>>,
) -> Result<Response, Fault> {
    let node = request.node()?;
    request.rack.set_maintenance(&node, hold).await?;
    Ok(Response::empty(StatusCode::ACCEPTED))
}

/// `GET /v1/nodes/{ident}/validate`
pub(crate) async fn validate(request: RequestContext) -> Result<Response, Fault> {
    let node = request.rack.node(&request.node()?).await?;
    let trouble = node.rackbmcd.bmc.trouble_text.as_deref();
    let reach = json!({ "result": trouble.is_none(), "reason": trouble.unwrap_or_default() });
    let absent = |what: &str| json!({ "result": Value::Null, "reason": format!("rackbmcd has no {what} interface") });
    let mut body = serde_json::Map::new();
    for name in [
        "bios", "boot", "console", "deploy", "inspect", "network", "raid", "rescue", "storage",
    ] {
        body.insert(name.to_owned(), absent(name));
    }
    let nmi = node.takes(Operation::InjectNmi);
    let mut management = reach.clone();
    management["nmi"] = nmi.into();
    body.insert("management".into(), management);
    body.insert("power".into(), reach);
    Ok(Response::ok(&body))
}

/// How many entries of a history are shown where nobody says.
const HISTORY: usize = 100;
/// How many at most.
const HISTORY_LIMIT: usize = 1000;

/// `GET /v1/nodes/{ident}/history`
pub(crate) async fn history(request: RequestContext) -> Result<Response, Fault> {
    let limit = request.query.limit(HISTORY, HISTORY_LIMIT)?;
    // A name is fine here at every version: below 1.78 Ironic does not have this path, so nobody
    // relies on less.
    let node = request.rack.node(request.named_node()).await?;
    let entries = request.rack.history(&node.uuid.to_string(), limit).await?;
    // Each host has what happened while it had the rack.
    let ha = request.rack.ha().await;
    let conductor = match ha.role == HaRole::Alone {
        true => &*node.rackbmcd.rack,
        false => ha.host.as_str(),
    };
    let named = |entry| named(entry, &node.name, conductor);
    let history: Vec<HistoryEntry> = entries.into_iter().map(named).collect();
    Ok(Response::ok(&History { history }))
}

/// An entry with Ironic's name for it, the same on every reading, and with the conductor.
fn named(mut entry: HistoryEntry, node: &str, conductor: &str) -> HistoryEntry {
    let text = format!("{node}\n{}\n{}\n{}", entry.at, entry.kind, entry.text);
    let uuid = Uuid::new_v5(&HISTORY_NAMES, text.as_bytes());
    entry.more.insert("uuid".into(), uuid.to_string().into());
    entry.more.insert("conductor".into(), conductor.into());
    entry
}

/// The namespace of the names of history entries.
const HISTORY_NAMES: Uuid = Uuid::from_u128(0x6b0b_61a5_5d1c_5b8e_9a35_1f4c_2f0e_7d11);
