//! GUIDs in the byte orders in which BMCs send them.
//!
//! The specification wants the least significant byte first (§20.8). Many BMCs send the bytes as
//! RFC 4122 has them, or as SMBIOS does, and nothing says which. A UUID shows by its version and
//! variant where it begins.

/// A GUID with the most significant byte first, as people and operating systems write it.
pub(crate) fn as_written(sent: [u8; 16]) -> [u8; 16] {
    let reversed = {
        let mut bytes = sent;
        bytes.reverse();
        bytes
    };
    // The specification's order comes first, because it was promised where several would do.
    [reversed, sent, from_smbios(sent)]
        .into_iter()
        .find(is_uuid)
        // Zeros, counters and the like are no UUIDs and show no order: the specification's is left.
        .unwrap_or(reversed)
}

/// SMBIOS has the first three fields with their least significant byte first.
fn from_smbios(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

/// Whether version and variant are those of RFC 4122 and RFC 9562.
fn is_uuid(bytes: &[u8; 16]) -> bool {
    // RFC 9562 has versions 1 to 8.
    (1..=8).contains(&(bytes[6] >> 4)) && bytes[8] >> 6 == 0b10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_the_same_in_all_three_orders() {
        // e53d9c7c-616d-48db-9dc2-26837ee0ec20
        let written = [
            0xe5, 0x3d, 0x9c, 0x7c, 0x61, 0x6d, 0x48, 0xdb, 0x9d, 0xc2, 0x26, 0x83, 0x7e, 0xe0,
            0xec, 0x20,
        ];
        let mut reversed = written;
        reversed.reverse();
        for sent in [reversed, written, from_smbios(written)] {
            assert_eq!(as_written(sent), written, "{sent:02x?}");
        }
    }

    #[test]
    fn what_is_no_uuid_is_read_as_the_specification_has_it() {
        let sent = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        assert_eq!(as_written(sent)[0], 16);
    }
}
