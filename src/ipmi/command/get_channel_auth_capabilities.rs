//! Get Channel Authentication Capabilities (§22.13): which IPMI, which log-ins. Its flags are
//! unreliable on several boards: they advise.

use super::command;
use crate::ipmi::message::net_fn;
use crate::ipmi::session15::AuthType;
use crate::ipmi::{DecodeError, PrivilegeLevel, Reader, Wire};

/// The channel that the request comes in on.
pub const THIS_CHANNEL: u8 = 0x0E;

/// What can be done on this channel?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Whether to ask for the v2.0 fields. Some v1.5 BMCs refuse that reserved bit.
    pub extended: bool,
    /// Channel, 0 to 15; [`THIS_CHANNEL`].
    pub channel: u8,
    /// The privilege that will be asked for.
    pub privilege: PrivilegeLevel,
}

/// What can be done on this channel. The bytes are kept as they came; the methods read them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The channel's number.
    pub channel: u8,
    /// Bit 7: v2.0 fields are there; else a bit for each v1.5 authentication type.
    pub auth_types: u8,
    /// K_G, per-message authentication, user classes.
    pub flags: u8,
    /// Bit 0: v1.5 sessions, bit 1: v2.0 sessions.
    pub extended: u8,
    /// The enterprise number of the OEM authentication type.
    pub oem: u32,
    /// OEM data.
    pub oem_auxiliary: u8,
}

command!(
    net_fn::APP,
    0x38,
    "Get Channel Authentication Capabilities",
    Response
);

impl Response {
    /// Whether RMCP+ sessions can be had: both bits must say so.
    pub fn v20(&self) -> bool {
        self.auth_types & 0x80 != 0 && self.extended & 0x02 != 0
    }

    /// Whether v1.5 sessions can be had: where the v2.0 fields are there, their bit must say so.
    pub fn v15(&self) -> bool {
        // A BMC of before 2.0 has no such field and speaks v1.5 alone.
        self.auth_types & 0x80 == 0 || self.extended & 0x01 != 0
    }

    /// Whether v1.5 sessions may use this authentication type.
    pub fn allows(&self, auth_type: AuthType) -> bool {
        self.auth_types & auth_type.mask() != 0
    }

    /// Whether K_G is set to something other than zeros.
    pub fn bmc_key_set(&self) -> bool {
        self.flags & 0x20 != 0
    }

    /// Whether the user without name and password may log in.
    pub fn anonymous(&self) -> bool {
        self.flags & 0x01 != 0
    }
}

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let extended = if self.extended { 0x80 } else { 0 };
        vec![self.channel & 0x0F | extended, self.privilege.bits()]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get Channel Authentication Capabilities request";
        let [channel, privilege] = Reader::new(data).array(WHAT)?;
        Ok(Self {
            extended: channel & 0x80 != 0,
            channel: channel & 0x0F,
            privilege: PrivilegeLevel::decode(privilege, WHAT)?,
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.channel, self.auth_types, self.flags, self.extended];
        bytes.extend_from_slice(&self.oem.to_le_bytes()[..3]);
        bytes.push(self.oem_auxiliary);
        bytes
    }

    /// Takes an answer that stops after the flags: the rest is then zero.
    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get Channel Authentication Capabilities response";
        let mut reader = Reader::new(data);
        let [channel, auth_types, flags] = reader.array(WHAT)?;
        Ok(Self {
            channel,
            auth_types,
            flags,
            extended: reader.optional().unwrap_or(0),
            oem: reader.u24(WHAT).unwrap_or(0),
            oem_auxiliary: reader.optional().unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_table_22_15() {
        let request = Request {
            extended: true,
            channel: THIS_CHANNEL,
            privilege: PrivilegeLevel::Administrator,
        };
        assert_eq!(request.encode(), [0x8E, 0x04]);

        // ipmi_sim 2.0.33 with one named user (capture on loopback).
        let bytes = [0x01, 0x97, 0x04, 0x03, 0x00, 0x00, 0x00, 0x00];
        let response = Response::decode(&bytes).unwrap();
        assert!(response.v20() && response.v15());
        assert!(response.allows(AuthType::Md2) && response.allows(AuthType::Password));
        assert!(!response.allows(AuthType::Oem) && !response.bmc_key_set());
        assert_eq!(response.encode(), bytes);
    }

    #[test]
    fn one_of_two_bits_does_not_make_v2_0() {
        assert!(
            !Response::decode(&[1, 0x80, 4, 0x01, 0, 0, 0, 0])
                .unwrap()
                .v20()
        );
        assert!(
            !Response::decode(&[1, 0x15, 4, 0x02, 0, 0, 0, 0])
                .unwrap()
                .v20()
        );
    }
}
