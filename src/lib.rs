//! rackbmcd: a light per-rack daemon that presses the power buttons of machines that matter.

pub mod api;
pub mod bmc;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod entropy;
pub mod ipmi;
pub mod nodeset;
pub mod power;
pub mod rack;
pub mod session;
pub mod sim;
pub mod time;
