//! System boot options of a simulated machine (IPMI v2.0 rev 1.1 §28.12 to §28.14).
//!
//! Plain data with the rules of the boot flags: they hold for one start unless persistent, and for
//! 60 s unless told otherwise. Driven by the chassis commands and by [`super::host`] at each start
//! of the system.

use crate::time::Instant;
use std::time::Duration;

/// The parameters of one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootOptions {
    set_in_progress: u8,
    /// Parameter 3: what does *not* clear the valid bit of the boot flags.
    valid_bit_clearing: u8,
    acknowledge: [u8; 2],
    flags: [u8; 5],
    flags_set_at: Option<Instant>,
    initiator: [u8; 9],
    /// The boot flags that the last start of the system found valid.
    pub used_at_last_start: Option<[u8; 5]>,
}

impl BootOptions {
    /// The data of a parameter at `now`, `None` where there is no such one.
    pub fn get(&mut self, parameter: u8, now: Instant) -> Option<Vec<u8>> {
        self.expire(now);
        match parameter {
            0 => Some(vec![self.set_in_progress]),
            1 | 2 => Some(vec![0]),
            3 => Some(vec![self.valid_bit_clearing]),
            4 => Some(self.acknowledge.to_vec()),
            5 => Some(self.flags.to_vec()),
            6 => Some(self.initiator.to_vec()),
            _ => None,
        }
    }

    /// Sets a parameter, or says with which completion code not.
    pub fn set(&mut self, parameter: u8, data: &[u8], now: Instant) -> Result<(), u8> {
        match (parameter, data) {
            (0, [1]) if self.set_in_progress == 1 => return Err(SET_IN_PROGRESS),
            (0, [state @ 0..=2]) => self.set_in_progress = if *state == 2 { 0 } else { *state },
            (1 | 2, [_]) => {}
            (3, [clearing]) => self.valid_bit_clearing = clearing & 0x1F,
            (4, [mask, value]) => {
                self.acknowledge = [0, self.acknowledge[1] & !mask | value & mask];
            }
            (5, data) if (1..=5).contains(&data.len()) => {
                self.flags = [0; 5];
                self.flags[..data.len()].copy_from_slice(data);
                self.flags_set_at = Some(now);
            }
            (6, data) => {
                self.initiator = *data.first_chunk().ok_or(LENGTH_INVALID)?;
            }
            (0..=6, []) => return Err(LENGTH_INVALID),
            (0..=6, _) => return Err(FIELD_INVALID),
            // An empty set of a parameter that is not there is a probe for it all the same.
            _ => return Err(PARAMETER_NOT_SUPPORTED),
        }
        Ok(())
    }

    /// The system starts: valid flags are used, and used up unless they are persistent.
    pub fn on_system_start(&mut self) {
        let valid = self.flags[0] & VALID != 0;
        self.used_at_last_start = valid.then_some(self.flags);
        if self.flags[0] & PERSISTENT == 0 {
            self.flags[0] &= !VALID;
        }
        self.flags_set_at = None;
    }

    fn expire(&mut self, now: Instant) {
        let late = self
            .flags_set_at
            .is_some_and(|at| now.since(at) > FLAGS_LAST);
        if late && self.valid_bit_clearing & KEEP_AFTER_60_S == 0 && self.flags[0] & PERSISTENT == 0
        {
            self.flags[0] &= !VALID;
            self.flags_set_at = None;
        }
    }
}

const VALID: u8 = 0x80;
const PERSISTENT: u8 = 0x40;
/// Parameter 3, bit 3: the valid bit outlives 60 s without a chassis control command.
const KEEP_AFTER_60_S: u8 = 0x08;
const FLAGS_LAST: Duration = Duration::from_secs(60);
const PARAMETER_NOT_SUPPORTED: u8 = 0x80;
const SET_IN_PROGRESS: u8 = 0x81;
const LENGTH_INVALID: u8 = 0xC7;
const FIELD_INVALID: u8 = 0xCC;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn flags_for_one_start_are_used_up_by_it_and_persistent_ones_stay() {
        for (first, left) in [(0xA0, 0x20), (0xE0, 0xE0)] {
            let mut boot = BootOptions::default();
            boot.set(5, &[first, 0x04, 0, 0, 0], at(0)).unwrap();
            boot.on_system_start();
            assert_eq!(boot.used_at_last_start, Some([first, 0x04, 0, 0, 0]));
            assert_eq!(boot.get(5, at(1)).unwrap()[0], left);
        }
    }

    #[test]
    fn flags_lapse_after_a_minute_unless_told_otherwise() {
        let mut boot = BootOptions::default();
        boot.set(5, &[0x80, 0x04, 0, 0, 0], at(0)).unwrap();
        assert_eq!(boot.get(5, at(60)).unwrap()[0], 0x80);
        assert_eq!(boot.get(5, at(61)).unwrap()[0], 0x00);
        boot.set(3, &[0x08], at(100)).unwrap();
        boot.set(5, &[0x80, 0x04, 0, 0, 0], at(100)).unwrap();
        assert_eq!(boot.get(5, at(1000)).unwrap()[0], 0x80);
    }

    #[test]
    fn a_second_writer_is_told_that_one_is_writing() {
        let mut boot = BootOptions::default();
        assert_eq!(boot.set(0, &[1], at(0)), Ok(()));
        assert_eq!(boot.set(0, &[1], at(0)), Err(0x81));
        assert_eq!(boot.set(0, &[0], at(0)), Ok(()));
        assert_eq!(boot.set(96, &[1], at(0)), Err(0x80));
    }
}
