//! `fleet.toml`: the racks that `rackbmc --fleet` asks, each with the way to its daemon.
//!
//! A file of the client: the daemon never reads it. Whether a URL leads anywhere is for the client
//! to find out.

use super::complaint::{At, Findings};
use super::files::Files;
use super::files::Secrets;
use super::node::name_fault;
use super::section::Section;
use super::{Complaint, EtcdSettings, etcd, read_whole, utf8_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::DeTable;
use zeroize::Zeroizing;

/// More racks than that are no fleet of one file.
const RACK_LIMIT: usize = 4096;

/// What the file says.
#[derive(Clone, PartialEq, Debug)]
pub struct FleetFile {
    /// The racks, in its order.
    pub racks: Vec<FleetRack>,
    /// Where racks publish their summaries, where that is written.
    pub etcd: Option<EtcdSettings>,
}

/// A rack of the fleet.
#[derive(Clone, PartialEq, Debug)]
pub struct FleetRack {
    /// Its name, as its daemon's configuration has it.
    pub name: String,
    /// Where its daemon is.
    pub place: FleetPlace,
    /// Those who vouch for an `https://` daemon (PEM).
    pub ca_file: Option<PathBuf>,
    /// User and password for the TCP port.
    pub auth: Option<FleetAuth>,
    /// Where all this stands: `fleet.toml:3:1`.
    pub written: String,
}

/// Where a rack's daemon is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FleetPlace {
    /// A Unix socket of this host.
    Socket(PathBuf),
    /// URLs, as they were typed: several where the rack has several hosts.
    Urls(Vec<String>),
}

/// `user:password`. Never shown.
#[derive(Clone, PartialEq)]
pub enum FleetAuth {
    /// As it was typed.
    Text(Zeroizing<String>),
    /// In this file.
    File(PathBuf),
}

impl std::fmt::Debug for FleetAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("***"),
            Self::File(path) => path.fmt(f),
        }
    }
}

/// What the file at `path` says.
///
/// # Errors
/// Every mistake, in the order of the file; never an empty list.
pub fn fleet_file(path: &Path, files: &dyn Files) -> Result<FleetFile, Vec<Complaint>> {
    let content = read_whole(path, files)?;
    let text = utf8_of(path, &content)?;
    let mut findings = Findings::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        findings.unreadable(&span, error.message().replace('\n', ", "));
    }
    let reader = Reader {
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
        private: content.mode & 0o077 == 0,
    };
    let mut root = Section::new("the file", table.get_ref(), 0..0);
    let etcd = root.table("etcd", "[etcd]", &mut findings);
    let etcd = etcd::read(etcd, &mut Secrets::new(files, path), &mut findings);
    let racks = reader.racks(root, &mut findings);
    findings.verdict()?;
    Ok(FleetFile { racks, etcd })
}

/// What a `[[rack]]` takes from `[defaults]` where it says nothing itself.
#[derive(Clone, Default)]
struct Shared {
    ca_file: Option<PathBuf>,
    auth: Option<FleetAuth>,
}

struct Reader {
    /// Paths are meant from where the file is.
    folder: PathBuf,
    /// Nobody but its owner may read the file: a password may stand in it.
    private: bool,
}

impl Reader {
    fn racks(&self, mut root: Section<'_>, findings: &mut Findings<'_>) -> Vec<FleetRack> {
        let defaults = root.table("defaults", "[defaults]", findings);
        let defaults = defaults.map_or_else(Shared::default, |mut section| {
            let shared = self.shared(&mut section, findings);
            section.finish(&[], findings);
            shared
        });
        let sections = root.tables("rack", "[[rack]]", findings);
        if sections.is_empty() {
            findings.missing(
                &(0..0),
                "there are no racks: write [[rack]], name = \"r1\", url = \"https://...\"",
            );
        }
        let mut racks: Vec<FleetRack> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for section in sections {
            let span = section.span.clone();
            for rack in self.rack(section, &defaults, findings) {
                if let Some(line) = places.insert(rack.name.clone(), findings.line(&span)) {
                    let text = format!("the rack {} stands in line {line} already", rack.name);
                    findings.complain(&span, text);
                }
                racks.push(rack);
            }
        }
        if racks.len() > RACK_LIMIT {
            findings.complain(&(0..0), format!("there are more than {RACK_LIMIT} racks"));
        }
        root.finish(&[("racks", "write [[rack]]")], findings);
        racks
    }

    /// The racks of one `[[rack]]`: several where its name is a range.
    fn rack(
        &self,
        mut section: Section<'_>,
        defaults: &Shared,
        findings: &mut Findings<'_>,
    ) -> Vec<FleetRack> {
        let span = section.span.clone();
        let typed = section.nonempty("name", findings);
        let url = section.nonempty("url", findings);
        let socket = section.nonempty("socket", findings);
        let own = self.shared(&mut section, findings);
        section.finish(&[("address", "write url or socket")], findings);
        let Some(typed) = typed else {
            findings.missing(&span, "this rack has no name: write name = \"r1\"");
            return Vec::new();
        };
        let (place, is_url) = match (url, socket) {
            (Some(url), None) => (url, true),
            (None, Some(socket)) => (socket, false),
            (Some(_), Some(socket)) => {
                findings.complain(&socket.span, "a rack has a url or a socket, not both");
                return Vec::new();
            }
            (None, None) => {
                findings.missing(
                    &span,
                    "it is not said where its daemon is: write url = \"https://mgmt1:6385\" or socket = \"/run/rackbmcd/r1.sock\"",
                );
                return Vec::new();
            }
        };
        if !is_url && (own.ca_file.is_some() || own.auth.is_some()) {
            findings.complain(
                &place.span,
                "a socket wants neither ca_file nor auth: who asks is known to the daemon",
            );
        }
        let Some(names) = expanded(&typed, findings) else {
            return Vec::new();
        };
        let Some(places) = places_of(&place, is_url, names.len(), findings) else {
            return Vec::new();
        };
        let written = findings.place(&span);
        let settled = |(name, places): (String, Vec<String>)| {
            if let Some(fault) = name_fault(&name) {
                let text = format!("'{name}' is no name for a rack: {fault}");
                findings.complain(&typed.span, text);
            }
            FleetRack {
                name,
                place: self.place(is_url, places),
                ca_file: own.ca_file.clone().or_else(|| defaults.ca_file.clone()),
                auth: own.auth.clone().or_else(|| defaults.auth.clone()),
                written: written.clone(),
            }
        };
        names.into_iter().zip(places).map(settled).collect()
    }

    fn place(&self, is_url: bool, places: Vec<String>) -> FleetPlace {
        match is_url {
            true => FleetPlace::Urls(places),
            false => FleetPlace::Socket(self.folder.join(places.concat())),
        }
    }

    fn shared(&self, section: &mut Section<'_>, findings: &mut Findings<'_>) -> Shared {
        let ca_file = section.nonempty("ca_file", findings);
        let text = section.nonempty("auth", findings);
        let file = section.nonempty("auth_file", findings);
        if let Some(text) = &text {
            if !text.value.contains(':') {
                findings.complain(&text.span, "auth reads \"user:password\"");
            }
            if !self.private {
                findings.complain(
                    &text.span,
                    "a password stands here, and others may read the file: chmod 600, or write auth_file",
                );
            }
            if file.is_some() {
                findings.complain(&text.span, "there is auth or auth_file, not both");
            }
        }
        let text = text.map(|text| FleetAuth::Text(Zeroizing::new(text.value)));
        let file = file.map(|file| FleetAuth::File(self.folder.join(file.value)));
        Shared {
            ca_file: ca_file.map(|file| self.folder.join(file.value)),
            auth: text.or(file),
        }
    }
}

/// For each of so many racks its places: one for each of its hosts.
fn places_of(
    place: &At<String>,
    is_url: bool,
    racks: usize,
    findings: &mut Findings<'_>,
) -> Option<Vec<Vec<String>>> {
    let hosts = match is_url {
        true => each_host(&place.value),
        false => vec![place.value.as_str()],
    };
    let mut places = vec![Vec::new(); racks];
    for host in hosts {
        let host = At {
            value: host.to_owned(),
            span: place.span.clone(),
        };
        let of_host = expanded(&host, findings)?;
        if of_host.len() != racks {
            let text = format!(
                "{} places for {racks} names: ranges expand in step, so both must have as many",
                of_host.len()
            );
            findings.complain(&place.span, text);
            return None;
        }
        for (places, one) in places.iter_mut().zip(of_host) {
            places.push(one);
        }
    }
    Some(places)
}

/// The URLs of the hosts of a rack: between commas, but for those of a range.
fn each_host(typed: &str) -> Vec<&str> {
    let mut in_range = false;
    let hosts = typed.split(|letter| {
        in_range = (in_range || letter == '[') && letter != ']';
        letter == ',' && !in_range
    });
    hosts.map(str::trim).collect()
}

fn expanded(typed: &At<String>, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    match crate::nodeset::expand_pattern(&typed.value) {
        Ok(all) => Some(all),
        Err(why) => {
            findings.complain(&typed.span, why.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Content;
    use std::io;

    struct One(&'static str, u32);

    impl Files for One {
        fn read(&self, _: &Path) -> io::Result<Content> {
            let bytes = Zeroizing::new(self.0.as_bytes().to_vec());
            Ok(Content {
                bytes,
                mode: self.1,
            })
        }
        fn credentials(&self) -> Option<PathBuf> {
            None
        }
        fn user_id(&self, _: &str) -> Option<u32> {
            None
        }
        fn group_id(&self, _: &str) -> Option<u32> {
            None
        }
    }

    fn read(text: &'static str, mode: u32) -> Result<Vec<FleetRack>, String> {
        let read = fleet_file(Path::new("/etc/rackbmc/fleet.toml"), &One(text, mode));
        read.map(|file| file.racks).map_err(|complaints| {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })
    }

    #[test]
    fn names_and_places_expand_in_step_and_take_what_they_share() {
        let racks = read(
            "[defaults]\nca_file = \"ca.pem\"\nauth_file = \"/root/auth\"\n\
             [[rack]]\nname = \"r[08-10]\"\nurl = \"https://mgmt[08-10]:6385\"\n\
             [[rack]]\nname = \"r11\"\nsocket = \"/run/rackbmcd/r11.sock\"\n",
            0o644,
        );
        let racks = racks.expect("no mistake");
        let names: Vec<&str> = racks.iter().map(|rack| rack.name.as_str()).collect();
        assert_eq!(names, ["r08", "r09", "r10", "r11"]);
        assert_eq!(
            racks[2].place,
            FleetPlace::Urls(vec!["https://mgmt10:6385".into()])
        );
        let ca_file = racks[0].ca_file.as_deref();
        assert_eq!(ca_file, Some(Path::new("/etc/rackbmc/ca.pem")));
        assert_eq!(racks[0].written, "/etc/rackbmc/fleet.toml:4:1");
        let socket = FleetPlace::Socket("/run/rackbmcd/r11.sock".into());
        assert_eq!(racks[3].place, socket);
    }

    #[test]
    fn a_rack_with_two_hosts_has_a_url_for_each() {
        let racks = read(
            "[[rack]]\nname = \"r[1,3]\"\nurl = \"https://a[1,3]:1, https://b[1,3]:2\"\n",
            0o644,
        );
        let racks = racks.expect("no mistake");
        let hosts = |a: &str, b: &str| FleetPlace::Urls(vec![a.into(), b.into()]);
        assert_eq!(racks[0].place, hosts("https://a1:1", "https://b1:2"));
        assert_eq!(racks[1].place, hosts("https://a3:1", "https://b3:2"));
        let no = read(
            "[[rack]]\nname = \"r[1,3]\"\nurl = \"https://a[1,3],https://b1\"\n",
            0o644,
        );
        assert!(no.unwrap_err().contains("1 places for 2 names"));
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let said = read(
            "[[rack]]\nname = \"r[1-3]\"\nurl = \"http://m[1-2]\"\n\
             [[rack]]\nnam = \"r4\"\nsocket = \"s\"\n\
             [[rack]]\nname = \"r/5\"\nsocket = \"s\"\n\
             [[rack]]\nname = \"r6\"\n\
             [[rack]]\nname = \"r7\"\nsocket = \"s\"\nauth = \"a:b\"\n\
             [[rack]]\nname = \"r7\"\nsocket = \"s\"\n[gateway]\n",
            0o644,
        );
        insta::assert_snapshot!(said.unwrap_err(), @r#"
        /etc/rackbmc/fleet.toml:3:7: 2 places for 3 names: ranges expand in step, so both must have as many
        /etc/rackbmc/fleet.toml:4:1: this rack has no name: write name = "r1"
        /etc/rackbmc/fleet.toml:5:1: [[rack]] has no key 'nam': did you mean 'name'?
        /etc/rackbmc/fleet.toml:8:8: 'r/5' is no name for a rack: '/' is not allowed, only letters, digits, '-', '_' and '.'
        /etc/rackbmc/fleet.toml:10:1: it is not said where its daemon is: write url = "https://mgmt1:6385" or socket = "/run/rackbmcd/r1.sock"
        /etc/rackbmc/fleet.toml:14:10: a socket wants neither ca_file nor auth: who asks is known to the daemon
        /etc/rackbmc/fleet.toml:15:8: a password stands here, and others may read the file: chmod 600, or write auth_file
        /etc/rackbmc/fleet.toml:16:1: the rack r7 stands in line 12 already
        /etc/rackbmc/fleet.toml:19:2: the file has no key 'gateway': write one of etcd, defaults, rack
        "#);
    }

    #[test]
    fn a_password_stands_only_where_nobody_else_may_read() {
        let text = "[[rack]]\nname = \"r1\"\nurl = \"http://m\"\nauth = \"ops:secret\"\n";
        let no = read(text, 0o640).unwrap_err();
        assert!(no.starts_with("/etc/rackbmc/fleet.toml:4:8: "), "{no}");
        let racks = read(text, 0o600).expect("private");
        assert!(!format!("{racks:?}").contains("secret"));
    }

    #[test]
    fn an_empty_file_is_a_mistake() {
        assert!(read("", 0o644).unwrap_err().contains("there are no racks"));
    }
}
