//! Get SEL Entry (§31.5): one record of the system event log.

use super::command;
use crate::ipmi::event::{RECORD_LENGTH, Record};
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// The id that names the first record.
pub const FIRST: u16 = 0x0000;
/// The id that names the last record, and the `next` of the last.
pub const LAST: u16 = 0xFFFF;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The reservation; 0 where whole records are read.
    pub reservation: u16,
    /// The record's id, [`FIRST`] or [`LAST`].
    pub record: u16,
    /// Offset into the record.
    pub offset: u8,
    /// How many bytes; FFh is all.
    pub count: u8,
}

/// A record, or a piece of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The id of the next record, [`LAST`] after the last.
    pub next: u16,
    /// The record's bytes.
    pub data: Vec<u8>,
}

command!(net_fn::STORAGE, 0x43, "Get SEL Entry", Response);

impl Request {
    /// The whole of one record.
    pub fn whole(record: u16) -> Self {
        Self {
            // §31.5: only a part of a record needs a reservation.
            reservation: 0,
            record,
            offset: 0,
            count: 0xFF,
        }
    }
}

impl Response {
    /// The record, where the whole of it was read.
    ///
    /// # Errors
    /// There are fewer than 16 bytes.
    pub fn record(&self) -> Result<Record, DecodeError> {
        let bytes: [u8; RECORD_LENGTH] = Reader::new(&self.data).array("SEL record")?;
        Ok(Record::decode(bytes))
    }
}

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.reservation.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.record.to_le_bytes());
        bytes.extend_from_slice(&[self.offset, self.count]);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get SEL Entry request";
        let mut reader = Reader::new(data);
        Ok(Self {
            reservation: reader.u16(WHAT)?,
            record: reader.u16(WHAT)?,
            offset: reader.u8(WHAT)?,
            count: reader.u8(WHAT)?,
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.next.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.data);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        Ok(Self {
            next: reader.u16("Get SEL Entry response")?,
            data: reader.rest().to_vec(),
        })
    }
}
