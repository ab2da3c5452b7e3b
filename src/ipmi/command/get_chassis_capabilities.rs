//! Get Chassis Capabilities (§28.1).

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};
use crate::model::ChassisPart;

plain_request!(net_fn::CHASSIS, 0x00, "Get Chassis Capabilities", Response);

/// What the chassis has, and who looks after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// A bit for each capability.
    pub flags: u8,
    /// Slave addresses of the devices for FRU information, sensor data, event log and system
    /// management.
    pub devices: [u8; 4],
    /// Slave address of the bridge; some BMCs leave it out.
    pub bridge: Option<u8>,
}

impl Response {
    /// What the chassis has.
    pub fn parts(&self) -> Vec<ChassisPart> {
        let has = |part: &ChassisPart| self.flags & bit(*part) != 0;
        ChassisPart::ALL.into_iter().filter(has).collect()
    }
}

fn bit(part: ChassisPart) -> u8 {
    match part {
        ChassisPart::IntrusionSensor => 0x01,
        ChassisPart::FrontPanelLock => 0x02,
        ChassisPart::DiagnosticInterrupt => 0x04,
        ChassisPart::PowerInterlock => 0x08,
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
        Ok(Self {
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
    fn each_bit_of_table_28_2_stands_for_a_part() {
        let answer = Response::decode(&[0x05, 0x20, 0x20, 0x20, 0x20]).unwrap();
        assert_eq!(
            answer.parts(),
            [
                ChassisPart::IntrusionSensor,
                ChassisPart::DiagnosticInterrupt
            ]
        );
        assert_eq!(answer.bridge, None);
    }
}
