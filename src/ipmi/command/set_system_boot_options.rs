//! Set System Boot Options (§28.12) and its parameters (§28.14), which Get System Boot Options
//! reads.

use super::{Empty, command};
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// Set one parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Whether to mark the parameter as invalid (locked).
    pub invalid: bool,
    /// The parameter; without data only the mark is set.
    pub parameter: Parameter,
}

command!(net_fn::CHASSIS, 0x08, "Set System Boot Options", Empty);

/// A boot option parameter with its data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parameter {
    /// 0: whether somebody is setting options (0 done, 1 in progress, 2 commit).
    SetInProgress(u8),
    /// 3: after what the boot flags stay valid.
    FlagValidClearing(FlagValidClearing),
    /// 4: which parties have handled the boot options: mask and data.
    Acknowledge {
        /// Which bits of `data` to write.
        mask: u8,
        data: u8,
    },
    /// 5: what to boot from.
    BootFlags(BootFlags),
    /// Any other, or one with less data than it has.
    Other {
        /// Parameter number, 0 to 127.
        number: u8,
        data: Vec<u8>,
    },
}

/// Parameter 3: each bit keeps the flags valid over an event that would clear them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlagValidClearing(pub u8);

impl FlagValidClearing {
    /// Over a reset by the watchdog.
    pub const WATCHDOG: u8 = 0x04;
    /// Over the 60 seconds within which a Chassis Control has to follow.
    pub const TIMEOUT: u8 = 0x08;
}

/// Parameter 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BootFlags {
    /// Whether the flags mean anything.
    pub valid: bool,
    /// For all boots rather than the next.
    pub persistent: bool,
    /// UEFI rather than legacy BIOS.
    pub uefi: bool,
    /// What to boot from, 0 to 15.
    pub device: Device,
    /// The device byte's other bits: clear CMOS, lock keyboard, screen blank, lock reset button.
    pub locks: u8,
    /// Data bytes 3 to 5.
    pub more: [u8; 3],
}

/// A boot device selector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Device(pub u8);

impl Device {
    pub const NONE: Self = Self(0x0);
    pub const PXE: Self = Self(0x1);
    /// The first hard disk.
    pub const DISK: Self = Self(0x2);
}

// §28.14: the device is in the four bits between these.
const LOCKS: u8 = 0b1100_0011;

impl Parameter {
    /// The parameter's number.
    pub fn number(&self) -> u8 {
        match self {
            Self::SetInProgress(_) => 0,
            Self::FlagValidClearing(_) => 3,
            Self::Acknowledge { .. } => 4,
            Self::BootFlags(_) => 5,
            Self::Other { number, .. } => number & 0x7F,
        }
    }

    pub fn data(&self) -> Vec<u8> {
        match self {
            Self::SetInProgress(state) => vec![state & 3],
            Self::FlagValidClearing(bits) => vec![bits.0 & 0x1F],
            Self::Acknowledge { mask, data } => vec![*mask, *data],
            Self::BootFlags(flags) => flags.encode().to_vec(),
            Self::Other { data, .. } => data.clone(),
        }
    }

    /// The parameter `number` with `data`.
    pub fn from_parts(number: u8, data: &[u8]) -> Self {
        match (number & 0x7F, data) {
            (0, [state, ..]) => Self::SetInProgress(state & 3),
            // §28.14: the three bits above are reserved.
            (3, [bits, ..]) => Self::FlagValidClearing(FlagValidClearing(bits & 0x1F)),
            (4, [mask, data, ..]) => Self::Acknowledge {
                mask: *mask,
                data: *data,
            },
            (5, [first, second, third, fourth, fifth, ..]) => Self::BootFlags(BootFlags::decode([
                *first, *second, *third, *fourth, *fifth,
            ])),
            (number, data) => Self::Other {
                number,
                data: data.to_vec(),
            },
        }
    }
}

impl BootFlags {
    fn encode(self) -> [u8; 5] {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let first = bit(self.valid, 0x80) | bit(self.persistent, 0x40) | bit(self.uefi, 0x20);
        let second = (self.device.0 & 0x0F) << 2 | self.locks & LOCKS;
        let [third, fourth, fifth] = self.more;
        [first, second, third, fourth, fifth]
    }

    fn decode([first, second, third, fourth, fifth]: [u8; 5]) -> Self {
        Self {
            valid: first & 0x80 != 0,
            persistent: first & 0x40 != 0,
            uefi: first & 0x20 != 0,
            device: Device(second >> 2 & 0x0F),
            locks: second & LOCKS,
            more: [third, fourth, fifth],
        }
    }
}

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let invalid = if self.invalid { 0x80 } else { 0 };
        let mut bytes = vec![self.parameter.number() | invalid];
        bytes.extend(self.parameter.data());
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let number = reader.u8("Set System Boot Options request")?;
        Ok(Self {
            invalid: number & 0x80 != 0,
            parameter: Parameter::from_parts(number, reader.rest()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_boot_once_with_uefi_is_ironic_s_raw_command() {
        // Ironic's ipmitool driver sends `raw 0x00 0x08 0x05 0xa0 0x04 0x00 0x00 0x00` for PXE,
        // UEFI, once.
        let request = Request {
            invalid: false,
            parameter: Parameter::BootFlags(BootFlags {
                valid: true,
                uefi: true,
                device: Device::PXE,
                ..BootFlags::default()
            }),
        };
        assert_eq!(request.encode(), [0x05, 0xA0, 0x04, 0x00, 0x00, 0x00]);
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }

    #[test]
    fn keeping_the_flags_over_the_timeout_is_ironic_s_raw_command() {
        // `raw 0x00 0x08 0x03 0x08`: do not clear the valid bit on Chassis Control timeout.
        let request = Request {
            invalid: false,
            parameter: Parameter::FlagValidClearing(FlagValidClearing(FlagValidClearing::TIMEOUT)),
        };
        assert_eq!(request.encode(), [0x03, 0x08]);
    }
}
