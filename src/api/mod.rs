//! The HTTP API: what the daemon can be asked over its sockets and how it answers.
//!
//! The types of the bodies are those of [`model`](crate::model), but for Ironic's own shapes. What
//! they mean to the rack is decided without sockets: [`dispatch::handle`] finds the endpoint in the
//! table of [`route`] and runs its handler, which asks the rack through a [`handle::RackHandle`].
//! Only `serve` touches the world.

pub mod access;
pub(crate) mod audit;
pub(crate) mod audit_action;
pub mod dispatch;
pub(crate) mod endpoint;
pub(crate) mod events;
pub(crate) mod exposition;
pub mod fault;
pub mod handle;
pub mod ironic;
pub mod message;
pub(crate) mod openapi;
pub(crate) mod own;
pub(crate) mod readings;
pub mod route;
pub(crate) mod serve;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod version;
