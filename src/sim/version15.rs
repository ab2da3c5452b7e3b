//! IPMI 1.5 on the BMC's side: requests outside a session, the log-in, and the packets of a session
//! (IPMI v2.0 rev 1.1 §6.12, §13.14, §22.16, §22.17).
//!
//! Driven by [`Bmc::handle_datagram`].

use super::bmc::Bmc;
use super::command::{self, Asker, Reply};
use super::crypto;
use super::session::{Challenge15, Sealing, Session, Window};
use super::settings::Privilege;
use super::wire::{self, Packet15, Reader, Request};
use crate::time::Instant;
use std::collections::VecDeque;
use std::net::SocketAddr;

impl Bmc {
    pub(super) fn on_version_15(&mut self, from: SocketAddr, packet: &Packet15<'_>, now: Instant) {
        let Some(request) = wire::read_request(packet.message) else {
            return self.drop_packet();
        };
        if packet.session_id == 0 {
            let asker = Asker::outside(from);
            if let Some((code, data)) = command::execute(self, &asker, &request, now) {
                let message = self.response(&request, code, &data);
                self.send_15(from, wire::write_15(0, 0, 0, None, &message), now);
            }
        } else if self.sessions.challenges.contains_key(&packet.session_id) {
            self.on_activate(from, packet, &request, now);
        } else {
            self.on_session_15(from, packet, &request, now);
        }
    }

    /// The authentication types that are offered.
    pub(super) fn kinds_15(&self) -> &[u8] {
        match self.mood.quirks.oem_only_1_5 {
            true => &[OEM],
            false => &self.settings.kinds_v15,
        }
    }

    /// Whether every packet has its code, as the BMC says.
    pub(super) fn per_message_15(&self) -> bool {
        let quirks = self.mood.quirks;
        self.settings.per_message_v15 && !quirks.unasked_codes_1_5 && !quirks.needed_codes_1_5
    }

    /// Get Session Challenge (§22.16).
    pub(super) fn session_challenge(&mut self, data: &[u8], now: Instant) -> Reply {
        let mut reader = Reader::new(data);
        let kind = reader.byte().ok_or(LENGTH_INVALID)? & 0x0F;
        let name = reader.array::<16>().ok_or(LENGTH_INVALID)?;
        if !self.settings.offers_v15 {
            return Err(COMMAND_INVALID);
        }
        if !self.kinds_15().contains(&kind) {
            return Err(FIELD_INVALID);
        }
        let user = (self.settings.users.iter())
            .position(|user| user.enabled && crypto::padded(user.name.as_bytes()) == name)
            .ok_or(match name == [0; 16] {
                true => NULL_NAME_NOT_ENABLED,
                false => NAME_INVALID,
            })?;
        if self.is_locked_out(user, now) {
            return Err(NAME_INVALID);
        }
        let id = self.fresh_session_id();
        let challenge = self.random();
        self.sessions.challenges.insert(
            id,
            Challenge15 {
                kind,
                challenge,
                user,
                since: now,
            },
        );
        let mut reply = id.to_le_bytes().to_vec();
        reply.extend(challenge);
        Ok(reply)
    }

    /// Activate Session (§22.17), the one request that carries the temporary session id.
    fn on_activate(
        &mut self,
        from: SocketAddr,
        packet: &Packet15<'_>,
        request: &Request<'_>,
        now: Instant,
    ) {
        let Some(log_in) = self.sessions.challenges.get(&packet.session_id).cloned() else {
            return self.drop_packet();
        };
        if (request.net_fn, request.command) != ACTIVATE_SESSION {
            return self.drop_packet();
        }
        let right = || self.code_is_right(packet, log_in.kind, log_in.user, &log_in.challenge);
        if packet.kind != log_in.kind || !right() {
            self.note_log_in(log_in.user, false, now);
            return self.drop_packet();
        }
        let activated = self.activate(from, &log_in, request.data, now);
        let (code, data, outbound) = match activated {
            Ok((data, outbound)) => (0x00, data, outbound),
            Err(code) => (code, Vec::new(), 0),
        };
        if code == 0 {
            // A challenge is good for one session.
            self.sessions.challenges.remove(&packet.session_id);
            self.note_log_in(log_in.user, true, now);
            self.counters_mut().sessions_opened += 1;
        } else {
            self.counters_mut().log_ins_refused += 1;
        }
        let message = self.response(request, code, &data);
        let kind = log_in.kind;
        let envelope = Envelope {
            kind,
            user: log_in.user,
            challenge: log_in.challenge,
            session_id: packet.session_id,
        };
        let sent = self.envelope_15(&envelope, outbound, &message);
        self.send_15(from, sent, now);
    }

    fn activate(
        &mut self,
        from: SocketAddr,
        log_in: &Challenge15,
        data: &[u8],
        now: Instant,
    ) -> Result<(Vec<u8>, u32), u8> {
        let mut reader = Reader::new(data);
        let kind = reader.byte().ok_or(LENGTH_INVALID)? & 0x0F;
        let level = reader.byte().ok_or(LENGTH_INVALID)? & 0x0F;
        let challenge: [u8; 16] = reader.array().ok_or(LENGTH_INVALID)?;
        let mut outbound = reader.double().ok_or(LENGTH_INVALID)?;
        if self.mood.quirks.swapped_start_1_5 {
            outbound = outbound.swap_bytes();
        }
        let expected = match self.mood.quirks.challenge_codes_1_5 && kind == OEM {
            // The code is the answer to it.
            true => [0; 16],
            false => log_in.challenge,
        };
        if kind != log_in.kind || challenge != expected {
            return Err(FIELD_INVALID);
        }
        if outbound == 0 {
            return Err(SEQUENCE_OUT_OF_RANGE);
        }
        let user_limit = self.settings.users[log_in.user].privilege;
        let limit = (Privilege::by_number(level))
            .filter(|level| *level <= user_limit && *level <= self.settings.channel_limit)
            .ok_or(LEVEL_EXCEEDS_LIMIT)?;
        if self.mood.session_table_full.is_some() || self.sessions.taken() >= self.session_limit() {
            return Err(NO_SESSION_SLOT);
        }
        let id = self.fresh_session_id();
        // §6.12.12: the BMC chooses where the console's numbers begin.
        let inbound = 1 + u32::from(self.random::<1>()[0]);
        let per_message = self.per_message_15();
        let mut session = Session {
            sealing: Sealing::Version15 {
                kind,
                per_message,
                challenge: log_in.challenge,
            },
            handle: self.sessions.next_handle(),
            user: log_in.user,
            limit,
            privilege: limit.min(Privilege::User),
            reset_ordered: false,
            peer: from,
            opened_at: now,
            heard_at: now,
            guarded: Window::new(inbound, 8, 8),
            unguarded: Window::new(inbound, 8, 8),
            outbound,
            answered: VecDeque::new(),
            closing: false,
        };
        let number = session.next_outbound(false);
        self.sessions.open.insert(id, session);
        let mut reply = vec![if per_message { kind } else { 0 }];
        reply.extend(id.to_le_bytes());
        reply.extend(inbound.to_le_bytes());
        reply.push(limit.number());
        Ok((reply, number))
    }

    fn on_session_15(
        &mut self,
        from: SocketAddr,
        packet: &Packet15<'_>,
        request: &Request<'_>,
        now: Instant,
    ) {
        let Some(session) = self.sessions.open.get(&packet.session_id) else {
            return self.drop_packet();
        };
        let Sealing::Version15 {
            kind,
            per_message,
            challenge,
        } = session.sealing
        else {
            return self.drop_packet();
        };
        let user = session.user;
        let quirks = self.mood.quirks;
        let plain_will_do = packet.kind == 0 && !per_message && !quirks.needed_codes_1_5;
        let fits = packet.kind == kind || plain_will_do;
        if !fits || !self.code_is_right(packet, packet.kind, user, &challenge) {
            return self.drop_packet();
        }
        let executes_copies = self.mood.executes_copies;
        let Some(session) = self.sessions.open.get_mut(&packet.session_id) else {
            return self.drop_packet();
        };
        if !session.guarded.accept(packet.sequence) && !executes_copies {
            return self.drop_packet();
        }
        session.peer = from;
        session.heard_at = now;
        let id = packet.session_id;
        let Some((code, data)) = command::execute_in_session(self, id, from, request, now) else {
            return;
        };
        let reply = self.response(request, code, &data);
        let follow_ups = std::mem::take(&mut self.follow_ups);
        let coded = per_message || quirks.needed_codes_1_5 || quirks.unasked_codes_1_5;
        let envelope = Envelope {
            kind: if coded { kind } else { 0 },
            user,
            challenge,
            session_id: id,
        };
        for message in [reply].into_iter().chain(follow_ups) {
            let outbound = (self.sessions.open.get_mut(&id)).map(|it| it.next_outbound(false));
            if let Some(outbound) = outbound {
                let sent = self.envelope_15(&envelope, outbound, &message);
                self.send_15(from, sent, now);
            }
        }
        self.finish_closing(id);
    }

    fn code_is_right(
        &self,
        packet: &Packet15<'_>,
        kind: u8,
        user: usize,
        challenge: &[u8; 16],
    ) -> bool {
        if kind == 0 {
            return packet.code.is_none();
        }
        let Some(user) = self.settings.users.get(user) else {
            return false;
        };
        let right = self.code_15(
            kind,
            &user.password,
            challenge,
            packet.session_id,
            packet.sequence,
            packet.message,
        );
        packet.code.is_some() && packet.code == right
    }

    fn code_15(
        &self,
        kind: u8,
        password: &[u8],
        challenge: &[u8; 16],
        session_id: u32,
        sequence: u32,
        message: &[u8],
    ) -> Option<[u8; 16]> {
        if kind == OEM && self.mood.quirks.challenge_codes_1_5 {
            return Some(crypto::code_of_challenge(password, challenge));
        }
        crypto::code_1_5(kind, password, session_id, sequence, message)
    }

    fn envelope_15(&self, envelope: &Envelope, sequence: u32, message: &[u8]) -> Vec<u8> {
        let quirks = self.mood.quirks;
        let session_id = match quirks.session_id_zero_1_5 {
            true => 0,
            false => envelope.session_id,
        };
        let kind = envelope.kind;
        let sequence = self.swap_15(sequence);
        let user = self.settings.users.get(envelope.user);
        let password = user.map_or(&[][..], |user| &user.password);
        let challenge = &envelope.challenge;
        let mut code = self.code_15(kind, password, challenge, session_id, sequence, message);
        if quirks.wrong_codes_1_5
            && let Some(code) = &mut code
        {
            code[0] ^= 0xFF;
        }
        wire::write_15(kind, sequence, session_id, code, message)
    }

    fn send_15(&mut self, to: SocketAddr, mut bytes: Vec<u8>, now: Instant) {
        if self.mood.quirks.pad_1_5 {
            bytes.push(0);
        }
        self.send(to, bytes, now);
    }

    /// A sequence number as a header carries it: the quirk is in those that are sent, and there
    /// alone.
    fn swap_15(&self, number: u32) -> u32 {
        match self.mood.quirks.swapped_sequence_1_5 {
            true => number.swap_bytes(),
            false => number,
        }
    }
}

/// What the header of a packet to the console is made from.
struct Envelope {
    kind: u8,
    user: usize,
    challenge: [u8; 16],
    session_id: u32,
}

/// The authentication type that is the maker's.
const OEM: u8 = 5;
const ACTIVATE_SESSION: (u8, u8) = (0x06, 0x3A);

const NO_SESSION_SLOT: u8 = 0x81;
const NAME_INVALID: u8 = 0x81;
const NULL_NAME_NOT_ENABLED: u8 = 0x82;
const SEQUENCE_OUT_OF_RANGE: u8 = 0x84;
const LEVEL_EXCEEDS_LIMIT: u8 = 0x86;
const COMMAND_INVALID: u8 = 0xC1;
const LENGTH_INVALID: u8 = 0xC7;
const FIELD_INVALID: u8 = 0xCC;
