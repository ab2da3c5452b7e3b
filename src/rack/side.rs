//! Orders outside any task: identify, boot device, raw commands and the like.
//!
//! Driven by `calls`; their reports come back through `run`.

use super::Rack;
use super::call::{Answer, CallId, Refused, Who};
use super::inventory::NodeId;
use super::run::{Owner, Parked};
use crate::bmc::Purpose;
use crate::bmc::vocabulary::{Delivery, Order, OrderId, Report, Trouble};
use crate::model::HistoryKind;
use crate::time::Instant;

impl Rack {
    /// One order outside any task.
    pub(super) fn order(
        &mut self,
        id: CallId,
        ident: &str,
        order: Order,
        who: &Who,
        now: Instant,
    ) -> Result<(), Refused> {
        let node = self.inventory.named(ident)?;
        let name = self.inventory[node].settings.name.clone();
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
        if let (Order::ResetBmc { .. }, Some(task)) = (&order, self.inventory[node].task) {
            // Deaf for a minute or more, in the middle of a power change.
            return Err(Refused::Locked {
                node: self.inventory[node].settings.uuid.to_string(),
                host: self.settings.name.clone(),
                task,
            });
        }
        if self.stopping {
            return Err(Refused::Stopping);
        }
        if self.inventory[node].bmc.backlog() >= CROWDED {
            return Err(Refused::Crowded(name));
        }
        log::debug!("{name}: {} for {}", order.name(), who.name);
        if order.changes_machine() {
            return self.expert_order(id, node, order, who, now);
        }
        let order_id = OrderId(self.next_order);
        self.next_order += 1;
        self.owners
            .insert(order_id, Owner::Call(id, node, order.name()));
        self.inventory[node]
            .bmc
            .submit(order_id, order, Purpose::Aside, now, &mut *self.entropy);
        self.settle(node, now);
        Ok(())
    }

    /// One that may change the machine: it is put down with who asked for it before it leaves, and waits for nothing
    /// while the rack is paused.
    fn expert_order(
        &mut self,
        call: CallId,
        node: NodeId,
        order: Order,
        who: &Who,
        now: Instant,
    ) -> Result<(), Refused> {
        self.check_pause()?;
        if let Some(trouble) = self.journal.trouble() {
            return Err(Refused::Store(trouble.to_owned()));
        }
        let id = OrderId(self.next_order);
        self.next_order += 1;
        let text = format!("{} asked for", order.in_words());
        let by = Some(who.name.clone());
        self.note_history(node, HistoryKind::Order, text, None, by, false, now);
        self.owners
            .insert(id, Owner::Expert(call, node, order.name()));
        self.journal.park(Parked::Expert(id, order));
        Ok(())
    }

    /// It is durable that the order was asked for.
    pub(super) fn submit_expert(&mut self, id: OrderId, order: Order, now: Instant) {
        // Its call may have been answered meanwhile: the rack was paused or reloaded.
        if let Some(Owner::Expert(_, node, _)) = self.owners.get(&id) {
            let node = *node;
            self.inventory[node]
                .bmc
                .submit(id, order, Purpose::Aside, now, &mut *self.entropy);
            self.settle(node, now);
        }
    }

    /// The rack is paused: what has not left by now does not leave.
    pub(super) fn take_experts_back(&mut self, now: Instant) {
        let Err(paused) = self.check_pause() else {
            return;
        };
        let experts: Vec<(OrderId, CallId, NodeId, &'static str)> = self
            .owners
            .iter()
            .filter_map(|(id, owner)| match owner {
                Owner::Expert(call, node, what) => Some((*id, *call, *node, *what)),
                _ => None,
            })
            .collect();
        for (id, call, node, what) in experts {
            self.owners.remove(&id);
            self.transmits.retain(|outgoing| outgoing.order != Some(id));
            let taken = self.inventory[node]
                .bmc
                .withdraw(id, now, &mut *self.entropy);
            let answer = match taken {
                Delivery::NotSent => paused.clone(),
                Delivery::Unknown => Refused::Unanswered {
                    node: self.inventory[node].settings.name.clone(),
                    what: what.to_owned(),
                    trouble: Trouble::Withdrawn,
                    text: "it had left when the rack was paused; its answer was not awaited".into(),
                },
            };
            let text = format!("{what}: {answer}");
            self.note_history(node, HistoryKind::Order, text, None, None, true, now);
            self.answer(call, Err(answer));
            self.settle(node, now);
        }
    }

    pub(super) fn answer_order(&mut self, call: CallId, node: NodeId, what: &str, report: Report) {
        let node = self.inventory[node].settings.name.clone();
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
}

/// Orders that may wait for one BMC before callers are sent away.
const CROWDED: usize = 32;
