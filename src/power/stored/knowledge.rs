//! What a sequence knows beside its phase, as it is stored: clock, settings, what was sent and
//! answered.

use super::phase::Moment;
use super::sent::Sent;
use super::words::{OnSoftTimeout, Operation, Power, State};
use crate::model::BootDevice;
use crate::power::{self as running, sequence};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Knowledge {
    operation: Operation,
    settings: Settings,
    clock: Clock,
    power: Option<Power>,
    power_at_start: Option<Power>,
    sent: Vec<Sent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<u32>,
    remarks: Vec<String>,
    trouble: Option<String>,
    earlier: Vec<Earlier>,
}

/// An order of an earlier task that may still act.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Earlier {
    what: String,
    to: Vec<Power>,
    soft: bool,
    until: Duration,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    patience: Duration,
    change_timeout: Duration,
    min_off_time: Duration,
    settle: Duration,
    confirm_after: Duration,
    rollback_settle: Duration,
    on_soft_timeout: OnSoftTimeout,
    repeat_soft_after: Option<Duration>,
    hard_after: Option<Duration>,
    look_schedule: Vec<Duration>,
    suspended_look: Duration,
    nmi_watch: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<Boot>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    on_if_off: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    never_off: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holds_longer: Option<Duration>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    from_request: bool,
}

/// What the machine is to boot from: the selector of its boot flags.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Boot {
    selector: u8,
    uefi: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clock {
    pub(crate) age: Moment,
    pub(crate) elapsed: Duration,
    pub(crate) begun: Option<Duration>,
    pub(crate) held: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) kept: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waited: Option<Duration>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    state: State,
    power: Option<Power>,
    power_at_start: Option<Power>,
    text: String,
    error: bool,
    took: Duration,
}

impl From<&sequence::Knowledge> for Knowledge {
    fn from(running: &sequence::Knowledge) -> Self {
        let sequence::Knowledge {
            operation,
            settings,
            clock,
            power,
            power_at_start,
            sent,
            left_out,
            // A later life takes the BMC for so much quicker, which does no harm.
            ahead: _,
            earlier,
            remarks,
            trouble,
        } = running;
        Self {
            operation: (*operation).into(),
            settings: settings.into(),
            clock: clock.to_stored(),
            power: power.map(Into::into),
            power_at_start: power_at_start.map(Into::into),
            sent: sent.iter().filter_map(Sent::of).collect(),
            left_out: (*left_out > 0).then_some(*left_out),
            remarks: remarks.clone(),
            trouble: trouble.clone(),
            earlier: earlier.iter().map(Into::into).collect(),
        }
    }
}

impl From<Knowledge> for sequence::Knowledge {
    fn from(stored: Knowledge) -> Self {
        let Knowledge {
            operation,
            settings,
            clock,
            power,
            power_at_start,
            sent,
            left_out,
            remarks,
            trouble,
            earlier,
        } = stored;
        Self {
            operation: operation.into(),
            settings: settings.into(),
            clock: sequence::Clock::from_stored(clock),
            power: power.map(Into::into),
            power_at_start: power_at_start.map(Into::into),
            sent: sent.into_iter().map(Into::into).collect(),
            left_out: left_out.unwrap_or(0),
            ahead: None,
            remarks,
            trouble,
            earlier: earlier.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<&running::Earlier> for Earlier {
    fn from(running: &running::Earlier) -> Self {
        let running::Earlier {
            what,
            to,
            soft,
            until,
        } = running;
        Self {
            what: what.clone(),
            to: to.iter().map(|to| (*to).into()).collect(),
            soft: *soft,
            until: *until,
        }
    }
}

impl From<Earlier> for running::Earlier {
    fn from(stored: Earlier) -> Self {
        let Earlier {
            what,
            to,
            soft,
            until,
        } = stored;
        Self {
            what,
            to: to.into_iter().map(Into::into).collect(),
            soft,
            until,
        }
    }
}

impl From<&running::Settings> for Settings {
    fn from(running: &running::Settings) -> Self {
        let running::Settings {
            patience,
            change_timeout,
            min_off_time,
            settle,
            confirm_after,
            rollback_settle,
            on_soft_timeout,
            repeat_soft_after,
            hard_after,
            look_schedule,
            suspended_look,
            nmi_watch,
            boot,
            on_if_off,
            never_off,
            holds_longer,
            from_request,
        } = running;
        Self {
            patience: *patience,
            change_timeout: *change_timeout,
            min_off_time: *min_off_time,
            settle: *settle,
            confirm_after: *confirm_after,
            rollback_settle: *rollback_settle,
            on_soft_timeout: (*on_soft_timeout).into(),
            repeat_soft_after: *repeat_soft_after,
            hard_after: *hard_after,
            look_schedule: look_schedule.clone(),
            suspended_look: *suspended_look,
            nmi_watch: *nmi_watch,
            on_if_off: *on_if_off,
            never_off: *never_off,
            holds_longer: *holds_longer,
            from_request: *from_request,
            boot: boot.map(|boot| Boot {
                selector: boot.device.selector(),
                uefi: boot.uefi,
            }),
        }
    }
}

impl From<Settings> for running::Settings {
    fn from(stored: Settings) -> Self {
        let Settings {
            patience,
            change_timeout,
            min_off_time,
            settle,
            confirm_after,
            rollback_settle,
            on_soft_timeout,
            repeat_soft_after,
            hard_after,
            look_schedule,
            suspended_look,
            nmi_watch,
            boot,
            on_if_off,
            never_off,
            holds_longer,
            from_request,
        } = stored;
        Self {
            patience,
            change_timeout,
            min_off_time,
            settle,
            confirm_after,
            rollback_settle,
            on_soft_timeout: on_soft_timeout.into(),
            repeat_soft_after,
            hard_after,
            look_schedule,
            suspended_look,
            nmi_watch,
            on_if_off,
            never_off,
            holds_longer,
            from_request,
            boot: boot.and_then(|boot| {
                let device = BootDevice::of_selector(boot.selector)?;
                Some(running::Boot {
                    device,
                    uefi: boot.uefi,
                })
            }),
        }
    }
}

impl From<&running::Outcome> for Outcome {
    fn from(running: &running::Outcome) -> Self {
        let running::Outcome {
            state,
            power,
            power_at_start,
            text,
            error,
            took,
        } = running;
        Self {
            state: (*state).into(),
            power: power.map(Into::into),
            power_at_start: power_at_start.map(Into::into),
            text: text.clone(),
            error: *error,
            took: *took,
        }
    }
}

impl From<Outcome> for running::Outcome {
    fn from(stored: Outcome) -> Self {
        let Outcome {
            state,
            power,
            power_at_start,
            text,
            error,
            took,
        } = stored;
        Self {
            state: state.into(),
            power: power.map(Into::into),
            power_at_start: power_at_start.map(Into::into),
            text,
            error,
            took,
        }
    }
}
