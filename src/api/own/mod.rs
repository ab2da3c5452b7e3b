//! Our own surface beside Ironic's: tasks and their controls, batches, events, the pause, and a closer look at nodes.

pub mod batches;
pub mod bmc;
pub mod nodes;
pub mod rack;
pub mod tasks;

use crate::api::fault::Fault;
use crate::model::{
    BootDevice, Control, OnBusy, OnSoftTimeout, Operation, PowerOptions, Seconds, TakeOver, Words,
};
use std::time::Duration;

/// The longest wait of one request: long polls are repeated, not held for ever.
pub const WAIT_LIMIT: Duration = Duration::from_secs(300);

/// The control in a path.
///
/// # Errors
/// 404: there is nothing at that path.
fn control(word: &str) -> Result<Control, Fault> {
    Control::from_word(word).ok_or_else(Fault::no_route)
}

/// What a body asks beside the operation.
///
/// # Errors
/// 400 for a timeout of zero, for a boot device where nothing boots, and for a take-over that `on_busy` says nothing of.
fn options(
    timeout: Option<Seconds>,
    on_soft_timeout: Option<OnSoftTimeout>,
    repeat_soft_after: Option<Seconds>,
    hard_after: Option<Seconds>,
    boot: BootOptions,
    (on_busy, take_over): (Option<OnBusy>, Option<TakeOver>),
) -> Result<PowerOptions, Fault> {
    boot.check()?;
    let positive = |name: &str, value: Option<Seconds>| match value {
        Some(Seconds(zero)) if zero.is_zero() => {
            Err(Fault::bad(format!("{name} has to be positive")).about("member", name))
        }
        value => Ok(value.map(|seconds| seconds.0)),
    };
    let on_busy = match (on_busy, take_over) {
        (Some(OnBusy::Fail | OnBusy::Skip), Some(_)) => {
            let text = "take_over goes with on_busy take_over, or stands alone";
            return Err(Fault::bad(text).about("member", "take_over"));
        }
        (None, Some(_)) => OnBusy::TakeOver,
        (on_busy, _) => on_busy.unwrap_or_default(),
    };
    Ok(PowerOptions {
        on_busy,
        take_over: take_over.unwrap_or_default(),
        timeout: positive("timeout", timeout)?,
        on_soft_timeout,
        repeat_soft_after: positive("repeat_soft_after", repeat_soft_after)?,
        hard_after: positive("hard_after", hard_after)?,
        boot_device: boot.device,
        uefi: boot.uefi,
        on_if_off: boot.on_if_off,
    })
}

/// What a body says of the next boot.
struct BootOptions {
    operation: Operation,
    device: Option<BootDevice>,
    uefi: bool,
    on_if_off: bool,
}

impl BootOptions {
    /// Refuses what can have no effect.
    fn check(&self) -> Result<(), Fault> {
        let asked = match self {
            BootOptions {
                device: Some(_), ..
            } => "boot_device",
            BootOptions {
                on_if_off: true, ..
            } => "on_if_off",
            BootOptions { uefi: true, .. } => {
                return Err(Fault::bad("uefi goes with boot_device").about("member", "uefi"));
            }
            _ => return Ok(()),
        };
        if self.operation.boots() {
            return Ok(());
        }
        Err(Fault::bad(format!("'{}' boots nothing", self.operation)).about("member", asked))
    }
}
