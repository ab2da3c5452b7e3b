//! Reading idle nodes: the periodic power sync, fresh readings on request, and faults.

use super::Rack;
use super::call::{Answer, CallId, PowerState, TaskId};
use super::inventory::NodeId;
use super::run::Owner;
use crate::bmc::Bmc;
use crate::bmc::Purpose;
use crate::bmc::vocabulary::{Order, OrderId, Power, Reading, Report};
use crate::model::HistoryKind;
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
        let logs_in = |bmc: &Bmc| bmc.is_logging_in();
        let crowded = self.inventory[node].is_due(now)
            && !self.inventory[node].bmc.is_open()
            && self
                .inventory
                .iter()
                .filter(|other| logs_in(&other.bmc))
                .count()
                >= LOG_INS;
        let place = &mut self.inventory[node];
        if crowded {
            place.next_sync = now + WHEN_CROWDED;
        } else if place.is_due(now) {
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

    /// A session came about after its callers were told that the BMC does not answer yet: a reading that failed of that
    /// is made up for.
    pub(super) fn reached_late(&mut self, node: NodeId, now: Instant) {
        let place = &mut self.inventory[node];
        let late = place.bmc.take_reached_late();
        // `error` stays for its time.
        if late && place.failed_syncs > 0 && place.memory.shown != PowerState::Error {
            place.next_sync = now;
        }
    }

    fn sync_failed(&mut self, node: NodeId, report: &Report, now: Instant) {
        let place = &mut self.inventory[node];
        place.failed_syncs += 1;
        let faulty = place.failed_syncs >= self.settings.fault_after;
        // Whoever was never read, or is in fault, is read as soon as its BMC may be spoken to again.
        let error = place.memory.shown == PowerState::Error;
        if (faulty || place.memory.reading.is_none()) && !error {
            let next = place.bmc.next_attempt().unwrap_or(now).max(now + SOON);
            place.next_sync = place.next_sync.min(next);
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
        self.note_history(node, HistoryKind::Fault, text, None, None, true, now);
        self.announce_node(node, "its BMC does not answer".to_owned(), now);
    }
}

/// How long a fresh reading is waited for; then the last one is shown, with its age and the trouble.
pub(super) const FRESH_ANSWER: Duration = Duration::from_secs(5);
/// Log-ins under way at once for the sake of readings, rack-wide; a BMC that does not answer at first counts no more.
const LOG_INS: usize = 32;
/// When to look again for a place among them.
const WHEN_CROWDED: Duration = Duration::from_millis(10);
/// No reading that failed is tried again sooner.
const SOON: Duration = Duration::from_secs(1);
/// Ironic's word for a node whose BMC cannot be read.
const POWER_FAILURE: &str = "power failure";
