//! The verbs that change power and their options, with the words that other tools taught people for
//! them.

use super::{Nodes, Status, duration};
use crate::cli::complete;
use crate::model::{BootDevice, OnBusy, OnFailure, Operation, RestorePolicy, TakeOver, Words};
use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use std::time::Duration;

/// Verbs that change power.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum PowerVerb {
    /// Switch nodes on.
    #[command(name = "on", aliases = ["On", "up", "poweron", "start", "ForceOn", "wake"])]
    On(PowerArgs),
    /// Switch nodes off hard, or softly with --soft.
    #[command(name = "off", alias = "ForceOff", alias = "down")]
    Off(MaybeSoftArgs),
    /// Ask the operating system to shut down, and wait until it is off.
    #[command(name = "soft", visible_aliases = ["softoff", "shutdown"], aliases = ["soft-off", "GracefulShutdown", "soft power off", "acpi", "poweroff", "halt", "soft_off"])]
    Soft(SoftArgs),
    /// Switch nodes off and on again, or softly with --soft.
    #[command(name = "reboot", alias = "rebooting")]
    Reboot(MaybeSoftArgs),
    /// Boot nodes: on where they are off, else off and on again; with --from, from that device this
    /// once.
    #[command(name = "boot")]
    Boot(BootArgs),
    /// The same as reboot --soft.
    #[command(name = "soft-reboot", hide = true, aliases = ["softreboot", "GracefulRestart", "soft rebooting", "soft_reboot"])]
    SoftReboot(SoftArgs),
    /// Hard reset, once.
    #[command(name = "reset", alias = "ForceRestart")]
    Reset(PowerArgs),
    /// Power cycle by the BMC itself, once.
    #[command(name = "cycle", aliases = ["PowerCycle", "powercycle"])]
    Cycle(PowerArgs),
    /// Diagnostic interrupt, once; then the machine is watched.
    #[command(name = "nmi", visible_alias = "diag", aliases = ["Nmi", "inject nmi", "inject-nmi", "inject_nmi", "pulse"])]
    Nmi(PowerArgs),
}

/// What may follow `power`.
#[derive(Subcommand, Debug)]
pub(crate) enum NounVerb {
    #[command(flatten)]
    Power(PowerVerb),
    /// Show power states.
    #[command(alias = "stat")]
    Status(Status),
}

/// What may follow `chassis`.
#[derive(Subcommand, Debug)]
pub(crate) enum ChassisNoun {
    /// Power.
    Power {
        /// Which.
        #[command(subcommand)]
        verb: NounVerb,
    },
    /// Show what BMCs say of their chassis: faults, identify light, restore policy, self test.
    Status(Nodes),
    /// Show what machines do when mains power comes back, or set it.
    Policy(Policy),
}

/// `chassis policy`.
#[derive(Args, Debug)]
pub(crate) struct Policy {
    /// Which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Set it to this; only show it otherwise.
    #[arg(long, value_name = "POLICY", value_parser = policy, add = ArgValueCompleter::new(complete::policies))]
    pub set: Option<RestorePolicy>,
}

fn policy(text: &str) -> Result<RestorePolicy, String> {
    RestorePolicy::from_word(text)
        .ok_or_else(|| format!("there are {}", RestorePolicy::words().join(", ")))
}

/// What may follow `inject`.
#[derive(Subcommand, Debug)]
pub(crate) enum InjectNoun {
    /// A diagnostic interrupt.
    Nmi(PowerArgs),
}

/// How a power verb is carried out.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct PowerArgs {
    /// What to boot from, and whether in UEFI mode.
    #[arg(skip)]
    pub boot: Option<(BootDevice, bool)>,
    /// Whether a machine that is off is switched on instead of reset.
    #[arg(skip)]
    pub on_if_off: bool,
    /// What else may be done about an operating system that does not go down.
    #[arg(skip)]
    pub more: More,
    /// On what.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Wait until it is done and read back (the default), but no longer than DURATION.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = duration)]
    pub wait: Option<Option<Duration>>,
    /// Print the task and return at once.
    #[arg(long, conflicts_with = "wait")]
    pub no_wait: bool,
    /// Patience of the whole operation on each node (90s, 10m); the node's own setting otherwise.
    #[arg(long, alias = "power-timeout", value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Look, log in, say what would be done; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask, however many nodes it is.
    #[arg(short, long)]
    pub yes: bool,
    /// What to do with nodes that another task has: fail and do nothing at all (the default), skip
    /// them, take them over.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub on_busy: Option<OnBusy>,
    /// Take busy nodes over: end the task that waits or runs there. "suspended" means also tasks
    /// that stand still or go back, and nodes in maintenance; only to switch off.
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "running")]
    pub take_over: Option<TakeOver>,
    /// How many nodes at once; as many as the rack allows where 0.
    #[arg(long, visible_alias = "fanout", value_name = "N")]
    pub max_parallel: Option<u32>,
    /// Time between two nodes that are sent something; one that needs nothing waits for none.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub stagger: Option<Duration>,
    /// What a failure means for the nodes that have not begun.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub on_failure: Option<OnFailure>,
    /// With --fleet: how many racks at once; all of them where not given. The others begin as racks
    /// end, for as long as this command runs.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub racks_at_once: Option<usize>,
    /// Groups in the order in which they are taken (storage,compute); other nodes come last.
    #[arg(long, value_name = "GROUPS", value_delimiter = ',', add = ArgValueCompleter::new(complete::groups))]
    pub order: Vec<String>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "a number of racks, 1 or more".to_owned())
}

/// What is waited for, and how long.
#[derive(Args, Debug, Clone, Default)]
#[command(group = clap::ArgGroup::new("state").required(true).args(["on", "off"]))]
pub(crate) struct Until {
    /// Of which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Until they are on.
    #[arg(long)]
    pub on: bool,
    /// Until they are off.
    #[arg(long)]
    pub off: bool,
    /// No longer than DURATION.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// What may be done about an operating system that does not go down.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct More {
    /// Press the button once more after so long.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub press_again_after: Option<Duration>,
    /// Switch off hard after so long. Never happens unless asked for.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub hard_after: Option<Duration>,
}

/// A power verb that asks the operating system.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct SoftArgs {
    /// What more.
    #[command(flatten)]
    pub more: More,
    /// How.
    #[command(flatten)]
    pub press: PowerArgs,
}

/// A power verb with a soft form; what belongs to that is refused without it.
#[derive(Args, Debug, Clone, Default)]
#[command(mut_args(|arg| match arg.get_id().as_str() {
    "press_again_after" | "hard_after" => arg.requires("soft"),
    _ => arg,
}))]
pub(crate) struct MaybeSoftArgs {
    /// Ask the operating system instead of cutting the power.
    #[arg(long)]
    pub soft: bool,
    /// What more.
    #[command(flatten)]
    pub more: More,
    /// How.
    #[command(flatten)]
    pub press: PowerArgs,
}

/// `boot`.
#[derive(Args, Debug, Clone)]
#[command(mut_args(|arg| match arg.get_id().as_str() {
    "press_again_after" | "hard_after" => arg.requires("soft"),
    _ => arg,
}))]
pub(crate) struct BootArgs {
    /// From this device, this once: by name (pxe, disk, cdrom, usb ...) or selector. It is set and
    /// read back directly before the machine starts; where that fails, nothing is switched.
    #[arg(long, value_name = "DEVICE", value_parser = boot_device, add = ArgValueCompleter::new(complete::boot_devices))]
    pub from: Option<BootDevice>,
    /// In UEFI mode.
    #[arg(long, requires = "from")]
    pub uefi: bool,
    /// Ask the operating system to go down, instead of cutting the power.
    #[arg(long)]
    pub soft: bool,
    /// Reset a machine that is on, instead of switching it off and on.
    #[arg(long, conflicts_with = "soft")]
    pub reset: bool,
    /// What more.
    #[command(flatten)]
    pub more: More,
    /// How.
    #[command(flatten)]
    pub press: PowerArgs,
}

/// A boot device by name or selector.
pub(super) fn boot_device(text: &str) -> Result<BootDevice, String> {
    BootDevice::parse(text).ok_or_else(|| {
        let named = |device: &BootDevice| !device.name().starts_with("0x");
        let names = BootDevice::ALL.into_iter().filter(named);
        let names: Vec<String> = names
            .map(|device| device.name().replace('_', "-"))
            .collect();
        format!(
            "there are {}, usb (as floppy), and selectors from 1 to 15",
            names.join(", ")
        )
    })
}

/// What a failure of one node means for those that have not begun.
impl ValueEnum for OnFailure {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Continue, Self::Stop]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Continue => "Go on with the others",
            Self::Stop => "Begin no further node",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for OnBusy {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Fail, Self::Skip, Self::TakeOver]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Fail => "Name every busy node, and do nothing at all",
            Self::Skip => "Leave busy nodes as they are",
            Self::TakeOver => "End the tasks that have them",
        };
        let typed = match self {
            Self::TakeOver => "take-over",
            Self::Fail | Self::Skip => self.name(),
        };
        Some(PossibleValue::new(typed).alias(self.name()).help(help))
    }
}

impl ValueEnum for TakeOver {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Running, Self::Suspended]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Running => "From tasks that wait or run",
            Self::Suspended => {
                "Also from those that stand still or go back, and in maintenance; only to switch off"
            }
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl PowerVerb {
    /// Whether it only says what it would do.
    pub(crate) fn is_dry(&self) -> bool {
        match self {
            Self::On(press)
            | Self::Reset(press)
            | Self::Cycle(press)
            | Self::Nmi(press)
            | Self::Off(MaybeSoftArgs { press, .. })
            | Self::Reboot(MaybeSoftArgs { press, .. })
            | Self::Soft(SoftArgs { press, .. })
            | Self::SoftReboot(SoftArgs { press, .. })
            | Self::Boot(BootArgs { press, .. }) => press.dry_run,
        }
    }

    /// The operation, and how it is to be carried out.
    pub(crate) fn operation(self) -> (Operation, PowerArgs) {
        match self {
            Self::On(press) => (Operation::PowerOn, press),
            Self::Off(MaybeSoftArgs {
                soft: false, press, ..
            }) => (Operation::PowerOff, press),
            Self::Soft(SoftArgs { more, press }) | Self::Off(MaybeSoftArgs { more, press, .. }) => {
                (Operation::SoftPowerOff, PowerArgs { more, ..press })
            }
            Self::Reboot(MaybeSoftArgs {
                soft: false, press, ..
            }) => (Operation::Reboot, press),
            Self::SoftReboot(SoftArgs { more, press })
            | Self::Reboot(MaybeSoftArgs { more, press, .. }) => {
                (Operation::SoftReboot, PowerArgs { more, ..press })
            }
            Self::Boot(boot) => {
                let operation = match (boot.soft, boot.reset) {
                    (true, _) => Operation::SoftReboot,
                    (false, true) => Operation::Reset,
                    (false, false) => Operation::Reboot,
                };
                let press = PowerArgs {
                    boot: boot.from.map(|device| (device, boot.uefi)),
                    on_if_off: boot.reset,
                    more: boot.more,
                    ..boot.press
                };
                (operation, press)
            }
            Self::Reset(press) => (Operation::Reset, press),
            Self::Cycle(press) => (Operation::Cycle, press),
            Self::Nmi(press) => (Operation::InjectNmi, press),
        }
    }
}
