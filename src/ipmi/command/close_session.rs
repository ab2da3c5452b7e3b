//! Close Session (§22.19).

use super::{Empty, command};
use crate::ipmi::message::net_fn;
use crate::ipmi::{DecodeError, Reader, Wire};

/// Which session to close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The BMC's session id; 0 to go by the handle.
    pub session_id: u32,
    /// The session's handle, only where `session_id` is 0.
    pub handle: Option<u8>,
}

command!(net_fn::APP, 0x3C, "Close Session", Empty);

impl Wire for Request {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.session_id.to_le_bytes().to_vec();
        bytes.extend(self.handle);
        bytes
    }

    fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        Ok(Self {
            session_id: reader.u32("Close Session request")?,
            // §22.19: the handle is there only where the id is 0.
            handle: reader.optional(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_id_goes_least_significant_byte_first() {
        let request = Request {
            session_id: 0x1122_3344,
            handle: None,
        };
        assert_eq!(request.encode(), [0x44, 0x33, 0x22, 0x11]);
    }
}
