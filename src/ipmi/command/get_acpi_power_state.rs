//! Get ACPI Power State (§20.7).

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::APP, 0x07, "Get ACPI Power State", Response);

/// The ACPI states of system and device, 7 bits each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// System power state.
    pub system: u8,
    /// Device power state.
    pub device: u8,
}

impl Response {
    /// Whether the system state means that power is on; `None` where it says neither.
    pub fn is_on(&self) -> Option<bool> {
        match self.system {
            0x00..=0x03 | 0x08 | 0x09 | 0x20 => Some(true),
            0x04..=0x07 | 0x0A | 0x21 => Some(false),
            _ => None,
        }
    }

    /// The system state in words.
    pub fn words(&self) -> &'static str {
        match self.system {
            0x00 => "S0, working",
            0x01 => "S1, asleep with its state kept",
            0x02 => "S2, asleep with the processor's state lost",
            0x03 => "S3, suspended to memory",
            0x04 => "S4, suspended to disk",
            0x05 => "S5, soft off",
            0x06 => "S4 or S5",
            0x07 => "G3, mechanically off",
            0x08 => "asleep, one of S1 to S3",
            0x09 => "asleep, one of S1 to S4",
            0x0A => "S5 by the power button held down",
            0x20 => "on, without ACPI",
            0x21 => "off, without ACPI",
            _ => "unknown",
        }
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        vec![self.system & 0x7F, self.device & 0x7F]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let [system, device] = Reader::new(data).array("Get ACPI Power State response")?;
        Ok(Self {
            // §20.6: bit 7 has a meaning only where the state is set.
            system: system & 0x7F,
            device: device & 0x7F,
        })
    }
}
