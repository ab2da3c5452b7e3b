//! What the machines did, against what was asked of them.

use super::Watch;
use crate::world::{World, name, secs};
use rackbmcd::bmc::vocabulary::Order;
use rackbmcd::model::TaskId;
use rackbmcd::sim::{By, ChassisOrder, Effect};
use rackbmcd::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

impl Watch {
    /// At the end: every pulse that a machine carried out belongs to one order, and no order was
    /// carried out twice; no soft request twice within ten seconds of one task.
    pub(crate) fn judge_machines(&mut self, world: &mut World) -> Result<(), String> {
        assert!(!std::mem::replace(&mut self.judged_pulses, true));
        let mut lefts: BTreeMap<usize, Vec<(Instant, TaskId, Order)>> = BTreeMap::new();
        for left in &world.left {
            if let Some(issued) = left.order.and_then(|order| self.issued.get(&order)) {
                let row = (left.at, issued.task, issued.order.clone());
                lefts.entry(left.node).or_default().push(row);
            }
        }
        for node in 0..world.nodes.len() {
            let lefts = lefts.remove(&node).unwrap_or_default();
            let mut used: BTreeSet<(TaskId, u8)> = BTreeSet::new();
            let mut soft: BTreeMap<TaskId, Instant> = BTreeMap::new();
            for done in world.bmc(&name(node)).host().executed().to_vec() {
                if !matches!(done.by, By::Console(_)) {
                    continue;
                }
                let order = match done.order {
                    ChassisOrder::Cycle => Order::Cycle,
                    ChassisOrder::Reset => Order::Reset,
                    ChassisOrder::Nmi => Order::Nmi,
                    ChassisOrder::Soft => Order::SoftOff,
                    ChassisOrder::On | ChassisOrder::Off => continue,
                };
                // The newest datagram of such an order that can have been the one.
                let by = lefts
                    .iter()
                    .rev()
                    .find(|(at, _, what)| *what == order && *at <= done.at);
                let Some((_, task, _)) = by else {
                    return Err(format!("{}: {order:?} came from nowhere", name(node)));
                };
                if order == Order::SoftOff {
                    let last = soft.insert(*task, done.at);
                    if last.is_some_and(|last| done.at - last < secs(10)) {
                        return Err(format!("{task}: two soft requests at {:?}", done.at));
                    }
                } else if !used.insert((*task, done.order as u8)) {
                    return Err(format!(
                        "{task}: {order:?} was carried out twice, at {:?} ({:?})",
                        done.at,
                        Effect::Done
                    ));
                }
            }
        }
        Ok(())
    }
}
