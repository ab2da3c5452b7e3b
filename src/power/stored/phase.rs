//! The phases as they are stored.

use super::knowledge::Outcome;
use super::sent::{Refusal, RestartCause};
use super::words::Power;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A moment on the task's own clock.
pub(crate) type Moment = Duration;
/// An order's number.
pub(crate) type Number = u64;

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Next {
    #[serde(rename = "at")]
    At(Moment),
    #[serde(rename = "out")]
    Out(Number),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Phase {
    #[serde(rename = "queued")]
    Queued,
    #[serde(rename = "recording")]
    Recording {
        until: Moment,
        looks: u32,
        next: Next,
    },
    #[serde(rename = "soft_pressing")]
    SoftPressing { soft: Soft, next: Next },
    #[serde(rename = "soft_waiting")]
    SoftWaiting {
        soft: Soft,
        looks: u32,
        seen: Option<Moment>,
        press_again: Option<Moment>,
        next: Next,
    },
    #[serde(rename = "switching")]
    Switching { leg: Leg, next: Next },
    #[serde(rename = "watching")]
    Watching {
        leg: Leg,
        looks: u32,
        seen: Option<Moment>,
        press_again: Moment,
        next: Next,
    },
    #[serde(rename = "resting")]
    MinOffTime { rested: Moment, look: Option<Look> },
    #[serde(rename = "noting")]
    RecordingEvidence {
        until: Moment,
        notes: Notes,
        asked: Question,
        tries: u32,
        next: Next,
    },
    #[serde(rename = "last_look")]
    LastLook {
        until: Moment,
        notes: Notes,
        looks: u32,
        next: Next,
    },
    #[serde(rename = "pulsing")]
    Pulsing {
        until: Moment,
        notes: Notes,
        refusals: u32,
        next: Next,
    },
    #[serde(rename = "judging")]
    Observing {
        until: Moment,
        notes: Notes,
        fate: Fate,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signs: Option<Signs>,
        looks: u32,
        on_since: Option<Moment>,
        asked: Question,
        next: Next,
    },
    #[serde(rename = "nmi_watching")]
    NmiWatching {
        until: Moment,
        notes: Notes,
        fate: Fate,
        signs: Signs,
        looks: u32,
        asked: Question,
        next: Next,
    },
    #[serde(rename = "explaining")]
    Explaining {
        until: Moment,
        refusal: Refusal,
        looks: u32,
        next: Next,
    },
    #[serde(rename = "yielding")]
    AwaitingShutdown {
        by: String,
        until: Moment,
        settled: Moment,
        looks: u32,
        next: Next,
    },
    #[serde(rename = "suspended")]
    Suspended { inner: Box<Self>, look: SlowLook },
    #[serde(rename = "withdrawing")]
    Withdrawing {
        id: Number,
        then: Then,
        until: Moment,
    },
    #[serde(rename = "ended")]
    Ended(Outcome),
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    pub(super) looks: u32,
    pub(super) next: Next,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum SlowLook {
    #[serde(rename = "at")]
    At(Duration),
    #[serde(rename = "out")]
    Out(Number),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Then {
    #[serde(rename = "abort")]
    Abort { by: String, error: bool },
    #[serde(rename = "cancel")]
    Cancel { by: String },
    #[serde(rename = "rollback")]
    Rollback { by: String },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leg {
    pub(super) to: Power,
    pub(super) aim: Aim,
    pub(super) until: Moment,
    pub(super) steady: Duration,
    pub(super) setbacks: u32,
    pub(super) failures: u32,
    pub(super) refused: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Aim {
    #[serde(rename = "final")]
    Final,
    #[serde(rename = "off_then_on")]
    OffThenOn,
    #[serde(rename = "escalated")]
    Escalated,
    #[serde(rename = "return")]
    Return { by: String },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Soft {
    pub(super) until: Moment,
    pub(super) hard_at: Option<Moment>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) due: bool,
    pub(super) accepted: u32,
    pub(super) setbacks: u32,
    pub(super) failures: u32,
    pub(super) refused: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notes {
    pub(super) cause: Option<RestartCause>,
    pub(super) log: Option<LogMark>,
    pub(super) unsure: bool,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogMark {
    pub(super) entries: u16,
    pub(super) last_added: u32,
    pub(super) last: Option<u16>,
    pub(super) complete: bool,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Question {
    #[serde(rename = "power")]
    Power,
    #[serde(rename = "cause")]
    Cause,
    #[serde(rename = "log_info")]
    LogInfo,
    #[serde(rename = "log_entry")]
    LogEntry { id: u16, walked: u16 },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Fate {
    #[serde(rename = "accepted")]
    Accepted,
    #[serde(rename = "unknown")]
    Unknown { why: String },
    #[serde(rename = "shown")]
    Shown { how: String },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signs {
    pub(super) effects: Vec<String>,
    pub(super) crash: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) restart: Option<Restart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delivered: Option<String>,
    pub(super) entries: Vec<String>,
}

/// What shows that the machine was off, or started.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Restart {
    #[serde(rename = "cause")]
    Cause,
    #[serde(rename = "entry")]
    Entry,
    #[serde(rename = "off")]
    Off,
}
