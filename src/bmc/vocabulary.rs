//! The words between the rooms above (`power`, `rack`) and one BMC: what is asked ([`Order`]) and the one answer that
//! every order brings ([`Report`]). No word of IPMI in here, so that another way to a BMC could stand behind it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What one order is known by, unique in the life of one `Rack`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct OrderId(pub u64);

/// Whether a machine has power, as a BMC reads it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Power is on.
    On,
    /// Power is off (soft-off or mechanical).
    Off,
}

/// What we ask of a BMC.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Read the power state.
    ReadPower,
    /// Switch on: a level, harmless when repeated.
    PowerOn,
    /// Switch off hard: a level, harmless when repeated.
    PowerOff,
    /// Press the power button for the operating system (ACPI soft shutdown).
    SoftOff,
    /// Off and on by the BMC itself: a pulse.
    Cycle,
    /// Hard reset: a pulse.
    Reset,
    /// Diagnostic interrupt (NMI): a pulse that is never repeated.
    Nmi,
    /// Why the system restarted last.
    ReadRestartCause,
    /// How many entries the system event log has, and when the last one was added.
    ReadEventLogInfo,
    /// One entry of the system event log; `0` is the first, `0xFFFF` the last.
    ReadEventLogEntry(u16),
    /// Blink the chassis' identify light for so long; zero ends it, `None` is until further notice.
    Identify(Option<Duration>),
    /// Read the boot device override.
    ReadBootDevice,
    /// Set the boot device override.
    SetBootDevice {
        /// The device, `None` to clear the override.
        device: Option<BootDevice>,
        /// For every boot, or for the next one only.
        persistent: bool,
        /// Boot in UEFI mode.
        uefi: bool,
    },
    /// Read the identity of the BMC (maker, product, firmware).
    ReadIdentity,
    /// Read the node's power use in watts.
    ReadPowerUse,
    /// Read the ACPI power state.
    ReadAcpiState,
    /// Read the GUID of the managed system, as its BMC knows it.
    ReadGuid,
    /// Read how many of the BMC's sessions are taken.
    ReadSessions,
    /// Read the newest entries of the event log, at most so many.
    ReadEventLog(u16),
    /// Forget all entries of the event log.
    ClearEventLog,
    /// Restart the BMC itself; the machine goes on. A pulse: sent once.
    ResetBmc {
        /// Cold: its defaults come back; warm: what it does is interrupted only.
        cold: bool,
    },
    /// A command that an expert spelled out. Treated as a pulse: sent once.
    Raw {
        /// Network function, 0 to 62, even.
        net_fn: u8,
        /// Logical unit, 0 to 3.
        lun: u8,
        /// Command number.
        command: u8,
        /// Request data.
        data: Vec<u8>,
        /// The way to whom it is for.
        #[serde(default)]
        route: Route,
    },
}

/// The way to whom a raw command is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The BMC itself.
    #[default]
    Direct,
    /// A controller behind the BMC.
    Behind {
        /// The channel behind the BMC; 0 is the primary IPMB.
        channel: u8,
        /// The controller's slave address.
        address: u8,
    },
    /// A controller behind another behind the BMC.
    Beyond {
        /// The channel to the one in between.
        transit_channel: u8,
        /// The slave address of the one in between.
        transit_address: u8,
        /// The channel behind that.
        channel: u8,
        /// The controller's slave address.
        address: u8,
    },
}

/// Whether an order may be sent again after silence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// A reading or a level: harmless.
    Harmless,
    /// A pulse: only after a look at the machine has shown that the first one did nothing.
    AfterLook,
    /// Never (NMI, raw commands).
    Never,
}

impl Order {
    /// Whether the order changes the machine's power or runs an interrupt: such orders are written ahead.
    pub fn changes_power(&self) -> bool {
        matches!(
            self,
            Order::PowerOn
                | Order::PowerOff
                | Order::SoftOff
                | Order::Cycle
                | Order::Reset
                | Order::Nmi
        )
    }

    /// Whether the order may change something else of the machine or its BMC than its power: of a raw command nobody
    /// knows. Such orders are put down before they leave, and none leaves while the rack is paused. The identify light
    /// is no such change: people find the machine by it.
    pub fn changes_machine(&self) -> bool {
        matches!(
            self,
            Order::SetBootDevice { .. }
                | Order::ClearEventLog
                | Order::ResetBmc { .. }
                | Order::Raw { .. }
        )
    }

    /// Whether it may be repeated.
    pub fn repeat(&self) -> Repeat {
        match self {
            Order::SoftOff | Order::Cycle | Order::Reset => Repeat::AfterLook,
            Order::Nmi | Order::Raw { .. } | Order::ResetBmc { .. } => Repeat::Never,
            _ => Repeat::Harmless,
        }
    }

    /// The order in words, as the journal, tasks and messages name it.
    pub fn name(&self) -> &'static str {
        match self {
            Order::ReadPower => "read power state",
            Order::PowerOn => "power on",
            Order::PowerOff => "power off",
            Order::SoftOff => "soft power off",
            Order::Cycle => "power cycle",
            Order::Reset => "hard reset",
            Order::Nmi => "inject nmi",
            Order::ReadRestartCause => "read restart cause",
            Order::ReadEventLogInfo => "read event log information",
            Order::ReadEventLogEntry(_) => "read event log entry",
            Order::Identify(_) => "identify",
            Order::ReadBootDevice => "read boot device",
            Order::SetBootDevice { .. } => "set boot device",
            Order::ReadIdentity => "read BMC identity",
            Order::ReadPowerUse => "read power use",
            Order::ReadAcpiState => "read ACPI state",
            Order::ReadGuid => "read GUID",
            Order::ReadSessions => "read sessions",
            Order::ReadEventLog(_) => "read event log",
            Order::ClearEventLog => "clear event log",
            Order::ResetBmc { cold: true } => "cold reset of the BMC",
            Order::ResetBmc { cold: false } => "warm reset of the BMC",
            Order::Raw { .. } => "raw command",
        }
    }
}

/// A boot device in Ironic's words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootDevice {
    /// Network boot.
    Pxe,
    /// The first hard disk.
    Disk,
    /// CD or DVD.
    Cdrom,
    /// Firmware set-up.
    Bios,
    /// Safe mode of the disk's system.
    Safe,
}

/// The one answer to an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The BMC did it, or answered the question.
    Accepted(Reading),
    /// The BMC answered that it will not.
    Refused(Refusal),
    /// No answer came.
    Unanswered(Silence),
}

/// What an accepted order brought.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Nothing but the acceptance.
    Done,
    /// The power state.
    Power(Power),
    /// Why the system restarted last.
    RestartCause(RestartCause),
    /// The event log's fill.
    EventLogInfo {
        /// Entries in the log.
        entries: u16,
        /// When the last entry was added, in the BMC's own clock (seconds since 1970).
        last_added: u32,
    },
    /// One entry of the event log.
    EventLogEntry(EventLogEntry),
    /// The boot device override.
    BootDevice {
        /// The device, `None` where there is no override.
        device: Option<BootDevice>,
        /// For every boot or once.
        persistent: bool,
        /// In UEFI mode.
        uefi: bool,
    },
    /// Who the BMC is.
    Identity {
        /// The maker's number (IANA).
        manufacturer: u32,
        /// The product number.
        product: u16,
        /// Firmware revision as text.
        firmware: String,
    },
    /// Power use.
    PowerUse {
        /// Watts now.
        watts: u16,
    },
    /// The ACPI state of the system, in words.
    AcpiState(String),
    /// A GUID, most significant byte first.
    Guid(uuid::Uuid),
    /// The BMC's sessions.
    Sessions {
        /// How many there are, ours included.
        active: u8,
        /// How many there can be.
        possible: u8,
    },
    /// Entries of the event log, oldest first.
    EventLog(Vec<EventLogEntry>),
    /// The data of the answer to a raw command.
    Raw(Vec<u8>),
}

/// Why a system restarted (IPMI v2.0 §28.11).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartCause {
    /// Not known.
    Unknown,
    /// Chassis Control over a channel.
    ChassisControl,
    /// The reset button.
    ResetButton,
    /// The power button.
    PowerButton,
    /// The watchdog expired.
    Watchdog,
    /// Power came back and the policy is always on.
    AlwaysRestore,
    /// Power came back and the policy restores the former state.
    RestorePrevious,
    /// Reset by a platform event filter.
    PlatformEventReset,
    /// Power cycle by a platform event filter.
    PlatformEventCycle,
    /// Soft reset, such as Ctrl-Alt-Del.
    SoftReset,
    /// The real-time clock woke it.
    RealTimeClock,
    /// Another or an OEM cause: its number.
    Other(u8),
}

/// One entry of the system event log, as far as the watcher of an NMI cares.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventLogEntry {
    /// Its record id.
    pub id: u16,
    /// The record id of the next, `0xFFFF` where this is the last.
    pub next: u16,
    /// Seconds since 1970 by the BMC's clock; 0 where the record has none.
    pub timestamp: u32,
    /// What it says, in words ("OS stop: run-time critical stop").
    pub text: String,
    /// Whether it tells of a crash, a critical interrupt or a watchdog.
    pub crash: bool,
}

/// An answer that is a no.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// The completion code.
    pub code: u8,
    /// What it means for us.
    pub kind: RefusalKind,
    /// It in words.
    pub text: String,
}

/// What a completion code means for what comes next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// Not now: ask again later.
    Busy,
    /// The firmware is being updated: leave the machine alone.
    Updating,
    /// The BMC does not have this.
    NotSupported,
    /// Not in the machine's present state, which may be the one that was wanted.
    NotInPresentState,
    /// Our privilege does not reach.
    NotPermitted,
    /// Anything else.
    Failed,
}

/// No answer came.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Silence {
    /// Whether the machine may have received the order.
    pub delivery: Delivery,
    /// Why.
    pub trouble: Trouble,
    /// It in words, with the figures.
    pub text: String,
}

/// Whether an unanswered order can have reached the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// No packet with it was handed to the network.
    NotSent,
    /// At least one was: it cannot be known.
    Unknown,
}

/// What stands between us and a BMC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Its name does not resolve.
    NoAddress,
    /// The network says that nothing listens there.
    Unreachable,
    /// Silence.
    Silent,
    /// The password is wrong.
    WrongPassword,
    /// No such user.
    UnknownUser,
    /// The user may not have the privilege asked for.
    NoPrivilege,
    /// None of the configured cipher suites is taken.
    NoCommonSuite,
    /// The BMC does not speak IPMI v2.0 (or v1.5, where that was asked for).
    NoProtocol,
    /// All of its sessions are taken.
    SessionsFull,
    /// It was too busy all along.
    Busy,
    /// Two log-ins failed: nothing is tried until the credentials change, an operator says so, or the hold ends.
    Held,
    /// The breaker is open: it was found dead a moment ago.
    BreakerOpen,
    /// It answered something that is against the protocol.
    Protocol,
    /// The order was withdrawn.
    Withdrawn,
}

impl Trouble {
    /// It in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Trouble::NoAddress => "name does not resolve",
            Trouble::Unreachable => "nothing listens there",
            Trouble::Silent => "no answer",
            Trouble::WrongPassword => "wrong password",
            Trouble::UnknownUser => "unknown user",
            Trouble::NoPrivilege => "privilege not granted",
            Trouble::NoCommonSuite => "no common cipher suite",
            Trouble::NoProtocol => "protocol version not offered",
            Trouble::SessionsFull => "BMC sessions full",
            Trouble::Busy => "BMC busy",
            Trouble::Held => "log-ins held back",
            Trouble::BreakerOpen => "found dead a moment ago",
            Trouble::Protocol => "answers against the protocol",
            Trouble::Withdrawn => "withdrawn",
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Power::On => "on",
            Power::Off => "off",
        })
    }
}

/// The report as a task's list of orders shows it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Accepted(Reading::Power(power)) => write!(f, "power is {power}"),
            Report::Accepted(Reading::RestartCause(cause)) => write!(f, "last restart: {cause:?}"),
            Report::Accepted(Reading::EventLogInfo { entries, .. }) => {
                write!(f, "{entries} entries")
            }
            Report::Accepted(Reading::EventLogEntry(entry)) => f.write_str(&entry.text),
            Report::Accepted(_) => f.write_str("accepted"),
            Report::Refused(refusal) => {
                write!(f, "refused: {} ({:02X}h)", refusal.text, refusal.code)
            }
            Report::Unanswered(silence) => match silence.delivery {
                Delivery::NotSent => write!(f, "not sent: {}", silence.text),
                Delivery::Unknown => write!(
                    f,
                    "not answered, unknown whether it arrived: {}",
                    silence.text
                ),
            },
        }
    }
}
