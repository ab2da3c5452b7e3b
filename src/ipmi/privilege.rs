//! Privilege levels (§6.8), as sessions ask for them and as people write them.

use super::DecodeError;
use std::fmt;
use std::str::FromStr;

/// A privilege level; a higher one may do all that a lower one may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum PrivilegeLevel {
    /// Callback: only calls for a call-back.
    Callback = 1,
    /// User: reads.
    User = 2,
    /// Operator: power control, but no configuration.
    Operator = 3,
    /// Administrator: everything.
    Administrator = 4,
    /// A maker's own level.
    Oem = 5,
}

impl PrivilegeLevel {
    /// All of them, lowest first.
    pub const ALL: [Self; 5] = [
        Self::Callback,
        Self::User,
        Self::Operator,
        Self::Administrator,
        Self::Oem,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Callback => "callback",
            Self::User => "user",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
            Self::Oem => "oem",
        }
    }

    /// Its number on the wire.
    pub fn bits(self) -> u8 {
        self as u8
    }

    /// The level in the low nibble of `byte`; `None` for 0 (which some fields use for "highest" or
    /// "unchanged") and for numbers that nothing has.
    pub fn from_bits(byte: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            // The upper half has flags, such as the one of RAKP 1 for a look-up by name alone.
            .find(|level| level.bits() == byte & 0x0F)
    }

    /// As [`from_bits`](Self::from_bits), for fields that must hold a level.
    ///
    /// # Errors
    /// No level has that number.
    pub fn decode(byte: u8, what: &'static str) -> Result<Self, DecodeError> {
        Self::from_bits(byte).ok_or(DecodeError::Value { what, value: byte })
    }

    /// The next lower level, as far as user: below that no order of ours can be carried out.
    pub fn lower(self) -> Option<Self> {
        match self {
            Self::Oem => Some(Self::Administrator),
            Self::Administrator => Some(Self::Operator),
            Self::Operator => Some(Self::User),
            Self::User | Self::Callback => None,
        }
    }
}

impl fmt::Display for PrivilegeLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no privilege level.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no privilege level: callback, user, operator, administrator or oem")]
pub struct UnknownPrivilege(pub String);

impl FromStr for PrivilegeLevel {
    type Err = UnknownPrivilege;

    /// Takes the words of [`Display`](fmt::Display) and `admin`, in any case.
    fn from_str(word: &str) -> Result<Self, UnknownPrivilege> {
        let lower = word.to_ascii_lowercase();
        if lower == "admin" {
            return Ok(Self::Administrator);
        }
        Self::ALL
            .into_iter()
            .find(|level| level.name() == lower)
            .ok_or_else(|| UnknownPrivilege(word.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_known_by_number_and_by_word() {
        assert_eq!("Admin".parse(), Ok(PrivilegeLevel::Administrator));
        assert_eq!(
            PrivilegeLevel::from_bits(0x13),
            Some(PrivilegeLevel::Operator)
        );
        assert_eq!(PrivilegeLevel::from_bits(0), None);
        assert!("root".parse::<PrivilegeLevel>().is_err());
    }
}
