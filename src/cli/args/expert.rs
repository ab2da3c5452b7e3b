//! What may be written for the verbs of experts: the BMC itself, its event log, raw commands; and
//! the audit trail.

use super::Nodes;
use crate::cli::complete;
use crate::cli::discover::Network;
use crate::model::{AuditHead, Bridge};
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use std::path::PathBuf;

/// `bmc`.
#[derive(Subcommand, Debug)]
pub(crate) enum BmcVerb {
    /// Show who the BMCs are: maker, firmware, GUID, sessions, ACPI state, why the machine
    /// restarted last.
    Info(Nodes),
    /// Restart the BMCs themselves; the machines go on, but are out of reach for a minute or more.
    Reset(BmcReset),
    /// Write the last 200 datagrams of a BMC as text, decrypted, without names, passwords, codes
    /// and keys.
    ///
    /// For a report about a strange BMC. User names, passwords, authentication codes, keys and the
    /// data of commands that may carry such things, makers' own among them, are left out: `[16 left
    /// out]` says how many bytes. Addresses, GUIDs and the numbers of sessions are in it.
    Trace(BmcTrace),
    /// Say that the BMCs that are there now shall be the nodes', where they are others than before.
    Accept(BmcAccept),
}

/// `bmc trace`.
#[derive(Args, Debug)]
pub(crate) struct BmcTrace {
    /// Name or uuid of one node.
    #[arg(add = ArgValueCompleter::new(complete::nodes))]
    pub node: String,
}

/// `bmc accept`.
#[derive(Args, Debug)]
pub(crate) struct BmcAccept {
    /// Of which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// `bmc reset`.
#[derive(Args, Debug)]
#[group(id = "kind", required = true, multiple = false, args = ["cold", "warm"])]
pub(crate) struct BmcReset {
    /// Of which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// From the beginning, as after power came back.
    #[arg(long)]
    pub cold: bool,
    /// Only what it is doing; many BMCs do not have this.
    #[arg(long)]
    pub warm: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// `discover`.
#[derive(Args, Debug)]
pub(crate) struct Discover {
    /// Networks and addresses: 10.0.1.0/24, 10.0.2.7.
    #[arg(required = true, value_name = "NETWORKS")]
    pub networks: Vec<Network>,
    /// The UDP port.
    #[arg(long, default_value_t = 623, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Log in as this user, once to each BMC, and say who it is. Two refusals in a row and it asks
    /// before it goes on.
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// A file with the user's password; it is asked for otherwise.
    #[arg(long, value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,
    /// The privilege level to ask for.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "operator")]
    pub privilege: Level,
    /// At most so many datagrams a second.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Write a first configuration with what was found; its rack starts paused.
    #[arg(long, value_name = "FILE")]
    pub write_config: Option<PathBuf>,
}

/// A privilege level.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Reads.
    User,
    /// Switches.
    Operator,
    /// Everything.
    Administrator,
}

/// `init`.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Where the files go.
    #[arg(long, value_name = "DIRECTORY", default_value = "/etc/rackbmcd")]
    pub directory: PathBuf,
}

/// `sel`.
#[derive(Subcommand, Debug)]
pub(crate) enum SelVerb {
    /// Show the newest entries of the event logs, oldest first.
    List(SelList),
    /// Empty the event logs: what they say is lost.
    Clear(SelClear),
}

/// `sel list`.
#[derive(Args, Debug)]
pub(crate) struct SelList {
    /// Of which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// At most so many entries of each node.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
}

/// `sel clear`.
#[derive(Args, Debug)]
pub(crate) struct SelClear {
    /// Of which nodes.
    #[command(flatten)]
    pub nodes: Nodes,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// `support`.
#[derive(Args, Debug)]
pub(crate) struct Support {
    /// Which nodes; all where none is named.
    #[command(flatten)]
    pub nodes: Nodes,
    /// The file that is written; it must not be there yet. In the present directory, with rack and
    /// time in its name, where not given.
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// The configuration of a daemon that does not answer; /etc/rackbmcd/NAME.toml where not given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `audit`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    /// At most so many records.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub limit: u64,
    /// `verify`.
    #[command(subcommand)]
    pub verb: Option<AuditVerb>,
}

/// What else may be done with the audit trail.
#[derive(Subcommand, Debug)]
pub(crate) enum AuditVerb {
    /// Read the whole trail, compute its chain of hashes anew, and say where it was cut or changed.
    Verify {
        /// A record's number and hash that an earlier `verify` printed: shows also a trail that was
        /// made anew.
        #[arg(long, value_name = "NUMBER:HASH", value_parser = known)]
        known: Option<AuditHead>,
    },
}

/// `raw`.
#[derive(Args, Debug)]
pub(crate) struct Raw {
    /// Name or uuid of one node.
    #[arg(add = ArgValueCompleter::new(complete::nodes))]
    pub node: String,
    /// Network function, command and data: 0x06 0x01.
    #[arg(required = true, num_args = 2.., value_name = "BYTE", value_parser = byte)]
    pub bytes: Vec<u8>,
    /// The logical unit that is addressed.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub lun: u8,
    /// For the controller at ADDRESS on CHANNEL behind the BMC (0:0x2c), or for one behind another
    /// (0:0x82,7:0x72).
    #[arg(long, value_name = "CHANNEL:ADDRESS", value_parser = bridge)]
    pub bridge: Option<Bridge>,
}

/// A byte in decimal or hexadecimal.
fn byte(text: &str) -> Result<u8, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a byte is written like 0x2c or 44".to_owned())
}

/// A record by its number and hash.
fn known(text: &str) -> Result<AuditHead, String> {
    let parts = text.split_once(':').and_then(|(number, hash)| {
        let hexadecimal = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = number.parse().ok().filter(|number| *number > 0)?;
        hexadecimal.then(|| AuditHead {
            number,
            hash: hash.to_ascii_lowercase(),
        })
    });
    parts.ok_or_else(|| "a record is named like 42:9f86d0..., with 64 digits".to_owned())
}

/// One hop or two, the nearer first.
fn bridge(text: &str) -> Result<Bridge, String> {
    let hop = |text: &str| -> Result<(u8, u8), String> {
        let (channel, address) = text
            .split_once(':')
            .ok_or("a way is written like 0:0x2c, or 0:0x82,7:0x72")?;
        Ok((byte(channel)?, byte(address)?))
    };
    let (transit, target) = match text.split_once(',') {
        Some((transit, target)) => (Some(hop(transit)?), target),
        None => (None, text),
    };
    let (channel, address) = hop(target)?;
    Ok(Bridge {
        channel,
        address,
        transit_channel: transit.map(|(channel, _)| channel),
        transit_address: transit.map(|(_, address)| address),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_decimal_or_hexadecimal() {
        assert_eq!(byte("0x2c"), Ok(0x2c));
        assert_eq!(byte("44"), Ok(44));
        assert!(byte("256").is_err());
        assert!(byte("2c").is_err());
    }

    #[test]
    fn a_way_has_one_hop_or_two() {
        let single = Bridge {
            channel: 0,
            address: 0x2c,
            ..Bridge::default()
        };
        assert_eq!(bridge("0:0x2c"), Ok(single));
        let dual = Bridge {
            channel: 7,
            address: 0x72,
            transit_channel: Some(0),
            transit_address: Some(0x82),
        };
        assert_eq!(bridge("0:0x82,7:0x72"), Ok(dual));
        for bad in ["", "0", "0:", "0:0x82,", "0:1,2:3,4:5", "0:2c"] {
            assert!(bridge(bad).is_err(), "{bad}");
        }
    }
}
