//! What an API document says of `/explain`.

use gw_core::Document;
use serde_json::{Value, json};

use super::schemas::{clean, page};
use crate::explain;

/// `explain`, `explanation` and `overlaps.page`.
pub(super) fn schemas() -> Document {
    Document::from_iter([
        ("explain".to_owned(), clean(&explain::schema(), "explain")),
        ("explanation".to_owned(), explanation()),
        ("overlaps.page".to_owned(), page(&overlap())),
    ])
}

/// Two routes in each other's way.
pub(super) fn overlap() -> Value {
    json!({
        "type": "object",
        "required": ["kind", "message", "routes"],
        "properties": {
            "kind": { "type": "string" },
            "message": { "type": "string" },
            "routes": { "type": "array", "items": route() },
        },
    })
}

fn route() -> Value {
    json!({
        "type": "object",
        "required": ["id", "name"],
        "properties": { "id": { "type": "string", "format": "uuid" }, "name": { "type": ["string", "null"] } },
    })
}

fn explanation() -> Value {
    let candidate = |own: Value| {
        let mut schema = json!({
            "type": "object",
            "required": ["route", "pattern", "host"],
            "properties": {
                "route": route(),
                "pattern": { "type": ["string", "null"], "description": "Which of its paths matches." },
                "host": { "type": ["string", "null"], "description": "Which of its hosts matches." },
            },
        });
        for (name, field) in own.as_object().into_iter().flatten() {
            schema["properties"][name] = field.clone();
            if let Some(required) = schema["required"].as_array_mut() {
                required.push(name.as_str().into());
            }
        }
        schema
    };
    let matched = candidate(json!({
        "service": { "type": ["object", "null"] },
        "matched_path": { "type": ["string", "null"], "description": "The part of the path that the pattern stands for." },
        "params": { "type": "object", "additionalProperties": { "type": "string" } },
        "why": { "type": "string" },
    }));
    let other = candidate(json!({ "lost_to": { "type": "string", "description": "What the winner has." } }));
    let failed = json!({ "type": "array", "minItems": 1, "items": { "type": "string" } });
    let near_miss = candidate(json!({ "failed": failed }));
    json!({
        "type": "object",
        "required": ["message", "revision", "request", "status", "matched", "others", "near_misses", "omitted"],
        "properties": {
            "message": { "type": "string", "description": "The answer in a sentence." },
            "revision": { "type": "integer", "description": "Of the configuration that was asked." },
            "request": { "type": "object", "description": "The request, its path in normal form." },
            "status": { "type": ["integer", "null"], "description": "Of the gateway's own answer, if the request goes nowhere." },
            "matched": { "anyOf": [matched, { "type": "null" }] },
            "others": { "type": "array", "items": other, "description": "Other routes that match, the best first." },
            "near_misses": { "type": "array", "items": near_miss, "description": "Routes that have such a path and do not match." },
            "omitted": { "type": "integer", "minimum": 0, "description": "How many more routes there are to tell of." },
        },
    })
}
