//! Sequences: the pure state machine behind every power operation, its controls and its rollback.
//!
//! Driven by `rack`, one [`Sequence`] per task and node. After every call that takes the time,
//! drain it in this order: [`Sequence::withdrawn`] (orders that must not leave any more),
//! [`Sequence::poll_order`] (at most one order is outstanding), then sleep until
//! [`Sequence::poll_timeout`]. Speaks orders and reports only: no IPMI, no nodes, no sockets, no
//! journal. What it must not forget is in [`Saved`], and in [`SequenceRecord`] as the journal keeps
//! it.
//!
//! # A sequence in virtual time
//!
//! A machine that is on and does as it is told, and waits that take no time:
//!
//! ```
//! use rackbmcd::bmc::vocabulary::{Order, OrderId, Reading, Report};
//! use rackbmcd::model::{Operation, Power, TaskState};
//! use rackbmcd::power::{Sequence, Settings};
//! use rackbmcd::time::Instant;
//!
//! let mut machine = Power::On;
//! let mut asked = Vec::new();
//! let mut now = Instant::START;
//! let mut sequence = Sequence::new(Operation::PowerOff, Settings::default());
//! sequence.begin(now);
//! while sequence.outcome().is_none() {
//!     let id = OrderId(asked.len() as u64);
//!     match sequence.poll_order(id) {
//!         Some(order) => {
//!             let reading = match order {
//!                 Order::ReadPower => Reading::Power(machine),
//!                 Order::PowerOff => {
//!                     machine = Power::Off;
//!                     Reading::Done
//!                 }
//!                 other => panic!("nobody asked for {other:?}"),
//!             };
//!             asked.push(order);
//!             sequence.handle_sent(id, now);
//!             sequence.handle_report(id, Report::Accepted(reading), now);
//!         }
//!         // Nothing to say: the next moment that matters is now.
//!         None => {
//!             now = sequence.poll_timeout().expect("it goes on");
//!             sequence.handle_timeout(now);
//!         }
//!     }
//! }
//! assert_eq!(sequence.outcome().unwrap().state, TaskState::Succeeded);
//! // It looks, switches off, and looks twice, for one reading may be an old one.
//! assert_eq!(asked, [Order::ReadPower, Order::PowerOff, Order::ReadPower, Order::ReadPower]);
//! ```

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
