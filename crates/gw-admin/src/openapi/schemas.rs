//! The schemas of an API document: each kind as it is shown, created, patched and listed.

use gw_core::{Document, Kind, KindSpec, Kinds};
use gw_plugins::Registry;
use serde_json::{Value, json};

use super::{config, control, dns, explain, health, reference};
use crate::explain::WARNINGS;

/// All schemas, by name: `services` is one as it is shown, `services.new`, `services.patch` and `services.page` are
/// what its name says, `plugins.key-auth` is the settings of a plugin.
pub(super) fn components(kinds: &Kinds, registry: &Registry) -> Document {
    let mut schemas = Document::new();
    for spec in kinds.iter() {
        let name = spec.kind.name();
        schemas.insert(name.to_owned(), shown(spec, registry));
        schemas.insert(format!("{name}.new"), new(kinds, spec));
        schemas.insert(format!("{name}.patch"), patch(kinds, spec));
        schemas.insert(format!("{name}.page"), page(&reference(name)));
        if let Some(own_name) = &spec.shown_as {
            schemas.insert(format!("{name}.tied"), tied(kinds, spec, own_name));
        }
    }
    for plugin in registry.iter() {
        let name = plugin_name(plugin.name);
        let document = clean(plugin.schema.document(), &name);
        schemas.insert(name, document);
    }
    schemas.extend(node(kinds));
    schemas.extend(config::schemas(kinds));
    schemas.extend(control::schemas());
    schemas.extend(health::schemas());
    schemas.extend(dns::schemas());
    schemas.extend(explain::schemas());
    schemas
}

fn plugin_name(plugin: &str) -> String {
    format!("plugins.{plugin}")
}

/// A kind's schema without what only the gateway reads, its references leading to where it is in the API document.
pub(super) fn clean(node: &Value, name: &str) -> Value {
    match node {
        Value::Object(keywords) => {
            let mut kept = Document::new();
            for (keyword, value) in keywords {
                let value = match (keyword.as_str(), value) {
                    (keyword, _) if keyword.starts_with("x-") => continue,
                    ("default" | "enum" | "const" | "examples", value) => value.clone(),
                    ("$ref", Value::String(target)) => {
                        let below = target.trim_start_matches('#');
                        json!(format!("#/components/schemas/{name}{below}"))
                    }
                    ("properties" | "$defs" | "patternProperties", Value::Object(below)) => {
                        let below = below.iter().map(|(key, node)| (key.clone(), clean(node, name)));
                        Value::Object(below.collect())
                    }
                    (_, value) => clean(value, name),
                };
                kept.insert(keyword.clone(), value);
            }
            kept.into()
        }
        Value::Array(items) => items.iter().map(|item| clean(item, name)).collect(),
        other => other.clone(),
    }
}

/// One entity as it is shown: every field is there.
fn shown(spec: &KindSpec, registry: &Registry) -> Value {
    let mut schema = clean(spec.schema.document(), spec.kind.name());
    let properties = schema["properties"].as_object_mut();
    let names: Vec<String> = properties
        .iter()
        .flat_map(|fields| fields.keys().cloned())
        .collect();
    for field in &spec.write_only {
        let told = schema
            .pointer(&format!("/properties/{field}/description"))
            .cloned();
        schema["properties"][&**field] = json!({ "type": "null", "description": told });
    }
    schema["required"] = json!(names);
    if spec.kind == Kind::Route {
        let warnings = json!({
            "type": "array",
            "items": explain::overlap(),
            "description": "Only in the answer to a write: other routes that are in the way of this one.",
        });
        schema["properties"][WARNINGS] = warnings;
    }
    if spec.kind == Kind::Plugin {
        let settings = registry.iter().map(|plugin| {
            json!({
                "if": { "properties": { "name": { "const": plugin.name } } },
                "then": { "properties": { "config": reference(&plugin_name(plugin.name)) } },
            })
        });
        schema["allOf"] = settings.collect();
    }
    schema
}

/// What creates one, or replaces it.
fn new(kinds: &Kinds, spec: &KindSpec) -> Value {
    let mut schema = sent(kinds, spec);
    let shorthands = spec
        .schema
        .document()
        .get("x-shorthands")
        .and_then(Value::as_object);
    let spelt: Vec<&Value> = shorthands
        .into_iter()
        .flat_map(|all| all.values())
        .filter_map(|shorthand| shorthand["x-gives"].as_array())
        .flatten()
        .collect();
    let required = spec
        .schema
        .document()
        .get("required")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let is_made = |field: &Value| {
        let refers = |reference: &gw_core::Reference| field == &*reference.field;
        let auto = spec.auto.iter().any(|(name, _)| field == &**name);
        // Note: below the entity it refers to, the path says it.
        auto || spec.references.iter().any(refers) || spelt.contains(&field)
    };
    schema["required"] = required.into_iter().filter(|field| !is_made(field)).collect();
    schema
}

/// What changes one.
fn patch(kinds: &Kinds, spec: &KindSpec) -> Value {
    let mut schema = sent(kinds, spec);
    if let Value::Object(keywords) = &mut schema {
        keywords.remove("required");
    }
    schema
}

/// A kind's schema as a request fills it: references may be by name, shorthands are taken.
fn sent(kinds: &Kinds, spec: &KindSpec) -> Value {
    let mut schema = clean(spec.schema.document(), spec.kind.name());
    if let Value::Object(keywords) = &mut schema {
        keywords.remove("$defs"); // they are those of the schema as shown
    }
    let shorthands = spec
        .schema
        .document()
        .get("x-shorthands")
        .and_then(Value::as_object);
    for (field, shorthand) in shorthands.into_iter().flatten() {
        schema["properties"][field] = clean(shorthand, spec.kind.name());
    }
    for field in spec.references.iter().filter(|field| !field.many) {
        let described = schema
            .pointer(&format!("/properties/{}/description", field.field))
            .cloned();
        let mut names = json!({ "id": { "type": "string", "format": "uuid" } });
        for name in kinds
            .by_name(&field.target)
            .into_iter()
            .flat_map(|target| &target.unique)
        {
            names[&**name] = json!({ "type": "string", "minLength": 1 });
        }
        let required = spec.schema.is_required(&field.field);
        schema["properties"][&*field.field] = json!({
            "type": if required { json!("object") } else { json!(["object", "null"]) },
            "minProperties": 1, "maxProperties": 1, "additionalProperties": false, "properties": names,
            "description": described,
        });
    }
    schema
}

pub(super) fn page(item: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": { "type": "array", "items": item },
            "offset": { "type": "string", "description": "Where the next page begins." },
            "next": { "type": ["string", "null"], "description": "Path of the next page." },
        },
    })
}

/// One entity, once more under a name of its own, and what is tied to it.
fn tied(kinds: &Kinds, spec: &KindSpec, own_name: &str) -> Value {
    let mut schema = clean(spec.schema.document(), spec.kind.name());
    let mut names: Vec<String> = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys().cloned())
        .collect();
    names.push(own_name.to_owned());
    schema["properties"][own_name] = reference(spec.kind.name());
    for tie in kinds.iter().filter(|tie| tie.is_link) {
        let far = tie
            .references
            .iter()
            .find(|reference| *reference.target != *spec.kind.name());
        if let Some(far) = far.and_then(|far| kinds.by_name(&far.target)) {
            schema["properties"][&*far.path] =
                json!({ "type": "array", "items": reference(far.kind.name()) });
        }
    }
    schema["required"] = json!(names);
    schema
}

/// Schemas of what is no kind: errors, and what the node says of itself.
fn node(kinds: &Kinds) -> Document {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let kind_names: Vec<&str> = kinds.iter().map(|spec| spec.kind.name()).collect();
    let tag = json!({
        "type": "object",
        "required": ["tag", "entity_name", "entity_id"],
        "properties": {
            "tag": { "type": "string" },
            "entity_name": { "enum": kind_names },
            "entity_id": { "type": "string", "format": "uuid" },
        },
    });
    let named = json!({ "type": "object", "additionalProperties": { "type": "object" } });
    let schemas = json!({
        "error": error(),
        "message": { "type": "object", "required": ["message"], "properties": { "message": { "type": "string" } } },
        "tags.page": page(&tag),
        "endpoints": { "type": "object", "required": ["data"], "properties": { "data": texts } },
        "plugins.enabled": {
            "type": "object", "required": ["enabled_plugins"], "properties": { "enabled_plugins": texts },
        },
        "fields": {
            "type": "object",
            "required": ["fields", "entity_checks"],
            "properties": {
                "fields": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "minProperties": 1,
                        "maxProperties": 1,
                        "additionalProperties": { "type": "object", "required": ["type"] },
                    },
                },
                "entity_checks": { "type": "array", "items": { "type": "object" } },
            },
        },
        "filters": filters(),
        "information": {
            "type": "object",
            "required": ["version", "gw_version", "hostname", "node_id", "plugins", "configuration"],
            "properties": {
                "version": { "type": "string", "description": "The version of Kong whose Admin API this is." },
                "gw_version": { "type": "string" },
                "hostname": { "type": "string" },
                "node_id": { "type": "string", "format": "uuid" },
                "plugins": {
                    "type": "object",
                    "required": ["available_on_server", "enabled_in_cluster"],
                    "properties": { "available_on_server": named, "enabled_in_cluster": texts },
                },
                "configuration": { "type": "object", "required": ["database", "router_flavor"] },
            },
        },
        "status": {
            "type": "object",
            "required": ["memory", "server", "configuration"],
            "properties": {
                "memory": { "type": "object" },
                "server": { "type": "object", "additionalProperties": { "type": "integer" } },
                "database": { "type": "object", "properties": { "reachable": { "type": "boolean" } } },
                "configuration_hash": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
                "configuration": {
                    "type": "object",
                    "required": ["incarnation", "revision", "applied", "pending", "hash", "problems", "alarms"],
                    "properties": {
                        "pending": { "type": "boolean" },
                        "hash": { "type": "string", "description": "Equal on nodes that hold the same." },
                        "problems": { "type": "integer", "description": "Objects that cannot run here." },
                        "alarms": control::alarms(),
                    },
                },
                "store": control::store(),
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Document::new(),
    }
}

fn filters() -> Value {
    let filter =
        json!({ "type": "object", "required": ["name", "config", "enabled", "from", "filter_chain"] });
    json!({
        "type": "object",
        "required": ["filters"],
        "properties": { "filters": { "type": "array", "items": filter } },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["message"],
        "properties": {
            "message": { "type": "string" },
            "name": { "type": "string", "description": "What kind of error it is." },
            "code": { "type": "integer", "description": "The number of its kind, as Kong counts them." },
            "fields": { "type": "object", "description": "Messages where the document has what they are about." },
            "options": { "type": "object", "description": "Messages about arguments of the query." },
            "detail": { "type": "string" },
            "hint": { "type": "string", "description": "What else could be asked." },
            "etag": { "type": ["string", "null"], "description": "Which version there is." },
            "operation": { "type": "integer", "description": "Which operation of a transaction it is about." },
            "pointer": { "type": "string", "description": "Where that is in what was sent." },
            "objects": {
                "type": "array",
                "description": "What would not be taken today, and why.",
                "items": { "type": "object", "required": ["entity_name", "entity_id", "message"] },
            },
            "violations": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["pointer", "message", "hint"],
                    "properties": {
                        "pointer": { "type": "string", "description": "JSON pointer into the document." },
                        "message": { "type": "string" },
                        "hint": { "type": ["string", "null"] },
                        "path": { "type": "string", "description": "The same place as people write it." },
                        "line": { "type": ["integer", "null"], "description": "Where in the text that was sent." },
                        "column": { "type": ["integer", "null"] },
                    },
                },
            },
            "flattened_errors": config::flattened_errors(),
            "blocking": {
                "type": "array",
                "description": "What must go first.",
                "items": {
                    "type": "object",
                    "required": ["entity_name", "entity_id"],
                    "properties": {
                        "entity_name": { "type": "string" },
                        "entity_id": { "type": "string", "format": "uuid" },
                    },
                },
            },
        },
    })
}
