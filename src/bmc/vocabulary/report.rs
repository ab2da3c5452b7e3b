//! The one answer that every order brings.

use crate::model::{BootDevice, Chassis, Delivery, Power, RestartCause, Trouble};
use std::fmt;

/// The one answer to an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// The BMC did it, or answered the question.
    Accepted(Reading),
    /// The BMC answered that it will not.
    Refused(Refusal),
    /// No answer came.
    Unanswered(Silence),
}

impl Report {
    /// Whether the BMC did it, or answered the question.
    pub fn is_accepted(&self) -> bool {
        match self {
            Self::Accepted(_) => true,
            Self::Refused(_) | Self::Unanswered(_) => false,
        }
    }
}

/// What an accepted order brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Nothing but the acceptance.
    Done,
    /// The power state.
    Power(Power),
    /// Why the system restarted last.
    RestartCause(RestartCause),
    /// The event log's fill.
    EventLogInfo {
        /// Entries in the log.
        entries: u16,
        /// When the last entry was added, in the BMC's own clock (seconds since 1970).
        last_added: u32,
    },
    /// One entry of the event log.
    EventLogEntry(EventLogEntry),
    /// The boot device override.
    BootDevice {
        /// The device, `None` where there is no override.
        device: Option<BootDevice>,
        /// For every boot or once.
        persistent: bool,
        /// In UEFI mode.
        uefi: bool,
    },
    /// Who the BMC is.
    Identity {
        /// The maker's number (IANA).
        manufacturer: u32,
        /// The product number.
        product: u16,
        /// Firmware revision as text.
        firmware: String,
    },
    /// Power use.
    PowerUse {
        /// Watts now.
        watts: u16,
    },
    /// The ACPI state of the system, in words.
    AcpiState(String),
    /// A GUID, most significant byte first.
    Guid(uuid::Uuid),
    /// The BMC's sessions.
    Sessions {
        /// How many there are, ours included.
        active: u8,
        /// How many there can be.
        possible: u8,
    },
    /// What the BMC says of the chassis.
    Chassis(Box<Chassis>),
    /// The newest entries of the event log.
    EventLog {
        /// Oldest first.
        entries: Vec<EventLogEntry>,
        /// How many the log has, where the BMC says.
        total: Option<u16>,
        /// Where fewer than asked for could be read: how many, and why, in words.
        left_out: Option<String>,
    },
    /// The event log was cleared, and looked at afterwards.
    EventLogCleared {
        /// The entries in it since, where that could be read: many BMCs write down that it was
        /// cleared.
        left: Option<u16>,
    },
    /// The data of the answer to a raw command.
    Raw(Vec<u8>),
}

/// One entry of the system event log, as far as the watcher of an NMI cares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventLogEntry {
    /// Its record id.
    pub id: u16,
    /// The record id of the next, `0xFFFF` where this is the last.
    pub next: u16,
    /// Seconds since 1970 by the BMC's clock; 0 where the record has none.
    pub timestamp: u32,
    /// What it says, in words ("OS stop: run-time critical stop").
    pub text: String,
    /// What it tells of the machine.
    pub sign: Sign,
    /// It names something else than a chassis control that restarts the machine or switches it off:
    /// a button, a watchdog, the operating system.
    pub by_other: bool,
}

/// What an entry of the event log tells of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sign {
    /// Nothing of these.
    None,
    /// A diagnostic interrupt was delivered, whatever came of it.
    Interrupt,
    /// The system crashed.
    Crash,
    /// The machine started, or its power went.
    Restart,
}

/// An answer that is a no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The completion code.
    pub code: u8,
    /// What it means for us.
    pub kind: RefusalKind,
    /// The refusal in words.
    pub text: String,
    /// How many other datagrams of the order left and were not answered: one of them may have been
    /// carried out, or be on its way yet.
    pub unanswered: u32,
}

/// What a completion code means for what comes next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RefusalKind {
    /// Not now: ask again later.
    Busy,
    /// The firmware is being updated: leave the machine alone.
    Updating,
    /// The BMC does not have this.
    NotSupported,
    /// The BMC says that it does not have this, and is not believed yet: one that starts says so of
    /// what it has.
    Doubted,
    /// Not in the machine's present state, which may be the one that was wanted.
    NotInPresentState,
    /// Our privilege does not reach.
    NotPermitted,
    /// Anything else.
    Failed,
}

/// No answer came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Silence {
    /// Whether the machine may have received the order.
    pub delivery: Delivery,
    pub trouble: Trouble,
    /// The silence in words, with the figures.
    pub text: String,
}

/// How the words of a silence begin while the handshake goes on.
pub const STILL_TRYING: &str = "still trying: ";
/// How these words began in older versions, whose records keep them.
const STILL_TRYING_BEFORE: &str = "no answer yet, still trying: ";

/// The words of a silence without what is true for the moment only: what a task ends with is read
/// hours later.
pub fn lasting(text: &str) -> &str {
    [STILL_TRYING, STILL_TRYING_BEFORE]
        .iter()
        .find_map(|begin| text.strip_prefix(begin))
        .unwrap_or(text)
}

/// The report as a task's list of orders shows it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(Reading::Power(power)) => write!(f, "power is {power}"),
            Self::Accepted(Reading::RestartCause(cause)) => write!(f, "last restart: {cause}"),
            Self::Accepted(Reading::EventLogInfo { entries, .. }) => match entries {
                1 => f.write_str("1 entry"),
                entries => write!(f, "{entries} entries"),
            },
            Self::Accepted(Reading::EventLogEntry(entry)) => f.write_str(&entry.text),
            Self::Accepted(_) => f.write_str("accepted"),
            // Code 0: the BMC carried the order out, and what it answered is no success.
            Self::Refused(refusal) if refusal.code == 0 => f.write_str(&refusal.text),
            Self::Refused(refusal) => {
                write!(f, "refused: {} ({:02X}h)", refusal.text, refusal.code)?;
                match refusal.unanswered {
                    0 => Ok(()),
                    _ => f.write_str(
                        ", and another datagram of it was not answered: unknown whether that arrived",
                    ),
                }
            }
            Self::Unanswered(silence) => match silence.delivery {
                Delivery::NotSent => write!(f, "not sent: {}", lasting(&silence.text)),
                Delivery::Unknown => write!(
                    f,
                    "not answered, unknown whether it arrived: {}",
                    lasting(&silence.text)
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_does_not_say_that_something_goes_on() {
        let report = Report::Unanswered(Silence {
            delivery: Delivery::NotSent,
            trouble: Trouble::Silent,
            text: format!("{STILL_TRYING}no answer in 4.5 s"),
        });
        assert_eq!(report.to_string(), "not sent: no answer in 4.5 s");
        let kept_before = "no answer yet, still trying: no answer in 4.5 s";
        assert_eq!(lasting(kept_before), "no answer in 4.5 s");
    }
}
