//! What a sequence knows beside its phase, as it is stored: clock, settings, what was sent and answered.

use super::phase::{Moment, Number};
use super::words::{Delivery, OnSoftTimeout, Operation, Power, RefusalKind, State, Trouble};
use crate::bmc::vocabulary::{self, BootDevice, OrderId};
use crate::power::{self as running, sequence};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Knowledge {
    operation: Operation,
    settings: Settings,
    clock: Clock,
    power: Option<Power>,
    power_at_start: Option<Power>,
    sent: Vec<Sent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<u32>,
    remarks: Vec<String>,
    trouble: Option<String>,
    earlier: Vec<Earlier>,
}

/// An order of an earlier task that may still act.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Earlier {
    what: String,
    to: Vec<Power>,
    soft: bool,
    until: Duration,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    patience: Duration,
    change_timeout: Duration,
    min_off_time: Duration,
    settle: Duration,
    confirm_after: Duration,
    rollback_settle: Duration,
    on_soft_timeout: OnSoftTimeout,
    repeat_soft_after: Option<Duration>,
    hard_after: Option<Duration>,
    look_schedule: Vec<Duration>,
    suspended_look: Duration,
    nmi_watch: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<Boot>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    on_if_off: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    never_off: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holds_longer: Option<Duration>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    from_request: bool,
}

/// What the machine is to boot from: the selector of its boot flags.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Boot {
    selector: u8,
    uefi: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clock {
    pub(crate) age: Moment,
    pub(crate) elapsed: Duration,
    pub(crate) begun: Option<Duration>,
    pub(crate) held: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) kept: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waited: Option<Duration>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    state: State,
    power: Option<Power>,
    power_at_start: Option<Power>,
    text: String,
    error: bool,
    took: Duration,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    id: Number,
    order: Order,
    at: Duration,
    handed: bool,
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

impl From<&sequence::Knowledge> for Knowledge {
    fn from(running: &sequence::Knowledge) -> Self {
        let sequence::Knowledge {
            operation,
            settings,
            clock,
            power,
            power_at_start,
            sent,
            left_out,
            earlier,
            remarks,
            trouble,
        } = running;
        Knowledge {
            operation: (*operation).into(),
            settings: settings.into(),
            clock: clock.to_stored(),
            power: power.map(Into::into),
            power_at_start: power_at_start.map(Into::into),
            sent: sent.iter().filter_map(Sent::of).collect(),
            left_out: (*left_out > 0).then_some(*left_out),
            remarks: remarks.clone(),
            trouble: trouble.clone(),
            earlier: earlier.iter().map(Into::into).collect(),
        }
    }
}

impl From<Knowledge> for sequence::Knowledge {
    fn from(stored: Knowledge) -> Self {
        let Knowledge {
            operation,
            settings,
            clock,
            power,
            power_at_start,
            sent,
            left_out,
            remarks,
            trouble,
            earlier,
        } = stored;
        sequence::Knowledge {
            operation: operation.into(),
            settings: settings.into(),
            clock: sequence::Clock::from_stored(clock),
            power: power.map(Into::into),
            power_at_start: power_at_start.map(Into::into),
            sent: sent.into_iter().map(Into::into).collect(),
            left_out: left_out.unwrap_or(0),
            remarks,
            trouble,
            earlier: earlier.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<&running::Earlier> for Earlier {
    fn from(running: &running::Earlier) -> Self {
        let running::Earlier {
            what,
            to,
            soft,
            until,
        } = running;
        Earlier {
            what: what.clone(),
            to: to.iter().map(|to| (*to).into()).collect(),
            soft: *soft,
            until: *until,
        }
    }
}

impl From<Earlier> for running::Earlier {
    fn from(stored: Earlier) -> Self {
        let Earlier {
            what,
            to,
            soft,
            until,
        } = stored;
        running::Earlier {
            what,
            to: to.into_iter().map(Into::into).collect(),
            soft,
            until,
        }
    }
}

impl From<&running::Settings> for Settings {
    fn from(running: &running::Settings) -> Self {
        let running::Settings {
            patience,
            change_timeout,
            min_off_time,
            settle,
            confirm_after,
            rollback_settle,
            on_soft_timeout,
            repeat_soft_after,
            hard_after,
            look_schedule,
            suspended_look,
            nmi_watch,
            boot,
            on_if_off,
            never_off,
            holds_longer,
            from_request,
        } = running;
        Settings {
            patience: *patience,
            change_timeout: *change_timeout,
            min_off_time: *min_off_time,
            settle: *settle,
            confirm_after: *confirm_after,
            rollback_settle: *rollback_settle,
            on_soft_timeout: (*on_soft_timeout).into(),
            repeat_soft_after: *repeat_soft_after,
            hard_after: *hard_after,
            look_schedule: look_schedule.clone(),
            suspended_look: *suspended_look,
            nmi_watch: *nmi_watch,
            on_if_off: *on_if_off,
            never_off: *never_off,
            holds_longer: *holds_longer,
            from_request: *from_request,
            boot: boot.map(|boot| Boot {
                selector: boot.device.selector(),
                uefi: boot.uefi,
            }),
        }
    }
}

impl From<Settings> for running::Settings {
    fn from(stored: Settings) -> Self {
        let Settings {
            patience,
            change_timeout,
            min_off_time,
            settle,
            confirm_after,
            rollback_settle,
            on_soft_timeout,
            repeat_soft_after,
            hard_after,
            look_schedule,
            suspended_look,
            nmi_watch,
            boot,
            on_if_off,
            never_off,
            holds_longer,
            from_request,
        } = stored;
        running::Settings {
            patience,
            change_timeout,
            min_off_time,
            settle,
            confirm_after,
            rollback_settle,
            on_soft_timeout: on_soft_timeout.into(),
            repeat_soft_after,
            hard_after,
            look_schedule,
            suspended_look,
            nmi_watch,
            on_if_off,
            never_off,
            holds_longer,
            from_request,
            boot: boot.and_then(|boot| {
                let device = BootDevice::of_selector(boot.selector)?;
                Some(running::Boot {
                    device,
                    uefi: boot.uefi,
                })
            }),
        }
    }
}

impl From<&running::Outcome> for Outcome {
    fn from(running: &running::Outcome) -> Self {
        let running::Outcome {
            state,
            power,
            power_at_start,
            text,
            error,
            took,
        } = running;
        Outcome {
            state: (*state).into(),
            power: power.map(Into::into),
            power_at_start: power_at_start.map(Into::into),
            text: text.clone(),
            error: *error,
            took: *took,
        }
    }
}

impl From<Outcome> for running::Outcome {
    fn from(stored: Outcome) -> Self {
        let Outcome {
            state,
            power,
            power_at_start,
            text,
            error,
            took,
        } = stored;
        running::Outcome {
            state: state.into(),
            power: power.map(Into::into),
            power_at_start: power_at_start.map(Into::into),
            text,
            error,
            took,
        }
    }
}

impl Sent {
    /// `None` for an order that no sequence gives, so that there is nothing to store.
    fn of(running: &running::Sent) -> Option<Self> {
        let running::Sent {
            id,
            order,
            at,
            handed,
            times,
            answer,
        } = running;
        Some(Sent {
            id: id.0,
            order: Order::of(order)?,
            at: *at,
            handed: *handed,
            times: *times,
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
        running::Sent {
            id: OrderId(id),
            order: order.into(),
            at,
            handed,
            times,
            answer: answer.map(|(answered, report)| (answered, report.into())),
        }
    }
}

impl Order {
    /// `None` for an order that no sequence gives.
    pub(crate) fn of(running: &vocabulary::Order) -> Option<Self> {
        match running {
            vocabulary::Order::ReadPower => Some(Order::ReadPower),
            vocabulary::Order::PowerOn => Some(Order::PowerOn),
            vocabulary::Order::PowerOff => Some(Order::PowerOff),
            vocabulary::Order::SoftOff => Some(Order::SoftOff),
            vocabulary::Order::Cycle => Some(Order::Cycle),
            vocabulary::Order::Reset => Some(Order::Reset),
            vocabulary::Order::Nmi => Some(Order::Nmi),
            vocabulary::Order::ReadRestartCause => Some(Order::ReadRestartCause),
            vocabulary::Order::ReadEventLogInfo => Some(Order::ReadEventLogInfo),
            vocabulary::Order::ReadEventLogEntry(id) => Some(Order::ReadEventLogEntry(*id)),
            vocabulary::Order::SetBootDevice {
                device: Some(device),
                persistent: false,
                uefi,
            } => Some(Order::SetBootDevice {
                selector: device.selector(),
                uefi: *uefi,
            }),
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
            Order::ReadPower => vocabulary::Order::ReadPower,
            Order::PowerOn => vocabulary::Order::PowerOn,
            Order::PowerOff => vocabulary::Order::PowerOff,
            Order::SoftOff => vocabulary::Order::SoftOff,
            Order::Cycle => vocabulary::Order::Cycle,
            Order::Reset => vocabulary::Order::Reset,
            Order::Nmi => vocabulary::Order::Nmi,
            Order::ReadRestartCause => vocabulary::Order::ReadRestartCause,
            Order::ReadEventLogInfo => vocabulary::Order::ReadEventLogInfo,
            Order::ReadEventLogEntry(id) => vocabulary::Order::ReadEventLogEntry(id),
            Order::SetBootDevice { selector, uefi } => vocabulary::Order::SetBootDevice {
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
            vocabulary::Report::Accepted(reading) => Report::Accepted(reading.into()),
            vocabulary::Report::Refused(refusal) => Report::Refused(refusal.into()),
            vocabulary::Report::Unanswered(silence) => Report::Unanswered(silence.into()),
        }
    }
}

impl From<Report> for vocabulary::Report {
    fn from(stored: Report) -> Self {
        match stored {
            Report::Accepted(reading) => vocabulary::Report::Accepted(reading.into()),
            Report::Refused(refusal) => vocabulary::Report::Refused(refusal.into()),
            Report::Unanswered(silence) => vocabulary::Report::Unanswered(silence.into()),
        }
    }
}

impl From<&vocabulary::Reading> for Reading {
    fn from(running: &vocabulary::Reading) -> Self {
        match running {
            vocabulary::Reading::Power(power) => Reading::Power((*power).into()),
            vocabulary::Reading::RestartCause(cause) => Reading::RestartCause((*cause).into()),
            vocabulary::Reading::EventLogInfo {
                entries,
                last_added,
            } => Reading::EventLogInfo {
                entries: *entries,
                last_added: *last_added,
            },
            vocabulary::Reading::EventLogEntry(entry) => Reading::EventLogEntry(entry.into()),
            // A sequence asks for none of the others: one would tell it no more than that there was an answer.
            vocabulary::Reading::BootDevice {
                device,
                persistent,
                uefi,
            } => Reading::BootDevice {
                selector: device.map_or(0, BootDevice::selector),
                persistent: *persistent,
                uefi: *uefi,
            },
            vocabulary::Reading::Done
            | vocabulary::Reading::Identity { .. }
            | vocabulary::Reading::PowerUse { .. }
            | vocabulary::Reading::AcpiState(_)
            | vocabulary::Reading::Guid(_)
            | vocabulary::Reading::Sessions { .. }
            | vocabulary::Reading::Chassis(_)
            | vocabulary::Reading::EventLog { .. }
            | vocabulary::Reading::EventLogCleared { .. }
            | vocabulary::Reading::Raw(_) => Reading::Done,
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
            } => vocabulary::Reading::BootDevice {
                device: BootDevice::of_selector(selector),
                persistent,
                uefi,
            },
            Reading::Done => vocabulary::Reading::Done,
            Reading::Power(power) => vocabulary::Reading::Power(power.into()),
            Reading::RestartCause(cause) => vocabulary::Reading::RestartCause(cause.into()),
            Reading::EventLogInfo {
                entries,
                last_added,
            } => vocabulary::Reading::EventLogInfo {
                entries,
                last_added,
            },
            Reading::EventLogEntry(entry) => vocabulary::Reading::EventLogEntry(entry.into()),
        }
    }
}

impl From<vocabulary::RestartCause> for RestartCause {
    fn from(running: vocabulary::RestartCause) -> Self {
        match running {
            vocabulary::RestartCause::Unknown => RestartCause::Unknown,
            vocabulary::RestartCause::ChassisControl => RestartCause::ChassisControl,
            vocabulary::RestartCause::ResetButton => RestartCause::ResetButton,
            vocabulary::RestartCause::PowerButton => RestartCause::PowerButton,
            vocabulary::RestartCause::Watchdog => RestartCause::Watchdog,
            vocabulary::RestartCause::AlwaysRestore => RestartCause::AlwaysRestore,
            vocabulary::RestartCause::RestorePrevious => RestartCause::RestorePrevious,
            vocabulary::RestartCause::PlatformEventReset => RestartCause::PlatformEventReset,
            vocabulary::RestartCause::PlatformEventCycle => RestartCause::PlatformEventCycle,
            vocabulary::RestartCause::SoftReset => RestartCause::SoftReset,
            vocabulary::RestartCause::RealTimeClock => RestartCause::RealTimeClock,
            vocabulary::RestartCause::Other(number) => RestartCause::Other(number),
        }
    }
}

impl From<RestartCause> for vocabulary::RestartCause {
    fn from(stored: RestartCause) -> Self {
        match stored {
            RestartCause::Unknown => vocabulary::RestartCause::Unknown,
            RestartCause::ChassisControl => vocabulary::RestartCause::ChassisControl,
            RestartCause::ResetButton => vocabulary::RestartCause::ResetButton,
            RestartCause::PowerButton => vocabulary::RestartCause::PowerButton,
            RestartCause::Watchdog => vocabulary::RestartCause::Watchdog,
            RestartCause::AlwaysRestore => vocabulary::RestartCause::AlwaysRestore,
            RestartCause::RestorePrevious => vocabulary::RestartCause::RestorePrevious,
            RestartCause::PlatformEventReset => vocabulary::RestartCause::PlatformEventReset,
            RestartCause::PlatformEventCycle => vocabulary::RestartCause::PlatformEventCycle,
            RestartCause::SoftReset => vocabulary::RestartCause::SoftReset,
            RestartCause::RealTimeClock => vocabulary::RestartCause::RealTimeClock,
            RestartCause::Other(number) => vocabulary::RestartCause::Other(number),
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
        } = running;
        EventLogEntry {
            id: *id,
            next: *next,
            timestamp: *timestamp,
            text: text.clone(),
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
        vocabulary::EventLogEntry {
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
        }
    }
}

impl From<&vocabulary::Refusal> for Refusal {
    fn from(running: &vocabulary::Refusal) -> Self {
        let vocabulary::Refusal { code, kind, text } = running;
        Refusal {
            code: *code,
            kind: (*kind).into(),
            text: text.clone(),
        }
    }
}

impl From<Refusal> for vocabulary::Refusal {
    fn from(stored: Refusal) -> Self {
        let Refusal { code, kind, text } = stored;
        vocabulary::Refusal {
            code,
            kind: kind.into(),
            text,
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
        Silence {
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
        vocabulary::Silence {
            delivery: delivery.into(),
            trouble: trouble.into(),
            text,
        }
    }
}
