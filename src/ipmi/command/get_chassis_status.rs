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

/// What the identify light does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Light {
    /// The light is off.
    Off,
    /// The light blinks for a while.
    Timed,
    /// The light blinks until it is switched off.
    Indefinite,
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
            // Bit 1 of this byte is a locked front panel, which is no fault.
            (self.misc, 0x01, "chassis intrusion"),
            (self.misc, 0x04, "drive fault"),
            (self.misc, 0x08, "cooling fault"),
        ]
        .into_iter()
        .filter(|(byte, bit, _)| byte & bit != 0)
        .map(|(_, _, words)| words)
        .collect()
    }

    /// What the identify light does, where the BMC says.
    pub fn light(&self) -> Option<Light> {
        // Without bit 6 the BMC says nothing of the light, and the other bits mean nothing.
        match (self.misc & 0x40 != 0, self.misc >> 4 & 3) {
            (true, 0) => Some(Light::Off),
            (true, 1) => Some(Light::Timed),
            (true, 2) => Some(Light::Indefinite),
            _ => None,
        }
    }

    /// What the last change of power came from, in words; empty where the BMC does not say.
    pub fn last_event_words(&self) -> Vec<&'static str> {
        [
            (0x01, "mains power failed"),
            (0x02, "power overload"),
            (0x04, "power interlock"),
            (0x08, "power fault"),
            (0x10, "switched on by a command"),
        ]
        .into_iter()
        .filter(|(bit, _)| self.last_event & bit != 0)
        .map(|(_, words)| words)
        .collect()
    }

    /// The buttons that are locked, where the BMC says.
    pub fn locked_buttons(&self) -> Option<Vec<&'static str>> {
        let panel = self.front_panel?;
        let buttons = [
            (0x01, "power"),
            (0x02, "reset"),
            (0x04, "diagnostic interrupt"),
            (0x08, "standby"),
        ];
        let locked = buttons.into_iter().filter(|(bit, _)| panel & bit != 0);
        Some(locked.map(|(_, words)| words).collect())
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
        Ok(Self {
            power,
            last_event,
            misc,
            // ipmi_sim and pyghmi send three bytes.
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
        assert!(on.is_on());
        assert_eq!(on.restore_policy(), RestorePolicy::Unknown);
        assert_eq!(on.faults(), ["cooling fault"]);
        assert_eq!(on.light(), Some(Light::Off));
        assert_eq!(on.last_event_words(), ["switched on by a command"]);
        assert_eq!(on.locked_buttons(), None);
        let off = Response::decode(&[0x20, 0x00, 0x40, 0x70, 0xEE]).unwrap();
        assert!(!off.is_on());
        assert_eq!(off.restore_policy(), RestorePolicy::Previous);
        assert_eq!(off.front_panel, Some(0x70));
        assert_eq!(off.locked_buttons(), Some(vec![]));
        let blinks = Response::decode(&[0x00, 0x00, 0x60, 0x03]).unwrap();
        assert_eq!(blinks.light(), Some(Light::Indefinite));
        assert_eq!(blinks.locked_buttons(), Some(vec!["power", "reset"]));
        // Bit 6 says whether the BMC says anything of the light.
        let silent = Response::decode(&[0x00, 0x00, 0x20]).unwrap();
        assert_eq!(silent.light(), None);
        assert!(Response::decode(&[0x01, 0x00]).is_err());
    }
}
