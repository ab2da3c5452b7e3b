//! How a turn begins with what is asked: every [`Call`] leads to one answer, at once or later.
//!
//! The first step of each, put together from the parts; what follows from it is `turn`'s.

use super::batch::{self, Batch, LeftOut, Member};
use super::call::{Answer, Call, CallId, PowerChange, Refused};
use super::clock::Moment;
use super::inventory::NodeId;
use super::ledger::{Owner, Parked, Reply};
use super::node::Node;
use super::start::{self, Request};
use super::stored::Intent;
use super::sweeps::Asker;
use super::task::NMI_ANSWER;
use super::waits::{self, Awaited};
use super::{Rack, holds, look, orders, side};
use crate::bmc::vocabulary::Order;
use crate::model::{
    BatchId, BatchStart, Control, EventId, EventKind, OnBusy, Operation, PowerOptions, Short,
    TaskId, Who,
};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// What is asked: one answer to every call, at once or later.
impl Rack {
    pub(super) fn take_call(&mut self, id: CallId, call: Call, at: Moment) -> Result<(), Refused> {
        match call {
            Call::FreshNode(ident) => self.fresh_node(id, &ident, at)?,
            Call::Sweep { nodes } => self.begin_sweep(id, &nodes, at)?,
            Call::AwaitSweep { sweep, seen, wait } => {
                // As long as somebody waits for it a sweep is not forgotten.
                self.sweeps.watched(sweep, at.now + wait);
                self.wait(id, Awaited::Sweep(sweep, seen), wait, at);
            }
            Call::SetPower {
                node,
                change,
                options,
                who,
            } => self.set_power(id, &node, change, &options, &who, at)?,
            Call::Start {
                node,
                operation,
                options,
                who,
            } => self.start_task(id, &node, operation, &options, &who, at)?,
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
            Call::AwaitBatch { batch, wait } => self.wait(id, Awaited::End(batch), wait, at),
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
            } => self.wait_for_events(id, since, nodes, limit, wait, at),
            Call::SetMaintenance { node, hold, who } => {
                self.set_maintenance(id, &node, hold, &who, at)?
            }
            Call::Pause { reason, who } => self.pause(id, reason, &who, at),
            Call::Release { who } => self.unpause(id, &who, at),
            Call::Order { node, order, who } => self.order(id, &node, order, &who, at)?,
            Call::Retry { node, who } => self.retry(id, &node, &who, at)?,
            Call::Accept { node, guid, who } => self.accept(id, &node, guid, &who, at)?,
            Call::History { node, limit } => self.read_history(id, &node, limit)?,
            Call::Look(look) => {
                let answer = look::answer(look, &self.snapshot(at))?;
                self.outbox.answer(id, Ok(answer));
            }
        }
        Ok(())
    }

    fn fresh_node(&mut self, call: CallId, ident: &str, at: Moment) -> Result<(), Refused> {
        self.read_fresh(self.inventory.named(ident)?, Asker::Call(call), at);
        Ok(())
    }

    /// Readings of many nodes, told as they come.
    fn begin_sweep(&mut self, call: CallId, nodes: &[String], at: Moment) -> Result<(), Refused> {
        if nodes.is_empty() {
            let why =
                "nodes is empty: readings of no nodes are a mistake, and never mean all of them";
            return Err(Refused::Invalid(why.to_owned()));
        }
        let nodes = nodes.iter().map(|ident| self.inventory.named(ident));
        let nodes = nodes.collect::<Result<_, _>>()?;
        let sweep = self.sweeps.begin(nodes, at.now)?;
        self.wait(call, Awaited::Sweep(sweep, 0), Duration::ZERO, at);
        Ok(())
    }

    /// One of Ironic's targets for the power of a node.
    fn set_power(
        &mut self,
        call: CallId,
        ident: &str,
        change: PowerChange,
        options: &PowerOptions,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        match change {
            PowerChange::Start(operation) => {
                let task = self.start(ident, operation, options, who, at)?;
                self.admit(task, call, Reply::Taken(task), at);
                Ok(())
            }
            PowerChange::Abort(operation) => self.abort_target(call, ident, operation, who, at),
        }
    }

    /// Answers at once where there is something to tell, else when there is or the wait is over.
    fn wait(&mut self, call: CallId, what: Awaited, wait: Duration, at: Moment) {
        let until = at.now + wait;
        // A daemon that stops keeps nobody waiting.
        let anyhow = until <= at.now || self.gate.stopping;
        let told = waits::told(&what, anyhow, &self.snapshot(at), &self.outbox.events);
        match told {
            Some(answer) => self.tell(call, answer),
            None => self.outbox.waits.add(call, what, until),
        }
    }

    /// Waits for the events after `since`, or for the next ones.
    fn wait_for_events(
        &mut self,
        call: CallId,
        since: Option<EventId>,
        nodes: Vec<String>,
        limit: usize,
        wait: Duration,
        at: Moment,
    ) {
        let what = Awaited::Events {
            since: since.unwrap_or_else(|| self.outbox.events.position()),
            nodes,
            limit,
        };
        self.wait(call, what, wait, at);
    }

    /// Somebody wants to read what happened to a node, with all that was put down by now.
    fn read_history(&mut self, call: CallId, ident: &str, limit: usize) -> Result<(), Refused> {
        let (_, node) = self.inventory.find(ident)?;
        let node = node.settings.uuid;
        if self.ledger.journal.is_pending() {
            let parked = Parked::ReadHistory { node, limit, call };
            self.ledger.journal.park(parked);
        } else {
            self.tasks.history.read(node, limit, call);
        }
        Ok(())
    }

    /// An operator says that the node's BMC is worth a try.
    fn retry(&mut self, call: CallId, ident: &str, who: &Who, at: Moment) -> Result<(), Refused> {
        let id = self.inventory.named(ident)?;
        if let Some(node) = self.inventory.get_mut(id) {
            log::info!(
                "{}: {} says that its BMC is worth a try",
                node.name(),
                who.name
            );
            node.bmc.retry(at.now, &mut *self.entropy);
            // As `explain` promises: after a retry states are confirmed as soon as usual.
            node.memory.holds_longer = None;
        }
        self.read_fresh(id, Asker::Call(call), at);
        Ok(())
    }

    /// An operator says that the BMC that is there now shall be the node's.
    fn accept(
        &mut self,
        call: CallId,
        ident: &str,
        guid: Uuid,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let id = self.inventory.named(ident)?;
        if let Some(node) = self.inventory.get_mut(id) {
            let effects = node.accept_bmc(guid, who, at)?;
            self.carry_out(id, effects, at);
        }
        self.read_fresh(id, Asker::Call(call), at);
        Ok(())
    }

    fn abort_target(
        &mut self,
        call: CallId,
        ident: &str,
        operation: Operation,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let (_, node) = self.inventory.find(ident)?;
        let Some(task) = look::to_abort(node, operation, &self.tasks) else {
            // Where the node never takes the operation, its abort is a mistake as well.
            node.check_allowed(operation)?;
            self.outbox.answer(call, Ok(Answer::Taken(None)));
            return Ok(());
        };
        self.control(task, Control::Abort, &who.name, at)
            .map_err(|why| look::refused(task, why, &self.snapshot(at)))?;
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
        let options = PowerOptions::default();
        let id = self.start(ident, Operation::InjectNmi, &options, who, at)?;
        if self.tasks.get(id).is_some_and(|task| task.admitted) {
            // Its client asks again, and the task is there: an NMI is
            // never sent a second time (rule 2).
            self.reply_when_durable(call, Reply::Task(id), at);
            return Ok(());
        }
        if let Some(task) = self.tasks.get_mut(id) {
            // The disk may be slow: its caller hears within 5 s, whatever has become of the task.
            task.nmi_call = Some((call, at.now + NMI_ANSWER));
            if let Some(node) = task.node {
                orders::set_timer(node, &mut self.inventory, &self.tasks);
            }
        }
        self.ledger.admit(vec![id], call, Reply::Nmi);
        Ok(())
    }

    /// A task that is answered for with what it is once it is written down.
    fn start_task(
        &mut self,
        call: CallId,
        ident: &str,
        operation: Operation,
        options: &PowerOptions,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let task = self.start(ident, operation, options, who, at)?;
        self.admit(task, call, Reply::Task(task), at);
        Ok(())
    }

    fn start(
        &mut self,
        ident: &str,
        operation: Operation,
        options: &PowerOptions,
        who: &Who,
        at: Moment,
    ) -> Result<TaskId, Refused> {
        let (id, node) = self.inventory.find(ident)?;
        // Asked again, a request brings its task, whatever stands against a new one by now.
        if let Some(task) = start::again(node, operation, options, who, &self.tasks, at) {
            return Ok(task);
        }
        start::check_patience(options, self.settings.longest_timeout)?;
        match start::check(node, operation, options, &self.snapshot(at)) {
            // The request leaves a busy node as it is: the answer is the task that has it.
            Err(Refused::Locked { task, .. }) if options.on_busy() == OnBusy::Skip => {
                return Ok(task);
            }
            Err(Refused::Locked { task, .. })
                if start::only_hardens(options)
                    && node.check_maintenance(&self.gate).is_ok()
                    && self.harden(task, operation, options, who, at) =>
            {
                return Ok(task);
            }
            checked => checked?,
        }
        let request = Request {
            operation,
            options,
            who,
            batch: None,
            took_over: None,
        };
        let task = self.make_task(id, &request, at);
        let task = task.ok_or_else(|| Refused::NoSuchNode(ident.to_owned()))?;
        // The disk and the BMC take milliseconds each, and neither needs the other.
        self.look_ahead(task, at);
        Ok(task)
    }

    /// The soft operation that is asked for runs already: it turns hard when the request says,
    /// instead of another task. Whether it can.
    fn harden(
        &mut self,
        id: TaskId,
        operation: Operation,
        options: &PowerOptions,
        who: &Who,
        at: Moment,
    ) -> bool {
        let task = self.tasks.get_mut(id);
        let task = task.filter(|task| task.identity.operation == operation);
        let (Some(task), Some(after)) = (task, options.hard_after) else {
            return false;
        };
        // Without this whoever waits for a system that hangs had to abort it and ask anew.
        let hardens = task.sequence.harden(after, &who.name, at.now);
        if hardens {
            let name = &who.name;
            log::info!(
                "{}: {name} gives task {id} a hard power off",
                task.identity.node
            );
            self.tasks.save(id, &mut self.ledger, at);
            self.drain_task(id, at);
        }
        hardens
    }

    /// Ends a task that only watches the node, because something else is asked of it.
    fn end_watch(&mut self, id: NodeId, request: &Request<'_>, at: Moment) {
        let task = self.inventory.get(id).and_then(|node| node.task);
        let Some(task) = task.and_then(|task| self.tasks.get_mut(task)) else {
            return;
        };
        let why = format!("{} asked for {}", request.who.name, request.operation);
        task.sequence.supersede(&why, at.now);
        self.drain_node(id, at);
    }

    /// Answers the request for a task once it is written down. It may have been asked for before,
    /// or left to another.
    fn admit(&mut self, task: TaskId, call: CallId, reply: Reply, at: Moment) {
        match self.tasks.get(task).is_some_and(|task| task.admitted) {
            true => self.reply_when_durable(call, reply, at),
            false => self.ledger.admit(vec![task], call, reply),
        }
    }

    /// Ends the task that has a node, which `start` allowed, for the sake of the one that is to
    /// have it next. When this returns, nothing more of it leaves.
    fn take_over(
        &mut self,
        id: NodeId,
        successor: TaskId,
        request: &Request<'_>,
        at: Moment,
    ) -> Option<TaskId> {
        let old = self.inventory.get(id)?.task?;
        let task = self.tasks.get_mut(old)?;
        // Named before the abort, so that the record of its end tells who has the node now.
        task.identity.taken_over_by = Some(successor);
        let (who, operation) = (&request.who.name, request.operation);
        let by = format!("{who}, who asked for {operation} (task {successor})");
        match self.control(old, Control::Abort, &by, at) {
            Ok(()) => Some(old),
            Err(_) => None,
        }
    }

    /// Makes a task and puts it down; it may begin when that is durable.
    fn make_task(&mut self, id: NodeId, request: &Request<'_>, at: Moment) -> Option<TaskId> {
        self.end_watch(id, request, at);
        let task = self.tasks.make_id(at.wall, &mut *self.entropy);
        let took_over = self.take_over(id, task, request, at);
        let request = Request {
            took_over,
            ..request.clone()
        };
        let node = self.inventory.get_mut(id)?;
        self.tasks.insert(start::make(task, &request, id, node, at));
        self.note_milestone(task, at);
        orders::set_timer(id, &mut self.inventory, &self.tasks);
        Some(task)
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
        // A hold would keep the task back without a word: whoever resumes is told of it.
        if control == Control::Resume {
            look::check_resume(task, &self.inventory, &self.gate)?;
        }
        self.control(id, control, &who.name, at)
            .map_err(|why| look::refused(id, why, &self.snapshot(at)))?;
        self.reply_when_durable(call, Reply::Task(id), at);
        Ok(())
    }

    /// Starts a batch, all of it or nothing, or begins to plan it.
    fn start_batch(
        &mut self,
        call: CallId,
        request: BatchStart,
        who: Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let members = batch::members(&request, &self.inventory, &self.settings)?;
        let longest = self.settings.longest_timeout;
        start::check_patience(&request.options, longest)?;
        start::check_time("stagger", Some(request.stagger), longest)?;
        if request.dry_run {
            self.plans
                .begin(call, request, who, &members, &self.inventory)?;
            // A dry run logs in to every BMC, reads its power state and changes nothing.
            for (slot, (node, _)) in members.into_iter().enumerate() {
                self.read_power(node, Owner::Plan(call, slot), at);
                self.drain_node(node, at);
            }
            return Ok(());
        }
        let nodes = members
            .iter()
            .filter_map(|(node, _)| self.inventory.get(*node));
        let nodes = nodes.map(Node::name).collect();
        // Asked again over the other host, a request must not switch its nodes twice (rule 2).
        let again = self.tasks.batch_again(request.operation, &nodes, &who, at);
        if let Some(batch) = again {
            self.reply_when_durable(call, Reply::Batch(batch), at);
            return Ok(());
        }
        self.check_disk(members.len())?;
        let rack = self.snapshot(at);
        let left_out = start::check_members(&members, request.operation, &request.options, &rack)?;
        let bytes = batch::bytes_of(members.len() - left_out.len(), &left_out);
        // Asked before anything is made: a batch that finds no room leaves no trace (rule 13).
        self.tasks.make_room(bytes, &mut self.ledger)?;
        let id = self.tasks.make_id(at.wall, &mut *self.entropy);
        let made = self.make_members(id, members, &left_out, &request, &who, at);
        let tasks: Vec<TaskId> = made.iter().map(|member| member.task).collect();
        // Who has nothing to do need not wait for the others.
        let looks = !request.stagger.is_zero() && request.operation.ends_in_a_state();
        self.tasks
            .insert_batch(Batch::new(id, request, who, at.wall, made, left_out));
        self.tasks.save_batch(id, &mut self.ledger);
        self.announce(
            EventKind::Batch,
            format!("batch {} begun", Short::batch(id)),
            at,
        );
        self.ledger.admit(tasks.clone(), call, Reply::Batch(id));
        for task in tasks.into_iter().filter(|_| looks) {
            self.look_ahead(task, at);
        }
        Ok(())
    }

    /// The tasks of a batch, of those that are not left out.
    fn make_members(
        &mut self,
        id: BatchId,
        members: Vec<(NodeId, usize)>,
        left_out: &[LeftOut],
        start: &BatchStart,
        who: &Who,
        at: Moment,
    ) -> Vec<Member> {
        let mut made = Vec::new();
        for (node, rank) in members {
            let name = self.inventory.get(node).map(|node| node.name());
            if left_out.iter().any(|left| Some(left.node.as_str()) == name) {
                continue;
            }
            let request = Request {
                operation: start.operation,
                options: &start.options,
                who,
                batch: Some(id),
                took_over: None,
            };
            let task = self.make_task(node, &request, at);
            if let Some(task) = task.and_then(|task| self.tasks.get(task)) {
                let (node, task) = (task.identity.node.clone(), task.identity.id);
                made.push(Member { node, task, rank });
            }
        }
        made
    }

    /// Records of so many tasks are on their way to the disk once, and not as often as somebody asks
    /// for changes of them.
    fn check_disk(&self, tasks: usize) -> Result<(), Refused> {
        match tasks > FEW_RECORDS && self.ledger.journal.is_behind() {
            true => Err(Refused::DiskBehind),
            false => Ok(()),
        }
    }

    /// Uses a control on the tasks of a batch, or of some of its nodes. Those that do not allow it
    /// are left as they are, and the view of the batch says why. Where all of them have ended it is
    /// refused, as it is of one task.
    fn control_batch(
        &mut self,
        call: CallId,
        id: BatchId,
        control: Control,
        nodes: &[String],
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let tasks = self.tasks.members_named(id, nodes, &self.inventory)?;
        if !tasks.iter().any(|task| self.tasks.is_active(*task)) {
            return Err(look::batch_has_ended(id, control, nodes.is_empty()));
        }
        // What ends something does so once; these may be asked for again and again.
        let repeats = matches!(control, Control::Suspend | Control::Resume);
        if repeats {
            self.check_disk(tasks.len())?;
        }
        let mut refusals = BTreeMap::new();
        for id in self.tasks.in_order_of_control(tasks) {
            let Some(task) = self.tasks.get(id) else {
                continue;
            };
            let held = match control {
                Control::Resume => look::check_resume(task, &self.inventory, &self.gate).err(),
                Control::Abort | Control::Cancel | Control::Rollback | Control::Suspend => None,
            };
            let ended = !task.is_active();
            let refusal = match held {
                Some(refused) => Some(refused.to_string()),
                None => {
                    let used = self.control(id, control, &who.name, at);
                    used.err().map(|refusal| refusal.to_string())
                }
            };
            // An ended task has nothing to stop or to resume, and need not say so; that it is
            // neither cancelled nor rolled back matters.
            let undoes = match control {
                Control::Cancel | Control::Rollback => true,
                Control::Abort | Control::Suspend | Control::Resume => false,
            };
            let matters = !ended || undoes;
            if let Some(refusal) = refusal.filter(|_| matters) {
                refusals.insert(id, refusal);
            }
        }
        if let Some(batch) = self.tasks.batch_mut(id) {
            batch.controlled(refusals);
        }
        self.reply_when_durable(call, Reply::Batch(id), at);
        Ok(())
    }

    /// One order outside any task. One that may change the machine is put down with who asked for
    /// it before it leaves.
    fn order(
        &mut self,
        call: CallId,
        ident: &str,
        order: Order,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let (id, node) = self.inventory.find(ident)?;
        side::check(&order, node, who, &self.snapshot(at))?;
        if order.changes_machine() {
            let (what, node) = (order.in_words(), node.settings.uuid);
            let text = format!("{what} asked for");
            self.note_order(id, text, Some(who.name.clone()), false, at);
            let order = self.ledger.enter(id, Owner::Call(call), order);
            // The rack's second host has no other way to know that this order was under way.
            if self.gate.permission.permit().is_some() {
                let (what, by) = (what.to_string(), who.name.clone());
                let at = at.wall;
                self.ledger.intend(order, &Intent { node, what, by, at });
            }
            // The entry of the history is what is to be durable first.
            self.ledger.write_ahead(order, |_| {});
            return Ok(());
        }
        let reads = order.only_reads();
        let order = self.ledger.enter(id, Owner::Call(call), order);
        if let (true, Some(node)) = (reads, self.inventory.get_mut(id)) {
            node.reads_for(order, who, &self.ledger);
        }
        self.submit(order, at);
        self.drain_node(id, at);
        Ok(())
    }

    fn set_maintenance(
        &mut self,
        call: CallId,
        ident: &str,
        hold: Option<Option<String>>,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let (id, node) = self.inventory.find(ident)?;
        holds::check_rememberable(node, &self.ledger)?;
        if let Some(node) = self.inventory.get_mut(id) {
            let uuid = node.settings.uuid;
            let effects = node.set_maintenance(hold, who, at);
            self.carry_out(id, effects, at);
            self.apply_maintenance(id, at);
            self.reply_when_durable(call, Reply::Node(uuid), at);
        }
        Ok(())
    }
}

/// Requests for so many tasks are taken however far the disk is behind, as many requests for one are.
const FEW_RECORDS: usize = 256;
