//! The managed-system side: simulated BMCs with machines behind them, and unkind links. For tests
//! in virtual time, benches, `rackbmc sim` and `rackbmc demo`.
//!
//! Sans-IO: datagrams and the time go in, datagrams come out; randomness comes from a seed. It is a
//! second reading of the specification on purpose: it shares no code with the engine it is spoken
//! to by, not even the codecs, and is proved by the stock clients (`tests/sim_clients.rs`), so that
//! a misunderstanding on one side cannot hide on the other.
//!
//! * [`Bmc`]: one BMC ([`BmcSettings`]) in its [`Mood`], with its [`Host`]; inside it `plus`
//!   (RMCP+), `version15` (IPMI 1.5), `command` (what is asked), `session` (the table), `crypto`
//!   and `wire` (bytes).
//! * [`Link`]: loss, copies, disorder, delay, damage.
//! * [`Rack`]: many of both in one virtual time.

mod bmc;
mod boot_options;
mod command;
mod crypto;
mod event_log;
mod host;
mod link;
mod mood;
mod openbmc;
mod plus;
mod rack;
mod satellite;
mod session;
mod settings;
mod version15;
mod wire;

#[cfg(test)]
mod tests;

pub use bmc::{Bmc, Counters};
pub use boot_options::BootOptions;
pub use event_log::EventLog;
pub use host::{By, ChassisOrder, Effect, Executed, Host, Identify, PowerChange, RestorePolicy};
pub use link::{Conditions, Direction, Link, Mishap};
pub use mood::{
    Babble, BootMood, CommandRefusal, EarlyOn, LogMood, Mood, NmiEffect, OsMood, OtherAnswer,
    Pointless, Quirks, Refusal, Repeated,
};
pub use openbmc::{Ipmid, OpenBmc};
pub use rack::{Delivery, Rack};
pub use satellite::Satellite;
pub use settings::{BmcSettings, Privilege, User, guid_of};

/// The numbers of the cipher suites that a simulated BMC can speak.
pub fn cipher_suites() -> impl Iterator<Item = u8> {
    crypto::Suite::all().map(|suite| suite.id)
}
