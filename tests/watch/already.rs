//! That "already in that state" is not said while an order of an earlier task may still end that
//! state.

use super::truth::{age_of_readings, chassis_order, may_still_move};
use super::{Issued, Seen, Watch};
use crate::world::{World, name, secs};
use rackbmcd::bmc::vocabulary::{Effect, Order, OrderId, Report};
use rackbmcd::model::{Operation, Power, TaskId, TaskState};
use rackbmcd::power::Sequence;
use rackbmcd::rack::settings::NodeSettings;
use rackbmcd::sim::{self, By, Executed, Host};
use rackbmcd::time::Instant;
use std::time::Duration;

impl Watch {
    /// A hard power on or off of this sequence has succeeded with nothing sent. Then no order of an
    /// earlier task on the node that leads to the other state is younger than its time, unless the
    /// machine was in that state since, or the BMC refused it.
    pub(super) fn already(
        &self,
        id: TaskId,
        sequence: &Sequence,
        now: Instant,
        world: &mut World,
    ) -> Result<(), String> {
        let seen = &self.tasks[&id];
        let power = match seen.operation {
            Operation::PowerOn => Power::On,
            Operation::PowerOff => Power::Off,
            _ => return Ok(()),
        };
        let said = sequence.outcome().is_some_and(may_still_move);
        let mut sent = sequence.sent().iter();
        let sent = sent.any(|sent| sent.order.changes_power());
        let succeeded = sequence.state() == TaskState::Succeeded;
        if !succeeded || said || sent || self.is_disturbed(seen) {
            return Ok(());
        }
        let bmc = world.bmc(&name(seen.node));
        let window = age_of_readings(bmc);
        let changes = bmc.host().power_changes();
        let changed = changes.last().map(|change| change.at + window);
        let named = |node: &&NodeSettings| *node.name == *name(seen.node);
        let Some(configured) = world.nodes.iter().find(named) else {
            return Ok(());
        };
        let configured = configured.power.clone();
        let time = |order: &Order| match order.effect() {
            Effect::Soft => configured.patience,
            _ => configured.change_timeout,
        };
        let acts = |(order, issued): &(&OrderId, &Issued)| {
            let earlier = self
                .earlier(issued, seen)
                .filter(|_| !self.refused.contains(*order));
            let margin = |time: Duration| time.saturating_sub(secs(2));
            let young = |left: &Instant| now - *left < margin(time(&issued.order));
            let pending = |left: &Instant| changed.is_none_or(|changed| changed < *left);
            if self.misread && issued.order == Order::Cycle {
                return false;
            }
            ends(&issued.order, power) && earlier.filter(young).filter(pending).is_some()
        };
        match self.issued.iter().find(acts) {
            Some((_, issued)) => Err(format!(
                "nothing was sent, and {} of {} may still act",
                issued.order.name(),
                issued.task
            )),
            None => Ok(()),
        }
    }

    /// When the order left, where it is one of a task on the same node before this one.
    fn earlier(&self, issued: &Issued, seen: &Seen) -> Option<Instant> {
        let of = self.tasks.get(&issued.task)?;
        let earlier = of.node == seen.node && of.ended_at.is_some_and(|at| at <= seen.created);
        issued.first_left.filter(|_| earlier)
    }

    /// Notes which orders the BMC refused. What it refuses may be a copy of what it has carried
    /// out, or will: then the task says that not every datagram was answered.
    pub(super) fn note_refusals(&mut self, sequence: &Sequence, host: &Host) -> Result<(), String> {
        for sent in sequence.sent() {
            let Some((_, Report::Refused(refusal))) = &sent.answer else {
                continue;
            };
            let Some(issued) = self.issued.get(&sent.id) else {
                continue;
            };
            let Some(left) = issued.first_left else {
                continue;
            };
            if refusal.unanswered > issued.copies {
                return Err(format!(
                    "{} left {} times, and {} other datagrams are said to have no answer",
                    sent.order.name(),
                    issued.copies,
                    refusal.unanswered
                ));
            }
            if refusal.unanswered > 0 {
                continue;
            }
            let of_ours = |done: &&Executed| {
                let order = chassis_order(&sent.order) == Some(done.order);
                order && matches!(done.by, By::Console(_)) && done.at >= left
            };
            let done = host.executed().iter().find(of_ours);
            if done.is_none_or(|done| done.effect != sim::Effect::Done) {
                self.refused.insert(sent.id);
            }
        }
        Ok(())
    }
}

/// Whether the order leads out of this state.
fn ends(order: &Order, power: Power) -> bool {
    match power {
        Power::On => order.switches_off(),
        Power::Off => *order == Order::PowerOn,
    }
}
