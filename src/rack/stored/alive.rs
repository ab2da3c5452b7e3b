//! Moments of a life, and the last sign of it.

use crate::rack::clock;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stamp {
    life: u64,
    at: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alive {
    wall: WallTime,
    // Not there before format 3: an older sign of life has the calendar's time alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<Uuid>,
}

impl From<clock::Stamp> for Stamp {
    fn from(running: clock::Stamp) -> Self {
        let clock::Stamp { life, at } = running;
        Self { life, at }
    }
}

impl From<Stamp> for clock::Stamp {
    fn from(stored: Stamp) -> Self {
        let Stamp { life, at } = stored;
        Self { life, at }
    }
}

impl From<&clock::Alive> for Alive {
    fn from(running: &clock::Alive) -> Self {
        let clock::Alive { wall, stamp, boot } = *running;
        Self {
            wall,
            stamp: stamp.map(Into::into),
            boot,
        }
    }
}

impl From<Alive> for clock::Alive {
    fn from(stored: Alive) -> Self {
        let Alive { wall, stamp, boot } = stored;
        Self {
            wall,
            stamp: stamp.map(Into::into),
            boot,
        }
    }
}
