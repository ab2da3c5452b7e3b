//! Get System Boot Options (§28.13).

use super::command;
use super::set_system_boot_options::Parameter;
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// Read one parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Its number, 0 to 127.
    pub number: u8,
    /// Set selector, 0 where the parameter has none.
    pub set: u8,
    /// Block selector, 0 where the parameter has none.
    pub block: u8,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The parameters' version, 1.
    pub version: u8,
    /// Whether the parameter is marked as invalid.
    pub invalid: bool,
    /// The parameter with its data.
    pub parameter: Parameter,
}

command!(net_fn::CHASSIS, 0x09, "Get System Boot Options", Response);

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        vec![self.number & 0x7F, self.set, self.block]
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let [number, set, block] = Reader::new(data).array("Get System Boot Options request")?;
        Ok(Self {
            number: number & 0x7F,
            set,
            block,
        })
    }
}

impl Wire for Response {
    fn encode(&self) -> Vec<u8> {
        let invalid = if self.invalid { 0x80 } else { 0 };
        let mut bytes = vec![self.version & 0x0F, self.parameter.number() | invalid];
        bytes.extend(self.parameter.data());
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Get System Boot Options response";
        let mut reader = Reader::new(data);
        let [version, number] = reader.array(WHAT)?;
        let parameter = Parameter::from_parts(number, reader.rest());
        match parameter {
            Parameter::Other {
                // These have a form of their own, for which the data was too short.
                number: 0 | 3 | 4 | 5,
                ..
            } => Err(DecodeError::Short { what: WHAT }),
            parameter => Ok(Self {
                // §28.13: the upper half is reserved.
                version: version & 0x0F,
                invalid: number & 0x80 != 0,
                parameter,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::set_system_boot_options::Device;
    use super::*;

    #[test]
    fn boot_flags_are_read_from_the_bytes_of_table_28_14() {
        let bytes = [0x01, 0x05, 0xC0, 0x08, 0x00, 0x00, 0x00];
        let Parameter::BootFlags(flags) = Response::decode(&bytes).unwrap().parameter else {
            panic!("boot flags");
        };
        assert!(flags.valid && flags.persistent && !flags.uefi);
        assert_eq!(flags.device, Device::DISK);
    }
}
