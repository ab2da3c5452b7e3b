//! Who may begin, and when: places for power changes, power-ons apart from each other, batches, the pause.

use super::Rack;
use super::batch::Rooms;
use super::call::TaskId;
use super::record::Table;
use super::task::Stage;
use crate::bmc::Outgoing;
use crate::bmc::vocabulary::{Order, OrderId};
use crate::power::{Control, Operation, State};
use crate::time::{Instant, WallTime};
use std::collections::VecDeque;
use std::time::Duration;

/// Keeps power-ons apart: orders wait here before they are written down, and their first datagrams before they leave.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Before this no power-on is written down.
    next_order: Instant,
    /// Before this no power-on leaves.
    next_wire: Instant,
    /// Before this no task that begins with a power-on begins.
    next_start: Instant,
    waiting: VecDeque<TaskId>,
    /// First datagrams that came too early, because a session opened at an unlucky moment.
    held: VecDeque<Outgoing>,
    /// The power-on order whose first datagram left last.
    passed: Option<OrderId>,
    /// When the scheduler wants to look again.
    wake: Option<Instant>,
}

impl Gate {
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.waiting.is_empty() && now >= self.next_order
    }

    pub(super) fn wait(&mut self, task: TaskId) {
        self.waiting.push_back(task);
        self.wake_at(self.next_order);
    }

    pub(super) fn pass(&mut self, stagger: Duration, now: Instant) {
        self.next_order = now + stagger;
    }

    /// An order is not wanted any more.
    pub(super) fn forget(&mut self, task: TaskId, order: OrderId) {
        self.waiting.retain(|waiting| *waiting != task);
        self.drop_held(order);
    }

    /// An order has its report, or is not wanted any more: what is held of it must not leave.
    pub(super) fn drop_held(&mut self, order: OrderId) {
        self.held.retain(|outgoing| outgoing.order != Some(order));
    }

    /// Keeps a datagram until its turn. A later copy takes the place of the one before it: only one of them leaves.
    fn hold(&mut self, outgoing: Outgoing) {
        match self
            .held
            .iter_mut()
            .find(|held| held.order == outgoing.order)
        {
            Some(held) => *held = outgoing,
            None => self.held.push_back(outgoing),
        }
    }

    /// Nothing is powered on before `at`: a former life of the daemon may have powered something on a moment ago.
    pub(super) fn close_until(&mut self, at: Instant) {
        (self.next_order, self.next_wire, self.next_start) = (at, at, at);
    }

    /// The distance between power-ons is another one from now on, and counts from the last one, too.
    pub(super) fn change_stagger(&mut self, from: Duration, to: Duration) {
        let longer = to.saturating_sub(from);
        for next in [
            &mut self.next_order,
            &mut self.next_wire,
            &mut self.next_start,
        ] {
            *next += longer;
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let held = (!self.held.is_empty()).then_some(self.next_wire);
        [self.wake, held].into_iter().flatten().min()
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Whether the order draws the inrush current of a machine that starts.
pub(super) fn is_inrush(order: &Order) -> bool {
    match order {
        Order::PowerOn | Order::Cycle => true,
        Order::PowerOff
        | Order::SoftOff
        | Order::Reset
        | Order::Nmi
        | Order::Identify(_)
        | Order::SetBootDevice { .. }
        | Order::ClearEventLog
        | Order::ResetBmc { .. }
        | Order::Raw { .. }
        | Order::ReadPower
        | Order::ReadRestartCause
        | Order::ReadEventLogInfo
        | Order::ReadEventLogEntry(_)
        | Order::ReadBootDevice
        | Order::ReadIdentity
        | Order::ReadPowerUse
        | Order::ReadAcpiState
        | Order::ReadGuid
        | Order::ReadSessions
        | Order::ReadEventLog(_) => false,
    }
}

impl Rack {
    /// Begins whatever may begin now.
    pub(super) fn schedule(&mut self, now: Instant) {
        self.gate.wake = None;
        self.release_held(now);
        self.release_gated(now);
        if self.pause.is_some() || self.stopping {
            return;
        }
        self.check_counts();
        let mut rooms = Rooms::new();
        for id in self.waiting.iter().copied().collect::<Vec<_>>() {
            // One that began a line above may have ended at once, and its batch with it.
            if !self.waiting.contains(&id) {
                continue;
            }
            let identity = &self.tasks[&id].identity;
            let (operation, batch) = (identity.operation, identity.batch);
            if operation != Operation::InjectNmi && self.is_full()
                || !self.may_begin(id, &mut rooms, now)
            {
                continue;
            }
            self.begin(id, now);
            batch.map(|batch| rooms.remove(&batch));
        }
    }

    /// Whether all places for power changes are taken.
    pub(super) fn is_full(&self) -> bool {
        self.transitions >= self.settings.max_transitions as usize
    }

    /// Counts a task anew among those that have a place and those that wait for one. To be called when its state may
    /// have changed, before the scheduler looks.
    pub(super) fn count_task(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        if task.waits() {
            self.waiting.insert(id);
        } else {
            self.waiting.remove(&id);
        }
        match (task.counted, task.is_transition()) {
            (false, true) => self.transitions += 1,
            (true, false) => self.transitions -= 1,
            _ => {}
        }
        task.counted = task.is_transition();
    }

    /// What is counted as it goes along is what a recount finds.
    fn check_counts(&self) {
        let of = |wanted: fn(&super::Task) -> bool| {
            let active = self.active.iter();
            active.filter(move |id| wanted(&self.tasks[id])).copied()
        };
        debug_assert_eq!(self.transitions, of(super::Task::is_transition).count());
        debug_assert!(of(super::Task::waits).eq(self.waiting.iter().copied()));
    }

    /// Whether nothing but the number of places stands against the task's beginning.
    fn may_begin(&mut self, id: TaskId, rooms: &mut Rooms, now: Instant) -> bool {
        let task = &self.tasks[&id];
        let free = |node| self.maintenance_block(node).is_none();
        if !task.node.is_some_and(free) {
            return false;
        }
        if task.wants_place() {
            return true;
        }
        let not_before = match task.identity.operation {
            Operation::PowerOn => self.gate.next_start,
            _ => now,
        };
        let not_before = match task.identity.batch {
            None => not_before,
            Some(batch) => {
                let room = rooms.entry(batch).or_insert_with(|| self.batch_room(batch));
                match self.batch_allows(batch, room, id, now) {
                    Some(at) => not_before.max(at),
                    None => return false,
                }
            }
        };
        if now < not_before {
            self.gate.wake_at(not_before);
        }
        now >= not_before
    }

    fn begin(&mut self, id: TaskId, now: Instant) {
        let wall = self.wall(now);
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let node = task.node.expect("an active task has its node");
        if let Some(by) = task.resuming.take() {
            // Its state may have changed since: then there is nothing to resume any more.
            let _ = task.sequence.control(Control::Resume, &by, now);
            // One that was suspended while it was queued is queued again.
            self.unscheduled |= task.state() == State::Queued;
        } else if let Some(by) = task.returning.take() {
            let _ = task.sequence.control(Control::Rollback, &by, now);
        } else {
            task.sequence.begin(now);
            task.identity.started_at = Some(wall);
            if task.identity.operation == Operation::PowerOn {
                self.gate.next_start = now + self.settings.power_on_stagger;
            }
            let batch = task.identity.batch;
            if let Some(batch) = batch.and_then(|batch| self.batches.get_mut(&batch)) {
                batch.last_start = Some(now);
            }
        }
        self.inventory[node].bmc.set_wanted(true, now);
        self.settle(node, now);
    }

    /// The next power-on order in the row is written down when its time has come.
    fn release_gated(&mut self, now: Instant) {
        while let Some(&id) = self.gate.waiting.front() {
            if now < self.gate.next_order {
                self.gate.wake_at(self.gate.next_order);
                return;
            }
            self.gate.waiting.pop_front();
            let gated = |task: &super::Task| {
                task.pending
                    .as_ref()
                    .is_some_and(|p| p.stage == Stage::Gated)
            };
            if self.tasks.get(&id).is_some_and(gated) && !self.stopping {
                self.write_ahead(id, now);
            }
        }
    }

    fn release_held(&mut self, now: Instant) {
        while now >= self.gate.next_wire
            && let Some(outgoing) = self.gate.held.pop_front()
        {
            self.gate.next_wire = now + self.settings.power_on_stagger;
            self.gate.passed = outgoing.order;
            self.leave(outgoing, now);
        }
    }

    /// A datagram of a BMC's room goes to the network, a power-on's first one not too soon after that of another.
    pub(super) fn hand_over(&mut self, outgoing: Outgoing, now: Instant) {
        if let Some(order) = outgoing.order
            && let Some(super::run::Owner::Task(id)) = self.owners.get(&order)
            && let Some(task) = self.tasks.get(id)
        {
            let pending = task.pending.as_ref();
            let inrush =
                pending.is_some_and(|pending| pending.id == order && is_inrush(&pending.order));
            if inrush && self.gate.passed != Some(order) {
                if now < self.gate.next_wire || !self.gate.held.is_empty() {
                    self.gate.hold(outgoing);
                    return;
                }
                self.gate.next_wire = now + self.settings.power_on_stagger;
                self.gate.passed = Some(order);
            }
        }
        self.leave(outgoing, now);
    }

    /// Nothing holds the datagram back any more, and its task knows that its order is out.
    fn leave(&mut self, outgoing: Outgoing, now: Instant) {
        if let Some(order) = outgoing.order
            && let Some(super::run::Owner::Task(id)) = self.owners.get(&order)
            && let Some(task) = self.tasks.get_mut(id)
        {
            task.sequence.handle_sent(order, now);
        }
        self.transmits.push_back(outgoing);
    }

    /// A sign of life while tasks are active, so that the next life knows how long it was away.
    pub(super) fn heartbeat(&mut self, now: Instant) {
        match self.next_heartbeat {
            Some(at) if now < at => return,
            Some(_) => {
                let wall = self.wall(now).unix_micros().to_string();
                self.journal
                    .put(Table::Rack, ALIVE.to_owned(), wall.into_bytes());
            }
            None => {}
        }
        // Writes that were refused go with it.
        let wanted = !self.active.is_empty() || self.journal.trouble().is_some();
        self.next_heartbeat = wanted.then_some(now + HEARTBEAT);
    }
}

/// A calendar time as the journal keeps it under [`ALIVE`].
pub(super) fn wall_from(value: &[u8]) -> Option<WallTime> {
    std::str::from_utf8(value)
        .ok()?
        .parse()
        .ok()
        .map(WallTime::from_unix_micros)
}

/// The key of the last sign of life.
pub(super) const ALIVE: &str = "alive";
/// How often a sign of life is given while tasks are active.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
