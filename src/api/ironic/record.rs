//! A node's record member by member: which microversion shows which, and what stands in it.

use super::target::PowerTarget;
use crate::api::version::{self, Version};
use crate::model::Node;
use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use uuid::Uuid;

/// Every member of the full record and the microversion from which it is shown.
pub(crate) const MEMBERS: &[(&str, Version)] = &[
    ("boot_interface", Version::new(31)),
    ("chassis_uuid", Version::new(1)),
    ("clean_step", Version::new(7)),
    ("console_enabled", Version::new(1)),
    ("console_interface", Version::new(31)),
    ("created_at", Version::new(1)),
    ("deploy_interface", Version::new(31)),
    ("driver", Version::new(1)),
    ("driver_info", Version::new(1)),
    ("driver_internal_info", Version::new(3)),
    ("extra", Version::new(1)),
    ("inspect_interface", Version::new(31)),
    ("inspection_finished_at", Version::new(6)),
    ("inspection_started_at", Version::new(6)),
    ("instance_info", Version::new(1)),
    ("instance_uuid", Version::new(1)),
    ("last_error", Version::new(1)),
    ("links", Version::new(1)),
    ("maintenance", Version::new(1)),
    ("maintenance_reason", Version::new(1)),
    ("management_interface", Version::new(31)),
    ("name", version::NAMES),
    ("network_interface", Version::new(20)),
    ("portgroups", Version::new(23)),
    ("ports", Version::new(1)),
    ("power_interface", Version::new(31)),
    ("power_state", Version::new(1)),
    ("properties", Version::new(1)),
    ("provision_state", Version::new(1)),
    ("provision_updated_at", Version::new(1)),
    ("rackbmcd", version::SOFT_POWER),
    ("raid_config", version::RAID),
    ("raid_interface", Version::new(31)),
    ("reservation", Version::new(1)),
    ("resource_class", version::RESOURCE_CLASS),
    ("states", Version::new(14)),
    ("supported_power_states", version::SOFT_POWER),
    ("target_power_state", Version::new(1)),
    ("target_provision_state", Version::new(1)),
    ("target_raid_config", version::RAID),
    ("updated_at", Version::new(1)),
    ("uuid", Version::new(1)),
    ("vendor_interface", Version::new(31)),
];

/// The members of an entry in a list.
pub(crate) const LISTED: &[&str] = &[
    "uuid",
    "instance_uuid",
    "maintenance",
    "power_state",
    "provision_state",
    "links",
    "name",
];

/// The members of the states, each as in the record.
pub(crate) const STATES: &[&str] = &[
    "console_enabled",
    "last_error",
    "power_state",
    "provision_state",
    "provision_updated_at",
    "raid_config",
    "supported_power_states",
    "target_power_state",
    "target_provision_state",
    "target_raid_config",
];

/// The one driver.
pub(crate) const DRIVER: &str = "ipmi";
/// What we tell about provisioning: harmless to every client, and true of a machine that somebody
/// else provisions.
pub(crate) const PROVISION_STATE: &str = "active";

/// From which microversion `member` is shown; `None` where there is no such member.
pub(crate) fn since(member: &str) -> Option<Version> {
    let found = MEMBERS.binary_search_by_key(&member, |(name, _)| *name);
    found.ok().map(|at| MEMBERS[at].1)
}

/// Some members of a record, chosen once for however many nodes are shown.
#[derive(Clone, Debug)]
pub struct Members(Vec<&'static str>);

impl Members {
    /// Those of `names` that `version` shows, in the order of the record.
    pub fn of(names: &[impl AsRef<str>], version: Version) -> Self {
        let wanted = |name: &str| names.iter().any(|wanted| wanted.as_ref() == name);
        let shown = MEMBERS
            .iter()
            .filter(|(name, from)| *from <= version && wanted(name));
        Self(shown.map(|(name, _)| *name).collect())
    }

    /// All that `version` shows.
    pub fn all(version: Version) -> Self {
        let shown = MEMBERS.iter().filter(|(_, from)| *from <= version);
        Self(shown.map(|(name, _)| *name).collect())
    }

    /// About how many bytes of JSON they are.
    pub fn room(&self) -> usize {
        64 * self.0.len()
    }

    /// These members of `node`.
    pub fn show<'a>(&'a self, node: &'a Node, base: &'a str) -> Shown<'a> {
        Shown {
            members: self,
            node,
            base,
        }
    }
}

/// Members of a node, written straight into the answer: a list of a whole rack is asked for every
/// second by somebody.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    members: &'a Members,
    node: &'a Node,
    base: &'a str,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Shown {
            members,
            node,
            base,
        } = *self;
        let mut uuid = Uuid::encode_buffer();
        let uuid = &*node.uuid.hyphenated().encode_lower(&mut uuid);
        let member = |name| Member {
            node,
            name,
            base,
            uuid,
        };
        serializer.collect_map(members.0.iter().map(|name| (*name, member(*name))))
    }
}

/// The full record, as the newest microversion shows it.
pub(crate) fn full(node: &Node, base: &str) -> Value {
    json!(Members::all(version::MAXIMUM).show(node, base))
}

/// The two addresses of something.
pub(crate) fn links(base: &str, what: &str) -> Value {
    json!(Links {
        base,
        what: &[what]
    })
}

/// The two addresses of what the parts in `what` spell together.
struct Links<'a> {
    base: &'a str,
    what: &'a [&'a str],
}

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Links { base, what } = self;
        // One piece of text each: by way of a formatter each piece would be looked through for what
        // JSON escapes.
        let length = base.len() + what.iter().map(|part| part.len()).sum::<usize>() + 4;
        let mut href = String::with_capacity(length);
        let mut link = |to: &mut S::SerializeTuple, prefix: &str, rel| {
            href.clear();
            href.push_str(base);
            href.push_str(prefix);
            what.iter().for_each(|part| href.push_str(part));
            to.serialize_element(&Link { href: &href, rel })
        };
        let mut both = serializer.serialize_tuple(2)?;
        link(&mut both, "/v1/", "self")?;
        link(&mut both, "/", "bookmark")?;
        both.end()
    }
}

#[derive(Serialize)]
struct Link<'a> {
    href: &'a str,
    rel: &'static str,
}

/// How the node's BMC is reached, in the words of Ironic's driver.
#[derive(Serialize)]
struct DriverInfo<'a> {
    ipmi_address: &'a str,
    ipmi_password: &'static str,
    ipmi_port: u16,
    ipmi_priv_level: String,
    ipmi_protocol_version: &'static str,
    ipmi_username: &'a str,
}

/// One member of one node.
struct Member<'a> {
    node: &'a Node,
    name: &'a str,
    base: &'a str,
    /// The node's, as text.
    uuid: &'a str,
}

impl Serialize for Member<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Member {
            node,
            name,
            base,
            uuid,
        } = *self;
        let bmc = &node.rackbmcd.bmc;
        match name {
            "uuid" => uuid.serialize(to),
            "name" => (*node.name).serialize(to),
            "created_at" => to.collect_str(&node.created_at),
            "updated_at" => match node.updated_at {
                Some(at) => to.collect_str(&at),
                None => to.serialize_none(),
            },
            "power_state" => node.power_state.serialize(to),
            "target_power_state" => node.target_power_state.serialize(to),
            "supported_power_states" => to.collect_seq(
                PowerTarget::ALL
                    .into_iter()
                    .filter(|target| node.takes(target.operation()))
                    .map(PowerTarget::name),
            ),
            "last_error" => node.last_error.serialize(to),
            "maintenance" => node.rackbmcd.maintenance.is_some().serialize(to),
            "maintenance_reason" => {
                let reason = node
                    .rackbmcd
                    .maintenance
                    .as_ref()
                    .and_then(|hold| hold.reason.as_deref());
                reason.serialize(to)
            }
            "reservation" => node
                .rackbmcd
                .task
                .map(|_| node.rackbmcd.conductor())
                .serialize(to),
            "provision_state" => PROVISION_STATE.serialize(to),
            "driver" => DRIVER.serialize(to),
            "driver_info" => DriverInfo {
                ipmi_address: &bmc.address,
                ipmi_password: "******",
                ipmi_port: bmc.port,
                ipmi_priv_level: bmc.privilege.to_ascii_uppercase(),
                ipmi_protocol_version: "2.0",
                ipmi_username: &bmc.username,
            }
            .serialize(to),
            "console_enabled" => false.serialize(to),
            "power_interface" | "management_interface" => "ipmitool".serialize(to),
            "network_interface" | "deploy_interface" => "noop".serialize(to),
            "boot_interface" => "no-boot".serialize(to),
            "console_interface" => "no-console".serialize(to),
            "inspect_interface" => "no-inspect".serialize(to),
            "raid_interface" => "no-raid".serialize(to),
            "vendor_interface" => "no-vendor".serialize(to),
            "driver_internal_info"
            | "extra"
            | "instance_info"
            | "properties"
            | "clean_step"
            | "raid_config"
            | "target_raid_config" => to.collect_map::<&str, &str, _>([]),
            "links" => {
                let what = &["nodes/", uuid];
                Links { base, what }.serialize(to)
            }
            "ports" | "portgroups" | "states" => {
                let what = &["nodes/", uuid, "/", name];
                Links { base, what }.serialize(to)
            }
            "rackbmcd" => node.rackbmcd.serialize(to),
            // instance_uuid, chassis_uuid, resource_class, the times of what we do not do.
            _ => to.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_stand_in_the_order_that_finding_them_relies_on() {
        assert!(MEMBERS.is_sorted_by_key(|(name, _)| *name));
        for name in LISTED.iter().chain(STATES) {
            assert!(since(name).is_some(), "{name}");
        }
    }
}
