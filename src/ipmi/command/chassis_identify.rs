//! Chassis Identify (§28.5): the light that shows which machine.

use super::{Empty, command};
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// How long the light shall blink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// As long as the BMC likes (15 s).
    Default,
    /// So many seconds; 0 ends it.
    Seconds(u8),
    /// Until told otherwise.
    Forever,
}

command!(net_fn::CHASSIS, 0x04, "Chassis Identify", Empty);

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Default => vec![],
            Self::Seconds(seconds) => vec![seconds],
            // §28.5: where the second byte forces the light on, nobody looks at the time.
            Self::Forever => vec![0, 1],
        }
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        Ok(match (reader.optional(), reader.optional()) {
            (None, _) => Self::Default,
            (Some(_), Some(force)) if force & 1 != 0 => Self::Forever,
            (Some(seconds), _) => Self::Seconds(seconds),
        })
    }
}
