//! Nodes that are taken over from a task: the old one ends, nothing of it leaves any more, and both
//! say so.

use super::{Seen, Watch};
use rackbmcd::model::{Control, TaskId, TaskState};

impl Watch {
    /// A task says that it took its node over from another one.
    pub(super) fn took_over(&self, id: TaskId, old: Option<TaskId>) -> Result<(), String> {
        let Some((old, seen)) = old.and_then(|old| Some((old, self.tasks.get(&old)?))) else {
            return Ok(());
        };
        match (seen.taken_over_by, seen.state) {
            (Some(by), TaskState::Aborted) if by == id => Ok(()),
            (by, state) => Err(format!(
                "{id} took its node over from {old}, which is {state} and says {by:?}"
            )),
        }
    }
}

impl Seen {
    /// Its record says who took its node over: from this place in the list of datagrams on nothing
    /// of it may leave.
    pub(super) fn is_taken_over(&mut self, by: Option<TaskId>, from: usize) -> Result<(), String> {
        let Some(by) = by.filter(|_| self.taken_over_by.is_none()) else {
            return Ok(());
        };
        self.taken_over_by = Some(by);
        self.quiet.get_or_insert((from, Control::Abort));
        match self.state.is_end() {
            true => Ok(()),
            false => Err(format!("was taken over by {by} and is {}", self.state)),
        }
    }

    /// The daemon was killed before the disk knew of it.
    pub(super) fn forget_taking_over(&mut self) {
        if !self.state.is_end() && self.taken_over_by.take().is_some() {
            self.quiet = None;
        }
    }
}
