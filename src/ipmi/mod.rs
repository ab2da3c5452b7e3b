//! The wire: bytes to values and back, for IPMI over LAN (IPMI v2.0 rev 1.1, a bare § means that
//! document).
//!
//! Driven by `session` and `bmc`, which encode requests and decode answers; `sim` has a reading of
//! its own. Frames and commands go the other way round, too, though no program needs that: tests
//! answer in a BMC's place with it, and the fuzz targets see that both ways agree.
//!
//! No state, no time, no secrets, no cryptography: a packet's integrity code is a slice here,
//! nothing more. Whatever arrives, `decode` gives a value or a [`DecodeError`]; it never panics.

pub mod command;
pub(crate) mod completion;
pub mod event;
pub(crate) mod guid;
pub mod message;
pub mod open_session;
pub(crate) mod payload;
pub(crate) mod privilege;
pub mod rakp;
pub(crate) mod reveal;
pub mod rmcp;
pub mod session15;
pub mod session20;
pub(crate) mod status;
pub(crate) mod suite;

pub use completion::CompletionCode;
pub use privilege::PrivilegeLevel;
pub use status::Status;
pub use suite::{Algorithms, SuiteId};

/// Why bytes are not the value they were taken for. `what` names the place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before `what` does.
    #[error("{what}: ends too early")]
    Short {
        /// The field or structure that is incomplete.
        what: &'static str,
    },
    /// A byte has a value that `what` cannot have.
    #[error("{what}: unexpected value {value:#04x}")]
    Value {
        what: &'static str,
        /// What stood there.
        value: u8,
    },
    /// A checksum is wrong.
    #[error("{what}: wrong checksum")]
    Checksum {
        /// Which of the message's two checksums.
        what: &'static str,
    },
}

/// A value with a form on the wire.
pub trait Wire: Sized {
    fn encode(&self) -> Vec<u8>;

    /// The value of `data`. More bytes than the value needs are let be: BMCs append.
    ///
    /// # Errors
    /// The bytes are too few, or hold what the value cannot have.
    fn decode(data: &[u8]) -> Result<Self, DecodeError>;
}

/// Reads forward through bytes; the only place that cuts slices by position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next `count` bytes.
    pub(crate) fn take(
        &mut self,
        count: usize,
        what: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(DecodeError::Short { what }),
        }
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(DecodeError::Short { what }),
        }
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(what)?[0])
    }

    // IPMI has the least significant byte first in all its numbers.
    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    // Makers' numbers have three bytes in IPMI's commands.
    pub(crate) fn u24(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let [low, middle, high] = self.array(what)?;
        Ok(u32::from_le_bytes([low, middle, high, 0]))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// The next byte where there is one.
    pub(crate) fn optional(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests;
