//! What is known of a BMC and its machine, and what stands in the way.

use super::words::{Word, words};
use serde::{Deserialize, Serialize};
use std::fmt;

words! {
    /// What a machine boots from: Ironic's words, those of ipmitool, and a word for each selector
    /// that has neither (IPMI v2.0 §28.14, parameter 5).
    pub enum BootDevice ("boot device") {
        Pxe = "pxe",
        /// The first hard disk.
        Disk = "disk",
        /// CD or DVD.
        Cdrom = "cdrom",
        /// Firmware set-up.
        Bios = "bios",
        /// Safe mode of the disk's system.
        Safe = "safe",
        /// The diagnostic partition.
        Diag = "diag",
        /// A floppy disk or other removable medium, such as a USB stick.
        Floppy = "floppy",
        /// A removable medium that the BMC presents from afar.
        RemoteFloppy = "remote_floppy",
        /// A CD or DVD that the BMC presents from afar.
        RemoteCdrom = "remote_cdrom",
        /// Another medium that the BMC presents from afar. Some makers mean a UEFI disk by it.
        RemoteMedia = "remote_media",
        /// A hard disk that the BMC presents from afar.
        RemoteDisk = "remote_disk",
        /// A selector without a name.
        Selector10 = "0xa",
        /// A selector without a name.
        Selector12 = "0xc",
        /// A selector without a name.
        Selector13 = "0xd",
        /// A selector without a name.
        Selector14 = "0xe",
    }
}

impl BootDevice {
    /// Its number in the boot flags, 1 to 15.
    pub fn selector(self) -> u8 {
        match self {
            Self::Pxe => 0x1,
            Self::Disk => 0x2,
            Self::Safe => 0x3,
            Self::Diag => 0x4,
            Self::Cdrom => 0x5,
            Self::Bios => 0x6,
            Self::RemoteFloppy => 0x7,
            Self::RemoteCdrom => 0x8,
            Self::RemoteMedia => 0x9,
            Self::Selector10 => 0xA,
            Self::RemoteDisk => 0xB,
            Self::Selector12 => 0xC,
            Self::Selector13 => 0xD,
            Self::Selector14 => 0xE,
            Self::Floppy => 0xF,
        }
    }

    /// The device of a selector; 0 is none.
    pub fn of_selector(selector: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|device| device.selector() == selector)
    }

    /// The device as people write it: by its word, `usb` for removable media, or by its selector
    /// (`9`, `0x9`).
    pub fn parse(text: &str) -> Option<Self> {
        let number = match text.strip_prefix("0x") {
            Some(hex) => u8::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        match (text, number) {
            ("usb", _) => Some(Self::Floppy),
            (_, Some(selector)) => Self::of_selector(selector),
            (word, None) => Self::ALL
                .into_iter()
                .find(|device| device.name() == word.replace('-', "_")),
        }
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

impl RestartCause {
    /// Whether a machine that a chassis control restarted would not have this cause.
    pub(crate) fn is_by_other(self) -> bool {
        match self {
            // What a vendor means by a number of its own is not known.
            Self::ChassisControl | Self::Unknown | Self::Other(_) => false,
            Self::ResetButton
            | Self::PowerButton
            | Self::Watchdog
            | Self::AlwaysRestore
            | Self::RestorePrevious
            | Self::PlatformEventReset
            | Self::PlatformEventCycle
            | Self::SoftReset
            | Self::RealTimeClock => true,
        }
    }
}

impl fmt::Display for RestartCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::ChassisControl => "chassis control",
            Self::ResetButton => "reset button",
            Self::PowerButton => "power button",
            Self::Watchdog => "watchdog",
            Self::AlwaysRestore => "always restore",
            Self::RestorePrevious => "restore previous",
            Self::PlatformEventReset => "platform event reset",
            Self::PlatformEventCycle => "platform event cycle",
            Self::SoftReset => "soft reset",
            Self::RealTimeClock => "real time clock",
            Self::Other(number) => return write!(f, "other cause {number}"),
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
        /// Two log-ins failed: nothing is tried until the credentials change, an operator says so,
        /// or the hold ends.
        Held = "held",
        /// The breaker is open: it was found dead a moment ago.
        BreakerOpen = "breaker_open",
        /// It answered something that is against the protocol.
        Protocol = "protocol",
        /// It is not sure to be the BMC of this node: another one than before, or that of another
        /// node, too.
        WrongBmc = "wrong_bmc",
        /// Another daemon of this host has the BMC's lock: nothing is sent to it.
        Locked = "locked",
        /// The order was withdrawn.
        Withdrawn = "withdrawn",
    }
}

impl Trouble {
    /// Whether nobody answered where we asked.
    pub fn is_silence(self) -> bool {
        match self {
            Self::Silent | Self::Unreachable => true,
            Self::NoAddress
            | Self::WrongPassword
            | Self::UnknownUser
            | Self::NoPrivilege
            | Self::NoCommonSuite
            | Self::NoProtocol
            | Self::SessionsFull
            | Self::Busy
            | Self::Held
            | Self::BreakerOpen
            | Self::Protocol
            | Self::WrongBmc
            | Self::Locked
            | Self::Withdrawn => false,
        }
    }

    /// Whether the BMC refused the log-in: after two of these no more are tried for a while (rule
    /// 10).
    pub fn is_log_in(self) -> bool {
        match self {
            Self::WrongPassword | Self::UnknownUser | Self::NoPrivilege => true,
            Self::NoAddress
            | Self::Unreachable
            | Self::Silent
            | Self::NoCommonSuite
            | Self::NoProtocol
            | Self::SessionsFull
            | Self::Busy
            | Self::Held
            | Self::BreakerOpen
            | Self::Protocol
            | Self::WrongBmc
            | Self::Locked
            | Self::Withdrawn => false,
        }
    }

    /// It in a few words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoAddress => "name does not resolve",
            Self::Unreachable => "unreachable",
            Self::Silent => "no answer",
            Self::WrongPassword => "wrong password",
            Self::UnknownUser => "unknown user",
            Self::NoPrivilege => "privilege not granted",
            Self::NoCommonSuite => "no common cipher suite",
            Self::NoProtocol => "protocol version not offered",
            Self::SessionsFull => "BMC sessions full",
            Self::Busy => "BMC busy",
            Self::Held => "log-ins held back",
            Self::BreakerOpen => "found dead a moment ago",
            Self::Protocol => "answers against the protocol",
            Self::WrongBmc => "perhaps not this node's BMC",
            Self::Locked => "another daemon has it",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl Word<Trouble> {
    /// The same for a trouble that this program may not know.
    pub fn words(&self) -> String {
        match self {
            Self::Known(trouble) => trouble.words().to_owned(),
            Self::Other(word) => word.replace('_', " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_of_the_boot_flags_has_one_device_and_every_device_its_word() {
        for selector in 1..=15 {
            let device = BootDevice::of_selector(selector).expect("all fifteen");
            assert_eq!(device.selector(), selector);
            assert_eq!(BootDevice::parse(device.name()), Some(device));
            assert_eq!(BootDevice::parse(&selector.to_string()), Some(device));
            let json = serde_json::to_string(&device).expect("a word");
            assert_eq!(json, format!("\"{}\"", device.name()));
        }
        assert_eq!(BootDevice::parse("usb"), Some(BootDevice::Floppy));
        assert_eq!(
            BootDevice::parse("remote-cdrom"),
            Some(BootDevice::RemoteCdrom)
        );
        assert_eq!(
            [BootDevice::parse("0"), BootDevice::parse("16")],
            [None, None]
        );
    }
}
