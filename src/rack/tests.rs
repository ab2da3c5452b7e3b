//! What the unit tests of the parts are made of.

use super::batch::{BatchRecord, Member};
use super::clock::Moment;
use super::gate::Pause;
use super::inventory::Inventory;
use super::node::{Memory, Node};
use super::settings::{Address, NodeSettings};
use super::task::{Identity, Task};
use crate::bmc::Outgoing;
use crate::bmc::vocabulary::OrderId;
use crate::model::{self, BatchId, OnFailure, Operation, TaskId, Who};
use crate::power::{self, Sequence};
use crate::session::Settings;
use crate::session::secret::Password;
use crate::time::{Instant, WallTime};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A second on both clocks.
pub(super) fn at(second: u64) -> Moment {
    Moment::new(
        Instant::after_start(secs(second)),
        WallTime::from_unix_micros(1_790_000_000_000_000) + secs(second),
    )
}

pub(super) fn id(number: u128) -> TaskId {
    Uuid::from_u128(number)
}

/// A node `n01`, `n02`, ... that nobody has read.
pub(super) fn node(place: usize) -> Node {
    let settings = NodeSettings {
        name: format!("n{:02}", place + 1).into(),
        uuid: Uuid::from_u128(0x7ac4_0000 + place as u128),
        groups: Arc::default(),
        address: Address {
            host: format!("10.0.1.{}", place + 1).into(),
            port: 623,
        },
        login: Arc::new(Settings::new(
            "admin",
            Password::new(*b"secret").expect("short"),
        )),
        power: Arc::default(),
        care: Arc::default(),
        nmi: true,
        nmi_min_interval: secs(60),
    };
    Node::new(settings, Memory::default(), at(0))
}

pub(super) fn inventory(count: usize) -> Inventory {
    let mut inventory = Inventory::default();
    for place in 0..count {
        inventory.add(node(place));
    }
    inventory
}

/// A task that was asked for and is not durable yet, on the first node of an inventory.
pub(super) fn task(number: u128, operation: Operation) -> Task {
    let node = inventory(1).ids()[0];
    let identity = Identity {
        id: id(number),
        node: "n01".to_owned(),
        node_uuid: Uuid::from_u128(0x7ac4_0000),
        batch: None,
        operation,
        requested_by: Who::default(),
        requested_at: at(0).wall,
        started_at: None,
        ended_at: None,
        version: 0,
        controls: Vec::new(),
        controls_left_out: 0,
        took_over: None,
        taken_over_by: None,
    };
    Task::new(
        identity,
        node,
        Sequence::new(operation, power::Settings::default()),
    )
}

/// A batch of the tasks 1, 2, ... with these ranks.
pub(super) fn batch_record(
    batch: BatchId,
    max_parallel: u32,
    stagger: Duration,
    on_failure: OnFailure,
    ranks: &[usize],
) -> BatchRecord {
    let member = |(number, rank): (u128, &usize)| Member {
        node: format!("n{number:02}"),
        task: id(number),
        rank: *rank,
    };
    BatchRecord {
        id: batch,
        operation: Operation::PowerOff,
        requested_by: Who::default(),
        requested_at: at(0).wall,
        ended_at: None,
        max_parallel,
        stagger,
        on_failure,
        members: (1..).zip(ranks).map(member).collect(),
        left_out: Vec::new(),
        stopped: false,
    }
}

pub(super) fn pause() -> Pause {
    Pause {
        hold: model::Hold {
            reason: Some("smoke".to_owned()),
            by: "alice".to_owned(),
            since: at(0).wall,
        },
        tasks: BTreeSet::new(),
    }
}

/// A datagram of an order.
pub(super) fn outgoing(order: u64, byte: u8) -> Outgoing {
    Outgoing {
        to: "10.0.1.1:623".parse().expect("an address"),
        port: 1,
        datagram: vec![byte],
        order: Some(OrderId(order)),
        urgent: false,
        changes: false,
    }
}
