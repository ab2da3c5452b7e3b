//! What may be written on the command line, as types. Decides nothing: `mod.rs` hands each verb to
//! its room.
//!
//! Besides our own words the parser knows those that people's fingers bring along from ipmitool,
//! xCAT, Ansible, Redfish and Ironic (docs/cli.md lists them).

mod expert;
mod fingers;
pub(super) mod help;
mod inspect;
mod power;
mod proposals;
mod verbs;

pub(super) use expert::{
    Audit, AuditVerb, BmcAccept, BmcReset, BmcVerb, Discover, Init, Level, Raw, SelClear, SelList,
    SelVerb, Support,
};
pub(super) use inspect::{
    BatchShow, Check, Events, History, OnOff, Racks, Status, TaskShow, Tasks, Watch,
};
pub(super) use power::{ChassisNoun, InjectNoun, NounVerb, Policy, PowerArgs, PowerVerb, Until};

use crate::api::ironic::target::PowerTarget;
use crate::cli::complete;
use crate::model::BootDevice;
use clap::builder::FalseyValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The power of a rack's machines, through rackbmcd.
///
/// NODES are node sets: r1n03, r1n[01-16,20], @group, several of them, minus those of -x. Verbs
/// that change something never mean "all nodes" unless --all says so.
#[derive(Parser, Debug)]
#[command(
    name = "rackbmc",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(super) struct CommandLine {
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Args, Debug, Clone)]
pub(super) struct Common {
    /// The daemon's socket.
    #[arg(long, global = true, env = "RACKBMC_SOCKET", value_name = "PATH", default_value = super::connect::DEFAULT_SOCKET, help_heading = "Connection")]
    pub socket: PathBuf,
    /// Which rack's daemon, where this host has several: the one whose socket is
    /// /run/rackbmcd/RACK.sock.
    #[arg(long, global = true, env = "RACKBMC_RACK", value_name = "RACK", value_parser = rack, add = ArgValueCompleter::new(complete::racks), help_heading = "Connection")]
    pub rack: Option<String>,
    /// Many racks at once: those of fleet.toml, else those of this host. Nodes are named with their
    /// rack: r7/n03, r[1-20]/@compute. With --rack, that one of them.
    #[arg(long, global = true, env = "RACKBMC_FLEET", value_parser = FalseyValueParser::new(), help_heading = "Connection")]
    pub fleet: bool,
    /// The file of the fleet's racks; ~/.config/rackbmc/fleet.toml or /etc/rackbmc/fleet.toml where
    /// not given.
    #[arg(
        long,
        global = true,
        env = "RACKBMC_FLEET_FILE",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub fleet_file: Option<PathBuf>,
    /// Reach the daemon over TCP instead, at http://HOST:PORT (https://HOST:PORT in a build with
    /// TLS). Where the rack has several hosts, all of theirs, with commas: whichever has the rack
    /// is asked.
    #[arg(
        long,
        global = true,
        env = "RACKBMC_URL",
        value_name = "URL",
        help_heading = "Connection"
    )]
    pub url: Option<String>,
    /// A file with user:password for --url (or put them into RACKBMC_AUTH).
    #[arg(
        long,
        global = true,
        env = "RACKBMC_AUTH_FILE",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub auth_file: Option<PathBuf>,
    /// A file of those who vouch for an https:// daemon (PEM); the system's authorities where not
    /// given.
    #[arg(
        long,
        global = true,
        env = "RACKBMC_CACERT",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub cacert: Option<PathBuf>,
    /// How answers are written: text, wide (a table with all there is), json, yaml, name.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        global = true,
        env = "RACKBMC_OUTPUT",
        value_enum,
        default_value = "text",
        help_heading = "Output"
    )]
    pub output: Format,
    /// Put nodes with the same answer into one line.
    #[arg(short = 'b', long, global = true, help_heading = "Output")]
    pub fold: bool,
    /// No progress on stderr.
    #[arg(short, long, global = true, help_heading = "Output")]
    pub quiet: bool,
}

impl Verb {
    /// Whether something is done that matters when its answer is lost; else the answer is all that
    /// was asked for.
    pub(super) fn acts(&self) -> bool {
        match self {
            Self::Power(verb)
            | Self::PowerNoun {
                verb: NounVerb::Power(verb),
            }
            | Self::Chassis {
                noun:
                    ChassisNoun::Power {
                        verb: NounVerb::Power(verb),
                    },
            } => !verb.is_dry(),
            Self::Inject {
                noun: InjectNoun::Nmi(press),
            } => !press.dry_run,
            Self::Abort(_)
            | Self::Cancel(_)
            | Self::Rollback(_)
            | Self::Suspend(_)
            | Self::Resume(_)
            | Self::Wait(_)
            | Self::Identify(_)
            | Self::Raw(_)
            | Self::Maintenance(_)
            | Self::Pause { .. }
            | Self::Release
            | Self::Ha {
                verb: HaVerb::Handover(_),
            }
            | Self::Retry(_)
            | Self::NodeSetPowerState { .. }
            | Self::Init(_)
            | Self::Sim(_)
            | Self::Demo(_)
            | Self::Support(_)
            | Self::Sel {
                verb: SelVerb::Clear(_),
            }
            | Self::Bmc {
                verb: BmcVerb::Reset(_) | BmcVerb::Accept(_),
            } => true,
            Self::Chassis {
                noun: ChassisNoun::Policy(policy),
            } => policy.set.is_some(),
            Self::Bootdev(bootdev) => bootdev.set.is_some(),
            Self::Discover(discover) => discover.write_config.is_some(),
            Self::Man { into, .. } => into.is_some(),
            Self::Status(_)
            | Self::PowerNoun {
                verb: NounVerb::Status(_),
            }
            | Self::Chassis {
                noun:
                    ChassisNoun::Power {
                        verb: NounVerb::Status(_),
                    }
                    | ChassisNoun::Status(_),
            }
            | Self::Tasks(_)
            | Self::Task(_)
            | Self::Batch(_)
            | Self::Events(_)
            | Self::Watch(_)
            | Self::Racks(_)
            | Self::Explain(_)
            | Self::Check(_)
            | Self::History(_)
            | Self::Bmc {
                verb: BmcVerb::Info(_) | BmcVerb::Trace(_),
            }
            | Self::PowerUse(_)
            | Self::Sel {
                verb: SelVerb::List(_),
            }
            | Self::Audit(_)
            | Self::Ha {
                verb: HaVerb::Status,
            }
            | Self::NodeShow { .. }
            | Self::NodeShowStates { .. }
            | Self::Completion { .. } => false,
        }
    }
}

impl CommandLine {
    /// What was typed, the daemon that is meant settled.
    ///
    /// # Errors
    /// clap's, ready to be printed.
    pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words = fingers::translated(words.into_iter().collect());
        if words.len() < 2 {
            return Err(help::bare(help::command()));
        }
        // What only people read who want help, or made a mistake, is written when there is one.
        let read = Self::read_by(help::parser(), &words);
        read.or_else(|_| Self::read_by(help::command(), &words))
    }

    fn read_by(mut command: clap::Command, words: &[OsString]) -> Result<Self, clap::Error> {
        let matches = command
            .try_get_matches_from_mut(words)
            .map_err(|mistake| help::explained(mistake, &command, words))?;
        let mut line =
            Self::from_arg_matches(&matches).map_err(|mistake| mistake.format(&mut command))?;
        if let Err(why) = line.common.settle(&matches) {
            return Err(command.error(ErrorKind::ArgumentConflict, why));
        }
        if matches!(line.verb, Verb::Racks(_)) {
            (line.common.fleet, line.common.rack) = (true, None);
        }
        // Thousands of small pieces, which end with the program.
        std::mem::forget(command);
        Ok(line)
    }
}

impl CommandLine {
    /// Whether a line, which may be none that makes sense, begins with a verb.
    pub(super) fn begins_with(verb: &str) -> bool {
        let words: Vec<OsString> = std::env::args_os().collect();
        let first = words.get(fingers::first_word(&words));
        first.is_some_and(|word| word == verb)
    }
}

/// What completion asks of the command line.
impl CommandLine {
    /// The words of other tools put into ours.
    pub(super) fn in_our_words(words: Vec<OsString>) -> Vec<OsString> {
        fingers::translated(words)
    }

    /// All that may be typed.
    pub(super) fn described() -> clap::Command {
        Self::command()
    }
}

impl Common {
    /// The options of every verb in a line that is not finished.
    pub(super) fn of_a_beginning(words: &[OsString]) -> Option<Self> {
        let command = CommandLine::command().ignore_errors(true);
        let matches = command.try_get_matches_from(words).ok()?;
        let mut common = Self::from_arg_matches(&matches).ok()?;
        common.settle(&matches).ok()?;
        Some(common)
    }

    /// A rack's name becomes its socket, unless a socket or a URL was given more directly, or it is
    /// one of a fleet.
    fn settle(&mut self, matches: &ArgMatches) -> Result<(), &'static str> {
        let given = |option| matches.value_source(option);
        let typed = |option| given(option) == Some(ValueSource::CommandLine);
        let one = typed("socket") || typed("url");
        if typed("fleet") || typed("fleet_file") {
            if one {
                return Err("--fleet means many daemons, --socket and --url one: give one of them");
            }
            self.fleet = true;
        }
        self.fleet &= !one;
        if self.fleet {
            self.rack = self.rack.take().filter(|_| typed("rack"));
            return Ok(());
        }
        let Some(rack) = &self.rack else {
            return Ok(());
        };
        if typed("rack") && (typed("socket") || typed("url")) {
            return Err("--rack names a daemon, and so do --socket and --url: give one of them");
        }
        if given("url") < given("rack") && given("socket") < given("rack") {
            self.url = None;
            self.socket = PathBuf::from(format!("/run/rackbmcd/{rack}.sock"));
        }
        Ok(())
    }
}

/// A rack's name is the name of a file.
fn rack(name: &str) -> Result<String, String> {
    match name.is_empty() || name.starts_with('.') || name.contains('/') {
        true => {
            Err("a rack is named as its configuration file is: r2 for /etc/rackbmcd/r2.toml".into())
        }
        false => Ok(name.to_owned()),
    }
}

/// How answers are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line for each node.
    Text,
    /// A table with all there is.
    #[value(alias = "table")]
    Wide,
    /// One array of objects, for one node or many.
    Json,
    /// The same in YAML.
    Yaml,
    /// Names (or ids) alone, one a line.
    Name,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Show the power state of nodes (all of them where none is named), and how old the reading is.
    #[command(visible_alias = "stat", aliases = ["query", "state", "list"])]
    Status(Status),
    #[command(flatten)]
    Power(PowerVerb),
    /// `power on`, `power off --soft` ...: the same verbs after Ironic's and ipmitool's noun.
    #[command(name = "power", hide = true)]
    PowerNoun {
        /// Which.
        #[command(subcommand)]
        verb: NounVerb,
    },
    /// The chassis: what it says of itself, what it does when mains power comes back, and `chassis
    /// power on` ... as ipmitool has it.
    Chassis {
        /// What.
        #[command(subcommand)]
        noun: ChassisNoun,
    },
    /// `inject nmi`: Ironic's way.
    #[command(hide = true)]
    Inject {
        /// `nmi`.
        #[command(subcommand)]
        noun: InjectNoun,
    },
    /// Stop tasks now: no further order leaves, the machine is left as it is.
    Abort(Control),
    /// Withdraw tasks that have not yet sent anything, as if never asked.
    Cancel(Control),
    /// Stop tasks and bring their nodes back to the power state they had at the start.
    Rollback(Control),
    /// Hold tasks still: nothing is sent and no patience runs out until they are resumed.
    Suspend(Control),
    /// Let suspended tasks go on, after a look at the machine.
    Resume(Control),
    /// Wait until nodes are on, or off, without doing anything about it (exit 5 where the time ran
    /// out before).
    Wait(Until),
    /// List tasks: those that run, and the last that ended.
    Tasks(Tasks),
    /// Show one task in full: steps, orders sent, answers, what may still be done with it.
    Task(TaskShow),
    /// List batches, or show one with all its nodes.
    #[command(visible_alias = "batches")]
    Batch(BatchShow),
    /// Print what happens, as it happens.
    Events(Events),
    /// Follow nodes, tasks and events on a full screen, with keys that act; a line for each change
    /// where stdout is no terminal.
    Watch(Watch),
    /// Show the racks of the fleet: whether each answers, its nodes by power state, tasks, trouble,
    /// pause, version.
    Racks(Racks),
    /// Say all that is known of nodes' BMCs, and where it comes from.
    Explain(Nodes),
    /// Nagios and Icinga: one line, performance data, exit codes 0, 1, 2, 3.
    Check(Check),
    /// What happened to nodes, newest first.
    History(History),
    /// Blink the identify light.
    Identify(Identify),
    /// Show or set what nodes boot from next.
    #[command(alias = "bootdevice")]
    Bootdev(Bootdev),
    /// The BMCs themselves.
    Bmc {
        /// What.
        #[command(subcommand)]
        verb: BmcVerb,
    },
    /// Show how many watts nodes use, as their BMCs measure it (DCMI).
    PowerUse(Nodes),
    /// The event logs that the BMCs keep.
    Sel {
        /// What.
        #[command(subcommand)]
        verb: SelVerb,
    },
    /// Show who changed what, or check that the record of it is whole.
    Audit(Audit),
    /// Pack all that helps to find out what is wrong into one file, without secrets.
    ///
    /// Versions, facts about the host, the configuration without secrets, the log, health, metrics,
    /// what is known of each node's BMC, and the last datagrams of the nodes that are named, or
    /// else of those whose BMC is in trouble (64 at most). Wants the role admin; whoever has less
    /// gets less, and where no daemon answers there is still something. What is missing is said.
    /// Passwords, keys, tokens and the names by which BMCs are logged in to are left out; names and
    /// addresses of nodes, and names of people who asked for something, are in it.
    Support(Support),
    /// Send one IPMI command spelled out in bytes, once (for experts).
    Raw(Raw),
    /// Take nodes into maintenance, or out of it with --off.
    Maintenance(Maintenance),
    /// The big red button: suspend every task and refuse new ones until `release`.
    Pause {
        /// Why; shown to everyone who is refused meanwhile.
        #[arg(required = true, num_args = 1.., value_name = "REASON")]
        reason: Vec<String>,
    },
    /// End the pause; what it suspended may be resumed.
    Release,
    /// The hosts of a rack that has several.
    Ha {
        /// What.
        #[command(subcommand)]
        verb: HaVerb,
    },
    /// Forget failed log-ins and try a BMC again.
    Retry(Nodes),
    /// Show one node as the `ironic` client did.
    NodeShow {
        /// Name or uuid.
        #[arg(add = ArgValueCompleter::new(complete::nodes))]
        node: String,
    },
    /// Show one node's states as the `ironic` client did.
    NodeShowStates {
        /// Name or uuid.
        #[arg(add = ArgValueCompleter::new(complete::nodes))]
        node: String,
    },
    /// Power a node on, off or reboot it, gracefully or not, inject an NMI, or abort the latter:
    /// returns at once.
    NodeSetPowerState {
        /// Name or uuid.
        #[arg(add = ArgValueCompleter::new(complete::nodes))]
        node: String,
        /// What to do.
        #[arg(value_enum)]
        power_state: PowerStateWord,
    },
    /// Find BMCs on a network: a ping and a question to each address, and with --username one
    /// log-in to each that answers.
    Discover(Discover),
    /// Write a first configuration and the file with the BMCs' password, by questions. Its rack
    /// starts paused.
    Init(Init),
    /// Simulate a rack of BMCs on UDP ports of this host, to try any IPMI client on. Needs no
    /// daemon.
    Sim(Box<crate::cli::sim::SimArgs>),
    /// A simulated rack, the real daemon, and a soft power off taken back: see what this is about.
    Demo(Demo),
    /// Print a completion script for a shell.
    Completion {
        /// Which.
        shell: complete::Shell,
    },
    /// Print the man page, or that of a verb.
    Man {
        /// Which verb.
        #[arg(add = ArgValueCompleter::new(complete::verbs))]
        verb: Option<String>,
        /// Write the page of every verb into this directory instead.
        #[arg(long, value_name = "DIRECTORY", conflicts_with = "verb")]
        into: Option<PathBuf>,
    },
}

/// `ha`.
#[derive(Subcommand, Debug)]
pub(super) enum HaVerb {
    /// Show which host owns the rack, and whether another one could take it (exit 1 where nobody
    /// owns it, or nobody could).
    Status,
    /// Give the rack to another host.
    Handover(HandOver),
}

/// `ha handover`.
#[derive(Args, Debug)]
pub(super) struct HandOver {
    /// The host that shall have it; whichever can where none is named.
    #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(complete::hosts))]
    pub to: Option<String>,
    /// Wait until another host has it.
    #[arg(long)]
    pub wait: bool,
}

/// Nodes that must be named.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct Nodes {
    /// Node sets.
    #[arg(value_name = "NODES", add = ArgValueCompleter::new(complete::nodes))]
    pub nodes: Vec<String>,
    /// Leave these nodes out.
    #[arg(short = 'x', long, value_name = "NODES", add = ArgValueCompleter::new(complete::nodes))]
    pub exclude: Vec<String>,
    /// All nodes of the rack.
    #[arg(short, long)]
    pub all: bool,
}

/// A control over tasks.
#[derive(Args, Debug, Clone)]
pub(super) struct Control {
    /// Task ids, batch ids, or node sets (the task that has the node).
    #[command(flatten)]
    pub targets: Nodes,
    /// Wait until the tasks have ended, but no longer than DURATION.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = duration)]
    pub wait: Option<Option<Duration>>,
}

/// `identify`.
#[derive(Args, Debug)]
pub(super) struct Identify {
    /// Which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// How long; until further notice where 'forever'.
    #[arg(long = "for", value_name = "DURATION", default_value = "15s", value_parser = lasting, add = ArgValueCompleter::new(complete::lasting))]
    pub lasting: Lasting,
    /// End it now.
    #[arg(long, conflicts_with = "lasting")]
    pub off: bool,
}

/// How long a light blinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// So long.
    For(Duration),
    /// Until it is switched off.
    Forever,
}

/// `bootdev`.
#[derive(Args, Debug)]
pub(super) struct Bootdev {
    /// Which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Set it to this; only show it otherwise.
    #[arg(long, value_name = "DEVICE", value_parser = boot_target, add = ArgValueCompleter::new(complete::boot_devices))]
    pub set: Option<BootTarget>,
    /// For every boot, not only the next one.
    #[arg(long, requires = "set")]
    pub persistent: bool,
    /// In UEFI mode.
    #[arg(long, requires = "set")]
    pub uefi: bool,
}

/// What to boot from, as it is written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BootTarget(pub Option<BootDevice>);

fn boot_target(text: &str) -> Result<BootTarget, String> {
    if text == "none" {
        return Ok(BootTarget(None));
    }
    let device = power::boot_device(text)?;
    Ok(BootTarget(Some(device)))
}

/// `maintenance`.
#[derive(Args, Debug)]
pub(super) struct Maintenance {
    /// Which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Out of it.
    #[arg(long, conflicts_with = "reason")]
    pub off: bool,
}

/// `demo`.
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// Leave the rack and the daemon running, and say how to reach and how to stop them.
    #[arg(long)]
    pub keep: bool,
}

/// The old client's words for power states.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "snake_case")]
pub(super) enum PowerStateWord {
    /// Switch on.
    On,
    /// Switch off.
    Off,
    /// Off, then on.
    Reboot,
    /// Shut down, then on.
    SoftReboot,
    /// Shut down.
    SoftOff,
    /// Diagnostic interrupt.
    InjectNmi,
    /// Take a soft reboot back.
    AbortSoftReboot,
    /// Take a soft power off back.
    AbortSoftOff,
    /// Stop following an NMI.
    AbortInjectNmi,
}

impl PowerStateWord {
    /// The target of `PUT states/power`.
    pub(super) fn target(self) -> PowerTarget {
        match self {
            Self::On => PowerTarget::PowerOn,
            Self::Off => PowerTarget::PowerOff,
            Self::Reboot => PowerTarget::Rebooting,
            Self::SoftReboot => PowerTarget::SoftRebooting,
            Self::SoftOff => PowerTarget::SoftPowerOff,
            Self::InjectNmi => PowerTarget::InjectNmi,
            Self::AbortSoftReboot => PowerTarget::AbortSoftRebooting,
            Self::AbortSoftOff => PowerTarget::AbortSoftPowerOff,
            Self::AbortInjectNmi => PowerTarget::AbortInjectNmi,
        }
    }
}

/// A duration as people write it: `90` (seconds), `90s`, `10m`, `1h30m`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    crate::model::Seconds::from_words(text)
        .map(|seconds| seconds.0)
        .ok_or_else(|| "a duration is written like 90s, 10m or 1h30m".to_owned())
}

fn lasting(text: &str) -> Result<Lasting, String> {
    match text {
        "forever" => Ok(Lasting::Forever),
        _ => duration(text).map(Lasting::For),
    }
}

#[cfg(test)]
mod tests;
