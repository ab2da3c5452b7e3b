//! Get System Restart Cause (§28.11).

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::CHASSIS, 0x07, "Get System Restart Cause", Response);

/// Why the system restarted last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    pub cause: Cause,
    /// The channel that the command came in on, where it was one.
    pub channel: u8,
}

/// Why a system restarted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// Not known (0h).
    Unknown,
    /// Chassis Control (1h).
    ChassisControl,
    /// The reset button (2h).
    ResetButton,
    /// The power button (3h).
    PowerButton,
    /// The watchdog expired (4h).
    Watchdog,
    /// Power came back and the policy is "always on" (6h).
    AlwaysRestore,
    /// Power came back and the policy restores the former state (7h).
    RestorePrevious,
    /// Reset by a platform event filter (8h).
    PlatformEventReset,
    /// Power cycle by a platform event filter (9h).
    PlatformEventCycle,
    /// Soft reset, such as Ctrl-Alt-Del (Ah).
    SoftReset,
    /// The real-time clock (Bh).
    RealTimeClock,
    /// OEM (5h) or reserved.
    Other(u8),
}

impl Cause {
    fn from_bits(bits: u8) -> Self {
        match bits {
            0x0 => Self::Unknown,
            0x1 => Self::ChassisControl,
            0x2 => Self::ResetButton,
            0x3 => Self::PowerButton,
            0x4 => Self::Watchdog,
            0x6 => Self::AlwaysRestore,
            0x7 => Self::RestorePrevious,
            0x8 => Self::PlatformEventReset,
            0x9 => Self::PlatformEventCycle,
            0xA => Self::SoftReset,
            0xB => Self::RealTimeClock,
            other => Self::Other(other),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Unknown => 0x0,
            Self::ChassisControl => 0x1,
            Self::ResetButton => 0x2,
            Self::PowerButton => 0x3,
            Self::Watchdog => 0x4,
            Self::AlwaysRestore => 0x6,
            Self::RestorePrevious => 0x7,
            Self::PlatformEventReset => 0x8,
            Self::PlatformEventCycle => 0x9,
            Self::SoftReset => 0xA,
            Self::RealTimeClock => 0xB,
            Self::Other(other) => other & 0x0F,
        }
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        vec![self.cause.bits(), self.channel]
    }

    /// The channel may be missing: it is then 0.
    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let cause = reader.u8("Get System Restart Cause response")?;
        Ok(Self {
            cause: Cause::from_bits(cause & 0x0F),
            channel: reader.optional().unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_the_number_of_table_28_11() {
        for bits in 0..=0x0F {
            assert_eq!(Cause::from_bits(bits).bits(), bits);
        }
        let response = Response::decode(&[0x01, 0x01]).unwrap();
        assert_eq!(response.cause, Cause::ChassisControl);
    }
}
