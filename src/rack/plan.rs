//! Dry runs: look at every node of a batch, change nothing, and say what would come of it and when.

use super::call::{CallId, Refused};
use super::clock::Moment;
use super::inventory::{Inventory, NodeId};
use super::node::Node;
use super::settings::RackSettings;
use super::start;
use super::views::Snapshot;
use crate::bmc::vocabulary::{Order, Reading, Report};
use crate::model::{
    self, BatchId, BatchNodeState, BatchStart, BatchState, OnBusy, Operation, Power, Prospect, Who,
};
use crate::power;
use std::collections::BTreeMap;
use std::time::Duration;

/// Dry runs that wait for their readings, by their calls.
#[derive(Debug, Default)]
pub(super) struct Plans {
    open: BTreeMap<CallId, Plan>,
}

/// A dry run.
#[derive(Debug)]
pub(super) struct Plan {
    request: BatchStart,
    who: Who,
    /// In the order of starting.
    looks: Vec<Look>,
    /// Of so many nothing is known yet.
    missing: usize,
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

impl Plans {
    /// A dry run begins; every member wants a reading.
    ///
    /// # Errors
    /// The others look at as many nodes as may be looked at.
    pub(super) fn begin(
        &mut self,
        call: CallId,
        request: BatchStart,
        who: Who,
        members: &[(NodeId, usize)],
        inventory: &Inventory,
    ) -> Result<(), Refused> {
        let under_way: usize = self.open.values().map(|plan| plan.looks.len()).sum();
        // One dry run always may, or the largest rack could not be planned.
        if under_way > 0 && under_way + members.len() > LOOKED_AT {
            return Err(Refused::Sweeping);
        }
        let look = |&(node, rank): &(NodeId, usize)| {
            let name = inventory.get(node)?.settings.name.to_string();
            Some(Look {
                node,
                name,
                rank,
                report: None,
            })
        };
        let looks: Vec<Look> = members.iter().filter_map(look).collect();
        let plan = Plan {
            // Its members are known: the names, of which there may be thousands for one node, are
            // not kept.
            request: BatchStart {
                nodes: Vec::new(),
                exclude: Vec::new(),
                order: Vec::new(),
                ..request
            },
            who,
            missing: looks.len(),
            looks,
        };
        self.open.insert(call, plan);
        Ok(())
    }

    /// One of a dry run's readings is there. The plan comes back when it was the last one.
    pub(super) fn report(&mut self, call: CallId, slot: usize, report: Report) -> Option<Plan> {
        let plan = self.open.get_mut(&call)?;
        let before = plan.looks.get_mut(slot)?.report.replace(report);
        plan.missing -= usize::from(before.is_none());
        if plan.missing == 0 {
            self.open.remove(&call)
        } else {
            None
        }
    }
}

impl Plan {
    /// What came of it, under an id of its own.
    pub(super) fn view(self, id: BatchId, rack: &Snapshot<'_>) -> model::Batch {
        let request = self.request;
        let mut counts = BTreeMap::new();
        let mut table = Timetable::of(&request, rack.settings);
        let mut nodes = Vec::new();
        for look in self.looks {
            let seen = match rack.inventory.get(look.node) {
                Some(node) => Outlook::of(node, &request, look.report, rack),
                // The configuration took it away while the others were looked at.
                None => Outlook::refused(Refused::NoSuchNode(look.name.clone()).to_string()),
            };
            *counts.entry(seen.state.name().to_owned()).or_insert(0) += 1;
            nodes.push(model::BatchNode {
                node: look.name,
                task: None,
                state: BatchNodeState::Found(seen.state).into(),
                note: seen.note,
                refused: None,
                begins_after: Some(table.begin_of(look.rank, seen.takes)),
                takes_at_most: Some(seen.takes),
                plan: seen.orders,
            });
        }
        model::Batch {
            id,
            version: 1,
            rack: rack.settings.name.to_string(),
            operation: request.operation.into(),
            state: BatchState::Planned.into(),
            requested_by: self.who,
            requested_at: rack.at.wall,
            // Nothing of a plan runs: it is over when it is told.
            ended_at: Some(rack.at.wall),
            max_parallel: request.max_parallel,
            stagger: request.stagger,
            on_failure: request.on_failure.into(),
            nodes,
            nodes_left_out: 0,
            counts,
        }
    }
}

/// So many nodes are looked at for dry runs at the same time, those of one excepted: two of the
/// largest rack.
const LOOKED_AT: usize = 8192;

/// What would come of a node.
struct Outlook {
    state: Prospect,
    note: Option<String>,
    /// What it would be sent.
    orders: Vec<String>,
    /// How long that takes at most.
    takes: Duration,
}

impl Outlook {
    fn refused(note: String) -> Self {
        Self {
            state: Prospect::Refused,
            note: Some(note),
            orders: Vec::new(),
            takes: Duration::ZERO,
        }
    }

    fn of(node: &Node, request: &BatchStart, report: Option<Report>, rack: &Snapshot<'_>) -> Self {
        let operation = request.operation;
        let options = &request.options;
        match start::check(node, operation, options, rack) {
            Ok(()) => {}
            Err(busy @ Refused::Locked { .. }) if options.on_busy() == OnBusy::Skip => {
                return Self {
                    state: Prospect::Busy,
                    ..Self::refused(busy.to_string())
                };
            }
            Err(refused) => return Self::refused(refused.to_string()),
        }
        let settings = start::sequence_settings(node, operation, &request.options, rack.at);
        let operation = node.carries_out(operation);
        let longest = settings.longest(operation);
        let power = match report {
            Some(Report::Accepted(Reading::Power(power))) => power,
            // A node that cannot be reached now is tried by the batch all the same.
            report => {
                return Self {
                    state: Prospect::Unreachable,
                    note: report.map(|report| report.to_string()),
                    orders: Vec::new(),
                    takes: longest,
                };
            }
        };
        // The reading went well, and only the order that follows would be refused.
        if let Some(privilege) = node.bmc.too_low_to_switch() {
            return Self::refused(format!(
                "the log-in has privilege {privilege}, which may read but not switch"
            ));
        }
        let against = against(operation, power, node, rack.at);
        let orders = match against.is_empty() {
            true => steps(operation, power, &settings),
            // Rule 12: an earlier order may still end the state, so that the level is sent.
            false => steps(operation, other(power), &settings),
        };
        let (state, takes) = match orders.is_empty() {
            true => (Prospect::NothingToDo, Duration::ZERO),
            false => (Prospect::Ready, longest),
        };
        Self {
            state,
            note: Some(match against.is_empty() {
                true => format!("power is {power}"),
                false => format!("power is {power}; {}", against.join(", ")),
            }),
            orders,
            takes,
        }
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
    fn of(request: &BatchStart, settings: &RackSettings) -> Self {
        let places = settings.max_transitions as usize;
        Self {
            running: Vec::new(),
            places: match (request.max_parallel as usize, request.operation) {
                // Rule 11: what draws no inrush current needs no place.
                (0, Operation::PowerOff | Operation::SoftPowerOff) => usize::MAX,
                (0, Operation::Reset | Operation::InjectNmi) => usize::MAX,
                (0, _) => places.max(1),
                (wanted, _) => wanted,
            },
            apart: match request.operation {
                Operation::PowerOn => request.stagger.max(settings.power_on_stagger),
                Operation::PowerOff
                | Operation::SoftPowerOff
                | Operation::Reboot
                | Operation::SoftReboot
                | Operation::Cycle
                | Operation::Reset
                | Operation::InjectNmi => request.stagger,
            },
            last: None,
            rank: 0,
            free: Duration::ZERO,
            end: Duration::ZERO,
        }
    }

    /// The beginning of the next node, which takes so long. One that takes no time has nothing to
    /// do: it waits for no stagger, and nobody for it.
    fn begin_of(&mut self, rank: usize, takes: Duration) -> Duration {
        // As in a batch, a group begins when all groups before it have ended.
        if rank != self.rank {
            (self.rank, self.free) = (rank, self.end);
        }
        if takes.is_zero() {
            return self.free;
        }
        let mut begins = self.last.map_or(Duration::ZERO, |last| last + self.apart);
        begins = begins.max(self.free);
        if self.running.len() >= self.places
            && let Some(first) = (0..self.running.len()).min_by_key(|slot| self.running[*slot])
        {
            begins = begins.max(self.running.swap_remove(first));
        }
        self.running.push(begins + takes);
        self.last = Some(begins);
        self.end = self.end.max(begins + takes);
        begins
    }
}

/// What earlier tasks have sent and what may still end the state that a hard operation asks for,
/// and that is there.
fn against(operation: Operation, power: Power, node: &Node, at: Moment) -> Vec<String> {
    let asked = match operation {
        Operation::PowerOn => Power::On,
        Operation::PowerOff => Power::Off,
        Operation::SoftPowerOff
        | Operation::Reboot
        | Operation::SoftReboot
        | Operation::Cycle
        | Operation::Reset
        | Operation::InjectNmi => return Vec::new(),
    };
    let earlier = node.earlier(at).into_iter();
    let against = earlier.filter(|earlier| asked == power && earlier.to.contains(&other(power)));
    against.map(|earlier| earlier.to_string()).collect()
}

fn other(power: Power) -> Power {
    match power {
        Power::On => Power::Off,
        Power::Off => Power::On,
    }
}

/// The orders that change something, in their order, for a node found in that state.
fn steps(operation: Operation, power: Power, settings: &power::Settings) -> Vec<String> {
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
        (Operation::Reset | Operation::Cycle, Power::Off) if settings.on_if_off => {
            &[Order::PowerOn]
        }
        (Operation::PowerOn, Power::On)
        | (
            Operation::PowerOff
            | Operation::SoftPowerOff
            | Operation::InjectNmi
            | Operation::Reset
            | Operation::Cycle,
            Power::Off,
        ) => &[],
    };
    let mut steps = Vec::new();
    for order in orders {
        if let Some(boot) = settings.boot.filter(|_| steps.is_empty() || order.boots()) {
            steps.push(boot.setting().in_words());
        }
        steps.push(order.name().to_owned());
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::super::tests::inventory;
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
        let begin =
            |(rank, takes): &(usize, u64)| table.begin_of(*rank, Duration::from_secs(*takes));
        nodes.iter().map(begin).map(|at| at.as_secs()).collect()
    }

    #[test]
    fn dry_runs_look_at_so_many_nodes_at_most_beside_the_first() {
        let inventory = inventory(3);
        let mut plans = Plans::default();
        let ids = inventory.ids();
        let begin = |plans: &mut Plans, call, count: usize| {
            let members: Vec<_> = ids.iter().cycle().take(count).map(|id| (*id, 0)).collect();
            let request = BatchStart::new(Vec::new(), Operation::PowerOff);
            plans.begin(CallId(call), request, Who::default(), &members, &inventory)
        };
        assert!(
            begin(&mut plans, 1, LOOKED_AT + 1).is_ok(),
            "one always can"
        );
        assert_eq!(begin(&mut plans, 2, 1), Err(Refused::Sweeping));
        let report = |slot| {
            Report::Accepted(Reading::Power(if slot > 0 {
                Power::On
            } else {
                Power::Off
            }))
        };
        for slot in 0..LOOKED_AT {
            assert!(plans.report(CallId(1), slot, report(slot)).is_none());
        }
        // The same one again is no other.
        assert!(plans.report(CallId(1), 0, report(0)).is_none());
        assert!(plans.report(CallId(1), LOOKED_AT, report(1)).is_some());
        assert!(
            begin(&mut plans, 3, LOOKED_AT / 2).is_ok()
                && begin(&mut plans, 4, LOOKED_AT / 2).is_ok()
        );
        assert_eq!(begin(&mut plans, 5, 1), Err(Refused::Sweeping));
    }

    #[test]
    fn a_node_begins_when_a_place_is_free_and_not_too_soon_after_the_one_before() {
        let nodes = [(0, 60), (0, 10), (0, 60), (0, 60)];
        assert_eq!(begins(&mut table(2, 0), &nodes), [0, 0, 10, 60]);
        assert_eq!(begins(&mut table(2, 5), &nodes), [0, 5, 15, 60]);
        assert_eq!(begins(&mut table(9, 5), &nodes), [0, 5, 10, 15]);
    }

    #[test]
    fn a_node_with_nothing_to_do_is_told_at_once_and_keeps_nobody_waiting() {
        let nodes = [(0, 60), (0, 0), (0, 60), (0, 0), (1, 0), (1, 60)];
        assert_eq!(begins(&mut table(9, 5), &nodes), [0, 0, 5, 0, 65, 65]);
    }

    #[test]
    fn a_group_begins_when_the_groups_before_have_ended() {
        let nodes = [(0, 60), (0, 10), (1, 20), (1, 20), (3, 5)];
        assert_eq!(begins(&mut table(9, 0), &nodes), [0, 0, 60, 60, 80]);
        assert_eq!(begins(&mut table(1, 0), &nodes), [0, 60, 70, 90, 110]);
    }
}
