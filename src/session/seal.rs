//! Sealing and unsealing of an open session's packets: integrity codes and encryption (§13.28.4,
//! §13.29), and the codes of IPMI v1.5 (§22.17.1). Knows no sequence windows and no requests.

use super::clear::Way;
use super::crypto::{self, BLOCK, aes_cbc_decrypt, aes_cbc_encrypt, hmac, md2, md5};
use super::key_exchange::SessionKeys;
use super::quirk::{Quirk, Quirks};
use super::secret::Password;
use super::vocabulary::Dropped;
use crate::entropy::Entropy;
use crate::ipmi::payload::PayloadType;
use crate::ipmi::rmcp::{self, Class};
use crate::ipmi::session15::{self, AuthType};
use crate::ipmi::session20::{self, Header, PadCount, encode_covered};
use crate::ipmi::suite::{Authentication, Confidentiality, Integrity, Suite};
use std::cell::Cell;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A packet whose code was found right, or that needs none. Only unsealing makes one.
pub(super) struct Unsealed {
    pub(super) sequence: u32,
    pub(super) message: Vec<u8>,
}

/// How packets of one session are protected.
pub(super) enum Seal {
    /// RMCP+.
    V20(Box<Seal20>),
    /// IPMI v1.5.
    V15(Box<Seal15>),
}

impl Seal {
    /// A datagram around `message`.
    pub(super) fn seal(&self, sequence: u32, message: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
        match self {
            Self::V20(seal) => seal.seal(sequence, message, entropy),
            Self::V15(seal) => seal.seal(sequence, message),
        }
    }

    /// The message of an RMCP body.
    pub(super) fn unseal(&self, body: &[u8]) -> Result<Unsealed, Dropped> {
        match self {
            Self::V20(seal) => seal.unseal(body),
            Self::V15(seal) => seal.unseal(body),
        }
    }
}

/// RMCP+.
pub(super) struct Seal20 {
    pub(super) suite: Suite,
    pub(super) keys: SessionKeys,
    pub(super) console_id: u32,
    pub(super) bmc_id: u32,
    pub(super) quirks: Quirks,
    pub(super) last: LastMessage,
}

/// The last message that was encrypted or decrypted, for whoever wants it a second time: each is
/// shown to people, too (`session::clear`), and is not decrypted again for that. Whoever asks takes
/// it away.
#[derive(Default)]
pub(super) struct LastMessage(Cell<Option<Kept>>);

struct Kept {
    encrypted: Vec<u8>,
    message: Zeroizing<Vec<u8>>,
}

impl LastMessage {
    fn keep(&self, encrypted: &[u8], message: &[u8]) {
        self.0.set(Some(Kept {
            encrypted: encrypted.to_vec(),
            message: Zeroizing::new(message.to_vec()),
        }));
    }

    /// The message of these very bytes.
    fn take(&self, encrypted: &[u8]) -> Option<Vec<u8>> {
        let kept = self.0.take()?;
        (kept.encrypted == encrypted).then(|| kept.message.to_vec())
    }
}

impl Seal20 {
    fn seal(&self, sequence: u32, message: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
        let encrypted = self.suite.confidentiality == Confidentiality::AesCbc128;
        let authenticated = self.suite.integrity != Integrity::None;
        let header = Header {
            payload_type: PayloadType::Ipmi,
            encrypted,
            authenticated,
            session_id: self.bmc_id,
            sequence,
        };
        let mut packet = if encrypted {
            let payload = self.encrypt(message, entropy);
            self.last.keep(&payload, message);
            header.encode(&payload)
        } else {
            header.encode(message)
        };
        if authenticated {
            let count = if self.quirks.has(Quirk::PadCountWithoutTrailer) {
                PadCount::WithoutTrailer
            } else {
                PadCount::WithTrailer
            };
            packet = encode_covered(packet, count);
            let code = self.code(&packet);
            packet.extend_from_slice(&code);
        }
        rmcp::encode(Class::Ipmi, &packet)
    }

    fn unseal(&self, body: &[u8]) -> Result<Unsealed, Dropped> {
        let packet = session20::Packet::decode(body).map_err(|_| Dropped::Malformed)?;
        let header = packet.header;
        // Serial over LAN and makers' payloads are not spoken here.
        if header.payload_type != PayloadType::Ipmi || header.session_id != self.console_id {
            return Err(Dropped::OtherSession);
        }
        if self.suite.integrity != Integrity::None {
            // An OpenBMC of 2018 sent such packets; taking them would let anybody speak here.
            if !header.authenticated {
                return Err(Dropped::NotAuthenticated);
            }
            let sealed = packet
                .sealed(self.suite.integrity.code_length())
                .map_err(|_| Dropped::Malformed)?;
            if !bool::from(self.code(sealed.covered).ct_eq(sealed.code)) {
                return Err(Dropped::WrongCode);
            }
        } else if header.authenticated {
            // The suite has no code, so that nothing could be checked here.
            return Err(Dropped::Malformed);
        }
        let message = match (self.suite.confidentiality, header.encrypted) {
            (Confidentiality::None, false) => packet.payload.to_vec(),
            (Confidentiality::None, true) => return Err(Dropped::Malformed),
            (_, true) => self.message_of(packet.payload)?,
            // The code was right, so that nobody but the BMC can have sent it in clear.
            (_, false) if self.quirks.has(Quirk::UnencryptedReplies) => packet.payload.to_vec(),
            (_, false) => return Err(Dropped::NotEncrypted),
        };
        Ok(Unsealed {
            sequence: header.sequence,
            message,
        })
    }

    /// What is encrypted in a packet of this session, whoever sent it. For people only: no code is
    /// checked.
    pub(super) fn read(&self, packet: &session20::Packet<'_>, way: Way) -> Option<Vec<u8>> {
        let session_id = match way {
            Way::Out => self.bmc_id,
            Way::In => self.console_id,
        };
        let ours = packet.header.session_id == session_id;
        let encrypts = self.suite.confidentiality == Confidentiality::AesCbc128;
        if !ours || !encrypts {
            return None;
        }
        let message = self.message_of(packet.payload).ok()?;
        if way == Way::In {
            // `unseal` takes this packet in next, and need not decrypt it again.
            self.last.keep(packet.payload, &message);
        }
        Some(message)
    }

    fn message_of(&self, payload: &[u8]) -> Result<Vec<u8>, Dropped> {
        match self.last.take(payload) {
            Some(message) => Ok(message),
            None => self.decrypt(payload),
        }
    }

    /// The integrity code over `covered`.
    fn code(&self, covered: &[u8]) -> Zeroizing<Vec<u8>> {
        let algorithm = match self.suite.integrity {
            Integrity::None => Authentication::None,
            Integrity::HmacSha1_96 => Authentication::HmacSha1,
            Integrity::HmacMd5_128 => Authentication::HmacMd5,
            Integrity::HmacSha256_128 => Authentication::HmacSha256,
            Integrity::Md5_128 => {
                // §13.28.4: MD5-128 is no HMAC and has no K1; the password stands at both ends.
                let password = &self.keys.password[..];
                return Zeroizing::new(md5(&[password, covered, password]).to_vec());
            }
        };
        let mut code = hmac(algorithm, &self.keys.integrity, &[covered]);
        // §13.28.4: HMAC-SHA1-96 and HMAC-SHA256-128 send the beginning of their digests only.
        code.truncate(self.suite.integrity.code_length());
        code
    }

    /// §13.29: initialisation vector, then the message with a pad of 1, 2, 3 ... and the pad's
    /// length.
    fn encrypt(&self, message: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
        let mut iv = [0; BLOCK];
        // A vector that is used twice would show which messages begin alike.
        entropy.fill(&mut iv);
        let pad = (message.len() + 1).next_multiple_of(BLOCK) - message.len() - 1;
        let mut plain = Zeroizing::new(message.to_vec());
        plain.extend((1..).take(pad));
        plain.push(pad as u8);
        let mut payload = iv.to_vec();
        payload.extend(aes_cbc_encrypt(&self.keys.cipher, &iv, &plain));
        payload
    }

    /// A pad of 16 is taken too: OpenBMC sends it where none is needed.
    fn decrypt(&self, payload: &[u8]) -> Result<Vec<u8>, Dropped> {
        let (iv, cipher) = payload
            .split_first_chunk::<BLOCK>()
            .ok_or(Dropped::WrongPad)?;
        let mut plain = aes_cbc_decrypt(&self.keys.cipher, iv, cipher).ok_or(Dropped::WrongPad)?;
        let length = plain.pop().ok_or(Dropped::WrongPad)?;
        let at = plain
            .len()
            .checked_sub(usize::from(length))
            .filter(|_| usize::from(length) <= BLOCK)
            .ok_or(Dropped::WrongPad)?;
        // §13.29: the pad counts from 1. Some BMCs send zeros; the code over it was right.
        plain.truncate(at);
        Ok(plain)
    }
}

/// IPMI v1.5.
pub(super) struct Seal15 {
    pub(super) auth_type: AuthType,
    pub(super) password: Zeroizing<[u8; 16]>,
    pub(super) session_id: u32,
    /// Whether our packets, and the BMC's, carry codes.
    pub(super) per_message: bool,
    pub(super) quirks: Quirks,
    /// Supermicro's OEM code, the same for every packet.
    supermicro: Option<[u8; 16]>,
}

impl Seal15 {
    /// The seal of a session with this user's password.
    pub(super) fn new(
        auth_type: AuthType,
        password: &Password,
        session_id: u32,
        per_message: bool,
        quirks: Quirks,
    ) -> Self {
        Self {
            auth_type,
            password: crypto::padded(password.expose()),
            session_id,
            per_message,
            quirks,
            supermicro: None,
        }
    }

    /// Supermicro's OEM authentication: MD5(challenge XOR MD5(password)).
    // ipmitool sends zeros for the challenge with `-o supermicro`, because the code has it.
    pub(super) fn answer_supermicro(&mut self, challenge: &[u8; 16], password: &Password) {
        let mut mixed = md5(&[password.expose()]);
        for (byte, challenge) in mixed.iter_mut().zip(challenge) {
            *byte ^= challenge;
        }
        self.supermicro = Some(md5(&[&mixed]));
    }

    /// The seal of the session that this log-in's seal has led to.
    pub(super) fn activated(&self, session_id: u32, per_message: bool) -> Self {
        Self {
            auth_type: self.auth_type,
            password: self.password.clone(),
            session_id,
            per_message,
            quirks: self.quirks,
            supermicro: self.supermicro,
        }
    }

    /// §22.17.1: over password, session id, message without its length, sequence, password.
    pub(super) fn code(&self, auth_type: AuthType, sequence: u32, message: &[u8]) -> [u8; 16] {
        self.code_for(self.session_id, auth_type, sequence, message)
    }

    /// The code of a packet that carries this session id.
    fn code_for(
        &self,
        session_id: u32,
        auth_type: AuthType,
        sequence: u32,
        message: &[u8],
    ) -> [u8; 16] {
        let password = &self.password[..];
        let id = session_id.to_le_bytes();
        let sequence = sequence.to_le_bytes();
        let parts = [password, &id[..], message, &sequence[..], password];
        match (auth_type, self.supermicro) {
            // With `-o supermicro` ipmitool sends one code in every packet.
            (AuthType::Oem, Some(code)) => code,
            (AuthType::None, _) => [0; 16],
            (AuthType::Md2, _) => md2(&parts),
            (AuthType::Md5, _) => md5(&parts),
            // What makers do with OEM is theirs: Quanta's is the password itself, as ipmitool's
            // packets show.
            (AuthType::Password | AuthType::Oem, _) => *self.password,
        }
    }

    fn seal(&self, sequence: u32, message: &[u8]) -> Vec<u8> {
        rmcp::encode(Class::Ipmi, &self.body(sequence, message))
    }

    /// The packet without RMCP header.
    // Activate Session goes with the number 0: ipmi-rs counted it and lost its next request.
    pub(super) fn body(&self, sequence: u32, message: &[u8]) -> Vec<u8> {
        let auth_type = if self.per_message {
            self.auth_type
        } else {
            AuthType::None
        };
        session15::Packet {
            auth_type,
            sequence,
            session_id: self.session_id,
            code: Some(self.code(auth_type, sequence, message)),
            payload: message,
        }
        .encode()
    }

    pub(super) fn unseal(&self, body: &[u8]) -> Result<Unsealed, Dropped> {
        let packet = session15::Packet::decode(body).map_err(|_| Dropped::Malformed)?;
        // Tyan's S2882 answers with the number 0 (FreeIPMI's `idzero`).
        let zero = packet.session_id == 0 && self.quirks.has(Quirk::SessionId0);
        if packet.session_id != self.session_id && !zero {
            return Err(Dropped::OtherSession);
        }
        let expected = if self.per_message {
            self.auth_type
        } else {
            AuthType::None
        };
        // A right code that was not asked for does no harm (Dell PE 2850).
        if packet.auth_type != expected && packet.auth_type != self.auth_type {
            return Err(Dropped::NotAuthenticated);
        }
        if let Some(code) = packet.code
            && !self.quirks.has(Quirk::NoCodeCheck)
        {
            // Over the number in the packet, even 0: so ipmipower reads it with `idzero`.
            let id = packet.session_id;
            let right = self.code_for(id, packet.auth_type, packet.sequence, packet.payload);
            if !bool::from(right.ct_eq(&code)) {
                return Err(Dropped::WrongCode);
            }
        }
        // Sun's ILOM 1 and 2. FreeIPMI leaves the number in Activate Session as it is.
        let sequence = if self.quirks.has(Quirk::SequenceSwapped) {
            packet.sequence.swap_bytes()
        } else {
            packet.sequence
        };
        Ok(Unsealed {
            sequence,
            message: packet.payload.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipmi::SuiteId;

    fn seal() -> Seal20 {
        Seal20 {
            suite: SuiteId(3).suite().expect("a standard suite"),
            keys: SessionKeys {
                integrity: Zeroizing::new(vec![0x11; 20]),
                password: Zeroizing::new([0; 20]),
                cipher: Zeroizing::new([0x22; 16]),
            },
            console_id: 5,
            bmc_id: 6,
            quirks: Quirks::NONE,
            last: LastMessage::default(),
        }
    }

    #[test]
    fn what_is_shown_to_people_is_not_decrypted_a_second_time() {
        let mut seal = seal();
        let message = [0x20, 0x18, 0xC8, 0x81, 0x04, 0x01, 0x7A];
        let ours = seal.seal(1, &message, &mut crate::entropy::Seeded::new(1));
        let theirs = with_plaintext(
            &seal,
            &[&message[..], &[1, 2, 3, 4, 5, 6, 7, 8, 8]].concat(),
            true,
        );
        let packet = session20::Packet::decode(&ours[4..]).expect("a packet");
        let answer = session20::Packet::decode(&theirs).expect("a packet");
        // With another key nothing could be decrypted: what is read was there already.
        let key = std::mem::replace(&mut seal.keys.cipher, Zeroizing::new([0x99; 16]));
        assert_eq!(seal.read(&packet, Way::Out).as_deref(), Some(&message[..]));
        assert_ne!(seal.read(&packet, Way::Out).as_deref(), Some(&message[..]));
        seal.keys.cipher = key;
        assert_eq!(seal.read(&answer, Way::In).as_deref(), Some(&message[..]));
        seal.keys.cipher = Zeroizing::new([0x99; 16]);
        let taken = seal.unseal(&theirs).map(|unsealed| unsealed.message);
        assert_eq!(taken.ok().as_deref(), Some(&message[..]));
    }

    /// A packet with a right code around this plaintext, pad and all.
    fn with_plaintext(seal: &Seal20, plain: &[u8], encrypted: bool) -> Vec<u8> {
        let iv = [0x33; BLOCK];
        let mut payload = iv.to_vec();
        payload.extend(aes_cbc_encrypt(&seal.keys.cipher, &iv, plain));
        let header = Header {
            payload_type: PayloadType::Ipmi,
            encrypted,
            authenticated: true,
            session_id: 5,
            sequence: 1,
        };
        let mut packet = encode_covered(header.encode(&payload), PadCount::WithTrailer);
        let code = seal.code(&packet);
        packet.extend_from_slice(&code);
        packet
    }

    #[test]
    fn a_pad_of_sixteen_is_taken_because_openbmc_sends_it() {
        let mut plain = vec![0xAB; 15];
        plain.extend(1..=16);
        plain.push(16);
        let unsealed = seal().unseal(&with_plaintext(&seal(), &plain, true));
        assert_eq!(unsealed.ok().map(|it| it.message), Some(vec![0xAB; 15]));
    }

    #[test]
    fn a_pad_of_any_bytes_is_taken_and_one_that_is_longer_than_the_packet_is_not() {
        let unseal = |pad: [u8; 3], length: u8| {
            let plain = [&[0xAB; 12][..], &pad, &[length]].concat();
            let unsealed = seal().unseal(&with_plaintext(&seal(), &plain, true));
            unsealed.map(|it| it.message)
        };
        for pad in [[1, 2, 3], [0, 0, 0], [3, 3, 3], [0xFF, 0, 9]] {
            assert_eq!(unseal(pad, 3), Ok(vec![0xAB; 12]), "{pad:?}");
        }
        for length in [16, 17, 0xFF] {
            assert_eq!(unseal([1, 2, 3], length), Err(Dropped::WrongPad));
        }
    }

    #[test]
    fn what_is_not_encrypted_or_not_authenticated_is_dropped_where_the_suite_does_both() {
        let plain = [0xAB; 16];
        let unsealed = seal().unseal(&with_plaintext(&seal(), &plain, false));
        assert_eq!(unsealed.err(), Some(Dropped::NotEncrypted));
        let header = Header {
            session_id: 5,
            sequence: 1,
            ..Header::outside(PayloadType::Ipmi)
        };
        let unsealed = seal().unseal(&header.encode(&plain));
        assert_eq!(unsealed.err(), Some(Dropped::NotAuthenticated));
    }
}
