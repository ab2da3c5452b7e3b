//! `[[node]]`: how one becomes many nodes, and what may be a name, an address and a uuid.

use super::complaint::{At, Findings};
use super::files::Secrets;
use super::keys::{HINTS, Keys, seconds, value};
use super::section::Section;
use crate::nodeset;
use crate::rack::settings::{Address, NodeSettings};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// The namespace of the uuids that are derived from names (UUIDv5). Changing it would give every
/// node another uuid.
const NAMESPACE: Uuid = Uuid::from_u128(0x5c1f_9d0e_7a42_4f6b_9b1d_2e8a_60c3_f174);

/// The uuid of a node that was not given one: the same for the same name, for ever.
pub fn uuid_of(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// The longest node name, as in Ironic.
const NAME_LIMIT: usize = 255;

/// Complains about a group's name that could not be written after `@`.
pub(super) fn check_group(group: &At<&str>, findings: &mut Findings<'_>) {
    if let Some(fault) = name_fault(group.value) {
        findings.complain(
            &group.span,
            format!("'{}' is no name for a group: {fault}", group.value),
        );
    }
    if group.value == "all" {
        findings.complain(
            &group.span,
            "'all' is every node already: take another name",
        );
    }
}

/// One `[[node]]` as typed.
pub(super) struct NodeEntry {
    span: Range<usize>,
    names: At<Vec<String>>,
    hosts: At<Vec<String>>,
    uuid: Option<At<Uuid>>,
    keys: Keys,
}

impl NodeEntry {
    /// Reads a `[[node]]`; `None` after complaints that leave no nodes to speak of.
    pub(super) fn read(
        mut section: Section<'_>,
        exposed: bool,
        findings: &mut Findings<'_>,
    ) -> Option<Self> {
        let names = match section.value("name").is_some() {
            true => names(&mut section, findings),
            false => {
                findings.missing(&section.span, "the node has no name: write name = \"...\"");
                None
            }
        };
        let hosts = match section.value("address").is_some() {
            true => hosts(&mut section, findings),
            false => {
                findings.missing(
                    &section.span,
                    "the node has no address: write address = \"...\"",
                );
                None
            }
        };
        let uuid = uuid(&mut section, findings);
        let keys = Keys::read(&mut section, exposed, findings);
        let span = section.span.clone();
        section.finish(HINTS, findings);
        let (names, hosts) = (names?, hosts?);
        if names.value.len() != hosts.value.len() {
            let complaint = format!(
                "{} addresses for {} names: ranges expand in step, so both must have as many",
                hosts.value.len(),
                names.value.len()
            );
            findings.complain(&hosts.span, complaint);
        }
        if let Some(uuid) = uuid.as_ref().filter(|_| names.value.len() > 1) {
            findings.complain(
                &uuid.span,
                "several nodes cannot have one uuid: leave it out, or write one [[node]] each",
            );
        }
        Some(Self {
            span,
            names,
            hosts,
            uuid,
            keys,
        })
    }

    pub(super) fn into_settings(
        self,
        defaults: &Keys,
        groups_of: &BTreeMap<String, Vec<String>>,
        secrets: &mut Secrets<'_>,
        findings: &mut Findings<'_>,
    ) -> Vec<Settled> {
        let keys = self.keys.over(defaults);
        let power = Arc::new(keys.power(findings));
        let care = Arc::new(keys.care());
        let login = keys.login(&self.span, secrets, findings).map(Arc::new);
        let port = value(&keys.port, 623);
        let mut settled = Vec::new();
        let hosts = self
            .hosts
            .value
            .iter()
            .map(Some)
            .chain(std::iter::repeat(None));
        for (name, host) in self.names.value.iter().zip(hosts) {
            let own = value(&keys.groups, Vec::new());
            let mut groups: Vec<String> = own.into_iter().map(|at| at.value).collect();
            groups.extend(groups_of.get(name).into_iter().flatten().cloned());
            groups.sort();
            groups.dedup();
            let uuid = self.uuid.as_ref().filter(|_| self.names.value.len() == 1);
            let address = host.map(|host| Address {
                host: host.as_str().into(),
                port,
            });
            settled.push(Settled {
                name: At::new(name.clone(), self.names.span.clone()),
                uuid: uuid.map_or_else(
                    || At::new(uuid_of(name), self.names.span.clone()),
                    At::clone,
                ),
                address: address
                    .clone()
                    .map(|address| At::new(address, self.hosts.span.clone())),
                node: address
                    .zip(login.clone())
                    .map(|(address, login)| NodeSettings {
                        name: name.as_str().into(),
                        uuid: uuid.map_or_else(|| uuid_of(name), |at| at.value),
                        groups: groups.into(),
                        address,
                        login,
                        care: care.clone(),
                        power: power.clone(),
                        nmi: value(&keys.nmi, true),
                        nmi_min_interval: value(&keys.nmi_min_interval, seconds(60)),
                    }),
            });
        }
        settled
    }

    /// The names it stands for.
    pub(super) fn names(&self) -> &[String] {
        &self.names.value
    }

    /// The groups that it (or `defaults`) names.
    pub(super) fn groups<'k>(&'k self, defaults: &'k Keys) -> impl Iterator<Item = &'k str> {
        let groups = self.keys.groups.as_ref().or(defaults.groups.as_ref());
        groups
            .into_iter()
            .flat_map(|at| at.value.iter().map(|at| at.value.as_str()))
    }
}

/// One node with the places of what must be unique.
pub(super) struct Settled {
    pub name: At<String>,
    pub uuid: At<Uuid>,
    pub address: Option<At<Address>>,
    /// `None` after a complaint.
    pub node: Option<NodeSettings>,
}

fn names(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<At<Vec<String>>> {
    let typed = section.text("name", findings)?;
    if typed.value.trim().is_empty() {
        findings.complain(&typed.span, "the name is empty: write name = \"...\"");
        return None;
    }
    let names = expand(&typed, findings)?;
    for name in &names {
        if let Some(fault) = name_fault(name) {
            findings.complain(
                &typed.span,
                format!("'{name}' is no name for a node: {fault}"),
            );
            return None;
        }
    }
    Some(At::new(names, typed.span))
}

/// What is wrong with a name of a node or a group, if anything.
pub(super) fn name_fault(name: &str) -> Option<String> {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() {
        return Some("it is empty".into());
    }
    if name.len() > NAME_LIMIT {
        return Some(format!(
            "it has {} bytes, {NAME_LIMIT} are allowed",
            name.len()
        ));
    }
    if let Some(other) = name.chars().find(|c| !allowed(c)) {
        return Some(format!(
            "'{other}' is not allowed, only letters, digits, '-', '_' and '.'"
        ));
    }
    if name.chars().all(|c| c == '.') {
        return Some("it needs a letter or a digit".into());
    }
    // It could not be told from the uuid of another node.
    Uuid::try_parse(name)
        .is_ok()
        .then(|| "it looks like a uuid".into())
}

fn hosts(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<At<Vec<String>>> {
    let typed = section.text("address", findings)?;
    let text = typed.value.trim();
    if text.is_empty() {
        findings.complain(
            &typed.span,
            "the address is empty: write a host name, an IPv4 or an IPv6 address",
        );
        return None;
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    if text.starts_with('[') && text.contains("]:") {
        let fault = "write the port apart, as port = ...";
        findings.complain(&typed.span, format!("'{text}' is no address: {fault}"));
        return None;
    }
    // An IPv6 address in brackets, as in an URL, is no range.
    let hosts = match bare.filter(|bare| bare.parse::<Ipv6Addr>().is_ok()) {
        Some(bare) => vec![bare.to_owned()],
        None => expand(&At::new(text.to_owned(), typed.span.clone()), findings)?,
    };
    for host in &hosts {
        if let Some(fault) = host_fault(host) {
            findings.complain(&typed.span, format!("'{host}' is no address: {fault}"));
            return None;
        }
    }
    Some(At::new(hosts, typed.span))
}

/// Where the BMC is, as one text however it was typed: two nodes with the same one have one BMC.
pub(super) fn canonical(host: &str) -> String {
    let (address, scope) = host.split_once('%').unwrap_or((host, ""));
    match address.parse::<IpAddr>() {
        Ok(address) => format!("{}%{scope}", address.to_canonical()),
        // A name that ends with a dot is the same name.
        Err(_) => host.strip_suffix('.').unwrap_or(host).to_lowercase(),
    }
}

/// Why no single machine has this address, if none can.
fn no_machine(address: IpAddr) -> Option<&'static str> {
    let everybody = IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_unspecified() {
        Some("it stands for every address of this host; write that of the BMC")
    } else if address.is_multicast() || address == everybody {
        Some("many machines listen there; write that of the BMC")
    } else {
        None
    }
}

fn host_fault(host: &str) -> Option<String> {
    const FORMS: &str = "write a host name, an IPv4 or an IPv6 address";
    // fe80::1%eth0: the scope is the system's affair.
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    let v6 = address.parse::<Ipv6Addr>().map(IpAddr::V6);
    if let Ok(IpAddr::V6(address)) = host.parse::<IpAddr>()
        && address.is_unicast_link_local()
    {
        return Some(format!(
            "every link has one of its own; write the interface behind it, as in {address}%eth0"
        ));
    }
    if let Ok(address) = host.parse::<IpAddr>().or(v6) {
        return no_machine(address.to_canonical()).map(str::to_owned);
    }
    if host.matches(':').count() == 1 {
        return Some("write the port apart, as port = ...".into());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    // The system's look-up takes what is made of numbers for an address in some other notation:
    // 0x7f.1 is 127.0.0.1.
    let number = |label: &str| match label.strip_prefix("0x") {
        Some(hex) => hex.chars().all(|c| c.is_ascii_hexdigit()),
        None => label.chars().all(|c| c.is_ascii_digit()),
    };
    let numbers = labels.split('.').all(number);
    let good = host.len() <= 253 && labels.split('.').all(label) && !numbers;
    (!good).then(|| FORMS.into())
}

fn uuid(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<At<Uuid>> {
    let typed = section.text("uuid", findings)?;
    match Uuid::try_parse(&typed.value) {
        Ok(uuid) if !uuid.is_nil() => Some(At::new(uuid, typed.span)),
        _ => {
            let complaint = format!(
                "'{}' is no uuid: write one as uuidgen prints it, or leave it out",
                typed.value
            );
            findings.complain(&typed.span, complaint);
            None
        }
    }
}

fn expand(typed: &At<String>, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    match nodeset::expand_pattern(&typed.value) {
        Ok(all) => Some(all),
        Err(error) => {
            findings.complain(&typed.span, error.to_string());
            None
        }
    }
}
