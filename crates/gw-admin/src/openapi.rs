//! `/openapi.json`: this API as an OpenAPI 3.1 document, made from the path table and the kinds' schemas.

mod config;
mod control;
mod dns;
mod explain;
mod health;
mod operations;
mod schemas;

use gw_core::{Document, Kinds};
use gw_plugins::Registry;
use serde_json::{Value, json};

use crate::api::Api;
use crate::node::VERSION;
use operations::Operations;

/// The whole document.
pub(crate) fn document(api: &Api, kinds: &Kinds, registry: &Registry) -> Value {
    let operations = Operations { kinds };
    let paths: Document = api
        .paths()
        .iter()
        .map(|(path, endpoint)| (path.clone(), operations.path(path, endpoint)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Admin API",
            "summary": "Kong's Admin API over a transactional store.",
            "version": VERSION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": schemas::components(kinds, registry) },
    })
}

/// A reference to a schema of the document.
fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
