//! What the tests of several verbs look at.

use crate::model::{Node, NodeDetail, Power, PowerReading, PowerState};
use crate::time::WallTime;
use std::time::Duration;

/// A node that is shown as `power_state` and was read as on `age` seconds ago.
pub(super) fn node(name: &str, power_state: PowerState, age: f64) -> Node {
    Node {
        name: name.into(),
        power_state,
        rackbmcd: NodeDetail {
            reading: Some(PowerReading {
                power_state: Power::On.into(),
                at: WallTime::default(),
                age: Duration::from_secs_f64(age),
            }),
            ..NodeDetail::default()
        },
        ..Node::default()
    }
}
