//! Get SEL Info (§31.2): how full the system event log is.

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::STORAGE, 0x40, "Get SEL Info", Response);

/// The state of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// SEL version, 51h.
    pub version: u8,
    /// Entries in the log.
    pub entries: u16,
    /// Free bytes; FFFFh is that or more.
    pub free: u16,
    /// When an entry was added last, by the BMC's clock (seconds since 1970); FFFF_FFFFh is never.
    pub last_added: u32,
    /// When the log was cleared last, likewise.
    pub last_erased: u32,
    /// Operations supported; bit 7: entries were lost because the log was full.
    pub support: u8,
}

impl Response {
    /// Whether entries were lost because the log was full.
    pub fn overflow(&self) -> bool {
        self.support & 0x80 != 0
    }

    /// Whether Reserve SEL is supported.
    pub fn reservable(&self) -> bool {
        self.support & 0x02 != 0
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.version];
        bytes.extend_from_slice(&self.entries.to_le_bytes());
        bytes.extend_from_slice(&self.free.to_le_bytes());
        bytes.extend_from_slice(&self.last_added.to_le_bytes());
        bytes.extend_from_slice(&self.last_erased.to_le_bytes());
        bytes.push(self.support);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get SEL Info response";
        let mut reader = Reader::new(data);
        Ok(Self {
            version: reader.u8(WHAT)?,
            entries: reader.u16(WHAT)?,
            free: reader.u16(WHAT)?,
            last_added: reader.u32(WHAT)?,
            last_erased: reader.u32(WHAT)?,
            support: reader.u8(WHAT)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_table_31_2_are_read() {
        let bytes = [
            0x51, 0x03, 0x00, 0x00, 0x40, // version, 3 entries, 4000h free
            0x78, 0x56, 0x34, 0x12, // last addition
            0xFF, 0xFF, 0xFF, 0xFF, // never erased
            0x82, // overflow, reservable
        ];
        let response = Response::decode(&bytes).unwrap();
        assert_eq!((response.entries, response.last_added), (3, 0x1234_5678));
        assert!(response.overflow() && response.reservable());
        assert_eq!(response.encode(), bytes);
        assert!(Response::decode(&bytes[..13]).is_err());
    }
}
