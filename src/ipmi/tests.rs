//! Headers, messages and set-up payloads: every value survives its bytes, and no bytes make a
//! decoder panic. What the bytes must be is shown beside each of them, against the specification's
//! tables.

use super::message::{self, Checksums};
use super::open_session::{self, Refused};
use super::payload::PayloadType;
use super::rakp::{Rakp1, Rakp2, Rakp3, Rakp4};
use super::rmcp::{self, Class};
use super::session15::{self, AuthType};
use super::session20::{self, Header, PadCount, encode_covered};
use super::{CompletionCode, Status, Wire};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt::Debug;

/// What decodes means the same after another round.
fn settles<T: Wire + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = T::decode(bytes) {
        assert_eq!(T::decode(&value.encode()), Ok(value));
    }
}

fn auth_type() -> impl Strategy<Value = AuthType> {
    prop_oneof![
        Just(AuthType::None),
        Just(AuthType::Md2),
        Just(AuthType::Md5),
        Just(AuthType::Password),
        Just(AuthType::Oem),
    ]
}

proptest! {
    #[test]
    fn payloads_of_the_set_up_settle(
        tag in any::<u8>(),
        status in prop_oneof![Just(0u8), any::<u8>()],
        rest in vec(any::<u8>(), 0..80),
    ) {
        let bytes = [&[tag, status][..], &rest].concat();
        settles::<open_session::Request>(&bytes);
        settles::<open_session::Response>(&bytes);
        // A name may be longer than one that is written, and something may follow it.
        let _ = Rakp1::decode(&bytes);
        settles::<Rakp2>(&bytes);
        settles::<Rakp3>(&bytes);
        settles::<Rakp4>(&bytes);
    }

    #[test]
    fn refusals_are_read_as_they_are_written(tag in any::<u8>(), status in 1u8.., id in any::<u32>()) {
        let refused = Refused::new(tag, Status(status), id);
        let bytes = refused.encode();
        prop_assert_eq!(open_session::Response::decode(&bytes), Ok(open_session::Response::Refused(refused)));
        prop_assert_eq!(Rakp2::decode(&bytes), Ok(Rakp2::Refused(refused)));
        prop_assert_eq!(Rakp4::decode(&bytes), Ok(Rakp4::Refused(refused)));
    }

    #[test]
    fn rakp_messages_are_read_as_they_are_written(
        ids in any::<(u8, u32)>(),
        numbers in any::<([u8; 16], [u8; 16])>(),
        name in vec(any::<u8>(), 0..=16),
        code in vec(any::<u8>(), 0..40),
    ) {
        let (tag, id) = ids;
        let rakp1 = Rakp1 {
            tag,
            bmc_id: id,
            console_random: numbers.0,
            role: 0x14,
            padded: false,
            name,
        };
        prop_assert_eq!(Rakp1::decode(&rakp1.encode()), Ok(rakp1));
        let rakp2 = Rakp2::Accepted {
            tag,
            console_id: id,
            bmc_random: numbers.0,
            guid: numbers.1,
            code: code.clone(),
        };
        prop_assert_eq!(Rakp2::decode(&rakp2.encode()), Ok(rakp2));
        let rakp3 = Rakp3 { tag, status: Status::OK, bmc_id: id, code: code.clone() };
        prop_assert_eq!(Rakp3::decode(&rakp3.encode()), Ok(rakp3));
        let rakp4 = Rakp4::Accepted { tag, console_id: id, check_value: code };
        prop_assert_eq!(Rakp4::decode(&rakp4.encode()), Ok(rakp4));
    }

    #[test]
    fn messages_are_read_as_they_are_written_and_one_wrong_byte_is_found(
        net_fn in 0u8..32,
        luns in (0u8..4, 0u8..4),
        sequence in 0u8..64,
        others in any::<(u8, u8, u8, u8)>(),
        data in vec(any::<u8>(), 0..200),
        damage in (any::<prop::sample::Index>(), 1u8..),
    ) {
        let (responder, requester, command, completion) = others;
        let request = message::Request {
            responder,
            net_fn: net_fn * 2,
            lun: luns.0,
            requester,
            requester_lun: luns.1,
            sequence,
            command,
            data: data.clone(),
        };
        let mut bytes = request.encode();
        prop_assert_eq!(message::Request::decode(&bytes, Checksums::Verified), Ok(request.clone()));
        let response = request.respond(CompletionCode(completion), data);
        let answer = response.encode();
        prop_assert_eq!(message::Response::decode(&answer, Checksums::Verified), Ok(response));
        // A sum finds every change of one byte.
        let at = damage.0.index(bytes.len());
        bytes[at] ^= damage.1;
        prop_assert!(message::Request::decode(&bytes, Checksums::Verified).is_err());
    }

    #[test]
    fn packets_of_both_versions_are_read_as_they_are_written(
        auth_type in auth_type(),
        numbers in any::<(u32, u32)>(),
        flags in any::<(bool, bool)>(),
        code in any::<[u8; 16]>(),
        payload in vec(any::<u8>(), 0..=255),
        pad in any::<bool>(),
    ) {
        let packet = session15::Packet {
            auth_type,
            sequence: numbers.0,
            session_id: numbers.1,
            code: (auth_type != AuthType::None).then_some(code),
            payload: &payload,
        };
        let mut bytes = packet.encode();
        bytes.extend(pad.then_some(0));
        prop_assert_eq!(session15::Packet::decode(&bytes), Ok(packet));

        let header = Header {
            payload_type: PayloadType::Ipmi,
            encrypted: flags.0,
            authenticated: flags.1,
            session_id: numbers.0,
            sequence: numbers.1,
        };
        let count = if pad { PadCount::WithTrailer } else { PadCount::WithoutTrailer };
        let covered = encode_covered(header.encode(&payload), count);
        let bytes = [&covered[..], &code].concat();
        let packet = session20::Packet::decode(&bytes).expect("a packet");
        prop_assert_eq!((packet.header, packet.payload), (header, &payload[..]));
        let sealed = packet.sealed(code.len()).expect("a sealed one");
        prop_assert_eq!((sealed.covered, sealed.code), (&covered[..], &code[..]));
        let datagram = rmcp::encode(Class::Ipmi, &bytes);
        prop_assert_eq!(rmcp::Packet::decode(&datagram).map(|packet| packet.body), Ok(&bytes[..]));
    }
}
