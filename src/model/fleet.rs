//! What a rack says of itself to those who look at many: published in etcd, and as old as it says.

use super::words::Word;
use super::{
    BmcHealth, BmcSummary, Health, Hold, Node, NodeDetail, Power, PowerReading, PowerState, Target,
    TaskId, stamp,
};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A summary of a rack: `<prefix>/1/fleet/summary/<rack>`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RackSummary {
    /// When this was so.
    #[serde(with = "stamp")]
    pub at: WallTime,
    /// The host that has the rack.
    pub host: String,
    /// Where that host's API is, where it says so.
    pub url: Option<String>,
    /// Its tenure, where the rack has several hosts.
    pub fence: Option<u64>,
    /// The daemon and its counts: `GET /healthz`.
    pub health: Health,
    /// The groups, each with its nodes as a node set.
    pub groups: BTreeMap<String, String>,
    pub nodes: Vec<NodeSummary>,
}

/// A node in a summary. In JSON it is an array of its members in this order: of a thousand racks
/// that is megabytes less.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct NodeSummary {
    pub name: Arc<str>,
    pub uuid: Uuid,
    /// The power state shown.
    pub power_state: PowerState,
    /// The last reading of the power state, and when that was.
    pub reading: Option<(Word<Power>, WallTime)>,
    /// What a running task leads to.
    pub target_power_state: Option<Word<Target>>,
    /// The task that has the node.
    pub task: Option<TaskId>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// The BMC's host name or address.
    pub address: Arc<str>,
    /// Its UDP port.
    pub port: u16,
    /// How it is with it.
    pub bmc: Word<BmcHealth>,
    /// The trouble with it in words.
    pub trouble: Option<String>,
    /// The maintenance hold.
    pub maintenance: Option<Hold>,
}

type Row = (
    Arc<str>,
    Uuid,
    PowerState,
    Option<(Word<Power>, u64)>,
    Option<Word<Target>>,
    Option<TaskId>,
    Option<String>,
    Arc<str>,
    u16,
    Word<BmcHealth>,
    Option<String>,
    Option<Hold>,
);

impl From<NodeSummary> for Row {
    fn from(node: NodeSummary) -> Self {
        let seconds = |(power, at): (Word<Power>, WallTime)| (power, at.unix_micros() / 1_000_000);
        (
            node.name,
            node.uuid,
            node.power_state,
            node.reading.map(seconds),
            node.target_power_state,
            node.task,
            node.last_error,
            node.address,
            node.port,
            node.bmc,
            node.trouble,
            node.maintenance,
        )
    }
}

impl From<Row> for NodeSummary {
    fn from(row: Row) -> Self {
        let micros = |(power, at): (Word<Power>, u64)| {
            let at = WallTime::from_unix_micros(at.saturating_mul(1_000_000));
            (power, at)
        };
        Self {
            name: row.0,
            uuid: row.1,
            power_state: row.2,
            reading: row.3.map(micros),
            target_power_state: row.4,
            task: row.5,
            last_error: row.6,
            address: row.7,
            port: row.8,
            bmc: row.9,
            trouble: row.10,
            maintenance: row.11,
        }
    }
}

impl From<Node> for NodeSummary {
    fn from(node: Node) -> Self {
        let ours = node.rackbmcd;
        Self {
            name: node.name,
            uuid: node.uuid,
            power_state: node.power_state,
            reading: ours.reading.map(|read| (read.power_state, read.at)),
            target_power_state: node.target_power_state,
            task: ours.task,
            last_error: node.last_error,
            address: ours.bmc.address,
            port: ours.bmc.port,
            bmc: ours.bmc.health,
            trouble: ours.bmc.trouble_text,
            maintenance: ours.maintenance,
        }
    }
}

impl NodeSummary {
    /// The node as far as it is known from this, at a moment of the reader's calendar.
    pub fn shown(self, rack: Arc<str>, groups: Arc<[String]>, now: WallTime) -> Node {
        let reading = self.reading.map(|(power_state, at)| PowerReading {
            power_state,
            at,
            age: now.since(at),
        });
        Node {
            name: self.name,
            uuid: self.uuid,
            power_state: self.power_state,
            target_power_state: self.target_power_state,
            last_error: self.last_error,
            rackbmcd: NodeDetail {
                rack,
                groups,
                task: self.task,
                reading,
                maintenance: self.maintenance,
                bmc: BmcSummary {
                    address: self.address,
                    port: self.port,
                    health: self.bmc,
                    trouble_text: self.trouble,
                    ..BmcSummary::default()
                },
                ..NodeDetail::default()
            },
            ..Node::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_in_a_summary_is_an_array_and_reads_back() {
        let text = r#"["n01","00000000-0000-0000-0000-000000000001","power on",["on",1000],null,null,null,"192.0.2.1",623,"ready",null,null]"#;
        let read: NodeSummary = serde_json::from_str(text).expect("a node");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
        let now = WallTime::from_unix_micros(1_090_000_000);
        let node = read.clone().shown("r7".into(), Arc::default(), now);
        assert_eq!(&*node.name, "n01");
        assert_eq!(node.power_state, PowerState::On);
        let reading = node.rackbmcd.reading.as_ref().expect("a reading");
        assert_eq!(reading.age.as_secs(), 90);
        assert_eq!(NodeSummary::from(node), read);
    }
}
