//! How patient a sequence is and what it was allowed to do: given by `rack` from the configuration
//! and the request.

use crate::bmc::vocabulary::Order;
use crate::model::BootDevice;
use crate::model::{OnSoftTimeout, Operation};
use std::time::Duration;

/// The settings of one sequence; they are kept with it through a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The whole wait of a soft power off, from the moment the task begins: 600 s, or the request's
    /// timeout.
    pub patience: Duration,
    /// The whole time of one hard change (on, off, reset, cycle), reading it back included: 60 s.
    /// It also bounds how long the very first reading may take.
    pub change_timeout: Duration,
    /// How long a node stays off before it is switched on again: 10 s.
    pub min_off_time: Duration,
    /// How long a machine may contradict what it was told before a level is sent again, and how
    /// long a state must hold where a change may still be on its way (after a cycle, in a
    /// rollback): 10 s.
    pub settle: Duration,
    /// The second reading that confirms a state comes so long after the first: 1 s. Zero trusts the
    /// first. A state that our own level brought about is confirmed sooner.
    pub confirm_after: Duration,
    /// How long every state has to hold on this node, where one did not that had been called done.
    pub holds_longer: Option<Duration>,
    /// In a rollback after a soft power off: a machine that stays on for so long is left alone: 60
    /// s.
    pub rollback_settle: Duration,
    /// What to do when the patience is over.
    pub on_soft_timeout: OnSoftTimeout,
    /// T1: ask the operating system once more so long after an accepted request (never within 10 s
    /// of it).
    pub repeat_soft_after: Option<Duration>,
    /// T2: switch off hard so long after the first soft request. Counts only while it is within the
    /// patience.
    pub hard_after: Option<Duration>,
    /// The pauses before the first, second, ... look at a machine that is to change; the last one
    /// repeats.
    pub look_schedule: Vec<Duration>,
    /// The pause between looks while suspended: 30 s.
    pub suspended_look: Duration,
    /// How long a machine is watched after an NMI: 60 s.
    pub nmi_watch: Duration,
    /// What the machine is to boot from, once, where that was asked for.
    pub boot: Option<Boot>,
    /// A reset or a cycle switches on a machine that is off.
    pub on_if_off: bool,
    /// The machine is never to be switched off, because its BMC would go with it.
    pub never_off: bool,
    /// The request named its time, which runs from there: the queue counts, whatever keeps the task
    /// in it.
    pub from_request: bool,
}

/// What a machine boots from next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Boot {
    pub device: BootDevice,
    /// In UEFI mode.
    pub uefi: bool,
}

impl Boot {
    /// The order that says so to the BMC.
    pub fn setting(self) -> Order {
        Order::SetBootDevice {
            device: Some(self.device),
            persistent: false,
            uefi: self.uefi,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(600),
            change_timeout: Duration::from_secs(60),
            min_off_time: Duration::from_secs(10),
            settle: Duration::from_secs(10),
            confirm_after: Duration::from_secs(1),
            holds_longer: None,
            rollback_settle: Duration::from_secs(60),
            on_soft_timeout: OnSoftTimeout::Fail,
            repeat_soft_after: None,
            hard_after: None,
            // Design, section 6 ("One look"): closely at first, then every five seconds.
            look_schedule: [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 5]
                .map(Duration::from_secs)
                .to_vec(),
            suspended_look: Duration::from_secs(30),
            nmi_watch: Duration::from_secs(60),
            boot: None,
            on_if_off: false,
            never_off: false,
            from_request: false,
        }
    }
}

impl Settings {
    /// The longest time that an operation can take from its beginning to its end, neither suspended
    /// nor rolled back.
    pub fn longest(&self, operation: Operation) -> Duration {
        let switch_on = self.min_off_time.saturating_add(self.change_timeout);
        match operation {
            Operation::PowerOn | Operation::PowerOff | Operation::Reset | Operation::Cycle => {
                self.change_timeout
            }
            Operation::Reboot => self.change_timeout.saturating_add(switch_on),
            Operation::SoftPowerOff => self.longest_soft(),
            Operation::SoftReboot => self.longest_soft().saturating_add(switch_on),
            Operation::InjectNmi => self.change_timeout.saturating_add(self.nmi_watch),
        }
    }

    /// The longest time that a rollback can take from its request to its end.
    pub fn longest_rollback(&self) -> Duration {
        // At most two times the settle time: once for a machine that stays up, once for a state
        // that has to hold.
        [
            self.rollback_settle,
            self.settle,
            self.settle,
            self.min_off_time,
            self.change_timeout,
        ]
        .into_iter()
        .fold(WITHDRAWAL, Duration::saturating_add)
    }

    /// The time that a request names: of a soft operation the whole wait, of another one each
    /// change.
    pub(super) fn nameable(&self, operation: Operation) -> Duration {
        match operation.is_soft() {
            true => self.patience,
            false => self.change_timeout,
        }
    }

    /// The patience, and the hard power off after it where that may come.
    fn longest_soft(&self) -> Duration {
        let hard = self.on_soft_timeout == OnSoftTimeout::HardPowerOff
            || self.hard_after.is_some_and(|after| after < self.patience);
        let after = if hard {
            self.change_timeout
        } else {
            Duration::ZERO
        };
        self.patience.saturating_add(after)
    }

    /// The pause before the look number `looks` (from 0). Never zero, so that nobody is asked in a
    /// tight loop.
    pub(super) fn look_pause(&self, looks: u32) -> Duration {
        let at = usize::try_from(looks).unwrap_or(usize::MAX);
        self.look_schedule
            .get(at)
            .or(self.look_schedule.last())
            .copied()
            .unwrap_or(FALLBACK_LOOK)
            .max(SHORTEST_LOOK)
    }
}

/// The pause before the look number `looks` (from 0) at a machine that has taken a level: early,
/// because most machines obey at once, and each pause half as long again as the one before.
pub(super) fn level_pause(looks: u32, round_trip: Duration) -> Duration {
    let first = (round_trip * FIRST_LOOK).clamp(SOONEST_LOOK, LATEST_FIRST_LOOK);
    // The longest pause comes long before the 32nd look, and a higher power overflows a duration.
    let growth = 1.5f64.powi(i32::try_from(looks.min(32)).unwrap_or(0));
    first.mul_f64(growth).min(LONGEST_LEVEL_PAUSE)
}

/// The pause after the `refusals`th "busy" (from 0): 1, 2, 4, 8 s and so on up to 8 s.
pub(super) fn backoff(refusals: u32) -> Duration {
    Duration::from_secs(1 << refusals.min(3))
}

/// A soft request is never repeated sooner: the operating system may take a second press for "off,
/// now".
pub(super) const SOFT_GAP: Duration = Duration::from_secs(10);
/// How long a withdrawn order may take to report; then it counts as sent.
pub(super) const WITHDRAWAL: Duration = Duration::from_secs(1);
/// How long a state that our own level brought about has to hold at least, and any state where time
/// is over.
pub(super) const SHORTEST_HOLD: Duration = Duration::from_millis(200);
/// The same in round trips, for a BMC that is slower.
pub(super) const HOLD_ROUND_TRIPS: u32 = 3;
/// Where a state was read once when time is over, the second reading may still come: deadlines hold
/// to within a second.
pub(super) const LAST_READING: Duration = Duration::from_millis(800);
/// The first look at a level comes after so many round trips.
const FIRST_LOOK: u32 = 3;
/// The first look at a level comes no sooner than this.
const SOONEST_LOOK: Duration = Duration::from_millis(50);
/// The first look at a level comes no later than this.
const LATEST_FIRST_LOOK: Duration = Duration::from_secs(1);
/// The longest pause between two looks at a level.
pub(super) const LONGEST_LEVEL_PAUSE: Duration = Duration::from_secs(2);
const FALLBACK_LOOK: Duration = Duration::from_secs(5);
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
