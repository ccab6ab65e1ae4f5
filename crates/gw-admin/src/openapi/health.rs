//! The health of an upstream's targets, and of an upstream as a whole, in an API document.

use gw_core::Document;
use serde_json::{Value, json};

use super::schemas::page;

/// `targets.health` and `upstreams.health`.
pub(super) fn schemas() -> Document {
    let mut items = page(&item());
    items["properties"]["node_id"] = json!({ "type": "string", "format": "uuid" });
    Document::from_iter([
        ("targets.health".to_owned(), items),
        ("upstreams.health".to_owned(), whole()),
    ])
}

fn item() -> Value {
    json!({
        "type": "object",
        "required": ["id", "target", "weight", "health", "data"],
        "properties": {
            "health": { "enum": ["HEALTHY", "UNHEALTHY", "HEALTHCHECKS_OFF", "DNS_ERROR"] },
            "data": { "anyOf": [host(), { "type": "null" }] },
        },
    })
}

fn whole() -> Value {
    let details = json!({
        "type": "object",
        "required": ["healthy", "weight", "hosts"],
        "properties": {
            "healthy": { "type": "boolean" },
            "weight": weight(),
            "hosts": { "type": "array", "items": host() },
        },
    });
    json!({
        "type": "object",
        "required": ["data", "next", "node_id"],
        "properties": { "data": {
            "type": "object",
            "required": ["id", "health", "balancer_health", "details"],
            "properties": {
                "id": { "type": "string", "format": "uuid" },
                "health": { "enum": ["HEALTHY", "UNHEALTHY", "HEALTHCHECKS_OFF"] },
                "balancer_health": { "enum": ["HEALTHY", "UNHEALTHY"] },
                "details": details,
            },
        } },
    })
}

fn host() -> Value {
    let address = json!({
        "type": "object",
        "required": ["ip", "port", "weight", "health", "reason", "since", "next_try"],
        "properties": {
            "ip": { "type": "string" },
            "port": { "type": "integer" },
            "weight": { "type": "integer" },
            "health": { "enum": ["HEALTHY", "UNHEALTHY"] },
            "reason": { "type": ["string", "null"], "description": "Why it is so, if that has ever changed." },
            "since": { "type": ["number", "null"], "description": "Unix seconds." },
            "next_try": { "type": ["number", "null"], "description": "When a request tries it again, Unix seconds." },
        },
    });
    json!({
        "type": "object",
        "required": ["host", "port", "dns", "nodeWeight", "weight", "addresses"],
        "properties": { "weight": weight(), "addresses": { "type": "array", "items": address } },
    })
}

fn weight() -> Value {
    json!({
        "type": "object",
        "required": ["total", "available", "unavailable"],
        "additionalProperties": { "type": "integer", "minimum": 0 },
    })
}
