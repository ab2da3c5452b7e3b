//! What the hosts of a rack tell one another of themselves: who they are, and whether they could
//! take the rack.
//!
//! Each writes a key of its own and reads those of the others with it. It is for people, and to
//! choose to whom the rack is handed over; nothing that keeps a machine from being pressed twice
//! rests on it.

use crate::api::audit::hash;
use crate::etcd::{Entry, Op, Request, Span, Txn};
use crate::model::HaHost;
use crate::rack::settings::NodeSettings;
use crate::tenure::keys::{self, Keys};
use crate::time::{Instant, WallTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// What a host says of itself, as it stands in etcd. A newer version may add to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) host: String,
    pub(super) host_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    pub(super) version: String,
    /// The SHA-256 of its nodes: names, uuids and the addresses of BMCs.
    pub(super) nodes: String,
    /// Why it does not take the rack, where it would have to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unfit: Option<String>,
    /// Its calendar, now and when its daemon was started.
    pub(super) wall: WallTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) started: Option<WallTime>,
}

/// The hosts of the rack, this one included.
pub(super) struct Peers {
    keys: Keys,
    known: BTreeMap<String, Peer>,
    /// What this host said last, and when it says it anew.
    told: Option<Said>,
    tell_at: Instant,
    /// It is being said: what is said next waits, so that nothing older arrives after it.
    telling: bool,
}

/// One host, as it was heard.
struct Peer {
    said: Said,
    revision: u64,
    seen: Instant,
    /// By how many seconds its calendar was ahead of ours, where it was heard as it spoke.
    ahead: Option<f64>,
}

impl Peers {
    pub(super) fn new(keys: Keys, now: Instant) -> Self {
        Self {
            keys,
            known: BTreeMap::new(),
            told: None,
            tell_at: now,
            telling: false,
        }
    }

    /// What this host says of itself now, and a read of what the others say, where that is due.
    pub(super) fn tell(&mut self, said: Said, now: Instant) -> Option<Request> {
        let same = |told: &Said| {
            let wall = said.wall;
            *told == said.clone().at(told.wall) && wall >= told.wall
        };
        if self.telling || (now < self.tell_at && self.told.as_ref().is_some_and(same)) {
            return None;
        }
        self.telling = true;
        self.tell_at = now + TELL;
        let key = self.keys.host(&said.host);
        let request = Request::Txn(Txn {
            success: vec![
                Op::Put(key, keys::bytes(&said)),
                Op::Range(Span::Prefix(self.keys.hosts())),
            ],
            ..Txn::default()
        });
        self.told = Some(said);
        Some(request)
    }

    /// What was said has arrived, or nobody knows.
    pub(super) fn was_told(&mut self) {
        self.telling = false;
    }

    /// A host has said something, just now where it was heard of by the watch.
    pub(super) fn hear(&mut self, entry: &Entry, wall: WallTime, live: bool, now: Instant) {
        let Some(said) = keys::read_short::<Said>(&entry.value) else {
            return;
        };
        if let Some(known) = self.known.get_mut(&said.host)
            && known.revision >= entry.revision
        {
            return;
        }
        // Of what was said before this host listened only its calendar tells when that was.
        let ago = match live || self.known.contains_key(&said.host) {
            true => Duration::ZERO,
            false => wall.since(said.wall),
        };
        let ahead = live.then(|| match said.wall > wall {
            true => said.wall.since(wall).as_secs_f64(),
            false => -wall.since(said.wall).as_secs_f64(),
        });
        let before = self.known.get(&said.host).and_then(|known| known.ahead);
        let peer = Peer {
            revision: entry.revision,
            seen: now.before(ago),
            ahead: ahead.or(before),
            said,
        };
        self.known.insert(peer.said.host.clone(), peer);
        if self.known.len() > HOSTS_KEPT {
            let silent = self.known.iter().min_by_key(|(_, peer)| peer.seen);
            if let Some(host) = silent.map(|(host, _)| host.clone()) {
                self.known.remove(&host);
            }
        }
    }

    /// Whether the key is one of these.
    pub(super) fn has(&self, key: &str) -> bool {
        key.starts_with(&self.keys.hosts())
    }

    /// Whether another installation goes by the name of this one.
    pub(super) fn namesake(&self, host: &str, host_id: Uuid) -> bool {
        let known = self.known.get(host);
        known.is_some_and(|peer| peer.said.host_id != host_id)
    }

    /// The nodes that a host has, as it says them in a word.
    pub(super) fn nodes_of(&self, host: &str) -> Option<&str> {
        self.known.get(host).map(|peer| peer.said.nodes.as_str())
    }

    /// Why a host could not take the rack.
    pub(super) fn check(&self, host: &str, now: Instant) -> Result<(), String> {
        let Some(peer) = self.known.get(host) else {
            return Err(format!("no host {host} has been heard of"));
        };
        let ago = now - peer.seen;
        if ago > ALIVE {
            return Err(format!("{host} was not heard for {} s", ago.as_secs()));
        }
        match &peer.said.unfit {
            Some(why) => Err(format!("{host} could not take it: {why}")),
            None => Ok(()),
        }
    }

    /// Whether any host but this one could take the rack, or why none could.
    pub(super) fn check_any(&self, but: &str, now: Instant) -> Result<(), String> {
        let others = self.known.keys().filter(|host| *host != but);
        let answers: Vec<_> = others.map(|host| self.check(host, now)).collect();
        if answers.iter().any(Result::is_ok) {
            return Ok(());
        }
        let why: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
        match why.is_empty() {
            true => Err("no other host has been heard of".to_owned()),
            false => Err(why.join("; ")),
        }
    }

    /// All of them, for people.
    pub(super) fn shown(&self, nodes: &str, now: Instant) -> Vec<HaHost> {
        let heard = |peer: &&Peer| now - peer.seen < FORGOTTEN;
        let shown = self.known.values().filter(heard).map(|peer| {
            let ago = now - peer.seen;
            HaHost {
                host: peer.said.host.clone(),
                url: peer.said.url.clone(),
                version: peer.said.version.clone(),
                // An older version does not say when it was started.
                started_at: peer.said.started.unwrap_or(peer.said.wall),
                said_at: peer.said.wall,
                seen: ago.as_secs_f64(),
                alive: ago <= ALIVE,
                unfit: peer.said.unfit.clone(),
                differs: peer.said.nodes != nodes,
                clock_ahead: peer.ahead,
            }
        });
        shown.collect()
    }
}

impl Said {
    fn at(self, wall: WallTime) -> Self {
        Self { wall, ..self }
    }
}

/// The nodes of a configuration in one word: hosts that have the same say the same.
pub(super) fn digest(nodes: &[NodeSettings]) -> String {
    let mut lines: Vec<String> = nodes
        .iter()
        .map(|node| {
            let (host, port) = (&node.address.host, node.address.port);
            format!("{} {} {host} {port}\n", node.name, node.uuid)
        })
        .collect();
    lines.sort_unstable();
    hash(lines.concat().as_bytes())
}

/// How often a host speaks, where it has nothing new to say.
const TELL: Duration = Duration::from_secs(10);
/// A host that was not heard for longer does not count as alive.
const ALIVE: Duration = Duration::from_secs(30);
/// A host that was not heard for longer is not shown any more.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Hosts of one rack that are known: of more, whoever has been silent for longest is forgotten.
const HOSTS_KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    fn wall(seconds: u64) -> WallTime {
        WallTime::from_unix_micros(seconds * 1_000_000)
    }

    fn said(host: &str, seconds: u64, unfit: Option<&str>) -> Said {
        Said {
            host: host.to_owned(),
            host_id: Uuid::from_u128(1),
            url: None,
            version: "1".to_owned(),
            nodes: "abc".to_owned(),
            unfit: unfit.map(str::to_owned),
            wall: wall(seconds),
            started: None,
        }
    }

    fn entry(said: &Said, revision: u64) -> Entry {
        Entry {
            key: Keys::new("/rackbmc", "r1").host(&said.host),
            value: keys::bytes(said),
            revision,
        }
    }

    fn peers() -> Peers {
        Peers::new(Keys::new("/rackbmc", "r1"), at(1000))
    }

    #[test]
    fn a_host_speaks_when_it_has_something_new_to_say_and_now_and_then() {
        let mut peers = peers();
        assert!(peers.tell(said("a", 1, None), at(1000)).is_some());
        peers.was_told();
        assert!(peers.tell(said("a", 2, None), at(1001)).is_none());
        assert!(peers.tell(said("a", 3, Some("why")), at(1002)).is_some());
        peers.was_told();
        assert!(peers.tell(said("a", 4, Some("why")), at(1003)).is_none());
        assert!(peers.tell(said("a", 13, Some("why")), at(1012)).is_some());
    }

    #[test]
    fn one_word_waits_for_the_other_so_that_the_last_one_stays() {
        let mut peers = peers();
        let not_yet = said("a", 1, Some("not read yet"));
        assert!(peers.tell(not_yet, at(1000)).is_some());
        assert!(peers.tell(said("a", 1, None), at(1000)).is_none());
        peers.was_told();
        assert!(peers.tell(said("a", 1, None), at(1000)).is_some());
    }

    #[test]
    fn the_rack_goes_to_a_host_that_was_heard_a_moment_ago_and_is_fit() {
        let mut peers = peers();
        assert!(peers.check_any("a", at(1000)).is_err());
        peers.hear(&entry(&said("a", 50, None), 1), wall(50), true, at(1000));
        assert!(peers.check_any("a", at(1000)).is_err(), "itself");
        peers.hear(&entry(&said("b", 50, None), 2), wall(50), true, at(1000));
        assert_eq!(peers.check_any("a", at(1000)), Ok(()));
        assert_eq!(peers.check("b", at(1030)), Ok(()));
        let why = peers.check("b", at(1040)).unwrap_err();
        assert_eq!(why, "b was not heard for 40 s");
        let unfit = said("b", 90, Some("a node is missing"));
        peers.hear(&entry(&unfit, 3), wall(90), true, at(1040));
        let why = peers.check_any("a", at(1041)).unwrap_err();
        assert_eq!(why, "b could not take it: a node is missing");
        assert!(peers.check("c", at(1041)).is_err());
    }

    #[test]
    fn what_was_said_before_is_as_old_as_its_calendar_says_and_an_older_word_changes_nothing() {
        let mut peers = peers();
        peers.hear(&entry(&said("b", 10, None), 7), wall(60), false, at(1000));
        assert!(peers.check("b", at(1000)).is_err());
        let first = &peers.shown("abc", at(1000))[0];
        assert_eq!(
            (first.alive, first.clock_ahead, first.differs),
            (false, None, false)
        );
        peers.hear(&entry(&said("b", 63, None), 8), wall(61), true, at(1001));
        peers.hear(&entry(&said("b", 10, None), 7), wall(61), true, at(1001));
        let now = &peers.shown("other", at(1001))[0];
        assert_eq!(
            (now.alive, now.clock_ahead, now.differs),
            (true, Some(2.0), true)
        );
    }

    #[test]
    fn another_installation_of_the_same_name_is_noticed() {
        let mut peers = peers();
        peers.hear(&entry(&said("a", 1, None), 1), wall(1), true, at(1000));
        assert!(!peers.namesake("a", Uuid::from_u128(1)));
        assert!(peers.namesake("a", Uuid::from_u128(2)));
    }

    #[test]
    fn hosts_without_number_and_words_without_end_are_not_kept() {
        let mut peers = peers();
        for number in 0..1000 {
            let said = said(&format!("h{number}"), 1, None);
            let now = at(1000 + number);
            peers.hear(&entry(&said, 1), wall(1), true, now);
        }
        assert_eq!(peers.known.len(), HOSTS_KEPT);
        assert!(peers.known.contains_key("h999"));
        let long = said("long", 1, Some(&"x".repeat(1 << 20)));
        peers.hear(&entry(&long, 2), wall(1), true, at(3000));
        assert!(!peers.known.contains_key("long"));
    }
}
