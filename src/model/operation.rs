//! What a task does, how it stands, and what people may do to it.

use super::words::words;
use super::{Power, Target};

words! {
    /// What a task does to its node.
    pub enum Operation ("operation") {
        /// Switch on and read it back.
        PowerOn = "power on",
        /// Switch off hard and read it back.
        PowerOff = "power off",
        /// Off, read back, minimum off time, on, read back: made of levels, so that nothing happens
        /// twice.
        Reboot = "rebooting",
        /// Ask the operating system to shut down and wait until the node is off.
        SoftPowerOff = "soft power off",
        /// As a soft power off, then the minimum off time, on, read back.
        SoftReboot = "soft rebooting",
        /// One diagnostic interrupt, then watch what it does.
        InjectNmi = "inject nmi",
        /// One hard reset: a pulse.
        Reset = "hard reset" | "reset",
        /// One power cycle by the BMC itself: a pulse.
        Cycle = "power cycle" | "cycle",
    }
}

impl Operation {
    /// Whether it leads to a power state and ends there: asked for again it does what is still to
    /// be done, and no more.
    pub fn ends_in_a_state(self) -> bool {
        match self {
            Self::PowerOn | Self::PowerOff | Self::SoftPowerOff => true,
            Self::Reboot | Self::SoftReboot | Self::InjectNmi | Self::Reset | Self::Cycle => false,
        }
    }

    /// Whether it asks the operating system first.
    pub fn is_soft(self) -> bool {
        match self {
            Self::SoftPowerOff | Self::SoftReboot => true,
            Self::PowerOn
            | Self::PowerOff
            | Self::Reboot
            | Self::InjectNmi
            | Self::Reset
            | Self::Cycle => false,
        }
    }

    /// Whether a machine that does it starts its operating system at the end.
    pub fn boots(self) -> bool {
        match self {
            Self::PowerOn | Self::Reboot | Self::SoftReboot | Self::Reset | Self::Cycle => true,
            Self::PowerOff | Self::SoftPowerOff | Self::InjectNmi => false,
        }
    }
}

words! {
    /// What a person may do to a running task.
    pub enum Control ("control") {
        /// Stop now, leave the machine as it is.
        Abort = "abort",
        /// Withdraw, as if never asked: only before anything was handed to the network.
        Cancel = "cancel",
        /// Bring the node back to the power state that it had at the start.
        Rollback = "rollback",
        /// Stand still: no order leaves, no patience runs out.
        Suspend = "suspend",
        /// Read the machine and go on with the patience that was left.
        Resume = "resume",
    }
}

words! {
    /// Where a task stands.
    pub enum TaskState ("state of a task") {
        /// Not begun.
        Queued = "queued",
        /// Under way.
        Running = "running",
        /// Standing still until it is resumed, aborted, cancelled or rolled back.
        Suspended = "suspended",
        /// Abort or cancel was asked for; the outstanding order is being withdrawn (at most a
        /// second).
        Aborting = "aborting",
        /// Bringing back the power state of the start.
        RollingBack = "rolling back",
        /// Ended: what was asked for was read back.
        Succeeded = "succeeded",
        /// Ended: it did not come about, or it cannot be known.
        Failed = "failed",
        /// Ended by abort.
        Aborted = "aborted",
        /// Ended by cancel: nothing was handed to the network.
        Cancelled = "cancelled",
        /// Ended: the power state of the start was read back.
        RolledBack = "rolled back",
        /// Ended: the rollback itself failed; the outcome says wanted and found.
        Stuck = "stuck",
    }
}

impl TaskState {
    /// Whether the task is over: nothing changes any more and no order leaves.
    pub fn is_end(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Suspended | Self::Aborting | Self::RollingBack => {
                false
            }
            Self::Succeeded
            | Self::Failed
            | Self::Aborted
            | Self::Cancelled
            | Self::RolledBack
            | Self::Stuck => true,
        }
    }

    /// Whether it did not reach what it was to reach, and nobody wanted it to stop.
    pub fn has_failed(self) -> bool {
        match self {
            Self::Failed | Self::Stuck => true,
            Self::Queued
            | Self::Running
            | Self::Suspended
            | Self::Aborting
            | Self::RollingBack
            | Self::Succeeded
            | Self::Aborted
            | Self::Cancelled
            | Self::RolledBack => false,
        }
    }
}

words! {
    /// What happens when the operating system has not shut down within the patience.
    #[derive(Default)]
    pub enum OnSoftTimeout ("on_soft_timeout") {
        /// The task fails; the machine is left as it is.
        #[default]
        Fail = "fail",
        /// The node is switched off hard: only where the request or the node's policy asks for it.
        HardPowerOff = "hard power off",
    }
}

words! {
    /// What a batch does when a node fails.
    #[derive(Default)]
    pub enum OnFailure ("on_failure") {
        /// Go on with the others.
        #[default]
        Continue = "continue",
        /// Begin no further node.
        Stop = "stop",
    }
}

words! {
    /// What a request does where a task has the node.
    #[derive(Default)]
    pub enum OnBusy ("on_busy") {
        /// It is refused.
        #[default]
        Fail = "fail",
        /// The node is left as it is.
        Skip = "skip",
        /// That task is ended, and the new one has the node.
        TakeOver = "take_over",
    }
}

words! {
    /// Which tasks a request may take a node over from.
    #[derive(Default)]
    pub enum TakeOver ("take_over") {
        /// Those that wait for their turn or run.
        #[default]
        Running = "running",
        /// Also those that are suspended or rolling back, and of a node in maintenance; only to
        /// switch off.
        Suspended = "suspended",
    }
}

impl From<Power> for Target {
    fn from(power: Power) -> Self {
        match power {
            Power::On => Self::PowerOn,
            Power::Off => Self::PowerOff,
        }
    }
}
