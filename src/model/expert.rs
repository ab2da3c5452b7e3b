//! What an expert asks of a BMC outside any task, as bodies.

use super::words::{Word, words};
use super::{BootDevice, Chassis, RestorePolicy, Seconds, integer, stamp};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Body of `POST /v1/nodes/{ident}/identify`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentifyRequest {
    /// How long the light blinks; 0 ends it, absent is until further notice.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Seconds>,
}

/// Body of `POST /v1/nodes/{ident}/raw`: one command that an expert spelled out, sent once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRequest {
    /// Network function: even, 0 to 62.
    #[serde(deserialize_with = "integer::one")]
    pub net_fn: u8,
    /// Logical unit: 0 to 3.
    #[serde(default, deserialize_with = "integer::one")]
    pub lun: u8,
    /// Command number.
    #[serde(deserialize_with = "integer::one")]
    pub command: u8,
    /// Request data, at most 200 bytes.
    #[serde(default, deserialize_with = "integer::many")]
    pub data: Vec<u8>,
    /// The controller behind the BMC that it is for; the BMC itself where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<Bridge>,
}

/// The way to a controller behind the BMC; with `transit_*`, to one behind another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// The channel that the controller is on: 0 to 15; 0 is the primary IPMB.
    #[serde(deserialize_with = "integer::one")]
    pub channel: u8,
    /// The controller's slave address: even.
    #[serde(deserialize_with = "integer::one")]
    pub address: u8,
    /// The channel between the BMC and the controller in between.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "integer::maybe"
    )]
    pub transit_channel: Option<u8>,
    /// The slave address of the controller in between.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "integer::maybe"
    )]
    pub transit_address: Option<u8>,
}

/// The answer to an order carried out at once: `raw`, `identify`, `bmc_reset`, `boot_override` and
/// clearing an event log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderAnswer {
    /// The order in words.
    pub order: String,
    /// The data of the answer to a raw command, without the completion code.
    pub data: Option<Vec<u8>>,
}

/// What a BMC says of itself or of its machine: `GET /v1/nodes/{ident}/bmc/{what}`. Only what was
/// asked for is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BmcAnswer {
    /// The order in words.
    pub order: String,
    /// `identity`: the maker's number (IANA).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<u32>,
    /// `identity`: the product number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<u16>,
    /// `identity`: the firmware's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// `guid`: the managed system's, as its BMC has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guid: Option<Uuid>,
    /// `sessions`: how many there are, ours included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u8>,
    /// `sessions`: how many there can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub possible_sessions: Option<u8>,
    /// `acpi`: the system's ACPI state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acpi: Option<String>,
    /// `power_use`: watts now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watts: Option<u16>,
    /// `restart_cause`: why the system restarted last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_cause: Option<String>,
    /// `chassis`: what the BMC says of the chassis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chassis: Option<Chassis>,
}

/// The newest entries of a BMC's event log: `GET /v1/nodes/{ident}/event_log`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventLog {
    /// Oldest first.
    pub entries: Vec<EventLogEntry>,
    /// How many entries the log has; null where its BMC does not say.
    pub total: Option<u16>,
    /// Where fewer than asked for could be read: how many, and why.
    pub left_out: Option<String>,
}

/// One entry of a BMC's event log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventLogEntry {
    /// Its record id.
    pub id: u16,
    /// When, by the BMC's own clock; null where the BMC did not know the calendar yet.
    #[serde(with = "stamp::maybe")]
    pub at: Option<WallTime>,
    /// The BMC's clock as it stood: seconds since 1970, or since the BMC's start below 2^29; 0
    /// where there is none.
    pub timestamp: u32,
    /// What it says.
    pub text: String,
    /// Whether it tells of a crash, a critical interrupt or a watchdog.
    pub crash: bool,
}

/// Body of `POST /v1/nodes/{ident}/bmc_reset`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BmcResetRequest {
    pub kind: BmcReset,
}

words! {
    /// How thoroughly a BMC is restarted.
    pub enum BmcReset ("kind of reset") {
        /// Its defaults come back.
        Cold = "cold",
        /// What it does is interrupted only.
        Warm = "warm",
    }
}

/// `GET /v1/nodes/{ident}/boot_override`: Ironic's boot device, with the firmware's mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BootOverride {
    /// The device; null where nothing is overridden.
    pub device: Option<Word<BootDevice>>,
    /// For every boot, or for the next one only.
    pub persistent: bool,
    /// Boot in UEFI mode, not as a PC of old.
    pub uefi: bool,
}

/// Body of `PUT /v1/nodes/{ident}/restore_policy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestorePolicyRequest {
    /// What the machine shall do when mains power comes back.
    pub policy: RestorePolicy,
}

/// Body of `PUT /v1/nodes/{ident}/boot_override`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootOverrideRequest {
    /// The device; null to clear the override. It has to be said.
    #[serde(deserialize_with = "Option::deserialize")]
    pub device: Option<BootDevice>,
    /// For every boot, or for the next one only.
    #[serde(default)]
    pub persistent: bool,
    /// Boot in UEFI mode, not as a PC of old.
    #[serde(default)]
    pub uefi: bool,
}
