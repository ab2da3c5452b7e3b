//! RMCP+ payload types (§13.27.3).

/// What an RMCP+ packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PayloadType {
    /// An IPMI message (0h).
    Ipmi,
    /// Serial over LAN (1h).
    Sol,
    /// Named by the enterprise and payload ids in the header (2h).
    OemExplicit {
        /// The enterprise (IANA) number as it stands in the four-byte field.
        enterprise: u32,
        /// The maker's payload id.
        payload: u16,
    },
    /// Open Session Request (10h).
    OpenSessionRequest,
    /// Open Session Response (11h).
    OpenSessionResponse,
    /// RAKP message 1 (12h).
    Rakp1,
    /// RAKP message 2 (13h).
    Rakp2,
    /// RAKP message 3 (14h).
    Rakp3,
    /// RAKP message 4 (15h).
    Rakp4,
    /// One of 03h to 0Fh and 16h to 3Fh: reserved or OEM handles.
    Other(u8),
}

impl PayloadType {
    /// The low six bits of the header's payload byte.
    pub fn number(self) -> u8 {
        match self {
            Self::Ipmi => 0x00,
            Self::Sol => 0x01,
            Self::OemExplicit { .. } => 0x02,
            Self::OpenSessionRequest => 0x10,
            Self::OpenSessionResponse => 0x11,
            Self::Rakp1 => 0x12,
            Self::Rakp2 => 0x13,
            Self::Rakp3 => 0x14,
            Self::Rakp4 => 0x15,
            // The two bits above are the header's flags.
            Self::Other(number) => number & 0x3F,
        }
    }

    /// The type of a header without OEM fields; 02h gives OEM explicit with ids of zero.
    pub fn from_number(number: u8) -> Self {
        match number & 0x3F {
            0x00 => Self::Ipmi,
            0x01 => Self::Sol,
            0x02 => Self::OemExplicit {
                enterprise: 0,
                payload: 0,
            },
            0x10 => Self::OpenSessionRequest,
            0x11 => Self::OpenSessionResponse,
            0x12 => Self::Rakp1,
            0x13 => Self::Rakp2,
            0x14 => Self::Rakp3,
            0x15 => Self::Rakp4,
            other => Self::Other(other),
        }
    }
}
