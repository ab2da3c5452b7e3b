//! The configuration: TOML as typed becomes settings as meant, and every mistake a line with its
//! place.
//!
//! Driven by the daemon at its start, at SIGHUP and for `--check-config`. Reads the file and those
//! that it names through [`Files`]; touches nothing else. All mistakes are found at once, not only
//! the first.

mod api;
mod complaint;
mod etcd;
mod files;
mod fleet;
mod ha;
mod keys;
mod node;
mod section;
mod shareable;
mod tls;

pub use api::ApiSettings;
pub use complaint::Complaint;
pub use etcd::EtcdSettings;
pub(crate) use files::open_at_once;
pub use files::{Check, Content, Disk, Files, Wanted};
pub use fleet::{FleetAuth, FleetFile, FleetPlace, FleetRack, fleet_file};
pub use ha::HaSettings;
pub use node::uuid_of;
pub use shareable::shareable;
pub use tls::Tls;

use crate::nodeset;
use crate::rack::settings::{MaintenancePolicy, NodeSettings, RackSettings};
use complaint::{At, Findings, closest};
use files::Secrets;
use keys::{HINTS, Keys};
use node::{NodeEntry, Settled, check_group};
use section::{Section, text_of};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use toml::de::DeTable;

/// Everything that was configured, complete and found good.
#[derive(Clone, PartialEq, Debug)]
pub struct Configuration {
    /// The daemon itself.
    pub daemon: DaemonSettings,
    /// The HTTP API.
    pub api: ApiSettings,
    pub rack: RackSettings,
    /// Its nodes, in the order of the file. None yet in a file that has only just been installed.
    pub nodes: Vec<NodeSettings>,
    /// Where etcd is, where it is written.
    pub etcd: Option<EtcdSettings>,
    /// Whether the rack's summary is put into etcd, for those who look at many racks.
    pub publish: bool,
    /// Where the rack has more hosts than this one.
    pub ha: Option<HaSettings>,
    /// What is allowed, but better not so: a line each, with its place.
    pub warnings: Vec<String>,
    /// The SHA-256 of the file, in hexadecimal.
    pub digest: String,
}

/// What concerns the daemon itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DaemonSettings {
    /// Where the journal is.
    pub state_dir: PathBuf,
    /// What is logged, where the command line does not say.
    pub log_level: log::LevelFilter,
    /// How long the audit trail may be.
    pub audit_megabytes: u32,
}

impl DaemonSettings {
    /// The bytes that the audit trail may have.
    pub fn audit_limit(&self) -> u64 {
        u64::from(self.audit_megabytes) << 20
    }
}

impl Default for DaemonSettings {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/rackbmcd"),
            log_level: log::LevelFilter::Info,
            audit_megabytes: 64,
        }
    }
}

/// What to do about a file without nodes.
const FIRST_NODE: &str = "write a [[node]] with name and address";
/// More nodes than that are no rack.
const NODE_LIMIT: usize = 4096;

impl Configuration {
    /// Reads and judges the file at `path` and those that it names.
    ///
    /// # Errors
    /// Every mistake, in the order of the file; never an empty list. Nothing of a wrong file is
    /// used.
    pub fn load(path: &Path, files: &dyn Files) -> Result<Self, Vec<Complaint>> {
        let content = read_whole(path, files)?;
        let text = utf8_of(path, &content)?;
        let mut findings = Findings::new(path, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            findings.unreadable(&span, error.message().replace('\n', ", "));
        }
        let root = Section::new("the file", table.get_ref(), 0..0);
        let mut secrets = Secrets::new(files, path);
        secrets.warn_of_changers(path, content.mode, &(0..0), &mut findings);
        // Others may read it: then no secret may stand in it.
        let exposed = content.mode & 0o004 != 0;
        let (daemon, api, rack, nodes, (etcd, ha, publish)) =
            read(root, exposed, &mut secrets, &mut findings);
        let warnings = findings.verdict()?;
        Ok(Self {
            daemon,
            api,
            rack,
            nodes,
            etcd,
            publish,
            ha,
            warnings,
            digest: digest(&content.bytes),
        })
    }
}

fn alone(path: &Path, text: String) -> Vec<Complaint> {
    let file = path.display().to_string();
    vec![Complaint {
        file,
        line: 1,
        column: 1,
        text,
    }]
}

fn read_whole(path: &Path, files: &dyn Files) -> Result<Content, Vec<Complaint>> {
    let content = files.read(path);
    content.map_err(|reason| {
        let why = files::unreadable(path, &reason);
        alone(path, format!("the configuration cannot be read: {why}"))
    })
}

fn utf8_of<'c>(path: &Path, content: &'c Content) -> Result<&'c str, Vec<Complaint>> {
    std::str::from_utf8(&content.bytes).map_err(|error| {
        let before = &content.bytes[..error.valid_up_to()];
        let text = "this is no UTF-8 text: save the file as UTF-8";
        let mut complaints = alone(path, text.into());
        let line_start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        complaints[0].line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        complaints[0].column = String::from_utf8_lossy(&before[line_start..])
            .chars()
            .count()
            + 1;
        complaints
    })
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands in the file: of the daemon, its API, the rack, the nodes, and other hosts.
type Read = (
    DaemonSettings,
    ApiSettings,
    RackSettings,
    Vec<NodeSettings>,
    Others,
);

/// Where hosts of a rack meet, which of them this one is, and whether the rack's summary is
/// published there.
type Others = (Option<EtcdSettings>, Option<HaSettings>, bool);

fn read(
    mut root: Section<'_>,
    exposed: bool,
    secrets: &mut Secrets<'_>,
    findings: &mut Findings<'_>,
) -> Read {
    let daemon = root.table("daemon", "[daemon]", findings);
    let daemon = read_daemon(daemon, secrets, findings);
    let rack = root.table("rack", "[rack]", findings);
    let begun = rack.is_some();
    let (mut rack, order) =
        rack.map_or_else(Default::default, |section| read_rack(section, findings));
    let defaults = root.table("defaults", "[defaults]", findings);
    let defaults = defaults.map_or_else(Keys::default, |mut section| {
        let keys = Keys::read(&mut section, exposed, findings);
        section.finish(HINTS, findings);
        keys
    });
    let sections = root.tables("node", "[[node]]", findings);
    let typed = root.value("node").map(|value| value.get_ref());
    if typed.is_none_or(|typed| typed.as_array().is_some_and(|array| array.is_empty())) {
        // A file that has just been installed has a [rack] already; one without was cut off, or is
        // another file.
        match begun {
            true => findings.warn(&(0..0), format!("there are no nodes yet: {FIRST_NODE}")),
            false => findings.missing(&(0..0), format!("there are no nodes: {FIRST_NODE}")),
        }
    }
    let entries: Vec<NodeEntry> = sections
        .into_iter()
        .filter_map(|section| NodeEntry::read(section, exposed, findings))
        .collect();
    let groups = root.table("groups", "[groups]", findings);
    let groups = read_groups(groups, &entries, &defaults, findings);
    for group in order {
        if groups.all.contains_key(&group.value) {
            rack.power_order.push(group.value);
        } else {
            let text = format!("no node is in group '{}' of power_order", group.value);
            findings.complain(&group.span, text);
        }
    }
    let mut groups_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, names) in groups.typed {
        for name in names {
            groups_of.entry(name).or_default().push(group.clone());
        }
    }
    let api = root.table("api", "[api]", findings);
    let resolve =
        |typed: &At<String>, findings: &mut Findings<'_>| resolve(typed, &groups.all, findings);
    let api = api::read(api, &resolve, secrets, findings);
    let etcd = root.table("etcd", "[etcd]", findings);
    let etcd = etcd::read(etcd, secrets, findings);
    let ha = root.table("ha", "[ha]", findings);
    let ha = ha::read(ha, etcd.as_ref(), &api, findings);
    let fleet = root.table("fleet", "[fleet]", findings);
    let publish = etcd::read_publish(fleet, etcd.is_some(), findings);
    root.finish(
        &[("nodes", "write [[node]]"), ("default", "write [defaults]")],
        findings,
    );
    let mut settled = Vec::new();
    for entry in entries {
        if settled.len() + entry.names().len() > NODE_LIMIT {
            findings.complain(
                &(0..0),
                format!("there are more than {NODE_LIMIT} nodes: one daemon serves one rack"),
            );
            break;
        }
        settled.extend(entry.into_settings(&defaults, &groups_of, secrets, findings));
    }
    check_unique(&settled, findings);
    let mut nodes: Vec<_> = settled
        .into_iter()
        .filter_map(|settled| settled.node)
        .collect();
    share(&mut nodes);
    (daemon, api, rack, nodes, (etcd, ha, publish))
}

/// Thousands of nodes have mostly the same log-in and patience: those are kept once.
fn share(nodes: &mut [NodeSettings]) {
    let (mut logins, mut powers) = (Vec::new(), Vec::new());
    for node in nodes {
        share_one(&mut node.login, &mut logins);
        share_one(&mut node.power, &mut powers);
    }
}

/// Where one of those that are known is equal, `value` becomes that one. Few are known: a search
/// must stay short where every node has a password of its own.
fn share_one<T: PartialEq>(value: &mut Arc<T>, known: &mut Vec<Arc<T>>) {
    match known.iter().find(|known| *known == value) {
        Some(same) => *value = same.clone(),
        None if known.len() < SHARED => known.push(value.clone()),
        None => {}
    }
}

/// How many different ones are shared.
const SHARED: usize = 16;

fn read_daemon(
    section: Option<Section<'_>>,
    secrets: &Secrets<'_>,
    findings: &mut Findings<'_>,
) -> DaemonSettings {
    let mut settings = DaemonSettings::default();
    if let Some(place) = secrets.state_directory() {
        settings.state_dir = place;
    }
    let Some(mut section) = section else {
        return settings;
    };
    let levels = [
        ("error", log::LevelFilter::Error),
        ("warn", log::LevelFilter::Warn),
        ("info", log::LevelFilter::Info),
        ("debug", log::LevelFilter::Debug),
        ("trace", log::LevelFilter::Trace),
    ];
    if let Some(typed) = section.nonempty("state_dir", findings) {
        settings.state_dir = secrets.path(&typed.value);
        let (place, span) = (&settings.state_dir, &typed.span);
        secrets.check_place(place, Wanted::Directory, span, findings);
    }
    if let Some(typed) = section.word("log_level", &levels, findings) {
        settings.log_level = typed.value;
    }
    if let Some(typed) = section.count("audit_megabytes", 1..=1_000_000, findings) {
        settings.audit_megabytes = typed.value;
    }
    section.finish(&[], findings);
    settings
}

/// The settings, and the groups of `power_order`, which are looked up when all groups are known.
fn read_rack(
    mut section: Section<'_>,
    findings: &mut Findings<'_>,
) -> (RackSettings, Vec<At<String>>) {
    let usual = RackSettings::default();
    let second = Duration::from_secs(1);
    let day = second * 86_400;
    let policies = [
        ("block", MaintenancePolicy::Block),
        ("allow", MaintenancePolicy::Allow),
    ];
    let name = section.nonempty("name", findings);
    if let Some(name) = &name
        && let Some(fault) = node::name_fault(&name.value)
    {
        findings.complain(
            &name.span,
            format!("'{}' is no name for a rack: {fault}", name.value),
        );
    }
    let sync_interval = section.duration("sync_interval", second * 5..=day, findings);
    let stagger = section.duration("power_on_stagger", Duration::ZERO..=second * 600, findings);
    let max_transitions = section.count("max_transitions", 1..=4096, findings);
    let order = section.texts("power_order", findings);
    let fault_after = section.count("fault_after", 1..=1000, findings);
    let longest_timeout = section.duration("longest_timeout", second * 60..=day * 3650, findings);
    let history_keep = section.duration("history_keep", second * 3600..=day * 3650, findings);
    let history_entries = section.count("history_entries", 1..=1_000_000, findings);
    let policy = section.word("maintenance_policy", &policies, findings);
    let packets = section.count("packets_per_ms", 1..=100_000, findings);
    let start_paused = section.flag("start_paused", findings);
    section.finish(
        &[
            ("stagger", "write power_on_stagger"),
            ("interval", "write sync_interval"),
        ],
        findings,
    );
    let settings = RackSettings {
        owner: None,
        name: name.map_or(usual.name, |at| at.value.into()),
        sync_interval: sync_interval.map_or(usual.sync_interval, |at| at.value),
        power_on_stagger: stagger.map_or(usual.power_on_stagger, |at| at.value),
        max_transitions: max_transitions.map_or(usual.max_transitions, |at| at.value),
        power_order: usual.power_order,
        fault_after: fault_after.map_or(usual.fault_after, |at| at.value),
        longest_timeout: longest_timeout.map_or(usual.longest_timeout, |at| at.value),
        history_keep: history_keep.map_or(usual.history_keep, |at| at.value),
        history_entries: history_entries.map_or(usual.history_entries, |at| at.value),
        maintenance_policy: policy.map_or(usual.maintenance_policy, |at| at.value),
        packets_per_ms: packets.map_or(usual.packets_per_ms, |at| at.value),
        start_paused: start_paused.map_or(usual.start_paused, |at| at.value),
    };
    (settings, order.map_or_else(Vec::new, |at| at.value))
}

/// The groups of nodes.
struct Groups {
    /// Those of `[groups]`.
    typed: BTreeMap<String, Vec<String>>,
    /// These, those that nodes name themselves, and `all`.
    all: BTreeMap<String, Vec<String>>,
}

fn read_groups(
    section: Option<Section<'_>>,
    entries: &[NodeEntry],
    defaults: &Keys,
    findings: &mut Findings<'_>,
) -> Groups {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in entries {
        let own = entry.groups(defaults).chain(["all"]);
        for group in own {
            all.entry(group.to_owned())
                .or_default()
                .extend(entry.names().iter().cloned());
        }
    }
    // A group may name those that nodes name themselves, but none of its own table: no circles.
    let mut typed = BTreeMap::new();
    for (name, value) in section.iter().flat_map(Section::entries) {
        check_group(&name, findings);
        let members =
            text_of(name.value, value, findings).and_then(|text| resolve(&text, &all, findings));
        typed.insert(name.value.to_owned(), members.unwrap_or_default());
    }
    for (name, members) in &typed {
        all.entry(name.clone())
            .or_default()
            .extend(members.iter().cloned());
    }
    Groups { typed, all }
}

/// The nodes that a node set names; unknown ones are complained about.
fn resolve(
    typed: &At<String>,
    groups: &BTreeMap<String, Vec<String>>,
    findings: &mut Findings<'_>,
) -> Option<Vec<String>> {
    let names = match nodeset::expand(&typed.value, &|group| groups.get(group).cloned()) {
        Ok(names) => names,
        Err(error) => {
            findings.complain(&typed.span, error.to_string());
            return None;
        }
    };
    let all = groups.get("all").map(Vec::as_slice).unwrap_or_default();
    let known: std::collections::BTreeSet<&str> = all.iter().map(String::as_str).collect();
    let unknown: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !known.contains(name))
        .collect();
    if !unknown.is_empty() {
        let meant = unknown
            .first()
            .filter(|_| unknown.len() == 1)
            .and_then(|one| closest(one, known.iter().copied()));
        let hint = meant.map_or("write names of nodes".into(), |name| {
            format!("did you mean '{name}'?")
        });
        findings.missing(
            &typed.span,
            format!("there is no node {}: {hint}", nodeset::fold(&unknown)),
        );
        return None;
    }
    Some(names)
}

/// Complains about names, uuids and addresses that several nodes have.
fn check_unique(settled: &[Settled], findings: &mut Findings<'_>) {
    let mut names = Seen::default();
    let mut uuids = Seen::default();
    let mut addresses = Seen::default();
    for node in settled {
        let name = &node.name.value;
        let twice = names.meet("the name", name.clone(), name, &node.name.span, findings);
        // The derived uuid of a name that is there twice is no second mistake.
        if !twice {
            let uuid = node.uuid.value;
            uuids.meet("the uuid", uuid, &uuid, &node.uuid.span, findings);
        }
        if let Some(address) = &node.address {
            let place = (node::canonical(&address.value.host), address.value.port);
            let shown = format!("{} port {}", address.value.host, address.value.port);
            addresses.meet("the address", place, &shown, &address.span, findings);
        }
    }
}

/// What was met, and where first.
struct Seen<T>(BTreeMap<T, Range<usize>>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Seen<T> {
    /// Complains where the same was met before; whether it was.
    fn meet(
        &mut self,
        what: &str,
        key: T,
        shown: &dyn Display,
        span: &Range<usize>,
        findings: &mut Findings<'_>,
    ) -> bool {
        let Some(first) = self.0.get(&key) else {
            self.0.insert(key, span.clone());
            return false;
        };
        let line = findings.line(first);
        findings.complain(
            span,
            format!("{what} {shown} is taken by the node of line {line}"),
        );
        true
    }
}

#[cfg(test)]
mod tests;
