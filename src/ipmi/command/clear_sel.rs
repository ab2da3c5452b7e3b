//! Clear SEL (§31.9).

use super::command;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// Clear the log, or ask how far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    pub reservation: u16,
    /// What to do.
    pub action: Action,
}

/// What to do with the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Initiate,
    /// Say how far the clearing is.
    Status,
}

/// How far the clearing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// Whether it is done.
    pub completed: bool,
}

command!(net_fn::STORAGE, 0x47, "Clear SEL", Response);

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.reservation.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"CLR");
        bytes.push(match self.action {
            Action::Initiate => 0xAA,
            Action::Status => 0x00,
        });
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Clear SEL request";
        let mut reader = Reader::new(data);
        let reservation = reader.u16(WHAT)?;
        for expected in *b"CLR" {
            let value = reader.u8(WHAT)?;
            if value != expected {
                return Err(DecodeError::Value { what: WHAT, value });
            }
        }
        let action = match reader.u8(WHAT)? {
            0xAA => Action::Initiate,
            0x00 => Action::Status,
            value => return Err(DecodeError::Value { what: WHAT, value }),
        };
        Ok(Self {
            reservation,
            action,
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        vec![u8::from(self.completed)]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let progress = Reader::new(data).u8("Clear SEL response")?;
        Ok(Self {
            // §31.9: the upper half is reserved.
            completed: progress & 0x0F == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letters_are_needed() {
        let bytes = [0x34, 0x12, 0x43, 0x4C, 0x52, 0xAA];
        let request = Request::decode(&bytes).unwrap();
        assert_eq!(
            (request.reservation, request.action),
            (0x1234, Action::Initiate)
        );
        assert_eq!(request.encode(), bytes);
        assert!(Request::decode(&[0x34, 0x12, 0x43, 0x4C, 0x53, 0xAA]).is_err());
    }
}
