//! Get Self Test Results (§20.4).

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::APP, 0x04, "Get Self Test Results", Response);

/// What the BMC's test of itself came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    pub result: u8,
    /// What it is about.
    pub detail: u8,
}

impl Response {
    /// The result in words.
    pub fn words(&self) -> String {
        match (self.result, self.detail) {
            (0x55, _) => "passed".to_owned(),
            (0x56, _) => "not implemented".to_owned(),
            (0x57, detail) => {
                let bad: Vec<&str> = [
                    (0x80, "event log not accessible"),
                    (0x40, "sensor data not accessible"),
                    (0x20, "FRU information not accessible"),
                    (0x10, "IPMB does not answer"),
                    (0x08, "sensor data empty"),
                    (0x04, "FRU information damaged"),
                    (0x02, "boot block damaged"),
                    (0x01, "firmware damaged"),
                ]
                .into_iter()
                .filter(|(bit, _)| detail & bit != 0)
                .map(|(_, words)| words)
                .collect();
                match bad.is_empty() {
                    true => "failed".to_owned(),
                    false => format!("failed: {}", bad.join(", ")),
                }
            }
            (0x58, detail) => format!("fatal hardware error ({detail:02X}h)"),
            (result, detail) => format!("result of its maker's own ({result:02X}h {detail:02X}h)"),
        }
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        vec![self.result, self.detail]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let [result, detail] = Reader::new(data).array("Get Self Test Results response")?;
        Ok(Self { result, detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_table_20_4_are_said_in_words() {
        let words = |data: [u8; 2]| Response::decode(&data).unwrap().words();
        assert_eq!(words([0x55, 0x00]), "passed");
        assert_eq!(
            words([0x57, 0x81]),
            "failed: event log not accessible, firmware damaged"
        );
        assert_eq!(words([0x58, 0x0A]), "fatal hardware error (0Ah)");
    }
}
