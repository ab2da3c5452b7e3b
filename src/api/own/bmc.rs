//! What is asked of a node's BMC outside any task: identify, boot override, readings, event log, reset, raw commands.

use crate::api::access::Role;
use crate::api::fault::Fault;
use crate::api::plan::{Asking, Plan, ask, shown, stray};
use crate::bmc::vocabulary::{self, Order, Reading, Route};
use crate::model::{
    BmcAnswer, BmcReset, BmcResetRequest, BootOverride, BootOverrideRequest, Bridge, EventLog,
    EventLogEntry, IdentifyRequest, OrderAnswer, RawRequest, Word,
};
use crate::rack::call::{Answer, Call};
use crate::time::WallTime;

/// The longest data of a raw command: what one IPMI message over LAN carries in every BMC's buffer.
const RAW_LIMIT: usize = 200;
/// Entries of an event log where nobody says how many: each costs the BMC a request.
const LOG_ENTRIES: usize = 20;
/// The most at once.
const LOG_ENTRIES_LIMIT: usize = 1000;

/// What may be read of a BMC: the word in the path, and the order.
pub const READINGS: [(&str, Order); 6] = [
    ("identity", Order::ReadIdentity),
    ("guid", Order::ReadGuid),
    ("sessions", Order::ReadSessions),
    ("acpi", Order::ReadAcpiState),
    ("power_use", Order::ReadPowerUse),
    ("restart_cause", Order::ReadRestartCause),
];

/// `GET /v1/nodes/{ident}/bmc/{what}`
pub fn reading(asking: Asking) -> Result<Plan, Fault> {
    let wanted = asking.param("what");
    let known = READINGS.iter().find(|(word, _)| *word == wanted);
    let (_, order) = known.cloned().ok_or_else(Fault::no_route)?;
    asked(asking, Role::Reader, order, |order, reading| {
        shown(&bmc_answer(order, reading).ok_or_else(stray)?)
    })
}

/// `GET /v1/nodes/{ident}/event_log`
pub fn event_log(asking: Asking) -> Result<Plan, Fault> {
    let limit = asking.query.limit(LOG_ENTRIES, LOG_ENTRIES_LIMIT)?;
    let order = Order::ReadEventLog(u16::try_from(limit).unwrap_or(u16::MAX));
    on_node(asking, &["limit"], Role::Reader, order, |_, reading| {
        let Reading::EventLog(entries) = reading else {
            return Err(stray());
        };
        shown(&event_log_of(entries))
    })
}

/// `DELETE /v1/nodes/{ident}/event_log`
pub fn clear_event_log(asking: Asking) -> Result<Plan, Fault> {
    asked(asking, Role::Operator, Order::ClearEventLog, done)
}

/// `POST /v1/nodes/{ident}/bmc_reset`
pub fn reset(asking: Asking) -> Result<Plan, Fault> {
    let wanted: BmcResetRequest = asking.json()?;
    let cold = match wanted.kind {
        BmcReset::Cold => true,
        BmcReset::Warm => false,
    };
    asked(asking, Role::Admin, Order::ResetBmc { cold }, done)
}

/// `GET /v1/nodes/{ident}/boot_override`
pub fn boot_override(asking: Asking) -> Result<Plan, Fault> {
    asked(asking, Role::Reader, Order::ReadBootDevice, |_, reading| {
        let Reading::BootDevice {
            device,
            persistent,
            uefi,
        } = reading
        else {
            return Err(stray());
        };
        shown(&BootOverride {
            device: device.map(Word::Known),
            persistent,
            uefi,
        })
    })
}

/// `PUT /v1/nodes/{ident}/boot_override`
pub fn set_boot_override(asking: Asking) -> Result<Plan, Fault> {
    let wanted: BootOverrideRequest = asking.json()?;
    let order = Order::SetBootDevice {
        device: wanted.device,
        persistent: wanted.persistent,
        uefi: wanted.uefi,
    };
    asked(asking, Role::Operator, order, done)
}

/// `POST /v1/nodes/{ident}/identify`
pub fn identify(asking: Asking) -> Result<Plan, Fault> {
    let wanted: IdentifyRequest = asking.json_or_default()?;
    let order = Order::Identify(wanted.lasting.map(|lasting| lasting.0));
    asked(asking, Role::Operator, order, done)
}

/// `POST /v1/nodes/{ident}/raw`
pub fn raw(asking: Asking) -> Result<Plan, Fault> {
    let wanted: RawRequest = asking.json()?;
    if wanted.net_fn > 62 || !wanted.net_fn.is_multiple_of(2) {
        return Err(bad(
            "net_fn",
            "is an even number from 0 to 62: odd ones are answers",
        ));
    }
    if wanted.lun > 3 {
        return Err(bad("lun", "is a number from 0 to 3"));
    }
    if wanted.data.len() > RAW_LIMIT {
        return Err(bad("data", "is at most 200 bytes"));
    }
    let order = Order::Raw {
        net_fn: wanted.net_fn,
        lun: wanted.lun,
        command: wanted.command,
        data: wanted.data,
        route: wanted
            .bridge
            .map_or(Ok(Route::Direct), |bridge| route(&bridge))?,
    };
    asked(asking, Role::Admin, order, done)
}

fn bad(member: &str, what: &str) -> Fault {
    Fault::bad(format!("{member} {what}")).about("member", member)
}

fn route(bridge: &Bridge) -> Result<Route, Fault> {
    let (channel, address) = (bridge.channel, bridge.address);
    let channels = [Some(channel), bridge.transit_channel];
    if channels.iter().flatten().any(|channel| *channel > 15) {
        return Err(bad("bridge", "names a channel above 15"));
    }
    let addresses = [Some(address), bridge.transit_address];
    if !addresses.iter().flatten().all(|address| address % 2 == 0) {
        return Err(bad("bridge", "names an odd slave address: they are even"));
    }
    match (bridge.transit_channel, bridge.transit_address) {
        (None, None) => Ok(Route::Behind { channel, address }),
        (Some(transit_channel), Some(transit_address)) => Ok(Route::Beyond {
            transit_channel,
            transit_address,
            channel,
            address,
        }),
        _ => Err(bad(
            "bridge",
            "has one of transit_channel and transit_address: they go together",
        )),
    }
}

fn done(order: &'static str, reading: Reading) -> Result<Plan, Fault> {
    shown(&OrderAnswer {
        order: order.to_owned(),
        data: match reading {
            Reading::Raw(data) => Some(data),
            _ => None,
        },
    })
}

/// One order to the node of the path, and what to make of what it brings.
fn asked(
    asking: Asking,
    role: Role,
    order: Order,
    then: fn(&'static str, Reading) -> Result<Plan, Fault>,
) -> Result<Plan, Fault> {
    on_node(asking, &[], role, order, then)
}

fn on_node(
    asking: Asking,
    query: &[&str],
    role: Role,
    order: Order,
    then: fn(&'static str, Reading) -> Result<Plan, Fault>,
) -> Result<Plan, Fault> {
    asking.query.only(query)?;
    let node = asking.any_node();
    asking.permitted(role, vec![node.clone()], move |asking| {
        let name = order.name();
        let call = Call::Order {
            node,
            order,
            who: asking.who.clone(),
        };
        ask(call, move |answer| {
            let Answer::Reading(reading) = answer else {
                return Err(stray());
            };
            then(name, reading)
        })
    })
}

/// What a BMC said of itself, `None` where that was no such reading.
fn bmc_answer(order: &str, reading: Reading) -> Option<BmcAnswer> {
    let empty = BmcAnswer {
        order: order.to_owned(),
        ..BmcAnswer::default()
    };
    Some(match reading {
        Reading::Identity {
            manufacturer,
            product,
            firmware,
        } => BmcAnswer {
            manufacturer: Some(manufacturer),
            product: Some(product),
            firmware: Some(firmware),
            ..empty
        },
        Reading::Guid(guid) => BmcAnswer {
            guid: Some(guid),
            ..empty
        },
        Reading::Sessions { active, possible } => BmcAnswer {
            sessions: Some(active),
            possible_sessions: Some(possible),
            ..empty
        },
        Reading::AcpiState(state) => BmcAnswer {
            acpi: Some(state),
            ..empty
        },
        Reading::PowerUse { watts } => BmcAnswer {
            watts: Some(watts),
            ..empty
        },
        Reading::RestartCause(cause) => BmcAnswer {
            restart_cause: Some(cause.to_string()),
            ..empty
        },
        Reading::Done
        | Reading::Power(_)
        | Reading::EventLogInfo { .. }
        | Reading::EventLogEntry(_)
        | Reading::BootDevice { .. }
        | Reading::EventLog(_)
        | Reading::Raw(_) => return None,
    })
}

/// A BMC's event log.
fn event_log_of(entries: Vec<vocabulary::EventLogEntry>) -> EventLog {
    // §37.1: below 2^29 the clock counts from the BMC's start, and all ones is no time at all.
    let calendar = 0x2000_0000..u32::MAX;
    let entry = |entry: vocabulary::EventLogEntry| EventLogEntry {
        id: entry.id,
        at: calendar
            .contains(&entry.timestamp)
            .then(|| WallTime::from_unix_micros(u64::from(entry.timestamp) * 1_000_000)),
        timestamp: entry.timestamp,
        text: entry.text,
        crash: entry.crash,
    };
    EventLog {
        entries: entries.into_iter().map(entry).collect(),
    }
}
