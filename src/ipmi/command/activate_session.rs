//! Activate Session (§22.17), IPMI v1.5: the second step of a log-in.

use super::command;
use crate::ipmi::message::net_fn;
use crate::ipmi::session15::AuthType;
use crate::ipmi::{DecodeError, PrivilegeLevel, Reader, Wire};

/// Open the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// As in Get Session Challenge.
    pub auth_type: AuthType,
    /// The highest privilege that the session may ask for.
    pub privilege: PrivilegeLevel,
    /// The challenge, given back.
    pub challenge: [u8; 16],
    /// The sequence number that the BMC's packets start with, not 0.
    pub outbound_sequence: u32,
}

/// The session is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The authentication type for the rest of the session; `None` where its number is not known.
    pub auth_type: Option<AuthType>,
    /// The session's id.
    pub session_id: u32,
    /// The sequence number that our packets start with.
    pub inbound_sequence: u32,
    /// The highest privilege allowed; `None` where the BMC says 0.
    pub privilege: Option<PrivilegeLevel>,
}

command!(net_fn::APP, 0x3A, "Activate Session", Response);

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.auth_type as u8, self.privilege.bits()];
        bytes.extend_from_slice(&self.challenge);
        bytes.extend_from_slice(&self.outbound_sequence.to_le_bytes());
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Activate Session request";
        let mut reader = Reader::new(data);
        let value = reader.u8(WHAT)?;
        let auth_type =
            AuthType::from_bits(value & 0x0F).ok_or(DecodeError::Value { what: WHAT, value })?;
        let privilege = PrivilegeLevel::decode(reader.u8(WHAT)?, WHAT)?;
        Ok(Self {
            auth_type,
            privilege,
            challenge: reader.array(WHAT)?,
            outbound_sequence: reader.u32(WHAT)?,
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.auth_type.map_or(0x0F, |auth_type| auth_type as u8)];
        bytes.extend_from_slice(&self.session_id.to_le_bytes());
        bytes.extend_from_slice(&self.inbound_sequence.to_le_bytes());
        bytes.push(self.privilege.map_or(0, PrivilegeLevel::bits));
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Activate Session response";
        let mut reader = Reader::new(data);
        Ok(Self {
            // A type that nobody knows is no error here: the log-in decides what it means.
            auth_type: AuthType::from_bits(reader.u8(WHAT)? & 0x0F),
            session_id: reader.u32(WHAT)?,
            inbound_sequence: reader.u32(WHAT)?,
            privilege: PrivilegeLevel::from_bits(reader.u8(WHAT)?),
        })
    }
}
