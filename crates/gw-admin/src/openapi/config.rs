//! What an API document says of `/config`.

use gw_core::{Document, Kinds};
use http::Method;
use serde_json::{Value, json};

use super::reference;
use crate::api::Endpoint;

/// The arguments of a request that loads a configuration.
pub(super) fn query(endpoint: &Endpoint, method: &Method) -> Vec<Value> {
    if *endpoint != Endpoint::Config || *method != Method::POST {
        return Vec::new();
    }
    let argument = |(name, description): (&str, &str)| json!({ "name": name, "in": "query", "schema": { "enum": ["0", "1"] }, "description": description });
    let arguments = [
        ("check_hash", "Answer 304 when nothing changes."),
        (
            "flatten_errors",
            "List the entities that something is wrong with one by one.",
        ),
        ("dry_run", "Tell what would change, and write nothing."),
        ("diff", "The same."),
        (
            "replace_everything",
            "Take the file for everything, even if it says that it is about a part.",
        ),
    ];
    arguments.map(argument).into()
}

/// The body of a request that loads a configuration.
pub(super) fn body() -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let named = json!({
        "schema": { "type": "object", "required": ["config"], "properties": { "config": { "type": "string" } } },
    });
    json!({
        "content": {
            "application/json": { "schema": { "type": "object" } },
            "application/yaml": text,
            "text/yaml": text,
            "application/x-www-form-urlencoded": named,
            "multipart/form-data": named,
        },
    })
}

/// Schemas of its answers.
pub(super) fn schemas(kinds: &Kinds) -> Document {
    let of_kinds: Document = kinds
        .iter()
        .map(|spec| {
            let name = spec.kind.name();
            let entities = json!({ "type": "object", "additionalProperties": reference(name) });
            (name.to_owned(), entities)
        })
        .collect();
    let named = || json!({ "entity_name": { "type": "string" }, "entity_id": { "type": "string" } });
    let mut omitted = json!({ "type": "object", "required": ["entity_name", "entity_id", "fields"], "properties": named() });
    omitted["properties"]["fields"] = json!({ "type": "array", "items": { "type": "string" } });
    let mut unopened = omitted.clone();
    unopened["properties"]["fields"]["items"] = json!({
        "type": "object", "required": ["field", "message"],
        "properties": { "field": { "type": "string" }, "message": { "type": "string" } },
    });
    let mut change = json!({
        "type": "object", "required": ["action", "entity_name", "entity_id", "name", "fields"], "properties": named(),
    });
    change["properties"]["action"] = json!({ "enum": ["create", "update", "delete"] });
    change["properties"]["fields"] =
        json!({ "type": "object", "description": "What changes: `from` and `to`." });
    let schemas = json!({
        "config": {
            "type": "object",
            "required": ["config", "omitted"],
            "properties": {
                "config": { "type": "string", "description": "Everything, as YAML." },
                "omitted": { "type": "array", "items": omitted, "description": "Private keys that are not in it." },
            },
        },
        "config.loaded": {
            "type": "object",
            "description": "All entities by kind and id.",
            "additionalProperties": false,
            "properties": of_kinds,
        },
        "config.sealing": {
            "type": "object",
            "required": ["key", "sealed", "sealed_with_older_keys", "in_clear_text", "unopened"],
            "properties": {
                "key": { "type": ["string", "null"], "description": "The key that seals now." },
                "sealed": { "type": "integer", "description": "Secrets that it has sealed." },
                "sealed_with_older_keys": { "type": "integer" },
                "in_clear_text": { "type": "integer" },
                "resealed": { "type": "integer", "description": "Secrets that this call has sealed." },
                "unopened": { "type": "array", "items": unopened, "description": "Entities with secrets that cannot be opened." },
            },
        },
        "config.diff": {
            "type": "object",
            "required": ["summary", "changes", "notices", "ignored"],
            "properties": {
                "summary": { "type": "object", "additionalProperties": { "type": "integer" } },
                "changes": { "type": "array", "items": change },
                "notices": { "type": "array", "items": { "type": "object", "required": ["pointer", "message"] } },
                "ignored": { "type": "array", "items": { "type": "object", "required": ["pointer", "name", "message"] } },
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Document::new(),
    }
}

/// The entities of a configuration that something is wrong with.
pub(super) fn flattened_errors() -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["entity_type", "entity", "errors"],
            "properties": {
                "entity_type": { "type": "string" },
                "entity_id": { "type": "string" },
                "entity_name": { "type": "string" },
                "entity_tags": { "type": "array", "items": { "type": "string" } },
                "entity": { "type": "object" },
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type", "message"],
                        "properties": { "type": { "enum": ["entity", "field"] } },
                    },
                },
            },
        },
    })
}
