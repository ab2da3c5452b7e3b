//! `[fleet] publish`: what the rack says of itself is put into etcd, for those who look at many
//! racks.
//!
//! Best effort: no journal, order or answer waits for it, and what could not be put there is said
//! once. It goes out on change, at most every 5 s, and every 60 s where nothing changes. Only who
//! has the rack speaks for it.

use super::Shell;
use crate::config::Configuration;
use crate::daemon::host_name;
use crate::etcd::{Op, Request, Txn};
use crate::etcd_client::Members;
use crate::model::{NodeSummary, RackSummary};
use crate::nodeset;
use crate::tenure::keys::{bytes, summary};
use crate::time::{Instant, WallTime};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;
use std::time::Duration;

/// See the head of this file.
pub(super) struct Publisher {
    members: Members,
    key: String,
    host: String,
    url: Option<String>,
    /// When the rack is looked at next.
    look_at: Instant,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    /// What etcd has, as one number, and since when.
    published: Cell<Option<(u64, Instant)>>,
    under_way: Cell<bool>,
    /// Why the last one was not published.
    trouble: RefCell<Option<String>>,
}

impl Publisher {
    /// A publisher, where the configuration wants summaries in etcd.
    pub(super) fn of(configuration: &Configuration, now: Instant) -> Option<Self> {
        let etcd = configuration.etcd.as_ref();
        let etcd = etcd.filter(|_| configuration.publish)?;
        let ha = configuration.ha.as_ref();
        let named = ha.and_then(|ha| ha.host.clone());
        Some(Self {
            members: Members::new(etcd.ways.clone(), etcd.user.clone(), etcd.request_timeout),
            key: summary(&etcd.prefix, &configuration.rack.name),
            host: named.or_else(|| host_name().ok()).unwrap_or_default(),
            url: ha.and_then(|ha| ha.url.clone()),
            look_at: now,
            state: Rc::default(),
        })
    }

    /// Whether that is due to be put into etcd.
    fn is_due(&self, digest: u64, now: Instant) -> bool {
        match self.state.published.get() {
            Some((last, at)) => last != digest || now - at >= AGAIN,
            None => true,
        }
    }
}

impl Shell {
    /// Publishes what is to be known of the rack, where it is time.
    pub(super) fn publish(&mut self, wall: WallTime, now: Instant) {
        let due = |publisher: &&mut Publisher| {
            publisher.look_at <= now && !publisher.state.under_way.get()
        };
        let Some(publisher) = self.publisher.as_mut().filter(due) else {
            return;
        };
        publisher.look_at = now + EVERY;
        let Some(rack) = self.post.rack() else {
            return;
        };
        let shown = rack.nodes(now);
        let mut groups: BTreeMap<&String, Vec<&str>> = BTreeMap::new();
        for node in &shown {
            for group in node.rackbmcd.groups.iter() {
                groups.entry(group).or_default().push(&node.name);
            }
        }
        let groups = groups.into_iter();
        let groups = groups.map(|(group, names)| (group.clone(), nodeset::fold(names)));
        let summary = RackSummary {
            at: wall,
            host: publisher.host.clone(),
            url: publisher.url.clone(),
            fence: Some(self.post.fence()).filter(|fence| *fence > 0),
            health: self.with_disk(rack.health(now)),
            groups: groups.collect(),
            nodes: shown.into_iter().map(NodeSummary::from).collect(),
        };
        let Some(publisher) = &self.publisher else {
            return;
        };
        let digest = digest_of(summary.clone());
        if !publisher.is_due(digest, now) {
            return;
        }
        let text = bytes(&summary);
        let (members, state) = (publisher.members.clone(), publisher.state.clone());
        let put = Request::Txn(Txn {
            success: vec![Op::Put(publisher.key.clone(), text)],
            ..Txn::default()
        });
        state.under_way.set(true);
        let publish = async move {
            let outcome = members.ask(&put).await;
            state.under_way.set(false);
            let trouble = outcome.err().map(|trouble| trouble.to_string());
            match (&trouble, state.trouble.borrow().is_some()) {
                (Some(why), false) => log::warn!("the rack's summary is not published: {why}"),
                (None, true) => log::info!("the rack's summary is published again"),
                (Some(_), true) | (None, false) => {}
            }
            if trouble.is_none() {
                state.published.set(Some((digest, now)));
            }
            state.trouble.replace(trouble);
        };
        self.executor.spawn(publish).detach();
    }
}

/// All of it in one number, but for what changes with time alone.
fn digest_of(mut summary: RackSummary) -> u64 {
    summary.at = WallTime::default();
    for node in &mut summary.nodes {
        if let Some((_, at)) = &mut node.reading {
            *at = WallTime::default();
        }
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes(&summary));
    hasher.finish()
}

/// Between two summaries at least.
const EVERY: Duration = Duration::from_secs(5);
/// Between two summaries at most.
const AGAIN: Duration = Duration::from_secs(60);
