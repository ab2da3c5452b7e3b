//! Sequences: the pure state machine behind every power operation, its controls and its rollback.
//!
//! Driven by `rack`, one [`Sequence`] per task and node. After every call that takes the time, drain it in this
//! order: [`Sequence::withdrawn`] (orders that must not leave any more), [`Sequence::poll_order`] (at most one order
//! is outstanding), then sleep until [`Sequence::poll_timeout`]. Speaks orders and reports only: no IPMI, no nodes,
//! no sockets, no journal. What it must not forget is in [`Saved`].

mod outcome;
mod progress;
mod saved;
mod sequence;
mod settings;
#[cfg(test)]
mod tests;

pub use outcome::{Outcome, Sent};
pub use progress::Progress;
pub use saved::Saved;
pub use sequence::{Refusal, RefusalKind, Sequence};
pub use settings::{OnSoftTimeout, Settings};

use crate::bmc::vocabulary::{Order, Power};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a task does to its node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Switch on and read it back.
    PowerOn,
    /// Switch off hard and read it back.
    PowerOff,
    /// Off, read back, minimum off time, on, read back: made of levels, so that nothing happens twice.
    Reboot,
    /// Ask the operating system to shut down and wait until the node is off.
    SoftPowerOff,
    /// As a soft power off, then the minimum off time, on, read back.
    SoftReboot,
    /// One diagnostic interrupt, then watch what it does.
    InjectNmi,
    /// One hard reset: a pulse.
    Reset,
    /// One power cycle by the BMC itself: a pulse.
    Cycle,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 8] = [
        Operation::PowerOn,
        Operation::PowerOff,
        Operation::Reboot,
        Operation::SoftPowerOff,
        Operation::SoftReboot,
        Operation::InjectNmi,
        Operation::Reset,
        Operation::Cycle,
    ];

    /// The operation in words, as requests and messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::PowerOn => "power on",
            Operation::PowerOff => "power off",
            Operation::Reboot => "rebooting",
            Operation::SoftPowerOff => "soft power off",
            Operation::SoftReboot => "soft rebooting",
            Operation::InjectNmi => "inject nmi",
            Operation::Reset => "hard reset",
            Operation::Cycle => "power cycle",
        }
    }

    /// Whether it asks the operating system first.
    pub fn is_soft(self) -> bool {
        matches!(self, Operation::SoftPowerOff | Operation::SoftReboot)
    }

    /// The pulse that it is made of, where it is one.
    pub(crate) fn pulse(self) -> Option<Order> {
        match self {
            Operation::InjectNmi => Some(Order::Nmi),
            Operation::Reset => Some(Order::Reset),
            Operation::Cycle => Some(Order::Cycle),
            _ => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a person may do to a running task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Stop now, leave the machine as it is.
    Abort,
    /// Withdraw, as if never asked: only before anything was handed to the network.
    Cancel,
    /// Bring the node back to the power state that it had at the start.
    Rollback,
    /// Stand still: no order leaves, no patience runs out.
    Suspend,
    /// Read the machine and go on with the patience that was left.
    Resume,
}

impl Control {
    /// Every control.
    pub const ALL: [Control; 5] = [
        Control::Abort,
        Control::Cancel,
        Control::Rollback,
        Control::Suspend,
        Control::Resume,
    ];

    /// The control in a word.
    pub fn name(self) -> &'static str {
        match self {
            Control::Abort => "abort",
            Control::Cancel => "cancel",
            Control::Rollback => "rollback",
            Control::Suspend => "suspend",
            Control::Resume => "resume",
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `target_power_state` shows while a task runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `power on`
    PowerOn,
    /// `power off`
    PowerOff,
    /// `soft power off`
    SoftPowerOff,
    /// `inject nmi`
    InjectNmi,
}

impl Target {
    /// As Ironic's API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Target::PowerOn => "power on",
            Target::PowerOff => "power off",
            Target::SoftPowerOff => "soft power off",
            Target::InjectNmi => "inject nmi",
        }
    }

    fn of(power: Power) -> Self {
        match power {
            Power::On => Target::PowerOn,
            Power::Off => Target::PowerOff,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a task stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not begun.
    Queued,
    /// Under way.
    Running,
    /// Standing still until it is resumed, aborted, cancelled or rolled back.
    Suspended,
    /// Abort or cancel was asked for; the outstanding order is being withdrawn (at most a second).
    Aborting,
    /// Bringing back the power state of the start.
    RollingBack,
    /// Ended: what was asked for was read back.
    Succeeded,
    /// Ended: it did not come about, or it cannot be known.
    Failed,
    /// Ended by abort.
    Aborted,
    /// Ended by cancel: nothing was handed to the network.
    Cancelled,
    /// Ended: the power state of the start was read back.
    RolledBack,
    /// Ended: the rollback itself failed; the outcome says wanted and found.
    Stuck,
}

impl State {
    /// The state in words.
    pub fn name(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Suspended => "suspended",
            State::Aborting => "aborting",
            State::RollingBack => "rolling back",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Aborted => "aborted",
            State::Cancelled => "cancelled",
            State::RolledBack => "rolled back",
            State::Stuck => "stuck",
        }
    }

    /// Whether the task is over: nothing changes any more and no order leaves.
    pub fn is_end(self) -> bool {
        !matches!(
            self,
            State::Queued
                | State::Running
                | State::Suspended
                | State::Aborting
                | State::RollingBack
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `on` or `off`, for messages.
fn power_name(power: Power) -> &'static str {
    match power {
        Power::On => "on",
        Power::Off => "off",
    }
}
