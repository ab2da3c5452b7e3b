//! The OpenAPI 3.1 document, made from the table of routes.

use super::route::ROUTES;
use serde_json::{Map, Value, json};

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut item = Map::new();
        for endpoint in route.endpoints {
            item.insert(
                endpoint.method.name().to_ascii_lowercase(),
                json!({ "summary": endpoint.summary, "responses": { "default": { "description": "see the summary" } } }),
            );
        }
        paths.insert(route.path.to_owned(), Value::Object(item));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "rackbmcd", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
    })
}
