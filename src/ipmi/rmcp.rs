//! The RMCP header (§13.1.3) and the ASF presence ping and pong (§13.2.3, §13.2.4).
//!
//! A pong is good news, silence is none: some BMCs do not answer pings, so nothing may depend on
//! one.

use super::{DecodeError, Reader};

/// The UDP port of RMCP.
pub const PORT: u16 = 623;

// §13.1.3: the number of RMCP 1.0.
const VERSION: u8 = 0x06;
/// The sequence number that asks for no RMCP acknowledgement.
const NO_ACK: u8 = 0xFF;
// §13.2.3: the enterprise number that IANA gave to ASF.
const ASF_ENTERPRISE: u32 = 4542;
const PING: u8 = 0x80;
const PONG: u8 = 0x40;

/// What an RMCP packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// ASF: presence pings.
    Asf,
    Ipmi,
}

/// An RMCP packet: its class and all after the 4-byte header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// What the body is.
    pub class: Class,
    /// The RMCP sequence number; FFh in all IPMI traffic.
    pub sequence: u8,
    /// What follows the header.
    pub body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Splits a datagram.
    ///
    /// # Errors
    /// Too short, another version, an RMCP acknowledgement, or a class other than ASF and IPMI.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram);
        let version = reader.u8("RMCP version")?;
        if version != VERSION {
            return Err(DecodeError::Value {
                what: "RMCP version",
                value: version,
            });
        }
        reader.u8("RMCP reserved")?;
        let sequence = reader.u8("RMCP sequence")?;
        let class = match reader.u8("RMCP class")? {
            0x06 => Class::Asf,
            // An acknowledgement has bit 7 set and is refused: FFh in our packets asks for none.
            0x07 => Class::Ipmi,
            value => {
                return Err(DecodeError::Value {
                    what: "RMCP class",
                    value,
                });
            }
        };
        Ok(Packet {
            class,
            sequence,
            body: reader.rest(),
        })
    }
}

/// A datagram of `class` around `body`.
pub fn encode(class: Class, body: &[u8]) -> Vec<u8> {
    let class = match class {
        Class::Asf => 0x06,
        Class::Ipmi => 0x07,
    };
    let mut datagram = vec![VERSION, 0x00, NO_ACK, class];
    datagram.extend_from_slice(body);
    datagram
}

/// An ASF message: ping or pong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asf {
    /// Is anybody there?
    Ping {
        /// Comes back in the pong.
        tag: u8,
    },
    Pong {
        /// The ping's tag.
        tag: u8,
        /// Whether the sender says that it speaks IPMI.
        ipmi: bool,
    },
}

impl Asf {
    /// The ASF message as a whole datagram.
    pub fn encode(&self) -> Vec<u8> {
        // ASF has the most significant byte first, IPMI the least significant one.
        let mut body = ASF_ENTERPRISE.to_be_bytes().to_vec();
        match *self {
            Self::Ping { tag } => body.extend_from_slice(&[PING, tag, 0x00, 0x00]),
            Self::Pong { tag, ipmi } => {
                body.extend_from_slice(&[PONG, tag, 0x00, 0x10]);
                body.extend_from_slice(&ASF_ENTERPRISE.to_be_bytes());
                body.extend_from_slice(&[0; 4]);
                // Supported entities: bit 7 IPMI, low nibble ASF version 1.0. No interactions.
                body.extend_from_slice(&[if ipmi { 0x81 } else { 0x01 }, 0x00]);
                body.extend_from_slice(&[0; 6]);
            }
        }
        encode(Class::Asf, &body)
    }

    /// The ASF message of an RMCP body.
    ///
    /// # Errors
    /// Too short, another enterprise, or neither ping nor pong.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let enterprise: [u8; 4] = reader.array("ASF enterprise")?;
        // OpenBMC has the least significant byte first.
        let is_asf =
            [ASF_ENTERPRISE.to_be_bytes(), ASF_ENTERPRISE.to_le_bytes()].contains(&enterprise);
        if !is_asf {
            return Err(DecodeError::Value {
                what: "ASF enterprise",
                value: enterprise[3],
            });
        }
        let kind = reader.u8("ASF type")?;
        let tag = reader.u8("ASF tag")?;
        reader.u8("ASF reserved")?;
        reader.u8("ASF length")?;
        match kind {
            PING => Ok(Self::Ping { tag }),
            PONG => {
                // The enterprise number again, and four bytes of its maker's.
                reader.take(8, "ASF pong")?;
                let entities = reader.u8("ASF supported entities")?;
                Ok(Self::Pong {
                    tag,
                    ipmi: entities & 0x80 != 0,
                })
            }
            value => Err(DecodeError::Value {
                what: "ASF type",
                value,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §13.2.3, table 13-6: as FreeIPMI's rmcpping sends it.
    const PING_TAG_7: &[u8] = &[
        0x06, 0x00, 0xFF, 0x06, // RMCP 1.0, reserved, no acknowledgement, class ASF
        0x00, 0x00, 0x11, 0xBE, // enterprise 4542, most significant byte first
        0x80, 0x07, 0x00, 0x00, // ping, tag 7, reserved, no data
    ];

    /// §13.2.4, table 13-7.
    const PONG_TAG_7: &[u8] = &[
        0x06, 0x00, 0xFF, 0x06, // RMCP, class ASF
        0x00, 0x00, 0x11, 0xBE, // enterprise 4542
        0x40, 0x07, 0x00, 0x10, // pong, tag 7, reserved, 16 bytes of data
        0x00, 0x00, 0x11, 0xBE, // no OEM: ASF's own number again
        0x00, 0x00, 0x00, 0x00, // OEM defined
        0x81, 0x00, // IPMI and ASF 1.0; no interactions
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // reserved
    ];

    #[test]
    fn a_ping_and_its_pong_are_the_bytes_of_the_specification() {
        assert_eq!(Asf::Ping { tag: 7 }.encode(), PING_TAG_7);
        let pong = Packet::decode(PONG_TAG_7).unwrap();
        assert_eq!(pong.class, Class::Asf);
        let value = Asf::Pong { tag: 7, ipmi: true };
        assert_eq!(Asf::decode(pong.body), Ok(value));
        assert_eq!(value.encode(), PONG_TAG_7);
    }

    #[test]
    fn a_pong_counts_in_either_byte_order_and_another_enterprise_does_not() {
        // OpenBMC's, as it was captured: the enterprise's least significant byte first in both
        // places.
        let openbmc = [
            0xBE, 0x11, 0x00, 0x00, 0x40, 0x80, 0x00, 0x10, 0xBE, 0x11, 0x00, 0x00, 0, 0, 0, 0,
            0x81, 0, 0, 0, 0, 0, 0, 0,
        ];
        let pong = Asf::Pong {
            tag: 0x80,
            ipmi: true,
        };
        assert_eq!(Asf::decode(&openbmc), Ok(pong));
        let mut other = openbmc;
        other[0] = 0xBF;
        assert!(Asf::decode(&other).is_err());
    }

    #[test]
    fn a_cut_header_another_version_and_an_acknowledgement_are_refused() {
        for length in 0..4 {
            assert!(Packet::decode(&PONG_TAG_7[..length]).is_err());
        }
        assert!(Packet::decode(&[0x05, 0, 0xFF, 7]).is_err());
        assert!(Packet::decode(&[0x06, 0, 0x01, 0x87]).is_err());
        let body = &PONG_TAG_7[4..];
        for length in 0..17 {
            assert!(Asf::decode(&body[..length]).is_err(), "{length}");
        }
    }
}
