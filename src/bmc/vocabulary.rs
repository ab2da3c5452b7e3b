//! The words between the rooms above (`power`, `rack`) and one BMC: what is asked ([`Order`]) and
//! the one answer that every order brings ([`Report`]). No word of IPMI in here, so that another
//! way to a BMC could stand behind it.

mod order;
mod report;

pub use order::{Effect, Order, OrderId, PowerOrder, Repeat, Route};
pub use report::{
    EventLogEntry, Reading, Refusal, RefusalKind, Report, STILL_TRYING, Sign, Silence, lasting,
};
