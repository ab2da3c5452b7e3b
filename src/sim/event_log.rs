//! The system event log of a simulated machine (IPMI v2.0 rev 1.1 §31, records §32.1).
//!
//! Plain data: [`super::host`] adds to it, the storage commands read it.

use crate::time::Instant;

/// A log of 16-byte records.
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    records: Vec<(u16, [u8; 16])>,
    last_id: u16,
    reservation: u16,
    last_added: Option<Instant>,
    last_erased: Option<Instant>,
    /// When the erasing that is under way is over.
    erased_at: Option<Instant>,
    /// By how much each record's id is above that of the one before; 0 is one, too.
    pub id_step: u16,
    /// What the clock showed at the start, in seconds since 1970; set by Set SEL Time.
    pub clock_at_start: u32,
}

impl EventLog {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Seconds since 1970 at `now`.
    pub fn clock(&self, now: Instant) -> u32 {
        self.clock_at_start
            .wrapping_add(now.since_start().as_secs() as u32)
    }

    /// Sets the clock.
    pub fn set_clock(&mut self, to: u32, now: Instant) {
        self.clock_at_start = to.wrapping_sub(now.since_start().as_secs() as u32);
    }

    /// Adds a record; its id and, for system events, its time are filled in. The id.
    pub fn add(&mut self, mut record: [u8; 16], now: Instant) -> u16 {
        let step = self.id_step.max(1);
        self.last_id = match self.last_id.checked_add(step) {
            // 0000h and FFFFh mean the first and the last record.
            None | Some(0xFFFF) => 1,
            Some(id) => id,
        };
        record[..2].copy_from_slice(&self.last_id.to_le_bytes());
        if record[2] < 0xE0 {
            record[3..7].copy_from_slice(&self.clock(now).to_le_bytes());
        }
        if self.records.len() == CAPACITY {
            self.records.remove(0);
        }
        self.records.push((self.last_id, record));
        self.last_added = Some(now);
        self.last_id
    }

    /// What a diagnostic interrupt leaves: "front panel NMI" of the critical interrupt sensor, and
    /// "run-time critical stop" of the OS stop sensor (§42.2, sensor types 13h and 20h; generic
    /// event type 6Fh).
    pub fn log_nmi_crash(&mut self, now: Instant) {
        self.add(system_event(0x13, 0x04, 0x00), now);
        self.add(system_event(0x20, 0x05, 0x01), now);
    }

    /// That somebody pressed the power button (§42.2, sensor type 14h, offset 00h).
    pub(super) fn note_power_button(&mut self, now: Instant) {
        self.add(system_event(0x14, 0x07, 0x00), now);
    }

    /// That the mains were lost (§42.2, sensor type 09h, offset 04h).
    pub(super) fn note_lost_mains(&mut self, now: Instant) {
        self.add(system_event(0x09, 0x08, 0x04), now);
    }

    /// That the log was cleared: event logging disabled, log area cleared (§42.2, sensor type 10h,
    /// offset 02h).
    pub(super) fn note_clearing(&mut self, now: Instant) {
        self.add(system_event(0x10, 0x06, 0x02), now);
    }

    /// The record with this id (0000h the first, FFFFh the last) and the id of the next one (FFFFh:
    /// none).
    pub fn get(&self, id: u16) -> Option<(u16, [u8; 16])> {
        let place = match id {
            0x0000 => 0,
            0xFFFF => self.records.len().checked_sub(1)?,
            id => self.records.iter().position(|(have, _)| *have == id)?,
        };
        let (_, record) = self.records.get(place)?;
        let next = self.records.get(place + 1).map_or(0xFFFF, |(id, _)| *id);
        Some((next, *record))
    }

    /// Removes the record with this id; its id, or nothing where there is none.
    pub fn delete(&mut self, id: u16, now: Instant) -> Option<u16> {
        let (_, record) = self.get(id)?;
        let id = u16::from_le_bytes([record[0], record[1]]);
        self.records.retain(|(have, _)| *have != id);
        self.last_erased = Some(now);
        Some(id)
    }

    /// Removes all records.
    pub fn clear(&mut self, now: Instant) {
        self.records.clear();
        self.last_erased = Some(now);
    }

    /// Removes all records at `until`.
    pub fn begin_erasing(&mut self, until: Instant, now: Instant) {
        self.erased_at = Some(until);
        self.finish_erasing(now);
    }

    /// Removes all records where it is time.
    pub fn finish_erasing(&mut self, now: Instant) {
        if self.erased_at.take_if(|at| *at <= now).is_some() {
            self.clear(now);
        }
    }

    /// Whether it is being erased.
    pub fn is_erasing(&self) -> bool {
        self.erased_at.is_some()
    }

    /// A new reservation, which ends the earlier one.
    pub fn reserve(&mut self) -> u16 {
        self.reservation = self.reservation.wrapping_add(1).max(1);
        self.reservation
    }

    /// Whether `reservation` is the present one.
    pub fn is_reserved(&self, reservation: u16) -> bool {
        reservation != 0 && reservation == self.reservation
    }

    /// The data of Get SEL Info (§31.2).
    pub fn info(&self) -> Vec<u8> {
        let free = (CAPACITY - self.records.len()) * 16;
        let time = |at: Option<Instant>| at.map_or(0xFFFF_FFFF, |at| self.clock(at));
        let mut info = vec![0x51];
        info.extend((self.records.len() as u16).to_le_bytes());
        info.extend((free as u16).to_le_bytes());
        info.extend(time(self.last_added).to_le_bytes());
        info.extend(time(self.last_erased).to_le_bytes());
        // Delete and reserve are supported.
        info.push(0x0A);
        info
    }
}

/// A system event record by the BMC (generator 20h), asserted, without further data.
fn system_event(sensor_type: u8, sensor: u8, offset: u8) -> [u8; 16] {
    let mut record = [0; 16];
    record[2] = 0x02;
    record[7] = 0x20;
    record[9] = 0x04;
    record[10] = sensor_type;
    record[11] = sensor;
    record[12] = 0x6F;
    record[13] = offset;
    record[14] = 0xFF;
    record[15] = 0xFF;
    record
}

/// Records that fit; the oldest goes when one more comes.
const CAPACITY: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_crash_reads_as_the_tables_of_the_specification_say() {
        let mut log = EventLog {
            clock_at_start: 0x6000_0000,
            ..EventLog::default()
        };
        log.log_nmi_crash(Instant::after_start(Duration::from_secs(5)));
        let (next, first) = log.get(0).unwrap();
        assert_eq!(
            first,
            [
                0x01, 0x00, 0x02, // record 1, system event
                0x05, 0x00, 0x00, 0x60, // time, least significant byte first
                0x20, 0x00, 0x04, // from the BMC, event format of IPMI 2.0
                0x13, 0x04, 0x6F, 0x00, 0xFF,
                0xFF, // critical interrupt: front panel NMI, asserted
            ]
        );
        let (end, second) = log.get(next).unwrap();
        assert_eq!((end, second[10], second[13]), (0xFFFF, 0x20, 0x01));
        assert_eq!(log.get(0xFFFF), Some((0xFFFF, second)));
    }

    #[test]
    fn a_reservation_ends_with_the_next_one() {
        let mut log = EventLog::default();
        assert!(!log.is_reserved(0));
        let first = log.reserve();
        assert!(log.is_reserved(first));
        log.reserve();
        assert!(!log.is_reserved(first));
    }
}
