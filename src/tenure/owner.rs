//! Owning the rack: signs of life, the permit that follows from them, and giving up.
//!
//! A write of the owner compares its fence. One that was taken gives a permit from the moment
//! *before it was sent*; one that was not answered gives none, whether it arrives later or not. One
//! that was refused because the fence is another says that the tenure is over.

use super::commits::Commits;
use super::keys::{self, Beat, Own, Released, TrailEnd};
use super::standby::Standby;
use super::{Asked, Event, MARGIN, Phase, Post, RETRY, Tenure, one, revision};
use crate::etcd::{Answer, Change, Compare, Entry, Op, Request, Revision, Span, Trouble, Txn};
use crate::time::{Instant, WallTime};
use std::time::Duration;
use uuid::Uuid;

/// See the head of this file.
pub(super) struct Owner {
    pub(super) own: Own,
    pub(super) fence: Revision,
    /// When the last write was sent that is known to have been taken.
    pub(super) confirmed: Instant,
    /// What changes machines may leave until then.
    until: Instant,
    /// Nobody can say whether the rack is still ours.
    dark: bool,
    beats: u64,
    /// Whether a sign of life is under way, and when the next is wanted.
    beating: bool,
    beat_at: Instant,
    /// Not before this is one tried again that was not taken.
    beat_rests: Instant,
    pub(super) commits: Commits,
    releasing: Option<Releasing>,
}

/// The rack is being given up.
struct Releasing {
    to: Option<String>,
    /// Whether that was said to etcd.
    under_way: bool,
    again_at: Instant,
}

impl Owner {
    pub(super) fn new(
        own: Own,
        fence: Revision,
        head: Option<Vec<u8>>,
        ticket: u64,
        sent: Instant,
        tenure: Duration,
    ) -> Self {
        Self {
            own,
            fence,
            confirmed: sent,
            until: sent + permit(tenure),
            dark: false,
            beats: 1,
            beating: false,
            beat_at: sent + tenure / 3,
            beat_rests: sent,
            commits: Commits::new(fence, head, ticket),
            releasing: None,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.releasing, self.dark) {
            (Some(_), _) => Phase::Releasing,
            (None, true) => Phase::Dark,
            (None, false) => Phase::Owner,
        }
    }

    pub(super) fn beat_soon(&mut self, now: Instant) {
        self.beat_at = self.beat_at.min(now.max(self.beat_rests));
    }

    pub(super) fn begin_release(&mut self, to: Option<String>) {
        self.releasing.get_or_insert(Releasing {
            to,
            under_way: false,
            again_at: Instant::START,
        });
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let beat = (!self.beating && self.releasing.is_none()).then_some(self.beat_at);
        let dark = (!self.dark).then_some(self.until + MARGIN);
        let release = self.releasing.as_ref();
        let release = release.filter(|releasing| !releasing.under_way && self.commits.is_idle());
        let release = release.map(|releasing| releasing.again_at);
        let due = [beat, dark, self.commits.next(), release];
        due.into_iter().flatten().min()
    }

    /// The next sign of life, in words.
    pub(super) fn next_beat(
        &mut self,
        wall: WallTime,
        trail: Option<TrailEnd>,
        now: Instant,
    ) -> Vec<u8> {
        let count = self.beats;
        self.beats += 1;
        let at = now.since_start();
        keys::bytes(&Beat {
            count,
            wall,
            at,
            trail,
        })
    }
}

/// How long a write that was taken permits what changes machines.
pub(super) fn permit(tenure: Duration) -> Duration {
    tenure.saturating_sub(MARGIN)
}

impl Tenure {
    /// What an owner does when the time has come.
    pub(super) fn rule_on(&mut self, now: Instant) {
        self.write_on(now);
        self.beat_on(now);
        self.release_on(now);
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        if !owner.dark && owner.until + MARGIN <= now {
            owner.dark = true;
            self.events.push_back(Event::Dark);
        }
    }

    fn beat_on(&mut self, now: Instant) {
        let (wall, trail) = (self.wall(now), self.trail.clone());
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        if owner.beating || owner.releasing.is_some() || owner.beat_at > now {
            return;
        }
        owner.beating = true;
        let (fence, beat) = (owner.fence, owner.next_beat(wall, trail, now));
        let request = Request::Txn(Txn {
            compare: vec![Compare::Revision(self.keys.own(), fence)],
            success: vec![Op::Put(self.keys.beat(), beat)],
            failure: vec![Op::Range(Span::Key(self.keys.own()))],
        });
        self.ask(Asked::Beat(fence), request, now);
    }

    pub(super) fn beaten(&mut self, answer: Result<Answer, Trouble>, sent: Instant, now: Instant) {
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        owner.beating = false;
        match answer {
            Ok(Answer::Txn {
                succeeded: true, ..
            }) => self.confirmed(sent, now),
            Ok(Answer::Txn { found, .. }) => self.lost(&found, now),
            Ok(_) | Err(_) => {
                let again = (sent + RETRY).max(now);
                owner.beat_rests = again;
                owner.beat_at = owner.beat_at.max(again);
            }
        }
        self.go_on(now);
    }

    /// A write that was sent then is known to have been taken.
    pub(super) fn confirmed(&mut self, sent: Instant, now: Instant) {
        let tenure = self.settings.tenure;
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        owner.confirmed = owner.confirmed.max(sent);
        owner.beat_at = owner.confirmed + tenure / 3;
        let until = owner.confirmed + permit(tenure);
        if owner.releasing.is_none() && until > owner.until {
            owner.until = until;
            if until + MARGIN > now {
                owner.dark = false;
                self.events.push_back(Event::Until(until));
            }
        }
        self.pin_commits(false, now);
    }

    fn release_on(&mut self, now: Instant) {
        let Post::Owner(owner) = &mut self.post else {
            return;
        };
        let idle = owner.commits.is_idle();
        let Some(releasing) = owner.releasing.as_mut().filter(|_| idle) else {
            return;
        };
        if releasing.under_way || releasing.again_at > now {
            return;
        }
        releasing.under_way = true;
        let fence = owner.fence;
        let released = Own {
            released: Some(Released {
                to: releasing.to.clone(),
            }),
            ..owner.own.clone()
        };
        let request = Request::Txn(Txn {
            compare: vec![Compare::Revision(self.keys.own(), fence)],
            success: vec![Op::Put(self.keys.own(), keys::bytes(&released))],
            failure: vec![Op::Range(Span::Key(self.keys.own()))],
        });
        self.ask(Asked::Release(fence), request, now);
    }

    /// What came of giving up.
    pub(super) fn let_go(&mut self, answer: Result<Answer, Trouble>, now: Instant) {
        match answer {
            Ok(Answer::Txn {
                succeeded: true, ..
            }) => self.released(now),
            Ok(Answer::Txn { found, .. }) => self.lost(&found, now),
            Ok(_) | Err(_) => {
                if let Post::Owner(owner) = &mut self.post
                    && let Some(releasing) = &mut owner.releasing
                {
                    releasing.under_way = false;
                    releasing.again_at = now + RETRY;
                }
            }
        }
        self.go_on(now);
    }

    fn released(&mut self, now: Instant) {
        if let Post::Owner(owner) = &self.post {
            let tenure = owner.own.tenure;
            self.leave_post(tenure, Standby::after_release(tenure, now));
            self.pin_commits(true, now);
            self.events.push_back(Event::Released);
        }
    }

    /// A write was refused because the fence is another: somebody else has the rack, or an earlier
    /// try to give it up was taken.
    pub(super) fn lost(&mut self, found: &[Vec<Entry>], now: Instant) {
        let Post::Owner(owner) = &self.post else {
            return;
        };
        let own = found.first().map_or(&[][..], |own| own);
        let (theirs, at) = (one::<Own>(own).map(|(own, _)| own), revision(own));
        let same = theirs.as_ref().filter(|own| own.tenure == owner.own.tenure);
        match same {
            Some(own) if own.released.is_some() && owner.releasing.is_some() => self.released(now),
            _ if at == owner.fence => {
                self.depose(None, "its own writes do not fit".to_owned(), now)
            }
            _ => {
                let why = match &theirs {
                    Some(own) => format!("host {} owns the rack", own.host),
                    None => "nobody is written down as the owner any more".to_owned(),
                };
                self.depose(theirs, why, now);
            }
        }
    }

    /// The tenure is over.
    pub(super) fn depose(&mut self, by: Option<Own>, why: String, now: Instant) {
        if let Post::Owner(owner) = &self.post {
            log::error!("this host owns the rack no more: {why}");
            self.leave_post(owner.own.tenure, Standby::new(now));
            self.events.push_back(Event::Deposed { by, why });
        }
    }

    /// This tenure is over for good: what is still asked in it is nobody's any more.
    fn leave_post(&mut self, tenure: Uuid, standby: Standby) {
        self.made.remove(&tenure);
        self.asked.clear();
        self.requests.clear();
        self.post = Post::Standby(Box::new(standby));
    }

    /// A key changed while this host has the rack.
    pub(super) fn own_changed(&mut self, change: &Change, now: Instant) {
        let (own, wish) = (self.keys.own(), self.keys.wish());
        let Post::Owner(owner) = &self.post else {
            return;
        };
        match change {
            Change::Put(entry) if entry.key == own && entry.revision > owner.fence => {
                self.lost(&[vec![entry.clone()]], now);
            }
            Change::Deleted(key, at) if *key == own && *at > owner.fence => {
                self.lost(&[Vec::new()], now);
            }
            Change::Put(entry) if entry.key == wish => {
                if let Ok(host) = String::from_utf8(entry.value.clone()) {
                    self.events.push_back(Event::Wished(host));
                }
            }
            Change::Put(_) | Change::Deleted(..) => {}
        }
        self.go_on(now);
    }
}
