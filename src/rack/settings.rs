//! What the configuration tells a rack and its nodes: plain data, complete, with every default
//! already filled in.
//!
//! Made by `config` (or by a test), read by `rack` and `bmc`. Nothing here checks anything: a value
//! that stands here was found good where it was typed.

use crate::bmc::Care;
use crate::model::Trouble;
use crate::{power, session};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What concerns the rack as a whole.
#[derive(Clone, PartialEq, Debug)]
pub struct RackSettings {
    /// The rack's name, shown wherever a node is.
    pub name: Arc<str>,
    /// How often the power state of an idle node is read.
    pub sync_interval: Duration,
    /// The host that owns the rack, where it has several: the shell knows.
    pub owner: Option<Arc<str>>,
    /// The least time between two power-ons of the rack.
    pub power_on_stagger: Duration,
    /// Power-ons and cycles under way at once, rack-wide; at least 1.
    pub max_transitions: u32,
    /// Groups in the order in which batches that name none switch on, storage before compute, say;
    /// they switch off in the reverse. Nodes of none of them come last, and first on the way off.
    pub power_order: Vec<String>,
    /// After so many failed readings in a row a node is marked with a fault; at least 1.
    pub fault_after: u32,
    /// The longest patience that a request may name.
    pub longest_timeout: Duration,
    /// How long ended tasks, batches and the history of nodes are remembered.
    pub history_keep: Duration,
    /// Entries of history that are kept per node, the newest ones; at least 1.
    pub history_entries: u32,
    /// What maintenance of a node means for requests.
    pub maintenance_policy: MaintenancePolicy,
    /// Datagrams that may leave within a millisecond, beside those that an operation waits for; at
    /// least 1.
    pub packets_per_ms: u32,
    /// Whether a rack of which no journal is there yet begins paused.
    pub start_paused: bool,
}

impl Default for RackSettings {
    fn default() -> Self {
        Self {
            name: "rack".into(),
            sync_interval: Duration::from_secs(60),
            owner: None,
            power_on_stagger: Duration::from_millis(500),
            max_transitions: 16,
            power_order: Vec::new(),
            fault_after: 3,
            // Rule 6: every task ends. Before there was a limit, a
            // timeout of 31,000 years was taken.
            longest_timeout: Duration::from_secs(30 * 24 * 3600),
            history_keep: Duration::from_secs(30 * 24 * 3600),
            history_entries: 1000,
            maintenance_policy: MaintenancePolicy::Allow,
            packets_per_ms: 50,
            start_paused: false,
        }
    }
}

impl RackSettings {
    /// The same at the host of that name.
    pub fn owned_by(self, host: &str) -> Self {
        let owner = Some(host.into());
        Self { owner, ..self }
    }

    /// Who has the nodes, as Ironic's clients are told it: the host that owns the rack; where it
    /// has one host, the rack.
    pub fn conductor(&self) -> &str {
        self.owner.as_deref().unwrap_or(&self.name)
    }
}

/// What maintenance of a node means for requests that change its power.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MaintenancePolicy {
    /// Such requests are refused, with the reason of the maintenance, and so is a resume. A task
    /// that has not begun yet is suspended, and waits for its place again when the maintenance
    /// ends; one that runs goes on.
    Block,
    /// Such requests are carried out, as Ironic does it: whoever works on a machine switches it.
    #[default]
    Allow,
}

/// What concerns one node.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeSettings {
    /// Its name: letters, digits, `-`, `_` and `.`; unique in the rack.
    pub name: Arc<str>,
    /// Its uuid, unique in the rack.
    pub uuid: Uuid,
    /// The groups it is in, sorted.
    pub groups: Arc<[String]>,
    /// Where its BMC is.
    pub address: Address,
    /// How its BMC is logged in to. Nodes with the same share it: there may be thousands.
    pub login: Arc<session::Settings>,
    /// How its BMC is spared; shared likewise.
    pub care: Arc<Care>,
    /// How patient its operations are; shared, too.
    pub power: Arc<power::Settings>,
    /// Whether an NMI may be injected.
    pub nmi: bool,
    /// The least time between two NMIs.
    pub nmi_min_interval: Duration,
}

/// Where a BMC is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// A host name, an IPv4 or an IPv6 address (without brackets).
    pub host: Arc<str>,
    /// The UDP port; not 0.
    pub port: u16,
}

/// What is remembered of refused log-ins while no daemon runs, so that a look at the BMCs counts as
/// a life of it does (design, rule 10).
pub trait Refusals {
    /// How many log-ins with the node's present credentials were refused in a row, and what was
    /// said last.
    ///
    /// # Errors
    /// The number cannot be known, in words: then no log-in is to be tried.
    fn of(&mut self, node: &NodeSettings) -> Result<Option<(u32, String)>, String>;

    /// Puts down how a log-in went: what it was refused for, if it was.
    ///
    /// # Errors
    /// The log-in could not be put down, in words.
    fn note(&mut self, node: &NodeSettings, refused: Option<(Trouble, &str)>)
    -> Result<(), String>;
}
