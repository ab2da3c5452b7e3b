//! Whether what a task says at its end is true of the machine, and whether it ended in time.

use super::{Seen, Watch};
use crate::world::{World, name, secs};
use rackbmcd::bmc::vocabulary::{Order, Reading, Report};
use rackbmcd::model::{Operation, Power, TaskId, TaskState};
use rackbmcd::power::{Outcome, Sent, Sequence};
use rackbmcd::sim::{self, By, ChassisOrder, Executed};
use rackbmcd::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Watch {
    pub(super) fn ended(
        &mut self,
        id: TaskId,
        sequence: &Sequence,
        now: Instant,
        world: &mut World,
    ) -> Result<(), String> {
        let outcome = sequence.outcome().expect("it has ended");
        let text = &outcome.text;
        *self.ends.entry(sequence.state().name()).or_default() += 1;
        let rests_on = rests_on(sequence.operation(), outcome);
        self.in_time(id, text, now)?;
        let seen = self.tasks.get_mut(&id).expect("just seen");
        (seen.ended_at, seen.rests_on) = (Some(now), rests_on);
        let seen = &self.tasks[&id];
        self.read_again(id, sequence, world)
            .and_then(|()| self.words(id, sequence, world))
            .and_then(|()| self.truth(id, sequence, now, world))
            .and_then(|()| self.already(id, sequence, now, world))
            .map_err(|why| format!("{id} ({}): {why}: {text}", seen.operation))
    }

    /// Whether the machine was read after the daemon stood still, before anything was said of it.
    fn read_again(&self, id: TaskId, sequence: &Sequence, world: &World) -> Result<(), String> {
        let verdict = matches!(sequence.state(), TaskState::Succeeded | TaskState::Failed);
        // Another request ends a watch at once, and its end says so: what was read before the pause
        // is all that it tells.
        let outcome = sequence.outcome().expect("it has ended");
        let verdict = verdict && !outcome.text.contains(SUPERSEDED);
        let Some(from) = self.tasks[&id].unread_from.filter(|_| verdict) else {
            return Ok(());
        };
        let left = |sent: &Sent| {
            let mut left = world.left[from..].iter();
            left.any(|left| left.order == Some(sent.id))
        };
        let powers = sequence.sent().iter().filter(|sent| {
            let power = |report| matches!(report, &Report::Accepted(Reading::Power(_)));
            sent.answer
                .as_ref()
                .is_some_and(|(_, report)| power(report))
        });
        match powers.rev().any(left) || could_not_be_read(sequence, from, world) {
            true => Ok(()),
            false => Err("said before the machine was read again".to_owned()),
        }
    }

    /// Whether what is said of the orders is so: what did not leave, what left, and what was
    /// accepted.
    fn words(&self, id: TaskId, sequence: &Sequence, world: &mut World) -> Result<(), String> {
        let seen = &self.tasks[&id];
        let host = world.bmc(&name(seen.node)).host();
        let mut accepted: BTreeMap<ChassisOrder, usize> = BTreeMap::new();
        let mut heard = BTreeSet::new();
        for sent in sequence.sent() {
            let Some(order) = chassis_order(&sent.order) else {
                continue;
            };
            let issued = self.issued.get(&sent.id);
            let left = issued.is_some_and(|issued| issued.first_left.is_some());
            if left && !sent.handed {
                return Err(format!(
                    "{} left, and is said not to have",
                    sent.order.name()
                ));
            }
            // "On when on" is refused by some: then the BMC has heard it.
            let stands =
                matches!(&sent.answer, Some((_, Report::Refused(refusal))) if refusal.code == 0xD5);
            if stands {
                heard.insert(order);
            }
            if matches!(sent.answer, Some((_, Report::Accepted(_)))) {
                heard.insert(order);
                *accepted.entry(order).or_default() += 1;
            }
        }
        let outcome = sequence.outcome().expect("it has ended");
        let level = match sequence.operation() {
            Operation::PowerOn => Some(ChassisOrder::On),
            Operation::PowerOff => Some(ChassisOrder::Off),
            _ => None,
        };
        if outcome.state == TaskState::Succeeded
            && may_still_move(outcome)
            && level.is_some_and(|level| !heard.contains(&level))
        {
            return Err("it may still move, and nothing was sent against that".to_owned());
        }
        for (order, accepted) in accepted {
            let done = |done: &&Executed| {
                done.order == order && matches!(done.by, By::Console(_)) && done.at >= seen.created
            };
            let executed = host.executed().iter().filter(done).count();
            if executed < accepted {
                return Err(format!(
                    "{order:?} is said to have been accepted {accepted} times and reached the machine {executed} times"
                ));
            }
        }
        Ok(())
    }

    /// At the end of a story: a machine has stayed as the last of its tasks said, or that task said
    /// that it may not.
    pub(crate) fn judge_rest(&self, world: &mut World) -> Result<(), String> {
        for (id, seen) in &self.tasks {
            let (Some(at), Some(power)) = (seen.ended_at, seen.rests_on) else {
                continue;
            };
            let others = self.tasks.iter().filter(|(other, _)| *other != id);
            let mut others = others.filter(|(_, other)| other.node == seen.node);
            if self.held_back && others.clone().next().is_some() {
                continue;
            }
            let is_last = !others.any(|(_, other)| other.ended_at.is_none_or(|ended| ended >= at));
            let disturbed = self
                .disturbed
                .get(&seen.node)
                .is_some_and(|when| *when + secs(15) > at);
            if !is_last || disturbed {
                continue;
            }
            let on = power == Power::On;
            let host = world.bmc(&name(seen.node)).host();
            let moved = host
                .power_changes()
                .iter()
                .find(|change| change.at > at && change.on != on);
            if let Some(moved) = moved {
                return Err(format!(
                    "{id} ({}) said {power} and the machine moved {:?} later",
                    seen.operation,
                    moved.at - at
                ));
            }
        }
        Ok(())
    }

    /// Whether somebody else had a hand in the machine, from shortly before the task on.
    pub(super) fn is_disturbed(&self, seen: &Seen) -> bool {
        let disturbed = self.disturbed.get(&seen.node);
        disturbed.is_some_and(|at| *at + secs(15) > seen.created)
    }

    /// Whether what an end says is true of the machine, where nobody else had a hand in it.
    fn truth(
        &self,
        id: TaskId,
        sequence: &Sequence,
        now: Instant,
        world: &mut World,
    ) -> Result<(), String> {
        let seen = &self.tasks[&id];
        let outcome = sequence.outcome().expect("it has ended");
        if self.is_disturbed(seen) {
            return Ok(());
        }
        let bmc = world.bmc(&name(seen.node));
        let host = bmc.host();
        let window = age_of_readings(bmc);
        let was = |power: Power| {
            let on = power == Power::On;
            let recent = |change: &&sim::PowerChange| now - change.at <= window;
            host.is_on() == on || host.power_changes().iter().rev().any(|c| recent(&c))
        };
        let done = |order: ChassisOrder| {
            host.executed().iter().any(|done| {
                done.order == order && matches!(done.by, By::Console(_)) && done.at >= seen.created
            })
        };
        match outcome.state {
            TaskState::Succeeded => {}
            TaskState::RolledBack => {
                let handed = |sent: &Sent| sent.handed && sent.order.changes_power();
                let undone = sequence.sent().iter().any(handed) && !is_pulse(seen.operation);
                return match outcome.power_at_start.filter(|_| undone) {
                    Some(power) if !was(power) => Err(format!("it is not {power}")),
                    _ => Ok(()),
                };
            }
            _ => return Ok(()),
        }
        let wanted = wanted(seen.operation);
        if let Some(power) = wanted.filter(|power| !was(*power)) {
            return Err(format!("it is not {power}"));
        }
        let went_off = || {
            host.power_changes()
                .iter()
                .any(|change| !change.on && change.at >= seen.created)
        };
        match seen.operation {
            Operation::Reset if !done(ChassisOrder::Reset) && !self.misread => {
                Err("no reset came".to_owned())
            }
            Operation::Cycle if !done(ChassisOrder::Cycle) && !self.misread => {
                Err("no cycle came".to_owned())
            }
            Operation::InjectNmi if !done(ChassisOrder::Nmi) => Err("no NMI came".to_owned()),
            Operation::Reboot | Operation::SoftReboot
                if outcome.power_at_start == Some(Power::On) && seen.was_on && !went_off() =>
            {
                Err("it was never off".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The state that an operation leads to.
fn wanted(operation: Operation) -> Option<Power> {
    match operation {
        Operation::PowerOff | Operation::SoftPowerOff => Some(Power::Off),
        Operation::InjectNmi => None,
        Operation::PowerOn
        | Operation::Reboot
        | Operation::SoftReboot
        | Operation::Reset
        | Operation::Cycle => Some(Power::On),
    }
}

/// The state of the machine on which a success rests, unless it says itself that this may change. A
/// hard off has the last word: whoever fences relies on it.
fn rests_on(operation: Operation, outcome: &Outcome) -> Option<Power> {
    let may = may_still_move(outcome) && operation != Operation::PowerOff;
    match outcome.state {
        TaskState::Succeeded if !may => wanted(operation),
        _ => None,
    }
}

/// A reading is a moment old when it is here, may be a copy of the one before, and counts for three
/// seconds.
pub(super) fn age_of_readings(bmc: &sim::Bmc) -> Duration {
    let mood = bmc.mood();
    mood.stale_for + mood.reply_delay + secs(4)
}

pub(super) fn may_still_move(outcome: &Outcome) -> bool {
    outcome.text.contains(" may still ")
}

pub(super) fn chassis_order(order: &Order) -> Option<ChassisOrder> {
    match order {
        Order::PowerOn => Some(ChassisOrder::On),
        Order::PowerOff => Some(ChassisOrder::Off),
        Order::Cycle => Some(ChassisOrder::Cycle),
        Order::Reset => Some(ChassisOrder::Reset),
        Order::Nmi => Some(ChassisOrder::Nmi),
        Order::SoftOff => Some(ChassisOrder::Soft),
        _ => None,
    }
}

/// Whether a task ended because it tried to read the machine after this place in the list of
/// datagrams, and could not: its end tells of the BMC, and nothing of the machine.
fn could_not_be_read(sequence: &Sequence, from: usize, world: &World) -> bool {
    // Each life counts the orders that only read from where the last one's records ended.
    let earlier = world.left[..from].iter();
    let earlier = earlier.filter(|left| left.life == world.lives);
    let last_before = earlier
        .filter_map(|left| left.order)
        .map(|order| order.0)
        .max();
    let reads = |sent: &&Sent| sent.order.only_reads() && sent.answer.is_some();
    let last = sequence.sent().iter().rev().find(reads);
    let in_vain = last.is_some_and(|sent| {
        let accepted = matches!(sent.answer, Some((_, Report::Accepted(_))));
        Some(sent.id.0) > last_before && !accepted
    });
    // That an NMI was delivered rests on its own answer, whatever can be read afterwards.
    let delivered = sequence.operation() == Operation::InjectNmi;
    (delivered || sequence.state() == TaskState::Failed) && in_vain
}

/// What the end of a task says that only watched when something else was asked for.
const SUPERSEDED: &str = "not watched any longer, because ";

fn is_pulse(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::InjectNmi | Operation::Reset | Operation::Cycle
    )
}
