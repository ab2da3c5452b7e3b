//! Setting what the machine boots from, directly before the order that makes it boot.
//!
//! It has no phase of its own: whichever phase is about to send such an order gives the setting
//! first, and the record of what was sent shows whether it was set and read back. What cannot be
//! set and read back stops the task before its power changes.

use super::Sequence;
use super::knowledge::refused;
use super::phase::Next;
use crate::bmc::vocabulary::{Order, OrderId, Reading, RefusalKind, Report};
use crate::power::Sent;
use crate::power::settings::backoff;

impl Sequence {
    /// The setting that has to come before `order`, if one has.
    pub(super) fn boot_setting(&self, order: &Order) -> Option<Order> {
        let knowledge = &self.knowledge;
        let boot = knowledge.settings.boot?;
        let (changes, boots) = (order.changes_power(), order.boots());
        // The way back of a rollback starts the machine as it always starts. Before the way down it
        // is tried once whether the BMC takes the device at all.
        if !changes || self.phase.is_return() || !boots && knowledge.changing_issued() {
            return None;
        }
        // A start uses the setting up, and a BMC may forget it: only one that came after the last
        // order counts, and not for long.
        let since = knowledge.sent.iter().rev();
        let is_set = since
            .take_while(|sent| !sent.order.changes_power())
            .any(|sent| was_set(sent) && knowledge.is_recent(sent));
        (!is_set).then(|| boot.setting())
    }

    /// Whether this order is such a setting.
    pub(super) fn sets_boot(&self, id: OrderId) -> bool {
        let sent = &self.knowledge.sent;
        sent.iter().any(|sent| sent.id == id && is_setting(sent))
    }

    /// The report of a setting.
    pub(super) fn boot_reported(&mut self, report: &Report) {
        let knowledge = &mut self.knowledge;
        let age = knowledge.clock.age();
        let why = match report {
            Report::Accepted(Reading::BootDevice { .. }) => {
                return self.go_on_at(Next::At(age));
            }
            Report::Accepted(_) => {
                "the boot device was taken, but its BMC does not let it be read back".to_owned()
            }
            Report::Unanswered(silence) if knowledge.is_hopeless(silence) => silence.text.clone(),
            // Once the machine may be going down only the deadline ends
            // a task: it is not left halfway.
            Report::Refused(refusal) if is_final(refusal.kind) && !knowledge.may_have_acted() => {
                format!("the boot device was not set: {}", refused(refusal))
            }
            // It may pass; the deadline of the phase goes on.
            Report::Refused(_) | Report::Unanswered(_) => {
                let tries = knowledge
                    .sent
                    .iter()
                    .rev()
                    .take_while(|sent| is_setting(sent));
                let tries: u32 = tries.map(|sent| sent.times).sum();
                return self.go_on_at(Next::At(age + backoff(tries.saturating_sub(1))));
            }
        };
        self.phase = knowledge.fail(&why);
    }

    fn go_on_at(&mut self, at: Next) {
        if let Some(next) = self.phase.next_mut() {
            *next = at;
        }
    }
}

/// Whether the BMC refuses it for good.
fn is_final(kind: RefusalKind) -> bool {
    match kind {
        RefusalKind::Busy | RefusalKind::Doubted => false,
        RefusalKind::Updating
        | RefusalKind::NotSupported
        | RefusalKind::NotInPresentState
        | RefusalKind::NotPermitted
        | RefusalKind::Failed => true,
    }
}

fn is_setting(sent: &Sent) -> bool {
    matches!(sent.order, Order::SetBootDevice { .. })
}

/// Whether it is a setting that was read back as it was asked for.
fn was_set(sent: &Sent) -> bool {
    is_setting(sent)
        && matches!(
            sent.answer,
            Some((_, Report::Accepted(Reading::BootDevice { .. })))
        )
}
