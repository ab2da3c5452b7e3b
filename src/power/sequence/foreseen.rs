//! What the first reading leads to, told before it is there: so that a task can be put down with the
//! order that follows where its machine is as it is known to be, and no second record has to be
//! durable before that order leaves.

use super::Sequence;
use super::phase::Phase;
use crate::bmc::vocabulary::{Order, OrderId, Reading, Report};
use crate::model::Power;
use crate::time::Instant;

impl Sequence {
    /// While its first reading is on its way: the power off, hard or soft, that follows at once
    /// where that reading brings `power`, and the sequence as it is put down for it, under `id`. The
    /// reading is not in it.
    ///
    /// After a crash this shows an order that may have left, though perhaps it never did. So it is
    /// for orders that are given again when the machine has been looked at, and for none that draws
    /// inrush current; and the power state of the start counts as never read, which is what a
    /// rollback says then.
    pub fn foreseen(mut self, power: Power, id: OrderId, now: Instant) -> Option<(Order, Self)> {
        let Phase::Recording(_) = self.phase else {
            return None;
        };
        let reading = self.phase.outstanding()?;
        let mut then = self.clone();
        then.handle_report(reading, Report::Accepted(Reading::Power(power)), now);
        let order = then
            .poll_order(id)
            .filter(|order| matches!(order, Order::PowerOff | Order::SoftOff))?;
        self.advance(now);
        self.phase = then.phase;
        self.knowledge.record_order(id, order.clone());
        Some((order, self))
    }
}
