//! What racks have said of themselves in etcd, where the fleet's file says where that is: one
//! question instead of one a rack.

use super::{Answer as Told, Fleet, Rack};
use crate::cli::exit::Failure;
use crate::cli::output::say;
use crate::etcd::{Answer, Entry, Op, Request, Span, Trouble, Txn};
use crate::etcd_client::Members;
use crate::model::{Node, RackSummary};
use crate::nodeset;
use crate::tenure::keys;
use crate::time::WallTime;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A rack publishes once a minute at least: what is older is stale, and the rack itself is asked.
const STALE: Duration = Duration::from_secs(150);
/// What many racks have said is much.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many are read with one question: etcd takes 128 steps at once, and their answer is kept as a
/// whole.
const TOGETHER: usize = 100;
/// Names that the groups of one rack stand for: the largest with each node in sixteen of them.
const GROUPED_LIMIT: usize = 16 * 4096;

/// What a rack has said of itself.
pub(super) struct Said {
    /// All of it but its nodes.
    pub summary: RackSummary,
    /// How old that is, by the calendars of both hosts.
    pub age: Duration,
    /// Its nodes, by the names that they have there.
    pub nodes: Vec<Node>,
}

impl Said {
    /// Whether it is too old to be believed.
    pub(super) fn is_stale(&self) -> bool {
        self.age > STALE
    }
}

/// What is known of a rack.
pub(super) struct Heard<'f, T> {
    pub rack: &'f Rack,
    /// What it answered, where it was asked.
    pub answer: Option<Result<T, Failure>>,
    /// What it has said, where it has.
    pub said: Option<Said>,
}

impl<'f, T> From<Told<'f, T>> for Heard<'f, T> {
    fn from((rack, answer): Told<'f, T>) -> Self {
        Heard {
            rack,
            answer: Some(answer),
            said: None,
        }
    }
}

impl Fleet {
    /// What these racks have published, and the answers of those of them for which that is stale or
    /// not there.
    pub(super) async fn heard<'f, T>(
        &self,
        racks: &[&'f Rack],
        patience: Duration,
        question: impl AsyncFn(&'f Rack) -> Result<T, Failure>,
    ) -> Vec<Heard<'f, T>> {
        let mut said = self.said(racks).await;
        let is_young = |rack: &&&Rack| said.get(&rack.name).is_some_and(|said| !said.is_stale());
        let unsaid: Vec<&Rack> = racks
            .iter()
            .filter(|rack| !is_young(rack))
            .copied()
            .collect();
        let asked = Self::asked(&unsaid, patience, question).await.into_iter();
        let mut asked: HashMap<&str, _> = asked
            .map(|(rack, answer)| (rack.name.as_str(), answer))
            .collect();
        let heard = racks.iter().map(|rack| Heard {
            rack,
            answer: asked.remove(rack.name.as_str()),
            said: said.remove(&rack.name),
        });
        heard.collect()
    }

    /// What these racks have published, by the names of the racks: nothing, where the file names no
    /// etcd, or where that does not answer, which is said.
    async fn said(&self, racks: &[&Rack]) -> BTreeMap<String, Said> {
        let Some(etcd) = &self.etcd else {
            return BTreeMap::new();
        };
        let patience = etcd.request_timeout.max(PATIENCE);
        let members = Members::new(etcd.ways.clone(), etcd.user.clone(), patience);
        let now = now();
        let mut said = BTreeMap::new();
        for racks in racks.chunks(TOGETHER) {
            let keys = racks
                .iter()
                .map(|rack| Span::Key(keys::summary(&etcd.prefix, &rack.name)));
            let read = Request::Txn(Txn {
                success: keys.map(Op::Range).collect(),
                ..Txn::default()
            });
            let found = match asked(&members, etcd.ways.len(), &read).await {
                Ok(Answer::Txn { found, .. }) => found,
                Ok(_) => Vec::new(),
                Err(why) => {
                    say!("no summaries, each rack is asked: {why}");
                    break;
                }
            };
            let found = racks.iter().zip(found);
            said.extend(found.filter_map(|(rack, found)| {
                let said = read_one(found.first()?, now)?;
                Some((rack.name.clone(), said))
            }));
        }
        said
    }
}

/// Each member is asked once, until one answers.
async fn asked(members: &Members, count: usize, request: &Request) -> Result<Answer, Trouble> {
    let mut answer = members.ask(request).await;
    for _ in 1..count {
        if !answer.as_ref().is_err_and(Trouble::is_the_members) {
            break;
        }
        answer = members.ask(request).await;
    }
    answer
}

/// What is not understood, of a version to come, is as good as not there: the rack is asked.
fn read_one(entry: &Entry, now: WallTime) -> Option<Said> {
    let mut summary: RackSummary = keys::read(&entry.value)?;
    let rack: Arc<str> = summary.health.rack.as_str().into();
    let mut groups_of: HashMap<String, Vec<String>> = HashMap::new();
    let mut names = 0;
    for (group, set) in &summary.groups {
        for name in nodeset::expand_pattern(set).ok()? {
            names += 1;
            groups_of.entry(name).or_default().push(group.clone());
        }
        // A set is short to write and stands for thousands: no rack has so many.
        if names > GROUPED_LIMIT {
            return None;
        }
    }
    let none: Arc<[String]> = Arc::default();
    // Nodes of one group have mostly the same groups, and those are kept once.
    let mut kept: HashMap<Vec<String>, Arc<[String]>> = HashMap::new();
    let nodes = std::mem::take(&mut summary.nodes).into_iter().map(|node| {
        let groups = groups_of.remove(&*node.name).map(|groups| {
            let same = kept.entry(groups);
            let groups = same.key().as_slice().into();
            same.or_insert(groups).clone()
        });
        node.shown(rack.clone(), groups.unwrap_or_else(|| none.clone()), now)
    });
    let nodes = nodes.collect();
    let age = now.since(summary.at);
    Some(Said {
        summary,
        age,
        nodes,
    })
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_micros();
    WallTime::from_unix_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_stand_for_millions_of_names_are_not_taken_apart() {
        let entry = |groups: usize| {
            let set = "n[0001-4096]".to_owned();
            let groups = (0..groups).map(|group| (format!("g{group}"), set.clone()));
            let summary = RackSummary {
                groups: groups.collect(),
                ..RackSummary::default()
            };
            Entry {
                key: "/rackbmc/1/fleet/summary/r1".to_owned(),
                value: serde_json::to_vec(&summary).expect("JSON"),
                revision: 1,
            }
        };
        let now = WallTime::from_unix_micros(0);
        assert!(read_one(&entry(16), now).is_some());
        assert!(read_one(&entry(20_000), now).is_none());
    }
}
