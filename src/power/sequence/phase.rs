//! The phases: one variant for each place in which a sequence can be, holding only what its next
//! step needs. What can be read off a phase alone (its order, its deadline, whether it is on the
//! way back) is here; how one becomes another is in `record`, `level`, `soft`, `pulse`, `nmi` and
//! `controls`.

use super::clock::Age;
use crate::bmc::vocabulary::{self, Order, OrderId};
use crate::model::{Operation, Power, RestartCause};
use crate::power::Outcome;
use crate::power::settings::LAST_READING;
use std::time::Duration;

/// The one order of a phase: still to be issued, or out and awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// To be issued from this moment on.
    At(Age),
    /// Issued, its report awaited.
    Out(OrderId),
}

/// See the head of this file: each phase is a value of its own, which says what it does with a
/// report, with somebody else's reading and with its deadline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Not begun.
    Queued,
    Recording(Recording),
    SoftPressing(SoftPressing),
    SoftWaiting(SoftWaiting),
    Switching(Switching),
    Watching(Watching),
    MinOffTime(MinOffTime),
    RecordingEvidence(RecordingEvidence),
    LastLook(LastLook),
    Pulsing(Pulsing),
    Observing(Observing),
    NmiWatching(NmiWatching),
    Explaining(Explaining),
    AwaitingShutdown(AwaitingShutdown),
    Suspended(Suspended),
    Withdrawing(Withdrawing),
    Ended(Outcome),
}

/// The structs of the phases, each of which is a [`Phase`].
macro_rules! phases {
    ($($(#[$doc:meta])* $phase:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Eq, Debug)]
            pub(crate) struct $phase {
                $($(#[$field_doc])* pub(in crate::power) $field: $type,)+
            }

            impl From<$phase> for Phase {
                fn from(phase: $phase) -> Self {
                    Self::$phase(phase)
                }
            }
        )+
    };
}

phases! {
    /// Reading the power state, so that a rollback knows where to return.
    Recording {
        until: Age,
        looks: u32,
        next: Next,
    }

    /// Asking the operating system to shut down.
    SoftPressing {
        soft: Soft,
        next: Next,
    }

    /// The operating system is going down, or is not: looking.
    SoftWaiting {
        soft: Soft,
        looks: u32,
        /// Since when "off" was read without contradiction.
        seen: Option<Age>,
        /// From when on a look that shows "on" leads to another request, `None` for never.
        press_again: Option<Age>,
        next: Next,
    }

    /// Sending a level.
    Switching {
        leg: Leg,
        next: Next,
    }

    /// Looking whether a level came about.
    Watching {
        leg: Leg,
        looks: u32,
        /// Since when the wanted state was read without contradiction.
        seen: Option<Age>,
        /// From when on a look that shows the other state leads to the level being sent (again).
        press_again: Age,
        next: Next,
    }

    /// Off, and kept off for the minimum time.
    MinOffTime {
        rested: Age,
        /// A look that has to be taken first (after a resume or a restart).
        look: Option<Look>,
    }

    /// Reading what an NMI, reset or cycle may change, before it is sent.
    RecordingEvidence {
        until: Age,
        notes: Notes,
        asked: Question,
        tries: u32,
        next: Next,
    }

    /// The last look before a pulse, where the BMC was silent or time passed since the first.
    LastLook {
        until: Age,
        notes: Notes,
        looks: u32,
        next: Next,
    }

    /// Sending the pulse.
    Pulsing {
        until: Age,
        notes: Notes,
        refusals: u32,
        next: Next,
    }

    /// After a reset or cycle: looking what it did.
    Observing {
        until: Age,
        notes: Notes,
        fate: Fate,
        signs: Signs,
        looks: u32,
        /// Since when "on" was read without contradiction.
        on_since: Option<Age>,
        asked: Question,
        next: Next,
    }

    /// After an NMI: looking what it did.
    NmiWatching {
        until: Age,
        notes: Notes,
        fate: Fate,
        signs: Signs,
        looks: u32,
        asked: Question,
        next: Next,
    }

    /// A pulse was refused in the present state: reading which state that is.
    Explaining {
        until: Age,
        refusal: vocabulary::Refusal,
        looks: u32,
        next: Next,
    }

    /// Rolling back after a soft request: a machine that goes down is switched on again, one that
    /// stays up is left.
    AwaitingShutdown {
        by: String,
        until: Age,
        /// Staying up until here means that it stays up.
        settled: Age,
        looks: u32,
        next: Next,
    }

    /// Standing still.
    Suspended {
        inner: Box<Phase>,
        look: SlowLook,
    }

    /// The outstanding changing order is being withdrawn; then the control is carried out.
    Withdrawing {
        id: OrderId,
        then: Then,
        until: Age,
    }
}

/// The place of a phase's order, by a reference of the kind that the phase is seen by.
macro_rules! next_of {
    ($phase:expr) => {
        match $phase {
            Phase::Recording(Recording { next, .. })
            | Phase::SoftPressing(SoftPressing { next, .. })
            | Phase::SoftWaiting(SoftWaiting { next, .. })
            | Phase::Switching(Switching { next, .. })
            | Phase::Watching(Watching { next, .. })
            | Phase::MinOffTime(MinOffTime {
                look: Some(Look { next, .. }),
                ..
            })
            | Phase::RecordingEvidence(RecordingEvidence { next, .. })
            | Phase::LastLook(LastLook { next, .. })
            | Phase::Pulsing(Pulsing { next, .. })
            | Phase::Observing(Observing { next, .. })
            | Phase::NmiWatching(NmiWatching { next, .. })
            | Phase::Explaining(Explaining { next, .. })
            | Phase::AwaitingShutdown(AwaitingShutdown { next, .. }) => Some(next),
            Phase::MinOffTime(MinOffTime { look: None, .. })
            | Phase::Queued
            | Phase::Suspended(_)
            | Phase::Withdrawing(_)
            | Phase::Ended(_) => None,
        }
    };
}

/// A look beside the phase's own business.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    pub(in crate::power) looks: u32,
    pub(in crate::power) next: Next,
}

/// The looks of a suspended task: they follow the elapsed time, because the age stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SlowLook {
    At(Duration),
    Out(OrderId),
}

/// What is carried out once the outstanding order is withdrawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    Abort { by: String, error: bool },
    Cancel { by: String },
    Rollback { by: String },
}

/// A way to one level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Leg {
    pub(in crate::power) to: Power,
    pub(in crate::power) aim: Aim,
    pub(in crate::power) until: Age,
    /// For how long the state must hold, from its first reading to its last.
    pub(in crate::power) steady: Duration,
    /// Refusals and orders that did not leave, for the pauses between them.
    pub(in crate::power) setbacks: u32,
    /// Refusals without a known meaning: the second one ends it.
    pub(in crate::power) failures: u32,
    /// The last refusal, for the message where time runs out.
    pub(in crate::power) refused: Option<String>,
}

impl Leg {
    pub(in crate::power) fn is_return(&self) -> bool {
        matches!(self.aim, Aim::Return { .. })
    }
}

/// What a leg is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Aim {
    /// Its level is what was asked for.
    Final,
    /// Its level is "off" and the node is switched on again afterwards.
    OffThenOn,
    /// As the two before, but the operating system was asked in vain.
    Escalated,
    /// Its level is that of the start.
    Return { by: String },
}

/// The state of a soft power off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Soft {
    /// The end of the patience.
    pub(in crate::power) until: Age,
    /// T2, counted from the first request.
    pub(in crate::power) hard_at: Option<Age>,
    /// The machine is to be switched off hard as soon as it is read on.
    pub(in crate::power) due: bool,
    /// Requests that were accepted: T1 repeats one, once.
    pub(in crate::power) accepted: u32,
    /// Requests in a row that brought silence or a refusal: the pauses grow with them.
    pub(in crate::power) setbacks: u32,
    pub(in crate::power) failures: u32,
    pub(in crate::power) refused: Option<String>,
}

/// What was read before a pulse, so that a change is visible.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Notes {
    /// `None`: the BMC does not say.
    pub(in crate::power) cause: Option<RestartCause>,
    /// `None`: the BMC does not say.
    pub(in crate::power) log: Option<LogMark>,
    /// A question went unanswered: look at the power once more before the pulse.
    pub(in crate::power) unsure: bool,
}

/// How far the event log was known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogMark {
    pub(in crate::power) entries: u16,
    pub(in crate::power) last_added: u32,
    /// The record id of the last known entry, `None` where the log was empty or did not say.
    pub(in crate::power) last: Option<u16>,
    /// All entries that were there then were read (or were there before the pulse).
    pub(in crate::power) complete: bool,
}

/// What is being asked in a phase that asks several things in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    Power,
    Cause,
    LogInfo,
    /// The entry with this id; `walked` entries of this round were read before it.
    LogEntry {
        id: u16,
        walked: u16,
    },
}

/// What became of a pulse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// The BMC took the pulse.
    Accepted,
    /// The pulse may have arrived: why that is not known.
    Unknown { why: String },
    /// The pulse was not answered, but what was read since shows that it arrived.
    Shown { how: String },
}

/// What was seen after a pulse.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Signs {
    /// Effects: a crash entry, another restart cause, an entry of a start, the power gone.
    pub(in crate::power) effects: Vec<String>,
    /// One of them is a crash entry: the others may have been anybody's doing.
    pub(in crate::power) crash: bool,
    /// How they show that the machine was off, or started.
    pub(in crate::power) restart: Restart,
    /// The event log's word for it that an interrupt was delivered.
    pub(in crate::power) delivered: Option<String>,
    /// New entries of the event log that tell of no crash.
    pub(in crate::power) entries: Vec<String>,
}

/// What shows that the machine was off, or started: the surer the later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Restart {
    #[default]
    NotSeen,
    /// Another restart cause, which some BMCs write down before they act.
    Cause,
    /// An entry of the event log, likewise.
    Entry,
    /// The node was off.
    Off,
}

impl Fate {
    /// Whether it is known that the pulse arrived.
    pub(in crate::power) fn is_arrived(&self) -> bool {
        match self {
            Self::Accepted | Self::Shown { .. } => true,
            Self::Unknown { .. } => false,
        }
    }
}

impl Question {
    fn order(self) -> Order {
        match self {
            Self::Power => Order::ReadPower,
            Self::Cause => Order::ReadRestartCause,
            Self::LogInfo => Order::ReadEventLogInfo,
            Self::LogEntry { id, .. } => Order::ReadEventLogEntry(id),
        }
    }
}

impl Phase {
    /// The order that the phase issues or has issued.
    pub(in crate::power) fn order(&self, operation: Operation) -> Option<Order> {
        match self {
            Self::Queued | Self::Withdrawing(_) | Self::Ended(_) => None,
            Self::MinOffTime(phase) => phase.look.as_ref().map(|_| Order::ReadPower),
            Self::SoftPressing(_) => Some(Order::SoftOff),
            Self::Switching(phase) => Some(match phase.leg.to {
                Power::On => Order::PowerOn,
                Power::Off => Order::PowerOff,
            }),
            Self::Pulsing(_) => crate::power::pulse(operation),
            Self::RecordingEvidence(RecordingEvidence { asked, .. })
            | Self::Observing(Observing { asked, .. })
            | Self::NmiWatching(NmiWatching { asked, .. }) => Some(asked.order()),
            Self::Recording(_)
            | Self::SoftWaiting(_)
            | Self::Watching(_)
            | Self::LastLook(_)
            | Self::Explaining(_)
            | Self::AwaitingShutdown(_)
            | Self::Suspended(_) => Some(Order::ReadPower),
        }
    }

    /// Whether an order that changes power may follow as soon as it is known what the present one
    /// brings: what is asked before one, or after one that has not had its effect yet. What only
    /// watches the machine leads to none.
    pub(in crate::power) fn leads_to_change(&self, operation: Operation) -> bool {
        match self {
            Self::Queued
            | Self::Recording(_)
            | Self::SoftPressing(_)
            | Self::Switching(_)
            | Self::MinOffTime(_)
            | Self::RecordingEvidence(_)
            | Self::LastLook(_)
            | Self::Pulsing(_)
            | Self::AwaitingShutdown(_) => true,
            Self::SoftWaiting(SoftWaiting {
                soft, press_again, ..
            }) => {
                // A soft power off is over with "off", unless it may ask again or turn hard.
                let again = soft.due || soft.hard_at.is_some() || press_again.is_some();
                again || operation == Operation::SoftReboot
            }
            Self::Watching(Watching { leg, seen, .. }) => match leg.aim {
                Aim::OffThenOn => true,
                Aim::Final | Aim::Escalated | Aim::Return { .. } => {
                    seen.is_none() || operation == Operation::SoftReboot && leg.to == Power::Off
                }
            },
            // None of these reads in order to act, so that its reading may wait
            // for room at the BMC (rule 10).
            Self::Observing(_)
            | Self::NmiWatching(_)
            | Self::Explaining(_)
            | Self::Suspended(_)
            | Self::Withdrawing(_)
            | Self::Ended(_) => false,
        }
    }

    /// The place of its order, for all but the phases that have none and the suspended one.
    pub(in crate::power) fn next_mut(&mut self) -> Option<&mut Next> {
        next_of!(self)
    }

    /// The same, to look at.
    pub(in crate::power) fn next(&self) -> Option<Next> {
        next_of!(self).copied()
    }

    /// A soft power off that was to turn hard does not.
    pub(in crate::power) fn never_turns_hard(&mut self) {
        match self {
            Self::SoftPressing(SoftPressing { soft, .. })
            | Self::SoftWaiting(SoftWaiting { soft, .. }) => {
                (soft.hard_at, soft.due) = (None, false);
            }
            Self::Suspended(phase) => phase.inner.never_turns_hard(),
            _ => {}
        }
    }

    /// Whether a pulse is its next order and has not been issued.
    pub(in crate::power) fn has_pulse_to_send(&self) -> bool {
        match self {
            Self::Pulsing(phase) => match phase.next {
                Next::At(_) => true,
                Next::Out(_) => false,
            },
            // Every phase is named, so that a new one does not compile
            // before this is decided (rule 2).
            Self::Queued
            | Self::Recording(_)
            | Self::SoftPressing(_)
            | Self::SoftWaiting(_)
            | Self::Switching(_)
            | Self::Watching(_)
            | Self::MinOffTime(_)
            | Self::RecordingEvidence(_)
            | Self::LastLook(_)
            | Self::Observing(_)
            | Self::NmiWatching(_)
            | Self::Explaining(_)
            | Self::AwaitingShutdown(_)
            | Self::Suspended(_)
            | Self::Withdrawing(_)
            | Self::Ended(_) => false,
        }
    }

    /// What is thought of a pulse that was sent.
    pub(in crate::power) fn fate_mut(&mut self) -> Option<&mut Fate> {
        match self {
            Self::Observing(Observing { fate, .. })
            | Self::NmiWatching(NmiWatching { fate, .. }) => Some(fate),
            Self::Suspended(phase) => phase.inner.fate_mut(),
            _ => None,
        }
    }

    /// The order whose report is awaited.
    pub(in crate::power) fn outstanding(&self) -> Option<OrderId> {
        match self {
            Self::Suspended(phase) => match phase.look {
                SlowLook::Out(id) => Some(id),
                SlowLook::At(_) => None,
            },
            Self::Withdrawing(phase) => Some(phase.id),
            Self::Queued
            | Self::Recording(_)
            | Self::SoftPressing(_)
            | Self::SoftWaiting(_)
            | Self::Switching(_)
            | Self::Watching(_)
            | Self::MinOffTime(_)
            | Self::RecordingEvidence(_)
            | Self::LastLook(_)
            | Self::Pulsing(_)
            | Self::Observing(_)
            | Self::NmiWatching(_)
            | Self::Explaining(_)
            | Self::AwaitingShutdown(_)
            | Self::Ended(_) => match self.next() {
                Some(Next::Out(id)) => Some(id),
                Some(Next::At(_)) | None => None,
            },
        }
    }

    /// When the phase ends by itself, reports or not: when its time is over, or a moment later
    /// where the reading may still come that confirms what was read in the last moment.
    pub(in crate::power) fn deadline(&self) -> Option<Age> {
        match self {
            Self::SoftWaiting(SoftWaiting {
                seen: Some(_),
                soft,
                ..
            }) => {
                let until = soft.until + LAST_READING;
                // T2 may come first: `soft` then gives the look that
                // confirms "off" a time of its own.
                Some(soft.hard_at.map_or(until, |hard_at| hard_at.min(until)))
            }
            Self::Watching(Watching {
                seen: Some(_), leg, ..
            }) if !leg.is_return() => Some(leg.until + LAST_READING),
            phase => phase.until(),
        }
    }

    /// When its time is over.
    pub(in crate::power) fn until(&self) -> Option<Age> {
        match self {
            Self::Queued | Self::Suspended(_) | Self::Ended(_) => None,
            Self::SoftPressing(SoftPressing { soft, .. })
            | Self::SoftWaiting(SoftWaiting { soft, .. }) => Some(
                soft.hard_at
                    .map_or(soft.until, |hard_at| hard_at.min(soft.until)),
            ),
            Self::Switching(Switching { leg, .. }) | Self::Watching(Watching { leg, .. }) => {
                Some(leg.until)
            }
            Self::MinOffTime(phase) => Some(phase.rested),
            Self::Recording(Recording { until, .. })
            | Self::RecordingEvidence(RecordingEvidence { until, .. })
            | Self::LastLook(LastLook { until, .. })
            | Self::Pulsing(Pulsing { until, .. })
            | Self::Observing(Observing { until, .. })
            | Self::NmiWatching(NmiWatching { until, .. })
            | Self::Explaining(Explaining { until, .. })
            | Self::AwaitingShutdown(AwaitingShutdown { until, .. })
            | Self::Withdrawing(Withdrawing { until, .. }) => Some(*until),
        }
    }

    /// Whether it is on the way back to the state of the start.
    pub(in crate::power) fn is_return(&self) -> bool {
        match self {
            Self::Switching(Switching { leg, .. }) | Self::Watching(Watching { leg, .. }) => {
                leg.is_return()
            }
            Self::AwaitingShutdown(_) => true,
            Self::Withdrawing(phase) => match phase.then {
                Then::Rollback { .. } => true,
                Then::Abort { .. } | Then::Cancel { .. } => false,
            },
            // A rollback is held and never suspended, so that no
            // suspended phase is on the way back.
            Self::Queued
            | Self::Recording(_)
            | Self::SoftPressing(_)
            | Self::SoftWaiting(_)
            | Self::MinOffTime(_)
            | Self::RecordingEvidence(_)
            | Self::LastLook(_)
            | Self::Pulsing(_)
            | Self::Observing(_)
            | Self::NmiWatching(_)
            | Self::Explaining(_)
            | Self::Suspended(_)
            | Self::Ended(_) => false,
        }
    }
}
