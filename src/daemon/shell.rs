//! The loop: one input, drain every output of the [`Rack`], wait for the next. The rack decides; this carries.

mod recording;

use super::alarm::Alarm;
use super::audit::limit::Oldest;
use super::audit::{self, Trail};
use super::clock::Clock;
use super::listen::{self, Listeners};
use super::locks::Locks;
use super::names::{self, UserNames};
use super::on_disk::OnDisk;
use super::randomness::Kernel;
use super::signals::Signals;
use super::spread::Spread;
use super::store::committer::{self, Batch, Committed, Look};
use super::store::{Store, StoreError};
use super::thread::Executor;
use super::udp::{Received, Sockets};
use super::{Failure, count, kernel, metrics, support};
use crate::api::access::Peer;
use crate::api::serve::{Asked, Audit, Context, Noted, Reply, State, TrailQueue, serve_unix};
use crate::bmc::Outgoing;
#[cfg(feature = "tls")]
use crate::config::Tls;
use crate::config::{ApiSettings, Complaint, Configuration, Disk};
use crate::entropy::Entropy;
use crate::model::{AuditPage, Health, Policy, Role};
use crate::rack::call::{Answer, CallId, Refused};
use crate::rack::record::{Stretch, Write};
use crate::rack::{Rack, Unwritten};
use crate::time::Instant;
use nix::sys::signal::Signal;
use sd_notify::NotifyState;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::lock::Semaphore;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// What can happen to the loop, beside calls.
#[derive(Debug)]
pub(super) enum Input {
    /// Datagrams came.
    Datagrams(Received),
    /// The journal wrote, or could not.
    Committed(Committed),
    /// A signal came.
    Signal(Signal),
    /// The oldest records of the audit trail, of which there are too many.
    Oldest(Result<Option<Oldest>, String>),
    /// Entries of the journal that the rack wanted to see.
    Found(u64, Result<Vec<(String, Vec<u8>)>, String>),
    /// A BMC's name was looked up.
    Resolved(Uuid, String, Result<Vec<SocketAddr>, String>),
    /// Somebody wants the metrics.
    Metrics(Sender<String>),
    /// The configuration on the disk has changed, and was looked at.
    Judged(Box<Result<Configuration, Vec<Complaint>>>),
    /// The configuration was read again.
    Reloaded(Box<Result<Configuration, Vec<Complaint>>>),
}

/// Runs the daemon until it is told to stop.
///
/// `executor` is of the thread that this runs on: connections, timers and sockets are served there, too.
pub(super) async fn run(
    path: PathBuf,
    mut configuration: Configuration,
    new_journal: bool,
    signals: Signals,
    executor: Executor,
) -> Result<(), Failure> {
    let clock = Clock;
    let state_dir = configuration.daemon.state_dir.clone();
    // A large journal on a slow disk takes longer to read than a start may take otherwise.
    let megabytes = u32::try_from(Store::length(&state_dir) >> 20).unwrap_or(u32::MAX);
    let opening = OPENING.saturating_add(megabytes.saturating_mul(1_000_000));
    notify(&[NotifyState::ExtendTimeoutUsec(opening)]);
    let store = match new_journal {
        true => Store::open_anew(&state_dir),
        false => Store::open(&state_dir),
    };
    let mut store = store.map_err(Failure::of_store)?;
    let (copied, journal_size) = (store.copied(), store.size());
    let mut remembered = store.load().map_err(Failure::new)?;
    remembered.retain(|(table, key, _)| !audit::is_ours(*table, key));
    let trail = Trail::open(&mut store).map_err(Failure::new)?;
    let rack_settings = configuration.rack.clone();
    // Kept once: of thousands of nodes they are megabytes.
    let nodes = std::mem::take(&mut configuration.nodes);
    let rack = Rack::new(
        rack_settings,
        nodes,
        remembered,
        clock.birth(copied),
        Box::new(Kernel::new()),
    );
    let listeners = Listeners::open(&configuration.api)?;
    let (to_inputs, inputs) = smol::channel::bounded(INPUTS);
    let (journal, batches) = smol::channel::unbounded();
    let (committed, outcomes) = smol::channel::unbounded();
    let (looks, looked) = smol::channel::bounded(LOOKS);
    let committer = committer::spawn(store, batches, looked, committed).map_err(Failure::new)?;
    let (asks, asked) = smol::channel::bounded(CALLS);
    let (audit, audits) = TrailQueue::new();
    let (going_down, shutdown) = smol::channel::bounded(1);
    let context = context(
        asks,
        looks.clone(),
        audit,
        &to_inputs,
        &configuration,
        path.clone(),
        shutdown,
    )?;
    let mut tasks = vec![
        executor.spawn(pass_outcomes(outcomes, to_inputs.clone())),
        executor.spawn(pass_signals(signals, to_inputs.clone())),
        executor.spawn(serve_unix(listeners.unix.clone(), context.clone())),
    ];
    if let Some(tcp) = listeners.tcp.clone() {
        tasks.push(listen::serve_tcp(tcp, context.clone(), &executor));
    }
    let (nodes, ..) = rack.summary(clock.now());
    log::info!(
        "rack {}: {}, state in {}",
        rack.name(),
        count(nodes, "node"),
        state_dir.display()
    );
    let alarm = Alarm::new().map_err(Failure::new)?;
    let mut shell = Shell {
        clock,
        rack,
        sockets: Sockets::new(to_inputs.clone(), executor.clone()),
        locks: Locks::new(),
        spread: Spread::new(configuration.rack.packets_per_ms),
        send_more_at: None,
        journal: Some(journal),
        last_ticket: 0,
        write_at: None,
        trail,
        unsynced_records: 0,
        recorded_under: 0,
        unrecorded_at: Instant::START,
        audit_limit: configuration.daemon.audit_limit(),
        shorten_at: Some(Instant::START),
        journal_size,
        replies: BTreeMap::new(),
        accepting: None,
        next_call: 0,
        to_inputs,
        on_disk: OnDisk::new(path),
        reloading: None,
        executor,
        context,
        looks,
        look_turns: Rc::new(Semaphore::new(LOOKS)),
        look_ups: Rc::new(Semaphore::new(LOOK_UPS)),
        api: configuration.api,
        going_down: Some(going_down),
        stop_by: None,
        watchdog: sd_notify::watchdog_enabled().map(|period| period / 2),
        housekeeping_at: Instant::START,
        status: String::new(),
        awake_at: clock.now(),
        listen_until: Instant::START,
    };
    let what = format!(
        "rackbmcd {}, configuration sha256:{}",
        env!("CARGO_PKG_VERSION"),
        configuration.digest
    );
    shell.record_own("START", what, None);
    notify(&[NotifyState::Ready]);
    shell.run(inputs, asked, audits, alarm).await;
    listeners.remove();
    // The journal's thread ends when it has written all that it was given.
    // No look-up that hangs is waited for.
    while !committer.is_finished() {
        smol::Timer::after(JOIN_LOOK).await;
    }
    if committer.join().is_err() {
        return Err(Failure::new("the journal's thread broke down"));
    }
    log::info!("stopped");
    Ok(())
}

struct Shell {
    clock: Clock,
    rack: Rack,
    sockets: Sockets,
    locks: Locks,
    /// How datagrams are spread that nobody waits for, and when the next of those that wait may leave.
    spread: Spread,
    send_more_at: Option<Instant>,
    /// Taken away at the end, so that the journal's thread ends.
    journal: Option<Sender<Batch>>,
    last_ticket: u64,
    /// When what nobody waits for is written.
    write_at: Option<Instant>,
    trail: Trail,
    /// Records of the trail that the disk has not confirmed, and the ticket of the newest.
    unsynced_records: usize,
    recorded_under: u64,
    /// When it was last said what was not recorded.
    unrecorded_at: Instant,
    /// The bytes that the trail may have.
    audit_limit: u64,
    /// When it may be made shorter; `None` while that is under way.
    shorten_at: Option<Instant>,
    /// The bytes of the journal's file.
    journal_size: Arc<AtomicU64>,
    replies: BTreeMap<CallId, Waiting>,
    /// The call of this turn that is meant to change something.
    accepting: Option<(CallId, Rc<Noted>)>,
    next_call: u64,
    to_inputs: Sender<Input>,
    on_disk: OnDisk,
    /// While the configuration is being read again: whether that was asked for once more.
    reloading: Option<bool>,
    executor: Executor,
    context: Rc<Context>,
    /// The way to the thread that has the store, for looks at it.
    looks: Sender<Look>,
    /// Turns of looking at it.
    look_turns: Rc<Semaphore>,
    /// Turns of looking a BMC's name up.
    look_ups: Rc<Semaphore>,
    /// What the listeners were made with.
    api: ApiSettings,
    /// Dropped to tell the API that the daemon goes down.
    going_down: Option<Sender<()>>,
    /// When patience with the shutdown ends.
    stop_by: Option<Instant>,
    watchdog: Option<Duration>,
    housekeeping_at: Instant,
    status: String,
    /// When the loop looked at the clock last.
    awake_at: Instant,
    /// After a time in which the loop stood still: what came in meanwhile is read before anything counts as missing.
    listen_until: Instant,
}

/// Somebody who waits for an answer.
struct Waiting {
    reply: Reply,
    peer: Rc<Peer>,
    /// Whether nothing is meant to change: such a call may be dropped.
    looks: bool,
}

/// What ends a wait.
enum Turn {
    Input(Input),
    Asked(Asked),
    Audit(Audit),
    Time,
}

impl Shell {
    /// The time; the rack is told first where the loop stood still since it was asked last.
    fn now(&mut self) -> Instant {
        let now = self.clock.now();
        let gap = now - self.awake_at;
        self.awake_at = now;
        if gap > STOOD_STILL {
            self.listen_until = now + LISTEN;
            self.rack.handle_absence(gap, now);
        }
        now
    }

    /// When the rack wants its time to be looked at. Regular readings may wait a moment for others, so that they leave, and
    /// their answers come, together.
    fn due_at(&self) -> Option<Instant> {
        let reading = self.rack.poll_reading().map(|at| at + TOGETHER);
        self.rack.poll_deadline().into_iter().chain(reading).min()
    }

    /// Sends what waits, none of it to a BMC that another daemon has, and what comes of it where some of that could not
    /// leave this host.
    fn send(&mut self) {
        for round in 0.. {
            let outgoing = self.take_outgoing();
            if outgoing.is_empty() {
                break;
            }
            let now = self.now();
            let outgoing = self.withhold(outgoing, now);
            let lost = self.sockets.send(outgoing).into_iter();
            for (port, to, why) in lost.filter(|_| round < SENT_IN_A_TURN) {
                self.rack.handle_unreachable(to, port, why, now);
            }
        }
        self.sockets.gather(self.rack.is_at_leisure());
    }

    /// What operations wait for, and as much else as may leave now.
    fn take_outgoing(&mut self) -> Vec<Outgoing> {
        let mut outgoing: Vec<_> = std::iter::from_fn(|| self.rack.poll_urgent()).collect();
        self.send_more_at = None;
        if !self.rack.has_transmits() {
            return outgoing;
        }
        let now = self.now();
        // Who goes down is not asked again.
        let room = match self.stop_by {
            Some(_) => usize::MAX,
            None => self.spread.room(now),
        };
        let urgent = outgoing.len();
        let others = std::iter::from_fn(|| self.rack.poll_transmit());
        outgoing.extend(others.take(room));
        self.spread.sent(outgoing.len() - urgent);
        if self.rack.has_transmits() {
            self.send_more_at = Some(self.spread.next());
        }
        outgoing
    }

    async fn run(
        mut self,
        inputs: Receiver<Input>,
        asked: Receiver<Asked>,
        audits: Receiver<Audit>,
        mut alarm: Alarm,
    ) {
        loop {
            self.keep_house();
            self.drain();
            let now = self.now();
            let over = |by| self.rack.is_quiet() || now >= by;
            if self.stop_by.is_some_and(over) {
                break;
            }
            let due = self.due_at().unwrap_or(self.housekeeping_at);
            let wake = due.min(self.housekeeping_at).max(self.listen_until);
            let more = self.send_more_at.into_iter().chain(self.write_at);
            let wake = more.fold(wake, Instant::min);
            alarm.set(wake, self.clock);
            let room = self.unsynced_records < UNSYNCED_RECORDS;
            let turn = async { inputs.recv().await.map_or(Turn::Time, Turn::Input) }
                .or(async {
                    match asked.recv().await {
                        Ok(asked) => Turn::Asked(asked),
                        // The API is gone: nobody asks any more.
                        Err(_) => smol::future::pending().await,
                    }
                })
                .or(async {
                    // Who is to be recorded waits for a disk that lags behind.
                    let audits = audits.recv();
                    match room.then_some(audits) {
                        Some(next) => match next.await {
                            Ok(audit) => Turn::Audit(audit),
                            Err(_) => smol::future::pending().await,
                        },
                        None => smol::future::pending().await,
                    }
                })
                .or(async {
                    alarm.rung().await;
                    Turn::Time
                })
                .await;
            match turn {
                Turn::Input(input) => {
                    self.handle(input);
                    // However much a BMC babbles, callers have their turn.
                    if let Ok(asked) = asked.try_recv() {
                        self.drain();
                        self.ask(asked);
                    }
                }
                Turn::Asked(asked) => self.ask(asked),
                Turn::Audit(audit) => self.record(audit),
                Turn::Time => {}
            }
            let now = self.now();
            let due = self.due_at().is_some_and(|at| at <= now);
            if due && now >= self.listen_until {
                self.rack.handle_timeout(now);
            }
        }
        self.drain();
        // What the API said at the very end is audited, too.
        while let Ok(audit) = audits.try_recv() {
            self.record(audit);
        }
        self.journal = None;
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Datagrams(received) => {
                for (address, why) in received.unreachable {
                    self.rack
                        .handle_unreachable(address, received.port, why, now);
                }
                for (from, datagram) in received.datagrams {
                    self.rack
                        .handle_datagram(from, received.port, &datagram, now);
                }
            }
            Input::Committed(Committed::Durable(ticket)) => {
                if ticket >= self.recorded_under {
                    self.unsynced_records = 0;
                }
                self.rack.handle_durable(ticket, now);
            }
            Input::Committed(Committed::Failed { ticket, reason }) => {
                self.rack.handle_store_trouble(ticket, &reason, now);
            }
            Input::Signal(Signal::SIGHUP) => self.begin_reload(),
            Input::Signal(signal) => self.begin_stop(signal, now),
            Input::Resolved(node, host, answer) => {
                self.rack.handle_resolved(node, &host, answer, now);
            }
            Input::Oldest(oldest) => self.shorten(oldest, now),
            Input::Found(look, found) => self.rack.handle_found(look, found, now),
            Input::Metrics(reply) => {
                let snapshot = self.snapshot(now);
                // Megabytes of text for a large rack: nobody else is to wait for them.
                let write = async move {
                    let text = smol::unblock(move || metrics::text(snapshot)).await;
                    // Nobody waits any more where this fails.
                    let _ = reply.try_send(text);
                };
                self.executor.spawn(write).detach();
            }
            Input::Judged(outcome) => self.judge(&outcome),
            Input::Reloaded(outcome) => {
                self.judge(&outcome);
                self.reload(*outcome, now);
                if self.reloading.take() == Some(true) {
                    self.begin_reload();
                }
            }
        }
    }

    fn ask(&mut self, asked: Asked) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let rights = self.context.policy().rights(&asked.peer);
        let looks = asked.call.only_looks();
        let now = self.now();
        let nodes = self.rack.handle_call(id, asked.call, &rights, now);
        asked.noted.nodes_are(&nodes);
        if !looks {
            self.accepting = Some((id, asked.noted));
        }
        let waiting = Waiting {
            reply: asked.reply,
            peer: asked.peer,
            looks,
        };
        self.replies.insert(id, waiting);
    }

    /// What may leave of this: nothing for a BMC that another daemon of this host has, of which the rack hears.
    fn withhold(&mut self, mut outgoing: Vec<Outgoing>, now: Instant) -> Vec<Outgoing> {
        let mut news = BTreeMap::new();
        let locks = &mut self.locks;
        outgoing.retain(|out| {
            let (may_leave, told) = locks.take(out.to, now);
            if let Some(lock) = told {
                news.entry(out.to).or_insert(lock);
            }
            may_leave
        });
        for (to, lock) in news {
            self.rack.handle_lock(to, &lock, now);
        }
        outgoing
    }

    /// Carries every output of the rack to where it belongs: datagrams first, so that no answer overtakes them.
    fn drain(&mut self) {
        self.send();
        let answers: Vec<_> = std::iter::from_fn(|| self.rack.poll_answer()).collect();
        let mut batches = match self.writes_now() {
            true => std::iter::from_fn(|| self.rack.poll_writes()).collect(),
            false => Vec::new(),
        };
        let refused = |id| {
            answers
                .iter()
                .any(|(call, answer)| *call == id && answer.is_err())
        };
        if let Some((id, noted)) = self.accepting.take()
            && !refused(id)
        {
            self.record_with(&mut batches, id, &noted);
        }
        for (ticket, writes) in batches {
            self.last_ticket = ticket;
            self.remember(ticket, writes);
        }
        self.look_for_surplus();
        while let Some((look, stretch)) = self.rack.poll_look() {
            let (inputs, looks) = (self.to_inputs.clone(), self.looks.clone());
            let turns = self.look_turns.clone();
            let find = async move {
                // Until the loop has it: each may be half a megabyte.
                let _turn = turns.acquire().await;
                let found = find(looks, stretch).await;
                // The loop has ended where this fails.
                let _ = inputs.send(Input::Found(look, found)).await;
            };
            self.executor.spawn(find).detach();
        }
        while let Some((node, host)) = self.rack.poll_resolve() {
            let (inputs, turns) = (self.to_inputs.clone(), self.look_ups.clone());
            let look_up = async move {
                let name = host.clone();
                // Resolvers that hang must not take all threads that others need.
                let _turn = turns.acquire().await;
                let answer = smol::unblock(move || names::resolve(&name)).await;
                // The loop has ended where this fails.
                let _ = inputs.send(Input::Resolved(node, host, answer)).await;
            };
            self.executor.spawn(look_up).detach();
        }
        for (call, answer) in answers {
            if let Some(waiting) = self.replies.remove(&call) {
                let answer = answer.map(|answer| match answer {
                    // The rack knows of no file.
                    Answer::Health(health) => Answer::Health(self.with_disk(health)),
                    other => other,
                });
                waiting.reply.send(answer);
            }
        }
    }

    /// Whether what the rack has put down goes to the disk now. What nobody waits for waits a moment, and goes with the next
    /// that somebody does wait for: a sync takes milliseconds, and an order waits until one that is under way is over.
    fn writes_now(&mut self) -> bool {
        let now = self.awake_at;
        let at_once = self.accepting.is_some() || self.stop_by.is_some();
        let due = match self.rack.unwritten() {
            Unwritten::Nothing | Unwritten::Awaited => true,
            Unwritten::Idle => at_once || *self.write_at.get_or_insert(now + GATHER) <= now,
        };
        if due {
            self.write_at = None;
        }
        due
    }

    fn remember(&self, ticket: u64, writes: Vec<Write>) {
        let Some(journal) = &self.journal else { return };
        if journal.try_send(Batch { ticket, writes }).is_err() {
            log::error!("the journal's thread is gone");
        }
    }

    /// What is due now and then: a sign of life for systemd, clients that went away, sockets that nobody uses.
    fn keep_house(&mut self) {
        let now = self.now();
        // A little early where the loop is awake anyway: else it would wake for this alone.
        if now + EARLY < self.housekeeping_at {
            return;
        }
        self.housekeeping_at = now + self.watchdog.unwrap_or(HOUSEKEEPING).min(HOUSEKEEPING);
        self.rack.handle_wall(self.clock.wall(), now);
        self.tell_unrecorded(now);
        let gone: Vec<CallId> = self
            .replies
            .iter()
            .filter(|(_, waiting)| waiting.reply.is_gone())
            .map(|(call, _)| *call)
            .collect();
        for call in gone {
            self.replies.remove(&call);
            self.rack.forget_call(call);
        }
        self.sockets.keep(&self.rack.ports_in_use());
        self.locks.keep(&self.rack.addresses_in_use());
        self.locks.answer();
        if self.on_disk.wants_judging(now) {
            self.load(Input::Judged);
        }
        if self.watchdog.is_some() {
            notify(&[NotifyState::Watchdog]);
        }
        let (nodes, tasks, troubled) = self.rack.summary(now);
        let mut status = match nodes {
            0 => "no nodes yet: its configuration wants a [[node]], then a reload".to_owned(),
            _ => format!(
                "{}, {} running, {} in trouble",
                count(nodes, "node"),
                count(tasks, "task"),
                count(troubled, "BMC")
            ),
        };
        if let Some(refused) = self.on_disk.refused() {
            let (since, why) = (refused.since, &refused.why);
            status += &format!("; the configuration on disk is refused since {since}: {why}");
        }
        if self.status != status && self.stop_by.is_none() {
            notify(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    fn with_disk(&self, health: Health) -> Health {
        Health {
            configuration_refused: self.on_disk.refused().cloned(),
            ..health
        }
    }

    fn snapshot(&self, now: Instant) -> metrics::Snapshot {
        metrics::Snapshot {
            health: self.with_disk(self.rack.health(now)),
            nodes: self.rack.nodes(now),
            counters: self.rack.counters().clone(),
            figures: self.rack.figures(now),
            sockets: self.sockets.len(),
            journal_bytes: self.journal_size.load(Ordering::Relaxed),
            audit_bytes: self.trail.bytes(),
            overflowed: self.sockets.overflowed(),
        }
    }

    fn begin_reload(&mut self) {
        if let Some(again) = &mut self.reloading {
            // One that hangs, in a directory service, is not joined by others.
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
        self.load(Input::Reloaded);
    }

    /// Reads the configuration off the loop.
    fn load(&self, bring: fn(Box<Result<Configuration, Vec<Complaint>>>) -> Input) {
        let (path, inputs) = (self.on_disk.path().to_owned(), self.to_inputs.clone());
        let read = async move {
            let outcome = smol::unblock(move || Configuration::load(&path, &Disk)).await;
            // The loop has ended where this fails.
            let _ = inputs.send(bring(Box::new(outcome))).await;
        };
        self.executor.spawn(read).detach();
    }

    /// Says where the configuration on the disk became wrong, or good again.
    fn judge(&mut self, outcome: &Result<Configuration, Vec<Complaint>>) {
        if !self.on_disk.judged(outcome, self.clock.wall()) {
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

    fn reload(&mut self, outcome: Result<Configuration, Vec<Complaint>>, now: Instant) {
        match outcome {
            Err(complaints) => {
                complaints
                    .iter()
                    .for_each(|complaint| log::error!("{complaint}"));
                log::error!("the new configuration is wrong: the old one stays in force");
            }
            // A file that was cut off, more likely than a rack that was taken away.
            Ok(configuration) if configuration.nodes.is_empty() && self.rack.summary(now).0 > 0 => {
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
                let packets_per_ms = configuration.rack.packets_per_ms;
                let what = format!("configuration sha256:{}", configuration.digest);
                let api = configuration.api;
                self.audit_limit = configuration.daemon.audit_limit();
                match self
                    .rack
                    .reload(configuration.rack, configuration.nodes, now)
                {
                    Ok(()) => {
                        self.context.policy.replace(Rc::new(policy));
                        self.spread = Spread::new(packets_per_ms);
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

    /// Who may look no longer does not wait for what comes next.
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
            self.rack.forget_call(call);
            waiting.reply.send(Err(Refused::NotPermitted {
                role: Role::Reader,
                nodes: Vec::new(),
            }));
        }
    }

    fn begin_stop(&mut self, signal: Signal, now: Instant) {
        if self.stop_by.is_some() {
            log::warn!("{signal} again: stopping at once");
            self.stop_by = Some(now);
            return;
        }
        let (_, tasks, _) = self.rack.summary(now);
        let tasks = count(tasks, "task");
        log::info!("{signal}: stopping; {tasks} to go on with at the next start");
        let status = format!("stopping; {tasks} to go on with at the next start");
        notify(&[NotifyState::Stopping, NotifyState::Status(&status)]);
        self.stop_by = Some(now + STOP_PATIENCE);
        self.going_down = None;
        self.rack.stop(now);
        self.record_own("STOP", format!("{signal}; {tasks} to go on with"), None);
    }
}

/// What the API needs of the world.
fn context(
    asks: Sender<Asked>,
    looks: Sender<Look>,
    audit: TrailQueue,
    inputs: &Sender<Input>,
    configuration: &Configuration,
    path: PathBuf,
    shutdown: Receiver<()>,
) -> Result<Rc<Context>, Failure> {
    let for_metrics = inputs.clone();
    let user_names = Rc::new(UserNames::new().map_err(Failure::new)?);
    let limits = configuration.api.limits.clone();
    let randomness = RefCell::new(Kernel::new());
    Ok(Rc::new(Context {
        asks,
        entropy: Box::new(move |bytes| randomness.borrow_mut().fill(bytes)),
        policy: RefCell::new(Rc::new(policy(&configuration.api))),
        #[cfg(feature = "tls")]
        identity: RefCell::new(configuration.api.tls.as_ref().map(Tls::server)),
        metrics: Box::new(move || {
            let inputs = for_metrics.clone();
            Box::pin(async move {
                let (reply, text) = smol::channel::bounded(1);
                let asked = inputs.send(Input::Metrics(reply)).await;
                let text = if asked.is_ok() {
                    text.recv().await.ok()
                } else {
                    None
                };
                text.unwrap_or_else(|| "# the daemon is shutting down\n# EOF\n".to_owned())
            })
        }),
        look_up: Box::new(|socket, peer| match kernel::peer_groups(socket) {
            Ok(groups) => peer.groups = groups,
            Err(error) => log::warn!("the groups of a client cannot be read: {error}"),
        }),
        user_name: Box::new(move |uid| {
            let names = user_names.clone();
            Box::pin(async move { names.name(uid).await })
        }),
        audit,
        trail: Box::new(move |after, limit| Box::pin(read_trail(looks.clone(), after, limit))),
        support: Box::new(move || Box::pin(support::report(path.clone()))),
        limits,
        shutdown,
        state: State::default(),
    }))
}

/// A stretch of the audit trail.
async fn read_trail(looks: Sender<Look>, after: u64, limit: usize) -> Result<AuditPage, String> {
    ask_store(looks, move |store| audit::read(store, after, limit)).await
}

/// Entries of the journal, with their keys.
async fn find(looks: Sender<Look>, stretch: Stretch) -> Result<Vec<(String, Vec<u8>)>, String> {
    ask_store(looks, move |store| store.stretch(&stretch)).await
}

/// What the thread that has the store finds in it.
async fn ask_store<T: Send + 'static>(
    looks: Sender<Look>,
    question: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, String> {
    let (reply, answer) = smol::channel::bounded(1);
    let look: Look = Box::new(move |store| {
        // Nobody waits any more where this fails.
        let _ = reply.try_send(question(store));
    });
    let stopping = || "the daemon is shutting down".to_owned();
    looks.send(look).await.map_err(|_| stopping())?;
    let answer = answer.recv().await.map_err(|_| stopping())?;
    answer.map_err(|error| error.to_string())
}

/// Passes what the journal's thread says on to the loop.
async fn pass_outcomes(from: Receiver<Committed>, to: Sender<Input>) {
    while let Ok(committed) = from.recv().await {
        if to.send(Input::Committed(committed)).await.is_err() {
            return;
        }
    }
}

async fn pass_signals(signals: Signals, to: Sender<Input>) {
    loop {
        match signals.next().await {
            Ok(signal) if to.send(Input::Signal(signal)).await.is_ok() => {}
            Ok(_) => return,
            Err(error) => {
                log::error!("signals cannot be read: {error}");
                return;
            }
        }
    }
}

/// Tells systemd, where it listens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("systemd does not hear us: {error}");
    }
}

/// So much later than it is due a regular reading may leave, together with others.
const TOGETHER: Duration = Duration::from_millis(75);
/// So long what nobody waits for may wait for others that go to the disk.
const GATHER: Duration = Duration::from_millis(20);
/// Names of BMCs that are looked up at once.
const LOOK_UPS: usize = 4;
/// Inputs that may wait for the loop.
const INPUTS: usize = 128;
/// Looks at the store that may wait for its thread; more wait with their clients.
const LOOKS: usize = 4;
/// Calls that may wait for the loop; more wait with their clients.
const CALLS: usize = 256;
/// Records of the trail that may wait for the disk beyond those that wait for the loop.
const UNSYNCED_RECORDS: usize = 256;
/// How often it is asked whether the journal's thread has ended.
const JOIN_LOOK: Duration = Duration::from_millis(2);
/// Rounds of sending in one turn in which it counts what cannot leave this host: it leads to more that is sent.
const SENT_IN_A_TURN: u32 = 8;
/// Microseconds that systemd gives the opening of the journal, beside one second for each of its megabytes.
const OPENING: u32 = 60_000_000;
const HOUSEKEEPING: Duration = Duration::from_secs(1);
const EARLY: Duration = Duration::from_millis(400);
/// The loop looks at the clock each second: where that took longer than this, the process was stopped or the machine slept.
const STOOD_STILL: Duration = Duration::from_secs(3);
/// How long it listens then before it judges.
const LISTEN: Duration = Duration::from_millis(200);
/// How long sessions may take to close.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Who may do what, this process's own user included.
fn policy(settings: &ApiSettings) -> Policy {
    Policy {
        daemon_uid: Some(nix::unistd::getuid().as_raw()),
        ..settings.policy.clone()
    }
}
