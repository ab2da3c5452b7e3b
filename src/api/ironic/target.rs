//! The nine words of `PUT /v1/nodes/{ident}/states/power`: Ironic's, and the three aborts that it
//! never got.

use crate::model::Operation;
use crate::model::words::words;
use crate::rack::call::PowerChange;

words! {
    /// A power target (docs/design.md, section 3).
    pub enum PowerTarget ("power target") {
        /// Switch on.
        PowerOn = "power on",
        /// Switch off hard.
        PowerOff = "power off",
        /// Off hard, then on.
        Rebooting = "rebooting",
        /// Shut the operating system down, then on.
        SoftRebooting = "soft rebooting",
        /// Shut the operating system down.
        SoftPowerOff = "soft power off",
        InjectNmi = "inject nmi",
        /// Take a soft reboot back.
        AbortSoftRebooting = "abort soft rebooting",
        /// Take a soft power off back.
        AbortSoftPowerOff = "abort soft power off",
        /// Stop following an NMI.
        AbortInjectNmi = "abort inject nmi",
    }
}

impl PowerTarget {
    /// What it asks the rack for.
    pub fn change(self) -> PowerChange {
        match self {
            Self::AbortSoftRebooting | Self::AbortSoftPowerOff | Self::AbortInjectNmi => {
                PowerChange::Abort(self.operation())
            }
            Self::PowerOn
            | Self::PowerOff
            | Self::Rebooting
            | Self::SoftRebooting
            | Self::SoftPowerOff
            | Self::InjectNmi => PowerChange::Start(self.operation()),
        }
    }

    /// The operation that it starts or ends.
    pub fn operation(self) -> Operation {
        match self {
            Self::PowerOn => Operation::PowerOn,
            Self::PowerOff => Operation::PowerOff,
            Self::Rebooting => Operation::Reboot,
            Self::SoftRebooting | Self::AbortSoftRebooting => Operation::SoftReboot,
            Self::SoftPowerOff | Self::AbortSoftPowerOff => Operation::SoftPowerOff,
            Self::InjectNmi | Self::AbortInjectNmi => Operation::InjectNmi,
        }
    }
}
