//! The abort table, row by row (docs/design.md, section 3).

use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::model::{Operation, Target};

/// What the table wants.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Row {
    /// The task ends, and an error is shown.
    Error,
    /// The task ends, and what is shown is no error.
    Quiet,
    /// There is nothing to abort.
    Nothing,
}

/// The row of one of Ironic's words, which names what it means, on a node that has a task with this
/// operation and shows this target; `has_left` where an order of the task that changes power has.
pub(crate) fn row(
    word: PowerTarget,
    operation: Operation,
    target: Option<Target>,
    has_left: bool,
) -> Row {
    let aim = match word {
        PowerTarget::AbortInjectNmi => Target::InjectNmi,
        _ => Target::SoftPowerOff,
    };
    if target == Some(aim) {
        return Row::Error;
    }
    // Nothing of what was named has left, and nothing shall.
    if word.operation() == operation && !has_left {
        return Row::Quiet;
    }
    Row::Nothing
}
