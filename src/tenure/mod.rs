//! Which of a rack's hosts may change its machines: the state machine of one host, over etcd.
//!
//! At most one host owns the rack. Its tenure begins with a claim and has a fence, the revision of
//! the key `own` that the claim wrote; every later write of it compares that, so that nothing of a
//! former owner is taken after the next claim. Each commit of the journal names the one before it
//! (`head`) as well, so that one that was delayed somewhere cannot be carried out late. Both rest
//! on order alone, and on no clock.
//!
//! Time comes in twice. A standby claims when it has seen no write of the owner for the tenure
//! time; and each write of the owner that is known to have been taken gives a permit until the
//! tenure time after it was *sent*, less a margin. Nothing that is read or promised gives one.
//!
//! Driven by the shell, or by a test's world: give it one input (`handle_*`, `commit`, `release`),
//! then drain first [`Tenure::poll_event`], so that a permit has ended before a release is sent,
//! then [`Tenure::poll_request`]. Every request gets one `handle_answer`, at the latest when the
//! shell's patience with it is over; a request that nobody answered may still be carried out.
//!
//! | file | subject |
//! | --- | --- |
//! | `keys` | what is written down in etcd |
//! | `standby` | waiting, and claiming |
//! | `owner` | beats, and the permit that follows from them; giving up |
//! | `commits` | the journal, one commit at a time |
//! | `formats` | what older versions have written, and how far it was brought to the format of now |

mod commits;
mod formats;
pub mod keys;
mod owner;
mod standby;

use crate::entropy::Entropy;
use crate::etcd::{self, Answer, Entry, Request, Revision, Trouble};
use crate::rack::record::{Table, Write};
use crate::time::{Instant, WallTime};
use formats::Formats;
use keys::{Head, Keys, Own, TrailEnd};
use owner::Owner;
use standby::{Former, Standby};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

/// This host, as it names itself to the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Me {
    pub host: String,
    /// Its installation: made once, kept on its disk.
    pub host_id: Uuid,
    /// The boot of its machine, where that is known.
    pub boot: Option<Uuid>,
    /// Where its API is.
    pub url: Option<String>,
    /// The program's version.
    pub version: String,
    /// The newest format of the journal that it knows, and the one that it writes.
    pub format: u64,
}

/// What holds for all hosts of the rack, and what this one remembers of etcd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The prefix of all keys.
    pub prefix: String,
    /// The rack's name.
    pub rack: String,
    /// After so long a silence of the owner a standby may claim.
    pub tenure: Duration,
    /// What this host has seen in earlier lives.
    pub pinned: Pinned,
}

/// What a host has seen in etcd and keeps on its disk, so that it notices another etcd, or an older
/// one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pinned {
    pub cluster: Option<u64>,
    /// The rack's id there.
    pub rack: Option<Uuid>,
    /// How many commits there were.
    pub ticket: u64,
}

/// Names a request for its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// What comes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// This host owns the rack from now on.
    Own(Box<Begun>),
    /// What changes machines may leave until then; it ends the dark, too.
    Until(Instant),
    /// All tickets up to this one are durable.
    Committed(u64),
    /// All tickets that are not durable, up to this one, are certainly not there.
    Failed {
        /// The last of them.
        ticket: u64,
        /// Why, to show to an operator.
        reason: String,
    },
    /// It is not known whether the tickets up to this one are there. It is tried on.
    Waiting {
        /// The last of them.
        ticket: u64,
        /// Why, to show to an operator.
        reason: String,
    },
    /// Another host may own the rack by now, and nobody can say so: nothing at all is sent to the
    /// machines.
    Dark,
    /// This host does not own the rack any more.
    Deposed {
        /// Who does, where that is known.
        by: Option<Own>,
        why: String,
    },
    /// The rack was given up, and nothing of it is outstanding.
    Released,
    /// This shall be kept on the disk.
    Pin(Pinned),
    /// Somebody wishes that this host owns the rack.
    Wished(String),
}

/// The beginning of a tenure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Begun {
    /// Its number: larger than those of all others before it.
    pub fence: Revision,
    /// How it came about.
    pub cause: Cause,
    /// The journal, exactly as it was when the rack was claimed.
    pub remembered: Vec<(Table, String, Vec<u8>)>,
    /// When that was known.
    pub at: Instant,
    /// What changes machines may leave until then.
    pub until: Instant,
    /// What the calendar of who had the rack before said at its last sign of life, and how long ago
    /// that is by our clock.
    pub last_sign: Option<(WallTime, Duration)>,
    /// How far the trail of who had the rack before had come by then.
    pub trail: Option<TrailEnd>,
}

/// How a tenure came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Nobody had the rack before.
    First,
    /// It was given up: nothing is outstanding.
    Released,
    /// A former life of this host had it.
    Restart,
    /// The owner was silent.
    Silence,
}

impl Cause {
    /// Whether datagrams of another host may still be on their way.
    pub fn is_clean(self) -> bool {
        match self {
            Self::First | Self::Released | Self::Restart => true,
            Self::Silence => false,
        }
    }

    /// One word, for people and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Released => "released",
            Self::Restart => "restart",
            Self::Silence => "silence",
        }
    }
}

/// How things stand, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing was heard of etcd yet, or nothing for a while.
    Looking,
    /// Another host has the rack, or nobody.
    Standby,
    /// A claim is under way.
    Claiming,
    /// The rack is ours.
    Owner,
    /// It is being given up.
    Releasing,
    /// It was ours, and nobody can say whether it still is.
    Dark,
}

/// See the head of this file.
pub struct Tenure {
    me: Me,
    settings: Settings,
    keys: Keys,
    entropy: Box<dyn Entropy + Send>,
    post: Post,
    /// Why this host must not have the rack.
    unfit: Option<String>,
    /// Why etcd is not the one that this host knows.
    strange: Option<String>,
    /// Why the last answer was not of the etcd that this host knows, where it was not.
    stranger: Option<String>,
    /// Whether the rack there is the one that this host's disk knows. Nothing before the first
    /// answer of this life.
    is_ours: Option<bool>,
    pinned: Pinned,
    /// How many commits were said to be kept, and when.
    pinned_last: (u64, Instant),
    /// The tenures that this life has tried to begin, for a claim may be carried out late; with
    /// what was known of the former owner then.
    made: BTreeMap<Uuid, Former>,
    /// How far the trail on this host's disk has come.
    trail: Option<TrailEnd>,
    asked: BTreeMap<RequestId, (Asked, Instant)>,
    next: u64,
    requests: VecDeque<(RequestId, Request)>,
    events: VecDeque<Event>,
    /// The newest revision that was heard of, and since when.
    latest: (Revision, Instant),
    calendar: (WallTime, Instant),
}

enum Post {
    Standby(Box<Standby>),
    Owner(Box<Owner>),
}

/// What a request is for. A tenure is named where an answer is for one only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Look,
    Claim(Uuid),
    Adopt(Uuid, Revision),
    Beat(Revision),
    Commit(Revision, u64),
    Release(Revision),
}

impl Tenure {
    /// A host that begins to live.
    pub fn new(
        me: Me,
        settings: Settings,
        entropy: Box<dyn Entropy + Send>,
        wall: WallTime,
        now: Instant,
    ) -> Self {
        Self {
            keys: Keys::new(&settings.prefix, &settings.rack),
            pinned: settings.pinned,
            pinned_last: (settings.pinned.ticket, now),
            me,
            settings,
            entropy,
            post: Post::Standby(Box::new(Standby::new(now))),
            unfit: None,
            strange: None,
            stranger: None,
            is_ours: None,
            made: BTreeMap::new(),
            trail: None,
            asked: BTreeMap::new(),
            next: 0,
            requests: VecDeque::new(),
            events: VecDeque::new(),
            latest: (0, now),
            calendar: (wall, now),
        }
    }

    /// The calendar says so.
    pub fn handle_wall(&mut self, wall: WallTime, now: Instant) {
        self.calendar = (wall, now);
    }

    /// The trail on this host's disk has come so far: it goes out with each sign of life.
    pub fn set_trail(&mut self, number: u64, hash: String) {
        let host = self.me.host.clone();
        self.trail = Some(TrailEnd { host, number, hash });
    }

    /// Whether this host could run the rack, or why not.
    pub fn set_fit(&mut self, fit: Result<(), String>, now: Instant) {
        self.unfit = fit.err();
        self.consider(now);
    }

    /// Why this host does not take the rack, where it would have to.
    pub fn unfit(&self) -> Option<String> {
        let known = self.stranger.clone().or_else(|| self.strange.clone());
        let known = known.or_else(|| self.too_new());
        known.or_else(|| self.unfit.clone())
    }

    /// Why this host must not go on: when it began, another rack had the name of its own.
    pub fn is_mistaken(&self) -> Option<&str> {
        let strange = self.strange.as_deref();
        strange.filter(|_| self.is_ours == Some(false))
    }

    /// The entries of the journal that were read, with what the key of their formats holds, in our
    /// own format.
    pub fn read_journal(
        &self,
        formats: &[Entry],
        journal: &[Entry],
    ) -> Vec<(Table, String, Vec<u8>)> {
        let formats = one::<Formats>(formats).map_or_else(Formats::default, |(known, _)| known);
        formats::bring(&self.keys, journal, &formats, self.me.format).entries
    }

    /// The owner writes the journal in a format that this program does not know: it is left alone,
    /// and never guessed at.
    pub fn too_new(&self) -> Option<String> {
        let own = self.owner()?;
        (own.format > self.me.format).then(|| {
            format!(
                "host {} (version {}) writes the journal in format {}, and this version knows formats up to {}: upgrade this host",
                own.host, own.version, own.format, self.me.format
            )
        })
    }

    /// How things stand.
    pub fn phase(&self) -> Phase {
        match &self.post {
            Post::Standby(standby) => standby.phase(),
            Post::Owner(owner) => owner.phase(),
        }
    }

    /// Who owned the rack when that was read last.
    pub fn owner(&self) -> Option<&Own> {
        match &self.post {
            Post::Standby(standby) => standby.owner(),
            Post::Owner(owner) => Some(&owner.own),
        }
    }

    /// The number of the tenure of [`Tenure::owner`].
    pub fn fence(&self) -> Option<Revision> {
        match &self.post {
            Post::Standby(standby) => standby.fence(),
            Post::Owner(owner) => Some(owner.fence),
        }
    }

    /// When etcd was heard last; for an owner, when the last of its writes was sent that was taken.
    pub fn heard(&self) -> Option<Instant> {
        match &self.post {
            Post::Standby(standby) => standby.heard(),
            Post::Owner(owner) => Some(owner.confirmed),
        }
    }

    /// When the owner's last sign of life was seen; of an owner, when the last one was sent that
    /// was taken.
    pub fn last_sign(&self) -> Option<Instant> {
        match &self.post {
            Post::Standby(standby) => standby.last_sign(),
            Post::Owner(owner) => Some(owner.confirmed),
        }
    }

    /// The keys whose changes this host wants to hear of.
    pub fn watched(&self) -> [String; 3] {
        [self.keys.own(), self.keys.beat(), self.keys.wish()]
    }

    /// Etcd answered, or did not.
    pub fn handle_answer(&mut self, id: RequestId, answer: Result<Answer, Trouble>, now: Instant) {
        let Some((asked, sent)) = self.asked.remove(&id) else {
            return;
        };
        let answer = answer.and_then(|answer| self.recognize(answer, sent, now));
        let ours = match &self.post {
            Post::Standby(_) => None,
            Post::Owner(owner) => Some(owner.fence),
        };
        match (ours, asked) {
            (None, Asked::Look) => self.looked(answer, now),
            (None, Asked::Claim(tenure)) => self.claimed(tenure, answer, sent, now),
            (None, Asked::Adopt(tenure, at)) => self.adopted(tenure, at, answer, sent, now),
            (Some(fence), Asked::Beat(of)) if of == fence => self.beaten(answer, sent, now),
            (Some(fence), Asked::Commit(of, number)) if of == fence => {
                self.committed(number, answer, sent, now);
            }
            (Some(fence), Asked::Release(of)) if of == fence => self.let_go(answer, now),
            // It was asked before this host had the rack, or when it had it.
            _ => {}
        }
    }

    /// A key changed that is watched.
    pub fn handle_change(&mut self, change: &etcd::Change, now: Instant) {
        match &mut self.post {
            Post::Standby(_) => self.saw_change(change, now),
            Post::Owner(_) => self.own_changed(change, now),
        }
    }

    /// Changes may have been missed.
    pub fn handle_unwatched(&mut self, now: Instant) {
        if let Post::Standby(standby) = &mut self.post {
            standby.look_soon(now);
            self.go_on(now);
        }
    }

    /// The time has come that [`Tenure::poll_timeout`] named, or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.go_on(now);
    }

    /// The changes of these tickets shall be durable. What stays on each host's own disk must not
    /// be among them.
    pub fn commit(&mut self, ticket: u64, writes: Vec<Write>, now: Instant) {
        if let Post::Owner(owner) = &mut self.post {
            owner.commits.add(ticket, writes);
            self.go_on(now);
        }
    }

    /// A sign of life is wanted now: something changing waits whose commit is not of this moment.
    pub fn confirm(&mut self, now: Instant) {
        if let Post::Owner(owner) = &mut self.post {
            owner.beat_soon(now);
            self.go_on(now);
        }
    }

    /// The rack is given up, once all that was given to [`Tenure::commit`] is known to be there.
    /// From now on nothing that changes machines leaves.
    pub fn release(&mut self, to: Option<String>, now: Instant) {
        if let Post::Owner(owner) = &mut self.post {
            owner.begin_release(to);
            self.events.push_back(Event::Until(now));
            self.go_on(now);
        }
    }

    /// What is to be asked of etcd next. Drain [`Tenure::poll_event`] first.
    pub fn poll_request(&mut self) -> Option<(RequestId, Request)> {
        self.requests.pop_front()
    }

    /// What came of the last inputs.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether [`Tenure::poll_event`] has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// When [`Tenure::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.post {
            Post::Standby(standby) => Some(standby.next(self)),
            Post::Owner(owner) => owner.next(),
        }
    }

    fn go_on(&mut self, now: Instant) {
        match &self.post {
            Post::Standby(_) => self.wait_on(now),
            Post::Owner(_) => self.rule_on(now),
        }
    }

    fn ask(&mut self, asked: Asked, request: Request, now: Instant) {
        let id = RequestId(self.next);
        self.next += 1;
        self.asked.insert(id, (asked, now));
        self.requests.push_back((id, request));
    }

    /// An answer counts where it is of the cluster that is known, as it was left.
    fn recognize(
        &mut self,
        answer: Answer,
        sent: Instant,
        now: Instant,
    ) -> Result<Answer, Trouble> {
        let Some(header) = answer.header() else {
            return Ok(answer);
        };
        let (latest, since) = self.latest;
        self.stranger = match self.pinned.cluster {
            Some(known) if known != header.cluster => Some(format!(
                "another cluster answers ({:x}) than the one that this host knows ({known:x})",
                header.cluster
            )),
            // What was asked after something was known sees that, too.
            Some(_) if header.revision < latest && sent > since => Some(format!(
                "etcd was put back from a copy: it is at revision {}, and was at {latest}",
                header.revision
            )),
            Some(_) | None => None,
        };
        if let Some(why) = &self.stranger {
            return Err(Trouble::Nonsense(why.clone()));
        }
        if header.revision > latest {
            self.latest = (header.revision, now);
        }
        if self.pinned.cluster.is_none() {
            self.pinned.cluster = Some(header.cluster);
            self.events.push_back(Event::Pin(self.pinned));
        }
        Ok(answer)
    }

    /// What is remembered of the rack must not be more than what etcd has: else it was put back
    /// from a copy.
    fn check_head(&mut self, head: Option<Head>, rack: Option<Uuid>) {
        let ticket = head.map_or(0, |head| head.ticket);
        let known = self.pinned;
        let same = known.rack.is_none() || rack.is_none() || known.rack == rack;
        self.is_ours.get_or_insert(same);
        self.strange = match (known.rack, rack) {
            (Some(ours), Some(theirs)) if ours != theirs => Some(format!(
                "the keys of rack {} belong to another rack of that name: give one of the two another name, or another prefix",
                self.settings.rack
            )),
            (Some(_), None) if known.ticket > 0 => {
                Some("nothing of the rack is in etcd any more, where its journal was".to_owned())
            }
            _ if ticket < known.ticket => Some(format!(
                "etcd was put back from a copy: it has {ticket} commits, and had {}",
                known.ticket
            )),
            _ => None,
        };
        if self.strange.is_none() && (ticket, rack) != (known.ticket, known.rack) {
            self.pinned.ticket = ticket;
            self.pinned.rack = rack.or(known.rack);
            self.events.push_back(Event::Pin(self.pinned));
        }
    }

    /// What an owner has committed is kept on its disk now and then, so that it notices an etcd
    /// that knows less.
    fn pin_commits(&mut self, at_once: bool, now: Instant) {
        let (ticket, at) = self.pinned_last;
        if self.pinned.ticket > ticket && (at_once || now >= at + PIN_EVERY) {
            self.pinned_last = (self.pinned.ticket, now);
            self.events.push_back(Event::Pin(self.pinned));
        }
    }

    fn wall(&self, now: Instant) -> WallTime {
        let (wall, at) = self.calendar;
        wall + (now - at)
    }

    fn random_id(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// The only entry of a read of one key, with its value, where that can be read.
fn one<T: serde::de::DeserializeOwned>(found: &[Entry]) -> Option<(T, Revision)> {
    let entry = found.first()?;
    Some((keys::read_short(&entry.value)?, entry.revision))
}

/// The revision of the only entry of a read of one key; 0 where it is not there.
fn revision(found: &[Entry]) -> Revision {
    found.first().map_or(0, |entry| entry.revision)
}

/// So much the permit of an owner ends before a standby may claim: clocks may run differently by 5
/// %, and a datagram has its way to the kernel.
pub const MARGIN: Duration = Duration::from_secs(2);
/// A standby that has not heard etcd for longer counts the owner's silence anew: it may be its own.
const DEAF: Duration = Duration::from_secs(3);
/// How often an owner keeps on its disk how many commits there are.
const PIN_EVERY: Duration = Duration::from_secs(5);
/// Between two tries of the same thing.
const RETRY: Duration = Duration::from_millis(200);
