//! Get Session Info (§22.20): how full of sessions a BMC is.

use super::command;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// The one that the request comes in on.
    Current,
    /// The nth active one, 1 to 253.
    Nth(u8),
    /// The one with this handle.
    Handle(u8),
    /// The one with this id.
    Id(u32),
}

/// A session, and how many there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The session's handle, 0 where there is no such session.
    pub handle: u8,
    /// How many sessions there can be.
    pub possible: u8,
    /// How many there are.
    pub active: u8,
    /// The user's number, where the session is active.
    pub user: Option<u8>,
}

command!(net_fn::APP, 0x3D, "Get Session Info", Response);

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Current => vec![0x00],
            // 0, FEh and FFh have meanings of their own.
            Self::Nth(index) => vec![index.clamp(0x01, 0xFD)],
            Self::Handle(handle) => vec![0xFE, handle],
            Self::Id(id) => {
                let [a, b, c, d] = id.to_le_bytes();
                vec![0xFF, a, b, c, d]
            }
        }
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get Session Info request";
        let mut reader = Reader::new(data);
        Ok(match reader.u8(WHAT)? {
            0x00 => Self::Current,
            0xFE => Self::Handle(reader.u8(WHAT)?),
            0xFF => Self::Id(reader.u32(WHAT)?),
            index => Self::Nth(index),
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.handle, self.possible & 0x3F, self.active & 0x3F];
        bytes.extend(self.user.map(|user| user & 0x3F));
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let [handle, possible, active] = reader.array("Get Session Info response")?;
        Ok(Self {
            handle,
            // §22.20: the upper two bits are reserved.
            possible: possible & 0x3F,
            active: active & 0x3F,
            user: reader.optional().map(|user| user & 0x3F),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_and_active_are_six_bits_each() {
        let response = Response::decode(&[0x05, 0x04, 0x43, 0x02, 0x04]).unwrap();
        assert_eq!((response.possible, response.active), (4, 3));
        assert_eq!(response.user, Some(2));
        assert!(Response::decode(&[0, 4]).is_err());
    }
}
