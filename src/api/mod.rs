//! The HTTP API: what the daemon can be asked over its sockets and how it answers.
//!
//! [`json`] holds the types of every body, for the server and for clients alike. What they mean to the rack is decided
//! without sockets: [`plan::plan`] turns a request into a call, and the call's answer into a response. Only [`serve`]
//! touches the world.

pub mod access;
pub mod audit;
pub mod deed;
pub mod events;
pub mod fault;
pub mod ironic;
pub mod json;
pub mod message;
pub mod openapi;
pub mod own;
pub mod plan;
pub mod route;
pub mod serve;
#[cfg(test)]
mod tests;
pub mod version;
pub mod view;
