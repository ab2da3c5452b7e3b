//! The rack: inventory, scheduling, tasks, batches, polling, journal records, history.

pub mod call;
pub mod record;
pub mod settings;
