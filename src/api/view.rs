//! What the rack shows, as the bodies that go over the socket.

use super::json;
use crate::bmc::vocabulary::{BootDevice, EventLogEntry, Power, Reading, RestartCause, Trouble};
use crate::rack::call::{
    BatchNodeView, BatchView, BmcView, EventView, EventsView, Explanation, HealthView,
    HistoryEntry, HoldView, NodeView, OnFailure, PowerState, ReadingView, TaskView, Who,
};
use crate::time::WallTime;
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// The namespace of the names of history entries.
const HISTORY: Uuid = Uuid::from_u128(0x6b0b_61a5_5d1c_5b8e_9a35_1f4c_2f0e_7d11);

/// A power reading in the API's words.
pub fn power(power: Power) -> &'static str {
    match power {
        Power::On => "power on",
        Power::Off => "power off",
    }
}

/// `power_state` in the API's words; `None` is not known.
pub fn power_state(state: PowerState) -> Option<&'static str> {
    match state {
        PowerState::On => Some("power on"),
        PowerState::Off => Some("power off"),
        PowerState::Error => Some("error"),
        PowerState::Unknown => None,
    }
}

/// A boot device in Ironic's word.
pub fn boot_device(device: BootDevice) -> &'static str {
    match device {
        BootDevice::Pxe => "pxe",
        BootDevice::Disk => "disk",
        BootDevice::Cdrom => "cdrom",
        BootDevice::Bios => "bios",
        BootDevice::Safe => "safe",
    }
}

/// Every boot device, in the order of Ironic's list.
pub const BOOT_DEVICES: [BootDevice; 5] = [
    BootDevice::Pxe,
    BootDevice::Disk,
    BootDevice::Cdrom,
    BootDevice::Bios,
    BootDevice::Safe,
];

/// What a failure means for a batch.
pub fn on_failure(choice: OnFailure) -> &'static str {
    match choice {
        OnFailure::Continue => "continue",
        OnFailure::Stop => "stop",
    }
}

fn trouble(trouble: Trouble) -> String {
    match serde_json::to_value(trouble) {
        Ok(Value::String(word)) => word,
        _ => format!("{trouble:?}"),
    }
}

fn time(time: &WallTime) -> String {
    time.to_string()
}

fn maybe_time(time: Option<WallTime>) -> Option<String> {
    time.map(|time| time.to_string())
}

/// Seconds with the microseconds that anybody may care for.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

/// Who asked.
pub fn requester(who: &Who) -> json::Requester {
    json::Requester {
        name: who.name.clone(),
        uid: who.uid,
        gid: who.gid,
        pid: who.pid,
        request: who.request.clone(),
    }
}

/// One task.
pub fn task(view: &TaskView) -> json::Task {
    json::Task {
        id: view.id.to_string(),
        version: view.version,
        rack: view.rack.clone(),
        node: view.node.clone(),
        node_uuid: view.node_uuid.to_string(),
        batch: view.batch.map(|id| id.to_string()),
        operation: view.operation.name().to_owned(),
        state: view.state.name().to_owned(),
        ended: view.state.is_end(),
        phase: view.phase.clone(),
        step: view.step,
        steps: view.steps,
        target_power_state: view
            .target_power_state
            .map(|target| target.name().to_owned()),
        requested_by: requester(&view.requested_by),
        requested_at: time(&view.requested_at),
        started_at: maybe_time(view.started_at),
        ended_at: maybe_time(view.ended_at),
        elapsed: seconds(view.elapsed),
        time_left: view.time_left.map(seconds),
        power_at_start: view.power_at_start.map(|state| power(state).to_owned()),
        power_state: view.power.map(|state| power(state).to_owned()),
        orders: view
            .orders
            .iter()
            .map(|order| json::OrderUse {
                order: order.order.clone(),
                at: time(&order.at),
                answered_at: maybe_time(order.answered_at),
                answer: order.answer.clone(),
                completion_code: order.completion_code,
                changes_power: order.changes_power,
                left: order.left,
                times: order.times,
            })
            .collect(),
        outcome: view.outcome.clone(),
        controls: view
            .controls
            .iter()
            .map(|used| json::ControlUse {
                control: used.control.name().to_owned(),
                by: used.by.clone(),
                at: time(&used.at),
            })
            .collect(),
        may_abort: view.may_abort,
        may_cancel: view.may_cancel,
        may_rollback: view.may_rollback,
        may_suspend: view.may_suspend,
        may_resume: view.may_resume,
    }
}

/// Several tasks.
pub fn tasks(views: &[TaskView]) -> json::TaskList {
    json::TaskList {
        tasks: views.iter().map(task).collect(),
    }
}

/// One batch.
pub fn batch(view: &BatchView) -> json::Batch {
    json::Batch {
        id: view.id.to_string(),
        version: view.version,
        rack: view.rack.clone(),
        operation: view.operation.name().to_owned(),
        state: view.state.clone(),
        requested_by: requester(&view.requested_by),
        requested_at: time(&view.requested_at),
        ended_at: maybe_time(view.ended_at),
        max_parallel: view.max_parallel,
        stagger: seconds(view.stagger),
        on_failure: on_failure(view.on_failure).to_owned(),
        nodes: view.nodes.iter().map(batch_node).collect(),
        counts: view.counts.clone(),
    }
}

fn batch_node(view: &BatchNodeView) -> json::BatchNode {
    json::BatchNode {
        node: view.node.clone(),
        task: view.task.map(|id| id.to_string()),
        state: view.state.clone(),
        note: view.note.clone(),
        begins_after: view.begins_after.map(seconds),
        takes_at_most: view.takes_at_most.map(seconds),
        plan: view.plan.clone(),
    }
}

/// One event.
pub fn event(view: &EventView) -> json::Event {
    json::Event {
        id: view.id.to_string(),
        at: time(&view.at),
        kind: view.kind.to_owned(),
        node: view.node.clone(),
        text: view.text.clone(),
        task: view.task.as_deref().map(|view| Box::new(task(view))),
        power_state: view.power_state.and_then(power_state).map(str::to_owned),
    }
}

/// A stretch of events.
pub fn events(view: &EventsView) -> json::Events {
    json::Events {
        events: view.events.iter().map(event).collect(),
        next: view.next.to_string(),
        reset: view.reset,
    }
}

/// A hold.
pub fn hold(view: &HoldView) -> json::Hold {
    json::Hold {
        reason: view.reason.clone(),
        by: view.by.clone(),
        since: time(&view.since),
    }
}

/// Whether the rack is paused.
pub fn pausing(view: Option<&HoldView>) -> json::Pausing {
    json::Pausing {
        paused: view.is_some(),
        pause: view.map(hold),
    }
}

fn reading(view: &ReadingView) -> json::Reading {
    json::Reading {
        power_state: power(view.power).to_owned(),
        at: time(&view.at),
        age: seconds(view.age),
    }
}

fn bmc(view: &BmcView) -> json::BmcSummary {
    json::BmcSummary {
        address: view.address.to_string(),
        port: view.port,
        username: view.username.to_string(),
        privilege: view.privilege.to_string(),
        health: view.health.to_string(),
        trouble: view.trouble.map(trouble),
        trouble_text: view.trouble_text.clone(),
        cipher_suite: view.cipher_suite,
        round_trip: view.round_trip.map(seconds),
    }
}

/// What we know of a node beyond Ironic's record.
pub fn extension(view: &NodeView) -> json::Extension {
    json::Extension {
        rack: view.rack.to_string(),
        groups: view.groups.to_vec(),
        task: view.task.map(|id| id.to_string()),
        reading: view.reading.as_ref().map(reading),
        fault: view.fault.clone(),
        maintenance: view.maintenance.as_ref().map(hold),
        bmc: bmc(&view.bmc),
    }
}

/// All that is known of a node's BMC; the node as the newest microversion shows it.
pub fn explanation(view: &Explanation, node: json::Node) -> json::Explanation {
    json::Explanation {
        node,
        facts: view
            .facts
            .iter()
            .map(|(head, text)| json::Fact {
                head: head.clone(),
                text: text.clone(),
            })
            .collect(),
        failures: view
            .failures
            .iter()
            .map(|(at, text)| json::Failure {
                at: time(at),
                text: text.clone(),
            })
            .collect(),
        boot_device: view
            .boot_device
            .map(|device| boot_device(device).to_owned()),
    }
}

/// What happened to the node that was asked for as `ident`.
pub fn history(entries: &[HistoryEntry], ident: &str, rack: &str) -> json::History {
    let entry = |entry: &HistoryEntry| {
        let named = format!("{ident}\n{}\n{}\n{}", entry.at, entry.kind, entry.text);
        json::HistoryEntry {
            uuid: Uuid::new_v5(&HISTORY, named.as_bytes()).to_string(),
            created_at: time(&entry.at),
            severity: if entry.error { "ERROR" } else { "INFO" }.to_owned(),
            event: entry.text.clone(),
            event_type: entry.kind.clone(),
            user: entry.by.clone(),
            conductor: rack.to_owned(),
            task: entry.task.map(|id| id.to_string()),
        }
    };
    json::History {
        history: entries.iter().map(entry).collect(),
    }
}

/// Figures about the daemon.
pub fn health(view: &HealthView) -> json::Health {
    let status = match (&view.store_trouble, &view.pause) {
        (Some(_), _) => "failing",
        (None, Some(_)) => "paused",
        (None, None) => "ok",
    };
    json::Health {
        status: status.to_owned(),
        rack: view.rack.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nodes: view.nodes,
        active_tasks: view.active_tasks,
        troubled: view.troubled,
        started_at: time(&view.started_at),
        store_trouble: view.store_trouble.clone(),
        pause: view.pause.as_ref().map(hold),
    }
}

/// What a BMC said of itself, `None` where that was no such reading.
pub fn bmc_answer(order: &str, reading: Reading) -> Option<json::BmcAnswer> {
    let empty = json::BmcAnswer {
        order: order.to_owned(),
        ..json::BmcAnswer::default()
    };
    Some(match reading {
        Reading::Identity {
            manufacturer,
            product,
            firmware,
        } => json::BmcAnswer {
            manufacturer: Some(manufacturer),
            product: Some(product),
            firmware: Some(firmware),
            ..empty
        },
        Reading::Guid(guid) => json::BmcAnswer {
            guid: Some(guid.to_string()),
            ..empty
        },
        Reading::Sessions { active, possible } => json::BmcAnswer {
            sessions: Some(active),
            possible_sessions: Some(possible),
            ..empty
        },
        Reading::AcpiState(state) => json::BmcAnswer {
            acpi: Some(state),
            ..empty
        },
        Reading::PowerUse { watts } => json::BmcAnswer {
            watts: Some(watts),
            ..empty
        },
        Reading::RestartCause(cause) => json::BmcAnswer {
            restart_cause: Some(restart_cause(cause)),
            ..empty
        },
        _ => return None,
    })
}

fn restart_cause(cause: RestartCause) -> String {
    match serde_json::to_value(cause) {
        Ok(Value::String(word)) => word.replace('_', " "),
        _ => match cause {
            RestartCause::Other(number) => format!("other cause {number}"),
            known => format!("{known:?}"),
        },
    }
}

/// A BMC's event log.
pub fn event_log(entries: &[EventLogEntry]) -> json::EventLog {
    // §37.1: below 2^29 the clock counts from the BMC's start, and all ones is no time at all.
    let calendar = 0x2000_0000..u32::MAX;
    let entry = |entry: &EventLogEntry| json::EventLogEntry {
        id: entry.id,
        at: calendar.contains(&entry.timestamp).then(|| {
            WallTime::from_unix_micros(u64::from(entry.timestamp) * 1_000_000).to_string()
        }),
        timestamp: entry.timestamp,
        text: entry.text.clone(),
        crash: entry.crash,
    };
    json::EventLog {
        entries: entries.iter().map(entry).collect(),
    }
}
