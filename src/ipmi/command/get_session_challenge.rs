//! Get Session Challenge (§22.16), IPMI v1.5: the first step of a log-in.

use super::command;
use crate::ipmi::message::net_fn;
use crate::ipmi::session15::AuthType;
use crate::ipmi::{DecodeError, Reader, Wire};

/// Who wants in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// How the session will be authenticated.
    pub auth_type: AuthType,
    /// The user's name, filled up with zeros.
    pub name: [u8; 16],
}

/// The BMC's challenge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The session id for Activate Session only.
    pub temporary_id: u32,
    /// What Activate Session must give back.
    pub challenge: [u8; 16],
}

command!(net_fn::APP, 0x39, "Get Session Challenge", Response);

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.auth_type as u8];
        bytes.extend_from_slice(&self.name);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get Session Challenge request";
        let mut reader = Reader::new(data);
        let value = reader.u8(WHAT)?;
        Ok(Self {
            auth_type: AuthType::from_bits(value & 0x0F)
                .ok_or(DecodeError::Value { what: WHAT, value })?,
            // §22.16: the field has 16 bytes, whatever the name's length.
            name: reader.array(WHAT)?,
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.temporary_id.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.challenge);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get Session Challenge response";
        let mut reader = Reader::new(data);
        Ok(Self {
            temporary_id: reader.u32(WHAT)?,
            challenge: reader.array(WHAT)?,
        })
    }
}
