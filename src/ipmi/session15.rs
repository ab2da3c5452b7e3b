//! The IPMI v1.5 session header (§13.6, table 13-8): sessions of that version, and what is asked
//! outside sessions.
//!
//! The authentication code is a plain array here; `session` computes and checks it.

use super::{DecodeError, Reader};
use std::fmt;

/// How an IPMI v1.5 packet is authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum AuthType {
    /// Not at all.
    None = 0,
    /// MD2 over packet and password.
    Md2 = 1,
    /// MD5 over packet and password.
    Md5 = 2,
    /// The password itself, readable by anybody.
    Password = 4,
    /// A maker's own.
    Oem = 5,
}

impl AuthType {
    /// The type with this number; 06h is RMCP+ and no v1.5 type.
    pub fn from_bits(bits: u8) -> Option<Self> {
        [Self::None, Self::Md2, Self::Md5, Self::Password, Self::Oem]
            .into_iter()
            // 3 is reserved.
            .find(|known| *known as u8 == bits)
    }

    /// Its bit in the answer to Get Channel Authentication Capabilities.
    pub fn mask(self) -> u8 {
        // §22.13: bit n of the answer stands for type n.
        1 << self as u8
    }
}

impl fmt::Display for AuthType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Md2 => "md2",
            Self::Md5 => "md5",
            Self::Password => "password",
            Self::Oem => "oem",
        })
    }
}

/// A packet with a v1.5 header: all after the RMCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// How it is authenticated.
    pub auth_type: AuthType,
    /// Session sequence number, 0 outside sessions.
    pub sequence: u32,
    /// Session id, 0 outside sessions.
    pub session_id: u32,
    /// The code, present where `auth_type` is not `None`.
    pub code: Option<[u8; 16]>,
    /// The IPMI message.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// A packet outside any session.
    pub fn outside(payload: &'a [u8]) -> Self {
        Packet {
            auth_type: AuthType::None,
            sequence: 0,
            session_id: 0,
            code: None,
            payload,
        }
    }

    /// Its bytes. At most the first 255 bytes of the payload fit the length byte. A missing code of
    /// an authenticated packet is sent as zeros.
    pub fn encode(&self) -> Vec<u8> {
        let length = u8::try_from(self.payload.len()).unwrap_or(u8::MAX);
        let mut bytes = vec![self.auth_type as u8];
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.session_id.to_le_bytes());
        // §13.6: without authentication the field is not there at all.
        if self.auth_type != AuthType::None {
            bytes.extend_from_slice(&self.code.unwrap_or_default());
        }
        // §13.6's pad for old network chips is left out, as FreeIPMI leaves it out.
        bytes.push(length);
        bytes.extend_from_slice(&self.payload[..usize::from(length)]);
        bytes
    }

    /// The packet of an RMCP body. Bytes after the payload are let be: §13.6 has a legacy pad, and
    /// OpenBMC always appends one.
    ///
    /// # Errors
    /// Too short, or the authentication type is RMCP+ or not known.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let bits = reader.u8("session header")?;
        let auth_type = AuthType::from_bits(bits).ok_or(DecodeError::Value {
            what: "v1.5 authentication type",
            value: bits,
        })?;
        let sequence = reader.u32("session header")?;
        let session_id = reader.u32("session header")?;
        let code = match auth_type {
            AuthType::None => None,
            _ => Some(reader.array("authentication code")?),
        };
        let length = reader.u8("session header")?;
        let payload = reader.take(usize::from(length), "session payload")?;
        Ok(Packet {
            auth_type,
            sequence,
            session_id,
            code,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ipmitool 1.8.19's first packet, after the RMCP header (capture on loopback).
    const FIRST: &[u8] = &[
        0x00, // authentication type none
        0x00, 0x00, 0x00, 0x00, // sequence 0
        0x00, 0x00, 0x00, 0x00, // outside a session
        0x09, // nine bytes follow
        0x20, 0x18, 0xC8, 0x81, 0x00, 0x38, 0x8E, 0x04, 0xB5,
    ];

    /// Table 13-8 with MD5, worked out by hand.
    const AUTHENTICATED: &[u8] = &[
        0x02, // MD5
        0x05, 0x00, 0x00, 0x00, // sequence 5
        0x78, 0x56, 0x34, 0x12, // session 1234_5678h, least significant byte first
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, // code
        0x02, 0xAA, 0xBB, // two bytes
    ];

    #[test]
    fn headers_with_and_without_a_code_are_read_and_written() {
        let packet = Packet::decode(FIRST).unwrap();
        assert_eq!(packet, Packet::outside(&FIRST[10..]));
        assert_eq!(packet.encode(), FIRST);

        let packet = Packet::decode(AUTHENTICATED).unwrap();
        assert_eq!(packet.auth_type, AuthType::Md5);
        assert_eq!((packet.sequence, packet.session_id), (5, 0x1234_5678));
        assert_eq!(packet.code.unwrap()[15], 16);
        assert_eq!(packet.payload, [0xAA, 0xBB]);
        assert_eq!(packet.encode(), AUTHENTICATED);
    }

    #[test]
    fn a_trailing_pad_byte_is_tolerated_and_a_truncation_is_not() {
        let mut padded = FIRST.to_vec();
        padded.push(0);
        assert_eq!(Packet::decode(&padded), Packet::decode(FIRST));
        for bytes in [FIRST, AUTHENTICATED] {
            for length in 0..bytes.len() {
                assert!(Packet::decode(&bytes[..length]).is_err());
            }
        }
        assert!(Packet::decode(&[6; 20]).is_err());
    }
}
