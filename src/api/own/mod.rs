//! Our own surface beside Ironic's: tasks and their controls, batches, readings, events, the pause,
//! the hosts of the rack, and a closer look at nodes.

pub(crate) mod batches;
pub(crate) mod bmc;
pub(crate) mod ha;
pub(crate) mod nodes;
pub(crate) mod rack;
pub(crate) mod readings;
mod sets;
pub(crate) mod tasks;

use crate::api::fault::Fault;
use crate::model::{Control, OnBusy, Operation, PowerOptions, Words};
use std::time::Duration;

/// The longest wait of one request: long polls are repeated, not held for ever.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(300);

/// The control in a path.
///
/// # Errors
/// 404: there is nothing at that path.
fn control(word: &str) -> Result<Control, Fault> {
    Control::from_word(word).ok_or_else(Fault::no_route)
}

/// Refuses options that can have no effect, and times of zero.
///
/// # Errors
/// 400.
fn check(operation: Operation, options: &PowerOptions) -> Result<(), Fault> {
    let refused = |member: &str, text: String| Err(Fault::bad(text).about("member", member));
    let boots = [
        ("boot_device", options.boot_device.is_some()),
        ("on_if_off", options.on_if_off),
    ];
    if let Some((member, _)) = boots.into_iter().find(|(_, asked)| *asked)
        && !operation.boots()
    {
        return refused(member, format!("'{operation}' boots nothing"));
    }
    if options.uefi && options.boot_device.is_none() {
        return refused("uefi", "uefi goes with boot_device".to_owned());
    }
    if options.take_over.is_some() && options.on_busy() != OnBusy::TakeOver {
        let text = "take_over goes with on_busy take_over, or stands alone";
        return refused("take_over", text.to_owned());
    }
    let times = [
        ("timeout", options.timeout),
        ("repeat_soft_after", options.repeat_soft_after),
        ("hard_after", options.hard_after),
    ];
    let mut times = times.into_iter();
    match times.find(|(_, time)| time.is_some_and(|time| time.is_zero())) {
        Some((member, _)) => refused(member, format!("{member} has to be positive")),
        None => Ok(()),
    }
}
