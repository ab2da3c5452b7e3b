//! Get Device ID (§20.1): who the BMC is.

use super::plain_request;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

plain_request!(net_fn::APP, 0x01, "Get Device ID", Response);

/// Who the BMC is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// Device id, 0 where not specified.
    pub device_id: u8,
    /// Device revision; bit 7 tells of SDRs.
    pub device_revision: u8,
    /// Whether firmware or self-initialisation is under way: most commands are refused then.
    pub unavailable: bool,
    /// Major firmware revision, 0 to 127.
    pub firmware_major: u8,
    /// Minor firmware revision, two BCD digits.
    pub firmware_minor: u8,
    /// IPMI version as BCD with the digits swapped: 51h is 1.5, 02h is 2.0.
    pub ipmi_version: u8,
    /// Additional device support, a bit for each kind.
    pub device_support: u8,
    /// The maker's enterprise number, 20 bits.
    pub manufacturer: u32,
    /// The maker's product number.
    pub product: u16,
    /// Auxiliary firmware revision, where given.
    pub auxiliary: Option<[u8; 4]>,
}

impl Response {
    /// Firmware revision in words: `2.05`.
    pub fn firmware(&self) -> String {
        // The minor number is BCD, which hexadecimal digits show as it is meant.
        format!("{}.{:02x}", self.firmware_major, self.firmware_minor)
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let unavailable = if self.unavailable { 0x80 } else { 0 };
        let mut bytes = vec![
            self.device_id,
            self.device_revision,
            self.firmware_major & 0x7F | unavailable,
            self.firmware_minor,
            self.ipmi_version,
            self.device_support,
        ];
        bytes.extend_from_slice(&self.manufacturer.to_le_bytes()[..3]);
        bytes.extend_from_slice(&self.product.to_le_bytes());
        bytes.extend(self.auxiliary.into_iter().flatten());
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get Device ID response";
        let mut reader = Reader::new(data);
        let [device_id, device_revision, firmware, firmware_minor] = reader.array(WHAT)?;
        Ok(Self {
            device_id,
            device_revision,
            unavailable: firmware & 0x80 != 0,
            firmware_major: firmware & 0x7F,
            firmware_minor,
            ipmi_version: reader.u8(WHAT)?,
            device_support: reader.u8(WHAT)?,
            manufacturer: reader.u24(WHAT)?,
            product: reader.u16(WHAT)?,
            // §20.1: the last four bytes are optional.
            auxiliary: reader.array(WHAT).ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_table_20_2_are_read() {
        let bytes = [
            0x20, 0x81, // device 20h, revision 1 with SDRs
            0x02, 0x45, 0x02, // firmware 2.45, available; IPMI 2.0
            0xBF, // device support
            0xA2, 0x02, 0x00, // manufacturer 674 (Dell)
            0x00, 0x01, // product 256
        ];
        let response = Response::decode(&bytes).unwrap();
        assert_eq!(response.firmware(), "2.45");
        assert_eq!((response.manufacturer, response.product), (674, 256));
        assert_eq!(response.auxiliary, None);
        assert_eq!(response.encode(), bytes);
        assert!(Response::decode(&bytes[..10]).is_err());
    }
}
