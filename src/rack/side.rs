//! Orders outside any task: identify, boot device, raw commands and the like.
//!
//! Driven by `calls`; their reports come back through `run`.

use super::Rack;
use super::call::{Answer, CallId, Refused, Who};
use super::run::Owner;
use crate::bmc::vocabulary::{Order, OrderId, Report};
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
}

/// Orders that may wait for one BMC before callers are sent away.
const CROWDED: usize = 32;
