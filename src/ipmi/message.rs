//! The IPMI LAN message (§13.8): a request or a response between two software or controller
//! addresses.

use super::{CompletionCode, DecodeError, Reader};

/// The BMC's own slave address.
pub const BMC_ADDRESS: u8 = 0x20;
/// The address of the remote console's software.
// Table 5-4: addresses of software are odd, and 81h is the first remote console's.
pub const CONSOLE_ADDRESS: u8 = 0x81;

/// Network functions (§5.1), the request's even number; a response has one more.
pub mod net_fn {
    pub const CHASSIS: u8 = 0x00;
    /// Sensor and event.
    pub const SENSOR_EVENT: u8 = 0x04;
    pub const APP: u8 = 0x06;
    /// Non-volatile storage.
    pub const STORAGE: u8 = 0x0A;
    /// Group extension; the first data byte names the group.
    pub const GROUP: u8 = 0x2C;
}

/// Whether wrong checksums are an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksums {
    /// Both must be right.
    Verified,
    /// Some boards compute them wrongly (FreeIPMI's `nochecksumcheck`).
    Ignored,
}

/// A request (§13.8, table 13-8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Who shall answer: [`BMC_ADDRESS`] or the target of a bridged message.
    pub responder: u8,
    /// Network function, 0 to 62, even.
    pub net_fn: u8,
    /// The responder's logical unit, 0 to 3.
    pub lun: u8,
    /// Who asks: [`CONSOLE_ADDRESS`], or the BMC for a bridged message.
    pub requester: u8,
    /// The requester's logical unit, 0 to 3.
    pub requester_lun: u8,
    /// The requester's sequence number, 0 to 63.
    pub sequence: u8,
    /// Command number.
    pub command: u8,
    /// Request data.
    pub data: Vec<u8>,
}

/// A response (§13.8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    pub requester: u8,
    /// The response's network function, odd.
    pub net_fn: u8,
    /// The requester's logical unit.
    pub requester_lun: u8,
    pub responder: u8,
    /// The responder's logical unit.
    pub lun: u8,
    /// The request's sequence number, 0 to 63.
    pub sequence: u8,
    /// Command number.
    pub command: u8,
    /// How it went.
    pub completion: CompletionCode,
    /// Response data, without the completion code.
    pub data: Vec<u8>,
}

/// The two's complement of the sum of `bytes`: with it, the sum is zero.
pub fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}

impl Request {
    /// A request of the console to the BMC itself.
    pub fn to_bmc(net_fn: u8, lun: u8, command: u8, sequence: u8, data: Vec<u8>) -> Self {
        Self {
            responder: BMC_ADDRESS,
            net_fn,
            lun,
            requester: CONSOLE_ADDRESS,
            requester_lun: 0,
            sequence,
            command,
            data,
        }
    }

    /// Its bytes, with both checksums.
    pub fn encode(&self) -> Vec<u8> {
        encode(
            [self.responder, self.net_fn << 2 | self.lun & 3],
            [
                self.requester,
                // §13.8: the number has six bits above the logical unit, and comes again after 64.
                self.sequence << 2 | self.requester_lun & 3,
                self.command,
            ],
            None,
            &self.data,
        )
    }

    /// The request of `bytes`.
    ///
    /// # Errors
    /// Too short, a wrong checksum, or an odd network function: that is a response.
    pub fn decode(bytes: &[u8], checksums: Checksums) -> Result<Self, DecodeError> {
        let parts = split(bytes, checksums)?;
        if parts.net_fn & 1 != 0 {
            return Err(DecodeError::Value {
                what: "request network function",
                value: parts.net_fn,
            });
        }
        Ok(Self {
            responder: parts.to,
            net_fn: parts.net_fn,
            lun: parts.to_lun,
            requester: parts.from,
            requester_lun: parts.from_lun,
            sequence: parts.sequence,
            command: parts.command,
            data: parts.data.to_vec(),
        })
    }

    /// The response to this request.
    pub fn respond(&self, completion: CompletionCode, data: Vec<u8>) -> Response {
        Response {
            requester: self.requester,
            net_fn: self.net_fn | 1,
            requester_lun: self.requester_lun,
            responder: self.responder,
            lun: self.lun,
            sequence: self.sequence,
            command: self.command,
            completion,
            data,
        }
    }
}

impl Response {
    /// Its bytes, with both checksums.
    pub fn encode(&self) -> Vec<u8> {
        encode(
            [self.requester, self.net_fn << 2 | self.requester_lun & 3],
            [
                self.responder,
                self.sequence << 2 | self.lun & 3,
                self.command,
            ],
            Some(self.completion.0),
            &self.data,
        )
    }

    /// The response of `bytes`.
    ///
    /// # Errors
    /// Too short, a wrong checksum, or an even network function: that is a request.
    pub fn decode(bytes: &[u8], checksums: Checksums) -> Result<Self, DecodeError> {
        let parts = split(bytes, checksums)?;
        if parts.net_fn & 1 == 0 {
            return Err(DecodeError::Value {
                what: "response network function",
                value: parts.net_fn,
            });
        }
        let mut reader = Reader::new(parts.data);
        let completion = CompletionCode(reader.u8("completion code")?);
        Ok(Self {
            requester: parts.to,
            net_fn: parts.net_fn,
            requester_lun: parts.to_lun,
            responder: parts.from,
            lun: parts.from_lun,
            sequence: parts.sequence,
            command: parts.command,
            completion,
            data: reader.rest().to_vec(),
        })
    }
}

struct Parts<'a> {
    to: u8,
    net_fn: u8,
    to_lun: u8,
    from: u8,
    sequence: u8,
    from_lun: u8,
    command: u8,
    data: &'a [u8],
}

fn encode(head: [u8; 2], middle: [u8; 3], completion: Option<u8>, data: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.push(checksum(&head));
    bytes.extend_from_slice(&middle);
    bytes.extend(completion);
    bytes.extend_from_slice(data);
    // §13.8: the second checksum leaves out the first one and what that covers.
    bytes.push(checksum(&bytes[3..]));
    bytes
}

fn split(bytes: &[u8], checksums: Checksums) -> Result<Parts<'_>, DecodeError> {
    const WHAT: &str = "IPMI message";
    let short = DecodeError::Short { what: WHAT };
    let (head, rest) = bytes.split_first_chunk::<3>().ok_or(short)?;
    // The last byte is the second checksum.
    let (_, covered) = rest.split_last().ok_or(short)?;
    if checksums == Checksums::Verified {
        if checksum(head) != 0 {
            return Err(DecodeError::Checksum {
                what: "IPMI message header",
            });
        }
        if checksum(rest) != 0 {
            return Err(DecodeError::Checksum { what: WHAT });
        }
    }
    let mut reader = Reader::new(covered);
    let from = reader.u8(WHAT)?;
    let sequence = reader.u8(WHAT)?;
    let command = reader.u8(WHAT)?;
    Ok(Parts {
        to: head[0],
        net_fn: head[1] >> 2,
        to_lun: head[1] & 3,
        from,
        sequence: sequence >> 2,
        from_lun: sequence & 3,
        command,
        data: reader.rest(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Get Channel Authentication Capabilities as ipmitool 1.8.19 sends it first (capture on
    /// loopback).
    const AUTH_CAPABILITIES: &[u8] = &[
        0x20, 0x18, 0xC8, // to the BMC, network function 06h LUN 0, checksum
        0x81, 0x00, 0x38, // from the console, sequence 0, command 38h
        0x8E, 0x04, // this channel with extended data, administrator
        0xB5, // checksum
    ];

    /// The answer of a BMC to Get Chassis Status with sequence 2: §28.2's three bytes, worked out
    /// by hand.
    const CHASSIS_STATUS: &[u8] = &[
        0x81, 0x04, 0x7B, // to the console, network function 01h, 81+04+7B = 100h
        0x20, 0x08, 0x01, // from the BMC, sequence 2, command 01h
        0x00, // completed
        0x21, 0x10, 0x40, // on, restore policy previous; on by command; identify supported
        0x66, // 20+08+01+00+21+10+40+66 = 100h
    ];

    #[test]
    fn a_request_is_the_bytes_that_ipmitool_sends() {
        let request = Request::to_bmc(net_fn::APP, 0, 0x38, 0, vec![0x8E, 0x04]);
        assert_eq!(request.encode(), AUTH_CAPABILITIES);
        assert_eq!(
            Request::decode(AUTH_CAPABILITIES, Checksums::Verified),
            Ok(request)
        );
    }

    #[test]
    fn a_response_gives_its_completion_code_and_data() {
        let response = Response::decode(CHASSIS_STATUS, Checksums::Verified).unwrap();
        assert_eq!(response.net_fn, 1);
        assert_eq!(response.sequence, 2);
        assert_eq!(response.command, 1);
        assert_eq!(response.completion, CompletionCode::OK);
        assert_eq!(response.data, [0x21, 0x10, 0x40]);
        assert_eq!(response.encode(), CHASSIS_STATUS);
    }

    #[test]
    fn every_flipped_bit_is_noticed_unless_checksums_are_ignored() {
        for at in 0..CHASSIS_STATUS.len() {
            for bit in 0..8 {
                let mut bytes = CHASSIS_STATUS.to_vec();
                bytes[at] ^= 1 << bit;
                assert!(Response::decode(&bytes, Checksums::Verified).is_err());
            }
        }
        let mut bytes = CHASSIS_STATUS.to_vec();
        bytes[10] ^= 1;
        assert!(Response::decode(&bytes, Checksums::Ignored).is_ok());
    }

    #[test]
    fn every_truncation_is_an_error() {
        for length in 0..CHASSIS_STATUS.len() {
            assert!(Response::decode(&CHASSIS_STATUS[..length], Checksums::Verified).is_err());
        }
        for length in 0..8 {
            assert!(Response::decode(&CHASSIS_STATUS[..length], Checksums::Ignored).is_err());
        }
    }
}
