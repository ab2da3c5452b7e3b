//! Phases between their running and their stored form.

use super::phase::Phase;
use crate::bmc::vocabulary::OrderId;
use crate::power::sequence::phase as running;

impl From<&running::Phase> for Phase {
    fn from(running: &running::Phase) -> Self {
        match running {
            running::Phase::Queued => Phase::Queued,
            running::Phase::Recording { until, looks, next } => Phase::Recording {
                until: (*until).into(),
                looks: *looks,
                next: (*next).into(),
            },
            running::Phase::SoftPressing { soft, next } => Phase::SoftPressing {
                soft: soft.into(),
                next: (*next).into(),
            },
            running::Phase::SoftWaiting {
                soft,
                looks,
                seen,
                press_again,
                next,
            } => Phase::SoftWaiting {
                soft: soft.into(),
                looks: *looks,
                seen: seen.map(Into::into),
                press_again: press_again.map(Into::into),
                next: (*next).into(),
            },
            running::Phase::Switching { leg, next } => Phase::Switching {
                leg: leg.into(),
                next: (*next).into(),
            },
            running::Phase::Watching {
                leg,
                looks,
                seen,
                press_again,
                next,
            } => Phase::Watching {
                leg: leg.into(),
                looks: *looks,
                seen: seen.map(Into::into),
                press_again: (*press_again).into(),
                next: (*next).into(),
            },
            running::Phase::Resting { rested, look } => Phase::Resting {
                rested: (*rested).into(),
                look: look.as_ref().map(Into::into),
            },
            running::Phase::Noting {
                until,
                notes,
                asked,
                tries,
                next,
            } => Phase::Noting {
                until: (*until).into(),
                notes: notes.into(),
                asked: (*asked).into(),
                tries: *tries,
                next: (*next).into(),
            },
            running::Phase::LastLook {
                until,
                notes,
                looks,
                next,
            } => Phase::LastLook {
                until: (*until).into(),
                notes: notes.into(),
                looks: *looks,
                next: (*next).into(),
            },
            running::Phase::Pulsing {
                until,
                notes,
                refusals,
                next,
            } => Phase::Pulsing {
                until: (*until).into(),
                notes: notes.into(),
                refusals: *refusals,
                next: (*next).into(),
            },
            running::Phase::Judging {
                until,
                notes,
                fate,
                signs,
                looks,
                on_since,
                asked,
                next,
            } => Phase::Judging {
                until: (*until).into(),
                notes: notes.into(),
                fate: fate.into(),
                signs: (*signs != running::Signs::default()).then(|| signs.into()),
                looks: *looks,
                on_since: on_since.map(Into::into),
                asked: (*asked).into(),
                next: (*next).into(),
            },
            running::Phase::NmiWatching {
                until,
                notes,
                fate,
                signs,
                looks,
                asked,
                next,
            } => Phase::NmiWatching {
                until: (*until).into(),
                notes: notes.into(),
                fate: fate.into(),
                signs: signs.into(),
                looks: *looks,
                asked: (*asked).into(),
                next: (*next).into(),
            },
            running::Phase::Explaining {
                until,
                refusal,
                looks,
                next,
            } => Phase::Explaining {
                until: (*until).into(),
                refusal: refusal.into(),
                looks: *looks,
                next: (*next).into(),
            },
            running::Phase::Yielding {
                by,
                until,
                settled,
                looks,
                next,
            } => Phase::Yielding {
                by: by.clone(),
                until: (*until).into(),
                settled: (*settled).into(),
                looks: *looks,
                next: (*next).into(),
            },
            running::Phase::Suspended { inner, look } => Phase::Suspended {
                inner: Box::new((&**inner).into()),
                look: (*look).into(),
            },
            running::Phase::Withdrawing { id, then, until } => Phase::Withdrawing {
                id: id.0,
                then: then.into(),
                until: (*until).into(),
            },
            running::Phase::Ended(outcome) => Phase::Ended(outcome.into()),
        }
    }
}

impl From<Phase> for running::Phase {
    fn from(stored: Phase) -> Self {
        match stored {
            Phase::Queued => running::Phase::Queued,
            Phase::Recording { until, looks, next } => running::Phase::Recording {
                until: until.into(),
                looks,
                next: next.into(),
            },
            Phase::SoftPressing { soft, next } => running::Phase::SoftPressing {
                soft: soft.into(),
                next: next.into(),
            },
            Phase::SoftWaiting {
                soft,
                looks,
                seen,
                press_again,
                next,
            } => running::Phase::SoftWaiting {
                soft: soft.into(),
                looks,
                seen: seen.map(Into::into),
                press_again: press_again.map(Into::into),
                next: next.into(),
            },
            Phase::Switching { leg, next } => running::Phase::Switching {
                leg: leg.into(),
                next: next.into(),
            },
            Phase::Watching {
                leg,
                looks,
                seen,
                press_again,
                next,
            } => running::Phase::Watching {
                leg: leg.into(),
                looks,
                seen: seen.map(Into::into),
                press_again: press_again.into(),
                next: next.into(),
            },
            Phase::Resting { rested, look } => running::Phase::Resting {
                rested: rested.into(),
                look: look.map(Into::into),
            },
            Phase::Noting {
                until,
                notes,
                asked,
                tries,
                next,
            } => running::Phase::Noting {
                until: until.into(),
                notes: notes.into(),
                asked: asked.into(),
                tries,
                next: next.into(),
            },
            Phase::LastLook {
                until,
                notes,
                looks,
                next,
            } => running::Phase::LastLook {
                until: until.into(),
                notes: notes.into(),
                looks,
                next: next.into(),
            },
            Phase::Pulsing {
                until,
                notes,
                refusals,
                next,
            } => running::Phase::Pulsing {
                until: until.into(),
                notes: notes.into(),
                refusals,
                next: next.into(),
            },
            Phase::Judging {
                until,
                notes,
                fate,
                signs,
                looks,
                on_since,
                asked,
                next,
            } => running::Phase::Judging {
                until: until.into(),
                notes: notes.into(),
                fate: fate.into(),
                signs: signs.map(Into::into).unwrap_or_default(),
                looks,
                on_since: on_since.map(Into::into),
                asked: asked.into(),
                next: next.into(),
            },
            Phase::NmiWatching {
                until,
                notes,
                fate,
                signs,
                looks,
                asked,
                next,
            } => running::Phase::NmiWatching {
                until: until.into(),
                notes: notes.into(),
                fate: fate.into(),
                signs: signs.into(),
                looks,
                asked: asked.into(),
                next: next.into(),
            },
            Phase::Explaining {
                until,
                refusal,
                looks,
                next,
            } => running::Phase::Explaining {
                until: until.into(),
                refusal: refusal.into(),
                looks,
                next: next.into(),
            },
            Phase::Yielding {
                by,
                until,
                settled,
                looks,
                next,
            } => running::Phase::Yielding {
                by,
                until: until.into(),
                settled: settled.into(),
                looks,
                next: next.into(),
            },
            Phase::Suspended { inner, look } => running::Phase::Suspended {
                inner: Box::new((*inner).into()),
                look: look.into(),
            },
            Phase::Withdrawing { id, then, until } => running::Phase::Withdrawing {
                id: OrderId(id),
                then: then.into(),
                until: until.into(),
            },
            Phase::Ended(outcome) => running::Phase::Ended(outcome.into()),
        }
    }
}
