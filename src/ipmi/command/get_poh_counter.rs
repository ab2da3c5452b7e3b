//! Get POH Counter (§28.14): how long the chassis has had power, over its whole life.

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::CHASSIS, 0x0F, "Get POH Counter", Response);

/// The counter of power-on hours, in its own unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    pub minutes_per_count: u8,
    pub counts: u32,
}

impl Response {
    /// Whole hours with power; none where a count stands for no time.
    pub fn hours(&self) -> Option<u64> {
        let minutes = u64::from(self.minutes_per_count) * u64::from(self.counts);
        (self.minutes_per_count != 0).then_some(minutes / 60)
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.minutes_per_count];
        bytes.extend(self.counts.to_le_bytes());
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get POH Counter response";
        let mut reader = Reader::new(data);
        Ok(Self {
            minutes_per_count: reader.u8(WHAT)?,
            counts: reader.u32(WHAT)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_any_unit_are_whole_hours() {
        let hours = |data: [u8; 5]| Response::decode(&data).unwrap().hours();
        // 60 minutes each, 17,520 of them: two years.
        assert_eq!(hours([0x3C, 0x70, 0x44, 0x00, 0x00]), Some(17_520));
        // 20 minutes each, 8 of them.
        assert_eq!(hours([0x14, 0x08, 0x00, 0x00, 0x00]), Some(2));
        assert_eq!(hours([0xFF; 5]), Some(0xFF * 0xFFFF_FFFF / 60));
        assert_eq!(hours([0x00, 0x08, 0x00, 0x00, 0x00]), None);
    }
}
