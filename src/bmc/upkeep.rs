//! The care of a session that nobody uses at the moment: kept alive, closed, given up for a stop.
//!
//! Driven by the rest of `bmc`, each time that something happened.

use super::pace::Turn;
use super::queue::{Job, Purpose};
use super::{Bmc, translate};
use crate::entropy::Entropy;
use crate::model::{Trouble, counted};
use crate::session::Need;
use crate::time::Instant;
use std::time::Duration;

impl Bmc {
    /// Begins to stop, and says `why` to whoever asks for something: readings are given up, the
    /// session is closed once the order under way has its report.
    pub fn stop(&mut self, why: &'static str, now: Instant, entropy: &mut dyn Entropy) {
        self.quits = Some(why);
        let mut jobs = self.queue.take_all();
        let current = self.current.as_ref();
        // An order that may have arrived is waited for: only its answer says what became of it.
        if current.is_some_and(|current| !current.job.acts() || !current.job.sent)
            && let Some(job) = self.take_current_back(now)
        {
            jobs.insert(0, job);
        }
        self.refuse(jobs, Trouble::Busy, why);
        if !self.is_open() && self.current.is_none() {
            // A handshake that may take a minute is not waited for.
            self.session.close(now, entropy);
            self.drain(now, entropy);
        }
        self.advance(now, entropy);
    }

    /// Goes on after [`Bmc::stop`].
    pub fn go_on(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.quits = None;
        self.advance(now, entropy);
    }

    /// An earlier life of the daemon was last heard of so long ago: it may have left a session at
    /// the BMC.
    pub fn inherit_session(&mut self, ago: Duration, now: Instant) {
        self.session.inherit(ago, now);
    }

    /// For what the next session is opened: the most urgent of what waits.
    pub(super) fn need(&self) -> Need {
        let changes = |job: &Job| job.acts() || job.purpose == Purpose::Change;
        match self.queue.iter().any(changes) {
            true => Need::Order,
            false => Need::Reading,
        }
    }

    /// Why no session is opened for such a need, where the BMC has enough of ours for all that is
    /// known.
    pub(super) fn waits_for_room(&self, need: Need, now: Instant) -> Option<String> {
        let room = self.session.room_at(need, now);
        room.filter(|_| self.is_closed())?;
        let sessions = counted(self.session.left_behind(now), "session");
        Some(format!(
            "{sessions} of ours may still be open at the BMC, given up without an answer; the next log-in waits until there is room"
        ))
    }

    /// Whether nothing is under way any more, after [`Bmc::stop`].
    pub fn is_quiet(&self) -> bool {
        self.current.is_none() && self.is_closed()
    }

    /// When the session that nobody uses is kept alive or closed.
    pub(super) fn upkeep_at(&self) -> Instant {
        match (self.quits.is_some(), self.wanted) {
            (true, _) => self.used_at,
            (false, true) => self.used_at + self.keepalive_after,
            (false, false) => self
                .close_at()
                .min(self.said_at() + self.kept_for_certain()),
        }
    }

    /// When a session that nobody wants is closed.
    fn close_at(&self) -> Instant {
        self.used_at + self.settings.care.idle_close
    }

    /// When something was said in the session last, be it only to keep it.
    fn said_at(&self) -> Instant {
        let spoken = self.pace.spoken_at();
        spoken.map_or(self.used_at, |at| at.max(self.used_at))
    }

    /// How long a BMC surely keeps a session that is unused (60 s, IPMI v2.0 rev 1.1 §6.12.15). Half
    /// as often as while a task runs: nothing but a log-in is lost where it is wrong.
    fn kept_for_certain(&self) -> Duration {
        self.settings.care.keepalive * 2
    }

    /// Keeps an unused session alive while it is wanted or its time has not come, and closes it then.
    pub(super) fn upkeep(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if !self.is_open() || !self.is_idle() || now < self.upkeep_at() {
            return;
        }
        self.cancel_inquiry();
        if self.quits.is_some() || !self.wanted && now >= self.close_at() {
            self.session.close(now, entropy);
            return;
        }
        if self.wanted {
            self.used_at = now;
            self.keepalive_after = jittered(self.settings.care.keepalive, entropy);
        }
        self.keep_alive(now);
    }

    /// Asks something harmless. The pace is not asked: the BMC drops a session that is unused too
    /// long.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        self.pace.take(Turn::Acting, now);
        let request = self.session.request(translate::keepalive(), now);
        self.keepalive = Some((request, now));
    }

    /// Opens the session, when the pace of log-ins allows it.
    pub(super) fn log_in(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let turn = self.queue.iter().map(Job::turn).min();
        let turn = turn.unwrap_or(Turn::Aside);
        if !self.is_closed() || self.pace.take_log_in(turn, now) {
            self.session.open(now, entropy);
        } else {
            self.log_in_at = Some(self.pace.log_in_at(turn));
        }
    }

    /// The BMC fell silent, or its session is gone: perhaps because it was asked too much.
    pub(super) fn fell_over(&mut self, what: &str, now: Instant) {
        if self.pace.fell_over(now < self.grace_until, now) {
            self.note(
                now,
                format!("{what} after a burst of commands: half as many from now on"),
            );
        }
    }
}

/// Within 5 s of `duration` on either side, or a fifth of it where that is less.
pub(super) fn jittered(duration: Duration, entropy: &mut dyn Entropy) -> Duration {
    let spread = duration.as_millis() as u64 / 5;
    duration - Duration::from_millis(spread) + Duration::from_millis(entropy.below(2 * spread + 1))
}
