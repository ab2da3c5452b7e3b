//! The hosts of a rack: which of them owns it, and whether another one could.

use super::stamp;
use super::words::{Word, words};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How it stands with the hosts of the rack, as one of them sees it: `GET /v1/ha`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ha {
    /// The rack's name.
    pub rack: String,
    /// The host that says all this.
    pub host: String,
    /// What it is to the rack.
    pub role: Word<HaRole>,
    /// The host that owns the rack, where that is known.
    pub owner: Option<HaOwner>,
    /// For how many seconds this host may still change machines, unless its next write to etcd is
    /// taken.
    pub permit_left: Option<f64>,
    /// Why this host does not take the rack, where it would have to.
    pub unfit: Option<String>,
    /// What the kernel counts time with: some clocks do not notice that a hypervisor stopped the
    /// machine.
    pub clock_source: Option<String>,
    /// How etcd is; nothing where the rack has one host.
    pub etcd: Option<HaEtcd>,
    /// The hosts of the rack that have said something of themselves, this one included.
    pub hosts: Vec<HaHost>,
}

impl Ha {
    /// Whether the host that says all this may change machines now.
    pub fn may_change_machines(&self) -> bool {
        let permitted = self.permit_left.is_some_and(|left| left > 0.0);
        self.role == HaRole::Alone || (self.role == HaRole::Owner && permitted)
    }

    /// Whether a host could take the rack over now, beside its owner.
    pub fn has_fit_standby(&self) -> bool {
        let owner = self.owner.as_ref().map(|owner| owner.host.as_str());
        let others = self.hosts.iter();
        let mut others = others.filter(|host| Some(host.host.as_str()) != owner);
        others.any(|host| host.alive && host.unfit.is_none())
    }
}

words! {
    /// What a host is to the rack.
    pub enum HaRole ("role of a host") {
        /// The only one it has: no second host is configured.
        Alone = "alone",
        /// It changes the machines.
        Owner = "owner",
        Standby = "standby",
        /// It is taking the rack over.
        Claiming = "claiming",
        /// It is giving the rack up.
        Releasing = "releasing",
        /// It owned the rack, and nobody can say whether it still does.
        Dark = "dark",
    }
}

/// The host that owns a rack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HaOwner {
    pub host: String,
    /// Where its API is.
    pub url: Option<String>,
    /// Since when, by its calendar.
    #[serde(with = "stamp")]
    pub since: WallTime,
    /// The program's version there.
    pub version: String,
    /// The number of its tenure: larger than those of all before it.
    pub fence: Option<u64>,
    /// It gives the rack up, or has given it up, and nobody took it yet.
    pub released: bool,
}

/// What a host of the rack said of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HaHost {
    pub host: String,
    /// Where its API is.
    pub url: Option<String>,
    /// The program's version there.
    pub version: String,
    /// Since when its daemon runs, by its calendar.
    #[serde(with = "stamp")]
    pub started_at: WallTime,
    /// When it said so last, by its calendar.
    #[serde(with = "stamp")]
    pub said_at: WallTime,
    /// How many seconds ago that was.
    pub seen: f64,
    /// Whether that is not long ago.
    pub alive: bool,
    /// Why it does not take the rack, where it would have to.
    pub unfit: Option<String>,
    /// Whether its configuration has other nodes than that of the host that says all this.
    pub differs: bool,
    /// By how many seconds its calendar is ahead of that of the host that says all this, where that
    /// is known.
    pub clock_ahead: Option<f64>,
}

/// How etcd is, as a host sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HaEtcd {
    /// Its members, as they are configured.
    pub endpoints: Vec<String>,
    /// How many seconds ago it answered last.
    pub heard: Option<f64>,
    /// How many seconds an answer took on the average, since the start.
    pub latency: Option<f64>,
    /// How much of its space the fullest of its members has used, where they say so: 1 is all.
    pub space: Option<f64>,
}

/// What an answer begins with that is not of now: of a host that does not own the rack, or cannot
/// say whether it does. It stands before the members of what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stale {
    /// Whether what follows is not of now.
    pub stale: bool,
    /// So many seconds ago it was so; rounded up.
    pub stale_age: u64,
    /// The host that owns the rack, where that is known.
    pub rack_owner: Option<String>,
    /// Where its API is.
    pub rack_owner_url: Option<String>,
}

impl Stale {
    /// What is so old, at a host that knows this of the owner.
    pub fn of(age: Duration, owner: Option<String>, url: Option<String>) -> Self {
        Self {
            stale: true,
            // What is not of now is never 0 s old.
            stale_age: age.as_secs() + 1,
            rack_owner: owner,
            rack_owner_url: url,
        }
    }

    /// What an answer says of itself, where it is not of now.
    pub fn in_body(body: &str) -> Option<Self> {
        // Bodies may be megabytes, and are read once.
        let begins = body.trim_start().starts_with("{\"stale\":true,");
        let stale: Self = begins.then(|| serde_json::from_str(body).ok()).flatten()?;
        stale.stale.then_some(stale)
    }
}

/// Body of `POST /v1/ha/handover`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandoverRequest {
    /// The host that shall own the rack; whichever can where none is named.
    #[serde(default)]
    pub to: Option<String>,
}
