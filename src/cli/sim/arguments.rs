//! The command `rackbmc sim`: its arguments, the table it prints, the configuration that it writes.

use super::moods::{self, WORDS, parse_mood};
use super::{NodePlan, Served, recording, serve};
use crate::cli::args::Format;
use crate::cli::output::{Out, loss, say};
use crate::sim::{BmcSettings, Conditions, Mood, Privilege, User, cipher_suites};
use nix::sys::signal::{SigSet, Signal};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Simulates a rack of BMCs with machines behind them on UDP ports of this host.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = format!("Moods:\n{WORDS}"))]
pub struct SimArgs {
    /// How many nodes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub nodes: u16,
    /// The address that all of them listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub address: IpAddr,
    /// The port of the first node, the others follow; 0 lets the kernel choose each.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// How the names of the nodes begin.
    #[arg(long, default_value = "n")]
    pub name: String,
    /// The user.
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// The file with the password on its first line; without it the password is "admin".
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The user's highest level: user, operator or administrator.
    #[arg(long, default_value = "administrator")]
    pub privilege: String,
    /// The file with the BMC key K_G on its first line, as text or as 0x and hex digits.
    #[arg(long, value_name = "FILE")]
    pub bmc_key_file: Option<PathBuf>,
    /// The cipher suites, or "all".
    #[arg(long, default_value = "3,17")]
    pub suites: String,
    /// Offers IPMI 1.5 sessions too.
    #[arg(long)]
    pub v15: bool,
    /// How many sessions a BMC has.
    #[arg(long, default_value_t = 8)]
    pub sessions: usize,
    /// The machines are off at the start.
    #[arg(long)]
    pub off: bool,
    /// What the operating system makes of a soft power off; the moods are below.
    #[arg(long, default_value = "obeys:5s", value_name = "MOOD")]
    pub os: String,
    /// What else all nodes do.
    #[arg(long, value_name = "MOOD")]
    pub mood: Vec<String>,
    /// What one node does otherwise than all.
    #[arg(long, value_name = "NAME=MOOD")]
    pub node: Vec<String>,
    /// The chance that a packet is lost, each way.
    #[arg(long, default_value_t = 0.0, value_name = "CHANCE")]
    pub loss: f64,
    /// The chance that a packet arrives twice.
    #[arg(long, default_value_t = 0.0, value_name = "CHANCE")]
    pub duplicate: f64,
    /// The chance that a packet is overtaken.
    #[arg(long, default_value_t = 0.0, value_name = "CHANCE")]
    pub reorder: f64,
    /// How long a packet is under way.
    #[arg(long, default_value = "0s", value_name = "TIME")]
    pub delay: String,
    /// Decides about all that is left to chance.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Writes a line for each order that reaches a machine: when, which machine, what, and from
    /// where.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Writes a configuration of rackbmcd for this rack, and its password beside it (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub write_config: Option<PathBuf>,
}

/// Why a simulated rack could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A word that is no mood, or whose value is none.
    #[error("{0:?} is no mood (rackbmc sim --help lists them)")]
    Mood(String),
    /// `--node` names a node that there is not.
    #[error("--node {0:?}: no such node; they are called {1} to {2}")]
    UnknownNode(String, String, String),
    /// `--node` without an equals sign.
    #[error("--node {0:?}: wants NAME=MOOD")]
    NodeMood(String),
    /// `--suites` names one that is not there.
    #[error("--suites {0:?}: no such cipher suite; there are {1}")]
    Suite(String, String),
    /// `--privilege` names no level.
    #[error("--privilege {0:?}: wants user, operator or administrator")]
    Privilege(String),
    /// A chance that is not between 0 and 1, or a time that does not read.
    #[error("--{0} {1:?}: wants {2}")]
    Value(&'static str, String, &'static str),
    /// A name, password or key that is too long for the protocol.
    #[error("{0} has {1} bytes, the protocol has room for {2}")]
    TooLong(&'static str, usize, usize),
    /// The ports that follow the first do not fit below 65536.
    #[error("--port {0}: {1} nodes do not fit above it")]
    Ports(u16, u16),
    /// A file that could not be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A socket that could not be bound.
    #[error("cannot listen on {0}: {1}")]
    Bind(IpAddr, io::Error),
    /// Signals or standard output.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SimError {
    /// Whether it was asked for what cannot be, and nothing was tried.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Mood(_)
            | Self::UnknownNode(..)
            | Self::NodeMood(_)
            | Self::Suite(..)
            | Self::Privilege(_)
            | Self::Value(..)
            | Self::TooLong(..)
            | Self::Ports(..) => true,
            Self::File(..) | Self::Bind(..) | Self::Io(_) => false,
        }
    }
}

/// Runs the rack until SIGINT or SIGTERM.
///
/// # Errors
/// What is wrong with the arguments, the files or the sockets.
pub fn run(args: SimArgs, out: &Out) -> Result<(), SimError> {
    // Blocked before the first thread is made, so that the signal waits for us.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().map_err(io::Error::from)?;
    let plans = plan(&args)?;
    let password = plans[0].settings.users[0].password.clone();
    let served = serve(plans, args.seed).map_err(|error| SimError::Bind(args.address, error))?;
    show(out, &served);
    // It goes on: who named the ports, or the file of a configuration, needs no list of them.
    if let Some(why) = loss() {
        say!("rackbmc: {why}");
    }
    if args.password_file.is_none() {
        out.remark(&format!("user {}, password {DEFAULT_PASSWORD}", args.user));
    }
    if let Some(path) = &args.write_config {
        let password_file = write_config(path, &args, &served, &password)?;
        out.remark(&format!(
            "written: {}, and the password in {}\n\n    rackbmcd --config {}\n    export RACKBMC_SOCKET={}",
            path.display(),
            password_file.display(),
            path.display(),
            password_file.with_extension("sock").display()
        ));
    }
    match &args.record {
        Some(path) => recording::wait(&served, path, &signals)?,
        None => drop(signals.wait().map_err(io::Error::from)?),
    }
    served.stop();
    Ok(())
}

/// The nodes that the arguments ask for.
pub(super) fn plan(args: &SimArgs) -> Result<Vec<NodePlan>, SimError> {
    let settings = settings(args)?;
    let (mut mood, mut conditions) = (Mood::default(), Conditions::default());
    for (name, value, slot) in [
        ("loss", args.loss, &mut conditions.loss),
        ("duplicate", args.duplicate, &mut conditions.duplicate),
        ("reorder", args.reorder, &mut conditions.reorder),
    ] {
        if !(0.0..=1.0).contains(&value) {
            return Err(SimError::Value(name, value.to_string(), "0 to 1"));
        }
        *slot = value;
    }
    conditions.held_back = Duration::from_millis(50);
    conditions.delay = moods::duration(&args.delay)
        .ok_or_else(|| SimError::Value("delay", args.delay.clone(), "a time as 20ms"))?;
    parse_mood(&args.os, &mut mood, &mut conditions)?;
    for words in &args.mood {
        parse_mood(words, &mut mood, &mut conditions)?;
    }
    if args.port != 0 && args.port.checked_add(args.nodes - 1).is_none() {
        return Err(SimError::Ports(args.port, args.nodes));
    }
    let width = args.nodes.to_string().len().max(2);
    let name = |number: u16| format!("{}{number:0width$}", args.name);
    let mut plans: Vec<NodePlan> = (1..=args.nodes)
        .map(|number| {
            let port = match args.port {
                0 => 0,
                first => first + number - 1,
            };
            let mut settings = settings.clone();
            settings.name = name(number);
            settings.guid[14..].copy_from_slice(&number.to_be_bytes());
            NodePlan {
                address: SocketAddr::new(args.address, port),
                settings,
                mood: mood.clone(),
                conditions,
            }
        })
        .collect();
    for words in &args.node {
        let (node, words) = (words.split_once('=')).ok_or(SimError::NodeMood(words.clone()))?;
        let plan = (plans.iter_mut())
            .find(|plan| plan.settings.name == node)
            .ok_or_else(|| SimError::UnknownNode(node.to_owned(), name(1), name(args.nodes)))?;
        parse_mood(words, &mut plan.mood, &mut plan.conditions)?;
    }
    Ok(plans)
}

fn settings(args: &SimArgs) -> Result<BmcSettings, SimError> {
    let password = match &args.password_file {
        Some(path) => first_line(path)?,
        None => DEFAULT_PASSWORD.to_owned(),
    };
    let bmc_key = match &args.bmc_key_file {
        Some(path) => Some(key(path)?),
        None => None,
    };
    for (what, length, room) in [
        ("the user name", args.user.len(), 16),
        ("the password", password.len(), 20),
        ("the BMC key", bmc_key.as_ref().map_or(0, Vec::len), 20),
    ] {
        if length > room {
            return Err(SimError::TooLong(what, length, room));
        }
    }
    let privilege = match args.privilege.as_str() {
        "user" => Privilege::User,
        "operator" => Privilege::Operator,
        "administrator" | "admin" => Privilege::Administrator,
        other => return Err(SimError::Privilege(other.to_owned())),
    };
    Ok(BmcSettings {
        users: vec![User::new(&args.user, &password, privilege)],
        bmc_key,
        suites: suites(&args.suites)?,
        session_limit: args.sessions,
        offers_v15: args.v15,
        starts_on: !args.off,
        clock_at_start: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as u32),
        ..BmcSettings::default()
    })
}

fn suites(words: &str) -> Result<Vec<u8>, SimError> {
    if words == "all" {
        return Ok(cipher_suites().collect());
    }
    let known = || cipher_suites().map(|id| id.to_string()).collect::<Vec<_>>();
    words
        .split(',')
        .map(|word| {
            (word.trim().parse().ok())
                .filter(|id| cipher_suites().any(|known| known == *id))
                .ok_or_else(|| SimError::Suite(word.to_owned(), known().join(", ")))
        })
        .collect()
}

fn first_line(path: &Path) -> Result<String, SimError> {
    let text = fs::read_to_string(path).map_err(|error| SimError::File(path.into(), error))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn key(path: &Path) -> Result<Vec<u8>, SimError> {
    let line = first_line(path)?;
    let Some(digits) = line.strip_prefix("0x") else {
        return Ok(line.into_bytes());
    };
    let bytes: Option<Vec<u8>> = (digits.as_bytes().chunks(2))
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    bytes
        .filter(|_| digits.len() % 2 == 0)
        .ok_or(SimError::Value(
            "bmc-key-file",
            path.display().to_string(),
            "text, or 0x and pairs of hex digits",
        ))
}

fn show(out: &Out, served: &Served) {
    let nodes: Vec<(&str, SocketAddr)> = served.nodes().collect();
    match out.format {
        Format::Json | Format::Yaml => {
            let described = |(name, address): &(&str, SocketAddr)| serde_json::json!({"name": name, "address": address.ip(), "port": address.port()});
            out.structured(&nodes.iter().map(described).collect::<Vec<_>>());
        }
        Format::Name => nodes.iter().for_each(|(name, _)| out.data(name)),
        Format::Text if !out.person => {
            for (name, address) in nodes {
                out.data(&format!("{name}: {} port {}", address.ip(), address.port()));
            }
        }
        Format::Text | Format::Wide => {
            let mut table = out.table(&["NODE", "ADDRESS", "PORT"]);
            for (name, address) in nodes {
                table.add_row([
                    name.to_owned(),
                    address.ip().to_string(),
                    address.port().to_string(),
                ]);
            }
            out.data(&out.drawn(table));
        }
    }
}

/// Writes the configuration and the password beside it; where the password is.
fn write_config(
    path: &Path,
    args: &SimArgs,
    served: &Served,
    password: &[u8],
) -> Result<PathBuf, SimError> {
    let path_error = |path: &Path| {
        let path = path.to_owned();
        move |error| SimError::File(path, error)
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = fs::canonicalize(directory).map_err(path_error(directory))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let password_file = directory.join(format!("{stem}.pw"));
    // Never through a file that somebody else may already hold open.
    match fs::remove_file(&password_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(SimError::File(password_file, error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&password_file)
        .map_err(path_error(&password_file))?;
    file.write_all(password)
        .and_then(|()| file.write_all(b"\n"))
        .map_err(path_error(&password_file))?;
    let text = config(args, served, &directory, &stem, &password_file);
    fs::write(path, text).map_err(path_error(path))?;
    Ok(password_file)
}

fn config(
    args: &SimArgs,
    served: &Served,
    directory: &Path,
    stem: &str,
    password_file: &Path,
) -> String {
    let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().as_ref()).to_string();
    let suites: Vec<String> = suites(&args.suites)
        .unwrap_or_default()
        .iter()
        .rev()
        .filter(|id| [3, 17].contains(*id))
        .map(u8::to_string)
        .collect();
    let mut text = String::from("# A simulated rack, written by rackbmc sim.\n");
    let _ = writeln!(
        text,
        "[daemon]\nstate_dir = {}\n",
        quoted(&directory.join(format!("{stem}-state")))
    );
    let _ = writeln!(
        text,
        "[api]\nsocket = {}\n",
        quoted(&directory.join(format!("{stem}.sock")))
    );
    let _ = writeln!(text, "[rack]\nname = \"sim\"\n");
    let _ = writeln!(
        text,
        "[defaults]\nusername = {}\npassword_file = {}",
        toml::Value::from(args.user.as_str()),
        quoted(password_file)
    );
    if !suites.is_empty() {
        let _ = writeln!(text, "cipher_suites = [{}]", suites.join(", "));
    }
    for (name, address) in served.nodes() {
        let _ = writeln!(
            text,
            "\n[[node]]\nname = {}\naddress = \"{}\"\nport = {}",
            toml::Value::from(name),
            address.ip(),
            address.port()
        );
    }
    text
}

const DEFAULT_PASSWORD: &str = "admin";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};
    use std::os::unix::fs::PermissionsExt;

    fn arguments(words: &str) -> SimArgs {
        let command = SimArgs::augment_args(clap::Command::new("sim"));
        let words = std::iter::once("sim").chain(words.split_whitespace());
        SimArgs::from_arg_matches(&command.get_matches_from(words)).unwrap()
    }

    #[test]
    fn a_single_node_has_its_own_mood() {
        let args = arguments("--nodes 12 --os hangs --node n07=obeys:1s+loss:0.5 --loss 0.1");
        let plans = plan(&args).unwrap();
        assert_eq!(plans.len(), 12);
        let odd = &plans[6];
        assert_eq!(odd.settings.name, "n07");
        assert_eq!(odd.conditions.loss, 0.5);
        assert_ne!(odd.mood.os, plans[0].mood.os);
        assert_eq!(plans[0].conditions.loss, 0.1);
        assert_ne!(plans[0].settings.guid, odd.settings.guid);
    }

    #[test]
    fn mistakes_are_said_with_what_was_meant() {
        for (words, said) in [
            ("--suites 3,4", "\"4\": no such cipher suite"),
            ("--node n99=hangs", "n01 to n04"),
            ("--node n01", "NAME=MOOD"),
            ("--loss 2", "0 to 1"),
            ("--os sulks", "sulks"),
            ("--port 65535 --nodes 2", "do not fit"),
            ("--privilege king", "king"),
            ("--user seventeen-letters", "17 bytes"),
        ] {
            let error = plan(&arguments(words)).unwrap_err().to_string();
            assert!(error.contains(said), "{words}: {error}");
        }
    }

    #[test]
    fn the_configuration_is_toml_and_its_password_is_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let args = arguments("--nodes 2");
        let served = serve(plan(&args).unwrap(), 1).unwrap();
        let path = directory.path().join("rack.toml");
        for _ in 0..2 {
            let password = write_config(&path, &args, &served, b"admin").unwrap();
            assert_eq!(fs::read(&password).unwrap(), b"admin\n");
            let mode = fs::metadata(&password).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let text = fs::read_to_string(&path).unwrap();
        let config: toml::Table = text.parse().unwrap();
        let nodes = config["node"].as_array().unwrap();
        assert_eq!(nodes.len(), 2);
        let port = nodes[1]["port"].as_integer().unwrap();
        assert_eq!(port, i64::from(served.address(1).port()));
        assert!(!text.contains("password ="));
    }
}
