//! Doing what is asked: every [`Call`] leads to one answer, at once or later. Starting, controlling, holding and side
//! orders have files of their own.

use super::Rack;
use super::batch::Rooms;
use super::call::{Answer, BatchId, Call, CallId, Refused, Wishes};
use super::rights::Rights;
use super::run::{Parked, Reply};
use super::task::{NMI_ANSWER, Task};
use super::waits::Awaited;
use crate::power::Operation;
use crate::time::Instant;

impl Rack {
    /// Somebody who has `rights` asks for something. The answer carries `id`.
    ///
    /// Gives back the names of the nodes that the call was found to mean, for the audit trail; none for a call that only
    /// looks, or that was refused for what it names.
    pub fn handle_call(
        &mut self,
        id: CallId,
        call: Call,
        rights: &Rights,
        now: Instant,
    ) -> Vec<String> {
        let permitted = self.permit(&call, rights);
        let taken = match &permitted {
            Ok(_) => self.take_call(id, call, now),
            Err(refused) => Err(refused.clone()),
        };
        if let Err(refused) = taken {
            self.answer(id, Err(refused));
        }
        self.wind_up(now);
        permitted.unwrap_or_default()
    }

    fn take_call(&mut self, id: CallId, call: Call, now: Instant) -> Result<(), Refused> {
        let answer = match call {
            Call::Nodes => Answer::Nodes(
                self.inventory
                    .ids()
                    .into_iter()
                    .map(|node| self.node_view(node, now))
                    .collect(),
            ),
            Call::Node(ident) => Answer::Node(self.node_view(self.inventory.named(&ident)?, now)),
            Call::FreshNode(ident) => {
                self.read_fresh(self.inventory.named(&ident)?, id, now);
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
                let node = self.inventory.named(&node)?;
                let task = self.start(node, operation, &wishes, who, now)?;
                self.journal
                    .park(Parked::Admit(vec![task], id, Reply::Task(task)));
                return Ok(());
            }
            Call::InjectNmi { node, who } => {
                let node = self.inventory.named(&node)?;
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
                let node = self.inventory.named(&node)?;
                self.set_maintenance(node, hold, &who, now);
                let uuid = self.inventory[node].settings.uuid;
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
                let node = self.inventory.named(&node)?;
                log::info!(
                    "{}: {} says that its BMC is worth a try",
                    self.inventory[node].settings.name,
                    who.name
                );
                self.inventory[node].bmc.retry(now, &mut *self.entropy);
                self.read_fresh(node, id, now);
                return Ok(());
            }
            Call::Explain(ident) => {
                let node = self.inventory.named(&ident)?;
                Answer::Explanation(Box::new(self.explanation(node, now)))
            }
            Call::History { node, limit } => {
                let node = self.inventory.named(&node)?;
                Answer::History(
                    self.history
                        .of(self.inventory[node].settings.uuid)
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

    fn tasks_where(
        &self,
        node: Option<&str>,
        batch: Option<BatchId>,
        active: bool,
        limit: usize,
        now: Instant,
    ) -> Result<Vec<super::call::TaskView>, Refused> {
        let node = node.map(|ident| self.inventory.named(ident)).transpose()?;
        let node = node.map(|node| self.inventory[node].settings.uuid);
        let wanted = |task: &&Task| {
            node.is_none_or(|node| task.identity.node_uuid == node)
                && (batch.is_none() || task.identity.batch == batch)
                && (!active || task.is_active())
        };
        let mut rooms = Rooms::new();
        let tasks = self.tasks.values().rev().filter(wanted).take(limit);
        Ok(tasks
            .map(|task| self.view_of(task, &mut rooms, now))
            .collect())
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
