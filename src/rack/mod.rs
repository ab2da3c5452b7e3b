//! The rack: inventory, scheduling, tasks, batches, polling, journal records, history. One value,
//! no clock, no socket.
//!
//! Driven by the shell ([`crate::daemon`]) or by a test's world: give it one input (`handle_*`),
//! then drain every output (`poll_*`) until all are empty, then wait for the next input or
//! [`Rack::poll_timeout`]. Datagrams must be drained before answers, so that an answer never
//! overtakes what it speaks of.
//!
//! # The parts, and the turn
//!
//! [`Rack`] is made of parts that own what they know and know nothing of one another's insides: the
//! inventory (nodes, and how they are found), the tasks (with batches and history), the gate (what
//! keeps back), the ledger (orders under way, the journal) and the outbox (what goes out, and who
//! waits for it). One input is one turn: it changes the parts, `turn` carries out what follows
//! until nothing does, and the outputs are drained.
//!
//! | file | subject |
//! | --- | --- |
//! | `inventory`, `node`, `removed` | the nodes; what is known of one; BMCs that are left |
//! | `sync`, `drift`, `restart` | what one node makes of a reading: shown, fault, drift, whether its BMC restarted |
//! | `tasks`, `tally`, `task`, `shown`, `ids`, `batch`, `history` | what is under way and what was |
//! | `gate`, `schedule`, `reason` | what keeps back; who begins next; why somebody waits |
//! | `permit` | when what changes a machine may leave, where a rack has a second host |
//! | `log_ins` | how many BMCs are logged in to at once for regular readings |
//! | `sweeps` | readings of many nodes for one asker |
//! | `ledger`, `journal` | orders on their way, written ahead |
//! | `record`, `stored`, `restore` | what is remembered, in types of its own, and taken up again |
//! | `quarantine` | entries of the journal that cannot be read, and whom they hold |
//! | `outbox`, `events`, `waits` | what goes out |
//! | `call`, `views`, `explain`, `look`, `plan`, `figures` | what is asked and shown |
//! | `rights` | who may ask for it, asked of the node that is meant |
//! | `start`, `side` | what stands against a new task or another order, and what it begins with |
//! | `admission`, `ahead`, `orders` | new tasks until they are durable, their first readings, orders on their way: functions over the parts that they touch |
//! | `holds`, `identity`, `reload` | maintenance and pause; BMCs that are others than before; nodes that come and go |
//! | `mod` | the rack: inputs and outputs |
//! | `birth`, `calls`, `reloading`, `holding` | how a turn begins: a former life, what is asked, a new configuration, a pause |
//! | `turn`, `telling` | what follows; what is told of it |
//!
//! Only those of the last three lines see the whole [`Rack`], and in this order they call one
//! another downwards only. All others are parts, or functions over exactly the parts that they
//! need, and none of them calls back.

mod admission;
mod ahead;
mod batch;
mod birth;
pub mod call;
mod calls;
mod clock;
mod drift;
mod events;
mod explain;
mod figures;
mod gate;
mod history;
mod holding;
mod holds;
mod identity;
mod ids;
mod inventory;
mod journal;
mod ledger;
mod log_ins;
mod look;
mod node;
mod orders;
mod outbox;
pub mod permit;
mod plan;
mod quarantine;
mod reason;
pub mod record;
mod reload;
mod reloading;
mod removed;
mod reports;
mod restart;
mod restore;
pub mod rights;
mod schedule;
pub mod settings;
mod shown;
mod side;
mod start;
pub mod stored;
mod sweeps;
mod sync;
mod tally;
mod task;
mod tasks;
mod telling;
#[cfg(test)]
mod tests;
mod traces;
mod turn;
mod views;
mod waits;

use crate::bmc::vocabulary::OrderId;
use crate::bmc::{LocalPort, Lock, Outgoing, Texts};
use crate::entropy::Entropy;
use crate::model::{EventKind, Health, Node, TaskId};
use crate::session::Undeliverable;
use crate::time::{Instant, WallTime};
use call::{Answer, Call, CallId, Refused};
pub use clock::{Birth, Copied};
use clock::{Clock, Moment};
pub use figures::{Counters, Durations, Figures};
use gate::Gate;
pub use history::shown_history;
use inventory::Inventory;
pub use journal::Unwritten;
use ledger::{Ledger, Open};
use log_ins::LogIns;
use outbox::Outbox;
use permit::Permit;
use plan::Plans;
use record::{Stretch, Write};
use removed::RemovedNodes;
use rights::Rights;
use settings::RackSettings;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use sweeps::{Asker, Sweeps};
use tasks::Tasks;
use traces::Traces;
use uuid::Uuid;

pub use restore::{Remembered, busy_nodes};

/// One rack with all that belongs to it.
pub struct Rack {
    settings: RackSettings,
    clock: Clock,
    entropy: Box<dyn Entropy + Send>,
    inventory: Inventory,
    removed: RemovedNodes,
    log_ins: LogIns,
    traces: Traces,
    texts: Texts,
    sweeps: Sweeps,
    tasks: Tasks,
    gate: Gate,
    ledger: Ledger,
    outbox: Outbox,
    plans: Plans,
    counters: Counters,
    /// When what is too old is looked for.
    next_pruning: Instant,
    /// When something happened last.
    turned: Instant,
}

impl Rack {
    /// Somebody who has `rights` asks for something. The answer carries `id`.
    ///
    /// Gives back the names of the nodes that the call was found to mean, for the audit trail; none
    /// for a call that only looks, or that was refused for what it names.
    pub fn handle_call(
        &mut self,
        id: CallId,
        call: Call,
        rights: &Rights,
        now: Instant,
    ) -> Vec<String> {
        let at = self.at(now);
        // Rights are asked of the node that was found, in the turn that acts on it: a text that
        // names no node is never let through.
        let permitted = rights::permit(&call, rights, &self.inventory, &self.tasks);
        let taken = match &permitted {
            Ok(_) => self.take_call(id, call, at),
            Err(refused) => Err(refused.clone()),
        };
        if let Err(refused) = taken {
            self.outbox.answer(id, Err(refused));
        }
        self.finish(at);
        permitted.unwrap_or_default()
    }

    /// The tasks that the call began, until they are durable.
    pub fn begun_by(&self, call: CallId) -> impl Iterator<Item = TaskId> {
        let parked = self.ledger.journal.parked();
        let begun = parked.filter_map(move |parked| match parked {
            ledger::Parked::Admit(tasks, of, _) if *of == call => Some(tasks),
            _ => None,
        });
        begun.flatten().copied()
    }

    /// The caller has gone away: nobody waits for its answer.
    pub fn forget_call(&mut self, call: CallId) {
        for sweep in self.outbox.waits.forget(call) {
            self.sweeps.forget(sweep);
        }
        let (tasks, inventory) = (&mut self.tasks, &mut self.inventory);
        admission::withdraw_for(call, tasks, inventory, &mut self.ledger);
        self.tasks.history.forget_call(call);
        // The readings go on: others may wait for them, and the view of the rack is newer for it.
        for node in self.inventory.iter_mut() {
            node.fresh_calls
                .retain(|(waiting, _)| *waiting != Asker::Call(call));
        }
    }

    /// A datagram arrived from `from` at our port number `port`.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        port: LocalPort,
        datagram: &[u8],
        now: Instant,
    ) {
        let at = self.at(now);
        self.counters.received += 1;
        let nodes = self.inventory.at(from);
        let entropy = &mut *self.entropy;
        let removed = self
            .removed
            .handle_datagram(from, port, datagram, now, entropy);
        if nodes.is_empty() && !removed {
            self.counters.strangers += 1;
            // A BMC may answer from another address: its own room tells that from silence.
            let bmcs = self.inventory.iter_mut().map(|node| &mut node.bmc);
            bmcs.for_each(|bmc| bmc.handle_stranger(from, port, datagram));
        }
        for id in nodes {
            if let Some(node) = self.inventory.get_mut(id) {
                node.bmc
                    .handle_datagram(port, datagram, now, &mut *self.entropy);
            }
            self.drain_node(id, at);
        }
        self.finish(at);
    }

    /// The network said to our port number `port` that what left for `to` did not arrive.
    pub fn handle_unreachable(
        &mut self,
        to: SocketAddr,
        port: LocalPort,
        why: Undeliverable,
        now: Instant,
    ) {
        let at = self.at(now);
        self.removed
            .handle_unreachable(to, port, why, now, &mut *self.entropy);
        for id in self.inventory.at(to) {
            if let Some(node) = self.inventory.get_mut(id) {
                node.bmc
                    .handle_unreachable(port, why, now, &mut *self.entropy);
            }
            self.drain_node(id, at);
        }
        self.finish(at);
    }

    /// The lock beside a BMC's address was asked for, when the first datagram was to go there.
    pub fn handle_lock(&mut self, to: SocketAddr, lock: &Lock, now: Instant) {
        let at = self.at(now);
        let concerns = |node: &node::Node| {
            // The same address on two links is two BMCs.
            let here = node.bmc.address() == Some(to);
            // A lock that was ours, and is, is no news.
            here && (*lock != Lock::Ours || *node.bmc.lock() != Lock::Ours)
        };
        let mut concerned = self.inventory.at(to);
        concerned.retain(|id| self.inventory.get(*id).is_some_and(concerns));
        for id in &concerned {
            if let Some(node) = self.inventory.get_mut(*id) {
                let told = node.take_lock(lock.clone(), at, &mut *self.entropy);
                self.carry_out(*id, told, at);
            }
            self.drain_node(*id, at);
        }
        if !concerned.is_empty() {
            self.finish(at);
        }
    }

    /// Where BMCs are to which something is sent, or may be: locks beside other addresses may be
    /// given up.
    pub fn addresses_in_use(&self) -> BTreeSet<SocketAddr> {
        let nodes = self.inventory.iter();
        let addresses = nodes.filter_map(|node| node.bmc.address());
        addresses.chain(self.removed.addresses()).collect()
    }

    /// The name `host` of a node's BMC was looked up: its addresses, the one to try first in front;
    /// ports do not matter.
    pub fn handle_resolved(
        &mut self,
        node: Uuid,
        host: &str,
        answer: Result<Vec<SocketAddr>, String>,
        now: Instant,
    ) {
        let at = self.at(now);
        let Some(id) = self.inventory.with_uuid(node) else {
            return;
        };
        // A name that was configured when the question left may not be the node's any more.
        let node = self.inventory.get_mut(id);
        if let Some(node) = node.filter(|node| *node.bmc.settings().host == *host) {
            node.bmc.handle_resolved(answer, now, &mut *self.entropy);
            self.drain_node(id, at);
            self.finish(at);
        }
    }

    /// The time has come that [`Rack::poll_timeout`] named, or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        let at = self.at(now);
        let mut turns = BTreeMap::new();
        while let Some(id) = self.inventory.take_due(now) {
            self.time_out_node(id, at);
            // One node that is due again and again must not keep all others from their turn.
            let count = turns.entry(id).or_insert(0_u32);
            *count += 1;
            if *count >= TURNS_AT_ONCE {
                log::warn!(
                    "a node is due again and again: it waits for {} ms",
                    TURN_REST.as_millis()
                );
                self.inventory.set_timer(id, Some(now + TURN_REST));
            }
        }
        self.removed.handle_timeout(now, &mut *self.entropy);
        self.log_ins.handle_timeout(now);
        self.sweeps.handle_timeout(now);
        if now >= self.next_pruning {
            self.next_pruning = now + PRUNING;
            self.prune(at);
        }
        let alive = self.clock.alive(now);
        self.ledger
            .heartbeat(self.tasks.count_active() > 0, alive, at);
        self.end_turn(true, at);
    }

    /// What is older than history is kept is forgotten: entries of all nodes, ended tasks, nodes
    /// that are gone.
    fn prune(&mut self, at: Moment) {
        let keep = self.settings.history_keep;
        let ledger = &mut self.ledger;
        self.tasks.history.forget_old(keep, at);
        self.tasks.forget_old(keep, at, ledger);
        self.removed.forget_old(keep, at, ledger);
    }

    /// The calendar says `wall`: said again and again, for it may have been set.
    pub fn handle_wall(&mut self, wall: WallTime, now: Instant) {
        let Some((forward, back)) = self.clock.set(wall, now) else {
            return;
        };
        let (by, way) = match back.is_zero() {
            true => (forward, "forward"),
            false => (back, "back"),
        };
        log::warn!(
            "the calendar was set {way} by {} s, to {wall}: patience and intervals go on by the machine's own clock",
            by.as_secs()
        );
        let at = self.at(now);
        for id in self.inventory.ids() {
            let node = self.inventory.get_mut(id);
            let restamped = node.and_then(|node| node.restamp_nmi(at));
            self.carry_out(id, restamped, at);
        }
    }

    /// The daemon stood still for `gap` until `now`, because its process was stopped or the machine
    /// slept. That time is no patience, as over a restart, and the machines are looked at before
    /// anything is judged.
    pub fn handle_absence(&mut self, gap: Duration, now: Instant) {
        let at = self.at(now);
        let since = Instant::after_start(now.since_start().saturating_sub(gap));
        let text = format!(
            "the daemon stood still for {} s: no patience ran out meanwhile, and the machines of all tasks are looked at first",
            gap.as_secs()
        );
        log::warn!("{text}");
        self.announce(EventKind::Rack, text, at);
        // The disk could not answer either: the time of the standstill does not count as hanging.
        self.ledger.journal.watch_anew(now);
        for node in self.inventory.iter_mut() {
            node.bmc.handle_absence(gap, now);
        }
        for id in self.tasks.active_ids() {
            if let Some(task) = self.tasks.get_mut(id) {
                task.sequence.handle_absence(since, now);
            }
            self.drain_task(id, at);
            // The next life counts patience from this record, and the standstill is none.
            self.tasks.save(id, &mut self.ledger, at);
        }
        self.finish(at);
    }

    /// The permit lasts until then: what waited for it goes on. It ends the dark, too.
    pub fn handle_permit(&mut self, until: Instant, now: Instant) {
        let at = self.at(now);
        self.renew_permit(until, at);
        self.finish(at);
    }

    /// Another host may have the rack by now: nothing is asked of the machines, and all sessions
    /// are closed, until [`Rack::handle_permit`] says otherwise. Tasks go on waiting, and run out
    /// of their time.
    pub fn handle_dark(&mut self, now: Instant) {
        let at = self.at(now);
        self.go_dark(at);
        self.finish(at);
    }

    /// When what changes machines may leave, where that is not always.
    pub fn permit(&self) -> Option<Permit> {
        self.gate.permission.permit()
    }

    /// Whether datagrams wait for nothing but that the permit is confirmed anew.
    pub fn wants_confirmation(&self, now: Instant) -> bool {
        self.gate.permission.wants_confirmation(now)
    }

    /// It is not known whether what the tickets up to this one hold is durable: it is tried on. No
    /// new tasks are taken meanwhile; what waits goes on waiting.
    pub fn handle_unconfirmed(&mut self, why: &str, now: Instant) {
        let at = self.at(now);
        log::error!("the journal is not confirmed: {why}");
        self.ledger.journal.unconfirmed(why.to_owned());
        self.finish(at);
    }

    /// Everything up to `ticket` is durable.
    pub fn handle_durable(&mut self, ticket: u64, now: Instant) {
        let at = self.at(now);
        for parked in self.ledger.journal.durable(ticket) {
            self.on_durable(parked, at);
        }
        self.finish(at);
    }

    /// What `ticket` and those before it held could not be written.
    pub fn handle_store_trouble(&mut self, ticket: u64, why: &str, now: Instant) {
        let at = self.at(now);
        log::error!("the journal cannot be written: {why}");
        for parked in self.ledger.journal.failed(ticket, why.to_owned()) {
            self.refuse_parked(parked, why, at);
        }
        // What was refused goes with the next sign of life: a full disk is
        // tried again in 5 s, not at once.
        self.ledger.heartbeat_anew(now);
        self.finish(at);
    }

    /// What the look `look` at the journal found, in the order that was asked for.
    pub fn handle_found(
        &mut self,
        look: u64,
        found: Result<Vec<(String, Vec<u8>)>, String>,
        now: Instant,
    ) {
        let at = self.at(now);
        let keep = self.settings.history_keep;
        let old = |time| at.age(time) > keep;
        let (history, ledger) = (&mut self.tasks.history, &mut self.ledger);
        if let Some((call, answer)) = history.found(look, found, old, ledger) {
            self.outbox.answer(call, answer);
        }
        self.finish(at);
    }

    /// The next datagram to send. Asking for it is handing it to the network.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        let outgoing = self.outbox.poll_transmit()?;
        self.counters.sent += 1;
        Some(outgoing)
    }

    /// The next datagram to send among those that an operation waits for: these must not wait for
    /// those of [`Rack::poll_transmit`], which may be spread over some milliseconds.
    pub fn poll_urgent(&mut self) -> Option<Outgoing> {
        let outgoing = self.outbox.poll_urgent()?;
        self.counters.sent += 1;
        Some(outgoing)
    }

    /// Whether there is a datagram to send.
    pub fn has_transmits(&self) -> bool {
        self.outbox.has_transmits()
    }

    /// The next answer. Drain [`Rack::poll_urgent`] first.
    pub fn poll_answer(&mut self) -> Option<(CallId, Result<Answer, Refused>)> {
        self.outbox.answers.pop_front()
    }

    /// Whether [`Rack::poll_writes`] has something, and whether somebody waits for that.
    pub fn unwritten(&self) -> Unwritten {
        self.ledger.journal.unwritten()
    }

    /// What must be remembered, under a ticket.
    pub fn poll_writes(&mut self) -> Option<(u64, Vec<Write>)> {
        // What is written tells of the last turn: nothing has changed since.
        let at = self.at(self.turned);
        self.tasks.keep_promises(&mut self.ledger, at);
        self.ledger.journal.poll_writes()
    }

    /// Entries to look for in the journal, under the number that [`Rack::handle_found`] wants. What
    /// was put down before must be in what is found, where the disk takes it.
    pub fn poll_look(&mut self) -> Option<(u64, Stretch)> {
        self.tasks.history.poll_look()
    }

    /// A host name to look up, and the node that wants it.
    pub fn poll_resolve(&mut self) -> Option<(Uuid, String)> {
        self.outbox.resolves.pop_front()
    }

    /// When [`Rack::handle_timeout`] wants to be called, and regular readings are due: see
    /// [`Rack::poll_reading`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let reading = self.inventory.next_reading();
        self.poll_deadline().into_iter().chain(reading).min()
    }

    /// When the next regular reading is due. Its call may come later, so that several leave
    /// together.
    pub fn poll_reading(&self) -> Option<Instant> {
        self.inventory.next_reading()
    }

    /// Whether regular readings are all that is under way, several of them, and no BMC is being
    /// logged in to: then it costs nobody anything to take their answers in together, a moment
    /// later.
    pub fn is_at_leisure(&self) -> bool {
        self.ledger.has_readings_only(FEW) && !self.log_ins.any()
    }

    /// When [`Rack::handle_timeout`] has to be called.
    pub fn poll_deadline(&self) -> Option<Instant> {
        [
            self.inventory.next_timer(),
            self.log_ins.next_timeout(),
            self.sweeps.next_timeout(),
            self.ledger.next_heartbeat(),
            self.ledger.journal.next_watch(),
            self.gate.next(),
            self.outbox.waits.next(),
            self.removed.next(),
            Some(self.next_pruning),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The numbers of the local ports that are in use: others may be closed.
    pub fn ports_in_use(&self) -> BTreeSet<LocalPort> {
        let nodes = self.inventory.iter();
        let ports = nodes.flat_map(|node| node.bmc.local_ports());
        ports.chain(self.removed.ports()).collect()
    }

    /// Begins to stop: takes no more tasks, sends no more orders, closes the sessions. Tasks stay
    /// in the journal and are taken up at the next start.
    pub fn stop(&mut self, now: Instant) {
        let at = self.at(now);
        self.turned = now;
        // From here on nothing begins, so that what is taken back below stays where it is.
        self.gate.stopping = true;
        // Before the sessions close: the record of each task is to say
        // whether its order has left (rule 3).
        for task in self.tasks.active_ids() {
            ahead::foresee_no_more(task, &mut self.tasks);
            self.take_back_unsent(task, at);
        }
        for id in self.inventory.ids() {
            if let Some(node) = self.inventory.get_mut(id) {
                node.bmc.stop(SHUTTING_DOWN, now, &mut *self.entropy);
            }
            self.drain_node(id, at);
        }
        for task in self.tasks.active_ids() {
            self.tasks.save(task, &mut self.ledger, at);
        }
        for node in self.inventory.iter_mut() {
            node.save(&mut self.ledger);
        }
        self.answer_waits(true, at);
    }

    /// The daemon goes down: an order that changes power and has not left by now never will, and
    /// its task knows it.
    fn take_back_unsent(&mut self, id: TaskId, at: Moment) {
        let unsent = |(_, open): &(OrderId, &Open)| open.order.changes_power() && open.left == 0;
        if let Some((order, _)) = self.ledger.of_task(id).filter(unsent) {
            self.take_back(id, order, "the daemon stopped before it was sent", at);
            self.drain_task(id, at);
        }
    }

    /// Whether everything is closed and written, after [`Rack::stop`].
    pub fn is_quiet(&self) -> bool {
        let mut nodes = self.inventory.iter();
        let closed = nodes.all(|node| node.bmc.is_quiet()) && self.removed.is_quiet();
        closed && !self.ledger.journal.is_pending()
    }

    /// The rack's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Nodes, tasks that have not ended, and BMCs in trouble: for a line of status.
    pub fn summary(&self, now: Instant) -> (usize, usize, usize) {
        self.snapshot(self.at(now)).summary()
    }

    /// All nodes as they are shown.
    pub fn nodes(&self, now: Instant) -> Vec<Node> {
        self.snapshot(self.at(now)).nodes()
    }

    /// Figures about the daemon itself.
    pub fn health(&self, now: Instant) -> Health {
        self.snapshot(self.at(now)).health()
    }

    /// How things stand.
    pub fn figures(&self, now: Instant) -> Figures {
        self.snapshot(self.at(now)).figures()
    }

    /// Figures that only grow.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// How often what is too old is looked for, beside when something is added.
const PRUNING: Duration = Duration::from_secs(3600);
/// What whoever asks for something hears when the daemon stops.
const SHUTTING_DOWN: &str = "the daemon is shutting down";
/// Fewer answers than these are not waited for together.
const FEW: usize = 3;
/// How often one node may be due within one turn, and how long it rests then: in what was ever
/// seen, a handful.
const TURNS_AT_ONCE: u32 = 1000;
const TURN_REST: Duration = Duration::from_millis(10);
