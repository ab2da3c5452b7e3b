//! Cipher suites (§22.15.2, table 22-20): the ids 0 to 19 and the algorithms behind them.
//!
//! Ids are for people; on the wire sessions are agreed on by algorithms, because some BMCs remap
//! the ids.

use std::fmt;

/// A cipher suite's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SuiteId(pub u8);

/// How user and BMC prove that they know the password (§13.28, table 13-17).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Authentication {
    /// RAKP-none: nothing is proved.
    None = 0,
    /// RAKP-HMAC-SHA1.
    HmacSha1 = 1,
    /// RAKP-HMAC-MD5.
    HmacMd5 = 2,
    /// RAKP-HMAC-SHA256.
    HmacSha256 = 3,
}

/// How packets are protected against change (§13.28.4, table 13-18).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Integrity {
    /// Not at all.
    None = 0,
    /// HMAC-SHA1-96: 12 bytes.
    HmacSha1_96 = 1,
    /// HMAC-MD5-128: 16 bytes.
    HmacMd5_128 = 2,
    /// MD5-128 with the password before and after: 16 bytes.
    Md5_128 = 3,
    /// HMAC-SHA256-128: 16 bytes.
    HmacSha256_128 = 4,
}

/// How payloads are hidden (§13.28.5, table 13-19).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Confidentiality {
    /// Not at all.
    None = 0,
    /// AES-CBC-128.
    AesCbc128 = 1,
    /// xRC4 with 128 bits: not implemented by anybody.
    Xrc4_128 = 2,
    /// xRC4 with 40 bits: not implemented by anybody.
    Xrc4_40 = 3,
}

/// Three algorithms as numbers, as Open Session carries them: they may be ones that nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Algorithms {
    /// Authentication algorithm, 0 to 63.
    pub authentication: u8,
    /// Integrity algorithm, 0 to 63.
    pub integrity: u8,
    /// Confidentiality algorithm, 0 to 63.
    pub confidentiality: u8,
}

/// A cipher suite: three algorithms that are known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Suite {
    pub id: SuiteId,
    /// How the password is proved.
    pub authentication: Authentication,
    /// How packets are protected against change.
    pub integrity: Integrity,
    /// How payloads are hidden.
    pub confidentiality: Confidentiality,
}

impl Authentication {
    /// The length in bytes of the codes of RAKP 2 and 3.
    pub fn code_length(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacSha1 => 20,
            Self::HmacMd5 => 16,
            Self::HmacSha256 => 32,
        }
    }

    /// The length in bytes of RAKP 4's check value: SHA1 and SHA256 are cut (§13.28.1).
    pub fn check_value_length(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacSha1 => 12,
            Self::HmacMd5 | Self::HmacSha256 => 16,
        }
    }
}

impl Integrity {
    /// The length in bytes of a packet's code.
    pub fn code_length(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacSha1_96 => 12,
            // MD5's digest is that long; SHA-256's is cut to half (§13.28.4).
            Self::HmacMd5_128 | Self::Md5_128 | Self::HmacSha256_128 => 16,
        }
    }
}

impl Confidentiality {
    /// Whether it is xRC4, which we refuse by name.
    pub fn is_xrc4(self) -> bool {
        matches!(self, Self::Xrc4_128 | Self::Xrc4_40)
    }
}

impl SuiteId {
    /// The algorithms of a standard suite, `None` above 19.
    pub fn suite(self) -> Option<Suite> {
        use Authentication as A;
        use Confidentiality as C;
        use Integrity as I;
        let (authentication, integrity, confidentiality) = match self.0 {
            0 => (A::None, I::None, C::None),
            1 => (A::HmacSha1, I::None, C::None),
            2 => (A::HmacSha1, I::HmacSha1_96, C::None),
            3 => (A::HmacSha1, I::HmacSha1_96, C::AesCbc128),
            4 => (A::HmacSha1, I::HmacSha1_96, C::Xrc4_128),
            5 => (A::HmacSha1, I::HmacSha1_96, C::Xrc4_40),
            6 => (A::HmacMd5, I::None, C::None),
            7 => (A::HmacMd5, I::HmacMd5_128, C::None),
            8 => (A::HmacMd5, I::HmacMd5_128, C::AesCbc128),
            9 => (A::HmacMd5, I::HmacMd5_128, C::Xrc4_128),
            10 => (A::HmacMd5, I::HmacMd5_128, C::Xrc4_40),
            11 => (A::HmacMd5, I::Md5_128, C::None),
            12 => (A::HmacMd5, I::Md5_128, C::AesCbc128),
            13 => (A::HmacMd5, I::Md5_128, C::Xrc4_128),
            14 => (A::HmacMd5, I::Md5_128, C::Xrc4_40),
            15 => (A::HmacSha256, I::None, C::None),
            16 => (A::HmacSha256, I::HmacSha256_128, C::None),
            17 => (A::HmacSha256, I::HmacSha256_128, C::AesCbc128),
            18 => (A::HmacSha256, I::HmacSha256_128, C::Xrc4_128),
            19 => (A::HmacSha256, I::HmacSha256_128, C::Xrc4_40),
            _ => return None,
        };
        Some(Suite {
            id: self,
            authentication,
            integrity,
            confidentiality,
        })
    }

    /// The suite with these algorithms, `None` where the combination has no standard id.
    pub fn from_algorithms(algorithms: Algorithms) -> Option<Self> {
        (0..=19)
            .map(SuiteId)
            .find(|id| id.suite().map(Suite::algorithms) == Some(algorithms))
    }

    /// Whether we speak it.
    ///
    /// # Errors
    /// The suite uses xRC4, or is no standard one; the text says which.
    pub fn supported(self) -> Result<Suite, UnsupportedSuite> {
        match self.suite() {
            None => Err(UnsupportedSuite::Unknown(self)),
            // RC4 is broken, and no client with users speaks it: ipmitool aborts on suite 4.
            Some(suite) if suite.confidentiality.is_xrc4() => Err(UnsupportedSuite::Xrc4(self)),
            Some(suite) => Ok(suite),
        }
    }

    /// Whether the suite protects every packet; without, anybody on the path can give orders.
    pub fn has_integrity(self) -> bool {
        self.suite()
            .is_some_and(|suite| suite.integrity != Integrity::None)
    }
}

impl Suite {
    /// Its algorithms as numbers.
    pub fn algorithms(self) -> Algorithms {
        Algorithms {
            // The discriminants are the numbers of tables 13-17 to 13-19.
            authentication: self.authentication as u8,
            integrity: self.integrity as u8,
            confidentiality: self.confidentiality as u8,
        }
    }
}

/// A cipher suite that we do not speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnsupportedSuite {
    /// The suite uses xRC4.
    #[error("cipher suite {0} uses xRC4, which is broken and not supported")]
    Xrc4(SuiteId),
    /// The suite is none of 0 to 19.
    #[error("cipher suite {0} is not a standard one (0 to 19)")]
    Unknown(SuiteId),
}

impl fmt::Display for SuiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Algorithms {
    /// `HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128`, numbers in hex where they have no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A BMC may choose what nobody knows, and people have to hear of that, too.
        let name = |names: &[&'static str], number: u8| match names.get(usize::from(number)) {
            Some(name) => (*name).to_string(),
            None => format!("{number:02X}h"),
        };
        write!(
            f,
            "{}, {}, {}",
            name(
                &["no authentication", "HMAC-SHA1", "HMAC-MD5", "HMAC-SHA256"],
                self.authentication
            ),
            name(
                &[
                    "no integrity",
                    "HMAC-SHA1-96",
                    "HMAC-MD5-128",
                    "MD5-128",
                    "HMAC-SHA256-128"
                ],
                self.integrity
            ),
            name(
                &["no encryption", "AES-CBC-128", "xRC4-128", "xRC4-40"],
                self.confidentiality
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_found_again_by_its_algorithms() {
        for id in (0..=19).map(SuiteId) {
            let suite = id.suite().unwrap();
            assert_eq!(SuiteId::from_algorithms(suite.algorithms()), Some(id));
        }
        assert_eq!(SuiteId(20).suite(), None);
    }

    #[test]
    fn xrc4_is_refused_by_name() {
        for id in [4, 5, 9, 10, 13, 14, 18, 19] {
            let error = SuiteId(id).supported().unwrap_err();
            assert!(error.to_string().contains("xRC4"), "{error}");
        }
        for id in [0, 1, 2, 3, 6, 7, 8, 11, 12, 15, 16, 17] {
            assert!(SuiteId(id).supported().is_ok());
        }
    }

    #[test]
    fn suite_17_is_sha256_with_aes() {
        let algorithms = SuiteId(17).suite().unwrap().algorithms();
        assert_eq!(
            algorithms.to_string(),
            "HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128"
        );
    }
}
