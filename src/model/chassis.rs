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

/// What a BMC says of its chassis: Get Chassis Status, Get Chassis Capabilities, Get Self Test
/// Results and Get POH Counter. What it does not say is null.
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
    /// For how many whole hours the machine has had power in its life; null where the BMC does not
    /// count them.
    pub power_on_hours: Option<u64>,
}

impl Chassis {
    /// What is said of faults, power and light, a head and words each; nothing of what is not
    /// known.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let listed = |words: &[String]| match words {
            [] => "none".to_owned(),
            words => words.join(", "),
        };
        // Whoever adds something decides here whether it is shown.
        let Self {
            power: _,
            restore_policy,
            identify,
            faults,
            last_power_event,
            locked_buttons,
            capabilities: _,
            self_test,
            power_on_hours,
        } = self;
        let light = identify.map(|light| match light {
            Light::Off => "off",
            Light::Timed => "on for a while",
            Light::On => "on",
        });
        let locked = locked_buttons.as_ref().filter(|all| !all.is_empty());
        [
            ("chassis faults", Some(listed(faults))),
            ("self test", self_test.clone()),
            (
                "when mains return",
                restore_policy.map(|policy| policy.name().to_owned()),
            ),
            ("last power event", Some(listed(last_power_event))),
            ("identify light", light.map(str::to_owned)),
            ("locked buttons", locked.map(|all| listed(all))),
            (
                "power-on hours",
                power_on_hours.map(|hours| hours.to_string()),
            ),
        ]
        .into_iter()
        .filter_map(|(head, text)| Some((head, text?)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_verbs_names_everything_that_is_shown_of_a_chassis() {
        let all = Chassis {
            power: Power::On,
            restore_policy: Some(RestorePolicy::Previous),
            identify: Some(Light::Off),
            faults: Vec::new(),
            last_power_event: Vec::new(),
            locked_buttons: Some(vec!["power".to_owned()]),
            capabilities: None,
            self_test: Some("passed".to_owned()),
            power_on_hours: Some(17_520),
        };
        let page = include_str!("../../docs/cli.md");
        let mut rows = page.lines();
        let row = rows.find(|row| row.starts_with("| `chassis status NODES`"));
        for (head, _) in all.facts() {
            assert!(row.is_some_and(|row| row.contains(head)), "{head}: {row:?}");
        }
    }
}
