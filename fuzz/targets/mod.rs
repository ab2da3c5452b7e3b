//! What is fuzzed, as plain functions from bytes: a panic is a finding.
//!
//! Driven by the libFuzzer programs in `fuzz_targets/` and, without libFuzzer, by
//! `tests/fuzz_corpus.rs`. Everything here is pure: the same bytes do the same, so that a finding
//! can be kept as a file.

pub mod commands;
pub mod config;
pub mod http;
pub mod nodeset;
pub mod packet;
pub mod roles;
pub mod session;
pub mod session_sim;

/// Bytes read as a script: what comes next, until there is no more.
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next two bytes, the low one first.
    pub fn word(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    /// The next `count` bytes, or as many as there are.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind their length.
    pub fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        Some(self.bytes(usize::from(length)))
    }
}
