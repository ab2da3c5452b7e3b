//! What a host that has not the rack answers: what the journal in etcd has, looked at without a
//! word to any BMC.

use super::{Post, Shared};
use crate::api::serve::Asked;
use crate::daemon::clock::Clock;
use crate::daemon::randomness::Kernel;
use crate::daemon::shell::looks::find;
use crate::daemon::shell::{Input, Shell, Waiting};
use crate::etcd::{self, Op, Request, Span, Trouble, Txn};
use crate::model::counted;
use crate::rack::call::{Answer, Call, CallId, Look, Refused};
use crate::rack::permit::{Permit, Succession};
use crate::rack::record::Table;
use crate::rack::settings::NodeSettings;
use crate::rack::{Birth, Rack, Remembered, busy_nodes, shown_history};
use crate::tenure::Phase;
use crate::time::Instant;
use std::time::Duration;
use uuid::Uuid;

impl Shell {
    /// Somebody asks a host that has not the rack.
    pub(in crate::daemon::shell) fn ask_standby(&mut self, id: CallId, asked: Asked) {
        let rights = self.context.policy().rights(&asked.peer);
        let now = self.awake_at;
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        if let Call::Look(Look::Health) = asked.call {
            let health = self.with_disk(self.post.health(now));
            return asked.reply.send(Ok(Answer::Health(health)));
        }
        // What a newer version has written is not guessed at.
        let too_new = shared.keeper.tenure().too_new().is_some();
        let Some(call) = may_look(asked.call).filter(|_| !too_new) else {
            return asked.reply.send(Err(shared.moved()));
        };
        let waiting = Waiting {
            reply: asked.reply,
            peer: asked.peer,
            looks: true,
            begins: false,
        };
        self.replies.insert(id, waiting);
        let fresh = |(_, at): &(_, Instant)| now - *at < MIRROR_KEPT;
        let is_fresh = shared.mirror.as_ref().is_some_and(fresh);
        shared.looking.push((id, call, rights, asked.noted));
        match is_fresh {
            true => self.answer_looks(),
            false => self.read_mirror(),
        }
    }

    /// Reads the journal in etcd, to be looked at.
    pub(super) fn read_mirror(&mut self) {
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        if std::mem::replace(&mut shared.reading, true) {
            return;
        }
        let (members, inputs) = (shared.members.clone(), self.to_inputs.clone());
        let formats = Op::Range(Span::Key(shared.keys.formats()));
        let journal = Op::Range(Span::Prefix(shared.keys.journal()));
        let journal = Request::Txn(Txn {
            success: vec![formats, journal],
            ..Txn::default()
        });
        let read = async move {
            let found = members.ask(&journal).await;
            // The loop has ended where this fails.
            let _ = inputs.send(Input::Mirrored(found)).await;
        };
        self.executor.spawn(read).detach();
    }

    /// The journal in etcd was read, to be looked at.
    pub(in crate::daemon::shell) fn mirrored(&mut self, found: Result<etcd::Answer, Trouble>) {
        let (now, clock) = (self.awake_at, self.clock);
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        shared.reading = false;
        match found {
            Ok(etcd::Answer::Txn { found, .. }) if found.len() == 2 => {
                let tenure = shared.keeper.tenure();
                let remembered = tenure.read_journal(&found[0], &found[1]);
                if let Err(why) = shared.judge_journal(&remembered, now) {
                    self.mistake = Some(why);
                    return;
                }
                shared.behold(remembered, clock, now);
                self.answer_looks();
            }
            other => {
                let why = match other {
                    Err(trouble) => trouble.to_string(),
                    Ok(_) => "etcd answers something else".to_owned(),
                };
                if shared.mirror.is_some() {
                    // It is older, and says so.
                    return self.answer_looks();
                }
                for (id, ..) in std::mem::take(&mut shared.looking) {
                    if let Some(waiting) = self.replies.remove(&id) {
                        waiting.reply.send(Err(Refused::NotRead(why.clone())));
                    }
                }
            }
        }
    }

    /// Those who want to look at the rack as etcd has it are answered, where it was read.
    fn answer_looks(&mut self) {
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        let Some(read_at) = shared.mirror.as_ref().map(|(_, at)| *at) else {
            return;
        };
        let stale = shared.stale(read_at, self.awake_at);
        let Some((rack, read_at)) = &mut shared.mirror else {
            return;
        };
        let mut stretches = Vec::new();
        for (id, call, rights, noted) in std::mem::take(&mut shared.looking) {
            noted.is_stale(stale.clone());
            rack.handle_call(id, call, &rights, *read_at);
            // What happened to a node is on this host's own disk, as far as it had the rack then.
            let looks = std::iter::from_fn(|| rack.poll_look());
            stretches.extend(looks.map(|(_, stretch)| (id, stretch)));
        }
        let answers: Vec<_> = std::iter::from_fn(|| rack.poll_answer()).collect();
        for (id, answer) in answers {
            self.answer(id, answer);
        }
        for (id, stretch) in stretches {
            let (inputs, store) = (self.to_inputs.clone(), self.looks.store.clone());
            let look = async move {
                let found = find(store, stretch).await;
                // The loop has ended where this fails.
                let _ = inputs.send(Input::FoundForLook(id, found)).await;
            };
            self.executor.spawn(look).detach();
        }
    }

    /// What this host's own disk has of what happened to a node, for somebody who wants to look at
    /// it.
    pub(in crate::daemon::shell) fn found_for_look(
        &mut self,
        id: CallId,
        found: Result<Vec<(String, Vec<u8>)>, String>,
    ) {
        let found = found.map(|found| Answer::History(shown_history(&found)));
        self.answer(id, found.map_err(Refused::NotRead));
    }
}

impl Shared {
    /// What the journal in etcd says against this host; an error where it is no host of that rack.
    fn judge_journal(&mut self, remembered: &[Remembered], now: Instant) -> Result<(), String> {
        // Before it is known who owns the rack there is nothing to hold this host against.
        if self.keeper.tenure().phase() == Phase::Looking {
            return Ok(());
        }
        let plan = self.plan.clone();
        let (settings, nodes) = &*plan.borrow();
        if let Err(why) = self.recognize(&settings.name, nodes, remembered) {
            // Nothing of that rack is to be held against this one when it has a name of its own.
            self.pins.keep(self.pinned_before);
            return Err(why);
        }
        self.judged = true;
        self.fit.nodes = has_all(nodes, remembered);
        self.judge_fit(now);
        Ok(())
    }

    /// The rack as the journal in etcd has it, to be looked at.
    fn behold(&mut self, mut remembered: Vec<Remembered>, clock: Clock, now: Instant) {
        let over = Permit {
            from: now,
            until: now,
        };
        let succession = Succession {
            fence: 0,
            permit: over,
            clean: true,
            only_looked_at: true,
            // Its tasks go on elsewhere: nothing of them is old.
            last_sign: Some((clock.wall(), Duration::ZERO)),
        };
        let birth = Birth {
            now,
            succession: Some(succession),
            ..clock.birth(Default::default())
        };
        let entropy = Box::new(Kernel::new());
        let (settings, nodes) = self.plan.borrow().clone();
        // What goes on at nodes that this host does not have is the owner's to tell.
        if has_all(&nodes, &remembered).is_err() {
            let has = |uuid: &Uuid| nodes.iter().any(|node| node.uuid == *uuid);
            remembered.retain(|entry| busy_nodes(std::slice::from_ref(entry)).keys().all(has));
        }
        let settings = match self.last_owner() {
            Some(own) => settings.owned_by(&own.host),
            None => settings,
        };
        let mut rack = Rack::new(settings, nodes, remembered, birth, entropy);
        rack.handle_dark(now);
        // Nothing of it is written: it is looked at.
        while let Some((ticket, _)) = rack.poll_writes() {
            rack.handle_durable(ticket, now);
        }
        self.mirror = Some((Box::new(rack), now));
    }

    /// The journal in etcd has to be of this rack, and not of another one of the same name. Once it
    /// is, its nodes may come and go.
    fn recognize(
        &mut self,
        rack: &str,
        nodes: &[NodeSettings],
        remembered: &[Remembered],
    ) -> Result<(), String> {
        let ours = match self.last_owner() {
            Some(own) => own.host_id == self.me.host_id,
            None => true,
        };
        let known = |uuid: &str| nodes.iter().any(|node| node.uuid.to_string() == uuid);
        let theirs = remembered
            .iter()
            .filter(|(table, ..)| *table == Table::Nodes);
        let count = theirs.clone().count();
        self.known |= ours || theirs.clone().any(|(_, key, _)| known(key));
        if self.known || count == 0 || nodes.is_empty() {
            return Ok(());
        }
        let owner = self.last_owner().map(|own| own.host.clone());
        Err(format!(
            "another rack is called {rack} in etcd, too: host {} has it, and none of its {} is in this configuration. Give \
             one of the two another name, or another prefix in [etcd]",
            owner.unwrap_or_default(),
            counted(count, "node")
        ))
    }
}

/// What of a call is answered here: what looks, and waits for nothing. Who wants to wait has to ask
/// the owner.
fn may_look(call: Call) -> Option<Call> {
    let looks = match &call {
        Call::Look(_) | Call::History { .. } => true,
        Call::AwaitTask { wait, .. } | Call::AwaitBatch { wait, .. } => wait.is_zero(),
        _ => false,
    };
    looks.then_some(call)
}

/// Whether these nodes are all that have something under way.
fn has_all(nodes: &[NodeSettings], remembered: &[Remembered]) -> Result<(), String> {
    let mut busy = busy_nodes(remembered);
    for node in nodes {
        busy.remove(&node.uuid);
    }
    let missing: Vec<String> = busy.into_values().collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "tasks are under way on nodes that are not in this host's configuration, or have another uuid there: {}",
            missing.join(", ")
        )),
    }
}

/// So long a standby answers from what it has read.
const MIRROR_KEPT: Duration = Duration::from_secs(1);
