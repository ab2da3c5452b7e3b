//! What a BMC says of the chassis that it looks after.

use super::Power;
use super::words::{Word, words};
use serde::{Deserialize, Serialize};

words! {
    /// What the machine does when mains power comes back (IPMI v2.0 §28.8), in ipmitool's words.
    pub enum RestorePolicy ("restore policy") {
        /// Powers up.
        AlwaysOn = "always-on",
        /// Goes to the state that it had.
        Previous = "previous",
        /// Stays off.
        AlwaysOff = "always-off",
    }
}

words! {
    /// What the identify light does.
    pub enum Light ("light") {
        /// It is off.
        Off = "off",
        /// It blinks for a while.
        Timed = "timed",
        /// It blinks until it is switched off.
        On = "on",
    }
}

words! {
    /// What a chassis may have (IPMI v2.0 §28.1).
    pub enum ChassisPart ("part of a chassis") {
        /// It notices when it is opened.
        IntrusionSensor = "intrusion sensor",
        /// The buttons of its front panel can be locked.
        FrontPanelLock = "front panel lock",
        /// The machine can be sent an NMI.
        DiagnosticInterrupt = "diagnostic interrupt",
        /// It has no power while it is open.
        PowerInterlock = "power interlock",
    }
}

/// What a BMC says of its chassis: Get Chassis Status, Get Chassis Capabilities and Get Self Test
/// Results. What it does not say is null.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chassis {
    /// Whether the machine has power.
    pub power: Power,
    /// What it does when mains power comes back.
    pub restore_policy: Option<RestorePolicy>,
    /// What the identify light does.
    pub identify: Option<Light>,
    /// What is wrong, in words; empty where nothing is.
    pub faults: Vec<String>,
    /// What the last change of power came from, in words.
    pub last_power_event: Vec<String>,
    /// Buttons of the front panel that are locked; null where the BMC does not say.
    pub locked_buttons: Option<Vec<String>>,
    /// What the chassis has; null where the BMC does not say.
    pub capabilities: Option<Vec<Word<ChassisPart>>>,
    /// What the BMC's test of itself came to, in words; null where the BMC does not say.
    pub self_test: Option<String>,
}

impl Chassis {
    /// What is said of faults, power and light, a head and words each; nothing of what is not
    /// known.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let listed = |words: &[String]| match words {
            [] => "none".to_owned(),
            words => words.join(", "),
        };
        let light = self.identify.map(|light| match light {
            Light::Off => "off",
            Light::Timed => "on for a while",
            Light::On => "on",
        });
        let locked = self.locked_buttons.as_ref().filter(|all| !all.is_empty());
        [
            ("chassis faults", Some(listed(&self.faults))),
            ("self test", self.self_test.clone()),
            (
                "when mains return",
                self.restore_policy.map(|policy| policy.name().to_owned()),
            ),
            ("last power event", Some(listed(&self.last_power_event))),
            ("identify light", light.map(str::to_owned)),
            ("locked buttons", locked.map(|all| listed(all))),
        ]
        .into_iter()
        .filter_map(|(head, text)| Some((head, text?)))
        .collect()
    }
}
