//! Hosts, an etcd, and one simulated rack of BMCs, in one true time; each host has its own clock.
//!
//! Nothing here is judged: see `judge`. A host is what the daemon's shell is to its keeper: it
//! carries requests, records and datagrams, and looks at the permit once more before it sends.

use crate::etcd::Etcd;
use crate::single::{self, address, millis, name, secs};
use rackbmcd::entropy::{Entropy, Seeded};
use rackbmcd::etcd::{Answer, Change, Request, Trouble};
use rackbmcd::keeper::{Keeper, Told};
use rackbmcd::model::Role;
use rackbmcd::rack::call::{self, Call, CallId, Refused};
use rackbmcd::rack::permit::Succession;
use rackbmcd::rack::record::{End, Stretch, Table, Write};
use rackbmcd::rack::rights::Rights;
use rackbmcd::rack::settings::{NodeSettings, RackSettings};
use rackbmcd::rack::stored::migrate::FORMAT;
use rackbmcd::rack::{Birth, Copied, Rack};
use rackbmcd::sim::{self, BmcSettings, Link, Mood, Privilege, User};
use rackbmcd::tenure::keys::Keys;
use rackbmcd::tenure::{Begun, Me, Pinned, RequestId, Settings, Tenure};
use rackbmcd::time::{Instant, WallTime};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// Chance, from a seed.
pub(crate) struct Dice(Seeded);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Seeded::new(seed))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    pub(crate) fn chance(&mut self, chance: f64) -> bool {
        self.0.chance(chance)
    }

    pub(crate) fn millis(&mut self, from: u64, below: u64) -> Duration {
        millis(from + self.below(below - from))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }
}

type Disk = Arc<Mutex<BTreeMap<(Table, String), Vec<u8>>>>;

/// A host's own clock: it may run fast or slow, and stand still while the host does.
#[derive(Clone, Copy)]
pub(crate) struct LocalClock {
    anchor: (Instant, Instant),
    /// In thousandths.
    rate: u64,
}

impl LocalClock {
    pub(crate) fn at(&self, time: Instant) -> Instant {
        let (then, local) = self.anchor;
        local + (time - then) * u32::try_from(self.rate).unwrap() / 1000
    }

    /// The true time at which it shows that, or a little later.
    fn shows(&self, local: Instant) -> Instant {
        let (then, anchor) = self.anchor;
        then + (local - anchor) * 1000 / u32::try_from(self.rate).unwrap()
            + Duration::from_micros(1)
    }
}

/// See the head of this file.
pub(crate) struct Host {
    pub place: usize,
    pub keeper: Option<Keeper>,
    pub clock: LocalClock,
    /// What its calendar is ahead of the true one, in seconds.
    calendar: i64,
    me: Me,
    pub pinned: Pinned,
    disk: Disk,
    writing: VecDeque<(Instant, u64, Vec<Write>)>,
    /// Counts processes: what was asked by one is not told to the next.
    life: u64,
    /// Counts racks, each of which has its own ports.
    generation: u64,
    pub cut_from_etcd: bool,
    missed: bool,
    pub cut_from_bmcs: bool,
    pub paused_until: Option<Instant>,
    paused_at: Instant,
    blind: bool,
    /// When it woke up last without having noticed that it slept.
    pub woke_blind: Option<Instant>,
    waiting: Vec<Event>,
    pub tenure: Duration,
}

/// Something that reaches a host.
enum Event {
    Answer(RequestId, Result<Answer, Trouble>),
    Change(Change),
    Datagram(SocketAddr, u64, Vec<u8>),
}

/// Something on its way.
enum Flight {
    ToEtcd(usize, u64, RequestId, Request),
    ToHost(usize, u64, Event),
}

/// What happened that is worth a judgement.
pub(crate) enum Happened {
    /// A tenure began.
    Began(usize, u64),
    /// A host has the rack no more.
    Ended,
    /// A changing datagram left.
    Left { host: usize },
    /// The last check held a changing datagram back that the core let go.
    Withheld { host: usize },
    /// A call was answered.
    Answered(CallId, Box<Result<call::Answer, Refused>>),
}

/// How bad the way to etcd is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    pub lost: f64,
    /// Carried out after its client gave up.
    pub late: f64,
    pub slow: f64,
}

pub(crate) struct World {
    pub now: Instant,
    pub etcd: Etcd,
    pub sim: sim::Rack,
    pub hosts: Vec<Host>,
    pub dice: Dice,
    pub weather: Weather,
    pub happened: Vec<Happened>,
    pub nodes: Vec<NodeSettings>,
    pub settings: RackSettings,
    flights: BTreeMap<(Instant, u64), Flight>,
    launched: u64,
    told: usize,
    next_call: u64,
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize, nodes: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut sim = sim::Rack::new();
        for place in 0..nodes {
            let settings = BmcSettings {
                name: name(place),
                users: vec![User::new("admin", "secret", Privilege::Administrator)],
                guid: sim::guid_of(&name(place)),
                ..BmcSettings::default()
            };
            let bmc = sim::Bmc::new(settings, Mood::default(), dice.next());
            sim.add(address(place), bmc, Link::new(dice.next()));
        }
        let now = Instant::after_start(secs(100_000));
        let settings = RackSettings {
            name: "r1".into(),
            ..RackSettings::default()
        };
        let host = |place: usize| Host {
            place,
            keeper: None,
            clock: LocalClock {
                anchor: (now, now + secs(1000 * place as u64)),
                rate: 1000,
            },
            calendar: 0,
            me: Me {
                host: format!("mgmt{}", place + 1),
                host_id: Uuid::from_u128(1 + place as u128),
                boot: Some(Uuid::from_u128(100 + place as u128)),
                url: None,
                version: "1".to_owned(),
                format: FORMAT,
            },
            pinned: Pinned::default(),
            disk: Disk::default(),
            writing: VecDeque::new(),
            life: 0,
            generation: 0,
            cut_from_etcd: false,
            missed: false,
            cut_from_bmcs: false,
            paused_until: None,
            paused_at: now,
            blind: false,
            woke_blind: None,
            waiting: Vec::new(),
            tenure: secs(9),
        };
        Self {
            now,
            etcd: Etcd::default(),
            sim,
            hosts: (0..hosts).map(host).collect(),
            dice,
            weather: Weather::default(),
            happened: Vec::new(),
            nodes: (0..nodes).map(node).collect(),
            settings,
            flights: BTreeMap::new(),
            launched: 0,
            told: 0,
            next_call: 0,
        }
    }

    /// The clock of a host runs so, in thousandths, and its calendar is ahead by so many seconds.
    pub(crate) fn set_clock(&mut self, place: usize, rate: u64, calendar: i64) {
        let now = self.now;
        let host = &mut self.hosts[place];
        host.clock = LocalClock {
            anchor: (now, host.clock.at(now)),
            rate,
        };
        host.calendar = calendar;
    }

    /// A host's process starts; on a machine that was booted anew where it is said so.
    pub(crate) fn start(&mut self, place: usize, booted: bool) {
        let (nodes, settings, seed) = (self.nodes.clone(), self.settings.clone(), self.dice.next());
        let host = &mut self.hosts[place];
        assert!(host.keeper.is_none(), "it runs already");
        host.life += 1;
        if booted {
            host.me.boot = Some(Uuid::from_u128(seed.into()));
        }
        let now = host.clock.at(self.now);
        let wall = wall(host.calendar, now);
        let tenure = Tenure::new(
            host.me.clone(),
            Settings {
                prefix: "/rackbmc".to_owned(),
                rack: "r1".to_owned(),
                tenure: host.tenure,
                pinned: host.pinned,
            },
            Box::new(Seeded::new(seed)),
            wall,
            now,
        );
        let (disk, calendar, boot) = (host.disk.clone(), host.calendar, host.me.boot);
        let make = move |begun: &Begun, succession: Succession, now: Instant| {
            let mut remembered = begun.remembered.clone();
            let disk = disk.lock().unwrap();
            let local = disk.iter();
            remembered
                .extend(local.map(|((table, key), value)| (*table, key.clone(), value.clone())));
            let birth = Birth {
                wall: wall_of(calendar, now),
                now,
                boot,
                copied: Copied::No,
                succession: Some(succession),
            };
            let entropy = Box::new(Seeded::new(seed ^ begun.fence));
            Rack::new(settings.clone(), nodes.clone(), remembered, birth, entropy)
        };
        host.keeper = Some(Keeper::new(tenure, Box::new(make)));
        self.drain(place);
    }

    /// A host's process is killed: records that were not on its disk are lost.
    pub(crate) fn kill(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        host.keeper = None;
        host.writing.clear();
        host.waiting.clear();
        host.paused_until = None;
    }

    /// A host's disk is lost with its machine.
    pub(crate) fn lose_disk(&mut self, place: usize) {
        self.kill(place);
        let id = Uuid::from_u128(self.dice.next().into());
        let host = &mut self.hosts[place];
        host.disk = Disk::default();
        host.pinned = Pinned::default();
        host.me.host_id = id;
    }

    /// A host stands still for a while; `blind` where its clock does, too.
    pub(crate) fn pause(&mut self, place: usize, time: Duration, blind: bool) {
        let now = self.now;
        let host = &mut self.hosts[place];
        if host.keeper.is_some() && host.paused_until.is_none() {
            host.paused_until = Some(now + time);
            host.paused_at = now;
            host.blind = blind;
        }
    }

    fn wake(&mut self, place: usize) {
        let now = self.now;
        let host = &mut self.hosts[place];
        host.paused_until = None;
        if host.blind {
            let local = host.clock.at(host.paused_at);
            host.clock.anchor = (now, local);
            host.woke_blind = Some(now);
        }
        let gap = host.clock.at(now) - host.clock.at(host.paused_at);
        let local = host.clock.at(now);
        let (waiting, blind) = (std::mem::take(&mut host.waiting), host.blind);
        if let Some(keeper) = &mut host.keeper
            && !blind
        {
            // As the shell does, before anything else.
            keeper.handle_timeout(local);
            if let Some(rack) = keeper.rack_mut() {
                rack.handle_absence(gap, local);
            }
            keeper.settle(local);
        }
        self.drain(place);
        for event in waiting {
            self.tell(place, event);
        }
    }

    pub(crate) fn set_cut_from_etcd(&mut self, place: usize, cut: bool) {
        self.hosts[place].cut_from_etcd = cut;
        if !cut && std::mem::take(&mut self.hosts[place].missed) {
            let host = &mut self.hosts[place];
            let local = host.clock.at(self.now);
            if let Some(keeper) = host.keeper.as_mut().filter(|_| host.paused_until.is_none()) {
                keeper.tenure_mut().handle_unwatched(local);
                keeper.settle(local);
            }
            self.drain(place);
        }
    }

    /// Somebody asks a host for something; nothing where it has not the rack.
    pub(crate) fn ask(&mut self, place: usize, call: Call) -> Option<CallId> {
        let host = &mut self.hosts[place];
        let local = host.clock.at(self.now);
        let awake = host.paused_until.is_none();
        let keeper = host.keeper.as_mut().filter(|_| awake)?;
        let id = CallId(self.next_call);
        self.next_call += 1;
        let rights = Rights::everywhere_as(Role::Admin);
        keeper.rack_mut()?.handle_call(id, call, &rights, local);
        keeper.settle(local);
        self.drain(place);
        Some(id)
    }

    pub(crate) fn hand_over(&mut self, place: usize, to: Option<String>) {
        let host = &mut self.hosts[place];
        let local = host.clock.at(self.now);
        if let Some(keeper) = host.keeper.as_mut().filter(|_| host.paused_until.is_none()) {
            keeper.hand_over(to, local);
        }
        self.drain(place);
    }

    /// The hosts whose permit holds at this moment.
    pub(crate) fn permitted(&self) -> Vec<usize> {
        let holds = |host: &&Host| {
            let permit = host.keeper.as_ref().and_then(Keeper::permit);
            // One that stands still with its clock may go on with what it had.
            let blind = host.blind && host.paused_until.is_some();
            permit.is_some_and(|permit| permit.holds(host.clock.at(self.now))) && !blind
        };
        self.hosts
            .iter()
            .filter(holds)
            .map(|host| host.place)
            .collect()
    }

    pub(crate) fn owners(&self) -> Vec<usize> {
        let owns = |host: &&Host| {
            host.keeper
                .as_ref()
                .is_some_and(|keeper| keeper.rack().is_some())
        };
        self.hosts
            .iter()
            .filter(owns)
            .map(|host| host.place)
            .collect()
    }

    pub(crate) fn keys() -> Keys {
        Keys::new("/rackbmc", "r1")
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0u32;
        while let Some(next) = self.next().filter(|at| *at <= end) {
            turns = if next > self.now { 0 } else { turns + 1 };
            assert!(
                turns < 10_000,
                "the world stands still: {}",
                self.in_words()
            );
            self.now = self.now.max(next);
            self.step();
            if self
                .happened
                .iter()
                .any(|it| !matches!(it, Happened::Answered(..)))
            {
                return; // Somebody wants to look at it as it is now.
            }
        }
        self.now = self.now.max(end);
    }

    fn in_words(&mut self) -> String {
        let hosts = self.hosts.iter().map(|host| {
            let keeper = host.keeper.as_ref();
            format!(
                "host {} at {:?}: {:?}, tenure {:?}, rack {:?}, {:?}; ",
                host.place,
                host.clock.at(self.now),
                keeper.map(|keeper| keeper.tenure().phase()),
                keeper.and_then(|keeper| keeper.tenure().poll_timeout()),
                keeper.and_then(|keeper| keeper.rack()?.poll_timeout()),
                keeper.and_then(Keeper::permit),
            )
        });
        let hosts: String = hosts.collect();
        let sim = self.sim.poll_timeout();
        format!("{:?}, {hosts}, machines {sim:?}", self.now)
    }

    fn next(&mut self) -> Option<Instant> {
        let hosts = self.hosts.iter().flat_map(|host| {
            let timeout = host.keeper.as_ref().and_then(Keeper::poll_timeout);
            let timeout = timeout.map(|at| host.clock.shows(at));
            let writing = host.writing.front().map(|(at, ..)| *at);
            match host.paused_until {
                Some(until) => [Some(until), None],
                None => [timeout, writing],
            }
        });
        let flight = self.flights.keys().next().map(|(at, _)| *at);
        let hosts = hosts.flatten().min();
        [self.sim.poll_timeout(), flight, hosts]
            .into_iter()
            .flatten()
            .min()
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(delivery) = self.sim.poll_delivery(now) {
            let SocketAddr::V4(to) = delivery.to else {
                continue;
            };
            let place = usize::from(to.ip().octets()[3]) - 1;
            let (generation, port) = (u64::from(to.port()) / 1000, u64::from(to.port()) % 1000);
            let host = &self.hosts[place];
            if host.generation % 60 == generation && !host.cut_from_bmcs {
                self.tell(place, Event::Datagram(delivery.from, port, delivery.bytes));
            }
        }
        while let Some(flight) = self
            .flights
            .first_entry()
            .filter(|first| first.key().0 <= now)
        {
            match flight.remove() {
                Flight::ToEtcd(place, life, id, request) => self.arrive(place, life, id, &request),
                Flight::ToHost(place, life, event) => {
                    if self.hosts[place].life == life {
                        self.tell(place, event);
                    }
                }
            }
        }
        for place in 0..self.hosts.len() {
            self.step_host(place);
        }
    }

    fn step_host(&mut self, place: usize) {
        let now = self.now;
        match self.hosts[place].paused_until {
            Some(until) if until <= now => self.wake(place),
            Some(_) => return,
            None => {}
        }
        let host = &mut self.hosts[place];
        let local = host.clock.at(now);
        let Some(keeper) = &mut host.keeper else {
            return;
        };
        while host.writing.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, ticket, writes) = host.writing.pop_front().expect("just seen");
            let mut disk = host.disk.lock().unwrap();
            for write in writes {
                match write {
                    Write::Put { table, key, value } => {
                        drop(disk.insert((table, key), value.to_vec()))
                    }
                    Write::Delete { table, key } => drop(disk.remove(&(table, key))),
                }
            }
            drop(disk);
            keeper.handle_recorded(ticket, local);
        }
        if keeper.poll_timeout().is_some_and(|at| at <= local) {
            keeper.handle_timeout(local);
        }
        self.drain(place);
    }

    /// A request reaches etcd.
    fn arrive(&mut self, place: usize, life: u64, id: RequestId, request: &Request) {
        let answer = self.etcd.carry_out(request);
        let cut = self.hosts[place].cut_from_etcd;
        if !cut && !self.dice.chance(self.weather.lost) {
            let way = self.way();
            self.launch(way, Flight::ToHost(place, life, Event::Answer(id, answer)));
        }
        let changes = self.etcd.changes[self.told..].to_vec();
        self.told = self.etcd.changes.len();
        let watched = [Self::keys().own(), Self::keys().beat(), Self::keys().wish()];
        for (_, change) in changes {
            let key = match &change {
                Change::Put(entry) => &entry.key,
                Change::Deleted(key, _) => key,
            };
            if !watched.contains(key) {
                continue;
            }
            for place in 0..self.hosts.len() {
                let host = &mut self.hosts[place];
                if host.cut_from_etcd {
                    host.missed = true;
                    continue;
                }
                let life = host.life;
                let way = self.way();
                self.launch(
                    way,
                    Flight::ToHost(place, life, Event::Change(change.clone())),
                );
            }
        }
    }

    fn way(&mut self) -> Duration {
        match self.dice.chance(self.weather.slow) {
            true => self.dice.millis(50, 900),
            false => self.dice.millis(1, 5),
        }
    }

    fn launch(&mut self, way: Duration, flight: Flight) {
        self.launched += 1;
        self.flights.insert((self.now + way, self.launched), flight);
    }

    fn tell(&mut self, place: usize, event: Event) {
        let host = &mut self.hosts[place];
        if host.paused_until.is_some() {
            host.waiting.push(event);
            return;
        }
        let local = host.clock.at(self.now);
        let Some(keeper) = &mut host.keeper else {
            return;
        };
        match event {
            Event::Answer(id, answer) => keeper.handle_answer(id, answer, local),
            Event::Change(change) => keeper.handle_change(&change, local),
            Event::Datagram(from, port, bytes) => {
                if let Some(rack) = keeper.rack_mut() {
                    rack.handle_datagram(from, port, &bytes, local);
                }
                keeper.settle(local);
            }
        }
        self.drain(place);
    }

    /// Carries what a host's keeper has.
    fn drain(&mut self, place: usize) {
        let now = self.now;
        let host = &mut self.hosts[place];
        let local = host.clock.at(now);
        let Some(keeper) = &mut host.keeper else {
            return;
        };
        keeper.settle(local);
        let mut asked = Vec::new();
        let mut answers = Vec::new();
        while let Some(told) = keeper.poll_told() {
            match told {
                Told::Began { fence, .. } => {
                    host.generation += 1;
                    self.happened.push(Happened::Began(place, fence));
                }
                Told::Ended { .. } => self.happened.push(Happened::Ended),
                Told::Pin(pinned) => host.pinned = pinned,
                Told::Wished(_) => {}
            }
        }
        while let Some(outgoing) = keeper.poll_transmit() {
            let permit = keeper.permit();
            if outgoing.changes && permit.is_none_or(|permit| !permit.holds(local)) {
                self.happened.push(Happened::Withheld { host: place });
                continue;
            }
            if outgoing.changes {
                self.happened.push(Happened::Left { host: place });
            }
            if host.cut_from_bmcs {
                continue;
            }
            let port = 1000 * (host.generation % 60) + outgoing.port % 1000;
            let ip = Ipv4Addr::new(192, 0, 2, u8::try_from(place + 1).unwrap());
            let from = SocketAddr::from((ip, u16::try_from(port).unwrap()));
            self.sim.send(from, outgoing.to, &outgoing.datagram, now);
        }
        while let Some((ticket, writes)) = keeper.poll_local() {
            host.writing.push_back((now + millis(2), ticket, writes));
        }
        while let Some(request) = keeper.poll_request() {
            asked.push(request);
        }
        if let Some(rack) = keeper.rack_mut() {
            while let Some((look, stretch)) = rack.poll_look() {
                let found = found(&host.disk.lock().unwrap(), &stretch);
                rack.handle_found(look, Ok(found), local);
            }
            while let Some((call, answer)) = rack.poll_answer() {
                answers.push(Happened::Answered(call, Box::new(answer)));
            }
        }
        self.happened.extend(answers);
        for (id, request) in asked {
            self.send(place, id, request);
        }
    }

    /// A request leaves a host: it arrives, is lost, or arrives when nobody waits for it any more.
    fn send(&mut self, place: usize, id: RequestId, request: Request) {
        let life = self.hosts[place].life;
        let silent = Event::Answer(id, Err(Trouble::Silent("no answer in 1 s".to_owned())));
        self.launch(secs(1), Flight::ToHost(place, life, silent));
        let cut = self.hosts[place].cut_from_etcd;
        if self.dice.chance(self.weather.late) {
            let way = self.dice.millis(500, 20_000);
            self.launch(way, Flight::ToEtcd(place, life, id, request));
        } else if !cut && !self.dice.chance(self.weather.lost) {
            let way = self.way();
            self.launch(way, Flight::ToEtcd(place, life, id, request));
        }
    }
}

fn wall(calendar: i64, now: Instant) -> WallTime {
    wall_of(calendar, now)
}

fn wall_of(calendar: i64, now: Instant) -> WallTime {
    let micros = 1_790_000_000_000_000_u64.saturating_add_signed(calendar * 1_000_000);
    WallTime::from_unix_micros(micros) + now.since_start()
}

fn found(disk: &BTreeMap<(Table, String), Vec<u8>>, stretch: &Stretch) -> Vec<(String, Vec<u8>)> {
    let entries = disk.iter().filter(|((table, key), _)| {
        (*table, key.starts_with(&stretch.prefix)) == (stretch.table, true)
    });
    let entries = entries.map(|((_, key), value)| (key.clone(), value.clone()));
    match stretch.end {
        End::Oldest => entries.take(stretch.limit).collect(),
        End::Newest => entries.rev().take(stretch.limit).collect(),
    }
}

fn node(place: usize) -> NodeSettings {
    NodeSettings {
        nmi_min_interval: secs(1),
        ..single::node(place)
    }
}
