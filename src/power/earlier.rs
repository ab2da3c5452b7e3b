//! Orders of earlier tasks on the same node that may still have their effect: as long as there is
//! one, "already in that state" is no answer.

use crate::model::Power;
use std::fmt;
use std::time::Duration;

/// One order of an earlier task that may still act.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Earlier {
    /// What it was and when: `soft power off of 12:03 UTC`.
    pub what: String,
    /// The states that it has yet to bring about, in their order.
    pub to: Vec<Power>,
    /// An operating system was asked, which takes its time.
    pub soft: bool,
    /// Until when it may act, counted from the request of the task that is told of it.
    pub until: Duration,
}

impl Earlier {
    /// Whether it may still bring the node out of this state.
    pub(super) fn ends(&self, state: Power, elapsed: Duration) -> bool {
        self.until > elapsed && self.to.iter().any(|to| *to != state)
    }
}

/// `the soft power off of 12:03 UTC may still switch it off`
impl fmt::Display for Earlier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.to.first().map_or("", |to| to.name());
        write!(f, "the {} may still switch it {to}", self.what)
    }
}

/// Takes note that the node was read as `power` (`twice`: twice in a row), and gives the orders
/// that have had their effect by that. One reading may be wrong, but an "off" that leads to an "on"
/// may be too short for a second one (rule 12).
pub(crate) fn take_effect<T>(
    orders: &mut Vec<T>,
    power: Power,
    twice: bool,
    to: impl Fn(&mut T) -> &mut Vec<Power>,
) -> Vec<T>
where
    T: Clone,
{
    let mut acted = Vec::new();
    orders.retain_mut(|order| {
        let believed = twice || to(order).len() > 1;
        if believed && to(order).first() == Some(&power) {
            acted.push(order.clone());
            to(order).remove(0);
        }
        !to(order).is_empty()
    });
    acted
}
