//! Orders outside any task: identify, boot device, raw commands and the like. Their reports come back in the turn.

use super::Rack;
use super::call::{CallId, Refused, Who};
use super::clock::Moment;
use super::ledger::Owner;
use crate::bmc::vocabulary::{Delivery, Order, OrderId, Report};
use std::time::Duration;

impl Rack {
    /// One order outside any task. One that may change the machine is put down with who asked for it before it leaves,
    /// and waits for nothing while the rack is paused.
    pub(super) fn order(
        &mut self,
        call: CallId,
        ident: &str,
        order: Order,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let id = self.inventory.named(ident)?;
        check_order(&order)?;
        let node = self.inventory.get(id);
        let node = node.ok_or_else(|| Refused::NoSuchNode(ident.to_owned()))?;
        if let (Order::ResetBmc { .. }, Some(task)) = (&order, node.task) {
            // Deaf for a minute or more, in the middle of a power change.
            return Err(node.locked(task, &self.tasks, &self.settings.name, at));
        }
        if self.gate.stopping {
            return Err(Refused::Stopping);
        }
        let name = &node.settings.name;
        if node.bmc.backlog() >= CROWDED {
            return Err(Refused::Crowded(name.clone()));
        }
        let waiting = |(order, reader): &&(OrderId, String)| {
            *reader == who.name && self.ledger.get(*order).is_some()
        };
        if order.only_reads() && node.readers.iter().filter(waiting).count() >= READINGS_EACH {
            return Err(Refused::Crowded(name.clone()));
        }
        log::debug!("{name}: {} for {}", order.name(), who.name);
        if !order.changes_machine() {
            let reads = order.only_reads();
            let order = self.ledger.enter(id, Owner::Call(call), order);
            if let (true, Some(node)) = (reads, self.inventory.get_mut(id)) {
                let ledger = &self.ledger;
                node.readers
                    .retain(|(order, _)| ledger.get(*order).is_some());
                node.readers.push((order, who.name.clone()));
            }
            self.submit(order, at);
            self.settle(id, at);
            return Ok(());
        }
        self.gate.check_pause()?;
        if let Order::Raw { .. } = order {
            // Nobody knows what it does to the power.
            node.check_quarantine()?;
        }
        if let Some(trouble) = self.ledger.journal.trouble() {
            return Err(Refused::Store(trouble.to_owned()));
        }
        let text = format!("{} asked for", order.in_words());
        self.note_order(id, text, Some(who.name.clone()), false, at);
        let order = self.ledger.enter(id, Owner::Call(call), order);
        // The entry of the history is what is to be durable first.
        self.ledger.write_ahead(order, |_| {});
        Ok(())
    }
}

/// Some orders are not for this way.
fn check_order(order: &Order) -> Result<(), Refused> {
    if order.changes_power() {
        let name = order.name();
        return Err(Refused::Invalid(format!(
            "{name} is a task: start it as one"
        )));
    }
    if let Order::Identify(Some(lasting)) = order
        && *lasting > LONGEST_BLINK
    {
        return Err(Refused::Invalid(format!(
            "the identify light blinks for at most {} s, or until further notice",
            LONGEST_BLINK.as_secs()
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
    Ok(())
}

/// The report of an order that may change the machine, with what its silence means.
pub(super) fn told(order: &Order, report: Report) -> Report {
    let Report::Unanswered(mut silence) = report else {
        return report;
    };
    let meaning = match (silence.delivery, order) {
        (Delivery::NotSent, _) => "nothing was sent",
        (Delivery::Unknown, Order::ResetBmc { .. }) => {
            "it may have arrived: a BMC that restarts at once does not answer"
        }
        (Delivery::Unknown, _) => "it may have arrived, and been carried out",
    };
    silence.text = format!("{}; {meaning}", silence.text);
    Report::Unanswered(silence)
}

/// What the one byte of Chassis Identify holds (IPMI v2.0 rev 1.1 §28.5).
const LONGEST_BLINK: Duration = Duration::from_secs(255);
/// Readings that may wait for one BMC and one user: a BMC is read no faster by asking more often.
const READINGS_EACH: usize = 2;
/// Orders that may wait for one BMC before callers are sent away.
const CROWDED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bmc::vocabulary::Route;

    fn raw(net_fn: u8, command: u8, data: &[u8]) -> Order {
        Order::Raw {
            net_fn,
            lun: 0,
            command,
            data: data.to_vec(),
            route: Route::Direct,
        }
    }

    #[test]
    fn what_changes_power_is_a_task_also_where_it_is_spelled_out() {
        assert!(check_order(&Order::PowerOff).is_err());
        assert!(check_order(&Order::Nmi).is_err());
        assert!(check_order(&raw(0, 2, &[0])).is_err());
        assert_eq!(check_order(&raw(0, 1, &[])), Ok(()));
        assert_eq!(check_order(&Order::ResetBmc { cold: true }), Ok(()));
    }
}
