//! What is asked of a BMC beside power (NMI, boot device), and what is said about a node beside its states.

use crate::api::access::Role;
use crate::api::fault::Fault;
use crate::api::message::{self, Response};
use crate::api::plan::{Asking, Plan, ask, done, shown, stray};
use crate::api::version::INJECT_NMI;
use crate::bmc::vocabulary::{Order, Reading};
use crate::model::{BootDevice, History, HistoryEntry, MaintenanceRequest, Operation, Words};
use crate::rack::call::{Answer, Call};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// `PUT /v1/nodes/{ident}/management/inject_nmi`
pub fn inject_nmi(asking: Asking) -> Result<Plan, Fault> {
    if asking.version < INJECT_NMI {
        return Err(Fault::no_route());
    }
    asking.query.only(&[])?;
    // Ironic injects whatever the body holds. A body that is no empty object was meant for something else.
    message::is_json(&asking.headers, &asking.body)?;
    let empty = asking.body.iter().all(u8::is_ascii_whitespace)
        || matches!(serde_json::from_slice(&asking.body), Ok(Value::Object(members)) if members.is_empty());
    if !empty {
        return Err(Fault::bad(
            "an NMI takes no body but {}: this one was not injected",
        ));
    }
    let node = asking.node()?;
    asking.permitted(Role::Operator, vec![node.clone()], move |asking| {
        ask(
            Call::InjectNmi {
                node,
                who: asking.who.clone(),
            },
            |answer| {
                let Answer::Task(task) = answer else {
                    return Err(stray());
                };
                done(
                    Response::empty(StatusCode::NO_CONTENT)
                        .with("x-rackbmcd-task", task.id.to_string()),
                )
            },
        )
    })
}

/// `GET` and `PUT /v1/nodes/{ident}/management/boot_device`, as Ironic has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct BootDeviceBody {
    /// One of Ironic's words; null where nothing is overridden.
    boot_device: Option<String>,
    /// For every boot, or for the next one only.
    #[serde(default)]
    persistent: Option<bool>,
}

/// `GET /v1/nodes/{ident}/management/boot_device`
pub fn boot_device(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let call = Call::Order {
        node: asking.node()?,
        order: Order::ReadBootDevice,
        who: asking.who,
    };
    ask(call, |answer| {
        let Answer::Reading(Reading::BootDevice {
            device, persistent, ..
        }) = answer
        else {
            return Err(stray());
        };
        shown(&BootDeviceBody {
            boot_device: device.map(|device| device.name().to_owned()),
            persistent: Some(persistent),
        })
    })
}

/// `PUT /v1/nodes/{ident}/management/boot_device`
pub fn set_boot_device(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let wanted: BootDeviceBody = asking.json()?;
    let node = asking.node()?;
    let name = wanted.boot_device.unwrap_or_default();
    let Some(device) = BootDevice::from_word(&name) else {
        let fault = Fault::bad(format!(
            "Invalid boot device '{name}' specified. Supported boot devices are: {}.",
            BootDevice::words().join(", ")
        ))
        .about("member", "boot_device");
        return ask(Call::Node(node), move |_| Err(fault));
    };
    let order = Order::SetBootDevice {
        device: Some(device),
        persistent: wanted.persistent.unwrap_or(false),
        uefi: false,
    };
    asking.permitted(Role::Operator, vec![node.clone()], move |asking| {
        ask(
            Call::Order {
                node,
                order,
                who: asking.who.clone(),
            },
            |_| done(Response::empty(StatusCode::NO_CONTENT)),
        )
    })
}

/// `GET /v1/nodes/{ident}/management/boot_device/supported`
pub fn supported_boot_devices(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    ask(Call::Node(asking.node()?), |_| {
        shown(&json!({ "supported_boot_devices": BootDevice::words() }))
    })
}

/// `PUT /v1/nodes/{ident}/maintenance`
pub fn set_maintenance(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let wanted: MaintenanceRequest = asking.json_or_default()?;
    maintenance(asking, Some(wanted.reason))
}

/// `DELETE /v1/nodes/{ident}/maintenance`; a body, whatever it calls itself, is not looked at.
pub fn unset_maintenance(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    maintenance(asking, None)
}

fn maintenance(asking: Asking, hold: Option<Option<String>>) -> Result<Plan, Fault> {
    let node = asking.node()?;
    asking.permitted(Role::Operator, vec![node.clone()], move |asking| {
        let call = Call::SetMaintenance {
            node,
            hold,
            who: asking.who.clone(),
        };
        ask(call, |_| done(Response::empty(StatusCode::ACCEPTED)))
    })
}

/// `GET /v1/nodes/{ident}/validate`
pub fn validate(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    ask(Call::Node(asking.node()?), |answer| {
        let Answer::Node(node) = answer else {
            return Err(stray());
        };
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
        shown(&body)
    })
}

/// How many entries of a history are shown where nobody says.
const HISTORY: usize = 100;
/// How many at most.
const HISTORY_LIMIT: usize = 1000;

/// `GET /v1/nodes/{ident}/history`
pub fn history(asking: Asking) -> Result<Plan, Fault> {
    asking
        .query
        .only(&["limit", "marker", "detail", "sort_key", "sort_dir"])?;
    let limit = asking.query.limit(HISTORY, HISTORY_LIMIT)?;
    // A name is fine here at every version: below 1.78 Ironic does not have this path, so nobody relies on less.
    ask(Call::Node(asking.any_node()), move |answer| {
        let Answer::Node(node) = answer else {
            return Err(stray());
        };
        ask(
            Call::History {
                node: node.name.to_string(),
                limit,
            },
            move |answer| {
                let Answer::History(entries) = answer else {
                    return Err(stray());
                };
                let named = |entry| named(entry, &node.name, &node.rackbmcd.rack);
                let entries: Vec<HistoryEntry> = entries.into_iter().map(named).collect();
                shown(&History { history: entries })
            },
        )
    })
}

/// An entry with Ironic's name for it, the same on every reading, and with the conductor: this rack.
fn named(mut entry: HistoryEntry, node: &str, rack: &str) -> HistoryEntry {
    let text = format!("{node}\n{}\n{}\n{}", entry.at, entry.kind, entry.text);
    let uuid = Uuid::new_v5(&HISTORY_NAMES, text.as_bytes());
    entry.more.insert("uuid".into(), uuid.to_string().into());
    entry.more.insert("conductor".into(), rack.into());
    entry
}

/// The namespace of the names of history entries.
const HISTORY_NAMES: Uuid = Uuid::from_u128(0x6b0b_61a5_5d1c_5b8e_9a35_1f4c_2f0e_7d11);
