//! What is known of a BMC and its machine, and what stands in the way.

use super::words::{Word, words};
use serde::{Deserialize, Serialize};
use std::fmt;

words! {
    /// What a machine boots from: Ironic's words, those of ipmitool, and a word for each selector
    /// that has neither (IPMI v2.0 §28.14, parameter 5).
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
            BootDevice::Pxe => 0x1,
            BootDevice::Disk => 0x2,
            BootDevice::Safe => 0x3,
            BootDevice::Diag => 0x4,
            BootDevice::Cdrom => 0x5,
            BootDevice::Bios => 0x6,
            BootDevice::RemoteFloppy => 0x7,
            BootDevice::RemoteCdrom => 0x8,
            BootDevice::RemoteMedia => 0x9,
            BootDevice::Selector10 => 0xA,
            BootDevice::RemoteDisk => 0xB,
            BootDevice::Selector12 => 0xC,
            BootDevice::Selector13 => 0xD,
            BootDevice::Selector14 => 0xE,
            BootDevice::Floppy => 0xF,
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
            ("usb", _) => Some(BootDevice::Floppy),
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
            Trouble::Silent | Trouble::Unreachable => true,
            Trouble::NoAddress
            | Trouble::WrongPassword
            | Trouble::UnknownUser
            | Trouble::NoPrivilege
            | Trouble::NoCommonSuite
            | Trouble::NoProtocol
            | Trouble::SessionsFull
            | Trouble::Busy
            | Trouble::Held
            | Trouble::BreakerOpen
            | Trouble::Protocol
            | Trouble::WrongBmc
            | Trouble::Locked
            | Trouble::Withdrawn => false,
        }
    }

    /// Whether the BMC refused the log-in: after two of these no more are tried for a while (rule
    /// 10).
    pub fn is_log_in(self) -> bool {
        match self {
            Trouble::WrongPassword | Trouble::UnknownUser | Trouble::NoPrivilege => true,
            Trouble::NoAddress
            | Trouble::Unreachable
            | Trouble::Silent
            | Trouble::NoCommonSuite
            | Trouble::NoProtocol
            | Trouble::SessionsFull
            | Trouble::Busy
            | Trouble::Held
            | Trouble::BreakerOpen
            | Trouble::Protocol
            | Trouble::WrongBmc
            | Trouble::Locked
            | Trouble::Withdrawn => false,
        }
    }

    /// It in a few words for people.
    pub fn words(self) -> &'static str {
        match self {
            Trouble::NoAddress => "name does not resolve",
            Trouble::Unreachable => "unreachable",
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
            Trouble::WrongBmc => "perhaps not this node's BMC",
            Trouble::Locked => "another daemon has it",
            Trouble::Withdrawn => "withdrawn",
        }
    }
}

impl Word<Trouble> {
    /// The same for a trouble that this program may not know.
    pub fn words(&self) -> String {
        match self {
            Word::Known(trouble) => trouble.words().to_owned(),
            Word::Other(word) => word.replace('_', " "),
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
