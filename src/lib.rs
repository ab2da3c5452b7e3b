//! rackbmcd: a light per-rack daemon that presses the power buttons of machines that matter. This
//! page is the map of the house.
//!
//! # Rooms, and who may name whom
//!
//! | room | what it is | may name |
//! | --- | --- | --- |
//! | [`time`], [`entropy`] | our `Instant` and our randomness: all that the core knows of the outside | nothing |
//! | [`model`] | the words: what is asked, shown and remembered by name, as the API writes it; no behaviour | only `time` |
//! | [`nodeset`] | `r1n[01-16,20]`: names of nodes as operators write them | nothing |
//! | `base64` | bytes as text and back | nothing |
//! | [`etcd`] | what is said to etcd and what it says, as values; no socket | only `base64` |
//! | `http_client` | one connection to somebody who speaks HTTP, with TLS where that is wanted | nothing |
//! | `etcd_client` | the way to etcd: its members one after another, and who we are to them | `etcd`, `http_client` |
//! | `host` | what there is to know of this host and process for a report | nothing |
//! | [`ipmi`] | the wire: bytes and values, one file per command | the open rooms |
//! | [`session`] | one RMCP+ or IPMI 1.5 session, sans-IO: handshake, keys, sealing, windows, retransmission | `ipmi` |
//! | [`bmc`] | one BMC: session upkeep, pacing, breaker | `session`, `ipmi` |
//! | [`bmc::vocabulary`] | orders and reports: no word of IPMI, for `power` and `rack` would hear it | the open rooms |
//! | [`power`] | sequences: pure state machines, controls, rollback | `bmc::vocabulary` |
//! | [`rack`] | one value: inventory, tasks, batches, scheduling, polling, journal records, history; carries log-ins through as a whole | `bmc`, `power`, `session::Settings`, `session::settings`, `session::secret`, `session::Undeliverable` |
//! | [`rack::settings`] | the settings of a node, with those of its session, which the rest of `rack` does not look into | `rack`, `bmc`, `power`, `session` |
//! | [`tenure`] | which of a rack's hosts may change its machines: one host's state machine over etcd; no socket, no clock | `etcd`, `rack::record`, `rack::stored` |
//! | [`keeper`] | one host of a rack that has several: its tenure, and the rack while that is its own | `tenure`, `etcd`, `rack`, `bmc` |
//! | [`config`] | TOML as typed to settings as meant, every mistake with its place | `rack`, `power`, `bmc`, `session`, `ipmi`, `nodeset`, `etcd`, `http_client` |
//! | [`api`] | HTTP: handlers are pure but for waiting for the rack; `serve` does the sockets | `rack`, `power`, `bmc::vocabulary`, `config`, `nodeset`, `base64` |
//! | [`daemon`] | the shell: clock, sockets, signals, randomness, store | `host`, `http_client`, `config`, `etcd`, `etcd_client`, `tenure`, `keeper`, `api`, `rack`, `power`, `bmc`, `session`, `ipmi`, `nodeset` |
//! | [`sim`] | simulated BMCs, machines and unkind links, written from the BMC's side | only `time`, `entropy` |
//! | [`cli`] | `rackbmc`: a client like any other | `api::audit`, `api::ironic::target`, `nodeset`, `base64`, `http_client` |
//! | `cli::check_bmcs` | the BMCs of a configuration are looked at | `cli`, `config`, `ipmi`, `rack::settings` |
//! | `cli::setup` | a first configuration, as the daemon would take it | `cli`, `config` |
//! | `cli::discover` | a network is asked for its BMCs | `cli`, `session`, `ipmi` |
//! | `cli::sim`, `cli::demo` | commands that carry a simulated rack with them | `cli`, `api`, `sim`, `ipmi` |
//! | `cli::fleet` | many racks from one prompt: their daemons asked side by side | `cli`, `config`, `nodeset`, `http_client`, `etcd`, `etcd_client`, `tenure` |
//! | `cli::support` | what is packed for a report, also where no daemon runs | `cli`, `config`, `host` |
//!
//! The open rooms are `time`, `entropy` and `model`. The core rooms have no clock, socket, file,
//! randomness or `async`. `tests/rooms.rs` reads this table and holds the source to it.
//!
//! # The journey of one request
//!
//! `PUT /v1/nodes/r1n03/states/power {"target": "soft power off"}` comes in at `api::serve`,
//! becomes a [`rack::call::Call`] and goes over a channel to the one task that owns the
//! [`rack::Rack`] (`daemon::shell`). The rack checks it, makes a task with a [`power::Sequence`],
//! and puts its record down; when the journal is durable the caller has its 202 and the scheduler
//! may begin. The sequence begins with a reading, which left beside the writing of the record, then
//! asks for the soft power off: that order is journaled again, and only when this is durable it
//! goes to the node's [`bmc::Bmc`].
//!
//! # The journey of one packet
//!
//! The `Bmc` opens its [`session::Session`] where there is none, translates the order into a
//! command and hands it over; the session seals it and gives a datagram, which the shell sends in
//! one batch with those of other BMCs. The reply comes back through a reader of that socket, is
//! found by its address, verified, decrypted, matched to its request, and returns as the one
//! `Report` of the order. The sequence decides what is next; every step that matters is a record,
//! an event and a new version of the task.
//!
//! An abort goes the same way in, and nothing of the task goes out any more before it is answered:
//! whatever waits in the journal, in the queues or for a resend is withdrawn in the same turn.

pub mod api;
pub(crate) mod base64;
pub mod bmc;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod entropy;
pub mod etcd;
pub(crate) mod etcd_client;
#[cfg(test)]
#[path = "../tests/golden/mod.rs"]
mod golden;
pub(crate) mod host;
pub(crate) mod http_client;
pub mod ipmi;
pub mod keeper;
pub mod model;
pub mod nodeset;
pub mod power;
pub mod rack;
pub mod session;
pub mod sim;
pub mod tenure;
pub mod time;
