//! A datagram through all headers: RMCP, ASF, the session headers of both versions, message,
//! session set-up payloads. The same bytes also go to each decoder as they are, so that none hides
//! behind another's header.

use rackbmcd::ipmi::message::{self, Checksums};
use rackbmcd::ipmi::rakp::{Rakp1, Rakp2, Rakp3, Rakp4};
use rackbmcd::ipmi::rmcp::{self, Asf, Class};
use rackbmcd::ipmi::{Wire, open_session, session15, session20};

/// The longest code of a trailer that is tried.
const CODES: [usize; 4] = [0, 12, 16, 32];

/// Decodes `data` as everything that a datagram can be.
pub(crate) fn run(data: &[u8]) {
    if let Ok(packet) = rmcp::Packet::decode(data) {
        match packet.class {
            Class::Asf => asf(packet.body),
            Class::Ipmi => body(packet.body),
        }
        let again = rmcp::encode(packet.class, packet.body);
        let again = rmcp::Packet::decode(&again).expect("our own header");
        assert_eq!((again.class, again.body), (packet.class, packet.body));
    }
    asf(data);
    body(data);
    message(data);
    set_up(data);
}

fn asf(data: &[u8]) {
    if let Ok(asf) = Asf::decode(data) {
        let again = asf.encode();
        let again = rmcp::Packet::decode(&again).expect("our own header");
        assert_eq!(Asf::decode(again.body), Ok(asf));
    }
}

fn body(data: &[u8]) {
    if let Ok(packet) = session15::Packet::decode(data) {
        let bytes = packet.encode();
        assert_eq!(session15::Packet::decode(&bytes), Ok(packet));
        message(packet.payload);
    }
    if let Ok(packet) = session20::Packet::decode(data) {
        let bytes = packet.header.encode(packet.payload);
        let again = session20::Packet::decode(&bytes).expect("our own header");
        assert_eq!(
            (again.header, again.payload),
            (packet.header, packet.payload)
        );
        for length in CODES {
            if let Ok(sealed) = packet.sealed(length) {
                assert_eq!(sealed.code.len(), length);
                assert_eq!(sealed.covered.len() + length, data.len());
            }
        }
        message(packet.payload);
        set_up(packet.payload);
    }
}

fn message(data: &[u8]) {
    for checksums in [Checksums::Verified, Checksums::Ignored] {
        if let Ok(request) = message::Request::decode(data, checksums) {
            let bytes = request.encode();
            assert_eq!(
                message::Request::decode(&bytes, Checksums::Verified),
                Ok(request)
            );
        }
        if let Ok(response) = message::Response::decode(data, checksums) {
            let bytes = response.encode();
            assert_eq!(
                message::Response::decode(&bytes, Checksums::Verified),
                Ok(response)
            );
        }
    }
}

fn set_up(data: &[u8]) {
    settles::<open_session::Request>(data);
    settles::<open_session::Response>(data);
    settles::<Rakp1>(data);
    settles::<Rakp2>(data);
    settles::<Rakp3>(data);
    settles::<Rakp4>(data);
}

/// What decodes, encodes to something that decodes, and from then on stays what it is.
pub(crate) fn settles<T: Wire + PartialEq + std::fmt::Debug>(data: &[u8]) {
    if let Ok(value) = T::decode(data) {
        let bytes = value.encode();
        let again = T::decode(&bytes).expect("our own encoding");
        assert_eq!(again.encode(), bytes);
    }
}
