//! The OpenAPI 3.1 document, made from the table of endpoints and the table of shapes. A test holds
//! both together, another holds the shapes to what is really answered.

mod refusals;
pub(super) mod schemas;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::misfit;

use super::endpoint::{Body, Endpoint, Media, Route, Verb};
use super::fault::Surface;
use super::own::bmc;
use super::route::ROUTES;
use super::stream;
use super::version;
use schemas::{SCHEMAS, members, typed};
use serde_json::{Map, Value, json};

/// The whole document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut item = Map::new();
        item.insert("parameters".into(), path_parameters(route));
        for endpoint in route.endpoints.iter().filter(|endpoint| !endpoint.refusing) {
            item.insert(endpoint.verb_key(), operation(route, endpoint));
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

impl Endpoint {
    fn verb_key(&self) -> String {
        self.method.name().to_ascii_lowercase()
    }
}

/// An id, or the short one of the same.
fn id_schema(kind: &str) -> Value {
    json!({ "anyOf": [
        { "type": "string", "format": "uuid" },
        { "type": "string", "pattern": format!("^{kind}:[0-9a-hjkmnp-tv-z]{{5}}$") },
    ] })
}

fn path_parameters(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let schema = match name {
                "id" if route.path.starts_with("/v1/batches") => id_schema("b"),
                "id" => id_schema("t"),
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

fn operation(route: &Route, endpoint: &Endpoint) -> Value {
    let mut query: Vec<Value> = members(endpoint.query)
        .map(|(name, kind)| json!({ "name": name, "in": "query", "required": false, "schema": in_query(kind) }))
        .collect();
    query.push(json!({ "name": "pretty", "in": "query", "required": false, "description": "answer with indents", "schema": { "enum": ["", "true", "1", "false", "0"] } }));
    query.extend(keyed(endpoint).then(key_parameter));
    let mut success = json!({ "description": endpoint.summary });
    if endpoint.media == Media::Lines {
        let schema = reference(endpoint.brings);
        success["content"] = json!({ stream::LINES: { "schema": schema } });
    } else if endpoint.media == Media::Figures {
        success["content"] = json!({ "text/plain": { "schema": { "type": "string" } }, "application/openmetrics-text": { "schema": { "type": "string" } } });
    } else if !endpoint.brings.is_empty() {
        let schema = reference(endpoint.brings);
        let schema = match endpoint.method == Verb::Get && MIRRORED.contains(&endpoint.brings) {
            true => json!({ "allOf": [schema, reference("Stale")] }),
            false => schema,
        };
        success["content"] = json!({ "application/json": { "schema": schema } });
    }
    if endpoint.media == Media::Events {
        success["content"][stream::EVENTS] = json!({ "schema": { "type": "string" } });
    }
    let refusal = match route.surface {
        Surface::Ironic => "IronicRefusal",
        Surface::Own => "Refusal",
    };
    let mut responses = Map::new();
    responses.insert(endpoint.status.to_string(), success.clone());
    if let Some((status, meaning)) = endpoint.other_status {
        success["description"] = meaning.into();
        responses.insert(status.to_string(), success);
    }
    let refused = |meaning: &str| json!({ "description": meaning, "content": { "application/json": { "schema": reference(refusal) } } });
    for (status, meaning) in refusals::refusals(route, endpoint) {
        responses.insert(status.to_string(), refused(meaning));
    }
    responses.insert("default".into(), refused("refused"));
    let mut operation = json!({
        "summary": endpoint.summary,
        "operationId": operation_id(route, endpoint),
        "tags": [if route.surface == Surface::Ironic { "ironic" } else { "rackbmcd" }],
        "parameters": query,
        "responses": responses,
    });
    if let Some(body) = endpoint.body {
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

/// What a host that does not own the rack tells from what etcd has: it says first how old that is.
const MIRRORED: &[&str] = &[
    "NodeList",
    "Node",
    "NodeStates",
    "Validation",
    "History",
    "TaskList",
    "Task",
    "Explanation",
    "Trace",
    "BatchList",
    "Batch",
    "Pausing",
];

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

fn key_parameter() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "the same for a request that is made again, to this host or the other one: it is carried out once within an hour",
        "schema": { "type": "string" },
    })
}

/// Whether what it begins is begun once, where its client has a key for it.
fn keyed(endpoint: &Endpoint) -> bool {
    let body = endpoint.body.map(|body| match body {
        Body::Needed(name) | Body::Optional(name) => name,
    });
    ["TaskStart", "BatchStart", "PowerRequest"]
        .map(Some)
        .contains(&body)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
