//! Power: as it is read, as it is shown, and where a task leads.

use super::words::{Words, as_words, word_list, words};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Whether a machine has power, as a BMC reads it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Words for Power {
    const WHAT: &'static str = "power";

    fn word(self) -> &'static str {
        match self {
            Self::On => "power on",
            Self::Off => "power off",
        }
    }

    fn all() -> Vec<Self> {
        vec![Self::On, Self::Off]
    }
}

as_words!(Power);

word_list! {
    /// What `power_state` shows.
    #[derive(Default)]
    pub enum PowerState ("power state") {
        /// Read as on.
        On = "power on",
        /// Read as off.
        Off = "power off",
        /// A soft operation was aborted or failed; lasts until the next periodic sync.
        Error = "error",
        /// Never read, or not readable since: null in JSON.
        #[default]
        Unknown = "unknown",
    }
}

impl Serialize for PowerState {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown => to.serialize_none(),
            known => to.serialize_str(known.name()),
        }
    }
}

/// A state that this program has no word for is not known to it.
impl<'de> Deserialize<'de> for PowerState {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = Option::<Cow<'_, str>>::deserialize(from)?;
        let known = word.and_then(|word| Self::from_word(&word));
        Ok(known.unwrap_or_default())
    }
}

impl From<Power> for PowerState {
    fn from(power: Power) -> Self {
        match power {
            Power::On => Self::On,
            Power::Off => Self::Off,
        }
    }
}

words! {
    /// What `target_power_state` shows while a task runs.
    pub enum Target ("target") {
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
