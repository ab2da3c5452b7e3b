//! Power: as it is read, as it is shown, and where a task leads.

use super::words::words;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether a machine has power, as a BMC reads it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Power is on.
    On,
    /// Power is off (soft-off or mechanical).
    Off,
}

impl Power {
    /// `on` or `off`, as sentences have it.
    pub fn name(self) -> &'static str {
        match self {
            Power::On => "on",
            Power::Off => "off",
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `power_state` shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum PowerState {
    /// Read as on.
    #[serde(rename = "power on")]
    On,
    /// Read as off.
    #[serde(rename = "power off")]
    Off,
    /// A soft operation was aborted or failed; lasts until the next periodic sync.
    #[serde(rename = "error")]
    Error,
    /// Never read, or not readable since: null in JSON.
    #[default]
    #[serde(rename = "unknown")]
    Unknown,
}

impl From<Power> for PowerState {
    fn from(power: Power) -> Self {
        match power {
            Power::On => PowerState::On,
            Power::Off => PowerState::Off,
        }
    }
}

words! {
    /// What `target_power_state` shows while a task runs.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Target {
        /// The node is to be on.
        PowerOn = "power on",
        /// The node is to be off.
        PowerOff = "power off",
        /// The operating system is to go down.
        SoftPowerOff = "soft power off",
        /// A diagnostic interrupt is under way.
        InjectNmi = "inject nmi",
    }
}
