//! RMCP+ on the BMC's side: Open Session, RAKP 1 to 4, and the packets of a session
//! (IPMI v2.0 rev 1.1 §13.15 to §13.33).
//!
//! Driven by [`Bmc::handle_datagram`].

use super::bmc::Bmc;
use super::command::{self, Asker};
use super::crypto::{self, Confidentiality, Integrity, Suite};
use super::session::{Challenge, HalfOpen, Sealing, Session, Window};
use super::settings::Privilege;
use super::wire::{self, PacketPlus, Reader};
use crate::time::Instant;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Why a step of the set-up is refused: a status code of table 13-15.
type Status = u8;

impl Bmc {
    pub(super) fn on_plus(&mut self, from: SocketAddr, packet: &PacketPlus<'_>, now: Instant) {
        if !self.settings.offers_v20 {
            return self.drop_packet();
        }
        if packet.session_id != 0 {
            return self.on_sealed(from, packet, now);
        }
        if packet.encrypted || packet.authenticated {
            return self.drop_packet();
        }
        let (reply_type, reply) = match packet.payload_type {
            OPEN_SESSION => (OPEN_SESSION + 1, self.on_open_session(packet.payload, now)),
            RAKP_1 => (RAKP_1 + 1, self.on_rakp_1(packet.payload, now)),
            RAKP_3 => (RAKP_3 + 1, self.on_rakp_3(from, packet.payload, now)),
            IPMI => (IPMI, self.on_unsealed_request(from, packet.payload, now)),
            _ => return self.drop_packet(),
        };
        match reply {
            Some(reply) => {
                let inner = wire::write_plus_inner(0, reply_type, 0, 0, &reply);
                self.send(from, wire::with_rmcp(&inner), now);
            }
            None => self.drop_packet(),
        }
    }

    fn on_unsealed_request(
        &mut self,
        from: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) -> Option<Vec<u8>> {
        let request = wire::read_request(payload)?;
        let asker = Asker::outside(from);
        let (code, data) = command::execute(self, &asker, &request, now)?;
        Some(self.response(&request, code, &data))
    }

    fn on_open_session(&mut self, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        self.counters_mut().open_requests += 1;
        let mut reader = Reader::new(payload);
        let tag = reader.byte()?;
        let level = reader.byte()? & 0x0F;
        reader.take(2)?;
        let console_id = reader.double()?;
        let opened = self.open_session(level, console_id, reader, now);
        let (id, suite, highest) = match opened {
            Ok((_, suite, _)) if self.mood.quirks.silent_suite == Some(suite.id) => return None,
            Ok(opened) => opened,
            Err(status) => return Some(self.refuse_set_up(tag, console_id, status)),
        };
        let mut reply = vec![self.tag(tag), 0x00, highest.number(), 0];
        reply.extend(console_id.to_le_bytes());
        reply.extend(id.to_le_bytes());
        for (kind, number) in [
            (0, suite.authentication.number()),
            (1, suite.integrity.number()),
            (2, suite.confidentiality.number()),
        ] {
            reply.extend([kind, 0, 0, 8, number, 0, 0, 0]);
        }
        Some(reply)
    }

    fn open_session(
        &mut self,
        level: u8,
        console_id: u32,
        mut reader: Reader<'_>,
        now: Instant,
    ) -> Result<(u32, Suite, Privilege), Status> {
        if let Some(status) = self.mood.session_table_full {
            return Err(status);
        }
        if console_id == 0 {
            return Err(ILLEGAL_PARAMETER);
        }
        let mut asked = [None; 3];
        for (place, (kind, bad_block)) in [(0, 0x06), (1, 0x07), (2, ILLEGAL_PARAMETER)]
            .into_iter()
            .enumerate()
        {
            let block: [u8; 8] = reader.array().ok_or(ILLEGAL_PARAMETER)?;
            asked[place] = match block {
                [have, _, _, 0, ..] if have == kind => None,
                [have, _, _, 8, number, ..] if have == kind => Some(number & 0x3F),
                _ => return Err(bad_block),
            };
        }
        // A number that no suite of ours has is refused as that number, a mixture as "no suite".
        for (number, most, status) in [
            (asked[0], 3, INVALID_AUTHENTICATION),
            (asked[1], 4, INVALID_INTEGRITY),
            (asked[2], 1, INVALID_CONFIDENTIALITY),
        ] {
            if number.is_some_and(|number| number > most) {
                return Err(status);
            }
        }
        let fits = |have: u8, asked: Option<u8>| asked.is_none_or(|asked| asked == have);
        let only = self.mood.openbmc.only_suite;
        let suite = (self.settings.suites.iter())
            .filter_map(|id| Suite::by_id(*id))
            .filter(|suite| only.is_none_or(|only| only == suite.id))
            .filter(|suite| {
                fits(suite.authentication.number(), asked[0])
                    && fits(suite.integrity.number(), asked[1])
                    && fits(suite.confidentiality.number(), asked[2])
            })
            // With a blank in the request the strongest suite is ours to choose.
            .max_by_key(|suite| (suite.confidentiality.number(), suite.integrity.number()))
            .ok_or(NO_SUITE)?;
        let highest = match level {
            0 => self.settings.channel_limit,
            level if self.mood.quirks.unchecked_open_level => {
                Privilege::by_number(level).unwrap_or(self.settings.channel_limit)
            }
            level => Privilege::by_number(level)
                .filter(|level| *level <= self.settings.channel_limit)
                .ok_or(INVALID_ROLE)?,
        };
        if !self.forgets_in_time() {
            self.forget_sessions_too_old(now);
        }
        if self.sessions.taken() >= self.session_limit() {
            return Err(NO_RESOURCES);
        }
        let id = self.fresh_session_id();
        self.sessions.half_open.insert(
            id,
            HalfOpen {
                console_id,
                suite,
                open_level: level,
                since: now,
                challenge: None,
            },
        );
        Ok((id, suite, highest))
    }

    fn on_rakp_1(&mut self, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        let mut reader = Reader::new(payload);
        let tag = reader.byte()?;
        reader.take(3)?;
        let id = reader.double()?;
        if self.mood.quirks.answers_copies_of_rakp
            && let Some(session) = self.sessions.open.get_mut(&id)
        {
            session.privilege = session.privilege.min(Privilege::User);
            return None;
        }
        let Some(log_in) = self.sessions.half_open.get(&id).cloned() else {
            return Some(self.refuse_set_up(tag, 0, INVALID_SESSION_ID));
        };
        let console_id = log_in.console_id;
        match self.rakp_1(&log_in, reader, now) {
            Ok(challenge) => {
                let code = self.rakp_2_code(id, &log_in, &challenge);
                let mut reply = vec![self.tag(tag), 0x00, 0, 0];
                reply.extend(console_id.to_le_bytes());
                reply.extend(challenge.bmc_random);
                reply.extend(self.guid());
                reply.extend(code);
                let log_in = HalfOpen {
                    since: now,
                    challenge: Some(challenge),
                    ..log_in
                };
                self.sessions.half_open.insert(id, log_in);
                Some(reply)
            }
            Err(status) => {
                self.sessions.half_open.remove(&id);
                Some(self.refuse_set_up(tag, console_id, status))
            }
        }
    }

    fn rakp_1(
        &mut self,
        log_in: &HalfOpen,
        mut reader: Reader<'_>,
        now: Instant,
    ) -> Result<Challenge, Status> {
        let console_random = reader.array().ok_or(ILLEGAL_PARAMETER)?;
        let role = reader.byte().ok_or(ILLEGAL_PARAMETER)?;
        reader.take(2).ok_or(ILLEGAL_PARAMETER)?;
        let length = reader.byte().ok_or(ILLEGAL_PARAMETER)?;
        let name = (reader.take(usize::from(length)).filter(|_| length <= 16))
            .ok_or(INVALID_NAME_LENGTH)?;
        let quirks = self.mood.quirks;
        if quirks.padded_user_names && length != 16 {
            return Err(INVALID_NAME_LENGTH);
        }
        if quirks.user_field_16 && usize::from(length) + reader.rest().len() != 16 {
            return Err(ILLEGAL_PARAMETER);
        }
        if quirks.no_name_only_lookup && role & NAME_ONLY != 0 {
            return Err(INVALID_ROLE);
        }
        let user = self.find_user(name, role)?;
        if self.is_locked_out(user, now) {
            return Err(UNAUTHORISED_NAME);
        }
        // Where the quirk is set, the level of Open Session is what the keys are made from.
        let role = match quirks.level_of_open_session {
            true => role & 0x10 | log_in.open_level,
            false => role,
        };
        Ok(Challenge {
            console_random,
            bmc_random: self.random(),
            role,
            name: name.to_vec(),
            user,
        })
    }

    /// The user that a name and a role byte select (§13.20): by name alone with bit 4 set, else by
    /// name and level.
    fn find_user(&self, name: &[u8], role: u8) -> Result<usize, Status> {
        let name = unpadded(name);
        let mut named = (self.settings.users.iter().enumerate())
            .filter(|(_, user)| user.enabled && user.name.as_bytes() == name)
            .peekable();
        if named.peek().is_none() {
            return Err(UNAUTHORISED_NAME);
        }
        let level = match role & 0x0F {
            0 => None,
            level => Some(Privilege::by_number(level).ok_or(INVALID_ROLE)?),
        };
        if level.is_some_and(|level| level > self.settings.channel_limit) {
            return Err(UNAUTHORISED_ROLE);
        }
        let may = |limit: Privilege| level.is_none_or(|level| level <= limit);
        if role & NAME_ONLY != 0 {
            // The lowest user id counts.
            return (named.next().filter(|(_, user)| may(user.privilege)))
                .map(|(place, _)| place)
                .ok_or(UNAUTHORISED_ROLE);
        }
        let named: Vec<_> = named.collect();
        let exact = named.iter().find(|(_, user)| Some(user.privilege) == level);
        let enough = (named.iter())
            .find(|(_, user)| may(user.privilege) && !self.mood.quirks.exact_level_lookup);
        exact
            .or(enough)
            .map(|(place, _)| *place)
            .ok_or(UNAUTHORISED_ROLE)
    }

    /// The role byte as RAKP 2's code and the session key take it.
    fn hashed_role(&self, challenge: &Challenge) -> u8 {
        match self.mood.quirks.hashes_level_only {
            true => challenge.role & 0x0F,
            false => challenge.role,
        }
    }

    /// The user's key: the password, as far as it counts.
    fn user_key(&self, suite: Suite, user: usize) -> &[u8] {
        let password = &self.settings.users[user].password[..];
        let cut = self.mood.quirks.password16_with_md5
            && suite.authentication == crypto::Authentication::HmacMd5;
        match cut {
            true => &password[..password.len().min(16)],
            false => password,
        }
    }

    fn rakp_2_code(&self, id: u32, log_in: &HalfOpen, challenge: &Challenge) -> Vec<u8> {
        let mut code = log_in.suite.authentication.keyed_hash(
            self.user_key(log_in.suite, challenge.user),
            &[
                &log_in.console_id.to_le_bytes(),
                &id.to_le_bytes(),
                &challenge.console_random,
                &challenge.bmc_random,
                &self.guid(),
                &[self.hashed_role(challenge), challenge.name.len() as u8],
                &challenge.name,
            ],
        );
        if self.mood.quirks.mismatching_suite == Some(log_in.suite.id) {
            code[0] ^= 0xFF;
        }
        if self.mood.quirks.rakp2_extra_byte {
            code.push(0);
        }
        code
    }

    fn on_rakp_3(&mut self, from: SocketAddr, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        let mut reader = Reader::new(payload);
        let tag = reader.byte()?;
        let console_status = reader.byte()?;
        reader.take(2)?;
        let id = reader.double()?;
        if self.mood.quirks.answers_copies_of_rakp
            && let Some(session) = self.sessions.open.get_mut(&id)
            && let Sealing::Plus { integrity_key, .. } = &mut session.sealing
        {
            integrity_key.reverse();
            return None;
        }
        // A log-in that is over, or whose RAKP 1 never came, has no RAKP 3.
        let Some((log_in, challenge)) = (self.sessions.half_open.get(&id))
            .and_then(|log_in| Some((log_in.clone(), log_in.challenge.clone()?)))
        else {
            return Some(self.refuse_set_up(tag, 0, INVALID_SESSION_ID));
        };
        self.sessions.half_open.remove(&id);
        if console_status != 0 {
            // The console gives up (§13.22): no reply. What it gives up for may be a wrong
            // password.
            if console_status == INTEGRITY_CHECK {
                self.note_log_in(challenge.user, false, now);
            }
            return None;
        }
        let suite = log_in.suite;
        let Some(user) = self.settings.users.get(challenge.user).cloned() else {
            return Some(self.refuse_set_up(tag, log_in.console_id, UNAUTHORISED_NAME));
        };
        let named = [self.hashed_role(&challenge), challenge.name.len() as u8];
        // With the quirk the code of RAKP 3 knows neither the name-only bit nor the padding of the
        // name: ipmipower's `intel20`, seen in its packets.
        let (rakp_3_role, rakp_3_name) = match self.mood.quirks.rakp3_level_only {
            true => (challenge.role & 0x0F, unpadded(&challenge.name)),
            false => (challenge.role, &challenge.name[..]),
        };
        let user_key = self.user_key(suite, challenge.user).to_vec();
        let expected = suite.authentication.keyed_hash(
            &user_key,
            &[
                &challenge.bmc_random,
                &log_in.console_id.to_le_bytes(),
                &[rakp_3_role, rakp_3_name.len() as u8],
                rakp_3_name,
            ],
        );
        if reader.rest() != expected {
            self.note_log_in(challenge.user, false, now);
            return Some(self.refuse_set_up(tag, log_in.console_id, INTEGRITY_CHECK));
        }
        self.note_log_in(challenge.user, true, now);
        let session_key = suite.authentication.keyed_hash(
            self.settings.key().unwrap_or(&user_key),
            &[
                &challenge.console_random,
                &challenge.bmc_random,
                &named,
                &challenge.name,
            ],
        );
        let check: [&[u8]; 3] = [&challenge.console_random, &id.to_le_bytes(), &self.guid()];
        let check_value = if self.mood.quirks.rakp4_by_integrity {
            suite
                .integrity
                .code(&session_key, &user.password, &check.concat())
        } else {
            let mut value = suite.authentication.keyed_hash(&session_key, &check);
            value.truncate(suite.authentication.check_value_length());
            if value.is_empty() && self.mood.quirks.rakp4_value_without_authentication {
                value = vec![0; 16];
            }
            value
        };
        let session = self.session(from, &log_in, &challenge, &session_key, now);
        self.sessions.open.insert(id, session);
        self.counters_mut().sessions_opened += 1;
        if self.mood.silent_sessions {
            return None;
        }
        let mut reply = vec![self.tag(tag), 0x00, 0, 0];
        reply.extend(log_in.console_id.to_le_bytes());
        reply.extend(check_value);
        Some(reply)
    }

    fn session(
        &mut self,
        from: SocketAddr,
        log_in: &HalfOpen,
        challenge: &Challenge,
        session_key: &[u8],
        now: Instant,
    ) -> Session {
        let quirks = self.mood.quirks;
        let suite = log_in.suite;
        let length = match quirks.key_constants_as_long_as_digest {
            true => suite.authentication.digest_length(),
            false => 20,
        };
        let key =
            |number| crypto::additional_key(suite.authentication, session_key, number, length);
        let integrity_key = match quirks.integrity_key_is_session_key {
            true => session_key.to_vec(),
            false => key(1),
        };
        let user_limit = self.settings.users[challenge.user].privilege;
        let asked = Privilege::by_number(challenge.role & 0x0F).unwrap_or(Privilege::Oem);
        let limit = user_limit.min(asked).min(self.settings.channel_limit);
        Session {
            sealing: Sealing::Plus {
                console_id: log_in.console_id,
                suite,
                integrity_key,
                cipher_key: key(2),
            },
            handle: self.sessions.next_handle(),
            user: challenge.user,
            limit,
            // §6.8: a session begins at User level, or below.
            privilege: match quirks.no_set_privilege {
                true => limit,
                false => limit.min(Privilege::User),
            },
            reset_ordered: false,
            peer: from,
            opened_at: now,
            heard_at: now,
            guarded: Window::new(1, 15, 16),
            unguarded: Window::new(1, 15, 16),
            outbound: 1,
            answered: VecDeque::new(),
            closing: false,
        }
    }

    fn on_sealed(&mut self, from: SocketAddr, packet: &PacketPlus<'_>, now: Instant) {
        let Some(payload) = self.open_sealed(packet) else {
            return self.drop_packet();
        };
        let Some(session) = self.sessions.open.get_mut(&packet.session_id) else {
            return self.drop_packet();
        };
        session.peer = from;
        session.heard_at = now;
        let Some(request) = wire::read_request(&payload) else {
            return self.drop_packet();
        };
        let id = packet.session_id;
        let Some((code, data)) = command::execute_in_session(self, id, from, &request, now) else {
            return;
        };
        let reply = self.response(&request, code, &data);
        let follow_ups = std::mem::take(&mut self.follow_ups);
        for message in [reply].into_iter().chain(follow_ups) {
            if let Some(sent) = self
                .seal(id, &message)
                .filter(|_| !self.mood.silent_sessions)
            {
                self.send(from, sent, now);
            }
        }
        self.finish_closing(id);
    }

    /// The payload of a packet whose session, flags, code and number are right.
    fn open_sealed(&mut self, packet: &PacketPlus<'_>) -> Option<Vec<u8>> {
        let icts = self.mood.quirks.icts_pad;
        let executes_copies = self.mood.executes_copies;
        let session = self.sessions.open.get_mut(&packet.session_id)?;
        let Sealing::Plus {
            suite,
            integrity_key,
            cipher_key,
            ..
        } = &session.sealing
        else {
            return None;
        };
        let guarded = suite.integrity != Integrity::None;
        let hidden = suite.confidentiality.number() != 0;
        if packet.authenticated != guarded
            || packet.encrypted != hidden
            || packet.payload_type != IPMI
        {
            return None;
        }
        if guarded {
            let length = suite.integrity.code_length();
            let (data, code) = packet.split_code(length)?;
            let password = &self.settings.users.get(session.user)?.password;
            if suite.integrity.code(integrity_key, password, &data) != code {
                return None;
            }
            // §13.8.3: a multiple of four; the quirk counts without the two last bytes.
            let counted = data.len() - if icts { 2 } else { 0 };
            if counted % 4 != 0 {
                return None;
            }
        }
        let window = match guarded {
            true => &mut session.guarded,
            false => &mut session.unguarded,
        };
        if !window.accept(packet.sequence) && !executes_copies {
            return None;
        }
        suite.confidentiality.reveal(cipher_key, packet.payload)
    }

    /// A message in the session's envelope.
    fn seal(&mut self, id: u32, message: &[u8]) -> Option<Vec<u8>> {
        let vector = self.random();
        let quirks = self.mood.quirks;
        let session = self.sessions.open.get_mut(&id)?;
        let sequence = session.next_outbound(quirks.skips_sequence_numbers);
        let Sealing::Plus {
            console_id,
            suite,
            integrity_key,
            cipher_key,
        } = &session.sealing
        else {
            return None;
        };
        let confidentiality = match quirks.plain_replies {
            true => Confidentiality::None,
            false => suite.confidentiality,
        };
        let mut flags = 0;
        if confidentiality.number() != 0 {
            flags |= wire::ENCRYPTED;
        }
        let signs = suite.integrity != Integrity::None && !quirks.unsigned_replies;
        if signs {
            flags |= wire::AUTHENTICATED;
        }
        let payload = confidentiality.hide(cipher_key, vector, message, quirks.aes_pad_16_for_0);
        let mut inner = wire::write_plus_inner(flags, IPMI, *console_id, sequence, &payload);
        if signs {
            wire::push_pad(&mut inner, quirks.icts_pad);
            let password = &self.settings.users.get(session.user)?.password;
            let code = suite.integrity.code(integrity_key, password, &inner);
            inner.extend(code);
        }
        Some(wire::with_rmcp(&inner))
    }

    /// Removes a session whose Close Session has been answered.
    pub(super) fn finish_closing(&mut self, id: u32) {
        if self.sessions.open.get(&id).is_some_and(|it| it.closing) {
            self.sessions.open.remove(&id);
            self.counters_mut().sessions_closed += 1;
        }
    }

    /// A response message, with this firmware's idea of checksums.
    pub(super) fn response(&self, request: &wire::Request<'_>, code: u8, data: &[u8]) -> Vec<u8> {
        let mut message = wire::write_response(request, code, data);
        if self.mood.quirks.wrong_checksums
            && let Some(last) = message.last_mut()
        {
            *last ^= 0x5A;
        }
        message
    }

    fn tag(&self, tag: u8) -> u8 {
        match self.mood.quirks.tag_always_zero {
            true => 0,
            false => tag,
        }
    }

    /// An error reply of the set-up: tag, status, two bytes reserved, the console's session id.
    fn refuse_set_up(&mut self, tag: u8, console_id: u32, status: Status) -> Vec<u8> {
        if status != INTEGRITY_CHECK {
            // Wrong passwords were counted already.
            self.counters_mut().log_ins_refused += 1;
        }
        let zeroed = self.mood.quirks.error_replies_zeroed;
        let (tag, console_id) = match zeroed {
            true => (0, 0),
            false => (self.tag(tag), console_id),
        };
        let mut reply = vec![tag, status, 0, 0];
        reply.extend(console_id.to_le_bytes());
        if let Some(length) = self.mood.quirks.short_error_replies {
            reply.truncate(length);
        }
        reply
    }
}

/// A name without the zeros after it.
fn unpadded(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|byte| *byte != 0);
    &name[..end.map_or(0, |at| at + 1)]
}

const IPMI: u8 = 0x00;
const OPEN_SESSION: u8 = 0x10;
const RAKP_1: u8 = 0x12;
const RAKP_3: u8 = 0x14;
/// Bit of the role byte: look up by name alone.
const NAME_ONLY: u8 = 0x10;

const NO_RESOURCES: Status = 0x01;
const INVALID_SESSION_ID: Status = 0x02;
const INVALID_AUTHENTICATION: Status = 0x04;
const INVALID_INTEGRITY: Status = 0x05;
const INVALID_ROLE: Status = 0x09;
const UNAUTHORISED_ROLE: Status = 0x0A;
const INVALID_NAME_LENGTH: Status = 0x0C;
const UNAUTHORISED_NAME: Status = 0x0D;
const INTEGRITY_CHECK: Status = 0x0F;
const INVALID_CONFIDENTIALITY: Status = 0x10;
const NO_SUITE: Status = 0x11;
const ILLEGAL_PARAMETER: Status = 0x12;
