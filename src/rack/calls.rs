//! Doing what is asked: every [`Call`] leads to one answer, at once or later. What only reads is answered from a
//! snapshot; starting and controlling tasks is here; batches, holds and orders outside tasks have files of their own.

use super::Rack;
use super::call::{Answer, Call, CallId, PowerChange, Refused, TaskId, Who, Wishes};
use super::clock::Moment;
use super::inventory::NodeId;
use super::ledger::{Owner, Parked, Reply};
use super::start;
use super::task::{NMI_ANSWER, Task};
use super::views::Snapshot;
use super::waits::{self, Awaited};
use crate::power::{self, Control, Operation, Target};
use std::time::Duration;

impl Rack {
    pub(super) fn take_call(&mut self, id: CallId, call: Call, at: Moment) -> Result<(), Refused> {
        match call {
            Call::FreshNode(ident) => {
                let node = self.inventory.named(&ident)?;
                self.read_fresh(node, id, at);
            }
            Call::SetPower {
                node,
                change,
                wishes,
                who,
            } => self.set_power(id, &node, change, &wishes, &who, at)?,
            Call::Start {
                node,
                operation,
                wishes,
                who,
            } => {
                let task = self.start(&node, operation, &wishes, &who, at)?;
                self.admit(vec![task], id, Reply::Task(task));
            }
            Call::InjectNmi { node, who } => self.inject_nmi(id, &node, &who, at)?,
            Call::Control { task, control, who } => {
                self.control_task(id, task, control, &who, at)?
            }
            Call::AwaitTask {
                task,
                version,
                wait,
            } => self.wait(id, Awaited::Task(task, version), wait, at),
            Call::StartBatch { request, who } => self.start_batch(id, request, who, at)?,
            Call::AwaitBatch { batch, wait } => self.wait(id, Awaited::Batch(batch), wait, at),
            Call::ControlBatch {
                batch,
                control,
                nodes,
                who,
            } => self.control_batch(id, batch, control, &nodes, &who, at)?,
            Call::Events {
                since,
                nodes,
                wait,
                limit,
            } => {
                let since = since.unwrap_or_else(|| self.outbox.events.position());
                let what = Awaited::Events {
                    since,
                    nodes,
                    limit,
                };
                self.wait(id, what, wait, at);
            }
            Call::SetMaintenance { node, hold, who } => {
                let node = self.inventory.named(&node)?;
                self.check_rememberable(node)?;
                if let Some(uuid) = self.set_maintenance(node, hold, &who, at) {
                    self.reply_when_durable(id, Reply::Node(uuid), at);
                }
            }
            Call::Pause { reason, who } => {
                self.begin_pause(reason, &who, at);
                self.reply_when_durable(id, Reply::Pausing, at);
            }
            Call::Release { who } => {
                self.end_pause(&who, at);
                self.reply_when_durable(id, Reply::Pausing, at);
            }
            Call::Order { node, order, who } => self.order(id, &node, order, &who, at)?,
            Call::Retry { node, who } => self.retry(id, &node, &who, at)?,
            Call::Accept { node, guid, who } => {
                let node = self.inventory.named(&node)?;
                self.accept_bmc(node, guid, &who, at)?;
                self.read_fresh(node, id, at);
            }
            Call::History { node, limit } => {
                let node = self.inventory.named(&node)?;
                self.read_history(node, limit, id);
            }
            Call::Nodes
            | Call::Node(_)
            | Call::Tasks { .. }
            | Call::Task(_)
            | Call::Batches
            | Call::Batch(_)
            | Call::Pausing
            | Call::Explain(_)
            | Call::Health => {
                let answer = look(call, &self.snapshot(at))?;
                self.outbox.answer(id, Ok(answer));
            }
        }
        Ok(())
    }

    /// Answers at once where there is something to tell, else when there is or the wait is over.
    fn wait(&mut self, call: CallId, what: Awaited, wait: Duration, at: Moment) {
        let until = at.now + wait;
        let anyhow = until <= at.now || self.gate.stopping;
        let told = waits::told(&what, anyhow, &self.snapshot(at), &self.outbox.events);
        match told {
            Some(answer) => self.outbox.answer(call, answer),
            None => self.outbox.waits.add(call, what, until),
        }
    }

    /// Somebody wants to read what happened to a node, with all that was put down by now.
    fn read_history(&mut self, id: NodeId, limit: usize, call: CallId) {
        let Some(node) = self.inventory.get(id) else {
            return;
        };
        let node = node.settings.uuid;
        if self.ledger.journal.is_pending() {
            let parked = Parked::ReadHistory { node, limit, call };
            self.ledger.journal.park(parked);
        } else {
            self.tasks.history.read(node, limit, call);
        }
    }

    /// Somebody wants a reading that is not older than the request.
    fn read_fresh(&mut self, id: NodeId, call: CallId, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        if node.wants_fresh(call, at.now) {
            self.read_power(id, Owner::Fresh, at);
        }
        self.settle(id, at);
    }

    /// An operator says that the node's BMC is worth a try.
    fn retry(&mut self, call: CallId, ident: &str, who: &Who, at: Moment) -> Result<(), Refused> {
        let id = self.inventory.named(ident)?;
        if let Some(node) = self.inventory.get_mut(id) {
            let name = &node.settings.name;
            log::info!("{name}: {} says that its BMC is worth a try", who.name);
            node.bmc.retry(at.now, &mut *self.entropy);
        }
        self.read_fresh(id, call, at);
        Ok(())
    }

    /// Ironic's `PUT states/power`.
    fn set_power(
        &mut self,
        call: CallId,
        ident: &str,
        change: PowerChange,
        wishes: &Wishes,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        match change {
            PowerChange::Start(operation) => {
                let task = self.start(ident, operation, wishes, who, at)?;
                self.admit(vec![task], call, Reply::Taken(task));
                Ok(())
            }
            PowerChange::Abort(operation) => {
                let node = self.inventory.named(ident)?;
                self.abort_target(call, node, operation, who, at)
            }
        }
    }

    /// An abort target acts on what `target_power_state` shows; where that is something else there is nothing to abort,
    /// and that is a success (design, section 3).
    fn abort_target(
        &mut self,
        call: CallId,
        node: NodeId,
        operation: Operation,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let task = self.inventory.get(node).and_then(|node| node.task);
        let task = task.and_then(|task| self.tasks.get(task));
        // One that shows another target because a first reading said so has not begun with anything: what is named is
        // ended all the same, lest it leaves after the answer.
        let aim = aim_of(operation);
        let meant = |task: &&Task| {
            task.target() == Some(aim)
                || task.identity.operation == operation && !task.has_ordered()
        };
        let Some(task) = task.filter(meant) else {
            self.outbox.answer(call, Ok(Answer::Taken(None)));
            return Ok(());
        };
        let task = task.identity.id;
        self.control(task, Control::Abort, &who.name, at)
            .map_err(|why| refused(task, why, &self.snapshot(at)))?;
        self.reply_when_durable(call, Reply::Taken(task), at);
        Ok(())
    }

    /// An NMI whose caller waits for what the BMC says to it.
    fn inject_nmi(
        &mut self,
        call: CallId,
        ident: &str,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let task = self.start(ident, Operation::InjectNmi, &Wishes::default(), who, at)?;
        if let Some(task) = self.tasks.get_mut(task) {
            task.nmi_call = Some((call, at.now + NMI_ANSWER));
            let node = task.node;
            node.into_iter().for_each(|node| self.set_timer(node));
        }
        self.admit(vec![task], call, Reply::Nmi);
        Ok(())
    }

    fn start(
        &mut self,
        ident: &str,
        operation: Operation,
        wishes: &Wishes,
        who: &Who,
        at: Moment,
    ) -> Result<TaskId, Refused> {
        let id = self.inventory.named(ident)?;
        let node = self.inventory.get(id);
        let node = node.ok_or_else(|| Refused::NoSuchNode(ident.to_owned()))?;
        let rack = &self.settings.name;
        let (gate, ledger, tasks) = (&self.gate, &self.ledger, &self.tasks);
        start::check(node, operation, gate, ledger, tasks, rack, at)?;
        let request = start::Request {
            operation,
            wishes,
            who,
            batch: None,
        };
        self.make_task(id, &request, at)
            .ok_or_else(|| Refused::NoSuchNode(ident.to_owned()))
    }

    /// Uses a control on a task.
    fn control_task(
        &mut self,
        call: CallId,
        id: TaskId,
        control: Control,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let task = self.tasks.get(id).ok_or(Refused::NoSuchTask(id))?;
        if control == Control::Resume {
            self.gate.check_pause()?;
            if let Some(node) = task.node.and_then(|node| self.inventory.get(node)) {
                node.check_quarantine()?;
                node.check_maintenance(&self.gate)?;
            }
        }
        self.control(id, control, &who.name, at)
            .map_err(|why| refused(id, why, &self.snapshot(at)))?;
        self.reply_when_durable(call, Reply::Task(id), at);
        Ok(())
    }

    /// New tasks may begin, and their caller is answered, when their records are durable.
    fn admit(&mut self, tasks: Vec<TaskId>, call: CallId, reply: Reply) {
        self.ledger.journal.park(Parked::Admit(tasks, call, reply));
    }
}

/// What only looks.
fn look(call: Call, rack: &Snapshot<'_>) -> Result<Answer, Refused> {
    let named = |ident: &str| {
        let id = rack.inventory.named(ident)?;
        let node = rack.inventory.get(id);
        node.ok_or_else(|| Refused::NoSuchNode(ident.to_owned()))
    };
    Ok(match call {
        Call::Nodes => Answer::Nodes(rack.nodes()),
        Call::Node(ident) => Answer::Node(rack.view_of_node(named(&ident)?)),
        Call::Tasks {
            node,
            batch,
            active,
            limit,
        } => Answer::Tasks(rack.tasks_where(node.as_deref(), batch, active, limit)?),
        Call::Task(id) => Answer::Task(rack.task(id).ok_or(Refused::NoSuchTask(id))?),
        Call::Batches => Answer::Batches(rack.batches()),
        Call::Batch(id) => Answer::Batch(rack.batch(id).ok_or(Refused::NoSuchBatch(id))?),
        Call::Pausing => {
            let pause = rack.gate.pause.as_ref();
            Answer::Pausing(pause.map(|pause| pause.hold.clone()))
        }
        Call::Explain(ident) => Answer::Explanation(Box::new(rack.explanation(named(&ident)?))),
        Call::Health => Answer::Health(rack.health()),
        Call::FreshNode(_)
        | Call::SetPower { .. }
        | Call::Start { .. }
        | Call::InjectNmi { .. }
        | Call::Control { .. }
        | Call::AwaitTask { .. }
        | Call::StartBatch { .. }
        | Call::AwaitBatch { .. }
        | Call::ControlBatch { .. }
        | Call::Events { .. }
        | Call::SetMaintenance { .. }
        | Call::Pause { .. }
        | Call::Release { .. }
        | Call::Order { .. }
        | Call::Retry { .. }
        | Call::History { .. }
        | Call::Accept { .. } => {
            return Err(Refused::Invalid("this call does more than look".to_owned()));
        }
    })
}

/// What `target_power_state` shows while a task of that operation can be ended by its name.
fn aim_of(operation: Operation) -> Target {
    match operation {
        Operation::SoftPowerOff | Operation::SoftReboot => Target::SoftPowerOff,
        Operation::InjectNmi => Target::InjectNmi,
        Operation::PowerOff => Target::PowerOff,
        Operation::PowerOn | Operation::Reboot | Operation::Reset | Operation::Cycle => {
            Target::PowerOn
        }
    }
}

/// A control that the task does not allow, with the task as it is.
fn refused(task: TaskId, why: power::Refusal, rack: &Snapshot<'_>) -> Refused {
    match rack.task(task) {
        Some(view) => Refused::Control {
            control: why.control.name().to_owned(),
            why: why.to_string(),
            task: Box::new(view),
        },
        None => Refused::NoSuchTask(task),
    }
}
