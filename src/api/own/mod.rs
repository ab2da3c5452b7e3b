//! Our own surface beside Ironic's: tasks and their controls, batches, events, the pause, and a closer look at nodes.

pub mod batches;
pub mod bmc;
pub mod nodes;
pub mod rack;
pub mod tasks;

use crate::api::fault::Fault;
use crate::api::json::Seconds;
use crate::power::{Control, OnSoftTimeout, Operation};
use crate::rack::call::Wishes;
use std::time::Duration;

/// The longest wait of one request: long polls are repeated, not held for ever.
pub const WAIT_LIMIT: Duration = Duration::from_secs(300);

/// The operation in a body's words.
///
/// # Errors
/// 400, with the words there are.
fn operation(words: &str) -> Result<Operation, Fault> {
    let short = match words {
        "reset" => "hard reset",
        "cycle" => "power cycle",
        _ => words,
    };
    Operation::ALL
        .into_iter()
        .find(|known| known.name() == short)
        .ok_or_else(|| {
            let known: Vec<&str> = Operation::ALL.iter().map(|known| known.name()).collect();
            Fault::bad(format!(
                "'{words}' is no operation: there are {}",
                known.join(", ")
            ))
            .about("member", "operation")
        })
}

/// The control in a path.
///
/// # Errors
/// 404: there is nothing at that path.
fn control(word: &str) -> Result<Control, Fault> {
    Control::ALL
        .into_iter()
        .find(|known| known.name() == word)
        .ok_or_else(Fault::no_route)
}

/// What a body asks beside the operation.
///
/// # Errors
/// 400 for a timeout of zero or an unknown policy.
fn wishes(
    timeout: Option<Seconds>,
    on_soft_timeout: Option<&str>,
    repeat_soft_after: Option<Seconds>,
    hard_after: Option<Seconds>,
) -> Result<Wishes, Fault> {
    let positive = |name: &str, value: Option<Seconds>| match value {
        Some(Seconds(zero)) if zero.is_zero() => {
            Err(Fault::bad(format!("{name} has to be positive")).about("member", name))
        }
        value => Ok(value.map(|seconds| seconds.0)),
    };
    let on_soft_timeout = match on_soft_timeout {
        None => None,
        Some("fail") => Some(OnSoftTimeout::Fail),
        Some("hard power off") => Some(OnSoftTimeout::HardPowerOff),
        Some(other) => {
            return Err(Fault::bad(format!(
                "on_soft_timeout is 'fail' or 'hard power off', not '{other}'"
            ))
            .about("member", "on_soft_timeout"));
        }
    };
    Ok(Wishes {
        timeout: positive("timeout", timeout)?,
        on_soft_timeout,
        repeat_soft_after: positive("repeat_soft_after", repeat_soft_after)?,
        hard_after: positive("hard_after", hard_after)?,
    })
}
