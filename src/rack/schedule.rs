//! Who may begin, and when: batches, maintenance, the pause. Places and distances are for orders
//! (`gate`).
//!
//! A function over what there is: it changes nothing, and whoever asks lets the task begin that it
//! names.

use super::batch::{Allowed, Slots};
use super::gate::Gate;
use super::inventory::Inventory;
use super::node::Node;
use super::task::Task;
use super::tasks::Tasks;
use crate::model::{BatchId, TaskId};
use crate::time::Instant;
use std::collections::BTreeMap;

/// What the scheduler says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// This task begins, or goes on, now.
    Begin(TaskId),
    /// Nobody does, before something happens or this moment has come.
    Wait(Option<Instant>),
}

/// How far the batches have come that somebody asked for.
#[derive(Debug, Default)]
pub(super) struct BatchSlots {
    batches: BTreeMap<BatchId, Slots>,
}

impl BatchSlots {
    /// How far the batch has come.
    pub(super) fn of(&mut self, batch: BatchId, tasks: &Tasks) -> &Slots {
        let count = || tasks.room(batch);
        self.batches.entry(batch).or_insert_with(count)
    }
}

/// Who begins next, among those after `after`, as of [`Tasks::count`]: a batch over thousands of
/// nodes is gone through once, and no further than to the first whom it keeps back as it would keep
/// back all who come later.
pub(super) fn next(
    after: Option<TaskId>,
    tasks: &Tasks,
    inventory: &Inventory,
    gate: &Gate,
    now: Instant,
) -> Next {
    // The end of a pause is an input of its own: no time has to be waited for.
    if gate.is_shut() {
        return Next::Wait(None);
    }
    let mut look_again = None::<Instant>;
    let mut queues: Vec<_> = tasks.queues(after).map(Iterator::peekable).collect();
    // The oldest of those who stand first in their queues.
    while let Some((_, index)) = (queues.iter_mut().zip(0..))
        .filter_map(|(queue, index)| Some((*queue.peek()?, index)))
        .min()
    {
        let Some(task) = queues[index].next().and_then(|id| tasks.get(id)) else {
            continue;
        };
        let wait = match may_begin(task, tasks, inventory, gate, now) {
            May::From(at) if at <= now => return Next::Begin(task.identity.id),
            May::From(at) => Some(at),
            // A hold on one node keeps nobody else in its queue from beginning.
            May::NotYet => continue,
            May::BatchFull => None,
        };
        look_again = look_again.into_iter().chain(wait).min();
        // The batch says the same to all others.
        drop(queues.swap_remove(index));
    }
    Next::Wait(look_again)
}

/// Whether nothing may begin on the node: nothing begins anywhere, or it is held.
pub(super) fn is_kept_back(node: &Node, gate: &Gate) -> bool {
    gate.is_shut() || node.quarantine.is_some() || node.maintenance_block(gate).is_some()
}

/// Whether a task may begin.
enum May {
    /// Nothing stands against it from this moment on; where that is to come, because of its batch.
    From(Instant),
    /// Something else has to happen first.
    NotYet,
    /// Its batch has no room.
    BatchFull,
}

fn may_begin(task: &Task, tasks: &Tasks, inventory: &Inventory, gate: &Gate, now: Instant) -> May {
    let Some(node) = task.node.and_then(|node| inventory.get(node)) else {
        return May::NotYet;
    };
    if is_kept_back(node, gate) {
        return May::NotYet;
    }
    if task.wants_place() {
        // The task gave its place up while it stood still, and its machine may still draw its
        // current: it needs a place again.
        let takes_place = task.has_switched_on();
        return match takes_place && gate.full {
            true => May::NotYet,
            false => May::From(now),
        };
    }
    let identity = &task.identity;
    // A task without a batch needs no place to begin: only orders that switch on do (rule 11).
    let Some(batch) = identity.batch.and_then(|id| tasks.batch(id)) else {
        return May::From(now);
    };
    let room = tasks.room_as_counted(batch);
    match batch.allows(&room, task, gate.places, now) {
        Allowed::From(at) => May::From(now.max(at)),
        Allowed::GroupFirst => May::NotYet,
        Allowed::NoRoom => May::BatchFull,
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::Batch;
    use super::super::ledger::Ledger;
    use super::super::settings::{MaintenancePolicy, RackSettings};
    use super::super::tests::{at, batch_record, id, inventory, secs, task};
    use super::*;
    use crate::bmc::vocabulary::{Order, OrderId, Reading, Report};
    use crate::model::{Control, OnFailure, Operation, Power};

    /// Tasks of one operation that wait, one per node, and a gate by these settings.
    struct Rack {
        tasks: Tasks,
        inventory: Inventory,
        gate: Gate,
    }

    impl Rack {
        fn new(operations: &[Operation], settings: &RackSettings) -> Self {
            let inventory = inventory(operations.len());
            let mut tasks = Tasks::default();
            for ((number, operation), node) in (1..).zip(operations).zip(inventory.ids()) {
                let mut task = task(number, *operation);
                task.node = Some(node);
                task.admitted = true;
                tasks.insert(task);
            }
            Self {
                tasks,
                inventory,
                gate: Gate::new(settings, None, at(0).now),
            }
        }

        fn next(&mut self, second: u64) -> Next {
            self.tasks.count();
            next(
                None,
                &self.tasks,
                &self.inventory,
                &self.gate,
                at(second).now,
            )
        }

        fn begin(&mut self, number: u128, second: u64) {
            let task = self.tasks.get_mut(id(number)).unwrap();
            let batch = task.identity.batch;
            assert!(task.go_on(at(second)));
            if let Some(batch) = batch {
                let batch = self.tasks.batch_mut(batch).unwrap();
                batch.begun(id(number), at(second).now);
            }
        }

        fn end(&mut self, number: u128, second: u64) {
            let task = self.tasks.get_mut(id(number)).unwrap();
            task.control(Control::Abort, "alice", at(second)).unwrap();
            self.tasks.close(id(number), at(second).wall);
        }

        /// It begins, finds its machine off, and its power-on leaves.
        fn switch_on(&mut self, number: u128, second: u64) {
            self.begin(number, second);
            let sequence = &mut self.tasks.get_mut(id(number)).unwrap().sequence;
            let order = |more: u64| OrderId(10 * number as u64 + more);
            assert_eq!(sequence.poll_order(order(0)), Some(Order::ReadPower));
            let off = Report::Accepted(Reading::Power(Power::Off));
            sequence.handle_report(order(0), off, at(second).now);
            assert_eq!(sequence.poll_order(order(1)), Some(Order::PowerOn));
            sequence.handle_sent(order(1), at(second).now);
        }

        fn control(&mut self, number: u128, control: Control, second: u64) {
            let task = self.tasks.get_mut(id(number)).unwrap();
            task.control(control, "alice", at(second)).unwrap();
        }

        /// Whether all places are taken.
        fn count_places(&mut self) -> bool {
            let drawing = self.tasks.inrushes(&Ledger::new());
            self.gate.full = drawing >= self.gate.places;
            self.gate.full
        }

        /// The tasks are those of one batch.
        fn batch(&mut self, max_parallel: u32, stagger: u64, ranks: &[usize]) {
            self.batch_of(Operation::PowerOff, max_parallel, stagger, ranks);
        }

        fn batch_of(
            &mut self,
            operation: Operation,
            max_parallel: u32,
            stagger: u64,
            ranks: &[usize],
        ) {
            let batch = id(1000);
            for (number, _) in (1..).zip(ranks) {
                self.tasks.get_mut(id(number)).unwrap().identity.batch = Some(batch);
            }
            let on_failure = OnFailure::Continue;
            let mut record = batch_record(batch, max_parallel, secs(stagger), on_failure, ranks);
            record.operation = operation;
            self.tasks.insert_batch(Batch::restore(record));
        }
    }

    fn settings(places: u32, stagger: u64) -> RackSettings {
        RackSettings {
            max_transitions: places,
            power_on_stagger: secs(stagger),
            ..RackSettings::default()
        }
    }

    #[test]
    fn who_asked_first_begins_first_and_nobody_needs_a_place_to_begin() {
        let operations = [
            Operation::SoftPowerOff,
            Operation::PowerOff,
            Operation::PowerOn,
        ];
        let mut rack = Rack::new(&operations, &settings(1, 9));
        for number in 1..=3 {
            assert_eq!(rack.next(1), Next::Begin(id(number)));
            rack.begin(number, 1);
        }
        assert_eq!(rack.next(1), Next::Wait(None));
    }

    #[test]
    fn a_batch_that_takes_machines_off_has_no_more_of_them_off_than_there_are_places() {
        let mut rack = Rack::new(&[Operation::Reboot; 3], &settings(2, 0));
        rack.batch_of(Operation::Reboot, 0, 0, &[0, 0, 0]);
        rack.begin(1, 1);
        rack.begin(2, 1);
        assert_eq!(rack.next(1), Next::Wait(None));
        rack.end(2, 2);
        assert_eq!(rack.next(2), Next::Begin(id(3)));
    }

    #[test]
    fn a_task_whose_record_is_not_durable_does_not_begin() {
        let mut rack = Rack::new(&[Operation::PowerOff], &settings(2, 0));
        rack.tasks.get_mut(id(1)).unwrap().admitted = false;
        assert_eq!(rack.next(1), Next::Wait(None));
    }

    #[test]
    fn nothing_begins_while_the_rack_is_paused_or_stops() {
        let mut rack = Rack::new(&[Operation::InjectNmi], &settings(9, 0));
        rack.gate.stopping = true;
        assert_eq!(rack.next(1), Next::Wait(None));
        rack.gate.stopping = false;
        rack.gate.pause = Some(super::super::tests::pause());
        assert_eq!(rack.next(1), Next::Wait(None));
        rack.gate.pause = None;
        assert_eq!(rack.next(1), Next::Begin(id(1)));
    }

    #[test]
    fn maintenance_keeps_a_task_back_only_where_the_policy_says_so() {
        for (policy, waits) in [
            (MaintenancePolicy::Allow, false),
            (MaintenancePolicy::Block, true),
        ] {
            let settings = RackSettings {
                maintenance_policy: policy,
                ..settings(9, 0)
            };
            let mut rack = Rack::new(&[Operation::PowerOff; 2], &settings);
            let node = rack.inventory.ids()[0];
            let held = Some(Box::new(super::super::tests::pause().hold));
            rack.inventory.get_mut(node).unwrap().memory.maintenance = held;
            let first = if waits { id(2) } else { id(1) };
            assert_eq!(rack.next(1), Next::Begin(first));
        }
    }

    #[test]
    fn a_batch_begins_no_more_than_it_may_have_under_way() {
        let mut rack = Rack::new(&[Operation::PowerOff; 3], &settings(9, 0));
        rack.batch(1, 0, &[0, 0, 0]);
        assert_eq!(rack.next(1), Next::Begin(id(1)));
        rack.begin(1, 1);
        assert_eq!(rack.next(1), Next::Wait(None));
        rack.end(1, 2);
        assert_eq!(rack.next(2), Next::Begin(id(2)));
    }

    #[test]
    fn the_starts_of_a_batch_are_apart_and_say_when_to_look_again() {
        let mut rack = Rack::new(&[Operation::PowerOff; 2], &settings(9, 0));
        rack.batch(0, 7, &[0, 0]);
        rack.begin(1, 10);
        assert_eq!(rack.next(12), Next::Wait(Some(at(17).now)));
        assert_eq!(rack.next(17), Next::Begin(id(2)));
    }

    #[test]
    fn who_has_nothing_to_do_is_found_behind_those_who_wait_for_the_stagger() {
        let mut rack = Rack::new(&[Operation::PowerOff; 4], &settings(9, 0));
        rack.batch(0, 7, &[0, 0, 0, 1]);
        for number in [3, 4] {
            let task = rack.tasks.get_mut(id(number)).unwrap();
            task.sequence.observe_power(Power::Off, at(1).now);
        }
        rack.begin(1, 10);
        assert_eq!(rack.next(12), Next::Begin(id(3)));
        rack.begin(3, 12);
        assert_eq!(rack.next(12), Next::Wait(Some(at(19).now)), "another group");
    }

    #[test]
    fn a_group_begins_when_the_one_before_has_ended() {
        let mut rack = Rack::new(&[Operation::PowerOff; 3], &settings(9, 0));
        rack.batch(0, 0, &[0, 0, 1]);
        rack.begin(1, 1);
        rack.begin(2, 1);
        rack.end(1, 2);
        assert_eq!(rack.next(2), Next::Wait(None));
        rack.end(2, 3);
        assert_eq!(rack.next(3), Next::Begin(id(3)));
    }

    #[test]
    fn what_has_switched_on_goes_on_when_there_is_a_place_for_it() {
        let mut rack = Rack::new(&[Operation::PowerOn; 2], &settings(1, 0));
        rack.switch_on(1, 1);
        assert!(rack.count_places());
        rack.control(1, Control::Suspend, 2);
        assert!(!rack.count_places());
        rack.switch_on(2, 3);
        rack.control(1, Control::Resume, 4);
        assert!(rack.count_places());
        assert_eq!(rack.next(4), Next::Wait(None));
        rack.end(2, 5);
        assert!(!rack.count_places());
        assert_eq!(rack.next(5), Next::Begin(id(1)));
    }

    #[test]
    fn what_goes_on_waits_for_no_stagger_and_no_batch() {
        let mut rack = Rack::new(&[Operation::PowerOn; 2], &settings(1, 60));
        rack.batch(1, 60, &[0, 0]);
        rack.begin(1, 10);
        for control in [Control::Suspend, Control::Resume] {
            let task = rack.tasks.get_mut(id(1)).unwrap();
            task.control(control, "alice", at(11)).unwrap();
        }
        assert_eq!(rack.next(11), Next::Begin(id(1)));
    }
}
