//! Reserve SEL (§31.4): needed to clear the system event log.

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::STORAGE, 0x42, "Reserve SEL", Response);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// Its id, for what follows.
    pub reservation: u16,
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        self.reservation.to_le_bytes().to_vec()
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let reservation = Reader::new(data).u16("Reserve SEL response")?;
        Ok(Self { reservation })
    }
}
