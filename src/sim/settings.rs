//! What a simulated BMC is set up with: users, keys, suites, limits.

use super::satellite::Satellite;
use std::fmt;
use std::time::Duration;

/// A privilege level (§6.8), with its number on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Privilege {
    /// 1: nearly nothing.
    Callback = 1,
    /// 2: reading.
    User = 2,
    /// 3: power, but no configuration.
    Operator = 3,
    /// 4: all.
    Administrator = 4,
    /// 5: the maker's.
    Oem = 5,
}

impl Privilege {
    /// The level with this number.
    pub fn by_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Callback),
            2 => Some(Self::User),
            3 => Some(Self::Operator),
            4 => Some(Self::Administrator),
            5 => Some(Self::Oem),
            _ => None,
        }
    }

    pub fn number(self) -> u8 {
        self as u8
    }
}

/// A user of a BMC. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name, at most 16 bytes; empty for the anonymous user.
    pub name: String,
    /// The password, at most 20 bytes (16 for IPMI 1.5).
    pub password: Vec<u8>,
    /// The highest level that the user may have.
    pub privilege: Privilege,
    /// Whether the user may log in.
    pub enabled: bool,
}

impl User {
    /// An enabled user.
    pub fn new(name: &str, password: &str, privilege: Privilege) -> Self {
        Self {
            name: name.to_owned(),
            password: password.as_bytes().to_vec(),
            privilege,
            enabled: true,
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({:?}, ***, {:?})", self.name, self.privilege)
    }
}

/// The set-up of one simulated BMC. `Debug` does not show keys.
#[derive(Clone, PartialEq, Eq)]
pub struct BmcSettings {
    /// What the node is called; for people.
    pub name: String,
    /// Its users; the first is user id 2, as user id 1 is the anonymous one of the specification.
    pub users: Vec<User>,
    /// K_G, at most 20 bytes; `None`, or all zero, for one-key log-ins (§13.31).
    pub bmc_key: Option<Vec<u8>>,
    /// The GUID of the managed system.
    pub guid: [u8; 16],
    /// The cipher suites that are offered and taken.
    pub suites: Vec<u8>,
    /// How many sessions it has, half-open ones included.
    pub session_limit: usize,
    /// When a silent session is closed.
    pub idle_timeout: Duration,
    /// When a log-in that does not go on is forgotten.
    pub half_open_timeout: Duration,
    /// Whether there is RMCP+ at all.
    pub offers_v20: bool,
    /// Whether IPMI 1.5 sessions are offered.
    pub offers_v15: bool,
    /// Their authentication types: 0 none, 1 MD2, 2 MD5, 4 straight password, 5 the maker's.
    pub kinds_v15: Vec<u8>,
    /// Whether every packet of an IPMI 1.5 session has its code.
    pub per_message_v15: bool,
    /// The highest level on this channel.
    pub channel_limit: Privilege,
    /// Whether the machine is on at the start.
    pub starts_on: bool,
    /// The maker's enterprise number in Get Device ID.
    pub manufacturer: u32,
    /// The product number in Get Device ID.
    pub product: u16,
    /// The firmware's version, major and minor (decimal).
    pub firmware: (u8, u8),
    /// Seconds since 1970 on the event log's clock at the start.
    pub clock_at_start: u32,
    /// The controllers behind it.
    pub satellites: Vec<Satellite>,
}

impl Default for BmcSettings {
    fn default() -> Self {
        Self {
            name: "node".to_owned(),
            users: vec![User::new("admin", "admin", Privilege::Administrator)],
            bmc_key: None,
            guid: *b"simulated-bmc-00",
            suites: vec![3, 17],
            session_limit: 8,
            idle_timeout: Duration::from_secs(60),
            half_open_timeout: Duration::from_secs(10),
            offers_v20: true,
            offers_v15: false,
            kinds_v15: vec![0, 1, 2, 4],
            per_message_v15: true,
            channel_limit: Privilege::Administrator,
            starts_on: true,
            manufacturer: 0,
            product: 1,
            firmware: (1, 0),
            clock_at_start: 1_767_225_600,
            // A management engine where Intel's is, and one behind a switch of a chassis.
            satellites: vec![
                Satellite {
                    channel: 0,
                    address: 0x2C,
                    product: 2,
                    behind: Vec::new(),
                },
                Satellite {
                    channel: 0,
                    address: 0x82,
                    product: 3,
                    behind: vec![Satellite {
                        channel: 7,
                        address: 0x72,
                        product: 4,
                        behind: Vec::new(),
                    }],
                },
            ],
        }
    }
}

/// A GUID that BMCs of other names do not have, where their last eight letters differ.
pub fn guid_of(name: &str) -> [u8; 16] {
    let mut guid = *b"simulated-bmc-00";
    let letters = name.bytes().rev().take(8);
    guid.iter_mut()
        .rev()
        .zip(letters)
        .for_each(|(byte, letter)| *byte = letter);
    guid
}

impl fmt::Debug for BmcSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BmcSettings")
            .field("name", &self.name)
            .field("users", &self.users)
            .field("bmc_key", &self.bmc_key.as_ref().map(|_| "***"))
            .field("suites", &self.suites)
            .field("session_limit", &self.session_limit)
            .finish_non_exhaustive()
    }
}

impl BmcSettings {
    /// K_G where it is set: a key of zeros counts as none (§13.31).
    pub(super) fn key(&self) -> Option<&[u8]> {
        self.bmc_key
            .as_deref()
            .filter(|key| key.iter().any(|byte| *byte != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_keys_are_not_shown() {
        let settings = BmcSettings {
            users: vec![User::new("ann", "Tango", Privilege::User)],
            bmc_key: Some(b"Foxtrot".to_vec()),
            ..BmcSettings::default()
        };
        let shown = format!("{settings:?}");
        assert!(shown.contains("ann"));
        assert!(!shown.contains("Tango") && !shown.contains("84, 97"));
        assert!(!shown.contains("Foxtrot") && !shown.contains("70, 111"));
    }
}
