//! Phases between their running and their stored form.

use super::phase::Phase;
use crate::bmc::vocabulary::OrderId;
use crate::power::sequence::phase as running;

/// A field as it is stored. How a field is carried over is said once, in the table below, for both
/// directions.
macro_rules! stored {
    (same $field:ident) => {
        *$field
    };
    (cloned $field:ident) => {
        $field.clone()
    };
    (value $field:ident) => {
        (*$field).into()
    };
    (part $field:ident) => {
        $field.into()
    };
    (perhaps $field:ident) => {
        $field.as_ref().map(|inner| (*inner).into())
    };
    (perhaps_part $field:ident) => {
        $field.as_ref().map(Into::into)
    };
    (unless_default $field:ident) => {
        (*$field != Default::default()).then(|| $field.into())
    };
    (inner $field:ident) => {
        Box::new((&**$field).into())
    };
    (order $field:ident) => {
        $field.0
    };
}

/// The same field as it runs.
macro_rules! restored {
    (same $field:ident) => {
        $field
    };
    (cloned $field:ident) => {
        $field
    };
    (value $field:ident) => {
        $field.into()
    };
    (part $field:ident) => {
        $field.into()
    };
    (perhaps $field:ident) => {
        $field.map(Into::into)
    };
    (perhaps_part $field:ident) => {
        $field.map(Into::into)
    };
    (unless_default $field:ident) => {
        $field.map(Into::into).unwrap_or_default()
    };
    (inner $field:ident) => {
        Box::new((*$field).into())
    };
    (order $field:ident) => {
        OrderId($field)
    };
}

/// Both directions for phases that have the same fields, as matches over every phase and every
/// field of both.
macro_rules! phases {
    ($($phase:ident { $($field:ident: $way:ident),* $(,)? })*) => {
        impl From<&running::Phase> for Phase {
            fn from(running: &running::Phase) -> Self {
                match running {
                    $(running::Phase::$phase(running::$phase { $($field),* }) => Phase::$phase {
                        $($field: stored!($way $field)),*
                    },)*
                    running::Phase::Queued => Phase::Queued,
                    running::Phase::Ended(outcome) => Phase::Ended(outcome.into()),
                }
            }
        }

        impl From<Phase> for running::Phase {
            fn from(stored: Phase) -> Self {
                match stored {
                    $(Phase::$phase { $($field),* } => running::Phase::$phase(running::$phase {
                        $($field: restored!($way $field)),*
                    }),)*
                    Phase::Queued => running::Phase::Queued,
                    Phase::Ended(outcome) => running::Phase::Ended(outcome.into()),
                }
            }
        }
    };
}

phases! {
    Recording { until: value, looks: same, next: value }
    SoftPressing { soft: part, next: value }
    SoftWaiting { soft: part, looks: same, seen: perhaps, press_again: perhaps, next: value }
    Switching { leg: part, next: value }
    Watching { leg: part, looks: same, seen: perhaps, press_again: value, next: value }
    MinOffTime { rested: value, look: perhaps_part }
    RecordingEvidence { until: value, notes: part, asked: value, tries: same, next: value }
    LastLook { until: value, notes: part, looks: same, next: value }
    Pulsing { until: value, notes: part, refusals: same, next: value }
    Observing {
        until: value,
        notes: part,
        fate: part,
        signs: unless_default,
        looks: same,
        on_since: perhaps,
        asked: value,
        next: value,
    }
    NmiWatching {
        until: value,
        notes: part,
        fate: part,
        signs: part,
        looks: same,
        asked: value,
        next: value,
    }
    Explaining { until: value, refusal: part, looks: same, next: value }
    AwaitingShutdown { by: cloned, until: value, settled: value, looks: same, next: value }
    Suspended { inner: inner, look: value }
    Withdrawing { id: order, then: part, until: value }
}
