//! Every answer that is decoded: one that is longer than expected is taken, for BMCs append bytes,
//! and one that is cut is an error, never a guess.

use rackbmcd::ipmi::command::{
    Command, activate_session, chassis_control, chassis_identify, clear_sel, close_session,
    cold_reset, get_acpi_power_state, get_channel_auth_capabilities, get_channel_cipher_suites,
    get_chassis_capabilities, get_chassis_status, get_dcmi_power_reading, get_device_guid,
    get_device_id, get_poh_counter, get_sel_entry, get_sel_info, get_sel_time,
    get_self_test_results, get_session_challenge, get_session_info, get_system_boot_options,
    get_system_guid, get_system_restart_cause, reserve_sel, send_message, set_power_restore_policy,
    set_session_privilege, set_system_boot_options, warm_reset,
};
use rackbmcd::ipmi::rakp::{Rakp2, Rakp4};
use rackbmcd::ipmi::rmcp::Asf;
use rackbmcd::ipmi::{DecodeError, Wire, open_session};
use std::collections::BTreeSet;
use std::fmt::Debug;

/// What a decoder makes of bytes, as text.
type Decode = fn(&[u8]) -> Result<String, DecodeError>;

struct Row {
    /// The command's file.
    command: &'static str,
    /// The command's name in the specification.
    name: &'static str,
    /// The shortest good answer.
    shortest: usize,
    /// A good answer with all that is known.
    whole: &'static [u8],
    /// Whether what follows belongs to it, however long it is.
    open_ended: bool,
    decode: Decode,
}

fn shown<C: Command>(data: &[u8]) -> Result<String, DecodeError>
where
    C::Response: Debug,
{
    C::Response::decode(data).map(|value| format!("{value:?}"))
}

macro_rules! row {
    ($command:ident, $shortest:expr, $whole:expr) => {
        row!($command, $shortest, $whole, false)
    };
    ($command:ident, $shortest:expr, $whole:expr, $open_ended:expr) => {
        Row {
            command: stringify!($command),
            name: $command::Request::NAME,
            shortest: $shortest,
            whole: &$whole,
            open_ended: $open_ended,
            decode: shown::<$command::Request>,
        }
    };
}

const SIXTEEN: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

fn rows() -> Vec<Row> {
    vec![
        row!(activate_session, 10, [2, 4, 3, 2, 1, 8, 7, 6, 5, 4]),
        row!(chassis_control, 0, []),
        row!(chassis_identify, 0, []),
        row!(clear_sel, 1, [1]),
        row!(close_session, 0, []),
        row!(cold_reset, 0, []),
        row!(get_acpi_power_state, 2, [5, 3]),
        // What follows the third byte came with IPMI 2.0.
        row!(
            get_channel_auth_capabilities,
            3,
            [1, 0x80, 4, 2, 0, 0, 0, 0]
        ),
        row!(
            get_channel_cipher_suites,
            1,
            [1, 0xC0, 3, 1, 0x41, 0x81],
            true
        ),
        row!(
            get_chassis_capabilities,
            5,
            [4, 0x20, 0x20, 0x20, 0x20, 0x20]
        ),
        row!(get_chassis_status, 3, [0x61, 0x10, 0x40, 0x70]),
        row!(
            get_dcmi_power_reading,
            18,
            [
                0xDC, 0xF4, 1, 0x64, 0, 0x58, 2, 0xC8, 0, 1, 2, 3, 4, 0xE8, 3, 0, 0, 0x40
            ]
        ),
        row!(get_device_guid, 16, SIXTEEN),
        row!(
            get_device_id,
            11,
            [0x20, 1, 2, 0x45, 2, 0xBF, 0xA2, 2, 0, 0, 1, 9, 8, 7, 6]
        ),
        row!(get_poh_counter, 5, [0x3C, 0x70, 0x44, 0, 0]),
        row!(
            get_sel_entry,
            2,
            [
                2, 0, 1, 0, 2, 1, 2, 3, 4, 0x20, 0, 4, 0x13, 1, 0x6F, 0, 0xFF, 0xFF
            ],
            true
        ),
        row!(
            get_sel_info,
            14,
            [0x51, 3, 0, 0, 0x40, 1, 2, 3, 4, 5, 6, 7, 8, 2]
        ),
        row!(get_sel_time, 4, [0x40, 0xF3, 0x15, 0x6A]),
        row!(get_self_test_results, 2, [0x55, 0]),
        row!(
            get_session_challenge,
            20,
            [
                4, 3, 2, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
            ]
        ),
        row!(get_session_info, 3, [5, 4, 3, 2]),
        row!(get_system_boot_options, 7, [1, 5, 0xE0, 4, 0, 0, 0]),
        row!(get_system_guid, 16, SIXTEEN),
        row!(get_system_restart_cause, 1, [1, 1]),
        row!(reserve_sel, 2, [0x34, 0x12]),
        row!(send_message, 0, [], true),
        row!(set_power_restore_policy, 1, [7]),
        row!(set_session_privilege, 1, [3]),
        row!(set_system_boot_options, 0, []),
        row!(warm_reset, 0, []),
    ]
}

#[test]
fn an_answer_that_is_longer_than_expected_says_the_same() {
    for row in rows() {
        let expected = (row.decode)(row.whole).expect(row.command);
        for extra in [&[0][..], &[0xFF], &[0; 9], &[0xA5; 40]] {
            let longer = [row.whole, extra].concat();
            let value =
                (row.decode)(&longer).unwrap_or_else(|error| panic!("{}: {error}", row.command));
            if !row.open_ended {
                assert_eq!(value, expected, "{} and {extra:?}", row.command);
            }
        }
    }
}

#[test]
fn an_answer_that_is_cut_is_an_error_that_says_so() {
    for row in rows() {
        for length in 0..row.whole.len() {
            let value = (row.decode)(&row.whole[..length]);
            assert_eq!(
                value.is_ok(),
                length >= row.shortest,
                "{} of {length} bytes: {value:?}",
                row.command
            );
            if let Err(error) = value {
                assert!(
                    matches!(error, DecodeError::Short { .. }),
                    "{}: {error}",
                    row.command
                );
            }
        }
    }
}

#[test]
fn boot_options_of_every_number_that_is_known_are_read_likewise() {
    let decode = shown::<get_system_boot_options::Request>;
    for (number, data) in [
        (0, &[1][..]),
        (3, &[8]),
        (4, &[1, 1]),
        (5, &[0x80, 4, 0, 0, 0]),
    ] {
        let whole = [&[1, number], data].concat();
        let longer = [&whole[..], &[0, 0xFF]].concat();
        assert_eq!(decode(&longer), decode(&whole), "parameter {number}");
        assert!(
            decode(&whole[..whole.len() - 1]).is_err(),
            "parameter {number}"
        );
    }
}

#[test]
fn no_command_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ipmi/command");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "mod")
        .collect();
    let walked: BTreeSet<String> = rows().iter().map(|row| row.command.to_owned()).collect();
    let without: Vec<&String> = walked.symmetric_difference(&files).collect();
    assert!(
        without.is_empty(),
        "a row without file, or a file without row: {without:?}"
    );
    let fuzzed = include_str!("../fuzz/targets/commands.rs");
    let told = include_str!("../docs/protocol.md");
    for row in rows() {
        let call = format!("both::<{}::Request>", row.command);
        assert!(fuzzed.contains(&call), "fuzz/targets/commands.rs: {call}");
        let cell = format!("\n| {} |", row.name);
        assert!(told.contains(&cell), "docs/protocol.md, Commands: {cell}");
    }
}

/// What answers the messages of session set-up and the ping, laid out by hand (tables 13-10, 13-12,
/// 13-14, 13-6).
fn set_up() -> Vec<Row> {
    const OPENED: [u8; 36] = [
        5, 0, 4, 0, 0xA4, 0xA3, 0xA2, 0xA0, 0x44, 0x33, 0x22, 0x11, //
        0, 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 8, 4, 0, 0, 0, 2, 0, 0, 8, 1, 0, 0, 0,
    ];
    const RAKP_2: [u8; 40] = [
        5, 0, 0, 0, 0xA4, 0xA3, 0xA2, 0xA0, //
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, //
        2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    ];
    const RAKP_4: [u8; 8] = [5, 0, 0, 0, 0xA4, 0xA3, 0xA2, 0xA0];
    const PONG: [u8; 24] = [
        0, 0, 0x11, 0xBE, 0x40, 9, 0, 0x10, 0, 0, 0x11, 0xBE, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0,
    ];
    fn shown<T: Debug>(decoded: Result<T, DecodeError>) -> Result<String, DecodeError> {
        decoded.map(|value| format!("{value:?}"))
    }
    let row = |command, shortest, whole, open_ended, decode| Row {
        command,
        name: command,
        shortest,
        whole,
        open_ended,
        decode,
    };
    vec![
        row("Open Session Response", 36, &OPENED, false, |bytes| {
            shown(open_session::Response::decode(bytes))
        }),
        // The code follows, whose length is the algorithm's.
        row("RAKP 2", 40, &RAKP_2, true, |bytes| {
            shown(Rakp2::decode(bytes))
        }),
        row("RAKP 4", 8, &RAKP_4, true, |bytes| {
            shown(Rakp4::decode(bytes))
        }),
        // The rest of it is reserved.
        row("presence pong", 17, &PONG, false, |bytes| {
            shown(Asf::decode(bytes))
        }),
    ]
}

#[test]
fn answers_of_the_set_up_are_taken_when_they_are_longer_and_refused_when_they_are_cut() {
    for row in set_up() {
        let expected = (row.decode)(row.whole).expect(row.command);
        for length in 0..row.whole.len() {
            let value = (row.decode)(&row.whole[..length]);
            // A tag alone is a refusal without a status: BMCs send such.
            let taken = value.is_ok_and(|text| !text.starts_with("Refused"));
            assert_eq!(taken, length >= row.shortest, "{}: {length}", row.command);
        }
        for extra in [&[0][..], &[0xFF; 9], &[0xA5; 40]] {
            let longer = (row.decode)(&[row.whole, extra].concat());
            let value = longer.unwrap_or_else(|error| panic!("{}: {error}", row.command));
            assert!(row.open_ended || value == expected, "{}", row.command);
        }
    }
}

#[test]
fn no_message_of_the_set_up_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ipmi");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let text = std::fs::read_to_string(path).expect("text");
            let values = text.split("impl Wire for ").skip(1);
            found.extend(values.filter_map(|rest| Some(rest.split(' ').next()?.to_owned())));
        }
    }
    // Ours: Request, RAKP 1 and 3. The others are the rows above.
    let expected = ["Rakp1", "Rakp2", "Rakp3", "Rakp4", "Request", "Response"];
    assert_eq!(found, expected.map(str::to_owned).into());
}
