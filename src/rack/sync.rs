//! Reading idle nodes: the periodic power sync, fresh readings on request, and faults.

use super::Rack;
use super::call::{Answer, CallId, PowerState, TaskId};
use super::inventory::NodeId;
use super::run::Owner;
use crate::bmc::Purpose;
use crate::bmc::vocabulary::{Order, OrderId, Power, Reading, Report};
use crate::time::Instant;
use std::time::Duration;

impl Rack {
    /// The node's own timers: its sync, and fresh readings that took too long.
    pub(super) fn time_out_node(&mut self, node: NodeId, now: Instant) {
        if let Some(id) = self.inventory[node].task {
            if let Some(task) = self.tasks.get_mut(&id) {
                task.sequence.handle_timeout(now);
            }
            self.answer_nmi(id, now);
        }
        let place = &mut self.inventory[node];
        if now >= place.next_sync && place.sync.is_none() {
            let held = |id: TaskId| self.tasks.get(&id).is_some_and(|t| t.sequence.is_held());
            if place.task.is_some_and(|id| !held(id)) || self.stopping {
                // The task reads the machine itself, unless it is held back.
                place.next_sync = now + self.settings.sync_interval;
            } else {
                self.read_power(node, Owner::Sync(node), now);
            }
        }
        let late = |(_, until): &(CallId, Instant)| now >= *until;
        for (call, _) in self.inventory[node]
            .fresh_calls
            .extract_if(.., |call| late(call))
            .collect::<Vec<_>>()
        {
            let view = self.node_view(node, now);
            self.answer(call, Ok(Answer::Node(view)));
        }
    }

    pub(super) fn read_power(&mut self, node: NodeId, owner: Owner, now: Instant) {
        let id = OrderId(self.next_order);
        self.next_order += 1;
        let place = &mut self.inventory[node];
        match owner {
            Owner::Sync(_) => place.sync = Some(id),
            Owner::Fresh(_) => place.fresh = Some(id),
            _ => {}
        }
        self.owners.insert(id, owner);
        place.bmc.submit(
            id,
            Order::ReadPower,
            Purpose::PowerState,
            now,
            &mut *self.entropy,
        );
    }

    /// Somebody wants a reading that is not older than the request.
    pub(super) fn read_fresh(&mut self, node: NodeId, call: CallId, now: Instant) {
        self.inventory[node]
            .fresh_calls
            .push((call, now + FRESH_ANSWER));
        if self.inventory[node].fresh.is_none() {
            self.read_power(node, Owner::Fresh(node), now);
        }
        self.settle(node, now);
    }

    pub(super) fn freshly_read(&mut self, node: NodeId, report: &Report, now: Instant) {
        self.inventory[node].fresh = None;
        if let Report::Accepted(Reading::Power(power)) = report {
            self.note_reading(node, *power, now);
            let task = self.inventory[node]
                .task
                .and_then(|id| self.tasks.get_mut(&id));
            match task {
                Some(task) => task.sequence.observe_power(*power, now),
                // `error` stays until the periodic sync.
                None if self.inventory[node].memory.shown != PowerState::Error => {
                    self.show(node, *power, now)
                }
                None => {}
            }
        }
        for (call, _) in std::mem::take(&mut self.inventory[node].fresh_calls) {
            let view = self.node_view(node, now);
            self.answer(call, Ok(Answer::Node(view)));
        }
    }

    /// The periodic sync of a node has its report.
    pub(super) fn synced(&mut self, node: NodeId, report: &Report, now: Instant) {
        let place = &mut self.inventory[node];
        place.sync = None;
        place.next_sync = now + self.settings.sync_interval;
        let Report::Accepted(Reading::Power(power)) = report else {
            self.sync_failed(node, report, now);
            return;
        };
        let task = place.task.and_then(|id| self.tasks.get_mut(&id));
        if let Some(task) = task {
            task.sequence.observe_power(*power, now);
        }
        self.note_reading(node, *power, now);
        if self.inventory[node].task.is_some() {
            return;
        }
        self.show(node, *power, now);
    }

    pub(super) fn show(&mut self, node: NodeId, power: Power, now: Instant) {
        let wall = self.wall(now);
        let place = &mut self.inventory[node];
        let shown = PowerState::from(power);
        if place.memory.shown != shown {
            let text = format!("power is {power}");
            place.memory.shown = shown;
            place.memory.updated_at = Some(wall);
            self.save_node(node);
            self.announce_node(node, text, now);
        }
    }

    fn sync_failed(&mut self, node: NodeId, report: &Report, now: Instant) {
        let place = &mut self.inventory[node];
        place.failed_syncs += 1;
        let faulty = place.failed_syncs >= self.settings.fault_after;
        if faulty {
            place.next_sync = now + self.settings.sync_interval * GENTLE;
        }
        if place.failed_syncs != self.settings.fault_after {
            return;
        }
        let text = format!("{} readings failed in a row: {report}", place.failed_syncs);
        log::warn!("{}: {text}", place.settings.name);
        place.memory.fault = Some(POWER_FAILURE.to_owned());
        place.memory.shown = PowerState::Unknown;
        place.memory.last_error = Some(text.clone());
        self.save_node(node);
        self.note_history(node, "fault", text, None, None, true, now);
        self.announce_node(node, "its BMC does not answer".to_owned(), now);
    }
}

/// How long a fresh reading is waited for; then the last one is shown, with its age and the trouble.
pub(super) const FRESH_ANSWER: Duration = Duration::from_secs(5);
/// A faulty node is read so many times more seldom.
const GENTLE: u32 = 3;
/// Ironic's word for a node whose BMC cannot be read.
const POWER_FAILURE: &str = "power failure";
