//! Whether this host has the rack: always, where it has no second host; else while its tenure lasts.

use super::looks::ask_store;
use super::{Input, Shell, Waiting};
use crate::api::serve::Asked;
use crate::bmc::Outgoing;
use crate::config::{Configuration, EtcdSettings, HaSettings};
use crate::daemon::audit;
use crate::daemon::clock::Clock;
use crate::daemon::members::Members;
use crate::daemon::metrics::ha;
use crate::daemon::pins::Pins;
use crate::daemon::randomness::Kernel;
use crate::daemon::{Failure, host_name};
use crate::etcd::{Answer, Change, Request, Span, Trouble, Watched};
use crate::keeper::{Keeper, Told};
use crate::model::Health;
use crate::rack::call::{self, Call, CallId, Refused};
use crate::rack::permit::{Permit, Succession};
use crate::rack::record::is_shared;
use crate::rack::rights::Rights;
use crate::rack::settings::{NodeSettings, RackSettings};
use crate::rack::{Birth, Rack, Remembered};
use crate::tenure::keys::{Keys, Own};
use crate::tenure::{Begun, Cause, Me, RequestId, Settings, Tenure};
use crate::time::Instant;
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
    members: Members,
    keys: Keys,
    pins: Pins,
    /// What the rack is made of when this host has it next.
    pub(super) plan: Plan,
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
    /// Those who wait for it.
    looking: Vec<(CallId, Call, Rights)>,
    /// Datagrams that the last look at the permit has kept back.
    withheld: u64,
    /// Tenures that have begun in this life, by how they came about; and those that another host ended.
    began: BTreeMap<&'static str, u64>,
    deposed: u64,
}

/// The rack as it is configured.
pub(super) type Plan = Rc<RefCell<(RackSettings, Vec<NodeSettings>)>>;

impl Post {
    pub(super) fn rack(&self) -> Option<&Rack> {
        match self {
            Post::Alone(rack) => Some(rack),
            Post::Shared(shared) => shared.keeper.rack(),
        }
    }

    pub(super) fn rack_mut(&mut self) -> Option<&mut Rack> {
        match self {
            Post::Alone(rack) => Some(rack),
            Post::Shared(shared) => shared.keeper.rack_mut(),
        }
    }

    /// The tenure, for what is asked in one and answered in another; the same for ever, where there is one host.
    pub(super) fn fence(&self) -> u64 {
        match self {
            Post::Alone(_) => 0,
            Post::Shared(shared) => shared.fence,
        }
    }

    /// What changes machines may leave then, where that is not always.
    pub(super) fn lets_out(&self, now: Instant) -> bool {
        match self {
            Post::Alone(_) => true,
            Post::Shared(shared) => shared.keeper.permit().is_some_and(|it| it.holds(now)),
        }
    }

    /// The time has come for something of it.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Post::Alone(rack) => rack.handle_timeout(now),
            Post::Shared(shared) => shared.keeper.handle_timeout(now),
        }
    }

    pub(super) fn handle_absence(&mut self, gap: Duration, now: Instant) {
        // The permit is looked at first: another host may have the rack by now.
        if let Post::Shared(shared) = self {
            shared.keeper.handle_timeout(now);
        }
        if let Some(rack) = self.rack_mut() {
            rack.handle_absence(gap, now);
        }
    }

    /// What is left to be sent of a rack that is this host's no more.
    pub(super) fn take_parting(&mut self) -> Vec<Outgoing> {
        match self {
            Post::Alone(_) => Vec::new(),
            Post::Shared(shared) => std::iter::from_fn(|| shared.keeper.poll_parting()).collect(),
        }
    }

    pub(super) fn note_withheld(&mut self, count: usize) {
        if let Post::Shared(shared) = self {
            shared.withheld += count as u64;
        }
    }

    /// Figures about the daemon itself.
    pub(super) fn health(&self, now: Instant) -> Health {
        match self {
            Post::Alone(rack) => rack.health(now),
            Post::Shared(shared) => match shared.keeper.rack() {
                Some(rack) => rack.health(now),
                None => Health {
                    rack: shared.plan.borrow().0.name.to_string(),
                    ..Health::default()
                },
            },
        }
    }

    /// Figures for the metrics, where there is another host.
    pub(super) fn figures(&self, now: Instant) -> Option<ha::Figures> {
        let Post::Shared(shared) = self else {
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
            etcd: shared.members.figures(),
        })
    }

    pub(super) fn has_nodes(&self, now: Instant) -> bool {
        self.count_nodes(now) > 0
    }

    pub(super) fn count_nodes(&self, now: Instant) -> usize {
        match self {
            Post::Alone(rack) => rack.summary(now).0,
            Post::Shared(shared) => shared.plan.borrow().1.len(),
        }
    }

    /// The configuration is another one from now on, or at the beginning of the next tenure.
    pub(super) fn reload(
        &mut self,
        settings: RackSettings,
        nodes: Vec<NodeSettings>,
        now: Instant,
    ) -> Result<(), String> {
        if let Post::Shared(shared) = self {
            shared.mirror = None;
            shared.plan.replace((settings.clone(), nodes.clone()));
        }
        match self.rack_mut() {
            Some(rack) => rack.reload(settings, nodes, now),
            None => Ok(()),
        }
    }

    /// Etcd's members, and who we are to them, are others from now on.
    pub(super) fn reload_etcd(&self, etcd: Option<&EtcdSettings>) {
        if let (Post::Shared(shared), Some(etcd)) = (self, etcd) {
            shared.members.replace(etcd.ways.clone(), etcd.user.clone());
        }
    }

    /// Whether all is closed and written, and where there is another host, the rack given up.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Post::Alone(rack) => rack.is_quiet(),
            Post::Shared(shared) => shared.keeper.rack().is_none(),
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
            Post::Alone(_) => None,
            Post::Shared(shared) => shared.keeper.poll_own(),
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
        let plan: Plan = Rc::new(RefCell::new((configuration.rack.clone(), nodes)));
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
        };
        let settings = Settings {
            prefix: etcd.prefix.clone(),
            rack: rack.clone(),
            tenure: ha.tenure,
            pinned: pins.pinned,
        };
        let entropy = Box::new(Kernel::new());
        let tenure = Tenure::new(me, settings, entropy, clock.wall(), clock.now());
        let local = Rc::new(RefCell::new(local));
        let (made_of, remembers) = (plan.clone(), local.clone());
        let make = move |begun: &Begun, succession: Succession, now: Instant| {
            let mut remembered = begun.remembered.clone();
            remembered.extend(remembers.take());
            let (settings, nodes) = made_of.borrow().clone();
            let birth = Birth {
                now,
                succession: Some(succession),
                ..clock.birth(Default::default())
            };
            Rack::new(settings, nodes, remembered, birth, Box::new(Kernel::new()))
        };
        Ok(Shared {
            keeper: Keeper::new(tenure, Box::new(make)),
            members: Members::new(etcd.ways.clone(), etcd.user.clone(), etcd.request_timeout),
            keys: Keys::new(&etcd.prefix, &rack),
            pins,
            plan,
            local,
            locals: VecDeque::new(),
            fence: 0,
            owner: None,
            mirror: None,
            looking: Vec::new(),
            withheld: 0,
            began: BTreeMap::new(),
            deposed: 0,
        })
    }

    /// Why a call is not carried out here.
    fn moved(&self) -> Refused {
        let owner = self.keeper.tenure().owner().or(self.owner.as_ref());
        let owner = owner.filter(|own| own.released.is_none());
        Refused::Moved {
            owner: owner.map(|own| own.host.clone()),
            url: owner.and_then(|own| own.url.clone()),
        }
    }

    /// What of a call a standby answers: what only looks, and waits for nothing.
    fn may_look(call: Call) -> Result<Call, Call> {
        match call {
            Call::Look(_) => Ok(call),
            Call::AwaitTask { task, version, .. } => Ok(Call::AwaitTask {
                task,
                version,
                wait: Duration::ZERO,
            }),
            Call::AwaitBatch { batch, .. } => Ok(Call::AwaitBatch {
                batch,
                wait: Duration::ZERO,
            }),
            other => Err(other),
        }
    }
}

impl Shell {
    /// Watches who owns the rack, for as long as the daemon lives.
    pub(super) fn begin_to_watch(&mut self) {
        let Post::Shared(shared) = &self.post else {
            return;
        };
        let (members, inputs) = (shared.members.clone(), self.to_inputs.clone());
        let spans = shared.keeper.tenure().watched().map(Span::Key).to_vec();
        let watch = async move {
            loop {
                let told = inputs.clone();
                let tell = |watched| {
                    if let Watched::Changes(_, changes) = watched {
                        // More than the loop can take waits for nobody: then all is read anew.
                        let _ = told.try_send(Input::Changed(changes));
                    }
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

    /// Somebody asks a host that has not the rack.
    pub(super) fn ask_standby(&mut self, id: CallId, asked: Asked) {
        let rights = self.context.policy().rights(&asked.peer);
        let now = self.awake_at;
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        let call = match Shared::may_look(asked.call) {
            Ok(call) => call,
            Err(_) => return asked.reply.send(Err(shared.moved())),
        };
        let waiting = Waiting {
            reply: asked.reply,
            peer: asked.peer,
            looks: true,
        };
        self.replies.insert(id, waiting);
        let fresh = |(_, at): &(_, Instant)| now - *at < MIRROR_KEPT;
        let reads = shared.looking.is_empty() && !shared.mirror.as_ref().is_some_and(fresh);
        shared.looking.push((id, call, rights));
        if !reads {
            return self.answer_looks();
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
    pub(super) fn mirrored(&mut self, found: Result<Answer, Trouble>) {
        let (now, clock) = (self.awake_at, self.clock);
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        match found {
            Ok(Answer::Range { found, .. }) => {
                let place = |entry: crate::etcd::Entry| {
                    let (table, key) = shared.keys.place(&entry.key)?;
                    Some((table, key, entry.value))
                };
                let remembered = found.into_iter().filter_map(place).collect();
                let (settings, nodes) = shared.plan.borrow().clone();
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
        for (id, call, rights) in std::mem::take(&mut shared.looking) {
            rack.handle_call(id, call, &rights, *read_at);
        }
        let answers: Vec<_> = std::iter::from_fn(|| rack.poll_answer()).collect();
        for (id, answer) in answers {
            self.answer(id, answer);
        }
    }

    /// An answer goes to whoever waits for it.
    pub(super) fn answer(&mut self, call: CallId, answer: Result<call::Answer, Refused>) {
        if let Some(waiting) = self.replies.remove(&call) {
            let answer = answer.map(|answer| match answer {
                // The rack knows of no file.
                call::Answer::Health(health) => call::Answer::Health(self.with_disk(health)),
                other => other,
            });
            waiting.reply.send(answer);
        }
    }

    /// Etcd answered, or did not.
    pub(super) fn etcd_answered(&mut self, id: RequestId, answer: Result<Answer, Trouble>) {
        let now = self.awake_at;
        if let Post::Shared(shared) = &mut self.post {
            shared.keeper.handle_answer(id, answer, now);
        }
    }

    pub(super) fn etcd_changed(&mut self, changes: &[Change]) {
        let now = self.awake_at;
        if let Post::Shared(shared) = &mut self.post {
            for change in changes {
                shared.keeper.handle_change(change, now);
            }
        }
    }

    pub(super) fn etcd_unwatched(&mut self) {
        let now = self.awake_at;
        if let Post::Shared(shared) = &mut self.post {
            shared.keeper.tenure_mut().handle_unwatched(now);
            shared.keeper.settle(now);
        }
    }

    /// All records up to this number are on this host's disk.
    pub(super) fn recorded(&mut self, number: u64, now: Instant) {
        match &mut self.post {
            Post::Alone(rack) => rack.handle_durable(number, now),
            Post::Shared(shared) => {
                let known = shared.locals.partition_point(|(ours, ..)| *ours <= number);
                let fence = shared.fence;
                let known = shared.locals.drain(..known);
                // Those of another tenure are of a rack that is not there any more.
                let last = known.filter(|(_, of, _)| *of == fence).last();
                if let Some((_, _, ticket)) = last {
                    shared.keeper.handle_recorded(ticket, now);
                }
            }
        }
    }

    /// Records could not be written to this host's disk.
    pub(super) fn unrecorded(&mut self, number: u64, why: &str, now: Instant) {
        match &mut self.post {
            Post::Alone(rack) => rack.handle_store_trouble(number, why, now),
            Post::Shared(shared) => shared.keeper.handle_unrecorded(why, now),
        }
    }

    /// The rack that is made next wants to know what this host's disk has of what happened to nodes. Nothing is claimed
    /// before that is known.
    fn read_own_history(&mut self) {
        let (inputs, looks) = (self.to_inputs.clone(), self.looks.store.clone());
        let read = async move {
            let own = ask_store(looks, |store| store.load()).await;
            // The loop has ended where this fails.
            let _ = inputs.send(Input::OwnHistory(own)).await;
        };
        self.executor.spawn(read).detach();
    }

    pub(super) fn own_history_read(&mut self, own: Result<Vec<Remembered>, String>) {
        let now = self.awake_at;
        let Post::Shared(shared) = &mut self.post else {
            return;
        };
        let fit = own.map(|mut own| {
            own.retain(|(table, key, _)| !audit::is_ours(*table, key) && !is_shared(*table, key));
            shared.local.replace(own);
        });
        shared.keeper.tenure_mut().set_fit(fit, now);
        shared.keeper.settle(now);
    }

    /// Carries what the tenure has: requests to etcd, records to the disk, and what is to be said of it.
    pub(super) fn carry_tenure(&mut self) {
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
        let began = told.iter().filter_map(|told| match told {
            Told::Began { fence, .. } => Some(*fence),
            Told::Ended { .. } | Told::Pin(_) | Told::Wished(_) => None,
        });
        if let Some(fence) = began.last() {
            shared.fence = fence;
        }
        for (ticket, writes) in local {
            self.last_ticket += 1;
            let number = self.last_ticket;
            if let Post::Shared(shared) = &mut self.post {
                shared.locals.push_back((number, shared.fence, ticket));
            }
            self.remember(number, writes);
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
            Told::Began { fence, cause } => {
                shared.mirror = None;
                *shared.began.entry(cause.word()).or_default() += 1;
                let what = format!("tenure {fence} begins: {}", began(cause));
                log::info!("{what}");
                self.record_own("OWN", what, None);
            }
            Told::Ended { by, why } => {
                shared.deposed += u64::from(by.is_some());
                shared.owner = by;
                let refused = shared.moved();
                let what = format!("tenure {} ended: {why}", shared.fence);
                let now = self.awake_at;
                let reading = Err("this host's own history is being read".to_owned());
                shared.keeper.tenure_mut().set_fit(reading, now);
                for (_, waiting) in std::mem::take(&mut self.replies) {
                    waiting.reply.send(Err(refused.clone()));
                }
                self.read_own_history();
                log::warn!("{what}");
                self.record_own("DISOWN", what, None);
            }
            Told::Pin(pinned) => {
                if let Err(error) = shared.pins.keep(pinned) {
                    log::error!("what was seen of etcd cannot be kept: {error}");
                }
            }
            Told::Wished(host) => {
                let now = self.awake_at;
                let owner = shared.keeper.tenure().owner();
                if owner.is_some_and(|own| own.host != host) {
                    shared.keeper.hand_over(Some(host), now);
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
/// So long a standby answers from what it has read.
const MIRROR_KEPT: Duration = Duration::from_secs(1);
