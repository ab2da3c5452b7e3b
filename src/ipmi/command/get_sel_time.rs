//! Get SEL Time (§31.10): what the clock of the event log shows.

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::STORAGE, 0x48, "Get SEL Time", Response);

/// What the clock shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// Seconds since 1970 (§37); up to 2000_0000h since the BMC started, where nobody has set the
    /// clock.
    pub seconds: u32,
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        self.seconds.to_le_bytes().to_vec()
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            seconds: Reader::new(data).u32("Get SEL Time response")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seconds_come_with_the_least_significant_byte_first() {
        // Table 31-10: 6A15F340h is 2026-05-26 19:23:12 UTC.
        let bytes = [0x40, 0xF3, 0x15, 0x6A];
        let response = Response::decode(&bytes).expect("a time");
        assert_eq!(response.seconds, 0x6A15_F340);
        assert_eq!(response.encode(), bytes);
        assert!(Response::decode(&bytes[..3]).is_err());
    }
}
