//! The table of routes: every path and method there is, who may use it and who answers it. The OpenAPI document is made
//! from this table too.

use super::access::Role;
use super::fault::{Fault, Surface};
use super::message::percent_decode;
use super::plan::{Asking, Plan};
use super::{ironic, own};
use std::sync::LazyLock;

/// One path.
pub struct Route {
    /// With `{name}` for what varies.
    pub path: &'static str,
    /// Whose conventions it follows.
    pub surface: Surface,
    /// What may be done there.
    pub endpoints: &'static [Endpoint],
}

/// The methods that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Look.
    Get,
    /// Set.
    Put,
    /// Begin something.
    Post,
    /// Change a record.
    Patch,
    /// Take back.
    Delete,
}

impl Verb {
    /// As it stands in a request.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Put => "PUT",
            Verb::Post => "POST",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }
}

/// One method of one path.
pub struct Endpoint {
    /// The method.
    pub method: Verb,
    /// The role that it needs on some node at least; `None` where anyone may.
    pub role: Option<Role>,
    /// Whether it answers with more than JSON, so that `Accept` is its own business.
    pub speaks_more_than_json: bool,
    /// Whether it exists only to say why not: such ones are not in the OpenAPI document.
    pub refusing: bool,
    /// What it does, in a line for the OpenAPI document.
    pub summary: &'static str,
    /// Who answers.
    pub handler: fn(Asking) -> Result<Plan, Fault>,
}

/// What a path leads to.
pub struct Found {
    /// The route.
    pub route: &'static Route,
    /// The path without a slash at its end, and with its version.
    pub path: String,
    /// What stands where it varies, decoded.
    pub params: Vec<(String, String)>,
}

const fn endpoint(
    method: Verb,
    role: Role,
    summary: &'static str,
    handler: fn(Asking) -> Result<Plan, Fault>,
) -> Endpoint {
    Endpoint {
        method,
        role: Some(role),
        speaks_more_than_json: false,
        refusing: false,
        summary,
        handler,
    }
}

const fn get(summary: &'static str, handler: fn(Asking) -> Result<Plan, Fault>) -> Endpoint {
    endpoint(Verb::Get, Role::Reader, summary, handler)
}

const fn put(summary: &'static str, handler: fn(Asking) -> Result<Plan, Fault>) -> Endpoint {
    endpoint(Verb::Put, Role::Operator, summary, handler)
}

const fn post(summary: &'static str, handler: fn(Asking) -> Result<Plan, Fault>) -> Endpoint {
    endpoint(Verb::Post, Role::Operator, summary, handler)
}

const fn delete(summary: &'static str, handler: fn(Asking) -> Result<Plan, Fault>) -> Endpoint {
    endpoint(Verb::Delete, Role::Operator, summary, handler)
}

/// Open to anyone who reached us.
const fn public(endpoint: Endpoint) -> Endpoint {
    Endpoint {
        role: None,
        ..endpoint
    }
}

/// Only says why not.
const fn refusing(endpoint: Endpoint) -> Endpoint {
    Endpoint {
        refusing: true,
        ..endpoint
    }
}

/// Answers with other media types than JSON.
const fn any_type(endpoint: Endpoint) -> Endpoint {
    Endpoint {
        speaks_more_than_json: true,
        ..endpoint
    }
}

const fn ironic(path: &'static str, endpoints: &'static [Endpoint]) -> Route {
    Route {
        path,
        surface: Surface::Ironic,
        endpoints,
    }
}

const fn own(path: &'static str, endpoints: &'static [Endpoint]) -> Route {
    Route {
        path,
        surface: Surface::Own,
        endpoints,
    }
}

/// Every route.
pub static ROUTES: &[Route] = &[
    ironic(
        "/",
        &[public(get("the API's versions", ironic::root::versions))],
    ),
    ironic(
        "/v1",
        &[public(get("what there is below /v1", ironic::root::v1))],
    ),
    ironic(
        "/v1/nodes",
        &[
            get("list the nodes", ironic::nodes::list),
            refusing(post(
                "refused: the inventory is the configuration",
                ironic::nodes::no_create,
            )),
        ],
    ),
    ironic(
        "/v1/nodes/detail",
        &[get(
            "list the nodes with their full records",
            ironic::nodes::detail,
        )],
    ),
    ironic(
        "/v1/nodes/{ident}",
        &[
            get("show one node", ironic::nodes::show),
            refusing(endpoint(
                Verb::Patch,
                Role::Operator,
                "refused: the inventory is the configuration",
                ironic::nodes::no_update,
            )),
            refusing(delete(
                "refused: the inventory is the configuration",
                ironic::nodes::no_delete,
            )),
        ],
    ),
    ironic(
        "/v1/nodes/{ident}/states",
        &[get("show a node's states", ironic::states::show)],
    ),
    ironic(
        "/v1/nodes/{ident}/states/power",
        &[put(
            "change a node's power, or abort a change",
            ironic::states::set_power,
        )],
    ),
    ironic(
        "/v1/nodes/{ident}/management/inject_nmi",
        &[put(
            "inject an NMI, answered when the BMC has answered it",
            ironic::management::inject_nmi,
        )],
    ),
    ironic(
        "/v1/nodes/{ident}/management/boot_device",
        &[
            get(
                "read the boot device override",
                ironic::management::boot_device,
            ),
            put(
                "set the boot device override",
                ironic::management::set_boot_device,
            ),
        ],
    ),
    ironic(
        "/v1/nodes/{ident}/management/boot_device/supported",
        &[get(
            "list the boot devices",
            ironic::management::supported_boot_devices,
        )],
    ),
    ironic(
        "/v1/nodes/{ident}/maintenance",
        &[
            put(
                "take a node into maintenance",
                ironic::management::set_maintenance,
            ),
            delete(
                "take a node out of maintenance",
                ironic::management::unset_maintenance,
            ),
        ],
    ),
    ironic(
        "/v1/nodes/{ident}/validate",
        &[get(
            "say which interfaces work",
            ironic::management::validate,
        )],
    ),
    ironic(
        "/v1/nodes/{ident}/history",
        &[get("what happened to a node", ironic::management::history)],
    ),
    ironic(
        "/v1/drivers",
        &[get("list the driver", ironic::root::drivers)],
    ),
    ironic(
        "/v1/drivers/{driver}",
        &[get("show the driver", ironic::root::driver)],
    ),
    ironic(
        "/v1/drivers/{driver}/properties",
        &[get(
            "explain the driver's options",
            ironic::root::driver_properties,
        )],
    ),
    ironic(
        "/v1/conductors",
        &[get("list this daemon", ironic::root::conductors)],
    ),
    ironic(
        "/v1/chassis",
        &[get("an empty list", ironic::root::chassis)],
    ),
    ironic("/v1/ports", &[get("an empty list", ironic::root::ports)]),
    own(
        "/v1/nodes/{ident}/tasks",
        &[get("list a node's tasks", own::tasks::of_node)],
    ),
    own(
        "/v1/nodes/{ident}/explain",
        &[get(
            "all that is known of a node's BMC and why",
            own::nodes::explain,
        )],
    ),
    own(
        "/v1/nodes/{ident}/retry",
        &[post(
            "forget failed log-ins and an open breaker",
            own::nodes::retry,
        )],
    ),
    own(
        "/v1/nodes/{ident}/fresh",
        &[post(
            "read the power state from the BMC now",
            own::nodes::fresh,
        )],
    ),
    own(
        "/v1/nodes/{ident}/identify",
        &[post("blink the identify light", own::bmc::identify)],
    ),
    own(
        "/v1/nodes/{ident}/raw",
        &[endpoint(
            Verb::Post,
            Role::Admin,
            "send one raw command",
            own::bmc::raw,
        )],
    ),
    own(
        "/v1/nodes/{ident}/boot_override",
        &[
            get(
                "read the boot override with its firmware mode",
                own::bmc::boot_override,
            ),
            put(
                "set or clear the boot override",
                own::bmc::set_boot_override,
            ),
        ],
    ),
    own(
        "/v1/nodes/{ident}/bmc/{what}",
        &[get(
            "ask the BMC about itself or its machine now",
            own::bmc::reading,
        )],
    ),
    own(
        "/v1/nodes/{ident}/event_log",
        &[
            get(
                "read the newest entries of the BMC's event log",
                own::bmc::event_log,
            ),
            delete("clear the BMC's event log", own::bmc::clear_event_log),
        ],
    ),
    own(
        "/v1/nodes/{ident}/bmc_reset",
        &[endpoint(
            Verb::Post,
            Role::Admin,
            "restart the BMC itself",
            own::bmc::reset,
        )],
    ),
    own(
        "/v1/tasks",
        &[
            get("list the tasks", own::tasks::list),
            post("start a task", own::tasks::start),
        ],
    ),
    own(
        "/v1/tasks/{id}",
        &[
            get("show a task, or wait for its change", own::tasks::show),
            delete("cancel a task", own::tasks::cancel),
        ],
    ),
    own(
        "/v1/tasks/{id}/{control}",
        &[post("use a control on a task", own::tasks::control)],
    ),
    own(
        "/v1/batches",
        &[
            get("list the batches", own::batches::list),
            post("start or plan a batch", own::batches::start),
        ],
    ),
    own(
        "/v1/batches/{id}",
        &[
            get("show a batch, or wait for its end", own::batches::show),
            delete("cancel a batch", own::batches::cancel),
        ],
    ),
    own(
        "/v1/batches/{id}/{control}",
        &[post(
            "use a control on a batch, or on some of its nodes",
            own::batches::control,
        )],
    ),
    own(
        "/v1/events",
        &[any_type(get(
            "events, by long poll or as a stream",
            own::rack::events,
        ))],
    ),
    own(
        "/v1/pause",
        &[
            get("whether the rack is paused", own::rack::pausing),
            post("suspend everything and take no new task", own::rack::pause),
        ],
    ),
    own("/v1/release", &[post("end the pause", own::rack::release)]),
    own(
        "/v1/audit",
        &[endpoint(
            Verb::Get,
            Role::Admin,
            "read the audit trail, and its newest hash",
            own::rack::audit,
        )],
    ),
    own(
        "/v1/openapi.json",
        &[get("this API as an OpenAPI document", own::rack::openapi)],
    ),
    own(
        "/metrics",
        &[public(any_type(get(
            "figures for Prometheus",
            own::rack::metrics,
        )))],
    ),
    own(
        "/healthz",
        &[public(get("figures about the daemon", own::rack::health))],
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
    let path = match path.strip_suffix('/') {
        Some(rest) if !rest.is_empty() && !rest.ends_with('/') => rest,
        _ => path,
    };
    // Ironic takes a path without a version for one of the default version: its bookmark links have that form, and
    // openstacksdk without a catalog asks so.
    let versioned = format!("/v1{path}");
    let (path, found) = match TABLE.at(path) {
        Ok(found) => (path, found),
        Err(_) => match TABLE.at(&versioned) {
            Ok(found) if path.len() > 1 && found.value.surface == Surface::Ironic => {
                (versioned.as_str(), found)
            }
            _ => return Err(Fault::no_route()),
        },
    };
    let params = found.params.iter().map(|(name, text)| {
        let decoded =
            percent_decode(text).map_err(|what| Fault::bad(format!("the path holds {what}")))?;
        Ok((name.to_owned(), decoded))
    });
    Ok(Found {
        route: found.value,
        path: path.to_owned(),
        params: params.collect::<Result<_, Fault>>()?,
    })
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
