//! What is asked of a node's BMC outside any task: identify, boot override, readings, event log,
//! reset, raw commands.

use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::handle::{EventLogReading, unexpected_answer};
use crate::api::message::Response;
use crate::bmc::vocabulary::{self, Order, Reading, Route};
use crate::model::{
    BmcAnswer, BmcReset, BmcResetRequest, BootOverride, BootOverrideRequest, Bridge, EventLog,
    EventLogEntry, IdentifyRequest, OrderAnswer, RawRequest, RestorePolicyRequest, Word,
};
use crate::time::WallTime;

/// The longest data of a raw command: what one IPMI message over LAN carries in every BMC's buffer.
const RAW_LIMIT: usize = 200;
/// Entries of an event log where nobody says how many: each costs the BMC a request.
const LOG_ENTRIES: usize = 20;
/// The most at once.
const LOG_ENTRIES_LIMIT: usize = 1000;

/// What may be read of a BMC: the word in the path, and the order.
pub(crate) const READINGS: [(&str, Order); 7] = [
    ("identity", Order::ReadIdentity),
    ("guid", Order::ReadGuid),
    ("sessions", Order::ReadSessions),
    ("acpi", Order::ReadAcpiState),
    ("power_use", Order::ReadPowerUse),
    ("restart_cause", Order::ReadRestartCause),
    ("chassis", Order::ReadChassis),
];

/// `GET /v1/nodes/{ident}/bmc/{what}`
pub(crate) async fn reading(request: RequestContext) -> Result<Response, Fault> {
    let wanted = request.param("what");
    let known = READINGS.iter().find(|(word, _)| *word == wanted);
    let (_, order) = known.cloned().ok_or_else(Fault::no_route)?;
    let name = order.name();
    let reading = request.rack.order(request.any_node(), order).await?;
    let answer = bmc_answer(name, reading).ok_or_else(unexpected_answer)?;
    Ok(Response::ok(&answer))
}

/// `GET /v1/nodes/{ident}/event_log`
pub(crate) async fn event_log(request: RequestContext) -> Result<Response, Fault> {
    let limit = request.query.limit(LOG_ENTRIES, LOG_ENTRIES_LIMIT)?;
    let limit = u16::try_from(limit).unwrap_or(u16::MAX);
    let log = request.rack.event_log(request.any_node(), limit).await?;
    Ok(Response::ok(&event_log_of(log)))
}

/// `DELETE /v1/nodes/{ident}/event_log`
pub(crate) async fn clear_event_log(request: RequestContext) -> Result<Response, Fault> {
    carried_out(&request, Order::ClearEventLog).await
}

/// `POST /v1/nodes/{ident}/bmc_reset`
pub(crate) async fn reset(request: RequestContext) -> Result<Response, Fault> {
    let wanted: BmcResetRequest = request.json()?;
    let cold = match wanted.kind {
        BmcReset::Cold => true,
        BmcReset::Warm => false,
    };
    carried_out(&request, Order::ResetBmc { cold }).await
}

/// `GET /v1/nodes/{ident}/boot_override`
pub(crate) async fn boot_override(request: RequestContext) -> Result<Response, Fault> {
    let found = request.rack.boot_device(request.any_node()).await?;
    Ok(Response::ok(&BootOverride {
        device: found.device.map(Word::Known),
        persistent: found.persistent,
        uefi: found.uefi,
    }))
}

/// `PUT /v1/nodes/{ident}/boot_override`
pub(crate) async fn set_boot_override(request: RequestContext) -> Result<Response, Fault> {
    let wanted: BootOverrideRequest = request.json()?;
    let order = Order::SetBootDevice {
        device: wanted.device,
        persistent: wanted.persistent,
        uefi: wanted.uefi,
    };
    carried_out(&request, order).await
}

/// `PUT /v1/nodes/{ident}/restore_policy`
pub(crate) async fn set_restore_policy(request: RequestContext) -> Result<Response, Fault> {
    let wanted: RestorePolicyRequest = request.json()?;
    carried_out(&request, Order::SetRestorePolicy(wanted.policy)).await
}

/// `POST /v1/nodes/{ident}/identify`
pub(crate) async fn identify(request: RequestContext) -> Result<Response, Fault> {
    let wanted: IdentifyRequest = request.json_or_default()?;
    let lasting = wanted.lasting.map(|lasting| lasting.0);
    carried_out(&request, Order::Identify(lasting)).await
}

/// `POST /v1/nodes/{ident}/raw`
pub(crate) async fn raw(request: RequestContext) -> Result<Response, Fault> {
    let wanted: RawRequest = request.json()?;
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
    carried_out(&request, order).await
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

/// An order to the node of the path, which brings nothing but that it was carried out, or the bytes
/// of a raw answer.
async fn carried_out(request: &RequestContext, order: Order) -> Result<Response, Fault> {
    let name = order.name().to_owned();
    let reading = request.rack.order(request.any_node(), order).await?;
    Ok(Response::ok(&OrderAnswer {
        order: name,
        data: match reading {
            Reading::Raw(data) => Some(data),
            _ => None,
        },
    }))
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
        Reading::Chassis(chassis) => BmcAnswer {
            chassis: Some(*chassis),
            ..empty
        },
        Reading::Done
        | Reading::Power(_)
        | Reading::EventLogInfo { .. }
        | Reading::EventLogEntry(_)
        | Reading::BootDevice { .. }
        | Reading::EventLog { .. }
        | Reading::EventLogCleared { .. }
        | Reading::Raw(_) => return None,
    })
}

/// A BMC's event log.
fn event_log_of(log: EventLogReading) -> EventLog {
    // §37.1: below 2^29 the clock counts from the BMC's start, and all ones is no time at all.
    let calendar = 0x2000_0000..u32::MAX;
    let entry = |entry: vocabulary::EventLogEntry| EventLogEntry {
        id: entry.id,
        at: calendar
            .contains(&entry.timestamp)
            .then(|| WallTime::from_unix_micros(u64::from(entry.timestamp) * 1_000_000)),
        timestamp: entry.timestamp,
        text: entry.text,
        crash: entry.sign == vocabulary::Sign::Crash,
    };
    EventLog {
        entries: log.entries.into_iter().map(entry).collect(),
        total: log.total,
        left_out: log.left_out,
    }
}
