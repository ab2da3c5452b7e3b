//! The HTTP API: what the daemon can be asked over its sockets and how it answers.
//!
//! [`json`] holds the types of every body, for the server and for clients alike. What they mean to the rack is decided
//! without sockets: a request becomes a call, an answer becomes a response.

pub mod json;
