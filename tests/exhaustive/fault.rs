//! What goes wrong in a story, and where: every placement has a name.

use crate::world::{millis, secs};
use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::model::{Control, Operation, TakeOver};
use rackbmcd::sim::Mishap;
use std::fmt;

/// One fault in one place. Everything is counted from the request, from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A datagram, both ways together.
    Datagram(u64, Mishap),
    /// A command in a session is answered with this completion code and not carried out.
    Answered(u64, u8),
    /// A command in a session, where it asks for the power state, is told the other one.
    WrongReading(u64),
    /// A commit is refused by the disk, which takes it when it is tried again.
    Refused(usize),
    /// The daemon is killed when a commit is on the disk, before it knows.
    KilledAt(usize),
    /// Somebody does something after an event: a datagram that left or came, a commit that was
    /// tried.
    Act(u64, Act),
}

/// What somebody does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// The daemon is killed and started again.
    Kill,
    /// The daemon is stopped and started again.
    Stop,
    /// It is given a configuration.
    Reload,
    /// Its process stands still for ten minutes; what comes meanwhile is lost, or read afterwards.
    StandStill { catches_up: bool },
    /// The calendar is set by so many hours.
    SetCalendar(i64),
    /// A control on the task; one that is suspended is resumed later.
    Use(Control),
    /// One of Ironic's words to abort.
    Word(PowerTarget),
    /// A second request.
    Ask(Operation),
    /// A second request, which takes the node over.
    TakeOver(Operation, TakeOver),
    /// The task is aborted, and a moment later something else is asked for.
    AbortThen(Operation),
    /// Another BMC is at the address, and after a while the first one again.
    Swap,
    /// Our user may only read, for a while.
    Lower,
}

/// How long a story is without a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Length {
    pub datagrams: u64,
    pub commands: u64,
    pub commits: usize,
    pub events: u64,
}

impl Act {
    fn all() -> Vec<Self> {
        let words = [
            PowerTarget::AbortSoftRebooting,
            PowerTarget::AbortSoftPowerOff,
            PowerTarget::AbortInjectNmi,
        ];
        let controls = [
            Control::Abort,
            Control::Cancel,
            Control::Rollback,
            Control::Suspend,
            Control::Resume,
        ];
        let levels = [Operation::PowerOn, Operation::PowerOff];
        let mut acts = vec![
            Self::Kill,
            Self::Stop,
            Self::Reload,
            Self::Swap,
            Self::Lower,
        ];
        acts.extend([true, false].map(|catches_up| Self::StandStill { catches_up }));
        acts.extend([3, -48].map(Act::SetCalendar));
        acts.extend(controls.map(Act::Use));
        acts.extend(words.map(Act::Word));
        acts.extend(levels.map(Act::Ask));
        acts.extend(levels.map(|level| Self::TakeOver(level, TakeOver::Running)));
        acts.push(Self::TakeOver(Operation::PowerOff, TakeOver::Suspended));
        acts.extend(levels.map(Act::AbortThen));
        acts
    }
}

impl Fault {
    /// Whether somebody does something, rather than that something goes wrong by itself.
    pub(crate) fn is_act(self) -> bool {
        matches!(self, Self::Act(..))
    }

    /// Every placement in a story that is so long.
    pub(crate) fn placements(length: Length) -> Vec<Self> {
        let mut faults = Vec::new();
        for number in 1..=length.datagrams {
            for mishap in [
                Mishap::Lost,
                Mishap::Doubled,
                Mishap::Late(millis(700)),
                Mishap::Late(secs(12)),
            ] {
                faults.push(Self::Datagram(number, mishap));
            }
        }
        for number in 1..=length.commands {
            faults.extend([0xC0, 0xC1].map(|code| Self::Answered(number, code)));
            faults.push(Self::WrongReading(number));
        }
        for number in 1..=length.commits {
            faults.extend([Self::Refused(number), Self::KilledAt(number)]);
        }
        for number in 0..=length.events {
            faults.extend(Act::all().into_iter().map(|act| Self::Act(number, act)));
        }
        faults
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datagram(number, Mishap::Lost) => write!(f, "datagram {number} lost"),
            Self::Datagram(number, Mishap::Doubled) => write!(f, "datagram {number} doubled"),
            Self::Datagram(number, Mishap::Late(late)) => {
                write!(f, "datagram {number} late by {late:?}")
            }
            Self::Answered(number, code) => write!(f, "command {number} answered {code:02X}h"),
            Self::WrongReading(number) => write!(f, "reading {number} wrong"),
            Self::Refused(number) => write!(f, "record {number} refused by the disk"),
            Self::KilledAt(number) => write!(f, "killed at record {number}"),
            Self::Act(number, act) => write!(f, "{act} after event {number}"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("killed"),
            Self::Stop => f.write_str("stopped"),
            Self::Reload => f.write_str("reloaded"),
            Self::StandStill { catches_up: true } => f.write_str("stood still"),
            Self::StandStill { catches_up: false } => f.write_str("stood still and deaf"),
            Self::SetCalendar(hours) => write!(f, "calendar set by {hours} h"),
            Self::Use(control) => write!(f, "{control}"),
            Self::Word(word) => write!(f, "'{}'", word.name()),
            Self::Ask(operation) => write!(f, "{operation} too"),
            Self::TakeOver(operation, TakeOver::Running) => write!(f, "{operation} instead"),
            Self::TakeOver(operation, TakeOver::Suspended) => {
                write!(f, "{operation} instead, whatever stands still")
            }
            Self::AbortThen(operation) => write!(f, "abort and {operation}"),
            Self::Swap => f.write_str("another BMC"),
            Self::Lower => f.write_str("the level too low"),
        }
    }
}
