//! Whether this host has the rack: always, where it has no second host; else while its tenure
//! lasts.

mod carrying;
mod hosts;
mod members;
mod mirror;
mod peers;

use crate::api::serve::Noted;
use crate::bmc::Outgoing;
use crate::config::{Configuration, EtcdSettings, HaSettings};
use crate::daemon::clock::Clock;
use crate::daemon::metrics::ha;
use crate::daemon::pins::Pins;
use crate::daemon::randomness::Kernel;
use crate::daemon::{Failure, host_name};
use crate::etcd_client::Members;
use crate::keeper::{Keeper, Make};
use crate::model::{Health, Stale};
use crate::rack::call::{self, Call, CallId, Refused};
use crate::rack::permit::Succession;
use crate::rack::rights::Rights;
use crate::rack::settings::{NodeSettings, RackSettings};
use crate::rack::stored::migrate::FORMAT;
use crate::rack::{Birth, Rack, Remembered};
use crate::tenure::keys::{Keys, Own};
use crate::tenure::{Begun, Me, Phase, Pinned, Settings, Tenure};
use crate::time::{Instant, WallTime};
use members::Known;
pub(in crate::daemon) use members::Member;
use peers::Peers;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// See the head of this file.
pub(super) enum Post {
    /// The rack has one host.
    Alone(Box<Rack>),
    /// It has more.
    Shared(Box<Shared>),
}

/// What a host of several has.
pub(super) struct Shared {
    pub(super) keeper: Keeper,
    me: Me,
    /// Since when the daemon runs.
    started: WallTime,
    members: Members,
    known_members: Known,
    keys: Keys,
    pins: Pins,
    /// What was pinned before this life.
    pinned_before: Pinned,
    peers: Peers,
    /// When it goes out how far the trail on this host's disk has come.
    trail_at: Instant,
    /// The nodes of the configuration in one word.
    nodes: String,
    /// What the rack is made of when this host has it next.
    pub(super) plan: Configured,
    /// What this host's own disk has of what happened to nodes, for the rack that is made next.
    local: Rc<RefCell<Vec<Remembered>>>,
    /// What goes to this host's disk: our number for it, the tenure, and its ticket there.
    locals: VecDeque<(u64, u64, u64)>,
    /// The tenure that this host has, or had last.
    fence: u64,
    /// Who has the rack, where another host said so.
    owner: Option<Own>,
    /// The rack as etcd has it, to be looked at, and when that was read.
    mirror: Option<(Box<Rack>, Instant)>,
    /// Whether it is being read.
    reading: bool,
    /// Those who wait for it.
    looking: Vec<(CallId, Call, Rights, Rc<Noted>)>,
    fit: Fit,
    /// Whether the journal in etcd has nodes of this host's configuration, as far as it has any.
    known: bool,
    /// Whether the journal in etcd was held against this host's configuration.
    judged: bool,
    /// Datagrams that the last look at the permit has kept back.
    withheld: u64,
    /// Tenures that have begun in this life, by how they came about; and those that another host
    /// ended.
    began: BTreeMap<&'static str, u64>,
    deposed: u64,
}

/// Whether this host could run the rack, or why not, by what that rests on.
struct Fit {
    /// What its own disk has of what happened to nodes was read; when that is tried again where it
    /// was not.
    history: Result<(), String>,
    read_at: Option<Instant>,
    /// Its configuration has the nodes of all tasks that are under way.
    nodes: Result<(), String>,
    /// No member of etcd is of a version that will not do.
    etcd: Result<(), String>,
}

/// The rack as it is configured.
pub(super) type Configured = Rc<RefCell<(RackSettings, Vec<NodeSettings>)>>;

impl Post {
    pub(super) fn rack(&self) -> Option<&Rack> {
        match self {
            Self::Alone(rack) => Some(rack),
            Self::Shared(shared) => shared.keeper.rack(),
        }
    }

    pub(super) fn rack_mut(&mut self) -> Option<&mut Rack> {
        match self {
            Self::Alone(rack) => Some(rack),
            Self::Shared(shared) => shared.keeper.rack_mut(),
        }
    }

    /// The tenure, for what is asked in one and answered in another; the same for ever, where there
    /// is one host.
    pub(super) fn fence(&self) -> u64 {
        match self {
            Self::Alone(_) => 0,
            Self::Shared(shared) => shared.fence,
        }
    }

    /// What changes machines may leave then, where that is not always.
    pub(super) fn lets_out(&self, now: Instant) -> bool {
        match self {
            Self::Alone(_) => true,
            Self::Shared(shared) => shared.keeper.permit().is_some_and(|it| it.holds(now)),
        }
    }

    /// How old what this host's rack says is, where nobody can say whether it is still this host's.
    pub(super) fn stale(&self, now: Instant) -> Option<Stale> {
        let Self::Shared(shared) = self else {
            return None;
        };
        let tenure = shared.keeper.tenure();
        let dark = shared.keeper.rack().is_some() && tenure.phase() == Phase::Dark;
        dark.then(|| shared.stale(now, now))
    }

    /// The time has come for something of it.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Alone(rack) => rack.handle_timeout(now),
            Self::Shared(shared) => shared.keeper.handle_timeout(now),
        }
    }

    pub(super) fn handle_absence(&mut self, gap: Duration, now: Instant) {
        // The permit is looked at first: another host may have the rack by now.
        if let Self::Shared(shared) = self {
            shared.keeper.handle_timeout(now);
        }
        if let Some(rack) = self.rack_mut() {
            rack.handle_absence(gap, now);
        }
    }

    /// What is left to be sent of a rack that is this host's no more.
    pub(super) fn take_parting(&mut self) -> Vec<Outgoing> {
        match self {
            Self::Alone(_) => Vec::new(),
            Self::Shared(shared) => std::iter::from_fn(|| shared.keeper.poll_parting()).collect(),
        }
    }

    pub(super) fn note_withheld(&mut self, count: usize) {
        if let Self::Shared(shared) = self {
            shared.withheld += count as u64;
        }
    }

    /// Figures about the daemon itself.
    pub(super) fn health(&self, now: Instant) -> Health {
        match self {
            Self::Alone(rack) => rack.health(now),
            Self::Shared(shared) => match shared.keeper.rack() {
                Some(rack) => rack.health(now),
                None => shared.health(),
            },
        }
    }

    /// Figures for the metrics, where there is another host.
    pub(super) fn figures(&self, now: Instant) -> Option<ha::Figures> {
        let Self::Shared(shared) = self else {
            return None;
        };
        let permit = shared.keeper.permit();
        let permit = permit.filter(|permit| permit.holds(now));
        Some(ha::Figures {
            owner: shared.keeper.rack().is_some(),
            permit: permit.map(|permit| permit.until - now).unwrap_or_default(),
            fence: shared.fence,
            withheld: shared.withheld,
            began: shared
                .began
                .iter()
                .map(|(cause, count)| (*cause, *count))
                .collect(),
            deposed: shared.deposed,
            hosts: shared.peers.shown(&shared.nodes, now),
            etcd: shared.members.figures(),
            etcd_space: shared.known_members.space(),
        })
    }

    /// For how long the oldest of what the rack has put down has waited for etcd, where it has to.
    pub(super) fn unconfirmed(&self, now: Instant) -> Duration {
        match self {
            Self::Alone(_) => Duration::ZERO,
            Self::Shared(shared) => shared.keeper.unconfirmed(now),
        }
    }

    pub(super) fn has_nodes(&self, now: Instant) -> bool {
        self.count_nodes(now) > 0
    }

    pub(super) fn count_nodes(&self, now: Instant) -> usize {
        match self {
            Self::Alone(rack) => rack.summary(now).0,
            Self::Shared(shared) => shared.plan.borrow().1.len(),
        }
    }

    /// The configuration is another one from now on, or at the beginning of the next tenure.
    pub(super) fn reload(
        &mut self,
        settings: RackSettings,
        nodes: Vec<NodeSettings>,
        now: Instant,
    ) -> Result<(), String> {
        let plan = (settings.clone(), nodes.clone());
        if let Self::Shared(shared) = self
            && shared.plan.borrow().0.name != settings.name
        {
            return Err("the rack has another name: its hosts know it by the old one, so stop this one, and start it again".to_owned());
        }
        let settings = match self {
            Self::Alone(_) => settings,
            Self::Shared(shared) => settings.owned_by(&shared.me.host),
        };
        if let Some(rack) = self.rack_mut() {
            rack.reload(settings, nodes, now)?;
        }
        if let Self::Shared(shared) = self {
            shared.mirror = None;
            shared.nodes = peers::digest(&plan.1);
            shared.plan.replace(plan);
        }
        Ok(())
    }

    /// Etcd's members, and who we are to them, are others from now on.
    pub(super) fn reload_etcd(&mut self, etcd: Option<&EtcdSettings>) {
        if let (Self::Shared(shared), Some(etcd)) = (self, etcd) {
            shared.members.replace(etcd.ways.clone(), etcd.user.clone());
            shared.forget_members();
        }
    }

    /// Whether all is closed and written, and where there is another host, the rack given up.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Alone(rack) => rack.is_quiet(),
            Self::Shared(shared) => shared.keeper.rack().is_none(),
        }
    }

    /// The answers that the rack has.
    pub(super) fn take_answers(&mut self) -> Vec<(CallId, Result<call::Answer, Refused>)> {
        match self.rack_mut() {
            Some(rack) => std::iter::from_fn(|| rack.poll_answer()).collect(),
            None => Vec::new(),
        }
    }

    /// When the tenure wants its time to be looked at.
    pub(super) fn next_of_tenure(&self) -> Option<Instant> {
        match self {
            Self::Alone(_) => None,
            Self::Shared(shared) => shared.keeper.poll_own(),
        }
    }
}

impl Shared {
    /// A host that begins to live, beside others.
    pub(super) fn new(
        etcd: &EtcdSettings,
        ha: &HaSettings,
        configuration: &mut Configuration,
        local: Vec<Remembered>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let state_dir: &Path = &configuration.daemon.state_dir;
        let pins = Pins::open(state_dir, &mut Kernel::new()).map_err(Failure::new)?;
        let rack = configuration.rack.name.to_string();
        let nodes = std::mem::take(&mut configuration.nodes);
        let digest = peers::digest(&nodes);
        let plan: Configured = Rc::new(RefCell::new((configuration.rack.clone(), nodes)));
        let host = match &ha.host {
            Some(host) => host.clone(),
            None => host_name().map_err(Failure::new)?,
        };
        let me = Me {
            host,
            host_id: pins.host,
            boot: clock.boot(),
            url: ha.url.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            format: FORMAT,
        };
        let settings = Settings {
            prefix: etcd.prefix.clone(),
            rack: rack.clone(),
            tenure: ha.tenure,
            pinned: pins.pinned,
        };
        let entropy = Box::new(Kernel::new());
        let (wall, now) = (clock.wall(), clock.now());
        let tenure = Tenure::new(me.clone(), settings, entropy, wall, now);
        let local = Rc::new(RefCell::new(local));
        let make = make(me.host.clone(), plan.clone(), local.clone(), clock);
        let keys = Keys::new(&etcd.prefix, &rack);
        let mut shared = Self {
            keeper: Keeper::new(tenure, make),
            me,
            started: wall,
            members: Members::new(etcd.ways.clone(), etcd.user.clone(), etcd.request_timeout),
            known_members: Known::new(now),
            peers: Peers::new(keys.clone(), now),
            keys,
            trail_at: now,
            nodes: digest,
            pinned_before: pins.pinned,
            pins,
            plan,
            local,
            locals: VecDeque::new(),
            fence: 0,
            owner: None,
            mirror: None,
            reading: false,
            looking: Vec::new(),
            fit: Fit {
                history: Ok(()),
                read_at: None,
                nodes: Err("the journal in etcd was not read yet".to_owned()),
                etcd: Err("no member of etcd has told its version yet".to_owned()),
            },
            known: false,
            judged: false,
            withheld: 0,
            began: BTreeMap::new(),
            deposed: 0,
        };
        shared.members.are_of(shared.pins.pinned.cluster);
        // Not even its own rack of before a restart is taken unseen.
        shared.judge_fit(now);
        Ok(shared)
    }

    /// How old what was read then is: nothing later than the owner's last sign of life was heard
    /// of.
    fn stale(&self, read_at: Instant, now: Instant) -> Stale {
        let sign = self.keeper.tenure().last_sign();
        let at = sign.map_or(read_at, |sign| sign.min(read_at));
        // Whoever had the rack may have lost it by now.
        let ours = self.keeper.rack().is_some();
        let owner = self.whoever().filter(|_| !ours);
        let name = owner.map(|own| own.host.clone());
        Stale::of(now - at, name, owner.and_then(|own| own.url.clone()))
    }

    /// Who has the rack, where that is known.
    fn whoever(&self) -> Option<&Own> {
        self.last_owner().filter(|own| own.released.is_none())
    }

    /// The same, or who had it last.
    fn last_owner(&self) -> Option<&Own> {
        self.keeper.tenure().owner().or(self.owner.as_ref())
    }

    /// Why a call is not carried out here.
    fn moved(&self) -> Refused {
        let owner = self.whoever();
        Refused::Moved {
            owner: owner.map(|own| own.host.clone()),
            url: owner.and_then(|own| own.url.clone()),
        }
    }

    /// Figures about a daemon that has not the rack: they wait for nobody.
    fn health(&self) -> Health {
        let plan = self.plan.borrow();
        Health {
            rack: plan.0.name.to_string(),
            version: self.me.version.clone(),
            nodes: u32::try_from(plan.1.len()).unwrap_or(u32::MAX),
            started_at: self.started,
            ..Health::default()
        }
    }
}

/// What makes the rack at the beginning of a tenure: of the journal in etcd, and of what this
/// host's own disk has.
fn make(host: String, plan: Configured, local: Rc<RefCell<Vec<Remembered>>>, clock: Clock) -> Make {
    Box::new(move |begun: &Begun, succession: Succession, now: Instant| {
        let mut remembered = begun.remembered.clone();
        remembered.extend(local.take());
        let (settings, nodes) = plan.borrow().clone();
        let birth = Birth {
            now,
            succession: Some(succession),
            ..clock.birth(Default::default())
        };
        let settings = settings.owned_by(&host);
        Rack::new(settings, nodes, remembered, birth, Box::new(Kernel::new()))
    })
}
