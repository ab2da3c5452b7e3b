//! Dry runs: look at every node of a batch, change nothing, and say what would come of it and when.
//!
//! Driven by `batch`, which turns a request into nodes with their ranks.

use super::Rack;
use super::call::{Answer, BatchNodeView, BatchRequest, BatchView, CallId, Refused, Who};
use super::inventory::NodeId;
use super::run::Owner;
use super::settings::RackSettings;
use crate::bmc::vocabulary::{Order, Power, Reading, Report};
use crate::model::{BatchNodeState, BatchState, Prospect};
use crate::power::Operation;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// A dry run that waits for its readings.
#[derive(Debug)]
pub(super) struct Plan {
    request: BatchRequest,
    who: Who,
    /// In the order of starting.
    looks: Vec<Look>,
}

/// One node of a dry run.
#[derive(Debug)]
struct Look {
    node: NodeId,
    name: String,
    rank: usize,
    /// What its BMC said.
    report: Option<Report>,
}

impl Rack {
    /// A dry run logs in to every BMC, reads its power state and changes nothing.
    pub(super) fn begin_plan(
        &mut self,
        call: CallId,
        request: BatchRequest,
        who: Who,
        members: Vec<(NodeId, usize)>,
        now: Instant,
    ) {
        let asked: Vec<NodeId> = members.iter().map(|(node, _)| *node).collect();
        let unread = |(node, rank)| Look {
            node,
            name: self.inventory[node].settings.name.clone(),
            rank,
            report: None,
        };
        let plan = Plan {
            request,
            who,
            looks: members.into_iter().map(unread).collect(),
        };
        self.plans.insert(call, plan);
        for (slot, node) in asked.into_iter().enumerate() {
            self.read_power(node, Owner::Plan(call, node, slot), now);
            self.settle(node, now);
        }
    }

    /// One of a dry run's readings is there.
    pub(super) fn planned(&mut self, call: CallId, slot: usize, report: &Report, now: Instant) {
        let plan = self.plans.get_mut(&call);
        let Some(look) = plan.and_then(|plan| plan.looks.get_mut(slot)) else {
            return;
        };
        look.report = Some(report.clone());
        if let Report::Accepted(Reading::Power(power)) = report {
            let node = look.node;
            self.note_reading(node, *power, now);
        }
        if self
            .plans
            .get(&call)
            .is_some_and(|plan| plan.looks.iter().all(|look| look.report.is_some()))
        {
            let plan = self.plans.remove(&call).expect("just seen");
            let view = self.plan_view(plan, now);
            self.answer(call, Ok(Answer::Batch(view)));
        }
    }

    fn plan_view(&mut self, plan: Plan, now: Instant) -> BatchView {
        let Plan {
            request,
            who,
            looks,
        } = plan;
        let wall = self.wall(now);
        let mut counts = BTreeMap::new();
        let mut table = Timetable::of(&request, &self.settings);
        let mut views = Vec::new();
        for look in looks {
            let (name, rank) = (look.name.clone(), look.rank);
            let (state, note, plan, takes) = if self.inventory.contains(look.node) {
                let (state, note, plan) =
                    self.prospect(look.node, request.operation, look.report, now);
                let settings =
                    self.sequence_settings(look.node, request.operation, &request.wishes);
                // One that cannot be reached now is tried all the same.
                let takes = if plan.is_empty() && state != Prospect::Unreachable {
                    Duration::ZERO
                } else {
                    settings.longest(request.operation)
                };
                (state, note, plan, takes)
            } else {
                // The configuration took it away while the others were looked at.
                let note = Refused::NoSuchNode(look.name).to_string();
                (Prospect::Refused, Some(note), Vec::new(), Duration::ZERO)
            };
            *counts.entry(state.name().to_owned()).or_insert(0) += 1;
            views.push(BatchNodeView {
                node: name,
                task: None,
                state: BatchNodeState::Found(state).into(),
                note,
                begins_after: Some(table.place(rank, takes)),
                takes_at_most: Some(takes),
                plan,
            });
        }
        BatchView {
            id: self.ids.make(wall, &mut *self.entropy),
            version: 1,
            rack: self.settings.name.clone(),
            operation: request.operation.into(),
            state: BatchState::Planned.into(),
            requested_by: who,
            requested_at: wall,
            ended_at: Some(wall),
            max_parallel: request.max_parallel,
            stagger: request.stagger,
            on_failure: request.on_failure.into(),
            nodes: views,
            counts,
        }
    }

    /// What would come of a node: the state and a note for the plan, and the orders that it would be sent.
    fn prospect(
        &self,
        node: NodeId,
        operation: Operation,
        report: Option<Report>,
        now: Instant,
    ) -> (Prospect, Option<String>, Vec<String>) {
        if let Err(refused) = self.check_start(node, operation, now) {
            return (Prospect::Refused, Some(refused.to_string()), Vec::new());
        }
        let power = match report {
            Some(Report::Accepted(Reading::Power(power))) => power,
            report => {
                let note = report.map(|report| report.to_string());
                return (Prospect::Unreachable, note, Vec::new());
            }
        };
        if let Some(privilege) = self.inventory[node].bmc.too_low_to_switch() {
            let note =
                format!("the log-in has privilege {privilege}, which may read but not switch");
            return (Prospect::Refused, Some(note), Vec::new());
        }
        let orders = steps(operation, power);
        let state = if orders.is_empty() {
            Prospect::NothingToDo
        } else {
            Prospect::Ready
        };
        (state, Some(format!("power is {power}")), orders)
    }
}

/// When each node of a plan begins at the latest, if every one before takes as long as it may.
struct Timetable {
    /// The ends of those that have a place.
    running: Vec<Duration>,
    places: usize,
    apart: Duration,
    last: Option<Duration>,
    rank: usize,
    /// When the ranks before have ended.
    free: Duration,
    /// When all so far have ended.
    end: Duration,
}

impl Timetable {
    fn of(request: &BatchRequest, settings: &RackSettings) -> Self {
        let places = settings.max_transitions as usize;
        Timetable {
            running: Vec::new(),
            places: match request.max_parallel as usize {
                0 => places,
                wanted => wanted.min(places),
            }
            .max(1),
            apart: match request.operation {
                Operation::PowerOn => request.stagger.max(settings.power_on_stagger),
                _ => request.stagger,
            },
            last: None,
            rank: 0,
            free: Duration::ZERO,
            end: Duration::ZERO,
        }
    }

    /// The beginning of the next node, which takes so long.
    fn place(&mut self, rank: usize, takes: Duration) -> Duration {
        if rank != self.rank {
            (self.rank, self.free) = (rank, self.end);
        }
        let mut begins = self.last.map_or(Duration::ZERO, |last| last + self.apart);
        begins = begins.max(self.free);
        if self.running.len() >= self.places
            && let Some(first) = (0..self.running.len()).min_by_key(|place| self.running[*place])
        {
            begins = begins.max(self.running.swap_remove(first));
        }
        self.running.push(begins + takes);
        self.last = Some(begins);
        self.end = self.end.max(begins + takes);
        begins
    }
}

/// The orders that change something, in their order, for a node found in that state.
fn steps(operation: Operation, power: Power) -> Vec<String> {
    let orders: &[Order] = match (operation, power) {
        (Operation::PowerOn, Power::Off) => &[Order::PowerOn],
        (Operation::PowerOff, Power::On) => &[Order::PowerOff],
        (Operation::Reboot, Power::On) => &[Order::PowerOff, Order::PowerOn],
        (Operation::SoftReboot, Power::On) => &[Order::SoftOff, Order::PowerOn],
        (Operation::Reboot | Operation::SoftReboot, Power::Off) => &[Order::PowerOn],
        (Operation::SoftPowerOff, Power::On) => &[Order::SoftOff],
        (Operation::InjectNmi, Power::On) => &[Order::Nmi],
        (Operation::Reset, Power::On) => &[Order::Reset],
        (Operation::Cycle, Power::On) => &[Order::Cycle],
        _ => &[],
    };
    orders.iter().map(|order| order.name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(places: usize, apart: u64) -> Timetable {
        Timetable {
            running: Vec::new(),
            places,
            apart: Duration::from_secs(apart),
            last: None,
            rank: 0,
            free: Duration::ZERO,
            end: Duration::ZERO,
        }
    }

    fn begins(table: &mut Timetable, nodes: &[(usize, u64)]) -> Vec<u64> {
        let place = |(rank, takes): &(usize, u64)| table.place(*rank, Duration::from_secs(*takes));
        nodes.iter().map(place).map(|at| at.as_secs()).collect()
    }

    #[test]
    fn a_node_begins_when_a_place_is_free_and_not_too_soon_after_the_one_before() {
        let nodes = [(0, 60), (0, 10), (0, 60), (0, 60)];
        assert_eq!(begins(&mut table(2, 0), &nodes), [0, 0, 10, 60]);
        assert_eq!(begins(&mut table(2, 5), &nodes), [0, 5, 15, 60]);
        assert_eq!(begins(&mut table(9, 5), &nodes), [0, 5, 10, 15]);
    }

    #[test]
    fn a_group_begins_when_the_groups_before_have_ended() {
        let nodes = [(0, 60), (0, 10), (1, 20), (1, 20), (3, 5)];
        assert_eq!(begins(&mut table(9, 0), &nodes), [0, 0, 60, 60, 80]);
        assert_eq!(begins(&mut table(1, 0), &nodes), [0, 60, 70, 90, 110]);
    }
}
