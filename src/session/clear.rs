//! Datagrams as people may see them: decrypted, and without names, passwords, codes and keys
//! (design, rule 9).
//!
//! Asked by `bmc` for what it keeps of a BMC's datagrams. What is secret is left out by its place
//! in the packet ([`reveal`]), and wherever else the user's name, the password or the BMC key
//! stand: a BMC may send back what it got.

use super::handshake::Step;
use super::link::Link;
use super::vocabulary::Dropped;
use super::{Phase, Session};
use crate::ipmi::payload::PayloadType;
use crate::ipmi::reveal;
use crate::ipmi::rmcp::{self, Class};
use crate::ipmi::session15::{self, AuthType};
use crate::ipmi::session20::{self, Header};
use std::ops::Range;
use zeroize::Zeroizing;

/// Which way a datagram went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the BMC.
    Out,
    /// From the BMC.
    In,
}

/// A datagram without what is secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clear {
    /// What it is.
    pub frame: Frame,
    /// Of its payload, what may be shown.
    pub shown: Vec<u8>,
    /// What is left out: before which of the shown bytes, and how many.
    pub left_out: Vec<(usize, usize)>,
}

/// What a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// RMCP+.
    V20(Header),
    /// IPMI v1.5.
    V15 {
        /// How it is authenticated.
        auth_type: AuthType,
        /// The session's number.
        session_id: u32,
        /// The packet's number in the session.
        sequence: u32,
    },
    /// A presence ping or pong, or another packet of ASF.
    Asf,
    /// No packet that we know the form of.
    Unknown,
}

impl Session {
    /// A datagram as people may see it. One of this session is read with the keys that are there
    /// now: it is shown before it is taken in, or once it was handed out.
    pub fn clear(&self, datagram: &[u8], way: Way) -> Clear {
        let beginning = |length: usize| datagram.get(..length).unwrap_or(datagram).to_vec();
        let Ok(packet) = rmcp::Packet::decode(datagram) else {
            return self.masked(Frame::Unknown, beginning(UNKNOWN), datagram.len());
        };
        match packet.class {
            Class::Asf => self.masked(Frame::Asf, beginning(ASF), datagram.len()),
            Class::Ipmi if packet.body.first() == Some(&session20::AUTH_TYPE) => {
                match session20::Packet::decode(packet.body) {
                    Ok(packet) => self.clear_v20(&packet, way),
                    Err(_) => self.masked(Frame::Unknown, beginning(UNKNOWN), datagram.len()),
                }
            }
            Class::Ipmi => match session15::Packet::decode(packet.body) {
                Ok(packet) => {
                    let frame = Frame::V15 {
                        auth_type: packet.auth_type,
                        session_id: packet.session_id,
                        sequence: packet.sequence,
                    };
                    let hidden = reveal::hidden_in_message(packet.payload);
                    self.without(frame, packet.payload, hidden)
                }
                Err(_) => self.masked(Frame::Unknown, beginning(UNKNOWN), datagram.len()),
            },
        }
    }

    /// Why the last datagram was dropped that was, since this was asked last.
    pub fn take_dropped(&mut self) -> Option<Dropped> {
        self.memory.last_dropped.take()
    }

    fn clear_v20(&self, packet: &session20::Packet<'_>, way: Way) -> Clear {
        let frame = Frame::V20(packet.header);
        let kind = packet.header.payload_type;
        if !packet.header.encrypted {
            let hidden = reveal::hidden_in_payload(kind, packet.payload);
            return self.without(frame, packet.payload, hidden);
        }
        let opened = self
            .links()
            .into_iter()
            .find_map(|link| link.read(packet, way));
        // Where secrets stand in other payloads is not known, so that nothing of them is shown.
        match opened.filter(|_| kind == PayloadType::Ipmi) {
            Some(message) => {
                let message = Zeroizing::new(message);
                let hidden = reveal::hidden_in_payload(kind, &message);
                self.without(frame, &message, hidden)
            }
            None => self.masked(frame, Vec::new(), packet.payload.len()),
        }
    }

    /// All traffic whose keys are there.
    fn links(&self) -> Vec<&Link> {
        let mut links: Vec<&Link> = match &self.phase {
            Phase::Closed => Vec::new(),
            Phase::Opening(handshake) => match &handshake.step {
                Step::Rakp4(proof) => proof.link.iter().collect(),
                Step::Privilege(privilege) => vec![&privilege.link],
                Step::Capabilities { .. }
                | Step::Open { .. }
                | Step::Rakp2(_)
                | Step::Advice(_)
                | Step::Login(_) => Vec::new(),
            },
            Phase::Open(open) => vec![&open.link],
            Phase::ToClose { link, .. } | Phase::Closing { link, .. } => vec![link],
        };
        // The late answer to a Close Session is read with the keys of its own session.
        links.extend(self.memory.ledger.links());
        links
    }

    /// `bytes` of a datagram of so many, of which the rest is left out.
    fn masked(&self, frame: Frame, bytes: Vec<u8>, of: usize) -> Clear {
        let mut clear = self.without(frame, &bytes, Vec::new());
        if of > bytes.len() {
            clear.left_out.push((clear.shown.len(), of - bytes.len()));
        }
        clear
    }

    /// `bytes` without the places that are hidden, and without secrets wherever they stand.
    fn without(&self, frame: Frame, bytes: &[u8], mut hidden: Vec<Range<usize>>) -> Clear {
        hidden.extend(self.secrets_in(bytes));
        hidden.sort_by_key(|range| range.start);
        let mut clear = Clear {
            frame,
            shown: Vec::new(),
            left_out: Vec::new(),
        };
        let mut at = 0;
        for range in hidden {
            clear
                .shown
                .extend(bytes.get(at..range.start).unwrap_or_default());
            // Places overlap where a name stands in a field that is hidden anyway.
            let hides = range.end.saturating_sub(range.start.max(at));
            match clear.left_out.last_mut() {
                Some((place, count)) if *place == clear.shown.len() => *count += hides,
                _ if hides > 0 => clear.left_out.push((clear.shown.len(), hides)),
                _ => {}
            }
            at = at.max(range.end);
        }
        clear.shown.extend(bytes.get(at..).unwrap_or_default());
        clear
    }

    /// Where the user's name, the password and the BMC key stand in `bytes`. Very short ones would
    /// be found everywhere, and what is missing would tell of them: they are hidden by their place
    /// only.
    fn secrets_in(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let settings = &self.settings;
        let key = settings.bmc_key.as_ref().map(|key| key.expose());
        let secrets = [
            Some(settings.username.as_bytes()),
            Some(settings.password.expose()),
            key,
        ];
        let telling = |secret: &&[u8]| secret.len() >= TELLING;
        let secrets = secrets.into_iter().flatten().filter(telling);
        let places = secrets.flat_map(|secret| {
            let windows = bytes.windows(secret.len()).enumerate();
            let found = windows.filter(move |(_, window)| *window == secret);
            found.map(move |(at, _)| at..at + secret.len())
        });
        places.collect()
    }
}

/// What is shown of a datagram whose form is not known: the codes of those that are stand behind
/// that.
const UNKNOWN: usize = 12;
/// What is shown of a packet of ASF: as much as a pong has.
const ASF: usize = 28;
/// The shortest secret that is looked for everywhere.
const TELLING: usize = 3;
