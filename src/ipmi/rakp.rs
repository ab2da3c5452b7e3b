//! RAKP messages 1 to 4 (§13.20 to §13.23): the payloads, without session header. Codes are plain
//! bytes here.

use super::open_session::Refused;
use super::{DecodeError, Reader, Status, Wire};

/// The bit of the role byte that asks for a user by name alone rather than by name and privilege.
// OpenBMC refuses the other look-up unless the level is exactly the user's.
pub const NAME_ONLY: u8 = 0x10;
/// The longest user name.
pub const NAME_LIMIT: usize = 16;

/// RAKP message 1: who wants in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rakp1 {
    /// Comes back in RAKP 2.
    pub tag: u8,
    /// The BMC's session id.
    pub bmc_id: u32,
    /// The console's random number.
    pub console_random: [u8; 16],
    /// The whole role byte: privilege in the low nibble, [`NAME_ONLY`].
    pub role: u8,
    /// The user's name, at most [`NAME_LIMIT`] bytes; a decoded one may be longer, which a BMC
    /// refuses.
    pub name: Vec<u8>,
    /// Whether the field is filled up to 16 bytes, beyond the name's length (ipmitool's
    /// `i82571spt`).
    pub padded: bool,
}

/// RAKP message 2: the BMC proves that it knows the password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rakp2 {
    /// The BMC goes on.
    Accepted {
        /// RAKP 1's tag.
        tag: u8,
        /// The console's session id.
        console_id: u32,
        /// The BMC's random number.
        bmc_random: [u8; 16],
        /// The BMC's GUID; may be all zero.
        guid: [u8; 16],
        /// The code, unchecked; empty with RAKP-none.
        code: Vec<u8>,
    },
    /// The BMC refuses.
    Refused(Refused),
}

/// RAKP message 3: the console proves it too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rakp3 {
    /// Comes back in RAKP 4.
    pub tag: u8,
    /// Whether the console goes on.
    pub status: Status,
    /// The BMC's session id.
    pub bmc_id: u32,
    /// The code; empty with RAKP-none or an error status.
    pub code: Vec<u8>,
}

/// RAKP message 4: the session is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rakp4 {
    /// The session is open.
    Accepted {
        /// RAKP 3's tag.
        tag: u8,
        /// The console's session id.
        console_id: u32,
        /// The check value, unchecked; empty with RAKP-none.
        check_value: Vec<u8>,
    },
    /// The BMC refuses.
    Refused(Refused),
}

impl Wire for Rakp1 {
    fn encode(&self) -> Vec<u8> {
        // The handshake refuses longer names; here they must only not break the packet.
        let length = self.name.len().min(NAME_LIMIT);
        let mut bytes = vec![self.tag, 0, 0, 0];
        bytes.extend_from_slice(&self.bmc_id.to_le_bytes());
        bytes.extend_from_slice(&self.console_random);
        bytes.extend_from_slice(&[self.role, 0, 0, length as u8]);
        bytes.extend_from_slice(&self.name[..length]);
        if self.padded {
            // 28 bytes stand before the name.
            bytes.resize(28 + NAME_LIMIT, 0);
        }
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "RAKP 1";
        let mut reader = Reader::new(data);
        let [tag, _, _, _] = reader.array(WHAT)?;
        let bmc_id = reader.u32(WHAT)?;
        let console_random = reader.array(WHAT)?;
        let [role, _, _, length] = reader.array(WHAT)?;
        let name = reader.take(usize::from(length), "RAKP 1 name")?.to_vec();
        Ok(Self {
            tag,
            bmc_id,
            console_random,
            role,
            name,
            padded: !reader.rest().is_empty(),
        })
    }
}

impl Wire for Rakp2 {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Refused(refused) => refused.encode(),
            Self::Accepted {
                tag,
                console_id,
                bmc_random,
                guid,
                code,
            } => {
                let mut bytes = vec![*tag, Status::OK.0, 0, 0];
                bytes.extend_from_slice(&console_id.to_le_bytes());
                bytes.extend_from_slice(bmc_random);
                bytes.extend_from_slice(guid);
                bytes.extend_from_slice(code);
                bytes
            }
        }
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "RAKP 2";
        if let Some(refused) = Refused::decode(data, WHAT)? {
            return Ok(Self::Refused(refused));
        }
        let mut reader = Reader::new(data);
        let [tag, _, _, _] = reader.array(WHAT)?;
        Ok(Self::Accepted {
            tag,
            console_id: reader.u32(WHAT)?,
            bmc_random: reader.array(WHAT)?,
            guid: reader.array(WHAT)?,
            // The suite is not known here, so that a code of any length is taken and checked later.
            code: reader.rest().to_vec(),
        })
    }
}

impl Wire for Rakp3 {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.tag, self.status.0, 0, 0];
        bytes.extend_from_slice(&self.bmc_id.to_le_bytes());
        bytes.extend_from_slice(&self.code);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "RAKP 3";
        let mut reader = Reader::new(data);
        let [tag, status, _, _] = reader.array(WHAT)?;
        Ok(Self {
            tag,
            // §13.22: the console may say here that it gives up, and then there is no code.
            status: Status(status),
            bmc_id: reader.u32(WHAT)?,
            code: reader.rest().to_vec(),
        })
    }
}

impl Wire for Rakp4 {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Refused(refused) => refused.encode(),
            Self::Accepted {
                tag,
                console_id,
                check_value,
            } => {
                let mut bytes = vec![*tag, Status::OK.0, 0, 0];
                bytes.extend_from_slice(&console_id.to_le_bytes());
                bytes.extend_from_slice(check_value);
                bytes
            }
        }
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "RAKP 4";
        if let Some(refused) = Refused::decode(data, WHAT)? {
            return Ok(Self::Refused(refused));
        }
        let mut reader = Reader::new(data);
        let [tag, _, _, _] = reader.array(WHAT)?;
        Ok(Self::Accepted {
            tag,
            console_id: reader.u32(WHAT)?,
            // Some BMCs do not cut this value: all of it is kept, and its beginning is compared.
            check_value: reader.rest().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 13-11, laid out by hand.
    const RAKP1: &[u8] = &[
        0x06, 0x00, 0x00, 0x00, // tag 6, reserved
        0x44, 0x33, 0x22, 0x11, // BMC session 1122_3344h
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, // random number
        0x14, 0x00, 0x00, // administrator by name only, reserved
        0x05, b'a', b'd', b'm', b'i', b'n', // name
    ];

    /// Table 13-13 with a code of 20 bytes.
    const RAKP2: &[u8] = &[
        0x06, 0x00, 0x00, 0x00, // tag 6, no errors, reserved
        0xA4, 0xA3, 0xA2, 0xA0, // console session A0A2_A3A4h
        16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, // random number
        32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, // GUID
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, // code
    ];

    #[test]
    fn rakp_1_is_the_tables_bytes() {
        let rakp1 = Rakp1 {
            tag: 6,
            bmc_id: 0x1122_3344,
            console_random: std::array::from_fn(|at| at as u8),
            role: 4 | NAME_ONLY,
            name: b"admin".to_vec(),
            padded: false,
        };
        assert_eq!(rakp1.encode(), RAKP1);
        assert_eq!(Rakp1::decode(RAKP1), Ok(rakp1.clone()));
        let padded = Rakp1 {
            padded: true,
            ..rakp1
        };
        assert_eq!(padded.encode().len(), 44);
        assert_eq!(Rakp1::decode(&padded.encode()), Ok(padded));
    }

    #[test]
    fn rakp_2_gives_random_number_guid_and_code() {
        let Ok(Rakp2::Accepted {
            tag,
            console_id,
            bmc_random,
            guid,
            code,
        }) = Rakp2::decode(RAKP2)
        else {
            panic!("accepted");
        };
        assert_eq!((tag, console_id), (6, 0xA0A2_A3A4));
        assert_eq!((bmc_random[0], guid[15], code.len()), (16, 47, 20));
        assert_eq!(Rakp2::decode(RAKP2).unwrap().encode(), RAKP2);
    }

    #[test]
    fn rakp_3_and_4_are_a_head_and_a_code() {
        let rakp3 = [7, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 0xAA, 0xBB];
        let value = Rakp3::decode(&rakp3).unwrap();
        assert_eq!(
            (value.bmc_id, &value.code[..]),
            (0x1122_3344, &[0xAA, 0xBB][..])
        );
        assert_eq!(value.encode(), rakp3);
        let value = Rakp4::decode(&rakp3).unwrap();
        assert_eq!(value.encode(), rakp3);
    }

    #[test]
    fn an_error_reply_of_any_length_gives_its_status() {
        for length in [2, 7, 8, 36, 40] {
            let mut bytes = vec![0u8; length];
            bytes[1] = 0x0D;
            assert!(matches!(
                Rakp2::decode(&bytes),
                Ok(Rakp2::Refused(Refused {
                    status: Some(Status::UNAUTHORISED_NAME),
                    ..
                }))
            ));
            assert!(matches!(Rakp4::decode(&bytes), Ok(Rakp4::Refused(_))));
        }
    }

    #[test]
    fn every_truncation_of_a_success_is_an_error() {
        for length in 0..RAKP1.len() {
            assert!(Rakp1::decode(&RAKP1[..length]).is_err());
        }
        for length in 2..40 {
            assert!(Rakp2::decode(&RAKP2[..length]).is_err());
        }
        for length in 2..8 {
            assert!(Rakp4::decode(&RAKP2[..length]).is_err());
        }
    }
}
