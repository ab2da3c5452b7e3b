//! A node's record member by member: which microversion shows which, and what stands in it.

use crate::api::json;
use crate::api::version::{self, Version};
use crate::api::view;
use crate::rack::call::{NodeView, PowerTarget};
use serde_json::{Map, Value, json};

/// Every member of the full record and the microversion from which it is shown.
pub const MEMBERS: &[(&str, Version)] = &[
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
pub const LISTED: &[&str] = &[
    "uuid",
    "instance_uuid",
    "maintenance",
    "power_state",
    "provision_state",
    "links",
    "name",
];

/// The members of the states, each as in the record.
pub const STATES: &[&str] = &[
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
pub const DRIVER: &str = "ipmi";
/// What we tell about provisioning: harmless to every client, and true of a machine that somebody else provisions.
pub const PROVISION_STATE: &str = "active";

/// From which microversion `member` is shown; `None` where there is no such member.
pub fn since(member: &str) -> Option<Version> {
    let found = MEMBERS.binary_search_by_key(&member, |(name, _)| *name);
    found.ok().map(|at| MEMBERS[at].1)
}

/// The members `names` of a node, as far as `version` shows them.
pub fn members<'a>(
    node: &NodeView,
    names: impl IntoIterator<Item = &'a str>,
    version: Version,
    base: &str,
) -> Map<String, Value> {
    names
        .into_iter()
        .filter(|name| since(name).is_some_and(|from| from <= version))
        .map(|name| (name.to_owned(), member(node, name, base)))
        .collect()
}

/// The full record.
pub fn full(node: &NodeView, version: Version, base: &str) -> Map<String, Value> {
    members(node, MEMBERS.iter().map(|(name, _)| *name), version, base)
}

/// The full record as a type.
pub fn typed(node: &NodeView, base: &str) -> json::Node {
    let record = Value::Object(full(node, version::MAXIMUM, base));
    serde_json::from_value(record).expect("the record is made of the members of its type")
}

/// The two addresses of something.
pub fn links(base: &str, what: &str) -> Value {
    json!([
        { "href": format!("{base}/v1/{what}"), "rel": "self" },
        { "href": format!("{base}/{what}"), "rel": "bookmark" },
    ])
}

/// What stands in one member.
fn member(node: &NodeView, name: &str, base: &str) -> Value {
    match name {
        "uuid" => json!(node.uuid),
        "name" => json!(node.name),
        "created_at" => json!(node.created_at.to_string()),
        "updated_at" => json!(node.updated_at.map(|at| at.to_string())),
        "power_state" => json!(view::power_state(node.power_state)),
        "target_power_state" => json!(node.target_power_state.map(|target| target.name())),
        "supported_power_states" => supported(&node.supported_power_states),
        "last_error" => json!(node.last_error),
        "maintenance" => json!(node.maintenance.is_some()),
        "maintenance_reason" => {
            json!(
                node.maintenance
                    .as_ref()
                    .and_then(|hold| hold.reason.as_deref())
            )
        }
        "reservation" => json!(node.task.map(|_| node.rack.as_str())),
        "provision_state" => json!(PROVISION_STATE),
        "driver" => json!(DRIVER),
        "driver_info" => json!({
            "ipmi_address": node.bmc.address,
            "ipmi_port": node.bmc.port,
            "ipmi_username": node.bmc.username,
            "ipmi_password": "******",
            "ipmi_priv_level": node.bmc.privilege.to_ascii_uppercase(),
            "ipmi_protocol_version": "2.0",
        }),
        "console_enabled" => json!(false),
        "power_interface" | "management_interface" => json!("ipmitool"),
        "network_interface" | "deploy_interface" => json!("noop"),
        "boot_interface" => json!("no-boot"),
        "console_interface" => json!("no-console"),
        "inspect_interface" => json!("no-inspect"),
        "raid_interface" => json!("no-raid"),
        "vendor_interface" => json!("no-vendor"),
        "driver_internal_info"
        | "extra"
        | "instance_info"
        | "properties"
        | "clean_step"
        | "raid_config"
        | "target_raid_config" => json!({}),
        "links" => links(base, &format!("nodes/{}", node.uuid)),
        "ports" | "portgroups" | "states" => links(base, &format!("nodes/{}/{name}", node.uuid)),
        "rackbmcd" => serde_json::to_value(view::extension(node)).unwrap_or_default(),
        // instance_uuid, chassis_uuid, resource_class, the times of what we do not do.
        _ => Value::Null,
    }
}

fn supported(targets: &[PowerTarget]) -> Value {
    targets.iter().map(|target| target.words()).collect()
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
