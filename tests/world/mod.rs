//! A rack, its simulated BMCs and its journal in one virtual time, from one seed: what journeys are
//! told in.
//!
//! Nothing sleeps: the world moves when it is told to. The journal is a map that takes its time to
//! be durable, and a crash loses what was not; the network is that of `sim`.
#![allow(dead_code, reason = "each journey uses its part of the world")]

use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::bmc::vocabulary::OrderId;
use rackbmcd::entropy::{Entropy, Seeded};
use rackbmcd::model::{
    Batch, BatchStart, Control, HistoryEntry, Node, Operation, PowerOptions, PowerState, Role,
    Task, TaskId, TaskState, Who, Words,
};
use rackbmcd::rack::call::{Answer, Call, CallId, Look, Refused};
use rackbmcd::rack::permit::Succession;
use rackbmcd::rack::record::{End, Stretch, Table, Write};
use rackbmcd::rack::rights::Rights;
use rackbmcd::rack::settings::{Address, NodeSettings, RackSettings};
use rackbmcd::rack::{Birth, Copied, Rack};
use rackbmcd::session;
use rackbmcd::session::secret::Password;
use rackbmcd::sim;
use rackbmcd::sim::{BmcSettings, ChassisOrder, Conditions, Link, Mood, Privilege, User};
use rackbmcd::time::{Instant, WallTime};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a look at the journal finds.
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

/// A datagram as it left us.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub at: Instant,
    pub node: usize,
    pub order: Option<OrderId>,
    /// Which life of the daemon sent it.
    pub life: u64,
}

/// What became of a write, in its order.
#[derive(Clone, Debug)]
pub(crate) enum Logged {
    /// The core put it down.
    Put(Write),
    /// It is on the disk.
    Durable(Write),
}

/// See the head of this file.
pub(crate) struct World {
    pub now: Instant,
    pub sim: sim::Rack,
    pub settings: RackSettings,
    pub nodes: Vec<NodeSettings>,
    /// Nobody home while the daemon is down.
    rack: Option<Rack>,
    disk: BTreeMap<(Table, String), Vec<u8>>,
    /// Writes under way, with the moment at which they are durable.
    writing: VecDeque<(Instant, u64, Vec<Write>)>,
    /// How long a commit takes.
    pub commit_takes: Duration,
    /// Why the disk refuses, if it does.
    pub disk_full: Option<&'static str>,
    /// Commits that are durable.
    pub commits: usize,
    /// Commits that were tried: the disk refuses the one with this number (the first is 1), and
    /// takes it again later.
    pub tried: usize,
    pub refuses_commit: Option<usize>,
    /// The daemon is killed when this commit is durable, before it is told so.
    pub killed_at_commit: Option<usize>,
    next_call: u64,
    answers: BTreeMap<CallId, Result<Answer, Refused>>,
    /// Everything that left us.
    pub left: Vec<Left>,
    /// How many datagrams have reached us.
    pub arrived: u32,
    /// Writes as they are put down and become durable, where somebody wants to see them and takes
    /// them out.
    pub log: Option<Vec<(Instant, Logged)>>,
    seed: u64,
    pub lives: u64,
    /// The boot of the machine, where it says so: lives of one boot have one clock.
    pub boot: Option<Uuid>,
    /// What the calendar says while the world's own time is zero.
    calendar: WallTime,
    /// What waits in the sockets of a daemon that stands still.
    unread: Option<Vec<sim::Delivery>>,
    /// So many transactions are missing from the disk when the daemon starts next.
    pub copied: Copied,
    /// How the rack comes to the daemon when it starts next, where it has a second host.
    pub succession: Option<Succession>,
}

impl World {
    /// A rack of `count` nodes `n01`, `n02` ... with good BMCs, machines that are on, and perfect
    /// links.
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let mut entropy = Seeded::new(seed);
        let mut sim = sim::Rack::new();
        let mut nodes = Vec::new();
        for place in 0..count {
            let settings = BmcSettings {
                name: name(place),
                users: vec![User::new("admin", "secret", Privilege::Administrator)],
                guid: sim::guid_of(&name(place)),
                ..BmcSettings::default()
            };
            let bmc = sim::Bmc::new(settings, Mood::default(), entropy.next_u64());
            sim.add(address(place), bmc, Link::new(entropy.next_u64()));
            nodes.push(node(place));
        }
        let settings = RackSettings {
            name: "r1".into(),
            ..RackSettings::default()
        };
        let mut world = Self {
            now: Instant::after_start(secs(100_000)),
            sim,
            settings,
            nodes,
            rack: None,
            disk: BTreeMap::new(),
            writing: VecDeque::new(),
            commit_takes: millis(2),
            disk_full: None,
            commits: 0,
            tried: 0,
            refuses_commit: None,
            killed_at_commit: None,
            next_call: 0,
            answers: BTreeMap::new(),
            left: Vec::new(),
            arrived: 0,
            log: None,
            seed,
            lives: 0,
            boot: None,
            calendar: WallTime::from_unix_micros(1_790_000_000_000_000),
            unread: None,
            copied: Copied::No,
            succession: None,
        };
        world.start();
        world
    }

    /// The daemon starts on what the disk has.
    pub(crate) fn start(&mut self) {
        assert!(self.rack.is_none(), "it runs already");
        self.lives += 1;
        let remembered = self
            .disk
            .iter()
            .map(|((table, key), value)| (*table, key.clone(), value.clone()))
            .collect();
        let entropy = Box::new(Seeded::new(
            self.seed.wrapping_mul(31).wrapping_add(self.lives),
        ));
        let (settings, nodes) = (self.settings.clone(), self.nodes.clone());
        let birth = Birth {
            wall: self.wall(),
            now: self.now,
            boot: self.boot,
            copied: self.copied,
            succession: self.succession,
        };
        let rack = Rack::new(settings, nodes, remembered, birth, entropy);
        self.rack = Some(rack);
        self.drain();
    }

    /// The daemon is killed: what was not durable is lost, calls are not answered any more.
    pub(crate) fn crash(&mut self) {
        self.rack = None;
        self.writing.clear();
    }

    /// The daemon is given another configuration, and has it at its next start too.
    pub(crate) fn reload(
        &mut self,
        settings: RackSettings,
        nodes: Vec<NodeSettings>,
    ) -> Result<(), String> {
        let now = self.now;
        self.rack().reload(settings.clone(), nodes.clone(), now)?;
        (self.settings, self.nodes) = (settings, nodes);
        self.drain();
        Ok(())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.rack.is_some()
    }

    pub(crate) fn rack(&mut self) -> &mut Rack {
        self.rack.as_mut().expect("the daemon runs")
    }

    fn wall(&self) -> WallTime {
        self.calendar + self.now.since_start()
    }

    /// The calendar is set forward by so many seconds, or back where they are negative.
    pub(crate) fn set_calendar(&mut self, by: i64) {
        let micros = self.calendar.unix_micros();
        let micros = micros.saturating_add_signed(by * 1_000_000);
        self.calendar = WallTime::from_unix_micros(micros);
        let (wall, now) = (self.wall(), self.now);
        if let Some(rack) = &mut self.rack {
            rack.handle_wall(wall, now);
            self.drain();
        }
    }

    /// A copy of what the disk has.
    pub(crate) fn disk(&self) -> BTreeMap<(Table, String), Vec<u8>> {
        self.disk.clone()
    }

    /// Puts a copy in the place of what the disk has.
    pub(crate) fn put_back(&mut self, copy: BTreeMap<(Table, String), Vec<u8>>) {
        self.disk = copy;
    }

    /// The daemon's process is stopped for so long, and its disk with it; what comes in meanwhile
    /// is lost.
    pub(crate) fn stand_still(&mut self, gap: Duration) {
        let (rack, writing) = (self.rack.take(), std::mem::take(&mut self.writing));
        self.run_for(gap);
        (self.rack, self.writing) = (rack, writing);
        self.writing.iter_mut().for_each(|(at, ..)| *at += gap);
        let now = self.now;
        self.rack().handle_absence(gap, now);
        self.drain();
        for delivery in self.unread.take().unwrap_or_default() {
            self.deliver(&delivery);
        }
    }

    /// The same; what comes in meanwhile waits in the sockets, and is read afterwards.
    pub(crate) fn stand_still_and_catch_up(&mut self, gap: Duration) {
        self.unread = Some(Vec::new());
        self.stand_still(gap);
    }

    /// Lets the world go on for so long.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Lets the world go on until `done` or `end`; whether it was done.
    pub(crate) fn run_until(
        &mut self,
        end: Instant,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let mut turns = 0u64;
        loop {
            self.drain();
            if done(self) {
                return true;
            }
            let next = [
                self.sim.poll_timeout(),
                self.rack.as_ref().and_then(Rack::poll_timeout),
                self.writing.front().map(|(at, ..)| *at),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            turns = if next > self.now { 0 } else { turns + 1 };
            assert!(turns < 10_000, "the world stands still at {:?}", self.now);
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
        self.step();
        self.drain();
        done(self)
    }

    /// Everything that is due now.
    fn step(&mut self) {
        let now = self.now;
        while let Some(delivery) = self.sim.poll_delivery(now) {
            match &mut self.unread {
                Some(unread) => unread.push(delivery),
                None => self.deliver(&delivery),
            }
        }
        while self.writing.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, ticket, writes) = self.writing.pop_front().expect("just seen");
            let Some(rack) = &mut self.rack else { continue };
            self.tried += 1;
            let refused = (self.refuses_commit == Some(self.tried)).then_some("input/output error");
            if let Some(why) = self.disk_full.or(refused) {
                rack.handle_store_trouble(ticket, why, now);
            } else {
                self.commits += 1;
                for write in writes {
                    if let Some(log) = &mut self.log {
                        log.push((now, Logged::Durable(write.clone())));
                    }
                    match write {
                        Write::Put { table, key, value } => {
                            drop(self.disk.insert((table, key), value.to_vec()))
                        }
                        Write::Delete { table, key } => drop(self.disk.remove(&(table, key))),
                    }
                }
                if self.killed_at_commit == Some(self.commits) {
                    self.crash();
                    return;
                }
                rack.handle_durable(ticket, now);
            }
            self.drain();
        }
        if let Some(rack) = &mut self.rack
            && rack.poll_timeout().is_some_and(|at| at <= now)
        {
            rack.handle_timeout(now);
            self.drain();
        }
    }

    /// A datagram reaches the daemon, where it runs.
    fn deliver(&mut self, delivery: &sim::Delivery) {
        let port = u64::from(delivery.to.port()) - 10_000;
        if let Some(rack) = &mut self.rack {
            rack.handle_datagram(delivery.from, port, &delivery.bytes, self.now);
            self.arrived += 1;
            self.drain();
        }
    }

    fn drain(&mut self) {
        let Some(rack) = &mut self.rack else { return };
        while let Some(outgoing) = rack.poll_transmit() {
            let from = SocketAddr::from((
                Ipv4Addr::new(192, 0, 2, 1),
                10_000 + u16::try_from(outgoing.port % 50_000).unwrap(),
            ));
            let node = place_of(outgoing.to);
            self.left.push(Left {
                at: self.now,
                node,
                order: outgoing.order,
                life: self.lives,
            });
            self.sim
                .send(from, outgoing.to, &outgoing.datagram, self.now);
        }
        while let Some((look, stretch)) = rack.poll_look() {
            rack.handle_found(look, Ok(found(&self.disk, &stretch)), self.now);
        }
        while let Some((ticket, writes)) = rack.poll_writes() {
            if let Some(log) = &mut self.log {
                log.extend(
                    writes
                        .iter()
                        .map(|write| (self.now, Logged::Put(write.clone()))),
                );
            }
            self.writing
                .push_back((self.now + self.commit_takes, ticket, writes));
        }
        while let Some((call, answer)) = rack.poll_answer() {
            assert!(
                self.answers.insert(call, answer).is_none(),
                "a call was answered twice"
            );
        }
    }

    /// Aborts a task on a disk that takes no time: how long the core took, from the call to its
    /// answer, in real time.
    pub(crate) fn time_abort(&mut self, task: TaskId) -> Duration {
        self.drain();
        while !self.writing.is_empty() {
            self.run_for(self.commit_takes);
        }
        let call = Call::Control {
            task,
            control: Control::Abort,
            who: who(),
        };
        let (id, now) = (CallId(self.next_call), self.now);
        self.next_call += 1;
        let rack = self.rack.as_mut().expect("the daemon runs");
        let (mut datagrams, mut puts) = (Vec::new(), Vec::new());
        let began = std::time::Instant::now();
        rack.handle_call(id, call, &Rights::everywhere_as(Role::Admin), now);
        datagrams.extend(std::iter::from_fn(|| rack.poll_transmit()));
        puts.extend(std::iter::from_fn(|| rack.poll_writes()));
        if let Some((ticket, _)) = puts.last() {
            rack.handle_durable(*ticket, now);
        }
        let answer = rack.poll_answer();
        let took = began.elapsed();
        assert!(
            matches!(answer, Some((to, Ok(_))) if to == id),
            "{answer:?}"
        );
        for outgoing in datagrams {
            assert_eq!(outgoing.order, None, "nothing of a task leaves");
        }
        for (table, key, value) in puts.into_iter().flat_map(|(_, writes)| writes).map(parts) {
            match value {
                Some(value) => drop(self.disk.insert((table, key), value.to_vec())),
                None => drop(self.disk.remove(&(table, key))),
            }
        }
        took
    }

    /// Asks, and does not wait for the answer.
    pub(crate) fn ask(&mut self, call: Call) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let now = self.now;
        self.rack()
            .handle_call(id, call, &Rights::everywhere_as(Role::Admin), now);
        self.drain();
        id
    }

    /// What the disk has, in one table.
    pub(crate) fn remembered(&self, table: Table) -> impl Iterator<Item = (&str, &[u8])> {
        self.disk
            .iter()
            .filter(move |((other, _), _)| *other == table)
            .map(|((_, key), value)| (key.as_str(), value.as_slice()))
    }

    /// Something damages an entry of the journal, or puts one there.
    pub(crate) fn damage(&mut self, table: Table, key: &str, value: &[u8]) {
        self.disk.insert((table, key.to_owned()), value.to_vec());
    }

    /// A person discards an entry while the daemon is down.
    pub(crate) fn discard(&mut self, table: Table, key: &str) {
        assert!(!self.is_running() && self.disk.remove(&(table, key.to_owned())).is_some());
    }

    pub(crate) fn has_answered(&self, call: CallId) -> bool {
        self.answers.contains_key(&call)
    }

    /// The answer to a call, if it is there.
    pub(crate) fn take_answer(&mut self, call: CallId) -> Option<Result<Answer, Refused>> {
        self.answers.remove(&call)
    }

    /// Asks and lets the world go on until the answer is there, at most ten seconds.
    pub(crate) fn call(&mut self, call: Call) -> Result<Answer, Refused> {
        let id = self.ask(call);
        let end = self.now + secs(10);
        assert!(
            self.run_until(end, |world| world.has_answered(id)),
            "no answer within ten seconds"
        );
        self.take_answer(id).expect("just seen")
    }

    pub(crate) fn put_power(
        &mut self,
        node: &str,
        target: &str,
        options: PowerOptions,
    ) -> Result<Option<Task>, Refused> {
        let target = PowerTarget::from_word(target).expect("one of the nine");
        match self.call(Call::SetPower {
            node: node.into(),
            change: target.change(),
            options,
            who: who(),
        })? {
            Answer::Taken(taken) => Ok(taken.map(|taken| self.task(taken.task))),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn start_task(
        &mut self,
        node: &str,
        operation: Operation,
        options: PowerOptions,
    ) -> TaskId {
        match self.call(Call::Start {
            node: node.into(),
            operation,
            options,
            who: who(),
        }) {
            Ok(Answer::Task(task)) => task.id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn start_batch(&mut self, request: BatchStart) -> Batch {
        let who = who();
        match self.call(Call::StartBatch { request, who }) {
            Ok(Answer::Batch(view)) => view,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn control(&mut self, task: TaskId, control: Control) -> Result<Task, Refused> {
        match self.call(Call::Control {
            task,
            control,
            who: who(),
        })? {
            Answer::Task(task) => Ok(task),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn task(&mut self, id: TaskId) -> Task {
        match self.call(Call::Look(Look::Task(id))) {
            Ok(Answer::Task(task)) => task,
            other => panic!("{other:?}"),
        }
    }

    /// Lets the world go on until the task has ended, at most so long.
    pub(crate) fn run_task(&mut self, id: TaskId, at_most: Duration) -> Task {
        let end = self.now + at_most;
        while self.now < end {
            let view = self.task(id);
            if view.ended {
                return view;
            }
            self.run_for(millis(100));
        }
        panic!("{id} has not ended: {:#?}", self.task(id));
    }

    pub(crate) fn node(&mut self, name: &str) -> Node {
        match self.call(Call::Look(Look::Node(name.into()))) {
            Ok(Answer::Node(node)) => node,
            other => panic!("{other:?}"),
        }
    }

    /// What happened to a node, newest first.
    pub(crate) fn history(&mut self, name: &str) -> Vec<HistoryEntry> {
        let (node, limit) = (name.to_owned(), usize::MAX);
        match self.call(Call::History { node, limit }) {
            Ok(Answer::History(entries)) => entries,
            other => panic!("{other:?}"),
        }
    }

    /// The GUIDs of a BMC that is another one than before.
    pub(crate) fn bmc_change(&mut self, name: &str) -> Option<rackbmcd::model::BmcChange> {
        match self.call(Call::Look(Look::Explain(name.into()))) {
            Ok(Answer::Explanation(found)) => found.identity,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn power_state(&mut self, name: &str) -> PowerState {
        self.node(name).power_state
    }

    /// The simulated BMC of a node.
    pub(crate) fn bmc(&mut self, name: &str) -> &mut sim::Bmc {
        self.sim.bmc_mut(address(place(name))).expect("one of ours")
    }

    pub(crate) fn mood(&mut self, name: &str) -> &mut Mood {
        self.bmc(name).mood_mut()
    }

    pub(crate) fn link(&mut self, name: &str, conditions: Conditions) {
        self.sim
            .link_mut(address(place(name)))
            .expect("one of ours")
            .set_both(conditions);
    }

    /// Whether the machine itself is on.
    pub(crate) fn is_on(&mut self, name: &str) -> bool {
        self.bmc(name).host().is_on()
    }

    /// How often the machine has carried an order out.
    pub(crate) fn executed(&mut self, name: &str, order: ChassisOrder) -> usize {
        self.bmc(name).host().count(order)
    }

    pub(crate) fn state(&mut self, id: TaskId) -> TaskState {
        let state = self.task(id).state;
        state.known().expect("the rack's own word")
    }
}

fn parts(write: Write) -> (Table, String, Option<Vec<u8>>) {
    match write {
        Write::Put { table, key, value } => (table, key, Some(value.to_vec())),
        Write::Delete { table, key } => (table, key, None),
    }
}

pub(crate) fn who() -> Who {
    Who {
        name: "alice".into(),
        ..Who::default()
    }
}

/// A batch over these nodes, with no more options.
pub(crate) fn batch_of(nodes: &[&str], operation: Operation) -> BatchStart {
    let nodes = nodes.iter().map(|node| (*node).to_owned());
    BatchStart::new(nodes.collect(), operation)
}

pub(crate) fn name(place: usize) -> String {
    format!("n{:02}", place + 1)
}

pub(crate) fn place(name: &str) -> usize {
    name[1..].parse::<usize>().expect("n and a number") - 1
}

pub(crate) fn address(place: usize) -> SocketAddr {
    let [row, place] = [place / 250, place % 250].map(|part| u8::try_from(part).expect("a rack"));
    SocketAddr::from((Ipv4Addr::new(10, 0, row + 1, place + 1), 623))
}

fn place_of(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => {
            let [_, _, row, place] = v4.ip().octets().map(usize::from);
            (row - 1) * 250 + place - 1
        }
        // Nobody's.
        SocketAddr::V6(_) => usize::MAX,
    }
}

pub(crate) fn node(place: usize) -> NodeSettings {
    NodeSettings {
        name: name(place).into(),
        uuid: Uuid::from_u128(0x7ac4_0000 + place as u128),
        groups: Arc::default(),
        address: Address {
            host: address(place).ip().to_string().into(),
            port: 623,
        },
        login: Arc::new(session::Settings::new(
            "admin",
            Password::new(*b"secret").expect("short"),
        )),
        power: Arc::default(),
        care: Arc::default(),
        nmi: true,
        nmi_min_interval: secs(60),
    }
}
