//! Lines of which each is somebody's own: whoever asks for much waits behind itself.

use smol::lock::{Mutex, MutexGuardArc};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A line for each of those who ask, for as long as somebody stands in it.
pub(super) struct Lines<K>(RefCell<BTreeMap<K, Arc<Mutex<()>>>>);

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Ord> Lines<K> {
    /// Waits until nobody stands before in the line of `whose`, and stands first in it until this
    /// is dropped.
    pub(super) async fn stand_in(&self, whose: K) -> MutexGuardArc<()> {
        let line = {
            let mut lines = self.0.borrow_mut();
            lines.retain(|_, line| Arc::strong_count(line) > 1);
            lines.entry(whose).or_default().clone()
        };
        line.lock_arc().await
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }
}
