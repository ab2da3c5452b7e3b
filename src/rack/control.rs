//! Using a control on a task: abort, cancel, rollback, suspend, resume (design, section 4).
//!
//! Driven by `calls`, `batch` and `holds`; what a control means in each phase is `power`'s.

use super::Rack;
use super::call::{CallId, Refused, TaskId, Who};
use super::run::Reply;
use super::task::UsedControl;
use crate::power::{self, Control, State};
use crate::time::Instant;

impl Rack {
    pub(super) fn control(
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
        if control == Control::Resume {
            self.check_pause()?;
        }
        if let (Control::Resume, Some(node)) = (control, self.tasks[&task].node) {
            self.check_maintenance(node)?;
        }
        self.control_task(task, control, &who.name, now)
            .map_err(|why| self.refused(task, control, why, now))?;
        self.reply_when_durable(id, Reply::Task(task), now);
        Ok(())
    }

    pub(super) fn refused(
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
        task.may(control)?;
        if control == Control::Suspend && task.wants_place() {
            // It stands still already, and is not to go on after all.
            (task.resuming, task.returning) = (None, None);
        } else if control == Control::Resume {
            // It goes on when the scheduler has a place for it: at once, as a rule.
            task.resuming = Some(by.to_owned());
            task.returning = None;
            self.unscheduled = true;
        } else if control == Control::Rollback && task.state() == State::Suspended {
            // One that stands still has no place among the transitions, and the way back takes one.
            task.returning = Some(by.to_owned());
            task.resuming = None;
            self.unscheduled = true;
        } else {
            task.sequence.control(control, by, now)?;
            (task.resuming, task.returning) = (None, None);
        }
        let version = task.identity.version;
        task.identity.controls.push(UsedControl {
            control,
            by: by.to_owned(),
            at: wall,
        });
        // A place may have become free.
        self.unscheduled = true;
        log::info!("{}: {control} of task {id} by {by}", task.identity.node);
        let (node, waiting) = (task.node, task.state() == State::Suspended);
        if let Some(node) = node {
            self.inventory[node].bmc.set_wanted(!waiting, now);
            if self.inventory[node].task == Some(id) {
                self.settle(node, now);
            }
        }
        // The list of controls is new even where nothing else is.
        self.note_milestone(id, now);
        if self
            .tasks
            .get(&id)
            .is_some_and(|task| task.identity.version == version)
        {
            self.save_task(id, now);
        }
        Ok(())
    }
}
