//! What an API document says of `/dns`.

use gw_core::Document;
use serde_json::{Value, json};

use super::schemas::page;

/// `names.page`.
pub(super) fn schemas() -> Document {
    Document::from_iter([("names.page".to_owned(), page(&name()))])
}

fn name() -> Value {
    let number = |description: &str| json!({ "type": ["number", "null"], "description": description });
    let small = json!({ "type": "integer", "minimum": 0, "maximum": 65535 });
    let address = json!({
        "type": "object",
        "required": ["ip"],
        "properties": {
            "ip": { "type": "string" },
            "host": { "type": "string", "description": "Name that an SRV record gives." },
            "port": small, "weight": small, "priority": small,
        },
    });
    json!({
        "type": "object",
        "required": ["name", "type", "addresses", "ttl", "expires", "next_lookup", "stale", "error"],
        "properties": {
            "name": { "type": "string" },
            "type": { "enum": ["A", "AAAA", "SRV", null], "description": "Type of the records; null if there are none." },
            "addresses": { "type": "array", "items": address },
            "ttl": { "type": ["integer", "null"], "minimum": 0, "description": "Of the last good answer, in seconds." },
            "expires": number("Until when that answer holds, Unix seconds."),
            "next_lookup": number("When it is looked up again, Unix seconds; null while it is."),
            "stale": { "type": "boolean", "description": "Whether that answer is used though later look-ups brought none." },
            "error": { "type": ["string", "null"], "description": "Why the last look-up brought nothing." },
        },
    })
}
