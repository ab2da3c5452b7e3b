//! How etcd's members are, looked at now and then: whether their versions keep what they were told,
//! and how much of their space is used.

use super::{Post, Shared};
use crate::daemon::check_etcd;
use crate::daemon::shell::{Input, Shell};
use crate::etcd::{Answer, Request, Space, Trouble};
use crate::etcd_client::Members;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// See the head of this file.
pub(super) struct Known {
    /// Those that answered when they were looked at last, by name.
    members: BTreeMap<String, Member>,
    look_at: Instant,
}

/// What a member said of itself, to whoever asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::daemon) struct Member {
    version: Option<String>,
    space: Option<Space>,
}

impl Known {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            members: BTreeMap::new(),
            look_at: now,
        }
    }

    /// How much of its space each has used, where it says so.
    pub(super) fn space(&self) -> Vec<(String, f64)> {
        let known = self.members.iter();
        known
            .filter_map(|(name, member)| Some((name.clone(), member.space?.ratio())))
            .collect()
    }

    /// Whether a rack may be trusted to them; nothing while none of them has answered.
    fn verdict(&self) -> Option<Result<(), String>> {
        let version = |(name, member): (&String, &Member)| {
            let why = check_etcd::unfit(member.version.as_deref()?)?;
            Some(format!("{why} ({name})"))
        };
        match self.members.iter().find_map(version) {
            Some(why) => Some(Err(why)),
            None => (!self.members.is_empty()).then_some(Ok(())),
        }
    }
}

/// What a member says of itself; nothing where it does not answer.
async fn ask(member: &Members) -> Option<Member> {
    let version = match member.ask(&Request::Version).await {
        Ok(Answer::Version(version)) => Some(version),
        Err(Trouble::Silent(_) | Trouble::Unavailable(_)) => return None,
        Ok(_) | Err(_) => None,
    };
    let space = match member.ask(&Request::Space).await {
        Ok(Answer::Space(space)) => Some(space),
        Ok(_) | Err(_) => None,
    };
    Some(Member { version, space })
}

impl Shared {
    /// Others are the members from now on.
    pub(super) fn forget_members(&mut self) {
        self.known_members = Known::new(Instant::START);
    }

    fn judge_members(&mut self, now: Instant) {
        let Some(verdict) = self.known_members.verdict() else {
            return;
        };
        if self.fit.etcd != verdict {
            if let Err(why) = &verdict {
                log::error!("this host does not take the rack over: {why}");
            }
            self.fit.etcd = verdict;
            self.judge_fit(now);
        }
    }
}

impl Shell {
    /// Looks at each member of etcd, where that is due.
    pub(super) fn look_at_members(&mut self, now: Instant) {
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        if now < shared.known_members.look_at {
            return;
        }
        let known = shared.known_members.verdict().is_some();
        shared.known_members.look_at = now + if known { LOOK } else { LOOK_SOON };
        for (name, member) in shared.members.each() {
            let inputs = self.to_inputs.clone();
            let look = async move {
                let said = ask(&member).await;
                // The loop has ended where this fails.
                let _ = inputs.send(Input::Member(name, said)).await;
            };
            self.executor.spawn(look).detach();
        }
    }

    /// A member of etcd was looked at.
    pub(in crate::daemon::shell) fn member_seen(&mut self, name: String, said: Option<Member>) {
        let now = self.awake_at;
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        // One that was asked before a reload may be none any more.
        if !shared.members.names().contains(&name) {
            return;
        }
        match said {
            Some(member) => shared.known_members.members.insert(name, member),
            None => shared.known_members.members.remove(&name),
        };
        shared.judge_members(now);
    }
}

/// How often members are looked at; and while none has answered.
const LOOK: Duration = Duration::from_secs(60);
const LOOK_SOON: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rack_is_trusted_to_no_member_that_may_lose_what_it_was_told() {
        let of = |versions: &[Option<&str>]| {
            let members = versions.iter().enumerate().map(|(number, version)| {
                let version = version.map(str::to_owned);
                let member = Member {
                    version,
                    space: None,
                };
                (format!("http://10.9.0.{number}:2379"), member)
            });
            let members = members.collect();
            Known {
                members,
                ..Known::new(Instant::START)
            }
            .verdict()
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[Some("3.5.16"), Some("3.4.23")]), Some(Ok(())));
        // What does not say its version is not judged by it.
        assert_eq!(of(&[None]), Some(Ok(())));
        let why = |versions| of(versions).and_then(Result::err).unwrap_or_default();
        let lossy = why(&[Some("3.5.16"), Some("3.5.1")]);
        assert_eq!(
            lossy,
            "etcd 3.5.1 may lose commits: upgrade it (http://10.9.0.1:2379)"
        );
        assert!(why(&[Some("3.3.25"), None]).contains("too old"));
    }

    #[test]
    fn the_space_of_each_member_is_told_where_it_says_so() {
        let mut known = Known::new(Instant::START);
        let space = Some(Space { bytes: 3, quota: 4 });
        let version = Some("3.5.16".to_owned());
        known
            .members
            .insert("a".to_owned(), Member { version, space });
        known.members.insert("b".to_owned(), Member::default());
        assert_eq!(known.space(), [("a".to_owned(), 0.75)]);
    }
}
