//! Starting a task: what stands against it, how patient it is, and its first record.
//!
//! Driven by `calls` and `batch`; who may begin and when is `schedule`'s.

use super::Rack;
use super::call::{Answer, BatchId, CallId, PowerTarget, Refused, TaskId, Who, Wishes};
use super::inventory::NodeId;
use super::run::{Parked, Reply};
use super::task::{Identity, Task};
use crate::power::{self, Control, Operation, Sequence, Target};
use crate::time::Instant;

impl Rack {
    /// Ironic's `PUT states/power`.
    pub(super) fn set_power(
        &mut self,
        id: CallId,
        ident: &str,
        target: PowerTarget,
        wishes: &Wishes,
        who: Who,
        now: Instant,
    ) -> Result<(), Refused> {
        let node = self.inventory.named(ident)?;
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
        node: NodeId,
        target: Target,
        who: &Who,
        now: Instant,
    ) -> Result<(), Refused> {
        let task = self.inventory[node]
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

    pub(super) fn start(
        &mut self,
        node: NodeId,
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
        node: NodeId,
        operation: Operation,
        now: Instant,
    ) -> Result<(), Refused> {
        let place = &self.inventory[node];
        if self.stopping {
            return Err(Refused::Stopping);
        }
        self.check_pause()?;
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
        self.check_maintenance(node)?;
        if place.forbids(operation) {
            return Err(Refused::NotSupported {
                node: place.settings.name.clone(),
                target: operation.name().to_owned(),
                why: "the configuration says nmi = false for this node".to_owned(),
            });
        }
        if operation == Operation::InjectNmi {
            self.check_nmi_interval(node, now)?;
        }
        Ok(())
    }

    fn check_nmi_interval(&self, node: NodeId, now: Instant) -> Result<(), Refused> {
        let place = &self.inventory[node];
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
        node: NodeId,
        operation: Operation,
        wishes: &Wishes,
    ) -> power::Settings {
        let mut settings = self.inventory[node].settings.power.clone();
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
        node: NodeId,
        operation: Operation,
        wishes: &Wishes,
        who: Who,
        batch: Option<BatchId>,
        now: Instant,
    ) -> TaskId {
        let wall = self.wall(now);
        let id = self.ids.make(wall, &mut *self.entropy);
        let settings = self.sequence_settings(node, operation, wishes);
        let place = &mut self.inventory[node];
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
            counted: false,
        };
        self.tasks.insert(id, task);
        self.active.insert(id);
        self.note_milestone(id, now);
        id
    }
}
