//! Waiting for the rack, and claiming it.
//!
//! The owner's silence counts from the moment at which its last write was *seen*, which is later
//! than that at which it was made; and only while this host itself hears etcd. A claim compares the
//! owner and its last sign of life with what was seen: a write that this host does not know of
//! makes the claim fail, whatever the reason.

use super::formats::{self, Formats};
use super::keys::{self, Beat, Head, Own, TrailEnd};
use super::owner::{Owner, permit};
use super::{Asked, Begun, Cause, DEAF, Event, Phase, Post, RETRY, Tenure, one, revision};
use crate::etcd::{Answer, Change, Compare, Entry, Op, Request, Revision, Span, Trouble, Txn};
use crate::time::{Instant, WallTime};
use std::time::Duration;
use uuid::Uuid;

/// See the head of this file.
pub(super) struct Standby {
    /// What was read of the rack; nothing before the first answer.
    seen: Option<Seen>,
    /// When etcd answered last.
    heard: Option<Instant>,
    /// When to read again.
    look_at: Instant,
    /// Whether a read is under way.
    looking: bool,
    /// The claim under way.
    claiming: Option<Claiming>,
    /// Not before this is a claim made that etcd has refused to take.
    claim_at: Instant,
    /// Etcd was not heard when a claim could have been made: it is not waited for a time, but for
    /// an answer.
    deaf: bool,
    /// The tenure that this host has given up: it leaves the rack to others for a while.
    gave_up: Option<Uuid>,
}

/// What was read of the rack.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    own: Option<Own>,
    own_at: Revision,
    beat_at: Revision,
    /// The owner's last sign of life, where it can be read.
    beat: Option<Beat>,
    /// The rack's id, where it has one.
    rack: Option<Uuid>,
    /// When this was seen first; or when etcd was heard again after a while.
    since: Instant,
    /// Whether it was seen as it changed. What was there when this host began to look may be of any
    /// age.
    live: bool,
}

/// A claim, and what it compares: the same at every try, so that it is taken once at most.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Claiming {
    own: Own,
    request: Request,
    cause: Cause,
    former: Former,
    /// When it is tried again, where that try was not answered.
    again_at: Option<Instant>,
    /// When the last answer came, or it was begun.
    since: Instant,
}

/// What is known of who had the rack before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Former {
    /// What its calendar said at its last sign of life, and when that was.
    sign: Option<(WallTime, Instant)>,
    trail: Option<TrailEnd>,
}

impl Standby {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            seen: None,
            heard: None,
            look_at: now,
            looking: false,
            claiming: None,
            claim_at: now,
            deaf: false,
            gave_up: None,
        }
    }

    /// One that has given the rack up.
    pub(super) fn after_release(tenure: Uuid, now: Instant) -> Self {
        Self {
            gave_up: Some(tenure),
            ..Self::new(now)
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.claiming, &self.seen) {
            (Some(_), _) => Phase::Claiming,
            (None, Some(_)) => Phase::Standby,
            (None, None) => Phase::Looking,
        }
    }

    pub(super) fn owner(&self) -> Option<&Own> {
        self.seen.as_ref()?.own.as_ref()
    }

    pub(super) fn fence(&self) -> Option<Revision> {
        let seen = self.seen.as_ref()?;
        seen.own.as_ref().map(|_| seen.own_at)
    }

    /// When the owner was seen to be alive last.
    pub(super) fn last_sign(&self) -> Option<Instant> {
        self.seen.as_ref().map(|seen| seen.since)
    }

    pub(super) fn heard(&self) -> Option<Instant> {
        self.heard
    }

    pub(super) fn look_soon(&mut self, now: Instant) {
        self.look_at = self.look_at.min(now);
    }

    /// Etcd was heard. After a while of not hearing it, what is seen counts as seen just now.
    fn hear(&mut self, now: Instant) {
        let deaf = self.heard.is_none_or(|heard| now - heard > DEAF);
        if let Some(seen) = self.seen.as_mut().filter(|_| deaf) {
            seen.since = now;
        }
        self.heard = Some(now);
        self.deaf = false;
    }

    fn hears(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now - heard <= DEAF)
    }

    /// When something is due.
    pub(super) fn next(&self, tenure: &Tenure) -> Instant {
        let look = (!self.looking).then_some(self.look_at);
        let claim = match &self.claiming {
            Some(claiming) => claiming.again_at,
            None if self.deaf => None,
            None => tenure.may_claim(self).map(|(at, _)| at),
        };
        let far = self.look_at + FAR;
        look.into_iter().chain(claim).min().unwrap_or(far)
    }
}

impl Tenure {
    /// What a standby does when the time has come.
    pub(super) fn wait_on(&mut self, now: Instant) {
        let Post::Standby(standby) = &mut self.post else {
            return;
        };
        if let Some(claiming) = &mut standby.claiming
            && claiming.again_at.is_some_and(|at| at <= now)
        {
            // Deaf for too long: whatever becomes of it will be seen.
            if now - claiming.since > DEAF {
                standby.claiming = None;
                standby.look_soon(now);
            } else {
                claiming.again_at = None;
                let (tenure, request) = (claiming.own.tenure, claiming.request.clone());
                self.ask(Asked::Claim(tenure), request, now);
                return;
            }
        }
        if !standby.looking && standby.look_at <= now {
            standby.looking = true;
            let request = self.look();
            self.ask(Asked::Look, request, now);
        }
        self.consider(now);
    }

    /// One read of all that a standby wants to know.
    fn look(&self) -> Request {
        let keys = &self.keys;
        let reads = [keys.own(), keys.beat(), keys.head(), keys.name()];
        Request::Txn(Txn {
            success: reads.map(|key| Op::Range(Span::Key(key))).to_vec(),
            ..Txn::default()
        })
    }

    pub(super) fn looked(&mut self, answer: Result<Answer, Trouble>, now: Instant) {
        let Post::Standby(standby) = &mut self.post else {
            return;
        };
        standby.looking = false;
        standby.look_at = now + RETRY;
        if let Ok(Answer::Txn { header, found, .. }) = answer
            && let [own, beat, head, name] = &found[..]
        {
            let near = standby.see(own, beat, name, now);
            standby.look_at = now + if near { LOOK_NEAR } else { LOOK };
            self.note_head(header.revision, head, name);
            self.adopt_if_ours(now);
        }
        self.consider(now);
    }

    /// What etcd has of commits, and of the rack's id.
    fn note_head(&mut self, at: Revision, head: &[Entry], name: &[Entry]) {
        // An answer that was overtaken tells nothing.
        if at >= self.latest.0 {
            let head = one::<Head>(head).map(|(head, _)| head);
            let rack = one::<Uuid>(name).map(|(rack, _)| rack);
            self.check_head(head, rack);
        }
    }

    /// A key changed while this host stands by.
    pub(super) fn saw_change(&mut self, change: &Change, now: Instant) {
        let (own, beat) = (self.keys.own(), self.keys.beat());
        let Post::Standby(standby) = &mut self.post else {
            return;
        };
        match change {
            Change::Put(entry) if entry.key == beat => {
                standby.hear(now);
                if let Some(seen) = &mut standby.seen
                    && entry.revision > seen.beat_at
                {
                    (seen.beat_at, seen.since, seen.live) = (entry.revision, now, true);
                    seen.beat = keys::read_short(&entry.value).or(seen.beat.take());
                    standby.look_at = now + LOOK;
                }
            }
            Change::Put(entry) if entry.key == own => {
                standby.hear(now);
                let newer = |seen: &Seen| entry.revision > seen.own_at;
                if let Some(seen) = standby.seen.as_mut().filter(|seen| newer(seen)) {
                    (seen.own_at, seen.since, seen.live) = (entry.revision, now, true);
                    // A claim writes a sign of life with it; giving up does not. What it was is
                    // read.
                    seen.own = keys::read_short(&entry.value);
                    standby.look_soon(now);
                }
                self.adopt_if_ours(now);
            }
            // Somebody has made room by hand.
            Change::Deleted(key, _) if *key == own || *key == beat => standby.look_soon(now),
            Change::Put(_) | Change::Deleted(..) => {}
        }
        self.go_on(now);
    }

    /// From when on a claim may be made, and why.
    fn may_claim(&self, standby: &Standby) -> Option<(Instant, Cause)> {
        let seen = standby.seen.as_ref()?;
        if self.unfit().is_some() || standby.claiming.is_some() {
            return None;
        }
        let me = &self.me;
        let (at, cause) = match &seen.own {
            // It cannot be read, or there is none: the revision tells which.
            None if seen.own_at == 0 => (seen.since, Cause::First),
            None => (seen.since + self.settings.tenure, Cause::Silence),
            Some(own) => match &own.released {
                Some(released) => {
                    let wished = released.to.as_ref().is_none_or(|to| *to == me.host);
                    let at_once = wished && standby.gave_up != Some(own.tenure);
                    let wait = if at_once { Duration::ZERO } else { COURTESY };
                    (seen.since + wait, Cause::Released)
                }
                None if self.was_mine(own) => (seen.since, Cause::Restart),
                // What it may do without a word of etcd lasts as long as *its* time says.
                None => {
                    let theirs = own.patience.unwrap_or_default();
                    let patience = self.settings.tenure.max(theirs);
                    (seen.since + patience, Cause::Silence)
                }
            },
        };
        Some((at.max(standby.claim_at), cause))
    }

    /// Whether a former life of this very host had that tenure: it does not live any more, for its
    /// state directory is ours.
    fn was_mine(&self, own: &Own) -> bool {
        let me = &self.me;
        own.host_id == me.host_id && own.boot.is_some() && own.boot == me.boot
    }

    /// Claims the rack where that may be done now.
    pub(super) fn consider(&mut self, now: Instant) {
        let Post::Standby(standby) = &self.post else {
            return;
        };
        let (hears, seen) = (standby.hears(now), standby.seen.clone());
        let due = self.may_claim(standby).filter(|(at, _)| *at <= now);
        let (Some((_, cause)), Some(seen)) = (due, seen) else {
            return;
        };
        if !hears {
            if let Post::Standby(standby) = &mut self.post {
                standby.deaf = true;
            }
            return;
        }
        let own = Own {
            tenure: self.random_id(),
            host: self.me.host.clone(),
            host_id: self.me.host_id,
            boot: self.me.boot,
            url: self.me.url.clone(),
            since: self.wall(now),
            version: self.me.version.clone(),
            format: self.me.format,
            patience: Some(self.settings.tenure),
            released: None,
        };
        let request = self.claim(&own, &seen, now);
        let wall = self.wall(now);
        let sign = seen.beat.as_ref().map(|beat| {
            let then = match (cause, seen.live) {
                // A former life of this host had our clock.
                (Cause::Restart, _) => Instant::after_start(beat.at),
                (_, true) => seen.since,
                // Only the calendars tell. Where they are apart, tasks wait for a person rather
                // than begin too late.
                (_, false) => seen.since.min(now.before(wall.since(beat.wall))),
            };
            (beat.wall, then)
        });
        let trail = seen.beat.and_then(|beat| beat.trail);
        let former = Former { sign, trail };
        self.made.insert(own.tenure, former.clone());
        let tenure = own.tenure;
        let Post::Standby(standby) = &mut self.post else {
            return;
        };
        standby.claiming = Some(Claiming {
            own,
            request: request.clone(),
            cause,
            former,
            again_at: None,
            since: now,
        });
        self.ask(Asked::Claim(tenure), request, now);
    }

    /// The claim, and with it a read of the journal as it is then.
    fn claim(&mut self, own: &Own, seen: &Seen, now: Instant) -> Request {
        let rack = match seen.rack {
            Some(_) => None,
            None => Some(self.pinned.rack.unwrap_or_else(|| self.random_id())),
        };
        let keys = &self.keys;
        let mut compare = vec![
            Compare::Revision(keys.own(), seen.own_at),
            Compare::Revision(keys.beat(), seen.beat_at),
        ];
        let mut success = vec![
            Op::Put(keys.own(), keys::bytes(own)),
            Op::Put(keys.beat(), self.first_beat(now)),
        ];
        if let Some(rack) = rack {
            compare.push(Compare::Revision(keys.name(), 0));
            success.push(Op::Put(keys.name(), keys::bytes(&rack)));
        }
        success.extend(self.load());
        let reads = [keys.own(), keys.beat(), keys.head(), keys.name()];
        Request::Txn(Txn {
            compare,
            success,
            failure: reads.map(|key| Op::Range(Span::Key(key))).to_vec(),
        })
    }

    fn first_beat(&self, now: Instant) -> Vec<u8> {
        keys::bytes(&Beat {
            count: 0,
            wall: self.wall(now),
            at: now.since_start(),
            trail: self.trail.clone(),
        })
    }

    /// The last commit, the rack's id, and the whole journal with its formats.
    fn load(&self) -> [Op; 4] {
        [
            Op::Range(Span::Key(self.keys.head())),
            Op::Range(Span::Key(self.keys.name())),
            Op::Range(Span::Key(self.keys.formats())),
            Op::Range(Span::Prefix(self.keys.journal())),
        ]
    }

    pub(super) fn claimed(
        &mut self,
        tenure: Uuid,
        answer: Result<Answer, Trouble>,
        sent: Instant,
        now: Instant,
    ) {
        let Post::Standby(standby) = &mut self.post else {
            return;
        };
        let tenure_time = self.settings.tenure;
        let Some(claiming) = standby
            .claiming
            .as_mut()
            .filter(|claiming| claiming.own.tenure == tenure)
        else {
            return;
        };
        match answer {
            // Heard too late: another host may have the rack by now. What became of it will be
            // seen.
            Ok(Answer::Txn {
                succeeded: true, ..
            }) if sent + permit(tenure_time) <= now => {
                standby.claiming = None;
                standby.look_soon(now);
            }
            Ok(Answer::Txn {
                header,
                succeeded: true,
                found,
            }) => {
                let Claiming {
                    own, cause, former, ..
                } = claiming.clone();
                let of = (cause, former);
                self.begin(own, header.revision, &found, of, sent, now);
            }
            Ok(Answer::Txn { header, found, .. }) => {
                standby.claiming = None;
                if let [own, beat, head, name] = &found[..] {
                    standby.see(own, beat, name, now);
                    self.note_head(header.revision, head, name);
                }
                self.adopt_if_ours(now);
                self.consider(now);
            }
            Err(trouble) if trouble.is_refusal() => {
                // An earlier try may still be on its way: it is known by its tenure.
                log::warn!("the rack cannot be claimed: {trouble}");
                standby.claiming = None;
                standby.claim_at = now + REFUSED;
            }
            Ok(_) | Err(_) => claiming.again_at = Some((sent + RETRY).max(now)),
        }
        self.go_on(now);
    }

    /// A claim of this host was carried out after its answer had been given up: the tenure has
    /// begun, and what belongs to it is read.
    fn adopt_if_ours(&mut self, now: Instant) {
        let Post::Standby(standby) = &self.post else {
            return;
        };
        let Some(seen) = &standby.seen else { return };
        let Some(own) = seen.own.as_ref().filter(|own| own.released.is_none()) else {
            return;
        };
        let (tenure, fence) = (own.tenure, seen.own_at);
        // The answer to the claim itself says the same, where it is still waited for.
        let told = [Asked::Claim(tenure), Asked::Adopt(tenure, fence)];
        let under_way = self.asked.values().any(|(asked, _)| told.contains(asked));
        if under_way || !self.made.contains_key(&tenure) || self.unfit().is_some() {
            return;
        }
        let mut success = vec![Op::Put(self.keys.beat(), self.first_beat(now))];
        success.extend(self.load());
        let request = Request::Txn(Txn {
            compare: vec![Compare::Revision(self.keys.own(), fence)],
            success,
            failure: Vec::new(),
        });
        self.ask(Asked::Adopt(tenure, fence), request, now);
    }

    pub(super) fn adopted(
        &mut self,
        tenure: Uuid,
        fence: Revision,
        answer: Result<Answer, Trouble>,
        sent: Instant,
        now: Instant,
    ) {
        let Post::Standby(standby) = &mut self.post else {
            return;
        };
        let own = standby.seen.as_ref().and_then(|seen| seen.own.clone());
        let tenure_time = self.settings.tenure;
        match (answer, own) {
            (
                Ok(Answer::Txn {
                    succeeded: true,
                    found,
                    ..
                }),
                Some(own),
            ) if own.tenure == tenure && sent + permit(tenure_time) > now => {
                // Nobody waited for the former owner in vain: the claim that was taken had waited.
                let former = self.made.get(&tenure).cloned().unwrap_or_default();
                self.begin(own, fence, &found, (Cause::Silence, former), sent, now);
            }
            _ => standby.look_soon(now),
        }
        self.go_on(now);
    }

    /// The rack is ours.
    fn begin(
        &mut self,
        own: Own,
        fence: Revision,
        found: &[Vec<Entry>],
        (cause, former): (Cause, Former),
        sent: Instant,
        now: Instant,
    ) {
        let [head, name, formats, journal] = found else {
            return;
        };
        let formats = one::<Formats>(formats).map_or_else(Formats::default, |(known, _)| known);
        let ours = self.me.format;
        let brought = formats::bring(&self.keys, journal, &formats, ours);
        // One that cannot be read is compared as it is all the same.
        let last = head.first().map(|entry| entry.value.clone());
        let head = one::<Head>(head).map(|(head, _)| head);
        let rack = one::<Uuid>(name).map(|(rack, _)| rack);
        self.check_head(head, rack.or(self.pinned.rack));
        let tenure = self.settings.tenure;
        let until = sent + permit(tenure);
        log::info!("this host owns the rack: tenure {fence}, {}", cause.word());
        let ticket = head.map_or(0, |head| head.ticket);
        let mut owner = Owner::new(own, fence, last, ticket, sent, tenure);
        if formats != Formats::all(ours) {
            owner.commits.bring(brought.changed, &formats, ours, now);
        }
        self.asked.clear();
        self.post = Post::Owner(Box::new(owner));
        self.events.push_back(Event::Own(Box::new(Begun {
            fence,
            cause,
            remembered: brought.entries,
            at: now,
            until,
            last_sign: former.sign.map(|(wall, then)| (wall, now - then)),
            trail: former.trail,
        })));
    }
}

impl Standby {
    /// What was read of the rack now; whether a claim may be near.
    fn see(&mut self, own: &[Entry], beat: &[Entry], name: &[Entry], now: Instant) -> bool {
        self.hear(now);
        let (own_at, beat_at) = (revision(own), revision(beat));
        let rack = one::<Uuid>(name).map(|(rack, _)| rack);
        let fresh = Seen {
            own: one::<Own>(own).map(|(own, _)| own),
            own_at,
            beat_at,
            beat: one::<Beat>(beat).map(|(beat, _)| beat),
            rack,
            since: now,
            live: self.seen.is_some(),
        };
        match &mut self.seen {
            // Overtaken by a later answer, or by the watch.
            Some(seen) if own_at.max(beat_at) < seen.own_at.max(seen.beat_at) && own_at != 0 => {}
            Some(seen) if (seen.own_at, seen.beat_at) == (own_at, beat_at) => seen.rack = rack,
            seen => *seen = Some(fresh),
        }
        self.seen
            .as_ref()
            .is_some_and(|seen| now - seen.since >= LOOK)
    }
}

/// A standby reads so long after the last sign of life, and so often while a claim is near.
const LOOK: Duration = Duration::from_secs(2);
const LOOK_NEAR: Duration = Duration::from_secs(1);
/// Where nothing is due.
const FAR: Duration = Duration::from_secs(3600);
/// So long a rack that was given up is left to the host that was wished for, and by the one that
/// gave it up to all others.
const COURTESY: Duration = Duration::from_secs(5);
/// After etcd has refused a claim.
const REFUSED: Duration = Duration::from_secs(1);
