//! What is asked of a BMC.

use crate::model::{BootDevice, RestorePolicy, counted};
use std::time::Duration;

/// What one order is known by, unique in the life of one `Rack`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OrderId(pub u64);

/// What we ask of a BMC.
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// Read what the BMC says of the chassis: status, capabilities, its test of itself.
    ReadChassis,
    /// Say what the machine shall do when mains power comes back.
    SetRestorePolicy(RestorePolicy),
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
        route: Route,
    },
}

/// The way to whom a raw command is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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

/// What an order may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing: it reads.
    Nothing,
    /// The identify light, which is no change of the machine: people find it by its light.
    Light,
    /// One thing of the machine or its BMC other than its power, which has a name.
    Setting,
    /// The BMC is to begin anew; the machine goes on.
    Restart,
    /// Nobody can say what: the BMC is to carry out bytes.
    Anything,
    /// The machine's power: a level, harmless when repeated.
    Level,
    /// The machine's power, if its operating system goes along.
    Soft,
    /// The machine's power or what its system does (an interrupt): it cannot be undone.
    Pulse,
}

/// An order to the machine's power, or to its system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PowerOrder {
    On,
    /// Off, hard.
    Off,
    /// Off, if the operating system goes along.
    SoftOff,
    /// Off and on again.
    Cycle,
    /// A hard reset.
    Reset,
    /// A diagnostic interrupt.
    Nmi,
}

impl Order {
    /// The order, for those who want to know later what was done. What a raw command carries may be
    /// a password.
    pub fn in_words(&self) -> String {
        match self {
            Self::Raw {
                net_fn,
                lun,
                command,
                data,
                route,
            } => {
                let to = match route {
                    Route::Direct => String::new(),
                    Route::Behind { channel, address } => {
                        format!(", to address {address:02X}h on channel {channel}")
                    }
                    Route::Beyond {
                        transit_channel,
                        transit_address,
                        channel,
                        address,
                    } => format!(
                        ", to address {address:02X}h on channel {channel} behind address {transit_address:02X}h on channel \
                         {transit_channel}"
                    ),
                };
                // Rule 9: how many, and not which.
                let bytes = counted(data.len(), "byte");
                format!(
                    "raw command {command:02X}h of network function {net_fn:02X}h, unit {lun}, {bytes}{to}"
                )
            }
            Self::SetBootDevice {
                device,
                persistent,
                uefi,
            } => {
                let device = device.map_or("none", BootDevice::name);
                let often = if *persistent { "for good" } else { "once" };
                let mode = if *uefi { ", UEFI" } else { "" };
                format!("set boot device {device} {often}{mode}")
            }
            Self::SetRestorePolicy(policy) => format!("set power restore policy {policy}"),
            other => other.name().to_owned(),
        }
    }

    /// Whether the order changes the machine's power or runs an interrupt: such orders are written
    /// ahead.
    pub fn changes_power(&self) -> bool {
        match self.effect() {
            Effect::Level | Effect::Soft | Effect::Pulse => true,
            Effect::Nothing
            | Effect::Light
            | Effect::Setting
            | Effect::Restart
            | Effect::Anything => false,
        }
    }

    /// Whether the order may change something else of the machine or its BMC than its power. Such
    /// orders are put down before they leave, and none leaves while the rack is paused.
    pub fn changes_machine(&self) -> bool {
        match self.effect() {
            Effect::Setting | Effect::Restart | Effect::Anything => true,
            Effect::Nothing | Effect::Light | Effect::Level | Effect::Soft | Effect::Pulse => false,
        }
    }

    /// Whether the order may change anything of the machine, its power or its BMC: such orders are
    /// written ahead, and another machine than the node's is not to get them. Of a raw command
    /// nobody knows.
    pub fn acts(&self) -> bool {
        self.changes_power() || self.changes_machine()
    }

    /// What the order may change. Every order stands here by name: one that is forgotten does not
    /// compile.
    pub fn effect(&self) -> Effect {
        match self {
            Self::PowerOn | Self::PowerOff => Effect::Level,
            Self::SoftOff => Effect::Soft,
            Self::Cycle | Self::Reset | Self::Nmi => Effect::Pulse,
            Self::SetBootDevice { .. } | Self::SetRestorePolicy(_) | Self::ClearEventLog => {
                Effect::Setting
            }
            Self::ResetBmc { .. } => Effect::Restart,
            // Of a raw command nobody knows what it does.
            Self::Raw { .. } => Effect::Anything,
            Self::Identify(_) => Effect::Light,
            Self::ReadPower
            | Self::ReadRestartCause
            | Self::ReadEventLogInfo
            | Self::ReadEventLogEntry(_)
            | Self::ReadBootDevice
            | Self::ReadChassis
            | Self::ReadIdentity
            | Self::ReadPowerUse
            | Self::ReadAcpiState
            | Self::ReadGuid
            | Self::ReadSessions
            | Self::ReadEventLog(_) => Effect::Nothing,
        }
    }

    /// Whether it changes nothing at all, so that it may be put off between two of its commands.
    pub fn only_reads(&self) -> bool {
        self.effect() == Effect::Nothing
    }

    /// Which order to the machine's power or system it is; none where it leaves both alone. What a
    /// raw command does nobody knows.
    pub fn power_order(&self) -> Option<PowerOrder> {
        match self {
            Self::PowerOn => Some(PowerOrder::On),
            Self::PowerOff => Some(PowerOrder::Off),
            Self::SoftOff => Some(PowerOrder::SoftOff),
            Self::Cycle => Some(PowerOrder::Cycle),
            Self::Reset => Some(PowerOrder::Reset),
            Self::Nmi => Some(PowerOrder::Nmi),
            Self::Identify(_)
            | Self::SetBootDevice { .. }
            | Self::SetRestorePolicy(_)
            | Self::ClearEventLog
            | Self::ResetBmc { .. }
            | Self::Raw { .. }
            | Self::ReadPower
            | Self::ReadRestartCause
            | Self::ReadEventLogInfo
            | Self::ReadEventLogEntry(_)
            | Self::ReadBootDevice
            | Self::ReadChassis
            | Self::ReadIdentity
            | Self::ReadPowerUse
            | Self::ReadAcpiState
            | Self::ReadGuid
            | Self::ReadSessions
            | Self::ReadEventLog(_) => None,
        }
    }

    /// Whether the machine boots after it.
    pub fn boots(&self) -> bool {
        match self.power_order() {
            Some(PowerOrder::On | PowerOrder::Cycle | PowerOrder::Reset) => true,
            Some(PowerOrder::Off | PowerOrder::SoftOff | PowerOrder::Nmi) | None => false,
        }
    }

    /// Whether it draws the inrush current of a machine that starts.
    pub fn draws_inrush(&self) -> bool {
        match self.power_order() {
            Some(PowerOrder::On | PowerOrder::Cycle) => true,
            Some(PowerOrder::Off | PowerOrder::SoftOff | PowerOrder::Reset | PowerOrder::Nmi)
            | None => false,
        }
    }

    /// Whether the machine goes off by it, be it for a moment.
    pub fn switches_off(&self) -> bool {
        match self.power_order() {
            Some(PowerOrder::Off | PowerOrder::SoftOff | PowerOrder::Cycle) => true,
            Some(PowerOrder::On | PowerOrder::Reset | PowerOrder::Nmi) | None => false,
        }
    }

    /// Whether it interrupts the system and leaves the power as it is.
    pub fn leaves_power_on(&self) -> bool {
        match self.power_order() {
            Some(PowerOrder::Nmi | PowerOrder::Reset) => true,
            Some(PowerOrder::On | PowerOrder::Off | PowerOrder::SoftOff | PowerOrder::Cycle)
            | None => false,
        }
    }

    /// Whether all orders of its name ask for the same, so that the BMC has it or has it not.
    pub fn is_one_command(&self) -> bool {
        match self.effect() {
            Effect::Anything => false,
            Effect::Nothing
            | Effect::Light
            | Effect::Setting
            | Effect::Restart
            | Effect::Level
            | Effect::Soft
            | Effect::Pulse => true,
        }
    }

    /// Whether the BMC is away for a while after it.
    pub fn restarts_bmc(&self) -> bool {
        self.effect() == Effect::Restart
    }

    /// Whether it may be repeated.
    pub fn repeat(&self) -> Repeat {
        match self.effect() {
            // A second one finds what the first one made; a clearing names a reservation.
            Effect::Nothing | Effect::Light | Effect::Setting | Effect::Level => Repeat::Harmless,
            Effect::Soft => Repeat::AfterLook,
            Effect::Pulse => match self.power_order() {
                Some(PowerOrder::Cycle | PowerOrder::Reset) => Repeat::AfterLook,
                // An NMI shows in no power state: no look can tell whether it arrived (rule 2).
                Some(PowerOrder::Nmi | PowerOrder::On | PowerOrder::Off | PowerOrder::SoftOff)
                | None => Repeat::Never,
            },
            Effect::Restart | Effect::Anything => Repeat::Never,
        }
    }

    /// The order in words, as the journal, tasks and messages name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReadPower => "read power state",
            Self::PowerOn => "power on",
            Self::PowerOff => "power off",
            Self::SoftOff => "soft power off",
            Self::Cycle => "power cycle",
            Self::Reset => "hard reset",
            Self::Nmi => "inject nmi",
            Self::ReadRestartCause => "read restart cause",
            Self::ReadEventLogInfo => "read event log information",
            Self::ReadEventLogEntry(_) => "read event log entry",
            Self::Identify(_) => "identify",
            Self::ReadBootDevice => "read boot device",
            Self::SetBootDevice { .. } => "set boot device",
            Self::ReadChassis => "read chassis",
            Self::SetRestorePolicy(_) => "set power restore policy",
            Self::ReadIdentity => "read BMC identity",
            Self::ReadPowerUse => "read power use",
            Self::ReadAcpiState => "read ACPI state",
            Self::ReadGuid => "read GUID",
            Self::ReadSessions => "read sessions",
            Self::ReadEventLog(_) => "read event log",
            Self::ClearEventLog => "clear event log",
            Self::ResetBmc { cold: true } => "cold reset of the BMC",
            Self::ResetBmc { cold: false } => "warm reset of the BMC",
            Self::Raw { .. } => "raw command",
        }
    }
}
