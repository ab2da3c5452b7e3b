//! The primitives as RMCP+ uses them, over RustCrypto: HMACs, plain digests, AES-CBC without a
//! library's padding.

use crate::ipmi::suite::Authentication;
use aes::Aes128;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use md2::Md2;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The bytes of a key or a code, wiped when dropped.
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// The block of AES, and so of its initialisation vector and our ciphertexts.
pub(super) const BLOCK: usize = 16;

/// The HMAC of an authentication algorithm over `parts` in order; nothing with RAKP-none.
pub(super) fn hmac(algorithm: Authentication, key: &[u8], parts: &[&[u8]]) -> Secret {
    match algorithm {
        Authentication::None => Secret::default(),
        Authentication::HmacSha1 => hmac_with::<Hmac<Sha1>>(key, parts),
        Authentication::HmacMd5 => hmac_with::<Hmac<Md5>>(key, parts),
        Authentication::HmacSha256 => hmac_with::<Hmac<Sha256>>(key, parts),
    }
}

fn hmac_with<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Secret {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

/// MD5 over `parts` in order.
pub(super) fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

/// MD2 over `parts` in order.
pub(super) fn md2(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Md2::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

/// Encrypts `plain`, whose length is a multiple of [`BLOCK`].
pub(super) fn aes_cbc_encrypt(key: &[u8; 16], iv: &[u8; BLOCK], plain: &[u8]) -> Vec<u8> {
    // IPMI has a pad of its own (§13.29), which no library knows.
    cbc::Encryptor::<Aes128>::new(key.into(), iv.into()).encrypt_padded_vec::<NoPadding>(plain)
}

/// Decrypts `cipher`; `None` where its length is no multiple of [`BLOCK`].
pub(super) fn aes_cbc_decrypt(key: &[u8; 16], iv: &[u8; BLOCK], cipher: &[u8]) -> Option<Vec<u8>> {
    cbc::Decryptor::<Aes128>::new(key.into(), iv.into())
        .decrypt_padded_vec::<NoPadding>(cipher)
        .ok()
}

/// `bytes` filled up with zeros, or cut, to `N` bytes.
pub(super) fn padded<const N: usize>(bytes: &[u8]) -> Zeroizing<[u8; N]> {
    let mut array = Zeroizing::new([0; N]);
    for (to, from) in array.iter_mut().zip(bytes) {
        *to = *from;
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digits: &str) -> Vec<u8> {
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn hmacs_are_those_of_rfc_2202_and_rfc_4231() {
        let what = [b"what do ya want ".as_slice(), b"for nothing?"];
        let code = |algorithm| hmac(algorithm, b"Jefe", &what).to_vec();
        assert_eq!(
            code(Authentication::HmacMd5),
            hex("750c783e6ab0b503eaa86e310a5db738")
        );
        assert_eq!(
            code(Authentication::HmacSha1),
            hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
        );
        assert_eq!(
            code(Authentication::HmacSha256),
            hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        );
        // RFC 2202, test case 6: a key longer than a block.
        let long = hmac(
            Authentication::HmacSha1,
            &[0xAA; 80],
            &[b"Test Using Larger Than Block-Size Key - Hash Key First"],
        );
        assert_eq!(*long, hex("aa4ae5e15272d00e95705637ce8a3b55ed402112"));
        assert!(code(Authentication::None).is_empty());
    }

    #[test]
    fn digests_are_those_of_rfc_1321_and_rfc_1319() {
        assert_eq!(
            md5(&[b"message ", b"digest"]).to_vec(),
            hex("f96b697d7cb7938d525a2f31aaf161d0")
        );
        assert_eq!(
            md2(&[b"message ", b"digest"]).to_vec(),
            hex("ab4f496bfb2a530b219ff33031fe06b0")
        );
    }

    #[test]
    fn aes_cbc_is_that_of_rfc_3602() {
        // Case 2: two blocks.
        let key = padded::<16>(&hex("c286696d887c9aa0611bbb3e2025a45a"));
        let iv = padded::<16>(&hex("562e17996d093d28ddb3ba695a2e6f58"));
        let plain: Vec<u8> = (0..32).collect();
        let cipher = aes_cbc_encrypt(&key, &iv, &plain);
        assert_eq!(
            cipher,
            hex("d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1")
        );
        assert_eq!(aes_cbc_decrypt(&key, &iv, &cipher), Some(plain));
        assert_eq!(aes_cbc_decrypt(&key, &iv, &cipher[..31]), None);
    }
}
