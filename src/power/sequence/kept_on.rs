//! A machine that is not to be switched off any more: its configuration forbids that
//! (`power_off = false`), and did not when the task was taken.
//!
//! A reload waits for such a task, a restart of the daemon cannot. So the task goes on with what
//! sends nothing, or only switches on, and ends where it would switch off.

use super::phase::{Next, Phase, SoftPressing, Switching};
use super::{Knowledge, Sequence, level};
use crate::bmc::vocabulary::Order;
use crate::model::OnSoftTimeout;

/// What the configuration says from now on of switching the machine off.
pub(in crate::power) fn set_never_off(never: bool, phase: &mut Phase, knowledge: &mut Knowledge) {
    let settings = &mut knowledge.settings;
    settings.never_off = never;
    if never {
        // An operating system that was asked has its whole time, and nothing hard follows, not
        // even where the configuration changes once more.
        settings.hard_after = None;
        settings.on_soft_timeout = OnSoftTimeout::Fail;
        phase.never_turns_hard();
    }
}

impl Sequence {
    /// What a new configuration says of switching the machine off. To be told while no order is
    /// out that would.
    pub fn set_never_off(&mut self, never: bool) {
        set_never_off(never, &mut self.phase, &mut self.knowledge);
    }

    /// Ends it where it is about to switch off a machine that is never to be.
    pub(super) fn keep_on(&mut self) {
        let order = self.phase.order(self.knowledge.operation);
        let off = matches!(order, Some(Order::PowerOff | Order::SoftOff));
        if !off || !self.knowledge.settings.never_off {
            return;
        }
        self.phase = match std::mem::replace(&mut self.phase, Phase::Queued) {
            Phase::Switching(Switching {
                leg,
                next: Next::At(_),
            }) => level::give_up(&leg, KEPT_ON, &self.knowledge),
            Phase::SoftPressing(SoftPressing {
                next: Next::At(_), ..
            }) => self.knowledge.fail(KEPT_ON),
            // What is out was allowed when it left.
            phase => phase,
        };
    }
}

/// Why it ends.
pub(super) const KEPT_ON: &str =
    "by now the configuration forbids to switch this node off (power_off = false)";
