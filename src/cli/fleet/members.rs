//! Which racks there are: those of `fleet.toml`, else the sockets of this host.

use super::Rack;
use crate::cli::args::Common;
use crate::cli::client::Client;
use crate::cli::connect::{Credentials, DEFAULT_SOCKET, Endpoint};
use crate::cli::exit::Failure;
use crate::config::{Disk, EtcdSettings, FleetAuth, FleetPlace, FleetRack, fleet_file};
use crate::http_client::trust::Trust;
use crate::nodeset::natural_order;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// The file of everybody on this host.
const EVERYBODYS: &str = "/etc/rackbmc/fleet.toml";

/// The racks of the fleet that the options and the environment mean.
///
/// # Errors
/// The file is wrong, or there is neither a file nor a socket.
pub(super) fn racks(common: &Common) -> Result<Vec<Rack>, Failure> {
    with_etcd(common).map(|(racks, _)| racks)
}

/// The same, and where they publish their summaries, where that is known.
///
/// # Errors
/// As [`racks`].
pub(super) fn with_etcd(common: &Common) -> Result<(Vec<Rack>, Option<EtcdSettings>), Failure> {
    let own = own_file();
    let usual = [own.as_deref(), Some(Path::new(EVERYBODYS))];
    let found = usual.into_iter().flatten().find(|path| path.exists());
    match common.fleet_file.as_deref().or(found) {
        Some(path) => of_file(path, common),
        None => Ok((sockets()?, None)),
    }
}

/// The racks of this host.
///
/// # Errors
/// There are none.
pub(super) fn sockets() -> Result<Vec<Rack>, Failure> {
    of_this_host(Path::new(DEFAULT_SOCKET).parent().unwrap_or(Path::new("/")))
}

/// Where this user's file would be.
fn own_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| set("HOME").map(|home| Path::new(&home).join(".config")));
    Some(folder?.join("rackbmc/fleet.toml"))
}

fn of_file(path: &Path, common: &Common) -> Result<(Vec<Rack>, Option<EtcdSettings>), Failure> {
    let file = fleet_file(path, &Disk).map_err(|complaints| {
        let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        Failure::Usage(lines.join("\n"))
    })?;
    let mut secrets = Secrets {
        common,
        credentials: HashMap::new(),
        trust: HashMap::new(),
    };
    let racks = file.racks.into_iter().map(|rack| {
        let endpoints = secrets.endpoints(&rack);
        let endpoints =
            endpoints.map_err(|why| Failure::Usage(format!("{}: {why}", rack.written)))?;
        Ok(Rack {
            name: rack.name,
            client: Client::of_one_of(endpoints),
            named: true,
        })
    });
    Ok((racks.collect::<Result<_, _>>()?, file.etcd))
}

/// What many racks share is read once.
struct Secrets<'c> {
    common: &'c Common,
    credentials: HashMap<PathBuf, Credentials>,
    trust: HashMap<Option<PathBuf>, Trust>,
}

impl Secrets<'_> {
    /// The rack's daemon, or those of its hosts.
    fn endpoints(&mut self, rack: &FleetRack) -> Result<Vec<Endpoint>, Failure> {
        let urls = match &rack.place {
            FleetPlace::Socket(path) => return Ok(vec![Endpoint::Unix(path.clone())]),
            FleetPlace::Urls(urls) => urls,
        };
        let credentials = match &rack.auth {
            None => crate::cli::credentials(self.common)?,
            Some(FleetAuth::Text(text)) => Some(Credentials::new(text)?),
            Some(FleetAuth::File(file)) => Some(match self.credentials.get(file) {
                Some(known) => known.clone(),
                None => {
                    let read = Credentials::of_file(file)?;
                    self.credentials.insert(file.clone(), read.clone());
                    read
                }
            }),
        };
        let authorities = rack.ca_file.clone().or_else(|| self.common.cacert.clone());
        let trusted = &mut self.trust;
        let mut trust = || match trusted.get(&authorities) {
            Some(known) => Ok(known.clone()),
            None => {
                let trust = Trust::new(authorities.as_deref()).map_err(Failure::Usage)?;
                trusted.insert(authorities.clone(), trust.clone());
                Ok(trust)
            }
        };
        let each = urls.iter();
        each.map(|url| Endpoint::from_url_with(url, credentials.clone(), &mut trust))
            .collect()
    }
}

/// A rack for each socket in the folder, called as `--rack` calls it: by the name of the file.
fn of_this_host(folder: &Path) -> Result<Vec<Rack>, Failure> {
    let nothing = |why: &str| {
        Failure::Usage(format!(
            "the fleet has no racks: there is no fleet.toml (~/.config/rackbmc or /etc/rackbmc; --fleet-file names \
             another), and {why} {}",
            folder.display()
        ))
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Err(nothing("no folder")),
        Err(why) => return Err(Failure::Here(format!("{}: {why}", folder.display()))),
    };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let is_socket = |path: &PathBuf| path.extension().is_some_and(|end| end == "sock");
    let mut racks: Vec<Rack> = paths
        .filter(is_socket)
        .filter_map(|path| {
            Some(Rack {
                name: path.file_stem()?.to_str()?.to_owned(),
                client: Client::new(Endpoint::Unix(path)),
                named: false,
            })
        })
        .collect();
    racks.sort_by(|a, b| natural_order(&a.name, &b.name));
    match racks.is_empty() {
        true => Err(nothing("no socket in")),
        false => Ok(racks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_of_this_host_are_racks_by_the_names_of_their_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let none = of_this_host(folder.path()).unwrap_err().to_string();
        assert!(none.contains("no socket in"), "{none}");
        for file in ["r10.sock", "r2.sock", "lock", "rackbmcd.sock"] {
            std::fs::write(folder.path().join(file), "").expect("a file");
        }
        let racks = of_this_host(folder.path()).expect("three");
        let names: Vec<&str> = racks.iter().map(|rack| rack.name.as_str()).collect();
        assert_eq!(names, ["r2", "r10", "rackbmcd"]);
    }
}
