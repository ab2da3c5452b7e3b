//! Reports that no answer stands behind, and what a failed log-in is called in the vocabulary.

use super::vocabulary::{Report, Silence};
use crate::ipmi::Status;
use crate::model::{Delivery, Trouble};
use crate::session::OpenError;

pub(super) fn silence(delivery: Delivery, trouble: Trouble, text: &str) -> Report {
    Report::Unanswered(Silence {
        delivery,
        trouble,
        text: text.to_owned(),
    })
}

pub(super) fn not_sent(trouble: Trouble, text: &str) -> Report {
    silence(Delivery::NotSent, trouble, text)
}

pub(super) fn unknown_fate(text: &str) -> Report {
    silence(Delivery::Unknown, Trouble::Silent, text)
}

/// Whether it may have been the password: IPMI 1.5 BMCs say nothing to a wrong one, and count it.
pub(super) fn is_doubtful(error: &OpenError) -> bool {
    // The session says so in the name of this step only.
    matches!(error, OpenError::Stalled { step, .. } if step.starts_with("Activate Session"))
}

/// How a log-in failed, as far as it says something of the way to the BMC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// Nothing came back at all.
    Silent,
    /// Answers came, up to some step.
    Stalled,
    /// The only word against it had no seal: anybody may have said it.
    Unsigned,
    /// The BMC or the network said no.
    Refused,
}

pub(super) fn failure(error: &OpenError) -> Failure {
    match error {
        OpenError::Silent { .. } => Failure::Silent,
        OpenError::Stalled { .. } => Failure::Stalled,
        OpenError::Unsigned(_) => Failure::Unsigned,
        OpenError::Unreachable(_)
        | OpenError::WrongPassword { .. }
        | OpenError::WrongKey { .. }
        | OpenError::UnknownUser { .. }
        | OpenError::NoPrivilege { .. }
        | OpenError::NoCommonSuite { .. }
        | OpenError::SessionsFull(_)
        | OpenError::NoProtocol(_)
        | OpenError::Downgrade { .. }
        | OpenError::Unusable { .. }
        | OpenError::SessionZero
        | OpenError::Refused { .. }
        | OpenError::RefusedCommand { .. }
        | OpenError::Settings(_) => Failure::Refused,
    }
}

/// What a failed log-in means for those above.
pub(super) fn trouble_of(error: &OpenError) -> Trouble {
    match error {
        OpenError::Unsigned(error) => trouble_of(error),
        OpenError::Silent { .. } | OpenError::Stalled { .. } => Trouble::Silent,
        OpenError::Unreachable(_) => Trouble::Unreachable,
        OpenError::WrongPassword { .. } | OpenError::WrongKey { .. } => Trouble::WrongPassword,
        OpenError::UnknownUser { .. } => Trouble::UnknownUser,
        OpenError::NoPrivilege { .. } => Trouble::NoPrivilege,
        OpenError::NoCommonSuite { .. } => Trouble::NoCommonSuite,
        OpenError::SessionsFull(_) => Trouble::SessionsFull,
        OpenError::NoProtocol(_) => Trouble::NoProtocol,
        // RAKP 2 proved the password, but the BMC counts this refusal like a wrong one.
        OpenError::Refused { step, status }
            if *step == "RAKP 3" && *status == Status::INVALID_INTEGRITY_CHECK =>
        {
            Trouble::WrongPassword
        }
        OpenError::Downgrade { .. }
        | OpenError::Unusable { .. }
        | OpenError::SessionZero
        | OpenError::Refused { .. }
        | OpenError::RefusedCommand { .. }
        | OpenError::Settings(_) => Trouble::Protocol,
    }
}
