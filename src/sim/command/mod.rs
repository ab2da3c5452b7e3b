//! What the BMC does with a request: who may ask for what, copies, and the way to the room that
//! answers.
//!
//! Driven by [`super::plus`] and [`super::version15`], which have checked where the request comes
//! from.

mod app;
mod chassis;
mod dcmi;
mod storage;

use super::bmc::Bmc;
use super::mood::Repeated;
use super::settings::Privilege;
use super::wire::Request;
use crate::time::Instant;
use std::net::SocketAddr;

/// The data of a good response, or the completion code of a refusal.
pub(super) type Reply = Result<Vec<u8>, u8>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub from: SocketAddr,
    /// The BMC's id of the session, `None` outside of one.
    pub session: Option<u32>,
    /// The level that the session has now.
    pub privilege: Option<Privilege>,
}

impl Asker {
    /// Somebody without a session.
    pub(super) fn outside(from: SocketAddr) -> Self {
        Self {
            from,
            session: None,
            privilege: None,
        }
    }
}

/// Carries out a request: its completion code and data, or nothing where the BMC stays silent.
pub(super) fn execute(
    bmc: &mut Bmc,
    asker: &Asker,
    request: &Request<'_>,
    now: Instant,
) -> Option<(u8, Vec<u8>)> {
    if request.lun != 0 {
        return Some((INVALID_FOR_LUN, Vec::new()));
    }
    let key = (request.net_fn, request.command);
    let silent = match key {
        app::CHANNEL_AUTHENTICATION_CAPABILITIES => bmc.mood.ignores_capabilities,
        app::CHANNEL_CIPHER_SUITES => bmc.mood.ignores_cipher_suites,
        app::CLOSE_SESSION => {
            let reset = asker.session.and_then(|id| bmc.sessions.open.get(&id));
            let after_reset = reset.is_some_and(|session| session.reset_ordered);
            bmc.mood.ignores_close || after_reset && bmc.mood.quirks.silent_close_after_reset
        }
        app::SET_SESSION_PRIVILEGE => bmc.mood.quirks.no_set_privilege,
        _ => false,
    };
    if silent {
        if key == app::CLOSE_SESSION {
            // It does close, it only does not say so.
            let _ = app::answer(bmc, asker, request, now);
            asker.session.iter().for_each(|id| bmc.finish_closing(*id));
        }
        return None;
    }
    if let Some(code) = bmc
        .mood
        .take_command_refusal(request.net_fn, request.command)
    {
        return Some((code, Vec::new()));
    }
    if let Some(other) = &bmc.mood.other_answer
        && (other.net_fn, other.command) == key
    {
        return Some((0x00, other.data.clone()));
    }
    if let Some(code) = bmc.kept_from_ipmid(asker, key, now) {
        return Some((code, Vec::new()));
    }
    if request.net_fn == NET_FN_CHASSIS && asker.session.is_some() {
        let late = now + bmc.mood.chassis_delay;
        bmc.late_until = Some(bmc.late_until.map_or(late, |other| other.max(late)));
    }
    let not_ready = bmc.mood.not_ready.filter(|(until, _)| now < *until);
    let reply = may(asker, request).and_then(|()| match request.net_fn {
        NET_FN_CHASSIS if not_ready.is_some() => Err(not_ready.map_or(0, |(_, code)| code)),
        NET_FN_CHASSIS => chassis::answer(bmc, asker, request, now),
        NET_FN_APP => app::answer(bmc, asker, request, now),
        NET_FN_STORAGE => storage::answer(bmc, request, now),
        NET_FN_GROUP => dcmi::answer(bmc, request, now),
        _ => Err(INVALID_COMMAND),
    });
    Some(match reply {
        Ok(data) => (0x00, data),
        Err(code) => (code, Vec::new()),
    })
}

/// The same in a session, where a request may be the copy of an earlier one.
pub(super) fn execute_in_session(
    bmc: &mut Bmc,
    id: u32,
    from: SocketAddr,
    request: &Request<'_>,
    now: Instant,
) -> Option<(u8, Vec<u8>)> {
    bmc.follow_ups.clear();
    let session = bmc.sessions.open.get(&id)?;
    let key = (request.sequence, request.net_fn, request.command);
    let before = session.answered.iter().find(|(have, ..)| *have == key);
    let before = before.map(|(_, code, data)| (*code, data.clone()));
    let asker = Asker {
        from,
        session: Some(id),
        privilege: Some(session.privilege),
    };
    match (&before, bmc.mood.repeated) {
        (Some(_), Repeated::AnsweredAgain) => return before,
        (Some(_), Repeated::RefusedAsDuplicate) => return Some((DUPLICATE_REQUEST, Vec::new())),
        (Some(_), Repeated::Executed) | (None, _) => {}
    }
    bmc.counters_mut().requests += 1;
    let number = bmc.counters().requests;
    let refused = bmc.mood.refused_request;
    if let Some((_, code)) = refused.filter(|(refused, _)| *refused == number) {
        return Some((code, Vec::new()));
    }
    let lately = bmc.count_command(now);
    if bmc.mood.dies_above.is_some_and(|most| lately > most) {
        bmc.reboot_bmc(now);
        return None;
    }
    if bmc.mood.busy_above.is_some_and(|most| lately > most) {
        return Some((NODE_BUSY, Vec::new()));
    }
    let (code, data) = execute(bmc, &asker, request, now)?;
    if let Some(session) = bmc.sessions.open.get_mut(&id) {
        session.note(key, code, &data);
    }
    if before.is_none() && bmc.mood.loses_first_reply {
        bmc.finish_closing(id);
        return None;
    }
    Some((code, data))
}

/// Whether the asker's level is enough (appendix G): D4h where it is not.
fn may(asker: &Asker, request: &Request<'_>) -> Result<(), u8> {
    let key = (request.net_fn, request.command);
    if app::WITHOUT_SESSION.contains(&key) {
        return Ok(());
    }
    let needed = match key {
        app::SET_SESSION_PRIVILEGE | app::CLOSE_SESSION => Privilege::Callback,
        app::COLD_RESET | app::WARM_RESET => Privilege::Administrator,
        chassis::CONTROL
        | chassis::IDENTIFY
        | chassis::SET_RESTORE_POLICY
        | chassis::SET_BOOT_OPTIONS
        | chassis::GET_BOOT_OPTIONS
        | storage::ADD_ENTRY
        | storage::DELETE_ENTRY
        | storage::CLEAR
        | storage::SET_TIME => Privilege::Operator,
        _ => Privilege::User,
    };
    match asker.privilege {
        Some(has) if has >= needed => Ok(()),
        _ => Err(INSUFFICIENT_PRIVILEGE),
    }
}

const NET_FN_CHASSIS: u8 = 0x00;
const NET_FN_APP: u8 = 0x06;
const NET_FN_STORAGE: u8 = 0x0A;
const NET_FN_GROUP: u8 = 0x2C;

const INVALID_COMMAND: u8 = 0xC1;
const INVALID_FOR_LUN: u8 = 0xC2;
const RESERVATION_CANCELLED: u8 = 0xC5;
const LENGTH_INVALID: u8 = 0xC7;
const OUT_OF_RANGE: u8 = 0xC9;
const CANNOT_RETURN: u8 = 0xCA;
const NOT_PRESENT: u8 = 0xCB;
const FIELD_INVALID: u8 = 0xCC;
const DUPLICATE_REQUEST: u8 = 0xCF;
const NODE_BUSY: u8 = 0xC0;
pub(super) const INSUFFICIENT_PRIVILEGE: u8 = 0xD4;
