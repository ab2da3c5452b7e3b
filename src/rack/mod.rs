//! The rack: inventory, scheduling, tasks, batches, polling, journal records, history. One value, no clock, no socket.
//!
//! Driven by the shell ([`crate::daemon`]) or by a test's world: give it one input (`handle_*`), then drain every
//! output (`poll_*`) until all are empty, then wait for the next input or [`Rack::poll_timeout`]. Datagrams must be
//! drained before answers, so that an answer never overtakes what it speaks of.
//!
//! | file | subject |
//! | --- | --- |
//! | `call` | what may be asked and what is answered |
//! | `views` | snapshots, as they are answered |
//! | `rights` | who may ask for it, asked of the node that is meant |
//! | `calls` | doing it: each call to its file |
//! | `start`, `control`, `holds`, `side` | new tasks; controls; maintenance and pause; orders outside tasks |
//! | `run` | driving tasks: orders, reports, write-ahead, ends |
//! | `schedule` | who may begin: places, stagger, batches, pause |
//! | `sync`, `drift` | reading idle nodes, faults; changes that no task explains |
//! | `reason` | what a task that stands still waits for |
//! | `waits` | calls that wait for something |
//! | `leaving` | nodes that the configuration names no more |
//! | `journal`, `restore` | what must be remembered, and taking it up again |

mod batch;
pub mod call;
mod calls;
mod control;
mod drift;
mod events;
mod figures;
mod history;
mod holds;
mod inventory;
mod journal;
mod leaving;
mod node;
mod plan;
mod reason;
pub mod record;
mod reload;
mod restore;
pub mod rights;
mod run;
mod schedule;
pub mod settings;
mod side;
mod start;
pub mod stored;
mod sync;
mod task;
mod views;
mod waits;

use crate::bmc::vocabulary::OrderId;
use crate::bmc::{LocalPort, Outgoing};
use crate::entropy::Entropy;
use crate::time::{Instant, WallTime};
use batch::Batch;
use call::{Answer, BatchId, CallId, HoldView, Refused, TaskId};
use events::Events;
pub use figures::{Counters, Durations, Figures};
use history::History;
use inventory::{Inventory, NodeId};
use journal::Journal;
use leaving::Leaving;
use plan::Plan;
use record::Write;
use run::{Owner, Parked};
use schedule::Gate;
use settings::RackSettings;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use task::{Ids, Task};
use uuid::Uuid;
use waits::Waits;

pub use restore::{Remembered, RestoreError};

/// One rack with all that belongs to it.
pub struct Rack {
    settings: RackSettings,
    inventory: Inventory,
    tasks: BTreeMap<TaskId, Task>,
    /// Tasks that have not ended, in the order of their requests.
    active: BTreeSet<TaskId>,
    batches: BTreeMap<BatchId, Batch>,
    /// Dry runs that wait for readings, by their calls.
    plans: BTreeMap<CallId, Plan>,
    /// Who gets the report of an order that is under way.
    owners: BTreeMap<OrderId, Owner>,
    next_order: u64,
    ids: Ids,
    /// Tasks that take a place among the power changes of the rack: `schedule` keeps the count.
    transitions: usize,
    /// Tasks that wait for their beginning, or for a place to go on, likewise.
    waiting: BTreeSet<TaskId>,
    gate: Gate,
    pause: Option<Pause>,
    history: History,
    leaving: Leaving,
    journal: Journal<Parked>,
    events: Events,
    waits: Waits,
    next_heartbeat: Option<Instant>,
    transmits: VecDeque<Outgoing>,
    answers: VecDeque<(CallId, Result<Answer, Refused>)>,
    resolves: VecDeque<(Uuid, String)>,
    clock: Clock,
    entropy: Box<dyn Entropy + Send>,
    stopping: bool,
    /// Something happened after which somebody may begin.
    unscheduled: bool,
    /// Something happened that somebody may wait for.
    woken: bool,
    counters: Counters,
}

/// The rack-wide hold, and the tasks that it brought to a stand.
#[derive(Clone, Debug)]
struct Pause {
    hold: HoldView,
    tasks: BTreeSet<TaskId>,
}

/// What the calendar said at a moment.
#[derive(Clone, Copy, Debug)]
struct Clock {
    at: Instant,
    wall: WallTime,
    started: WallTime,
}

impl Rack {
    /// A datagram arrived from `from` at our port number `port`.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        port: LocalPort,
        datagram: &[u8],
        now: Instant,
    ) {
        self.counters.received += 1;
        let nodes = self.inventory.at(from);
        let leaving = self.leaving_datagram(from, port, datagram, now);
        self.counters.strangers += u64::from(nodes.is_empty() && !leaving);
        for node in nodes {
            self.inventory[node]
                .bmc
                .handle_datagram(port, datagram, now, &mut *self.entropy);
            self.settle(node, now);
        }
        self.wind_up(now);
    }

    /// The network said to our port number `port` that nothing listens at `to`.
    pub fn handle_unreachable(&mut self, to: SocketAddr, port: LocalPort, now: Instant) {
        self.leaving_unreachable(to, port, now);
        for node in self.inventory.at(to) {
            self.inventory[node]
                .bmc
                .handle_unreachable(port, now, &mut *self.entropy);
            self.settle(node, now);
        }
        self.wind_up(now);
    }

    /// The name `host` of a node's BMC was looked up: its addresses, the one to try first in front; ports do not matter.
    pub fn handle_resolved(
        &mut self,
        node: Uuid,
        host: &str,
        answer: Result<Vec<SocketAddr>, String>,
        now: Instant,
    ) {
        // A name that was configured when the question left may not be the node's any more.
        let asked = |node: &NodeId| self.inventory[*node].bmc.settings().host == host;
        if let Some(node) = self.inventory.with_uuid(node).filter(asked) {
            self.inventory[node]
                .bmc
                .handle_resolved(answer, now, &mut *self.entropy);
            self.settle(node, now);
            self.wind_up(now);
        }
    }

    /// The time has come that [`Rack::poll_timeout`] named, or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(node) = self.inventory.take_due(now) {
            self.inventory[node]
                .bmc
                .handle_timeout(now, &mut *self.entropy);
            self.time_out_node(node, now);
            self.settle(node, now);
        }
        self.leaving_timeout(now);
        self.heartbeat(now);
        self.schedule(now);
        self.wind_up(now);
        self.time_out_waits(now);
    }

    /// The calendar says `wall`: said at the start, and again when the clock was set.
    pub fn handle_wall(&mut self, wall: WallTime, now: Instant) {
        self.clock.at = now;
        self.clock.wall = wall;
    }

    /// Everything up to `ticket` is durable.
    pub fn handle_durable(&mut self, ticket: u64, now: Instant) {
        for parked in self.journal.durable(ticket) {
            self.release(parked, now);
        }
        self.wind_up(now);
    }

    /// What `ticket` and those before it held could not be written.
    pub fn handle_store_trouble(&mut self, ticket: u64, why: &str, now: Instant) {
        log::error!("the journal cannot be written: {why}");
        for parked in self.journal.failed(ticket, why.to_owned()) {
            self.refuse_parked(parked, why, now);
        }
        // What was not written goes with the next heartbeat.
        self.next_heartbeat = Some(now + schedule::HEARTBEAT);
        self.wind_up(now);
    }

    /// The next datagram to send. Asking for it is handing it to the network.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        let outgoing = self.transmits.pop_front()?;
        self.counters.sent += 1;
        Some(outgoing)
    }

    /// The next answer. Drain [`Rack::poll_transmit`] first.
    pub fn poll_answer(&mut self) -> Option<(CallId, Result<Answer, Refused>)> {
        self.answers.pop_front()
    }

    /// What must be remembered, under a ticket.
    pub fn poll_writes(&mut self) -> Option<(u64, Vec<Write>)> {
        self.journal.poll_writes()
    }

    /// A host name to look up, and the node that wants it.
    pub fn poll_resolve(&mut self) -> Option<(Uuid, String)> {
        self.resolves.pop_front()
    }

    /// When [`Rack::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.inventory.next_timer(),
            self.next_heartbeat,
            self.gate.next(),
            self.waits.next(),
            self.leaving.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The numbers of the local ports that are in use: others may be closed.
    pub fn ports_in_use(&self) -> BTreeSet<LocalPort> {
        self.inventory
            .iter()
            .flat_map(|node| node.bmc.local_ports())
            .chain(self.leaving.ports())
            .collect()
    }

    /// Begins to stop: takes no more tasks, sends no more orders, closes the sessions. Tasks stay in the journal and
    /// are taken up at the next start.
    pub fn stop(&mut self, now: Instant) {
        self.stopping = true;
        for task in self.active.clone() {
            self.take_back_unsent(task, now);
        }
        for node in self.inventory.ids() {
            self.inventory[node].bmc.stop(now, &mut *self.entropy);
            self.settle(node, now);
        }
        self.save_active(now);
        self.end_waits(now);
    }

    /// Whether everything is closed and written, after [`Rack::stop`].
    pub fn is_quiet(&self) -> bool {
        let closed =
            self.inventory.iter().all(|node| node.bmc.is_quiet()) && self.leaving.is_quiet();
        closed && !self.journal.is_pending()
    }

    /// The rack's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Nodes, tasks that have not ended, and BMCs in trouble: for a line of status.
    pub fn summary(&self, now: Instant) -> (usize, usize, usize) {
        let troubled = self
            .inventory
            .iter()
            .filter(|node| node.bmc.trouble(now).is_some())
            .count();
        (self.inventory.len(), self.active.len(), troubled)
    }

    /// The calendar time of `now`.
    fn wall(&self, now: Instant) -> WallTime {
        self.clock.wall + (now - self.clock.at)
    }

    fn answer(&mut self, call: CallId, answer: Result<Answer, Refused>) {
        self.answers.push_back((call, answer));
    }
}
