//! The machine behind a BMC: its power, its operating system, what has happened to it. The truth
//! that tests compare with what the daemon says.
//!
//! Driven by [`super::Bmc`] (or by itself in a test): orders go in with the time, [`Host::advance`]
//! lets time pass, [`Host::next_event`] says when something will happen by itself. Knows no
//! packets.

use super::event_log::EventLog;
use super::mood::{EarlyOn, Mood, NmiEffect, OsMood, Pointless};
use crate::time::Instant;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// What Chassis Control asks for (§28.3), with its number on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChassisOrder {
    /// 0: power down, hard.
    Off,
    /// 1: power up.
    On,
    /// 2: power cycle.
    Cycle,
    /// 3: hard reset.
    Reset,
    /// 4: pulse the diagnostic interrupt.
    Nmi,
    /// 5: ask the operating system to shut down (ACPI).
    Soft,
}

impl ChassisOrder {
    /// The order with this number.
    pub fn by_number(number: u8) -> Option<Self> {
        use ChassisOrder::*;
        [Off, On, Cycle, Reset, Nmi, Soft]
            .get(usize::from(number))
            .copied()
    }
}

/// Who gave an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// A console, over the network.
    Console(SocketAddr),
    /// Somebody in front of the machine.
    Somebody,
}

/// What an order did at the moment at which it arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It is being done, or done.
    Done,
    /// There was nothing to do.
    NothingToDo,
    /// Accepted and lost: the machine had not been off long enough.
    LostTooEarly,
    /// Nobody listened: the operating system hangs, boots or has crashed.
    Ignored,
}

/// One order that reached the machine. Refused ones did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Executed {
    pub at: Instant,
    pub order: ChassisOrder,
    pub by: By,
    /// What it did.
    pub effect: Effect,
}

/// A change of the machine's power, as it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PowerChange {
    pub at: Instant,
    pub on: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Os {
    /// The machine is off.
    Down,
    /// Listens from then on.
    Booting {
        until: Instant,
    },
    Up,
    /// Goes down at `at`, and is back after `then_back`.
    ShuttingDown {
        at: Instant,
        then_back: Option<Duration>,
    },
    /// Stands still after a crash; starts again by itself at `reboot_at`.
    Crashed {
        reboot: Option<(Instant, u8)>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    On { cause: u8 },
    Off,
}

/// The identify light.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identify {
    Off,
    /// Blinks until then.
    Until(Instant),
    Indefinitely,
}

/// What the machine does when its mains come back (§28.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestorePolicy {
    /// Stays off.
    StayOff,
    /// As it was before.
    Previous,
    /// Powers up.
    AlwaysOn,
}

#[derive(Clone, Debug)]
pub struct Host {
    on: bool,
    has_mains: bool,
    /// Whether it was on when the mains failed.
    was_on_before: bool,
    off_since: Option<Instant>,
    os: Os,
    soft_requests: u32,
    plan: VecDeque<(Instant, Step)>,
    changes: Vec<PowerChange>,
    first_state: bool,
    executed: Vec<Executed>,
    /// Get System Restart Cause (§28.11).
    pub(super) restart_cause: u8,
    /// Whether power came on by a command (§28.2, last power event).
    pub(super) on_by_command: bool,
    /// The identify light.
    pub identify: Identify,
    /// The policy for returning mains.
    pub restore_policy: RestorePolicy,
    pub boot: super::boot_options::BootOptions,
    /// The system event log.
    pub event_log: EventLog,
    /// What it draws when it is on, in watts.
    pub watts: u16,
}

impl Host {
    /// A machine that is on or off since the start of time; if on, its operating system is up.
    pub fn new(on: bool) -> Self {
        Self {
            on,
            has_mains: true,
            was_on_before: on,
            off_since: None,
            os: if on { Os::Up } else { Os::Down },
            soft_requests: 0,
            plan: VecDeque::new(),
            changes: Vec::new(),
            first_state: on,
            executed: Vec::new(),
            restart_cause: 0x01,
            on_by_command: false,
            identify: Identify::Off,
            restore_policy: RestorePolicy::Previous,
            boot: super::boot_options::BootOptions::default(),
            event_log: EventLog::default(),
            watts: 240,
        }
    }

    /// Whether the machine has power now: the truth.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Whether its operating system runs and listens.
    pub fn os_is_up(&self) -> bool {
        self.on && matches!(self.os, Os::Up | Os::ShuttingDown { .. })
    }

    /// The power state that its BMC shows, which lags by [`Mood::stale_for`].
    pub fn shows_on(&self, mood: &Mood, now: Instant) -> bool {
        self.changes
            .iter()
            .rev()
            .find(|change| change.at + mood.stale_for <= now)
            .map_or(self.first_state, |change| change.on)
    }

    /// Every order that reached the machine, in the order of arrival.
    pub fn executed(&self) -> &[Executed] {
        &self.executed
    }

    /// How often `order` reached the machine, from the network.
    pub fn count(&self, order: ChassisOrder) -> usize {
        self.executed
            .iter()
            .filter(|done| done.order == order && matches!(done.by, By::Console(_)))
            .count()
    }

    /// Every change of power.
    pub fn power_changes(&self) -> &[PowerChange] {
        &self.changes
    }

    /// How long it has been on since the start of time.
    pub(super) fn time_on(&self, now: Instant) -> Duration {
        let (mut on, mut since) = (self.first_state, Instant::START);
        let mut total = Duration::ZERO;
        for change in &self.changes {
            if on {
                total += change.at - since;
            }
            (on, since) = (change.on, change.at);
        }
        match on {
            true => total + (now - since),
            false => total,
        }
    }

    /// Carries out `order`, or refuses it with a completion code.
    pub fn execute(
        &mut self,
        order: ChassisOrder,
        by: By,
        mood: &mut Mood,
        now: Instant,
    ) -> Result<Effect, u8> {
        self.advance(mood, now);
        if matches!(by, By::Console(_)) {
            if let Some(code) = mood.take_refusal(order) {
                return Err(code);
            }
            if let (ChassisOrder::Nmi, NmiEffect::Refused(code)) = (order, mood.nmi) {
                return Err(code);
            }
            self.check_sense(order, mood.pointless)?;
        }
        let effect = match order {
            ChassisOrder::Off => self.order_off(mood, now),
            ChassisOrder::On => self.order_on(by, mood, now),
            ChassisOrder::Cycle if self.on => self.order_cycle(mood, now),
            ChassisOrder::Reset if self.on => {
                self.plan.clear();
                self.start_os(0x01, mood, now);
                Effect::Done
            }
            ChassisOrder::Soft if self.on => self.order_soft(mood, now),
            ChassisOrder::Nmi if self.on => self.interrupt(mood, now),
            _ => Effect::NothingToDo,
        };
        self.executed.push(Executed {
            at: now,
            order,
            by,
            effect,
        });
        self.advance(mood, now);
        Ok(effect)
    }

    /// Somebody presses the power button: on if it is off, else what the operating system makes of
    /// it.
    pub fn press_power_button(&mut self, mood: &mut Mood, now: Instant) {
        self.advance(mood, now);
        self.event_log.note_power_button(now);
        let order = if self.on {
            ChassisOrder::Soft
        } else {
            ChassisOrder::On
        };
        // A button that nobody heeds is no error of anybody.
        let _ = self.execute(order, By::Somebody, mood, now);
    }

    /// The mains fail: everything is off at once, nothing planned happens.
    pub fn lose_mains(&mut self, mood: &Mood, now: Instant) {
        self.advance(mood, now);
        self.plan.clear();
        self.has_mains = false;
        self.event_log.note_lost_mains(now);
        self.was_on_before = self.on;
        if self.on {
            self.turn_off(now);
        }
    }

    /// The mains are back: the restore policy decides.
    pub fn regain_mains(&mut self, mood: &Mood, now: Instant) {
        self.has_mains = true;
        let (wanted, cause) = match self.restore_policy {
            RestorePolicy::StayOff => (false, 0x00),
            RestorePolicy::Previous => (self.was_on_before, 0x07),
            RestorePolicy::AlwaysOn => (true, 0x06),
        };
        if wanted {
            self.plan
                .push_back((now + mood.on_delay, Step::On { cause }));
        }
        self.advance(mood, now);
    }

    /// The next moment at which something happens by itself.
    pub fn next_event(&self) -> Option<Instant> {
        let os = match self.os {
            Os::Booting { until } => Some(until),
            Os::ShuttingDown { at, .. } => Some(at),
            Os::Crashed { reboot } => reboot.map(|(at, _)| at),
            Os::Down | Os::Up => None,
        };
        let light = match self.identify {
            Identify::Until(until) => Some(until),
            _ => None,
        };
        let planned = self.plan.front().map(|(at, _)| *at);
        [os, light, planned].into_iter().flatten().min()
    }

    /// Lets everything happen that happens until `now`, each at its time.
    pub fn advance(&mut self, mood: &Mood, now: Instant) {
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            if let Some((_, step)) = self.plan.front().copied().filter(|(when, _)| *when == at) {
                self.plan.pop_front();
                match step {
                    Step::On { cause } if !self.on => self.turn_on(cause, mood, at),
                    Step::Off if self.on => self.turn_off(at),
                    _ => {}
                }
            } else if self.identify == Identify::Until(at) {
                self.identify = Identify::Off;
            } else {
                self.advance_os(mood, at);
            }
        }
    }

    fn advance_os(&mut self, mood: &Mood, at: Instant) {
        match self.os {
            Os::Booting { .. } => self.os = Os::Up,
            Os::ShuttingDown { then_back, .. } => {
                self.turn_off(at);
                if let Some(back) = then_back {
                    self.plan.push_back((at + back, Step::On { cause: 0x00 }));
                }
            }
            Os::Crashed {
                reboot: Some((_, cause)),
            } => self.start_os(cause, mood, at),
            Os::Crashed { reboot: None } | Os::Down | Os::Up => {}
        }
    }

    fn check_sense(&self, order: ChassisOrder, pointless: Pointless) -> Result<(), u8> {
        let level = match order {
            ChassisOrder::On => !self.on,
            ChassisOrder::Off => self.on,
            _ if self.on => true,
            // §28.3 recommends D5h for these while the machine is off.
            _ if pointless == Pointless::AsRecommended => return Err(NOT_IN_PRESENT_STATE),
            ChassisOrder::Cycle if pointless == Pointless::AcceptedButCycle => {
                return Err(NOT_IN_PRESENT_STATE);
            }
            ChassisOrder::Nmi if pointless == Pointless::AcceptedButCycle => {
                return Err(UNSPECIFIED);
            }
            _ => false,
        };
        match pointless {
            Pointless::Refused if !level => Err(NOT_IN_PRESENT_STATE),
            _ => Ok(()),
        }
    }

    fn order_off(&mut self, mood: &Mood, now: Instant) -> Effect {
        if !self.on && mood.heedless {
            return Effect::NothingToDo;
        }
        self.plan.clear();
        if !self.on {
            return Effect::NothingToDo;
        }
        self.plan.push_back((now + mood.off_delay, Step::Off));
        Effect::Done
    }

    fn order_cycle(&mut self, mood: &Mood, now: Instant) -> Effect {
        let mut off_at = now;
        if let Some(limit) = mood.openbmc.graceful_cycle {
            off_at += limit;
            self.order_soft(mood, now);
            if let Os::ShuttingDown { at, then_back } = &mut self.os
                && *at < off_at
            {
                *then_back = Some(mood.cycle_off_time);
                return Effect::Done;
            }
        }
        self.plan.clear();
        off_at += mood.off_delay;
        self.plan.push_back((off_at, Step::Off));
        let back_at = off_at + mood.cycle_off_time;
        self.plan.push_back((back_at, Step::On { cause: 0x01 }));
        Effect::Done
    }

    fn order_on(&mut self, by: By, mood: &Mood, now: Instant) -> Effect {
        if self.on || !self.has_mains {
            return Effect::NothingToDo;
        }
        let may_at = self
            .off_since
            .map_or(now, |since| since + mood.min_off_time);
        if may_at > now && mood.early_on == EarlyOn::Lost {
            return Effect::LostTooEarly;
        }
        let cause = match by {
            By::Console(_) => 0x01,
            By::Somebody => 0x03,
        };
        self.plan.clear();
        let at = may_at.max(now) + mood.on_delay;
        self.plan.push_back((at, Step::On { cause }));
        Effect::Done
    }

    fn order_soft(&mut self, mood: &Mood, now: Instant) -> Effect {
        match self.os {
            Os::Up => {}
            Os::ShuttingDown { .. } => return Effect::NothingToDo,
            Os::Down | Os::Booting { .. } | Os::Crashed { .. } => return Effect::Ignored,
        }
        self.soft_requests += 1;
        let (after, then_back) = match mood.os {
            OsMood::ObeysAfter(after) => (after, None),
            OsMood::IgnoresFirst { ignored, after } if self.soft_requests > ignored => {
                (after, None)
            }
            OsMood::ComesBack {
                down_after,
                back_after,
            } => (down_after, Some(back_after)),
            OsMood::Hangs | OsMood::IgnoresFirst { .. } => return Effect::Ignored,
        };
        self.os = Os::ShuttingDown {
            at: now + after,
            then_back,
        };
        Effect::Done
    }

    fn interrupt(&mut self, mood: &Mood, now: Instant) -> Effect {
        match mood.nmi {
            NmiEffect::Ignored | NmiEffect::Refused(_) => Effect::Ignored,
            NmiEffect::PowersOff => {
                self.turn_off(now);
                Effect::Done
            }
            NmiEffect::Crash {
                reboots_after,
                logged,
                restart_cause,
            } => {
                if logged {
                    self.event_log.log_nmi_crash(now);
                }
                self.os = Os::Crashed {
                    reboot: reboots_after.map(|after| (now + after, restart_cause)),
                };
                Effect::Done
            }
        }
    }

    fn turn_on(&mut self, cause: u8, mood: &Mood, at: Instant) {
        self.on = true;
        self.off_since = None;
        self.on_by_command = cause == 0x01;
        self.changes.push(PowerChange { at, on: true });
        self.start_os(cause, mood, at);
    }

    fn turn_off(&mut self, at: Instant) {
        self.on = false;
        self.off_since = Some(at);
        self.os = Os::Down;
        self.changes.push(PowerChange { at, on: false });
    }

    fn start_os(&mut self, cause: u8, mood: &Mood, at: Instant) {
        self.restart_cause = cause;
        self.soft_requests = 0;
        self.boot.on_system_start();
        self.os = Os::Booting {
            until: at + mood.boot_time,
        };
    }
}

/// Completion code D5h: not supported in the present state.
const NOT_IN_PRESENT_STATE: u8 = 0xD5;
const UNSPECIFIED: u8 = 0xFF;

#[cfg(test)]
mod tests;
