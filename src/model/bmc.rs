//! What is known of a BMC and its machine, and what stands in the way.

use super::words::words;
use serde::{Deserialize, Serialize};
use std::fmt;

words! {
    /// A boot device in Ironic's words.
    pub enum BootDevice ("boot device") {
        /// Network boot.
        Pxe = "pxe",
        /// The first hard disk.
        Disk = "disk",
        /// CD or DVD.
        Cdrom = "cdrom",
        /// Firmware set-up.
        Bios = "bios",
        /// Safe mode of the disk's system.
        Safe = "safe",
    }
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

impl fmt::Display for RestartCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RestartCause::Unknown => "unknown",
            RestartCause::ChassisControl => "chassis control",
            RestartCause::ResetButton => "reset button",
            RestartCause::PowerButton => "power button",
            RestartCause::Watchdog => "watchdog",
            RestartCause::AlwaysRestore => "always restore",
            RestartCause::RestorePrevious => "restore previous",
            RestartCause::PlatformEventReset => "platform event reset",
            RestartCause::PlatformEventCycle => "platform event cycle",
            RestartCause::SoftReset => "soft reset",
            RestartCause::RealTimeClock => "real time clock",
            RestartCause::Other(number) => return write!(f, "other cause {number}"),
        })
    }
}

words! {
    /// What is done where a BMC has another GUID than before.
    #[derive(Default)]
    pub enum Identity ("BMC identity") {
        /// No order that changes power leaves until a person accepts it.
        #[default]
        Strict = "strict",
        /// It is told.
        Warn = "warn",
        /// Nothing.
        Off = "off",
    }
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

words! {
    /// What stands between us and a BMC, in the one stable word that scripts may match.
    pub enum Trouble ("trouble") {
        /// Its name does not resolve.
        NoAddress = "no_address",
        /// The network says that nothing listens there.
        Unreachable = "unreachable",
        /// Silence.
        Silent = "silent",
        /// The password is wrong.
        WrongPassword = "wrong_password",
        /// No such user.
        UnknownUser = "unknown_user",
        /// The user may not have the privilege asked for.
        NoPrivilege = "no_privilege",
        /// None of the configured cipher suites is taken.
        NoCommonSuite = "no_common_suite",
        /// The BMC does not speak IPMI v2.0 (or v1.5, where that was asked for).
        NoProtocol = "no_protocol",
        /// All of its sessions are taken.
        SessionsFull = "sessions_full",
        /// It was too busy all along.
        Busy = "busy",
        /// Two log-ins failed: nothing is tried until the credentials change, an operator says so, or the hold ends.
        Held = "held",
        /// The breaker is open: it was found dead a moment ago.
        BreakerOpen = "breaker_open",
        /// It answered something that is against the protocol.
        Protocol = "protocol",
        /// The order was withdrawn.
        Withdrawn = "withdrawn",
    }
}

impl Trouble {
    /// It in a few words for people.
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
