//! The RMCP+ session header and trailer (§13.6, table 13-8), as pure slicing: which bytes an
//! integrity code covers and where it stands. Whether it is right is for `session`.

use super::payload::PayloadType;
use super::{DecodeError, Reader};

/// The authentication type that marks an RMCP+ header.
pub const AUTH_TYPE: u8 = 0x06;
/// The "next header" byte before the code.
// Table 13-8: no other number is used in this version.
const NEXT_HEADER: u8 = 0x07;
const ENCRYPTED: u8 = 0x80;
const AUTHENTICATED: u8 = 0x40;

/// The header's values, apart from the length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the packet carries.
    pub payload_type: PayloadType,
    /// Whether the payload is encrypted.
    pub encrypted: bool,
    /// Whether an integrity code follows.
    pub authenticated: bool,
    /// The receiver's session id, 0 outside sessions.
    pub session_id: u32,
    /// Session sequence number, 0 outside sessions.
    pub sequence: u32,
}

impl Header {
    /// The header of a packet outside sessions.
    pub fn outside(payload_type: PayloadType) -> Self {
        Self {
            payload_type,
            encrypted: false,
            authenticated: false,
            session_id: 0,
            sequence: 0,
        }
    }

    /// Header and payload, without any trailer. The first 65535 bytes of the payload fit.
    pub fn encode(&self, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        let mut kind = self.payload_type.number();
        if self.encrypted {
            kind |= ENCRYPTED;
        }
        if self.authenticated {
            kind |= AUTHENTICATED;
        }
        let mut bytes = vec![AUTH_TYPE, kind];
        // §13.6: this type alone has six more bytes in its header.
        if let PayloadType::OemExplicit {
            enterprise,
            payload,
        } = self.payload_type
        {
            bytes.extend_from_slice(&enterprise.to_le_bytes());
            bytes.extend_from_slice(&payload.to_le_bytes());
        }
        bytes.extend_from_slice(&self.session_id.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&payload[..usize::from(length)]);
        bytes
    }
}

/// How the integrity pad is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PadCount {
    /// As §13.28.4 says: pad, pad length and next header end on a multiple of four.
    WithTrailer,
    /// Without the pad length and next header bytes (ipmitool's `icts`).
    WithoutTrailer,
}

/// `bytes` (a header with its payload) completed by pad, pad length and next header: all that the
/// code covers.
pub fn encode_covered(mut bytes: Vec<u8>, count: PadCount) -> Vec<u8> {
    let counted = match count {
        PadCount::WithTrailer => bytes.len() + 2,
        PadCount::WithoutTrailer => bytes.len(),
    };
    let pad = counted.next_multiple_of(4) - counted;
    // Table 13-8: the bytes of the integrity pad are FFh.
    bytes.resize(bytes.len() + pad, 0xFF);
    bytes.push(pad as u8);
    bytes.push(NEXT_HEADER);
    bytes
}

/// A packet with an RMCP+ header: all after the RMCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The header's values.
    pub header: Header,
    /// The payload, encrypted or not.
    pub payload: &'a [u8],
    /// What follows the payload: the trailer of an authenticated packet.
    pub trailer: &'a [u8],
    /// The whole, from the authentication type on.
    whole: &'a [u8],
}

/// An authenticated packet's two parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed<'a> {
    /// What the code covers.
    pub covered: &'a [u8],
    /// The code, unchecked.
    pub code: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet of an RMCP body.
    ///
    /// # Errors
    /// Too short, or not an RMCP+ header.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "RMCP+ header";
        let mut reader = Reader::new(body);
        let auth_type = reader.u8(WHAT)?;
        if auth_type != AUTH_TYPE {
            return Err(DecodeError::Value {
                what: "RMCP+ authentication type",
                value: auth_type,
            });
        }
        let kind = reader.u8(WHAT)?;
        let payload_type = match PayloadType::from_number(kind) {
            PayloadType::OemExplicit { .. } => PayloadType::OemExplicit {
                enterprise: reader.u32(WHAT)?,
                payload: reader.u16(WHAT)?,
            },
            other => other,
        };
        let session_id = reader.u32(WHAT)?;
        let sequence = reader.u32(WHAT)?;
        let length = reader.u16(WHAT)?;
        let payload = reader.take(usize::from(length), "RMCP+ payload")?;
        Ok(Packet {
            header: Header {
                payload_type,
                encrypted: kind & ENCRYPTED != 0,
                authenticated: kind & AUTHENTICATED != 0,
                session_id,
                sequence,
            },
            payload,
            trailer: reader.rest(),
            whole: body,
        })
    }

    /// Splits off a code of `code_length` bytes at the end.
    ///
    /// # Errors
    /// The trailer is shorter than pad length, next header and code; its pad length is not the
    /// number of bytes that are there; or the next header is not 07h.
    pub fn sealed(&self, code_length: usize) -> Result<Sealed<'a>, DecodeError> {
        const WHAT: &str = "RMCP+ trailer";
        let short = DecodeError::Short { what: WHAT };
        let before_code = |bytes: &'a [u8]| {
            let at = bytes.len().checked_sub(code_length)?;
            bytes.split_at_checked(at)
        };
        let (trailer, _) = before_code(self.trailer).ok_or(short)?;
        let (pad, [pad_length, next_header]) = trailer.split_last_chunk::<2>().ok_or(short)?;
        if usize::from(*pad_length) != pad.len() {
            return Err(DecodeError::Value {
                what: "RMCP+ pad length",
                value: *pad_length,
            });
        }
        if *next_header != NEXT_HEADER {
            return Err(DecodeError::Value {
                what: "RMCP+ next header",
                value: *next_header,
            });
        }
        // §13.28.4: the code covers all from the authentication type to the next header.
        let (covered, code) = before_code(self.whole).ok_or(short)?;
        Ok(Sealed { covered, code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 13-8, worked out by hand: an authenticated, unencrypted IPMI payload of 7 bytes with a
    /// code of 12.
    const SEALED: &[u8] = &[
        0x06, 0x40, // RMCP+, authenticated IPMI payload
        0x44, 0x33, 0x22, 0x11, // session 1122_3344h
        0x09, 0x00, 0x00, 0x00, // sequence 9
        0x07, 0x00, // seven bytes
        0x20, 0x18, 0xC8, 0x81, 0x04, 0x01, 0x7A, // payload
        0xFF, 0xFF, 0xFF, 0x03, 0x07, // 12 + 7 + 3 + 2 = 24: pad, its length, next header
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, // code
    ];

    /// §13.6: OEM explicit inserts enterprise and payload ids.
    const OEM: &[u8] = &[
        0x06, 0x02, // OEM explicit
        0x57, 0x01, 0x00, 0x00, 0x02, 0x00, // enterprise 343, payload 2
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // outside a session
        0x01, 0x00, 0xAB, // one byte
    ];

    #[test]
    fn a_sealed_packet_is_split_where_the_specification_says() {
        let packet = Packet::decode(SEALED).unwrap();
        assert!(packet.header.authenticated && !packet.header.encrypted);
        assert_eq!(packet.header.session_id, 0x1122_3344);
        assert_eq!(packet.header.sequence, 9);
        assert_eq!(packet.payload.len(), 7);
        let sealed = packet.sealed(12).unwrap();
        assert_eq!(sealed.covered, &SEALED[..24]);
        assert_eq!(sealed.code, &SEALED[24..]);
        let again = encode_covered(packet.header.encode(packet.payload), PadCount::WithTrailer);
        assert_eq!(again, &SEALED[..24]);
    }

    #[test]
    fn the_other_pad_count_leaves_the_trailer_out() {
        let bytes = encode_covered(SEALED[..19].to_vec(), PadCount::WithoutTrailer);
        assert_eq!(&bytes[19..], [0xFF, 0x01, 0x07]);
    }

    #[test]
    fn an_oem_explicit_header_is_six_bytes_longer() {
        let packet = Packet::decode(OEM).unwrap();
        assert_eq!(
            packet.header.payload_type,
            PayloadType::OemExplicit {
                enterprise: 343,
                payload: 2
            }
        );
        assert_eq!(packet.payload, [0xAB]);
        assert_eq!(packet.header.encode(packet.payload), OEM);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for length in 0..SEALED.len() {
            let split = Packet::decode(&SEALED[..length]).and_then(|packet| packet.sealed(12));
            assert!(split.is_err(), "{length}");
        }
        for length in 0..OEM.len() {
            assert!(Packet::decode(&OEM[..length]).is_err());
        }
        // A code longer than the packet is no reason to panic.
        assert!(Packet::decode(SEALED).unwrap().sealed(1000).is_err());
    }
}
