//! What a host that has not the rack answers: what the journal in etcd has, looked at without a word to any BMC.

use super::Post;
use crate::api::serve::Asked;
use crate::daemon::randomness::Kernel;
use crate::daemon::shell::{Input, Shell, Waiting};
use crate::etcd::{self, Request, Span, Trouble};
use crate::rack::call::{Answer, Call, CallId, Look, Refused};
use crate::rack::permit::{Permit, Succession};
use crate::rack::settings::NodeSettings;
use crate::rack::{Birth, Rack, Remembered, busy_nodes};
use crate::time::Instant;
use std::time::Duration;

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
        let Some(call) = may_look(asked.call) else {
            return asked.reply.send(Err(shared.moved()));
        };
        let waiting = Waiting {
            reply: asked.reply,
            peer: asked.peer,
            looks: true,
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
        let journal = Request::Range(Span::Prefix(shared.keys.journal()));
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
            Ok(etcd::Answer::Range { found, .. }) => {
                let place = |entry: crate::etcd::Entry| {
                    let (table, key) = shared.keys.place(&entry.key)?;
                    Some((table, key, entry.value))
                };
                let remembered: Vec<Remembered> = found.into_iter().filter_map(place).collect();
                let (settings, nodes) = shared.plan.borrow().clone();
                shared.fit.nodes = has_all(&nodes, &remembered);
                shared.judge_fit(now);
                let over = Permit {
                    from: now,
                    until: now,
                };
                let succession = Succession {
                    fence: 0,
                    permit: over,
                    clean: true,
                    // Its tasks go on elsewhere: nothing of them is old.
                    last_sign: Some((clock.wall(), Duration::ZERO)),
                };
                let birth = Birth {
                    now,
                    succession: Some(succession),
                    ..clock.birth(Default::default())
                };
                let entropy = Box::new(Kernel::new());
                let mut rack = Rack::new(settings, nodes, remembered, birth, entropy);
                rack.handle_dark(now);
                shared.mirror = Some((Box::new(rack), now));
                self.answer_looks();
            }
            other => {
                let why = match other {
                    Err(trouble) => trouble.to_string(),
                    Ok(_) => "etcd answers something else".to_owned(),
                };
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
        let Some((rack, read_at)) = &mut shared.mirror else {
            return;
        };
        let age = self.awake_at - *read_at;
        for (id, call, rights, noted) in std::mem::take(&mut shared.looking) {
            noted.is_stale(age);
            rack.handle_call(id, call, &rights, *read_at);
        }
        let answers: Vec<_> = std::iter::from_fn(|| rack.poll_answer()).collect();
        for (id, answer) in answers {
            self.answer(id, answer);
        }
    }
}

/// What of a call is answered here: what looks, and waits for nothing. Who wants to wait has to ask the owner.
fn may_look(call: Call) -> Option<Call> {
    let looks = match &call {
        Call::Look(_) => true,
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
