//! One host of a rack that has several: its tenure, and the rack while that is its own.
//!
//! Passes on what one of the two has for the other: permits, and what the journal wants written.
//! What is shared by the hosts goes to etcd; what happened to nodes, and who asked, stays on this
//! host's disk, and goes there *first*: a request that is carried out is always on record.
//!
//! Driven by the shell, or by a test's world, as [`Tenure`] and [`Rack`] are: one input, then drain
//! every output. Has no socket and no clock.

use crate::bmc::Outgoing;
use crate::etcd::{Answer, Change, Request, Trouble};
use crate::rack::permit::{Permit, Succession};
use crate::rack::record::{Write, is_shared};
use crate::rack::{Rack, Unwritten};
use crate::tenure::keys::{Own, TrailEnd};
use crate::tenure::{Begun, Cause, Event, Phase, Pinned, RequestId, Tenure};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// See the head of this file.
pub struct Keeper {
    tenure: Tenure,
    make: Make,
    rack: Option<Box<Rack>>,
    /// What the rack has put down in this tenure and was not told of yet, in order.
    pending: VecDeque<Pending>,
    /// Where it is given up: to whom, and how long answers that are owed are waited for.
    leaving: Option<(Option<String>, Instant)>,
    told: VecDeque<Told>,
    /// What is left to be sent of a rack that is this host's no more: sessions are closed.
    parting: VecDeque<Outgoing>,
    local: VecDeque<(u64, Vec<Write>)>,
    /// When what nobody waits for is written.
    write_at: Option<Instant>,
}

/// Makes the rack at the beginning of a tenure.
pub type Make = Box<dyn FnMut(&Begun, Succession, Instant) -> Rack>;

/// Changes of one ticket.
struct Pending {
    ticket: u64,
    shared: Vec<Write>,
    stage: Stage,
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Its records go to this host's disk.
    Local,
    /// They are there; the shared changes wait for those before them.
    Recorded,
    /// The shared changes go to etcd.
    Shared,
    /// All of it is durable.
    Done,
}

/// What the shell has to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// This host has the rack from now on.
    Began {
        /// The number of the tenure.
        fence: u64,
        /// How it came about.
        cause: Cause,
        /// How far the trail of who had the rack before had come.
        trail: Option<TrailEnd>,
    },
    /// This host has the rack no more: whoever waits for an answer of it waits in vain.
    Ended {
        /// Who has it, where that is known.
        by: Option<Own>,
        why: String,
    },
    /// This shall be kept on the disk.
    Pin(Pinned),
    /// Somebody wishes that this host owns the rack.
    Wished(String),
}

impl Keeper {
    /// A host without the rack. `make` makes one when it has it.
    pub fn new(tenure: Tenure, make: Make) -> Self {
        Self {
            tenure,
            make,
            rack: None,
            pending: VecDeque::new(),
            leaving: None,
            told: VecDeque::new(),
            parting: VecDeque::new(),
            local: VecDeque::new(),
            write_at: None,
        }
    }

    /// The rack, where this host has it.
    pub fn rack(&self) -> Option<&Rack> {
        self.rack.as_deref()
    }

    /// The rack, where this host has it, to be told something. Call [`Keeper::settle`] afterwards.
    pub fn rack_mut(&mut self) -> Option<&mut Rack> {
        self.rack.as_deref_mut()
    }

    /// The tenure, to be looked at.
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// The tenure, to be told something. Call [`Keeper::settle`] afterwards.
    pub fn tenure_mut(&mut self) -> &mut Tenure {
        &mut self.tenure
    }

    /// When what changes machines may leave: the shell looks at this once more, with its own clock,
    /// before it sends.
    pub fn permit(&self) -> Option<Permit> {
        self.rack.as_ref()?.permit()
    }

    /// Etcd answered, or did not.
    pub fn handle_answer(&mut self, id: RequestId, answer: Result<Answer, Trouble>, now: Instant) {
        self.tenure.handle_answer(id, answer, now);
        self.settle(now);
    }

    /// A key changed that is watched.
    pub fn handle_change(&mut self, change: &Change, now: Instant) {
        self.tenure.handle_change(change, now);
        self.settle(now);
    }

    /// Records of all tickets up to this one are on this host's disk.
    pub fn handle_recorded(&mut self, ticket: u64, now: Instant) {
        let local = |pending: &&mut Pending| pending.stage == Stage::Local;
        let pending = self.pending.iter_mut().filter(local);
        for pending in pending.take_while(|pending| pending.ticket <= ticket) {
            pending.stage = Stage::Recorded;
        }
        self.settle(now);
    }

    /// Records could not be written to this host's disk: nothing of what they speak of happens
    /// before they are there. What went to etcd before them goes on.
    pub fn handle_unrecorded(&mut self, why: &str, now: Instant) {
        if let Some(rack) = &mut self.rack {
            rack.handle_unconfirmed(why, now);
        }
        self.settle(now);
    }

    /// The time has come that [`Keeper::poll_timeout`] named, or later. First the permit is looked
    /// at, then the rack.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.tenure.poll_timeout()) {
            self.tenure.handle_timeout(now);
            self.settle(now);
        }
        if let Some(rack) = &mut self.rack
            && due(rack.poll_timeout())
        {
            rack.handle_timeout(now);
        }
        self.settle(now);
    }

    /// The rack is given up, for `to` where that is wished. Nothing new is begun; answers that BMCs
    /// owe are waited for a while.
    pub fn hand_over(&mut self, to: Option<String>, now: Instant) {
        if let Some(rack) = self.rack.as_mut().filter(|_| self.leaving.is_none()) {
            rack.stop(now);
            self.leaving = Some((to, now + OWED));
            self.settle(now);
        }
    }

    /// For how long the oldest of what the rack has put down has waited to be durable.
    pub fn unconfirmed(&self, now: Instant) -> Duration {
        let oldest = self.pending.front();
        oldest.map_or(Duration::ZERO, |pending| now - pending.since)
    }

    /// What is to be asked of etcd next.
    pub fn poll_request(&mut self) -> Option<(RequestId, Request)> {
        self.tenure.poll_request()
    }

    /// Records for this host's disk, under their ticket.
    pub fn poll_local(&mut self) -> Option<(u64, Vec<Write>)> {
        self.local.pop_front()
    }

    /// What the shell has to know.
    pub fn poll_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// What is left to be sent of a rack that is this host's no more.
    pub fn poll_parting(&mut self) -> Option<Outgoing> {
        self.parting.pop_front()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        let parting = self.parting.pop_front();
        parting.or_else(|| self.rack.as_mut()?.poll_transmit())
    }

    /// When [`Keeper::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let rack = self.rack.as_ref().and_then(|rack| rack.poll_timeout());
        rack.into_iter().chain(self.poll_own()).min()
    }

    /// The same for all but the rack.
    pub fn poll_own(&self) -> Option<Instant> {
        let leaving = self.leaving.as_ref().map(|(_, by)| *by);
        // What is written first ends that wait by itself.
        let written = self.pending.is_empty() && self.tenure.phase() != Phase::Releasing;
        let leaving = leaving.filter(|_| written);
        [self.tenure.poll_timeout(), leaving, self.write_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Passes on what the tenure has for the rack, and the other way round, until neither has
    /// anything.
    pub fn settle(&mut self, now: Instant) {
        loop {
            while let Some(event) = self.tenure.poll_event() {
                self.take(event, now);
            }
            let batches = self.poll_writes(now);
            self.put_down(batches, now);
            let passed = self.pass_writes(now);
            self.stand_down(now);
            let rack = self.rack.as_ref();
            if rack.is_some_and(|rack| rack.wants_confirmation(now)) {
                self.tenure.confirm(now);
            }
            if !passed && !self.tenure.has_events() {
                break;
            }
        }
    }

    fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Own(begun) => self.begin(&begun, now),
            Event::Until(until) => {
                if let Some(rack) = &mut self.rack {
                    rack.handle_permit(until, now);
                }
            }
            Event::Committed(ticket) => {
                let shared = |pending: &&mut Pending| pending.stage == Stage::Shared;
                let pending = self.pending.iter_mut().filter(shared);
                for pending in pending.take_while(|pending| pending.ticket <= ticket) {
                    pending.stage = Stage::Done;
                }
            }
            Event::Failed { ticket, reason } => self.fail(ticket, &reason, now),
            Event::Waiting { reason, .. } => {
                if let Some(rack) = &mut self.rack {
                    rack.handle_unconfirmed(&reason, now);
                }
            }
            Event::Dark => {
                if let Some(rack) = &mut self.rack {
                    rack.handle_dark(now);
                }
            }
            Event::Deposed { by, why } => self.end(by, why, now),
            Event::Released => self.end(None, "it was given up".to_owned(), now),
            Event::Pin(pinned) => self.told.push_back(Told::Pin(pinned)),
            Event::Wished(host) => self.told.push_back(Told::Wished(host)),
        }
    }

    fn begin(&mut self, begun: &Begun, now: Instant) {
        let succession = Succession {
            fence: begun.fence,
            permit: Permit {
                from: begun.at,
                until: begun.until,
            },
            clean: begun.cause.is_clean(),
            only_looked_at: false,
            last_sign: begun.last_sign,
        };
        self.rack = Some(Box::new((self.make)(begun, succession, now)));
        self.told.push_back(Told::Began {
            fence: begun.fence,
            cause: begun.cause,
            trail: begun.trail.clone(),
        });
    }

    /// The rack is another host's, or nobody's. Nothing of it is written any more; that sessions
    /// are closed changes nothing.
    fn end(&mut self, by: Option<Own>, why: String, now: Instant) {
        if let Some(mut rack) = self.rack.take() {
            rack.handle_permit(now, now);
            rack.handle_dark(now);
            let closing = std::iter::from_fn(|| rack.poll_transmit());
            self.parting.extend(closing.filter(|out| !out.changes));
        }
        self.pending.clear();
        self.local.clear();
        self.write_at = None;
        self.leaving = None;
        self.told.push_back(Told::Ended { by, why });
    }

    /// What the rack has put down, under its tickets. What nobody waits for waits a moment, and
    /// goes with the next that somebody does wait for: each commit costs etcd three syncs. To be
    /// given to [`Keeper::put_down`], with what else shall be on this host's disk before anything
    /// of it is shared.
    pub fn poll_writes(&mut self, now: Instant) -> Vec<(u64, Vec<Write>)> {
        let leaving = self.leaving.is_some();
        let Some(rack) = &self.rack else {
            return Vec::new();
        };
        if rack.unwritten() == Unwritten::Idle && !leaving {
            let due = *self.write_at.get_or_insert(now + GATHER);
            if now < due {
                return Vec::new();
            }
        }
        self.poll_all_writes()
    }

    /// The same, with what may wait.
    pub fn poll_all_writes(&mut self) -> Vec<(u64, Vec<Write>)> {
        self.write_at = None;
        let rack = self.rack.iter_mut();
        rack.flat_map(|rack| std::iter::from_fn(|| rack.poll_writes()))
            .collect()
    }

    /// What the rack has put down goes to this host's disk, and then to etcd.
    pub fn put_down(&mut self, batches: Vec<(u64, Vec<Write>)>, now: Instant) {
        for (ticket, writes) in batches {
            let (shared, local): (Vec<_>, Vec<_>) = writes.into_iter().partition(shared);
            let stage = match local.is_empty() {
                true => Stage::Recorded,
                false => Stage::Local,
            };
            if !local.is_empty() {
                self.local.push_back((ticket, local));
            }
            self.pending.push_back(Pending {
                ticket,
                shared,
                stage,
                since: now,
            });
        }
    }

    /// What is on this host's disk goes to etcd, in its order; and the rack hears of what is
    /// durable. Whether there was anything.
    fn pass_writes(&mut self, now: Instant) -> bool {
        let mut passed = false;
        for pending in &mut self.pending {
            match pending.stage {
                Stage::Local => break,
                Stage::Recorded if pending.shared.is_empty() => pending.stage = Stage::Done,
                Stage::Recorded => {
                    pending.stage = Stage::Shared;
                    let shared = std::mem::take(&mut pending.shared);
                    self.tenure.commit(pending.ticket, shared, now);
                    passed = true;
                }
                Stage::Shared | Stage::Done => {}
            }
        }
        let done = self.pending.iter();
        let done = done.take_while(|pending| pending.stage == Stage::Done);
        let mut done = self.pending.drain(..done.count());
        if let Some(last) = done.next_back()
            && let Some(rack) = &mut self.rack
        {
            rack.handle_durable(last.ticket, now);
            passed = true;
        }
        passed
    }

    /// What these tickets hold is certainly not there.
    fn fail(&mut self, ticket: u64, why: &str, now: Instant) {
        self.pending.retain(|pending| pending.ticket > ticket);
        if let Some(rack) = &mut self.rack {
            rack.handle_store_trouble(ticket, why, now);
        }
    }

    /// A rack that is being given up is let go once nothing is owed, or the time for that is over.
    fn stand_down(&mut self, now: Instant) {
        let (Some((to, by)), Some(rack)) = (&self.leaving, &self.rack) else {
            return;
        };
        let releasing = self.tenure.phase() == Phase::Releasing;
        let written = self.pending.is_empty();
        if !releasing && written && (rack.is_quiet() || now >= *by) {
            self.tenure.release(to.clone(), now);
        }
    }
}

fn shared(write: &Write) -> bool {
    let (table, key) = write.table_and_key();
    is_shared(table, key)
}

/// So long what nobody waits for may wait for others that are written.
const GATHER: Duration = Duration::from_millis(300);
/// How long answers that BMCs owe are waited for when the rack is given up.
const OWED: Duration = Duration::from_secs(5);
