//! What is fuzzed, as plain functions from bytes: a panic is a finding.
//!
//! Driven by the libFuzzer programs in `fuzz_targets/` and, without libFuzzer, by
//! `tests/fuzz_corpus.rs`. Everything here is pure: the same bytes do the same, so that a finding
//! can be kept as a file.

pub(crate) mod commands;
pub(crate) mod config;
pub(crate) mod http;
pub(crate) mod nodeset;
pub(crate) mod packet;
pub(crate) mod roles;
pub(crate) mod session;
pub(crate) mod session_sim;

/// Bytes read as a script: what comes next, until there is no more.
pub(crate) struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// The next byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next two bytes, the low one first.
    pub(crate) fn word(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    /// The next `count` bytes, or as many as there are.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind their length.
    pub(crate) fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        Some(self.bytes(usize::from(length)))
    }
}
