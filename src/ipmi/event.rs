//! System event log records (§32) in words, as far as the watcher of a machine needs them.

use super::command::get_system_restart_cause;

/// The length of a record.
pub const RECORD_LENGTH: usize = 16;

/// A record of the system event log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    pub id: u16,
    /// Its type: 02h system event, C0h to DFh OEM with a time, E0h to FFh OEM without.
    pub kind: u8,
    /// Bytes 4 to 16 as they came.
    body: [u8; 13],
}

/// A system event (type 02h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// When, by the BMC's clock (seconds since 1970; below 2000_0000h since the BMC started).
    pub timestamp: u32,
    /// Who reported it.
    pub generator: u16,
    /// Event message format, 04h.
    pub revision: u8,
    /// Sensor type.
    pub sensor_type: u8,
    /// Sensor number.
    pub sensor: u8,
    /// Whether the condition came rather than went.
    pub asserted: bool,
    /// Event/reading type, 7 bits: 01h threshold, 6Fh sensor-specific.
    pub event_type: u8,
    /// Event data 1 to 3; the low nibble of the first is the offset.
    pub data: [u8; 3],
}

/// What an entry tells of the machine, for those who watch what became of an order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sign {
    /// Nothing of that kind.
    None,
    /// A diagnostic interrupt was delivered.
    Interrupt,
    /// The system crashed: an OS stop, a fatal interrupt, or the watchdog taking action.
    Crash,
    /// The machine started, or its power went.
    Restart,
}

// Table 42-3: the sensor types that tell of crashes and restarts.
const POWER_UNIT: u8 = 0x09;
const BUTTON: u8 = 0x14;
const SYSTEM_FIRMWARE: u8 = 0x0F;
const SYSTEM_BOOT: u8 = 0x1D;
const OS_BOOT: u8 = 0x1F;
const CRITICAL_INTERRUPT: u8 = 0x13;
const OS_STOP: u8 = 0x20;
const WATCHDOG_2: u8 = 0x23;
const SENSOR_SPECIFIC: u8 = 0x6F;

impl Record {
    /// The record of its 16 bytes.
    pub fn decode(bytes: [u8; RECORD_LENGTH]) -> Self {
        let [low, high, kind, body @ ..] = bytes;
        Self {
            id: u16::from_le_bytes([low, high]),
            kind,
            body,
        }
    }

    /// Its 16 bytes.
    pub fn encode(&self) -> [u8; RECORD_LENGTH] {
        let mut bytes = [0; RECORD_LENGTH];
        bytes[..2].copy_from_slice(&self.id.to_le_bytes());
        bytes[2] = self.kind;
        bytes[3..].copy_from_slice(&self.body);
        bytes
    }

    /// The record of a system event.
    pub fn of_event(id: u16, event: Event) -> Self {
        let [t0, t1, t2, t3] = event.timestamp.to_le_bytes();
        let [g0, g1] = event.generator.to_le_bytes();
        // §32.1: bit 7 is set when a condition went.
        let direction = if event.asserted { 0 } else { 0x80 };
        let [d1, d2, d3] = event.data;
        Self {
            id,
            kind: 0x02,
            body: [
                t0,
                t1,
                t2,
                t3,
                g0,
                g1,
                event.revision,
                event.sensor_type,
                event.sensor,
                event.event_type & 0x7F | direction,
                d1,
                d2,
                d3,
            ],
        }
    }

    /// The system event, where it is one.
    pub fn event(&self) -> Option<Event> {
        if self.kind != 0x02 {
            return None;
        }
        let [
            t0,
            t1,
            t2,
            t3,
            g0,
            g1,
            revision,
            sensor_type,
            sensor,
            direction,
            d1,
            d2,
            d3,
        ] = self.body;
        Some(Event {
            timestamp: u32::from_le_bytes([t0, t1, t2, t3]),
            generator: u16::from_le_bytes([g0, g1]),
            revision,
            sensor_type,
            sensor,
            asserted: direction & 0x80 == 0,
            event_type: direction & 0x7F,
            data: [d1, d2, d3],
        })
    }

    /// When it was logged by the BMC's clock, 0 where the record has no time.
    pub fn timestamp(&self) -> u32 {
        // §32.3: these records have thirteen bytes of their maker's and no time.
        if self.kind >= 0xE0 {
            return 0;
        }
        let [t0, t1, t2, t3, ..] = self.body;
        u32::from_le_bytes([t0, t1, t2, t3])
    }

    /// What it tells of the machine.
    pub fn sign(&self) -> Sign {
        self.event().map_or(Sign::None, |event| event.sign())
    }

    /// Whether it names something else than a chassis control that restarts the machine or switches
    /// it off.
    pub fn is_by_other(&self) -> bool {
        self.event().is_some_and(|event| event.is_by_other())
    }

    /// What it says, in words.
    pub fn words(&self) -> String {
        match self.event() {
            Some(event) => event.words(),
            None => format!("OEM record {:02X}h", self.kind),
        }
    }
}

impl Event {
    /// The condition's offset, 0 to 15.
    pub fn offset(&self) -> u8 {
        self.data[0] & 0x0F
    }

    /// The sensor type and the offset of table 42-3 of a condition that came. The end of one is no
    /// news of a crash or a restart, and thresholds know of none.
    fn came(&self) -> Option<(u8, u8)> {
        let specific = self.asserted && self.event_type == SENSOR_SPECIFIC;
        specific.then(|| (self.sensor_type, self.offset()))
    }

    /// What it tells of the machine.
    pub fn sign(&self) -> Sign {
        let Some(came) = self.came() else {
            return Sign::None;
        };
        match came {
            // A front panel or software NMI is the interrupt itself, as the BMC writes it down.
            (CRITICAL_INTERRUPT, 0x00 | 0x03) => Sign::Interrupt,
            // Corrected errors and a degraded bus stop nobody.
            (CRITICAL_INTERRUPT, 0x07 | 0x0B) => Sign::None,
            (CRITICAL_INTERRUPT, _) => Sign::Crash,
            // From 2 on the system stopped or shut down by itself.
            (OS_STOP, 0x00 | 0x01) => Sign::Crash,
            // 0 is a watchdog that only expires; 8 is the interrupt before it acts.
            (WATCHDOG_2, 0x01..=0x03 | 0x08) => Sign::Crash,
            (POWER_UNIT, 0x00 | 0x01) => Sign::Restart,
            // 2 is the firmware's progress, which it makes when the machine starts.
            (SYSTEM_FIRMWARE, 0x02) => Sign::Restart,
            // 3 and 4 say from where to boot, and not that the machine did.
            (SYSTEM_BOOT, 0x00..=0x02 | 0x05..=0x07) => Sign::Restart,
            // From 7 on they tell of installations.
            (OS_BOOT, 0x00..=0x06) => Sign::Restart,
            _ => Sign::None,
        }
    }

    /// Whether it names something else than a chassis control that restarts the machine or switches
    /// it off.
    pub fn is_by_other(&self) -> bool {
        let Some(came) = self.came() else {
            return false;
        };
        match came {
            // The power of the whole machine: a module's or the mains' own.
            (POWER_UNIT, 0x02..=0x04) => true,
            (BUTTON, 0x00 | 0x02) => true,
            (SYSTEM_BOOT, 0x05 | 0x06) => true,
            // The second byte is the restart cause, where the first one says that it is there.
            (SYSTEM_BOOT, 0x07) if self.data[0] & 0xC0 == 0xC0 => {
                get_system_restart_cause::from_bits(self.data[1] & 0x0F).is_by_other()
            }
            // An operating system or an event filter that shuts it down.
            (OS_STOP, 0x02..=0x04) => true,
            (WATCHDOG_2, 0x01..=0x03) => true,
            _ => false,
        }
    }

    /// What it says, in words: `OS stop: run-time critical stop`.
    pub fn words(&self) -> String {
        let gone = if self.asserted { "" } else { " (over)" };
        let kind = sensor_type_words(self.sensor_type);
        let kind = match kind {
            Some(kind) => kind.to_string(),
            None => format!("sensor type {:02X}h", self.sensor_type),
        };
        let specific = match self.event_type {
            SENSOR_SPECIFIC => offset_words(self.sensor_type, self.offset()),
            _ => None,
        };
        match specific {
            Some(words) => format!("{kind}: {words}{gone}"),
            None => format!(
                "{kind}: event type {:02X}h offset {:X}h{gone}",
                self.event_type,
                self.offset()
            ),
        }
    }
}

/// Sensor types of table 42-3.
fn sensor_type_words(sensor_type: u8) -> Option<&'static str> {
    Some(match sensor_type {
        0x01 => "temperature",
        0x02 => "voltage",
        0x03 => "current",
        0x04 => "fan",
        0x05 => "physical security",
        0x06 => "platform security",
        0x07 => "processor",
        0x08 => "power supply",
        POWER_UNIT => "power unit",
        0x0C => "memory",
        0x0D => "drive slot",
        SYSTEM_FIRMWARE => "system firmware",
        0x10 => "event logging",
        0x11 => "watchdog 1",
        0x12 => "system event",
        CRITICAL_INTERRUPT => "critical interrupt",
        BUTTON => "button",
        0x19 => "chip set",
        SYSTEM_BOOT => "system boot",
        0x1E => "boot error",
        OS_BOOT => "OS boot",
        OS_STOP => "OS stop",
        0x21 => "slot or connector",
        0x22 => "ACPI power state",
        WATCHDOG_2 => "watchdog",
        0x28 => "management subsystem",
        0x29 => "battery",
        0x2B => "version change",
        _ => return None,
    })
}

/// Sensor-specific offsets of table 42-3, for the sensor types that matter to power and crashes.
fn offset_words(sensor_type: u8, offset: u8) -> Option<&'static str> {
    let words: &[&'static str] = match sensor_type {
        POWER_UNIT => &[
            "power off or down",
            "power cycle",
            "240 VA power down",
            "interlock power down",
            "mains power lost",
            "soft power control failure",
            "power unit failure",
            "predictive failure",
        ],
        CRITICAL_INTERRUPT => &[
            "front panel NMI or diagnostic interrupt",
            "bus timeout",
            "I/O channel check NMI",
            "software NMI",
            "PCI parity error",
            "PCI system error",
            "EISA fail-safe timeout",
            "bus correctable error",
            "bus uncorrectable error",
            "fatal NMI",
            "bus fatal error",
            "bus degraded",
        ],
        BUTTON => &[
            "power button pressed",
            "sleep button pressed",
            "reset button pressed",
        ],
        SYSTEM_BOOT => &[
            "power-up",
            "hard reset",
            "warm reset",
            "user-requested network boot",
            "automatic boot to diagnostics",
            "OS-initiated hard reset",
            "OS-initiated warm reset",
            "restart",
        ],
        OS_STOP => &[
            "critical stop during start-up",
            "run-time critical stop",
            "OS graceful stop",
            "OS graceful shutdown",
            "soft shutdown by a platform event filter",
            "agent not responding",
        ],
        0x22 => &[
            "S0, working",
            "S1",
            "S2",
            "S3",
            "S4",
            "S5, soft off",
            "S4 or S5",
            "G3, mechanically off",
        ],
        WATCHDOG_2 => &[
            "expired, no action",
            "hard reset",
            "power down",
            "power cycle",
            "reserved",
            "reserved",
            "reserved",
            "reserved",
            "pre-timeout interrupt",
        ],
        _ => return None,
    };
    words.get(usize::from(offset)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 32-1: an OS stop as Linux' ipmi_msghandler logs it on a panic.
    const PANIC: [u8; 16] = [
        0x2A, 0x00, 0x02, // record 42, system event
        0x78, 0x56, 0x34, 0x52, // time
        0x41, 0x00, 0x03, // from system software, message revision of IPMI 1.0
        0x20, 0x73, 0x6F, // OS stop, sensor 73h, asserted, sensor-specific
        0xA1, b'f', b'o', // run-time critical stop, OEM bytes
    ];

    #[test]
    fn a_panic_is_a_crash_and_is_said_in_words() {
        let record = Record::decode(PANIC);
        assert_eq!(record.id, 42);
        assert_eq!(record.timestamp(), 0x5234_5678);
        assert_eq!(record.words(), "OS stop: run-time critical stop");
        assert!(record.sign() == Sign::Crash);
        assert_eq!(record.encode(), PANIC);
        assert_eq!(Record::of_event(42, record.event().unwrap()), record);
    }

    #[test]
    fn an_nmi_is_an_interrupt_a_watchdog_a_crash_and_a_graceful_shutdown_neither() {
        let with = |sensor_type, offset| {
            let mut bytes = PANIC;
            bytes[10] = sensor_type;
            bytes[13] = offset;
            Record::decode(bytes)
        };
        assert_eq!(with(0x13, 0x03).words(), "critical interrupt: software NMI");
        assert_eq!(with(0x23, 0x01).words(), "watchdog: hard reset");
        for (sensor_type, offset, sign) in [
            (0x13, 0x00, Sign::Interrupt),
            (0x13, 0x03, Sign::Interrupt),
            (0x13, 0x07, Sign::None),
            (0x13, 0x09, Sign::Crash),
            (0x20, 0x01, Sign::Crash),
            (0x23, 0x03, Sign::Crash),
            (0x1D, 0x01, Sign::Restart),
            (0x1F, 0x01, Sign::Restart),
            (0x09, 0x00, Sign::Restart),
            (0x20, 0x03, Sign::None),
            (0x04, 0x01, Sign::None),
        ] {
            let told = with(sensor_type, offset).sign();
            assert_eq!(told, sign, "{sensor_type:02X}h {offset:02X}h");
        }
    }

    #[test]
    fn who_restarted_the_machine_is_read_where_an_entry_names_it() {
        let with = |sensor_type, data: [u8; 2]| {
            let mut bytes = PANIC;
            bytes[10] = sensor_type;
            bytes[13..15].copy_from_slice(&data);
            Record::decode(bytes)
        };
        for (sensor_type, data, by_other) in [
            (0x09, [0x00, 0xFF], false),
            (0x09, [0x04, 0xFF], true),
            (0x14, [0x00, 0xFF], true),
            // The sleep button.
            (0x14, [0x01, 0xFF], false),
            (0x14, [0x02, 0xFF], true),
            (0x1D, [0x01, 0xFF], false),
            (0x1D, [0x05, 0xFF], true),
            (0x1D, [0x06, 0xFF], true),
            // "Restart" by a chassis control, by a watchdog (its upper half is reserved), and with a
            // byte that means something else.
            (0x1D, [0xC7, 0x01], false),
            (0x1D, [0xC7, 0xF4], true),
            (0x1D, [0x07, 0x04], false),
            (0x1D, [0x87, 0x04], false),
            (0x20, [0x01, 0xFF], false),
            (0x20, [0x03, 0xFF], true),
            (0x23, [0x00, 0xFF], false),
            (0x23, [0x03, 0xFF], true),
            (0x23, [0x08, 0xFF], false),
        ] {
            let record = with(sensor_type, data);
            assert_eq!(
                record.is_by_other(),
                by_other,
                "{sensor_type:02X}h {data:02X?}"
            );
        }
        let mut over = PANIC;
        over[10] = 0x23;
        over[12] |= 0x80;
        assert!(!Record::decode(over).is_by_other());
    }

    #[test]
    fn a_condition_that_went_and_an_oem_record_are_no_crash() {
        let mut bytes = PANIC;
        bytes[12] |= 0x80;
        let record = Record::decode(bytes);
        assert_eq!(record.sign(), Sign::None);
        assert!(record.words().ends_with("(over)"));
        bytes[2] = 0xE0;
        let record = Record::decode(bytes);
        assert_eq!(
            (record.timestamp(), record.words().as_str()),
            (0, "OEM record E0h")
        );
    }
}
