//! What of a packet people may be shown (design, rule 9): names, passwords, codes and keys are left
//! out by their place.
//!
//! One table has the commands by name, and how much of the data of each is shown. What is not in it
//! is not shown, so that a command that nobody thought of tells nothing: makers' own commands set
//! passwords, too.

use super::CompletionCode;
use super::message::net_fn;
use super::payload::PayloadType;
use std::ops::Range;

/// The head of an IPMI message, whatever its checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// The even network function.
    pub net_fn: u8,
    /// Command number.
    pub command: u8,
    /// The requester's sequence number.
    pub sequence: u8,
    /// How it went, in a response.
    pub completion: Option<CompletionCode>,
    /// Where its data begins.
    data: usize,
    /// Where its data ends and the last checksum stands.
    end: usize,
}

impl Head {
    /// The head of a message; `None` where it is too short to be one.
    pub(crate) fn of(message: &[u8]) -> Option<Self> {
        let [_, functions, _, _, sequences, command, rest @ ..] = message else {
            return None;
        };
        let function = functions >> 2;
        let answers = function & 1 == 1;
        let completion = match (answers, rest) {
            // The byte behind is the checksum, without which this is no message.
            (true, [code, _, ..]) => Some(CompletionCode(*code)),
            (false, [_, ..]) => None,
            _ => return None,
        };
        Some(Self {
            net_fn: function & !1,
            command: *command,
            sequence: sequences >> 2,
            completion,
            // A response has its completion code before its data.
            data: 6 + usize::from(answers),
            end: message.len() - 1,
        })
    }

    /// The command's name, where it is a known one.
    pub(crate) fn name(&self) -> Option<&'static str> {
        known(self.net_fn, self.command).map(|(.., name, _, _)| *name)
    }
}

/// How much of a message's data is shown.
#[derive(Clone, Copy)]
enum Shows {
    All,
    /// So many bytes.
    First(usize),
    /// All but the data of the boot option that is a mailbox for anything; its number is at this
    /// place.
    Boot(usize),
    /// A message inside, after so many bytes.
    Message(usize),
    /// All where the first byte says that the group is DCMI, else that byte.
    Dcmi,
}

use Shows::{All, Boot, Dcmi, First, Message};

/// Network function, command, name, what is shown of a request's data and of a response's.
type Known = (u8, u8, &'static str, Shows, Shows);

const CHASSIS: u8 = net_fn::CHASSIS;
const SENSOR: u8 = net_fn::SENSOR_EVENT;
const APP: u8 = net_fn::APP;
const STORAGE: u8 = net_fn::STORAGE;
const TRANSPORT: u8 = 0x0C;
const GROUP: u8 = net_fn::GROUP;

/// Appendix G, but for what may be anything.
const KNOWN: &[Known] = &[
    (CHASSIS, 0x00, "Get Chassis Capabilities", All, All),
    (CHASSIS, 0x01, "Get Chassis Status", All, All),
    (CHASSIS, 0x02, "Chassis Control", All, All),
    (CHASSIS, 0x03, "Chassis Reset", All, All),
    (CHASSIS, 0x04, "Chassis Identify", All, All),
    (CHASSIS, 0x05, "Set Chassis Capabilities", All, All),
    (CHASSIS, 0x06, "Set Power Restore Policy", All, All),
    (CHASSIS, 0x07, "Get System Restart Cause", All, All),
    (CHASSIS, 0x08, "Set System Boot Options", Boot(0), All),
    (CHASSIS, 0x09, "Get System Boot Options", All, Boot(1)),
    (CHASSIS, 0x0A, "Set Front Panel Button Enables", All, All),
    (CHASSIS, 0x0B, "Set Power Cycle Interval", All, All),
    (CHASSIS, 0x0F, "Get POH Counter", All, All),
    (SENSOR, 0x00, "Set Event Receiver", All, All),
    (SENSOR, 0x01, "Get Event Receiver", All, All),
    (SENSOR, 0x02, "Platform Event", All, All),
    (SENSOR, 0x20, "Get Device SDR Info", All, All),
    (SENSOR, 0x21, "Get Device SDR", All, All),
    (SENSOR, 0x22, "Reserve Device SDR Repository", All, All),
    (SENSOR, 0x27, "Get Sensor Threshold", All, All),
    (SENSOR, 0x29, "Get Sensor Event Enable", All, All),
    (SENSOR, 0x2B, "Get Sensor Event Status", All, All),
    (SENSOR, 0x2D, "Get Sensor Reading", All, All),
    (SENSOR, 0x2F, "Get Sensor Type", All, All),
    (APP, 0x01, "Get Device ID", All, All),
    (APP, 0x02, "Cold Reset", All, All),
    (APP, 0x03, "Warm Reset", All, All),
    (APP, 0x04, "Get Self Test Results", All, All),
    (APP, 0x06, "Set ACPI Power State", All, All),
    (APP, 0x07, "Get ACPI Power State", All, All),
    (APP, 0x08, "Get Device GUID", All, All),
    (APP, 0x22, "Reset Watchdog Timer", All, All),
    (APP, 0x24, "Set Watchdog Timer", All, All),
    (APP, 0x25, "Get Watchdog Timer", All, All),
    (APP, 0x2E, "Set BMC Global Enables", All, All),
    (APP, 0x2F, "Get BMC Global Enables", All, All),
    (APP, 0x30, "Clear Message Flags", All, All),
    (APP, 0x31, "Get Message Flags", All, All),
    // The message of another party may hold anything; the channel that it came by is shown.
    (APP, 0x33, "Get Message", All, First(1)),
    (APP, 0x34, "Send Message", Message(1), Message(0)),
    (APP, 0x37, "Get System GUID", All, All),
    (
        APP,
        0x38,
        "Get Channel Authentication Capabilities",
        All,
        All,
    ),
    // The user's name is behind the authentication type.
    (APP, 0x39, "Get Session Challenge", First(1), All),
    // The challenge is behind type and level: with a code over it a password could be guessed.
    (APP, 0x3A, "Activate Session", First(2), All),
    (APP, 0x3B, "Set Session Privilege Level", All, All),
    (APP, 0x3C, "Close Session", All, All),
    (APP, 0x3D, "Get Session Info", All, All),
    // §22.21: the answer is a code that is made with a user's password.
    (APP, 0x3F, "Get AuthCode", First(3), First(0)),
    (APP, 0x40, "Set Channel Access", All, All),
    (APP, 0x41, "Get Channel Access", All, All),
    (APP, 0x42, "Get Channel Info", All, All),
    (APP, 0x43, "Set User Access", All, All),
    (APP, 0x44, "Get User Access", All, All),
    (APP, 0x45, "Set User Name", First(1), All),
    (APP, 0x46, "Get User Name", All, First(0)),
    // §22.30: the password is behind user number and operation.
    (APP, 0x47, "Set User Password", First(2), All),
    (APP, 0x4A, "Get Payload Activation Status", All, All),
    (APP, 0x4E, "Get Channel Payload Support", All, All),
    (APP, 0x54, "Get Channel Cipher Suites", All, All),
    // §22.25: the key is behind channel, operation and its number; in an answer behind one byte.
    (APP, 0x56, "Set Channel Security Keys", First(3), First(1)),
    (STORAGE, 0x10, "Get FRU Inventory Area Info", All, All),
    (STORAGE, 0x11, "Read FRU Data", All, All),
    (STORAGE, 0x20, "Get SDR Repository Info", All, All),
    (STORAGE, 0x22, "Reserve SDR Repository", All, All),
    (STORAGE, 0x23, "Get SDR", All, All),
    (STORAGE, 0x40, "Get SEL Info", All, All),
    (STORAGE, 0x41, "Get SEL Allocation Info", All, All),
    (STORAGE, 0x42, "Reserve SEL", All, All),
    (STORAGE, 0x43, "Get SEL Entry", All, All),
    (STORAGE, 0x47, "Clear SEL", All, All),
    (STORAGE, 0x48, "Get SEL Time", All, All),
    (STORAGE, 0x49, "Set SEL Time", All, All),
    (
        TRANSPORT,
        0x01,
        // Parameter 16 is SNMP's community string, which is a password.
        "Set LAN Configuration Parameters",
        First(2),
        All,
    ),
    (
        TRANSPORT,
        0x02,
        // An answer does not say which parameter it has, so that only the revision is shown.
        "Get LAN Configuration Parameters",
        All,
        First(1),
    ),
    // Other groups have other commands under these numbers.
    (GROUP, 0x01, "Get DCMI Capabilities Info", Dcmi, Dcmi),
    (GROUP, 0x02, "Get Power Reading", Dcmi, Dcmi),
    (GROUP, 0x03, "Get DCMI Power Limit", Dcmi, Dcmi),
    (GROUP, 0x04, "Set DCMI Power Limit", Dcmi, Dcmi),
    (GROUP, 0x05, "Activate DCMI Power Limit", Dcmi, Dcmi),
    (GROUP, 0x07, "Get DCMI Sensor Info", Dcmi, Dcmi),
];

/// The boot initiator's mailbox.
const MAILBOX: u8 = 7;
/// What DCMI's messages begin with.
const DCMI: u8 = 0xDC;

fn known(net_fn: u8, command: u8) -> Option<&'static Known> {
    let is = |known: &&Known| (known.0, known.1) == (net_fn, command);
    KNOWN.iter().find(is)
}

/// The places of an IPMI message that are not shown, in order.
pub(crate) fn hidden_in_message(message: &[u8]) -> Vec<Range<usize>> {
    hidden_within(message, 0, MOST_BRIDGES)
}

/// A message within another, `at` from the beginning of the outermost.
fn hidden_within(message: &[u8], at: usize, depth: u8) -> Vec<Range<usize>> {
    let all = || everything(at..at + message.len());
    let Some(head) = Head::of(message) else {
        return all();
    };
    let data = message.get(head.data..head.end).unwrap_or_default();
    let shows = match (known(head.net_fn, head.command), head.completion) {
        (Some((.., shows, _)), None) | (Some((.., shows)), Some(_)) => *shows,
        // §5.1: with 2Eh the data begins with the maker's number, which says whose command it is.
        (None, _) if head.net_fn == 0x2E => First(3),
        // Makers' commands set passwords, too: what nobody thought of is not shown.
        (None, _) => First(0),
    };
    let from = |shown: usize| everything(head.data + shown.min(data.len())..head.end);
    let mut hidden = match shows {
        All => Vec::new(),
        First(shown) => from(shown),
        Boot(place)
            if data
                .get(place)
                .is_some_and(|option| option & 0x7F == MAILBOX) =>
        {
            from(place + 1)
        }
        Boot(_) => Vec::new(),
        Dcmi if data.first() == Some(&DCMI) => Vec::new(),
        Dcmi => from(1),
        Message(before) => match data.get(before..) {
            None | Some([]) => Vec::new(),
            // A password that is set at a controller behind the BMC is as secret.
            Some(inner) if depth > 0 => hidden_within(inner, head.data + before, depth - 1),
            Some(_) => from(before),
        },
    };
    for range in &mut hidden {
        *range = range.start + at..range.end + at;
    }
    if !hidden.is_empty() {
        // With all other bytes known the checksum would give a hidden one away.
        hidden.push(at + head.end..at + head.end + 1);
    }
    hidden
}

/// The places of an RMCP+ payload that are not shown, in order; that of an IPMI message is in
/// clear.
pub(crate) fn hidden_in_payload(kind: PayloadType, payload: &[u8]) -> Vec<Range<usize>> {
    let from = |shown: usize| everything(shown.min(payload.len())..payload.len());
    match kind {
        PayloadType::Ipmi => hidden_in_message(payload),
        // §13.17, §13.18: 32 and 36 bytes without a secret; what a BMC appends is not known.
        PayloadType::OpenSessionRequest | PayloadType::OpenSessionResponse => from(36),
        // The user's name, behind its length.
        PayloadType::Rakp1 => from(28),
        // The code is behind random number and GUID: passwords can be guessed from it.
        PayloadType::Rakp2 => from(40),
        // The code is behind tag, status and session id.
        PayloadType::Rakp3 | PayloadType::Rakp4 => from(8),
        // What a console shows and what makers send may be anything.
        PayloadType::Sol | PayloadType::OemExplicit { .. } | PayloadType::Other(_) => from(0),
    }
}

fn everything(range: Range<usize>) -> Vec<Range<usize>> {
    match range.is_empty() {
        true => Vec::new(),
        false => vec![range],
    }
}

/// How often a message may be wrapped in another one.
// Dual bridging wraps twice; bytes that wrap deeper would be read without end.
const MOST_BRIDGES: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipmi::message::Request;

    fn shown(message: &[u8]) -> Vec<u8> {
        let hidden = hidden_in_message(message);
        let is_shown = |(at, byte): (usize, &u8)| {
            let hides = |range: &Range<usize>| range.contains(&at);
            (!hidden.iter().any(hides)).then_some(*byte)
        };
        message.iter().enumerate().filter_map(is_shown).collect()
    }

    fn request(net_fn: u8, command: u8, data: &[u8]) -> Vec<u8> {
        Request::to_bmc(net_fn, 0, command, 5, data.to_vec()).encode()
    }

    #[test]
    fn the_password_that_is_set_is_not_shown_nor_the_sum_that_it_is_part_of() {
        let message = request(APP, 0x47, b"\x02\x02hunter2");
        assert_eq!(
            shown(&message),
            [0x20, 0x18, 0xC8, 0x81, 0x14, 0x47, 2, 2],
            "user and operation are"
        );
        // Nor where a controller behind the BMC is told.
        let inner = Request {
            responder: 0x2C,
            ..Request::to_bmc(APP, 0, 0x47, 5, b"\x02\x02hunter2".to_vec())
        };
        let mut data = vec![0x40];
        data.extend(inner.encode());
        let outer = request(APP, 0x34, &data);
        assert!(!shown(&outer).windows(3).any(|bytes| bytes == b"hun"));
        assert_eq!(shown(&outer).len(), outer.len() - 9);
    }

    #[test]
    fn names_keys_challenges_mailboxes_and_whatever_is_not_known_are_not_shown() {
        let secret = b"\x01\x02\x03hunter2".as_slice();
        let mailbox = b"\x07hunter2".as_slice();
        for (net_fn, command, data, most) in [
            (APP, 0x45, secret, 1),
            (APP, 0x39, secret, 1),
            (APP, 0x3A, secret, 2),
            (APP, 0x56, secret, 3),
            (APP, 0x52, secret, 0),
            (CHASSIS, 0x08, mailbox, 1),
            (TRANSPORT, 0x01, secret, 2),
            (TRANSPORT, 0x10, secret, 0),
            (0x2E, 0x20, secret, 3),
            (0x30, 0x20, secret, 0),
            (GROUP, 0x02, secret, 1),
            (GROUP, 0x08, b"\xDChunter2".as_slice(), 0),
        ] {
            let shown = shown(&request(net_fn, command, data)).len();
            assert_eq!(shown, 6 + most, "{net_fn:02x}h/{command:02x}h");
        }
        let status = request(CHASSIS, 0x01, &[]);
        assert_eq!(shown(&status), status);
    }

    #[test]
    fn of_a_response_the_completion_code_is_always_shown() {
        // Get User Name: from 81h to 20h, request sequence 5, done, "hunter2", sum.
        let message = b"\x81\x1c\x63\x20\x14\x46\x00hunter2\x00";
        assert_eq!(shown(message), b"\x81\x1c\x63\x20\x14\x46\x00");
        let head = Head::of(message).expect("a message");
        assert_eq!(head.name(), Some("Get User Name"));
        assert_eq!(head.completion, Some(CompletionCode::OK));
        assert_eq!((head.net_fn, head.sequence), (APP, 5));
    }

    #[test]
    fn the_table_has_each_command_once_and_those_of_ours_by_their_names() {
        for (place, known) in KNOWN.iter().enumerate() {
            let twin = |other: &Known| (other.0, other.1) == (known.0, known.1);
            assert!(!KNOWN[place + 1..].iter().any(twin), "{}", known.2);
        }
        use crate::ipmi::command::{Command, *};
        fn named<C: Command>() {
            let name = known(C::NET_FN, C::NUMBER).map(|known| known.2);
            assert_eq!(name, Some(C::NAME));
        }
        named::<get_chassis_status::Request>();
        named::<chassis_control::Request>();
        named::<set_session_privilege::Request>();
        named::<get_channel_auth_capabilities::Request>();
        named::<get_dcmi_power_reading::Request>();
        named::<send_message::Request>();
        named::<get_session_info::Request>();
    }

    #[test]
    fn whatever_the_bytes_are_the_hidden_places_lie_within_them_and_in_order() {
        for length in 0..40 {
            for seed in 0..64u8 {
                let mix = |at: usize| (at as u8).wrapping_mul(31) ^ seed.wrapping_mul(17);
                let mut bytes: Vec<u8> = (0..length).map(mix).collect();
                if length > 6 {
                    bytes[1] = [APP << 2, APP << 2 | 4, GROUP << 2, 0][usize::from(seed & 3)];
                    bytes[5] = [0x34, 0x47, 0x02, 0x09][usize::from(seed >> 2 & 3)];
                }
                let mut end = 0;
                for range in hidden_in_message(&bytes) {
                    assert!(range.start >= end && range.start < range.end, "{bytes:x?}");
                    end = range.end;
                }
                assert!(end <= bytes.len(), "{bytes:x?}");
            }
        }
    }
}
