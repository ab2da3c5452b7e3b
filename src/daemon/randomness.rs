//! The kernel's randomness, fetched in blocks: a packet needs 16 bytes of it, and a system call for
//! each would cost more than the packet's encryption. What was handed out is wiped in the block, so
//! that nobody finds it there later; no byte is handed out twice.

use crate::entropy::Entropy;
use std::ops::Range;
use zeroize::Zeroize;

/// See the head of this file.
pub(super) struct Kernel {
    block: [u8; BLOCK],
    /// What of the block was not handed out yet.
    left: Range<usize>,
}

impl Kernel {
    /// Nothing is fetched yet.
    pub(super) fn new() -> Self {
        Self {
            block: [0; BLOCK],
            left: 0..0,
        }
    }
}

impl Entropy for Kernel {
    fn fill(&mut self, bytes: &mut [u8]) {
        if bytes.len() > BLOCK {
            return fetch(bytes);
        }
        if self.left.len() < bytes.len() {
            fetch(&mut self.block);
            self.left = 0..BLOCK;
        }
        let (from, to) = (self.left.start, self.left.start + bytes.len());
        let taken = &mut self.block[from..to];
        bytes.copy_from_slice(taken);
        taken.zeroize();
        self.left.start = to;
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}

fn fetch(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the kernel has randomness once it is up");
}

/// What is fetched at once: enough for some thirty packets, and little that lies about unused.
const BLOCK: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_is_handed_out_twice_and_what_was_handed_out_is_wiped() {
        let mut kernel = Kernel::new();
        let mut seen = BTreeSet::new();
        for _ in 0..10_000 {
            let mut iv = [0; 16];
            kernel.fill(&mut iv);
            assert!(seen.insert(iv), "the same bytes again");
            let used = &kernel.block[..kernel.left.start];
            assert!(used.iter().all(|byte| *byte == 0), "not wiped");
        }
    }

    #[test]
    fn the_end_of_a_block_is_not_stretched_and_what_is_longer_than_one_comes_whole() {
        let mut kernel = Kernel::new();
        let mut most = [0; BLOCK - 4];
        kernel.fill(&mut most);
        let mut next = [0; 16];
        kernel.fill(&mut next);
        assert_eq!(kernel.left, 16..BLOCK, "a new block was fetched");
        let mut long = [0; 3 * BLOCK];
        kernel.fill(&mut long);
        let zeros = long.iter().filter(|byte| **byte == 0);
        assert!(zeros.count() < 100, "filled to its end");
        assert_eq!(kernel.left, 16..BLOCK);
    }
}
