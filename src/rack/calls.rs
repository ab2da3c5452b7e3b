//! How a turn begins with what is asked: every [`Call`] leads to one answer, at once or later. So does a new configuration.
//!
//! The first step of each, put together from the parts; what follows from it is `turn`'s.

use super::batch::{self, Batch, Member};
use super::call::{Answer, Call, CallId, PowerChange, Refused};
use super::clock::Moment;
use super::inventory::NodeId;
use super::ledger::{Open, Owner, Parked, Reply};
use super::node::Memory;
use super::reload::Change;
use super::settings::{NodeSettings, RackSettings};
use super::start::{self, Request};
use super::sweeps::Asker;
use super::task::NMI_ANSWER;
use super::waits::{self, Awaited};
use super::{Rack, holds, look, orders, quarantine, reload, side};
use crate::bmc::vocabulary::Order;
use crate::model::{
    BatchId, BatchStart, Control, Delivery, EventId, EventKind, OnBusy, Operation, PowerOptions,
    TaskId, Who,
};
use crate::time::Instant;
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
        let id = self.start(
            ident,
            Operation::InjectNmi,
            &PowerOptions::default(),
            who,
            at,
        )?;
        if let Some(task) = self.tasks.get_mut(id) {
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
        if let Some(task) = start::again(node, operation, options, who, &self.tasks) {
            return Ok(task);
        }
        start::check_patience(options, self.settings.longest_timeout)?;
        match start::check(node, operation, options, &self.snapshot(at)) {
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
        self.make_task(id, &request, at)
            .ok_or_else(|| Refused::NoSuchNode(ident.to_owned()))
    }

    /// The soft operation that is asked for runs already: it turns hard when the request says, instead of another task.
    /// Whether it can.
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
        let hardens = task.sequence.harden(after, &who.name, at.now);
        if hardens {
            let name = &who.name;
            log::info!(
                "{}: {name} gives task {id} a hard power off",
                task.identity.node
            );
            self.tasks.save(id, &mut self.ledger, at);
            self.settle_task(id, at);
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
        self.settle(id, at);
    }

    /// Answers the request for a task once it is written down. It may have been asked for before, or left to another.
    fn admit(&mut self, task: TaskId, call: CallId, reply: Reply, at: Moment) {
        match self.tasks.get(task).is_some_and(|task| task.admitted) {
            true => self.reply_when_durable(call, reply, at),
            false => self.ledger.admit(vec![task], call, reply),
        }
    }

    /// Ends the task that has a node, which `start` allowed, for the sake of the one that is to have it next. When this
    /// returns, nothing more of it leaves.
    fn take_over(
        &mut self,
        id: NodeId,
        successor: TaskId,
        request: &Request<'_>,
        at: Moment,
    ) -> Option<TaskId> {
        let old = self.inventory.get(id)?.task?;
        let task = self.tasks.get_mut(old)?;
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
                .begin(call, request, who, &members, &self.inventory);
            // A dry run logs in to every BMC, reads its power state and changes nothing.
            for (slot, (node, _)) in members.into_iter().enumerate() {
                self.read_power(node, Owner::Plan(call, slot), at);
                self.settle(node, at);
            }
            return Ok(());
        }
        if let Some(batch) = self.tasks.batch_again(&request, &who) {
            self.reply_when_durable(call, Reply::Batch(batch), at);
            return Ok(());
        }
        let rack = self.snapshot(at);
        let left_out = start::check_members(&members, request.operation, &request.options, &rack)?;
        let id = self.tasks.make_id(at.wall, &mut *self.entropy);
        let mut made = Vec::new();
        for (node, rank) in members {
            let name = self.inventory.get(node).map(|node| node.name());
            if left_out.iter().any(|left| Some(left.node.as_str()) == name) {
                continue;
            }
            let request = Request {
                operation: request.operation,
                options: &request.options,
                who: &who,
                batch: Some(id),
                took_over: None,
            };
            let task = self.make_task(node, &request, at);
            if let Some(task) = task.and_then(|task| self.tasks.get(task)) {
                let (node, task) = (task.identity.node.clone(), task.identity.id);
                made.push(Member { node, task, rank });
            }
        }
        let tasks = made.iter().map(|member| member.task).collect();
        self.tasks
            .insert_batch(Batch::new(id, request, who, at.wall, made, left_out));
        self.tasks.save_batch(id, &mut self.ledger);
        self.announce(EventKind::Batch, format!("batch {id} begun"), at);
        self.ledger.admit(tasks, call, Reply::Batch(id));
        Ok(())
    }

    /// Uses a control on the tasks of a batch, or of some of its nodes. Those that do not allow it are left as
    /// they are, and the view of the batch says why. Where all of them have ended it is refused, as it is of one task.
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
            // One that has ended has nothing to stop or to go on with. It is neither withdrawn nor undone.
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

    /// One order outside any task. One that may change the machine is put down with who asked for it before it leaves.
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
            let text = format!("{} asked for", order.in_words());
            self.note_order(id, text, Some(who.name.clone()), false, at);
            let order = self.ledger.enter(id, Owner::Call(call), order);
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
        self.settle(id, at);
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

/// What keeps back: maintenance, the pause, another BMC.
impl Rack {
    /// The node's task does what the maintenance of the node, or its end, wants of it.
    pub(super) fn apply_maintenance(&mut self, id: NodeId, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        let suspends = holds::to_suspend(node, &self.tasks, &self.gate);
        let resumes = holds::to_resume(node, &self.gate, &mut self.ledger);
        if let Some((task, by)) = suspends
            && self.keep(task, &by, at)
        {
            if let Some(node) = self.inventory.get_mut(id) {
                node.memory.suspended = Some(task);
                node.save(&mut self.ledger);
            }
            self.announce_task(task, format!("suspended by {by}"), at);
        }
        if let Some(task) = resumes {
            // One that was aborted or cancelled in between has nothing to resume.
            let by = "the end of the maintenance";
            let _ = self.control(task, Control::Resume, by, at);
        }
    }

    /// Suspends a task that nobody wants to stand still for its own sake; whether that was possible.
    fn keep(&mut self, id: TaskId, by: &str, at: Moment) -> bool {
        if self.control(id, Control::Suspend, by, at).is_err() {
            return false;
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.sequence.keep(at.now);
        }
        self.tasks.save(id, &mut self.ledger, at);
        self.settle_task(id, at);
        true
    }

    fn pause(&mut self, call: CallId, reason: String, who: &Who, at: Moment) {
        self.begin_pause(reason, who, at);
        self.reply_when_durable(call, Reply::Pausing, at);
    }

    /// The big red button: every task that can stand still does, and nothing new begins.
    pub(super) fn begin_pause(&mut self, reason: String, who: &Who, at: Moment) {
        let (mut pause, text) = self.gate.take_pause(reason, who, at);
        let by = format!("{} (pause)", who.name);
        for task in self.tasks.active_ids() {
            if self.keep(task, &by, at) {
                pause.tasks.insert(task);
            }
        }
        self.announce(EventKind::Rack, text, at);
        self.gate.pause = Some(pause);
        for task in self.tasks.active_ids() {
            self.hold_back(task, at);
        }
        self.take_experts_back(at);
        self.gate.save_pause(&mut self.ledger);
    }

    /// What may change a machine and has not left by now does not leave.
    fn take_experts_back(&mut self, at: Moment) {
        let Err(paused) = self.gate.check_pause() else {
            return;
        };
        for order in self.ledger.expert_orders() {
            let Some((open, delivery)) = self.withdraw(order, at) else {
                continue;
            };
            let Owner::Call(call) = open.owner else {
                continue;
            };
            let node = self.inventory.get(open.node);
            let answer = holds::taken_back(&open, delivery, node, &paused);
            let text = format!("{}: {answer}", open.order.name());
            self.note_order(open.node, text, None, true, at);
            self.outbox.answer(call, Err(answer));
            self.settle(open.node, at);
        }
    }

    fn unpause(&mut self, call: CallId, who: &Who, at: Moment) {
        self.end_pause(who, at);
        self.reply_when_durable(call, Reply::Pausing, at);
    }

    fn end_pause(&mut self, who: &Who, at: Moment) {
        let Some(pause) = self.gate.pause.take() else {
            return;
        };
        log::warn!("the pause is ended by {}", who.name);
        self.announce(EventKind::Rack, format!("released by {}", who.name), at);
        self.gate.save_pause(&mut self.ledger);
        let by = format!("{} (release)", who.name);
        for task in pause.tasks {
            // One that was aborted or resumed by hand in between has nothing to resume.
            let _ = self.control(task, Control::Resume, &by, at);
        }
        // Rollbacks were not suspended, but held back: nothing else drives them on.
        self.unhold_returns(at);
    }

    /// Lets rollbacks go on that were held, where nothing holds them any more.
    pub(super) fn unhold_returns(&mut self, at: Moment) {
        for task in quarantine::free_returns(&self.tasks, &self.inventory) {
            self.hold_task(task, false, at);
        }
    }
}

/// A new configuration.
impl Rack {
    /// Takes a new configuration. Nodes that are new are added, changed ones take their new settings, those that are
    /// gone are dropped: their sessions are closed, and what was learned of them is kept as long as history is.
    ///
    /// # Errors
    /// A node that is gone, or whose BMC has another address, has a task: nothing is changed, and the text says what
    /// to do.
    pub fn reload(
        &mut self,
        settings: RackSettings,
        nodes: Vec<NodeSettings>,
        now: Instant,
    ) -> Result<(), String> {
        let changes = reload::changes(&self.inventory, &nodes);
        reload::check(&self.inventory, &changes)?;
        let at = self.at(now);
        self.gate.replace_settings(&settings);
        self.settings = settings;
        for (id, change) in &changes {
            if *change == Change::Gone {
                self.remove_node(*id, at);
            }
        }
        let order: Vec<Uuid> = nodes.iter().map(|node| node.uuid).collect();
        for settings in nodes {
            match self.inventory.with_uuid(settings.uuid) {
                Some(id) if changes.contains_key(&id) => self.move_node(id, settings, at),
                Some(id) => {
                    if let Some(node) = self.inventory.get_mut(id) {
                        node.change(settings, now, &mut *self.entropy);
                    }
                }
                None => {
                    let memory = self.leaving.recall(settings.uuid);
                    self.add_node(settings, memory, at);
                }
            }
        }
        self.inventory.arrange(&order);
        self.share_traces();
        for node in self.inventory.ids() {
            self.apply_maintenance(node, at);
            self.settle(node, at);
        }
        self.finish(at);
        Ok(())
    }

    pub(super) fn add_node(&mut self, settings: NodeSettings, memory: Option<Memory>, at: Moment) {
        let (inventory, ledger) = (&mut self.inventory, &mut self.ledger);
        reload::add_node(settings, memory, inventory, ledger, at);
    }

    /// Each BMC has its share of what is kept of datagrams.
    pub(super) fn share_traces(&mut self) {
        let share = TRACED_BYTES / self.inventory.len().max(1);
        let nodes = self.inventory.iter_mut();
        nodes.for_each(|node| node.bmc.limit_trace(share));
    }

    /// The node's BMC is to be found elsewhere.
    fn move_node(&mut self, id: NodeId, settings: NodeSettings, at: Moment) {
        let withdrawn = self.withdraw_side_orders(id, at);
        if let Some(node) = self.inventory.get_mut(id) {
            let old = node.moves(settings, at.now);
            node.save(&mut self.ledger);
            self.leaving.close(old, at.now, &mut *self.entropy);
        }
        self.inventory.forget_address(id);
        for (open, delivery) in withdrawn {
            // A reading is made again where the node is now; what was asked of the old BMC is not asked of another one.
            match open.owner {
                owner @ (Owner::Sync | Owner::Fresh | Owner::Plan(..)) => {
                    self.read_power(id, owner, at);
                }
                Owner::Call(_) | Owner::Task(_) => {
                    self.end_side_order(&open, Change::Moved, delivery, at);
                }
            }
        }
    }

    /// The configuration names this node no more.
    fn remove_node(&mut self, id: NodeId, at: Moment) {
        let withdrawn = self.withdraw_side_orders(id, at);
        // A dry run that this completes is to find the node gone.
        let is_look = |(open, _): &(Open, Delivery)| open.owner.is_plan();
        let (looks, others): (Vec<_>, Vec<_>) = withdrawn.into_iter().partition(is_look);
        for (open, delivery) in others {
            self.end_side_order(&open, Change::Gone, delivery, at);
        }
        self.tasks.forget_node(id);
        let entropy = &mut *self.entropy;
        let (inventory, leaving) = (&mut self.inventory, &mut self.leaving);
        reload::take_out(id, inventory, leaving, &mut self.ledger, at, entropy);
        for (open, delivery) in looks {
            self.end_side_order(&open, Change::Gone, delivery, at);
        }
    }

    /// Orders outside tasks that are under way to the node's BMC are taken back: what they were, and whether they can
    /// have arrived.
    fn withdraw_side_orders(&mut self, id: NodeId, at: Moment) -> Vec<(Open, Delivery)> {
        let orders = self.ledger.side_orders_of(id).into_iter();
        orders
            .filter_map(|order| self.withdraw(order, at))
            .collect()
    }
}

/// How many bytes are kept of the datagrams of all BMCs: of each of 4096 about 40, of each of 700 all 200.
const TRACED_BYTES: usize = 4 << 20;
