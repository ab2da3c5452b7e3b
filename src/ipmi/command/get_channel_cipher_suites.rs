//! Get Channel Cipher Suites (§22.15): which suites the BMC says it has. Advice only: some lists
//! are wrong.

use super::command;
use super::get_channel_auth_capabilities::THIS_CHANNEL;
use crate::ipmi::message::net_fn;
use crate::ipmi::{Algorithms, DecodeError, Reader, SuiteId, Wire};

/// Ask for 16 bytes of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Channel, 0 to 15.
    pub channel: u8,
    /// Payload type, 0 for IPMI.
    pub payload_type: u8,
    /// Whether to list suites (records) rather than algorithms.
    pub by_suite: bool,
    /// Which 16 bytes, 0 to 63.
    pub index: u8,
}

/// Up to 16 bytes of the list; fewer mean that it ends here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The channel's number.
    pub channel: u8,
    /// A piece of the concatenated records.
    pub records: Vec<u8>,
}

/// The bytes of list data in a response that is not the last.
pub const CHUNK: usize = 16;

command!(net_fn::APP, 0x54, "Get Channel Cipher Suites", Response);

/// One record of the whole list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The suite's id, which may mean other algorithms than the standard's.
    pub id: SuiteId,
    /// The maker's number where the suite is not a standard one.
    pub oem: Option<u32>,
    /// Authentication algorithms; a record names one.
    pub authentication: Vec<u8>,
    /// Integrity algorithms; none means no integrity.
    pub integrity: Vec<u8>,
    /// Confidentiality algorithms; none means no encryption.
    pub confidentiality: Vec<u8>,
}

// Table 22-19: the bytes with which a record begins.
const STANDARD: u8 = 0xC0;
const OEM: u8 = 0xC1;

impl Request {
    /// The `index`th 16 bytes of this channel's suites.
    pub fn chunk(index: u8) -> Self {
        Self {
            channel: THIS_CHANNEL,
            payload_type: 0,
            by_suite: true,
            index,
        }
    }
}

impl Record {
    /// The record of a standard suite.
    pub fn standard(id: SuiteId) -> Option<Self> {
        let algorithms = id.suite()?.algorithms();
        // A missing algorithm has no byte: the records of suites 1 and 15 have three bytes.
        let listed = |number| if number == 0 { vec![] } else { vec![number] };
        Some(Self {
            id,
            oem: None,
            authentication: vec![algorithms.authentication],
            integrity: listed(algorithms.integrity),
            confidentiality: listed(algorithms.confidentiality),
        })
    }

    /// Whether its end is missing: it names no authentication algorithm, as each has to, or is the
    /// beginning of the standard's record and no more.
    pub fn is_cut(&self) -> bool {
        let ours = self.encode();
        let standard = Self::standard(self.id).filter(|_| self.oem.is_none());
        let standard = standard.map(|standard| standard.encode());
        let shorter = |whole: Vec<u8>| whole.len() > ours.len() && whole.starts_with(&ours);
        // A record that is cut before its algorithms must not pass for suite 0, which has none.
        self.authentication.is_empty() || standard.is_some_and(shorter)
    }

    /// Every combination that it names; none where it is cut short.
    pub fn combinations(&self) -> Vec<Algorithms> {
        if self.is_cut() {
            return Vec::new();
        }
        let or_none = |list: &[u8]| {
            if list.is_empty() {
                vec![0]
            } else {
                list.to_vec()
            }
        };
        let mut all = Vec::new();
        for &authentication in &or_none(&self.authentication) {
            for &integrity in &or_none(&self.integrity) {
                for &confidentiality in &or_none(&self.confidentiality) {
                    all.push(Algorithms {
                        authentication,
                        integrity,
                        confidentiality,
                    });
                }
            }
        }
        all
    }

    /// Its bytes (table 22-19).
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = match self.oem {
            None => vec![STANDARD, self.id.0],
            Some(oem) => {
                let [a, b, c, _] = oem.to_le_bytes();
                vec![OEM, self.id.0, a, b, c]
            }
        };
        bytes.extend(self.authentication.iter().map(|number| number & 0x3F));
        bytes.extend(self.integrity.iter().map(|number| 0x40 | number & 0x3F));
        bytes.extend(
            self.confidentiality
                .iter()
                .map(|number| 0x80 | number & 0x3F),
        );
        bytes
    }
}

/// The records of a whole list. What is garbled is skipped up to the next record: the list is
/// advice.
pub fn records(list: &[u8]) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut reader = Reader::new(list);
    let mut within = false;
    while let Some(byte) = reader.optional() {
        match byte {
            STANDARD | OEM => {
                let oem = byte == OEM;
                let Some(id) = reader.optional() else { break };
                let oem = match oem {
                    false => None,
                    true => match reader.u24("OEM cipher suite") {
                        Ok(oem) => Some(oem),
                        Err(_) => break,
                    },
                };
                records.push(Record {
                    id: SuiteId(id),
                    oem,
                    authentication: vec![],
                    integrity: vec![],
                    confidentiality: vec![],
                });
                within = true;
            }
            // Reserved tags: the algorithms behind them belong to a record that nobody knows.
            0xC2..=0xFF => within = false,
            _ if !within => {}
            _ => {
                if let Some(record) = records.last_mut() {
                    // Table 22-19: the two upper bits say what kind of algorithm it is.
                    let list = match byte >> 6 {
                        0 => &mut record.authentication,
                        1 => &mut record.integrity,
                        _ => &mut record.confidentiality,
                    };
                    list.push(byte & 0x3F);
                }
            }
        }
    }
    records
}

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let by_suite = if self.by_suite { 0x80 } else { 0 };
        vec![
            self.channel & 0x0F,
            self.payload_type & 0x3F,
            self.index & 0x3F | by_suite,
        ]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let [channel, payload_type, index] =
            Reader::new(data).array("Get Channel Cipher Suites request")?;
        Ok(Self {
            channel: channel & 0x0F,
            payload_type: payload_type & 0x3F,
            by_suite: index & 0x80 != 0,
            index: index & 0x3F,
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.channel];
        bytes.extend_from_slice(&self.records);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let channel = reader.u8("Get Channel Cipher Suites response")?;
        Ok(Self {
            channel,
            records: reader.rest().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_of_three_four_and_five_bytes_and_oem_ones_are_read() {
        let list = [
            0xC0, 0x01, 0x01, // suite 1: HMAC-SHA1 only
            0xC0, 0x02, 0x01, 0x41, // suite 2: with integrity
            0xC0, 0x03, 0x01, 0x41, 0x81, // suite 3: with AES
            0xC1, 0x80, 0x57, 0x01, 0x00, 0x01, 0x41, 0x81, // Intel's own
            0xC0, 0x11, 0x03, 0x44, 0x81, // suite 17
        ];
        let records = records(&list);
        assert_eq!(records.len(), 5);
        for (record, id) in records.iter().zip([1, 2, 3]) {
            assert_eq!(Some(record.clone()), Record::standard(SuiteId(id)));
        }
        assert_eq!(records[3].oem, Some(343));
        assert_eq!(
            records[4].combinations(),
            [SuiteId(17).suite().unwrap().algorithms()]
        );
        let again: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        assert_eq!(again, list);
    }

    #[test]
    fn a_record_that_is_cut_short_is_no_suite_without_protection() {
        let whole = [0xC0, 0x11, 0x03, 0x44, 0x81];
        assert!(!records(&whole)[0].is_cut());
        for length in 2..whole.len() {
            let cut = records(&whole[..length]).remove(0);
            assert!(cut.is_cut(), "{length}");
            assert_eq!(cut.combinations(), []);
        }
        // A maker's own, and a suite whose standard is as short.
        assert!(records(&[0xC1, 0x80, 0x57, 0x01, 0x00])[0].is_cut());
        assert!(!records(&[0xC0, 0x0F, 0x03])[0].is_cut());
    }

    #[test]
    fn the_request_for_the_second_chunk_is_the_table_s() {
        assert_eq!(Request::chunk(1).encode(), [0x0E, 0x00, 0x81]);
    }

    proptest! {
        #[test]
        fn any_list_is_read_without_panic(list in proptest::collection::vec(any::<u8>(), 0..100)) {
            let once = records(&list);
            let bytes: Vec<u8> = once.iter().flat_map(Record::encode).collect();
            prop_assert_eq!(records(&bytes), once);
        }
    }
}
