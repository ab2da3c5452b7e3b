//! RMCP+ and RAKP status codes (§13.24), with what each means in words.

use std::fmt;

/// A status code of an open session response or a RAKP message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Status(pub u8);

impl Status {
    pub const OK: Self = Self(0x00);
    /// The BMC has no room for another session.
    // Intel's M50CYP says this of suites that it does not have.
    pub const INSUFFICIENT_RESOURCES: Self = Self(0x01);
    /// Session id not known.
    pub const INVALID_SESSION_ID: Self = Self(0x02);
    /// Authentication algorithm not supported.
    pub const INVALID_AUTHENTICATION: Self = Self(0x04);
    /// Integrity algorithm not supported.
    pub const INVALID_INTEGRITY: Self = Self(0x05);
    /// No matching authentication payload.
    pub const NO_MATCHING_AUTHENTICATION: Self = Self(0x06);
    /// No matching integrity payload.
    pub const NO_MATCHING_INTEGRITY: Self = Self(0x07);
    /// The session id is not active.
    pub const INACTIVE_SESSION_ID: Self = Self(0x08);
    /// The role is not valid.
    // Some BMCs say this of a suite (Ironic's bug 2085137).
    pub const INVALID_ROLE: Self = Self(0x09);
    /// The user may not have the role asked for.
    // Supermicro's X8DTG says this of a suite.
    pub const UNAUTHORISED_ROLE: Self = Self(0x0A);
    /// No room for a session at that role.
    pub const INSUFFICIENT_RESOURCES_FOR_ROLE: Self = Self(0x0B);
    /// The name is too long.
    pub const INVALID_NAME_LENGTH: Self = Self(0x0C);
    /// No such user.
    pub const UNAUTHORISED_NAME: Self = Self(0x0D);
    /// A code did not match: another password.
    pub const INVALID_INTEGRITY_CHECK: Self = Self(0x0F);
    /// Confidentiality algorithm not supported.
    pub const INVALID_CONFIDENTIALITY: Self = Self(0x10);
    /// No cipher suite matches.
    pub const NO_MATCHING_SUITE: Self = Self(0x11);
    /// A parameter is out of range.
    // Some MSI boards say this of a suite.
    pub const ILLEGAL_PARAMETER: Self = Self(0x12);

    /// What it means.
    pub fn words(self) -> &'static str {
        match self.0 {
            0x00 => "no errors",
            0x01 => "insufficient resources to create a session",
            0x02 => "invalid session id",
            0x03 => "invalid payload type",
            0x04 => "invalid authentication algorithm",
            0x05 => "invalid integrity algorithm",
            0x06 => "no matching authentication payload",
            0x07 => "no matching integrity payload",
            0x08 => "inactive session id",
            // OpenBMC says it of a user that is switched off.
            0x09 => "invalid role, or the user is disabled",
            0x0A => "unauthorised role or privilege level requested",
            0x0B => "insufficient resources to create a session at the requested role",
            0x0C => "invalid name length",
            0x0D => "unauthorised name",
            0x0E => "unauthorised GUID",
            0x0F => "invalid integrity check value",
            0x10 => "invalid confidentiality algorithm",
            0x11 => "no cipher suite match with proposed security algorithms",
            0x12 => "illegal or unrecognised parameter",
            _ => "reserved status",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {:02X}h, {}", self.0, self.words())
    }
}
