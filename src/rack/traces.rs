//! How much is kept of the last datagrams of all BMCs together.
//!
//! Each BMC may keep as many as it needs, and few need much: what repeats is folded. Where it
//! becomes too much all the same, those that have most forget their oldest, and those first at
//! which nothing went wrong: nobody asks for these.

use super::inventory::{Inventory, NodeId};
use super::node::Node;

/// What all of them keep.
#[derive(Default)]
pub(super) struct Traces {
    kept: usize,
    /// How much each of those may keep at present at which something went wrong; `None` where it is
    /// as much as they need.
    strange: Option<usize>,
    /// The same for the others.
    well: Option<usize>,
}

impl Traces {
    /// Something happened at this node's BMC, so that more or less may be kept of its datagrams.
    pub(super) fn note(&mut self, id: NodeId, inventory: &mut Inventory) {
        let limited = self.well.or(self.strange).is_some();
        let Some(node) = inventory.get_mut(id) else {
            return;
        };
        if limited {
            self.limit(node);
        }
        self.kept = self.kept.saturating_add_signed(node.bmc.trace_growth());
        // Only at half is room given back, or every datagram would share it out anew.
        let plenty = limited && self.kept < TRACED_BYTES / 2;
        if self.kept > TRACED_BYTES || plenty {
            self.share(inventory);
        }
    }

    /// Each BMC may keep as much as all of them can at once.
    pub(super) fn share(&mut self, inventory: &mut Inventory) {
        let all = TRACED_BYTES / 5 * 4;
        let rooms = |strange| {
            let nodes = inventory.iter();
            let these = nodes.filter(|node| node.bmc.has_been_strange() == strange);
            these.map(|node| node.bmc.trace_room()).collect::<Vec<_>>()
        };
        let (strange, well) = (rooms(true), rooms(false));
        // Where they need more than there is, all of it is given away: else it would be shared out
        // anew each time.
        let left_to_others = well.iter().sum::<usize>().min(all / 2);
        self.strange = most_for_each(strange.clone(), all - left_to_others);
        let most = self.strange.unwrap_or(usize::MAX);
        let theirs: usize = strange.into_iter().map(|room| room.min(most)).sum();
        self.well = most_for_each(well, all - theirs);
        self.kept = 0;
        for node in inventory.iter_mut() {
            self.limit(node);
            node.bmc.trace_growth();
            self.kept += node.bmc.trace_room();
        }
    }

    fn limit(&self, node: &mut Node) {
        let limit = match node.bmc.has_been_strange() {
            true => self.strange,
            false => self.well,
        };
        node.bmc.limit_trace(limit.unwrap_or(usize::MAX));
    }
}

/// How much each of these may have so that they have no more than `all` together; `None` where they
/// have less.
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

/// How many bytes are kept of the datagrams of all BMCs: of 300 that do something else each time
/// all 200; of 4096 at which nothing went wrong the last readings, and how often these came before.
const TRACED_BYTES: usize = 1 << 21;

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
