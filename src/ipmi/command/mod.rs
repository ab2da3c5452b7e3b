//! The commands, one file each: the data of a request and of its response (without the completion
//! code).

use super::{DecodeError, Wire};

pub mod activate_session;
pub mod chassis_control;
pub mod chassis_identify;
pub mod clear_sel;
pub mod close_session;
pub mod cold_reset;
pub mod get_acpi_power_state;
pub mod get_channel_auth_capabilities;
pub mod get_channel_cipher_suites;
pub mod get_chassis_capabilities;
pub mod get_chassis_status;
pub mod get_dcmi_power_reading;
pub mod get_device_guid;
pub mod get_device_id;
pub mod get_poh_counter;
pub mod get_sel_entry;
pub mod get_sel_info;
pub mod get_sel_time;
pub mod get_self_test_results;
pub mod get_session_challenge;
pub mod get_session_info;
pub mod get_system_boot_options;
pub mod get_system_guid;
pub mod get_system_restart_cause;
pub mod reserve_sel;
pub mod send_message;
pub mod set_power_restore_policy;
pub mod set_session_privilege;
pub mod set_system_boot_options;
pub mod warm_reset;

/// A request that knows its command and what answers it.
pub trait Command: Wire {
    /// The request's network function.
    const NET_FN: u8;
    /// The command number.
    const NUMBER: u8;
    /// The command's name in the specification.
    const NAME: &'static str;
    /// The data of a successful response.
    type Response: Wire;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Empty;

impl Wire for Empty {
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    // BMCs append bytes even to answers that have none.
    fn decode(_data: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

/// A request type without data.
macro_rules! plain_request {
    ($net_fn:expr, $number:expr, $name:expr, $response:ty) => {
        /// The request; it has no data.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Request;

        impl $crate::ipmi::Wire for Request {
            fn encode(&self) -> Vec<u8> {
                Vec::new()
            }

            fn decode(_data: &[u8]) -> Result<Self, $crate::ipmi::DecodeError> {
                Ok(Request)
            }
        }

        impl $crate::ipmi::command::Command for Request {
            const NET_FN: u8 = $net_fn;
            const NUMBER: u8 = $number;
            const NAME: &'static str = $name;
            type Response = $response;
        }
    };
}
use plain_request;

/// The command of a request type with data.
macro_rules! command {
    ($net_fn:expr, $number:expr, $name:expr, $response:ty) => {
        impl $crate::ipmi::command::Command for Request {
            const NET_FN: u8 = $net_fn;
            const NUMBER: u8 = $number;
            const NAME: &'static str = $name;
            type Response = $response;
        }
    };
}
use command;
