//! Completion codes (§5.2), with what each means in words.

use super::message::net_fn;
use std::fmt;

/// How a command went, as its response says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CompletionCode(pub u8);

impl CompletionCode {
    pub const OK: Self = Self(0x00);
    /// The node is busy.
    pub const BUSY: Self = Self(0xC0);
    /// No such command.
    // BMCs that are starting say this of commands that they have.
    pub const INVALID_COMMAND: Self = Self(0xC1);
    /// No such command for that logical unit.
    pub const INVALID_LUN: Self = Self(0xC2);
    /// The BMC ran out of time.
    // It leaves open whether the command was carried out, so that a pulse is not sent again.
    pub const TIMEOUT: Self = Self(0xC3);
    /// Out of space.
    pub const OUT_OF_SPACE: Self = Self(0xC4);
    /// The reservation was cancelled or is not valid.
    // Somebody else has reserved the log since, or the log has changed.
    pub const INVALID_RESERVATION: Self = Self(0xC5);
    /// A parameter is out of range.
    pub const OUT_OF_RANGE: Self = Self(0xC9);
    /// Not that many bytes can be returned.
    // Some BMCs give the entries of their event log in small pieces only.
    pub const CANNOT_RETURN: Self = Self(0xCA);
    /// The sensor, data or record is not there.
    pub const NOT_PRESENT: Self = Self(0xCB);
    /// A data field is not valid.
    pub const INVALID_DATA: Self = Self(0xCC);
    /// No response could be provided.
    // As C3h: the command may have been carried out.
    pub const NO_RESPONSE: Self = Self(0xCE);
    /// A copy of this request was received before.
    // The copy that was taken has an answer of its own, and further ones bring only this again.
    pub const DUPLICATE: Self = Self(0xCF);
    /// The repository is being updated.
    pub const REPOSITORY_UPDATE: Self = Self(0xD0);
    /// The firmware is being updated.
    pub const FIRMWARE_UPDATE: Self = Self(0xD1);
    /// The BMC is starting up.
    // A BMC that starts takes commands after a while, so that this is no refusal for good.
    pub const INITIALISING: Self = Self(0xD2);
    /// Our privilege does not suffice.
    // Some sessions lose their level on the way, so that it may be granted when asked for again.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(0xD4);
    /// Not in the machine's present state.
    // Dell's iDRAC says this to an off of a machine that is off.
    pub const NOT_IN_PRESENT_STATE: Self = Self(0xD5);
    /// The sub-function is disabled.
    pub const DISABLED: Self = Self(0xD6);
    /// No reason given.
    // OpenBMC says this while it starts (openbmc, issue 1810).
    pub const UNSPECIFIED: Self = Self(0xFF);

    /// Whether the command was carried out.
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }

    /// Whether it says that the event log is being erased, as an answer to a storage command.
    pub fn is_erasing(self, net_fn: u8) -> bool {
        // §31.2 and those after it give 81h this meaning in the commands for the event log.
        net_fn == net_fn::STORAGE && self.0 == 0x81
    }

    /// What it means, whatever the command.
    pub fn words(self) -> &'static str {
        match self.0 {
            0x00 => "completed normally",
            0xC0 => "node busy",
            0xC1 => "invalid command",
            0xC2 => "command invalid for given LUN",
            0xC3 => "timeout while processing command",
            0xC4 => "out of space",
            0xC5 => "reservation cancelled or invalid reservation id",
            0xC6 => "request data truncated",
            0xC7 => "request data length invalid",
            0xC8 => "request data field length limit exceeded",
            0xC9 => "parameter out of range",
            0xCA => "cannot return number of requested data bytes",
            0xCB => "requested sensor, data or record not present",
            0xCC => "invalid data field in request",
            0xCD => "command illegal for specified sensor or record type",
            0xCE => "command response could not be provided",
            0xCF => "cannot execute duplicated request",
            0xD0 => "repository in update mode",
            0xD1 => "device in firmware update mode",
            0xD2 => "BMC initialisation in progress",
            0xD3 => "destination unavailable",
            0xD4 => "insufficient privilege level or firmware firewall",
            0xD5 => "command or parameter not supported in present state",
            0xD6 => "command sub-function disabled or unavailable",
            0xFF => "unspecified error",
            // Table 5-2: 80h to BEh mean what each command says, 01h to 7Eh what the maker says.
            0x80..=0xBE => "command-specific error",
            0x01..=0x7E => "OEM error",
            _ => "reserved completion code",
        }
    }

    /// What it means as an answer to one command, given by its request's network function and
    /// number.
    pub fn words_for(self, net_fn: u8, command: u8) -> &'static str {
        // Callers have the response's network function as often as the request's.
        match (net_fn & !1, command, self.0) {
            (0x06, 0x3B, 0x80) => "requested level not available for this user",
            (0x06, 0x3B, 0x81) => "requested level exceeds channel or user limit",
            (0x06, 0x3B, 0x82) => "user level authentication cannot be disabled",
            (0x06, 0x39, 0x81) => "invalid user name",
            (0x06, 0x39, 0x82) => "null user name not enabled",
            (0x06, 0x3A, 0x81) => "no session slot available",
            (0x06, 0x3A, 0x82) => "no session slot available for this user",
            (0x06, 0x3A, 0x83) => "no session slot available at this privilege level",
            (0x06, 0x3A, 0x84) => "session sequence number out of range",
            (0x06, 0x3A, 0x85) => "invalid session id in request",
            (0x06, 0x3A | 0x3B, 0x86) => {
                "requested maximum privilege exceeds user or channel limit"
            }
            (0x06, 0x3C, 0x87) => "invalid session id in request",
            (0x06, 0x3C, 0x88) => "invalid session handle in request",
            (0x06, 0x34, 0x80) => "invalid session handle",
            (0x06, 0x34, 0x81) => "lost arbitration on the bus",
            (0x06, 0x34, 0x82) => "bus error",
            (0x06, 0x34, 0x83) => "not acknowledged on the bus",
            (0x00, 0x08 | 0x09, 0x80) => "boot option parameter not supported",
            (0x00, 0x08, 0x81) => "boot options are being set by another party",
            (0x00, 0x08, 0x82) => "boot option parameter is read-only",
            (0x0A, 0x40..=0x47, 0x81) => "event log is being erased",
            (0x0A, 0x42..=0x47, 0x80) => "operation not supported for this record type",
            _ => self.words(),
        }
    }
}

impl fmt::Display for CompletionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "completion code {:02X}h, {}", self.0, self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_specific_code_is_said_in_its_commands_words() {
        let code = CompletionCode(0x81);
        assert_eq!(code.words(), "command-specific error");
        assert_eq!(code.words_for(0x06, 0x3A), "no session slot available");
        assert_eq!(
            CompletionCode(0xD5).to_string(),
            "completion code D5h, command or parameter not supported in present state"
        );
    }
}
