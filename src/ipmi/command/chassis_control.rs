//! Chassis Control (§28.3): the power button.

use super::{Empty, command};
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// What to do with the machine's power.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Request {
    /// Off at once.
    PowerDown = 0,
    PowerUp = 1,
    /// Off, a pause of at least a second, on.
    PowerCycle = 2,
    HardReset = 3,
    /// Pulse the diagnostic interrupt (NMI).
    DiagnosticInterrupt = 4,
    /// Ask the operating system over ACPI to shut down.
    SoftShutdown = 5,
}

command!(net_fn::CHASSIS, 0x02, "Chassis Control", Empty);

impl Request {
    pub const ALL: [Self; 6] = [
        Self::PowerDown,
        Self::PowerUp,
        Self::PowerCycle,
        Self::HardReset,
        Self::DiagnosticInterrupt,
        Self::SoftShutdown,
    ];
}

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        vec![*self as u8]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Chassis Control request";
        let value = Reader::new(data).u8(WHAT)?;
        Self::ALL
            .into_iter()
            // §28.3: the upper half is reserved.
            .find(|control| *control as u8 == value & 0x0F)
            .ok_or(DecodeError::Value { what: WHAT, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_table_28_4() {
        let numbers = Request::ALL.map(|control| control.encode()[0]);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
        assert_eq!(Request::decode(&[3]), Ok(Request::HardReset));
        assert!(Request::decode(&[6]).is_err());
        assert!(Request::decode(&[]).is_err());
    }
}
