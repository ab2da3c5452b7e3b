//! Get System Restart Cause (§28.11).

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};
use crate::model::RestartCause;

plain_request!(net_fn::CHASSIS, 0x07, "Get System Restart Cause", Response);

/// Why the system restarted last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    pub cause: RestartCause,
    /// The channel that the command came in on, where it was one.
    pub channel: u8,
}

/// The cause of a number of table 28-11.
pub fn from_bits(bits: u8) -> RestartCause {
    match bits {
        0x0 => RestartCause::Unknown,
        0x1 => RestartCause::ChassisControl,
        0x2 => RestartCause::ResetButton,
        0x3 => RestartCause::PowerButton,
        0x4 => RestartCause::Watchdog,
        0x6 => RestartCause::AlwaysRestore,
        0x7 => RestartCause::RestorePrevious,
        0x8 => RestartCause::PlatformEventReset,
        0x9 => RestartCause::PlatformEventCycle,
        0xA => RestartCause::SoftReset,
        0xB => RestartCause::RealTimeClock,
        // 5h is a maker's own, the rest reserved.
        other => RestartCause::Other(other),
    }
}

fn bits(cause: RestartCause) -> u8 {
    match cause {
        RestartCause::Unknown => 0x0,
        RestartCause::ChassisControl => 0x1,
        RestartCause::ResetButton => 0x2,
        RestartCause::PowerButton => 0x3,
        RestartCause::Watchdog => 0x4,
        RestartCause::AlwaysRestore => 0x6,
        RestartCause::RestorePrevious => 0x7,
        RestartCause::PlatformEventReset => 0x8,
        RestartCause::PlatformEventCycle => 0x9,
        RestartCause::SoftReset => 0xA,
        RestartCause::RealTimeClock => 0xB,
        RestartCause::Other(other) => other & 0x0F,
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        vec![bits(self.cause), self.channel]
    }

    /// The channel may be missing: it is then 0.
    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let cause = reader.u8("Get System Restart Cause response")?;
        Ok(Self {
            cause: from_bits(cause & 0x0F),
            channel: reader.optional().unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_the_number_of_table_28_11() {
        for number in 0..=0x0F {
            assert_eq!(bits(from_bits(number)), number);
        }
        let response = Response::decode(&[0x01, 0x01]).unwrap();
        assert_eq!(response.cause, RestartCause::ChassisControl);
    }
}
