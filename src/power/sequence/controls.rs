//! The five controls in every phase: what is allowed, what each does, and why one is refused.

use super::knowledge::Knowledge;
use super::phase::{
    LastLook, Leg, Look, MinOffTime, Next, Observing, Phase, Question, RecordingEvidence, SlowLook,
    Soft, SoftWaiting, Suspended, Then, Watching, Withdrawing,
};
use super::{Input, Sequence, level, nmi, soft};
use crate::bmc::vocabulary::{OrderId, Report, Silence};
use crate::model::{Control, Delivery, Operation, TaskState, Trouble};
use crate::power::outcome::seconds;
use crate::power::settings::{LAST_READING, WITHDRAWAL};
use std::fmt;
use std::time::Duration;

/// A control that is not carried out: why, and what is still possible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What was asked for.
    pub control: Control,
    /// Why not, for programs.
    pub kind: RefusalKind,
    /// Why not, in words.
    pub reason: String,
    /// What is possible instead.
    pub possible: Vec<Control>,
}

/// Why a control is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RefusalKind {
    /// The task is over.
    Ended,
    /// The task is being aborted, cancelled or rolled back already.
    UnderWay,
    /// Cancel: an order was handed to the network.
    TooLate,
    /// Rollback: what was sent cannot be undone.
    CannotBeUndone,
    /// Suspend: it stands still already.
    AlreadySuspended,
    /// Resume: it does not stand still.
    NotSuspended,
}

/// `cancel refused: soft power off was sent at 0.2 s and accepted; still possible: abort, rollback,
/// suspend`
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused: {}", self.control, self.reason)?;
        if self.possible.is_empty() {
            return Ok(());
        }
        let possible: Vec<&str> = self.possible.iter().map(|control| control.name()).collect();
        write!(f, "; still possible: {}", possible.join(", "))
    }
}

impl std::error::Error for Refusal {}

/// See [`Sequence::may`].
pub(super) fn may(control: Control, sequence: &Sequence) -> Result<(), Refusal> {
    decide(control, sequence).map_err(|(kind, reason)| Refusal {
        control,
        kind,
        reason,
        possible: Control::ALL
            .into_iter()
            .filter(|other| decide(*other, sequence).is_ok())
            .collect(),
    })
}

fn decide(control: Control, sequence: &Sequence) -> Result<(), (RefusalKind, String)> {
    let state = sequence.state();
    let knowledge = &sequence.knowledge;
    if state.is_end() {
        return Err((RefusalKind::Ended, format!("the task has {}", ended(state))));
    }
    match (control, state) {
        (_, TaskState::Aborting) => Err((
            RefusalKind::UnderWay,
            "the task is being stopped already".to_owned(),
        )),
        (Control::Abort, _) => Ok(()),
        (Control::Cancel | Control::Rollback | Control::Suspend, TaskState::RollingBack) => Err((
            RefusalKind::UnderWay,
            "the task is being rolled back".to_owned(),
        )),
        // Design, section 4: a cancelled task is as if never asked for,
        // which no order may contradict.
        (Control::Cancel, _) => match knowledge.first_handed() {
            Some(sent) => Err((RefusalKind::TooLate, sent.to_string())),
            None => Ok(()),
        },
        (Control::Rollback, _) => {
            // A cycle, a reset or an NMI that may have acted has no state to return to (rule 2).
            if knowledge.pulse_handed() {
                let name = knowledge.operation.name();
                return Err((
                    RefusalKind::CannotBeUndone,
                    format!("{name} was sent and cannot be undone"),
                ));
            }
            if knowledge.return_is_forbidden() {
                return Err((
                    RefusalKind::CannotBeUndone,
                    "the node was off at the start, and is never switched off (power_off = false)"
                        .to_owned(),
                ));
            }
            Ok(())
        }
        (Control::Suspend, TaskState::Suspended) => Err((
            RefusalKind::AlreadySuspended,
            "the task is suspended already".to_owned(),
        )),
        (Control::Suspend, _) | (Control::Resume, TaskState::Suspended) => Ok(()),
        (Control::Resume, _) => Err((
            RefusalKind::NotSuspended,
            "the task is not suspended".to_owned(),
        )),
    }
}

fn ended(state: TaskState) -> &'static str {
    match state {
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::Aborted => "been aborted",
        TaskState::Cancelled => "been cancelled",
        TaskState::RolledBack => "been rolled back",
        TaskState::Stuck => "ended stuck in its rollback",
        TaskState::Queued
        | TaskState::Running
        | TaskState::Suspended
        | TaskState::Aborting
        | TaskState::RollingBack => "not ended",
    }
}

/// Carries out a control that [`may`] allowed. `error`: whether an abort leaves `power_state` at
/// `error`.
pub(super) fn carry_out(
    control: Control,
    phase: Phase,
    by: &str,
    error: bool,
    knowledge: &mut Knowledge,
) -> Phase {
    let by = by.to_owned();
    // A person decides from here on, and no longer the hold that made the task stand still.
    knowledge.clock.kept = false;
    match (control, phase) {
        (Control::Suspend, phase) => Suspended {
            inner: Box::new(stand_still(phase, knowledge)),
            look: SlowLook::At(knowledge.clock.elapsed()),
        }
        .into(),
        (Control::Resume, Phase::Suspended(phase)) => refreshed(*phase.inner, knowledge),
        (Control::Resume, phase) => phase,
        (Control::Abort, phase) => stop(phase, Then::Abort { by, error }, knowledge),
        (Control::Cancel, phase) => stop(phase, Then::Cancel { by }, knowledge),
        (Control::Rollback, phase) => stop(phase, Then::Rollback { by }, knowledge),
    }
}

/// Stops the way forward: at once, or once the outstanding order that changes power is withdrawn.
fn stop(phase: Phase, then: Then, knowledge: &mut Knowledge) -> Phase {
    match phase.outstanding() {
        // Whether it left is not known yet: the end waits for that, so
        // that the outcome is true (rule 8).
        Some(id) if knowledge.changes_power(id) => Withdrawing {
            id,
            then,
            until: knowledge.clock.age() + WITHDRAWAL,
        }
        .into(),
        Some(_) | None => stopped(then, knowledge),
    }
}

/// No order is outstanding any more, and it is known of each whether it was handed to the network.
fn stopped(then: Then, knowledge: &Knowledge) -> Phase {
    match then {
        Then::Abort { by, error } => {
            knowledge.end(TaskState::Aborted, error, &format!("aborted by {by}"))
        }
        // The order crossed the cancel on its way: "cancelled" would claim that nothing was sent.
        Then::Cancel { by } if knowledge.changing_handed() => knowledge.end(
            TaskState::Aborted,
            knowledge.operation.is_soft() || knowledge.operation == Operation::InjectNmi,
            &format!("cancelled by {by} while the order was leaving, so that it counts as aborted"),
        ),
        Then::Cancel { by } => {
            knowledge.end(TaskState::Cancelled, false, &format!("cancelled by {by}"))
        }
        Then::Rollback { by } if knowledge.pulse_handed() => knowledge.end(
            TaskState::Aborted,
            knowledge.operation == Operation::InjectNmi,
            &format!(
                "rollback asked for by {by} while the order was leaving: it cannot be undone, so that it counts as aborted"
            ),
        ),
        Then::Rollback { by }
            if crate::power::pulse(knowledge.operation).is_some() || !knowledge.changing_handed() =>
        {
            knowledge.end(
                TaskState::RolledBack,
                false,
                &format!("rolled back by {by}, with nothing to undo"),
            )
        }
        Then::Rollback { by } if knowledge.return_is_forbidden() => knowledge.end(
            TaskState::Aborted,
            false,
            &format!(
                "rollback asked for by {by} while the order was leaving: the node is never switched off (power_off = false), so that it counts as aborted"
            ),
        ),
        Then::Rollback { by } => level::go_back(by, knowledge),
    }
}

/// The end of a task that only watches, because of another request.
pub(super) fn superseded(phase: Phase, why: &str, knowledge: &mut Knowledge) -> Phase {
    let age = knowledge.clock.age();
    match phase {
        Phase::Queued | Phase::Recording(_) => knowledge.end(
            TaskState::Cancelled,
            false,
            &format!("withdrawn before anything was done, because {why}"),
        ),
        phase => {
            knowledge.remark(format!("not watched any longer, because {why}"));
            match phase {
                // Where its BMC has not answered for a while, nobody knows that the state is there
                // yet: that is no success.
                Phase::Watching(_) | Phase::SoftWaiting(_) if !knowledge.is_fresh() => {
                    let state = match knowledge.changing_handed() {
                        true => TaskState::Aborted,
                        false => TaskState::Cancelled,
                    };
                    knowledge.end(state, false, &knowledge.not_confirmed())
                }
                Phase::Watching(watch) => {
                    level::reached(watch.leg, watch.seen.unwrap_or(age), knowledge)
                }
                Phase::SoftWaiting(wait) => soft::went_down(wait.seen.unwrap_or(age), knowledge),
                phase => nmi::over(phase, knowledge),
            }
        }
    }
}

impl Suspended {
    pub(super) fn on(mut self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(report) => {
                // Only the reading counts: nothing is decided while standing still.
                let _ = knowledge.take_reading(report);
                let pause = knowledge.settings.suspended_look;
                self.look = SlowLook::At(knowledge.clock.elapsed() + pause);
                self.into()
            }
            Input::Observed(_) => self.into(),
            Input::Deadline => no_turn(knowledge),
        }
    }
}

impl Withdrawing {
    pub(super) fn on(self, input: Input<'_>, knowledge: &mut Knowledge) -> Phase {
        match input {
            Input::Report(_) => stopped(self.then, knowledge),
            Input::Observed(_) => self.into(),
            // Nobody said in time whether it left: the outcome must not claim that it did not
            // (rule 8).
            Input::Deadline => {
                knowledge.record_handed(self.id);
                stopped(self.then, knowledge)
            }
        }
    }
}

/// The time that the request named is over, and its turn has not come.
pub(super) fn no_turn(knowledge: &Knowledge) -> Phase {
    let named = knowledge.settings.nameable(knowledge.operation);
    knowledge.fail(&format!(
        "its turn did not come within the {} that the request named",
        seconds(named)
    ))
}

/// The phase without its outstanding order: a reading is due again, a changing order counts as
/// unanswered.
fn stand_still(mut phase: Phase, knowledge: &mut Knowledge) -> Phase {
    let Some(id) = phase.outstanding() else {
        return phase;
    };
    // Nothing is lost with a reading, which is simply asked for again after the resume.
    if !knowledge.changes_power(id) {
        let age = knowledge.clock.age();
        if let Some(next) = phase.next_mut() {
            *next = Next::At(age);
        }
        return phase;
    }
    let delivery = if knowledge.was_handed(id) {
        Delivery::Unknown
    } else {
        Delivery::NotSent
    };
    let report = Report::Unanswered(Silence {
        delivery,
        trouble: Trouble::Withdrawn,
        text: "withdrawn when the task was suspended".to_owned(),
    });
    super::on(phase, Input::Report(&report), knowledge)
}

/// The phase as it goes on after time in which anything may have happened: it looks before it does
/// anything else.
pub(super) fn refreshed(phase: Phase, knowledge: &Knowledge) -> Phase {
    let age = knowledge.clock.age();
    match phase {
        // Rule 2: a soft request wants a look that still shows "on", and 10 s since the one before.
        Phase::SoftPressing(phase) => {
            soft::look_at(age, phase.soft, Some(age + knowledge.soft_gap_left()))
        }
        Phase::Switching(phase) => {
            let leg = Leg {
                setbacks: 0,
                ..phase.leg
            };
            level::look_at(age, leg, age)
        }
        Phase::MinOffTime(phase) => MinOffTime {
            look: Some(Look {
                looks: 0,
                next: Next::At(age),
            }),
            ..phase
        }
        .into(),
        // Somebody may have switched the machine off meanwhile, and a
        // pulse is meant for one that is on.
        Phase::Pulsing(phase) => LastLook::begin(phase.until, phase.notes, age),
        phase => looks_again(phase, Next::At(age), knowledge),
    }
}

/// A phase that stays, and begins with a look.
fn looks_again(mut phase: Phase, now: Next, knowledge: &Knowledge) -> Phase {
    let age = knowledge.clock.age();
    match &mut phase {
        Phase::SoftWaiting(SoftWaiting { seen, .. }) | Phase::Watching(Watching { seen, .. }) => {
            // What was seen before does not count towards a confirmation, but before anything was
            // sent it still tells the target that there is nothing to do.
            *seen = seen.map(|_| age).filter(|_| !knowledge.changing_issued());
        }
        Phase::RecordingEvidence(RecordingEvidence { notes, tries, .. }) => {
            // An unsure note leads to one more reading of the power before the pulse leaves.
            notes.unsure = true;
            *tries = 0;
        }
        Phase::Observing(Observing {
            on_since, asked, ..
        }) => {
            // An "on" from before the interruption must not count towards
            // the hold that success rests on.
            *on_since = None;
            *asked = Question::Power;
        }
        // A round of questions begins anew: whether the machine is on tells most.
        Phase::NmiWatching(phase) => phase.asked = Question::Power,
        Phase::Queued
        | Phase::Recording(_)
        | Phase::SoftPressing(_)
        | Phase::Switching(_)
        | Phase::MinOffTime(_)
        | Phase::LastLook(_)
        | Phase::Pulsing(_)
        | Phase::Explaining(_)
        | Phase::AwaitingShutdown(_)
        | Phase::Suspended(_)
        | Phase::Withdrawing(_)
        | Phase::Ended(_) => {}
    }
    if let Some(next) = phase.next_mut() {
        *next = now;
    }
    phase
}

/// The phase as it goes on after a restart of the daemon: what was outstanding is unanswered, and
/// it looks first. `unsent` is one of which it is known that it never left.
pub(super) fn restored(phase: Phase, unsent: Option<OrderId>, knowledge: &mut Knowledge) -> Phase {
    let outstanding = phase
        .outstanding()
        .filter(|id| knowledge.changes_power(*id));
    let lost = Report::Unanswered(Silence {
        delivery: Delivery::Unknown,
        trouble: Trouble::Silent,
        text: "the daemon restarted before the answer".to_owned(),
    });
    let kept = Report::Unanswered(Silence {
        delivery: Delivery::NotSent,
        trouble: Trouble::Withdrawn,
        text: "the daemon restarted before it was sent".to_owned(),
    });
    let report = |id| if Some(id) == unsent { &kept } else { &lost };
    // Their answers went to the former life: what may have left is settled by looking (rule 3).
    for id in knowledge.unanswered() {
        knowledge.record_answer(id, report(id));
    }
    match (phase, outstanding) {
        (Phase::Suspended(phase), _) => Suspended {
            look: SlowLook::At(knowledge.clock.elapsed()),
            ..phase
        }
        .into(),
        // No datagram of a former life's order can leave in this one: the withdrawal is complete.
        (Phase::Withdrawing(phase), _) => stopped(phase.then, knowledge),
        (phase, Some(id)) => {
            let phase = super::on(phase, Input::Report(report(id)), knowledge);
            let phase = refreshed(phase, knowledge);
            // An order that never left asked no operating system, so that nothing needs a minute.
            if Some(id) == unsent {
                phase
            } else {
                patient(phase, knowledge)
            }
        }
        (phase, None) => refreshed(with_last_reading(phase, knowledge), knowledge),
    }
}

/// A state that was read for the first time in the last moment of its time has its second reading
/// still to come.
fn with_last_reading(mut phase: Phase, knowledge: &Knowledge) -> Phase {
    if let Phase::SoftWaiting(SoftWaiting {
        soft: Soft { until, .. },
        seen: Some(_),
        ..
    })
    | Phase::Watching(Watching {
        leg: Leg { until, .. },
        seen: Some(_),
        ..
    }) = &mut phase
    {
        *until = (*until).max(knowledge.clock.age() + LAST_READING);
    }
    phase
}

/// A soft request whose answer was lost with the daemon most likely arrived: the operating system
/// is given a minute before a look that still shows "on" leads to another one.
fn patient(mut phase: Phase, knowledge: &Knowledge) -> Phase {
    if let Phase::SoftWaiting(SoftWaiting {
        press_again: Some(from),
        ..
    }) = &mut phase
    {
        *from = (*from).max(knowledge.clock.age() + RESTART_GAP);
    }
    phase
}

impl Knowledge {
    fn unanswered(&self) -> Vec<OrderId> {
        self.sent
            .iter()
            .filter(|sent| sent.answer.is_none())
            .map(|sent| sent.id)
            .collect()
    }
}

/// See [`patient`].
const RESTART_GAP: Duration = Duration::from_secs(60);
