//! Set Power Restore Policy (§28.8).

use super::command;
use super::get_chassis_status::RestorePolicy;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// What the machine shall do when mains power comes back; [`RestorePolicy::Unknown`] changes
/// nothing and asks what can be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request(pub RestorePolicy);

/// What can be chosen, a bit for each policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response(pub u8);

command!(net_fn::CHASSIS, 0x06, "Set Power Restore Policy", Response);

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        vec![match self.0 {
            RestorePolicy::StayOff => 0,
            RestorePolicy::Previous => 1,
            RestorePolicy::AlwaysOn => 2,
            RestorePolicy::Unknown => 3,
        }]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Set Power Restore Policy request";
        match Reader::new(data).u8(WHAT)? & 7 {
            0 => Ok(Self(RestorePolicy::StayOff)),
            1 => Ok(Self(RestorePolicy::Previous)),
            2 => Ok(Self(RestorePolicy::AlwaysOn)),
            3 => Ok(Self(RestorePolicy::Unknown)),
            value => Err(DecodeError::Value { what: WHAT, value }),
        }
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        vec![self.0]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let supported = Reader::new(data).u8("Set Power Restore Policy response")?;
        // §28.8: the five bits above are reserved.
        Ok(Self(supported & 7))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_table_28_9() {
        assert_eq!(Request(RestorePolicy::AlwaysOn).encode(), [2]);
        assert_eq!(Request::decode(&[0]), Ok(Request(RestorePolicy::StayOff)));
    }
}
