//! When a soft operation may turn hard.

use rackbmcd::bmc::vocabulary::{Order, Reading, RefusalKind, Report};
use rackbmcd::model::{OnSoftTimeout, Power, TaskState};
use rackbmcd::power::{Sent, Sequence};

/// Whether the order in this place, where it is a hard off after a soft one, was asked for, comes
/// in its time, and comes after a look that showed the machine on.
pub(super) fn is_allowed(sequence: &Sequence, place: usize) -> Result<(), String> {
    let (before, order) = (&sequence.sent()[..place], &sequence.sent()[place]);
    let soft = |sent: &&Sent| sent.order == Order::SoftOff;
    let hard = order.order == Order::PowerOff && sequence.state() != TaskState::RollingBack;
    let Some(asked) = before.iter().position(|sent| soft(&sent)).filter(|_| hard) else {
        return Ok(());
    };
    let powers = before[asked..].iter().rev();
    let mut powers = powers.filter_map(|sent| match sent.answer {
        Some((_, Report::Accepted(Reading::Power(power)))) => Some(power),
        _ => None,
    });
    if powers.next() != Some(Power::On) {
        return Err("a hard power off without a reading on since the soft one".to_owned());
    }
    let settings = sequence.settings();
    let lacks = |sent: &Sent| matches!(&sent.answer, Some((_, Report::Refused(refusal))) if refusal.kind == RefusalKind::NotSupported);
    let permits = settings.on_soft_timeout == OnSoftTimeout::HardPowerOff;
    let after = settings.hard_after;
    // However late its turn came, an operating system has all of the time that was asked for.
    let given = after.unwrap_or(settings.patience).min(settings.patience);
    let had_it = order.at >= before[asked].at + given;
    let in_time = (permits || after.is_some()) && (had_it || before.iter().filter(soft).any(lacks));
    match in_time {
        true => Ok(()),
        false => Err(format!(
            "a hard power off at {:?} that nobody had asked for",
            order.at
        )),
    }
}
