//! Get Device GUID (§20.8).

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::APP, 0x08, "Get Device GUID", Response);

/// The device's GUID, least significant byte first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The bytes as they came.
    pub guid: [u8; 16],
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        self.guid.to_vec()
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        // The order of the bytes differs from BMC to BMC, so that they stay as they came (`guid`).
        let guid = Reader::new(data).array("Get Device GUID response")?;
        Ok(Self { guid })
    }
}
