//! Set Session Privilege Level (§22.18): a session starts at user level.

use super::command;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, PrivilegeLevel, Reader, Wire};

/// Ask for a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The level, `None` to be told the present one.
    pub level: Option<PrivilegeLevel>,
}

/// The level in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The level; `None` where the BMC says 0 (ipmi_sim with "highest").
    pub level: Option<PrivilegeLevel>,
}

command!(net_fn::APP, 0x3B, "Set Session Privilege Level", Response);

fn decode(data: &[u8], what: &'static str) -> Result<Option<PrivilegeLevel>, DecodeError> {
    match Reader::new(data).u8(what)? & 0x0F {
        0 => Ok(None),
        bits => PrivilegeLevel::decode(bits, what).map(Some),
    }
}

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        vec![self.level.map_or(0, PrivilegeLevel::bits)]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let level = decode(data, "Set Session Privilege Level request")?;
        Ok(Self { level })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        vec![self.level.map_or(0, PrivilegeLevel::bits)]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let level = decode(data, "Set Session Privilege Level response")?;
        Ok(Self { level })
    }
}
