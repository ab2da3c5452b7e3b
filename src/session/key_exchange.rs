//! RAKP's mathematics (§13.28 to §13.32): proofs, checks and the session's keys. Pure functions
//! over what both sides have seen; when to send what is for `handshake`.
//!
//! A check that passed is a value that only the check can make: [`Rakp2Verified`] leads to RAKP 3's
//! code and to the [`SessionKeys`], which only a BMC with the same keys can answer under.

use super::crypto::{self, Secret, hmac};
use super::quirk::{Quirk, Quirks};
use super::secret::{BmcKey, Password};
use crate::ipmi::suite::{Authentication, Integrity, Suite};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What both sides have seen of a handshake.
#[derive(Clone)]
pub(super) struct Transcript {
    pub(super) suite: Suite,
    pub(super) quirks: Quirks,
    pub(super) console_id: u32,
    pub(super) bmc_id: u32,
    pub(super) console_random: [u8; 16],
    pub(super) bmc_random: [u8; 16],
    pub(super) guid: [u8; 16],
    /// The whole role byte of RAKP 1.
    // The level in it is that of Open Session: some BMCs make their keys from the byte there.
    pub(super) role: u8,
    /// The name as RAKP 1 carried it.
    pub(super) name: Vec<u8>,
}

/// The BMC has proved that it knows the password.
pub(super) struct Rakp2Verified {
    transcript: Transcript,
    user_key: Secret,
    /// Whether the code had one byte too many.
    pub(super) trimmed: bool,
}

/// The keys of a session whose handshake is complete.
pub(super) struct SessionKeys {
    /// K1, or what takes its place.
    pub(super) integrity: Secret,
    /// The password in 20 bytes, for MD5-128.
    pub(super) password: Zeroizing<[u8; 20]>,
    /// The first 16 bytes of K2.
    pub(super) cipher: Zeroizing<[u8; 16]>,
}

/// A code did not match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mismatch;

/// The user's key K_UID.
fn user_key(suite: Suite, quirks: Quirks, password: &Password) -> Secret {
    let bytes = password.expose();
    // Intel's SE7520AF2 takes 16 bytes of a password with HMAC-MD5 (FreeIPMI's `intel20`).
    let cut =
        suite.authentication == Authentication::HmacMd5 && quirks.has(Quirk::Password16WithMd5);
    let length = if cut {
        bytes.len().min(16)
    } else {
        bytes.len()
    };
    Zeroizing::new(bytes[..length].to_vec())
}

impl Transcript {
    /// The role byte as the hashes take it.
    fn hashed_role(&self, quirk: Quirk) -> u8 {
        if self.quirks.has(quirk) {
            self.role & 0x0F
        } else {
            self.role
        }
    }

    fn name_length(&self) -> [u8; 1] {
        [self.name.len() as u8]
    }

    /// RAKP 2's code (§13.31).
    fn rakp2_code(&self, user_key: &[u8]) -> Secret {
        hmac(
            self.suite.authentication,
            user_key,
            &[
                &self.console_id.to_le_bytes(),
                &self.bmc_id.to_le_bytes(),
                &self.console_random,
                &self.bmc_random,
                &self.guid,
                &[self.hashed_role(Quirk::Role4InHashes)],
                &self.name_length(),
                &self.name,
            ],
        )
    }

    /// Checks RAKP 2's code in constant time. A code that is one byte too long is taken by its
    /// beginning, which is the whole of the right code.
    ///
    /// # Errors
    /// The BMC knows another password.
    pub(super) fn verify_rakp2(
        self,
        code: &[u8],
        password: &Password,
    ) -> Result<Rakp2Verified, Mismatch> {
        let user_key = user_key(self.suite, self.quirks, password);
        let expected = self.rakp2_code(&user_key);
        // One byte and no more: a code of any other length is another algorithm's.
        let trimmed = code.len() == expected.len() + 1;
        let code = if trimmed {
            &code[..expected.len()]
        } else {
            code
        };
        if !bool::from(code.ct_eq(&expected)) {
            return Err(Mismatch);
        }
        Ok(Rakp2Verified {
            transcript: self,
            user_key,
            trimmed,
        })
    }
}

impl Rakp2Verified {
    pub(super) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// RAKP 3's code (§13.31).
    pub(super) fn rakp3_code(&self) -> Secret {
        let transcript = &self.transcript;
        let mut name = &transcript.name[..];
        if transcript.quirks.has(Quirk::Role4InRakp3) {
            // The padding of `intel20` is in all hashes but this one: seen in ipmipower's packets.
            // No name ends in zeros.
            while let [rest @ .., 0] = name {
                name = rest;
            }
        }
        hmac(
            transcript.suite.authentication,
            &self.user_key,
            &[
                &transcript.bmc_random,
                &transcript.console_id.to_le_bytes(),
                &[transcript.hashed_role(Quirk::Role4InRakp3)],
                &[name.len() as u8],
                name,
            ],
        )
    }

    /// The session integrity key (§13.31): keyed by K_G, by K_UID where there is none.
    fn session_integrity_key(&self, bmc_key: Option<&BmcKey>) -> Secret {
        let transcript = &self.transcript;
        // An empty key would be the HMAC of nothing; no K_G means one-key log-ins (§13.33).
        let key = match bmc_key.map(BmcKey::expose) {
            Some(key) if key.iter().any(|byte| *byte != 0) => key,
            _ => &self.user_key,
        };
        hmac(
            transcript.suite.authentication,
            key,
            &[
                &transcript.console_random,
                &transcript.bmc_random,
                &[transcript.hashed_role(Quirk::Role4InHashes)],
                &transcript.name_length(),
                &transcript.name,
            ],
        )
    }

    /// RAKP 4's check value, cut to its length.
    fn check_value(&self, sik: &[u8]) -> Secret {
        let transcript = &self.transcript;
        let suite = transcript.suite;
        let (algorithm, length) = if transcript.quirks.has(Quirk::Rakp4ByIntegrity) {
            let algorithm = match suite.integrity {
                Integrity::None => Authentication::None,
                Integrity::HmacSha1_96 => Authentication::HmacSha1,
                Integrity::HmacMd5_128 => Authentication::HmacMd5,
                Integrity::HmacSha256_128 => Authentication::HmacSha256,
                // What such a BMC does with MD5-128 is not known to anybody.
                Integrity::Md5_128 => suite.authentication,
            };
            (algorithm, algorithm.check_value_length())
        } else {
            (
                suite.authentication,
                suite.authentication.check_value_length(),
            )
        };
        let mut value = hmac(
            algorithm,
            sik,
            &[
                &transcript.console_random,
                &transcript.bmc_id.to_le_bytes(),
                &transcript.guid,
            ],
        );
        value.truncate(length);
        value
    }

    /// Checks RAKP 4's value in constant time: no where the BMC made it with another K_G. A longer
    /// value is taken by its beginning: some BMCs do not cut it.
    pub(super) fn is_rakp4(&self, check_value: &[u8], bmc_key: Option<&BmcKey>) -> bool {
        let transcript = &self.transcript;
        let sik = self.session_integrity_key(bmc_key);
        let expected = self.check_value(&sik);
        let given = match check_value.get(..expected.len()) {
            Some(beginning) if !expected.is_empty() => beginning,
            // With nothing to check, something to check is wrong, unless a quirk says otherwise.
            _ if transcript.quirks.has(Quirk::Rakp4Cleared) && expected.is_empty() => &[],
            _ => check_value,
        };
        given.ct_eq(&expected).into()
    }

    /// The session's keys. They are the BMC's, too, once it answers under them or its RAKP 4 is
    /// right.
    pub(super) fn session_keys(
        &self,
        password: &Password,
        bmc_key: Option<&BmcKey>,
    ) -> SessionKeys {
        let transcript = &self.transcript;
        let sik = self.session_integrity_key(bmc_key);
        let constant = |byte: u8| {
            // §13.32 writes 20 bytes out. FreeIPMI, ipmitool and pyghmi use them with every digest;
            // OpenIPMI's are as long as the digest.
            let length = if transcript.quirks.has(Quirk::ConstantsOfDigestLength) {
                transcript.suite.authentication.code_length()
            } else {
                20
            };
            hmac(
                transcript.suite.authentication,
                &sik,
                &[&vec![byte; length]],
            )
        };
        let k1 = constant(1);
        let k2 = constant(2);
        // ipmi_sim does so in suites 7 and 8.
        let password_for_k1 = transcript.quirks.has(Quirk::IntegrityKeyPassword)
            && transcript.suite.integrity == Integrity::HmacMd5_128;
        SessionKeys {
            integrity: if transcript.quirks.has(Quirk::IntegrityKeySik) {
                sik
            } else if password_for_k1 {
                self.user_key.clone()
            } else {
                k1
            },
            password: crypto::padded(password.expose()),
            cipher: crypto::padded(&k2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipmi::SuiteId;

    #[test]
    fn a_longer_rakp_4_value_is_taken_by_its_beginning_and_a_shorter_or_another_one_is_not() {
        for id in [3, 8, 17] {
            let transcript = Transcript {
                suite: SuiteId(id).suite().expect("a standard suite"),
                quirks: Quirks::NONE,
                console_id: 5,
                bmc_id: 6,
                console_random: [1; 16],
                bmc_random: [2; 16],
                guid: [3; 16],
                role: 0x14,
                name: b"admin".to_vec(),
            };
            let password = Password::new(*b"secret").expect("short");
            let key = user_key(transcript.suite, transcript.quirks, &password);
            let code = transcript.rakp2_code(&key);
            let Ok(verified) = transcript.verify_rakp2(&code, &password) else {
                panic!("its own code");
            };
            let value = verified.check_value(&verified.session_integrity_key(None));
            let is_right = |value: &[u8]| verified.is_rakp4(value, None);
            assert!(is_right(&value));
            assert!(is_right(&[&value[..], &[9; 8]].concat()), "not cut");
            assert!(!is_right(&value[..value.len() - 1]));
            assert!(!is_right(&[]));
            let mut other = value.clone();
            other[0] ^= 1;
            assert!(!is_right(&other));
        }
    }
}
