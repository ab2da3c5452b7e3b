//! Get Chassis Status (§28.2): is the machine on?

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::CHASSIS, 0x01, "Get Chassis Status", Response);

/// What the chassis says of itself. The bytes are kept as they came; the methods read them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// Current power state.
    pub power: u8,
    /// Last power event.
    pub last_event: u8,
    /// Miscellaneous state.
    pub misc: u8,
    /// Front panel buttons; some BMCs leave it out.
    pub front_panel: Option<u8>,
}

/// What the machine does when mains power comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestorePolicy {
    /// Stays off.
    StayOff,
    /// Goes to the state that it had.
    Previous,
    /// Powers up.
    AlwaysOn,
    /// Not known.
    Unknown,
}

impl Response {
    /// Whether system power is on.
    pub fn is_on(&self) -> bool {
        self.power & 0x01 != 0
    }

    /// What happens when mains power comes back.
    pub fn restore_policy(&self) -> RestorePolicy {
        match self.power >> 5 & 3 {
            0 => RestorePolicy::StayOff,
            1 => RestorePolicy::Previous,
            2 => RestorePolicy::AlwaysOn,
            _ => RestorePolicy::Unknown,
        }
    }

    /// What is wrong with the machine, in words; empty where nothing is.
    pub fn faults(&self) -> Vec<&'static str> {
        [
            (self.power, 0x02, "power overload"),
            (self.power, 0x04, "interlock"),
            (self.power, 0x08, "power fault"),
            (self.power, 0x10, "power control fault"),
            (self.misc, 0x01, "chassis intrusion"),
            (self.misc, 0x04, "drive fault"),
            (self.misc, 0x08, "cooling fault"),
        ]
        .into_iter()
        .filter(|(byte, bit, _)| byte & bit != 0)
        .map(|(_, _, words)| words)
        .collect()
    }

    /// Whether the last power-on was by an IPMI command.
    pub fn last_on_by_command(&self) -> bool {
        self.last_event & 0x10 != 0
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.power, self.last_event, self.misc];
        bytes.extend(self.front_panel);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let [power, last_event, misc] = reader.array("Get Chassis Status response")?;
        Ok(Response {
            power,
            last_event,
            misc,
            front_panel: reader.optional(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_four_and_more_bytes_are_taken_and_two_are_not() {
        let on = Response::decode(&[0x61, 0x10, 0x48]).unwrap();
        assert!(on.is_on() && on.last_on_by_command());
        assert_eq!(on.restore_policy(), RestorePolicy::Unknown);
        assert_eq!(on.faults(), ["cooling fault"]);
        let off = Response::decode(&[0x20, 0x00, 0x40, 0x70, 0xEE]).unwrap();
        assert!(!off.is_on());
        assert_eq!(off.restore_policy(), RestorePolicy::Previous);
        assert_eq!(off.front_panel, Some(0x70));
        assert!(Response::decode(&[0x01, 0x00]).is_err());
    }
}
