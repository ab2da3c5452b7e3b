//! Carries what a tenure has: requests to etcd and their answers, records to this host's disk, and
//! what is to be said.

use super::{Post, Shared};
use crate::config::EtcdSettings;
use crate::daemon::shell::looks::ask_store;
use crate::daemon::shell::{Input, Shell};
use crate::daemon::{audit, check_etcd};
use crate::etcd::{Answer, Change, Span, Trouble, Watched};
use crate::keeper::Told;
use crate::rack::Remembered;
use crate::rack::call::{self, CallId, Refused};
use crate::rack::record::is_shared;
use crate::tenure::keys::TrailEnd;
use crate::tenure::{Cause, RequestId};
use crate::time::Instant;
use std::time::Duration;

impl Shared {
    /// All that speaks against this host is put together, and the tenure hears of it.
    pub(super) fn judge_fit(&mut self, now: Instant) {
        let fit = &self.fit;
        let fit = fit.history.clone().and(fit.nodes.clone());
        let fit = fit.and(self.fit.etcd.clone());
        self.keeper.tenure_mut().set_fit(fit, now);
        self.keeper.settle(now);
    }
}

impl Shell {
    /// Asks the members of etcd how they are, and says it.
    pub(in crate::daemon::shell) fn look_at_etcd(&self, settings: EtcdSettings, rack: String) {
        let look = async move {
            let mut say = |line: &str| log::info!("{line}");
            if !check_etcd::check(&settings, &rack, &mut say).await {
                log::warn!(
                    "etcd is not as a second host needs it: rackbmcd --check-etcd says what is wrong"
                );
            }
        };
        self.executor.spawn(look).detach();
    }

    /// Watches who owns the rack, for as long as the daemon lives.
    pub(in crate::daemon::shell) fn begin_to_watch(&mut self) {
        let Post::Shared(shared) = &self.post else {
            return;
        };
        let (members, inputs) = (shared.members.clone(), self.to_inputs.clone());
        let mut spans = shared.keeper.tenure().watched().map(Span::Key).to_vec();
        spans.push(Span::Prefix(shared.keys.hosts()));
        let watch = async move {
            loop {
                let told = inputs.clone();
                let tell = |watched| match watched {
                    // Where the loop cannot take more, the watch begins anew, and all is read
                    // again.
                    Watched::Changes(_, changes) => told.try_send(Input::Changed(changes)).is_ok(),
                    Watched::Begun(_) | Watched::Ended { .. } => true,
                };
                let trouble = members.watch(spans.clone(), tell).await;
                log::debug!("who owns the rack is not watched: {trouble}");
                if inputs.send(Input::Unwatched).await.is_err() {
                    return;
                }
                smol::Timer::after(WATCH_AGAIN).await;
            }
        };
        self.executor.spawn(watch).detach();
    }

    /// An answer goes to whoever waits for it.
    pub(in crate::daemon::shell) fn answer(
        &mut self,
        call: CallId,
        answer: Result<call::Answer, Refused>,
    ) {
        if let Some(waiting) = self.replies.remove(&call) {
            let answer = match answer {
                // The rack stops where it is handed over, and the daemon does not.
                Err(Refused::Stopping) if self.stop_by.is_none() => match &self.post {
                    Post::Shared(shared) => Err(shared.moved()),
                    Post::Alone(_) => Err(Refused::Stopping),
                },
                other => other,
            };
            let answer = answer.map(|answer| match answer {
                // The rack knows of no file.
                call::Answer::Health(health) => call::Answer::Health(self.with_disk(health)),
                other => other,
            });
            waiting.reply.send(answer);
        }
    }

    /// Etcd answered, or did not.
    pub(in crate::daemon::shell) fn etcd_answered(
        &mut self,
        id: RequestId,
        answer: Result<Answer, Trouble>,
    ) {
        let now = self.awake_at;
        if let Post::Shared(shared) = &mut self.post {
            shared.keeper.handle_answer(id, answer, now);
        }
    }

    pub(in crate::daemon::shell) fn etcd_changed(&mut self, changes: &[Change]) {
        let (now, wall) = (self.awake_at, self.clock.wall());
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        for change in changes {
            match change {
                Change::Put(entry) if shared.peers.has(&entry.key) => {
                    shared.peers.hear(entry, wall, true, now);
                }
                change => shared.keeper.handle_change(change, now),
            }
        }
    }

    pub(in crate::daemon::shell) fn etcd_unwatched(&mut self) {
        let now = self.awake_at;
        if let Post::Shared(shared) = &mut self.post {
            shared.keeper.tenure_mut().handle_unwatched(now);
            shared.keeper.settle(now);
        }
    }

    /// All records up to this number are on this host's disk.
    pub(in crate::daemon::shell) fn recorded(&mut self, number: u64, now: Instant) {
        match &mut self.post {
            Post::Alone(rack) => rack.handle_durable(number, now),
            Post::Shared(shared) => {
                let known = shared.locals.partition_point(|(ours, ..)| *ours <= number);
                let fence = shared.fence;
                let mut known = shared.locals.drain(..known);
                // Those of another tenure are of a rack that is not there any more.
                let last = known.rfind(|(_, of, _)| *of == fence);
                if let Some((_, _, ticket)) = last {
                    shared.keeper.handle_recorded(ticket, now);
                }
            }
        }
    }

    /// Records could not be written to this host's disk.
    pub(in crate::daemon::shell) fn unrecorded(&mut self, number: u64, why: &str, now: Instant) {
        match &mut self.post {
            Post::Alone(rack) => rack.handle_store_trouble(number, why, now),
            Post::Shared(shared) => shared.keeper.handle_unrecorded(why, now),
        }
    }

    /// The rack that is made next wants to know what this host's disk has of what happened to
    /// nodes. Nothing is claimed before that is known.
    pub(super) fn read_own_history(&mut self) {
        let (inputs, looks) = (self.to_inputs.clone(), self.looks.store.clone());
        let read = async move {
            let own = ask_store(looks, |store| store.load()).await;
            // The loop has ended where this fails.
            let _ = inputs.send(Input::OwnHistory(own)).await;
        };
        self.executor.spawn(read).detach();
    }

    pub(in crate::daemon::shell) fn own_history_read(
        &mut self,
        own: Result<Vec<Remembered>, String>,
    ) {
        let now = self.awake_at;
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        shared.fit.history = match own {
            Ok(mut own) => {
                own.retain(|(table, key, _)| {
                    !audit::is_ours(*table, key) && !is_shared(*table, key)
                });
                shared.local.replace(own);
                Ok(())
            }
            Err(why) => {
                shared.fit.read_at = Some(now + READ_AGAIN);
                Err(format!("this host's own history cannot be read: {why}"))
            }
        };
        shared.judge_fit(now);
    }

    /// Carries what the tenure has: requests to etcd, records to the disk, and what is to be said
    /// of it.
    pub(in crate::daemon::shell) fn carry_tenure(&mut self) {
        let now = self.awake_at;
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        shared.keeper.settle(now);
        let local: Vec<_> = std::iter::from_fn(|| shared.keeper.poll_local()).collect();
        let told: Vec<_> = std::iter::from_fn(|| shared.keeper.poll_told()).collect();
        while let Some((id, request)) = shared.keeper.poll_request() {
            let (members, inputs) = (shared.members.clone(), self.to_inputs.clone());
            let ask = async move {
                let answer = members.ask(&request).await;
                // The loop has ended where this fails.
                let _ = inputs.send(Input::Etcd(id, answer)).await;
            };
            self.executor.spawn(ask).detach();
        }
        // What the disk gets is of the tenure that has just begun, where one has.
        let mut began = told.iter().filter_map(|told| match told {
            Told::Began { fence, .. } => Some(*fence),
            Told::Ended { .. } | Told::Pin(_) | Told::Wished(_) => None,
        });
        if let Some(fence) = began.next_back() {
            shared.fence = fence;
        }
        for (ticket, writes) in local {
            self.last_ticket += 1;
            let number = self.last_ticket;
            if let Post::Shared(shared) = &mut self.post {
                shared.locals.push_back((number, shared.fence, ticket));
            }
            self.remember(number, writes, false);
        }
        for told in told {
            self.take_told(told);
        }
    }

    fn take_told(&mut self, told: Told) {
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        match told {
            Told::Began {
                fence,
                cause,
                trail,
            } => {
                shared.mirror = None;
                *shared.began.entry(cause.word()).or_default() += 1;
                let mut what = format!("tenure {fence} begins: {}", began(cause));
                if let Some(TrailEnd { host, number, hash }) = trail {
                    what += &format!("; the trail of {host} had come to record {number}, {hash}");
                }
                log::info!("{what}");
                self.record_own("OWN", what, None);
            }
            Told::Ended { by, why } => {
                shared.deposed += u64::from(by.is_some());
                shared.owner = by;
                let refused = shared.moved();
                let what = format!("tenure {} ended: {why}", shared.fence);
                let now = self.awake_at;
                shared.fit.history = Err("this host's own history is being read".to_owned());
                shared.judge_fit(now);
                for (_, waiting) in std::mem::take(&mut self.replies) {
                    waiting.reply.send(Err(refused.clone()));
                }
                self.read_own_history();
                log::warn!("{what}");
                self.record_own("DISOWN", what, None);
            }
            Told::Pin(pinned) => {
                shared.members.are_of(pinned.cluster);
                shared.pins.keep(pinned);
            }
            Told::Wished(host) => {
                let now = self.awake_at;
                if let Err(why) = shared.give_away(Some(host), now) {
                    log::warn!("another host wishes to own the rack: {why}");
                }
            }
        }
    }
}

fn began(cause: Cause) -> &'static str {
    match cause {
        Cause::First => "nobody had the rack",
        Cause::Released => "its former owner gave it up",
        Cause::Restart => "this host had it before its restart",
        Cause::Silence => "its former owner is silent",
    }
}

/// Between two watches.
const WATCH_AGAIN: Duration = Duration::from_millis(200);
/// When this host's own history is read again, where it could not be.
const READ_AGAIN: Duration = Duration::from_secs(5);
