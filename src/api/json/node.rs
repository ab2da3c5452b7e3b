//! A node as Ironic shows it, with what this daemon adds: `supported_power_states`, and everything of our own under the
//! one member `rackbmcd`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An address beside an entry of an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// The absolute address.
    pub href: String,
    /// `self` or `bookmark`.
    pub rel: String,
}

/// The full record of a node. Which members an answer carries depends on the microversion and on `fields=`; one that is
/// missing reads as its empty value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its uuid.
    pub uuid: String,
    /// Its name (from 1.5).
    pub name: Option<String>,
    /// Since when the daemon knows it.
    pub created_at: Option<String>,
    /// When what is shown last changed.
    pub updated_at: Option<String>,
    /// `power on`, `power off`, `error`, or null: not known.
    pub power_state: Option<String>,
    /// What the running task leads to, else null.
    pub target_power_state: Option<String>,
    /// The targets it takes (from 1.27).
    pub supported_power_states: Vec<String>,
    /// What went wrong last; cleared when the next operation begins.
    pub last_error: Option<String>,
    /// Whether it is in maintenance.
    pub maintenance: bool,
    /// Why.
    pub maintenance_reason: Option<String>,
    /// This rack's name while a task has the node, else null.
    pub reservation: Option<String>,
    /// Always `active`: this daemon provisions nothing.
    pub provision_state: Option<String>,
    /// Always null.
    pub target_provision_state: Option<String>,
    /// Always null.
    pub provision_updated_at: Option<String>,
    /// Always false.
    pub console_enabled: bool,
    /// Always `ipmi`.
    pub driver: String,
    /// How the BMC is reached; passwords as six asterisks.
    pub driver_info: Map<String, Value>,
    /// Empty.
    pub driver_internal_info: Map<String, Value>,
    /// Empty.
    pub extra: Map<String, Value>,
    /// Empty.
    pub instance_info: Map<String, Value>,
    /// Always null.
    pub instance_uuid: Option<String>,
    /// Empty.
    pub properties: Map<String, Value>,
    /// Always null.
    pub chassis_uuid: Option<String>,
    /// Empty.
    pub clean_step: Map<String, Value>,
    /// Empty.
    pub raid_config: Map<String, Value>,
    /// Empty.
    pub target_raid_config: Map<String, Value>,
    /// Always null.
    pub inspection_finished_at: Option<String>,
    /// Always null.
    pub inspection_started_at: Option<String>,
    /// Always `noop`.
    pub network_interface: Option<String>,
    /// Always null.
    pub resource_class: Option<String>,
    /// Interfaces (from 1.31): the one that works is `ipmitool` in Ironic's word for IPMI, the others are absent ones.
    pub power_interface: Option<String>,
    /// As `power_interface`.
    pub management_interface: Option<String>,
    /// `no-...` of its kind.
    pub boot_interface: Option<String>,
    /// `no-console`.
    pub console_interface: Option<String>,
    /// `noop`.
    pub deploy_interface: Option<String>,
    /// `no-inspect`.
    pub inspect_interface: Option<String>,
    /// `no-raid`.
    pub raid_interface: Option<String>,
    /// `no-vendor`.
    pub vendor_interface: Option<String>,
    /// Addresses of the record.
    pub links: Vec<Link>,
    /// Addresses of its ports (an empty list).
    pub ports: Vec<Link>,
    /// Addresses of its port groups (an empty list).
    pub portgroups: Vec<Link>,
    /// Addresses of its states.
    pub states: Vec<Link>,
    /// What this daemon knows beyond Ironic's record (from 1.27).
    pub rackbmcd: Option<Extension>,
}

/// What this daemon knows of a node beyond Ironic's record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extension {
    /// The rack's name.
    pub rack: String,
    /// The groups it is in.
    pub groups: Vec<String>,
    /// The task that has the node.
    pub task: Option<String>,
    /// The last reading of the power state.
    pub reading: Option<Reading>,
    /// `power failure` while the BMC does not answer.
    pub fault: Option<String>,
    /// The maintenance hold, with who set it and when.
    pub maintenance: Option<Hold>,
    /// Its BMC.
    pub bmc: BmcSummary,
}

/// A reading of the power state and how old it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// `power on` or `power off`.
    pub power_state: String,
    /// When.
    pub at: String,
    /// How long ago, in seconds.
    pub age: f64,
}

/// A BMC in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BmcSummary {
    /// Host name or address as configured.
    pub address: String,
    /// UDP port.
    pub port: u16,
    /// The user that the daemon logs in as.
    pub username: String,
    /// The privilege asked for.
    pub privilege: String,
    /// `ready`, `idle`, `connecting`, or what the trouble is.
    pub health: String,
    /// The trouble in one stable word: `silent`, `wrong_password`, `sessions_full`, ...
    pub trouble: Option<String>,
    /// The trouble in words.
    pub trouble_text: Option<String>,
    /// The cipher suite in use or last used.
    pub cipher_suite: Option<u8>,
    /// The smoothed round trip in seconds.
    pub round_trip: Option<f64>,
}

/// A hold (maintenance, pause): why, by whom and since when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hold {
    /// Why.
    pub reason: Option<String>,
    /// Who said so.
    pub by: String,
    /// Since when.
    pub since: String,
}

/// One line of an explanation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fact {
    /// What it is about.
    pub head: String,
    /// What is known.
    pub text: String,
}

/// One failure of a BMC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// When.
    pub at: String,
    /// What.
    pub text: String,
}

/// `GET /v1/nodes` and `/v1/nodes/detail`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeList {
    /// The nodes of this page.
    pub nodes: Vec<Node>,
    /// The address of the next page, where more remain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `GET /v1/nodes/{ident}/states`. Each member is the one of the same name in the record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStates {
    /// Always false.
    pub console_enabled: bool,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// `power on`, `power off`, `error`, or null: not known.
    pub power_state: Option<String>,
    /// What the running task leads to, else null.
    pub target_power_state: Option<String>,
    /// The targets it takes (from 1.27).
    pub supported_power_states: Vec<String>,
    /// Always `active`.
    pub provision_state: Option<String>,
    /// Always null.
    pub target_provision_state: Option<String>,
    /// Always null.
    pub provision_updated_at: Option<String>,
    /// Empty (from 1.12).
    pub raid_config: Map<String, Value>,
    /// Empty (from 1.12).
    pub target_raid_config: Map<String, Value>,
}

/// `GET` and `PUT /v1/nodes/{ident}/management/boot_device`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootDevice {
    /// `pxe`, `disk`, `cdrom`, `bios`, `safe`; null where nothing is overridden.
    pub boot_device: Option<String>,
    /// For every boot, or for the next one only.
    #[serde(default)]
    pub persistent: Option<bool>,
}

/// `GET /v1/nodes/{ident}/management/boot_device/supported`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SupportedBootDevices {
    /// The devices that may be set.
    pub supported_boot_devices: Vec<String>,
}
