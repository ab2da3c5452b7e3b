//! Starting and controlling batches, all of it or nothing.

use super::Rack;
use super::batch::{self, Batch, BatchRecord, Member};
use super::call::{BatchId, BatchRequest, CallId, Refused, TaskId, Who};
use super::clock::Moment;
use super::inventory::NodeId;
use super::ledger::{Owner, Parked, Reply};
use super::plan::Look;
use super::start;
use crate::model::EventKind;
use crate::power::Control;
use std::collections::BTreeMap;

impl Rack {
    /// Starts a batch, all of it or nothing, or begins to plan it.
    pub(super) fn start_batch(
        &mut self,
        call: CallId,
        request: BatchRequest,
        who: Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let members = batch::members(&request, &self.inventory, &self.settings)?;
        if request.dry_run {
            self.begin_plan(call, request, who, members, at);
            return Ok(());
        }
        self.check_members(&members, &request, at)?;
        let id = self.tasks.make_id(at.wall, &mut *self.entropy);
        let mut made = Vec::new();
        for (node, rank) in members {
            let request = start::Request {
                operation: request.operation,
                wishes: &request.wishes,
                who: &who,
                batch: Some(id),
            };
            if let Some(task) = self.make_task(node, &request, at)
                && let Some(name) = self.tasks.get(task).map(|task| &task.identity.node)
            {
                let node = name.clone();
                made.push(Member { node, task, rank });
            }
        }
        let tasks: Vec<TaskId> = made.iter().map(|member| member.task).collect();
        let record = BatchRecord {
            id,
            operation: request.operation,
            requested_by: who,
            requested_at: at.wall,
            ended_at: None,
            max_parallel: request.max_parallel,
            stagger: request.stagger,
            on_failure: request.on_failure,
            members: made,
            stopped: false,
        };
        self.tasks.insert_batch(Batch::restore(record));
        self.tasks.save_batch(id, &mut self.ledger);
        self.announce(EventKind::Batch, format!("batch {id} begun"), at);
        let admit = Parked::Admit(tasks, call, Reply::Batch(id));
        self.ledger.journal.park(admit);
        Ok(())
    }

    /// Whether a batch may begin, all of it: every busy node is named, not the first one alone.
    fn check_members(
        &self,
        members: &[(NodeId, usize)],
        request: &BatchRequest,
        at: Moment,
    ) -> Result<(), Refused> {
        let (gate, ledger, tasks) = (&self.gate, &self.ledger, &self.tasks);
        let rack = &self.settings.name;
        let mut busy: Option<Refused> = None;
        for (node, _) in members {
            let Some(node) = self.inventory.get(*node) else {
                continue;
            };
            let checked = start::check(node, request.operation, gate, ledger, tasks, rack, at);
            match (checked, &mut busy) {
                (Ok(()), _) => {}
                (
                    Err(Refused::Locked { detail, .. }),
                    Some(Refused::Locked { detail: all, .. }),
                ) => {
                    all.push(';');
                    all.push_str(&detail);
                }
                (Err(refused @ Refused::Locked { .. }), _) => busy = Some(refused),
                (Err(refused), _) => return Err(refused),
            }
        }
        busy.map_or(Ok(()), Err)
    }

    /// A dry run logs in to every BMC, reads its power state and changes nothing.
    fn begin_plan(
        &mut self,
        call: CallId,
        request: BatchRequest,
        who: Who,
        members: Vec<(NodeId, usize)>,
        at: Moment,
    ) {
        let look = |&(node, rank): &(NodeId, usize)| {
            let name = self.inventory.get(node)?.settings.name.clone();
            Some(Look {
                node,
                name,
                rank,
                report: None,
            })
        };
        let looks: Vec<Look> = members.iter().filter_map(look).collect();
        self.plans.begin(call, request, who, looks);
        for (slot, (node, _)) in members.into_iter().enumerate() {
            self.read_power(node, Owner::Plan(call, slot), at);
            self.settle(node, at);
        }
    }

    /// Uses a control on the tasks of a batch, or of some of its nodes. Those that do not allow it are left as
    /// they are, and the view of the batch says why.
    pub(super) fn control_batch(
        &mut self,
        call: CallId,
        id: BatchId,
        control: Control,
        nodes: &[String],
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let tasks = self.tasks.members_named(id, nodes, &self.inventory)?;
        let mut refusals = BTreeMap::new();
        for task in self.tasks.in_order_of_control(tasks) {
            if let Err(refusal) = self.control(task, control, &who.name, at)
                && self.tasks.is_active(task)
            {
                refusals.insert(task, refusal.to_string());
            }
        }
        if let Some(batch) = self.tasks.batch_mut(id) {
            batch.controlled(refusals);
        }
        self.reply_when_durable(call, Reply::Batch(id), at);
        Ok(())
    }
}
