//! The table of endpoints: every path and method there is, who may use it, what goes in, what comes
//! out, and who answers. The OpenAPI document is made from this table, too, and tests walk it.

use super::dispatch::Outcome;
use super::endpoint::{Media, Route, Verb, delete, endpoint, get, ironic, own, post, put};
use super::fault::{Fault, Surface};
use super::message::percent_decode;
use super::{ironic, own};
use crate::model::Role;
use http::Method;
use std::sync::LazyLock;

/// An `async fn` as the table holds it.
macro_rules! by {
    ($handler:path) => {
        |request| Box::pin(async move { $handler(request).await.map(Outcome::from) })
    };
}

/// What a path leads to.
pub struct Found {
    pub route: &'static Route,
    /// The path without a slash at its end, and with its version.
    pub path: String,
    /// What stands where it varies, decoded.
    pub params: Vec<(String, String)>,
}

/// The parameters of the list of nodes.
const LIST: &str = "limit:positive marker:uuid sort_key:sortable sort_dir:direction maintenance:boolean associated:boolean \
    instance_uuid:uuid chassis_uuid:uuid provision_state:string driver:string resource_class:string fault:string \
    conductor:string conductor_group:string owner:string lessee:string description_contains:string";
const LIST_FIELDS: &str = "limit:positive marker:uuid sort_key:sortable sort_dir:direction maintenance:boolean \
    associated:boolean instance_uuid:uuid chassis_uuid:uuid provision_state:string driver:string \
    resource_class:string fault:string conductor:string conductor_group:string owner:string lessee:string \
    description_contains:string fields:fields";
/// The parameters of lists that are always empty, or have one entry.
const SMALL: &str =
    "limit:string marker:string sort_key:string sort_dir:string fields:string detail:string";
/// Those by which Ironic finds ports and chassis: whatever they say, there are none.
const FINDERS: &[&str] = &["node", "node_uuid", "address", "portgroup"];

pub static ROUTES: &[Route] = &[
    ironic(
        "/",
        &[get("the API's versions", by!(ironic::root::versions))
            .public()
            .brings("Versions")],
    ),
    ironic(
        "/v1",
        &[get("what there is below /v1", by!(ironic::root::v1))
            .public()
            .brings("Root")],
    ),
    ironic(
        "/v1/nodes",
        &[
            get("list the nodes", by!(ironic::nodes::list))
                .query(LIST_FIELDS)
                .tolerates(&["detail"])
                .brings("NodeList"),
            post(
                "refused: the inventory is the configuration",
                by!(ironic::nodes::no_create),
            )
            .refusing(),
        ],
    ),
    ironic(
        "/v1/nodes/detail",
        &[get(
            "list the nodes with their full records",
            by!(ironic::nodes::detail),
        )
        .query(LIST)
        .tolerates(&["detail", "fields"])
        .brings("NodeList")],
    ),
    ironic(
        "/v1/nodes/{ident}",
        &[
            get("show one node", by!(ironic::nodes::show))
                .query("fields:fields")
                .brings("Node"),
            endpoint(
                Verb::Patch,
                Role::Operator,
                "refused: the inventory is the configuration",
                by!(ironic::nodes::no_update),
            )
            .refusing(),
            delete(
                "refused: the inventory is the configuration",
                by!(ironic::nodes::no_delete),
            )
            .refusing(),
        ],
    ),
    ironic(
        "/v1/nodes/{ident}/states",
        &[get("show a node's states", by!(ironic::states::show)).brings("NodeStates")],
    ),
    ironic(
        "/v1/nodes/{ident}/states/power",
        &[put(
            "change a node's power, or abort a change",
            by!(ironic::states::set_power),
        )
        .takes("PowerRequest")
        .answers(202)],
    ),
    ironic(
        "/v1/nodes/{ident}/management/inject_nmi",
        &[put(
            "inject an NMI, answered when the BMC has answered it",
            by!(ironic::management::inject_nmi),
        )
        .may_take("Nothing")
        .answers(204)],
    ),
    ironic(
        "/v1/nodes/{ident}/management/boot_device",
        &[
            get(
                "read the boot device override",
                by!(ironic::management::boot_device),
            )
            .brings("BootDevice"),
            put(
                "set the boot device override",
                by!(ironic::management::set_boot_device),
            )
            .takes("BootDeviceRequest")
            .answers(204),
        ],
    ),
    ironic(
        "/v1/nodes/{ident}/management/boot_device/supported",
        &[get(
            "list the boot devices",
            by!(ironic::management::supported_boot_devices),
        )
        .brings("SupportedBootDevices")],
    ),
    ironic(
        "/v1/nodes/{ident}/maintenance",
        &[
            put(
                "take a node into maintenance",
                by!(ironic::management::set_maintenance),
            )
            .may_take("MaintenanceRequest")
            .answers(202),
            delete(
                "take a node out of maintenance",
                by!(ironic::management::unset_maintenance),
            )
            .answers(202),
        ],
    ),
    ironic(
        "/v1/nodes/{ident}/validate",
        &[get(
            "say which interfaces work",
            by!(ironic::management::validate),
        )
        .brings("Validation")],
    ),
    ironic(
        "/v1/nodes/{ident}/history",
        &[
            get("what happened to a node", by!(ironic::management::history))
                .query("limit:positive marker:string detail:string sort_key:string sort_dir:string")
                .brings("History"),
        ],
    ),
    ironic(
        "/v1/drivers",
        &[get("list the driver", by!(ironic::root::drivers))
            .query("type:string detail:string fields:string")
            .brings("Drivers")],
    ),
    ironic(
        "/v1/drivers/{driver}",
        &[get("show the driver", by!(ironic::root::driver))
            .query("fields:string")
            .brings("Driver")],
    ),
    ironic(
        "/v1/drivers/{driver}/properties",
        &[get(
            "explain the driver's options",
            by!(ironic::root::driver_properties),
        )
        .query("driver_name:string")
        .brings("DriverProperties")],
    ),
    ironic(
        "/v1/conductors",
        &[get("list this daemon, or the hosts of the rack", by!(ironic::root::conductors))
            .query(SMALL)
            .brings("Conductors")],
    ),
    ironic(
        "/v1/chassis",
        &[get("an empty list", by!(ironic::root::chassis))
            .query(SMALL)
            .tolerates(FINDERS)
            .brings("Chassis")],
    ),
    ironic(
        "/v1/ports",
        &[get("an empty list", by!(ironic::root::ports))
            .query(SMALL)
            .tolerates(FINDERS)
            .brings("Ports")],
    ),
    own(
        "/v1/nodes/{ident}/tasks",
        &[get("list a node's tasks", by!(own::tasks::of_node))
            .query("batch:uuid active:boolean limit:positive")
            .brings("TaskList")],
    ),
    own(
        "/v1/nodes/{ident}/explain",
        &[get(
            "all that is known of a node's BMC and why",
            by!(own::nodes::explain),
        )
        .brings("Explanation")],
    ),
    own(
        "/v1/nodes/{ident}/trace",
        &[get(
            "the last datagrams of a node's BMC as text, without what is secret",
            by!(own::nodes::trace),
        )
        .needs(Role::Operator)
        .brings("Trace")],
    ),
    own(
        "/v1/nodes/{ident}/retry",
        &[post(
            "forget failed log-ins, and ask a BMC that was given up for a while again at once",
            by!(own::nodes::retry),
        )
        .may_take("Nothing")
        .brings("Node")],
    ),
    own(
        "/v1/nodes/{ident}/bmc_accept",
        &[post(
            "say that the BMC that is there now shall be the node's",
            by!(own::nodes::accept),
        )
        .takes("AcceptRequest")
        .brings("Node")],
    ),
    own(
        "/v1/nodes/{ident}/fresh",
        &[post(
            "read the power state from the BMC now",
            by!(own::nodes::fresh),
        )
        .may_take("Nothing")
        .brings("Node")],
    ),
    own(
        "/v1/nodes/{ident}/identify",
        &[post("blink the identify light", by!(own::bmc::identify))
            .may_take("IdentifyRequest")
            .brings("OrderAnswer")],
    ),
    own(
        "/v1/nodes/{ident}/raw",
        &[post("send one raw command", by!(own::bmc::raw))
            .needs(Role::Admin)
            .takes("RawRequest")
            .brings("OrderAnswer")],
    ),
    own(
        "/v1/nodes/{ident}/boot_override",
        &[
            get(
                "read the boot override with its firmware mode",
                by!(own::bmc::boot_override),
            )
            .brings("BootOverride"),
            put(
                "set or clear the boot override",
                by!(own::bmc::set_boot_override),
            )
            .takes("BootOverrideRequest")
            .brings("OrderAnswer"),
        ],
    ),
    own(
        "/v1/nodes/{ident}/restore_policy",
        &[put(
            "say what the machine does when mains power comes back",
            by!(own::bmc::set_restore_policy),
        )
        .takes("RestorePolicyRequest")
        .brings("OrderAnswer")],
    ),
    own(
        "/v1/nodes/{ident}/bmc/{what}",
        &[get(
            "ask the BMC about itself or its machine now",
            by!(own::bmc::reading),
        )
        .brings("BmcAnswer")],
    ),
    own(
        "/v1/nodes/{ident}/event_log",
        &[
            get(
                "read the newest entries of the BMC's event log",
                by!(own::bmc::event_log),
            )
            .query("limit:positive")
            .brings("EventLog"),
            delete("clear the BMC's event log", by!(own::bmc::clear_event_log))
                .brings("OrderAnswer"),
        ],
    ),
    own(
        "/v1/nodes/{ident}/bmc_reset",
        &[post("restart the BMC itself", by!(own::bmc::reset))
            .needs(Role::Admin)
            .takes("BmcResetRequest")
            .brings("OrderAnswer")],
    ),
    own(
        "/v1/tasks",
        &[
            get("list the tasks", by!(own::tasks::list))
                .query("node:string batch:uuid active:boolean limit:positive")
                .brings("TaskList"),
            post("start a task", by!(own::tasks::start))
                .takes("TaskStart")
                .answers(202)
                .brings("Task"),
        ],
    ),
    own(
        "/v1/tasks/{id}",
        &[
            get("show a task, or wait for its change", by!(own::tasks::show))
                .query("wait:seconds version:natural")
                .brings("Task"),
            delete("cancel a task", by!(own::tasks::cancel))
                .may_take("Nothing")
                .brings("Task"),
        ],
    ),
    own(
        "/v1/tasks/{id}/{control}",
        &[post("use a control on a task", by!(own::tasks::control))
            .may_take("Nothing")
            .brings("Task")],
    ),
    own(
        "/v1/batches",
        &[
            get("list the batches", by!(own::batches::list)).brings("BatchList"),
            post("start or plan a batch", by!(own::batches::start))
                .takes("BatchStart")
                .answers(202)
                .or_answers(200, "the plan of a dry run")
                .brings("Batch"),
        ],
    ),
    own(
        "/v1/batches/{id}",
        &[
            get("show a batch, or wait for its end", by!(own::batches::show))
                .query("wait:seconds")
                .brings("Batch"),
            delete("cancel a batch", by!(own::batches::cancel))
                .may_take("BatchControl")
                .brings("Batch"),
        ],
    ),
    own(
        "/v1/batches/{id}/{control}",
        &[post(
            "use a control on a batch, or on some of its nodes",
            by!(own::batches::control),
        )
        .may_take("BatchControl")
        .brings("Batch")],
    ),
    own(
        "/v1/readings",
        &[post(
            "read the power state of many nodes from their BMCs now: a line each, as they answer",
            by!(own::readings::read),
        )
        .query("fields:fields")
        .takes("ReadingsRequest")
        .speaks(Media::Lines)
        .brings("FreshReading")],
    ),
    own(
        "/v1/events",
        &[get(
            "events, by long poll or as a stream",
            by!(own::rack::events),
        )
        .query("since:since wait:seconds node:nodes limit:positive snapshot:boolean")
        .speaks(Media::Events)
        .brings("Events")],
    ),
    own(
        "/v1/pause",
        &[
            get("whether the rack is paused", by!(own::rack::pausing)).brings("Pausing"),
            post(
                "suspend everything and take no new task",
                by!(own::rack::pause),
            )
            .takes("PauseRequest")
            .brings("Pausing"),
        ],
    ),
    own(
        "/v1/release",
        &[post("end the pause", by!(own::rack::release))
            .may_take("Nothing")
            .brings("Pausing")],
    ),
    own(
        "/v1/whoami",
        &[get("who asks, and what they may do", by!(own::rack::whoami)).brings("Asker")],
    ),
    own(
        "/v1/audit",
        &[get(
            "read the audit trail, and its newest hash",
            by!(own::rack::audit),
        )
        .needs(Role::Admin)
        .of_whole_rack()
        .query("after:natural limit:positive")
        .brings("AuditPage")],
    ),
    own(
        "/v1/support",
        &[get(
            "what the daemon adds to a report: host, log, and configuration without secrets",
            by!(own::rack::support),
        )
        .needs(Role::Admin)
        .of_whole_rack()
        .recorded()
        .brings("Support")],
    ),
    own(
        "/v1/ha",
        &[get(
            "how it stands with the hosts of the rack",
            by!(own::ha::show),
        )
        .brings("Ha")],
    ),
    own(
        "/v1/ha/owner",
        &[get(
            "whether this host owns the rack and may change its machines (503 where not): for load balancers",
            by!(own::ha::owner),
        )
        .public()
        .brings("Owning")],
    ),
    own(
        "/v1/ha/handover",
        &[post("give the rack to another host", by!(own::ha::hand_over))
            .needs(Role::Admin)
            .of_whole_rack()
            .may_take("HandoverRequest")
            .answers(202)],
    ),
    own(
        "/v1/openapi.json",
        &[get("this API as an OpenAPI document", by!(own::rack::openapi)).brings("Anything")],
    ),
    own(
        "/metrics",
        &[get("figures for Prometheus", by!(own::rack::metrics))
            .public()
            .speaks(Media::Figures)],
    ),
    own(
        "/healthz",
        &[get("figures about the daemon", by!(own::rack::health))
            .public()
            .brings("Health")],
    ),
];

static TABLE: LazyLock<matchit::Router<&'static Route>> = LazyLock::new(|| {
    let mut table = matchit::Router::new();
    for route in ROUTES {
        table
            .insert(route.path, route)
            .expect("the paths of the table do not collide");
    }
    table
});

/// The route of a path as it came, and what stands in it. A slash at the end changes nothing.
///
/// # Errors
/// 404 where there is none; 400 where it hides something that is no text.
pub fn find(path: &str) -> Result<Found, Fault> {
    seek(path, |path, found| {
        let params = found.params.iter().map(|(name, text)| {
            let decoded = percent_decode(text)
                .map_err(|what| Fault::bad(format!("the path holds {what}")))?;
            Ok((name.to_owned(), decoded))
        });
        Ok(Found {
            route: found.value,
            path: path.to_owned(),
            params: params.collect::<Result<_, Fault>>()?,
        })
    })
    .unwrap_or_else(|| Err(Fault::no_route()))
}

/// The row of a path that [`find`] finds, where it is not asked what stands in it: each request
/// wants to know several times.
pub fn row(path: &str) -> Option<&'static Route> {
    let is_text = |text: &str| !text.contains('%') || percent_decode(text).is_ok();
    let row = seek(path, |_, found| {
        let mut params = found.params.iter();
        params
            .all(|(_, text)| is_text(text))
            .then_some(*found.value)
    });
    row.flatten()
}

/// Makes something of a path, as it stands in the table, and its row.
fn seek<T>(
    path: &str,
    make: impl FnOnce(&str, matchit::Match<'_, '_, &&'static Route>) -> T,
) -> Option<T> {
    let path = match path.strip_suffix('/') {
        Some(rest) if !rest.is_empty() && !rest.ends_with('/') => rest,
        _ => path,
    };
    if let Ok(found) = TABLE.at(path) {
        return Some(make(path, found));
    }
    // Ironic takes a path without a version for one of the default version: its bookmark links have
    // that form, and openstacksdk without a catalog asks so.
    let versioned = format!("/v1{path}");
    let found = TABLE.at(&versioned).ok()?;
    let is_ironic = path.len() > 1 && found.value.surface == Surface::Ironic;
    is_ironic.then(|| make(&versioned, found))
}

/// Whether a request is for an endpoint that anyone may use, by the row of its path. What is no
/// endpoint is not.
pub fn is_public(method: &Method, row: Option<&'static Route>) -> bool {
    let endpoint = row.and_then(|row| row.endpoint(method));
    endpoint.is_some_and(|endpoint| endpoint.role.is_none())
}

/// Whether the audit trail tells of a request, whatever becomes of it.
pub fn is_recorded(method: &Method, row: Option<&'static Route>) -> bool {
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return true;
    }
    let endpoint = row.and_then(|row| row.endpoint(method));
    endpoint.is_some_and(|endpoint| endpoint.recorded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_changes_nothing_and_one_in_the_middle_does() {
        let path = |asked: &str| find(asked).map(|found| found.route.path).ok();
        assert_eq!(path("/v1/"), Some("/v1"));
        assert_eq!(path("/v1/nodes/"), Some("/v1/nodes"));
        assert_eq!(
            path("/v1/nodes/n1/states/"),
            Some("/v1/nodes/{ident}/states")
        );
        for strange in [
            "",
            "//",
            "/v1//nodes",
            "/v1/nodes//states",
            "/v1/nodes//",
            "/v2",
            "/v1/nodes/n1/states/power/x",
        ] {
            assert_eq!(path(strange), None, "{strange}");
        }
    }

    #[test]
    fn what_a_path_hides_must_be_text() {
        let status = |asked: &str| find(asked).err().map(|fault| fault.status.as_u16());
        assert_eq!(status("/v1/nodes/%00"), Some(400));
        assert_eq!(status("/v1/nodes/%ff%fe"), Some(400));
        assert_eq!(status("/v1/nodes/%"), Some(400));
        assert_eq!(
            find("/v1/nodes/a%2Fb").map(|found| found.params).ok(),
            Some(vec![("ident".into(), "a/b".into())])
        );
    }
}
