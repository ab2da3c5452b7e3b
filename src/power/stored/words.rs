//! The words of the journal: enumerations without anything in them.

use crate::bmc::vocabulary;
use crate::model;

/// Defines a stored enumeration beside the running one: `"as stored" = RunningVariant`. The
/// conversions are matches over every variant of both. What `| Another` names is stored as the
/// variant before it: its text, which is stored beside it, says the rest.
macro_rules! stored_words {
    ($(#[$doc:meta])* $name:ident = $running:ty { $($word:literal = $variant:ident $(| $also:ident)*,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $word)] $variant,)*
        }

        impl From<$running> for $name {
            fn from(running: $running) -> Self {
                match running {
                    $(<$running>::$variant $(| <$running>::$also)* => $name::$variant,)*
                }
            }
        }

        impl From<$name> for $running {
            fn from(stored: $name) -> Self {
                match stored {
                    $($name::$variant => <$running>::$variant,)*
                }
            }
        }
    };
}

pub(crate) use stored_words;

stored_words! {
    /// Whether a machine has power.
    Power = model::Power {
        "on" = On,
        "off" = Off,
    }
}

stored_words! {
    /// What a task does.
    Operation = model::Operation {
        "power_on" = PowerOn,
        "power_off" = PowerOff,
        "reboot" = Reboot,
        "soft_power_off" = SoftPowerOff,
        "soft_reboot" = SoftReboot,
        "inject_nmi" = InjectNmi,
        "reset" = Reset,
        "cycle" = Cycle,
    }
}

stored_words! {
    /// Where a task stands.
    State = model::TaskState {
        "queued" = Queued,
        "running" = Running,
        "suspended" = Suspended,
        "aborting" = Aborting,
        "rolling_back" = RollingBack,
        "succeeded" = Succeeded,
        "failed" = Failed,
        "aborted" = Aborted,
        "cancelled" = Cancelled,
        "rolled_back" = RolledBack,
        "stuck" = Stuck,
    }
}

stored_words! {
    /// What a person did to a task.
    Control = model::Control {
        "abort" = Abort,
        "cancel" = Cancel,
        "rollback" = Rollback,
        "suspend" = Suspend,
        "resume" = Resume,
    }
}

stored_words! {
    /// What happens when the operating system does not shut down in time.
    OnSoftTimeout = model::OnSoftTimeout {
        "fail" = Fail,
        "hard_power_off" = HardPowerOff,
    }
}

stored_words! {
    /// Whether an unanswered order can have reached the machine.
    Delivery = model::Delivery {
        "not_sent" = NotSent,
        "unknown" = Unknown,
    }
}

stored_words! {
    /// What a refusal means.
    RefusalKind = vocabulary::RefusalKind {
        "busy" = Busy,
        "updating" = Updating,
        "not_supported" = NotSupported,
        "doubted" = Doubted,
        "not_in_present_state" = NotInPresentState,
        "not_permitted" = NotPermitted,
        "failed" = Failed,
    }
}

stored_words! {
    /// Why an order was not answered.
    Trouble = model::Trouble {
        "no_address" = NoAddress,
        "unreachable" = Unreachable,
        "silent" = Silent,
        "wrong_password" = WrongPassword,
        "unknown_user" = UnknownUser,
        "no_privilege" = NoPrivilege,
        "no_common_suite" = NoCommonSuite,
        "no_protocol" = NoProtocol,
        "sessions_full" = SessionsFull,
        // What is stored is frozen: a word of its own for `Locked` would raise the format.
        "busy" = Busy | Locked,
        "held" = Held,
        "breaker_open" = BreakerOpen,
        "protocol" = Protocol,
        "wrong_bmc" = WrongBmc,
        "withdrawn" = Withdrawn,
    }
}
