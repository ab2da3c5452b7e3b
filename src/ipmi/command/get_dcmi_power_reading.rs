//! Get Power Reading (DCMI v1.5 §6.6.1): what the machine draws.

use super::command;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// The group extension id of DCMI, the first byte of request and response.
pub const DCMI_GROUP: u8 = 0xDC;
const SYSTEM_POWER: u8 = 0x01;

/// Ask for system power statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Request;

/// What the machine draws.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// Watts now.
    pub current: u16,
    /// Fewest watts over the period.
    pub minimum: u16,
    /// Most watts over the period.
    pub maximum: u16,
    /// Average watts over the period.
    pub average: u16,
    /// When it was read, by the BMC's clock (seconds since 1970).
    pub timestamp: u32,
    /// The period in milliseconds.
    pub period: u32,
    /// Whether power measurement is active.
    pub active: bool,
}

command!(net_fn::GROUP, 0x02, "Get Power Reading", Response);

fn group(reader: &mut Reader<'_>, what: &'static str) -> Result<(), DecodeError> {
    match reader.u8(what)? {
        DCMI_GROUP => Ok(()),
        value => Err(DecodeError::Value { what, value }),
    }
}

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        // The third byte is for enhanced statistics, the fourth is reserved.
        vec![DCMI_GROUP, SYSTEM_POWER, 0, 0]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get Power Reading request";
        let mut reader = Reader::new(data);
        group(&mut reader, WHAT)?;
        match reader.u8(WHAT)? {
            SYSTEM_POWER => Ok(Self),
            value => Err(DecodeError::Value { what: WHAT, value }),
        }
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![DCMI_GROUP];
        for watts in [self.current, self.minimum, self.maximum, self.average] {
            bytes.extend_from_slice(&watts.to_le_bytes());
        }
        bytes.extend_from_slice(&self.timestamp.to_le_bytes());
        bytes.extend_from_slice(&self.period.to_le_bytes());
        bytes.push(if self.active { 0x40 } else { 0 });
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get Power Reading response";
        let mut reader = Reader::new(data);
        group(&mut reader, WHAT)?;
        Ok(Self {
            current: reader.u16(WHAT)?,
            minimum: reader.u16(WHAT)?,
            maximum: reader.u16(WHAT)?,
            average: reader.u16(WHAT)?,
            timestamp: reader.u32(WHAT)?,
            period: reader.u32(WHAT)?,
            // A BMC whose measurement is off answers with figures of 0 W that mean nothing.
            active: reader.u8(WHAT)? & 0x40 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_dcmi_table_6_16_are_read() {
        let bytes = [
            0xDC, 0xF4, 0x01, 0x64, 0x00, 0x58, 0x02, 0xC8, 0x00, // 500, 100, 600, 200 W
            0x78, 0x56, 0x34, 0x12, // timestamp
            0xE8, 0x03, 0x00, 0x00, // 1 s
            0x40, // active
        ];
        let response = Response::decode(&bytes).unwrap();
        assert_eq!((response.current, response.maximum), (500, 600));
        assert!(response.active);
        assert_eq!(response.encode(), bytes);
        assert!(Response::decode(&[0xDD; 18]).is_err());
    }
}
