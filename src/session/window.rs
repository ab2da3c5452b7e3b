//! The sliding window over received sequence numbers (§6.12.13): each number is taken once.
//!
//! 32 behind and 16 ahead, wider than the specification's 8: boards with a shared network port skip
//! every second number (ASRock MT-C224).

/// How far behind the highest number one is still taken.
// `seen` has 32 bits.
const BEHIND: u32 = 32;
/// How far ahead of the highest number one is taken.
const AHEAD: u32 = 16;

/// What was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    highest: u32,
    /// Bit n: `highest - n` was received.
    seen: u32,
}

impl Window {
    /// Nothing received yet; the first number is expected to be the one after `before`.
    pub(super) fn after(before: u32) -> Self {
        // What lies before the start counts as received: it belongs to no packet of this session.
        Self {
            highest: before,
            seen: u32::MAX,
        }
    }

    /// Takes `sequence` if it is new and near enough, and remembers it. To be asked only after the
    /// packet's code was found right: otherwise anybody could move the window.
    pub(super) fn take(&mut self, sequence: u32) -> bool {
        // Packets outside of sessions carry 0, and no packet of a session does.
        if sequence == 0 {
            return false;
        }
        let ahead = sequence.wrapping_sub(self.highest);
        if (1..=AHEAD).contains(&ahead) {
            self.seen = self.seen << ahead | 1;
            self.highest = sequence;
            return true;
        }
        let behind = self.highest.wrapping_sub(sequence);
        if behind >= BEHIND || self.seen & 1 << behind != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_first_packet_may_be_any_of_the_sixteen_ahead() {
        for first in 1..=16 {
            assert!(Window::after(0).take(first));
        }
        assert!(!Window::after(0).take(17));
        assert!(!Window::after(0).take(0));
        assert!(!Window::after(0).take(u32::MAX));
    }

    #[test]
    fn a_number_is_taken_once_also_when_it_comes_late() {
        let mut window = Window::after(0);
        assert!(window.take(1) && window.take(9) && window.take(5));
        assert!(!window.take(5) && !window.take(9) && !window.take(1));
    }

    #[test]
    fn the_window_goes_on_over_the_wrap() {
        let mut window = Window::after(u32::MAX - 2);
        assert!(window.take(u32::MAX - 1));
        assert!(window.take(1), "0 is skipped by the sender");
        assert!(window.take(u32::MAX));
        assert!(!window.take(u32::MAX) && !window.take(0));
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice_and_all_near_news_are_taken(
            start in any::<u32>(),
            steps in proptest::collection::vec(-40i32..24, 1..200),
        ) {
            let mut window = Window::after(start);
            let mut highest = 0i64;
            let mut taken = BTreeSet::new();
            for step in steps {
                let number = highest + i64::from(step);
                let sequence = start.wrapping_add(number as u32);
                let near = number > highest - 32 && number <= highest + 16;
                let fresh = number > 0 && !taken.contains(&number);
                let expected = near && fresh && sequence != 0;
                prop_assert_eq!(window.take(sequence), expected);
                if expected {
                    taken.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }
}
