//! What a task is on its way to, as `target_power_state` shows it (design, section 3).

use super::Sequence;
use super::phase::{Aim, Leg, Phase, SoftWaiting, Switching, Then, Watching, Withdrawing};
use crate::model::{Operation, Power, Target};

impl Sequence {
    /// What `target_power_state` shows: `None` once it ended, or once the record shows that there
    /// is nothing to do.
    pub fn target(&self) -> Option<Target> {
        self.target_in(&self.phase)
    }

    fn target_in(&self, phase: &Phase) -> Option<Target> {
        let knowledge = &self.knowledge;
        let operation = knowledge.operation;
        let first = first_target(operation);
        match phase {
            Phase::Ended(_) => None,
            Phase::Suspended(phase) => self.target_in(&phase.inner),
            // Nothing was sent and what was asked for is there already, as far as the first reading
            // says.
            Phase::Queued | Phase::Recording(_) => match (operation, knowledge.power) {
                (operation, Some(power)) if is_as_asked(operation, power) => None,
                (Operation::SoftReboot, Some(Power::Off)) => Some(Target::PowerOn),
                _ => Some(first),
            },
            // Design, section 3: of a machine that is off already, only a soft
            // reboot has anything left to do.
            Phase::SoftWaiting(SoftWaiting { seen: Some(_), .. })
                if !knowledge.changing_issued() =>
            {
                if operation == Operation::SoftReboot {
                    Some(Target::PowerOn)
                } else {
                    None
                }
            }
            Phase::Watching(Watching {
                seen: Some(_),
                leg: Leg {
                    aim: Aim::Final, ..
                },
                ..
            }) if !knowledge.changing_issued() && operation != Operation::SoftReboot => None,
            Phase::Withdrawing(Withdrawing {
                then: Then::Rollback { .. },
                ..
            })
            | Phase::AwaitingShutdown(_) => knowledge.power_at_start.map(Target::from),
            Phase::Switching(Switching { leg, .. }) | Phase::Watching(Watching { leg, .. }) => {
                match leg.aim {
                    Aim::Return { .. } => Some(Target::from(leg.to)),
                    // An abort names a target: `abort soft rebooting` no longer
                    // means this one (design, section 3).
                    Aim::Final if operation.is_soft() => Some(Target::from(leg.to)),
                    Aim::Final | Aim::OffThenOn | Aim::Escalated => Some(first),
                }
            }
            Phase::MinOffTime(_) => Some(Target::PowerOn),
            Phase::SoftPressing(_)
            | Phase::SoftWaiting(_)
            | Phase::RecordingEvidence(_)
            | Phase::LastLook(_)
            | Phase::Pulsing(_)
            | Phase::Observing(_)
            | Phase::NmiWatching(_)
            | Phase::Explaining(_)
            | Phase::Withdrawing(_) => Some(first),
        }
    }

    /// Whether it has not begun, and the node is as it was asked for already: as it was read last,
    /// or else as it was `found`.
    pub fn has_nothing_to_do(&self, found: Option<Power>) -> bool {
        let power = self.knowledge.power.or(found);
        let is_as_asked = |power| is_as_asked(self.knowledge.operation, power);
        self.phase == Phase::Queued && power.is_some_and(is_as_asked)
    }
}

/// What it is on its way to as long as nothing has come of it.
fn first_target(operation: Operation) -> Target {
    match operation {
        Operation::PowerOn | Operation::Reboot | Operation::Reset | Operation::Cycle => {
            Target::PowerOn
        }
        Operation::PowerOff => Target::PowerOff,
        Operation::SoftPowerOff | Operation::SoftReboot => Target::SoftPowerOff,
        Operation::InjectNmi => Target::InjectNmi,
    }
}

/// Whether a node in that state is as the operation wants it.
fn is_as_asked(operation: Operation, power: Power) -> bool {
    match (operation, power) {
        (Operation::PowerOn, Power::On)
        | (Operation::PowerOff | Operation::SoftPowerOff, Power::Off) => true,
        (
            Operation::PowerOn
            | Operation::PowerOff
            | Operation::SoftPowerOff
            | Operation::Reboot
            | Operation::SoftReboot
            | Operation::Cycle
            | Operation::Reset
            | Operation::InjectNmi,
            Power::On | Power::Off,
        ) => false,
    }
}
