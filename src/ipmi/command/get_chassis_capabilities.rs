//! Get Chassis Capabilities (§28.1).

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::CHASSIS, 0x00, "Get Chassis Capabilities", Response);

/// What the chassis has, and who looks after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// A bit for each capability.
    pub flags: u8,
    /// Slave addresses of the devices for FRU information, sensor data, event log and system management.
    pub devices: [u8; 4],
    /// Slave address of the bridge; some BMCs leave it out.
    pub bridge: Option<u8>,
}

impl Response {
    /// What the chassis has, in words.
    pub fn words(&self) -> Vec<&'static str> {
        [
            (0x01, "intrusion sensor"),
            (0x02, "front panel lock"),
            (0x04, "diagnostic interrupt"),
            (0x08, "power interlock"),
        ]
        .into_iter()
        .filter(|(bit, _)| self.flags & bit != 0)
        .map(|(_, words)| words)
        .collect()
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.flags];
        bytes.extend(self.devices);
        bytes.extend(self.bridge);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get Chassis Capabilities response";
        let mut reader = Reader::new(data);
        Ok(Response {
            flags: reader.u8(WHAT)?,
            devices: reader.array(WHAT)?,
            bridge: reader.optional(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_table_28_2_are_said_in_words() {
        let answer = Response::decode(&[0x05, 0x20, 0x20, 0x20, 0x20]).unwrap();
        assert_eq!(answer.words(), ["intrusion sensor", "diagnostic interrupt"]);
        assert_eq!(answer.bridge, None);
    }
}
