//! Sequences: the pure state machine behind every power operation, its controls and its rollback.
//!
//! Driven by `rack`, one [`Sequence`] per task and node. After every call that takes the time,
//! drain it in this order: [`Sequence::withdrawn`] (orders that must not leave any more),
//! [`Sequence::poll_order`] (at most one order is outstanding), then sleep until
//! [`Sequence::poll_timeout`]. Speaks orders and reports only: no IPMI, no nodes, no sockets, no
//! journal. What it must not forget is in [`Saved`], and in [`SequenceRecord`] as the journal keeps
//! it.

mod earlier;
mod outcome;
mod progress;
mod saved;
mod sequence;
mod settings;
pub(crate) mod stored;
#[cfg(test)]
mod tests;

pub use earlier::Earlier;
pub(crate) use earlier::take_effect;
pub use outcome::{Outcome, Sent};
pub use progress::Progress;
pub use saved::Saved;
pub use sequence::{Refusal, RefusalKind, Sequence};
pub use settings::{Boot, Settings};
pub use stored::SequenceRecord;

use crate::bmc::vocabulary::Order;
use crate::model::Operation;

/// The order that an operation needs and that some BMCs do not have; every BMC switches on and off.
pub(crate) fn special_order(operation: Operation) -> Option<Order> {
    match operation {
        Operation::SoftPowerOff | Operation::SoftReboot => Some(Order::SoftOff),
        Operation::InjectNmi | Operation::Reset | Operation::Cycle => pulse(operation),
        Operation::PowerOn | Operation::PowerOff | Operation::Reboot => None,
    }
}

/// The pulse that an operation is made of, where it is one.
pub(crate) fn pulse(operation: Operation) -> Option<Order> {
    match operation {
        Operation::InjectNmi => Some(Order::Nmi),
        Operation::Reset => Some(Order::Reset),
        Operation::Cycle => Some(Order::Cycle),
        Operation::PowerOn
        | Operation::PowerOff
        | Operation::Reboot
        | Operation::SoftPowerOff
        | Operation::SoftReboot => None,
    }
}
