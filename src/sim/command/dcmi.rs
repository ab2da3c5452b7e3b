//! Group extension DCh: Data Center Manageability Interface 1.5, the reading of power (§6.6.1
//! there).

use super::{INVALID_COMMAND, LENGTH_INVALID, Reply};
use crate::sim::bmc::Bmc;
use crate::sim::wire::Request;
use crate::time::Instant;

const DCMI: u8 = 0xDC;
const CAPABILITIES: u8 = 0x01;
const POWER_READING: u8 = 0x02;

pub(super) fn answer(bmc: &Bmc, request: &Request<'_>, now: Instant) -> Reply {
    let (group, rest) = request.data.split_first().ok_or(LENGTH_INVALID)?;
    if *group != DCMI {
        return Err(INVALID_COMMAND);
    }
    match (request.command, rest) {
        // Parameter 1, version 1.5, revision 2: power management there is, and a LAN channel.
        (CAPABILITIES, [0x01]) => Ok(vec![DCMI, 0x01, 0x05, 0x02, 0x00, 0x01, 0x04]),
        (CAPABILITIES, [_]) => Err(super::FIELD_INVALID),
        (POWER_READING, [_mode, _attributes, _reserved]) => match &bmc.mood.power_reading {
            Some(reading) => Ok(reading.clone()),
            None => Ok(power_reading(bmc, now)),
        },
        (CAPABILITIES | POWER_READING, _) => Err(LENGTH_INVALID),
        _ => Err(INVALID_COMMAND),
    }
}

fn power_reading(bmc: &Bmc, now: Instant) -> Vec<u8> {
    let host = &bmc.host;
    // A machine that is off still feeds its BMC.
    let watts = if host.is_on() { host.watts } else { 9 };
    let mut reply = vec![DCMI];
    for reading in [watts, watts.min(9), host.watts, watts] {
        reply.extend(reading.to_le_bytes());
    }
    reply.extend(host.event_log.clock(now).to_le_bytes());
    // Over the last second; measurement is active.
    reply.extend(1000u32.to_le_bytes());
    reply.push(0x40);
    reply
}
