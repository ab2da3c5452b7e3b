//! Network function App: identity, channels, sessions (IPMI v2.0 rev 1.1 §20, §22).

use super::{
    Asker, FIELD_INVALID, INVALID_COMMAND, LENGTH_INVALID, NOT_PRESENT, OUT_OF_RANGE, Reply,
};
use crate::sim::bmc::Bmc;
use crate::sim::crypto::Suite;
use crate::sim::satellite::{self, Lost, SEND_MESSAGE};
use crate::sim::session::Sealing;
use crate::sim::settings::Privilege;
use crate::sim::wire::{Reader, Request};
use crate::time::Instant;
use std::net::IpAddr;

pub(super) const DEVICE_ID: (u8, u8) = (0x06, 0x01);
pub(super) const COLD_RESET: (u8, u8) = (0x06, 0x02);
pub(super) const WARM_RESET: (u8, u8) = (0x06, 0x03);
const SELF_TEST: (u8, u8) = (0x06, 0x04);
const ACPI_POWER_STATE: (u8, u8) = (0x06, 0x07);
const DEVICE_GUID: (u8, u8) = (0x06, 0x08);
const SYSTEM_GUID: (u8, u8) = (0x06, 0x37);
pub(super) const CHANNEL_AUTHENTICATION_CAPABILITIES: (u8, u8) = (0x06, 0x38);
const SESSION_CHALLENGE: (u8, u8) = (0x06, 0x39);
pub(super) const SET_SESSION_PRIVILEGE: (u8, u8) = (0x06, 0x3B);
pub(super) const CLOSE_SESSION: (u8, u8) = (0x06, 0x3C);
const SESSION_INFO: (u8, u8) = (0x06, 0x3D);
const CHANNEL_INFO: (u8, u8) = (0x06, 0x42);
pub(super) const CHANNEL_CIPHER_SUITES: (u8, u8) = (0x06, 0x54);

/// What is answered outside a session too (appendix G: "p" and "b").
pub(super) const WITHOUT_SESSION: [(u8, u8); 4] = [
    SYSTEM_GUID,
    CHANNEL_AUTHENTICATION_CAPABILITIES,
    SESSION_CHALLENGE,
    CHANNEL_CIPHER_SUITES,
];

pub(super) fn answer(bmc: &mut Bmc, asker: &Asker, request: &Request<'_>, now: Instant) -> Reply {
    let data = request.data;
    match (request.net_fn, request.command) {
        DEVICE_ID => Ok(device_id(bmc)),
        COLD_RESET => {
            bmc.reset_due = Some(bmc.mood.reset_takes);
            Ok(Vec::new())
        }
        WARM_RESET => {
            // Firmware alone starts anew, which is quicker.
            bmc.reset_due = Some(bmc.mood.reset_takes / 4);
            Ok(Vec::new())
        }
        // 55h: no error.
        SELF_TEST => Ok(vec![0x55, 0x00]),
        ACPI_POWER_STATE => Ok(acpi_power_state(bmc, now)),
        DEVICE_GUID | SYSTEM_GUID => Ok(bmc.guid().to_vec()),
        CHANNEL_AUTHENTICATION_CAPABILITIES => capabilities(bmc, data),
        SESSION_CHALLENGE => bmc.session_challenge(data, now),
        SET_SESSION_PRIVILEGE => set_session_privilege(bmc, asker, data),
        CLOSE_SESSION => close_session(bmc, asker, data),
        SESSION_INFO => session_info(bmc, asker, data),
        CHANNEL_INFO => channel_info(bmc, data),
        CHANNEL_CIPHER_SUITES => cipher_suites(bmc, data),
        SEND_MESSAGE => send_message(bmc, request),
        _ => Err(INVALID_COMMAND),
    }
}

/// §22.7: passed on at once, and what comes back follows the reply.
fn send_message(bmc: &mut Bmc, request: &Request<'_>) -> Reply {
    let answers =
        satellite::pass_on(&bmc.settings.satellites, request.data).map_err(|lost| match lost {
            Lost::Broken => FIELD_INVALID,
            Lost::Nobody => satellite::NAK_ON_WRITE,
        })?;
    let mut back: Vec<Vec<u8>> = answers
        .iter()
        .map(|answer| answer.returned(request))
        .collect();
    // Some firmware has the last answer in its reply instead.
    if bmc.mood.quirks.bridged_answer_inside {
        return Ok(back.pop().unwrap_or_default());
    }
    bmc.follow_ups = back;
    Ok(Vec::new())
}

/// §20.1.
fn device_id(bmc: &Bmc) -> Vec<u8> {
    let settings = &bmc.settings;
    let (major, minor) = settings.firmware;
    let unavailable = if bmc.mood.says_unavailable { 0x80 } else { 0 };
    let mut reply = vec![
        0x20,
        0x01,
        major & 0x7F | unavailable,
        ((minor / 10 % 10) << 4) | (minor % 10),
        0x02,
        // Chassis device and system event log.
        0x84,
    ];
    reply.extend(&settings.manufacturer.to_le_bytes()[..3]);
    reply.extend(settings.product.to_le_bytes());
    reply
}

/// §20.6: S0 or S5, D0 or D3.
fn acpi_power_state(bmc: &Bmc, now: Instant) -> Vec<u8> {
    match bmc.host.shows_on(&bmc.mood, now) {
        true => vec![0x00, 0x00],
        false => vec![0x05, 0x03],
    }
}

/// §22.13.
fn capabilities(bmc: &Bmc, data: &[u8]) -> Reply {
    let &[channel, level] = data else {
        return Err(LENGTH_INVALID);
    };
    let extended = channel & 0x80 != 0;
    if extended && bmc.mood.quirks.refuses_extended_capabilities {
        return Err(FIELD_INVALID);
    }
    is_our_channel(channel)?;
    Privilege::by_number(level & 0x0F).ok_or(FIELD_INVALID)?;
    let settings = &bmc.settings;
    let mut kinds = 0;
    if settings.offers_v15 {
        kinds = bmc
            .kinds_15()
            .iter()
            .fold(0, |bits, kind| bits | 1 << (kind & 0x07));
    }
    let mut status = 0;
    if settings
        .users
        .iter()
        .any(|user| user.enabled && !user.name.is_empty())
    {
        status |= 0x04;
    }
    for user in settings
        .users
        .iter()
        .filter(|user| user.enabled && user.name.is_empty())
    {
        // Null user names, and where the password is null too, anonymous log-in.
        status |= if user.password.is_empty() { 0x01 } else { 0x02 };
    }
    if !bmc.per_message_15() {
        status |= 0x10;
    }
    let mut versions = 0;
    if extended {
        if settings.offers_v20 {
            kinds |= 0x80;
            versions |= 0x02;
            status |= if settings.key().is_some() { 0x20 } else { 0x00 };
        }
        versions |= u8::from(settings.offers_v15);
    }
    if bmc.mood.quirks.empty_capabilities {
        (kinds, status) = (kinds & 0x80, status & !0x07);
    }
    Ok(vec![CHANNEL, kinds, status, versions, 0, 0, 0, 0])
}

/// §22.15.
fn cipher_suites(bmc: &Bmc, data: &[u8]) -> Reply {
    let &[channel, _payload_type, index] = data else {
        return Err(LENGTH_INVALID);
    };
    is_our_channel(channel)?;
    let only = bmc.mood.openbmc.only_suite;
    let suites = bmc
        .settings
        .suites
        .iter()
        .filter(|id| only.is_none_or(|only| only == **id))
        .filter_map(|id| Suite::by_id(*id));
    let mut records = Vec::new();
    if index & 0x80 != 0 {
        for suite in suites {
            let algorithms = [
                suite.authentication.number(),
                0x40 | suite.integrity.number(),
                0x80 | suite.confidentiality.number(),
            ];
            let short = bmc.mood.quirks.short_cipher_records;
            records.extend([0xC0, suite.id]);
            records.extend(
                (algorithms.iter().enumerate())
                    .filter(|(place, tagged)| !short || *place == 0 || **tagged & 0x3F != 0)
                    .map(|(_, tagged)| *tagged),
            );
        }
    } else {
        // The algorithms alone, each once.
        let mut algorithms: Vec<u8> = suites
            .flat_map(|suite| {
                [
                    suite.authentication.number(),
                    0x40 | suite.integrity.number(),
                    0x80 | suite.confidentiality.number(),
                ]
            })
            .collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        records = algorithms;
    }
    let mut reply = vec![CHANNEL];
    let from = usize::from(index & 0x3F) * 16;
    reply.extend(records.iter().skip(from).take(16));
    Ok(reply)
}

/// §22.18.
fn set_session_privilege(bmc: &mut Bmc, asker: &Asker, data: &[u8]) -> Reply {
    let &[level] = data else {
        return Err(LENGTH_INVALID);
    };
    let session = (asker.session)
        .and_then(|id| bmc.sessions.open.get_mut(&id))
        .ok_or(FIELD_INVALID)?;
    match level & 0x0F {
        0 => {}
        number => {
            let level = (Privilege::by_number(number))
                .filter(|level| *level > Privilege::Callback)
                .ok_or(FIELD_INVALID)?;
            let refused = level > Privilege::User && bmc.mood.level_refusals > 0;
            if refused {
                bmc.mood.level_refusals -= 1;
            }
            if refused || level > session.limit {
                // 81h: exceeds the limit of the user or channel.
                return Err(0x81);
            }
            session.privilege = level;
        }
    }
    Ok(vec![session.privilege.number()])
}

/// §22.19.
fn close_session(bmc: &mut Bmc, asker: &Asker, data: &[u8]) -> Reply {
    let mut reader = Reader::new(data);
    let id = reader.double().ok_or(LENGTH_INVALID)?;
    let id = match (id, reader.byte()) {
        (0, Some(handle)) => (bmc.sessions.open.iter())
            .find(|(_, session)| session.handle == handle)
            .map(|(id, _)| *id)
            .ok_or(0x88)?,
        (id, _) => id,
    };
    let own = asker.session == Some(id);
    if !own && asker.privilege < Some(Privilege::Administrator) {
        return Err(super::INSUFFICIENT_PRIVILEGE);
    }
    // 87h: no such session id.
    let session = bmc.sessions.open.get_mut(&id).ok_or(0x87)?;
    session.closing = true;
    if !own {
        bmc.finish_closing(id);
    }
    Ok(Vec::new())
}

/// §22.20.
fn session_info(bmc: &Bmc, asker: &Asker, data: &[u8]) -> Reply {
    let mut reader = Reader::new(data);
    let index = reader.byte().ok_or(LENGTH_INVALID)?;
    let open = &bmc.sessions.open;
    let found = match index {
        0x00 => asker.session.and_then(|id| open.get(&id)),
        0xFE => {
            let handle = reader.byte().ok_or(LENGTH_INVALID)?;
            let by_handle = open.values().find(|session| session.handle == handle);
            Some(by_handle.ok_or(NOT_PRESENT)?)
        }
        0xFF => {
            let id = reader.double().ok_or(LENGTH_INVALID)?;
            Some(open.get(&id).ok_or(NOT_PRESENT)?)
        }
        nth => open.values().nth(usize::from(nth) - 1),
    };
    let limit = bmc.settings.session_limit.min(0x3F) as u8;
    let mut reply = vec![
        found.map_or(0, |session| session.handle),
        limit,
        open.len().min(0x3F) as u8,
    ];
    if let Some(session) = found {
        let protocol = match session.sealing {
            Sealing::Plus { .. } => 0x10,
            Sealing::Version15 { .. } => 0x00,
        };
        reply.extend([
            session.user as u8 + 2,
            session.privilege.number(),
            protocol | CHANNEL,
        ]);
        match session.peer.ip() {
            IpAddr::V4(ip) => reply.extend(ip.octets()),
            // The field has room for IPv4 alone.
            IpAddr::V6(_) => reply.extend([0; 4]),
        }
        reply.extend([0; 6]);
        reply.extend(session.peer.port().to_le_bytes());
    }
    Ok(reply)
}

/// §22.24: an 802.3 LAN with sessions, IPMB protocol.
fn channel_info(bmc: &Bmc, data: &[u8]) -> Reply {
    let &[channel] = data else {
        return Err(LENGTH_INVALID);
    };
    is_our_channel(channel)?;
    let open = bmc.sessions.open.len().min(0x3F) as u8;
    // 1BF2h: the IPMI forum's enterprise number 7154.
    Ok(vec![
        CHANNEL,
        0x04,
        0x01,
        0x80 | open,
        0xF2,
        0x1B,
        0x00,
        0x00,
        0x00,
    ])
}

/// Channel 1, or 0Eh, "this channel".
fn is_our_channel(channel: u8) -> Result<(), u8> {
    match channel & 0x0F {
        0x0E | CHANNEL => Ok(()),
        0x00..=0x0B | 0x0F => Err(OUT_OF_RANGE),
        _ => Err(FIELD_INVALID),
    }
}

const CHANNEL: u8 = 0x01;
