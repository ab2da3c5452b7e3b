//! Ironic's surface, answered as Ironic's clients expect it. Handlers only: from a request on its
//! way to a plan.

pub(crate) mod management;
pub(crate) mod nodes;
pub(crate) mod record;
pub(crate) mod root;
pub(crate) mod sentences;
pub(crate) mod states;
pub mod target;
