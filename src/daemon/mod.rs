//! The shell: the only room with a clock, sockets, signals, randomness and the store. It owns the
//! one [`Rack`] and does the world's part for it; it decides nothing about machines.
//!
//! | file | subject |
//! | --- | --- |
//! | `shell` | the loop: one input, drain every output, wait |
//! | `thread` | the one thread of the loop and of the API |
//! | `udp` | datagrams in batches, one socket per local port number |
//! | `locks` | what keeps two daemons of one host off one BMC |
//! | `spread` | how many datagrams leave within a millisecond |
//! | `alarm` | the loop's timer |
//! | `listen` | the API's sockets: systemd's or our own |
//! | `store` | the journal on the disk |
//! | `audit` | who changed what, chained by hash |
//! | `members` | the way to etcd |
//! | `pins` | what a host keeps of itself and of etcd |
//! | `check_etcd` | whether etcd is as a second host needs it |
//! | `discard` | entries of the journal that cannot be read |
//! | `refuse` | what is said to those who wait while the configuration is wrong |
//! | `on_disk` | whether the configuration on the disk would be taken |
//! | `metrics` | OpenMetrics text |
//! | `randomness` | the kernel's randomness, in blocks that are wiped as they are used |
//! | `kernel` | the only `unsafe`: calls without a safe wrapper |
//! | `pages` | the man pages rackbmcd(8) and rackbmcd.toml(5) |
//! | `support` | what the daemon adds to a report about itself |
//! | `systemd` | what systemd is told, which may not listen |
//! | `logging`, `clock`, `signals`, `names`, `limits` | the rest of the world |
//!
//! [`Rack`]: crate::rack::Rack

mod alarm;
mod audit;
mod check_etcd;
mod clock;
mod discard;
mod kernel;
mod limits;
mod listen;
mod locks;
mod logging;
mod metrics;
mod names;
mod on_disk;
mod pages;
mod pins;
mod randomness;
mod refusals;
mod refuse;
mod say;
mod shell;
mod signals;
mod spread;
pub mod store;
mod support;
mod systemd;
mod thread;
mod udp;

use crate::config::{Check, Complaint, Configuration, Disk, Files};
use crate::model::{counted, escaped};
use crate::rack::settings::Refusals;
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::Store;

/// Per-rack BMC power daemon: speaks IPMI over LAN to the BMCs of one rack and serves their power
/// over a local HTTP socket. `rackbmc` is its command line.
#[derive(Parser, Debug)]
#[command(name = "rackbmcd", version)]
struct Arguments {
    /// The configuration file.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/rackbmcd/rackbmcd.toml"
    )]
    config: PathBuf,
    /// Read the configuration and what it names, say what is wrong with it, and exit (78 where
    /// something is).
    #[arg(long)]
    check_config: bool,
    /// Look at the whole audit trail of a daemon that is stopped, say where it was cut or changed,
    /// and exit (1 where it was).
    #[arg(long, conflicts_with = "check_config")]
    verify_audit: bool,
    /// Discard an entry of the journal that cannot be read, while the daemon is stopped: what it
    /// was about takes power orders again. A copy goes into the audit trail.
    #[arg(
        long,
        num_args = 2,
        value_names = ["TABLE", "KEY"],
        conflicts_with_all = ["check_config", "verify_audit"]
    )]
    discard: Option<Vec<String>>,
    /// Log in to every BMC of the configuration, switch nothing, and say of each in a line how it
    /// is and what to do. Through the daemon where it runs. Exit 1 where one of them is not as it
    /// has to be.
    #[arg(long, conflicts_with_all = ["check_config", "verify_audit", "discard"])]
    check_bmcs: bool,
    /// Ask every member of etcd in the configuration whether it is as a second host for the rack
    /// needs it, say of each in a line how it is, and exit (78 where one is not). Changes nothing.
    #[arg(long, conflicts_with_all = ["check_config", "verify_audit", "discard", "check_bmcs"])]
    check_etcd: bool,
    /// Begin with a new journal where the one that was there before is missing.
    #[arg(long, conflicts_with_all = ["check_config", "verify_audit", "discard"])]
    new_journal: bool,
    /// What is logged: error, warn, info, debug or trace. The configuration's log_level where not
    /// given.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<log::LevelFilter>,
    /// Print a man page and exit.
    #[arg(long, value_name = "PAGE", value_enum, hide = true)]
    man: Option<pages::Page>,
}

/// The exit code for a wrong configuration (`EX_CONFIG`): systemd does not restart for it.
pub const EXIT_CONFIG: u8 = 78;

/// The daemon's whole life, from its arguments to its exit code. `check_bmcs` is what a look at all
/// BMCs is done by: it asks a running daemon, as any client does.
pub fn main(check_bmcs: fn(&Configuration, &mut dyn Refusals) -> ExitCode) -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(page) = arguments.man {
        return match say::out(pages::text(page).trim_end()) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        };
    }
    let files: &dyn Files = match arguments.check_config {
        true => &Check,
        false => &Disk,
    };
    let configuration = match Configuration::load(&arguments.config, files) {
        Ok(configuration) => configuration,
        Err(complaints) => return refuse(&arguments, &complaints),
    };
    if arguments.check_config {
        let nodes = counted(configuration.nodes.len(), "node");
        configuration.warnings.iter().for_each(say::err);
        say::out(format_args!(
            "{}: good, {nodes} in rack {}",
            arguments.config.display(),
            configuration.rack.name
        ));
        return ExitCode::SUCCESS;
    }
    if arguments.check_bmcs {
        let mut journal = refusals::Journal::in_directory(&configuration.daemon.state_dir);
        return check_bmcs(&configuration, &mut journal);
    }
    if arguments.check_etcd {
        return check_etcd(&configuration);
    }
    if arguments.verify_audit {
        return verify_audit(&configuration.daemon.state_dir);
    }
    if let Some([table, key]) = arguments.discard.as_deref() {
        let state_dir = &configuration.daemon.state_dir;
        return match discard::discard(state_dir, table, key) {
            Ok(done) => {
                done.lines().for_each(|line| {
                    say::out(escaped(line));
                });
                ExitCode::SUCCESS
            }
            Err(why) => {
                say::err(escaped(&why));
                ExitCode::FAILURE
            }
        };
    }
    logging::start(
        arguments
            .log_level
            .unwrap_or(configuration.daemon.log_level),
    );
    configuration
        .warnings
        .iter()
        .for_each(|warning| log::warn!("{warning}"));
    if nix::unistd::geteuid().is_root() {
        log::warn!(
            "running as root, which nothing here needs: a service of its own user can do less harm (User=rackbmcd)"
        );
    }
    limits::harden();
    kernel::share_one_heap();
    kernel::keep_answers_apart();
    let listeners = 1 + u64::from(configuration.api.tcp.is_some());
    let nodes = configuration.nodes.len();
    limits::open_files(configuration.api.limits.connections, listeners, nodes);
    // Before any thread is started: all of them must have our signals blocked.
    let ended = signals::Signals::new().and_then(|signals| {
        thread::run(move |executor| {
            shell::run(
                arguments.config,
                configuration,
                arguments.new_journal,
                signals,
                executor,
            )
        })
    });
    match ended.map_err(Failure::new).and_then(|ended| ended) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::error!("{}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// Says every mistake in the configuration, a line each; also to those who wait for a daemon, where
/// one was to start.
fn refuse(arguments: &Arguments, complaints: &[Complaint]) -> ExitCode {
    let only_looks = arguments.check_config
        || arguments.check_bmcs
        || arguments.check_etcd
        || arguments.verify_audit
        || arguments.discard.is_some();
    if only_looks {
        complaints.iter().for_each(say::err);
        return ExitCode::from(EXIT_CONFIG);
    }
    logging::start(log::LevelFilter::Info);
    complaints
        .iter()
        .for_each(|complaint| log::error!("{complaint}"));
    if let Some(first) = complaints.first() {
        let is_right = || Configuration::load(&arguments.config, &Disk).is_ok();
        refuse::answer_waiting(&first.to_string(), is_right);
    }
    ExitCode::from(EXIT_CONFIG)
}

/// Asks the members of etcd.
fn check_etcd(configuration: &Configuration) -> ExitCode {
    let Some(settings) = &configuration.etcd else {
        say::err("there is no [etcd] in the configuration");
        return ExitCode::from(EXIT_CONFIG);
    };
    let rack = &configuration.rack.name;
    let mut taken = true;
    let mut say = |line: &str| taken &= say::out(escaped(line));
    match smol::block_on(check_etcd::check(settings, rack, &mut say)) {
        true if taken => ExitCode::SUCCESS,
        // The lines were all that was asked for.
        true => ExitCode::FAILURE,
        false => ExitCode::from(EXIT_CONFIG),
    }
}

/// Looks at the audit trail on the disk.
fn verify_audit(state_dir: &Path) -> ExitCode {
    if !Store::exists(state_dir) {
        say::err(format_args!("{}: there is no journal", state_dir.display()));
        return ExitCode::FAILURE;
    }
    match Store::open_to_look(state_dir).and_then(|mut store| audit::verify(&mut store)) {
        Ok((head, removed, breaches)) if breaches.is_empty() => {
            say::out(format_args!(
                "the audit trail is whole: {}, the newest {}",
                crate::api::audit::extent(&head, removed),
                head.hash
            ));
            ExitCode::SUCCESS
        }
        Ok((.., breaches)) => {
            for breach in breaches {
                say::out(escaped(&breach.to_string()));
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            say::err(error);
            ExitCode::FAILURE
        }
    }
}

/// The name of this machine.
fn host_name() -> std::io::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    Ok(name.trim().to_owned())
}

/// Why the daemon does not start, or does not go on.
#[derive(Debug)]
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(text: impl std::fmt::Display) -> Self {
        Self {
            text: text.to_string(),
            code: 1,
        }
    }

    /// What a person has to see to first is not tried again.
    fn of_store(error: store::StoreError) -> Self {
        let code = match error {
            store::StoreError::Missing(_)
            | store::StoreError::Dangling { .. }
            | store::StoreError::Unmounted { .. } => EXIT_CONFIG,
            _ => 1,
        };
        Self {
            code,
            ..Self::new(error)
        }
    }
}
