//! How much is kept of the last datagrams of all BMCs together.
//!
//! Each BMC may keep as many as it needs, and few need much: what repeats is folded. Where it becomes too much all the same,
//! those that have most forget their oldest.

use super::inventory::{Inventory, NodeId};

/// What all of them keep.
#[derive(Default)]
pub(super) struct Traces {
    /// In bytes.
    kept: usize,
    /// Whether each of them may keep only so much at present.
    limited: bool,
}

impl Traces {
    /// Something happened at this node's BMC, so that more or less may be kept of its datagrams.
    pub(super) fn note(&mut self, id: NodeId, inventory: &mut Inventory) {
        let Some(node) = inventory.get_mut(id) else {
            return;
        };
        self.kept = self.kept.saturating_add_signed(node.bmc.trace_growth());
        let plenty = self.limited && self.kept < TRACED_BYTES / 2;
        if self.kept > TRACED_BYTES || plenty {
            self.share(inventory);
        }
    }

    /// Each BMC may keep as much as all of them can at once.
    pub(super) fn share(&mut self, inventory: &mut Inventory) {
        let rooms = inventory.iter_mut().map(|node| node.bmc.trace_room());
        let limit = most_for_each(rooms.collect(), TRACED_BYTES / 5 * 4);
        self.limited = limit.is_some();
        self.kept = 0;
        for node in inventory.iter_mut() {
            node.bmc.limit_trace(limit.unwrap_or(usize::MAX));
            node.bmc.trace_growth();
            self.kept += node.bmc.trace_room();
        }
    }
}

/// How much each of these may have so that they have no more than `all` together; `None` where they have less.
fn most_for_each(mut rooms: Vec<usize>, all: usize) -> Option<usize> {
    rooms.sort_unstable();
    let (mut left, mut count) = (all, rooms.len());
    for room in rooms {
        let share = left / count;
        if room > share {
            return Some(share);
        }
        left -= room;
        count -= 1;
    }
    None
}

/// How many bytes are kept of the datagrams of all BMCs: of 600 that do something else each time all 200, of 4096 the
/// last two readings, and how often these came before.
const TRACED_BYTES: usize = 5 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_little_leaves_the_rest_to_the_others() {
        assert_eq!(most_for_each(vec![], 100), None);
        assert_eq!(most_for_each(vec![30, 30, 30], 100), None);
        assert_eq!(most_for_each(vec![90, 10, 10], 100), Some(80));
        assert_eq!(most_for_each(vec![90, 10, 90], 100), Some(45));
        assert_eq!(most_for_each(vec![90, 90, 90], 100), Some(33));
    }
}
