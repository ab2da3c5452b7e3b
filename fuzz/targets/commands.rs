//! The data of every command, as request and as response, and what is shown of it: words, records
//! of cipher suites, entries of the event log. The first byte chooses none: all decoders see all
//! bytes.

use super::packet::settles;
use rackbmcd::ipmi::command::{
    Command, activate_session, chassis_control, chassis_identify, clear_sel, close_session,
    cold_reset, get_acpi_power_state, get_channel_auth_capabilities, get_channel_cipher_suites,
    get_chassis_capabilities, get_chassis_status, get_dcmi_power_reading, get_device_guid,
    get_device_id, get_poh_counter, get_sel_entry, get_sel_info, get_sel_time,
    get_self_test_results, get_session_challenge, get_session_info, get_system_boot_options,
    get_system_guid, get_system_restart_cause, reserve_sel, send_message, set_power_restore_policy,
    set_session_privilege, set_system_boot_options, warm_reset,
};
use rackbmcd::ipmi::event::{RECORD_LENGTH, Record};
use rackbmcd::ipmi::{CompletionCode, Status, Wire};
use std::fmt::Debug;

/// Decodes `data` as the data of everything that can be asked and answered.
pub(crate) fn run(data: &[u8]) {
    both::<activate_session::Request>(data);
    both::<chassis_control::Request>(data);
    both::<chassis_identify::Request>(data);
    both::<clear_sel::Request>(data);
    both::<close_session::Request>(data);
    both::<cold_reset::Request>(data);
    both::<get_acpi_power_state::Request>(data);
    both::<get_channel_auth_capabilities::Request>(data);
    both::<get_channel_cipher_suites::Request>(data);
    both::<get_chassis_capabilities::Request>(data);
    both::<get_chassis_status::Request>(data);
    both::<get_self_test_results::Request>(data);
    both::<get_system_guid::Request>(data);
    both::<set_power_restore_policy::Request>(data);
    both::<get_dcmi_power_reading::Request>(data);
    both::<get_device_guid::Request>(data);
    both::<get_device_id::Request>(data);
    both::<get_poh_counter::Request>(data);
    both::<get_sel_entry::Request>(data);
    both::<get_sel_info::Request>(data);
    both::<get_sel_time::Request>(data);
    both::<get_session_challenge::Request>(data);
    both::<get_session_info::Request>(data);
    both::<get_system_boot_options::Request>(data);
    both::<get_system_restart_cause::Request>(data);
    both::<reserve_sel::Request>(data);
    both::<send_message::Request>(data);
    both::<set_session_privilege::Request>(data);
    both::<set_system_boot_options::Request>(data);
    both::<warm_reset::Request>(data);

    // A record is at least a tag and an id.
    assert!(get_channel_cipher_suites::records(data).len() <= data.len() / 2 + 1);
    if let Ok(answer) = get_self_test_results::Response::decode(data) {
        assert!(!answer.words().is_empty());
    }
    if let Ok(power) = get_acpi_power_state::Response::decode(data) {
        assert!(!power.words().is_empty());
    }
    if let Some(record) = data.first_chunk::<RECORD_LENGTH>() {
        let record = Record::decode(*record);
        assert_eq!(Some(&record.encode()), data.first_chunk());
        assert!(!record.words().is_empty());
        if let Some(event) = record.event() {
            assert!(!event.words().is_empty());
            assert_eq!(event.sign(), record.sign());
        }
    }
    if let [net_fn, command, code, ..] = *data {
        assert!(!CompletionCode(code).words_for(net_fn, command).is_empty());
        assert!(!Status(code).words().is_empty());
    }
}

fn both<C: Command + PartialEq + Debug>(data: &[u8])
where
    C::Response: PartialEq + Debug,
{
    settles::<C>(data);
    settles::<C::Response>(data);
}
