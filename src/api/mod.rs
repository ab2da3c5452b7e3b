//! The HTTP API: what the daemon can be asked over its sockets and how it answers.
//!
//! The types of the bodies are those of [`model`](crate::model), but for Ironic's own shapes. What they mean to the rack
//! is decided without sockets: [`plan::plan`] turns a request into a call, and the call's answer into a response. Only [`serve`]
//! touches the world.

pub mod access;
pub mod audit;
pub mod deed;
pub mod events;
pub mod fault;
pub mod ironic;
pub mod message;
pub mod openapi;
pub mod own;
pub mod plan;
pub mod route;
pub mod serve;
#[cfg(test)]
mod tests;
pub mod version;
