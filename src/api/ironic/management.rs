//! What is asked of a BMC beside power (NMI, boot device), and what is said about a node beside its states.

use crate::api::access::Role;
use crate::api::fault::Fault;
use crate::api::json as types;
use crate::api::message::{self, Response};
use crate::api::plan::{Asking, Plan, ask, done, shown, stray};
use crate::api::version::INJECT_NMI;
use crate::api::view;
use crate::bmc::vocabulary::{BootDevice, Order, Reading};
use crate::rack::call::{Answer, Call, PowerTarget};
use http::StatusCode;
use serde_json::{Value, json};

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
        shown(&types::BootDevice {
            boot_device: device.map(|device| view::boot_device(device).to_owned()),
            persistent: Some(persistent),
        })
    })
}

/// `PUT /v1/nodes/{ident}/management/boot_device`
pub fn set_boot_device(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let wanted: types::BootDevice = asking.json()?;
    let node = asking.node()?;
    let name = wanted.boot_device.unwrap_or_default();
    let device = view::BOOT_DEVICES
        .into_iter()
        .find(|device| view::boot_device(*device) == name);
    let Some(device) = device else {
        let fault = Fault::bad(format!(
            "Invalid boot device '{name}' specified. Supported boot devices are: {}.",
            boot_devices().join(", ")
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

fn boot_devices() -> Vec<&'static str> {
    view::BOOT_DEVICES
        .map(|device: BootDevice| view::boot_device(device))
        .to_vec()
}

/// `GET /v1/nodes/{ident}/management/boot_device/supported`
pub fn supported_boot_devices(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    ask(Call::Node(asking.node()?), |_| {
        shown(&json!({ "supported_boot_devices": boot_devices() }))
    })
}

/// `PUT /v1/nodes/{ident}/maintenance`
pub fn set_maintenance(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let wanted: types::MaintenanceRequest = asking.json_or_default()?;
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
        let trouble = node.bmc.trouble_text.as_deref();
        let reach = json!({ "result": trouble.is_none(), "reason": trouble.unwrap_or_default() });
        let absent = |what: &str| json!({ "result": Value::Null, "reason": format!("rackbmcd has no {what} interface") });
        let mut body = serde_json::Map::new();
        for name in [
            "bios", "boot", "console", "deploy", "inspect", "network", "raid", "rescue", "storage",
        ] {
            body.insert(name.to_owned(), absent(name));
        }
        let nmi = node
            .supported_power_states
            .contains(&PowerTarget::InjectNmi);
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
                shown(&view::history(&entries, &node.name, &node.rack))
            },
        )
    })
}
