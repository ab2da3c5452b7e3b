//! The configuration on the disk: looked at now and then, and read again when the daemon is told
//! to.

use super::publishing::Publisher;
use super::start::policy;
use super::{Input, Shell, Waiting};
use crate::config::{Complaint, Configuration};
use crate::daemon::listen;
use crate::daemon::on_disk::Found;
use crate::daemon::spread::Spread;
use crate::daemon::systemd::notify;
use crate::model::Role;
use crate::rack::call::Refused;
use crate::time::Instant;
use sd_notify::NotifyState;
use std::rc::Rc;

impl Shell {
    pub(super) fn begin_reload(&mut self) {
        if let Some(again) = &mut self.reloading {
            // A reload may hang in a directory service: others do not join it.
            log::info!("a reload is under way: another one follows it");
            *again = true;
            return;
        }
        self.reloading = Some(false);
        log::info!("reloading {}", self.on_disk.path().display());
        match NotifyState::monotonic_usec_now() {
            Ok(monotonic) => notify(&[NotifyState::Reloading, monotonic]),
            Err(error) => log::warn!("systemd does not hear of the reload: {error}"),
        }
        let path = self.on_disk.path().to_owned();
        self.bring(move || Input::Reloaded(Box::new(Found::read(&path))));
    }

    /// Looks at the configuration on the disk, where it is time.
    pub(super) fn look_at_configuration(&mut self, now: Instant) {
        if let Some(look) = self.on_disk.poll_look(now) {
            self.bring(move || Input::Looked(look().map(Box::new)));
        }
    }

    /// Reads off the loop what it is told then.
    fn bring(&self, read: impl FnOnce() -> Input + Send + 'static) {
        let inputs = self.to_inputs.clone();
        let read = async move {
            let input = smol::unblock(read).await;
            // The loop has ended where this fails.
            let _ = inputs.send(input).await;
        };
        self.executor.spawn(read).detach();
    }

    /// Says where the configuration on the disk became wrong, or good again.
    pub(super) fn judge(&mut self, found: &Found) {
        if !self.on_disk.judged(found, self.clock.wall()) {
            return;
        }
        match self.on_disk.refused() {
            Some(refused) => log::error!(
                "the configuration on disk is wrong, the one in force stays, a start would fail: {}",
                refused.why
            ),
            None => log::info!("the configuration on disk is good again"),
        }
    }

    pub(super) fn reload(&mut self, outcome: Result<Configuration, Vec<Complaint>>, now: Instant) {
        match outcome {
            Err(complaints) => {
                complaints
                    .iter()
                    .for_each(|complaint| log::error!("{complaint}"));
                log::error!("the new configuration is wrong: the old one stays in force");
            }
            // A file that was cut off, more likely than a rack that was taken away.
            Ok(configuration) if configuration.nodes.is_empty() && self.post.has_nodes(now) => {
                log::error!(
                    "not reloaded, the old configuration stays in force: there are no nodes in it any more"
                );
            }
            Ok(configuration) => {
                configuration
                    .warnings
                    .iter()
                    .for_each(|warning| log::warn!("{warning}"));
                let policy = policy(&configuration.api);
                self.post.reload_etcd(configuration.etcd.as_ref());
                self.publisher = Publisher::of(&configuration, now);
                let packets_per_ms = configuration.rack.packets_per_ms;
                let what = format!("configuration sha256:{}", configuration.digest);
                let api = configuration.api;
                self.records.limit = configuration.daemon.audit_limit();
                match self
                    .post
                    .reload(configuration.rack, configuration.nodes, now)
                {
                    Ok(()) => {
                        self.context.policy.replace(Rc::new(policy));
                        self.sending.spread = Spread::new(packets_per_ms);
                        self.end_lost_looks();
                        for key in listen::fixed(&self.api, &api) {
                            log::warn!("{key} has changed: that holds from the next start on");
                        }
                        #[cfg(feature = "tls")]
                        if let Some(tls) = api.tls.filter(|_| self.api.tls.is_some()) {
                            self.context.identity.replace(Some(tls.server()));
                        }
                        log::info!("reloaded");
                        self.record_own("RELOAD", what, None);
                    }
                    Err(why) => {
                        log::error!("not reloaded, the old configuration stays in force: {why}");
                        self.record_own("RELOAD", what, Some(why));
                    }
                }
            }
        }
        notify(&[NotifyState::Ready]);
    }

    /// A client whose right to look was taken away does not wait for news any more.
    fn end_lost_looks(&mut self) {
        let policy = self.context.policy();
        let lost = |waiting: &Waiting| {
            waiting.looks && !policy.rights(&waiting.peer).somewhere(Role::Reader)
        };
        let (gone, left) = std::mem::take(&mut self.replies)
            .into_iter()
            .partition(|(_, waiting)| lost(waiting));
        self.replies = left;
        for (call, waiting) in gone {
            if let Some(rack) = self.post.rack_mut() {
                rack.forget_call(call);
            }
            waiting.reply.send(Err(Refused::NotPermitted {
                role: Role::Reader,
                nodes: Vec::new(),
            }));
        }
    }
}
