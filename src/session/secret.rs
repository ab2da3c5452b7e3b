//! Passwords and keys: never shown, compared in constant time, wiped when dropped (design, rule 9).

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A user's password, at most 20 bytes (16 in IPMI 1.5). May be empty.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Password(Vec<u8>);

/// The BMC key K_G, at most 20 bytes, which may be zero anywhere (IPMI v2.0 rev 1.1 §13.33).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct BmcKey(Vec<u8>);

/// Why a secret cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// Longer than the protocol carries.
    #[error("{length} bytes are too long: IPMI carries at most {limit}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest that fits.
        limit: usize,
    },
    /// A zero byte within a password would end it in the BMC.
    #[error("a zero byte at position {0}")]
    ZeroByte(usize),
}

/// The longest password in IPMI v2.0 (§22.30).
pub const PASSWORD_LIMIT: usize = 20;
/// The longest password in IPMI v1.5.
// §22.17.1: its codes are made over a field of 16 bytes.
pub const PASSWORD_LIMIT_V15: usize = 16;
/// The length of K_G.
// §22.25: the field in Set Channel Security Keys.
pub const BMC_KEY_LIMIT: usize = 20;

impl Password {
    /// A password from its bytes.
    ///
    /// # Errors
    /// Longer than 20 bytes, or with a zero byte: refused, never cut.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let mut bytes = bytes.into();
        let error = match bytes.iter().position(|byte| *byte == 0) {
            _ if bytes.len() > PASSWORD_LIMIT => SecretError::TooLong {
                length: bytes.len(),
                limit: PASSWORD_LIMIT,
            },
            Some(at) => SecretError::ZeroByte(at),
            None => return Ok(Self(bytes)),
        };
        // Rule 9: a password that is refused is wiped, too.
        bytes.zeroize();
        Err(error)
    }

    /// Its bytes, for keying alone.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl BmcKey {
    /// A key from its bytes. An empty or all-zero key is the same as none (§13.33): the caller
    /// leaves it out.
    ///
    /// # Errors
    /// Longer than 20 bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let mut bytes = bytes.into();
        if bytes.len() > BMC_KEY_LIMIT {
            let length = bytes.len();
            bytes.zeroize();
            return Err(SecretError::TooLong {
                length,
                limit: BMC_KEY_LIMIT,
            });
        }
        Ok(Self(bytes))
    }

    /// Its bytes, for keying alone.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl PartialEq for BmcKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for BmcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_password_is_refused_and_not_cut() {
        assert!(Password::new(*b"12345678901234567890").is_ok());
        assert_eq!(
            Password::new(*b"123456789012345678901"),
            Err(SecretError::TooLong {
                length: 21,
                limit: 20
            })
        );
    }

    #[test]
    fn a_secret_never_prints() {
        assert_eq!(format!("{:?}", Password::new(*b"secret").unwrap()), "***");
        assert_eq!(format!("{:?}", BmcKey::new(*b"\0key").unwrap()), "***");
    }
}
