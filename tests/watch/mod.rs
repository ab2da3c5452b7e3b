//! What must hold at every instant of a story, judged from outside: by the datagrams that left, by
//! what was put down and became durable, and by what the simulated machines did.
//!
//! A broken promise is a line of text; the story ends with the first one. `tests/storm` and
//! `tests/exhaustive` tell their stories under this watch: `watched` puts it over a world, `truth`,
//! `time` and `machines` are what is asked of ends.
#![allow(
    dead_code,
    reason = "each teller of stories uses its part of the watch"
)]

mod already;
mod apart;
mod hard;
mod machines;
mod table;
mod taken;
mod time;
mod truth;
mod watched;

pub(crate) use table::{Row, row};
pub(crate) use watched::{Asked, Watched};

use crate::world::{Logged, World, address, name, place, secs};
use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::bmc::vocabulary::{Effect, Order, OrderId};
use rackbmcd::model::{BatchId, Control, Operation, Power, Target, TaskId, TaskState};
use rackbmcd::power::{Sequence, SequenceRecord, Settings};
use rackbmcd::rack::record::{Table, Write};
use rackbmcd::sim::Bmc;
use rackbmcd::time::Instant;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The part of a task's record that is looked at.
#[derive(Deserialize)]
pub(crate) struct Record {
    pub identity: Identity,
    pub sequence: SequenceRecord,
    pub resuming: Option<String>,
    pub returning: Option<String>,
    /// The order that waits for its turn: no patience runs out by that.
    pub unsent: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct Identity {
    pub id: TaskId,
    pub node: String,
    pub batch: Option<BatchId>,
    #[serde(deserialize_with = "stored")]
    pub operation: Operation,
    #[serde(default)]
    pub took_over: Option<TaskId>,
    #[serde(default)]
    pub taken_over_by: Option<TaskId>,
}

/// An operation by its name in the journal: `soft_power_off`.
fn stored<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Operation, D::Error> {
    let name = String::deserialize(deserializer)?;
    let is_named = |operation: &Operation| {
        let plain = |name: &str| name.replace('_', "").to_lowercase();
        plain(&format!("{operation:?}")) == plain(&name)
    };
    let found = Operation::ALL.into_iter().find(is_named);
    found.ok_or_else(|| serde::de::Error::custom(format!("no operation is called {name}")))
}

/// A task as it was seen.
pub(crate) struct Seen {
    pub node: usize,
    pub batch: Option<BatchId>,
    pub operation: Operation,
    pub settings: Settings,
    pub created: Instant,
    /// The machine itself was on when it was asked for.
    pub was_on: bool,
    pub state: TaskState,
    since: Instant,
    /// Time under way, time on the way back, and time in which it or its order waited for its turn.
    ran: Duration,
    returned: Duration,
    queued: Duration,
    /// Its timeout was named by the request.
    pub named: bool,
    crashes: u32,
    /// An order of it waits for its turn.
    gated: bool,
    /// An order of it that switches off has left, or may have with the life before.
    off_left: bool,
    /// What the disk has of it.
    durable: Option<TaskState>,
    /// It waits for a place to go on, forward or back.
    pub resuming: bool,
    /// So the disk says: a wish that was taken back may still stand there.
    durable_resuming: bool,
    /// An accepted abort, cancel or suspension: from this place in the list of datagrams on nothing
    /// may leave.
    quiet: Option<(usize, Control)>,
    lefts: Vec<usize>,
    /// The task that took its node over.
    taken_over_by: Option<TaskId>,
    /// From this place in the list of datagrams on the machine is to be read before anything is
    /// said of it: the daemon stood still.
    unread_from: Option<usize>,
    /// How often the daemon stood still while the task was under way.
    standstills: u32,
    /// When it had its turn in the stagger of its batch.
    turn: Option<Instant>,
    /// When it ended.
    ended_at: Option<Instant>,
    /// The state of the machine on which its success rests, for as long as nothing else is asked
    /// for.
    rests_on: Option<Power>,
}

struct Issued {
    task: TaskId,
    order: Order,
    durable: bool,
    first_left: Option<Instant>,
    /// Datagrams of it that left.
    copies: u32,
}

/// What is known of a batch from its request.
pub(crate) struct BatchSeen {
    pub max_parallel: u32,
    pub stagger: Duration,
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Watch {
    pub tasks: BTreeMap<TaskId, Seen>,
    pub active: BTreeSet<TaskId>,
    pub batches: BTreeMap<BatchId, BatchSeen>,
    issued: BTreeMap<OrderId, Issued>,
    /// Tasks with a new order that changes power, which has its turn in the stagger or waits for it.
    turns: BTreeSet<TaskId>,
    refused: BTreeSet<OrderId>,
    /// Places in the list of datagrams.
    seen_left: usize,
    last_power_on: Option<Instant>,
    /// The rack is paused: from this place in the list of datagrams on nothing may leave.
    paused: Option<usize>,
    /// The daemon is being stopped: from this place in the list of datagrams on no order may leave.
    pub stopping: Option<usize>,
    /// A new configuration allows fewer transitions than there are: no more than these until they
    /// have ended.
    grace: usize,
    /// How long the disk has refused in all, and since when it does.
    disk_refused: Duration,
    disk_refuses: Option<Instant>,
    /// When somebody else last had a hand in a machine, by node.
    pub disturbed: BTreeMap<usize, Instant>,
    pub ends: BTreeMap<&'static str, u64>,
    pub crashes: u64,
    last_crash: Option<Instant>,
    /// Where the network is kind enough for such a promise.
    pub most_sessions: Option<usize>,
    /// The BMC refuses something once: what was refused for want of a level may be sent again.
    pub refuses_once: bool,
    /// The network holds a datagram back: an order that was taken back may arrive after the one
    /// that followed it.
    pub held_back: bool,
    /// A reading is wrong: a cycle or reset that it shows need not have been one. Each may be off
    /// too shortly to be read twice.
    pub misread: bool,
    /// Our user may only read for a while, or another BMC answers: a session is left for another
    /// one.
    pub logs_in_anew: bool,
    judged_pulses: bool,
}

impl Watch {
    /// Looks at everything that happened in this instant.
    pub(crate) fn look(&mut self, world: &mut World) -> Result<(), String> {
        let log = world.log.as_mut().map(std::mem::take).unwrap_or_default();
        let news = !log.is_empty();
        for (at, logged) in log {
            match logged {
                Logged::Put(Write::Put {
                    table: Table::Tasks,
                    value,
                    ..
                }) => self.put(&value, at, world)?,
                Logged::Durable(Write::Put {
                    table: Table::Tasks,
                    value,
                    ..
                }) => self.durable(&value, at),
                // It was refused because it could not be remembered, or is forgotten after its
                // time.
                Logged::Put(Write::Delete {
                    table: Table::Tasks,
                    key,
                }) => {
                    let id = key.parse().map_err(|_| format!("{key} is no task"))?;
                    self.tasks.remove(&id);
                    self.active.remove(&id);
                }
                _ => {}
            }
        }
        while self.seen_left < world.left.len() {
            self.left(self.seen_left, world)?;
            self.sessions(world.left[self.seen_left].node, world)?;
            self.seen_left += 1;
        }
        self.stand_apart(world)?;
        if news {
            self.limits(world)?;
        }
        self.nothing_queues(world.now)
    }

    /// So many sessions at a BMC are ours at most, where no life before this one has left any
    /// there.
    fn sessions(&self, node: usize, world: &World) -> Result<(), String> {
        let open = world.sim.bmc(address(node)).map_or(0, Bmc::open_sessions);
        let alone = self.last_crash.is_none_or(|at| world.now - at > secs(65));
        if alone && self.most_sessions.is_some_and(|most| open > most) {
            return Err(format!("{open} sessions are open at {}", name(node)));
        }
        Ok(())
    }

    fn put(&mut self, value: &[u8], now: Instant, world: &mut World) -> Result<(), String> {
        let record: Record = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        let id = record.identity.id;
        let sequence = Sequence::restore(record.sequence.into(), now);
        for (place, sent) in sequence.sent().iter().enumerate() {
            if sent.order.changes_power() && !self.issued.contains_key(&sent.id) {
                hard::is_allowed(&sequence, place).map_err(|why| format!("{id}: {why}"))?;
                let issued = Issued {
                    task: id,
                    order: sent.order.clone(),
                    durable: false,
                    first_left: None,
                    copies: 0,
                };
                self.issued.insert(sent.id, issued);
                self.turns.insert(id);
            }
        }
        let bmc = world.bmc(&record.identity.node);
        self.note_refusals(&sequence, bmc.host())
            .map_err(|why| format!("{id}: {why}"))?;
        let paused = self.paused.is_some();
        let was_on = world.is_on(&record.identity.node);
        let seen = self.tasks.entry(id).or_insert_with(|| Seen {
            node: place(&record.identity.node),
            batch: record.identity.batch,
            operation: record.identity.operation,
            settings: sequence.settings().clone(),
            created: now,
            was_on,
            state: TaskState::Queued,
            since: now,
            ran: Duration::ZERO,
            returned: Duration::ZERO,
            queued: Duration::ZERO,
            named: false,
            crashes: 0,
            gated: false,
            off_left: false,
            durable: None,
            resuming: false,
            durable_resuming: false,
            quiet: None,
            lefts: Vec::new(),
            taken_over_by: None,
            unread_from: None,
            standstills: 0,
            turn: None,
            ended_at: None,
            rests_on: None,
        });
        seen.resuming = record.resuming.is_some() || record.returning.is_some();
        let before = seen.state;
        if before.is_end() && before != sequence.state() {
            return Err(format!("{id} had {before} and is {} now", sequence.state()));
        }
        seen.pass(now, paused);
        seen.gated = record.unsent.is_some();
        seen.state = sequence.state();
        seen.is_taken_over(record.identity.taken_over_by, world.left.len())
            .map_err(|why| format!("{id} {why}"))?;
        if seen.state.is_end() {
            self.active.remove(&id);
        } else {
            self.active.insert(id);
        }
        self.took_over(id, record.identity.took_over)?;
        if !before.is_end() && self.tasks[&id].state.is_end() {
            self.ended(id, &sequence, now, world)?;
        }
        Ok(())
    }

    fn durable(&mut self, value: &[u8], now: Instant) {
        let Ok(record) = serde_json::from_slice::<Record>(value) else {
            return;
        };
        let sequence = Sequence::restore(record.sequence.into(), now);
        if let Some(seen) = self.tasks.get_mut(&record.identity.id) {
            seen.durable = Some(sequence.state());
            seen.durable_resuming = record.resuming.is_some() || record.returning.is_some();
        }
        let sent: BTreeSet<OrderId> = sequence.sent().iter().map(|sent| sent.id).collect();
        let of_task = |issued: &Issued| issued.task == record.identity.id;
        for (id, issued) in &mut self.issued {
            // An order that is in the record no more, and has not left, must not leave any more; the
            // next life knows nothing of it, and may use its number for another.
            if of_task(issued) && issued.first_left.is_none() {
                issued.durable = sent.contains(id);
            }
        }
    }

    /// A datagram left us.
    fn left(&mut self, index: usize, world: &World) -> Result<(), String> {
        let left = &world.left[index];
        let Some(order) = left.order else {
            return Ok(());
        };
        let Some(issued) = self.issued.get_mut(&order) else {
            return Ok(());
        };
        let (id, what) = (issued.task, issued.order.name());
        if !issued.durable {
            return Err(format!("{what} of {id} left before it was durable"));
        }
        let Some(seen) = self.tasks.get_mut(&id) else {
            return Err(format!("{what} of {id} left, and there is no such task"));
        };
        seen.lefts.push(index);
        seen.off_left |= issued.order.switches_off();
        if seen.state.is_end() && seen.quiet.is_none() && seen.since < left.at {
            return Err(format!("{what} of {id} left after its end"));
        }
        if let Some((from, control)) = seen.quiet
            && index >= from
        {
            return Err(format!("{what} of {id} left after an accepted {control}"));
        }
        if self.paused.is_some_and(|from| index >= from) && seen.state != TaskState::RollingBack {
            return Err(format!("{what} of {id} left while the rack was paused"));
        }
        // The answer to an order that left before is still awaited, and it is repeated where that
        // is harmless.
        let begun = issued.first_left.is_some();
        let once = matches!(issued.order.effect(), Effect::Pulse | Effect::Soft);
        if begun && once && !self.refuses_once {
            return Err(format!("{what} of {id} left twice"));
        }
        if !begun && self.stopping.is_some_and(|from| index >= from) {
            return Err(format!("{what} of {id} left from a daemon that stops"));
        }
        let inrush = matches!(issued.order, Order::PowerOn | Order::Cycle);
        if inrush && issued.first_left.is_none() {
            let last = self.last_power_on.replace(left.at);
            if last.is_some_and(|last| left.at - last < world.settings.power_on_stagger) {
                let apart = last.map(|last| left.at - last);
                return Err(format!("two power-ons left {apart:?} apart"));
            }
        }
        issued.first_left.get_or_insert(left.at);
        issued.copies += 1;
        Ok(())
    }

    fn limits(&mut self, world: &World) -> Result<(), String> {
        let moving = |seen: &&Seen| {
            matches!(
                seen.state,
                TaskState::Running | TaskState::Aborting | TaskState::RollingBack
            )
        };
        let active = || self.active.iter().map(|id| &self.tasks[id]).filter(moving);
        // Of each task that is under way: its last order that changes power and was not refused,
        // which draws inrush current and has left.
        let mut last = BTreeMap::new();
        let orders = self.issued.iter();
        for (_, issued) in orders.filter(|(order, _)| !self.refused.contains(*order)) {
            last.insert(issued.task, issued);
        }
        let draws = |issued: &Issued| {
            let inrush = matches!(issued.order, Order::PowerOn | Order::Cycle);
            inrush && issued.first_left.is_some()
        };
        let moves = |id: &TaskId| self.tasks.get(id).is_some_and(|seen| moving(&seen));
        let taken = last.iter();
        let taken = taken
            .filter(|(id, issued)| moves(id) && draws(issued))
            .count();
        let most = self.grace.max(world.settings.max_transitions as usize);
        if taken > most {
            return Err(format!("{taken} tasks switch on, and {most} may"));
        }
        let grace = self.grace.min(taken);
        for (id, batch) in self
            .batches
            .iter()
            .filter(|(_, batch)| batch.max_parallel > 0)
        {
            let running = active().filter(|seen| seen.batch == Some(*id)).count();
            if running > batch.max_parallel as usize {
                return Err(format!("{running} of batch {id} run at once"));
            }
        }
        self.grace = grace;
        Ok(())
    }

    /// A new configuration was taken: what is under way goes on.
    pub(crate) fn reloaded(&mut self) {
        self.grace = self.tasks.len();
    }

    /// The disk refuses from now on, or takes everything again.
    pub(crate) fn disk_fails(&mut self, fails: bool, now: Instant) {
        let since = std::mem::replace(&mut self.disk_refuses, fails.then_some(now));
        self.disk_refused += since.map_or(Duration::ZERO, |since| now - since);
    }

    /// The disk refuses one record, which may hold the last sign of life.
    pub(crate) fn record_refused(&mut self) {
        self.disk_refused += SIGN_OF_LIFE;
    }

    /// Everything that was put down is on the disk.
    pub(crate) fn all_is_durable(&self) -> Result<(), String> {
        for (id, seen) in &self.tasks {
            if seen.durable != Some(seen.state) {
                let durable = seen.durable;
                return Err(format!(
                    "{id} is {}, and the disk has {durable:?}",
                    seen.state
                ));
            }
        }
        Ok(())
    }

    /// Whether an order of the task that changes power has left.
    pub(crate) fn has_left(&self, id: TaskId) -> bool {
        self.tasks
            .get(&id)
            .is_some_and(|seen| !seen.lefts.is_empty())
    }

    /// What the abort table wants of one of Ironic's words; `None` where that is not known from
    /// outside.
    pub(crate) fn row_of(
        &self,
        word: PowerTarget,
        task: Option<TaskId>,
        target: Option<Target>,
    ) -> Option<Row> {
        let Some(id) = task else {
            return Some(Row::Nothing);
        };
        let seen = self.tasks.get(&id)?;
        // After a crash nobody knows of an order that was written down whether it had left.
        let known = seen.crashes == 0 || self.has_left(id);
        known.then(|| row(word, seen.operation, target, self.has_left(id)))
    }

    /// The request of the task named its timeout.
    pub(crate) fn is_timed(&mut self, id: TaskId) {
        if let Some(seen) = self.tasks.get_mut(&id) {
            seen.named = true;
        }
    }

    /// A control is about to be asked for: nothing may leave from here on, if it is accepted.
    pub(crate) fn quiet_from(world: &World) -> usize {
        world.left.len()
    }

    /// An abort, cancel or suspension was accepted.
    pub(crate) fn quieted(
        &mut self,
        id: TaskId,
        control: Control,
        from: usize,
    ) -> Result<(), String> {
        let Some(seen) = self.tasks.get_mut(&id) else {
            return Ok(());
        };
        if let Some(index) = seen.lefts.iter().find(|index| **index >= from) {
            return Err(format!(
                "datagram {index} of {id} left after the {control} that was accepted"
            ));
        }
        seen.quiet = Some((from, control));
        Ok(())
    }

    /// It may go on.
    pub(crate) fn unquiet(&mut self, id: TaskId) {
        if let Some(seen) = self.tasks.get_mut(&id) {
            seen.quiet = None;
        }
    }

    fn pass(&mut self, now: Instant) {
        let paused = self.paused.is_some();
        let tasks = self.tasks.values_mut();
        tasks.for_each(|seen| seen.pass(now, paused));
    }

    /// The rack is paused, or not any more: the patience of a rollback stands still meanwhile.
    pub(crate) fn pause(&mut self, from: Option<usize>, now: Instant) {
        self.pass(now);
        self.paused = from;
    }

    /// The daemon is about to be killed.
    pub(crate) fn before_crash(&mut self, now: Instant) {
        self.crashes += 1;
        self.last_crash = Some(now);
        self.pass(now);
    }

    /// The daemon stood still until now. That was nobody's time, and nothing is said of a machine
    /// before it was read again.
    pub(crate) fn stood_still(&mut self, now: Instant, from: usize) {
        for seen in self.tasks.values_mut() {
            seen.since = now;
            let under_way = !seen.state.is_end();
            seen.unread_from = under_way.then_some(from);
            seen.standstills += u32::from(under_way);
        }
    }

    /// The daemon is back: it must have what the disk had.
    pub(crate) fn after_crash(
        &mut self,
        world: &World,
        there: &BTreeMap<TaskId, TaskState>,
    ) -> Result<(), String> {
        let now = world.now;
        self.tasks.retain(|_, seen| seen.durable.is_some());
        self.issued.retain(|_, issued| issued.durable);
        for issued in self.issued.values() {
            if let Some(seen) = self.tasks.get_mut(&issued.task) {
                seen.off_left |= issued.order.switches_off();
            }
        }
        for (id, seen) in &mut self.tasks {
            (seen.since, seen.unread_from) = (now, None);
            let durable = seen.durable.expect("the others were dropped");
            if !seen.state.is_end() || !durable.is_end() {
                seen.crashes += 1;
            }
            (seen.state, seen.resuming) = (durable, seen.durable_resuming);
            seen.forget_taking_over();
            let Some(state) = there.get(id) else {
                return Err(format!("{id} was durable and is gone"));
            };
            let stands = matches!(durable, TaskState::Suspended) || durable.is_end();
            if stands && *state != durable && !seen.durable_resuming {
                return Err(format!("{id} was {durable} and is {state} after the crash"));
            }
        }
        self.active = self
            .tasks
            .iter()
            .filter(|(_, seen)| !seen.state.is_end())
            .map(|(id, _)| *id)
            .collect();
        self.forget_turns();
        // The disk may have more tasks under way than a newer configuration allows.
        self.reloaded();
        Ok(())
    }

    pub(crate) fn batch(&mut self, id: BatchId, max_parallel: u32, stagger: Duration) {
        let seen = BatchSeen {
            max_parallel,
            stagger,
        };
        self.batches.insert(id, seen);
    }
}

/// A life knows how long the one before it lived to within a sign of life and a commit.
const SIGN_OF_LIFE: Duration = Duration::from_millis(5_100);
