//! What a sequence sent and what was answered, as it is stored.

use super::phase::Number;
use super::words::{Delivery, Power, RefusalKind, Trouble};
use crate::bmc::vocabulary::{self, OrderId};
use crate::model::{self, BootDevice};
use crate::power as running;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    id: Number,
    order: Order,
    at: Duration,
    handed: bool,
    /// For how many equal readings it stands; of an order that acts and was refused: how many of
    /// its datagrams can have been carried out, the one that was refused among them.
    times: u32,
    answer: Option<(Duration, Report)>,
}

/// The orders that a sequence gives; those outside tasks are never stored.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    #[serde(rename = "read_power")]
    ReadPower,
    #[serde(rename = "power_on")]
    PowerOn,
    #[serde(rename = "power_off")]
    PowerOff,
    #[serde(rename = "soft_off")]
    SoftOff,
    #[serde(rename = "cycle")]
    Cycle,
    #[serde(rename = "reset")]
    Reset,
    #[serde(rename = "nmi")]
    Nmi,
    #[serde(rename = "read_restart_cause")]
    ReadRestartCause,
    #[serde(rename = "read_event_log_info")]
    ReadEventLogInfo,
    #[serde(rename = "read_event_log_entry")]
    ReadEventLogEntry(u16),
    /// For the next boot.
    #[serde(rename = "set_boot_device")]
    SetBootDevice { selector: u8, uefi: bool },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    #[serde(rename = "accepted")]
    Accepted(Reading),
    #[serde(rename = "refused")]
    Refused(Refusal),
    #[serde(rename = "unanswered")]
    Unanswered(Silence),
}

/// What the orders of a sequence bring.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Reading {
    #[serde(rename = "done")]
    Done,
    #[serde(rename = "power")]
    Power(Power),
    #[serde(rename = "restart_cause")]
    RestartCause(RestartCause),
    #[serde(rename = "event_log_info")]
    EventLogInfo { entries: u16, last_added: u32 },
    #[serde(rename = "event_log_entry")]
    EventLogEntry(EventLogEntry),
    /// Selector 0 is no override.
    #[serde(rename = "boot_device")]
    BootDevice {
        selector: u8,
        persistent: bool,
        uefi: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum RestartCause {
    #[serde(rename = "unknown")]
    Unknown,
    #[serde(rename = "chassis_control")]
    ChassisControl,
    #[serde(rename = "reset_button")]
    ResetButton,
    #[serde(rename = "power_button")]
    PowerButton,
    #[serde(rename = "watchdog")]
    Watchdog,
    #[serde(rename = "always_restore")]
    AlwaysRestore,
    #[serde(rename = "restore_previous")]
    RestorePrevious,
    #[serde(rename = "platform_event_reset")]
    PlatformEventReset,
    #[serde(rename = "platform_event_cycle")]
    PlatformEventCycle,
    #[serde(rename = "soft_reset")]
    SoftReset,
    #[serde(rename = "real_time_clock")]
    RealTimeClock,
    #[serde(rename = "other")]
    Other(u8),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventLogEntry {
    id: u16,
    next: u16,
    timestamp: u32,
    text: String,
    crash: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sign: Option<Sign>,
}

/// What an entry tells beside a crash.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Sign {
    #[serde(rename = "interrupt")]
    Interrupt,
    #[serde(rename = "restart")]
    Restart,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    code: u8,
    kind: RefusalKind,
    text: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Silence {
    delivery: Delivery,
    trouble: Trouble,
    text: String,
}

impl Sent {
    /// `None` for an order that no sequence gives, so that there is nothing to store.
    pub(super) fn of(running: &running::Sent) -> Option<Self> {
        let running::Sent {
            id,
            order,
            at,
            handed,
            times,
            answer,
        } = running;
        Some(Self {
            id: id.0,
            order: Order::of(order)?,
            at: *at,
            handed: *handed,
            // The format has no field for this; an order that acts is
            // never merged, so its count is free.
            times: match answer {
                Some((_, vocabulary::Report::Refused(refusal))) if order.changes_power() => {
                    refusal.unanswered.saturating_add(1)
                }
                _ => *times,
            },
            answer: answer
                .as_ref()
                .map(|(answered, report)| (*answered, report.into())),
        })
    }
}

impl From<Sent> for running::Sent {
    fn from(stored: Sent) -> Self {
        let Sent {
            id,
            order,
            at,
            handed,
            times,
            answer,
        } = stored;
        let order = vocabulary::Order::from(order);
        let mut answer = answer.map(|(answered, report)| (answered, report.into()));
        let mut times = times;
        if let Some((_, vocabulary::Report::Refused(refusal))) = &mut answer
            && order.changes_power()
        {
            refusal.unanswered = times.saturating_sub(1);
            times = 1;
        }
        Self {
            id: OrderId(id),
            order,
            at,
            handed,
            times,
            answer,
        }
    }
}

impl Order {
    /// `None` for an order that no sequence gives.
    pub(crate) fn of(running: &vocabulary::Order) -> Option<Self> {
        match running {
            vocabulary::Order::ReadPower => Some(Self::ReadPower),
            vocabulary::Order::PowerOn => Some(Self::PowerOn),
            vocabulary::Order::PowerOff => Some(Self::PowerOff),
            vocabulary::Order::SoftOff => Some(Self::SoftOff),
            vocabulary::Order::Cycle => Some(Self::Cycle),
            vocabulary::Order::Reset => Some(Self::Reset),
            vocabulary::Order::Nmi => Some(Self::Nmi),
            vocabulary::Order::ReadRestartCause => Some(Self::ReadRestartCause),
            vocabulary::Order::ReadEventLogInfo => Some(Self::ReadEventLogInfo),
            vocabulary::Order::ReadEventLogEntry(id) => Some(Self::ReadEventLogEntry(*id)),
            vocabulary::Order::SetBootDevice {
                device: Some(device),
                persistent: false,
                uefi,
            } => Some(Self::SetBootDevice {
                selector: device.selector(),
                uefi: *uefi,
            }),
            // No sequence gives these; each is named, so that a new
            // order does not compile undecided.
            vocabulary::Order::Identify(_)
            | vocabulary::Order::ReadBootDevice
            | vocabulary::Order::SetBootDevice { .. }
            | vocabulary::Order::ReadChassis
            | vocabulary::Order::SetRestorePolicy(_)
            | vocabulary::Order::ReadIdentity
            | vocabulary::Order::ReadPowerUse
            | vocabulary::Order::ReadAcpiState
            | vocabulary::Order::ReadGuid
            | vocabulary::Order::ReadSessions
            | vocabulary::Order::ReadEventLog(_)
            | vocabulary::Order::ClearEventLog
            | vocabulary::Order::ResetBmc { .. }
            | vocabulary::Order::Raw { .. } => None,
        }
    }
}

impl From<Order> for vocabulary::Order {
    fn from(stored: Order) -> Self {
        match stored {
            Order::ReadPower => Self::ReadPower,
            Order::PowerOn => Self::PowerOn,
            Order::PowerOff => Self::PowerOff,
            Order::SoftOff => Self::SoftOff,
            Order::Cycle => Self::Cycle,
            Order::Reset => Self::Reset,
            Order::Nmi => Self::Nmi,
            Order::ReadRestartCause => Self::ReadRestartCause,
            Order::ReadEventLogInfo => Self::ReadEventLogInfo,
            Order::ReadEventLogEntry(id) => Self::ReadEventLogEntry(id),
            Order::SetBootDevice { selector, uefi } => Self::SetBootDevice {
                device: BootDevice::of_selector(selector),
                persistent: false,
                uefi,
            },
        }
    }
}

impl From<&vocabulary::Report> for Report {
    fn from(running: &vocabulary::Report) -> Self {
        match running {
            vocabulary::Report::Accepted(reading) => Self::Accepted(reading.into()),
            vocabulary::Report::Refused(refusal) => Self::Refused(refusal.into()),
            vocabulary::Report::Unanswered(silence) => Self::Unanswered(silence.into()),
        }
    }
}

impl From<Report> for vocabulary::Report {
    fn from(stored: Report) -> Self {
        match stored {
            Report::Accepted(reading) => Self::Accepted(reading.into()),
            Report::Refused(refusal) => Self::Refused(refusal.into()),
            Report::Unanswered(silence) => Self::Unanswered(silence.into()),
        }
    }
}

impl From<&vocabulary::Reading> for Reading {
    fn from(running: &vocabulary::Reading) -> Self {
        match running {
            vocabulary::Reading::Power(power) => Self::Power((*power).into()),
            vocabulary::Reading::RestartCause(cause) => Self::RestartCause((*cause).into()),
            vocabulary::Reading::EventLogInfo {
                entries,
                last_added,
            } => Self::EventLogInfo {
                entries: *entries,
                last_added: *last_added,
            },
            vocabulary::Reading::EventLogEntry(entry) => Self::EventLogEntry(entry.into()),
            vocabulary::Reading::BootDevice {
                device,
                persistent,
                uefi,
            } => Self::BootDevice {
                selector: device.map_or(0, BootDevice::selector),
                persistent: *persistent,
                uefi: *uefi,
            },
            // A sequence asks for none of these: one would tell it no more
            // than that there was an answer.
            vocabulary::Reading::Done
            | vocabulary::Reading::Identity { .. }
            | vocabulary::Reading::PowerUse { .. }
            | vocabulary::Reading::AcpiState(_)
            | vocabulary::Reading::Guid(_)
            | vocabulary::Reading::Sessions { .. }
            | vocabulary::Reading::Chassis(_)
            | vocabulary::Reading::EventLog { .. }
            | vocabulary::Reading::EventLogCleared { .. }
            | vocabulary::Reading::Raw(_) => Self::Done,
        }
    }
}

impl From<Reading> for vocabulary::Reading {
    fn from(stored: Reading) -> Self {
        match stored {
            Reading::BootDevice {
                selector,
                persistent,
                uefi,
            } => Self::BootDevice {
                device: BootDevice::of_selector(selector),
                persistent,
                uefi,
            },
            Reading::Done => Self::Done,
            Reading::Power(power) => Self::Power(power.into()),
            Reading::RestartCause(cause) => Self::RestartCause(cause.into()),
            Reading::EventLogInfo {
                entries,
                last_added,
            } => Self::EventLogInfo {
                entries,
                last_added,
            },
            Reading::EventLogEntry(entry) => Self::EventLogEntry(entry.into()),
        }
    }
}

impl From<model::RestartCause> for RestartCause {
    fn from(running: model::RestartCause) -> Self {
        match running {
            model::RestartCause::Unknown => Self::Unknown,
            model::RestartCause::ChassisControl => Self::ChassisControl,
            model::RestartCause::ResetButton => Self::ResetButton,
            model::RestartCause::PowerButton => Self::PowerButton,
            model::RestartCause::Watchdog => Self::Watchdog,
            model::RestartCause::AlwaysRestore => Self::AlwaysRestore,
            model::RestartCause::RestorePrevious => Self::RestorePrevious,
            model::RestartCause::PlatformEventReset => Self::PlatformEventReset,
            model::RestartCause::PlatformEventCycle => Self::PlatformEventCycle,
            model::RestartCause::SoftReset => Self::SoftReset,
            model::RestartCause::RealTimeClock => Self::RealTimeClock,
            model::RestartCause::Other(number) => Self::Other(number),
        }
    }
}

impl From<RestartCause> for model::RestartCause {
    fn from(stored: RestartCause) -> Self {
        match stored {
            RestartCause::Unknown => Self::Unknown,
            RestartCause::ChassisControl => Self::ChassisControl,
            RestartCause::ResetButton => Self::ResetButton,
            RestartCause::PowerButton => Self::PowerButton,
            RestartCause::Watchdog => Self::Watchdog,
            RestartCause::AlwaysRestore => Self::AlwaysRestore,
            RestartCause::RestorePrevious => Self::RestorePrevious,
            RestartCause::PlatformEventReset => Self::PlatformEventReset,
            RestartCause::PlatformEventCycle => Self::PlatformEventCycle,
            RestartCause::SoftReset => Self::SoftReset,
            RestartCause::RealTimeClock => Self::RealTimeClock,
            RestartCause::Other(number) => Self::Other(number),
        }
    }
}

impl From<&vocabulary::EventLogEntry> for EventLogEntry {
    fn from(running: &vocabulary::EventLogEntry) -> Self {
        let vocabulary::EventLogEntry {
            id,
            next,
            timestamp,
            text,
            sign,
            // What follows from it is decided when it comes.
            by_other: _,
        } = running;
        Self {
            id: *id,
            next: *next,
            timestamp: *timestamp,
            text: text.clone(),
            // Records from before `sign` know a crash only, in this field of its own.
            crash: *sign == vocabulary::Sign::Crash,
            sign: match sign {
                vocabulary::Sign::None | vocabulary::Sign::Crash => None,
                vocabulary::Sign::Interrupt => Some(Sign::Interrupt),
                vocabulary::Sign::Restart => Some(Sign::Restart),
            },
        }
    }
}

impl From<EventLogEntry> for vocabulary::EventLogEntry {
    fn from(stored: EventLogEntry) -> Self {
        let EventLogEntry {
            id,
            next,
            timestamp,
            text,
            crash,
            sign,
        } = stored;
        Self {
            id,
            next,
            timestamp,
            text,
            sign: match sign {
                Some(Sign::Interrupt) => vocabulary::Sign::Interrupt,
                Some(Sign::Restart) => vocabulary::Sign::Restart,
                None if crash => vocabulary::Sign::Crash,
                None => vocabulary::Sign::None,
            },
            by_other: false,
        }
    }
}

impl From<&vocabulary::Refusal> for Refusal {
    fn from(running: &vocabulary::Refusal) -> Self {
        let vocabulary::Refusal {
            code,
            kind,
            text,
            unanswered: _,
        } = running;
        Self {
            code: *code,
            kind: (*kind).into(),
            text: text.clone(),
        }
    }
}

impl From<Refusal> for vocabulary::Refusal {
    fn from(stored: Refusal) -> Self {
        let Refusal { code, kind, text } = stored;
        Self {
            code,
            kind: kind.into(),
            text,
            unanswered: 0,
        }
    }
}

impl From<&vocabulary::Silence> for Silence {
    fn from(running: &vocabulary::Silence) -> Self {
        let vocabulary::Silence {
            delivery,
            trouble,
            text,
        } = running;
        Self {
            delivery: (*delivery).into(),
            trouble: (*trouble).into(),
            text: text.clone(),
        }
    }
}

impl From<Silence> for vocabulary::Silence {
    fn from(stored: Silence) -> Self {
        let Silence {
            delivery,
            trouble,
            text,
        } = stored;
        Self {
            delivery: delivery.into(),
            trouble: trouble.into(),
            text,
        }
    }
}
