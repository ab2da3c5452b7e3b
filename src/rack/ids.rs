//! Ids of tasks and batches: they sort as they were made.

use crate::entropy::Entropy;
use crate::time::WallTime;
use uuid::Uuid;

/// Makes ids that sort in the order in which they were made, also within a millisecond and where
/// the calendar was set back: tasks begin in that order.
#[derive(Debug, Default)]
pub(super) struct Ids {
    millis: u64,
    within: u16,
}

impl Ids {
    /// A new id: version 7, from the calendar, a counter and random bytes.
    pub(super) fn make(&mut self, wall: WallTime, entropy: &mut dyn Entropy) -> Uuid {
        let millis = wall.unix_micros() / 1000;
        if millis > self.millis {
            (self.millis, self.within) = (millis, 0);
        } else if self.within < COUNTER_END {
            self.within += 1;
        } else {
            // The counter is used up: the next millisecond is taken early, and
            // the id sorts behind all the same.
            (self.millis, self.within) = (self.millis + 1, 0);
        }
        let mut random = [0; 10];
        entropy.fill(&mut random);
        random[..2].copy_from_slice(&self.within.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(self.millis, &random).into_uuid()
    }

    /// Ids to come sort after this one.
    pub(super) fn skip_past(&mut self, id: Uuid) {
        let (millis, within) = (
            id.as_u128() >> 80,
            (id.as_u128() >> 64) as u16 & COUNTER_END,
        );
        (self.millis, self.within) = (self.millis, self.within).max((millis as u64, within));
    }
}

/// The 12 bits between the time and the random part (RFC 9562, section 6.2, method 1).
const COUNTER_END: u16 = 0xFFF;

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;

    #[test]
    fn ids_sort_in_the_order_in_which_they_were_made_also_where_the_calendar_goes_back() {
        let mut entropy = crate::entropy::Seeded::new(1);
        let mut ids = Ids::default();
        let mut made = Vec::new();
        for second in [9, 9, 5, 9, 10] {
            made.push(ids.make(at(second).wall, &mut entropy));
        }
        assert!(made.is_sorted());
        let mut next_life = Ids::default();
        next_life.skip_past(made[4]);
        assert!(next_life.make(at(1).wall, &mut entropy) > made[4]);
    }
}
