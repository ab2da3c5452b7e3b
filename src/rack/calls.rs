//! Doing what is asked: every [`Call`] leads to one answer, at once or later.

use super::call::{
    Answer, BatchId, Call, CallId, ControlView, HoldView, PowerTarget, Refused, TaskId, Who, Wishes,
};
use super::run::{Owner, Parked, Reply};
use super::settings::MaintenancePolicy;
use super::task::{Identity, NMI_ANSWER, Task};
use super::waits::Awaited;
use super::{Pause, Rack};
use crate::bmc::vocabulary::{Order, OrderId, Report};
use crate::power::{self, Control, Operation, Sequence, State, Target};
use crate::time::Instant;

impl Rack {
    /// Somebody asks for something. The answer carries `id`.
    pub fn handle_call(&mut self, id: CallId, call: Call, now: Instant) {
        if let Err(refused) = self.take_call(id, call, now) {
            self.answer(id, Err(refused));
        }
        self.wind_up(now);
    }

    fn take_call(&mut self, id: CallId, call: Call, now: Instant) -> Result<(), Refused> {
        let answer = match call {
            Call::Nodes => Answer::Nodes(
                (0..self.nodes.len())
                    .map(|node| self.node_view(node, now))
                    .collect(),
            ),
            Call::Node(ident) => Answer::Node(self.node_view(self.node_of(&ident)?, now)),
            Call::FreshNode(ident) => {
                self.read_fresh(self.node_of(&ident)?, id, now);
                return Ok(());
            }
            Call::SetPower {
                node,
                target,
                wishes,
                who,
            } => {
                return self.set_power(id, &node, target, &wishes, who, now);
            }
            Call::Start {
                node,
                operation,
                wishes,
                who,
            } => {
                let node = self.node_of(&node)?;
                let task = self.start(node, operation, &wishes, who, now)?;
                self.journal
                    .park(Parked::Admit(vec![task], id, Reply::Task(task)));
                return Ok(());
            }
            Call::InjectNmi { node, who } => {
                let node = self.node_of(&node)?;
                let task = self.start(node, Operation::InjectNmi, &Wishes::default(), who, now)?;
                let until = now + NMI_ANSWER;
                self.tasks.get_mut(&task).expect("just made").nmi_call = Some((id, until));
                self.set_timer(node);
                self.journal.park(Parked::Admit(vec![task], id, Reply::Nmi));
                return Ok(());
            }
            Call::Control { task, control, who } => {
                return self.control(id, task, control, &who, now);
            }
            Call::Tasks {
                node,
                batch,
                active,
                limit,
            } => Answer::Tasks(self.tasks_where(node.as_deref(), batch, active, limit, now)?),
            Call::Task(task) => {
                Answer::Task(self.task_view(task, now).ok_or(Refused::NoSuchTask(task))?)
            }
            Call::AwaitTask {
                task,
                version,
                wait,
            } => {
                self.wait(id, Awaited::Task(task, version), now + wait, now);
                return Ok(());
            }
            Call::StartBatch { request, who } => {
                self.start_batch(id, request, who, now);
                return Ok(());
            }
            Call::Batches => Answer::Batches(self.batch_views(now)),
            Call::Batch(batch) => Answer::Batch(
                self.batch_view(batch, now)
                    .ok_or(Refused::NoSuchBatch(batch))?,
            ),
            Call::AwaitBatch { batch, wait } => {
                self.wait(id, Awaited::Batch(batch), now + wait, now);
                return Ok(());
            }
            Call::ControlBatch {
                batch,
                control,
                nodes,
                who,
            } => {
                self.control_batch(id, batch, control, &nodes, &who, now);
                return Ok(());
            }
            Call::Events {
                since,
                nodes,
                wait,
                limit,
            } => {
                let since = since.unwrap_or_else(|| self.events.position());
                self.wait(
                    id,
                    Awaited::Events {
                        since,
                        nodes,
                        limit,
                    },
                    now + wait,
                    now,
                );
                return Ok(());
            }
            Call::SetMaintenance { node, hold, who } => {
                let node = self.node_of(&node)?;
                self.set_maintenance(node, hold, &who, now);
                let uuid = self.nodes[node].settings.uuid;
                self.reply_when_durable(id, Reply::Node(uuid), now);
                return Ok(());
            }
            Call::Pause { reason, who } => {
                self.begin_pause(reason, &who, now);
                self.reply_when_durable(id, Reply::Pausing, now);
                return Ok(());
            }
            Call::Release { who } => {
                self.end_pause(&who, now);
                self.reply_when_durable(id, Reply::Pausing, now);
                return Ok(());
            }
            Call::Pausing => Answer::Pausing(self.pause.as_ref().map(|pause| pause.hold.clone())),
            Call::Order { node, order, who } => return self.order(id, &node, order, &who, now),
            Call::Retry { node, who } => {
                let node = self.node_of(&node)?;
                log::info!(
                    "{}: {} says that its BMC is worth a try",
                    self.nodes[node].settings.name,
                    who.name
                );
                self.nodes[node].bmc.retry(now, &mut *self.entropy);
                self.read_fresh(node, id, now);
                return Ok(());
            }
            Call::Explain(ident) => {
                let node = self.node_of(&ident)?;
                Answer::Explanation(Box::new(self.explanation(node, now)))
            }
            Call::History { node, limit } => {
                let node = self.node_of(&node)?;
                Answer::History(
                    self.history
                        .of(self.nodes[node].settings.uuid)
                        .take(limit)
                        .cloned()
                        .collect(),
                )
            }
            Call::Health => Answer::Health(self.health(now)),
        };
        self.answer(id, Ok(answer));
        Ok(())
    }

    /// Ironic's `PUT states/power`.
    fn set_power(
        &mut self,
        id: CallId,
        ident: &str,
        target: PowerTarget,
        wishes: &Wishes,
        who: Who,
        now: Instant,
    ) -> Result<(), Refused> {
        let node = self.node_of(ident)?;
        let operation = match target {
            PowerTarget::PowerOn => Operation::PowerOn,
            PowerTarget::PowerOff => Operation::PowerOff,
            PowerTarget::Rebooting => Operation::Reboot,
            PowerTarget::SoftRebooting => Operation::SoftReboot,
            PowerTarget::SoftPowerOff => Operation::SoftPowerOff,
            PowerTarget::InjectNmi => Operation::InjectNmi,
            PowerTarget::AbortSoftRebooting | PowerTarget::AbortSoftPowerOff => {
                return self.abort_target(id, node, Target::SoftPowerOff, &who, now);
            }
            PowerTarget::AbortInjectNmi => {
                return self.abort_target(id, node, Target::InjectNmi, &who, now);
            }
        };
        let task = self.start(node, operation, wishes, who, now)?;
        self.journal
            .park(Parked::Admit(vec![task], id, Reply::Taken(task)));
        Ok(())
    }

    /// An abort target acts on what `target_power_state` shows; where that is something else there is nothing to abort,
    /// and that is a success (design, section 3).
    fn abort_target(
        &mut self,
        id: CallId,
        node: usize,
        target: Target,
        who: &Who,
        now: Instant,
    ) -> Result<(), Refused> {
        let task = self.nodes[node]
            .task
            .filter(|task| self.tasks[task].target() == Some(target));
        let Some(task) = task else {
            self.answer(id, Ok(Answer::Taken(None)));
            return Ok(());
        };
        self.control_task(task, Control::Abort, &who.name, now)
            .map_err(|why| self.refused(task, Control::Abort, why, now))?;
        self.reply_when_durable(id, Reply::Taken(task), now);
        Ok(())
    }

    fn start(
        &mut self,
        node: usize,
        operation: Operation,
        wishes: &Wishes,
        who: Who,
        now: Instant,
    ) -> Result<TaskId, Refused> {
        self.check_start(node, operation, now)?;
        Ok(self.make_task(node, operation, wishes, who, None, now))
    }

    /// Everything that stands against a new task on a node.
    pub(super) fn check_start(
        &self,
        node: usize,
        operation: Operation,
        now: Instant,
    ) -> Result<(), Refused> {
        let place = &self.nodes[node];
        let name = || place.settings.name.clone();
        if self.stopping {
            return Err(Refused::Stopping);
        }
        if let Some(pause) = &self.pause {
            let reason = pause.hold.reason.clone().unwrap_or_default();
            return Err(Refused::Paused {
                by: pause.hold.by.clone(),
                reason,
            });
        }
        if let Some(trouble) = self.journal.trouble() {
            return Err(Refused::Store(trouble.to_owned()));
        }
        if let Some(task) = place.task {
            let node = place.settings.uuid.to_string();
            return Err(Refused::Locked {
                node,
                host: self.settings.name.clone(),
                task,
            });
        }
        if let (Some(hold), MaintenancePolicy::Block) =
            (&place.memory.maintenance, self.settings.maintenance_policy)
        {
            let reason = hold
                .reason
                .clone()
                .unwrap_or_else(|| format!("set by {}", hold.by));
            return Err(Refused::Maintenance {
                node: name(),
                reason,
            });
        }
        let lacks = |order: &Order| {
            place
                .bmc
                .knowledge()
                .unsupported
                .iter()
                .any(|name| name == order.name())
        };
        let unsupported = |why: &str| {
            Err(Refused::NotSupported {
                node: name(),
                target: operation.name().to_owned(),
                why: why.to_owned(),
            })
        };
        if operation == Operation::InjectNmi {
            if !place.settings.nmi {
                return unsupported("the configuration says nmi = false for this node");
            }
            self.check_nmi_interval(node, now)?;
        }
        let needed = match operation {
            Operation::SoftPowerOff | Operation::SoftReboot => Some(Order::SoftOff),
            Operation::InjectNmi => Some(Order::Nmi),
            Operation::Reset => Some(Order::Reset),
            Operation::Cycle => Some(Order::Cycle),
            _ => None,
        };
        match needed.filter(lacks) {
            Some(_) => {
                unsupported("its BMC said that it does not have it (rackbmc retry asks it anew)")
            }
            None => Ok(()),
        }
    }

    fn check_nmi_interval(&self, node: usize, now: Instant) -> Result<(), Refused> {
        let place = &self.nodes[node];
        let Some(last) = place.memory.last_nmi else {
            return Ok(());
        };
        let (since, least) = (self.wall(now).since(last), place.settings.nmi_min_interval);
        if since >= least {
            return Ok(());
        }
        Err(Refused::WrongState {
            action: Operation::InjectNmi.name().to_owned(),
            node: place.settings.name.clone(),
            state: "inject nmi".to_owned(),
            why: format!(
                "an NMI was injected {} s ago; the next one is allowed after {} s (nmi_min_interval)",
                since.as_secs(),
                least.as_secs()
            ),
        })
    }

    /// How patient this operation is on this node, by its settings and the request's wishes.
    pub(super) fn sequence_settings(
        &self,
        node: usize,
        operation: Operation,
        wishes: &Wishes,
    ) -> power::Settings {
        let mut settings = self.nodes[node].settings.power.clone();
        if let Some(timeout) = wishes.timeout {
            if operation.is_soft() {
                settings.patience = timeout;
                // The way back on is never cut short below its own time: a machine must not stay off for a short wait.
            } else {
                settings.change_timeout = timeout;
            }
        }
        if let Some(policy) = wishes.on_soft_timeout {
            settings.on_soft_timeout = policy;
        }
        settings.repeat_soft_after = wishes.repeat_soft_after.or(settings.repeat_soft_after);
        settings.hard_after = wishes.hard_after.or(settings.hard_after);
        settings
    }

    /// Makes a task and puts it down; it may begin when that is durable.
    pub(super) fn make_task(
        &mut self,
        node: usize,
        operation: Operation,
        wishes: &Wishes,
        who: Who,
        batch: Option<BatchId>,
        now: Instant,
    ) -> TaskId {
        let wall = self.wall(now);
        let id = self.ids.make(wall, &mut *self.entropy);
        let settings = self.sequence_settings(node, operation, wishes);
        let place = &mut self.nodes[node];
        log::info!(
            "{}: {operation} asked for by {}: task {id}",
            place.settings.name,
            who.name
        );
        place.task = Some(id);
        place.memory.last_error = None;
        let identity = Identity {
            id,
            node: place.settings.name.clone(),
            node_uuid: place.settings.uuid,
            batch,
            operation,
            requested_by: who,
            requested_at: wall,
            started_at: None,
            ended_at: None,
            version: 0,
            controls: Vec::new(),
        };
        let task = Task {
            identity,
            node: Some(node),
            sequence: Sequence::new(operation, settings),
            pending: None,
            admitted: false,
            resuming: None,
            returning: None,
            nmi_call: None,
            journaled: None,
        };
        self.tasks.insert(id, task);
        self.active.insert(id);
        self.note_milestone(id, now);
        id
    }

    fn control(
        &mut self,
        id: CallId,
        task: TaskId,
        control: Control,
        who: &Who,
        now: Instant,
    ) -> Result<(), Refused> {
        if !self.tasks.contains_key(&task) {
            return Err(Refused::NoSuchTask(task));
        }
        if let (Control::Resume, Some(pause)) = (control, &self.pause) {
            let reason = pause.hold.reason.clone().unwrap_or_default();
            return Err(Refused::Paused {
                by: pause.hold.by.clone(),
                reason,
            });
        }
        self.control_task(task, control, &who.name, now)
            .map_err(|why| self.refused(task, control, why, now))?;
        self.reply_when_durable(id, Reply::Task(task), now);
        Ok(())
    }

    fn refused(
        &self,
        task: TaskId,
        control: Control,
        why: power::Refusal,
        now: Instant,
    ) -> Refused {
        match self.task_view(task, now) {
            Some(view) => Refused::Control {
                control: control.name().to_owned(),
                why: why.to_string(),
                task: Box::new(view),
            },
            None => Refused::NoSuchTask(task),
        }
    }

    /// Uses a control on a task. When this returns, what the control promises holds: after an abort, a cancel or a
    /// suspension no further datagram of the task's orders is handed out.
    pub(super) fn control_task(
        &mut self,
        id: TaskId,
        control: Control,
        by: &str,
        now: Instant,
    ) -> Result<(), power::Refusal> {
        let wall = self.wall(now);
        let Some(task) = self.tasks.get_mut(&id) else {
            return Ok(());
        };
        if control == Control::Resume && task.resuming.is_none() {
            // It goes on when the scheduler has a place for it: at once, as a rule.
            task.sequence.may(control)?;
            task.resuming = Some(by.to_owned());
            task.returning = None;
            self.unscheduled = true;
        } else if control == Control::Rollback && task.state() == State::Suspended {
            // One that stands still has no place among the transitions, and the way back takes one.
            task.sequence.may(control)?;
            task.returning = Some(by.to_owned());
            task.resuming = None;
            self.unscheduled = true;
        } else {
            task.sequence.control(control, by, now)?;
            if control != Control::Resume {
                (task.resuming, task.returning) = (None, None);
            }
        }
        task.identity.controls.push(ControlView {
            control,
            by: by.to_owned(),
            at: wall,
        });
        // A place may have become free.
        self.unscheduled = true;
        log::info!("{}: {control} of task {id} by {by}", task.identity.node);
        let (node, waiting) = (task.node, task.state() == State::Suspended);
        if let Some(node) = node {
            self.nodes[node].bmc.set_wanted(!waiting, now);
            if self.nodes[node].task == Some(id) {
                self.settle(node, now);
            }
        }
        self.note_milestone(id, now);
        // The list of controls is new even where nothing else is.
        self.save_task(id, now);
        Ok(())
    }

    fn tasks_where(
        &self,
        node: Option<&str>,
        batch: Option<BatchId>,
        active: bool,
        limit: usize,
        now: Instant,
    ) -> Result<Vec<super::call::TaskView>, Refused> {
        let node = node.map(|ident| self.node_of(ident)).transpose()?;
        let wanted = |task: &&Task| {
            (node.is_none() || task.node == node)
                && (batch.is_none() || task.identity.batch == batch)
                && (!active || task.is_active())
        };
        let tasks = self.tasks.values().rev().filter(wanted).take(limit);
        Ok(tasks
            .map(|task| task.view(&self.settings.name, now))
            .collect())
    }

    fn set_maintenance(
        &mut self,
        node: usize,
        hold: Option<Option<String>>,
        who: &Who,
        now: Instant,
    ) {
        let wall = self.wall(now);
        let memory = &mut self.nodes[node].memory;
        let text = match &hold {
            Some(reason) => format!(
                "maintenance: {}",
                reason.as_deref().unwrap_or("no reason given")
            ),
            None => "maintenance ended".to_owned(),
        };
        if hold.is_none() && memory.maintenance.is_none() {
            return;
        }
        memory.maintenance = hold.map(|reason| HoldView {
            reason,
            by: who.name.clone(),
            since: wall,
        });
        memory.updated_at = Some(wall);
        self.save_node(node);
        self.note_history(
            node,
            "maintenance",
            text.clone(),
            None,
            Some(who.name.clone()),
            false,
            now,
        );
        self.announce_node(node, text, now);
        self.unscheduled = true;
    }

    /// The big red button: every task that can stand still does, and nothing new begins.
    fn begin_pause(&mut self, reason: String, who: &Who, now: Instant) {
        let hold = HoldView {
            reason: Some(reason),
            by: who.name.clone(),
            since: self.wall(now),
        };
        let mut tasks = self
            .pause
            .take()
            .map(|pause| pause.tasks)
            .unwrap_or_default();
        let by = format!("{} (pause)", who.name);
        for task in self.active.clone() {
            if self.control_task(task, Control::Suspend, &by, now).is_ok() {
                tasks.insert(task);
            }
        }
        log::warn!(
            "the rack is paused by {}: {}",
            who.name,
            hold.reason.as_deref().unwrap_or("")
        );
        self.pause = Some(Pause { hold, tasks });
        for task in self.active.clone() {
            self.hold_back(task, now);
        }
        self.save_pause();
    }

    fn end_pause(&mut self, who: &Who, now: Instant) {
        let Some(pause) = self.pause.take() else {
            return;
        };
        log::warn!("the pause is ended by {}", who.name);
        self.save_pause();
        let by = format!("{} (release)", who.name);
        for task in pause.tasks {
            // One that was aborted or resumed by hand in between has nothing to resume.
            let _ = self.control_task(task, Control::Resume, &by, now);
        }
        // Rollbacks were not suspended, but held back: nothing else drives them on.
        for task in self.active.clone() {
            self.settle_task(task, now);
        }
        self.unscheduled = true;
    }

    /// One order outside any task.
    fn order(
        &mut self,
        id: CallId,
        ident: &str,
        order: Order,
        who: &Who,
        now: Instant,
    ) -> Result<(), Refused> {
        let node = self.node_of(ident)?;
        let name = self.nodes[node].settings.name.clone();
        if order.changes_power() {
            return Err(Refused::Invalid(format!(
                "{} is a task: start it as one",
                order.name()
            )));
        }
        if let Order::Raw {
            net_fn: 0,
            command: 2,
            ..
        } = order
        {
            let text = "a raw Chassis Control is refused: use on, off, soft, reset, cycle or nmi, which follow it up";
            return Err(Refused::Invalid(text.to_owned()));
        }
        if let (Order::ResetBmc { .. }, Some(task)) = (&order, self.nodes[node].task) {
            // Deaf for a minute or more, in the middle of a power change.
            return Err(Refused::Locked {
                node: self.nodes[node].settings.uuid.to_string(),
                host: self.settings.name.clone(),
                task,
            });
        }
        if self.stopping {
            return Err(Refused::Stopping);
        }
        if self.nodes[node].bmc.backlog() >= CROWDED {
            return Err(Refused::Crowded(name));
        }
        log::debug!("{name}: {} for {}", order.name(), who.name);
        let order_id = OrderId(self.next_order);
        self.next_order += 1;
        self.owners
            .insert(order_id, Owner::Call(id, node, order.name()));
        self.nodes[node]
            .bmc
            .submit(order_id, order, now, &mut *self.entropy);
        self.settle(node, now);
        Ok(())
    }

    pub(super) fn answer_order(
        &mut self,
        call: CallId,
        node: usize,
        what: &str,
        report: Report,
        _now: Instant,
    ) {
        let node = self.nodes[node].settings.name.clone();
        let what = what.to_owned();
        let answer = match report {
            Report::Accepted(reading) => Ok(Answer::Reading(reading)),
            Report::Refused(refusal) => Err(Refused::Bmc {
                node,
                what,
                text: refusal.text,
                code: refusal.code,
            }),
            Report::Unanswered(silence) => Err(Refused::Unanswered {
                node,
                what,
                trouble: silence.trouble,
                text: silence.text,
            }),
        };
        self.answer(call, answer);
    }

    /// Orders outside tasks are given up, and their callers hear it: nodes are about to change their places.
    pub(super) fn end_side_orders(&mut self) {
        let side: Vec<OrderId> = self
            .owners
            .iter()
            .filter(|(_, owner)| !matches!(owner, Owner::Task(_)))
            .map(|(id, _)| *id)
            .collect();
        for id in side {
            let refused = || {
                Refused::Invalid("the configuration was reloaded meanwhile: ask again".to_owned())
            };
            match self.owners.remove(&id) {
                Some(Owner::Call(call, ..)) => self.answer(call, Err(refused())),
                Some(Owner::Plan(call, _)) if self.plans.remove(&call).is_some() => {
                    self.answer(call, Err(refused()));
                }
                _ => {}
            }
        }
    }

    /// The last part of every input: who may begin now begins, and who waited hears of it.
    pub(super) fn wind_up(&mut self, now: Instant) {
        while std::mem::take(&mut self.unscheduled) {
            self.schedule(now);
        }
        if std::mem::take(&mut self.woken) {
            self.wake_waits(now);
        }
    }
}

/// Orders that may wait for one BMC before callers are sent away.
const CROWDED: usize = 32;
