//! Network function Chassis: power, identification, boot options (IPMI v2.0 rev 1.1 §28).

use super::{Asker, FIELD_INVALID, INVALID_COMMAND, LENGTH_INVALID, Reply};
use crate::sim::BootMood;
use crate::sim::bmc::Bmc;
use crate::sim::host::{By, ChassisOrder, Identify, RestorePolicy};
use crate::sim::wire::Request;
use crate::time::Instant;
use std::time::Duration;

const CAPABILITIES: (u8, u8) = (0x00, 0x00);
const STATUS: (u8, u8) = (0x00, 0x01);
pub(super) const CONTROL: (u8, u8) = (0x00, 0x02);
pub(super) const IDENTIFY: (u8, u8) = (0x00, 0x04);
pub(super) const SET_RESTORE_POLICY: (u8, u8) = (0x00, 0x06);
const RESTART_CAUSE: (u8, u8) = (0x00, 0x07);
pub(super) const SET_BOOT_OPTIONS: (u8, u8) = (0x00, 0x08);
pub(super) const GET_BOOT_OPTIONS: (u8, u8) = (0x00, 0x09);
const POWER_ON_HOURS: (u8, u8) = (0x00, 0x0F);

pub(super) fn answer(bmc: &mut Bmc, asker: &Asker, request: &Request<'_>, now: Instant) -> Reply {
    let data = request.data;
    match (request.net_fn, request.command) {
        // §28.1: a diagnostic interrupt and a front panel lock-out there is; all devices are the
        // BMC.
        CAPABILITIES => Ok(vec![0x04, 0x20, 0x20, 0x20, 0x20, 0x20]),
        STATUS => Ok(status(bmc, now)),
        CONTROL => {
            let &[order] = data else {
                return Err(LENGTH_INVALID);
            };
            let order = ChassisOrder::by_number(order & 0x0F).ok_or(FIELD_INVALID)?;
            let by = By::Console(asker.from);
            let session = asker.session.and_then(|id| bmc.sessions.open.get_mut(&id));
            if let (ChassisOrder::Reset | ChassisOrder::Cycle, Some(session)) = (order, session) {
                session.reset_ordered = true;
            }
            bmc.host
                .execute(order, by, &mut bmc.mood, now)
                .map(|_effect| Vec::new())
        }
        IDENTIFY => identify(bmc, data, now),
        SET_RESTORE_POLICY => set_restore_policy(bmc, data),
        // §28.11: the cause, and the channel that it came over.
        RESTART_CAUSE => Ok(vec![bmc.host.restart_cause & 0x0F, 0x01]),
        SET_BOOT_OPTIONS => {
            let (selector, rest) = data.split_first().ok_or(LENGTH_INVALID)?;
            let mut flags = rest.to_vec();
            if let (0x05, [how, device, ..]) = (selector & 0x7F, flags.as_mut_slice()) {
                match bmc.mood.boot {
                    BootMood::Kept => {}
                    BootMood::OtherDevice(selector) => *device = *device & !0x3C | selector << 2,
                    BootMood::Forgotten => *how = 0,
                    BootMood::OnceOnly => *how &= !0x40,
                }
            }
            bmc.host.boot.set(selector & 0x7F, &flags, now)?;
            Ok(Vec::new())
        }
        GET_BOOT_OPTIONS => {
            let &[selector, _set, _block] = data else {
                return Err(LENGTH_INVALID);
            };
            // 80h: no such parameter. 01h: version of the parameters.
            let parameter = bmc.host.boot.get(selector & 0x7F, now).ok_or(0x80)?;
            let mut reply = vec![0x01, selector & 0x7F];
            reply.extend(parameter);
            Ok(reply)
        }
        // §28.14: counts of one minute each.
        POWER_ON_HOURS => {
            let minutes = bmc.host.time_on(now).as_secs() / 60;
            let mut reply = vec![0x01];
            reply.extend((minutes as u32).to_le_bytes());
            Ok(reply)
        }
        _ => Err(INVALID_COMMAND),
    }
}

/// §28.2.
fn status(bmc: &Bmc, now: Instant) -> Vec<u8> {
    let host = &bmc.host;
    let policy = match host.restore_policy {
        RestorePolicy::StayOff => 0x00,
        RestorePolicy::Previous => 0x20,
        RestorePolicy::AlwaysOn => 0x40,
    };
    let light = match host.identify {
        Identify::Off => 0x00,
        Identify::Until(_) => 0x10,
        Identify::Indefinitely => 0x20,
    };
    let wrong = bmc.mood.wrong_reading == Some(bmc.counters().requests);
    let mut reply = vec![
        policy | u8::from(host.shows_on(&bmc.mood, now) != wrong),
        if host.on_by_command { 0x10 } else { 0x00 },
        // Identification is supported, and its state is said.
        0x40 | light,
        0x00,
    ];
    if bmc.mood.quirks.extra_status_byte {
        reply.push(0x00);
    }
    reply
}

/// §28.5.
fn identify(bmc: &mut Bmc, data: &[u8], now: Instant) -> Reply {
    let (seconds, force) = match data {
        [] => (15, 0),
        [seconds] => (*seconds, 0),
        [seconds, force] => (*seconds, *force),
        _ => return Err(LENGTH_INVALID),
    };
    bmc.host.identify = match (seconds, force & 0x01) {
        (_, 1) => Identify::Indefinitely,
        (0, _) => Identify::Off,
        (seconds, _) => Identify::Until(now + Duration::from_secs(u64::from(seconds))),
    };
    Ok(Vec::new())
}

/// §28.8.
fn set_restore_policy(bmc: &mut Bmc, data: &[u8]) -> Reply {
    let &[policy] = data else {
        return Err(LENGTH_INVALID);
    };
    if bmc.mood.keeps_policy {
        return Ok(vec![0x07]);
    }
    bmc.host.restore_policy = match policy & 0x07 {
        0 => RestorePolicy::StayOff,
        1 => RestorePolicy::Previous,
        2 => RestorePolicy::AlwaysOn,
        3 => bmc.host.restore_policy,
        _ => return Err(FIELD_INVALID),
    };
    // All three are supported.
    Ok(vec![0x07])
}
