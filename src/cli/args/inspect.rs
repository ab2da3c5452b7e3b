//! What may be written for the verbs that look: status, tasks, events, watch, check, history.

use super::{Nodes, duration};
use crate::cli::complete;
use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use std::time::Duration;

/// `racks`.
#[derive(Args, Debug)]
pub(crate) struct Racks {
    /// Which of them: r7, r[1-20].
    #[arg(value_name = "RACKS", add = ArgValueCompleter::new(complete::racks))]
    pub racks: Vec<String>,
}

/// `status`.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Status {
    /// Of which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Read the power state from the BMCs now, instead of showing the last reading.
    #[arg(short, long)]
    pub fresh: bool,
    /// With -o json or yaml: Ironic's whole record of each node, instead of the ten facts that
    /// people want.
    #[arg(long)]
    pub full: bool,
}

/// `tasks`.
#[derive(Args, Debug)]
pub(crate) struct Tasks {
    /// Of which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Only those that have not ended.
    #[arg(long, visible_alias = "running")]
    pub active: bool,
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    pub limit: u32,
}

/// `task`.
#[derive(Args, Debug)]
pub(crate) struct TaskShow {
    /// Task id, or a node: the task that has it, else its last.
    #[arg(add = ArgValueCompleter::new(complete::tasks))]
    pub task: String,
    /// Wait until it has ended, but no longer than DURATION.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = duration)]
    pub wait: Option<Option<Duration>>,
}

/// `batch`.
#[derive(Args, Debug)]
pub(crate) struct BatchShow {
    /// Batch id.
    #[arg(add = ArgValueCompleter::new(complete::batches))]
    pub batch: Option<String>,
    /// Wait until it has ended, but no longer than DURATION.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = duration)]
    pub wait: Option<Option<Duration>>,
}

/// `events`.
#[derive(Args, Debug)]
pub(crate) struct Events {
    /// Of which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Go on after this event.
    #[arg(long, value_name = "ID")]
    pub since: Option<String>,
    /// End when so long nothing has happened.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub idle: Option<Duration>,
}

/// `watch`.
#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// Which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Time between two looks at the daemon.
    #[arg(long, short = 'n', value_name = "DURATION", value_parser = duration, default_value = "1s")]
    pub interval: Duration,
}

/// `check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Which nodes; all where none is named.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Critical where a node is in another state.
    #[arg(long, value_enum, value_name = "STATE")]
    pub expect: Option<OnOff>,
    /// Warn where a reading is older.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m")]
    pub max_age: Duration,
    /// Critical where the daemon does not answer in time. NRPE itself gives up after 10 s.
    #[arg(short, long, value_name = "DURATION", value_parser = duration, default_value = "8s")]
    pub timeout: Duration,
}

/// On or off.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnOff {
    /// Power on.
    On,
    /// Power off.
    Off,
}

/// `history`.
#[derive(Args, Debug)]
pub(crate) struct History {
    /// Of which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// At most so many entries for each node.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
}
