//! Orders outside any task: identify, boot device, raw commands and the like: what stands against
//! one, and what its caller hears of it.

use super::call::{Answer, Refused};
use super::ledger::{Ledger, Open};
use super::node::Node;
use super::views::Snapshot;
use crate::bmc::vocabulary::{Order, OrderId, Report};
use crate::model::{Delivery, Trouble, Who};
use std::time::Duration;

/// Everything that stands against an order outside any task. One that may change the machine waits
/// for nothing while the rack is paused.
pub(super) fn check(
    order: &Order,
    node: &Node,
    who: &Who,
    rack: &Snapshot<'_>,
) -> Result<(), Refused> {
    check_order(order)?;
    if let (Order::ResetBmc { .. }, Some(task)) = (order, node.task) {
        // A BMC that restarts is deaf for a minute or more, which no power change should meet.
        return Err(node.locked(task, rack.tasks, rack.settings.conductor(), rack.at));
    }
    if rack.gate.stopping {
        return Err(Refused::Stopping);
    }
    node.check_lock(order.name())?;
    check_crowd(order, node, who, rack.ledger)?;
    log::debug!("{}: {} for {}", node.name(), order.name(), who.name);
    if !order.changes_machine() {
        return Ok(());
    }
    rack.gate.check_pause()?;
    if let Some(why) = rack.gate.permission.why(rack.at.now) {
        return Err(Refused::Unconfirmed(why));
    }
    node.check_shared(order.name())?;
    if let Order::Raw { .. } = order {
        // Nobody knows what a raw command does to the power.
        node.check_quarantine()?;
    }
    match rack.ledger.journal.trouble() {
        Some(trouble) => Err(Refused::Store(trouble.to_owned())),
        None => Ok(()),
    }
}

/// One BMC is not asked for more than it can answer, and by one caller for no more than that
/// caller's share.
fn check_crowd(order: &Order, node: &Node, who: &Who, ledger: &Ledger) -> Result<(), Refused> {
    let crowded = Err(Refused::Crowded(node.name().to_owned()));
    // Half of the BMC's queue stays free for tasks (design, section 8).
    if node.bmc.backlog() >= CROWDED {
        return crowded;
    }
    let waiting =
        |(order, reader): &&(OrderId, Who)| reader.is_same(who) && ledger.get(*order).is_some();
    if order.only_reads() && node.readers.iter().filter(waiting).count() >= READINGS_EACH {
        return crowded;
    }
    Ok(())
}

impl Node {
    /// A reading for that caller is under way.
    pub(super) fn reads_for(&mut self, order: OrderId, who: &Who, ledger: &Ledger) {
        self.readers
            .retain(|(order, _)| ledger.get(*order).is_some());
        self.readers.push((order, who.clone()));
    }
}

/// What a BMC said to an order outside tasks, for its caller.
pub(super) fn answer(open: &Open, report: Report, node: Option<&Node>) -> Result<Answer, Refused> {
    let name = node.map_or_else(String::new, |node| node.name().to_owned());
    let (node, what) = (name, open.order.name().to_owned());
    match report {
        Report::Accepted(reading) => Ok(Answer::Reading(reading)),
        // The BMC took it and reads back something else: no completion code says so.
        Report::Refused(refusal) if refusal.code == 0 => Err(Refused::NotAsAsked {
            node,
            what,
            text: refusal.text,
        }),
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
            delivery: silence.delivery,
            text: silence.text,
        }),
    }
}

/// What the caller of an order hears that was taken back.
pub(super) fn unanswered(
    open: &Open,
    delivery: Delivery,
    node: Option<&Node>,
    text: &str,
) -> Refused {
    Refused::Unanswered {
        node: node.map_or_else(String::new, |node| node.name().to_owned()),
        what: open.order.name().to_owned(),
        trouble: Trouble::Withdrawn,
        delivery,
        text: text.to_owned(),
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
        // §28.3, Chassis Control: it would change power without a record, a look or a rollback.
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
    // Rule 2: whoever asks again after silence must know that it may happen twice.
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
