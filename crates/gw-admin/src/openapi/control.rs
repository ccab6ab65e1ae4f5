//! What an API document says of history, transactions and the cluster, and of what every write takes and answers.

use gw_core::Document;
use http::Method;
use serde_json::{Value, json};

use super::operations::argument;
use super::reference;
use super::schemas::{clean, page};
use crate::api::Endpoint;
use crate::plan::Step;
use crate::transaction;

/// Whether a request may be a change of the configuration.
pub(super) fn changes(endpoint: &Endpoint, method: &Method) -> bool {
    match endpoint {
        Endpoint::Config | Endpoint::Rollback | Endpoint::Transaction => *method == Method::POST,
        Endpoint::Mark => matches!(*method, Method::PUT | Method::DELETE),
        endpoint => Step::is_possible(endpoint, method),
    }
}

/// Whether an answer has an ETag.
pub(super) fn is_tagged(endpoint: &Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Config
            | Endpoint::At
            | Endpoint::Mark
            | Endpoint::One { .. }
            | Endpoint::Referred { .. }
            | Endpoint::Member(_)
    )
}

/// What a request may hold beside its body.
pub(super) fn parameters(endpoint: &Endpoint, method: &Method) -> Vec<Value> {
    let header = |name: &str, description: &str| json!({ "name": name, "in": "header", "schema": { "type": "string" }, "description": description });
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads {
        let mut parameters = Vec::new();
        if is_tagged(endpoint) {
            parameters.push(header("If-None-Match", "An ETag: 304 if it still has this one."));
        }
        let text = || json!({ "type": "string" });
        match endpoint {
            Endpoint::History => {
                let size = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 });
                parameters.push(argument("size", size, "Commits of a page."));
                let before = json!({ "type": "integer", "minimum": 0 });
                parameters.push(argument("before", before, "A revision: those before it."));
            }
            Endpoint::Compare => {
                let from = "A revision, a tag, or `head`; the one before `to` unless given.";
                parameters.push(argument("from", text(), from));
                parameters.push(argument("to", text(), "The same; `head` unless given."));
            }
            _ => {}
        }
        return parameters;
    }
    let accepts = *endpoint == Endpoint::Accept;
    if !accepts && !changes(endpoint, method) {
        return Vec::new();
    }
    let flag = || json!({ "enum": ["0", "1", "false", "true", ""] });
    let mut parameters = vec![
        header("X-Config-Author", "Who makes the change, for the history."),
        header("X-Config-Message", "What for."),
        header(
            "X-Request-Id",
            "The request's own name, for the history; it is answered.",
        ),
        argument(
            "wait",
            json!({ "enum": ["node", "cluster"] }),
            "`cluster`: answer when every node that is alive serves the change.",
        ),
        argument(
            "timeout",
            json!({ "type": "number", "minimum": 0, "maximum": 60, "default": 10 }),
            "Seconds to wait for them.",
        ),
    ];
    if !accepts {
        parameters.extend([
            header(
                "If-Match",
                "An ETag: 412 unless it still has this one; `*`: unless it is there.",
            ),
            header(
                "If-None-Match",
                "`*`: 412 if it is there; an ETag: if it has this one.",
            ),
            argument(
                "allow_mass_delete",
                flag(),
                "1: much is meant to go, and no node holds it back.",
            ),
        ]);
    }
    if *endpoint != Endpoint::Config {
        parameters.push(argument(
            "dry_run",
            flag(),
            "1: tell what would change, and write nothing.",
        ));
    }
    parameters
}

/// The answers of a change, and of what has an ETag, beside those of any request.
pub(super) fn responses(
    endpoint: &Endpoint,
    method: &Method,
    mut add: impl FnMut(&str, &str, Option<Value>),
) {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads && is_tagged(endpoint) {
        add("304", "It is as the client has it.", None);
    }
    if matches!(endpoint, Endpoint::At | Endpoint::Compare | Endpoint::Rollback) {
        add(
            "404",
            "There is no such revision or tag.",
            Some(reference("error")),
        );
        add("410", "The revision is no longer kept.", Some(reference("error")));
    }
    if *endpoint == Endpoint::Mark && *method == Method::PUT {
        add("410", "The revision is no longer kept.", Some(reference("error")));
    }
    if reads && !endpoint.is_about_node() {
        add(
            "503",
            "The store has not answered since the start.",
            Some(reference("error")),
        );
    }
    if changes(endpoint, method) {
        add(
            "412",
            "It is not as `If-Match` or `If-None-Match` says.",
            Some(reference("error")),
        );
        if *method == Method::DELETE {
            add("200", "What would change.", Some(reference("dry_run")));
            add(
                "413",
                "It is more than the store takes at once.",
                Some(reference("error")),
            );
        }
        if *method == Method::POST && Step::is_possible(endpoint, method) {
            add("200", "What would change.", Some(reference("dry_run")));
        }
        if !matches!(*method, Method::PUT | Method::PATCH) || *endpoint == Endpoint::Mark {
            let taken = "A unique value is taken, or too much would go without `allow_mass_delete` (a dry run tells it all the same).";
            add("409", taken, Some(reference("error")));
        }
    }
}

/// What a successful answer holds.
pub(super) fn shown(endpoint: &Endpoint) -> Option<Value> {
    Some(match endpoint {
        Endpoint::History => reference("config.history"),
        Endpoint::At => reference("config"),
        Endpoint::Compare => reference("config.changes"),
        Endpoint::Rollback => json!({ "anyOf": [reference("config.changes"), reference("dry_run")] }),
        Endpoint::Transaction => json!({ "anyOf": [reference("config.done"), reference("dry_run")] }),
        Endpoint::Marks => reference("config.tags"),
        Endpoint::Cluster => reference("cluster"),
        Endpoint::Accept => reference("message"),
        Endpoint::Problems => reference("problems.page"),
        _ => return None,
    })
}

/// What a request holds, if it holds anything.
pub(super) fn body(endpoint: &Endpoint) -> Option<Value> {
    let revision =
        || json!({ "type": ["integer", "string", "null"], "description": "A revision, a tag, or `head`." });
    Some(match endpoint {
        Endpoint::Transaction => reference("transaction"),
        Endpoint::Rollback => json!({
            "type": "object",
            "required": ["to"],
            "properties": { "to": revision(), "message": { "type": "string" } },
        }),
        Endpoint::Mark => json!({ "type": "object", "properties": { "revision": revision() } }),
        _ => return None,
    })
}

/// Schemas of these answers.
pub(super) fn schemas() -> Document {
    Document::from_iter([
        (
            "transaction".to_owned(),
            clean(&transaction::schema(), "transaction"),
        ),
        ("config.changes".to_owned(), changed(&[])),
        ("dry_run".to_owned(), dry_run()),
        ("config.done".to_owned(), done()),
        ("config.history".to_owned(), page(&commit())),
        ("config.tag".to_owned(), mark()),
        ("config.tags".to_owned(), page(&reference("config.tag"))),
        ("cluster".to_owned(), cluster()),
        ("problems.page".to_owned(), problems()),
    ])
}

fn named(more: &[(&str, Value)], required: &[&str]) -> Value {
    let mut schema = json!({
        "type": "object",
        "required": ["entity_name", "entity_id"],
        "properties": { "entity_name": { "type": "string" }, "entity_id": { "type": "string" } },
    });
    for (name, field) in more {
        schema["properties"][*name] = field.clone();
    }
    if let Some(all) = schema["required"].as_array_mut() {
        all.extend(required.iter().map(|name| Value::from(*name)));
    }
    schema
}

fn name() -> Value {
    json!({ "type": ["string", "null"] })
}

/// What has changed, entity by entity; `more` is required too.
fn changed(more: &[&str]) -> Value {
    let change = named(
        &[
            ("action", json!({ "enum": ["create", "update", "delete"] })),
            ("name", name()),
            (
                "fields",
                json!({ "type": "object", "description": "What changes, by dotted names: `from` and `to`." }),
            ),
        ],
        &["action", "name", "fields"],
    );
    let count = json!({ "type": "integer", "minimum": 0 });
    let mut required = vec!["summary", "changes", "omitted"];
    required.extend(more);
    json!({
        "type": "object",
        "required": required,
        "properties": {
            "summary": {
                "type": "object",
                "required": ["create", "update", "delete"],
                "additionalProperties": count,
            },
            "changes": { "type": "array", "items": change },
            "omitted": { "type": "integer", "minimum": 0, "description": "How many more changes there are." },
            "from": count, "to": count, "revision": count,
        },
    })
}

fn dry_run() -> Value {
    let route =
        json!({ "type": ["object", "null"], "properties": { "id": { "type": "string" }, "name": name() } });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let moved = json!({
        "type": "object",
        "required": ["from", "to", "count", "example"],
        "properties": { "from": route, "to": route, "count": count(), "example": { "type": "string" } },
    });
    json!({
        "type": "object",
        "required": ["dry_run"],
        "properties": {
            "dry_run": { "const": true },
            "revision": { "type": "integer", "description": "What it would be a change of." },
            "status": { "type": "integer", "description": "Of the answer if it were made." },
            "document": { "type": ["object", "null"], "description": "What it would leave." },
            "results": { "type": "array", "description": "The same of each operation." },
            "summary": { "type": "object", "additionalProperties": count() },
            "changes": { "type": "array", "items": { "type": "object" } },
            "warnings": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["kind", "message"],
                    "properties": { "kind": { "type": "string" }, "message": { "type": "string" } },
                },
            },
            "traffic": {
                "anyOf": [
                    { "type": "null" },
                    {
                        "type": "object",
                        "required": ["seen", "lost", "gained", "moved", "unsure", "seconds"],
                        "properties": {
                            "seen": count(), "lost": count(), "gained": count(), "unsure": count(), "seconds": count(),
                            "moved": { "type": "array", "items": moved },
                        },
                    },
                ],
                "description": "What would become of requests of late.",
            },
        },
    })
}

fn done() -> Value {
    let result = json!({
        "type": "object",
        "required": ["status", "etag", "document"],
        "properties": {
            "status": { "type": "integer" }, "etag": name(), "document": { "type": ["object", "null"] },
        },
    });
    json!({
        "type": "object",
        "required": ["revision", "results"],
        "properties": { "revision": { "type": "integer" }, "results": { "type": "array", "items": result } },
    })
}

fn commit() -> Value {
    let entity = named(
        &[
            ("action", json!({ "enum": ["write", "delete"] })),
            ("name", name()),
        ],
        &["action", "name"],
    );
    let count = json!({ "type": "integer", "minimum": 0 });
    json!({
        "type": "object",
        "required": ["revision", "id", "at", "author", "message", "request_id", "hash", "tags", "summary", "entities"],
        "properties": {
            "revision": count,
            "id": { "type": "string", "format": "uuid" },
            "at": { "type": "number", "description": "Unix seconds." },
            "author": { "type": "string" },
            "message": { "type": "string" },
            "request_id": name(),
            "hash": { "type": ["string", "null"], "description": "What it led to: equal where the contents are." },
            "tags": { "type": "array", "items": { "type": "string" } },
            "summary": { "type": "object", "required": ["write", "delete"], "additionalProperties": count },
            "entities": { "type": "array", "items": entity, "description": "The first hundred." },
        },
    })
}

fn mark() -> Value {
    json!({
        "type": "object",
        "required": ["name", "revision", "by", "at"],
        "properties": {
            "name": { "type": "string" },
            "revision": { "type": "integer" },
            "by": { "type": "string" },
            "at": { "type": "number", "description": "Unix seconds." },
        },
    })
}

/// Where the store is and whether it answers.
pub(super) fn store() -> Value {
    json!({
        "type": "object",
        "required": ["place", "reached", "stale"],
        "properties": {
            "place": { "type": "string" },
            "reached": { "type": "boolean", "description": "Whether it has answered since the start." },
            "stale": {
                "type": ["object", "null"],
                "required": ["since", "seconds", "why"],
                "description": "Since when it is not known whether it holds something newer.",
            },
        },
    })
}

fn cluster() -> Value {
    let node = json!({
        "type": "object",
        "required": ["id", "hostname", "this", "version", "state", "incarnation", "revision", "behind", "hash", "problems"],
        "properties": {
            "id": { "type": "string", "format": "uuid" },
            "this": { "type": "boolean", "description": "Whether it is the one that answers." },
            "state": { "enum": ["current", "behind", "stale", "diverged", "other_history"] },
            "revision": { "type": "integer", "description": "What it serves." },
            "behind": { "type": ["integer", "null"] },
            "started_at": { "type": "number" },
            "applied_at": { "type": "number" },
            "stale_since": { "type": ["number", "null"] },
            "problems": { "type": "integer" },
        },
    });
    let mut schema = page(&node);
    schema["required"] = json!([
        "data",
        "next",
        "store",
        "incarnation",
        "revision",
        "hash",
        "error"
    ]);
    schema["properties"]["store"] = store();
    schema["properties"]["revision"] = json!({ "type": "integer", "description": "The newest." });
    schema["properties"]["error"] =
        json!({ "type": ["string", "null"], "description": "Why the nodes are not known." });
    schema
}

/// What an operator must know of.
pub(super) fn alarms() -> Value {
    let alarm = json!({
        "type": "object",
        "required": ["kind", "message", "since", "revision"],
        "properties": {
            "kind": { "type": "string" },
            "message": { "type": "string" },
            "since": { "type": "number", "description": "Unix seconds." },
            "revision": { "type": ["integer", "null"] },
        },
    });
    json!({ "type": "array", "items": alarm })
}

fn problems() -> Value {
    let problem = named(
        &[
            ("name", name()),
            ("message", json!({ "type": "string" })),
            (
                "kept",
                json!({ "type": "boolean", "description": "Whether its last good version goes on running." }),
            ),
            ("revision", json!({ "type": "integer" })),
            (
                "since",
                json!({ "type": "number", "description": "Unix seconds." }),
            ),
        ],
        &["name", "message", "kept", "revision", "since"],
    );
    let mut schema = page(&problem);
    schema["required"] = json!(["data", "next", "alarms"]);
    schema["properties"]["alarms"] = alarms();
    schema
}
