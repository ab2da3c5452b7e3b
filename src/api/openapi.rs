//! The OpenAPI 3.1 document, made from the table of routes and two tables of what goes in and comes out. A test holds the
//! three together, another holds the schemas to what is really answered.

mod schemas;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::misfit;

use super::fault::Surface;
use super::own::bmc;
use super::route::{Endpoint, ROUTES, Route, Verb};
use super::version;
use schemas::{SCHEMAS, members, typed};
use serde_json::{Map, Value, json};

/// What goes into an operation and what comes out.
struct Detail {
    path: &'static str,
    verb: Verb,
    /// Query parameters, in the notation of [`schemas`].
    query: &'static str,
    /// The schema of the body.
    body: Option<Body>,
    /// The status of success.
    status: u16,
    /// What success brings: a schema's name, `text`, or nothing.
    brings: &'static str,
}

/// A body that goes in.
#[derive(Clone, Copy)]
enum Body {
    /// It must be there.
    Needed(&'static str),
    /// It may be left out.
    Optional(&'static str),
}

const fn get(path: &'static str, query: &'static str, brings: &'static str) -> Detail {
    Detail {
        path,
        verb: Verb::Get,
        query,
        body: None,
        status: 200,
        brings,
    }
}

const fn change(
    verb: Verb,
    path: &'static str,
    body: Option<Body>,
    status: u16,
    brings: &'static str,
) -> Detail {
    Detail {
        path,
        verb,
        query: "",
        body,
        status,
        brings,
    }
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

/// One row for each operation.
const DETAILS: &[Detail] = &[
    get("/", "", "Versions"),
    get("/v1", "", "Root"),
    get("/v1/nodes", LIST_FIELDS, "NodeList"),
    get("/v1/nodes/detail", LIST, "NodeList"),
    get("/v1/nodes/{ident}", "fields:fields", "Node"),
    get("/v1/nodes/{ident}/states", "", "NodeStates"),
    change(
        Verb::Put,
        "/v1/nodes/{ident}/states/power",
        Some(Body::Needed("PowerRequest")),
        202,
        "",
    ),
    change(
        Verb::Put,
        "/v1/nodes/{ident}/management/inject_nmi",
        Some(Body::Optional("Nothing")),
        204,
        "",
    ),
    get("/v1/nodes/{ident}/management/boot_device", "", "BootDevice"),
    change(
        Verb::Put,
        "/v1/nodes/{ident}/management/boot_device",
        Some(Body::Needed("BootDeviceRequest")),
        204,
        "",
    ),
    get(
        "/v1/nodes/{ident}/management/boot_device/supported",
        "",
        "SupportedBootDevices",
    ),
    change(
        Verb::Put,
        "/v1/nodes/{ident}/maintenance",
        Some(Body::Optional("MaintenanceRequest")),
        202,
        "",
    ),
    change(Verb::Delete, "/v1/nodes/{ident}/maintenance", None, 202, ""),
    get("/v1/nodes/{ident}/validate", "", "Validation"),
    get(
        "/v1/nodes/{ident}/history",
        "limit:positive marker:string detail:string sort_key:string sort_dir:string",
        "History",
    ),
    get(
        "/v1/drivers",
        "type:string detail:string fields:string",
        "Drivers",
    ),
    get("/v1/drivers/{driver}", "fields:string", "Driver"),
    get(
        "/v1/drivers/{driver}/properties",
        "driver_name:string",
        "DriverProperties",
    ),
    get("/v1/conductors", SMALL, "Conductors"),
    get("/v1/chassis", SMALL, "Chassis"),
    get("/v1/ports", SMALL, "Ports"),
    get(
        "/v1/nodes/{ident}/tasks",
        "batch:uuid active:boolean limit:positive",
        "TaskList",
    ),
    get("/v1/nodes/{ident}/explain", "", "Explanation"),
    change(
        Verb::Post,
        "/v1/nodes/{ident}/retry",
        Some(Body::Optional("Nothing")),
        200,
        "Node",
    ),
    change(
        Verb::Post,
        "/v1/nodes/{ident}/fresh",
        Some(Body::Optional("Nothing")),
        200,
        "Node",
    ),
    change(
        Verb::Post,
        "/v1/nodes/{ident}/identify",
        Some(Body::Optional("IdentifyRequest")),
        200,
        "OrderAnswer",
    ),
    change(
        Verb::Post,
        "/v1/nodes/{ident}/raw",
        Some(Body::Needed("RawRequest")),
        200,
        "OrderAnswer",
    ),
    get("/v1/nodes/{ident}/boot_override", "", "BootOverride"),
    change(
        Verb::Put,
        "/v1/nodes/{ident}/boot_override",
        Some(Body::Needed("BootOverrideRequest")),
        200,
        "OrderAnswer",
    ),
    get("/v1/nodes/{ident}/bmc/{what}", "", "BmcAnswer"),
    get("/v1/nodes/{ident}/event_log", "limit:positive", "EventLog"),
    change(
        Verb::Delete,
        "/v1/nodes/{ident}/event_log",
        None,
        200,
        "OrderAnswer",
    ),
    change(
        Verb::Post,
        "/v1/nodes/{ident}/bmc_reset",
        Some(Body::Needed("BmcResetRequest")),
        200,
        "OrderAnswer",
    ),
    get(
        "/v1/tasks",
        "node:string batch:uuid active:boolean limit:positive",
        "TaskList",
    ),
    change(
        Verb::Post,
        "/v1/tasks",
        Some(Body::Needed("TaskStart")),
        202,
        "Task",
    ),
    get("/v1/tasks/{id}", "wait:seconds version:natural", "Task"),
    change(
        Verb::Delete,
        "/v1/tasks/{id}",
        Some(Body::Optional("Nothing")),
        200,
        "Task",
    ),
    change(
        Verb::Post,
        "/v1/tasks/{id}/{control}",
        Some(Body::Optional("Nothing")),
        200,
        "Task",
    ),
    get("/v1/batches", "", "BatchList"),
    change(
        Verb::Post,
        "/v1/batches",
        Some(Body::Needed("BatchStart")),
        202,
        "Batch",
    ),
    get("/v1/batches/{id}", "wait:seconds", "Batch"),
    change(
        Verb::Delete,
        "/v1/batches/{id}",
        Some(Body::Optional("BatchControl")),
        200,
        "Batch",
    ),
    change(
        Verb::Post,
        "/v1/batches/{id}/{control}",
        Some(Body::Optional("BatchControl")),
        200,
        "Batch",
    ),
    get(
        "/v1/events",
        "since:since wait:seconds node:nodes limit:positive snapshot:boolean",
        "Events",
    ),
    get("/v1/pause", "", "Pausing"),
    change(
        Verb::Post,
        "/v1/pause",
        Some(Body::Needed("PauseRequest")),
        200,
        "Pausing",
    ),
    change(
        Verb::Post,
        "/v1/release",
        Some(Body::Optional("Nothing")),
        200,
        "Pausing",
    ),
    get("/v1/audit", "after:natural limit:positive", "AuditPage"),
    get("/v1/openapi.json", "", "Anything"),
    get("/metrics", "", "text"),
    get("/healthz", "", "Health"),
];

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut item = Map::new();
        item.insert("parameters".into(), path_parameters(route));
        for endpoint in route.endpoints.iter().filter(|endpoint| !endpoint.refusing) {
            if let Some(detail) = detail(route, endpoint) {
                item.insert(endpoint.verb_key(), operation(route, endpoint, detail));
            }
        }
        paths.insert(route.path.to_owned(), Value::Object(item));
    }
    let schemas: Map<String, Value> = SCHEMAS
        .iter()
        .map(|schema| (schema.name.to_owned(), schema.document()))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "rackbmcd",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Power control of one rack's machines",
            "description": "OpenStack Ironic's node power API, and tasks, batches and events beside it. An answer may gain members; a request with an unknown member is refused.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "basic": [] }, { "bearer": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic" },
                "bearer": { "type": "http", "scheme": "bearer" },
            },
        },
    })
}

fn detail(route: &Route, endpoint: &Endpoint) -> Option<&'static Detail> {
    DETAILS
        .iter()
        .find(|detail| detail.path == route.path && detail.verb == endpoint.method)
}

impl Endpoint {
    fn verb_key(&self) -> String {
        self.method.name().to_ascii_lowercase()
    }
}

fn path_parameters(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let schema = match name {
                "id" => json!({ "type": "string", "format": "uuid" }),
                "control" => {
                    json!({ "enum": crate::model::Control::ALL.map(crate::model::Control::name) })
                }
                "what" => json!({ "enum": bmc::READINGS.map(|(word, _)| word) }),
                _ => json!({ "type": "string", "minLength": 1 }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    if route.surface == Surface::Ironic && route.path != "/" {
        parameters.push(json!({
            "name": "X-OpenStack-Ironic-API-Version",
            "in": "header",
            "required": false,
            "description": format!("microversion from {} (where absent) to {}, or latest", version::MINIMUM, version::MAXIMUM),
            "schema": { "type": "string", "pattern": r"^(|1\.([1-9]|[12][0-9]|3[01])|latest)$" },
        }));
    }
    parameters.into()
}

fn operation(route: &Route, endpoint: &Endpoint, detail: &Detail) -> Value {
    let mut query: Vec<Value> = members(detail.query)
        .map(|(name, kind)| json!({ "name": name, "in": "query", "required": false, "schema": in_query(kind) }))
        .collect();
    query.push(json!({ "name": "pretty", "in": "query", "required": false, "description": "answer with indents", "schema": { "enum": ["", "true", "1", "false", "0"] } }));
    let mut success = json!({ "description": endpoint.summary });
    match detail.brings {
        "" => {}
        "text" => {
            success["content"] =
                json!({ "application/openmetrics-text": { "schema": { "type": "string" } } })
        }
        name => success["content"] = json!({ "application/json": { "schema": reference(name) } }),
    }
    if detail.path == "/v1/events" {
        success["content"]["text/event-stream"] = json!({ "schema": { "type": "string" } });
    }
    let refusal = match route.surface {
        Surface::Ironic => "IronicRefusal",
        Surface::Own => "Refusal",
    };
    let mut responses = Map::new();
    responses.insert(detail.status.to_string(), success.clone());
    if detail.path == "/v1/batches" && detail.verb == Verb::Post {
        success["description"] = "the plan of a dry run".into();
        responses.insert("200".into(), success);
    }
    responses.insert(
        "default".into(),
        json!({ "description": "refused", "content": { "application/json": { "schema": reference(refusal) } } }),
    );
    let mut operation = json!({
        "summary": endpoint.summary,
        "operationId": operation_id(route, endpoint),
        "tags": [if route.surface == Surface::Ironic { "ironic" } else { "rackbmcd" }],
        "parameters": query,
        "responses": responses,
    });
    if let Some(body) = detail.body {
        let (name, needed) = match body {
            Body::Needed(name) => (name, true),
            Body::Optional(name) => (name, false),
        };
        operation["requestBody"] = json!({ "required": needed, "content": { "application/json": { "schema": reference(name) } } });
    }
    if let Some(role) = endpoint.role {
        operation["x-role"] = role.to_string().into();
    }
    operation
}

/// A kind where everything is text: it hides no NUL.
fn in_query(kind: &str) -> Value {
    match kind {
        "string" => json!({ "type": "string", "pattern": r"^[^\x00]*$" }),
        kind => typed(kind),
    }
}

fn operation_id(route: &Route, endpoint: &Endpoint) -> String {
    let words = route
        .path
        .split(['/', '{', '}', '.'])
        .filter(|word| !word.is_empty() && (*word != "v1" || route.path == "/v1"));
    let mut id = endpoint.verb_key();
    for word in words {
        id.push('_');
        id.push_str(word);
    }
    id
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
