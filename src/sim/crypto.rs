//! The codes and keys of a session as the BMC computes them (IPMI v2.0 rev 1.1 §13.28 to §13.33,
//! §22.17).
//!
//! Pure functions over bytes, driven by the simulated BMC. A second reading of the specification:
//! nothing here is shared with the engine on the other side of the wire, so that a mistake in one
//! does not hide in the other.

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// How RAKP messages are keyed (§13.28, table 13-17).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Authentication {
    /// 00h: no codes, no session key.
    None,
    /// 01h: RAKP-HMAC-SHA1.
    HmacSha1,
    /// 02h: RAKP-HMAC-MD5.
    HmacMd5,
    /// 03h: RAKP-HMAC-SHA256.
    HmacSha256,
}

/// How a packet in a session is guarded (§13.28, table 13-18).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Integrity {
    /// 00h: not at all.
    None,
    /// 01h: HMAC-SHA1-96 over K1.
    HmacSha1,
    /// 02h: HMAC-MD5-128 over K1.
    HmacMd5,
    /// 03h: MD5-128: a hash over password, data and password.
    Md5,
    /// 04h: HMAC-SHA256-128 over K1.
    HmacSha256,
}

/// How a payload is hidden (§13.28, table 13-19).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Confidentiality {
    /// 00h: in the clear.
    None,
    /// 01h: AES-CBC-128 over the first 16 bytes of K2.
    AesCbc128,
}

/// One row of table 22-20: the algorithms that a cipher suite number names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Suite {
    pub id: u8,
    /// How RAKP is keyed.
    pub authentication: Authentication,
    /// How packets are guarded.
    pub integrity: Integrity,
    /// How payloads are hidden.
    pub confidentiality: Confidentiality,
}

impl Suite {
    /// The suite with this number, `None` for the xRC4 ones (4, 5, 9, 10, 13, 14, 18, 19) and
    /// unknown numbers.
    pub(super) fn by_id(id: u8) -> Option<Self> {
        use Authentication as A;
        use Confidentiality as C;
        use Integrity as I;
        let (authentication, integrity, confidentiality) = match id {
            0 => (A::None, I::None, C::None),
            1 => (A::HmacSha1, I::None, C::None),
            2 => (A::HmacSha1, I::HmacSha1, C::None),
            3 => (A::HmacSha1, I::HmacSha1, C::AesCbc128),
            6 => (A::HmacMd5, I::None, C::None),
            7 => (A::HmacMd5, I::HmacMd5, C::None),
            8 => (A::HmacMd5, I::HmacMd5, C::AesCbc128),
            11 => (A::HmacMd5, I::Md5, C::None),
            12 => (A::HmacMd5, I::Md5, C::AesCbc128),
            15 => (A::HmacSha256, I::None, C::None),
            16 => (A::HmacSha256, I::HmacSha256, C::None),
            17 => (A::HmacSha256, I::HmacSha256, C::AesCbc128),
            _ => return None,
        };
        Some(Self {
            id,
            authentication,
            integrity,
            confidentiality,
        })
    }

    /// Every suite that the simulated BMC can speak, in the order of their numbers.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=17).filter_map(Self::by_id)
    }
}

impl Authentication {
    /// Its number on the wire.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::HmacSha1 => 1,
            Self::HmacMd5 => 2,
            Self::HmacSha256 => 3,
        }
    }

    /// The keyed hash over the concatenation of `parts`: empty for [`Authentication::None`], else
    /// 20, 16 or 32 bytes.
    pub(super) fn keyed_hash(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::HmacSha1 => hmac_sha1(key, parts),
            Self::HmacMd5 => hmac_md5(key, parts),
            Self::HmacSha256 => hmac_sha256(key, parts),
        }
    }

    /// How many bytes the check value of RAKP message 4 has (§13.28.1, §13.28.2, §13.28.4).
    pub(super) fn check_value_length(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacSha1 => 12,
            Self::HmacMd5 | Self::HmacSha256 => 16,
        }
    }

    /// How many bytes its hash has.
    pub(super) fn digest_length(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacSha1 => 20,
            Self::HmacMd5 => 16,
            Self::HmacSha256 => 32,
        }
    }
}

impl Integrity {
    /// Its number on the wire.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::HmacSha1 => 1,
            Self::HmacMd5 => 2,
            Self::Md5 => 3,
            Self::HmacSha256 => 4,
        }
    }

    /// How many bytes its code has.
    pub(super) fn code_length(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacSha1 => 12,
            Self::HmacMd5 | Self::Md5 | Self::HmacSha256 => 16,
        }
    }

    /// The code over `data`; `key` is K1, `password` is used by MD5-128 alone (§13.28.5).
    pub(super) fn code(self, key: &[u8], password: &[u8], data: &[u8]) -> Vec<u8> {
        let mut code = match self {
            Self::None => Vec::new(),
            Self::HmacSha1 => hmac_sha1(key, &[data]),
            Self::HmacMd5 => hmac_md5(key, &[data]),
            Self::Md5 => {
                let password = padded::<20>(password);
                Md5::new()
                    .chain_update(password)
                    .chain_update(data)
                    .chain_update(password)
                    .finalize()
                    .to_vec()
            }
            Self::HmacSha256 => hmac_sha256(key, &[data]),
        };
        code.truncate(self.code_length());
        code
    }
}

impl Confidentiality {
    /// Its number on the wire.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::AesCbc128 => 1,
        }
    }

    /// `payload` as it travels: for AES the initialisation vector, then the payload with its
    /// trailer of 01h, 02h, ... and the count of those, enciphered (§13.29). `key` is K2.
    pub(super) fn hide(
        self,
        key: &[u8],
        vector: [u8; 16],
        payload: &[u8],
        pad_16_for_0: bool,
    ) -> Vec<u8> {
        match self {
            Self::None => payload.to_vec(),
            Self::AesCbc128 => {
                let mut pad = (16 - (payload.len() + 1) % 16) % 16;
                if pad == 0 && pad_16_for_0 {
                    pad = 16;
                }
                let mut plain = payload.to_vec();
                plain.extend((1..=pad).map(|n| n as u8));
                plain.push(pad as u8);
                let key = padded::<16>(&key[..key.len().min(16)]);
                let hidden = cbc::Encryptor::<aes::Aes128>::new(&key.into(), &vector.into())
                    .encrypt_padded_vec::<NoPadding>(&plain);
                let mut sent = vector.to_vec();
                sent.extend(hidden);
                sent
            }
        }
    }

    /// The payload out of what travelled, `None` where the trailer is wrong or the length is none
    /// that AES can have.
    pub(super) fn reveal(self, key: &[u8], sent: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::None => Some(sent.to_vec()),
            Self::AesCbc128 => {
                let (vector, hidden) = sent.split_first_chunk::<16>()?;
                if hidden.is_empty() || hidden.len() % 16 != 0 {
                    return None;
                }
                let key = padded::<16>(&key[..key.len().min(16)]);
                let mut plain = cbc::Decryptor::<aes::Aes128>::new(&key.into(), &(*vector).into())
                    .decrypt_padded_vec::<NoPadding>(hidden)
                    .ok()?;
                let pad = usize::from(plain.pop()?);
                let kept = plain.len().checked_sub(pad).filter(|_| pad <= 16)?;
                let trailer_is_right = plain
                    .get(kept..)?
                    .iter()
                    .zip(1u8..)
                    .all(|(byte, n)| *byte == n);
                plain.truncate(kept);
                trailer_is_right.then_some(plain)
            }
        }
    }
}

/// The key K1 or K2: the session key over a constant of `number` repeated (§13.32). The
/// specification's constants are 20 bytes long for every hash; `length` is another for BMCs that
/// take the digest's.
pub(super) fn additional_key(
    authentication: Authentication,
    session_key: &[u8],
    number: u8,
    length: usize,
) -> Vec<u8> {
    authentication.keyed_hash(session_key, &[&vec![number; length]])
}

/// The code of an IPMI 1.5 packet (§22.17.1): H(password, session id, message, sequence, password).
/// `None` where the authentication type has no code that this BMC knows.
pub(super) fn code_1_5(
    kind: u8,
    password: &[u8],
    session_id: u32,
    sequence: u32,
    message: &[u8],
) -> Option<[u8; 16]> {
    let password = padded::<16>(password);
    let id = session_id.to_le_bytes();
    let sequence = sequence.to_le_bytes();
    let parts: [&[u8]; 5] = [&password, &id, message, &sequence, &password];
    match kind {
        1 => {
            let mut hash = md2::Md2::new();
            parts.iter().for_each(|part| hash.update(part));
            Some(hash.finalize().into())
        }
        2 => {
            let mut hash = Md5::new();
            parts.iter().for_each(|part| hash.update(part));
            Some(hash.finalize().into())
        }
        // ipmitool sends the password as such with OEM too, where no other rule is known (its
        // `quanta`).
        4 | 5 => Some(password),
        _ => None,
    }
}

/// The code of Supermicro's OEM authentication in IPMI 1.5, as ipmitool's packets have it:
/// MD5(challenge XOR MD5(password)), the same in every packet.
pub(super) fn code_of_challenge(password: &[u8], challenge: &[u8; 16]) -> [u8; 16] {
    let mut mixed: [u8; 16] = Md5::digest(password).into();
    mixed
        .iter_mut()
        .zip(challenge)
        .for_each(|(mixed, challenge)| *mixed ^= challenge);
    Md5::digest(mixed).into()
}

/// `bytes` cut or filled with zeros to `N` bytes: how passwords and names stand in fields of fixed
/// width.
pub(super) fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut field = [0; N];
    let length = bytes.len().min(N);
    field[..length].copy_from_slice(&bytes[..length]);
    field
}

fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of every length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes keys of every length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn keyed_hashes_are_those_of_rfc_2202_and_rfc_4231() {
        // Test case 2 of each: key "Jefe", data "what do ya want for nothing?".
        let data: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        assert_eq!(
            Authentication::HmacSha1.keyed_hash(b"Jefe", &data),
            hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
        );
        assert_eq!(
            Authentication::HmacMd5.keyed_hash(b"Jefe", &data),
            hex("750c783e6ab0b503eaa86e310a5db738")
        );
        assert_eq!(
            Authentication::HmacSha256.keyed_hash(b"Jefe", &data),
            hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        );
    }

    #[test]
    fn a_key_padded_with_zeros_is_the_same_key() {
        let short = Authentication::HmacSha1.keyed_hash(b"admin", &[b"x"]);
        let long = Authentication::HmacSha1.keyed_hash(&padded::<20>(b"admin"), &[b"x"]);
        assert_eq!(short, long);
    }

    #[test]
    fn a_payload_of_15_bytes_needs_no_pad_and_some_bmcs_send_16() {
        let payload = [7; 15];
        let key = [3; 20];
        for (odd, length) in [(false, 32), (true, 48)] {
            let sent = Confidentiality::AesCbc128.hide(&key, [9; 16], &payload, odd);
            assert_eq!(sent.len(), length);
            let back = Confidentiality::AesCbc128.reveal(&key, &sent).unwrap();
            assert_eq!(back, payload);
        }
    }

    #[test]
    fn the_cipher_is_the_one_of_rfc_3602() {
        // RFC 3602 §4, case 1: key 06a9..., vector 3daf..., plaintext "Single block msg".
        // Our payload is 15 bytes and its trailer one byte, so the block is compared with the first
        // 15 bytes alike only when the last byte ("g", 67h) is the pad count; so the block is
        // decrypted, and refused for that count.
        let key = hex("06a9214036b8a15b512e03d534120006");
        let mut sent = hex("3dafba429d9eb430b422da802c9fac41");
        sent.extend(hex("e353779c1079aeb82708942dbe77181a"));
        assert_eq!(Confidentiality::AesCbc128.reveal(&key, &sent), None);
        let plain = cbc::Decryptor::<aes::Aes128>::new_from_slices(&key, &sent[..16])
            .unwrap()
            .decrypt_padded_vec::<NoPadding>(&sent[16..])
            .unwrap();
        assert_eq!(plain, b"Single block msg");
    }

    #[test]
    fn a_code_of_ipmi_1_5_leaves_the_length_byte_out() {
        // Computed with Python's hashlib: md5(b"admin".ljust(16, b"\0") + bytes.fromhex("04030201")
        // + bytes.fromhex("2018c88104380e0431") + bytes.fromhex("05000000") + b"admin".ljust(16,
        // b"\0")).
        let message = hex("2018c88104380e0431");
        assert_eq!(
            code_1_5(2, b"admin", 0x0102_0304, 5, &message)
                .unwrap()
                .to_vec(),
            hex("c763e2fe6f6f4da2e04e4cc633dfb18a")
        );
        // The straight password is the field itself.
        assert_eq!(
            &code_1_5(4, b"admin", 1, 1, &message).unwrap(),
            b"admin\0\0\0\0\0\0\0\0\0\0\0"
        );
        assert_eq!(code_1_5(6, b"admin", 1, 1, &message), None);
    }

    #[test]
    fn md2_is_that_of_rfc_1319() {
        // RFC 1319 A.5: MD2("abc"). Fed through as three pieces of nothing but the hash.
        let hash: [u8; 16] = md2::Md2::digest(b"abc").into();
        assert_eq!(hash.to_vec(), hex("da853b0d3f88d99b30283a69e6ded6bb"));
    }
}
