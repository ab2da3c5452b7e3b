//! Starting a task: what stands against it, how patient it is, and what it is to begin with.
//!
//! Everything here is decided from one node and what holds the rack back; who may begin and when is
//! `schedule`'s.

use super::batch::LeftOut;
use super::call::Refused;
use super::clock::Moment;
use super::inventory::NodeId;
use super::node::Node;
use super::task::{Identity, Task};
use super::tasks::Tasks;
use super::views::Snapshot;
use crate::model::{BatchId, OnBusy, Operation, PowerOptions, TakeOver, TaskId, TaskState, Who};
use crate::power::{self, Sequence};
use crate::time::WallTime;
use std::time::Duration;

/// Everything that stands against a new task on a node.
pub(super) fn check(
    node: &Node,
    operation: Operation,
    options: &PowerOptions,
    rack: &Snapshot<'_>,
) -> Result<(), Refused> {
    // What holds the whole rack back is said first: no word about the node would help its caller.
    if rack.gate.stopping {
        return Err(Refused::Stopping);
    }
    rack.gate.check_pause()?;
    rack.gate.check_permit(rack.at.now)?;
    if let Some(trouble) = rack.ledger.journal.trouble() {
        return Err(Refused::Store(trouble.to_owned()));
    }
    node.check_quarantine()?;
    node.check_shared(operation.name())?;
    node.check_lock(operation.name())?;
    if let Some(task) = node.task
        && !rack
            .tasks
            .get(task)
            .is_some_and(|task| task.gives_way() || may_take_over(node, task, operation, options))
    {
        return Err(node.locked(task, rack.tasks, rack.settings.conductor(), rack.at));
    }
    // A take-over of what is suspended may end what maintenance keeps, but only to switch off.
    if !switches_off_anyhow(operation, options) {
        node.check_maintenance(rack.gate)?;
    }
    node.check_allowed(operation)?;
    if operation == Operation::InjectNmi {
        check_nmi_interval(node, rack.at)?;
    }
    Ok(())
}

/// Whether a request may end the task that has the node, and have the node for itself. A task that
/// people made stand still, one that goes back, and whatever maintenance keeps are ended by name
/// only, and only to switch off.
fn may_take_over(node: &Node, task: &Task, operation: Operation, options: &PowerOptions) -> bool {
    let anyhow = switches_off_anyhow(operation, options);
    let may = match task.state() {
        TaskState::Queued | TaskState::Running => anyhow || node.memory.maintenance.is_none(),
        TaskState::Suspended | TaskState::RollingBack => anyhow,
        TaskState::Aborting
        | TaskState::Succeeded
        | TaskState::Failed
        | TaskState::Aborted
        | TaskState::Cancelled
        | TaskState::RolledBack
        | TaskState::Stuck => false,
    };
    options.on_busy() == OnBusy::TakeOver && may
}

/// Whether a request for a soft operation asks for nothing else than when it turns hard.
pub(super) fn only_hardens(options: &PowerOptions) -> bool {
    options.hard_after.is_some()
        && *options
            == PowerOptions {
                hard_after: options.hard_after,
                ..PowerOptions::default()
            }
}

/// Whether a request switches the machine off whoever keeps it as it is.
fn switches_off_anyhow(operation: Operation, options: &PowerOptions) -> bool {
    let off = match operation {
        Operation::PowerOff | Operation::SoftPowerOff => true,
        Operation::PowerOn
        | Operation::Reboot
        | Operation::SoftReboot
        | Operation::Cycle
        | Operation::Reset
        | Operation::InjectNmi => false,
    };
    off && options.on_busy() == OnBusy::TakeOver && options.take_over() == TakeOver::Suspended
}

/// The task that the same request began already: its client did not hear the answer, and asks
/// again, perhaps another host.
///
/// A key is of one request. A request id may be of many, as clients of OpenStack pass one on: there
/// the same is asked for again where nothing else was asked of the node since, and what leads to a
/// power state only as long as it goes on, for the machine may have left that state by itself. A
/// take-over ends nothing of its own in any case.
pub(super) fn again(
    node: &Node,
    operation: Operation,
    options: &PowerOptions,
    who: &Who,
    tasks: &Tasks,
    at: Moment,
) -> Option<TaskId> {
    let uuid = node.settings.uuid;
    let operation = node.carries_out(operation);
    let same = |task: &&Task| {
        let identity = &task.identity;
        (identity.node_uuid, identity.operation) == (uuid, operation)
            && is_again(&identity.requested_by, identity.requested_at, who, at)
    };
    let mut asked = tasks.asked_under(&who.request, uuid);
    let found = asked.find(same)?;
    let id = found.identity.id;
    // A take-over that is repeated would end the very task that it has begun.
    let known = who.has_key() || options.on_busy() == OnBusy::TakeOver;
    let newest = || {
        let mut tasks = tasks.newest_first();
        let newest = tasks.find(|task| task.identity.node_uuid == uuid);
        newest.is_some_and(|newest| newest.identity.id == id)
    };
    let lasts = !found.is_closed() || !operation.ends_in_a_state();
    (known || (lasts && newest())).then_some(id)
}

/// Whether a request has been made before, by its id, and not too long ago.
pub(super) fn is_again(before: &Who, then: WallTime, who: &Who, at: Moment) -> bool {
    who.asks_again(before) && at.age(then) <= REPEATED_WITHIN
}

/// A request that is made again later is another one.
const REPEATED_WITHIN: Duration = Duration::from_secs(3600);

fn check_nmi_interval(node: &Node, at: Moment) -> Result<(), Refused> {
    let Some(last) = node.nmi_at else {
        return Ok(());
    };
    let (since, least) = (at.now.since(last), node.settings.nmi_min_interval);
    if since >= least {
        return Ok(());
    }
    Err(Refused::WrongState {
        action: Operation::InjectNmi.name().to_owned(),
        node: node.settings.name.to_string(),
        state: "inject nmi".to_owned(),
        why: format!(
            "an NMI was sent {} s ago; the next one is allowed after {} s (nmi_min_interval)",
            since.as_secs(),
            least.as_secs()
        ),
    })
}

/// Every task ends: no request may name a longer time than `longest`.
pub(super) fn check_patience(options: &PowerOptions, longest: Duration) -> Result<(), Refused> {
    check_time("timeout", options.timeout, longest)?;
    check_time("repeat_soft_after", options.repeat_soft_after, longest)?;
    check_time("hard_after", options.hard_after, longest)
}

/// One of the times that a request names.
pub(super) fn check_time(
    name: &str,
    time: Option<Duration>,
    longest: Duration,
) -> Result<(), Refused> {
    if time.is_none_or(|time| time <= longest) {
        return Ok(());
    }
    Err(Refused::Invalid(format!(
        "{name} is longer than the {} s that the configuration allows (longest_timeout)",
        longest.as_secs()
    )))
}

/// How patient this operation is on this node, by its settings and the request's options.
pub(super) fn sequence_settings(
    node: &Node,
    operation: Operation,
    options: &PowerOptions,
    at: Moment,
) -> power::Settings {
    let mut settings = (*node.settings.power).clone();
    settings.holds_longer = node.memory.holds_longer;
    // Where the operating system may still go down, the machine is watched before it is called on.
    let watches = operation == Operation::PowerOn && options.timeout.is_none();
    if watches && node.earlier(at).iter().any(|earlier| earlier.soft) {
        let rest = settings.min_off_time;
        settings.change_timeout += settings.rollback_settle + rest;
    }
    settings.from_request = options.timeout.is_some();
    if let Some(timeout) = options.timeout {
        if operation.is_soft() {
            // The way back on keeps its own time: a machine must not stay
            // off because the wait was short.
            settings.patience = timeout;
        } else {
            settings.change_timeout = timeout;
        }
    }
    if let Some(policy) = options.on_soft_timeout {
        settings.on_soft_timeout = policy;
    }
    settings.repeat_soft_after = options.repeat_soft_after.or(settings.repeat_soft_after);
    settings.hard_after = options.hard_after.or(settings.hard_after);
    settings.boot = options.boot_device.map(|device| power::Boot {
        device,
        uefi: options.uefi,
    });
    // A reboot starts a machine that is off as well, also where it is carried out as a cycle.
    settings.on_if_off |= operation == Operation::Reboot;
    settings.on_if_off |= options.on_if_off || options.boot_device.is_some();
    settings
}

/// Whether a batch may begin, all of it: every node that stands against it is named, not the first
/// one alone. The busy nodes that are left as they are, where that was asked for and others remain.
pub(super) fn check_members(
    members: &[(NodeId, usize)],
    operation: Operation,
    options: &PowerOptions,
    rack: &Snapshot<'_>,
) -> Result<Vec<LeftOut>, Refused> {
    let (mut busy, mut others) = (Vec::new(), Vec::new());
    let nodes = members.iter();
    for node in nodes.filter_map(|(node, _)| rack.inventory.get(*node)) {
        match check(node, operation, options, rack) {
            Ok(()) => {}
            // What holds the rack as a whole back is said once.
            Err(
                all @ (Refused::Stopping
                | Refused::Paused { .. }
                | Refused::Store(_)
                | Refused::Unconfirmed(_)
                | Refused::Moved { .. }),
            ) => {
                return Err(all);
            }
            Err(locked @ Refused::Locked { .. }) => busy.push((node, locked)),
            Err(other) => others.push(other),
        }
    }
    // Where every node is busy there is nothing to begin, which is refused.
    let skips = options.on_busy() == OnBusy::Skip && busy.len() < members.len();
    if !skips {
        let busy = busy.drain(..);
        others.splice(0..0, busy.map(|(_, locked)| locked));
    }
    match Refused::together(others, members.len()) {
        Some(refused) => Err(refused),
        None => Ok(busy.iter().filter_map(left_out).collect()),
    }
}

fn left_out((node, refused): &(&Node, Refused)) -> Option<LeftOut> {
    let Refused::Locked { detail, .. } = refused else {
        return None;
    };
    Some(LeftOut {
        node: node.settings.name.to_string(),
        why: detail.trim().to_owned(),
    })
}

/// A task that is to be begun.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    pub(super) operation: Operation,
    pub(super) options: &'a PowerOptions,
    pub(super) who: &'a Who,
    pub(super) batch: Option<BatchId>,
    /// The task that had the node until now.
    pub(super) took_over: Option<TaskId>,
}

/// Makes the task of a request; the node is its own from now on.
pub(super) fn make(
    id: TaskId,
    request: &Request<'_>,
    node_id: NodeId,
    node: &mut Node,
    at: Moment,
) -> Task {
    let operation = node.carries_out(request.operation);
    let name = &node.settings.name;
    log::info!(
        "{name}: {} asked for by {}: task {id}",
        request.operation,
        request.who.name
    );
    let identity = Identity {
        id,
        node: name.to_string(),
        node_uuid: node.settings.uuid,
        batch: request.batch,
        operation,
        requested_by: request.who.clone(),
        requested_at: at.wall,
        started_at: None,
        ended_at: None,
        version: 0,
        controls: Vec::new(),
        controls_left_out: 0,
        took_over: request.took_over,
        taken_over_by: None,
    };
    node.task = Some(id);
    node.memory.last_error = None;
    let settings = sequence_settings(node, request.operation, request.options, at);
    let mut sequence = Sequence::new(operation, settings).with_earlier(node.earlier(at));
    // This tells the task's clock the moment of the request: its time, or its wait, begins.
    sequence.handle_timeout(at.now);
    Task::new(identity, node_id, sequence)
}

#[cfg(test)]
mod tests {
    use super::super::gate::Gate;
    use super::super::inventory::Inventory;
    use super::super::ledger::Ledger;
    use super::super::settings::RackSettings;
    use super::super::sweeps::Sweeps;
    use super::super::tests::{at, id, node, pause, secs};
    use super::*;

    fn refusal(node: &Node, operation: Operation, gate: &Gate) -> Option<Refused> {
        let rack = Snapshot {
            settings: &RackSettings::default(),
            inventory: &Inventory::default(),
            tasks: &Tasks::default(),
            sweeps: &Sweeps::default(),
            gate,
            ledger: &Ledger::new(),
            started: at(0).wall,
            at: at(100),
        };
        check(node, operation, &PowerOptions::default(), &rack).err()
    }

    #[test]
    fn what_holds_the_whole_rack_back_is_said_first() {
        let mut gate = Gate::new(&RackSettings::default(), None, at(0).now);
        let mut busy = node(0);
        busy.task = Some(id(1));
        let locked = refusal(&busy, Operation::PowerOn, &gate);
        assert!(matches!(locked, Some(Refused::Locked { .. })));
        gate.pause = Some(pause());
        let paused = refusal(&busy, Operation::PowerOn, &gate);
        assert!(matches!(paused, Some(Refused::Paused { .. })));
        gate.stopping = true;
        let stopping = refusal(&busy, Operation::PowerOn, &gate);
        assert_eq!(stopping, Some(Refused::Stopping));
    }

    #[test]
    fn an_nmi_is_refused_by_the_configuration_and_too_soon_after_another() {
        let gate = Gate::new(&RackSettings::default(), None, at(0).now);
        let mut node = node(0);
        node.settings.nmi_min_interval = secs(60);
        node.note_nmi(at(41));
        let soon = refusal(&node, Operation::InjectNmi, &gate);
        assert!(matches!(soon, Some(Refused::WrongState { .. })));
        node.note_nmi(at(40));
        assert_eq!(refusal(&node, Operation::InjectNmi, &gate), None);
        node.settings.nmi = false;
        let forbidden = refusal(&node, Operation::InjectNmi, &gate);
        assert!(matches!(forbidden, Some(Refused::Forbidden { .. })));
    }

    #[test]
    fn a_timeout_is_the_patience_of_a_soft_operation_and_the_time_of_a_hard_one() {
        let node = node(0);
        let options = PowerOptions {
            timeout: Some(secs(7)),
            ..PowerOptions::default()
        };
        let now = at(0);
        let soft = sequence_settings(&node, Operation::SoftReboot, &options, now);
        assert_eq!(soft.patience, secs(7));
        assert_eq!(soft.change_timeout, node.settings.power.change_timeout);
        let hard = sequence_settings(&node, Operation::PowerOff, &options, now);
        assert_eq!(hard.change_timeout, secs(7));
        assert_eq!(hard.patience, node.settings.power.patience);
    }
}
