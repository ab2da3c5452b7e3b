//! RMCP+ Open Session Request and Response (§13.17, §13.18): the payloads, without session header.

use super::{Algorithms, DecodeError, Reader, Status, Wire};

/// RMCP+ Open Session Request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Comes back in the response.
    pub tag: u8,
    /// The highest privilege asked for; 0 is "the highest that is allowed".
    pub privilege: u8,
    /// The id that the console gives the session, not 0.
    pub console_id: u32,
    /// The algorithms proposed.
    pub algorithms: Algorithms,
}

/// RMCP+ Open Session Response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response {
    /// The BMC goes on.
    Accepted(Accepted),
    /// The BMC refuses.
    Refused(Refused),
}

/// The BMC opened a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The request's tag.
    pub tag: u8,
    /// The highest privilege allowed; OpenBMC may say 0, which is no error.
    pub privilege: u8,
    /// The console's session id.
    pub console_id: u32,
    /// The BMC's session id.
    pub bmc_id: u32,
    /// The algorithms chosen.
    pub algorithms: Algorithms,
}

/// An error reply of Open Session or RAKP: as much as the BMC cared to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The tag; OpenBMC sends 0 whatever was asked.
    pub tag: u8,
    /// Why, `None` where the reply ends after the tag.
    pub status: Option<Status>,
    /// The receiver's session id, `None` where the reply ends before; OpenBMC sends 0.
    pub session_id: Option<u32>,
}

impl Refused {
    /// An error reply with all that belongs in it.
    pub fn new(tag: u8, status: Status, session_id: u32) -> Self {
        Self {
            tag,
            status: Some(status),
            session_id: Some(session_id),
        }
    }

    /// Its bytes: one, two or eight, as far as it goes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.tag];
        let Some(status) = self.status else {
            return bytes;
        };
        bytes.push(status.0);
        if let Some(session_id) = self.session_id {
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(&session_id.to_le_bytes());
        }
        bytes
    }

    /// The error reply of `data`, `None` where its status says that there was no error. Real BMCs
    /// send 1, 2, 7, 8 or all bytes, so the status counts as soon as it is there.
    ///
    /// # Errors
    /// No byte at all.
    pub(super) fn decode(data: &[u8], what: &'static str) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(data);
        let tag = reader.u8(what)?;
        let Some(status) = reader.optional().map(Status) else {
            return Ok(Some(Self {
                tag,
                status: None,
                session_id: None,
            }));
        };
        if status == Status::OK {
            return Ok(None);
        }
        let session_id = reader
            .take(2, what)
            // Replies of seven bytes were seen, whose session id is cut.
            .and_then(|_reserved| reader.u32(what))
            .ok();
        Ok(Some(Self {
            tag,
            status: Some(status),
            session_id,
        }))
    }
}

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.tag, self.privilege, 0, 0];
        bytes.extend_from_slice(&self.console_id.to_le_bytes());
        encode_algorithms(&mut bytes, self.algorithms);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "open session request";
        let mut reader = Reader::new(data);
        let [tag, privilege, _, _] = reader.array(WHAT)?;
        Ok(Self {
            tag,
            privilege,
            console_id: reader.u32(WHAT)?,
            algorithms: decode_algorithms(&mut reader, WHAT)?,
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Refused(refused) => refused.encode(),
            Self::Accepted(accepted) => {
                let mut bytes = vec![accepted.tag, Status::OK.0, accepted.privilege, 0];
                bytes.extend_from_slice(&accepted.console_id.to_le_bytes());
                bytes.extend_from_slice(&accepted.bmc_id.to_le_bytes());
                encode_algorithms(&mut bytes, accepted.algorithms);
                bytes
            }
        }
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "open session response";
        if let Some(refused) = Refused::decode(data, WHAT)? {
            return Ok(Self::Refused(refused));
        }
        let mut reader = Reader::new(data);
        let [tag, _, privilege, _] = reader.array(WHAT)?;
        Ok(Self::Accepted(Accepted {
            tag,
            privilege,
            console_id: reader.u32(WHAT)?,
            bmc_id: reader.u32(WHAT)?,
            algorithms: decode_algorithms(&mut reader, WHAT)?,
        }))
    }
}

fn encode_algorithms(bytes: &mut Vec<u8>, algorithms: Algorithms) {
    for (kind, algorithm) in [
        (0, algorithms.authentication),
        (1, algorithms.integrity),
        (2, algorithms.confidentiality),
    ] {
        // §13.17: kind, reserved, the length of the block, the algorithm in six bits.
        bytes.extend_from_slice(&[kind, 0, 0, 8, algorithm & 0x3F, 0, 0, 0]);
    }
}

fn decode_algorithms(
    reader: &mut Reader<'_>,
    what: &'static str,
) -> Result<Algorithms, DecodeError> {
    let mut numbers = [0; 3];
    for (kind, number) in (0u8..).zip(&mut numbers) {
        let block: [u8; 8] = reader.array(what)?;
        // §13.18: the blocks have this order, so that another kind means a garbled answer.
        if block[0] != kind {
            return Err(DecodeError::Value {
                what: "algorithm payload type",
                value: block[0],
            });
        }
        // The length is not looked at: a block has eight bytes, whatever it says.
        *number = block[4] & 0x3F;
    }
    let [authentication, integrity, confidentiality] = numbers;
    Ok(Algorithms {
        authentication,
        integrity,
        confidentiality,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipmi::SuiteId;

    /// Table 13-9 for suite 17, laid out by hand.
    const REQUEST: &[u8] = &[
        0x05, 0x04, 0x00, 0x00, // tag 5, administrator, reserved
        0xA4, 0xA3, 0xA2, 0xA0, // console session A0A2_A3A4h
        0x00, 0x00, 0x00, 0x08, 0x03, 0x00, 0x00, 0x00, // authentication: HMAC-SHA256
        0x01, 0x00, 0x00, 0x08, 0x04, 0x00, 0x00, 0x00, // integrity: HMAC-SHA256-128
        0x02, 0x00, 0x00, 0x08, 0x01, 0x00, 0x00, 0x00, // confidentiality: AES-CBC-128
    ];

    /// Table 13-10.
    const RESPONSE: &[u8] = &[
        0x05, 0x00, 0x04, 0x00, // tag 5, no errors, administrator, reserved
        0xA4, 0xA3, 0xA2, 0xA0, // console session
        0x44, 0x33, 0x22, 0x11, // BMC session 1122_3344h
        0x00, 0x00, 0x00, 0x08, 0x03, 0x00, 0x00, 0x00, //
        0x01, 0x00, 0x00, 0x08, 0x04, 0x00, 0x00, 0x00, //
        0x02, 0x00, 0x00, 0x08, 0x01, 0x00, 0x00, 0x00, //
    ];

    #[test]
    fn request_and_response_are_the_tables_bytes() {
        let request = Request {
            tag: 5,
            privilege: 4,
            console_id: 0xA0A2_A3A4,
            algorithms: SuiteId(17).suite().unwrap().algorithms(),
        };
        assert_eq!(request.encode(), REQUEST);
        assert_eq!(Request::decode(REQUEST), Ok(request));
        let Ok(Response::Accepted(accepted)) = Response::decode(RESPONSE) else {
            panic!("accepted");
        };
        assert_eq!(accepted.bmc_id, 0x1122_3344);
        assert_eq!(accepted.algorithms, request.algorithms);
        assert_eq!(Response::Accepted(accepted).encode(), RESPONSE);
    }

    #[test]
    fn a_maximum_privilege_of_zero_is_no_error() {
        let mut none = RESPONSE.to_vec();
        none[2] = 0;
        let Ok(Response::Accepted(accepted)) = Response::decode(&none) else {
            panic!("accepted");
        };
        assert_eq!((accepted.privilege, accepted.tag), (0, 5));
    }

    #[test]
    fn an_error_reply_of_any_length_gives_its_status() {
        // ipmi_sim: two bytes. OpenBMC: everything zero but the status.
        for length in [2, 7, 8, 36] {
            let mut bytes = vec![0u8; length];
            bytes[1] = 0x11;
            let Ok(Response::Refused(refused)) = Response::decode(&bytes) else {
                panic!("refused at {length} bytes");
            };
            assert_eq!(refused.status, Some(Status::NO_MATCHING_SUITE));
            assert_eq!(refused.session_id, (length >= 8).then_some(0));
        }
        let Ok(Response::Refused(refused)) = Response::decode(&[9]) else {
            panic!("one byte");
        };
        assert_eq!((refused.tag, refused.status), (9, None));
    }

    #[test]
    fn every_truncation_of_a_success_is_an_error() {
        assert!(Response::decode(&[]).is_err());
        for length in 2..RESPONSE.len() {
            assert!(Response::decode(&RESPONSE[..length]).is_err(), "{length}");
        }
        for length in 0..REQUEST.len() {
            assert!(Request::decode(&REQUEST[..length]).is_err(), "{length}");
        }
    }
}
