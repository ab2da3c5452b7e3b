//! What hosts of a rack write down in etcd: names of keys, and their values.
//!
//! All of a rack is below `<prefix>/1/racks/<rack>/`; 1 is the layout. The values are JSON. Those
//! of the journal, below `j/`, are the bytes that a host without a second one has on its disk.

use crate::etcd::Revision;
use crate::rack::record::{Table, is_shared};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// The keys of one rack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    base: String,
}

impl Keys {
    /// Those of the rack of this name.
    pub fn new(prefix: &str, rack: &str) -> Self {
        let rack = one_step(rack);
        Self {
            base: format!("{}/1/racks/{rack}/", prefix.trim_end_matches('/')),
        }
    }

    /// Who owns the rack.
    pub fn own(&self) -> String {
        self.below("own")
    }

    /// The owner's last sign of life.
    pub fn beat(&self) -> String {
        self.below("beat")
    }

    /// The last commit.
    pub fn head(&self) -> String {
        self.below("head")
    }

    /// Who is wished for as the owner.
    pub fn wish(&self) -> String {
        self.below("wish")
    }

    /// What all keys of what hosts say of themselves begin with.
    pub fn hosts(&self) -> String {
        self.below("hosts/")
    }

    /// What this host says of itself.
    pub fn host(&self, name: &str) -> String {
        format!("{}{}", self.hosts(), one_step(name))
    }

    /// The rack's own id, made once.
    pub fn name(&self) -> String {
        self.below("name")
    }

    /// Which entries of the journal are of which format.
    pub fn formats(&self) -> String {
        self.below("format")
    }

    /// What all keys of the rack begin with.
    pub fn all(&self) -> &str {
        &self.base
    }

    /// What all keys of the journal begin with.
    pub fn journal(&self) -> String {
        self.below("j/")
    }

    /// The key of an entry of the journal; none for what stays on each host's own disk.
    pub fn entry(&self, table: Table, key: &str) -> Option<String> {
        is_shared(table, key).then(|| format!("{}j/{}/{key}", self.base, table.name()))
    }

    /// The entry of the journal that has this key.
    pub fn table_and_key(&self, key: &str) -> Option<(Table, String)> {
        let rest = key.strip_prefix(&self.base)?.strip_prefix("j/")?;
        let (table, key) = rest.split_once('/')?;
        Some((Table::from_name(table)?, key.to_owned()))
    }

    fn below(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }
}

/// Where a rack's summary is, for those who look at many.
pub fn summary(prefix: &str, rack: &str) -> String {
    let (prefix, rack) = (prefix.trim_end_matches('/'), one_step(rack));
    format!("{prefix}/1/fleet/summary/{rack}")
}

/// One host's time as owner. Its fence is the revision in which this was written: larger with every
/// tenure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Own {
    /// Random, so that no two are the same.
    pub tenure: Uuid,
    /// The host's name.
    pub host: String,
    /// The host's installation.
    pub host_id: Uuid,
    /// The boot of its machine, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Uuid>,
    /// Where its API is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it began, by its calendar: for people.
    pub since: WallTime,
    /// The program's version.
    pub version: String,
    /// The format of what this tenure writes into the journal.
    #[serde(default)]
    pub format: u64,
    /// So long it may be silent before another host claims: the hosts may be configured otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<Duration>,
    /// It is over, and nothing of it is outstanding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
}

/// How a tenure was given up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Released {
    /// The host that shall have the rack next, where somebody wished for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A sign of life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Beat {
    /// How many there were in this tenure.
    pub count: u64,
    /// The owner's calendar: for people, and to see how far calendars are apart.
    pub wall: WallTime,
    /// The owner's own clock, which goes on over lives as long as its machine does.
    #[serde(default)]
    pub at: Duration,
    /// How far the trail on the owner's disk had come: the next owner writes it into its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail: Option<TrailEnd>,
}

/// The newest record of the trail that a host keeps of who changed what. Where that is cut off, or
/// lost with its disk, the trail of the host that had the rack next shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrailEnd {
    pub host: String,
    /// The record's number.
    pub number: u64,
    pub hash: String,
}

/// The last commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The tenure in which it was made.
    pub fence: Revision,
    /// How many commits there were, over all tenures.
    pub ticket: u64,
    /// It changes nothing: it was made so that the one that had its number before can never be
    /// carried out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub void: bool,
}

/// A name that is never read as two steps of a path.
fn one_step(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The bytes of a value.
pub fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("these values have JSON")
}

/// A value, where the bytes are one.
pub fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

/// The same of a value that no host makes long: what is longer is none, whoever wrote it.
pub fn read_short<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let short = (bytes.len() <= SHORT_LIMIT).then_some(bytes)?;
    read(short)
}

/// Bytes of what hosts write of themselves and of their tenures.
const SHORT_LIMIT: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_again_by_its_key() {
        let keys = Keys::new("/rackbmc/", "r1");
        assert_eq!(keys.own(), "/rackbmc/1/racks/r1/own");
        let key = keys.entry(Table::Tasks, "018f/x").unwrap();
        assert_eq!(key, "/rackbmc/1/racks/r1/j/tasks/018f/x");
        let place = Some((Table::Tasks, "018f/x".to_owned()));
        assert_eq!(keys.table_and_key(&key), place);
        assert_eq!(keys.table_and_key(&keys.own()), None);
        assert_eq!(keys.entry(Table::Audit, "1"), None);
    }

    #[test]
    fn no_name_of_a_rack_leads_into_another_racks_keys() {
        let all = |rack| Keys::new("/rackbmc", rack).all().to_owned();
        assert_eq!(all("r1/j"), "/rackbmc/1/racks/r1%2Fj/");
        assert_ne!(all("r1%2Fj"), all("r1/j"));
    }

    #[test]
    fn values_are_short_and_a_newer_host_may_add_to_them() {
        let head = Head {
            fence: 7,
            ticket: 41,
            void: false,
        };
        assert_eq!(bytes(&head), br#"{"fence":7,"ticket":41}"#);
        let newer = br#"{"fence":7,"ticket":41,"more":[]}"#;
        assert_eq!(read(newer), Some(head));
        assert_eq!(read::<Head>(b"{}"), None);
    }

    #[test]
    fn what_no_host_would_write_is_not_read() {
        let beat = |hash: String| {
            bytes(&Beat {
                count: 1,
                wall: WallTime::from_unix_micros(0),
                at: Duration::ZERO,
                trail: Some(TrailEnd {
                    host: "mgmt1".to_owned(),
                    number: 1,
                    hash,
                }),
            })
        };
        assert!(read_short::<Beat>(&beat("0".repeat(64))).is_some());
        assert!(read_short::<Beat>(&beat("0".repeat(1 << 20))).is_none());
    }
}
