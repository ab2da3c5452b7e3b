//! What a loop does that got no processor for a while: what has come is taken in before what is due
//! is looked at. Else it would ask BMCs again that have answered, which then answer again, so that
//! it falls behind even further.
//!
//! Not for long, whatever comes: a deadline is a deadline.

use crate::time::Instant;
use std::time::Duration;

/// See the head of this file.
#[derive(Default)]
pub(super) struct CatchingUp {
    /// Since when what is due is put off.
    since: Option<Instant>,
    /// How much was taken in meanwhile: datagrams, and one for each look.
    taken: usize,
}

impl CatchingUp {
    /// Whether what has been due since `due` is put off once more. `more`: something is known to
    /// wait that was not taken in.
    pub(super) fn puts_off(&mut self, due: Instant, more: bool, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let behind = more || due + LATE <= now;
        let enough = now >= since + PUT_OFF && self.taken >= TAKEN_FIRST;
        if !behind || enough {
            return false;
        }
        self.taken += 1;
        true
    }

    /// So many datagrams were taken in instead.
    pub(super) fn took(&mut self, datagrams: usize) {
        self.taken += datagrams;
    }

    /// Nothing is due any more, or what is due is being looked at.
    pub(super) fn is_over(&mut self) {
        *self = Self::default();
    }
}

/// So late is a loop that does not get the time that it needs.
const LATE: Duration = Duration::from_millis(10);
/// So long what is due may be put off for answers that came before.
const PUT_OFF: Duration = Duration::from_millis(800);
/// So much of that is taken in even where it takes longer.
const TAKEN_FIRST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::after_start(Duration::from_millis(millis))
    }

    /// A flood that never ends, of which each look takes in so much and takes so long: after which
    /// time, and how much, what has been due since the beginning is looked at.
    fn flooded(each: usize, takes: u64) -> (u64, usize) {
        let (mut catching_up, mut now, mut taken) = (CatchingUp::default(), 0, 0);
        while catching_up.puts_off(at(0), true, at(now)) {
            catching_up.took(each);
            (now, taken) = (now + takes, taken + each);
            assert!(now < 1_000_000, "it never ends");
        }
        (now, taken)
    }

    #[test]
    fn whatever_comes_what_is_due_is_looked_at_in_the_end() {
        // A fast loop looks at it after 0.8 s, whatever it has taken in by then.
        assert_eq!(flooded(32, 1).0, 800);
        assert_eq!(flooded(1, 1).0, 800);
        // A slow loop takes in as much as a rack may have answered meanwhile, and no more.
        assert_eq!(flooded(32, 300), (2400, 256));
        // Looks that find nothing count, too.
        assert_eq!(flooded(0, 1000), (256_000, 0));
    }

    #[test]
    fn who_is_behind_takes_in_what_has_come_until_nothing_is_left() {
        let mut catching_up = CatchingUp::default();
        // A hundred answers wait, and what is due has been so for a second: nobody knows of them
        // before the first look.
        let mut waiting = 100_usize;
        let mut more = false;
        let mut now = 1000;
        while waiting > 0 {
            assert!(catching_up.puts_off(at(0), more, at(now)), "{waiting}");
            let taken = waiting.min(32);
            catching_up.took(taken);
            (waiting, now) = (waiting - taken, now + 190);
            more = taken == 32;
        }
    }

    #[test]
    fn who_is_in_time_puts_nothing_off_but_for_what_is_known_to_wait() {
        let mut catching_up = CatchingUp::default();
        assert!(!catching_up.puts_off(at(5), false, at(5)));
        assert!(!catching_up.puts_off(at(5), false, at(14)));
        catching_up.is_over();
        assert!(catching_up.puts_off(at(5), true, at(5)));
        catching_up.is_over();
        assert!(catching_up.puts_off(at(5), false, at(15)), "it is late");
    }

    #[test]
    fn each_time_counts_anew() {
        let mut catching_up = CatchingUp::default();
        assert!(catching_up.puts_off(at(0), true, at(0)));
        catching_up.took(1000);
        assert!(!catching_up.puts_off(at(0), true, at(800)));
        catching_up.is_over();
        assert!(catching_up.puts_off(at(800), true, at(801)));
        catching_up.took(1000);
        assert!(catching_up.puts_off(at(800), true, at(1600)));
        assert!(!catching_up.puts_off(at(800), true, at(1601)));
    }
}
