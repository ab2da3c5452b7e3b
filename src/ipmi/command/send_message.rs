//! Send Message (§22.7): a message for a controller behind the BMC.

use super::command;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// A message to pass on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The channel behind the BMC, 0 to 15; 0 is the primary IPMB.
    pub channel: u8,
    /// Whether the BMC shall send the answer back to us by itself.
    pub tracking: Tracking,
    /// The message: a whole encoded request, with its own addresses and checksums.
    pub message: Vec<u8>,
}

/// What the BMC does about the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tracking {
    None,
    /// Sends it back to the session that asked.
    Tracked,
    /// Sends the message raw.
    Raw,
}

/// The BMC passed it on. Some BMCs put the answer of the controller in here instead of sending it
/// by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// An embedded answer, or nothing.
    pub message: Vec<u8>,
}

command!(net_fn::APP, 0x34, "Send Message", Response);

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let tracking = match self.tracking {
            Tracking::None => 0x00,
            Tracking::Tracked => 0x40,
            Tracking::Raw => 0x80,
        };
        let mut bytes = vec![self.channel & 0x0F | tracking];
        bytes.extend_from_slice(&self.message);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Send Message request";
        let mut reader = Reader::new(data);
        let value = reader.u8(WHAT)?;
        let tracking = match value >> 6 {
            0 => Tracking::None,
            1 => Tracking::Tracked,
            2 => Tracking::Raw,
            // §22.7: 11b is reserved.
            _ => return Err(DecodeError::Value { what: WHAT, value }),
        };
        Ok(Self {
            channel: value & 0x0F,
            tracking,
            message: reader.rest().to_vec(),
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        self.message.clone()
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            // An answer inside is decoded by whoever knows what was asked (`session`).
            message: data.to_vec(),
        })
    }
}
