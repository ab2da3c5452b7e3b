//! Packets as the BMC reads and writes them: RMCP, ASF, the session headers of IPMI 1.5 and 2.0,
//! and the message inside (IPMI v2.0 rev 1.1 §13.1 to §13.8).
//!
//! Pure: bytes to values and back, no state. Written from the BMC's side on purpose, apart from the
//! room `ipmi`, so that the two readings of the specification check each other.

/// A cursor over received bytes that cannot run past their end.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes` from the first.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next bytes as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes, least significant first.
    pub(super) fn word(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes, least significant first.
    pub(super) fn double(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// All that is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// What a datagram to port 623 is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Received<'a> {
    /// An ASF presence ping; `tag` names it in the pong. `acknowledge` is its RMCP sequence number
    /// where it wants one.
    Ping { tag: u8, acknowledge: Option<u8> },
    /// Another ASF message: acknowledged at most.
    OtherAsf { acknowledge: Option<u8> },
    /// An IPMI packet in the format of version 1.5.
    Version15(Packet15<'a>),
    /// An RMCP+ packet.
    Plus(PacketPlus<'a>),
}

/// An IPMI 1.5 packet (§13.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Packet15<'a> {
    /// 0 none, 1 MD2, 2 MD5, 4 straight password, 5 OEM.
    pub kind: u8,
    /// Session sequence number, 0 outside a session.
    pub sequence: u32,
    /// Session id, 0 outside a session.
    pub session_id: u32,
    /// The code, where `kind` is not 0.
    pub code: Option<[u8; 16]>,
    /// The IPMI message.
    pub message: &'a [u8],
}

/// An RMCP+ packet (§13.6, table 13-8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PacketPlus<'a> {
    /// Whether the payload is enciphered.
    pub encrypted: bool,
    /// Whether an integrity code follows.
    pub authenticated: bool,
    /// 00h IPMI, 01h SOL, 10h to 15h session set-up.
    pub payload_type: u8,
    /// The BMC's session id, 0 outside a session.
    pub session_id: u32,
    /// Session sequence number, 0 outside a session.
    pub sequence: u32,
    /// The payload as it travelled.
    pub payload: &'a [u8],
    /// What the integrity code covers: from the authentication type up to the next-header byte,
    /// when given `trailer`.
    guarded: &'a [u8],
    /// What follows the payload: pad, pad length, next header, code.
    trailer: &'a [u8],
}

impl<'a> PacketPlus<'a> {
    /// What an integrity code of `length` bytes covers, and the code. `None` where the trailer is
    /// none (§13.8.3): the pad is FFh, its length and the next header 07h stand before the code.
    pub(super) fn split_code(&self, length: usize) -> Option<(Vec<u8>, &'a [u8])> {
        let before = self.trailer.len().checked_sub(length)?;
        let (trailer, code) = self.trailer.split_at_checked(before)?;
        let (next_header, rest) = trailer.split_last()?;
        let (pad_length, pad) = rest.split_last()?;
        let whole = *next_header == 0x07
            && usize::from(*pad_length) == pad.len()
            && pad.iter().all(|byte| *byte == 0xFF);
        whole.then(|| ([self.guarded, trailer].concat(), code))
    }
}

/// Reads a datagram; `None` is one that is not for a BMC or broken, which is silently dropped
/// (§13.1.3).
pub(super) fn read(datagram: &[u8]) -> Option<Received<'_>> {
    let mut reader = Reader::new(datagram);
    let version = reader.byte()?;
    let _reserved = reader.byte()?;
    let rmcp_sequence = reader.byte()?;
    let class = reader.byte()?;
    if version != RMCP_VERSION {
        return None;
    }
    match class {
        CLASS_ASF => read_asf(
            reader,
            (rmcp_sequence != NO_ACKNOWLEDGE).then_some(rmcp_sequence),
        ),
        CLASS_IPMI if reader.rest().first() == Some(&PLUS) => read_plus(reader.rest()),
        CLASS_IPMI => read_15(reader),
        // An RMCP acknowledge (class with bit 7 set), OEM, or nothing we know.
        _ => None,
    }
}

fn read_asf(mut reader: Reader<'_>, acknowledge: Option<u8>) -> Option<Received<'_>> {
    let enterprise = reader.array::<4>()?;
    let kind = reader.byte()?;
    let tag = reader.byte()?;
    if enterprise == ASF_ENTERPRISE && kind == ASF_PING {
        Some(Received::Ping { tag, acknowledge })
    } else {
        Some(Received::OtherAsf { acknowledge })
    }
}

fn read_15(mut reader: Reader<'_>) -> Option<Received<'_>> {
    let kind = reader.byte()?;
    let sequence = reader.double()?;
    let session_id = reader.double()?;
    let code = match kind {
        0 => None,
        _ => Some(reader.array()?),
    };
    let length = reader.byte()?;
    // A pad byte may follow (§13.6, note on the legacy pad).
    let message = reader.take(usize::from(length))?;
    Some(Received::Version15(Packet15 {
        kind,
        sequence,
        session_id,
        code,
        message,
    }))
}

fn read_plus(guarded_on: &[u8]) -> Option<Received<'_>> {
    let mut reader = Reader::new(guarded_on);
    let _plus = reader.byte()?;
    let flags = reader.byte()?;
    let payload_type = flags & 0x3F;
    if payload_type == PAYLOAD_OEM_EXPLICIT {
        return None;
    }
    let session_id = reader.double()?;
    let sequence = reader.double()?;
    let length = usize::from(reader.word()?);
    let payload = reader.take(length)?;
    let trailer = reader.rest();
    Some(Received::Plus(PacketPlus {
        encrypted: flags & ENCRYPTED != 0,
        authenticated: flags & AUTHENTICATED != 0,
        payload_type,
        session_id,
        sequence,
        payload,
        guarded: &guarded_on[..guarded_on.len() - trailer.len()],
        trailer,
    }))
}

/// The answer to a presence ping (§13.2.4): IPMI is supported.
pub(super) fn pong(tag: u8, swapped: bool) -> Vec<u8> {
    let mut enterprise = ASF_ENTERPRISE;
    if swapped {
        enterprise.reverse();
    }
    let mut sent = vec![RMCP_VERSION, 0, NO_ACKNOWLEDGE, CLASS_ASF];
    sent.extend(enterprise);
    sent.extend([ASF_PONG, tag, 0, 16]);
    // Enterprise number and OEM word: no OEM functions.
    sent.extend(enterprise);
    sent.extend([0; 4]);
    // Supported entities: IPMI (bit 7), ASF version 1.0; supported interactions: none; six reserved
    // bytes.
    sent.extend([0x81, 0x00, 0, 0, 0, 0, 0, 0]);
    sent
}

/// The RMCP acknowledge of a message of class ASF (§13.2.1).
pub(super) fn acknowledge(rmcp_sequence: u8) -> Vec<u8> {
    vec![RMCP_VERSION, 0, rmcp_sequence, CLASS_ASF | 0x80]
}

/// An IPMI 1.5 packet; `code` goes with a `kind` that is not 0.
pub(super) fn write_15(
    kind: u8,
    sequence: u32,
    session_id: u32,
    code: Option<[u8; 16]>,
    message: &[u8],
) -> Vec<u8> {
    let mut sent = vec![RMCP_VERSION, 0, NO_ACKNOWLEDGE, CLASS_IPMI, kind];
    sent.extend(sequence.to_le_bytes());
    sent.extend(session_id.to_le_bytes());
    if let Some(code) = code {
        sent.extend(code);
    }
    sent.push(message.len() as u8);
    sent.extend(message);
    sent
}

/// An RMCP+ packet without its RMCP header and integrity trailer.
pub(super) fn write_plus_inner(
    flags: u8,
    payload_type: u8,
    session_id: u32,
    sequence: u32,
    payload: &[u8],
) -> Vec<u8> {
    let mut sent = vec![PLUS, flags | payload_type];
    sent.extend(session_id.to_le_bytes());
    sent.extend(sequence.to_le_bytes());
    sent.extend((payload.len() as u16).to_le_bytes());
    sent.extend(payload);
    sent
}

/// Appends the pad, its length and the next header, so that header, payload and these three are a
/// multiple of four bytes long (§13.8.3). `without_trailer` counts as ICTS does: pad length and
/// next header left out of the count.
pub(super) fn push_pad(inner: &mut Vec<u8>, without_trailer: bool) {
    let counted = inner.len() + if without_trailer { 0 } else { 2 };
    let pad = (4 - counted % 4) % 4;
    inner.extend(std::iter::repeat_n(0xFF, pad));
    inner.push(pad as u8);
    inner.push(0x07);
}

/// Puts the RMCP header before an RMCP+ packet.
pub(super) fn with_rmcp(inner: &[u8]) -> Vec<u8> {
    let mut sent = vec![RMCP_VERSION, 0, NO_ACKNOWLEDGE, CLASS_IPMI];
    sent.extend(inner);
    sent
}

/// A request inside a packet (§13.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Request<'a> {
    /// Network function, even.
    pub net_fn: u8,
    /// The BMC's logical unit that is addressed.
    pub lun: u8,
    /// Who asks, as the message says.
    pub requester: u8,
    /// The requester's logical unit.
    pub requester_lun: u8,
    /// The requester's sequence number, 0 to 63.
    pub sequence: u8,
    /// Command number.
    pub command: u8,
    /// Request data.
    pub data: &'a [u8],
}

/// Reads a request; `None` where a checksum is wrong, it is none, or it is not for the BMC (20h).
pub(super) fn read_request(message: &[u8]) -> Option<Request<'_>> {
    let (responder, request) = read_message(message)?;
    (responder == BMC_ADDRESS).then_some(request)
}

/// Reads a request with the address that it is for; `None` where a checksum is wrong or it is none.
pub(super) fn read_message(message: &[u8]) -> Option<(u8, Request<'_>)> {
    let mut reader = Reader::new(message);
    let head = reader.array::<3>()?;
    let [responder, net_fn_lun, _] = head;
    let body = reader.rest();
    if sum(&head) != 0 || sum(body) != 0 || net_fn_lun & 0x04 != 0 {
        return None;
    }
    let requester = reader.byte()?;
    let sequence_lun = reader.byte()?;
    let command = reader.byte()?;
    let (_checksum, data) = reader.rest().split_last()?;
    let request = Request {
        net_fn: net_fn_lun >> 2,
        lun: net_fn_lun & 0x03,
        requester,
        requester_lun: sequence_lun & 0x03,
        sequence: sequence_lun >> 2,
        command,
        data,
    };
    Some((responder, request))
}

/// The response to `request`: its addresses swapped, its network function plus one, completion
/// code, data.
pub(super) fn write_response(request: &Request<'_>, completion: u8, data: &[u8]) -> Vec<u8> {
    write_response_from(BMC_ADDRESS, request, completion, data)
}

/// The same of another controller.
pub(super) fn write_response_from(
    responder: u8,
    request: &Request<'_>,
    completion: u8,
    data: &[u8],
) -> Vec<u8> {
    let mut sent = vec![
        request.requester,
        (request.net_fn + 1) << 2 | request.requester_lun,
    ];
    sent.push(checksum(&sent));
    let body = sent.len();
    sent.extend([
        responder,
        request.sequence << 2 | request.lun,
        request.command,
        completion,
    ]);
    sent.extend(data);
    sent.push(checksum(&sent[body..]));
    sent
}

fn sum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

fn checksum(bytes: &[u8]) -> u8 {
    sum(bytes).wrapping_neg()
}

const RMCP_VERSION: u8 = 0x06;
const NO_ACKNOWLEDGE: u8 = 0xFF;
const CLASS_ASF: u8 = 0x06;
const CLASS_IPMI: u8 = 0x07;
const ASF_ENTERPRISE: [u8; 4] = [0x00, 0x00, 0x11, 0xBE];
const ASF_PING: u8 = 0x80;
const ASF_PONG: u8 = 0x40;
const PLUS: u8 = 0x06;
const BMC_ADDRESS: u8 = 0x20;
const PAYLOAD_OEM_EXPLICIT: u8 = 0x02;
/// Bit of the payload type byte: the payload is enciphered.
pub(super) const ENCRYPTED: u8 = 0x80;
/// Bit of the payload type byte: an integrity code follows.
pub(super) const AUTHENTICATED: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_ping_is_read_and_answered_as_the_specification_draws_it() {
        // §13.2.3, table 13-3, by hand; RMCP sequence FFh: no acknowledge wanted.
        const PING: &[u8] = &[
            0x06, 0x00, 0xFF, 0x06, // RMCP 1.0, reserved, sequence, class ASF
            0x00, 0x00, 0x11,
            0xBE, // ASF's enterprise number 4542, most significant byte first
            0x80, 0x2A, 0x00, 0x00, // presence ping, tag 2Ah, reserved, no data
        ];
        let ping = Received::Ping {
            tag: 0x2A,
            acknowledge: None,
        };
        assert_eq!(read(PING), Some(ping));
        // §13.2.4, table 13-4.
        const PONG: &[u8] = &[
            0x06, 0x00, 0xFF, 0x06, // RMCP
            0x00, 0x00, 0x11, 0xBE, 0x40, 0x2A, 0x00,
            0x10, // ASF pong, tag, reserved, 16 bytes
            0x00, 0x00, 0x11, 0xBE, 0x00, 0x00, 0x00, 0x00, // no OEM
            0x81, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // IPMI supported
        ];
        assert_eq!(pong(0x2A, false), PONG);
    }

    #[test]
    fn an_asf_message_with_a_sequence_number_wants_an_acknowledge() {
        let ping = [6, 0, 9, 6, 0, 0, 0x11, 0xBE, 0x80, 1, 0, 0];
        let Some(Received::Ping { acknowledge, .. }) = read(&ping) else {
            panic!("a ping");
        };
        assert_eq!(acknowledge, Some(9));
        assert_eq!(super::acknowledge(9), [6, 0, 9, 0x86]);
    }

    #[test]
    fn get_channel_authentication_capabilities_is_read_from_a_captured_packet() {
        // As ipmitool 1.8.19 sends it (`-I lanplus`), seen on loopback.
        const CAPTURED: &[u8] = &[
            0x06, 0x00, 0xFF, 0x07, // RMCP, class IPMI
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x09, // no session, 9 bytes
            0x20, 0x18, 0xC8, // BMC, network function App, checksum
            0x81, 0x00, 0x38, 0x8E, 0x04,
            0xB5, // console, rqSeq 0, command, channel, level, checksum
        ];
        let Some(Received::Version15(packet)) = read(CAPTURED) else {
            panic!("a packet of version 1.5");
        };
        let request = read_request(packet.message).unwrap();
        assert_eq!((request.net_fn, request.command), (0x06, 0x38));
        assert_eq!(request.data, [0x8E, 0x04]);
        // Its answer: network function 7, our address, the same sequence and command, completion
        // 00h. Checksums by hand: 81+1C = 9D, so 63; 20+00+38+00+01 = 59, so A7.
        assert_eq!(
            write_response(&request, 0x00, &[0x01]),
            [0x81, 0x1C, 0x63, 0x20, 0x00, 0x38, 0x00, 0x01, 0xA7]
        );
    }

    #[test]
    fn a_wrong_checksum_or_another_address_is_nobodys_request() {
        let good = [0x20, 0x18, 0xC8, 0x81, 0x00, 0x38, 0x8E, 0x04, 0xB5];
        assert!(read_request(&good).is_some());
        for place in 0..good.len() {
            let mut bad = good;
            bad[place] ^= 0x10;
            assert_eq!(read_request(&bad), None, "byte {place}");
        }
    }

    #[test]
    fn the_pad_makes_a_multiple_of_four_with_its_two_companions() {
        for length in 0..9 {
            let mut inner = vec![0; length];
            push_pad(&mut inner, false);
            assert_eq!(inner.len() % 4, 0);
            assert!(inner.len() < length + 6);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), head in 0usize..3) {
            let mut datagram = [&[6, 0, 0xFF, 7, 6][..], &[6, 0, 0xFF, 7, 0], &[]][head].to_vec();
            datagram.extend(&bytes);
            if let Some(Received::Plus(packet)) = read(&datagram) {
                for length in [0, 12, 16] {
                    let _ = packet.split_code(length);
                }
            }
            let _ = read_request(&bytes);
        }
    }
}
