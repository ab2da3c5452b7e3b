//! The hosts of the rack, as people and load balancers see them, and the way to give the rack to
//! another one.

use super::peers::Said;
use super::{Post, Shared};
use crate::daemon::host_name;
use crate::daemon::shell::{Input, Shell};
use crate::etcd::{Answer, Op, Request, Trouble, Txn};
use crate::model::{Ha, HaEtcd, HaOwner, HaRole};
use crate::rack::call::Refused;
use crate::tenure::Phase;
use crate::time::{Instant, WallTime};
use smol::channel::Sender;
use std::time::Duration;

impl Shared {
    /// What this host says of itself.
    fn said(&self, wall: WallTime) -> Said {
        Said {
            host: self.me.host.clone(),
            host_id: self.me.host_id,
            url: self.me.url.clone(),
            version: self.me.version.clone(),
            nodes: self.nodes.clone(),
            unfit: self.keeper.tenure().unfit(),
            wall,
            started: Some(self.started),
        }
    }

    /// How it stands with the hosts of the rack.
    pub(super) fn ha(&self, now: Instant) -> Ha {
        let tenure = self.keeper.tenure();
        let role = match tenure.phase() {
            Phase::Looking | Phase::Standby => HaRole::Standby,
            Phase::Claiming => HaRole::Claiming,
            Phase::Owner => HaRole::Owner,
            Phase::Releasing => HaRole::Releasing,
            Phase::Dark => HaRole::Dark,
        };
        let permit = self.keeper.permit().filter(|permit| permit.holds(now));
        let owner = tenure.owner().or(self.owner.as_ref());
        let figures = self.members.figures();
        let space = self.known_members.space();
        Ha {
            rack: self.plan.borrow().0.name.to_string(),
            host: self.me.host.clone(),
            role: role.into(),
            owner: owner.map(|own| HaOwner {
                host: own.host.clone(),
                url: own.url.clone(),
                since: own.since,
                version: own.version.clone(),
                fence: tenure.fence(),
                released: own.released.is_some(),
            }),
            permit_left: permit.map(|permit| (permit.until - now).as_secs_f64()),
            unfit: tenure.unfit(),
            clock_source: clock_source(),
            etcd: Some(HaEtcd {
                endpoints: self.members.names(),
                heard: tenure.heard().map(|heard| (now - heard).as_secs_f64()),
                latency: figures.latency().map(|latency| latency.as_secs_f64()),
                space: space.into_iter().map(|(_, ratio)| ratio).reduce(f64::max),
            }),
            hosts: self.peers.shown(&self.nodes, now),
        }
    }

    /// Begins to give the rack to another host.
    pub(super) fn give_away(&mut self, to: Option<String>, now: Instant) -> Result<(), String> {
        if self.keeper.tenure().phase() != Phase::Owner {
            return Err("this host does not own it for certain at the moment".to_owned());
        }
        self.may_have_it(to.as_deref(), now)?;
        self.keeper.hand_over(to, now);
        Ok(())
    }

    /// Whether that host, or any other than this one, could take the rack.
    fn may_have_it(&self, to: Option<&str>, now: Instant) -> Result<(), String> {
        let me = self.me.host.as_str();
        match to {
            Some(to) if to == me && self.keeper.rack().is_some() => {
                Err(format!("{me} owns the rack already"))
            }
            Some(to) => self.peers.check(to, now),
            None => self.peers.check_any(me, now),
        }
    }
}

impl Shell {
    /// Tells the other hosts of this one, and hears of them; sees to what keeps it from taking the
    /// rack.
    pub(in crate::daemon::shell) fn tell_hosts(&mut self, wall: WallTime, now: Instant) {
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        if let Some(head) = self
            .records
            .durable_head()
            .filter(|_| shared.trail_at <= now)
        {
            shared.trail_at = now + TRAIL_EVERY;
            let hash = head.hash.clone();
            shared.keeper.tenure_mut().set_trail(head.number, hash);
        }
        if let Some(why) = shared.keeper.tenure().is_mistaken() {
            self.mistake = Some(why.to_owned());
            return;
        }
        self.look_at_members(now);
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        // Before it has read the journal it knows nothing of itself that others could use.
        if !shared.judged {
            self.read_mirror();
            return self.read_again(now);
        }
        let Some(request) = shared.peers.tell(shared.said(wall), now) else {
            return self.read_again(now);
        };
        let (members, inputs) = (shared.members.clone(), self.to_inputs.clone());
        let tell = async move {
            let answer = members.ask(&request).await;
            // The loop has ended where this fails.
            let _ = inputs.send(Input::Hosts(answer)).await;
        };
        self.executor.spawn(tell).detach();
        // Only nodes of tasks that are under way matter, and only where the owner has other nodes
        // than this host.
        if !shared.has_the_owners_nodes() || shared.fit.nodes.is_err() {
            self.read_mirror();
        }
        self.read_again(now);
    }

    /// What this host's own disk has is read again, where that could not be done before.
    fn read_again(&mut self, now: Instant) {
        if let Post::Shared(shared) = &mut self.post
            && shared.fit.read_at.is_some_and(|at| at <= now)
        {
            shared.fit.read_at = None;
            self.read_own_history();
        }
    }

    /// The hosts of the rack have said something of themselves.
    pub(in crate::daemon::shell) fn hosts_told(&mut self, answer: Result<Answer, Trouble>) {
        let (now, wall) = (self.awake_at, self.clock.wall());
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        shared.peers.was_told();
        if let Ok(Answer::Txn { found, .. }) = answer {
            for entry in found.iter().flatten() {
                shared.peers.hear(entry, wall, false, now);
            }
        }
        let (host, id) = (&shared.me.host, shared.me.host_id);
        if shared.peers.namesake(host, id) {
            log::error!(
                "another host of the rack is called {host}, too: write another host in [ha] of one of them"
            );
        }
    }

    /// How it stands with the hosts of the rack.
    pub(in crate::daemon::shell) fn ha(&self, now: Instant) -> Ha {
        match &self.post {
            Post::Shared(shared) => shared.ha(now),
            Post::Alone(rack) => {
                let host = host_name().unwrap_or_default();
                Ha {
                    rack: rack.name().to_owned(),
                    host,
                    role: HaRole::Alone.into(),
                    clock_source: clock_source(),
                    ..Ha::default()
                }
            }
        }
    }

    /// Somebody wants the rack to be another host's. A host that has it gives it up; another one
    /// asks that host to.
    pub(in crate::daemon::shell) fn hand_over(
        &mut self,
        to: Option<String>,
        reply: Sender<Result<(), Refused>>,
    ) {
        let now = self.awake_at;
        let answer = |outcome: Result<(), String>| {
            // Whoever asked may be gone.
            let _ = reply.try_send(outcome.map_err(Refused::NotHandedOver));
        };
        let Post::Shared(shared) = &mut self.post else {
            return answer(Err(
                "it has this one host only (no [ha] in the configuration)".to_owned(),
            ));
        };
        if shared.keeper.rack().is_some() {
            return answer(shared.give_away(to, now));
        }
        let to = to.unwrap_or_else(|| shared.me.host.clone());
        if let Err(why) = shared.may_have_it(Some(&to), now) {
            return answer(Err(why));
        }
        let request = Request::Txn(Txn {
            success: vec![Op::Put(shared.keys.wish(), to.into_bytes())],
            ..Txn::default()
        });
        let members = shared.members.clone();
        let wish = async move {
            let wished = members.ask(&request).await.map(drop);
            let wished = wished.map_err(|trouble| Refused::NotHandedOver(trouble.to_string()));
            // Whoever asked may be gone.
            let _ = reply.send(wished).await;
        };
        self.executor.spawn(wish).detach();
    }
}

impl Shared {
    /// Whether the owner's configuration has the nodes that this one has, as far as that is known.
    fn has_the_owners_nodes(&self) -> bool {
        let owner = self.keeper.tenure().owner();
        let theirs = owner.and_then(|own| self.peers.nodes_of(&own.host));
        self.keeper.rack().is_some() || theirs.is_none_or(|nodes| nodes == self.nodes)
    }
}

/// How often it goes out how far the trail of who changed what has come.
const TRAIL_EVERY: Duration = Duration::from_secs(60);

/// What the kernel counts time with.
fn clock_source() -> Option<String> {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = std::fs::read_to_string(source).ok()?;
    Some(source.trim().to_owned())
}
