//! Controllers behind the BMC, such as a management engine: what Send Message leads to (IPMI v2.0
//! rev 1.1 §6.13, §22.7).
//!
//! A satellite says who it is, and may pass messages on to further ones behind itself. Nothing else
//! is known to it.

use super::wire::{self, Request};

/// A controller on a channel behind the BMC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Satellite {
    /// The channel that it is on, 0 to 15; 0 is the primary IPMB.
    pub channel: u8,
    /// Its slave address.
    pub address: u8,
    /// The product number in its Get Device ID.
    pub product: u16,
    /// The controllers behind it.
    pub behind: Vec<Self>,
}

/// Why a message was not passed on.
pub(super) enum Lost {
    /// It is no message.
    Broken,
    /// Nobody is at that address.
    Nobody,
}

/// Passes what Send Message carries (its data) on to one of `satellites`: the answers on their way
/// back, each with the address it comes from.
pub(super) fn pass_on(satellites: &[Satellite], data: &[u8]) -> Result<Vec<Answer>, Lost> {
    let (first, message) = data.split_first().ok_or(Lost::Broken)?;
    let (address, request) = wire::read_message(message).ok_or(Lost::Broken)?;
    let mut all = satellites.iter();
    let satellite = all
        .find(|one| one.channel == first & 0x0F && one.address == address)
        .ok_or(Lost::Nobody)?;
    let mut answers = satellite.answer(&request);
    if first >> 6 != TRACKED {
        // The answers stay in the receive queue, from where nobody fetches them.
        answers.clear();
    }
    Ok(answers)
}

/// An answer that is on its way back.
pub(super) struct Answer {
    from: u8,
    net_fn: u8,
    lun: u8,
    command: u8,
    completion: u8,
    data: Vec<u8>,
}

impl Answer {
    /// As the one that asked gets it: the tracking BMC puts in the sequence number that `carrier`
    /// had (§6.13.2).
    pub(super) fn returned(&self, carrier: &Request<'_>) -> Vec<u8> {
        let answered = Request {
            net_fn: self.net_fn,
            lun: self.lun,
            command: self.command,
            data: &[],
            ..*carrier
        };
        wire::write_response_from(self.from, &answered, self.completion, &self.data)
    }
}

impl Satellite {
    fn answer(&self, request: &Request<'_>) -> Vec<Answer> {
        let answer = |completion, data| Answer {
            from: self.address,
            net_fn: request.net_fn,
            lun: request.lun,
            command: request.command,
            completion,
            data,
        };
        match (request.net_fn, request.command) {
            GET_DEVICE_ID => {
                let [low, high] = self.product.to_le_bytes();
                // §20.1: device 1, firmware 1.00, IPMI 2.0, an IPMB event receiver and generator.
                let data = vec![
                    0x01, 0x00, 0x01, 0x00, 0x02, 0x30, 0x00, 0x00, 0x00, low, high,
                ];
                vec![answer(0x00, data)]
            }
            SEND_MESSAGE => match pass_on(&self.behind, request.data) {
                Ok(answers) => [answer(0x00, Vec::new())]
                    .into_iter()
                    .chain(answers)
                    .collect(),
                Err(Lost::Broken) => vec![answer(FIELD_INVALID, Vec::new())],
                Err(Lost::Nobody) => vec![answer(NAK_ON_WRITE, Vec::new())],
            },
            _ => vec![answer(INVALID_COMMAND, Vec::new())],
        }
    }
}

/// Bits 7 and 6 of Send Message's first byte: the answer is sent back to who asked.
const TRACKED: u8 = 1;
const GET_DEVICE_ID: (u8, u8) = (0x06, 0x01);
pub(super) const SEND_MESSAGE: (u8, u8) = (0x06, 0x34);
/// §22.7: nobody took the message on the bus.
pub(super) const NAK_ON_WRITE: u8 = 0x83;
const INVALID_COMMAND: u8 = 0xC1;
const FIELD_INVALID: u8 = 0xCC;

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: Satellite = Satellite {
        channel: 0,
        address: 0x2C,
        product: 0x0B01,
        behind: Vec::new(),
    };

    /// What `ipmitool -b 0 -t 0x2c raw 6 1` puts into Send Message: by hand from §13.8 and table
    /// 22-9.
    const TO_ENGINE: &[u8] = &[
        0x40, // channel 0, tracked
        0x2C, 0x18, 0xBC, // to 2Ch, network function App; 2C+18+BC = 100h
        0x20, 0x10, 0x01, // from the BMC, sequence 4, Get Device ID
        0xCF, // 20+10+01+CF = 100h
    ];

    fn carrier() -> Request<'static> {
        Request {
            net_fn: 0x06,
            lun: 0,
            requester: 0x81,
            requester_lun: 0,
            sequence: 9,
            command: 0x34,
            data: &[],
        }
    }

    #[test]
    fn an_answer_comes_back_from_the_satellite_s_address_with_the_carrier_s_sequence() {
        let Ok(answers) = pass_on(&[ENGINE], TO_ENGINE) else {
            panic!("it is there");
        };
        let back = answers[0].returned(&carrier());
        // To the console 81h, function 07h; from 2Ch, sequence 9, Get Device ID, completed.
        assert_eq!(back[..7], [0x81, 0x1C, 0x63, 0x2C, 0x24, 0x01, 0x00]);
        assert_eq!(back[16..18], [0x01, 0x0B]);
    }

    #[test]
    fn another_channel_or_address_is_nobody_and_broken_bytes_are_no_message() {
        let mut elsewhere = TO_ENGINE.to_vec();
        elsewhere[0] = 0x46;
        assert!(matches!(pass_on(&[ENGINE], &elsewhere), Err(Lost::Nobody)));
        for place in 1..TO_ENGINE.len() {
            let mut broken = TO_ENGINE.to_vec();
            broken[place] ^= 0x08;
            assert!(matches!(pass_on(&[ENGINE], &broken), Err(Lost::Broken)));
        }
        let mut untracked = TO_ENGINE.to_vec();
        untracked[0] = 0x00;
        assert!(pass_on(&[ENGINE], &untracked).is_ok_and(|answers| answers.is_empty()));
    }
}
