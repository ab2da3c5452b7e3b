//! A console small enough to read at once, to drive simulated BMCs in tests: one RMCP+ session,
//! suite 3, no retries.
//!
//! Its codes are those of [`crypto`], which `known_answers` has compared with other
//! implementations.

use super::super::crypto::{self, Authentication, Confidentiality, Integrity};
use super::super::wire::{self, Received};
use super::super::{Bmc, Link, Rack};
use crate::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// A console at its address, with the BMC it speaks to.
pub(super) struct Console {
    pub rack: Rack,
    pub now: Instant,
    pub bmc: SocketAddr,
    pub here: SocketAddr,
    pub user: Vec<u8>,
    pub password: Vec<u8>,
    pub sequence: u32,
    pub request_number: u8,
    session: Option<(u32, Vec<u8>, Vec<u8>)>,
}

/// The console's session id.
const ID: [u8; 4] = [0xA0, 0xA2, 0xA3, 0xA4];

impl Console {
    pub(super) fn new(bmc: Bmc, link: Link) -> Self {
        let address = "192.0.2.10:623".parse().unwrap();
        let mut rack = Rack::new();
        rack.add(address, bmc, link);
        Self {
            rack,
            now: Instant::after_start(Duration::from_secs(1)),
            bmc: address,
            here: "192.0.2.1:40000".parse().unwrap(),
            user: b"admin".to_vec(),
            password: b"admin".to_vec(),
            sequence: 0,
            request_number: 0,
            session: None,
        }
    }

    pub(super) fn bmc(&mut self) -> &mut Bmc {
        self.rack.bmc_mut(self.bmc).unwrap()
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        while self.rack.poll_delivery(self.now).is_some() {}
    }

    /// Sends a datagram; what comes back within a second.
    pub(super) fn exchange(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.rack.send(self.here, self.bmc, datagram, self.now);
        self.now += Duration::from_secs(1);
        let mut back = Vec::new();
        while let Some(delivery) = self.rack.poll_delivery(self.now) {
            back.push(delivery.bytes);
        }
        back
    }

    /// One step of the set-up: the payload of the reply.
    pub(super) fn step(&mut self, payload_type: u8, payload: &[u8]) -> Option<Vec<u8>> {
        let inner = wire::write_plus_inner(0, payload_type, 0, 0, payload);
        let back = self.exchange(&wire::with_rmcp(&inner));
        match wire::read(back.first()?)? {
            Received::Plus(packet) => {
                assert_eq!(packet.payload_type, payload_type + 1);
                Some(packet.payload.to_vec())
            }
            _ => None,
        }
    }

    /// Logs in: the status that ended it, 00h for an open session, nothing for silence.
    pub(super) fn log_in(&mut self, level: u8) -> Option<u8> {
        let mut open = vec![0x01, level, 0, 0];
        open.extend(ID);
        for kind in 0..3 {
            open.extend([kind, 0, 0, 8, 1, 0, 0, 0]);
        }
        let reply = self.step(0x10, &open)?;
        if reply[1] != 0 {
            return Some(reply[1]);
        }
        let bmc_id: [u8; 4] = reply[8..12].try_into().unwrap();
        let random = [0x5C; 16];
        let named = [&[0x10 | level, self.user.len() as u8][..], &self.user].concat();
        let mut rakp_1 = vec![0x02, 0, 0, 0];
        rakp_1.extend(bmc_id);
        rakp_1.extend(random);
        rakp_1.extend([named[0], 0, 0, named[1]]);
        rakp_1.extend(&self.user);
        let rakp_2 = self.step(0x12, &rakp_1)?;
        if rakp_2[1] != 0 {
            return Some(rakp_2[1]);
        }
        let bmc_random = &rakp_2[8..24];
        let auth = Authentication::HmacSha1;
        let mut rakp_3 = vec![0x03, 0, 0, 0];
        rakp_3.extend(bmc_id);
        rakp_3.extend(auth.keyed_hash(&self.password, &[bmc_random, &ID, &named]));
        let rakp_4 = self.step(0x14, &rakp_3)?;
        if rakp_4[1] != 0 {
            return Some(rakp_4[1]);
        }
        let key = auth.keyed_hash(&self.password, &[&random, bmc_random, &named]);
        let part = |number| crypto::additional_key(auth, &key, number, 20);
        self.session = Some((u32::from_le_bytes(bmc_id), part(1), part(2)));
        self.sequence = 0;
        Some(0)
    }

    /// A request of the open session as a datagram, with the next session sequence number.
    pub(super) fn datagram(&mut self, net_fn: u8, command: u8, data: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        let (id, integrity_key, cipher_key) = self.session.as_ref().unwrap();
        let mut message = vec![0x20, net_fn << 2];
        message.push(sum(&message).wrapping_neg());
        let mut body = vec![0x81, self.request_number << 2, command];
        body.extend(data);
        body.push(sum(&body).wrapping_neg());
        message.extend(body);
        let payload = Confidentiality::AesCbc128.hide(cipher_key, [7; 16], &message, false);
        let flags = wire::ENCRYPTED | wire::AUTHENTICATED;
        let mut inner = wire::write_plus_inner(flags, 0, *id, self.sequence, &payload);
        wire::push_pad(&mut inner, false);
        let code = Integrity::HmacSha1.code(integrity_key, &[], &inner);
        inner.extend(code);
        wire::with_rmcp(&inner)
    }

    /// Sends a request with a fresh rqSeq: completion code and data, nothing for silence.
    pub(super) fn ask(&mut self, net_fn: u8, command: u8, data: &[u8]) -> Option<(u8, Vec<u8>)> {
        self.request_number = (self.request_number + 1) % 64;
        self.ask_again(net_fn, command, data)
    }

    /// Sends a request with the rqSeq of the last one, as a resend does.
    pub(super) fn ask_again(
        &mut self,
        net_fn: u8,
        command: u8,
        data: &[u8],
    ) -> Option<(u8, Vec<u8>)> {
        let datagram = self.datagram(net_fn, command, data);
        let back = self.exchange(&datagram);
        let (_, integrity_key, cipher_key) = self.session.as_ref().unwrap();
        let Received::Plus(packet) = wire::read(back.first()?)? else {
            return None;
        };
        let (guarded, code) = packet.split_code(12)?;
        assert_eq!(Integrity::HmacSha1.code(integrity_key, &[], &guarded), code);
        let message = Confidentiality::AesCbc128.reveal(cipher_key, packet.payload)?;
        assert_eq!(
            (message[1], message[4], message[5]),
            ((net_fn + 1) << 2, self.request_number << 2, command)
        );
        Some((message[6], message[7..message.len() - 1].to_vec()))
    }

    /// Logs in as administrator and takes that level.
    #[track_caller]
    pub(super) fn enter(&mut self) {
        assert_eq!(self.log_in(4), Some(0));
        assert_eq!(self.ask(0x06, 0x3B, &[4]), Some((0, vec![4])));
    }

    /// Chassis Control: its completion code.
    pub(super) fn order(&mut self, number: u8) -> Option<u8> {
        self.ask(0x00, 0x02, &[number]).map(|(code, _)| code)
    }

    /// The power state that Get Chassis Status shows.
    pub(super) fn shows_on(&mut self) -> Option<bool> {
        let (code, data) = self.ask(0x00, 0x01, &[])?;
        (code == 0).then(|| data[0] & 1 == 1)
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}
