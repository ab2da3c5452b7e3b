//! Ironic's surface, answered as Ironic's clients expect it. Handlers only: from a request on its
//! way to a plan.

pub mod management;
pub mod nodes;
pub mod record;
pub mod root;
pub mod sentences;
pub mod states;
pub mod target;
